/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a log: docs/format/wal.md, "Reading". Invariants:
 *  1. Nothing of a record is used before its header checksum is right, and no length before it is known to fit the
 * file.
 *  2. A read error or a file that is shorter than its size is an error, never the end of the log.
 *  3. The end of the log is a torn tail only if nothing on disk says that what is missing had been durable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/mutant.h"
#include "base/point.h"
#include "storage/wal/wal_int.h"

/* ---- one record ---- */

static bool all_zero(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != 0) return false;
    return true;
}

/* The header alone: right checksum, and a sane shape whose sections add up. */
static bool header_sound(const pm_rec_header *h, uint32_t seed)
{
    if (h->header_crc != pm_crc32c(seed, (const uint8_t *)h + 4, sizeof *h - 4)) return false;
    if (h->version != PM_REC_VERSION || h->zero1 != 0 || h->key_id != 0) return false;
    if (!all_zero(h->zero2, sizeof h->zero2) || (h->flags & ~PM_REC_FLAGS_KNOWN) != 0) return false;
    if (h->parts == 0 || h->part >= h->parts || h->lsn == 0 || h->durable_lsn >= h->lsn) return false;
    /* Bytes of a column and its table of ends; keeps sums from overflowing. */
    const uint64_t most = POMAI_MAX_BATCH_BYTES + ((uint64_t)PM_MAX_ROWS + 1) * sizeof(uint32_t);
    if (h->ids_len > most || h->vectors_len > most || h->documents_len > most) return false;
    const bool has_expiry = (h->flags & PM_REC_HAS_EXPIRY) != 0;
    if (h->expiry_len != (has_expiry ? (uint64_t)h->rows * sizeof(uint64_t) : 0)) return false;
    pm_rec_layout layout;
    pm_rec_layout_init(&layout, h->ids_len, h->vectors_len, h->expiry_len, h->documents_len);
    return layout.payload_len == h->payload_len;
}

/* A column of rows + 1 u32 ends and then bytes. */
static bool ends_sound(const uint8_t *column, uint64_t length, uint64_t rows, uint32_t least, uint32_t most)
{
    uint64_t table = (rows + 1) * sizeof(uint32_t);
    if (length < table) return false;
    const uint32_t *ends = (const uint32_t *)(const void *)column; /* columns are 64-byte aligned */
    if (ends[0] != 0 || ends[rows] != length - table) return false;
    for (uint64_t i = 0; i < rows; i++)
        if (ends[i + 1] < ends[i] || ends[i + 1] - ends[i] < least || ends[i + 1] - ends[i] > most) return false;
    return true;
}

static bool ids_sound(const pm_rec_header *h, const uint8_t *ids)
{
    if (h->id_kind == POMAI_ID_STRING)
        return (h->flags & PM_REC_IDS_ARE_RANGE) == 0 && ends_sound(ids, h->ids_len, h->rows, 1, POMAI_MAX_STRING_ID);
    if (h->id_kind != POMAI_ID_U64) return false;
    if ((h->flags & PM_REC_IDS_ARE_RANGE) == 0) return h->ids_len == (uint64_t)h->rows * 8;
    uint64_t first, last;
    if (h->ids_len != 8) return false;
    memcpy(&first, ids, 8);
    return !pm_add_overflows(first, h->rows - 1, &last);
}

static bool columns_sound(const pm_rec_header *h, const uint8_t *record)
{
    pm_rec_layout l;
    pm_rec_layout_init(&l, h->ids_len, h->vectors_len, h->expiry_len, h->documents_len);
    bool has_documents = (h->flags & PM_REC_HAS_DOCUMENTS) != 0;
    switch (h->op) {
    case PM_OP_PUT:
        return h->rows > 0 && h->rows <= PM_MAX_ROWS && pm_dtype_known(h->dtype) && h->dim > 0 &&
               h->dim <= POMAI_MAX_DIM &&
               h->vectors_len == (uint64_t)h->rows * h->dim * pm_dtype_size((pomai_dtype)h->dtype) &&
               ids_sound(h, record + l.ids_at) &&
               (has_documents ? ends_sound(record + l.documents_at, l.documents_len, h->rows, 0, UINT32_MAX)
                              : h->documents_len == 0);
    case PM_OP_DELETE:
        return h->rows > 0 && h->rows <= PM_MAX_ROWS && h->dtype == PM_DTYPE_NONE && h->dim == 0 &&
               h->vectors_len == 0 && h->documents_len == 0 && (h->flags & ~PM_REC_IDS_ARE_RANGE) == 0 &&
               ids_sound(h, record + l.ids_at);
    case PM_OP_ABORT:
        return h->rows == 0 && h->payload_len == 0 && h->id_kind == 0 && h->flags == 0 && h->dim == 0 &&
               h->collection == 0 && h->dtype == PM_DTYPE_NONE;
    default:
        return false;
    }
}

const char *pm_rec_check(const uint8_t *image, uint64_t at, uint64_t limit, uint32_t seed, uint64_t lsn)
{
    if (limit < PM_REC_HEADER || at > limit - PM_REC_HEADER) return "the file ends within a record's header";
    const pm_rec_header *h = (const pm_rec_header *)(const void *)(image + at);
    if (PM_MUTANT(LENGTH_TRUSTED) && pm_crc32c(seed, h + 1, h->payload_len) != h->payload_crc) return "damaged";
    if (!header_sound(h, seed)) return "the record's header is damaged";
    if (h->lsn != lsn) return "the record has the wrong LSN";
    if (h->payload_len > limit - at - PM_REC_HEADER) return "the file ends within a record";
    if (h->payload_crc != pm_crc32c(seed, image + at + PM_REC_HEADER, h->payload_len))
        return "the record's payload is damaged";
    if (!columns_sound(h, image + at)) return "the record's columns do not fit its header";
    return NULL;
}

/* ---- files ---- */

typedef struct names {
    uint64_t *numbers;
    size_t count, capacity;
    pm_wal_scan *scan;
    bool no_memory;
} names;

static bool is_temporary(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".tmp") == 0;
}

/* The number of a log file, from 1; 0: this is none. */
static uint64_t number_of(const char *name)
{
    uint64_t number = 0;
    if (strlen(name) != 14 || strcmp(name + 10, ".wal") != 0) return 0;
    for (size_t i = 0; i < 10; i++) {
        if (name[i] < '0' || name[i] > '9') return 0;
        number = number * 10 + (uint64_t)(name[i] - '0');
    }
    return number;
}

typedef struct leftovers {
    const pm_wal_place *place;
    uint64_t first_number;
} leftovers;

static int remove_leftover(void *context, const char *name)
{
    const leftovers *l = context;
    const pm_wal_place *place = l->place;
    char path[PM_PATH_MAX];
    const uint64_t number = number_of(name);
    if (!is_temporary(name) && (number == 0 || number >= l->first_number)) return 0;
    int k = snprintf(path, sizeof path, "%s/%s", place->dir, name);
    if (k > 0 && k < (int)sizeof path) (void)place->os->path_remove(place->os, path);
    return 0;
}

void pm_wal_remove_leftovers(const pm_wal_place *place, uint64_t first_number)
{
    leftovers l = {place, first_number};
    (void)place->os->dir_list(place->os, place->dir, remove_leftover, &l);
}

static int take_name(void *context, const char *name)
{
    names *n = context;
    const uint64_t number = number_of(name);
    if (number == 0) {
        if (!is_temporary(name) && strcmp(name, "WATERMARK") != 0 && n->scan->notes != NULL)
            pm_text_add(n->scan->notes, "unknown file %s/%s left alone\n", n->scan->place->dir, name);
        return 0;
    }
    if (number < n->scan->first_number) {
        if (n->scan->notes != NULL)
            pm_text_add(n->scan->notes, "log file %llu of %s was retired; the next open for writing removes it\n",
                        (unsigned long long)number, n->scan->place->dir);
        return 0;
    }
    if (n->count == n->capacity) {
        size_t capacity = n->capacity == 0 ? 16 : n->capacity * 2;
        uint64_t *numbers = pm_realloc(n->numbers, capacity * sizeof *numbers);
        if (numbers == NULL) {
            n->no_memory = true;
            return 1;
        }
        n->numbers = numbers;
        n->capacity = capacity;
    }
    n->numbers[n->count++] = number;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static pomai_status list_files(pm_wal_scan *scan, names *n, pomai_error *err)
{
    const pm_wal_place *place = scan->place;
    n->scan = scan;
    int rc = place->os->dir_list(place->os, place->dir, take_name, n);
    if (n->no_memory) return pm_fail(err, POMAI_ENOMEM, "no memory to list the log %s", place->dir);
    if (rc == -ENOENT)
        return pm_fail(err, POMAI_ECORRUPT, "the log directory %s is missing; restore it from a copy", place->dir);
    if (rc != 0) return pm_fail_os(err, rc, "cannot list the log %s", place->dir);
    if (n->count > 0) qsort(n->numbers, n->count, sizeof *n->numbers, by_number);
    for (size_t i = 0; i < n->count; i++)
        if (n->numbers[i] != scan->first_number + i)
            return pm_fail(err, POMAI_ECORRUPT, "log file %llu of %s is missing; restore it from a copy",
                           (unsigned long long)(scan->first_number + i), place->dir);
    if (n->count == 0 && scan->first_number > 1)
        return pm_fail(err, POMAI_ECORRUPT, "log file %llu of %s is missing, the first one; restore it from a copy",
                       (unsigned long long)scan->first_number, place->dir);
    return POMAI_OK;
}

static void image_free(const pm_wal_place *place, pm_wal_image *image)
{
    if (image->data != NULL) place->os->pages_unmap(place->os, image->data, image->mapped);
    image->data = NULL;
}

/* Reads a whole file. A short read is an error: the size was asked for a moment ago. */
static pomai_status read_image(const pm_wal_place *place, uint64_t number, pm_wal_image *image, uint64_t *size,
                               pomai_error *err)
{
    const pm_os *os = place->os;
    char path[PM_PATH_MAX];
    memset(image, 0, sizeof *image);
    image->number = number;
    if (!pm_wal_path(path, place, number, "")) return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long");
    int fd = os->file_open(os, path, PM_OPEN_READ);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open the log file %s", path);
    pomai_status status = POMAI_OK;
    int rc = os->file_size(os, fd, size);
    if (rc != 0) {
        status = pm_fail_os(err, rc, "cannot read the size of the log file %s", path);
    } else if (*size < PM_WAL_HEADER || *size > (uint64_t)1 << 32) {
        status = pm_fail(err, POMAI_ECORRUPT, "the log file %s has an impossible size, %llu bytes", path,
                         (unsigned long long)*size);
    } else {
        image->mapped = pm_align_up(*size, 4096);
        image->data = os->pages_map(os, image->mapped);
        if (image->data == NULL)
            status = pm_fail(err, POMAI_ENOMEM, "no memory for the log file %s, %llu bytes", path,
                             (unsigned long long)*size);
    }
    if (status == POMAI_OK) {
        int64_t got = os->file_read(os, fd, image->data, *size, 0);
        if (got < 0 && PM_MUTANT(EIO_IS_THE_END)) got = os->file_read(os, fd, image->data, *size = PM_WAL_HEADER, 0);
        if (got < 0)
            status = pm_fail_os(err, (int)got, "cannot read the log file %s", path);
        else if ((uint64_t)got != *size)
            status = pm_fail(err, POMAI_EIO, "the log file %s ended after %lld of %llu bytes", path, (long long)got,
                             (unsigned long long)*size);
    }
    os->file_close(os, fd);
    if (status != POMAI_OK) image_free(place, image);
    return status;
}

static pomai_status check_file_header(pm_wal_scan *scan, const pm_wal_image *image, uint32_t *seed, pomai_error *err)
{
    const pm_wal_place *place = scan->place;
    const pm_wal_header *h = (const pm_wal_header *)(const void *)image->data;
    const unsigned long long number = image->number;
    if (memcmp(h->magic, PM_WAL_MAGIC, 8) != 0 ||
        h->crc != pm_crc32c(0, (const uint8_t *)h + PM_CRC_FROM, sizeof *h - PM_CRC_FROM))
        return pm_fail(err, POMAI_ECORRUPT, "the header of log file %llu of %s is damaged", number, place->dir);
    if (h->format != PM_FORMAT)
        return pm_fail(err, POMAI_EFORMAT, "log file %llu of %s has format %u, this build reads %u; %s", number,
                       place->dir, h->format, PM_FORMAT, pm_format_advice(h->format));
    if (memcmp(h->uuid, place->uuid, 16) != 0)
        return pm_fail(err, POMAI_EFOREIGN, "log file %llu of %s belongs to another database; move it away", number,
                       place->dir);
    if (h->epoch != place->epoch || h->shard != place->shard || h->number != image->number)
        return pm_fail(err, POMAI_EFOREIGN, "log file %llu of %s is shard %u's file %llu; put it back there", number,
                       place->dir, h->shard, (unsigned long long)h->number);
    if (h->cipher != 0 || h->zero1 != 0 || !all_zero(h->zero2, sizeof h->zero2))
        return pm_fail(err, POMAI_ECORRUPT, "log file %llu of %s has bits that this format does not know", number,
                       place->dir);
    const pm_wal_end *end = &scan->end;
    const bool passed_over = PM_MUTANT(PRED_FROM_MANIFEST_NOT_CHECKED) && image->number == scan->first_number;
    if (passed_over)
        scan->end = (pm_wal_end){h->pred_number, h->pred_lsn, h->pred_length, h->pred_chain, h->pred_stamp};
    if (!PM_MUTANT(PRED_NOT_CHECKED) && !passed_over &&
        (h->pred_number != end->number || h->pred_lsn != end->lsn || h->pred_length != end->length ||
         h->pred_chain != end->chain || h->pred_stamp != end->stamp))
        return pm_fail(err, POMAI_ECORRUPT, "log file %llu of %s does not continue the file before it", number,
                       place->dir);
    *seed = pm_wal_seed(h->salt);
    scan->open_counter = pm_max_u64(scan->open_counter, h->open_counter);
    return POMAI_OK;
}

/* The length that a later file states for `number`; 0 if it is the last file. */
static pomai_status stated_length(const pm_wal_scan *scan, uint64_t number, bool is_last, uint64_t *length,
                                  pomai_error *err)
{
    *length = 0;
    if (is_last) return POMAI_OK;
    const pm_os *os = scan->place->os;
    char path[PM_PATH_MAX];
    if (!pm_wal_path(path, scan->place, number + 1, "")) return pm_fail(err, POMAI_ETOOBIG, "path too long");
    int fd = os->file_open(os, path, PM_OPEN_READ);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open the log file %s", path);
    pm_wal_header h;
    int64_t got = os->file_read(os, fd, &h, sizeof h, 0);
    os->file_close(os, fd);
    if (got < 0) return pm_fail_os(err, (int)got, "cannot read the log file %s", path);
    if (got != sizeof h || memcmp(h.magic, PM_WAL_MAGIC, 8) != 0 ||
        h.crc != pm_crc32c(0, (const uint8_t *)&h + PM_CRC_FROM, sizeof h - PM_CRC_FROM))
        return pm_fail(err, POMAI_ECORRUPT, "the header of the log file %s is damaged", path);
    *length = h.pred_length;
    if (h.pred_number != number || h.pred_length < PM_WAL_HEADER)
        return pm_fail(err, memcmp(h.uuid, scan->place->uuid, 16) != 0 ? POMAI_EFOREIGN : POMAI_ECORRUPT,
                       "the log file %s does not continue the file before it", path);
    return POMAI_OK;
}

/* ---- the WATERMARK ---- */

static pomai_status read_mark(pm_wal_scan *scan, pomai_error *err)
{
    const pm_wal_place *place = scan->place;
    const pm_os *os = place->os;
    char path[PM_PATH_MAX];
    if (!pm_mark_path(path, place, "")) return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long");
    int fd = os->file_open(os, path, PM_OPEN_READ);
    if (fd == -ENOENT)
        return pm_fail(err, POMAI_ECORRUPT,
                       "%s is missing; without it damage could pass unseen: restore it from a copy", path);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open %s", path);
    pm_mark_slot slots[2];
    memset(slots, 0, sizeof slots);
    uint64_t size = 0;
    int rc = os->file_size(os, fd, &size);
    int64_t got = rc != 0 ? rc : os->file_read(os, fd, slots, sizeof slots, 0);
    os->file_close(os, fd);
    if (got < 0) return pm_fail_os(err, (int)got, "cannot read %s", path);
    int best = -1;
    for (int i = 0; i < 2; i++) {
        const pm_mark_slot *s = &slots[i];
        if (memcmp(s->magic, PM_MARK_MAGIC, 8) != 0 ||
            s->crc != pm_crc32c(0, (const uint8_t *)s + PM_CRC_FROM, sizeof *s - PM_CRC_FROM)) {
            if (scan->notes != NULL)
                pm_text_add(scan->notes, "slot %d of %s is not whole; the other counts\n", i, path);
            continue;
        }
        if (s->format != PM_FORMAT || !all_zero(s->zero, sizeof s->zero))
            return pm_fail(err, POMAI_EFORMAT, "%s has format %u, this build reads %u; %s", path, s->format, PM_FORMAT,
                           pm_format_advice(s->format));
        if (memcmp(s->uuid, place->uuid, 16) != 0 || s->epoch != place->epoch || s->shard != place->shard)
            return pm_fail(err, POMAI_EFOREIGN, "%s belongs to another log", path);
        if (best < 0 || s->sequence > slots[best].sequence) best = i;
    }
    if (best < 0 || size != sizeof slots)
        return pm_fail(err, POMAI_ECORRUPT, "%s is damaged; restore it from a copy", path);
    scan->mark = slots[best];
    return POMAI_OK;
}

/* ---- the scan ---- */

/* The largest LSN that anything behind `at` says was durable, with the headers' own checksums as witnesses. */
static uint64_t durable_witness(const uint8_t *image, uint64_t at, uint64_t size, uint32_t seed, uint64_t lsn)
{
    uint64_t durable = 0;
    for (; at <= size - PM_REC_HEADER; at += PM_WAL_ALIGN) { /* no file is smaller than its own header */
        const pm_rec_header *h = (const pm_rec_header *)(const void *)(image + at);
        if (h->lsn <= lsn || h->durable_lsn <= durable || h->version != PM_REC_VERSION) continue;
        if (header_sound(h, seed)) durable = h->durable_lsn;
    }
    return durable;
}

typedef struct file_scan {
    pm_wal_image image;
    uint64_t size;  /* of the file */
    uint64_t limit; /* records must not reach beyond */
    bool is_last;
    uint32_t seed;
} file_scan;

static pomai_status broken_record(pm_wal_scan *scan, const file_scan *f, const char *why, pomai_error *err)
{
    const uint64_t at = scan->end.length, lsn = scan->end.lsn + 1;
    uint64_t durable = scan->mark.durable_lsn;
    if (f->is_last && !PM_MUTANT(WITNESS_IGNORED))
        durable = pm_max_u64(durable, durable_witness(f->image.data, at, f->size, f->seed, lsn));
    if (!f->is_last || durable >= lsn) {
        char range[64];
        if (durable > lsn)
            snprintf(range, sizeof range, "LSN %llu to %llu", (unsigned long long)lsn, (unsigned long long)durable);
        else
            snprintf(range, sizeof range, "LSN %llu%s", (unsigned long long)lsn,
                     f->is_last ? "" : " and what follows it");
        return pm_fail(
            err, POMAI_ECORRUPT,
            "log file %llu of %s is damaged at offset %llu: %s; %s was durable and cannot be read; restore the "
            "file from a copy, or open read-only up to the damage (POMAI_OPEN_ACCEPT_DAMAGE)",
            (unsigned long long)f->image.number, scan->place->dir, (unsigned long long)at, why, range);
    }
    uint64_t torn_end = f->size;
    while (torn_end > at && f->image.data[torn_end - 1] == 0)
        torn_end--;
    if (torn_end > at) {
        scan->torn_at = at;
        scan->torn_bytes = torn_end - at;
    }
    return POMAI_OK;
}

/* Whether the log up to scan->end is the one that the WATERMARK was written for. */
static pomai_status compare_chain(const pm_wal_scan *scan, pomai_error *err)
{
    const pm_wal_end *end = &scan->end;
    if (end->lsn != scan->mark.durable_lsn || end->chain == scan->mark.chain || PM_MUTANT(CHAIN_NOT_COMPARED))
        return POMAI_OK;
    return pm_fail(err, POMAI_ECORRUPT,
                   "log file %llu of %s is not the one that was written: its records up to LSN %llu differ from the "
                   "WATERMARK; restore both from the same copy",
                   (unsigned long long)end->number, scan->place->dir, (unsigned long long)end->lsn);
}

/* The version of a record that a later build wrote: its header is whole, and says so. 0: there is none such. It is not
 * a torn tail, whatever else of it is not understood: it may have been acknowledged. */
static uint32_t later_version(const file_scan *f, uint64_t at, uint64_t lsn)
{
    if (f->limit < PM_REC_HEADER || at > f->limit - PM_REC_HEADER) return 0;
    const pm_rec_header *h = (const pm_rec_header *)(const void *)(f->image.data + at);
    if (h->version <= PM_REC_VERSION || h->lsn != lsn || PM_MUTANT(LATER_RECORD_IS_TORN)) return 0;
    return h->header_crc == pm_crc32c(f->seed, (const uint8_t *)h + 4, sizeof *h - 4) ? h->version : 0;
}

static pomai_status scan_records(pm_wal_scan *scan, file_scan *f, pomai_error *err)
{
    for (;;) {
        uint64_t at = scan->end.length;
        if (!f->is_last && at == f->limit) return POMAI_OK;
        const char *why = pm_rec_check(f->image.data, at, f->limit, f->seed, scan->end.lsn + 1);
        const uint32_t later = why == NULL ? 0 : later_version(f, at, scan->end.lsn + 1);
        if (later > 0)
            return pm_fail(err, POMAI_EFORMAT,
                           "log file %llu of %s has a record of version %u, this build reads %u; use a newer PomaiDB",
                           (unsigned long long)f->image.number, scan->place->dir, later, PM_REC_VERSION);
        if (why != NULL) return broken_record(scan, f, why, err);
        const pm_rec_header *h = (const pm_rec_header *)(const void *)(f->image.data + at);
        scan->end.lsn = h->lsn;
        scan->end.stamp = h->stamp;
        scan->end.chain = pm_rec_chain(scan->end.chain, h);
        scan->end.length = at + PM_REC_HEADER + h->payload_len;
        scan->records++;
        pomai_status status = compare_chain(scan, err);
        if (status != POMAI_OK) return status;
        if (scan->on_record != NULL) {
            status = scan->on_record(scan, &f->image, at, err);
            if (status != POMAI_OK) return status;
        }
    }
}

static bool has_bytes(const uint8_t *data, uint64_t from, uint64_t to)
{
    while (from < to && data[from] == 0)
        from++;
    return from < to;
}

static pomai_status scan_file(pm_wal_scan *scan, uint64_t number, bool is_last, pomai_error *err)
{
    const pm_wal_place *place = scan->place;
    file_scan f = {.is_last = is_last};
    pomai_status status = stated_length(scan, number, is_last, &f.limit, err);
    if (status != POMAI_OK) return status;
    status = read_image(place, number, &f.image, &f.size, err);
    if (status != POMAI_OK) return status;
    if (is_last || PM_MUTANT(STATED_LENGTH_IGNORED)) f.limit = f.size;
    if (f.limit > f.size)
        status =
            pm_fail(err, POMAI_ECORRUPT, "log file %llu of %s is cut short: %llu bytes of %llu",
                    (unsigned long long)number, place->dir, (unsigned long long)f.size, (unsigned long long)f.limit);
    if (status == POMAI_OK) status = check_file_header(scan, &f.image, &f.seed, err);
    if (status == POMAI_OK && !is_last && scan->notes != NULL && has_bytes(f.image.data, f.limit, f.size))
        pm_text_add(scan->notes, "bytes behind the end of log file %llu of %s; they mean nothing\n",
                    (unsigned long long)number, place->dir);
    if (status == POMAI_OK) {
        scan->end.number = number;
        scan->end.length = PM_WAL_HEADER;
        status = scan_records(scan, &f, err);
        scan->bytes += scan->end.length;
        f.image.length = scan->end.length;
    }
    /* What lies behind the records is not kept: an image holds rows, and a file may be mostly allocated ahead. */
    size_t keep = pm_align_up(f.image.length, 4096);
    if (f.image.length >= PM_WAL_HEADER && keep < f.image.mapped) {
        place->os->pages_unmap(place->os, f.image.data + keep, f.image.mapped - keep);
        f.image.mapped = keep;
    }
    bool keep_image = status == POMAI_OK || (status == POMAI_ECORRUPT && scan->accept_damage);
    if (keep_image && f.image.length > PM_WAL_HEADER && scan->on_image != NULL) {
        pomai_status taken = scan->on_image(scan, &f.image, err);
        if (taken != POMAI_OK) status = taken;
    }
    image_free(place, &f.image);
    if (status == POMAI_OK && !is_last && scan->on_file != NULL) status = scan->on_file(scan, &scan->end, err);
    return status;
}

static pomai_status scan_all(pm_wal_scan *scan, pomai_error *err)
{
    names n = {0};
    const pm_mark_slot *mark = &scan->mark;
    scan->end = scan->before;
    pomai_status status = read_mark(scan, err);
    if (status == POMAI_ECORRUPT && scan->accept_damage) { /* the records may be whole all the same */
        scan->damaged = true;
        memset(&scan->mark, 0, sizeof scan->mark);
        if (scan->notes != NULL) pm_text_add(scan->notes, "%s\n", err->message);
        status = POMAI_OK;
    }
    if (status == POMAI_OK) status = list_files(scan, &n, err);
    if (status == POMAI_OK && scan->first_number > 1 && !scan->damaged) status = compare_chain(scan, err);
    for (size_t i = 0; i < n.count && status == POMAI_OK; i++)
        status = scan_file(scan, n.numbers[i], i + 1 == n.count, err);
    pm_free(n.numbers);
    if (status != POMAI_OK) return status;
    if (mark->durable_lsn > scan->end.lsn || mark->number > scan->end.number)
        return pm_fail(
            err, POMAI_ECORRUPT,
            "the log %s ends at LSN %llu of file %llu, but LSN %llu of file %llu was durable; restore the missing "
            "file from a copy",
            scan->place->dir, (unsigned long long)scan->end.lsn, (unsigned long long)scan->end.number,
            (unsigned long long)mark->durable_lsn, (unsigned long long)mark->number);
    return POMAI_OK;
}

pomai_status pm_wal_scan_run(pm_wal_scan *scan, pomai_error *err)
{
    pomai_error own;
    pomai_status status = scan_all(scan, &own);
    if (status == POMAI_ECORRUPT && scan->accept_damage) {
        scan->damaged = true;
        scan->damage = own;
        if (scan->notes != NULL) pm_text_add(scan->notes, "%s\n", own.message);
        return POMAI_OK;
    }
    if (status != POMAI_OK && err != NULL) *err = own;
    return status;
}

pomai_status pm_wal_quarantine(const pm_wal_scan *scan, const char *quarantine_dir, pomai_error *err)
{
    const pm_wal_place *place = scan->place;
    const pm_os *os = place->os;
    char from[PM_PATH_MAX], path[PM_PATH_MAX], temp[PM_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/shard-%u-file-%010llu-at-%llu.torn", quarantine_dir, place->shard,
                     (unsigned long long)scan->end.number, (unsigned long long)scan->torn_at);
    int m = snprintf(temp, sizeof temp, "%s.tmp", path);
    if (n < 0 || m < 0 || m >= (int)sizeof temp || !pm_wal_path(from, place, scan->end.number, ""))
        return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long");
    uint8_t *bytes = pm_malloc(scan->torn_bytes);
    if (bytes == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to copy a torn tail");
    int to_fd = -1, rc = 0;
    int fd = os->file_open(os, from, PM_OPEN_READ);
    if (fd < 0) rc = fd;
    if (rc == 0) {
        int64_t got = os->file_read(os, fd, bytes, scan->torn_bytes, scan->torn_at);
        rc = got < 0 ? (int)got : (uint64_t)got != scan->torn_bytes ? -EIO : 0;
    }
    if (rc == 0) {
        to_fd = pm_file_make(os, temp);
        if (to_fd < 0) rc = to_fd;
    }
    pm_span span = {bytes, scan->torn_bytes};
    if (rc == 0) rc = os->file_write(os, to_fd, &span, 1, 0);
    if (rc == 0) rc = os->file_sync(os, to_fd);
    if (to_fd >= 0) os->file_close(os, to_fd);
    if (rc == 0) rc = os->path_rename(os, temp, path);
    if (rc != 0) (void)os->path_remove(os, temp);
    if (rc == 0) rc = os->dir_sync(os, quarantine_dir);
    if (fd >= 0) os->file_close(os, fd);
    pm_free(bytes);
    if (rc != 0) return pm_fail_os(err, rc, "cannot copy a torn tail to %s", path);
    PM_POINT(QUARANTINE_COPIED);
    return POMAI_OK;
}
