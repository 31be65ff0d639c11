/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks_int.h"

#define RANKS_WORD(name, type)                                                                                         \
    static uint64_t name(const type *rank, type low, type more)                                                        \
    {                                                                                                                  \
        uint64_t bits = 0;                                                                                             \
        for (unsigned i = 0; i < 64; i++)                                                                              \
            bits |= (uint64_t)((type)(rank[i] - low) <= more) << i;                                                    \
        return bits;                                                                                                   \
    }

RANKS_WORD(word1, uint8_t)
RANKS_WORD(word2, uint16_t)
RANKS_WORD(word4, uint32_t)
RANKS_SCAN(scan1, uint8_t, word1)
RANKS_SCAN(scan2, uint16_t, word2)
RANKS_SCAN(scan4, uint32_t, word4)

const pm_simd_ranks pm_simd_ranks_scalar = {
    .name = "scalar", .scan1 = scan1, .scan2 = scan2, .scan4 = scan4, RANKS_COMMON};
