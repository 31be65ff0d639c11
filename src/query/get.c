/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "query/query.h"

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

pomai_status pm_query_get(const pm_view *view, const pomai_ids *ids, uint32_t dim, uint64_t seed, pomai_rows **out,
                          pomai_error *err)
{
    uint64_t floats, bytes, documents;
    if (pm_mul_overflows(ids->count, dim, &floats) || pm_mul_overflows(floats, sizeof(float), &bytes))
        return pm_fail(err, POMAI_ETOOBIG, "%zu ids at once are too many; split the call", ids->count);
    pomai_rows *rows = pm_calloc(1, sizeof *rows);
    pm_where *at = pm_calloc(ids->count + 1, sizeof *at);
    if (rows == NULL || at == NULL) goto no_memory;
    pomai_status status = find_all(view, ids, seed, at, &documents, err);
    if (status != POMAI_OK) {
        pm_free(at);
        pm_rows_free(rows);
        return status;
    }
    rows->count = ids->count;
    rows->dim = dim;
    rows->found = pm_calloc(ids->count + 1, 1);
    rows->stamps = pm_calloc(ids->count + 1, sizeof *rows->stamps);
    rows->expiries = pm_calloc(ids->count + 1, sizeof *rows->expiries);
    rows->vectors = pm_malloc(bytes + 1);
    rows->documents = pm_calloc(ids->count + 1, sizeof *rows->documents);
    rows->bytes = pm_malloc(documents + 1);
    if (rows->found == NULL || rows->stamps == NULL || rows->expiries == NULL || rows->vectors == NULL ||
        rows->documents == NULL || rows->bytes == NULL)
        goto no_memory;
    copy_all(rows, at);
    pm_free(at);
    *out = rows;
    return POMAI_OK;
no_memory:
    pm_free(at);
    pm_rows_free(rows);
    return pm_fail(err, POMAI_ENOMEM, "no memory to fetch %zu rows", ids->count);
}

void pm_rows_free(pomai_rows *rows)
{
    if (rows == NULL) return;
    pm_free(rows->found);
    pm_free(rows->stamps);
    pm_free(rows->expiries);
    pm_free(rows->vectors);
    pm_free(rows->documents);
    pm_free(rows->bytes);
    pm_free(rows);
}
