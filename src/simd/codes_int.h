/* SPDX-License-Identifier: Apache-2.0 */
/* The loops that every table of codes.h compiles for itself. */
#ifndef PM_CODES_INT_H
#define PM_CODES_INT_H

#include "base/base.h"
#include "codes.h"
#include "simd_int.h"

#include <math.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "the code kernels must not be compiled with -ffast-math: what is stored would depend on the compiler"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF /* gcc takes -ffp-contract=off from the build */
#endif

#if defined(__x86_64__)
void pm_codes_bits_near_avx512(const pm_simd_bits *query, const uint8_t *blocks, size_t n, float limit, uint32_t *mask);
#endif

/* The dimensions whose sums of table entries, 255 at most for each four, fit 16 bits. */
#define PM_CODES_RUN 1024

/*
 * What follows is compiled for each level by its own file, as vectors of its own width: operations on single elements,
 * which have the same result in any width.
 */
#define CODES_EACH static __attribute__((unused))
#define CODES_COMMON                                                                                                   \
    .centre = codes_centre, .rotate = codes_rotate, .facts = codes_facts, .encode = codes_encode,                      \
    .integers = codes_integers, .tables = codes_tables

CODES_EACH void codes_centre(const float *x, const float *centre, size_t n, double inverse, double scale, float *o)
{
    for (size_t d = 0; d < n; d++) {
        double part = (double)x[d] * inverse;
        part = part - (double)centre[d];
        o[d] = (float)(part * scale);
    }
}

/* Eight floats at any address, as the compiler splits or joins them for the level. */
typedef float codes_f8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint32_t codes_u8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double codes_d8 __attribute__((vector_size(64), aligned(8), may_alias));
typedef int32_t codes_i8 __attribute__((vector_size(32)));
#define CODES_PICK(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)

/* One butterfly within each eight: `other` is the neighbour, and the sign of the second of each pair is flipped. */
#define CODES_WITHIN(v, flip, ...)                                                                                     \
    do {                                                                                                               \
        const codes_f8 other = CODES_PICK(v, __VA_ARGS__);                                                             \
        const codes_u8 bits = (codes_u8)(v) ^ (flip);                                                                  \
        (v) = other + (codes_f8)bits;                                                                                  \
    } while (0)

/* Butterflies of strides 4 to 1 within eight elements, then times scale. */
INLINE void codes_within(codes_f8 *at, float scale)
{
    const codes_u8 four = {0, 0, 0, 0, 1u << 31, 1u << 31, 1u << 31, 1u << 31};
    const codes_u8 two = {0, 0, 1u << 31, 1u << 31, 0, 0, 1u << 31, 1u << 31};
    const codes_u8 one = {0, 1u << 31, 0, 1u << 31, 0, 1u << 31, 0, 1u << 31};
    codes_f8 v = *at;
    CODES_WITHIN(v, four, 4, 5, 6, 7, 0, 1, 2, 3);
    CODES_WITHIN(v, two, 2, 3, 0, 1, 6, 7, 4, 5);
    CODES_WITHIN(v, one, 1, 0, 3, 2, 5, 4, 7, 6);
    *at = v * scale;
}

/* Those of one stride. */
INLINE void codes_two(float *x, size_t n, size_t h)
{
    for (size_t i = 0; i < n; i += 2 * h)
        for (size_t j = i; j < i + h; j += 8) {
            codes_f8 *lo = (codes_f8 *)(void *)(x + j), *hi = (codes_f8 *)(void *)(x + j + h);
            const codes_f8 left = *lo, right = *hi;
            *lo = left + right;
            *hi = left - right;
        }
}

#define CODES_PAIR(v, i, j)                                                                                            \
    do {                                                                                                               \
        const codes_f8 left = (v)[i], right = (v)[j];                                                                  \
        (v)[i] = left + right;                                                                                         \
        (v)[j] = left - right;                                                                                         \
    } while (0)

/* Those of strides 4h, 2h and h, of eight vectors at a time, which so are loaded and stored once; if h is 8 these are
 * neighbours, and what is left is done, too. */
INLINE void codes_eight(float *x, size_t n, size_t h, bool last, float scale)
{
    for (size_t i = 0; i < n; i += 8 * h)
        for (size_t j = i; j < i + h; j += 8) {
            codes_f8 v[8];
            for (size_t m = 0; m < 8; m++)
                v[m] = *(codes_f8 *)(void *)(x + j + m * h);
            CODES_PAIR(v, 0, 4);
            CODES_PAIR(v, 1, 5);
            CODES_PAIR(v, 2, 6);
            CODES_PAIR(v, 3, 7);
            CODES_PAIR(v, 0, 2);
            CODES_PAIR(v, 1, 3);
            CODES_PAIR(v, 4, 6);
            CODES_PAIR(v, 5, 7);
            CODES_PAIR(v, 0, 1);
            CODES_PAIR(v, 2, 3);
            CODES_PAIR(v, 4, 5);
            CODES_PAIR(v, 6, 7);
            for (size_t m = 0; m < 8; m++) {
                if (last) codes_within(&v[m], scale);
                *(codes_f8 *)(void *)(x + j + m * h) = v[m];
            }
        }
}

/* Butterflies of strides n/2 down to 1, then times scale; n is a power of two from 16 on. */
INLINE void codes_hadamard(float *x, size_t n, float scale)
{
    size_t h = n / 2;
    if (n < 64) {
        for (; h >= 8; h /= 2)
            codes_two(x, n, h);
        for (size_t i = 0; i < n; i += 8)
            codes_within((codes_f8 *)(void *)(x + i), scale);
        return;
    }
    for (; h > 32 && h != 256 && h != 2048; h /= 2) /* then three are left, or six, or nine */
        codes_two(x, n, h);
    for (; h > 32; h /= 8)
        codes_eight(x, n, h / 4, false, scale);
    codes_eight(x, n, 8, true, scale);
}

INLINE void codes_flip(float *o, size_t padded, uint64_t key)
{
    const codes_u8 place = {0, 1, 2, 3, 4, 5, 6, 7};
    for (size_t from = 0; from < padded; from += 64) {
        uint64_t bits = pm_mix64(key + from / 64);
        size_t end = padded - from < 64 ? padded : from + 64;
        for (size_t d = from; d < end; d += 8, bits >>= 8) {
            codes_u8 *part = (codes_u8 *)(void *)(o + d);
            *part ^= ((uint32_t)bits >> place) << 31;
        }
    }
}

CODES_EACH void codes_rotate(float *o, size_t padded, size_t window, uint64_t seed)
{
    const float whole = (float)(1 / sqrt((double)window)), half = (float)(1 / sqrt(2.0));
    for (uint64_t round = 0; round < PM_CODES_ROUNDS; round++) {
        codes_flip(o, padded, pm_mix64(seed + round));
        codes_hadamard(round % 2 == 0 ? o : o + (padded - window), window, whole);
        if (window == padded) continue;
        for (size_t i = 0; i < padded / 2; i += 8) {
            codes_f8 *lo = (codes_f8 *)(void *)(o + i), *hi = (codes_f8 *)(void *)(o + padded / 2 + i);
            const codes_f8 left = *lo, right = *hi, sum = left + right, difference = left - right;
            *lo = sum * half;
            *hi = difference * half;
        }
    }
}

/* The tree of the canonical sums. */
#define CODES_SUM8(lane)                                                                                               \
    ((((lane)[0] + (lane)[4]) + ((lane)[2] + (lane)[6])) + (((lane)[1] + (lane)[5]) + ((lane)[3] + (lane)[7])))

CODES_EACH float codes_facts(const float *x, size_t n, double sums[2])
{
    const codes_u8 size = {0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff,
                           0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff};
    codes_d8 squares = {0}, lengths = {0};
    codes_f8 most = {0};
    float max = 0;
    for (size_t d = 0; d < n; d += 8) {
        const codes_u8 part = *(const codes_u8 *)(const void *)(x + d) & size;
        const codes_f8 a = (codes_f8)part;
        const codes_d8 wide = __builtin_convertvector(a, codes_d8);
        squares += wide * wide;
        lengths += wide;
        const codes_u8 above = (codes_u8)(a > most);
        most = (codes_f8)(((codes_u8)a & above) | ((codes_u8)most & ~above));
    }
    for (size_t j = 0; j < 8; j++)
        max = most[j] > max ? most[j] : max;
    sums[0] = CODES_SUM8(squares);
    sums[1] = CODES_SUM8(lengths);
    return max;
}

/* The sum is positive, so that cutting it off is its floor. */
CODES_EACH void codes_encode(const float *x, size_t n, float inverse, uint8_t *bytes)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(int)(x[i] * inverse + 128.5f);
}

/* Of eight: bits set where one is no integer from 0 to 255. */
INLINE void codes_others(const float *x, codes_u8 *others)
{
    const codes_f8 zero = {0}, most = zero + 255;
    const codes_f8 v = *(const codes_f8 *)(const void *)x;
    const codes_u8 inside = (codes_u8)(v >= zero) & (codes_u8)(v <= most), bits = (codes_u8)v & inside;
    const codes_f8 held = (codes_f8)bits;
    const codes_i8 whole = __builtin_convertvector(held, codes_i8);
    *others |= ~inside | (codes_u8)(__builtin_convertvector(whole, codes_f8) != held);
}

CODES_EACH bool codes_integers(const float *x, size_t n, uint8_t *bytes)
{
    float last[8] = {0};
    codes_u8 others = {0};
    size_t whole = n / 8 * 8;
    for (size_t i = 0; i < whole; i += 8)
        codes_others(x + i, &others);
    memcpy(last, x + whole, (n - whole) * sizeof *last);
    codes_others(last, &others);
    for (size_t j = 1; j < 8; j++)
        others[0] |= others[j];
    if (others[0] != 0) return false;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(int32_t)x[i];
    return true;
}

CODES_EACH void codes_tables(const float *x, size_t n, float inverse, uint8_t *table)
{
    static const float sign[4][16] = {{-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
                                      {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
                                      {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
                                      {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1}};
    for (size_t d = 0; d < n; d += 4) {
        float low = 0, entry[16];
        for (size_t j = 0; j < 4; j++)
            low += __builtin_fabsf(x[d + j]);
        for (size_t j = 0; j < 16; j++) {
            float two = sign[0][j] * x[d] + sign[1][j] * x[d + 1],
                  other = sign[2][j] * x[d + 2] + sign[3][j] * x[d + 3];
            entry[j] = ((two + other) + low) * inverse + 0.5f;
            entry[j] = entry[j] < 0 ? 0 : entry[j];
        }
        for (size_t j = 0; j < 16; j++)
            table[4 * d + j] = (uint8_t)(int)entry[j];
    }
}

#endif
