/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "query/query.h"

enum { FEW = 8 }; /* ids whose places need no memory of their own */

static void id_at(const pomai_ids *ids, size_t i, pm_id *id)
{
    *id = (pm_id){0};
    if (ids->u64 != NULL) {
        id->u64 = ids->u64[i];
    } else {
        id->bytes = ids->string[i].data;
        id->size = (uint32_t)ids->string[i].size;
    }
}

/* *bytes: of the documents. */
static pomai_status find_all(const pm_view *view, const pomai_ids *ids, uint64_t seed, pm_where *at, uint64_t *bytes,
                             pomai_error *err)
{
    *bytes = 0;
    if (view->shown == NULL) return POMAI_OK; /* the collection does not exist yet */
    const uint32_t shards = view->shown->shards;
    for (size_t i = 0; i < ids->count; i++) {
        pm_id id;
        id_at(ids, i, &id);
        const uint32_t shard =
            id.bytes == NULL ? pm_shard_of_u64(id.u64, shards) : pm_shard_of_string(id.bytes, id.size, shards);
        pomai_status status = pm_view_find(view, shard, &id, pm_id_hash(&id, seed), &at[i], err);
        if (status != POMAI_OK) return status;
        if (at[i].owner != NULL) *bytes += pm_where_document(&at[i]).size;
    }
    return POMAI_OK;
}

static void copy_all(pomai_rows *rows, const pm_view *view, const pomai_ids *ids, const pm_where *at)
{
    uint8_t *bytes = rows->bytes;
    for (size_t i = 0; i < rows->count; i++) {
        pm_id id;
        id_at(ids, i, &id);
        pm_rows_set_id(rows, i, &id, &bytes);
        if (at[i].owner != NULL)
            pm_rows_set(rows, i, view, &at[i], &bytes);
        else
            memset(rows->vectors + i * rows->dim, 0, rows->dim * sizeof(float));
    }
}

pomai_status pm_query_get(const pm_view *view, const pomai_ids *ids, uint32_t dim, uint64_t seed, pomai_rows **out,
                          pomai_error *err)
{
    uint64_t bytes;
    if (pm_mul_overflows(ids->count, (uint64_t)dim * sizeof(float), &bytes) || bytes > UINT64_MAX / 2)
        return pm_fail(err, POMAI_ETOOBIG, "%zu ids at once are too many; split the call", ids->count);
    pm_where few[FEW];
    pm_where *at = ids->count <= FEW ? few : pm_calloc(ids->count, sizeof *at);
    if (at == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to fetch %zu rows", ids->count);
    if (at == few) memset(few, 0, sizeof few);
    pomai_status status = find_all(view, ids, seed, at, &bytes, err);
    for (size_t i = 0; ids->u64 == NULL && i < ids->count; i++)
        bytes += ids->string[i].size;
    const pm_rows_shape shape = {.count = ids->count,
                                 .bytes = bytes,
                                 .dim = dim,
                                 .include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS,
                                 .id_kind = ids->u64 != NULL ? POMAI_ID_U64 : POMAI_ID_STRING};
    pomai_rows *rows = status == POMAI_OK ? pm_rows_make(&shape) : NULL;
    if (rows != NULL)
        copy_all(rows, view, ids, at);
    else if (status == POMAI_OK)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to fetch %zu rows", ids->count);
    if (at != few) pm_free(at);
    if (status == POMAI_OK) *out = rows;
    return status;
}
