/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of a walk through a graph (index/graph), one table of functions an instruction set: scores of scattered
 * codes, and the sorted pool of the nodes found so far. Every level gives the same bits: integers, and float operations
 * on single elements, never fused.
 *
 * No function here allocates, locks or calls the system; all may be called from any thread.
 */
#ifndef PM_WALK_H
#define PM_WALK_H

#include "simd/simd.h"

#define PM_WALK_LINE  64
#define PM_WALK_BLOCK 16
#define PM_WALK_ROOM  16 /* elements behind the last that score, score_rows and unseen may write */

/*
 * Codes of `stride` bytes, a multiple of PM_WALK_LINE, aligned to that: unsigned bytes or nibbles, and at the end two
 * floats, `add` and `mul`. A query is signed bytes, 0 where the floats are; for nibbles twice the stride, each line's
 * low nibbles first, then its high ones. Sums of a query's bytes times those of a code stay below 2^31; of bytes a
 * query's are at most PM_WALK_BYTES, lest the sum of two products overflow 16 bits.
 */
typedef struct pm_walk_codes {
    const uint8_t *codes;
    const int8_t *query;
    size_t stride;
    bool nibbles;
    float scale, zero, base;
} pm_walk_codes;
#define PM_WALK_BYTES   63
#define PM_WALK_NIBBLES 127

/*
 * Rows of `stride` bytes, a multiple of PM_WALK_LINE, at most PM_WALK_ROW, aligned to that, and a query of as many
 * elements. `whole`: of 0 to 255, and the squared distance is exact. Else within PM_WALK_WIDE, and that is
 * max(0, (base + sum row[d]^2) - scale * sum query[d] * row[d]) in double, rounded to a float.
 */
typedef struct pm_walk_rows {
    const uint8_t *rows;
    const int16_t *query;
    size_t stride;
    bool whole;
    double scale, base;
} pm_walk_rows;
#define PM_WALK_ROW  256   /* sums of its squares are below 2^24 */
#define PM_WALK_WIDE 16383 /* sums of products stay below 2^31 */

typedef struct pm_walk_next {
    const uint32_t *ids;
    size_t n;
} pm_walk_next;

/* Nodes by score, nearest first: the bits of the score, then the number of the node, then whether it was walked from.
 */
typedef struct pm_walk_pool {
    uint64_t *key; /* room for most + 16; UINT64_MAX at first. From size on: none less than those before. */
    uint32_t size, most;
    uint32_t next; /* all before this one were walked from */
} pm_walk_pool;

/* Of a node that was not walked from. */
static inline uint64_t pm_walk_key(float score, uint32_t node)
{
    union {
        float score;
        uint32_t bits;
    } u = {.score = score};
    return (uint64_t)u.bits << 32 | (uint64_t)node << 1;
}

static inline uint32_t pm_walk_node(uint64_t key)
{
    return (uint32_t)key >> 1;
}

static inline float pm_walk_score(uint64_t key)
{
    union {
        uint32_t bits;
        float score;
    } u = {.bits = (uint32_t)(key >> 32)};
    return u.score;
}

/* Nodes that were seen, in a table that forgets: each in its slot until another that has the same one. */
typedef struct pm_walk_seen {
    uint32_t *slot;      /* mask + 1, a power of two; UINT32_MAX: free */
    uint32_t mask, rows; /* rows: nodes are numbers below */
    uint32_t left_out;   /* counts as seen; UINT32_MAX: none */
} pm_walk_seen;

typedef struct pm_simd_walk {
    const char *name; /* "scalar", "avx2", "avx512vnni" */

    /*
     * out[i] = max(0, (add + base) + (mul * scale) * (dot - zero)) of codes ids[i]; out has n + PM_WALK_ROOM elements.
     * Meanwhile the codes of `next` are asked for, which are scored after these: a few at a time, as a core that asks
     * for more lines than it can have under way, 16 or so, waits.
     */
    void (*score)(const pm_walk_codes *codes, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next);

    /* out[i] = squared distance of row ids[i]; the same */
    void (*score_rows)(const pm_walk_rows *rows, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next);

    /*
     * Those of n links that were not seen, in their order, and now are; returns their number. The first that is no node
     * ends the links. n a multiple of PM_WALK_BLOCK: a block is looked up before any of it is put into its slot, and of
     * those with the same slot the last stays. out has room for n + PM_WALK_ROOM.
     */
    size_t (*unseen)(pm_walk_seen *seen, const uint32_t *links, size_t n, uint32_t *out);

    /* Puts those whose score is below `limit` where they belong, unless they are there; the farthest fall out. */
    void (*insert)(pm_walk_pool *pool, const uint32_t *ids, const float *score, size_t n, float limit);

    /* out[i] = x[i] - less[i]; returns the sum of their squares. n a multiple of 16. */
    float (*centre)(const float *x, const float *less, size_t n, float *out);

    /*
     * x as signed bytes from -most to most: bytes[i] is x[i] by what one is worth, which is returned, rounded; *sum is
     * theirs. Worth nothing: all x are 0. What is no number becomes some byte. n a multiple of 16.
     */
    float (*to_bytes)(const float *x, size_t n, float most, int8_t *bytes, int32_t *sum);

    /* x as the bytes that it is. false: not all are whole numbers from 0 to 255, or one is -0. */
    bool (*to_whole)(const float *x, size_t n, uint8_t *bytes);

    /* y = x c: `rows` rows of x and y, n x n of c, row-major. Products are added one after another: the same bits at
     * every level. n a multiple of 16; no two overlap. */
    void (*times)(const double *x, const double *c, size_t rows, size_t n, double *y);

    /* Takes out of x what it has of `axis`, a vector of length 1. n a multiple of 16. */
    void (*less_along)(double *x, const double *axis, size_t n);

    /* out[i] = sum of a[d] * rows[i * stride + d], exact; stride a multiple of 64, the sums below 2^31 */
    void (*products)(const uint8_t *a, const int8_t *rows, size_t stride, size_t n, int32_t *out);

    /* out[i] = sum of (a[d] - codes[ids[i] * stride + d])^2, exact; dim a multiple of 16, at most 2^15 */
    void (*apart)(const uint8_t *a, const uint8_t *codes, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                  uint32_t *out);
} pm_simd_walk;

#endif
