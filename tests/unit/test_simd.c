/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of every level against long double sums; the canonical sums against their definition, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "simd/convert.h"
#include "simd/simd.h"
#include "simd/stored.h"
#include "support/cases.h"

#define MAX_DIM  4100
#define MAX_ROWS PM_SIMD_TILE
#define DIGEST   0x9a85dcfec2eb683du /* of canonical sums; never changes */

static int emulated_masks; /* --emulated-masks yes: masked loads touch what they leave out, as in QEMU (7.2) */

static int check(int ok, const char *what, const char *level, size_t dim, size_t i)
{
    cases++;
    if (!ok && failures++ < 10) printf("  %s: level %s, dim %zu, element %zu\n", what, level, dim, i);
    return ok;
}

static const pm_simd *levels[8];
static size_t nlevels;

/* ---- values ---- */

enum kind { TAME, INTEGERS, OFFSET, HUGE_VALUES, TINY, DENORMAL, MIXED, KINDS };

static float value(enum kind kind)
{
    switch (kind) {
    case INTEGERS:
        return (float)below(256);
    case OFFSET:
        return 1000 + uniform();
    case HUGE_VALUES:
        return uniform() * 3e38f;
    case TINY:
        return uniform() * 1e-19f;
    case DENORMAL:
        return (float)below(100) * FLT_TRUE_MIN;
    case MIXED:
        return ldexpf(uniform(), (int)below(250) - 125);
    default:
        return uniform();
    }
}

/* MAX_ROWS rows and one query, each at its own odd address. */
static float *pool;
static const float *query, *rows[MAX_ROWS];

static void fill(size_t n, size_t dim, enum kind kind)
{
    float *at = pool;
    for (size_t i = 0; i <= n; i++) {
        at += below(16);
        for (size_t d = 0; d < dim; d++)
            at[d] = value(kind);
        if (i < n)
            rows[i] = at;
        else
            query = at;
        at += dim;
    }
}

/* ---- levels ---- */

static void levels_are_found_by_name(void **unused)
{
    (void)unused;
    begin();
    check(nlevels >= 1 && strcmp(levels[0]->name, "scalar") == 0, "scalar is first", "-", 0, 0);
    for (size_t l = 0; l < nlevels; l++) {
        check(pm_simd_level(levels[l]->name) == levels[l], "level", levels[l]->name, 0, l);
        check(pm_simd_best(levels[l]->name) == levels[l], "best", levels[l]->name, 0, l);
    }
    check(pm_simd_level("none") == NULL && pm_simd_level("") == NULL && pm_simd_level(NULL) == NULL, "unknown", "-", 0,
          0);
    check(pm_simd_best(NULL) == levels[nlevels - 1], "best of NULL", "-", 0, 0);
    check(pm_simd_best("none") == levels[nlevels - 1], "best of unknown", "-", 0, 0);
    const pm_simd *one[1] = {NULL};
    check(pm_simd_levels(one, 1) == 1 && one[0] == levels[0], "max", "-", 0, 0);
    printf("  levels:");
    for (size_t l = 0; l < nlevels; l++)
        printf(" %s", levels[l]->name);
    printf("\n");
    end("levels_are_found_by_name");
}

/* ---- the error bound ---- */

static void check_bound(float approx, long double truth, long double terms, const char *what, const char *level,
                        size_t dim, size_t i)
{
    long double bound = (long double)pm_simd_rel_error(dim) * terms + (long double)pm_simd_abs_error(dim);
    int ok = !isfinite(approx) || fabsl((long double)approx - truth) <= bound;
    if (terms < 1e38L) ok = ok && isfinite(approx); /* a bound that says nothing is no bound */
    if (!check(ok, what, level, dim, i) && failures < 10)
        printf("    approx %.9g, true %.9Lg, terms %.9Lg, bound %.3Lg\n", (double)approx, truth, terms, bound);
}

static void check_sums(const pm_simd *simd, size_t n, size_t dim)
{
    float l2[MAX_ROWS + 1], dot[MAX_ROWS + 1], norm2[MAX_ROWS + 1], tile[7][PM_SIMD_TILE];
    const float *queries[7];
    float *out[7];
    size_t nqueries = 1 + below(7);
    for (size_t j = 0; j < nqueries; j++) {
        queries[j] = j == 0 ? query : rows[below(n)];
        out[j] = tile[j];
    }
    l2[n] = dot[n] = norm2[n] = 12345;
    simd->l2_rows(query, rows, n, dim, l2);
    simd->dot_rows(query, rows, n, dim, dot);
    simd->norm2_rows(rows, n, dim, norm2);
    simd->dot_tile(queries, nqueries, rows, n, dim, out);
    check(l2[n] == 12345 && dot[n] == 12345 && norm2[n] == 12345, "write past the results", simd->name, dim, n);

    for (size_t i = 0; i < n; i++) {
        long double sum = 0, product = 0, products = 0, norm = 0;
        for (size_t d = 0; d < dim; d++) {
            long double q = (long double)query[d], x = (long double)rows[i][d];
            sum += (q - x) * (q - x);
            product += q * x;
            products += fabsl(q * x);
            norm += x * x;
        }
        check_bound(l2[i], sum, sum, "l2_rows", simd->name, dim, i);
        check_bound(dot[i], product, products, "dot_rows", simd->name, dim, i);
        check_bound(norm2[i], norm, norm, "norm2_rows", simd->name, dim, i);
        check_bound(tile[0][i], product, products, "dot_tile", simd->name, dim, i);
        long double exact_error = (long double)dim * 0x1p-52L;
        check(fabsl((long double)pm_exact_l2(query, rows[i], dim) - sum) <= exact_error * sum, "pm_exact_l2", "-", dim,
              i);
        check(fabsl((long double)pm_exact_dot(query, rows[i], dim) - product) <= exact_error * products, "pm_exact_dot",
              "-", dim, i);
    }
    for (size_t j = 1; j < nqueries; j++) {
        size_t i = below(n);
        long double product = 0, products = 0;
        for (size_t d = 0; d < dim; d++) {
            product += (long double)queries[j][d] * (long double)rows[i][d];
            products += fabsl((long double)queries[j][d] * (long double)rows[i][d]);
        }
        check_bound(tile[j][i], product, products, "dot_tile", simd->name, dim, i);
    }
}

static void sums_are_within_their_bound(void **unused)
{
    (void)unused;
    static const size_t more[] = {384, 511, 512, 513, 784, 960, 1000, 1024, 1536, 2049, 3072, 4096, 4100};
    begin();
    for (size_t i = 1; i <= 300 + sizeof more / sizeof *more; i++) {
        size_t dim = i <= 300 ? i : more[i - 301];
        if (left_out()) continue;
        for (size_t l = 0; l < nlevels; l++) {
            size_t n = dim > 300 ? 1 + below(20) : 1 + below(MAX_ROWS);
            enum kind kind = (enum kind)below(KINDS);
            fill(n, dim, kind);
            check_sums(levels[l], n, dim);
            fill(n = 1 + below(9), dim, TAME);
            check_sums(levels[l], n, dim);
        }
    }
    end("sums_are_within_their_bound");
}

/*
 * The worst there is for a float sum: a large term first and then terms that each lose half a unit to rounding, for
 * whatever way the dimensions are dealt to partial sums. `lead` dimensions of every `period` are large.
 */
static void fill_stuck(size_t n, size_t dim, size_t lead, size_t period, int l2)
{
    fill(n, dim, TAME);
    for (size_t d = 0; d < dim; d++) {
        ((float *)(uintptr_t)query)[d] = l2 ? 0 : 1;
        for (size_t i = 0; i < n; i++)
            ((float *)(uintptr_t)rows[i])[d] = d % period >= lead ? 1 : l2 ? 0x1p12f : 0x1p24f;
    }
}

static void rounding_that_adds_up_is_within_the_bound(void **unused)
{
    (void)unused;
    static const size_t leads[] = {1, 2, 4, 8, 16, 32, 64};
    begin();
    for (size_t dim = 1; dim < MAX_DIM; dim += 1 + dim / 8) {
        for (size_t i = 0; i < sizeof leads / sizeof *leads; i++) {
            for (size_t period = 64; period <= 8192; period *= period < 256 ? 2 : 32) {
                if (left_out()) continue;
                size_t n = 1 + below(9);
                fill_stuck(n, dim, leads[i], period, below(2) == 0);
                for (size_t l = 0; l < nlevels; l++)
                    check_sums(levels[l], n, dim);
            }
        }
    }
    end("rounding_that_adds_up_is_within_the_bound");
}

/* One row count after another, so that every shape of a block is met. */
static void every_row_count_is_served(void **unused)
{
    (void)unused;
    begin();
    for (size_t n = 1; n <= MAX_ROWS; n++) {
        if (left_out()) continue;
        for (size_t l = 0; l < nlevels; l++) {
            size_t dim = 1 + below(150);
            fill(n, dim, TAME);
            check_sums(levels[l], n, dim);
        }
    }
    end("every_row_count_is_served");
}

static void overflow_is_never_a_number(void **unused)
{
    (void)unused;
    begin();
    for (size_t dim = 1; dim <= 64; dim++) {
        fill(9, dim, TAME);
        float *q = (float *)(uintptr_t)query, *x = (float *)(uintptr_t)rows[4];
        q[below(dim)] = 3e38f;
        memcpy(x, q, dim * sizeof *x);
        for (size_t d = 0; d < dim; d++)
            x[d] = -x[d];
        for (size_t l = 0; l < nlevels; l++) {
            float out[9], tile[PM_SIMD_TILE], *to = tile;
            levels[l]->l2_rows(query, rows, 9, dim, out);
            check(!isfinite(out[4]), "l2_rows", levels[l]->name, dim, 4);
            levels[l]->dot_rows(query, rows, 9, dim, out);
            check(!isfinite(out[4]), "dot_rows", levels[l]->name, dim, 4);
            levels[l]->norm2_rows(rows, 9, dim, out);
            check(!isfinite(out[4]), "norm2_rows", levels[l]->name, dim, 4);
            levels[l]->dot_tile(&query, 1, rows, 9, dim, &to);
            check(!isfinite(tile[4]), "dot_tile", levels[l]->name, dim, 4);
        }
        check(isfinite(pm_exact_l2(query, rows[4], dim)), "pm_exact_l2", "-", dim, 4);
        check(isfinite(pm_exact_dot(query, rows[4], dim)), "pm_exact_dot", "-", dim, 4);
    }
    end("overflow_is_never_a_number");
}

/* ---- canonical sums ---- */

/* The definition, with every intermediate forced into memory so that no compiler can fuse or reorder. */
static double defined_sum(const float *a, const float *b, size_t dim, int l2)
{
    volatile double lane[8] = {0}, left, right, term;
    for (size_t d = 0; d < dim; d++) {
        left = l2 ? (double)a[d] - (double)b[d] : (double)a[d];
        right = l2 ? left : (double)b[d];
        term = left * right;
        lane[d % 8] = lane[d % 8] + term;
    }
    volatile double h0 = lane[0] + lane[4], h1 = lane[1] + lane[5], h2 = lane[2] + lane[6], h3 = lane[3] + lane[7];
    volatile double even = h0 + h2, odd = h1 + h3;
    return even + odd;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Of the first n of eight rows; what lies behind them stays as it is. */
static void check_sums_of_rows(const pm_simd *simd, size_t n, size_t dim)
{
    double l2[9], dot[9], alone[9], norm2[9];
    for (size_t r = 0; r < 9; r++)
        l2[r] = dot[r] = alone[r] = norm2[r] = -1;
    simd->exact_l2_rows(query, (const float *const *)rows, n, dim, l2);
    simd->exact_dot_rows(query, (const float *const *)rows, n, dim, alone, NULL);
    simd->exact_dot_rows(query, (const float *const *)rows, n, dim, dot, norm2);
    for (size_t r = 0; r < 9; r++) {
        const bool is = r < n;
        check(bits_of(l2[r]) == bits_of(is ? pm_exact_l2(query, rows[r], dim) : -1), "exact_l2_rows", simd->name, dim,
              r);
        check(bits_of(dot[r]) == bits_of(is ? pm_exact_dot(query, rows[r], dim) : -1), "exact_dot_rows", simd->name,
              dim, r);
        check(bits_of(norm2[r]) == bits_of(is ? pm_exact_dot(rows[r], rows[r], dim) : -1), "norm2 of exact_dot_rows",
              simd->name, dim, r);
        check(bits_of(alone[r]) == bits_of(dot[r]), "exact_dot_rows alone", simd->name, dim, r);
    }
}

static void canonical_sums_follow_their_definition(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 1; i <= 400; i++) {
        size_t dim = i <= 300 ? i : 301 + below(MAX_DIM - 300);
        if (left_out()) continue;
        fill(8, dim, (enum kind)below(KINDS));
        for (size_t r = 0; r < 8; r++) {
            check(bits_of(pm_exact_l2(query, rows[r], dim)) == bits_of(defined_sum(query, rows[r], dim, 1)),
                  "pm_exact_l2", "-", dim, r);
            check(bits_of(pm_exact_dot(query, rows[r], dim)) == bits_of(defined_sum(query, rows[r], dim, 0)),
                  "pm_exact_dot", "-", dim, r);
            for (size_t l = 0; l < nlevels; l++) {
                const pm_simd *simd = levels[l];
                check(bits_of(simd->exact_l2(query, rows[r], dim)) == bits_of(pm_exact_l2(query, rows[r], dim)),
                      "exact_l2", simd->name, dim, r);
                check(bits_of(simd->exact_dot(query, rows[r], dim)) == bits_of(pm_exact_dot(query, rows[r], dim)),
                      "exact_dot", simd->name, dim, r);
            }
        }
        for (size_t l = 0; l < nlevels; l++)
            check_sums_of_rows(levels[l], below(9), dim);
    }
    end("canonical_sums_follow_their_definition");
}

/* The same bits with every compiler, flag and machine: a digest that must never change. */
static void canonical_sums_are_fixed_for_ever(void **unused)
{
    (void)unused;
    static float a[1000], b[1000];
    uint64_t digest = 0, given = seed;
    seed = 1;
    begin();
    for (size_t d = 0; d < 1000; d++) {
        a[d] = uniform();
        b[d] = uniform();
    }
    for (size_t dim = 1; dim <= 1000; dim++) {
        digest = (digest ^ bits_of(pm_exact_l2(a, b, dim))) * 0x9e3779b97f4a7c15u;
        digest = (digest ^ bits_of(pm_exact_dot(a, b, dim))) * 0x9e3779b97f4a7c15u;
    }
    if (!check(digest == DIGEST, "digest", "-", 0, 0)) printf("    digest %#llx\n", (unsigned long long)digest);
    end("canonical_sums_are_fixed_for_ever");
    seed = given;
}

/* ---- memory ---- */

/* `n` floats that end (or begin) at a page that may not be touched. */
typedef struct guarded {
    char *map;
    size_t size, page;
} guarded;

static guarded guard(size_t n)
{
    guarded g = {.page = (size_t)sysconf(_SC_PAGESIZE)};
    g.size = (n * sizeof(float) + g.page - 1) / g.page * g.page;
    g.map = mmap(NULL, g.size + 2 * g.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect(g.map + g.page, g.size, PROT_READ | PROT_WRITE), 0);
    return g;
}

static float *guarded_floats(const guarded *g, size_t n, int at_end)
{
    char *at = g->map + g->page + (at_end ? g->size - n * sizeof(float) : 0);
    return (float *)(void *)at;
}

static void nothing_outside_a_vector_is_touched(void **unused)
{
    (void)unused;
    guarded maps[10];
    if (emulated_masks) skip();
    begin();
    for (size_t i = 0; i < 10; i++)
        maps[i] = guard(1100);
    for (size_t dim = 1; dim <= 1100; dim += dim < 300 ? 1 : 53) {
        if (left_out()) continue;
        for (int at_end = 0; at_end < 2; at_end++) {
            float *q = guarded_floats(&maps[0], dim, at_end);
            for (size_t i = 0; i < 9; i++)
                rows[i] = guarded_floats(&maps[i + 1], dim, at_end);
            for (size_t d = 0; d < dim; d++) {
                q[d] = uniform();
                for (size_t i = 0; i < 9; i++)
                    ((float *)(uintptr_t)rows[i])[d] = uniform();
            }
            query = q;
            size_t n = 1 + below(9);
            for (size_t l = 0; l < nlevels; l++) {
                check_sums(levels[l], n, dim);
                check(levels[l]->first_not_finite(q, dim) == dim, "first_not_finite", levels[l]->name, dim, 0);
            }
        }
    }
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(munmap(maps[i].map, maps[i].size + 2 * maps[i].page), 0);
    end("nothing_outside_a_vector_is_touched");
}

/* Of float16 within the error of the float kernels, of int8 exactly; the last byte of a row is the last of a page. */
static void check_stored(const pm_simd *simd, const guarded *maps, size_t n, size_t dim)
{
    const pm_simd_stored *kernels = simd->stored;
    const long double rel = (long double)pm_simd_rel_error(dim), abs = (long double)pm_simd_abs_error(dim);
    const uint16_t *half[9];
    const int8_t *byte[9];
    float l2[9], dot[9], norm2[9], x[1100];
    int32_t dots[9], norms[9];
    int8_t *own = (int8_t *)(maps[0].map + maps[0].page + maps[0].size - dim);
    for (size_t i = 0; i < n; i++) {
        char *end = maps[i + 1].map + maps[i + 1].page + maps[i + 1].size;
        half[i] = (const uint16_t *)(const void *)(end - 2 * dim);
        for (size_t d = 0; d < dim; d++)
            x[d] = below(9) == 0 ? uniform() * 60000 : uniform();
        assert_int_equal(simd->convert->to_f16(x, dim, (uint16_t *)(void *)(end - 2 * dim)), dim);
    }
    kernels->l2_f16(query, half, n, dim, l2);
    kernels->dots_f16(query, half, n, dim, dot, norm2);
    for (size_t i = 0; i < n; i++) {
        long double want[3] = {0}, terms = 0;
        simd->convert->from_f16(half[i], dim, x);
        for (size_t d = 0; d < dim; d++) {
            const long double q = (long double)query[d], v = (long double)x[d];
            want[0] += (q - v) * (q - v), want[1] += q * v, want[2] += v * v, terms += fabsl(q * v);
        }
        check(fabsl((long double)l2[i] - want[0]) <= rel * want[0] + abs, "l2_f16", simd->name, dim, i);
        check(fabsl((long double)dot[i] - want[1]) <= rel * terms + abs, "dots_f16", simd->name, dim, i);
        check(fabsl((long double)norm2[i] - want[2]) <= rel * want[2] + abs, "norms_f16", simd->name, dim, i);
    }
    for (size_t i = 0; i < n; i++) {
        int8_t *to = (int8_t *)(maps[i + 1].map + maps[i + 1].page + maps[i + 1].size - dim);
        for (size_t d = 0; d < dim; d++)
            to[d] = (int8_t)(below(3) == 0 ? -128 : (int)below(256) - 128);
        byte[i] = to;
    }
    for (size_t d = 0; d < dim; d++)
        own[d] = (int8_t)(below(3) == 0 ? -128 : (int)below(256) - 128);
    kernels->dots_i8(own, byte, n, dim, dots, norms);
    for (size_t i = 0; i < n; i++) {
        int32_t want[2] = {0};
        for (size_t d = 0; d < dim; d++)
            want[0] += own[d] * byte[i][d], want[1] += byte[i][d] * byte[i][d];
        check(dots[i] == want[0] && norms[i] == want[1], "dots_i8", simd->name, dim, i);
    }
}

static void rows_as_stored_are_summed_and_nothing_else_touched(void **unused)
{
    (void)unused;
    static float of_query[1100];
    guarded maps[10];
    if (emulated_masks) skip();
    begin();
    for (size_t i = 0; i < 10; i++)
        maps[i] = guard(1100);
    query = of_query;
    for (size_t dim = 1; dim <= 1100; dim += dim < 300 ? 1 : 53) {
        if (left_out()) continue;
        for (size_t d = 0; d < dim; d++)
            of_query[d] = uniform();
        for (size_t l = 0; l < nlevels; l++)
            if (levels[l]->stored != NULL) check_stored(levels[l], maps, 1 + below(9), dim);
    }
    check(1, "ran", "-", 0, 0); /* where no level has them */
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(munmap(maps[i].map, maps[i].size + 2 * maps[i].page), 0);
    end("rows_as_stored_are_summed_and_nothing_else_touched");
}

/* ---- first_not_finite, not_below ---- */

static void first_not_finite_finds_each_kind_everywhere(void **unused)
{
    (void)unused;
    const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    const float good[] = {0, -0.0f, FLT_MAX, -FLT_MAX, FLT_MIN, FLT_TRUE_MIN, -FLT_TRUE_MIN, 1};
    float x[150];
    begin();
    for (size_t n = 0; n <= 140; n++) {
        if (left_out()) continue;
        for (size_t l = 0; l < nlevels; l++) {
            size_t shift = below(8);
            for (size_t d = 0; d < 150; d++)
                x[d] = d >= shift && d < shift + n ? good[below(8)] : NAN;
            check(levels[l]->first_not_finite(x + shift, n) == n, "all finite", levels[l]->name, n, n);
            for (size_t at = 0; at < n; at++) {
                float before = x[shift + at];
                uint32_t signalling = 0x7fa00000u | (uint32_t)(draw() << 31);
                if (below(5) == 0)
                    memcpy(&x[shift + at], &signalling, 4);
                else
                    x[shift + at] = bad[below(4)];
                check(levels[l]->first_not_finite(x + shift, n) == at, "one", levels[l]->name, n, at);
                memcpy(&x[shift + at], &before, 4);
            }
            if (n < 2) continue;
            size_t first = below(n - 1);
            x[shift + first] = NAN;
            x[shift + first + 1 + below(n - first - 1)] = INFINITY;
            check(levels[l]->first_not_finite(x + shift, n) == first, "the first", levels[l]->name, n, first);
        }
    }
    end("first_not_finite_finds_each_kind_everywhere");
}

static float odd_value(void)
{
    const float odd[] = {INFINITY, -INFINITY, NAN, 0};
    return below(8) == 0 ? odd[below(4)] : (float)below(9) - 4;
}

static void not_below_agrees_with_plain_comparison(void **unused)
{
    (void)unused;
    begin();
    for (size_t round = 0; round < 4000; round++) {
        float dot[64], plus[64], length[64], a = odd_value(), b = odd_value();
        size_t n = 1 + below(64);
        for (size_t i = 0; i < 64; i++) {
            dot[i] = below(50) == 0 ? FLT_MAX : below(50) == 0 ? -FLT_MAX : odd_value();
            plus[i] = odd_value();
            length[i] = odd_value();
        }
        uint64_t want = 0;
        for (size_t i = 0; i < n; i++) {
            if (!isfinite(dot[i]) || !(dot[i] < (a + plus[i]) + b * length[i])) want |= (uint64_t)1 << i;
        }
        for (size_t l = 0; l < nlevels; l++)
            check(levels[l]->not_below(dot, plus, length, n, a, b) == want, "not_below", levels[l]->name, 0, n);
    }
    end("not_below_agrees_with_plain_comparison");
}

/* ---- bytes ---- */

static uint8_t *panel;
static int8_t *bytes;

/* The code that simd.h promises for each dimension of row i, as signed; returns their sum with a query's bytes. */
static long coded_sum(const pm_simd_codes *facts, size_t i, size_t dim, float offset, const int8_t *with,
                      long double *rest2)
{
    const float inverse = 1 / facts->scale[i];
    long sum = 0;
    *rest2 = 0;
    if (facts->scale[i] == 0) return 0; /* no code */
    for (size_t d = 0; d < dim; d++) {
        const float v = rows[i][d] - offset;
        const float near = nearbyintf(v * inverse), code = near < -128 ? -128 : near > 127 ? 127 : near;
        const long double rest = (long double)v - (long double)facts->scale[i] * (long double)code;
        *rest2 += rest * rest;
        sum += (long)(code + 128) * with[d];
    }
    return sum;
}

static void check_facts(const pm_simd *simd, const pm_simd_codes *facts, size_t i, size_t dim, float offset, bool whole,
                        long double rest2)
{
    const long double rel = (long double)pm_simd_rel_error(dim), abs = (long double)pm_simd_abs_error(dim);
    long double norm2 = 0, sum = 0, terms = 0;
    float most = 0;
    for (size_t d = 0; d < dim; d++) {
        const float v = rows[i][d] - offset;
        norm2 += (long double)v * (long double)v;
        sum += (long double)v;
        terms += fabsl((long double)v);
        most = fmaxf(most, fabsf(v));
    }
    const bool fits = most == 0 || (most >= PM_SIMD_CODES_LEAST && most <= PM_SIMD_CODES_MOST);
    const float scale = !fits ? 0 : most == 0 || (whole && most <= 128) ? 1 : most / 127;
    check(facts->scale[i] == scale, "scale", simd->name, dim, i);
    if (!fits) return;
    check(fabsl((long double)facts->norm2[i] - norm2) <= rel * norm2 + abs, "norm2", simd->name, dim, i);
    check(fabsl((long double)facts->sum[i] - sum) <= rel * terms + abs, "sum", simd->name, dim, i);
    check(fabsl((long double)facts->rest2[i] - rest2) <= rel * rest2 + abs, "rest2", simd->name, dim, i);
}

static double edge_of(const pm_simd_limit *limit, const pm_simd_bounds *bounds, size_t i)
{
    return (double)limit->c + (double)limit->a * (double)bounds->inverse[i] +
           (double)limit->p * (double)bounds->plus[i] - (double)limit->b * (double)bounds->loss[i];
}

/* Bounds that lie a little below or above the sum, and some that are no number. */
static void check_codes(const pm_simd *simd, size_t n, size_t dim, enum kind kind)
{
    enum { QUERIES = 75, FEW = 7 }; /* many: as tiles want them, and some more */
    const size_t stride = (dim + 63) / 64 * 64, nqueries = 1 + below(below(8) == 0 && dim <= 300 ? QUERIES : FEW);
    const float offset = kind == INTEGERS ? (float)(below(3) * 64) - (float)(below(4) == 0) : 0; /* 127: up to 128 */
    const bool whole = below(2) == 0;
    pm_simd_codes facts;
    pm_simd_bounds bounds;
    pm_simd_limit limit[QUERIES];
    uint64_t got[QUERIES + 1], want[QUERIES] = {0};
    memset(bytes, 0, nqueries * stride);
    memset(panel, 0xa5, pm_simd_panel_bytes(dim));
    for (size_t j = 0; j < nqueries; j++)
        for (size_t d = 0; d < dim; d++)
            bytes[j * stride + d] = (int8_t)(below(3) == 0 ? (below(2) == 0 ? -128 : 127) : (int)below(256) - 128);
    simd->pack_codes(rows, n, dim, offset, whole, panel, &facts);
    for (size_t j = 0; j < nqueries; j++)
        limit[j] = (pm_simd_limit){.c = 1000, .a = (float)j, .p = 1, .b = 2};
    for (size_t i = 0; i < 64; i++)
        bounds.inverse[i] = bounds.plus[i] = bounds.loss[i] = i < n ? 0 : NAN;
    for (size_t i = 0; i < n; i++) {
        const size_t j = below(nqueries); /* whose sum the bound is about; the others are compared with it as well */
        long double rest2;
        const long sum = coded_sum(&facts, i, dim, offset, bytes + j * stride, &rest2);
        check_facts(simd, &facts, i, dim, offset, whole, rest2);
        bounds.inverse[i] = (float)below(50);
        bounds.loss[i] = below(20) == 0 ? INFINITY : (float)below(50);
        bounds.plus[i] = (float)(sum + (below(2) == 0 ? 1 : -1) * (long)(1 + labs(sum) / 100000)) - 1000;
        if (below(20) == 0) bounds.plus[i] = NAN;
        bool close = false; /* to a query's bound: which side, rounding decides */
        for (size_t r = 0; facts.scale[i] > 0 && r < nqueries; r++) {
            const double s = (double)coded_sum(&facts, i, dim, offset, bytes + r * stride, &rest2);
            close |= fabs(s - edge_of(&limit[r], &bounds, i)) < fabs(s) * 0x1p-20 + 1e-3;
        }
        if (close) bounds.loss[i] = INFINITY;
    }
    simd->codes_not_below(bytes, stride, nqueries, limit, panel, n, dim, &bounds, got);
    for (size_t j = 0; j < nqueries; j++) {
        for (size_t i = 0; i < n; i++) {
            long double rest2;
            const double s =
                facts.scale[i] > 0 ? (double)coded_sum(&facts, i, dim, offset, bytes + j * stride, &rest2) : 0;
            const double edge = edge_of(&limit[j], &bounds, i);
            if (facts.scale[i] > 0 ? !(s < edge) : (got[j] >> i & 1)) want[j] |= (uint64_t)1 << i;
        }
        check(got[j] == want[j], "codes_not_below", simd->name, dim, j);
    }
}

static void bytes_say_what_they_promise(void **unused)
{
    (void)unused;
    begin();
    for (size_t round = 0; round < 1500; round++) {
        if (left_out()) continue;
        const size_t dim = round < 300 ? round + 1 : below(20) == 0 ? 1 + below(MAX_DIM) : 1 + below(300);
        const enum kind kind = (enum kind)below(KINDS);
        const size_t n = 1 + below(MAX_ROWS);
        fill(n, dim, kind);
        for (size_t l = 0; l < nlevels; l++) {
            check((levels[l]->pack_codes == NULL) == (levels[l]->codes_not_below == NULL), "both", levels[l]->name, 0,
                  0);
            if (levels[l]->pack_codes != NULL) check_codes(levels[l], n, dim, kind);
        }
    }
    end("bytes_say_what_they_promise");
}

/* Every code and every byte of the query at its end: no sum overflows, and none is saturated on the way. */
static void the_largest_sums_of_bytes_are_exact(void **unused)
{
    (void)unused;
    enum { DIM = 65536, ROWS = 5, QUERIES = 32 };
    static const int8_t of_query[] = {-128, 127, 1, -1};
    float *x = malloc(DIM * ROWS * sizeof *x);
    uint8_t *wide = aligned_alloc(64, pm_simd_panel_bytes(DIM));
    int8_t *query_bytes = aligned_alloc(64, DIM * QUERIES);
    assert_true(x != NULL && wide != NULL && query_bytes != NULL);
    begin();
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = x + i * DIM;
        for (size_t d = 0; d < DIM; d++)
            x[i * DIM + d] = i == 0 || (i == 2 && d % 2) || (i == 3 && d % 4 > 1) ? 127 : i == 4 ? 0 : -128;
    }
    for (size_t l = 0; l < nlevels; l++) {
        if (levels[l]->pack_codes == NULL) continue;
        pm_simd_codes facts;
        pm_simd_bounds bounds = {.inverse = {0}};
        levels[l]->pack_codes(rows, ROWS, DIM, 0, true, wide, &facts);
        for (size_t q = 0; q < sizeof of_query; q++) {
            memset(query_bytes, of_query[q], DIM * QUERIES);
            for (size_t i = 0; i < ROWS; i++) {
                long double rest2;
                const float sum = (float)coded_sum(&facts, i, DIM, 0, query_bytes, &rest2);
                uint64_t at[QUERIES];
                pm_simd_limit limit[QUERIES];
                for (size_t j = 0; j < QUERIES; j++)
                    limit[j] = (pm_simd_limit){.c = j % 2 ? nextafterf(sum, INFINITY) : sum};
                for (size_t n = 2; n <= QUERIES; n += QUERIES - 2) {
                    levels[l]->codes_not_below(query_bytes, DIM, n, limit, wide, ROWS, DIM, &bounds, at);
                    for (size_t j = 0; j < n; j++)
                        check((at[j] >> i & 1) == (j % 2 == 0), "largest sums", levels[l]->name, DIM, i);
                }
            }
        }
    }
    check(1, "ran", "-", DIM, 0); /* where no level has bytes */
    free(query_bytes);
    free(wide);
    free(x);
    end("the_largest_sums_of_bytes_are_exact");
}

/* ---- floating-point control ---- */

#if defined(__x86_64__)
#define CONTROL
enum { CONTROL_ODD = 0x8040, CONTROL_MASK = 0xe040, CONTROL_SET = 0xc040 }; /* flush to zero, denormals are zero, up */

static unsigned control(void)
{
    return __builtin_ia32_stmxcsr();
}

static void set_control(unsigned to)
{
    __builtin_ia32_ldmxcsr(to);
}
#elif defined(__aarch64__)
#define CONTROL
enum { CONTROL_ODD = 1 << 24, CONTROL_MASK = 0x1c00000, CONTROL_SET = 0x1400000 }; /* flush to zero, up */

static unsigned control(void)
{
    uint64_t now;
    __asm__ volatile("mrs %0, fpcr" : "=r"(now));
    return (unsigned)now;
}

static void set_control(unsigned to)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)to));
}
#endif

static void the_callers_floating_point_control_is_set_aside(void **unused)
{
    (void)unused;
    float tiny[8] = {FLT_TRUE_MIN, 0, 0, 0, 0, 0, 0, 0}, zero[8] = {0};
    begin();
    double before = pm_exact_l2(tiny, zero, 8);
    assert_int_equal(fesetround(FE_UPWARD), 0);
#ifdef CONTROL
    const unsigned normal = control();
    set_control(normal | CONTROL_ODD);
#endif
    unsigned fp = pm_simd_fp_enter();
    double inside = pm_exact_l2(tiny, zero, 8);
    volatile double one = 1, small = 0x1p-60;
    volatile double sum = one + small; /* stored before the next call, so computed before it */
    pm_simd_fp_leave(fp);
#ifdef CONTROL
    check((control() & CONTROL_MASK) == CONTROL_SET, "restored", "-", 0, 0);
    set_control(normal);
    check(bits_of(inside) == bits_of(before) && before > 0, "denormals kept", "-", 8, 0);
    check(sum == 1, "round to nearest", "-", 0, 0);
#else
    check(inside >= 0 && sum >= 1, "ran", "-", 0, 0);
#endif
    assert_int_equal(fesetround(FE_TONEAREST), 0);
    check(bits_of(pm_exact_l2(tiny, zero, 8)) == bits_of(before), "after", "-", 8, 0);
    end("the_callers_floating_point_control_is_set_aside");
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--emulated-masks") == 0) emulated_masks = strcmp(argv[i + 1], "yes") == 0;
    }
    if (!cases_arguments(argc, argv)) return 2;
    nlevels = pm_simd_levels(levels, sizeof levels / sizeof *levels);
    pool = malloc((MAX_ROWS + 1) * (MAX_DIM + 16) * sizeof *pool);
    panel = aligned_alloc(64, pm_simd_panel_bytes(MAX_DIM));
    bytes = aligned_alloc(64, 8 * (MAX_DIM + 64) / 64 * 64);
    if (pool == NULL || panel == NULL || bytes == NULL) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_found_by_name),
        cmocka_unit_test(sums_are_within_their_bound),
        cmocka_unit_test(rounding_that_adds_up_is_within_the_bound),
        cmocka_unit_test(every_row_count_is_served),
        cmocka_unit_test(overflow_is_never_a_number),
        cmocka_unit_test(canonical_sums_follow_their_definition),
        cmocka_unit_test(canonical_sums_are_fixed_for_ever),
        cmocka_unit_test(nothing_outside_a_vector_is_touched),
        cmocka_unit_test(rows_as_stored_are_summed_and_nothing_else_touched),
        cmocka_unit_test(first_not_finite_finds_each_kind_everywhere),
        cmocka_unit_test(not_below_agrees_with_plain_comparison),
        cmocka_unit_test(bytes_say_what_they_promise),
        cmocka_unit_test(the_largest_sums_of_bytes_are_exact),
        cmocka_unit_test(the_callers_floating_point_control_is_set_aside),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bytes);
    free(panel);
    free(pool);
    return failed;
}
