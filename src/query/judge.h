/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows of a view the reader sees and a filter lets pass, as bits. Searches and counts judge all rows at once, on
 * all threads; a scan judges a piece of a source when it comes to it.
 */
#ifndef PM_QUERY_JUDGE_H
#define PM_QUERY_JUDGE_H

#include "filter/filter.h"
#include "index/columns/columns.h"
#include "query/pool.h"
#include "query/view.h"
#include "simd/simd.h"

/* ---- a piece of a source, on one thread ---- */

/* What one thread judges with. */
typedef struct pm_judge {
    const pm_view *view;
    const pm_filter *filter; /* NULL: all rows match */
    const pm_simd *simd;     /* of columns; NULL: only documents are judged */
    void *scratch;
    bool none;            /* what the filter says of a row without a document */
    pm_filter_asks *asks; /* NULL: it is never over. Once it is, the other rows of a piece do not match */
} pm_judge;

/* view and filter are borrowed. false: no memory */
bool pm_judge_begin(pm_judge *with, const pm_view *view, const pm_filter *filter);
void pm_judge_end(pm_judge *with);

/* POMAI_EDEADLINE, and why. */
pomai_status pm_judge_is_over(pomai_error *err);
bool pm_judge_matches(const pm_judge *with, pomai_bytes document);
/* bits: one for each of the n rows of a segment from `first` on, a multiple of 64, that the reader sees and that match;
 * zero for what is beyond n in the last word. Fails with POMAI_ECORRUPT. */
pomai_status pm_judge_segment(const pm_judge *with, pm_segment *segment, uint64_t first, uint64_t n, uint64_t *bits,
                              pomai_error *err);
/* How the rows of a source were judged. */
typedef struct pm_judge_by {
    bool columns;
    uint64_t documents;   /* so many were looked at */
    uint64_t least, most; /* that match, of all rows, as columns alone tell */
} pm_judge_by;

/* The same of all rows of a segment, by its columns; `open`: rows of which their documents must tell, none of them in
 * `bits`. POMAI_ENOTFOUND: it has none that can be used; POMAI_EDEADLINE: is_over said so, and the bits mean nothing.
 * err is not set by these two. */
pomai_status pm_judge_columns(const pm_judge *with, pm_segment *segment, bool (*is_over)(const void *context),
                              const void *context, uint64_t *bits, uint64_t *open, pomai_error *err);
/* Sets the bits of those open rows that match, in `words` words from row `first` on, a multiple of 64. */
pomai_status pm_judge_open(const pm_judge *with, pm_segment *segment, uint64_t first, uint64_t words,
                           const uint64_t *open, uint64_t *bits, pomai_error *err);
/* The same of a memtable's chunk, of 64 rows or fewer. */
uint64_t pm_judge_chunk(const pm_judge *with, const pm_chunk *chunk, uint64_t visible, uint64_t first);

/* ---- all rows of a view ---- */

/* Matches of a segment that are listed and have no bits: to go through a bit of every row takes longer. */
#define PM_JUDGE_FEW 512

/* A memtable as far as the view shows it, or a segment, which counts as one chunk. */
typedef struct pm_judged {
    const pm_memtable *table; /* NULL: a segment */
    pm_segment *segment;
    uint64_t visible; /* of the memtable's shard */
    uint64_t chunks;
    uint64_t *match;          /* a bit for each row that the reader sees and that matches; NULL: instead of these */
    uint32_t *list;           /* `matches` rows, in order; or there are none */
    uint64_t fetched;         /* of the list, so many are on their way */
    bool listed;              /* `matches` is known, and there are no bits */
    uint64_t words;           /* so many; */
    const uint64_t *match_at; /* of a memtable, where the words of each chunk begin */
    uint64_t rows, matches;   /* of all its rows, so many do */
    uint64_t first_piece;     /* of the work */
    pm_judge_by by;
    pm_columns columns;
    pm_columns_plan *plan; /* of columns; NULL: they are not used */
} pm_judged;

/* Of a list, so many rows from place i on follow each other in the segment, up to place `end`. */
static inline uint64_t pm_judge_run(const uint32_t *list, uint64_t i, uint64_t end)
{
    uint64_t stop = i + 1;
    if (list[end - 1] - list[i] == end - 1 - i) return end - i; /* all, where rows are clustered */
    while (stop < end && list[stop] == list[stop - 1] + 1)
        stop++;
    return stop - i;
}

typedef struct pm_judgement {
    uint64_t *words; /* of all sources */
    uint32_t sources;
    bool whole; /* else it was over before all were judged; what was not judged does not match */
    uint64_t matches;
    pm_judged source[]; /* segments, oldest first; then of each shard the frozen memtable and the active one */
} pm_judgement;

typedef struct pm_judge_how {
    const pm_view *view;
    const pm_filter *filter;              /* NULL: all rows match */
    const pm_simd *simd;                  /* NULL: columns are not used */
    pm_pool *pool;                        /* may be NULL */
    bool (*is_over)(const void *context); /* asked after every 1,024 rows */
    const void *context;
    /* Told of rows as soon as they are listed, so that what will be read of them is on its way; NULL: nothing is. May
     * set `fetched`. */
    void (*list)(const void *context, pm_judged *from);
} pm_judge_how;

/* The view is one whose `shown` is not NULL. Fails with POMAI_ECORRUPT or POMAI_ENOMEM. */
pomai_status pm_judge_all(const pm_judge_how *how, pm_judgement **out, pomai_error *err);
void pm_judgement_free(pm_judgement *judgement);

#endif
