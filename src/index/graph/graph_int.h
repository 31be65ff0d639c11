/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of docs/format/graph.md, and what building, walking and calibrating share. */
#ifndef PM_GRAPH_INT_H
#define PM_GRAPH_INT_H

#include <assert.h>

#include "graph.h"
#include "simd/codes.h"
#include "simd/walk.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc takes -ffp-contract=off from the build */
#endif

#define GRAPH_MODEL        0
#define GRAPH_LINKS        1
#define GRAPH_HOT          2
#define GRAPH_ENTRIES      3
#define GRAPH_WARM         4
#define GRAPH_ORDER        5
#define GRAPH_PLACE        6
#define GRAPH_TABLE        7
#define GRAPH_REVISION     1u
#define GRAPH_LINE         64u
#define GRAPH_MAX_ROWS     ((uint64_t)1 << 28)
#define GRAPH_MAX_DIM      4096u
#define GRAPH_FEW_ENTRIES  64u
#define GRAPH_MOST_ENTRIES 512u
#define GRAPH_ENTRY_BYTES  32768u /* of all hot codes of entries, unless there are only few */
#define GRAPH_ENTRY_ROWS   512u   /* for each entry, likewise */
#define GRAPH_FLOATS       8u     /* bytes of the two floats at the end of a code */

/* A variant: degree in bits 0 to 7, lines of a hot code in bits 8 to 15, then flags. */
#define GRAPH_NIBBLES   (1u << 16) /* hot codes are nibbles, else bytes */
#define GRAPH_PROJECTED (1u << 17) /* hot codes are of fewer dimensions */
#define GRAPH_WARMED    (1u << 18) /* a second code, of all dimensions, in bytes */
#define GRAPH_EXACT     (1u << 19) /* hot codes are the rows, which are whole numbers; if WARMED, warm codes are */

/* Section 0: this, then `padded` floats (centre), `padded` floats (mean), and where the hot codes are projected three
 * times `hot` floats (see graph_space) and, from the next line on, hot x whole signed bytes. */
typedef struct graph_model {
    uint32_t revision, dim, padded, flags;
    uint64_t rows, seed;
    uint32_t metric, variant;
    float step;  /* of the codes of rows: x = step * (code - 128) in the rotated space; 0: x is the code */
    float reach; /* IP: the length that rows are brought to by one more dimension */
    float rest;  /* the weight of what a projection leaves out */
    uint8_t zero[12];
} graph_model;
static_assert(sizeof(graph_model) == 64 && offsetof(graph_model, metric) == 32, "section 0");

#define GRAPH_TARGETS 10
#define GRAPH_KS      4
extern const uint32_t graph_ks[GRAPH_KS]; /* the k that are measured */
typedef struct graph_entry {
    float target, slack, recall;
    float cost; /* of a query, in nanoseconds of a machine that is nobody's */
    uint32_t pool, rerank;
    float crowd; /* an outlying query whose full pool ends within so many times the k-th squared distance is in doubt */
    float margin; /* of the pool those that are within so much of the k-th are ranked again; INFINITY: all */
    float narrow_slack, narrow_recall; /* of the effort for searches with a filter */
    uint32_t narrow_pool, narrow_rerank;
} graph_entry;
typedef struct graph_row {
    uint32_t k, queries;
    float best; /* recall of the highest effort */
    float far; /* squared distance of the k-th nearest, or of the GRAPH_FEW-th, that few queries exceeded; 0: unknown */
    float outlying;         /* the same, by scores, that an eighth of them exceeded: the outlying ones; 0: unknown */
    float gap_from, gap_to; /* between which none ended, though many did on either side; 0: no such gap */
    uint32_t zero;
    graph_entry entry[GRAPH_TARGETS];
} graph_row;
typedef struct graph_table {
    uint32_t revision;
    uint8_t zero[60];
    graph_row row[GRAPH_KS];
} graph_table;
static_assert(sizeof(graph_row) == 512 && sizeof(graph_table) == 2112, "section 7");

/* What follows from dim, metric and variant. */
typedef struct graph_shape {
    uint32_t dim, padded;           /* padded: a multiple of 16; IP has one dimension more than dim */
    uint32_t whole;                 /* padded, rounded up to whole lines: bytes of a row's code */
    uint32_t degree, hot;           /* hot: dimensions of a hot code */
    uint32_t hot_bytes, warm_bytes; /* of a code; warm_bytes 0: there are none */
    bool nibbles, projected;
    bool exact; /* hot codes are the rows */
    bool turns; /* warm codes are: a walk among rows that hot codes do not tell apart turns to them */
    uint64_t model_bytes;
} graph_shape;
/* Entries: 64, or as many times twice as there are rows for, and as are looked at in little time. */
static inline uint32_t graph_entry_count(const graph_shape *shape, uint64_t rows)
{
    uint32_t count = GRAPH_FEW_ENTRIES;
    while (count < GRAPH_MOST_ENTRIES && 2 * (uint64_t)count * shape->hot_bytes <= GRAPH_ENTRY_BYTES &&
           2 * (uint64_t)count * GRAPH_ENTRY_ROWS <= rows)
        count *= 2;
    return count;
}

/* false: no such graph */
bool graph_shape_of(graph_shape *shape, uint32_t dim, pomai_metric metric, uint32_t variant);

/* What turns vectors into codes; made from section 0, or before it is written. */
typedef struct graph_space {
    graph_shape shape;
    const pm_simd *simd;
    pomai_metric metric;
    uint64_t seed;
    uint32_t window; /* of the rotation */
    float step, reach, rest;
    const float *centre; /* padded */
    const float *mean;   /* padded: of the codes, less 128 where they are rotated */
    /* Of a projection: dimension h is length[h] * (sum of plane[h][d] * code[d] - offset[h]), where offset is that of
     * the mean; sum[h] is the sum of plane[h]. */
    const float *length, *offset, *sum;
    const int8_t *plane; /* hot x whole */
} graph_space;
void graph_space_of(graph_space *space, const pm_graph *graph, const pm_simd *simd);
void graph_space_place(graph_space *space, const uint8_t *model); /* where in section 0 the arrays are */
void graph_space_window(graph_space *space);
size_t graph_plane_at(const graph_shape *shape);
static inline bool graph_is_raw(const graph_space *space)
{
    return space->step == 0; /* NOLINT: set, not computed */
}

/* x, of dim, in units of the codes: `out` has `padded` floats; 0 is code 0 of raw rows, 128 of others. */
void graph_to_units(const graph_space *space, const float *x, float *out);
void graph_query_to_units(const graph_space *space, const float *x, float *out);
/* The same as bytes, of `whole`, zero from `padded` on; of rows that are not raw. */
void graph_to_code(const graph_space *space, const float *x, float *scratch, uint8_t *code);
void graph_units_to_code(const graph_space *space, float *units, uint8_t *code); /* of rotated rows; cuts units off */

/* One hot, or warm, code from the code of a row. */
void graph_hot_code(const graph_space *space, const uint8_t *code, void *scratch, uint8_t *hot);
void graph_warm_code(const graph_space *space, const uint8_t *code, uint8_t *warm);

/* The squared length of a row's projection, around the mean. */
float graph_inside(const graph_space *space, const uint8_t *code, void *scratch);
/* The projection of the row that graph_hot_code has just left in `scratch`, times `inverse`, as bytes, 128 for the
 * mean: less exact distances in fewer dimensions. */
void graph_near_code(const graph_space *space, void *scratch, float inverse, uint8_t *out);
static inline size_t graph_near_bytes(const graph_shape *shape)
{
    return pm_align_up(shape->hot, GRAPH_LINE);
}

/* How wrong scores by warm codes are: all of a query by about `shift`, and each by `each` times twice its distance. */
typedef struct graph_noise {
    float shift, each;
} graph_noise;

/* A query against hot, or warm, codes: `bytes` has room for 2 x hot_bytes, or warm_bytes. Of hot codes, returns the
 * distance for which a row that is the same as the query is taken: what a projection leaves out of both. `whole`: the
 * same as the code of a raw row, of `whole` bytes, or NULL. */
float graph_hot_query(const graph_space *space, const float *units, const uint8_t *whole, void *scratch,
                      const uint8_t *codes, int8_t *bytes, pm_walk_codes *out);
void graph_warm_query(const graph_space *space, const float *units, const uint8_t *codes, int8_t *bytes, float *scratch,
                      pm_walk_codes *out, graph_noise *noise);
/* The same against codes that are the rows: `bytes` has room for 2 x whole. Of a query that is whole numbers from 0
 * to 255, or of one that becomes a little another. */
void graph_whole_query(const graph_shape *shape, const uint8_t *code, const uint8_t *rows, int8_t *bytes,
                       pm_walk_rows *out);
void graph_wide_query(const graph_shape *shape, const float *units, const uint8_t *rows, int8_t *bytes,
                      pm_walk_rows *out);
size_t graph_scratch_bytes(const graph_shape *shape); /* for any of these, a multiple of GRAPH_LINE */

/* A query that is a row, by its units, or by its code if that is the row, and is left out of its own answer. For
 * calibration. */
pm_graph_query *graph_query_of_row(void *memory, const pm_graph *graph, const pm_simd *simd, uint32_t row,
                                   const uint8_t *code, const float *units, uint32_t k, const pm_graph_effort *effort);
#define GRAPH_FEW 8 /* the stop of a walk is by the k-th nearest, or by this one if k is less */

/* Where a walk is, before each step; pool->next is where that is from, if it is not beyond the pool. What the
 * GRAPH_UNDER_WAY steps before it lead to is not there yet. Whoever watches says how far nodes may be that are kept,
 * and a number below 0 to end it. */
#define GRAPH_UNDER_WAY 2
typedef struct graph_step {
    const pm_walk_pool *pool;
    uint64_t scored, by_rows, expanded; /* by_rows: of those that were scored */
    float noise;                        /* distances below do not stop it */
    bool turned;                        /* scores are by rows, from now on */
    bool over;                          /* nothing is under way, and there is no next */
} graph_step;
typedef struct graph_watch {
    void *context;
    float (*limit)(void *context, const graph_step *step);
    bool (*leaves_out)(void *context, uint32_t node);  /* a row besides the query's own; NULL: none */
    uint32_t (*instead)(void *context, uint32_t node); /* a row for those that are left out, or UINT32_MAX */
} graph_watch;
void graph_walk_watched(pm_graph_query *query, const graph_watch *watch);
/* What rows score in the walk as it is now; `score` has room for PM_WALK_ROOM more. */
void graph_scores(const pm_graph_query *query, const uint32_t *row, size_t n, float *score);

/*
 * The `count` directions in which `rows` codes (of `whole` bytes) vary most, from their covariance, and their mean:
 * directions has count x padded floats. beyond[i]: the deviation of the product of what two rows have outside of the
 * first i + 1, by the variance of all: the root of the sum of the squares of the variances there. *breadth: the
 * number of dimensions among which the variance seems shared out, the square of its sum by the sum of squares, which
 * is n if it is the same in n directions. count may be 0. false: no memory.
 */
bool graph_directions(const uint8_t *codes, uint64_t rows, const graph_shape *shape, const pm_simd *simd,
                      const pm_index_work *work, uint32_t count, float *mean, float *directions, double *beyond,
                      double *breadth);

/*
 * What the squared distances of a row's fourth and sixteenth nearest differ by, of all: in the middle of some rows,
 * among a sample of codes. false: no memory.
 */
bool graph_gap(const uint8_t *codes, uint64_t rows, const graph_shape *shape, const pm_simd *simd, double *gap);

#endif
