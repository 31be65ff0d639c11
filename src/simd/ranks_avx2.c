/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2: x <= more, unsigned, is min(x, more) == x. */
#include "ranks_int.h"

#if defined(__x86_64__)

#if !defined(__AVX2__)
#error "ranks_avx2.c needs -mavx2"
#endif

#include <immintrin.h>

INLINE __m256i load(const void *at)
{
    return _mm256_loadu_si256(at);
}

INLINE uint64_t word1(const uint8_t *rank, uint8_t low, uint8_t more)
{
    const __m256i from = _mm256_set1_epi8((char)low), most = _mm256_set1_epi8((char)more);
    uint64_t bits = 0;
    UNROLL
    for (unsigned i = 0; i < 64; i += 32) {
        const __m256i x = _mm256_sub_epi8(load(rank + i), from);
        const __m256i is = _mm256_cmpeq_epi8(_mm256_min_epu8(x, most), x);
        bits |= (uint64_t)(uint32_t)_mm256_movemask_epi8(is) << i;
    }
    return bits;
}

INLINE __m256i within2(const uint16_t *rank, __m256i from, __m256i most)
{
    const __m256i x = _mm256_sub_epi16(load(rank), from);
    return _mm256_cmpeq_epi16(_mm256_min_epu16(x, most), x);
}

/* Packing works in each half of the register, so quarters come out of order. */
INLINE uint32_t bits_of(__m256i packed)
{
    return (uint32_t)_mm256_movemask_epi8(packed);
}

INLINE uint64_t word2(const uint16_t *rank, uint16_t low, uint16_t more)
{
    const __m256i from = _mm256_set1_epi16((short)low), most = _mm256_set1_epi16((short)more);
    uint64_t bits = 0;
    UNROLL
    for (unsigned i = 0; i < 64; i += 32) {
        const __m256i a = within2(rank + i, from, most), b = within2(rank + i + 16, from, most);
        bits |= (uint64_t)bits_of(_mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8)) << i;
    }
    return bits;
}

INLINE __m256i within4(const uint32_t *rank, __m256i from, __m256i most)
{
    const __m256i x = _mm256_sub_epi32(load(rank), from);
    return _mm256_cmpeq_epi32(_mm256_min_epu32(x, most), x);
}

INLINE uint64_t word4(const uint32_t *rank, uint32_t low, uint32_t more)
{
    const __m256i from = _mm256_set1_epi32((int)low), most = _mm256_set1_epi32((int)more);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    uint64_t bits = 0;
    UNROLL
    for (unsigned i = 0; i < 64; i += 32) {
        const __m256i a = within4(rank + i, from, most), b = within4(rank + i + 8, from, most);
        const __m256i c = within4(rank + i + 16, from, most), d = within4(rank + i + 24, from, most);
        const __m256i all = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        bits |= (uint64_t)bits_of(_mm256_permutevar8x32_epi32(all, order)) << i;
    }
    return bits;
}

RANKS_SCAN(scan1, uint8_t, word1)
RANKS_SCAN(scan2, uint16_t, word2)
RANKS_SCAN(scan4, uint32_t, word4)

const pm_simd_ranks pm_simd_ranks_avx2 = {.name = "avx2", .scan1 = scan1, .scan2 = scan2, .scan4 = scan4, RANKS_COMMON};

#endif
