/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a filter. Most are small trees of plain objects: these are written here. All else is left to Python's
 * json, which says what is wrong with it: subclasses, whole numbers of more than 64 bits, strings that need an escape.
 */
#include "core.h"
#include <math.h>
#include <string.h>

enum { MOST_TEXT = 512, MOST_DEPTH = 16 };

typedef struct {
    PyObject *made; /* the type of what FilterOp makes */
    size_t size;
    char text[MOST_TEXT];
} writer;

static bool add(writer *w, const char *text, size_t size)
{
    if (size > MOST_TEXT - w->size) return false;
    memcpy(w->text + w->size, text, size);
    w->size += size;
    return true;
}

static bool add_string(writer *w, PyObject *object)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(object, &size);
    if (text == NULL) {
        PyErr_Clear(); /* half a surrogate pair; or no memory, which comes again */
        return false;
    }
    for (Py_ssize_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == '"' || text[i] == '\\') return false;
    return add(w, "\"", 1) && add(w, text, (size_t)size) && add(w, "\"", 1);
}

static bool add_number(writer *w, PyObject *object)
{
    char digits[32], *first = digits + sizeof digits;
    int beyond = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &beyond);
    unsigned long long left = value < 0 ? 0 - (unsigned long long)value : (unsigned long long)value;
    if (beyond != 0) return false;
    do { /* snprintf takes a tenth of what a small search does */
        *--first = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) *--first = '-';
    return add(w, first, (size_t)(digits + sizeof digits - first));
}

/* As float.__repr__ has it. */
static bool add_fraction(writer *w, PyObject *object)
{
    const double value = PyFloat_AsDouble(object);
    if (!isfinite(value)) return false;
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) PyErr_Clear();
    const bool good = text != NULL && add(w, text, strlen(text));
    PyMem_Free(text);
    return good;
}

static bool add_value(writer *w, PyObject *object, int depth);

static bool add_members(writer *w, PyObject *object, int depth)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    bool good = add(w, "{", 1);
    for (int i = 0; good && PyDict_Next(object, &at, &key, &value); i++)
        good = (i == 0 || add(w, ",", 1)) && PyUnicode_CheckExact(key) && add_string(w, key) && add(w, ":", 1) &&
               add_value(w, value, depth);
    return good && add(w, "}", 1);
}

static bool add_elements(writer *w, PyObject *list, int depth)
{
    bool good = add(w, "[", 1);
    for (Py_ssize_t i = 0; good && i < PyList_Size(list); i++)
        good = (i == 0 || add(w, ",", 1)) && add_value(w, PyList_GetItem(list, i), depth);
    return good && add(w, "]", 1);
}

static bool add_tree_of(writer *w, PyObject *filter, int depth)
{
    PyObject *tree = PyObject_GetAttrString(filter, "_tree");
    if (tree == NULL) PyErr_Clear();
    const bool good = tree != NULL && add_value(w, tree, depth);
    Py_XDECREF(tree);
    return good;
}

/* Runs none of the caller's code, so what is gone through stays as it is. As deep as the tree, at most MOST_DEPTH. */
static bool add_value(writer *w, PyObject *object, int depth)
{
    if (depth > MOST_DEPTH) return false;
    if (PyUnicode_CheckExact(object)) return add_string(w, object);
    if (PyDict_CheckExact(object)) return add_members(w, object, depth + 1);
    if (PyLong_CheckExact(object)) return add_number(w, object);
    if (PyFloat_CheckExact(object)) return add_fraction(w, object);
    if (PyList_CheckExact(object)) return add_elements(w, object, depth + 1);
    if (object == Py_None) return add(w, "null", 4);
    if (object == Py_True) return add(w, "true", 4);
    if (object == Py_False) return add(w, "false", 5);
    return (PyObject *)Py_TYPE(object) == w->made && add_tree_of(w, object, depth + 1);
}

/* NULL: without an exception, if it is left to Python. */
static PyObject *write_plain(pm_py_state *state, PyObject *object)
{
    if (state->filter == NULL) state->filter = pm_py_helper(state, "Filter");
    if (state->filter == NULL) return NULL;
    writer w = {.made = state->filter};
    if (!PyDict_CheckExact(object) && (PyObject *)Py_TYPE(object) != w.made) return NULL;
    return add_value(&w, object, 0) ? PyBytes_FromStringAndSize(w.text, (Py_ssize_t)w.size) : NULL;
}

int pm_py_filters(pm_py_state *state, PyObject *object, PyObject **kept, const char **filter, size_t *size)
{
    char *text;
    Py_ssize_t length;
    *kept = NULL;
    if (object == NULL || object == Py_None) return 0;
    *kept = write_plain(state, object);
    if (*kept == NULL && !PyErr_Occurred()) *kept = pm_py_help(state, "encode_filters", object, NULL);
    if (*kept == NULL || PyBytes_AsStringAndSize(*kept, &text, &length) != 0) return -1;
    *filter = text;
    *size = (size_t)length;
    return 0;
}
