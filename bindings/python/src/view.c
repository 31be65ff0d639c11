/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a result, as a buffer without a copy. */
#include "core.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    PyObject_HEAD PyObject *owner;
    void *data, *owned;
    char format[2];
    int ndim;
    bool writable;
    Py_ssize_t itemsize, shape[2], strides[2];
} view_object;

static int view_get(PyObject *self, Py_buffer *buffer, int flags)
{
    view_object *v = (view_object *)self;
    if ((flags & PyBUF_WRITABLE) != 0 && !v->writable) {
        PyErr_SetString(PyExc_BufferError, "what a search or get found is read-only; copy it");
        buffer->obj = NULL;
        return -1;
    }
    memset(buffer, 0, sizeof *buffer);
    buffer->obj = Py_NewRef(self);
    buffer->buf = v->data;
    buffer->itemsize = v->itemsize;
    buffer->len = v->itemsize * v->shape[0] * (v->ndim == 2 ? v->shape[1] : 1);
    buffer->readonly = !v->writable;
    buffer->ndim = v->ndim;
    if (flags & PyBUF_FORMAT) buffer->format = v->format;
    if (flags & PyBUF_ND) buffer->shape = v->shape;
    if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES) buffer->strides = v->strides;
    return 0;
}

static void view_dealloc(PyObject *self)
{
    view_object *v = (view_object *)self;
    Py_XDECREF(v->owner);
    free(v->owned);
    pm_py_free_object(self);
}

static view_object *make(pm_py_state *state, char format, Py_ssize_t rows, Py_ssize_t columns)
{
    view_object *v = (view_object *)PyType_GenericAlloc(state->view, 0);
    if (v == NULL) return NULL;
    v->format[0] = format;
    v->itemsize = format == 'f' ? 4 : 8;
    v->ndim = columns < 0 ? 1 : 2;
    v->shape[0] = rows;
    v->shape[1] = columns < 0 ? 1 : columns;
    v->strides[0] = v->itemsize * v->shape[1];
    v->strides[1] = v->itemsize;
    return v;
}

PyObject *pm_py_view(pm_py_state *state, PyObject *owner, void *data, char format, Py_ssize_t rows, Py_ssize_t columns,
                     bool writable)
{
    static double nothing[1];
    view_object *v = make(state, format, rows, columns);
    if (v == NULL) return NULL;
    v->owner = Py_NewRef(owner);
    v->data = data == NULL ? nothing : data;
    v->writable = writable;
    return (PyObject *)v;
}

PyObject *pm_py_view_new(pm_py_state *state, char format, Py_ssize_t rows, Py_ssize_t columns, void **data)
{
    view_object *v = make(state, format, rows, columns);
    if (v == NULL) return NULL;
    v->owned = calloc((size_t)(v->shape[0] * v->shape[1]) + 1, (size_t)v->itemsize);
    v->data = *data = v->owned;
    v->writable = true; /* nobody else has it */
    if (v->owned != NULL) return (PyObject *)v;
    Py_DECREF((PyObject *)v);
    return PyErr_NoMemory();
}

static int find_numpy(pm_py_state *state)
{
    if (state->asarray != NULL) return 0;
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (numpy == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ImportError)) return -1;
        PyErr_Clear();
        state->asarray = Py_NewRef(Py_None);
        return 0;
    }
    state->asarray = PyObject_GetAttrString(numpy, "asarray");
    Py_DECREF(numpy);
    return state->asarray == NULL ? -1 : 0;
}

bool pm_py_has_numpy(pm_py_state *state)
{
    if (find_numpy(state) != 0) PyErr_Clear();
    return state->asarray != NULL && state->asarray != Py_None;
}

PyObject *pm_py_array(pm_py_state *state, PyObject *exporter)
{
    PyObject *array = NULL;
    if (exporter == NULL) return NULL;
    if (find_numpy(state) == 0) {
        if (state->asarray == Py_None)
            array = PyMemoryView_FromObject(exporter);
        else
            array = PyObject_CallFunctionObjArgs(state->asarray, exporter, NULL);
    }
    Py_DECREF(exporter);
    return array;
}

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)"Memory of a result, as a buffer."},
    {Py_tp_dealloc, (void *)view_dealloc},
    {Py_bf_getbuffer, (void *)view_get},
    {Py_tp_new, (void *)pm_py_no_new},
    {0, NULL},
};
PyType_Spec pm_py_view_spec = {"pomai._core.View", sizeof(view_object), 0, Py_TPFLAGS_DEFAULT, view_slots};
