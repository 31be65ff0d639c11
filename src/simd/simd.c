/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of the level, error bounds, floating-point control. */
#include "simd_int.h"

#include <float.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>

#include "os/os.h"

/* Lowest first. A processor need not have all below its highest: AVX-512 came before AVX-VNNI. */
static const pm_simd *const table[] = {&pm_simd_scalar, &pm_simd_avx2,       &pm_simd_avxvnni,
                                       &pm_simd_avx512, &pm_simd_avx512vnni, &pm_simd_amx};
enum { SCALAR = 1, AVX2 = 2, AVXVNNI = 4, AVX512 = 8, AVX512VNNI = 16, AMX = 32 };

/* Which register files the operating system saves (XCR0); only after cpuid has said OSXSAVE. */
static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}

/*
 * Which levels of the table run here, as bits. Bit numbers: Intel SDM volume 2A, CPUID; volume 1, 13.3 for XCR0.
 */
static unsigned levels_here(void)
{
    const uint32_t leaf1_ecx = (1u << 12) | (1u << 27) | (1u << 28) | (1u << 29); /* FMA, OSXSAVE, AVX, F16C */
    const uint32_t leaf7_avx2 = 1u << 5;                                          /* AVX2 */
    const uint32_t leaf7_512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31); /* AVX-512 F, DQ, BW, VL */
    const uint32_t leaf7_vnni512 = 1u << 11;                                      /* in ecx: AVX-512 VNNI */
    const uint32_t leaf71_vnni = 1u << 4;                                         /* in eax: AVX-VNNI */
    const uint32_t leaf7_amx = (1u << 24) | (1u << 25);                           /* in edx: AMX-TILE, -INT8 */
    const uint64_t saved_avx = 0x6, saved_512 = 0xe6, saved_tiles = 0x60000;
    uint32_t subleaves, a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1_ecx) != leaf1_ecx) return SCALAR;
    const uint64_t saved = xcr0();
    if (!__get_cpuid_count(7, 0, &subleaves, &b, &c, &d) || !(b & leaf7_avx2) || (saved & saved_avx) != saved_avx)
        return SCALAR;
    unsigned here = SCALAR | AVX2;
    if ((b & leaf7_512) == leaf7_512 && (saved & saved_512) == saved_512)
        here |= c & leaf7_vnni512 ? AVX512 | AVX512VNNI : AVX512;
    if ((here & AVX512VNNI) && (d & leaf7_amx) == leaf7_amx && (saved & saved_tiles) == saved_tiles &&
        pm_os_allow_tiles())
        here |= AMX;
    if (subleaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & leaf71_vnni)) here |= AVXVNNI;
    return here;
}

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

#elif defined(__aarch64__)
#include "os/os.h"

static const pm_simd *const table[] = {&pm_simd_scalar, &pm_simd_neon, &pm_simd_neondot};
enum { SCALAR = 1, NEON = 2, NEONDOT = 4 };

static unsigned levels_here(void)
{
    const uint64_t dot_products = 1u << 20; /* HWCAP_ASIMDDP of Linux, asm/hwcap.h */
    return pm_os_hwcap() & dot_products ? SCALAR | NEON | NEONDOT : SCALAR | NEON;
}

/* FPCR: zero is to nearest, no traps, denormals kept. Writing it is slow, and it seldom is anything else. */
static void set_fpcr(uint64_t to)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(to) : "memory");
}

unsigned pm_simd_fp_enter(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before) : : "memory");
    if (before != 0) set_fpcr(0);
    return (unsigned)before;
}

void pm_simd_fp_leave(unsigned before)
{
    if (before != 0) set_fpcr(before);
}

#else

static const pm_simd *const table[] = {&pm_simd_scalar};

static unsigned levels_here(void)
{
    return 1;
}

unsigned pm_simd_fp_enter(void)
{
    return 0;
}

void pm_simd_fp_leave(unsigned before)
{
    (void)before;
}

#endif

#define LEVELS (sizeof table / sizeof table[0])

size_t pm_simd_levels(const pm_simd *out[], size_t max)
{
    const unsigned here = levels_here();
    size_t n = 0;
    for (size_t i = 0; i < LEVELS && n < max; i++)
        if (here >> i & 1) out[n++] = table[i];
    return n;
}

const pm_simd *pm_simd_level(const char *name)
{
    const pm_simd *level[LEVELS];
    const size_t n = pm_simd_levels(level, LEVELS);
    for (size_t i = 0; name != NULL && i < n; i++)
        if (strcmp(level[i]->name, name) == 0) return level[i];
    return NULL;
}

const pm_simd *pm_simd_best(const char *wanted)
{
    const pm_simd *level[LEVELS], *named = pm_simd_level(wanted);
    return named != NULL ? named : level[pm_simd_levels(level, LEVELS) - 1];
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
