/* SPDX-License-Identifier: Apache-2.0 */
/* One open database: collections, admission, views. The API's functions, with handles resolved. */
#ifndef PM_CORE_ENGINE_H
#define PM_CORE_ENGINE_H

#include "core/engine/layout.h"
#include "core/shard/shard.h"
#include "pomai/options.h"
#include "query/query.h"

typedef struct pomai_db pm_db;

struct pomai_collection {
    pm_db *db;
    _Atomic(pm_coll *) coll; /* NULL: `default`, before its first put */
};

struct pomai_ticket {
    pm_db *db;
    pm_batch *batch;
};

struct pomai_block {
    pm_db *db;
    pm_coll *coll; /* NULL: `default`, which was not made yet */
    uint64_t rows;
    uint32_t dim;
    void *pages;
    size_t mapped;
    float *vectors;
};

/* An immutable list; a new one is published on every change, old ones live until close. */
typedef struct pm_catalog {
    struct pm_catalog *older;
    uint32_t count;
    pm_coll *coll[]; /* by id */
} pm_catalog;

/* The pages of a committed block: the memtable's storage until close. */
typedef struct pm_adopted {
    struct pm_adopted *older;
    void *pages;
    size_t mapped;
} pm_adopted;

struct pomai_db {
    const pm_os *os;
    char *path;
    char *manifest_dir;
    bool readonly;
    pm_lock lock;
    pomai_durability durability;
    const pm_simd *simd;
    pm_pool *pool;
    pm_shared shared;
    uint64_t hash_seed;

    _Atomic uint32_t admin; /* mutex: catalogue changes */
    pm_manifest manifest;   /* under admin */
    bool catalogue_broken;  /* an edit may or may not have become current */
    _Atomic(pm_catalog *) catalog;
    pm_coll **graveyard; /* every pm_coll ever made, freed at close */
    size_t graves, grave_capacity;

    _Atomic(pm_adopted *) adopted;
    pomai_collection default_handle;
    _Atomic int64_t open_handles;
    pomai_open_report report;
    pm_text notes;

    pm_hist search_latency;
};

/* open.c */
pomai_status pm_db_open(const pm_os *os, const char *given_path, const pomai_open_options *options, pm_db **out,
                        pomai_error *err);
pomai_status pm_db_close(pm_db *db, pomai_error *err);
pomai_status pm_db_sync(pm_db *db, pomai_error *err);

/* collections.c */
pm_coll *pm_db_find(const pm_db *db, const char *name);
pm_coll *pm_db_find_id(void *context, uint32_t id); /* context: the pm_db */
/* For recovery: makes what the manifest lists. */
pomai_status pm_db_load_catalog(pm_db *db, pomai_error *err);
pomai_status pm_db_create(pm_db *db, const char *name, const pomai_collection_options *options, pm_coll **coll,
                          pomai_error *err);
pomai_status pm_db_drop(pm_db *db, const char *name, pomai_error *err);
pomai_status pm_db_list(pm_db *db, char ***names, size_t *count, pomai_error *err);
/* The handle's collection: NULL and POMAI_OK if it is `default` and not made yet; POMAI_ENOTFOUND if it was dropped. */
pomai_status pm_handle_coll(pomai_collection *handle, pm_coll **coll, pomai_error *err);
/* The same, making `default` for a batch of this shape if need be. */
pomai_status pm_handle_coll_for_put(pomai_collection *handle, uint64_t dim, pomai_id_kind kind, pm_coll **coll,
                                    pomai_error *err);

/* write.c */
typedef struct pm_write {
    pomai_durability level;
    uint64_t until_ns;
    bool wait; /* the caller waits for the outcome next */
} pm_write;
pomai_status pm_db_put(pomai_collection *handle, const pomai_batch *in, const pm_write *write, pm_batch **batch,
                       pomai_error *err);
pomai_status pm_db_delete(pomai_collection *handle, const pomai_ids *ids, const pm_write *write, pm_batch **batch,
                          pomai_error *err);
pomai_status pm_db_reserve(pomai_collection *handle, uint64_t rows, uint64_t dim, pomai_block **out, pomai_error *err);
pomai_status pm_db_commit(pomai_block *block, const pomai_bytes *documents, const pm_write *write, pomai_ack *ack,
                          pomai_error *err);
void pm_db_block_free(pomai_block *block);
pomai_status pm_check_ids(const pm_coll *coll, const pomai_ids *ids, pomai_error *err);

/* read.c */
pomai_status pm_db_search(pomai_collection *handle, const float *vectors, uint64_t queries, uint64_t dim, uint64_t k,
                          uint32_t include, uint64_t until_ns, pomai_result **result, pomai_error *err);
pomai_status pm_db_get(pomai_collection *handle, const pomai_ids *ids, pomai_rows **rows, pomai_error *err);
uint64_t pm_coll_live(const pm_db *db, const pm_coll *coll);

/* stats.c */
pomai_status pm_db_stats(pm_db *db, char **json, pomai_error *err);

/* inspect.c */
pomai_status pm_inspect_verify(const pm_os *os, const char *path, pomai_progress_fn progress, void *context,
                               char **json, pomai_error *err);
pomai_status pm_inspect_dump(const pm_os *os, const char *path, bool json, pomai_line_fn line, void *context,
                             pomai_error *err);

#endif
