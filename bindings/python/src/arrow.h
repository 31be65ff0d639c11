/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrow in and out: the structs of pomai/arrow.h, and that of the C stream interface (arrow.apache.org, "The Arrow C
 * stream interface"), which is fixed for good. Whoever holds a struct whose `release` is not NULL owns what it points
 * to, and calls release once.
 */
#ifndef PM_PY_ARROW_H
#define PM_PY_ARROW_H

#include "arrow/column.h"
#include "core.h"

typedef struct ArrowSchema pm_arrow_schema;
typedef struct ArrowArray pm_arrow_array;

typedef struct pm_arrow_stream {
    int (*get_schema)(struct pm_arrow_stream *stream, pm_arrow_schema *schema);
    int (*get_next)(struct pm_arrow_stream *stream, pm_arrow_array *array);
    const char *(*get_last_error)(struct pm_arrow_stream *stream);
    void (*release)(struct pm_arrow_stream *stream);
    void *private_data;
} pm_arrow_stream;

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
/* The same of structs that are there already, which it takes over. */
PyObject *pm_arrow_capsules(const pm_arrow_schema *schema, const pm_arrow_array *array);
PyObject *pm_arrow_stream_capsule(pm_arrow_stream *stream);

/* ---- arrow_column.c: arrow/column.h with exceptions ---- */

int pm_py_column_take(pm_py_state *state, const char *name, const pm_arrow_schema *schema, const pm_arrow_array *array,
                      int64_t start, int64_t length, pm_arrow_column *out);
/* The column of the values, and *i of it, when it is dictionary-encoded. 1: null. -1: an exception. */
int pm_py_column_resolve(pm_py_state *state, const pm_arrow_column *column, int64_t *i, pm_arrow_column *values);
int pm_py_column_bytes(pm_py_state *state, const pm_arrow_column *column, int64_t i, pomai_bytes *out);
int pm_py_column_list(pm_py_state *state, const pm_arrow_column *column, int64_t i, int64_t *first, int64_t *count);
/* What one number of it is. */
pm_py_numbers pm_py_column_numbers(const pm_arrow_column *column);

/* ---- arrow_source.c: where batches come from ---- */

typedef struct pm_py_source {
    PyObject *capsules; /* what the object gave: (stream,) or (schema, array) */
    pm_arrow_stream *stream;
    pm_arrow_schema owned; /* of a stream */
    const pm_arrow_schema *schema;
    pm_arrow_array *single, array; /* `array` is the batch at hand */
} pm_py_source;

/* 1: the object gives no Arrow data. */
int pm_py_source_open(pm_py_state *state, PyObject *object, pm_py_source *source);
/* The next batch in source->array; 0 without one (array.release NULL) at the end. */
int pm_py_source_next(pm_py_state *state, pm_py_source *source);
void pm_py_source_release(pm_py_source *source);
/* Releases what was moved out of source->array. Keeps the exception that is set. */
void pm_py_batch_release(pm_arrow_array *array);

/* ---- columns.c: metadata= that is columns ---- */

/* A struct array of `length` rows of these columns, from row `offset` of each on, for pm_py_documents_encode. */
typedef struct pm_py_struct {
    pm_arrow_schema schema, **schemas;
    pm_arrow_array array, **arrays;
} pm_py_struct;

int pm_py_struct_make(int64_t columns, pm_py_struct *out);
void pm_py_struct_free(pm_py_struct *s);
/* The documents of a struct array, as those of rows `first` on of out->bytes, which has room for them. */
int pm_py_documents_encode(pm_py_state *state, const pm_arrow_schema *schema, const pm_arrow_array *array,
                           uint64_t first, pm_py_documents *out);
/* metadata= as columns: a dict of them, or an Arrow table. 1: it is something else, and nothing was done. */
int pm_py_columns_take(pm_py_state *state, PyObject *metadata, uint64_t rows, pm_py_documents *out);

/* ---- arrow_in.c ---- */

/* add() of an Arrow table or stream; *taken false: it is none, and nothing was done. */
PyObject *pm_arrow_add(pm_py_collection *on, PyObject *const *given, bool *taken);
/* Vectors of an Arrow array of lists. 1: it is none, and nothing was done. */
int pm_arrow_vectors(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out);
/* Times, or ints of ns, of an Arrow array. 1: the same. */
int pm_arrow_expiry(pm_py_state *state, const char *what, PyObject *object, pm_py_ids *out);

#endif
