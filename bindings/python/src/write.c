/* SPDX-License-Identifier: Apache-2.0 */
/* add and delete. */
#include "arrow.h"
#include <string.h>

enum { MAX_ROWS = 1 << 24 }; /* of one put */

typedef struct {
    pomai_collection *collection;
    const pomai_batch *batch;
    const pomai_ids *ids; /* of a delete */
    pomai_write_options *options;
    pomai_ack ack;
} write_call;

static pomai_status try_put(void *context, uint64_t deadline_us, pomai_error *err)
{
    write_call *call = context;
    call->options->deadline_us = deadline_us;
    return pomai_put(call->collection, call->batch, call->options, &call->ack, err);
}

static pomai_status try_delete(void *context, uint64_t deadline_us, pomai_error *err)
{
    write_call *call = context;
    call->options->deadline_us = deadline_us;
    return pomai_delete(call->collection, call->ids, call->options, &call->ack, err);
}

static void release_input(pm_py_add_input *in)
{
    pm_py_vectors_release(&in->vectors);
    pm_py_ids_release(&in->ids);
    pm_py_ids_release(&in->expiry);
    pm_py_documents_release(&in->documents);
}

int pm_py_check_time(pm_py_state *state, uint64_t i, uint64_t time)
{
    const uint64_t some_years = 100000000; /* in seconds; in microseconds 1e9 times as much */
    if (time < some_years || time >= some_years * 1000000000) return 0;
    pm_py_refuse(state, POMAI_EINVAL,
                 "expiry[%llu] is %llu, which in nanoseconds since 1970 is before 1974; expected nanoseconds (seconds "
                 "times 10**9), or a datetime",
                 (unsigned long long)i, (unsigned long long)time);
    return -1;
}

static int check_times(pm_py_state *state, const pm_py_add_input *in)
{
    for (uint64_t i = 0; i < in->expiry.ids.count; i++)
        if (pm_py_check_time(state, i, in->expiry.ids.u64[i]) != 0) return -1;
    return 0;
}

static int take_expiry(pm_py_state *state, PyObject *expiry, pm_py_add_input *in)
{
    if (expiry == NULL || expiry == Py_None) return 0;
    if (pm_py_refuse_masked(state, "expiry", expiry) != 0) return -1;
    PyObject *rows = PyLong_FromUnsignedLongLong(in->vectors.rows);
    PyObject *list = rows == NULL ? NULL : pm_py_help(state, "encode_expiry", expiry, rows, NULL);
    Py_XDECREF(rows);
    int failed = list == NULL ? -1 : pm_arrow_expiry(state, "expiry", list, &in->expiry);
    if (failed > 0) failed = pm_py_ids_take(state, "expiry", list, &in->expiry);
    Py_XDECREF(list);
    if (failed != 0) return -1;
    in->has_expiry = true;
    if (in->expiry.ids.u64 == NULL) {
        pm_py_refuse_type(state, "expiry holds strings; expected ns since 1970, datetimes, dates or None");
        return -1;
    }
    if (in->expiry.ids.count == in->vectors.rows) return check_times(state, in);
    pm_py_refuse(state, POMAI_EINVAL, "there are %zu times of expiry for %llu vectors", in->expiry.ids.count,
                 (unsigned long long)in->vectors.rows);
    return -1;
}

static int take_input(const pm_py_collection *on, PyObject *const *given, pm_py_add_input *in)
{
    pm_py_state *state = on->state;
    if (given[0] == NULL || given[0] == Py_None) {
        pm_py_refuse_type(state, "add() needs vectors");
        return -1;
    }
    if (pm_py_durability(state, given[5], &in->options.durability) != 0 ||
        pm_py_deadline(state, given[6], &in->options.deadline_us) != 0 ||
        pm_py_vectors_take(state, "vectors", given[0], pm_py_collection_dtype(on), &in->vectors) != 0)
        return -1;
    if (given[1] != NULL && given[1] != Py_None) {
        if (PyAnySet_Check(given[1])) {
            pm_py_refuse_type(state, "ids is a set, which has no order; expected a list or an array");
            return -1;
        }
        if (pm_py_ids_take(state, "ids", given[1], &in->ids) != 0) return -1;
        in->has_ids = true;
        if (in->ids.ids.count != in->vectors.rows) {
            pm_py_refuse(state, POMAI_EINVAL, "there are %zu ids for %llu vectors", in->ids.ids.count,
                         (unsigned long long)in->vectors.rows);
            return -1;
        }
    }
    if (pm_py_documents_take(state, given[2], given[3], in->vectors.rows, in->vectors.single, "vectors",
                             &in->documents) != 0)
        return -1;
    return take_expiry(state, given[4], in);
}

/* How many rows from `first` on fit into one put; at least one, which the engine refuses if that is too large. */
static uint64_t chunk_rows(const pm_py_add_input *in, uint64_t first)
{
    uint64_t row_bytes = in->vectors.dim * pm_py_dtype_size(in->vectors.dtype) + 8, left = in->vectors.rows - first,
             bytes = 0, rows = 0;
    const pomai_bytes *documents = in->documents.bytes, *strings = in->ids.ids.string;
    if (left > MAX_ROWS) left = MAX_ROWS;
    if (documents == NULL && strings == NULL) {
        uint64_t fit = POMAI_MAX_BATCH_BYTES / row_bytes;
        if (fit == 0) return left < 1 ? left : 1;
        return left < fit ? left : fit;
    }
    for (; rows < left; rows++) {
        bytes += row_bytes + (documents != NULL ? documents[first + rows].size : 0) +
                 (strings != NULL ? strings[first + rows].size : 0);
        if (bytes > POMAI_MAX_BATCH_BYTES && rows > 0) break;
    }
    return rows;
}

static void fill_batch(const pm_py_add_input *in, uint64_t first, uint64_t rows, pomai_batch *batch)
{
    batch->rows = rows;
    batch->dim = in->vectors.dim;
    batch->dtype = in->vectors.dtype;
    batch->vectors = (const char *)in->vectors.data + first * in->vectors.dim * pm_py_dtype_size(batch->dtype);
    if (in->has_ids && in->ids.ids.string != NULL)
        batch->string_ids = in->ids.ids.string + first;
    else if (in->has_ids)
        batch->u64_ids = in->ids.ids.u64 + first;
    if (in->documents.bytes != NULL) batch->documents = in->documents.bytes + first;
    if (in->has_expiry) batch->expiry_ns = in->expiry.ids.u64 + first;
}

/* The exception that is set tells how much of a batch that was split is stored. */
void pm_py_tell_stored(uint64_t rows)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *number = PyLong_FromUnsignedLongLong(rows);
    if (number == NULL || value == NULL || PyObject_SetAttrString(value, "rows_stored", number) != 0) PyErr_Clear();
    Py_XDECREF(number);
    PyErr_Restore(type, value, trace);
}

/* The row that a sentence names is one of the batch that was refused: says where that begins. */
static PyObject *add_place(PyObject *error, uint64_t rows)
{
    PyObject *text = PyObject_Str(error), *row = PyUnicode_FromString("row"), *told = NULL;
    if (text != NULL && row != NULL && PyUnicode_Contains(text, row) == 1)
        told = PyUnicode_FromFormat("%U (rows are counted from row %llu, the first that is not stored)", text,
                                    (unsigned long long)rows);
    Py_XDECREF(text);
    Py_XDECREF(row);
    return told;
}

void pm_py_tell_added(pm_py_state *state, uint64_t rows)
{
    pm_py_tell_stored(rows);
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    const bool ours = rows > 0 && value != NULL && PyObject_IsInstance(value, state->base_error) == 1;
    PyObject *told = ours ? add_place(value, rows) : NULL, *arguments = told == NULL ? NULL : PyTuple_Pack(1, told);
    if (arguments == NULL || PyObject_SetAttrString(value, "args", arguments) != 0) PyErr_Clear();
    Py_XDECREF(told);
    Py_XDECREF(arguments);
    PyErr_Restore(type, value, trace);
}

/* Appends a run of assigned ids to `runs`, merging it with the last if it follows. */
static int note_run(PyObject *runs, const pomai_ack *ack, uint64_t rows)
{
    PyObject *run = Py_BuildValue("(KK)", (unsigned long long)ack->first_id, (unsigned long long)rows);
    int failed = run == NULL ? -1 : PyList_Append(runs, run);
    Py_XDECREF(run);
    return failed;
}

int pm_py_put_all(pm_py_collection *on, pm_py_add_input *in, PyObject *runs)
{
    uint64_t done = 0, rows;
    do {
        pomai_batch batch = POMAI_BATCH_INIT;
        pomai_error err = {0};
        write_call call = {on->handle, &batch, NULL, &in->options, {0}};
        uint64_t deadline = in->options.deadline_us;
        bool raised;
        rows = chunk_rows(in, done);
        fill_batch(in, done, rows, &batch);
        pomai_status status = pm_py_write(on, try_put, &call, deadline, &err, &raised);
        in->options.deadline_us = deadline;
        if (status == POMAI_OK && !raised && runs != NULL && note_run(runs, &call.ack, rows) != 0) raised = true;
        if (status != POMAI_OK && !raised) pm_py_raise(on->state, &err);
        if (status != POMAI_OK || raised) {
            pm_py_tell_added(on->state, in->before + done);
            return -1;
        }
        done += rows;
        on->rows_hint += rows;
        if (done < in->vectors.rows && pm_py_check_signals(on) != 0) {
            pm_py_tell_added(on->state, in->before + done);
            return -1;
        }
    } while (done < in->vectors.rows && rows > 0);
    return 0;
}

PyObject *pm_py_assigned_ids(pm_py_state *state, PyObject *runs, bool single)
{
    unsigned long long first, count;
    if (PyList_Size(runs) != 1 || !(single || pm_py_has_numpy(state)))
        return pm_py_help(state, "assigned_ids", runs, single ? Py_True : Py_False, NULL);
    if (!PyArg_ParseTuple(PyList_GetItem(runs, 0), "KK", &first, &count)) return NULL;
    if (single) return PyLong_FromUnsignedLongLong(first);
    void *data;
    PyObject *view = pm_py_view_new(state, 'Q', (Py_ssize_t)count, -1, &data);
    if (view == NULL) return NULL;
    uint64_t *ids = data;
    for (uint64_t i = 0; i < count; i++)
        ids[i] = first + i;
    return pm_py_array(state, view);
}

static PyObject *given_ids(const pm_py_add_input *in, PyObject *ids)
{
    if (in->ids.single || PySequence_Check(ids) || PyObject_CheckBuffer(ids)) return Py_NewRef(ids);
    PyObject *list = PyList_New((Py_ssize_t)in->ids.ids.count); /* an iterator, which is used up */
    for (size_t i = 0; list != NULL && i < in->ids.ids.count; i++) {
        PyObject *id = pm_py_ids_item(&in->ids, i);
        if (id == NULL || PyList_SetItem(list, (Py_ssize_t)i, id) != 0) Py_CLEAR(list);
    }
    return list;
}

PyObject *pm_py_add(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"vectors",    "ids",         "documents", "metadata", "expiry",
                                        "durability", "deadline_ms", "column",    NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[8] = {NULL}, *runs = NULL, *made = NULL;
    pm_py_add_input in = {.options = POMAI_WRITE_OPTIONS_INIT};
    if (pm_py_args(on->state, "add", names, 7, args, count, keywords, given) != 0) return NULL;
    bool taken = false;
    /* Looking for methods that are not there takes longer than all the rest; arrays and lists have none. */
    const bool plain = given[0] != NULL && (PyObject_CheckBuffer(given[0]) || PyList_CheckExact(given[0]));
    if (!plain) made = pm_arrow_add(on, given, &taken);
    if (taken) return made;
    if (given[7] != NULL && given[7] != Py_None)
        return pm_py_refuse_type(on->state, "column= names the column of vectors in an Arrow table; vectors is %R",
                                 given[0] == NULL ? (PyObject *)Py_TYPE(Py_None) : (PyObject *)Py_TYPE(given[0]));
    if (take_input(on, given, &in) != 0) goto end;
    if (!in.has_ids && (runs = PyList_New(0)) == NULL) goto end;
    if (pm_py_begin(on) != 0) goto end;
    int failed = pm_py_put_all(on, &in, runs);
    pm_py_end(on);
    if (failed != 0) goto end;
    if (in.has_ids)
        made = given_ids(&in, given[1]);
    else
        made = pm_py_assigned_ids(on->state, runs, in.vectors.single);
end:
    Py_XDECREF(runs);
    release_input(&in);
    return made;
}

PyObject *pm_py_delete(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"ids", "durability", "deadline_ms", "filters", NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    pm_py_state *state = on->state;
    PyObject *given[4] = {NULL};
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    pomai_error err = {0};
    pm_py_ids ids;
    bool raised = false;
    if (pm_py_args(on->state, "delete", names, 3, args, count, keywords, given) != 0) return NULL;
    const bool where = given[3] != NULL && given[3] != Py_None;
    if (given[0] == NULL && !where) return pm_py_refuse_type(state, "delete() needs ids, or filters=");
    if (where && given[0] != NULL && given[0] != Py_None)
        return pm_py_refuse_type(state, "delete() takes ids or filters=, not both");
    if (pm_py_durability(state, given[1], &options.durability) != 0 ||
        pm_py_deadline(state, given[2], &options.deadline_us) != 0)
        return NULL;
    if (where) return pm_py_delete_where(on, given[3], &options);
    if (pm_py_ids_take(state, "ids", given[0], &ids) != 0) return NULL;
    if (pm_py_begin(on) != 0) {
        pm_py_ids_release(&ids);
        return NULL;
    }
    write_call call = {on->handle, NULL, &ids.ids, &options, {0}};
    pomai_status status = POMAI_OK;
    if (ids.ids.count > 0) status = pm_py_write(on, try_delete, &call, options.deadline_us, &err, &raised);
    pm_py_end(on);
    pm_py_ids_release(&ids);
    if (raised) return NULL;
    return status == POMAI_OK ? PyLong_FromUnsignedLongLong(call.ack.rows) : pm_py_raise(state, &err);
}
