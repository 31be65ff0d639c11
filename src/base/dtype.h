/* SPDX-License-Identifier: Apache-2.0 */
/* Element types of vectors: sizes, names, and float16 one element at a time (simd/convert.h does many). */
#ifndef PM_BASE_DTYPE_H
#define PM_BASE_DTYPE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pomai/types.h"

static inline bool pm_dtype_known(uint32_t dtype)
{
    return dtype >= POMAI_DTYPE_FLOAT32 && dtype <= POMAI_DTYPE_INT8;
}

/* Bytes of an element of a known type. */
static inline uint32_t pm_dtype_size(pomai_dtype dtype)
{
    return dtype == POMAI_DTYPE_FLOAT32 ? 4 : dtype == POMAI_DTYPE_FLOAT16 ? 2 : 1;
}

static inline const char *pm_dtype_name(pomai_dtype dtype)
{
    static const char *const names[] = {"?", "float32", "float16", "int8"};
    return pm_dtype_known((uint32_t)dtype) ? names[dtype] : names[0];
}

/* Exact, as is every way into float32. By bits: the caller's floating-point environment has no say. */
static inline float pm_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    uint32_t bits;
    float f;
    if (magnitude >= 0x7c00u) { /* infinity, NaN: the exponent is all ones in both; a NaN becomes a quiet one */
        bits = 0x7f800000u | (magnitude & 0x3ffu) << 13 | (magnitude > 0x7c00u ? 0x400000u : 0);
    } else if (magnitude >= 0x400u) {
        bits = (magnitude << 13) + ((127u - 15) << 23);
    } else if (magnitude == 0) {
        bits = 0;
    } else {                                                            /* denormal: a number of 2^-24 */
        const uint32_t shift = (uint32_t)__builtin_clz(magnitude) - 21; /* that brings its first bit to bit 10 */
        bits = ((magnitude << shift & 0x3ffu) << 13) + ((113u - shift) << 23);
    }
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Rounded to nearest, ties to even; what is out of range becomes infinity, a NaN a quiet one. By bits, too. */
static inline uint16_t pm_f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t h, rest, half;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x47800000u) return (uint16_t)(sign | 0x7c00u); /* 65536 and more */
    if (magnitude >= 0x38800000u) {                                  /* 2^-14: normal in both */
        h = (magnitude - ((127u - 15) << 23)) >> 13;
        rest = magnitude & 0x1fffu;
        half = 0x1000u;
    } else {
        const uint32_t shift = 126u - (magnitude >> 23); /* to a number of 2^-24 */
        if (shift > 24) return (uint16_t)sign;           /* below 2^-25, half of the smallest */
        const uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
        h = significand >> shift;
        rest = significand & ((1u << shift) - 1);
        half = 1u << (shift - 1);
    }
    h += rest > half || (rest == half && (h & 1) != 0); /* may carry into the exponent, as it should */
    return (uint16_t)(sign | h);
}

static inline const char *pm_index_name(pomai_index_kind index)
{
    static const char *const names[] = {"auto", "exact", "codes", "graph"};
    return names[(unsigned)index & 3];
}

#endif
