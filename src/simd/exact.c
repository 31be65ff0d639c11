/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical sums. What is reported, stored in answers and compared across machines is computed here and nowhere
 * else, so the order of operations below is part of the contract:
 *   1. lane[j] adds the terms of dimensions j, j + 8, j + 16, ... one after the other, beginning with 0;
 *   2. result = ((lane0+lane4) + (lane2+lane6)) + ((lane1+lane5) + (lane3+lane7)).
 * Eight independent lanes let a compiler use vectors of any width up to eight without changing the order. A product of
 * two floats is exact in double precision, but a square of a difference is not, so contraction must be off.
 */
#include "simd.h"

#include <float.h>

#if defined(__FAST_MATH__)
#error "exact.c must not be compiled with -ffast-math: its results would depend on the compiler"
#endif
#if FLT_EVAL_METHOD != 0
#error "exact.c needs arithmetic without excess precision"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc takes -ffp-contract=off from the build, and it is its default under -std=c17 */
#endif

#define LANES 8

static double sum_lanes(const double lane[LANES])
{
    double half[4];
    for (size_t j = 0; j < 4; j++)
        half[j] = lane[j] + lane[j + 4];
    return (half[0] + half[2]) + (half[1] + half[3]);
}

double pm_exact_l2(const float *a, const float *b, size_t dim)
{
    double lane[LANES] = {0};
    size_t whole = dim & ~(size_t)(LANES - 1);
    for (size_t d = 0; d < whole; d += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            double diff = (double)a[d + j] - (double)b[d + j];
            lane[j] += diff * diff;
        }
    }
    for (size_t d = whole; d < dim; d++) {
        double diff = (double)a[d] - (double)b[d];
        lane[d - whole] += diff * diff;
    }
    return sum_lanes(lane);
}

double pm_exact_dot(const float *a, const float *b, size_t dim)
{
    double lane[LANES] = {0};
    size_t whole = dim & ~(size_t)(LANES - 1);
    for (size_t d = 0; d < whole; d += LANES) {
        for (size_t j = 0; j < LANES; j++)
            lane[j] += (double)a[d + j] * (double)b[d + j];
    }
    for (size_t d = whole; d < dim; d++)
        lane[d - whole] += (double)a[d] * (double)b[d];
    return sum_lanes(lane);
}
