/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links between rows of bytes: each row's to near ones, few, and such that every row is reached from the entry.
 *
 * Input and arithmetic are integers, and nothing depends on the order of pieces: the same bytes at every level of the
 * kernels and on any number of threads.
 *
 * The way there: rows near the same random leaders are compared with each other, all pairs of at most a thousand, as
 * matrix products (HCNNG: Munoz et al., 2019; PiPNN: Rubel et al., 2026); what each row found is pruned by the rule of
 * Vamana (DiskANN: Subramanya et al., 2019), and links are made to go both ways. One row in sixteen is linked among its
 * like besides, and of these one in sixteen, and so on, as in the layers of HNSW (Malkov, Yashunin, 2016), for links
 * between near rows do not lead out of a dense cluster. Rows that are not reached get a link from a near one that is.
 */
#ifndef PM_GRAPH_LINK_H
#define PM_GRAPH_LINK_H

#include "index/graph/graph.h"

#define GRAPH_NONE        0xffffffffu
#define GRAPH_MOST_DEGREE 64
#define GRAPH_MOST_FANOUT 12

/*
 * Rows as unsigned bytes, `stride` (a multiple of 64, at most PM_GRAPH_STRIDE of simd/graph.h) apart, zero from the
 * last dimension on, 64-byte aligned. Distances are squared L2 between codes, exact in 32 bits.
 */
typedef struct graph_codes {
    const uint8_t *code;
    uint64_t rows; /* at most 2^28 */
    size_t stride;
} graph_codes;

typedef struct graph_link_options {
    uint32_t degree;    /* links of a row: 1 to GRAPH_MOST_DEGREE */
    uint32_t slack_256; /* Vamana's alpha, on distances that are not squared, times 256: at least 256 */
    uint32_t fanout;    /* leaders that a row goes to: 1 to GRAPH_MOST_FANOUT */
    uint64_t seed;
    const pm_simd *simd;
    const pm_index_work *work; /* run == NULL: one piece after another; go_on == NULL: always */
} graph_link_options;

/*
 * Writes rows x degree numbers of rows into `links`: of each row its links, nearest first, then GRAPH_NONE. Every row
 * is reached from the first of graph_entries. POMAI_OK, POMAI_ENOMEM, or POMAI_EDEADLINE: go_on said stop.
 */
pomai_status graph_link(const graph_codes *codes, const graph_link_options *options, uint32_t *links);

/*
 * `count` distinct rows (count <= rows) to begin a walk at: first the one nearest to the mean, then some spread over
 * the data. POMAI_OK or POMAI_ENOMEM.
 */
pomai_status graph_entries(const graph_codes *codes, const pm_simd *simd, uint64_t seed, uint32_t count, uint32_t *out);

#endif
