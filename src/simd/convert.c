/* SPDX-License-Identifier: Apache-2.0 */
/* The table that runs everywhere, and what needs none. */
#include <string.h>

#include "simd/convert_int.h"

static void from_f16(const uint16_t *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = pm_f16_to_f32(x[i]);
}

static void from_i8(const int8_t *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)x[i];
}

static size_t to_f16(const float *x, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = pm_f32_to_f16(x[i]);
        if (!pm_convert_f16_finite(out[i])) return i;
    }
    return n;
}

static size_t to_i8(const float *x, size_t n, int8_t *out)
{
    for (size_t i = 0; i < n; i++)
        if (!pm_convert_to_i8(x[i], &out[i])) return i;
    return n;
}

static size_t first_not_finite_f16(const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!pm_convert_f16_finite(x[i])) return i;
    return n;
}

const pm_convert pm_convert_scalar = {.from_f16 = from_f16,
                                      .from_i8 = from_i8,
                                      .to_f16 = to_f16,
                                      .to_i8 = to_i8,
                                      .first_not_finite_f16 = first_not_finite_f16};

void pm_convert_row(const pm_convert *convert, pomai_dtype dtype, const void *x, size_t n, float *out)
{
    if (dtype == POMAI_DTYPE_FLOAT16)
        convert->from_f16(x, n, out);
    else if (dtype == POMAI_DTYPE_INT8)
        convert->from_i8(x, n, out);
    else
        memcpy(out, x, n * sizeof *out);
}

bool pm_convert_all_zero(pomai_dtype dtype, const void *x, size_t n)
{
    const float *single = x;
    const uint16_t *half = x;
    const int8_t *byte = x;
    for (size_t i = 0; i < n; i++)
        if (dtype == POMAI_DTYPE_FLOAT16 ? (half[i] & 0x7fff) != 0
                                         : (dtype == POMAI_DTYPE_INT8 ? byte[i] != 0 : single[i] != 0.0f))
            return false;
    return true;
}
