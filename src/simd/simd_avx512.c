/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX-512 (F, BW, DQ, VL). Tails are masked loads, which do not fault on the lanes they leave out.
 *
 * Row kernels: one load of the query serves eight rows, so the loop is bound by the loads of the rows (dot) or by the
 * two vector operations an element needs (l2). Eight chains of FMAs cover their latency of four cycles on two ports.
 * Tile kernel: the rows are transposed into a panel, and 4 queries x 64 rows are 16 accumulators, which leaves eight
 * loads to sixteen FMAs, and no horizontal sums.
 */
#include "simd_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "simd_avx512.c needs -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include <float.h>

#include "simd_avx512_int.h"

#define NOT_FINITE 0x99 /* fpclass: quiet NaN, +infinity, -infinity, signalling NaN */

enum op { OP_L2, OP_DOT, OP_NORM2 };

INLINE __m512 step(enum op op, __m512 q, __m512 x, __m512 sum)
{
    __m512 left = op == OP_L2 ? _mm512_sub_ps(q, x) : op == OP_DOT ? q : x;
    __m512 right = op == OP_L2 ? left : x;
    return _mm512_fmadd_ps(left, right, sum);
}

/*
 * The sums of n <= R rows; S steps of the dimension are in flight at once, so that R * S chains are. What lies `ahead`
 * bytes behind is asked for meanwhile; 0: nothing.
 */
INLINE void block(enum op op, const float *q, const float *const *rows, size_t n, size_t dim, size_t ahead, float *out,
                  size_t R, size_t S)
{
    const float *row[8];
    __m512 sum[8];
    UNROLL
    for (size_t r = 0; r < R; r++)
        row[r] = rows[r < n ? r : n - 1]; /* rows that are not there repeat the last: loads, but no branches */
    UNROLL
    for (size_t c = 0; c < R * S; c++)
        sum[c] = _mm512_setzero_ps();

    size_t d = 0;
    for (; d + W * S <= dim; d += W * S) {
        UNROLL
        for (size_t s = 0; s < S; s++) {
            __m512 qv = op == OP_NORM2 ? _mm512_setzero_ps() : _mm512_loadu_ps(q + d + s * W);
            UNROLL
            for (size_t r = 0; r < R; r++) {
                sum[s * R + r] = step(op, qv, _mm512_loadu_ps(row[r] + d + s * W), sum[s * R + r]);
                if (R == 8) ask_for(row[r] + d, ahead);
            }
        }
    }
    while (d < dim) {
        size_t left = dim - d < W ? dim - d : W;
        __mmask16 mask = first_lanes(left);
        __m512 qv = op == OP_NORM2 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, q + d);
        UNROLL
        for (size_t r = 0; r < R; r++)
            sum[r] = step(op, qv, _mm512_maskz_loadu_ps(mask, row[r] + d), sum[r]);
        d += left;
    }
    UNROLL
    for (size_t c = R; c < R * S; c++)
        sum[c % R] = _mm512_add_ps(sum[c % R], sum[c]);
    if (R == 1)
        out[0] = _mm512_reduce_add_ps(sum[0]);
    else if (R == 4)
        _mm_mask_storeu_ps(out, (__mmask8)first_lanes(n), sum4(sum));
    else
        _mm256_mask_storeu_ps(out, (__mmask8)first_lanes(n), _mm256_set_m128(sum4(sum + 4), sum4(sum)));
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

void pm_avx512_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_L2, q, rows, n, dim, out);
}

void pm_avx512_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_DOT, q, rows, n, dim, out);
}

void pm_avx512_norm2_rows(const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_NORM2, NULL, rows, n, dim, out);
}

/* panel[d * PM_SIMD_TILE + i] = rows[i][from + d] for d < run, i < n; zero for n <= i < wide, a multiple of W. */
static void pack(const float *const *rows, size_t n, size_t wide, size_t from, size_t run, float *panel)
{
    for (size_t i = 0; i < wide; i += W) {
        for (size_t d = 0; d < run; d += W) {
            size_t columns = run - d < W ? run - d : W;
            __mmask16 mask = first_lanes(columns);
            __m512 v[16];
            UNROLL
            for (size_t r = 0; r < W; r++)
                v[r] = i + r < n ? _mm512_maskz_loadu_ps(mask, rows[i + r] + from + d) : _mm512_setzero_ps();
            transpose16(v);
            UNROLL
            for (size_t c = 0; c < W; c++) {
                if (c < columns) _mm512_store_ps(panel + (d + c) * PM_SIMD_TILE + i, v[c]);
            }
        }
    }
}

/* Adds (in the first run: sets) the products of Q queries and V vectors of rows over one run to out. */
INLINE void product(const float *const *queries, size_t from, size_t run, const float *panel, float *const *out,
                    size_t Q, size_t V)
{
    __m512 sum[16];
    UNROLL
    for (size_t c = 0; c < Q * V; c++)
        sum[c] = _mm512_setzero_ps();
    for (size_t d = 0; d < run; d++) {
        __m512 x[4];
        UNROLL
        for (size_t v = 0; v < V; v++)
            x[v] = _mm512_load_ps(panel + d * PM_SIMD_TILE + v * W);
        UNROLL
        for (size_t j = 0; j < Q; j++) {
            __m512 q = _mm512_set1_ps(queries[j][from + d]);
            UNROLL
            for (size_t v = 0; v < V; v++)
                sum[j * V + v] = _mm512_fmadd_ps(q, x[v], sum[j * V + v]);
        }
    }
    UNROLL
    for (size_t c = 0; c < Q * V; c++) {
        float *to = out[c / V] + c % V * W;
        __m512 before = from == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(to);
        _mm512_storeu_ps(to, _mm512_add_ps(before, sum[c]));
    }
}

INLINE void products(const float *const *queries, size_t nqueries, size_t from, size_t run, const float *panel,
                     float *const *out, size_t V)
{
    size_t j = 0;
    for (; j + 4 <= nqueries; j += 4)
        product(queries + j, from, run, panel, out + j, 4, V);
    for (; j < nqueries; j++)
        product(queries + j, from, run, panel, out + j, 1, V);
}

void pm_avx512_dot_tile(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                        float *const *out)
{
    _Alignas(64) float panel[PM_SIMD_RUN * PM_SIMD_TILE];
    size_t wide = n > 2 * W ? 4 * W : 2 * W;
    for (size_t from = 0; from < dim; from += PM_SIMD_RUN) {
        size_t run = dim - from < PM_SIMD_RUN ? dim - from : PM_SIMD_RUN;
        pack(rows, n, wide, from, run, panel);
        if (wide == 4 * W)
            products(queries, nqueries, from, run, panel, out, 4);
        else
            products(queries, nqueries, from, run, panel, out, 2);
    }
}

uint64_t pm_avx512_not_below(const float *dot, const float *plus, const float *length, size_t n, float a, float b)
{
    const __m512 least = _mm512_set1_ps(-FLT_MAX), as = _mm512_set1_ps(a), bs = _mm512_set1_ps(b);
    uint64_t below = 0;
    for (size_t i = 0; i < n; i += W) {
        __m512 x = _mm512_loadu_ps(dot + i), limit = _mm512_add_ps(as, _mm512_loadu_ps(plus + i));
        limit = _mm512_fmadd_ps(bs, _mm512_loadu_ps(length + i), limit);
        __mmask16 finite = _mm512_cmp_ps_mask(x, least, _CMP_GE_OQ);
        below |= (uint64_t)_mm512_mask_cmp_ps_mask(finite, x, limit, _CMP_LT_OQ) << i;
    }
    return ~below & (~(uint64_t)0 >> ((PM_SIMD_TILE - n) & 63));
}

size_t pm_avx512_first_not_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += W) {
        __mmask16 mask = n - i < W ? first_lanes(n - i) : (__mmask16)0xffff;
        unsigned bad = _mm512_fpclass_ps_mask(_mm512_maskz_loadu_ps(mask, x + i), NOT_FINITE);
        if (bad != 0) return i + (size_t)__builtin_ctz(bad);
    }
    return n;
}

/* ---- canonical sums: exact.c's eight lanes are one register of doubles ---- */

INLINE double sum_lanes(__m512d lane)
{
    __m256d half = _mm256_add_pd(_mm512_castpd512_pd256(lane), _mm512_extractf64x4_pd(lane, 1));
    __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(half), _mm256_extractf128_pd(half, 1));
    return _mm_cvtsd_f64(pair) + _mm_cvtsd_f64(_mm_unpackhi_pd(pair, pair));
}

INLINE double exact_sum(const float *a, const float *b, size_t dim, bool l2)
{
    __m512d lane = _mm512_setzero_pd();
    for (size_t d = 0; d < dim; d += 8) {
        const __mmask8 mask = (__mmask8)(dim - d < 8 ? (1u << (dim - d)) - 1u : 0xff);
        __m512d x = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, a + d));
        __m512d y = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, b + d));
        if (l2) x = y = _mm512_sub_pd(x, y);
        lane = _mm512_mask_add_pd(lane, mask, lane, _mm512_mul_pd(x, y));
    }
    return sum_lanes(lane);
}

double pm_avx512_exact_l2(const float *a, const float *b, size_t dim)
{
    return exact_sum(a, b, dim, true);
}

double pm_avx512_exact_dot(const float *a, const float *b, size_t dim)
{
    return exact_sum(a, b, dim, false);
}

/* R rows side by side. */
INLINE void exact_block(const float *q, const float *const *rows, size_t dim, double *out, double *norm2, size_t R,
                        bool l2, bool norms)
{
    __m512d lane[4], own[4];
    UNROLL
    for (size_t r = 0; r < R; r++)
        lane[r] = own[r] = _mm512_setzero_pd();
    for (size_t d = 0; d < dim; d += 8) {
        const __mmask8 mask = (__mmask8)(dim - d < 8 ? (1u << (dim - d)) - 1u : 0xff);
        const __m512d x = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, q + d));
        UNROLL
        for (size_t r = 0; r < R; r++) {
            const __m512d y = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, rows[r] + d)), t = _mm512_sub_pd(x, y);
            lane[r] = _mm512_mask_add_pd(lane[r], mask, lane[r], l2 ? _mm512_mul_pd(t, t) : _mm512_mul_pd(x, y));
            if (norms) own[r] = _mm512_mask_add_pd(own[r], mask, own[r], _mm512_mul_pd(y, y));
        }
    }
    UNROLL
    for (size_t r = 0; r < R; r++) {
        out[r] = sum_lanes(lane[r]);
        if (norms) norm2[r] = sum_lanes(own[r]);
    }
}

void pm_avx512_exact_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *out)
{
    size_t i = 0;
    for (; n - i >= 4; i += 4)
        exact_block(q, rows + i, dim, out + i, NULL, 4, true, false);
    for (; i < n; i++)
        exact_block(q, rows + i, dim, out + i, NULL, 1, true, false);
}

void pm_avx512_exact_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *dot,
                              double *norm2)
{
    size_t i = 0;
    if (norm2 == NULL) {
        for (; n - i >= 4; i += 4)
            exact_block(q, rows + i, dim, dot + i, NULL, 4, false, false);
        for (; i < n; i++)
            exact_block(q, rows + i, dim, dot + i, NULL, 1, false, false);
        return;
    }
    for (; n - i >= 4; i += 4)
        exact_block(q, rows + i, dim, dot + i, norm2 + i, 4, false, true);
    for (; i < n; i++)
        exact_block(q, rows + i, dim, dot + i, norm2 + i, 1, false, true);
}

const pm_simd pm_simd_avx512 = {
    .name = "avx512",
    .quant = &pm_simd_quant_avx512,
    .convert = &pm_convert_avx512,
    .walk = &pm_simd_walk_avx2,
    .ranks = &pm_simd_ranks_avx512,
    .stored = &pm_simd_stored_avx512,
    .graph = &pm_simd_graph_avx512,
    .l2_rows = pm_avx512_l2_rows,
    .dot_rows = pm_avx512_dot_rows,
    .first_not_finite = pm_avx512_first_not_finite,
    .norm2_rows = pm_avx512_norm2_rows,
    .dot_tile = pm_avx512_dot_tile,
    .not_below = pm_avx512_not_below,
    .exact_l2 = pm_avx512_exact_l2,
    .exact_dot = pm_avx512_exact_dot,
    .exact_l2_rows = pm_avx512_exact_l2_rows,
    .exact_dot_rows = pm_avx512_exact_dot_rows,
};

#endif
