/* SPDX-License-Identifier: Apache-2.0 */
/* Databases, and the life of every handle: opening, calls under way, closing. */
#include "core.h"
#include <stdlib.h>
#include <string.h>

/* ---- calls under way ---- */

int pm_py_refuse_fork(pm_py_state *state)
{
    pm_py_refuse_as(state->fork_error,
                    "this process was forked from the one that opened the database; open it in the child after the "
                    "parent has closed it, or start children before opening");
    return -1;
}

static int check_open(pm_py_collection *on)
{
    if (on->db->generation != pm_py_generation()) return pm_py_refuse_fork(on->state);
    if (!on->closed && !on->db->base.closed) return 0;
    pm_py_refuse_as(on->state->closed_error, on->db->base.closed ? "the database is closed: open it again"
                                                                 : "the collection's handle is closed: open it again");
    return -1;
}

int pm_py_begin(pm_py_collection *on)
{
    if (on->db->jobs != NULL && on->db->generation == pm_py_generation()) pm_py_jobs_reap(on->db);
    if (check_open(on) != 0) return -1;
    on->users++;
    on->db->base.users += on != &on->db->base;
    return 0;
}

void pm_py_end(pm_py_collection *on)
{
    on->users--;
    on->db->base.users -= on != &on->db->base;
}

int pm_py_snapshot_begin(pm_py_collection *on, PyObject *object, pm_py_snapshot **snapshot)
{
    *snapshot = NULL;
    if (object == NULL || object == Py_None) return 0;
    if (!PyObject_TypeCheck(object, on->state->snapshot)) {
        pm_py_refuse_type(on->state, "snapshot is a pomai.Snapshot or None, not %R", Py_TYPE(object));
        return -1;
    }
    pm_py_snapshot *given = (pm_py_snapshot *)object;
    if (given->closed) {
        pm_py_refuse_as(on->state->closed_error, "the snapshot is closed: make another");
        return -1;
    }
    if (given->db != on->db) {
        pm_py_refuse(on->state, POMAI_EINVAL, "the snapshot is of another database");
        return -1;
    }
    given->users++;
    *snapshot = given;
    return 0;
}

void pm_py_snapshot_end(pm_py_snapshot *snapshot)
{
    if (snapshot != NULL) snapshot->users--;
}

/* ---- closing ---- */

static void close_children(pm_py_database *db)
{
    pm_py_scans_close(db);
    while (db->collections != NULL) {
        pm_py_collection *child = db->collections;
        db->collections = child->next;
        if (child->next != NULL) child->next->previous = NULL;
        child->previous = child->next = NULL;
        child->closed = true;
        pomai_collection_close(child->handle);
        child->handle = NULL;
    }
    while (db->snapshots != NULL) {
        pm_py_snapshot *child = db->snapshots;
        pomai_snapshot *handle = child->handle;
        db->snapshots = child->next;
        if (child->next != NULL) child->next->previous = NULL;
        child->previous = child->next = NULL;
        child->closed = true;
        child->handle = NULL;
        Py_BEGIN_ALLOW_THREADS pomai_snapshot_close(handle);
        Py_END_ALLOW_THREADS
    }
}

static void unlink_open(pm_py_database *db)
{
    if (db->previous != NULL)
        db->previous->next = db->next;
    else if (db->base.state->open == db)
        db->base.state->open = db->next;
    if (db->next != NULL) db->next->previous = db->previous;
    db->previous = db->next = NULL;
}

static bool blocks_open(pm_py_database *db)
{
    if (db->blocks == 0) return false;
    pm_py_refuse(db->base.state, POMAI_EBUSY,
                 "%zd reserved blocks are not committed yet, or arrays over them are alive: leave their with "
                 "statements and delete the arrays (`del array`), then close",
                 db->blocks);
    return true;
}

int pm_py_database_close(pm_py_database *db)
{
    pomai_error err = {0};
    pomai_status status;
    if (db->base.closed || db->generation != pm_py_generation()) return 0;
    if (blocks_open(db)) return -1;
    db->base.closed = true; /* no call begins from here on */
    /* Whoever closes a snapshot meanwhile counts as a user, too; and a call that ends now may have made a block. */
    bool raised = pm_py_wait_idle(db, &db->base.users) != 0 || blocks_open(db);
    if (!raised && db->handle != NULL) {
        close_children(db);
        raised = pm_py_wait_idle(db, &db->base.users) != 0;
    }
    if (raised) {
        db->base.closed = db->handle == NULL;
        return -1;
    }
    if (db->handle == NULL) return 0; /* a signal handler closed it meanwhile */
    pomai_db *handle = db->handle;
    db->handle = NULL;
    db->base.handle = NULL;
    unlink_open(db);
    Py_BEGIN_ALLOW_THREADS status = pomai_close(handle, &err);
    Py_END_ALLOW_THREADS if (status == POMAI_OK) return 0;
    pm_py_raise(db->base.state, &err);
    return -1;
}

PyObject *pm_py_close_all(PyObject *module, PyObject *none)
{
    pm_py_state *state = pm_py_state_of(module);
    (void)none;
    while (state->open != NULL) {
        pm_py_database *db = state->open;
        unlink_open(db);
        Py_INCREF((PyObject *)db);
        if (db->blocks == 0 && pm_py_database_close(db) != 0) PyErr_WriteUnraisable((PyObject *)db);
        Py_DECREF((PyObject *)db);
    }
    return Py_NewRef(Py_None);
}

static void database_dealloc(PyObject *self)
{
    pm_py_database *db = (pm_py_database *)self;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (db->base.db != NULL && pm_py_database_close(db) != 0) PyErr_WriteUnraisable(NULL);
    PyErr_Restore(type, value, trace);
    unlink_open(db);
    Py_XDECREF(db->path);
    pm_py_free_object(self);
}

/* ---- opening ---- */

typedef struct {
    pm_py_job job;
    char *path;
    pomai_open_options options;
    pomai_db *db;
} open_job;

static void open_run(pm_py_job *job)
{
    open_job *o = (open_job *)job;
    job->status = pomai_open(o->path, &o->options, &o->db, &job->err);
}

static void open_orphan(pm_py_job *job)
{
    open_job *o = (open_job *)job;
    (void)pomai_close(o->db, NULL);
    free(o->path);
    free(o);
}

static int open_options(pm_py_state *state, PyObject *const *given, pomai_open_options *options)
{
    static const char *const names[] = {"flags", "shards", "group_ms", "search_threads", "mailbox_slots"};
    uint32_t *const words[] = {&options->flags, &options->shards, &options->group_ms, &options->search_threads,
                               &options->mailbox_slots};
    for (int i = 0; i < 5; i++) {
        const bool shards = i == 1;
        const char *range = shards ? "from 0 to 256" : "from 0 to 2**32 - 1";
        uint64_t value = 0;
        if (pm_py_count_in(state, names[i], range, POMAI_EINVAL, given[i], &value) != 0) return -1;
        if (value > (shards ? 256 : UINT32_MAX)) {
            pm_py_refuse(state, POMAI_EINVAL, "%s is %s, not %U", names[i], range, pm_py_show(state, given[i]));
            return -1;
        }
        *words[i] = (uint32_t)value;
    }
    static const char *const wide[] = {"wal_file_bytes", "flush_bytes", "log_bytes",   "freeze_rows",  "segment_bytes",
                                       "compact_rate",   "scrub_rate",  "watch_share", "build_threads"};
    uint64_t *const values[] = {&options->wal_file_bytes, &options->flush_bytes,   &options->log_bytes,
                                &options->freeze_rows,    &options->segment_bytes, &options->compact_rate,
                                &options->scrub_rate,     &options->watch_share,   &options->build_threads};
    for (int i = 0; i < 9; i++)
        if (pm_py_count(state, wide[i], given[5 + i], values[i]) != 0) return -1;
    return pm_py_durability(state, given[14], &options->durability);
}

static PyObject *database_new(pm_py_state *state, pomai_db *handle, PyObject *path)
{
    pm_py_database *db = (pm_py_database *)PyType_GenericAlloc(state->database, 0);
    if (db == NULL) {
        (void)pomai_close(handle, NULL);
        return NULL;
    }
    db->base.state = state;
    db->base.db = db;
    db->base.handle = pomai_default(handle);
    db->handle = handle;
    db->generation = pm_py_generation();
    db->path = Py_NewRef(path);
    db->next = state->open;
    if (state->open != NULL) state->open->previous = db;
    state->open = db;
    return (PyObject *)db;
}

PyObject *pm_py_open(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"path",
                                        "flags",
                                        "shards",
                                        "group_ms",
                                        "search_threads",
                                        "mailbox_slots",
                                        "wal_file_bytes",
                                        "flush_bytes",
                                        "log_bytes",
                                        "freeze_rows",
                                        "segment_bytes",
                                        "compact_rate",
                                        "scrub_rate",
                                        "watch_share",
                                        "build_threads",
                                        "durability",
                                        NULL};
    pm_py_state *state = pm_py_state_of(module);
    PyObject *given[16] = {NULL}, *bytes = NULL;
    if (pm_py_args(state, "open", names, 16, args, count, keywords, given) != 0) return NULL;
    if (given[0] == NULL) return pm_py_refuse_type(state, "open() needs a path");
    open_job *o = calloc(1, sizeof *o);
    if (o == NULL) return PyErr_NoMemory();
    o->options = (pomai_open_options)POMAI_OPEN_OPTIONS_INIT;
    if (open_options(state, given + 1, &o->options) == 0 && (bytes = pm_py_path(state, given[0])) != NULL)
        o->path = strdup(PyBytes_AsString(bytes));
    Py_XDECREF(bytes);
    if (o->path == NULL) {
        free(o);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    o->job.run = open_run;
    o->job.orphan = open_orphan;
    if (pm_py_job_run(state, &o->job, true) != 0) return NULL;
    PyObject *db = NULL;
    if (o->job.status == POMAI_OK)
        db = database_new(state, o->db, given[0]);
    else
        pm_py_raise(state, &o->job.err);
    free(o->path);
    free(o);
    return db;
}

static PyObject *get_path(PyObject *self, void *unused)
{
    (void)unused;
    return Py_NewRef(((pm_py_database *)self)->path);
}

static PyGetSetDef database_getset[] = {
    {"path", get_path, NULL, "The path as it was given to open().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

extern PyMethodDef pm_py_database_method_table[];

static PyType_Slot database_slots[] = {
    {Py_tp_doc, (void *)"An open database, which is also its collection `default`; made by pomai.open().\n\n"
                        ">>> db.add([1, 0]), len(db), db.collections()\n"
                        "(0, 1, ['default'])\n"},
    {Py_tp_dealloc, (void *)database_dealloc},
    {Py_tp_getset, database_getset},
    {Py_tp_methods, pm_py_database_method_table},
    {Py_tp_new, (void *)pm_py_no_new},
    {0, NULL},
};
PyType_Spec pm_py_database_spec = {"pomai._core.Database", sizeof(pm_py_database), 0, Py_TPFLAGS_DEFAULT,
                                   database_slots};
