/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: a view is the tables of a collection and the visible LSNs, loaded first. No lock, no reference to anything
 * that moves. */
#include <math.h>
#include <string.h>

#include "base/mutant.h"
#include "core/engine/engine.h"
#include "filter/filter.h"
#include "query/judge.h"

enum { MOST_HITS = 1 << 26 }; /* queries x k of one call */

pm_epoch_hold pm_db_take_view(pm_db *db, const pm_coll *coll, const pm_read *read, pm_view *view)
{
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    pm_coll_view(&db->shared, coll, view);
    view->dtype = coll->dtype;
    view->convert = db->convert;
    if (read->snapshot != NULL) {
        memcpy(view->visible, read->snapshot->visible, db->shared.shards * sizeof view->visible[0]);
        view->now = read->snapshot->now;
    } else if (read->bounded) {
        pm_coll_bound(&db->shared, coll, view);
    }
    return hold;
}

static pomai_status check_read(const pm_db *db, const pm_read *read, pomai_error *err)
{
    if (read->snapshot != NULL && read->snapshot->db != db)
        return pm_fail(err, POMAI_EINVAL, "the snapshot is of another database");
    return POMAI_OK;
}

/* Finds the collection, too; NULL: `default`, which was not made yet. */
static pomai_status begin_read(pomai_collection *handle, const pm_read *read, pm_coll **coll, pomai_error *err)
{
    *coll = NULL;
    pomai_status status = check_read(handle->db, read, err);
    if (status == POMAI_OK) status = pm_handle_coll(handle, coll, err);
    if (status != POMAI_OK || read->snapshot == NULL) return status;
    const pm_catalog *then = read->snapshot->catalog;
    const char *name = *coll == NULL ? "default" : (*coll)->name;
    for (uint32_t i = 0; i < then->count; i++) /* one of that name had rows, which are gone: none is no answer */
        if (then->coll[i] != *coll && strcmp(then->coll[i]->name, name) == 0)
            return pm_fail(err, POMAI_ENOTFOUND,
                           "the collection %s was dropped%s after the snapshot was taken, which shows nothing of it "
                           "any more: take another snapshot, or read without",
                           name, *coll == NULL ? "" : " and made anew");
    return POMAI_OK;
}

pomai_status pm_coll_live(pm_db *db, const pm_coll *coll, uint64_t *rows, pomai_error *err)
{
    pm_view view;
    int64_t all;
    uint64_t expired;
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    pm_coll_view_counted(&db->shared, coll, &view, &all);
    pomai_status status = pm_view_expired(&view, &expired, err);
    pm_epoch_leave(&db->shared.epoch, hold);
    *rows = all > 0 && (uint64_t)all > expired ? (uint64_t)all - expired : 0;
    return status;
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
        return pm_fail(err, POMAI_ENOTFINITE, "query %zu, dimension %zu is %s", (size_t)(bad / dim),
                       (size_t)(bad % dim), isnan(vectors[bad]) ? "NaN" : "infinite");
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

pomai_status pm_parse_filter(const char *text, size_t size, pm_filter **filter, pomai_error *err)
{
    *filter = NULL;
    if (text == NULL) return POMAI_OK;
    pomai_status status = pm_filter_parse(text, size, filter, err);
    if (status != POMAI_OK) return status;
    const pm_filter_node *root = pm_filter_root(*filter);
    if (root->op == PM_FILTER_AND && root->children == NULL) {
        pm_filter_free(*filter);
        *filter = NULL;
    }
    return POMAI_OK;
}

pomai_status pm_is_every_row(const char *text, size_t size, bool *every, pomai_error *err)
{
    pm_filter *filter;
    const pomai_status status = pm_filter_parse(text, size, &filter, err);
    *every = status == POMAI_OK && pm_filter_is_every_row(filter);
    pm_filter_free(filter);
    return status;
}

pomai_status pm_db_search(pomai_collection *handle, const float *vectors, uint64_t queries, uint64_t dim, uint64_t k,
                          uint32_t include, uint64_t until_ns, const pm_read *read, pomai_result **result,
                          pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    pm_filter *filter = NULL;
    *result = NULL;
    uint64_t begin = db->os->now_ns(db->os);
    pomai_status status = begin_read(handle, read, &coll, err);
    if (status == POMAI_OK) status = check_queries(db, coll, vectors, queries, dim, k, err);
    if (status == POMAI_OK) status = pm_parse_filter(read->filter, read->filter_size, &filter, err);
    if (status != POMAI_OK) return status;
    const pm_watch_kind kind = filter == NULL ? PM_WATCH_ALL : PM_WATCH_FILTERED;
    pm_search search = {.vectors = vectors,
                        .queries = queries,
                        .dim = (uint32_t)dim,
                        .k = (uint32_t)k,
                        .metric = POMAI_METRIC_L2,
                        .id_kind = POMAI_ID_U64,
                        .include = include,
                        .until_ns = until_ns,
                        .cancel = read->cancel,
                        .recall = coll == NULL ? read->recall : pm_watch_asks(coll, kind, read->recall),
                        .missing = coll == NULL || read->ef != 0 ? 0 : pm_watch_missing(coll, kind),
                        .ef = read->ef,
                        .filter = filter};
    if (coll == NULL) {
        pm_filter_free(filter);
        return pm_query_search_nothing(&search, result, err);
    }
    search.metric = coll->metric;
    search.id_kind = coll->id_kind;
    pm_view view;
    pm_epoch_hold hold = pm_db_take_view(db, coll, read, &view);
    status = pm_query_search(db->os, db->simd, db->pool, &view, &search, result, err);
    pm_epoch_leave(&db->shared.epoch, hold);
    pm_filter_free(filter);
    if (status != POMAI_OK) return status;
    pm_hist_add(&db->search_latency, db->os->now_ns(db->os) - begin);
    pm_watch_offer(coll, kind, read, vectors, queries, search.k);
    atomic_fetch_add_explicit(&coll->searches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&coll->queries, queries, memory_order_relaxed);
    return POMAI_OK;
}

pomai_status pm_db_get(pomai_collection *handle, const pomai_ids *ids, const pm_read *read, pomai_rows **rows,
                       pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    *rows = NULL;
    pomai_status status = begin_read(handle, read, &coll, err);
    if (status == POMAI_OK) status = pm_check_ids(coll, ids, err);
    if (status != POMAI_OK) return status;
    pm_view view;
    view.shown = NULL;
    if (coll == NULL) return pm_query_get(&view, ids, 0, 0, rows, err); /* nothing is found */
    pm_epoch_hold hold = pm_db_take_view(db, coll, read, &view);
    status = pm_query_get(&view, ids, coll->dim, db->shared.segment_seed, rows, err);
    pm_epoch_leave(&db->shared.epoch, hold);
    if (status == POMAI_OK) atomic_fetch_add_explicit(&coll->gets, ids->count, memory_order_relaxed);
    return status;
}

/* ---- counting ---- */

bool pm_until_is_over(const void *until)
{
    const pm_until *u = until;
    if (u->cancel != NULL && __atomic_load_n(u->cancel, __ATOMIC_RELAXED) != 0) return true;
    return u->ns != PM_FOREVER && u->os->now_ns(u->os) >= u->ns;
}

pomai_status pm_db_count(pomai_collection *handle, uint64_t until_ns, const pm_read *read, uint64_t *rows,
                         pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    pm_filter *filter = NULL;
    *rows = 0;
    pomai_status status = begin_read(handle, read, &coll, err);
    if (status == POMAI_OK) status = pm_parse_filter(read->filter, read->filter_size, &filter, err);
    if (status != POMAI_OK || coll == NULL) {
        pm_filter_free(filter);
        return status;
    }
    pm_view view;
    pm_judgement *judged;
    const pm_until until = {db->os, until_ns, read->cancel};
    pm_epoch_hold hold = pm_db_take_view(db, coll, read, &view);
    const pm_judge_how how = {&view, filter, db->simd, db->pool, pm_until_is_over, &until, NULL};
    status = pm_judge_all(&how, &judged, err);
    pm_epoch_leave(&db->shared.epoch, hold);
    pm_filter_free(filter);
    if (status != POMAI_OK) return status;
    *rows = judged->matches;
    if (!judged->whole) {
        *rows = 0;
        status =
            pm_fail(err, POMAI_EDEADLINE,
                    "not all rows were counted before the call was over, by its deadline or because it was cancelled");
    }
    pm_judgement_free(judged);
    return status;
}

/* ---- snapshots ---- */

pomai_status pm_db_snapshot(pm_db *db, pomai_snapshot **out, pomai_error *err)
{
    pomai_snapshot *snapshot = pm_calloc(1, sizeof *snapshot + db->shared.shards * sizeof snapshot->visible[0]);
    if (snapshot == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for a snapshot");
    snapshot->db = db;
    snapshot->taken_ns = db->os->now_ns(db->os);
    snapshot->catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    /* Under the mutex, so that whoever decides what nobody needs sees it, or decided before these LSNs were loaded. */
    db->os->mutex_lock(db->os, &db->pins);
    pm_shards_visible(&db->shared, snapshot->visible);
    snapshot->now = pm_clock_now(&db->shared);
    snapshot->next = db->snapshots;
    if (db->snapshots != NULL) db->snapshots->before = snapshot;
    db->snapshots = snapshot;
    db->os->mutex_unlock(db->os, &db->pins);
    atomic_fetch_add(&db->open_handles, 1);
    *out = snapshot;
    return POMAI_OK;
}

void pm_db_snapshot_close(pomai_snapshot *snapshot)
{
    pm_db *db = snapshot->db;
    db->os->mutex_lock(db->os, &db->pins);
    if (snapshot->before != NULL) snapshot->before->next = snapshot->next;
    if (snapshot->next != NULL) snapshot->next->before = snapshot->before;
    if (db->snapshots == snapshot) db->snapshots = snapshot->next;
    db->os->mutex_unlock(db->os, &db->pins);
    atomic_fetch_add(&db->changes, 1);
    atomic_fetch_sub(&db->open_handles, 1);
    pm_free(snapshot);
}

/* ---- scans ---- */

pomai_status pm_db_scan(pomai_collection *handle, uint32_t include, const pm_read *read, pomai_scan **out,
                        pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    pomai_status status = begin_read(handle, read, &coll, err);
    if (status != POMAI_OK) return status;
    pm_filter *filter;
    status = pm_parse_filter(read->filter, read->filter_size, &filter, err);
    if (status != POMAI_OK) return status;
    pomai_scan *scan = pm_calloc(1, sizeof *scan);
    if (scan == NULL) {
        pm_filter_free(filter);
        return pm_fail(err, POMAI_ENOMEM, "no memory for a scan");
    }
    scan->filter = filter;
    scan->db = db;
    scan->coll = coll;
    if (coll != NULL) {
        pm_view view;
        pm_epoch_hold hold = pm_db_take_view(db, coll, read, &view);
        status = pm_scan_open(&view, coll->dim, coll->id_kind, include, filter, db->simd, &scan->scan, err);
        pm_epoch_leave(&db->shared.epoch, hold);
    }
    scan->until = (pm_until){db->os, PM_FOREVER, read->cancel};
    if (read->cancel != NULL && status == POMAI_OK && coll != NULL)
        pm_scan_ask(scan->scan, pm_until_is_over, &scan->until);
    if (status != POMAI_OK) {
        pm_filter_free(filter);
        pm_free(scan);
        return status;
    }
    atomic_fetch_add(&db->open_handles, 1);
    atomic_fetch_add(&db->open_scans, 1);
    *out = scan;
    return POMAI_OK;
}

pomai_status pm_db_scan_next(pomai_scan *scan, uint64_t most, pomai_rows **rows, pomai_error *err)
{
    *rows = NULL;
    if (most == 0) return pm_fail(err, POMAI_EINVAL, "max_rows is 0: ask for at least one row");
    if (scan->coll == NULL) return POMAI_OK;
    if (atomic_load(&scan->coll->dropped))
        return pm_fail(err, POMAI_ENOTFOUND, "the collection %s was dropped", scan->coll->name);
    if (PM_MUTANT(SCAN_TIME_MOVES)) pm_scan_set_now(scan->scan, pm_clock_now(&scan->db->shared));
    pm_epoch_hold hold = pm_epoch_enter(&scan->db->shared.epoch);
    const pomai_status status = pm_scan_next(scan->scan, most, rows, err);
    pm_epoch_leave(&scan->db->shared.epoch, hold);
    return status;
}

void pm_db_scan_close(pomai_scan *scan)
{
    pm_db *db = scan->db;
    pm_scan_close(scan->scan);
    pm_filter_free(scan->filter);
    pm_free(scan);
    atomic_fetch_sub(&db->open_scans, 1);
    atomic_fetch_sub(&db->open_handles, 1);
}

pomai_status pm_db_freeze(pm_db *db, const pm_coll *coll)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    for (uint32_t i = 0; i < catalog->count; i++) {
        if (coll == NULL || catalog->coll[i] == coll) (void)pm_coll_freeze(&db->shared, catalog->coll[i], true);
    }
    return POMAI_OK;
}

/* Collections count with their names, not their ids. */
pomai_status pm_db_digest(pm_db *db, const pm_read *read, uint64_t digest[2], pomai_error *err)
{
    pomai_status status = check_read(db, read, err);
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    for (uint32_t i = 0; i < catalog->count && status == POMAI_OK; i++) {
        const pm_coll *coll = catalog->coll[i];
        const uint64_t type = coll->dtype == POMAI_DTYPE_FLOAT32 ? 0 : (uint64_t)coll->dtype;
        uint64_t rows[2] = {coll->dim | type << 32, (uint64_t)coll->metric};
        pm_view view;
        pm_epoch_hold hold = pm_db_take_view(db, coll, read, &view);
        status = pm_query_digest(&view, coll->dim, rows, err);
        pm_epoch_leave(&db->shared.epoch, hold);
        for (int k = 0; k < 2; k++)
            digest[k] += pm_mix64(rows[k] ^ pm_hash_bytes(coll->name, strlen(coll->name), (uint64_t)k));
    }
    return status;
}
