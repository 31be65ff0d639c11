/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX2 kernels of graphs. Products of bytes would saturate, so elements are widened to 16 bits and multiplied in pairs:
 * 4 rows x 16 packed ones are 8 accumulators. |a - b|^2 = |a|^2 + |b|^2 - 2 ab, modulo 2^32 on the way.
 *
 * A panel: |b|^2 of its rows, then panel[64 + (d / 2) * 64 + i * 4 + d % 2 * 2] is dimension d of row i, in 16 bits.
 */
#include "graph_int.h"

#if defined(__x86_64__)

#if !defined(__AVX2__)
#error "graph_avx2.c needs -mavx2"
#endif

#include <immintrin.h>

#define RUN 256 /* dimensions widened at once */

static uint32_t norm2(const uint8_t *row, size_t stride)
{
    uint32_t sum = 0;
    for (size_t d = 0; d < stride; d++)
        sum += (uint32_t)row[d] * row[d];
    return sum;
}

void pm_graph_pack_avx2(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *panels)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *panel = panels + i / PM_GRAPH_PANEL * (64 + 2 * PM_GRAPH_PANEL * stride);
        uint32_t *term = (uint32_t *)(void *)panel + i % PM_GRAPH_PANEL, *pair = term + 16;
        *term = norm2(rows[i], stride);
        for (size_t d = 0; d < stride; d += 2)
            pair[d / 2 * PM_GRAPH_PANEL] = rows[i][d] | (uint32_t)rows[i][d + 1] << 16;
    }
}

/* Adds the products of `run` dimensions to out[c * apart .. + 15]; `first`: instead of what is there. */
INLINE void add_run(const int16_t wide[4][RUN], const uint8_t *pairs, size_t run, bool first, uint32_t *const *out)
{
    __m256i sum[4][2];
    UNROLL
    for (size_t c = 0; c < 4; c++)
        for (size_t h = 0; h < 2; h++)
            sum[c][h] = first ? _mm256_setzero_si256() : _mm256_load_si256((const __m256i *)(const void *)out[c] + h);
    for (size_t d = 0; d < run; d += 2, pairs += 64) {
        const __m256i lo = _mm256_load_si256((const __m256i *)(const void *)pairs);
        const __m256i hi = _mm256_load_si256((const __m256i *)(const void *)(pairs + 32));
        UNROLL
        for (size_t c = 0; c < 4; c++) {
            int32_t two;
            memcpy(&two, wide[c] + d, sizeof two);
            const __m256i a = _mm256_set1_epi32(two);
            sum[c][0] = _mm256_add_epi32(sum[c][0], _mm256_madd_epi16(a, lo));
            sum[c][1] = _mm256_add_epi32(sum[c][1], _mm256_madd_epi16(a, hi));
        }
    }
    UNROLL
    for (size_t c = 0; c < 4; c++)
        for (size_t h = 0; h < 2; h++)
            _mm256_store_si256((__m256i *)(void *)out[c] + h, sum[c][h]);
}

/* From the product of a row and those of a panel to their distances. */
INLINE void finish(uint32_t row, const uint8_t *panel, uint32_t *out)
{
    for (size_t h = 0; h < 2; h++) {
        __m256i *at = (__m256i *)(void *)out + h, product = _mm256_load_si256(at);
        __m256i both =
            _mm256_add_epi32(_mm256_set1_epi32((int)row), _mm256_load_si256((const __m256i *)(const void *)panel + h));
        _mm256_store_si256(at, _mm256_sub_epi32(both, _mm256_add_epi32(product, product)));
    }
}

static void four_rows(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels, size_t packed,
                      uint32_t *out, size_t apart)
{
    const size_t bytes = 64 + 2 * PM_GRAPH_PANEL * stride, many = pm_graph_panels(packed);
    _Alignas(64) int16_t wide[4][RUN];
    _Alignas(64) uint32_t spare[PM_GRAPH_PANEL];
    for (size_t d = 0; d < stride; d += RUN) {
        const size_t run = stride - d < RUN ? stride - d : RUN;
        for (size_t c = 0; c < 4; c++)
            for (size_t i = 0; i < run; i++)
                wide[c][i] = rows[c < n ? c : 0][d + i];
        for (size_t p = 0; p < many; p++) {
            uint32_t *at[4];
            for (size_t c = 0; c < 4; c++)
                at[c] = c < n ? out + c * apart + p * PM_GRAPH_PANEL : spare;
            add_run(wide, panels + p * bytes + 64 + d * 32, run, d == 0, at);
        }
    }
    for (size_t c = 0; c < n; c++) {
        const uint32_t term = norm2(rows[c], stride);
        for (size_t p = 0; p < many; p++)
            finish(term, panels + p * bytes, out + c * apart + p * PM_GRAPH_PANEL);
    }
}

void pm_graph_distances_avx2(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels, size_t packed,
                             uint32_t *out, size_t apart)
{
    for (size_t i = 0; i < n; i += 4)
        four_rows(rows + i, n - i < 4 ? n - i : 4, stride, panels, packed, out + i * apart, apart);
}

const pm_simd_graph pm_simd_graph_avx2 = {
    .name = "avx2",
    .element = 2,
    .pack = pm_graph_pack_avx2,
    .distances = pm_graph_distances_avx2,
    .nearest = graph_nearest,
    .merge = graph_merge,
};

#endif
