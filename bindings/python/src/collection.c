/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that are about the whole database or collection: they may take long, and run aside. */
#include "collection_doc.h"
#include "core.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { FLUSH, COMPACT, INDEX, SYNC, FREEZE, DIGEST, DROP, CREATE, OPEN, SNAPSHOT, STATS, LIST, INFO } admin_op;

typedef struct {
    pm_py_job job;
    admin_op op;
    pomai_db *db;
    pomai_collection *collection; /* NULL: all */
    char *name;
    pomai_collection_options options;
    union {
        uint64_t digest[2];
        pomai_collection *opened;
        pomai_snapshot *snapshot;
        char *json;
        char **names;
        pomai_collection_info info;
    } out;
    size_t count;
} admin_job;

static void admin_run(pm_py_job *job)
{
    admin_job *a = (admin_job *)job;
    pomai_error *err = &job->err;
    const pomai_snapshot *snapshot = job->snapshot == NULL ? NULL : job->snapshot->handle;
    switch (a->op) {
    case FLUSH:
        job->status = pomai_flush(a->db, err);
        break;
    case COMPACT:
        job->status = pomai_compact(a->db, a->collection, err);
        break;
    case INDEX: {
        pomai_build_options options = POMAI_BUILD_OPTIONS_INIT;
        options.cancel = &job->cancel;
        job->status = pomai_build_indexes(a->db, &options, err);
        break;
    }
    case SYNC:
        job->status = pomai_sync(a->db, err);
        break;
    case FREEZE:
        job->status = pomai_freeze(a->db, a->collection, err);
        break;
    case DIGEST:
        job->status = pomai_digest(a->db, snapshot, a->out.digest, err);
        break;
    case DROP:
        job->status = pomai_collection_drop(a->db, a->name, err);
        break;
    case CREATE:
        job->status = pomai_collection_create(a->db, a->name, &a->options, &a->out.opened, err);
        break;
    case OPEN:
        job->status = pomai_collection_open(a->db, a->name, &a->out.opened, err);
        break;
    case SNAPSHOT:
        job->status = pomai_snapshot_open(a->db, &a->out.snapshot, err);
        break;
    case STATS:
        job->status = pomai_stats(a->db, &a->out.json, err);
        break;
    case LIST:
        job->status = pomai_collection_list(a->db, &a->out.names, &a->count, err);
        break;
    case INFO:
        job->status = pomai_collection_get_info(a->collection, &a->out.info, err);
        break;
    }
}

static void admin_release(pm_py_job *job)
{
    admin_job *a = (admin_job *)job;
    Py_XDECREF((PyObject *)job->snapshot);
    Py_XDECREF((PyObject *)job->on);
    free(a->name);
    free(a);
}

/* Runs one; NULL with an exception. The caller releases what it gets. */
static admin_job *admin(pm_py_collection *on, admin_op op, const char *name, PyObject *snapshot, bool all,
                        const pomai_collection_options *options)
{
    bool aside = op == FLUSH || op == COMPACT || op == INDEX || op == SYNC || op == DIGEST;
    admin_job *a = calloc(1, sizeof *a);
    if (a != NULL && name != NULL) a->name = strdup(name);
    if (a == NULL || (name != NULL && a->name == NULL)) {
        free(a);
        PyErr_NoMemory();
        return NULL;
    }
    bool begun = pm_py_begin(on) == 0;
    if (!begun || pm_py_snapshot_begin(on, snapshot, &a->job.snapshot) != 0) {
        if (begun) pm_py_end(on);
        admin_release(&a->job);
        return NULL;
    }
    Py_XINCREF((PyObject *)a->job.snapshot);
    a->job.on = (pm_py_collection *)Py_NewRef((PyObject *)on);
    a->job.run = admin_run;
    a->job.release = admin_release;
    a->op = op;
    a->db = on->db->handle;
    a->collection = all ? NULL : on->handle;
    if (options != NULL) a->options = *options;
    if (pm_py_job_run(on->state, &a->job, aside) != 0) return NULL;
    if (a->job.status == POMAI_OK) return a;
    pm_py_raise(on->state, &a->job.err);
    admin_release(&a->job);
    return NULL;
}

static PyObject *nothing(admin_job *a)
{
    if (a == NULL) return NULL;
    admin_release(&a->job);
    return Py_NewRef(Py_None);
}

/* A database's method is about all collections, a collection's about that one. */
static bool is_database(PyObject *self)
{
    return ((pm_py_collection *)self)->db == (pm_py_database *)self;
}

static PyObject *py_flush(PyObject *self, PyObject *none)
{
    (void)none;
    return nothing(admin((pm_py_collection *)self, FLUSH, NULL, NULL, true, NULL));
}

static PyObject *py_sync(PyObject *self, PyObject *none)
{
    (void)none;
    return nothing(admin((pm_py_collection *)self, SYNC, NULL, NULL, true, NULL));
}

static PyObject *py_compact(PyObject *self, PyObject *none)
{
    (void)none;
    return nothing(admin((pm_py_collection *)self, COMPACT, NULL, NULL, is_database(self), NULL));
}

static PyObject *py_build_indexes(PyObject *self, PyObject *none)
{
    (void)none;
    return nothing(admin((pm_py_collection *)self, INDEX, NULL, NULL, true, NULL));
}

static PyObject *py_freeze(PyObject *self, PyObject *none)
{
    (void)none;
    return nothing(admin((pm_py_collection *)self, FREEZE, NULL, NULL, is_database(self), NULL));
}

static PyObject *digest(pm_py_collection *on, PyObject *snapshot)
{
    admin_job *a = admin(on, DIGEST, NULL, snapshot, true, NULL);
    if (a == NULL) return NULL;
    char digits[33];
    (void)snprintf(digits, sizeof digits, "%016llx%016llx", (unsigned long long)a->out.digest[0],
                   (unsigned long long)a->out.digest[1]);
    PyObject *text = PyUnicode_FromString(digits);
    admin_release(&a->job);
    return text;
}

static PyObject *py_digest(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"snapshot", NULL};
    PyObject *snapshot = NULL;
    if (pm_py_args(((pm_py_collection *)self)->state, "digest", names, 1, args, count, keywords, &snapshot) != 0)
        return NULL;
    return digest((pm_py_collection *)self, snapshot);
}

static PyObject *py_stats(PyObject *self, PyObject *none)
{
    (void)none;
    admin_job *a = admin((pm_py_collection *)self, STATS, NULL, NULL, true, NULL);
    if (a == NULL) return NULL;
    PyObject *text = PyUnicode_FromString(a->out.json);
    pomai_free(a->out.json);
    admin_release(&a->job);
    PyObject *stats = text == NULL ? NULL : pm_py_help(((pm_py_collection *)self)->state, "loads", text, NULL);
    Py_XDECREF(text);
    return stats;
}

static PyObject *py_collections(PyObject *self, PyObject *none)
{
    (void)none;
    admin_job *a = admin((pm_py_collection *)self, LIST, NULL, NULL, true, NULL);
    if (a == NULL) return NULL;
    PyObject *list = PyList_New((Py_ssize_t)a->count);
    for (size_t i = 0; list != NULL && i < a->count; i++) {
        PyObject *name = PyUnicode_FromString(a->out.names[i]);
        if (name == NULL || PyList_SetItem(list, (Py_ssize_t)i, name) != 0) Py_CLEAR(list);
    }
    pomai_free(a->out.names);
    admin_release(&a->job);
    return list;
}

/* Instead of a NotFoundError: what there is, and what makes it. */
static void say_missing(pm_py_collection *on, PyObject *name, const char *wanted)
{
    PyObject *missing = PyDict_GetItemString(on->state->errors, "ENOTFOUND");
    if (missing == NULL || !PyErr_ExceptionMatches(missing)) return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *names = py_collections((PyObject *)on, NULL), *way = PyUnicode_FromString(wanted);
    PyObject *text = names == NULL || way == NULL ? NULL : pm_py_help(on->state, "missing", name, names, way, NULL);
    if (text != NULL) {
        pm_py_refuse(on->state, POMAI_ENOTFOUND, "%U", text);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(trace);
    } else {
        PyErr_Restore(type, value, trace);
    }
    Py_XDECREF(names);
    Py_XDECREF(way);
    Py_XDECREF(text);
}

static PyObject *py_drop(PyObject *self, PyObject *name)
{
    pm_py_collection *on = (pm_py_collection *)self;
    const char *text = pm_py_text(on->state, "the collection's name", name);
    if (text == NULL) return NULL;
    admin_job *a = admin(on, DROP, text, NULL, true, NULL);
    if (a == NULL) say_missing(on, name, "drop");
    return nothing(a);
}

/* ---- collection() ---- */

static PyObject *collection_new(pm_py_collection *on, admin_job *a)
{
    pomai_collection *handle = a->out.opened;
    pm_py_database *db = on->db;
    admin_release(&a->job);
    pm_py_collection *made = (pm_py_collection *)PyType_GenericAlloc(on->state->collection, 0);
    if (made == NULL) {
        pomai_collection_close(handle);
        return NULL;
    }
    made->state = on->state;
    made->db = (pm_py_database *)Py_NewRef((PyObject *)db);
    made->handle = handle;
    made->next = db->collections;
    if (made->next != NULL) made->next->previous = made;
    db->collections = made;
    return (PyObject *)made;
}

static int take_options(pm_py_state *state, PyObject *const *given, pomai_collection_options *options)
{
    static const char *const metrics[] = {"l2", "ip", "cosine", NULL};
    static const char *const kinds[] = {"u64", "string", NULL};
    static const char *const dtypes[] = {"float32", "float16", "int8", NULL};
    static const char *const indexes[] = {"auto", "exact", "codes", "graph", NULL};
    if (pm_py_count_in(state, "dim", "from 1 to 65,536", POMAI_EDIM, given[1], &options->dim) != 0) return -1;
    if (given[2] != NULL && given[2] != Py_None) {
        int metric = pm_py_word(state, "metric", given[2], metrics);
        if (metric < 0) return -1;
        options->metric = (pomai_metric)(metric + 1);
    }
    if (given[3] != NULL && given[3] != Py_None) {
        int kind = pm_py_word(state, "ids", given[3], kinds);
        if (kind < 0) return -1;
        options->id_kind = (pomai_id_kind)(kind + 1);
    }
    if (given[6] != NULL && given[6] != Py_None) {
        PyObject *name = pm_py_help(state, "dtype_name", given[6], NULL);
        int dtype = name == NULL ? -1 : pm_py_word(state, "dtype", name, dtypes);
        Py_XDECREF(name);
        if (dtype < 0) return -1;
        options->dtype = (pomai_dtype)(dtype + 1);
    }
    if (given[7] != NULL && given[7] != Py_None) {
        options->cluster_by = pm_py_text(state, "cluster_by", given[7]);
        if (options->cluster_by == NULL) return -1;
    }
    if (given[8] != NULL && given[8] != Py_None) {
        const int index = pm_py_word(state, "index", given[8], indexes);
        if (index < 0) return -1;
        options->index = (pomai_index_kind)index;
    }
    if (given[4] == NULL || given[4] == Py_None) return 0;
    PyObject *ns = pm_py_help(state, "ttl_ns", given[4], NULL);
    int failed = ns == NULL ? -1 : pm_py_count(state, "ttl", ns, &options->ttl_ns);
    Py_XDECREF(ns);
    return failed;
}

pomai_dtype pm_py_collection_dtype(const pm_py_collection *on)
{
    if (on->closed || on->db->base.closed || on->handle == NULL || on->db->generation != pm_py_generation())
        return POMAI_DTYPE_FLOAT32; /* the call itself will say so */
    const pomai_dtype dtype = pomai_collection_dtype(on->handle);
    return dtype == 0 ? POMAI_DTYPE_FLOAT32 : dtype;
}

static PyObject *info_of(pm_py_collection *on);

/* What was said must be so; what was left out may be anything. */
static PyObject *check_same(pm_py_state *state, PyObject *made, PyObject *const *given, uint64_t dim)
{
    PyObject *info = made == NULL ? NULL : info_of((pm_py_collection *)made);
    PyObject *number = info == NULL ? NULL : PyLong_FromUnsignedLongLong(dim);
    PyObject *same = NULL;
    if (number != NULL)
        same = pm_py_help(state, "check_same", info, number, given[2] == NULL ? Py_None : given[2],
                          given[3] == NULL ? Py_None : given[3], given[4] == NULL ? Py_None : given[4],
                          given[6] == NULL ? Py_None : given[6], given[7] == NULL ? Py_None : given[7],
                          given[8] == NULL ? Py_None : given[8], NULL);
    Py_XDECREF(number);
    Py_XDECREF(info);
    Py_XDECREF(same);
    if (same == NULL) Py_CLEAR(made);
    return made;
}

static PyObject *py_collection(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"name",   "dim",   "metric",     "ids",   "ttl",
                                        "create", "dtype", "cluster_by", "index", NULL};
    pm_py_collection *on = (pm_py_collection *)self;
    pm_py_state *state = on->state;
    PyObject *given[9] = {NULL};
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    bool create = true;
    if (pm_py_args(state, "collection", names, 2, args, count, keywords, given) != 0) return NULL;
    if (given[0] == NULL) return pm_py_refuse_type(state, "collection() needs a name");
    const char *name = pm_py_text(state, "the collection's name", given[0]);
    if (name == NULL || take_options(state, given, &options) != 0 ||
        pm_py_bool(state, "create", given[5], &create) != 0)
        return NULL;
    bool told = given[1] != NULL && given[1] != Py_None;
    for (int tries = 0; tries < 3; tries++) { /* others may make or drop it meanwhile */
        admin_job *a = admin(on, OPEN, name, NULL, true, NULL);
        if (a != NULL) return check_same(state, collection_new(on, a), given, options.dim);
        PyObject *missing = PyDict_GetItemString(state->errors, "ENOTFOUND");
        if (missing == NULL || !PyErr_ExceptionMatches(missing)) return NULL;
        if (!create || !told) {
            say_missing(on, given[0], create ? "dim" : "");
            return NULL;
        }
        PyErr_Clear();
        a = admin(on, CREATE, name, NULL, true, &options);
        if (a != NULL) return collection_new(on, a);
        PyObject *there = PyDict_GetItemString(state->errors, "EEXISTS");
        if (there == NULL || !PyErr_ExceptionMatches(there)) return NULL;
        PyErr_Clear();
    }
    return pm_py_refuse(state, POMAI_EBUSY, "the collection is made and dropped by others all the time: try again");
}

/* ---- info ---- */

static PyObject *info_of(pm_py_collection *on)
{
    static const char *const metrics[] = {"?", "l2", "ip", "cosine"};
    static const char *const dtypes[] = {"?", "float32", "float16", "int8"};
    static const char *const indexes[] = {"auto", "exact", "codes", "graph"};
    admin_job *a = admin(on, INFO, NULL, NULL, false, NULL);
    if (a == NULL) return NULL;
    const pomai_collection_info *i = &a->out.info;
    PyObject *values = Py_BuildValue("(sIssKKsss)", i->name, (unsigned)i->dim, metrics[(unsigned)i->metric & 3],
                                     i->id_kind == POMAI_ID_STRING ? "string" : "u64", (unsigned long long)i->ttl_ns,
                                     (unsigned long long)i->rows, dtypes[(unsigned)i->dtype & 3], i->cluster_by,
                                     indexes[(unsigned)i->index & 3]);
    admin_release(&a->job);
    PyObject *info = values == NULL ? NULL : pm_py_help(on->state, "info", values, NULL);
    Py_XDECREF(values);
    return info;
}

static PyObject *get_info(PyObject *self, void *unused)
{
    (void)unused;
    return info_of((pm_py_collection *)self);
}

static PyObject *get_of_info(PyObject *self, void *name)
{
    PyObject *info = info_of((pm_py_collection *)self);
    PyObject *value = info == NULL ? NULL : PyObject_GetAttrString(info, name);
    Py_XDECREF(info);
    return value;
}

static int count_rows(PyObject *self, uint64_t *rows)
{
    admin_job *a = admin((pm_py_collection *)self, INFO, NULL, NULL, false, NULL);
    if (a == NULL) return -1;
    *rows = a->out.info.rows;
    admin_release(&a->job);
    return 0;
}

/* Without arguments it is known without a look at each row. */
static PyObject *py_count(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    uint64_t rows;
    if (count > 0 || (keywords != NULL && PyTuple_Size(keywords) > 0))
        return pm_py_count_method(self, args, count, keywords);
    return count_rows(self, &rows) != 0 ? NULL : PyLong_FromUnsignedLongLong(rows);
}

static Py_ssize_t py_length(PyObject *self)
{
    uint64_t rows;
    return count_rows(self, &rows) != 0 ? -1 : (Py_ssize_t)rows;
}

/* `id in collection`: without this it would walk all rows, and compare them with an id. */
static int py_contains(PyObject *self, PyObject *id)
{
    PyObject *get = PyObject_GetAttrString(self, "get");
    PyObject *args = get == NULL ? NULL : Py_BuildValue("(O)", id);
    PyObject *options = args == NULL ? NULL : Py_BuildValue("{s:O,s:O}", "vectors", Py_False, "documents", Py_False);
    PyObject *row = options == NULL ? NULL : PyObject_Call(get, args, options);
    Py_XDECREF(options);
    Py_XDECREF(args);
    Py_XDECREF(get);
    const bool one = row != NULL && (row == Py_None || Py_TYPE(row) == ((pm_py_collection *)self)->state->row);
    if (row != NULL && !one)
        pm_py_refuse_type(((pm_py_collection *)self)->state, "`in` asks for one id, not for %R",
                          (PyObject *)Py_TYPE(id));
    const int found = one ? row != Py_None : -1;
    Py_XDECREF(row);
    return found;
}

/* ---- snapshots ---- */

static PyObject *py_snapshot(PyObject *self, PyObject *none)
{
    pm_py_collection *on = (pm_py_collection *)self;
    (void)none;
    admin_job *a = admin(on, SNAPSHOT, NULL, NULL, true, NULL);
    if (a == NULL) return NULL;
    pomai_snapshot *handle = a->out.snapshot;
    admin_release(&a->job);
    pm_py_snapshot *made = (pm_py_snapshot *)PyType_GenericAlloc(on->state->snapshot, 0);
    if (made == NULL) {
        pomai_snapshot_close(handle);
        return NULL;
    }
    pm_py_database *db = on->db;
    made->state = on->state;
    made->db = (pm_py_database *)Py_NewRef((PyObject *)db);
    made->handle = handle;
    made->next = db->snapshots;
    if (made->next != NULL) made->next->previous = made;
    db->snapshots = made;
    return (PyObject *)made;
}

static int close_snapshot(pm_py_snapshot *s)
{
    if (s->closed || s->db->generation != pm_py_generation()) return 0;
    s->closed = true;
    if (pm_py_wait_idle(s->db, &s->users) != 0) {
        s->closed = s->handle == NULL;
        return -1;
    }
    pomai_snapshot *handle = s->handle;
    if (handle == NULL) return 0;
    s->handle = NULL;
    if (s->previous != NULL)
        s->previous->next = s->next;
    else
        s->db->snapshots = s->next;
    if (s->next != NULL) s->next->previous = s->previous;
    s->db->base.users++; /* the database stays open meanwhile */
    Py_BEGIN_ALLOW_THREADS pomai_snapshot_close(handle);
    Py_END_ALLOW_THREADS s->db->base.users--;
    return 0;
}

static PyObject *snapshot_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    return close_snapshot((pm_py_snapshot *)self) != 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *snapshot_digest(PyObject *self, PyObject *none)
{
    (void)none;
    return digest(&((pm_py_snapshot *)self)->db->base, self);
}

static PyObject *get_self(PyObject *self, PyObject *none)
{
    (void)none;
    return Py_NewRef(self);
}

static void snapshot_dealloc(PyObject *self)
{
    pm_py_snapshot *s = (pm_py_snapshot *)self;
    if (s->db != NULL) (void)close_snapshot(s);
    Py_XDECREF((PyObject *)s->db);
    pm_py_free_object(self);
}

/* ---- closing ---- */

static int close_collection(pm_py_collection *on)
{
    if (on->closed || on->db->generation != pm_py_generation()) return 0;
    on->closed = true;
    if (pm_py_wait_idle(on->db, &on->users) != 0) {
        on->closed = on->handle == NULL;
        return -1;
    }
    if (on->handle == NULL) return 0;
    if (on->previous != NULL)
        on->previous->next = on->next;
    else
        on->db->collections = on->next;
    if (on->next != NULL) on->next->previous = on->previous;
    pomai_collection_close(on->handle);
    on->handle = NULL;
    return 0;
}

static PyObject *py_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    int failed =
        is_database(self) ? pm_py_database_close((pm_py_database *)self) : close_collection((pm_py_collection *)self);
    return failed != 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *get_closed(PyObject *self, void *unused)
{
    pm_py_collection *on = (pm_py_collection *)self;
    (void)unused;
    return PyBool_FromLong(on->closed || on->db->base.closed);
}

static PyObject *collection_repr(PyObject *self)
{
    const pm_py_collection *on = (pm_py_collection *)self;
    const bool closed = on->closed || on->db->base.closed;
    if (is_database(self)) {
        PyObject *path = PyOS_FSPath(on->db->path);
        if (path == NULL) return NULL;
        PyObject *text = PyUnicode_FromFormat("<pomai.Database %R%s>", path, closed ? ", closed" : "");
        Py_DECREF(path);
        return text;
    }
    PyObject *name = closed ? NULL : get_of_info(self, (void *)"name");
    PyObject *text = name != NULL ? PyUnicode_FromFormat("<pomai.Collection %R>", name)
                                  : PyUnicode_FromFormat("<pomai.Collection, %s>", closed ? "closed" : "dropped");
    if (text != NULL && name == NULL) PyErr_Clear(); /* what keeps the name from being read is no failure of repr() */
    Py_XDECREF(name);
    return text;
}

/* An empty collection is one all the same: `if db:` asks whether there is one. */
static int always_true(PyObject *self)
{
    (void)self;
    return 1;
}

static void collection_dealloc(PyObject *self)
{
    pm_py_collection *on = (pm_py_collection *)self;
    if (on->db != NULL) (void)close_collection(on);
    Py_XDECREF((PyObject *)on->db);
    pm_py_free_object(self);
}

/* ---- types ---- */

static PyMethodDef collection_methods[] = {
    {"add", FAST(pm_py_add), add_doc},
    {"add_batch", FAST(pm_py_add), add_batch_doc},
    {"upsert", FAST(pm_py_add), upsert_doc},
    {"get", FAST(pm_py_get), get_doc},
    {"update", FAST(pm_py_update), update_doc},
    {"delete", FAST(pm_py_delete), delete_doc},
    {"search", FAST(pm_py_search), search_doc},
    {"scan", FAST(pm_py_scan_method), scan_doc},
    {"to_arrow", FAST(pm_py_to_arrow), to_arrow_doc},
    {"__arrow_c_stream__", FAST(pm_py_collection_stream), stream_doc},
    {"reserve", FAST(pm_py_reserve), reserve_doc},
    {"count", FAST(py_count), count_doc},
    {"freeze", py_freeze, METH_NOARGS, freeze_doc},
    {"flush", py_flush, METH_NOARGS, flush_doc},
    {"compact", py_compact, METH_NOARGS, compact_doc},
    {"build_indexes", py_build_indexes, METH_NOARGS, build_indexes_doc},
    {"close", py_close, METH_NOARGS, close_doc},
    {"__enter__", get_self, METH_NOARGS, NULL},
    {"__exit__", py_close, METH_VARARGS, NULL},
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef pm_py_database_method_table[] = {
    {"collection", FAST(py_collection), collection_doc},
    {"collections", py_collections, METH_NOARGS, collections_doc},
    {"drop", py_drop, METH_O, drop_doc},
    {"snapshot", py_snapshot, METH_NOARGS, snapshot_method_doc},
    {"sync", py_sync, METH_NOARGS, sync_doc},
    {"stats", py_stats, METH_NOARGS, stats_doc},
    {"digest", FAST(py_digest), digest_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef collection_getset[] = {
    {"info", get_info, NULL, "Name, dim, metric, kind of id, ttl, rows and dtype: a pomai.Info.", NULL},
    {"name", get_of_info, NULL, "Its name.", (void *)"name"},
    {"dim", get_of_info, NULL, "Its dimension; 0 for `default` before the first add.", (void *)"dim"},
    {"dtype", get_of_info, NULL, "The type of its vectors as they are stored: 'float32', 'float16' or 'int8'.",
     (void *)"dtype"},
    {"closed", get_closed, NULL, "Whether it is closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef snapshot_methods[] = {
    {"digest", snapshot_digest, METH_NOARGS, snapshot_digest_doc},
    {"close", snapshot_close, METH_NOARGS, snapshot_close_doc},
    {"__enter__", get_self, METH_NOARGS, NULL},
    {"__exit__", snapshot_close, METH_VARARGS, NULL},
    {"__reduce__", pm_py_no_pickle, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot collection_slots[] = {
    {Py_tp_doc, (void *)"A collection of an open database: rows of one dimension, metric and kind of id.\n\n"
                        ">>> words = db.collection('words', 2)\n"
                        ">>> words.name, words.dim, len(words), words.closed\n"
                        "('words', 2, 0, False)\n"},
    {Py_tp_dealloc, (void *)collection_dealloc},
    {Py_tp_getset, collection_getset},
    {Py_tp_methods, collection_methods},
    {Py_mp_length, (void *)py_length},
    {Py_nb_bool, (void *)always_true},
    {Py_tp_iter, (void *)pm_py_collection_iterate},
    {Py_tp_repr, (void *)collection_repr},
    {Py_sq_contains, (void *)py_contains},
    {Py_tp_new, (void *)pm_py_no_new},
    {0, NULL}};
static PyType_Slot snapshot_slots[] = {
    {Py_tp_doc, (void *)"The whole database at one moment, for get() and search() of its collections.\n\n"
                        ">>> with db.snapshot() as snapshot:\n"
                        "...     snapshot.digest() == db.digest()\n"
                        "True\n"},
    {Py_tp_dealloc, (void *)snapshot_dealloc},
    {Py_tp_methods, snapshot_methods},
    {Py_tp_new, (void *)pm_py_no_new},
    {0, NULL}};
PyType_Spec pm_py_collection_spec = {"pomai._core.Collection", sizeof(pm_py_collection), 0,
                                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, collection_slots};
PyType_Spec pm_py_snapshot_spec = {"pomai._core.Snapshot", sizeof(pm_py_snapshot), 0, Py_TPFLAGS_DEFAULT,
                                   snapshot_slots};
