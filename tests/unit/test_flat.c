/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flat search against a naive sort of canonical distances, bit for bit: every level, metric and size of group, rows in
 * any order, tiles and merges split anywhere, over data made to defeat float arithmetic.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/flat/flat_int.h"
#include "support/cases.h"

#define MAX_ROWS    700
#define MAX_QUERIES 140
#define MAX_DIM     900
#define MAX_PARTS   4

static const pm_simd *levels[8];
static size_t nlevels;

/* ---- rows ---- */

enum kind {
    TAME,      /* uniform in -1..1 */
    FEW,       /* few different values: duplicates and ties everywhere */
    OFFSET,    /* far from the origin, near each other */
    SHELL,     /* the same distance from every query, but for the last bits */
    SHUFFLED,  /* permutations of one vector against constant queries: equal dot products, different float sums */
    SCALED,    /* lengths from 1e-15 to 1e15 */
    HUGE_ROWS, /* squares overflow a float */
    FAINT,     /* products are denormal floats, with few digits */
    TINY,      /* products underflow to nothing */
    DENORMAL,
    MIXED,   /* any exponent */
    EXTREME, /* lengths near the ends of what a float holds: products and norms overflow or not, each for itself */
    OPPOSED, /* nearly parallel and nearly opposite vectors */
    WHOLE,   /* 0 to 255, as pixels: coded in bytes without loss */
    SIGNED,  /* whole numbers from -128 to 127 */
    NEARLY,  /* whole numbers but for a few */
    NEVER_NEGATIVE,
    SIMPLE_QUERIES, /* -1, 0 and 1, which bytes hold, against rows that lose digits in them */
    SIMPLE_ROWS,    /* the other way around */
    SPIKED,         /* one element is as large as all others together: bytes say little */
    STUCK,          /* float sums that lose about half a unit in the same direction at every step; see make_stuck */
    KINDS
};

typedef struct row {
    float vector[MAX_DIM];
    union {
        uint16_t half[MAX_DIM];
        int8_t byte[MAX_DIM];
    } stored; /* the same, unless dtype is float32 */
    pm_flat_id id;
    uint8_t text[12];
} row;

static row rows[MAX_ROWS];
static float queries[MAX_QUERIES][MAX_DIM];
static size_t nrows, nqueries, dim, k;
static pomai_metric metric;
static pomai_dtype dtype;

static void make_vector(float *x, enum kind kind, const float *base)
{
    float scale = ldexpf(1, (int)below(100) - 50), extreme = ldexpf(1, (int)below(252) - 125);
    for (size_t d = 0; d < dim; d++) {
        float u = uniform();
        switch (kind) {
        case FEW:
            x[d] = (float)below(3);
            break;
        case OFFSET:
            x[d] = 1000 + u;
            break;
        case SHELL:
            x[d] = base[d] + (below(2) == 0 ? 1.0f : -1.0f) + (below(20) == 0 ? u * 0x1p-22f : 0);
            break;
        case SCALED:
            x[d] = u * scale;
            break;
        case EXTREME:
            x[d] = u * extreme;
            break;
        case WHOLE:
            x[d] = (float)below(256);
            break;
        case SIGNED:
            x[d] = (float)below(256) - 128;
            break;
        case NEARLY:
            x[d] = (float)below(257) - (below(300) == 0 ? 0.25f : 0);
            break;
        case NEVER_NEGATIVE:
            x[d] = fabsf(u);
            break;
        case SIMPLE_ROWS:
            x[d] = (float)below(3) - 1;
            break;
        case SPIKED:
            x[d] = below(dim) == 0 ? u * (float)dim : u;
            break;
        case HUGE_ROWS:
            x[d] = u * 3e38f;
            break;
        case FAINT:
            x[d] = u * 3e-22f;
            break;
        case TINY:
            x[d] = u * 1e-30f;
            break;
        case DENORMAL:
            x[d] = (float)below(50) * FLT_TRUE_MIN;
            break;
        case MIXED:
            x[d] = ldexpf(u, (int)below(250) - 125);
            break;
        case OPPOSED:
            x[d] = base[d] * scale * (1 + u * 0x1p-20f) * (scale > 1 ? 1.0f : -1.0f);
            break;
        default:
            x[d] = u;
        }
    }
}

static void shuffle_floats(float *x, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = below(i);
        float t = x[i - 1];
        x[i - 1] = x[j];
        x[j] = t;
    }
}

static int is_zero(const float *x)
{
    for (size_t d = 0; d < dim; d++) {
        if (x[d] != 0) return 0;
    }
    return 1;
}

static void make_ids(int strings)
{
    for (size_t i = 0; i < nrows; i++) {
        row *r = &rows[i];
        r->id = (pm_flat_id){.u64 = i * 0x9e3779b97f4a7c15u}; /* odd multiplier: all different, in no order */
        if (!strings) continue;
        int digits = snprintf((char *)r->text, sizeof r->text, "%zx", (i * 2654435761u) % 65536);
        r->id.bytes = r->text; /* different lengths, one often the beginning of another */
        r->id.size = (uint32_t)digits;
    }
}

/*
 * After a large lead, terms just above half a unit of the partial sum are rounded up to a whole one (L2), and terms of
 * half a unit are lost (dot products). Half of the rows are like that, and half have nearly the same sum in one term,
 * which is exact: bounds smaller than the roundings that add up put them in the wrong order.
 */
static void make_stuck(void)
{
    size_t lead = (size_t)1 << below(7);
    float large = metric == POMAI_METRIC_L2 ? 0x1p13f : 0x1p24f, small = metric == POMAI_METRIC_L2 ? 2.1f : 1;
    for (size_t i = 0; i < nrows; i++) {
        float *x = rows[i].vector;
        double sum = 0;
        for (size_t d = 0; d < dim; d++) {
            x[d] = d < lead ? large : small;
            sum += metric == POMAI_METRIC_L2 ? (double)x[d] * (double)x[d] : (double)x[d];
        }
        if (i % 2 == 0) {
            x[below(dim)] += uniform() * 0x1p-4f;
            continue;
        }
        memset(x, 0, dim * sizeof *x);
        sum *= 1 + (double)uniform() * (below(2) == 0 ? 0x1p-20 : 0x1p-16);
        x[below(dim)] = (float)(metric == POMAI_METRIC_L2 ? sqrt(sum) : sum);
    }
    for (size_t j = 0; j < nqueries; j++) {
        for (size_t d = 0; d < dim; d++)
            queries[j][d] = metric == POMAI_METRIC_L2 ? 0 : 1;
    }
}

/* Rows as another type, and their vectors what that holds of them; queries are sometimes of it as well. */
static void store_as(pomai_dtype type)
{
    const pm_convert *convert = levels[0]->convert;
    dtype = type;
    for (size_t i = 0; i < nrows && type != POMAI_DTYPE_FLOAT32; i++) {
        row *r = &rows[i];
        for (size_t d = 0; d < dim; d++) {
            const float most = type == POMAI_DTYPE_INT8 ? 127 : 65504, x = fminf(fmaxf(r->vector[d], -most - 1), most);
            r->vector[d] = type == POMAI_DTYPE_INT8 ? rintf(x) : fmaxf(x, -most);
        }
        if (type == POMAI_DTYPE_INT8)
            assert_int_equal(convert->to_i8(r->vector, dim, r->stored.byte), dim);
        else
            assert_int_equal(convert->to_f16(r->vector, dim, r->stored.half), dim);
        pm_convert_row(convert, type, &r->stored, dim, r->vector);
    }
    for (size_t j = 0; j < nqueries && type == POMAI_DTYPE_INT8; j++) {
        for (size_t d = 0; j % 3 != 0 && d < dim; d++)
            queries[j][d] = rintf(fminf(fmaxf(queries[j][d], -128), 127));
        if (j % 3 == 2 && below(2) == 0) queries[j][below(dim)] = below(2) == 0 ? 128 : 0.5f; /* no byte */
    }
}

static void make_case(enum kind kind)
{
    static float base[MAX_DIM];
    for (size_t d = 0; d < dim; d++)
        base[d] = uniform();
    for (size_t i = 0; i < nrows; i++) {
        make_vector(rows[i].vector, kind, base);
        if (kind == SHUFFLED) {
            memcpy(rows[i].vector, base, dim * sizeof *base);
            shuffle_floats(rows[i].vector, dim);
        }
        if (i > 0 && below(10) == 0) memcpy(rows[i].vector, rows[below(i)].vector, dim * sizeof(float));
    }
    for (size_t j = 0; j < nqueries; j++) {
        make_vector(queries[j], kind, base);
        if (kind == SHELL || kind == OPPOSED) memcpy(queries[j], base, dim * sizeof *base);
        for (size_t d = 0; kind == SHUFFLED && d < dim; d++)
            queries[j][d] = (float)(j + 1);
        if (below(4) == 0) memcpy(queries[j], rows[below(nrows)].vector, dim * sizeof(float));
        for (size_t d = 0; kind == SIMPLE_QUERIES && d < dim; d++)
            queries[j][d] = (float)below(3) - 1;
        for (size_t d = 0; kind == SIMPLE_ROWS && d < dim; d++)
            queries[j][d] = uniform();
    }
    if (kind == STUCK) make_stuck();
    pm_flat_large_k = below(2) == 0 ? 1 + below(600) : 512; /* before queries are made */
    store_as(below(3) != 0 ? POMAI_DTYPE_FLOAT32 : below(2) == 0 ? POMAI_DTYPE_FLOAT16 : POMAI_DTYPE_INT8);
    make_ids(below(2) == 0);
}

/* ---- the naive answer ---- */

static int compare_naive(const void *left, const void *right)
{
    const pm_flat_hit *a = left, *b = right;
    const pm_flat_id *x = &rows[a->row].id, *y = &rows[b->row].id;
    if (a->distance != b->distance) return a->distance < b->distance ? -1 : 1;
    if (x->bytes == NULL) return x->u64 < y->u64 ? -1 : x->u64 > y->u64;
    /* string ids here are NUL-terminated, and strcmp is the order wanted of them */
    return strcmp((const char *)x->bytes, (const char *)y->bytes);
}

static double naive_distance(const float *q, const float *x)
{
    if (metric == POMAI_METRIC_L2) return pm_exact_l2(q, x, dim);
    double dot = pm_exact_dot(q, x, dim);
    if (metric == POMAI_METRIC_IP) return 1 - dot;
    if (is_zero(q) || is_zero(x)) return 1;
    return 1 - dot / sqrt(pm_exact_dot(q, q, dim) * pm_exact_dot(x, x, dim));
}

static size_t naive(const float *q, pm_flat_hit *hits)
{
    for (size_t i = 0; i < nrows; i++)
        hits[i] = (pm_flat_hit){naive_distance(q, rows[i].vector), &rows[i], (uint32_t)i};
    qsort(hits, nrows, sizeof *hits, compare_naive);
    return nrows < k ? nrows : k;
}

/* ---- the search ---- */

static void id_of(const void *owner, uint32_t number, pm_flat_id *id)
{
    const row *r = owner;
    assert_true(r == &rows[number]);
    *id = r->id;
}

static pm_flat_query *new_query(const pm_simd *simd, const float *vector)
{
    size_t size = pm_flat_query_size(k, dim);
    assert_true(size > 0 && size % 64 == 0);
    void *memory = aligned_alloc(64, size);
    assert_non_null(memory);
    memset(memory, 0xa5, size);
    return pm_flat_query_init(memory, simd, metric, vector, dim, k, id_of);
}

static pm_flat_group *new_group(pm_flat_query *const *q, size_t n, const pm_simd *simd)
{
    size_t size = pm_flat_group_size(simd, n, dim);
    assert_true(size > 0 && size % 64 == 0);
    void *memory = aligned_alloc(64, size);
    assert_non_null(memory);
    memset(memory, 0xa5, size);
    return pm_flat_group_init(memory, q, n);
}

/*
 * Offers all rows, in any order, in tiles of any size, each tile to one of the parts; then merges the parts into 0. The
 * queries in groups of `group`, as pm_flat_group or not.
 */
static void search(pm_flat_query *q[MAX_PARTS][MAX_QUERIES], size_t parts, size_t group, const pm_simd *simd)
{
    static pm_flat_group *made[MAX_PARTS][MAX_QUERIES];
    const int grouped = below(4) != 0;
    for (size_t part = 0; grouped && part < parts; part++) {
        for (size_t j = 0; j < nqueries; j += group)
            made[part][j] = new_group(&q[part][j], nqueries - j < group ? nqueries - j : group, simd);
    }
    static uint32_t order[MAX_ROWS];
    static float room[PM_FLAT_TILE * MAX_DIM];
    for (size_t i = 0; i < nrows; i++) {
        size_t j = below(i + 1);
        order[i] = order[j];
        order[j] = (uint32_t)i;
    }
    size_t most = below(3) == 0 ? 1 + below(PM_FLAT_TILE) : PM_FLAT_TILE;
    for (size_t i = 0; i < nrows;) {
        pm_flat_tile tile = {.n = 1 + below(most), .dtype = dtype, .convert = simd->convert, .room = room};
        if (below(2) == 0) tile.n = most;
        if (tile.n > nrows - i) tile.n = nrows - i;
        for (size_t t = 0; t < tile.n; t++, i++) {
            if (dtype == POMAI_DTYPE_FLOAT32)
                tile.vector[t] = rows[order[i]].vector;
            else
                tile.stored[t] = &rows[order[i]].stored;
            tile.owner[t] = &rows[order[i]];
            tile.row[t] = order[i];
        }
        size_t part = below(parts);
        for (size_t j = 0; j < nqueries; j += group) {
            if (grouped)
                pm_flat_group_offer(made[part][j], &tile);
            else
                pm_flat_offer(&q[part][j], nqueries - j < group ? nqueries - j : group, &tile);
        }
    }
    for (size_t part = 0; grouped && part < parts; part++) {
        for (size_t j = 0; j < nqueries; j += group)
            free(made[part][j]);
    }
    for (size_t part = parts - 1; part > 0; part--) {
        for (size_t j = 0; j < nqueries; j++)
            pm_flat_merge(q[part - 1][j], q[part][j]);
    }
}

/* The parts of each query go by one limit; NULL: k is too large for one. */
static uint8_t *share_limits(pm_flat_query *q[MAX_PARTS][MAX_QUERIES], size_t parts)
{
    const size_t size = pm_flat_limit_size(k);
    assert_int_equal(size % 64, 0);
    if (size == 0) return NULL;
    uint8_t *memory = aligned_alloc(64, nqueries * size);
    assert_non_null(memory);
    memset(memory, 0xa5, nqueries * size);
    for (size_t j = 0; j < nqueries; j++) {
        pm_flat_limit *limit = pm_flat_limit_init(memory + j * size, k);
        for (size_t p = 0; p < parts; p++)
            pm_flat_share(q[p][j], limit);
    }
    return memory;
}

static void compare(const pm_flat_hit *got, size_t n, const pm_flat_hit *want, size_t nwant, const char *level,
                    int kind, size_t group)
{
    int ok = n == nwant;
    for (size_t i = 0; ok && i < n; i++)
        ok = memcmp(&got[i].distance, &want[i].distance, sizeof(double)) == 0 && got[i].owner == want[i].owner &&
             got[i].row == want[i].row;
    cases++;
    if (!ok && failures++ < 10)
        printf("  level %s, metric %d, type %d, kind %d, %zu rows, dim %zu, k %zu, %zu queries by %zu\n", level,
               (int)metric, (int)dtype, kind, nrows, dim, k, nqueries, group);
}

static void check_search(const pm_simd *simd, int kind)
{
    static const size_t groups[] = {1, 2, 8, 9, 16, 19, MAX_QUERIES};
    static pm_flat_hit want[MAX_ROWS];
    static pm_flat_query *q[MAX_PARTS][MAX_QUERIES];
    size_t parts = 1 + below(MAX_PARTS), group = groups[below(sizeof groups / sizeof *groups)];
    for (size_t p = 0; p < parts; p++) {
        for (size_t j = 0; j < nqueries; j++)
            q[p][j] = new_query(simd, queries[j]);
    }
    uint8_t *limits = below(2) == 0 ? share_limits(q, parts) : NULL;
    search(q, parts, group, simd);
    for (size_t j = 0; j < nqueries; j++) {
        const pm_flat_hit *got;
        size_t n = pm_flat_finish(q[0][j], &got);
        compare(got, n, want, naive(queries[j], want), simd->name, kind, group);
    }
    for (size_t p = 0; p < parts; p++) {
        for (size_t j = 0; j < nqueries; j++)
            free(q[p][j]);
    }
    free(limits);
}

static void draw_sizes(void)
{
    static const pomai_metric metrics[] = {POMAI_METRIC_L2, POMAI_METRIC_IP, POMAI_METRIC_COSINE};
    metric = metrics[below(3)];
    nrows = 1 + below(below(3) == 0 ? MAX_ROWS : 150);
    nqueries = below(8) == 0 ? MAX_QUERIES : 1 + below(32);
    dim = 1 + below(below(8) == 0 ? MAX_DIM : 1 + below(100));
    k = below(10) == 0 ? nrows + below(4) : 1 + below(below(4) == 0 ? nrows : 20);
    if (below(50) == 0) k = 0;
}

static void answers_equal_a_naive_sort(void **unused)
{
    (void)unused;
    begin();
    for (size_t round = 0; round < 60 * KINDS; round += share) {
        enum kind kind = (enum kind)(round % KINDS);
        draw_sizes();
        if (kind == STUCK || kind == SHELL || kind == SHUFFLED) dim = 300 + below(MAX_DIM - 300);
        make_case(kind);
        for (size_t l = 0; l < nlevels; l++)
            check_search(levels[l], (int)kind);
    }
    end("answers_equal_a_naive_sort");
}

/* Many rows near each other, so that what one of the two loses in bytes, if it is not allowed for, changes an answer.
 */
static void what_bytes_lose_is_allowed_for(void **unused)
{
    (void)unused;
    static const pomai_metric metrics[] = {POMAI_METRIC_L2, POMAI_METRIC_IP, POMAI_METRIC_COSINE};
    begin();
    for (size_t round = 0; round < 360; round += share) {
        metric = metrics[round % 3];
        nrows = MAX_ROWS;
        nqueries = 16 + below(40);
        dim = 2 + below(12);
        k = 1 + below(12);
        make_case(round / 3 % 2 == 0 ? SIMPLE_QUERIES : SIMPLE_ROWS);
        for (size_t l = 0; l < nlevels; l++)
            if (levels[l]->pack_codes != NULL || round == 0) check_search(levels[l], SIMPLE_QUERIES);
    }
    end("what_bytes_lose_is_allowed_for");
}

static void the_callers_rounding_does_not_matter(void **unused)
{
    (void)unused;
    begin();
    for (size_t round = 0; round < 60; round += share) {
        static pm_flat_hit want[MAX_ROWS];
        draw_sizes();
        nqueries = 1 + below(10);
        make_case((enum kind)(round % KINDS));
        for (size_t l = 0; l < nlevels; l++) {
            static pm_flat_query *q[MAX_PARTS][MAX_QUERIES];
            assert_int_equal(fesetround(FE_UPWARD), 0);
            for (size_t j = 0; j < nqueries; j++)
                q[0][j] = new_query(levels[l], queries[j]);
            search(q, 1, nqueries, levels[l]);
            assert_int_equal(fesetround(FE_TONEAREST), 0);
            for (size_t j = 0; j < nqueries; j++) {
                const pm_flat_hit *got;
                size_t n = pm_flat_finish(q[0][j], &got);
                compare(got, n, want, naive(queries[j], want), levels[l]->name, (int)(round % KINDS), nqueries);
                free(q[0][j]);
            }
        }
    }
    end("the_callers_rounding_does_not_matter");
}

/* Who reads a bound may take denormals for zero, and a distance that is one must not become 0 by that. */
static void small_bounds_are_never_too_small(void **unused)
{
    (void)unused;
    begin();
    metric = POMAI_METRIC_L2;
    nrows = nqueries = dim = k = 1;
    make_case(TAME);
    for (size_t i = 0; i < 400; i++) {
        const double distance = ldexp(0.5 + (double)below(1000) / 2000, -(int)i);
        pm_flat_query *near = new_query(levels[0], queries[0]), *other = new_query(levels[0], queries[0]);
        void *memory = aligned_alloc(64, pm_flat_limit_size(k));
        assert_non_null(memory);
        pm_flat_limit *limit = pm_flat_limit_init(memory, k);
        pm_flat_share(near, limit);
        pm_flat_share(other, limit);
        pm_flat_offer_known(near, distance, &rows[0], 0);
#ifdef __x86_64__
        const unsigned before = __builtin_ia32_stmxcsr();
        __builtin_ia32_ldmxcsr(before | 0x8040); /* denormals are zero, on the way in and out */
        const double bound = pm_flat_bound(other);
        __builtin_ia32_ldmxcsr(before);
#else
        const double bound = pm_flat_bound(other);
#endif
        cases++;
        if (!(bound >= distance) && failures++ < 10) printf("  %g for %g\n", bound, distance);
        free(near), free(other), free(memory);
    }
    end("small_bounds_are_never_too_small");
}

/* ---- how little is computed exactly ---- */

static size_t ids_asked;

static void count_id(const void *owner, uint32_t number, pm_flat_id *id)
{
    ids_asked++;
    id_of(owner, number, id);
}

/* Ids lie elsewhere, and each is a miss of the cache: they are asked for where distances are equal. */
static void ids_are_asked_for_where_distances_are_equal(void **unused)
{
    (void)unused;
    begin();
    metric = POMAI_METRIC_L2;
    nrows = MAX_ROWS;
    nqueries = 1;
    dim = 32;
    k = 5;
    make_case(TAME);
    for (size_t l = 0; l < 2 * nlevels; l++) {
        const bool equal = l >= nlevels;
        void *memory = aligned_alloc(64, pm_flat_query_size(k, dim));
        assert_non_null(memory);
        memset(queries[0], 0, dim * sizeof(float));
        pm_flat_query *q = pm_flat_query_init(memory, levels[l % nlevels], metric, queries[0], dim, k, count_id);
        const pm_flat_hit *hits;
        ids_asked = 0;
        for (uint32_t i = 0; i < nrows; i++) {
            memset(rows[i].vector, 0, dim * sizeof(float));
            rows[i].vector[i % dim] = equal ? 1 : (float)(nrows - i);
            pm_flat_tile tile = {.n = 1, .vector = {rows[i].vector}, .owner = {&rows[i]}, .row = {i}};
            pm_flat_offer(&q, 1, &tile);
        }
        cases++;
        failures += pm_flat_finish(q, &hits) != k || (ids_asked > 0) != equal;
        free(memory);
    }
    end("ids_are_asked_for_where_distances_are_equal");
}

static void sizes_that_overflow_are_refused(void **unused)
{
    (void)unused;
    const size_t all = SIZE_MAX;
    const size_t bad[][2] = {{all, 1},     {all / 24, 1}, {all / 24 + 1, 1},       {1, all},
                             {1, all / 4}, {all, all},    {all / 48, all / 8 + 1}, {all / sizeof(pm_flat_hit), 3},
                             {0, all / 4}};
    begin();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cases++;
        if (pm_flat_query_size(bad[i][0], bad[i][1]) != 0 && failures++ < 10)
            printf("  k %zu, dim %zu\n", bad[i][0], bad[i][1]);
    }
    for (size_t n = 0; n < 200; n++) {
        size_t size = pm_flat_query_size(n, 200 - n);
        cases++;
        failures += size % 64 != 0 || size < n * sizeof(pm_flat_hit) + (200 - n) * sizeof(float);
    }
    end("sizes_that_overflow_are_refused");
}

/* Ids of one query's equal distances: shorter first when one begins the other, bytes unsigned, NUL bytes counted. */
static void string_ids_are_ordered_by_byte_then_length(void **unused)
{
    (void)unused;
    static const uint8_t texts[][3] = {{0}, {0, 0}, {0, 1}, {1}, {'a'}, {'a', 0}, {'a', 'b'}, {0x7f}, {0x80}, {0xff}};
    static const uint32_t sizes[] = {1, 2, 2, 1, 1, 2, 2, 1, 1, 1};
    const size_t n = sizeof sizes / sizeof *sizes;
    begin();
    metric = POMAI_METRIC_L2;
    dim = 3;
    nrows = n;
    for (size_t round = 0; round < 200; round++) {
        uint32_t order[16];
        k = 1 + below(n);
        pm_flat_query *q = new_query(levels[below(nlevels)], (float[]){1, 2, 3});
        for (uint32_t i = 0; i < n; i++) {
            size_t j = below(i + 1);
            order[i] = order[j];
            order[j] = i;
            rows[i].id = (pm_flat_id){.bytes = texts[i], .size = sizes[i]};
            memset(rows[i].vector, 0, 3 * sizeof(float));
        }
        for (uint32_t i = 0; i < n; i++) {
            row *r = &rows[order[i]];
            pm_flat_tile tile = {.n = 1, .vector = {r->vector}, .owner = {r}, .row = {order[i]}};
            pm_flat_offer(&q, 1, &tile);
        }
        const pm_flat_hit *hits;
        int ok = pm_flat_finish(q, &hits) == k;
        for (size_t i = 0; ok && i < k; i++)
            ok = hits[i].row == i && hits[i].distance == 14;
        cases++;
        failures += !ok;
        free(q);
    }
    end("string_ids_are_ordered_by_byte_then_length");
}

int main(int argc, char **argv)
{
    if (!cases_arguments(argc, argv)) return 2;
    nlevels = pm_simd_levels(levels, sizeof levels / sizeof *levels);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_equal_a_naive_sort),
        cmocka_unit_test(what_bytes_lose_is_allowed_for),
        cmocka_unit_test(the_callers_rounding_does_not_matter),
        cmocka_unit_test(small_bounds_are_never_too_small),
        cmocka_unit_test(ids_are_asked_for_where_distances_are_equal),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(string_ids_are_ordered_by_byte_then_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
