/* SPDX-License-Identifier: Apache-2.0 */
/* Queries over a view: get by id, and search, exact, by codes or by graphs, parallel over rows or queries. */
#ifndef PM_QUERY_H
#define PM_QUERY_H

#include "base/base.h"
#include "filter/filter.h"
#include "pomai/options.h"
#include "query/pool.h"
#include "query/view.h"
#include "simd/simd.h"

typedef struct pm_search {
    const float *vectors; /* queries x dim */
    uint64_t queries;
    uint32_t dim;
    uint32_t k;
    pomai_metric metric;
    pomai_id_kind id_kind;
    uint32_t include;           /* POMAI_INCLUDE_ */
    uint64_t until_ns;          /* PM_FOREVER: no deadline */
    const volatile int *cancel; /* pomai_search_options */
    float recall;               /* 0 or 1: exact, */
    float missing;              /* the verdict says that so many times what indexes say is missed; 0: once */
    uint32_t ef;                /* unless this is not 0 */
    const pm_filter *filter;    /* NULL: all rows count */
} pm_search;

/* The public, opaque types; everything they point to is their own. A result is one piece of memory, but for its plan.
 */
struct pomai_result {
    size_t queries;
    size_t *first; /* queries + 1: neighbours of query q are first[q] .. first[q + 1] - 1 */
    uint64_t *u64_ids;
    double *distances;
    pomai_bytes *string_ids;
    pomai_bytes *documents;
    float *vectors;
    pomai_verdict *verdicts;
    uint8_t *bytes; /* of string ids and documents */
    char *plan;     /* JSON, a piece of memory of its own; NULL: not included */
    uint32_t dim;
};

struct pomai_rows {
    size_t count;
    uint32_t dim;
    uint8_t *found;
    uint64_t *u64_ids;       /* NULL: they are strings */
    pomai_bytes *string_ids; /* NULL: they are numbers */
    uint64_t *stamps;
    uint64_t *expiries;
    float *vectors;         /* NULL: not included */
    pomai_bytes *documents; /* NULL: not included */
    uint8_t *bytes;         /* of string ids and documents */
};

typedef struct pm_rows_shape {
    uint64_t count;
    uint64_t bytes; /* of string ids and documents */
    uint32_t dim;
    uint32_t include; /* POMAI_INCLUDE_ */
    pomai_id_kind id_kind;
} pm_rows_shape;

/* rows.c; NULL: no memory. `bytes` of what follows: where the next bytes go, at first rows->bytes. */
pomai_rows *pm_rows_make(const pm_rows_shape *shape);
void pm_rows_set_id(pomai_rows *rows, size_t i, const pm_id *id, uint8_t **bytes);
/* All but the id. A row of a segment was checked. */
void pm_rows_set(pomai_rows *rows, size_t i, const pm_view *view, const pm_where *at, uint8_t **bytes);
void pm_rows_free(pomai_rows *rows);

pomai_status pm_query_search(const pm_os *os, const pm_simd *simd, pm_pool *pool, const pm_view *view,
                             const pm_search *search, pomai_result **result, pomai_error *err);
/* An answer without a row, for a collection that does not exist yet. */
pomai_status pm_query_search_nothing(const pm_search *search, pomai_result **result, pomai_error *err);
void pm_result_free(pomai_result *result);

/* ids were checked to be of the collection's kind; `seed` is that of the segments' hashes. */
pomai_status pm_query_get(const pm_view *view, const pomai_ids *ids, uint32_t dim, uint64_t seed, pomai_rows **out,
                          pomai_error *err);
/* Two sums over all rows that the view shows; neither order nor place of a row counts. Vectors count as stored. */
pomai_status pm_query_digest(const pm_view *view, uint32_t dim, uint64_t digest[2], pomai_error *err);

/* scan.c: a walk over all rows of a view. It holds what the view lists, so it needs no epoch once it is open. */
typedef struct pm_scan pm_scan;
/* filter: borrowed until the scan is closed; NULL: all rows come. */
pomai_status pm_scan_open(const pm_view *view, uint32_t dim, pomai_id_kind id_kind, uint32_t include,
                          const pm_filter *filter, const pm_simd *simd, pm_scan **out, pomai_error *err);
/* With a filter: from now on it is asked whether to go on, and if not, pm_scan_next fails with POMAI_EDEADLINE. */
void pm_scan_ask(pm_scan *scan, bool (*is_over)(const void *context), const void *context);
/* Up to `most` rows; *out is NULL after the last. A failure leaves the scan where it was. With a filter in an epoch: it
 * uses derived files. */
pomai_status pm_scan_next(pm_scan *scan, uint64_t most, pomai_rows **out, pomai_error *err);
/* The same of a scan with a filter; but once it is over, *over, it gives what was found by then, which may be no row:
 * *out is NULL, and so it is after the last. Then the scan is of no more use. */
pomai_status pm_scan_next_part(pm_scan *scan, uint64_t most, pomai_rows **out, bool *over, pomai_error *err);
/* For a planted bug: another time by which rows have expired. */
void pm_scan_set_now(pm_scan *scan, uint64_t now);
void pm_scan_close(pm_scan *scan);

#endif
