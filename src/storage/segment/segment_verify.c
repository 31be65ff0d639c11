/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything about a segment that can be wrong: every byte through reads of the files, then every relation between what
 * they say. Reads come first, so that a disk that fails gives an error and not a signal in the mapping.
 */
#include <string.h>

#include "storage/segment/segment_int.h"

enum { CHUNK = 16 * PM_SEGMENT_BLOCK };

typedef struct verifier {
    pm_segment *s;
    int (*progress)(void *context, uint64_t bytes);
    void *context;
    uint8_t *buffer;
    pomai_error *err;
} verifier;

static pomai_status wrong(const verifier *v, uint32_t file, const char *what, uint64_t row)
{
    return pm_fail(v->err, POMAI_ECORRUPT, "%s/%s: %s, row %llu; restore it from a copy", v->s->dir,
                   pm_seg_file_names[file], what, (unsigned long long)row);
}

static pomai_status tell(const verifier *v, uint64_t bytes)
{
    if (v->progress == NULL || v->progress(v->context, bytes) == 0) return POMAI_OK;
    return pm_fail(v->err, POMAI_EDEADLINE, "stopped while verifying %s", v->s->dir);
}

/* ---- bytes ---- */

static pomai_status read_chunk(const verifier *v, int fd, uint32_t file, uint64_t at, uint64_t size)
{
    const pm_segment *s = v->s;
    int64_t got = s->place.os->file_read(s->place.os, fd, v->buffer, size, at);
    if (got < 0) return pm_fail_os(v->err, (int)got, "cannot read %s/%s", s->dir, pm_seg_file_names[file]);
    if ((uint64_t)got != size) return wrong(v, file, "it ended early", 0);
    for (uint64_t done = 0; done < size; done += PM_SEGMENT_BLOCK) {
        const uint64_t block = (at + done) / PM_SEGMENT_BLOCK;
        if (pm_crc32c(0, v->buffer + done, pm_min_u64(PM_SEGMENT_BLOCK, size - done)) != s->file[file].crc[block])
            return pm_seg_corrupt(s, file, at + done, "the checksum is wrong", v->err);
    }
    return tell(v, size);
}

static pomai_status read_file(const verifier *v, uint32_t file)
{
    char path[PM_SEG_PATH];
    const pm_segment *s = v->s;
    const uint64_t size = s->file[file].size;
    int fd;
    if (size == 0) return POMAI_OK;
    if (!pm_seg_path(path, s->dir, pm_seg_file_names[file]))
        return pm_fail(v->err, POMAI_ETOOBIG, "the path of a segment is too long");
    pomai_status status = pm_seg_open_sized(s->place.os, path, size, &fd, v->err);
    if (status != POMAI_OK) return status;
    for (uint64_t at = 0; at < size && status == POMAI_OK; at += CHUNK)
        status = read_chunk(v, fd, file, at, pm_min_u64(CHUNK, size - at));
    s->place.os->file_close(s->place.os, fd);
    if (status != POMAI_OK || file == PM_FILE_STATS) return status;
    return pm_seg_check_bytes(s, file, 0, size, v->err); /* and what is mapped is the same */
}

/* ---- names ---- */

static int look_at_name(void *context, const char *name)
{
    const verifier *v = context;
    if (strcmp(name, "SEGMENT") == 0) return 0;
    for (uint32_t i = 0; i < PM_FILES; i++)
        if (strcmp(name, pm_seg_file_names[i]) == 0 && v->s->file[i].size > 0) return 0;
    if (pm_derived_kind(name) != 0) return 0; /* nothing depends on it */
    /* Of an interrupted checkpoint; the next writer removes them. */
    const size_t size = strlen(name);
    if (strncmp(name, "live-", 5) == 0 && size > 5 && strspn(name + 5, "0123456789") == size - 5) return 0;
    if (size > 4 && strcmp(name + size - 4, ".tmp") == 0) return 0;
    (void)pm_fail(v->err, POMAI_ECORRUPT, "%s/%.80s is no file of a segment; remove it", v->s->dir, name);
    return 1;
}

static pomai_status check_names(verifier *v)
{
    const pm_os *os = v->s->place.os;
    int rc = os->dir_list(os, v->s->dir, look_at_name, v);
    if (rc < 0) return pm_fail_os(v->err, rc, "cannot list %s", v->s->dir);
    return rc == 0 ? POMAI_OK : POMAI_ECORRUPT;
}

/* ---- Arrow ---- */

static pomai_status check_frames(const verifier *v)
{
    const pm_segment *s = v->s;
    const pm_segment_header *h = &s->header;
    const pm_seg_shape shape = pm_seg_shape_of(h);
    pm_seg_plan *plan = pm_malloc(sizeof *plan);
    if (plan == NULL) return pm_fail(v->err, POMAI_ENOMEM, "no memory to verify %s", s->dir);
    pm_seg_plan_make(plan, &shape);
    pomai_status status = POMAI_OK;
    for (uint32_t i = PM_FILE_VECTORS; i <= PM_FILE_ATTRIBUTES && status == POMAI_OK; i++) {
        const pm_segment_file *f = &s->file[i];
        const pm_seg_frame *frame = &plan->frame[i];
        if (f->size == 0) continue;
        if (memcmp(f->data, frame->head, frame->head_size) != 0 ||
            memcmp(f->data + f->size - frame->tail_size, frame->tail, frame->tail_size) != 0)
            status = wrong(v, i, "its Arrow metadata do not describe it", 0);
    }
    pm_free(plan);
    return status;
}

/* ---- rows ---- */

static bool bit_of(const pm_segment *s, uint32_t buffer, uint64_t row)
{
    const pm_segment_buffer *b = &s->buffer[buffer];
    return (s->file[b->file].data[b->offset + row / 8] >> (row & 7) & 1) != 0;
}

/* What offsets must be, wherever blocks end. */
static bool offsets_good(const uint32_t *offsets, uint64_t rows, uint64_t least, uint64_t most, uint64_t total)
{
    if (offsets == NULL) return true;
    for (uint64_t i = 0; i < rows; i++)
        if (offsets[i + 1] < offsets[i] || offsets[i + 1] - offsets[i] < least || offsets[i + 1] - offsets[i] > most)
            return false;
    return offsets[0] == 0 && offsets[rows] == total;
}

static pomai_status check_texts(const verifier *v)
{
    const pm_segment *s = v->s;
    if (!offsets_good(s->id_offsets, s->rows, 1, POMAI_MAX_STRING_ID, s->header.id_bytes))
        return wrong(v, PM_FILE_VECTORS, "the lengths of ids contradict each other", 0);
    if (!offsets_good(s->document_offsets, s->rows, 0, UINT32_MAX, s->header.document_bytes))
        return wrong(v, PM_FILE_ATTRIBUTES, "the lengths of documents contradict each other", 0);
    return POMAI_OK;
}

typedef struct sums {
    uint64_t max_id, first_expiry, expiry_nulls, document_nulls;
    bool raw_ids, raw_documents;
    pm_segment_shard_range range[PM_MAX_SHARDS];
} sums;

static pomai_status sum_row(const verifier *v, sums *t, uint64_t row)
{
    const pm_segment *s = v->s;
    const uint32_t shard = pm_segment_shard(s, row);
    const uint64_t lsn = pm_segment_lsn(s, row), expiry = pm_segment_expiry(s, row);
    pm_segment_shard_range *r = &t->range[shard];
    r->min_lsn = r->rows++ == 0 ? lsn : pm_min_u64(r->min_lsn, lsn);
    r->max_lsn = pm_max_u64(r->max_lsn, lsn);
    pm_id id;
    pm_segment_id(s, row, &id);
    if (id.bytes == NULL)
        t->max_id = pm_max_u64(t->max_id, id.u64);
    else if (!t->raw_ids)
        t->raw_ids = !pm_seg_is_utf8(id.bytes, id.size);
    if (s->expiries != NULL) {
        if (bit_of(s, PM_BUF_EXPIRY_VALID, row) != (expiry != 0))
            return wrong(v, PM_FILE_VECTORS, "an expiry is null and is not", row);
        t->expiry_nulls += expiry == 0;
        if (expiry != 0 && (t->first_expiry == 0 || expiry < t->first_expiry)) t->first_expiry = expiry;
    }
    if (s->document_offsets != NULL) {
        pomai_bytes document = pm_segment_document(s, row);
        if (bit_of(s, PM_BUF_DOCUMENT_VALID, row) != (document.size > 0))
            return wrong(v, PM_FILE_ATTRIBUTES, "a document is null and is not", row);
        t->document_nulls += document.size == 0;
        if (!t->raw_documents) t->raw_documents = !pm_seg_is_utf8(document.data, document.size);
    }
    if (pm_segment_end_of(s, row) < lsn)
        return pm_fail(v->err, POMAI_ECORRUPT, "%s/live-%llu: row %llu ended before it began", s->dir,
                       (unsigned long long)s->entry.live_generation, (unsigned long long)row);
    return POMAI_OK;
}

static pomai_status check_rows(const verifier *v)
{
    const pm_segment *s = v->s;
    const pm_segment_header *h = &s->header;
    pomai_status status = check_texts(v);
    if (status != POMAI_OK) return status;
    sums *t = pm_calloc(1, sizeof *t);
    if (t == NULL) return pm_fail(v->err, POMAI_ENOMEM, "no memory to verify %s", s->dir);
    for (uint64_t row = 0; row < s->rows && status == POMAI_OK; row++)
        status = sum_row(v, t, row);
    if (status == POMAI_OK &&
        (t->max_id != h->max_id || t->first_expiry != h->first_expiry || t->expiry_nulls != h->expiry_nulls ||
         t->document_nulls != h->document_nulls || t->raw_ids != ((h->flags & PM_SEGMENT_RAW_IDS) != 0) ||
         t->raw_documents != ((h->flags & PM_SEGMENT_RAW_DOCUMENTS) != 0) ||
         memcmp(t->range, s->range, h->shards * sizeof t->range[0]) != 0))
        status =
            pm_fail(v->err, POMAI_ECORRUPT, "%s/SEGMENT does not describe its rows; restore it from a copy", s->dir);
    pm_free(t);
    return status;
}

/* ---- ids.idx ---- */

static bool ids_header_good(const pm_segment *s)
{
    const pm_ids_header *h = (const pm_ids_header *)(const void *)s->file[PM_FILE_IDS].data;
    return memcmp(h->magic, PM_IDS_MAGIC, 8) == 0 && h->format == PM_FORMAT &&
           memcmp(h->uuid, s->place.uuid, 16) == 0 && h->number == s->place.number && h->rows == s->rows &&
           h->collection == s->place.collection && h->bloom_blocks == s->bloom_lines && h->probes == PM_SEG_PROBES &&
           h->bits == s->bits &&
           h->crc == pm_crc32c(0, (const uint8_t *)h + PM_SEG_CRC_FROM, sizeof *h - PM_SEG_CRC_FROM);
}

static const char *key_wrong(const pm_segment *s, uint64_t i, uint64_t seed, uint8_t *seen)
{
    const uint64_t key = s->keys[i], bucket = pm_seg_bucket(key, s->bits);
    const uint32_t row = s->key_rows[i];
    pm_id id;
    if (row >= s->rows) return "it names a row that is not there";
    if ((seen[row / 8] >> (row & 7) & 1) != 0) return "it names a row twice";
    seen[row / 8] |= (uint8_t)(1u << (row & 7));
    pm_segment_id(s, row, &id);
    if (pm_id_hash(&id, seed) != key) return "a key is not its row's";
    if (i < s->directory[bucket] || i >= s->directory[bucket + 1]) return "a key is not in its bucket";
    if (i > 0 && (s->keys[i - 1] > key || (s->keys[i - 1] == key && s->key_rows[i - 1] >= row)))
        return "keys are not in order";
    if (!pm_seg_bloom_has(s->bloom + 8 * pm_seg_bloom_line(key, s->bloom_lines), key))
        return "the bloom filter misses a key";
    return NULL;
}

static pomai_status check_ids(const verifier *v)
{
    const pm_segment *s = v->s;
    const uint64_t buckets = (uint64_t)1 << s->bits, seed = pm_segment_seed(s->place.uuid);
    if (!ids_header_good(s)) return wrong(v, PM_FILE_IDS, "its header is wrong", 0);
    bool sound = s->directory[0] == 0 && s->directory[buckets] == s->rows;
    for (uint64_t i = 0; i < buckets && sound; i++)
        sound = s->directory[i] <= s->directory[i + 1];
    if (!sound) return wrong(v, PM_FILE_IDS, "its directory is wrong", 0);
    uint8_t *seen = pm_calloc(1, s->rows / 8 + 1);
    if (seen == NULL) return pm_fail(v->err, POMAI_ENOMEM, "no memory to verify %s", s->dir);
    pomai_status status = POMAI_OK;
    for (uint64_t i = 0; i < s->rows && status == POMAI_OK; i++) {
        const char *what = key_wrong(s, i, seed, seen);
        if (what != NULL) status = wrong(v, PM_FILE_IDS, what, s->key_rows[i]);
    }
    pm_free(seen);
    return status;
}

pomai_status pm_segment_verify(const pm_segment_place *place, const pm_manifest_segment *entry,
                               int (*progress)(void *context, uint64_t bytes), void *context, pomai_error *err)
{
    verifier v = {.progress = progress, .context = context, .err = err};
    pomai_status status = pm_segment_open(place, entry, &v.s, err);
    if (status != POMAI_OK) return status;
    status = tell(&v, (uint64_t)entry->meta_len + entry->live_len);
    v.buffer = status == POMAI_OK ? pm_malloc(CHUNK) : NULL;
    if (status == POMAI_OK && v.buffer == NULL)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to verify %s", place->dir);
    for (uint32_t i = 0; i < PM_FILES && status == POMAI_OK; i++)
        status = read_file(&v, i);
    if (status == POMAI_OK) status = check_names(&v);
    if (status == POMAI_OK) status = check_frames(&v);
    if (status == POMAI_OK) status = check_rows(&v);
    if (status == POMAI_OK) status = check_ids(&v);
    pm_free(v.buffer);
    pm_segment_free(v.s);
    return status;
}
