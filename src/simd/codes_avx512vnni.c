/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AVX-512 with VNNI: what differs from codes_avx512.c. The halves of the query's integers are multiplied each for
 * itself, so that bytes need not be widened; sums wrap, and their total is the right one.
 */
#include "codes_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512VNNI__)
#error "codes_avx512vnni.c needs -mavx512vnni"
#endif

#include <immintrin.h>

static void bytes_dot(const pm_simd_bytes *query, const uint8_t *const *rows, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        __m512i high = _mm512_setzero_si512(), low = high;
        for (size_t d = 0; d < query->dim; d += 64) {
            __m512i row = _mm512_loadu_si512(rows[i] + d);
            high = _mm512_dpbusd_epi32(high, row, _mm512_loadu_si512(query->split + 2 * d));
            low = _mm512_dpbusd_epi32(low, row, _mm512_loadu_si512(query->split + 2 * d + 64));
        }
        out[i] = _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 8), low));
    }
}

const pm_simd_quant pm_simd_quant_avx512vnni = {
    .name = "avx512vnni",
    .bits_near = pm_codes_bits_near_avx512,
    .bytes_dot = bytes_dot,
    CODES_COMMON,
};

#endif
