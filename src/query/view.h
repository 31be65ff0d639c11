/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a collection consists of, as readers and actors see it: immutable, published by exchanging one pointer, kept
 * until the epoch of everybody who may hold it has passed. docs/lifecycle.md.
 */
#ifndef PM_QUERY_VIEW_H
#define PM_QUERY_VIEW_H

#include "base/base.h"
#include "base/epoch.h"
#include "simd/convert.h"
#include "storage/memtable/memtable.h"
#include "storage/segment/segment.h"

/* A shard's rows that are in no segment yet. */
typedef struct pm_shown_tables {
    pm_memtable *active;
    pm_memtable *frozen; /* takes no rows; becomes a segment; NULL: none */
} pm_shown_tables;

typedef struct pm_shown {
    struct pm_shown *next; /* of those that were replaced */
    uint64_t version;      /* another one whenever the segments are others */
    uint32_t shards, segments;
    uint32_t room;           /* segments that it could list */
    int64_t rows;            /* without an end when the collection was opened, less those that were dropped since */
    pm_segment **segment;    /* oldest first */
    pm_shown_tables table[]; /* of each shard; then the array of segments */
} pm_shown;

/* An empty one of this shape; NULL: no memory. */
pm_shown *pm_shown_make(uint32_t shards, uint32_t segments);
void pm_shown_free(pm_shown *shown);

/* What one reader sees: the collection, the LSN of each shard up to which, and the time by which rows have expired. */
typedef struct pm_view {
    const pm_shown *shown; /* NULL: the collection does not exist yet */
    uint64_t visible[PM_MAX_SHARDS];
    uint64_t now;
    pomai_dtype dtype; /* of the collection's vectors */
    const pm_convert *convert;
} pm_view;

/* A row in a view: of a chunk or a segment, whose first member is its pm_rows_kind. */
typedef struct pm_where {
    const void *owner; /* NULL: nowhere */
    uint32_t row;
} pm_where;

static inline bool pm_where_chunk(const void *owner)
{
    return *(const uint32_t *)owner == PM_ROWS_CHUNK;
}

static inline pomai_bytes pm_where_document(const pm_where *at)
{
    if (pm_where_chunk(at->owner)) return pm_chunk_document(at->owner, at->row);
    return pm_segment_document(at->owner, at->row);
}

static inline void pm_where_id(const pm_where *at, pm_id *id)
{
    if (pm_where_chunk(at->owner))
        pm_chunk_id(at->owner, at->row, id);
    else
        pm_segment_id(at->owner, at->row, id);
}

/* As it is stored. A row of a segment was checked. */
static inline const void *pm_where_stored(const void *owner, uint32_t row)
{
    return pm_where_chunk(owner) ? pm_chunk_vector_at(owner, row) : pm_segment_vector_at(owner, row);
}

/* The same as float32, copied. */
static inline void pm_where_vector(const pm_view *view, const void *owner, uint32_t row, size_t dim, float *out)
{
    pm_convert_row(view->convert, view->dtype, pm_where_stored(owner, row), dim, out);
}

/* Whether the reader sees a row of a segment; its LSN, shard and expiry columns were checked. */
static inline bool pm_segment_row_seen(const pm_segment *segment, uint64_t row, const pm_view *view)
{
    const uint64_t visible = view->visible[pm_segment_shard(segment, row)];
    if (pm_segment_lsn(segment, row) > visible || pm_segment_end_of(segment, row) <= visible) return false;
    if (pm_segment_first_expiry(segment) == 0) return true;
    const uint64_t expiry = pm_segment_expiry(segment, row);
    return expiry == 0 || expiry > view->now;
}

/* Whether the reader sees all rows of a segment but those that have an end. */
bool pm_view_is_plain(const pm_view *view, const pm_segment *segment);
/* bits: one for each of n rows of a segment that the reader sees, from `first` on, a multiple of 64; *all: they all
 * are. plain: as above. Fails with POMAI_ECORRUPT. */
pomai_status pm_view_see(const pm_view *view, pm_segment *segment, bool plain, uint64_t first, uint64_t n,
                         uint64_t *bits, bool *all, pomai_error *err);
/* The version of an id that the view shows; `hash` is that of the segments. */
pomai_status pm_view_find(const pm_view *view, uint32_t shard, const pm_id *id, uint64_t hash, pm_where *where,
                          pomai_error *err);
/* Rows that the view would show but for their expiry; those that may have expired are looked at one by one. */
pomai_status pm_view_expired(const pm_view *view, uint64_t *rows, pomai_error *err);

#endif
