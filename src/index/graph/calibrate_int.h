/* SPDX-License-Identifier: Apache-2.0 */
/* What the two parts of calibration share: calibrate_truth.c, which chooses queries and seeks their true neighbours,
 * and calibrate.c, which walks and judges. */
#ifndef PM_GRAPH_CALIBRATE_INT_H
#define PM_GRAPH_CALIBRATE_INT_H

#include "graph_build.h"

#include <stdatomic.h>

enum {
    CALIBRATE_LOWER = 1,     /* so many k are of all queries, */
    CALIBRATE_FOR_ALL = 5,   /* and one query in so many is for all k */
    CALIBRATE_DEEPEST = 100, /* neighbours */
    CALIBRATE_LIST = 120,    /* room for more of them, as codes tell: copies, and what is farther than its code says */
    CALIBRATE_BLOCK = 992,   /* rows compared with all queries at once: a multiple of PM_GRAPH_PANEL */
};

typedef struct stop stop;
typedef struct trial trial;

/*
 * Queries are rows, each left out of its own answer. Where many have near copies, such a row is two: the `copied` one
 * asks among all others, as who looks for what is there already does; the fresh one, right behind it, leaves out its
 * copies as well, as who asks for something new has none.
 */
typedef struct calibration {
    pm_graph_builder *b;
    const pm_graph *graph;
    uint32_t margins,
        reranks;    /* that are looked at: one of each where codes are exact, and what they say is nearest is */
    uint32_t drawn; /* rows; all arrays have room for twice as many queries */
    uint32_t queries;
    double dims;       /* among which rows are spread, about; 0: not known */
    uint32_t *row;     /* of each query */
    uint8_t *code;     /* of each query; IP: other than that of its row */
    bool *deep;        /* queries for the higher k, too */
    bool *copied;      /* queries behind which there is a fresh one */
    int32_t *within;   /* rows that are left out: nearer to that of the query; 0: that one alone */
    uint32_t *copies;  /* how many are, if they are all in the list; 0: it is found out each time */
    uint32_t *listed;  /* while they are sought */
    uint32_t *copy;    /* queries x CALIBRATE_LIST, in order */
    bool *told;        /* queries x GRAPH_KS: whether codes tell its neighbours */
    float *units;      /* of each query, and room for a row; NULL: codes are the rows */
    uint64_t *nearest; /* queries x CALIBRATE_LIST: distance << 32 | row */
    uint32_t *have;    /* of them */
    bool *turned;      /* whether the walk of each query turned */
    float *kth;        /* queries x GRAPH_KS: the score that the stop of each walk is by, at its end */
    int32_t *worst;    /* distance of the last that is kept, once there are all; before, INT32_MAX */
    uint32_t *ties;    /* rows as far that are not kept */
    /* a block of rows, and distances of PM_GRAPH_TILE queries to it for each group of them */
    uint8_t *panels;
    uint32_t *distance;
    uint32_t in_block;
    /* walks */
    stop *stops;                 /* queries x GRAPH_KS x (SLACKS, then POOLS) */
    trial *trials;               /* POOLS x SLACKS x MARGINS, of one k */
    float narrow[GRAPH_TARGETS]; /* what these cost */
    uint32_t last[GRAPH_KS];     /* slacks that are looked at */
    uint32_t first, end;         /* queries that walk; all before have */
    _Atomic bool failed;
} calibration;

/* Most queries are for the lowest k only, as the others take more time. */
static inline uint32_t calibrate_ks_of(const calibration *c, uint32_t q)
{
    return c->deep[q] ? GRAPH_KS : CALIBRATE_LOWER;
}

static inline uint32_t calibrate_most(const calibration *c, uint32_t q)
{
    return graph_ks[calibrate_ks_of(c, q) - 1];
}

/* Chooses queries, c->drawn of them and fresh ones, and finds their neighbours. calibrate_end after it, in any case,
 * lets go of what it has made. */
pomai_status calibrate_truth(calibration *c);
void calibrate_end(calibration *c);

/* The squared distance of the codes of two rows. */
int32_t calibrate_apart(const calibration *c, uint32_t a, uint32_t b);

/* Whether a row is the query's own, or a near copy of it that the query leaves out. */
bool calibrate_left_out(const calibration *c, uint32_t q, uint32_t row);

#endif
