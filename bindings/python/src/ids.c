/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids in: 64-bit unsigned numbers, which are copied, or strings. The engine reads ids several times, and relies on
 * finding the same: unlike a vector, an id must not change under it, whatever other threads do to the array.
 */
#include "core.h"
#include <stdlib.h>
#include <string.h>

/* Times of expiry are numbers of the same kind. */
static bool is_expiry(const char *what)
{
    return strcmp(what, "expiry") == 0;
}

static const char *wanted(const char *what)
{
    return is_expiry(what) ? "ns since 1970 (ints from 0 to 2**64 - 1, or an integer array), datetimes, dates or None"
                           : "ints from 0 to 2**64 - 1 (a list, range or integer array), or a list of str";
}

static pomai_status status_of(const char *what)
{
    return is_expiry(what) ? POMAI_EINVAL : POMAI_EID;
}

void pm_py_ids_release(pm_py_ids *ids)
{
    free(ids->owned);
    free(ids->strings);
    ids->owned = NULL;
    ids->strings = NULL;
    Py_CLEAR(ids->keep);
    Py_CLEAR(ids->kept);
}

PyObject *pm_py_ids_item(const pm_py_ids *ids, size_t i)
{
    if (i >= ids->ids.count) return Py_NewRef(Py_None);
    if (ids->ids.string != NULL) return pm_py_string_id(ids->ids.string[i]);
    return PyLong_FromUnsignedLongLong(ids->ids.u64[i]);
}

static int take_int(pm_py_state *state, const char *what, Py_ssize_t i, PyObject *object, uint64_t *value)
{
    if (pm_py_refuse_masked(state, what, object) != 0) return -1;
    PyObject *number = PyLong_Check(object) ? Py_NewRef(object) : PyNumber_Index(object);
    if (number == NULL) {
        pm_py_refuse_type(state, "%s[%zd] of %R is no number; expected %s", what, i, Py_TYPE(object), wanted(what));
        return -1;
    }
    *value = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (*value != UINT64_MAX || !PyErr_Occurred()) return 0;
    PyErr_Clear();
    pm_py_refuse(state, status_of(what), "%s[%zd] is %U; expected %s", what, i, pm_py_show(state, object),
                 wanted(what));
    return -1;
}

/* Ids that are not UTF-8 come out as str with escapes (pm_py_string_id), and go in the same way; `kept` then holds the
 * bytes. */
static int take_string(pm_py_state *state, const char *what, Py_ssize_t i, PyObject *object, pm_py_ids *ids)
{
    pomai_bytes *out = &ids->strings[i];
    Py_ssize_t size = 0;
    char *data = NULL;
    out->data = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &size) : NULL;
    if (out->data == NULL && PyUnicode_Check(object)) {
        PyErr_Clear();
        object = PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape");
        if (object == NULL) {
            pm_py_refuse(state, status_of(what), "%s[%zd] has characters that are not Unicode", what, i);
            return -1;
        }
        if (ids->kept == NULL) ids->kept = PyList_New(0);
        int failed = ids->kept == NULL ? -1 : PyList_Append(ids->kept, object);
        Py_DECREF(object); /* the list has it */
        if (failed != 0) return -1;
    }
    if (out->data == NULL && PyBytes_AsStringAndSize(object, &data, &size) != 0) return -1;
    if (out->data == NULL) out->data = data;
    out->size = (size_t)size;
    return 0;
}

static bool is_string(PyObject *object)
{
    return PyUnicode_Check(object) || PyBytes_Check(object);
}

static bool is_int(PyObject *object)
{
    return !PyBool_Check(object) && (PyLong_Check(object) || PyIndex_Check(object));
}

/* The items of ids->keep, all of one kind. */
static int take_items(pm_py_state *state, const char *what, pm_py_ids *ids)
{
    Py_ssize_t count = PyTuple_Size(ids->keep);
    bool strings = count > 0 && is_string(PyTuple_GetItem(ids->keep, 0));
    ids->ids.count = (size_t)count;
    if (strings)
        ids->strings = calloc((size_t)count + 1, sizeof *ids->strings);
    else
        ids->owned = calloc((size_t)count + 1, sizeof *ids->owned);
    if (ids->strings == NULL && ids->owned == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GetItem(ids->keep, i);
        if (is_string(item) != strings || (!strings && !is_int(item))) {
            pm_py_refuse_type(state, "%s[%zd] is %R%s; expected %s", what, i, Py_TYPE(item),
                              is_string(item) || is_int(item) ? ", unlike those before it" : "", wanted(what));
            return -1;
        }
        int failed = strings ? take_string(state, what, i, item, ids) : take_int(state, what, i, item, &ids->owned[i]);
        if (failed != 0) return -1;
    }
    ids->ids.string = ids->strings;
    ids->ids.u64 = ids->owned;
    if (!strings) Py_CLEAR(ids->keep);
    return 0;
}

static int take_sequence(pm_py_state *state, const char *what, PyObject *object, pm_py_ids *ids)
{
    ids->keep = PySequence_Tuple(object); /* a tuple, so that no other thread changes it meanwhile */
    if (ids->keep != NULL) return take_items(state, what, ids);
    pm_py_refuse_type(state, "%s is %R; expected %s", what, Py_TYPE(object), wanted(what));
    return -1;
}

static int convert(pm_py_state *state, const char *what, const pm_py_numbers *n, pm_py_ids *ids)
{
    ids->owned = malloc(ids->ids.count * sizeof *ids->owned + 1);
    if (ids->owned == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const bool plain = n->kind == 'u' && n->itemsize == 8 && !n->swapped && pm_py_contiguous(n);
    if (plain && ids->ids.count > 0) memcpy(ids->owned, n->data, ids->ids.count * sizeof *ids->owned);
    for (size_t i = 0; !plain && i < ids->ids.count; i++) {
        const char *at = n->data + (n->ndim == 1 ? (Py_ssize_t)i * n->strides[0] : 0);
        if (pm_py_load_u64(n, at, &ids->owned[i])) continue;
        pm_py_refuse(state, status_of(what), "%s[%zu] is %lld; expected %s", what, i, (long long)ids->owned[i],
                     wanted(what));
        return -1;
    }
    ids->ids.u64 = ids->owned;
    return 0;
}

/* Says what an array holds, as NumPy would. */
static int refuse_array(pm_py_state *state, const char *what, PyObject *array, const char *format)
{
    PyObject *dtype = PyObject_GetAttrString(array, "dtype");
    if (dtype == NULL) PyErr_Clear();
    if (dtype != NULL)
        pm_py_refuse_type(state, "%s is an array of %S; expected %s", what, dtype, wanted(what));
    else
        pm_py_refuse_type(state, "%s is an array of format '%.20s'; expected %s", what, format, wanted(what));
    Py_XDECREF(dtype);
    return -1;
}

static int take_numbers(pm_py_state *state, const char *what, PyObject *array, const Py_buffer *b, pm_py_ids *ids)
{
    pm_py_numbers n = {.data = b->buf, .ndim = b->ndim};
    pm_py_format(b->format, b->itemsize, &n);
    if (n.kind != 'i' && n.kind != 'u') return refuse_array(state, what, array, b->format);
    if (b->ndim > 1) {
        pm_py_refuse(state, POMAI_EINVAL, "%s has %d dimensions; expected one", what, b->ndim);
        return -1;
    }
    ids->single = b->ndim == 0;
    ids->ids.count = b->ndim == 0 ? 1 : (size_t)b->shape[0];
    if (b->ndim == 1) {
        n.shape[0] = b->shape[0];
        n.strides[0] = b->strides != NULL ? b->strides[0] : b->itemsize; /* ctypes has none */
    }
    return convert(state, what, &n, ids);
}

static int take_buffer(pm_py_state *state, const char *what, PyObject *object, pm_py_ids *ids)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(object, &buffer, PyBUF_RECORDS_RO) != 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_BufferError)) return -1;
        PyErr_Clear(); /* dates, or NumPy's strings of any length */
        if (pm_py_refuse_times(state, what, object, NULL, wanted(what)) != 0) return -1;
        return take_sequence(state, what, object, ids);
    }
    const char *format = buffer.format == NULL ? "B" : buffer.format;
    if (pm_py_refuse_times(state, what, object, format, wanted(what)) != 0) {
        PyBuffer_Release(&buffer);
        return -1;
    }
    char last = *format == '\0' ? '\0' : format[strlen(format) - 1];
    bool numbers = last != 'w' && last != 'O' && last != 's';
    int failed = numbers ? take_numbers(state, what, object, &buffer, ids) : 0;
    PyBuffer_Release(&buffer);
    if (numbers) return failed;
    PyObject *list = PyObject_CallMethod(object, "tolist", NULL); /* strings, or Python objects */
    failed = list == NULL ? -1 : take_sequence(state, what, list, ids);
    Py_XDECREF(list);
    return failed;
}

static int take_any(pm_py_state *state, const char *what, PyObject *object, pm_py_ids *ids)
{
    if (is_string(object) || (PyLong_Check(object) && !PyBool_Check(object))) {
        ids->single = true;
        ids->keep = PyTuple_Pack(1, object);
        return ids->keep == NULL ? -1 : take_items(state, what, ids);
    }
    if (PyObject_CheckBuffer(object) && !PyByteArray_Check(object)) return take_buffer(state, what, object, ids);
    if (is_int(object)) {
        ids->single = true;
        ids->keep = PyTuple_Pack(1, object);
        return ids->keep == NULL ? -1 : take_items(state, what, ids);
    }
    if (!PyDict_Check(object) && !PyByteArray_Check(object) && !PyBool_Check(object))
        return take_sequence(state, what, object, ids);
    pm_py_refuse_type(state, "%s is %R; expected %s", what, Py_TYPE(object), wanted(what));
    return -1;
}

int pm_py_ids_take(pm_py_state *state, const char *what, PyObject *object, pm_py_ids *out)
{
    memset(out, 0, sizeof *out);
    if (pm_py_refuse_masked(state, what, object) != 0) return -1;
    if (take_any(state, what, object, out) == 0) return 0;
    pm_py_ids_release(out);
    return -1;
}
