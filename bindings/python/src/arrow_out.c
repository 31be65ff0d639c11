/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows and results as Arrow arrays. Vectors, stamps, distances and ids that are numbers stay where the engine put them;
 * texts and validity are made. Everything of a batch lies in one block, which its arrays share: a consumer may keep one
 * column and release the others, in any thread, long after the database is closed.
 */
#include "arrow.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 5, ITEM = COLUMNS, OWNED = 8 };

typedef enum { COLUMN_ID, COLUMN_VECTOR, COLUMN_DOCUMENT, COLUMN_EXPIRY, COLUMN_STAMP, COLUMN_DISTANCE } column_kind;

static size_t list_columns(const pm_arrow_shape *shape, column_kind *kinds)
{
    size_t count = 0;
    kinds[count++] = COLUMN_ID;
    if (shape->result) kinds[count++] = COLUMN_DISTANCE;
    if (shape->vectors) kinds[count++] = COLUMN_VECTOR;
    if (shape->documents) kinds[count++] = COLUMN_DOCUMENT;
    if (!shape->result) {
        kinds[count++] = COLUMN_EXPIRY;
        kinds[count++] = COLUMN_STAMP;
    }
    return count;
}

/* ---- the schema ---- */

typedef struct {
    atomic_size_t users;
    pm_arrow_schema columns[COLUMNS + 1];
    pm_arrow_schema *pointers[COLUMNS], *item;
    char vector_format[32];
} schema_block;

static void schema_release(pm_arrow_schema *schema)
{
    schema_block *block = schema->private_data;
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i]->release != NULL) schema->children[i]->release(schema->children[i]);
    schema->release = NULL;
    if (atomic_fetch_sub(&block->users, 1) == 1) free(block);
}

static void schema_set(schema_block *block, pm_arrow_schema *schema, const char *name, const char *format,
                       bool nullable)
{
    *schema = (pm_arrow_schema){.format = format, .name = name, .private_data = block, .release = schema_release};
    schema->flags = nullable ? ARROW_FLAG_NULLABLE : 0;
    atomic_fetch_add(&block->users, 1);
}

static void schema_column(schema_block *block, const pm_arrow_shape *shape, column_kind kind, pm_arrow_schema *schema)
{
    static const char *const names[] = {"id", "vector", "document", "expiry", "stamp", "distance"};
    static const char *const formats[] = {"L", "", "U", "tsn:UTC", "tsn:UTC", "g"};
    const char *format = formats[kind];
    if (kind == COLUMN_ID && shape->strings) format = shape->binary ? "z" : "u";
    if (kind == COLUMN_DOCUMENT && shape->binary) format = "Z";
    if (kind == COLUMN_VECTOR) format = block->vector_format;
    schema_set(block, schema, names[kind], format, kind != COLUMN_ID && kind != COLUMN_DISTANCE);
    if (kind != COLUMN_VECTOR) return;
    block->item = &block->columns[ITEM];
    const char *items = shape->dtype == POMAI_DTYPE_FLOAT16 ? "e" : shape->dtype == POMAI_DTYPE_INT8 ? "c" : "f";
    schema_set(block, block->item, "item", items, true);
    schema->n_children = 1;
    schema->children = &block->item;
}

int pm_arrow_schema_make(const pm_arrow_shape *shape, pm_arrow_schema *out)
{
    column_kind kinds[COLUMNS];
    size_t count = list_columns(shape, kinds);
    schema_block *block = calloc(1, sizeof *block);
    memset(out, 0, sizeof *out);
    if (block == NULL) return ENOMEM;
    atomic_init(&block->users, 0);
    /* Before the first put `default` has no dimension, nor rows: a list of any length stands for it. */
    if (shape->dim == 0)
        (void)snprintf(block->vector_format, sizeof block->vector_format, "+l");
    else
        (void)snprintf(block->vector_format, sizeof block->vector_format, "+w:%llu", (unsigned long long)shape->dim);
    schema_set(block, out, "", "+s", false);
    for (size_t i = 0; i < count; i++) {
        schema_column(block, shape, kinds[i], &block->columns[i]);
        block->pointers[i] = &block->columns[i];
    }
    out->n_children = (int64_t)count;
    out->children = block->pointers;
    return 0;
}

/* ---- a batch ---- */

typedef struct {
    atomic_size_t users;
    pm_py_held *held;
    const pm_arrow_shape *shape;
    size_t count;
    pm_arrow_array columns[COLUMNS + 1];
    pm_arrow_array *pointers[COLUMNS], *item;
    const void *buffers[COLUMNS + 2][3];
    void *owned[OWNED];
    size_t owned_count;
    const void *found; /* validity of what get() did not find */
    int64_t missing;
    char *why;
} batch_block;

/* What an Arrow buffer of no bytes points to. */
static const uint64_t nothing[8];

static void batch_drop(batch_block *block)
{
    if (atomic_fetch_sub_explicit(&block->users, 1, memory_order_acq_rel) != 1) return;
    for (size_t i = 0; i < block->owned_count; i++)
        free(block->owned[i]);
    pm_py_held_drop(block->held);
    free(block);
}

static void array_release(pm_arrow_array *array)
{
    for (int64_t i = 0; i < array->n_children; i++)
        if (array->children[i]->release != NULL) array->children[i]->release(array->children[i]);
    array->release = NULL;
    batch_drop(array->private_data);
}

static void array_set(batch_block *block, pm_arrow_array *array, size_t at, int64_t length, int64_t buffers)
{
    *array = (pm_arrow_array){.length = length, .n_buffers = buffers, .private_data = block};
    array->buffers = block->buffers[at];
    array->release = array_release;
    atomic_fetch_add_explicit(&block->users, 1, memory_order_relaxed);
}

static void *own(batch_block *block, size_t size)
{
    void *memory = size > SIZE_MAX - 64 || block->owned_count == OWNED ? NULL : calloc(1, size + 64);
    if (memory != NULL) block->owned[block->owned_count++] = memory;
    return memory;
}

static bool is_found(const batch_block *b, size_t i)
{
    return b->held->rows == NULL || pomai_rows_found(b->held->rows, i) != 0;
}

static pomai_bytes bytes_of(const batch_block *b, column_kind kind, size_t i)
{
    const pm_py_held *held = b->held;
    if (held->rows != NULL)
        return kind == COLUMN_ID ? pomai_rows_string_id(held->rows, i) : pomai_rows_document(held->rows, i);
    return kind == COLUMN_ID ? pomai_result_string_id(held->result, b->shape->query, i)
                             : pomai_result_document(held->result, b->shape->query, i);
}

/* Whether it is UTF-8 as Unicode has it: shortest form, no surrogates, at most U+10FFFF. */
static bool is_utf8(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size;) {
        unsigned c = p[i++];
        if (c < 0x80) continue;
        size_t more = c >= 0xC2 && c <= 0xDF ? 1 : c >= 0xE0 && c <= 0xEF ? 2 : c >= 0xF0 && c <= 0xF4 ? 3 : 0;
        if (more == 0 || size - i < more) return false;
        unsigned low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        if (p[i] < low || p[i] > high) return false;
        for (size_t j = 1; j < more; j++)
            if ((p[i + j] & 0xC0) != 0x80) return false;
        i += more;
    }
    return true;
}

/* Names row i in a sentence. */
static int refuse_row(batch_block *b, size_t i, int number, const char *what)
{
    const uint64_t *ids = b->held->rows != NULL ? pomai_rows_ids(b->held->rows) : NULL;
    const pomai_bytes string = b->held->rows != NULL ? pomai_rows_string_id(b->held->rows, i) : (pomai_bytes){NULL, 0};
    if (ids != NULL)
        (void)snprintf(b->why, 256, "the row with id %llu: %s", (unsigned long long)ids[i], what);
    else if (string.size > 0 && string.size <= 80 && is_utf8(string.data, string.size))
        (void)snprintf(b->why, 256, "the row with id \"%.*s\": %s", (int)string.size, (const char *)string.data, what);
    else
        (void)snprintf(b->why, 256, "row %zu of the batch: %s", i, what);
    return number;
}

/* Offsets and bytes of all texts; with nulls for documents that are not there. */
static int make_texts(batch_block *b, pm_arrow_array *array, column_kind kind, const void **buffers)
{
    bool large = kind == COLUMN_DOCUMENT;
    size_t total = 0, at = 0, width = large ? 8 : 4;
    for (size_t i = 0; i < b->count; i++) {
        pomai_bytes bytes = bytes_of(b, kind, i);
        if (!b->shape->binary && !is_utf8(bytes.data, bytes.size))
            return refuse_row(b, i, EILSEQ,
                              kind == COLUMN_ID ? "the id is not UTF-8; scan(binary=True) gives ids as bytes"
                                                : "the document is not UTF-8; scan(binary=True) gives them as bytes");
        total += bytes.size; /* no more than is in memory */
        array->null_count += large && bytes.data == NULL;
    }
    if (!large && total > INT32_MAX) return refuse_row(b, 0, ERANGE, "the ids are over 2 GB: ask for fewer rows");
    char *offsets = own(b, (b->count + 1) * width), *data = own(b, total);
    unsigned char *valid = array->null_count > 0 ? own(b, b->count / 8 + 1) : NULL;
    if (offsets == NULL || data == NULL || (array->null_count > 0 && valid == NULL)) return ENOMEM;
    for (size_t i = 0; i < b->count; i++) {
        pomai_bytes bytes = bytes_of(b, kind, i);
        if (bytes.size > 0) memcpy(data + at, bytes.data, bytes.size);
        at += bytes.size;
        if (large)
            ((int64_t *)(void *)offsets)[i + 1] = (int64_t)at;
        else
            ((int32_t *)(void *)offsets)[i + 1] = (int32_t)at;
        if (valid != NULL && bytes.data != NULL) valid[i / 8] |= (unsigned char)(1 << i % 8);
    }
    buffers[0] = valid;
    buffers[1] = offsets;
    buffers[2] = data;
    return 0;
}

/* 0 means that the row never expires, which is a null here. */
static int make_expiry(batch_block *b, pm_arrow_array *array, const void **buffers)
{
    const uint64_t *expiries = pomai_rows_expiries(b->held->rows);
    unsigned char *valid = own(b, b->count / 8 + 1);
    if (valid == NULL) return ENOMEM;
    for (size_t i = 0; i < b->count; i++) {
        if (expiries[i] > INT64_MAX)
            return refuse_row(b, i, ERANGE,
                              "expires after the year 2262, which Arrow's timestamps cannot hold; use scan()");
        if (expiries[i] != 0)
            valid[i / 8] |= (unsigned char)(1 << i % 8);
        else
            array->null_count++;
    }
    buffers[0] = valid;
    buffers[1] = expiries;
    return 0;
}

/* Of a number that float16 has; any other is cut off. */
static uint16_t to_half(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u, exponent = bits >> 23 & 255, fraction = bits & 0x7fffffu;
    if (exponent > 142) return (uint16_t)(sign | 0x7c00u);
    if (exponent > 112) return (uint16_t)(sign | (exponent - 112) << 10 | fraction >> 13);
    return (uint16_t)(sign | (exponent < 103 ? 0 : (fraction | 0x800000u) >> (126 - exponent)));
}

/* The type that the collection has; what the engine answers is float32. */
static const void *narrow(batch_block *b, const float *from, size_t count)
{
    void *to = own(b, count * pm_py_dtype_size(b->shape->dtype));
    for (size_t i = 0; to != NULL && i < count; i++) {
        if (b->shape->dtype == POMAI_DTYPE_FLOAT16)
            ((uint16_t *)to)[i] = to_half(from[i]);
        else
            ((int8_t *)to)[i] = (int8_t)(from[i] < -128 ? -128 : from[i] > 127 ? 127 : from[i]);
    }
    return to;
}

static int make_vectors(batch_block *b, pm_arrow_array *array)
{
    const float *first = b->held->rows != NULL ? pomai_rows_vectors(b->held->rows)
                         : b->count > 0        ? pomai_result_vector(b->held->result, b->shape->query, 0)
                                               : NULL;
    if (b->shape->dim > 0 && b->count > (uint64_t)INT64_MAX / b->shape->dim) return ERANGE;
    array->n_buffers = 1;
    array->n_children = 1;
    array->children = &b->item;
    b->item = &b->columns[ITEM];
    array_set(b, b->item, ITEM, (int64_t)(b->count * b->shape->dim), 2);
    b->buffers[ITEM][1] = first == NULL ? (const void *)nothing : first;
    if (first == NULL || (b->shape->dtype != POMAI_DTYPE_FLOAT16 && b->shape->dtype != POMAI_DTYPE_INT8)) return 0;
    b->buffers[ITEM][1] = narrow(b, first, b->count * b->shape->dim);
    return b->buffers[ITEM][1] == NULL ? ENOMEM : 0;
}

static int make_column(batch_block *b, column_kind kind, size_t at)
{
    pm_arrow_array *array = &b->columns[at];
    const void **buffers = b->buffers[at];
    const pm_py_held *held = b->held;
    bool texts = kind == COLUMN_DOCUMENT || (kind == COLUMN_ID && b->shape->strings);
    array_set(b, array, at, (int64_t)b->count, texts ? 3 : 2);
    if (texts) return make_texts(b, array, kind, buffers);
    if (kind == COLUMN_EXPIRY && b->count > 0) return make_expiry(b, array, buffers);
    if (kind == COLUMN_ID)
        buffers[1] = held->rows != NULL ? pomai_rows_ids(held->rows) : pomai_result_ids(held->result, b->shape->query);
    if (kind == COLUMN_STAMP) buffers[1] = pomai_rows_stamps(held->rows);
    if (kind == COLUMN_DISTANCE) buffers[1] = pomai_result_distances(held->result, b->shape->query);
    if (buffers[1] == NULL || b->count == 0) buffers[1] = nothing;
    if (kind == COLUMN_STAMP || kind == COLUMN_VECTOR) {
        buffers[0] = b->found;
        array->null_count = b->missing;
    }
    return kind == COLUMN_VECTOR ? make_vectors(b, array) : 0;
}

static int note_missing(batch_block *b)
{
    for (size_t i = 0; i < b->count; i++)
        b->missing += !is_found(b, i);
    if (b->missing == 0) return 0;
    unsigned char *valid = own(b, b->count / 8 + 1);
    if (valid == NULL) return ENOMEM;
    for (size_t i = 0; i < b->count; i++)
        if (is_found(b, i)) valid[i / 8] |= (unsigned char)(1 << i % 8);
    b->found = valid;
    return 0;
}

int pm_arrow_array_make(const pm_arrow_shape *shape, pm_py_held *held, pm_arrow_array *out, char *why)
{
    column_kind kinds[COLUMNS];
    size_t columns = list_columns(shape, kinds);
    batch_block *b = calloc(1, sizeof *b);
    memset(out, 0, sizeof *out);
    if (b == NULL) return ENOMEM;
    atomic_init(&b->users, 0);
    b->held = pm_py_held_share(held);
    b->shape = shape;
    b->why = why;
    b->count = held->rows != NULL ? pomai_rows_count(held->rows) : pomai_result_count(held->result, shape->query);
    array_set(b, out, COLUMNS + 1, (int64_t)b->count, 1);
    out->children = b->pointers;
    int failed = note_missing(b);
    for (size_t i = 0; failed == 0 && i < columns; i++) {
        b->pointers[i] = &b->columns[i];
        out->n_children++;
        failed = make_column(b, kinds[i], i);
    }
    b->shape = NULL; /* the caller's */
    b->why = NULL;
    if (failed != 0) out->release(out);
    return failed;
}

/* ---- capsules: what nobody took is released with them ---- */

static void free_schema(PyObject *capsule)
{
    pm_arrow_schema *schema = PyCapsule_GetPointer(capsule, "arrow_schema");
    if (schema->release != NULL) schema->release(schema);
    free(schema);
}

static void free_array(PyObject *capsule)
{
    pm_arrow_array *array = PyCapsule_GetPointer(capsule, "arrow_array");
    if (array->release != NULL) array->release(array);
    free(array);
}

static void free_stream(PyObject *capsule)
{
    pm_arrow_stream *stream = PyCapsule_GetPointer(capsule, "arrow_array_stream");
    if (stream->release != NULL) stream->release(stream);
    free(stream);
}

PyObject *pm_arrow_stream_capsule(pm_arrow_stream *stream)
{
    PyObject *capsule = PyCapsule_New(stream, "arrow_array_stream", free_stream);
    if (capsule != NULL) return capsule;
    stream->release(stream);
    free(stream);
    return NULL;
}

static PyObject *schema_capsule(const pm_arrow_shape *shape)
{
    pm_arrow_schema *schema = malloc(sizeof *schema);
    if (schema == NULL || pm_arrow_schema_make(shape, schema) != 0) {
        free(schema);
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(schema, "arrow_schema", free_schema);
    if (capsule != NULL) return capsule;
    schema->release(schema);
    free(schema);
    return NULL;
}

PyObject *pm_arrow_pair(pm_py_state *state, const pm_arrow_shape *shape, pm_py_held *held)
{
    char why[256] = "";
    PyObject *first = schema_capsule(shape);
    pm_arrow_array *array = first == NULL ? NULL : malloc(sizeof *array);
    if (array == NULL) {
        Py_XDECREF(first);
        return first == NULL ? NULL : PyErr_NoMemory();
    }
    int failed = pm_arrow_array_make(shape, held, array, why);
    PyObject *second = failed == 0 ? PyCapsule_New(array, "arrow_array", free_array) : NULL;
    if (second == NULL) {
        if (failed == 0) array->release(array);
        free(array);
        Py_DECREF(first);
        if (failed == ENOMEM) return PyErr_NoMemory();
        return failed == 0 ? NULL : pm_py_refuse(state, POMAI_EINVAL, "%s", why);
    }
    PyObject *pair = PyTuple_Pack(2, first, second);
    Py_DECREF(first);
    Py_DECREF(second);
    return pair;
}

PyObject *pm_arrow_capsules(const pm_arrow_schema *schema, const pm_arrow_array *array)
{
    pm_arrow_schema *s = malloc(sizeof *s), own_schema = *schema;
    pm_arrow_array *a = malloc(sizeof *a), own_array = *array;
    PyObject *first = NULL, *second = NULL;
    if (s != NULL && a != NULL) {
        *s = *schema;
        *a = *array;
        first = PyCapsule_New(s, "arrow_schema", free_schema);
        second = PyCapsule_New(a, "arrow_array", free_array);
    } else {
        PyErr_NoMemory();
    }
    if (first == NULL) {
        own_schema.release(&own_schema);
        free(s);
    }
    if (second == NULL) {
        own_array.release(&own_array);
        free(a);
    }
    PyObject *pair = first == NULL || second == NULL ? NULL : PyTuple_Pack(2, first, second);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return pair;
}
