/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what is left of a damaged log: every record that is whole by its own checksums, in whatever file. Nothing is
 * believed but checksums; what is missing is told as ranges of LSNs. What lies behind a gap counts only where something
 * says that the gap had been durable: else it is the torn tail of a crash, which nobody was promised.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "storage/wal/wal_int.h"

enum { PIECE = 65536 };

typedef struct log_file {
    uint64_t number;
    uint8_t *data;
    size_t mapped;
    uint64_t size;
    bool header; /* is right */
    uint32_t seed;
    pm_wal_header *h;
} log_file;

typedef struct log_files {
    pm_wal_salvage *w;
    uint64_t *number;
    size_t count, capacity;
    bool no_memory;
} log_files;

static int take_name(void *context, const char *name)
{
    log_files *f = context;
    if (strlen(name) != 14 || strcmp(name + 10, ".wal") != 0 || strspn(name, "0123456789") != 10) return 0;
    const uint64_t number = strtoull(name, NULL, 10);
    if (number == 0 || number < f->w->first_number) return 0;
    if (f->count == f->capacity) {
        const size_t capacity = f->capacity == 0 ? 16 : f->capacity * 2;
        uint64_t *wider = pm_realloc(f->number, capacity * sizeof *wider);
        if (wider == NULL) {
            f->no_memory = true;
            return 1;
        }
        f->number = wider;
        f->capacity = capacity;
    }
    f->number[f->count++] = number;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void say(pm_wal_salvage *w, const char *path, const char *what)
{
    pm_text_add(w->notes, "%s: %s\n", path, what);
    w->damaged = true;
}

/* What the disk refuses to give stays zero: no checksum is right there. */
static pomai_status load(pm_wal_salvage *w, log_file *f, pomai_error *err)
{
    const pm_os *os = w->place->os;
    char path[PM_PATH_MAX];
    if (!pm_wal_path(path, w->place, f->number, ""))
        return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long");
    int fd = os->file_open(os, path, PM_OPEN_READ);
    if (fd < 0 || os->file_size(os, fd, &f->size) != 0 || f->size < PM_WAL_HEADER || f->size > (uint64_t)1 << 32) {
        if (fd >= 0) os->file_close(os, fd);
        f->size = 0;
        say(w, path, fd < 0 ? "it cannot be opened" : "it has an impossible size");
        return POMAI_OK;
    }
    f->mapped = pm_align_up(f->size, 4096);
    f->data = os->pages_map(os, f->mapped);
    bool failed = false;
    for (uint64_t at = 0; f->data != NULL && at < f->size; at += PIECE)
        failed |= os->file_read(os, fd, f->data + at, pm_min_u64(PIECE, f->size - at), at) < 0;
    os->file_close(os, fd);
    if (f->data == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the log file %s", path);
    f->h = (pm_wal_header *)(void *)f->data;
    f->header = memcmp(f->h->magic, PM_WAL_MAGIC, 8) == 0 && f->h->format == PM_FORMAT &&
                f->h->crc == pm_crc32c(0, f->data + PM_CRC_FROM, sizeof *f->h - PM_CRC_FROM) &&
                memcmp(f->h->uuid, w->place->uuid, 16) == 0 && f->h->shard == w->place->shard &&
                f->h->number == f->number;
    f->seed = f->header ? pm_wal_seed(f->h->salt) : 0;
    if (failed) say(w, path, "the disk refuses to give all of it");
    if (!f->header)
        say(w, path,
            "its header is damaged, or it is not of this log; without the header none of its records can be "
            "told from noise");
    return POMAI_OK;
}

/* Keeps a record of a file; records of one file come in order. */
static bool keep(pm_wal_salvage *w, const uint8_t *record)
{
    const pm_rec_header *h = (const pm_rec_header *)(const void *)record;
    if (w->records == w->record_capacity) {
        const size_t capacity = w->record_capacity == 0 ? 256 : w->record_capacity * 2;
        const pm_rec_header **wider = pm_realloc(w->record, capacity * sizeof *wider);
        if (wider == NULL) return false;
        w->record = wider;
        w->record_capacity = capacity;
    }
    w->record[w->records++] = h;
    return true;
}

static bool keep_image(pm_wal_salvage *w, log_file *f)
{
    pm_wal_image *wider = pm_realloc(w->image, (w->images + 1) * sizeof *wider);
    if (wider == NULL) return false;
    w->image = wider;
    w->image[w->images++] = (pm_wal_image){.data = f->data, .mapped = f->mapped, .number = f->number};
    f->data = NULL;
    return true;
}

/* Steps over what is broken; `last` is the LSN before. */
static bool read_records(pm_wal_salvage *w, const log_file *f, uint64_t limit)
{
    uint64_t last = w->records == 0 ? 0 : w->record[w->records - 1]->lsn;
    for (uint64_t at = PM_WAL_HEADER; limit >= PM_REC_HEADER && at <= limit - PM_REC_HEADER;) {
        const pm_rec_header *h = (const pm_rec_header *)(const void *)(f->data + at);
        if (h->lsn <= last || h->version != PM_REC_VERSION ||
            pm_rec_check(f->data, at, limit, f->seed, h->lsn) != NULL) {
            at += PM_WAL_ALIGN;
            continue;
        }
        if (!keep(w, f->data + at)) return false;
        last = h->lsn;
        at += PM_REC_HEADER + h->payload_len;
    }
    return true;
}

/* Records at or above the LSN that a later file begins with were cut off before it was made. */
static void cut(pm_wal_salvage *w, uint64_t last)
{
    while (w->records > 0 && w->record[w->records - 1]->lsn > last)
        w->records--;
}

static pomai_status read_file(pm_wal_salvage *w, log_file *f, const log_file *next, pomai_error *err)
{
    uint64_t limit = f->size;
    if (next->header && next->h->pred_number == f->number) limit = pm_min_u64(limit, next->h->pred_length);
    if (f->header && f->data != NULL) {
        if (f->h->pred_number + 1 == f->number) {
            cut(w, f->h->pred_lsn);
            w->durable = pm_max_u64(w->durable, f->h->pred_lsn);
        }
        if (!read_records(w, f, limit)) return pm_fail(err, POMAI_ENOMEM, "no memory to read a damaged log");
    }
    if (f->data != NULL && !keep_image(w, f)) return pm_fail(err, POMAI_ENOMEM, "no memory to read a damaged log");
    return POMAI_OK;
}

/* What nobody was promised: records behind a gap of the last file that nothing calls durable. */
static void cut_torn_tail(pm_wal_salvage *w)
{
    uint64_t durable = pm_max_u64(w->durable, w->mark_durable), expected = w->before.lsn + 1;
    size_t sure = 0;
    for (size_t i = 0; i < w->records; i++)
        durable = pm_max_u64(durable, w->record[i]->durable_lsn);
    for (; sure < w->records; sure++) {
        const uint64_t lsn = w->record[sure]->lsn;
        if (lsn != expected && lsn - 1 > durable) break; /* the gap was not durable */
        expected = lsn + 1;
    }
    if (sure < w->records)
        pm_text_add(w->notes, "%s: LSN %llu and above are behind a torn tail that nobody was promised; left out\n",
                    w->place->dir, (unsigned long long)w->record[sure]->lsn);
    w->records = sure;
    w->durable = durable;
}

static void free_file(const pm_wal_salvage *w, log_file *f)
{
    if (f->data != NULL) w->place->os->pages_unmap(w->place->os, f->data, f->mapped);
    f->data = NULL;
}

pomai_status pm_wal_salvage_run(pm_wal_salvage *w, pomai_error *err)
{
    log_files names = {.w = w};
    pomai_status status = POMAI_OK;
    (void)w->place->os->dir_list(w->place->os, w->place->dir, take_name, &names);
    if (names.no_memory) status = pm_fail(err, POMAI_ENOMEM, "no memory to list a damaged log");
    if (names.count > 0) qsort(names.number, names.count, sizeof *names.number, by_number);
    log_file file = {0}, next = {0};
    if (status == POMAI_OK && names.count > 0) {
        file.number = names.number[0];
        status = load(w, &file, err);
    }
    for (size_t i = 0; i < names.count && status == POMAI_OK; i++) {
        memset(&next, 0, sizeof next);
        if (i + 1 < names.count) {
            next.number = names.number[i + 1];
            status = load(w, &next, err);
        }
        if (status == POMAI_OK) status = read_file(w, &file, &next, err);
        free_file(w, &file);
        file = next;
    }
    free_file(w, &file);
    pm_free(names.number);
    if (status == POMAI_OK) cut_torn_tail(w);
    return status;
}

void pm_wal_salvage_free(pm_wal_salvage *w)
{
    for (size_t i = 0; i < w->images; i++)
        w->place->os->pages_unmap(w->place->os, w->image[i].data, w->image[i].mapped);
    pm_free(w->image);
    pm_free(w->record);
    w->image = NULL;
    w->record = NULL;
    w->images = w->records = 0;
}
