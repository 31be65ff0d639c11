/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reserved rows: the engine's own storage, written by the caller. After a commit the engine reads that memory for good,
 * so nobody may write to it any more. While an array over the block is still alive, the rows are therefore put from a
 * copy, and the block's memory stays the array's; else the block is committed without a copy.
 */
#include "core.h"
#include <string.h>

typedef struct {
    PyObject_HEAD pm_py_state *state;
    pm_py_collection *on;
    pomai_block *handle; /* NULL: freed */
    PyObject *ids;
    Py_ssize_t exports, shape[2], strides[2];
    pomai_dtype dtype;
    bool done; /* committed or dropped, or about to be */
    bool busy; /* the engine is reading it */
} block_object;

static void free_handle(block_object *b)
{
    if (b->handle == NULL || b->busy || b->exports > 0 || b->on->db->generation != pm_py_generation()) return;
    pomai_block_free(b->handle);
    b->handle = NULL;
    b->on->db->blocks--;
}

static int block_get(PyObject *self, Py_buffer *buffer, int flags)
{
    static float nothing[1];
    static char formats[][2] = {"f", "f", "e", "b"};
    block_object *b = (block_object *)self;
    buffer->obj = NULL;
    if (b->done) {
        PyErr_SetString(PyExc_BufferError, "the block was committed or dropped: reserve another");
        return -1;
    }
    memset(buffer, 0, sizeof *buffer);
    buffer->obj = Py_NewRef(self);
    buffer->buf = b->handle == NULL ? nothing : pomai_block_vectors(b->handle);
    buffer->itemsize = b->strides[1];
    buffer->len = b->shape[0] * b->strides[0];
    buffer->ndim = 2;
    if (flags & PyBUF_FORMAT) buffer->format = formats[b->dtype];
    if (flags & PyBUF_ND) buffer->shape = b->shape;
    if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES) buffer->strides = b->strides;
    b->exports++;
    return 0;
}

static void block_release(PyObject *self, Py_buffer *buffer)
{
    block_object *b = (block_object *)self;
    (void)buffer;
    b->exports--;
    if (b->done) free_handle(b);
}

PyObject *pm_py_reserve(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"rows", "dim", NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[2] = {NULL};
    uint64_t rows = 0, dim = 0;
    pomai_collection_info info;
    pomai_block *block = NULL;
    pomai_error err = {0};
    pomai_status status = POMAI_OK;
    if (pm_py_args(on->state, "reserve", names, 2, args, count, keywords, given) != 0) return NULL;
    if (given[0] == NULL) return pm_py_refuse_type(on->state, "reserve() needs the number of rows");
    if (pm_py_count_in(on->state, "rows", "1 or more", POMAI_ETOOBIG, given[0], &rows) != 0 ||
        pm_py_count_in(on->state, "dim", "from 1 to 65,536", POMAI_EDIM, given[1], &dim) != 0 || pm_py_begin(on) != 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS if (dim == 0)
    {
        status = pomai_collection_get_info(on->handle, &info, &err);
        dim = status == POMAI_OK ? info.dim : 0;
    }
    if (status == POMAI_OK && dim != 0) status = pomai_reserve(on->handle, rows, dim, &block, &err);
    Py_END_ALLOW_THREADS pm_py_end(on);
    if (status != POMAI_OK) return pm_py_raise(on->state, &err);
    if (dim == 0) return pm_py_refuse(on->state, POMAI_EDIM, "the collection has no dimension yet: give dim=");
    block_object *b = (block_object *)PyType_GenericAlloc(on->state->block, 0);
    if (b == NULL) {
        pomai_block_free(block);
        return NULL;
    }
    b->state = on->state;
    b->on = (pm_py_collection *)Py_NewRef(self);
    b->handle = block;
    b->shape[0] = (Py_ssize_t)rows;
    b->shape[1] = (Py_ssize_t)dim;
    b->dtype = pomai_block_dtype(block);
    b->strides[1] = (Py_ssize_t)pm_py_dtype_size(b->dtype);
    b->strides[0] = b->shape[1] * b->strides[1];
    on->db->blocks++;
    return (PyObject *)b;
}

typedef struct {
    pomai_block *block;
    pomai_collection *collection; /* to put a copy; NULL: commit */
    pomai_batch batch;
    pomai_ack ack;
} commit_call;

static pomai_status try_commit(void *context, uint64_t deadline_us, pomai_error *err)
{
    commit_call *call = context;
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.deadline_us = deadline_us;
    if (call->collection == NULL) return pomai_commit(call->block, NULL, &options, &call->ack, err);
    return pomai_put(call->collection, &call->batch, &options, &call->ack, err);
}

static int commit(block_object *b)
{
    pomai_error err = {0};
    commit_call call = {b->handle, NULL, POMAI_BATCH_INIT, {0}};
    bool raised;
    if (pm_py_begin(b->on) != 0) return -1;
    if (b->exports > 0) {
        call.collection = b->on->handle;
        call.batch.rows = (uint64_t)b->shape[0];
        call.batch.dim = (uint64_t)b->shape[1];
        call.batch.vectors = pomai_block_vectors(b->handle);
        call.batch.dtype = b->dtype;
    }
    b->done = b->busy = true; /* no array is made from here on, and none that goes meanwhile frees it */
    pomai_status status = pm_py_write(b->on, try_commit, &call, UINT64_MAX, &err, &raised);
    b->busy = false;
    pm_py_end(b->on);
    if (raised) return -1;
    if (status != POMAI_OK) {
        pm_py_raise(b->state, &err);
        return -1;
    }
    PyObject *runs = Py_BuildValue("[(KK)]", (unsigned long long)call.ack.first_id, (unsigned long long)b->shape[0]);
    b->ids = runs == NULL ? NULL : pm_py_assigned_ids(b->state, runs, false);
    Py_XDECREF(runs);
    return b->ids == NULL ? -1 : 0;
}

static PyObject *block_enter(PyObject *self, PyObject *none)
{
    (void)none;
    return Py_NewRef(self);
}

static PyObject *block_exit(PyObject *self, PyObject *args)
{
    block_object *b = (block_object *)self;
    PyObject *type = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : Py_None;
    int failed = b->done || type != Py_None ? 0 : commit(b);
    b->done = true;
    free_handle(b);
    return failed != 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *block_vectors(PyObject *self, void *unused)
{
    block_object *b = (block_object *)self;
    (void)unused;
    if (b->done) return pm_py_refuse(b->state, POMAI_EINVAL, "the block was committed or dropped: reserve another");
    return pm_py_array(b->state, Py_NewRef(self));
}

static PyObject *block_ids(PyObject *self, void *unused)
{
    block_object *b = (block_object *)self;
    (void)unused;
    if (b->ids != NULL) return Py_NewRef(b->ids);
    return pm_py_refuse(b->state, POMAI_EINVAL, "ids are assigned at the end of the with statement");
}

static void block_dealloc(PyObject *self)
{
    block_object *b = (block_object *)self;
    if (b->on != NULL) free_handle(b);
    Py_XDECREF(b->ids);
    Py_XDECREF((PyObject *)b->on);
    pm_py_free_object(self);
}

static const char block_doc[] = "Rows reserved in the engine's own storage: fill block.vectors within `with`. They are "
                                "stored at its end, durably;\n"
                                "dropped if an exception leaves it. The array is of no use afterwards.\n\n"
                                ">>> with db.reserve(1000, dim=2) as block:\n"
                                "...     block.vectors[:] = 1\n"
                                ">>> len(db), len(block.ids)\n"
                                "(1000, 1000)\n";
static PyGetSetDef block_getset[] = {
    {"vectors", block_vectors, NULL,
     "Of shape (rows, dim) and the collection's dtype, zeroed, writable: the engine's own storage.", NULL},
    {"ids", block_ids, NULL, "The ids the rows got; after the with statement.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef block_methods[] = {
    {"__enter__", block_enter, METH_NOARGS, NULL},
    {"__exit__", block_exit, METH_VARARGS, NULL},
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot block_slots[] = {
    {Py_tp_doc, (void *)block_doc},       {Py_tp_dealloc, (void *)block_dealloc},
    {Py_tp_getset, block_getset},         {Py_tp_methods, block_methods},
    {Py_bf_getbuffer, (void *)block_get}, {Py_bf_releasebuffer, (void *)block_release},
    {Py_tp_new, (void *)pm_py_no_new},    {0, NULL},
};
PyType_Spec pm_py_block_spec = {"pomai._core.Block", sizeof(block_object), 0, Py_TPFLAGS_DEFAULT, block_slots};
