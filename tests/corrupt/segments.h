/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a segment, read without the engine: docs/format/segment.md. */
#ifndef T_SEGMENTS_H
#define T_SEGMENTS_H

#include "base/dtype.h"
#include "files.h"
#include "storage/format.h"
#include "support/rng.h"

enum { C_PAST = 1000 }; /* an expiry that had passed before the row came: world.h, W_PAST */

/* ---- rows as numbers ---- */

struct c_content {
    uint64_t name_hash, id_hash, vector_size, document_size, stamp, expiry;
    const void *vector, *document;
    pomai_dtype dtype; /* of the vector; 0: float32 */
};

/* Of the values as float32, which is what a reader gets. */
static inline uint64_t c_vector_hash(const struct c_content *c)
{
    float wide[64];
    if (c->dtype != POMAI_DTYPE_FLOAT16 && c->dtype != POMAI_DTYPE_INT8)
        return pm_hash_bytes(c->vector, c->vector_size, 3);
    const size_t dim = c->vector_size / pm_dtype_size(c->dtype);
    if (dim > sizeof wide / sizeof wide[0]) abort();
    for (size_t d = 0; d < dim; d++) {
        uint16_t half;
        memcpy(&half, (const uint8_t *)c->vector + (c->dtype == POMAI_DTYPE_FLOAT16 ? 2 * d : 0), sizeof half);
        wide[d] = c->dtype == POMAI_DTYPE_FLOAT16 ? pm_f16_to_f32(half) : (float)((const int8_t *)c->vector)[d];
    }
    return pm_hash_bytes(wide, dim * sizeof wide[0], 3);
}

static inline uint64_t c_row_hash(const struct c_content *c)
{
    uint64_t h = t_mix2(c->name_hash, c->id_hash);
    h = t_mix2(h, c_vector_hash(c));
    h = t_mix2(h, c->document_size == 0 ? 0 : pm_hash_bytes(c->document, c->document_size, 4));
    return t_mix2(t_mix2(h, c->stamp), c->expiry);
}

static inline uint64_t c_id_hash(uint64_t id)
{
    return pm_hash_bytes(&id, sizeof id, 1);
}

static inline uint64_t c_name_hash(const void *name, size_t size)
{
    return pm_hash_bytes(name, size, 2);
}

/* row_hash 0: nobody sees it. */
struct c_row {
    uint64_t id_hash, row_hash;
};

/* ---- a segment ---- */

enum { C_B_ID_ENDS, C_B_IDS, C_B_SHARD, C_B_LSN, C_B_STAMP, C_B_VALID, C_B_EXPIRY, C_B_VECTORS };
enum { C_B_DOCUMENT_VALID = 8, C_B_DOCUMENT_ENDS, C_B_DOCUMENTS, C_BUFFERS = 15, C_SEGMENT_FILES = 4 };

struct c_segment {
    const pm_segment_header *h;
    const uint8_t *buffer[C_BUFFERS]; /* NULL: there is none */
    const uint32_t *ended;            /* rows, ascending */
    uint64_t ends;
    uint64_t name_hash; /* of its collection */
};

static inline struct c_file *c_listed_file(struct c_files *files, const char *dir, const char *name)
{
    char path[C_PATH];
    int size = snprintf(path, sizeof path, "%s/%s", dir, name), at = c_find(files, path);
    if (size < 0 || size >= (int)sizeof path) abort();
    if (at < 0) return NULL;
    files->file[at].listed = true;
    return &files->file[at];
}

/* False: a file that the catalogue names is not there. */
static inline bool c_segment_read(struct c_segment *s, struct c_files *files, uint32_t collection,
                                  const pm_manifest_segment *listed)
{
    static const char *const names[C_SEGMENT_FILES] = {"vectors.arrow", "attributes.arrow", "ids.idx", "stats.json"};
    const struct c_file *file[C_SEGMENT_FILES];
    char dir[C_PATH], live[40];
    snprintf(dir, sizeof dir, "/db/collections/%u/segments/%llu", collection, (unsigned long long)listed->number);
    snprintf(live, sizeof live, "live-%llu", (unsigned long long)listed->live_generation);
    memset(s, 0, sizeof *s);
    const struct c_file *meta = c_listed_file(files, dir, "SEGMENT");
    if (meta == NULL) return false;
    s->h = (const pm_segment_header *)(const void *)meta->bytes;
    for (int i = 0; i < C_SEGMENT_FILES; i++)
        file[i] = c_listed_file(files, dir, names[i]);
    const uint8_t *table = meta->bytes + sizeof *s->h + s->h->shards * sizeof(pm_segment_shard_range) +
                           C_SEGMENT_FILES * sizeof(pm_segment_file_entry);
    for (int i = 0; i < C_BUFFERS; i++) {
        pm_segment_buffer b;
        memcpy(&b, table + (size_t)i * sizeof b, sizeof b);
        if (b.length == 0) continue;
        if (b.file >= C_SEGMENT_FILES || file[b.file] == NULL) return false;
        s->buffer[i] = file[b.file]->bytes + b.offset;
    }
    if (listed->live_generation == 0) return true;
    const struct c_file *ends = c_listed_file(files, dir, live);
    if (ends == NULL) return false;
    s->ends = ((const pm_live_header *)(const void *)ends->bytes)->count;
    s->ended = (const uint32_t *)(const void *)(ends->bytes + PM_LIVE_HEADER);
    return true;
}

static inline uint64_t c_u64_at(const uint8_t *column, uint64_t row)
{
    uint64_t value = 0;
    if (column != NULL) memcpy(&value, column + row * sizeof value, sizeof value);
    return value;
}

static inline uint64_t c_text_at(const uint8_t *ends, const uint8_t *bytes, uint64_t row, const uint8_t **text)
{
    uint32_t end[2];
    memcpy(end, ends + row * sizeof end[0], sizeof end);
    *text = bytes == NULL ? NULL : bytes + end[0];
    return end[1] - end[0];
}

static inline bool c_has_ended(const struct c_segment *s, uint64_t row)
{
    for (uint64_t i = 0; i < s->ends; i++)
        if (s->ended[i] == row) return true;
    return false;
}

/* id_hash is the key in the table of rows. */
static inline struct c_row c_segment_row(const struct c_segment *s, uint64_t row)
{
    const pomai_dtype dtype = s->h->dtype == 0 ? POMAI_DTYPE_FLOAT32 : (pomai_dtype)s->h->dtype;
    const uint64_t stride = (uint64_t)s->h->dim * pm_dtype_size(dtype);
    struct c_content c = {.name_hash = s->name_hash,
                          .dtype = dtype,
                          .stamp = c_u64_at(s->buffer[C_B_STAMP], row),
                          .expiry = c_u64_at(s->buffer[C_B_EXPIRY], row),
                          .vector = s->buffer[C_B_VECTORS] + row * stride,
                          .vector_size = stride};
    const uint8_t *text;
    if (s->buffer[C_B_ID_ENDS] != NULL) {
        const uint64_t size = c_text_at(s->buffer[C_B_ID_ENDS], s->buffer[C_B_IDS], row, &text);
        c.id_hash = c_name_hash(text, size);
    } else {
        c.id_hash = c_id_hash(c_u64_at(s->buffer[C_B_IDS], row));
    }
    if (s->buffer[C_B_DOCUMENT_ENDS] != NULL) {
        c.document_size = c_text_at(s->buffer[C_B_DOCUMENT_ENDS], s->buffer[C_B_DOCUMENTS], row, &text);
        c.document = text;
    }
    return (struct c_row){t_mix2(c.id_hash, s->h->collection), c_row_hash(&c)};
}

static inline bool c_has_passed(uint64_t expiry)
{
    return expiry != 0 && expiry <= C_PAST;
}

#endif
