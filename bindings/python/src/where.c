/* SPDX-License-Identifier: Apache-2.0 */
/* count, get and delete by filter; update. They look at all rows, so they run aside: Ctrl-C is heard meanwhile. */
#include "core.h"
#include <stdlib.h>
#include <string.h>

enum { FEW_IDS = 256 /* up to which an update does not pay for a thread */ };

typedef enum { COUNT, GET, DELETE, UPDATE } where_op;

typedef struct {
    pm_py_job job;
    where_op op;
    pomai_collection *collection;
    PyObject *filters; /* bytes, which `filter` points to; NULL: by id */
    const char *filter;
    size_t filter_size;
    pomai_count_options count;
    pomai_scan_options scan;
    pomai_write_options write;
    pomai_update_how how;
    pm_py_ids ids;
    pm_py_documents documents;
    uint64_t limit;
    /* answer */
    uint64_t rows;
    pomai_ack ack;
    pomai_rows *found;
} where_job;

/* ---- jobs ---- */

/* None at all are an answer without rows. */
static pomai_status find(where_job *w, pomai_error *err)
{
    static const uint64_t nothing;
    const pomai_ids none = {0, &nothing, NULL};
    pomai_scan *scan = NULL;
    w->scan.filter = w->filter;
    w->scan.filter_size = w->filter_size;
    pomai_status status = pomai_scan_open(w->collection, &w->scan, &scan, err);
    if (status == POMAI_OK && w->limit > 0) status = pomai_scan_next(scan, w->limit, &w->found, err);
    if (status == POMAI_OK && w->found == NULL) status = pomai_get(w->collection, &none, NULL, &w->found, err);
    pomai_scan_close(scan);
    return status;
}

static pomai_status change(where_job *w, pomai_error *err)
{
    if (w->op == DELETE) return pomai_delete_where(w->collection, w->filter, w->filter_size, &w->write, &w->ack, err);
    if (w->filters != NULL)
        return pomai_update_where(w->collection, w->filter, w->filter_size, w->documents.bytes, w->how, &w->write,
                                  &w->ack, err);
    if (w->ids.ids.count == 0) return POMAI_OK;
    return pomai_update(w->collection, &w->ids.ids, w->documents.bytes, w->how, &w->write, &w->ack, err);
}

static void where_run(pm_py_job *job)
{
    where_job *w = (where_job *)job;
    if (w->op == COUNT) {
        w->count.cancel = &job->cancel;
        w->count.filter = w->filter;
        w->count.filter_size = w->filter_size;
        job->status = pomai_count(w->collection, &w->count, &w->rows, &job->err);
        return;
    }
    w->scan.cancel = w->write.cancel = &job->cancel;
    job->status = w->op == GET ? find(w, &job->err) : change(w, &job->err);
    w->rows = w->ack.rows;
}

static void where_release(pm_py_job *job)
{
    where_job *w = (where_job *)job;
    pomai_rows_free(w->found);
    Py_XDECREF(w->filters);
    pm_py_ids_release(&w->ids);
    pm_py_documents_release(&w->documents);
    Py_XDECREF((PyObject *)job->snapshot);
    Py_XDECREF((PyObject *)job->on);
    free(w);
}

static void where_stopped(pm_py_job *job)
{
    pm_py_tell_stored(((where_job *)job)->ack.rows);
    where_release(job);
}

static where_job *where_new(where_op op)
{
    where_job *w = calloc(1, sizeof *w);
    if (w == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    w->op = op;
    w->count = (pomai_count_options)POMAI_COUNT_OPTIONS_INIT;
    w->scan = (pomai_scan_options)POMAI_SCAN_OPTIONS_INIT;
    w->write = (pomai_write_options)POMAI_WRITE_OPTIONS_INIT;
    w->limit = UINT64_MAX;
    w->job.run = where_run;
    w->job.release = where_release;
    if (op == DELETE || op == UPDATE) w->job.stopped = where_stopped;
    return w;
}

/* -1: an exception is set, and the job is gone. */
static int where_do(pm_py_collection *on, where_job *w, PyObject *snapshot)
{
    const bool begun = pm_py_begin(on) == 0;
    if (!begun || pm_py_snapshot_begin(on, snapshot, &w->job.snapshot) != 0) {
        if (begun) pm_py_end(on);
        where_release(&w->job);
        return -1;
    }
    if (w->job.snapshot != NULL) {
        Py_INCREF((PyObject *)w->job.snapshot);
        w->count.snapshot = w->scan.snapshot = w->job.snapshot->handle;
    }
    w->job.on = (pm_py_collection *)Py_NewRef((PyObject *)on);
    w->collection = on->handle;
    const bool aside = w->op != UPDATE || w->filters != NULL || w->ids.ids.count > FEW_IDS;
    if (pm_py_job_run(on->state, &w->job, aside) != 0) return -1;
    if (w->job.status == POMAI_OK) return 0;
    pm_py_raise(on->state, &w->job.err);
    if (w->ack.rows > 0) pm_py_tell_stored(w->ack.rows);
    where_release(&w->job);
    return -1;
}

static PyObject *where_rows(pm_py_collection *on, where_job *w)
{
    if (where_do(on, w, NULL) != 0) return NULL;
    PyObject *rows = PyLong_FromUnsignedLongLong(w->rows);
    where_release(&w->job);
    return rows;
}

/* ---- methods ---- */

PyObject *pm_py_count_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"filters", "snapshot", "mode", "deadline_ms", NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[4] = {NULL};
    if (pm_py_args(on->state, "count", names, 0, args, count, keywords, given) != 0) return NULL;
    where_job *w = where_new(COUNT);
    if (w == NULL) return NULL;
    if (pm_py_filters(on->state, given[0], &w->filters, &w->filter, &w->filter_size) != 0 ||
        pm_py_mode(on->state, given[2], &w->count.mode) != 0 ||
        pm_py_deadline(on->state, given[3], &w->count.deadline_us) != 0) {
        where_release(&w->job);
        return NULL;
    }
    if (where_do(on, w, given[1]) != 0) return NULL;
    PyObject *rows = PyLong_FromUnsignedLongLong(w->rows);
    where_release(&w->job);
    return rows;
}

/* get(filters=): given as pm_py_get has them, ids left out. */
PyObject *pm_py_get_where(pm_py_collection *on, PyObject *filters, PyObject *limit, bool vectors, bool documents,
                          PyObject *snapshot, pomai_read_mode mode)
{
    where_job *w = where_new(GET);
    if (w == NULL) return NULL;
    w->scan.mode = mode;
    w->scan.include = (vectors ? POMAI_INCLUDE_VECTORS : 0) | (documents ? POMAI_INCLUDE_DOCUMENTS : 0);
    if (pm_py_filters(on->state, filters, &w->filters, &w->filter, &w->filter_size) != 0 ||
        pm_py_count(on->state, "limit", limit, &w->limit) != 0) {
        where_release(&w->job);
        return NULL;
    }
    if (where_do(on, w, snapshot) != 0) return NULL;
    pomai_rows *rows = w->found;
    w->found = NULL;
    where_release(&w->job);
    return pm_py_rows_new(on->state, rows, NULL, vectors, documents);
}

PyObject *pm_py_is_every_row(PyObject *module, PyObject *filters)
{
    pm_py_state *state = pm_py_state_of(module);
    PyObject *bytes = NULL;
    const char *filter = NULL;
    size_t size = 0;
    int every;
    pomai_error err;
    pomai_status status;
    if (pm_py_filters(state, filters, &bytes, &filter, &size) != 0) return NULL;
    Py_BEGIN_ALLOW_THREADS status = pomai_filter_is_every_row(filter, size, &every, &err);
    Py_END_ALLOW_THREADS Py_XDECREF(bytes);
    return status == POMAI_OK ? PyBool_FromLong(every) : pm_py_raise(state, &err);
}

PyObject *pm_py_delete_where(pm_py_collection *on, PyObject *filters, const pomai_write_options *options)
{
    where_job *w = where_new(DELETE);
    if (w == NULL) return NULL;
    w->write = *options;
    if (pm_py_filters(on->state, filters, &w->filters, &w->filter, &w->filter_size) != 0) {
        where_release(&w->job);
        return NULL;
    }
    return where_rows(on, w);
}

static int take_update(pm_py_state *state, PyObject *const *given, where_job *w)
{
    const bool by_id = given[0] != NULL && given[0] != Py_None, where = given[3] != NULL && given[3] != Py_None;
    const bool metadata = given[1] != NULL && given[1] != Py_None;
    bool merge = metadata;
    if (by_id == where) {
        pm_py_refuse_type(state, "update() needs ids or filters=: one of them");
        return -1;
    }
    if (!metadata && (given[2] == NULL || given[2] == Py_None)) {
        pm_py_refuse_type(
            state, "update() needs metadata= or documents=, and None is neither: documents='' takes a document away");
        return -1;
    }
    if (pm_py_bool(state, "merge", given[4], &merge) != 0 ||
        pm_py_durability(state, given[5], &w->write.durability) != 0 ||
        pm_py_deadline(state, given[6], &w->write.deadline_us) != 0 ||
        pm_py_filters(state, given[3], &w->filters, &w->filter, &w->filter_size) != 0)
        return -1;
    w->how = merge ? POMAI_UPDATE_MERGE : POMAI_UPDATE_REPLACE;
    if (by_id && pm_py_ids_take(state, "ids", given[0], &w->ids) != 0) {
        memset(&w->ids, 0, sizeof w->ids);
        return -1;
    }
    return pm_py_documents_take(state, given[2], given[1], where ? 1 : w->ids.ids.count, where || w->ids.single,
                                where ? "filter" : "ids", &w->documents);
}

PyObject *pm_py_update(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"ids",   "metadata",   "documents",   "filters",
                                        "merge", "durability", "deadline_ms", NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[7] = {NULL};
    if (pm_py_args(on->state, "update", names, 1, args, count, keywords, given) != 0) return NULL;
    where_job *w = where_new(UPDATE);
    if (w == NULL) return NULL;
    if (take_update(on->state, given, w) != 0) {
        where_release(&w->job);
        return NULL;
    }
    return where_rows(on, w);
}
