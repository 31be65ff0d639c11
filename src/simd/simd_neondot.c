/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Advanced SIMD with dot products (Armv8.2): the floats of simd_neon.c, and products of bytes, 16 to an instruction
 * (sdot), which is four times as many as of floats.
 *
 * sdot takes both sides signed, so the panel holds code - 128: panel[(d / 4) * 256 + i * 4 + d % 4] is dimension d of
 * row i. What is missing, 128 times the sum of the query's bytes, is added to each sum. 4 queries x 16 rows are sixteen
 * accumulators; four groups of a query are in one register, so that there are five loads to sixteen products. A sum is
 * at most 255 * 128 * 65536 < 2^31, and so are its two parts.
 */
#include "simd_int.h"

#if defined(__aarch64__)

#if !defined(__ARM_FEATURE_DOTPROD)
#error "simd_neondot.c needs -march=armv8.2-a+dotprod"
#endif

#include "simd_neon_int.h"

#define GROUP_BYTES 256 /* four dimensions of all rows of a panel */
#define STEP        16  /* dimensions that are packed, or taken from a query, at once */

/* ---- packing ---- */

struct extent {
    float32x4_t most, norm2, sum;
};

INLINE void measure(struct extent *e, float32x4_t v)
{
    e->most = vmaxq_f32(e->most, vabsq_f32(v));
    e->norm2 = vfmaq_f32(e->norm2, v, v);
    e->sum = vaddq_f32(e->sum, v);
}

/* x - offset of the first n elements, and zeros. */
INLINE float32x4_t first_less(const float *x, size_t n, float32x4_t offset)
{
    return vsubq_f32(load_first(x, n, offset), offset);
}

/* Row i of the facts but for rest2; returns 1 / scale, or 0. */
INLINE float measure_row(const float *row, size_t dim, float32x4_t offset, bool whole, pm_simd_codes *facts, size_t i)
{
    const float32x4_t zero = vdupq_n_f32(0);
    struct extent a = {zero, zero, zero}, b = a;
    size_t d = 0;
    for (; d + 2 * W <= dim; d += 2 * W) {
        measure(&a, vsubq_f32(vld1q_f32(row + d), offset));
        measure(&b, vsubq_f32(vld1q_f32(row + d + W), offset));
    }
    for (; d < dim; d += W)
        measure(&b, first_less(row + d, dim - d < W ? dim - d : W, offset));
    const float most = vmaxvq_f32(vmaxq_f32(a.most, b.most));
    facts->norm2[i] = vaddvq_f32(vaddq_f32(a.norm2, b.norm2));
    facts->sum[i] = vaddvq_f32(vaddq_f32(a.sum, b.sum));
    const bool fits = most == 0 || (most >= PM_SIMD_CODES_LEAST && most <= PM_SIMD_CODES_MOST);
    facts->scale[i] = !fits ? 0 : most == 0 || (whole && most <= 128) ? 1 : most / 127;
    return fits ? 1 / facts->scale[i] : 0;
}

/* Four dimensions of one row, as codes less 128; adds to the row's rest. */
INLINE int32x4_t code_four(float32x4_t v, float scale, float inverse, float32x4_t *rest)
{
    int32x4_t code = vcvtnq_s32_f32(vmulq_n_f32(v, inverse));
    code = vminq_s32(vmaxq_s32(code, vdupq_n_s32(-128)), vdupq_n_s32(127));
    v = vfmsq_f32(v, vdupq_n_f32(scale), vcvtq_f32_s32(code));
    *rest = vfmaq_f32(*rest, v, v);
    return code;
}

/* STEP dimensions of one row from d on, as bytes. `rest` are two partial sums of four. */
INLINE float32x4_t code_row(const float *row, size_t dim, size_t d, float32x4_t offset, float scale, float inverse,
                            float32x4_t *rest)
{
    int32x4_t code[4];
    UNROLL
    for (size_t c = 0; c < 4; c++, d += W) {
        const size_t left = d < dim ? dim - d : 0;
        code[c] = code_four(first_less(row + d, left, offset), scale, inverse, &rest[c % 2]);
    }
    const int16x8_t low = vcombine_s16(vmovn_s32(code[0]), vmovn_s32(code[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(code[2]), vmovn_s32(code[3]));
    return vreinterpretq_f32_s8(vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

static void pack_codes(const float *const *rows, size_t n, size_t dim, float offset, bool whole, uint8_t *panel,
                       pm_simd_codes *facts)
{
    const float32x4_t off = vdupq_n_f32(offset), zero = vdupq_n_f32(0);
    for (size_t i = 0; i < n; i += W) {
        const size_t here = n - i < W ? n - i : W;
        float inverse[W];
        float32x4_t rest[W][2];
        for (size_t r = 0; r < here; r++) {
            inverse[r] = measure_row(rows[i + r], dim, off, whole, facts, i + r);
            rest[r][0] = rest[r][1] = zero;
        }
        for (size_t d = 0; d < dim; d += STEP) {
            float32x4_t v[W];
            for (size_t r = 0; r < W; r++)
                v[r] = r < here ? code_row(rows[i + r], dim, d, off, facts->scale[i + r], inverse[r], rest[r]) : zero;
            transpose4(v);
            UNROLL
            for (size_t c = 0; c < W; c++)
                vst1q_u8(panel + (d / 4 + c) * GROUP_BYTES + i * 4, vreinterpretq_u8_f32(v[c]));
        }
        for (size_t r = 0; r < here; r++)
            facts->rest2[i + r] = vaddvq_f32(vaddq_f32(rest[r][0], rest[r][1]));
    }
}

/* ---- products ---- */

/* Bits of four rows from row i on that are below. */
INLINE uint64_t below(int32x4_t sum, const pm_simd_limit *limit, const pm_simd_bounds *rows, size_t i)
{
    float32x4_t bound = vdupq_n_f32(limit->c);
    bound = vfmaq_n_f32(bound, vld1q_f32(rows->inverse + i), limit->a);
    bound = vfmaq_n_f32(bound, vld1q_f32(rows->plus + i), limit->p);
    bound = vfmsq_n_f32(bound, vld1q_f32(rows->loss + i), limit->b);
    return (uint64_t)bits_of(vcltq_f32(vcvtq_f32_s32(sum), bound)) << i;
}

/* The products of one group of dimensions, element `lane` of y; a literal, as the instruction holds it. */
#define ONE_GROUP(lane)                                                                                                \
    do {                                                                                                               \
        UNROLL                                                                                                         \
        for (size_t v = 0; v < 4; v++) {                                                                               \
            const int8x16_t x = vreinterpretq_s8_u8(vld1q_u8(at + (lane)*GROUP_BYTES + v * 16));                       \
            UNROLL                                                                                                     \
            for (size_t c = 0; c < Q; c++)                                                                             \
                sum[c * 4 + v] = vdotq_laneq_s32(sum[c * 4 + v], x, y[c], lane);                                       \
        }                                                                                                              \
    } while (0)

/* Q queries and the 16 rows from i on; takes those that are below out of not_below. */
INLINE void product(const int8_t *queries, size_t stride, const pm_simd_limit *limit, const uint8_t *panel, size_t dim,
                    const pm_simd_bounds *rows, uint64_t *not_below, size_t i, size_t Q)
{
    int32x4_t sum[16], bytes[4];
    UNROLL
    for (size_t c = 0; c < Q * 4; c++)
        sum[c] = vdupq_n_s32(0);
    UNROLL
    for (size_t c = 0; c < Q; c++)
        bytes[c] = vdupq_n_s32(0);
    for (size_t d = 0; d < dim; d += STEP) {
        const uint8_t *at = panel + d / 4 * GROUP_BYTES + i * 4;
        int8x16_t y[4];
        UNROLL
        for (size_t c = 0; c < Q; c++) {
            y[c] = vld1q_s8(queries + c * stride + d);
            bytes[c] = vdotq_s32(bytes[c], y[c], vdupq_n_s8(1));
        }
        ONE_GROUP(0);
        ONE_GROUP(1);
        ONE_GROUP(2);
        ONE_GROUP(3);
    }
    UNROLL
    for (size_t c = 0; c < Q; c++) {
        const int32x4_t missing = vdupq_n_s32(vaddvq_s32(bytes[c]) * 128);
        uint64_t bits = 0;
        UNROLL
        for (size_t v = 0; v < 4; v++)
            bits |= below(vaddq_s32(sum[c * 4 + v], missing), &limit[c], rows, i + v * W);
        not_below[c] &= ~bits;
    }
}

static void codes_not_below(const int8_t *queries, size_t stride, size_t nqueries, const pm_simd_limit *limit,
                            const uint8_t *panel, size_t n, size_t dim, const pm_simd_bounds *rows, uint64_t *not_below)
{
    for (size_t j = 0; j < nqueries; j++)
        not_below[j] = ~(uint64_t)0 >> ((PM_SIMD_TILE - n) & 63);
    for (size_t i = 0; i < n; i += 4 * W) {
        size_t j = 0;
        for (; j + 4 <= nqueries; j += 4)
            product(queries + j * stride, stride, limit + j, panel, dim, rows, not_below + j, i, 4);
        for (; j < nqueries; j++)
            product(queries + j * stride, stride, limit + j, panel, dim, rows, not_below + j, i, 1);
    }
}

const pm_simd pm_simd_neondot = {
    .name = "neondot",
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
    .pack_codes = pack_codes,
    .codes_not_below = codes_not_below,
};

#endif
