/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX-512 VNNI kernels of graphs. One factor of vpdpbusd is unsigned, the other signed: packed rows are kept less 128,
 * so |a - b|^2 = |a|^2 - 256 sum a + |b|^2 - 2 sum a (b - 128), modulo 2^32 on the way; sums stay below 2^31.
 *
 * A panel: |b|^2 of its rows, then panel[64 + (d / 4) * 64 + i * 4 + d % 4] is dimension d of row i, less 128.
 */
#include "graph_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512VNNI__)
#error "graph_avx512vnni.c needs -mavx512vnni"
#endif

#include "simd_avx512_int.h"

#define ASK_BYTES 256 /* of each row of the next panel, asked for meanwhile: rows lie anywhere */

/* Assembler, as gcc 12 moves each accumulator to another register and back around the intrinsic. */
INLINE __m512i add_products(__m512i sum, __m512i unsigned_bytes, __m512i signed_bytes)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_bytes), "v"(signed_bytes));
    return sum;
}

static void pack_panel(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *panel)
{
    const __m512i high = _mm512_set1_epi8(-128), one = _mm512_set1_epi8(1);
    __m512i products = _mm512_setzero_si512(), sum = products;
    for (size_t d = 0; d < stride; d += 64) {
        __m512 v[16];
        UNROLL
        for (size_t r = 0; r < W; r++)
            v[r] = _mm512_castsi512_ps(_mm512_loadu_si512(rows[r < n ? r : 0] + d));
        transpose16(v);
        UNROLL
        for (size_t c = 0; c < W; c++) {
            const __m512i raw = _mm512_castps_si512(v[c]), less = _mm512_xor_si512(raw, high);
            products = add_products(products, raw, less);
            sum = add_products(sum, one, less);
            _mm512_store_si512(panel + 64 + (d / 4 + c) * 64, less);
        }
    }
    /* sum b^2 = sum b (b - 128) + 128 sum b */
    sum = _mm512_add_epi32(sum, _mm512_set1_epi32((int)(128 * stride)));
    _mm512_store_si512(panel, _mm512_add_epi32(products, _mm512_slli_epi32(sum, 7)));
}

void pm_graph_pack_avx512vnni(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *panels)
{
    const size_t ahead = stride < ASK_BYTES ? stride : ASK_BYTES;
    for (size_t i = 0; i < n; i += PM_GRAPH_PANEL, panels += 64 + PM_GRAPH_PANEL * stride) {
        for (size_t r = i + PM_GRAPH_PANEL; r < n && r < i + 2 * PM_GRAPH_PANEL; r++)
            for (size_t d = 0; d < ahead; d += 64)
                ask_for((const float *)(const void *)rows[r], d);
        pack_panel(rows + i, n - i < PM_GRAPH_PANEL ? n - i : PM_GRAPH_PANEL, stride, panels);
    }
}

uint32_t pm_graph_term_avx512vnni(const uint8_t *row, size_t stride)
{
    const __m512i high = _mm512_set1_epi8(-128);
    __m512i sum = _mm512_setzero_si512(), less = sum;
    for (size_t d = 0; d < stride; d += 64) {
        const __m512i raw = _mm512_loadu_si512(row + d);
        sum = add_products(sum, raw, _mm512_xor_si512(raw, high));
        less = add_products(less, raw, high);
    }
    return (uint32_t)_mm512_reduce_add_epi32(_mm512_add_epi32(sum, less));
}

/* Four rows (those from n on: the first again) and `wide` panels. */
INLINE void tile(const uint8_t *const *rows, const uint32_t *term, size_t n, size_t stride, const uint8_t *panels,
                 size_t wide, uint32_t *out, size_t apart)
{
    const size_t bytes = 64 + PM_GRAPH_PANEL * stride;
    const uint8_t *a[4];
    __m512i sum[16];
    UNROLL
    for (size_t c = 0; c < 4; c++)
        a[c] = rows[c < n ? c : 0];
    UNROLL
    for (size_t c = 0; c < 16; c++)
        sum[c] = _mm512_setzero_si512();
    for (size_t d = 0; d < stride; d += 4) {
        __m512i x[4];
        UNROLL
        for (size_t v = 0; v < wide; v++)
            x[v] = _mm512_load_si512(panels + v * bytes + 64 + d * 16);
        UNROLL
        for (size_t c = 0; c < 4; c++) {
            int32_t four;
            memcpy(&four, a[c] + d, sizeof four);
            const __m512i y = _mm512_set1_epi32(four);
            UNROLL
            for (size_t v = 0; v < wide; v++)
                sum[c * 4 + v] = add_products(sum[c * 4 + v], y, x[v]);
        }
    }
    UNROLL
    for (size_t c = 0; c < 4; c++) {
        if (c == n) break;
        UNROLL
        for (size_t v = 0; v < wide; v++) {
            const __m512i both =
                _mm512_add_epi32(_mm512_load_si512(panels + v * bytes), _mm512_set1_epi32((int)term[c]));
            _mm512_store_si512(out + c * apart + v * W, _mm512_sub_epi32(both, _mm512_slli_epi32(sum[c * 4 + v], 1)));
        }
    }
}

void pm_graph_distances_avx512vnni(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels,
                                   size_t packed, uint32_t *out, size_t apart)
{
    const size_t many = pm_graph_panels(packed), bytes = 64 + PM_GRAPH_PANEL * stride;
    uint32_t term[PM_GRAPH_TILE];
    for (size_t i = 0; i < n; i++)
        term[i] = pm_graph_term_avx512vnni(rows[i], stride);
    for (size_t p = 0; p < many; p += 4) {
        const uint8_t *at = panels + p * bytes;
        for (size_t i = 0; i < n; i += 4) {
            const size_t four = n - i < 4 ? n - i : 4;
            uint32_t *to = out + i * apart + p * W;
            if (many - p >= 4)
                tile(rows + i, term + i, four, stride, at, 4, to, apart);
            else if (many - p == 3)
                tile(rows + i, term + i, four, stride, at, 3, to, apart);
            else if (many - p == 2)
                tile(rows + i, term + i, four, stride, at, 2, to, apart);
            else
                tile(rows + i, term + i, four, stride, at, 1, to, apart);
        }
    }
}

const pm_simd_graph pm_simd_graph_avx512vnni = {
    .name = "avx512vnni",
    .element = 1,
    .pack = pm_graph_pack_avx512vnni,
    .distances = pm_graph_distances_avx512vnni,
    .nearest = pm_graph_nearest_avx512,
    .merge = pm_graph_merge_avx512,
};

#endif
