/* SPDX-License-Identifier: Apache-2.0 */
/* verify and salvage: of databases that nobody has open. */
#include "core.h"
#include <stdlib.h>
#include <string.h>

typedef struct {
    PyThreadState *thread;
    PyObject *call;
    bool raised;
} progress_state;

/* Called without the GIL, in the thread that called verify or salvage. */
static int progress(void *context, uint64_t done, uint64_t total)
{
    progress_state *p = context;
    PyEval_RestoreThread(p->thread);
    p->raised = PyErr_CheckSignals() != 0;
    if (!p->raised && p->call != Py_None) {
        PyObject *answer = PyObject_CallFunction(p->call, "KK", (unsigned long long)done, (unsigned long long)total);
        p->raised = answer == NULL;
        Py_XDECREF(answer);
    }
    p->thread = PyEval_SaveThread();
    return p->raised;
}

static int take_progress(pm_py_state *state, PyObject *given, progress_state *p)
{
    p->call = given == NULL ? Py_None : given;
    if (p->call == Py_None || PyCallable_Check(p->call)) return 0;
    pm_py_refuse_type(state, "progress is a function of (done, total) or None, not %R", Py_TYPE(given));
    return -1;
}

/* The report as a dict; frees json. */
static PyObject *report(pm_py_state *state, char *json)
{
    PyObject *text = PyUnicode_DecodeUTF8(json, (Py_ssize_t)strlen(json), "replace");
    pomai_free(json);
    PyObject *made = text == NULL ? NULL : pm_py_help(state, "loads", text, NULL);
    Py_XDECREF(text);
    return made;
}

static PyObject *raise_with(pm_py_state *state, const pomai_error *err, char *json)
{
    pm_py_raise(state, err);
    if (json == NULL) return NULL;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *details = report(state, json);
    if (details == NULL || value == NULL || PyObject_SetAttrString(value, "report", details) != 0) PyErr_Clear();
    Py_XDECREF(details);
    PyErr_Restore(type, value, trace);
    return NULL;
}

PyObject *pm_py_verify(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"path", "progress", NULL};
    pm_py_state *state = pm_py_state_of(module);
    PyObject *given[2] = {NULL}, *path = NULL;
    progress_state p = {NULL, NULL, false};
    pomai_error err = {0};
    char *json = NULL;
    if (pm_py_args(state, "verify", names, 2, args, count, keywords, given) != 0) return NULL;
    if (given[0] == NULL) return pm_py_refuse_type(state, "verify() needs a path");
    if (take_progress(state, given[1], &p) != 0 || (path = pm_py_path(state, given[0])) == NULL) return NULL;
    const char *text = PyBytes_AsString(path);
    p.thread = PyEval_SaveThread();
    pomai_status status = pomai_verify_path(text, progress, &p, &json, &err);
    PyEval_RestoreThread(p.thread);
    Py_DECREF(path);
    if (p.raised) {
        pomai_free(json);
        return NULL;
    }
    return status == POMAI_OK ? report(state, json) : raise_with(state, &err, json);
}

PyObject *pm_py_salvage(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"source", "target", "progress", NULL};
    pm_py_state *state = pm_py_state_of(module);
    PyObject *given[3] = {NULL}, *from = NULL, *to = NULL;
    progress_state p = {NULL, NULL, false};
    pomai_error err = {0};
    char *json = NULL;
    if (pm_py_args(state, "salvage", names, 3, args, count, keywords, given) != 0) return NULL;
    if (given[0] == NULL || given[1] == NULL) return pm_py_refuse_type(state, "salvage() needs two paths");
    if (take_progress(state, given[2], &p) != 0 || (from = pm_py_path(state, given[0])) == NULL) return NULL;
    if ((to = pm_py_path(state, given[1])) == NULL) {
        Py_DECREF(from);
        return NULL;
    }
    const char *source = PyBytes_AsString(from), *target = PyBytes_AsString(to);
    p.thread = PyEval_SaveThread();
    pomai_status status = pomai_salvage(source, target, progress, &p, &json, NULL, &err);
    PyEval_RestoreThread(p.thread);
    Py_DECREF(from);
    Py_DECREF(to);
    if (p.raised) {
        pomai_free(json);
        return NULL;
    }
    return status == POMAI_OK ? report(state, json) : raise_with(state, &err, json);
}
