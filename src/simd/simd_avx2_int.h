/* SPDX-License-Identifier: Apache-2.0 */
/* What the files for AVX2 share. */
#ifndef PM_SIMD_AVX2_INT_H
#define PM_SIMD_AVX2_INT_H

#include <immintrin.h>

#include "simd_int.h"

#define W 8 /* floats in a register */

INLINE __m256i first_lanes(size_t n)
{
    static const int32_t ones_then_zeros[2 * W] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones_then_zeros + W - n));
}

/* Element r of the result is the sum of v[r]. */
INLINE __m128 sum4(const __m256 *v)
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(v[0], v[1]), _mm256_unpackhi_ps(v[0], v[1]));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(v[2], v[3]), _mm256_unpackhi_ps(v[2], v[3]));
    __m256 lo = _mm256_shuffle_ps(ab, cd, 0x44), hi = _mm256_shuffle_ps(ab, cd, 0xee);
    __m256 s = _mm256_add_ps(lo, hi);
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

/* v[i] element j becomes v[j] element i. */
INLINE void transpose8(__m256 *v)
{
    __m256 t[8];
    UNROLL
    for (size_t i = 0; i < 8; i += 4) {
        __m256 ab = _mm256_unpacklo_ps(v[i], v[i + 1]), AB = _mm256_unpackhi_ps(v[i], v[i + 1]);
        __m256 cd = _mm256_unpacklo_ps(v[i + 2], v[i + 3]), CD = _mm256_unpackhi_ps(v[i + 2], v[i + 3]);
        t[i] = _mm256_shuffle_ps(ab, cd, 0x44);
        t[i + 1] = _mm256_shuffle_ps(ab, cd, 0xee);
        t[i + 2] = _mm256_shuffle_ps(AB, CD, 0x44);
        t[i + 3] = _mm256_shuffle_ps(AB, CD, 0xee);
    }
    UNROLL
    for (size_t j = 0; j < 4; j++) {
        v[j] = _mm256_permute2f128_ps(t[j], t[4 + j], 0x20);
        v[4 + j] = _mm256_permute2f128_ps(t[j], t[4 + j], 0x31);
    }
}

#endif
