/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes of segments: they are there after a build and after reopening, and whatever happens to their files, a search
 * finds what its recall says, shows no row that is not to be seen, and never fewer than k.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef __SANITIZE_THREAD__
#define T_ROWS 2400 /* builds are slow in it, and as many threads meet over fewer rows */
#endif
#include "support/derived.h"

/* ---- tests ---- */

static void a_recall_is_a_share(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_verdict v;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    pomai_collection *coll = have(db, "a");
    static const float bad[] = {-0.1f, 1.0001f, 1e30f, -INFINITY, INFINITY, NAN};
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o.recall = bad[i];
        assert_refused(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err), POMAI_EINVAL, "recall");
    }
    static const float exact[] = {0, -0.0f, 1};
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
        pomai_result *r = search(coll, queries, 1, K, exact[i], NULL);
        pomai_result_verdict(r, 0, &v);
        assert_int_equal(v.completeness, POMAI_EXACT);
        assert_int_equal(v.rows_scanned, ROWS);
        pomai_result_free(r);
    }
    o = (pomai_search_options)POMAI_SEARCH_OPTIONS_INIT; /* a deadline that has passed */
    o.recall = RECALL;
    o.deadline_us = 0;
    assert_ok(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err));
    pomai_result_verdict(result, 0, &v);
    assert_int_equal(v.completeness, POMAI_CUT);
    pomai_result_free(result);
    const int cancelled = 1;
    o.deadline_us = UINT64_MAX;
    o.cancel = &cancelled;
    assert_ok(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err));
    pomai_result_verdict(result, 0, &v);
    assert_int_equal(v.completeness, POMAI_CUT);
    pomai_result_free(result);
    pomai_collection_close(coll);
    close_db(db);
}

/* Batches, and a mixture of segments with codes and without. */
static void many_queries_and_many_segments(void **state)
{
    const struct box *box = *state;
    pomai_db *db = with_file(box, POMAI_METRIC_COSINE);
    pomai_collection *coll = have(db, "a");
    put(coll, ROWS, ROWS / 2, NULL);
    pomai_error err;
    assert_ok(pomai_flush(db, &err)); /* too small for codes */
    put(coll, ROWS + ROWS / 2, 100, NULL);
    assert_ok(pomai_build_indexes(db, NULL, &err));
    assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    check_groups(coll);
    pomai_collection_close(coll);
    close_db(db);
}

static void queries_unlike_all_rows_are_answered(void **state)
{
    check_unlike(*state, 5, NULL);
}

/* ---- exact searches ---- */

/* The same answer from both, to the last bit, and a verdict that says so. */
static void compare_exact(const char *when, pomai_collection *const coll[2], uint64_t n, uint64_t k, const char *filter,
                          const pomai_snapshot *const snapshot[2])
{
    pomai_result *r[2];
    pomai_error err;
    for (int i = 0; i < 2; i++) {
        pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
        o.filter = filter;
        o.filter_size = filter == NULL ? 0 : strlen(filter);
        o.snapshot = snapshot == NULL ? NULL : snapshot[i];
        assert_ok(pomai_search(coll[i], queries, n, DIM, k, &o, &r[i], &err));
    }
    for (size_t q = 0; q < n; q++) {
        pomai_verdict v[2];
        const size_t found = pomai_result_count(r[0], q);
        for (int i = 0; i < 2; i++)
            pomai_result_verdict(r[i], q, &v[i]);
        if (found != pomai_result_count(r[1], q) ||
            memcmp(pomai_result_ids(r[0], q), pomai_result_ids(r[1], q), found * sizeof(uint64_t)) != 0 ||
            memcmp(pomai_result_distances(r[0], q), pomai_result_distances(r[1], q), found * sizeof(double)) != 0)
            fail_msg("%s: query %zu of %llu, k %llu: another answer", when, q, (unsigned long long)n,
                     (unsigned long long)k);
        assert_int_equal(v[0].completeness, POMAI_EXACT);
        assert_true(v[0].expected_recall == 1);
        if (v[0].rows_scanned != v[1].rows_scanned || v[0].rows_visible != v[1].rows_visible)
            fail_msg("%s: %llu of %llu rows, not %llu of %llu", when, (unsigned long long)v[0].rows_scanned,
                     (unsigned long long)v[0].rows_visible, (unsigned long long)v[1].rows_scanned,
                     (unsigned long long)v[1].rows_visible);
    }
    pomai_result_free(r[0]);
    pomai_result_free(r[1]);
}

static void compare_all(const char *when, pomai_collection *const coll[2], const pomai_snapshot *const snapshot[2])
{
    static const uint64_t ks[] = {1, 10, 60, 90, 2 * ROWS};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        for (uint64_t n = 1; n <= 9; n += n < 5 ? 1 : 4)
            compare_exact(when, coll, n, ks[i], NULL, snapshot);
        compare_exact(when, coll, 1, ks[i], "{\"n\": {\"$lt\": 3}}", snapshot);  /* most */
        compare_exact(when, coll, 2, ks[i], "{\"n\": {\"$gte\": 3}}", snapshot); /* few */
    }
}

/* Rows of a number of kinds: alike, of lengths that differ by far, of whole numbers; some there twice. */
static void draw_shapes(unsigned shape)
{
    draw_all();
    if (shape == 1) draw_integers();
    for (size_t i = 0; i < 2 * ROWS && shape == 2; i++)
        for (size_t d = 0; d < DIM; d++)
            vectors[i * DIM + d] = ldexpf(vectors[i * DIM + d], (int)(i % 40) - 20);
    for (size_t i = 0; i < 2 * ROWS && shape == 3; i++)
        for (size_t d = 0; d < DIM; d++)
            vectors[i * DIM + d] = 1000 + vectors[i * DIM + d] / 1000;
    for (size_t i = 0; i < ROWS / 2; i++)
        memcpy(vectors + (ROWS + i) * DIM, vectors + (i * 7 % ROWS) * DIM, DIM * sizeof *vectors);
    for (size_t q = 0; q < QUERIES && shape == 3; q++)
        for (size_t d = 0; d < DIM; d++)
            queries[q * DIM + d] = 1000 + queries[q * DIM + d] / 1000;
    memcpy(queries, vectors, DIM * sizeof *queries); /* one is a row */
}

static void put_with_numbers(pomai_collection *coll, uint64_t first, uint64_t rows)
{
    static char text[2 * ROWS][16];
    static pomai_bytes documents[2 * ROWS];
    for (uint64_t i = 0; i < rows; i++) {
        const int size = snprintf(text[i], sizeof text[i], "{\"n\": %u}", (unsigned)((first + i) % 4));
        documents[i] = (pomai_bytes){(const uint8_t *)text[i], (size_t)size};
    }
    put_with_documents(coll, first, rows, NULL, documents);
}

static bool goes_by_codes(pomai_collection *coll, uint64_t deadline_us)
{
    pomai_error err;
    pomai_result *r;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.include = POMAI_INCLUDE_PLAN;
    o.deadline_us = deadline_us;
    assert_ok(pomai_search(coll, queries, 1, DIM, K, &o, &r, &err));
    const bool does = strstr(pomai_result_plan(r), "\"codes, then vectors\"") != NULL;
    pomai_result_free(r);
    return does;
}

enum { TURNS = T_ONE_IN > 1 ? 3 : 1 }; /* or each shape once, and each metric; builds are slow in sanitizers */

/* Two collections of the same rows, of which one has no codes. */
static void exact_searches_leave_nothing_out(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db = open_db(box, NULL);
    for (unsigned turn = 0; turn < 12; turn += TURNS) {
        static const pomai_index_kind wanted[] = {POMAI_INDEX_CODES, POMAI_INDEX_EXACT};
        pomai_collection *coll[2];
        pomai_snapshot *snapshot[2];
        char name[32];
        draw_shapes(turn % 4);
        for (int i = 0; i < 2; i++) {
            pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
            o.dim = DIM;
            o.metric = (pomai_metric)(1 + turn / 4);
            o.index = wanted[i];
            snprintf(name, sizeof name, "turn%u-%d", turn, i);
            assert_ok(pomai_collection_create(db, name, &o, &coll[i], &err));
            put_with_numbers(coll[i], 0, ROWS);
        }
        build(db);
        assert_true(goes_by_codes(coll[0], UINT64_MAX));
        assert_false(goes_by_codes(coll[1], UINT64_MAX));
        compare_all("a segment", coll, NULL);
        for (int i = 0; i < 2; i++) {
            const uint64_t gone[] = {0, 5, 6, 77, ROWS * 2 / 3};
            pomai_ids list = {5, gone, NULL};
            assert_ok(pomai_snapshot_open(db, &snapshot[i], &err));
            assert_ok(pomai_delete(coll[i], &list, NULL, NULL, &err));
            put_with_numbers(coll[i], ROWS - 300, ROWS / 2 + 300); /* replaced, and new */
        }
        compare_all("rows in memory, and some gone", coll, NULL);
        compare_exact("a snapshot", coll, 1, K, NULL, (const pomai_snapshot *const *)snapshot);
        compare_exact("a snapshot", coll, 3, K, "{\"n\": {\"$ne\": 1}}", (const pomai_snapshot *const *)snapshot);
        for (int i = 0; i < 2; i++) {
            pomai_snapshot_close(snapshot[i]);
            pomai_collection_close(coll[i]);
        }
    }
    close_db(db);
}

/* Who has a deadline does without codes until their file is checked, of which each search does a part. */
static void deadlines_leave_time_for_checks(void **state)
{
    enum { TIMES = 5 };
    const struct box *box = *state;
    const uint64_t hour = UINT64_C(3600000000);
    pomai_error err;
    pomai_db *db = open_db(box, NULL);
    draw_all();
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    for (int i = 0; i < TIMES; i++) {
        put(coll, 0, 2 * ROWS, NULL);
        for (uint64_t j = 0; j < 2 * ROWS; j++)
            ids[j] += 2 * ROWS;
    }
    assert_ok(pomai_compact(db, NULL, &err));
    build(db);
    pomai_collection_close(coll);
    close_db(db);
    db = open_db(box, NULL);
    coll = have(db, "a");
    assert_true(goes_by_codes(coll, hour)); /* an eighth of it is enough */
    pomai_collection_close(coll);
    close_db(db);
    db = open_db(box, NULL);
    coll = have(db, "a");
    assert_true(goes_by_codes(coll, UINT64_MAX));
    pomai_collection_close(coll);
    close_db(db);
}

/* Rows are shared out to threads in runs that end within a word of bits; each row is counted by one of them. */
static void rows_that_match_are_counted_once(void **state)
{
    enum { WIDE = 256, SHOWN = ROWS / 4 * 3 };
    const struct box *box = *state;
    pomai_error err;
    pomai_collection *coll;
    pomai_verdict v;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    struct t_rng r = t_rng_from(5);
    float *wide = calloc((size_t)ROWS * WIDE, sizeof *wide);
    pomai_bytes *documents = calloc(ROWS, sizeof *documents);
    static const char *const text[] = {"{\"n\": 0}", "{\"n\": 1}", "{\"n\": 2}", "{\"n\": 3}"};
    assert_true(wide != NULL && documents != NULL);
    options.search_threads = 3;
    draw_all();
    for (size_t i = 0; i < (size_t)ROWS * WIDE; i++)
        wide[i] = t_unit_float(&r);
    for (size_t i = 0; i < ROWS; i++)
        documents[i] = (pomai_bytes){(const uint8_t *)text[i % 4], strlen(text[i % 4])};
    pomai_db *db = open_db(box, &options);
    pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
    o.dim = WIDE;
    o.metric = POMAI_METRIC_L2;
    o.index = POMAI_INDEX_CODES;
    assert_ok(pomai_collection_create(db, "wide", &o, &coll, &err));
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = ROWS;
    batch.dim = WIDE;
    batch.vectors = wide;
    batch.u64_ids = ids;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    build(db);
    for (uint64_t n = 1; n <= 4; n += 3) {
        pomai_result *result;
        pomai_search_options how = POMAI_SEARCH_OPTIONS_INIT;
        how.filter = "{\"n\": {\"$lt\": 3}}";
        how.filter_size = strlen(how.filter);
        how.include = POMAI_INCLUDE_PLAN;
        assert_ok(pomai_search(coll, wide, n, WIDE, K, &how, &result, &err));
        assert_non_null(strstr(pomai_result_plan(result), "\"codes, then vectors\""));
        pomai_result_verdict(result, 0, &v);
        assert_int_equal(v.rows_scanned, SHOWN);
        assert_int_equal(v.rows_visible, SHOWN);
        pomai_result_free(result);
    }
    free(wide);
    free(documents);
    pomai_collection_close(coll);
    close_db(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(answers_are_as_good_as_asked),
        BOXED(a_recall_is_a_share),
        BOXED(files_are_mapped_not_built_again),
        BOXED(forged_headers_are_passed_over),
        BOXED(flipped_bytes_are_found_when_they_are_used),
        BOXED(files_of_another_segment_are_passed_over),
        BOXED(queries_unlike_all_rows_are_answered),
        BOXED(deadlines_leave_time_for_checks),
    };
    const struct CMUnitTest of_threads[] = {
        BOXED(rows_that_went_are_not_shown),      BOXED(many_queries_and_many_segments),
        BOXED(exact_searches_leave_nothing_out),  BOXED(rows_that_match_are_counted_once),
        BOXED(building_can_be_waited_for_or_not), BOXED(leftovers_of_a_build_go),
    };
    int failed = 0;
    build_only(PM_DERIVED_CODES, LEAST_ROWS);
#ifdef __SANITIZE_THREAD__ /* it has nothing to say of one thread, and builds are slow in it */
    (void)tests;
#else
    failed = cmocka_run_group_tests(tests, NULL, NULL);
#endif
    return failed + cmocka_run_group_tests(of_threads, NULL, NULL);
}
