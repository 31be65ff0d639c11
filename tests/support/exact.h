/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine must answer, computed the dumbest way, from the words of pomai.h and not from the engine's code:
 * terms in double precision, eight lanes, one fixed tree. Compile without contraction into fused multiply-adds.
 */
#ifndef T_EXACT_H
#define T_EXACT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "pomai/pomai.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

static inline double t_lanes(const double lane[8])
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static inline double t_dot(const float *a, const float *b, uint32_t dim)
{
    double lane[8] = {0};
    for (uint32_t d = 0; d < dim; d++)
        lane[d % 8] += (double)a[d] * (double)b[d];
    return t_lanes(lane);
}

static inline double t_l2(const float *a, const float *b, uint32_t dim)
{
    double lane[8] = {0};
    for (uint32_t d = 0; d < dim; d++) {
        double diff = (double)a[d] - (double)b[d];
        lane[d % 8] += diff * diff;
    }
    return t_lanes(lane);
}

static inline double t_distance(pomai_metric metric, const float *query, const float *row, uint32_t dim)
{
    switch (metric) {
    case POMAI_METRIC_IP:
        return 1.0 - t_dot(query, row, dim);
    case POMAI_METRIC_COSINE:
        return 1.0 - t_dot(query, row, dim) / sqrt(t_dot(query, query, dim) * t_dot(row, row, dim));
    default:
        return t_l2(query, row, dim);
    }
}

/* Equal to the last bit. (No distance of finite vectors is NaN.) */
static inline int t_same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Byte by byte, the shorter first. */
static inline int t_compare_bytes(pomai_bytes a, pomai_bytes b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n == 0 ? 0 : memcmp(a.data, b.data, n);
    if (c != 0) return c;
    return a.size < b.size ? -1 : a.size > b.size;
}

#endif
