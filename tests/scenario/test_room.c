/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No room for a flush or a compaction: every call that they make fails, once and for a while, on the simulated machine.
 * Reads go on and show what they did, the cause is in the statistics and in the next call that needs room, and it works
 * once there is room again. Also a disk that stores something else than it was given, and a clock that is set back.
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

#include "../support/tmp.h"
#include "core/engine/engine.h"
#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "support/scene_check.h"

enum { DIM = 4, ROWS = 200, SHARDS = 2 };

/* What there is no room for: a flush, a compaction of segments, or one of segments and of what is in memory. */
enum what_works { FLUSHES, COMPACTS, COMPACTS_ALL, WORKS };

struct scene {
    pm_sim *sim;
    pm_db *db;
    pomai_error err;
    pm_sim_fault fault;
    uint64_t compact_rate;
    enum what_works works;
    bool hit;
    char what[500];
};

static pomai_status open_scene(struct scene *s)
{
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = SHARDS;
    o.flush_bytes = 16384;
    o.wal_file_bytes = 1 << 20;
    o.search_threads = UINT32_MAX;
    o.compact_rate = s->compact_rate != 0 ? s->compact_rate : UINT64_MAX;
    return pm_db_open(pm_sim_os(s->sim), "/db", &o, &s->db, &s->err);
}

static pomai_status put(struct scene *s, uint64_t first, uint64_t rows, float what, uint64_t deadline_us)
{
    static float vectors[ROWS * DIM];
    static uint64_t ids[ROWS];
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_write_options w = POMAI_WRITE_OPTIONS_INIT;
    for (uint64_t i = 0; i < rows; i++) {
        ids[i] = (first + i) * 64; /* of both shards */
        for (unsigned d = 0; d < DIM; d++)
            vectors[i * DIM + d] = what + (float)(i + d);
    }
    batch.rows = rows;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    w.deadline_us = deadline_us;
    return pomai_put(pomai_default(s->db), &batch, &w, NULL, &s->err);
}

static bool looks_the_same(struct scene *s, const uint64_t before[2])
{
    uint64_t now[2];
    float query[DIM] = {1, 2, 3, 4};
    pomai_result *result;
    if (pomai_digest(s->db, NULL, now, &s->err) != POMAI_OK || memcmp(now, before, sizeof now) != 0) return false;
    if (pomai_search(pomai_default(s->db), query, 1, DIM, 3, NULL, &result, &s->err) != POMAI_OK) return false;
    const bool all = pomai_result_count(result, 0) == 3;
    pomai_result_free(result);
    return all;
}

static bool stats_say(struct scene *s, const char *text)
{
    char *json;
    if (pomai_stats(s->db, &json, &s->err) != POMAI_OK) return false;
    const bool said = strstr(json, text) != NULL;
    pomai_free(json);
    return said;
}

static pomai_status work(struct scene *s)
{
    return s->works != FLUSHES ? pomai_compact(s->db, NULL, &s->err) : pomai_flush(s->db, &s->err);
}

/* ---- each call in turn ---- */

static void one_fault(void *arg)
{
    struct scene *s = arg;
    uint64_t before[2];
    CHECK(s, open_scene(s) == POMAI_OK);
    CHECK(s, put(s, 0, ROWS, 1, UINT64_MAX) == POMAI_OK && pomai_flush(s->db, &s->err) == POMAI_OK);
    CHECK(s, put(s, ROWS / 2, ROWS, 2, UINT64_MAX) == POMAI_OK);
    if (s->works == COMPACTS) CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    CHECK(s, pomai_digest(s->db, NULL, before, &s->err) == POMAI_OK);
    pm_sim_set_fault(s->sim, s->fault);
    pomai_status status = work(s);
    s->hit = pm_sim_faults(s->sim) > 0;
    if (status != POMAI_OK) CHECK(s, s->err.status == status && strlen(s->err.message) > 10);
    CHECK(s, status != POMAI_ESTOPPED || strstr(s->err.message, "half-way") == NULL); /* but the cause */
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    CHECK(s, status == POMAI_OK || s->hit);
    if (s->works == COMPACTS_ALL && !s->fault.for_ever && status != POMAI_OK && status != POMAI_ENOMEM)
        CHECK(s, work(s) == POMAI_ESTOPPED); /* else it was done again, alone */
    CHECK(s, status != POMAI_ECORRUPT && status != POMAI_EINTERNAL);
    CHECK(s, looks_the_same(s, before));
    if (status != POMAI_OK && status != POMAI_ESTOPPED) CHECK(s, stats_say(s, "_error\": {") || work(s) == POMAI_OK);
    status = work(s); /* unless it must be reopened: an edit half-way, a sync of the log that failed */
    CHECK(s, status == POMAI_OK || status == POMAI_ESTOPPED);
    CHECK(s, status != POMAI_OK || stats_say(s, "\"maintenance\""));
    CHECK(s, looks_the_same(s, before));
    status = pomai_close(s->db, &s->err);
    CHECK(s, status == POMAI_OK || status == POMAI_ESTOPPED);
    CHECK(s, open_scene(s) == POMAI_OK);
    CHECK(s, looks_the_same(s, before));
    CHECK(s, pomai_compact(s->db, NULL, &s->err) == POMAI_OK && looks_the_same(s, before));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, pm_inspect_verify(pm_sim_os(s->sim), "/db", NULL, NULL, NULL, &s->err) == POMAI_OK);
}

static bool run_scene(pm_sim_fn part, pm_sim_fault fault, enum what_works works)
{
    struct scene *s = calloc(1, sizeof *s);
    s->sim = pm_sim_make(5);
    pm_sim_set_preemption(s->sim, 0);
    s->fault = fault;
    s->works = works;
    pm_sim_end end = pm_sim_run(s->sim, part, s);
    if (end != PM_SIM_DONE || s->what[0] != '\0')
        fail_msg("calls %#x, nth %llu, for ever %d, errno %d, work %d: ended with %d, %s", fault.calls,
                 (unsigned long long)fault.nth, fault.for_ever, fault.error, (int)works, (int)end, s->what);
    pm_sim_held held = pm_sim_what_is_held(s->sim);
    assert_int_equal(held.allocations + held.regions + held.descriptors + held.tasks, 0);
    const bool hit = s->hit;
    pm_sim_free(s->sim);
    free(s);
    return hit;
}

static void test_each_call(void **state)
{
    static const uint32_t calls[] = {PM_SIM_BIT(WRITE),  PM_SIM_BIT(SYNC),     PM_SIM_BIT(ALLOCATE),
                                     PM_SIM_BIT(OPEN),   PM_SIM_BIT(DIR_MAKE), PM_SIM_BIT(DIR_SYNC),
                                     PM_SIM_BIT(RENAME), PM_SIM_BIT(MAP),      PM_SIM_BIT(MALLOC),
                                     PM_SIM_BIT(PAGES),  PM_SIM_BIT(READ),     PM_SIM_BIT(REMOVE)};
    unsigned hits = 0;
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (unsigned way = 0; way < 2 * WORKS; way++)
            for (uint64_t nth = 0; nth < 80; nth++, hits++) {
                pm_sim_fault fault = {calls[i], nth, way % 2 == 1, false, i % 3 == 2 ? EIO : ENOSPC};
                if (!run_scene(one_fault, fault, (enum what_works)(way / 2))) break;
            }
    assert_true(hits > 100);
}

/* ---- rows that are replaced ---- */

/* Of all segments, whether anybody needs them or not. */
static uint64_t rows_in_segments(const pm_db *db)
{
    uint64_t rows = 0;
    pm_epoch_hold hold = pm_epoch_enter(&((pm_db *)db)->shared.epoch);
    const pm_shown *shown = atomic_load(&pm_db_find(db, "default")->shown);
    for (uint32_t i = 0; i < shown->segments; i++)
        rows += pm_segment_rows(shown->segment[i]);
    pm_epoch_leave(&((pm_db *)db)->shared.epoch, hold);
    return rows;
}

/* However slow compaction is to be and however fast they are replaced: dead rows stay a part of what there is. */
static void replaced_for_ever(void *arg)
{
    enum { LIVE = 2000, PASSES = 30, IN_MEMORY = 5 * 16384 / 48 /* flush_bytes, four times and once, in rows */ };
    struct scene *s = arg;
    uint64_t most = 0;
    s->compact_rate = 4096;
    CHECK(s, open_scene(s) == POMAI_OK);
    for (unsigned i = 0; i < LIVE / ROWS * PASSES; i++) {
        CHECK(s, put(s, i * ROWS % LIVE, ROWS, (float)i, UINT64_MAX) == POMAI_OK);
        most = pm_max_u64(most, rows_in_segments(s->db));
    }
    CHECK(s, most >= LIVE && most <= LIVE + LIVE / 4 * 3 + IN_MEMORY);
    s->hit = true;
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_replaced_for_ever(void **state)
{
    (void)state;
    assert_true(run_scene(replaced_for_ever, (pm_sim_fault){0}, FLUSHES));
}

/* ---- a full disk ---- */

/* No segment can be made; the log has room. Puts are taken while memory is there for them, and then say why not. */
static void full_for_segments(void *arg)
{
    struct scene *s = arg;
    uint64_t before[2];
    pomai_status status = POMAI_OK;
    unsigned taken = 0;
    CHECK(s, open_scene(s) == POMAI_OK);
    CHECK(s, put(s, 0, ROWS, 1, UINT64_MAX) == POMAI_OK);
    pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(DIR_MAKE), 0, true, false, ENOSPC});
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_ENOSPC);
    for (; taken < 1000 && status == POMAI_OK; taken += status == POMAI_OK) {
        CHECK(s, pomai_digest(s->db, NULL, before, &s->err) == POMAI_OK);
        status = put(s, taken, ROWS, 2, UINT64_MAX);
    }
    CHECK(s, status == POMAI_ENOSPC && taken >= 4 && strstr(s->err.message, "flushed") != NULL);
    CHECK(s, looks_the_same(s, before));
    CHECK(s, stats_say(s, "_error\": {") && stats_say(s, "POMAI_ENOSPC"));
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    CHECK(s, !stats_say(s, "_error\": {") && looks_the_same(s, before));
    CHECK(s, put(s, 0, ROWS, 3, UINT64_MAX) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_full_for_segments(void **state)
{
    (void)state;
    (void)run_scene(full_for_segments, (pm_sim_fault){0}, FLUSHES);
}

static void add_size(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    (void)path;
    (void)bytes;
    *(uint64_t *)context += size;
}

static void full_disk(void *arg)
{
    struct scene *s = arg;
    uint64_t before[2], used = 0;
    CHECK(s, open_scene(s) == POMAI_OK);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(s, put(s, i * 2 * ROWS, ROWS, 1, UINT64_MAX) == POMAI_OK);
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    CHECK(s, put(s, ROWS / 2, ROWS, 2, UINT64_MAX) == POMAI_OK);
    if (s->works == COMPACTS) CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    CHECK(s, pomai_digest(s->db, NULL, before, &s->err) == POMAI_OK);
    pm_disk_each_file(pm_sim_disk(s->sim), add_size, &used);
    pm_disk_set_capacity(pm_sim_disk(s->sim), used + s->fault.nth);
    const pomai_status status = work(s);
    s->hit = status != POMAI_OK;
    CHECK(s, status == POMAI_OK || status == POMAI_ENOSPC);
    CHECK(s, looks_the_same(s, before));
    pm_disk_set_capacity(pm_sim_disk(s->sim), 0);
    CHECK(s, work(s) == POMAI_OK && looks_the_same(s, before));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_scene(s) == POMAI_OK && looks_the_same(s, before));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, pm_inspect_verify(pm_sim_os(s->sim), "/db", NULL, NULL, NULL, &s->err) == POMAI_OK);
}

static void test_full_disk(void **state)
{
    (void)state;
    uint64_t needs[WORKS];
    for (int works = 0; works < WORKS; works++) {
        uint64_t room = 1;
        while (run_scene(full_disk, (pm_sim_fault){.nth = room}, (enum what_works)works) && room < 1 << 20)
            room += 700;
        assert_true(room > 700 && room < 1 << 20);
        needs[works] = room;
    }
    assert_true(needs[COMPACTS_ALL] <= needs[FLUSHES]); /* what cannot be merged at once is flushed alone */
}

/* ---- a table of one's own ---- */

static struct {
    pm_os os;
    uint64_t wall;
    bool spoil;
    int fd; /* the last that was opened in a segment */
} odd;

#define REAL pm_os_posix()

static uint64_t odd_wall(const pm_os *os)
{
    (void)os;
    return odd.wall;
}

static int odd_open(const pm_os *os, const char *path, int flags)
{
    (void)os;
    const int fd = REAL->file_open(REAL, path, flags);
    if (strstr(path, "vectors.arrow") != NULL)
        odd.fd = fd;
    else if (fd == odd.fd)
        odd.fd = -1;
    return fd;
}

static int odd_write(const pm_os *os, int fd, const pm_span *spans, size_t count, uint64_t offset)
{
    (void)os;
    int rc = REAL->file_write(REAL, fd, spans, count, offset);
    if (rc != 0 || !odd.spoil || fd != odd.fd) return rc;
    odd.fd = -1;
    const uint8_t other = (uint8_t) ~((const uint8_t *)spans[0].data)[0];
    const pm_span one = {&other, 1};
    return REAL->file_write(REAL, fd, &one, 1, offset);
}

static pm_db *open_odd(const char *path)
{
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    pomai_error err = {0};
    pm_db *db = NULL;
    o.shards = 1;
    odd.os = *REAL;
    odd.os.wall_ns = odd_wall;
    odd.os.file_open = odd_open;
    odd.os.file_write = odd_write;
    if (pm_db_open(&odd.os, path, &o, &db, &err) != POMAI_OK) fail_msg("%s", err.message);
    return db;
}

static void put_one(pm_db *db, uint64_t id, uint64_t expiry)
{
    float vector[DIM] = {1, (float)id};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = DIM;
    batch.vectors = vector;
    batch.u64_ids = &id;
    batch.expiry_ns = &expiry;
    assert_int_equal(pomai_put(pomai_default(db), &batch, NULL, NULL, NULL), POMAI_OK);
}

static bool is_there(pm_db *db, uint64_t id)
{
    pomai_ids ids = {1, &id, NULL};
    pomai_rows *rows;
    assert_int_equal(pomai_get(pomai_default(db), &ids, NULL, &rows, NULL), POMAI_OK);
    const bool there = pomai_rows_found(rows, 0);
    pomai_rows_free(rows);
    return there;
}

struct box {
    char dir[T_PATH_MAX], db[T_PATH_MAX];
};

static int box_make(void **state)
{
    static struct box box;
    const char *dir = getenv("TMPDIR");
    t_tmp_make(box.dir, dir != NULL && dir[0] != '\0' ? dir : "/tmp", "room");
    t_join(box.db, box.dir, "db");
    memset(&odd, 0, sizeof odd);
    odd.fd = -1;
    odd.wall = 1000;
    *state = &box;
    return 0;
}

static int box_remove(void **state)
{
    t_remove(((struct box *)*state)->dir);
    return 0;
}

static void test_clock_set_back(void **state)
{
    struct box *box = *state;
    pm_db *db = open_odd(box->db);
    put_one(db, 1, 2000);
    put_one(db, 2, 1u << 30);
    assert_true(is_there(db, 1));
    odd.wall = 2500;
    assert_true(!is_there(db, 1) && is_there(db, 2));
    for (unsigned round = 0; round < 4; round++) {
        odd.wall = 500;
        assert_true(!is_there(db, 1) && is_there(db, 2));
        if (round == 1) assert_int_equal(pomai_flush(db, NULL), POMAI_OK);
        if (round == 2) assert_int_equal(pomai_compact(db, NULL, NULL), POMAI_OK);
        assert_true(!is_there(db, 1) && is_there(db, 2));
        assert_int_equal(pomai_close(db, NULL), POMAI_OK);
        db = open_odd(box->db);
    }
    assert_int_equal(pomai_close(db, NULL), POMAI_OK);
}

/* Expired in a segment, while nothing else was written: only the catalogue can say how late it was. */
static void test_clock_of_the_catalogue(void **state)
{
    struct box *box = *state;
    pm_db *db = open_odd(box->db);
    put_one(db, 1, 2000);
    assert_int_equal(pomai_flush(db, NULL), POMAI_OK);
    odd.wall = 2500;
    assert_true(!is_there(db, 1));
    assert_int_equal(pomai_flush(db, NULL), POMAI_OK);
    assert_int_equal(pomai_close(db, NULL), POMAI_OK);
    odd.wall = 500;
    db = open_odd(box->db);
    assert_true(!is_there(db, 1));
    assert_int_equal(pomai_close(db, NULL), POMAI_OK);
}

/* A segment that is not what was written is found before what it replaces goes. */
static void test_disk_stores_something_else(void **state)
{
    struct box *box = *state;
    pomai_error err = {0};
    pm_db *db = open_odd(box->db);
    for (uint64_t id = 0; id < 50; id++)
        put_one(db, id, 0);
    odd.spoil = true;
    assert_int_equal(pomai_flush(db, &err), POMAI_ECORRUPT);
    assert_non_null(strstr(err.message, "vectors.arrow"));
    for (uint64_t id = 0; id < 50; id++)
        assert_true(is_there(db, id));
    odd.spoil = false;
    assert_int_equal(pomai_flush(db, &err), POMAI_OK);
    put_one(db, 7, 0);
    assert_int_equal(pomai_flush(db, &err), POMAI_OK);
    odd.spoil = true;
    assert_int_equal(pomai_compact(db, NULL, &err), POMAI_ECORRUPT);
    odd.spoil = false;
    for (uint64_t id = 0; id < 50; id++)
        assert_true(is_there(db, id));
    assert_int_equal(pomai_close(db, NULL), POMAI_OK);
    if (pomai_verify_path(box->db, NULL, NULL, NULL, &err) != POMAI_OK) fail_msg("%s", err.message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_replaced_for_ever),
        cmocka_unit_test(test_full_for_segments),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test_setup_teardown(test_clock_set_back, box_make, box_remove),
        cmocka_unit_test_setup_teardown(test_clock_of_the_catalogue, box_make, box_remove),
        cmocka_unit_test_setup_teardown(test_disk_stores_something_else, box_make, box_remove),
    };
    return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
