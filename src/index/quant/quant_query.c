/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A query over codes.
 *
 * One bit a dimension says for a block of 32 rows at once which may be near; of those the byte codes give a distance
 * with a small margin. The bound is the least of the caller's and of the query's own: the k-th smallest of
 * (distance by bytes + margin) over the rows seen so far. Rows of a call that an early, wide bound let through are
 * compared again at its end.
 *
 * A query may have to be sure: then bytes alone are looked at, of all rows, with a margin that is no matter of chance.
 * A code is wrong by at most half a step in each dimension, so a product by at most half a step times the sum of
 * |q'[i]| (Hölder); SURE_PART of the product of the lengths is many times what the rotations in single floats are wrong
 * by, and SURE_SLACK of the terms of a distance many times their rounding. Where terms are far larger than what tells
 * rows apart, the rounding of the canonical distances, in doubles, decides which are nearest; it is allowed for, too.
 *
 * All of a query's distances are in doubles in the metric's own unit; the kernels compare floats in the space of the
 * codes or, for lossless bytes, of the rows. What is no number is a candidate.
 */
#include "base/mutant.h"
#include "quant_int.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define CHUNK_BLOCKS 16  /* blocks between two looks at the bound */
#define FIRST_BLOCKS 2   /* of the first chunk; then twice as many each time */
#define DEVIATIONS   4.0 /* of the byte codes' rounding error: three in a hundred thousand are beyond */
#define ROOT12       3.4641016151377544
#define SURE_PART    0x1p-14
#define SURE_SLACK   0x1p-15
#define SURE_HALF    0.51    /* of a step of the query's integers: in single floats a half, of 32,639, is no half */
#define SURE_DOUBLES 0x1p-50 /* and dim + 64 of it: what sums of doubles are wrong by at most, several times */
#define MAX_LINES    16      /* of a code that are asked for ahead; the processor sees the pattern from there */
#define FOLLOW_ROWS  (CHUNK_BLOCKS * PM_CODES_BLOCK)

/* How a kernel's numbers relate to distances: distance = (number + constant) / unit. */
typedef struct quant_stage {
    double constant, unit;
    double doubt; /* of a sure query: a number may be wrong by it, besides what its row's margin says */
} quant_stage;

struct pm_quant_query {
    const pm_quant *quant;
    quant_space space;
    bool everything; /* the vector, or what it becomes, is no use: every row is a candidate */
    bool sure;
    quant_stage bit, byte;
    pm_simd_bits bits;
    pm_simd_bytes bytes;
    int32_t offset;      /* taken from a byte code's product */
    float scale, margin; /* the dot product is scale * product +- margin; in multiples of a row's P2 */
    double length;       /* |q'| */
    size_t k, n;         /* n <= k of the heap */
    double *heap;        /* of the least upper bounds of distances, largest on top */
    float *least;        /* PM_QUANT_STEP: lower bounds of the candidates, as a byte kernel's number */
    size_t chunk;        /* blocks of the next chunk */
};

/* ---- memory ---- */

static size_t lines(size_t bytes)
{
    return (bytes + QUANT_LINE - 1) / QUANT_LINE * QUANT_LINE;
}

/* The heap never holds more than all rows. */
static size_t heap_size(const pm_quant *quant, uint32_t k)
{
    return (size_t)pm_min_u64(k, quant->rows);
}

/* No overflow: dim and the rows are bounded. */
size_t pm_quant_query_size(const pm_quant *quant, uint32_t k)
{
    size_t padded = quant_padded(quant->dim), code = quant_code_bytes((uint32_t)padded);
    return lines(sizeof(pm_quant_query)) + 4 * padded + lines(padded * sizeof(float)) + code * sizeof(int16_t) +
           2 * code + PM_QUANT_STEP * sizeof(float) + lines(heap_size(quant, k) * sizeof(double));
}

static void *take(uint8_t **memory, size_t bytes)
{
    void *taken = *memory;
    *memory += lines(bytes);
    return taken;
}

/* ---- tables ---- */

/* Sums of four by sign, in 255 steps; after André, Kermarrec and Le Scouarnec, Cache locality is not enough, 2015. */
static void fill_table(const quant_space *space, const float *o, uint8_t *table, float *scale, float *base)
{
    float most = 0, sum = 0;
    for (size_t d = 0; d < space->padded; d += 4) {
        float all = fabsf(o[d]) + fabsf(o[d + 1]) + fabsf(o[d + 2]) + fabsf(o[d + 3]);
        most = all > most ? all : most;
        sum += all;
    }
    float inverse = most > FLT_MIN * 256 ? 127.5f / most : 0;
    space->kernels->tables(o, space->padded, inverse, table);
    *scale = inverse > 0 ? most / 127.5f : 0;
    *base = inverse > 0 ? -sum : 0;
}

static float clamped(float x, float limit)
{
    float least = x < limit ? x : limit;
    return least > -limit ? least : -limit;
}

/* x of dim as integers times *scale; true if it is those integers, and *scale is 1. */
static bool fill_integers(pm_quant_query *q, const float *x, size_t dim, int16_t *wide, int8_t *split, float *scale)
{
    size_t code = q->bytes.dim;
    float limit = (float)(INT32_MAX / 255 / code), most = 0;
    int32_t sum = 0;
    unsigned fractions = 0;
    if (limit > PM_CODES_QUERY_MAX) limit = PM_CODES_QUERY_MAX;
    for (size_t d = 0; d < dim; d++) {
        float cut = clamped(x[d], limit), size = fabsf(x[d]);
        most = size > most ? size : most;
        fractions |= (float)(int32_t)cut != x[d];
    }
    *scale = fractions == 0 || most < FLT_MIN * 65536 ? 1 : most / limit;
    float inverse = 1 / *scale;
    for (size_t d = 0; d < dim; d++) {
        float part = clamped(x[d] * inverse, limit);
        int32_t value = (int32_t)(part + copysignf(0.5f, part));
        wide[d] = (int16_t)value;
        sum += value;
    }
    memset(wide + dim, 0, (code - dim) * sizeof *wide);
    for (size_t from = 0; from < code; from += 64) {
        const int16_t *restrict value = wide + from;
        int8_t *restrict high = split + 2 * from, *restrict low = high + 64;
        for (size_t d = 0; d < 64; d++) {
            low[d] = (int8_t)value[d];
            high[d] = (int8_t)((value[d] - (int8_t)value[d]) >> 8);
        }
    }
    q->offset = q->space.lossless ? 0 : 128 * sum;
    return fractions == 0;
}

/* ---- init ---- */

/* At most so much is a product by bytes wrong, by step. `sum`: of |o[i]|; half: what an integer of the query is. */
static double sure_margin(const quant_space *space, double sum, double length, double half, double inverse, bool exact)
{
    const double d = space->padded;
    const double wrong = space->lossless ? (exact ? 0 : 255 * d * half * inverse)
                                         : sum / 2 + 128 * d * half + 128 * sqrt(d) * length * SURE_PART;
    return PM_MUTANT(SURE_MARGIN) ? wrong * 3 / 4 : wrong * (1 + 0x1p-10);
}

/*
 * A distance is wrong by a share of what it is made of: nothing beside L2's terms, which are of one sign, but as much
 * as the rest where products cancel out or, for COSINE, where rows differ by less. The smallest of floats have no
 * share.
 */
static void set_doubt(pm_quant_query *q, const float *vector, double *wrong)
{
    const quant_space *space = &q->space;
    const double share = (space->dim + 64.0) * SURE_DOUBLES;
    double doubt = 0;
    if (space->metric == POMAI_METRIC_COSINE) doubt = share * q->byte.unit;
    if (space->metric == POMAI_METRIC_IP && !space->lossless) {
        const double centre = sqrt(pm_exact_dot(space->centre, space->centre, space->dim));
        const double both = centre + sqrt(pm_exact_dot(vector, vector, space->dim));
        doubt = share * (1 + both * centre) * space->scale * space->scale;
        *wrong += share * both * space->scale * 128 * sqrt((double)space->padded);
    }
    q->byte.doubt = doubt + (double)FLT_MIN;
}

/* Section 2's formulas. */
static void set_bytes(pm_quant_query *q, const float *vector, const float *o, double sum, double inverse, int16_t *wide,
                      int8_t *split)
{
    double d = sqrt((double)q->space.padded), wrong;
    bool exact = false;
    float scale;
    q->bytes = (pm_simd_bytes){quant_code_bytes(q->space.padded), wide, split};
    q->byte = q->bit;
    if (!q->space.lossless) {
        (void)fill_integers(q, o, q->space.padded, wide, split, &scale);
        wrong = q->length + (double)scale * 127 * d;
    } else {
        double norm2 = pm_exact_dot(vector, vector, q->space.dim);
        exact = fill_integers(q, vector, q->space.dim, wide, split, &scale);
        q->byte = (quant_stage){q->space.metric == POMAI_METRIC_L2 ? norm2 : 1, 1, 0};
        wrong = exact ? 0 : (double)scale * 255 * d * inverse;
    }
    wrong *= DEVIATIONS / ROOT12;
    if (q->sure) {
        wrong = sure_margin(&q->space, sum, q->length, (double)scale * SURE_HALF, inverse, exact);
        set_doubt(q, vector, &wrong);
    }
    q->margin = (float)wrong;
    q->scale = q->space.lossless ? (float)((double)scale * inverse) : scale;
}

static void set_vector(pm_quant_query *q, const float *vector, float *o, uint8_t *table, int16_t *wide, int8_t *split,
                       float effort)
{
    const quant_space *space = &q->space;
    double sums[2], unit = space->scale * space->scale, norm2 = pm_exact_dot(vector, vector, space->dim), inverse = 1;
    if (space->metric == POMAI_METRIC_COSINE) inverse = norm2 > 0 ? 1 / sqrt(norm2) : 0;
    quant_rotate(space, vector, inverse, o);
    (void)space->kernels->facts(o, space->padded, sums);
    q->length = sqrt(sums[0]);
    q->bit = (quant_stage){sums[0], unit, 0};
    if (space->metric == POMAI_METRIC_COSINE) q->bit.constant = sums[0] / 2;
    if (space->metric == POMAI_METRIC_IP)
        q->bit.constant = (1 - pm_exact_dot(vector, space->centre, space->dim)) * unit;
    if (!(sums[0] < 1e30) || !(fabs(q->bit.constant) < 1e30) || !(norm2 < 1e60) || inverse == 0) {
        q->everything = true;
        return;
    }
    q->bits = (pm_simd_bits){.dim = space->padded, .table = table, .error = (float)(q->length * (double)effort)};
    if (!q->sure) fill_table(space, o, table, &q->bits.scale, &q->bits.base);
    set_bytes(q, vector, o, sums[1], inverse, wide, split);
}

static pm_quant_query *make(void *memory, const pm_quant *quant, const pm_simd *simd, const float *vector, uint32_t k,
                            float effort, bool sure)
{
    uint8_t *at = memory;
    assert((uintptr_t)memory % QUANT_LINE == 0);
    pm_quant_query *q = take(&at, sizeof *q);
    *q = (pm_quant_query){.quant = quant, .k = heap_size(quant, k), .sure = sure, .chunk = FIRST_BLOCKS};
    unsigned fp = pm_simd_fp_enter();
    quant_space_of(&q->space, quant, simd);
    size_t padded = q->space.padded, code = quant_code_bytes((uint32_t)padded);
    uint8_t *table = take(&at, 4 * padded);
    float *o = take(&at, padded * sizeof *o);
    int16_t *wide = take(&at, code * sizeof *wide);
    int8_t *split = take(&at, 2 * code);
    q->least = take(&at, PM_QUANT_STEP * sizeof *q->least);
    q->heap = take(&at, q->k * sizeof *q->heap);
    set_vector(q, vector, o, table, wide, split, effort);
    pm_simd_fp_leave(fp);
    return q;
}

pm_quant_query *quant_query_make(void *memory, const pm_quant *quant, const pm_simd *simd, const float *vector,
                                 uint32_t k, float effort)
{
    return make(memory, quant, simd, vector, k, effort, false);
}

pm_quant_query *pm_quant_query_init_sure(void *memory, const pm_quant *quant, const pm_simd *simd, const float *vector,
                                         uint32_t k)
{
    return make(memory, quant, simd, vector, k, 0, true);
}

void pm_quant_widen(pm_quant_query *q)
{
    q->bits.error = (float)(q->length * (double)QUANT_MOST_EFFORT);
}

/* ---- the query's own bound ---- */

static void push(pm_quant_query *q, double upper)
{
    double *heap = q->heap;
    size_t hole, child;
    if (q->n < q->k) {
        for (hole = q->n++; hole > 0 && heap[(hole - 1) / 2] < upper; hole = (hole - 1) / 2)
            heap[hole] = heap[(hole - 1) / 2];
    } else {
        if (q->k == 0 || !(upper < heap[0])) return;
        for (hole = 0; (child = 2 * hole + 1) < q->n; hole = child) {
            if (child + 1 < q->n && heap[child + 1] > heap[child]) child++;
            if (heap[child] <= upper) break;
            heap[hole] = heap[child];
        }
    }
    heap[hole] = upper;
}

static double own_bound(const pm_quant_query *q)
{
    return q->k > 0 && q->n == q->k ? q->heap[0] : INFINITY;
}

/* The number of a stage that stands for this distance, and some slack. */
static float limit_with(const quant_stage *stage, double bound, double slack)
{
    double number = bound * stage->unit - stage->constant;
    number += (fabs(bound * stage->unit) + fabs(stage->constant)) * slack + stage->doubt;
    return number < FLT_MAX ? (float)number : INFINITY; /* INFINITY if it is no number */
}

static float limit_of(const quant_stage *stage, double bound)
{
    return limit_with(stage, bound, (double)QUANT_SLACK);
}

/* ---- scan ---- */

typedef struct quant_scan {
    double bound; /* the caller's */
    uint32_t *candidates;
    size_t n;
} quant_scan;

static inline const uint8_t *eight_of(const pm_quant_query *q, uint64_t row)
{
    return q->quant->section[QUANT_BYTES] + row / 8 * quant_eight_bytes(q->space.padded);
}

/* Asks for the lines of a row's code; a prefetch in a loop that the compiler cannot reduce to its first line. */
static void ask_for(const uint8_t *code, const uint8_t *factor, size_t bytes)
{
    size_t ahead = bytes < MAX_LINES * QUANT_LINE ? bytes : MAX_LINES * QUANT_LINE;
    for (size_t i = 0; i < ahead; i += QUANT_LINE) {
        const uint8_t *line = code + i;
#if defined(__x86_64__)
        __asm__ volatile("prefetcht0 (%0)" : : "r"(line));
#else
        __builtin_prefetch(line);
#endif
    }
    __builtin_prefetch(factor);
}

/* The rows of the masks, in order; their codes are asked for. */
static size_t follow(const pm_quant_query *q, uint64_t first, const uint32_t *mask, size_t blocks, uint32_t *rows,
                     const uint8_t **codes, const uint8_t **factors)
{
    size_t n = 0, bytes = q->bytes.dim;
    for (size_t b = 0; b < blocks; b++) {
        for (uint32_t left = mask[b]; left != 0; left &= left - 1) {
            uint64_t row = first + b * PM_CODES_BLOCK + (uint64_t)__builtin_ctz(left);
            const uint8_t *eight = eight_of(q, row);
            rows[n] = (uint32_t)row;
            codes[n] = eight + row % 8 * bytes;
            factors[n] = eight + quant_factor_at(q->space.padded, row % 8);
            ask_for(codes[n], factors[n], bytes);
            n++;
        }
    }
    return n;
}

/* Distances by bytes of n rows: those within the bound become candidates. */
static void look_closer(pm_quant_query *q, quant_scan *scan, const uint32_t *rows, const uint8_t *const *codes,
                        const uint8_t *const *factors, size_t n)
{
    int32_t product[FOLLOW_ROWS];
    double best = own_bound(q);
    float limit = limit_of(&q->byte, scan->bound < best ? scan->bound : best);
    q->space.kernels->bytes_dot(&q->bytes, codes, n, product);
    for (size_t i = 0; i < n; i++) {
        quant_factor factor;
        memcpy(&factor, factors[i], sizeof factor);
        float dot = (float)(int32_t)((uint32_t)product[i] - (uint32_t)q->offset) * q->scale;
        float part = dot * factor.mul, margin = fabsf(q->margin * factor.mul);
        float middle = factor.add + part;
        float least = middle - margin;
        if (least > limit) continue;
        q->least[scan->n] = least;
        scan->candidates[scan->n++] = rows[i];
        double most = (double)(middle + margin) + (double)(fabsf(factor.add) * (2 * QUANT_SLACK));
        double upper = (most + q->byte.constant) / q->byte.unit;
        if (!(fabsf(least) <= FLT_MAX) || !(upper < best)) continue;
        push(q, upper + fabs(upper) * (double)QUANT_SLACK);
        best = own_bound(q);
        limit = limit_of(&q->byte, scan->bound < best ? scan->bound : best);
    }
}

static size_t keep_near(const pm_quant_query *q, const quant_scan *scan, float limit)
{
    size_t kept = 0;
    for (size_t i = 0; i < scan->n; i++) {
        if (!(q->least[i] > limit)) scan->candidates[kept++] = scan->candidates[i];
    }
    return kept;
}

/* A bound for rows from what is known by now: the caller's, or the k-th smallest that rows surely are below. */
static float sure_limit(const pm_quant_query *q, const quant_scan *scan)
{
    const double best = own_bound(q);
    return limit_with(&q->byte, scan->bound < best ? scan->bound : best, SURE_SLACK);
}

/* Of rows that are looked at together: what their codes and factors take stays in the first cache meanwhile. */
enum { SURE_ROWS = 64 };

static float middle_of(const pm_quant_query *q, int32_t product, quant_factor factor)
{
    const float dot = (float)(int32_t)((uint32_t)product - (uint32_t)q->offset) * q->scale;
    return factor.add + dot * factor.mul;
}

static float margin_of(const pm_quant_query *q, quant_factor factor)
{
    return fabsf(q->margin * factor.mul) + fabsf(factor.add) * (float)SURE_SLACK;
}

/* Lower bounds of the numbers of SURE_ROWS rows, and a byte each that says whether they are within the limit, or are no
 * number, or the row is too small for a code (mul is 0). */
static void bound_rows(const pm_quant_query *q, const int32_t *restrict product, const quant_factor *restrict factor,
                       float limit, float *restrict least, uint8_t *restrict near)
{
    for (size_t i = 0; i < SURE_ROWS; i++)
        least[i] = middle_of(q, product[i], factor[i]) - margin_of(q, factor[i]);
    for (size_t i = 0; i < SURE_ROWS; i++)
        near[i] = (uint8_t)(!(least[i] > limit) | (factor[i].mul == 0));
}

/* Factors of n rows from a multiple of 64 on; those behind them are nothing's. */
static void read_factors(const pm_quant_query *q, uint64_t first, size_t n, quant_factor *factor)
{
    const uint32_t padded = q->space.padded;
    if (n < SURE_ROWS) memset(factor, 0, SURE_ROWS * sizeof *factor);
    if (quant_is_grouped(padded)) {
        for (size_t i = 0; i < n; i += 8)
            memcpy(factor + i, eight_of(q, first + i) + quant_factor_at(padded, 0), 8 * sizeof *factor);
        return;
    }
    for (size_t i = 0; i < n; i++)
        memcpy(&factor[i], eight_of(q, first + i) + quant_factor_at(padded, i % 8), sizeof *factor);
}

/* A row that the limit lets pass: a candidate, and a bound for others. */
static void keep_row(pm_quant_query *q, quant_scan *scan, uint64_t row, float least, int32_t product,
                     quant_factor factor)
{
    q->least[scan->n] = factor.mul != 0 ? least : -INFINITY;
    scan->candidates[scan->n++] = (uint32_t)row;
    if (factor.mul == 0 || !(fabsf(least) <= FLT_MAX)) return;
    const double most = (double)middle_of(q, product, factor) + (double)margin_of(q, factor);
    const double upper = (most + q->byte.constant) / q->byte.unit;
    if (!(upper < own_bound(q))) return;
    const double slack = fabs(q->byte.constant) * SURE_SLACK + q->byte.doubt;
    push(q, upper + fabs(upper) * SURE_SLACK + slack / q->byte.unit);
}

/* Of SURE_ROWS rows that are looked at together. */
typedef struct looked {
    const uint8_t *code[SURE_ROWS];
    quant_factor factor[SURE_ROWS];
    int32_t product[SURE_ROWS];
    float least[SURE_ROWS];
    uint8_t near[SURE_ROWS];
} looked;

/* Those of n rows, `among` them, that may be near: rows[i], NULL: first + i. */
static void keep_rows(pm_quant_query *q, quant_scan *scan, looked *l, const uint32_t *rows, uint64_t first, size_t n,
                      uint64_t among)
{
    float limit = sure_limit(q, scan);
    bound_rows(q, l->product, l->factor, limit, l->least, l->near);
    uint64_t eight;
    for (size_t i = 0; i < n; i += 8) {
        memcpy(&eight, l->near + i, sizeof eight);
        for (size_t j = i; eight != 0 && j < i + 8 && j < n; j++) {
            if ((among >> j & 1) == 0 || (l->least[j] > limit && l->factor[j].mul != 0)) continue;
            keep_row(q, scan, rows != NULL ? rows[j] : first + j, l->least[j], l->product[j], l->factor[j]);
            limit = sure_limit(q, scan);
        }
    }
}

/* Rows first .. first + n - 1, at most SURE_ROWS, from a multiple of 64 on. */
static void look_at_all(pm_quant_query *q, quant_scan *scan, uint64_t first, size_t n, uint64_t among)
{
    looked l;
    for (size_t i = 0; i < SURE_ROWS; i++) {
        const uint64_t row = first + (i < n ? i : n - 1);
        l.code[i] = eight_of(q, row) + row % 8 * q->bytes.dim;
    }
    q->space.kernels->bytes_dot(&q->bytes, l.code, SURE_ROWS, l.product);
    read_factors(q, first, n, l.factor);
    keep_rows(q, scan, &l, NULL, first, n, among);
}

/* At most SURE_ROWS rows that lie anywhere. */
static void look_at_listed(pm_quant_query *q, quant_scan *scan, const uint32_t *rows, size_t n)
{
    looked l;
    for (size_t i = 0; i < SURE_ROWS; i++) {
        const uint32_t row = rows[i < n ? i : n - 1];
        const uint8_t *eight = eight_of(q, row);
        l.code[i] = eight + row % 8 * q->bytes.dim;
        memcpy(&l.factor[i], eight + quant_factor_at(q->space.padded, row % 8), sizeof l.factor[i]);
    }
    q->space.kernels->bytes_dot(&q->bytes, l.code, SURE_ROWS, l.product);
    keep_rows(q, scan, &l, rows, 0, n, UINT64_MAX);
}

static size_t scan_surely(pm_quant_query *q, quant_scan *scan, uint64_t first, uint32_t n, const uint64_t *among)
{
    for (uint32_t i = 0; i < n; i += SURE_ROWS) {
        const uint64_t some = among == NULL ? UINT64_MAX : among[i / 64];
        if (some != 0) look_at_all(q, scan, first + i, (size_t)pm_min_u64(n - i, SURE_ROWS), some);
    }
    return keep_near(q, scan, sure_limit(q, scan));
}

/* One chunk of whole blocks; rows from `end` on do not count. */
static void scan_chunk(pm_quant_query *q, quant_scan *scan, uint64_t first, size_t blocks, uint64_t end,
                       const uint64_t *among)
{
    uint32_t mask[CHUNK_BLOCKS], rows[FOLLOW_ROWS];
    const uint8_t *codes[FOLLOW_ROWS], *factors[FOLLOW_ROWS];
    size_t block = quant_block_bytes(q->space.padded);
    double best = own_bound(q);
    float limit = limit_of(&q->bit, scan->bound < best ? scan->bound : best);
    q->space.kernels->bits_near(&q->bits, q->quant->section[QUANT_BITS] + first / PM_CODES_BLOCK * block, blocks, limit,
                                mask);
    for (size_t b = 0; b < blocks; b++) {
        uint64_t row = first + b * PM_CODES_BLOCK;
        if (end - row < PM_CODES_BLOCK) mask[b] &= ((uint32_t)1 << (end - row)) - 1;
        if (among != NULL) mask[b] &= (uint32_t)(among[b / 2] >> (b % 2 * 32));
    }
    size_t n = follow(q, first, mask, blocks, rows, codes, factors);
    if (n > 0) look_closer(q, scan, rows, codes, factors, n);
}

static size_t every_row(uint64_t first, uint32_t n, const uint64_t *among, uint32_t *candidates)
{
    size_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (among == NULL || (among[i / 64] >> (i % 64) & 1) != 0) candidates[found++] = (uint32_t)(first + i);
    }
    return found;
}

/* Drops what the bound, as it is now, leaves out. */
static size_t drop_far(pm_quant_query *q, const quant_scan *scan)
{
    double best = own_bound(q);
    return keep_near(q, scan, limit_of(&q->byte, scan->bound < best ? scan->bound : best));
}

size_t pm_quant_scan_some(pm_quant_query *q, uint64_t first, uint32_t n, const uint64_t *among, double bound,
                          uint32_t *candidates)
{
    quant_scan scan = {.bound = bound, .candidates = candidates};
    uint64_t end = first + n;
    assert(first % 64 == 0 && n <= PM_QUANT_STEP && first <= q->quant->rows && n <= q->quant->rows - first);
    if (q->everything) return every_row(first, n, among, candidates);
    unsigned fp = pm_simd_fp_enter();
    if (q->sure) {
        const size_t found = scan_surely(q, &scan, first, n, among);
        pm_simd_fp_leave(fp);
        return found;
    }
    for (uint64_t row = first; row < end;) {
        size_t blocks = (size_t)pm_min_u64(q->chunk, (end - row + PM_CODES_BLOCK - 1) / PM_CODES_BLOCK);
        scan_chunk(q, &scan, row, blocks, end, among == NULL ? NULL : among + (row - first) / 64);
        row += blocks * PM_CODES_BLOCK;
        q->chunk = q->chunk * 2 < CHUNK_BLOCKS ? q->chunk * 2 : CHUNK_BLOCKS;
    }
    size_t kept = drop_far(q, &scan);
    pm_simd_fp_leave(fp);
    return kept;
}

size_t pm_quant_scan(pm_quant_query *query, uint64_t first, uint32_t n, double bound, uint32_t *candidates)
{
    return pm_quant_scan_some(query, first, n, NULL, bound, candidates);
}

size_t pm_quant_scan_listed(pm_quant_query *q, const uint32_t *rows, uint32_t n, double bound, uint32_t *candidates)
{
    quant_scan scan = {.bound = bound, .candidates = candidates};
    assert(q->sure && n <= PM_QUANT_STEP);
    if (q->everything) {
        memcpy(candidates, rows, n * sizeof *rows);
        return n;
    }
    const unsigned fp = pm_simd_fp_enter();
    for (uint32_t i = 0; i < n && i < SURE_ROWS; i++)
        pm_quant_ask_for(q->quant, rows[i]);
    for (uint32_t i = 0; i < (PM_MUTANT(LISTED_ROWS_LOST) ? n / SURE_ROWS * SURE_ROWS : n); i += SURE_ROWS) {
        for (uint32_t j = i + SURE_ROWS; j < n && j < i + 2 * SURE_ROWS; j++)
            pm_quant_ask_for(q->quant, rows[j]);
        look_at_listed(q, &scan, rows + i, (size_t)pm_min_u64(n - i, SURE_ROWS));
    }
    const size_t kept = keep_near(q, &scan, sure_limit(q, &scan));
    pm_simd_fp_leave(fp);
    return kept;
}

uint32_t pm_quant_lines(uint32_t dim)
{
    const uint32_t padded = quant_padded(dim);
    return (uint32_t)(quant_code_bytes(padded) / QUANT_LINE) + quant_is_grouped(padded);
}

void pm_quant_ask_for(const pm_quant *quant, uint32_t row)
{
    const uint32_t padded = quant_padded(quant->dim);
    const uint8_t *eight = quant->section[QUANT_BYTES] + row / 8 * quant_eight_bytes(padded);
    ask_for(eight + row % 8 * quant_code_bytes(padded), eight + quant_factor_at(padded, row % 8),
            quant_code_bytes(padded));
}

/* ---- for calibration ---- */

static uint32_t row_sum(const pm_quant_query *q, const uint8_t *block, uint64_t r)
{
    uint32_t sum = 0;
    const uint8_t *at = block + PM_CODES_FACTOR + r % 8 * 2 + r / 8 % 2;
    for (size_t g = 0; g < q->space.padded / 4; g++)
        sum += q->bits.table[16 * g + (at[16 * g] >> (r / 16 * 4) & 15)];
    return sum;
}

double quant_query_effort(const pm_quant_query *q, uint64_t row, double bound)
{
    uint64_t r = row % PM_CODES_BLOCK;
    const uint8_t *block = q->quant->section[QUANT_BITS] + row / PM_CODES_BLOCK * quant_block_bytes(q->space.padded);
    const uint8_t *eight = eight_of(q, row), *code = eight + row % 8 * q->bytes.dim;
    float add, high, low;
    uint32_t factors, half;
    int32_t product;
    quant_factor factor;
    if (q->everything) return -INFINITY;
    memcpy(&factor, eight + quant_factor_at(q->space.padded, row % 8), sizeof factor);
    q->space.kernels->bytes_dot(&q->bytes, &code, 1, &product);
    double dot = (double)(int32_t)((uint32_t)product - (uint32_t)q->offset) * (double)q->scale;
    double least = (double)factor.add + dot * (double)factor.mul - fabs((double)q->margin * (double)factor.mul);
    if (least > (double)limit_of(&q->byte, bound)) return INFINITY;

    memcpy(&add, block + r * sizeof add, sizeof add);
    memcpy(&factors, block + PM_CODES_BLOCK * sizeof add + r * sizeof factors, sizeof factors);
    half = factors & 0xffff0000u;
    memcpy(&high, &half, sizeof high);
    half = factors << 16;
    memcpy(&low, &half, sizeof low);
    double t = (double)row_sum(q, block, r) * (double)q->bits.scale + (double)q->bits.base;
    double beyond = (double)add - (double)high * t - (double)limit_of(&q->bit, bound);
    if (!(beyond > 0)) return -INFINITY;
    double margin = (double)low * q->length;
    return margin > 0 ? beyond / margin : INFINITY;
}
