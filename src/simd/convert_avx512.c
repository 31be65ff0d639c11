/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen elements at a time, the last ones under a mask; otherwise as convert_avx2.c. */
#include <immintrin.h>

#include "simd/convert_int.h"

enum { STEP = 16 };

/* The elements of the step at i: all, or what is left. */
static inline __mmask16 here(size_t i, size_t n)
{
    return (__mmask16)(n - i >= STEP ? 0xffffu : (1u << (n - i)) - 1);
}

static void from_f16(const uint16_t *x, size_t n, float *out)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(x + i))));
    if (i == n) return;
    const __mmask16 m = here(i, n);
    _mm512_mask_storeu_ps(out + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, x + i)));
}

static void from_i8(const int8_t *x, size_t n, float *out)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        const __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(x + i)));
        _mm512_storeu_ps(out + i, _mm512_cvtepi32_ps(wide));
    }
    if (i == n) return;
    const __mmask16 m = here(i, n);
    _mm512_mask_storeu_ps(out + i, m, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(m, x + i))));
}

static inline __mmask16 not_finite(__m256i half)
{
    const __m256i exponent = _mm256_set1_epi16(0x7c00);
    return _mm256_cmpeq_epi16_mask(_mm256_and_si256(half, exponent), exponent);
}

static size_t to_f16(const float *x, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i += STEP) {
        const __mmask16 m = here(i, n);
        const __m256i half =
            _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const __mmask16 bad = not_finite(half);
        if (bad != 0) return i + (unsigned)__builtin_ctz(bad);
        _mm256_mask_storeu_epi16(out + i, m, half);
    }
    return n;
}

static size_t to_i8(const float *x, size_t n, int8_t *out)
{
    const __m512i minus_zero = _mm512_set1_epi32((int)0x80000000u);
    for (size_t i = 0; i < n; i += STEP) {
        const __mmask16 m = here(i, n);
        const __m512 f = _mm512_maskz_loadu_ps(m, x + i);
        const __m512i bits = _mm512_castps_si512(f);
        const __m512i value = _mm512_cvttps_epi32(f); /* the least integer where there is none */
        const __m512i back = _mm512_castps_si512(_mm512_cvtepi32_ps(value));
        const __mmask16 whole = _mm512_cmpeq_epi32_mask(back, bits) | _mm512_cmpeq_epi32_mask(bits, minus_zero);
        const __mmask16 within = _mm512_cmple_epi32_mask(value, _mm512_set1_epi32(127)) &
                                 _mm512_cmpge_epi32_mask(value, _mm512_set1_epi32(-128));
        const unsigned bad = ~(unsigned)(whole & within) & 0xffff;
        if (bad != 0) return i + (unsigned)__builtin_ctz(bad);
        _mm_mask_storeu_epi8(out + i, m, _mm512_cvtepi32_epi8(value));
    }
    return n;
}

static size_t first_not_finite_f16(const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i += STEP) {
        const __mmask16 bad = not_finite(_mm256_maskz_loadu_epi16(here(i, n), x + i));
        if (bad != 0) return i + (unsigned)__builtin_ctz(bad);
    }
    return n;
}

const pm_convert pm_convert_avx512 = {.from_f16 = from_f16,
                                      .from_i8 = from_i8,
                                      .to_f16 = to_f16,
                                      .to_i8 = to_i8,
                                      .first_not_finite_f16 = first_not_finite_f16};
