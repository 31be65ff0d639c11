/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that follow from their number, for segments. */
#ifndef SUPPORT_SEGMENT_H
#define SUPPORT_SEGMENT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/segment/segment.h"

enum { SEG_EXPIRY = 1, SEG_DOCUMENTS = 2, SEG_RAW_IDS = 4, SEG_RAW_DOCUMENTS = 8 };

typedef struct seg_source {
    pm_segment_place place;
    uint64_t rows, distinct; /* row i has id number i % distinct */
    unsigned flags;
    uint64_t paced;
    /* of the row given last */
    void *vector;
    uint8_t id[POMAI_MAX_STRING_ID], document[256];
} seg_source;

static inline uint64_t seg_u64_id(uint64_t number)
{
    return pm_mix64(number) >> 2;
}

/* Text of 1 to 40 bytes; some with two-byte letters, with SEG_RAW_IDS some with a byte that no text has. */
static inline uint32_t seg_string_id(const seg_source *s, uint64_t number, uint8_t *to)
{
    int n = snprintf((char *)to, 64, "%llu%.*s", (unsigned long long)number, (int)(number % 20),
                     "-abcdefghijklmnopqrstuvwxyz");
    if (number % 3 == 0) {
        to[n++] = 0xc3;
        to[n++] = 0xa9;
    }
    if ((s->flags & SEG_RAW_IDS) != 0 && number % 5 == 0) to[n++] = 0xff;
    return (uint32_t)n;
}

static inline void seg_id(const seg_source *s, uint64_t number, uint8_t *text, pm_id *id)
{
    if (s->place.id_kind == POMAI_ID_U64)
        *id = (pm_id){.u64 = seg_u64_id(number)};
    else
        *id = (pm_id){.bytes = text, .size = seg_string_id(s, number, text)};
}

static inline uint32_t seg_document(const seg_source *s, uint64_t i, uint8_t *to)
{
    if ((s->flags & SEG_DOCUMENTS) == 0 || i % 4 == 1) return 0;
    int n = snprintf((char *)to, 128, "{\"row\": %llu, \"t\": \"\xc3\xbc%.*s\"}", (unsigned long long)i, (int)(i % 40),
                     "what is in a document is the caller's business");
    if ((s->flags & SEG_RAW_DOCUMENTS) != 0 && i % 7 == 0) to[n++] = 0xfe;
    return (uint32_t)n;
}

static inline uint64_t seg_expiry(const seg_source *s, uint64_t i)
{
    return (s->flags & SEG_EXPIRY) != 0 && i % 3 == 0 ? 1800000000000000000u + i : 0;
}

static inline uint64_t seg_stamp(uint64_t i)
{
    return 1700000000000000000u + i * 1000;
}

/* Of any type of vectors, and exactly. */
static inline float seg_component(const seg_source *s, uint64_t i, uint32_t d)
{
    if (s->place.dtype == POMAI_DTYPE_INT8) return (float)((i * 31 + d * 7) % 256) - 128;
    return (float)((i * 31 + d * 7) % 2039) / 16 - 60;
}

static inline void seg_put_component(const seg_source *s, uint64_t i, uint32_t d)
{
    const float value = seg_component(s, i, d);
    if (s->place.dtype == POMAI_DTYPE_INT8)
        ((int8_t *)s->vector)[d] = (int8_t)value;
    else if (s->place.dtype == POMAI_DTYPE_FLOAT16)
        ((uint16_t *)s->vector)[d] = pm_f32_to_f16(value);
    else
        ((float *)s->vector)[d] = value;
}

static inline pomai_status seg_row(void *context, uint64_t i, uint32_t columns, pm_segment_row *row, pomai_error *err)
{
    seg_source *s = context;
    (void)columns; /* all */
    (void)err;
    const uint64_t number = i % s->distinct;
    seg_id(s, number, s->id, &row->id);
    row->shard = (uint32_t)(number % s->place.shards);
    row->lsn = i + 1;
    row->stamp = seg_stamp(i);
    row->expiry = seg_expiry(s, i);
    for (uint32_t d = 0; d < s->place.dim; d++)
        seg_put_component(s, i, d);
    row->vector = s->vector;
    row->document = (pomai_bytes){s->document, seg_document(s, i, s->document)};
    if (row->document.size == 0) row->document.data = NULL;
    return POMAI_OK;
}

static inline pomai_status seg_pace(void *context, uint64_t bytes, pomai_error *err)
{
    (void)err;
    ((seg_source *)context)->paced += bytes;
    return POMAI_OK;
}

static inline seg_source seg_source_make(const pm_os *os, const char *dir, pomai_id_kind kind, uint64_t rows,
                                         uint32_t dim, unsigned flags)
{
    seg_source s = {.rows = rows, .distinct = rows, .flags = flags};
    s.place = (pm_segment_place){.os = os, .dir = dir, .uuid = {1, 2, 3}, .collection = 5, .dim = dim, .shards = 4};
    s.place.id_kind = kind;
    s.place.dtype = POMAI_DTYPE_FLOAT32;
    s.place.number = 9;
    s.vector = malloc(dim * sizeof(float));
    if (s.vector == NULL) abort();
    return s;
}

static inline pomai_status seg_make(seg_source *s, pm_manifest_segment *entry, pomai_error *err)
{
    const pm_segment_write in = {&s->place, s->rows, seg_row, seg_pace, s};
    return pm_segment_make(&in, entry, err);
}

/* Whether a row is what was written; it must have been checked. */
static inline bool seg_same(seg_source *s, const pm_segment *segment, uint64_t i)
{
    pm_segment_row want;
    (void)seg_row(s, i, PM_SEG_ALL, &want, NULL);
    pm_id id;
    pm_segment_id(segment, i, &id);
    pomai_bytes document = pm_segment_document(segment, i);
    bool same = pm_segment_shard(segment, i) == want.shard && pm_segment_lsn(segment, i) == want.lsn &&
                pm_segment_stamp(segment, i) == want.stamp && pm_segment_expiry(segment, i) == want.expiry;
    same = same &&
           memcmp(pm_segment_vector_at(segment, i), want.vector, s->place.dim * pm_dtype_size(s->place.dtype)) == 0;
    same = same && (id.bytes == NULL) == (want.id.bytes == NULL) && id.u64 == want.id.u64 && id.size == want.id.size;
    if (same && id.bytes != NULL) same = memcmp(id.bytes, want.id.bytes, id.size) == 0;
    same = same && document.size == want.document.size;
    if (same && document.size > 0) same = memcmp(document.data, want.document.data, document.size) == 0;
    return same;
}

#endif
