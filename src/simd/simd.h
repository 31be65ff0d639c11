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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most rows of one dot_tile. */
#define PM_SIMD_TILE 64

/* Beyond, one minus the other may overflow or be lost. */
#define PM_SIMD_CODES_LEAST 1e-6f
#define PM_SIMD_CODES_MOST  1e6f

/* What pack_codes says of each row; the sums are within pm_simd_rel_error and pm_simd_abs_error. */
typedef struct pm_simd_codes {
    float scale[PM_SIMD_TILE]; /* 0: no code */
    float norm2[PM_SIMD_TILE]; /* sum of (x - offset)^2 */
    float rest2[PM_SIMD_TILE]; /* sum of squares of x - offset - scale * (code - 128) */
    float sum[PM_SIMD_TILE];   /* of x - offset */
} pm_simd_codes;

typedef struct pm_simd_bounds {
    float inverse[PM_SIMD_TILE];
    float plus[PM_SIMD_TILE];
    float loss[PM_SIMD_TILE];
} pm_simd_bounds;

typedef struct pm_simd_limit {
    float c, a, p, b;
} pm_simd_limit;

static inline size_t pm_simd_panel_bytes(size_t dim)
{
    return (dim + 63) / 64 * 64 * PM_SIMD_TILE;
}

struct pm_simd_quant;  /* codes.h */
struct pm_convert;     /* convert.h */
struct pm_simd_walk;   /* walk.h */
struct pm_simd_graph;  /* graph.h */
struct pm_simd_ranks;  /* ranks.h */
struct pm_simd_stored; /* stored.h */

/*
 * The kernels of one instruction set. Vectors have dim >= 1 elements and any alignment; nothing past their
 * ends is read.
 */
typedef struct pm_simd {
    /* The best tables of their kind that run wherever this level does. */
    const struct pm_simd_quant *quant;
    const struct pm_convert *convert;
    const struct pm_simd_walk *walk;
    const struct pm_simd_graph *graph;
    const struct pm_simd_ranks *ranks;
    const struct pm_simd_stored *stored; /* NULL: none; rows are converted */

    const char *name; /* "scalar"; "avx2", "avxvnni", "avx512", "avx512vnni", "amx"; "neon", "neondot" */

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

    /* pm_exact_l2 and pm_exact_dot, the same bits */
    double (*exact_l2)(const float *a, const float *b, size_t dim);
    double (*exact_dot)(const float *a, const float *b, size_t dim);

    /*
     * The same of n rows, any n: out[i] = exact_l2(q, rows[i]); dot[i] = exact_dot(q, rows[i]) and, unless it is NULL,
     * norm2[i] = exact_dot(rows[i], rows[i]). Each partial sum waits for its last term, so some rows go side by side.
     */
    void (*exact_l2_rows)(const float *q, const float *const *rows, size_t n, size_t dim, double *out);
    void (*exact_dot_rows)(const float *q, const float *const *rows, size_t n, size_t dim, double *dot, double *norm2);

    /* The next two together, or NULL both: a level whose integer products are no faster than those of floats. */

    /*
     * Rows as bytes: code = 128 + round((x - offset) / scale), within 0 to 255, so x is about offset + scale * (code -
     * 128); n <= PM_SIMD_TILE. scale is 1 if `whole` is set and |x - offset| <= 128, else the largest |x - offset| of
     * the row by 127. A row whose largest |x - offset| is neither 0 nor within PM_SIMD_CODES_LEAST and _MOST has scale
     * 0 and no code. The panel has pm_simd_panel_bytes(dim), 64-byte aligned; what it holds is between these two
     * functions.
     */
    void (*pack_codes)(const float *const *rows, size_t n, size_t dim, float offset, bool whole, uint8_t *panel,
                       pm_simd_codes *facts);

    /*
     * Bit i < n of not_below[j] is set unless S < c + a * inverse[i] + p * plus[i] - b * loss[i], where S is the sum of
     * code * (the query's byte), and c, a, p, b are limit[j]'s; as computed in float, with S rounded. So it is set when
     * a part of it is no number. Queries are `stride` bytes apart, zero from dim to the stride, a multiple of 64. All
     * arrays of rows have PM_SIMD_TILE elements.
     */
    void (*codes_not_below)(const int8_t *queries, size_t stride, size_t nqueries, const pm_simd_limit *limit,
                            const uint8_t *panel, size_t n, size_t dim, const pm_simd_bounds *rows,
                            uint64_t *not_below);
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
