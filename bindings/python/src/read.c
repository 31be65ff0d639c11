/* SPDX-License-Identifier: Apache-2.0 */
/* get and search. */
#include "core.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Numbers compared above which a search runs aside, so that Ctrl-C is heard: some 50 ms on one core. */
#define LONG_SEARCH 3e8
#define FILTERED    1500 /* numbers that are compared while a filter judges a row by a small document */
/* With a filter nobody knows: it is tried here for so long, unless the last one took a good part of that. */
#define TRIED_US    25000
#define LONG_NS     1e7
#define LONG_FILTER 65536  /* bytes of a filter that are long to read, which ends at no deadline */
#define SHORT_US    200000 /* deadlines below are waited for */

PyObject *pm_py_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"ids", "vectors", "documents", "snapshot", "mode", "filters", "limit", NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[7] = {NULL};
    pomai_get_options options = POMAI_GET_OPTIONS_INIT;
    bool vectors = true, documents = true;
    pomai_error err = {0};
    pm_py_ids ids;
    pm_py_snapshot *snapshot;
    if (pm_py_args(on->state, "get", names, 1, args, count, keywords, given) != 0) return NULL;
    const bool where = given[5] != NULL && given[5] != Py_None, limited = given[6] != NULL && given[6] != Py_None;
    if (given[0] == NULL && !where)
        return pm_py_refuse_type(on->state, "get() needs an id, a list of ids, or filters=");
    if (where && given[0] != NULL && given[0] != Py_None)
        return pm_py_refuse_type(on->state, "get() takes ids or filters=, not both");
    if (limited && !where) return pm_py_refuse_type(on->state, "get(limit=) goes with filters=");
    if (pm_py_bool(on->state, "vectors", given[1], &vectors) != 0 ||
        pm_py_bool(on->state, "documents", given[2], &documents) != 0 ||
        pm_py_mode(on->state, given[4], &options.mode) != 0)
        return NULL;
    if (where) return pm_py_get_where(on, given[5], given[6], vectors, documents, given[3], options.mode);
    if (pm_py_ids_take(on->state, "ids", given[0], &ids) != 0) return NULL;
    bool begun = pm_py_begin(on) == 0;
    if (!begun || pm_py_snapshot_begin(on, given[3], &snapshot) != 0) {
        if (begun) pm_py_end(on);
        pm_py_ids_release(&ids);
        return NULL;
    }
    pomai_rows *rows = NULL;
    pomai_status status;
    if (snapshot != NULL) options.snapshot = snapshot->handle;
    Py_BEGIN_ALLOW_THREADS status = pomai_get(on->handle, &ids.ids, &options, &rows, &err);
    Py_END_ALLOW_THREADS pm_py_snapshot_end(snapshot);
    pm_py_end(on);
    if (status != POMAI_OK) {
        pm_py_ids_release(&ids);
        return pm_py_raise(on->state, &err);
    }
    bool single = ids.single;
    PyObject *made = pm_py_rows_new(on->state, rows, &ids, vectors, documents);
    if (made == NULL || !single) return made;
    PyObject *row = pm_py_rows_item(made, 0);
    Py_DECREF(made);
    return row;
}

/* ---- search ---- */

typedef struct {
    pm_py_job job;
    pm_py_vectors vectors;
    pomai_search_options options;
    pomai_collection *collection;
    pomai_result *result;
    PyObject *filter; /* bytes, which the options point to; NULL: none */
    uint64_t k;
    uint64_t took_ns; /* with a filter */
    bool strings;
} search_job;

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void search_run(pm_py_job *job)
{
    search_job *s = (search_job *)job;
    const uint64_t begin = s->filter == NULL ? 0 : now_ns();
    s->options.cancel = &job->cancel;
    job->status = pomai_search(s->collection, s->vectors.data, s->vectors.rows, s->vectors.dim, s->k, &s->options,
                               &s->result, &job->err);
    pomai_collection_info info;
    if (s->filter != NULL) s->took_ns = now_ns() - begin;
    if (job->status != POMAI_OK) return;
    if (pomai_result_count(s->result, 0) > 0)
        s->strings = pomai_result_ids(s->result, 0) == NULL;
    else if (pomai_collection_get_info(s->collection, &info, NULL) == POMAI_OK)
        s->strings = info.id_kind == POMAI_ID_STRING;
}

static void search_drop(search_job *s)
{
    pm_py_vectors_release(&s->vectors);
    pomai_result_free(s->result);
    s->result = NULL;
    Py_CLEAR(s->filter);
    Py_XDECREF((PyObject *)s->job.snapshot);
    Py_XDECREF((PyObject *)s->job.on);
}

static void search_release(pm_py_job *job)
{
    search_drop((search_job *)job);
    free(job);
}

static int take_include_word(pm_py_state *state, PyObject *word, uint32_t *include)
{
    static const char *const words[] = {"id",       "ids",    "distance", "distances", "document", "documents",
                                        "metadata", "vector", "vectors",  "plan",      NULL};
    int found = pm_py_word(state, "include", word, words);
    if (found < 0) return -1;
    if (found >= 9)
        *include |= POMAI_INCLUDE_PLAN;
    else if (found >= 7)
        *include |= POMAI_INCLUDE_VECTORS;
    else if (found >= 4)
        *include |= POMAI_INCLUDE_DOCUMENTS;
    return 0;
}

static int take_include(pm_py_state *state, PyObject *object, uint32_t *include)
{
    if (object == NULL || object == Py_None) return 0;
    if (PyUnicode_Check(object)) return take_include_word(state, object, include);
    PyObject *words = PySequence_Tuple(object);
    if (words == NULL) {
        pm_py_refuse_type(state, "include is %R; expected words, as ['documents', 'vectors']", Py_TYPE(object));
        return -1;
    }
    int failed = 0;
    for (Py_ssize_t i = 0; failed == 0 && i < PyTuple_Size(words); i++)
        failed = take_include_word(state, PyTuple_GetItem(words, i), include);
    Py_DECREF(words);
    return failed;
}

static int take_recall(pm_py_state *state, bool exact, PyObject *recall, float *share)
{
    if (recall == NULL || recall == Py_None) return 0;
    double value = PyFloat_AsDouble(recall);
    if (value == -1 && PyErr_Occurred()) {
        pm_py_refuse_type(state, "recall is a number above 0 and at most 1, not %R", Py_TYPE(recall));
        return -1;
    }
    if (!(value > 0 && value <= 1)) {
        pm_py_refuse(state, POMAI_EINVAL, "recall is above 0 and at most 1, not %U", pm_py_show(state, recall));
        return -1;
    }
    *share = (float)value;
    if (!exact || value >= 1) return 0;
    pm_py_refuse(state, POMAI_EINVAL, "exact=True and recall=%U contradict each other: give one",
                 pm_py_show(state, recall));
    return -1;
}

static int take_ef(pm_py_state *state, bool exact, PyObject *recall, PyObject *object, uint32_t *ef)
{
    uint64_t value = 0;
    if (object == NULL || object == Py_None) return 0;
    if (pm_py_count_in(state, "ef", "from 1 to 4,096", POMAI_EINVAL, object, &value) != 0) return -1;
    if (value == 0 || value > POMAI_MAX_EF) {
        pm_py_refuse(state, POMAI_EINVAL, "ef is from 1 to 4,096, not %U", pm_py_show(state, object));
        return -1;
    }
    *ef = (uint32_t)value;
    if (!exact && (recall == NULL || recall == Py_None)) return 0;
    pm_py_refuse(state, POMAI_EINVAL, "ef=%U and %s contradict each other: give one", pm_py_show(state, object),
                 exact ? "exact=True" : "recall=");
    return -1;
}

static int take_search(pm_py_collection *on, PyObject *const *given, search_job *s)
{
    pm_py_state *state = on->state;
    PyObject *vectors = given[0];
    bool exact = false;
    if (given[10] != NULL && given[10] != Py_None) {
        if (vectors != NULL) {
            pm_py_refuse_type(state, "search() got the query twice: as vectors and as vector");
            return -1;
        }
        vectors = given[10];
    }
    if (vectors == NULL) {
        pm_py_refuse_type(state, "search() needs a vector, or an array of them");
        return -1;
    }
    s->k = 10;
    if (pm_py_count_in(state, "k", "from 1 to 1,000,000", POMAI_ETOOBIG, given[1], &s->k) != 0 ||
        take_include(state, given[3], &s->options.include) != 0 ||
        pm_py_deadline(state, given[4], &s->options.deadline_us) != 0 ||
        pm_py_mode(state, given[6], &s->options.mode) != 0 || pm_py_bool(state, "exact", given[7], &exact) != 0 ||
        take_recall(state, exact, given[8], &s->options.recall) != 0 ||
        take_ef(state, exact, given[8], given[9], &s->options.ef) != 0 ||
        pm_py_filters(state, given[2], &s->filter, &s->options.filter, &s->options.filter_size) != 0)
        return -1;
    return pm_py_vectors_take(state, "the query", vectors, POMAI_DTYPE_FLOAT32, &s->vectors);
}

/* How many rows a search compares is learnt from the last one, and with a filter how long that took; at first it is
 * asked. */
static bool is_long(pm_py_collection *on, const search_job *s)
{
    if (s->options.deadline_us < SHORT_US) return false;
    if (s->filter != NULL && s->options.filter_size > LONG_FILTER) return true;
    if (s->filter != NULL && on->filtered_ns != 0) return (double)s->vectors.rows * (double)on->filtered_ns > LONG_NS;
    if (on->rows_hint == 0) {
        pomai_collection_info info;
        on->rows_hint = 1;
        if (pomai_collection_get_info(on->handle, &info, NULL) == POMAI_OK) on->rows_hint += info.rows;
    }
    double cost = (double)s->vectors.rows * (double)s->vectors.dim;
    if (s->filter != NULL) cost += FILTERED;
    return cost * (double)on->rows_hint > LONG_SEARCH;
}

static bool was_cut(const search_job *s)
{
    pomai_verdict verdict;
    if (s->job.status != POMAI_OK) return s->job.status == POMAI_EDEADLINE;
    for (size_t q = 0; q < pomai_result_queries(s->result); q++) {
        pomai_result_verdict(s->result, q, &verdict);
        if (verdict.completeness == POMAI_CUT) return true;
    }
    return false;
}

/* Whether it is done after the time for which any search may be deaf; else it is as before, with a nearer deadline. */
static bool is_soon_done(search_job *s)
{
    const uint64_t deadline = s->options.deadline_us;
    s->options.deadline_us = TRIED_US;
    Py_BEGIN_ALLOW_THREADS search_run(&s->job);
    Py_END_ALLOW_THREADS s->options.deadline_us = deadline;
    if (!was_cut(s) || deadline <= s->took_ns / 1000) return true;
    if (deadline != UINT64_MAX) s->options.deadline_us -= s->took_ns / 1000;
    pomai_result_free(s->result);
    s->result = NULL;
    return false;
}

static PyObject *search_answer(pm_py_collection *on, search_job *s)
{
    if (s->job.status != POMAI_OK) return pm_py_raise(on->state, &s->job.err);
    pomai_result *result = s->result;
    s->result = NULL;
    if (s->filter != NULL && s->vectors.rows > 0) on->filtered_ns = s->took_ns / s->vectors.rows + 1;
    if (pomai_result_queries(result) > 0 && s->filter == NULL) {
        pomai_verdict verdict;
        pomai_result_verdict(result, 0, &verdict);
        on->rows_hint = verdict.rows_visible + 1;
    }
    bool vectors = (s->options.include & POMAI_INCLUDE_VECTORS) != 0;
    return pm_py_answer(on->state, result, s->vectors.dim, s->strings, vectors, s->vectors.single);
}

PyObject *pm_py_search(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"vectors", "k",     "filters", "include", "deadline_ms", "snapshot",
                                        "mode",    "exact", "recall",  "ef",      "vector",      NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    PyObject *given[11] = {NULL}, *made = NULL;
    search_job here = {.options = POMAI_SEARCH_OPTIONS_INIT}, *s = &here;
    if (pm_py_args(on->state, "search", names, 2, args, count, keywords, given) != 0) return NULL;
    if (take_search(on, given, s) != 0) {
        Py_CLEAR(s->filter);
        return NULL;
    }
    s->job.run = search_run;
    s->job.release = search_release;
    if (pm_py_begin(on) != 0) {
        search_drop(s);
        return NULL;
    }
    s->collection = on->handle;
    s->job.on = (pm_py_collection *)Py_NewRef(self);
    if (pm_py_snapshot_begin(on, given[5], &s->job.snapshot) != 0) {
        pm_py_end(on);
        search_drop(s);
        return NULL;
    }
    if (s->job.snapshot != NULL) {
        s->options.snapshot = s->job.snapshot->handle;
        Py_INCREF((PyObject *)s->job.snapshot);
    }
    bool aside = is_long(on, s), done = false;
    if (!aside && s->filter != NULL && s->options.deadline_us >= SHORT_US) {
        done = is_soon_done(s);
        aside = !done;
        if (done) pm_py_job_finish(&s->job);
    }
    if (aside) { /* it may outlive this call */
        search_job *moved = malloc(sizeof *moved);
        if (moved != NULL) *moved = *s;
        if (moved != NULL)
            s = moved;
        else
            aside = false;
    }
    if (!done && pm_py_job_run(on->state, &s->job, aside) != 0) return NULL;
    made = search_answer(on, s);
    search_drop(s);
    if (s != &here) free(s);
    return made;
}
