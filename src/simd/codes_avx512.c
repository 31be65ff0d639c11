/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 (F, BW, DQ, VL) code kernels. A register holds four groups of four dimensions for 32 rows. */
#include "codes_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "codes_avx512.c needs -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include <immintrin.h>

/* Adds up to PM_CODES_RUN dimensions of table entries to the sums of rows 0..15 and 16..31. */
INLINE void add_run(const uint8_t *table, const uint8_t *codes, size_t bytes, __m512i sum[2])
{
    const __m512i low = _mm512_set1_epi8(15);
    __m512i all0 = _mm512_setzero_si512(), odd0 = all0, all1 = all0, odd1 = all0;
    for (size_t i = 0; i < bytes; i += 64) {
        __m512i code = _mm512_loadu_si512(codes + i), entry = _mm512_loadu_si512(table + i);
        __m512i part0 = _mm512_shuffle_epi8(entry, _mm512_and_si512(code, low));
        __m512i part1 = _mm512_shuffle_epi8(entry, _mm512_and_si512(_mm512_srli_epi16(code, 4), low));
        all0 = _mm512_add_epi16(all0, part0);
        odd0 = _mm512_add_epi16(odd0, _mm512_srli_epi16(part0, 8));
        all1 = _mm512_add_epi16(all1, part1);
        odd1 = _mm512_add_epi16(odd1, _mm512_srli_epi16(part1, 8));
    }
    /* Even bytes are rows 0..7 (16..23), odd ones 8..15 (24..31), of four groups in the four lanes; the lanes are
     * added so that all 32 rows come out in order. */
    __m512i even0 = _mm512_sub_epi16(all0, _mm512_slli_epi16(odd0, 8));
    __m512i even1 = _mm512_sub_epi16(all1, _mm512_slli_epi16(odd1, 8));
    __m512i pair0 = _mm512_add_epi16(_mm512_shuffle_i64x2(even0, odd0, 0x44), _mm512_shuffle_i64x2(even0, odd0, 0xee));
    __m512i pair1 = _mm512_add_epi16(_mm512_shuffle_i64x2(even1, odd1, 0x44), _mm512_shuffle_i64x2(even1, odd1, 0xee));
    __m512i rows = _mm512_add_epi16(_mm512_shuffle_i64x2(pair0, pair1, 0x88), _mm512_shuffle_i64x2(pair0, pair1, 0xdd));
    sum[0] = _mm512_add_epi32(sum[0], _mm512_cvtepu16_epi32(_mm512_castsi512_si256(rows)));
    sum[1] = _mm512_add_epi32(sum[1], _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(rows, 1)));
}

/* Bits of the sixteen rows that are not beyond the limit. */
INLINE uint32_t near16(const pm_simd_bits *query, __m512i sum, const uint8_t *add, const uint8_t *factors, float limit)
{
    __m512i gf = _mm512_loadu_si512(factors);
    __m512 t = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(query->scale));
    t = _mm512_add_ps(t, _mm512_set1_ps(query->base));
    __m512 f = _mm512_castsi512_ps(_mm512_and_si512(gf, _mm512_set1_epi32((int)0xffff0000)));
    __m512 g = _mm512_castsi512_ps(_mm512_slli_epi32(gf, 16));
    __m512 away = _mm512_add_ps(_mm512_mul_ps(f, t), _mm512_mul_ps(g, _mm512_set1_ps(query->error)));
    __m512 least = _mm512_sub_ps(_mm512_loadu_ps(add), away);
    return (uint32_t)~_mm512_cmp_ps_mask(least, _mm512_set1_ps(limit), _CMP_GT_OQ) & 0xffff;
}

void pm_codes_bits_near_avx512(const pm_simd_bits *query, const uint8_t *blocks, size_t n, float limit, uint32_t *mask)
{
    for (size_t b = 0; b < n; b++, blocks += 4 * query->dim + PM_CODES_FACTOR) {
        __m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (size_t d = 0; d < query->dim; d += PM_CODES_RUN) {
            size_t run = query->dim - d < PM_CODES_RUN ? query->dim - d : PM_CODES_RUN;
            add_run(query->table + 4 * d, blocks + PM_CODES_FACTOR + 4 * d, 4 * run, sum);
        }
        mask[b] = near16(query, sum[0], blocks, blocks + 128, limit) |
                  near16(query, sum[1], blocks + 64, blocks + 192, limit) << 16;
    }
}

INLINE __m512i wide_at(const uint8_t *bytes)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)bytes));
}

static void bytes_dot(const pm_simd_bytes *query, const uint8_t *const *rows, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
        for (size_t d = 0; d < query->dim; d += 64) {
            __m512i q0 = _mm512_loadu_si512(query->wide + d), q1 = _mm512_loadu_si512(query->wide + d + 32);
            sum0 = _mm512_add_epi32(sum0, _mm512_madd_epi16(wide_at(rows[i] + d), q0));
            sum1 = _mm512_add_epi32(sum1, _mm512_madd_epi16(wide_at(rows[i] + d + 32), q1));
        }
        out[i] = _mm512_reduce_add_epi32(_mm512_add_epi32(sum0, sum1));
    }
}

const pm_simd_quant pm_simd_quant_avx512 = {
    .name = "avx512",
    .bits_near = pm_codes_bits_near_avx512,
    .bytes_dot = bytes_dot,
    CODES_COMMON,
};

#endif
