/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of Arrow arrays out of lists of Python. */
#include "builder.h"
#include <stdlib.h>
#include <string.h>

static int no_memory(void)
{
    PyErr_NoMemory();
    return -1;
}

static int reserve(char **data, size_t used, size_t *room, size_t more)
{
    if (more <= *room - used) return 0;
    if (used + more > PY_SSIZE_T_MAX / 2) return no_memory();
    size_t wanted = (used + more) * 2;
    char *grown = realloc(*data, wanted);
    if (grown == NULL) return no_memory();
    *data = grown;
    *room = wanted;
    return 0;
}

static int add(pm_py_builder *b, const void *data, size_t size)
{
    if (reserve(&b->data, b->size, &b->room, size) != 0) return -1;
    if (size > 0) memcpy(b->data + b->size, data, size);
    b->size += size;
    return 0;
}

static int add_offset(pm_py_builder *b)
{
    const int64_t end = b->kind == PM_PY_LISTS ? b->items->count : (int64_t)b->size;
    if (reserve((char **)&b->offsets, b->offsets_size, &b->offsets_room, sizeof end) != 0) return -1;
    memcpy((char *)b->offsets + b->offsets_size, &end, sizeof end);
    b->offsets_size += sizeof end;
    return 0;
}

/* Whatever stands for a value that is not there. */
static int add_nothing(pm_py_builder *b)
{
    static const char zeros[8];
    switch (b->kind) {
    case PM_PY_NOTHING:
        return 0;
    case PM_PY_BOOLS:
        return add(b, zeros, 1);
    case PM_PY_INTS:
    case PM_PY_NATURALS:
    case PM_PY_FLOATS:
        return add(b, zeros, 8);
    default:
        return add_offset(b);
    }
}

static int add_valid(pm_py_builder *b, bool valid)
{
    const size_t count = (size_t)b->count;
    if (!valid && b->valid == NULL) {
        if (reserve(&b->valid, 0, &b->valid_room, count + 64) != 0) return -1;
        memset(b->valid, 1, count);
    }
    if (b->valid == NULL) return 0;
    if (reserve(&b->valid, count, &b->valid_room, 1) != 0) return -1;
    b->valid[count] = valid;
    return 0;
}

/* The first value that there is says what the column holds. */
static int become(pm_py_builder *b, pm_py_kind kind)
{
    b->kind = kind;
    if (kind == PM_PY_LISTS && (b->items = calloc(1, sizeof *b->items)) == NULL) return no_memory();
    if (kind >= PM_PY_TEXTS && add_offset(b) != 0) return -1;
    for (int64_t i = 0; i < b->count; i++)
        if (add_nothing(b) != 0) return -1;
    return 0;
}

/* 1: it does not go with those before. */
static int add_int(pm_py_builder *b, PyObject *item)
{
    int over;
    int64_t value = PyLong_AsLongLongAndOverflow(item, &over);
    if (value == -1 && PyErr_Occurred()) return -1;
    if (over == 0 && (b->kind == PM_PY_INTS || value >= 0)) return add(b, &value, sizeof value);
    if (over <= 0) return 1;
    uint64_t large = PyLong_AsUnsignedLongLong(item);
    if (large == UINT64_MAX && PyErr_Occurred()) {
        PyErr_Clear();
        return 1;
    }
    for (size_t at = 0; b->kind == PM_PY_INTS && at < b->size; at += sizeof value) {
        memcpy(&value, b->data + at, sizeof value);
        if (value < 0) return 1;
    }
    b->kind = PM_PY_NATURALS; /* the same bits */
    return add(b, &large, sizeof large);
}

static int add_text(pm_py_builder *b, PyObject *item)
{
    Py_ssize_t size = 0;
    const char *text = PyUnicode_AsUTF8AndSize(item, &size);
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) return -1;
        PyErr_Clear();
        return 1;
    }
    return add(b, text, (size_t)size) != 0 ? -1 : add_offset(b);
}

static int add_items(pm_py_builder *b, PyObject *list, int depth)
{
    const Py_ssize_t count = PyList_Size(list);
    for (Py_ssize_t i = 0; i < count; i++) {
        int failed = pm_py_builder_add(b->items, PyList_GetItem(list, i), depth + 1);
        if (failed != 0) return failed;
    }
    return add_offset(b);
}

static pm_py_kind kind_of(PyObject *item)
{
    if (item == Py_None) return PM_PY_NOTHING;
    if (PyUnicode_CheckExact(item)) return PM_PY_TEXTS;
    if (PyFloat_CheckExact(item)) return PM_PY_FLOATS;
    if (PyBool_Check(item)) return PM_PY_BOOLS;
    if (PyLong_CheckExact(item)) return PM_PY_INTS;
    return PyList_CheckExact(item) ? PM_PY_LISTS : PM_PY_OTHERS;
}

int pm_py_builder_add(pm_py_builder *b, PyObject *item, int depth)
{
    const pm_py_kind kind = kind_of(item);
    int failed = 0;
    if (kind == PM_PY_OTHERS || depth > PM_PY_DEEPEST_LIST) return 1;
    if (b->kind == PM_PY_NOTHING && kind != PM_PY_NOTHING && become(b, kind) != 0) return -1;
    const bool natural = kind == PM_PY_INTS && b->kind == PM_PY_NATURALS;
    if (kind != PM_PY_NOTHING && kind != b->kind && !natural) return 1;
    if (kind == PM_PY_NOTHING) failed = add_nothing(b);
    if (kind == PM_PY_TEXTS) failed = add_text(b, item);
    if (kind == PM_PY_INTS) failed = add_int(b, item);
    if (kind == PM_PY_LISTS) failed = add_items(b, item, depth);
    if (kind == PM_PY_BOOLS) failed = add(b, item == Py_True ? "\1" : "\0", 1);
    if (kind == PM_PY_FLOATS) {
        const double value = PyFloat_AsDouble(item);
        failed = add(b, &value, sizeof value);
    }
    if (failed == 0) failed = add_valid(b, kind != PM_PY_NOTHING);
    b->count += failed == 0;
    b->nulls += failed == 0 && kind == PM_PY_NOTHING;
    return failed;
}

int pm_py_builder_add_utf32(pm_py_builder *b, const char *characters, Py_ssize_t count)
{
    if (b->kind == PM_PY_NOTHING && become(b, PM_PY_TEXTS) != 0) return -1;
    if (reserve(&b->data, b->size, &b->room, (size_t)count * 4) != 0) return -1;
    unsigned char *to = (unsigned char *)b->data + b->size;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint32_t c;
        memcpy(&c, characters + i * 4, sizeof c);
        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 1;
        if (c < 0x80) {
            *to++ = (unsigned char)c;
            continue;
        }
        const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3; /* bytes behind the first */
        *to++ = (unsigned char)((more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0) | c >> 6 * more);
        for (int j = more - 1; j >= 0; j--)
            *to++ = (unsigned char)(0x80 | (c >> 6 * j & 0x3f));
    }
    b->size = (size_t)((char *)to - b->data);
    b->count++;
    return add_offset(b);
}

/* A byte for each into a bit for each, in its place. */
void pm_py_pack_bits(char *data, int64_t count)
{
    for (int64_t i = 0; i < count; i += 8) {
        unsigned char bits = 0;
        for (int64_t j = i; j < count && j < i + 8; j++)
            bits |= (unsigned char)((data[j] != 0) << (j - i));
        data[i / 8] = (char)bits;
    }
}

void pm_py_builder_finish(pm_py_builder *b)
{
    static const char *const formats[] = {"n", "b", "l", "L", "g", "U", "+L"};
    if (b->kind == PM_PY_BOOLS) pm_py_pack_bits(b->data, b->count);
    if (b->valid != NULL) pm_py_pack_bits(b->valid, b->count);
    b->schema = (pm_arrow_schema){.format = formats[b->kind], .name = "", .flags = ARROW_FLAG_NULLABLE};
    b->array = (pm_arrow_array){.length = b->count, .null_count = b->nulls, .buffers = b->buffers};
    b->buffers[0] = b->valid;
    b->buffers[1] = b->kind >= PM_PY_TEXTS ? (const void *)b->offsets : b->data;
    b->buffers[2] = b->kind == PM_PY_TEXTS ? b->data : NULL;
    b->array.n_buffers = b->kind == PM_PY_NOTHING ? 0 : b->kind == PM_PY_TEXTS ? 3 : 2;
    if (b->kind != PM_PY_LISTS) return;
    pm_py_builder_finish(b->items);
    b->schemas[0] = &b->items->schema;
    b->arrays[0] = &b->items->array;
    b->schema.n_children = b->array.n_children = 1;
    b->schema.children = b->schemas;
    b->array.children = b->arrays;
}

void pm_py_builder_free(pm_py_builder *b)
{
    if (b->items != NULL) pm_py_builder_free(b->items);
    free(b->items);
    free(b->data);
    free(b->valid);
    free(b->offsets);
    memset(b, 0, sizeof *b);
}
