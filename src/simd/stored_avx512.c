/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 (F, BW, VL) over rows as stored, eight at once, so that each load of the query serves eight rows. */
#include "simd_int.h"
#include "stored.h"

#if defined(__x86_64__)

#if !defined(__AVX512BW__) || !defined(__AVX512VL__)
#error "stored_avx512.c needs -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "simd_avx512_int.h"

#define R 8 /* rows at once */

INLINE __m512 halves(const uint16_t *row, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row));
}

/* Lines of rows to come; a line is asked for once. */
INLINE void ask(const void *row, size_t byte, size_t ahead)
{
    if (byte % 64 == 0) ask_for((const float *)row + byte / sizeof(float), ahead);
}

/* n <= R rows. norm2: NULL for L2. */
INLINE void block_f16(const float *q, const uint16_t *const *rows, size_t n, size_t dim, size_t ahead, float *out,
                      float *norm2)
{
    const uint16_t *row[R];
    __m512 sum[R], square[R];
    UNROLL
    for (size_t r = 0; r < R; r++) {
        row[r] = rows[r < n ? r : n - 1]; /* rows that are not there repeat the last: loads, but no branches */
        sum[r] = square[r] = _mm512_setzero_ps();
    }
    for (size_t d = 0; d < dim; d += W) {
        const __mmask16 mask = first_lanes(dim - d < W ? dim - d : W);
        const __m512 of_query = _mm512_maskz_loadu_ps(mask, q + d);
        UNROLL
        for (size_t r = 0; r < R; r++) {
            const __m512 x = halves(row[r] + d, mask), apart = _mm512_sub_ps(of_query, x);
            if (norm2 == NULL) {
                sum[r] = _mm512_fmadd_ps(apart, apart, sum[r]);
            } else {
                sum[r] = _mm512_fmadd_ps(of_query, x, sum[r]);
                square[r] = _mm512_fmadd_ps(x, x, square[r]);
            }
            ask(row[r], d * sizeof *row[r], ahead);
        }
    }
    const __mmask8 there = (__mmask8)first_lanes(n);
    _mm256_mask_storeu_ps(out, there, _mm256_set_m128(sum4(sum + 4), sum4(sum)));
    if (norm2 != NULL) _mm256_mask_storeu_ps(norm2, there, _mm256_set_m128(sum4(square + 4), sum4(square)));
}

static void l2_f16(const float *q, const uint16_t *const *rows, size_t n, size_t dim, float *out)
{
    const size_t ahead = n > R ? next_rows(rows[R], rows[0], dim * sizeof **rows) : 0;
    for (size_t i = 0; i < n; i += R)
        block_f16(q, rows + i, n - i < R ? n - i : R, dim, ahead, out + i, NULL);
}

static void dots_f16(const float *q, const uint16_t *const *rows, size_t n, size_t dim, float *dot, float *norm2)
{
    const size_t ahead = n > R ? next_rows(rows[R], rows[0], dim * sizeof **rows) : 0;
    for (size_t i = 0; i < n; i += R)
        block_f16(q, rows + i, n - i < R ? n - i : R, dim, ahead, dot + i, norm2 + i);
}

INLINE __m512i words(const int8_t *row, __mmask32 mask)
{
    return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, row));
}

static void dots_i8(const int8_t *q, const int8_t *const *rows, size_t n, size_t dim, int32_t *dot, int32_t *norm2)
{
    const size_t ahead = n > R ? next_rows(rows[R], rows[0], dim) : 0;
    for (size_t i = 0; i < n; i += R) {
        const int8_t *row[R];
        __m512i sum[R], square[R];
        UNROLL
        for (size_t r = 0; r < R; r++) {
            row[r] = rows[i + r < n ? i + r : n - 1];
            sum[r] = square[r] = _mm512_setzero_si512();
        }
        for (size_t d = 0; d < dim; d += 2 * W) {
            const __mmask32 mask = dim - d < 2 * W ? ((__mmask32)1 << (dim - d)) - 1 : UINT32_MAX;
            const __m512i of_query = words(q + d, mask);
            UNROLL
            for (size_t r = 0; r < R; r++) {
                const __m512i x = words(row[r] + d, mask);
                sum[r] = _mm512_add_epi32(sum[r], _mm512_madd_epi16(of_query, x));
                square[r] = _mm512_add_epi32(square[r], _mm512_madd_epi16(x, x));
                ask(row[r], d, ahead);
            }
        }
        UNROLL
        for (size_t r = 0; r < R; r++) {
            if (i + r == n) break;
            dot[i + r] = _mm512_reduce_add_epi32(sum[r]);
            norm2[i + r] = _mm512_reduce_add_epi32(square[r]);
        }
    }
}

const pm_simd_stored pm_simd_stored_avx512 = {.l2_f16 = l2_f16, .dots_f16 = dots_f16, .dots_i8 = dots_i8};

#endif
