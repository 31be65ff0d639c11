/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How documents and filters are read: what is JSON, what strings and numbers are, and in which order. For all who must
 * agree with pm_filter_matches.
 */
#ifndef PM_FILTER_JSON_H
#define PM_FILTER_JSON_H

#include "filter/filter.h"

/* ---- the words of JSON, as RFC 8259 has them ---- */

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

/* Whether what begins here is meant as a string, or key, and has not the quotes of one. */
bool pm_filter_lacks_quotes(const char *p, const char *end, bool key);

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

/* ---- numbers ---- */

/* p to end is a number that has been looked at. Remembers where its digits lie. */
void pm_filter_read_number(const char *p, const char *end, pm_filter_number *number);
int pm_filter_order_numbers(const pm_filter_number *a, const pm_filter_number *b);

/* ---- orders ---- */

typedef int (*pm_filter_order)(const void *a, const void *b);
/* n log n comparisons whatever comes; in place, twice as many, where there is no memory. Equals in any order. */
void pm_filter_sort(void **items, size_t count, pm_filter_order order);
/* The same by pm_filter_order_values: of many, at most UINT32_MAX, by their first digits or bytes. */
void pm_filter_sort_values(void **values, size_t count);

int pm_filter_order_keys(const pm_filter_key *a, const pm_filter_key *b);
int pm_filter_order_values(const void *left, const void *right); /* of pm_filter_value */

/* ---- paths ---- */

/* A key as it stands in a path, `first` at its beginning, with no more backslashes than it needs: at most twice its
 * bytes. Gives its size. */
size_t pm_filter_write_key(const pm_filter_key *key, bool first, char *out);
/* The keys of a node as a path: at most PM_FILTER_MOST_PATH bytes. */
size_t pm_filter_write_path(const pm_filter_node *node, char out[PM_FILTER_MOST_PATH]);

/* ---- printing ---- */

/* pm_filter_print of a part. */
void pm_filter_print_node(const pm_filter_node *node, pm_text *text);

#endif
