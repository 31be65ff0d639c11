/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of columns (index/columns), one table of functions an instruction set: which rows have a rank within a range,
 * as bits, and what is done with bits. Bit i % 64 of word i / 64 is row i. Every level gives the same bits.
 *
 * No function here allocates, locks or calls the system; all may be called from any thread.
 */
#ifndef PM_RANKS_H
#define PM_RANKS_H

#include "simd/simd.h"

/*
 * out = mask, without the bits of rows whose rank is not within low and low + more; returns how many are left. `out`
 * may be `mask`; bits of `mask` from `rows` on are 0. Where a word of the mask is 0, ranks are not looked at.
 */
typedef uint64_t pm_ranks_scan(const void *ranks, size_t rows, uint32_t low, uint32_t more, const uint64_t *mask,
                               uint64_t *out);

typedef struct pm_simd_ranks {
    const char *name; /* "scalar", "avx2", "avx512" */

    pm_ranks_scan *scan1, *scan2, *scan4; /* ranks of 1, 2 and 4 bytes; low + more is one of those */

    /* Bits that are set: all; after bits &= by; after bits &= ~by. */
    uint64_t (*count)(const uint64_t *bits, size_t words);
    uint64_t (*keep)(uint64_t *bits, const uint64_t *by, size_t words);
    uint64_t (*drop)(uint64_t *bits, const uint64_t *by, size_t words);
} pm_simd_ranks;

#endif
