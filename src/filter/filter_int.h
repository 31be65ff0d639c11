/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_FILTER_FILTER_INT_H
#define PM_FILTER_FILTER_INT_H

#include "filter/filter.h"

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

/* ---- sort.c ---- */

typedef int (*pm_filter_order)(const void *a, const void *b);
/* By heap: n log n whatever comes, in place. */
void pm_filter_sort(void **items, size_t count, pm_filter_order order);

int pm_filter_order_keys(const pm_filter_key *a, const pm_filter_key *b);
int pm_filter_order_values(const void *left, const void *right); /* of pm_filter_value */

/* ---- json.c: the words of JSON, as RFC 8259 has them ---- */

static inline const char *pm_filter_blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

static inline bool pm_filter_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Each begins at the first byte of its word and gives the place behind the last, or NULL if it is none. */
const char *pm_filter_skip_string(const char *p, const char *end, bool *escapes); /* sets *escapes, never clears it */
const char *pm_filter_skip_number(const char *p, const char *end);
const char *pm_filter_skip_word(const char *p, const char *end); /* null, true, false */
/* Any value, at `depth` below the document. */
const char *pm_filter_skip_value(const char *p, const char *end, unsigned depth, bool *escapes);

/* The bytes that a string stands for; p to end is what is between its quotes, which has been looked at. */
typedef struct pm_filter_string {
    const char *p, *end;
    uint8_t bytes[4]; /* of an escape */
    uint8_t at, count;
} pm_filter_string;
int pm_filter_unescape(pm_filter_string *s); /* the next byte, or -1 behind the last */
static inline int pm_filter_next_byte(pm_filter_string *s)
{
    if (s->at < s->count) return s->bytes[s->at++];
    if (s->p < s->end && *s->p != '\\') return (uint8_t)*s->p++;
    return pm_filter_unescape(s);
}

/* ---- number.c ---- */

/* p to end is a number that has been looked at. Remembers where its digits lie. */
void pm_filter_read_number(const char *p, const char *end, pm_filter_number *number);
int pm_filter_order_numbers(const pm_filter_number *a, const pm_filter_number *b);
/* Bytes that the canonical text takes at most. */
static inline size_t pm_filter_number_room(size_t size)
{
    return size + 64;
}
/* Canonical text of a number with its exponent in bounds; gives its size, without a NUL. */
size_t pm_filter_write_number(const char *p, const char *end, char *out);

#endif
