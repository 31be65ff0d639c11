/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes and searches over them: every level of the kernels gives the same bits, the estimates keep the bounds they
 * state, no neighbour is lost on data made to overflow, and forged codes lead nowhere out of bounds.
 */
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

#include "index/quant/quant.h"
#include "index/quant/quant_int.h"
#include "simd/codes.h"
#include "support/cases.h"
#include "support/crew.h"
#include "support/exact.h"
#include "support/levels.h"
#include "support/no_memory.h"

#define MOST_EFFORT 100.0f
#define DIGEST      0x353e22a0b2284205u /* of codes; changes with the revision of the format only */

/* Nearly normal, deviation 1. */
static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 6; i++)
        sum += uniform();
    return sum * 0.70710678f;
}

/* ---- rows and their codes ---- */

enum kind { NORMAL, CLUSTERED, BYTES, EQUAL, FEW, ZEROS, SCALED, HUGE_ROWS, TINY, MIXED, KINDS };

typedef struct world {
    uint32_t dim;
    uint64_t rows;
    pomai_metric metric;
    float *x;
    uint64_t reads, stop_at; /* a read that fails, counted from 1; 0: none */
    uint64_t appends, stop_append;
    uint8_t *at[PM_QUANT_SECTIONS];
    uint64_t length[PM_QUANT_SECTIONS], filled[PM_QUANT_SECTIONS];
    pm_quant quant;
} world;

static float element(enum kind kind, const float *centre, uint32_t d, float scale)
{
    switch (kind) {
    case CLUSTERED:
        return centre[d] + normal() * 0.25f;
    case BYTES:
        return (float)below(256);
    case EQUAL:
        return centre[d];
    case FEW:
        return (float)below(2) - 0.5f;
    case ZEROS:
        return below(3) == 0 ? uniform() : 0;
    case SCALED:
        return normal() * scale;
    case HUGE_ROWS:
        return uniform() * FLT_MAX;
    case TINY:
        return uniform() * FLT_MIN * 0x1p-10f;
    case MIXED:
        return ldexpf(uniform(), (int)below(250) - 125);
    default:
        return normal();
    }
}

static void fill(enum kind kind, float *x, uint64_t rows, uint32_t dim, const float *centres)
{
    for (uint64_t i = 0; i < rows; i++) {
        const float *centre = centres + (kind == EQUAL ? 0 : below(8)) * dim;
        float scale = powf(10, uniform() * 15);
        for (uint32_t d = 0; d < dim; d++)
            x[i * dim + d] = element(kind, centre, d, scale);
        if (kind == ZEROS && i % 5 == 0) memset(x + i * dim, 0, dim * sizeof *x);
    }
}

static bool read_rows(void *context, uint64_t first, uint32_t n, float *out)
{
    world *w = context;
    assert_true(first < w->rows && n <= w->rows - first);
    memcpy(out, w->x + first * w->dim, (size_t)n * w->dim * sizeof *out);
    return ++w->reads != w->stop_at;
}

static bool append(void *context, uint32_t section, const void *data, size_t bytes)
{
    world *w = context;
    assert_true(section < PM_QUANT_SECTIONS);
    assert_true(bytes <= w->length[section] - w->filled[section]);
    memcpy(w->at[section] + w->filled[section], data, bytes);
    w->filled[section] += bytes;
    return ++w->appends != w->stop_append;
}

static pm_index_source source_of(world *w)
{
    return (pm_index_source){w->rows, w->dim, w->metric, 7, w, read_rows};
}

/* Rows, room for codes, no codes. */
static world new_world(enum kind kind, uint64_t rows, uint32_t dim, pomai_metric metric, uint64_t extra)
{
    world w = {.dim = dim, .rows = rows, .metric = metric};
    float *centres = allocate(8 * dim * sizeof *centres);
    for (size_t i = 0; i < 8 * (size_t)dim; i++)
        centres[i] = normal();
    w.x = allocate((rows + extra) * dim * sizeof *w.x);
    fill(kind, w.x, rows + extra, dim, centres);
    free(centres);
    assert_true(pm_quant_lengths(rows, dim, metric, w.length));
    w.quant = (pm_quant){.rows = rows, .dim = dim, .metric = metric};
    for (size_t i = 0; i < PM_QUANT_SECTIONS; i++)
        w.quant.section[i] = w.at[i] = allocate(w.length[i]);
    return w;
}

/* By one thread, two or three, in turn: the bytes are the same. */
static pomai_status encode(world *w, const pm_simd *level)
{
    static uint32_t turn;
    crew c = {.threads = turn++ % 3 + 1};
    const pm_index_work work = {&c, c.threads > 1 ? crew_run : NULL, NULL};
    pm_index_source source = source_of(w);
    pm_index_sink sink = {w, append};
    memset(w->filled, 0, sizeof w->filled);
    pomai_status status = pm_quant_build(&source, level, &work, &sink);
    if (status == POMAI_OK) status = pm_quant_calibrate(&w->quant, &source, level, &sink);
    return status;
}

static void drop(world *w)
{
    free(w->x);
    for (size_t i = 0; i < PM_QUANT_SECTIONS; i++)
        free(w->at[i]);
}

static double distance(const world *w, const float *q, uint64_t row)
{
    double d = t_distance(w->metric, q, w->x + row * w->dim, w->dim);
    return isnan(d) ? 1 : d; /* the cosine of a zero vector */
}

/* The k-th smallest of them, INFINITY if there is none; k is small, so few come among those that are kept. */
static double smallest(const double *d, uint64_t n, uint32_t k)
{
    double *kept = allocate(k * sizeof *kept), kth;
    for (uint32_t i = 0; i < k; i++)
        kept[i] = (double)INFINITY;
    for (uint64_t i = 0; i < n; i++) {
        if (!(d[i] < kept[k - 1])) continue;
        uint32_t at = k - 1;
        for (; at > 0 && kept[at - 1] > d[i]; at--)
            kept[at] = kept[at - 1];
        kept[at] = d[i];
    }
    kth = kept[k - 1];
    free(kept);
    return kth;
}

/* Distances of all rows into d, and the k-th smallest of those of `among` (NULL: of all); INFINITY if there is none. */
static double kth_of(const world *w, const float *q, uint32_t k, const uint64_t *among, double *d)
{
    double *some = allocate(w->rows * sizeof *some);
    uint64_t n = 0;
    for (uint64_t i = 0; i < w->rows; i++) {
        d[i] = distance(w, q, i);
        if (among == NULL || (among[i / 64] >> (i % 64) & 1) != 0) some[n++] = d[i];
    }
    double kth = smallest(some, n, k);
    free(some);
    return kth;
}

/* All candidates of a query, as a search would ask for them: the bound is what it has found by then, or INFINITY. */
static size_t collect(const world *w, pm_quant_query *query, const uint64_t *among, double bound, uint32_t *out)
{
    size_t n = 0;
    for (uint64_t row = 0; row < w->rows;) {
        uint64_t step = row == 0 ? 64 : PM_QUANT_STEP;
        uint32_t some = (uint32_t)(w->rows - row < step ? w->rows - row : step);
        uint32_t *found = allocate(some * sizeof *found);
        size_t got = among == NULL ? pm_quant_scan(query, row, some, bound, found)
                                   : pm_quant_scan_some(query, row, some, among + row / 64, bound, found);
        for (size_t i = 0; i < got; i++) {
            assert_true(found[i] >= row && found[i] < row + some && (i == 0 || found[i] > found[i - 1]));
            out[n++] = found[i];
        }
        free(found);
        row += some;
    }
    return n;
}

static void *room(const world *w, uint32_t k)
{
    size_t size = pm_quant_query_size(&w->quant, k);
    assert_true(size > 0 && size % 64 == 0);
    return allocate(size);
}

/* ---- kernels ---- */

static void same_bytes(const void *a, const void *b, size_t n, const char *what, const char *level, size_t dim)
{
    check(memcmp(a, b, n) == 0, what, level, (uint32_t)dim, 0);
}

static void compare_bits(const pm_simd_quant *scalar, const pm_simd_quant *level, size_t dim)
{
    enum { BLOCKS = 3 };
    size_t block = 4 * dim + PM_CODES_FACTOR;
    uint8_t *table = allocate(4 * dim), *blocks = allocate(BLOCKS * block);
    uint32_t want[BLOCKS], got[BLOCKS];
    bool full = below(2) == 0; /* every entry the largest: sums of 16 bits at their ends */
    for (size_t i = 0; i < 4 * dim; i++)
        table[i] = full ? 255 : (uint8_t)draw();
    for (size_t i = 0; i < BLOCKS * block; i++)
        blocks[i] = (uint8_t)draw();
    for (size_t b = 0; b < BLOCKS; b++) {
        for (size_t r = 0; r < 32; r++) {
            float add = below(20) == 0 ? INFINITY : below(20) == 0 ? NAN : uniform() * (float)dim;
            memcpy(blocks + b * block + 4 * r, &add, 4);
            uint32_t factors = (uint32_t)(0x3c00 + below(0x300)) << 16 | (uint32_t)(0x3c00 + below(0x300));
            memcpy(blocks + b * block + 128 + 4 * r, &factors, 4);
        }
    }
    pm_simd_bits query = {dim, table, 1.0f / 64, uniform(), 1 + uniform()};
    for (size_t i = 0; i < 20; i++) {
        float limit = i == 0 ? INFINITY : i == 1 ? -INFINITY : uniform() * (float)dim;
        scalar->bits_near(&query, blocks, BLOCKS, limit, want);
        level->bits_near(&query, blocks, BLOCKS, limit, got);
        same_bytes(want, got, sizeof want, "bits_near", level->name, dim);
    }
    free(table);
    free(blocks);
}

static void compare_bytes(const pm_simd_quant *scalar, const pm_simd_quant *level, size_t dim)
{
    enum { ROWS = 5 };
    size_t code = (dim + 63) / 64 * 64;
    int16_t *wide = allocate(code * sizeof *wide);
    int8_t *split = allocate(2 * code);
    const uint8_t *rows[ROWS];
    int32_t want[ROWS], got[ROWS], limit = (int32_t)(INT32_MAX / 255 / code);
    bool full = below(2) == 0;
    if (limit > PM_CODES_QUERY_MAX) limit = PM_CODES_QUERY_MAX;
    for (size_t d = 0; d < code; d++) {
        int value = d >= dim ? 0 : full ? limit : (int)below(2 * (size_t)limit + 1) - limit;
        int low = (int8_t)(uint8_t)(value & 255);
        wide[d] = (int16_t)value;
        split[d / 64 * 128 + d % 64] = (int8_t)((value - low) / 256);
        split[d / 64 * 128 + 64 + d % 64] = (int8_t)low;
    }
    uint8_t *codes = allocate(ROWS * code);
    for (size_t i = 0; i < ROWS * code; i++)
        codes[i] = full ? 255 : (uint8_t)draw();
    for (size_t i = 0; i < ROWS; i++)
        rows[i] = codes + i * code;
    pm_simd_bytes query = {code, wide, split};
    scalar->bytes_dot(&query, rows, ROWS, want);
    level->bytes_dot(&query, rows, ROWS, got);
    same_bytes(want, got, sizeof want, "bytes_dot", level->name, dim);
    free(wide);
    free(split);
    free(codes);
}

static void compare_floats(const pm_simd_quant *scalar, const pm_simd_quant *level, size_t dim)
{
    size_t window = 16;
    while (window * 2 <= dim)
        window *= 2;
    float *x = allocate(dim * sizeof *x), *c = allocate(dim * sizeof *x), *a = allocate(dim * sizeof *x),
          *b = allocate(dim * sizeof *x);
    uint8_t *p = allocate(4 * dim), *q = allocate(4 * dim);
    double want[2], got[2];
    for (size_t d = 0; d < dim; d++) {
        x[d] = below(50) == 0 ? (float)below(300) : normal();
        c[d] = normal();
    }
    scalar->centre(x, c, dim, 0.3, 0x1p-3, a);
    level->centre(x, c, dim, 0.3, 0x1p-3, b);
    same_bytes(a, b, dim * sizeof *a, "centre", level->name, dim);
    scalar->rotate(a, dim, window, 9);
    level->rotate(b, dim, window, 9);
    same_bytes(a, b, dim * sizeof *a, "rotate", level->name, dim);
    float most = scalar->facts(a, dim, want), other = level->facts(a, dim, got);
    same_bytes(&most, &other, sizeof most, "largest", level->name, dim);
    same_bytes(want, got, sizeof want, "facts", level->name, dim);
    scalar->encode(a, dim, 127 / most, p);
    level->encode(a, dim, 127 / most, q);
    same_bytes(p, q, dim, "encode", level->name, dim);
    scalar->tables(a, dim, 127.5f / (4 * most), p);
    level->tables(a, dim, 127.5f / (4 * most), q);
    same_bytes(p, q, 4 * dim, "tables", level->name, dim);
    for (size_t d = 0; d < dim; d++)
        x[d] = (float)below(256);
    check(scalar->integers(x, dim, p) && level->integers(x, dim, q), "integers", level->name, (uint32_t)dim, 0);
    same_bytes(p, q, dim, "integers", level->name, dim);
    static const float none[] = {256, -1, 0.5f, 1e30f, -1e30f, NAN, INFINITY, FLT_MIN};
    x[below(dim)] = none[below(8)];
    check(!scalar->integers(x, dim, p) && !level->integers(x, dim, q), "no integers", level->name, (uint32_t)dim, 0);
    free(x), free(c), free(a), free(b), free(p), free(q);
}

static void kernels_of_every_level_give_the_same_bits(void **unused)
{
    (void)unused;
    begin();
    for (size_t l = 0; l < nlevels; l++) {
        const pm_simd_quant *table = levels[l]->quant;
        for (size_t i = 0; i < 90; i++) {
            size_t dim = 16 * (i < 60 ? i + 1 : i == 60 ? 4096 : 1 + below(300));
            compare_bits(levels[0]->quant, table, dim);
            compare_bytes(levels[0]->quant, table, dim);
            compare_floats(levels[0]->quant, table, dim);
        }
        printf("  %s: %s\n", levels[l]->name, table->name);
    }
    end("kernels_of_every_level_give_the_same_bits");
}

/* A rotation keeps lengths and angles, and spreads a single element over all. */
static void rotation_keeps_lengths_and_spreads(void **unused)
{
    (void)unused;
    begin();
    for (uint32_t dim = 16; dim <= 2112; dim += 16) {
        const pm_simd_quant *codes = levels[nlevels - 1]->quant;
        size_t window = 16;
        while (window * 2 <= dim)
            window *= 2;
        float *x = allocate(dim * sizeof *x), *y = allocate(dim * sizeof *y), most = 0;
        for (uint32_t d = 0; d < dim; d++) {
            x[d] = d == dim - 1 ? 1 : 0;
            y[d] = normal();
        }
        double before = t_dot(y, y, dim), dot = (double)y[dim - 1];
        codes->rotate(x, dim, window, dim);
        codes->rotate(y, dim, window, dim);
        for (uint32_t d = 0; d < dim; d++)
            most = fabsf(x[d]) > most ? fabsf(x[d]) : most;
        check(fabs(t_dot(x, x, dim) - 1) < 1e-5, "length of one", codes->name, dim, 0);
        check(fabs(t_dot(y, y, dim) - before) < 1e-5 * before, "length", codes->name, dim, 0);
        check(fabs(t_dot(x, y, dim) - dot) < 1e-4 * sqrt(before), "angle", codes->name, dim, 0);
        check(most < 6 / sqrtf((float)dim), "spread", codes->name, dim, 0);
        free(x), free(y);
    }
    end("rotation_keeps_lengths_and_spreads");
}

/* ---- codes ---- */

static const uint32_t dims[] = {16,  17,  31,  32,  33,  48,  63,  64,  65,  96,  100, 112,  127, 128,
                                129, 160, 191, 192, 200, 255, 256, 257, 299, 300, 784, 1000, 4100};
#define DIMS (sizeof dims / sizeof *dims)

static void codes_and_candidates_are_the_same_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < DIMS * 3; i += share) {
        pomai_metric metric = (pomai_metric)(1 + i % 3);
        uint32_t dim = dims[i / 3];
        uint64_t rows = dim > 500 ? 70 : 100 + below(900);
        enum kind kind = (enum kind)below(KINDS);
        uint8_t *copy[PM_QUANT_SECTIONS];
        world w = new_world(kind, rows, dim, metric, 3);
        uint32_t *want = allocate(rows * sizeof *want), *got = allocate(rows * sizeof *got);
        assert_int_equal(encode(&w, levels[0]), POMAI_OK);
        for (size_t s = 0; s < PM_QUANT_SECTIONS; s++) {
            check(w.filled[s] == w.length[s], "length", "scalar", dim, rows);
            memcpy(copy[s] = allocate(w.length[s]), w.at[s], w.length[s]);
        }
        check(pm_quant_is_sound(&w.quant), "sound", "scalar", dim, rows);
        for (size_t l = 0; l < nlevels; l++) {
            assert_int_equal(encode(&w, levels[l]), POMAI_OK);
            for (size_t s = 0; s < PM_QUANT_SECTIONS; s++)
                check(memcmp(copy[s], w.at[s], w.length[s]) == 0, "section", levels[l]->name, dim, rows);
            for (uint64_t q = rows; q < rows + 3; q++) {
                void *memory = room(&w, 5);
                const float *x = w.x + q * dim;
                size_t n = collect(&w, quant_query_make(memory, &w.quant, levels[0], x, 5, 1), NULL, INFINITY, want);
                size_t m = collect(&w, quant_query_make(memory, &w.quant, levels[l], x, 5, 1), NULL, INFINITY, got);
                check(n == m && memcmp(want, got, n * sizeof *want) == 0, "candidates", levels[l]->name, dim, rows);
                free(memory);
            }
        }
        for (size_t s = 0; s < PM_QUANT_SECTIONS; s++)
            free(copy[s]);
        free(want), free(got);
        drop(&w);
    }
    end("codes_and_candidates_are_the_same_at_every_level");
}

/* Nor does the compiler: files of another build are read. */
static void codes_are_what_they_always_were(void **unused)
{
    (void)unused;
    uint64_t digest = 0;
    begin();
    cases_rng.state = 1;
    for (size_t i = 0; i < 12; i++) {
        world w = new_world(i % 4 == 3 ? BYTES : CLUSTERED, 700, dims[i * 2], (pomai_metric)(1 + i % 3), 0);
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t s = 0; s < PM_QUANT_SECTIONS; s++)
            digest = pm_hash_bytes(w.at[s], w.length[s], digest);
        drop(&w);
    }
    printf("  digest 0x%llx\n", (unsigned long long)digest);
    check(digest == DIGEST, "digest", levels[nlevels - 1]->name, 0, 0);
    end("codes_are_what_they_always_were");
}

static void the_callers_rounding_does_not_matter(void **unused)
{
    (void)unused;
    begin();
    world w = new_world(CLUSTERED, 500, 100, POMAI_METRIC_COSINE, 1);
    const pm_simd *level = levels[nlevels - 1];
    uint32_t want[500], got[500];
    uint8_t *copy[PM_QUANT_SECTIONS];
    void *memory = room(&w, 5);
    assert_int_equal(encode(&w, level), POMAI_OK);
    size_t n = collect(&w, quant_query_make(memory, &w.quant, level, w.x + 500 * 100, 5, 1), NULL, INFINITY, want);
    for (size_t s = 0; s < PM_QUANT_SECTIONS; s++)
        memcpy(copy[s] = allocate(w.length[s]), w.at[s], w.length[s]);
    fesetround(FE_UPWARD);
    pomai_status status = encode(&w, level);
    size_t m = collect(&w, quant_query_make(memory, &w.quant, level, w.x + 500 * 100, 5, 1), NULL, INFINITY, got);
    fesetround(FE_TONEAREST);
    assert_int_equal(status, POMAI_OK);
    for (size_t s = 0; s < PM_QUANT_SECTIONS; s++) {
        check(memcmp(copy[s], w.at[s], w.length[s]) == 0, "section", level->name, 100, 500);
        free(copy[s]);
    }
    check(n == m && memcmp(want, got, n * sizeof *want) == 0, "candidates", level->name, 100, 500);
    free(memory);
    drop(&w);
    end("the_callers_rounding_does_not_matter");
}

static void whole_numbers_are_kept_as_they_are(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 12; i++) {
        uint32_t dim = dims[below(DIMS - 3)];
        uint64_t rows = 1200 + below(500);
        world w = new_world(BYTES, rows, dim, POMAI_METRIC_L2, 1);
        bool spoilt = i % 2 == 1; /* one element of one row, perhaps not of the sample */
        if (spoilt) w.x[below(rows * dim)] = 0.5f;
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        quant_model model;
        memcpy(&model, w.at[QUANT_MODEL], sizeof model);
        check((model.flags & QUANT_LOSSLESS) == (spoilt ? 0 : QUANT_LOSSLESS), "flag", "", dim, rows);
        for (uint64_t row = 0; row < rows && !spoilt; row++) {
            const uint8_t *code = w.at[QUANT_BYTES] + row / 8 * quant_eight_bytes(model.padded) +
                                  row % 8 * quant_code_bytes(model.padded);
            int same = 1;
            for (uint32_t d = 0; d < dim; d++)
                same &= (float)code[d] == w.x[row * dim + d];
            check(same, "code", "", dim, rows);
        }
        drop(&w);
    }
    end("whole_numbers_are_kept_as_they_are");
}

/* ---- recall ---- */

/* Rows estimated nearer than they are by chance: half of them at no effort, and few beyond the margin of an effort. */
static void estimates_keep_the_bound_they_state(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 36; i++) {
        pomai_metric metric = (pomai_metric)(1 + i % 3);
        uint32_t dim = dims[5 + i * 7 % (DIMS - 6)];
        uint64_t rows = 600, at_none = 0, at_one = 0, beyond = 0, all = 0, never = 0;
        world w = new_world(i % 2 == 0 ? NORMAL : CLUSTERED, rows, dim, metric, 8);
        void *memory = room(&w, 1);
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        for (uint64_t q = rows; q < rows + 8; q++) {
            const float *x = w.x + q * dim;
            pm_quant_query *query = quant_query_make(memory, &w.quant, levels[nlevels - 1], x, 1, 0);
            for (uint64_t row = 0; row < rows; row++, all++) {
                double effort = quant_query_effort(query, row, distance(&w, x, row));
                at_none += effort <= 0;
                at_one += effort <= 1;
                beyond += effort > 1.9;
                never += effort == (double)INFINITY;
            }
        }
        check(at_none > all * 40 / 100 && at_none < all * 60 / 100, "unbiased", "", dim, at_none);
        check(at_one > all * 76 / 100, "one deviation", "", dim, at_one);
        check(beyond < all * 6 / 100, "1.9 deviations", "", dim, beyond);
        check(never <= all / 1000, "bytes", "", dim, never);
        free(memory);
        drop(&w);
    }
    end("estimates_keep_the_bound_they_state");
}

static void recall_is_what_was_asked_for(void **unused)
{
    (void)unused;
    static const float targets[] = {0.8f, 0.85f, 0.95f};
    begin();
    for (size_t i = 0; i < 12; i += share) {
        pomai_metric metric = (pomai_metric)(1 + i % 3);
        uint32_t dim = i < 6 ? 64 : 100, ks[] = {1, 10, 30};
        enum { ROWS = 6000, QUERIES = 60 };
        world w = new_world(i % 2 == 0 ? CLUSTERED : NORMAL, ROWS, dim, metric, QUERIES);
        uint32_t *candidates = allocate(ROWS * sizeof *candidates);
        double *all = allocate((size_t)QUERIES * ROWS * sizeof *all);
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        for (uint64_t asked = 0; asked < QUERIES; asked++)
            for (uint64_t row = 0; row < ROWS; row++)
                all[asked * ROWS + row] = distance(&w, w.x + (ROWS + asked) * dim, row);
        for (size_t j = 0; j < 9; j++) {
            uint32_t k = ks[j / 3], found = 0;
            void *memory = room(&w, k);
            float expected = 0;
            size_t offered = 0;
            for (uint64_t q = ROWS; q < ROWS + QUERIES; q++) {
                const float *x = w.x + q * dim;
                pm_quant_query *query =
                    pm_quant_query_init(memory, &w.quant, levels[nlevels - 1], x, k, targets[j % 3], &expected);
                assert_non_null(query);
                const double *d = all + (q - ROWS) * ROWS, kth = smallest(d, ROWS, k);
                size_t n = collect(&w, query, NULL, INFINITY, candidates);
                for (size_t c = 0; c < n; c++)
                    found += d[candidates[c]] <= kth;
                offered += n;
            }
            check(found >= (double)(k * QUERIES) * ((double)targets[j % 3] - 0.05), "recall", "", dim, found);
            check(expected >= targets[j % 3] && expected <= 1, "expected", "", dim, k);
            check(offered < (size_t)QUERIES * (64 + 12 * k), "candidates", "", dim, offered);
            free(memory);
        }
        check(pm_quant_best_recall(&w.quant, 10) > 0.99f, "best", "", dim, ROWS);
        float expected;
        check(pm_quant_query_init(w.x, &w.quant, levels[0], w.x, 10, 0.9999f, &expected) == NULL, "too much", "", dim,
              0);
        free(candidates), free(all);
        drop(&w);
    }
    end("recall_is_what_was_asked_for");
}

/* A step through cases: a share meets all kinds of rows. */
static size_t few(void)
{
    return share > 1 ? 7 : 1;
}

static int by_row(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* As collect, of rows that are listed, in any order; candidates in that of rows. */
static size_t collect_listed(const world *w, pm_quant_query *query, const uint64_t *among, double bound,
                             uint32_t *candidates)
{
    uint32_t *list = allocate(w->rows * sizeof *list), n = 0;
    for (uint32_t row = 0; row < w->rows; row++) {
        if (among != NULL && (among[row / 64] >> (row % 64) & 1) == 0) continue;
        const size_t at = below(n + 1);
        list[n] = list[at];
        list[at] = row;
        n++;
    }
    const size_t found = pm_quant_scan_listed(query, list, n, bound, candidates);
    qsort(candidates, found, sizeof *candidates, by_row);
    free(list);
    return found;
}

/* With every effort no neighbour is lost, whatever overflows or underflows. */
static void no_neighbour_is_lost_at_full_effort(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < KINDS * 24; i += few()) {
        enum kind kind = (enum kind)(i % KINDS), other = below(3) == 0 ? (enum kind)below(KINDS) : kind;
        pomai_metric metric = (pomai_metric)(1 + i / KINDS % 3);
        uint32_t dim = dims[below(DIMS - 3)], k = 1 + (uint32_t)below(20);
        uint64_t rows = 1 + below(i % 3 == 0 ? 40 : 900);
        world w = new_world(kind, rows, dim, metric, 2);
        if (other != kind) { /* queries of another kind */
            float *centres = allocate(8 * dim * sizeof *centres);
            memset(centres, 0, 8 * dim * sizeof *centres);
            fill(other, w.x + rows * dim, 2, dim, centres);
            free(centres);
        }
        uint32_t *candidates = allocate(rows * sizeof *candidates);
        uint64_t *among = allocate((rows + 63) / 64 * sizeof *among);
        double *d = allocate(rows * sizeof *d);
        void *memory = room(&w, k);
        assert_int_equal(encode(&w, levels[below(nlevels)]), POMAI_OK);
        check(pm_quant_is_sound(&w.quant), "sound", "", dim, rows);
        for (uint64_t q = 0; q < 6; q++) {
            const float *x = w.x + (q < 2 ? rows + q : below(rows)) * dim;
            const pm_simd *level = levels[below(nlevels)];
            for (uint64_t j = 0; j < (rows + 63) / 64; j++)
                among[j] = draw() & draw();
            bool some = q % 2 == 1;
            double kth = kth_of(&w, x, k, some ? among : NULL, d);
            for (int sure = 0; sure < 3; sure++) { /* 2: listed */
                pm_quant_query *query = sure > 0 ? pm_quant_query_init_sure(memory, &w.quant, level, x, k)
                                                 : quant_query_make(memory, &w.quant, level, x, k, MOST_EFFORT);
                const double bound = q < 3 ? kth : (double)INFINITY;
                size_t n = sure < 2 ? collect(&w, query, some ? among : NULL, bound, candidates)
                                    : collect_listed(&w, query, some ? among : NULL, bound, candidates);
                size_t at = 0;
                bool lost = false, wrong = false;
                for (uint64_t row = 0; row < rows; row++) {
                    bool counts = !some || (among[row / 64] >> (row % 64) & 1) != 0;
                    bool offered = at < n && candidates[at] == row;
                    at += offered;
                    lost = lost || (counts && d[row] <= kth && !offered);
                    wrong = wrong || (offered && !counts);
                }
                check(!lost, sure > 0 ? "surely lost" : "lost", level->name, dim, rows * 100 + kind);
                check(!wrong, "not among", level->name, dim, rows);
            }
        }
        free(memory), free(candidates), free(among), free(d);
        drop(&w);
    }
    end("no_neighbour_is_lost_at_full_effort");
}

/* The row that the rotation makes o of. */
static void unrotate(const quant_space *space, const float *o, float *x)
{
    float *axis = allocate(space->dim * sizeof *axis), *turned = allocate(space->padded * sizeof *turned);
    for (uint32_t d = 0; d < space->dim; d++) {
        double sum = 0;
        for (uint32_t i = 0; i < space->dim; i++)
            axis[i] = space->centre[i] + (i == d ? (float)(1 / space->scale) : 0);
        quant_rotate(space, axis, 1, turned);
        for (uint32_t i = 0; i < space->padded; i++)
            sum += (double)turned[i] * (double)o[i];
        x[d] = (float)((double)space->centre[d] + sum / space->scale);
    }
    free(axis), free(turned);
}

/* Rows that codes are as wrong about as can be, in all dimensions, and queries in the direction in which that counts.
 */
static void the_worst_rounding_is_allowed_for(void **unused)
{
    (void)unused;
    enum { ROWS = 512, WORST = 64 };
    static const uint32_t lengths[] = {16, 48, 64, 112, 128, 256};
    begin();
    for (size_t i = 0; i<24; i += share> 1 ? 5 : 1) { /* all but one of the lengths, both metrics */
        const uint32_t dim = lengths[i % 6];
        const pm_simd *level = levels[below(nlevels)];
        world w = new_world(NORMAL, ROWS, dim, i / 6 % 2 == 0 ? POMAI_METRIC_L2 : POMAI_METRIC_IP, 0);
        float *q = allocate((size_t)WORST * dim * sizeof *q), *o = allocate(2 * dim * sizeof *o), *towards = o + dim;
        uint32_t *candidates = allocate(ROWS * sizeof *candidates);
        void *memory = room(&w, ROWS);
        for (size_t row = ROWS / 2; row < ROWS; row++) /* their mean is nothing, and stays so */
            for (uint32_t d = 0; d < dim; d++)
                w.x[row * dim + d] = -w.x[(row - ROWS / 2) * dim + d];
        assert_int_equal(encode(&w, level), POMAI_OK);
        quant_space space;
        quant_space_of(&space, &w.quant, level);
        for (size_t row = 0; row < WORST; row++) {
            const float step = 2.0f / sqrtf((float)dim) / 127;
            for (uint32_t d = 0; d < dim; d++) {
                const float odd = below(2) == 0 ? 0.48f : -0.48f;
                o[d] = ((float)below(200) - 100 + odd) * step;
                towards[d] = (odd > 0) == (row % 2 == 0) ? 1.0f : -1.0f;
            }
            o[below(dim)] = 127 * step;
            unrotate(&space, o, w.x + row * dim);
            unrotate(&space, towards, q + row * dim);
            for (uint32_t d = 0; d < dim; d++)
                w.x[(row + ROWS / 2) * dim + d] = -w.x[row * dim + d];
        }
        assert_int_equal(encode(&w, level), POMAI_OK);
        for (size_t row = 0; row < WORST; row++) {
            pm_quant_query *query = pm_quant_query_init_sure(memory, &w.quant, level, q + row * dim, ROWS);
            const size_t n = collect(&w, query, NULL, distance(&w, q + row * dim, row), candidates);
            bool found = false;
            for (size_t c = 0; c < n; c++)
                found = found || candidates[c] == row;
            check(found, "the worst", level->name, dim, row);
        }
        free(q), free(o), free(candidates), free(memory);
        drop(&w);
    }
    end("the_worst_rounding_is_allowed_for");
}

/* Every row as near as the k-th is a candidate of a sure query, by the query's own bound and by the caller's. */
static void none_is_left_out(const world *w, const float *x, uint32_t k, const char *what)
{
    uint32_t *candidates = allocate(w->rows * sizeof *candidates);
    double *d = allocate(w->rows * sizeof *d);
    void *memory = room(w, k);
    const double kth = kth_of(w, x, k, NULL, d);
    for (int given = 0; given < 2; given++) {
        const pm_simd *level = levels[below(nlevels)];
        pm_quant_query *query = pm_quant_query_init_sure(memory, &w->quant, level, x, k);
        const size_t n = collect(w, query, NULL, given == 1 ? kth : (double)INFINITY, candidates);
        size_t at = 0, lost = 0;
        for (uint64_t row = 0; row < w->rows; row++) {
            const bool offered = at < n && candidates[at] == row;
            at += offered;
            lost += d[row] <= kth && !offered;
        }
        check(lost == 0, what, level->name, w->dim, lost);
    }
    free(candidates), free(d), free(memory);
}

/* The same of the three queries that lie behind the rows, for some k and at some level; the world ends with it. */
static void none_is_lost(world *w, const char *what)
{
    assert_int_equal(encode(w, levels[below(nlevels)]), POMAI_OK);
    for (uint64_t q = w->rows; q < w->rows + 3; q++)
        none_is_left_out(w, w->x + q * w->dim, 1 + (uint32_t)below(20), what);
    drop(w);
}

/* Whose integer falls short of it by as much as can be, near `middle` integers and a half. */
static float falls_short(float middle, float scale, double *by)
{
    const float inverse = 1 / scale;
    float x = (middle + 0.5f) * scale * (1 - 0x1p-21f), best = x;
    for (*by = -1; x < (middle + 0.5f) * scale * (1 + 0x1p-21f); x = nextafterf(x, INFINITY)) {
        const float part = x * inverse;
        const double short_by = (double)x / (double)scale - (double)(int)(part + copysignf(0.5f, part));
        if (short_by > *by) best = x;
        if (short_by > *by) *by = short_by;
    }
    return best;
}

/* A query that single floats take to be nearer to the integer below it, in all dimensions. */
static void rounding_to_integers_is_allowed_for(void **unused)
{
    (void)unused;
    enum { ROWS = 64 };
    begin();
    for (size_t i = 0; i < 60; i++) {
        const uint32_t dim = 64;
        world w = new_world(BYTES, ROWS, dim, POMAI_METRIC_IP, 1);
        float *q = w.x + ROWS * dim;
        uint32_t candidates[ROWS];
        void *memory = room(&w, ROWS);
        const float most = ldexpf(1 + (uniform() + 1) / 2, (int)below(20));
        const float scale = most / PM_CODES_QUERY_MAX;
        for (uint32_t d = 0; d < dim; d++) {
            double by;
            w.x[7 * dim + d] = 255;
            const float middle = (float)(28000 + below(4000));
            q[d] = falls_short(middle, scale, &by);
            if (d % 2 == 1) q[d] = 0; /* a half of it is of the other sign */
        }
        for (uint32_t d = 1; d < dim; d += 2)
            for (int step = 0; step < 400; step++) {
                const float x = -q[d - 1] * (1 + (float)(step - 200) * 0x1p-23f), part = x * (1 / scale);
                const double by = (double)x / (double)scale - (double)(int)(part + copysignf(0.5f, part));
                const float last = q[d] == 0 ? -q[d - 1] : q[d], was = last * (1 / scale);
                if (q[d] == 0 || by > (double)last / (double)scale - (double)(int)(was + copysignf(0.5f, was)))
                    q[d] = x;
            }
        q[0] = most;
        q[1] = -most;
        assert_int_equal(encode(&w, levels[below(nlevels)]), POMAI_OK);
        const pm_simd *level = levels[below(nlevels)];
        pm_quant_query *query = pm_quant_query_init_sure(memory, &w.quant, level, q, ROWS);
        const size_t n = collect(&w, query, NULL, distance(&w, q, 7), candidates);
        bool found = false;
        for (size_t c = 0; c < n; c++)
            found = found || candidates[c] == 7;
        check(found, "falls short", level->name, dim, i);
        free(memory);
        drop(&w);
    }
    end("rounding_to_integers_is_allowed_for");
}

/* Rows of one direction, or nearly: what tells their distances apart is the rounding of doubles. */
static void rows_of_one_direction_are_not_lost(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 120; i += few()) {
        const uint32_t dim = dims[below(DIMS - 3)];
        const uint64_t rows = 200 + below(500);
        world w = new_world(NORMAL, rows, dim, POMAI_METRIC_COSINE, 3);
        const bool ones = i % 2 == 0;
        const float noise = i % 4 < 2 ? 0 : ldexpf(1, -(int)below(40));
        for (uint64_t row = 1; row < rows + 3; row++) {
            const float length = i % 3 == 0 ? (float)(1 + row) : 2 + uniform();
            for (uint32_t d = 0; d < dim; d++)
                w.x[row * dim + d] = length * (ones ? 1 : w.x[d]) + noise * w.x[row * dim + d];
        }
        if (ones) memcpy(w.x, w.x + dim, dim * sizeof *w.x);
        none_is_lost(&w, "one direction");
    }
    end("rows_of_one_direction_are_not_lost");
}

/* Two elements of each row and of the query are so large, and their products cancel out, that doubles lose the rest. */
static void products_that_cancel_out_lose_no_row(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 120; i += few()) {
        const uint32_t dim = 16 * (1 + (uint32_t)below(8));
        const uint64_t rows = 200 + below(500);
        const float large = ldexpf(1, 20 + (int)below(29));
        world w = new_world(NORMAL, rows, dim, i % 3 == 0 ? POMAI_METRIC_COSINE : POMAI_METRIC_IP, 3);
        for (uint64_t row = 0; row < rows + 3; row++) {
            float *x = w.x + row * dim;
            for (uint32_t d = 0; d < dim && row >= rows; d++)
                x[d] = x[d] * large / 64;
            for (uint32_t d = 0; d < dim && row < rows; d++)
                x[d] /= sqrtf((float)dim);
            x[0] = large;
            x[1] = row < rows ? large : -large;
        }
        none_is_lost(&w, "cancel out");
    }
    end("products_that_cancel_out_lose_no_row");
}

/* Rows so small beside the largest ones that their factors have few digits or none. */
static void the_smallest_of_floats_lose_no_row(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 240; i += few()) {
        const uint32_t dim = dims[below(DIMS - 6)];
        const uint64_t rows = 200 + below(500);
        world w = new_world(NORMAL, rows, dim, (pomai_metric)(1 + i % 2), 3);
        const float large = powf(10, 17 + (float)below(80) / 10);
        for (uint32_t d = 0; d < dim; d++) {
            w.x[d] *= large;
            w.x[dim + d] = -w.x[d];
        }
        none_is_lost(&w, i % 2 == 0 ? "small L2" : "small IP");
    }
    end("the_smallest_of_floats_lose_no_row");
}

/* One row of a length that the scale, taken from a sample, does not foresee. */
static void a_row_beyond_all_others_is_found(void **unused)
{
    (void)unused;
    enum { ROWS = 3000 };
    begin();
    for (size_t i = 0; i < 18; i++) {
        uint32_t dim = i % 2 == 0 ? 48 : 64;
        uint64_t far = below(ROWS);
        world w = new_world(NORMAL, ROWS, dim, (pomai_metric)(1 + i % 3), 1);
        uint32_t *candidates = allocate(ROWS * sizeof *candidates);
        double *d = allocate(ROWS * sizeof *d);
        void *memory = room(&w, 1);
        for (uint32_t j = 0; j < dim; j++)
            w.x[far * dim + j] = uniform() * (i % 4 < 2 ? FLT_MAX : 1e20f);
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t q = 0; q < 2; q++) {
            const float *x = w.x + (q == 0 ? far : ROWS) * dim;
            double kth = kth_of(&w, x, 1, NULL, d);
            pm_quant_query *query = quant_query_make(memory, &w.quant, levels[nlevels - 1], x, 1, MOST_EFFORT);
            size_t n = collect(&w, query, NULL, INFINITY, candidates), near = 0;
            for (size_t c = 0; c < n; c++)
                near += d[candidates[c]] <= kth;
            check(near > 0, "lost", "", dim, far);
        }
        free(memory), free(candidates), free(d);
        drop(&w);
    }
    end("a_row_beyond_all_others_is_found");
}

/* A bound leaves out what is far beyond it. */
static void a_bound_leaves_out_what_is_beyond(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 6; i++) {
        enum { ROWS = 5000 };
        uint32_t dim = i < 3 ? 112 : 128;
        world w = new_world(NORMAL, ROWS, dim, (pomai_metric)(1 + i % 3), 1);
        uint32_t *candidates = allocate(ROWS * sizeof *candidates);
        double *d = allocate(ROWS * sizeof *d);
        void *memory = room(&w, 10);
        const float *x = w.x + ROWS * (size_t)dim;
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        double kth = kth_of(&w, x, 10, NULL, d);
        size_t n =
            collect(&w, quant_query_make(memory, &w.quant, levels[nlevels - 1], x, 10, 5), NULL, kth, candidates);
        check(n >= 10 && n <= 15, "near", "", dim, n);
        n = collect(&w, quant_query_make(memory, &w.quant, levels[nlevels - 1], x, 10, 5), NULL, -1e3, candidates);
        check(n == 0, "none", "", dim, n);
        n = collect(&w, pm_quant_query_init_sure(memory, &w.quant, levels[nlevels - 1], x, 10), NULL, kth, candidates);
        check(n >= 10 && n <= 60, "surely near", "", dim, n);
        free(memory), free(candidates), free(d);
        drop(&w);
    }
    end("a_bound_leaves_out_what_is_beyond");
}

/* ---- damage, limits ---- */

static void forged_codes_lead_nowhere(void **unused)
{
    (void)unused;
    uint64_t refused = 0;
    begin();
    for (size_t i = 0; i < 4; i++) {
        uint32_t dim = i % 2 == 0 ? 100 : 128;
        uint64_t rows = 333;
        world w = new_world(i < 2 ? NORMAL : BYTES, rows, dim, (pomai_metric)(1 + i % 3), 1);
        uint32_t candidates[333];
        void *memory = room(&w, 7);
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t j = 0; j < 1500; j++) {
            size_t s = below(PM_QUANT_SECTIONS), flips = 1 + below(4), where[4];
            uint8_t before[4];
            for (size_t f = 0; f < flips; f++) {
                where[f] = below(j % 2 == 0 && w.length[s] > 64 ? 64 : w.length[s]);
                before[f] = w.at[s][where[f]];
                w.at[s][where[f]] ^= (uint8_t)(1 + below(255));
            }
            cases++;
            float expected = 0;
            bool sound = pm_quant_is_sound(&w.quant);
            refused += !sound;
            const float recall = below(2) == 0 ? 0.8f : 0.9f;
            pm_quant_query *query = !sound ? NULL
                                           : pm_quant_query_init(memory, &w.quant, levels[below(nlevels)],
                                                                 w.x + rows * dim, 7, recall, &expected);
            if (query != NULL) (void)collect(&w, query, NULL, j % 3 == 0 ? 1.0 : (double)INFINITY, candidates);
            if (sound) check(pm_quant_best_recall(&w.quant, 5) <= 1, "best", "", dim, rows);
            for (size_t f = flips; f-- > 0;)
                w.at[s][where[f]] = before[f];
        }
        check(pm_quant_is_sound(&w.quant), "sound again", "", dim, rows);
        pm_quant other = w.quant;
        other.dim += 16;
        check(!pm_quant_is_sound(&other), "another dim", "", dim, rows);
        other = w.quant;
        other.rows++;
        check(!pm_quant_is_sound(&other), "another number of rows", "", dim, rows);
        other = w.quant;
        other.section[1]++;
        check(!pm_quant_is_sound(&other), "not aligned", "", dim, rows);
        free(memory);
        drop(&w);
    }
    printf("  %llu refused\n", (unsigned long long)refused);
    check(refused > 1000, "refused", "", 0, refused);
    end("forged_codes_lead_nowhere");
}

static void lengths_are_refused_or_right(void **unused)
{
    (void)unused;
    uint64_t length[PM_QUANT_SECTIONS];
    begin();
    check(!pm_quant_lengths(0, 100, POMAI_METRIC_L2, length), "no rows", "", 100, 0);
    check(!pm_quant_lengths(((uint64_t)1 << 28) + 1, 100, POMAI_METRIC_L2, length), "too many", "", 100, 0);
    check(!pm_quant_lengths(10, 15, POMAI_METRIC_L2, length), "too short", "", 15, 10);
    check(!pm_quant_lengths(10, POMAI_MAX_DIM + 1, POMAI_METRIC_L2, length), "too long", "", 0, 10);
    check(!pm_quant_lengths(10, 100, (pomai_metric)9, length), "metric", "", 0, 10);
    check(pm_quant_lengths((uint64_t)1 << 28, POMAI_MAX_DIM, POMAI_METRIC_IP, length), "largest", "", 0, 0);
    check(length[1] > (uint64_t)1 << 41 && length[2] > (uint64_t)1 << 44, "lengths", "", 0, 0);
    for (size_t i = 0; i < 6; i++) {
        uint32_t dim = i < 2 ? 65536 : dims[below(DIMS)];
        uint64_t rows = 1 + below(40);
        world w = new_world(i == 1 ? BYTES : NORMAL, rows, dim, POMAI_METRIC_L2, 0);
        assert_int_equal(encode(&w, levels[nlevels - 1]), POMAI_OK);
        for (size_t s = 0; s < PM_QUANT_SECTIONS; s++)
            check(w.filled[s] == w.length[s], "filled", "", dim, rows);
        uint32_t candidates[40];
        void *memory = room(&w, 1);
        pm_quant_query *query = quant_query_make(memory, &w.quant, levels[nlevels - 1], w.x, 1, 4);
        check(collect(&w, query, NULL, INFINITY, candidates) >= 1 && candidates[0] == 0, "itself", "", dim, rows);
        free(memory);
        drop(&w);
    }
    end("lengths_are_refused_or_right");
}

static void stops_and_missing_memory_are_reported(void **unused)
{
    (void)unused;
    begin();
    world w = new_world(NORMAL, 300, 64, POMAI_METRIC_L2, 0);
    pm_index_source source = source_of(&w);
    pm_index_sink sink = {&w, append};
    assert_int_equal(encode(&w, levels[0]), POMAI_OK);
    uint64_t reads = w.reads, appends = w.appends;
    for (uint64_t i = 1; i <= reads + appends; i += few()) {
        w.reads = w.appends = 0;
        w.stop_at = i <= reads ? i : 0;
        w.stop_append = i <= reads ? 0 : i - reads;
        check(encode(&w, levels[0]) == POMAI_EDEADLINE, "stop", "", 64, i);
    }
    w.stop_at = w.stop_append = 0;
    pm_malloc_fails = fails;
    for (fails_at = 1, allocations = 0; fails_at <= 12; fails_at++, allocations = 0) {
        pomai_status status = encode(&w, levels[0]);
        if (allocations < fails_at) break;
        check(status == POMAI_ENOMEM, "memory", "", 64, fails_at);
    }
    pm_malloc_fails = NULL;
    check(fails_at == 11, "allocations", "", 64, fails_at);
    source.dim = 8;
    check(pm_quant_build(&source, levels[0], NULL, &sink) == POMAI_EINVAL, "dim", "", 8, 300);
    drop(&w);
    end("stops_and_missing_memory_are_reported");
}

int main(int argc, char **argv)
{
    if (!cases_arguments(argc, argv)) return 2;
    nlevels = pm_simd_levels(levels, sizeof levels / sizeof *levels);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_of_every_level_give_the_same_bits),
        cmocka_unit_test(rotation_keeps_lengths_and_spreads),
        cmocka_unit_test(codes_and_candidates_are_the_same_at_every_level),
        cmocka_unit_test(codes_are_what_they_always_were),
        cmocka_unit_test(the_callers_rounding_does_not_matter),
        cmocka_unit_test(whole_numbers_are_kept_as_they_are),
        cmocka_unit_test(estimates_keep_the_bound_they_state),
        cmocka_unit_test(recall_is_what_was_asked_for),
        cmocka_unit_test(no_neighbour_is_lost_at_full_effort),
        cmocka_unit_test(the_worst_rounding_is_allowed_for),
        cmocka_unit_test(rounding_to_integers_is_allowed_for),
        cmocka_unit_test(rows_of_one_direction_are_not_lost),
        cmocka_unit_test(products_that_cancel_out_lose_no_row),
        cmocka_unit_test(the_smallest_of_floats_lose_no_row),
        cmocka_unit_test(a_row_beyond_all_others_is_found),
        cmocka_unit_test(a_bound_leaves_out_what_is_beyond),
        cmocka_unit_test(forged_codes_lead_nowhere),
        cmocka_unit_test(lengths_are_refused_or_right),
        cmocka_unit_test(stops_and_missing_memory_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
