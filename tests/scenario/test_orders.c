/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders that a soak draws seldom, on the simulated machine: who is at a named boundary is held there while others go
 * on. And what a power loss leaves at the worst instant, in every way it can.
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

#include "../support/scene.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

#define MS UINT64_C(1000000)

/* ---- holding ---- */

enum { HOLDINGS = 3 };

typedef struct holding {
    bool armed, held;
    enum pm_point point;
} holding;

static struct {
    struct scene *scene;
    void (*machine)(enum pm_point point);
    holding at[HOLDINGS];
} held;

static void hold(holding *h)
{
    h->armed = false;
    h->held = true;
    while (h->held)
        pm_sim_sleep(held.scene->sim, MS);
}

static void hold_at(enum pm_point point)
{
    held.machine(point);
    for (int i = 0; i < HOLDINGS; i++)
        if (held.at[i].armed && held.at[i].point == point) hold(&held.at[i]);
}

static void holds_begin(struct scene *s)
{
    memset(&held, 0, sizeof held);
    held.scene = s;
    held.machine = pm_point_hook;
    pm_point_hook = hold_at;
}

static void holds_end(void)
{
    pm_point_hook = held.machine;
}

/* Whoever comes there next. */
static void arm(int i, enum pm_point point)
{
    held.at[i] = (holding){.armed = true, .point = point};
}

static bool is_held(int i)
{
    for (int tries = 0; tries < 5000 && !held.at[i].held; tries++)
        pm_sim_sleep(held.scene->sim, MS);
    return held.at[i].held;
}

static void let_go(int i)
{
    held.at[i].held = false;
}

/* ---- rows ---- */

static size_t rows_there(struct scene *s)
{
    pomai_ids ids = {.u64 = spaced, .count = ROWS};
    pomai_rows *rows;
    size_t found = 0;
    if (pomai_get(pomai_default(s->db), &ids, NULL, &rows, &s->err) != POMAI_OK) return SIZE_MAX;
    for (size_t i = 0; i < ROWS; i++)
        found += pomai_rows_found(rows, i) != 0;
    pomai_rows_free(rows);
    return found;
}

static void flush_it(void *arg)
{
    struct scene *s = arg;
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
}

static void put_rows(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(ROWS, 4096); /* of all shards */
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
}

static void put_whatever(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = rows_of(ROWS, 4096);
    (void)pomai_put(pomai_default(s->db), &batch, NULL, NULL, NULL);
}

static void find_rows(void *arg)
{
    struct scene *s = arg;
    CHECK(s, rows_there(s) == ROWS);
}

/* ---- views ---- */

/* Everything that a reader's view has is replaced before it learns up to where it sees. */
static void replace_under_reader(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    put_rows(s);
    holds_begin(s);
    arm(0, PM_POINT_VIEW_LOADED);
    uint32_t reader = pm_sim_spawn(s->sim, find_rows, s);
    CHECK(s, is_held(0));
    arm(1, PM_POINT_SEGMENT_WRITTEN);
    uint32_t flusher = pm_sim_spawn(s->sim, flush_it, s);
    CHECK(s, is_held(1));
    put_rows(s); /* into a memtable that the view does not have */
    let_go(0);
    pm_sim_join(s->sim, reader);
    let_go(1);
    pm_sim_join(s->sim, flusher);
    holds_end();
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* Rows that are deleted while their flush is under way are gone in the first view that has their segment. */
static void delete_under_flush(void *arg)
{
    struct scene *s = arg;
    pomai_ids ids = {.u64 = spaced, .count = ROWS};
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    put_rows(s);
    holds_begin(s);
    arm(0, PM_POINT_MANIFEST_WRITTEN);
    uint32_t other = pm_sim_spawn(s->sim, flush_it, s);
    CHECK(s, is_held(0));
    CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_OK);
    arm(1, PM_POINT_SEGMENT_SHOWN);
    let_go(0);
    CHECK(s, is_held(1));
    CHECK(s, rows_there(s) == 0);
    let_go(1);
    pm_sim_join(s->sim, other);
    holds_end();
    CHECK(s, rows_there(s) == 0);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_views(void **state)
{
    (void)state;
    struct scene *s = make(1, 0);
    play(s, replace_under_reader);
    finish(s);
    s = make(1, 0);
    play(s, delete_under_flush);
    finish(s);
}

/* ---- time ---- */

static uint64_t count_in(struct scene *s, const pomai_snapshot *snapshot)
{
    uint64_t rows = UINT64_MAX;
    pomai_count_options o = POMAI_COUNT_OPTIONS_INIT;
    o.snapshot = snapshot;
    return pomai_count(pomai_default(s->db), &o, &rows, &s->err) == POMAI_OK ? rows : UINT64_MAX;
}

/* Rows that expire after a snapshot was taken, and are compacted then, stay in it. */
static void compact_what_expired(void *arg)
{
    static uint64_t expiry[ROWS];
    struct scene *s = arg;
    pomai_snapshot *snapshot;
    pomai_rows *rows;
    pomai_batch batch = rows_of(ROWS, 4096);
    const pomai_ids first = {.u64 = spaced, .count = 1};
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_get(pomai_default(s->db), &first, NULL, &rows, &s->err) == POMAI_OK);
    for (size_t i = 0; i < ROWS; i++)
        expiry[i] = i % 2 == 0 ? 0 : pomai_rows_stamp(rows, 0) + 1000 * MS;
    pomai_rows_free(rows);
    batch.expiry_ns = expiry;
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_flush(s->db, &s->err) == POMAI_OK);
    CHECK(s, pomai_snapshot_open(s->db, &snapshot, &s->err) == POMAI_OK);
    pm_sim_sleep(s->sim, 5000 * MS);
    CHECK(s, count_in(s, snapshot) == ROWS && count_in(s, NULL) == (ROWS + 1) / 2);
    CHECK(s, pomai_compact(s->db, NULL, &s->err) == POMAI_OK);
    CHECK(s, count_in(s, snapshot) == ROWS && count_in(s, NULL) == (ROWS + 1) / 2);
    pomai_snapshot_close(snapshot);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_snapshots_hold_time(void **state)
{
    (void)state;
    struct scene *s = make(1, 0);
    play(s, compact_what_expired);
    finish(s);
}

/* ---- counting ---- */

static uint64_t live_in(struct scene *s)
{
    pomai_collection_info info;
    return pomai_collection_get_info(pomai_default(s->db), &info, &s->err) == POMAI_OK ? info.rows : UINT64_MAX;
}

static void delete_rows(void *arg)
{
    struct scene *s = arg;
    pomai_ids ids = {.u64 = spaced, .count = ROWS};
    CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_OK);
}

/* What is applied and not shown does not count: the count is that of the view. */
static void count_under_write(void *arg)
{
    static const struct {
        void (*write)(void *arg);
        uint64_t before, after;
    } steps[] = {
        {put_rows, 0, ROWS}, {put_rows, ROWS, ROWS}, {delete_rows, ROWS, 0}, {delete_rows, 0, 0}, {put_rows, 0, ROWS},
    };
    struct scene *s = arg;
    (void)rows_of(ROWS, 4096);
    for (int flushed = 0; flushed < 2; flushed++) {
        CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            holds_begin(s);
            arm(0, PM_POINT_ROWS_COUNTED);
            arm(1, PM_POINT_ROWS_SHOWN);
            const uint32_t writer = pm_sim_spawn(s->sim, steps[i].write, s);
            CHECK(s, is_held(0));
            CHECK(s, live_in(s) == steps[i].before && count_in(s, NULL) == steps[i].before);
            let_go(0);
            CHECK(s, is_held(1));
            CHECK(s, live_in(s) == steps[i].after && count_in(s, NULL) == steps[i].after);
            let_go(1);
            pm_sim_join(s->sim, writer);
            holds_end();
            if (flushed) flush_it(s);
            CHECK(s, live_in(s) == steps[i].after);
        }
        CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
        CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
        CHECK(s, live_in(s) == ROWS);
        delete_rows(s);
        CHECK(s, live_in(s) == 0);
        CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    }
}

static void compact_it(void *arg)
{
    struct scene *s = arg;
    CHECK(s, pomai_compact(s->db, NULL, &s->err) == POMAI_OK);
}

/* What is in memory goes with them. */
static void compact_all(void *arg)
{
    compact_it(arg);
}

/* Rows move, or go because they have expired, while they are replaced. */
static void count_under_move(struct scene *s, void (*move)(void *arg), bool expire, enum pm_point at)
{
    static uint64_t expiry[ROWS];
    pomai_rows *rows;
    uint64_t stay = UINT64_C(1) << 40; /* a row that nothing happens to */
    pomai_batch batch = rows_of(1, 4096);
    const pomai_ids first = {.u64 = &stay, .count = 1};
    batch.u64_ids = &stay;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_get(pomai_default(s->db), &first, NULL, &rows, &s->err) == POMAI_OK);
    for (size_t i = 0; i < ROWS; i++)
        expiry[i] = i % 2 != 0 || !expire ? 0 : pomai_rows_stamp(rows, 0) + 1000 * MS;
    pomai_rows_free(rows);
    if (move != flush_it) flush_it(s);
    batch = rows_of(ROWS, 4096);
    batch.expiry_ns = expiry;
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    if (move != flush_it) flush_it(s);
    batch = rows_of(1, 4096);
    batch.u64_ids = &stay;
    if (move == compact_all) CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    CHECK(s, live_in(s) == 1 + ROWS);
    holds_begin(s);
    arm(0, at);
    pm_sim_sleep(s->sim, 5000 * MS);
    const uint32_t mover = pm_sim_spawn(s->sim, move, s); /* unless maintenance does it by itself */
    CHECK(s, is_held(0));
    const uint64_t left = 1 + (expire ? ROWS / 2 : ROWS);
    CHECK(s, live_in(s) == left && count_in(s, NULL) == left);
    batch = rows_of(ROWS / 4, 4096); /* half of them have expired */
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    const uint64_t now = left + (expire ? ROWS / 8 : 0);
    CHECK(s, live_in(s) == now && count_in(s, NULL) == now);
    if (at != PM_POINT_SEGMENT_SHOWN) {
        arm(1, PM_POINT_SEGMENT_SHOWN);
        let_go(0);
        CHECK(s, is_held(1));
        CHECK(s, live_in(s) == now && count_in(s, NULL) == now);
    }
    let_go(0);
    let_go(1);
    pm_sim_join(s->sim, mover);
    holds_end();
    CHECK(s, move != compact_all || atomic_load(&s->db->maintenance.compacted_rows) == left - 1); /* in one pass */
    CHECK(s, live_in(s) == now && count_in(s, NULL) == now);
    batch = rows_of(ROWS / 2, 4096);
    CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    const uint64_t then = left + (expire ? ROWS / 4 : 0);
    CHECK(s, live_in(s) == then && count_in(s, NULL) == then);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    CHECK(s, live_in(s) == then && count_in(s, NULL) == then);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static struct {
    void (*move)(void *arg);
    bool expire;
    enum pm_point at;
} moving;

static void count_while_moving(void *arg)
{
    count_under_move(arg, moving.move, moving.expire, moving.at);
}

static void test_counts(void **state)
{
    static const enum pm_point points[] = {PM_POINT_SEGMENT_WRITTEN, PM_POINT_SEGMENT_NAMED, PM_POINT_ENDS_CARRIED,
                                           PM_POINT_SEGMENT_SHOWN};
    (void)state;
    struct scene *s = make(1, 0);
    play(s, count_under_write);
    finish(s);
    static void (*const moves[])(void *arg) = {flush_it, compact_it, compact_all};
    for (size_t i = 0; i < 6 * sizeof points / sizeof points[0]; i++) {
        moving.move = moves[i % 3];
        moving.expire = i / 3 % 2 != 0;
        moving.at = points[i / 6];
        s = make(1, 0);
        play(s, count_while_moving);
        finish(s);
    }
}

/* ---- batches of several parts ---- */

enum { SETS = 3, SET_ROWS = 8, EDITS = 18, MOST_TRIES = 1200 };

static struct {
    uint32_t writers; /* that have more to write */
    uint32_t shards;
    bool counted; /* there are no other rows */
} several;

static uint64_t set_id(unsigned set, unsigned row)
{
    return (uint64_t)(set * SET_ROWS + row) * 4096; /* of all shards */
}

/* A set of rows is only ever put, replaced and deleted as a whole. */
static void edit_set(struct scene *s, unsigned set)
{
    uint64_t id[SET_ROWS];
    float vector[SET_ROWS * DIM] = {0};
    pomai_batch batch = POMAI_BATCH_INIT;
    for (unsigned i = 0; i < SET_ROWS; i++)
        id[i] = set_id(set, i);
    batch.rows = SET_ROWS;
    batch.dim = DIM;
    batch.vectors = vector;
    batch.u64_ids = id;
    const pomai_ids ids = {.u64 = id, .count = SET_ROWS};
    for (unsigned edit = 1; edit <= EDITS; edit++) {
        for (unsigned i = 0; i < SET_ROWS; i++)
            vector[(size_t)i * DIM] = (float)edit;
        if (edit % 3 == 0)
            CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_OK);
        else
            CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    }
    several.writers--;
}

static void edit_set_0(void *arg)
{
    edit_set(arg, 0);
}

static void edit_set_1(void *arg)
{
    edit_set(arg, 1);
}

static void edit_set_2(void *arg)
{
    edit_set(arg, 2);
}

/* Single rows, which come behind parts of sets and are of no set. */
static void edit_others(void *arg)
{
    struct scene *s = arg;
    pomai_batch batch = POMAI_BATCH_INIT;
    float vector[DIM] = {0};
    batch.rows = 1;
    batch.dim = DIM;
    batch.vectors = vector;
    for (uint64_t i = 0; i < 4 * EDITS; i++) {
        const uint64_t id = (i % 4 * 4096) + 4095; /* one stays, and is there when it was put */
        const pomai_ids ids = {.u64 = &id, .count = 1};
        pomai_rows *rows;
        batch.u64_ids = &id;
        CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
        CHECK(s, pomai_get(pomai_default(s->db), &ids, NULL, &rows, &s->err) == POMAI_OK);
        CHECK(s, pomai_rows_found(rows, 0) != 0);
        pomai_rows_free(rows);
        if (i % 5 == 4) CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_OK);
    }
    several.writers--;
}

/* Of each set all rows, of one version, or none. */
static bool sets_are_whole(const pomai_rows *rows)
{
    for (size_t i = 0; i < SETS * SET_ROWS; i++) {
        const size_t first = i - i % SET_ROWS;
        if (pomai_rows_found(rows, i) != pomai_rows_found(rows, first)) return false;
        if (pomai_rows_found(rows, i) != 0 && pomai_rows_vector(rows, i)[0] != pomai_rows_vector(rows, first)[0])
            return false;
    }
    return true;
}

static void look_at_sets(struct scene *s, const pomai_snapshot *snapshot, pomai_read_mode mode)
{
    uint64_t id[SETS * SET_ROWS];
    const pomai_ids ids = {.u64 = id, .count = SETS * SET_ROWS};
    pomai_get_options o = POMAI_GET_OPTIONS_INIT;
    pomai_rows *rows;
    for (unsigned i = 0; i < SETS * SET_ROWS; i++)
        id[i] = set_id(i / SET_ROWS, i % SET_ROWS);
    o.snapshot = snapshot;
    o.mode = mode;
    CHECK(s, pomai_get(pomai_default(s->db), &ids, &o, &rows, &s->err) == POMAI_OK);
    const bool whole = sets_are_whole(rows);
    pomai_rows_free(rows);
    CHECK(s, whole);
}

static void read_sets(void *arg)
{
    struct scene *s = arg;
    for (int tries = 0; tries < MOST_TRIES && several.writers > 0; tries++) {
        pomai_snapshot *snapshot;
        look_at_sets(s, NULL, POMAI_READ_LATEST);
        CHECK(s, pomai_snapshot_open(s->db, &snapshot, &s->err) == POMAI_OK);
        look_at_sets(s, snapshot, POMAI_READ_LATEST);
        const uint64_t rows = count_in(s, snapshot);
        look_at_sets(s, snapshot, POMAI_READ_LATEST); /* and stay as they are */
        const bool same = count_in(s, snapshot) == rows;
        pomai_snapshot_close(snapshot);
        CHECK(s, same);
    }
}

static void read_bounded(void *arg)
{
    for (int tries = 0; tries < MOST_TRIES && several.writers > 0; tries++)
        look_at_sets(arg, NULL, POMAI_READ_BOUNDED);
}

static void freeze_often(void *arg)
{
    struct scene *s = arg;
    for (int tries = 0; tries < 4 * MOST_TRIES && several.writers > 0; tries++)
        CHECK(s, pomai_freeze(s->db, NULL, &s->err) == POMAI_OK);
}

/* No single rows: what there is is sets. */
static void count_sets(void *arg)
{
    struct scene *s = arg;
    for (int tries = 0; tries < MOST_TRIES && several.writers > 0; tries++) {
        CHECK(s, live_in(s) % SET_ROWS == 0);
        CHECK(s, count_in(s, NULL) % SET_ROWS == 0);
    }
}

static void flush_often(void *arg)
{
    struct scene *s = arg;
    for (int tries = 0; tries < MOST_TRIES && several.writers > 0; tries++)
        flush_it(s);
}

static void edit_several(void *arg)
{
    static const pm_sim_fn tasks[] = {edit_set_0, edit_set_1, edit_set_2, read_sets, read_bounded, freeze_often};
    enum { TASKS = sizeof tasks / sizeof tasks[0] };
    struct scene *s = arg;
    uint32_t fiber[TASKS + 2];
    several.writers = SETS + !several.counted;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = several.shards;
    o.mailbox_slots = several.counted ? 0 : 8;
    o.freeze_rows = 6;
    CHECK(s, pm_db_open(s->os, "/db", &o, &s->db, &s->err) == POMAI_OK);
    CHECK(s, create(s, "default", DIM, POMAI_ID_U64) == POMAI_OK);
    for (int i = 0; i < TASKS; i++)
        fiber[i] = pm_sim_spawn(s->sim, tasks[i], s);
    fiber[TASKS] = pm_sim_spawn(s->sim, several.counted ? count_sets : edit_others, s);
    fiber[TASKS + 1] = pm_sim_spawn(s->sim, flush_often, s);
    for (int i = 0; i < TASKS + 2; i++)
        pm_sim_join(s->sim, fiber[i]);
    look_at_sets(s, NULL, POMAI_READ_LATEST);
    CHECK(s, live_in(s) == count_in(s, NULL));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_several(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct scene *s = make(seed, 2 + (uint32_t)(seed % 17));
        several.shards = 1 + (uint32_t)(seed % 3);
        several.counted = seed / 3 % 2 == 0;
        play(s, edit_several);
        finish(s);
    }
}

enum { FOUR = 4 };

/* An id of each of two shards. */
static void ids_of_two(uint32_t one, uint32_t other, uint64_t from, uint64_t id[2])
{
    id[0] = id[1] = from;
    while (pm_shard_of_u64(id[0], FOUR) != one)
        id[0] += 4096;
    while (pm_shard_of_u64(id[1], FOUR) != other)
        id[1] += 4096;
}

static pomai_status put_ids(struct scene *s, const uint64_t id[2])
{
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 2;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = id;
    return pomai_put(pomai_default(s->db), &batch, NULL, NULL, NULL);
}

/* One row of each of two shards. */
static pomai_status put_two(struct scene *s, uint32_t one, uint32_t other)
{
    uint64_t id[2];
    ids_of_two(one, other, 0, id);
    return put_ids(s, id);
}

static void put_left(void *arg)
{
    CHECK((struct scene *)arg, put_two(arg, 0, 1) == POMAI_OK);
}

static void put_right(void *arg)
{
    CHECK((struct scene *)arg, put_two(arg, 2, 3) == POMAI_OK);
}

/* Nobody comes after them who would show what they were left with. */
static void put_both(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, FOUR, 0) == POMAI_OK);
    CHECK(s, create(s, "default", DIM, POMAI_ID_U64) == POMAI_OK);
    for (int i = 0; i < 6; i++) {
        const uint32_t one = pm_sim_spawn(s->sim, put_left, s), two = pm_sim_spawn(s->sim, put_right, s);
        pm_sim_join(s->sim, one);
        pm_sim_join(s->sim, two);
    }
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_two_at_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        struct scene *s = make(seed, 2 + (uint32_t)(seed % 9));
        play(s, put_both);
        finish(s);
    }
}

/* ---- the same rows ---- */

/* Two batches over the same rows at once: the later one is there, as a whole, whichever that is. */
static void write_same(struct scene *s, unsigned version, bool deletes)
{
    uint64_t id[SET_ROWS];
    float vector[SET_ROWS * DIM] = {0};
    pomai_batch batch = rows_of(SET_ROWS, 1);
    const pomai_ids ids = {.u64 = id, .count = SET_ROWS};
    for (unsigned i = 0; i < SET_ROWS; i++) {
        id[i] = set_id(0, i);
        vector[(size_t)i * DIM] = (float)version;
    }
    batch.u64_ids = id;
    batch.vectors = vector;
    if (deletes)
        CHECK(s, pomai_delete(pomai_default(s->db), &ids, NULL, NULL, &s->err) == POMAI_OK);
    else
        CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
}

static void put_one(void *arg)
{
    write_same(arg, 1, false);
}

static void put_another(void *arg)
{
    write_same(arg, 2, false);
}

static void delete_same(void *arg)
{
    write_same(arg, 0, true);
}

static pm_sim_fn other_write;

static void write_at_once(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 3, 0) == POMAI_OK);
    CHECK(s, create(s, "default", DIM, POMAI_ID_U64) == POMAI_OK);
    for (int i = 0; i < 4; i++) {
        const uint32_t one = pm_sim_spawn(s->sim, put_one, s), other = pm_sim_spawn(s->sim, other_write, s);
        pm_sim_join(s->sim, one);
        pm_sim_join(s->sim, other);
        look_at_sets(s, NULL, POMAI_READ_LATEST);
    }
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_with(s, 0, 3, 0) == POMAI_OK);
    look_at_sets(s, NULL, POMAI_READ_LATEST);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_same_rows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct scene *s = make(seed, 2 + (uint32_t)(seed % 9));
        other_write = seed % 2 == 0 ? put_another : delete_same;
        play(s, write_at_once);
        finish(s);
    }
}

/* ---- moments ---- */

enum { MOMENTS = 60 };

static struct {
    uint64_t id[2]; /* of two shards */
    bool writes;
} moment;

/* Each version of the first row is acknowledged before that of the second is sent. */
static void write_in_turn(void *arg)
{
    struct scene *s = arg;
    float vector[DIM] = {0};
    pomai_batch batch = rows_of(1, 1);
    batch.vectors = vector;
    for (int i = 0; i < 2 * MOMENTS; i++) {
        vector[0] = (float)(i / 2);
        batch.u64_ids = &moment.id[i % 2];
        CHECK(s, pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK);
    }
    moment.writes = false;
}

static void read_in_between(struct scene *s, const pomai_snapshot *snapshot)
{
    const pomai_ids ids = {.u64 = moment.id, .count = 2};
    pomai_get_options o = POMAI_GET_OPTIONS_INIT;
    float version[2];
    pomai_rows *rows;
    o.snapshot = snapshot;
    CHECK(s, pomai_get(pomai_default(s->db), &ids, &o, &rows, &s->err) == POMAI_OK);
    for (size_t i = 0; i < 2; i++)
        version[i] = pomai_rows_found(rows, i) != 0 ? pomai_rows_vector(rows, i)[0] : -1;
    pomai_rows_free(rows);
    CHECK(s, version[0] == version[1] || version[0] == version[1] + 1);
}

static void read_moments(void *arg)
{
    struct scene *s = arg;
    for (int tries = 0; tries < 20 * MOMENTS && moment.writes; tries++) {
        pomai_snapshot *snapshot;
        read_in_between(s, NULL);
        CHECK(s, pomai_snapshot_open(s->db, &snapshot, &s->err) == POMAI_OK);
        read_in_between(s, snapshot);
        pomai_snapshot_close(snapshot);
    }
}

static void see_moments(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    CHECK(s, create(s, "default", DIM, POMAI_ID_U64) == POMAI_OK);
    moment.writes = true;
    moment.id[0] = moment.id[1] = 0;
    while (pm_shard_of_u64(moment.id[1], 2) == pm_shard_of_u64(moment.id[0], 2))
        moment.id[1] += 4096;
    if (pm_shard_of_u64(moment.id[0], 2) != 0) { /* its LSN is loaded first */
        const uint64_t other = moment.id[0];
        moment.id[0] = moment.id[1];
        moment.id[1] = other;
    }
    const uint32_t writer = pm_sim_spawn(s->sim, write_in_turn, s), reader = pm_sim_spawn(s->sim, read_moments, s);
    pm_sim_join(s->sim, writer);
    pm_sim_join(s->sim, reader);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_moments(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct scene *s = make(seed, 2 + (uint32_t)(seed % 9));
        play(s, see_moments);
        finish(s);
    }
}

/* ---- behind what is held ---- */

static struct {
    uint64_t id[2];
    uint32_t useful;
} behind;

static void put_first(void *arg)
{
    CHECK((struct scene *)arg, put_two(arg, 1, 2) == POMAI_OK);
}

static void put_behind(void *arg)
{
    CHECK((struct scene *)arg, put_ids(arg, behind.id) == POMAI_OK);
}

/* A batch that is applied in all its shards lies in one of them behind another that is not. */
static void read_behind_held(void *arg)
{
    struct scene *s = arg;
    const pomai_ids ids = {.u64 = behind.id, .count = 2};
    pomai_rows *rows;
    ids_of_two(0, 1, UINT64_C(1) << 30, behind.id);
    CHECK(s, open_with(s, 0, FOUR, 0) == POMAI_OK);
    CHECK(s, put_two(s, 0, 1) == POMAI_OK && put_two(s, 1, 2) == POMAI_OK);
    holds_begin(s);
    arm(0, PM_POINT_ROWS_APPLIED);
    const uint32_t first = pm_sim_spawn(s->sim, put_first, s);
    CHECK(s, is_held(0));
    const uint32_t second = pm_sim_spawn(s->sim, put_behind, s);
    pm_sim_sleep(s->sim, 100 * MS);
    const pm_shard *both = s->db->shared.shard[1];
    behind.useful +=
        atomic_load(&both->ready) - atomic_load(&both->flipped) == 2; /* it is the third shard that waits */
    CHECK(s, pomai_get(pomai_default(s->db), &ids, NULL, &rows, &s->err) == POMAI_OK);
    const bool whole = pomai_rows_found(rows, 0) == pomai_rows_found(rows, 1);
    pomai_rows_free(rows);
    CHECK(s, whole);
    let_go(0);
    pm_sim_join(s->sim, first);
    pm_sim_join(s->sim, second);
    holds_end();
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_behind_held(void **state)
{
    (void)state;
    behind.useful = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct scene *s = make(seed, (uint32_t)(seed % 10));
        play(s, read_behind_held);
        finish(s);
    }
    assert_true(behind.useful > 5);
}

enum { REFUSED = 24, REFUSERS = 3 };

static struct {
    uint32_t puts, refusals, useful;
} full;

static void put_undecided(void *arg)
{
    full.puts += put_two(arg, 1, 2) == POMAI_OK;
}

static void put_behind_it(void *arg)
{
    full.puts += put_two(arg, 0, 1) == POMAI_OK;
}

static void put_and_be_refused(void *arg)
{
    for (int i = 0; i < REFUSED; i++)
        full.refusals += put_two(arg, 0, 3) == POMAI_ENOSPC;
}

/* One batch is not durable in the third log. Behind it in the second there is the part of another, which is therefore
 * held in the first; behind that come many that the fourth has no disk for. */
static void refuse_behind_held(void *arg)
{
    struct scene *s = arg;
    uint32_t refused[REFUSERS];
    full.puts = full.refusals = 0;
    CHECK(s, open_with(s, 0, FOUR, 4) == POMAI_OK);
    CHECK(s, put_two(s, 0, 1) == POMAI_OK && put_two(s, 1, 2) == POMAI_OK);
    holds_begin(s);
    arm(0, PM_POINT_COMMIT_WRITE_BEGIN);
    arm(1, PM_POINT_COMMIT_WRITE_BEGIN);
    const uint32_t late = pm_sim_spawn(s->sim, put_undecided, s);
    CHECK(s, is_held(0) && is_held(1));
    let_go(0);
    const uint32_t held_back = pm_sim_spawn(s->sim, put_behind_it, s);
    pm_sim_sleep(s->sim, 100 * MS);
    const pm_shard *first = s->db->shared.shard[0];
    full.useful += atomic_load(&first->ready) != atomic_load(&first->flipped); /* it was the second's that was let go */
    pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(ALLOCATE), 0, true, false, ENOSPC});
    for (int i = 0; i < REFUSERS; i++)
        refused[i] = pm_sim_spawn(s->sim, put_and_be_refused, s);
    pm_sim_sleep(s->sim, 1000 * MS);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    let_go(1);
    pm_sim_sleep(s->sim, 1000 * MS);
    CHECK(s, full.puts == 2);
    pm_sim_join(s->sim, late);
    pm_sim_join(s->sim, held_back);
    for (int i = 0; i < REFUSERS; i++)
        pm_sim_join(s->sim, refused[i]);
    CHECK(s, full.refusals > 0);
    holds_end();
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_refused_behind_held(void **state)
{
    (void)state;
    full.useful = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct scene *s = make(seed, (uint32_t)(seed % 10));
        play(s, refuse_behind_held);
        finish(s);
    }
    assert_true(full.useful > 5);
}

/* ---- who shows for long ---- */

enum { ROUNDS = 64 }; /* as pm_flip */

/* One row of each of these shards; the ticket is the caller's. */
static pomai_status put_async(struct scene *s, const uint32_t *shards, size_t rows, pomai_ticket **ticket)
{
    static uint64_t id[MOST_TRIES][3]; /* borrowed until they are done */
    static unsigned used;
    uint64_t *own = id[used++ % MOST_TRIES];
    pomai_batch batch = POMAI_BATCH_INIT;
    for (size_t i = 0; i < rows; i++)
        for (own[i] = 0; pm_shard_of_u64(own[i], s->db->shared.shards) != shards[i];)
            own[i] += 4096;
    batch.rows = rows;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = own;
    return pomai_put_async(pomai_default(s->db), &batch, NULL, ticket, &s->err);
}

static void close_it(void *arg)
{
    struct scene *s = arg;
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

/* A thread has shown as many as one does at a time when more is ready, or an ABORT record is: then the first shard's
 * actor goes on, unless it has ended. */
static void show_for_long(struct scene *s, bool closing)
{
    static const uint32_t all[] = {1, 2, 3};
    uint32_t two[2], n = 0;
    pomai_ticket *ticket[ROUNDS + 2];
    size_t tickets = 0;
    pomai_ack ack;
    CHECK(s, open_with(s, POMAI_OPEN_NO_FLUSH_AT_CLOSE, 5, 0) == POMAI_OK);
    CHECK(s, create(s, "default", DIM, POMAI_ID_U64) == POMAI_OK);
    holds_begin(s);
    arm(0, PM_POINT_ROWS_SHOWN);
    CHECK(s, put_async(s, all, 3, &ticket[tickets++]) == POMAI_OK);
    CHECK(s, is_held(0));
    for (uint32_t i = 1; i <= 3; i++)
        if (atomic_load(&s->db->shared.shard[i]->owner) == 0 && n < 2) two[n++] = i;
    CHECK(s, n == 2);
    const uint32_t refused[] = {two[1], 4};
    for (int round = 1; round < ROUNDS; round++) {
        CHECK(s, put_async(s, two, 2, &ticket[tickets++]) == POMAI_OK);
        pm_sim_sleep(s->sim, 100 * MS);
        if (closing && round == ROUNDS - 1) { /* shown with it; its ABORT record is not */
            pm_sim_set_fault(s->sim, (pm_sim_fault){PM_SIM_BIT(ALLOCATE), 0, true, false, ENOSPC});
            arm(1, PM_POINT_COMMIT_WRITE_BEGIN);
            CHECK(s, put_async(s, refused, 2, &ticket[tickets++]) == POMAI_OK);
            CHECK(s, is_held(1));
            arm(2, PM_POINT_PART_ENCODED);
            let_go(1);
            CHECK(s, is_held(2));
        }
        arm(0, PM_POINT_ROWS_SHOWN);
        let_go(0);
        CHECK(s, is_held(0));
    }
    if (!closing) {
        CHECK(s, put_async(s, two, 2, &ticket[tickets++]) == POMAI_OK);
        pm_sim_sleep(s->sim, 100 * MS);
        let_go(0);
    } else {
        arm(1, PM_POINT_BATCH_ACKED);
        let_go(0);
        CHECK(s, is_held(1));
        arm(0, PM_POINT_BATCH_ACKED);
        let_go(1);
        CHECK(s, is_held(0));
        let_go(2);
    }
    for (size_t i = 0; i < tickets; i++) {
        const bool refusal = closing && i == tickets - 1;
        CHECK(s, pomai_wait(ticket[i], 1000000, &ack, &s->err) == (refusal ? POMAI_ENOSPC : POMAI_OK));
        pomai_ticket_free(ticket[i]);
    }
    const uint32_t closer = pm_sim_spawn(s->sim, close_it, s);
    pm_sim_sleep(s->sim, 1000 * MS);
    if (closing) let_go(0);
    pm_sim_join(s->sim, closer);
    holds_end();
}

static void show_on(void *arg)
{
    show_for_long(arg, false);
}

static void show_at_close(void *arg)
{
    show_for_long(arg, true);
}

static void test_shown_for_long(void **state)
{
    (void)state;
    struct scene *s = make(1, 0);
    play(s, show_on);
    finish(s);
    s = make(1, 0);
    play(s, show_at_close);
    finish(s);
}

/* ---- a dropped collection ---- */

/* What was under way to it is in no memtable that anything will flush. */
static void drop_under_put(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    CHECK(s, create(s, "default", DIM, POMAI_ID_U64) == POMAI_OK);
    holds_begin(s);
    arm(0, PM_POINT_COMMIT_WRITE_BEGIN);
    uint32_t other = pm_sim_spawn(s->sim, put_whatever, s);
    CHECK(s, is_held(0));
    CHECK(s, pomai_collection_drop(s->db, "default", &s->err) == POMAI_OK);
    let_go(0);
    pm_sim_join(s->sim, other);
    holds_end();
    flush_it(s);
    CHECK(s, atomic_load(&s->db->shared.unflushed) == 0);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_drop_under_put(void **state)
{
    (void)state;
    struct scene *s = make(1, 0);
    play(s, drop_under_put);
    finish(s);
}

/* ---- a batch that is under way ---- */

/* One part of a batch is sent, and may be durable, the other is not: a flush must not say that the batch is whole. */
static void flush_under_put(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    pomai_batch first = rows_of(1, 1);
    CHECK(s, pomai_put(pomai_default(s->db), &first, NULL, NULL, &s->err) == POMAI_OK);
    holds_begin(s);
    arm(0, PM_POINT_PART_SENT);
    (void)pm_sim_spawn(s->sim, put_whatever, s);
    CHECK(s, is_held(0));
    (void)pm_sim_spawn(s->sim, flush_it, s);
    pm_sim_sleep(s->sim, 1000 * MS); /* it waits, or it is done; then the process is gone */
}

static void whole_or_not_at_all(void *arg)
{
    struct scene *s = arg;
    (void)rows_of(ROWS, 4096);
    CHECK(s, open_with(s, 0, 2, 0) == POMAI_OK);
    CHECK(s, rows_there(s) <= 1); /* the first one's */
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_flush_under_put(void **state)
{
    (void)state;
    struct scene *s = make(1, 0);
    play(s, flush_under_put);
    pm_sim_kill_process(s->sim);
    holds_end();
    play(s, whole_or_not_at_all);
    finish(s);
}

/* ---- helping ---- */

static void put_many(void *arg)
{
    for (int i = 0; i < 12; i++)
        put_rows(arg);
}

/* Callers help each other through one shard: whoever leaves it sees to what came meanwhile. */
static void put_side_by_side(void *arg)
{
    struct scene *s = arg;
    uint32_t fiber[3];
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    const uint64_t begin = pm_sim_time(s->sim);
    for (int i = 0; i < 3; i++)
        fiber[i] = pm_sim_spawn(s->sim, put_many, s);
    for (int i = 0; i < 3; i++)
        pm_sim_join(s->sim, fiber[i]);
    CHECK(s, pm_sim_time(s->sim) - begin < 10000 * MS); /* nobody was left to a timer that is set for other things */
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_put_side_by_side(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct scene *s = make(seed, 2 + (uint32_t)(seed % 9));
        play(s, put_side_by_side);
        finish(s);
    }
}

/* ---- power ---- */

enum { STATES = 40 };

static pomai_status put_at(struct scene *s, pomai_durability level, uint64_t first)
{
    static float wide[ROWS * DIM];
    pomai_batch batch = rows_of(ROWS, 1);
    pomai_write_options w = POMAI_WRITE_OPTIONS_INIT;
    for (unsigned i = 0; i < ROWS; i++)
        spaced[i] += first * ROWS;
    for (unsigned i = 0; i < ROWS * DIM; i++)
        wide[i] = 1;
    batch.vectors = wide;
    w.durability = level;
    return pomai_put(pomai_default(s->db), &batch, &w, NULL, &s->err);
}

static void fill_two_logs(void *arg)
{
    struct scene *s = arg;
    pm_shard_stats stats = {0};
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 1;
    o.wal_file_bytes = 64 << 10;
    CHECK(s, pm_db_open(s->os, "/db", &o, &s->db, &s->err) == POMAI_OK);
    for (uint64_t i = 0; i < 10000 && stats.log_files < 3; i++) {
        CHECK(s, put_at(s, POMAI_DURABILITY_OS, i) == POMAI_OK);
        pm_shard_get_stats(s->db->shared.shard[0], &stats);
    }
    CHECK(s, stats.log_files == 3);
}

static void opens(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 0, 0) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void put_unsynced(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 1, 0) == POMAI_OK);
    for (uint64_t i = 0; i < 8; i++)
        CHECK(s, put_at(s, POMAI_DURABILITY_OS, i) == POMAI_OK);
}

/* What was not synced may be gone, in whatever order; that is no damage. */
static void opens_after(pm_sim_fn part)
{
    struct scene *s = make(1, 0);
    play(s, part);
    pm_sim_kill_process(s->sim);
    pm_disk *before = pm_disk_copy(pm_sim_disk(s->sim));
    for (uint64_t i = 0; i < STATES; i++) {
        pm_choices choices = pm_choices_random(i);
        pm_sim_set_disk(s->sim, pm_disk_power_loss(before, &choices, false));
        play(s, opens);
    }
    pm_disk_free(before);
    finish(s);
}

/* A log file that is there says how long the one before it is: that must have come to the disk. */
static void test_power_after_new_log(void **state)
{
    (void)state;
    opens_after(fill_two_logs);
}

/* A record says up to where the log was durable before it. */
static void test_power_after_unsynced(void **state)
{
    (void)state;
    opens_after(put_unsynced);
}

static void put_with_strict_mark(void *arg)
{
    struct scene *s = arg;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.flags = POMAI_OPEN_STRICT_MARK;
    o.shards = 1;
    o.wal_file_bytes = 64 << 10;
    CHECK(s, pm_db_open(s->os, "/db", &o, &s->db, &s->err) == POMAI_OK);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(s, put_at(s, POMAI_DURABILITY_SYNC, i) == POMAI_OK);
}

static struct {
    char path[128];
    uint8_t bytes[1 << 20];
    uint64_t size;
} log_file;

static void find_log(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    (void)context;
    if (strstr(path, ".wal") == NULL || size > sizeof log_file.bytes) return;
    snprintf(log_file.path, sizeof log_file.path, "%s", path);
    memcpy(log_file.bytes, bytes, size);
    log_file.size = size;
}

/* The last byte that is not 0 is one of the last record. */
static void damage_last_record(struct scene *s)
{
    memset(&log_file, 0, sizeof log_file);
    pm_disk_each_file(pm_sim_disk(s->sim), find_log, NULL);
    uint64_t at = log_file.size;
    while (at > 0 && log_file.bytes[at - 1] == 0)
        at--;
    assert_true(at > 1000);
    log_file.bytes[at - 1] ^= 1;
    assert_int_equal(pm_disk_put(pm_sim_disk(s->sim), log_file.path, log_file.bytes, log_file.size), 0);
}

static void is_refused(void *arg)
{
    struct scene *s = arg;
    CHECK(s, open_with(s, 0, 0, 0) == POMAI_ECORRUPT);
}

/* With the strict WATERMARK, damage to what was acknowledged is never taken for a torn tail. */
static void test_power_after_strict_mark(void **state)
{
    (void)state;
    struct scene *s = make(1, 0);
    play(s, put_with_strict_mark);
    pm_sim_kill_process(s->sim);
    pm_disk *before = pm_disk_copy(pm_sim_disk(s->sim));
    for (uint64_t i = 0; i < STATES; i++) {
        pm_choices choices = pm_choices_random(i);
        pm_sim_set_disk(s->sim, pm_disk_power_loss(before, &choices, false));
        damage_last_record(s);
        play(s, is_refused);
    }
    pm_disk_free(before);
    finish(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_snapshots_hold_time),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_same_rows),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_behind_held),
        cmocka_unit_test(test_refused_behind_held),
        cmocka_unit_test(test_shown_for_long),
        cmocka_unit_test(test_drop_under_put),
        cmocka_unit_test(test_flush_under_put),
        cmocka_unit_test(test_put_side_by_side),
        cmocka_unit_test(test_power_after_new_log),
        cmocka_unit_test(test_power_after_unsynced),
        cmocka_unit_test(test_power_after_strict_mark),
    };
    return cmocka_run_group_tests_name("orders", tests, NULL, NULL);
}
