/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of kernels and indexes say of each level of the machine. After support/cases.h. */
#ifndef T_LEVELS_H
#define T_LEVELS_H

#include "simd/simd.h"
#include "support/cases.h"

static const pm_simd *levels[8];
static size_t nlevels;

/* dim: or the stride of a code */
static inline void check(int ok, const char *what, const char *level, size_t dim, uint64_t rows)
{
    cases++;
    if (ok) return;
    if (failures++ < 10)
        printf("  %s: %s, dim %zu, %llu rows, seed %llu\n", what, level, dim, (unsigned long long)rows,
               (unsigned long long)seed);
}

/* Of a cache line's alignment, and full of what is no zero. */
static inline void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
    assert_non_null(memory);
    memset(memory, 0xa5, (bytes + 64) / 64 * 64);
    return memory;
}

#endif
