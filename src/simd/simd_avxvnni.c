/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX2 with AVX-VNNI: the floats of AVX2, and products of bytes, 32 to an instruction (vpdpbusd), which is four times
 * as many as of floats.
 *
 * The panel is that of simd_avx512vnni.c: panel[(d / 4) * 256 + i * 4 + d % 4] is dimension d of row i. 6 queries x 16
 * rows are twelve accumulators; eight loads to twelve products. Codes are unsigned, bytes of queries signed. A sum is
 * at most 255 * 128 * 65536 < 2^31.
 */
#include "simd_int.h"

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__AVXVNNI__)
#error "simd_avxvnni.c needs -mavx2 -mfma -mf16c -mavxvnni"
#endif

#include "simd_avx2_int.h"

#define GROUP_BYTES 256 /* four dimensions of all rows of a panel */
#define STEP        32  /* dimensions that are packed at once */

/* ---- packing ---- */

struct extent {
    __m256 most, norm2, sum;
};

INLINE void measure(struct extent *e, __m256 v)
{
    e->most = _mm256_max_ps(e->most, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v));
    e->norm2 = _mm256_fmadd_ps(v, v, e->norm2);
    e->sum = _mm256_add_ps(e->sum, v);
}

/* x - offset of the first n <= W elements, and zeros. */
INLINE __m256 first_less(const float *x, size_t n, __m256 offset)
{
    const __m256i mask = first_lanes(n);
    return _mm256_and_ps(_mm256_castsi256_ps(mask), _mm256_sub_ps(_mm256_maskload_ps(x, mask), offset));
}

INLINE float sum_of(__m256 v)
{
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

INLINE float most_of(__m256 v)
{
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

/* Row i of the facts but for rest2; returns 1 / scale, or 0. */
INLINE float measure_row(const float *row, size_t dim, __m256 offset, bool whole, pm_simd_codes *facts, size_t i)
{
    const __m256 zero = _mm256_setzero_ps();
    struct extent a = {zero, zero, zero}, b = a;
    size_t d = 0;
    for (; d + 2 * W <= dim; d += 2 * W) {
        measure(&a, _mm256_sub_ps(_mm256_loadu_ps(row + d), offset));
        measure(&b, _mm256_sub_ps(_mm256_loadu_ps(row + d + W), offset));
    }
    for (; d < dim; d += W)
        measure(&b, first_less(row + d, dim - d < W ? dim - d : W, offset));
    const float most = most_of(_mm256_max_ps(a.most, b.most));
    facts->norm2[i] = sum_of(_mm256_add_ps(a.norm2, b.norm2));
    facts->sum[i] = sum_of(_mm256_add_ps(a.sum, b.sum));
    const bool fits = most == 0 || (most >= PM_SIMD_CODES_LEAST && most <= PM_SIMD_CODES_MOST);
    facts->scale[i] = !fits ? 0 : most == 0 || (whole && most <= 128) ? 1 : most / 127;
    return fits ? 1 / facts->scale[i] : 0;
}

/* STEP dimensions of one row from d on, as bytes; adds to the row's rest. */
INLINE __m256 code_row(const float *row, size_t dim, size_t d, __m256 offset, float scale, float inverse, __m256 *rest)
{
    const __m256 by = _mm256_set1_ps(inverse), step = _mm256_set1_ps(scale);
    const __m256i least = _mm256_set1_epi32(-128), most = _mm256_set1_epi32(127);
    __m256i code[4];
    UNROLL
    for (size_t c = 0; c < 4; c++, d += W) {
        const size_t left = d < dim ? dim - d : 0;
        __m256 v = left >= W ? _mm256_sub_ps(_mm256_loadu_ps(row + d), offset) : first_less(row + d, left, offset);
        code[c] = _mm256_cvtps_epi32(_mm256_mul_ps(v, by));
        code[c] = _mm256_min_epi32(_mm256_max_epi32(code[c], least), most);
        v = _mm256_fnmadd_ps(step, _mm256_cvtepi32_ps(code[c]), v);
        *rest = _mm256_fmadd_ps(v, v, *rest);
        code[c] = _mm256_sub_epi32(code[c], least);
    }
    /* each half of the packed register has four of each */
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i ab = _mm256_packus_epi32(code[0], code[1]), cd = _mm256_packus_epi32(code[2], code[3]);
    return _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order));
}

static void pack_codes(const float *const *rows, size_t n, size_t dim, float offset, bool whole, uint8_t *panel,
                       pm_simd_codes *facts)
{
    const __m256 off = _mm256_set1_ps(offset);
    for (size_t i = 0; i < n; i += W) {
        const size_t here = n - i < W ? n - i : W;
        float inverse[W];
        __m256 rest[W];
        for (size_t r = 0; r < here; r++) {
            inverse[r] = measure_row(rows[i + r], dim, off, whole, facts, i + r);
            rest[r] = _mm256_setzero_ps();
        }
        for (size_t d = 0; d < dim; d += STEP) {
            __m256 v[W];
            for (size_t r = 0; r < W; r++)
                v[r] = r < here ? code_row(rows[i + r], dim, d, off, facts->scale[i + r], inverse[r], &rest[r])
                                : _mm256_setzero_ps();
            transpose8(v);
            UNROLL
            for (size_t c = 0; c < W; c++)
                _mm256_store_ps((float *)(void *)(panel + (d / 4 + c) * GROUP_BYTES + i * 4), v[c]);
        }
        for (size_t r = 0; r < here; r++)
            facts->rest2[i + r] = sum_of(rest[r]);
    }
}

/* ---- products ---- */

/* Bits of 8 rows from row i on that are below. */
INLINE uint64_t below(__m256i sum, const pm_simd_limit *limit, const pm_simd_bounds *rows, size_t i)
{
    __m256 bound = _mm256_set1_ps(limit->c);
    bound = _mm256_fmadd_ps(_mm256_set1_ps(limit->a), _mm256_loadu_ps(rows->inverse + i), bound);
    bound = _mm256_fmadd_ps(_mm256_set1_ps(limit->p), _mm256_loadu_ps(rows->plus + i), bound);
    bound = _mm256_fnmadd_ps(_mm256_set1_ps(limit->b), _mm256_loadu_ps(rows->loss + i), bound);
    const __m256 yes = _mm256_cmp_ps(_mm256_cvtepi32_ps(sum), bound, _CMP_LT_OQ);
    return (uint64_t)(unsigned)_mm256_movemask_ps(yes) << i;
}

/* Q queries and the 2 * W rows from `at` on; takes those that are below out of not_below. */
INLINE void product(const int8_t *queries, size_t stride, const pm_simd_limit *limit, const uint8_t *panel, size_t dim,
                    const pm_simd_bounds *rows, uint64_t *not_below, size_t at, size_t Q)
{
    const size_t groups = (dim + 3) / 4;
    const int8_t *q[6];
    __m256i sum[12];
    UNROLL
    for (size_t c = 0; c < Q; c++)
        q[c] = queries + c * stride;
    UNROLL
    for (size_t c = 0; c < Q * 2; c++)
        sum[c] = _mm256_setzero_si256();
    for (size_t g = 0; g < groups; g++) {
        const __m256i *x = (const __m256i *)(const void *)(panel + g * GROUP_BYTES + at * 4);
        const __m256i x0 = _mm256_load_si256(x), x1 = _mm256_load_si256(x + 1);
        UNROLL
        for (size_t c = 0; c < Q; c++) {
            int32_t four;
            __builtin_memcpy(&four, q[c] + g * 4, sizeof four);
            const __m256i y = _mm256_set1_epi32(four);
            sum[c * 2] = _mm256_dpbusd_avx_epi32(sum[c * 2], x0, y);
            sum[c * 2 + 1] = _mm256_dpbusd_avx_epi32(sum[c * 2 + 1], x1, y);
        }
    }
    UNROLL
    for (size_t c = 0; c < Q; c++)
        not_below[c] &= ~(below(sum[c * 2], &limit[c], rows, at) | below(sum[c * 2 + 1], &limit[c], rows, at + W));
}

static void codes_not_below(const int8_t *queries, size_t stride, size_t nqueries, const pm_simd_limit *limit,
                            const uint8_t *panel, size_t n, size_t dim, const pm_simd_bounds *rows, uint64_t *not_below)
{
    for (size_t j = 0; j < nqueries; j++)
        not_below[j] = ~(uint64_t)0 >> ((PM_SIMD_TILE - n) & 63);
    for (size_t at = 0; at < n; at += 2 * W) {
        size_t j = 0;
        for (; j + 6 <= nqueries; j += 6)
            product(queries + j * stride, stride, limit + j, panel, dim, rows, not_below + j, at, 6);
        for (; j + 2 <= nqueries; j += 2)
            product(queries + j * stride, stride, limit + j, panel, dim, rows, not_below + j, at, 2);
        if (j < nqueries) product(queries + j * stride, stride, limit + j, panel, dim, rows, not_below + j, at, 1);
    }
}

const pm_simd pm_simd_avxvnni = {
    .name = "avxvnni",
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
    .pack_codes = pack_codes,
    .codes_not_below = codes_not_below,
};

#endif
