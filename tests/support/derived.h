/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of derived files share (codes, graphs): rows, searches that are compared with the truth, and what is
 * done to a file of a kind. Each test sets `kind`, and which kinds are built. Needs cmocka.
 */
#ifndef T_DERIVED_H
#define T_DERIVED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/rng.h"
#include "../support/scenario.h"
#include "base/base.h"
#include "core/engine/engine.h"
#include "index/graph/graph.h"
#include "storage/derived/derived.h"
#include "storage/format.h"
#include "support/one_in.h"

#ifndef T_ROWS
#define T_ROWS 6000
#endif
enum { DIM = 24, ROWS = T_ROWS, QUERIES = 40, K = 10, LEAST_ROWS = ROWS * 2 / 3 + 96 };
_Static_assert(ROWS != 6000 || LEAST_ROWS == PM_GRAPH_LEAST_ROWS, "as it is shipped");
#define RECALL 0.9f
#define FLOOR  0.85 /* of the mean over QUERIES */

static float vectors[2 * ROWS * DIM], queries[QUERIES * DIM];
static uint64_t ids[2 * ROWS], expiries[2 * ROWS];
static uint32_t kind; /* of the files that are looked at */

/* Segments of so many rows get files of this kind, and none of another. */
static inline void build_only(uint32_t wanted, uint64_t least_rows)
{
    kind = wanted;
    for (uint32_t i = 1; i < PM_DERIVED_KINDS; i++)
        pm_derive_least_rows[i] = i == wanted ? least_rows : UINT64_MAX;
}

/* A few clusters: not all distances alike. */
static inline void draw(float *to, uint64_t n, struct t_rng *r)
{
    static float centre[16][DIM];
    static bool drawn;
    for (size_t c = 0; c < 16 && !drawn; c++)
        for (size_t d = 0; d < DIM; d++)
            centre[c][d] = t_unit_float(r) * 3;
    drawn = true;
    for (uint64_t i = 0; i < n; i++) {
        const float *at = centre[t_below(r, 16)];
        for (size_t d = 0; d < DIM; d++)
            to[i * DIM + d] = at[d] + t_unit_float(r);
    }
}

static inline void draw_all(void)
{
    struct t_rng r = t_rng_from(11);
    draw(vectors, 2 * ROWS, &r);
    draw(queries, QUERIES, &r);
    for (uint64_t i = 0; i < 2 * ROWS; i++)
        ids[i] = i;
}

/* The same rows, as int8 takes them. */
static inline void draw_integers(void)
{
    for (size_t i = 0; i < 2 * ROWS * DIM; i++)
        vectors[i] = (float)(int)(vectors[i] * 30);
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = (float)(int)(queries[i] * 30);
}

static inline pomai_collection *make_typed(pomai_db *db, const char *name, pomai_metric metric, pomai_dtype dtype)
{
    pomai_error err;
    pomai_collection *coll;
    pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
    o.dim = DIM;
    o.metric = metric;
    o.dtype = dtype;
    assert_ok(pomai_collection_create(db, name, &o, &coll, &err));
    return coll;
}

static inline pomai_collection *make(pomai_db *db, const char *name, pomai_metric metric)
{
    return make_typed(db, name, metric, POMAI_DTYPE_FLOAT32);
}

static inline pomai_collection *have(pomai_db *db, const char *name)
{
    pomai_error err;
    pomai_collection *coll;
    assert_ok(pomai_collection_open(db, name, &coll, &err));
    return coll;
}

static inline void put_with_documents(pomai_collection *coll, uint64_t first, uint64_t rows, const uint64_t *expiry,
                                      const pomai_bytes *documents)
{
    pomai_error err;
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = rows;
    batch.dim = DIM;
    batch.vectors = vectors + first * DIM;
    batch.u64_ids = ids + first;
    batch.expiry_ns = expiry;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
}

static inline void put(pomai_collection *coll, uint64_t first, uint64_t rows, const uint64_t *expiry)
{
    put_with_documents(coll, first, rows, expiry, NULL);
}

static inline void build(pomai_db *db)
{
    pomai_error err;
    assert_ok(pomai_flush(db, &err));
    assert_ok(pomai_build_indexes(db, NULL, &err));
}

/* A figure, of the kind where `name` has %s. */
static inline double stat_of(pomai_db *db, const char *name)
{
    pomai_error err;
    char *json, wanted[80] = "\"";
    assert_ok(pomai_stats(db, &json, &err));
    const char *of_kind = strstr(name, "%s");
    const int before = of_kind == NULL ? (int)strlen(name) : (int)(of_kind - name);
    snprintf(wanted, sizeof wanted, "\"%.*s%s%s\": ", before, name, of_kind == NULL ? "" : pm_derived_name(kind),
             of_kind == NULL ? "" : of_kind + 2);
    const char *at = strstr(json, wanted);
    if (at == NULL) fail_msg("no %s in %s", name, json);
    const double value = strtod(at + strlen(wanted), NULL);
    pomai_free(json);
    return value;
}

static inline pomai_result *search(pomai_collection *coll, const float *query, uint64_t n, uint64_t k, float recall,
                                   const pomai_snapshot *snapshot)
{
    pomai_error err;
    pomai_result *result;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = recall;
    o.snapshot = snapshot;
    assert_ok(pomai_search(coll, query, n, DIM, k, &o, &result, &err));
    return result;
}

static inline size_t common(const pomai_result *a, size_t p, const pomai_result *b, size_t q)
{
    size_t n = 0;
    for (size_t i = 0; i < pomai_result_count(a, p); i++)
        for (size_t j = 0; j < pomai_result_count(b, q); j++)
            n += pomai_result_ids(a, p)[i] == pomai_result_ids(b, q)[j];
    return n;
}

/* The first so many queries, each alone; how many answers were approximate. */
static inline unsigned check_recall_of(size_t asked, pomai_collection *coll, uint64_t k, const pomai_snapshot *snapshot)
{
    unsigned approximate = 0;
    size_t found = 0, wanted = 0;
    pomai_result *truth = search(coll, queries, asked, k, 0, snapshot);
    for (size_t q = 0; q < asked; q++) {
        pomai_verdict v;
        pomai_result *r = search(coll, queries + q * DIM, 1, k, RECALL, snapshot);
        pomai_result_verdict(r, 0, &v);
        assert_int_equal(pomai_result_count(r, 0), pomai_result_count(truth, q)); /* never fewer */
        assert_true(v.expected_recall >= (double)RECALL - 1e-6 && v.expected_recall <= 1);
        assert_true(v.rows_scanned <= v.rows_visible);
        approximate += v.completeness == POMAI_APPROXIMATE;
        if (v.completeness == POMAI_EXACT) assert_int_equal(common(r, 0, truth, q), pomai_result_count(truth, q));
        found += common(r, 0, truth, q);
        wanted += pomai_result_count(truth, q);
        pomai_result_free(r);
    }
    pomai_result_free(truth);
    if ((double)found < FLOOR * (double)wanted) fail_msg("recall %zu of %zu", found, wanted);
    return approximate;
}

static inline unsigned check_recall(pomai_collection *coll, uint64_t k, const pomai_snapshot *snapshot)
{
    return check_recall_of(QUERIES, coll, k, snapshot);
}

/* Calls of every few numbers of queries: each finds its share of the nearest. */
static inline void check_groups(pomai_collection *coll)
{
    for (uint64_t n = 1; n <= QUERIES; n += 3) {
        pomai_result *truth = search(coll, queries, n, K, 0, NULL);
        pomai_result *r = search(coll, queries, n, K, RECALL, NULL);
        size_t found = 0;
        for (size_t q = 0; q < n; q++) {
            assert_int_equal(pomai_result_count(r, q), K);
            found += common(r, q, truth, q);
        }
        if ((double)found < FLOOR * (double)(n * K)) fail_msg("%zu of %zu", found, (size_t)n * K);
        pomai_result_free(truth);
        pomai_result_free(r);
    }
}

/* A database with one collection of ROWS rows in one segment, which has a file of the kind. */
static inline pomai_db *with_file(const struct box *box, pomai_metric metric)
{
    draw_all();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", metric);
    put(coll, 0, ROWS, NULL);
    build(db);
    assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    pomai_collection_close(coll);
    return db;
}

/* Rows in a few clusters far apart, or (0) in one, and queries far from all of them: what calibration saw says nothing
 * about these. filter: that all rows match, or NULL. */
static inline void check_unlike(const struct box *box, uint32_t clusters, const char *filter)
{
    enum { UNLIKE = 400 };
    struct t_rng r = t_rng_from(12);
    float centre[8][DIM] = {{0}}, query[DIM];
    size_t found = 0;
    assert_true(clusters <= 8);
    draw_all();
    for (uint32_t c = 0; c < clusters; c++)
        for (uint32_t d = 0; d < DIM; d++)
            centre[c][d] = (t_unit_float(&r) - 0.5f) * 100;
    for (uint32_t i = 0; i < ROWS; i++)
        for (uint32_t d = 0; d < DIM; d++) {
            const float bell = t_unit_float(&r) + t_unit_float(&r) + t_unit_float(&r) + t_unit_float(&r) - 2;
            vectors[(size_t)i * DIM + d] = centre[clusters == 0 ? 0 : i % clusters][d] + bell;
        }
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put(coll, 0, ROWS, NULL);
    build(db);
    for (uint32_t i = 0; i < UNLIKE; i++) {
        for (uint32_t d = 0; d < DIM; d++)
            query[d] = (t_unit_float(&r) - 0.5f) * 1000;
        pomai_result *best = search(coll, query, 1, K, 0, NULL), *some;
        pomai_verdict v;
        pomai_error err;
        pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
        o.recall = RECALL;
        o.filter = filter;
        o.filter_size = filter == NULL ? 0 : strlen(filter);
        assert_ok(pomai_search(coll, query, 1, DIM, K, &o, &some, &err));
        pomai_result_verdict(some, 0, &v);
        assert_int_equal(v.completeness, POMAI_APPROXIMATE);
        found += common(some, 0, best, 0);
        pomai_result_free(best);
        pomai_result_free(some);
    }
    if ((float)found < RECALL * UNLIKE * K) fail_msg("%zu of %d", found, UNLIKE * K);
    draw_all();
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- files ---- */

static inline void path_of(const struct box *box, const char *coll, char path[T_PATH_MAX])
{
    char pattern[T_PATH_MAX + 100], line[T_PATH_MAX];
    snprintf(pattern, sizeof pattern, "ls -d %s/collections/%s/segments/*/%s 2>/dev/null | head -1", box->db, coll,
             pm_derived_name(kind));
    FILE *pipe = popen(pattern, "r");
    path[0] = '\0';
    if (fgets(line, sizeof line, pipe) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, T_PATH_MAX, "%s", line);
    }
    pclose(pipe);
}

struct file {
    uint8_t *bytes;
    size_t size;
};

static inline struct file load(const char *path)
{
    struct file f = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("no %s", path);
    fseek(file, 0, SEEK_END);
    f.size = (size_t)ftell(file);
    rewind(file);
    f.bytes = malloc(f.size + 1);
    assert_int_equal(fread(f.bytes, 1, f.size, file), f.size);
    fclose(file);
    return f;
}

static inline void store(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* The checksum of a header that was changed on purpose. */
static inline void mend(struct file f)
{
    pm_derived_header h;
    memcpy(&h, f.bytes, sizeof h);
    if (h.header_length < 12 || h.header_length > f.size) return;
    const uint32_t crc = pm_crc32c(0, f.bytes + 12, h.header_length - 12);
    memcpy(f.bytes + 8, &crc, 4);
}

/* Opens read-only, so that nothing is built, and searches: a file that is passed over as a whole needs few
 * queries. */
static inline void check_after_of(size_t asked, const struct box *box, bool used, const char *what)
{
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.flags = POMAI_OPEN_READONLY;
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = have(db, "a");
    const unsigned approximate = check_recall_of(asked, coll, K, NULL);
    if ((approximate > 0) != used) fail_msg("%s: %u approximate answers", what, approximate);
    pomai_collection_close(coll);
    close_db(db);
}

static inline void check_after(const struct box *box, bool used, const char *what)
{
    check_after_of(QUERIES, box, used, what);
}

/* Opens for writing, where it is built again. */
static inline void check_built_again(const struct box *box)
{
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = have(db, "a");
    (void)check_recall(coll, K, NULL); /* finds the damage, if there is some */
    pomai_error err;
    assert_ok(pomai_build_indexes(db, NULL, &err));
    assert_int_equal(stat_of(db, "rows_waiting_for_%s"), 0);
    assert_int_equal(check_recall(coll, K, NULL), QUERIES);
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- what holds of every kind ---- */

static inline void answers_are_as_good_as_asked(void **state)
{
    static const pomai_metric metrics[] = {POMAI_METRIC_L2, POMAI_METRIC_IP, POMAI_METRIC_COSINE};
    static const pomai_dtype dtypes[] = {POMAI_DTYPE_FLOAT32, POMAI_DTYPE_FLOAT16, POMAI_DTYPE_INT8};
    const struct box *box = *state;
    draw_all();
    pomai_db *db = open_db(box, NULL);
    for (int m = 0; m < 9; m += (T_ONE_IN > 1) ? 4 : 1) { /* or each metric and each type once */
        char name[2] = {(char)('a' + m), '\0'};
        if (m == 6 || (T_ONE_IN > 1 && m == 8)) draw_integers();
        pomai_collection *coll = make_typed(db, name, metrics[m % 3], dtypes[m / 3]);
        put(coll, 0, ROWS, NULL);
        assert_int_equal(check_recall(coll, K, NULL), 0); /* nothing has been built yet */
        build(db);
        assert_int_equal(check_recall(coll, K, NULL), QUERIES);
        put(coll, ROWS, 500, NULL); /* in memory, scanned exactly */
        assert_int_equal(check_recall(coll, K, NULL), QUERIES);
        pomai_collection_close(coll);
    }
    close_db(db);
}

static inline void files_are_mapped_not_built_again(void **state)
{
    const struct box *box = *state;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    close_db(db);
    char path[T_PATH_MAX];
    path_of(box, "*", path);
    struct file before = load(path);
    db = open_db(box, NULL);
    pomai_collection *coll = have(db, "a");
    assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    assert_int_equal(check_recall(coll, K, NULL), QUERIES);
    pomai_error err;
    assert_ok(pomai_build_indexes(db, NULL, &err));
    assert_int_equal(stat_of(db, "%s_builds"), 0);
    pomai_collection_close(coll);
    close_db(db);
    struct file after = load(path);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.bytes, after.bytes, before.size);
    assert_int_equal(remove(path), 0); /* the same bytes once more: they follow from the rows */
    check_after(box, false, "removed");
    check_built_again(box);
    free(after.bytes);
    after = load(path);
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.bytes, after.bytes, before.size);
    free(before.bytes);
    free(after.bytes);
}

/* Every field of the header, forged with a right checksum and without. */
static inline void forged_headers_are_passed_over(void **state)
{
    const struct box *box = *state;
    close_db(with_file(box, POMAI_METRIC_L2));
    char path[T_PATH_MAX], what[80];
    path_of(box, "*", path);
    const struct file good = load(path);
    pm_derived_header header;
    memcpy(&header, good.bytes, sizeof header);
    const size_t forged = PM_DERIVED_HEADER + header.sections * sizeof(pm_derived_section);
    for (size_t at = 0; at < forged; at += 4) {
        for (int mended = 0; mended < 2; mended++) {
            struct file f = load(path);
            f.bytes[at] ^= at >= 8 && at < 12 ? 1 : (uint8_t)(1 + at % 7);
            if (mended && (at < 8 || at >= 12)) mend(f);
            store(path, f.bytes, f.size);
            snprintf(what, sizeof what, "byte %zu, mended %d", at, mended);
            check_after_of(4, box, false, what);
            store(path, good.bytes, good.size);
            free(f.bytes);
        }
    }
    check_after(box, true, "as it was");
    static const size_t sizes[] = {0, 1, 12, 127, 128, 200, 65536, 65537};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        store(path, good.bytes, sizes[i]);
        snprintf(what, sizeof what, "cut to %zu", sizes[i]);
        check_after(box, false, what);
    }
    store(path, good.bytes, good.size - 1);
    check_after(box, false, "one short");
    uint8_t *longer = calloc(1, good.size + 1);
    memcpy(longer, good.bytes, good.size);
    store(path, longer, good.size + 1);
    check_after(box, false, "one more");
    check_built_again(box);
    free(longer);
    free(good.bytes);
}

static inline void flipped_bytes_are_found_when_they_are_used(void **state)
{
    const struct box *box = *state;
    close_db(with_file(box, POMAI_METRIC_L2));
    char path[T_PATH_MAX], what[80];
    path_of(box, "*", path);
    const struct file good = load(path);
    pm_derived_header header;
    memcpy(&header, good.bytes, sizeof header);
    for (unsigned s = 0; s < header.sections; s++) {
        pm_derived_section section;
        memcpy(&section, good.bytes + PM_DERIVED_HEADER + s * sizeof section, sizeof section);
        if (section.length == 0) continue;
        const uint64_t offsets[] = {0, section.length / 2, section.length - 1};
        for (int i = T_ONE_IN > 1 ? 2 : 0; i < 3; i++) {
            struct file f = load(path);
            f.bytes[section.offset + offsets[i]] ^= 64;
            store(path, f.bytes, f.size);
            snprintf(what, sizeof what, "section %u, offset %llu", s, (unsigned long long)offsets[i]);
            check_after(box, false, what);
            pomai_error err;
            char *json;
            assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err)); /* nothing is lost */
            snprintf(what, sizeof what, "\"%s_damaged\": 1", pm_derived_name(kind));
            assert_non_null(strstr(json, what));
            pomai_free(json);
            pomai_db *db = open_db(box, NULL);
            pomai_collection *coll = have(db, "a");
            (void)check_recall(coll, K, NULL);
            assert_ok(pomai_build_indexes(db, NULL, &err));
            assert_int_equal(stat_of(db, "%s_damaged"), 1);
            assert_int_equal(check_recall(coll, K, NULL), QUERIES);
            pomai_collection_close(coll);
            close_db(db);
            free(f.bytes);
        }
    }
    free(good.bytes);
}

static inline void files_of_another_segment_are_passed_over(void **state)
{
    const struct box *box = *state;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    pomai_collection *b = make(db, "b", POMAI_METRIC_L2);
    put(b, ROWS, ROWS, NULL); /* other rows, as many */
    build(db);
    pomai_collection_close(b);
    close_db(db);
    char one[T_PATH_MAX], other[T_PATH_MAX];
    path_of(box, "1", one);
    path_of(box, "2", other);
    struct file f = load(other);
    store(one, f.bytes, f.size);
    check_after(box, false, "the file of another collection");
    pm_derived_header h; /* as if somebody had mended all but the checksum of the rows */
    memcpy(&h, f.bytes, sizeof h);
    h.collection = 1;
    memcpy(f.bytes, &h, sizeof h);
    mend(f);
    store(one, f.bytes, f.size);
    check_after(box, false, "the file of another collection, renamed");
    check_built_again(box);
    free(f.bytes);
}

static inline void rows_that_went_are_not_shown(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    pomai_collection *coll = have(db, "a");
    pomai_snapshot *snapshot;
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    /* The nearest of every query, then all but a few. */
    pomai_result *near = search(coll, queries, QUERIES, K, 0, NULL);
    for (size_t q = 0; q < QUERIES; q++) {
        const pomai_ids gone = {K, pomai_result_ids(near, q), NULL};
        assert_ok(pomai_delete(coll, &gone, NULL, NULL, &err));
    }
    pomai_result_free(near);
    (void)check_recall(coll, K, NULL);
    (void)check_recall(coll, K, snapshot); /* still there */
    const pomai_ids most = {ROWS - 25, ids, NULL};
    assert_ok(pomai_delete(coll, &most, NULL, NULL, &err));
    (void)check_recall(coll, K, NULL);
    (void)check_recall(coll, 100, NULL); /* more than there are */
    (void)check_recall(coll, K, snapshot);
    pomai_snapshot_close(snapshot);
    put(coll, 0, ROWS, NULL); /* replaced, in memory */
    (void)check_recall(coll, K, NULL);
    assert_ok(pomai_compact(db, NULL, &err));
    assert_ok(pomai_build_indexes(db, NULL, &err));
    assert_int_equal(check_recall(coll, K, NULL), QUERIES);
    for (uint64_t i = 0; i < ROWS; i++)
        expiries[i] = i % 3 == 0 ? 0 : 1000 + i % 2; /* long ago */
    put(coll, ROWS, ROWS, expiries);
    build(db);
    (void)check_recall(coll, K, NULL);
    pomai_collection_close(coll);
    close_db(db);
}

static inline void building_can_be_waited_for_or_not(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    draw_all();
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = make(db, "a", POMAI_METRIC_L2);
    put(coll, 0, ROWS, NULL);
    assert_ok(pomai_flush(db, &err));
    pomai_build_options o = POMAI_BUILD_OPTIONS_INIT;
    const int cancelled = 1;
    o.deadline_us = 0;
    assert_refused(pomai_build_indexes(db, &o, &err), POMAI_EDEADLINE, "background");
    o = (pomai_build_options)POMAI_BUILD_OPTIONS_INIT;
    o.cancel = &cancelled;
    assert_refused(pomai_build_indexes(db, &o, &err), POMAI_EDEADLINE, "background");
    o.struct_size = 3;
    assert_refused(pomai_build_indexes(db, &o, &err), POMAI_EINVAL, "struct_size");
    assert_refused(pomai_build_indexes(NULL, NULL, &err), POMAI_EINVAL, NULL);
    for (int i = 0; i < 1000 && stat_of(db, "segments_with_%s") < 1; i++) /* by itself */
        usleep(10000);
    assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    pomai_collection_close(coll);
    close_db(db);
    pomai_open_options open = POMAI_OPEN_OPTIONS_INIT;
    open.flags = POMAI_OPEN_READONLY;
    db = open_db(box, &open);
    assert_refused(pomai_build_indexes(db, NULL, &err), POMAI_EREADONLY, NULL);
    close_db(db);
}

static inline void leftovers_of_a_build_go(void **state)
{
    const struct box *box = *state;
    close_db(with_file(box, POMAI_METRIC_L2));
    char path[T_PATH_MAX], temporary[T_PATH_MAX + 8];
    path_of(box, "*", path);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    store(temporary, (const uint8_t *)"half", 4);
    pomai_error err;
    char *json;
    assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err));
    pomai_free(json);
    close_db(open_db(box, NULL));
    assert_int_not_equal(access(temporary, F_OK), 0);
    assert_int_equal(access(path, F_OK), 0);
}

#endif
