/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact search: the k nearest of all rows offered, by (distance, id).
 *
 * Distances are canonical (simd.h: pm_exact_*), smaller is nearer:
 *   L2      sum of (q[d] - x[d])^2
 *   IP      1 - dot(q, x)
 *   COSINE  1 - dot(q, x) / sqrt(dot(q, q) * dot(x, x)); 1 if either vector is zero. Nothing is clamped, so the
 * distance of two parallel vectors may be a rounding below 0 or of two opposite ones above 2.
 *
 * The answer is the same bits whatever the level of the kernels, the split of the rows into tiles, their order, the
 * grouping of the queries and the order of merges. That holds for finite vectors and ids that are all different.
 *
 * Nothing here allocates or locks. A query is used by one thread at a time; a group of queries by one thread. Init
 * and offer set the default floating-point environment while they run (simd.h: pm_simd_fp_enter).
 */
#ifndef PM_FLAT_H
#define PM_FLAT_H

#include <stddef.h>
#include <stdint.h>

#include "pomai/types.h"
#include "simd/convert.h"
#include "simd/simd.h"

#define PM_FLAT_TILE 64

/* Rows offered together. owner/row say where a row is; the search does not look into them. */
typedef struct pm_flat_tile {
    size_t n;
    union {
        const float *vector[PM_FLAT_TILE];
        const void *stored[PM_FLAT_TILE]; /* of another type */
    };
    const void *owner[PM_FLAT_TILE];
    uint32_t row[PM_FLAT_TILE];
    pomai_dtype dtype;         /* 0 or POMAI_DTYPE_FLOAT32: `vector`. Others: `stored`, and */
    const pm_convert *convert; /* how to get at their values, */
    float *room;               /* and where to: for n vectors */
} pm_flat_tile;

/* An id for ordering equal distances: bytes == NULL: u64; else bytes[0..size) compared by memcmp then by length. */
typedef struct pm_flat_id {
    uint64_t u64;
    const uint8_t *bytes;
    uint32_t size;
} pm_flat_id;

/* Called for rows that are as far as each other; bytes must live as long as the query's hits are used. */
typedef void (*pm_flat_id_fn)(const void *owner, uint32_t row, pm_flat_id *id);

/* Ids lie elsewhere, and seldom decide: they are not kept. */
typedef struct pm_flat_hit {
    double distance;
    const void *owner;
    uint32_t row;
} pm_flat_hit;

typedef struct pm_flat_query pm_flat_query; /* query + its heap of k hits */

/* Bytes of one query, 0 if that overflows; a multiple of 64, so that several may lie side by side. */
size_t pm_flat_query_size(size_t k, size_t dim);

/*
 * Makes a query in memory of pm_flat_query_size bytes, 64-byte aligned; the result is `memory`, and there is nothing to
 * release. The vector is copied. id_of is called from pm_flat_offer, pm_flat_merge and pm_flat_finish.
 */
pm_flat_query *pm_flat_query_init(void *memory, const pm_simd *simd, pomai_metric metric, const float *vector,
                                  size_t dim, size_t k, pm_flat_id_fn id_of);

/*
 * Offers the rows of the tile to every query of a group, which must agree in simd, metric and dim. A group of eight or
 * more shares the work on the rows, and runs as a matrix product. Tiles that are full are worth the most.
 */
void pm_flat_offer(pm_flat_query *const *queries, size_t nqueries, const pm_flat_tile *tile);

/* Offers one row whose canonical distance is known. */
void pm_flat_offer_known(pm_flat_query *q, double distance, const void *owner, uint32_t row);

/*
 * The same for many queries and many tiles. Where the level has products of bytes the queries and each tile are coded
 * in bytes first, which decides nearly all rows (group.c); the codes are made at the first offer.
 */
typedef struct pm_flat_group pm_flat_group;

/* Bytes of a group, 0 if that overflows; a multiple of 64. */
size_t pm_flat_group_size(const pm_simd *simd, size_t nqueries, size_t dim);

/* In memory of pm_flat_group_size bytes, 64-byte aligned; nothing to release. `queries` must live as long. */
pm_flat_group *pm_flat_group_init(void *memory, pm_flat_query *const *queries, size_t nqueries);

void pm_flat_group_offer(pm_flat_group *group, const pm_flat_tile *tile);

/* The distance of the k-th nearest so far, of all that share a limit: nothing farther can be in the answer. INFINITY
 * while there are fewer. */
double pm_flat_bound(const pm_flat_query *query);
/* From now on rows may be offered again: they are not taken twice. For an answer or two, as each is sought among the k.
 */
void pm_flat_expect_repeats(pm_flat_query *query);
/* Rows offered so far that were nearer than that at the time. */
uint64_t pm_flat_nearer(const pm_flat_query *query);

/*
 * Threads that look at different rows for one query leave out sooner what cannot be in the answer if they share the k
 * least distances met so far. A limit may be used by any number of threads; none ever waits for another. Answers stay
 * the same.
 */
typedef struct pm_flat_limit pm_flat_limit;

/* Bytes of a limit, a multiple of 64; 0: a k for which there is none. */
size_t pm_flat_limit_size(size_t k);

/* In memory of pm_flat_limit_size bytes, 64-byte aligned; nothing to release. */
pm_flat_limit *pm_flat_limit_init(void *memory, size_t k);

/* Before anything is offered to q. All that share a limit must be of one vector, metric and k, offer different rows,
 * and be merged in the end. */
void pm_flat_share(pm_flat_query *q, pm_flat_limit *limit);

/* Offers the hits of `from` to `into`: the same vector, metric and k over other rows. `from` stays as it is;
 * `into` has no limit from now on. */
void pm_flat_merge(pm_flat_query *into, const pm_flat_query *from);

/* Sorts the hits, nearest first; returns their number. They live in the query, which can take no more rows. */
size_t pm_flat_finish(pm_flat_query *q, const pm_flat_hit **hits);

#endif
