/* SPDX-License-Identifier: Apache-2.0 */
/* What the files for AVX-512 share. */
#ifndef PM_SIMD_AVX512_INT_H
#define PM_SIMD_AVX512_INT_H

#include <immintrin.h>

#include "simd_int.h"

#define W 16 /* floats in a register */

INLINE __mmask16 first_lanes(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

/* Sums within each 128-bit lane: element r of a lane is the sum of that lane of v[r]. */
INLINE __m512 sum_lanes4(const __m512 *v)
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    __m512d abd = _mm512_castps_pd(ab), cdd = _mm512_castps_pd(cd);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(abd, cdd)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(abd, cdd)));
}

/* Element r of the result is the sum of v[r]. */
INLINE __m128 sum4(const __m512 *v)
{
    __m512 s = sum_lanes4(v);
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/* v[i] element j becomes v[j] element i. */
INLINE void transpose16(__m512 *v)
{
    __m512 t[16];
    UNROLL
    for (size_t i = 0; i < 16; i += 4) {
        __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(v[i], v[i + 1]));
        __m512d AB = _mm512_castps_pd(_mm512_unpackhi_ps(v[i], v[i + 1]));
        __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(v[i + 2], v[i + 3]));
        __m512d CD = _mm512_castps_pd(_mm512_unpackhi_ps(v[i + 2], v[i + 3]));
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(AB, CD));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(AB, CD));
    }
    /* now lane l of t[4g + j] is column 4l + j of rows 4g..4g+3 */
    UNROLL
    for (size_t j = 0; j < 4; j++) {
        __m512 lo0 = _mm512_shuffle_f32x4(t[j], t[4 + j], 0x88), lo1 = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0x88);
        __m512 hi0 = _mm512_shuffle_f32x4(t[j], t[4 + j], 0xdd), hi1 = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0xdd);
        v[j] = _mm512_shuffle_f32x4(lo0, lo1, 0x88);
        v[8 + j] = _mm512_shuffle_f32x4(lo0, lo1, 0xdd);
        v[4 + j] = _mm512_shuffle_f32x4(hi0, hi1, 0x88);
        v[12 + j] = _mm512_shuffle_f32x4(hi0, hi1, 0xdd);
    }
}

/* Of codes_not_below: which of 16 rows, from row i on, are below. */
INLINE __mmask16 codes_below(__m512i sum, const pm_simd_limit *limit, const pm_simd_bounds *rows, size_t i)
{
    __m512 bound = _mm512_set1_ps(limit->c);
    bound = _mm512_fmadd_ps(_mm512_set1_ps(limit->a), _mm512_loadu_ps(rows->inverse + i), bound);
    bound = _mm512_fmadd_ps(_mm512_set1_ps(limit->p), _mm512_loadu_ps(rows->plus + i), bound);
    bound = _mm512_fnmadd_ps(_mm512_set1_ps(limit->b), _mm512_loadu_ps(rows->loss + i), bound);
    return _mm512_cmp_ps_mask(_mm512_cvtepi32_ps(sum), bound, _CMP_LT_OQ);
}

#endif
