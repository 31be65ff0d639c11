/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2 with FMA and F16C over rows as stored, four at once. What is left of a row is copied behind zeros first. */
#include <string.h>

#include "simd_int.h"
#include "stored.h"

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "stored_avx2.c needs -mavx2 -mfma -mf16c"
#endif

#include "simd_avx2_int.h"

#define R 4 /* rows at once */

INLINE void ask(const void *row, size_t byte, size_t ahead)
{
    if (byte % 64 == 0) ask_for((const float *)row + byte / sizeof(float), ahead);
}

INLINE __m256 halves(const uint16_t *row)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)row));
}

INLINE void add_f16(__m256 of_query, __m256 x, bool apart, __m256 *sum, __m256 *square)
{
    const __m256 rest = _mm256_sub_ps(of_query, x);
    if (apart) {
        *sum = _mm256_fmadd_ps(rest, rest, *sum);
    } else {
        *sum = _mm256_fmadd_ps(of_query, x, *sum);
        *square = _mm256_fmadd_ps(x, x, *square);
    }
}

/* n <= R rows. norm2: NULL for L2. */
INLINE void block_f16(const float *q, const uint16_t *const *rows, size_t n, size_t dim, size_t ahead, float *out,
                      float *norm2)
{
    const uint16_t *row[R];
    __m256 sum[R], square[R];
    size_t d = 0;
    UNROLL
    for (size_t r = 0; r < R; r++) {
        row[r] = rows[r < n ? r : n - 1]; /* rows that are not there repeat the last: loads, but no branches */
        sum[r] = square[r] = _mm256_setzero_ps();
    }
    for (; d + W <= dim; d += W) {
        const __m256 of_query = _mm256_loadu_ps(q + d);
        UNROLL
        for (size_t r = 0; r < R; r++) {
            add_f16(of_query, halves(row[r] + d), norm2 == NULL, &sum[r], &square[r]);
            ask(row[r], d * sizeof *row[r], ahead);
        }
    }
    if (d < dim) {
        const __m256 of_query = _mm256_maskload_ps(q + d, first_lanes(dim - d));
        UNROLL
        for (size_t r = 0; r < R; r++) {
            uint16_t left[W] = {0};
            memcpy(left, row[r] + d, (dim - d) * sizeof *left);
            add_f16(of_query, halves(left), norm2 == NULL, &sum[r], &square[r]);
        }
    }
    const __m128i there = _mm256_castsi256_si128(first_lanes(n));
    _mm_maskstore_ps(out, there, sum4(sum));
    if (norm2 != NULL) _mm_maskstore_ps(norm2, there, sum4(square));
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

INLINE __m256i words(const int8_t *row)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)row));
}

INLINE void add_i8(__m256i of_query, __m256i x, __m256i *sum, __m256i *square)
{
    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(of_query, x));
    *square = _mm256_add_epi32(*square, _mm256_madd_epi16(x, x));
}

INLINE int32_t sum_of(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static void dots_i8(const int8_t *q, const int8_t *const *rows, size_t n, size_t dim, int32_t *dot, int32_t *norm2)
{
    const size_t ahead = n > R ? next_rows(rows[R], rows[0], dim) : 0;
    for (size_t i = 0; i < n; i += R) {
        const int8_t *row[R];
        __m256i sum[R], square[R];
        size_t d = 0;
        UNROLL
        for (size_t r = 0; r < R; r++) {
            row[r] = rows[i + r < n ? i + r : n - 1];
            sum[r] = square[r] = _mm256_setzero_si256();
        }
        for (; d + 2 * W <= dim; d += 2 * W) {
            const __m256i of_query = words(q + d);
            UNROLL
            for (size_t r = 0; r < R; r++) {
                add_i8(of_query, words(row[r] + d), &sum[r], &square[r]);
                ask(row[r], d, ahead);
            }
        }
        for (size_t r = 0; d < dim && r < R; r++) {
            int8_t left[2][2 * W] = {{0}};
            memcpy(left[0], q + d, dim - d);
            memcpy(left[1], row[r] + d, dim - d);
            add_i8(words(left[0]), words(left[1]), &sum[r], &square[r]);
        }
        for (size_t r = 0; r < R && i + r < n; r++) {
            dot[i + r] = sum_of(sum[r]);
            norm2[i + r] = sum_of(square[r]);
        }
    }
}

const pm_simd_stored pm_simd_stored_avx2 = {.l2_f16 = l2_f16, .dots_f16 = dots_f16, .dots_i8 = dots_i8};

#endif
