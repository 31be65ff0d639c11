/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue: every change is a durable manifest edit before anybody can refer to it. All memory is taken before the
 * edit, so that an edit that is on disk is also in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "core/engine/engine.h"
#include "core/engine/layout.h"
#include "filter/json.h"

static const char default_name[] = "default";

/* ---- looking up ---- */

pm_coll *pm_db_find(const pm_db *db, const char *name)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    for (uint32_t i = 0; i < catalog->count; i++)
        if (strcmp(catalog->coll[i]->name, name) == 0) return catalog->coll[i];
    return NULL;
}

pm_coll *pm_db_find_id(void *context, uint32_t id)
{
    const pm_db *db = context;
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    uint32_t low = 0, high = catalog->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (catalog->coll[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < catalog->count && catalog->coll[low]->id == id ? catalog->coll[low] : NULL;
}

/* ---- making ---- */

static pomai_status no_memory(const char *name, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory for the collection %s", name);
}

void pm_coll_free(pm_coll *coll)
{
    pm_shown *shown = atomic_load(&coll->shown);
    for (uint32_t i = 0; shown != NULL && i < shown->shards; i++) {
        pm_memtable_free(shown->table[i].active);
        pm_memtable_free(shown->table[i].frozen);
    }
    for (uint32_t i = 0; shown != NULL && i < shown->segments; i++)
        pm_segment_free(shown->segment[i]);
    pm_shown_free(shown);
    for (int kind = 0; kind < PM_WATCH_KINDS; kind++)
        pm_free(coll->watch[kind].vector);
    pm_free(coll);
}

/* With its segments, as the catalogue has them. */
static pomai_status coll_make(pm_db *db, const pm_manifest_entry *entry, pm_coll **out, pomai_error *err)
{
    const uint32_t shards = db->manifest.shards;
    if (db->graves == db->grave_capacity) {
        size_t capacity = db->grave_capacity == 0 ? 8 : db->grave_capacity * 2;
        pm_coll **wider = pm_realloc(db->graveyard, capacity * sizeof(pm_coll *));
        if (wider == NULL) return no_memory(entry->name, err);
        db->graveyard = wider;
        db->grave_capacity = capacity;
    }
    pm_coll *coll = pm_calloc(1, sizeof *coll + shards * sizeof coll->shard[0]);
    if (coll == NULL) return no_memory(entry->name, err);
    coll->id = entry->fixed.id;
    coll->dim = entry->fixed.dim;
    coll->dtype = (pomai_dtype)entry->fixed.dtype;
    coll->metric = (pomai_metric)entry->fixed.metric;
    coll->id_kind = (pomai_id_kind)entry->fixed.id_kind;
    coll->ttl_ns = entry->fixed.ttl_ns;
    coll->index = (pomai_index_kind)entry->fixed.index;
    memcpy(coll->name, entry->name, sizeof coll->name);
    memcpy(coll->cluster_by, entry->cluster_by, sizeof coll->cluster_by);
    atomic_store(&coll->next_id, entry->fixed.next_id);
    pm_shown *shown = pm_shown_make(shards, entry->segments);
    atomic_store(&coll->shown, shown);
    const uint64_t largest = entry->fixed.next_id - 1;
    pomai_status status = shown == NULL ? no_memory(entry->name, err) : POMAI_OK;
    for (uint32_t i = 0; i < shards && status == POMAI_OK; i++) {
        coll->shard[i].flushed = entry->flushed == NULL ? 0 : entry->flushed[i];
        coll->shard[i].table =
            pm_memtable_make(coll->id_kind, db->shared.hash_seed, entry->fixed.next_id == 0 ? NULL : &largest);
        shown->table[i].active = coll->shard[i].table;
        if (coll->shard[i].table == NULL) status = no_memory(entry->name, err);
    }
    if (status == POMAI_OK) status = pm_segments_open(db, coll, entry, shown, err);
    if (status != POMAI_OK) {
        pm_coll_free(coll);
        return status;
    }
    shown->version = 1;
    for (uint32_t i = 0; i < shown->segments; i++)
        shown->rows += (int64_t)(pm_segment_rows(shown->segment[i]) - pm_segment_ended(shown->segment[i]));
    db->graveyard[db->graves++] = coll;
    *out = coll;
    return POMAI_OK;
}

/* The collection that was made last, and that nobody has seen. */
static void coll_unmake(pm_db *db)
{
    pm_coll_free(db->graveyard[--db->graves]);
}

static pm_catalog *catalog_make(uint32_t count)
{
    pm_catalog *catalog = pm_calloc(1, sizeof *catalog + count * sizeof catalog->coll[0]);
    if (catalog != NULL) catalog->count = count;
    return catalog;
}

static void publish(pm_db *db, pm_catalog *catalog)
{
    catalog->older = atomic_load_explicit(&db->catalog, memory_order_relaxed);
    atomic_store_explicit(&db->catalog, catalog, memory_order_release);
}

pomai_status pm_db_load_catalog(pm_db *db, pomai_error *err)
{
    pm_catalog *catalog = catalog_make(db->manifest.collections);
    if (catalog == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    publish(db, catalog);
    for (uint32_t i = 0; i < catalog->count; i++) {
        pomai_status status = coll_make(db, &db->manifest.entry[i], &catalog->coll[i], err);
        if (status != POMAI_OK) return status;
    }
    return POMAI_OK;
}

static pomai_status check_options(const char *name, const pomai_collection_options *o, pomai_error *err)
{
    if (name == NULL || !pm_manifest_name_valid(name, strnlen(name, POMAI_MAX_NAME + 1)))
        return pm_fail(err, POMAI_EINVAL,
                       "\"%.80s\" cannot name a collection: 1 to %u of A-Z a-z 0-9 _ - . and no dot first",
                       name == NULL ? "" : name, POMAI_MAX_NAME);
    if (o == NULL || o->struct_size != sizeof *o)
        return pm_fail(err, POMAI_EINVAL,
                       "collection options are missing, or do not begin with POMAI_COLLECTION_OPTIONS_INIT");
    if (o->dim == 0 || o->dim > POMAI_MAX_DIM)
        return pm_fail(err, POMAI_EDIM, "%llu dimensions: a vector has 1 to %u", (unsigned long long)o->dim,
                       POMAI_MAX_DIM);
    if (o->metric < POMAI_METRIC_L2 || o->metric > POMAI_METRIC_COSINE)
        return pm_fail(err, POMAI_EINVAL, "unknown metric %d", (int)o->metric);
    if (o->id_kind != POMAI_ID_U64 && o->id_kind != POMAI_ID_STRING)
        return pm_fail(err, POMAI_EINVAL, "unknown kind of id %d", (int)o->id_kind);
    if (o->dtype != 0 && !pm_dtype_known((uint32_t)o->dtype))
        return pm_fail(err, POMAI_EINVAL, "unknown type of vectors %d: float32, float16 and int8 are known",
                       (int)o->dtype);
    if ((unsigned)o->index > POMAI_INDEX_GRAPH)
        return pm_fail(err, POMAI_EINVAL, "unknown kind of index %d: auto, exact, codes and graph are known",
                       (int)o->index);
    return POMAI_OK;
}

/* A path as filters have it, written without a backslash that is not needed; "": none. It is read as one that a filter
 * asks about. */
static pomai_status take_cluster(const char *given, char path[PM_FILTER_MOST_PATH], pomai_error *err)
{
    pm_filter *filter;
    pomai_error why;
    pm_text text = {0};
    path[0] = '\0';
    if (given == NULL) return POMAI_OK;
    const size_t size = strnlen(given, POMAI_MAX_CLUSTER_BY + 1);
    if (size == 0 || size > POMAI_MAX_CLUSTER_BY)
        return pm_fail(err, POMAI_EINVAL, "cluster_by is a path of 1 to %u bytes", POMAI_MAX_CLUSTER_BY);
    pm_text_add(&text, "{\"");
    for (const char *p = given; *p != '\0'; p++) /* byte by byte: what is no UTF-8 stays what it is, and is refused */
        pm_text_add(&text, (uint8_t)*p < 0x20 ? "\\u%04x" : *p == '"' || *p == '\\' ? "\\%c" : "%c", (uint8_t)*p);
    pm_text_add(&text, "\": {\"$exists\": true}}");
    if (text.failed) return pm_fail(err, POMAI_ENOMEM, "no memory for a path");
    const pomai_status status = pm_filter_parse(text.data, text.size, &filter, &why);
    pm_free(text.data);
    if (status == POMAI_ENOMEM) return pm_fail(err, status, "no memory for a path");
    if (status != POMAI_OK)
        return pm_fail(err, POMAI_EINVAL, "cluster_by: \"%.80s\" is no path that a filter could name", given);
    path[pm_filter_write_path(pm_filter_root(filter), path)] = '\0';
    pm_filter_free(filter);
    return POMAI_OK;
}

static pomai_status check_changeable(const pm_db *db, pomai_error *err)
{
    if (db->readonly)
        return pm_fail(err, POMAI_EREADONLY, "the database is open read-only; open it without POMAI_OPEN_READONLY");
    if (pm_stopped(&db->shared)) return pm_stopped_error(&db->shared, err);
    return pm_catalog_check(db, err);
}

/* Installs `next` and takes its place on success. */
static pomai_status install(pm_db *db, pm_manifest *next, pomai_error *err)
{
    bool uncertain = false;
    pomai_status status = pm_layout_install(db->os, db->path, next, &uncertain, err);
    if (uncertain) db->catalogue_broken = true;
    if (status != POMAI_OK) {
        pm_manifest_clear(next);
        return status;
    }
    pm_manifest_clear(&db->manifest);
    db->manifest = *next;
    return POMAI_OK;
}

static pomai_status create_locked(pm_db *db, const char *name, const pomai_collection_options *o,
                                  const char *cluster_by, pm_coll **coll, pomai_error *err)
{
    pomai_status status = check_changeable(db, err);
    if (status != POMAI_OK) return status;
    if (pm_db_find(db, name) != NULL)
        return pm_fail(err, POMAI_EEXISTS, "the collection %s exists already; open it, or choose another name", name);
    if (db->manifest.next_collection == UINT32_MAX) return pm_fail(err, POMAI_ETOOBIG, "collection ids are used up");
    pm_manifest next;
    status = pm_manifest_copy(&next, &db->manifest, err);
    if (status != POMAI_OK) return status;
    pm_manifest_entry *entry = NULL;
    const pm_manifest_collection fixed = {.id = next.next_collection,
                                          .dim = (uint32_t)o->dim,
                                          .metric = (uint8_t)o->metric,
                                          .id_kind = (uint8_t)o->id_kind,
                                          .dtype = (uint8_t)(o->dtype == 0 ? POMAI_DTYPE_FLOAT32 : o->dtype),
                                          .ttl_ns = o->ttl_ns,
                                          .index = (uint8_t)o->index,
                                          .created = db->os->wall_ns(db->os)};
    status = pm_manifest_add_entry(&next, &fixed, name, &entry, err);
    if (status != POMAI_OK) {
        pm_manifest_clear(&next);
        return status;
    }
    pm_manifest_set_cluster(entry, cluster_by);
    next.next_collection++;
    pm_catalog *catalog = catalog_make(next.collections);
    pm_coll *made = NULL;
    status = catalog == NULL ? no_memory(name, err) : coll_make(db, entry, &made, err);
    if (status != POMAI_OK) {
        pm_free(catalog);
        pm_manifest_clear(&next);
        return status;
    }
    const pm_catalog *before = atomic_load(&db->catalog);
    if (before->count > 0) memcpy(catalog->coll, before->coll, before->count * sizeof catalog->coll[0]);
    catalog->coll[before->count] = made;
    status = install(db, &next, err);
    if (status != POMAI_OK) {
        coll_unmake(db);
        pm_free(catalog);
        return status;
    }
    publish(db, catalog);
    *coll = made;
    return POMAI_OK;
}

pomai_status pm_db_create(pm_db *db, const char *name, const pomai_collection_options *options, pm_coll **coll,
                          pomai_error *err)
{
    char cluster_by[PM_FILTER_MOST_PATH];
    pomai_status status = check_options(name, options, err);
    if (status == POMAI_OK) status = take_cluster(options->cluster_by, cluster_by, err);
    if (status != POMAI_OK) return status;
    db->os->mutex_lock(db->os, &db->admin);
    status = create_locked(db, name, options, cluster_by, coll, err);
    db->os->mutex_unlock(db->os, &db->admin);
    return status;
}

static pomai_status drop_locked(pm_db *db, const char *name, pomai_error *err)
{
    pomai_status status = check_changeable(db, err);
    if (status != POMAI_OK) return status;
    pm_coll *coll = pm_db_find(db, name);
    if (coll == NULL) return pm_fail(err, POMAI_ENOTFOUND, "there is no collection \"%.80s\" to drop", name);
    pm_manifest next;
    status = pm_manifest_copy(&next, &db->manifest, err);
    if (status != POMAI_OK) return status;
    const pm_catalog *before = atomic_load(&db->catalog);
    pm_catalog *catalog = catalog_make(before->count - 1);
    if (catalog == NULL) {
        pm_manifest_clear(&next);
        return pm_fail(err, POMAI_ENOMEM, "no memory to drop the collection %s", name);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < before->count; i++) { /* manifest and catalogue are in the same order */
        if (before->coll[i] == coll)
            pm_manifest_remove_entry(&next, i);
        else
            catalog->coll[kept++] = before->coll[i];
    }
    next.next_collection -= PM_MUTANT(COLLECTION_ID_REUSED) && coll->id + 1 == next.next_collection;
    status = install(db, &next, err);
    if (status != POMAI_OK) {
        if (db->catalogue_broken && !PM_MUTANT(FAILED_DROP_FORGOTTEN))
            atomic_store(&coll->drop_unsure, true); /* no write may be acknowledged and then go */
        pm_free(catalog);
        return status;
    }
    atomic_store(&coll->dropped, true);
    publish(db, catalog);
    atomic_fetch_add(&db->dropped, 1);
    pm_task_wake(&db->maintenance.task);
    return POMAI_OK;
}

pomai_status pm_db_drop(pm_db *db, const char *name, pomai_error *err)
{
    if (name == NULL) return pm_fail(err, POMAI_EINVAL, "the name of the collection to drop is missing");
    db->os->mutex_lock(db->os, &db->admin);
    pomai_status status = drop_locked(db, name, err);
    db->os->mutex_unlock(db->os, &db->admin);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

pomai_status pm_db_list(pm_db *db, char ***names, size_t *count, pomai_error *err)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    size_t size = ((size_t)catalog->count + 1) * sizeof(char *);
    for (uint32_t i = 0; i < catalog->count; i++)
        size += strlen(catalog->coll[i]->name) + 1;
    char **list = pm_malloc(size);
    if (list == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to list the collections");
    char *text = (char *)(list + catalog->count + 1);
    for (uint32_t i = 0; i < catalog->count; i++) {
        size_t n = strlen(catalog->coll[i]->name) + 1;
        memcpy(text, catalog->coll[i]->name, n);
        list[i] = text;
        text += n;
    }
    list[catalog->count] = NULL;
    qsort(list, catalog->count, sizeof *list, by_name);
    *names = list;
    *count = catalog->count;
    return POMAI_OK;
}

/* ---- handles ---- */

pomai_status pm_handle_coll(pomai_collection *handle, pm_coll **coll, pomai_error *err)
{
    *coll = atomic_load_explicit(&handle->coll, memory_order_acquire);
    const bool is_default = handle == &handle->db->default_handle;
    if (is_default && (*coll == NULL || atomic_load(&(*coll)->dropped))) {
        *coll = pm_db_find(handle->db, default_name);
        atomic_store_explicit(&handle->coll, *coll, memory_order_release);
    }
    if (*coll != NULL && atomic_load(&(*coll)->dropped))
        return pm_fail(err, POMAI_ENOTFOUND, "the collection %s was dropped", (*coll)->name);
    return POMAI_OK;
}

pomai_status pm_handle_coll_for_put(pomai_collection *handle, uint64_t dim, pomai_dtype dtype, pomai_id_kind kind,
                                    pm_coll **coll, pomai_error *err)
{
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = dim;
    options.id_kind = kind;
    options.dtype = dtype;
    for (;;) { /* other threads may make and drop it meanwhile */
        pomai_status status = pm_handle_coll(handle, coll, err);
        if (status != POMAI_OK || *coll != NULL) return status;
        status = pm_db_create(handle->db, default_name, &options, coll, err);
        if (status != POMAI_EEXISTS) return status;
    }
}
