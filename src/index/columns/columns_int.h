/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_COLUMNS_INT_H
#define PM_COLUMNS_INT_H

#include <assert.h>
#include <string.h>

#include "filter/json.h"
#include "index/columns/columns.h"

/* ---- docs/format/columns.md ---- */

enum {
    COLUMNS_MODEL,
    COLUMNS_TABLE,
    COLUMNS_TEXTS,
    COLUMNS_NUMBERS,
    COLUMNS_PLACES,
    COLUMNS_ROWS,
    COLUMNS_RANKS,
};

enum {
    COLUMNS_MOST_PATHS = 1 << 16,
    COLUMNS_SPARSE = 8, /* fewer rows than one in so many: no ranks a row */
    COLUMNS_LINE = 64,
    COLUMNS_MOST_EXPONENT = 1 << 29,
    COLUMNS_LEAD_DIGITS = 19,
};

/* Of ranks: the first, and those behind the last value. */
enum { RANK_NULL, RANK_FALSE, RANK_TRUE, RANK_NUMBERS };
enum { RANK_LONG, RANK_ODD, RANK_ARRAY, RANK_BIG, RANK_OBJECT, RANK_MISSING, RANKS_BEHIND = RANK_MISSING };

typedef struct columns_model {
    uint32_t version, columns;
    uint64_t rows, open, residual, values;
    uint8_t zero[24];
} columns_model;
static_assert(sizeof(columns_model) == 64 && offsetof(columns_model, values) == 32, "section 0");

enum { COLUMNS_INT64, COLUMNS_DECIMALS, COLUMNS_FORMS };

typedef struct columns_dictionary {
    uint64_t numbers_at, texts_at, places_at, rows_at;
    uint32_t numbers, strings, text_bytes, form;
} columns_dictionary;
static_assert(sizeof(columns_dictionary) == 48 && offsetof(columns_dictionary, form) == 44, "section 1");

typedef struct columns_column {
    uint64_t name_at;
    uint32_t name_size, width;
    uint64_t ranks_at, zero;
    columns_dictionary values, elements;
} columns_column;
static_assert(sizeof(columns_column) == 128 && offsetof(columns_column, values) == 32, "section 1");

typedef struct columns_decimal {
    uint64_t lead;
    uint32_t head, digits_at;
} columns_decimal;
static_assert(sizeof(columns_decimal) == 16, "section 3");
#define COLUMNS_NO_DIGITS UINT32_MAX

#define COLUMNS_ZERO 0x80000000u

/* |exponent| is below COLUMNS_MOST_EXPONENT. */
static inline uint32_t columns_head(int sign, int64_t exponent)
{
    if (sign == 0) return COLUMNS_ZERO;
    return sign > 0 ? (uint32_t)(0xc0000000 + exponent) : (uint32_t)(0x40000000 - exponent);
}

static inline uint64_t columns_ranks(const columns_dictionary *dictionary) /* D */
{
    return (uint64_t)RANK_NUMBERS + dictionary->numbers + dictionary->strings;
}

/* Words of its places. */
static inline uint64_t columns_places(const columns_dictionary *dictionary)
{
    return (uint64_t)dictionary->strings + 1 + columns_ranks(dictionary) + RANKS_BEHIND + 1;
}

static inline size_t columns_number_bytes(const columns_dictionary *dictionary)
{
    return dictionary->form == COLUMNS_INT64 ? sizeof(int64_t) : sizeof(columns_decimal);
}

/* A whole number's decimal: its digits from the first on, filled up to 19. */
static inline void columns_of_int64(int64_t whole, pm_filter_number *number)
{
    static const uint64_t most = UINT64_C(1000000000000000000); /* 10^18: what has 19 digits is not less */
    uint64_t lead = whole < 0 ? -(uint64_t)whole : (uint64_t)whole;
    *number = (pm_filter_number){.sign = (whole > 0) - (whole < 0)};
    if (whole == 0) return;
    number->exponent = COLUMNS_LEAD_DIGITS;
    for (; lead < most; lead *= 10)
        number->exponent--;
    number->lead = lead;
}

/* ---- reading: read.c ---- */

/* A dictionary, where it lies. */
typedef struct columns_view {
    columns_dictionary facts;
    uint64_t ranks; /* D */
    const uint8_t *numbers;
    const char *texts;
    const uint32_t *string_at; /* strings + 1 */
    const uint32_t *row_at;    /* D + RANKS_BEHIND + 1 */
    const uint32_t *rows;
} columns_view;

columns_column columns_read_column(const pm_columns *columns, uint32_t index);
columns_view columns_read_view(const pm_columns *columns, const columns_dictionary *dictionary);

/* Rows that are open to every filter, behind them residual ones. */
const uint32_t *columns_open_rows(const pm_columns *columns, uint64_t *open, uint64_t *residual);

/* Its number, or -1: there is no column of this name. */
int64_t columns_find(const pm_columns *columns, const char *name, size_t size);

/* The first value of its type from `from` on that is not less, as a rank; `from` is a rank too. */
uint64_t columns_seek(const columns_view *view, const pm_filter_value *value, uint64_t from, bool *equal);
/* The first string that does not come before all strings that begin with the value's. */
uint64_t columns_seek_prefix_end(const columns_view *view, const pm_filter_value *value);

/* ---- plans: plan.c, match.c ---- */

typedef struct columns_range {
    uint32_t low, high; /* ranks from low on, below high */
} columns_range;

/* A node of the filter; what follows from its value is only set in leaves. */
typedef struct columns_node {
    const pm_filter_node *filter, *also; /* also: the other end of a range; NULL: none */
    void **children;                     /* columns_node *, in the order in which they are looked at */
    uint32_t child_count;
    uint64_t least, most; /* of rows */

    int64_t column; /* -1: none */
    columns_dictionary values, elements;
    const uint8_t *ranks; /* a row; NULL: none */
    uint32_t width;
    size_t range_at, range_count;    /* of values, ascending: rows that match */
    columns_range among;             /* of elements: the same */
    uint32_t undecided, of_elements; /* bits of RANK_...: rows that only their documents can decide */
    uint64_t open;                   /* and so many of columns_open_rows */
} columns_node;

struct pm_columns_plan {
    const pm_columns *columns;
    const struct pm_simd_ranks *kernels;
    columns_node *nodes; /* [0] is the root */
    void **children;
    columns_range *ranges, few[4]; /* `few`, or memory of their own */
    size_t node_count, child_count, range_count, ranges_room;
    bool is_undecided; /* some leaf is, for some row */
    bool (*is_over)(const void *context);
    const void *context;
    bool over;
};

static inline uint32_t columns_rank_of(const uint8_t *ranks, uint32_t width, uint64_t row)
{
    uint32_t rank = ranks[row * width];
    if (width > 1) rank |= (uint32_t)ranks[row * width + 1] << 8;
    if (width > 2) memcpy(&rank, ranks + row * width, sizeof rank);
    return rank;
}

/* Whether a rank is in one of some ranges, which ascend. */
static inline bool columns_is_in(const columns_range *ranges, size_t count, uint32_t rank)
{
    size_t low = 0;
    while (low < count) {
        const size_t middle = low + (count - low) / 2;
        if (rank < ranges[middle].low)
            count = middle;
        else if (rank >= ranges[middle].high)
            low = middle + 1;
        else
            return true;
    }
    return false;
}

/* What answers a leaf where all rows count: "ranks", "rows", "nothing". */
const char *columns_method(const pm_columns_plan *plan, const columns_node *leaf);

/* ---- building: store.c, sort.c, document.c ---- */

enum { KIND_NULL, KIND_FALSE, KIND_TRUE, KIND_LONG, KIND_ODD, KIND_ARRAY, KIND_BIG, KIND_OBJECT, KIND_VALUES };

/* A distinct number or string. */
typedef struct columns_value {
    uint64_t lead;    /* number */
    uint32_t head;    /* number; 0: a string */
    uint32_t text_at; /* of the string, or of a number's further digits, in the store's bytes */
    uint32_t hash;
    uint8_t text_size; /* 0: a number without further digits */
} columns_value;

typedef struct columns_record {
    uint32_t row, id; /* id: KIND_..., from KIND_VALUES on a value; once sorted: the rank */
} columns_record;

/* The values of a path, or the elements of its arrays. */
typedef struct columns_store {
    columns_value *values;
    columns_record *records;
    char *bytes;
    uint32_t *table, *order; /* order: once sorted, the values by rank */
    size_t values_room, records_room, bytes_room, table_size, order_room;
    size_t value_count, record_count, byte_count;
    uint32_t numbers; /* among the values */
} columns_store;

typedef struct columns_path {
    uint32_t parent, hash, stamp; /* stamp: number of the document that had it last, from 1 */
    uint32_t text_at;             /* in the builder's texts: the path, then the key */
    uint16_t text_size, key_size;
    uint8_t keys;
    columns_store values;
    columns_store *elements; /* NULL: none yet */
} columns_path;

/* A value that a document has. */
typedef struct columns_found {
    uint32_t path;
    bool escapes;
    const char *at, *end;
} columns_found;

struct pm_columns_builder {
    uint64_t rows, added;
    size_t most, used;
    bool (*go_on)(void *context);
    void *context;
    size_t work; /* since go_on was asked */
    pomai_status status;
    uint64_t seed;

    const char *only; /* NULL: all paths */
    size_t only_size;
    columns_path *paths; /* [0] is the document */
    size_t path_count, paths_room;
    uint32_t *path_table;
    size_t path_table_size;
    char *texts;
    size_t text_count, texts_room;

    columns_found *found; /* PM_COLUMNS_MOST_VALUES */
    size_t found_count;
    bool is_open, is_residual; /* the document that is read */

    uint64_t *open, *residual; /* bits of rows */
    uint32_t *chosen;          /* paths that have a column, by name */
    columns_column *columns;
    size_t bits_room, column_count, columns_room, chosen_room;
    uint64_t length[PM_COLUMNS_SECTIONS];
    bool finished;
};

/* Memory within `most`. *room is what there is, in elements of `size` bytes; false: status is set. */
bool columns_reserve(pm_columns_builder *builder, void *memory, size_t *room, size_t wanted, size_t size);
void columns_release(pm_columns_builder *builder, void *memory, size_t *room, size_t size);
/* Counts work, and asks go_on when it is time. */
bool columns_work(pm_columns_builder *builder, size_t work);

bool columns_put_scalar(pm_columns_builder *builder, columns_store *store, uint32_t row, const columns_found *found);
bool columns_put_kind(pm_columns_builder *builder, columns_store *store, uint32_t row, uint32_t kind);
/* All elements of an array: gives the kind that the array then is, or KIND_VALUES: failed. */
uint32_t columns_put_elements(pm_columns_builder *builder, columns_store *store, uint32_t row,
                              const columns_found *array);
void columns_store_unhash(pm_columns_builder *builder, columns_store *store);
void columns_store_free(pm_columns_builder *builder, columns_store *store);

/* Brings the values into order, and makes ranks of the records' ids. */
bool columns_sort(pm_columns_builder *builder, columns_store *store);

/* Whether it is a JSON object: then `found` has its values. false, or an open row: no path is left of it. */
bool columns_read_document(pm_columns_builder *builder, const char *text, size_t size);

#endif
