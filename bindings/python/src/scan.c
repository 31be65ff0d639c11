/* SPDX-License-Identifier: Apache-2.0 */
/* A walk over all rows of a collection: as Rows, row by row, or as an Arrow stream. */
#include "arrow.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 1 << 20, USUAL_ROWS = 8192, USUAL_BYTES = 8 << 20 };

struct pm_py_scan {
    PyObject_HEAD pm_py_state *state;
    pm_py_database *db;
    pomai_scan *handle; /* NULL: at its end, or closed */
    struct pm_py_scan *previous, *next;
    Py_ssize_t users;
    uint64_t batch_rows;
    pm_arrow_shape shape;
    PyObject *rows; /* those that are given out one by one */
    Py_ssize_t at;
    bool singly, ended, closed, filtered;
    bool looking;  /* a call is; signal handlers that run in it may make others, when the job has no users any more */
    pm_py_job job; /* of the next rows; its `cancel` is the handle's, too */
    pomai_rows *found; /* by it, and not given yet */
};

static void unlink_scan(pm_py_scan *s)
{
    if (s->previous != NULL)
        s->previous->next = s->next;
    else if (s->db->scans == s)
        s->db->scans = s->next;
    if (s->next != NULL) s->next->previous = s->previous;
    s->previous = s->next = NULL;
}

/* Nobody uses it. The database stays open meanwhile; the object may be gone when the GIL is back. */
static void close_handle(pm_py_scan *s)
{
    pm_py_database *db = s->db;
    pomai_scan *handle = s->handle;
    if (handle == NULL) return;
    s->handle = NULL;
    unlink_scan(s);
    db->base.users++;
    Py_BEGIN_ALLOW_THREADS pomai_scan_close(handle);
    Py_END_ALLOW_THREADS db->base.users--;
}

void pm_py_scans_close(pm_py_database *db)
{
    while (db->scans != NULL) {
        db->scans->closed = true;
        close_handle(db->scans);
    }
}

static int close_scan(pm_py_scan *s)
{
    if (s->db == NULL || s->handle == NULL || s->db->generation != pm_py_generation()) {
        s->closed = true;
        return 0;
    }
    s->closed = true;
    if (pm_py_wait_idle(s->db, &s->users) != 0) {
        s->closed = s->handle == NULL;
        return -1;
    }
    close_handle(s);
    return 0;
}

static void scan_dealloc(PyObject *self)
{
    pm_py_scan *s = (pm_py_scan *)self;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    (void)close_scan(s);
    PyErr_Restore(type, value, trace);
    pomai_rows_free(s->found);
    Py_XDECREF(s->rows);
    Py_XDECREF((PyObject *)s->db);
    pm_py_free_object(self);
}

/* ---- opening ---- */

typedef struct {
    pomai_scan_options options;
    PyObject *snapshot;
    PyObject *filters; /* bytes, which the options point to while it is opened; NULL: none */
    uint64_t batch_rows;
    bool binary;
} scan_input;

static int take_options(pm_py_state *state, PyObject *const *given, scan_input *in)
{
    bool vectors = true, documents = true;
    if (pm_py_count_in(state, "batch_rows", "from 1 to 1,048,576", POMAI_EINVAL, given[0], &in->batch_rows) != 0 ||
        pm_py_bool(state, "vectors", given[1], &vectors) != 0 ||
        pm_py_bool(state, "documents", given[2], &documents) != 0 ||
        pm_py_mode(state, given[4], &in->options.mode) != 0 || pm_py_bool(state, "binary", given[5], &in->binary) != 0)
        return -1;
    bool said = given[0] != NULL && given[0] != Py_None;
    if (said && (in->batch_rows == 0 || in->batch_rows > MOST_ROWS)) {
        pm_py_refuse(state, POMAI_EINVAL, "batch_rows is from 1 to 1,048,576, not %R", given[0]);
        return -1;
    }
    in->options.include = (vectors ? POMAI_INCLUDE_VECTORS : 0) | (documents ? POMAI_INCLUDE_DOCUMENTS : 0);
    in->snapshot = given[3];
    return pm_py_filters(state, given[6], &in->filters, &in->options.filter, &in->options.filter_size);
}

static uint64_t usual_rows(uint64_t dim)
{
    uint64_t fit = USUAL_BYTES / (dim * sizeof(float) + 64);
    return fit < 1 ? 1 : fit < USUAL_ROWS ? fit : USUAL_ROWS;
}

static void scan_begin(pm_py_scan *s, pm_py_collection *on, const scan_input *in, const pomai_collection_info *info,
                       pomai_scan *handle)
{
    pm_py_database *db = on->db;
    s->state = on->state;
    s->filtered = in->filters != NULL;
    s->db = (pm_py_database *)Py_NewRef((PyObject *)db);
    s->handle = handle;
    s->batch_rows = in->batch_rows != 0 ? in->batch_rows : usual_rows(info->dim);
    s->shape.dim = info->dim;
    s->shape.dtype = info->dtype;
    s->shape.strings = info->id_kind == POMAI_ID_STRING;
    s->shape.vectors = (in->options.include & POMAI_INCLUDE_VECTORS) != 0;
    s->shape.documents = (in->options.include & POMAI_INCLUDE_DOCUMENTS) != 0;
    s->shape.binary = in->binary;
    s->next = db->scans;
    if (s->next != NULL) s->next->previous = s;
    db->scans = s;
}

static PyObject *scan_open(pm_py_collection *on, const scan_input *in)
{
    pomai_scan_options options = in->options;
    pomai_collection_info info = {0};
    pm_py_snapshot *snapshot;
    pomai_scan *handle = NULL;
    pomai_error err = {0};
    pomai_status status;
    if (pm_py_begin(on) != 0) return NULL;
    pm_py_scan *made = (pm_py_scan *)PyType_GenericAlloc(on->state->scan, 0);
    if (made == NULL || pm_py_snapshot_begin(on, in->snapshot, &snapshot) != 0) {
        Py_XDECREF((PyObject *)made);
        pm_py_end(on);
        return NULL;
    }
    options.cancel = &made->job.cancel;
    if (snapshot != NULL) options.snapshot = snapshot->handle;
    /* The scan first: a collection that the first put makes meanwhile is then known, if the scan shows its rows. */
    Py_BEGIN_ALLOW_THREADS status = pomai_scan_open(on->handle, &options, &handle, &err);
    if (status == POMAI_OK) status = pomai_collection_get_info(on->handle, &info, &err);
    Py_END_ALLOW_THREADS pm_py_snapshot_end(snapshot);
    if (status == POMAI_OK)
        scan_begin(made, on, in, &info, handle);
    else
        pomai_scan_close(handle);
    pm_py_end(on);
    if (status == POMAI_OK) return (PyObject *)made;
    Py_DECREF((PyObject *)made);
    return pm_py_raise(on->state, &err);
}

static PyObject *scan_given(pm_py_collection *on, PyObject *const *given)
{
    scan_input in = {.options = POMAI_SCAN_OPTIONS_INIT};
    PyObject *scan = take_options(on->state, given, &in) != 0 ? NULL : scan_open(on, &in);
    Py_XDECREF(in.filters);
    return scan;
}

PyObject *pm_py_scan_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"batch_rows", "vectors", "documents", "snapshot",
                                        "mode",       "binary",  "filters",   NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[7] = {NULL};
    if (pm_py_args(on->state, "scan", names, 0, args, count, keywords, given) != 0) return NULL;
    return scan_given(on, given);
}

PyObject *pm_py_collection_iterate(PyObject *self)
{
    PyObject *scan = pm_py_scan_method(self, NULL, 0, NULL);
    if (scan != NULL) ((pm_py_scan *)scan)->singly = true;
    return scan;
}

PyObject *pm_py_to_arrow(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"batch_rows", "vectors", "documents", "snapshot", "mode",
                                        "binary",     "filters", "metadata",  "columns",  NULL};
    static const char *const words[] = {"documents", "columns", NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[9] = {NULL};
    if (pm_py_args(on->state, "to_arrow", names, 0, args, count, keywords, given) != 0) return NULL;
    const bool said = given[7] != NULL && given[7] != Py_None, named = given[8] != NULL && given[8] != Py_None;
    const int which = said ? pm_py_word(on->state, "metadata", given[7], words) : 0;
    if (which < 0) return NULL;
    if (which == 0 && named) return pm_py_refuse_type(on->state, "columns= goes with metadata='columns'");
    if (which == 1 && given[2] != NULL && PyObject_IsTrue(given[2]) == 0)
        return pm_py_refuse_type(on->state,
                                 "metadata='columns' are of the documents, which documents=False leaves out");
    PyObject *scan = scan_given(on, given);
    PyObject *table = scan == NULL ? NULL
                                   : pm_py_help(on->state, "to_arrow", scan, which == 1 ? Py_True : Py_False,
                                                named ? given[8] : Py_None, NULL);
    Py_XDECREF(scan);
    return table;
}

/* ---- the next rows ---- */

static pm_py_scan *scan_of(pm_py_job *job)
{
    return (pm_py_scan *)(void *)((char *)job - offsetof(pm_py_scan, job));
}

static void next_run(pm_py_job *job)
{
    pm_py_scan *s = scan_of(job);
    job->status = pomai_scan_next(s->handle, s->batch_rows, &s->found, &job->err);
}

static void next_release(pm_py_job *job)
{
    PyObject *on = (PyObject *)job->on;
    job->on = NULL;
    Py_DECREF(on);
    Py_DECREF((PyObject *)scan_of(job));
}

/* Finds rows. Judged by a filter they may take long, so that runs aside: Ctrl-C is heard meanwhile, and the scan stays
 * where it was. -1: an exception is set. It is no user of the database and of the scan any more. */
static int next_find(pm_py_scan *s)
{
    s->users++;
    s->job = (pm_py_job){.run = next_run, .release = next_release, .stopped = next_release, .users = &s->users};
    s->job.on = (pm_py_collection *)Py_NewRef((PyObject *)s->db);
    Py_INCREF((PyObject *)s);
    if (pm_py_job_run(s->state, &s->job, s->filtered) != 0) return -1;
    if (s->job.status != POMAI_OK) pm_py_raise(s->state, &s->job.err);
    next_release(&s->job);
    return s->job.status == POMAI_OK ? 0 : -1;
}

/* 0 with *rows NULL at the end. */
static int next_rows(pm_py_scan *s, pomai_rows **rows)
{
    *rows = NULL;
    if (s->ended && !s->closed) return 0;
    if (pm_py_begin(&s->db->base) != 0) return -1;
    const bool closed = s->closed || s->handle == NULL;
    const bool used = !closed && (s->users > 0 || s->looking);
    if (closed)
        pm_py_refuse_as(s->state->closed_error, "the scan is closed: begin another");
    else if (used)
        pm_py_refuse(s->state, POMAI_EBUSY,
                     "the scan is in use, by another thread or a call that a signal interrupted: use one a thread");
    if (closed || used || s->found != NULL) { /* found when a signal had ended the call */
        pm_py_end(&s->db->base);
        if (closed || used) return -1;
    } else {
        s->looking = true;
        const int failed = next_find(s);
        s->looking = false;
        if (failed != 0) return -1;
    }
    *rows = s->found;
    s->found = NULL;
    if (*rows != NULL) return 0;
    s->ended = true;
    if (!s->closed) close_handle(s);
    return 0;
}

static PyObject *next_batch(pm_py_scan *s)
{
    pomai_rows *rows;
    if (next_rows(s, &rows) != 0 || rows == NULL) return NULL;
    return pm_py_rows_new(s->state, rows, NULL, s->shape.vectors, s->shape.documents);
}

static PyObject *scan_next(PyObject *self)
{
    pm_py_scan *s = (pm_py_scan *)self;
    if (!s->singly) return next_batch(s);
    if (s->closed) return next_batch(s); /* raises */
    if (s->rows == NULL) {
        PyObject *rows = next_batch(s);
        if (rows == NULL) return NULL;
        Py_XDECREF(s->rows);
        s->rows = rows;
        s->at = 0;
    }
    PyObject *rows = Py_NewRef(s->rows), *row = pm_py_rows_item(rows, s->at++);
    if (row == NULL || s->at >= PyObject_Size(rows)) Py_CLEAR(s->rows);
    Py_DECREF(rows);
    return row;
}

/* ---- as an Arrow stream ---- */

/* Of the stream until it is released, and of calls that are in it: a signal handler that runs in one may release it. */
typedef struct {
    atomic_size_t users;
    atomic_bool released;
    PyObject *scan;
    pm_arrow_shape shape;
    char error[512];
} stream_data;

static void stream_drop(stream_data *d)
{
    if (atomic_fetch_sub(&d->users, 1) != 1) return;
    if (Py_IsInitialized()) { /* else the process ends */
        PyGILState_STATE gil = PyGILState_Ensure();
        Py_DECREF(d->scan);
        PyGILState_Release(gil);
    }
    free(d);
}

static const char *stream_error(pm_arrow_stream *stream)
{
    stream_data *d = stream->private_data;
    return d == NULL ? "the stream was closed while it was read" : d->error; /* readers ask after that, too */
}

static int stream_schema(pm_arrow_stream *stream, pm_arrow_schema *out)
{
    stream_data *d = stream->private_data;
    return pm_arrow_schema_make(&d->shape, out);
}

static int raise_later(void *value)
{
    PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    Py_DECREF((PyObject *)value);
    return -1;
}

/* Moves the exception that is set into the stream, which knows only a sentence and an errno. What a signal handler
 * raised, Ctrl-C above all, is raised by the interpreter as well, as soon as the reader is back in Python. */
static int stream_failed(stream_data *d)
{
    PyObject *type, *value, *trace;
    pm_py_state *state = ((pm_py_scan *)d->scan)->state;
    const bool memory = PyErr_ExceptionMatches(PyExc_MemoryError);
    const bool signal = !memory && !PyErr_ExceptionMatches(state->base_error);
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (signal && value != NULL && Py_AddPendingCall(raise_later, Py_NewRef(value)) != 0) Py_DECREF(value);
    PyObject *text = value == NULL ? NULL : signal ? PyObject_Repr(value) : PyObject_Str(value);
    const char *words = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, NULL);
    if (words == NULL) words = signal ? "an exception" : "the scan failed";
    snprintf(d->error, sizeof d->error, "%s%s", signal ? "interrupted by " : "", words);
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return memory ? ENOMEM : signal ? EINTR : EIO;
}

/* Called in any thread, with the GIL or without. A reader that takes all batches in a loop of its own looks after no
 * signals: in the main thread each call does. */
static int stream_next(pm_arrow_stream *stream, pm_arrow_array *out)
{
    stream_data *d = stream->private_data;
    pomai_rows *rows = NULL;
    memset(out, 0, sizeof *out);
    if (!Py_IsInitialized()) return ECANCELED;
    atomic_fetch_add(&d->users, 1);
    PyGILState_STATE gil = PyGILState_Ensure();
    const bool main = pm_py_main_thread();
    int failed = main && PyErr_CheckSignals() != 0;
    if (failed == 0 && !atomic_load(&d->released)) failed = next_rows((pm_py_scan *)d->scan, &rows) != 0;
    if (failed != 0) failed = stream_failed(d);
    PyGILState_Release(gil);
    pm_py_held *held = failed != 0 || rows == NULL ? NULL : pm_py_hold(rows, NULL);
    if (held == NULL && failed == 0 && rows != NULL) failed = ENOMEM;
    if (atomic_load(&d->released) && failed == 0)
        failed = ECANCELED; /* `stream` is not ours any more */
    else if (held != NULL)
        failed = pm_arrow_array_make(&d->shape, held, out, d->error);
    if (held != NULL) pm_py_held_drop(held);
    stream_drop(d);
    return failed;
}

static void stream_release(pm_arrow_stream *stream)
{
    stream_data *d = stream->private_data;
    stream->release = NULL;
    stream->private_data = NULL;
    atomic_store(&d->released, true);
    stream_drop(d);
}

static PyObject *stream_of(PyObject *scan)
{
    pm_arrow_stream *stream = calloc(1, sizeof *stream);
    stream_data *d = calloc(1, sizeof *d);
    if (stream == NULL || d == NULL) {
        free(stream);
        free(d);
        return PyErr_NoMemory();
    }
    atomic_init(&d->users, 1);
    d->scan = Py_NewRef(scan);
    d->shape = ((pm_py_scan *)scan)->shape;
    stream->get_schema = stream_schema;
    stream->get_next = stream_next;
    stream->get_last_error = stream_error;
    stream->release = stream_release;
    stream->private_data = d;
    return pm_arrow_stream_capsule(stream);
}

static PyObject *scan_stream(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"requested_schema", NULL};
    PyObject *schema = NULL;
    if (pm_py_args(((pm_py_scan *)self)->state, "__arrow_c_stream__", names, 1, args, count, keywords, &schema) != 0)
        return NULL;
    return stream_of(self);
}

PyObject *pm_py_collection_stream(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"requested_schema", NULL};
    PyObject *schema = NULL;
    if (pm_py_args(((pm_py_collection *)self)->state, "__arrow_c_stream__", names, 1, args, count, keywords, &schema) !=
        0)
        return NULL;
    PyObject *scan = pm_py_scan_method(self, NULL, 0, NULL);
    PyObject *stream = scan == NULL ? NULL : stream_of(scan);
    Py_XDECREF(scan);
    return stream;
}

/* ---- the type ---- */

static PyObject *py_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    return close_scan((pm_py_scan *)self) != 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *get_self(PyObject *self, PyObject *none)
{
    (void)none;
    return Py_NewRef(self);
}

static PyObject *iterate(PyObject *self)
{
    return Py_NewRef(self);
}

static PyMethodDef methods[] = {
    {"close", py_close, METH_NOARGS, "Lets go what only the scan shows."},
    {"__arrow_c_stream__", FAST(scan_stream),
     "__arrow_c_stream__($self, /, requested_schema=None)\n--\n\nThe rows that are left as Arrow record batches; use "
     "it up once."},
    {"__enter__", get_self, METH_NOARGS, NULL},
    {"__exit__", py_close, METH_VARARGS, NULL},
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {{Py_tp_doc, (void *)"A walk over the rows of a collection; made by scan()."},
                              {Py_tp_dealloc, (void *)scan_dealloc},
                              {Py_tp_methods, methods},
                              {Py_tp_iter, (void *)iterate},
                              {Py_tp_iternext, (void *)scan_next},
                              {Py_tp_new, (void *)pm_py_no_new},
                              {0, NULL}};
PyType_Spec pm_py_scan_spec = {"pomai._core.Scan", sizeof(pm_py_scan), 0, Py_TPFLAGS_DEFAULT, slots};
