/* SPDX-License-Identifier: Apache-2.0 */
/* What a clean close leaves on the disk, and what a tool says of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/engine.h"
#include "world.h"

enum { W_PATH = 300 };

pomai_status w_verify(struct world *w, pomai_error *err)
{
    char *json = NULL;
    pomai_status status = pm_inspect_verify(pm_sim_os(w->sim), "/db", NULL, NULL, &json, err);
    pomai_free(json);
    return status;
}

typedef struct walk {
    struct world *w;
    pm_manifest *manifest;
    const pm_manifest_entry *entry;
    const pm_manifest_segment *segment;
    char dir[W_PATH];
    uint64_t bytes, segments;
} walk;

static uint64_t size_of(const walk *k, const char *name)
{
    const pm_os *os = pm_sim_os(k->w->sim);
    char path[W_PATH * 2];
    uint64_t size = 0;
    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    int fd = os->file_open(os, path, PM_OPEN_READ);
    if (fd < 0) return 0;
    (void)os->file_size(os, fd, &size);
    (void)os->file_close(os, fd);
    return size;
}

/* Lists a directory below the one that is being walked. */
static void descend(walk *k, const char *name, int (*each)(void *context, const char *name))
{
    const pm_os *os = pm_sim_os(k->w->sim);
    char *end = k->dir + strlen(k->dir);
    snprintf(end, W_PATH - (size_t)(end - k->dir), "/%s", name);
    (void)os->dir_list(os, k->dir, each, k);
    *end = '\0';
}

static int segment_file(void *context, const char *name)
{
    walk *k = context;
    static const char *const names[] = {"vectors.arrow", "attributes.arrow", "ids.idx", "stats.json", "SEGMENT"};
    char live[40];
    bool known = false;
    if (pm_derived_kind(name) != 0) return 0; /* of any size, and not compared */
    snprintf(live, sizeof live, "live-%llu", (unsigned long long)k->segment->live_generation);
    for (int i = 0; i < 5; i++)
        known |= strcmp(name, names[i]) == 0;
    known |= k->segment->live_generation != 0 && strcmp(name, live) == 0;
    if (!known) w_fail(k->w, "after a clean close there is %s/%s", k->dir, name);
    k->bytes += size_of(k, name);
    return 0;
}

static int segment_dir(void *context, const char *name)
{
    walk *k = context;
    k->segment = NULL;
    for (uint32_t i = 0; k->entry != NULL && i < k->entry->segments; i++)
        if (k->entry->segment[i].number == strtoull(name, NULL, 10)) k->segment = &k->entry->segment[i];
    if (k->segment == NULL)
        w_fail(k->w, "after a clean close there is %s/%s, which the catalogue does not list", k->dir, name);
    else
        descend(k, name, segment_file);
    k->segments++;
    return 0;
}

static int collection_dirs(void *context, const char *name)
{
    walk *k = context;
    char below[W_PATH];
    k->entry = pm_manifest_find(k->manifest, (uint32_t)strtoul(name, NULL, 10));
    snprintf(below, sizeof below, "%.200s/segments", name);
    descend(k, below, segment_dir);
    return 0;
}

typedef struct logs {
    walk *k;
    uint64_t first, bytes;
} logs;

static int log_file(void *context, const char *name)
{
    logs *l = context;
    const size_t size = strlen(name);
    const bool log = size > 4 && strcmp(name + size - 4, ".wal") == 0;
    if (log && strtoull(name, NULL, 10) < l->first)
        w_fail(l->k->w, "after a clean close there is still the log file %s/%s", l->k->dir, name);
    l->bytes += size_of(l->k, name);
    return 0;
}

static uint64_t check_logs(walk *k)
{
    const pm_os *os = pm_sim_os(k->w->sim);
    uint64_t bytes = 0;
    for (uint32_t s = 0; s < k->manifest->shards; s++) {
        logs l = {k, k->manifest->shard[s].first_wal, 0};
        snprintf(k->dir, sizeof k->dir, "/db/shards/1/%u/wal", s);
        (void)os->dir_list(os, k->dir, log_file, &l);
        bytes += l.bytes;
    }
    return bytes;
}

/* Bytes that the rows take that must be there, generously. */
static uint64_t live_bytes(const struct world *w)
{
    enum { OVERHEAD = 600 }; /* ids, columns, indexes, and a document now and then */
    const struct w_model *m = w->model;
    uint64_t bytes = 0;
    for (uint32_t c = 0; c < w->config.clients; c++)
        for (int coll = 0; coll < W_ASSIGNED; coll++)
            bytes += (uint64_t)W_KEYS * (w->config.dim[coll] * sizeof(float) + OVERHEAD);
    for (uint32_t i = 1; i <= m->ops; i++)
        if (m->op[i].coll == W_ASSIGNED && m->op[i].state != W_DEAD)
            bytes += m->op[i].rows * (w->config.dim[W_ASSIGNED] * sizeof(float) + OVERHEAD);
    return bytes;
}

void w_check_copy(struct world *w)
{
    const pm_os *os = pm_sim_os(w->sim);
    pm_manifest manifest;
    pomai_error err = {0};
    bool there = false;
    if (pm_manifest_read(os, "/db/manifest", &manifest, &err) != POMAI_OK) return; /* whoever opens it says why */
    pomai_status status = pm_manifest_check_copy(os, "/db/shards", &manifest, &there, &err);
    if (status != POMAI_OK || !there)
        w_fail(w, "the copy of the catalogue: %s", status != POMAI_OK ? err.message : "missing");
    pm_manifest_clear(&manifest);
}

void w_check_disk(struct world *w)
{
    enum { OF_SEGMENT = 16 << 10, OF_LOG = 3 * (256 << 10) };
    const pm_os *os = pm_sim_os(w->sim);
    pm_manifest manifest;
    pomai_error err = {0};
    if (pm_manifest_read(os, "/db/manifest", &manifest, &err) != POMAI_OK) {
        w_fail(w, "the manifest after a clean close: %s", err.message);
        return;
    }
    walk k = {.w = w, .manifest = &manifest, .dir = "/db/collections"};
    (void)os->dir_list(os, k.dir, collection_dirs, &k);
    const uint64_t live = live_bytes(w), log = check_logs(&k);
    w_check_copy(w);
    if (w->tidy && k.bytes > 3 * live + k.segments * OF_SEGMENT)
        w_fail(w, "%llu bytes in %llu segments after a compaction, for at most %llu bytes of rows",
               (unsigned long long)k.bytes, (unsigned long long)k.segments, (unsigned long long)live);
    if (w->tidy && log > (uint64_t)manifest.shards * OF_LOG)
        w_fail(w, "%llu bytes of log after everything was flushed", (unsigned long long)log);
    pm_manifest_clear(&manifest);
}
