/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels on quantised codes, one table of functions an instruction set. docs/format/codes.md has the layouts.
 *
 * Unlike the float kernels of simd.h, every level gives the same bits: integers, and float operations on single
 * elements, never fused and never reordered. So what is stored, and what is passed over, depends on no machine.
 *
 * No function here allocates, locks or calls the system; all may be called from any thread.
 */
#ifndef PM_CODES_H
#define PM_CODES_H

#include <stdbool.h>

#include "simd/simd.h"

#define PM_CODES_BLOCK  32  /* rows of a block of 1-bit codes */
#define PM_CODES_FACTOR 256 /* bytes before its codes: 32 x (float A, bfloat16 G, bfloat16 F) */

/* A query as look-up tables: entry j of the 16 of group g is what the nibble j adds to a row's sum. */
typedef struct pm_simd_bits {
    size_t dim;           /* D: a multiple of 16 */
    const uint8_t *table; /* 4 D bytes, 64-byte aligned */
    float scale, base;    /* t = scale * sum + base */
    float error;          /* effort |q'| */
} pm_simd_bits;

/* A query in 16-bit integers q, against codes in bytes u; 255 * sum |q| < 2^31, and |q| <= PM_CODES_QUERY_MAX. */
typedef struct pm_simd_bytes {
    size_t dim;          /* a multiple of 64 */
    const int16_t *wide; /* dim of them, 64-byte aligned */
    const int8_t *split; /* of every 64: 64 x h, then 64 x l; q = 256 h + l */
} pm_simd_bytes;
#define PM_CODES_QUERY_MAX 32639

#define PM_CODES_ROUNDS 4 /* of a rotation */

typedef struct pm_simd_quant {
    const char *name; /* "scalar", "avx2", "avx512", "avx512vnni" */

    /*
     * Looks at `n` blocks, each 4 D + PM_CODES_FACTOR bytes and 64-byte aligned. Bit r of mask[b] is set unless
     * A - (F t + G error) > limit for row r of block b; so it is set where that is no number.
     */
    void (*bits_near)(const pm_simd_bits *query, const uint8_t *blocks, size_t n, float limit, uint32_t *mask);

    /* out[i] = sum_d query[d] * rows[i][d]; each row has query->dim readable bytes */
    void (*bytes_dot)(const pm_simd_bytes *query, const uint8_t *const *rows, size_t n, int32_t *out);

    /* o[i] = (x[i] * inverse - centre[i]) * scale, in double precision, then rounded */
    void (*centre)(const float *x, const float *centre, size_t n, double inverse, double scale, float *o);

    /* The rotation of docs/format/codes.md: `padded` elements, a multiple of 16, window the largest power of two in it.
     */
    void (*rotate)(float *o, size_t padded, size_t window, uint64_t seed);

    /* sums[0] = sum x[i]^2, sums[1] = sum |x[i]|, in the order of pm_exact_dot; the largest |x[i]|; n a multiple of 8
     */
    float (*facts)(const float *x, size_t n, double sums[2]);

    /* bytes[i] = floor(x[i] * inverse + 128.5); the products are from -127.5 to 127.5 */
    void (*encode)(const float *x, size_t n, float inverse, uint8_t *bytes);

    /* bytes[i] = x[i]; false if not all are integers from 0 to 255, and bytes say nothing then */
    bool (*integers)(const float *x, size_t n, uint8_t *bytes);

    /*
     * Tables of pm_simd_bits: for each four of x the sixteen sums +-x0 +-x1 +-x2 +-x3, plus where a bit is set, less
     * the least, times inverse, rounded; inverse is such that none is above 255.
     */
    void (*tables)(const float *x, size_t n, float inverse, uint8_t *table);
} pm_simd_quant;

#endif
