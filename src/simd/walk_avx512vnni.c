/* SPDX-License-Identifier: Apache-2.0 */
/* AVX-512 with VNNI: four scattered codes at a time; the pool is searched and shifted eight keys at a time. */
#include "walk_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512VNNI__)
#error "walk_avx512vnni.c needs -mavx512vnni"
#endif

#include <immintrin.h>

INLINE __m512i load(const void *at)
{
    return _mm512_loadu_si512(at);
}

/* Sums of the elements of four. */
INLINE __m128i reduce4(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

INLINE void finish4(const pm_walk_codes *c, const uint8_t *const *row, __m128i dots, float *out)
{
    /* add and mul of each of four rows */
    const size_t at = c->stride - 8;
    const __m128 x = _mm_castpd_ps(_mm_loadh_pd(_mm_load_sd((const double *)(const void *)(row[0] + at)),
                                                (const double *)(const void *)(row[1] + at)));
    const __m128 y = _mm_castpd_ps(_mm_loadh_pd(_mm_load_sd((const double *)(const void *)(row[2] + at)),
                                                (const double *)(const void *)(row[3] + at)));
    const __m128 add = _mm_shuffle_ps(x, y, 0x88), mul = _mm_shuffle_ps(x, y, 0xdd);
    const __m128 factor = _mm_mul_ps(mul, _mm_set1_ps(c->scale));
    const __m128 part = _mm_sub_ps(_mm_cvtepi32_ps(dots), _mm_set1_ps(c->zero));
    const __m128 score = _mm_add_ps(_mm_add_ps(add, _mm_set1_ps(c->base)), _mm_mul_ps(factor, part));
    _mm_storeu_ps(out, _mm_max_ps(score, _mm_setzero_ps()));
}

INLINE __m512i dot_line(__m512i sum, const uint8_t *row, const int8_t *query, bool nibbles)
{
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i both = load(row);
    if (!nibbles) return _mm512_dpbusd_epi32(sum, both, load(query));
    sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(both, low), load(query));
    return _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(both, 4), low), load(query + PM_WALK_LINE));
}

/* With constant shape: `lines` 0 says any number. */
INLINE void score_lines(const pm_walk_codes *c, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next,
                        size_t lines, bool nibbles)
{
    const size_t stride = lines > 0 ? lines * PM_WALK_LINE : c->stride, step = nibbles ? 2 : 1;
    size_t asked = 0;
    for (size_t i = 0; i < n; i += 4) {
        asked = walk_ask(c->codes, stride, next, asked, 4);
        const uint8_t *row[4];
        __m512i sum[4];
        UNROLL
        for (size_t j = 0; j < 4; j++) {
            row[j] = c->codes + ids[i + j < n ? i + j : n - 1] * stride;
            sum[j] = _mm512_setzero_si512();
        }
        for (size_t d = 0; d < stride; d += PM_WALK_LINE)
            UNROLL
        for (size_t j = 0; j < 4; j++)
            sum[j] = dot_line(sum[j], row[j] + d, c->query + d * step, nibbles);
        finish4(c, row, reduce4(sum[0], sum[1], sum[2], sum[3]), out + i);
    }
    walk_ask(c->codes, stride, next, asked, next->n);
}

static void score(const pm_walk_codes *codes, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next)
{
    if (codes->nibbles && codes->stride == PM_WALK_LINE)
        score_lines(codes, ids, n, out, next, 1, true);
    else if (codes->nibbles)
        score_lines(codes, ids, n, out, next, 0, true);
    else if (codes->stride == 2 * (size_t)PM_WALK_LINE)
        score_lines(codes, ids, n, out, next, 2, false);
    else
        score_lines(codes, ids, n, out, next, 0, false);
}

INLINE __m512i widened(const uint8_t *x)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)x));
}

INLINE void finish_rows(const pm_walk_rows *r, __m128i norms, __m128i dots, float *out)
{
    const __m256d scale = _mm256_set1_pd(r->scale), base = _mm256_set1_pd(r->base);
    const __m256d product = _mm256_mul_pd(scale, _mm256_cvtepi32_pd(dots));
    const __m256d score = _mm256_sub_pd(_mm256_add_pd(base, _mm256_cvtepi32_pd(norms)), product);
    _mm_storeu_ps(out, _mm256_cvtpd_ps(_mm256_max_pd(score, _mm256_setzero_pd())));
}

/* With constant shape: `lines` 0 says any number. */
INLINE void score_rows_of(const pm_walk_rows *r, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next,
                          size_t lines, bool whole)
{
    const size_t stride = lines > 0 ? lines * PM_WALK_LINE : r->stride;
    size_t asked = 0;
    for (size_t i = 0; i < n; i += 4) {
        asked = walk_ask(r->rows, stride, next, asked, 4);
        const uint8_t *row[4];
        __m512i sum[4], dot[4];
        UNROLL
        for (size_t j = 0; j < 4; j++) {
            row[j] = r->rows + ids[i + j < n ? i + j : n - 1] * stride;
            sum[j] = dot[j] = _mm512_setzero_si512();
        }
        for (size_t d = 0; d < stride; d += PM_WALK_LINE / 2) {
            const __m512i query = load(r->query + d);
            UNROLL
            for (size_t j = 0; j < 4; j++) {
                const __m512i x = widened(row[j] + d), far = whole ? _mm512_sub_epi16(x, query) : x;
                sum[j] = _mm512_dpwssd_epi32(sum[j], far, far);
                if (!whole) dot[j] = _mm512_dpwssd_epi32(dot[j], x, query);
            }
        }
        const __m128i sums = reduce4(sum[0], sum[1], sum[2], sum[3]);
        if (whole)
            _mm_storeu_ps(out + i, _mm_cvtepi32_ps(sums));
        else
            finish_rows(r, sums, reduce4(dot[0], dot[1], dot[2], dot[3]), out + i);
    }
    walk_ask(r->rows, stride, next, asked, next->n);
}

static void score_rows(const pm_walk_rows *rows, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next)
{
    if (!rows->whole)
        score_rows_of(rows, ids, n, out, next, 0, false);
    else if (rows->stride == 2 * (size_t)PM_WALK_LINE)
        score_rows_of(rows, ids, n, out, next, 2, true);
    else
        score_rows_of(rows, ids, n, out, next, 0, true);
}

static size_t unseen(pm_walk_seen *seen, const uint32_t *links, size_t n, uint32_t *out)
{
    const __m512i rows = _mm512_set1_epi32((int)seen->rows), left_out = _mm512_set1_epi32((int)seen->left_out);
    const __m512i mask = _mm512_set1_epi32((int)seen->mask);
    size_t found = 0;
    for (size_t i = 0; i < n; i += PM_WALK_BLOCK) {
        const __m512i id = load(links + i), slot = _mm512_and_si512(id, mask);
        const uint32_t nodes = _mm512_cmplt_epu32_mask(id, rows);
        const __mmask16 some = (__mmask16)((nodes ^ (nodes + 1)) >> 1); /* those before the first that is none */
        const __m512i there = _mm512_mask_i32gather_epi32(left_out, some, slot, seen->slot, sizeof *seen->slot);
        __mmask16 fresh = _mm512_mask_cmpneq_epi32_mask(some, there, id);
        fresh = _mm512_mask_cmpneq_epi32_mask(fresh, left_out, id);
        _mm512_mask_i32scatter_epi32(seen->slot, fresh, slot, id, sizeof *seen->slot);
        _mm512_storeu_si512(out + found, _mm512_maskz_compress_epi32(fresh, id));
        found += (size_t)__builtin_popcount(fresh);
        if (some != 0xffff) break;
    }
    return found;
}

enum { FEW_BLOCKS = 16 };

/* Blocks of eight keys are read and written whole, at the same places: what is read soon after it was written need not
 * wait until it is in the cache. */
static void insert_far(pm_walk_pool *pool, uint64_t key)
{
    uint64_t *keys = pool->key;
    const uint32_t size = pool->size;
    const __m512i wanted = _mm512_set1_epi64((long long)key);
    __mmask8 less = 0xff;
    uint32_t begin = 0;
    /* In large pools by halves, without a branch. */
    for (uint32_t blocks = (size + 7) / 8; blocks > 32; blocks -= blocks / 2)
        begin += keys[begin + blocks / 2 * 8 - 1] < key ? blocks / 2 * 8 : 0;
    for (; begin < size; begin += 8) {
        less = _mm512_cmplt_epu64_mask(load(keys + begin), wanted);
        if (less != 0xff) break;
    }
    if (begin >= size) less = 0; /* behind the last, in a block of its own */
    const uint32_t at = begin + (uint32_t)__builtin_popcount(less);
    if (at < size && (keys[at] ^ key) <= 1) return; /* it is there */
    uint32_t block = (size < pool->most ? size : size - 1) / 8 * 8;
    __m512i here = load(keys + block);
    for (; block > begin; block -= 8) {
        const __m512i before = load(keys + block - 8);
        _mm512_storeu_si512(keys + block, _mm512_alignr_epi64(here, before, 7));
        here = before;
    }
    /* What is less stays, the next is the key, and each behind it was one before. */
    const __m512i moved = _mm512_alignr_epi64(here, wanted, 7);
    _mm512_storeu_si512(keys + begin, _mm512_mask_mov_epi64(_mm512_max_epu64(moved, wanted), less, here));
    if (size < pool->most) pool->size = size + 1;
    if (at < pool->next) pool->next = at;
}

/*
 * The same in pools of few blocks, without a branch that depends on where the key belongs: what is guessed wrong takes
 * as long as all of them. `blocks` is constant.
 */
INLINE void insert_near(pm_walk_pool *pool, uint64_t key, size_t blocks)
{
    uint64_t *keys = pool->key;
    const __m512i wanted = _mm512_set1_epi64((long long)key);
    __m512i here[FEW_BLOCKS];
    __mmask8 less[FEW_BLOCKS];
    uint32_t at = 0;
    UNROLL
    for (size_t b = 0; b < blocks; b++) {
        here[b] = load(keys + b * 8);
        less[b] = _mm512_cmplt_epu64_mask(here[b], wanted);
        at += (uint32_t)__builtin_popcount(less[b]);
    }
    if (at < pool->size && (keys[at] ^ key) <= 1) return; /* it is there */
    UNROLL
    for (size_t b = 0; b < blocks; b++) {
        /* What is less stays, the next is the key, and each behind it was one before. */
        const __m512i moved = _mm512_alignr_epi64(here[b], b > 0 ? here[b - 1] : wanted, 7);
        _mm512_storeu_si512(keys + b * 8, _mm512_mask_mov_epi64(_mm512_max_epu64(moved, wanted), less[b], here[b]));
    }
    if (pool->size < pool->most) pool->size++;
    if (at < pool->next) pool->next = at;
}

INLINE void insert_one(pm_walk_pool *pool, uint64_t key)
{
    const uint32_t size = pool->size;
    if (size == pool->most && key > pool->key[size - 1]) return;
#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        return insert_near(pool, key, n + 1)
    switch ((size < pool->most ? size : size - 1) / 8) {
        CASE(0);
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
        CASE(13);
        CASE(14);
        CASE(15);
    default:
        insert_far(pool, key);
    }
#undef CASE
}

static void insert(pm_walk_pool *pool, const uint32_t *ids, const float *scores, size_t n, float limit)
{
    for (size_t i = 0; i < n; i += 16) {
        const unsigned left = n - i < 16 ? (unsigned)(n - i) : 16;
        const __mmask16 some = (__mmask16)((1u << left) - 1);
        const __m512 score = _mm512_maskz_loadu_ps(some, scores + i);
        __mmask16 near = _mm512_mask_cmp_ps_mask(some, score, _mm512_set1_ps(limit), _CMP_LT_OQ);
        if (pool->size == pool->most) { /* those that fall out are most of them: no branch for each */
            const __m512 last = _mm512_set1_ps(pm_walk_score(pool->key[pool->most - 1]));
            near = _mm512_mask_cmp_ps_mask(near, score, last, _CMP_LE_OQ);
        }
        for (uint32_t rest = near; rest != 0; rest &= rest - 1) {
            const size_t one = i + (size_t)__builtin_ctz(rest);
            insert_one(pool, pm_walk_key(scores[one], ids[one]));
        }
    }
}

static void products(const uint8_t *a, const int8_t *rows, size_t stride, size_t n, int32_t *out)
{
    int32_t four[4];
    for (size_t i = 0; i < n; i += 4) {
        __m512i sum[4];
        const size_t left = n - i < 4 ? n - i : 4;
        UNROLL
        for (size_t j = 0; j < 4; j++)
            sum[j] = _mm512_setzero_si512();
        for (size_t d = 0; d < stride; d += 64)
            UNROLL
        for (size_t j = 0; j < 4; j++)
            sum[j] = _mm512_dpbusd_epi32(sum[j], load(a + d), load(rows + (i + (j < left ? j : 0)) * stride + d));
        _mm_storeu_si128((__m128i *)(void *)four, reduce4(sum[0], sum[1], sum[2], sum[3]));
        memcpy(out + i, four, left * sizeof *out);
    }
}

static void apart(const uint8_t *a, const uint8_t *codes, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                  uint32_t *out)
{
    const __m512i zero = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = codes + ids[i] * stride, *next = codes + ids[i + 1 < n ? i + 1 : i] * stride;
        __m512i sum = zero, other = zero;
        for (size_t d = 0; d < dim; d += 64) {
            const __mmask64 some = dim - d < 64 ? ((__mmask64)1 << (dim - d)) - 1 : ~(__mmask64)0;
            const __m512i x = _mm512_maskz_loadu_epi8(some, a + d), y = _mm512_maskz_loadu_epi8(some, row + d);
            const __m512i far = _mm512_or_si512(_mm512_subs_epu8(x, y), _mm512_subs_epu8(y, x));
            const __m512i low = _mm512_unpacklo_epi8(far, zero), high = _mm512_unpackhi_epi8(far, zero);
            __builtin_prefetch(next + d);
            sum = _mm512_dpwssd_epi32(sum, low, low);
            other = _mm512_dpwssd_epi32(other, high, high);
        }
        out[i] = (uint32_t)_mm512_reduce_add_epi32(_mm512_add_epi32(sum, other));
    }
}

const pm_simd_walk pm_simd_walk_avx512vnni = {
    .name = "avx512vnni",
    .score = score,
    .score_rows = score_rows,
    .insert = insert,
    .unseen = unseen,
    .products = products,
    .apart = apart,
    WALK_COMMON,
};

#endif
