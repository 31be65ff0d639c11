/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a segment. Invariants:
 *  1. Nothing of SEGMENT is used before its checksum is right, and then only if it says what the plan says.
 *  2. A file is mapped only when it has the size that SEGMENT states: a page that is not there would end the process.
 */
#include <errno.h>
#include <string.h>

#include "storage/segment/segment_int.h"

enum { STATS_MOST = 1 << 24 };

static pomai_status damaged(const char *path, const char *what, pomai_error *err)
{
    return pm_fail(err, POMAI_ECORRUPT, "%s %s; restore it from a copy", path, what);
}

pomai_status pm_seg_open_sized(const pm_os *os, const char *path, uint64_t size, int *fd, pomai_error *err)
{
    uint64_t has = 0;
    *fd = os->file_open(os, path, PM_OPEN_READ);
    if (*fd == -ENOENT) return damaged(path, "is missing", err);
    if (*fd < 0) return pm_fail_os(err, *fd, "cannot open %s", path);
    int rc = os->file_size(os, *fd, &has);
    if (rc == 0 && has == size) return POMAI_OK;
    os->file_close(os, *fd);
    if (rc != 0) return pm_fail_os(err, rc, "cannot read the size of %s", path);
    return pm_fail(err, POMAI_ECORRUPT, "%s has %llu bytes, not %llu; restore it from a copy", path,
                   (unsigned long long)has, (unsigned long long)size);
}

pomai_status pm_seg_load(const pm_os *os, const char *path, uint64_t size, uint8_t **bytes, pomai_error *err)
{
    int fd;
    *bytes = NULL;
    pomai_status status = pm_seg_open_sized(os, path, size, &fd, err);
    if (status != POMAI_OK) return status;
    *bytes = pm_malloc(size);
    if (*bytes == NULL) {
        status = pm_fail(err, POMAI_ENOMEM, "no memory to read %s", path);
    } else {
        int64_t got = os->file_read(os, fd, *bytes, size, 0);
        if (got < 0)
            status = pm_fail_os(err, (int)got, "cannot read %s", path);
        else if ((uint64_t)got != size)
            status = pm_fail(err, POMAI_EIO, "%s ended early", path);
    }
    os->file_close(os, fd);
    if (status != POMAI_OK) {
        pm_free(*bytes);
        *bytes = NULL;
    }
    return status;
}

/* ---- SEGMENT ---- */

static bool sound_header(const pm_segment_header *h, const pm_manifest_segment *entry)
{
    const bool expiry = (h->flags & PM_SEGMENT_EXPIRY) != 0, documents = (h->flags & PM_SEGMENT_DOCUMENTS) != 0;
    const bool text = h->id_kind == POMAI_ID_STRING;
    if (h->rows == 0 || h->rows > PM_SEGMENT_MAX_ROWS || h->rows != entry->rows || h->length != entry->meta_len)
        return false;
    if ((h->flags & ~(uint32_t)PM_SEGMENT_FLAGS_KNOWN) != 0 || h->files != PM_FILES || h->buffers != PM_BUFFERS ||
        h->block_bytes != PM_SEGMENT_BLOCK)
        return false;
    if (text ? h->id_bytes < h->rows || h->id_bytes > PM_SEG_MOST_TEXT || h->max_id != 0
             : h->id_bytes != 0 || (h->flags & PM_SEGMENT_RAW_IDS) != 0)
        return false;
    if ((h->first_expiry != 0) != expiry || (expiry ? h->expiry_nulls >= h->rows : h->expiry_nulls != 0)) return false;
    if ((h->document_bytes != 0) != documents || h->document_bytes > PM_SEG_MOST_TEXT) return false;
    if (documents ? h->document_nulls >= h->rows : h->document_nulls != 0 || (h->flags & PM_SEGMENT_RAW_DOCUMENTS) != 0)
        return false;
    for (size_t i = 0; i < sizeof h->zero; i++)
        if (h->zero[i] != 0) return false;
    return true;
}

static bool sound_ranges(const pm_segment_shard_range *range, const pm_segment_header *h)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < h->shards; i++) {
        if (range[i].rows > h->rows) return false;
        if (range[i].rows == 0 ? range[i].min_lsn != 0 || range[i].max_lsn != 0
                               : range[i].min_lsn == 0 || range[i].min_lsn > range[i].max_lsn)
            return false;
        rows += range[i].rows;
    }
    return rows == h->rows;
}

/* The tables must say what follows from the header: then every offset and length in them is good. */
static bool take_tables(pm_segment *s, pm_seg_plan *plan)
{
    const pm_segment_header *h = &s->header;
    const uint64_t ranges = h->shards * sizeof(pm_segment_shard_range);
    const uint64_t fixed = sizeof *h + ranges + PM_FILES * sizeof(pm_segment_file_entry) + sizeof s->buffer;
    if (h->length < fixed) return false;
    s->range = (const pm_segment_shard_range *)(const void *)(s->meta + sizeof *h);
    if (!sound_ranges(s->range, h)) return false;
    const pm_seg_shape shape = pm_seg_shape_of(h);
    pm_seg_plan_make(plan, &shape);
    uint64_t blocks = 0, bytes = h->length;
    for (uint32_t i = 0; i < PM_FILES; i++) {
        pm_segment_file_entry e;
        memcpy(&e, s->meta + sizeof *h + ranges + i * sizeof e, sizeof e);
        if (i == PM_FILE_STATS ? e.size == 0 || e.size > STATS_MOST : e.size != plan->size[i]) return false;
        if (e.blocks != pm_seg_blocks(e.size)) return false;
        s->file[i].size = e.size;
        s->file[i].blocks = e.blocks;
        s->file[i].crc = (const uint32_t *)(const void *)(s->meta + fixed + 4 * blocks);
        atomic_init(&s->file[i].left, e.blocks);
        blocks += e.blocks;
        bytes += e.size;
    }
    if (h->blocks != blocks || h->length != fixed + 4 * blocks || s->entry.bytes != bytes) return false;
    memcpy(s->buffer, plan->buffer, sizeof s->buffer);
    s->bloom_lines = plan->bloom_blocks;
    s->bits = plan->bits;
    return memcmp(s->meta + fixed - sizeof s->buffer, s->buffer, sizeof s->buffer) == 0;
}

static pomai_status load_meta(pm_segment *s, pomai_error *err)
{
    char path[PM_SEG_PATH];
    const pm_segment_place *p = &s->place;
    pm_segment_header *h = &s->header;
    if (!pm_seg_path(path, p->dir, "SEGMENT")) return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    if (s->entry.meta_len < sizeof *h || s->entry.meta_len > PM_SEG_META_MOST)
        return damaged(path, "has an impossible length in the catalogue", err);
    pomai_status status = pm_seg_load(p->os, path, s->entry.meta_len, &s->meta, err);
    if (status != POMAI_OK) return status;
    memcpy(h, s->meta, sizeof *h);
    if (memcmp(h->magic, PM_SEGMENT_MAGIC, 8) != 0 || pm_crc32c(0, s->meta, s->entry.meta_len) != s->entry.meta_crc ||
        pm_crc32c(0, s->meta + PM_SEG_CRC_FROM, s->entry.meta_len - PM_SEG_CRC_FROM) != h->crc)
        return damaged(path, "is damaged, or another segment's", err);
    if (h->format != PM_FORMAT)
        return pm_fail(err, POMAI_EFORMAT, "%s has format %u, this build reads %u; use a newer PomaiDB", path,
                       h->format, PM_FORMAT);
    if (memcmp(h->uuid, p->uuid, 16) != 0 || h->number != p->number || h->number != s->entry.number ||
        h->collection != p->collection || h->dim != p->dim || h->dtype != pm_seg_dtype_field(p->dtype) ||
        h->id_kind != p->id_kind || h->shards != p->shards)
        return damaged(path, "is another segment's", err);
    pm_seg_plan *plan = pm_malloc(sizeof *plan);
    if (plan == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open %s", path);
    const bool sound = sound_header(h, &s->entry) && take_tables(s, plan);
    pm_free(plan);
    return sound ? POMAI_OK : damaged(path, "contradicts itself", err);
}

/* ---- files ---- */

/* Blocks that hold nothing of a column, but the end of the file: who reads rows need not look at them. */
static void skip_tail(pm_segment *s, uint32_t which)
{
    pm_segment_file *f = &s->file[which];
    uint64_t end = 0;
    for (uint32_t i = 0; i < PM_BUFFERS; i++)
        if (s->buffer[i].file == which && s->buffer[i].length > 0)
            end = pm_max_u64(end, s->buffer[i].offset + s->buffer[i].length);
    for (uint64_t b = pm_seg_blocks(end); b < f->blocks; b++) {
        atomic_fetch_or(&f->checked[b / 64], (uint64_t)1 << b % 64);
        atomic_fetch_sub(&f->left, 1);
    }
}

static pomai_status map_file(pm_segment *s, uint32_t which, pomai_error *err)
{
    char path[PM_SEG_PATH];
    const pm_os *os = s->place.os;
    pm_segment_file *f = &s->file[which];
    int fd;
    if (f->size == 0) return POMAI_OK;
    if (!pm_seg_path(path, s->place.dir, pm_seg_file_names[which]))
        return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    pomai_status status = pm_seg_open_sized(os, path, f->size, &fd, err);
    if (status != POMAI_OK) return status;
    const void *pages = NULL;
    int rc = which == PM_FILE_STATS ? 0 : os->file_map(os, fd, f->size, &pages);
    os->file_close(os, fd);
    if (rc != 0) return pm_fail_os(err, rc, "cannot map %s", path);
    f->data = pages;
    const uint64_t words = (f->blocks + 63) / 64;
    f->checked = pm_malloc(words * sizeof *f->checked);
    if (f->checked == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open %s", path);
    for (uint64_t i = 0; i < words; i++)
        atomic_init(&f->checked[i], 0);
    skip_tail(s, which);
    return POMAI_OK;
}

static const void *at(const pm_segment *s, uint32_t buffer)
{
    const pm_segment_buffer *b = &s->buffer[buffer];
    const uint8_t *data = b->length == 0 ? NULL : s->file[b->file].data;
    return data == NULL ? NULL : data + b->offset;
}

static void find_columns(pm_segment *s)
{
    const bool text = s->header.id_kind == POMAI_ID_STRING;
    s->vector_bytes = at(s, PM_BUF_VECTOR);
    s->lsns = at(s, PM_BUF_LSN);
    s->expiries = at(s, PM_BUF_EXPIRY);
    s->row_shards = at(s, PM_BUF_SHARD);
    s->stamps = at(s, PM_BUF_STAMP);
    s->ids = text ? NULL : at(s, PM_BUF_ID);
    s->id_bytes = text ? at(s, PM_BUF_ID) : NULL;
    s->id_offsets = at(s, PM_BUF_ID_OFFSETS);
    s->document_offsets = at(s, PM_BUF_DOCUMENT_OFFSETS);
    s->document_bytes = at(s, PM_BUF_DOCUMENT);
    s->bloom = at(s, PM_BUF_BLOOM);
    s->directory = at(s, PM_BUF_DIRECTORY);
    s->keys = at(s, PM_BUF_KEYS);
    s->key_rows = at(s, PM_BUF_ROWS);
}

static pomai_status make_ends(pm_segment *s, pomai_error *err)
{
    find_columns(s);
    s->dim = s->header.dim;
    s->stride = (uint64_t)s->dim * pm_dtype_size(s->place.dtype);
    s->rows = s->header.rows;
    const uint64_t end_bytes = pm_align_up(s->rows * 8, 4096), bit_bytes = pm_align_up((s->rows + 63) / 64 * 8, 4096);
    s->end_bytes = end_bytes + bit_bytes;
    s->end_pages = s->place.os->pages_map(s->place.os, s->end_bytes);
    if (s->end_pages == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the ends of %s", s->dir);
    s->ends = s->end_pages;
    s->ended = (_Atomic(uint64_t) *)(void *)((uint8_t *)s->end_pages + end_bytes);
    return POMAI_OK;
}

static pomai_status open_all(pm_segment *s, pomai_error *err)
{
    pomai_status status = load_meta(s, err);
    for (uint32_t i = 0; i < PM_FILES && status == POMAI_OK; i++)
        status = map_file(s, i, err);
    if (status == POMAI_OK) status = make_ends(s, err);
    return status == POMAI_OK ? pm_seg_load_live(s, err) : status;
}

static pm_segment *make(const pm_segment_place *place, const pm_manifest_segment *entry)
{
    const size_t path = strlen(place->dir) + 1;
    pm_segment *s = pm_calloc(1, sizeof *s + path);
    if (s == NULL) return NULL;
    s->kind = PM_ROWS_SEGMENT;
    s->dir = (char *)(s + 1);
    memcpy(s->dir, place->dir, path);
    s->place = *place;
    s->place.dir = s->dir;
    s->entry = *entry;
    atomic_init(&s->ended_count, 0);
    atomic_init(&s->forward, NULL);
    for (uint32_t kind = 0; kind < PM_DERIVED_KINDS; kind++)
        atomic_init(&s->derived[kind], NULL);
    atomic_init(&s->underivable, 0);
    atomic_init(&s->holders, 1);
    return s;
}

pomai_status pm_segment_open(const pm_segment_place *place, const pm_manifest_segment *entry, pm_segment **out,
                             pomai_error *err)
{
    pm_segment *s = make(place, entry);
    if (s == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open %s", place->dir);
    pomai_status status = open_all(s, err);
    if (status != POMAI_OK) {
        pm_segment_free(s);
        return status;
    }
    *out = s;
    return POMAI_OK;
}

/* ---- for salvage ---- */

/* A mapping of a file that is short, or of a disk that fails, would end the process. */
static pomai_status copy_file(pm_segment *s, uint32_t which, pm_text *notes, pomai_error *err)
{
    char path[PM_SEG_PATH];
    const pm_os *os = s->place.os;
    pm_segment_file *f = &s->file[which];
    uint64_t has = 0;
    if (f->size == 0) return POMAI_OK;
    if (!pm_seg_path(path, s->place.dir, pm_seg_file_names[which]))
        return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    uint8_t *pages = os->pages_map(os, pm_align_up(f->size, 4096));
    f->data = pages;
    f->checked = pm_calloc((f->blocks + 63) / 64, sizeof *f->checked);
    if (pages == NULL || f->checked == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to read %s", path);
    int fd = os->file_open(os, path, PM_OPEN_READ);
    bool failed = fd < 0 || os->file_size(os, fd, &has) != 0;
    for (uint64_t at = 0; fd >= 0 && at < f->size; at += PM_SEGMENT_BLOCK)
        failed |= os->file_read(os, fd, pages + at, pm_min_u64(PM_SEGMENT_BLOCK, f->size - at), at) < 0;
    if (fd >= 0) os->file_close(os, fd);
    if (failed || has != f->size)
        pm_text_add(notes, "%s %s\n", path, failed ? "cannot be read, or not all of it" : "has the wrong size");
    return POMAI_OK;
}

pomai_status pm_segment_open_damaged(const pm_segment_place *place, const pm_manifest_segment *entry, pm_text *notes,
                                     bool *ends_lost, pm_segment **out, pomai_error *err)
{
    pomai_error own;
    pm_segment *s = make(place, entry);
    if (s == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open %s", place->dir);
    s->copied = true;
    *ends_lost = false;
    pomai_status status = load_meta(s, err);
    for (uint32_t i = PM_FILE_VECTORS; i <= PM_FILE_ATTRIBUTES && status == POMAI_OK; i++)
        status = copy_file(s, i, notes, err);
    if (status == POMAI_OK) status = make_ends(s, err);
    if (status != POMAI_OK) {
        pm_segment_free(s);
        return status;
    }
    status = pm_seg_load_live(s, &own);
    if (status == POMAI_ENOMEM) {
        pm_segment_free(s);
        return pm_fail(err, POMAI_ENOMEM, "no memory to open %s", place->dir);
    }
    if (status != POMAI_OK) {
        pm_text_add(notes, "%s; rows of it that were deleted or replaced may return\n", own.message);
        *ends_lost = true;
    }
    *out = s;
    return POMAI_OK;
}

void pm_segment_hold(pm_segment *s)
{
    atomic_fetch_add_explicit(&s->holders, 1, memory_order_relaxed);
}

void pm_segment_free(pm_segment *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel) != 1) return;
    const pm_os *os = s->place.os;
    for (uint32_t i = 0; i < PM_FILES; i++) {
        if (s->file[i].data != NULL && s->copied)
            os->pages_unmap(os, (void *)(uintptr_t)s->file[i].data, pm_align_up(s->file[i].size, 4096));
        else if (s->file[i].data != NULL)
            os->file_unmap(os, s->file[i].data, s->file[i].size);
        pm_free(s->file[i].checked);
    }
    if (s->end_pages != NULL) os->pages_unmap(os, s->end_pages, s->end_bytes);
    for (uint32_t kind = 0; kind < PM_DERIVED_KINDS; kind++)
        pm_derived_free(pm_segment_derived(s, kind));
    pm_free(s->meta);
    pm_free(s);
}

uint64_t pm_segment_max_lsn(const pm_segment *segment, uint32_t shard)
{
    return shard < segment->header.shards ? segment->range[shard].max_lsn : 0;
}

uint64_t pm_segment_max_id(const pm_segment *segment)
{
    return segment->header.max_id;
}

uint64_t pm_segment_first_expiry(const pm_segment *segment)
{
    return segment->header.first_expiry;
}

uint64_t pm_segment_bytes(const pm_manifest_segment *entry)
{
    return entry->bytes + entry->live_len;
}
