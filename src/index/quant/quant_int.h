/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of docs/format/codes.md, and what building, searching and calibrating share. */
#ifndef PM_QUANT_INT_H
#define PM_QUANT_INT_H

#include "quant.h"
#include "simd/codes.h"

#include <assert.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc takes -ffp-contract=off from the build */
#endif

#define QUANT_MODEL    0
#define QUANT_BITS     1
#define QUANT_BYTES    2
#define QUANT_TABLE    3
#define QUANT_REVISION 1u
#define QUANT_LINE     64
#define QUANT_LOSSLESS 1u /* flag BYTES */
#define QUANT_MAX_ROWS ((uint64_t)1 << 28)
#define QUANT_SLACK    0x1p-18f /* of a magnitude: many times the roundings of a float sum of a few terms of it */

/* Section 0, then dim floats. */
typedef struct quant_model {
    uint32_t revision, dim, padded, flags;
    uint64_t rows, seed;
    uint32_t metric;
    int32_t exponent;
    uint8_t zero[24];
} quant_model;
static_assert(sizeof(quant_model) == 64 && offsetof(quant_model, rows) == 16 && offsetof(quant_model, metric) == 32,
              "section 0");

#define QUANT_TARGETS 8
#define QUANT_KS      3
typedef struct quant_entry {
    float target, effort, recall, least;
} quant_entry;
typedef struct quant_row {
    uint32_t k, neighbours;
    float effort, recall;
    quant_entry entry[QUANT_TARGETS];
} quant_row;
typedef struct quant_table {
    uint32_t revision, queries, rows;
    uint8_t zero[52];
    quant_row row[QUANT_KS];
    uint8_t end[16];
} quant_table;
static_assert(sizeof(quant_table) == 512 && offsetof(quant_table, row) == 64 && sizeof(quant_row) == 144, "section 3");

#define QUANT_MAX_EFFORT 100.0f

/* The factors of a byte code. */
typedef struct quant_factor {
    float add, mul;
} quant_factor;

/* What follows from dim: see section 2. */
static inline uint32_t quant_padded(uint32_t dim)
{
    return (dim + 15) / 16 * 16;
}

#define QUANT_MOST_EFFORT 6.0f /* that calibration looks at */

static inline bool quant_is_grouped(uint32_t padded)
{
    return padded % QUANT_LINE == 0;
}

static inline size_t quant_block_bytes(uint32_t padded)
{
    return 4 * (size_t)padded + PM_CODES_FACTOR;
}

/* D rounded up to whole lines: what of a code is multiplied. */
static inline size_t quant_code_bytes(uint32_t padded)
{
    return ((size_t)padded + QUANT_LINE - 1) / QUANT_LINE * QUANT_LINE;
}

/* Bytes of eight rows of section 2, and where in them row i's factors are; its code is at i * quant_code_bytes. */
static inline size_t quant_eight_bytes(uint32_t padded)
{
    return 8 * quant_code_bytes(padded) + (quant_is_grouped(padded) ? QUANT_LINE : 0);
}

static inline size_t quant_factor_at(uint32_t padded, size_t i)
{
    return quant_is_grouped(padded) ? 8 * (size_t)padded + i * sizeof(quant_factor)
                                    : i * quant_code_bytes(padded) + padded;
}

/* What turns vectors into codes, of one segment; made from section 0 or before it is written. */
typedef struct quant_space {
    const pm_simd_quant *kernels;
    uint32_t dim, padded, window; /* window: P, the length of the Hadamard transforms */
    pomai_metric metric;
    bool lossless;
    uint64_t seed;
    int exponent;
    double scale;        /* 2^e */
    const float *centre; /* dim */
} quant_space;

void quant_space_of(quant_space *space, const pm_quant *quant, const pm_simd *simd);
void quant_space_set(quant_space *space, int exponent); /* what follows from dim and e */

/*
 * x, of dim, as o of D floats; `inverse` is 1 / |x| for COSINE, else 1. What overflows becomes infinite or no number.
 */
void quant_rotate(const quant_space *space, const float *x, double inverse, float *o);

/* A query that is not looked up in the table. */
pm_quant_query *quant_query_make(void *memory, const pm_quant *quant, const pm_simd *simd, const float *vector,
                                 uint32_t k, float effort);

/* The least effort at which `row` is no farther than `bound` by its codes; -INFINITY: always, INFINITY: never. */
double quant_query_effort(const pm_quant_query *query, uint64_t row, double bound);

#endif
