/* SPDX-License-Identifier: Apache-2.0 */
/* What verify, the dumps and salvage share: a database that no writer has open, locked against one. */
#ifndef PM_CORE_INSPECT_H
#define PM_CORE_INSPECT_H

#include "core/engine/engine.h"

typedef struct pm_inspection {
    const pm_os *os;
    const char *path;
    pm_lock lock;
    pm_manifest manifest;
    char *manifest_dir;
} pm_inspection;

/* Locks the database and reads its catalogue. pm_inspect_end whatever it returns. */
pomai_status pm_inspect_begin(pm_inspection *in, const pm_os *os, const char *path, pomai_error *err);
/* The same without the catalogue; with_data: a database that lost its CURRENT will do. */
pomai_status pm_inspect_lock(pm_inspection *in, const pm_os *os, const char *path, bool with_data, pomai_error *err);
void pm_inspect_end(pm_inspection *in);
/* Reads the log of a shard; of `scan` the rest is set. */
pomai_status pm_inspect_scan(const pm_inspection *in, uint32_t shard, pm_wal_scan *scan, pomai_error *err);
/* The directory of a log; pm_free. NULL: no memory. */
char *pm_inspect_log_dir(const pm_inspection *in, uint32_t shard);
/* Where a segment is; pm_free(place->dir). place->dir NULL: no memory. */
void pm_inspect_place(const pm_inspection *in, const pm_manifest_entry *entry, uint64_t number,
                      pm_segment_place *place);
/* Bytes of all files in a directory. */
uint64_t pm_inspect_dir_bytes(const pm_os *os, const char *dir);

#endif
