/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that live long, through pomai.h: flushed, found again, replaced, deleted, merged, expired, held by snapshots;
 * the files that this makes and takes away; and what an interruption in the middle of it leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "../support/scenario.h"

enum { DIM = 8 };
#define FAR_OFF UINT64_C(9000000000000000000)

/* ---- files ---- */

static uint64_t tree_blocks;
static unsigned tree_logs, tree_segments;

static int count_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    const size_t size = strlen(path);
    (void)where;
    tree_blocks += kind == FTW_F ? (uint64_t)st->st_blocks * 512 : 0;
    tree_logs += kind == FTW_F && size > 4 && strcmp(path + size - 4, ".wal") == 0;
    const char *segments = strstr(path, "/segments/");
    tree_segments += kind == FTW_D && segments != NULL && strchr(segments + 10, '/') == NULL;
    return 0;
}

static void count_files(const struct box *box)
{
    tree_blocks = 0;
    tree_logs = tree_segments = 0;
    assert_int_equal(nftw(box->db, count_entry, 16, FTW_PHYS), 0);
}

static unsigned logs_of(const struct box *box)
{
    count_files(box);
    return tree_logs;
}

static unsigned segments_of(const struct box *box)
{
    count_files(box);
    return tree_segments;
}

/* A number of the statistics, all of them with that name added up. */
static uint64_t stat_of(pomai_db *db, const char *name)
{
    pomai_error err;
    char *json, key[64];
    uint64_t sum = 0;
    snprintf(key, sizeof key, "\"%s\": ", name);
    assert_ok(pomai_stats(db, &json, &err));
    for (const char *at = json; (at = strstr(at, key)) != NULL; at += strlen(key))
        sum += strtoull(at + strlen(key), NULL, 10);
    pomai_free(json);
    return sum;
}

/* ---- rows ---- */

struct words {
    uint64_t word[2];
};

static struct words digest_of(pomai_db *db, const pomai_snapshot *snapshot)
{
    pomai_error err;
    struct words w;
    assert_ok(pomai_digest(db, snapshot, w.word, &err));
    return w;
}

static bool same(struct words a, struct words b)
{
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

/* Vectors that say `what`, so that an overwritten row differs. */
static void put_as(pomai_collection *coll, uint64_t first, uint64_t rows, uint64_t dim, uint64_t what)
{
    pomai_error err;
    uint64_t *ids = calloc(rows, sizeof *ids);
    float *vectors = calloc(rows * dim, sizeof *vectors);
    assert_true(ids != NULL && vectors != NULL);
    for (uint64_t i = 0; i < rows; i++) {
        ids[i] = first + i;
        scenario_vectors(vectors + i * dim, t_mix2(first + i, what), 1, dim);
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = rows;
    batch.dim = dim;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    free(ids);
    free(vectors);
}

static void delete_run(pomai_collection *coll, uint64_t first, uint64_t rows, uint64_t there)
{
    pomai_error err;
    pomai_ack ack;
    uint64_t *ids = calloc(rows, sizeof *ids);
    assert_non_null(ids);
    for (uint64_t i = 0; i < rows; i++)
        ids[i] = first + i;
    pomai_ids list = {rows, ids, NULL};
    assert_ok(pomai_delete(coll, &list, NULL, &ack, &err));
    assert_int_equal(ack.rows, there);
    free(ids);
}

/* The row is what put_as made of it, by get and by search; what 0: it is not there. */
static void check_row(pomai_collection *coll, uint64_t id, uint64_t what, const pomai_snapshot *snapshot,
                      pomai_read_mode mode)
{
    pomai_error err;
    pomai_rows *rows;
    pomai_result *result;
    float vector[DIM];
    pomai_ids ids = {1, &id, NULL};
    pomai_get_options get = POMAI_GET_OPTIONS_INIT;
    pomai_search_options search = POMAI_SEARCH_OPTIONS_INIT;
    get.snapshot = search.snapshot = snapshot;
    get.mode = search.mode = mode;
    scenario_vectors(vector, t_mix2(id, what), 1, DIM);
    assert_ok(pomai_get(coll, &ids, &get, &rows, &err));
    if (pomai_rows_found(rows, 0) != (what != 0)) fail_msg("id %llu is not as expected", (unsigned long long)id);
    if (what != 0) assert_memory_equal(pomai_rows_vector(rows, 0), vector, sizeof vector);
    pomai_rows_free(rows);
    assert_ok(pomai_search(coll, vector, 1, DIM, 1, &search, &result, &err));
    if (what != 0) {
        assert_int_equal(pomai_result_count(result, 0), 1);
        assert_int_equal(pomai_result_ids(result, 0)[0], id);
        assert_true(pomai_result_distances(result, 0)[0] == 0);
    }
    pomai_result_free(result);
}

static void check_run(pomai_collection *coll, uint64_t first, uint64_t rows, uint64_t what)
{
    for (uint64_t id = first; id < first + rows; id++)
        check_row(coll, id, what, NULL, POMAI_READ_LATEST);
}

static void flush(pomai_db *db)
{
    pomai_error err;
    assert_ok(pomai_flush(db, &err));
}

static void compact(pomai_db *db)
{
    pomai_error err;
    assert_ok(pomai_compact(db, NULL, &err));
}

static pomai_open_options small_options(void)
{
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 2;
    o.wal_file_bytes = 64 << 10;
    return o;
}

static void verify(const struct box *box)
{
    pomai_error err;
    char *json = NULL;
    assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err));
    assert_non_null(json);
    pomai_free(json);
}

/* ---- flushed and found again ---- */

static void test_flush_and_reopen(void **state)
{
    struct box *box = *state;
    pomai_open_report report;
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    for (uint64_t i = 0; i < 40; i++) /* 1.3 MB of log */
        put_as(pomai_default(db), i * 4096, 1000, DIM, 1);
    assert_true(logs_of(box) > 10);
    flush(db);
    assert_true(logs_of(box) <= 4); /* the newest of each shard, and at most one that is not full yet */
    assert_true(stat_of(db, "retired_files") > 6);
    assert_int_equal(stat_of(db, "unflushed_bytes"), 0);
    check_run(pomai_default(db), 4096, 20, 1);
    struct words before = digest_of(db, NULL);
    close_db(db);
    assert_int_equal(logs_of(box), 2);
    db = open_db(box, &o);
    pomai_get_open_report(db, &report);
    assert_int_equal(report.records, 0);
    assert_int_equal(report.rows, 0);
    assert_true(report.log_bytes <= 2 * 512);
    assert_int_equal(count_rows(pomai_default(db)), 40000);
    check_run(pomai_default(db), 39 * 4096, 20, 1);
    assert_true(same(before, digest_of(db, NULL)));
    close_db(db);
    verify(box);
}

/* What is asked for at close is left to the log. */
static void test_no_flush_at_close(void **state)
{
    struct box *box = *state;
    pomai_open_report report;
    pomai_open_options o = small_options();
    o.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    pomai_db *db = open_db(box, &o);
    put_as(pomai_default(db), 0, 100, DIM, 1);
    struct words before = digest_of(db, NULL);
    close_db(db);
    assert_int_equal(segments_of(box), 0);
    db = open_db(box, &o);
    pomai_get_open_report(db, &report);
    assert_int_equal(report.rows, 100);
    assert_true(same(before, digest_of(db, NULL)));
    close_db(db);
}

static void check_across(pomai_collection *coll)
{
    check_run(coll, 0, 10, 0);
    check_run(coll, 10, 40, 1);
    check_run(coll, 50, 90, 2);
    check_run(coll, 140, 5, 0);
    check_run(coll, 145, 5, 3);
    assert_int_equal(count_rows(coll), 135);
}

static void test_across_segments(void **state)
{
    struct box *box = *state;
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = pomai_default(db);
    put_as(coll, 0, 100, DIM, 1);
    flush(db);
    put_as(coll, 50, 100, DIM, 2);
    flush(db);
    delete_run(coll, 0, 10, 10);
    delete_run(coll, 140, 12, 10); /* two were never there */
    flush(db);
    delete_run(coll, 0, 10, 0);
    put_as(coll, 145, 5, DIM, 3);
    check_across(coll);
    flush(db);
    check_across(coll);
    assert_true(segments_of(box) >= 3);
    struct words before = digest_of(db, NULL);
    close_db(db);
    verify(box);
    db = open_db(box, &o);
    check_across(pomai_default(db));
    compact(db);
    check_across(pomai_default(db));
    assert_int_equal(segments_of(box), 1);
    assert_int_equal(stat_of(db, "segment_rows"), 135);
    assert_true(same(before, digest_of(db, NULL)));
    close_db(db);
    verify(box);
}

static void test_assigned_ids_go_on(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    for (uint64_t i = 0; i < 4; i++) {
        assert_ok(try_put_assigned(pomai_default(db), 10, DIM, &ack, &err));
        assert_int_equal(ack.first_id, i * 10);
        if (i == 0) flush(db);
        if (i == 1) delete_run(pomai_default(db), 15, 5, 5); /* the largest */
        if (i == 2) {                                        /* all there are, and nothing is left of them on disk */
            delete_run(pomai_default(db), 0, 30, 25);
            flush(db);
            compact(db);
            assert_int_equal(stat_of(db, "segment_rows"), 0);
        }
        close_db(db);
        db = open_db(box, &o);
    }
    assert_int_equal(count_rows(pomai_default(db)), 10);
    close_db(db);
}

static pomai_bytes text(const char *s)
{
    return (pomai_bytes){s, strlen(s)};
}

static void test_strings_and_documents(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = create(db, "strings", 2, POMAI_METRIC_L2, POMAI_ID_STRING);
    pomai_bytes ids[] = {text("a"), text("b\xff"), text("c c"), {"\0", 1}};
    pomai_bytes documents[] = {text("{}"), {NULL, 0}, {"\xfe\0x", 3}, text("four")};
    float vectors[] = {1, 2, 3, 4, 5, 6, 7, 8};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.dim = 2;
    batch.vectors = vectors;
    batch.string_ids = ids;
    batch.documents = documents;
    batch.rows = 4;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    flush(db);
    documents[1] = text("now it has one");
    batch.rows = 2;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    pomai_collection_close(coll);
    for (unsigned round = 0; round < 3; round++) {
        if (round == 1) flush(db);
        if (round == 2) compact(db);
        close_db(db);
        db = open_db(box, &o);
        assert_ok(pomai_collection_open(db, "strings", &coll, &err));
        pomai_ids list = {4, NULL, ids};
        pomai_rows *rows;
        assert_ok(pomai_get(coll, &list, NULL, &rows, &err));
        for (size_t i = 0; i < 4; i++) {
            pomai_bytes document = pomai_rows_document(rows, i);
            assert_true(pomai_rows_found(rows, i));
            assert_int_equal(document.size, documents[i].size);
            if (document.size > 0) assert_memory_equal(document.data, documents[i].data, document.size);
            assert_memory_equal(pomai_rows_vector(rows, i), vectors + 2 * i, 2 * sizeof(float));
        }
        pomai_rows_free(rows);
        assert_int_equal(count_rows(coll), 4);
        pomai_collection_close(coll);
    }
    close_db(db);
    verify(box);
}

static void test_drop_removes_files(void **state)
{
    struct box *box = *state;
    pomai_error err;
    char path[T_PATH_MAX];
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    pomai_collection *one = create(db, "one", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
    pomai_collection *two = create(db, "two", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
    put_as(one, 0, 100, DIM, 1);
    put_as(two, 0, 100, DIM, 2);
    flush(db);
    put_as(one, 50, 100, DIM, 3); /* and some in memory */
    assert_int_equal(segments_of(box), 2);
    assert_ok(pomai_collection_drop(db, "one", &err));
    flush(db);
    assert_int_equal(segments_of(box), 1);
    assert_int_equal(stat_of(db, "unflushed_bytes"), 0);
    pomai_collection_close(one);
    check_run(two, 0, 100, 2);
    pomai_collection_close(two);
    close_db(db);
    db = open_db(box, &o);
    t_join(path, box->db, "collections/1");
    assert_int_not_equal(access(path, F_OK), 0);
    one = create(db, "one", DIM, POMAI_METRIC_L2, POMAI_ID_U64); /* nothing of the old one is in it */
    assert_int_equal(count_rows(one), 0);
    put_as(one, 0, 3, DIM, 5);
    pomai_collection_close(one);
    close_db(db);
    verify(box);
}

/* ---- views of the past ---- */

static void test_snapshots(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_snapshot *snapshot;
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = pomai_default(db);
    put_as(coll, 0, 100, DIM, 1);
    flush(db);
    put_as(coll, 100, 50, DIM, 1);
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    struct words then = digest_of(db, NULL);
    assert_true(same(then, digest_of(db, snapshot)));
    assert_int_equal(stat_of(db, "snapshots"), 1);
    put_as(coll, 0, 50, DIM, 2);
    delete_run(coll, 50, 100, 100);
    put_as(coll, 200, 10, DIM, 2);
    for (unsigned round = 0; round < 3; round++) {
        if (round == 1) flush(db);
        if (round == 2) compact(db);
        assert_true(same(then, digest_of(db, snapshot)));
        assert_int_equal(count_rows(coll), 60);
        for (uint64_t id = 0; id < 150; id += 7) {
            check_row(coll, id, 1, snapshot, POMAI_READ_LATEST);
            check_row(coll, id, id < 50 ? 2 : 0, NULL, POMAI_READ_LATEST);
        }
        check_row(coll, 205, 0, snapshot, POMAI_READ_LATEST);
    }
    assert_int_equal(stat_of(db, "snapshot_held_rows"), 150); /* what it alone keeps */
    assert_refused(pomai_close(db, &err), POMAI_EBUSY, "snapshot");
    pomai_snapshot_close(snapshot);
    pomai_snapshot_close(NULL);
    compact(db); /* now nobody needs them */
    assert_int_equal(stat_of(db, "snapshot_held_rows"), 0);
    assert_int_equal(stat_of(db, "segment_rows"), 60);
    close_db(db);
    verify(box);
}

/* A damaged segment is left as it is; the others are merged all the same, and the call says so each time. */
static void test_compaction_around_damage(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    char path[T_PATH_MAX + 64];
    put_as(pomai_default(db), 0, 1000, DIM, 1); /* more than the others: they come first */
    close_db(db);
    snprintf(path, sizeof path, "%s/collections/1/segments/1/vectors.arrow", box->db);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 2000, SEEK_SET), 0);
    const int byte = fgetc(f);
    assert_int_equal(fseek(f, 2000, SEEK_SET), 0);
    fputc(byte ^ 1, f);
    fclose(f);
    db = open_db(box, &o);
    for (uint64_t first = 1000; first < 1300; first += 100) {
        put_as(pomai_default(db), first, 100, DIM, 1);
        flush(db);
    }
    for (int i = 0; i < 2; i++)
        assert_refused(pomai_compact(db, NULL, &err), POMAI_ECORRUPT, i == 0 ? "" : "damaged");
    assert_int_equal(stat_of(db, "segments"), 2);
    close_db(db);
    db = open_db(box, &o); /* which has forgotten what was found */
    put_as(pomai_default(db), 1300, 100, DIM, 1);
    for (int i = 0; i < 2; i++)
        assert_refused(pomai_compact(db, NULL, &err), POMAI_ECORRUPT, "damaged");
    assert_int_equal(stat_of(db, "unflushed_bytes"), 0); /* damage does not keep rows in memory */
    assert_int_equal(stat_of(db, "segments"), 2);
    const uint64_t id = 1305;
    const pomai_ids list = {1, &id, NULL};
    pomai_rows *rows;
    assert_ok(pomai_get(pomai_default(db), &list, NULL, &rows, &err)); /* which lies elsewhere */
    assert_true(pomai_rows_found(rows, 0));
    pomai_rows_free(rows);
    close_db(db);
    db = open_db(box, &o);
    assert_int_equal(stat_of(db, "segments"), 2); /* the damaged one is still named, too */
    assert_int_equal(stat_of(db, "segment_rows"), 1400);
    close_db(db);
}

/* Rows that only a snapshot kept through a compaction do not come back when it is gone. */
static void test_ends_of_merged_rows(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_snapshot *snapshot;
    o.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    pomai_db *db = open_db(box, &o);
    put_as(pomai_default(db), 0, 100, DIM, 1);
    flush(db);
    put_as(pomai_default(db), 100, 100, DIM, 1);
    flush(db);
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    delete_run(pomai_default(db), 0, 10, 10);
    put_as(pomai_default(db), 100, 5, DIM, 2);
    compact(db);
    check_row(pomai_default(db), 3, 1, snapshot, POMAI_READ_LATEST);
    struct words before = digest_of(db, NULL);
    pomai_snapshot_close(snapshot);
    close_db(db);
    db = open_db(box, &o);
    check_run(pomai_default(db), 0, 10, 0);
    check_run(pomai_default(db), 100, 5, 2);
    assert_int_equal(count_rows(pomai_default(db)), 190);
    assert_true(same(before, digest_of(db, NULL)));
    close_db(db);
    verify(box);
}

/* What is in memory and what is in segments are written once, together, with what a snapshot shows and without the
 * rest; what ended meanwhile has ended in what was written. */
static void test_memory_and_segments_in_one_pass(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_snapshot *snapshot;
    o.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = pomai_default(db);
    put_as(coll, 0, 100, DIM, 1);
    delete_run(coll, 90, 10, 10);
    flush(db);
    put_as(coll, 200, 50, DIM, 1);
    flush(db);
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    const struct words shown = digest_of(db, snapshot);
    put_as(coll, 50, 100, DIM, 2); /* 40 of which replace rows, and 10 are again what was deleted */
    delete_run(coll, 0, 10, 10);
    delete_run(coll, 140, 5, 5);
    compact(db);
    assert_int_equal(segments_of(box), 1);
    assert_int_equal(stat_of(db, "compactions"), 1);
    assert_int_equal(stat_of(db, "flushed_rows"), 90 + 50 + 95);
    assert_int_equal(stat_of(db, "compacted_rows"), 90 + 50); /* the snapshot shows all of them */
    assert_int_equal(stat_of(db, "segment_rows"), 90 + 50 + 95);
    assert_true(same(shown, digest_of(db, snapshot)));
    check_row(coll, 3, 1, snapshot, POMAI_READ_LATEST);
    check_row(coll, 60, 1, snapshot, POMAI_READ_LATEST);
    const struct words before = digest_of(db, NULL);
    pomai_snapshot_close(snapshot);
    close_db(db);
    verify(box);
    db = open_db(box, &o);
    coll = pomai_default(db);
    check_run(coll, 0, 10, 0);
    check_run(coll, 10, 40, 1);
    check_run(coll, 50, 90, 2);
    check_run(coll, 140, 5, 0);
    check_run(coll, 145, 5, 2);
    check_run(coll, 200, 50, 1);
    assert_int_equal(count_rows(coll), 185);
    assert_true(same(before, digest_of(db, NULL)));
    put_as(coll, 300, 1, DIM, 1);
    compact(db); /* now nobody needs the 50 that the snapshot showed */
    assert_int_equal(stat_of(db, "segment_rows"), 186);
    close_db(db);
    verify(box);
}

/* Puts may wait for a flush: of all collections together it merges segments of four times `flush_bytes` at most, and
 * only where somebody asked for it. */
static void test_merges_of_a_flush(void **state)
{
    enum { ROWS = 600, MORE = 20 };
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll[2];
    for (int i = 0; i < 2; i++) {
        coll[i] = create(db, i == 0 ? "a" : "b", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
        put_as(coll[i], 0, ROWS, DIM, 1);
        pomai_collection_close(coll[i]);
    }
    close_db(db);
    o.flush_bytes = 16384;
    for (uint64_t turn = 0; turn < 2; turn++) {
        db = open_db(box, &o);
        for (int i = 0; i < 2; i++) {
            assert_ok(pomai_collection_open(db, i == 0 ? "a" : "b", &coll[i], &err));
            put_as(coll[i], ROWS + turn * MORE, MORE, DIM, 1);
        }
        assert_ok(pomai_compact(db, turn == 0 ? NULL : coll[1], &err));
        /* Of `a` those before, of `b` all; then of `b` those before. */
        assert_int_equal(stat_of(db, "compacted_rows"), turn == 0 ? ROWS + ROWS + MORE : ROWS + MORE);
        assert_int_equal(stat_of(db, "segments"), turn == 0 ? 2 : 3);
        assert_int_equal(stat_of(db, "segment_rows"), 2 * (ROWS + (turn + 1) * MORE));
        for (int i = 0; i < 2; i++)
            pomai_collection_close(coll[i]);
        close_db(db);
    }
    verify(box);
}

static void test_snapshot_of_another_database(void **state)
{
    struct box *box = *state;
    struct box other = *box;
    pomai_error err;
    pomai_snapshot *snapshot;
    pomai_rows *rows;
    pomai_result *result;
    uint64_t id = 1, words[2];
    float query[DIM] = {1};
    pomai_ids ids = {1, &id, NULL};
    t_join(other.db, box->dir, "other");
    pomai_db *db = open_db(box, NULL), *db2 = open_db(&other, NULL);
    put_as(pomai_default(db), 0, 3, DIM, 1);
    assert_ok(pomai_snapshot_open(db2, &snapshot, &err));
    pomai_get_options get = POMAI_GET_OPTIONS_INIT;
    pomai_search_options search = POMAI_SEARCH_OPTIONS_INIT;
    get.snapshot = search.snapshot = snapshot;
    assert_refused(pomai_get(pomai_default(db), &ids, &get, &rows, &err), POMAI_EINVAL, "snapshot");
    assert_refused(pomai_search(pomai_default(db), query, 1, DIM, 1, &search, &result, &err), POMAI_EINVAL, "snapshot");
    assert_refused(pomai_digest(db, snapshot, words, &err), POMAI_EINVAL, "snapshot");
    pomai_snapshot_close(snapshot);
    close_db(db);
    close_db(db2);
}

static void test_bounded_reads(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    o.freeze_rows = 1000000;
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = pomai_default(db);
    put_as(coll, 0, 10, DIM, 1);
    check_row(coll, 3, 0, NULL, POMAI_READ_BOUNDED);
    assert_ok(pomai_freeze(db, coll, &err));
    check_row(coll, 3, 1, NULL, POMAI_READ_BOUNDED);
    put_as(coll, 0, 5, DIM, 2);
    delete_run(coll, 8, 2, 2);
    check_row(coll, 3, 1, NULL, POMAI_READ_BOUNDED); /* as it was frozen */
    check_row(coll, 9, 1, NULL, POMAI_READ_BOUNDED);
    check_row(coll, 3, 2, NULL, POMAI_READ_LATEST);
    flush(db); /* freezes, too */
    check_row(coll, 3, 2, NULL, POMAI_READ_BOUNDED);
    check_row(coll, 9, 0, NULL, POMAI_READ_BOUNDED);
    put_as(coll, 3, 1, DIM, 3);
    check_row(coll, 3, 2, NULL, POMAI_READ_BOUNDED);
    compact(db);
    check_row(coll, 3, 3, NULL, POMAI_READ_BOUNDED);
    close_db(db);
}

/* ---- time to live ---- */

static void put_expiring(pomai_collection *coll, uint64_t id, uint64_t expiry)
{
    pomai_error err;
    float vector[DIM];
    scenario_vectors(vector, t_mix2(id, 1), 1, DIM);
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = DIM;
    batch.vectors = vector;
    batch.u64_ids = &id;
    batch.expiry_ns = &expiry;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
}

static uint64_t expiry_of(pomai_collection *coll, uint64_t id, uint64_t *stamp)
{
    pomai_error err;
    pomai_rows *rows;
    pomai_ids ids = {1, &id, NULL};
    assert_ok(pomai_get(coll, &ids, NULL, &rows, &err));
    const uint64_t expiry = pomai_rows_expiry(rows, 0);
    *stamp = pomai_rows_stamp(rows, 0);
    pomai_rows_free(rows);
    return expiry;
}

static void check_expiring(pomai_db *db)
{
    pomai_error err;
    pomai_collection *coll, *lived;
    uint64_t stamp;
    assert_ok(pomai_collection_open(db, "never", &coll, &err));
    assert_ok(pomai_collection_open(db, "lived", &lived, &err));
    check_row(coll, 1, 0, NULL, POMAI_READ_LATEST);
    check_row(coll, 2, 1, NULL, POMAI_READ_LATEST);
    check_row(coll, 3, 1, NULL, POMAI_READ_LATEST);
    check_row(coll, 4, 0, NULL, POMAI_READ_LATEST); /* what had replaced it has expired */
    assert_int_equal(count_rows(coll), 2);
    assert_int_equal(expiry_of(coll, 2, &stamp), FAR_OFF);
    assert_int_equal(expiry_of(coll, 3, &stamp), 0);
    assert_int_equal(count_rows(lived), 2);
    const uint64_t expiry = expiry_of(lived, 1, &stamp);
    assert_int_equal(expiry, stamp + UINT64_C(1000000000000000000));
    assert_int_equal(expiry_of(lived, 2, &stamp), FAR_OFF);
    pomai_collection_close(coll);
    pomai_collection_close(lived);
}

static void test_expiry(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_collection_options c = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_collection *coll, *lived;
    pomai_db *db = open_db(box, &o);
    coll = create(db, "never", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
    c.dim = DIM;
    c.ttl_ns = UINT64_C(1000000000000000000);
    assert_ok(pomai_collection_create(db, "lived", &c, &lived, &err));
    put_expiring(coll, 4, 0);
    flush(db);
    put_expiring(coll, 1, 1);
    put_expiring(coll, 2, FAR_OFF);
    put_expiring(coll, 3, 0);
    put_expiring(coll, 4, 12345);
    put_as(lived, 1, 1, DIM, 1);
    put_expiring(lived, 2, FAR_OFF);
    put_expiring(lived, 3, 1);
    pomai_collection_close(coll);
    pomai_collection_close(lived);
    check_expiring(db);
    struct words before = digest_of(db, NULL);
    for (unsigned round = 0; round < 3; round++) {
        if (round == 1) flush(db);
        if (round == 2) compact(db);
        check_expiring(db);
        assert_true(same(before, digest_of(db, NULL)));
        close_db(db);
        db = open_db(box, &o);
    }
    assert_int_equal(stat_of(db, "segment_rows"), 4); /* the others are gone for good */
    close_db(db);
    verify(box);
}

/* ---- space ---- */

enum { SPACE_ROWS = 4000, SPACE_DIM = 64 };

static uint64_t space_after(const struct box *box, unsigned loads)
{
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    for (unsigned i = 0; i < loads; i++) {
        put_as(pomai_default(db), 0, SPACE_ROWS, SPACE_DIM, i);
        flush(db);
    }
    compact(db);
    assert_int_equal(count_rows(pomai_default(db)), SPACE_ROWS);
    assert_int_equal(stat_of(db, "segment_rows"), SPACE_ROWS);
    close_db(db);
    verify(box);
    count_files(box);
    return tree_blocks;
}

static void test_compaction_gives_space_back(void **state)
{
    struct box *box = *state;
    struct box other = *box;
    t_join(other.db, box->dir, "other");
    const uint64_t fresh = space_after(box, 1), used = space_after(&other, 11);
    if (used > fresh + fresh * 3 / 10)
        fail_msg("%llu bytes after ten overwrites, %llu freshly loaded", (unsigned long long)used,
                 (unsigned long long)fresh);
}

/* ---- interruptions ---- */

static atomic_int die_at = -1;
static atomic_bool die_late; /* only behind SEGMENT_WRITTEN: a compaction changes the catalogue twice */

static void die_there(enum pm_point point)
{
    if (point == PM_POINT_SEGMENT_WRITTEN) atomic_store(&die_late, false);
    if ((int)point == atomic_load(&die_at) && !atomic_load(&die_late)) _exit(7);
}

/* What is interrupted: a flush, a compaction of segments, or one of segments and of what is in memory. */
enum { FLUSHES, COMPACTS, COMPACTS_ALL, KINDS };

static void work_and_die(const struct box *box, enum pm_point point, int kind)
{
    const bool compacts = kind == COMPACTS;
    pomai_open_options o = small_options();
    pomai_db *db;
    pm_point_hook = die_there;
    if (pomai_open(box->db, &o, &db, NULL) != POMAI_OK) _exit(1);
    put_as(pomai_default(db), 50, 100, DIM, 2);
    delete_run(pomai_default(db), 0, 10, 10);
    if (compacts && pomai_flush(db, NULL) != POMAI_OK) _exit(2);
    atomic_store(&die_late, compacts);
    atomic_store(&die_at, (int)point);
    (void)(kind != FLUSHES ? pomai_compact(db, NULL, NULL) : pomai_flush(db, NULL));
    _exit(3);
}

static void interrupted_at(const struct box *box, enum pm_point point, int kind)
{
    int status;
    pomai_open_options o = small_options();
    pomai_db *db = open_db(box, &o);
    put_as(pomai_default(db), 0, 100, DIM, 1);
    flush(db);
    put_as(pomai_default(db), 10, 1, DIM, 1); /* so that the first segment has a liveness file, which will change */
    close_db(db);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) work_and_die(box, point, kind);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
        fail_msg("point %d, kind %d: the child did not get there", (int)point, kind);
    verify(box);
    o.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    db = open_db(box, &o);
    check_run(pomai_default(db), 0, 10, 0);
    check_run(pomai_default(db), 10, 40, 1);
    check_run(pomai_default(db), 50, 100, 2);
    assert_int_equal(count_rows(pomai_default(db)), 140);
    close_db(db); /* first: a compaction may have begun at once */
    o.flags = POMAI_OPEN_READONLY;
    db = open_db(box, &o);
    if (segments_of(box) != stat_of(db, "segments"))
        fail_msg("point %d, kind %d: %u directories, %llu segments", (int)point, kind, segments_of(box),
                 (unsigned long long)stat_of(db, "segments"));
    close_db(db);
    verify(box);
    t_remove(box->db);
}

static void test_interruptions(void **state)
{
    static const enum pm_point points[] = {
        PM_POINT_TABLE_ROTATED,    PM_POINT_SEGMENT_WRITTEN, PM_POINT_MANIFEST_WRITTEN, PM_POINT_MANIFEST_SYNCED,
        PM_POINT_MANIFEST_RENAMED, PM_POINT_CURRENT_RENAMED, PM_POINT_MANIFEST_DONE,    PM_POINT_SEGMENT_NAMED,
        PM_POINT_ENDS_CARRIED,     PM_POINT_SEGMENT_SHOWN};
    for (unsigned i = 0; i < sizeof points / sizeof points[0]; i++) {
        for (int kind = 0; kind < KINDS; kind++)
            if (kind != COMPACTS || points[i] != PM_POINT_TABLE_ROTATED) interrupted_at(*state, points[i], kind);
    }
}

/* Compaction takes the number of its segment, and then a flush that is due takes a later one and is listed first. And
 * it comes to its end, whatever is put meanwhile. */
struct putter {
    pomai_collection *coll;
    atomic_bool stop;
};

static void *keep_putting(void *arg)
{
    struct putter *p = arg;
    for (uint64_t i = 0; !atomic_load(&p->stop); i++)
        if (try_put(p->coll, 1000000 + i % 1000 * 32, 32, DIM, NULL) != POMAI_OK) break;
    return NULL;
}

static void test_flushes_during_compactions(void **state)
{
    struct box *box = *state;
    pomai_open_options o = small_options();
    o.flush_bytes = 4096;
    pthread_t thread;
    pomai_db *db = open_db(box, &o);
    struct putter p = {.coll = pomai_default(db)};
    put_as(p.coll, 0, 2000, DIM, 1);
    assert_int_equal(pthread_create(&thread, NULL, keep_putting, &p), 0);
    for (unsigned i = 0; i < 6; i++) {
        put_as(p.coll, 0, 100, DIM, i + 1);
        compact(db);
    }
    atomic_store(&p.stop, true);
    pthread_join(thread, NULL);
    struct words before = digest_of(db, NULL);
    close_db(db);
    verify(box);
    db = open_db(box, &o);
    assert_true(same(before, digest_of(db, NULL)));
    close_db(db);
}

/* ---- counting ---- */

enum { COUNTED = 3000, COUNT_WRITERS = 2, COUNT_PUTS = 1500, COUNTS = 20000 };

struct replacer {
    pomai_collection *coll;
    uint64_t first;
    _Atomic bool *stop;
};

static void *keep_replacing(void *arg)
{
    const struct replacer *r = arg;
    pomai_error err;
    uint64_t ids[10];
    float vectors[10 * DIM];
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_write_options how = POMAI_WRITE_OPTIONS_INIT;
    how.durability = POMAI_DURABILITY_OS;
    batch.rows = 10;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    for (unsigned n = 0; n < COUNT_PUTS && !atomic_load(r->stop); n++) {
        scenario_vectors(vectors, n, 10, DIM);
        for (uint64_t i = 0; i < 10; i++) /* of both shards */
            ids[i] = (r->first + (n * 7 + i * COUNTED / 10) % COUNTED) % COUNTED * 4096;
        if (pomai_put(r->coll, &batch, &how, NULL, &err) != POMAI_OK) break;
    }
    return NULL;
}

/* Rows are only replaced, so each count is that of all of them, while they are flushed and merged, too. */
static void test_counts_beside_writers(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    o.flush_bytes = 64 << 10;
    o.shards = 2;
    _Atomic bool stop = false;
    pthread_t thread[COUNT_WRITERS];
    struct replacer writer[COUNT_WRITERS];
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = pomai_default(db);
    for (uint64_t id = 0; id < COUNTED; id += 10) {
        uint64_t ids[10];
        for (uint64_t i = 0; i < 10; i++)
            ids[i] = (id + i) * 4096;
        assert_ok(try_put_batch(coll, ids, id, 10, DIM, NULL, &err));
    }
    for (uint64_t w = 0; w < COUNT_WRITERS; w++) {
        writer[w] = (struct replacer){coll, w * 1234, &stop};
        assert_int_equal(pthread_create(&thread[w], NULL, keep_replacing, &writer[w]), 0);
    }
    uint64_t least = UINT64_MAX, most = 0;
    for (unsigned i = 0; i < COUNTS; i++) {
        pomai_collection_info info;
        assert_ok(pomai_collection_get_info(coll, &info, &err));
        least = info.rows < least ? info.rows : least;
        most = info.rows > most ? info.rows : most;
    }
    atomic_store(&stop, true);
    for (unsigned w = 0; w < COUNT_WRITERS; w++)
        pthread_join(thread[w], NULL);
    assert_int_equal(least, COUNTED);
    assert_int_equal(most, COUNTED);
    close_db(db);
    verify(box);
}

/* ---- readers ---- */

static void test_read_only(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_snapshot *snapshot;
    pomai_db *db = open_db(box, &o), *second;
    put_as(pomai_default(db), 0, 100, DIM, 1);
    flush(db);
    put_as(pomai_default(db), 90, 20, DIM, 2);
    delete_run(pomai_default(db), 0, 5, 5);
    struct words before = digest_of(db, NULL);
    close_db(db);
    o.flags = POMAI_OPEN_READONLY;
    db = open_db(box, &o);
    second = open_db(box, &o);
    assert_true(same(before, digest_of(db, NULL)) && same(before, digest_of(second, NULL)));
    check_run(pomai_default(db), 5, 85, 1);
    check_run(pomai_default(second), 90, 20, 2);
    assert_refused(pomai_flush(db, &err), POMAI_EREADONLY, NULL);
    assert_refused(pomai_compact(db, NULL, &err), POMAI_EREADONLY, NULL);
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    assert_true(same(before, digest_of(db, snapshot)));
    pomai_snapshot_close(snapshot);
    close_db(db);
    close_db(second);
}

/* ---- more than can be flushed ---- */

static atomic_bool hold_flush, flush_is_held;

static void hold_maintenance(enum pm_point point)
{
    if (point != PM_POINT_SEGMENT_WRITTEN) return;
    while (atomic_load(&hold_flush)) {
        atomic_store(&flush_is_held, true);
        usleep(500);
    }
}

static pomai_status put_waiting(pomai_db *db, uint64_t deadline_us, pomai_error *err)
{
    float vectors[64 * DIM];
    uint64_t ids[64];
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_write_options w = POMAI_WRITE_OPTIONS_INIT;
    scenario_vectors(vectors, 1, 64, DIM);
    for (uint64_t i = 0; i < 64; i++)
        ids[i] = i;
    batch.rows = 64;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    w.deadline_us = deadline_us;
    return pomai_put(pomai_default(db), &batch, &w, NULL, err);
}

static void test_back_pressure(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options o = small_options();
    pomai_status status = POMAI_OK;
    o.flush_bytes = 16384;
    atomic_store(&hold_flush, true);
    atomic_store(&flush_is_held, false);
    pm_point_hook = hold_maintenance;
    pomai_db *db = open_db(box, &o);
    for (unsigned i = 0; i < 1000 && status == POMAI_OK; i++) {
        memset(&err, 0, sizeof err);
        status = put_waiting(db, 0, &err);
    }
    refused_as(status, POMAI_EBUSY, &err, "flushed", "pomai_put", __LINE__);
    while (!atomic_load(&flush_is_held))
        usleep(500);
    assert_refused(put_waiting(db, 2000, &err), POMAI_EDEADLINE, NULL);
    assert_int_equal(count_rows(pomai_default(db)), 64); /* reads go on */
    assert_true(stat_of(db, "stalls") >= 2);
    atomic_store(&hold_flush, false);
    assert_ok(put_waiting(db, UINT64_MAX, &err));
    close_db(db);
    pm_point_hook = NULL;
    verify(box);
}

static int teardown(void **state)
{
    pm_point_hook = NULL;
    return box_remove(state);
}

#define LIFE(test) cmocka_unit_test_setup_teardown(test, box_make, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(test_flush_and_reopen),
        LIFE(test_no_flush_at_close),
        LIFE(test_across_segments),
        LIFE(test_assigned_ids_go_on),
        LIFE(test_strings_and_documents),
        LIFE(test_drop_removes_files),
        LIFE(test_snapshots),
        LIFE(test_compaction_around_damage),
        LIFE(test_ends_of_merged_rows),
        LIFE(test_memory_and_segments_in_one_pass),
        LIFE(test_merges_of_a_flush),
        LIFE(test_snapshot_of_another_database),
        LIFE(test_bounded_reads),
        LIFE(test_expiry),
        LIFE(test_compaction_gives_space_back),
        LIFE(test_interruptions),
        LIFE(test_flushes_during_compactions),
        LIFE(test_counts_beside_writers),
        LIFE(test_read_only),
        LIFE(test_back_pressure),
    };
    return cmocka_run_group_tests_name("lives", tests, NULL, NULL);
}
