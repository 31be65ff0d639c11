/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches with a filter, beside the dumbest evaluation of it: a predicate in C over a list of rows. Never a row that
 * does not match, never fewer than min(k, rows that match), the recall that was asked for; wherever the rows are, and
 * whether the matches are near the query or far from it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "index/graph/graph.h"
#include "query/search_int.h"
#include "support/derived.h"
#include "support/exact.h"
#include "support/no_memory.h"
#include "support/one_in.h"

enum { ALL = 2 * ROWS, SOME = 4, NUMBERS = 10000, PAST = 1000 };

static uint64_t seed = 5; /* --seed S */

/* ---- the model ---- */

struct row {
    bool there;
    bool json;  /* its document is an object */
    int32_t n;  /* 0 to NUMBERS - 1 */
    int32_t at; /* its first dimension, in thousandths: what says "near" and "far" */
};
static struct row rows[ALL];

struct filter {
    char text[160];
    bool (*matches)(const struct row *row, int32_t x);
    int32_t x;
};

static bool all_match(const struct row *row, int32_t x)
{
    (void)row;
    (void)x;
    return true;
}

static bool n_below(const struct row *row, int32_t x)
{
    return row->json && row->n < x;
}

static bool at_below(const struct row *row, int32_t x)
{
    return row->json && row->at < x;
}

static bool at_above(const struct row *row, int32_t x)
{
    return row->json && row->at > x;
}

static bool has_no_n(const struct row *row, int32_t x)
{
    (void)x;
    return !row->json;
}

static int by_number(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* So that about so many thousandths of the rows are nearer to the low end. */
static int32_t quantile(uint32_t thousandths)
{
    static int32_t sorted[ALL];
    for (uint32_t i = 0; i < ALL; i++)
        sorted[i] = rows[i].at;
    qsort(sorted, ALL, sizeof sorted[0], by_number);
    return sorted[(uint64_t)ALL * thousandths / 1000 % ALL];
}

static unsigned make_filters(struct filter filter[32])
{
    static const int32_t below[] = {8000, 5000, 3500, 500, 10, 1, 0};
    static const uint32_t shares[] = {50, 350, 600};
    unsigned n = 0;
    filter[n++] = (struct filter){"{}", all_match, 0};
    filter[n++] = (struct filter){"{\"$not\": {\"a\": 1}}", all_match, 0};
    filter[n++] = (struct filter){"{\"n\": {\"$exists\": false}}", has_no_n, 0};
    for (size_t i = 0; i < sizeof below / sizeof below[0]; i++) {
        filter[n] = (struct filter){"", n_below, below[i]};
        snprintf(filter[n++].text, sizeof filter[0].text, "{\"n\": {\"$lt\": %d}}", below[i]);
    }
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        filter[n] = (struct filter){"", at_below, quantile(shares[i])};
        snprintf(filter[n].text, sizeof filter[0].text, "{\"at\": {\"$lt\": %d}}", filter[n].x);
        n++;
        filter[n] = (struct filter){"", at_above, quantile(1000 - shares[i])};
        snprintf(filter[n].text, sizeof filter[0].text, "{\"at\": {\"$gt\": %d}}", filter[n].x);
        n++;
    }
    return n;
}

/* ---- rows ---- */

/* Most have an object; some none, some what is no object. */
static void draw_rows(void)
{
    struct t_rng r = t_rng_from(seed);
    draw_all();
    for (uint32_t i = 0; i < ALL; i++) {
        rows[i].json = t_below(&r, 20) != 0;
        rows[i].n = (int32_t)t_below(&r, NUMBERS);
        rows[i].at = (int32_t)(vectors[(size_t)i * DIM] * 1000);
        rows[i].there = false;
    }
}

static pomai_bytes document_of(uint32_t i, char text[80])
{
    static const char *const broken[] = {"", "{\"n\": 1", "[{\"n\": 1}]", "{\"n\": 1} x"};
    if (rows[i].json && i % 17 == 0) /* a key twice: columns leave it to the document */
        snprintf(text, 80, "{\"n\": 0, \"at\": %d, \"n\": %d}", rows[i].at, rows[i].n);
    else if (rows[i].json)
        snprintf(text, 80, "{\"x\": [1, {\"n\": 0}], \"at\": %d, \"n\": %d}", rows[i].at, rows[i].n);
    else
        snprintf(text, 80, "%s", broken[i % 4]);
    return (pomai_bytes){text, strlen(text)};
}

static void put_documents(pomai_collection *coll, uint32_t first, uint32_t count, const uint64_t *expiry)
{
    pomai_bytes *documents = calloc(count, sizeof *documents);
    char(*text)[80] = calloc(count, sizeof *text);
    for (uint32_t i = 0; i < count; i++) {
        documents[i] = document_of(first + i, text[i]);
        rows[first + i].there = expiry == NULL || expiry[i] == 0;
    }
    put_with_documents(coll, first, count, expiry, documents);
    free(documents);
    free(text);
}

static void delete_rows(pomai_collection *coll, uint32_t first, uint32_t count)
{
    pomai_error err;
    const pomai_ids some = {count, ids + first, NULL};
    assert_ok(pomai_delete(coll, &some, NULL, NULL, &err));
    for (uint32_t i = 0; i < count; i++)
        rows[first + i].there = false;
}

/* ---- searches ---- */

static pomai_result *search_where(pomai_collection *coll, const char *filter, const float *query, uint64_t n,
                                  uint64_t k, pomai_search_options *o)
{
    pomai_error err;
    pomai_result *result;
    o->filter = filter;
    o->filter_size = strlen(filter);
    if (pomai_search(coll, query, n, DIM, k, o, &result, &err) != POMAI_OK) fail_msg("%s: %s", filter, err.message);
    return result;
}

struct hit {
    double distance;
    uint64_t id;
};

static int by_distance(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->distance < y->distance || x->distance > y->distance) return x->distance < y->distance ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Those that match, nearest first. */
static size_t find_truth(const struct row *model, const struct filter *filter, const float *query, struct hit *hit)
{
    size_t n = 0;
    for (uint32_t i = 0; i < ALL; i++)
        if (model[i].there && filter->matches(&model[i], filter->x))
            hit[n++] = (struct hit){t_l2(query, vectors + (size_t)i * DIM, DIM), i};
    qsort(hit, n, sizeof *hit, by_distance);
    return n;
}

static void check_exact(const pomai_result *r, size_t q, uint64_t k, const struct hit *truth, size_t matches)
{
    pomai_verdict v;
    const size_t wanted = k < matches ? k : matches;
    pomai_result_verdict(r, q, &v);
    assert_int_equal(pomai_result_count(r, q), wanted);
    assert_int_equal(v.completeness, POMAI_EXACT);
    assert_int_equal(v.fewer, wanted < k ? POMAI_FEWER_ROWS : POMAI_FEWER_NOT);
    assert_int_equal(v.rows_visible, matches);
    assert_int_equal(v.rows_scanned, matches);
    for (size_t i = 0; i < wanted; i++) {
        assert_int_equal(pomai_result_ids(r, q)[i], truth[i].id);
        assert_true(t_same_double(pomai_result_distances(r, q)[i], truth[i].distance));
    }
}

/* Adds to what was found, and to what there was to find. */
static void check_share(const pomai_result *r, size_t q, uint64_t k, const struct row *model,
                        const struct filter *filter, const struct hit *truth, size_t matches, size_t found[2])
{
    pomai_verdict v;
    const size_t wanted = k < matches ? k : matches;
    pomai_result_verdict(r, q, &v);
    assert_int_equal(pomai_result_count(r, q), wanted);
    assert_int_equal(v.fewer, wanted < k ? POMAI_FEWER_ROWS : POMAI_FEWER_NOT);
    if (strcmp(filter->text, "{}") != 0) assert_int_equal(v.rows_visible, matches);
    assert_true(v.completeness != POMAI_CUT && v.expected_recall <= 1 && v.rows_scanned <= v.rows_visible);
    for (size_t i = 0; i < wanted; i++) {
        const struct row *row = &model[pomai_result_ids(r, q)[i]];
        assert_true(row->there && filter->matches(row, filter->x));
        found[0] += pomai_result_distances(r, q)[i] <= truth[wanted - 1].distance;
    }
    found[1] += wanted;
}

/* All filters, at the row that `model` shows; one query alone, and some at once. */
static void check_all(pomai_collection *coll, const struct row *model, const pomai_snapshot *snapshot, uint64_t k)
{
    static struct hit truth[SOME][ALL];
    struct filter filter[32];
    const unsigned filters = make_filters(filter);
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    size_t found[2] = {0, 0};
    o.snapshot = snapshot;
    for (unsigned f = 0; f < filters; f++) {
        size_t matches[SOME];
        for (size_t q = 0; q < SOME; q++)
            matches[q] = find_truth(model, &filter[f], queries + q * DIM, truth[q]);
        for (int way = 0; way < (kind == PM_DERIVED_GRAPH ? 3 : 2); way++) {
            o.recall = way == 1 ? RECALL : 0;
            o.ef = way == 2 ? (f % 2 == 0 ? 100 : 3500) : 0;
            pomai_result *at_once = search_where(coll, filter[f].text, queries, SOME, k, &o);
            for (size_t q = 0; q < SOME; q++) {
                pomai_result *r = NULL;
                if (q == f % SOME) /* alone, too */
                    r = search_where(coll, filter[f].text, queries + q * DIM, 1, k, &o);
                if (way == 0) {
                    if (r != NULL) check_exact(r, 0, k, truth[q], matches[q]);
                    check_exact(at_once, q, k, truth[q], matches[q]);
                } else {
                    if (r != NULL) check_share(r, 0, k, model, &filter[f], truth[q], matches[q], found);
                    check_share(at_once, q, k, model, &filter[f], truth[q], matches[q], found);
                }
                pomai_result_free(r);
            }
            pomai_result_free(at_once);
        }
    }
    if ((double)found[0] < FLOOR * (double)found[1])
        fail_msg("k = %d: %zu of %zu (--seed %llu)", (int)k, found[0], found[1], (unsigned long long)seed);
}

/* ---- tests ---- */

/* A segment with the file of the kind, then rows in memory, then changes, then all of it read again. */
static void go_through_lives(const struct box *box)
{
    static struct row before[ALL];
    static uint64_t expiry[1000];
    pomai_error err;
    pomai_snapshot *snapshot;
    draw_rows();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_documents(coll, 0, ALL - 1500, NULL);
    build(db);
    if (kind != 0) assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    check_all(coll, rows, NULL, K);
    put_documents(coll, ALL - 1500, 1000, NULL);
    check_all(coll, rows, NULL, K);
    assert_ok(pomai_flush(db, &err));
    for (uint32_t i = ALL - 500; i < ALL; i += 50)
        put_documents(coll, i, i == ALL - 500 ? 1 : 50, NULL);
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    memcpy(before, rows, sizeof before);
    delete_rows(coll, 100, 2000);
    for (uint32_t i = 3000; i < 4000; i++)
        rows[i].n = NUMBERS - 1 - rows[i].n;
    put_documents(coll, 3000, 1000, NULL);
    for (uint32_t i = 0; i < 1000; i++)
        expiry[i] = i % 2 == 0 ? 0 : PAST;
    put_documents(coll, 5000, 1000, expiry);
    check_all(coll, rows, NULL, K);
    check_all(coll, before, snapshot, K);
    assert_ok(pomai_flush(db, &err));
    check_all(coll, rows, NULL, 300);
    check_all(coll, before, snapshot, 3);
    pomai_snapshot_close(snapshot);
    pomai_collection_close(coll);
    close_db(db);
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.flags = POMAI_OPEN_READONLY;
    db = open_db(box, &o);
    coll = have(db, "a");
    check_all(coll, rows, NULL, K);
    pomai_collection_close(coll);
    close_db(db);
}

static void without_indexes(void **state)
{
    build_only(0, 0);
    go_through_lives(*state);
}

static void with_codes(void **state)
{
    build_only(PM_DERIVED_CODES, LEAST_ROWS);
    go_through_lives(*state);
}

static void with_graphs(void **state)
{
    build_only(PM_DERIVED_GRAPH, LEAST_ROWS);
    go_through_lives(*state);
}

/* Where a walk fails it goes to codes. */
static void with_both(void **state)
{
    build_only(PM_DERIVED_GRAPH, LEAST_ROWS);
    pm_derive_least_rows[PM_DERIVED_CODES] = LEAST_ROWS;
    go_through_lives(*state);
}

static void with_columns(void **state)
{
    build_only(PM_DERIVED_COLUMNS, PM_COLUMNS_LEAST_ROWS);
    go_through_lives(*state);
}

static void with_all(void **state)
{
    for (uint32_t i = 1; i < PM_DERIVED_KINDS; i++)
        pm_derive_least_rows[i] = 2048;
    kind = PM_DERIVED_GRAPH;
    search_listed_forced = 1;
    go_through_lives(*state);
    search_listed_forced = 0;
}

/* What a plan says, up to the next comma. */
static bool plan_says(const pomai_result *r, const char *what)
{
    const char *plan = pomai_result_plan(r);
    assert_non_null(plan);
    return strstr(plan, what) != NULL;
}

/* Exact answers to some filters. *columns: whether columns told them. */
static void check_columns(pomai_collection *coll, const char *what, bool *columns)
{
    static struct hit truth[ALL];
    struct filter filter[32];
    const unsigned filters = make_filters(filter);
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.include = POMAI_INCLUDE_PLAN;
    for (unsigned f = 2; f < filters; f += 4) {
        const size_t matches = find_truth(rows, &filter[f], queries, truth);
        pomai_result *r = search_where(coll, filter[f].text, queries, 1, K, &o);
        if (pomai_result_count(r, 0) != (matches < K ? matches : K)) fail_msg("%s: %s", what, filter[f].text);
        check_exact(r, 0, K, truth, matches);
        *columns = plan_says(r, "\"judged_by\": \"columns\"");
        assert_true(!*columns || !plan_says(r, "\"documents_judged\": 0,")); /* some have a key twice */
        assert_true(!*columns || (plan_says(r, "\"columns\": 3,") && !plan_says(r, "\"open_rows\": 0,")));
        pomai_result_free(r);
    }
}

/* Puts the first ROWS rows; document i is {"of": i * times % of}. */
static void put_labelled(pomai_collection *coll, uint32_t times, uint32_t of)
{
    pomai_bytes *documents = calloc(ROWS, sizeof *documents);
    char(*text)[32] = calloc(ROWS, sizeof *text);
    for (uint32_t i = 0; i < ROWS; i++) {
        documents[i].size = (size_t)snprintf(text[i], sizeof text[i], "{\"of\": %u}", i * times % of);
        documents[i].data = text[i];
    }
    put_with_documents(coll, 0, ROWS, NULL, documents);
    free(documents);
    free(text);
}

/* Few matches are looked at by codes before their vectors: the answers are those of all vectors, and as exact. */
static void listed_rows_are_compared_by_codes(void **state)
{
    const struct box *box = *state;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    char filter[64];
    for (uint32_t i = 1; i < PM_DERIVED_KINDS; i++)
        pm_derive_least_rows[i] = i == PM_DERIVED_GRAPH ? UINT64_MAX : 2048;
    draw_rows();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_labelled(coll, 7919, ROWS);
    build(db);
    o.include = POMAI_INCLUDE_PLAN;
    search_listed_forced = 1;
    for (uint32_t i = 0; i < 4; i++) /* each checks a little of the file */
        pomai_result_free(search_where(coll, "{\"of\": 7}", queries, 1, K, &o));
    for (uint32_t i = 0; i < 100; i++) {
        const uint64_t n = 1 + i % 5, k = 1 + i % 23, matches = 1 + i * 37 % (i % 2 == 0 ? PM_JUDGE_FEW : ROWS / 6 - 1);
        const float *query = i % 2 == 0 ? queries + (size_t)(i % 30) * DIM : vectors + (size_t)(11 * i) * DIM;
        const bool some = i % 3 == 0, listed = matches <= PM_JUDGE_FEW;
        snprintf(filter, sizeof filter, "{\"of\": {\"$gte\": %u, \"$lt\": %llu}}", i * 30,
                 (unsigned long long)(i * 30 + matches));
        pomai_result *r[2];
        for (int codes = 0; codes < 2; codes++) {
            search_listed_forced = codes == 1 ? 1 : -1;
            o.recall = some && codes == 1 ? RECALL : 0;
            r[codes] = search_where(coll, filter, query, n, k, &o);
            assert_int_equal(plan_says(r[codes], "\"way\": \"codes, then vectors\""),
                             codes == 1 && (n < 5 || (some && !listed)));
        }
        for (uint64_t q = 0; q < n; q++) {
            const size_t found = pomai_result_count(r[0], q);
            pomai_verdict v;
            pomai_result_verdict(r[1], q, &v);
            assert_int_equal(v.completeness, POMAI_EXACT);
            assert_int_equal(v.rows_scanned, matches);
            assert_int_equal(pomai_result_count(r[1], q), found);
            assert_memory_equal(pomai_result_ids(r[1], q), pomai_result_ids(r[0], q), found * sizeof(uint64_t));
            assert_memory_equal(pomai_result_distances(r[1], q), pomai_result_distances(r[0], q),
                                found * sizeof(double));
        }
        pomai_result_free(r[0]);
        pomai_result_free(r[1]);
    }
    search_listed_forced = 0;
    pomai_collection_close(coll);
    close_db(db);
}

/* Rows in so many clusters that lie far apart, and queries from others than match: what codes are wrong by is then much
 * beside what tells the matches apart. Whether they went this way, which not every graph's calibration lets them. */
static bool check_far(const struct box *box, uint32_t also, pomai_metric metric, uint32_t clusters, float recall,
                      const char *way)
{
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT, all = POMAI_SEARCH_OPTIONS_INIT;
    struct t_rng r = t_rng_from(seed);
    float *centre = malloc((size_t)clusters * DIM * sizeof *centre);
    size_t found = 0, wanted = 0, went = 0;
    pm_derive_least_rows[PM_DERIVED_GRAPH] = UINT64_MAX;
    pm_derive_least_rows[PM_DERIVED_CODES] = pm_derive_least_rows[PM_DERIVED_COLUMNS] = 2048;
    pm_derive_least_rows[also] = 2048;
    draw_rows();
    for (uint32_t d = 0; d < clusters * DIM; d++)
        centre[d] = (t_unit_float(&r) - 0.5f) * 100;
    for (uint32_t i = 0; i < ROWS; i++)
        for (uint32_t d = 0; d < DIM; d++)
            vectors[(size_t)i * DIM + d] = centre[i % clusters * DIM + d] + (t_unit_float(&r) - 0.5f) * 3;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", metric);
    put_labelled(coll, 1, clusters);
    build(db);
    o.include = POMAI_INCLUDE_PLAN;
    o.recall = recall;
    for (uint32_t i = 0; i < 100; i++) {
        const float *query = vectors + (size_t)(clusters * i + 1 + i % (clusters - 1)) * DIM;
        pomai_result *some = search_where(coll, "{\"of\": 0}", query, 1, K, &o);
        pomai_result *best = search_where(coll, "{\"of\": 0}", query, 1, K, &all);
        const double *distance = pomai_result_distances(some, 0), *least = pomai_result_distances(best, 0);
        went += plan_says(some, way);
        pomai_verdict v;
        pomai_result_verdict(some, 0, &v);
        assert_int_equal(v.rows_visible, (ROWS - 1) / clusters + 1);
        assert_int_equal(pomai_result_count(some, 0), K);
        for (size_t j = 0; j < K; j++) {
            found += distance[j] <= least[K - 1];
            if (j > 0) assert_int_not_equal(pomai_result_ids(some, 0)[j], pomai_result_ids(some, 0)[j - 1]);
        }
        wanted += K;
        pomai_result_free(some);
        pomai_result_free(best);
    }
    if ((float)found < recall * (float)wanted)
        fail_msg("%zu of %zu (--seed %llu)", found, wanted, (unsigned long long)seed);
    free(centre);
    pomai_collection_close(coll);
    close_db(db);
    assert_true(went == 0 || went == 100);
    return went > 0;
}

static void far_matches_are_found_by_codes(void **state)
{
    assert_true(check_far(*state, PM_DERIVED_CODES, POMAI_METRIC_L2, 4, RECALL, "\"way\": \"codes\""));
}

/* How well hot codes tell such rows apart differs from graph to graph. */
static void far_matches_are_found_in_graphs(void **state)
{
    const struct box *box = *state;
    bool went = T_ONE_IN > 1; /* then there is only one */
    for (uint32_t i = 0; i < 6 / T_ONE_IN + 1; i++) {
        went |= check_far(box, PM_DERIVED_GRAPH, POMAI_METRIC_IP, 4 + i % 4, 0.8f, "\"way\": \"codes of matches\"");
        t_remove(box->db);
    }
    assert_true(went);
}

/* Rows of which every other one matches: these are near multiples of one vector. */
struct multiples {
    uint32_t rows, dim, asked;
    float own; /* of each, beside what they have in common */
};

static void put_multiples(pomai_collection *coll, const struct multiples *m, struct t_rng *r)
{
    pomai_error err;
    pomai_batch batch = POMAI_BATCH_INIT;
    float one[32], *some = malloc((size_t)m->rows * m->dim * sizeof *some);
    pomai_bytes *documents = calloc(m->rows, sizeof *documents);
    for (uint32_t d = 0; d < m->dim; d++)
        one[d] = t_unit_float(r) - 0.5f;
    for (uint32_t i = 0; i < m->rows; i++) {
        const float by = 0.2f + 2.8f * t_unit_float(r);
        for (uint32_t d = 0; d < m->dim; d++) {
            const float own = t_unit_float(r) - 0.5f;
            some[(size_t)i * m->dim + d] = (i % 2 == 0 ? one[d] + own * m->own : own) * by;
        }
        documents[i] = (pomai_bytes){i % 2 == 0 ? "{\"of\": 0}" : "{\"of\": 1}", 9};
    }
    batch.rows = m->rows;
    batch.dim = m->dim;
    batch.vectors = some;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    free(documents);
    free(some);
}

static float nearest_multiple(pomai_collection *coll, const float *query, uint32_t dim, float recall)
{
    static const char filter[] = "{\"of\": 0}";
    pomai_error err;
    pomai_result *result;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = recall;
    o.filter = filter;
    o.filter_size = sizeof filter - 1;
    assert_ok(pomai_search(coll, query, 1, dim, 1, &o, &result, &err));
    assert_int_equal(pomai_result_count(result, 0), 1);
    const float distance = (float)pomai_result_distances(result, 0)[0];
    pomai_result_free(result);
    return distance;
}

/*
 * Most queries are nearly orthogonal to that vector: by inner product these have the matches in an order that hot codes
 * hardly tell. One nearest says little of that; more of them do.
 */
static size_t find_multiples(const struct box *box, struct t_rng *r, const struct multiples *m)
{
    float query[32];
    size_t found = 0;
    for (uint32_t i = 0; i < PM_DERIVED_KINDS; i++)
        pm_derive_least_rows[i] = 2048;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "a", m->dim, POMAI_METRIC_IP, POMAI_ID_U64);
    put_multiples(coll, m, r);
    build(db);
    for (uint32_t i = 0; i < m->asked; i++) {
        for (uint32_t d = 0; d < m->dim; d++)
            query[d] = t_unit_float(r) - 0.5f;
        found += nearest_multiple(coll, query, m->dim, 0.95f) <= nearest_multiple(coll, query, m->dim, 0);
    }
    pomai_collection_close(coll);
    close_db(db);
    t_remove(box->db);
    return found;
}

/* How many are missed where one tells all differs from graph to graph: 0 to 60 in 300. */
static void the_nearest_of_multiples_is_found(void **state)
{
    static const struct multiples few = {ROWS, DIM, 300, 0.1f};
    struct t_rng r = t_rng_from(seed);
    size_t found = 0, asked = 0;
    for (uint32_t i = 0; i < 6 / T_ONE_IN + 1; i++, asked += few.asked)
        found += find_multiples(*state, &r, &few);
    if (found < asked * 990 / 1000) fail_msg("%zu of %zu (--seed %llu)", found, asked, (unsigned long long)seed);
}

/* Among so many a walk meets too few, and what comes instead of it is judged as if there had been none. */
static void the_nearest_of_many_multiples_is_found(void **state)
{
    static const struct multiples many = {20000, 32, 300, 0.03f};
    struct t_rng r = t_rng_from(seed);
    size_t found = 0, asked = 0;
    for (uint32_t i = 0; i < 3; i++, asked += many.asked)
        found += find_multiples(*state, &r, &many);
    if (found < asked * 990 / 1000) fail_msg("%zu of %zu (--seed %llu)", found, asked, (unsigned long long)seed);
}

/* Columns that were damaged, cut or are another segment's are passed over, and the answers stay what they are. */
static void damaged_columns_are_passed_over(void **state)
{
    const struct box *box = *state;
    char path[T_PATH_MAX], what[80];
    bool columns;
    pomai_error err;
    pomai_open_options readonly = POMAI_OPEN_OPTIONS_INIT;
    readonly.flags = POMAI_OPEN_READONLY;
    build_only(PM_DERIVED_COLUMNS, PM_COLUMNS_LEAST_ROWS);
    draw_rows();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_documents(coll, 0, ROWS, NULL);
    build(db);
    check_columns(coll, "whole", &columns);
    assert_true(columns);
    pomai_collection_close(coll);
    close_db(db);
    path_of(box, "*", path);
    const struct file good = load(path);
    struct t_rng r = t_rng_from(seed);
    for (int i = 0; i < 60; i++) {
        struct file f = load(path);
        const size_t at = i < 20 ? t_below(&r, 512) : t_below(&r, f.size);
        snprintf(what, sizeof what, "byte %zu of %zu, way %d (--seed %llu)", at, f.size, i % 4,
                 (unsigned long long)seed);
        f.bytes[at] ^= (uint8_t)(1u << t_below(&r, 8));
        if (i % 4 == 3) mend(f);
        store(path, f.bytes, i % 4 == 2 ? at : f.size);
        db = open_db(box, &readonly);
        coll = have(db, "a");
        check_columns(coll, what, &columns);
        pomai_collection_close(coll);
        close_db(db);
        store(path, good.bytes, good.size);
        free(f.bytes);
    }
    free(good.bytes);
    assert_int_equal(truncate(path, 1000), 0);
    db = open_db(box, NULL);
    coll = have(db, "a");
    assert_ok(pomai_build_indexes(db, NULL, &err));
    check_columns(coll, "built again", &columns);
    assert_true(columns);
    pomai_collection_close(coll);
    close_db(db);
}

/* All that is near the queries does not match: a walk meets many rows before it comes to one that does. */
static void far_matches_are_found(void **state)
{
    static struct hit truth[ALL];
    const struct box *box = *state;
    struct filter filter = {"", at_above, 0};
    size_t found[2] = {0, 0};
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    build_only(PM_DERIVED_GRAPH, LEAST_ROWS);
    draw_rows();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_documents(coll, 0, ALL, NULL);
    build(db);
    const int32_t low = quantile(20);
    filter.x = quantile(600);
    snprintf(filter.text, sizeof filter.text, "{\"at\": {\"$gt\": %d}}", filter.x);
    o.recall = RECALL;
    for (uint32_t i = 0; i < ALL; i++) {
        if (rows[i].at >= low) continue;
        const float *query = vectors + (size_t)i * DIM;
        const size_t matches = find_truth(rows, &filter, query, truth);
        pomai_result *r = search_where(coll, filter.text, query, 1, K, &o);
        check_share(r, 0, K, rows, &filter, truth, matches, found);
        pomai_result_free(r);
    }
    if ((double)found[0] < FLOOR * (double)found[1]) fail_msg("%zu of %zu", found[0], found[1]);
    pomai_collection_close(coll);
    close_db(db);
}

static void a_filter_is_refused_by_its_path(void **state)
{
    static const struct {
        const char *text, *says;
        pomai_status status;
    } bad[] = {
        {"", "filter", POMAI_EINVAL},
        {"{", "filter", POMAI_EINVAL},
        {"[]", "filter: wants an object", POMAI_EINVAL},
        {"{\"a\": {\"$regex\": 1}}", "filter: a.$regex", POMAI_EINVAL},
        {"{\"$and\": [{}, {\"price\": {\"$gt\": {}}}]}", "filter: $and[1].price.$gt", POMAI_EINVAL},
    };
    const struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    pomai_db *db = open_db(box, NULL);
    draw_rows();
    for (int made = 0; made < 2; made++) { /* `default` is there, or not yet */
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            o.filter = bad[i].text;
            o.filter_size = strlen(bad[i].text);
            assert_refused(pomai_search(pomai_default(db), queries, 1, DIM, K, &o, &result, &err), bad[i].status,
                           bad[i].says);
            assert_null(result);
        }
        char deep[600] = "";
        for (int i = 0; i < 33; i++)
            strcat(deep, "{\"$not\": ");
        strcat(deep, "{\"a\": 1}");
        for (int i = 0; i < 33; i++)
            strcat(deep, "}");
        o.filter = deep;
        o.filter_size = strlen(deep);
        assert_refused(pomai_search(pomai_default(db), queries, 1, DIM, K, &o, &result, &err), POMAI_ETOOBIG, "filter");
        o.filter = "{\"a\": 1}";
        o.filter_size = 8;
        assert_ok(pomai_search(pomai_default(db), queries, 1, DIM, K, &o, &result, &err));
        assert_int_equal(pomai_result_count(result, 0), 0);
        pomai_result_free(result);
        put(pomai_default(db), 0, 100, NULL); /* without a document */
    }
    pomai_result *r = search_where(pomai_default(db), "{\"a\": {\"$ne\": 1}}", queries, 1, K, &o);
    assert_int_equal(pomai_result_count(r, 0), K);
    pomai_result_free(r);
    assert_ok(pomai_flush(db, &err));
    r = search_where(pomai_default(db), "{\"a\": {\"$ne\": 1}}", queries, 1, 1000, &o);
    assert_int_equal(pomai_result_count(r, 0), 100);
    pomai_result_free(r);
    r = search_where(pomai_default(db), "{\"a\": 1}", queries, 1, K, &o);
    assert_int_equal(pomai_result_count(r, 0), 0);
    pomai_result_free(r);
    close_db(db);
}

static void string_ids_are_filtered(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    enum { FEW = 500 };
    static pomai_bytes names[FEW], documents[FEW];
    static char name[FEW][16], text[FEW][80];
    struct hit truth[ALL];
    const struct filter filter = {"{\"n\": {\"$lt\": 3000}}", n_below, 3000};
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    draw_rows();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "s", DIM, POMAI_METRIC_L2, POMAI_ID_STRING);
    for (uint32_t i = 0; i < FEW; i++) {
        snprintf(name[i], sizeof name[i], "row-%04u", i);
        names[i] = (pomai_bytes){name[i], strlen(name[i])};
        documents[i] = document_of(i, text[i]);
        rows[i].there = true;
    }
    batch.rows = FEW;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.string_ids = names;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    const size_t matches = find_truth(rows, &filter, queries, truth);
    o.include = POMAI_INCLUDE_DOCUMENTS;
    for (int flushed = 0; flushed < 2; flushed++) {
        pomai_result *r = search_where(coll, filter.text, queries, 1, FEW, &o);
        assert_int_equal(pomai_result_count(r, 0), matches);
        for (size_t i = 0; i < matches; i++) {
            const pomai_bytes id = pomai_result_string_id(r, 0, i), document = pomai_result_document(r, 0, i);
            assert_int_equal(t_compare_bytes(id, names[truth[i].id]), 0);
            assert_int_equal(t_compare_bytes(document, documents[truth[i].id]), 0);
        }
        pomai_result_free(r);
        assert_ok(pomai_flush(db, &err));
    }
    pomai_collection_close(coll);
    close_db(db);
}

static void deadlines_end_it(void **state)
{
    const struct box *box = *state;
    const int cancelled = 1;
    pomai_error err;
    pomai_snapshot *snapshot;
    pomai_verdict v;
    draw_rows();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_documents(coll, 0, ROWS, NULL);
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    for (int way = 0; way < 12; way++) {
        pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
        if (way == 4) delete_rows(coll, 0, ROWS); /* the snapshot still shows them */
        if (way == 8) assert_ok(pomai_flush(db, &err));
        o.snapshot = snapshot;
        if (way % 2 == 0)
            o.deadline_us = 0;
        else
            o.cancel = &cancelled;
        o.recall = way % 4 < 2 ? 0 : RECALL;
        pomai_result *r = search_where(coll, "{\"n\": {\"$exists\": true}}", queries, SOME, K, &o);
        for (size_t q = 0; q < SOME; q++) {
            pomai_result_verdict(r, q, &v);
            assert_int_equal(v.completeness, POMAI_CUT);
            assert_int_equal(v.fewer, POMAI_FEWER_DEADLINE);
            assert_true(v.rows_visible > ROWS / 2);
            assert_int_equal(pomai_result_count(r, q), 0);
        }
        pomai_result_free(r);
    }
    pomai_snapshot_close(snapshot);
    pomai_collection_close(coll);
    close_db(db);
}

static uint32_t asked, ends_at;

static bool ends(const void *context)
{
    (void)context;
    return ++asked >= ends_at;
}

/* A database with one segment, and columns that leave every row to its document. */
static pomai_db *with_long_strings(const struct box *box)
{
    static pomai_bytes documents[ROWS];
    pomai_error err;
    char text[200];
    const int size = snprintf(text, sizeof text, "{\"p\": \"%0150d\"}", 7);
    pomai_batch batch = POMAI_BATCH_INIT;
    build_only(PM_DERIVED_COLUMNS, PM_COLUMNS_LEAST_ROWS);
    draw_all();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    for (uint32_t i = 0; i < ROWS; i++)
        documents[i] = (pomai_bytes){text, (size_t)size};
    batch.rows = ROWS;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    build(db);
    assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    pomai_collection_close(coll);
    return db;
}

/* Judges all rows of a database, ended in turn at each time that it is asked whether it is over; gives how often. */
static uint32_t end_at_each(pomai_db *db, const char *text, uint64_t matches)
{
    const pm_read latest = {0};
    pomai_error err;
    pm_filter *filter;
    pm_view view;
    assert_ok(pm_filter_parse(text, strlen(text), &filter, &err));
    const pm_epoch_hold hold = pm_db_take_view(db, pm_db_find(db, "a"), &latest, &view);
    const pm_judge_how how = {&view, filter, db->simd, NULL, ends, NULL, false};
    uint32_t all = 0;
    for (uint32_t turn = 0; turn < 2 || turn - 1 <= all; turn++) {
        pm_judgement *judged;
        ends_at = turn < 2 ? UINT32_MAX : turn - 1; /* at first the file is checked, too */
        asked = 0;
        assert_ok(pm_judge_all(&how, &judged, &err));
        if (turn == 1) all = asked;
        assert_true(judged->whole == (asked < ends_at));
        assert_int_equal(judged->matches, judged->whole ? matches : 0);
        assert_true(judged->source[0].by.columns || !judged->whole);
        pm_judgement_free(judged);
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    pm_filter_free(filter);
    return all;
}

/* Then it is asked as often as without columns whether it is over. */
static void open_rows_end_at_deadlines(void **state)
{
    pomai_db *db = with_long_strings(*state);
    assert_true(end_at_each(db, "{\"p\": {\"$contains\": \"07\"}}", ROWS) >= ROWS / 1024);
    close_db(db);
}

/* Neither a list of few rows, of which many are gone, nor bits of all. */
static void what_is_cut_short_is_not_whole(void **state)
{
    enum { FEW = 60, GONE = 50, TERMS = 1000 };
    static char text[TERMS * 32];
    build_only(PM_DERIVED_COLUMNS, PM_COLUMNS_LEAST_ROWS);
    draw_all();
    pomai_db *db = open_db(*state, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_labelled(coll, 1, ROWS);
    build(db);
    /* when columns are looked up and when they are matched, at least */
    assert_true(end_at_each(db, "{\"of\": {\"$gte\": 2000}}", ROWS - 2000) >= 2);
    delete_rows(coll, 0, GONE);
    char *p = text + sprintf(text, "{\"of\": {\"$lt\": %u}, \"$not\": {\"$or\": [", FEW);
    for (unsigned i = 0; i < TERMS; i++)
        p += sprintf(p, "%s{\"of\": {\"$gt\": %u}}", i == 0 ? "" : ",", ROWS + i);
    sprintf(p, "]}}");
    assert_true(end_at_each(db, text, FEW - GONE) >= FEW * TERMS / 5000);
    pomai_collection_close(coll);
    close_db(db);
}

/* A database that is closed again, with a graph over rows and their documents. */
static void make_indexed(const struct box *box, bool columns)
{
    build_only(PM_DERIVED_GRAPH, LEAST_ROWS);
    if (columns) pm_derive_least_rows[PM_DERIVED_COLUMNS] = PM_COLUMNS_LEAST_ROWS;
    draw_rows();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_documents(coll, 0, ROWS, NULL);
    build(db);
    pomai_collection_close(coll);
    close_db(db);
}

/* A search that does not read documents shows the rows; one that judges them says where the damage is. */
static void damaged_documents_are_told_of(void **state)
{
    const struct box *box = *state;
    char command[T_PATH_MAX + 100], path[T_PATH_MAX];
    pomai_error err;
    pomai_result *result;
    make_indexed(box, false);
    snprintf(command, sizeof command, "ls %s/collections/*/segments/*/attributes.arrow", box->db);
    FILE *pipe = popen(command, "r");
    assert_non_null(fgets(path, sizeof path, pipe));
    pclose(pipe);
    path[strcspn(path, "\n")] = '\0';
    const struct file good = load(path);
    const char *at = memmem(good.bytes, good.size, "\"n\": ", 5);
    assert_non_null(at);
    const size_t first = (size_t)((const uint8_t *)at - good.bytes);
    for (int way = 0; way < 2; way++) { /* one of the first documents, one of the last */
        struct file f = load(path);
        f.bytes[way == 0 ? first : f.size - 2000] ^= 1;
        store(path, f.bytes, f.size);
        free(f.bytes);
        pomai_open_options open = POMAI_OPEN_OPTIONS_INIT;
        open.flags = POMAI_OPEN_READONLY;
        pomai_db *db = open_db(box, &open);
        pomai_collection *coll = have(db, "a");
        pomai_result_free(search(coll, queries, 1, K, 0, NULL));
        for (int share = 0; share < 2; share++) {
            pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
            o.filter = "{\"n\": {\"$lt\": 6000}}";
            o.filter_size = strlen(o.filter);
            o.recall = share == 0 ? 0 : RECALL;
            assert_refused(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err), POMAI_ECORRUPT,
                           "attributes.arrow");
            assert_null(result);
        }
        pomai_collection_close(coll);
        close_db(db);
        store(path, good.bytes, good.size);
    }
    free(good.bytes);
}

/* Rows that columns leave to their documents: these are read when a scan comes to them, and not all at the first. */
static void scans_read_documents_when_they_come_to_them(void **state)
{
    const struct box *box = *state;
    char command[T_PATH_MAX + 100], path[T_PATH_MAX];
    pomai_error err;
    pomai_scan *scan;
    pomai_rows *some;
    pomai_open_options readonly = POMAI_OPEN_OPTIONS_INIT;
    pomai_scan_options o = POMAI_SCAN_OPTIONS_INIT;
    readonly.flags = POMAI_OPEN_READONLY;
    o.include = 0;
    o.filter = "{\"p\": {\"$contains\": \"07\"}}";
    o.filter_size = strlen(o.filter);
    close_db(with_long_strings(box));
    snprintf(command, sizeof command, "ls %s/collections/*/segments/*/attributes.arrow", box->db);
    FILE *pipe = popen(command, "r");
    assert_non_null(fgets(path, sizeof path, pipe));
    pclose(pipe);
    path[strcspn(path, "\n")] = '\0';
    struct file f = load(path);
    f.bytes[f.size - 2000] ^= 1; /* of the last documents */
    store(path, f.bytes, f.size);
    free(f.bytes);
    pomai_db *db = open_db(box, &readonly);
    pomai_collection *coll = have(db, "a");
    assert_ok(pomai_scan_open(coll, &o, &scan, &err));
    assert_ok(pomai_scan_next(scan, 100, &some, &err));
    assert_int_equal(pomai_rows_count(some), 100);
    pomai_rows_free(some);
    assert_refused(pomai_scan_next(scan, ROWS, &some, &err), POMAI_ECORRUPT, "attributes.arrow");
    assert_null(some);
    pomai_scan_close(scan);
    pomai_collection_close(coll);
    close_db(db);
}

/* Each allocation of a search fails once: it is refused as a whole, and leaks nothing. */
static void no_memory_is_said(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    pomai_open_options open = POMAI_OPEN_OPTIONS_INIT;
    make_indexed(box, true);
    open.flags = POMAI_OPEN_READONLY;
    open.search_threads = UINT32_MAX; /* nobody else allocates */
    pomai_db *db = open_db(box, &open);
    pomai_collection *coll = have(db, "a");
    o.filter = "{\"n\": {\"$lt\": 5000}}";
    o.filter_size = strlen(o.filter);
    for (int way = 0; way < 4; way++) {
        pomai_status status = POMAI_ENOMEM;
        o.recall = way % 2 == 0 ? 0 : RECALL;
        o.include = way < 2 ? 0 : POMAI_INCLUDE_PLAN;
        for (uint64_t i = 1; i < 100 && status != POMAI_OK; i++) {
            allocations = 0;
            fails_at = i;
            pm_malloc_fails = fails;
            status = pomai_search(coll, queries, 1, DIM, K, &o, &result, &err);
            pm_malloc_fails = NULL;
            if (status != POMAI_OK) assert_int_equal(status, POMAI_ENOMEM);
            if (status != POMAI_OK) assert_null(result);
        }
        assert_int_equal(status, POMAI_OK);
        assert_true(allocations > 5);
        assert_int_equal(pomai_result_count(result, 0), K);
        pomai_result_free(result);
    }
    pomai_collection_close(coll);
    close_db(db);
}

/* Searches with a filter are watched by themselves, with their filter. */
static void each_kind_has_its_watch(void **state)
{
    static const char filter[] = "{\"n\": {\"$lt\": 6000}}";
    static char longer[PM_WATCH_FILTER + sizeof filter];
    const struct box *box = *state;
    draw_rows();
    pomai_open_options open = POMAI_OPEN_OPTIONS_INIT;
    open.watch_share = UINT64_MAX; /* nobody takes it away */
    pomai_db *db = open_db(box, &open);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put_documents(coll, 0, 100, NULL);
    pm_watch *all = &pm_db_find(db, "a")->watch[PM_WATCH_ALL], *filtered = &all[PM_WATCH_FILTERED];
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = RECALL;
    memset(longer, ' ', sizeof longer - 1);
    memcpy(longer, filter, sizeof filter - 1);
    pomai_result_free(search(coll, queries, 1, K, RECALL, NULL));
    pomai_result_free(search_where(coll, longer, queries, 1, K, &o));
    assert_int_equal(atomic_load(&all->state), PM_WATCH_IDLE);
    assert_int_equal(atomic_load(&filtered->state), PM_WATCH_UNASKED);
    pomai_result_free(search_where(coll, filter, queries, 1, K, &o));
    assert_int_equal(atomic_load(&filtered->state), PM_WATCH_IDLE);
    for (int i = 0; i < PM_WATCH_KINDS; i++) {
        all[i].vector = pm_malloc(DIM * sizeof(float) + PM_WATCH_FILTER);
        all[i].filter = (char *)(all[i].vector + DIM);
        atomic_store(&all[i].state, PM_WATCH_WANTED);
    }
    pomai_result_free(search_where(coll, longer, queries, 1, K, &o));
    assert_int_equal(atomic_load(&all->state), PM_WATCH_WANTED);
    assert_int_equal(atomic_load(&filtered->state), PM_WATCH_WANTED);
    pomai_result_free(search_where(coll, filter, queries, 1, K, &o));
    assert_int_equal(atomic_load(&all->state), PM_WATCH_WANTED);
    assert_int_equal(atomic_load(&filtered->state), PM_WATCH_TAKEN);
    assert_int_equal(filtered->filter_size, sizeof filter - 1);
    assert_memory_equal(filtered->filter, filter, sizeof filter - 1);
    atomic_store(&filtered->state, PM_WATCH_IDLE);
    pomai_result_free(search_where(coll, "{}", queries, 1, K, &o));
    assert_int_equal(atomic_load(&all->state), PM_WATCH_TAKEN);
    atomic_store(&all->state, PM_WATCH_WANTED);
    pomai_result_free(search(coll, queries, 1, K, RECALL, NULL));
    assert_int_equal(atomic_load(&all->state), PM_WATCH_TAKEN);
    pomai_collection_close(coll);
    close_db(db);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest of_threads[] = {
        BOXED(without_indexes), /* judging and comparing are shared out */
        BOXED(deadlines_end_it),
    };
    const struct CMUnitTest of_recall[] = {
        BOXED(the_nearest_of_many_multiples_is_found),
    };
    const struct CMUnitTest tests[] = {
        BOXED(with_codes),
        BOXED(with_graphs),
        BOXED(with_both),
        BOXED(with_columns),
        BOXED(with_all),
        BOXED(listed_rows_are_compared_by_codes),
        BOXED(far_matches_are_found_by_codes),
        BOXED(far_matches_are_found_in_graphs),
        BOXED(the_nearest_of_multiples_is_found),
        BOXED(damaged_columns_are_passed_over),
        BOXED(far_matches_are_found),
        BOXED(a_filter_is_refused_by_its_path),
        BOXED(string_ids_are_filtered),
        BOXED(open_rows_end_at_deadlines),
        BOXED(what_is_cut_short_is_not_whole),
        BOXED(damaged_documents_are_told_of),
        BOXED(scans_read_documents_when_they_come_to_them),
        BOXED(no_memory_is_said),
        BOXED(each_kind_has_its_watch),
    };
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--seed") == 0) seed = box_seed = strtoull(argv[i + 1], NULL, 10);
    int failed = 0;
#ifdef __SANITIZE_THREAD__ /* builds are slow in it */
    (void)tests;
#else
    failed = cmocka_run_group_tests(tests, NULL, NULL);
#endif
    if (T_ONE_IN == 1) failed += cmocka_run_group_tests(of_recall, NULL, NULL); /* sanitizers know nothing of that */
    return failed + cmocka_run_group_tests(of_threads, NULL, NULL);
}
