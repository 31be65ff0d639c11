/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Graphs of segments: they are there after a build and after reopening, and whatever happens to their files or to the
 * rows, a search finds what its recall says, shows no row that is not to be seen, and never fewer than k.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "index/graph/graph.h"
#ifdef __SANITIZE_THREAD__
#define T_ROWS 2400 /* builds are slow in it, and as many threads meet over fewer rows */
#endif
#include "support/derived.h"
#include "support/one_in.h"

enum { LEAST = 256 };

static void only_graphs(void)
{
    build_only(PM_DERIVED_GRAPH, LEAST_ROWS);
}

/* ---- effort ---- */

static pomai_result *search_ef(pomai_collection *coll, const float *query, uint64_t n, uint64_t k, uint32_t ef)
{
    pomai_error err;
    pomai_result *result;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.ef = ef;
    assert_ok(pomai_search(coll, query, n, DIM, k, &o, &result, &err));
    return result;
}

static pomai_completeness completeness_of(const pomai_result *r)
{
    pomai_verdict v;
    pomai_result_verdict(r, 0, &v);
    return v.completeness;
}

/* The share of the truth that an effort finds. */
static double recall_of(pomai_collection *coll, uint64_t k, uint32_t ef)
{
    pomai_result *truth = search(coll, queries, QUERIES, k, 0, NULL);
    pomai_result *r = search_ef(coll, queries, QUERIES, k, ef);
    size_t found = 0, wanted = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        assert_int_equal(pomai_result_count(r, q), pomai_result_count(truth, q));
        found += common(r, q, truth, q);
        wanted += pomai_result_count(truth, q);
    }
    pomai_result_free(truth);
    pomai_result_free(r);
    return (double)found / (double)wanted;
}

static void ef_is_an_effort(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    pomai_collection *coll = have(db, "a");
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.ef = POMAI_MAX_EF + 1;
    assert_refused(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err), POMAI_EINVAL, "ef");
    o.ef = UINT32_MAX;
    assert_refused(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err), POMAI_EINVAL, "ef");
    static const float shares[] = {0.9f, 1};
    for (int i = 0; i < 2; i++) {
        o.ef = 10;
        o.recall = shares[i];
        assert_refused(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err), POMAI_EINVAL, "contradict");
    }
    static const uint32_t efs[] = {1, K - 1, K, K + 1, 100, POMAI_MAX_EF};
    for (size_t i = 0; i < sizeof efs / sizeof efs[0]; i++) {
        result = search_ef(coll, queries, 1, K, efs[i]);
        assert_int_equal(pomai_result_count(result, 0), K);
        assert_int_equal(completeness_of(result), POMAI_APPROXIMATE);
        pomai_result_free(result);
    }
    assert_true(recall_of(coll, K, 200) > 0.95);
    assert_true(recall_of(coll, 100, 1) > 0.3);                /* as if ef were 100 */
    result = search_ef(coll, queries, 1, POMAI_MAX_EF + 1, 1); /* no pool is so large */
    assert_int_equal(completeness_of(result), POMAI_EXACT);
    pomai_result_free(result);
    pomai_collection_close(coll);
    close_db(db);
}

/* Where there is no graph: codes, and where there are none, exactly. */
static void without_a_graph_codes_are_taken(void **state)
{
    const struct box *box = *state;
    char path[T_PATH_MAX];
    pm_derive_least_rows[PM_DERIVED_CODES] = LEAST_ROWS;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    assert_int_equal(stat_of(db, "segments_with_codes"), 1);
    close_db(db);
    check_after(box, true, "both");
    path_of(box, "*", path);
    assert_int_equal(remove(path), 0);
    check_after(box, true, "codes alone");
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.flags = POMAI_OPEN_READONLY;
    db = open_db(box, &o);
    pomai_collection *coll = have(db, "a");
    assert_true(recall_of(coll, K, 1) > 0.98); /* as a recall of 0.999 */
    pomai_collection_close(coll);
    close_db(db);
    kind = PM_DERIVED_CODES;
    path_of(box, "*", path);
    assert_int_equal(remove(path), 0);
    check_after(box, false, "neither");
    kind = PM_DERIVED_GRAPH;
    check_built_again(box);
    only_graphs();
}

/* Each is built what it wants and nothing else, also after reopening and by a merge; all have what they are again. */
static void collections_have_the_indexes_they_want(void **state)
{
    static const char *const names[] = {"auto", "exact", "codes", "graph"};
    static const int codes[] = {1, 0, 1, 0}, graphs[] = {1, 0, 0, 1};
    const struct box *box = *state;
    pomai_error err;
    char found[64];
    pm_derive_least_rows[PM_DERIVED_CODES] = LEAST_ROWS;
    draw_all();
    pomai_db *db = open_db(box, NULL);
    for (unsigned i = 0; i < 4; i++) {
        pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
        pomai_collection *coll;
        o.dim = DIM;
        o.index = (pomai_index_kind)i;
        assert_ok(pomai_collection_create(db, names[i], &o, &coll, &err));
        put(coll, 0, ROWS, NULL);
        pomai_collection_close(coll);
        o.index = (pomai_index_kind)(POMAI_INDEX_GRAPH + 1 + i);
        assert_refused(pomai_collection_create(db, "other", &o, &coll, &err), POMAI_EINVAL, "index");
    }
    build(db);
    for (int turn = 0; turn < 3; turn++) {
        char *stats;
        assert_ok(pomai_stats(db, &stats, &err));
        const char *at = stats;
        for (unsigned i = 0; i < 4; i++) {
            pomai_collection *coll = have(db, names[i]);
            pomai_collection_info info;
            assert_ok(pomai_collection_get_info(coll, &info, &err));
            assert_int_equal(info.index, i);
            pomai_result *r = search(coll, queries, 1, K, 0.9f, NULL);
            assert_int_equal(completeness_of(r), i == POMAI_INDEX_EXACT ? POMAI_EXACT : POMAI_APPROXIMATE);
            pomai_result_free(r);
            pomai_collection_close(coll);
            snprintf(found, sizeof found, "\"name\": \"%s\"", names[i]);
            at = strstr(stats, found);
            assert_non_null(at);
            snprintf(found, sizeof found, "\"index\": \"%s\"", names[i]);
            if (i != POMAI_INDEX_AUTO) at = strstr(at, found);
            assert_non_null(at);
            static const char *const fields[] = {"segments_with_codes", "segments_with_graph"};
            for (int f = 0; f < 2; f++) {
                snprintf(found, sizeof found, "\"%s\": %d,", fields[f], f == 0 ? codes[i] : graphs[i]);
                assert_ptr_equal(strstr(at, found), strstr(strstr(at, fields[f]) - 1, found));
            }
        }
        pomai_free(stats);
        if (turn == 0) {
            close_db(db);
            db = open_db(box, NULL);
        } else if (turn == 1) {
            for (unsigned i = 0; i < 4; i++) {
                pomai_collection *coll = have(db, names[i]);
                put(coll, ROWS, ROWS, NULL);
                pomai_collection_close(coll);
            }
            assert_ok(pomai_compact(db, NULL, &err));
            build(db);
        }
    }
    close_db(db);
    only_graphs();
}

static void deadlines_cut_walks(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_db *db = with_file(box, POMAI_METRIC_COSINE);
    pomai_collection *coll = have(db, "a");
    const int cancelled = 1;
    for (int i = 0; i < 2; i++) {
        pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
        o.recall = RECALL;
        if (i == 0)
            o.deadline_us = 0;
        else
            o.cancel = &cancelled;
        assert_ok(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err));
        assert_int_equal(completeness_of(result), POMAI_CUT);
        pomai_result_free(result);
    }
    const int not_cancelled = 0; /* it is asked, and says no */
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = RECALL;
    o.cancel = &not_cancelled;
    o.deadline_us = (uint64_t)3600 * 1000 * 1000;
    assert_ok(pomai_search(coll, queries, QUERIES, DIM, K, &o, &result, &err));
    assert_int_equal(completeness_of(result), POMAI_APPROXIMATE);
    pomai_result_free(result);
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- rows that are not to be seen ---- */

static uint64_t wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void rows_expire_in_graphs(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    draw_all();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    const uint64_t soon = wall_ns() + (uint64_t)2000 * 1000 * 1000;
    for (uint64_t i = 0; i < ROWS; i++)
        expiries[i] = i % 2 == 0 ? 0 : i % 4 == 1 ? soon : soon + (uint64_t)3600 * 1000 * 1000 * 1000;
    put(coll, 0, ROWS, expiries);
    build(db);
    assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    assert_int_equal(check_recall(coll, K, NULL), QUERIES);
    while (wall_ns() < soon + 1000)
        usleep(10000);
    (void)check_recall(coll, K, NULL);
    pomai_result *r = search(coll, queries, QUERIES, K, RECALL, NULL);
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 0; i < K; i++)
            assert_int_not_equal(pomai_result_ids(r, q)[i] % 4, 1);
    pomai_result_free(r);
    assert_ok(pomai_collection_drop(db, "a", &err));
    pomai_collection_close(coll);
    close_db(db);
}

/* What is left of the segment is found, though other rows would make up the number. */
static void few_rows_left_are_found(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    pomai_collection *coll = have(db, "a");
    for (size_t i = 0; i < 200 * DIM; i++)
        vectors[ROWS * DIM + i] += 50; /* far away */
    put(coll, ROWS, 200, NULL);
    const pomai_ids most = {ROWS - 25, ids, NULL};
    assert_ok(pomai_delete(coll, &most, NULL, NULL, &err));
    assert_true(recall_of(coll, K, K) == 1.0); /* by nothing but these 25 */
    (void)check_recall(coll, K, NULL);
    (void)check_recall(coll, 30, NULL);
    pomai_collection_close(coll);
    close_db(db);
}

/* Whole numbers are compared by the graph's own bytes: distances are those of an exact search, and rows of equal
 * distance are in the order of their ids. */
static void whole_numbers_have_exact_distances(void **state)
{
    enum { WIDE = 256, N = 1500, ASKED = 30 };
    const struct box *box = *state;
    pomai_error err;
    float *x = calloc((N + ASKED) * WIDE, sizeof *x);
    struct t_rng r = {.state = 7};
    for (size_t i = 0; i < (N + ASKED) * WIDE; i++)
        x[i] = (float)(t_next(&r) % (i / WIDE % 3 == 0 ? 4 : 256));
    memcpy(x + (N - 100) * WIDE, x + 100 * WIDE, 100 * WIDE * sizeof *x); /* rows of equal distance */
    memcpy(x + N * WIDE, x + 100 * WIDE, 10 * WIDE * sizeof *x);
    build_only(PM_DERIVED_GRAPH, LEAST);
    pomai_db *db = open_db(box, NULL);
    pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
    o.dim = WIDE;
    o.metric = POMAI_METRIC_L2;
    pomai_collection *coll;
    assert_ok(pomai_collection_create(db, "wide", &o, &coll, &err));
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = N;
    batch.dim = WIDE;
    batch.vectors = x;
    for (uint64_t i = 0; i < N; i++)
        ids[i] = i;
    batch.u64_ids = ids;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    build(db);
    for (int half = 0; half < 2; half++) { /* then queries that are not whole, and rows that ended */
        size_t near = 0;
        pomai_search_options all = POMAI_SEARCH_OPTIONS_INIT, some = POMAI_SEARCH_OPTIONS_INIT;
        pomai_result *exact, *walked;
        some.ef = 400;
        assert_ok(pomai_search(coll, x + N * WIDE, ASKED, WIDE, N, &all, &exact, &err));
        assert_ok(pomai_search(coll, x + N * WIDE, ASKED, WIDE, K, &some, &walked, &err));
        assert_int_equal(completeness_of(walked), POMAI_APPROXIMATE);
        for (size_t q = 0; q < ASKED; q++) {
            const size_t rows = pomai_result_count(exact, q);
            size_t at = 0; /* in the exact answer, in the same order */
            assert_int_equal(pomai_result_count(walked, q), K);
            for (size_t i = 0; i < K; i++) {
                while (at < rows && pomai_result_ids(exact, q)[at] != pomai_result_ids(walked, q)[i])
                    at++;
                if (at == rows) fail_msg("%d: query %zu, hit %zu is out of order", half, q, i);
                assert_memory_equal(pomai_result_distances(walked, q) + i, pomai_result_distances(exact, q) + at, 8);
                near += at < K;
            }
        }
        if (near < ASKED * K * 8 / 10) fail_msg("%d: recall %zu of %d", half, near, ASKED * K);
        pomai_result_free(exact);
        pomai_result_free(walked);
        for (size_t i = N * WIDE; i < (N + ASKED / 2) * WIDE; i++)
            x[i] += 0.25f;
        const pomai_ids first = {20, ids + 95, NULL};
        assert_ok(pomai_delete(coll, &first, NULL, NULL, &err));
    }
    pomai_collection_close(coll);
    close_db(db);
    free(x);
    only_graphs();
}

/* ---- many of them ---- */

/* The rows are shared out to threads, and each graph is walked once. */
static void graphs_are_shared_out(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    draw_all();
    build_only(PM_DERIVED_GRAPH, LEAST);
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.search_threads = 3;
    o.segment_bytes = 1; /* none are merged */
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    static const uint64_t sizes[] = {300, 900, 1800};
    uint64_t first = 0;
    for (int i = 0; i < 3; first += sizes[i++]) {
        put(coll, first, sizes[i], NULL);
        assert_ok(pomai_flush(db, &err));
    }
    assert_ok(pomai_build_indexes(db, NULL, &err));
    assert_int_equal(stat_of(db, "segments_with_%s"), 3);
    assert_int_equal(stat_of(db, "rows_with_%s"), 3000);
    assert_int_equal(check_recall(coll, K, NULL), QUERIES);
    put(coll, first, 2 * ROWS - first, NULL);
    assert_int_equal(check_recall(coll, K, NULL), QUERIES);
    for (size_t q = 0; q < QUERIES; q++) {
        pomai_result *r = search(coll, queries + q * DIM, 1, 3 * K, RECALL, NULL);
        for (size_t i = 1; i < 3 * K; i++)
            for (size_t j = 0; j < i; j++)
                assert_int_not_equal(pomai_result_ids(r, 0)[i], pomai_result_ids(r, 0)[j]);
        pomai_result_free(r);
    }
    check_groups(coll);
    pomai_collection_close(coll);
    close_db(db);
    only_graphs();
}

/* ---- merges ---- */

static pomai_db *watched;
static _Atomic bool looks;
static unsigned merges, bare;

static void look_at_merged(enum pm_point point)
{
    if (point != PM_POINT_SEGMENT_SHOWN || !atomic_load(&looks)) return;
    const pm_catalog *catalog = atomic_load(&watched->catalog);
    const pm_shown *shown = atomic_load(&catalog->coll[0]->shown);
    if (shown->segments != 1) return;
    merges++;
    bare += pm_segment_derived(shown->segment[0], kind) == NULL;
}

/* Searches go by graphs all the time: the merged segment has its own before it takes the place of the others. */
static void merged_rows_keep_their_graph(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    merges = bare = 0;
    pm_point_hook = look_at_merged;
    pomai_db *db = watched = with_file(box, POMAI_METRIC_L2);
    pomai_collection *coll = have(db, "a");
    const int turns = T_ONE_IN > 1 ? 2 : 4;
    for (int turn = 0; turn < turns; turn++) { /* asked for as such, or with indexes; rows are replaced, too, */
        put(coll, turn == 0 ? ROWS : ROWS / 2, ROWS / 2, NULL);
        if (turn < 2) assert_ok(pomai_flush(db, &err)); /* and come from memory */
        atomic_store(&looks, true);
        assert_ok(turn % 2 == 0 ? pomai_compact(db, NULL, &err) : pomai_build_indexes(db, NULL, &err));
        atomic_store(&looks, false);
        assert_int_equal(merges, turn + 1);
        assert_int_equal(bare, 0);
        assert_int_equal(stat_of(db, "segments"), 1);
        assert_int_equal(check_recall(coll, K, NULL), QUERIES);
    }
    pomai_collection_close(coll);
    close_db(db);
    pm_point_hook = NULL;
}

/* ---- threads ---- */

struct searcher {
    pomai_collection *coll;
    _Atomic bool *over;
    unsigned wrong, rounds;
};

static void *keep_searching(void *context)
{
    struct searcher *s = context;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = RECALL;
    for (; !atomic_load(s->over); s->rounds++) {
        pomai_error err;
        pomai_result *r = NULL;
        const float *query = queries + s->rounds % QUERIES * DIM;
        if (pomai_search(s->coll, query, 1, DIM, K, &o, &r, &err) != POMAI_OK || pomai_result_count(r, 0) != K)
            s->wrong++;
        for (size_t i = 1; i < pomai_result_count(r, 0); i++) {
            s->wrong += pomai_result_ids(r, 0)[i] >= ROWS;
            s->wrong += pomai_result_distances(r, 0)[i] < pomai_result_distances(r, 0)[i - 1];
        }
        pomai_result_free(r);
    }
    return NULL;
}

/* Graphs come, are found damaged, and go with their segments, while others search. */
static void searches_go_on_meanwhile(void **state)
{
    enum { THREADS = 3, TURNS = T_ONE_IN > 1 ? 1 : 4 };
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    pomai_collection *coll = have(db, "a");
    _Atomic bool over = false;
    struct searcher searcher[THREADS];
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) {
        searcher[i] = (struct searcher){.coll = coll, .over = &over};
        assert_int_equal(pthread_create(&thread[i], NULL, keep_searching, &searcher[i]), 0);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        put(coll, 0, ROWS / 2, NULL); /* the same rows again */
        assert_ok(turn % 2 == 0 ? pomai_compact(db, NULL, &err) : pomai_flush(db, &err));
        assert_ok(pomai_build_indexes(db, NULL, &err));
    }
    atomic_store(&over, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(searcher[i].wrong, 0);
        assert_true(searcher[i].rounds > 0);
    }
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- the segment goes while its graph is built ---- */

static _Atomic bool is_built, may_end;

static void hold_build(enum pm_point point)
{
    if (point != PM_POINT_DERIVED_BUILT || atomic_exchange(&is_built, true)) return;
    while (!atomic_load(&may_end))
        usleep(1000);
    usleep(3000); /* long enough for others to come first */
}

static void *compact_all(void *db)
{
    pomai_error err;
    return (void *)(uintptr_t)pomai_compact(db, NULL, &err);
}

/* Nobody misses it: no failure is counted, and what replaced the segment gets a graph of its own. */
static void a_build_ends_with_its_segment(void **state)
{
    const struct box *box = *state;
    draw_all();
    for (int drops = 0; drops < 2; drops++) {
        pomai_error err;
        atomic_store(&is_built, false);
        atomic_store(&may_end, false);
        pm_point_hook = hold_build;
        pomai_db *db = open_db(box, NULL);
        pomai_collection *coll = make(db, drops ? "dropped" : "compacted", POMAI_METRIC_L2);
        put(coll, 0, ROWS, NULL);
        assert_ok(pomai_flush(db, &err));
        while (!atomic_load(&is_built)) /* by itself */
            usleep(1000);
        pthread_t thread;
        void *status = NULL;
        if (drops) {
            assert_ok(pomai_collection_drop(db, "dropped", &err));
        } else {
            const pomai_ids some = {100, ids, NULL};
            assert_ok(pomai_delete(coll, &some, NULL, NULL, &err));
            assert_int_equal(pthread_create(&thread, NULL, compact_all, db), 0);
            while (atomic_load(&db->maintenance.compact.wanted) == 0)
                usleep(1000);
        }
        atomic_store(&may_end, true);
        if (!drops) pthread_join(thread, &status);
        assert_true((uintptr_t)status == POMAI_OK);
        assert_ok(pomai_build_indexes(db, NULL, &err));
        assert_int_equal(stat_of(db, "%s_builds"), drops ? 0 : 1);
        assert_int_equal(stat_of(db, "%s_failures"), 0);
        if (!drops) assert_int_equal(stat_of(db, "%s_rows"), ROWS - 100);
        pomai_collection_close(coll);
        close_db(db);
        pm_point_hook = NULL;
    }
}

static void draw_bell(struct t_rng *r, float *out)
{
    for (size_t d = 0; d < DIM; d++)
        out[d] = t_unit_float(r) + t_unit_float(r) + t_unit_float(r) + t_unit_float(r);
}

/* Rows that lie as a bell, whatever the direction, so many nearly the same each, or some of them far out, and other
 * queries of that kind. */
static void check_bell(const struct box *box, size_t copies, float out, float asked, const uint64_t *ks, size_t n)
{
    enum { ASKED = 200 };
    struct t_rng r = t_rng_from(13);
    static float query[ASKED * DIM];
    draw_all();
    for (size_t i = 0; i < ROWS; i++)
        if (i % copies == 0)
            draw_bell(&r, vectors + i * DIM);
        else
            for (size_t d = 0; d < DIM; d++)
                vectors[i * DIM + d] = vectors[(i - i % copies) * DIM + d] + t_unit_float(&r) * 0.004f;
    for (size_t i = 0; i < ROWS && out > 0; i += 50)
        for (size_t d = 0; d < DIM; d++)
            vectors[i * DIM + d] *= out;
    for (size_t i = 0; i < ASKED; i++)
        draw_bell(&r, query + i * DIM);
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put(coll, 0, ROWS, NULL);
    build(db);
    for (size_t i = 0; i < n; i++) {
        size_t found = 0;
        pomai_result *best = search(coll, query, ASKED, ks[i], 0, NULL);
        pomai_result *near = search(coll, query, ASKED, ks[i], asked, NULL);
        for (size_t q = 0; q < ASKED; q++)
            found += common(near, q, best, q);
        pomai_result_free(best);
        pomai_result_free(near);
        if ((double)found < (double)asked * ASKED * (double)ks[i])
            fail_msg("%zu copies, k %llu: %zu of %llu", copies, (unsigned long long)ks[i], found,
                     (unsigned long long)ks[i] * ASKED);
    }
    draw_all();
    pomai_collection_close(coll);
    close_db(db);
}

static void any_k_gets_its_recall(void **state)
{
    static const uint64_t some[] = {2, 9, 11, 21, 30, 51, 100};
    check_bell(*state, 1, 0, 0.98f, some, sizeof some / sizeof some[0]);
}

/* Rows as queries are led to by their copies, other queries are not. */
static void near_copies_promise_no_more(void **state)
{
    static const uint64_t some[] = {1, 10, 20};
    check_bell(*state, 4, 0, 0.9f, some, sizeof some / sizeof some[0]);
}

/* Codes are coarse where some rows are far out, and do not tell which of the others are the nearest. */
static void rows_of_two_scales_get_their_recall(void **state)
{
    static const uint64_t some[] = {1, 10, 100};
    check_bell(*state, 1, 30, 0.9f, some, sizeof some / sizeof some[0]);
    t_remove(((const struct box *)*state)->db);
    check_bell(*state, 1, 1000, 0.9f, some, sizeof some / sizeof some[0]);
}

static bool is_walked(pomai_collection *coll, uint64_t k, float recall)
{
    pomai_error err;
    pomai_result *result;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = recall;
    o.include = POMAI_INCLUDE_PLAN;
    assert_ok(pomai_search(coll, vectors, 1, DIM, k, &o, &result, &err));
    const bool walked = strstr(pomai_result_plan(result), "\"way\": \"graph\"") != NULL;
    assert_true(walked || strstr(pomai_result_plan(result), "\"way\": \"codes\"") != NULL);
    pomai_result_free(result);
    return walked;
}

/* A walk that would go through much of a small graph takes longer than all codes. */
static void costly_walks_are_left_to_codes(void **state)
{
    const struct box *box = *state;
    struct t_rng r = t_rng_from(13);
    pm_derive_least_rows[PM_DERIVED_CODES] = LEAST_ROWS;
    draw_all();
    for (size_t i = 0; i < ROWS; i++)
        draw_bell(&r, vectors + i * DIM);
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put(coll, 0, ROWS, NULL);
    build(db);
    assert_true(is_walked(coll, 10, 0.8f));
    assert_false(is_walked(coll, 100, 0.98f));
    draw_all();
    pomai_collection_close(coll);
    close_db(db);
    only_graphs();
}

/* A walk finds next to nothing for them: codes do. */
static void queries_unlike_all_rows_are_answered(void **state)
{
    pm_derive_least_rows[PM_DERIVED_CODES] = LEAST_ROWS;
    check_unlike(*state, 0, NULL);
    t_remove(((const struct box *)*state)->db);
    check_unlike(*state, 0, "{\"none\": {\"$exists\": false}}");
    only_graphs();
}

static float draw_normal(struct t_rng *r)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += t_unit_float(r);
    return sum / 2; /* of deviation 1 */
}

/*
 * Clusters of very different sizes and widths: rows of the smallest have their neighbours in others, so that some rows
 * are as far from all others as queries between the clusters are.
 */
static void outlying_queries_get_what_they_ask_for(void **state)
{
    enum { CLUSTERS = 100, ASKED = 300, MANY = 20000, WIDE = 64 };
    const struct box *box = *state;
    pomai_error err;
    float *centre = calloc(CLUSTERS * WIDE, sizeof *centre), *x = calloc((size_t)MANY * WIDE, sizeof *x);
    float *query = calloc(ASKED * WIDE, sizeof *query);
    struct t_rng r = t_rng_from(14);
    pm_derive_least_rows[PM_DERIVED_CODES] = LEAST_ROWS;
    for (size_t i = 0; i < CLUSTERS * WIDE; i++)
        centre[i] = 2 * draw_normal(&r);
    float upto[CLUSTERS], wide[CLUSTERS], sum = 0;
    for (size_t i = 0; i < CLUSTERS; i++) {
        const float weight = draw_normal(&r);
        upto[i] = sum += weight * weight;
        wide[i] = 0.7f + t_unit_float(&r) / 2;
    }
    for (size_t i = 0; i < MANY; i++) {
        const float at = sum * (float)t_below(&r, 1 << 20) / (1 << 20);
        size_t cluster = 0;
        while (upto[cluster] <= at && cluster + 1 < CLUSTERS)
            cluster++;
        for (size_t d = 0; d < WIDE; d++)
            x[i * WIDE + d] = centre[cluster * WIDE + d] + draw_normal(&r) * wide[cluster];
    }
    for (size_t i = 0; i < ASKED * WIDE; i++)
        query[i] = 2 * draw_normal(&r);
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 1; /* whatever the machine: the order of rows makes the graph */
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = create(db, "wide", WIDE, POMAI_METRIC_L2, POMAI_ID_U64);
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = MANY;
    batch.dim = WIDE;
    batch.vectors = x;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    build(db);
    for (uint64_t k = 1; k <= 10; k += 9) {
        pomai_search_options all = POMAI_SEARCH_OPTIONS_INIT, some = POMAI_SEARCH_OPTIONS_INIT;
        pomai_result *best, *near;
        size_t found = 0;
        some.recall = 0.9f;
        assert_ok(pomai_search(coll, query, ASKED, WIDE, k, &all, &best, &err));
        assert_ok(pomai_search(coll, query, ASKED, WIDE, k, &some, &near, &err));
        for (size_t q = 0; q < ASKED; q++)
            found += common(near, q, best, q);
        pomai_result_free(best);
        pomai_result_free(near);
        if (found * 10 < ASKED * k * 9)
            fail_msg("k %llu: %zu of %llu", (unsigned long long)k, found, (unsigned long long)k * ASKED);
    }
    free(centre);
    free(x);
    free(query);
    pomai_collection_close(coll);
    close_db(db);
    only_graphs();
}

/* Such a query ends in one of two groups: nothing else is near, and nothing leads from one to the other. No row is as
 * far from its nearest as that: those with copies are nearer, those without are farther. */
static void queries_between_tight_groups_get_what_they_ask_for(void **state)
{
    enum { GROUPS = 200, ASKED = 200 };
    const struct box *box = *state;
    static float query[ASKED * DIM];
    struct t_rng r = t_rng_from(13);
    pm_derive_least_rows[PM_DERIVED_CODES] = LEAST_ROWS;
    draw_all();
    for (size_t i = 0; i < ROWS; i++)
        for (size_t d = 0; d < DIM; d++)
            vectors[i * DIM + d] =
                (i < GROUPS ? draw_normal(&r) : vectors[i % GROUPS * DIM + d]) + 0.2f * draw_normal(&r);
    for (size_t i = 0; i < ASKED; i++) {
        const float *a = vectors + t_below(&r, ROWS) * DIM, *b = vectors + t_below(&r, ROWS) * DIM;
        for (size_t d = 0; d < DIM; d++)
            query[i * DIM + d] = (a[d] + b[d]) / 2;
    }
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put(coll, 0, ROWS, NULL);
    build(db);
    size_t found = 0;
    pomai_result *best = search(coll, query, ASKED, K, 0, NULL);
    pomai_result *near = search(coll, query, ASKED, K, 0.9f, NULL);
    for (size_t q = 0; q < ASKED; q++)
        found += common(near, q, best, q);
    pomai_result_free(best);
    pomai_result_free(near);
    /* 0.86 is found if such walks are not in doubt */
    if (found * 1000 < ASKED * K * 885) fail_msg("%zu of %d", found, ASKED * K);
    draw_all();
    pomai_collection_close(coll);
    close_db(db);
    only_graphs();
}

/* Rows on a surface of two dimensions, which turns about in many, and queries beside it: it is about as far from them
 * in more than one place, and a walk that has come to one has to go by farther rows to the others. */
static void queries_off_a_surface_get_what_they_ask_for(void **state)
{
    enum { ASKED = 200, SURFACE = 2 };
    const struct box *box = *state;
    static float query[ASKED * DIM];
    const uint64_t ks[] = {1, K};
    struct t_rng r = t_rng_from(13);
    float turn[SURFACE][DIM];
    draw_all();
    for (size_t i = 0; i < SURFACE * (size_t)DIM; i++)
        turn[i / DIM][i % DIM] = draw_normal(&r);
    for (size_t i = 0; i < ROWS + ASKED; i++) {
        float *to = i < ROWS ? vectors + i * DIM : query + (i - ROWS) * DIM;
        const float x = draw_normal(&r), y = draw_normal(&r);
        for (size_t d = 0; d < DIM; d++)
            to[d] = sinf(x * turn[0][d] + y * turn[1][d]) + (i < ROWS ? 0 : 0.3f * draw_normal(&r));
    }
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put(coll, 0, ROWS, NULL);
    build(db);
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        size_t found = 0;
        pomai_result *best = search(coll, query, ASKED, ks[i], 0, NULL);
        pomai_result *near = search(coll, query, ASKED, ks[i], 0.9f, NULL);
        for (size_t q = 0; q < ASKED; q++)
            found += common(near, q, best, q);
        pomai_result_free(best);
        pomai_result_free(near);
        if (found * 10 < ASKED * ks[i] * 9)
            fail_msg("k %llu: %zu of %llu", (unsigned long long)ks[i], found, (unsigned long long)ks[i] * ASKED);
    }
    draw_all();
    pomai_collection_close(coll);
    close_db(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(answers_are_as_good_as_asked),
        BOXED(files_are_mapped_not_built_again),
        BOXED(forged_headers_are_passed_over),
        BOXED(flipped_bytes_are_found_when_they_are_used),
        BOXED(files_of_another_segment_are_passed_over),
        BOXED(rows_that_went_are_not_shown),
        BOXED(building_can_be_waited_for_or_not),
        BOXED(leftovers_of_a_build_go),
        BOXED(ef_is_an_effort),
        BOXED(without_a_graph_codes_are_taken),
        BOXED(collections_have_the_indexes_they_want),
        BOXED(deadlines_cut_walks),
        BOXED(rows_expire_in_graphs),
        BOXED(few_rows_left_are_found),
        BOXED(whole_numbers_have_exact_distances),
    };
    const struct CMUnitTest of_recall[] = {
        BOXED(any_k_gets_its_recall),
        BOXED(costly_walks_are_left_to_codes),
        BOXED(queries_unlike_all_rows_are_answered),
        BOXED(near_copies_promise_no_more),
        BOXED(queries_off_a_surface_get_what_they_ask_for),
        BOXED(rows_of_two_scales_get_their_recall),
        BOXED(outlying_queries_get_what_they_ask_for),
        BOXED(queries_between_tight_groups_get_what_they_ask_for),
    };
    const struct CMUnitTest of_threads[] = {
        BOXED(graphs_are_shared_out),
        BOXED(merged_rows_keep_their_graph),
        BOXED(searches_go_on_meanwhile),
        BOXED(a_build_ends_with_its_segment),
    };
    int failed = 0;
    only_graphs();
#ifdef __SANITIZE_THREAD__ /* it has nothing to say of one thread, and builds are slow in it */
    (void)tests;
#else
    failed = cmocka_run_group_tests(tests, NULL, NULL);
#endif
    if (T_ONE_IN == 1) failed += cmocka_run_group_tests(of_recall, NULL, NULL); /* sanitizers know nothing of that */
    return failed + cmocka_run_group_tests(of_threads, NULL, NULL);
}
