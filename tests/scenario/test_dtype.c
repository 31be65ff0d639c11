/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collections of float16 and int8 vectors: what is put is what is stored, wherever the rows are, and the answers are
 * those of float32 vectors of the same values, to the last bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/dtype.h"
#include "pomai/pomai.h"
#include "simd/simd.h"
#include "storage/format.h"
#include "storage/wal/wal.h"
#include "support/exact.h"
#include "support/rng.h"
#include "support/scenario.h"

enum { MOST_DIM = 200, IDS = 900, K = IDS };

static uint64_t run_seed = 1;

/* ---- a model: for each id the values that are stored ---- */

typedef struct world {
    pomai_dtype dtype;
    pomai_metric metric;
    uint32_t dim;
    bool there[IDS];
    float value[IDS][MOST_DIM];
} world;

static pomai_collection *make(pomai_db *db, const char *name, uint64_t dim, pomai_metric metric, pomai_dtype dtype)
{
    pomai_error err;
    pomai_collection *collection;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = dim;
    options.metric = metric;
    options.dtype = dtype;
    assert_ok(pomai_collection_create(db, name, &options, &collection, &err));
    return collection;
}

/* Of what goes into the collection: float32 that may be rounded, whole numbers for int8. */
static float draw(const world *w, struct t_rng *rng)
{
    if (w->dtype == POMAI_DTYPE_INT8) return (float)t_below(rng, 256) - 128;
    if (t_chance(rng, 5)) return ldexpf((float)t_below(rng, 4096), -26); /* denormal in float16 */
    return t_unit_float(rng) * (t_chance(rng, 10) ? 60000.0f : 4.0f) - 2.0f;
}

static float stored(const world *w, float value)
{
    return w->dtype == POMAI_DTYPE_FLOAT16 ? pm_f16_to_f32(pm_f32_to_f16(value)) : value;
}

static void put_element(pomai_dtype dtype, void *to, size_t i, float value)
{
    if (dtype == POMAI_DTYPE_INT8)
        ((int8_t *)to)[i] = (int8_t)value;
    else if (dtype == POMAI_DTYPE_FLOAT16)
        ((uint16_t *)to)[i] = pm_f32_to_f16(value);
    else
        ((float *)to)[i] = value;
}

/* Some rows, in float32 or in the collection's own type. */
static void put_some(world *w, pomai_collection *c, struct t_rng *rng, uint64_t first, uint32_t rows, uint32_t step)
{
    pomai_error err;
    static float given[64 * MOST_DIM];
    uint64_t ids[64];
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.dtype = t_chance(rng, 50) ? POMAI_DTYPE_FLOAT32 : w->dtype;
    if (t_chance(rng, 20) && batch.dtype == POMAI_DTYPE_FLOAT32) batch.dtype = 0;
    const pomai_dtype as = batch.dtype == 0 ? POMAI_DTYPE_FLOAT32 : batch.dtype;
    for (uint32_t i = 0; i < rows; i++) {
        ids[i] = (first + i * step) % IDS;
        w->there[ids[i]] = true;
        for (uint32_t d = 0; d < w->dim; d++) {
            const float value = d == 0 ? (float)t_below(rng, 100) + 1 : draw(w, rng); /* not zero */
            w->value[ids[i]][d] = stored(w, value);
            put_element(as, given, (size_t)i * w->dim + d, value);
        }
    }
    batch.rows = rows;
    batch.dim = w->dim;
    batch.vectors = given;
    batch.u64_ids = ids;
    assert_ok(pomai_put(c, &batch, NULL, NULL, &err));
}

static void delete_some(world *w, pomai_collection *c, struct t_rng *rng)
{
    pomai_error err;
    uint64_t ids[30];
    for (size_t i = 0; i < 30; i++) {
        ids[i] = t_below(rng, IDS);
        w->there[ids[i]] = false;
    }
    pomai_ids list = {30, ids, NULL};
    assert_ok(pomai_delete(c, &list, NULL, NULL, &err));
}

/* The same for the same seed. */
static void live(world *w, pomai_db *db, pomai_collection *c, uint64_t seed, bool flush)
{
    pomai_error err;
    struct t_rng rng = t_rng_from(seed);
    for (int i = 0; i < 12; i++) {
        put_some(w, c, &rng, t_below(&rng, IDS), 64, i % 2 == 0 ? 1 : 7);
        if (i % 3 == 1) delete_some(w, c, &rng);
        if (flush && i == 6) assert_ok(pomai_flush(db, &err));
    }
}

typedef struct near {
    double distance;
    uint64_t id;
} near;

static int by_distance(const void *a, const void *b)
{
    const near *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void check_search(const world *w, pomai_collection *c, uint64_t queries, struct t_rng *rng)
{
    pomai_error err;
    static float query[12 * MOST_DIM];
    static near want[IDS];
    pomai_result *result;
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_VECTORS;
    for (size_t i = 0; i < queries * w->dim; i++)
        query[i] = t_unit_float(rng) * 8 - 3;
    assert_ok(pomai_search(c, query, queries, w->dim, K, &options, &result, &err));
    for (size_t q = 0; q < queries; q++) {
        size_t n = 0;
        for (uint64_t id = 0; id < IDS; id++)
            if (w->there[id]) want[n++] = (near){t_distance(w->metric, query + q * w->dim, w->value[id], w->dim), id};
        qsort(want, n, sizeof want[0], by_distance);
        assert_int_equal(pomai_result_count(result, q), n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(pomai_result_ids(result, q)[i], want[i].id);
            assert_true(t_same_double(pomai_result_distances(result, q)[i], want[i].distance));
            assert_memory_equal(pomai_result_vector(result, q, i), w->value[want[i].id], w->dim * sizeof(float));
        }
    }
    pomai_result_free(result);
}

static void check_all(const world *w, pomai_db *db, struct t_rng *rng)
{
    pomai_error err;
    pomai_collection *c;
    pomai_collection_info info;
    assert_ok(pomai_collection_open(db, "c", &c, &err));
    assert_ok(pomai_collection_get_info(c, &info, &err));
    assert_int_equal(info.dtype, w->dtype);
    assert_int_equal(pomai_collection_dtype(c), w->dtype);
    check_search(w, c, 1, rng);
    check_search(w, c, 12, rng);
    uint64_t ids[IDS];
    for (uint64_t i = 0; i < IDS; i++)
        ids[i] = i;
    pomai_rows *rows;
    pomai_ids list = {IDS, ids, NULL};
    assert_ok(pomai_get(c, &list, NULL, &rows, &err));
    for (size_t i = 0; i < IDS; i++) {
        assert_int_equal(pomai_rows_found(rows, i), w->there[i]);
        if (w->there[i]) assert_memory_equal(pomai_rows_vector(rows, i), w->value[i], w->dim * sizeof(float));
    }
    pomai_rows_free(rows);
    pomai_scan *scan;
    assert_ok(pomai_scan_open(c, NULL, &scan, &err));
    for (;;) {
        assert_ok(pomai_scan_next(scan, 77, &rows, &err));
        if (rows == NULL) break;
        for (size_t i = 0; i < pomai_rows_count(rows); i++) {
            const uint64_t id = pomai_rows_id(rows, i);
            assert_true(id < IDS && w->there[id]);
            assert_memory_equal(pomai_rows_vector(rows, i), w->value[id], w->dim * sizeof(float));
        }
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    pomai_collection_close(c);
}

/* In a process of its own, which dies by SIGKILL with everything acknowledged. */
static void live_and_die(world *w, const struct box *box, uint64_t seed, bool flush)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.shards = 3;
        pomai_db *db = open_db(box, &options);
        live(w, db, make(db, "c", w->dim, w->metric, w->dtype), seed, flush);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    /* What it put, without a database. */
    pomai_error err;
    struct box other = *box;
    t_join(other.db, box->dir, "twin");
    pomai_db *db = open_db(&other, NULL);
    pomai_collection *c = make(db, "c", w->dim, w->metric, w->dtype);
    live(w, db, c, seed, false);
    pomai_collection_close(c);
    assert_ok(pomai_close(db, &err));
    t_remove(other.db);
}

static void one_life(const struct box *box, world *w, uint64_t seed)
{
    pomai_error err;
    uint64_t digest[2] = {0}, after[2] = {0};
    const pm_simd *level[8];
    const size_t levels = pm_simd_levels(level, 8);
    struct t_rng rng = t_rng_from(seed + 99);
    memset(w->there, 0, sizeof w->there);
    live_and_die(w, box, seed, t_chance(&rng, 50));
    pomai_db *db = open_db(box, NULL);
    check_all(w, db, &rng);
    assert_ok(pomai_digest(db, NULL, digest, &err));
    assert_ok(pomai_flush(db, &err));
    check_all(w, db, &rng);
    assert_ok(pomai_compact(db, NULL, &err));
    check_all(w, db, &rng);
    close_db(db);
    for (size_t l = 0; l < levels; l++) { /* every level sees the same */
        setenv("POMAI_SIMD", level[l]->name, 1);
        db = open_db(box, NULL);
        check_all(w, db, &rng);
        assert_ok(pomai_digest(db, NULL, after, &err));
        assert_memory_equal(digest, after, sizeof digest);
        close_db(db);
    }
    unsetenv("POMAI_SIMD");
    assert_ok(pomai_verify_path(box->db, NULL, NULL, NULL, &err));
    t_remove(box->db);
}

static void test_lives(void **state)
{
    static const uint32_t dims[] = {1, 3, 17, 33, 67, 131};
    static world w;
    uint64_t cases = 0;
    for (int dtype = POMAI_DTYPE_FLOAT32; dtype <= POMAI_DTYPE_INT8; dtype++)
        for (int metric = POMAI_METRIC_L2; metric <= POMAI_METRIC_COSINE; metric++, cases++) {
            w.dtype = (pomai_dtype)dtype;
            w.metric = (pomai_metric)metric;
            w.dim = dims[(cases * 5 + (cases / 3)) % 6];
            one_life(*state, &w, t_mix2(run_seed, cases));
        }
    printf("lives of types: %llu cases, 0 failures, seed %llu\n", (unsigned long long)cases,
           (unsigned long long)run_seed);
}

/* ---- what is refused ---- */

static void test_refusals(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    pomai_collection *single = make(db, "single", 3, POMAI_METRIC_L2, 0), *cosine;
    pomai_collection *half = make(db, "half", 3, POMAI_METRIC_L2, POMAI_DTYPE_FLOAT16);
    pomai_collection *byte = make(db, "byte", 3, POMAI_METRIC_L2, POMAI_DTYPE_INT8);
    assert_int_equal(pomai_collection_dtype(single), POMAI_DTYPE_FLOAT32);
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = 3;
    options.dtype = (pomai_dtype)4;
    assert_refused(pomai_collection_create(db, "x", &options, &cosine, &err), POMAI_EINVAL, "float16 and int8");
    float x[6] = {1, 2, 3, 4, 5, 6};
    uint16_t h[6] = {0x3c00, 0x4000, 0x4200, 0, 0, 0};
    int8_t b[6] = {1, 2, 3, 0, 0, 0};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 2;
    batch.dim = 3;
    batch.vectors = x;
    x[4] = 65520; /* rounds up to infinity */
    assert_refused(pomai_put(half, &batch, NULL, NULL, &err), POMAI_EINVAL, "row 1, dimension 1 is 65520");
    assert_non_null(strstr(err.message, "65504"));
    x[4] = -65520;
    assert_refused(pomai_put(half, &batch, NULL, NULL, &err), POMAI_EINVAL, "row 1, dimension 1 is -65520");
    x[4] = INFINITY;
    assert_refused(pomai_put(half, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "row 1, dimension 1 is infinite");
    assert_refused(pomai_put(byte, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "row 1, dimension 1 is infinite");
    x[4] = NAN;
    assert_refused(pomai_put(half, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "row 1, dimension 1 is NaN");
    assert_refused(pomai_put(byte, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "row 1, dimension 1 is NaN");
    static const float no_bytes[] = {0.5f, 128, -129, 1e9f, 127.00001f, 1e-30f};
    for (size_t i = 0; i < 6; i++) {
        x[4] = no_bytes[i];
        assert_refused(pomai_put(byte, &batch, NULL, NULL, &err), POMAI_EINVAL, "row 1, dimension 1");
        assert_non_null(strstr(err.message, "quantise"));
    }
    batch.vectors = h;
    batch.dtype = POMAI_DTYPE_FLOAT16;
    assert_refused(pomai_put(single, &batch, NULL, NULL, &err), POMAI_EINVAL, "float16");
    assert_refused(pomai_put(byte, &batch, NULL, NULL, &err), POMAI_EINVAL, "the collection byte has int8");
    h[5] = 0x7c00;
    assert_refused(pomai_put(half, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "row 1, dimension 2 is infinite");
    h[5] = 0xfc01;
    assert_refused(pomai_put(half, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "row 1, dimension 2 is NaN");
    batch.vectors = b;
    batch.dtype = POMAI_DTYPE_INT8;
    assert_refused(pomai_put(single, &batch, NULL, NULL, &err), POMAI_EINVAL, "float32");
    assert_refused(pomai_put(half, &batch, NULL, NULL, &err), POMAI_EINVAL, "float16");
    batch.dtype = (pomai_dtype)4;
    assert_refused(pomai_put(byte, &batch, NULL, NULL, &err), POMAI_EINVAL, "unknown type of vectors 4");
    batch.dtype = (pomai_dtype)-1;
    assert_refused(pomai_put(byte, &batch, NULL, NULL, &err), POMAI_EINVAL, "unknown type of vectors");
    assert_int_equal(count_rows(single) + count_rows(half) + count_rows(byte), 0);
    /* Zero after rounding has no direction either. */
    cosine = make(db, "cosine", 3, POMAI_METRIC_COSINE, POMAI_DTYPE_FLOAT16);
    batch.vectors = x;
    batch.dtype = POMAI_DTYPE_FLOAT32;
    x[3] = x[4] = x[5] = 1e-9f;
    assert_refused(pomai_put(cosine, &batch, NULL, NULL, &err), POMAI_EZEROVEC, "row 1 is a zero vector in float16");
    x[5] = 0x1p-24f;
    assert_ok(pomai_put(cosine, &batch, NULL, NULL, &err));
    pomai_collection *const all[] = {single, half, byte, cosine};
    for (size_t i = 0; i < 4; i++)
        pomai_collection_close(all[i]);
    cosine = make(db, "cosine8", 3, POMAI_METRIC_COSINE, POMAI_DTYPE_INT8);
    batch.vectors = b;
    batch.dtype = POMAI_DTYPE_INT8;
    assert_refused(pomai_put(cosine, &batch, NULL, NULL, &err), POMAI_EZEROVEC, "row 1 is a zero vector");
    pomai_collection_close(cosine);
    close_db(db);
}

static void test_extremes_are_kept(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    pomai_collection *half = make(db, "half", 5, POMAI_METRIC_L2, POMAI_DTYPE_FLOAT16);
    pomai_collection *byte = make(db, "byte", 5, POMAI_METRIC_L2, POMAI_DTYPE_INT8);
    const float x[5] = {65519.996f, -65504, 0x1p-24f, -0x1.8p-25f, -0.0f};
    const float want[5] = {65504, -65504, 0x1p-24f, -0x1p-24f, -0.0f};
    const float y[5] = {-128, 127, -0.0f, 1, -1};
    const float y_want[5] = {-128, 127, 0, 1, -1};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = 5;
    batch.vectors = x;
    assert_ok(pomai_put(half, &batch, NULL, NULL, &err));
    batch.vectors = y;
    assert_ok(pomai_put(byte, &batch, NULL, NULL, &err));
    uint64_t id = 0;
    pomai_ids ids = {1, &id, NULL};
    for (int round = 0; round < 2; round++) {
        pomai_rows *rows;
        assert_ok(pomai_get(half, &ids, NULL, &rows, &err));
        assert_memory_equal(pomai_rows_vector(rows, 0), want, sizeof want);
        pomai_rows_free(rows);
        assert_ok(pomai_get(byte, &ids, NULL, &rows, &err));
        assert_memory_equal(pomai_rows_vector(rows, 0), y_want, sizeof y_want);
        pomai_rows_free(rows);
        assert_ok(pomai_flush(db, &err));
    }
    pomai_collection_close(half);
    pomai_collection_close(byte);
    close_db(db);
}

/* ---- blocks, `default` ---- */

static void test_blocks(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    for (int dtype = POMAI_DTYPE_FLOAT32; dtype <= POMAI_DTYPE_INT8; dtype++) {
        char name[2] = {(char)('a' + dtype), 0};
        pomai_collection *c = make(db, name, 7, POMAI_METRIC_COSINE, (pomai_dtype)dtype);
        pomai_block *block;
        pomai_ack ack;
        const uint64_t rows = 9001; /* of several blocks of ids, so of several shards */
        assert_ok(pomai_reserve(c, rows, 7, &block, &err));
        void *to = pomai_block_vectors(block);
        assert_int_equal(pomai_block_dtype(block), dtype);
        assert_refused(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_EZEROVEC, "row 0");
        for (size_t i = 0; i < rows * 7; i++)
            put_element((pomai_dtype)dtype, to, i, (float)(i % 211) - 100);
        if (dtype == POMAI_DTYPE_FLOAT16) {
            ((uint16_t *)to)[700] = 0x7e00;
            assert_refused(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_ENOTFINITE,
                           "row 100, dimension 0 is NaN");
            ((uint16_t *)to)[700] = 0x3c00;
        }
        assert_ok(pomai_commit(block, NULL, NULL, &ack, &err));
        pomai_block_free(block);
        for (int round = 0; round < 2; round++) {
            uint64_t id = ack.first_id + 8999;
            pomai_ids ids = {1, &id, NULL};
            pomai_rows *found;
            assert_ok(pomai_get(c, &ids, NULL, &found, &err));
            for (size_t d = 0; d < 7; d++)
                assert_true(pomai_rows_vector(found, 0)[d] == (float)((8999 * 7 + d) % 211) - 100);
            pomai_rows_free(found);
            assert_ok(pomai_flush(db, &err));
        }
        pomai_collection_close(c);
    }
    close_db(db);
}

static void test_default_takes_the_type_of_its_first_rows(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    pomai_collection *c = pomai_default(db);
    pomai_collection_info info;
    const uint16_t h[2] = {0x3c00, 0x7c00};
    const int8_t b[2] = {1, 2};
    assert_int_equal(pomai_collection_dtype(c), 0);
    assert_ok(pomai_collection_get_info(c, &info, &err));
    assert_int_equal(info.dtype, POMAI_DTYPE_FLOAT32);
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = 2;
    batch.vectors = h;
    batch.dtype = POMAI_DTYPE_FLOAT16;
    assert_refused(pomai_put(c, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "dimension 1");
    assert_int_equal(pomai_collection_dtype(c), 0); /* a refusal makes nothing */
    batch.vectors = b;
    batch.dtype = POMAI_DTYPE_INT8;
    pomai_block *block;
    assert_ok(pomai_reserve(c, 1, 2, &block, &err)); /* of float32, as nobody has said otherwise */
    assert_ok(pomai_put(c, &batch, NULL, NULL, &err));
    assert_int_equal(pomai_collection_dtype(c), POMAI_DTYPE_INT8);
    assert_refused(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_EINVAL, "the block has float32");
    pomai_block_free(block);
    assert_ok(pomai_collection_drop(db, "default", &err));
    assert_int_equal(pomai_collection_dtype(c), 0);
    close_db(db);
}

/* ---- what else knows of types ---- */

static int find_line(void *context, const char *line)
{
    const char **needle = context;
    if (strstr(line, needle[0]) != NULL) needle[1] = needle[0];
    return 0;
}

static void test_said_everywhere(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    static world w = {.dtype = POMAI_DTYPE_INT8, .metric = POMAI_METRIC_IP, .dim = 9};
    pomai_db *db = open_db(box, NULL);
    pomai_collection *c = make(db, "c", w.dim, w.metric, w.dtype);
    live(&w, db, c, run_seed + 7, true);
    uint64_t rows = count_rows(c);
    char *json, needle[64];
    assert_ok(pomai_stats(db, &json, &err));
    assert_non_null(strstr(json, "\"dtype\": \"int8\""));
    snprintf(needle, sizeof needle, "\"vector_bytes\": %llu,", (unsigned long long)rows * 9);
    assert_non_null(strstr(json, needle));
    pomai_free(json);
    pomai_collection_close(c);
    close_db(db);
    const char *seen[2] = {"\"dtype\": \"int8\"", NULL};
    assert_ok(pomai_dump_manifest(box->db, 1, find_line, seen, &err));
    assert_non_null(seen[1]);
    seen[1] = NULL;
    assert_ok(pomai_dump_segment(box->db, NULL, 0, POMAI_DUMP_JSON, find_line, seen, &err));
    assert_non_null(seen[1]);
}

static void test_salvaged(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    static world w;
    for (int dtype = POMAI_DTYPE_FLOAT16; dtype <= POMAI_DTYPE_INT8; dtype++) {
        memset(&w, 0, sizeof w);
        w.dtype = (pomai_dtype)dtype;
        w.metric = POMAI_METRIC_COSINE;
        w.dim = 13;
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE; /* some rows are in segments, some in the log only */
        pomai_db *db = open_db(box, &options);
        pomai_collection *c = make(db, "c", w.dim, w.metric, w.dtype);
        live(&w, db, c, run_seed + (uint64_t)dtype, true);
        pomai_collection_close(c);
        close_db(db);
        struct box saved = *box;
        int whole = 0;
        t_join(saved.db, box->dir, "saved");
        assert_ok(pomai_salvage(box->db, saved.db, NULL, NULL, NULL, &whole, &err));
        assert_int_equal(whole, 1);
        struct t_rng rng = t_rng_from(run_seed);
        db = open_db(&saved, NULL);
        check_all(&w, db, &rng);
        close_db(db);
        t_remove(saved.db);
        t_remove(box->db);
    }
}

/* ---- forgeries: every checksum is right ---- */

static uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = malloc(1 << 20);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void write_whole(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* No later manifest than the one that made the collection: the second. */
static void forge_catalogue(const struct box *box, uint8_t dtype, uint64_t features)
{
    char path[T_PATH_MAX];
    size_t size;
    t_join(path, box->db, "manifest/MANIFEST-0000000002");
    uint8_t *bytes = read_whole(path, &size);
    memcpy(bytes + offsetof(pm_manifest_header, incompatible), &features, sizeof features);
    bytes[PM_MANIFEST_HEADER + sizeof(pm_manifest_shard) + offsetof(pm_manifest_collection, dtype)] = dtype;
    const uint32_t crc = pm_crc32c(0, bytes + 12, size - 12);
    memcpy(bytes + 8, &crc, sizeof crc);
    write_whole(path, bytes, size);
    free(bytes);
}

/* The first record says that it has another type; with another dim if its length is to fit. */
static void forge_log(const struct box *box, uint8_t dtype, uint32_t dim)
{
    char path[T_PATH_MAX];
    size_t size;
    t_join(path, box->db, "shards/1/0/wal/0000000001.wal");
    uint8_t *bytes = read_whole(path, &size);
    const pm_wal_header *file = (const pm_wal_header *)(const void *)bytes;
    pm_rec_header *h = (pm_rec_header *)(void *)(bytes + PM_WAL_HEADER);
    h->dtype = dtype;
    h->dim = dim;
    h->header_crc = pm_crc32c(pm_wal_seed(file->salt), (const uint8_t *)h + 4, sizeof *h - 4);
    write_whole(path, bytes, size);
    free(bytes);
}

static void put_four(const struct box *box, pomai_dtype dtype)
{
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 1;
    options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    options.wal_file_bytes = 64 << 10;
    pomai_db *db = open_db(box, &options);
    pomai_collection *c = make(db, "c", 4, POMAI_METRIC_L2, dtype);
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 2;
    batch.dim = 4;
    batch.vectors = x;
    assert_ok(pomai_put(c, &batch, NULL, NULL, &err));
    pomai_collection_close(c);
    close_db(db);
}

static void assert_opens(const struct box *box, pomai_status wanted, const char *needle)
{
    pomai_error err;
    pomai_db *db = NULL;
    memset(&err, 0, sizeof err);
    if (wanted != POMAI_OK) {
        assert_refused(pomai_open(box->db, NULL, &db, &err), wanted, needle);
        assert_refused(pomai_verify_path(box->db, NULL, NULL, NULL, &err), wanted, NULL);
        return;
    }
    db = open_db(box, NULL);
    close_db(db);
}

static void test_forged_types(void **state)
{
    const struct box *box = *state;
    const uint64_t said = PM_FEATURE_DTYPE;
    static const struct {
        uint8_t dtype;
        bool said;
        const char *needle;
    } catalogue[] = {{0, true, "contradicts"},
                     {4, true, "contradicts"},
                     {255, true, "contradicts"},
                     {POMAI_DTYPE_FLOAT16, false, "contradicts"},
                     {POMAI_DTYPE_FLOAT32, true, "does not fit"},
                     {POMAI_DTYPE_INT8, true, "does not fit"}};
    for (size_t i = 0; i < sizeof catalogue / sizeof catalogue[0]; i++) {
        put_four(box, POMAI_DTYPE_FLOAT16);
        forge_catalogue(box, catalogue[i].dtype, catalogue[i].said ? said : 0);
        assert_opens(box, POMAI_ECORRUPT, catalogue[i].needle);
        t_remove(box->db);
    }
    put_four(box, POMAI_DTYPE_FLOAT16); /* a build of before there were types knows bits 1 and 2 */
    char path[T_PATH_MAX];
    size_t size;
    t_join(path, box->db, "manifest/MANIFEST-0000000002");
    uint8_t *bytes = read_whole(path, &size);
    assert_int_equal(bytes[offsetof(pm_manifest_header, incompatible)], PM_FEATURE_DTYPE);
    free(bytes);
    t_remove(box->db);
    put_four(box, POMAI_DTYPE_FLOAT32); /* and reads what has none but float32 */
    bytes = read_whole(path, &size);
    assert_int_equal(bytes[offsetof(pm_manifest_header, incompatible)], 0);
    free(bytes);
    t_remove(box->db);
    static const struct {
        pomai_dtype was;
        uint8_t dtype;
        uint32_t dim;
        pomai_status wanted;
    } log[] = {{POMAI_DTYPE_FLOAT32, 2, 4, POMAI_ECORRUPT},  {POMAI_DTYPE_FLOAT32, 2, 8, POMAI_ECORRUPT},
               {POMAI_DTYPE_FLOAT32, 3, 16, POMAI_ECORRUPT}, {POMAI_DTYPE_FLOAT32, 4, 4, POMAI_ECORRUPT},
               {POMAI_DTYPE_INT8, 1, 1, POMAI_ECORRUPT},     {POMAI_DTYPE_INT8, 1, 4, POMAI_ECORRUPT},
               {POMAI_DTYPE_INT8, 2, 2, POMAI_ECORRUPT},     {POMAI_DTYPE_FLOAT16, 3, 4, POMAI_ECORRUPT}};
    for (size_t i = 0; i < sizeof log / sizeof log[0]; i++) {
        put_four(box, log[i].was);
        forge_log(box, log[i].dtype, log[i].dim);
        assert_opens(box, log[i].wanted, NULL);
        t_remove(box->db);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--seed") == 0) run_seed = strtoull(argv[i + 1], NULL, 10);
    const struct CMUnitTest tests[] = {
        BOXED(test_lives),
        BOXED(test_refusals),
        BOXED(test_extremes_are_kept),
        BOXED(test_blocks),
        BOXED(test_default_takes_the_type_of_its_first_rows),
        BOXED(test_said_everywhere),
        BOXED(test_salvaged),
        BOXED(test_forged_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
