/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building codes, and graphs, on the simulated machine: every call that it makes fails, the disk is full, the database
 * is closed or crashes meanwhile, a compaction takes the segment away, rows are written. Nobody notices but the
 * statistics; answers are those of the rows; and once it works there is a file.
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

#include "core/engine/engine.h"
#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "support/gen.h"
#include "support/one_in.h"
#include "support/scene_check.h"

enum { DIM = 16, ROWS = 300, LEAST = 64, K = 5 };
#define MS ((uint64_t)1000 * 1000)

static uint32_t kind; /* of the files; no others are built */

struct scene {
    pm_sim *sim;
    pm_db *db;
    pomai_error err;
    pm_sim_fault fault;
    uint64_t when;
    bool hit;
    char what[500];
};

static pomai_status open_scene(struct scene *s)
{
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 1;
    o.search_threads = UINT32_MAX;
    o.compact_rate = UINT64_MAX;
    o.scrub_rate = UINT64_MAX;
    return pm_db_open(pm_sim_os(s->sim), "/db", &o, &s->db, &s->err);
}

static pomai_status put(struct scene *s, uint64_t first, uint64_t rows, uint64_t what)
{
    static float vectors[ROWS * DIM];
    static uint64_t ids[ROWS];
    static pomai_bytes documents[ROWS];
    static char text[ROWS][40];
    pomai_batch batch = POMAI_BATCH_INIT;
    struct t_rng r = t_rng_from(what), other = t_rng_from(what + 100);
    for (uint64_t i = 0; i < rows; i++) {
        ids[i] = first + i;
        documents[i].size = (size_t)snprintf(text[i], sizeof text[i], "{\"n\": %u, \"s\": \"s%u\"}",
                                             (unsigned)t_below(&other, 1000), (unsigned)t_below(&other, 7));
        documents[i].data = text[i];
        for (unsigned d = 0; d < DIM; d++)
            vectors[i * DIM + d] = t_unit_float(&r);
    }
    batch.rows = rows;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    if (kind == PM_DERIVED_COLUMNS) batch.documents = documents;
    return pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err);
}

/* pattern: with %s for the name of the kind */
static bool stats_say(struct scene *s, const char *pattern)
{
    char *json, text[100];
    const char *of_kind = strstr(pattern, "%s");
    const int before = of_kind == NULL ? (int)strlen(pattern) : (int)(of_kind - pattern);
    if (pomai_stats(s->db, &json, &s->err) != POMAI_OK) return false;
    snprintf(text, sizeof text, "%.*s%s%s", before, pattern, of_kind == NULL ? "" : pm_derived_name(kind),
             of_kind == NULL ? "" : of_kind + 2);
    const bool said = strstr(json, text) != NULL;
    pomai_free(json);
    return said;
}

/* Queries that are rows find themselves, and as many others as there are. *by_file: one was answered by the file. */
static bool finds_rows(struct scene *s, uint64_t what, bool *by_file)
{
    bool good = true;
    struct t_rng r = t_rng_from(what);
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = 0.8f;
    if (kind == PM_DERIVED_COLUMNS) {
        o.filter = "{\"n\": {\"$lt\": 1000}}";
        o.filter_size = strlen(o.filter);
        o.include = POMAI_INCLUDE_PLAN;
    }
    *by_file = false;
    for (int q = 0; q < 8 && good; q++) {
        float query[DIM];
        pomai_result *result;
        pomai_verdict v;
        for (unsigned d = 0; d < DIM; d++)
            query[d] = t_unit_float(&r);
        if (pomai_search(pomai_default(s->db), query, 1, DIM, K, &o, &result, &s->err) != POMAI_OK) return false;
        pomai_result_verdict(result, 0, &v);
        *by_file |= kind == PM_DERIVED_COLUMNS ? strstr(pomai_result_plan(result), "\"columns\"") != NULL
                                               : v.completeness == POMAI_APPROXIMATE;
        good = pomai_result_count(result, 0) == K && pomai_result_distances(result, 0)[0] == 0;
        pomai_result_free(result);
    }
    return good;
}

static bool finds(struct scene *s, uint64_t what)
{
    bool by_file;
    return finds_rows(s, what, &by_file);
}

static bool finds_by_file(struct scene *s, uint64_t what)
{
    bool by_file;
    return finds_rows(s, what, &by_file) && by_file;
}

static bool run_scene_with(pm_sim_fn part, pm_sim_fault fault, uint64_t when, uint64_t seed, uint32_t preempt)
{
    struct scene *s = calloc(1, sizeof *s);
    pm_derive_least_rows[kind] = LEAST;
    s->sim = pm_sim_make(seed);
    pm_sim_set_preemption(s->sim, preempt);
    s->fault = fault;
    s->when = when;
    pm_sim_end end = pm_sim_run(s->sim, part, s);
    if (end != PM_SIM_DONE || s->what[0] != '\0')
        fail_msg("calls %#x, nth %llu, for ever %d, errno %d, when %llu, seed %llu: ended with %d, %s", fault.calls,
                 (unsigned long long)fault.nth, fault.for_ever, fault.error, (unsigned long long)when,
                 (unsigned long long)seed, (int)end, s->what);
    pm_sim_held held = pm_sim_what_is_held(s->sim);
    assert_int_equal(held.allocations + held.regions + held.descriptors + held.tasks, 0);
    const bool hit = s->hit;
    pm_sim_free(s->sim);
    free(s);
    return hit;
}

static bool run_scene(pm_sim_fn part, pm_sim_fault fault, uint64_t when)
{
    return run_scene_with(part, fault, when, 5, 0);
}

/* Rows in a segment, and no file yet built: nothing is large enough. */
static bool begin(struct scene *s)
{
    pm_derive_least_rows[kind] = UINT64_MAX;
    return open_scene(s) == POMAI_OK && put(s, 0, ROWS, 1) == POMAI_OK && pomai_flush(s->db, &s->err) == POMAI_OK;
}

static void finish(struct scene *s)
{
    CHECK(s, pomai_build_indexes(s->db, NULL, &s->err) == POMAI_OK);
    CHECK(s, stats_say(s, "\"segments_with_%s\": 1") && stats_say(s, "\"rows_waiting_for_%s\": 0"));
    CHECK(s, !stats_say(s, "%s_error") && finds_by_file(s, 1));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_scene(s) == POMAI_OK);
    CHECK(s, stats_say(s, "\"segments_with_%s\": 1") && finds_by_file(s, 1));
    CHECK(s, stats_say(s, "\"%s_builds\": 0"));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, pm_inspect_verify(pm_sim_os(s->sim), "/db", NULL, NULL, NULL, &s->err) == POMAI_OK);
}

static uint64_t step = 1; /* of faults, moments and seeds one in so many, with --share: for sanitizers */

/* ---- each call in turn ---- */

static void one_fault(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin(s));
    pm_sim_sleep(s->sim, 100 * MS); /* the log falls idle */
    pm_sim_set_fault(s->sim, s->fault);
    pm_derive_least_rows[kind] = LEAST;
    const pomai_status status = pomai_build_indexes(s->db, NULL, &s->err);
    s->hit = pm_sim_faults(s->sim) > 0;
    if (status != POMAI_OK) CHECK(s, s->hit && s->err.status == status && strlen(s->err.message) > 10);
    CHECK(s, status != POMAI_ECORRUPT && status != POMAI_EINTERNAL && status != POMAI_ESTOPPED);
    pm_sim_set_fault(s->sim, (pm_sim_fault){0});
    CHECK(s, finds(s, 1));
    if (status != POMAI_OK) CHECK(s, stats_say(s, "%s_error") || stats_say(s, "\"segments_with_%s\": 1"));
    CHECK(s, put(s, ROWS, 3, 2) == POMAI_OK); /* writes never wait for it */
    finish(s);
}

static void test_each_call(void **state)
{
    static const uint32_t calls[] = {PM_SIM_BIT(WRITE), PM_SIM_BIT(SYNC),   PM_SIM_BIT(OPEN), PM_SIM_BIT(RENAME),
                                     PM_SIM_BIT(MAP),   PM_SIM_BIT(MALLOC), PM_SIM_BIT(READ), PM_SIM_BIT(REMOVE)};
    unsigned hits = 0;
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (unsigned way = 0; way < 4; way += kind == PM_DERIVED_GRAPH ? 3 : 1) /* graphs take longer: the extremes */
            for (uint64_t nth = 0; nth < 80; nth += step, hits++) {
                pm_sim_fault fault = {calls[i], nth, way % 2 == 1, way > 1, way > 1 ? EIO : ENOSPC};
                if (!run_scene(one_fault, fault, 0)) break;
            }
    assert_true(hits > 30 / step);
}

/* ---- a full disk ---- */

static void add_size(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    (void)path;
    (void)bytes;
    *(uint64_t *)context += size;
}

static void full_disk(void *arg)
{
    struct scene *s = arg;
    uint64_t used = 0;
    CHECK(s, begin(s));
    pm_sim_sleep(s->sim, 100 * MS);
    pm_disk_each_file(pm_sim_disk(s->sim), add_size, &used);
    pm_disk_set_capacity(pm_sim_disk(s->sim), used + s->when);
    pm_derive_least_rows[kind] = LEAST;
    const pomai_status status = pomai_build_indexes(s->db, NULL, &s->err);
    s->hit = status != POMAI_OK;
    CHECK(s, status == POMAI_OK || status == POMAI_ENOSPC);
    CHECK(s, finds(s, 1) && (status == POMAI_OK || stats_say(s, "POMAI_ENOSPC")));
    pm_disk_set_capacity(pm_sim_disk(s->sim), 0);
    pm_sim_sleep(s->sim, 3000 * MS); /* it is tried again by itself */
    CHECK(s, stats_say(s, "\"segments_with_%s\": 1"));
    finish(s);
}

static void test_full_disk(void **state)
{
    uint64_t room = 1;
    (void)state;
    while (run_scene(full_disk, (pm_sim_fault){0}, room) && room < 4 << 20)
        room += (kind == PM_DERIVED_GRAPH ? 27000 : 9000) * step;
    assert_true(room > 9000 && room < 4 << 20);
}

/* ---- closed meanwhile ---- */

static void close_during(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin(s));
    pm_derive_least_rows[kind] = LEAST;
    pm_sim_sleep(s->sim, s->when);
    const uint64_t then = pm_sim_time(s->sim);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, pm_sim_time(s->sim) - then < 100 * MS);
    CHECK(s, open_scene(s) == POMAI_OK);
    s->hit = stats_say(s, "\"segments_with_%s\": 0");
    CHECK(s, finds(s, 1));
    finish(s);
}

/* When it begins and ends depends on the clock alone: the close comes at every moment between. */
static void close_at_each_moment(pm_sim_fn part, uint64_t latest, uint64_t apart)
{
    unsigned without = 0, runs = 0;
    uint64_t low = 0, high = latest;
    while (high - low > MS / 1000) { /* low: it is not done yet; high: it is */
        const uint64_t middle = (low + high) / 2;
        if (run_scene(part, (pm_sim_fault){0}, middle))
            low = middle;
        else
            high = middle;
    }
    for (uint64_t when = high - pm_min_u64(high, MS / 4); when < high + MS / 20; when += apart, runs++)
        without += run_scene(part, (pm_sim_fault){0}, when);
    assert_true(without > 0 && without < runs);
}

static void test_close_during(void **state)
{
    (void)state;
    close_at_each_moment(close_during, 1000 * MS, step * MS / 1000);
}

/* ---- quiet times ---- */

/* Two segments, with a file each. */
static bool begin_with_two(struct scene *s)
{
    if (!begin(s) || put(s, ROWS, ROWS, 2) != POMAI_OK || pomai_flush(s->db, &s->err) != POMAI_OK) return false;
    pm_derive_least_rows[kind] = LEAST;
    pm_sim_sleep(s->sim, 2000 * MS);
    return stats_say(s, "\"segments\": 2") && stats_say(s, "\"segments_with_%s\": 2");
}

static void quiet(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin_with_two(s) && finds_by_file(s, 1) && finds_by_file(s, 2));
    CHECK(s, put(s, 2 * ROWS, 1, 3) == POMAI_OK); /* rows in memory are no reason to wait */
    pm_sim_sleep(s->sim, 6000 * MS);
    CHECK(s, stats_say(s, "\"segments\": 2"));
    pm_sim_sleep(s->sim, 15000 * MS);
    CHECK(s, stats_say(s, "\"segments\": 1") && stats_say(s, "\"compactions\": 1"));
    CHECK(s, finds_by_file(s, 1) && finds_by_file(s, 2));
    pm_sim_sleep(s->sim, 60000 * MS); /* and that is all */
    CHECK(s, stats_say(s, "\"compactions\": 1"));
    finish(s);
}

static void close_while_merging(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin_with_two(s));
    pm_sim_sleep(s->sim, s->when);
    const uint64_t then = pm_sim_time(s->sim);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, pm_sim_time(s->sim) - then < 100 * MS);
    CHECK(s, open_scene(s) == POMAI_OK);
    s->hit = stats_say(s, "\"segments\": 2");
    CHECK(s, finds(s, 1) && finds(s, 2));
    finish(s);
}

/* A disk on which the merged segment has no room: searches and puts go on, and it is seldom tried. */
static void no_room_to_merge(void *arg)
{
    struct scene *s = arg;
    uint64_t used = 0;
    CHECK(s, begin_with_two(s));
    pm_disk_each_file(pm_sim_disk(s->sim), add_size, &used);
    pm_disk_set_capacity(pm_sim_disk(s->sim), used + s->when);
    pm_sim_sleep(s->sim, 120000 * MS);
    s->hit = stats_say(s, "\"merge_error\"");
    CHECK(s, !s->hit || stats_say(s, "\"segments\": 2"));
    for (unsigned many = 8; many < 100 && s->hit; many++) {
        char wrong[40];
        snprintf(wrong, sizeof wrong, "\"failures\": %u,", many);
        CHECK(s, !stats_say(s, wrong));
    }
    CHECK(s, finds_by_file(s, 1) && finds_by_file(s, 2));
    pm_disk_set_capacity(pm_sim_disk(s->sim), 0);
    pm_sim_sleep(s->sim, 300000 * MS);
    CHECK(s, stats_say(s, "\"segments\": 1") && !stats_say(s, "\"merge_error\""));
    finish(s);
}

static void test_quiet(void **state)
{
    (void)state;
    (void)run_scene(quiet, (pm_sim_fault){0}, 0);
    close_at_each_moment(close_while_merging, 20000 * MS, step == 1 ? MS / 100 : MS / 20);
    assert_true(run_scene(no_room_to_merge, (pm_sim_fault){0}, 4096));
    assert_false(run_scene(no_room_to_merge, (pm_sim_fault){0}, 4 << 20));
}

/* ---- the power goes ---- */

static void build_only(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin(s));
    s->hit = true;
    pm_derive_least_rows[kind] = LEAST;
    (void)pomai_build_indexes(s->db, NULL, &s->err);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void look_after(void *arg)
{
    struct scene *s = arg;
    pm_derive_least_rows[kind] = LEAST;
    CHECK(s, open_scene(s) == POMAI_OK);
    if (s->hit) {
        CHECK(s, finds(s, 1));
        finish(s);
    } else {
        CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    }
}

static void look_for_file(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    (void)bytes;
    (void)size;
    const char *name = strrchr(path, '/');
    const char *wanted = pm_derived_name(kind);
    *(bool *)context |= name != NULL && strncmp(name + 1, wanted, strlen(wanted)) == 0; /* the temporary one, too */
}

/* Whatever a power loss leaves of the file, its checksums tell. */
static void test_power_gone(void **state)
{
    const unsigned apart = T_ONE_IN > 1 ? 3 : 1;
    unsigned begun = 0;
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed += apart) {
        struct scene *s = calloc(1, sizeof *s);
        s->sim = pm_sim_make(seed);
        pm_derive_least_rows[kind] = LEAST;
        pm_sim_set_preemption(s->sim, 0);
        struct t_rng r = t_rng_from(seed);
        pm_sim_crash_in(s->sim, 1000 + t_below(&r, 60000));
        (void)pm_sim_run(s->sim, build_only, s);
        if (s->what[0] != '\0') fail_msg("seed %llu: %s", (unsigned long long)seed, s->what);
        pm_sim_kill_process(s->sim);
        bool there = false;
        pm_disk_each_file(pm_sim_disk(s->sim), look_for_file, &there);
        begun += there;
        pm_choices choices = pm_choices_random(seed);
        pm_sim_set_disk(s->sim, pm_disk_power_loss(pm_sim_disk(s->sim), &choices, seed % 2 == 0));
        pm_sim_crash_in(s->sim, UINT64_MAX);
        pm_sim_end end = pm_sim_run(s->sim, look_after, s);
        if (end != PM_SIM_DONE || s->what[0] != '\0')
            fail_msg("seed %llu: ended with %d, %s", (unsigned long long)seed, (int)end, s->what);
        pm_sim_free(s->sim);
        free(s);
    }
    if (begun < 20 / apart) fail_msg("only %u times there was a file", begun);
}

/* ---- a compaction takes the segment away; rows are written ---- */

static void compact_meanwhile(void *arg)
{
    struct scene *s = arg;
    pomai_error err;
    if (pomai_compact(s->db, NULL, &err) != POMAI_OK) WRONG(s, "a compaction fails");
}

static void write_meanwhile(void *arg)
{
    struct scene *s = arg;
    for (unsigned i = 0; i < 10; i++)
        if (put(s, ROWS / 2 + i, 3, 3 + i) != POMAI_OK) WRONG(s, "a put fails");
}

static void taken_away(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin(s));
    CHECK(s, put(s, ROWS / 2, ROWS, 2) == POMAI_OK && pomai_flush(s->db, &s->err) == POMAI_OK);
    pm_derive_least_rows[kind] = LEAST;
    const uint32_t other = pm_sim_spawn(s->sim, compact_meanwhile, s);
    const uint32_t writer = pm_sim_spawn(s->sim, write_meanwhile, s);
    CHECK(s, pomai_build_indexes(s->db, NULL, &s->err) == POMAI_OK);
    CHECK(s, finds(s, 1));
    pm_sim_join(s->sim, other);
    pm_sim_join(s->sim, writer);
    CHECK(s, finds(s, 1) && pomai_compact(s->db, NULL, &s->err) == POMAI_OK);
    finish(s);
}

static void test_taken_away(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 60; seed += step)
        (void)run_scene_with(taken_away, (pm_sim_fault){0}, 0, seed, 20);
}

static void dropped(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin(s));
    pm_derive_least_rows[kind] = LEAST;
    pm_sim_sleep(s->sim, s->when);
    CHECK(s, pomai_collection_drop(s->db, "default", &s->err) == POMAI_OK);
    CHECK(s, pomai_build_indexes(s->db, NULL, &s->err) == POMAI_OK);
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
    CHECK(s, open_scene(s) == POMAI_OK && pomai_close(s->db, &s->err) == POMAI_OK);
}

static void test_dropped(void **state)
{
    (void)state;
    for (uint64_t when = 240 * MS; when<262 * MS; when += T_ONE_IN> 1 ? MS : MS / 4)
        (void)run_scene(dropped, (pm_sim_fault){0}, when);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet),        cmocka_unit_test(test_each_call),  cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_close_during), cmocka_unit_test(test_power_gone), cmocka_unit_test(test_taken_away),
        cmocka_unit_test(test_dropped),
    };
    int failed = 0;
    if (argc == 3 && strcmp(argv[1], "--share") == 0) step = strtoul(argv[2], NULL, 10);
    for (uint32_t k = 1; k < PM_DERIVED_KINDS; k++)
        pm_derive_least_rows[k] = UINT64_MAX;
    for (kind = 1; kind < PM_DERIVED_KINDS; kind++) {
        printf("%s:\n", pm_derived_name(kind));
        failed += cmocka_run_group_tests(tests, NULL, NULL);
        pm_derive_least_rows[kind] = UINT64_MAX;
    }
    return failed;
}
