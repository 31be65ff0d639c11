/* SPDX-License-Identifier: Apache-2.0 */
/* The far ends of what the API takes: missing arguments, the largest sizes, and directories that are nearly databases.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "core/engine/engine.h"
#include "storage/format.h"
#include "support/scenario.h"

enum { DIM = 4 };

static pomai_batch small_batch(const uint64_t *ids)
{
    static float vectors[2 * DIM] = {1, 2, 3, 4, 5, 6, 7, 8};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 2;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    return batch;
}

static void test_open_options(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.mailbox_slots = 2u << 20;
    assert_refused(pomai_open(box->db, &o, &db, &err), POMAI_EINVAL, "mailbox_slots");
    o.mailbox_slots = 3;
    assert_refused(pomai_open(box->db, &o, &db, &err), POMAI_EINVAL, "mailbox_slots");
    o.mailbox_slots = 0;
    o.wal_file_bytes = (uint64_t)2 << 30;
    assert_refused(pomai_open(box->db, &o, &db, &err), POMAI_EINVAL, "wal_file_bytes");
    o.wal_file_bytes = 1;
    assert_refused(pomai_open(box->db, &o, &db, &err), POMAI_EINVAL, "wal_file_bytes");
    static char path[5000];
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    assert_refused(pomai_open(path, NULL, &db, &err), POMAI_ETOOBIG, "more than");
    assert_refused(pomai_open(path + 1000, NULL, &db, &err), POMAI_ETOOBIG, "more than");
}

static void test_collection_options(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    pomai_collection *coll;
    pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
    o.dim = DIM;
    assert_refused(pomai_collection_create(db, "c", NULL, &coll, &err), POMAI_EINVAL, "options");
    o.struct_size = 1;
    assert_refused(pomai_collection_create(db, "c", &o, &coll, &err), POMAI_EINVAL, "options");
    o.struct_size = sizeof o;
    o.metric = 0;
    assert_refused(pomai_collection_create(db, "c", &o, &coll, &err), POMAI_EINVAL, "metric");
    o.metric = POMAI_METRIC_L2;
    o.id_kind = 0;
    assert_refused(pomai_collection_create(db, "c", &o, &coll, &err), POMAI_EINVAL, "kind of id");
    o.id_kind = POMAI_ID_U64;
    assert_refused(pomai_collection_create(db, NULL, &o, &coll, &err), POMAI_EINVAL, "cannot name");
    assert_refused(pomai_collection_create(db, "a~b", &o, &coll, &err), POMAI_EINVAL, "cannot name");
    assert_refused(pomai_collection_drop(db, NULL, &err), POMAI_EINVAL, "name");
    close_db(db);
}

static void test_ids(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    pomai_collection *coll = pomai_default(db);
    const uint64_t id = 5;
    const pomai_bytes text = {"a", 1};
    const pomai_ids none = {0, NULL, NULL}, missing = {2, NULL, NULL}, both = {1, &id, &text};
    const pomai_ids zero = {0, &id, NULL}, endless = {UINT64_MAX / 2, &id, NULL}, one = {1, &id, NULL};
    assert_refused(pomai_delete(coll, NULL, NULL, NULL, &err), POMAI_EINVAL, "missing");
    assert_refused(pomai_delete(coll, &missing, NULL, NULL, &err), POMAI_EINVAL, "missing");
    assert_refused(pomai_delete(coll, &both, NULL, NULL, &err), POMAI_EINVAL, "both");
    assert_refused(pomai_delete(coll, &none, NULL, NULL, &err), POMAI_EINVAL, "no ids");
    assert_refused(pomai_delete(coll, &zero, NULL, NULL, &err), POMAI_EINVAL, "no ids");
    assert_refused(pomai_delete(coll, &endless, NULL, NULL, &err), POMAI_ETOOBIG, "split");
    assert_ok(pomai_delete(coll, &one, NULL, NULL, &err)); /* `default` is not there: nor is the row */
    pomai_batch batch = small_batch(&id);
    batch.string_ids = &text;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, "both");
    put_rows(coll, 1, 3, DIM);
    assert_refused(pomai_delete(coll, &endless, NULL, NULL, &err), POMAI_ETOOBIG, "split");
    pomai_rows *rows;
    assert_ok(pomai_get(coll, &none, NULL, &rows, &err));
    assert_int_equal(pomai_rows_count(rows), 0);
    pomai_rows_free(rows);
    assert_int_equal(count_rows(coll), 3);
    close_db(db);
}

static void test_searches(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    pomai_result *result;
    const float q[DIM] = {1};
    put_rows(pomai_default(db), 1, 3, DIM);
    assert_refused(pomai_search(pomai_default(db), q, 1, 0, 1, NULL, &result, &err), POMAI_EDIM, "dimensions");
    assert_refused(pomai_search(pomai_default(db), q, UINT64_MAX, DIM, 1, NULL, &result, &err), POMAI_ETOOBIG, "split");
    pomai_collection *gone = create(db, "gone", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
    assert_ok(pomai_collection_drop(db, "gone", &err));
    assert_refused(pomai_search(gone, q, 1, DIM, 1, NULL, &result, &err), POMAI_ENOTFOUND, "dropped");
    const uint64_t id = 1;
    const pomai_ids ids = {1, &id, NULL};
    pomai_rows *rows;
    assert_refused(pomai_get(gone, &ids, NULL, &rows, &err), POMAI_ENOTFOUND, "dropped");
    pomai_collection_close(gone);
    close_db(db);
}

static void test_blocks(void **state)
{
    pomai_error err;
    pomai_db *db = open_db(*state, NULL);
    pomai_collection *coll = create(db, "c", DIM, POMAI_METRIC_COSINE, POMAI_ID_U64);
    pomai_block *block;
    assert_refused(pomai_reserve(coll, 0, DIM, &block, &err), POMAI_EINVAL, "0 rows");
    assert_refused(pomai_reserve(coll, 1, 0, &block, &err), POMAI_EDIM, "dimensions");
    assert_refused(pomai_reserve(coll, UINT64_MAX / 2, DIM, &block, &err), POMAI_ETOOBIG, "split");
    assert_ok(pomai_reserve(coll, 1, DIM, &block, &err));
    assert_refused(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_EZEROVEC, "zero vector");
    *(float *)pomai_block_vectors(block) = 1;
    const pomai_bytes nothing = {NULL, 5}, endless = {"x", SIZE_MAX};
    assert_refused(pomai_commit(block, &nothing, NULL, NULL, &err), POMAI_EINVAL, "no data");
    assert_refused(pomai_commit(block, &endless, NULL, NULL, &err), POMAI_ETOOBIG, "document of row 0");
    assert_null(strstr(err.message, "split"));
    assert_ok(pomai_commit(block, NULL, NULL, NULL, &err));
    assert_refused(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_EINVAL, "before");
    pomai_block_free(block);
    pomai_collection_close(coll);
    /* Reserved for `default` before somebody made it otherwise. */
    assert_ok(pomai_reserve(pomai_default(db), 1, DIM, &block, &err));
    pomai_collection_close(create(db, "default", 2 * DIM, POMAI_METRIC_L2, POMAI_ID_U64));
    assert_refused(pomai_commit(block, NULL, NULL, NULL, &err), POMAI_EDIM, "dimensions");
    pomai_block_free(block);
    close_db(db);
}

/* Assigned ids of many blocks over few shards: a part's rows are then not consecutive, and its ids are listed. */
static void test_assigned_over_shards(void **state)
{
    pomai_error err;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    pomai_ack ack;
    o.shards = 2;
    pomai_db *db = open_db(*state, &o);
    assert_ok(try_put_assigned(pomai_default(db), 100000, 1, &ack, &err));
    assert_int_equal(ack.parts, 2);
    close_db(db);
    db = open_db(*state, NULL);
    assert_int_equal(count_rows(pomai_default(db)), 100000);
    assert_ok(try_put_assigned(pomai_default(db), 1, 1, &ack, &err));
    assert_int_equal(ack.first_id, 100000);
    close_db(db);
}

/* ---- very many string ids ---- */

enum { MANY = PM_MAX_ROWS + 1, DELETED = 1 << 20, PIECE = 1 << 20 };

/* A list of `count` times the same id, in the memory of one piece. */
static pomai_bytes *same_ids(size_t count, size_t *mapped)
{
    const size_t pieces = (count * sizeof(pomai_bytes) + PIECE - 1) / PIECE;
    *mapped = pieces * PIECE;
    uint8_t *list = mmap(NULL, *mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = memfd_create("ids", 0);
    assert_true(list != MAP_FAILED && fd >= 0 && ftruncate(fd, PIECE) == 0);
    for (size_t i = 0; i < pieces; i++)
        assert_ptr_equal(mmap(list + i * PIECE, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
                         list + i * PIECE);
    close(fd);
    pomai_bytes *ids = (pomai_bytes *)(void *)list;
    for (size_t i = 0; i < PIECE / sizeof *ids; i++)
        ids[i] = (pomai_bytes){"x", 1};
    return ids;
}

static void test_very_many_string_ids(void **state)
{
    pomai_error err;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 3;
    pomai_db *db = open_db(*state, &o);
    pomai_collection *coll = create(db, "s", 1, POMAI_METRIC_L2, POMAI_ID_STRING);
    size_t mapped;
    pomai_bytes *same = same_ids(MANY, &mapped);
    pomai_ids ids = {MANY, NULL, same};
    assert_refused(pomai_delete(coll, &ids, NULL, NULL, &err), POMAI_ETOOBIG, "rows");
    munmap(same, mapped);

    /* As many as a log file of the usual size cannot hold; one in 1,024 of them is there. */
    char(*text)[32] = calloc(DELETED, sizeof *text);
    pomai_bytes *list = calloc(DELETED, sizeof *list);
    float *vectors = calloc(DELETED, sizeof *vectors);
    pomai_bytes few[DELETED / 1024];
    for (uint32_t i = 0; i < DELETED; i++) {
        list[i] = (pomai_bytes){text[i], (size_t)snprintf(text[i], sizeof *text, "a-rather-long-id-%u", i)};
        if (i % 1024 == 7) few[i / 1024] = list[i];
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = DELETED / 1024;
    batch.dim = 1;
    batch.vectors = vectors;
    batch.string_ids = few;
    pomai_ack ack;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    ids = (pomai_ids){DELETED, NULL, list};
    assert_ok(pomai_delete(coll, &ids, NULL, &ack, &err));
    assert_int_equal(ack.rows, DELETED / 1024);
    pomai_collection_close(coll);
    close_db(db);
    db = open_db(*state, NULL);
    assert_ok(pomai_collection_open(db, "s", &coll, &err));
    assert_int_equal(count_rows(coll), 0);
    pomai_collection_close(coll);
    close_db(db);
    free(text);
    free(list);
    free(vectors);
}

/* ---- directories that are nearly databases ---- */

static void below(const struct box *box, const char *name, const char *content)
{
    char path[T_PATH_MAX];
    t_join(path, box->db, name);
    if (content == NULL)
        assert_int_equal(mkdir(path, 0700), 0);
    else
        t_write_file(path, content, strlen(content));
}

static void test_nearly_databases(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    assert_int_equal(mkdir(box->db, 0700), 0);
    below(box, "lost+found", NULL); /* of a file system that was just made */
    below(box, "collections", NULL);
    below(box, "shards", NULL);
    below(box, "shards/1", NULL);
    below(box, "shards/1/0", NULL);
    below(box, "shards/1/0/wal", NULL);
    below(box, "shards/1/0/wal/x", "a short name");
    below(box, "shards/1/0/wal/a.txt", "no log");
    close_db(open_db(box, NULL));

    char path[T_PATH_MAX];
    t_join(path, box->db, "manifest");
    t_remove(path);
    below(box, "mine", "something else");
    assert_refused(pomai_open(box->db, NULL, &db, &err), POMAI_ENOTDB, "mine");
    t_join(path, box->db, "mine");
    t_remove(path);
    db = open_db(box, NULL); /* no log was begun: an interrupted creation */
    put_rows(pomai_default(db), 1, 3, DIM);
    close_db(db);
    t_join(path, box->db, "manifest");
    t_remove(path);
    below(box, "manifest", "a file");
    assert_refused(pomai_open(box->db, NULL, &db, &err), POMAI_ECORRUPT, "CURRENT");
    t_join(path, box->db, "shards");
    t_remove(path);
    below(box, "shards", "a file");
    assert_int_not_equal(pomai_open(box->db, NULL, &db, &err), POMAI_OK);
}

static void test_lost_current(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_db *db = open_db(box, NULL);
    pomai_collection_close(create(db, "c", DIM, POMAI_METRIC_L2, POMAI_ID_U64));
    close_db(db); /* a catalogue of its own, and no log */
    char path[T_PATH_MAX];
    t_join(path, box->db, "manifest/CURRENT");
    assert_int_equal(unlink(path), 0);
    assert_refused(pomai_open(box->db, NULL, &db, &err), POMAI_ECORRUPT, "CURRENT");
}

static void test_path_with_slashes(void **state)
{
    struct box *box = *state;
    struct box other = *box;
    t_join(other.db, box->dir, "db//");
    close_db(open_db(&other, NULL));
    close_db(open_db(box, NULL));
    assert_int_equal(chdir(box->dir), 0);
    snprintf(other.db, sizeof other.db, "relative");
    close_db(open_db(&other, NULL));
}

static _Atomic bool large_fails;

static bool large(size_t size)
{
    return atomic_load(&large_fails) && size > (1u << 20);
}

/* A heap of k places would be tens of megabytes, for two rows. */
static void test_large_k_takes_no_memory_for_rows_that_are_not_there(void **state)
{
    pomai_error err;
    pm_malloc_fails = large; /* while no thread of the engine runs */
    pomai_db *db = open_db(*state, NULL);
    put_rows(pomai_default(db), 1, 2, DIM);
    float query[DIM] = {1, 2, 3, 4};
    pomai_result *result;
    atomic_store(&large_fails, true);
    pomai_status status = pomai_search(pomai_default(db), query, 1, DIM, POMAI_MAX_K, NULL, &result, &err);
    atomic_store(&large_fails, false);
    assert_ok(status);
    assert_int_equal(pomai_result_count(result, 0), 2);
    pomai_verdict verdict;
    pomai_result_verdict(result, 0, &verdict);
    assert_int_equal(verdict.fewer, POMAI_FEWER_ROWS);
    pomai_result_free(result);
    close_db(db);
    pm_malloc_fails = NULL;
}

/* ---- what may change between two calls ---- */

static char watched[T_PATH_MAX]; /* the database */
static int syncs_of_database;

static int counted_dir_sync(const pm_os *os, const char *path)
{
    (void)os;
    syncs_of_database += strcmp(path, watched) == 0;
    return pm_os_posix()->dir_sync(pm_os_posix(), path);
}

static void test_quarantine_made_again_lasts(void **state)
{
    struct box *box = *state;
    char path[T_PATH_MAX];
    pomai_error err;
    pomai_db *db = open_db(box, NULL);
    put_rows(pomai_default(db), 1, 2, DIM);
    close_db(db);
    t_join(path, box->db, "quarantine");
    assert_int_equal(rmdir(path), 0);
    pm_os os = *pm_os_posix();
    os.dir_sync = counted_dir_sync;
    memcpy(watched, box->db, sizeof watched);
    syncs_of_database = 0;
    assert_ok(pm_db_open(&os, box->db, NULL, &db, &err));
    close_db(db);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(syncs_of_database, 1);
}

static int writes_left = -1; /* until one fails; -1: none does */

static int failing_write(const pm_os *os, int fd, const pm_span *spans, size_t count, uint64_t offset)
{
    (void)os;
    if (writes_left == 0) return -EIO;
    writes_left -= writes_left > 0;
    return pm_os_posix()->file_write(pm_os_posix(), fd, spans, count, offset);
}

/* A rename that a crash cut in half leaves CURRENT.tmp as a second name of CURRENT; the next edit does not get far. */
static void test_second_name_of_current(void **state)
{
    struct box *box = *state;
    char current[T_PATH_MAX], temp[T_PATH_MAX], manifest[T_PATH_MAX];
    pomai_error err;
    pomai_db *db;
    pomai_collection *coll;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = DIM;
    pm_os os = *pm_os_posix();
    os.file_write = failing_write;
    assert_ok(pm_db_open(&os, box->db, NULL, &db, &err));
    t_join(manifest, box->db, "manifest");
    t_join(current, manifest, "CURRENT");
    for (int fails = 0; fails < 3; fails++) {
        static const char *const temps[] = {"../shards/CATALOGUE-0000000002.tmp", "MANIFEST-0000000002.tmp",
                                            "CURRENT.tmp"}; /* of the edit, in its order */
        for (int i = 0; i < 3; i++) {
            t_join(temp, manifest, temps[i]);
            (void)unlink(temp);
            assert_int_equal(link(current, temp), 0);
        }
        writes_left = fails;
        assert_refused(pomai_collection_create(db, "never", &options, &coll, &err), POMAI_EIO, NULL);
        writes_left = -1;
    }
    close_db(db);
    close_db(open_db(box, NULL));
}

/* The database is gone by the time that the directory is locked. */
static int lock_when_gone(const pm_os *os, const char *path, bool exclusive)
{
    (void)os;
    char manifest[T_PATH_MAX];
    t_join(manifest, watched, "manifest");
    t_remove(manifest);
    return pm_os_posix()->dir_lock(pm_os_posix(), path, exclusive);
}

static void test_reader_makes_no_database(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    close_db(open_db(box, NULL));
    pm_os os = *pm_os_posix();
    os.dir_lock = lock_when_gone;
    memcpy(watched, box->db, sizeof watched);
    options.flags = POMAI_OPEN_READONLY;
    assert_refused(pm_db_open(&os, box->db, &options, &db, &err), POMAI_ENOTFOUND, "no database");
    options.flags = POMAI_OPEN_EXISTING;
    assert_refused(pm_db_open(&os, box->db, &options, &db, &err), POMAI_ENOTFOUND, "no database");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(test_open_options),
        BOXED(test_collection_options),
        BOXED(test_ids),
        BOXED(test_searches),
        BOXED(test_large_k_takes_no_memory_for_rows_that_are_not_there),
        BOXED(test_blocks),
        BOXED(test_assigned_over_shards),
        BOXED(test_nearly_databases),
        BOXED(test_lost_current),
        BOXED(test_path_with_slashes),
        BOXED(test_quarantine_made_again_lasts),
        BOXED(test_reader_makes_no_database),
        BOXED(test_second_name_of_current),
        BOXED(test_very_many_string_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
