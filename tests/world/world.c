/* SPDX-License-Identifier: Apache-2.0 */
/* The machine, its generations and its crashes. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/engine.h"
#include "index/graph/graph.h"
#include "support/gen.h"

/* Small enough that something is being flushed or merged all the time; now and then as it is usual. */
static void draw_maintenance(struct t_rng *r, struct w_config *c)
{
    c->maintain = (uint32_t)t_range(r, 5, 40);
    c->expiry = t_chance(r, 60) ? 0 : (uint32_t)t_range(r, 1, 2);
    c->wal_file_bytes = t_chance(r, 85) ? 64 << 10 : 256 << 10;
    if (t_chance(r, 15)) return;
    c->flush_bytes = t_skewed(r, 1 << 10, 256 << 10);
    c->log_bytes = t_skewed(r, 64 << 10, 2 << 20);
    c->freeze_rows = t_skewed(r, 1, 200);
    c->segment_bytes = t_skewed(r, 4 << 10, 4 << 20);
    c->compact_rate = t_chance(r, 80) ? UINT64_MAX : t_skewed(r, 10 << 10, 100 << 20);
}

pomai_dtype w_draw_dtype(struct t_rng *rng)
{
    return t_chance(rng, 50) ? POMAI_DTYPE_FLOAT32 : (pomai_dtype)t_range(rng, POMAI_DTYPE_FLOAT16, POMAI_DTYPE_INT8);
}

pomai_dtype w_dtype(const struct world *w, int coll)
{
    return w->config.dtype[coll] == 0 ? POMAI_DTYPE_FLOAT32 : w->config.dtype[coll];
}

struct w_config w_draw_config(uint64_t seed)
{
    struct t_rng r = t_rng_from(seed ^ 0x5eed);
    struct w_config c = {0};
    static const uint32_t preempts[] = {2, 5, 20, 100, 1000};
    c.clients = (uint32_t)t_range(&r, 1, W_CLIENTS);
    c.shards = (uint32_t)t_range(&r, 1, W_SHARDS);
    c.ops = (uint32_t)t_skewed(&r, 4, 60);
    c.preempt = preempts[t_below(&r, 5)];
    c.cores = (uint32_t)t_range(&r, 1, 3);
    c.mailbox = 1u << t_range(&r, 0, 5);
    c.group_ms = (uint32_t)t_range(&r, 1, 30);
    c.strict_mark = t_chance(&r, 20);
    c.low_levels = t_chance(&r, 60);
    c.async = t_chance(&r, 50);
    c.temps = t_chance(&r, 40);
    c.mistakes = t_chance(&r, 30);
    c.dim[W_DEFAULT] = t_chance(&r, 50) ? W_DIM_USUAL : (uint32_t)t_range(&r, 4, W_DIM_USUAL);
    c.dim[W_STRINGS] = (uint32_t)t_range(&r, 4, 9);
    c.dim[W_ASSIGNED] = t_chance(&r, 40) ? W_DIM_USUAL : (uint32_t)t_range(&r, 4, 20);
    if (t_chance(&r, 5)) c.dim[W_DEFAULT] = W_DIM_MOST;
    c.uniform = t_chance(&r, 15);
    if (t_chance(&r, 10)) c.capacity = (uint64_t)t_range(&r, 200, 900) << 10;
    c.no_allocate = c.capacity == 0 && t_chance(&r, 10); /* else a full disk is met at commit, and stops the log */
    if (!c.low_levels && !c.async && t_chance(&r, 40)) c.shards = (uint32_t)t_range(&r, W_FEW_SHARDS, W_SHARDS);
    c.paced = !c.uniform && t_chance(&r, 5);
    draw_maintenance(&r, &c);
    struct t_rng types = t_rng_from(seed ^ 0xd7e); /* apart, so that a seed's other numbers stay what they were */
    for (int i = 0; i < W_COLLS; i++)
        c.dtype[i] = w_draw_dtype(&types);
    c.cluster = t_chance(&types, 40) ? (uint32_t)t_range(&types, 1, (1 << W_COLLS) - 1) : 0;
    c.index = t_chance(&types, 30) ? (uint32_t)t_range(&types, 1, (1 << 2 * W_COLLS) - 1) : 0;
    if (c.uniform) {
        c.maintain = 0;
        c.expiry = 0;
        c.shards = c.clients = 1;
        c.ops = (uint32_t)t_range(&r, 1, 8);
        c.low_levels = c.async = true;
        c.dim[W_DEFAULT] = c.dim[W_STRINGS] = c.dim[W_ASSIGNED] = 4;
    }
    if (c.paced) {
        c.shards = (uint32_t)t_range(&r, 1, 2);
        c.clients = 1;
        c.preempt = 0;
        c.low_levels = true;
        c.async = c.temps = false;
        c.capacity = 0;
    }
    return c;
}

struct world *w_make(uint64_t seed, const struct w_config *config)
{
    struct world *w = calloc(1, sizeof *w);
    if (w == NULL) abort();
    w->seed = seed;
    w->rng = t_rng_from(seed);
    w->config = *config;
    w->model = calloc(1, sizeof *w->model);
    w->sim = pm_sim_make(t_mix(seed));
    pm_sim_set_preemption(w->sim, config->preempt);
    pm_sim_set_cores(w->sim, config->cores);
    pm_sim_set_allocation(w->sim, !config->no_allocate);
    pm_disk_set_capacity(pm_sim_disk(w->sim), config->capacity);
    for (uint32_t c = 0; c < config->clients; c++)
        for (int i = 0; i < W_SLOTS; i++) {
            struct w_slot *slot = &w->slot[c][i];
            slot->vectors = malloc((size_t)W_KEYS * W_DIM_MOST * sizeof(float));
            slot->document_bytes = malloc((size_t)W_KEYS * (T_DOC_MAX + 16));
            if (slot->vectors == NULL || slot->document_bytes == NULL) abort();
        }
    if (w->model == NULL) abort();
    /* In some worlds segments of a few rows get codes, a graph, or both: slow, as each build measures itself; and in
     * some columns. */
    const bool codes = seed % W_DERIVED == 0, graphs = seed % (2 * W_DERIVED) == 0 || seed % W_DERIVED == 1;
    pm_derive_least_rows[PM_DERIVED_CODES] = codes ? W_DERIVED_ROWS : PM_CODES_LEAST_ROWS;
    pm_derive_least_rows[PM_DERIVED_GRAPH] = graphs ? W_DERIVED_ROWS : PM_GRAPH_LEAST_ROWS;
    pm_derive_least_rows[PM_DERIVED_COLUMNS] = seed % 3 == 0 ? W_DERIVED_ROWS : PM_COLUMNS_LEAST_ROWS;
    return w;
}

void w_free(struct world *w)
{
    pm_sim_free(w->sim);
    for (uint32_t c = 0; c < W_CLIENTS; c++)
        for (int i = 0; i < W_SLOTS; i++) {
            free(w->slot[c][i].vectors);
            free(w->slot[c][i].document_bytes);
        }
    free(w->model);
    free(w);
}

/* ---- a generation ---- */

bool w_may_fail(const struct world *w)
{
    return w->faults || w->config.capacity != 0;
}

void w_draw_room(struct world *w, struct t_rng *rng)
{
    if (w->config.capacity == 0) return;
    w->config.capacity = (uint64_t)t_range(rng, 50, 1500) << 10;
    pm_disk_set_capacity(pm_sim_disk(w->sim), w->config.capacity);
}

static void make_collections(struct world *w)
{
    static const pomai_metric metrics[] = {POMAI_METRIC_L2, POMAI_METRIC_COSINE, POMAI_METRIC_IP};
    w->coll[W_DEFAULT] = pomai_default(w->db);
    for (int i = W_STRINGS; i < W_COLLS; i++) {
        pomai_error err = {0};
        uint8_t *made = &w->model->made[i];
        pomai_status status = pomai_collection_open(w->db, w_coll_name(i), &w->coll[i], &err);
        if (status == POMAI_ENOTFOUND && *made != W_TEMP_THERE) {
            pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
            options.dim = w->config.dim[i];
            options.metric = metrics[i];
            options.dtype = w_dtype(w, i);
            options.index = (pomai_index_kind)(w->config.index >> 2 * i & 3);
            options.cluster_by = (w->config.cluster >> i & 1) != 0 ? "n" : NULL;
            options.id_kind = i == W_STRINGS ? POMAI_ID_STRING : POMAI_ID_U64;
            *made = W_TEMP_MAKING;
            status = pomai_collection_create(w->db, w_coll_name(i), &options, &w->coll[i], &err);
        }
        if (status == POMAI_OK) {
            *made = W_TEMP_THERE;
            continue;
        }
        w->coll[i] = NULL;
        if (!w_may_fail(w) || status == POMAI_ENOTFOUND)
            w_fail(w, "collection %s: %s: %s", w_coll_name(i), pomai_status_name(status), err.message);
    }
}

static bool open_database(struct world *w)
{
    pomai_error err = {0};
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = w->config.shards;
    options.mailbox_slots = w->config.mailbox;
    options.wal_file_bytes = w->config.wal_file_bytes == 0 ? 64 << 10 : w->config.wal_file_bytes;
    options.flush_bytes = w->config.flush_bytes;
    options.log_bytes = w->config.log_bytes;
    options.freeze_rows = w->config.freeze_rows;
    options.segment_bytes = w->config.segment_bytes;
    options.compact_rate = w->config.compact_rate;
    options.group_ms = w->config.group_ms;
    w->flush_at_close = t_chance(&w->rng, 60);
    if (w->close_how != W_CLOSE_DRAWN) w->flush_at_close = w->close_how == W_CLOSE_FLUSHES;
    if (!w->flush_at_close) options.flags |= POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    if (w->config.strict_mark) options.flags |= POMAI_OPEN_STRICT_MARK;
    w->opened = pm_db_open(pm_sim_os(w->sim), "/db", &options, &w->db, &err);
    pm_sim_note(w->sim, w->opened);
    if (w->opened == POMAI_OK) return true;
    w->db = NULL;
    if (!w_may_fail(w)) w_fail(w, "open: %s: %s", pomai_status_name(w->opened), err.message);
    if (w->opened == POMAI_ECORRUPT || w->opened == POMAI_EINTERNAL)
        w_fail(w, "open: %s: %s", pomai_status_name(w->opened), err.message);
    return false;
}

static void check_nothing_held(struct world *w, const char *when)
{
    pm_sim_held held = pm_sim_what_is_held(w->sim);
    if (held.allocations + held.regions + held.descriptors + held.tasks != 0)
        w_fail(w, "after %s there are %llu allocations, %llu regions, %llu descriptors, %llu tasks", when,
               (unsigned long long)held.allocations, (unsigned long long)held.regions,
               (unsigned long long)held.descriptors, (unsigned long long)held.tasks);
}

struct seat {
    struct world *w;
    uint32_t client;
};

static void client_main(void *arg)
{
    const struct seat *seat = arg;
    w_client_run(seat->w, seat->client);
}

static void run_clients(struct world *w)
{
    struct seat seat[W_CLIENTS];
    uint32_t fiber[W_CLIENTS];
    for (uint32_t i = 0; i < w->config.clients; i++) {
        seat[i] = (struct seat){w, i};
        fiber[i] = pm_sim_spawn(w->sim, client_main, &seat[i]);
    }
    for (uint32_t i = 0; i < w->config.clients; i++)
        pm_sim_join(w->sim, fiber[i]);
}

static void close_database(struct world *w)
{
    pomai_error err = {0};
    for (int i = W_STRINGS; i < W_COLLS; i++)
        if (w->coll[i] != NULL) pomai_collection_close(w->coll[i]);
    memset(w->coll, 0, sizeof w->coll);
    const bool sound = !w_may_fail(w) && !w->stopped && w->decided;
    w->has_digest = sound && w->config.expiry < 2 && pomai_digest(w->db, NULL, w->digest, &err) == POMAI_OK;
    w->closed = pomai_close(w->db, &err);
    w->db = NULL;
    w->clock_kept = sound && w->closed == POMAI_OK && w->flush_at_close;
    w->has_digest = w->has_digest && w->closed == POMAI_OK;
    if (w->closed != POMAI_OK && !w->faults) w_fail(w, "close: %s: %s", pomai_status_name(w->closed), err.message);
    if (w->closed == POMAI_OK && !w->stopped && w->decided) {
        for (uint32_t c = 0; c < w->config.clients; c++)
            w_synced(w, c, w->model->ops);
    }
}

struct generation {
    struct world *w;
    bool clients;
};

/* What there is, and that it is what was there when it was closed. */
static bool take_digest(struct world *w, uint64_t digest[2])
{
    pomai_error err = {0};
    if (pomai_digest(w->db, NULL, digest, &err) != POMAI_OK) {
        if (!w_may_fail(w)) w_fail(w, "digest: %s", err.message);
        return false;
    }
    if (w->has_digest && memcmp(digest, w->digest, sizeof w->digest) != 0)
        w_fail(w, "what is there is not what was there at close");
    return true;
}

/* A reader recovers in memory only. False: it could not open. */
static bool look(struct world *w, uint64_t digest[2])
{
    pomai_error err = {0};
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = POMAI_OPEN_READONLY;
    options.search_threads = t_chance(&w->rng, 50) ? UINT32_MAX : (uint32_t)t_range(&w->rng, 1, 4);
    bool good = false;
    uint64_t before = pm_disk_digest(pm_sim_disk(w->sim));
    pomai_status status = pm_db_open(pm_sim_os(w->sim), "/db", &options, &w->db, &err);
    if (status == POMAI_OK) {
        good = take_digest(w, digest);
        if (pomai_close(w->db, &err) != POMAI_OK) w_fail(w, "close of a reader: %s", err.message);
    } else if (status != POMAI_ENOTFOUND && !w_may_fail(w)) {
        w_fail(w, "read-only open: %s: %s", pomai_status_name(status), err.message);
    }
    w->db = NULL;
    if (pm_disk_digest(pm_sim_disk(w->sim)) != before) w_fail(w, "a reader changed the disk");
    check_nothing_held(w, "a look");
    return good && !w->faults && w->config.expiry < 2;
}

/* Records whose rows are in segments must not be in memory again. */
static void check_replayed(struct world *w)
{
    const pm_catalog *catalog = atomic_load(&w->db->catalog);
    pm_epoch_hold hold = pm_epoch_enter(&w->db->shared.epoch);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_shown *shown = atomic_load(&catalog->coll[i]->shown);
        for (uint32_t s = 0; s < shown->shards; s++) {
            const uint64_t first = pm_memtable_first_lsn(shown->table[s].active);
            if (first != 0 && first <= catalog->coll[i]->shard[s].flushed)
                w_fail(w, "LSN %llu of shard %u was replayed, and is in a segment", (unsigned long long)first, s);
        }
    }
    pm_epoch_leave(&w->db->shared.epoch, hold);
}

static void begin_pins(struct world *w)
{
    for (uint32_t c = 0; c < W_CLIENTS; c++) {
        w->pin[c].snapshot = NULL;
        w->pin[c].scan = NULL;
    }
    memset(w->bounded, 0, sizeof w->bounded);
    w->tidy = false;
    for (uint32_t i = 1; i <= w->model->ops && !w->clock_kept; i++)
        w->model->op[i].gone = false; /* the clock may be set back */
    w->clock_kept = false;
}

/* All that nobody needs goes, now and then. */
static void tidy_up(struct world *w)
{
    pomai_error err = {0};
    if (!t_chance(&w->rng, 20)) return;
    if (pomai_compact(w->db, NULL, &err) != POMAI_OK) w_fail(w, "compact: %s", err.message);
    w->tidy = true;
    if (!w->failed) (void)w_check_all(w, false);
}

static bool sound_close(const struct world *w)
{
    return w->opened == POMAI_OK && w->closed == POMAI_OK && w->decided && !w->stopped && !w_may_fail(w);
}

static void generation_main(void *arg)
{
    const struct generation *g = arg;
    struct world *w = g->w;
    uint64_t seen[2] = {0}, digest[2] = {0};
    pomai_error bad = {0};
    if (w->config.expiry == 2 && t_chance(&w->rng, 40)) pm_sim_set_wall(w->sim, 1700000000000000000u);
    begin_pins(w);
    const bool verify = !w->faults && t_chance(&w->rng, 15);
    const pomai_status verified = verify ? w_verify(w, &bad) : POMAI_OK;
    memset(w->coll, 0, sizeof w->coll);
    bool looked = w->look && look(w, seen);
    if (!open_database(w)) {
        check_nothing_held(w, "an open that failed");
        return;
    }
    pomai_open_report report;
    pomai_get_open_report(w->db, &report);
    pm_sim_note(w->sim, report.records);
    if (verified != POMAI_OK && verified != POMAI_ENOTFOUND)
        w_fail(w, "it opens, but verify says %s: %s", pomai_status_name(verified), bad.message);
    check_replayed(w);
    const bool told = take_digest(w, digest);
    if (looked && told && memcmp(seen, digest, sizeof seen) != 0) w_fail(w, "reader and writer do not agree");
    make_collections(w);
    bool whole = w->coll[W_STRINGS] != NULL && w->coll[W_ASSIGNED] != NULL;
    if (whole && !w->failed) {
        whole = w_check_all(w, true);
        w->decided = whole;
        w_recovered(w);
        if (whole) w->may_lose = false; /* what was read has been written and synced again */
    }
    if (g->clients && whole && !w->failed && w->config.shards > 1) w_anchor(w);
    if (g->clients && whole && !w->failed) run_clients(w);
    if (g->clients && whole && !w->failed && !w_may_fail(w)) (void)w_check_all(w, false);
    if (g->clients && whole && !w->failed && !w_may_fail(w) && w->config.maintain > 0) tidy_up(w);
    if (w->rest_ns > 0 && !w->failed) pm_sim_sleep(w->sim, w->rest_ns);
    if (!w->close && !w->failed) return;
    close_database(w);
    if (!w->failed) check_nothing_held(w, "close");
    if (!w->failed && sound_close(w)) w_check_disk(w);
}

bool w_run(struct world *w, bool clients)
{
    struct generation g = {w, clients};
    w->stopped = w->decided = false; /* here: it may be cut off before its first step */
    switch (pm_sim_run(w->sim, generation_main, &g)) {
    case PM_SIM_DONE:
        return true;
    case PM_SIM_CRASHED:
        return false;
    case PM_SIM_DEADLOCK:
        w_fail(w, "everybody waits for ever");
        return false;
    default:
        w_fail(w, "it does not end");
        return false;
    }
}

bool w_check(struct world *w)
{
    w->close = true;
    return w_run(w, false) && !w->failed;
}

void w_process_gone(struct world *w)
{
    if (pm_sim_faults(w->sim) > 0) w->may_lose = true;
    if (w->faults || w->db != NULL) w->has_digest = w->clock_kept = false; /* it was not closed, or not well */
    w->faults = false;
    w->db = NULL;
    pm_sim_kill_process(w->sim);
}

void w_power_gone(struct world *w, pm_choices *choices, bool tear)
{
    w_group_due(w);
    w_process_gone(w);
    pm_sim_set_disk(w->sim, pm_disk_power_loss(pm_sim_disk(w->sim), choices, tear));
    w->may_lose = true;
}
