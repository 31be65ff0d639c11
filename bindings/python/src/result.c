/* SPDX-License-Identifier: Apache-2.0 */
/* What a search found. Ids, distances and vectors are read where the engine put them. */
#include "arrow.h"
#include <math.h>
#include <string.h>

typedef struct {
    PyObject_HEAD pm_py_state *state;
    pomai_result *result; /* of held */
    pm_py_held *held;
    uint64_t dim;
    bool strings, vectors; /* the ids are strings; vectors are included */
} answer_object;

/* Result: query `at`. Hit: neighbour `hit` of it. Results: all queries. */
typedef struct {
    PyObject_HEAD answer_object *answer;
    size_t at, hit;
} part_object;

static part_object *part_new(PyTypeObject *type, answer_object *answer, size_t at, size_t hit)
{
    part_object *part = (part_object *)PyType_GenericAlloc(type, 0);
    if (part == NULL) return NULL;
    part->answer = (answer_object *)Py_NewRef((PyObject *)answer);
    part->at = at;
    part->hit = hit;
    return part;
}

static void part_dealloc(PyObject *self)
{
    Py_XDECREF((PyObject *)((part_object *)self)->answer);
    pm_py_free_object(self);
}

static void answer_dealloc(PyObject *self)
{
    pm_py_held_drop(((answer_object *)self)->held);
    pm_py_free_object(self);
}

PyObject *pm_py_answer(pm_py_state *state, pomai_result *result, uint64_t dim, bool strings, bool vectors, bool single)
{
    pm_py_held *held = pm_py_hold(NULL, result);
    if (held == NULL) return PyErr_NoMemory();
    answer_object *answer = (answer_object *)PyType_GenericAlloc(state->answer, 0);
    if (answer == NULL) {
        pm_py_held_drop(held);
        return NULL;
    }
    answer->state = state;
    answer->held = held;
    answer->result = result;
    answer->dim = dim;
    answer->strings = strings;
    answer->vectors = vectors;
    part_object *part = part_new(single ? state->result : state->results, answer, 0, 0);
    Py_DECREF((PyObject *)answer);
    return (PyObject *)part;
}

PyObject *pm_py_string_id(pomai_bytes id)
{
    return PyUnicode_DecodeUTF8(id.data, (Py_ssize_t)id.size, "surrogateescape");
}

PyObject *pm_py_document(pomai_bytes document)
{
    if (document.data == NULL) return Py_NewRef(Py_None);
    PyObject *text = PyUnicode_DecodeUTF8(document.data, (Py_ssize_t)document.size, "strict");
    if (text != NULL || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return text;
    PyErr_Clear();
    return PyBytes_FromStringAndSize(document.data, (Py_ssize_t)document.size);
}

static size_t part_count(const part_object *part)
{
    return pomai_result_count(part->answer->result, part->at);
}

/* ---- Hit ---- */

static PyObject *hit_id(PyObject *self, void *unused)
{
    part_object *h = (part_object *)self;
    (void)unused;
    if (h->answer->strings) return pm_py_string_id(pomai_result_string_id(h->answer->result, h->at, h->hit));
    return PyLong_FromUnsignedLongLong(pomai_result_ids(h->answer->result, h->at)[h->hit]);
}

static PyObject *hit_distance(PyObject *self, void *unused)
{
    part_object *h = (part_object *)self;
    (void)unused;
    return PyFloat_FromDouble(pomai_result_distances(h->answer->result, h->at)[h->hit]);
}

static PyObject *hit_document(PyObject *self, void *unused)
{
    part_object *h = (part_object *)self;
    (void)unused;
    return pm_py_document(pomai_result_document(h->answer->result, h->at, h->hit));
}

static PyObject *metadata_of(pm_py_state *state, PyObject *document)
{
    PyObject *metadata = document == NULL ? NULL : pm_py_help(state, "decode_metadata", document, NULL);
    Py_XDECREF(document);
    return metadata;
}

static PyObject *hit_metadata(PyObject *self, void *unused)
{
    return metadata_of(((part_object *)self)->answer->state, hit_document(self, unused));
}

static PyObject *hit_vector(PyObject *self, void *unused)
{
    part_object *h = (part_object *)self;
    answer_object *a = h->answer;
    (void)unused;
    float *vector = (float *)(uintptr_t)pomai_result_vector(a->result, h->at, h->hit);
    if (vector == NULL) return Py_NewRef(Py_None);
    return pm_py_array(a->state, pm_py_view(a->state, (PyObject *)a, vector, 'f', (Py_ssize_t)a->dim, -1, false));
}

static PyObject *hit_repr(PyObject *self)
{
    PyObject *id = hit_id(self, NULL), *distance = hit_distance(self, NULL), *text = NULL;
    if (id != NULL && distance != NULL) text = PyUnicode_FromFormat("Hit(id=%R, distance=%R)", id, distance);
    Py_XDECREF(id);
    Py_XDECREF(distance);
    return text;
}

/* ---- Result: of one query ---- */

static PyObject *result_ids(PyObject *self, void *unused)
{
    part_object *r = (part_object *)self;
    answer_object *a = r->answer;
    size_t count = part_count(r);
    (void)unused;
    if (!a->strings) {
        uint64_t *ids = (uint64_t *)(uintptr_t)pomai_result_ids(a->result, r->at);
        return pm_py_array(a->state, pm_py_view(a->state, (PyObject *)a, ids, 'Q', (Py_ssize_t)count, -1, false));
    }
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *id = pm_py_string_id(pomai_result_string_id(a->result, r->at, i));
        if (id == NULL || PyList_SetItem(list, (Py_ssize_t)i, id) != 0) Py_CLEAR(list);
    }
    return list;
}

static PyObject *result_distances(PyObject *self, void *unused)
{
    part_object *r = (part_object *)self;
    answer_object *a = r->answer;
    (void)unused;
    double *distances = (double *)(uintptr_t)pomai_result_distances(a->result, r->at);
    return pm_py_array(a->state,
                       pm_py_view(a->state, (PyObject *)a, distances, 'd', (Py_ssize_t)part_count(r), -1, false));
}

static PyObject *result_vectors(PyObject *self, void *unused)
{
    part_object *r = (part_object *)self;
    answer_object *a = r->answer;
    (void)unused;
    if (!a->vectors) return Py_NewRef(Py_None);
    float *vectors = NULL; /* those of a query lie together */
    if (part_count(r) > 0) vectors = (float *)(uintptr_t)pomai_result_vector(a->result, r->at, 0);
    return pm_py_array(a->state, pm_py_view(a->state, (PyObject *)a, vectors, 'f', (Py_ssize_t)part_count(r),
                                            (Py_ssize_t)a->dim, false));
}

static PyObject *result_column(part_object *r, PyObject *(*get)(PyObject *, void *))
{
    Py_ssize_t count = (Py_ssize_t)part_count(r);
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *hit = (PyObject *)part_new(r->answer->state->hit, r->answer, r->at, (size_t)i);
        PyObject *item = hit == NULL ? NULL : get(hit, NULL);
        Py_XDECREF(hit);
        if (item == NULL || PyList_SetItem(list, i, item) != 0) Py_CLEAR(list);
    }
    return list;
}

static PyObject *result_documents(PyObject *self, void *unused)
{
    (void)unused;
    return result_column((part_object *)self, hit_document);
}

static PyObject *result_metadata(PyObject *self, void *unused)
{
    (void)unused;
    return result_column((part_object *)self, hit_metadata);
}

static PyObject *result_verdict(PyObject *self, void *unused)
{
    static const char *const completeness[] = {"?", "exact", "approximate", "cut"};
    static const char *const fewer[] = {"no", "rows", "deadline"};
    part_object *r = (part_object *)self;
    pomai_verdict v;
    (void)unused;
    pomai_result_verdict(r->answer->result, r->at, &v);
    PyObject *values = Py_BuildValue("(ssdKK)", completeness[v.completeness & 3], fewer[v.fewer % 3], v.expected_recall,
                                     (unsigned long long)v.rows_scanned, (unsigned long long)v.rows_visible);
    PyObject *verdict = values == NULL ? NULL : pm_py_help(r->answer->state, "verdict", values, NULL);
    Py_XDECREF(values);
    return verdict;
}

static PyObject *plan_of(const answer_object *answer)
{
    const char *plan = pomai_result_plan(answer->result);
    if (plan == NULL) return Py_NewRef(Py_None);
    return metadata_of(answer->state, PyUnicode_FromString(plan));
}

static PyObject *result_plan(PyObject *self, void *unused)
{
    (void)unused;
    return plan_of(((part_object *)self)->answer);
}

static PyObject *result_arrow(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"requested_schema", NULL};
    part_object *r = (part_object *)self;
    answer_object *a = r->answer;
    PyObject *schema = NULL;
    if (pm_py_args(a->state, "__arrow_c_array__", names, 1, args, count, keywords, &schema) != 0) return NULL;
    pm_arrow_shape shape = {.dim = a->dim, .query = r->at, .strings = a->strings, .result = true, .documents = true};
    shape.vectors = a->vectors;
    return pm_arrow_pair(a->state, &shape, a->held);
}

static Py_ssize_t result_length(PyObject *self)
{
    return (Py_ssize_t)part_count((part_object *)self);
}

static PyObject *result_item(PyObject *self, Py_ssize_t i)
{
    part_object *r = (part_object *)self;
    if (i < 0 || (size_t)i >= part_count(r)) {
        PyErr_SetString(PyExc_IndexError, "the result has no hit of that number");
        return NULL;
    }
    return (PyObject *)part_new(r->answer->state->hit, r->answer, r->at, (size_t)i);
}

static PyObject *result_repr(PyObject *self)
{
    part_object *r = (part_object *)self;
    return PyUnicode_FromFormat("<pomai.Result of %zu hits>", part_count(r));
}

/* ---- Results: of several queries ---- */

static Py_ssize_t results_length(PyObject *self)
{
    return (Py_ssize_t)pomai_result_queries(((part_object *)self)->answer->result);
}

static PyObject *results_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<pomai.Results of %zd queries>", results_length(self));
}

static PyObject *results_item(PyObject *self, Py_ssize_t i)
{
    part_object *r = (part_object *)self;
    if (i < 0 || i >= results_length(self)) {
        PyErr_SetString(PyExc_IndexError, "there was no query of that number");
        return NULL;
    }
    return (PyObject *)part_new(r->answer->state->result, r->answer, (size_t)i, 0);
}

/* A table of one row a query. Shorter rows are filled up, in a copy; else it is the engine's memory. */
static PyObject *results_table(part_object *r, char format)
{
    answer_object *a = r->answer;
    size_t queries = pomai_result_queries(a->result), width = 0;
    bool even = true;
    for (size_t q = 0; q < queries; q++) {
        size_t count = pomai_result_count(a->result, q);
        even = even && (q == 0 || count == width);
        if (count > width) width = count;
    }
    const void *first = format == 'd' ? (const void *)pomai_result_distances(a->result, 0)
                                      : (const void *)pomai_result_ids(a->result, 0);
    if (even || queries == 0)
        return pm_py_array(a->state, pm_py_view(a->state, (PyObject *)a, (void *)(uintptr_t)first, format,
                                                (Py_ssize_t)queries, (Py_ssize_t)width, false));
    void *data = NULL;
    PyObject *view = pm_py_view_new(a->state, format, (Py_ssize_t)queries, (Py_ssize_t)width, &data);
    if (view == NULL) return NULL;
    for (size_t q = 0; q < queries; q++)
        for (size_t i = 0; i < width; i++) {
            bool there = i < pomai_result_count(a->result, q);
            if (format == 'd')
                ((double *)data)[q * width + i] = there ? pomai_result_distances(a->result, q)[i] : (double)INFINITY;
            else
                ((uint64_t *)data)[q * width + i] = there ? pomai_result_ids(a->result, q)[i] : UINT64_MAX;
        }
    return pm_py_array(a->state, view);
}

/* What each Result has of something, as a list. */
static PyObject *results_lists(PyObject *self, PyObject *(*get)(PyObject *result, void *unused))
{
    PyObject *list = PyList_New(0);
    for (Py_ssize_t q = 0; list != NULL && q < results_length(self); q++) {
        PyObject *result = results_item(self, q);
        PyObject *item = result == NULL ? NULL : get(result, NULL);
        if (item == NULL || PyList_Append(list, item) != 0) Py_CLEAR(list);
        Py_XDECREF(item);
        Py_XDECREF(result);
    }
    return list;
}

static PyObject *results_ids(PyObject *self, void *unused)
{
    part_object *r = (part_object *)self;
    (void)unused;
    return r->answer->strings ? results_lists(self, result_ids) : results_table(r, 'Q');
}

static PyObject *results_vectors(PyObject *self, void *unused)
{
    (void)unused;
    return results_lists(self, result_vectors);
}

static PyObject *results_documents(PyObject *self, void *unused)
{
    (void)unused;
    return results_lists(self, result_documents);
}

static PyObject *results_metadata(PyObject *self, void *unused)
{
    (void)unused;
    return results_lists(self, result_metadata);
}

static PyObject *results_distances(PyObject *self, void *unused)
{
    (void)unused;
    return results_table((part_object *)self, 'd');
}

/* ---- types ---- */

static const char hit_doc[] =
    "One neighbour of a query: id, distance, and document, metadata, vector if they were included.\n\n"
    ">>> _ = db.add([[1, 0]], ids=[1], metadata=[{'name': 'apple'}])\n"
    ">>> hit = db.search([1, 1], k=1, include=['metadata'])[0]\n"
    ">>> hit, hit.metadata\n"
    "(Hit(id=1, distance=1.0), {'name': 'apple'})\n";
static const char result_doc[] =
    "The neighbours of one query, nearest first: a sequence of Hit, and their columns as arrays.\n\n"
    "The arrays are read-only and over the engine's own memory, which lives as long as any of them.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], ids=[1, 2])\n"
    ">>> result = db.search([1, 0], k=5, include=['vectors'])\n"
    ">>> len(result), result[0], result.vectors.tolist()\n"
    "(2, Hit(id=1, distance=0.0), [[1.0, 0.0], [0.0, 1.0]])\n"
    ">>> result.verdict\n"
    "Verdict(completeness='exact', fewer='rows', expected_recall=1.0, rows_scanned=2, rows_visible=2)\n";
static const char results_doc[] =
    "The answers to several queries: a sequence of Result, and their columns, a row a query.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], ids=[1, 2], metadata={'n': [5, 6]})\n"
    ">>> results = db.search([[1, 0], [0, 1]], k=1, include=['metadata'])\n"
    ">>> results.ids.tolist(), results.metadata, [result[0].id for result in results]\n"
    "([[1], [2]], [[{'n': 5}], [{'n': 6}]], [1, 2])\n";

static PyGetSetDef hit_getset[] = {
    {"id", hit_id, NULL, "The row's id: int or str.", NULL},
    {"distance", hit_distance, NULL, "Its distance; smaller is closer.", NULL},
    {"document", hit_document, NULL, "str (bytes if it is not UTF-8), or None: none, or not included.", NULL},
    {"metadata", hit_metadata, NULL, "The document as a dict if it is a JSON object, else None.", NULL},
    {"vector", hit_vector, NULL, "float32 of shape (dim,), or None: not included.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyGetSetDef result_getset[] = {
    {"ids", result_ids, NULL, "uint64 of shape (hits,), nearest first, without a copy; or a list of str.", NULL},
    {"distances", result_distances, NULL, "float64 of shape (hits,), without a copy.", NULL},
    {"vectors", result_vectors, NULL, "float32 of shape (hits, dim), or None: not included.", NULL},
    {"documents", result_documents, NULL, "The documents as a list.", NULL},
    {"metadata", result_metadata, NULL, "The metadata as a list.", NULL},
    {"verdict", result_verdict, NULL, "What the search says of this answer: a pomai.Verdict.", NULL},
    {"plan", result_plan, NULL, "What the search did, as a dict, with include=['plan']; else None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyGetSetDef results_getset[] = {
    {"ids", results_ids, NULL,
     "uint64 of shape (queries, hits); shorter answers are filled up with 2**64 - 1. Or lists of str.", NULL},
    {"distances", results_distances, NULL,
     "float64 of shape (queries, hits); shorter answers are filled up with infinity.", NULL},
    {"vectors", results_vectors, NULL, "The vectors of each query's hits, as a list of what Result.vectors is.", NULL},
    {"documents", results_documents, NULL, "The documents of each query's hits, as a list of lists.", NULL},
    {"metadata", results_metadata, NULL, "The metadata of each query's hits, as a list of lists.", NULL},
    {"plan", result_plan, NULL, "What the search did, as a dict, with include=['plan']; else None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef result_methods[] = {
    {"__arrow_c_array__", FAST(result_arrow),
     "__arrow_c_array__($self, /, requested_schema=None)\n--\n\n"
     "An Arrow record batch of id, distance, document (null: none, or not included) and, if included, vector: "
     "pyarrow.record_batch(result)."},
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMethodDef no_pickle[] = {
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot answer_slots[] = {
    {Py_tp_dealloc, (void *)answer_dealloc}, {Py_tp_new, (void *)pm_py_no_new}, {0, NULL}};
static PyType_Slot hit_slots[] = {{Py_tp_doc, (void *)hit_doc},
                                  {Py_tp_dealloc, (void *)part_dealloc},
                                  {Py_tp_getset, hit_getset},
                                  {Py_tp_methods, no_pickle},
                                  {Py_tp_repr, (void *)hit_repr},
                                  {Py_tp_new, (void *)pm_py_no_new},
                                  {0, NULL}};
static PyType_Slot result_slots[] = {
    {Py_tp_doc, (void *)result_doc},   {Py_tp_dealloc, (void *)part_dealloc}, {Py_tp_getset, result_getset},
    {Py_tp_methods, result_methods},   {Py_tp_repr, (void *)result_repr},     {Py_sq_length, (void *)result_length},
    {Py_sq_item, (void *)result_item}, {Py_tp_new, (void *)pm_py_no_new},     {0, NULL}};
static PyType_Slot results_slots[] = {
    {Py_tp_doc, (void *)results_doc},   {Py_tp_dealloc, (void *)part_dealloc},  {Py_tp_getset, results_getset},
    {Py_tp_methods, no_pickle},         {Py_sq_length, (void *)results_length}, {Py_sq_item, (void *)results_item},
    {Py_tp_repr, (void *)results_repr}, {Py_tp_new, (void *)pm_py_no_new},      {0, NULL}};
PyType_Spec pm_py_answer_spec = {"pomai._core.Answer", sizeof(answer_object), 0, Py_TPFLAGS_DEFAULT, answer_slots};
PyType_Spec pm_py_hit_spec = {"pomai._core.Hit", sizeof(part_object), 0, Py_TPFLAGS_DEFAULT, hit_slots};
PyType_Spec pm_py_result_spec = {"pomai._core.Result", sizeof(part_object), 0, Py_TPFLAGS_DEFAULT, result_slots};
PyType_Spec pm_py_results_spec = {"pomai._core.Results", sizeof(part_object), 0, Py_TPFLAGS_DEFAULT, results_slots};
