/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extension module pomai._core: what its files share.
 *
 * Rules. The GIL is released around every call of the engine. What a call uses (buffers, handles) it holds until the
 * engine is done: counters of users are changed under the GIL only, and a handle is closed when its counter is 0.
 * Functions that return int give 0, or -1 with an exception set.
 */
#ifndef PM_PY_CORE_H
#define PM_PY_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pomai/pomai.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct pm_py_database pm_py_database;
typedef struct pm_py_job pm_py_job;

/* State of the module; objects point to it, and keep it alive through their type. */
typedef struct pm_py_state {
    PyTypeObject *collection, *database, *snapshot, *block, *view, *answer, *result, *results, *rows, *row, *hit, *scan;
    PyObject *errors;       /* status -> class */
    PyObject *base_error;   /* pomai.Error */
    PyObject *type_error;   /* pomai.InvalidTypeError */
    PyObject *fork_error;   /* pomai.ForkError */
    PyObject *closed_error; /* pomai.ClosedError */
    PyObject *helpers;      /* pomai._helpers, at the first use */
    PyObject *filter;       /* the class of what FilterOp makes, the same */
    PyObject *shown;        /* pm_py_show's last */
    PyObject *asarray;      /* numpy.asarray, None without NumPy, NULL: not looked for yet */
    PyTypeObject *unmasked; /* the type that was last seen to be no masked array */
    pm_py_database *open;   /* databases that are open */
} pm_py_state;

pm_py_state *pm_py_state_of(PyObject *module);
/* pomai._helpers.NAME, new. */
PyObject *pm_py_helper(pm_py_state *state, const char *name);
/* pomai._helpers.NAME(args...), ended by NULL. */
PyObject *pm_py_help(pm_py_state *state, const char *name, ...);

/* ---- errors.c ---- */

int pm_py_errors_load(pm_py_state *state);
/* Raises the exception of a failed call; returns NULL. */
PyObject *pm_py_raise(pm_py_state *state, const pomai_error *err);
/* Raises what the binding itself refuses. An exception that is set already becomes the cause; but Ctrl-C and the like
 * stay as they are. */
PyObject *pm_py_refuse(pm_py_state *state, pomai_status status, const char *format, ...);
PyObject *pm_py_refuse_type(pm_py_state *state, const char *format, ...);
PyObject *pm_py_refuse_as(PyObject *type, const char *format, ...);
/* An argument as a message shows it, for %U; borrowed, until the next call. */
PyObject *pm_py_show(pm_py_state *state, PyObject *object);

/* ---- args.c ---- */

/* Distributes the arguments of a fast call over `names`, which ends with NULL; absent ones stay NULL. */
int pm_py_args(pm_py_state *state, const char *function, const char *const *names, Py_ssize_t positional,
               PyObject *const *args, Py_ssize_t count, PyObject *keywords, PyObject **out);
/* NULL and None give *value as it was. */
int pm_py_durability(pm_py_state *state, PyObject *object, pomai_durability *value);
int pm_py_deadline(pm_py_state *state, PyObject *object, uint64_t *microseconds);
int pm_py_mode(pm_py_state *state, PyObject *object, pomai_read_mode *mode);
int pm_py_bool(pm_py_state *state, const char *what, PyObject *object, bool *value);
int pm_py_count(pm_py_state *state, const char *what, PyObject *object, uint64_t *value);
/* The same where less than 64 bits are allowed, as `range` says; `above` is what more than that is refused with (and
 * less, but for POMAI_ETOOBIG). What 64 bits hold is the caller's to check. */
int pm_py_count_in(pm_py_state *state, const char *what, const char *range, pomai_status above, PyObject *object,
                   uint64_t *value);
/* The word of `words` (ended by NULL) that object is, else -1 and an exception that lists them. */
int pm_py_word(pm_py_state *state, const char *what, PyObject *object, const char *const *words);
/* A path as a new reference to bytes. */
PyObject *pm_py_path(pm_py_state *state, PyObject *object);
/* A str without NUL as UTF-8, which lives as long as the object. */
const char *pm_py_text(pm_py_state *state, const char *what, PyObject *object);

/* ---- numbers.c: what any exporter of numbers holds ---- */

typedef struct pm_py_numbers {
    const char *data;
    int ndim; /* at most 2; 0 to 2 */
    Py_ssize_t shape[2], strides[2], itemsize;
    char kind; /* 'f' float, 'i' signed, 'u' unsigned, '?' bool, 0: something else */
    bool swapped;
} pm_py_numbers;

/* Sets kind, itemsize and swapped. */
void pm_py_format(const char *format, Py_ssize_t itemsize, pm_py_numbers *numbers);
bool pm_py_contiguous(const pm_py_numbers *numbers);
double pm_py_load_double(const pm_py_numbers *numbers, const char *at);
/* False when negative. */
bool pm_py_load_u64(const pm_py_numbers *numbers, const char *at, uint64_t *value);

/* ---- input.c, ids.c, documents.c, columns.c: what goes in ---- */

typedef struct pm_py_vectors {
    const void *data;
    pomai_dtype dtype;  /* of data */
    pomai_dtype narrow; /* arrays of this type are taken as they are, besides float32; FLOAT32: none */
    uint64_t rows, dim;
    bool single;   /* one vector of one dimension was given */
    bool row;      /* of a list: it holds no further lists */
    bool borrowed; /* buffer is to be released */
    Py_buffer buffer;
    void *owned;
    PyObject *keep; /* a DLPack capsule */
} pm_py_vectors;

/* Masked arrays of NumPy: what lies under the mask would be taken. */
int pm_py_refuse_masked(pm_py_state *state, const char *what, PyObject *object);
/* Times and spans of time of NumPy, whose scalars show their bytes as numbers from 0 to 255. NULL format: they show
 * none. Costs nothing where the format is of other numbers. */
int pm_py_refuse_times(pm_py_state *state, const char *what, PyObject *object, const char *format, const char *wanted);

/* `narrow` as in the struct. */
int pm_py_vectors_take(pm_py_state *state, const char *what, PyObject *object, pomai_dtype narrow, pm_py_vectors *out);
/* Whether numbers are of this type, in the machine's byte order. */
bool pm_py_is_dtype(const pm_py_numbers *numbers, pomai_dtype dtype);
size_t pm_py_dtype_size(pomai_dtype dtype);
void pm_py_vectors_release(pm_py_vectors *vectors);

typedef struct pm_py_ids {
    pomai_ids ids;
    bool single; /* an id, not a list */
    uint64_t *owned;
    pomai_bytes *strings;
    PyObject *keep; /* the tuple whose strings are borrowed */
    PyObject *kept; /* strings of our own, or NULL */
} pm_py_ids;

int pm_py_ids_take(pm_py_state *state, const char *what, PyObject *object, pm_py_ids *out);
void pm_py_ids_release(pm_py_ids *ids);
/* Id i, as a Python object. */
PyObject *pm_py_ids_item(const pm_py_ids *ids, size_t i);

typedef struct pm_py_documents {
    pomai_bytes *bytes; /* NULL: none */
    PyObject *keep;
    pomai_bytes **encoded; /* what some of `bytes` point into */
    size_t encodings;
    const char *each; /* what has one each, as messages name it: "vectors" */
} pm_py_documents;

/* `documents` and `metadata` may be NULL or None; not both given. */
int pm_py_documents_take(pm_py_state *state, PyObject *documents, PyObject *metadata, uint64_t rows, bool single,
                         const char *each, pm_py_documents *out);
void pm_py_documents_release(pm_py_documents *documents);

/* ---- handles ---- */

typedef struct pm_py_collection {
    PyObject_HEAD pm_py_state *state;
    pm_py_database *db; /* itself for a database; a reference for others */
    pomai_collection *handle;
    struct pm_py_collection *previous, *next; /* among those of the database; not for the database */
    uint64_t rows_hint;                       /* about how many rows a search compares; 0: not known */
    uint64_t filtered_ns;                     /* a query of the last search with a filter took; 0: not known */
    Py_ssize_t users;                         /* calls under way */
    bool closed;
} pm_py_collection;

typedef struct pm_py_snapshot {
    PyObject_HEAD pm_py_state *state;
    pm_py_database *db;
    pomai_snapshot *handle; /* NULL: closed */
    struct pm_py_snapshot *previous, *next;
    Py_ssize_t users;
    bool closed;
} pm_py_snapshot;

typedef struct pm_py_scan pm_py_scan; /* scan.c */

struct pm_py_database {
    pm_py_collection base; /* the collection `default`; base.users counts all calls on the database */
    pomai_db *handle;
    pm_py_collection *collections;
    pm_py_snapshot *snapshots;
    pm_py_scan *scans;
    pm_py_job *jobs; /* under way, or abandoned and not reaped */
    pm_py_database *previous, *next;
    PyObject *path;
    Py_ssize_t blocks;   /* that are open */
    unsigned generation; /* of the process that opened it */
};

/* ---- wait.c: signals, forks, helpers ---- */

int pm_py_wait_init(void);
/* Changes in a forked child. */
unsigned pm_py_generation(void);
bool pm_py_main_thread(void);
/* Returns when *users is 0; the GIL is released meanwhile. -1 after a signal that raised. */
int pm_py_wait_idle(pm_py_database *db, const Py_ssize_t *users);

/* A call that may take long. In the main thread it runs in a helper while this thread looks after signals. */
struct pm_py_job {
    void (*run)(pm_py_job *job);     /* without the GIL */
    void (*release)(pm_py_job *job); /* frees what it holds, with the GIL; the job too */
    void (*orphan)(pm_py_job *job);  /* instead of release, when `on` is NULL: in the helper, without the GIL */
    void (*stopped)(pm_py_job *job); /* instead of release, with an exception set that ended the call and what it did by
                                        then known; NULL: nobody waits for that */
    pm_py_collection *on;            /* whose call it is: a reference; NULL for open */
    pm_py_snapshot *snapshot;        /* a reference, or NULL */
    Py_ssize_t *users;               /* one less once it is done; NULL: none */
    pomai_status status;
    pomai_error err;
    struct pm_py_shared *shared; /* of the two threads; wait.c's */
    pm_py_job *previous, *next;
    bool settled, listed, abandoned;
    volatile int cancel; /* nobody waits for the answer any more */
};

/* Runs it; `aside` false: in this thread. 0: done, look at status. -1: an exception is set, and the job is no longer
 * the caller's. */
int pm_py_job_run(pm_py_state *state, pm_py_job *job, bool aside);
/* Instead of running it, when it has been: its handles are in use no longer. */
void pm_py_job_finish(pm_py_job *job);
/* Frees the abandoned jobs that are done. */
void pm_py_jobs_reap(pm_py_database *db);

/* Raises pomai.ForkError; returns -1. */
int pm_py_refuse_fork(pm_py_state *state);
/* Begins and ends a call on a handle. begin refuses what is closed or of another process. */
int pm_py_begin(pm_py_collection *on);
void pm_py_end(pm_py_collection *on);
int pm_py_snapshot_begin(pm_py_collection *on, PyObject *object, pm_py_snapshot **snapshot);
void pm_py_snapshot_end(pm_py_snapshot *snapshot);
int pm_py_database_close(pm_py_database *db);
PyObject *pm_py_close_all(PyObject *module, PyObject *none);

/* Hears signals within a call, which is over meanwhile: a handler may close the database, and must not wait for it. -1:
 * an exception is set; the call is to be ended all the same. */
int pm_py_check_signals(pm_py_collection *on);
/* A write, tried in slices so that signals are seen. `attempt` returns the engine's status. */
typedef pomai_status (*pm_py_attempt)(void *context, uint64_t deadline_us, pomai_error *err);
pomai_status pm_py_write(pm_py_collection *on, pm_py_attempt attempt, void *context, uint64_t deadline_us,
                         pomai_error *err, bool *raised);

/* ---- what comes out ---- */

/* An object that exports `data` (format 'f', 'd' or 'Q') and keeps `owner`; of one dimension when columns < 0. */
PyObject *pm_py_view(pm_py_state *state, PyObject *owner, void *data, char format, Py_ssize_t rows, Py_ssize_t columns,
                     bool writable);
/* The same as a NumPy array, or a memoryview without NumPy. Steals exporter, which may be NULL after a failure. */
PyObject *pm_py_array(pm_py_state *state, PyObject *exporter);
bool pm_py_has_numpy(pm_py_state *state);
/* A view over memory of its own, to be filled. */
PyObject *pm_py_view_new(pm_py_state *state, char format, Py_ssize_t rows, Py_ssize_t columns, void **data);
PyObject *pm_py_document(pomai_bytes document);
PyObject *pm_py_string_id(pomai_bytes id);
PyObject *pm_py_answer(pm_py_state *state, pomai_result *result, uint64_t dim, bool strings, bool vectors, bool single);
/* What the engine answered, shared by Python objects and Arrow arrays: the last user frees it, in any thread, with or
 * without the GIL. */
typedef struct pm_py_held {
    atomic_size_t users;
    pomai_rows *rows;
    pomai_result *result;
} pm_py_held;

/* Takes over rows or result, which are freed when it fails: NULL, without an exception. */
pm_py_held *pm_py_hold(pomai_rows *rows, pomai_result *result);
pm_py_held *pm_py_held_share(pm_py_held *held);
void pm_py_held_drop(pm_py_held *held);

/* Takes over rows and ids; ids NULL: those that the rows have. */
PyObject *pm_py_rows_new(pm_py_state *state, pomai_rows *rows, pm_py_ids *ids, bool vectors, bool documents);
PyObject *pm_py_rows_item(PyObject *rows, Py_ssize_t i);

/* ---- scan.c ---- */

/* Closes the scans of a database that is closing. */
void pm_py_scans_close(pm_py_database *db);
PyObject *pm_py_scan_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_to_arrow(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_collection_stream(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_collection_iterate(PyObject *self);

/* ---- write.c: shared with Arrow ---- */

typedef struct pm_py_add_input {
    pm_py_vectors vectors;
    pm_py_ids ids, expiry;
    pm_py_documents documents;
    bool has_ids, has_expiry;
    uint64_t before; /* rows that the same call has stored */
    pomai_write_options options;
} pm_py_add_input;

/* Refuses seconds, milliseconds or microseconds of our days, which taken for ns would make row i vanish at once. */
int pm_py_check_time(pm_py_state *state, uint64_t i, uint64_t time);
/* Puts all of it, in pieces if it is large. Runs of assigned ids are appended to `runs`, unless NULL. */
int pm_py_put_all(pm_py_collection *on, pm_py_add_input *in, PyObject *runs);
/* The ids of runs (first, count): an array, a list or range without NumPy; an int if single. */
PyObject *pm_py_assigned_ids(pm_py_state *state, PyObject *runs, bool single);
/* Sets rows_stored of the exception that is set. */
void pm_py_tell_stored(uint64_t rows);
/* The same of a batch, for which a sentence names rows of what is not stored. */
void pm_py_tell_added(pm_py_state *state, uint64_t rows);

/* ---- where.c: by what documents say ---- */

/* `filters=` as the text that the engine takes, which lives as long as *bytes: a new reference, NULL for none. */
int pm_py_filters(pm_py_state *state, PyObject *object, PyObject **bytes, const char **filter, size_t *size);
PyObject *pm_py_is_every_row(PyObject *module, PyObject *filters);
PyObject *pm_py_get_where(pm_py_collection *on, PyObject *filters, PyObject *limit, bool vectors, bool documents,
                          PyObject *snapshot, pomai_read_mode mode);
PyObject *pm_py_delete_where(pm_py_collection *on, PyObject *filters, const pomai_write_options *options);

/* ---- collection.c: methods ---- */

/* Of the vectors that the collection stores; float32 where nobody knows. Not for long: `default` may be made anew. */
pomai_dtype pm_py_collection_dtype(const pm_py_collection *on);

#define FAST(f) ((PyCFunction)(void (*)(void))(f)), METH_FASTCALL | METH_KEYWORDS

PyObject *pm_py_add(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_update(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_count_method(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_delete(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_search(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_reserve(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_open(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_document_columns(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_verify(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_salvage(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *pm_py_no_new(PyTypeObject *type, PyObject *args, PyObject *keywords);
PyObject *pm_py_no_pickle(PyObject *self, PyObject *none);
void pm_py_free_object(PyObject *self);

extern PyType_Spec pm_py_collection_spec, pm_py_database_spec, pm_py_snapshot_spec, pm_py_block_spec, pm_py_view_spec,
    pm_py_answer_spec, pm_py_result_spec, pm_py_results_spec, pm_py_rows_spec, pm_py_row_spec, pm_py_hit_spec,
    pm_py_scan_spec;

#endif
