/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns of Arrow arrays that others made. Nothing in them is believed that can be checked; how long a buffer is
 * cannot. Needs nothing but the headers of C: the Python package compiles it too.
 *
 * Functions that return a sentence say what is wrong with the array, and NULL if nothing is.
 */
#ifndef PM_ARROW_COLUMN_H
#define PM_ARROW_COLUMN_H

#include <stdbool.h>
#include <stddef.h>

#include "pomai/arrow.h"
#include "pomai/types.h"

typedef enum pm_arrow_kind {
    PM_ARROW_NULL,
    PM_ARROW_BOOL,
    PM_ARROW_NUMBER, /* `number` and `size` say which */
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
    const struct ArrowSchema *schema;
    const struct ArrowArray *array;
    const char *name;
    pm_arrow_kind kind;
    char number;  /* 'i' signed, 'u' unsigned, 'f' float */
    int64_t size; /* bytes of a number */
    int64_t start, length, width, unit;
    bool text;  /* UTF-8 */
    bool large; /* 64-bit offsets */
    bool view;  /* a string view, or list view */
    bool zoned; /* a timestamp with a time zone */
} pm_arrow_column;

/* Says what a column of this schema is; array may be NULL. Checks everything that can be checked at once. */
const char *pm_arrow_column_take(const char *name, const struct ArrowSchema *schema, const struct ArrowArray *array,
                                 int64_t start, int64_t length, pm_arrow_column *out);
static inline bool pm_arrow_is_null(const pm_arrow_column *column, int64_t i)
{
    const struct ArrowArray *a = column->array;
    if (column->kind == PM_ARROW_NULL) return true;
    if (a->null_count == 0 || a->n_buffers < 1 || a->buffers == NULL) return false;
    const unsigned char *valid = a->buffers[0];
    const uint64_t bit = (uint64_t)(column->start + i);
    return valid != NULL && (valid[bit / 8] >> bit % 8 & 1) == 0;
}
/* Item i of bytes, strings and their views. */
const char *pm_arrow_bytes(const pm_arrow_column *column, int64_t i, pomai_bytes *out);
static inline const char *pm_arrow_number(const pm_arrow_column *column, int64_t i)
{
    return (const char *)column->array->buffers[1] + (column->start + i) * column->size;
}
/* Of days, times and clocks. */
int64_t pm_arrow_int(const pm_arrow_column *column, int64_t i);
/* Item i of a list: *first and *count items of child 0 of its array, without the offset of that. */
const char *pm_arrow_list(const pm_arrow_column *column, int64_t i, int64_t *first, int64_t *count);
/* What people call the type of a column, as "timestamp[us]": for sentences. */
enum { PM_ARROW_TYPE_NAME = 64 };
const char *pm_arrow_type_name(const struct ArrowSchema *schema, char name[PM_ARROW_TYPE_NAME]);
/* Where among the values of its dictionary item i stands. */
const char *pm_arrow_code(const pm_arrow_column *column, int64_t i, int64_t *at);

#endif
