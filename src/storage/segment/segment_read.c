/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows and ids of an open segment. A block's bit is set after its checksum, and what in it could lead out of bounds,
 * was found good; the mapped bytes never change, so the bit is all that threads need to agree on.
 */
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "storage/segment/segment_int.h"

pomai_status pm_seg_corrupt(const pm_segment *s, uint32_t file, uint64_t offset, const char *what, pomai_error *err)
{
    return pm_fail(err, POMAI_ECORRUPT, "%s/%s, block at offset %llu: %s; restore it from a copy", s->dir,
                   pm_seg_file_names[file], (unsigned long long)offset, what);
}

/* ---- what a right checksum does not promise ---- */

typedef struct overlap {
    uint64_t first, count; /* elements of a buffer */
} overlap;

static overlap overlap_of(const pm_segment *s, uint32_t file, uint32_t buffer, uint64_t begin, uint64_t end,
                          uint64_t size)
{
    const pm_segment_buffer *b = &s->buffer[buffer];
    if (b->length == 0 || b->file != file || begin >= b->offset + b->length || end <= b->offset) return (overlap){0, 0};
    const uint64_t from = pm_max_u64(begin, b->offset), to = pm_min_u64(end, b->offset + b->length);
    return (overlap){(from - b->offset) / size, (to - from) / size};
}

/* Ascending as far as this block shows; a pair over two blocks is for whoever reads it. */
static bool offsets_good(const uint32_t *offsets, overlap o, uint64_t least, uint64_t most, uint64_t total)
{
    if (o.count == 0) return true;
    if (o.first == 0 && offsets[0] != 0) return false;
    uint32_t last = offsets[o.first];
    bool good = last <= total;
    for (uint64_t i = o.first + 1; i < o.first + o.count; i++) {
        good = good && offsets[i] <= total && offsets[i] >= last && offsets[i] - last >= least &&
               offsets[i] - last <= most;
        last = offsets[i];
    }
    return good;
}

static bool contents_good(const pm_segment *s, uint32_t file, uint64_t begin, uint64_t end)
{
    if (file == PM_FILE_IDS) return true; /* bounds are looked at where they are used */
    overlap o = overlap_of(s, file, PM_BUF_SHARD, begin, end, 2);
    for (uint64_t i = 0; i < o.count; i++)
        if (s->row_shards[o.first + i] >= s->header.shards) return false;
    o = overlap_of(s, file, PM_BUF_ID_OFFSETS, begin, end, 4);
    if (!offsets_good(s->id_offsets, o, 1, POMAI_MAX_STRING_ID, s->header.id_bytes)) return false;
    o = overlap_of(s, file, PM_BUF_DOCUMENT_OFFSETS, begin, end, 4);
    return offsets_good(s->document_offsets, o, 0, UINT32_MAX, s->header.document_bytes);
}

/* ---- blocks ---- */

static pomai_status check_block(const pm_segment *s, uint32_t file, uint64_t block, pomai_error *err)
{
    pm_segment_file *f = (pm_segment_file *)(uintptr_t)&s->file[file];
    const uint64_t begin = block * PM_SEGMENT_BLOCK, end = pm_min_u64(begin + PM_SEGMENT_BLOCK, f->size);
    const uint64_t bit = (uint64_t)1 << (block & 63);
    if (!PM_MUTANT(BLOCK_CRC_SKIPPED) && pm_crc32c(0, f->data + begin, end - begin) != f->crc[block])
        return pm_seg_corrupt(s, file, begin, "the checksum is wrong", err);
    if (!contents_good(s, file, begin, end)) return pm_seg_corrupt(s, file, begin, "it contradicts itself", err);
    if ((atomic_fetch_or_explicit(&f->checked[block >> 6], bit, memory_order_acq_rel) & bit) == 0)
        atomic_fetch_sub_explicit(&f->left, 1, memory_order_release);
    return POMAI_OK;
}

pomai_status pm_seg_check_bytes(const pm_segment *s, uint32_t file, uint64_t offset, uint64_t size, pomai_error *err)
{
    const pm_segment_file *f = &s->file[file];
    if (size == 0 || atomic_load_explicit(&f->left, memory_order_acquire) == 0) return POMAI_OK;
    const uint64_t last = (offset + size - 1) / PM_SEGMENT_BLOCK;
    for (uint64_t b = offset / PM_SEGMENT_BLOCK; b <= last; b++) {
        if ((atomic_load_explicit(&f->checked[b >> 6], memory_order_acquire) >> (b & 63) & 1) != 0) continue;
        pomai_status status = check_block(s, file, b, err);
        if (status != POMAI_OK) return status;
    }
    return POMAI_OK;
}

static pomai_status check_part(const pm_segment *s, uint32_t buffer, uint64_t first, uint64_t count, uint64_t size,
                               pomai_error *err)
{
    const pm_segment_buffer *b = &s->buffer[buffer];
    if (b->length == 0) return POMAI_OK;
    return pm_seg_check_bytes(s, b->file, b->offset + first * size, count * size, err);
}

static pomai_status check_text(const pm_segment *s, uint32_t offsets_buffer, uint32_t buffer, const uint32_t *offsets,
                               uint64_t first, uint64_t count, pomai_error *err)
{
    if (offsets == NULL) return POMAI_OK;
    pomai_status status = check_part(s, offsets_buffer, first, count + 1, 4, err);
    if (status != POMAI_OK) return status;
    const uint32_t from = offsets[first], to = offsets[first + count];
    const pm_segment_buffer *b = &s->buffer[offsets_buffer];
    if (to < from) return pm_seg_corrupt(s, b->file, b->offset + 4 * first, "it contradicts itself", err);
    return check_part(s, buffer, from, to - from, 1, err);
}

static pomai_status check_columns(const pm_segment *s, uint32_t columns, uint64_t first, uint64_t count,
                                  pomai_error *err)
{
    static const struct {
        uint32_t column, buffer, size;
    } fixed[] = {{PM_SEG_SHARD, PM_BUF_SHARD, 2},
                 {PM_SEG_LSN, PM_BUF_LSN, 8},
                 {PM_SEG_STAMP, PM_BUF_STAMP, 8},
                 {PM_SEG_EXPIRY, PM_BUF_EXPIRY, 8}};
    pomai_status status = POMAI_OK;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0] && status == POMAI_OK; i++)
        if ((columns & fixed[i].column) != 0) status = check_part(s, fixed[i].buffer, first, count, fixed[i].size, err);
    if (status == POMAI_OK && (columns & PM_SEG_VECTOR) != 0)
        status = check_part(s, PM_BUF_VECTOR, first, count, s->stride, err);
    if (status == POMAI_OK && (columns & PM_SEG_ID) != 0)
        status = s->ids != NULL ? check_part(s, PM_BUF_ID, first, count, 8, err)
                                : check_text(s, PM_BUF_ID_OFFSETS, PM_BUF_ID, s->id_offsets, first, count, err);
    if (status == POMAI_OK && (columns & PM_SEG_DOCUMENT) != 0)
        status = check_text(s, PM_BUF_DOCUMENT_OFFSETS, PM_BUF_DOCUMENT, s->document_offsets, first, count, err);
    return status;
}

static bool all_checked(const pm_segment *s, uint32_t file)
{
    return atomic_load_explicit(&s->file[file].left, memory_order_acquire) == 0;
}

pomai_status pm_segment_check(pm_segment *s, uint32_t columns, uint64_t first, uint64_t count, pomai_error *err)
{
    if (count == 0) return POMAI_OK;
    if (all_checked(s, PM_FILE_VECTORS) && ((columns & PM_SEG_DOCUMENT) == 0 || all_checked(s, PM_FILE_ATTRIBUTES)))
        return POMAI_OK;
    if (first >= s->rows || count > s->rows - first)
        return pm_fail(err, POMAI_EINTERNAL, "%s has no row %llu", s->dir, (unsigned long long)(first + count - 1));
    pomai_status status = check_columns(s, columns, first, count, err);
    if (status == POMAI_ECORRUPT && err != NULL) {
        const size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, " (needed for rows %llu to %llu)",
                 (unsigned long long)first, (unsigned long long)(first + count - 1));
    }
    return status;
}

/* ---- rows ---- */

void pm_segment_id(const pm_segment *s, uint64_t row, pm_id *id)
{
    if (s->ids != NULL) {
        *id = (pm_id){.u64 = s->ids[row]};
        return;
    }
    const uint32_t from = s->id_offsets[row], to = s->id_offsets[row + 1];
    /* A forged pair over two blocks stays harmless; a verifier tells of it. */
    const uint32_t size = to < from ? 0 : (uint32_t)pm_min_u64(to - from, POMAI_MAX_STRING_ID);
    *id = (pm_id){.bytes = s->id_bytes + from, .size = size};
}

pomai_bytes pm_segment_document(const pm_segment *s, uint64_t row)
{
    if (s->document_offsets == NULL) return (pomai_bytes){NULL, 0};
    const uint32_t from = s->document_offsets[row], to = s->document_offsets[row + 1];
    if (to <= from) return (pomai_bytes){NULL, 0};
    return (pomai_bytes){s->document_bytes + from, to - from};
}

/* ---- ids ---- */

static pomai_status check_bloom(const pm_segment *s, uint64_t line, pomai_error *err)
{
    return pm_seg_check_bytes(s, PM_FILE_IDS, s->buffer[PM_BUF_BLOOM].offset + 64 * line, 64, err);
}

bool pm_segment_may_have(pm_segment *s, uint64_t hash)
{
    const uint64_t line = pm_seg_bloom_line(hash, s->bloom_lines);
    return check_bloom(s, line, NULL) != POMAI_OK || pm_seg_bloom_has(s->bloom + 8 * line, hash);
}

void pm_segment_prefetch(const pm_segment *s, uint64_t hash)
{
    __builtin_prefetch(s->bloom + 8 * pm_seg_bloom_line(hash, s->bloom_lines));
}

static pomai_status same_id(pm_segment *s, const pm_id *id, uint32_t row, bool *same, pomai_error *err)
{
    *same = true;
    if (s->ids != NULL) return POMAI_OK; /* the hash is a bijection */
    pomai_status status = pm_segment_check(s, PM_SEG_ID, row, 1, err);
    if (status != POMAI_OK) return status;
    pm_id other;
    pm_segment_id(s, row, &other);
    *same = other.bytes != NULL && other.size == id->size && memcmp(other.bytes, id->bytes, id->size) == 0;
    return POMAI_OK;
}

/* Whether `row` is the id's version that `visible` sees. */
static pomai_status shows(pm_segment *s, const pm_id *id, uint32_t row, uint64_t visible, bool *shown, pomai_error *err)
{
    *shown = false;
    if (row >= s->rows)
        return pm_seg_corrupt(s, PM_FILE_IDS, s->buffer[PM_BUF_ROWS].offset, "it names rows that are not there", err);
    if (pm_segment_end_of(s, row) <= visible) return POMAI_OK;
    if (visible < PM_NO_END - 1) {
        pomai_status status = pm_segment_check(s, PM_SEG_LSN, row, 1, err);
        if (status != POMAI_OK || pm_segment_lsn(s, row) > visible) return status;
    }
    return same_id(s, id, row, shown, err);
}

static uint64_t first_not_below(const uint64_t *keys, uint64_t from, uint64_t to, uint64_t hash)
{
    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (keys[middle] < hash)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

pomai_status pm_segment_find(pm_segment *s, const pm_id *id, uint64_t hash, uint64_t visible, uint32_t *row,
                             pomai_error *err)
{
    const uint64_t line = pm_seg_bloom_line(hash, s->bloom_lines), bucket = pm_seg_bucket(hash, s->bits);
    *row = PM_NO_ROW;
    pomai_status status = check_bloom(s, line, err);
    if (status != POMAI_OK || !pm_seg_bloom_has(s->bloom + 8 * line, hash)) return status;
    status = check_part(s, PM_BUF_DIRECTORY, bucket, 2, 4, err);
    if (status != POMAI_OK) return status;
    const uint32_t from = s->directory[bucket], to = s->directory[bucket + 1];
    if (from > to || to > s->rows)
        return pm_seg_corrupt(s, PM_FILE_IDS, s->buffer[PM_BUF_DIRECTORY].offset, "it contradicts itself", err);
    status = check_part(s, PM_BUF_KEYS, from, to - from, 8, err);
    if (status == POMAI_OK) status = check_part(s, PM_BUF_ROWS, from, to - from, 4, err);
    if (status != POMAI_OK) return status;
    for (uint64_t i = first_not_below(s->keys, from, to, hash); i < to && s->keys[i] == hash; i++) {
        bool shown;
        status = shows(s, id, s->key_rows[i], visible, &shown, err);
        if (status != POMAI_OK) return status;
        if (!shown) continue;
        *row = s->key_rows[i];
        return POMAI_OK;
    }
    return POMAI_OK;
}
