/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions. The classes are in pomai/_errors.py; here they are found and raised. */
#include "core.h"
#include <string.h>

static int load(PyObject *module, const char *name, PyObject **out)
{
    *out = PyObject_GetAttrString(module, name);
    return *out == NULL ? -1 : 0;
}

int pm_py_errors_load(pm_py_state *state)
{
    PyObject *module = PyImport_ImportModule("pomai._errors");
    if (module == NULL) return -1;
    int failed = load(module, "BY_STATUS", &state->errors) || load(module, "Error", &state->base_error) ||
                 load(module, "InvalidTypeError", &state->type_error) ||
                 load(module, "ForkError", &state->fork_error) || load(module, "ClosedError", &state->closed_error);
    Py_DECREF(module);
    return failed ? -1 : 0;
}

/* Both sentences may hold bytes of a file's name that are not UTF-8. */
static PyObject *decode(const char *text)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

/* The engine speaks of flags of the C interface, in a few sentences; here they have other names. */
static PyObject *decode_words(const char *text)
{
    static const char *const words[][2] = {
        {"POMAI_OPEN_READONLY", "read_only=True"},
        {"POMAI_OPEN_ACCEPT_DAMAGE", "accept_damage=True"},
    };
    PyObject *decoded = decode(text);
    for (size_t i = 0; decoded != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strstr(text, words[i][0]) == NULL) continue;
        PyObject *put = PyObject_CallMethod(decoded, "replace", "ss", words[i][0], words[i][1]);
        Py_DECREF(decoded);
        decoded = put;
    }
    return decoded;
}

static void set_number(PyObject *error, const char *name, long value)
{
    PyObject *number = PyLong_FromLong(value);
    if (number != NULL) (void)PyObject_SetAttrString(error, name, number);
    Py_XDECREF(number);
}

/*
 * An exception that is set becomes the cause of the one that is raised now: what an argument's own method raised is
 * told, and is of the family all the same. But Ctrl-C and a lack of memory are not about the argument: they stay, and
 * nothing else is raised.
 */
static bool take_cause(PyObject **cause)
{
    PyObject *type, *trace;
    *cause = NULL;
    if (!PyErr_Occurred()) return true;
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError)) return false;
    PyErr_Fetch(&type, cause, &trace);
    PyErr_NormalizeException(&type, cause, &trace);
    if (trace != NULL && *cause != NULL) (void)PyException_SetTraceback(*cause, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return true;
}

/* Steals cause, which may be NULL. */
static void set_cause(PyObject *cause)
{
    PyObject *type, *value, *trace;
    if (cause == NULL) return;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value != NULL)
        PyException_SetCause(value, cause);
    else
        Py_DECREF(cause);
    PyErr_Restore(type, value, trace);
}

PyObject *pm_py_show(pm_py_state *state, PyObject *object)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *text = PyObject_Repr(object);
    PyObject *shown =
        text == NULL ? NULL : PyUnicode_FromFormat("%.80U%s", text, PyUnicode_GetLength(text) > 80 ? "..." : "");
    Py_XDECREF(text);
    if (shown == NULL && PyLong_Check(object)) { /* more than 4,300 digits */
        PyErr_Clear();
        shown = PyUnicode_FromString("an int of too many digits to show");
    }
    if (shown == NULL) {
        PyErr_Clear();
        shown = PyObject_Repr((PyObject *)Py_TYPE(object));
    }
    PyErr_Clear();
    if (shown == NULL) shown = PyUnicode_FromString("what has no repr()");
    PyErr_Clear();
    PyErr_Restore(type, value, trace);
    if (shown == NULL) return PyUnicode_InternFromString("?"); /* no memory left */
    Py_XDECREF(state->shown);
    state->shown = shown;
    return shown;
}

PyObject *pm_py_raise(pm_py_state *state, const pomai_error *err)
{
    PyObject *key = PyLong_FromLong((long)err->status);
    PyObject *type = key == NULL ? NULL : PyDict_GetItemWithError(state->errors, key);
    Py_XDECREF(key);
    if (PyErr_Occurred()) return NULL;
    if (type == NULL) type = state->base_error;
    PyObject *message = decode_words(err->message);
    PyObject *error = message == NULL ? NULL : PyObject_CallFunctionObjArgs(type, message, NULL);
    Py_XDECREF(message);
    if (error == NULL) return NULL;
    set_number(error, "status", (long)err->status);
    if (err->os_errno != 0) set_number(error, "os_errno", err->os_errno);
    if (!PyErr_Occurred()) PyErr_SetObject(type, error);
    Py_DECREF(error);
    return NULL;
}

PyObject *pm_py_refuse(pm_py_state *state, pomai_status status, const char *format, ...)
{
    pomai_error err = {.status = status};
    PyObject *cause;
    va_list arguments;
    if (!take_cause(&cause)) return NULL;
    va_start(arguments, format);
    PyObject *message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    const char *text = message == NULL ? NULL : PyUnicode_AsUTF8AndSize(message, NULL);
    if (text != NULL) {
        strncpy(err.message, text, sizeof err.message - 1);
        pm_py_raise(state, &err);
    }
    Py_XDECREF(message);
    set_cause(cause);
    return NULL;
}

static PyObject *refuse(PyObject *type, const char *format, va_list arguments)
{
    PyObject *cause;
    if (!take_cause(&cause)) return NULL;
    PyObject *message = PyUnicode_FromFormatV(format, arguments);
    if (message != NULL) PyErr_SetObject(type, message);
    Py_XDECREF(message);
    set_cause(cause);
    return NULL;
}

PyObject *pm_py_refuse_type(pm_py_state *state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refuse(state->type_error, format, arguments);
    va_end(arguments);
    return NULL;
}

PyObject *pm_py_refuse_as(PyObject *type, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    refuse(type, format, arguments);
    va_end(arguments);
    return NULL;
}
