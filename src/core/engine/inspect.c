/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a database that no writer has open, with the readers that recovery uses, and changing nothing. */
#include "core/engine/inspect.h"

#include <string.h>

pomai_status pm_inspect_lock(pm_inspection *in, const pm_os *os, const char *path, bool with_data, pomai_error *err)
{
    memset(in, 0, sizeof *in);
    in->os = os;
    in->path = path;
    in->lock = (pm_lock){-1, -1};
    if (path == NULL || path[0] == '\0') return pm_fail(err, POMAI_EINVAL, "the path of the database is empty");
    if (strlen(path) > PM_DB_PATH_MAX) return pm_fail(err, POMAI_ETOOBIG, "the path of the database is too long");
    pm_dir_state state = PM_DIR_ABSENT;
    pomai_status status = pm_layout_probe(os, path, &state, err);
    if (status == POMAI_ECORRUPT && with_data) {
        status = POMAI_OK;
        state = PM_DIR_DATABASE;
    }
    if (status != POMAI_OK) return status;
    if (state != PM_DIR_DATABASE) return pm_fail(err, POMAI_ENOTFOUND, "there is no database at %s", path);
    status = pm_layout_lock(os, path, false, &in->lock, err);
    if (status != POMAI_OK) return status;
    in->manifest_dir = pm_layout_path(path, "manifest");
    if (in->manifest_dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to look at the database");
    return POMAI_OK;
}

pomai_status pm_inspect_begin(pm_inspection *in, const pm_os *os, const char *path, pomai_error *err)
{
    pomai_status status = pm_inspect_lock(in, os, path, false, err);
    return status == POMAI_OK ? pm_manifest_read(os, in->manifest_dir, &in->manifest, err) : status;
}

void pm_inspect_end(pm_inspection *in)
{
    pm_manifest_clear(&in->manifest);
    pm_free(in->manifest_dir);
    pm_layout_unlock(in->os, &in->lock);
}

char *pm_inspect_log_dir(const pm_inspection *in, uint32_t shard)
{
    return pm_layout_path(in->path, "shards/%u/%u/wal", in->manifest.epoch, shard);
}

pomai_status pm_inspect_scan(const pm_inspection *in, uint32_t shard, pm_wal_scan *scan, pomai_error *err)
{
    char *dir = pm_inspect_log_dir(in, shard);
    if (dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to look at the database");
    pm_wal_place place = {.os = in->os, .dir = dir, .epoch = in->manifest.epoch, .shard = shard};
    memcpy(place.uuid, in->manifest.uuid, 16);
    scan->place = &place;
    scan->first_number = in->manifest.shard[shard].first_wal;
    scan->before = pm_wal_before(&in->manifest.shard[shard]);
    pomai_status status = pm_wal_scan_run(scan, err);
    scan->place = NULL;
    pm_free(dir);
    return status;
}

void pm_inspect_place(const pm_inspection *in, const pm_manifest_entry *entry, uint64_t number, pm_segment_place *place)
{
    *place = (pm_segment_place){
        .os = in->os,
        .dir = pm_layout_path(in->path, "collections/%u/segments/%llu", entry->fixed.id, (unsigned long long)number),
        .collection = entry->fixed.id,
        .dim = entry->fixed.dim,
        .dtype = (pomai_dtype)entry->fixed.dtype,
        .id_kind = (pomai_id_kind)entry->fixed.id_kind,
        .shards = in->manifest.shards,
        .number = number};
    memcpy(place->uuid, in->manifest.uuid, 16);
}

typedef struct sizing {
    const pm_os *os;
    const char *dir;
    uint64_t bytes;
} sizing;

static int add_size(void *context, const char *name)
{
    sizing *s = context;
    char *path = strlen(name) > 100 ? NULL : pm_layout_path(s->dir, "%s", name);
    int fd = path == NULL ? -1 : s->os->file_open(s->os, path, PM_OPEN_READ);
    uint64_t size = 0;
    if (fd >= 0) {
        if (s->os->file_size(s->os, fd, &size) == 0) s->bytes += size;
        s->os->file_close(s->os, fd);
    }
    pm_free(path);
    return 0;
}

uint64_t pm_inspect_dir_bytes(const pm_os *os, const char *dir)
{
    sizing s = {.os = os, .dir = dir};
    if (dir != NULL) (void)os->dir_list(os, dir, add_size, &s);
    return s.bytes;
}
