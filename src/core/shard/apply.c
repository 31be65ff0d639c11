/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applying decided records, and rotating memtables: what the actor does for docs/lifecycle.md. Invariants:
 *  1. A row's end is stored by the actor of its shard only, wherever the row lies, before the ending record is shown.
 *  2. A frozen memtable has every record of its collection up to the LSN at which it was rotated, and none above.
 */
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

/* What ends versions that are older than the active memtable. */
typedef struct search {
    pm_shard *shard;
    pm_coll *coll;
    const pm_part *part; /* NULL: replay */
    const pm_shown *shown;
    uint64_t largest; /* u64 id in any of its segments, once `bounded` */
    bool bounded;
} search;

/* Assigned ids, which nobody looks up before, nearly always are. */
static bool above_segments(search *s, const pm_id *id)
{
    if (id->bytes != NULL) return false;
    for (uint32_t i = 0; i < s->shown->segments && !s->bounded; i++)
        s->largest = pm_max_u64(s->largest, pm_segment_max_id(s->shown->segment[i]));
    s->bounded = true;
    return id->u64 > s->largest;
}

/* The caller's thread looked already, in the same segments: a segment's rows never come to life again. */
static bool hinted(const search *s, uint32_t row, uint64_t *hint)
{
    if (s->part == NULL || s->part->batch->looked_up != s->shown->version) return false;
    const uint64_t *hints = s->part->batch->hints;
    *hint = hints == NULL ? 0 : hints[s->part->index != NULL ? s->part->index[row] : s->part->first + row];
    return true;
}

static bool end_older(void *context, const pm_id *id, uint32_t row, uint64_t lsn)
{
    search *s = context;
    pm_shared *shared = s->shard->shared;
    pm_memtable *frozen = s->shown->table[s->shard->index].frozen;
    if (frozen != NULL && pm_memtable_end(frozen, id, lsn)) return true;
    uint64_t hint;
    if (s->shown->segments == 0 || PM_MUTANT(SEGMENTS_NOT_ENDED)) return false;
    if (!hinted(s, row, &hint)) {
        pomai_error error;
        if (above_segments(s, id)) return false;
        if (pm_find_live(s->shown, id, pm_id_hash(id, shared->segment_seed), &hint, &error) != POMAI_OK) {
            pm_stop(shared, &error); /* the record is in the log; which row it ends cannot be known now */
            return false;
        }
    }
    if (hint == 0) return false;
    return pm_end_in_segment(s->shown->segment[(hint >> 32) - 1], (uint32_t)hint, lsn);
}

uint64_t pm_shard_apply(pm_shard *shard, pm_coll *coll, const pm_part *part, pm_chunk *chunk,
                        const pm_rec_header *record, uint64_t bytes, int64_t *more)
{
    pm_shared *shared = shard->shared;
    pm_coll_shard *own = &coll->shard[shard->index];
    search s = {.shard = shard, .coll = coll, .part = part};
    const pm_older older = {end_older, &s};
    uint64_t ended = 0;
    const bool counts =
        !atomic_load(&coll->dropped) || PM_MUTANT(DROPPED_COUNTS); /* else nothing would ever flush it */
    if (counts) pm_memtable_note(own->table, record->lsn, bytes);
    if (chunk != NULL && chunk->fresh_range) { /* its ids are above all before: there is nothing older */
        ended = pm_memtable_apply(own->table, chunk, NULL);
    } else {
        pm_epoch_hold hold = pm_epoch_enter(&shared->epoch);
        s.shown = atomic_load_explicit(&coll->shown, memory_order_acquire);
        PM_POINT(VIEW_TO_END_IN);
        if (chunk != NULL)
            ended = pm_memtable_apply(own->table, chunk, &older);
        else
            ended = pm_memtable_end_all(own->table, record, (const uint8_t *)(record + 1), &older);
        pm_epoch_leave(&shared->epoch, hold);
    }
    *more = (chunk != NULL ? (int64_t)record->rows : 0) - (int64_t)ended;
    own->thawed += record->rows;
    const uint64_t there = chunk == NULL ? ended : 0;
    if (!counts) return there;
    const uint64_t before = atomic_fetch_add_explicit(&shared->unflushed, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&shared->taken, bytes, memory_order_relaxed);
    if (shared->maintenance != NULL && before < shared->flush_bytes && before + bytes >= shared->flush_bytes)
        pm_task_wake(shared->maintenance);
    return there;
}

/* ---- rotating ---- */

typedef struct rotation {
    uint32_t shard;
    pm_memtable *fresh;
} rotation;

static void freeze(void *context, pm_shown *next)
{
    const rotation *r = context;
    pm_shown_tables *t = &next->table[r->shard];
    t->frozen = t->active;
    t->active = r->fresh;
}

static bool pending_of(const pm_pending *p, const pm_coll *coll)
{
    return p->chunk != NULL && p->part->batch->coll == coll;
}

/* Reserves in the new memtable what is encoded and not applied yet. */
static bool reserve_pending(const pm_shard *shard, const pm_coll *coll, pm_memtable *fresh, pm_chunk **moved)
{
    size_t n = 0;
    for (uint64_t i = shard->unapplied; i != shard->pending_end; i++) {
        const pm_pending *p = &shard->pending[i & shard->pending_mask];
        if (!pending_of(p, coll)) continue;
        pm_id_bounds bounds;
        pm_id_bounds_of(p->record, (const uint8_t *)(p->record + 1), &bounds);
        moved[n] = pm_memtable_move(fresh, p->chunk, &bounds);
        if (moved[n++] == NULL) return false;
    }
    return true;
}

static void move_pending(pm_shard *shard, const pm_coll *coll, pm_chunk *const *moved)
{
    size_t n = 0;
    for (uint64_t i = shard->unapplied; i != shard->pending_end; i++) {
        pm_pending *p = &shard->pending[i & shard->pending_mask];
        if (pending_of(p, coll)) p->chunk = moved[n++];
    }
}

/* All or nothing. */
static pomai_status rotate(pm_shard *shard, pm_coll *coll)
{
    pm_shared *shared = shard->shared;
    pm_coll_shard *own = &coll->shard[shard->index];
    shard->rotate_lsn = shard->applied_lsn;
    if (PM_MUTANT(UNDECIDED_FLUSHED)) shard->rotate_lsn = shard->end.lsn;
    shard->rotate_frozen = NULL;
    if (pm_memtable_first_lsn(own->table) == 0) return POMAI_OK; /* nothing of it was applied */
    rotation r = {shard->index, pm_memtable_make(coll->id_kind, shared->hash_seed, pm_memtable_largest_id(own->table))};
    pm_chunk **moved = pm_calloc(shard->pending_end - shard->unapplied + 1, sizeof(pm_chunk *));
    pm_memtable_close(own->table, shard->rotate_lsn);
    pm_shown *room = pm_coll_room(shared, coll, 0);
    const bool good = r.fresh != NULL && moved != NULL && room != NULL && reserve_pending(shard, coll, r.fresh, moved);
    if (good) {
        pm_coll_publish(shared, coll, room, freeze, &r);
        move_pending(shard, coll, moved);
        shard->rotate_frozen = own->table;
        own->table = r.fresh;
        own->thawed = 0;
        PM_POINT(TABLE_ROTATED);
    } else {
        pm_memtable_free(r.fresh);
        pm_shown_free(room);
    }
    pm_free(moved);
    return good ? POMAI_OK : POMAI_ENOMEM;
}

static void answered(pm_shard *shard)
{
    atomic_fetch_add(&shard->answer_word, 1);
    shard->shared->os->word_wake(shard->shared->os, &shard->answer_word);
}

void pm_shard_answer(pm_shard *shard)
{
    pm_coll *coll = atomic_load_explicit(&shard->rotate_wanted, memory_order_acquire);
    if (coll != NULL) {
        shard->rotate_status = rotate(shard, coll);
        atomic_store_explicit(&shard->rotate_wanted, NULL, memory_order_release);
        answered(shard);
    }
    const uint64_t wanted = atomic_load(&shard->seal_wanted);
    if (wanted == atomic_load(&shard->seal_done)) return;
    if (!shard->sealing && shard->end.length > PM_WAL_HEADER && !pm_stopped(shard->shared)) {
        shard->sealing = true; /* as if a record did not fit */
        if (!shard->rotate) shard->rotate_least = PM_WAL_HEADER;
        shard->rotate = true;
        return;
    }
    if (shard->rotate && !pm_stopped(shard->shared)) return; /* under way */
    shard->sealing = false;
    atomic_store(&shard->seal_done, wanted);
    answered(shard);
}

/* ---- for maintenance ---- */

pomai_status pm_shard_rotate(pm_shard *shard, pm_coll *coll, uint64_t *lsn, pm_memtable **frozen, pomai_error *err)
{
    pm_shared *shared = shard->shared;
    atomic_store_explicit(&shard->rotate_wanted, coll, memory_order_release);
    pm_task_wake(&shard->actor);
    for (;;) {
        const uint32_t seen = atomic_load(&shard->answer_word);
        if (atomic_load_explicit(&shard->rotate_wanted, memory_order_acquire) == NULL) break;
        shared->os->word_wait(shared->os, &shard->answer_word, seen, PM_FOREVER);
    }
    *lsn = shard->rotate_lsn;
    *frozen = shard->rotate_frozen;
    /* What ended by then may be left out of segments: not before every reader to come sees the end. */
    while (pm_shard_visible(shard) < *lsn) {
        _Atomic uint32_t nobody = 0;
        shared->os->word_wait(shared->os, &nobody, 0, shared->os->now_ns(shared->os) + PM_RETRY_NS);
    }
    if (shard->rotate_status == POMAI_OK) return POMAI_OK;
    return pm_fail(err, POMAI_ENOMEM, "no memory for another memtable of the collection %s", coll->name);
}

pomai_status pm_shard_seal(pm_shard *shard, pomai_error *err)
{
    pm_shared *shared = shard->shared;
    const uint64_t wanted = atomic_fetch_add(&shard->seal_wanted, 1) + 1;
    pm_task_wake(&shard->actor);
    for (;;) {
        const uint32_t seen = atomic_load(&shard->answer_word);
        if (atomic_load(&shard->seal_done) >= wanted) break;
        shared->os->word_wait(shared->os, &shard->answer_word, seen, PM_FOREVER);
    }
    return pm_stopped(shared) ? pm_stopped_error(shared, err) : POMAI_OK;
}

pm_sealed *pm_shard_take_sealed(pm_shard *shard)
{
    return atomic_exchange(&shard->sealed, NULL);
}

void pm_shard_retire(pm_shard *shard, uint64_t from, uint64_t below)
{
    pm_wal_retire(&shard->place, from, below);
}

uint64_t pm_shard_owed(const pm_shard *shard)
{
    return atomic_load(&shard->owed);
}
