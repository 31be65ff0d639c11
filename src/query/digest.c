/* SPDX-License-Identifier: Apache-2.0 */
/* The logical state of a collection in two words: the same wherever its rows lie. */
#include <string.h>

#include "query/query.h"

typedef struct row {
    pm_id id;
    uint64_t stamp, expiry;
    const void *vector;
    pomai_bytes document;
} row;

static void add_row(uint64_t digest[2], const row *r, size_t stride)
{
    for (uint64_t seed = 1; seed <= 2; seed++) { /* two hashes that have nothing to do with each other */
        uint64_t h = pm_mix64(pm_id_hash(&r->id, seed) + seed);
        h = pm_mix64(h ^ pm_hash_bytes(r->vector, stride, seed));
        h = pm_mix64(h ^ pm_hash_bytes(r->document.size > 0 ? r->document.data : "", r->document.size, seed));
        h = pm_mix64(h ^ pm_mix64(r->stamp + seed));
        h = pm_mix64(h ^ pm_mix64(r->expiry + seed));
        digest[seed - 1] += h;
    }
}

static void add_table(const pm_view *view, const pm_memtable *table, uint64_t visible, size_t stride,
                      uint64_t digest[2])
{
    const uint64_t chunks = table == NULL ? 0 : pm_memtable_visible_chunks(table, visible);
    for (uint64_t c = 0; c < chunks; c++) {
        const pm_chunk *chunk = pm_memtable_chunk(table, c);
        for (uint32_t i = 0; i < chunk->rows; i++) {
            if (!pm_chunk_row_visible(chunk, i, visible, view->now)) continue;
            row r = {.stamp = chunk->stamp,
                     .expiry = chunk->expiry == NULL ? 0 : chunk->expiry[i],
                     .vector = pm_chunk_vector_at(chunk, i),
                     .document = pm_chunk_document(chunk, i)};
            pm_chunk_id(chunk, i, &r.id);
            add_row(digest, &r, stride);
        }
    }
}

pomai_status pm_query_digest(const pm_view *view, uint32_t dim, uint64_t digest[2], pomai_error *err)
{
    const pm_shown *shown = view->shown;
    const size_t stride = (size_t)dim * pm_dtype_size(view->dtype);
    for (uint32_t s = 0; s < shown->shards; s++) {
        add_table(view, shown->table[s].active, view->visible[s], stride, digest);
        add_table(view, shown->table[s].frozen, view->visible[s], stride, digest);
    }
    for (uint32_t s = 0; s < shown->segments; s++) {
        pm_segment *segment = shown->segment[s];
        pomai_status status = pm_segment_check(segment, PM_SEG_ALL, 0, pm_segment_rows(segment), err);
        if (status != POMAI_OK) return status;
        for (uint64_t i = 0; i < pm_segment_rows(segment); i++) {
            if (!pm_segment_row_seen(segment, i, view)) continue;
            row r = {.stamp = pm_segment_stamp(segment, i),
                     .expiry = pm_segment_first_expiry(segment) == 0 ? 0 : pm_segment_expiry(segment, i),
                     .vector = pm_segment_vector_at(segment, i),
                     .document = pm_segment_document(segment, i)};
            pm_segment_id(segment, i, &r.id);
            add_row(digest, &r, stride);
        }
    }
    return POMAI_OK;
}
