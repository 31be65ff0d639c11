/* SPDX-License-Identifier: Apache-2.0 */
/* What the tables of walk.h share. */
#ifndef PM_WALK_INT_H
#define PM_WALK_INT_H

#include <string.h>

#include "simd_int.h"
#include "walk.h"

#if defined(__FAST_MATH__)
#error "the kernels of walks must not be compiled with -ffast-math: what is found would depend on the compiler"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc takes -ffp-contract=off from the build */
#endif

/* walk_scalar.c; also what avx2 does with pools and with what was seen. */
size_t pm_walk_unseen(pm_walk_seen *seen, const uint32_t *links, size_t n, uint32_t *out);
void pm_walk_insert(pm_walk_pool *pool, const uint32_t *ids, const float *score, size_t n, float limit);

INLINE float walk_finish(const pm_walk_codes *c, const uint8_t *row, int32_t dot)
{
    float add, mul;
    memcpy(&add, row + c->stride - 8, sizeof add);
    memcpy(&mul, row + c->stride - 4, sizeof mul);
    const float factor = mul * c->scale, part = (float)dot - c->zero;
    const float product = factor * part, score = (add + c->base) + product;
    return score > 0 ? score : 0;
}

INLINE float walk_finish_row(const pm_walk_rows *r, int32_t norm2, int32_t dot)
{
    const double product = r->scale * (double)dot, score = (r->base + (double)norm2) - product;
    return (float)(score > 0 ? score : 0);
}

/* Asks for the codes of `most` of the next, from `at` on; returns how many were asked for by then. */
INLINE size_t walk_ask(const uint8_t *codes, size_t stride, const pm_walk_next *next, size_t at, size_t most)
{
    const size_t end = next->n - at < most ? next->n : at + most;
    for (; at < end; at++)
        for (size_t d = 0; d < stride; d += PM_WALK_LINE)
            __builtin_prefetch(codes + next->ids[at] * stride + d);
    return at;
}

/*
 * What follows is compiled for each level by its own file, as vectors of its own width: operations on single elements,
 * and sums in a fixed order, which have the same result in any width.
 */
#define WALK_EACH static __attribute__((unused))
#define WALK_COMMON                                                                                                    \
    .centre = walk_centre, .to_bytes = walk_to_bytes, .to_whole = walk_to_whole, .times = walk_times,                  \
    .less_along = walk_less_along
#define WALK_LANES 16

typedef int32_t walk_bits __attribute__((vector_size(4 * WALK_LANES), aligned(4), may_alias));

#define WALK_ROUND 12582912.0f /* 1.5 * 2^23: what is added to it is rounded, halves to even */

WALK_EACH float walk_centre(const float *x, const float *less, size_t n, float *out)
{
    float squares[WALK_LANES] = {0};
    for (size_t d = 0; d < n; d += WALK_LANES)
        for (size_t i = 0; i < WALK_LANES; i++) {
            const float o = x[d + i] - less[d + i], square = o * o;
            out[d + i] = o;
            squares[i] = squares[i] + square;
        }
    for (size_t half = WALK_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            squares[i] = squares[i] + squares[i + half];
    return squares[0];
}

WALK_EACH float walk_to_bytes(const float *x, size_t n, float most, int8_t *bytes, int32_t *sum)
{
    const walk_bits sign = (walk_bits){0} + INT32_MAX;
    walk_bits largest = {0}; /* what is not negative is in the order of its bits */
    union {
        int32_t bits;
        float x;
    } u = {0};
    int32_t all = 0;
    for (size_t d = 0; d < n; d += WALK_LANES) {
        const walk_bits size = *(const walk_bits *)(const void *)(x + d) & sign, more = size > largest;
        largest = (size & more) | (largest & ~more);
    }
    for (size_t i = 0; i < WALK_LANES; i++)
        u.bits = largest[i] > u.bits ? largest[i] : u.bits;
    const float greatest = u.x;
    const float inverse = greatest > 0 ? most / greatest : 0;
    for (size_t d = 0; d < n; d++) {
        float v = x[d] * inverse;
        v = v > -most ? v : -most; /* no number, too */
        v = v < most ? v : most;
        const int32_t whole = (int32_t)((v + WALK_ROUND) - WALK_ROUND);
        bytes[d] = (int8_t)whole;
        all += whole;
    }
    *sum = all;
    return greatest / most;
}

#define WALK_MOST 0x437f8000u /* the bits of 255.5: no float from 0 to 255 has greater ones, and no other less */

WALK_EACH bool walk_to_whole(const float *x, size_t n, uint8_t *bytes)
{
    uint32_t others = 0;
    for (size_t d = 0; d < n; d++) {
        uint32_t bits, same;
        memcpy(&bits, x + d, sizeof bits);
        const uint32_t within = bits < WALK_MOST ? bits : WALK_MOST;
        float small;
        memcpy(&small, &within, sizeof small);
        const int32_t whole = (int32_t)small;
        const float again = (float)whole;
        memcpy(&same, &again, sizeof same);
        others |= same ^ bits;
        bytes[d] = (uint8_t)whole;
    }
    return others == 0;
}

WALK_EACH void walk_times(const double *restrict x, const double *restrict c, size_t rows, size_t n, double *restrict y)
{
    memset(y, 0, rows * n * sizeof *y);
    for (size_t block = 0; block < n; block += 16) /* these rows of c stay in the cache */
        for (size_t i = 0; i < rows; i++)
            for (size_t d = block; d < block + 16; d += 4) {
                const double *factor = x + i * n + d, *from = c + d * n;
                const double a = factor[0], b = factor[1], p = factor[2], q = factor[3];
                double *restrict to = y + i * n;
                for (size_t e = 0; e < n; e++)
                    to[e] = (((to[e] + a * from[e]) + b * from[n + e]) + p * from[2 * n + e]) + q * from[3 * n + e];
            }
}

WALK_EACH void walk_less_along(double *restrict x, const double *restrict axis, size_t n)
{
    double dot[WALK_LANES] = {0};
    for (size_t d = 0; d < n; d += WALK_LANES)
        for (size_t i = 0; i < WALK_LANES; i++)
            dot[i] += x[d + i] * axis[d + i];
    for (size_t half = WALK_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            dot[i] += dot[i + half];
    const double along = dot[0];
    for (size_t d = 0; d < n; d++)
        x[d] -= along * axis[d];
}

#endif
