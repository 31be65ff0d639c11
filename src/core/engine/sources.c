/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments whose rows are written again: by a compaction, or by a flush that somebody who asked for a compaction waits
 * for, together with those of the memtables. docs/lifecycle.md.
 */
#include "base/mutant.h"
#include "core/engine/engine.h"

static pomai_status no_memory(const pm_build *b, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory to compact the collection %s", b->coll->name);
}

static pomai_status take_one(pm_sources *s, uint32_t i, pm_build *b, const pm_horizon *horizon, pomai_error *err)
{
    pm_segment *segment = s->segment[i];
    const uint64_t rows = pm_segment_rows(segment);
    const bool expires = pm_segment_first_expiry(segment) != 0;
    pomai_status status = pm_segment_check(segment, PM_SEG_ALL, 0, rows, err);
    segment->set_aside = status == POMAI_ECORRUPT && !PM_MUTANT(DAMAGE_NOT_AVOIDED); /* the others can go on */
    if (status != POMAI_OK) return status;
    pm_carry *carry = s->carry[i] = pm_calloc(1, sizeof *carry);
    uint32_t *place = pm_malloc((rows + 1) * sizeof *place);
    if (carry == NULL || place == NULL) {
        pm_free(place);
        return no_memory(b, err);
    }
    carry->place = place;
    carry->places = rows;
    for (uint64_t row = 0; row < rows; row++) {
        place[row] = PM_NO_ROW;
        if (pm_horizon_drops(horizon, pm_segment_shard(segment, row), pm_segment_lsn(segment, row),
                             pm_segment_end_of(segment, row), expires ? pm_segment_expiry(segment, row) : 0))
            continue;
        place[row] = (uint32_t)b->rows;
        if (!pm_build_add(b, segment, (uint32_t)row)) return no_memory(b, err);
        s->kept++;
    }
    return POMAI_OK;
}

pomai_status pm_sources_take(pm_sources *s, pm_build *build, const pm_horizon *horizon, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    for (uint32_t i = 0; i < s->count && status == POMAI_OK; i++)
        status = take_one(s, i, build, horizon, err);
    return status;
}

bool pm_sources_aim(const pm_sources *s, const pm_build *build)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (!pm_build_aim(build, s->carry[i])) return false;
    return true;
}

void pm_sources_carry_ends(const pm_sources *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        const pm_segment *segment = s->segment[i];
        for (uint64_t word = 0; word * 64 < pm_segment_rows(segment); word++) {
            for (uint64_t bits = pm_segment_ended_word(segment, word); bits != 0; bits &= bits - 1) {
                const uint64_t row = word * 64 + (uint64_t)__builtin_ctzll(bits);
                pm_carry_end(s->carry[i], row, pm_segment_end_of(segment, row));
            }
        }
    }
}

/* After `forward` is set: rows that expired and went nowhere, and that nobody has ended. */
static uint64_t drop_expired(const pm_sources *s)
{
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const pm_segment *segment = s->segment[i];
        const uint64_t rows = pm_segment_first_expiry(segment) == 0 ? 0 : pm_segment_rows(segment);
        for (uint64_t row = 0; row < rows; row++)
            dropped += s->carry[i]->place[row] == PM_NO_ROW && pm_segment_end(s->segment[i], row, PM_END_DROPPED);
    }
    return dropped;
}

uint64_t pm_sources_forward(const pm_sources *s)
{
    for (uint32_t i = 0; i < s->count && !PM_MUTANT(CARRY_FORGETS); i++)
        atomic_store(pm_segment_forward(s->segment[i]), s->carry[i]);
    pm_sources_carry_ends(s);
    return drop_expired(s);
}

bool pm_sources_have(const pm_sources *s, uint64_t number)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->number[i] == number) return true;
    return false;
}

void pm_sources_hide(const pm_sources *s, pm_shown *next)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < next->segments; i++) {
        bool replaced = false;
        for (uint32_t j = 0; j < s->count; j++)
            replaced |= next->segment[i] == s->segment[j];
        if (!replaced) next->segment[kept++] = next->segment[i];
    }
    next->segments = kept;
}

void pm_sources_remove(const pm_sources *s, const pm_os *os)
{
    for (uint32_t i = 0; i < s->count; i++)
        pm_segment_remove(os, pm_segment_where(s->segment[i])->dir);
}

void pm_sources_retire(pm_sources *s, pm_db *db)
{
    pm_maintenance *counts = &db->maintenance;
    uint64_t before = 0;
    pm_sources_remove(s, db->os); /* whoever has them mapped goes on reading them */
    for (uint32_t i = 0; i < s->count; i++) {
        before += pm_segment_rows(s->segment[i]);
        pm_limbo_add(counts, pm_free_segment, s->segment[i]);
        pm_limbo_add(counts, pm_free_carry, s->carry[i]);
        s->carry[i] = NULL;
    }
    if (s->count == 0) return;
    atomic_fetch_add_explicit(&counts->compactions, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->compacted_rows, s->kept, memory_order_relaxed);
    atomic_fetch_add_explicit(&counts->dropped_rows, before - s->kept, memory_order_relaxed);
}

void pm_sources_clear(pm_sources *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        pm_free_carry(s->carry[i]);
    *s = (pm_sources){.count = 0};
}
