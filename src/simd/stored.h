/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels over rows as they are stored, in fewer bytes than float32, one table of functions an instruction set: a scan
 * of such rows is bound by memory, and converting them first would make it bound by that.
 *
 * Rows have any alignment that their elements need; nothing past their ends is read. Nothing allocates, locks or calls
 * the system; all may be called from any thread.
 */
#ifndef PM_SIMD_STORED_H
#define PM_SIMD_STORED_H

#include <stddef.h>
#include <stdint.h>

#define PM_STORED_INT8_DIM 65536 /* of rows of int8, at most: no sum overflows */

typedef struct pm_simd_stored {
    /* As l2_rows, dot_rows and norm2_rows of simd.h, over float16. */
    void (*l2_f16)(const float *q, const uint16_t *const *rows, size_t n, size_t dim, float *out);
    void (*dots_f16)(const float *q, const uint16_t *const *rows, size_t n, size_t dim, float *dot, float *norm2);

    /* Exact: sums of q[d] * rows[i][d] and of rows[i][d]^2. 1 <= dim <= PM_STORED_INT8_DIM. */
    void (*dots_i8)(const int8_t *q, const int8_t *const *rows, size_t n, size_t dim, int32_t *dot, int32_t *norm2);
} pm_simd_stored;

#endif
