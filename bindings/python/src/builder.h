/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of Arrow arrays out of lists of Python: of bools, ints, floats or strings, of lists of such, and of None. */
#ifndef PM_PY_BUILDER_H
#define PM_PY_BUILDER_H

#include "arrow.h"

enum { PM_PY_DEEPEST_LIST = 30 };

/* In the order of `formats` of builder.c; from TEXTS on there are offsets. */
typedef enum pm_py_kind {
    PM_PY_NOTHING,
    PM_PY_BOOLS,
    PM_PY_INTS,
    PM_PY_NATURALS, /* beyond 2^63 */
    PM_PY_FLOATS,
    PM_PY_TEXTS,
    PM_PY_LISTS,
    PM_PY_OTHERS,
} pm_py_kind;

/* All zero to begin with. Does not move once it is finished: schema and array point into it. */
typedef struct pm_py_builder {
    pm_py_kind kind;
    int64_t count, nulls;
    char *data, *valid; /* valid NULL: all are there */
    int64_t *offsets;
    size_t size, room, valid_room, offsets_size, offsets_room;
    struct pm_py_builder *items;
    pm_arrow_schema schema, *schemas[1];
    pm_arrow_array array, *arrays[1];
    const void *buffers[3];
} pm_py_builder;

/* 1: the item does not go with those before; the column is not to be used. Runs no code of Python. */
int pm_py_builder_add(pm_py_builder *builder, PyObject *item, int depth);
/* A text of `count` characters of 32 bits. 1: they are not Unicode. */
int pm_py_builder_add_utf32(pm_py_builder *builder, const char *characters, Py_ssize_t count);
void pm_py_builder_finish(pm_py_builder *builder);
void pm_py_builder_free(pm_py_builder *builder);
void pm_py_pack_bits(char *data, int64_t count);

#endif
