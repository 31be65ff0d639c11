/* SPDX-License-Identifier: Apache-2.0 */
/* What a get found, or a scan came to. */
#include "arrow.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    PyObject_HEAD pm_py_state *state;
    pomai_rows *rows; /* of held */
    pm_py_held *held;
    pm_py_ids ids;
    bool vectors, documents;
    bool scanned; /* the ids are those of rows */
} rows_object;

typedef struct {
    PyObject_HEAD rows_object *rows;
    size_t at;
} row_object;

pm_py_held *pm_py_hold(pomai_rows *rows, pomai_result *result)
{
    pm_py_held *held = calloc(1, sizeof *held);
    if (held == NULL) {
        pomai_rows_free(rows);
        pomai_result_free(result);
        return NULL;
    }
    atomic_init(&held->users, 1);
    held->rows = rows;
    held->result = result;
    return held;
}

pm_py_held *pm_py_held_share(pm_py_held *held)
{
    atomic_fetch_add_explicit(&held->users, 1, memory_order_relaxed);
    return held;
}

void pm_py_held_drop(pm_py_held *held)
{
    if (held == NULL || atomic_fetch_sub_explicit(&held->users, 1, memory_order_acq_rel) != 1) return;
    pomai_rows_free(held->rows);
    pomai_result_free(held->result);
    free(held);
}

PyObject *pm_py_rows_new(pm_py_state *state, pomai_rows *rows, pm_py_ids *ids, bool vectors, bool documents)
{
    pm_py_held *held = pm_py_hold(rows, NULL);
    rows_object *made = NULL;
    if (held == NULL)
        PyErr_NoMemory();
    else
        made = (rows_object *)PyType_GenericAlloc(state->rows, 0);
    if (made == NULL) {
        pm_py_held_drop(held);
        if (ids != NULL) pm_py_ids_release(ids);
        return NULL;
    }
    made->state = state;
    made->rows = rows;
    made->held = held;
    if (ids != NULL) made->ids = *ids;
    made->scanned = ids == NULL;
    made->vectors = vectors;
    made->documents = documents;
    return (PyObject *)made;
}

static void rows_dealloc(PyObject *self)
{
    rows_object *r = (rows_object *)self;
    pm_py_held_drop(r->held);
    pm_py_ids_release(&r->ids);
    pm_py_free_object(self);
}

static PyObject *id_of(const rows_object *r, size_t i)
{
    if (!r->scanned) return pm_py_ids_item(&r->ids, i);
    const uint64_t *ids = pomai_rows_ids(r->rows);
    return ids != NULL ? PyLong_FromUnsignedLongLong(ids[i]) : pm_py_string_id(pomai_rows_string_id(r->rows, i));
}

static Py_ssize_t rows_length(PyObject *self)
{
    return (Py_ssize_t)pomai_rows_count(((rows_object *)self)->rows);
}

PyObject *pm_py_rows_item(PyObject *self, Py_ssize_t i)
{
    rows_object *r = (rows_object *)self;
    if (i < 0 || i >= rows_length(self)) {
        PyErr_SetString(PyExc_IndexError, "there is no row of that number");
        return NULL;
    }
    if (!pomai_rows_found(r->rows, (size_t)i)) return Py_NewRef(Py_None);
    row_object *row = (row_object *)PyType_GenericAlloc(r->state->row, 0);
    if (row == NULL) return NULL;
    row->rows = (rows_object *)Py_NewRef(self);
    row->at = (size_t)i;
    return (PyObject *)row;
}

static PyObject *rows_ids(PyObject *self, void *unused)
{
    rows_object *r = (rows_object *)self;
    (void)unused;
    PyObject *list = PyList_New(rows_length(self));
    for (Py_ssize_t i = 0; list != NULL && i < rows_length(self); i++) {
        PyObject *id = id_of(r, (size_t)i);
        if (id == NULL || PyList_SetItem(list, i, id) != 0) Py_CLEAR(list);
    }
    return list;
}

static PyObject *rows_found(PyObject *self, void *unused)
{
    rows_object *r = (rows_object *)self;
    (void)unused;
    PyObject *list = PyList_New(rows_length(self));
    for (Py_ssize_t i = 0; list != NULL && i < rows_length(self); i++)
        if (PyList_SetItem(list, i, PyBool_FromLong(pomai_rows_found(r->rows, (size_t)i))) != 0) Py_CLEAR(list);
    return list;
}

/* The engine's memory when every row was found; else a copy with NaN for those that were not. */
static PyObject *rows_vectors(PyObject *self, void *unused)
{
    rows_object *r = (rows_object *)self;
    Py_ssize_t count = rows_length(self), dim = (Py_ssize_t)pomai_rows_dim(r->rows);
    const float *first = count > 0 ? pomai_rows_vector(r->rows, 0) : NULL;
    bool together = true;
    (void)unused;
    if (!r->vectors) return Py_NewRef(Py_None);
    for (Py_ssize_t i = 0; together && i < count; i++)
        together = first != NULL && pomai_rows_vector(r->rows, (size_t)i) == first + i * dim;
    if (together)
        return pm_py_array(r->state, pm_py_view(r->state, self, (void *)(uintptr_t)first, 'f', count, dim, false));
    void *data = NULL;
    PyObject *view = pm_py_view_new(r->state, 'f', count, dim, &data);
    if (view == NULL) return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        const float *vector = pomai_rows_vector(r->rows, (size_t)i);
        for (Py_ssize_t j = 0; j < dim; j++)
            ((float *)data)[i * dim + j] = vector != NULL ? vector[j] : (float)NAN;
    }
    return pm_py_array(r->state, view);
}

static PyObject *rows_arrow(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"requested_schema", NULL};
    rows_object *r = (rows_object *)self;
    PyObject *schema = NULL;
    if (pm_py_args(r->state, "__arrow_c_array__", names, 1, args, count, keywords, &schema) != 0) return NULL;
    pm_arrow_shape shape = {.dim = pomai_rows_dim(r->rows), .documents = r->documents};
    shape.vectors = r->vectors && shape.dim > 0; /* `default` before its first put has no dimension */
    shape.strings = r->scanned ? pomai_rows_ids(r->rows) == NULL : r->ids.ids.u64 == NULL && r->ids.ids.count > 0;
    return pm_arrow_pair(r->state, &shape, r->held);
}

/* ---- Row ---- */

static PyObject *row_id(PyObject *self, void *unused)
{
    (void)unused;
    return id_of(((row_object *)self)->rows, ((row_object *)self)->at);
}

static PyObject *row_vector(PyObject *self, void *unused)
{
    row_object *row = (row_object *)self;
    rows_object *r = row->rows;
    (void)unused;
    if (!r->vectors) return Py_NewRef(Py_None);
    float *vector = (float *)(uintptr_t)pomai_rows_vector(r->rows, row->at);
    return pm_py_array(
        r->state, pm_py_view(r->state, (PyObject *)r, vector, 'f', (Py_ssize_t)pomai_rows_dim(r->rows), -1, false));
}

static PyObject *row_document(PyObject *self, void *unused)
{
    row_object *row = (row_object *)self;
    (void)unused;
    if (!row->rows->documents) return Py_NewRef(Py_None);
    return pm_py_document(pomai_rows_document(row->rows->rows, row->at));
}

static PyObject *row_metadata(PyObject *self, void *unused)
{
    PyObject *document = row_document(self, unused);
    if (document == NULL) return NULL;
    PyObject *metadata = pm_py_help(((row_object *)self)->rows->state, "decode_metadata", document, NULL);
    Py_DECREF(document);
    return metadata;
}

/* Of each row what the Row says; None where no row was found. */
static PyObject *of_each(PyObject *self, PyObject *(*get)(PyObject *row, void *unused))
{
    PyObject *list = PyList_New(rows_length(self));
    for (Py_ssize_t i = 0; list != NULL && i < rows_length(self); i++) {
        PyObject *row = pm_py_rows_item(self, i);
        PyObject *value = row == NULL || row == Py_None ? Py_XNewRef(row) : get(row, NULL);
        Py_XDECREF(row);
        if (value == NULL || PyList_SetItem(list, i, value) != 0) Py_CLEAR(list);
    }
    return list;
}

static PyObject *rows_documents(PyObject *self, void *unused)
{
    (void)unused;
    return of_each(self, row_document);
}

static PyObject *rows_metadata(PyObject *self, void *unused)
{
    (void)unused;
    return of_each(self, row_metadata);
}

static PyObject *row_stamp(PyObject *self, void *unused)
{
    row_object *row = (row_object *)self;
    (void)unused;
    return PyLong_FromUnsignedLongLong(pomai_rows_stamp(row->rows->rows, row->at));
}

static PyObject *row_expiry(PyObject *self, void *unused)
{
    row_object *row = (row_object *)self;
    uint64_t expiry = pomai_rows_expiry(row->rows->rows, row->at);
    (void)unused;
    return expiry == 0 ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(expiry);
}

static PyObject *rows_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<pomai.Rows of %zd ids>", rows_length(self));
}

static PyObject *row_repr(PyObject *self)
{
    PyObject *id = row_id(self, NULL);
    PyObject *text = id == NULL ? NULL : PyUnicode_FromFormat("Row(id=%R)", id);
    Py_XDECREF(id);
    return text;
}

static void row_dealloc(PyObject *self)
{
    Py_XDECREF((PyObject *)((row_object *)self)->rows);
    pm_py_free_object(self);
}

static const char rows_doc[] =
    "What get() found: a sequence of Row, None where no row is, and their vectors as an array.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], ids=[1, 2])\n"
    ">>> rows = db.get([2, 5])\n"
    ">>> list(rows), rows.ids, rows.found, rows.vectors.tolist()\n"
    "([Row(id=2), None], [2, 5], [True, False], [[0.0, 1.0], [nan, nan]])\n";
static const char row_doc[] = "A row as it is stored: id, vector, document, metadata, stamp and expiry.\n\n"
                              ">>> _ = db.add([1, 0], ids=1, metadata={'name': 'apple'})\n"
                              ">>> row = db.get(1)\n"
                              ">>> row.vector.tolist(), row.document, row.metadata['name'], row.expiry\n"
                              "([1.0, 0.0], '{\"name\":\"apple\"}', 'apple', None)\n";
static PyGetSetDef rows_getset[] = {
    {"ids", rows_ids, NULL, "The ids that were asked for, or found by a scan, as a list.", NULL},
    {"found", rows_found, NULL, "For each whether it is there, as a list of bool.", NULL},
    {"vectors", rows_vectors, NULL, "float32 of shape (ids, dim); NaN where no row is. None: not asked for.", NULL},
    {"documents", rows_documents, NULL, "The documents as a list; None where there is none, or no row.", NULL},
    {"metadata", rows_metadata, NULL, "The documents that are JSON objects, as a list of dicts; else None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyGetSetDef row_getset[] = {
    {"id", row_id, NULL, "int or str.", NULL},
    {"vector", row_vector, NULL, "float32 of shape (dim,), without a copy; None: not asked for.", NULL},
    {"document", row_document, NULL, "str (bytes if it is not UTF-8), or None.", NULL},
    {"metadata", row_metadata, NULL, "The document as a dict if it is a JSON object, else None.", NULL},
    {"stamp", row_stamp, NULL, "Its commit stamp, in nanoseconds since 1970.", NULL},
    {"expiry", row_expiry, NULL, "When it vanishes, in nanoseconds since 1970; None: never.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
#define ARROW_DOC                                                                                                      \
    "__arrow_c_array__($self, /, requested_schema=None)\n--\n\nAn Arrow record batch over the engine's memory: "       \
    "pyarrow.record_batch(rows). Nulls where no row was found."
static PyMethodDef rows_methods[] = {
    {"__arrow_c_array__", FAST(rows_arrow), ARROW_DOC},
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef no_pickle[] = {
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot rows_slots[] = {
    {Py_tp_doc, (void *)rows_doc},   {Py_tp_dealloc, (void *)rows_dealloc}, {Py_tp_getset, rows_getset},
    {Py_tp_methods, rows_methods},   {Py_sq_length, (void *)rows_length},   {Py_sq_item, (void *)pm_py_rows_item},
    {Py_tp_repr, (void *)rows_repr}, {Py_tp_new, (void *)pm_py_no_new},     {0, NULL}};
static PyType_Slot row_slots[] = {{Py_tp_doc, (void *)row_doc},
                                  {Py_tp_dealloc, (void *)row_dealloc},
                                  {Py_tp_getset, row_getset},
                                  {Py_tp_methods, no_pickle},
                                  {Py_tp_repr, (void *)row_repr},
                                  {Py_tp_new, (void *)pm_py_no_new},
                                  {0, NULL}};
PyType_Spec pm_py_rows_spec = {"pomai._core.Rows", sizeof(rows_object), 0, Py_TPFLAGS_DEFAULT, rows_slots};
PyType_Spec pm_py_row_spec = {"pomai._core.Row", sizeof(row_object), 0, Py_TPFLAGS_DEFAULT, row_slots};
