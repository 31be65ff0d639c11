/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: counted by their parts and their caller, decided once. Invariants:
 *  1. A batch is acknowledged only after every part is durable at its level and shown in its shard.
 *  2. Nothing refers to the caller's memory once the batch is done.
 *  3. Nothing is sent unless there is room for every part.
 */
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

enum { WORD_UNDER_WAY = 0, WORD_SLEEPER = 1, WORD_DONE = 2 };

/* ---- histogram ---- */

void pm_hist_add(pm_hist *hist, uint64_t ns)
{
    if (ns < 4) ns = 4;
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t bucket = (octave - 2) * 4 + (uint32_t)(ns >> (octave - 2) & 3);
    if (bucket >= PM_HIST_BUCKETS) bucket = PM_HIST_BUCKETS - 1;
    atomic_fetch_add_explicit(&hist->bucket[bucket], 1, memory_order_relaxed);
}

uint64_t pm_hist_quantile(const pm_hist *hist, double quantile, uint64_t *count)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < PM_HIST_BUCKETS; i++)
        total += atomic_load_explicit(&hist->bucket[i], memory_order_relaxed);
    if (count != NULL) *count = total;
    if (total == 0) return 0;
    uint64_t rank = (uint64_t)((double)total * quantile);
    if (rank >= total) rank = total - 1;
    for (uint32_t i = 0; i < PM_HIST_BUCKETS; i++) {
        seen += atomic_load_explicit(&hist->bucket[i], memory_order_relaxed);
        if (seen > rank) return (uint64_t)(4 + (i & 3) + 1) << (i / 4);
    }
    return 0;
}

/* ---- stopping ---- */

void pm_stop(pm_shared *shared, const pomai_error *error)
{
    uint32_t running = 0;
    if (PM_MUTANT(STOP_FORGOTTEN)) return;
    if (!atomic_compare_exchange_strong(&shared->stopped, &running, 1)) return;
    shared->stop_error = *error;
    atomic_store(&shared->stopped, 2);
    for (uint32_t i = 0; i < shared->shards; i++) {
        pm_task_wake(&shared->shard[i]->actor);
        atomic_fetch_add(&shared->shard[i]->room_word, 1);
        shared->os->word_wake(shared->os, &shared->shard[i]->room_word);
        atomic_fetch_add(&shared->shard[i]->sync_word, 1);
        shared->os->word_wake(shared->os, &shared->shard[i]->sync_word);
    }
}

pomai_status pm_stopped_error(const pm_shared *shared, pomai_error *err)
{
    if (atomic_load(&shared->stopped) != 2)
        return pm_fail(err, POMAI_ESTOPPED, "writing stopped after an error in a log; close and reopen the database");
    pm_fail(err, POMAI_ESTOPPED, "writing stopped after an error; close and reopen the database; the error was: %.380s",
            shared->stop_error.message);
    if (err != NULL) err->os_errno = shared->stop_error.os_errno;
    return POMAI_ESTOPPED;
}

/* ---- pool ---- */

pm_batch *pm_batch_take(pm_shared *shared, uint32_t parts)
{
    pm_batch *batch = NULL;
    uint64_t mask = atomic_load_explicit(&shared->pool_free, memory_order_relaxed);
    int slot = -1;
    while (mask != 0) {
        slot = __builtin_ctzll(mask);
        /* acquire: what the last user of the slot wrote happened before our reuse */
        if (atomic_compare_exchange_weak_explicit(&shared->pool_free, &mask, mask & ~((uint64_t)1 << slot),
                                                  memory_order_acquire, memory_order_relaxed)) {
            batch = &shared->pool[slot];
            break;
        }
        slot = -1;
    }
    if (batch == NULL) batch = pm_malloc(sizeof *batch);
    if (batch == NULL) return NULL;
    memset(batch, 0, sizeof *batch);
    batch->pool_slot = slot;
    batch->part = batch->inline_part;
    if (parts > PM_INLINE_PARTS) batch->part = pm_calloc(parts, sizeof *batch->part);
    batch->parts = parts;
    atomic_init(&batch->holders, 1);
    if (batch->part == NULL) {
        pm_batch_drop(shared, batch);
        return NULL;
    }
    for (uint32_t i = 0; i < parts; i++) {
        batch->part[i].batch = batch;
        batch->part[i].number = i;
    }
    return batch;
}

void pm_batch_drop(pm_shared *shared, pm_batch *batch)
{
    if (atomic_fetch_sub_explicit(&batch->holders, 1, memory_order_acq_rel) != 1) return;
    if (batch->part != batch->inline_part) pm_free(batch->part);
    pm_free(batch->index);
    pm_free(batch->hints);
    pm_free(batch->converted);
    pm_free(batch->encoded);
    int slot = batch->pool_slot;
    if (slot < 0)
        pm_free(batch);
    else
        atomic_fetch_or_explicit(&shared->pool_free, (uint64_t)1 << slot,
                                 PM_MUTANT_ORDER(POOL_RELAXED, memory_order_release));
}

/* ---- admission ---- */

static bool take_credit(pm_shard *shard)
{
    int32_t free_slots = atomic_load(&shard->credits);
    while (free_slots > 0)
        if (atomic_compare_exchange_weak(&shard->credits, &free_slots, free_slots - 1)) return true;
    return false;
}

static void give_credit(pm_shared *shared, pm_shard *shard)
{
    atomic_fetch_add(&shard->credits, 1);
    if (atomic_load(&shard->room_waiters) == 0 || PM_MUTANT(ROOM_NOT_TOLD)) return;
    atomic_fetch_add(&shard->room_word, 1);
    shared->os->word_wake(shared->os, &shard->room_word);
}

/* One credit in every part's shard, or none and the shard that had no room. */
static pm_shard *reserve_all(pm_shared *shared, const pm_batch *batch)
{
    for (uint32_t i = 0; i < batch->parts; i++) {
        pm_shard *shard = shared->shard[batch->part[i].shard];
        if (take_credit(shard)) continue;
        while (i-- > 0 && !PM_MUTANT(CREDITS_KEPT))
            give_credit(shared, shared->shard[batch->part[i].shard]);
        return shard;
    }
    return NULL;
}

/* More parts in one shard than it has slots would wait for ever. */
static pomai_status fits_mailboxes(const pm_shared *shared, const pm_batch *batch, pomai_error *err)
{
    if (batch->parts <= shared->mailbox_slots) return POMAI_OK;
    uint32_t count[PM_MAX_SHARDS] = {0};
    for (uint32_t i = 0; i < batch->parts; i++)
        if (++count[batch->part[i].shard] > shared->mailbox_slots)
            return pm_fail(err, POMAI_ETOOBIG,
                           "the batch has more parts for shard %u than its %u mailbox slots; split it",
                           batch->part[i].shard, shared->mailbox_slots);
    return POMAI_OK;
}

static void claim(pm_shard *shard, pm_part *part)
{
    part->place = atomic_fetch_add_explicit(&shard->tail, 1, memory_order_relaxed);
}

/* Two batches lie in all mailboxes, and so in all logs, in the same order: else one shard would end with the rows of
 * the one, and another with those of the other. */
static void claim_all(pm_shared *shared, pm_batch *batch)
{
    uint32_t nobody = 0;
    const bool several = batch->parts > 1 && !PM_MUTANT(CLAIMED_APART);
    while (several && !atomic_compare_exchange_strong(&shared->claiming, &nobody, 1)) {
        shared->os->relax(shared->os);
        nobody = 0;
    }
    for (uint32_t i = 0; i < batch->parts; i++)
        claim(shared->shard[batch->part[i].shard], &batch->part[i]);
    if (several) atomic_store_explicit(&shared->claiming, 0, memory_order_release);
}

static void fill(pm_shard *shard, pm_part *part)
{
    /* A credit is held, so a cell is free or about to be: the consumer has taken its part out already. */
    const uint64_t mask = shard->pending_mask >> 1, at = part->place;
    pm_cell *cell = &shard->cell[at & mask];
    while (atomic_load_explicit(&cell->sequence, memory_order_acquire) != at)
        shard->shared->os->relax(shard->shared->os);
    cell->part = part;
    atomic_store_explicit(&cell->sequence, at + 1, PM_MUTANT_ORDER(CELL_RELAXED, memory_order_release));
}

static int32_t parts_in(const pm_batch *batch, uint32_t shard)
{
    int32_t count = 0;
    for (uint32_t i = 0; i < batch->parts; i++)
        count += batch->part[i].shard == shard;
    return count;
}

pomai_status pm_batch_admit(pm_shared *shared, pm_batch *batch, uint64_t until_ns, pomai_error *err)
{
    const pm_os *os = shared->os;
    pomai_status status = fits_mailboxes(shared, batch, err);
    if (status != POMAI_OK) return status;
    for (;;) {
        if (pm_stopped(shared)) return pm_stopped_error(shared, err);
        pm_shard *full = reserve_all(shared, batch);
        if (full == NULL) return POMAI_OK;
        if (until_ns == 0)
            return pm_fail(err, POMAI_EBUSY,
                           "shard %u has %u writes under way and takes no more; nothing was done: try again, or "
                           "give a deadline",
                           full->index, shared->mailbox_slots);
        if (until_ns != PM_FOREVER && os->now_ns(os) >= until_ns)
            return pm_fail(err, POMAI_EDEADLINE, "shard %u had no room before the deadline; nothing was done",
                           full->index);
        atomic_fetch_add(&full->room_waiters, 1);
        uint32_t seen = atomic_load(&full->room_word);
        if (atomic_load(&full->credits) < parts_in(batch, full->index) && !pm_stopped(shared))
            os->word_wait(os, &full->room_word, seen, until_ns);
        atomic_fetch_sub(&full->room_waiters, 1);
    }
}

/* Before the id is taken; pm_batches_resolved counts on it. */
static uint32_t enter_several(pm_shared *shared)
{
    for (;;) {
        const uint64_t generation = atomic_load(&shared->several_generation);
        const uint32_t side = generation & 1;
        atomic_fetch_add(&shared->several[side], 1);
        if (atomic_load(&shared->several_generation) == generation) return side;
        atomic_fetch_sub(&shared->several[side], 1);
    }
}

uint64_t pm_batches_resolved(pm_shared *shared)
{
    const pm_os *os = shared->os;
    const uint64_t next = atomic_load(&shared->batch_sequence);
    const uint64_t generation = atomic_load(&shared->several_generation);
    for (int side = 1; side >= 0; side--) { /* the other side is empty but for who counts and looks again */
        while (atomic_load(&shared->several[(generation + (uint64_t)side) & 1]) != 0 && !PM_MUTANT(RESOLVED_TOO_HIGH)) {
            _Atomic uint32_t nobody = 0;
            os->word_wait(os, &nobody, 0, os->now_ns(os) + PM_RETRY_NS);
        }
        if (side == 1) atomic_store(&shared->several_generation, generation + 1);
    }
    return shared->open_counter << 40 | (next - 1);
}

void pm_batch_send(pm_shared *shared, pm_batch *batch, bool help)
{
    batch->admitted_ns = shared->os->now_ns(shared->os);
    if (batch->parts > 1) batch->side = enter_several(shared);
    /* release: who reads the next id finds this batch counted among several */
    batch->id =
        shared->open_counter << 40 | atomic_fetch_add_explicit(&shared->batch_sequence, 1, memory_order_release);
    atomic_store_explicit(&batch->undurable, batch->parts, memory_order_relaxed);
    atomic_store_explicit(&batch->unready, batch->parts, memory_order_relaxed);
    atomic_store_explicit(&batch->unapplied, batch->parts, memory_order_relaxed);
    atomic_fetch_add_explicit(&batch->holders, batch->parts - PM_MUTANT(BATCH_FREED_EARLY), memory_order_relaxed);
    claim_all(shared, batch);
    /* Once all parts are sent it may be over at any time; the caller holds it. */
    for (uint32_t i = 0; i < batch->parts; i++) {
        fill(shared->shard[batch->part[i].shard], &batch->part[i]);
        PM_POINT(PART_SENT);
    }
    /* The caller helps with the last part; the shards of the others run side by side with it. */
    for (uint32_t i = 0; i < batch->parts; i++) {
        pm_shard *shard = shared->shard[batch->part[i].shard];
        if (help && i + 1 == batch->parts) {
            int held = shared->os->thread_hold(shared->os);
            pm_shard_help(shard, batch);
            shared->os->thread_let_go(shared->os, held);
        } else {
            pm_task_wake(&shard->actor);
        }
    }
}

/* ---- deciding ---- */

static void wake_others(pm_shared *shared, const pm_batch *batch, uint32_t self)
{
    for (uint32_t i = 0; i < batch->parts; i++)
        if (batch->part[i].shard != self) pm_task_wake(&shared->shard[batch->part[i].shard]->actor);
}

void pm_batch_fail(pm_shared *shared, pm_batch *batch, pm_outcome outcome, const pomai_error *error, uint32_t self)
{
    uint32_t pending = PM_PENDING;
    if (!atomic_compare_exchange_strong(&batch->outcome, &pending, outcome)) return;
    batch->error = *error; /* read after the last part is done, which comes after ours */
    wake_others(shared, batch, self);
}

void pm_batch_part_durable(pm_shared *shared, pm_batch *batch, uint32_t self)
{
    if (atomic_fetch_sub_explicit(&batch->undurable, 1, memory_order_acq_rel) != 1) return;
    uint32_t pending = PM_PENDING;
    if (!atomic_compare_exchange_strong(&batch->outcome, &pending, PM_DECIDED)) return;
    PM_POINT(BATCH_DECIDED);
    if (batch->parts > 1) wake_others(shared, batch, self);
}

void pm_batch_part_done(pm_shared *shared, pm_part *part)
{
    pm_batch *batch = part->batch;
    if (!PM_MUTANT(REFUSED_KEEPS_CREDIT) || atomic_load(&batch->outcome) != PM_REFUSED)
        give_credit(shared, shared->shard[part->shard]); /* first: whoever learns of the end finds the room */
    if (atomic_fetch_sub_explicit(&batch->unapplied, 1, memory_order_acq_rel) == 1) {
        if (atomic_load(&batch->outcome) == PM_DECIDED)
            pm_hist_add(&shared->put_latency, shared->os->now_ns(shared->os) - batch->admitted_ns);
        if (batch->parts > 1) atomic_fetch_sub(&shared->several[batch->side], 1);
        if (atomic_exchange(&batch->word, WORD_DONE) == WORD_SLEEPER) shared->os->word_wake(shared->os, &batch->word);
        PM_POINT(BATCH_ACKED);
    }
    pm_batch_drop(shared, batch);
}

bool pm_batch_done(const pm_batch *batch)
{
    return atomic_load(&batch->word) == WORD_DONE;
}

bool pm_batch_wait(pm_shared *shared, pm_batch *batch, uint64_t until_ns)
{
    const pm_os *os = shared->os;
    for (;;) {
        uint32_t word = atomic_load(&batch->word);
        if (word == WORD_DONE) return true;
        if (until_ns != PM_FOREVER && os->now_ns(os) >= until_ns) return false;
        const uint32_t sleeper = PM_MUTANT(WAITER_NOT_NOTED) ? word : WORD_SLEEPER;
        if (word == WORD_UNDER_WAY && !atomic_compare_exchange_strong(&batch->word, &word, sleeper)) continue;
        os->word_wait(os, &batch->word, sleeper, until_ns);
    }
}

static uint64_t put_rows(const pm_batch *batch)
{
    return batch->expected == NULL ? batch->rows : batch->part[0].rows;
}

pomai_status pm_batch_result(const pm_batch *batch, pomai_ack *ack, pomai_error *err)
{
    uint32_t outcome = atomic_load(&batch->outcome);
    if (outcome != PM_DECIDED) {
        if (err != NULL) *err = batch->error;
        return batch->error.status;
    }
    if (ack != NULL) {
        memset(ack, 0, sizeof *ack);
        ack->stamp_ns = batch->stamp;
        ack->first_id = batch->first_id;
        ack->rows = batch->op == PM_OP_PUT ? put_rows(batch) : atomic_load(&batch->rows_there);
        ack->lsn = batch->part[0].lsn;
        ack->shard = batch->part[0].shard;
        ack->parts = batch->parts;
        ack->level = atomic_load(&batch->unsynced) ? batch->level : POMAI_DURABILITY_SYNC;
    }
    return POMAI_OK;
}
