/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX2 code kernels. A register holds two groups of four dimensions for 32 rows: one shuffle looks up 16 of them for
 * both groups. Products of bytes and 16-bit integers are exact in 32 bits; maddubs would saturate.
 */
#include "codes_int.h"

#if defined(__x86_64__)

#if !defined(__AVX2__)
#error "codes_avx2.c needs -mavx2"
#endif

#include <immintrin.h>

/* Rows 0..15 of both lanes of `all` (a sum of bytes in 16-bit steps) and `odd` (of the high bytes), in order. */
INLINE __m256i in_order(__m256i all, __m256i odd)
{
    __m256i even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
    return _mm256_add_epi16(_mm256_permute2x128_si256(even, odd, 0x20), _mm256_permute2x128_si256(even, odd, 0x31));
}

/* Adds up to PM_CODES_RUN dimensions of table entries to sum[0..3]: 8 rows each. */
INLINE void add_run(const uint8_t *table, const uint8_t *codes, size_t bytes, __m256i sum[4])
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i all0 = _mm256_setzero_si256(), odd0 = all0, all1 = all0, odd1 = all0;
    for (size_t i = 0; i < bytes; i += 32) {
        __m256i code = _mm256_loadu_si256((const __m256i *)(const void *)(codes + i));
        __m256i entry = _mm256_loadu_si256((const __m256i *)(const void *)(table + i));
        __m256i part0 = _mm256_shuffle_epi8(entry, _mm256_and_si256(code, low));
        __m256i part1 = _mm256_shuffle_epi8(entry, _mm256_and_si256(_mm256_srli_epi16(code, 4), low));
        all0 = _mm256_add_epi16(all0, part0);
        odd0 = _mm256_add_epi16(odd0, _mm256_srli_epi16(part0, 8));
        all1 = _mm256_add_epi16(all1, part1);
        odd1 = _mm256_add_epi16(odd1, _mm256_srli_epi16(part1, 8));
    }
    __m256i rows0 = in_order(all0, odd0), rows1 = in_order(all1, odd1);
    sum[0] = _mm256_add_epi32(sum[0], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(rows0)));
    sum[1] = _mm256_add_epi32(sum[1], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(rows0, 1)));
    sum[2] = _mm256_add_epi32(sum[2], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(rows1)));
    sum[3] = _mm256_add_epi32(sum[3], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(rows1, 1)));
}

/* Bits of the eight rows that are not beyond the limit. */
INLINE uint32_t near8(const pm_simd_bits *query, __m256i sum, const uint8_t *add, const uint8_t *factors, float limit)
{
    __m256i gf = _mm256_loadu_si256((const __m256i *)(const void *)factors);
    __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(query->scale));
    t = _mm256_add_ps(t, _mm256_set1_ps(query->base));
    __m256 f = _mm256_castsi256_ps(_mm256_and_si256(gf, _mm256_set1_epi32((int)0xffff0000)));
    __m256 g = _mm256_castsi256_ps(_mm256_slli_epi32(gf, 16));
    __m256 away = _mm256_add_ps(_mm256_mul_ps(f, t), _mm256_mul_ps(g, _mm256_set1_ps(query->error)));
    __m256 least = _mm256_sub_ps(_mm256_loadu_ps((const float *)(const void *)add), away);
    return (uint32_t)~_mm256_movemask_ps(_mm256_cmp_ps(least, _mm256_set1_ps(limit), _CMP_GT_OQ)) & 255;
}

static void bits_near(const pm_simd_bits *query, const uint8_t *blocks, size_t n, float limit, uint32_t *mask)
{
    for (size_t b = 0; b < n; b++, blocks += 4 * query->dim + PM_CODES_FACTOR) {
        __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                          _mm256_setzero_si256()};
        for (size_t d = 0; d < query->dim; d += PM_CODES_RUN) {
            size_t run = query->dim - d < PM_CODES_RUN ? query->dim - d : PM_CODES_RUN;
            add_run(query->table + 4 * d, blocks + PM_CODES_FACTOR + 4 * d, 4 * run, sum);
        }
        uint32_t bits = 0;
        UNROLL
        for (size_t i = 0; i < 4; i++)
            bits |= near8(query, sum[i], blocks + 32 * i, blocks + 128 + 32 * i, limit) << (8 * i);
        mask[b] = bits;
    }
}

INLINE __m256i wide_at(const uint8_t *bytes)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)bytes));
}

static void bytes_dot(const pm_simd_bytes *query, const uint8_t *const *rows, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        __m256i sum0 = _mm256_setzero_si256(), sum1 = sum0;
        for (size_t d = 0; d < query->dim; d += 32) {
            const __m256i *q = (const __m256i *)(const void *)(query->wide + d);
            sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(wide_at(rows[i] + d), _mm256_loadu_si256(q)));
            sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(wide_at(rows[i] + d + 16), _mm256_loadu_si256(q + 1)));
        }
        sum0 = _mm256_add_epi32(sum0, sum1);
        __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum0), _mm256_extracti128_si256(sum0, 1));
        half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
        half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
        out[i] = _mm_cvtsi128_si32(half);
    }
}

const pm_simd_quant pm_simd_quant_avx2 = {
    .name = "avx2",
    .bits_near = bits_near,
    .bytes_dot = bytes_dot,
    CODES_COMMON,
};

#endif
