/* SPDX-License-Identifier: Apache-2.0 */
/* AVX2: unsigned by signed bytes summed in pairs (vpmaddubsw), which the limits of walk.h keep from saturating. */
#include "walk_int.h"

#if defined(__x86_64__)

#if !defined(__AVX2__)
#error "walk_avx2.c needs -mavx2"
#endif

#include <immintrin.h>

INLINE __m256i load(const void *at)
{
    return _mm256_loadu_si256(at);
}

INLINE __m256i add_pairs(__m256i sum, __m256i pairs)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE int32_t reduce(__m256i sum)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

INLINE __m256i dot_bytes(const pm_walk_codes *c, const uint8_t *row)
{
    __m256i sum = _mm256_setzero_si256();
    for (size_t d = 0; d < c->stride; d += 32)
        sum = add_pairs(sum, _mm256_maddubs_epi16(load(row + d), load(c->query + d)));
    return sum;
}

INLINE __m256i dot_nibbles(const pm_walk_codes *c, const uint8_t *row)
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sum = _mm256_setzero_si256();
    for (size_t line = 0; line < c->stride; line += PM_WALK_LINE)
        UNROLL
    for (size_t d = 0; d < PM_WALK_LINE; d += 32) {
        const __m256i both = load(row + line + d);
        const __m256i a = _mm256_and_si256(both, low), b = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
        const int8_t *query = c->query + 2 * line + d;
        sum = add_pairs(sum, _mm256_add_epi16(_mm256_maddubs_epi16(a, load(query)),
                                              _mm256_maddubs_epi16(b, load(query + PM_WALK_LINE))));
    }
    return sum;
}

static void score(const pm_walk_codes *codes, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next)
{
    size_t asked = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = codes->codes + ids[i] * codes->stride;
        asked = walk_ask(codes->codes, codes->stride, next, asked, 1);
        out[i] = walk_finish(codes, row, reduce(codes->nibbles ? dot_nibbles(codes, row) : dot_bytes(codes, row)));
    }
    walk_ask(codes->codes, codes->stride, next, asked, next->n);
}

INLINE __m256i widened(const uint8_t *x)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
}

/* The squared distance, or where the query is not whole the row's squared length, and *dot its product. */
INLINE int32_t score_row(const pm_walk_rows *r, const uint8_t *row, bool whole, int32_t *dot)
{
    __m256i sum = _mm256_setzero_si256(), products = sum;
    for (size_t d = 0; d < r->stride; d += 16) {
        const __m256i x = widened(row + d), y = load(r->query + d), far = whole ? _mm256_sub_epi16(x, y) : x;
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(far, far));
        if (!whole) products = _mm256_add_epi32(products, _mm256_madd_epi16(x, y));
    }
    if (!whole) *dot = reduce(products);
    return reduce(sum);
}

static void score_rows(const pm_walk_rows *rows, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next)
{
    size_t asked = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows->rows + ids[i] * rows->stride;
        asked = walk_ask(rows->rows, rows->stride, next, asked, 1);
        int32_t dot = 0;
        if (rows->whole) {
            out[i] = (float)score_row(rows, row, true, &dot);
            continue;
        }
        const int32_t norm2 = score_row(rows, row, false, &dot);
        out[i] = walk_finish_row(rows, norm2, dot);
    }
    walk_ask(rows->rows, rows->stride, next, asked, next->n);
}

static void products(const uint8_t *a, const int8_t *rows, size_t stride, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++, rows += stride) {
        __m256i sum = _mm256_setzero_si256();
        for (size_t d = 0; d < stride; d += 16) {
            const __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(a + d)));
            const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(rows + d)));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
        }
        out[i] = reduce(sum);
    }
}

static void apart(const uint8_t *a, const uint8_t *codes, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                  uint32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = codes + ids[i] * stride;
        __m256i sum = _mm256_setzero_si256();
        for (size_t d = 0; d < dim; d += 16) {
            const __m256i far = _mm256_sub_epi16(widened(a + d), widened(row + d));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(far, far));
        }
        out[i] = (uint32_t)reduce(sum);
    }
}

const pm_simd_walk pm_simd_walk_avx2 = {
    .name = "avx2",
    .score = score,
    .score_rows = score_rows,
    .insert = pm_walk_insert,
    .unseen = pm_walk_unseen,
    .products = products,
    .apart = apart,
    WALK_COMMON,
};

#endif
