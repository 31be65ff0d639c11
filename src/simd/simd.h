/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Distance kernels, one table of functions an instruction set, and the canonical double-precision sums.
 *
 * A float kernel gives an approximation within a stated error of the true sum; what is reported to a caller is always
 * a canonical sum, which has the same bits at every level, with every compiler and on every machine. So kernels may
 * sum in any order, and answers do not depend on the machine.
 *
 * No function here allocates, locks or calls the system; all may be called from any thread.
 */
#ifndef PM_SIMD_H
#define PM_SIMD_H

#include <stddef.h>
#include <stdint.h>

/* The most rows of one dot_tile. */
#define PM_SIMD_TILE 64

/*
 * The kernels of one instruction set. Vectors have dim >= 1 elements and any alignment; nothing past their
 * ends is read.
 */
typedef struct pm_simd {
    const char *name; /* "scalar", "avx2", "avx512" */

    /* out[i] = float approximation of sum_d (q[d]-rows[i][d])^2, n rows given by pointer (any alignment) */
    void (*l2_rows)(const float *q, const float *const *rows, size_t n, size_t dim, float *out);

    /* out[i] = float approximation of sum_d q[d]*rows[i][d] */
    void (*dot_rows)(const float *q, const float *const *rows, size_t n, size_t dim, float *out);

    /* index of the first NaN or infinity in x[0..n), or n */
    size_t (*first_not_finite)(const float *x, size_t n);

    /* out[i] = float approximation of sum_d rows[i][d]^2 */
    void (*norm2_rows)(const float *const *rows, size_t n, size_t dim, float *out);

    /*
     * out[j][i] = float approximation of sum_d queries[j][d]*rows[i][d], n <= PM_SIMD_TILE. A blocked matrix product:
     * worth its packing from some eight queries on. Each out[j] has room for PM_SIMD_TILE; those from n on are scratch.
     */
    void (*dot_tile)(const float *const *queries, size_t nqueries, const float *const *rows, size_t n, size_t dim,
                     float *const *out);

    /*
     * Bit i < n is set unless dot[i] is finite and dot[i] < (a + plus[i]) + b * length[i], as rounded to float; so it
     * is set when either side is no number. a + plus[i] must not overflow upwards. 1 <= n <= PM_SIMD_TILE, and all
     * three arrays have PM_SIMD_TILE elements.
     */
    uint64_t (*not_below)(const float *dot, const float *plus, const float *length, size_t n, float a, float b);
} pm_simd;

/*
 * Choosing a level asks the processor what it is, which is slow under a hypervisor: choose once and keep the pointer.
 * The tables are constants and live for ever.
 */
const pm_simd *pm_simd_level(const char *name);          /* NULL if unknown or this machine lacks it */
size_t pm_simd_levels(const pm_simd *out[], size_t max); /* all levels this machine runs, lowest first; their number */
const pm_simd *pm_simd_best(const char *wanted);         /* the highest, or `wanted` if it is available; may be NULL */

/*
 * The canonical sums: terms in double precision, eight partial sums (lane = d mod 8), then a fixed tree; no fused
 * multiply-add. Finite floats neither overflow nor underflow here. The bits are fixed for ever by that description,
 * under the default floating-point environment (see pm_simd_fp_enter).
 */
double pm_exact_l2(const float *a, const float *b, size_t dim);
double pm_exact_dot(const float *a, const float *b, size_t dim);

/*
 * Error of the float kernels: |approx - true| <= rel_error * (sum of |terms|) + abs_error, provided approx is finite.
 * When it is not, some partial sum overflowed and approx says nothing. rel_error also covers the rounding of the
 * canonical sums, so "true" may be either the real number or the canonical one.
 */
float pm_simd_rel_error(size_t dim);
float pm_simd_abs_error(size_t dim); /* underflow */

/*
 * The calling thread's floating-point control: an application may have changed the rounding mode, or have denormals
 * taken as zero (any library linked with -ffast-math does that at start). enter sets the default and returns what to
 * give to leave.
 */
unsigned pm_simd_fp_enter(void);
void pm_simd_fp_leave(unsigned before);

#endif
