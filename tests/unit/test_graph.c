/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs through their interface: the same bytes at every level and on any number of threads, whatever the rows; walks
 * that reach the recall that calibration promised; and forged graphs that lead nowhere out of bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/graph/graph.h"
#include "index/graph/graph_int.h"
#include "support/cases.h"
#include "support/crew.h"
#include "support/exact.h"
#include "support/levels.h"
#include "support/no_memory.h"
#include "support/reached.h"

#define DIGEST                                                                                                         \
    0x8f874bfe9053361bu /* of models and codes; changes with the format, the variants that are chosen, or roundings */

/* ---- rows ---- */

enum kind {
    NORMAL,
    CLUSTERED,
    TIGHT,
    UNIFORM,
    BYTES,
    LATE,    /* bytes, but for a row that no sample meets */
    BETWEEN, /* bytes, but queries have fractions */
    EQUAL,
    FEW,
    ZEROS,
    HUGE_ROWS,
    TINY,
    DENORMAL,
    OUTLIER,
    MIXED,
    KINDS
};
enum { CENTRES = 40 };

typedef struct world {
    uint32_t dim;
    uint64_t rows;
    pomai_metric metric;
    float *x;                                        /* rows, then as many queries as were asked for */
    uint64_t reads, stop_read, appends, stop_append; /* the one that fails, from 1; 0: none */
    uint64_t most;                                   /* bytes appended at once */
    uint8_t *at[PM_GRAPH_SECTIONS];
    uint64_t length[PM_GRAPH_SECTIONS], filled[PM_GRAPH_SECTIONS];
    pm_graph graph;
} world;

/* Nearly normal, deviation 1. */
static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 6; i++)
        sum += uniform();
    return sum * 0.70710678f;
}

static float element(enum kind kind, const float *centre, uint32_t d)
{
    switch (kind) {
    case CLUSTERED:
        return centre[d] + normal() * 0.3f;
    case TIGHT:
        return centre[d] + normal() * 0.03f;
    case UNIFORM:
        return uniform();
    case BYTES:
    case BETWEEN:
    case LATE:
        return roundf(fminf(fmaxf(128 + 40 * centre[d] + 30 * normal(), 0), 255));
    case EQUAL:
        return centre[d];
    case FEW:
        return d < 6 ? (float)below(2) - 0.5f : 1;
    case ZEROS:
        return below(3) == 0 ? uniform() : 0;
    case HUGE_ROWS:
        return uniform() * 1e30f;
    case TINY:
        return uniform() * 1e-30f;
    case DENORMAL:
        return uniform() * 0x1p-140f;
    case MIXED:
        return ldexpf(uniform(), (int)below(250) - 125);
    default:
        return normal();
    }
}

static void fill(world *w, enum kind kind, uint64_t all)
{
    float *centres = allocate(CENTRES * w->dim * sizeof *centres);
    for (size_t i = 0; i < CENTRES * (size_t)w->dim; i++)
        centres[i] = normal();
    for (uint64_t i = 0; i < all; i++) {
        float *row = w->x + i * w->dim;
        const float *centre = centres + (kind == EQUAL ? 0 : below(CENTRES)) * w->dim;
        for (uint32_t d = 0; d < w->dim; d++)
            row[d] = element(kind, centre, d);
        if (kind == ZEROS && i % 5 == 0) memset(row, 0, w->dim * sizeof *row);
    }
    for (uint64_t i = w->rows * w->dim; kind == BETWEEN && i < all * w->dim; i++)
        w->x[i] += normal() * 0.3f;
    if (kind == LATE) w->x[(w->rows - 1) * w->dim + w->dim - 1] += 0.25f;
    if (kind == OUTLIER)
        for (uint32_t d = 0; d < w->dim; d++)
            w->x[w->rows / 2 * w->dim + d] = 1e6f * normal();
    free(centres);
}

static world new_world(enum kind kind, uint64_t rows, uint32_t dim, pomai_metric metric, uint64_t queries)
{
    world w = {.dim = dim, .rows = rows, .metric = metric};
    w.x = allocate((rows + queries) * dim * sizeof *w.x);
    fill(&w, kind, rows + queries);
    return w;
}

static void drop_sections(world *w)
{
    for (size_t i = 0; i < PM_GRAPH_SECTIONS; i++) {
        free(w->at[i]);
        w->at[i] = NULL;
    }
}

static void drop(world *w)
{
    free(w->x);
    drop_sections(w);
}

static bool read_rows(void *context, uint64_t first, uint32_t n, float *out)
{
    world *w = context;
    assert_true(first < w->rows && n <= w->rows - first);
    memcpy(out, w->x + first * w->dim, (size_t)n * w->dim * sizeof *out);
    return ++w->reads != w->stop_read;
}

static bool append(void *context, uint32_t section, const void *data, size_t bytes)
{
    world *w = context;
    assert_true(section < PM_GRAPH_SECTIONS);
    assert_true(bytes <= w->length[section] - w->filled[section]);
    memcpy(w->at[section] + w->filled[section], data, bytes);
    w->filled[section] += bytes;
    w->most = bytes > w->most ? bytes : w->most;
    return ++w->appends != w->stop_append;
}

/* ---- graphs ---- */

/* Only what kind of graph they would have. */
static pomai_status choose(world *w, const pm_simd *level)
{
    const pm_index_source source = {w->rows, w->dim, w->metric, 7, w, read_rows};
    crew c = {0};
    const pm_index_work work = {&c, NULL, crew_go_on};
    pm_graph_builder *builder = NULL;
    const pomai_status status = pm_graph_begin(&source, level, &work, &builder, &w->graph.variant);
    if (builder != NULL) pm_graph_end(builder);
    return status;
}

/* Into memory of their exact size. threads 0: without a runner. */
static pomai_status make(world *w, const pm_simd *level, uint32_t threads, crew *c)
{
    const pm_index_source source = {w->rows, w->dim, w->metric, 7, w, read_rows};
    const pm_index_sink sink = {w, append};
    const pm_index_work work = {c, threads > 0 ? crew_run : NULL, crew_go_on};
    pm_graph_builder *builder = NULL;
    uint32_t variant = 0;
    c->threads = threads;
    memset(w->filled, 0, sizeof w->filled);
    drop_sections(w);
    pomai_status status = pm_graph_begin(&source, level, &work, &builder, &variant);
    assert_true((status == POMAI_OK) == (builder != NULL));
    if (status != POMAI_OK) return status;
    assert_true(pm_graph_lengths(w->rows, w->dim, w->metric, variant, w->length));
    w->graph = (pm_graph){.rows = w->rows, .dim = w->dim, .metric = w->metric, .variant = variant};
    for (size_t i = 0; i < PM_GRAPH_SECTIONS; i++) {
        w->graph.section[i] = NULL;
        if (w->length[i] == 0) continue;
        w->at[i] = aligned_alloc(64, (w->length[i] + 63) / 64 * 64);
        assert_non_null(w->at[i]);
        w->graph.section[i] = w->at[i];
    }
    status = pm_graph_build(builder, &sink);
    if (status == POMAI_OK) status = pm_graph_calibrate(builder, &w->graph, &sink);
    pm_graph_end(builder);
    return status;
}

static pomai_status make_plainly(world *w, const pm_simd *level)
{
    crew c = {0};
    return make(w, level, 0, &c);
}

typedef struct answer {
    size_t n;
    uint32_t row[PM_GRAPH_MOST_POOL];
    uint64_t seen, expanded;
} answer;

static void ask(const world *w, const pm_simd *level, const float *q, uint32_t k, const pm_graph_effort *effort,
                const pm_graph_asks *asks, answer *a)
{
    const pm_graph_asks none = {0};
    const uint32_t *rows = NULL;
    const size_t size = pm_graph_query_size(&w->graph, effort);
    assert_true(size > 0 && size % 64 == 0);
    void *memory = allocate(size);
    const int rounding = fegetround();
    if (level != levels[nlevels - 1]) fesetround(FE_DOWNWARD);
    pm_graph_query *query = pm_graph_query_init(memory, &w->graph, level, q, k, effort);
    a->n = pm_graph_walk(query, asks == NULL ? &none : asks, &rows);
    assert_true(a->n <= effort->rerank);
    memcpy(a->row, rows, a->n * sizeof *rows);
    pm_graph_walked(query, &a->seen, &a->expanded);
    fesetround(rounding);
    free(memory);
}

static bool distinct(const world *w, const answer *a)
{
    uint8_t *seen = calloc(w->rows, 1);
    bool good = true;
    for (size_t i = 0; i < a->n; i++) {
        good = good && a->row[i] < w->rows && seen[a->row[i]] == 0;
        if (a->row[i] < w->rows) seen[a->row[i]] = 1;
    }
    free(seen);
    return good;
}

static bool all_reached(const world *w)
{
    const uint32_t *links = (const uint32_t *)(const void *)w->graph.section[GRAPH_LINKS];
    uint32_t first;
    memcpy(&first, w->graph.section[GRAPH_ENTRIES], sizeof first);
    return count_reached(w->rows, w->graph.variant & 0xff, links, first) == w->rows;
}

/* ---- the same everywhere ---- */

static const struct {
    uint32_t dim;
    uint64_t rows;
} sizes[] = {{8, 65},    {16, 5000},  {17, 1000}, {100, 1000}, {112, 100},  {113, 1000},
             {128, 100}, {240, 1000}, {256, 100}, {784, 300},  {2050, 100}, {128, 5000}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void query_of(const world *w, size_t i, float *q)
{
    static const float values[] = {0, FLT_MAX, -FLT_MAX, 0x1p-149f, 1e30f, 1e-30f};
    const float *row = w->x + (w->rows + i) * w->dim; /* one more */
    for (uint32_t d = 0; d < w->dim; d++)
        q[d] = i < 6 ? values[i] * (d % 3 == 0 ? -1 : 1) : row[d];
}
enum { QUERIES = 9 };

static void compare_walks(const world *w, uint32_t k, const pm_graph_effort *effort)
{
    answer *a = allocate(sizeof *a), *b = allocate(sizeof *b);
    float *q = allocate(w->dim * sizeof *q);
    for (size_t i = 0; i < QUERIES; i++) {
        query_of(w, i, q);
        ask(w, levels[nlevels - 1], q, k, effort, NULL, a);
        check(distinct(w, a), "distinct rows", levels[nlevels - 1]->name, w->dim, w->rows);
        check(a->n <= k || a->n <= a->expanded, "walked from", levels[nlevels - 1]->name, w->dim, w->rows);
        for (size_t l = 0; l + 1 < nlevels; l++) {
            ask(w, levels[l], q, k, effort, NULL, b);
            check(a->n == b->n && memcmp(a->row, b->row, a->n * sizeof *a->row) == 0, "walk", levels[l]->name, w->dim,
                  w->rows);
            check(a->seen == b->seen && a->expanded == b->expanded, "steps", levels[l]->name, w->dim, w->rows);
        }
    }
    free(a), free(b), free(q);
}

static void graphs_are_the_same_on_any_machine(void **unused)
{
    (void)unused;
    static const uint32_t threads[] = {1, 2, MOST_THREADS};
    begin();
    for (size_t i = 0; i < SIZES * 5; i++) {
        const bool bytes = i / SIZES >= 3; /* of few dimensions codes of themselves */
        const enum kind kind =
            bytes ? i / SIZES == 3 ? BYTES : BETWEEN : (enum kind)((i / SIZES + i % SIZES * 3) % KINDS);
        const pomai_metric metric = bytes ? POMAI_METRIC_L2 : (pomai_metric)(1 + (i + i / SIZES) % 3);
        const uint64_t most = share > 1 ? 20000 : i < SIZES ? UINT64_MAX : 50000;
        if (sizes[i % SIZES].rows * sizes[i % SIZES].dim > most || left_out()) continue;
        world w = new_world(kind, sizes[i % SIZES].rows, sizes[i % SIZES].dim, metric, QUERIES);
        uint8_t *copy[PM_GRAPH_SECTIONS];
        crew c = {0};
        assert_int_equal(make(&w, levels[nlevels - 1], 0, &c), POMAI_OK);
        check(pm_graph_is_sound(&w.graph), "sound", "", w.dim, w.rows);
        check(all_reached(&w), "reached", "", w.dim, w.rows);
        for (size_t s = 0; s < PM_GRAPH_SECTIONS; s++) {
            check(w.filled[s] == w.length[s], "length", "", w.dim, w.rows);
            copy[s] = allocate(w.length[s]);
            if (w.length[s] > 0) memcpy(copy[s], w.at[s], w.length[s]);
        }
        const uint32_t variant = w.graph.variant;
        for (size_t l = (i + i / SIZES) % 2; l < nlevels; l += 2) { /* one of each kind of kernels, and other threads */
            assert_int_equal(make(&w, levels[l], threads[(i + l) % 3], &c), POMAI_OK);
            check(w.graph.variant == variant, "variant", levels[l]->name, w.dim, w.rows);
            for (size_t s = 0; s < PM_GRAPH_SECTIONS && w.graph.variant == variant; s++)
                check(w.length[s] == 0 || memcmp(copy[s], w.at[s], w.length[s]) == 0, "section", levels[l]->name, w.dim,
                      w.rows * 10 + s);
        }
        const uint32_t k = graph_ks[i % GRAPH_KS];
        pm_graph_effort effort;
        for (uint32_t ef = 1; ef < 1000; ef = ef * 7 + 3) {
            assert_true(pm_graph_of_pool(&w.graph, k, ef, &effort));
            compare_walks(&w, k, &effort);
        }
        if (pm_graph_look_up(&w.graph, k, 0.95f, false, &effort)) compare_walks(&w, k, &effort);
        for (size_t s = 0; s < PM_GRAPH_SECTIONS; s++)
            free(copy[s]);
        drop(&w);
    }
    end("graphs_are_the_same_on_any_machine");
}

/* Nor do they depend on the compiler: files of another build are read. All but links and the table, which are tuned. */
static void codes_are_what_they_always_were(void **unused)
{
    (void)unused;
    static const uint32_t sections[] = {GRAPH_MODEL, GRAPH_HOT, GRAPH_WARM, GRAPH_ORDER};
    uint64_t digest = 0;
    begin();
    cases_rng.state = 42;
    for (size_t i = 0; i < 7; i++) {
        const uint32_t dim = i < 3 ? 60 : i < 6 ? 270 : 128;
        world w = new_world(EQUAL, 200, dim, (pomai_metric)(1 + i % 3), 0);
        for (uint64_t row = 0; row < w.rows; row++) { /* exact in single floats; from i of 3 on in few directions */
            float wave[16];
            for (size_t d = 0; d < 16; d++)
                wave[d] = (float)below(3000) / 8;
            for (size_t d = 0; d < w.dim; d++)
                w.x[row * w.dim + d] = i == 0   ? (float)below(256)
                                       : i == 6 ? floorf(wave[d % 16] / 2) + (float)below(5)
                                                : wave[i < 3 ? below(16) : d % 16] + (float)below(5);
        }
        if (i == 3) w.x[100 * w.dim] = 0x1p20f;
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        check(i < 4 || (w.graph.variant & GRAPH_PROJECTED) != 0, "projected", "", w.dim, i);
        check(i < 6 || (w.graph.variant & GRAPH_EXACT) != 0, "with rows", "", w.dim, i);
        for (size_t s = 0; s < sizeof sections / sizeof *sections; s++)
            digest = pm_hash_bytes(w.at[sections[s]], w.length[sections[s]], digest);
        drop(&w);
    }
    printf("  digest 0x%016llxu\n", (unsigned long long)digest);
    check(digest == DIGEST, "digest", "", 0, 0);
    end("codes_are_what_they_always_were");
}

/* ---- order ---- */

enum { SOME = 40, OF_EACH = 200 };

/* Rows of 40 clusters, shuffled, come to lie cluster by cluster. */
static void near_rows_become_neighbours(void **unused)
{
    (void)unused;
    begin();
    world w = new_world(EQUAL, (uint64_t)SOME * OF_EACH, 24, POMAI_METRIC_L2, 0);
    uint32_t cluster[SOME * OF_EACH], changes = 0;
    for (size_t i = 0; i < SOME * OF_EACH; i++) {
        cluster[i] = (uint32_t)below(SOME);
        for (uint32_t d = 0; d < w.dim; d++)
            w.x[i * w.dim + d] = (float)(pm_mix64(cluster[i] * (uint64_t)w.dim + d) % 100) + uniform();
    }
    assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
    const uint32_t *order = (const uint32_t *)(const void *)w.graph.section[GRAPH_ORDER];
    for (size_t i = 1; i < SOME * OF_EACH; i++)
        changes += cluster[order[i]] != cluster[order[i - 1]];
    printf("  %u changes of cluster\n", changes);
    check(changes < 5 * SOME, "side by side", "", w.dim, changes);
    drop(&w);
    end("near_rows_become_neighbours");
}

/* Two nodes of one row, two rows of one node, and a row that does not exist are no order. */
static void an_order_has_each_row_once(void **unused)
{
    (void)unused;
    begin();
    world w = new_world(CLUSTERED, 300, 20, POMAI_METRIC_L2, 0);
    assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
    uint32_t *order = (uint32_t *)(void *)w.at[GRAPH_ORDER], *place = (uint32_t *)(void *)w.at[GRAPH_PLACE];
    const uint32_t row = order[7], other = order[8];
    check(pm_graph_is_sound(&w.graph), "as built", "", w.dim, 0);
    order[7] = other;
    check(!pm_graph_is_sound(&w.graph), "a row twice", "", w.dim, 7);
    order[7] = row, place[row] = 8;
    check(!pm_graph_is_sound(&w.graph), "a place twice", "", w.dim, 7);
    place[row] = 7, order[299] = 300;
    check(!pm_graph_is_sound(&w.graph), "no such row", "", w.dim, 299);
    drop(&w);
    end("an_order_has_each_row_once");
}

/* ---- recall ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static const uint32_t ks[] = {1, 10, 20, 50, 100};
enum { KS = sizeof ks / sizeof *ks, HELD_OUT = 100 };

/* How many of the k nearest are not farther than the k-th of all. */
static double found_of(const world *w, const float *q, const answer *a, uint32_t k, double kth)
{
    uint32_t met = 0;
    for (size_t i = 0; i < a->n; i++)
        met += t_distance(w->metric, q, w->x + (uint64_t)a->row[i] * w->dim, w->dim) <= kth;
    return fmin(met, k) / k;
}

/* Recall of held-out queries is what the table says, to within a few in a hundred. */
static void measure(const world *w, const char *name)
{
    static const float targets[] = {0.8f, 0.9f, 0.95f, 0.99f};
    double *d = allocate(w->rows * sizeof *d), *kth = allocate(KS * HELD_OUT * sizeof *kth);
    answer *a = allocate(sizeof *a);
    for (uint64_t i = 0; i < HELD_OUT; i++) {
        const float *q = w->x + (w->rows + i) * w->dim;
        for (uint64_t row = 0; row < w->rows; row++)
            d[row] = t_distance(w->metric, q, w->x + row * w->dim, w->dim);
        qsort(d, w->rows, sizeof *d, by_value);
        for (size_t j = 0; j < KS; j++)
            kth[j * HELD_OUT + i] = d[ks[j] - 1];
    }
    for (size_t j = 0; j < KS; j++) {
        printf("  %s, dim %u, metric %d, k %u, variant %x:", name, w->dim, (int)w->metric, ks[j], w->graph.variant);
        for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
            pm_graph_effort effort;
            double sum = 0;
            if (!pm_graph_look_up(&w->graph, ks[j], targets[t], false, &effort)) {
                printf(" %.2f scan;", (double)targets[t]);
                continue;
            }
            for (uint64_t i = 0; i < HELD_OUT; i++) {
                const float *q = w->x + (w->rows + i) * w->dim;
                ask(w, levels[nlevels - 1], q, ks[j], &effort, NULL, a);
                sum += found_of(w, q, a, ks[j], kth[j * HELD_OUT + i]);
            }
            printf(" %.2f %.3f (%u, %u);", (double)targets[t], sum / HELD_OUT, effort.pool, effort.rerank);
            /* k of 1 is a hundred draws of yes or no */
            const double below_by = ks[j] == 1 ? 0.08 : 0.03;
            check(sum / HELD_OUT >= (double)targets[t] - below_by, "recall", name, w->dim, ks[j]);
        }
        printf("\n");
    }
    free(d), free(kth), free(a);
}

static const struct {
    enum kind kind;
    uint32_t dim;
    pomai_metric metric;
    const char *name;
} recalls[] = {
    {CLUSTERED, 32, POMAI_METRIC_L2, "clustered"},
    {UNIFORM, 16, POMAI_METRIC_L2, "uniform"},
    {CLUSTERED, 128, POMAI_METRIC_IP, "clustered"},
    {NORMAL, 24, POMAI_METRIC_IP, "normal"},
    {CLUSTERED, 100, POMAI_METRIC_COSINE, "clustered"},
    {OUTLIER, 24, POMAI_METRIC_L2, "outlier"},
    {TIGHT, 260, POMAI_METRIC_L2, "tight"},
    {BYTES, 128, POMAI_METRIC_L2, "bytes"},
    {BETWEEN, 100, POMAI_METRIC_L2, "bytes, queries between them"},
    {BYTES, 200, POMAI_METRIC_L2, "bytes"},
    {CLUSTERED, 300, POMAI_METRIC_L2, "clustered"},
    {HUGE_ROWS, 16, POMAI_METRIC_L2, "huge"},
    {TINY, 16, POMAI_METRIC_L2, "tiny"},
    {OUTLIER, 24, POMAI_METRIC_IP, "outlier"},
};

static void recall_is_what_was_promised(void **unused)
{
    (void)unused;
    begin();
    check(1, "cases", "", 0, 0);
    for (size_t i = 0; i < sizeof recalls / sizeof *recalls; i++) {
        const uint64_t rows = i < 2 ? 20000 : 4000;
        if (left_out()) continue;
        crew c = {0};
        world w = new_world(recalls[i].kind, share > 1 ? 1000 : rows, recalls[i].dim, recalls[i].metric, HELD_OUT);
        assert_int_equal(make(&w, levels[nlevels - 1], 2, &c), POMAI_OK);
        measure(&w, recalls[i].name);
        drop(&w);
    }
    end("recall_is_what_was_promised");
}

/* Rows that a projection tells apart are linked by it: links as good as those of whole rows, in which case a short walk
 * finds nearly all. */
static void rows_of_few_directions_are_linked(void **unused)
{
    (void)unused;
    enum { DIRECTIONS = 30, DIMS = 300, SOUGHT = 50 };
    answer *a = allocate(sizeof *a);
    float *direction = allocate(DIRECTIONS * DIMS * sizeof *direction), part[DIRECTIONS];
    begin();
    for (int bytes = 0; bytes < 2; bytes++) {
        world w = new_world(NORMAL, share > 1 ? 1000 : 4000, DIMS, POMAI_METRIC_L2, SOUGHT);
        double *d = allocate(w.rows * sizeof *d), sum = 0;
        crew c = {0};
        pm_graph_effort effort;
        for (size_t i = 0; i < (size_t)DIRECTIONS * DIMS; i++)
            direction[i] = normal() * 6;
        for (uint64_t row = 0; row < w.rows + SOUGHT; row++) {
            float *x = w.x + row * DIMS;
            for (uint32_t i = 0; i < DIRECTIONS; i++)
                part[i] = normal();
            for (uint32_t e = 0; e < DIMS; e++) {
                x[e] += 128;
                for (uint32_t i = 0; i < DIRECTIONS; i++)
                    x[e] += part[i] * direction[i * DIMS + e];
                if (bytes) x[e] = roundf(fminf(fmaxf(x[e], 0), 255));
            }
        }
        assert_int_equal(make(&w, levels[nlevels - 1], 2, &c), POMAI_OK);
        check((w.graph.variant & GRAPH_PROJECTED) != 0, "projected", "", w.dim, w.graph.variant);
        assert_true(pm_graph_of_pool(&w.graph, 10, 40, &effort));
        for (size_t q = 0; q < SOUGHT; q++) {
            const float *x = w.x + (w.rows + q) * DIMS;
            for (uint64_t row = 0; row < w.rows; row++)
                d[row] = t_distance(w.metric, x, w.x + row * DIMS, DIMS);
            qsort(d, w.rows, sizeof *d, by_value);
            ask(&w, levels[nlevels - 1], x, 10, &effort, NULL, a);
            sum += found_of(&w, x, a, 10, d[9]);
        }
        printf("  %s: %.3f\n", bytes ? "whole numbers" : "others", sum / SOUGHT);
        check(sum / SOUGHT > 0.95, "of few directions", "", w.dim, (uint64_t)bytes);
        free(d);
        drop(&w);
    }
    free(direction), free(a);
    end("rows_of_few_directions_are_linked");
}

/* Whole numbers that are 0 in many dimensions vary in fewer directions than there is room for: each of these counts
 * once, so that a projection is as long as the row. */
static void no_direction_is_taken_twice(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t rows, live;
    } shapes[] = {{1000, 60}, {5000, 200}};
    begin();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (left_out()) continue;
        world w = new_world(BYTES, shapes[i].rows, 300, POMAI_METRIC_L2, 0);
        graph_space space;
        double squares = 0;
        for (size_t row = 0; row < w.rows; row++)
            for (uint32_t d = 0; d < w.dim; d++)
                w.x[row * w.dim + d] = d < shapes[i].live ? (float)below(256) : 0;
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        graph_space_of(&space, &w.graph, levels[0]);
        check(space.shape.projected, "projected", "", w.dim, w.graph.variant);
        for (uint32_t h = 0; h < space.shape.hot && space.shape.projected; h++)
            for (uint32_t d = 0; d < space.shape.padded; d++) {
                const float part = space.length[h] * (float)space.plane[h * (size_t)space.shape.whole + d];
                squares += (double)(part * part);
            }
        check(fabs(squares - shapes[i].live) < 1, "directions", "", shapes[i].live, (uint64_t)squares);
        drop(&w);
    }
    end("no_direction_is_taken_twice");
}

/* Made again at another level, and without other threads. */
static void compare_sections(world *w, const pm_simd *level)
{
    uint8_t *copy[PM_GRAPH_SECTIONS];
    uint64_t length[PM_GRAPH_SECTIONS];
    memcpy(copy, w->at, sizeof copy);
    memcpy(length, w->length, sizeof length);
    memset(w->at, 0, sizeof w->at);
    assert_int_equal(make_plainly(w, level), POMAI_OK);
    for (size_t s = 0; s < PM_GRAPH_SECTIONS; s++) {
        const bool same = length[s] == w->length[s] && (length[s] == 0 || memcmp(copy[s], w->at[s], length[s]) == 0);
        check(same, "section", level->name, w->dim, s);
        free(copy[s]);
    }
}

/* To the fewest lines whose directions leave little out, if there are rows enough to tell; the rest is close to
 * nothing. Walks by two lines find what they promise. */
static void what_leaves_little_out_is_projected(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t rows, dim, directions, lines; /* 0: all dimensions */
    } shapes[] = {
        {5000, 300, 30, 1}, {5000, 300, 200, 2}, {4000, 300, 200, 0}, {5000, 300, 300, 0}, {8200, 512, 350, 3}};
    begin();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (left_out()) continue;
        const uint32_t dim = shapes[i].dim, lines = shapes[i].lines;
        const bool walks = lines == 2 && share == 1;
        world w = new_world(NORMAL, shapes[i].rows, dim, i % 2 == 0 ? POMAI_METRIC_COSINE : POMAI_METRIC_L2, HELD_OUT);
        crew c = {0};
        for (size_t row = 0; row < (size_t)w.rows + HELD_OUT; row++)
            for (uint32_t d = shapes[i].directions; d < dim; d++)
                w.x[row * dim + d] *= 0.01f;
        if (walks) {
            assert_int_equal(make(&w, levels[nlevels - 1], 2, &c), POMAI_OK);
            measure(&w, "projected");
            compare_sections(&w, levels[i % nlevels]);
        } else {
            assert_int_equal(choose(&w, levels[i % nlevels]), POMAI_OK);
        }
        const uint32_t got = (w.graph.variant & GRAPH_PROJECTED) == 0 ? 0 : w.graph.variant >> 8 & 0xff;
        check(got == lines, "lines", "", dim, w.graph.variant);
        drop(&w);
    }
    end("what_leaves_little_out_is_projected");
}

/* Few directions hold most of what rows of clusters vary by, and do not tell those of one apart; nor does anything tell
 * copies apart. */
static void what_tells_near_rows_apart_is_kept(void **unused)
{
    (void)unused;
    static const struct {
        enum kind kind;
        uint32_t rows, dim;
        bool projected;
    } shapes[] = {{CLUSTERED, 4000, 300, false}, {TIGHT, 2000, 700, false}, {FEW, 4000, 300, true}};
    begin();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (left_out()) continue;
        world w = new_world(shapes[i].kind, shapes[i].rows, shapes[i].dim, POMAI_METRIC_L2, 0);
        assert_int_equal(choose(&w, levels[i % nlevels]), POMAI_OK);
        const bool projected = (w.graph.variant & GRAPH_PROJECTED) != 0;
        check(projected == shapes[i].projected, "projected", "", w.dim, w.graph.variant);
        drop(&w);
    }
    end("what_tells_near_rows_apart_is_kept");
}

/* As the format says: also where rows are linked by projections, and which one is in the middle is a matter of codes.
 */
static void every_row_is_reached_from_the_first_entry(void **unused)
{
    (void)unused;
    enum { DIMS = 256, ROWS = 124, GROUPS = 2 };
    float *centre = allocate(GROUPS * DIMS * sizeof *centre);
    begin();
    for (uint64_t i = 0; i < 30; i++) {
        crew c = {0};
        world w = new_world(NORMAL, ROWS, DIMS, (pomai_metric)(1 + i % 3), 0);
        for (size_t d = 0; d < GROUPS * DIMS; d++)
            centre[d] = normal();
        for (size_t d = 0; d < ROWS * DIMS; d++) /* groups of more rows than links are chosen from */
            w.x[d] = w.x[d] * 0.03f + centre[d / DIMS % GROUPS * DIMS + d % DIMS];
        assert_int_equal(make(&w, levels[nlevels - 1], 2, &c), POMAI_OK);
        check((w.graph.variant & GRAPH_PROJECTED) != 0, "projected", "", w.dim, w.graph.variant);
        check(all_reached(&w), "reached", "", w.dim, i);
        drop(&w);
    }
    free(centre);
    end("every_row_is_reached_from_the_first_entry");
}

/* Single floats that are far from zero do not tell rows apart; walks do. */
static void queries_far_off_find_what_is_near(void **unused)
{
    (void)unused;
    static const float factors[] = {1e2f, 1e5f, 1e7f, 1e9f};
    answer *a = allocate(sizeof *a);
    begin();
    for (size_t i = 0; i < 4; i++) {
        const uint32_t dim = i == 1 ? 128 : i < 3 ? 40 : 260;
        world w = new_world(i < 2 ? BYTES : NORMAL, share > 1 ? 500 : 2000, dim, POMAI_METRIC_L2, 20);
        double *d = allocate(w.rows * sizeof *d);
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t f = 0; f < 4; f++) {
            pm_graph_effort effort;
            double sum = 0;
            assert_true(pm_graph_of_pool(&w.graph, 10, 200, &effort));
            for (size_t q = 0; q < 20; q++) {
                float *x = w.x + (w.rows + q) * w.dim;
                for (uint32_t e = 0; e < w.dim; e++)
                    x[e] = normal() * factors[f];
                for (uint64_t row = 0; row < w.rows; row++)
                    d[row] = t_distance(w.metric, x, w.x + row * w.dim, w.dim);
                qsort(d, w.rows, sizeof *d, by_value);
                ask(&w, levels[q % nlevels], x, 10, &effort, NULL, a);
                sum += found_of(&w, x, a, 10, d[9]);
            }
            printf("  dim %u, %g: %.3f\n", w.dim, (double)factors[f], sum / 20);
            check(sum / 20 > 0.9, "far off", "", w.dim, (uint64_t)factors[f]);
        }
        free(d);
        drop(&w);
    }
    free(a);
    end("queries_far_off_find_what_is_near");
}

/* ---- what a walk asks ---- */

/* Whether a walk knew distances, and all are those of pm_exact_l2. */
static bool knows(const world *w, const pm_simd *level, const float *q)
{
    const pm_graph_asks none = {0};
    const uint32_t *rows = NULL;
    pm_graph_effort effort;
    assert_true(pm_graph_of_pool(&w->graph, 10, 40, &effort));
    void *memory = allocate(pm_graph_query_size(&w->graph, &effort));
    pm_graph_query *query = pm_graph_query_init(memory, &w->graph, level, q, 10, &effort);
    const size_t n = pm_graph_walk(query, &none, &rows);
    const uint32_t *distance = pm_graph_distances(query);
    for (size_t i = 0; i < n && distance != NULL; i++) {
        const double want = pm_exact_l2(q, w->x + (size_t)rows[i] * w->dim, w->dim), got = distance[i];
        check(memcmp(&got, &want, sizeof got) == 0, "distance", level->name, w->dim, rows[i]);
    }
    free(memory);
    return distance != NULL;
}

static void distances_of_whole_numbers_are_exact(void **unused)
{
    (void)unused;
    static const uint32_t dims[] = {20, 112, 128, 240, 300, 784, 1001};
    enum { DIMS = sizeof dims / sizeof *dims };
    static const float others[] = {-1, 256, 0.5f, -0.0f, 1e30f, 254.99998f, 0x1p-149f};
    begin();
    for (size_t i = 0; i < DIMS * 4; i++) {
        const enum kind kind = i / DIMS == 0 ? LATE : BYTES;
        if (left_out()) continue;
        world w = new_world(kind, 300, dims[i % DIMS], i / DIMS == 1 ? POMAI_METRIC_COSINE : POMAI_METRIC_L2, QUERIES);
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t j = 6; j < QUERIES; j++) {
            float *q = w.x + (w.rows + j) * w.dim;
            if (i / DIMS == 3) /* as far apart as can be */
                for (uint32_t d = 0; d < w.dim; d++)
                    q[d] = w.x[d] > 127 ? 0 : 255;
            for (size_t l = 0; l < nlevels; l++)
                check(knows(&w, levels[l], q) == (i / DIMS >= 2), "known", levels[l]->name, w.dim, i);
            q[below(w.dim)] = others[below(7)];
            for (size_t l = 0; l < nlevels; l++)
                check(!knows(&w, levels[l], q), "not known", levels[l]->name, w.dim, i);
        }
        if (i / DIMS >= 2 && w.dim == 128) check(w.graph.variant >> 16 == 15, "two codes", "", w.dim, w.graph.variant);
        if ((w.graph.variant & GRAPH_EXACT) != 0) { /* rows that are codes have no step */
            const float step = 1;
            check(pm_graph_is_sound(&w.graph), "sound", "", w.dim, i);
            memcpy(w.at[GRAPH_MODEL] + offsetof(graph_model, step), &step, sizeof step);
            check(!pm_graph_is_sound(&w.graph), "with a step", "", w.dim, i);
        }
        drop(&w);
    }
    end("distances_of_whole_numbers_are_exact");
}

typedef struct asked {
    uint64_t rows;
    uint32_t one_in, ends_after, questions;
} asked;

static bool counts(void *context, uint32_t row)
{
    const asked *a = context;
    assert_true(row < a->rows);
    return a->one_in > 0 && row % a->one_in == 0;
}

static bool is_over(void *context)
{
    asked *a = context;
    return ++a->questions >= a->ends_after;
}

static void walks_ask_and_obey(void **unused)
{
    (void)unused;
    answer *a = allocate(sizeof *a), *b = allocate(sizeof *b);
    begin();
    for (size_t i = 0; i < 6; i++) {
        world w = new_world(i % 2 == 0 ? UNIFORM : CLUSTERED, share > 1 ? 600 : 3000, i < 4 ? 20 : 260,
                            (pomai_metric)(1 + i % 3), 10);
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t q = 0; q < 10; q++) {
            const float *x = w.x + (w.rows + q) * w.dim;
            static const uint32_t parts[] = {1, 2, 10, 100, 1000, 0};
            for (size_t p = 0; p < 6; p++) {
                asked of = {w.rows, parts[p], 0, 0};
                const pm_graph_asks asks = {&of, counts, NULL};
                const uint32_t k = q % 2 == 0 ? 10 : 1;
                pm_graph_effort effort;
                assert_true(pm_graph_of_pool(&w.graph, k, 200, &effort));
                ask(&w, levels[q % nlevels], x, k, &effort, &asks, a);
                bool good = distinct(&w, a);
                for (size_t j = 0; j < a->n; j++)
                    good = good && parts[p] > 0 && a->row[j] % parts[p] == 0;
                check(good, "rows that count", "", w.dim, parts[p]);
                if (parts[p] == 1000 && k == 10) { /* fewer than k: nothing stops the walk but a full pool */
                    assert_true(pm_graph_of_pool(&w.graph, k, 3000, &effort));
                    ask(&w, levels[q % nlevels], x, k, &effort, &asks, a);
                    check(a->n == (w.rows + 999) / 1000, "all that count", "", w.dim, a->n);
                }
                if (parts[p] == 1) {
                    ask(&w, levels[q % nlevels], x, k, &effort, NULL, b);
                    check(a->n == b->n && memcmp(a->row, b->row, a->n * sizeof *a->row) == 0, "all count", "", w.dim,
                          parts[p]);
                }
            }
            for (uint32_t ends = 1; ends < 4; ends++) {
                asked of = {w.rows, 0, ends, 0};
                const pm_graph_asks asks = {&of, NULL, is_over};
                pm_graph_effort effort;
                assert_true(pm_graph_of_pool(&w.graph, 10, 400, &effort));
                ask(&w, levels[q % nlevels], x, 10, &effort, &asks, a);
                check(a->expanded <= (uint64_t)ends * 64 && of.questions == ends, "over", "", w.dim, ends);
                check(distinct(&w, a) && a->n > 0, "over", "", w.dim, ends);
            }
        }
        drop(&w);
    }
    free(a), free(b);
    end("walks_ask_and_obey");
}

/* What a node that was walked from leads to within the limit was walked from, too. */
static uint32_t left_behind(const world *w, const graph_shape *shape, const pm_graph_query *query, const uint32_t *rows,
                            size_t n, float slack)
{
    enum { K = 10 };
    const uint32_t *links = (const uint32_t *)(const void *)w->graph.section[GRAPH_LINKS];
    const uint32_t *place = (const uint32_t *)(const void *)w->graph.section[GRAPH_PLACE];
    float *score = allocate((w->rows + PM_WALK_ROOM) * sizeof *score);
    double *walked = allocate(n * sizeof *walked);
    uint32_t *node = allocate(w->rows * sizeof *node), missed = 0;
    bool *was = allocate(w->rows * sizeof *was);
    for (uint32_t i = 0; i < w->rows; i++)
        node[i] = i;
    graph_scores(query, node, w->rows, score);
    memset(was, 0, w->rows * sizeof *was);
    for (size_t i = 0; i < n; i++) {
        was[place[rows[i]]] = true;
        walked[i] = (double)score[place[rows[i]]];
    }
    qsort(walked, n, sizeof *walked, by_value);
    const double limit = n < K ? INFINITY : walked[K - 1] * (1 + (double)slack) * (1 + (double)slack) * 0.9999;
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < shape->degree; j++) {
            const uint32_t to = links[place[rows[i]] * (size_t)shape->degree + j];
            missed += to < w->rows && !was[to] && (double)score[to] < limit;
        }
    free(score), free(walked), free(node), free(was);
    return missed;
}

static void nothing_near_is_left_behind(void **unused)
{
    (void)unused;
    begin();
    for (uint32_t i = 0; i < 4; i++) {
        world w = new_world(i % 2 == 0 ? BETWEEN : CLUSTERED, 3000, 24 + 16 * (i / 2), POMAI_METRIC_L2, 40);
        const pm_graph_effort effort = {.pool = 400, .slack = 0.02f, .rerank = 400, .margin = INFINITY};
        const pm_graph_asks asks = {0};
        graph_shape shape;
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        assert_true(graph_shape_of(&shape, w.dim, w.metric, w.graph.variant));
        void *memory = allocate(pm_graph_query_size(&w.graph, &effort));
        for (size_t q = 0; q < 40; q++) {
            const uint32_t *rows;
            pm_graph_query *query =
                pm_graph_query_init(memory, &w.graph, levels[nlevels - 1], w.x + (w.rows + q) * w.dim, 10, &effort);
            const size_t n = pm_graph_walk(query, &asks, &rows);
            check(n < effort.pool && left_behind(&w, &shape, query, rows, n, effort.slack) == 0, "left", "", w.dim, n);
        }
        free(memory);
        drop(&w);
    }
    end("nothing_near_is_left_behind");
}

/* Of the rows of a set the nearest, the same at every level; where distances are known, in their order. */
static void rows_of_a_set_are_picked_at_every_level(void **unused)
{
    (void)unused;
    static const enum kind kinds[] = {BYTES, BETWEEN, CLUSTERED};
    begin();
    for (size_t i = 0; i < 9; i++) {
        static const uint32_t dims[] = {20, 128, 300};
        world w = new_world(kinds[i / 3], 500, dims[i % 3], POMAI_METRIC_L2, 1);
        double *d = allocate(w.rows * sizeof *d);
        uint64_t match[8] = {0};
        uint32_t first[40];
        size_t n = 0, had = 0;
        const float *q = w.x + w.rows * w.dim;
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        for (uint64_t row = 0; row < w.rows; row++) {
            if (below(3) != 0) continue;
            match[row / 64] |= (uint64_t)1 << (row % 64);
            d[n++] = t_distance(w.metric, q, w.x + row * w.dim, w.dim);
        }
        qsort(d, n, sizeof *d, by_value);
        for (size_t l = 0; l < nlevels; l++) {
            const uint32_t *rows = NULL;
            pm_graph_effort effort;
            assert_true(pm_graph_of_pool(&w.graph, 10, 40, &effort));
            void *memory = allocate(pm_graph_query_size(&w.graph, &effort));
            pm_graph_query *query = pm_graph_query_init(memory, &w.graph, levels[l], q, 10, &effort);
            const size_t found = pm_graph_pick(query, match, NULL, NULL, &rows);
            const uint32_t *known = pm_graph_distances(query);
            uint32_t near = 0;
            bool good = found >= 10 && found <= 40;
            for (size_t j = 0; j < found && good; j++) {
                good = rows[j] < w.rows && (match[rows[j] / 64] >> (rows[j] % 64) & 1) != 0;
                near += good && t_distance(w.metric, q, w.x + (size_t)rows[j] * w.dim, w.dim) <= d[9];
                const double far = t_distance(w.metric, q, w.x + (size_t)rows[j] * w.dim, w.dim);
                if (known != NULL) good = good && (double)known[j] == far;
                if (w.graph.variant >> 16 == GRAPH_EXACT >> 16 && known != NULL)
                    good = good && found == 10 && far == d[j];
            }
            check(good && near >= 10, "picked", levels[l]->name, w.dim, near);
            check(l == 0 || (found == had && memcmp(first, rows, found * sizeof *rows) == 0), "as at any level",
                  levels[l]->name, w.dim, i);
            if (l == 0 && found <= 40) memcpy(first, rows, (had = found) * sizeof *rows);
            free(memory);
        }
        free(d);
        drop(&w);
    }
    end("rows_of_a_set_are_picked_at_every_level");
}

/* ---- rows that hot codes do not tell apart ---- */

enum { COPIES = 100, OF_COPIES = 80 };

static void copy_nearly(const world *w, const float *from, float *to)
{
    memmove(to, from, w->dim * sizeof *to);
    for (size_t changes = below(30); changes > 0; changes--) {
        float *x = to + below(w->dim);
        *x += *x > 0 && below(2) == 0 ? -1 : *x < 255;
    }
}

/* The first tenth of the rows are by hundreds nearly the same, and so are all queries: whole ones, then others. */
static world new_copies(void)
{
    world w = new_world(BYTES, share > 1 ? 4000 : 40000, 128, POMAI_METRIC_L2, 2 * (size_t)OF_COPIES);
    const uint64_t groups = w.rows / 10 / COPIES;
    for (size_t i = 0; i < (size_t)(w.rows + 2 * OF_COPIES) * w.dim; i++) /* which a projection may leave out */
        if (i % w.dim >= 104) w.x[i] = roundf(128 + (w.x[i] - 128) / 8);
    for (uint64_t i = 0; i < groups * COPIES; i++)
        if (i % COPIES > 0) copy_nearly(&w, w.x + i / COPIES * COPIES * w.dim, w.x + i * w.dim);
    for (uint64_t i = 0; i < 2 * OF_COPIES; i++) {
        float *q = w.x + (w.rows + i) * w.dim;
        copy_nearly(&w, w.x + i % groups * COPIES * w.dim, q);
        for (uint32_t d = 0; d < w.dim && i >= OF_COPIES; d++)
            q[d] += 0.4f * uniform();
    }
    return w;
}

enum way { WALKED, WALKED_BY_HALF, PICKED };

static bool is_even(void *context, uint32_t row)
{
    (void)context;
    return row % 2 == 0;
}

static void ask_copies(const world *w, const pm_simd *level, uint64_t i, enum way way, const pm_graph_effort *promised,
                       const uint64_t *all, answer *a)
{
    const pm_graph_asks asks = {NULL, way == WALKED_BY_HALF ? is_even : NULL, NULL};
    const float *q = w->x + (w->rows + i) * w->dim;
    const uint32_t *rows = NULL;
    pm_graph_effort effort = *promised;
    if (way == WALKED_BY_HALF) effort.pool *= 3;         /* as a search makes room */
    if (way == PICKED) effort.pool = effort.rerank = 20; /* fewer than are nearly the same */
    void *memory = allocate(pm_graph_query_size(&w->graph, &effort));
    pm_graph_query *query = pm_graph_query_init(memory, &w->graph, level, q, 10, &effort);
    a->n = way == PICKED ? pm_graph_pick(query, all, NULL, NULL, &rows) : pm_graph_walk(query, &asks, &rows);
    memcpy(a->row, rows, a->n * sizeof *rows);
    const uint32_t *distance = pm_graph_distances(query);
    check((distance != NULL) == (i < OF_COPIES), "known", level->name, w->dim, i);
    for (size_t j = 0; j < a->n && distance != NULL; j++)
        check((double)distance[j] == t_distance(w->metric, q, w->x + (size_t)rows[j] * w->dim, w->dim), "distance",
              level->name, w->dim, i);
    free(memory);
}

/* What is promised of all queries is true of those that are like rows of which there are many. */
static void copies_are_found_as_promised(void **unused)
{
    (void)unused;
    static const float targets[] = {0.8f, 0.9f, 0.95f};
    answer *a = allocate(sizeof *a), *b = allocate(sizeof *b);
    begin();
    crew c = {0};
    world w = new_copies();
    double *d = allocate(w.rows * sizeof *d), kth[2][2 * OF_COPIES];
    uint64_t *all = allocate((w.rows + 63) / 64 * sizeof *all);
    assert_int_equal(make(&w, levels[nlevels - 1], 2, &c), POMAI_OK);
    check(w.graph.variant >> 16 == 15, "two codes", "", w.dim, w.graph.variant);
    for (uint64_t i = 0; i < 2 * OF_COPIES; i++)
        for (uint64_t step = 1; step <= 2; step++) {
            for (uint64_t row = 0; row < w.rows; row += step)
                d[row / step] = t_distance(w.metric, w.x + (w.rows + i) * w.dim, w.x + row * w.dim, w.dim);
            qsort(d, w.rows / step, sizeof *d, by_value);
            kth[step - 1][i] = d[9];
        }
    for (uint64_t i = 0; i < (w.rows + 63) / 64; i++)
        all[i] = UINT64_MAX >> (i == w.rows / 64 ? 64 - w.rows % 64 : 0);
    for (size_t t = 0; t < 3; t++)
        for (size_t way = WALKED; way <= PICKED; way++)
            for (uint64_t first = 0; first < 2 * OF_COPIES; first += OF_COPIES) {
                const size_t by = way == WALKED_BY_HALF ? 1 : 0;
                double sum = 0, ranked = 0;
                pm_graph_effort effort;
                assert_true(pm_graph_look_up(&w.graph, 10, targets[t], false, &effort));
                for (uint64_t i = first; i < first + OF_COPIES; i++) {
                    ask_copies(&w, levels[nlevels - 1], i, (enum way)way, &effort, all, a);
                    sum += found_of(&w, w.x + (w.rows + i) * w.dim, a, 10, kth[by][i]);
                    ranked += (double)a->n;
                    for (size_t j = 0; j < a->n && by > 0; j++)
                        check(a->row[j] % 2 == 0, "rows that match", "", w.dim, a->row[j]);
                    ask_copies(&w, levels[i % nlevels], i, (enum way)way, &effort, all, b);
                    check(a->n == b->n && memcmp(a->row, b->row, a->n * sizeof *a->row) == 0, "as at any level",
                          levels[i % nlevels]->name, w.dim, i);
                }
                printf("  %.2f, way %zu, %s: %.3f (%u, %u), %.1f ranked\n", (double)targets[t], way,
                       first == 0 ? "whole" : "other", sum / OF_COPIES, effort.pool, effort.rerank, ranked / OF_COPIES);
                check(ranked / OF_COPIES < (first == 0 ? 15 : 25), "the others are known to be farther", "", w.dim,
                      way);
                check(sum / OF_COPIES >= (double)targets[t] - 0.05, "copies found", "", w.dim, way);
                check(way != PICKED || sum / OF_COPIES > 0.999, "all of a set are looked at", "", w.dim, t);
            }
    free(a), free(b), free(d), free(all);
    drop(&w);
    end("copies_are_found_as_promised");
}

/* Rows at no distance do not end a walk that is to fill its pool. */
/* More entries are alike than are put into a pool at once, and the first of them make the walk turn to the rows. */
static void alike_entries_have_their_own_distances(void **unused)
{
    (void)unused;
    enum { ROWS = 1 << 17, DIM = 128, OFF = 4, POOL = 1000 };
    begin();
    if (share > 1) return; /* many rows; no other case has as many entries */
    world w = new_world(EQUAL, ROWS, DIM, POMAI_METRIC_L2, 0);
    for (size_t d = 0; d < DIM; d++) {
        const float two[] = {(float)below(200), (float)below(200)};
        for (size_t i = 0; i < ROWS; i++)
            w.x[i * DIM + d] = two[i % 2];
    }
    assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
    check((w.graph.variant & (GRAPH_EXACT | GRAPH_NIBBLES)) == (GRAPH_EXACT | GRAPH_NIBBLES), "turns", "", DIM, ROWS);
    const pm_graph_effort effort = {.pool = POOL, .slack = INFINITY, .rerank = POOL, .margin = INFINITY};
    void *memory = allocate(pm_graph_query_size(&w.graph, &effort));
    for (size_t i = 0; i < 2; i++) {
        const pm_graph_asks none = {0};
        const uint32_t *rows;
        float q[DIM];
        memcpy(q, w.x + i * DIM, sizeof q);
        for (size_t d = 0; d < OFF; d++)
            q[d] += 1;
        pm_graph_query *query = pm_graph_query_init(memory, &w.graph, levels[nlevels - 1], q, 300, &effort);
        const size_t n = pm_graph_walk(query, &none, &rows);
        const uint32_t *distance = pm_graph_distances(query);
        assert_true(n >= 300 && distance != NULL);
        for (size_t r = 0; r < n; r++) {
            const double exact = pm_exact_l2(q, w.x + (size_t)rows[r] * DIM, DIM);
            check((double)distance[r] == exact, "distance", "", DIM, r);
        }
    }
    free(memory);
    drop(&w);
    end("alike_entries_have_their_own_distances");
}

static void equal_rows_fill_a_pool(void **unused)
{
    (void)unused;
    answer *a = allocate(sizeof *a);
    begin();
    for (size_t i = 0; i < 4; i++) {
        const enum kind kind = i % 2 == 0 ? EQUAL : FEW;
        world w = new_world(kind, 1000, i < 2 ? 20 : 260, POMAI_METRIC_L2, 5);
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t q = 0; q < 5; q++) {
            pm_graph_effort effort;
            assert_true(pm_graph_of_pool(&w.graph, 10, 300, &effort));
            ask(&w, levels[nlevels - 1], w.x + (w.rows + q) * w.dim, 10, &effort, NULL, a);
            check(distinct(&w, a) && a->n >= (kind == EQUAL ? 300 : 10), "a full pool", "", w.dim, a->n);
            check(a->expanded >= 300, "walked", "", w.dim, a->expanded);
        }
        drop(&w);
    }
    free(a);
    end("equal_rows_fill_a_pool");
}

/* ---- stops, and no memory ---- */

static void stops_and_missing_memory_are_reported(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 3; i++) {
        static const uint32_t dims[] = {20, 113, 260};
        crew c = {0};
        world w = new_world(i == 0 ? BYTES : CLUSTERED, 70, dims[i], (pomai_metric)(1 + i % 3), 0);
        allocations = fails_at = 0;
        pm_malloc_fails = fails;
        assert_int_equal(make(&w, levels[nlevels - 1], 0, &c), POMAI_OK);
        const uint64_t all = allocations, reads = w.reads, appends = w.appends, questions = atomic_load(&c.asked);
        for (fails_at = 1; fails_at <= all; fails_at += share > 1 ? 7 : i == 0 ? 1 : 3) {
            allocations = 0;
            check(make(&w, levels[nlevels - 1], 0, &c) == POMAI_ENOMEM, "no memory", "", w.dim, fails_at);
        }
        pm_malloc_fails = NULL;
        for (uint64_t at = 1; at <= reads; at += share > 1 ? 1 + reads / 7 : 1 + (at > 10) * (reads / 10)) {
            w.reads = 0, w.stop_read = at;
            check(make(&w, levels[nlevels - 1], 0, &c) == POMAI_EDEADLINE, "read stops", "", w.dim, at);
        }
        w.stop_read = 0;
        for (uint64_t at = 1; at <= appends; at++) {
            w.appends = 0, w.stop_append = at;
            check(make(&w, levels[nlevels - 1], 0, &c) == POMAI_EDEADLINE, "append stops", "", w.dim, at);
        }
        w.stop_append = 0;
        for (uint64_t at = 1; at <= questions; at += share > 1 ? 1 + questions / 7 : 1 + (at > 10) * (questions / 10)) {
            crew stops = {.stop_at = at};
            check(make(&w, levels[nlevels - 1], 2, &stops) == POMAI_EDEADLINE, "go_on stops", "", w.dim, at);
        }
        drop(&w);
    }
    end("stops_and_missing_memory_are_reported");
}

/* Who waits for a build to make room, or to end, does not wait for all links to be written. */
static void sections_are_written_in_pieces(void **unused)
{
    (void)unused;
    enum { ROWS = 33000, PIECE = 8 << 20 };
    begin();
    if (share > 1) return; /* many rows */
    crew c = {0};
    world w = new_world(NORMAL, ROWS, 16, POMAI_METRIC_L2, 0);
    assert_int_equal(make(&w, levels[nlevels - 1], 2, &c), POMAI_OK);
    check(w.length[GRAPH_LINKS] > PIECE, "links", "", w.dim, w.length[GRAPH_LINKS]);
    check(w.most <= PIECE, "at once", "", w.dim, w.most);
    drop(&w);
    end("sections_are_written_in_pieces");
}

/* ---- forged sections ---- */

/* Floats, and bits of them, that lead astray what believes them. */
static uint32_t forged_word(void)
{
    static const uint32_t words[] = {0,          1,          0xffffffff, 0x7fffffff, 0x80000000, 0x7f800000, 0xff800000,
                                     0x7fc00000, 0x7f7fffff, 0xff7fffff, 0x00000001, 0x00800000, 0x3f800000, 64,
                                     99,         100,        101,        4096,       4097,       0x10000};
    return below(3) == 0 ? (uint32_t)draw() : words[below(sizeof words / sizeof *words)];
}

static void damage(world *w, size_t section)
{
    const uint64_t bytes = w->length[section];
    if (bytes == 0) return;
    const size_t times = 1 + below(below(4) == 0 ? 200 : 4);
    for (size_t i = 0; i < times; i++) {
        const size_t at = below(below(3) == 0 && bytes > 64 ? 64 : bytes / 4) * 4;
        const uint32_t word = forged_word();
        if (at + 4 > bytes) continue;
        if (below(2) == 0)
            memcpy(w->at[section] + at, &word, 4);
        else
            w->at[section][at + below(4)] ^= (uint8_t)(1u << below(8));
    }
}

static void walk_forged(const world *w, uint64_t *sound)
{
    answer *a = allocate(sizeof *a);
    a->n = 0;
    float *q = allocate(w->dim * sizeof *q);
    if (pm_graph_is_sound(&w->graph)) {
        ++*sound;
        for (uint32_t k = 1; k < 300; k = k * 3 + 1) {
            pm_graph_effort effort;
            asked of = {w->rows, 3, 100, 0};
            const pm_graph_asks asks = {&of, counts, is_over};
            query_of(w, below(QUERIES), q);
            if (pm_graph_look_up(&w->graph, k, uniform(), below(2) > 0, &effort))
                ask(w, levels[below(nlevels)], q, k, &effort, below(2) == 0 ? &asks : NULL, a);
            check(distinct(w, a), "distinct rows", "", w->dim, k);
            if (pm_graph_of_pool(&w->graph, k, (uint32_t)below(300), &effort))
                ask(w, levels[below(nlevels)], q, k, &effort, below(2) == 0 ? &asks : NULL, a);
            check(distinct(w, a), "distinct rows", "", w->dim, k);
        }
    }
    free(a), free(q);
}

static void forged_graphs_lead_nowhere(void **unused)
{
    (void)unused;
    static const uint32_t dims[] = {20, 113, 260, 784};
    uint64_t sound = 0, all = 0;
    begin();
    for (size_t i = 0; i < 12; i++) {
        const enum kind kind = i % 4 == 0 ? BYTES : i % 4 == 3 ? TIGHT : CLUSTERED;
        world w = new_world(kind, 300, dims[i % 4], (pomai_metric)(1 + i / 4), QUERIES);
        uint8_t *copy[PM_GRAPH_SECTIONS];
        assert_int_equal(make_plainly(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t s = 0; s < PM_GRAPH_SECTIONS; s++) {
            copy[s] = allocate(w.length[s]);
            if (w.length[s] > 0) memcpy(copy[s], w.at[s], w.length[s]);
        }
        for (size_t round = 0; round < 150; round++) {
            const size_t only = below(PM_GRAPH_SECTIONS + 2);
            for (size_t s = 0; s < PM_GRAPH_SECTIONS; s++) {
                if (w.length[s] > 0) memcpy(w.at[s], copy[s], w.length[s]);
                if (only == s || only >= PM_GRAPH_SECTIONS) damage(&w, s);
            }
            if (left_out()) continue;
            all++;
            walk_forged(&w, &sound);
        }
        for (size_t s = 0; s < PM_GRAPH_SECTIONS; s++)
            free(copy[s]);
        drop(&w);
    }
    printf("  %llu of %llu passed for sound\n", (unsigned long long)sound, (unsigned long long)all);
    check(sound > 0 && sound < all, "some of each", "", 0, sound);
    end("forged_graphs_lead_nowhere");
}

/* ---- what there is no graph of ---- */

static void shapes_out_of_range_are_refused(void **unused)
{
    (void)unused;
    uint64_t length[PM_GRAPH_SECTIONS];
    begin();
    for (uint32_t low = 0; low < 1u << 16; low++)
        for (uint32_t flags = 0; flags < 32; flags++) {
            static const uint32_t dims[] = {0, 7, 8, 100, 784, 4096, 4097, UINT32_MAX};
            const uint32_t variant = low | flags << 16, dim = dims[(low / 16 + flags) % 8];
            const pomai_metric metric = (pomai_metric)((low / 8 + flags) % 5);
            const bool can = dim >= 8 && dim <= 4096 && metric >= 1 && metric <= 3;
            const bool got = pm_graph_lengths(1000, dim, metric, variant, length);
            cases++;
            const bool exact = metric == POMAI_METRIC_L2 && dim <= 256 && low >> 8 == (dim + 63) / 64;
            const bool turns = metric == POMAI_METRIC_L2 && dim <= 256 && (flags == 13 || flags == 15);
            if (got && (!can || (flags > 8 && !turns) || length[GRAPH_HOT] / 1000 * 2 < 24))
                check(0, "shape", "", dim, variant);
            if (got && flags == 8 && !exact) check(0, "exact", "", dim, variant);
            if (got && flags > 8 && length[GRAPH_WARM] != 1000 * ((dim + 63) / 64 * 64))
                check(0, "rows beside", "", dim, variant);
        }
    const uint32_t fine = 32 | 1 << 8 | GRAPH_NIBBLES;
    check(pm_graph_lengths(65, 100, POMAI_METRIC_L2, fine, length), "rows", "", 100, 65);
    check(pm_graph_lengths((uint64_t)1 << 28, 100, POMAI_METRIC_L2, fine, length), "rows", "", 100, 1u << 28);
    check(!pm_graph_lengths(64, 100, POMAI_METRIC_L2, fine, length), "rows", "", 100, 64);
    check(!pm_graph_lengths(((uint64_t)1 << 28) + 1, 100, POMAI_METRIC_L2, fine, length), "rows", "", 100, 0);
    check(!pm_graph_lengths(UINT64_MAX, 100, POMAI_METRIC_L2, fine, length), "rows", "", 100, 0);
    end("shapes_out_of_range_are_refused");
}

int main(int argc, char **argv)
{
    if (!cases_arguments(argc, argv)) return 2;
    nlevels = pm_simd_levels(levels, sizeof levels / sizeof *levels);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphs_are_the_same_on_any_machine),
        cmocka_unit_test(codes_are_what_they_always_were),
        cmocka_unit_test(near_rows_become_neighbours),
        cmocka_unit_test(an_order_has_each_row_once),
        cmocka_unit_test(recall_is_what_was_promised),
        cmocka_unit_test(rows_of_few_directions_are_linked),
        cmocka_unit_test(no_direction_is_taken_twice),
        cmocka_unit_test(what_leaves_little_out_is_projected),
        cmocka_unit_test(what_tells_near_rows_apart_is_kept),
        cmocka_unit_test(every_row_is_reached_from_the_first_entry),
        cmocka_unit_test(queries_far_off_find_what_is_near),
        cmocka_unit_test(distances_of_whole_numbers_are_exact),
        cmocka_unit_test(walks_ask_and_obey),
        cmocka_unit_test(nothing_near_is_left_behind),
        cmocka_unit_test(rows_of_a_set_are_picked_at_every_level),
        cmocka_unit_test(copies_are_found_as_promised),
        cmocka_unit_test(alike_entries_have_their_own_distances),
        cmocka_unit_test(equal_rows_fill_a_pool),
        cmocka_unit_test(stops_and_missing_memory_are_reported),
        cmocka_unit_test(sections_are_written_in_pieces),
        cmocka_unit_test(forged_graphs_lead_nowhere),
        cmocka_unit_test(shapes_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
