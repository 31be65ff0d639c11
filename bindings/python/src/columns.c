/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata= that is columns: each becomes a column of Arrow, which the engine makes documents of. Arrow columns and
 * arrays of numbers are borrowed; lists and arrays of text are copied, without an object a row where there is none.
 */
#include "builder.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- documents ---- */

static void never(pm_arrow_schema *schema)
{
    (void)schema;
}

static void never_array(pm_arrow_array *array)
{
    (void)array;
}

int pm_py_struct_make(int64_t columns, pm_py_struct *out)
{
    static const void *no_nulls[1];
    memset(out, 0, sizeof *out);
    out->schemas = calloc((size_t)columns + 1, sizeof(void *));
    out->arrays = calloc((size_t)columns + 1, sizeof(void *));
    if (out->schemas == NULL || out->arrays == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->schema = (pm_arrow_schema){
        .format = "+s", .name = "", .n_children = columns, .children = out->schemas, .release = never};
    out->array = (pm_arrow_array){
        .n_buffers = 1, .buffers = no_nulls, .n_children = columns, .children = out->arrays, .release = never_array};
    return 0;
}

void pm_py_struct_free(pm_py_struct *s)
{
    free(s->schemas);
    free(s->arrays);
    memset(s, 0, sizeof *s);
}

/* What the engine refused; by its schema alone, then it is a matter of types. */
static int refuse(pm_py_state *state, const pm_arrow_schema *schema, uint64_t first, pomai_error *err)
{
    pomai_error again = {0};
    pomai_bytes *none;
    if (err->status == POMAI_EINVAL && pomai_documents_from_arrow(schema, NULL, &none, &again) != POMAI_OK)
        pm_py_refuse_type(state, "%.400s", again.message);
    else if (first > 0)
        pm_py_refuse(state, err->status, "behind row %llu: %.400s", (unsigned long long)first, err->message);
    else
        pm_py_raise(state, err);
    return -1;
}

int pm_py_documents_encode(pm_py_state *state, const pm_arrow_schema *schema, const pm_arrow_array *array,
                           uint64_t first, pm_py_documents *out)
{
    pomai_error err = {0};
    pomai_bytes *made = NULL, **grown = realloc(out->encoded, (out->encodings + 1) * sizeof *grown);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out->encoded = grown;
    pomai_status status;
    Py_BEGIN_ALLOW_THREADS status = pomai_documents_from_arrow(schema, array, &made, &err);
    Py_END_ALLOW_THREADS if (status != POMAI_OK) return refuse(state, schema, first, &err);
    out->encoded[out->encodings++] = made;
    memcpy(out->bytes + first, made, (size_t)array->length * sizeof *made);
    return 0;
}

/* ---- one column ---- */

typedef struct {
    PyObject *values; /* keeps what is borrowed */
    pm_py_builder built;
    Py_buffer buffer;
    bool borrowed; /* buffer is to be released */
    pm_py_source source;
    pm_arrow_schema schema, item_schema, *items[1];
    pm_arrow_array *chunks, item_array, *item_arrays[1];
    size_t count, room, at; /* of chunks; the one that the walk has come to */
    int64_t past;           /* rows of it that are behind */
    const void *buffers[2], *item_buffers[2];
    void *owned;
    char format[32];
} column;

static void column_free(column *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->chunks[i].release != NULL) pm_py_batch_release(&c->chunks[i]);
    free(c->chunks);
    pm_py_source_release(&c->source);
    pm_py_builder_free(&c->built);
    if (c->borrowed) PyBuffer_Release(&c->buffer);
    free(c->owned);
    Py_XDECREF(c->values);
}

static int add_chunk(column *c, const pm_arrow_array *array)
{
    if (c->count == c->room) {
        const size_t room = c->room * 2 + 1;
        pm_arrow_array *grown = realloc(c->chunks, room * sizeof *grown);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        c->chunks = grown;
        c->room = room;
    }
    c->chunks[c->count++] = *array;
    return 0;
}

static uint64_t rows_of(const column *c)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < c->count; i++)
        rows += (uint64_t)c->chunks[i].length;
    return rows;
}

/* ---- of a list ---- */

/* 1: values of several types, or of others than Arrow has. */
static int take_list(column *c, PyObject *list)
{
    const Py_ssize_t count = PyList_Size(list);
    for (Py_ssize_t i = 0; i < count; i++) {
        int failed = pm_py_builder_add(&c->built, PyList_GetItem(list, i), 0);
        if (failed == 0) continue;
        pm_py_builder_free(&c->built);
        return failed;
    }
    pm_py_builder_finish(&c->built);
    c->schema = c->built.schema;
    return add_chunk(c, &c->built.array);
}

/* Whatever there is: as a list; where its values have no column, as a text of JSON each. */
static int take_any(pm_py_state *state, column *c, PyObject *key, PyObject *object, PyObject *rows)
{
    /* One pair: its number in the order of the machine; the sizes and bytes of the two texts. */
    static const struct {
        int32_t pairs, key_size;
        char key[20];
        int32_t value_size;
        char value[10];
    } json = {1, 20, "ARROW:extension:name", 10, "arrow.json"};
    PyObject *list = pm_py_help(state, "column_values", key, object, rows, NULL);
    if (list == NULL) return -1;
    int failed = PyList_CheckExact(list) ? take_list(c, list) : -1;
    if (failed == 1) {
        PyObject *texts = pm_py_help(state, "column_texts", key, list, NULL);
        failed = texts == NULL ? -1 : take_list(c, texts);
        Py_XDECREF(texts);
        c->schema.metadata = (const char *)&json;
    }
    Py_DECREF(list);
    if (failed > 0) pm_py_refuse(state, POMAI_EINTERNAL, "metadata[%R]: a text that is no str", key);
    return failed == 0 ? 0 : -1;
}

/* ---- of a buffer ---- */

static int copy_text(column *c, Py_ssize_t characters)
{
    for (Py_ssize_t i = 0; i < c->buffer.shape[0]; i++) {
        const char *from = (const char *)c->buffer.buf + i * c->buffer.strides[0];
        uint32_t last = 0;
        Py_ssize_t size = characters;
        for (; size > 0; size--) { /* what is behind the end is NUL */
            memcpy(&last, from + (size - 1) * 4, sizeof last);
            if (last != 0) break;
        }
        const int failed = pm_py_builder_add_utf32(&c->built, from, size);
        if (failed == 0) continue;
        pm_py_builder_free(&c->built);
        return failed;
    }
    pm_py_builder_finish(&c->built);
    c->schema = c->built.schema;
    return add_chunk(c, &c->built.array);
}

/* NumPy's arrays of str have the format "12w". */
static Py_ssize_t characters_of(const Py_buffer *b)
{
    const char *f = b->format == NULL ? "" : b->format;
    if (*f == '<' || *f == '=') f++;
    Py_ssize_t count = *f == 'w' ? 1 : 0;
    for (; *f >= '0' && *f <= '9' && count < PY_SSIZE_T_MAX / 100; f++)
        count = count * 10 + (*f - '0');
    return f[0] == 'w' && f[1] == '\0' && count > 0 && b->itemsize == count * 4 ? count : -1;
}

static bool whole(const Py_buffer *b, const pm_py_numbers *n)
{
    return !n->swapped && PyBuffer_IsContiguous(b, 'C');
}

/* A copy of items that lie apart, are swapped, or are floats of fewer bits, whose digits Python gives as those of a
 * float64; bools as bits. An array that repeats its items may say that it has more than there is memory. */
static int copy_numbers(column *c, const pm_py_numbers *n, Py_ssize_t count)
{
    char *to = count > PY_SSIZE_T_MAX / 8 - 1 ? NULL : malloc((size_t)count * 8 + 8);
    if (to == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    c->owned = to;
    const Py_ssize_t width = c->buffer.ndim == 2 ? c->buffer.shape[1] : 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *from = (const char *)c->buffer.buf + i / width * c->buffer.strides[0] +
                           (c->buffer.ndim == 2 ? i % width * c->buffer.strides[1] : 0);
        if (n->kind == '?') {
            to[i] = *from;
        } else if (n->kind == 'f') {
            const double value = pm_py_load_double(n, from);
            memcpy(to + i * 8, &value, sizeof value);
        } else {
            uint64_t value;
            (void)pm_py_load_u64(n, from, &value);
            memcpy(to + i * 8, &value, sizeof value);
        }
    }
    if (n->kind == '?') pm_py_pack_bits(to, count);
    return 0;
}

static const char *format_of(const pm_py_numbers *n, bool copied)
{
    static const char *const ints[] = {"c", "s", "", "i", "", "", "", "l"};
    static const char *const naturals[] = {"C", "S", "", "I", "", "", "", "L"};
    if (n->kind == '?') return "b";
    if (n->kind == 'f') return "g";
    return (n->kind == 'i' ? ints : naturals)[copied ? 7 : n->itemsize - 1];
}

static int take_numbers(column *c, const pm_py_numbers *n)
{
    const Py_ssize_t rows = c->buffer.shape[0], width = c->buffer.ndim == 2 ? c->buffer.shape[1] : 1;
    if (width > PY_SSIZE_T_MAX / (rows + 1)) {
        PyErr_NoMemory();
        return -1;
    }
    const bool copied = !whole(&c->buffer, n) || n->kind == '?' || (n->kind == 'f' && n->itemsize < 8);
    if (copied && copy_numbers(c, n, rows * width) != 0) return -1;
    c->buffers[1] = c->item_buffers[1] = copied ? c->owned : c->buffer.buf;
    c->schema = (pm_arrow_schema){.format = format_of(n, copied)};
    pm_arrow_array array = {.length = rows, .n_buffers = 2, .buffers = c->buffers};
    if (c->buffer.ndim == 1) return add_chunk(c, &array);
    (void)snprintf(c->format, sizeof c->format, "+w:%zd", width);
    c->item_schema = c->schema;
    c->item_array = array;
    c->item_array.length = rows * width;
    c->item_array.buffers = c->item_buffers;
    c->items[0] = &c->item_schema;
    c->item_arrays[0] = &c->item_array;
    c->schema = (pm_arrow_schema){.format = c->format, .n_children = 1, .children = c->items};
    array = (pm_arrow_array){
        .length = rows, .n_buffers = 1, .buffers = c->buffers, .n_children = 1, .children = c->item_arrays};
    return add_chunk(c, &array);
}

/* 1: no numbers, bools or text, in one or two dimensions. A mask would not be seen. Nothing is copied of an array that
 * has not as many rows as are wanted, only how many it has. */
static int take_buffer(column *c, PyObject *object, Py_ssize_t wanted)
{
    pm_py_numbers n = {0};
    if (PyBytes_Check(object) || PyObject_HasAttrString(object, "mask")) return 1;
    if (PyObject_GetBuffer(object, &c->buffer, PyBUF_FULL_RO) != 0) {
        PyErr_Clear();
        return 1;
    }
    c->borrowed = true;
    if (c->buffer.ndim < 1 || c->buffer.ndim > 2 || c->buffer.suboffsets != NULL) return 1;
    const Py_ssize_t rows = c->buffer.shape[0], characters = c->buffer.ndim == 1 ? characters_of(&c->buffer) : -1;
    pm_py_format(c->buffer.format, c->buffer.itemsize, &n);
    const bool numbers = n.kind != 0 && c->buffer.itemsize <= 8 && (c->buffer.ndim == 1 || c->buffer.shape[1] > 0);
    if (characters <= 0 && !numbers) return 1;
    if (rows != wanted) return add_chunk(c, &(pm_arrow_array){.length = rows});
    return characters > 0 ? copy_text(c, characters) : take_numbers(c, &n);
}

/* ---- of Arrow ---- */

static int check_chunk(pm_py_state *state, PyObject *key, const pm_arrow_array *array)
{
    if (array->length >= 0 && array->offset >= 0 && array->length <= INT64_MAX / 64 &&
        array->offset <= INT64_MAX / 64 - array->length)
        return 0;
    pm_py_refuse(state, POMAI_EINVAL, "metadata[%R]: an Arrow array whose length or offset is out of range", key);
    return -1;
}

static int take_arrow(pm_py_state *state, column *c, PyObject *key, PyObject *object)
{
    if (PyObject_HasAttrString(object, "iloc")) return 1; /* pandas makes null of NaN, which is refused here */
    int failed = pm_py_source_open(state, object, &c->source);
    while (failed == 0) {
        failed = pm_py_source_next(state, &c->source);
        if (failed != 0 || c->source.array.release == NULL) break;
        failed = check_chunk(state, key, &c->source.array);
        if (failed == 0 && c->source.array.length > 0) {
            failed = add_chunk(c, &c->source.array);
            if (failed == 0) c->source.array.release = NULL;
        }
    }
    if (failed == 0) c->schema = *c->source.schema;
    return failed;
}

static int column_take(pm_py_state *state, PyObject *key, PyObject *object, PyObject *rows, const char *each, column *c)
{
    int failed = 1;
    const Py_ssize_t wanted = PyLong_AsSsize_t(rows);
    c->values = Py_NewRef(object);
    if (PyList_CheckExact(object))
        failed = take_list(c, object);
    else if (PyObject_CheckBuffer(object))
        failed = take_buffer(c, object, wanted);
    else if (!PyUnicode_Check(object) && !PyTuple_Check(object))
        failed = take_arrow(state, c, key, object);
    if (failed == 1) failed = take_any(state, c, key, object, rows);
    if (failed != 0) return -1;
    if (rows_of(c) == (uint64_t)wanted) return 0;
    pm_py_refuse(state, POMAI_EINVAL, "metadata[%R] has %llu values for %zd %s", key, (unsigned long long)rows_of(c),
                 wanted, each);
    return -1;
}

/* ---- all of them ---- */

/* The rows that the next chunk of every column has; each column is moved on to them. */
static int64_t next_rows(column *columns, Py_ssize_t count, int64_t left, pm_arrow_array *slices)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        column *c = &columns[i];
        while (c->past == c->chunks[c->at].length) {
            c->at++;
            c->past = 0;
        }
        if (c->chunks[c->at].length - c->past < left) left = c->chunks[c->at].length - c->past;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        column *c = &columns[i];
        slices[i] = c->chunks[c->at];
        slices[i].offset += c->past;
        slices[i].length = left;
        if (slices[i].null_count > 0) slices[i].null_count = -1; /* not known of a part */
        c->past += left;
    }
    return left;
}

static int encode_columns(pm_py_state *state, column *columns, Py_ssize_t count, uint64_t rows, pm_py_documents *out)
{
    pm_py_struct all;
    pm_arrow_array *slices = calloc((size_t)count + 1, sizeof *slices);
    int failed = pm_py_struct_make(count, &all);
    if (slices == NULL) {
        PyErr_NoMemory();
        failed = -1;
    }
    for (Py_ssize_t i = 0; failed == 0 && i < count; i++) {
        all.schemas[i] = &columns[i].schema;
        all.arrays[i] = &slices[i];
    }
    for (uint64_t first = 0; failed == 0 && first < rows; first += (uint64_t)all.array.length) {
        all.array.length = next_rows(columns, count, (int64_t)(rows - first), slices);
        failed = pm_py_documents_encode(state, &all.schema, &all.array, first, out);
    }
    free(slices);
    pm_py_struct_free(&all);
    return failed;
}

/* 1: a name that Arrow cannot have, because it has NUL in it. */
static int take_name(pm_py_state *state, PyObject *key, const char **name)
{
    Py_ssize_t size = 0;
    if (!PyUnicode_Check(key)) {
        pm_py_refuse_type(state, "metadata has the key %R; expected str", key);
        return -1;
    }
    *name = PyUnicode_AsUTF8AndSize(key, &size);
    if (*name != NULL) return strlen(*name) == (size_t)size ? 0 : 1;
    pm_py_refuse(state, POMAI_EINVAL, "metadata has a key that is not Unicode");
    return -1;
}

/* `items`: a list of pairs of key and column. */
static int take_columns(pm_py_state *state, PyObject *items, PyObject *rows, pm_py_documents *out)
{
    const Py_ssize_t count = PyList_Size(items);
    column *columns = calloc((size_t)count + 1, sizeof *columns);
    int failed = columns == NULL ? -1 : 0;
    if (columns == NULL) PyErr_NoMemory();
    for (Py_ssize_t i = 0; failed == 0 && i < count; i++) {
        PyObject *pair = PyList_GetItem(items, i), *key = PyTuple_GetItem(pair, 0);
        const char *name = NULL;
        failed = key == NULL ? -1 : take_name(state, key, &name);
        if (failed == 0) failed = column_take(state, key, PyTuple_GetItem(pair, 1), rows, out->each, &columns[i]);
        columns[i].schema.name = name;
    }
    if (failed == 0) failed = encode_columns(state, columns, count, PyLong_AsUnsignedLongLong(rows), out);
    for (Py_ssize_t i = 0; columns != NULL && i < count; i++)
        column_free(&columns[i]);
    free(columns);
    return failed;
}

static int take_table(pm_py_state *state, PyObject *table, uint64_t rows, pm_py_documents *out)
{
    pm_py_source source;
    uint64_t done = 0;
    int failed = pm_py_source_open(state, table, &source);
    if (failed != 0) return failed;
    if (strcmp(source.schema->format, "+s") != 0) {
        char type[PM_ARROW_TYPE_NAME];
        pm_py_refuse_type(state, "metadata is an Arrow array of the type %s; expected a table, or an array of structs",
                          pm_arrow_type_name(source.schema, type));
        failed = -1;
    }
    while (failed == 0) {
        failed = pm_py_source_next(state, &source);
        if (failed != 0 || source.array.release == NULL) break;
        const int64_t more = source.array.length;
        done += more < 0 || (uint64_t)more > rows - done ? rows - done + 1 : (uint64_t)more;
        if (done > rows) break;
        failed = pm_py_documents_encode(state, source.schema, &source.array, done - (uint64_t)more, out);
    }
    pm_py_source_release(&source);
    if (failed == 0 && done != rows) {
        pm_py_refuse(state, POMAI_EINVAL, "metadata is a table of %s rows than the %llu %s",
                     done < rows ? "fewer" : "more", (unsigned long long)rows, out->each);
        failed = -1;
    }
    return failed;
}

int pm_py_columns_take(pm_py_state *state, PyObject *metadata, uint64_t rows, pm_py_documents *out)
{
    if (PyList_Check(metadata) || PyTuple_Check(metadata) || PyUnicode_Check(metadata) || PyBytes_Check(metadata))
        return 1;
    PyObject *items = PyDict_Check(metadata) ? PyDict_Items(metadata) : pm_py_help(state, "items_of", metadata, NULL);
    if (items == NULL) return -1;
    PyObject *number = PyLong_FromUnsignedLongLong(rows);
    out->bytes = calloc((size_t)rows + 1, sizeof *out->bytes);
    int failed = number == NULL ? -1 : 0;
    if (out->bytes == NULL) {
        PyErr_NoMemory();
        failed = -1;
    }
    if (failed == 0)
        failed = items == Py_None ? take_table(state, metadata, rows, out) : take_columns(state, items, number, out);
    Py_XDECREF(number);
    Py_DECREF(items);
    if (failed != 0) pm_py_documents_release(out);
    return failed;
}

/* ---- the other way round ---- */

/* The bytes of a column of documents, which live as long as it. */
static int gather(pm_py_state *state, const column *c, pomai_bytes *documents)
{
    for (size_t i = 0; i < c->count; i++) {
        pm_arrow_column part;
        if (pm_py_column_take(state, "document", &c->schema, &c->chunks[i], 0, c->chunks[i].length, &part) != 0)
            return -1;
        if (part.kind != PM_ARROW_BYTES) {
            char type[PM_ARROW_TYPE_NAME];
            pm_py_refuse_type(state, "documents are of the Arrow type %s", pm_arrow_type_name(&c->schema, type));
            return -1;
        }
        for (int64_t j = 0; j < part.length; j++, documents++)
            if (!pm_arrow_is_null(&part, j) && pm_py_column_bytes(state, &part, j, documents) != 0) return -1;
    }
    return 0;
}

/* The paths as pointers to their texts, which live as long as `list`; a path of NULL: an exception. */
static int take_paths(pm_py_state *state, PyObject *list, const char **paths)
{
    for (Py_ssize_t i = 0; i < PyTuple_Size(list); i++) {
        PyObject *path = PyTuple_GetItem(list, i);
        if (!PyUnicode_Check(path)) {
            pm_py_refuse_type(state, "columns is a list of paths; %R is none", path);
            return -1;
        }
        paths[i] = pm_py_text(state, "columns", path);
        if (paths[i] == NULL) return -1;
    }
    return 0;
}

static PyObject *make_columns(pm_py_state *state, const column *c, const char *const *paths, size_t count)
{
    const uint64_t rows = rows_of(c);
    pomai_error err = {0};
    pm_arrow_schema schema;
    pm_arrow_array array;
    pomai_status status;
    pomai_bytes *documents = calloc((size_t)rows + 1, sizeof *documents);
    if (documents == NULL) return PyErr_NoMemory();
    int failed = gather(state, c, documents);
    if (failed == 0) {
        Py_BEGIN_ALLOW_THREADS status = pomai_documents_to_arrow(documents, rows, paths, count, &schema, &array, &err);
        Py_END_ALLOW_THREADS if (status != POMAI_OK) pm_py_raise(state, &err);
        failed = status == POMAI_OK ? 0 : -1;
    }
    free(documents);
    return failed != 0 ? NULL : pm_arrow_capsules(&schema, &array);
}

PyObject *pm_py_document_columns(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    static const char *const names[] = {"documents", "paths", NULL};
    pm_py_state *state = pm_py_state_of(module);
    PyObject *given[2] = {NULL}, *made = NULL, *list = NULL;
    const char **paths = NULL;
    column c = {0};
    if (pm_py_args(state, "document_columns", names, 2, args, count, keywords, given) != 0) return NULL;
    if (given[0] == NULL) return pm_py_refuse_type(state, "document_columns() wants documents");
    const bool some = given[1] != NULL && given[1] != Py_None;
    if (some) list = PyUnicode_Check(given[1]) ? NULL : PySequence_Tuple(given[1]);
    if (some && list == NULL) return pm_py_refuse_type(state, "columns is a list of paths, not %R", Py_TYPE(given[1]));
    if (some) paths = calloc((size_t)PyTuple_Size(list) + 1, sizeof *paths);
    if (some && paths == NULL) PyErr_NoMemory();
    if (!some || (paths != NULL && take_paths(state, list, paths) == 0)) {
        const int failed = take_arrow(state, &c, Py_None, given[0]);
        if (failed == 0) made = make_columns(state, &c, paths, some ? (size_t)PyTuple_Size(list) : 0);
        if (failed > 0) pm_py_refuse_type(state, "documents are no Arrow data");
    }
    column_free(&c);
    free(paths);
    Py_XDECREF(list);
    return made;
}
