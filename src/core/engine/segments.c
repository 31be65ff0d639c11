/* SPDX-License-Identifier: Apache-2.0 */
/* Where segments are, opening those that the catalogue names, removing those that it does not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "core/engine/engine.h"

char *pm_segment_path(const pm_db *db, uint32_t collection, uint64_t number)
{
    return pm_layout_path(db->path, "collections/%u/segments/%llu", collection, (unsigned long long)number);
}

pomai_status pm_segments_open(const pm_db *db, const pm_coll *coll, const pm_manifest_entry *entry, pm_shown *shown,
                              pomai_error *err)
{
    pomai_status status = POMAI_OK;
    shown->segments = 0;
    shown->version = entry->segments > 0; /* 0 says that a batch was not looked up */
    for (uint32_t i = 0; i < entry->segments && status == POMAI_OK; i++) {
        char *dir = pm_segment_path(db, coll->id, entry->segment[i].number);
        if (dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the segments of %s", coll->name);
        pm_segment_place place = {.os = db->os,
                                  .dir = dir,
                                  .collection = coll->id,
                                  .dim = coll->dim,
                                  .dtype = coll->dtype,
                                  .id_kind = coll->id_kind,
                                  .shards = db->manifest.shards,
                                  .number = entry->segment[i].number};
        memcpy(place.uuid, db->manifest.uuid, 16);
        status = pm_segment_open(&place, &entry->segment[i], &shown->segment[i], err);
        if (status == POMAI_OK) {
            shown->segments = i + 1;
            pm_derive_attach(shown->segment[i], pm_derive_for(coll));
        }
        pm_free(dir);
    }
    return status;
}

/* parent NULL: the database itself. */
static pomai_status make_one(const pm_db *db, const char *parent, const char *dir, pomai_error *err)
{
    const pm_os *os = db->os;
    char *below = parent == NULL ? NULL : pm_layout_path(db->path, "%s", parent);
    const char *above = parent == NULL ? db->path : below;
    char *path = pm_layout_path(db->path, "%s", dir);
    pomai_status status = POMAI_OK;
    if (above == NULL || path == NULL) {
        status = pm_fail(err, POMAI_ENOMEM, "no memory to make a directory");
    } else {
        int rc = os->dir_make(os, path);
        if (rc == -EEXIST) rc = 0; /* its name may not be durable yet all the same */
        if (rc == 0 && !PM_MUTANT(SEGMENT_DIRS_NOT_SYNCED)) rc = os->dir_sync(os, above);
        if (rc != 0) status = pm_fail_os(err, rc, "cannot make the directory %s", path);
    }
    pm_free(below);
    pm_free(path);
    return status;
}

pomai_status pm_segments_make_dir(const pm_db *db, uint32_t collection, pomai_error *err)
{
    char own[64], segments[64];
    snprintf(own, sizeof own, "collections/%u", collection);
    snprintf(segments, sizeof segments, "collections/%u/segments", collection);
    pomai_status status = make_one(db, NULL, "collections", err);
    if (status == POMAI_OK) status = make_one(db, "collections", own, err);
    if (status == POMAI_OK) status = make_one(db, own, segments, err);
    return status;
}

/* ---- leftovers ---- */

typedef struct numbers {
    uint64_t *number;
    size_t count, capacity;
} numbers;

/* Names that are numbers as we write them; anything else in there is not ours. So is a number that no count gets to:
 * there would be none after it for the next segment. */
static int take_number(void *context, const char *name)
{
    enum { MOST_DIGITS = 19 };
    numbers *n = context;
    char *end = NULL, again[24];
    if (strlen(name) > MOST_DIGITS) return 0;
    errno = 0;
    const uint64_t number = strtoull(name, &end, 10);
    snprintf(again, sizeof again, "%llu", (unsigned long long)number);
    if (errno != 0 || *end != '\0' || strcmp(again, name) != 0) return 0;
    if (n->count == n->capacity) {
        size_t capacity = n->capacity == 0 ? 16 : n->capacity * 2;
        uint64_t *wider = pm_realloc(n->number, capacity * sizeof *wider);
        if (wider == NULL) return 0; /* a leftover that stays costs space only */
        n->number = wider;
        n->capacity = capacity;
    }
    n->number[n->count++] = number;
    return 0;
}

static numbers list_numbers(const pm_os *os, const char *dir)
{
    numbers n = {0};
    if (dir != NULL) (void)os->dir_list(os, dir, take_number, &n);
    return n;
}

static bool lists(const pm_manifest_entry *entry, uint64_t number)
{
    for (uint32_t i = 0; entry != NULL && i < entry->segments; i++)
        if (entry->segment[i].number == number) return true;
    return false;
}

/* entry NULL: the collection was dropped. */
static void remove_in(pm_db *db, uint64_t collection, const pm_manifest_entry *entry, uint64_t *largest)
{
    const pm_os *os = db->os;
    char *dir = pm_layout_path(db->path, "collections/%llu/segments", (unsigned long long)collection);
    numbers n = list_numbers(os, dir);
    for (size_t i = 0; i < n.count; i++) {
        *largest = pm_max_u64(*largest, n.number[i]);
        if (lists(entry, n.number[i])) continue;
        char *segment = pm_segment_path(db, (uint32_t)collection, n.number[i]);
        if (segment != NULL) pm_segment_remove(os, segment);
        pm_free(segment);
    }
    pm_free(n.number);
    if (entry == NULL && dir != NULL) { /* fails, and may, if something else is in there */
        char *own = pm_layout_path(db->path, "collections/%llu", (unsigned long long)collection);
        (void)os->dir_remove(os, dir);
        if (own != NULL) (void)os->dir_remove(os, own);
        pm_free(own);
    }
    pm_free(dir);
}

void pm_segments_remove_others(pm_db *db, uint64_t *largest)
{
    char *dir = pm_layout_path(db->path, "collections");
    numbers n = list_numbers(db->os, dir);
    *largest = 0;
    for (size_t i = 0; i < n.count; i++) {
        if (n.number[i] > UINT32_MAX) continue;
        remove_in(db, n.number[i], pm_manifest_find(&db->manifest, (uint32_t)n.number[i]), largest);
    }
    pm_free(n.number);
    pm_free(dir);
    const pm_catalog *catalog = atomic_load(&db->catalog);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_shown *shown = atomic_load(&catalog->coll[i]->shown);
        for (uint32_t s = 0; s < shown->segments; s++)
            pm_segment_remove_leftovers(shown->segment[s]);
    }
}
