/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Showing batches of several parts, each at one moment: docs/threads.md, "Showing several at once". Invariants:
 *  1. No cut that readers see has a part of a batch and not another.
 *  2. Of tallies at most one a collection and shard is ahead of what readers see.
 *  3. A batch is not touched once the last of its parts was given back; a record not once it is flipped.
 */
#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

enum { MOST_ROUNDS = 64 };

/* Of each shard the places of pending records from which, and before which, they are to be shown. */
typedef struct prefix {
    uint64_t from[PM_MAX_SHARDS], end[PM_MAX_SHARDS];
} prefix;

static const pm_pending *pending_at(const pm_shard *shard, uint64_t place)
{
    return &shard->pending[place & shard->pending_mask];
}

/* All that is held; false: nothing is. */
static bool take_held(const pm_shared *shared, prefix *p)
{
    bool any = false;
    for (uint32_t s = 0; s < shared->shards; s++) {
        const pm_shard *shard = shared->shard[s];
        /* In this order: of a shard of which nothing is held its actor raises both, `flipped` first. */
        const uint64_t ready = atomic_load(&shard->ready);
        p->from[s] = atomic_load(&shard->flipped);
        p->end[s] = (int64_t)(ready - p->from[s]) > 0 ? ready : p->from[s];
        any |= p->end[s] != p->from[s];
    }
    return any;
}

static bool is_within(const pm_batch *batch, const prefix *p)
{
    if (atomic_load_explicit(&batch->unready, memory_order_acquire) != 0) return false;
    for (uint32_t i = 0; i < batch->parts && !PM_MUTANT(FLIP_IN_PART); i++)
        if (batch->part[i].place >= p->end[batch->part[i].shard]) return false;
    return true;
}

/* Cuts a shard off before the first batch that is not within the prefixes as a whole. */
static bool cut_off(const pm_shard *shard, prefix *p)
{
    uint64_t *end = &p->end[shard->index];
    for (uint64_t i = p->from[shard->index]; i != *end; i++) {
        const pm_pending *held = pending_at(shard, i);
        const pm_part *part = held->part;
        if (part == NULL || (held->refused && !PM_MUTANT(REFUSED_NEVER_READY)) || part->batch->parts == 1 ||
            is_within(part->batch, p))
            continue;
        *end = i;
        return true;
    }
    return false;
}

/* One tally for all of them, of each collection. */
static void tally(const pm_shard *shard, uint64_t from, uint64_t end)
{
    const uint64_t lsn = pending_at(shard, end - 1)->lsn;
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = from; i != end; i++) {
            const pm_pending *held = pending_at(shard, i);
            if (held->more == 0) continue;
            pm_coll_shard *own = &held->part->batch->coll->shard[shard->index];
            if (pass == 0) own->untallied += held->more;
            if (pass == 0 || own->untallied == 0) continue;
            pm_tally_add(own, lsn, own->untallied);
            own->untallied = 0;
        }
    }
}

static void give_back(pm_shared *shared, pm_shard *shard, uint64_t from, uint64_t end)
{
    for (uint64_t i = from; i != end; i++) {
        const pm_pending *held = pending_at(shard, i);
        if (held->part != NULL) pm_batch_part_done(shared, held->part);
    }
    /* Sequentially consistent, as the owner's accesses: it sees them flipped, or we see that it waits, or what it put
     * behind them. */
    atomic_store(&shard->flipped, end);
    if (atomic_load(&shard->waits)) pm_task_wake(&shard->actor);
}

/* false: there was nothing that can be shown. */
static bool flip(pm_shared *shared)
{
    prefix p;
    bool any = false, less = true;
    if (!take_held(shared, &p)) return false;
    while (less) {
        less = false;
        for (uint32_t s = 0; s < shared->shards; s++)
            less |= cut_off(shared->shard[s], &p);
    }
    for (uint32_t s = 0; s < shared->shards; s++)
        any |= p.end[s] != p.from[s];
    if (!any) return false;
    const uint64_t flips = atomic_load_explicit(&shared->flips, memory_order_relaxed);
    const _Atomic uint64_t *in_use = shared->cut[flips & 1];
    _Atomic uint64_t *next = shared->cut[(flips + 1) & 1];
    for (uint32_t s = 0; s < shared->shards; s++) {
        uint64_t lsn = atomic_load_explicit(&in_use[s], memory_order_relaxed);
        if (p.end[s] != p.from[s]) {
            tally(shared->shard[s], p.from[s], p.end[s]);
            lsn = pending_at(shared->shard[s], p.end[s] - 1)->lsn;
        }
        /* release: who reads it finds that the other place came into use */
        atomic_store_explicit(&next[s], lsn, memory_order_release);
    }
    PM_POINT(ROWS_COUNTED);
    atomic_store_explicit(&shared->flips, flips + 1, memory_order_release);
    PM_POINT(ROWS_SHOWN);
    for (uint32_t s = 0; s < shared->shards; s++)
        if (p.end[s] != p.from[s]) give_back(shared, shared->shard[s], p.from[s], p.end[s]);
    return true;
}

/* Leaves the rest to the first shard's actor; false: that may have ended. Sequentially consistent: it looks once more
 * after it has seen that the database is being closed, or we see that, too. */
static bool leave_rest(pm_shared *shared)
{
    atomic_store(&shared->flip_left, true);
    pm_task_wake(&shared->shard[0]->actor);
    return !atomic_load(&shared->closing) || !atomic_exchange(&shared->flip_left, false) ||
           PM_MUTANT(FLIP_LEFT_TO_NOBODY);
}

void pm_flip(pm_shared *shared)
{
    int rounds = 0;
    atomic_fetch_add(&shared->flip_wanted, 1);
    for (;;) {
        uint32_t nobody = 0;
        if (!atomic_compare_exchange_strong(&shared->shower, &nobody, 1)) return; /* who has the role looks again */
        const uint64_t seen = atomic_load(&shared->flip_wanted);
        while (rounds < MOST_ROUNDS && flip(shared))
            rounds++;
        atomic_store(&shared->shower, 0);
        if (rounds < MOST_ROUNDS) {
            if (atomic_load(&shared->flip_wanted) == seen || PM_MUTANT(FLIP_LOOKS_ONCE)) return;
        } else { /* a caller that waits for its own batch does not serve all others for ever */
            if (leave_rest(shared)) return;
            rounds = 0;
        }
    }
}

/* ---- readers ---- */

static uint64_t shown(const pm_shared *shared, uint32_t shard, uint64_t flips)
{
    return pm_max_u64(pm_shard_shown_alone(shared->shard[shard]),
                      atomic_load_explicit(&shared->cut[flips & 1][shard], memory_order_acquire));
}

static bool is_same_flip(const pm_shared *shared, uint64_t flips)
{
    return atomic_load_explicit(&shared->flips, memory_order_acquire) == flips || PM_MUTANT(CUT_NOT_RECHECKED);
}

void pm_shards_visible(const pm_shared *shared, uint64_t *visible)
{
    uint64_t flips;
    bool same;
    do {
        flips = atomic_load_explicit(&shared->flips, memory_order_acquire);
        for (uint32_t s = 0; s < shared->shards; s++)
            visible[s] = shown(shared, s, flips);
        /* They only grow: those that are the same twice were all so in between, at one moment. */
        same = true;
        for (uint32_t s = 0; s < shared->shards && shared->shards > 1 && !PM_MUTANT(MOMENTS_DIFFER); s++)
            same &= shown(shared, s, flips) == visible[s];
    } while (!same || !is_same_flip(shared, flips));
}

uint64_t pm_shard_visible(const pm_shard *shard)
{
    uint64_t flips, visible;
    do {
        flips = atomic_load_explicit(&shard->shared->flips, memory_order_acquire);
        visible = shown(shard->shared, shard->index, flips);
    } while (!is_same_flip(shard->shared, flips));
    return visible;
}
