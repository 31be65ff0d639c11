/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX-512 with VNNI: the floats of AVX-512, and products of bytes, 64 to an instruction (vpdpbusd), which is four times
 * as many as of floats.
 *
 * The panel has four codes of a row beside each other, so that they are one 32-bit element: panel[(d / 4) * 256 + i * 4
 * + d % 4] is dimension d of row i. 4 queries x 64 rows are 16 accumulators; eight loads to sixteen products. Codes are
 * unsigned, bytes of queries signed. A sum is at most 255 * 128 * 65536 < 2^31.
 */
#include "simd_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512VNNI__)
#error "simd_avx512vnni.c needs -mavx512vnni"
#endif

#include <float.h>

#include "simd_avx512_int.h"

#define GROUP_BYTES 256 /* four dimensions of all rows of a panel */

/* ---- packing ---- */

struct extent {
    __m512 most, norm2, sum;
};

INLINE void measure(struct extent *e, __m512 v)
{
    e->most = _mm512_max_ps(e->most, _mm512_abs_ps(v));
    e->norm2 = _mm512_fmadd_ps(v, v, e->norm2);
    e->sum = _mm512_add_ps(e->sum, v);
}

/* Row i of the facts but for rest2; returns 1 / scale, or 0. */
INLINE float measure_row(const float *row, size_t dim, __m512 offset, bool whole, pm_simd_codes *facts, size_t i)
{
    const __m512 zero = _mm512_setzero_ps();
    struct extent a = {zero, zero, zero}, b = a;
    size_t d = 0;
    for (; d + 2 * W <= dim; d += 2 * W) {
        measure(&a, _mm512_sub_ps(_mm512_loadu_ps(row + d), offset));
        measure(&b, _mm512_sub_ps(_mm512_loadu_ps(row + d + W), offset));
    }
    for (; d < dim; d += W) {
        const __mmask16 mask = first_lanes(dim - d < W ? dim - d : W);
        measure(&b, _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, row + d), offset));
    }
    const float most = _mm512_reduce_max_ps(_mm512_max_ps(a.most, b.most));
    facts->norm2[i] = _mm512_reduce_add_ps(_mm512_add_ps(a.norm2, b.norm2));
    facts->sum[i] = _mm512_reduce_add_ps(_mm512_add_ps(a.sum, b.sum));
    const bool fits = most == 0 || (most >= PM_SIMD_CODES_LEAST && most <= PM_SIMD_CODES_MOST);
    facts->scale[i] = !fits ? 0 : most == 0 || (whole && most <= 128) ? 1 : most / 127;
    return fits ? 1 / facts->scale[i] : 0;
}

/* 64 dimensions of one row from d on, as bytes; adds to the row's rest. What lies `ahead` bytes behind is asked for
 * meanwhile. */
INLINE void code_row(const float *row, size_t dim, size_t d, size_t ahead, __m512 offset, float scale, float inverse,
                     __m512 *rest, uint8_t out[64])
{
    const __m512 by = _mm512_set1_ps(inverse), step = _mm512_set1_ps(scale);
    const __m512i least = _mm512_set1_epi32(-128), most = _mm512_set1_epi32(127);
    UNROLL
    for (size_t c = 0; c < 4; c++, d += W) {
        ask_for(row + d, ahead);
        const size_t left = d < dim ? dim - d : 0;
        const __mmask16 mask = first_lanes(left < W ? left : W);
        __m512 v = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, row + d), offset);
        __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(v, by));
        code = _mm512_min_epi32(_mm512_max_epi32(code, least), most);
        v = _mm512_fnmadd_ps(step, _mm512_cvtepi32_ps(code), v);
        *rest = _mm512_fmadd_ps(v, v, *rest);
        _mm_store_si128((__m128i *)(void *)(out + c * W), _mm512_cvtepi32_epi8(_mm512_sub_epi32(code, least)));
    }
}

void pm_avx512vnni_pack_codes(const float *const *rows, size_t n, size_t dim, float offset, bool whole, uint8_t *panel,
                              pm_simd_codes *facts)
{
    const __m512 off = _mm512_set1_ps(offset);
    const size_t ahead = n > 8 ? 2 * next_block(rows, dim) : 0;
    for (size_t i = 0; i < n; i += W) {
        const size_t here = n - i < W ? n - i : W;
        float inverse[W];
        __m512 rest[W];
        for (size_t r = 0; r < here; r++) {
            inverse[r] = measure_row(rows[i + r], dim, off, whole, facts, i + r);
            rest[r] = _mm512_setzero_ps();
        }
        for (size_t d = 0; d < dim; d += 64) {
            _Alignas(64) uint8_t bytes[W][64];
            __m512 v[16];
            for (size_t r = 0; r < here; r++)
                code_row(rows[i + r], dim, d, ahead, off, facts->scale[i + r], inverse[r], &rest[r], bytes[r]);
            UNROLL
            for (size_t r = 0; r < W; r++)
                v[r] = r < here ? _mm512_load_ps(bytes[r]) : _mm512_setzero_ps();
            transpose16(v);
            UNROLL
            for (size_t c = 0; c < W; c++)
                _mm512_store_ps(panel + (d / 4 + c) * GROUP_BYTES + i * 4, v[c]);
        }
        for (size_t r = 0; r < here; r++)
            facts->rest2[i + r] = _mm512_reduce_add_ps(rest[r]);
    }
}

/* ---- products ---- */

/* Assembler, as gcc 12 moves each accumulator to another register and back around the intrinsic. */
INLINE __m512i add_products(__m512i sum, __m512i codes, __m512i bytes)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(bytes));
    return sum;
}

void pm_avx512vnni_codes_not_below(const int8_t *queries, size_t stride, size_t nqueries, const pm_simd_limit *limit,
                                   const uint8_t *panel, size_t n, size_t dim, const pm_simd_bounds *rows,
                                   uint64_t *not_below)
{
    const size_t groups = (dim + 3) / 4;
    const uint64_t all = ~(uint64_t)0 >> ((PM_SIMD_TILE - n) & 63);
    for (size_t j = 0; j < nqueries; j += 4) {
        const int8_t *q[4];
        __m512i sum[16];
        UNROLL
        for (size_t c = 0; c < 4; c++)
            q[c] = queries + (j + c < nqueries ? j + c : j) * stride;
        UNROLL
        for (size_t c = 0; c < 16; c++)
            sum[c] = _mm512_setzero_si512();
        for (size_t g = 0; g < groups; g++) {
            __m512i x[4];
            UNROLL
            for (size_t v = 0; v < 4; v++)
                x[v] = _mm512_load_si512(panel + g * GROUP_BYTES + v * 64);
            UNROLL
            for (size_t c = 0; c < 4; c++) {
                int32_t four;
                __builtin_memcpy(&four, q[c] + g * 4, sizeof four);
                const __m512i y = _mm512_set1_epi32(four);
                UNROLL
                for (size_t v = 0; v < 4; v++)
                    sum[c * 4 + v] = add_products(sum[c * 4 + v], x[v], y);
            }
        }
        UNROLL
        for (size_t c = 0; c < 4; c++) {
            if (j + c == nqueries) break;
            uint64_t bits = 0;
            UNROLL
            for (size_t v = 0; v < 4; v++)
                bits |= (uint64_t)codes_below(sum[c * 4 + v], &limit[j + c], rows, v * W) << (v * W);
            not_below[j + c] = ~bits & all;
        }
    }
}

const pm_simd pm_simd_avx512vnni = {
    .name = "avx512vnni",
    .quant = &pm_simd_quant_avx512vnni,
    .convert = &pm_convert_avx512,
    .walk = &pm_simd_walk_avx512vnni,
    .ranks = &pm_simd_ranks_avx512,
    .stored = &pm_simd_stored_avx512,
    .graph = &pm_simd_graph_avx512vnni,
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
    .pack_codes = pm_avx512vnni_pack_codes,
    .codes_not_below = pm_avx512vnni_codes_not_below,
};

#endif
