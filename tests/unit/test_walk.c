/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of walks: every level gives the bits of a plain reference, whatever the codes and the floats beside them say,
 * and the pool is what sorting would make of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd/walk.h"
#include "support/cases.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

static const pm_simd *levels[8];
static size_t nlevels;

static void check(int ok, const char *what, const char *level, size_t a, size_t b)
{
    cases++;
    if (ok) return;
    if (failures++ < 10) printf("  %s: %s, %zu, %zu, seed %llu\n", what, level, a, b, (unsigned long long)seed);
}

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(memory);
    memset(memory, 0xa5, (bytes + 63) / 64 * 64);
    return memory;
}

static const float odd_floats[] = {
    0,       -0.0f,    1,         -1,         FLT_MAX,   -FLT_MAX, INFINITY, -INFINITY, NAN,
    FLT_MIN, -FLT_MIN, 0x1p-149f, -0x1p-149f, 0x1p-140f, 1e30f,    -1e30f,   1e-30f,    16777217.0f,
};

static float odd(void)
{
    return odd_floats[below(sizeof odd_floats / sizeof *odd_floats)];
}

/* ---- scores ---- */

enum { ROWS = 200 };
static const size_t strides[] = {64, 128, 192, 832, 1088, 4160}, counts[] = {0, 1, 3, 4, 5, 15, 16, 17, 64, 128};

/* How bytes are drawn: any, or all at a limit. */
enum kind { ANY, MOST, LEAST, ENDS, KINDS };

static int8_t query_byte(enum kind kind, int limit)
{
    switch (kind) {
    case MOST:
        return (int8_t)limit;
    case LEAST:
        return (int8_t)-limit;
    case ENDS:
        return (int8_t)(below(2) == 0 ? limit : -limit);
    default:
        return (int8_t)((int)below((size_t)(2 * limit + 1)) - limit);
    }
}

static int64_t dot_of(const pm_walk_codes *c, const uint8_t *row)
{
    int64_t dot = 0;
    for (size_t d = 0; d < c->stride; d++)
        if (c->nibbles) {
            const int8_t *query = c->query + d / 64 * 128 + d % 64;
            dot += (row[d] & 15) * query[0] + (row[d] >> 4) * query[64];
        } else
            dot += row[d] * c->query[d];
    return dot;
}

static float score_of(const pm_walk_codes *c, uint32_t id)
{
    const uint8_t *row = c->codes + (size_t)id * c->stride;
    float add, mul;
    memcpy(&add, row + c->stride - 8, 4);
    memcpy(&mul, row + c->stride - 4, 4);
    const volatile float factor = mul * c->scale, part = (float)dot_of(c, row) - c->zero;
    const volatile float product = factor * part, sum = add + c->base, score = sum + product;
    return score > 0 ? score : 0;
}

static void fill_codes(uint8_t *codes, size_t stride, enum kind kind, bool strange)
{
    for (size_t i = 0; i < ROWS * stride; i++)
        codes[i] = kind == ANY || kind == ENDS ? (uint8_t)draw() : 255;
    for (size_t i = 0; i < ROWS; i++) {
        const float add = strange ? odd() : uniform() * 1e6f, mul = strange ? odd() : uniform() * 2;
        memcpy(codes + (i + 1) * stride - 8, &add, 4);
        memcpy(codes + (i + 1) * stride - 4, &mul, 4);
    }
}

static void scores_are_right_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 6 * 2 * KINDS * 10 * 2; i++) {
        const size_t stride = strides[i % 6], n = counts[i / 12 % 10];
        const bool nibbles = i / 6 % 2 == 1, strange = below(2) == 0;
        const enum kind kind = (enum kind)(i / 120 % KINDS);
        if (left_out()) continue;
        uint8_t *codes = allocate(ROWS * stride);
        int8_t *query = allocate(2 * stride);
        uint32_t ids[128];
        float out[128 + PM_WALK_ROOM], want[128];
        fill_codes(codes, stride, kind, strange);
        for (size_t d = 0; d < 2 * stride; d++)
            query[d] = query_byte(kind, nibbles ? PM_WALK_NIBBLES : PM_WALK_BYTES);
        for (size_t d = 0; d < 8; d++) /* where the floats are */
            if (nibbles)
                query[2 * stride - 128 + 56 + d] = query[2 * stride - 64 + 56 + d] = 0;
            else
                query[stride - 8 + d] = 0;
        pm_walk_codes c = {codes, query, stride, nibbles, uniform(), uniform() * 1000, uniform() * 1e6f};
        if (strange && below(3) == 0) c.scale = odd();
        if (strange && below(3) == 0) c.zero = odd();
        if (strange && below(3) == 0) c.base = odd();
        for (size_t j = 0; j < n; j++) {
            ids[j] = (uint32_t)below(ROWS);
            want[j] = score_of(&c, ids[j]);
        }
        for (size_t l = 0; l < nlevels; l++) {
            memset(out, 0x33, sizeof out);
            levels[l]->walk->score(&c, ids, n, out, &(pm_walk_next){ids, n / 2});
            check(memcmp(out, want, n * sizeof *out) == 0, "score", levels[l]->walk->name, stride, n);
            uint8_t untouched[4];
            memset(untouched, 0x33, sizeof untouched);
            for (size_t j = n + PM_WALK_ROOM; j < 128 + PM_WALK_ROOM; j++)
                if (memcmp(out + j, untouched, 4) != 0) check(0, "room", levels[l]->walk->name, stride, n);
        }
        free(codes), free(query);
    }
    end("scores_are_right_at_every_level");
}

static float row_score_of(const pm_walk_rows *r, uint32_t id)
{
    const uint8_t *row = r->rows + (size_t)id * r->stride;
    int64_t apart = 0, norm2 = 0, dot = 0;
    for (size_t d = 0; d < r->stride; d++) {
        apart += (r->query[d] - row[d]) * (r->query[d] - row[d]);
        norm2 += row[d] * row[d];
        dot += r->query[d] * row[d];
    }
    if (r->whole) return (float)apart;
    const volatile double both = r->base + (double)norm2, product = r->scale * (double)dot, score = both - product;
    return (float)(score > 0 ? score : 0);
}

static void scores_of_rows_are_right_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 4 * 2 * KINDS * 10 * 2; i++) {
        const size_t stride = 64 * (1 + i % 4), n = counts[i / 8 % 10];
        const bool whole = i / 4 % 2 == 1;
        const enum kind kind = (enum kind)(i / 80 % KINDS);
        if (left_out()) continue;
        uint8_t *rows = allocate(ROWS * stride);
        int16_t *query = allocate(stride * sizeof *query);
        uint32_t ids[128];
        float out[128 + PM_WALK_ROOM], want[128];
        for (size_t d = 0; d < ROWS * stride; d++)
            rows[d] = kind == ANY ? (uint8_t)draw() : kind == ENDS && below(2) == 0 ? 0 : 255;
        for (size_t d = 0; d < stride; d++) {
            const int any = whole ? (int)below(256) : (int)below(2 * PM_WALK_WIDE + 1) - PM_WALK_WIDE;
            const int most = whole ? 255 : PM_WALK_WIDE, least = whole ? 0 : -PM_WALK_WIDE;
            query[d] = (int16_t)(kind == ANY ? any : kind == MOST || (kind == ENDS && below(2) == 0) ? most : least);
        }
        const pm_walk_rows r = {rows, query, stride, whole, ldexp(1, (int)below(18) - 5), (double)uniform() * 0x1p40};
        for (size_t j = 0; j < n; j++) {
            ids[j] = (uint32_t)below(ROWS);
            want[j] = row_score_of(&r, ids[j]);
        }
        for (size_t l = 0; l < nlevels; l++) {
            memset(out, 0x33, sizeof out);
            levels[l]->walk->score_rows(&r, ids, n, out, &(pm_walk_next){ids, n / 2});
            check(memcmp(out, want, n * sizeof *out) == 0, "score_rows", levels[l]->walk->name, stride, n);
            uint8_t untouched[4];
            memset(untouched, 0x33, sizeof untouched);
            for (size_t j = n + PM_WALK_ROOM; j < 128 + PM_WALK_ROOM; j++)
                if (memcmp(out + j, untouched, 4) != 0) check(0, "room", levels[l]->walk->name, stride, n);
        }
        free(rows), free(query);
    }
    end("scores_of_rows_are_right_at_every_level");
}

/* ---- pools ---- */

enum { MOST_POOL = 100 };

typedef struct model {
    uint64_t key[MOST_POOL + 1];
    size_t size, most;
} model;

static uint64_t key_of(float score, uint32_t id)
{
    uint32_t bits;
    memcpy(&bits, &score, 4);
    return (uint64_t)bits << 32 | (uint64_t)id << 1;
}

static void model_insert(model *m, float score, uint32_t id, float limit, uint32_t *next)
{
    const uint64_t key = key_of(score, id);
    if (!(score < limit)) return;
    for (size_t i = 0; i < m->size; i++)
        if ((m->key[i] | 1) == (key | 1)) return;
    size_t at = 0;
    while (at < m->size && m->key[at] < key)
        at++;
    if (at == m->most) return;
    for (size_t i = m->size; i > at; i--)
        m->key[i] = m->key[i - 1];
    m->key[at] = key;
    if (m->size < m->most) m->size++;
    if (at < *next) *next = (uint32_t)at;
}

static bool pool_is(const pm_walk_pool *pool, const model *m, uint32_t next)
{
    if (pool->size != m->size || pool->next != next) return false;
    if (memcmp(pool->key, m->key, m->size * sizeof *m->key) != 0) return false;
    for (size_t i = m->size; i < m->most + 16; i++) /* nothing behind the last is nearer than it */
        if (m->size > 0 && pool->key[i] < m->key[m->size - 1]) return false;
    return true;
}

static void compare_pools(const pm_simd_walk *kernels, size_t most, size_t range, float limit)
{
    model m = {.most = most};
    uint64_t *keys = allocate((most + 16 + 1) * sizeof *keys);
    uint32_t next = 0, ids[128 + 1];
    float score[128 + PM_WALK_ROOM];
    memset(keys, 0xff, (most + 16) * sizeof *keys);
    keys[most + 16] = 42;
    pm_walk_pool pool = {.key = keys, .most = (uint32_t)most};
    for (size_t round = 0; round < 30; round++) {
        const size_t n = below(3) == 0 ? below(129) : below(20);
        const float bound = below(4) == 0 ? INFINITY : limit;
        for (size_t i = 0; i < n; i++) {
            ids[i] = (uint32_t)below(below(8) == 0 ? 1u << 28 : range);
            /* a node has one score; some have the same, some are no numbers */
            const uint32_t mix = (uint32_t)t_mix(ids[i]);
            score[i] = mix % 50 == 0   ? INFINITY
                       : mix % 51 == 0 ? NAN
                       : mix % 7 == 0  ? 0
                                       : (float)(mix % (uint32_t)range);
            model_insert(&m, score[i], ids[i], bound, &next);
        }
        kernels->insert(&pool, ids, score, n, bound);
        check(pool_is(&pool, &m, next) && keys[most + 16] == 42, "insert", kernels->name, most, range);
        for (size_t steps = below(6); steps > 0 && pool.next < pool.size; steps--) { /* as a walk does */
            while (next < m.size && (m.key[next] & 1) != 0)
                next++;
            if (next < m.size) m.key[next++] |= 1;
            pool.next = next;
            memcpy(pool.key, m.key, m.size * sizeof *m.key);
        }
    }
    free(keys);
}

static void pools_are_sorted_at_every_level(void **unused)
{
    (void)unused;
    static const size_t pools[] = {1, 2, 7, 8, 9, 15, 16, 17, 64, 100}, ranges[] = {5, 40, 300, 100000};
    static const float limits[] = {INFINITY, 100, 3, 0, NAN, -1};
    begin();
    for (size_t l = 0; l < nlevels; l++)
        for (size_t i = 0; i < 10 * 4 * 12; i++) {
            if (left_out()) continue;
            compare_pools(levels[l]->walk, pools[i % 10], ranges[i / 10 % 4], i < 240 ? INFINITY : limits[below(6)]);
        }
    end("pools_are_sorted_at_every_level");
}

/* ---- what was seen ---- */

/* Blocks as walk.h says: looked up, then put into their slots. */
static size_t model_unseen(uint32_t *slot, const pm_walk_seen *seen, const uint32_t *links, size_t n, uint32_t *out)
{
    size_t found = 0;
    bool ended = false;
    for (size_t i = 0; i < n && !ended; i += PM_WALK_BLOCK) {
        const size_t before = found;
        for (size_t j = i; j < i + PM_WALK_BLOCK && !ended; j++) {
            ended = links[j] >= seen->rows;
            if (!ended && slot[links[j] & seen->mask] != links[j] && links[j] != seen->left_out)
                out[found++] = links[j];
        }
        for (size_t j = before; j < found; j++)
            slot[out[j] & seen->mask] = out[j];
    }
    return found;
}

static void compare_seen(const pm_simd_walk *kernels, size_t slots, uint32_t rows)
{
    uint32_t *slot = allocate((slots + 1) * 4), *same = allocate(slots * 4);
    pm_walk_seen seen = {slot, (uint32_t)slots - 1, rows, below(2) == 0 ? UINT32_MAX : (uint32_t)below(rows)};
    memset(slot, 0xff, slots * 4);
    memset(same, 0xff, slots * 4);
    slot[slots] = 42;
    for (size_t round = 0; round < 40; round++) {
        const size_t n = PM_WALK_BLOCK * below(9);
        uint32_t links[128], out[128 + PM_WALK_ROOM + 1], want[128];
        const size_t end = below(3) == 0 ? below(n + 1) : n; /* behind it all may be nodes again */
        for (size_t i = 0; i < n; i++) {
            links[i] = (uint32_t)below(below(4) == 0 && rows > 20 ? 20 : rows);
            if (i == end) links[i] = below(2) == 0 ? UINT32_MAX : rows;
        }
        out[n + PM_WALK_ROOM] = 42;
        const size_t found = kernels->unseen(&seen, links, n, out), should = model_unseen(same, &seen, links, n, want);
        check(found == should && memcmp(out, want, found * sizeof *out) == 0 && out[n + PM_WALK_ROOM] == 42 &&
                  memcmp(slot, same, slots * 4) == 0 && slot[slots] == 42,
              "unseen", kernels->name, slots, rows);
    }
    free(slot), free(same);
}

static void nodes_are_seen_once_at_every_level(void **unused)
{
    (void)unused;
    static const size_t slots[] = {16, 64, 4096};
    static const uint32_t rows[] = {1, 65, 300, 100000, 1u << 28};
    begin();
    for (size_t l = 0; l < nlevels; l++)
        for (size_t i = 0; i < 3 * 5 * 10; i++)
            if (!left_out()) compare_seen(levels[l]->walk, slots[i % 3], rows[i / 3 % 5]);
    end("nodes_are_seen_once_at_every_level");
}

/* ---- queries ---- */

static void differences_are_the_same_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 400; i++) {
        const size_t n = 16 * (1 + below(i < 300 ? 20 : 260));
        const bool strange = i % 4 == 0;
        if (left_out()) continue;
        float *x = allocate(n * sizeof *x), *less = allocate(n * sizeof *x), *out = allocate((n + 1) * sizeof *x);
        double sum = 0;
        float first = 0;
        for (size_t d = 0; d < n; d++) {
            x[d] = strange && below(9) == 0 ? odd() : uniform() * 100;
            less[d] = strange && below(9) == 0 ? odd() : uniform() * 100;
            sum += (double)(x[d] - less[d]) * (double)(x[d] - less[d]);
        }
        for (size_t l = 0; l < nlevels; l++) {
            out[n] = 42;
            const float norm2 = levels[l]->walk->centre(x, less, n, out);
            bool good = out[n] == 42;
            for (size_t d = 0; d < n; d++) {
                const float want = x[d] - less[d];
                good = good && (isnan(want) ? isnan(out[d]) : want == out[d]);
            }
            if (l == 0) first = norm2;
            good = good && (isnan(first) ? isnan(norm2) : memcmp(&first, &norm2, sizeof first) == 0);
            if (!strange) good = good && fabs((double)norm2 - sum) <= 1e-5 * sum;
            check(good, "centre", levels[l]->walk->name, n, i);
        }
        free(x), free(less), free(out);
    }
    end("differences_are_the_same_at_every_level");
}

static bool about(double a, double b, double size)
{
    return fabs(a - b) <= 1e-12 * size;
}

static void matrices_are_the_same_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 60; i++) {
        const size_t n = 16 * (1 + below(12)), rows = below(6);
        if (left_out()) continue;
        double *x = allocate((rows + 1) * n * sizeof *x), *c = allocate(n * n * sizeof *c);
        double *first = allocate((rows + 1) * n * sizeof *first), *y = allocate((rows + 1) * n * sizeof *y);
        for (size_t d = 0; d < (rows + 1) * n; d++)
            x[d] = (double)uniform() - 0.5;
        for (size_t d = 0; d < n * n; d++)
            c[d] = (double)uniform() * 100;
        for (size_t l = 0; l < nlevels; l++) {
            const char *name = levels[l]->walk->name;
            y[rows * n] = 42;
            levels[l]->walk->times(x, c, rows, n, y);
            check(y[rows * n] == 42, "times", name, rows, n);
            memcpy(y + rows * n, x + rows * n, n * sizeof *y);
            if (rows > 0) levels[l]->walk->less_along(y + rows * n, x, n);
            if (l == 0) memcpy(first, y, (rows + 1) * n * sizeof *y);
            check(memcmp(first, y, (rows + 1) * n * sizeof *y) == 0, "the same bits", name, rows, n);
        }
        bool right = true;
        double along = 0;
        for (size_t r = 0; r < rows; r++)
            for (size_t e = 0; e < n; e++) {
                double sum = 0;
                for (size_t d = 0; d < n; d++)
                    sum += x[r * n + d] * c[d * n + e];
                right = right && about(sum, first[r * n + e], 100 * (double)n);
            }
        for (size_t d = 0; d < n; d++)
            along += x[rows * n + d] * x[d];
        for (size_t d = 0; d < n && rows > 0; d++)
            right = right && about(x[rows * n + d] - along * x[d], first[rows * n + d], (double)n);
        check(right, "times, less_along", levels[0]->walk->name, rows, n);
        free(x), free(c), free(first), free(y);
    }
    end("matrices_are_the_same_at_every_level");
}

/* Largest element, the others near to it or far below. */
static void fill_floats(float *x, size_t n, size_t kind)
{
    static const float largest[] = {1, 1e30f, FLT_MAX, 1e-30f, 0x1p-120f, 127};
    for (size_t d = 0; d < n; d++)
        switch (kind) {
        case 6:
            x[d] = below(2) == 0 ? 0.0f : -0.0f;
            break;
        case 7:
            x[d] = (float)below(5) * 0x1p-149f; /* denormal */
            break;
        case 8:
            x[d] = odd();
            break;
        case 9:
            x[d] = below(20) == 0 ? INFINITY : uniform();
            break;
        case 10: /* halves, which go to even */
            x[d] = d == 0 ? 63 : (float)below(126) / 2 * (below(2) == 0 ? -1 : 1);
            break;
        default:
            x[d] = uniform() * largest[kind];
        }
}

static void bytes_of_queries_are_the_same_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 11 * 60; i++) {
        const size_t kind = i % 11, n = 16 * (1 + below(i < 500 ? 20 : 260));
        const float most = below(2) == 0 ? PM_WALK_BYTES : PM_WALK_NIBBLES;
        if (left_out()) continue;
        float *x = allocate(n * sizeof *x), first = 0, largest = 0;
        int8_t *bytes = allocate(n + 1), *same = allocate(n);
        int32_t sum = 0, want = 0;
        fill_floats(x, n, kind);
        for (size_t d = 0; d < n; d++)
            largest = fabsf(x[d]) > largest ? fabsf(x[d]) : largest;
        for (size_t l = 0; l < nlevels; l++) {
            bytes[n] = 42;
            const float worth = levels[l]->walk->to_bytes(x, n, most, bytes, &sum);
            bool good = bytes[n] == 42;
            want = 0;
            for (size_t d = 0; d < n; d++) {
                good = good && bytes[d] >= -most && bytes[d] <= most;
                want += bytes[d];
                if (kind < 6 || kind == 10) /* to half of what one is worth */
                    good = good && fabs((double)x[d] - (double)worth * bytes[d]) <= 0.501 * (double)worth;
                if (kind == 6) good = good && bytes[d] == 0;
            }
            good = good && sum == want;
            if (kind < 8) good = good && worth == largest / most;
            if (l == 0) {
                first = worth;
                memcpy(same, bytes, n);
            }
            good = good && memcmp(same, bytes, n) == 0;
            good = good && (isnan(first) ? isnan(worth) : memcmp(&first, &worth, sizeof first) == 0);
            check(good, "to_bytes", levels[l]->walk->name, n, kind);
        }
        free(x), free(bytes), free(same);
    }
    end("bytes_of_queries_are_the_same_at_every_level");
}

static void products_are_right_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 6 * 40; i++) {
        const size_t stride = strides[i % 6], n = i < 60 ? i % 10 : below(130);
        const size_t kind = i / 6 % 4;
        if (left_out()) continue;
        uint8_t *a = allocate(stride);
        int8_t *rows = allocate(n * stride + 1);
        int32_t *out = allocate((n + 1) * sizeof *out);
        for (size_t d = 0; d < stride; d++)
            a[d] = kind == 0 ? (uint8_t)draw() : 255;
        for (size_t d = 0; d < n * stride; d++)
            rows[d] = kind == 0 ? (int8_t)(uint8_t)draw() : kind == 1 ? -128 : kind == 2 ? 127 : query_byte(ENDS, 127);
        for (size_t l = 0; l < nlevels; l++) {
            out[n] = 42;
            levels[l]->walk->products(a, rows, stride, n, out);
            bool good = out[n] == 42;
            for (size_t j = 0; j < n; j++) {
                int64_t sum = 0;
                for (size_t d = 0; d < stride; d++)
                    sum += a[d] * rows[j * stride + d];
                good = good && sum == out[j];
            }
            check(good, "products", levels[l]->walk->name, stride, n);
        }
        free(a), free(rows), free(out);
    }
    end("products_are_right_at_every_level");
}

static void whole_numbers_are_kept_at_every_level(void **unused)
{
    (void)unused;
    static const float others[] = {-1, 256, 0.5f, -0.0f, 255.5f, 255.00002f, 1e-30f, 0x1p-149f, FLT_MAX, INFINITY, NAN};
    begin();
    for (size_t i = 0; i < 600; i++) {
        const size_t n = 1 + below(i < 500 ? 200 : 4096), odd_one = below(n);
        const bool all = below(2) == 0;
        if (left_out()) continue;
        float *x = allocate(n * sizeof *x);
        uint8_t *bytes = allocate(n + 1);
        for (size_t d = 0; d < n; d++)
            x[d] = (float)below(256);
        if (!all) x[odd_one] = others[below(11)];
        for (size_t l = 0; l < nlevels; l++) {
            bytes[n] = 42;
            bool good = levels[l]->walk->to_whole(x, n, bytes) == all && bytes[n] == 42;
            for (size_t d = 0; d < n; d++)
                good = good && ((!all && d == odd_one) || (float)bytes[d] == x[d]);
            check(good, "to_whole", levels[l]->walk->name, n, i);
        }
        free(x), free(bytes);
    }
    end("whole_numbers_are_kept_at_every_level");
}

static void squares_are_summed_at_every_level(void **unused)
{
    (void)unused;
    static const size_t dims[] = {16, 32, 48, 64, 80, 112, 784, 4096, 32768};
    begin();
    for (size_t i = 0; i < 9 * 12; i++) {
        const size_t dim = dims[i % 9], stride = (dim + 8 + 63) / 64 * 64, n = below(dim > 4096 ? 3 : 40);
        const bool most = i / 9 % 3 == 0;
        if (left_out()) continue;
        uint8_t *a = allocate(dim), *codes = allocate(40 * stride);
        uint32_t ids[40], out[41];
        for (size_t d = 0; d < dim; d++)
            a[d] = most ? (uint8_t)(d % 2 * 255) : (uint8_t)draw();
        for (size_t d = 0; d < 40 * stride; d++)
            codes[d] = most ? (uint8_t)((d + 1) % 2 * 255) : (uint8_t)draw();
        for (size_t j = 0; j < n; j++)
            ids[j] = (uint32_t)below(40);
        for (size_t l = 0; l < nlevels; l++) {
            out[n] = 42;
            levels[l]->walk->apart(a, codes, stride, ids, n, dim, out);
            bool good = out[n] == 42;
            for (size_t j = 0; j < n; j++) {
                int64_t sum = 0;
                for (size_t d = 0; d < dim; d++)
                    sum += ((int)a[d] - codes[ids[j] * stride + d]) * ((int)a[d] - codes[ids[j] * stride + d]);
                good = good && sum == out[j];
            }
            check(good, "apart", levels[l]->walk->name, dim, n);
        }
        free(a), free(codes);
    }
    end("squares_are_summed_at_every_level");
}

int main(int argc, char **argv)
{
    if (!cases_arguments(argc, argv)) return 2;
    nlevels = pm_simd_levels(levels, sizeof levels / sizeof *levels);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_right_at_every_level),
        cmocka_unit_test(scores_of_rows_are_right_at_every_level),
        cmocka_unit_test(pools_are_sorted_at_every_level),
        cmocka_unit_test(nodes_are_seen_once_at_every_level),
        cmocka_unit_test(differences_are_the_same_at_every_level),
        cmocka_unit_test(matrices_are_the_same_at_every_level),
        cmocka_unit_test(bytes_of_queries_are_the_same_at_every_level),
        cmocka_unit_test(products_are_right_at_every_level),
        cmocka_unit_test(whole_numbers_are_kept_at_every_level),
        cmocka_unit_test(squares_are_summed_at_every_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
