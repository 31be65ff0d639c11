/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden databases: their files as text (tests/golden/README.md), and the machine that they are written and opened on,
 * whose clock and chance are the test's own.
 */
#ifndef T_GOLDEN_H
#define T_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/engine/engine.h"
#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "support/scene_check.h"

enum { GOLDEN_FILES = 100, GOLDEN_PATH = 120, GOLDEN_RUN = 3, GOLDEN_WIDTH = 100 };
#define GOLDEN_SECOND ((uint64_t)1000000000)
#define GOLDEN_BEGIN  (1750000000u * GOLDEN_SECOND) /* the clock of who writes */

struct golden_file {
    char path[GOLDEN_PATH];
    uint8_t *bytes;
    uint64_t size;
};

struct golden_files {
    struct golden_file file[GOLDEN_FILES]; /* by path */
    unsigned count;
};

/* ---- files of a disk ---- */

static inline void golden_add(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct golden_files *files = context;
    struct golden_file *f = &files->file[files->count++];
    if (files->count > GOLDEN_FILES || strlen(path) >= GOLDEN_PATH || (f->bytes = malloc(size + 1)) == NULL) abort();
    snprintf(f->path, GOLDEN_PATH, "%s", path);
    if (bytes != NULL)
        memcpy(f->bytes, bytes, size);
    else
        memset(f->bytes, 0, size);
    f->size = size;
}

static inline int golden_by_path(const void *a, const void *b)
{
    return strcmp(((const struct golden_file *)a)->path, ((const struct golden_file *)b)->path);
}

static inline struct golden_files *golden_of_disk(const pm_disk *disk)
{
    struct golden_files *files = calloc(1, sizeof *files);
    if (files == NULL) abort();
    pm_disk_each_file(disk, golden_add, files);
    qsort(files->file, files->count, sizeof files->file[0], golden_by_path);
    return files;
}

static inline void golden_free(struct golden_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        free(files->file[i].bytes);
    free(files);
}

/* NULL: there is none. The last one whose path begins and ends so. */
static inline struct golden_file *golden_find(struct golden_files *files, const char *begin, const char *end)
{
    struct golden_file *found = NULL;
    for (unsigned i = 0; i < files->count; i++) {
        const char *path = files->file[i].path;
        const size_t n = strlen(path), of_end = strlen(end);
        if (strncmp(path, begin, strlen(begin)) == 0 && n >= of_end && strcmp(path + n - of_end, end) == 0)
            found = &files->file[i];
    }
    return found;
}

static inline void golden_put(pm_disk *disk, const struct golden_file *f)
{
    char dir[GOLDEN_PATH];
    for (size_t i = 1; f->path[i] != '\0'; i++) {
        if (f->path[i] != '/') continue;
        snprintf(dir, sizeof dir, "%.*s", (int)i, f->path);
        if (pm_disk_kind(disk, dir) == PM_PATH_DIR) continue;
        char *parent = strrchr(dir, '/');
        if (pm_disk_make_dir(disk, dir) != 0) abort();
        *parent = '\0';
        if (pm_disk_sync_dir(disk, parent == dir ? "/" : dir) != 0) abort();
    }
    if (pm_disk_put(disk, f->path, f->bytes, f->size) != 0) abort();
}

static inline pm_disk *golden_disk(const struct golden_files *files)
{
    pm_disk *disk = pm_disk_make();
    for (unsigned i = 0; i < files->count; i++)
        golden_put(disk, &files->file[i]);
    return disk;
}

/* ---- as text ---- */

static inline uint64_t golden_zeros(const struct golden_file *f, uint64_t at)
{
    uint64_t n = at;
    while (n < f->size && f->bytes[n] == 0)
        n++;
    return n - at;
}

/* Lines of an offset, then bytes; .N is N zero bytes, and what no line has is zero. */
static inline void golden_print(FILE *to, const struct golden_file *f)
{
    fprintf(to, "file %s %llu\n", f->path, (unsigned long long)f->size);
    uint64_t at = golden_zeros(f, 0);
    while (at < f->size) {
        int width = fprintf(to, "%llx:", (unsigned long long)at);
        bool in_run = false; /* of bytes that are written one after the other */
        while (at < f->size && width < GOLDEN_WIDTH) {
            const uint64_t zeros = golden_zeros(f, at);
            if (zeros >= 256 || at + zeros == f->size) {
                at += zeros;
                break;
            }
            if (zeros >= GOLDEN_RUN)
                width += fprintf(to, " .%u", (unsigned)zeros);
            else
                width += fprintf(to, "%s%02x", in_run ? "" : " ", f->bytes[at]);
            in_run = zeros < GOLDEN_RUN;
            at += in_run ? 1 : zeros;
        }
        fputc('\n', to);
    }
}

static inline unsigned golden_digit(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* One line of bytes; false: it is not as golden_print writes it, or leads out of the file. */
static inline bool golden_take_line(struct golden_file *f, const char *line)
{
    char *p;
    uint64_t at = strtoull(line, &p, 16);
    if (p == line || *p++ != ':') return false;
    while (*p != '\0') {
        if (*p == ' ') {
            p++;
        } else if (*p == '.') {
            at += strtoull(p + 1, &p, 10);
        } else {
            const unsigned high = golden_digit(p[0]), low = high > 15 ? 16 : golden_digit(p[1]);
            if (low > 15 || at >= f->size) return false;
            f->bytes[at++] = (uint8_t)(high << 4 | low);
            p += 2;
        }
    }
    return true;
}

/* NULL: there is no such file, or *wrong says which line of it is wrong (else 0). */
static inline struct golden_files *golden_load(const char *path, unsigned *wrong)
{
    static char line[1000];
    FILE *from = fopen(path, "r");
    *wrong = 0;
    if (from == NULL) return NULL;
    struct golden_files *files = calloc(1, sizeof *files);
    if (files == NULL) abort();
    bool good = true;
    unsigned n = 0;
    while (good && fgets(line, sizeof line, from) != NULL) {
        char name[GOLDEN_PATH];
        unsigned long long size;
        n++;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0') continue;
        if (sscanf(line, "file %119s %llu", name, &size) == 2) {
            good = size <= 64 << 20 && files->count < GOLDEN_FILES;
            if (good) golden_add(files, name, NULL, size);
        } else {
            good = files->count > 0 && golden_take_line(&files->file[files->count - 1], line);
        }
    }
    fclose(from);
    if (good) return files;
    *wrong = n;
    golden_free(files);
    return NULL;
}

/* ---- the machine ---- */

struct golden {
    pm_sim *sim;
    pomai_db *db;
    pomai_error err;
    char what[500];
    FILE *answers; /* where they go */
    uint32_t flags;
    bool built; /* the indexes are to be those that were found */
};

static uint64_t golden_clock, golden_drawn;
static pm_sim *golden_machine; /* NULL: none */

static inline uint64_t golden_wall(const pm_os *os)
{
    (void)os;
    return golden_clock;
}

static inline int golden_random(const pm_os *os, void *to, size_t size)
{
    (void)os;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)pm_mix64(++golden_drawn);
    return 0;
}

/* The wall clock is set by the test and stands still; random bytes depend on nothing but how many were drawn. */
static inline void golden_make(struct golden *g)
{
    memset(g, 0, sizeof *g);
    g->sim = golden_machine = pm_sim_make(1);
    pm_sim_set_preemption(g->sim, 0);
    pm_os *os = (pm_os *)(uintptr_t)pm_sim_os(g->sim);
    os->wall_ns = golden_wall;
    os->random = golden_random;
    golden_clock = GOLDEN_BEGIN;
    golden_drawn = 0;
}

static inline void golden_end(void)
{
    pm_sim_free(golden_machine);
    golden_machine = NULL;
}

static inline bool golden_open(struct golden *g, uint32_t flags)
{
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.flags = flags;
    o.shards = 2;
    o.search_threads = UINT32_MAX;
    o.wal_file_bytes = 64 << 10;
    o.segment_bytes = 1 << 20; /* nothing is merged in quiet times */
    o.compact_rate = UINT64_MAX;
    o.scrub_rate = UINT64_MAX;
    o.watch_share = UINT64_MAX;
    o.build_threads = UINT64_MAX;
    return pm_db_open(pm_sim_os(g->sim), "/db", &o, &g->db, &g->err) == POMAI_OK;
}

#endif
