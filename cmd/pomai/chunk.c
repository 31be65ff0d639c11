/* SPDX-License-Identifier: Apache-2.0 */
/* Rows gathered for one call of the engine. Capacities double, so filling a chunk row by row costs no more than at
 * once, and a chunk that is used again allocates nothing. */
#include "read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void chunk_clear(struct chunk *chunk)
{
    chunk->rows = 0;
    chunk->dim = 0;
    chunk->kind = CHUNK_NO_IDS;
    chunk->has_documents = false;
    chunk->expiries = 0;
    chunk->text.size = 0;
}

void chunk_free(struct chunk *chunk)
{
    free(chunk->place);
    free(chunk->vectors);
    free(chunk->u64);
    free(chunk->expiry);
    free(chunk->id_at);
    free(chunk->document_at);
    free(chunk->string_ids);
    free(chunk->documents);
    text_free(&chunk->text);
    memset(chunk, 0, sizeof *chunk);
}

size_t chunk_bytes(const struct chunk *chunk)
{
    return chunk->rows * (size_t)chunk->dim * sizeof(float) + chunk->rows * 8 + chunk->text.size;
}

size_t chunk_room(const struct chunk *chunk, size_t row_bytes)
{
    size_t used = chunk_bytes(chunk);
    if (chunk->rows >= chunk->max_rows || (used >= chunk->max_bytes && chunk->rows > 0)) return 0;
    size_t room = used < chunk->max_bytes ? (chunk->max_bytes - used) / (row_bytes ? row_bytes : 1) : 0;
    if (room == 0 && chunk->rows == 0) room = 1;
    return room < chunk->max_rows - chunk->rows ? room : chunk->max_rows - chunk->rows;
}

static void grow_rows(struct chunk *chunk, size_t need)
{
    size_t capacity = chunk->row_capacity;
    if (need <= capacity) return;
    chunk->place = must_grow(chunk->place, &chunk->row_capacity, need, sizeof *chunk->place);
    /* One capacity for all arrays of a row each: the others follow the first. */
    chunk->u64 = must_realloc(chunk->u64, chunk->row_capacity, sizeof *chunk->u64);
    chunk->expiry = must_realloc(chunk->expiry, chunk->row_capacity, sizeof *chunk->expiry);
    chunk->id_at = must_realloc(chunk->id_at, chunk->row_capacity, sizeof *chunk->id_at);
    chunk->document_at = must_realloc(chunk->document_at, chunk->row_capacity, sizeof *chunk->document_at);
    chunk->string_ids = must_realloc(chunk->string_ids, chunk->row_capacity, sizeof *chunk->string_ids);
    chunk->documents = must_realloc(chunk->documents, chunk->row_capacity, sizeof *chunk->documents);
}

float *chunk_add(struct chunk *chunk, size_t rows)
{
    size_t all, floats;
    if (__builtin_add_overflow(chunk->rows, rows, &all) || __builtin_mul_overflow(all, (size_t)chunk->dim, &floats))
        all = floats = SIZE_MAX; /* must_grow then says that there is no such memory */
    grow_rows(chunk, all);
    chunk->vectors = must_grow(chunk->vectors, &chunk->float_capacity, floats, sizeof *chunk->vectors);
    for (size_t i = chunk->rows; i < all; i++) {
        chunk->id_at[i] = chunk->document_at[i] = (struct span){0, 0};
        chunk->u64[i] = chunk->expiry[i] = 0;
        chunk->place[i] = 0;
    }
    float *vectors = chunk->vectors + chunk->rows * (size_t)chunk->dim;
    chunk->rows = all;
    return vectors;
}

struct span chunk_add_text(struct chunk *chunk, const void *bytes, size_t size)
{
    struct span span = {chunk->text.size, size};
    text_add(&chunk->text, bytes, size);
    return span;
}

void chunk_seal(struct chunk *chunk)
{
    for (size_t i = 0; i < chunk->rows; i++) {
        struct span id = chunk->id_at[i], document = chunk->document_at[i];
        chunk->string_ids[i] = (pomai_bytes){chunk->text.data ? chunk->text.data + id.at : NULL, id.size};
        chunk->documents[i] = (pomai_bytes){document.size ? chunk->text.data + document.at : NULL, document.size};
    }
}

static const struct chunk *sorted_chunk; /* for the comparison; qsort has no context argument in ISO C */

static int compare_ids(size_t a, size_t b)
{
    const struct chunk *chunk = sorted_chunk;
    if (chunk->kind == CHUNK_U64) return chunk->u64[a] < chunk->u64[b] ? -1 : chunk->u64[a] > chunk->u64[b];
    pomai_bytes x = chunk->string_ids[a], y = chunk->string_ids[b];
    int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);
    return order ? order : x.size < y.size ? -1 : x.size > y.size;
}

static int compare_rows(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    int order = compare_ids(x, y);
    return order ? order : x < y ? -1 : x > y;
}

bool chunk_same_id(const struct chunk *chunk, size_t *i, size_t *j)
{
    if (chunk->kind == CHUNK_NO_IDS) return false;
    size_t *order = must_realloc(NULL, chunk->rows, sizeof *order);
    bool found = false;
    for (size_t row = 0; row < chunk->rows; row++)
        order[row] = row;
    sorted_chunk = chunk;
    qsort(order, chunk->rows, sizeof *order, compare_rows);
    for (size_t at = 1; at < chunk->rows && !found; at++) {
        *i = order[at - 1];
        *j = order[at];
        found = compare_ids(*i, *j) == 0;
    }
    free(order);
    return found;
}

bool chunk_bad_vector(const struct chunk *chunk, bool zero, size_t *row)
{
    for (*row = 0; *row < chunk->rows; (*row)++) {
        const float *vector = chunk->vectors + *row * (size_t)chunk->dim;
        bool bad = zero;
        for (uint64_t i = 0; i < chunk->dim; i++) {
            if (zero)
                bad = bad && vector[i] == 0;
            else
                bad = bad || !isfinite(vector[i]);
        }
        if (bad) return true;
    }
    return false;
}
