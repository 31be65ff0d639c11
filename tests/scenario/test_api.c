/* SPDX-License-Identifier: Apache-2.0 */
/* The public interface as its users meet it: what is promised in pomai.h, and every refusal with its own status. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "../support/model.h"
#include "../support/one_in.h"
#include "../support/scenario.h"

/* ---- library ---- */

static const char *const levels[] = {"scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "neondot"};

static void test_names_and_texts(void **state)
{
    (void)state;
    assert_string_equal(pomai_version(), POMAI_VERSION_STRING);
    assert_string_equal(pomai_status_name(POMAI_EDIM), "POMAI_EDIM");
#define CHECK_STATUS(name, number, text)                                                                               \
    assert_int_equal(POMAI_##name, number);                                                                            \
    assert_string_equal(pomai_status_name(POMAI_##name), "POMAI_" #name);                                              \
    assert_string_equal(pomai_status_text(POMAI_##name), text);
    POMAI_STATUS_TABLE(CHECK_STATUS)
#undef CHECK_STATUS
    assert_string_equal(pomai_status_name((pomai_status)9999), "POMAI_?");
    assert_non_null(pomai_status_text((pomai_status)9999));
    const char *level = pomai_simd_level();
    bool known = false;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        known |= strcmp(level, levels[i]) == 0;
    assert_true(known);
}

static void test_freeing_nothing(void **state)
{
    (void)state;
    pomai_free(NULL);
    assert_int_equal(pomai_close(NULL, NULL), POMAI_OK);
    pomai_collection_close(NULL);
    pomai_ticket_free(NULL);
    pomai_block_free(NULL);
    pomai_rows_free(NULL);
    pomai_result_free(NULL);
}

/* ---- collections ---- */

static void test_default_is_made_by_the_first_put(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_collection_info info;
    char **names;
    size_t count;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    assert_non_null(coll);
    assert_ok(pomai_collection_list(db, &names, &count, &err));
    assert_int_equal(count, 0);
    assert_null(names[0]);
    pomai_free(names);
    assert_ok(pomai_collection_get_info(coll, &info, &err));
    assert_int_equal(info.dim, 0);
    assert_int_equal(info.rows, 0);
    put_rows(coll, 100, 3, 5);
    assert_ok(pomai_collection_get_info(coll, &info, &err));
    assert_string_equal(info.name, "default");
    assert_int_equal(info.dim, 5);
    assert_int_equal(info.metric, POMAI_METRIC_L2);
    assert_int_equal(info.id_kind, POMAI_ID_U64);
    assert_int_equal(info.rows, 3);
    assert_ok(pomai_collection_list(db, &names, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "default");
    pomai_free(names);
    close_db(db);
    db = open_db(box, NULL);
    assert_int_equal(count_rows(pomai_default(db)), 3);
    close_db(db);
}

/* What is refused makes no `default` either. */
static void test_refused_first_put(void **state)
{
    struct box *box = *state;
    pomai_error err;
    char **names;
    size_t count;
    pomai_ack ack;
    pomai_block *block;
    pomai_rows *rows;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    float vectors[] = {1, NAN};
    uint64_t ids[] = {4, 4};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 2;
    batch.dim = 1;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "1");
    vectors[1] = 1;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDUPID, "4");
    batch.dim = POMAI_MAX_DIM + 1u;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDIM, "65537");
    assert_ok(pomai_reserve(coll, 1, 3, &block, &err));
    ((float *)pomai_block_vectors(block))[2] = INFINITY;
    assert_refused(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_ENOTFINITE, NULL);
    pomai_block_free(block);
    pomai_ids list = {2, ids, NULL};
    assert_ok(pomai_delete(coll, &list, NULL, &ack, &err)); /* nothing is there to delete or get */
    assert_int_equal(ack.rows, 0);
    assert_ok(pomai_get(coll, &list, NULL, &rows, &err));
    assert_int_equal(pomai_rows_count(rows), 2);
    assert_false(pomai_rows_found(rows, 0));
    pomai_rows_free(rows);
    assert_ok(pomai_collection_list(db, &names, &count, &err));
    assert_int_equal(count, 0);
    pomai_free(names);
    close_db(db);
}

static void test_default_takes_string_ids(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_collection_info info;
    pomai_db *db = open_db(box, NULL);
    pomai_bytes ids[] = {{"b", 1}, {"a", 1}};
    float vectors[] = {1, 2, 3, 4};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 2;
    batch.dim = 2;
    batch.vectors = vectors;
    batch.string_ids = ids;
    assert_ok(pomai_put(pomai_default(db), &batch, NULL, NULL, &err));
    assert_ok(pomai_collection_get_info(pomai_default(db), &info, &err));
    assert_int_equal(info.id_kind, POMAI_ID_STRING);
    close_db(db);
}

struct racer {
    pomai_collection *coll;
    uint64_t dim;
    pomai_status status;
};

static void *race_first_put(void *argument)
{
    struct racer *racer = argument;
    float vector[8] = {1};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = racer->dim;
    batch.vectors = vector;
    racer->status = pomai_put(racer->coll, &batch, NULL, NULL, NULL);
    return NULL;
}

/* Several first puts at once: one of them decides the dimension, the others follow or are refused. */
static void test_first_puts_race(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_collection_info info;
    pomai_db *db = open_db(box, NULL);
    struct racer racers[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        racers[i] = (struct racer){pomai_default(db), i % 2 ? 8 : 4, POMAI_EINTERNAL};
        assert_int_equal(pthread_create(&threads[i], NULL, race_first_put, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_ok(pomai_collection_get_info(pomai_default(db), &info, &err));
    assert_true(info.dim == 4 || info.dim == 8);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(racers[i].status, racers[i].dim == info.dim ? POMAI_OK : POMAI_EDIM);
    assert_int_equal(info.rows, 2);
    close_db(db);
}

static void test_collections(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_collection_info info;
    char **names;
    size_t count;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *zebra = create(db, "zebra", 3, POMAI_METRIC_COSINE, POMAI_ID_U64);
    pomai_collection *ant = create(db, "ant.1_X-y", 4, POMAI_METRIC_IP, POMAI_ID_STRING), *again;
    assert_ok(pomai_collection_list(db, &names, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "ant.1_X-y");
    assert_string_equal(names[1], "zebra");
    assert_null(names[2]);
    pomai_free(names);
    assert_ok(pomai_collection_get_info(ant, &info, &err));
    assert_int_equal(info.metric, POMAI_METRIC_IP);
    assert_int_equal(info.id_kind, POMAI_ID_STRING);
    uint32_t first_id = info.id;

    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = 3;
    assert_refused(pomai_collection_create(db, "zebra", &options, &again, &err), POMAI_EEXISTS, "zebra");
    assert_null(again);
    assert_refused(pomai_collection_open(db, "yak", &again, &err), POMAI_ENOTFOUND, "yak");
    assert_refused(pomai_collection_drop(db, "yak", &err), POMAI_ENOTFOUND, "yak");
    assert_refused(pomai_collection_create(db, "a b", &options, &again, &err), POMAI_EINVAL, "a b");
    assert_refused(pomai_collection_create(db, "", &options, &again, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_collection_create(db, NULL, &options, &again, &err), POMAI_EINVAL, NULL);
    options.dim = 0;
    assert_refused(pomai_collection_create(db, "none", &options, &again, &err), POMAI_EDIM, "0");
    options.dim = (uint64_t)1 << 32;
    assert_refused(pomai_collection_create(db, "huge", &options, &again, &err), POMAI_EDIM, "4294967296");
    options.dim = 3;
    options.metric = (pomai_metric)77;
    assert_refused(pomai_collection_create(db, "odd", &options, &again, &err), POMAI_EINVAL, "77");

    /* A collection that is dropped is gone for every handle, and a new one of its name is another. */
    assert_ok(pomai_collection_open(db, "zebra", &again, &err));
    put_rows(zebra, 1, 2, 3);
    assert_ok(pomai_collection_drop(db, "zebra", &err));
    assert_refused(pomai_collection_get_info(zebra, &info, &err), POMAI_ENOTFOUND, "zebra");
    assert_refused(try_put(again, 1, 2, 3, &err), POMAI_ENOTFOUND, "zebra");
    pomai_collection_close(again);
    pomai_collection_close(zebra);
    zebra = create(db, "zebra", 9, POMAI_METRIC_L2, POMAI_ID_U64);
    assert_ok(pomai_collection_get_info(zebra, &info, &err));
    assert_true(info.id > first_id);
    assert_int_equal(info.rows, 0);
    pomai_collection_close(zebra);
    pomai_collection_close(ant);
    close_db(db);

    db = open_db(box, NULL);
    assert_ok(pomai_collection_open(db, "zebra", &zebra, &err));
    assert_int_equal(count_rows(zebra), 0);
    pomai_collection_close(zebra);
    close_db(db);
}

/* ---- rows ---- */

static void test_put_get_delete(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_rows *rows;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 2, POMAI_METRIC_L2, POMAI_ID_U64);
    uint64_t ids[] = {UINT64_MAX, 0, 5000};
    float vectors[] = {1, -0.0f, 3, 4, 5, 6};
    pomai_bytes documents[] = {{"{\"a\":1}", 7}, {NULL, 0}, {"\0\xff", 2}};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 3;
    batch.dim = 2;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, &ack, &err));
    assert_int_equal(ack.rows, 3);
    assert_int_equal(ack.level, POMAI_DURABILITY_SYNC);
    assert_int_equal(ack.first_id, 0);
    assert_true(ack.stamp_ns > 0 && ack.lsn > 0 && ack.parts > 0);

    uint64_t ask[] = {5000, 1, 0, UINT64_MAX, 0};
    pomai_ids list = {5, ask, NULL};
    assert_ok(pomai_get(coll, &list, NULL, &rows, &err));
    assert_int_equal(pomai_rows_count(rows), 5);
    assert_int_equal(pomai_rows_dim(rows), 2);
    assert_true(pomai_rows_found(rows, 0));
    assert_false(pomai_rows_found(rows, 1));
    assert_null(pomai_rows_vector(rows, 1));
    assert_null(pomai_rows_document(rows, 1).data);
    assert_int_equal(pomai_rows_stamp(rows, 1), 0);
    assert_memory_equal(pomai_rows_vector(rows, 0), vectors + 4, 8);
    assert_memory_equal(pomai_rows_vector(rows, 3), vectors, 8); /* the sign of -0.0 too */
    assert_memory_equal(pomai_rows_vector(rows, 4), vectors + 2, 8);
    assert_int_equal(pomai_rows_document(rows, 0).size, 2);
    assert_memory_equal(pomai_rows_document(rows, 0).data, "\0\xff", 2);
    assert_int_equal(pomai_rows_document(rows, 2).size, 0);
    assert_true(pomai_rows_stamp(rows, 0) > 0);
    pomai_rows_free(rows);

    float other[] = {9, 9};
    batch.rows = 1;
    batch.vectors = other;
    batch.documents = NULL;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, NULL)); /* replaces UINT64_MAX, document and all */
    uint64_t gone[] = {0, 12345};
    pomai_ids dead = {2, gone, NULL};
    assert_ok(pomai_delete(coll, &dead, NULL, &ack, &err));
    assert_int_equal(ack.rows, 1);
    for (int reopened = 0; reopened < 2; reopened++) {
        assert_int_equal(count_rows(coll), 2);
        assert_ok(pomai_get(coll, &list, NULL, &rows, &err));
        assert_false(pomai_rows_found(rows, 2));
        assert_memory_equal(pomai_rows_vector(rows, 3), other, 8);
        assert_int_equal(pomai_rows_document(rows, 3).size, 0);
        pomai_rows_free(rows);
        pomai_collection_close(coll);
        close_db(db);
        db = open_db(box, NULL);
        assert_ok(pomai_collection_open(db, "c", &coll, &err));
    }
    pomai_collection_close(coll);
    close_db(db);
}

static void test_string_ids(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_rows *rows;
    pomai_result *result;
    char *longest = calloc(1, 1000000);
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "s", 1, POMAI_METRIC_L2, POMAI_ID_STRING);
    memset(longest, 'x', 1000000);
    pomai_bytes ids[] = {{longest, POMAI_MAX_STRING_ID}, {"b\0", 2}, {"b", 1}, {"\xff", 1}, {"a", 1}};
    float vectors[5] = {0}, query = 0;
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 5;
    batch.dim = 1;
    batch.vectors = vectors;
    batch.string_ids = ids;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    assert_ok(pomai_search(coll, &query, 1, 1, 10, NULL, &result, &err));
    assert_int_equal(pomai_result_count(result, 0), 5);
    assert_null(pomai_result_ids(result, 0));
    static const char *const order[] = {"a", "b", "b", "x", "\xff"}; /* equal distances: byte by byte, shorter first */
    for (size_t i = 0; i < 5; i++)
        assert_memory_equal(pomai_result_string_id(result, 0, i).data, order[i], 1);
    assert_int_equal(pomai_result_string_id(result, 0, 1).size, 1);
    assert_int_equal(pomai_result_string_id(result, 0, 2).size, 2);
    pomai_result_free(result);
    pomai_ids list = {5, NULL, ids};
    assert_ok(pomai_get(coll, &list, NULL, &rows, &err));
    for (size_t i = 0; i < 5; i++)
        assert_true(pomai_rows_found(rows, i));
    pomai_rows_free(rows);

    batch.rows = 1;
    static const size_t bad[] = {0, POMAI_MAX_STRING_ID + 1, 1000000};
    for (unsigned i = 0; i < 3; i++) {
        pomai_bytes id = {longest, bad[i]};
        char digits[32];
        snprintf(digits, sizeof digits, "%zu", bad[i]);
        batch.string_ids = &id;
        pomai_ids one = {1, NULL, &id};
        assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EID, digits);
        assert_refused(pomai_delete(coll, &one, NULL, NULL, &err), POMAI_EID, digits);
        assert_refused(pomai_get(coll, &one, NULL, &rows, &err), POMAI_EID, digits);
        assert_null(rows);
    }
    pomai_bytes nothing = {NULL, 5};
    batch.string_ids = &nothing;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EID, NULL);
    uint64_t number = 1;
    batch.string_ids = NULL;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EID, NULL);
    batch.u64_ids = &number;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EID, NULL);
    assert_int_equal(count_rows(coll), 5);
    pomai_collection_close(coll);
    close_db(db);
    free(longest);
}

static void test_assigned_ids(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 4, POMAI_METRIC_L2, POMAI_ID_U64);
    uint64_t next = 0;
    for (unsigned i = 0; i < 4; i++) {
        assert_ok(try_put_assigned(coll, 10, 4, &ack, &err));
        assert_int_equal(ack.rows, 10);
        if (i > 0) assert_true(ack.first_id >= next);
        next = ack.first_id + 10;
    }
    put_rows(coll, next + 1000, 5, 4); /* given ids above: the assigned ones keep clear of them */
    for (unsigned i = 0; i < 120; i++) {
        assert_ok(try_put_assigned(coll, 10, 4, &ack, &err));
        assert_int_equal(count_rows(coll), 45 + 10 * (i + 1));
        next = ack.first_id + 10;
    }
    pomai_collection_close(coll);
    close_db(db);
    db = open_db(box, NULL);
    assert_ok(pomai_collection_open(db, "c", &coll, &err));
    assert_ok(try_put_assigned(coll, 10, 4, &ack, &err));
    assert_true(ack.first_id >= next);
    assert_int_equal(count_rows(coll), 1255);
    /* With the last id taken there is none left to assign, and that is said. */
    put_rows(coll, UINT64_MAX, 1, 4);
    assert_true(pomai_put(coll, &(pomai_batch){0}, NULL, NULL, &err) == POMAI_EINVAL);
    pomai_status status = try_put_assigned(coll, 10, 4, &ack, &err);
    assert_true(status == POMAI_EID || status == POMAI_ETOOBIG);
    assert_true(strlen(err.message) > 0);
    assert_int_equal(count_rows(coll), 1256);
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- search ---- */

static void test_search_answers(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_verdict verdict;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 2, POMAI_METRIC_L2, POMAI_ID_U64);
    float queries[] = {0, 0, 3, 4};
    assert_ok(pomai_search(coll, queries, 2, 2, 10, NULL, &result, &err)); /* nothing there yet */
    assert_int_equal(pomai_result_queries(result), 2);
    for (size_t q = 0; q < 2; q++) {
        assert_int_equal(pomai_result_count(result, q), 0);
        pomai_result_verdict(result, q, &verdict);
        assert_int_equal(verdict.completeness, POMAI_EXACT);
        assert_int_equal(verdict.fewer, POMAI_FEWER_ROWS);
        assert_int_equal(verdict.rows_visible, 0);
    }
    pomai_result_free(result);

    uint64_t ids[] = {7, 3, 5, 9};
    float vectors[] = {3, 4, 1, 0, 0, 1, 30, 40}; /* 3 and 5 are equally far from the origin */
    pomai_bytes documents[] = {{"seven", 5}, {NULL, 0}, {"five", 4}, {"nine", 4}};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 4;
    batch.dim = 2;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    assert_ok(pomai_search(coll, queries, 2, 2, 3, &options, &result, &err));
    static const uint64_t nearest[2][3] = {{3, 5, 7}, {7, 5, 3}};
    static const double distances[2][3] = {{1, 1, 25}, {0, 18, 20}};
    for (size_t q = 0; q < 2; q++) {
        assert_int_equal(pomai_result_count(result, q), 3);
        assert_memory_equal(pomai_result_ids(result, q), nearest[q], sizeof nearest[q]);
        assert_memory_equal(pomai_result_distances(result, q), distances[q], sizeof distances[q]);
        assert_null(pomai_result_string_id(result, q, 0).data);
        pomai_result_verdict(result, q, &verdict);
        assert_int_equal(verdict.completeness, POMAI_EXACT);
        assert_int_equal(verdict.fewer, POMAI_FEWER_NOT);
        assert_int_equal(verdict.rows_visible, 4);
        assert_true(verdict.expected_recall == 1.0);
    }
    assert_int_equal(pomai_result_document(result, 0, 0).size, 0);
    assert_memory_equal(pomai_result_document(result, 0, 1).data, "five", 4);
    assert_memory_equal(pomai_result_vector(result, 1, 0), vectors, 8);
    pomai_result_free(result);

    assert_ok(pomai_search(coll, queries, 1, 2, POMAI_MAX_K, NULL, &result, &err)); /* k far over the rows */
    assert_int_equal(pomai_result_count(result, 0), 4);
    assert_null(pomai_result_document(result, 0, 1).data);
    assert_null(pomai_result_vector(result, 0, 1));
    pomai_result_verdict(result, 0, &verdict);
    assert_int_equal(verdict.fewer, POMAI_FEWER_ROWS);
    pomai_result_free(result);
    pomai_collection_close(coll);
    close_db(db);
}

/* What nobody wants any more ends at the next rows, and says that it is cut. */
static void test_search_is_cancelled(void **state)
{
    struct box *box = *state;
    enum { ROWS = 5000, QUERIES = 300 };
    pomai_error err;
    pomai_result *result;
    pomai_verdict verdict;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    put_rows(coll, 0, ROWS, 4);
    static float queries[QUERIES * 4];
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    volatile int cancel = 0;
    options.cancel = &cancel;
    for (int round = 0; round < 2; round++, cancel = 1) {
        assert_ok(pomai_search(coll, queries, QUERIES, 4, 3, &options, &result, &err));
        for (size_t q = 0; q < QUERIES; q++) {
            pomai_result_verdict(result, q, &verdict);
            assert_int_equal(verdict.completeness, round == 0 ? POMAI_EXACT : POMAI_CUT);
            assert_int_equal(verdict.rows_scanned, round == 0 ? ROWS : 0);
            assert_int_equal(pomai_result_count(result, q), round == 0 ? 3 : 0);
        }
        pomai_result_free(result);
    }
    close_db(db);
}

static void test_distances_of_each_metric(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_db *db = open_db(box, NULL);
    float query[] = {1, 2}, row[] = {3, -4};
    static const double right[] = {40, 6, 0}; /* (1-3)^2 + (2+4)^2; 1 - (3 - 8); the last is computed below */
    for (int metric = POMAI_METRIC_L2; metric <= POMAI_METRIC_COSINE; metric++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", metric & 7);
        pomai_collection *coll = create(db, name, 2, (pomai_metric)metric, POMAI_ID_U64);
        pomai_batch batch = POMAI_BATCH_INIT;
        batch.rows = 1;
        batch.dim = 2;
        batch.vectors = row;
        assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
        assert_ok(pomai_search(coll, query, 1, 2, 1, NULL, &result, &err));
        double got = pomai_result_distances(result, 0)[0];
        if (metric == POMAI_METRIC_COSINE) {
            assert_true(fabs(got - (1 + 5 / (sqrt(5) * 5))) < 1e-15);
        } else {
            assert_true(got == right[metric - POMAI_METRIC_L2]);
        }
        pomai_result_free(result);
        pomai_collection_close(coll);
    }
    close_db(db);
}

enum { MANY_ROWS = 2100, MANY_DIM = 129, MANY_QUERIES = T_ONE_IN > 1 ? 40 : 140, MANY_K = 40 };

/* A number that says every id and distance of an answer. */
static uint64_t digest_result(const pomai_result *result)
{
    uint64_t h = 0;
    for (size_t q = 0; q < pomai_result_queries(result); q++) {
        for (size_t i = 0; i < pomai_result_count(result, q); i++) {
            uint64_t bits;
            memcpy(&bits, &pomai_result_distances(result, q)[i], sizeof bits);
            h = t_mix2(t_mix2(h, bits), pomai_result_ids(result, q)[i]);
        }
    }
    return h;
}

static uint64_t digest_model(const struct m_coll *model, const float *queries)
{
    uint64_t h = 0;
    for (size_t q = 0; q < MANY_QUERIES; q++) {
        struct m_hit *hits = m_search(model, queries + q * MANY_DIM);
        for (size_t i = 0; i < MANY_K; i++) {
            uint64_t bits;
            memcpy(&bits, &hits[i].distance, sizeof bits);
            h = t_mix2(t_mix2(h, bits), hits[i].row->id);
        }
        free(hits);
    }
    return h;
}

/* The same bits for every number of shards and helpers and every instruction set: those of the plain sum. */
static void test_same_answer_everywhere(void **state)
{
    struct box *box = *state;
    pomai_error err;
    float *vectors = calloc((size_t)MANY_ROWS * MANY_DIM, sizeof *vectors);
    float *queries = calloc((size_t)MANY_QUERIES * MANY_DIM, sizeof *queries);
    uint64_t *ids = calloc(MANY_ROWS, sizeof *ids);
    struct t_rng rng = t_rng_from(11);
    struct m_coll model = {.dim = MANY_DIM, .kind = POMAI_ID_U64};
    pomai_bytes none = {NULL, 0};
    for (size_t i = 0; i < MANY_ROWS; i++) {
        ids[i] = i * 1237;
        float *vector = vectors + i * MANY_DIM;
        t_styled_vector(&rng, i % 2 ? T_STYLE_PLAIN : T_STYLE_WHOLE, MANY_DIM, vector);
        if (i > 0 && i % 5 == 0) memcpy(vector, vector - MANY_DIM, MANY_DIM * sizeof *vector); /* ties */
        m_upsert(&model, ids[i], none, vector, none);
    }
    for (size_t q = 0; q < MANY_QUERIES; q++)
        t_styled_vector(&rng, q % 3 ? T_STYLE_PLAIN : T_STYLE_WHOLE, MANY_DIM, queries + q * MANY_DIM);
    static const uint32_t helpers[] = {UINT32_MAX, 1, 3};
    for (unsigned run = 0; run < 3 * sizeof levels / sizeof levels[0]; run++) {
        model.metric = (pomai_metric)(POMAI_METRIC_L2 + run % 3);
        uint64_t right = digest_model(&model, queries);
        setenv("POMAI_SIMD", levels[run / 3], 1); /* one that the machine lacks falls back to what it has */
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.shards = 1 + run % 4;
        options.search_threads = helpers[(run + run / 3) % 3];
        pomai_db *db = open_db(box, &options);
        pomai_collection *coll = create(db, "many", MANY_DIM, model.metric, POMAI_ID_U64);
        pomai_batch batch = POMAI_BATCH_INIT;
        batch.rows = MANY_ROWS;
        batch.dim = MANY_DIM;
        batch.vectors = vectors;
        batch.u64_ids = ids;
        assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
        pomai_result *result;
        assert_ok(pomai_search(coll, queries, MANY_QUERIES, MANY_DIM, MANY_K, NULL, &result, &err));
        assert_true(digest_result(result) == right);
        uint64_t all = 0;
        pomai_result_free(result);
        for (size_t q = 0; q < MANY_QUERIES; q++) { /* one by one, the rows are cut over the helpers */
            assert_ok(pomai_search(coll, queries + q * MANY_DIM, 1, MANY_DIM, MANY_K, NULL, &result, &err));
            for (size_t i = 0; i < MANY_K; i++) {
                uint64_t bits;
                memcpy(&bits, &pomai_result_distances(result, 0)[i], sizeof bits);
                all = t_mix2(t_mix2(all, bits), pomai_result_ids(result, 0)[i]);
            }
            pomai_result_free(result);
        }
        assert_true(all == right);
        pomai_collection_close(coll);
        close_db(db);
        t_remove(box->db);
    }
    unsetenv("POMAI_SIMD");
    m_clear(&model);
    free(vectors);
    free(queries);
    free(ids);
}

static void test_search_refusals(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 2, POMAI_METRIC_COSINE, POMAI_ID_U64);
    put_rows(coll, 1, 5, 2);
    float query[] = {1, 1, NAN, 1}, zero[] = {0, -0.0f};
    assert_refused(pomai_search(coll, query, 1, 3, 1, NULL, &result, &err), POMAI_EDIM, "3");
    assert_null(result);
    assert_refused(pomai_search(coll, query, 1, (uint64_t)1 << 32, 1, NULL, &result, &err), POMAI_EDIM, NULL);
    assert_refused(pomai_search(coll, query, 2, 2, 1, NULL, &result, &err), POMAI_ENOTFINITE, NULL);
    assert_refused(pomai_search(coll, zero, 1, 2, 1, NULL, &result, &err), POMAI_EZEROVEC, NULL);
    assert_refused(pomai_search(coll, query, 1, 2, 0, NULL, &result, &err), POMAI_EINVAL, "0");
    assert_refused(pomai_search(coll, query, 0, 2, 1, NULL, &result, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_search(coll, NULL, 1, 2, 1, NULL, &result, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_search(NULL, query, 1, 2, 1, NULL, &result, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_search(coll, query, 1, 2, 1, NULL, NULL, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_search(coll, query, 1, 2, POMAI_MAX_K + 1u, NULL, &result, &err), POMAI_ETOOBIG, "1000001");
    assert_refused(pomai_search(coll, query, UINT64_MAX / 2, 2, 5, NULL, &result, &err), POMAI_ETOOBIG, NULL);
    assert_refused(pomai_search(coll, query, (uint64_t)1 << 60, 2, 1, NULL, &result, &err), POMAI_ETOOBIG, NULL);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = 1u << 30;
    assert_refused(pomai_search(coll, query, 1, 2, 1, &options, &result, &err), POMAI_EINVAL, NULL);
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- refusals of writes ---- */

static void test_put_refusals(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 4, POMAI_METRIC_COSINE, POMAI_ID_U64);
    put_rows(coll, 1, 5, 4);
    const void *zeros = mmap(NULL, (size_t)256 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(zeros != MAP_FAILED);
    uint64_t ids[] = {10, 11, 10, 13};
    float vectors[16];
    for (unsigned i = 0; i < 16; i++)
        vectors[i] = (float)i + 1;
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 4;
    batch.dim = 4;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDUPID, "10");
    ids[2] = 12;
    vectors[9] = INFINITY;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_ENOTFINITE, "2"); /* names the row */
    for (unsigned i = 8; i < 12; i++)
        vectors[i] = -0.0f;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EZEROVEC, "2");
    vectors[9] = 1e-45f; /* the smallest there is: not a zero vector */
    batch.dim = 5;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDIM, "5");
    batch.dim = (uint64_t)1 << 32;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDIM, "4294967296");
    batch.dim = ((uint64_t)1 << 62) + 4; /* rows x dim x 4 wraps round to a small number */
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDIM, NULL);
    batch.dim = 0;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDIM, NULL);
    batch.dim = 4;
    batch.rows = 0;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, NULL);
    batch.rows = UINT64_MAX / 4;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_ETOOBIG, NULL);
    batch.rows = POMAI_MAX_BATCH_BYTES / 16 + 1;
    batch.vectors = zeros;
    batch.u64_ids = NULL;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_ETOOBIG, NULL);
    pomai_bytes documents[4] = {{zeros, POMAI_MAX_BATCH_BYTES}, {0}, {0}, {0}};
    batch.rows = 4;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    batch.documents = documents;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_ETOOBIG, NULL);
    documents[0] = (pomai_bytes){zeros, SIZE_MAX};
    documents[1] = (pomai_bytes){zeros, SIZE_MAX};
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_ETOOBIG, NULL);
    documents[0] = (pomai_bytes){NULL, 3};
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, NULL);
    batch.documents = NULL;
    batch.vectors = NULL;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, NULL);
    batch.vectors = vectors;
    batch.struct_size = 3;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, NULL);
    batch.struct_size = sizeof batch;
    assert_refused(pomai_put(coll, NULL, NULL, NULL, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_put(NULL, &batch, NULL, NULL, &err), POMAI_EINVAL, NULL);
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.durability = (pomai_durability)9;
    assert_refused(pomai_put(coll, &batch, &options, NULL, &err), POMAI_EINVAL, "9");
    pomai_bytes strings[4] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
    batch.u64_ids = NULL;
    batch.string_ids = strings;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EID, NULL);
    pomai_ids list = {4, NULL, strings};
    assert_refused(pomai_delete(coll, &list, NULL, NULL, &err), POMAI_EID, NULL);
    assert_int_equal(pomai_put(coll, NULL, NULL, NULL, NULL), POMAI_EINVAL); /* and err may be NULL */

    assert_int_equal(count_rows(coll), 5);
    pomai_collection_close(coll);
    close_db(db);
    db = open_db(box, NULL);
    assert_ok(pomai_collection_open(db, "c", &coll, &err));
    assert_int_equal(count_rows(coll), 5);
    pomai_collection_close(coll);
    close_db(db);
    munmap((void *)(uintptr_t)zeros, (size_t)256 << 20);
}

struct changer {
    volatile uint64_t *ids;
    atomic_bool stop;
};

enum { CHANGED_IDS = 4096 };

static void *change_ids(void *argument)
{
    struct changer *c = argument;
    for (uint64_t add = CHANGED_IDS; !atomic_load(&c->stop); add = -add)
        for (unsigned i = 0; i < CHANGED_IDS; i++)
            c->ids[i] += add;
    return NULL;
}

/* Ids are borrowed during a put and read more than once. Who writes to them meanwhile breaks the contract; the rows may
 * be refused or go wrong, but no memory is overrun. */
static void test_ids_change_during_a_put(void **state)
{
#ifdef __SANITIZE_THREAD__
    skip(); /* the race is the test's own */
#endif
    struct box *box = *state;
    static uint64_t ids[CHANGED_IDS];
    static float vectors[CHANGED_IDS];
    struct changer changer = {.ids = ids};
    pthread_t thread;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_error err;
    options.shards = 8;
    pomai_db *db = open_db(box, &options);
    pomai_collection *coll = create(db, "c", 1, POMAI_METRIC_L2, POMAI_ID_U64);
    for (unsigned i = 0; i < CHANGED_IDS; i++)
        ids[i] = i;
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = CHANGED_IDS;
    batch.dim = 1;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    assert_int_equal(pthread_create(&thread, NULL, change_ids, &changer), 0);
    for (unsigned i = 0; i < 200; i++) {
        pomai_status status = pomai_put(coll, &batch, NULL, NULL, &err);
        if (status == POMAI_EINVAL) assert_non_null(strstr(err.message, "changed"));
        assert_true(status == POMAI_OK || status == POMAI_EINVAL);
    }
    atomic_store(&changer.stop, true);
    pthread_join(thread, NULL);
    pomai_collection_close(coll);
    close_db(db);
}

static void test_error_is_left_alone_on_success(void **state)
{
    struct box *box = *state;
    pomai_error err;
    memset(&err, 0x5a, sizeof err);
    pomai_error before = err;
    pomai_db *db = NULL;
    assert_int_equal(pomai_open(box->db, NULL, &db, &err), POMAI_OK);
    assert_int_equal(try_put(pomai_default(db), 1, 2, 3, &err), POMAI_OK);
    assert_int_equal(pomai_sync(db, &err), POMAI_OK);
    assert_int_equal(pomai_close(db, &err), POMAI_OK);
    assert_memory_equal(&err, &before, sizeof err);
}

/* One put of nearly the largest size, and the database that holds it opened again. */
static void test_largest_batch(void **state)
{
    struct box *box = *state;
    enum { DIM = 1024, ROWS = (64 << 20) / (DIM * 4 + 8) };
    pomai_error err;
    pomai_ack ack;
    pomai_rows *rows;
    float *vectors = calloc((size_t)ROWS * DIM, sizeof(float));
    uint64_t *ids = calloc(ROWS, sizeof *ids);
    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = i;
        vectors[i * DIM + i % DIM] = (float)i;
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = ROWS;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.wal_file_bytes = 65536;
    pomai_db *db = open_db(box, &options);
    assert_ok(pomai_put(pomai_default(db), &batch, NULL, &ack, &err));
    close_db(db);
    db = open_db(box, NULL);
    assert_int_equal(count_rows(pomai_default(db)), ROWS);
    pomai_ids list = {1, &ids[ROWS - 1], NULL};
    assert_ok(pomai_get(pomai_default(db), &list, NULL, &rows, &err));
    assert_memory_equal(pomai_rows_vector(rows, 0), vectors + (size_t)(ROWS - 1) * DIM, DIM * sizeof(float));
    pomai_rows_free(rows);
    close_db(db);
    free(vectors);
    free(ids);
}

/* ---- tickets, blocks, deadlines ---- */

static atomic_bool hold_commits;

static void hold_commit(enum pm_point point)
{
    while (point == PM_POINT_COMMIT_WRITE_BEGIN && atomic_load(&hold_commits))
        usleep(100);
}

static pomai_db *open_held(struct box *box, uint32_t slots)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 1;
    options.mailbox_slots = slots;
    atomic_store(&hold_commits, false);
    pm_point_hook = hold_commit;
    return open_db(box, &options);
}

/* While its commit is held back, a put is neither done nor seen; then it is both. */
static void test_tickets(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_ticket *tickets[3];
    pomai_db *db = open_held(box, 16);
    pomai_collection *coll = pomai_default(db);
    put_rows(coll, 1, 1, 4);
    float vectors[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    uint64_t ids[] = {10, 20, 30};
    pomai_batch batch[3];
    atomic_store(&hold_commits, true);
    for (unsigned i = 0; i < 3; i++) {
        batch[i] = (pomai_batch)POMAI_BATCH_INIT;
        batch[i].rows = 1;
        batch[i].dim = 4;
        batch[i].vectors = vectors + 4 * i;
        batch[i].u64_ids = ids + i;
        assert_ok(pomai_put_async(coll, &batch[i], NULL, &tickets[i], &err));
    }
    assert_refused(pomai_wait(tickets[1], 0, &ack, &err), POMAI_EDEADLINE, NULL);
    assert_refused(pomai_wait(tickets[1], 2000, &ack, &err), POMAI_EDEADLINE, NULL);
    assert_int_equal(count_rows(coll), 1);
    assert_refused(pomai_close(db, &err), POMAI_EBUSY, NULL);
    atomic_store(&hold_commits, false);
    assert_ok(pomai_wait(tickets[1], UINT64_MAX, &ack, &err));
    assert_int_equal(ack.rows, 1);
    assert_ok(pomai_wait(tickets[1], 0, NULL, &err));
    assert_ok(pomai_wait(tickets[0], UINT64_MAX, NULL, &err)); /* the earlier one is done too */
    pomai_ticket_free(tickets[2]);                             /* waits */
    assert_int_equal(count_rows(coll), 4);
    pomai_ticket_free(tickets[1]);
    pomai_ticket_free(tickets[0]);
    close_db(db);
    pm_point_hook = NULL;
}

/* A full mailbox: busy at once, or after the deadline; what was refused is not there. */
static void test_full_mailbox(void **state)
{
    struct box *box = *state;
    enum { MOST = 64 };
    pomai_error err;
    pomai_db *db = open_held(box, 2);
    pomai_collection *coll = pomai_default(db);
    pomai_ticket *tickets[MOST];
    put_rows(coll, 0, 1, 4);
    float vector[4] = {1};
    uint64_t ids[MOST];
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.deadline_us = 0;
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = 4;
    batch.vectors = vector;
    unsigned admitted = 0;
    atomic_store(&hold_commits, true);
    pomai_status status = POMAI_OK;
    while (admitted < MOST && status == POMAI_OK) {
        ids[admitted] = 100 + admitted;
        batch.u64_ids = &ids[admitted];
        status = pomai_put_async(coll, &batch, &options, &tickets[admitted], &err);
        admitted += status == POMAI_OK;
    }
    assert_true(admitted < MOST);
    refused_as(status, POMAI_EBUSY, &err, NULL, "pomai_put_async", __LINE__);
    assert_null(tickets[admitted]);
    assert_refused(pomai_put(coll, &batch, &options, NULL, &err), POMAI_EBUSY, NULL);
    pomai_ids list = {1, ids, NULL};
    assert_refused(pomai_delete(coll, &list, &options, NULL, &err), POMAI_EBUSY, NULL);
    options.deadline_us = 3000;
    assert_refused(pomai_put(coll, &batch, &options, NULL, &err), POMAI_EDEADLINE, NULL);
    uint64_t last_id = UINT64_MAX; /* refused, it does not use up the ids that are left to assign */
    options.deadline_us = 0;
    batch.u64_ids = &last_id;
    assert_refused(pomai_put(coll, &batch, &options, NULL, &err), POMAI_EBUSY, NULL);
    batch.u64_ids = &ids[admitted];
    atomic_store(&hold_commits, false);
    for (unsigned i = 0; i < admitted; i++) {
        assert_ok(pomai_wait(tickets[i], UINT64_MAX, NULL, &err));
        pomai_ticket_free(tickets[i]);
    }
    assert_int_equal(count_rows(coll), 1 + admitted);
    options.deadline_us = UINT64_MAX;
    assert_ok(pomai_put(coll, &batch, &options, NULL, &err));
    assert_int_equal(count_rows(coll), 2 + admitted);
    pomai_ack ack;
    assert_ok(try_put_assigned(coll, 1, 4, &ack, &err));
    close_db(db);
    pm_point_hook = NULL;
}

/* A block may outlive the handle that it was reserved through. */
static void test_block_outlives_its_handle(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    pomai_collection *coll;
    pomai_block *block;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = 4;
    assert_ok(pomai_open(box->db, NULL, &db, &err));
    assert_ok(pomai_collection_create(db, "short", &options, &coll, &err));
    assert_ok(pomai_reserve(coll, 3, 4, &block, &err));
    pomai_collection_close(coll);
    assert_ok(pomai_commit(block, NULL, NULL, NULL, &err));
    pomai_block_free(block);
    assert_ok(pomai_collection_open(db, "short", &coll, &err));
    assert_int_equal(count_rows(coll), 3);
    assert_ok(pomai_reserve(coll, 3, 4, &block, &err));
    assert_ok(pomai_collection_drop(db, "short", &err));
    assert_int_equal(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_ENOTFOUND);
    pomai_block_free(block);
    pomai_collection_close(coll);
    close_db(db);
}

static void test_blocks(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_block *block;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 3, POMAI_METRIC_COSINE, POMAI_ID_U64);
    assert_refused(pomai_reserve(coll, 0, 3, &block, &err), POMAI_EINVAL, NULL);
    assert_null(block);
    assert_refused(pomai_reserve(coll, 5, 4, &block, &err), POMAI_EDIM, "4");
    assert_refused(pomai_reserve(coll, (uint64_t)1 << 40, 3, &block, &err), POMAI_ETOOBIG, NULL);
    assert_refused(pomai_reserve(coll, 5, (uint64_t)1 << 32, &block, &err), POMAI_EDIM, NULL);
    assert_ok(pomai_reserve(coll, 5, 3, &block, &err));
    float *vectors = pomai_block_vectors(block);
    assert_non_null(vectors);
    assert_int_equal((uintptr_t)vectors % 64, 0);
    for (unsigned i = 0; i < 15; i++)
        assert_true(vectors[i] == 0.0f);
    assert_refused(pomai_commit(block, NULL, NULL, &ack, &err), POMAI_EZEROVEC, NULL);
    for (unsigned i = 0; i < 15; i++)
        vectors[i] = (float)i + 1;
    vectors[7] = NAN;
    assert_refused(pomai_commit(block, NULL, NULL, &ack, &err), POMAI_ENOTFINITE, "2");
    assert_ptr_equal(pomai_block_vectors(block), vectors);
    vectors[7] = 8;
    pomai_bytes documents[5] = {{"x", 1}, {0}, {0}, {0}, {"yz", 2}};
    assert_ok(pomai_commit(block, documents, NULL, &ack, &err));
    assert_int_equal(ack.rows, 5);
    assert_null(pomai_block_vectors(block));
    assert_true(pomai_commit(block, NULL, NULL, &ack, &err) != POMAI_OK);
    pomai_block_free(block);
    assert_int_equal(count_rows(coll), 5);
    pomai_rows *rows;
    uint64_t last = ack.first_id + 4;
    pomai_ids list = {1, &last, NULL};
    assert_ok(pomai_get(coll, &list, NULL, &rows, &err));
    assert_memory_equal(pomai_rows_vector(rows, 0), ((float[]){13, 14, 15}), 12);
    assert_memory_equal(pomai_rows_document(rows, 0).data, "yz", 2);
    pomai_rows_free(rows);
    assert_ok(pomai_reserve(coll, 5, 3, &block, &err)); /* given up */
    pomai_block_free(block);
    pomai_collection *strings = create(db, "s", 3, POMAI_METRIC_L2, POMAI_ID_STRING);
    assert_refused(pomai_reserve(strings, 5, 3, &block, &err), POMAI_EID, NULL);
    pomai_collection_close(strings);
    pomai_collection_close(coll);
    close_db(db);
}

static void test_close_waits_for_nobody(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_block *block;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 3, POMAI_METRIC_L2, POMAI_ID_U64);
    assert_refused(pomai_close(db, &err), POMAI_EBUSY, NULL);
    put_rows(coll, 1, 3, 3); /* still open */
    assert_ok(pomai_reserve(coll, 5, 3, &block, &err));
    pomai_collection_close(coll);
    assert_refused(pomai_close(db, &err), POMAI_EBUSY, NULL);
    pomai_block_free(block);
    close_db(db);
}

static void test_levels(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    for (int level = POMAI_DURABILITY_OS; level <= POMAI_DURABILITY_SYNC; level++) {
        options.durability = (pomai_durability)level;
        pomai_db *db = open_db(box, &options);
        assert_ok(try_put_assigned(pomai_default(db), 3, 4, &ack, &err));
        assert_true((int)ack.level >= level);
        assert_ok(pomai_sync(db, &err));
        close_db(db);
    }
    options.durability = (pomai_durability)4;
    pomai_db *db;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_EINVAL, "4");
    db = open_db(box, NULL);
    assert_int_equal(count_rows(pomai_default(db)), 9);
    close_db(db);
}

/* ---- inspecting ---- */

struct lines {
    unsigned count, stop_after;
};

static int take_line(void *context, const char *line)
{
    struct lines *lines = context;
    assert_non_null(line);
    assert_null(strchr(line, '\n'));
    return ++lines->count == lines->stop_after;
}

static int stop_progress(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    assert_true(done <= total);
    return 1;
}

static void test_inspectors(void **state)
{
    struct box *box = *state;
    pomai_error err;
    char *json;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE; /* so that there is a log to look at */
    pomai_db *db = open_db(box, &options);
    for (unsigned i = 0; i < 5; i++)
        put_rows(pomai_default(db), i * 100, 10, 4);
    assert_ok(pomai_stats(db, &json, &err));
    assert_int_equal(json[0], '{');
    assert_int_equal(json[strlen(json) - 1], '}');
    pomai_free(json);
    close_db(db);
    for (int as_json = 0; as_json < 2; as_json++) {
        struct lines lines = {0, 0};
        assert_ok(pomai_dump_wal(box->db, as_json, take_line, &lines, &err));
        assert_true(lines.count >= 5);
        struct lines some = {0, 2};
        pomai_dump_wal(box->db, as_json, take_line, &some, NULL);
        assert_int_equal(some.count, 2);
    }
    assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err));
    assert_int_equal(json[0], '{');
    pomai_free(json);
    json = NULL;
    assert_refused(pomai_verify_path(box->db, stop_progress, NULL, &json, &err), POMAI_EDEADLINE, NULL);
    pomai_free(json);
    char missing[T_PATH_MAX];
    t_join(missing, box->dir, "missing");
    json = NULL;
    assert_refused(pomai_verify_path(missing, NULL, NULL, &json, &err), POMAI_ENOTFOUND, "missing");
    pomai_free(json);
    assert_refused(pomai_dump_wal(missing, 0, take_line, &(struct lines){0}, &err), POMAI_ENOTFOUND, "missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_texts),
        cmocka_unit_test(test_freeing_nothing),
        BOXED(test_default_is_made_by_the_first_put),
        BOXED(test_refused_first_put),
        BOXED(test_default_takes_string_ids),
        BOXED(test_first_puts_race),
        BOXED(test_collections),
        BOXED(test_put_get_delete),
        BOXED(test_string_ids),
        BOXED(test_assigned_ids),
        BOXED(test_search_answers),
        BOXED(test_search_is_cancelled),
        BOXED(test_distances_of_each_metric),
        BOXED(test_same_answer_everywhere),
        BOXED(test_search_refusals),
        BOXED(test_put_refusals),
        BOXED(test_ids_change_during_a_put),
        BOXED(test_error_is_left_alone_on_success),
        BOXED(test_largest_batch),
        BOXED(test_tickets),
        BOXED(test_full_mailbox),
        BOXED(test_blocks),
        BOXED(test_block_outlives_its_handle),
        BOXED(test_close_waits_for_nobody),
        BOXED(test_levels),
        BOXED(test_inspectors),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
