/* SPDX-License-Identifier: Apache-2.0 */
/* What the stages of link.h share: link_group.c, link_prune.c, link_repair.c, in this order. */
#ifndef PM_GRAPH_LINK_INT_H
#define PM_GRAPH_LINK_INT_H

#include "link.h"
#include "simd/graph.h"

#include <stdatomic.h>

#define GRAPH_LEAF       1000 /* rows of which all pairs are compared, at most */
#define GRAPH_LEADERS    4000 /* of one level, at most */
#define GRAPH_CANDIDATES 64   /* of a row, before pruning, at most */
#define GRAPH_NO_KEY     UINT64_MAX

/* One row in so many, and links between these, so that a walk also gets from one cluster to the next. */
typedef struct graph_upper {
    uint32_t count, degree; /* none: 0 */
    uint32_t *row;          /* in order */
    uint32_t *links;        /* count x degree, as numbers in row */
} graph_upper;

/*
 * A key is distance << 32 | row: ordered by distance, then by row.
 *
 * Each row is in `slots` leaves, and has room for `keep` keys from each: so whichever leaf is done first, what a row
 * has in the end is the same. Pruning leaves its choice in the same place, ended by GRAPH_NO_KEY.
 */
typedef struct graph_linker {
    graph_codes codes;
    const graph_link_options *options;
    const pm_simd_graph *kernels;
    uint32_t slots, keep, candidates;
    uint64_t *keys; /* rows x slots x keep */
    graph_upper upper;
    uint32_t entry;
    uint32_t *links;   /* rows x degree */
    atomic_int status; /* what stopped the work, or POMAI_OK */
    const void *stage; /* what the pieces under way share */
} graph_linker;

/* Rows whose links back are sorted at once, at least; tests want it with few. */
#ifdef POMAI_TEST_HOOKS
extern uint64_t graph_range;
#else
extern const uint64_t graph_range;
#endif

/* Whether to go on; asks. */
bool graph_go_on(graph_linker *linker);
void graph_stop(graph_linker *linker, pomai_status status);
/* NULL after graph_stop. 64-byte aligned; freed with pm_free. */
void *graph_take(graph_linker *linker, uint64_t count, uint64_t size);
/* Does piece(linker, i) for i under `pieces`, on any threads; false: stopped. */
bool graph_run(graph_linker *linker, void (*piece)(void *linker, uint32_t i), uint64_t pieces, const void *stage);

static inline const uint8_t *graph_code(const graph_codes *codes, uint64_t row)
{
    return codes->code + row * codes->stride;
}

static inline size_t graph_round16(size_t n)
{
    return (n + PM_GRAPH_PANEL - 1) / PM_GRAPH_PANEL * PM_GRAPH_PANEL;
}

static inline uint64_t *graph_keys_of(const graph_linker *linker, uint64_t row)
{
    return linker->keys + row * linker->slots * linker->keep;
}

/* Sorts a few keys. */
void graph_sort_keys(uint64_t *key, size_t n);

bool graph_group(graph_linker *linker);  /* keys: the nearest that each row met in its leaves */
bool graph_prune(graph_linker *linker);  /* keys: those worth a link; links: as they say, and back */
bool graph_repair(graph_linker *linker); /* links: so that every row is reached */

/* Row nearest to the mean of (a sample of) all. false: no memory. */
bool graph_middle(const graph_codes *codes, const pm_simd_graph *kernels, uint32_t *out);

#endif
