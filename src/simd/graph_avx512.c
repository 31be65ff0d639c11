/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 kernels of graphs: the products of AVX2, and a choice of the nearest without branches on data. */
#include "graph_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "graph_avx512.c needs -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "simd_avx512_int.h"

#define MOST_FOUND 32 /* that are ranked here */

INLINE __m512i lanes(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/* graph_bound, the same or as good. */
INLINE uint32_t bound_of(const uint32_t *distance, size_t n, size_t most)
{
    const __m512i all = _mm512_set1_epi32(-1), one = _mm512_set1_epi32(1);
    __m512i least = all, other = all, under = one, turn = lanes();
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        least = _mm512_min_epu32(least, _mm512_loadu_si512(distance + i));
        other = _mm512_min_epu32(other, _mm512_loadu_si512(distance + i + W));
    }
    for (; i < n; i += W) {
        const __mmask16 mask = first_lanes(n - i < W ? n - i : W);
        least = _mm512_mask_min_epu32(least, mask, least, _mm512_maskz_loadu_epi32(mask, distance + i));
    }
    least = _mm512_min_epu32(least, other);
    UNROLL
    for (size_t s = 1; s < W; s++) {
        turn = _mm512_add_epi32(turn, one);
        const __mmask16 mask = _mm512_cmple_epu32_mask(_mm512_permutexvar_epi32(turn, least), least);
        under = _mm512_mask_add_epi32(under, mask, under, one);
    }
    return _mm512_mask_reduce_min_epu32(_mm512_cmpge_epu32_mask(under, _mm512_set1_epi32((int)most)), least);
}

/* Those within the bound, in order; their number, or more than MOST_FOUND if there are more. */
INLINE size_t find(const uint32_t *distance, size_t n, uint32_t bound, uint32_t *near, uint32_t *index)
{
    const __m512i limit = _mm512_set1_epi32((int)bound);
    size_t found = 0;
    for (size_t base = 0; base < n; base += 64 * W) {
        _Alignas(64) uint16_t mask[64];
        const size_t end = n - base < 64 * W ? n - base : 64 * W, vectors = (end + W - 1) / W;
        for (size_t v = 0; v < vectors; v++)
            mask[v] = _mm512_cmple_epu32_mask(_mm512_loadu_si512(distance + base + v * W), limit);
        if (end % W != 0) mask[vectors - 1] &= first_lanes(end % W);
        const __m512i low = _mm512_load_si512(mask), high = _mm512_load_si512(mask + 32);
        uint64_t some = _mm512_test_epi16_mask(low, low) | (uint64_t)_mm512_test_epi16_mask(high, high) << 32;
        for (some &= ~(uint64_t)0 >> (64 - vectors); some != 0; some &= some - 1) {
            const size_t v = (size_t)__builtin_ctzll(some), at = base + v * W;
            const __m512i here = _mm512_add_epi32(lanes(), _mm512_set1_epi32((int)at));
            _mm512_storeu_si512(near + found, _mm512_maskz_compress_epi32(mask[v], _mm512_loadu_si512(distance + at)));
            _mm512_storeu_si512(index + found, _mm512_maskz_compress_epi32(mask[v], here));
            found += (size_t)__builtin_popcount(mask[v]);
            if (found > MOST_FOUND) return found;
        }
    }
    return found;
}

/* Adds to each lane's rank how many lanes of `others`, which all come after (before) it, are less (or equal). */
INLINE __m512i add_ranks(__m512i rank, __m512i v, __m512i others, bool before)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i turn = lanes();
    UNROLL
    for (size_t s = 0; s < W; s++) {
        const __m512i o = _mm512_permutexvar_epi32(turn, others);
        const __mmask16 mask = before ? _mm512_cmple_epu32_mask(o, v) : _mm512_cmplt_epu32_mask(o, v);
        rank = _mm512_mask_add_epi32(rank, mask, rank, one);
        turn = _mm512_add_epi32(turn, one);
    }
    return rank;
}

/* How many lanes are less than each lane, or equal and before it. */
INLINE __m512i ranks(__m512i v)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i turn = lanes(), rank = _mm512_setzero_si512();
    UNROLL
    for (size_t s = 1; s < W; s++) {
        turn = _mm512_add_epi32(turn, one);
        const __m512i o = _mm512_permutexvar_epi32(turn, v);
        const __mmask16 before = (__mmask16)(0xffff0000u >> s);
        const __mmask16 mask = _mm512_cmplt_epu32_mask(o, v) | _mm512_mask_cmpeq_epu32_mask(before, o, v);
        rank = _mm512_mask_add_epi32(rank, mask, rank, one);
    }
    return rank;
}

size_t pm_graph_nearest_avx512(const uint32_t *distance, size_t n, size_t most, uint64_t *out)
{
    _Alignas(64) uint32_t near[MOST_FOUND + 2 * W], index[MOST_FOUND + 2 * W], rank[MOST_FOUND];
    uint64_t sorted[MOST_FOUND];
    if (most > W || n < most) return graph_nearest(distance, n, most, out);
    const size_t found = find(distance, n, bound_of(distance, n, most), near, index);
    if (found > MOST_FOUND) return graph_nearest(distance, n, most, out);
    const __m512i all = _mm512_set1_epi32(-1);
    const __m512i a = _mm512_mask_loadu_epi32(all, first_lanes(found < W ? found : W), near);
    __m512i first = ranks(a);
    if (found > W) {
        const __m512i b = _mm512_mask_loadu_epi32(all, first_lanes(found - W), near + W);
        first = add_ranks(first, a, b, false);
        _mm512_store_si512(rank + W, add_ranks(ranks(b), b, a, true));
    }
    _mm512_store_si512(rank, first);
    for (size_t i = 0; i < found; i++)
        sorted[rank[i]] = (uint64_t)near[i] << 32 | index[i];
    memcpy(out, sorted, most * sizeof *out);
    return most;
}

/* ---- merging, by Batcher's bitonic networks ---- */

INLINE void exchange(__m512i *a, __m512i *b)
{
    const __m512i least = _mm512_min_epu64(*a, *b);
    *b = _mm512_max_epu64(*a, *b);
    *a = least;
}

INLINE __m512i exchange_lanes(__m512i v, __m512i other, __mmask8 high)
{
    return _mm512_mask_max_epu64(_mm512_min_epu64(v, other), high, v, other);
}

/* 2 x m vectors, in two runs that are each in order, become one. */
INLINE void merge_runs(__m512i *v, size_t m)
{
    const __m512i back = _mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    __m512i other[8];
    UNROLL
    for (size_t i = 0; i < m; i++)
        other[i] = _mm512_permutexvar_epi64(back, v[2 * m - 1 - i]);
    UNROLL
    for (size_t i = 0; i < m; i++) {
        v[m + i] = _mm512_max_epu64(v[i], other[i]);
        v[i] = _mm512_min_epu64(v[i], other[i]);
    }
    UNROLL
    for (size_t by = m / 2; by > 0; by /= 2)
        UNROLL
    for (size_t i = 0; i < 2 * m; i++)
        if ((i & by) == 0) exchange(&v[i], &v[i + by]);
    UNROLL
    for (size_t i = 0; i < 2 * m; i++) {
        v[i] = exchange_lanes(v[i], _mm512_shuffle_i64x2(v[i], v[i], 0x4e), 0xf0);
        v[i] = exchange_lanes(v[i], _mm512_permutex_epi64(v[i], 0x4e), 0xcc);
        v[i] = exchange_lanes(v[i], _mm512_shuffle_epi32(v[i], (_MM_PERM_ENUM)0x4e), 0xaa);
    }
}

/* Those of sorted vectors that are not as the one before, at most so many. */
INLINE size_t put_unlike(const __m512i *v, size_t vectors, size_t most, uint64_t *out)
{
    const __m512i none = _mm512_set1_epi64(-1);
    __m512i before = none;
    size_t n = 0;
    UNROLL
    for (size_t i = 0; i < vectors; i++) {
        const __m512i last = _mm512_alignr_epi64(v[i], before, 7);
        const __mmask8 mask = _mm512_cmpneq_epu64_mask(v[i], last) & _mm512_cmpneq_epu64_mask(v[i], none);
        if (n >= most) break;
        _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi64(mask, v[i]));
        n += (size_t)__builtin_popcount(mask);
        before = v[i];
    }
    n = n < most ? n : most;
    out[n] = UINT64_MAX;
    return n;
}

/* Lists of up to eight. */
static size_t merge_short(const uint64_t *keys, size_t lists, size_t keep, size_t most, uint64_t *out)
{
    const __m512i none = _mm512_set1_epi64(-1);
    const __mmask8 mask = (__mmask8)((1u << keep) - 1);
    __m512i v[16];
    UNROLL
    for (size_t i = 0; i < PM_GRAPH_LISTS; i++)
        v[i] = i < lists ? _mm512_mask_loadu_epi64(none, mask, keys + i * keep) : none;
    UNROLL
    for (size_t i = PM_GRAPH_LISTS; i < 16; i++)
        v[i] = none;
    UNROLL
    for (size_t i = 0; i < 12; i += 2)
        merge_runs(v + i, 1);
    UNROLL
    for (size_t i = 0; i < 12; i += 4)
        merge_runs(v + i, 2);
    merge_runs(v, 4);
    merge_runs(v, 8);
    return put_unlike(v, 12, most, out);
}

/* Up to four, of up to sixteen. */
static size_t merge_long(const uint64_t *keys, size_t lists, size_t keep, size_t most, uint64_t *out)
{
    const __m512i none = _mm512_set1_epi64(-1);
    const __mmask8 mask = (__mmask8)((1u << (keep - 8)) - 1);
    __m512i v[8];
    UNROLL
    for (size_t i = 0; i < 4; i++) {
        v[2 * i] = i < lists ? _mm512_loadu_si512(keys + i * keep) : none;
        v[2 * i + 1] = i < lists ? _mm512_mask_loadu_epi64(none, mask, keys + i * keep + 8) : none;
    }
    merge_runs(v, 2);
    merge_runs(v + 4, 2);
    merge_runs(v, 4);
    return put_unlike(v, 8, most, out);
}

size_t pm_graph_merge_avx512(const uint64_t *keys, size_t lists, size_t keep, size_t most, uint64_t *out)
{
    if (keep <= 8) return merge_short(keys, lists, keep, most, out);
    if (keep <= 16 && lists <= 4) return merge_long(keys, lists, keep, most, out);
    return graph_merge(keys, lists, keep, most, out);
}

const pm_simd_graph pm_simd_graph_avx512 = {
    .name = "avx512",
    .element = 2,
    .pack = pm_graph_pack_avx2,
    .distances = pm_graph_distances_avx2,
    .nearest = pm_graph_nearest_avx512,
    .merge = pm_graph_merge_avx512,
};

#endif
