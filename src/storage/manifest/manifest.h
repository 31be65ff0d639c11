/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue of a database: docs/format/manifest.md. */
#ifndef PM_STORAGE_MANIFEST_H
#define PM_STORAGE_MANIFEST_H

#include "base/base.h"
#include "os/os.h"
#include "storage/format.h"

typedef struct pm_manifest_entry {
    pm_manifest_collection fixed;
    char name[POMAI_MAX_NAME + 1];
} pm_manifest_entry;

/* A catalogue in memory. Entries are sorted by id. Zero-initialise; pm_manifest_clear frees. */
typedef struct pm_manifest {
    uint8_t uuid[16];
    uint64_t number; /* of the file it was read from or written to */
    uint64_t created;
    uint32_t epoch;
    uint32_t shards;
    uint32_t next_collection;
    uint32_t collections;
    pm_manifest_shard shard[PM_MAX_SHARDS];
    pm_manifest_entry *entry;
} pm_manifest;

/* Copies with room for one more entry. */
pomai_status pm_manifest_copy(pm_manifest *to, const pm_manifest *from, pomai_error *err);
void pm_manifest_clear(pm_manifest *manifest);

/* What a manifest directory holds, when CURRENT is missing. */
typedef enum pm_manifest_state {
    PM_MANIFEST_THERE,
    PM_MANIFEST_NONE, /* no CURRENT, and at most the first manifest: an interrupted creation */
    PM_MANIFEST_LOST, /* no CURRENT, but later manifests */
} pm_manifest_state;

pomai_status pm_manifest_probe(const pm_os *os, const char *dir, pm_manifest_state *state, pomai_error *err);
/* Reads the manifest that CURRENT names. */
pomai_status pm_manifest_read(const pm_os *os, const char *dir, pm_manifest *manifest, pomai_error *err);
/* Writes the catalogue as number + 1 and moves CURRENT to it; durable on return. After a failure *uncertain says
 * whether the new one may have become current. */
pomai_status pm_manifest_install(const pm_os *os, const char *dir, pm_manifest *manifest, bool *uncertain,
                                 pomai_error *err);

/* Removes what interrupted edits left: an old manifest that stays could become the catalogue again if CURRENT were put
 * back. Only once CURRENT is durable. Failure only costs space. */
void pm_manifest_remove_others(const pm_os *os, const char *dir, const pm_manifest *manifest);

/* Whether a collection may have this name. */
bool pm_manifest_name_valid(const char *name, size_t size);

#endif
