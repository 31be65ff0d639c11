/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: segments become others that have only rows which somebody may still see. docs/lifecycle.md. Invariants:
 *  1. A row goes only if its end is in a liveness file that the manifest names, or it has expired, and no snapshot
 *     shows it.
 *  2. Every end that is stored meanwhile is in the new segment before readers see that.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/engine/engine.h"

enum { TIER_SEGMENTS = 4, DEAD_PERCENT = 20, RATIO_QUIET = 8, RATIO_ASKED = 64 };
#define MOST_ROWS     ((uint64_t)4 << 20) /* of one merge: each takes 20 bytes of memory while it lasts */
#define MOST_BYTES    PM_MOST_MERGED      /* of one merge in quiet times, or asked for */
#define LEAST_SEGMENT ((uint64_t)64 << 20)
#define MOST_SEGMENT  ((uint64_t)1 << 30)
#define LEAST_TIER    ((uint64_t)4 << 20)

typedef struct candidate {
    pm_segment *segment; /* NULL: what is in memory */
    uint64_t bytes, rows;
    uint64_t dropped; /* rows that nobody needs */
    uint32_t tier;
} candidate;

/* What is to become one. */
typedef struct chosen {
    pm_db *db;
    pm_coll *coll;
    pm_sources *sources;
    uint32_t count; /* with what is in memory, if that is of it */
    uint64_t rows, bytes;
    bool memory;
    uint64_t held;  /* rows that only snapshots keep, in all segments */
    uint32_t aside; /* damaged segments */
} chosen;

typedef struct merge {
    pm_db *db;
    pm_coll *coll;
    uint64_t flushed[PM_MAX_SHARDS];
    pm_sources from;
    pm_build build;
    pm_shown *room;   /* of the next view */
    uint64_t dropped; /* rows without an end */
} merge;

/* ---- which ---- */

/* *held: those that only snapshots keep. */
static uint64_t count_dropped(pm_segment *segment, const pm_horizon *horizon, uint64_t *held)
{
    const uint64_t rows = pm_segment_rows(segment), first_expiry = pm_segment_first_expiry(segment);
    const bool expires = first_expiry != 0 && first_expiry <= horizon->now;
    uint64_t dropped = 0, ended = 0;
    if (!expires && pm_segment_ended(segment) == 0) return 0;
    /* Damage is for reads and verify to tell; it keeps a segment from being merged. */
    if (pm_segment_check(segment, PM_SEG_SHARD | PM_SEG_LSN | PM_SEG_EXPIRY, 0, rows, NULL) != POMAI_OK) return 0;
    for (uint64_t word = 0; word * 64 < rows; word++) {
        if (!expires && pm_segment_ended_word(segment, word) == 0) continue;
        for (uint64_t row = word * 64; row < pm_min_u64(rows, word * 64 + 64); row++) {
            const uint32_t shard = pm_segment_shard(segment, row);
            const uint64_t end = pm_segment_end_of(segment, row);
            const uint64_t expiry = first_expiry == 0 ? 0 : pm_segment_expiry(segment, row);
            const bool drops = pm_horizon_drops(horizon, shard, pm_segment_lsn(segment, row), end, expiry);
            dropped += drops;
            ended += drops || end <= horizon->upto[shard];
        }
    }
    *held += ended - dropped;
    return dropped;
}

static uint32_t tier_of(uint64_t bytes)
{
    uint32_t tier = 0;
    for (uint64_t size = LEAST_TIER; size < bytes; size *= 4)
        tier++;
    return tier;
}

static int by_bytes(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    if (x->segment == NULL || y->segment == NULL) return x->segment == NULL ? 1 : -1;
    return pm_segment_entry(x->segment)->number < pm_segment_entry(y->segment)->number ? -1 : 1;
}

static uint64_t most_bytes(const pm_db *db, uint64_t all)
{
    if (db->segment_bytes != 0) return db->segment_bytes;
    return pm_max_u64(LEAST_SEGMENT, pm_min_u64(MOST_SEGMENT, all / 8));
}

static uint64_t bytes_kept(const candidate *c)
{
    return c->bytes / c->rows * (c->rows - c->dropped);
}

/* Whether it fits in with those that are taken. */
static bool fits(const chosen *m, const candidate *c, uint64_t bytes, uint64_t most)
{
    return m->count == 0 ||
           (m->count < PM_MOST_SOURCES && bytes + bytes_kept(c) <= most && m->rows + c->rows <= MOST_ROWS);
}

static void take(chosen *m, const candidate *c)
{
    m->count++;
    m->rows += c->rows;
    m->bytes += c->bytes;
    m->memory |= c->segment == NULL;
    if (c->segment == NULL) return;
    m->sources->number[m->sources->count] = pm_segment_entry(c->segment)->number;
    m->sources->segment[m->sources->count++] = c->segment;
}

static void take_none(chosen *m)
{
    m->count = m->sources->count = 0;
    m->rows = m->bytes = 0;
    m->memory = false;
}

/*
 * Of segments by size, the run with the most bytes in which none is more than `ratio` times all before it together. So
 * a collection that was just loaded becomes one segment, and a large one is not written again for the sake of a few
 * rows: each is rewritten a few times while a collection grows (docs/decisions/0012).
 */
static void choose_run(const candidate *c, uint32_t n, uint64_t ratio, uint32_t *from, uint32_t *to)
{
    uint64_t largest = 0;
    *from = *to = 0;
    for (uint32_t first = 0; first + 1 < n; first++) {
        uint64_t bytes = bytes_kept(&c[first]), rows = c[first].rows;
        uint32_t end = first + 1;
        for (; end < n && end - first < PM_MOST_SOURCES && bytes_kept(&c[end]) <= ratio * bytes; end++) {
            if (bytes + bytes_kept(&c[end]) > MOST_BYTES || rows + c[end].rows > MOST_ROWS) break;
            bytes += bytes_kept(&c[end]);
            rows += c[end].rows;
        }
        if (end - first < 2 || bytes <= largest) continue;
        largest = bytes;
        *from = first;
        *to = end;
    }
}

/* Segments with much that nobody needs, smallest first, and with them small ones, while the result is of a fair size;
 * else some of one tier. */
static void choose(chosen *m, candidate *c, uint32_t n, pm_compact_mode mode)
{
    uint64_t all = 0, bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        all += bytes_kept(&c[i]);
    const bool force = mode == PM_COMPACT_ASKED, whole = mode != PM_COMPACT_DUE && m->db->segment_bytes == 0;
    const uint64_t most = whole ? MOST_BYTES : most_bytes(m->db, all);
    uint32_t smalls = 0, from = 0, to = 0;
    qsort(c, n, sizeof *c, by_bytes);
    if (whole) choose_run(c, n, force ? RATIO_ASKED : RATIO_QUIET, &from, &to);
    for (uint32_t i = 0; i < n; i++) {
        const bool dead = c[i].dropped > 0 && (force || c[i].dropped * 100 >= c[i].rows * DEAD_PERCENT);
        const bool small = whole ? i >= from && i < to : force && c[i].bytes <= most / 2;
        if (!dead && !small) continue;
        if (!fits(m, &c[i], bytes, most)) continue;
        bytes += bytes_kept(&c[i]);
        smalls += !dead;
        take(m, &c[i]);
    }
    if (m->count == 1 && smalls == 1) take_none(m); /* alone it would become what it is */
    if (m->count > 0) return;
    for (uint32_t i = 0; i < n;) {
        uint32_t same = 0;
        while (i + same < n && c[i + same].tier == c[i].tier)
            same++;
        bytes = 0;
        for (uint32_t j = 0; j < same && same >= TIER_SEGMENTS && fits(m, &c[i + j], bytes, most); j++) {
            bytes += bytes_kept(&c[i + j]);
            take(m, &c[i + j]);
        }
        if (m->count >= TIER_SEGMENTS) return;
        take_none(m);
        i += same;
    }
}

/* upto: of each shard the last LSN whose ends count. memory: NULL, or what is in memory and may be merged with them. */
static pomai_status find_sources(chosen *m, const uint64_t *upto, const candidate *memory, pm_compact_mode mode,
                                 pomai_error *err)
{
    pm_db *db = m->db;
    pm_horizon horizon;
    pomai_status status = pm_horizon_take(db, upto, &horizon, err);
    if (status != POMAI_OK) return status;
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    const pm_shown *shown = atomic_load(&m->coll->shown); /* its segments stay: nobody else takes them out */
    candidate *c = pm_calloc(shown->segments + 2, sizeof *c);
    if (c == NULL) status = pm_fail(err, POMAI_ENOMEM, "no memory to compact the collection %s", m->coll->name);
    uint32_t n = 0;
    if (c != NULL && memory != NULL) c[n++] = *memory;
    for (uint32_t i = 0; i < shown->segments && status == POMAI_OK; i++) {
        pm_segment *segment = shown->segment[i];
        if (atomic_load(pm_segment_forward(segment)) != NULL) continue;
        m->aside += segment->set_aside;
        if (segment->set_aside) continue;
        const uint64_t dropped = count_dropped(segment, &horizon, &m->held);
        if (db->maintenance.hurried && pm_segment_entry(segment)->number >= db->maintenance.compact_below) continue;
        c[n] = (candidate){.segment = segment, .rows = pm_segment_rows(segment)};
        c[n].bytes = pm_segment_entry(segment)->bytes;
        c[n].tier = tier_of(c[n].bytes);
        c[n].dropped = dropped;
        n++;
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    pm_horizon_clear(&horizon);
    if (status == POMAI_OK && n > 0) choose(m, c, n, mode);
    pm_free(c);
    return status;
}

static bool has_derived(const pm_segment *segment)
{
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
        if (pm_segment_derived(segment, kind) != NULL) return true;
    return false;
}

pomai_status pm_compact_with(pm_db *db, pm_coll *coll, const uint64_t *upto, uint64_t bytes, uint64_t rows,
                             pm_compact_mode mode, uint64_t most, pm_sources *sources, pomai_error *err)
{
    chosen m = {.db = db, .coll = coll, .sources = sources};
    const candidate memory = {.bytes = bytes, .rows = rows, .tier = tier_of(bytes)};
    if (rows == 0) return POMAI_OK;
    pomai_status status = find_sources(&m, upto, &memory, mode, err);
    bool fine = status == POMAI_OK && m.memory && (m.bytes - bytes <= most || PM_MUTANT(MERGED_TOO_MUCH));
    for (uint32_t i = 0; i < sources->count && fine; i++)
        fine = !has_derived(sources->segment[i]) || PM_MUTANT(MERGED_BARE);
    if (!fine) sources->count = 0;
    return status;
}

/* ---- merging ---- */

static pomai_status no_memory(const merge *m, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory to compact the collection %s", m->coll->name);
}

/* A flush may have moved on while the rows were written. */
static pomai_status read_flushed(merge *m, pomai_error *err)
{
    pm_db *db = m->db;
    db->os->mutex_lock(db->os, &db->admin);
    const pm_manifest_entry *entry = pm_manifest_find(&db->manifest, m->coll->id);
    if (entry != NULL) memcpy(m->flushed, entry->flushed, db->shared.shards * sizeof m->flushed[0]);
    db->os->mutex_unlock(db->os, &db->admin);
    return entry != NULL ? POMAI_OK : pm_fail(err, POMAI_ENOTFOUND, "the collection %s was dropped", m->coll->name);
}

/* What readers have of the rows now they have of them afterwards, as far as it can be waited for. */
static void derive(const merge *m)
{
    for (uint32_t turn = 0; turn + 1 < PM_DERIVED_KINDS && !PM_MUTANT(MERGED_WITHOUT_DERIVED); turn++) {
        const uint32_t kind = pm_derive_order[turn];
        bool had = false;
        for (uint32_t i = 0; i < m->from.count; i++)
            had |= pm_segment_derived(m->from.segment[i], kind) != NULL;
        for (uint32_t i = 0; i < m->build.outputs && had; i++)
            pm_derive_ahead(m->db, m->coll, m->build.out[i], kind);
    }
}

static pomai_status write_merged(merge *m, pomai_error *err)
{
    pm_db *db = m->db;
    pm_horizon horizon;
    pomai_status status = pm_horizon_take(db, m->flushed, &horizon, err);
    if (status == POMAI_OK) status = pm_sources_take(&m->from, &m->build, &horizon, err);
    pm_horizon_clear(&horizon);
    if (status == POMAI_OK) status = pm_build_cluster(&m->build, m->from.carry, m->from.count, err);
    if (status == POMAI_OK) status = pm_build_write(&m->build, MOST_BYTES, err);
    if (status == POMAI_OK && !pm_sources_aim(&m->from, &m->build)) status = no_memory(m, err);
    if (status == POMAI_OK) derive(m);
    if (status == POMAI_OK) status = read_flushed(m, err);
    if (status != POMAI_OK) return status;
    pm_sources_carry_ends(&m->from);
    for (uint32_t i = 0; i < m->build.outputs && status == POMAI_OK; i++)
        if (pm_segment_ended(m->build.out[i]) > 0 && !PM_MUTANT(MERGED_WITHOUT_ENDS))
            status = pm_segment_write_live(m->build.out[i], 1, m->flushed, &m->build.entry[i], err);
    return status;
}

static void show(void *context, pm_shown *next)
{
    const merge *m = context;
    pm_sources_hide(&m->from, next);
    for (uint32_t i = 0; i < m->build.outputs; i++)
        next->segment[next->segments++] = m->build.out[i];
    if (!PM_MUTANT(EXPIRED_STAY_COUNTED)) next->rows -= (int64_t)m->dropped;
    next->version++;
}

/* From here nothing may fail. */
static void install(merge *m)
{
    pm_db *db = m->db;
    PM_POINT(SEGMENT_NAMED);
    m->dropped = pm_sources_forward(&m->from);
    PM_POINT(ENDS_CARRIED);
    (void)pm_coll_freeze(&db->shared, m->coll, true); /* as in a flush */
    pm_coll_publish(&db->shared, m->coll, m->room, show, m);
    m->room = NULL;
    PM_POINT(SEGMENT_SHOWN);
    pm_sources_retire(&m->from, db);
    for (uint32_t i = 0; i < m->build.outputs; i++)
        atomic_fetch_add_explicit(&db->maintenance.compacted_bytes, m->build.entry[i].bytes, memory_order_relaxed);
}

static pomai_status run(merge *m, pomai_error *err)
{
    pm_db *db = m->db;
    if (!pm_limbo_reserve(&db->maintenance, m->from.count * 2ul)) return no_memory(m, err);
    pomai_status status = write_merged(m, err);
    pm_edit edit = {.coll = m->coll,
                    .removed = m->from.number,
                    .removals = m->from.count,
                    .added = m->build.entry,
                    .additions = m->build.outputs};
    m->room = status == POMAI_OK ? pm_coll_room(&db->shared, m->coll, m->build.outputs) : NULL;
    /* Again: a flush may have come between. */
    if (status == POMAI_OK && (m->room == NULL || !pm_limbo_reserve(&db->maintenance, m->from.count * 2ul)))
        status = no_memory(m, err);
    if (status == POMAI_OK && PM_MUTANT(SOURCES_REMOVED_FIRST)) pm_sources_remove(&m->from, db->os);
    if (status == POMAI_OK) status = pm_catalog_edit(db, &edit, 1, NULL, err);
    if (status == POMAI_OK && !edit.dropped)
        install(m);
    else
        pm_build_undo(&m->build);
    pm_sources_clear(&m->from);
    pm_build_clear(&m->build);
    pm_shown_free(m->room);
    return status;
}

pomai_status pm_compact_once(pm_db *db, const pm_coll *only, pm_compact_mode mode, bool *did, pomai_error *err)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    *did = false;
    pomai_status status = pm_catalog_check(db, err);
    if (status != POMAI_OK) return status;
    merge *m = pm_calloc(1, sizeof *m);
    if (m == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to compact");
    for (uint32_t i = 0; i < catalog->count && status == POMAI_OK && !*did; i++) {
        if (only != NULL && catalog->coll[i] != only) continue;
        memset(m, 0, sizeof *m);
        m->db = m->build.db = db;
        m->coll = m->build.coll = catalog->coll[i];
        status = read_flushed(m, err);
        if (status == POMAI_ENOTFOUND) { /* dropped since */
            status = POMAI_OK;
            continue;
        }
        chosen of = {.db = db, .coll = m->coll, .sources = &m->from};
        if (status == POMAI_OK) status = find_sources(&of, m->flushed, NULL, mode, err);
        atomic_store(&m->coll->held_rows, of.held);
        if (status == POMAI_OK && m->from.count == 0 && mode == PM_COMPACT_ASKED && of.aside > 0)
            status = pm_fail(err, POMAI_ECORRUPT,
                             "%u segments of the collection %s are damaged and stay as they are; `pomai verify` lists "
                             "them, `pomai salvage` copies what is intact",
                             of.aside, m->coll->name);
        if (status != POMAI_OK || m->from.count == 0) continue;
        *did = true;
        status = run(m, err);
        if (status == POMAI_ENOTFOUND && atomic_load(&m->coll->dropped)) status = POMAI_OK; /* nobody misses it */
    }
    pm_free(m);
    return status;
}
