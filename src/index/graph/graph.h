/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A graph over the rows of a segment: each row is a node with links to near ones, so that a walk from a few entries
 * comes to the rows nearest to a query after looking at some hundred of them, each by a code of one or a few cache
 * lines. What the walk finds is a proposal; whoever searches ranks it on the vectors themselves (flat.h).
 *
 * A graph is a pure function of the rows, the metric and the seed: the same bytes at every level of the kernels and on
 * any number of threads, but for the table, which the C library's log, pow and exp decide, too. It is derived: it may
 * be deleted at any time, and is built again from the rows.
 *
 * docs/format/graph.md has the sections and the formulas. Nothing here opens a file, locks or calls the system. Only
 * begin, build and calibrate allocate. A query is used by one thread at a time. The default floating-point environment
 * is set while they run (simd.h: pm_simd_fp_enter).
 */
#ifndef PM_GRAPH_H
#define PM_GRAPH_H

#include "index/source.h"
#include "simd/simd.h"

#define PM_GRAPH_SECTIONS   8
#define PM_GRAPH_VERSION    6    /* of the sections together */
#define PM_GRAPH_LEAST_ROWS 4096 /* fewer are scanned by codes as fast */

/* A graph in memory or mapped; each section 64-byte aligned (NULL: without bytes), its length what pm_graph_lengths
 * says. */
typedef struct pm_graph {
    uint64_t rows;
    uint32_t dim;
    pomai_metric metric;
    uint32_t variant; /* what was chosen for these rows: degree and code */
    const uint8_t *section[PM_GRAPH_SECTIONS];
} pm_graph;

/* The bytes of each section. false: no graph of so many rows and dimensions, or no such variant. */
bool pm_graph_lengths(uint64_t rows, uint32_t dim, pomai_metric metric, uint32_t variant,
                      uint64_t length[PM_GRAPH_SECTIONS]);

/* Whether there can be a graph, of whatever variant. */
bool pm_graph_is_possible(uint64_t rows, uint32_t dim, pomai_metric metric);

/* ---- building ---- */

typedef struct pm_graph_builder pm_graph_builder;

/* Reads all rows once, and chooses the variant and the order of nodes. POMAI_EDEADLINE: stopped by read or go_on;
 * POMAI_ENOMEM. `source` and `work` must outlive the builder. */
pomai_status pm_graph_begin(const pm_index_source *source, const pm_simd *simd, const pm_index_work *work,
                            pm_graph_builder **out, uint32_t *variant);
/* Links the rows and writes all sections but the last. */
pomai_status pm_graph_build(pm_graph_builder *builder, const pm_index_sink *sink);
/* Measures the recall of those sections on rows of the source, each left out of its own answer, and writes the last
 * section, the table: which effort reaches which recall, for k of 10, 20, 50 and 100. graph->section[last] is not
 * read. */
pomai_status pm_graph_calibrate(pm_graph_builder *builder, const pm_graph *graph, const pm_index_sink *sink);
void pm_graph_end(pm_graph_builder *builder); /* NULL is fine */

/* ---- searching ---- */

/* Whether what the sections say can be used without reading or writing out of bounds; their checksums were right. */
bool pm_graph_is_sound(const pm_graph *graph);

/* How hard a walk tries. */
typedef struct pm_graph_effort {
    uint32_t pool;   /* nodes kept (ef): 1 to PM_GRAPH_MOST_POOL */
    float slack;     /* nodes farther than 1 + slack times the k-th nearest are not walked from; INFINITY: all are */
    uint32_t rerank; /* rows proposed, k to pool, */
    float margin;    /* and no farther than 1 + margin times the k-th nearest, but for the first k; INFINITY: all */
    uint32_t near;   /* of these, from k on: pm_graph_near; 0: all */
    uint32_t stop;  /* a walk's stop is by this one of the nearest, as it was calibrated, if it is more than the k-th */
    float expected; /* the recall that calibration saw */
    float cost;     /* of a query, in nanoseconds, about; 0: not known */
    float far;      /* farther off were all rows from hardly any of its queries; 0: not known */
    float gap_from, gap_to; /* its queries ended nearer than one or farther than the other; 0: no such gap */
    float outlying; /* an eighth of its queries ended farther from their nearest than this; 0: not known. Of these */
    float crowd;    /* few left the last of a full pool within so many times the k-th's squared distance */
} pm_graph_effort;
#define PM_GRAPH_MOST_POOL 4096

/* The effort that meets `recall`, under 1, for this k, and is about the cheapest; `narrow`: with a pool, and rows that
 * may be ranked again, no larger than has to be, for searches with a filter, which need more of both. false: none does;
 * scan. */
bool pm_graph_look_up(const pm_graph *graph, uint32_t k, float recall, bool narrow, pm_graph_effort *effort);
/* The effort of a pool of `ef` nodes. false: no such pool; ef is at least k. */
bool pm_graph_of_pool(const pm_graph *graph, uint32_t k, uint32_t ef, pm_graph_effort *effort);

/* Cache lines of a node's code that a walk looks at. */
uint32_t pm_graph_hot_lines(const pm_graph *graph);

typedef struct pm_graph_query pm_graph_query;
size_t pm_graph_query_size(const pm_graph *graph, const pm_graph_effort *effort); /* a multiple of 64; 0: overflow */
/* In memory of pm_graph_query_size bytes, 64-byte aligned; nothing to release. `vector`: dim finite floats. */
pm_graph_query *pm_graph_query_init(void *memory, const pm_graph *graph, const pm_simd *simd, const float *vector,
                                    uint32_t k, const pm_graph_effort *effort);

/* What a walk asks of whoever searches. */
typedef struct pm_graph_asks {
    void *context;
    bool (*counts)(void *context, uint32_t row); /* NULL: all rows do. Others are walked through, not proposed. */
    bool (*is_over)(void *context);              /* NULL: never. Asked every few dozen steps; true ends the walk. */
} pm_graph_asks;

/*
 * Walks, and returns the number of rows found, at most effort->rerank, in *rows (in the query's memory), nearest first
 * as codes tell; where they tell all, k at most. The same rows on every machine, if it is not over before.
 */
size_t pm_graph_walk(pm_graph_query *query, const pm_graph_asks *asks, const uint32_t **rows);
/*
 * Instead of a walk: looks at the codes of all rows whose bit is set (bit i % 64 of match[i / 64]), in order, and
 * returns of the nearest of them what a walk would that had met them all. What does not fit into the query's pool falls
 * out.
 */
size_t pm_graph_pick(pm_graph_query *query, const uint64_t *match, bool (*is_over)(void *context), void *context,
                     const uint32_t **rows);
/*
 * After a walk: the squared distances of the rows that it found, the very numbers that pm_exact_l2 gives; NULL: they
 * are not known. They are where the rows of an L2 graph and the query are whole numbers from 0 to 255 and the graph
 * has bytes of all dimensions.
 */
const uint32_t *pm_graph_distances(const pm_graph_query *query);
/* Of a walk that was not over before: whether calibration says nothing about such a query. FAR: it is farther from all
 * rows than hardly any that calibration saw. CROWDED: a full pool was walked from, all of which lies about as far as
 * the k-th nearest, so others do as well; a greater effort may do. */
typedef enum pm_graph_doubt { PM_GRAPH_NO_DOUBT, PM_GRAPH_OUTLYING, PM_GRAPH_CROWDED, PM_GRAPH_FAR } pm_graph_doubt;
pm_graph_doubt pm_graph_doubts(const pm_graph_query *query);
/* Of the rows found, in order, so many lay among the effort's `near` nearest as hot codes tell. If the nearest of all
 * are among the others as well, hot codes hardly tell them apart, and some may lie farther than what was proposed;
 * where none can, all are near. */
size_t pm_graph_near(const pm_graph_query *query);
/* Of a walk by `counts`, how many of the nodes that its pool was left with count; UINT32_MAX if it ended before it had
 * walked from all of a full pool, so that a larger one would not have led it further. */
uint32_t pm_graph_met(const pm_graph_query *query);
/* Nodes whose codes the walk looked at, and those it walked from. */
void pm_graph_walked(const pm_graph_query *query, uint64_t *seen, uint64_t *expanded);

#endif
