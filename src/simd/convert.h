/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between float32 and the other element types of vectors, one table of functions an instruction set, beside pm_simd.
 *
 * Every level gives the same bits, whatever the rounding mode and the treatment of denormals that the application has
 * set. Arrays have any alignment that their element type needs, and any length; nothing past their ends is read or
 * written. Nothing allocates, locks or calls the system; all may be called from any thread.
 */
#ifndef PM_SIMD_CONVERT_H
#define PM_SIMD_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pomai/types.h"
#include "simd/simd.h"

typedef struct pm_convert {
    /* Exact. */
    void (*from_f16)(const uint16_t *x, size_t n, float *out);
    void (*from_i8)(const int8_t *x, size_t n, float *out);

    /*
     * Rounded to nearest, ties to even, denormals kept. The index of the first element that is not finite, or would not
     * be any more; n if there is none. Otherwise what is in `out` means nothing.
     */
    size_t (*to_f16)(const float *x, size_t n, uint16_t *out);

    /* The index of the first element that is no whole number from -128 to 127; n if there is none. -0 becomes 0. */
    size_t (*to_i8)(const float *x, size_t n, int8_t *out);

    /* Index of the first NaN or infinity, or n. */
    size_t (*first_not_finite_f16)(const uint16_t *x, size_t n);
} pm_convert;

/* `n` elements of any type as float32. */
void pm_convert_row(const pm_convert *convert, pomai_dtype dtype, const void *x, size_t n, float *out);
/* Whether all elements are zero, of either sign. */
bool pm_convert_all_zero(pomai_dtype dtype, const void *x, size_t n);

#endif
