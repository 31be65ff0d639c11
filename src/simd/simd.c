/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of the level, error bounds, floating-point control. */
#include "simd_int.h"

#include <float.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>

/* Which register files the operating system saves (XCR0); only after cpuid has said OSXSAVE. */
static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}

/* How many of the levels of the table run here. Bit numbers: Intel SDM volume 2A, CPUID; volume 1, 13.3 for XCR0. */
static size_t levels_here(void)
{
    const uint32_t leaf1_ecx = (1u << 12) | (1u << 27) | (1u << 28) | (1u << 29); /* FMA, OSXSAVE, AVX, F16C */
    const uint32_t leaf7_avx2 = 1u << 5;                                          /* AVX2 */
    const uint32_t leaf7_512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31); /* AVX-512 F, DQ, BW, VL */
    const uint32_t leaf7_vnni = 1u << 11;                                         /* in ecx: AVX-512 VNNI */
    const uint64_t saved_avx = 0x6, saved_512 = 0xe6;
    uint32_t a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1_ecx) != leaf1_ecx) return 1;
    uint64_t saved = xcr0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & leaf7_avx2) || (saved & saved_avx) != saved_avx) return 1;
    if ((b & leaf7_512) != leaf7_512 || (saved & saved_512) != saved_512) return 2;
    return c & leaf7_vnni ? 4 : 3;
}

/* Lowest first; each runs wherever a later one does. */
static const pm_simd *const table[] = {&pm_simd_scalar, &pm_simd_avx2, &pm_simd_avx512, &pm_simd_avx512vnni};

unsigned pm_simd_fp_enter(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(0x1f80); /* nearest, no exceptions, denormals kept: the state a process starts in */
    return before;
}

void pm_simd_fp_leave(unsigned before)
{
    _mm_setcsr(before);
}

#else

static size_t levels_here(void)
{
    return 1;
}

static const pm_simd *const table[] = {&pm_simd_scalar};

unsigned pm_simd_fp_enter(void)
{
    return 0;
}

void pm_simd_fp_leave(unsigned before)
{
    (void)before;
}

#endif

size_t pm_simd_levels(const pm_simd *out[], size_t max)
{
    size_t n = levels_here();
    if (n > max) n = max;
    for (size_t i = 0; i < n; i++)
        out[i] = table[i];
    return n;
}

const pm_simd *pm_simd_level(const char *name)
{
    size_t n = levels_here();
    for (size_t i = 0; name != NULL && i < n; i++) {
        if (strcmp(table[i]->name, name) == 0) return table[i];
    }
    return NULL;
}

const pm_simd *pm_simd_best(const char *wanted)
{
    const pm_simd *level = pm_simd_level(wanted);
    return level != NULL ? level : table[levels_here() - 1];
}

/*
 * The standard bound (Higham, Accuracy and Stability of Numerical Algorithms, 3.1): a sum in which every term passes
 * through at most m roundings is within m*u/(1-m*u) of the truth, u = 2^-24. Kernels keep at least eight partial sums,
 * or sum runs of at most PM_SIMD_RUN dimensions and then the runs; so dim/8 + 128 covers the additions of both. Twelve
 * more cover the square of a rounded difference (3), the tree of the partial sums (up to 6), the canonical sum (1, as
 * its u is 2^-53) and the rounding of this function.
 */
float pm_simd_rel_error(size_t dim)
{
    double m = (dim < 128 ? (double)dim : (double)dim / 8 + 128) + 12;
    double mu = m * (FLT_EPSILON / 2);
    if (mu > 0.5) return FLT_MAX; /* dim is absurd; no approximation is believed */
    return (float)(mu / (1 - mu) * (1 + FLT_EPSILON));
}

/* Each operation may lose up to the smallest normal number when results are flushed to zero, and less when not. */
float pm_simd_abs_error(size_t dim)
{
    return (float)(dim + 16) * FLT_MIN;
}
