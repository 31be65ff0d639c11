/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures that other systems had, each as a test of what happens here instead. On the simulated machine: the power
 * fails at every change of the disk, calls fail, bytes rot. Every call of the engine runs in a fiber of its own
 * (call_main), so that assertions are made outside of fibers.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/rng.h"
#include "core/engine/engine.h"
#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "storage/format.h"

enum { DIM = 4, MOST_SNAPSHOTS = 400, LOSSES = 6, ABSENT = -1 };

static const char *const log_1 = "/db/shards/1/0/wal/0000000001.wal";

/* A moment before a change of the disk, and how many operations had been acknowledged by then. */
struct snapshot {
    pm_disk *disk;
    unsigned acked;
};

struct museum {
    pm_sim *sim;
    pomai_db *db;
    pomai_error err;
    uint32_t shards;
    unsigned acked;
    struct snapshot snapshot[MOST_SNAPSHOTS];
    unsigned snapshots;
};

/* ---- calls ---- */

enum what { OPEN, CLOSE, PUT, DELETE, GET, COUNT, MAKE, DROP, VERIFY };

struct call {
    struct museum *m;
    enum what what;
    uint64_t id, step; /* of a put: ids id, id + step, ... */
    uint32_t rows, flags;
    float value;
    const char *name;
    pomai_status status;
};

static void open_or_verify(struct call *c)
{
    struct museum *m = c->m;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = m->shards;
    options.flags = c->flags | POMAI_OPEN_NO_FLUSH_AT_CLOSE; /* the exhibits are of the log */
    options.wal_file_bytes = 64 << 10;
    options.search_threads = UINT32_MAX;
    if (c->what == OPEN)
        c->status = pm_db_open(pm_sim_os(m->sim), "/db", &options, &m->db, &m->err);
    else
        c->status = pm_inspect_verify(pm_sim_os(m->sim), "/db", NULL, NULL, NULL, &m->err);
}

static void put(struct call *c)
{
    float vectors[16 * DIM];
    uint64_t ids[16];
    for (uint32_t i = 0; i < c->rows * DIM; i++)
        vectors[i] = c->value;
    for (uint32_t i = 0; i < c->rows; i++)
        ids[i] = c->id + i * c->step;
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = c->rows;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    c->status = pomai_put(pomai_default(c->m->db), &batch, NULL, NULL, &c->m->err);
}

static void get(struct call *c)
{
    pomai_ids ids = {1, &c->id, NULL};
    pomai_rows *rows;
    c->value = ABSENT;
    c->status = pomai_get(pomai_default(c->m->db), &ids, NULL, &rows, &c->m->err);
    if (c->status != POMAI_OK) return;
    if (pomai_rows_found(rows, 0)) c->value = pomai_rows_vector(rows, 0)[DIM - 1];
    pomai_rows_free(rows);
}

/* Rows that a search finds. */
static void count(struct call *c)
{
    float query[DIM] = {1, 1, 1, 1};
    pomai_result *result;
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    c->rows = 0;
    c->status = pomai_search(pomai_default(c->m->db), query, 1, DIM, 1000, &options, &result, &c->m->err);
    if (c->status != POMAI_OK) return;
    c->rows = (uint32_t)pomai_result_count(result, 0);
    pomai_result_free(result);
}

static void make_collection(struct call *c)
{
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_collection *coll;
    options.dim = DIM;
    c->status = pomai_collection_create(c->m->db, c->name, &options, &coll, &c->m->err);
    if (c->status == POMAI_OK) pomai_collection_close(coll);
}

static void call_main(void *arg)
{
    struct call *c = arg;
    struct museum *m = c->m;
    pomai_ids ids = {1, &c->id, NULL};
    switch (c->what) {
    case OPEN:
    case VERIFY:
        open_or_verify(c);
        break;
    case CLOSE:
        c->status = pomai_close(m->db, &m->err);
        m->db = NULL;
        break;
    case PUT:
        put(c);
        break;
    case DELETE:
        c->status = pomai_delete(pomai_default(m->db), &ids, NULL, NULL, &m->err);
        break;
    case GET:
        get(c);
        break;
    case COUNT:
        count(c);
        break;
    case MAKE:
        make_collection(c);
        break;
    case DROP:
        c->status = pomai_collection_drop(m->db, c->name, &m->err);
        break;
    }
}

static pomai_status do_call(struct call *c)
{
    memset(&c->m->err, 0, sizeof c->m->err);
    assert_int_equal(pm_sim_run(c->m->sim, call_main, c), PM_SIM_DONE);
    if (c->status == POMAI_OK) return POMAI_OK;
    assert_int_equal(c->m->err.status, c->status);
    assert_true(strlen(c->m->err.message) > 10);
    return c->status;
}

static pomai_status simple(struct museum *m, enum what what)
{
    struct call c = {.m = m, .what = what};
    return do_call(&c);
}

static pomai_status open_as(struct museum *m, uint32_t flags)
{
    struct call c = {.m = m, .what = OPEN, .flags = flags};
    return do_call(&c);
}

static pomai_status put_rows(struct museum *m, uint64_t id, uint32_t rows, uint64_t step, float value)
{
    struct call c = {.m = m, .what = PUT, .id = id, .rows = rows, .step = step, .value = value};
    pomai_status status = do_call(&c);
    m->acked += status == POMAI_OK;
    return status;
}

static pomai_status put_one(struct museum *m, uint64_t id)
{
    return put_rows(m, id, 1, 1, (float)id + 1);
}

static pomai_status delete_one(struct museum *m, uint64_t id)
{
    struct call c = {.m = m, .what = DELETE, .id = id};
    return do_call(&c);
}

static float value_of(struct museum *m, uint64_t id)
{
    struct call c = {.m = m, .what = GET, .id = id};
    assert_int_equal(do_call(&c), POMAI_OK);
    return c.value;
}

static uint32_t rows_of(struct museum *m)
{
    struct call c = {.m = m, .what = COUNT};
    assert_int_equal(do_call(&c), POMAI_OK);
    return c.rows;
}

static pomai_status change_catalogue(struct museum *m, enum what what, const char *name)
{
    struct call c = {.m = m, .what = what, .name = name};
    return do_call(&c);
}

#define assert_good(call) assert_int_equal((call), POMAI_OK)

/* Open, put rows 0 to n - 1 one by one, and leave it open. */
static void fill(struct museum *m, uint64_t from, uint64_t to)
{
    if (m->db == NULL) assert_good(open_as(m, 0));
    for (uint64_t id = from; id < to; id++)
        assert_good(put_one(m, id));
}

/* ---- crashes ---- */

static void kill_process(struct museum *m)
{
    pm_sim_kill_process(m->sim);
    m->db = NULL;
}

static void take_snapshot(void *context)
{
    struct museum *m = context;
    if (m->snapshots == MOST_SNAPSHOTS) return;
    m->snapshot[m->snapshots++] = (struct snapshot){pm_disk_copy(pm_sim_disk(m->sim)), m->acked};
}

static void watch(struct museum *m)
{
    pm_sim_on_change(m->sim, take_snapshot, m);
}

static void forget_snapshots(struct museum *m)
{
    pm_sim_on_change(m->sim, NULL, NULL);
    for (unsigned i = 0; i < m->snapshots; i++)
        pm_disk_free(m->snapshot[i].disk);
    m->snapshots = 0;
}

/* The power fails at every change that was watched, a few times each; what is found is opened and looked at. */
static void after_every_loss(struct museum *m, void (*look)(struct museum *m, unsigned acked))
{
    take_snapshot(m); /* the end, too */
    pm_sim_on_change(m->sim, NULL, NULL);
    assert_true(m->snapshots > 3);
    kill_process(m);
    for (unsigned i = 0; i < m->snapshots; i++)
        for (uint64_t n = 0; n < LOSSES; n++) {
            pm_choices choices = pm_choices_random(t_mix2(i, n));
            pm_sim_set_disk(m->sim, pm_disk_power_loss(m->snapshot[i].disk, &choices, n % 2 == 1));
            assert_good(open_as(m, 0));
            look(m, m->snapshot[i].acked);
            kill_process(m);
        }
    forget_snapshots(m);
}

static void acked_rows_are_there(struct museum *m, unsigned acked)
{
    for (uint64_t id = 0; id < acked; id++)
        assert_true(value_of(m, id) == (float)id + 1);
    assert_true(acked == 0 || rows_of(m) <= acked + 1);
}

/* ---- files ---- */

struct content {
    const char *path;
    uint8_t *bytes;
    uint64_t size;
};

static void take_content(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct content *c = context;
    if (strcmp(path, c->path) != 0) return;
    c->bytes = malloc(size + 1);
    assert_non_null(c->bytes);
    memcpy(c->bytes, bytes, size);
    c->size = size;
}

static struct content read_file(struct museum *m, const char *path)
{
    struct content c = {.path = path};
    pm_disk_each_file(pm_sim_disk(m->sim), take_content, &c);
    assert_non_null(c.bytes);
    return c;
}

static void write_file(struct museum *m, const char *path, const void *bytes, uint64_t size)
{
    assert_int_equal(pm_disk_put(pm_sim_disk(m->sim), path, bytes, size), 0);
}

static void flip(struct museum *m, const char *path, uint64_t at)
{
    struct content c = read_file(m, path);
    assert_true(at < c.size);
    c.bytes[at] ^= 1;
    write_file(m, path, c.bytes, c.size);
    free(c.bytes);
}

/* Where record n (from 0) of a log file begins. */
static uint64_t record_at(struct museum *m, const char *path, unsigned n)
{
    struct content c = read_file(m, path);
    uint64_t at = PM_WAL_HEADER;
    for (; n > 0; n--) {
        pm_rec_header h;
        memcpy(&h, c.bytes + at, sizeof h);
        assert_true(h.lsn != 0);
        at += sizeof h + h.payload_len;
    }
    free(c.bytes);
    return at;
}

/* A refusal that leaves everything as it is. */
static void assert_refuses(struct museum *m, pomai_status wanted)
{
    uint64_t before = pm_disk_digest(pm_sim_disk(m->sim));
    assert_int_equal(open_as(m, 0), wanted);
    assert_int_equal(simple(m, VERIFY), wanted);
    assert_true(pm_disk_digest(pm_sim_disk(m->sim)) == before);
    pm_sim_held held = pm_sim_what_is_held(m->sim);
    assert_int_equal(held.allocations + held.regions + held.descriptors + held.tasks, 0);
}

/* ---- the exhibits: power ---- */

/* Files renamed before they were synced were empty after a power loss (ext4 with delayed allocation, 2009). */
static void test_rename_before_sync_leaves_an_empty_file(void **state)
{
    struct museum *m = *state;
    watch(m);
    fill(m, 0, 2);
    assert_good(simple(m, CLOSE));
    fill(m, 2, 4);
    after_every_loss(m, acked_rows_are_there);
}

/* A file was synced, the directory that names it was not, and both were gone (many programs; Pillai et al., 2014). */
static void test_name_lost_because_the_directory_was_not_synced(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 1);
    /* Every outcome of a power loss at the moment of the first acknowledgement. */
    pm_disk *disk = pm_disk_copy(pm_sim_disk(m->sim));
    pm_choices choices = pm_choices_all();
    unsigned tries = 0;
    kill_process(m);
    do {
        pm_sim_set_disk(m->sim, pm_disk_power_loss(disk, &choices, false));
        assert_good(open_as(m, 0));
        assert_true(value_of(m, 0) == 1);
        kill_process(m);
    } while (pm_choices_next(&choices) && ++tries < 64);
    pm_disk_free(disk);
}

static void catalogue_is_whole(struct museum *m, unsigned acked)
{
    assert_true(value_of(m, 0) == 1);
    pomai_status there = change_catalogue(m, DROP, "second");
    assert_true(there == POMAI_OK || (there == POMAI_ENOTFOUND && acked == 1));
}

/* A power loss while the list of files was replaced left a list of zero bytes (LevelDB's MANIFEST and CURRENT). */
static void test_catalogue_of_zero_bytes_after_a_power_loss(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 1);
    watch(m);
    assert_good(change_catalogue(m, MAKE, "second"));
    m->acked++;
    after_every_loss(m, catalogue_is_whole);
    write_file(m, "/db/manifest/CURRENT", "", 0); /* and if it happens all the same, it is no new database */
    assert_refuses(m, POMAI_ECORRUPT);
}

static void is_empty_and_works(struct museum *m, unsigned acked)
{
    (void)acked;
    assert_good(put_one(m, 7));
    assert_int_equal(rows_of(m), 1);
}

/* Killed while it was made, a database was neither there nor absent, and every later open failed. */
static void test_killed_while_it_was_first_made(void **state)
{
    struct museum *m = *state;
    watch(m);
    assert_good(open_as(m, 0));
    after_every_loss(m, is_empty_and_works);
}

/* A second crash, in the middle of recovery, lost what the first one had spared. */
static void test_second_crash_during_recovery(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 3);
    kill_process(m);
    uint64_t end = record_at(m, log_1, 3);
    struct content c = read_file(m, log_1);
    memset(c.bytes + end, 0x5a, 100); /* a torn tail */
    write_file(m, log_1, c.bytes, c.size);
    free(c.bytes);
    watch(m);
    assert_good(open_as(m, 0));
    after_every_loss(m, acked_rows_are_there);
}

static void batch_is_whole_or_absent(struct museum *m, unsigned acked)
{
    uint32_t rows = rows_of(m);
    assert_true(rows == 9 || (rows == 1 && acked == 1));
}

/* A batch that touched several partitions was half there after a crash. */
static void test_half_a_batch_after_a_crash(void **state)
{
    struct museum *m = *state;
    m->shards = 4;
    fill(m, 1, 2);
    watch(m);
    assert_good(put_rows(m, 4096, 8, 4096, 5));
    after_every_loss(m, batch_is_whole_or_absent);
}

static void deleted_stays_deleted(struct museum *m, unsigned acked)
{
    (void)acked;
    assert_true(value_of(m, 1) == ABSENT);
    assert_int_equal(rows_of(m), 2);
}

/* Tombstones were dropped before what they hid, and deleted rows came back (Cassandra's zombies). */
static void test_deleted_rows_come_back(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 3);
    assert_good(delete_one(m, 1));
    watch(m);
    for (int i = 0; i < 2; i++) {
        assert_good(simple(m, CLOSE));
        assert_good(open_as(m, 0));
    }
    after_every_loss(m, deleted_stays_deleted);
}

/* ---- calls that fail ---- */

/* A failed fsync was tried again, "succeeded", and the data was gone (PostgreSQL and others, 2018). */
static void test_failed_sync_retried_and_believed(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 3);
    pm_sim_set_fault(m->sim, (pm_sim_fault){.calls = PM_SIM_BIT(SYNC), .error = EIO});
    assert_int_equal(put_one(m, 3), POMAI_EUNKNOWN);
    assert_int_equal(put_one(m, 4), POMAI_ESTOPPED); /* though this sync would succeed */
    assert_true(value_of(m, 2) == 3);                /* reading goes on */
    kill_process(m);
    assert_good(open_as(m, 0));
    acked_rows_are_there(m, 3);
}

/* A read error was taken for the end of the log, and what followed was cut off. */
static void test_read_error_taken_for_the_end_of_the_log(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 4);
    kill_process(m);
    pm_disk *disk = pm_disk_copy(pm_sim_disk(m->sim));
    unsigned passed_over = 0;
    for (uint64_t nth = 0;; nth++) {
        pm_sim_set_disk(m->sim, pm_disk_copy(disk));
        pm_sim_set_fault(m->sim, (pm_sim_fault){.calls = PM_SIM_BIT(READ), .nth = nth, .error = EIO});
        pomai_status status = open_as(m, 0);
        bool failed = pm_sim_faults(m->sim) > 0;
        pm_sim_set_fault(m->sim, (pm_sim_fault){0});
        const bool copy = failed && status == POMAI_OK; /* of the catalogue: it is written anew */
        passed_over += copy;
        assert_int_equal(status, failed && !copy ? POMAI_EIO : POMAI_OK);
        if (status != POMAI_OK) assert_good(open_as(m, 0)); /* nothing was cut off in between */
        acked_rows_are_there(m, 4);
        kill_process(m);
        if (!failed) break;
        assert_true(nth < 50);
    }
    assert_int_equal(passed_over, 1);
    pm_disk_free(disk);
}

/* A full disk made the store read-only until it was repaired by hand, or damaged it. */
static void test_full_disk_is_for_ever(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 3);
    pm_disk_set_capacity(pm_sim_disk(m->sim), 1);
    uint64_t id = 100;
    pomai_status status = POMAI_OK;
    while (status == POMAI_OK && id < 5000)
        status = put_rows(m, id += 16, 16, 1, 9);
    assert_int_equal(status, POMAI_ENOSPC);
    assert_true(value_of(m, 2) == 3);
    pm_disk_set_capacity(pm_sim_disk(m->sim), 0); /* somebody made room */
    assert_good(put_rows(m, id, 16, 1, 9));
    uint32_t rows = rows_of(m);
    assert_good(simple(m, CLOSE));
    assert_good(open_as(m, 0));
    assert_int_equal(rows_of(m), rows);
}

/* ---- files that lie about ---- */

/* The lock was the file's existence or a number in it: after kill -9 nobody could open the store, or two could. */
static void test_lock_file_left_behind(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 1);
    pomai_db *first = m->db;
    assert_int_equal(open_as(m, 0), POMAI_ELOCKED);
    m->db = first;
    kill_process(m);
    struct content c = read_file(m, "/db/LOCK");
    assert_true(c.size > 0); /* still there, and names a process */
    free(c.bytes);
    assert_good(open_as(m, 0));
    acked_rows_are_there(m, 1);
}

/* A temporary file of an interrupted write blocked the next one, which wanted to make it anew. */
static void test_leftover_temporary_file_blocks_the_next_open(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 1);
    kill_process(m);
    write_file(m, "/db/shards/1/0/wal/0000000002.wal.tmp", "half", 4);
    write_file(m, "/db/manifest/CURRENT.tmp", "", 0);
    write_file(m, "/db/manifest/MANIFEST-0000000003.tmp", "half", 4);
    fill(m, 1, 2);
    assert_good(change_catalogue(m, MAKE, "second"));
    assert_good(simple(m, CLOSE));
    fill(m, 2, 3);
    acked_rows_are_there(m, 3);
    assert_int_equal(pm_disk_kind(pm_sim_disk(m->sim), "/db/manifest/CURRENT.tmp"), PM_PATH_NONE);
    assert_int_equal(pm_disk_kind(pm_sim_disk(m->sim), "/db/shards/1/0/wal/0000000002.wal.tmp"), PM_PATH_NONE);
}

/* An open that gave up had tidied up first, and took away what would have helped to repair (this one was ours). */
static void test_refused_open_tidies_up(void **state)
{
    struct museum *m = *state;
    m->shards = 2;
    assert_good(open_as(m, 0));
    assert_good(put_rows(m, 0, 16, 4096, 1));
    kill_process(m);
    write_file(m, "/db/shards/1/0/wal/0000000002.wal.tmp", "half", 4);
    flip(m, "/db/shards/1/1/wal/0000000001.wal", 20);
    assert_refuses(m, POMAI_ECORRUPT);
}

/* A file name was used again, and records of its former life were replayed as new ones. */
static void test_old_log_file_comes_back(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 2);
    assert_good(simple(m, CLOSE));
    struct content old = read_file(m, log_1);
    uint64_t size = old.size;
    fill(m, 2, 4);
    assert_good(simple(m, CLOSE));
    write_file(m, "/db/shards/1/0/wal/0000000002.wal", old.bytes, size); /* under the new name */
    free(old.bytes);
    assert_refuses(m, POMAI_ECORRUPT);
}

static struct content history(struct museum *m, float value)
{
    pm_sim_free(m->sim);
    m->sim = pm_sim_make(7); /* the same chances and clock: only what is put differs */
    m->db = NULL;
    for (uint64_t id = 0; id < 3; id++) {
        assert_good(open_as(m, 0));
        assert_good(put_rows(m, id, 1, 1, id == 1 ? value : 1));
        assert_good(simple(m, CLOSE));
    }
    return read_file(m, "/db/shards/1/0/wal/0000000002.wal");
}

/* A log file restored from another course of events fitted by name, number and length, and was replayed. */
static void test_log_file_of_another_history(void **state)
{
    struct museum *m = *state;
    struct content other = history(m, 2), own = history(m, 3);
    assert_int_equal(other.size, own.size);
    assert_memory_equal(other.bytes, own.bytes, PM_WAL_HEADER);
    write_file(m, other.path, other.bytes, other.size);
    assert_refuses(m, POMAI_ECORRUPT);
    write_file(m, own.path, own.bytes, own.size);
    assert_good(open_as(m, 0));
    assert_true(value_of(m, 1) == 3);
    free(other.bytes);
    free(own.bytes);
}

/* The catalogue came from one backup and the log from another, and nobody noticed. */
static void test_catalogue_and_log_of_different_backups(void **state)
{
    struct museum *m = *state;
    assert_good(open_as(m, 0));
    struct content current = read_file(m, "/db/manifest/CURRENT");
    struct content manifest = read_file(m, "/db/manifest/MANIFEST-0000000001");
    fill(m, 0, 2); /* makes the collection `default` */
    assert_good(simple(m, CLOSE));
    write_file(m, manifest.path, manifest.bytes, manifest.size);
    write_file(m, current.path, current.bytes, current.size);
    free(current.bytes);
    free(manifest.bytes);
    assert_int_equal(open_as(m, 0), POMAI_ECORRUPT);
    assert_int_equal(simple(m, VERIFY), POMAI_ECORRUPT);
}

/* An old list of files, which nobody had removed, became the list again: what was dropped came back (ours, too). */
static void test_old_catalogue_put_back(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 1);
    assert_good(change_catalogue(m, MAKE, "second"));
    struct content current = read_file(m, "/db/manifest/CURRENT");
    struct content manifest = read_file(m, "/db/manifest/MANIFEST-0000000003");
    assert_good(change_catalogue(m, DROP, "second"));
    kill_process(m);
    write_file(m, manifest.path, manifest.bytes, manifest.size); /* as if its removal had been lost */
    assert_good(open_as(m, 0));
    assert_good(simple(m, CLOSE));
    write_file(m, current.path, current.bytes, current.size);
    free(current.bytes);
    free(manifest.bytes);
    assert_refuses(m, POMAI_ECORRUPT);
}

/* ---- bytes that rot ---- */

/* One bad bit in the middle of the log, and all that follows was silently cut off as a torn tail. */
static void test_rot_in_the_middle_truncates_the_rest(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 5);
    kill_process(m); /* no WATERMARK says how far the log went: later records do */
    flip(m, log_1, record_at(m, log_1, 2) + PM_REC_HEADER);
    assert_refuses(m, POMAI_ECORRUPT);
    assert_good(open_as(m, POMAI_OPEN_READONLY | POMAI_OPEN_ACCEPT_DAMAGE));
    assert_int_equal(rows_of(m), 2); /* what lies before it can be saved */
}

/* A log that ended exactly between two records passed as one that was whole. */
static void test_cut_between_two_records(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 4);
    assert_good(simple(m, CLOSE));
    struct content c = read_file(m, log_1);
    for (unsigned n = 0; n < 4; n++) {
        write_file(m, log_1, c.bytes, record_at(m, log_1, n));
        assert_refuses(m, POMAI_ECORRUPT);
        write_file(m, log_1, c.bytes, c.size);
    }
    free(c.bytes);
    fill(m, 4, 5);
    acked_rows_are_there(m, 5);
}

/* A length that no checksum covered was believed: the reader asked for gigabytes, or ran over the end. */
static void test_length_believed_before_its_checksum(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 3);
    assert_good(simple(m, CLOSE));
    struct content c = read_file(m, log_1);
    uint64_t at = record_at(m, log_1, 1);
    static const size_t fields[] = {offsetof(pm_rec_header, payload_len), offsetof(pm_rec_header, ids_len),
                                    offsetof(pm_rec_header, vectors_len), offsetof(pm_rec_header, documents_len),
                                    offsetof(pm_rec_header, rows)};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        uint8_t *field = c.bytes + at + fields[i];
        uint8_t keep = field[3];
        field[3] = 0x7f;
        write_file(m, log_1, c.bytes, c.size);
        assert_refuses(m, POMAI_ECORRUPT);
        field[3] = keep;
    }
    free(c.bytes);
}

/* ---- what callers send, and clocks ---- */

/* A NaN was stored, compared as neither nearer nor farther, and spoiled the order of every search. */
static void test_not_a_number_is_stored(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 3);
    assert_int_equal(put_rows(m, 3, 1, 1, NAN), POMAI_ENOTFINITE);
    assert_int_equal(put_rows(m, 4, 2, 1, INFINITY), POMAI_ENOTFINITE);
    assert_int_equal(rows_of(m), 3);
}

/* The same id twice in one batch became two rows, of which updates and deletes found only one. */
static void test_id_twice_in_a_batch(void **state)
{
    struct museum *m = *state;
    fill(m, 0, 1);
    assert_int_equal(put_rows(m, 5, 2, 0, 2), POMAI_EDUPID);
    assert_int_equal(rows_of(m), 1);
    assert_good(put_rows(m, 0, 1, 1, 8)); /* in another batch it replaces the row */
    assert_int_equal(rows_of(m), 1);
    assert_true(value_of(m, 0) == 8);
}

/* The clock was set back, and older data, by its stamp, won over newer (last-write-wins by wall clock). */
static void test_clock_set_back(void **state)
{
    struct museum *m = *state;
    for (int i = 0; i < 150; i++) { /* the machine's clock goes back now and then */
        assert_good(m->db == NULL ? open_as(m, 0) : POMAI_OK);
        assert_good(put_rows(m, 0, 1, 1, (float)i));
    }
    assert_true(value_of(m, 0) == 149);
    struct content c = read_file(m, log_1);
    uint64_t last = 0, at = PM_WAL_HEADER;
    for (pm_rec_header h; at + sizeof h <= c.size; at += sizeof h + h.payload_len) {
        memcpy(&h, c.bytes + at, sizeof h);
        if (h.lsn == 0) break;
        assert_true(h.stamp >= last);
        last = h.stamp;
    }
    free(c.bytes);
    assert_good(simple(m, CLOSE));
    assert_good(open_as(m, 0));
    assert_true(value_of(m, 0) == 149);
}

/* ---- */

static int museum_make(void **state)
{
    struct museum *m = calloc(1, sizeof *m);
    if (m == NULL) return -1;
    m->sim = pm_sim_make(1);
    m->shards = 1;
    *state = m;
    return 0;
}

static int museum_close(void **state)
{
    struct museum *m = *state;
    forget_snapshots(m);
    pm_sim_free(m->sim);
    free(m);
    return 0;
}

#define EXHIBIT(test) cmocka_unit_test_setup_teardown(test, museum_make, museum_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXHIBIT(test_rename_before_sync_leaves_an_empty_file),
        EXHIBIT(test_name_lost_because_the_directory_was_not_synced),
        EXHIBIT(test_catalogue_of_zero_bytes_after_a_power_loss),
        EXHIBIT(test_killed_while_it_was_first_made),
        EXHIBIT(test_second_crash_during_recovery),
        EXHIBIT(test_half_a_batch_after_a_crash),
        EXHIBIT(test_deleted_rows_come_back),
        EXHIBIT(test_failed_sync_retried_and_believed),
        EXHIBIT(test_read_error_taken_for_the_end_of_the_log),
        EXHIBIT(test_full_disk_is_for_ever),
        EXHIBIT(test_lock_file_left_behind),
        EXHIBIT(test_leftover_temporary_file_blocks_the_next_open),
        EXHIBIT(test_refused_open_tidies_up),
        EXHIBIT(test_old_log_file_comes_back),
        EXHIBIT(test_log_file_of_another_history),
        EXHIBIT(test_catalogue_and_log_of_different_backups),
        EXHIBIT(test_old_catalogue_put_back),
        EXHIBIT(test_rot_in_the_middle_truncates_the_rest),
        EXHIBIT(test_cut_between_two_records),
        EXHIBIT(test_length_believed_before_its_checksum),
        EXHIBIT(test_not_a_number_is_stored),
        EXHIBIT(test_id_twice_in_a_batch),
        EXHIBIT(test_clock_set_back),
    };
    return cmocka_run_group_tests_name("museum", tests, NULL, NULL);
}
