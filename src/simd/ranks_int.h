/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tables of ranks.h share; compiled for each level by its own file, which has word1, word2 and word4: the bits
 * of 64 ranks.
 */
#ifndef PM_RANKS_INT_H
#define PM_RANKS_INT_H

#include "ranks.h"
#include "simd_int.h"

INLINE uint64_t ranks_bits(uint64_t bits)
{
    return (uint64_t)__builtin_popcountll(bits);
}

#define RANKS_SCAN(name, type, word)                                                                                   \
    static uint64_t name(const void *ranks, size_t rows, uint32_t low, uint32_t more, const uint64_t *mask,            \
                         uint64_t *out)                                                                                \
    {                                                                                                                  \
        const type *rank = ranks;                                                                                      \
        uint64_t count = 0;                                                                                            \
        size_t row = 0;                                                                                                \
        for (; rows - row >= 64; row += 64) {                                                                          \
            const uint64_t wanted = mask[row / 64];                                                                    \
            const uint64_t bits = wanted != 0 ? wanted & word(rank + row, (type)low, (type)more) : 0;                  \
            out[row / 64] = bits;                                                                                      \
            count += ranks_bits(bits);                                                                                 \
        }                                                                                                              \
        if (row == rows) return count;                                                                                 \
        uint64_t bits = 0;                                                                                             \
        for (size_t i = 0; i < rows - row; i++)                                                                        \
            bits |= (uint64_t)((type)(rank[row + i] - (type)low) <= (type)more) << i;                                  \
        bits &= mask[row / 64];                                                                                        \
        out[row / 64] = bits;                                                                                          \
        return count + ranks_bits(bits);                                                                               \
    }

static uint64_t ranks_count(const uint64_t *bits, size_t words)
{
    uint64_t count = 0;
    for (size_t i = 0; i < words; i++)
        count += ranks_bits(bits[i]);
    return count;
}

static uint64_t ranks_keep(uint64_t *bits, const uint64_t *by, size_t words)
{
    uint64_t count = 0;
    for (size_t i = 0; i < words; i++)
        count += ranks_bits(bits[i] &= by[i]);
    return count;
}

static uint64_t ranks_drop(uint64_t *bits, const uint64_t *by, size_t words)
{
    uint64_t count = 0;
    for (size_t i = 0; i < words; i++)
        count += ranks_bits(bits[i] &= ~by[i]);
    return count;
}

#define RANKS_COMMON .count = ranks_count, .keep = ranks_keep, .drop = ranks_drop

#endif
