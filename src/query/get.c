/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "query/query.h"

typedef struct location {
    const pm_chunk *chunk; /* NULL: not there */
    uint32_t row;
} location;

static void find_all(const pm_view *view, const pomai_ids *ids, location *at, uint64_t *document_bytes)
{
    *document_bytes = 0;
    if (view->shards == 0) return; /* the collection does not exist yet */
    for (size_t i = 0; i < ids->count; i++) {
        pm_id id = {0};
        uint32_t shard;
        if (ids->u64 != NULL) {
            id.u64 = ids->u64[i];
            shard = pm_shard_of_u64(id.u64, view->shards);
        } else {
            id.bytes = ids->string[i].data;
            id.size = (uint32_t)ids->string[i].size;
            shard = pm_shard_of_string(id.bytes, id.size, view->shards);
        }
        if (!pm_memtable_find(view->table[shard], &id, view->visible[shard], &at[i].chunk, &at[i].row)) {
            at[i].chunk = NULL;
            continue;
        }
        *document_bytes += pm_chunk_document(at[i].chunk, at[i].row).size;
    }
}

static void copy_all(pomai_rows *rows, const location *at)
{
    uint8_t *bytes = rows->bytes;
    for (size_t i = 0; i < rows->count; i++) {
        if (at[i].chunk == NULL) continue;
        rows->found[i] = 1;
        rows->stamps[i] = at[i].chunk->stamp;
        memcpy(rows->vectors + i * rows->dim, at[i].chunk->vectors + (size_t)at[i].row * rows->dim,
               rows->dim * sizeof(float));
        pomai_bytes document = pm_chunk_document(at[i].chunk, at[i].row);
        if (document.size == 0) continue;
        memcpy(bytes, document.data, document.size);
        rows->documents[i] = (pomai_bytes){bytes, document.size};
        bytes += document.size;
    }
}

pomai_status pm_query_get(const pm_view *view, const pomai_ids *ids, uint32_t dim, pomai_rows **out, pomai_error *err)
{
    uint64_t floats, bytes, documents;
    if (pm_mul_overflows(ids->count, dim, &floats) || pm_mul_overflows(floats, sizeof(float), &bytes))
        return pm_fail(err, POMAI_ETOOBIG, "%zu ids at once are too many; split the call", ids->count);
    pomai_rows *rows = pm_calloc(1, sizeof *rows);
    location *at = pm_calloc(ids->count + 1, sizeof *at);
    if (rows == NULL || at == NULL) goto no_memory;
    find_all(view, ids, at, &documents);
    rows->count = ids->count;
    rows->dim = dim;
    rows->found = pm_calloc(ids->count + 1, 1);
    rows->stamps = pm_calloc(ids->count + 1, sizeof *rows->stamps);
    rows->vectors = pm_malloc(bytes + 1);
    rows->documents = pm_calloc(ids->count + 1, sizeof *rows->documents);
    rows->bytes = pm_malloc(documents + 1);
    if (rows->found == NULL || rows->stamps == NULL || rows->vectors == NULL || rows->documents == NULL ||
        rows->bytes == NULL)
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
    pm_free(rows->vectors);
    pm_free(rows->documents);
    pm_free(rows->bytes);
    pm_free(rows);
}
