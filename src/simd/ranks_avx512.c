/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512: comparisons give the bits themselves. */
#include "ranks_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512BW__)
#error "ranks_avx512.c needs -mavx512bw"
#endif

#include <immintrin.h>

INLINE uint64_t word1(const uint8_t *rank, uint8_t low, uint8_t more)
{
    const __m512i x = _mm512_sub_epi8(_mm512_loadu_si512(rank), _mm512_set1_epi8((char)low));
    return _mm512_cmple_epu8_mask(x, _mm512_set1_epi8((char)more));
}

INLINE uint64_t word2(const uint16_t *rank, uint16_t low, uint16_t more)
{
    const __m512i from = _mm512_set1_epi16((short)low), most = _mm512_set1_epi16((short)more);
    uint64_t bits = 0;
    UNROLL
    for (unsigned i = 0; i < 64; i += 32)
        bits |= (uint64_t)_mm512_cmple_epu16_mask(_mm512_sub_epi16(_mm512_loadu_si512(rank + i), from), most) << i;
    return bits;
}

INLINE uint64_t word4(const uint32_t *rank, uint32_t low, uint32_t more)
{
    const __m512i from = _mm512_set1_epi32((int)low), most = _mm512_set1_epi32((int)more);
    uint64_t bits = 0;
    UNROLL
    for (unsigned i = 0; i < 64; i += 16)
        bits |= (uint64_t)_mm512_cmple_epu32_mask(_mm512_sub_epi32(_mm512_loadu_si512(rank + i), from), most) << i;
    return bits;
}

RANKS_SCAN(scan1, uint8_t, word1)
RANKS_SCAN(scan2, uint16_t, word2)
RANKS_SCAN(scan4, uint32_t, word4)

const pm_simd_ranks pm_simd_ranks_avx512 = {
    .name = "avx512", .scan1 = scan1, .scan2 = scan2, .scan4 = scan4, RANKS_COMMON};

#endif
