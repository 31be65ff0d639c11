/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Advanced SIMD, which every 64-bit ARM processor has. There are no masked loads: the one to three elements of a tail
 * are loaded one by one.
 *
 * The shapes are for 32 registers of four floats: eight rows share a load of the query, with two chains each; the tile
 * kernel has 4 queries x 16 rows in sixteen accumulators, and takes four dimensions of a query from one register, so
 * that there are five loads to sixteen FMAs.
 */
#include "simd_int.h"

#if defined(__aarch64__)

#include <float.h>

#include "simd_neon_int.h"

enum op { OP_L2, OP_DOT, OP_NORM2 };

INLINE float32x4_t step(enum op op, float32x4_t q, float32x4_t x, float32x4_t sum)
{
    float32x4_t left = op == OP_L2 ? vsubq_f32(q, x) : op == OP_DOT ? q : x;
    float32x4_t right = op == OP_L2 ? left : x;
    return vfmaq_f32(sum, left, right);
}

/* Element r of the result is the sum of v[r]. */
INLINE float32x4_t sum4(const float32x4_t *v)
{
    return vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3]));
}

/*
 * The sums of n <= R rows; S >= 2 steps of the dimension are in flight at once, so that R * S chains are, and eight
 * partial sums or more of each row.
 */
INLINE void block(enum op op, const float *q, const float *const *rows, size_t n, size_t dim, float *out, size_t R,
                  size_t S)
{
    const float *row[8];
    float32x4_t sum[16];
    UNROLL
    for (size_t r = 0; r < R; r++)
        row[r] = rows[r < n ? r : n - 1]; /* rows that are not there repeat the last: loads, but no branches */
    UNROLL
    for (size_t c = 0; c < R * S; c++)
        sum[c] = vdupq_n_f32(0);

    size_t d = 0;
    for (; d + W * S <= dim; d += W * S) {
        UNROLL
        for (size_t s = 0; s < S; s++) {
            float32x4_t qv = op == OP_NORM2 ? vdupq_n_f32(0) : vld1q_f32(q + d + s * W);
            UNROLL
            for (size_t r = 0; r < R; r++)
                sum[s * R + r] = step(op, qv, vld1q_f32(row[r] + d + s * W), sum[s * R + r]);
        }
    }
    const float32x4_t zero = vdupq_n_f32(0);
    while (d < dim) {
        const size_t left = dim - d < W ? dim - d : W;
        float32x4_t qv = op == OP_NORM2 ? zero : load_first(q + d, left, zero);
        UNROLL
        for (size_t r = 0; r < R; r++)
            sum[r] = step(op, qv, load_first(row[r] + d, left, zero), sum[r]);
        d += left;
    }
    UNROLL
    for (size_t c = R; c < R * S; c++)
        sum[c % R] = vaddq_f32(sum[c % R], sum[c]);
    if (R == 1) {
        out[0] = vaddvq_f32(sum[0]);
    } else {
        float sums[8];
        UNROLL
        for (size_t r = 0; r < R; r += 4)
            vst1q_f32(sums + r, sum4(sum + r));
        for (size_t r = 0; r < n; r++)
            out[r] = sums[r];
    }
}

INLINE void each_row(enum op op, const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    size_t i = 0;
    for (; n - i > 4; i += n - i < 8 ? n - i : 8)
        block(op, q, rows + i, n - i < 8 ? n - i : 8, dim, out + i, 8, 2);
    if (n - i > 1)
        block(op, q, rows + i, n - i, dim, out + i, 4, 4);
    else if (n - i == 1)
        block(op, q, rows + i, 1, dim, out + i, 1, 8);
}

void pm_neon_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_L2, q, rows, n, dim, out);
}

void pm_neon_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_DOT, q, rows, n, dim, out);
}

void pm_neon_norm2_rows(const float *const *rows, size_t n, size_t dim, float *out)
{
    each_row(OP_NORM2, NULL, rows, n, dim, out);
}

/*
 * panel[d * PM_SIMD_TILE + i] = rows[i][from + d] for d < run, i < n; zero for n <= i < wide and for the dimensions
 * that make `run` a multiple of W, as `wide` is one.
 */
static void pack(const float *const *rows, size_t n, size_t wide, size_t from, size_t run, float *panel)
{
    const float32x4_t zero = vdupq_n_f32(0);
    for (size_t i = 0; i < wide; i += W) {
        for (size_t d = 0; d < run; d += W) {
            const size_t columns = run - d < W ? run - d : W;
            float32x4_t v[W];
            UNROLL
            for (size_t r = 0; r < W; r++)
                v[r] = i + r < n ? load_first(rows[i + r] + from + d, columns, zero) : zero;
            transpose4(v);
            UNROLL
            for (size_t c = 0; c < W; c++)
                vst1q_f32(panel + (d + c) * PM_SIMD_TILE + i, v[c]);
        }
    }
}

/* The products of one dimension, element `lane` of q; a literal, as the instruction holds it. */
#define ONE_DIMENSION(lane)                                                                                            \
    do {                                                                                                               \
        UNROLL                                                                                                         \
        for (size_t v = 0; v < 4; v++) {                                                                               \
            const float32x4_t x = vld1q_f32(panel + (d + (lane)) * PM_SIMD_TILE + at + v * W);                         \
            UNROLL                                                                                                     \
            for (size_t j = 0; j < Q; j++)                                                                             \
                sum[j * 4 + v] = vfmaq_laneq_f32(sum[j * 4 + v], x, q[j], lane);                                       \
        }                                                                                                              \
    } while (0)

/* Adds (in the first run: sets) the products of Q queries and the 4 * W rows from `at` on over one run to out. */
INLINE void product(const float *const *queries, size_t from, size_t run, const float *panel, float *const *out,
                    size_t at, size_t Q)
{
    const float32x4_t zero = vdupq_n_f32(0);
    float32x4_t sum[16];
    UNROLL
    for (size_t c = 0; c < Q * 4; c++)
        sum[c] = zero;
    for (size_t d = 0; d < run; d += W) {
        float32x4_t q[4];
        UNROLL
        for (size_t j = 0; j < Q; j++)
            q[j] = load_first(queries[j] + from + d, run - d < W ? run - d : W, zero);
        ONE_DIMENSION(0);
        ONE_DIMENSION(1);
        ONE_DIMENSION(2);
        ONE_DIMENSION(3);
    }
    UNROLL
    for (size_t c = 0; c < Q * 4; c++) {
        float *to = out[c / 4] + at + c % 4 * W;
        vst1q_f32(to, vaddq_f32(from == 0 ? zero : vld1q_f32(to), sum[c]));
    }
}

void pm_neon_dot_tile(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                      float *const *out)
{
    _Alignas(64) float panel[PM_SIMD_RUN * PM_SIMD_TILE];
    const size_t wide = (n + 4 * W - 1) / (4 * W) * (4 * W);
    for (size_t from = 0; from < dim; from += PM_SIMD_RUN) {
        const size_t run = dim - from < PM_SIMD_RUN ? dim - from : PM_SIMD_RUN;
        pack(rows, n, wide, from, run, panel);
        for (size_t at = 0; at < wide; at += 4 * W) {
            size_t j = 0;
            for (; j + 4 <= nqueries; j += 4)
                product(queries + j, from, run, panel, out + j, at, 4);
            for (; j < nqueries; j++)
                product(queries + j, from, run, panel, out + j, at, 1);
        }
    }
}

uint64_t pm_neon_not_below(const float *dot, const float *plus, const float *length, size_t n, float a, float b)
{
    const float32x4_t least = vdupq_n_f32(-FLT_MAX), as = vdupq_n_f32(a), bs = vdupq_n_f32(b);
    uint64_t below = 0;
    for (size_t i = 0; i < n; i += W) {
        float32x4_t x = vld1q_f32(dot + i), limit = vaddq_f32(as, vld1q_f32(plus + i));
        limit = vfmaq_f32(limit, bs, vld1q_f32(length + i));
        below |= (uint64_t)bits_of(vandq_u32(vcgeq_f32(x, least), vcltq_f32(x, limit))) << i;
    }
    return ~below & (~(uint64_t)0 >> ((PM_SIMD_TILE - n) & 63));
}

size_t pm_neon_first_not_finite(const float *x, size_t n)
{
    const uint32x4_t exponent = vdupq_n_u32(0x7f800000);
    for (size_t i = 0; i < n; i += W) {
        uint32x4_t bits = vreinterpretq_u32_f32(load_first(x + i, n - i < W ? n - i : W, vdupq_n_f32(0)));
        unsigned bad = bits_of(vceqq_u32(vandq_u32(bits, exponent), exponent));
        if (bad != 0) return i + (size_t)__builtin_ctz(bad);
    }
    return n;
}

/* ---- canonical sums: exact.c's eight lanes are four registers of doubles ---- */

INLINE float64x2_t exact_lanes(float64x2_t x, float64x2_t y, float64x2_t lane, bool l2)
{
    if (l2) x = y = vsubq_f64(x, y);
    return vaddq_f64(lane, vmulq_f64(x, y)); /* not fused: the build says -ffp-contract=off */
}

INLINE double exact_sum(const float *a, const float *b, size_t dim, bool l2)
{
    float64x2_t at[4];
    UNROLL
    for (size_t c = 0; c < 4; c++)
        at[c] = vdupq_n_f64(0);
    size_t d = 0;
    for (; d + 8 <= dim; d += 8) {
        UNROLL
        for (size_t c = 0; c < 4; c += 2) {
            const float32x4_t x = vld1q_f32(a + d + c * 2), y = vld1q_f32(b + d + c * 2);
            at[c] = exact_lanes(vcvt_f64_f32(vget_low_f32(x)), vcvt_f64_f32(vget_low_f32(y)), at[c], l2);
            at[c + 1] = exact_lanes(vcvt_high_f64_f32(x), vcvt_high_f64_f32(y), at[c + 1], l2);
        }
    }
    double lane[8];
    UNROLL
    for (size_t c = 0; c < 4; c++)
        vst1q_f64(lane + c * 2, at[c]);
    for (size_t j = 0; d + j < dim; j++) {
        double x = (double)a[d + j], y = (double)b[d + j];
        if (l2) x = y = x - y;
        const double term = x * y;
        lane[j] += term;
    }
    const double h0 = lane[0] + lane[4], h1 = lane[1] + lane[5], h2 = lane[2] + lane[6], h3 = lane[3] + lane[7];
    return (h0 + h2) + (h1 + h3);
}

double pm_neon_exact_l2(const float *a, const float *b, size_t dim)
{
    return exact_sum(a, b, dim, true);
}

double pm_neon_exact_dot(const float *a, const float *b, size_t dim)
{
    return exact_sum(a, b, dim, false);
}

void pm_neon_exact_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = exact_sum(q, rows[i], dim, true);
}

void pm_neon_exact_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *dot, double *norm2)
{
    for (size_t i = 0; i < n; i++) {
        dot[i] = exact_sum(q, rows[i], dim, false);
        if (norm2 != NULL) norm2[i] = exact_sum(rows[i], rows[i], dim, false);
    }
}

const pm_simd pm_simd_neon = {
    .name = "neon",
    .quant = &pm_simd_quant_scalar,
    .convert = &pm_convert_scalar,
    .walk = &pm_simd_walk_scalar,
    .ranks = &pm_simd_ranks_scalar,
    .graph = &pm_simd_graph_scalar,
    .l2_rows = pm_neon_l2_rows,
    .dot_rows = pm_neon_dot_rows,
    .first_not_finite = pm_neon_first_not_finite,
    .norm2_rows = pm_neon_norm2_rows,
    .dot_tile = pm_neon_dot_tile,
    .not_below = pm_neon_not_below,
    .exact_l2 = pm_neon_exact_l2,
    .exact_dot = pm_neon_exact_dot,
    .exact_l2_rows = pm_neon_exact_l2_rows,
    .exact_dot_rows = pm_neon_exact_dot_rows,
};

#endif
