/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directed scenes on the simulated machine (os_sim.h), which a soak reaches seldom or never: races for `default`, more
 * parts than a commit or a mailbox takes, more batches than the pool has, a catalogue that does not belong to its log,
 * and looking at a database while calls fail.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/one_in.h"
#include "../support/scene.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

/* Of both shards more parts than one job has spans. */
enum { MOST_ROWS = 4096 * (T_ONE_IN > 1 ? 1200 : 2048) };

static bool one_of(pomai_status status, const pomai_status *list)
{
    for (; *list != POMAI_OK; list++)
        if (status == *list) return true;
    return status == POMAI_OK;
}

/* ---- races for `default` ---- */

enum { TURNS = 6 };

static void race_put(void *arg)
{
    static const pomai_status fair[] = {POMAI_EDIM, POMAI_EID, POMAI_ENOTFOUND, POMAI_OK};
    struct scene *s = arg;
    pomai_batch batch = rows_of(3, 1);
    for (int i = 0; i < TURNS; i++)
        CHECK(s, one_of(pomai_put(pomai_default(s->db), &batch, NULL, NULL, NULL), fair));
}

static void race_commit(void *arg)
{
    static const pomai_status fair[] = {POMAI_EDIM, POMAI_EID, POMAI_ENOTFOUND, POMAI_OK};
    struct scene *s = arg;
    for (int i = 0; i < TURNS; i++) {
        pomai_block *block;
        pomai_status status = pomai_reserve(pomai_default(s->db), 2, DIM, &block, NULL);
        CHECK(s, one_of(status, fair));
        if (status != POMAI_OK) continue;
        memset(pomai_block_vectors(block), 0, sizeof(float) * 2 * DIM);
        pm_sim_sleep(s->sim, 1000);
        status = pomai_commit(block, NULL, NULL, NULL, NULL);
        pomai_block_free(block);
        CHECK(s, one_of(status, fair));
    }
}

static void race_create(void *arg)
{
    static const pomai_status fair[] = {POMAI_EEXISTS, POMAI_OK};
    struct scene *s = arg;
    for (int i = 0; i < TURNS; i++) {
        CHECK(s, one_of(create(s, "default", i % 3 == 0 ? 2 * DIM : DIM, i % 3 == 1 ? POMAI_ID_STRING : POMAI_ID_U64),
                        fair));
        pm_sim_sleep(s->sim, 500);
    }
}

static void race_drop(void *arg)
{
    static const pomai_status fair[] = {POMAI_ENOTFOUND, POMAI_OK};
    struct scene *s = arg;
    for (int i = 0; i < 2 * TURNS; i++) {
        CHECK(s, one_of(pomai_collection_drop(s->db, "default", NULL), fair));
        pm_sim_sleep(s->sim, 400);
    }
}

static void race(void *arg)
{
    static const pm_sim_fn runners[] = {race_put, race_put, race_commit, race_create, race_drop};
    struct scene *s = arg;
    uint32_t fiber[5];
    CHECK(s, open_with(s, 0, 2, 4) == POMAI_OK);
    for (int i = 0; i < 5; i++)
        fiber[i] = pm_sim_spawn(s->sim, runners[i], s);
    for (int i = 0; i < 5; i++)
        pm_sim_join(s->sim, fiber[i]);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_with(s, POMAI_OPEN_EXISTING, 2, 4) == POMAI_OK); /* catalogue and log fit each other */
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_race_for_default(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct scene *s = make(seed, 2 + (uint32_t)(seed % 7));
        play(s, race);
        finish(s);
    }
}

/* ---- a drop that fails half-way ---- */

/* CURRENT is renamed, the sync of its name fails: the next opening may find the drop done. */
static void drop_half_way(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(1, 1);
    pomai_ids ids = {1, spaced, NULL};
    pomai_block *block;
    CHECK(s, open_with(s, 0, 1, 4) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_reserve(pomai_default(s->db), 1, DIM, &block, &s->err) == POMAI_OK);
    memset(pomai_block_vectors(block), 0, sizeof(float) * DIM);
    pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(DIR_SYNC), 2, false, false, EIO});
    CHECK(s, pomai_collection_drop(s->db, "default", &s->err) == POMAI_EIO);
    CHECK(s, pm_sim_faults(s->sim) == 1);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_ESTOPPED);
    CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_ESTOPPED);
    CHECK(s, pomai_commit(block, NULL, NULL, NULL, &s->err) == POMAI_ESTOPPED);
    pomai_block_free(block);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_with(s, 0, 1, 4) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_drop_half_way(void **state)
{
    (void)state;
    struct scene *s = make(9, 0);
    play(s, drop_half_way);
    finish(s);
}

/* The temporary file of an edit that failed, of the copy or of the catalogue, is longer than that of the next. */
static uint64_t failing_rename;

static void shorter_edit(void *arg)
{
    struct scene *s = arg;
    pomai_collection *coll;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = 4;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    CHECK(s, pomai_collection_create(s->db, "short", &options, &coll, &s->err) == POMAI_OK);
    pomai_collection_close(coll);
    pm_sim_set_fault(s->sim, (pm_sim_fault){.calls = PM_SIM_BIT(RENAME), .nth = failing_rename, .error = EIO});
    CHECK(s, pomai_collection_create(s->db, "one.with.a.much.longer.name", &options, &coll, &s->err) == POMAI_EIO);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    CHECK(s, pomai_collection_drop(s->db, "short", &s->err) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, pm_inspect_verify(s->os, "/db", NULL, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, open_with(s, 0, 0, 0) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_shorter_edit(void **state)
{
    (void)state;
    for (failing_rename = 0; failing_rename < 2; failing_rename++) {
        struct scene *s = make(11, 0);
        play(s, shorter_edit);
        finish(s);
    }
}

/* A full disk refuses a collection again and again: nothing of the refused ones stays. */
static void refused_creates(void *arg)
{
    struct scene *s = arg;
    uint64_t held = 0;
    pomai_collection *coll;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = 4;
    CHECK(s, open_with(s, 0, 4, 0) == POMAI_OK);
    for (int i = 0; i < 40; i++) {
        pm_sim_set_fault(s->sim, (pm_sim_fault){.calls = PM_SIM_BIT(WRITE), .for_ever = true, .error = ENOSPC});
        CHECK(s, pomai_collection_create(s->db, "refused", &options, &coll, &s->err) == POMAI_ENOSPC);
        if (i == 20) held = pm_sim_what_is_held(s->sim).allocations;
    }
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    CHECK(s, pm_sim_what_is_held(s->sim).allocations == held);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_refused_creates(void **state)
{
    (void)state;
    struct scene *s = make(10, 0);
    play(s, refused_creates);
    finish(s);
}

/* ---- many parts, many batches ---- */

static void many_parts(void *arg)
{
    struct scene *s = arg;
    pomai_block *block;
    pomai_ack ack;
    CHECK(s, open_with(s, 0, 2, 4) == POMAI_OK);
    CHECK(s, pomai_reserve(pomai_default(s->db), MOST_ROWS, 1, &block, &s->err) == POMAI_OK);
    CHECK(s, pomai_commit(block, NULL, NULL, &ack, &s->err) == POMAI_ETOOBIG);
    pomai_block_free(block);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);

    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    CHECK(s, pomai_reserve(pomai_default(s->db), MOST_ROWS, 1, &block, &s->err) == POMAI_OK);
    for (uint32_t i = 0; i < MOST_ROWS; i++)
        ((float *)pomai_block_vectors(block))[i] = (float)i;
    CHECK(s, pomai_commit(block, NULL, NULL, &ack, &s->err) == POMAI_OK);
    pomai_block_free(block);
    CHECK(s, ack.parts > PM_JOB_SPANS && ack.rows == MOST_ROWS);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);

    CHECK(s, open_with(s, POMAI_OPEN_READONLY, 0, 0) == POMAI_OK);
    float query = MOST_ROWS / 2;
    pomai_result *result;
    CHECK(s, pomai_search(pomai_default(s->db), &query, 1, 1, 1, NULL, &result, &s->err) == POMAI_OK);
    CHECK(s, pomai_result_ids(result, 0)[0] == ack.first_id + MOST_ROWS / 2);
    pomai_result_free(result);
    CHECK(s, pomai_sync(s->db, &s->err) == POMAI_OK); /* nothing to do */
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_many_parts(void **state)
{
    (void)state;
    struct scene *s = make(1, 0);
    play(s, many_parts);
    finish(s);
}

enum { WITHOUT_MEMORY = 8, TICKETS = PM_POOL_SLOTS + 20 + WITHOUT_MEMORY };

/* Each allocation of a commit fails in turn; then the same block goes in. Shards allocate for others meanwhile. */
static void commit_without_memory(struct scene *s)
{
    pomai_block *block;
    pomai_status status = POMAI_ENOMEM;
    CHECK(s, pomai_reserve(pomai_default(s->db), 1, DIM, &block, &s->err) == POMAI_OK);
    for (uint64_t nth = 0; status == POMAI_ENOMEM; nth++) {
        pm_sim_set_fault(s->sim, (pm_sim_fault){.calls = PM_SIM_BIT(MALLOC), .nth = nth});
        status = pomai_commit(block, NULL, NULL, NULL, &s->err);
        s->strays += status == POMAI_OK && pm_sim_faults(s->sim) > 0;
        CHECK(s, (status == POMAI_OK && nth > 0) || (status == POMAI_ENOMEM && pomai_block_vectors(block) != NULL));
    }
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    pomai_block_free(block);
}

static void many_batches(void *arg)
{
    struct scene *s = arg;
    static pomai_ticket *ticket[TICKETS];
    pomai_batch batch = rows_of(ROWS, 4096);
    pomai_ack ack;
    CHECK(s, open_with(s, 0, 16, 0) == POMAI_OK);
    for (uint64_t i = 0; i < TICKETS; i++) { /* the pool is used up; the first of the last ones get no memory */
        bool fails = i >= TICKETS - WITHOUT_MEMORY;
        if (fails)
            pm_sim_set_fault(s->sim, (pm_sim_fault){.calls = PM_SIM_BIT(MALLOC), .nth = i + WITHOUT_MEMORY - TICKETS});
        pomai_status status = pomai_put_async(pomai_default(s->db), &batch, NULL, &ticket[i], &s->err);
        CHECK(s, status == POMAI_OK || (fails && status == POMAI_ENOMEM));
    }
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    commit_without_memory(s);
    if (s->what[0] != '\0') return;
    for (int i = 0; i < TICKETS; i++) {
        if (ticket[i] == NULL) continue;
        pomai_status status = pomai_wait(ticket[i], UINT64_MAX, &ack, &s->err);
        if (status == POMAI_ENOMEM && s->strays > 0)
            s->strays--;
        else
            CHECK(s, (status == POMAI_OK && ack.parts > PM_INLINE_PARTS) || i >= TICKETS - WITHOUT_MEMORY);
        pomai_ticket_free(ticket[i]);
    }
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_many_batches(void **state)
{
    (void)state;
    struct scene *s = make(2, 0);
    play(s, many_batches);
    finish(s);
}

/* Large puts faster than the log writer takes the page faults of what comes after them. */
static void large_puts(void *arg)
{
    enum { LARGE = 12, LARGE_ROWS = 1000, LARGE_DIM = 256 };
    static float rows[LARGE_ROWS * LARGE_DIM];
    struct scene *s = arg;
    pomai_ticket *ticket[LARGE];
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = LARGE_ROWS;
    batch.dim = LARGE_DIM;
    batch.vectors = rows;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    for (int i = 0; i < LARGE; i++)
        CHECK(s, pomai_put_async(pomai_default(s->db), &batch, NULL, &ticket[i], &s->err) == POMAI_OK);
    for (int i = 0; i < LARGE; i++) {
        CHECK(s, pomai_wait(ticket[i], UINT64_MAX, NULL, &s->err) == POMAI_OK);
        pomai_ticket_free(ticket[i]);
    }
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_large_puts(void **state)
{
    (void)state;
    struct scene *s = make(7, 0);
    play(s, large_puts);
    finish(s);
}

/* ---- one shard refuses, one stops ---- */

enum { REFUSED = 300 };

/* One shard has no room for its first file: what the other has logged of the same batches is owed an ABORT. */
static void one_shard_is_full(void *arg)
{
    struct scene *s = arg;
    static float large[60000];
    static pomai_ticket *ticket[REFUSED];
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    pomai_batch batch = rows_of(1, 1);
    o.shards = 2;
    o.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE; /* which would take the parts that are owed an ABORT out of the log */
    o.wal_file_bytes = 64 << 10;            /* so that the file of the other shard gets full, too */
    CHECK(s, pm_db_open(s->os, "/db", &o, &s->db, &s->err) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    for (int error = 0; error < 2; error++) {
        batch = rows_of(ROWS, 4096);
        pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(ALLOCATE), 0, true, false, error == 0 ? ENOSPC : EACCES});
        for (int i = 0; i < REFUSED; i++)
            CHECK(s, pomai_put_async(pomai_default(s->db), &batch, NULL, &ticket[i], &s->err) == POMAI_OK);
        for (int i = 0; i < REFUSED; i++) {
            CHECK(s, pomai_wait(ticket[i], UINT64_MAX, NULL, &s->err) == (error == 0 ? POMAI_ENOSPC : POMAI_EACCESS));
            pomai_ticket_free(ticket[i]);
        }
        batch.rows = sizeof large / sizeof large[0] / DIM; /* a file of its own, which cannot be smaller */
        batch.vectors = large;
        batch.u64_ids = NULL;
        CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) != POMAI_OK);
        pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    }
    batch = rows_of(ROWS, 4096);
    static const uint64_t second[] = {4096};
    pomai_ids ids = {1, second, NULL};
    pomai_rows *rows;
    CHECK(s, pomai_get(pomai_default(s->db), &ids, NULL, &rows, &s->err) == POMAI_OK);
    CHECK(s, !pomai_rows_found(rows, 0));
    pomai_rows_free(rows);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_with(s, POMAI_OPEN_READONLY, 0, 0) == POMAI_OK);
    pomai_open_report report;
    pomai_get_open_report(s->db, &report);
    CHECK(s, report.aborted_batches == 0); /* every ABORT was written */
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void stopped(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(ROWS, 4096);
    const pomai_bytes document = {"x", 1};
    pomai_block *block;
    char *json;
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_reserve(pomai_default(s->db), 1, DIM, &block, &s->err) == POMAI_OK);
    pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(SYNC), 0, true, false, EIO});
    pomai_status status = pomai_put(pomai_default(s->db), &batch, NULL, NULL, NULL);
    CHECK(s, status == POMAI_EUNKNOWN || status == POMAI_ESTOPPED); /* stopped: a shard never took its part */
    CHECK(s, pomai_commit(block, &document, NULL, NULL, NULL) == POMAI_ESTOPPED);
    CHECK(s, pomai_sync(s->db, NULL) == POMAI_ESTOPPED);
    CHECK(s, pomai_stats(s->db, &json, &s->err) == POMAI_OK);
    pomai_free(json);
    pomai_block_free(block);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_ESTOPPED);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
}

static void test_refused_and_stopped(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct scene *s = make(seed, seed % 2 == 0 ? 0 : 3);
        play(s, one_shard_is_full);
        finish(s);
        s = make(seed, seed % 2 == 0 ? 0 : 3);
        play(s, stopped);
        finish(s);
    }
}

/* ---- a commit of many parts, cut off ---- */

enum { CUT_ROWS = 4096 * 8 };

static bool cut_acknowledged;

static void commit_parts(void *arg)
{
    struct scene *s = arg;
    pomai_block *block;
    cut_acknowledged = false;
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    CHECK(s, pomai_reserve(pomai_default(s->db), CUT_ROWS, 1, &block, &s->err) == POMAI_OK);
    CHECK(s, pomai_commit(block, NULL, NULL, NULL, &s->err) == POMAI_OK);
    cut_acknowledged = true;
    pomai_block_free(block);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void all_or_none(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    pomai_collection_info info = {0};
    pomai_status status = pomai_collection_get_info(pomai_default(s->db), &info, &s->err);
    CHECK(s, status == POMAI_OK || status == POMAI_ENOTFOUND);
    CHECK(s, info.rows == CUT_ROWS || (info.rows == 0 && !cut_acknowledged));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_cut_commit(void **state)
{
    (void)state;
    struct scene *s = make(9, 5);
    play(s, commit_parts);
    const uint64_t steps = pm_sim_steps(s->sim);
    finish(s);
    for (uint64_t i = 0; i < 150; i += T_ONE_IN) {
        s = make(9 + i, 5);
        pm_sim_crash_in(s->sim, steps / 4 + i * (steps - steps / 4) / 150);
        (void)pm_sim_run(s->sim, commit_parts, s);
        pm_sim_kill_process(s->sim);
        pm_choices choices = pm_choices_random(i);
        pm_sim_set_disk(s->sim, pm_disk_power_loss(pm_sim_disk(s->sim), &choices, i % 2 == 0));
        pm_sim_crash_in(s->sim, UINT64_MAX);
        play(s, all_or_none);
        play(s, all_or_none); /* the ABORT records say the same */
        finish(s);
    }
}

/* ---- a catalogue and a log that do not belong together ---- */

static void write_two(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(ROWS, 4096);
    static const uint64_t id[] = {4096};
    pomai_ids ids = {1, id, NULL};
    CHECK(s, open_with(s, POMAI_OPEN_NO_FLUSH_AT_CLOSE, 2, 0) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, create(s, "other", 2, POMAI_ID_STRING) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

struct found {
    const char *part;
    char path[128];
    uint8_t *bytes;
    uint64_t size;
};

static void find_one(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct found *f = context;
    if (strstr(path, f->part) == NULL) return;
    free(f->bytes);
    f->bytes = malloc(size + 64);
    f->size = size;
    memcpy(f->bytes, bytes, size);
    snprintf(f->path, sizeof f->path, "%s", path);
}

static struct found find(struct scene *s, const char *part)
{
    struct found f = {.part = part};
    pm_disk_each_file(pm_sim_disk(s->sim), find_one, &f);
    if (f.bytes == NULL) fail_msg("no file %s", part);
    return f;
}

static void change_catalogue(struct scene *s, size_t at, uint64_t value, size_t size)
{
    struct found f = find(s, "/MANIFEST-");
    memcpy(f.bytes + at, &value, size);
    uint32_t crc = pm_crc32c(0, f.bytes + 12, f.size - 12);
    memcpy(f.bytes + 8, &crc, sizeof crc);
    assert_int_equal(pm_disk_put(pm_sim_disk(s->sim), f.path, f.bytes, f.size), 0);
    free(f.bytes);
}

static void no_longer_opens(void *arg)
{
    struct scene *s = arg;
    char *json = NULL;
    CHECK(s, open_with(s, POMAI_OPEN_READONLY, 0, 0) == POMAI_ECORRUPT);
    CHECK(s, pm_db_open(s->os, "/db", NULL, &s->db, NULL) == POMAI_ECORRUPT);
    CHECK(s, pm_inspect_verify(s->os, "/db", NULL, NULL, &json, NULL) == POMAI_ECORRUPT);
    CHECK(s, json != NULL && strstr(json, "}, {") != NULL); /* both shards */
    pomai_free(json);
}

static void ids_are_used_up(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 0, 0) == POMAI_OK);
    CHECK(s, create(s, "third", 2, POMAI_ID_U64) == POMAI_ETOOBIG);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* What the catalogue was before the first put. */
static void empty_catalogue(struct scene *s)
{
    struct found f = find(s, "/MANIFEST-");
    pm_manifest_header *h = (pm_manifest_header *)(void *)f.bytes;
    f.size = sizeof *h + h->shards * sizeof(pm_manifest_shard);
    h->length = f.size;
    h->collections = 0;
    h->next_collection = 1;
    assert_int_equal(pm_disk_put(pm_sim_disk(s->sim), f.path, f.bytes, f.size), 0);
    free(f.bytes);
    change_catalogue(s, offsetof(pm_manifest_header, collections), 0, 4); /* seals it */
}

static void test_catalogue_of_another_log(void **state)
{
    (void)state;
    const size_t first = PM_MANIFEST_HEADER + 2 * sizeof(pm_manifest_shard);
    for (int i = 0; i < 3; i++) {
        struct scene *s = make(3, 0);
        play(s, write_two);
        if (i == 0) change_catalogue(s, first + offsetof(pm_manifest_collection, dim), DIM + 1, 4);
        if (i == 1) change_catalogue(s, first + offsetof(pm_manifest_collection, id_kind), POMAI_ID_STRING, 1);
        if (i == 2) empty_catalogue(s);
        play(s, no_longer_opens);
        finish(s);
    }
    struct scene *s = make(4, 0);
    play(s, write_two);
    change_catalogue(s, offsetof(pm_manifest_header, next_collection), UINT32_MAX, 4);
    play(s, ids_are_used_up);
    finish(s);
}

/* ---- looking, while calls fail ---- */

static int count_line(void *context, const char *line)
{
    int *lines = context;
    return line[0] == '\0' || ++*lines > 1000;
}

static int stop_at_once(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    return done <= total || total == 0; /* total may be less: a file's size could not be read */
}

static int go_on(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    return done > total;
}

static int stop_line(void *context, const char *line)
{
    (void)context;
    (void)line;
    return 1;
}

static void look(void *arg)
{
    struct scene *s = arg;
    char *json = NULL;
    int lines = 0;
    pomai_status status = pm_inspect_verify(s->os, "/db", NULL, NULL, &json, &s->err);
    CHECK(s, status == POMAI_OK || s->refusals);
    CHECK(s, status != POMAI_OK || (json != NULL && strstr(json, "torn tail") != NULL));
    pomai_free(json);
    status = pm_inspect_dump(s->os, "/db", true, count_line, &lines, NULL);
    CHECK(s, (status == POMAI_OK && lines > 2) || s->refusals);
    status = pm_inspect_verify(s->os, "/db", NULL, NULL, NULL, NULL);
    CHECK(s, status == POMAI_OK || s->refusals);
}

static void look_wrongly(void *arg)
{
    struct scene *s = arg;
    static char path[PM_DB_PATH_MAX + 2];
    memset(path, 'p', sizeof path - 1);
    CHECK(s, pm_inspect_verify(s->os, NULL, NULL, NULL, NULL, &s->err) == POMAI_EINVAL);
    CHECK(s, pm_inspect_verify(s->os, "", NULL, NULL, NULL, NULL) == POMAI_EINVAL);
    CHECK(s, pm_inspect_verify(s->os, path, NULL, NULL, NULL, &s->err) == POMAI_ETOOBIG);
    CHECK(s, pm_inspect_verify(s->os, "/db", stop_at_once, NULL, NULL, &s->err) == POMAI_EDEADLINE);
    CHECK(s, pm_inspect_verify(s->os, "/db", go_on, NULL, NULL, &s->err) == POMAI_OK);
    int lines = 0;
    CHECK(s, pm_inspect_dump(s->os, "/db", false, count_line, &lines, &s->err) == POMAI_OK && lines > 2);
    CHECK(s, pm_inspect_dump(s->os, "/db", false, NULL, NULL, &s->err) == POMAI_EINVAL);
    CHECK(s, pm_inspect_dump(s->os, "/db", false, stop_line, NULL, &s->err) == POMAI_EDEADLINE);
    CHECK(s, pm_inspect_dump(s->os, "/none", false, stop_line, NULL, &s->err) == POMAI_ENOTFOUND);
    CHECK(s, open_with(s, 0, 0, 0) == POMAI_OK); /* a writer is there: nobody may look, with the file or without */
    CHECK(s, pm_inspect_verify(s->os, "/db", NULL, NULL, NULL, &s->err) == POMAI_ELOCKED);
    const pm_span odd = {"\x02\x80\n", 3}; /* no name of a holder */
    int fd = s->os->file_open(s->os, "/db/LOCK", PM_OPEN_WRITE);
    for (uint64_t at = 0; at < 3; at++) {
        CHECK(s, s->os->file_write(s->os, fd, &(pm_span){(const char *)odd.data + at, 1}, 1, at == 0 ? 0 : 1) == 0);
        CHECK(s, pm_db_open(s->os, "/db", NULL, &(pm_db *){NULL}, &s->err) == POMAI_ELOCKED);
        const char letter[] = "a";
        CHECK(s, s->os->file_write(s->os, fd, &(pm_span){letter, 1}, 1, 0) == 0);
    }
    s->os->file_close(s->os, fd);
    CHECK(s, s->os->path_remove(s->os, "/db/LOCK") == 0);
    CHECK(s, pm_inspect_verify(s->os, "/db", NULL, NULL, NULL, &s->err) == POMAI_ELOCKED);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void add_torn_tail(struct scene *s)
{
    struct found f = find(s, ".wal");
    memset(f.bytes + f.size, 0x5a, 64);
    assert_int_equal(pm_disk_put(pm_sim_disk(s->sim), f.path, f.bytes, f.size + 64), 0);
    free(f.bytes);
}

static void test_looking(void **state)
{
    (void)state;
    static const uint32_t sets[] = {PM_SIM_BIT(MALLOC), PM_SIM_BIT(PAGES), PM_SIM_ALL_CALLS & ~PM_SIM_BIT(MALLOC)};
    struct scene *s = make(5, 0);
    play(s, write_two);
    add_torn_tail(s);
    play(s, look);
    s->refusals = true;
    for (size_t i = 0; i < 2 * sizeof sets / sizeof sets[0]; i++) {
        for (uint64_t nth = 0;; nth++) {
            pm_sim_set_fault(s->sim, (pm_sim_fault){sets[i / 2], nth, i % 2 == 1, false, EIO});
            play(s, look);
            pm_sim_held held = pm_sim_what_is_held(s->sim);
            assert_int_equal(held.allocations + held.regions + held.descriptors, 0);
            if (pm_sim_faults(s->sim) == 0) break;
        }
    }
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    s->refusals = false;
    play(s, look);
    play(s, look_wrongly);
    finish(s);
}

/* ---- a whole life, while calls fail ---- */

static void use(struct scene *s)
{
    pomai_batch batch = rows_of(ROWS, 4096);
    pomai_collection *coll = pomai_default(s->db);
    pomai_block *block;
    pomai_rows *rows;
    pomai_ids ids = {ROWS, spaced, NULL};
    char *json, **names;
    size_t count;
    (void)pomai_put(coll, &batch, NULL, NULL, &s->err);
    (void)pomai_delete(coll, &ids, NULL, NULL, NULL);
    if (pomai_reserve(coll, 2, DIM, &block, &s->err) == POMAI_OK) {
        (void)pomai_commit(block, NULL, NULL, NULL, NULL);
        pomai_block_free(block);
    }
    for (int i = 0; i < 9; i++) { /* more than the list of all collections begins with */
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        (void)create(s, name, DIM, POMAI_ID_STRING);
        if (i % 4 != 0) (void)pomai_collection_drop(s->db, name, NULL);
    }
    (void)pomai_put(coll, &batch, NULL, NULL, NULL);
    if (pomai_get(coll, &ids, NULL, &rows, &s->err) == POMAI_OK) pomai_rows_free(rows);
    if (pomai_stats(s->db, &json, &s->err) == POMAI_OK) pomai_free(json);
    if (pomai_collection_list(s->db, &names, &count, &s->err) == POMAI_OK) pomai_free((char *)names);
    (void)pomai_sync(s->db, NULL);
}

static void live(void *arg)
{
    struct scene *s = arg;
    if (open_with(s, 0, 10, 4) == POMAI_OK) {
        use(s);
        (void)pomai_close(s->db, NULL);
    }
    CHECK(s, s->err.status != POMAI_ECORRUPT && s->err.status != POMAI_EINTERNAL);
    if (open_with(s, POMAI_OPEN_READONLY, 0, 0) == POMAI_OK) (void)pomai_close(s->db, NULL);
    CHECK(s, s->err.status != POMAI_ECORRUPT && s->err.status != POMAI_EINTERNAL);
}

static void opens_again(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 10, 4) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* Call `nth` fails; false: there were not so many. */
static bool life_with_fault(uint32_t calls, uint64_t nth, int error)
{
    struct scene *s = make(6, 0);
    pm_sim_set_fault(s->sim, (pm_sim_fault){calls, nth, false, false, error});
    play(s, live);
    bool hit = pm_sim_faults(s->sim) > 0;
    pm_sim_held held = pm_sim_what_is_held(s->sim);
    if (held.allocations + held.regions + held.descriptors + held.tasks != 0)
        fail_msg("call %llu of %#x: something is held", (unsigned long long)nth, calls);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    play(s, opens_again);
    finish(s);
    return hit;
}

static void test_life_with_faults(void **state)
{
    (void)state;
    const uint32_t rest = PM_SIM_ALL_CALLS & ~PM_SIM_BIT(MALLOC);
    for (uint64_t nth = 0; life_with_fault(PM_SIM_BIT(MALLOC), nth, ENOMEM); nth += T_ONE_IN)
        ;
    for (uint64_t nth = 0; life_with_fault(rest, nth, nth % 2 == 0 ? EIO : ENOSPC); nth += 11 * T_ONE_IN)
        ;
}

/* A recovery that copies a torn tail away, cut off by each call in turn; then it succeeds. */
static void test_quarantine_with_faults(void **state)
{
    (void)state;
    struct scene *s = make(8, 0);
    play(s, write_two);
    add_torn_tail(s);
    pm_disk *torn = pm_disk_copy(pm_sim_disk(s->sim));
    bool hit = true;
    for (uint64_t nth = 0; hit; nth += T_ONE_IN) {
        for (int way = 0; way < 3; way++) {
            const uint32_t calls = way == 2 ? PM_SIM_BIT(MALLOC) | PM_SIM_BIT(PAGES) : PM_SIM_ALL_CALLS;
            pm_sim_set_disk(s->sim, pm_disk_copy(torn));
            pm_sim_set_fault(s->sim, (pm_sim_fault){calls, nth, false, false, way == 0 ? EIO : ENOSPC});
            play(s, live);
            if (way == 0) hit = pm_sim_faults(s->sim) > 0 && nth < 250; /* what comes later is no recovery */
            pm_sim_set_fault(s->sim, (pm_sim_fault){0});
            play(s, opens_again);
        }
    }
    pm_disk_free(torn);
    finish(s);
}

/* ---- an actor that is held up ---- */

static struct held_up {
    struct scene *scene;
    void (*machine)(enum pm_point point);
    enum { HU_OFF, HU_FLUSHING, HU_WRITTEN, HU_ENDING, HU_DONE } at;
    unsigned shown;
} held_up;

/* The flush's segment is written; then an actor has the view without it, and goes on when that segment is merged. */
static void hold_up(enum pm_point point)
{
    struct held_up *h = &held_up;
    h->machine(point);
    if (point == PM_POINT_SEGMENT_WRITTEN && h->at == HU_FLUSHING) {
        h->at = HU_WRITTEN;
        while (h->at == HU_WRITTEN)
            pm_sim_sleep(h->scene->sim, 1000000);
    } else if (point == PM_POINT_VIEW_TO_END_IN && h->at == HU_WRITTEN) {
        h->at = HU_ENDING;
        while (h->shown < 2)
            pm_sim_sleep(h->scene->sim, 1000000);
        h->at = HU_DONE;
    } else if (point == PM_POINT_SEGMENT_SHOWN && h->at == HU_ENDING) {
        h->shown++;
    }
}

static void flush_it(void *arg)
{
    struct scene *s = arg;
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
}

static bool all_gone(struct scene *s)
{
    pomai_ids ids = {.u64 = spaced, .count = ROWS};
    pomai_rows *rows;
    size_t found = 0;
    if (pomai_get(pomai_default(s->db), &ids, NULL, &rows, &s->err) != POMAI_OK) return false;
    for (size_t i = 0; i < ROWS; i++)
        found += pomai_rows_found(rows, i) != 0;
    pomai_rows_free(rows);
    return found == 0;
}

static void delete_while_moving(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    for (unsigned i = 0; i < 4; i++) {
        pomai_batch batch = rows_of(ROWS, 4); /* in each segment others: four of a size are merged */
        for (unsigned row = 0; row < ROWS; row++)
            spaced[row] += i;
        CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
        if (i < 3) CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    }
    held_up = (struct held_up){.scene = s, .machine = pm_point_hook, .at = HU_FLUSHING};
    pm_point_hook = hold_up;
    uint32_t other = pm_sim_spawn(s->sim, flush_it, s);
    while (held_up.at != HU_WRITTEN)
        pm_sim_sleep(s->sim, 1000000);
    pomai_ids ids = {.u64 = spaced, .count = ROWS};
    CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_OK);
    pm_sim_join(s->sim, other);
    pm_point_hook = held_up.machine;
    CHECK(s, held_up.at == HU_DONE);
    CHECK(s, all_gone(s));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    CHECK(s, all_gone(s));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* A record of many rows takes long to apply, and meanwhile what it ends may move more than once. */
static void test_delete_while_moving(void **state)
{
    (void)state;
    struct scene *s = make(3, 0);
    play(s, delete_while_moving);
    finish(s);
}

/* ---- damage that a merge finds ---- */

static void add_segments(struct scene *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        for (int c = 0; c < 2; c++) {
            pomai_collection *coll;
            pomai_batch batch = rows_of(ROWS, 8);
            for (unsigned row = 0; row < ROWS; row++)
                spaced[row] += i;
            CHECK(s, pomai_collection_open(s->db, c == 0 ? "first" : "second", &coll, &s->err) == POMAI_OK);
            CHECK(s, pomai_put(coll, &batch, NULL, NULL, &s->err) == POMAI_OK);
            pomai_collection_close(coll);
        }
        CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    }
}

static void three_segments(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    CHECK(s, create(s, "first", DIM, POMAI_ID_U64) == POMAI_OK && create(s, "second", DIM, POMAI_ID_U64) == POMAI_OK);
    add_segments(s, 0, 3);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* One byte in the middle of a segment's vectors. */
static void damage_one(struct scene *s)
{
    static const char path[] = "/db/collections/1/segments/1/vectors.arrow";
    static uint8_t bytes[1 << 16];
    uint32_t file;
    assert_int_equal(pm_disk_open(pm_sim_disk(s->sim), path, PM_OPEN_READ, &file), 0);
    int64_t size = pm_disk_read(pm_sim_disk(s->sim), file, bytes, sizeof bytes, 0);
    assert_true(size > 100);
    bytes[size / 2] ^= 1;
    assert_int_equal(pm_disk_put(pm_sim_disk(s->sim), path, bytes, (uint64_t)size), 0);
}

static uint32_t segments_of(const struct scene *s, const char *name)
{
    return ((const pm_shown *)atomic_load(&pm_db_find(s->db, name)->shown))->segments;
}

static void merges_the_rest(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    add_segments(s, 3, 5);
    pm_sim_sleep(s->sim, (uint64_t)60 * 1000000000);
    CHECK(s, segments_of(s, "second") < 4);
    CHECK(s, segments_of(s, "first") < 5); /* the others of it */
    CHECK(s, pomai_compact(s->db, NULL, &s->err) == POMAI_ECORRUPT);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_merges_around_damage(void **state)
{
    (void)state;
    struct scene *s = make(5, 0);
    play(s, three_segments);
    damage_one(s);
    play(s, merges_the_rest);
    finish(s);
}

/* ---- a compaction that is paced ---- */

/* Seconds for a merge of some MiB: a flush that somebody asked for does not wait for its end. */
static void flush_between(void *arg)
{
    enum { WIDE = 8192, FEW = 64 };
    struct scene *s = arg;
    static float wide[FEW * WIDE];
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 1;
    o.compact_rate = 1000;
    CHECK(s, pm_db_open(s->os, "/db", &o, &s->db, &s->err) == POMAI_OK);
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = FEW;
    batch.dim = WIDE;
    batch.vectors = wide;
    for (int i = 0; i < 4; i++) {
        CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
        CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    }
    pm_sim_sleep(s->sim, 2000000000);
    CHECK(s, segments_of(s, "default") == 4); /* under way */
    batch.rows = 1;
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    const uint64_t begin = pm_sim_time(s->sim);
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    CHECK(s, pm_sim_time(s->sim) - begin < 500000000);
    CHECK(s, segments_of(s, "default") == 5);
    pm_sim_sleep(s->sim, (uint64_t)30 * 1000000000);
    CHECK(s, segments_of(s, "default") == 2);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_flush_between(void **state)
{
    (void)state;
    struct scene *s = make(6, 0);
    play(s, flush_between);
    finish(s);
}

/* ---- ids of batches that no log file tells of ---- */

static void put_first(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(1, 1);
    CHECK(s, open_with(s, POMAI_OPEN_NO_FLUSH_AT_CLOSE, 2, 0) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* Batches that have ids, but no log file that says in which opening; the flush counts them as resolved. */
static void refuse_then_flush(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(ROWS, 4096);
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(ALLOCATE), 0, true, false, ENOSPC});
    for (int i = 0; i < 3; i++)
        CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_ENOSPC);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
}

static uint64_t cut_at;

static void put_half(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(ROWS, 4096);
    CHECK(s, open_with(s, POMAI_OPEN_NO_FLUSH_AT_CLOSE, 2, 0) == POMAI_OK);
    pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(WRITE), cut_at, false, false, EIO});
    (void)pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    (void)pomai_close(s->db, &s->err);
}

static void whole_or_not_at_all(void *arg)
{
    struct scene *s = arg;
    pomai_ids ids = {.u64 = spaced + 1, .count = ROWS - 1};
    pomai_rows *rows;
    size_t found = 0;
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    CHECK(s, pomai_get(pomai_default(s->db), &ids, NULL, &rows, &s->err) == POMAI_OK);
    for (size_t i = 0; i < ROWS - 1; i++)
        found += pomai_rows_found(rows, i) != 0;
    pomai_rows_free(rows);
    CHECK(s, found == 0 || found == ROWS - 1);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* An opening that wrote no log, but the manifest, must not lend its batch ids to the next. */
static void test_batch_ids_of_no_log(void **state)
{
    (void)state;
    struct scene *s = make(4, 0);
    play(s, put_first);
    play(s, refuse_then_flush);
    pm_sim_kill_process(s->sim);
    pm_disk *before = pm_disk_copy(pm_sim_disk(s->sim));
    for (cut_at = 0; cut_at < 12; cut_at++) {
        pm_sim_set_disk(s->sim, pm_disk_copy(before));
        play(s, put_half);
        play(s, whole_or_not_at_all);
    }
    pm_disk_free(before);
    finish(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* The quick ones first: a planted bug is caught by the first that fails. */
        cmocka_unit_test(test_drop_half_way),
        cmocka_unit_test(test_refused_creates),
        cmocka_unit_test(test_shorter_edit),
        cmocka_unit_test(test_refused_and_stopped),
        cmocka_unit_test(test_delete_while_moving),
        cmocka_unit_test(test_merges_around_damage),
        cmocka_unit_test(test_batch_ids_of_no_log),
        cmocka_unit_test(test_catalogue_of_another_log),
        cmocka_unit_test(test_many_batches),
        cmocka_unit_test(test_race_for_default),
        cmocka_unit_test(test_flush_between),
        cmocka_unit_test(test_large_puts),
        cmocka_unit_test(test_looking),
        cmocka_unit_test(test_quarantine_with_faults),
        cmocka_unit_test(test_life_with_faults),
        cmocka_unit_test(test_many_parts),
        cmocka_unit_test(test_cut_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
