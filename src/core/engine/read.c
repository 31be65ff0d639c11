/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: a view is the tables of a collection and the visible LSNs, loaded first. No lock, no reference to anything
 * that moves. */
#include "core/engine/engine.h"

enum { MOST_HITS = 1 << 26 }; /* queries x k of one call */

static void take_view(const pm_db *db, const pm_coll *coll, pm_view *view)
{
    view->shards = db->shared.shards;
    view->table = coll->table;
    for (uint32_t i = 0; i < view->shards; i++)
        view->visible[i] = pm_shard_visible(db->shared.shard[i]);
}

uint64_t pm_coll_live(const pm_db *db, const pm_coll *coll)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < db->shared.shards; i++)
        rows += pm_memtable_live(coll->table[i]);
    return rows;
}

static pomai_status check_queries(const pm_db *db, const pm_coll *coll, const float *vectors, uint64_t queries,
                                  uint64_t dim, uint64_t k, pomai_error *err)
{
    if (queries == 0 || vectors == NULL) return pm_fail(err, POMAI_EINVAL, "no query vector was given");
    if (k == 0) return pm_fail(err, POMAI_EINVAL, "k is 0: ask for at least one neighbour");
    if (k > POMAI_MAX_K)
        return pm_fail(err, POMAI_ETOOBIG, "k is %llu, at most %u", (unsigned long long)k, POMAI_MAX_K);
    if (dim == 0 || dim > POMAI_MAX_DIM)
        return pm_fail(err, POMAI_EDIM, "%llu dimensions: a vector has 1 to %u", (unsigned long long)dim,
                       POMAI_MAX_DIM);
    if (coll != NULL && dim != coll->dim)
        return pm_fail(err, POMAI_EDIM, "the query has %llu dimensions, the collection %s has %u",
                       (unsigned long long)dim, coll->name, coll->dim);
    if (queries > MOST_HITS / k)
        return pm_fail(err, POMAI_ETOOBIG,
                       "%llu queries with k = %llu are more than %u neighbours at once; split the call",
                       (unsigned long long)queries, (unsigned long long)k, MOST_HITS);
    const uint64_t floats = queries * dim; /* far from the end of the range: both are bounded by now */
    size_t bad = db->simd->first_not_finite(vectors, floats);
    if (bad < floats)
        return pm_fail(err, POMAI_ENOTFINITE, "query %zu, dimension %zu is not a finite number", (size_t)(bad / dim),
                       (size_t)(bad % dim));
    for (uint64_t q = 0; coll != NULL && coll->metric == POMAI_METRIC_COSINE && q < queries; q++) {
        uint64_t d = 0;
        while (d < dim && vectors[q * dim + d] == 0.0f)
            d++;
        if (d == dim)
            return pm_fail(err, POMAI_EZEROVEC,
                           "query %llu is a zero vector, which has no direction under the cosine metric",
                           (unsigned long long)q);
    }
    return POMAI_OK;
}

pomai_status pm_db_search(pomai_collection *handle, const float *vectors, uint64_t queries, uint64_t dim, uint64_t k,
                          uint32_t include, uint64_t until_ns, pomai_result **result, pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    *result = NULL;
    uint64_t begin = db->os->now_ns(db->os);
    pomai_status status = pm_handle_coll(handle, &coll, err);
    if (status == POMAI_OK) status = check_queries(db, coll, vectors, queries, dim, k, err);
    if (status != POMAI_OK) return status;
    pm_search search = {.vectors = vectors,
                        .queries = queries,
                        .dim = (uint32_t)dim,
                        .k = (uint32_t)k,
                        .metric = POMAI_METRIC_L2,
                        .id_kind = POMAI_ID_U64,
                        .include = include,
                        .until_ns = until_ns};
    if (coll == NULL) return pm_query_search_nothing(&search, result, err);
    search.metric = coll->metric;
    search.id_kind = coll->id_kind;
    pm_view view;
    take_view(db, coll, &view);
    status = pm_query_search(db->os, db->simd, db->pool, &view, &search, result, err);
    if (status != POMAI_OK) return status;
    pm_hist_add(&db->search_latency, db->os->now_ns(db->os) - begin);
    atomic_fetch_add_explicit(&coll->searches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&coll->queries, queries, memory_order_relaxed);
    return POMAI_OK;
}

pomai_status pm_db_get(pomai_collection *handle, const pomai_ids *ids, pomai_rows **rows, pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    *rows = NULL;
    pomai_status status = pm_handle_coll(handle, &coll, err);
    if (status == POMAI_OK) status = pm_check_ids(coll, ids, err);
    if (status != POMAI_OK) return status;
    pm_view view = {0};
    if (coll != NULL) {
        take_view(db, coll, &view);
        status = pm_query_get(&view, ids, coll->dim, rows, err);
        atomic_fetch_add_explicit(&coll->gets, ids->count, memory_order_relaxed);
        return status;
    }
    return pm_query_get(&view, ids, 0, rows, err); /* no shards: nothing is found */
}
