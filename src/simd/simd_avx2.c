/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX2 with FMA. Tails are masked loads, which do not fault on the lanes they leave out.
 *
 * The shapes are those of simd_avx512.c, within sixteen registers: eight rows share a load of the query; the tile
 * kernel has 6 queries x 16 rows in twelve accumulators, eight loads to twelve FMAs.
 */
#include "simd_int.h"

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__FMA__)
#error "simd_avx2.c needs -mavx2 -mfma -mf16c"
#endif

#include <float.h>

#include "simd_avx2_int.h"

enum op { OP_L2, OP_DOT, OP_NORM2 };

INLINE __m256 step(enum op op, __m256 q, __m256 x, __m256 sum)
{
    __m256 left = op == OP_L2 ? _mm256_sub_ps(q, x) : op == OP_DOT ? q : x;
    __m256 right = op == OP_L2 ? left : x;
    return _mm256_fmadd_ps(left, right, sum);
}

/*
 * The sums of n <= R rows; S steps of the dimension are in flight at once, so that R * S chains are. What lies `ahead`
 * bytes behind is asked for meanwhile; 0: nothing.
 */
INLINE void block(enum op op, const float *q, const float *const *rows, size_t n, size_t dim, size_t ahead, float *out,
                  size_t R, size_t S)
{
    const float *row[8];
    __m256 sum[8];
    UNROLL
    for (size_t r = 0; r < R; r++)
        row[r] = rows[r < n ? r : n - 1]; /* rows that are not there repeat the last: loads, but no branches */
    UNROLL
    for (size_t c = 0; c < R * S; c++)
        sum[c] = _mm256_setzero_ps();

    size_t d = 0;
    for (; d + W * S <= dim; d += W * S) {
        UNROLL
        for (size_t s = 0; s < S; s++) {
            __m256 qv = op == OP_NORM2 ? _mm256_setzero_ps() : _mm256_loadu_ps(q + d + s * W);
            UNROLL
            for (size_t r = 0; r < R; r++) {
                sum[s * R + r] = step(op, qv, _mm256_loadu_ps(row[r] + d + s * W), sum[s * R + r]);
                if (R == 8 && (d & W) == 0) ask_for(row[r] + d, ahead);
            }
        }
    }
    while (d < dim) {
        size_t left = dim - d < W ? dim - d : W;
        __m256i mask = first_lanes(left);
        __m256 qv = op == OP_NORM2 ? _mm256_setzero_ps() : _mm256_maskload_ps(q + d, mask);
        UNROLL
        for (size_t r = 0; r < R; r++)
            sum[r] = step(op, qv, _mm256_maskload_ps(row[r] + d, mask), sum[r]);
        d += left;
    }
    UNROLL
    for (size_t c = R; c < R * S; c++)
        sum[c % R] = _mm256_add_ps(sum[c % R], sum[c]);
    if (R == 1) {
        __m256 four[4] = {sum[0], sum[0], sum[0], sum[0]};
        _mm_store_ss(out, sum4(four));
    } else if (R == 4) {
        _mm_maskstore_ps(out, _mm256_castsi256_si128(first_lanes(n)), sum4(sum));
    } else {
        _mm256_maskstore_ps(out, first_lanes(n), _mm256_set_m128(sum4(sum + 4), sum4(sum)));
    }
}

INLINE void each_row(enum op op, const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    size_t i = 0;
    const size_t ahead = n > 8 ? next_block(rows, dim) : 0;
    for (; n - i > 4; i += n - i < 8 ? n - i : 8)
        block(op, q, rows + i, n - i < 8 ? n - i : 8, dim, ahead, out + i, 8, 1);
    if (n - i > 1)
        block(op, q, rows + i, n - i, dim, 0, out + i, 4, 2);
    else if (n - i == 1)
        block(op, q, rows + i, 1, dim, 0, out + i, 1, 4);
}

void pm_avx2_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_L2, q, rows, n, dim, out);
}

void pm_avx2_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_DOT, q, rows, n, dim, out);
}

void pm_avx2_norm2_rows(const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_NORM2, NULL, rows, n, dim, out);
}

/* panel[d * PM_SIMD_TILE + i] = rows[i][from + d] for d < run, i < n; zero for n <= i < wide, a multiple of W. */
static void pack(const float *const *rows, size_t n, size_t wide, size_t from, size_t run, float *panel)
{
    for (size_t i = 0; i < wide; i += W) {
        for (size_t d = 0; d < run; d += W) {
            size_t columns = run - d < W ? run - d : W;
            __m256i mask = first_lanes(columns);
            __m256 v[8];
            UNROLL
            for (size_t r = 0; r < W; r++)
                v[r] = i + r < n ? _mm256_maskload_ps(rows[i + r] + from + d, mask) : _mm256_setzero_ps();
            transpose8(v);
            UNROLL
            for (size_t c = 0; c < W; c++) {
                if (c < columns) _mm256_store_ps(panel + (d + c) * PM_SIMD_TILE + i, v[c]);
            }
        }
    }
}

/* Adds (in the first run: sets) the products of Q queries and the 2 * W rows from `at` on over one run to out. */
INLINE void product(const float *const *queries, size_t from, size_t run, const float *panel, float *const *out,
                    size_t at, size_t Q)
{
    __m256 sum[12];
    UNROLL
    for (size_t c = 0; c < Q * 2; c++)
        sum[c] = _mm256_setzero_ps();
    for (size_t d = 0; d < run; d++) {
        const float *x = panel + d * PM_SIMD_TILE + at;
        __m256 x0 = _mm256_load_ps(x), x1 = _mm256_load_ps(x + W);
        UNROLL
        for (size_t j = 0; j < Q; j++) {
            __m256 q = _mm256_broadcast_ss(queries[j] + from + d);
            sum[j * 2] = _mm256_fmadd_ps(q, x0, sum[j * 2]);
            sum[j * 2 + 1] = _mm256_fmadd_ps(q, x1, sum[j * 2 + 1]);
        }
    }
    UNROLL
    for (size_t c = 0; c < Q * 2; c++) {
        float *to = out[c / 2] + at + c % 2 * W;
        __m256 before = from == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(to);
        _mm256_storeu_ps(to, _mm256_add_ps(before, sum[c]));
    }
}

static void products(const float *const *queries, size_t nqueries, size_t from, size_t run, const float *panel,
                     float *const *out, size_t at)
{
    size_t j = 0;
    for (; j + 6 <= nqueries; j += 6)
        product(queries + j, from, run, panel, out + j, at, 6);
    for (; j + 2 <= nqueries; j += 2)
        product(queries + j, from, run, panel, out + j, at, 2);
    if (j < nqueries) product(queries + j, from, run, panel, out + j, at, 1);
}

void pm_avx2_dot_tile(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                      float *const *out)
{
    _Alignas(64) float panel[PM_SIMD_RUN * PM_SIMD_TILE];
    size_t wide = (n + 2 * W - 1) / (2 * W) * (2 * W);
    for (size_t from = 0; from < dim; from += PM_SIMD_RUN) {
        size_t run = dim - from < PM_SIMD_RUN ? dim - from : PM_SIMD_RUN;
        pack(rows, n, wide, from, run, panel);
        for (size_t at = 0; at < wide; at += 2 * W)
            products(queries, nqueries, from, run, panel, out, at);
    }
}

uint64_t pm_avx2_not_below(const float *dot, const float *plus, const float *length, size_t n, float a, float b)
{
    const __m256 least = _mm256_set1_ps(-FLT_MAX), as = _mm256_set1_ps(a), bs = _mm256_set1_ps(b);
    uint64_t below = 0;
    for (size_t i = 0; i < n; i += W) {
        __m256 x = _mm256_loadu_ps(dot + i), limit = _mm256_add_ps(as, _mm256_loadu_ps(plus + i));
        limit = _mm256_fmadd_ps(bs, _mm256_loadu_ps(length + i), limit);
        __m256 yes = _mm256_and_ps(_mm256_cmp_ps(x, least, _CMP_GE_OQ), _mm256_cmp_ps(x, limit, _CMP_LT_OQ));
        below |= (uint64_t)(unsigned)_mm256_movemask_ps(yes) << i;
    }
    return ~below & (~(uint64_t)0 >> ((PM_SIMD_TILE - n) & 63));
}

size_t pm_avx2_first_not_finite(const float *x, size_t n)
{
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    for (size_t i = 0; i < n; i += W) {
        __m256i mask = first_lanes(n - i < W ? n - i : W);
        __m256i bits = _mm256_and_si256(_mm256_castps_si256(_mm256_maskload_ps(x + i, mask)), exponent);
        int bad = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(bits, exponent)));
        if (bad != 0) return i + (size_t)__builtin_ctz((unsigned)bad);
    }
    return n;
}

/* ---- canonical sums: exact.c's eight lanes are two registers of doubles ---- */

INLINE __m256d exact_lanes(const float *a, const float *b, __m256d lane, bool l2)
{
    __m256d x = _mm256_cvtps_pd(_mm_loadu_ps(a)), y = _mm256_cvtps_pd(_mm_loadu_ps(b));
    if (l2) x = y = _mm256_sub_pd(x, y);
    return _mm256_add_pd(lane, _mm256_mul_pd(x, y));
}

/* What is left from d on, and the sum of all. */
INLINE double exact_rest(const float *a, const float *b, size_t d, size_t dim, __m256d low, __m256d high, bool l2)
{
    double lane[8];
    _mm256_storeu_pd(lane, low);
    _mm256_storeu_pd(lane + 4, high);
    for (size_t j = 0; d + j < dim; j++) {
        double x = (double)a[d + j], y = (double)b[d + j];
        if (l2) x = y = x - y;
        const double term = x * y;
        lane[j] += term;
    }
    const double h0 = lane[0] + lane[4], h1 = lane[1] + lane[5], h2 = lane[2] + lane[6], h3 = lane[3] + lane[7];
    return (h0 + h2) + (h1 + h3);
}

INLINE double exact_sum(const float *a, const float *b, size_t dim, bool l2)
{
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    size_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        low = exact_lanes(a + d, b + d, low, l2);
        high = exact_lanes(a + d + 4, b + d + 4, high, l2);
    }
    return exact_rest(a, b, d, dim, low, high, l2);
}

double pm_avx2_exact_l2(const float *a, const float *b, size_t dim)
{
    return exact_sum(a, b, dim, true);
}

double pm_avx2_exact_dot(const float *a, const float *b, size_t dim)
{
    return exact_sum(a, b, dim, false);
}

void pm_avx2_exact_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = exact_sum(q, rows[i], dim, true);
}

/* Both sums of a row side by side. */
INLINE void exact_both(const float *q, const float *x, size_t dim, double *dot, double *norm2)
{
    __m256d low = _mm256_setzero_pd(), high = low, own_low = low, own_high = low;
    size_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        low = exact_lanes(q + d, x + d, low, false);
        high = exact_lanes(q + d + 4, x + d + 4, high, false);
        own_low = exact_lanes(x + d, x + d, own_low, false);
        own_high = exact_lanes(x + d + 4, x + d + 4, own_high, false);
    }
    *dot = exact_rest(q, x, d, dim, low, high, false);
    *norm2 = exact_rest(x, x, d, dim, own_low, own_high, false);
}

void pm_avx2_exact_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *dot, double *norm2)
{
    for (size_t i = 0; i < n; i++) {
        if (norm2 == NULL)
            dot[i] = exact_sum(q, rows[i], dim, false);
        else
            exact_both(q, rows[i], dim, dot + i, norm2 + i);
    }
}

const pm_simd pm_simd_avx2 = {
    .name = "avx2",
    .quant = &pm_simd_quant_avx2,
    .convert = &pm_convert_avx2,
    .walk = &pm_simd_walk_avx2,
    .ranks = &pm_simd_ranks_avx2,
    .stored = &pm_simd_stored_avx2,
    .graph = &pm_simd_graph_avx2,
    .l2_rows = pm_avx2_l2_rows,
    .dot_rows = pm_avx2_dot_rows,
    .first_not_finite = pm_avx2_first_not_finite,
    .norm2_rows = pm_avx2_norm2_rows,
    .dot_tile = pm_avx2_dot_tile,
    .not_below = pm_avx2_not_below,
    .exact_l2 = pm_avx2_exact_l2,
    .exact_dot = pm_avx2_exact_dot,
    .exact_l2_rows = pm_avx2_exact_l2_rows,
    .exact_dot_rows = pm_avx2_exact_dot_rows,
};

#endif
