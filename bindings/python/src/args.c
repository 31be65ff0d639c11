/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of fast calls, and the options that are words and numbers. */
#include "core.h"
#include <math.h>
#include <string.h>

static Py_ssize_t find_name(const char *const *names, PyObject *name)
{
    for (Py_ssize_t i = 0; names[i] != NULL; i++)
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0) return i;
    return -1;
}

/* Names that others have for the same. */
static const char *usual_name(const char *const *names, PyObject *name)
{
    static const char *const words[][2] = {
        {"where", "filters"},      {"filter", "filters"},   {"top_k", "k"},           {"limit", "k"},
        {"n_results", "k"},        {"query", "vectors"},    {"queries", "vectors"},   {"embeddings", "vectors"},
        {"metadatas", "metadata"}, {"payload", "metadata"}, {"payloads", "metadata"}, {"id", "ids"},
        {"document", "documents"}, {"distance", "metric"},  {"dimension", "dim"},     {"timeout", "deadline_ms"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (PyUnicode_CompareWithASCIIString(name, words[i][0]) != 0) continue;
        for (const char *const *known = names; *known != NULL; known++)
            if (strcmp(*known, words[i][1]) == 0) return *known;
    }
    return NULL;
}

static void refuse_name(pm_py_state *state, const char *function, const char *const *names, PyObject *name)
{
    const char *usual = usual_name(names, name);
    PyObject *known = usual == NULL ? PyList_New(0) : NULL, *hint = NULL;
    for (int i = 0; known != NULL && names[i] != NULL; i++) {
        PyObject *one = PyUnicode_FromString(names[i]);
        if (one == NULL || PyList_Append(known, one) != 0) Py_CLEAR(known);
        Py_XDECREF(one);
    }
    if (usual != NULL)
        hint = PyUnicode_FromFormat("; there is %s=", usual);
    else if (known != NULL)
        hint = pm_py_help(state, "near_argument", name, known, NULL);
    if (hint != NULL) pm_py_refuse_type(state, "%s() has no argument '%U'%U", function, name, hint);
    Py_XDECREF(known);
    Py_XDECREF(hint);
}

int pm_py_args(pm_py_state *state, const char *function, const char *const *names, Py_ssize_t positional,
               PyObject *const *args, Py_ssize_t count, PyObject *keywords, PyObject **out)
{
    if (count > positional) {
        pm_py_refuse_type(state, "%s() takes at most %zd arguments without a name (%zd given)", function, positional,
                          count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        out[i] = args[i];
    Py_ssize_t named = keywords == NULL ? 0 : PyTuple_Size(keywords);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(keywords, i);
        Py_ssize_t at = find_name(names, name);
        if (at < 0) {
            refuse_name(state, function, names, name);
            return -1;
        }
        if (out[at] != NULL) {
            pm_py_refuse_type(state, "%s() got '%U' twice", function, name);
            return -1;
        }
        out[at] = args[count + i];
    }
    return 0;
}

const char *pm_py_text(pm_py_state *state, const char *what, PyObject *object)
{
    Py_ssize_t size = 0;
    if (!PyUnicode_Check(object)) {
        pm_py_refuse_type(state, "%s is a str, not %R", what, Py_TYPE(object));
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(object, &size);
    if (text == NULL) {
        pm_py_refuse(state, POMAI_EINVAL, "%s has characters that are not Unicode", what);
        return NULL;
    }
    if (strlen(text) != (size_t)size) {
        pm_py_refuse(state, POMAI_EINVAL, "%s has a NUL character in it", what);
        return NULL;
    }
    return text;
}

PyObject *pm_py_path(pm_py_state *state, PyObject *object)
{
    PyObject *bytes = NULL;
    if (PyUnicode_FSConverter(object, &bytes)) return bytes;
    if (PyErr_ExceptionMatches(PyExc_ValueError)) { /* NUL, or characters that are not Unicode */
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        PyObject *shown = pm_py_show(state, value != NULL ? value : object);
        PyErr_Restore(type, value, trace);
        return pm_py_refuse(state, POMAI_EINVAL, "the path cannot be one: %U", shown);
    }
    return pm_py_refuse_type(state, "a path is a str, bytes or os.PathLike, not %R", Py_TYPE(object));
}

int pm_py_word(pm_py_state *state, const char *what, PyObject *object, const char *const *words)
{
    const char *text = pm_py_text(state, what, object);
    if (text == NULL) return -1;
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0) return i;
    char list[200] = "";
    for (int i = 0; words[i] != NULL; i++) {
        if (i > 0) strncat(list, ", ", sizeof list - strlen(list) - 1);
        strncat(list, words[i], sizeof list - strlen(list) - 1);
    }
    pm_py_refuse(state, POMAI_EINVAL, "%s is one of %s, not '%.80s'", what, list, text);
    return -1;
}

int pm_py_durability(pm_py_state *state, PyObject *object, pomai_durability *value)
{
    static const char *const words[] = {"default", "os", "group", "sync", NULL};
    if (object == NULL || object == Py_None) return 0;
    int found = pm_py_word(state, "durability", object, words);
    if (found < 0) return -1;
    *value = (pomai_durability)found;
    return 0;
}

int pm_py_mode(pm_py_state *state, PyObject *object, pomai_read_mode *mode)
{
    static const char *const words[] = {"latest", "bounded", NULL};
    if (object == NULL || object == Py_None) return 0;
    int found = pm_py_word(state, "mode", object, words);
    if (found < 0) return -1;
    *mode = (pomai_read_mode)found;
    return 0;
}

int pm_py_deadline(pm_py_state *state, PyObject *object, uint64_t *microseconds)
{
    if (object == NULL || object == Py_None) return 0;
    double ms = PyBool_Check(object) ? -1 : PyFloat_AsDouble(object);
    if (ms == -1 && PyErr_Occurred() &&
        PyErr_ExceptionMatches(PyExc_OverflowError)) { /* an int of 309 digits or more */
        PyErr_Clear();
        PyObject *zero = PyLong_FromLong(0);
        ms = zero != NULL && PyObject_RichCompareBool(object, zero, Py_GT) == 1 ? (double)INFINITY : -2;
        Py_XDECREF(zero);
    }
    if (ms == -1 && (PyErr_Occurred() || PyBool_Check(object))) {
        pm_py_refuse_type(state, "deadline_ms is a number of milliseconds or None, not %R", Py_TYPE(object));
        return -1;
    }
    if (!(ms >= 0)) {
        pm_py_refuse(state, POMAI_EINVAL, "deadline_ms is 0 or more, not %U", pm_py_show(state, object));
        return -1;
    }
    *microseconds = ms * 1000 >= 9e18 ? UINT64_MAX : (uint64_t)(ms * 1000);
    return 0;
}

int pm_py_bool(pm_py_state *state, const char *what, PyObject *object, bool *value)
{
    if (object == NULL || object == Py_None) return 0;
    int truth = PyObject_IsTrue(object);
    if (truth < 0) {
        pm_py_refuse_type(state, "%s is True or False, not %R", what, Py_TYPE(object));
        return -1;
    }
    *value = truth != 0;
    return 0;
}

int pm_py_count(pm_py_state *state, const char *what, PyObject *object, uint64_t *value)
{
    return pm_py_count_in(state, what, "from 0 to 2**64 - 1", POMAI_EINVAL, object, value);
}

int pm_py_count_in(pm_py_state *state, const char *what, const char *range, pomai_status above, PyObject *object,
                   uint64_t *value)
{
    if (object == NULL || object == Py_None) return 0;
    PyObject *index = PyBool_Check(object) ? NULL : PyNumber_Index(object);
    if (index == NULL) {
        if (!PyIndex_Check(object)) PyErr_Clear(); /* says no more */
        pm_py_refuse_type(state, "%s is a whole number, not %R", what, Py_TYPE(object));
        return -1;
    }
    int beyond = 0;
    const long long number = PyLong_AsLongLongAndOverflow(index, &beyond);
    *value = beyond > 0 ? PyLong_AsUnsignedLongLong(index) : (uint64_t)number;
    Py_DECREF(index);
    const bool negative = beyond < 0 || (beyond == 0 && number < 0), large = PyErr_Occurred() != NULL;
    if (!negative && !large) return 0;
    PyErr_Clear();
    if (negative && above == POMAI_ETOOBIG) above = POMAI_EINVAL;
    pm_py_refuse(state, above, "%s is %s, not %U", what, range, pm_py_show(state, object));
    return -1;
}
