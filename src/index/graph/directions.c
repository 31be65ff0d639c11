/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directions in which codes vary most (principal components), by orthogonal iteration on their covariance from a
 * fixed start. A few rounds do: what is wanted is a subspace that holds most of the variance, not its exact axes. The
 * covariance is of integers; the rest is double precision, one operation at a time, in a fixed order.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph_int.h"
#include "simd/graph.h"

/* EVERY: in double precision, the largest of directions may grow so often beside the least before they are parted. */
enum { ROUNDS = 4, EVERY = 2, SAMPLE = 4096, PART = 2048, PIECE = 16, LANES = 16 };
enum { ASKED = 128, NEAR = 4, FARTHER = 16 };
#define NOTHING 1e-24 /* of the square of a length: some hundred times what rounding leaves of that length */

/* What the covariance is computed from: a part of the sample, a row for each dimension. */
typedef struct part {
    size_t stride;
    uint8_t *turned, *panels; /* n rows */
    uint32_t *distance;       /* of PM_GRAPH_TILE dimensions to all */
    double *square;           /* sum of each dimension's */
} part;

/* Some rows of the sample, and the sums of their dimensions. */
static void turn(const uint8_t *codes, uint64_t rows, const graph_shape *shape, size_t taken, size_t first, part *p,
                 double *sum)
{
    const uint32_t n = shape->padded;
    const size_t here = pm_min_u64(taken - first, PART);
    memset(p->turned, 0, n * p->stride);
    for (size_t i = 0; i < here; i += GRAPH_LINE)
        for (uint32_t d = 0; d < n; d++)
            for (size_t j = i; j < here && j < i + GRAPH_LINE; j++)
                p->turned[d * p->stride + j] = codes[(size_t)(rows * (first + j) / taken) * shape->whole + d];
    for (uint32_t d = 0; d < n; d++) {
        uint32_t all = 0, squares = 0; /* 2^11 bytes fit */
        for (size_t i = 0; i < here; i++) {
            const uint32_t x = p->turned[d * p->stride + i];
            all += x;
            squares += x * x;
        }
        sum[d] += (double)all;
        p->square[d] = (double)squares;
    }
}

/* Adds sums of products of dimensions, those with none behind the first: from distances, which kernels compute best. */
static void add_products(const pm_simd_graph *kernels, const part *p, uint32_t n, double *to)
{
    const size_t bytes = pm_graph_panel_bytes(kernels, p->stride), apart = pm_align_up(n, PM_GRAPH_PANEL);
    const uint8_t *row[PM_GRAPH_TILE];
    for (uint32_t d = 0; d < n; d += PM_GRAPH_PANEL) {
        for (uint32_t i = 0; i < PM_GRAPH_PANEL; i++)
            row[i] = p->turned + (d + i) * p->stride;
        kernels->pack(row, PM_GRAPH_PANEL, p->stride, p->panels + d / PM_GRAPH_PANEL * bytes);
    }
    for (uint32_t first = 0; first < n; first += PM_GRAPH_TILE) {
        const uint32_t here = (uint32_t)pm_min_u64(n - first, PM_GRAPH_TILE);
        for (uint32_t i = 0; i < here; i++)
            row[i] = p->turned + (first + i) * p->stride;
        kernels->distances(row, here, p->stride, p->panels, first + here, p->distance, apart);
        for (uint32_t a = first; a < first + here; a++)
            for (uint32_t b = 0; b <= a; b++) /* |a - b|^2 = a^2 + b^2 - 2ab, all whole numbers */
                to[(size_t)a * n + b] +=
                    (p->square[a] + p->square[b] - (double)p->distance[(a - first) * apart + b]) / 2;
    }
}

/* Row-major n x n, of the sample's codes. */
static bool covariance(const uint8_t *codes, uint64_t rows, const graph_shape *shape, const pm_simd *simd, double *to,
                       float *mean)
{
    const uint32_t n = shape->padded;
    const size_t taken = rows < SAMPLE ? (size_t)rows : SAMPLE, most = taken < PART ? taken : PART;
    part p = {.stride = pm_align_up(most, GRAPH_LINE)};
    p.turned = pm_malloc_aligned(GRAPH_LINE, n * p.stride);
    p.panels = pm_malloc_aligned(GRAPH_LINE, pm_graph_panels(n) * pm_graph_panel_bytes(simd->graph, p.stride));
    p.distance = pm_malloc_aligned(GRAPH_LINE, PM_GRAPH_TILE * pm_align_up(n, PM_GRAPH_PANEL) * sizeof *p.distance);
    p.square = pm_malloc(n * sizeof *p.square);
    double *average = pm_calloc(n, sizeof *average);
    const bool good = p.turned != NULL && p.panels != NULL && p.distance != NULL && p.square != NULL && average != NULL;
    if (good) {
        memset(to, 0, (size_t)n * n * sizeof *to);
        for (size_t first = 0; first < taken; first += PART) {
            turn(codes, rows, shape, taken, first, &p, average);
            add_products(simd->graph, &p, n, to);
        }
        for (uint32_t a = 0; a < n; a++) {
            average[a] /= (double)taken;
            mean[a] = (float)average[a];
            for (uint32_t b = 0; b <= a; b++) {
                const double both = to[(size_t)a * n + b] / (double)taken;
                to[(size_t)a * n + b] = to[(size_t)b * n + a] = both - average[a] * average[b];
            }
        }
    }
    pm_free(p.turned);
    pm_free(p.panels);
    pm_free(p.distance);
    pm_free(p.square);
    pm_free(average);
    return good;
}

static double product_of(const double *a, const double *b, uint32_t n)
{
    double lane[LANES] = {0}, all = 0;
    for (uint32_t d = 0; d < n; d += LANES)
        for (uint32_t i = 0; i < LANES; i++)
            lane[i] += a[d + i] * b[d + i];
    for (uint32_t i = 0; i < LANES; i++)
        all += lane[i];
    return all;
}

/* Makes the rows of x orthonormal, each against those before it; twice, as once leaves rounding. Where codes vary in
 * fewer directions than are asked for, only rounding is left of the rest, which would be those before it again: 0. */
static void orthonormal(const pm_simd *simd, double *x, uint32_t count, uint32_t n)
{
    for (uint32_t i = 0; i < count; i++) {
        double *row = x + (size_t)i * n;
        const double least = product_of(row, row, n) * NOTHING;
        for (int twice = 0; twice < 2; twice++)
            for (uint32_t j = 0; j < i; j++)
                simd->walk->less_along(row, x + (size_t)j * n, n);
        double norm2 = 0;
        for (uint32_t d = 0; d < n; d++)
            norm2 += row[d] * row[d];
        const double inverse = norm2 > 1e-200 && norm2 > least ? 1 / sqrt(norm2) : 0;
        for (uint32_t d = 0; d < n; d++)
            row[d] *= inverse;
    }
}

/* A product of two matrices, some rows of it in each piece. */
typedef struct product {
    const pm_simd *simd;
    const double *x, *c;
    uint32_t rows, n;
    double *y;
} product;

static void times_piece(void *argument, uint32_t piece)
{
    const product *p = argument;
    const size_t first = (size_t)piece * PIECE, rows = pm_min_u64(PIECE, p->rows - first);
    const unsigned fp = pm_simd_fp_enter();
    p->simd->walk->times(p->x + first * p->n, p->c, rows, p->n, p->y + first * p->n);
    pm_simd_fp_leave(fp);
}

static void times(const pm_index_work *work, product *p)
{
    pm_index_run(work, times_piece, p, (p->rows + PIECE - 1) / PIECE);
}

bool graph_directions(const uint8_t *codes, uint64_t rows, const graph_shape *shape, const pm_simd *simd,
                      const pm_index_work *work, uint32_t count, float *mean, float *directions, double *beyond,
                      double *breadth)
{
    const uint32_t n = shape->padded;
    double *c = pm_malloc((size_t)n * n * sizeof *c), *x = pm_malloc(((size_t)count * n + 1) * sizeof *x);
    double *y = pm_malloc(((size_t)count * n + 1) * sizeof *y), all = 0, sum = 0, square = 0;
    const double taken = (double)pm_min_u64(rows, SAMPLE);
    const bool good = c != NULL && x != NULL && y != NULL && covariance(codes, rows, shape, simd, c, mean);
    product p = {simd, x, c, count, n, y};
    assert(n % 16 == 0 && count <= n);
    if (good) {
        double squares = 0;
        for (uint32_t d = 0; d < n; d++)
            all += c[(size_t)d * n + d];
        for (size_t i = 0; i < (size_t)n * n; i++)
            squares += c[i] * c[i];
        *breadth = squares > 0 ? all * all / squares : 1;
        for (size_t i = 0; i < (size_t)count * n; i++)
            x[i] = (double)(int64_t)(pm_mix64(i + 1) >> 32) / 0x1p31 - 1;
        for (int round = 0; round < ROUNDS && count > 0; round++) {
            times(work, &p);
            memcpy(x, y, (size_t)count * n * sizeof *x);
            if (round % EVERY == EVERY - 1) orthonormal(simd, x, count, n);
        }
        times(work, &p);
        for (uint32_t i = 0; i < count; i++) {
            for (uint32_t j = 0; j <= i; j++) { /* directions are not parted that well */
                const double both = product_of(x + (size_t)i * n, y + (size_t)j * n, n);
                sum += j == i ? both : 0;
                square += (j == i ? 1 : 2) * both * both;
            }
            /* of a sample: what is not there is the square of its sum by the number of rows */
            const double rest = all - sum, others = squares - square - rest * rest / taken;
            beyond[i] = all > 0 && others > 0 ? sqrt(others) / all : 0;
        }
        for (size_t i = 0; i < (size_t)count * n; i++)
            directions[i] = (float)x[i];
    }
    pm_free(c);
    pm_free(x);
    pm_free(y);
    return good;
}

static int by_size(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

bool graph_gap(const uint8_t *codes, uint64_t rows, const graph_shape *shape, const pm_simd *simd, double *gap)
{
    const uint32_t taken = (uint32_t)pm_min_u64(rows, SAMPLE), asked = (uint32_t)pm_min_u64(taken, ASKED);
    uint32_t *id = pm_malloc(taken * sizeof *id), *distance = pm_malloc(taken * sizeof *distance), own[ASKED];
    const bool good = id != NULL && distance != NULL;
    double all = 0;
    for (uint32_t i = 0; i < taken && good; i++)
        id[i] = (uint32_t)(rows * i / taken);
    for (uint32_t q = 0; q < asked && good; q++) {
        uint32_t nearest[FARTHER + 1], n = 0; /* the row itself is the first */
        simd->walk->apart(codes + (size_t)id[(size_t)q * taken / asked] * shape->whole, codes, shape->whole, id, taken,
                          shape->padded, distance);
        for (uint32_t i = 0; i < taken; i++) {
            const uint32_t here = distance[i];
            all += (double)here;
            if (n > FARTHER && here >= nearest[FARTHER]) continue;
            uint32_t at = n > FARTHER ? FARTHER : n++;
            for (; at > 0 && nearest[at - 1] > here; at--)
                nearest[at] = nearest[at - 1];
            nearest[at] = here;
        }
        own[q] = nearest[FARTHER] - nearest[NEAR];
    }
    if (good) qsort(own, asked, sizeof *own, by_size);
    if (good) *gap = all > 0 ? (double)own[asked / 2] / (all / asked / taken) : 0;
    pm_free(id);
    pm_free(distance);
    return good;
}
