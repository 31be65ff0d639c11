/* SPDX-License-Identifier: Apache-2.0 */
/* The files of an image, and what a damage made of them. */
#ifndef T_FILES_H
#define T_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/sim/sim_disk.h"

enum { C_FILES = 600, C_PATH = 120 };

typedef enum c_kind {
    C_CURRENT,
    C_MANIFEST,
    C_MARK,
    C_LOG,
    C_SEGMENT,
    C_VECTORS,
    C_ATTRIBUTES,
    C_IDS,
    C_STATS,
    C_LIVE,
    C_LOCK,
    C_CODES,
    C_GRAPH,
    C_OTHER
} c_kind;

struct c_file {
    char path[C_PATH];
    c_kind kind;
    bool listed; /* a file of a segment that the catalogue names */
    uint8_t *bytes;
    uint64_t size, used; /* used: without the zeros at the end */
};

struct c_files {
    struct c_file file[C_FILES];
    unsigned count;
};

static inline c_kind c_kind_of(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    size_t n = strlen(name);
    if (strcmp(name, "LOCK") == 0) return C_LOCK;
    if (strcmp(name, "CURRENT") == 0) return C_CURRENT;
    if (strcmp(name, "WATERMARK") == 0) return C_MARK;
    if (n > 4 && strcmp(name + n - 4, ".wal") == 0) return C_LOG;
    if (strcmp(name, "SEGMENT") == 0) return C_SEGMENT;
    if (strcmp(name, "vectors.arrow") == 0) return C_VECTORS;
    if (strcmp(name, "attributes.arrow") == 0) return C_ATTRIBUTES;
    if (strcmp(name, "ids.idx") == 0) return C_IDS;
    if (strcmp(name, "stats.json") == 0) return C_STATS;
    if (strncmp(name, "live-", 5) == 0) return C_LIVE;
    if (strcmp(name, "codes") == 0) return C_CODES;
    if (strcmp(name, "graph") == 0) return C_GRAPH;
    if (n == 19 && strncmp(name, "MANIFEST-", 9) == 0) return C_MANIFEST;
    return C_OTHER;
}

static inline void c_take_file(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct c_files *files = context;
    if (files->count == C_FILES || strlen(path) >= sizeof files->file[0].path) abort();
    struct c_file *f = &files->file[files->count++];
    snprintf(f->path, sizeof f->path, "%s", path);
    f->kind = c_kind_of(path);
    f->listed = false;
    f->bytes = malloc(size + 1);
    if (f->bytes == NULL) abort();
    memcpy(f->bytes, bytes, size);
    f->size = f->used = size;
    while (f->used > 0 && bytes[f->used - 1] == 0)
        f->used--;
}

static inline void c_files_free(struct c_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        free(files->file[i].bytes);
    files->count = 0;
}

static inline void c_files_read(struct c_files *files, const pm_disk *disk)
{
    c_files_free(files);
    pm_disk_each_file(disk, c_take_file, files);
}

static inline int c_find(const struct c_files *files, const char *path)
{
    for (unsigned i = 0; i < files->count; i++)
        if (strcmp(files->file[i].path, path) == 0) return (int)i;
    return -1;
}

static inline size_t c_dir_size(const char *path)
{
    return (size_t)(strrchr(path, '/') - path);
}

static inline bool c_same_dir(const struct c_file *a, const struct c_file *b)
{
    const size_t size = c_dir_size(a->path);
    return size == c_dir_size(b->path) && memcmp(a->path, b->path, size) == 0;
}

/* The files after a damage, beside those of the image. bytes NULL: removed. */
struct c_view {
    uint8_t *bytes[C_FILES]; /* the image's own, unless `changed` */
    uint64_t size[C_FILES];
    bool changed[C_FILES];
};

#endif
