/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the levels, for simd.c, and what the levels share. */
#ifndef PM_SIMD_INT_H
#define PM_SIMD_INT_H

#include "simd.h"

/* The longest run of dimensions that a kernel sums in one partial sum from the rows of a tile; see pm_simd_rel_error.
 */
#define PM_SIMD_RUN 128

/*
 * Kernels are written once for any shape and inlined with constant shapes; their arrays of vectors become registers
 * only when every loop over them is unrolled whole, which each compiler must be told in its own words.
 */
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

extern const pm_simd pm_simd_scalar;
#if defined(__x86_64__)
extern const pm_simd pm_simd_avx2;
extern const pm_simd pm_simd_avx512;
#endif

#endif
