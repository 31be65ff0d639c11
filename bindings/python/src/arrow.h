/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrow in and out. The three structs have the layout of the Arrow C data interface and C stream interface
 * (arrow.apache.org, "The Arrow C data interface" and "The Arrow C stream interface"), which is fixed for good.
 * Whoever holds a struct whose `release` is not NULL owns what it points to, and calls release once.
 */
#ifndef PM_PY_ARROW_H
#define PM_PY_ARROW_H

#include "core.h"

typedef struct pm_arrow_schema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct pm_arrow_schema **children, *dictionary;
    void (*release)(struct pm_arrow_schema *schema);
    void *private_data;
} pm_arrow_schema;

typedef struct pm_arrow_array {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct pm_arrow_array **children, *dictionary;
    void (*release)(struct pm_arrow_array *array);
    void *private_data;
} pm_arrow_array;

typedef struct pm_arrow_stream {
    int (*get_schema)(struct pm_arrow_stream *stream, pm_arrow_schema *schema);
    int (*get_next)(struct pm_arrow_stream *stream, pm_arrow_array *array);
    const char *(*get_last_error)(struct pm_arrow_stream *stream);
    void (*release)(struct pm_arrow_stream *stream);
    void *private_data;
} pm_arrow_stream;

enum { PM_ARROW_NULLABLE = 2 };

/* ---- arrow_out.c ---- */

/* What columns rows or a result have. */
typedef struct pm_arrow_shape {
    uint64_t dim;
    size_t query; /* of a result */
    bool strings, vectors, documents, result;
    bool binary;       /* ids and documents need not be UTF-8 */
    pomai_dtype dtype; /* of the vectors; 0: float32 */
} pm_arrow_shape;

/* Both need no GIL. 0, or an errno. */
int pm_arrow_schema_make(const pm_arrow_shape *shape, pm_arrow_schema *out);
/* Shares `held`. EILSEQ, ERANGE: `why` (of 256 bytes) has a sentence. */
int pm_arrow_array_make(const pm_arrow_shape *shape, pm_py_held *held, pm_arrow_array *out, char *why);
/* (schema capsule, array capsule) */
PyObject *pm_arrow_pair(pm_py_state *state, const pm_arrow_shape *shape, pm_py_held *held);
PyObject *pm_arrow_stream_capsule(pm_arrow_stream *stream);

/* ---- arrow_column.c: reading any column, however hostile ---- */

typedef enum {
    PM_ARROW_NULL,
    PM_ARROW_BOOL,
    PM_ARROW_NUMBER, /* numbers.kind and itemsize say which */
    PM_ARROW_BYTES,  /* string or binary */
    PM_ARROW_LIST,   /* of equal or different lengths */
    PM_ARROW_FIXED,  /* list of `width` items */
    PM_ARROW_STRUCT, /* children */
    PM_ARROW_DAYS,   /* date, in 32 bits */
    PM_ARROW_TIME,   /* date in ms, timestamp; 64 bits, `unit` a second */
    PM_ARROW_CLOCK,  /* time of day, 32 or 64 bits, `unit` a second */
    PM_ARROW_OTHER,
} pm_arrow_kind;

/* A column of one array: item i of it stands at start + i of the array's buffers. */
typedef struct pm_arrow_column {
    const pm_arrow_schema *schema;
    const pm_arrow_array *array;
    const char *name;
    pm_arrow_kind kind;
    pm_py_numbers numbers;
    int64_t start, length, width, unit;
    bool text;  /* UTF-8 */
    bool large; /* 64-bit offsets */
    bool view;  /* a string view, or list view */
    bool zoned; /* a timestamp with a time zone */
} pm_arrow_column;

/* Says what a column of this schema is; array may be NULL. Checks everything that can be checked at once. */
int pm_arrow_column_take(pm_py_state *state, const char *name, const pm_arrow_schema *schema,
                         const pm_arrow_array *array, int64_t start, int64_t length, pm_arrow_column *out);
bool pm_arrow_is_null(const pm_arrow_column *column, int64_t i);
/* The column of the values, and *i of it, when it is dictionary-encoded. 1: null. -1: an exception. */
int pm_arrow_resolve(pm_py_state *state, const pm_arrow_column *column, int64_t *i, pm_arrow_column *values);
int pm_arrow_bytes(pm_py_state *state, const pm_arrow_column *column, int64_t i, pomai_bytes *out);
const char *pm_arrow_number(const pm_arrow_column *column, int64_t i);
int64_t pm_arrow_int(const pm_arrow_column *column, int64_t i);
/* Item i of a list: *first and *count items of child 0 of its array, with the array's own offset counted in. */
int pm_arrow_list(pm_py_state *state, const pm_arrow_column *column, int64_t i, int64_t *first, int64_t *count);

/* ---- arrow_json.c ---- */

/* Fills out->bytes with a JSON object a row, of the columns given. *memory is to be freed after them. */
int pm_arrow_metadata(pm_py_state *state, const pm_arrow_column *columns, size_t count, int64_t rows,
                      pm_py_documents *out, char **memory);

/* ---- arrow_in.c ---- */

/* add() of an Arrow table or stream; *taken false: it is none, and nothing was done. */
PyObject *pm_arrow_add(pm_py_collection *on, PyObject *const *given, bool *taken);
/* Vectors of an Arrow array of lists. 1: it is none, and nothing was done. */
int pm_arrow_vectors(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out);

#endif
