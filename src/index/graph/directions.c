/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directions in which codes vary most (principal components), by orthogonal iteration on their covariance from a
 * fixed start. A few rounds do: what is wanted is a subspace that holds most of the variance, not its exact axes. The
 * covariance is of integers; the rest is double precision, one operation at a time, in a fixed order.
 */
#include <math.h>
#include <string.h>

#include "graph_int.h"

enum { ROUNDS = 4, SAMPLE = 4096 };

/* Row-major n x n, of the sample's codes. */
static bool covariance(const uint8_t *codes, uint64_t rows, const graph_shape *shape, const pm_simd *simd, double *to,
                       float *mean)
{
    const uint32_t n = shape->padded;
    const size_t taken = rows < SAMPLE ? (size_t)rows : SAMPLE, stride = pm_align_up(taken, GRAPH_LINE);
    uint8_t *turned = pm_malloc_aligned(GRAPH_LINE, 2 * (size_t)n * stride);
    int32_t *sums = pm_malloc(n * sizeof *sums);
    double *average = pm_malloc(n * sizeof *average);
    const bool good = turned != NULL && sums != NULL && average != NULL;
    if (good) {
        int8_t *less = (int8_t *)turned + (size_t)n * stride; /* less 128, and 0 behind the last */
        memset(turned, 0, 2 * (size_t)n * stride);
        for (size_t i = 0; i < taken; i++) {
            const uint8_t *row = codes + (size_t)(rows * i / taken) * shape->whole;
            for (uint32_t d = 0; d < n; d++) {
                turned[d * stride + i] = row[d];
                less[d * stride + i] = (int8_t)((int32_t)row[d] - 128);
            }
        }
        for (uint32_t d = 0; d < n; d++) {
            uint64_t sum = 0;
            for (size_t i = 0; i < taken; i++)
                sum += turned[d * stride + i];
            average[d] = (double)sum / (double)taken;
            mean[d] = (float)average[d];
        }
        for (uint32_t a = 0; a < n; a++) {
            simd->walk->products(turned + a * stride, less, stride, a + 1, sums);
            for (uint32_t b = 0; b <= a; b++) {
                const double both = (double)sums[b] / (double)taken + 128 * average[a];
                to[(size_t)a * n + b] = to[(size_t)b * n + a] = both - average[a] * average[b];
            }
        }
    }
    pm_free(turned);
    pm_free(sums);
    pm_free(average);
    return good;
}

/* Makes the rows of x orthonormal, each against those before it; twice, as once leaves rounding. */
static void orthonormal(double *x, uint32_t count, uint32_t n)
{
    for (uint32_t i = 0; i < count; i++) {
        double *row = x + (size_t)i * n;
        for (int twice = 0; twice < 2; twice++)
            for (uint32_t j = 0; j < i; j++) {
                const double *other = x + (size_t)j * n;
                double dot[4] = {0};
                for (uint32_t d = 0; d < n; d += 4)
                    for (uint32_t e = 0; e < 4; e++)
                        dot[e] += row[d + e] * other[d + e];
                const double both = (dot[0] + dot[1]) + (dot[2] + dot[3]);
                for (uint32_t d = 0; d < n; d++)
                    row[d] -= both * other[d];
            }
        double norm2 = 0;
        for (uint32_t d = 0; d < n; d++)
            norm2 += row[d] * row[d];
        const double inverse =
            norm2 > 1e-200 ? 1 / sqrt(norm2) : 0; /* fewer directions than asked for: the rest are 0 */
        for (uint32_t d = 0; d < n; d++)
            row[d] *= inverse;
    }
}

/* y = x C, rows of x by the symmetric C. */
static void multiply(const double *x, const double *c, uint32_t count, uint32_t n, double *y)
{
    memset(y, 0, (size_t)count * n * sizeof *y);
    for (uint32_t block = 0; block < n; block += 16) /* these rows of C stay in the cache */
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t d = block; d < block + 16; d++) {
                const double factor = x[(size_t)i * n + d];
                const double *from = c + (size_t)d * n;
                double *to = y + (size_t)i * n;
                for (uint32_t e = 0; e < n; e++)
                    to[e] += factor * from[e];
            }
}

bool graph_directions(const uint8_t *codes, uint64_t rows, const graph_shape *shape, const pm_simd *simd,
                      uint32_t count, float *mean, float *directions, double *kept, double *breadth)
{
    const uint32_t n = shape->padded;
    double *c = pm_malloc((size_t)n * n * sizeof *c), *x = pm_malloc(((size_t)count * n + 1) * sizeof *x);
    double *y = pm_malloc(((size_t)count * n + 1) * sizeof *y), all = 0, sum = 0;
    const bool good = c != NULL && x != NULL && y != NULL && covariance(codes, rows, shape, simd, c, mean);
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
            multiply(x, c, count, n, y);
            memcpy(x, y, (size_t)count * n * sizeof *x);
            orthonormal(x, count, n);
        }
        multiply(x, c, count, n, y);
        for (uint32_t i = 0; i < count; i++) {
            for (uint32_t d = 0; d < n; d++)
                sum += x[(size_t)i * n + d] * y[(size_t)i * n + d];
            kept[i] = all > 0 ? sum / all : 1;
        }
        for (size_t i = 0; i < (size_t)count * n; i++)
            directions[i] = (float)x[i];
    }
    pm_free(c);
    pm_free(x);
    pm_free(y);
    return good;
}
