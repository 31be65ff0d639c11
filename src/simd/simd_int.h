/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the levels, for simd.c, and what the levels share. */
#ifndef PM_SIMD_INT_H
#define PM_SIMD_INT_H

#include "simd.h"

/* The longest run of dimensions that a kernel sums in one partial sum from the rows of a tile; see pm_simd_rel_error.
 */
#define PM_SIMD_RUN 128

/*
 * Kernels are written once for any shape and inlined with constant shapes; their arrays of vectors become registers
 * only when every loop over them is unrolled whole, which each compiler must be told in its own words.
 */
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/*
 * How far behind a block of eight rows the next one lies. Rows that are scanned follow each other in memory, so this
 * also holds for the block behind the last, which is the next call's. Rows that a filter left lie anywhere: then 0, as
 * lines that are asked for in vain take the place of those that are needed.
 */
INLINE size_t next_rows(const void *next, const void *first, size_t bytes_a_row)
{
    const size_t ahead = (size_t)((uintptr_t)next - (uintptr_t)first);
    return ahead <= 16 * bytes_a_row ? ahead : 0;
}

INLINE size_t next_block(const float *const *rows, size_t dim)
{
    return next_rows(rows[8], rows[0], dim * sizeof(float));
}

#if defined(__x86_64__)
/* One core's loads alone keep too few lines under way. Assembler, as gcc 12 drops such calls from unrolled loops. */
INLINE void ask_for(const float *row, size_t ahead)
{
    __asm__ volatile("prefetcht0 (%0)" : : "r"((uintptr_t)row + ahead));
}
#endif

/* What the levels name: codes_<level>.c, convert.c, convert_<level>.c, graph_<level>.c, ranks_<level>.c,
 * stored_<level>.c, walk_<level>.c. */
extern const struct pm_simd_quant pm_simd_quant_scalar;
extern const struct pm_convert pm_convert_scalar;
extern const struct pm_simd_graph pm_simd_graph_scalar;
extern const struct pm_simd_walk pm_simd_walk_scalar;
extern const struct pm_simd_ranks pm_simd_ranks_scalar;
#if defined(__x86_64__)
extern const struct pm_simd_quant pm_simd_quant_avx2, pm_simd_quant_avx512, pm_simd_quant_avx512vnni;
extern const struct pm_convert pm_convert_avx2, pm_convert_avx512;
extern const struct pm_simd_walk pm_simd_walk_avx2, pm_simd_walk_avx512vnni;
extern const struct pm_simd_stored pm_simd_stored_avx2, pm_simd_stored_avx512;
extern const struct pm_simd_ranks pm_simd_ranks_avx2, pm_simd_ranks_avx512;
extern const struct pm_simd_graph pm_simd_graph_avx2, pm_simd_graph_avx512, pm_simd_graph_avx512vnni, pm_simd_graph_amx;
#endif

extern const pm_simd pm_simd_scalar;
#if defined(__x86_64__)
extern const pm_simd pm_simd_avx2;
extern const pm_simd pm_simd_avxvnni;
extern const pm_simd pm_simd_avx512;
extern const pm_simd pm_simd_avx512vnni;
extern const pm_simd pm_simd_amx;

/* simd_avx2.c; also what avxvnni does with floats. */
void pm_avx2_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out);
void pm_avx2_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out);
size_t pm_avx2_first_not_finite(const float *x, size_t n);
void pm_avx2_norm2_rows(const float *const *rows, size_t n, size_t dim, float *out);
void pm_avx2_dot_tile(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                      float *const *out);
uint64_t pm_avx2_not_below(const float *dot, const float *plus, const float *length, size_t n, float a, float b);
double pm_avx2_exact_l2(const float *a, const float *b, size_t dim);
double pm_avx2_exact_dot(const float *a, const float *b, size_t dim);
void pm_avx2_exact_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *out);
void pm_avx2_exact_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *dot, double *norm2);

/* simd_avx512.c; also what avx512vnni does with floats. */
void pm_avx512_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out);
void pm_avx512_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out);
size_t pm_avx512_first_not_finite(const float *x, size_t n);
void pm_avx512_norm2_rows(const float *const *rows, size_t n, size_t dim, float *out);
void pm_avx512_dot_tile(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                        float *const *out);
uint64_t pm_avx512_not_below(const float *dot, const float *plus, const float *length, size_t n, float a, float b);
double pm_avx512_exact_l2(const float *a, const float *b, size_t dim);
double pm_avx512_exact_dot(const float *a, const float *b, size_t dim);
void pm_avx512_exact_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *out);
void pm_avx512_exact_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *dot,
                              double *norm2);

/* simd_avx512vnni.c; also what amx does with codes, and with few queries. */
void pm_avx512vnni_pack_codes(const float *const *rows, size_t n, size_t dim, float offset, bool whole, uint8_t *panel,
                              pm_simd_codes *facts);
void pm_avx512vnni_codes_not_below(const int8_t *queries, size_t stride, size_t nqueries, const pm_simd_limit *limit,
                                   const uint8_t *panel, size_t n, size_t dim, const pm_simd_bounds *rows,
                                   uint64_t *not_below);
#elif defined(__aarch64__)
extern const pm_simd pm_simd_neon;
extern const pm_simd pm_simd_neondot;

/* simd_neon.c; also what neondot does with floats. */
void pm_neon_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out);
void pm_neon_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out);
size_t pm_neon_first_not_finite(const float *x, size_t n);
void pm_neon_norm2_rows(const float *const *rows, size_t n, size_t dim, float *out);
void pm_neon_dot_tile(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                      float *const *out);
uint64_t pm_neon_not_below(const float *dot, const float *plus, const float *length, size_t n, float a, float b);
double pm_neon_exact_l2(const float *a, const float *b, size_t dim);
double pm_neon_exact_dot(const float *a, const float *b, size_t dim);
void pm_neon_exact_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *out);
void pm_neon_exact_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *dot, double *norm2);
#endif

#endif
