/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_FILTER_FILTER_INT_H
#define PM_FILTER_FILTER_INT_H

#include "filter/filter.h"
#include "filter/json.h"

/* ---- arena.c: memory that is freed all at once ---- */

typedef struct pm_filter_block {
    struct pm_filter_block *before;
    size_t used, size; /* of what comes behind this header */
} pm_filter_block;

typedef struct pm_filter_arena {
    pm_filter_block *last;
} pm_filter_arena;

/* NULL: no memory. Of 0 bytes, too, something else than NULL. */
void *pm_filter_take(pm_filter_arena *arena, size_t size);
void pm_filter_release(pm_filter_arena *arena);

/* ---- the tree and the keys that it asks for ---- */

/* Of a tree of all keys in all paths. Children lie side by side, sorted. [0] is the document itself. */
typedef struct pm_filter_want {
    pm_filter_key key;
    uint32_t parent;
    uint32_t child, children; /* the first, and how many */
} pm_filter_want;

struct pm_filter {
    pm_filter_arena arena; /* of everything below, and of the filter itself */
    const pm_filter_node *root;
    pm_filter_want *wants;
    uint32_t want_count;
};

/* Finds the wants of the paths and gives nodes their slots. `leaves` are pm_filter_node, which get another order.
 * false: no memory. */
bool pm_filter_plan(pm_filter *filter, void **leaves, uint32_t count);

/* ---- fault.c: where something is that is refused ---- */

/* Keys and places in arrays, from the outside in. */
typedef struct pm_filter_frame {
    const struct pm_filter_frame *up; /* NULL: the whole, which has no name */
    const char *key;                  /* NULL: element `index` of an array */
    size_t size, index;
} pm_filter_frame;

enum { PM_FILTER_SHOWN = 201, PM_FILTER_FAULT = 400, PM_FILTER_KEY_SHOWN = 64 };
#define PM_FILTER_NO_NAN "wants a value; there is no NaN, no Infinity"

/* The path, which ends where `path` does; its beginning is left out where it is long. */
const char *pm_filter_show(const pm_filter_frame *at, char path[PM_FILTER_SHOWN]);
/* Why a text is no JSON: "a.b[1]: not JSON at byte 9: wants a value". false: it is JSON, or there is no memory. */
bool pm_filter_find_fault(const char *text, size_t size, char say[PM_FILTER_FAULT]);

/* ---- number.c ---- */

/* Bytes that the canonical text takes at most. */
static inline size_t pm_filter_number_room(size_t size)
{
    return size + 64;
}
/* Canonical text of a number with its exponent in bounds; gives its size, without a NUL. */
size_t pm_filter_write_number(const char *p, const char *end, char *out);

#endif
