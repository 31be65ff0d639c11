/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The level that runs everywhere: plain C, eight partial sums so that a compiler may use whatever vectors the baseline
 * has, and so that it meets the error bound of the other levels.
 */
#include "simd_int.h"

#include <float.h>
#include <string.h>

#define LANES 8

static float sum_lanes(const float lane[LANES])
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static float l2_one(const float *q, const float *x, size_t dim)
{
    float lane[LANES] = {0};
    size_t whole = dim & ~(size_t)(LANES - 1);
    for (size_t d = 0; d < whole; d += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            float diff = q[d + j] - x[d + j];
            lane[j] += diff * diff;
        }
    }
    for (size_t d = whole; d < dim; d++) {
        float diff = q[d] - x[d];
        lane[d - whole] += diff * diff;
    }
    return sum_lanes(lane);
}

static float dot_one(const float *q, const float *x, size_t dim)
{
    float lane[LANES] = {0};
    size_t whole = dim & ~(size_t)(LANES - 1);
    for (size_t d = 0; d < whole; d += LANES) {
        for (size_t j = 0; j < LANES; j++)
            lane[j] += q[d + j] * x[d + j];
    }
    for (size_t d = whole; d < dim; d++)
        lane[d - whole] += q[d] * x[d];
    return sum_lanes(lane);
}

static void l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = l2_one(q, rows[i], dim);
}

static void dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dot_one(q, rows[i], dim);
}

static void norm2_rows(const float *const *rows, size_t n, size_t dim, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dot_one(rows[i], rows[i], dim);
}

static void dot_tile(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                     float *const *out)
{
    for (size_t j = 0; j < nqueries; j++)
        dot_rows(queries[j], rows, n, dim, out[j]);
}

static uint64_t not_below(const float *dot, const float *plus, const float *length, size_t n, float a, float b)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        int below = dot[i] >= -FLT_MAX && dot[i] < (a + plus[i]) + b * length[i];
        bits |= (uint64_t)!below << i;
    }
    return bits;
}

static size_t first_not_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u) return i;
    }
    return n;
}

static void exact_l2_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = pm_exact_l2(q, rows[i], dim);
}

static void exact_dot_rows(const float *q, const float *const *rows, size_t n, size_t dim, double *dot, double *norm2)
{
    for (size_t i = 0; i < n; i++) {
        dot[i] = pm_exact_dot(q, rows[i], dim);
        if (norm2 != NULL) norm2[i] = pm_exact_dot(rows[i], rows[i], dim);
    }
}

const pm_simd pm_simd_scalar = {
    .name = "scalar",
    .quant = &pm_simd_quant_scalar,
    .convert = &pm_convert_scalar,
    .walk = &pm_simd_walk_scalar,
    .ranks = &pm_simd_ranks_scalar,
    .graph = &pm_simd_graph_scalar,
    .l2_rows = l2_rows,
    .dot_rows = dot_rows,
    .first_not_finite = first_not_finite,
    .norm2_rows = norm2_rows,
    .dot_tile = dot_tile,
    .not_below = not_below,
    .exact_l2 = pm_exact_l2,
    .exact_dot = pm_exact_dot,
    .exact_l2_rows = exact_l2_rows,
    .exact_dot_rows = exact_dot_rows,
};
