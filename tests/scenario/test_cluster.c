/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collections whose rows are clustered by a path: where rows lie in segments, and that nothing else is another for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../support/scenario.h"
#include "core/engine/engine.h"
#include "index/columns/columns.h"

enum { DIM = 4, ROWS = 3000, KINDS = 12 };

static uint64_t seed = 1; /* --seed S */

static const char *const given[] = {"a.tenant", "a\\.b.\\$c", "\\$x", "tenant", "a\"\x01\xc3\xa9"};
static const char *const kept[] = {"a.tenant", "a\\.b.$c", "\\$x", "tenant", "a\"\x01\xc3\xa9"};

/* In the order in which values lie; the last four have none. */
static const char *const values[KINDS] = {
    "{\"tenant\": null}",
    "{\"other\": 1, \"tenant\": false}",
    "{\"tenant\": true}",
    "{\"tenant\": -7.5, \"x\": {\"tenant\": 99}}",
    "{\"tenant\": 10}",
    "{\"tenant\": 123456789012345678901234567890}",
    "{\"tenant\": \"t1\"}",
    "{\"tenant\": \"t\\u0032\"}",
    "{\"other\": \"t1\", \"x\": {\"tenant\": \"t0\"}}",
    "{\"tenant\": \"t0\", \"tenant\": \"t0\"}",
    "no object",
    "",
};
enum { VALUED = 8 };

static unsigned kind_of(uint64_t id, unsigned version)
{
    return (unsigned)(t_mix2(seed + version, id) % KINDS);
}

static pomai_collection *create_by(pomai_db *db, const char *name, const char *path)
{
    pomai_error err;
    pomai_collection *coll;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = DIM;
    options.cluster_by = path;
    assert_ok(pomai_collection_create(db, name, &options, &coll, &err));
    return coll;
}

/* Rows of a version, by turns in all shards. */
static void put_kinds(pomai_collection *coll, uint64_t first, uint64_t rows, uint64_t step, unsigned version)
{
    pomai_error err;
    for (uint64_t i = first; i < first + rows; i += step) {
        float vector[DIM];
        const uint64_t id = i * 4096;
        const unsigned kind = kind_of(id, version);
        const pomai_bytes document = {values[kind], strlen(values[kind])};
        scenario_vectors(vector, id + version, 1, DIM);
        pomai_batch batch = POMAI_BATCH_INIT;
        pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
        options.durability = POMAI_DURABILITY_OS;
        batch.rows = 1;
        batch.dim = DIM;
        batch.vectors = vector;
        batch.u64_ids = &id;
        batch.documents = &document;
        assert_ok(pomai_put(coll, &batch, &options, NULL, &err));
    }
}

static void delete_some(pomai_collection *coll, uint64_t first, uint64_t step)
{
    pomai_error err;
    for (uint64_t i = first; i < ROWS; i += step) {
        const uint64_t id = i * 4096;
        const pomai_ids ids = {1, &id, NULL};
        assert_ok(pomai_delete(coll, &ids, NULL, NULL, &err));
    }
}

/* The place of a document's value among those that lie in order. */
static unsigned place_of(pomai_bytes document)
{
    for (unsigned i = 0; i < KINDS; i++)
        if (document.size == strlen(values[i]) &&
            (document.size == 0 || memcmp(document.data, values[i], document.size) == 0))
            return i < VALUED ? i : VALUED;
    fail_msg("a document that nobody put");
    return 0;
}

/* How many rows come before one whose value does; over all segments of a collection. *segments, *rows: of them. */
static uint64_t descents(pomai_db *db, const char *name, uint32_t *segments, uint64_t *rows)
{
    pomai_error err;
    uint64_t count = 0;
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    const pm_shown *shown = atomic_load(&pm_db_find(db, name)->shown);
    *segments = shown->segments;
    *rows = 0;
    for (uint32_t i = 0; i < shown->segments; i++) {
        pm_segment *segment = shown->segment[i];
        const uint64_t all = pm_segment_rows(segment);
        assert_ok(pm_segment_check(segment, PM_SEG_ALL, 0, all, &err));
        for (uint64_t row = 1; row < all; row++)
            count += place_of(pm_segment_document(segment, row)) < place_of(pm_segment_document(segment, row - 1));
        *rows += all;
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    return count;
}

static void assert_clustered(pomai_db *db, uint32_t wanted)
{
    uint32_t segments;
    uint64_t rows, mixed = descents(db, "mixed", &segments, &rows);
    assert_true(mixed > rows / 10);
    assert_int_equal(descents(db, "clustered", &segments, &rows), 0);
    assert_true(rows > ROWS / 2);
    if (wanted > 0) assert_int_equal(segments, wanted);
}

/* ---- both collections say the same ---- */

static void assert_same_rows(pomai_collection *a, pomai_collection *b, const pomai_snapshot *snapshot)
{
    pomai_error err;
    for (uint64_t first = 0; first < ROWS; first += 500) {
        uint64_t id[500];
        pomai_rows *of_a, *of_b;
        pomai_get_options options = POMAI_GET_OPTIONS_INIT;
        options.snapshot = snapshot;
        for (uint64_t i = 0; i < 500; i++)
            id[i] = (first + i) * 4096;
        const pomai_ids ids = {500, id, NULL};
        assert_ok(pomai_get(a, &ids, &options, &of_a, &err));
        assert_ok(pomai_get(b, &ids, &options, &of_b, &err));
        for (size_t i = 0; i < 500; i++) {
            if (pomai_rows_found(of_a, i) != pomai_rows_found(of_b, i))
                fail_msg("seed %llu: the row %llu is there in one of them", (unsigned long long)seed,
                         (unsigned long long)id[i]);
            if (!pomai_rows_found(of_a, i)) continue;
            const pomai_bytes x = pomai_rows_document(of_a, i), y = pomai_rows_document(of_b, i);
            assert_int_equal(x.size, y.size);
            if (x.size > 0) assert_memory_equal(x.data, y.data, x.size);
            assert_memory_equal(pomai_rows_vector(of_a, i), pomai_rows_vector(of_b, i), DIM * sizeof(float));
        }
        pomai_rows_free(of_a);
        pomai_rows_free(of_b);
    }
}

static void assert_same_answers(pomai_collection *a, pomai_collection *b)
{
    static const char *const filters[] = {"{\"tenant\": \"t1\"}", "{\"tenant\": 10}",
                                          "{\"tenant\": {\"$exists\": false}}", "{\"tenant\": {\"$gte\": \"t1\"}}"};
    pomai_error err;
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++) {
        pomai_result *of_a, *of_b;
        float query[DIM];
        pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
        options.filter = filters[f];
        options.filter_size = strlen(filters[f]);
        scenario_vectors(query, f, 1, DIM);
        assert_ok(pomai_search(a, query, 1, DIM, 50, &options, &of_a, &err));
        assert_ok(pomai_search(b, query, 1, DIM, 50, &options, &of_b, &err));
        assert_int_equal(pomai_result_count(of_a, 0), pomai_result_count(of_b, 0));
        assert_true(pomai_result_count(of_a, 0) == 50);
        assert_memory_equal(pomai_result_ids(of_a, 0), pomai_result_ids(of_b, 0), 50 * sizeof(uint64_t));
        pomai_result_free(of_a);
        pomai_result_free(of_b);
    }
}

/* The same writes to both, flushed and compacted several times while ends are stored and a snapshot shows them all. */
static void rows_of_a_value_lie_together(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_snapshot *snapshot = NULL;
    pomai_open_options few = POMAI_OPEN_OPTIONS_INIT;
    few.shards = 3;
    pomai_db *db = open_db(box, &few);
    pomai_collection *both[2] = {create_by(db, "mixed", NULL), create_by(db, "clustered", "tenant")};
    for (int i = 0; i < 2; i++) {
        put_kinds(both[i], 0, ROWS, 1, 0);
        if (i == 1) assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    }
    for (int i = 0; i < 2; i++)
        delete_some(both[i], 7, 11); /* stored before the rows are in a segment, which has them for the snapshot */
    assert_ok(pomai_flush(db, &err));
    assert_clustered(db, 1);
    assert_same_rows(both[0], both[1], NULL);
    assert_same_rows(both[0], both[1], snapshot);
    for (int i = 0; i < 2; i++) {
        put_kinds(both[i], 5, ROWS / 2, 3, 1);
        delete_some(both[i], 2, 13);
    }
    assert_ok(pomai_flush(db, &err));
    assert_clustered(db, 2);
    assert_ok(pomai_compact(db, both[0], &err));
    assert_ok(pomai_compact(db, both[1], &err));
    assert_clustered(db, 1);
    assert_same_rows(both[0], both[1], NULL);
    assert_same_rows(both[0], both[1], snapshot);
    assert_same_answers(both[0], both[1]);
    pomai_snapshot_close(snapshot);
    assert_ok(pomai_compact(db, NULL, &err));
    assert_clustered(db, 1);
    assert_ok(pomai_build_indexes(db, NULL, &err)); /* columns, too */
    assert_same_answers(both[0], both[1]);
    pomai_collection_close(both[0]);
    pomai_collection_close(both[1]);
    close_db(db);
    db = open_db(box, NULL);
    assert_ok(pomai_collection_open(db, "mixed", &both[0], &err));
    assert_ok(pomai_collection_open(db, "clustered", &both[1], &err));
    assert_same_rows(both[0], both[1], NULL);
    put_kinds(both[1], 1, ROWS, 2, 2); /* it is clustered for good */
    assert_ok(pomai_compact(db, both[1], &err));
    assert_clustered(db, 0);
    pomai_collection_close(both[0]);
    pomai_collection_close(both[1]);
    close_db(db);
    char *json;
    assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err));
    pomai_free(json);
}

/* Of equal values, and of rows without one, those that came first lie first. */
static void equal_values_keep_their_order(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_open_options one = POMAI_OPEN_OPTIONS_INIT;
    one.shards = 1;
    pomai_db *db = open_db(box, &one);
    pomai_collection *coll = create_by(db, "clustered", "tenant");
    put_kinds(coll, 0, ROWS, 1, 0);
    assert_ok(pomai_flush(db, &err));
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    pm_segment *segment = ((const pm_shown *)atomic_load(&pm_db_find(db, "clustered")->shown))->segment[0];
    assert_ok(pm_segment_check(segment, PM_SEG_ALL, 0, ROWS, &err));
    for (uint64_t row = 1; row < ROWS; row++) {
        pm_id before, id;
        pm_segment_id(segment, row - 1, &before);
        pm_segment_id(segment, row, &id);
        const unsigned last = place_of(pm_segment_document(segment, row - 1));
        if (last == place_of(pm_segment_document(segment, row))) assert_true(before.u64 < id.u64);
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- the option ---- */

static void the_path_is_kept(void **state)
{
    const struct box *box = *state;
    char name[32], *json;
    pomai_error err;
    pomai_collection_info info;
    pomai_db *db = open_db(box, NULL);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        snprintf(name, sizeof name, "c%zu", i);
        pomai_collection_close(create_by(db, name, given[i]));
    }
    pomai_collection_close(create_by(db, "none", NULL));
    for (int turn = 0; turn < 2; turn++) {
        pomai_collection *coll;
        for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
            snprintf(name, sizeof name, "c%zu", i);
            assert_ok(pomai_collection_open(db, name, &coll, &err));
            assert_ok(pomai_collection_get_info(coll, &info, &err));
            assert_string_equal(info.cluster_by, kept[i]);
            pomai_collection_close(coll);
        }
        assert_ok(pomai_collection_open(db, "none", &coll, &err));
        assert_ok(pomai_collection_get_info(coll, &info, &err));
        assert_string_equal(info.cluster_by, "");
        pomai_collection_close(coll);
        assert_ok(pomai_stats(db, &json, &err));
        assert_non_null(strstr(json, "\"cluster_by\": \"a\\\\.b.$c\""));
        pomai_free(json);
        close_db(db);
        db = open_db(box, NULL);
    }
    close_db(db);
}

static void bad_paths_are_refused(void **state)
{
    const struct box *box = *state;
    char longest[POMAI_MAX_CLUSTER_BY + 2], keys[80] = "k";
    pomai_error err;
    pomai_collection *coll;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_db *db = open_db(box, NULL);
    memset(longest, 'x', sizeof longest);
    longest[POMAI_MAX_CLUSTER_BY + 1] = '\0';
    for (int i = 0; i < 32; i++)
        strcat(keys, ".k");
    const char *const bad[] = {"", "$and", "$x", "a\xff", "a\\b", longest, keys};
    options.dim = DIM;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        options.cluster_by = bad[i];
        assert_refused(pomai_collection_create(db, "bad", &options, &coll, &err), POMAI_EINVAL, "cluster_by");
    }
    longest[POMAI_MAX_CLUSTER_BY] = '\0';
    options.cluster_by = longest;
    assert_ok(pomai_collection_create(db, "good", &options, &coll, &err));
    pomai_collection_close(coll);
    close_db(db);
    db = open_db(box, NULL);
    close_db(db);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        BOXED(rows_of_a_value_lie_together),
        BOXED(equal_values_keep_their_order),
        BOXED(the_path_is_kept),
        BOXED(bad_paths_are_refused),
    };
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--seed") == 0) seed = box_seed = strtoull(argv[i + 1], NULL, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
