/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns of documents: what the documents of a segment's rows say, path by path, as sorted dictionaries and the rows
 * of each value, so that filters (filter/filter.h) are answered without reading documents. Documents stay the truth:
 * of rows that columns cannot decide ("open") they are asked.
 *
 * Columns are a pure function of the documents: the same bytes at every level of the kernels. They are derived: they
 * may be deleted at any time, and are built again. docs/format/columns.md has the sections.
 *
 * Nothing here opens a file, locks or calls the system.
 */
#ifndef PM_COLUMNS_H
#define PM_COLUMNS_H

#include "filter/filter.h"
#include "index/source.h"
#include "simd/simd.h"

enum {
    PM_COLUMNS_SECTIONS = 7,
    PM_COLUMNS_VERSION = 1,
    PM_COLUMNS_MOST = 1024,          /* columns */
    PM_COLUMNS_MOST_STRING = 128,    /* bytes of a string, and of a number's text, that is stored */
    PM_COLUMNS_MOST_ELEMENTS = 256,  /* of an array that is looked into */
    PM_COLUMNS_MOST_VALUES = 1 << 12 /* of a document, arrays as one; a row with more is open to every filter */
};
#define PM_COLUMNS_MOST_ROWS (UINT64_C(1) << 28)

/* ---- building: one thread; the same rows give the same bytes ---- */

typedef struct pm_columns_builder pm_columns_builder;

/*
 * go_on is asked at least every few milliseconds of work (NULL: never); false: the build ends with POMAI_EDEADLINE.
 * `most` bytes of memory: beyond, POMAI_ETOOBIG, and so for more rows than PM_COLUMNS_MOST_ROWS and for more than 2^32
 * bytes of one path. No memory: POMAI_ENOMEM. After a failure all calls but pm_columns_end give the same status again.
 */
pomai_status pm_columns_begin(uint64_t rows, size_t most, bool (*go_on)(void *context), void *context,
                              pm_columns_builder **out);
/* The document of the next row; size 0: it has none. Borrowed for the call. At most `rows` calls. */
pomai_status pm_columns_add(pm_columns_builder *builder, const void *document, size_t size);
/* Only values at this path, written as filters write it, are looked at; borrowed. Before the first row, and for
 * pm_columns_order, which comes instead of the next two. */
void pm_columns_only(pm_columns_builder *builder, const char *path, size_t size);
/* After the last row: the rank that its value has in the column of that path, of each row; all are below *ranks. Rows
 * whose documents do not have the path, or have it twice, have the last. */
pomai_status pm_columns_order(pm_columns_builder *builder, uint32_t *rank, uint64_t *ranks);
/* After the last row (those that were not added have no document): sorts, and says how long each section will be. */
pomai_status pm_columns_finish(pm_columns_builder *builder, uint64_t length[PM_COLUMNS_SECTIONS]);
/* Hands all sections over, once; at most one column's worth of extra memory. The sink says stop: POMAI_EDEADLINE. */
pomai_status pm_columns_write(pm_columns_builder *builder, const pm_index_sink *sink);
void pm_columns_end(pm_columns_builder *builder); /* NULL: nothing */

/* ---- reading: any number of threads ---- */

/* In memory or mapped. */
typedef struct pm_columns {
    uint64_t rows;
    const uint8_t *section[PM_COLUMNS_SECTIONS]; /* 64-byte aligned; NULL: without bytes */
    uint64_t length[PM_COLUMNS_SECTIONS];
} pm_columns;

/*
 * Whether every offset, rank, row number and order that reading relies on is within bounds: after it no filter can make
 * reading leave the sections, whatever the bytes, and the rows of a value ascend. Answers from forged ones may be
 * wrong. Linear.
 */
bool pm_columns_is_sound(const pm_columns *columns);

/* For stats and for people; of sound columns. */
typedef struct pm_columns_facts {
    uint32_t columns;
    uint64_t open_rows;     /* to every filter: a key twice, too many values, a number too long */
    uint64_t residual_rows; /* further ones: with a path that has no column; open to filters on such paths only */
    uint64_t values;        /* in all dictionaries */
} pm_columns_facts;
pm_columns_facts pm_columns_look(const pm_columns *columns);

/*
 * A filter, looked up in the columns of a segment; columns (sound), filter and simd must outlive it. Any number of
 * threads may match by one plan. NULL: no memory, or is_over (NULL: never asked) said so; then *over is set (it is
 * never cleared). is_over is asked in long filters, and where $contains goes through many strings.
 */
typedef struct pm_columns_plan pm_columns_plan;
pm_columns_plan *pm_columns_plan_make(const pm_columns *columns, const pm_filter *filter, const pm_simd *simd,
                                      bool (*is_over)(const void *context), const void *context, bool *over);
void pm_columns_plan_free(pm_columns_plan *plan); /* NULL: nothing */

/* Bounds of the number of rows that match, of all rows, from the dictionaries alone: equal for a single leaf that
 * leaves no row open. */
void pm_columns_plan_bounds(const pm_columns_plan *plan, uint64_t *least, uint64_t *most);

/*
 * In: bits of the rows that count, bit i % 64 of match[i / 64] is row i; those past the last row are 0. Out: of these,
 * those that match for sure; `open` (as many words): those that their documents must decide, none of them in match.
 * is_over is asked now and then (NULL: never); if it says so, *over is set (it is never cleared) and the bits mean
 * nothing. false: no memory; the bits mean nothing.
 */
bool pm_columns_match(const pm_columns_plan *plan, uint64_t *match, uint64_t *open, bool *any_open,
                      bool (*is_over)(const void *context), const void *context, bool *over);

/* What pm_columns_rows will read comes from memory meanwhile: for who looks into several segments. */
void pm_columns_fetch(const pm_columns_plan *plan);
/*
 * The same where few rows can match, without a bit for every row: rows that match for sure, and (`open` set) those that
 * their documents must decide, in order. Of all rows, whether they count or not. false: more than `room` rows have to
 * be looked at, or no leaf of the filter leaves few; ask for bits. rows and open have `room` elements. is_over as
 * above: asked in long filters; then rows mean nothing.
 */
bool pm_columns_rows(const pm_columns_plan *plan, uint32_t room, uint32_t *rows, bool *open, uint32_t *count,
                     bool (*is_over)(const void *context), const void *context, bool *over);

/* Adds a line a leaf, indented like the tree: the leaf as pm_filter_print has it, cut short, what answers it (ranks,
 * postings, nothing), its rows, its undecided rows. Behind some 2,000 bytes a last line says how many are left out. */
void pm_columns_explain(const pm_columns_plan *plan, pm_text *text);

#endif
