/* SPDX-License-Identifier: Apache-2.0 */
/* What flush and compaction change in the catalogue, and the log files that this sets free. */
#include <string.h>

#include "base/mutant.h"
#include "core/engine/engine.h"
#include "core/engine/layout.h"

/* ---- segments ---- */

pomai_status pm_catalog_segments(pm_db *db, uint32_t collection, pm_manifest_segment **list, uint32_t *count,
                                 pomai_error *err)
{
    pomai_status status = POMAI_OK;
    *list = NULL;
    *count = 0;
    db->os->mutex_lock(db->os, &db->admin);
    const pm_manifest_entry *entry = pm_manifest_find(&db->manifest, collection);
    if (entry != NULL) {
        *list = pm_calloc(entry->segments + 1, sizeof **list);
        if (*list == NULL) status = pm_fail(err, POMAI_ENOMEM, "no memory to list the segments of %s", entry->name);
        if (status == POMAI_OK && entry->segments > 0) memcpy(*list, entry->segment, entry->segments * sizeof **list);
        *count = status == POMAI_OK ? entry->segments : 0;
    }
    db->os->mutex_unlock(db->os, &db->admin);
    return status;
}

static pomai_status change_segments(pm_manifest_entry *entry, const pm_edit *e, pomai_error *err)
{
    pm_manifest_segment *list = pm_calloc(entry->segments + e->additions + 1, sizeof *list);
    if (list == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to change the segments of %s", entry->name);
    uint32_t n = 0;
    for (uint32_t i = 0; i < entry->segments; i++) {
        bool removed = false;
        for (uint32_t r = 0; r < e->removals; r++)
            removed |= e->removed[r] == entry->segment[i].number;
        if (removed) continue;
        list[n] = entry->segment[i];
        for (uint32_t c = 0; c < e->changes; c++)
            if (e->changed[c].number == list[n].number) list[n] = e->changed[c];
        n++;
    }
    for (uint32_t i = 0; i < e->additions; i++) { /* a flush meanwhile may have numbered its own above them */
        uint32_t at = n++;
        for (; at > 0 && !PM_MUTANT(SEGMENTS_NOT_SORTED) && list[at - 1].number > e->added[i].number; at--)
            list[at] = list[at - 1];
        list[at] = e->added[i];
    }
    pomai_status status = pm_manifest_set_segments(entry, list, n, err);
    pm_free(list);
    return status;
}

static pomai_status apply_edit(const pm_db *db, pm_manifest *next, pm_edit *e, pomai_error *err)
{
    pm_manifest_entry *entry = pm_manifest_find(next, e->coll->id);
    e->dropped = entry == NULL;
    if (e->dropped) return POMAI_OK;
    if (!PM_MUTANT(NEXT_ID_NOT_KEPT))
        entry->fixed.next_id = pm_max_u64(entry->fixed.next_id, atomic_load(&e->coll->next_id));
    for (uint32_t s = 0; s < db->shared.shards && e->flushed != NULL; s++)
        entry->flushed[s] = pm_max_u64(entry->flushed[s], e->flushed[s]);
    return change_segments(entry, e, err);
}

/* ---- the log ---- */

static void take_sealed(pm_db *db)
{
    for (uint32_t s = 0; s < db->shared.shards; s++) {
        pm_log_files *f = &db->maintenance.files[s];
        for (pm_sealed *sealed = pm_shard_take_sealed(db->shared.shard[s]), *next; sealed != NULL; sealed = next) {
            next = sealed->next;
            if (f->count == f->capacity) {
                size_t capacity = f->capacity == 0 ? 16 : f->capacity * 2;
                pm_wal_end *wider = pm_realloc(f->file, capacity * sizeof *wider);
                if (wider != NULL) {
                    f->file = wider;
                    f->capacity = capacity;
                }
            }
            size_t at = f->count;
            while (at > 0 && f->file[at - 1].number > sealed->end.number)
                at--;
            if (f->count < f->capacity) { /* else it stays until the database is opened again */
                memmove(&f->file[at + 1], &f->file[at], (f->count - at) * sizeof f->file[0]);
                f->file[at] = sealed->end;
                f->count++;
            }
            pm_free(sealed);
        }
    }
}

uint64_t pm_log_files_bytes(pm_db *db)
{
    uint64_t bytes = 0;
    take_sealed(db);
    for (uint32_t s = 0; s < db->shared.shards; s++)
        for (size_t i = 0; i < db->maintenance.files[s].count; i++)
            bytes += db->maintenance.files[s].file[i].length;
    return bytes;
}

static uint64_t pinned_by(const pm_memtable *table, uint64_t bound)
{
    const uint64_t first = table == NULL ? 0 : pm_memtable_first_lsn(table);
    return first == 0 ? bound : pm_min_u64(bound, first - 1);
}

/* The last LSN of a shard that nobody needs in the log once the edits are durable. */
static uint64_t needed_from(pm_db *db, uint32_t s, const pm_edit *edits, uint32_t count)
{
    /* First: what is applied after this has a larger LSN. */
    uint64_t bound = pm_shard_visible(db->shared.shard[s]);
    const pm_catalog *catalog = atomic_load(&db->catalog);
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_coll *coll = catalog->coll[i];
        const pm_shown *shown = atomic_load(&coll->shown);
        bool flushed = false;
        for (uint32_t e = 0; e < count; e++)
            flushed |= edits[e].coll == coll && edits[e].flushed != NULL && !edits[e].dropped;
        bound = pinned_by(shown->table[s].active, bound);
        if (!flushed) bound = pinned_by(shown->table[s].frozen, bound);
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    return PM_MUTANT(RETIRED_TOO_EARLY) ? UINT64_MAX : bound;
}

/* Begins the logs behind what nobody needs; *retire: how many files of each shard that sets free. */
static void move_begins(pm_db *db, pm_manifest *next, const pm_edit *edits, uint32_t count, uint64_t resolved,
                        size_t *retire)
{
    for (uint32_t s = 0; s < db->shared.shards; s++) {
        const pm_log_files *f = &db->maintenance.files[s];
        const uint64_t bound = needed_from(db, s, edits, count);
        pm_manifest_shard *shard = &next->shard[s];
        retire[s] = 0;
        while (retire[s] < f->count && f->file[retire[s]].lsn <= bound &&
               f->file[retire[s]].number == shard->first_wal) { /* without a gap */
            const pm_wal_end *end = &f->file[retire[s]++];
            shard->first_wal = end->number + 1;
            shard->pred_lsn = end->lsn;
            shard->pred_length = end->length;
            shard->pred_chain = end->chain;
            shard->pred_stamp = end->stamp;
        }
        if (!PM_MUTANT(RESOLVED_NOT_RAISED)) shard->resolved = pm_max_u64(shard->resolved, resolved);
    }
}

static void retire(pm_db *db, const size_t *files)
{
    pm_maintenance *m = &db->maintenance;
    for (uint32_t s = 0; s < db->shared.shards; s++) {
        pm_log_files *f = &m->files[s];
        if (files[s] == 0) continue;
        pm_shard_retire(db->shared.shard[s], f->file[0].number, f->file[files[s] - 1].number + 1);
        for (size_t i = 0; i < files[s]; i++)
            atomic_fetch_add_explicit(&m->retired_bytes, f->file[i].length, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->retired_files, files[s], memory_order_relaxed);
        f->count -= files[s];
        memmove(f->file, f->file + files[s], f->count * sizeof f->file[0]);
    }
}

/* ---- the edit ---- */

pomai_status pm_catalog_check(const pm_db *db, pomai_error *err)
{
    if (!db->catalogue_broken) return POMAI_OK;
    return pm_fail(err, POMAI_ESTOPPED,
                   "an earlier change of the catalogue failed half-way; close and reopen the database");
}

/* Rows of segments have expired by now: the catalogue has to keep the time, or they would be back if the machine's
 * clock were set back. */
static bool rows_vanished(pm_db *db)
{
    const uint64_t clock = pm_clock_now(&db->shared);
    const pm_catalog *catalog = atomic_load(&db->catalog);
    bool any = false;
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_shown *shown = atomic_load(&catalog->coll[i]->shown);
        for (uint32_t s = 0; s < shown->segments; s++) {
            const uint64_t first = pm_segment_first_expiry(shown->segment[s]);
            any |= first != 0 && first <= clock;
        }
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    return any && clock > db->manifest.clock;
}

static pomai_status edit_locked(pm_db *db, pm_edit *edits, uint32_t count, const uint64_t *resolved, size_t *retired,
                                pomai_error *err)
{
    pm_manifest next;
    pomai_status status = pm_catalog_check(db, err);
    if (status == POMAI_OK) status = pm_manifest_copy(&next, &db->manifest, err);
    if (status != POMAI_OK) return status;
    for (uint32_t i = 0; i < count && status == POMAI_OK; i++)
        status = apply_edit(db, &next, &edits[i], err);
    if (status == POMAI_OK) {
        next.next_segment = pm_max_u64(next.next_segment, db->maintenance.next_segment);
        if (!PM_MUTANT(CLOCK_NOT_KEPT)) next.clock = pm_max_u64(next.clock, pm_clock_now(&db->shared));
        if (resolved != NULL) move_begins(db, &next, edits, count, *resolved, retired);
        bool uncertain = false, any = count > 0;
        for (uint32_t s = 0; s < db->shared.shards; s++)
            any |= retired[s] > 0;
        if (!any && !rows_vanished(db)) { /* nothing to say */
            pm_manifest_clear(&next);
            return POMAI_OK;
        }
        if (PM_MUTANT(RETIRED_BEFORE_NAMED)) retire(db, retired);
        status = pm_layout_install(db->os, db->path, &next, &uncertain, err);
        if (uncertain) db->catalogue_broken = true;
    }
    if (status != POMAI_OK) {
        pm_manifest_clear(&next);
        return status;
    }
    pm_manifest_clear(&db->manifest);
    db->manifest = next;
    return POMAI_OK;
}

pomai_status pm_catalog_edit(pm_db *db, pm_edit *edits, uint32_t count, const uint64_t *resolved, pomai_error *err)
{
    size_t retired[PM_MAX_SHARDS] = {0};
    take_sealed(db);
    db->os->mutex_lock(db->os, &db->admin);
    pomai_status status = edit_locked(db, edits, count, resolved, retired, err);
    db->os->mutex_unlock(db->os, &db->admin);
    if (status == POMAI_OK && !PM_MUTANT(RETIRED_BEFORE_NAMED)) retire(db, retired);
    return status;
}
