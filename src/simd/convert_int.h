/* SPDX-License-Identifier: Apache-2.0 */
/* What the tables of convert.h share. */
#ifndef PM_SIMD_CONVERT_INT_H
#define PM_SIMD_CONVERT_INT_H

#include "base/dtype.h"
#include "simd/convert.h"
#include "simd/simd_int.h"

static inline bool pm_convert_f16_finite(uint16_t h)
{
    return (h & 0x7c00u) != 0x7c00u;
}

/* false: no whole number from -128 to 127. By bits, so that a denormal is not taken as zero. */
static inline bool pm_convert_to_i8(float f, int8_t *out)
{
    uint32_t bits, back_bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x43000000u) return false; /* above 128, infinite, NaN */
    const int value = (int)f;
    const float back = (float)value;
    memcpy(&back_bits, &back, sizeof back_bits);
    if (value == 128 || (bits != back_bits && bits != 0x80000000u)) return false;
    *out = (int8_t)value;
    return true;
}

#endif
