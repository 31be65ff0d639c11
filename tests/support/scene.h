/* SPDX-License-Identifier: Apache-2.0 */
/* A scene on the simulated machine (os_sim.h). Needs cmocka. */
#ifndef T_SCENE_H
#define T_SCENE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/engine/engine.h"
#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "support/scene_check.h"

enum { DIM = 4, ROWS = 24 };

struct scene {
    pm_sim *sim;
    const pm_os *os;
    pm_db *db;
    pomai_error err;
    char what[400];  /* the first thing found wrong */
    uint64_t strays; /* faults that hit other calls than the one they were meant for */
    bool refusals;   /* a fault was asked for: calls may be refused */
};

static inline struct scene *make(uint64_t seed, uint32_t preempt)
{
    struct scene *s = calloc(1, sizeof *s);
    s->sim = pm_sim_make(seed);
    s->os = pm_sim_os(s->sim);
    pm_sim_set_preemption(s->sim, preempt);
    return s;
}

static inline void play(struct scene *s, pm_sim_fn part)
{
    pm_sim_end end = pm_sim_run(s->sim, part, s);
    if (end != PM_SIM_DONE) fail_msg("ended with %d", (int)end);
    if (s->what[0] != '\0') fail_msg("%s", s->what);
}

static inline void finish(struct scene *s)
{
    pm_sim_held held = pm_sim_what_is_held(s->sim);
    assert_int_equal(held.allocations + held.regions + held.descriptors + held.tasks, 0);
    pm_sim_free(s->sim);
    free(s);
}

static inline pomai_status open_with(struct scene *s, uint32_t flags, uint32_t shards, uint32_t mailbox)
{
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.flags = flags;
    o.shards = shards;
    o.mailbox_slots = mailbox;
    return pm_db_open(s->os, "/db", &o, &s->db, &s->err);
}

static inline pomai_status create(struct scene *s, const char *name, uint64_t dim, pomai_id_kind kind)
{
    pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_collection *coll;
    o.dim = dim;
    o.id_kind = kind;
    pomai_status status = pomai_collection_create(s->db, name, &o, &coll, &s->err);
    if (status == POMAI_OK) pomai_collection_close(coll);
    return status;
}

/* Rows with ids 0, gap, 2 * gap, ... in `default`. */
static float vectors[ROWS * DIM];
static uint64_t spaced[ROWS];

static inline pomai_batch rows_of(uint64_t rows, uint64_t gap)
{
    pomai_batch batch = POMAI_BATCH_INIT;
    for (uint64_t i = 0; i < rows; i++)
        spaced[i] = i * gap;
    batch.rows = rows;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = spaced;
    return batch;
}

#endif
