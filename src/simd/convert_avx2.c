/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight elements at a time. F16C rounds as the instruction says and keeps denormals, whatever the control register
 * says; the checks are on integers, for the same reason.
 */
#include <immintrin.h>

#include "simd/convert_int.h"

enum { STEP = 8, STRIDE = 4 * STEP };

/* Several of these a turn: the loop costs as much as a conversion. */
static inline void step_from_f16(const uint16_t *x, float *out)
{
    _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)x)));
}

static inline void step_from_i8(const int8_t *x, float *out)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)x);
    _mm256_storeu_ps(out, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)));
}

static void from_f16(const uint16_t *x, size_t n, float *out)
{
    size_t i = 0;
    for (; i + STRIDE <= n; i += STRIDE) {
        step_from_f16(x + i, out + i);
        step_from_f16(x + i + STEP, out + i + STEP);
        step_from_f16(x + i + 2 * STEP, out + i + 2 * STEP);
        step_from_f16(x + i + 3 * STEP, out + i + 3 * STEP);
    }
    for (; i + STEP <= n; i += STEP)
        step_from_f16(x + i, out + i);
    for (; i < n; i++)
        out[i] = pm_f16_to_f32(x[i]);
}

static void from_i8(const int8_t *x, size_t n, float *out)
{
    size_t i = 0;
    for (; i + STRIDE <= n; i += STRIDE) {
        step_from_i8(x + i, out + i);
        step_from_i8(x + i + STEP, out + i + STEP);
        step_from_i8(x + i + 2 * STEP, out + i + 2 * STEP);
        step_from_i8(x + i + 3 * STEP, out + i + 3 * STEP);
    }
    for (; i + STEP <= n; i += STEP)
        step_from_i8(x + i, out + i);
    for (; i < n; i++)
        out[i] = (float)x[i];
}

/* All ones in each element that is not finite. */
static inline __m128i not_finite(__m128i half)
{
    const __m128i exponent = _mm_set1_epi16(0x7c00);
    return _mm_cmpeq_epi16(_mm_and_si128(half, exponent), exponent);
}

static size_t to_f16(const float *x, size_t n, uint16_t *out)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const unsigned bad = (unsigned)_mm_movemask_epi8(not_finite(half));
        if (bad != 0) return i + (unsigned)__builtin_ctz(bad) / 2;
        _mm_storeu_si128((__m128i *)(void *)(out + i), half);
    }
    for (; i < n; i++) {
        out[i] = pm_f32_to_f16(x[i]);
        if (!pm_convert_f16_finite(out[i])) return i;
    }
    return n;
}

static size_t to_i8(const float *x, size_t n, int8_t *out)
{
    const __m256i most = _mm256_set1_epi32(127), least = _mm256_set1_epi32(-128);
    const __m256i minus_zero = _mm256_set1_epi32((int)0x80000000u);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        const __m256 f = _mm256_loadu_ps(x + i);
        const __m256i bits = _mm256_castps_si256(f);
        const __m256i value = _mm256_cvttps_epi32(f); /* the least integer where there is none */
        const __m256i back = _mm256_castps_si256(_mm256_cvtepi32_ps(value));
        const __m256i whole = _mm256_or_si256(_mm256_cmpeq_epi32(back, bits), _mm256_cmpeq_epi32(bits, minus_zero));
        const __m256i beyond = _mm256_or_si256(_mm256_cmpgt_epi32(value, most), _mm256_cmpgt_epi32(least, value));
        const unsigned good = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(beyond, whole)));
        if (good != 0xff) return i + (unsigned)__builtin_ctz(~good);
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
        _mm_storel_epi64((__m128i *)(void *)(out + i), _mm_packs_epi16(words, words));
    }
    for (; i < n; i++)
        if (!pm_convert_to_i8(x[i], &out[i])) return i;
    return n;
}

static size_t first_not_finite_f16(const uint16_t *x, size_t n)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        const __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
        const unsigned bad = (unsigned)_mm_movemask_epi8(not_finite(half));
        if (bad != 0) return i + (unsigned)__builtin_ctz(bad) / 2;
    }
    for (; i < n; i++)
        if (!pm_convert_f16_finite(x[i])) return i;
    return n;
}

const pm_convert pm_convert_avx2 = {.from_f16 = from_f16,
                                    .from_i8 = from_i8,
                                    .to_f16 = to_f16,
                                    .to_i8 = to_i8,
                                    .first_not_finite_f16 = first_not_finite_f16};
