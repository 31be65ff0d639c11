/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes with a condition: docs/threads.md. Each row says which version of its id it is about; it is written only if no
 * other is newer when the record gets its place in the log.
 */
#include <string.h>

#include "base/mutant.h"
#include "core/shard/shard_int.h"

/* ---- ids of a batch ---- */

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

static bool same_id(const pm_id *a, const pm_id *b)
{
    if (a->bytes == NULL) return a->u64 == b->u64;
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

uint32_t pm_batch_id_slots(uint32_t rows)
{
    uint32_t slots = 4;
    while (slots < rows * 2)
        slots *= 2;
    return slots;
}

void pm_batch_index_ids(const pm_shared *shared, pm_batch *batch, uint32_t *slots, uint32_t count)
{
    batch->by_id = slots;
    batch->by_id_mask = count - 1;
    for (uint32_t row = 0; row < batch->rows; row++) {
        pm_id id;
        id_of(batch, row, &id);
        uint32_t at = (uint32_t)pm_id_hash(&id, shared->hash_seed) & batch->by_id_mask;
        while (slots[at] != 0)
            at = (at + 1) & batch->by_id_mask;
        slots[at] = row + 1;
    }
}

/* ---- records that are not applied yet ---- */

static void pass_over_id(const pm_shared *shared, const pm_batch *batch, const pm_id *id)
{
    uint32_t at = (uint32_t)pm_id_hash(id, shared->hash_seed) & batch->by_id_mask;
    for (; batch->by_id[at] != 0; at = (at + 1) & batch->by_id_mask) {
        pm_id own;
        id_of(batch, batch->by_id[at] - 1, &own);
        if (!same_id(&own, id)) continue;
        batch->passed_over[batch->by_id[at] - 1] = 1;
        return;
    }
}

/* The rows of the batch whose ids are in a chunk. */
static void pass_over_chunk(const pm_shared *shared, const pm_batch *batch, const pm_chunk *chunk)
{
    pm_id id;
    for (uint32_t row = 0; chunk->ids_are_range && row < batch->rows; row++) {
        id_of(batch, row, &id);
        if (id.u64 - chunk->first_id < chunk->rows) batch->passed_over[row] = 1;
    }
    for (uint32_t row = 0; !chunk->ids_are_range && row < chunk->rows; row++) {
        pm_chunk_id(chunk, row, &id);
        pass_over_id(shared, batch, &id);
    }
}

static void pass_over_pending(const pm_shard *shard, const pm_batch *batch)
{
    for (uint64_t i = shard->unapplied; i != shard->pending_end; i++) {
        const pm_pending *p = &shard->pending[i & shard->pending_mask];
        if (p->part == NULL || p->part->batch->coll != batch->coll || PM_MUTANT(CONDITION_NOT_PENDING)) continue;
        pm_chunk ids; /* of a delete only its id columns are used */
        if (p->chunk == NULL) {
            memset(&ids, 0, sizeof ids);
            ids.rows = p->record->rows;
            pm_chunk_point(&ids, p->record, (const uint8_t *)(p->record + 1), NULL);
        }
        pass_over_chunk(shard->shared, batch, p->chunk != NULL ? p->chunk : &ids);
    }
}

/* ---- versions ---- */

/* The LSN of the newest version that is applied; 0: there is none, or it has an end. */
static pomai_status newest(const pm_shard *shard, const pm_shown *shown, const pm_batch *batch, uint32_t row,
                           uint64_t *lsn, pomai_error *err)
{
    pm_id id;
    id_of(batch, row, &id);
    *lsn = 0;
    const pm_memtable *frozen = shown->table[shard->index].frozen;
    if (pm_memtable_newest(batch->coll->shard[shard->index].table, &id, lsn)) return POMAI_OK;
    if (frozen != NULL && pm_memtable_newest(frozen, &id, lsn)) return POMAI_OK;
    uint64_t hint = batch->hints == NULL ? 0 : batch->hints[row];
    pomai_status status = POMAI_OK;
    if (batch->looked_up != shown->version)
        status = pm_find_live(shown, &id, pm_id_hash(&id, shard->shared->segment_seed), &hint, err);
    if (status != POMAI_OK || hint == 0) return status;
    pm_segment *segment = shown->segment[(hint >> 32) - 1];
    if (pm_segment_end_of(segment, (uint32_t)hint) != PM_NO_END) return POMAI_OK;
    status = pm_segment_check(segment, PM_SEG_LSN, (uint32_t)hint, 1, err);
    if (status == POMAI_OK) *lsn = pm_segment_lsn(segment, (uint32_t)hint);
    return status;
}

pomai_status pm_shard_judge(pm_shard *shard, pm_part *part, pomai_error *err)
{
    pm_batch *batch = part->batch;
    uint32_t kept = 0;
    pomai_status status = POMAI_OK;
    batch->judged_lsn = shard->end.lsn;
    pass_over_pending(shard, batch);
    pm_epoch_hold hold = pm_epoch_enter(&shard->shared->epoch);
    const pm_shown *shown = atomic_load_explicit(&batch->coll->shown, memory_order_acquire);
    for (uint32_t i = 0; i < part->rows && status == POMAI_OK; i++) {
        const uint32_t row = batch->index[i];
        uint64_t lsn;
        if (batch->passed_over[row] != 0) continue;
        status = newest(shard, shown, batch, row, &lsn, err);
        if (lsn != batch->expected[row] && !PM_MUTANT(CONDITION_NOT_JUDGED)) {
            batch->passed_over[row] = 1;
            continue;
        }
        batch->index[kept] = PM_MUTANT(CONDITION_ROW_SHIFTED) ? kept : row;
        kept++;
    }
    pm_epoch_leave(&shard->shared->epoch, hold);
    part->rows = kept;
    return status;
}
