/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "query/query.h"

enum { FEW = 8 }; /* ids whose places need no memory of their own */

static pomai_bytes document_at(const pm_where *at)
{
    if (pm_where_chunk(at->owner)) return pm_chunk_document(at->owner, at->row);
    return pm_segment_document(at->owner, at->row);
}

static pomai_status find_all(const pm_view *view, const pomai_ids *ids, uint64_t seed, pm_where *at,
                             uint64_t *document_bytes, pomai_error *err)
{
    *document_bytes = 0;
    if (view->shown == NULL) return POMAI_OK; /* the collection does not exist yet */
    const uint32_t shards = view->shown->shards;
    for (size_t i = 0; i < ids->count; i++) {
        pm_id id = {0};
        uint32_t shard;
        if (ids->u64 != NULL) {
            id.u64 = ids->u64[i];
            shard = pm_shard_of_u64(id.u64, shards);
        } else {
            id.bytes = ids->string[i].data;
            id.size = (uint32_t)ids->string[i].size;
            shard = pm_shard_of_string(id.bytes, id.size, shards);
        }
        pomai_status status = pm_view_find(view, shard, &id, pm_id_hash(&id, seed), &at[i], err);
        if (status != POMAI_OK) return status;
        if (at[i].owner != NULL) *document_bytes += document_at(&at[i]).size;
    }
    return POMAI_OK;
}

static void copy_all(pomai_rows *rows, const pm_where *at)
{
    uint8_t *bytes = rows->bytes;
    for (size_t i = 0; i < rows->count; i++) {
        if (at[i].owner == NULL) continue;
        const float *vector;
        if (pm_where_chunk(at[i].owner)) {
            const pm_chunk *chunk = at[i].owner;
            rows->stamps[i] = chunk->stamp;
            rows->expiries[i] = chunk->expiry == NULL ? 0 : chunk->expiry[at[i].row];
            vector = chunk->vectors + (size_t)at[i].row * rows->dim;
        } else {
            rows->stamps[i] = pm_segment_stamp(at[i].owner, at[i].row);
            if (pm_segment_first_expiry(at[i].owner) != 0)
                rows->expiries[i] = pm_segment_expiry(at[i].owner, at[i].row);
            vector = pm_segment_vector(at[i].owner, at[i].row);
        }
        rows->found[i] = 1;
        memcpy(rows->vectors + i * rows->dim, vector, rows->dim * sizeof(float));
        pomai_bytes document = document_at(&at[i]);
        if (document.size == 0) continue;
        memcpy(bytes, document.data, document.size);
        rows->documents[i] = (pomai_bytes){bytes, document.size};
        bytes += document.size;
    }
}

/* The arrays of an answer lie behind it, the widest first: a get of one row is one allocation. */
static pomai_rows *rows_make(uint64_t count, uint32_t dim, uint64_t documents)
{
    uint64_t floats, vectors, size;
    const uint64_t row = sizeof(pomai_bytes) + 2 * sizeof(uint64_t) + 1;
    if (pm_mul_overflows(count, dim, &floats) || pm_mul_overflows(floats, sizeof(float), &vectors) ||
        pm_mul_overflows(count, row, &size) || pm_add_overflows(size, vectors, &size) ||
        pm_add_overflows(size, documents + sizeof(pomai_rows), &size))
        return NULL;
    pomai_rows *rows = pm_malloc(size);
    if (rows == NULL) return NULL;
    memset(rows, 0, sizeof *rows);
    rows->count = count;
    rows->dim = dim;
    rows->documents = (pomai_bytes *)(void *)(rows + 1);
    rows->stamps = (uint64_t *)(void *)(rows->documents + count);
    rows->expiries = rows->stamps + count;
    rows->vectors = (float *)(void *)(rows->expiries + count);
    rows->found = (uint8_t *)(rows->vectors + floats);
    rows->bytes = rows->found + count;
    memset(rows->documents, 0, count * (row - 1));
    memset(rows->found, 0, count);
    return rows;
}

pomai_status pm_query_get(const pm_view *view, const pomai_ids *ids, uint32_t dim, uint64_t seed, pomai_rows **out,
                          pomai_error *err)
{
    uint64_t bytes, documents;
    if (pm_mul_overflows(ids->count, (uint64_t)dim * sizeof(float), &bytes) || bytes > UINT64_MAX / 2)
        return pm_fail(err, POMAI_ETOOBIG, "%zu ids at once are too many; split the call", ids->count);
    pm_where few[FEW];
    pm_where *at = ids->count <= FEW ? few : pm_calloc(ids->count, sizeof *at);
    if (at == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to fetch %zu rows", ids->count);
    if (at == few) memset(few, 0, sizeof few);
    pomai_status status = find_all(view, ids, seed, at, &documents, err);
    pomai_rows *rows = status == POMAI_OK ? rows_make(ids->count, dim, documents) : NULL;
    if (rows != NULL)
        copy_all(rows, at);
    else if (status == POMAI_OK)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to fetch %zu rows", ids->count);
    if (at != few) pm_free(at);
    if (status == POMAI_OK) *out = rows;
    return status;
}

void pm_rows_free(pomai_rows *rows)
{
    pm_free(rows);
}
