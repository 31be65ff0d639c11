/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions: arguments checked, options read, handles wrapped. No logic. */
#include "pomai/pomai.h"

#include <string.h>

#include "arrow/arrow.h"
#include "core/engine/engine.h"

/* ---- library ---- */

const char *pomai_version(void)
{
    return POMAI_VERSION_STRING;
}

const char *pomai_status_name(pomai_status status)
{
    return pm_status_name(status);
}

const char *pomai_status_text(pomai_status status)
{
    return pm_status_text(status);
}

const char *pomai_simd_level(void)
{
    const pm_os *os = pm_os_posix();
    return pm_simd_best(os->env(os, "POMAI_SIMD"))->name;
}

void pomai_free(void *memory)
{
    pm_free(memory);
}

/* ---- arguments ---- */

#define NEED(pointer)                                                                                                  \
    do {                                                                                                               \
        if ((pointer) == NULL) return pm_fail(err, POMAI_EINVAL, "%s: %s is NULL", __func__, #pointer);                \
    } while (0)

static uint64_t until(const pm_os *os, uint64_t wait_us)
{
    if (wait_us == 0 || wait_us == UINT64_MAX) return wait_us;
    uint64_t ns, at;
    if (pm_mul_overflows(wait_us, 1000, &ns) || pm_add_overflows(os->now_ns(os), ns, &at)) return PM_FOREVER;
    return at;
}

static pomai_status read_write_options(const pm_db *db, const pomai_write_options *o, pm_write *write, pomai_error *err)
{
    *write = (pm_write){POMAI_DURABILITY_DEFAULT, PM_FOREVER, true, NULL};
    if (o == NULL) return POMAI_OK;
    if (o->struct_size != sizeof *o)
        return pm_fail(err, POMAI_EINVAL,
                       "pomai_write_options.struct_size is %zu, not %zu: begin with POMAI_WRITE_OPTIONS_INIT",
                       o->struct_size, sizeof *o);
    if ((unsigned)o->durability > POMAI_DURABILITY_SYNC)
        return pm_fail(err, POMAI_EINVAL, "unknown durability %d", (int)o->durability);
    write->level = o->durability;
    write->until_ns = until(db->os, o->deadline_us);
    write->cancel = o->cancel;
    return POMAI_OK;
}

/* ---- database ---- */

pomai_status pomai_open(const char *path, const pomai_open_options *options, pomai_db **db, pomai_error *err)
{
    NEED(db);
    return pm_db_open(pm_os_posix(), path, options, db, err);
}

pomai_status pomai_close(pomai_db *db, pomai_error *err)
{
    return db == NULL ? POMAI_OK : pm_db_close(db, err);
}

void pomai_get_open_report(const pomai_db *db, pomai_open_report *report)
{
    if (db != NULL && report != NULL) *report = db->report;
}

pomai_status pomai_sync(pomai_db *db, pomai_error *err)
{
    NEED(db);
    return pm_db_sync(db, err);
}

pomai_status pomai_stats(pomai_db *db, char **json, pomai_error *err)
{
    NEED(json);
    *json = NULL;
    NEED(db);
    return pm_db_stats(db, json, err);
}

/* ---- collections ---- */

static pomai_status make_handle(pomai_db *db, pm_coll *coll, pomai_collection **handle, pomai_error *err)
{
    pomai_collection *made = pm_calloc(1, sizeof *made);
    if (made == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for a handle");
    made->db = db;
    atomic_init(&made->coll, coll);
    atomic_fetch_add(&db->open_handles, 1);
    *handle = made;
    return POMAI_OK;
}

pomai_status pomai_collection_create(pomai_db *db, const char *name, const pomai_collection_options *options,
                                     pomai_collection **collection, pomai_error *err)
{
    NEED(collection);
    *collection = NULL;
    NEED(db);
    pomai_collection *handle = NULL; /* first: what was made must not be reported as a failure */
    pm_coll *coll = NULL;
    pomai_status status = make_handle(db, NULL, &handle, err);
    if (status != POMAI_OK) return status;
    status = pm_db_create(db, name, options, &coll, err);
    if (status != POMAI_OK) {
        pomai_collection_close(handle);
        return status;
    }
    atomic_store(&handle->coll, coll);
    *collection = handle;
    return POMAI_OK;
}

pomai_status pomai_collection_open(pomai_db *db, const char *name, pomai_collection **collection, pomai_error *err)
{
    NEED(collection);
    *collection = NULL;
    NEED(db);
    NEED(name);
    pm_coll *coll = pm_db_find(db, name);
    if (coll == NULL && strcmp(name, "default") == 0)
        return pm_fail(err, POMAI_ENOTFOUND,
                       "there is no collection \"default\" yet; the first import or put makes it");
    if (coll == NULL)
        return pm_fail(err, POMAI_ENOTFOUND,
                       "there is no collection \"%.80s\"; create it, or list those that are there", name);
    return make_handle(db, coll, collection, err);
}

pomai_collection *pomai_default(pomai_db *db)
{
    return db == NULL ? NULL : &db->default_handle;
}

void pomai_collection_close(pomai_collection *collection)
{
    if (collection == NULL || collection == &collection->db->default_handle) return;
    atomic_fetch_sub(&collection->db->open_handles, 1);
    pm_free(collection);
}

pomai_status pomai_collection_drop(pomai_db *db, const char *name, pomai_error *err)
{
    NEED(db);
    return pm_db_drop(db, name, err);
}

pomai_status pomai_collection_list(pomai_db *db, char ***names, size_t *count, pomai_error *err)
{
    NEED(names);
    *names = NULL;
    NEED(count);
    *count = 0;
    NEED(db);
    return pm_db_list(db, names, count, err);
}

pomai_status pomai_collection_get_info(pomai_collection *collection, pomai_collection_info *info, pomai_error *err)
{
    NEED(info);
    memset(info, 0, sizeof *info);
    NEED(collection);
    pm_coll *coll = NULL;
    pomai_status status = pm_handle_coll(collection, &coll, err);
    if (status != POMAI_OK) return status;
    if (coll == NULL) {
        memcpy(info->name, "default", sizeof "default");
        info->metric = POMAI_METRIC_L2;
        info->id_kind = POMAI_ID_U64;
        info->dtype = POMAI_DTYPE_FLOAT32;
        return POMAI_OK;
    }
    memcpy(info->name, coll->name, sizeof info->name);
    info->id = coll->id;
    info->dim = coll->dim;
    info->metric = coll->metric;
    info->id_kind = coll->id_kind;
    info->ttl_ns = coll->ttl_ns;
    info->dtype = coll->dtype;
    info->index = coll->index;
    memcpy(info->cluster_by, coll->cluster_by, sizeof info->cluster_by);
    return pm_coll_live(collection->db, coll, &info->rows, err);
}

pomai_dtype pomai_collection_dtype(pomai_collection *collection)
{
    pm_coll *coll = NULL;
    if (collection == NULL || pm_handle_coll(collection, &coll, NULL) != POMAI_OK || coll == NULL) return 0;
    return coll->dtype;
}

/* ---- writing ---- */

/* Waits for a sent batch and gives it back. */
static pomai_status finish(pm_db *db, pm_batch *batch, pomai_ack *ack, pomai_error *err)
{
    (void)pm_batch_wait(&db->shared, batch, PM_FOREVER);
    pomai_status status = pm_batch_result(batch, ack, err);
    pm_batch_drop(&db->shared, batch);
    return status;
}

pomai_status pomai_put(pomai_collection *collection, const pomai_batch *batch, const pomai_write_options *options,
                       pomai_ack *ack, pomai_error *err)
{
    NEED(collection);
    pm_write write;
    pm_batch *sent = NULL;
    pomai_status status = read_write_options(collection->db, options, &write, err);
    if (status == POMAI_OK) status = pm_db_put(collection, batch, &write, &sent, err);
    return status != POMAI_OK ? status : finish(collection->db, sent, ack, err);
}

pomai_status pomai_put_async(pomai_collection *collection, const pomai_batch *batch, const pomai_write_options *options,
                             pomai_ticket **ticket, pomai_error *err)
{
    NEED(ticket);
    *ticket = NULL;
    NEED(collection);
    pm_write write;
    pomai_status status = read_write_options(collection->db, options, &write, err);
    if (status != POMAI_OK) return status;
    pomai_ticket *made = pm_calloc(1, sizeof *made); /* before sending: after that it must not fail */
    if (made == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for a ticket");
    made->db = collection->db;
    write.wait = false;
    status = pm_db_put(collection, batch, &write, &made->batch, err);
    if (status != POMAI_OK) {
        pm_free(made);
        return status;
    }
    atomic_fetch_add(&made->db->open_handles, 1);
    *ticket = made;
    return POMAI_OK;
}

pomai_status pomai_wait(pomai_ticket *ticket, uint64_t timeout_us, pomai_ack *ack, pomai_error *err)
{
    NEED(ticket);
    if (!pm_batch_wait(&ticket->db->shared, ticket->batch, until(ticket->db->os, timeout_us)))
        return pm_fail(err, POMAI_EDEADLINE, "the put is not done after %llu microseconds; wait again",
                       (unsigned long long)timeout_us);
    return pm_batch_result(ticket->batch, ack, err);
}

void pomai_ticket_free(pomai_ticket *ticket)
{
    if (ticket == NULL) return;
    (void)finish(ticket->db, ticket->batch, NULL, NULL);
    atomic_fetch_sub(&ticket->db->open_handles, 1);
    pm_free(ticket);
}

pomai_status pomai_reserve(pomai_collection *collection, uint64_t rows, uint64_t dim, pomai_block **block,
                           pomai_error *err)
{
    NEED(block);
    *block = NULL;
    NEED(collection);
    return pm_db_reserve(collection, rows, dim, block, err);
}

void *pomai_block_vectors(pomai_block *block)
{
    return block == NULL ? NULL : block->vectors;
}

pomai_dtype pomai_block_dtype(const pomai_block *block)
{
    return block == NULL ? 0 : block->dtype;
}

pomai_status pomai_commit(pomai_block *block, const pomai_bytes *documents, const pomai_write_options *options,
                          pomai_ack *ack, pomai_error *err)
{
    NEED(block);
    pm_write write;
    pomai_status status = read_write_options(block->db, options, &write, err);
    return status != POMAI_OK ? status : pm_db_commit(block, documents, &write, ack, err);
}

void pomai_block_free(pomai_block *block)
{
    pm_db_block_free(block);
}

pomai_status pomai_documents_from_arrow(const struct ArrowSchema *schema, const struct ArrowArray *array,
                                        pomai_bytes **documents, pomai_error *err)
{
    NEED(documents);
    *documents = NULL;
    NEED(schema);
    return pm_documents_from_arrow(schema, array, UINT64_MAX, documents, err);
}

pomai_status pomai_documents_to_arrow(const pomai_bytes *documents, uint64_t rows, const char *const *paths,
                                      size_t count, struct ArrowSchema *schema, struct ArrowArray *array,
                                      pomai_error *err)
{
    NEED(schema);
    NEED(array);
    memset(schema, 0, sizeof *schema);
    memset(array, 0, sizeof *array);
    if (rows > 0) NEED(documents);
    return pm_documents_to_arrow(documents, rows, paths, count, schema, array, err);
}

pomai_status pomai_delete(pomai_collection *collection, const pomai_ids *ids, const pomai_write_options *options,
                          pomai_ack *ack, pomai_error *err)
{
    NEED(collection);
    pm_write write;
    pm_batch *sent = NULL;
    pomai_status status = read_write_options(collection->db, options, &write, err);
    if (status == POMAI_OK) status = pm_db_delete(collection, ids, &write, &sent, err);
    if (status != POMAI_OK) return status;
    if (sent != NULL) return finish(collection->db, sent, ack, err);
    if (ack != NULL) { /* nothing to delete from */
        memset(ack, 0, sizeof *ack);
        ack->level = POMAI_DURABILITY_SYNC;
    }
    return POMAI_OK;
}

pomai_status pomai_delete_where(pomai_collection *collection, const char *filter, size_t filter_size,
                                const pomai_write_options *options, pomai_ack *ack, pomai_error *err)
{
    if (ack != NULL) memset(ack, 0, sizeof *ack);
    NEED(collection);
    NEED(filter);
    pm_write write;
    const pm_change_where where = {filter, filter_size};
    pomai_status status = read_write_options(collection->db, options, &write, err);
    return status != POMAI_OK ? status : pm_db_delete_where(collection, &where, &write, ack, err);
}

pomai_status pomai_update(pomai_collection *collection, const pomai_ids *ids, const pomai_bytes *documents,
                          pomai_update_how how, const pomai_write_options *options, pomai_ack *ack, pomai_error *err)
{
    if (ack != NULL) memset(ack, 0, sizeof *ack);
    NEED(collection);
    NEED(ids);
    NEED(documents);
    pm_write write;
    pomai_status status = read_write_options(collection->db, options, &write, err);
    return status != POMAI_OK ? status : pm_db_update(collection, ids, documents, how, &write, ack, err);
}

pomai_status pomai_update_where(pomai_collection *collection, const char *filter, size_t filter_size,
                                const pomai_bytes *document, pomai_update_how how, const pomai_write_options *options,
                                pomai_ack *ack, pomai_error *err)
{
    if (ack != NULL) memset(ack, 0, sizeof *ack);
    NEED(collection);
    NEED(filter);
    NEED(document);
    pm_write write;
    const pm_change_where where = {filter, filter_size};
    pomai_status status = read_write_options(collection->db, options, &write, err);
    return status != POMAI_OK ? status : pm_db_update_where(collection, &where, document, how, &write, ack, err);
}

/* ---- rows that live for years ---- */

pomai_status pomai_freeze(pomai_db *db, pomai_collection *collection, pomai_error *err)
{
    NEED(db);
    pm_coll *coll = NULL;
    if (collection == NULL) return pm_db_freeze(db, NULL);
    pomai_status status = pm_handle_coll(collection, &coll, err);
    return status == POMAI_OK && coll != NULL ? pm_db_freeze(db, coll) : status;
}

pomai_status pomai_flush(pomai_db *db, pomai_error *err)
{
    NEED(db);
    return pm_db_flush(db, err);
}

pomai_status pomai_compact(pomai_db *db, pomai_collection *collection, pomai_error *err)
{
    NEED(db);
    pm_coll *coll = NULL;
    pomai_status status = collection == NULL ? POMAI_OK : pm_handle_coll(collection, &coll, err);
    if (status != POMAI_OK) return status;
    if (collection != NULL && coll == NULL) return pm_db_flush(db, err); /* `default`, which was not made yet */
    return pm_db_compact(db, coll, err);
}

pomai_status pomai_build_indexes(pomai_db *db, const pomai_build_options *options, pomai_error *err)
{
    NEED(db);
    if (options == NULL) return pm_db_build_indexes(db, PM_FOREVER, NULL, err);
    if (options->struct_size != sizeof *options)
        return pm_fail(err, POMAI_EINVAL,
                       "pomai_build_options.struct_size is %zu, not %zu: begin with POMAI_BUILD_OPTIONS_INIT",
                       options->struct_size, sizeof *options);
    return pm_db_build_indexes(db, until(db->os, options->deadline_us), options->cancel, err);
}

pomai_status pomai_snapshot_open(pomai_db *db, pomai_snapshot **snapshot, pomai_error *err)
{
    NEED(snapshot);
    *snapshot = NULL;
    NEED(db);
    return pm_db_snapshot(db, snapshot, err);
}

void pomai_snapshot_close(pomai_snapshot *snapshot)
{
    if (snapshot != NULL) pm_db_snapshot_close(snapshot);
}

pomai_status pomai_digest(pomai_db *db, const pomai_snapshot *snapshot, uint64_t digest[2], pomai_error *err)
{
    NEED(digest);
    digest[0] = digest[1] = 0;
    NEED(db);
    const pm_read read = {.snapshot = snapshot};
    return pm_db_digest(db, &read, digest, err);
}

/* ---- reading ---- */

static pomai_status read_mode(const pomai_snapshot *snapshot, pomai_read_mode mode, pm_read *read, pomai_error *err)
{
    if (mode != POMAI_READ_LATEST && mode != POMAI_READ_BOUNDED)
        return pm_fail(err, POMAI_EINVAL, "unknown read mode %d", (int)mode);
    if (snapshot != NULL && mode != POMAI_READ_LATEST)
        return pm_fail(err, POMAI_EINVAL, "a read in a snapshot has no other mode");
    *read = (pm_read){.snapshot = snapshot, .bounded = mode == POMAI_READ_BOUNDED};
    return POMAI_OK;
}

static pomai_status check_include(uint32_t include, uint32_t known, pomai_error *err)
{
    if ((include & ~known) == 0) return POMAI_OK;
    return pm_fail(err, POMAI_EINVAL, "unknown include bits %#x", include);
}

pomai_status pomai_get(pomai_collection *collection, const pomai_ids *ids, const pomai_get_options *options,
                       pomai_rows **rows, pomai_error *err)
{
    NEED(rows);
    *rows = NULL;
    NEED(collection);
    NEED(ids);
    pm_read read = {0};
    pomai_status status = POMAI_OK;
    if (options != NULL && options->struct_size != sizeof *options)
        return pm_fail(err, POMAI_EINVAL,
                       "pomai_get_options.struct_size is %zu, not %zu: begin with POMAI_GET_OPTIONS_INIT",
                       options->struct_size, sizeof *options);
    if (options != NULL) status = read_mode(options->snapshot, options->mode, &read, err);
    return status == POMAI_OK ? pm_db_get(collection, ids, &read, rows, err) : status;
}

size_t pomai_rows_count(const pomai_rows *rows)
{
    return rows == NULL ? 0 : rows->count;
}

uint32_t pomai_rows_dim(const pomai_rows *rows)
{
    return rows == NULL ? 0 : rows->dim;
}

int pomai_rows_found(const pomai_rows *rows, size_t i)
{
    return rows != NULL && i < rows->count && rows->found[i] != 0;
}

const float *pomai_rows_vector(const pomai_rows *rows, size_t i)
{
    return pomai_rows_found(rows, i) && rows->vectors != NULL ? rows->vectors + i * rows->dim : NULL;
}

const float *pomai_rows_vectors(const pomai_rows *rows)
{
    return rows == NULL ? NULL : rows->vectors;
}

const uint64_t *pomai_rows_ids(const pomai_rows *rows)
{
    return rows == NULL ? NULL : rows->u64_ids;
}

const uint64_t *pomai_rows_stamps(const pomai_rows *rows)
{
    return rows == NULL ? NULL : rows->stamps;
}

const uint64_t *pomai_rows_expiries(const pomai_rows *rows)
{
    return rows == NULL ? NULL : rows->expiries;
}

uint64_t pomai_rows_id(const pomai_rows *rows, size_t i)
{
    return rows != NULL && i < rows->count && rows->u64_ids != NULL ? rows->u64_ids[i] : 0;
}

pomai_bytes pomai_rows_string_id(const pomai_rows *rows, size_t i)
{
    pomai_bytes none = {NULL, 0};
    return rows != NULL && i < rows->count && rows->string_ids != NULL ? rows->string_ids[i] : none;
}

pomai_bytes pomai_rows_document(const pomai_rows *rows, size_t i)
{
    pomai_bytes none = {NULL, 0};
    return pomai_rows_found(rows, i) && rows->documents != NULL ? rows->documents[i] : none;
}

uint64_t pomai_rows_stamp(const pomai_rows *rows, size_t i)
{
    return pomai_rows_found(rows, i) ? rows->stamps[i] : 0;
}

uint64_t pomai_rows_expiry(const pomai_rows *rows, size_t i)
{
    return pomai_rows_found(rows, i) ? rows->expiries[i] : 0;
}

void pomai_rows_free(pomai_rows *rows)
{
    pm_rows_free(rows);
}

pomai_status pomai_filter_is_every_row(const char *filter, size_t filter_size, int *every, pomai_error *err)
{
    bool is = false;
    NEED(every);
    *every = 1; /* for those who do not look at the status */
    NEED(filter);
    const pomai_status status = pm_is_every_row(filter, filter_size, &is, err);
    if (status == POMAI_OK) *every = is;
    return status;
}

pomai_status pomai_count(pomai_collection *collection, const pomai_count_options *options, uint64_t *rows,
                         pomai_error *err)
{
    NEED(rows);
    *rows = 0;
    NEED(collection);
    uint64_t until_ns = PM_FOREVER;
    pm_read read = {0};
    if (options != NULL) {
        if (options->struct_size != sizeof *options)
            return pm_fail(err, POMAI_EINVAL,
                           "pomai_count_options.struct_size is %zu, not %zu: begin with POMAI_COUNT_OPTIONS_INIT",
                           options->struct_size, sizeof *options);
        pomai_status status = read_mode(options->snapshot, options->mode, &read, err);
        if (status != POMAI_OK) return status;
        until_ns = until(collection->db->os, options->deadline_us);
        read.cancel = options->cancel;
        read.filter = options->filter;
        read.filter_size = options->filter_size;
    }
    return pm_db_count(collection, until_ns, &read, rows, err);
}

pomai_status pomai_scan_open(pomai_collection *collection, const pomai_scan_options *options, pomai_scan **scan,
                             pomai_error *err)
{
    NEED(scan);
    *scan = NULL;
    NEED(collection);
    uint32_t include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    pm_read read = {0};
    pomai_status status = POMAI_OK;
    if (options != NULL) {
        if (options->struct_size != sizeof *options)
            return pm_fail(err, POMAI_EINVAL,
                           "pomai_scan_options.struct_size is %zu, not %zu: begin with POMAI_SCAN_OPTIONS_INIT",
                           options->struct_size, sizeof *options);
        include = options->include;
        status = check_include(include, POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS, err);
        if (status == POMAI_OK) status = read_mode(options->snapshot, options->mode, &read, err);
        read.cancel = options->cancel;
        read.filter = options->filter;
        read.filter_size = options->filter_size;
    }
    return status == POMAI_OK ? pm_db_scan(collection, include, &read, scan, err) : status;
}

pomai_status pomai_scan_next(pomai_scan *scan, uint64_t max_rows, pomai_rows **rows, pomai_error *err)
{
    NEED(rows);
    *rows = NULL;
    NEED(scan);
    return pm_db_scan_next(scan, max_rows, rows, err);
}

void pomai_scan_close(pomai_scan *scan)
{
    if (scan != NULL) pm_db_scan_close(scan);
}

static pomai_status check_effort(float recall, uint32_t ef, pomai_error *err)
{
    if (!(recall >= 0 && recall <= 1)) /* nor NaN */
        return pm_fail(err, POMAI_EINVAL, "recall is %g: it is a share from 0 to 1, such as 0.95; 0: exact",
                       (double)recall);
    if (ef > POMAI_MAX_EF)
        return pm_fail(err, POMAI_EINVAL, "ef is %u: it is a number of candidates, 1 to %u; 0: as recall says", ef,
                       POMAI_MAX_EF);
    if (ef > 0 && recall > 0)
        return pm_fail(err, POMAI_EINVAL, "recall %g and ef %u contradict each other: give one", (double)recall, ef);
    return POMAI_OK;
}

pomai_status pomai_search(pomai_collection *collection, const float *vectors, uint64_t queries, uint64_t dim,
                          uint64_t k, const pomai_search_options *options, pomai_result **result, pomai_error *err)
{
    NEED(result);
    *result = NULL;
    NEED(collection);
    uint32_t include = 0;
    uint64_t until_ns = PM_FOREVER;
    pm_read read = {0};
    if (options != NULL) {
        if (options->struct_size != sizeof *options)
            return pm_fail(err, POMAI_EINVAL,
                           "pomai_search_options.struct_size is %zu, not %zu: begin with POMAI_SEARCH_OPTIONS_INIT",
                           options->struct_size, sizeof *options);
        pomai_status status =
            check_include(options->include, POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS | POMAI_INCLUDE_PLAN, err);
        if (status == POMAI_OK) status = read_mode(options->snapshot, options->mode, &read, err);
        if (status == POMAI_OK) status = check_effort(options->recall, options->ef, err);
        if (status != POMAI_OK) return status;
        include = options->include;
        read.recall = options->recall;
        read.ef = options->ef;
        until_ns = until(collection->db->os, options->deadline_us);
        read.cancel = options->cancel;
        read.filter = options->filter;
        read.filter_size = options->filter_size;
    }
    return pm_db_search(collection, vectors, queries, dim, k, include, until_ns, &read, result, err);
}

static bool has_hit(const pomai_result *r, size_t q, size_t i)
{
    return r != NULL && q < r->queries && i < r->first[q + 1] - r->first[q];
}

size_t pomai_result_queries(const pomai_result *result)
{
    return result == NULL ? 0 : result->queries;
}

size_t pomai_result_count(const pomai_result *result, size_t q)
{
    return result == NULL || q >= result->queries ? 0 : result->first[q + 1] - result->first[q];
}

const uint64_t *pomai_result_ids(const pomai_result *result, size_t q)
{
    return result == NULL || q >= result->queries || result->u64_ids == NULL ? NULL
                                                                             : result->u64_ids + result->first[q];
}

pomai_bytes pomai_result_string_id(const pomai_result *result, size_t q, size_t i)
{
    pomai_bytes none = {NULL, 0};
    return has_hit(result, q, i) && result->string_ids != NULL ? result->string_ids[result->first[q] + i] : none;
}

const double *pomai_result_distances(const pomai_result *result, size_t q)
{
    return result == NULL || q >= result->queries ? NULL : result->distances + result->first[q];
}

const char *pomai_result_plan(const pomai_result *result)
{
    return result == NULL ? NULL : result->plan;
}

pomai_bytes pomai_result_document(const pomai_result *result, size_t q, size_t i)
{
    pomai_bytes none = {NULL, 0};
    return has_hit(result, q, i) && result->documents != NULL ? result->documents[result->first[q] + i] : none;
}

const float *pomai_result_vector(const pomai_result *result, size_t q, size_t i)
{
    if (!has_hit(result, q, i) || result->vectors == NULL) return NULL;
    return result->vectors + (result->first[q] + i) * result->dim;
}

void pomai_result_verdict(const pomai_result *result, size_t q, pomai_verdict *verdict)
{
    if (verdict == NULL) return;
    memset(verdict, 0, sizeof *verdict);
    if (result != NULL && q < result->queries) *verdict = result->verdicts[q];
}

void pomai_result_free(pomai_result *result)
{
    pm_result_free(result);
}

/* ---- inspecting ---- */

pomai_status pomai_verify_path(const char *path, pomai_progress_fn progress, void *context, char **json,
                               pomai_error *err)
{
    if (json != NULL) *json = NULL;
    return pm_inspect_verify(pm_os_posix(), path, progress, context, json, err);
}

pomai_status pomai_dump_wal(const char *path, int json, pomai_line_fn line, void *context, pomai_error *err)
{
    return pm_inspect_dump(pm_os_posix(), path, json != 0, line, context, err);
}

pomai_status pomai_dump_manifest(const char *path, int json, pomai_line_fn line, void *context, pomai_error *err)
{
    return pm_inspect_dump_manifest(pm_os_posix(), path, json != 0, line, context, err);
}

pomai_status pomai_dump_segment(const char *path, const char *collection, uint64_t number, uint32_t flags,
                                pomai_line_fn line, void *context, pomai_error *err)
{
    if ((flags & ~(POMAI_DUMP_JSON | POMAI_DUMP_ROWS)) != 0)
        return pm_fail(err, POMAI_EINVAL, "unknown dump flags %#x", flags);
    const pm_dump what = {.collection = collection,
                          .number = number,
                          .json = (flags & POMAI_DUMP_JSON) != 0,
                          .rows = (flags & POMAI_DUMP_ROWS) != 0};
    return pm_inspect_dump_segment(pm_os_posix(), path, &what, line, context, err);
}

pomai_status pomai_salvage(const char *from, const char *to, pomai_progress_fn progress, void *context, char **json,
                           int *whole, pomai_error *err)
{
    bool nothing_lost = false;
    if (json != NULL) *json = NULL;
    pomai_status status = pm_salvage(pm_os_posix(), from, to, progress, context, json, &nothing_lost, err);
    if (whole != NULL) *whole = nothing_lost;
    return status;
}
