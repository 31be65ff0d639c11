/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From frozen memtables to segments, and log files that nobody needs any more: docs/lifecycle.md. Invariants:
 *  1. The manifest says "flushed up to" only of records that are decided and durable in every shard.
 *  2. It says so together with the segments that have their rows and the liveness files that have their ends.
 *  3. A log file goes only after the manifest that begins the log behind it is durable.
 */
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/engine/engine.h"

/* One collection's part of a flush. */
typedef struct flush {
    pm_db *db;
    pm_coll *coll;
    uint64_t upto[PM_MAX_SHARDS];
    pm_memtable *frozen[PM_MAX_SHARDS];
    pm_carry *carry[PM_MAX_SHARDS]; /* of each frozen memtable; with what it points to */
    pm_sources from;                /* segments whose rows are written together with theirs */
    pm_build build;
    pm_manifest_segment *changed; /* segments that get another liveness file */
    uint64_t *old_live;           /* their generation before */
    uint32_t changes;
    uint64_t dropped; /* rows without an end */
    pm_shown *room;   /* of the next view */
} flush;

/* ---- freezing ---- */

/* A memtable that an earlier flush could not write is still frozen, as of then. */
static pomai_status freeze_all(flush *f, pomai_error *err)
{
    pm_shared *shared = &f->db->shared;
    pomai_status status = POMAI_OK;
    for (uint32_t s = 0; s < shared->shards && status == POMAI_OK; s++) {
        pm_epoch_hold hold = pm_epoch_enter(&shared->epoch);
        f->frozen[s] = ((const pm_shown *)atomic_load(&f->coll->shown))->table[s].frozen;
        pm_epoch_leave(&shared->epoch, hold);
        if (f->frozen[s] != NULL) {
            f->upto[s] = pm_memtable_upto(f->frozen[s]);
            continue;
        }
        status = pm_shard_rotate(shared->shard[s], f->coll, &f->upto[s], &f->frozen[s], err);
    }
    return status;
}

/* ---- rows ---- */

/* The rows of a frozen memtable that somebody may still see, and where they go. */
static bool take_rows(flush *f, uint32_t shard, const pm_horizon *horizon)
{
    const pm_memtable *table = f->frozen[shard];
    const uint64_t chunks = pm_memtable_chunks(table);
    uint64_t rows = 0;
    for (uint64_t c = 0; c < chunks; c++)
        rows += pm_memtable_chunk(table, c)->rows;
    pm_carry *carry = f->carry[shard] = pm_calloc(1, sizeof *carry);
    uint64_t *first = pm_calloc(chunks + 1, sizeof *first);
    uint32_t *place = pm_malloc((rows + 1) * sizeof *place);
    if (carry != NULL) {
        carry->first = first;
        carry->place = place;
        carry->places = rows;
    }
    if (carry == NULL || first == NULL || place == NULL) {
        if (carry == NULL) {
            pm_free(first);
            pm_free(place);
        }
        return false;
    }
    pm_carry_init(carry);
    uint64_t at = 0;
    for (uint64_t c = 0; c < chunks; c++) {
        const pm_chunk *chunk = pm_memtable_chunk(table, c);
        first[c] = at;
        for (uint32_t row = 0; row < chunk->rows; row++, at++) {
            const uint64_t end = atomic_load_explicit(&chunk->end[row], memory_order_acquire);
            const uint64_t expiry = chunk->expiry == NULL ? 0 : chunk->expiry[row];
            place[at] = PM_NO_ROW;
            if (pm_horizon_drops(horizon, shard, chunk->lsn, end, expiry)) continue;
            place[at] = PM_MUTANT(CARRY_MISSES_ROW) && at == 0 ? PM_NO_ROW : (uint32_t)f->build.rows;
            if (!pm_build_add(&f->build, chunk, row)) return false;
        }
    }
    return true;
}

/* Ends of a frozen memtable that are stored by now go to where its rows went. */
static void carry_table(const flush *f, uint32_t shard)
{
    const pm_memtable *table = f->frozen[shard];
    for (uint64_t c = 0; c < pm_memtable_chunks(table); c++) {
        const pm_chunk *chunk = pm_memtable_chunk(table, c);
        if (atomic_load(&chunk->ended) == 0) continue;
        for (uint32_t row = 0; row < chunk->rows; row++) {
            const uint64_t end = atomic_load_explicit(&chunk->end[row], memory_order_acquire);
            if (end != PM_NO_END) pm_carry_end(f->carry[shard], f->carry[shard]->first[c] + row, end);
        }
    }
}

/* After `forward` is set: rows that expired and went nowhere, and that nobody has ended. */
static uint64_t drop_expired(const flush *f, uint32_t shard)
{
    uint64_t dropped = 0;
    pm_memtable *table = f->frozen[shard];
    const pm_carry *carry = f->carry[shard];
    for (uint64_t c = 0; c < pm_memtable_chunks(table); c++) {
        const pm_chunk *chunk = pm_memtable_chunk(table, c);
        for (uint32_t row = 0; chunk->expiry != NULL && row < chunk->rows; row++)
            dropped += carry->place[carry->first[c] + row] == PM_NO_ROW && pm_memtable_drop(table, c, row);
    }
    return dropped;
}

static bool aim_carries(const flush *f)
{
    for (uint32_t s = 0; s < f->db->shared.shards; s++)
        if (f->carry[s] != NULL && !pm_build_aim(&f->build, f->carry[s])) return false;
    return pm_sources_aim(&f->from, &f->build);
}

/* Rows of segments first, which are older. A damaged one does not keep memtables from being flushed. */
static pomai_status take_sources(flush *f, const pm_horizon *horizon, pomai_error *err)
{
    const pomai_status status = pm_sources_take(&f->from, &f->build, horizon, err);
    if (status != POMAI_ECORRUPT) return status;
    pm_sources_clear(&f->from);
    if (!PM_MUTANT(DAMAGED_TAKEN)) f->build.rows = 0;
    return POMAI_OK;
}

static pomai_status cluster(flush *f, pomai_error *err)
{
    pm_carry *carry[PM_MAX_SHARDS + PM_MOST_SOURCES];
    const uint32_t shards = f->db->shared.shards;
    memcpy(carry, f->carry, shards * sizeof(pm_carry *));
    memcpy(carry + shards, f->from.carry, f->from.count * sizeof(pm_carry *));
    return pm_build_cluster(&f->build, carry, shards + f->from.count, err);
}

static pomai_status write_rows(flush *f, pomai_error *err)
{
    pm_db *db = f->db;
    pm_horizon horizon;
    const uint64_t most = f->from.count > 0 ? PM_MOST_MERGED : (uint64_t)1 << 30;
    pomai_status status = pm_horizon_take(db, f->upto, &horizon, err);
    bool memory = true;
    if (status == POMAI_OK) status = take_sources(f, &horizon, err);
    for (uint32_t s = 0; s < db->shared.shards && status == POMAI_OK && memory; s++)
        if (f->frozen[s] != NULL) memory = take_rows(f, s, &horizon);
    pm_horizon_clear(&horizon);
    if (status == POMAI_OK && memory && f->build.rows > 0) {
        status = cluster(f, err);
        if (status == POMAI_OK) status = pm_segments_make_dir(db, f->coll->id, err);
        if (status == POMAI_OK) status = pm_build_write(&f->build, most, err);
    }
    if (status == POMAI_OK && memory) memory = aim_carries(f);
    if (!memory) status = pm_fail(err, POMAI_ENOMEM, "no memory to flush the collection %s", f->coll->name);
    for (uint32_t s = 0; s < db->shared.shards && status == POMAI_OK; s++)
        if (f->frozen[s] != NULL) carry_table(f, s);
    if (status == POMAI_OK) pm_sources_carry_ends(&f->from);
    return status;
}

/* ---- liveness ---- */

static pm_segment *find_segment(const pm_shown *shown, uint64_t number)
{
    for (uint32_t i = 0; i < shown->segments; i++)
        if (pm_segment_entry(shown->segment[i])->number == number) return shown->segment[i];
    return NULL;
}

/* Every end up to where the collection will count as flushed has to be in a file that the manifest names. */
static pomai_status write_lives(flush *f, pomai_error *err)
{
    pm_db *db = f->db;
    uint32_t olds;
    pomai_status status = pm_catalog_segments(db, f->coll->id, &f->changed, &olds, err);
    if (status != POMAI_OK) return status;
    f->old_live = pm_calloc(olds + 1, sizeof *f->old_live);
    if (f->old_live == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to flush the collection %s", f->coll->name);
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    const pm_shown *shown = atomic_load(&f->coll->shown);
    for (uint32_t i = 0; i < olds && status == POMAI_OK && !PM_MUTANT(LIVENESS_NOT_WRITTEN); i++) {
        pm_manifest_segment changed = f->changed[i];
        const pm_segment *segment = find_segment(shown, changed.number);
        if (segment == NULL || pm_segment_ended(segment) == pm_segment_live_count(&changed)) continue;
        if (pm_sources_have(&f->from, changed.number)) continue;
        const uint64_t before = changed.live_generation;
        status = pm_segment_write_live(segment, before + 1, f->upto, &changed, err);
        if (status != POMAI_OK || changed.live_generation == before) continue;
        f->old_live[f->changes] = before;
        f->changed[f->changes++] = changed; /* at or before place i */
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    for (uint32_t i = 0; i < f->build.outputs && status == POMAI_OK; i++)
        if (pm_segment_ended(f->build.out[i]) > 0 && !(PM_MUTANT(MERGED_WITHOUT_ENDS) && f->from.count > 0))
            status = pm_segment_write_live(f->build.out[i], 1, f->upto, &f->build.entry[i], err);
    return status;
}

/* ---- installing ---- */

static void show(void *context, pm_shown *next)
{
    const flush *f = context;
    for (uint32_t s = 0; s < next->shards; s++)
        if (f->frozen[s] != NULL && next->table[s].frozen == f->frozen[s]) next->table[s].frozen = NULL;
    if (!PM_MUTANT(MERGED_SHOWN_TWICE)) pm_sources_hide(&f->from, next);
    for (uint32_t i = 0; i < f->build.outputs; i++)
        next->segment[next->segments++] = f->build.out[i];
    if (!PM_MUTANT(EXPIRED_STAY_COUNTED)) next->rows -= (int64_t)f->dropped;
    next->version++;
}

/* From here nothing may fail: the catalogue names the segments. */
static void install(flush *f)
{
    pm_db *db = f->db;
    pm_shared *shared = &db->shared;
    uint64_t bytes = 0;
    PM_POINT(SEGMENT_NAMED);
    /* What ended by `upto` is not in the segments: bounded reads must see the ends. */
    if (!PM_MUTANT(BOUNDED_NOT_RAISED)) (void)pm_coll_freeze(shared, f->coll, true);
    for (uint32_t s = 0; s < shared->shards; s++) {
        if (f->frozen[s] == NULL || PM_MUTANT(VIEW_BEFORE_ENDS)) continue;
        if (!PM_MUTANT(CARRY_FORGETS)) pm_memtable_set_forward(f->frozen[s], &f->carry[s]->forward);
        carry_table(f, s);
        f->dropped += drop_expired(f, s);
    }
    if (!PM_MUTANT(MERGED_NOT_FORWARDED)) {
        const uint64_t dropped = pm_sources_forward(&f->from);
        f->dropped += PM_MUTANT(MERGED_STAY_COUNTED) ? 0 : dropped;
    }
    PM_POINT(ENDS_CARRIED);
    pm_coll_publish(shared, f->coll, f->room, show, f);
    f->room = NULL;
    PM_POINT(SEGMENT_SHOWN);
    for (uint32_t s = 0; s < shared->shards; s++) {
        if (f->frozen[s] == NULL) continue;
        if (PM_MUTANT(VIEW_BEFORE_ENDS)) pm_memtable_set_forward(f->frozen[s], &f->carry[s]->forward);
        if (PM_MUTANT(VIEW_BEFORE_ENDS)) carry_table(f, s);
        bytes += pm_memtable_log_bytes(f->frozen[s]);
        pm_limbo_add(&db->maintenance, pm_free_memtable, f->frozen[s]);
        pm_limbo_add(&db->maintenance, pm_free_carry, f->carry[s]);
        f->carry[s] = NULL;
    }
    atomic_fetch_sub(&shared->unflushed, bytes);
    pm_maintenance *m = &db->maintenance;
    const uint64_t merged = f->from.kept;
    pm_sources_retire(&f->from, db);
    for (uint32_t i = 0; i < f->build.outputs; i++) {
        const uint64_t written = f->build.entry[i].bytes;
        const uint64_t again = (uint64_t)((double)written * ((double)merged / (double)f->build.rows));
        atomic_fetch_add_explicit(&m->flushed_bytes, written - again, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->compacted_bytes, again, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&m->flushed_rows, f->build.rows - merged, memory_order_relaxed);
    for (uint32_t i = 0; i < f->changes; i++)
        atomic_fetch_add_explicit(&m->live_bytes, f->changed[i].live_len, memory_order_relaxed);
    atomic_fetch_add(&db->changes, 1);
    atomic_fetch_add(&m->room_word, 1);
    if (atomic_load(&m->room_waiters) > 0) shared->os->word_wake(shared->os, &m->room_word);
}

/* Liveness files that the catalogue does not name: the former ones after it was edited, the new ones if it was not. */
static void remove_lives(flush *f, bool former)
{
    pm_db *db = f->db;
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    const pm_shown *shown = atomic_load(&f->coll->shown);
    for (uint32_t c = 0; c < f->changes; c++) {
        const pm_segment *segment = find_segment(shown, f->changed[c].number);
        const uint64_t generation = former ? f->old_live[c] : f->changed[c].live_generation;
        if (segment != NULL && generation != 0) pm_segment_remove_live(segment, generation);
    }
    pm_epoch_leave(&db->shared.epoch, hold);
}

static void end(flush *f)
{
    for (uint32_t s = 0; s < PM_MAX_SHARDS; s++)
        pm_free_carry(f->carry[s]);
    pm_sources_clear(&f->from);
    pm_build_clear(&f->build);
    pm_shown_free(f->room);
    pm_free(f->changed);
    pm_free(f->old_live);
    pm_free(f);
}

/* ---- the whole ---- */

/* Everything that is frozen is decided; now it is durable, too, and so are the ABORT records of what was refused.
 * *known: of every batch of several parts up to *resolved it is known what became of it. */
static pomai_status make_durable(pm_db *db, uint64_t *resolved, bool *known, pomai_error *err)
{
    pm_shared *shared = &db->shared;
    pomai_status status = POMAI_OK;
    *resolved = pm_batches_resolved(shared);
    for (int tries = 0; tries < 2; tries++) {
        *known = true;
        for (uint32_t s = 0; s < shared->shards; s++)
            *known &= pm_shard_owed(shared->shard[s]) == 0;
        for (uint32_t s = 0; s < shared->shards && status == POMAI_OK && !PM_MUTANT(FLUSH_NOT_SYNCED); s++)
            status = pm_shard_sync(shared->shard[s], err);
        if (*known || status != POMAI_OK) break;
    }
    return status;
}

/* What is frozen, about. */
static void measure(const flush *f, uint64_t *bytes, uint64_t *rows)
{
    *bytes = *rows = 0;
    for (uint32_t s = 0; s < f->db->shared.shards; s++) {
        if (f->frozen[s] == NULL) continue;
        *bytes += pm_memtable_log_bytes(f->frozen[s]);
        for (uint64_t c = 0; c < pm_memtable_chunks(f->frozen[s]); c++)
            *rows += pm_memtable_chunk(f->frozen[s], c)->rows;
    }
}

/* Who asked for a compaction would wait for these rows to be written once more otherwise. *most: bytes of segments that
 * a flush may still take with it, of all collections; puts may wait for it. */
static pomai_status find_sources(flush *f, pm_compact_mode with, uint64_t *most, size_t *limbo, pomai_error *err)
{
    uint64_t bytes, rows;
    measure(f, &bytes, &rows);
    pomai_status status = pm_compact_with(f->db, f->coll, f->upto, bytes, rows, with, *most, &f->from, err);
    for (uint32_t i = 0; i < f->from.count; i++)
        *most -= pm_min_u64(*most, pm_segment_entry(f->from.segment[i])->bytes);
    *limbo += f->from.count * 2ul;
    if (status == POMAI_OK && !pm_limbo_reserve(&f->db->maintenance, *limbo))
        status = pm_fail(err, POMAI_ENOMEM, "no memory to compact the collection %s", f->coll->name);
    return status;
}

static pomai_status write_one(flush *f, pomai_error *err)
{
    pomai_status status = write_rows(f, err);
    if (status == POMAI_OK) status = write_lives(f, err);
    if (status == POMAI_OK) f->room = pm_coll_room(&f->db->shared, f->coll, f->build.outputs);
    if (status == POMAI_OK && f->room == NULL)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to flush the collection %s", f->coll->name);
    return status;
}

static pomai_status run(pm_db *db, flush **list, uint32_t count, bool seal, pm_compact_mode with, const pm_coll *only,
                        pomai_error *err)
{
    uint64_t resolved = 0;
    bool known = false;
    size_t limbo = count * 2ul * db->shared.shards + 1;
    uint64_t most = db->flush_hard;
    pomai_status status = POMAI_OK;
    pm_edit *edits = pm_calloc(count + 1, sizeof *edits);
    if (edits == NULL || !pm_limbo_reserve(&db->maintenance, limbo)) {
        pm_free(edits);
        return pm_fail(err, POMAI_ENOMEM, "no memory to flush");
    }
    for (uint32_t i = 0; i < count && status == POMAI_OK; i++)
        status = freeze_all(list[i], err);
    if (status == POMAI_OK) status = make_durable(db, &resolved, &known, err);
    for (uint32_t s = 0; s < db->shared.shards && status == POMAI_OK && seal; s++)
        status = pm_shard_seal(db->shared.shard[s], err);
    for (uint32_t i = 0; i < count && status == POMAI_OK; i++) {
        if (with != PM_COMPACT_DUE && (only == NULL || only == list[i]->coll || PM_MUTANT(MERGED_UNASKED)))
            status = find_sources(list[i], with, &most, &limbo, err);
        if (status == POMAI_OK) status = write_one(list[i], err);
        edits[i] = (pm_edit){.coll = list[i]->coll,
                             .flushed = list[i]->upto,
                             .removed = list[i]->from.number,
                             .removals = list[i]->from.count,
                             .changed = list[i]->changed,
                             .changes = list[i]->changes,
                             .added = list[i]->build.entry,
                             .additions = list[i]->build.outputs};
    }
    for (uint32_t i = 0; i < count && status == POMAI_OK && PM_MUTANT(FORMER_LIVE_FIRST); i++)
        remove_lives(list[i], true);
    for (uint32_t i = 0; i < count && status == POMAI_OK && PM_MUTANT(SOURCES_REMOVED_FIRST); i++)
        pm_sources_remove(&list[i]->from, db->os);
    if (status == POMAI_OK) status = pm_catalog_edit(db, edits, count, known ? &resolved : NULL, err);
    for (uint32_t i = 0; i < count; i++) {
        if (status != POMAI_OK || edits[i].dropped) {
            if (!db->catalogue_broken) remove_lives(list[i], false); /* else it may name them */
            pm_build_undo(&list[i]->build);
        } else {
            install(list[i]);
            remove_lives(list[i], true);
        }
    }
    pm_free(edits);
    return status;
}

pomai_status pm_flush_colls(pm_db *db, pm_coll **colls, uint32_t count, bool seal, pm_compact_mode with,
                            const pm_coll *only, pomai_error *err)
{
    pomai_status status = pm_catalog_check(db, err); /* before anything is written that could not be installed */
    if (status != POMAI_OK) return status;
    flush **list = pm_calloc(count + 1, sizeof(flush *));
    if (list == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to flush");
    for (uint32_t i = 0; i < count && status == POMAI_OK; i++) {
        list[i] = pm_calloc(1, sizeof *list[i]);
        if (list[i] == NULL) {
            status = pm_fail(err, POMAI_ENOMEM, "no memory to flush");
            break;
        }
        list[i]->db = db;
        list[i]->coll = colls[i];
        list[i]->build.db = db;
        list[i]->build.coll = colls[i];
    }
    if (status == POMAI_OK) status = run(db, list, count, seal, with, only, err);
    if (status == POMAI_OK) atomic_fetch_add_explicit(&db->maintenance.flushes, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < count && list[i] != NULL; i++)
        end(list[i]);
    pm_free(list);
    return status;
}
