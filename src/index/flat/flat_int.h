/* SPDX-License-Identifier: Apache-2.0 */
/* What flat.c and group.c share. */
#ifndef PM_FLAT_INT_H
#define PM_FLAT_INT_H

#include "flat.h"

#include <float.h>
#include <math.h>

#define PM_FLAT_SLACK 0x1p-20
#define PM_FLAT_REL_MAX                                                                                                \
    0.01 /* beyond it 1 +- 2g does not stand for (1 +- g) / (1 -+ g); far more than any real dim has */
#define PM_FLAT_LINE 64

/* Where a heap ends; tests want it at few. */
#ifdef POMAI_TEST_HOOKS
extern size_t pm_flat_large_k;
#else
extern const size_t pm_flat_large_k;
#endif

struct pm_flat_query {
    const pm_simd *simd;
    pm_flat_id_fn id_of;
    pomai_metric metric;
    float *vector; /* aligned copy */
    size_t dim;
    double norm2;         /* pm_flat_norm2, once it was asked for; before, less than 0 */
    double rel, abs;      /* of the kernels at this dim */
    size_t k, n;          /* n hits so far */
    uint64_t nearer;      /* pm_flat_nearer */
    bool repeats;         /* pm_flat_expect_repeats */
    double kth;           /* farther is nothing; INFINITY until there are k, here or of all that share the limit */
    pm_flat_limit *limit; /* NULL: none */
    pm_flat_hit *heap;    /* of the k best, farthest on top; */
    size_t most;          /* more than k: in no order, up to so many of which some may be beyond the k-th */
    int8_t *bytes;        /* the vector, if it is of whole numbers that fit */
    bool has_bytes;
    float dot[PM_FLAT_TILE];
};

/* What a group shares about the rows of a tile. */
typedef struct pm_flat_facts {
    float plus[PM_FLAT_TILE];   /* L2: lower bound of |x|^2 / 2, else 0; -INFINITY if nothing can be proved */
    float length[PM_FLAT_TILE]; /* cosine: |x| within a factor of 1 +- 2g; else an upper bound of it */
    double norm2[PM_FLAT_TILE]; /* canonical; cosine only */
    uint64_t has_norm2;
    uint64_t has_vector; /* of rows of another type: which are in the tile's room */
} pm_flat_facts;

/* Canonical, of the vector: walks whose codes tell the distances have no use for it. */
static inline double pm_flat_norm2(pm_flat_query *q)
{
    if (q->norm2 < 0) q->norm2 = q->simd->exact_dot(q->vector, q->vector, q->dim);
    return q->norm2;
}

/* limit.c: the k-th least of the distances that were offered, or some of them; INFINITY while there are fewer. */
double pm_flat_limit_kth(const pm_flat_limit *limit);
void pm_flat_limit_offer(pm_flat_limit *limit, double exact);

/* What others have found counts from now on. */
static inline void pm_flat_catch_up(pm_flat_query *q)
{
    if (q->limit == NULL) return;
    const double kth = pm_flat_limit_kth(q->limit);
    if (kth < q->kth) q->kth = kth;
}

/* Rows can be ruled out. */
static inline bool pm_flat_has_kth(const pm_flat_query *q)
{
    return q->kth < (double)INFINITY;
}

static inline uint64_t pm_flat_first_bits(size_t n)
{
    return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

/* A float surely not above x, with no more than PM_FLAT_SLACK lost where floats are normal; -INFINITY proves nothing.
 */
static inline float pm_flat_below(double x)
{
    if (!(x > -FLT_MAX)) return -INFINITY;
    if (x > FLT_MAX / 4) return FLT_MAX / 4; /* so that no sum of two overflows upwards */
    if (fabs(x) < FLT_MIN)
        return x > 0 ? 0 : -FLT_MIN; /* a denormal would lose digits, and be multiplied by a length */
    return (float)(x - fabs(x) * PM_FLAT_SLACK);
}

/* Gives the rows of the tile whose bits are set their canonical distances and keeps those among the best. */
void pm_flat_offer_rows(pm_flat_query *q, const pm_flat_tile *tile, uint64_t rows, pm_flat_facts *facts);

/* The tile with vectors of float32: itself, or `copy`. */
const pm_flat_tile *pm_flat_decode(const pm_flat_tile *tile, size_t dim, pm_flat_tile *copy);

/* While there are fewer than k hits every row is one. Returns the rows left to be compared. */
uint64_t pm_flat_fill(pm_flat_query *q, const pm_flat_tile *tile, pm_flat_facts *facts);

/* Proof 1: those of `rows` whose approximate squared distance does not show them to be beyond the k-th. */
uint64_t pm_flat_l2_undecided(pm_flat_query *q, const pm_flat_tile *tile, uint64_t rows);

#endif
