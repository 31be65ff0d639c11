/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrow tables and streams into a collection, batch by batch. float32 lists without gaps are borrowed from the
 * batch; each batch is one put, or several if it is large.
 */
#include "arrow.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 4096 };

/* ---- vectors ---- */

static bool is_list(const pm_arrow_column *c)
{
    return (c->kind == PM_ARROW_LIST || c->kind == PM_ARROW_FIXED) && c->schema->dictionary == NULL;
}

static int refuse_vector(pm_py_state *state, const pm_arrow_column *c, int64_t row, const char *what)
{
    pm_py_refuse(state, POMAI_EINVAL, "column '%.80s', row %lld: %s", c->name, (long long)row, what);
    return -1;
}

/* Where the lists lie: *first of each row's items; all of out->dim. *together: one after another. */
static int measure(pm_py_state *state, const pm_arrow_column *c, pm_py_vectors *out, int64_t *first, bool *together)
{
    int64_t at, count;
    *first = 0;
    *together = true;
    for (int64_t i = 0; i < c->length; i++) {
        if (pm_arrow_is_null(c, i)) return refuse_vector(state, c, i, "there is no vector (null); leave the row out");
        if (pm_py_column_list(state, c, i, &at, &count) != 0) return -1;
        if (i == 0) {
            *first = at;
            out->dim = (uint64_t)count;
        } else if ((uint64_t)count != out->dim) {
            pm_py_refuse(state, POMAI_EDIM, "column '%.80s' is ragged: row %lld has %lld numbers, row 0 has %llu",
                         c->name, (long long)i, (long long)count, (unsigned long long)out->dim);
            return -1;
        }
        *together = *together && (at - *first) == i * count;
    }
    return 0;
}

static int check_items(pm_py_state *state, const pm_arrow_column *c, const pm_arrow_column *items, int64_t row,
                       uint64_t dim)
{
    if (items->kind != PM_ARROW_NUMBER || items->schema->dictionary != NULL) {
        char type[PM_ARROW_TYPE_NAME];
        pm_py_refuse_type(state, "column '%.80s' is a list of the Arrow type %s; expected floats", c->name,
                          pm_arrow_type_name(items->schema, type));
        return -1;
    }
    if (items->array->null_count == 0 || items->array->buffers[0] == NULL) return 0;
    for (int64_t j = 0; j < items->length; j++)
        if (pm_arrow_is_null(items, j))
            return refuse_vector(state, c, row + j / (dim == 0 ? 1 : (int64_t)dim), "the vector has a null in it");
    return 0;
}

/* Of the collection's type: as they are. */
static void copy(const pm_arrow_column *items, size_t size, void *to)
{
    if (items->length > 0) memcpy(to, pm_arrow_number(items, 0), (size_t)items->length * size);
}

static void convert(const pm_arrow_column *items, float *to)
{
    const pm_py_numbers numbers = pm_py_column_numbers(items);
    Py_BEGIN_ALLOW_THREADS for (int64_t j = 0; j < items->length; j++) to[j] =
        (float)pm_py_load_double(&numbers, pm_arrow_number(items, j));
    Py_END_ALLOW_THREADS
}

static int take_vectors(pm_py_state *state, const pm_arrow_column *c, pm_py_vectors *out)
{
    int64_t first, count;
    bool together;
    pm_arrow_column items;
    const pm_arrow_schema *schema = c->schema->children[0];
    const pm_arrow_array *array = c->array->children[0];
    if (pm_py_column_take(state, c->name, schema, NULL, 0, 0, &items) != 0) return -1;
    const pm_py_numbers numbers = pm_py_column_numbers(&items);
    const bool number = items.kind == PM_ARROW_NUMBER && items.schema->dictionary == NULL;
    out->dtype = number && pm_py_is_dtype(&numbers, out->narrow) ? out->narrow : POMAI_DTYPE_FLOAT32;
    const bool same = number && pm_py_is_dtype(&numbers, out->dtype);
    const size_t size = pm_py_dtype_size(out->dtype);
    out->rows = (uint64_t)c->length;
    if (measure(state, c, out, &first, &together) != 0) return -1;
    if (out->dim > 0 && out->rows > (uint64_t)PY_SSIZE_T_MAX / size / out->dim) {
        PyErr_NoMemory();
        return -1;
    }
    int64_t all = (int64_t)(out->rows * out->dim);
    if (together) {
        if (pm_py_column_take(state, c->name, schema, array, first, all, &items) != 0 ||
            check_items(state, c, &items, 0, out->dim) != 0)
            return -1;
        const char *data = all == 0 ? NULL : pm_arrow_number(&items, 0);
        out->data = data;
        if (data != NULL && same && (uintptr_t)data % size == 0) return 0;
    }
    out->owned = malloc((size_t)all * size + 1);
    if (out->owned == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->data = out->owned;
    if (together) {
        if (same)
            copy(&items, size, out->owned);
        else
            convert(&items, out->owned);
        return 0;
    }
    for (int64_t i = 0; i < c->length; i++) {
        if (pm_py_column_list(state, c, i, &first, &count) != 0) return -1;
        if ((uint64_t)count != out->dim) return refuse_vector(state, c, i, "the vector changes while it is read");
        if (pm_py_column_take(state, c->name, schema, array, first, count, &items) != 0 ||
            check_items(state, c, &items, i, out->dim) != 0)
            return -1;
        char *to = (char *)out->owned + (size_t)(i * count) * size;
        if (same)
            copy(&items, size, to);
        else
            convert(&items, (float *)(void *)to);
    }
    return 0;
}

static void free_array(PyObject *capsule)
{
    pm_arrow_array *array = PyCapsule_GetPointer(capsule, "arrow_array");
    pm_py_batch_release(array);
    free(array);
}

/* The batch at hand, as an object that keeps it. */
static PyObject *keep_batch(pm_py_source *s)
{
    pm_arrow_array *moved = malloc(sizeof *moved);
    if (moved == NULL) return PyErr_NoMemory();
    *moved = s->array;
    memset(&s->array, 0, sizeof s->array);
    PyObject *capsule = PyCapsule_New(moved, "arrow_array", free_array);
    if (capsule == NULL) {
        pm_py_batch_release(moved);
        free(moved);
    }
    return capsule;
}

/* Appends a chunk to out, which owns its memory from the second on. */
static int append_chunk(pm_py_state *state, const char *what, pm_py_source *s, pm_py_vectors *out)
{
    pm_arrow_column c;
    pm_py_vectors part = {.dtype = POMAI_DTYPE_FLOAT32, .narrow = out->narrow};
    int failed = -1;
    if (s->array.length == 0 && out->rows > 0) return 0;
    if (pm_py_column_take(state, what, s->schema, &s->array, 0, s->array.length, &c) != 0 ||
        take_vectors(state, &c, &part) != 0)
        goto end;
    if (out->rows == 0) {
        PyObject *keep = part.owned == NULL ? keep_batch(s) : NULL;
        if (part.owned == NULL && keep == NULL) goto end;
        pm_py_vectors_release(out);
        *out = part;
        out->keep = keep;
        return 0;
    }
    if (part.dim != out->dim) {
        pm_py_refuse(state, POMAI_EDIM, "%s is ragged: a chunk has vectors of %llu numbers, the first has %llu", what,
                     (unsigned long long)part.dim, (unsigned long long)out->dim);
        goto end;
    }
    /* Chunks are of one schema, so of one type. */
    size_t row = (size_t)out->dim * pm_py_dtype_size(out->dtype), old = (size_t)out->rows * row,
           more = (size_t)part.rows * row;
    char *grown = old > PY_SSIZE_T_MAX - more ? NULL : realloc(out->owned, old + more + 1);
    if (grown == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    if (out->owned == NULL) memcpy(grown, out->data, old);
    memcpy(grown + old, part.data, more);
    out->owned = grown;
    out->data = grown;
    out->rows += part.rows;
    Py_CLEAR(out->keep);
    failed = 0;
end:
    pm_py_vectors_release(&part);
    return failed;
}

int pm_arrow_vectors(pm_py_state *state, const char *what, PyObject *object, pm_py_vectors *out)
{
    pm_py_source s;
    pm_arrow_column c;
    int failed = pm_py_source_open(state, object, &s);
    if (failed != 0) return failed;
    failed = pm_py_column_take(state, what, s.schema, NULL, 0, 0, &c);
    if (failed == 0 && !is_list(&c)) failed = 1;
    while (failed == 0) {
        failed = pm_py_source_next(state, &s);
        if (failed != 0 || s.array.release == NULL) break;
        failed = append_chunk(state, what, &s, out);
    }
    pm_py_source_release(&s);
    return failed;
}

/* ---- the other columns ---- */

/* Refuses a null in row i; *i and *values: where it is. */
static int resolve_id(pm_py_state *state, const pm_arrow_column *c, int64_t *i, pm_arrow_column *values)
{
    int64_t row = *i;
    int null = pm_py_column_resolve(state, c, i, values);
    if (null > 0) return refuse_vector(state, c, row, "there is no id (null); fill it in, or leave the column out");
    return null;
}

static int take_id(pm_py_state *state, const pm_arrow_column *c, int64_t row, bool strings, pm_py_ids *out)
{
    pm_arrow_column values;
    int64_t i = row;
    if (resolve_id(state, c, &i, &values) != 0) return -1;
    if (strings) {
        pomai_bytes *id = &out->strings[row];
        if (pm_py_column_bytes(state, &values, i, id) != 0) return -1;
        if (id->size > 0 && id->size <= POMAI_MAX_STRING_ID) return 0;
        pm_py_refuse(state, POMAI_EID, "column '%.80s', row %lld: the id has %zu bytes; ids have 1 to %u", c->name,
                     (long long)row, id->size, POMAI_MAX_STRING_ID);
        return -1;
    }
    const pm_py_numbers numbers = pm_py_column_numbers(&values);
    if (pm_py_load_u64(&numbers, pm_arrow_number(&values, i), &out->owned[row])) return 0;
    pm_py_refuse(state, POMAI_EID, "column '%.80s', row %lld: %lld is no id; ids are from 0 to 2**64 - 1", c->name,
                 (long long)row, (long long)out->owned[row]);
    return -1;
}

/* Into one piece of memory, as numbers are: what is borrowed may be an array's, which other threads can change. */
static int copy_strings(pm_py_ids *ids)
{
    size_t all = 0;
    for (size_t i = 0; i < ids->ids.count; i++)
        all += ids->strings[i].size;
    ids->kept = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)all);
    if (ids->kept == NULL) return -1;
    char *to = PyBytes_AsString(ids->kept);
    for (size_t i = 0; i < ids->ids.count; i++) {
        pomai_bytes *id = &ids->strings[i];
        memcpy(to, id->data, id->size);
        id->data = to;
        to += id->size;
    }
    return 0;
}

/* What the items of a column are, through its dictionary. */
static int kind_of(pm_py_state *state, const pm_arrow_column *c, pm_arrow_column *values)
{
    if (c->schema->dictionary == NULL) {
        *values = *c;
        return 0;
    }
    return pm_py_column_take(state, c->name, c->schema->dictionary, NULL, 0, 0, values);
}

static int take_ids(pm_py_state *state, const pm_arrow_column *c, pm_py_ids *out)
{
    pm_arrow_column values;
    if (kind_of(state, c, &values) != 0) return -1;
    bool strings = values.kind == PM_ARROW_BYTES, ints = values.kind == PM_ARROW_NUMBER && values.number != 'f';
    if (!strings && !ints) {
        char type[PM_ARROW_TYPE_NAME];
        pm_py_refuse_type(state, "column '%.80s' is of the Arrow type %s; ids are ints or strings", c->name,
                          pm_arrow_type_name(c->schema, type));
        return -1;
    }
    out->ids.count = (size_t)c->length;
    bool whole = c->array->n_buffers > 0 && (c->array->null_count == 0 || c->array->buffers[0] == NULL);
    if (strings)
        out->strings = calloc((size_t)c->length + 1, sizeof *out->strings);
    else
        out->owned = calloc((size_t)c->length + 1, sizeof *out->owned);
    if (out->strings == NULL && out->owned == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    /* Copied in any case: the memory may be an array's, which other threads can change. */
    const bool plain = c->schema->dictionary == NULL && whole && strcmp(c->schema->format, "L") == 0;
    if (plain) memcpy(out->owned, pm_arrow_number(c, 0), (size_t)c->length * sizeof *out->owned);
    for (int64_t i = 0; !plain && i < c->length; i++)
        if (take_id(state, c, i, strings, out) != 0) return -1;
    if (strings && copy_strings(out) != 0) return -1;
    out->ids.string = out->strings;
    out->ids.u64 = out->owned;
    return 0;
}

static int take_documents(pm_py_state *state, const pm_arrow_column *c, pm_py_documents *out)
{
    pm_arrow_column values;
    if (kind_of(state, c, &values) != 0) return -1;
    if (values.kind == PM_ARROW_NULL) return 0;
    if (values.kind != PM_ARROW_BYTES) {
        char type[PM_ARROW_TYPE_NAME];
        pm_py_refuse_type(state, "column '%.80s' is of the Arrow type %s; documents are strings or binary", c->name,
                          pm_arrow_type_name(c->schema, type));
        return -1;
    }
    out->bytes = calloc((size_t)c->length + 1, sizeof *out->bytes);
    if (out->bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int64_t row = 0; row < c->length; row++) {
        int64_t i = row;
        int null = pm_py_column_resolve(state, c, &i, &values);
        if (null < 0 || (null == 0 && pm_py_column_bytes(state, &values, i, &out->bytes[row]) != 0)) return -1;
    }
    return 0;
}

/* Nanoseconds in a unit of times; 0: it holds none. */
static uint64_t time_scale(const pm_arrow_column *c)
{
    if (c->kind == PM_ARROW_DAYS) return UINT64_C(86400000000000);
    return c->kind == PM_ARROW_TIME ? 1000000000 / (uint64_t)c->unit : 0;
}

/* Behind those that `out` has. column: of a table, not an array of its own. */
static int take_expiry(pm_py_state *state, const pm_arrow_column *c, bool column, pm_py_ids *out)
{
    const pm_py_numbers numbers = pm_py_column_numbers(c);
    const bool ints = c->kind == PM_ARROW_NUMBER && c->number != 'f';
    const uint64_t scale = time_scale(c);
    if (c->schema->dictionary != NULL || (!ints && scale == 0 && c->kind != PM_ARROW_NULL)) {
        char type[PM_ARROW_TYPE_NAME];
        pm_py_refuse_type(state, "%s%.80s%s of the Arrow type %s; expected timestamps, dates, or ints of ns since 1970",
                          column ? "column '" : "", c->name, column ? "' is" : " is",
                          pm_arrow_type_name(c->schema, type));
        return -1;
    }
    const size_t before = out->ids.count, count = (size_t)c->length;
    uint64_t *grown = count > PY_SSIZE_T_MAX / 8 - 1 - before ? NULL : realloc(out->owned, (before + count + 1) * 8);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->owned = grown;
    out->ids.u64 = grown;
    for (int64_t i = 0; i < c->length; i++) {
        uint64_t value = 0;
        bool right = true;
        if (!pm_arrow_is_null(c, i) && ints) {
            right = pm_py_load_u64(&numbers, pm_arrow_number(c, i), &value);
            if (right && pm_py_check_time(state, (uint64_t)i + before, value) != 0) return -1;
        } else if (!pm_arrow_is_null(c, i)) {
            const int64_t ticks = pm_arrow_int(c, i);
            right = ticks >= 0 && !__builtin_mul_overflow((uint64_t)ticks, scale, &value);
        }
        if (!right)
            return refuse_vector(state, c, (int64_t)before + i,
                                 "the expiry is before 1970, or past what 64 bits of ns can hold (2554-07-21)");
        grown[before + (size_t)i] = value;
    }
    out->ids.count = before + count;
    return 0;
}

int pm_arrow_expiry(pm_py_state *state, const char *what, PyObject *object, pm_py_ids *out)
{
    pm_py_source s;
    pm_arrow_column c;
    memset(out, 0, sizeof *out);
    int failed = pm_py_source_open(state, object, &s);
    if (failed != 0) return failed;
    failed = pm_py_column_take(state, what, s.schema, NULL, 0, 0, &c);
    if (failed == 0) failed = take_expiry(state, &c, false, out); /* the type, where there is no batch */
    while (failed == 0) {
        failed = pm_py_source_next(state, &s);
        if (failed != 0 || s.array.release == NULL) break;
        failed = pm_py_column_take(state, what, s.schema, &s.array, 0, s.array.length, &c);
        if (failed == 0) failed = take_expiry(state, &c, false, out);
    }
    pm_py_source_release(&s);
    if (failed != 0) pm_py_ids_release(out);
    return failed;
}

/* ---- which column is what ---- */

typedef struct {
    int64_t vector, id, document, expiry; /* -1: none */
    int64_t *others;
    size_t count; /* of others, which become metadata */
} roles;

static const char *name_of(const pm_arrow_schema *schema, int64_t i)
{
    const char *name = schema->children[i]->name;
    return name == NULL ? "" : name;
}

static int64_t find(const pm_arrow_schema *schema, const char *name)
{
    for (int64_t i = 0; i < schema->n_children; i++)
        if (strcmp(name_of(schema, i), name) == 0) return i;
    return -1;
}

/* A column by the name given, or else the usual one. -2: an exception. */
static int64_t find_role(pm_py_state *state, const pm_arrow_schema *schema, const char *what, PyObject *given,
                         const char *usual)
{
    if (given == NULL || given == Py_None) return find(schema, usual);
    if (!PyUnicode_Check(given)) {
        pm_py_refuse_type(state, "%s is %R; with an Arrow table it is the name of a column (usually '%s'), or None",
                          what, Py_TYPE(given), usual);
        return -2;
    }
    const char *name = pm_py_text(state, what, given);
    int64_t at = name == NULL ? -2 : find(schema, name);
    if (at == -1) {
        pm_py_refuse(state, POMAI_EINVAL, "%s=%R: the table has no column of that name", what, given);
        return -2;
    }
    return at;
}

static int check_columns(pm_py_state *state, const pm_arrow_schema *schema)
{
    if (schema->n_children < 0 || schema->n_children > MOST_COLUMNS ||
        (schema->n_children > 0 && schema->children == NULL)) {
        pm_py_refuse(state, POMAI_EINVAL, "the Arrow table has %lld columns; at most %d are taken",
                     (long long)schema->n_children, MOST_COLUMNS);
        return -1;
    }
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i] == NULL || schema->children[i]->format == NULL) {
            pm_py_refuse(state, POMAI_EINVAL, "column %lld of the Arrow table has no type", (long long)i);
            return -1;
        }
    for (int64_t i = 0; i < schema->n_children; i++)
        if (find(schema, name_of(schema, i)) != i) {
            pm_py_refuse(state, POMAI_EINVAL, "the Arrow table has two columns named '%.80s'", name_of(schema, i));
            return -1;
        }
    return 0;
}

/* `vector`, or the only column of lists of floats. -1: none, -2: an exception. */
static int64_t find_vectors(pm_py_state *state, const pm_arrow_schema *schema, PyObject *given)
{
    int64_t at = find_role(state, schema, "column", given, "vector"), found = -1;
    for (int64_t i = 0; at == -1 && i < schema->n_children; i++) {
        pm_arrow_column c, items;
        const pm_arrow_schema *s = schema->children[i];
        if (pm_py_column_take(state, name_of(schema, i), s, NULL, 0, 0, &c) != 0) return -2;
        if (!is_list(&c) || s->n_children != 1 || s->children == NULL || s->children[0] == NULL) continue;
        if (pm_py_column_take(state, c.name, s->children[0], NULL, 0, 0, &items) != 0) return -2;
        if (items.kind != PM_ARROW_NUMBER || items.number != 'f') continue;
        if (found >= 0) {
            pm_py_refuse(
                state, POMAI_EINVAL,
                "the columns '%.80s' and '%.80s' both hold vectors, and none is named 'vector': say which with "
                "column=",
                name_of(schema, found), name_of(schema, i));
            return -2;
        }
        found = i;
    }
    return at == -1 ? found : at;
}

/* What is no data of the user: the stamps that to_arrow() wrote, the row numbers of a pandas frame. */
static bool is_passed_over(pm_py_state *state, const pm_arrow_schema *schema, int64_t i)
{
    static const char index[] = "__index_level_";
    pm_arrow_column c;
    if (strncmp(name_of(schema, i), index, sizeof index - 1) == 0) return true;
    if (strcmp(name_of(schema, i), "stamp") != 0) return false;
    if (pm_py_column_take(state, "stamp", schema->children[i], NULL, 0, 0, &c) != 0) {
        PyErr_Clear();
        return false;
    }
    return c.kind == PM_ARROW_TIME && c.zoned;
}

/* The columns that `metadata` names, or all that have no other role. */
static int find_others(pm_py_state *state, const pm_arrow_schema *schema, PyObject *metadata, roles *r)
{
    if (metadata == NULL || metadata == Py_None) {
        for (int64_t i = 0; i < schema->n_children; i++)
            if (i != r->vector && i != r->id && i != r->document && i != r->expiry && !is_passed_over(state, schema, i))
                r->others[r->count++] = i;
        return 0;
    }
    PyObject *names = PyUnicode_Check(metadata) ? PyTuple_Pack(1, metadata) : PySequence_Tuple(metadata);
    int failed = names == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; failed == 0 && i < PyTuple_Size(names); i++) {
        int64_t at = find_role(state, schema, "metadata", PyTuple_GetItem(names, i), "");
        bool twice = false;
        for (size_t j = 0; j < r->count; j++)
            twice = twice || r->others[j] == at;
        failed = at < 0 ? -1 : 0;
        if (at >= 0 && !twice) r->others[r->count++] = at;
        if (at == -1) pm_py_refuse_type(state, "metadata is a list of names of columns, with an Arrow table");
    }
    Py_XDECREF(names);
    return failed;
}

static int find_roles(pm_py_state *state, const pm_arrow_schema *schema, PyObject *const *given, roles *r)
{
    r->id = find_role(state, schema, "ids", given[1], "id");
    r->document = find_role(state, schema, "documents", given[2], "document");
    r->expiry = find_role(state, schema, "expiry", given[4], "expiry");
    if (r->id == -2 || r->document == -2 || r->expiry == -2) return -1;
    r->others = calloc((size_t)schema->n_children + 1, sizeof *r->others);
    if (r->others == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (find_others(state, schema, given[3], r) != 0) return -1;
    if (r->document < 0 || r->count == 0) return 0;
    pm_py_refuse(state, POMAI_EINVAL,
                 "the table has documents ('%.80s') and other columns ('%.80s' and so on), but a row has one document: "
                 "leave the others out with metadata=[], or drop a column",
                 name_of(schema, r->document), name_of(schema, r->others[0]));
    return -1;
}

/* ---- add ---- */

typedef struct {
    pm_py_collection *on;
    pm_py_source source;
    roles roles;
    pm_py_add_input in;
    pm_py_struct metadata;
    uint64_t *ids, count, room;
    PyObject *strings, *runs;
} add_call;

static void release_batch_input(add_call *a)
{
    pm_py_vectors_release(&a->in.vectors);
    pm_py_ids_release(&a->in.ids);
    pm_py_ids_release(&a->in.expiry);
    pm_py_documents_release(&a->in.documents);
    memset(&a->in.ids, 0, sizeof a->in.ids);
    memset(&a->in.expiry, 0, sizeof a->in.expiry);
}

static int batch_column(add_call *a, int64_t at, pm_arrow_column *out)
{
    const pm_arrow_schema *schema = a->source.schema;
    const pm_arrow_array *array = &a->source.array;
    return pm_py_column_take(a->on->state, name_of(schema, at), schema->children[at], array->children[at],
                             array->offset, array->length, out);
}

static int check_batch(add_call *a)
{
    const pm_arrow_schema *schema = a->source.schema;
    const pm_arrow_array *array = &a->source.array;
    pm_arrow_column whole;
    if (pm_py_column_take(a->on->state, "(the table)", schema, array, 0, array->length, &whole) != 0) return -1;
    for (int64_t i = 0; array->null_count != 0 && i < array->length; i++)
        if (pm_arrow_is_null(&whole, i)) return refuse_vector(a->on->state, &whole, i, "the whole row is null");
    return 0;
}

static int take_batch(add_call *a)
{
    pm_py_state *state = a->on->state;
    const roles *r = &a->roles;
    pm_arrow_column c;
    if (batch_column(a, r->vector, &c) != 0) return -1;
    if (!is_list(&c)) {
        char type[PM_ARROW_TYPE_NAME];
        pm_py_refuse_type(state, "column '%.80s' is of the Arrow type %s; vectors are lists of floats", c.name,
                          pm_arrow_type_name(c.schema, type));
        return -1;
    }
    if (take_vectors(state, &c, &a->in.vectors) != 0) return -1;
    a->in.has_ids = r->id >= 0;
    a->in.has_expiry = r->expiry >= 0;
    if (r->id >= 0 && (batch_column(a, r->id, &c) != 0 || take_ids(state, &c, &a->in.ids) != 0)) return -1;
    if (r->document >= 0 && (batch_column(a, r->document, &c) != 0 || take_documents(state, &c, &a->in.documents) != 0))
        return -1;
    if (r->expiry >= 0 && (batch_column(a, r->expiry, &c) != 0 || take_expiry(state, &c, true, &a->in.expiry) != 0))
        return -1;
    for (size_t i = 0; i < r->count; i++)
        a->metadata.arrays[i] = a->source.array.children[r->others[i]];
    if (r->count == 0) return 0;
    a->metadata.array.length = a->source.array.length;
    a->metadata.array.offset = a->source.array.offset;
    a->in.documents.bytes = calloc((size_t)a->source.array.length + 1, sizeof *a->in.documents.bytes);
    if (a->in.documents.bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return pm_py_documents_encode(state, &a->metadata.schema, &a->metadata.array, 0, &a->in.documents);
}

/* Remembers the ids of a batch that was stored. */
static int note_ids(add_call *a)
{
    const pomai_ids *ids = &a->in.ids.ids;
    if (!a->in.has_ids) return 0;
    if (ids->string != NULL) {
        for (size_t i = 0; i < ids->count; i++) {
            PyObject *id = pm_py_string_id(ids->string[i]);
            int failed = id == NULL ? -1 : PyList_Append(a->strings, id);
            Py_XDECREF(id);
            if (failed != 0) return -1;
        }
        return 0;
    }
    if (ids->count > a->room - a->count) {
        uint64_t room = (a->count + ids->count) * 2;
        uint64_t *grown = room > PY_SSIZE_T_MAX / 8 ? NULL : realloc(a->ids, room * sizeof *grown);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        a->ids = grown;
        a->room = room;
    }
    memcpy(a->ids + a->count, ids->u64, ids->count * sizeof *ids->u64);
    a->count += ids->count;
    return 0;
}

static int put_batches(add_call *a)
{
    for (;;) {
        if (pm_py_source_next(a->on->state, &a->source) != 0) break;
        if (a->source.array.release == NULL) return 0;
        if (check_batch(a) != 0) break;
        if (a->source.array.length == 0) continue;
        int failed = take_batch(a);
        if (failed == 0) failed = pm_py_begin(a->on);
        if (failed == 0) {
            failed = pm_py_put_all(a->on, &a->in, a->runs);
            pm_py_end(a->on);
            if (failed != 0) return -1; /* it has told what is stored */
            a->in.before += a->in.vectors.rows;
            failed = note_ids(a);
        }
        release_batch_input(a);
        if (failed != 0 || PyErr_CheckSignals() != 0) break;
    }
    pm_py_tell_added(a->on->state, a->in.before);
    return -1;
}

static PyObject *answer(add_call *a)
{
    pm_py_state *state = a->on->state;
    if (a->roles.id < 0) return pm_py_assigned_ids(state, a->runs, false);
    if (PyList_Size(a->strings) > 0) return Py_NewRef(a->strings);
    void *data = NULL;
    PyObject *view = pm_py_view_new(state, 'Q', (Py_ssize_t)a->count, -1, &data);
    if (view != NULL && a->count > 0) memcpy(data, a->ids, a->count * sizeof *a->ids);
    return pm_py_array(state, view);
}

static PyObject *add_table(add_call *a, PyObject *const *given)
{
    pm_py_state *state = a->on->state;
    if (pm_py_durability(state, given[5], &a->in.options.durability) != 0 ||
        pm_py_deadline(state, given[6], &a->in.options.deadline_us) != 0 ||
        find_roles(state, a->source.schema, given, &a->roles) != 0)
        return NULL;
    if (pm_py_struct_make((int64_t)a->roles.count, &a->metadata) != 0) return NULL;
    for (size_t i = 0; i < a->roles.count; i++)
        a->metadata.schemas[i] = a->source.schema->children[a->roles.others[i]];
    a->strings = PyList_New(0);
    if (a->strings == NULL || (a->roles.id < 0 && (a->runs = PyList_New(0)) == NULL)) return NULL;
    return put_batches(a) == 0 ? answer(a) : NULL;
}

/* Whether it is a table of vectors; 0 also when it may be something that arrays can be made of. */
static int is_table(add_call *a, PyObject *const *given)
{
    pm_py_state *state = a->on->state;
    const pm_arrow_schema *schema = a->source.schema;
    if (strcmp(schema->format, "+s") != 0) return 0;
    if (check_columns(state, schema) != 0) return -1;
    a->roles.vector = find_vectors(state, schema, given[7]);
    if (a->roles.vector == -2) return -1;
    if (a->roles.vector >= 0) return 1;
    bool named = find(schema, "id") >= 0 || find(schema, "document") >= 0 || find(schema, "expiry") >= 0;
    if (!named && PyObject_HasAttrString(given[0], "__array__")) return 0;
    pm_py_refuse(state, POMAI_EINVAL,
                 "the Arrow table has no column of vectors: expected lists of floats in a column named 'vector', or in "
                 "the one that column= names");
    return -1;
}

PyObject *pm_arrow_add(pm_py_collection *on, PyObject *const *given, bool *taken)
{
    add_call a = {.on = on, .in = {.options = POMAI_WRITE_OPTIONS_INIT}};
    a.in.vectors = (pm_py_vectors){.dtype = POMAI_DTYPE_FLOAT32, .narrow = pm_py_collection_dtype(on)};
    PyObject *made = NULL;
    *taken = false;
    int none = given[0] == NULL ? 1 : pm_py_source_open(on->state, given[0], &a.source);
    if (none != 0) {
        *taken = none < 0;
        return NULL;
    }
    int table = is_table(&a, given);
    *taken = table != 0;
    if (table > 0) made = add_table(&a, given);
    release_batch_input(&a);
    pm_py_source_release(&a.source);
    free(a.roles.others);
    pm_py_struct_free(&a.metadata);
    free(a.ids);
    Py_XDECREF(a.strings);
    Py_XDECREF(a.runs);
    return made;
}
