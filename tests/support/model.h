/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dumb model: a collection is an array of rows, found by looking at each. It is slow and plainly right, which is
 * its use: what the engine answers must equal what this answers.
 */
#ifndef T_MODEL_H
#define T_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "exact.h"
#include "pomai/pomai.h"

struct m_row {
    uint64_t id;
    pomai_bytes string; /* in a collection of string ids */
    float *vector;
    pomai_bytes document; /* {NULL, 0}: none */
    uint64_t expiry;      /* 0: never */
};

/* An expiry: what the collection's time to live makes of the commit stamp. */
#define M_TTL UINT64_MAX

struct m_coll {
    char name[POMAI_MAX_NAME + 1];
    uint32_t dim;
    pomai_dtype dtype; /* 0: float32 */
    pomai_metric metric;
    pomai_id_kind kind;
    uint64_t ttl;
    struct m_row *rows;
    size_t count, room;
};

/* Rows to put, with memory of their own. */
struct m_batch {
    uint64_t rows;
    uint32_t dim;
    float *vectors;
    void *narrow;      /* the same, of the collection's type; NULL: float32 is given */
    pomai_dtype dtype; /* of narrow */
    uint64_t *ids;     /* NULL: assigned */
    pomai_bytes *strings;
    pomai_bytes *documents;
    uint64_t *expiry; /* NULL: the collection's time to live; from 1 to M_PAST: long ago */
};

enum { M_PAST = 1000 };

static inline void *m_alloc(size_t size)
{
    void *p = calloc(1, size > 0 ? size : 1);
    if (p == NULL) abort();
    return p;
}

static inline pomai_bytes m_bytes_copy(pomai_bytes from)
{
    if (from.size == 0) return (pomai_bytes){NULL, 0};
    void *p = m_alloc(from.size);
    memcpy(p, from.data, from.size);
    return (pomai_bytes){p, from.size};
}

static inline void m_bytes_free(pomai_bytes *bytes)
{
    free((void *)(uintptr_t)bytes->data);
    *bytes = (pomai_bytes){NULL, 0};
}

static inline bool m_bytes_equal(pomai_bytes a, pomai_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- batches ---- */

static inline void m_batch_free(struct m_batch *batch)
{
    for (uint64_t i = 0; i < batch->rows; i++) {
        if (batch->strings != NULL) m_bytes_free(&batch->strings[i]);
        if (batch->documents != NULL) m_bytes_free(&batch->documents[i]);
    }
    free(batch->vectors);
    free(batch->narrow);
    free(batch->ids);
    free(batch->strings);
    free(batch->documents);
    free(batch->expiry);
    memset(batch, 0, sizeof *batch);
}

static inline pomai_batch m_batch_view(const struct m_batch *batch)
{
    pomai_batch view = POMAI_BATCH_INIT;
    view.rows = batch->rows;
    view.dim = batch->dim;
    view.vectors = batch->vectors;
    if (batch->narrow != NULL) {
        view.vectors = batch->narrow;
        view.dtype = batch->dtype;
    }
    view.u64_ids = batch->ids;
    view.string_ids = batch->strings;
    view.documents = batch->documents;
    view.expiry_ns = batch->expiry;
    return view;
}

static inline bool m_batch_has(const struct m_batch *batch, uint64_t n, uint64_t id, pomai_bytes string)
{
    for (uint64_t i = 0; i < n; i++) {
        if (batch->strings != NULL ? m_bytes_equal(batch->strings[i], string) : batch->ids[i] == id) return true;
    }
    return false;
}

/* ---- rows ---- */

/* The index of a row, or count. */
static inline size_t m_find(const struct m_coll *coll, uint64_t id, pomai_bytes string)
{
    size_t i = 0;
    if (coll->kind == POMAI_ID_STRING) {
        while (i < coll->count && !m_bytes_equal(coll->rows[i].string, string))
            i++;
    } else {
        while (i < coll->count && coll->rows[i].id != id)
            i++;
    }
    return i;
}

static inline void m_row_clear(struct m_row *row)
{
    m_bytes_free(&row->string);
    m_bytes_free(&row->document);
    free(row->vector);
}

/* What a collection of this type makes of a number that it takes. */
static inline float m_stored(pomai_dtype dtype, float x)
{
    if (dtype == POMAI_DTYPE_FLOAT16) return pm_f16_to_f32(pm_f32_to_f16(x));
    return dtype == POMAI_DTYPE_INT8 && x == 0.0f ? 0.0f : x;
}

/* One that it takes, and mostly rounds. */
static inline float m_fitting(pomai_dtype dtype, float x)
{
    if (dtype == POMAI_DTYPE_FLOAT16) return fabsf(x) >= 65520.0f ? copysignf(65504.0f, x) : x;
    if (dtype == POMAI_DTYPE_INT8) return floorf(fminf(fmaxf(x * 100, -128.0f), 127.0f));
    return x;
}

static inline void m_put_element(pomai_dtype dtype, void *to, size_t i, float x)
{
    if (dtype == POMAI_DTYPE_FLOAT16)
        ((uint16_t *)to)[i] = pm_f32_to_f16(x);
    else if (dtype == POMAI_DTYPE_INT8)
        ((int8_t *)to)[i] = (int8_t)x;
    else
        ((float *)to)[i] = x;
}

static inline void m_batch_narrow(struct m_batch *batch, pomai_dtype dtype)
{
    batch->dtype = dtype;
    batch->narrow = m_alloc(batch->rows * batch->dim * sizeof(float));
    for (uint64_t i = 0; i < batch->rows * batch->dim; i++)
        m_put_element(dtype, batch->narrow, i, batch->vectors[i]);
}

static inline void m_batch_widen(struct m_batch *batch)
{
    free(batch->narrow);
    batch->narrow = NULL;
}

static inline void m_upsert(struct m_coll *coll, uint64_t id, pomai_bytes string, const float *vector,
                            pomai_bytes document)
{
    size_t at = m_find(coll, id, string);
    if (at == coll->count) {
        if (coll->count == coll->room) {
            coll->room = coll->room == 0 ? 64 : coll->room * 2;
            coll->rows = realloc(coll->rows, coll->room * sizeof *coll->rows);
            if (coll->rows == NULL) abort();
        }
        coll->count++;
    } else {
        m_row_clear(&coll->rows[at]);
    }
    struct m_row *row = &coll->rows[at];
    row->id = id;
    row->expiry = 0;
    row->string = m_bytes_copy(string);
    row->document = m_bytes_copy(document);
    row->vector = m_alloc(coll->dim * sizeof(float));
    for (uint32_t d = 0; d < coll->dim; d++)
        row->vector[d] = m_stored(coll->dtype, vector[d]);
}

/* true if there was one. */
static inline bool m_delete(struct m_coll *coll, uint64_t id, pomai_bytes string)
{
    size_t at = m_find(coll, id, string);
    if (at == coll->count) return false;
    m_row_clear(&coll->rows[at]);
    coll->rows[at] = coll->rows[--coll->count];
    return true;
}

/* `first_id` counts where the batch has no ids. A row that has expired replaces the one before, and is not seen. */
static inline void m_put(struct m_coll *coll, const struct m_batch *batch, uint64_t first_id)
{
    for (uint64_t i = 0; i < batch->rows; i++) {
        uint64_t id = batch->strings != NULL ? 0 : batch->ids != NULL ? batch->ids[i] : first_id + i;
        uint64_t expiry = batch->expiry != NULL ? batch->expiry[i] : coll->ttl != 0 ? M_TTL : 0;
        pomai_bytes string = batch->strings != NULL ? batch->strings[i] : (pomai_bytes){NULL, 0};
        if (expiry != 0 && expiry <= M_PAST) {
            (void)m_delete(coll, id, string);
            continue;
        }
        m_upsert(coll, id, string, batch->vectors + i * batch->dim,
                 batch->documents != NULL ? batch->documents[i] : (pomai_bytes){NULL, 0});
        coll->rows[m_find(coll, id, string)].expiry = expiry;
    }
}

/* With memory of its own. */
static inline struct m_coll m_copy(const struct m_coll *coll)
{
    struct m_coll copy = *coll;
    copy.rows = m_alloc(coll->count * sizeof *copy.rows);
    copy.room = coll->count;
    for (size_t i = 0; i < coll->count; i++) {
        const struct m_row *from = &coll->rows[i];
        struct m_row *to = &copy.rows[i];
        *to = *from;
        to->string = m_bytes_copy(from->string);
        to->document = m_bytes_copy(from->document);
        to->vector = m_alloc(coll->dim * sizeof(float));
        memcpy(to->vector, from->vector, coll->dim * sizeof(float));
    }
    return copy;
}

static inline void m_clear(struct m_coll *coll)
{
    for (size_t i = 0; i < coll->count; i++)
        m_row_clear(&coll->rows[i]);
    free(coll->rows);
    coll->rows = NULL;
    coll->count = coll->room = 0;
}

/* ---- brute force ---- */

struct m_hit {
    double distance;
    const struct m_row *row;
};

static inline int m_compare_hits(const void *pa, const void *pb)
{
    const struct m_hit *a = pa, *b = pb;
    if (a->distance != b->distance) return a->distance < b->distance ? -1 : 1;
    int c = t_compare_bytes(a->row->string, b->row->string);
    if (c != 0) return c;
    return a->row->id < b->row->id ? -1 : a->row->id > b->row->id;
}

/* All rows, nearest first; to be freed. */
static inline struct m_hit *m_search(const struct m_coll *coll, const float *query)
{
    struct m_hit *hits = m_alloc(coll->count * sizeof *hits);
    for (size_t i = 0; i < coll->count; i++) {
        hits[i].row = &coll->rows[i];
        hits[i].distance = t_distance(coll->metric, query, coll->rows[i].vector, coll->dim);
    }
    if (coll->count > 1) qsort(hits, coll->count, sizeof *hits, m_compare_hits);
    return hits;
}

#endif
