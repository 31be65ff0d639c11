/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as copies: what a get or a scan hands out. */
#include <string.h>

#include "query/query.h"

/* The arrays lie behind the struct, the widest first: a get of one row is one allocation. */
pomai_rows *pm_rows_make(const pm_rows_shape *shape)
{
    const bool vectors = (shape->include & POMAI_INCLUDE_VECTORS) != 0;
    const bool documents = (shape->include & POMAI_INCLUDE_DOCUMENTS) != 0;
    const bool strings = shape->id_kind == POMAI_ID_STRING;
    const uint64_t count = shape->count;
    const uint64_t zeroed = (documents ? sizeof(pomai_bytes) : 0) + 2 * sizeof(uint64_t); /* of a row */
    const uint64_t row = zeroed + (strings ? sizeof(pomai_bytes) : sizeof(uint64_t)) + 1;
    uint64_t floats, size, rest;
    if (pm_mul_overflows(count, vectors ? shape->dim : 0, &floats) || pm_mul_overflows(floats, sizeof(float), &size) ||
        pm_mul_overflows(count, row, &rest) || pm_add_overflows(size, rest, &size) ||
        pm_add_overflows(size, shape->bytes, &size) || pm_add_overflows(size, sizeof(pomai_rows), &size))
        return NULL;
    pomai_rows *rows = pm_malloc(size);
    if (rows == NULL) return NULL;
    memset(rows, 0, sizeof *rows);
    rows->count = count;
    rows->dim = shape->dim;
    uint8_t *at = (uint8_t *)(rows + 1);
    memset(at, 0, count * zeroed);
    if (documents) {
        rows->documents = (pomai_bytes *)(void *)at;
        at += count * sizeof(pomai_bytes);
    }
    rows->stamps = (uint64_t *)(void *)at;
    rows->expiries = rows->stamps + count;
    at += 2 * count * sizeof(uint64_t);
    if (strings)
        rows->string_ids = (pomai_bytes *)(void *)at;
    else
        rows->u64_ids = (uint64_t *)(void *)at;
    at += count * (strings ? sizeof(pomai_bytes) : sizeof(uint64_t));
    if (vectors) rows->vectors = (float *)(void *)at;
    rows->found = at + floats * sizeof(float);
    memset(rows->found, 0, count);
    rows->bytes = rows->found + count;
    return rows;
}

static pomai_bytes keep(pomai_bytes from, uint8_t **bytes)
{
    if (from.size == 0) return (pomai_bytes){NULL, 0};
    const pomai_bytes kept = {*bytes, from.size};
    memcpy(*bytes, from.data, from.size);
    *bytes += from.size;
    return kept;
}

void pm_rows_set_id(pomai_rows *rows, size_t i, const pm_id *id, uint8_t **bytes)
{
    if (rows->u64_ids != NULL)
        rows->u64_ids[i] = id->u64;
    else
        rows->string_ids[i] = keep((pomai_bytes){id->bytes, id->size}, bytes);
}

void pm_rows_set(pomai_rows *rows, size_t i, const pm_view *view, const pm_where *at, uint8_t **bytes)
{
    if (pm_where_chunk(at->owner)) {
        const pm_chunk *chunk = at->owner;
        rows->stamps[i] = chunk->stamp;
        rows->expiries[i] = chunk->expiry == NULL ? 0 : chunk->expiry[at->row];
    } else {
        rows->stamps[i] = pm_segment_stamp(at->owner, at->row);
        if (pm_segment_first_expiry(at->owner) != 0) rows->expiries[i] = pm_segment_expiry(at->owner, at->row);
    }
    rows->found[i] = 1;
    if (rows->vectors != NULL) pm_where_vector(view, at->owner, at->row, rows->dim, rows->vectors + i * rows->dim);
    if (rows->documents != NULL) rows->documents[i] = keep(pm_where_document(at), bytes);
}

void pm_rows_free(pomai_rows *rows)
{
    pm_free(rows);
}
