/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing views, and looking rows up in their segments: docs/lifecycle.md. */
#include <assert.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

enum { LOOK_AHEAD = 16 };

pm_shown *pm_coll_room(pm_shared *shared, const pm_coll *coll, uint32_t more)
{
    pm_epoch_hold hold = pm_epoch_enter(&shared->epoch);
    const pm_shown *now = atomic_load(&coll->shown);
    pm_shown *room = pm_shown_make(now->shards, now->segments + more);
    if (room != NULL) room->room = now->segments + more;
    pm_epoch_leave(&shared->epoch, hold);
    return room;
}

void pm_coll_publish(pm_shared *shared, pm_coll *coll, pm_shown *next, pm_change_fn change, void *context)
{
    pm_epoch_hold hold = pm_epoch_enter(&shared->epoch); /* the present one must stay while it is copied */
    pm_shown *now = atomic_load(&coll->shown);
    do {
        next->version = now->version;
        next->rows = now->rows;
        next->segments = now->segments;
        assert(now->segments <= next->room);
        memcpy(next->table, now->table, now->shards * sizeof now->table[0]);
        if (now->segments > 0) memcpy(next->segment, now->segment, now->segments * sizeof now->segment[0]);
        change(context, next);
    } while (!atomic_compare_exchange_strong(&coll->shown, &now, next));
    pm_epoch_leave(&shared->epoch, hold);
    now->next = atomic_load(&shared->replaced);
    while (!atomic_compare_exchange_weak(&shared->replaced, &now->next, now))
        ;
}

void pm_coll_view(pm_shared *shared, const pm_coll *coll, pm_view *view)
{
    /* The view that is there before and after has every row up to these LSNs, and none that ended at or below them was
     * left out of it that they do not show the end of. */
    do {
        view->shown = atomic_load_explicit(&coll->shown, memory_order_acquire);
        PM_POINT(VIEW_LOADED);
        pm_shards_visible(shared, view->visible);
    } while (atomic_load_explicit(&coll->shown, memory_order_acquire) != view->shown && !PM_MUTANT(VIEW_NOT_RECHECKED));
    view->now = pm_clock_now(shared);
}

/* ---- bounded reads: docs/threads.md, "Showing several at once" ---- */

bool pm_coll_freeze(pm_shared *shared, pm_coll *coll, bool wait)
{
    uint64_t cut[PM_MAX_SHARDS];
    uint32_t nobody = 0;
    while (!atomic_compare_exchange_strong(&coll->freezing, &nobody, 1)) {
        if (!wait) return false;
        shared->os->relax(shared->os);
        nobody = 0;
    }
    const uint64_t freezes = atomic_load_explicit(&coll->freezes, memory_order_relaxed);
    pm_shards_visible(shared, cut); /* no shard's is less than the last time */
    for (uint32_t s = 0; s < shared->shards; s++)
        atomic_store_explicit(&coll->shard[s].frozen[(freezes + 1) & 1], cut[s], memory_order_release);
    atomic_store_explicit(&coll->freezes, freezes + 1, memory_order_release);
    atomic_store_explicit(&coll->freezing, 0, memory_order_release);
    return true;
}

void pm_coll_bound(const pm_shared *shared, const pm_coll *coll, pm_view *view)
{
    uint64_t frozen[PM_MAX_SHARDS], freezes;
    do {
        freezes = atomic_load_explicit(&coll->freezes, memory_order_acquire);
        for (uint32_t s = 0; s < shared->shards; s++)
            frozen[s] = atomic_load_explicit(&coll->shard[s].frozen[freezes & 1], memory_order_acquire);
    } while (atomic_load_explicit(&coll->freezes, memory_order_acquire) != freezes && !PM_MUTANT(FROZEN_NOT_RECHECKED));
    for (uint32_t s = 0; s < shared->shards; s++)
        view->visible[s] = pm_min_u64(view->visible[s], frozen[s]);
}

/* ---- counting: docs/threads.md ---- */

void pm_tally_add(pm_coll_shard *own, uint64_t lsn, int64_t rows)
{
    const uint64_t last = atomic_load_explicit(&own->tallies, memory_order_relaxed);
    pm_tally *to = &own->tally[(last + 1) % PM_TALLIES];
    rows += atomic_load_explicit(&own->tally[last % PM_TALLIES].rows, memory_order_relaxed);
    /* Who reads either of these sees that the tally which was there before is long out of date. */
    atomic_store_explicit(&to->lsn, lsn, memory_order_release);
    atomic_store_explicit(&to->rows, rows, memory_order_release);
    atomic_store_explicit(&own->tallies, last + 1, memory_order_release);
}

/* As of `visible`, which was loaded before; false: others have been shown since. */
static bool tally_at(const pm_coll_shard *own, uint64_t visible, int64_t *rows)
{
    const uint64_t last = atomic_load_explicit(&own->tallies, memory_order_acquire);
    for (uint64_t back = 0; back < 2 && back <= last; back++) { /* the last may not be shown yet */
        const pm_tally *from = &own->tally[(last - back) % PM_TALLIES];
        const uint64_t lsn = atomic_load_explicit(&from->lsn, memory_order_acquire);
        *rows = atomic_load_explicit(&from->rows, memory_order_acquire);
        if (atomic_load_explicit(&own->tallies, memory_order_relaxed) > last + 1) return false; /* written over */
        if (lsn <= visible || PM_MUTANT(COUNT_SEES_AHEAD)) return true;
    }
    return false;
}

void pm_coll_view_counted(pm_shared *shared, const pm_coll *coll, pm_view *view, int64_t *rows)
{
    bool counted;
    do {
        view->shown = atomic_load_explicit(&coll->shown, memory_order_acquire);
        *rows = view->shown->rows;
        pm_shards_visible(shared, view->visible);
        counted = true;
        for (uint32_t i = 0; i < shared->shards && counted; i++) {
            int64_t more;
            counted = tally_at(&coll->shard[i], view->visible[i], &more);
            *rows += more;
        }
    } while (!counted || atomic_load_explicit(&coll->shown, memory_order_acquire) != view->shown);
    view->now = pm_clock_now(shared);
}

/* ---- the clock ---- */

void pm_clock_at_least(pm_shared *shared, uint64_t ns)
{
    uint64_t clock = atomic_load_explicit(&shared->clock, memory_order_relaxed);
    while (clock < ns && !atomic_compare_exchange_weak(&shared->clock, &clock, ns))
        ;
}

uint64_t pm_clock_now(pm_shared *shared)
{
    const uint64_t wall = shared->os->wall_ns(shared->os);
    pm_clock_at_least(shared, wall);
    return PM_MUTANT(CLOCK_GOES_BACK) ? wall : atomic_load_explicit(&shared->clock, memory_order_relaxed);
}

/* ---- carrying ends over ---- */

void pm_carry_end(const pm_carry *carry, uint64_t place, uint64_t lsn)
{
    const uint32_t row = carry->place[place];
    if (row == PM_NO_ROW) return;
    uint32_t i = 0;
    while (row >= carry->to_first[i + 1])
        i++;
    /* What it went to may itself have been replaced since: who holds an old view may be two moves behind. */
    if (PM_MUTANT(CARRY_ONE_FAR))
        (void)pm_segment_end(carry->to[i], row - carry->to_first[i], lsn);
    else
        (void)pm_end_in_segment(carry->to[i], (uint32_t)(row - carry->to_first[i]), lsn);
}

static void carry_chunk_end(pm_forward *forward, uint64_t chunk, uint32_t row, uint64_t lsn)
{
    const pm_carry *carry = (const pm_carry *)(const void *)forward;
    pm_carry_end(carry, carry->first[chunk] + row, lsn);
}

void pm_carry_init(pm_carry *carry)
{
    carry->forward.end = carry_chunk_end;
}

bool pm_end_in_segment(pm_segment *segment, uint32_t row, uint64_t lsn)
{
    if (!pm_segment_end(segment, row, lsn)) return false;
    /* Sequentially consistent, like the bit that was just set: whoever replaces the segment sees one or the other. */
    const pm_carry *carry = atomic_load(pm_segment_forward(segment));
    if (carry != NULL && !PM_MUTANT(CARRY_FORGETS)) pm_carry_end(carry, row, lsn);
    return true;
}

/* ---- looking up ---- */

pomai_status pm_find_live(const pm_shown *shown, const pm_id *id, uint64_t hash, uint64_t *hint, pomai_error *err)
{
    *hint = 0;
    for (uint32_t i = shown->segments; i-- > 0;) {
        if (!pm_segment_may_have(shown->segment[i], hash)) continue;
        uint32_t row;
        pomai_status status = pm_segment_find(shown->segment[i], id, hash, PM_NO_END - 1, &row, err);
        if (status != POMAI_OK) return status;
        if (row == PM_NO_ROW) continue;
        *hint = (uint64_t)(i + 1) << 32 | row;
        return POMAI_OK;
    }
    return POMAI_OK;
}

static void id_of(const pm_batch *batch, uint32_t row, pm_id *id)
{
    memset(id, 0, sizeof *id);
    if (batch->string_ids != NULL) {
        id->bytes = batch->string_ids[row].data;
        id->size = (uint32_t)batch->string_ids[row].size;
    } else {
        id->u64 = batch->u64_ids[row];
    }
}

static pomai_status look_up_all(const pm_shared *shared, const pm_shown *shown, pm_batch *batch, pomai_error *err)
{
    const uint64_t seed = shared->segment_seed;
    uint64_t hash[LOOK_AHEAD];
    pm_id id;
    for (uint32_t first = 0; first < batch->rows; first += LOOK_AHEAD) {
        const uint32_t n = (uint32_t)pm_min_u64(LOOK_AHEAD, batch->rows - first);
        for (uint32_t i = 0; i < n; i++) {
            id_of(batch, first + i, &id);
            hash[i] = pm_id_hash(&id, seed);
            for (uint32_t s = 0; s < shown->segments; s++)
                pm_segment_prefetch(shown->segment[s], hash[i]);
        }
        for (uint32_t i = 0; i < n; i++) {
            id_of(batch, first + i, &id);
            pomai_status status = pm_find_live(shown, &id, hash[i], &batch->hints[first + i], err);
            if (status != POMAI_OK) return status;
        }
    }
    return POMAI_OK;
}

static bool all_new(const pm_batch *batch, uint64_t next_id)
{
    if (batch->u64_ids == NULL) return false;
    if (next_id == UINT64_MAX) return false; /* or the largest there is */
    for (uint32_t i = 0; i < batch->rows; i++)
        if (batch->u64_ids[i] < next_id) return false;
    return true;
}

pomai_status pm_batch_look_up(pm_shared *shared, pm_batch *batch, pomai_error *err)
{
    /* Assigned: no segment has them, unless another client gave one that large; the actor sees which. */
    if (batch->u64_ids == NULL && batch->string_ids == NULL) return POMAI_OK;
    pomai_status status = POMAI_OK;
    pm_epoch_hold hold = pm_epoch_enter(&shared->epoch);
    const pm_shown *shown = atomic_load(&batch->coll->shown);
    /* In this order: an id that got into a segment was noted before. */
    if (shown->segments > 0 && !all_new(batch, atomic_load(&batch->coll->next_id))) {
        batch->hints = pm_malloc(batch->rows * sizeof *batch->hints);
        if (batch->hints == NULL)
            status = pm_fail(err, POMAI_ENOMEM, "no memory to look up %u ids", batch->rows);
        else
            status = look_up_all(shared, shown, batch, err);
    }
    batch->looked_up = shown->version;
    pm_epoch_leave(&shared->epoch, hold);
    return status;
}
