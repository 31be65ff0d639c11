/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scrub: the maintenance task, when it has nothing else to do, reads all segments from the disk again, a piece at a
 * time, so that damage is found while there still is a copy to restore from. A piece is small; nobody waits for it.
 * What was found damaged is no longer taken for checked: reads, flushes and compactions of it check again, and fail
 * rather than pass it on.
 */
#include <string.h>

#include "core/engine/engine.h"

#define MS ((uint64_t)1000 * 1000)
enum { PIECE = 256 * 1024, REST_MS = 3600 * 1000 };

static void note_damage(pm_db *db, const pomai_error *error)
{
    pm_maintenance *m = &db->maintenance;
    atomic_fetch_add_explicit(&m->scrub_damages, 1, memory_order_relaxed);
    m->scrub.pass_damages++;
    db->os->mutex_lock(db->os, &db->state);
    m->scrub.error = *error;
    db->os->mutex_unlock(db->os, &db->state);
}

/* The segment where the scrub is, or the next one; NULL: the pass is over. By collection, then by number: what is made
 * meanwhile has larger numbers, and was read back when it was written. */
static pm_segment *find_segment(pm_db *db, uint32_t *collection)
{
    const pm_scrub *at = &db->maintenance.scrub;
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_coll *coll = catalog->coll[i];
        pm_segment *best = NULL;
        if (coll->id < at->collection || atomic_load(&coll->dropped)) continue;
        const pm_shown *shown = atomic_load(&coll->shown); /* only this task removes segments from it */
        for (uint32_t s = 0; s < shown->segments; s++) {
            const uint64_t number = pm_segment_entry(shown->segment[s])->number;
            if (coll->id == at->collection && number < at->segment) continue;
            if (best == NULL || number < pm_segment_entry(best)->number) best = shown->segment[s];
        }
        *collection = coll->id;
        if (best != NULL) return best;
    }
    return NULL;
}

/* Liveness has another generation after each flush; the catalogue knows which. */
static pomai_status scrub_live(pm_db *db, const pm_segment *segment, uint32_t collection, pomai_error *err)
{
    pm_manifest_segment *list;
    uint32_t count;
    pomai_status status = pm_catalog_segments(db, collection, &list, &count, err);
    for (uint32_t i = 0; i < count && status == POMAI_OK; i++)
        if (list[i].number == pm_segment_entry(segment)->number)
            status = pm_segment_reread_live(segment, &list[i], err);
    pm_free(list);
    return status;
}

static void pass_ended(pm_db *db, uint64_t now)
{
    pm_scrub *at = &db->maintenance.scrub;
    at->collection = 0;
    at->segment = at->offset = 0;
    db->os->mutex_lock(db->os, &db->state);
    if (at->pass_damages == 0) at->error.status = POMAI_OK; /* whatever it was, it is gone */
    db->os->mutex_unlock(db->os, &db->state);
    at->pass_damages = 0;
    atomic_fetch_add_explicit(&at->passes, 1, memory_order_relaxed);
    atomic_store_explicit(&at->ended_ns, pm_clock_now(&db->shared), memory_order_relaxed);
    at->due = now + REST_MS * MS;
}

uint64_t pm_scrub_if_due(pm_db *db, uint64_t now)
{
    pm_maintenance *m = &db->maintenance;
    pm_scrub *at = &m->scrub;
    pomai_error error;
    uint32_t collection = 0;
    if (db->scrub_rate == UINT64_MAX || pm_stopped(&db->shared)) return PM_FOREVER;
    if (now < at->due) return at->due;
    pm_segment *segment = find_segment(db, &collection);
    if (segment == NULL && at->collection == 0) { /* there are none */
        at->due = now + 1000 * MS;
        return at->due;
    }
    if (segment == NULL) {
        pass_ended(db, now);
        return at->due;
    }
    if (at->collection != collection || at->segment != pm_segment_entry(segment)->number) {
        at->collection = collection;
        at->segment = pm_segment_entry(segment)->number;
        at->offset = 0;
    }
    uint64_t read = 0;
    if (at->offset == 0 && scrub_live(db, segment, collection, &error) == POMAI_ECORRUPT) note_damage(db, &error);
    bool end = false;
    pomai_status status = pm_segment_reread(segment, at->offset, PIECE, &read, &end, &error);
    if (status == POMAI_ECORRUPT || status == POMAI_EIO) note_damage(db, &error);
    atomic_fetch_add_explicit(&m->scrubbed_bytes, read, memory_order_relaxed);
    at->offset += read;
    if (end) {
        at->segment++;
        at->offset = 0;
    }
    at->due = now + pm_max_u64(read, 1) * 1000 / (db->scrub_rate / MS + 1);
    return at->due;
}
