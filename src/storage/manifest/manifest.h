/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue of a database: docs/format/manifest.md. */
#ifndef PM_STORAGE_MANIFEST_H
#define PM_STORAGE_MANIFEST_H

#include "base/base.h"
#include "os/os.h"
#include "storage/format.h"

typedef struct pm_manifest_entry {
    pm_manifest_collection fixed; /* fixed.segments follows from `segments` */
    char name[POMAI_MAX_NAME + 1];
    char cluster_by[POMAI_MAX_CLUSTER_BY + 1]; /* "": none */
    uint64_t *flushed;                         /* of each shard; owned */
    pm_manifest_segment *segment;              /* by rising number; owned, NULL if there are none */
    uint32_t segments;
} pm_manifest_entry;

/* A catalogue in memory. Entries are sorted by id. Zero-initialise; pm_manifest_clear frees. */
typedef struct pm_manifest {
    uint8_t uuid[16];
    uint64_t number; /* of the file it was read from or written to */
    uint64_t created;
    uint64_t clock;
    uint64_t next_segment;
    uint32_t epoch;
    uint32_t shards;
    uint32_t next_collection;
    uint32_t collections;
    pm_manifest_shard shard[PM_MAX_SHARDS];
    pm_manifest_entry *entry;
} pm_manifest;

/* A deep copy. */
pomai_status pm_manifest_copy(pm_manifest *to, const pm_manifest *from, pomai_error *err);
void pm_manifest_clear(pm_manifest *manifest);

/* Adds a collection without segments, nothing of it flushed; its id is above all others. Pointers to entries that were
 * got before are no longer valid, here and after a removal. */
pomai_status pm_manifest_add_entry(pm_manifest *manifest, const pm_manifest_collection *fixed, const char *name,
                                   pm_manifest_entry **entry, pomai_error *err);
/* For an entry that was just added: at most POMAI_MAX_CLUSTER_BY bytes. */
void pm_manifest_set_cluster(pm_manifest_entry *entry, const char *path);
void pm_manifest_remove_entry(pm_manifest *manifest, uint32_t index);
/* NULL: there is no such collection. */
pm_manifest_entry *pm_manifest_find(pm_manifest *manifest, uint32_t collection);
/* Copies the list, which is by rising number and may be the entry's own. */
pomai_status pm_manifest_set_segments(pm_manifest_entry *entry, const pm_manifest_segment *list, uint32_t count,
                                      pomai_error *err);

/* What a manifest directory holds, when CURRENT is missing. */
typedef enum pm_manifest_state {
    PM_MANIFEST_THERE,
    PM_MANIFEST_NONE, /* no CURRENT, and at most the first manifest: an interrupted creation */
    PM_MANIFEST_LOST, /* no CURRENT, but later manifests, or a copy of one */
} pm_manifest_state;

/* `copies`: the directory that has the copy, here and below. */
pomai_status pm_manifest_probe(const pm_os *os, const char *dir, const char *copies, pm_manifest_state *state,
                               pomai_error *err);
/* Reads the manifest that CURRENT names. */
pomai_status pm_manifest_read(const pm_os *os, const char *dir, pm_manifest *manifest, pomai_error *err);
/* For salvage: the newest manifest, or copy of one, that can be read, whatever CURRENT says; *current: it is the one
 * that CURRENT names, or its copy. `notes` gets what is wrong. POMAI_ECORRUPT: there is none. */
pomai_status pm_manifest_read_any(const pm_os *os, const char *dir, const char *copies, pm_manifest *manifest,
                                  bool *current, pm_text *notes, pomai_error *err);
/* Writes the catalogue as number + 1 and moves CURRENT to it; durable on return. After a failure *uncertain says
 * whether the new one may have become current. */
pomai_status pm_manifest_install(const pm_os *os, const char *dir, pm_manifest *manifest, bool *uncertain,
                                 pomai_error *err);

/* Writes the copy of the catalogue with that number; durable on return. Before CURRENT names the number. */
pomai_status pm_manifest_write_copy(const pm_os *os, const char *copies, const pm_manifest *manifest, uint64_t number,
                                    pomai_error *err);
/* POMAI_ECORRUPT: there is a copy of the catalogue's number, and it is damaged, or says something else. */
pomai_status pm_manifest_check_copy(const pm_os *os, const char *copies, const pm_manifest *manifest, bool *there,
                                    pomai_error *err);
void pm_manifest_remove_copy(const pm_os *os, const char *copies, uint64_t number);

/* Removes what interrupted edits left: an old manifest that stays could become the catalogue again if CURRENT were put
 * back. Only once CURRENT is durable. Failure only costs space. */
void pm_manifest_remove_others(const pm_os *os, const char *dir, const char *copies, const pm_manifest *manifest);

/* Whether a collection may have this name. */
bool pm_manifest_name_valid(const char *name, size_t size);

#endif
