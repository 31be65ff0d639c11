/* SPDX-License-Identifier: Apache-2.0 */
/* The batches of whatever has __arrow_c_stream__ or __arrow_c_array__. */
#include "arrow.h"
#include <string.h>

/* Releasing may run Python code, which must not meet the exception that is on its way. */
void pm_py_batch_release(pm_arrow_array *array)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (array->release != NULL) array->release(array);
    memset(array, 0, sizeof *array);
    PyErr_Restore(type, value, trace);
}

void pm_py_source_release(pm_py_source *s)
{
    PyObject *type, *value, *trace;
    pm_py_batch_release(&s->array);
    PyErr_Fetch(&type, &value, &trace);
    if (s->owned.release != NULL) s->owned.release(&s->owned);
    s->owned.release = NULL;
    if (s->stream != NULL && s->stream->release != NULL) {
        s->stream->release(s->stream);
        s->stream->release = NULL;
    }
    s->stream = NULL; /* both lie in the capsules; and it may be released once more */
    s->schema = NULL;
    s->single = NULL;
    Py_CLEAR(s->capsules);
    PyErr_Restore(type, value, trace);
}

static int stream_failed(pm_py_state *state, pm_arrow_stream *stream, int number)
{
    const char *text = stream->get_last_error == NULL ? NULL : stream->get_last_error(stream);
    if (text == NULL) text = "it does not say why";
    PyObject *words = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (words != NULL) pm_py_refuse(state, POMAI_EIO, "the Arrow stream failed with errno %d: %.300U", number, words);
    Py_XDECREF(words);
    return -1;
}

static int take_stream(pm_py_state *state, PyObject *capsule, pm_py_source *s)
{
    int number;
    s->capsules = PyTuple_Pack(1, capsule);
    s->stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (s->capsules == NULL || s->stream == NULL) return -1;
    if (s->stream->release == NULL) {
        pm_py_refuse(state, POMAI_EINVAL, "the Arrow stream has been used up");
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS number = s->stream->get_schema(s->stream, &s->owned);
    Py_END_ALLOW_THREADS if (number != 0)
    {
        s->owned.release = NULL;
        return stream_failed(state, s->stream, number);
    }
    s->schema = &s->owned;
    return 0;
}

static int take_pair(pm_py_state *state, PyObject *pair, pm_py_source *s)
{
    s->capsules = Py_NewRef(pair);
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
        pm_py_refuse_type(state, "__arrow_c_array__() gave %R, not two capsules", Py_TYPE(pair));
        return -1;
    }
    s->schema = PyCapsule_GetPointer(PyTuple_GetItem(pair, 0), "arrow_schema");
    s->single = s->schema == NULL ? NULL : PyCapsule_GetPointer(PyTuple_GetItem(pair, 1), "arrow_array");
    if (s->single == NULL) return -1;
    if (s->schema->release != NULL && s->single->release != NULL) return 0;
    pm_py_refuse(state, POMAI_EINVAL, "the Arrow array has been released");
    return -1;
}

int pm_py_source_open(pm_py_state *state, PyObject *object, pm_py_source *s)
{
    static const char *const methods[] = {"__arrow_c_stream__", "__arrow_c_array__"};
    memset(s, 0, sizeof *s);
    if (PyList_Check(object) || PyTuple_Check(object) || PyObject_CheckBuffer(object)) return 1;
    for (int i = 0; i < 2; i++) {
        if (!PyObject_HasAttrString(object, methods[i])) continue;
        PyObject *given = PyObject_CallMethod(object, methods[i], NULL);
        if (given == NULL) { /* a pandas frame without pyarrow: there are other ways to read it */
            if (!PyErr_ExceptionMatches(PyExc_ImportError)) return -1;
            PyErr_Clear();
            continue;
        }
        int failed = i == 0 ? take_stream(state, given, s) : take_pair(state, given, s);
        Py_DECREF(given);
        if (failed == 0 && s->schema->format == NULL) {
            pm_py_refuse(state, POMAI_EINVAL, "an Arrow schema without a format");
            failed = -1;
        }
        if (failed != 0) pm_py_source_release(s);
        return failed;
    }
    return 1;
}

int pm_py_source_next(pm_py_state *state, pm_py_source *s)
{
    pm_py_batch_release(&s->array);
    if (PyErr_CheckSignals() != 0) return -1; /* a stream may go on for ever, with batches that are empty too */
    if (s->stream == NULL) {
        if (s->single->release != NULL) s->array = *s->single;
        s->single->release = NULL;
        return 0;
    }
    int number;
    Py_BEGIN_ALLOW_THREADS number = s->stream->get_next(s->stream, &s->array);
    Py_END_ALLOW_THREADS if (number == 0) return 0;
    memset(&s->array, 0, sizeof s->array);
    return stream_failed(state, s->stream, number);
}
