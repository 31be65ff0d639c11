/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters: the language of docs/filter.md as an immutable tree, and its evaluation on the document of a row. A filter
 * may be used by any number of threads at once; each brings scratch memory of its own.
 */
#ifndef PM_FILTER_FILTER_H
#define PM_FILTER_FILTER_H

#include "base/base.h"

enum {
    PM_FILTER_MOST_BYTES = 16 << 20, /* of a filter's text */
    PM_FILTER_MOST_TERMS = 1 << 18,
    PM_FILTER_MOST_DEPTH = 32, /* $and, $or and $not in each other */
    PM_FILTER_MOST_PATH = 1024,
    PM_FILTER_MOST_KEYS = 32, /* of a path */
    PM_FILTER_MOST_CONTAINS = 256,
    PM_FILTER_MOST_EXPONENT = 1000000000,
    PM_FILTER_MOST_NESTING = 1024, /* of a document */
};

/* What is left of the operators: $ne, $nin and `"$exists": false` are PM_FILTER_NOT of the positive one. */
typedef enum pm_filter_op {
    PM_FILTER_AND, /* of `children`; of none, which is the filter {}: true */
    PM_FILTER_OR,  /* of two children or more */
    PM_FILTER_NOT, /* of one child, which is no PM_FILTER_NOT */
    PM_FILTER_EXISTS,
    PM_FILTER_EQ,
    PM_FILTER_IN, /* values[0 .. count): no two equal, in the order of pm_filter_type, then by value */
    PM_FILTER_LT, /* a number or a string */
    PM_FILTER_LTE,
    PM_FILTER_GT,
    PM_FILTER_GTE,
    PM_FILTER_CONTAINS,
    PM_FILTER_STARTS_WITH, /* a string */
} pm_filter_op;

typedef enum pm_filter_type { PM_FILTER_NULL, PM_FILTER_BOOL, PM_FILTER_NUMBER, PM_FILTER_STRING } pm_filter_type;

/* A decimal, ready to be compared: sign * 0.d1d2d3... * 10^exponent, where d1 is not 0. */
typedef struct pm_filter_number {
    int sign;         /* -1, 0, 1; the rest is 0 if it is 0 */
    int64_t exponent; /* of a document's number at most 2^57 either way */
    uint64_t lead;    /* d1 to d19 as a whole number, zeros behind the last */
    const char *tail; /* d20 to the last that is not 0, perhaps with a point between */
    const char *tail_end;
} pm_filter_number;

/* How a number can be held. */
typedef enum pm_filter_width { PM_FILTER_INT64, PM_FILTER_UINT64, PM_FILTER_DECIMAL } pm_filter_width;

typedef struct pm_filter_value {
    pm_filter_type type;
    bool truth;            /* BOOL */
    pm_filter_width width; /* NUMBER: INT64 if it can be that, UINT64 if only that, else DECIMAL: fractions too */
    union {
        int64_t i64;
        uint64_t u64;
    } whole;
    pm_filter_number number;
    const char *data; /* STRING: UTF-8, may have NUL in it. NUMBER: shortest decimal text */
    size_t size;
} pm_filter_value;

typedef struct pm_filter_key {
    const char *data; /* UTF-8, may have NUL in it */
    size_t size;
} pm_filter_key;

typedef struct pm_filter_node {
    pm_filter_op op;
    const struct pm_filter_node *next;     /* the sibling after this one */
    const struct pm_filter_node *children; /* AND, OR, NOT: the first */
    /* of all other ops: */
    const pm_filter_key *keys; /* from the document inwards */
    uint32_t key_count;        /* at least 1 */
    uint32_t slot;             /* the same for equal paths; matching uses it */
    const pm_filter_value *values;
    uint32_t count;        /* of values: 1, EXISTS: 0, IN: any but 1 */
    const uint32_t *skips; /* of a string to be contained: matching uses it */
} pm_filter_node;

typedef struct pm_filter pm_filter;

/* Refuses with POMAI_EINVAL or POMAI_ETOOBIG, and the path of what is wrong; or POMAI_ENOMEM. */
pomai_status pm_filter_parse(const char *json, size_t size, pm_filter **out, pomai_error *err);
void pm_filter_free(pm_filter *filter);

const pm_filter_node *pm_filter_root(const pm_filter *filter);
/* Whether it matches whatever a row has: {}, {"a": {"$nin": []}}. What has to look at rows for that is none. */
bool pm_filter_is_every_row(const pm_filter *filter);

/* Bytes that pm_filter_matches wants, aligned for uint64_t; what is in them does not matter. */
size_t pm_filter_scratch_size(const pm_filter *filter);

/* Whether it is over is asked while documents are judged: after a few milliseconds, within one as well. */
typedef struct pm_filter_asks {
    bool (*is_over)(const void *context); /* NULL: it never is */
    const void *context;
    uint64_t work; /* since it was asked */
    bool over;     /* it was; the document that was judged then does not match */
} pm_filter_asks;

/* Any bytes will do as a document; what is no JSON object has no keys. Reads it once, allocates nothing. */
bool pm_filter_matches(const pm_filter *filter, void *scratch, const void *document, size_t size);
/* The same, unless it is over. */
bool pm_filter_matches_until(const pm_filter *filter, void *scratch, const void *document, size_t size,
                             pm_filter_asks *asks);

/* Adds the tree as the text of a filter in UTF-8, always the same for the same tree; control characters are escaped. */
void pm_filter_print(const pm_filter *filter, pm_text *text);

#endif
