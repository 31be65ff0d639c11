/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors in: borrowed when they are float32 row after row, else converted once. */
#include "arrow.h"
#include <stdlib.h>
#include <string.h>

#define WANTED "float32 of shape (n, dim), or (dim,) for one vector"

/* DLPack, as its specification lays it out. */
typedef struct {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t ndim;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} dl_tensor;

enum { DL_CPU = 1, DL_CUDA_HOST = 3, DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2 };

void pm_py_vectors_release(pm_py_vectors *v)
{
    if (v->borrowed) PyBuffer_Release(&v->buffer);
    v->borrowed = false;
    free(v->owned);
    v->owned = NULL;
    Py_CLEAR(v->keep);
}

static void *allocate(uint64_t rows, uint64_t dim, size_t size)
{
    if (dim != 0 && rows > (uint64_t)PY_SSIZE_T_MAX / size / dim) {
        PyErr_NoMemory();
        return NULL;
    }
    void *memory = malloc(rows * dim * size + 1);
    if (memory == NULL) PyErr_NoMemory();
    return memory;
}

size_t pm_py_dtype_size(pomai_dtype dtype)
{
    return dtype == POMAI_DTYPE_INT8 ? 1 : dtype == POMAI_DTYPE_FLOAT16 ? 2 : sizeof(float);
}

bool pm_py_is_dtype(const pm_py_numbers *n, pomai_dtype dtype)
{
    const char kind = dtype == POMAI_DTYPE_INT8 ? 'i' : 'f';
    const size_t size = pm_py_dtype_size(dtype);
    return n->kind == kind && n->itemsize == (Py_ssize_t)size && (!n->swapped || size == 1);
}

static void convert_row(const pm_py_numbers *n, const char *at, Py_ssize_t stride, Py_ssize_t dim, float *to)
{
    if (n->kind == 'f' && n->itemsize == 8 && !n->swapped) { /* what Python and NumPy make when nothing is said */
        for (Py_ssize_t j = 0; j < dim; j++, at += stride) {
            double value;
            memcpy(&value, at, sizeof value);
            to[j] = (float)value;
        }
        return;
    }
    for (Py_ssize_t j = 0; j < dim; j++, at += stride)
        to[j] = (float)pm_py_load_double(n, at);
}

/* Borrows or converts; the memory of n stays exported until release. */
static int take_numbers(const pm_py_numbers *n, pm_py_vectors *out)
{
    Py_ssize_t dim = n->shape[n->ndim - 1], rows = n->ndim == 2 ? n->shape[0] : 1;
    out->rows = (uint64_t)rows;
    out->dim = (uint64_t)dim;
    out->single = n->ndim == 1;
    out->dtype = pm_py_is_dtype(n, out->narrow) ? out->narrow : POMAI_DTYPE_FLOAT32;
    const bool aligned = (uintptr_t)n->data % pm_py_dtype_size(out->dtype) == 0;
    if (pm_py_is_dtype(n, out->dtype) && aligned && pm_py_contiguous(n)) {
        out->data = n->data;
        return 0;
    }
    out->dtype = POMAI_DTYPE_FLOAT32; /* the engine converts it back, exactly */
    float *owned = allocate(out->rows, out->dim, sizeof(float));
    if (owned == NULL) return -1;
    out->data = out->owned = owned;
    Py_BEGIN_ALLOW_THREADS for (Py_ssize_t i = 0; i < rows; i++)
        convert_row(n, n->data + (n->ndim == 2 ? i * n->strides[0] : 0), n->strides[n->ndim - 1], dim, owned + i * dim);
    Py_END_ALLOW_THREADS return 0;
}

int pm_py_refuse_masked(pm_py_state *state, const char *what, PyObject *object)
{
    if (PyList_CheckExact(object) || PyLong_CheckExact(object) || PyUnicode_CheckExact(object) ||
        Py_TYPE(object) == state->unmasked)
        return 0;
    if (PyObject_HasAttrString(object, "filled") && PyObject_HasAttrString(object, "mask")) {
        pm_py_refuse_type(
            state, "%s is a masked array; expected one without a mask: its filled(), or what is not masked", what);
        return -1;
    }
    PyTypeObject *last = state->unmasked;
    state->unmasked = (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(object));
    Py_XDECREF((PyObject *)last);
    return 0;
}

int pm_py_refuse_times(pm_py_state *state, const char *what, PyObject *object, const char *format, const char *wanted)
{
    PyObject *type, *value, *trace;
    if (format != NULL && strcmp(format, "B") != 0) return 0;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *dtype = PyObject_GetAttrString(object, "dtype");
    PyObject *kind = dtype == NULL ? NULL : PyObject_GetAttrString(dtype, "kind");
    const bool text = kind != NULL && PyUnicode_Check(kind);
    const bool moment = text && PyUnicode_CompareWithASCIIString(kind, "M") == 0;
    const bool span = text && PyUnicode_CompareWithASCIIString(kind, "m") == 0;
    PyErr_Restore(type, value, trace); /* instead of what the two raised */
    if ((moment || span) && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_ValueError))
        PyErr_Clear(); /* "cannot include dtype 'M' in a buffer" says less */
    if (moment || span)
        pm_py_refuse_type(state, "%s is %R of %S, %s; expected %s", what, Py_TYPE(object), dtype,
                          moment ? "a time and no number" : "a span of time and no number", wanted);
    Py_XDECREF(kind);
    Py_XDECREF(dtype);
    return moment || span ? -1 : 0;
}

/* Items that are no numbers which a float32 could be of, in words; the format is of the buffer protocol. */
static void refuse_format(pm_py_state *state, const char *what, const char *format)
{
    static const char *const words[][2] = {
        {"Zf", "complex64"},   {"Zd", "complex128"}, {"Zg", "complex longdouble"}, {"w", "str"},     {"s", "bytes"},
        {"x", "void (bytes)"}, {"}", "records"},     {"c", "characters"},          {"O", "objects"},
    };
    const size_t size = strlen(format);
    const char *word = NULL;
    for (size_t i = 0; word == NULL && i < sizeof words / sizeof words[0]; i++) {
        const size_t tail = strlen(words[i][0]);
        if (size >= tail && strcmp(format + size - tail, words[i][0]) == 0) word = words[i][1];
    }
    if (size > 0 && format[size - 1] == 'g' && word == NULL)
        pm_py_refuse_type(state, "%s holds longdouble; expected " WANTED ": astype('float32') makes it so", what);
    else if (word != NULL && strstr(format, "Z") != NULL && *format != 'T')
        pm_py_refuse_type(state, "%s holds %s, which are no real numbers; expected " WANTED, what, word);
    else if (word != NULL)
        pm_py_refuse_type(state, "%s holds %s, which are no numbers; expected " WANTED, what, word);
    else
        pm_py_refuse_type(state, "%s holds items of the format '%.30s'; expected " WANTED ": convert it before", what,
                          format);
}

static int check_numbers(pm_py_state *state, const char *what, int ndim, const char *format, char kind)
{
    if (ndim == 0)
        pm_py_refuse(state, POMAI_EINVAL, "%s is one number (0 dimensions); expected " WANTED, what);
    else if (ndim > 2)
        pm_py_refuse(state, POMAI_EINVAL, "%s has %d dimensions; expected " WANTED, what, ndim);
    else if (kind == '?')
        pm_py_refuse_type(state, "%s holds bools; expected " WANTED, what);
    else if (kind == 0)
        refuse_format(state, what, format);
    else
        return 0;
    return -1;
}

static int take_any(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out);
static int take_list(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out);

static int take_buffer(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out)
{
    if (PyObject_GetBuffer(object, &out->buffer, PyBUF_RECORDS_RO) != 0) {
        if (pm_py_refuse_times(state, what, object, NULL, WANTED) != 0) return -1;
        pm_py_refuse_type(state, "%s: the memory of %R cannot be borrowed; expected " WANTED, what, Py_TYPE(object));
        return -1;
    }
    out->borrowed = true;
    const Py_buffer *b = &out->buffer;
    if (pm_py_refuse_times(state, what, object, b->format == NULL ? "B" : b->format, WANTED) != 0) return -1;
    pm_py_numbers n = {.data = b->buf, .ndim = b->ndim};
    pm_py_format(b->format, b->itemsize, &n);
    if (n.kind == 0 && b->format != NULL && strcmp(b->format, "O") == 0 && b->ndim > 0) {
        PyObject *list = PyObject_CallMethod(object, "tolist", NULL);
        int failed = list == NULL ? -1 : take_list(state, what, list, out);
        Py_XDECREF(list);
        return failed;
    }
    if (check_numbers(state, what, b->ndim, b->format == NULL ? "B" : b->format, n.kind) != 0) return -1;
    Py_ssize_t step = b->itemsize;
    for (int i = b->ndim - 1; i >= 0; i--) {
        n.shape[i] = b->shape[i];
        n.strides[i] = b->strides != NULL ? b->strides[i] : step; /* ctypes has none */
        step *= b->shape[i];
    }
    return take_numbers(&n, out);
}

static int take_tensor(pm_py_state *state, const char *what, const dl_tensor *t, pm_py_vectors *out)
{
    static const char kinds[] = {'i', 'u', 'f'};
    if (t->device.type != DL_CPU && t->device.type != DL_CUDA_HOST) {
        pm_py_refuse(state, POMAI_EINVAL, "%s is in the memory of another device; move it to the CPU", what);
        return -1;
    }
    pm_py_numbers n = {.data = (const char *)t->data + t->byte_offset, .ndim = t->ndim, .itemsize = t->dtype.bits / 8};
    bool known = t->dtype.code <= DL_FLOAT && t->dtype.lanes == 1 && t->dtype.bits >= 8 && t->dtype.bits <= 64;
    n.kind = known && !(t->dtype.code == DL_FLOAT && t->dtype.bits == 8) ? kinds[t->dtype.code] : 0;
    if (t->dtype.code == 6) n.kind = '?';
    if (check_numbers(state, what, t->ndim, "unknown", n.kind) != 0) return -1;
    for (int i = 0; i < t->ndim; i++) {
        n.shape[i] = (Py_ssize_t)t->shape[i];
        n.strides[i] = (Py_ssize_t)(t->strides != NULL ? t->strides[i]
                                    : i + 1 == t->ndim ? 1
                                                       : t->shape[t->ndim - 1]) *
                       n.itemsize;
    }
    return take_numbers(&n, out);
}

static int refuse_tensor(pm_py_state *state, const char *what, PyObject *object)
{
    pm_py_refuse_type(state, "%s: the tensor of %R cannot be borrowed; expected " WANTED, what, Py_TYPE(object));
    return -1;
}

/* The capsule is kept and not marked as used: its own destructor then gives the tensor back. */
static int take_dlpack(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out)
{
    PyObject *place = PyObject_CallMethod(object, "__dlpack_device__", NULL);
    PyObject *first = place == NULL ? NULL : PySequence_GetItem(place, 0);
    Py_XDECREF(place);
    long device = first == NULL ? -1 : PyLong_AsLong(first);
    Py_XDECREF(first);
    if (device == -1 && PyErr_Occurred()) return refuse_tensor(state, what, object);
    if (device != DL_CPU && device != DL_CUDA_HOST) {
        pm_py_refuse(state, POMAI_EINVAL, "%s is in the memory of another device (DLPack type %ld); move it to the CPU",
                     what, device);
        return -1;
    }
    out->keep = PyObject_CallMethod(object, "__dlpack__", NULL);
    const dl_tensor *tensor = out->keep == NULL ? NULL : PyCapsule_GetPointer(out->keep, "dltensor");
    return tensor == NULL ? refuse_tensor(state, what, object) : take_tensor(state, what, tensor, out);
}

/* One number of a list; false when it is none, with what it raised itself set. */
static bool list_number(PyObject *item, float *value)
{
    if (PyFloat_Check(item)) {
        *value = (float)PyFloat_AsDouble(item);
        return true;
    }
    if (PyBool_Check(item) || PyUnicode_Check(item)) return false;
    double number = PyFloat_AsDouble(item);
    if (number == -1 && PyErr_Occurred()) return false;
    *value = (float)number;
    return true;
}

/* Fills one row of `dim` numbers from a sequence; `row` < 0: of the only vector. */
static int fill_row(pm_py_state *state, const char *what, PyObject *items, Py_ssize_t dim, Py_ssize_t row, float *to)
{
    for (Py_ssize_t j = 0; j < dim; j++) {
        PyObject *item = PyTuple_GetItem(items, j);
        if (list_number(item, &to[j])) continue;
        const bool large = PyErr_Occurred() != NULL && PyErr_ExceptionMatches(PyExc_OverflowError);
        PyObject *shown = large ? pm_py_show(state, item) : NULL;
        if (large) PyErr_Clear();
        if (large && row < 0)
            pm_py_refuse(state, POMAI_EINVAL, "%s[%zd] is %U, which is beyond float32", what, j, shown);
        else if (large)
            pm_py_refuse(state, POMAI_EINVAL, "%s[%zd][%zd] is %U, which is beyond float32", what, row, j, shown);
        else if (row < 0)
            pm_py_refuse_type(state, "%s[%zd] is %R, not a number; expected " WANTED, what, j, Py_TYPE(item));
        else
            pm_py_refuse_type(state, "%s[%zd][%zd] is %R, not a number; expected " WANTED, what, row, j, Py_TYPE(item));
        return -1;
    }
    return 0;
}

/* Row i of a list: a list of numbers, or anything that is one vector. */
static int list_row(pm_py_state *state, const char *what, PyObject *item, Py_ssize_t i, pm_py_vectors *out)
{
    pm_py_vectors row = {.row = true, .dtype = POMAI_DTYPE_FLOAT32, .narrow = POMAI_DTYPE_FLOAT32};
    PyObject *numbers = NULL;
    int failed = -1;
    Py_ssize_t dim = 0;
    if (PyList_Check(item) || PyTuple_Check(item)) {
        numbers = PySequence_Tuple(item);
        if (numbers == NULL) {
            pm_py_refuse_type(state, "%s[%zd] of %R cannot be read; expected " WANTED, what, i, Py_TYPE(item));
            return -1;
        }
        dim = PyTuple_Size(numbers);
    } else {
        if (pm_py_refuse_masked(state, what, item) != 0 || take_any(state, what, item, &row) != 0) goto end;
        if (!row.single) {
            pm_py_refuse(state, POMAI_EINVAL, "%s[%zd] is not one vector; expected " WANTED, what, i);
            goto end;
        }
        dim = (Py_ssize_t)row.dim;
    }
    if (i == 0) {
        out->dim = (uint64_t)dim;
        out->owned = allocate(out->rows, out->dim, sizeof(float));
        if (out->owned == NULL) goto end;
    } else if ((uint64_t)dim != out->dim) {
        pm_py_refuse(state, POMAI_EDIM, "%s is ragged: row %zd has %zd numbers, row 0 has %llu", what, i, dim,
                     (unsigned long long)out->dim);
        goto end;
    }
    float *to = (float *)out->owned + (uint64_t)i * out->dim;
    if (numbers != NULL)
        failed = fill_row(state, what, numbers, dim, i, to);
    else {
        memcpy(to, row.data, (size_t)dim * sizeof(float));
        failed = 0;
    }
end:
    Py_XDECREF(numbers);
    pm_py_vectors_release(&row);
    return failed;
}

/* Whether an item of a list is a row, and not a number: it has a length. Arrays of one number are rows, too. */
static bool is_row(PyObject *item)
{
    if (PyList_Check(item) || PyTuple_Check(item)) return true;
    if (PyFloat_Check(item) || PyLong_Check(item) || PyUnicode_Check(item)) return false;
    if (PyObject_HasAttrString(item, "__dlpack__") && !PyObject_CheckBuffer(item)) return true;
    Py_ssize_t length = PyObject_Size(item);
    if (length < 0) PyErr_Clear();
    return length >= 0;
}

static int take_list(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out)
{
    PyObject *items = PySequence_Tuple(object); /* a tuple, so that no other thread changes it meanwhile */
    if (items == NULL) {
        pm_py_refuse_type(state, "%s of %R cannot be read; expected " WANTED, what, Py_TYPE(object));
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(items);
    int failed = 0;
    bool nested = count > 0 && is_row(PyTuple_GetItem(items, 0));
    out->rows = 1;
    out->single = !nested;
    if (count == 0) {
        failed = -1;
        pm_py_refuse(state, POMAI_EINVAL, "%s is empty; expected " WANTED, what);
    } else if (nested && out->row) { /* an array of objects may hold itself */
        failed = -1;
        pm_py_refuse(state, POMAI_EINVAL, "%s is nested too deeply; expected " WANTED, what);
    } else if (nested) {
        out->rows = (uint64_t)count;
        for (Py_ssize_t i = 0; failed == 0 && i < count; i++)
            failed = list_row(state, what, PyTuple_GetItem(items, i), i, out);
    } else {
        out->dim = (uint64_t)count;
        out->owned = allocate(1, out->dim, sizeof(float));
        failed = out->owned == NULL ? -1 : fill_row(state, what, items, count, -1, out->owned);
    }
    Py_DECREF(items);
    out->data = out->owned;
    return failed;
}

static int take_any(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out)
{
    if (!PyBytes_Check(object) && !PyByteArray_Check(object) && !PyUnicode_Check(object)) {
        if (PyObject_CheckBuffer(object)) return take_buffer(state, what, object, out);
        if (PyList_Check(object) || PyTuple_Check(object)) return take_list(state, what, object, out);
        int none = pm_arrow_vectors(state, what, object, out);
        if (none <= 0) return none;
        if (PyObject_HasAttrString(object, "__dlpack__")) return take_dlpack(state, what, object, out);
        if (PyObject_HasAttrString(object, "__array__")) { /* data frames and the like */
            PyObject *array = PyObject_CallMethod(object, "__array__", NULL);
            int failed = array != NULL && PyObject_CheckBuffer(array) ? take_buffer(state, what, array, out) : -1;
            bool refused = array != NULL && PyErr_Occurred() != NULL;
            Py_XDECREF(array); /* the buffer keeps it */
            if (failed == 0 || refused) return failed;
        }
    }
    pm_py_refuse_type(state, "%s is %R; expected " WANTED ": an array, a buffer, a DLPack tensor or lists of numbers",
                      what, Py_TYPE(object));
    return -1;
}

int pm_py_vectors_take(pm_py_state *state, const char *what, PyObject *object, pomai_dtype narrow, pm_py_vectors *out)
{
    *out = (pm_py_vectors){.dtype = POMAI_DTYPE_FLOAT32, .narrow = narrow};
    if (PyAnySet_Check(object)) { /* no order that rows could go by */
        pm_py_refuse_type(state, "%s is a set, which has no order; expected a list or an array", what);
        return -1;
    }
    if (pm_py_refuse_masked(state, what, object) != 0) return -1;
    if (take_any(state, what, object, out) == 0) return 0;
    pm_py_vectors_release(out);
    return -1;
}
