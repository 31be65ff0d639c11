/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A first look at many queries in bytes. Products of bytes are exact and four times as many to an instruction as those
 * of floats; what is lost by the coding is known for each row and each query, so the proof that a row is too far stays
 * a proof, and answers stay exact.
 *
 * With x' = x - o and q' = q - o for an offset o of all, X = s (code - 128) and Q = t (byte) their coded values:
 *      q'x' = QX + Q(x' - X) + (q' - Q)x',  so  |q'x' - QX| <= |Q| |x' - X| + |q' - Q| |x'|         (Cauchy-Schwarz)
 * and, with r the largest |q' - Q| / |Q| of the group, at most |Q| (|x' - X| + r |x'|) =: |Q| loss(x). Then a row is
 * beyond the k-th distance c if
 *      L2      QX + |Q| loss < (|q'|^2 - c) / 2 + |x'|^2 / 2
 *      IP      QX + |Q| loss < 1 - c - o sum(q') - o^2 dim - o sum(x')
 *      cosine  QX + |Q| loss < (1 - c) |q| |x|                                              (o = 0)
 * Divided by s and t each has the form of pm_simd.codes_not_below: the sum of codes times bytes, less than
 *      c + a / s + p plus + -b loss / s,  c = 128 sum(bytes), a and p and b of the query, plus of the row.
 * Numbers in float are lowered or raised as in flat.c (proof 3), by SLACK of their magnitudes, and the floats x' count
 * as coded values of the true x'. Rows of whole numbers within a byte have loss 0, with o = 128 if they are 0 to 255.
 *
 * When the codes decide too little (rows far from the origin and near each other, or a few huge elements), the group
 * goes on without them.
 */
#include "flat_int.h"

#include <assert.h>
#include <string.h>

enum {
    LEAST_QUERIES = 16, /* fewer do not pay for the coding of the rows */
    SAMPLE_ROWS = 16,   /* of the first tile, from which the offset is chosen */
    TRIAL_TILES = 32,   /* of so many tiles it is asked whether the codes decided enough: */
    LEAST_GAIN = 32,    /* all but one in so many rows; */
    SETTLED = 256,      /* once there were so many times k rows, of which few become one of the k */
};

#define SLACK      PM_FLAT_SLACK
#define FLOAT_STEP 0x1p-22 /* more than what a rounding to float loses, relatively */

enum state { NEW, CODED, FLOATS };

/* What is fixed of a coded query. */
typedef struct coded {
    double norm2;     /* of q - o */
    double sum;       /* of q - o */
    double step;      /* t */
    double length;    /* |Q| / t: of its bytes */
    double bytes;     /* sum of the bytes */
    double magnitude; /* sum of their absolute values */
} coded;

struct pm_flat_group {
    pm_flat_query *const *query;
    size_t n, dim, stride;
    const pm_simd *simd;
    pomai_metric metric;
    enum state state;
    bool whole;
    float offset;
    double rest;         /* r */
    double rel, abs;     /* of the kernels */
    uint64_t seen, open; /* rows times queries of this trial, and those of them that stayed undecided */
    uint32_t tiles;
    coded *coded;
    pm_simd_limit *limit;
    uint64_t *not_below;
    int8_t *bytes;
    uint8_t *panel;
    pm_simd_codes codes;
    pm_simd_bounds bounds;
};

/* ---- memory ---- */

static size_t rounded(size_t size)
{
    return (size + PM_FLAT_LINE - 1) / PM_FLAT_LINE * PM_FLAT_LINE;
}

static bool may_code(const pm_simd *simd, size_t n)
{
    return simd->pack_codes != NULL && n >= LEAST_QUERIES;
}

size_t pm_flat_group_size(const pm_simd *simd, size_t nqueries, size_t dim)
{
    size_t each = sizeof(coded) + sizeof(pm_simd_limit) + sizeof(uint64_t), all;
    const size_t fixed = rounded(sizeof(pm_flat_group)) + 4 * PM_FLAT_LINE;
    if (!may_code(simd, nqueries)) return fixed;
    if (dim > SIZE_MAX / 2 / PM_SIMD_TILE || __builtin_add_overflow(each, rounded(dim), &each) ||
        __builtin_mul_overflow(each, nqueries, &all) ||
        __builtin_add_overflow(all, fixed + pm_simd_panel_bytes(dim), &all))
        return 0;
    return all / PM_FLAT_LINE * PM_FLAT_LINE;
}

static void *take(char **memory, size_t size)
{
    void *taken = *memory;
    *memory += rounded(size);
    return taken;
}

pm_flat_group *pm_flat_group_init(void *memory, pm_flat_query *const *queries, size_t nqueries)
{
    char *at = memory;
    assert((uintptr_t)memory % PM_FLAT_LINE == 0 && nqueries > 0);
    pm_flat_group *g = take(&at, sizeof *g);
    *g = (pm_flat_group){.query = queries, .n = nqueries, .dim = queries[0]->dim, .simd = queries[0]->simd};
    g->metric = queries[0]->metric;
    g->rel = queries[0]->rel + FLOAT_STEP; /* that x - o is rounded */
    g->abs = queries[0]->abs;
    g->stride = rounded(g->dim);
    g->state = may_code(g->simd, nqueries) && g->rel <= PM_FLAT_REL_MAX ? NEW : FLOATS;
    if (g->state == FLOATS) return g;
    g->bytes = take(&at, g->stride * nqueries);
    g->panel = take(&at, pm_simd_panel_bytes(g->dim));
    g->coded = take(&at, sizeof *g->coded * nqueries);
    g->limit = take(&at, sizeof *g->limit * nqueries);
    g->not_below = take(&at, sizeof *g->not_below * nqueries);
    return g;
}

/* ---- coding the queries ---- */

/* Whole numbers are coded without loss; what is never negative is moved to the middle. */
static void choose_offset(pm_flat_group *g, const pm_flat_tile *tile)
{
    float least = INFINITY, most = -INFINITY;
    bool whole = true;
    for (size_t i = 0; i < tile->n && i < SAMPLE_ROWS; i++) {
        const float *x = tile->vector[i];
        for (size_t d = 0; d < g->dim; d++) {
            least = fminf(least, x[d]);
            most = fmaxf(most, x[d]);
            whole = whole && x[d] >= -128 && x[d] <= 255 && x[d] == (float)(int)x[d];
        }
    }
    g->whole = whole;
    if (g->metric == POMAI_METRIC_COSINE || least < 0)
        g->offset = 0;
    else if (g->whole)
        g->offset = most > 127 ? 128 : 0;
    else if (g->metric == POMAI_METRIC_L2 && most <= PM_SIMD_CODES_MOST)
        g->offset = most / 2;
}

/* The nearest whole number, ties to even, of less than 2^51. */
static double nearest(double v)
{
    return (v + 0x1.8p52) - 0x1.8p52;
}

/* false: its magnitude is out of range. */
static bool code_query(pm_flat_group *g, size_t j)
{
    const float *q = g->query[j]->vector;
    int8_t *to = g->bytes + j * g->stride;
    coded *c = &g->coded[j];
    const double o = (double)g->offset;
    double most = 0, least = 0, rest2 = 0, length2 = 0;
    bool whole = g->whole;
    *c = (coded){0};
    for (size_t d = 0; d < g->dim; d++) {
        const double v = (double)q[d] - o;
        most = v > most ? v : most;
        least = v < least ? v : least;
        whole = whole && v == nearest(v);
        c->norm2 += v * v;
        c->sum += v;
    }
    whole = whole && least >= -128 && most <= 127;
    most = most > -least ? most : -least;
    if (most != 0 && (most < (double)PM_SIMD_CODES_LEAST || most > (double)PM_SIMD_CODES_MOST)) return false;
    c->step = most == 0 || whole ? 1 : most / 127;
    memset(to, 0, g->stride);
    for (size_t d = 0; d < g->dim; d++) {
        const double v = (double)q[d] - o, byte = nearest(v / c->step), rest = v - byte * c->step;
        to[d] = (int8_t)byte; /* within -128 to 127, as v / step is at most 127 but for roundings */
        rest2 += rest * rest;
        length2 += byte * byte;
        c->bytes += byte;
        c->magnitude += fabs(byte);
    }
    c->length = sqrt(length2);
    if (rest2 > 0) g->rest = fmax(g->rest, sqrt(rest2) / (c->length * c->step) * (1 + SLACK));
    return true;
}

/* ---- what the conditions need ---- */

/* The condition of query j, from its k-th hit. */
static void set_limit(pm_flat_group *g, size_t j)
{
    const pm_flat_query *q = g->query[j];
    const coded *c = &g->coded[j];
    const double o = (double)g->offset, shift = o * c->sum + o * o * (double)g->dim;
    double a = 0, p = 1 - FLOAT_STEP, kth;
    pm_simd_limit *limit = &g->limit[j];
    *limit = (pm_simd_limit){.a = -INFINITY};
    if (!pm_flat_has_kth(q)) return;
    kth = q->kth;
    if (g->metric == POMAI_METRIC_L2) {
        a = (c->norm2 - kth) / 2 - SLACK * (c->norm2 + fabs(kth));
    } else if (g->metric == POMAI_METRIC_IP) {
        a = 1 - kth - shift - SLACK * (1 + fabs(kth) + fabs(o * c->sum) + o * o * (double)g->dim);
    } else {
        p = (1 - kth - SLACK * (1 + fabs(kth))) * sqrt(c->norm2);
        p -= fabs(p) * (4 * g->rel + SLACK);
    }
    const double sum = 128 * c->bytes;
    limit->c = pm_flat_below(sum - FLOAT_STEP * (fabs(sum) + 255 * c->magnitude));
    limit->a = pm_flat_below(a / c->step);
    limit->p = pm_flat_below(p / c->step);
    limit->b = (float)(c->length * (1 + SLACK));
}

/* Of the rows of the panel. */
static void set_bounds(pm_flat_group *g, size_t n)
{
    const float rel = (float)g->rel, abs = (float)g->abs, slack = (float)SLACK, o = g->offset;
    const float rest = (float)(g->rest * (1 + SLACK)), dim = (float)g->dim;
    for (size_t i = 0; i < n; i++) {
        const float scale = g->codes.scale[i], norm2 = g->codes.norm2[i];
        const float upper = sqrtf(norm2 * (1 + 2 * rel) + abs) * (1 + slack);
        if (!(scale > 0)) {
            g->bounds.inverse[i] = g->bounds.plus[i] = 0;
            g->bounds.loss[i] = INFINITY; /* nothing is proved */
            continue;
        }
        const float inverse = 1 / scale;
        float loss = sqrtf(g->codes.rest2[i] * (1 + 2 * rel) + abs), plus;
        if (norm2 == 0) loss = 0; /* its code is exact */
        loss += upper * (rest + (float)FLOAT_STEP);
        if (g->metric == POMAI_METRIC_L2) {
            plus = (norm2 * (1 - 2 * rel) - abs) / 2;
            plus -= fabsf(plus) * slack;
        } else if (g->metric == POMAI_METRIC_IP) {
            plus = -o * g->codes.sum[i];
            plus -= fabsf(plus) * slack + o * 2 * rel * sqrtf(dim) * upper;
        } else {
            plus = sqrtf(norm2);
        }
        g->bounds.inverse[i] = inverse;
        g->bounds.plus[i] = plus * inverse;
        g->bounds.loss[i] = loss * inverse * (1 + slack);
    }
}

/* ---- offers ---- */

static void begin(pm_flat_group *g, const pm_flat_tile *tile)
{
    choose_offset(g, tile);
    g->state = CODED;
    for (size_t j = 0; j < g->n && g->state == CODED; j++)
        if (!code_query(g, j)) g->state = FLOATS;
    for (size_t j = 0; j < g->n && g->state == CODED; j++) {
        pm_flat_catch_up(g->query[j]);
        set_limit(g, j);
    }
}

static void offer_undecided(pm_flat_group *g, size_t j, const pm_flat_tile *tile, pm_flat_facts *facts)
{
    pm_flat_query *q = g->query[j];
    uint64_t rows = g->not_below[j];
    const bool asked = pm_flat_has_kth(q); /* else codes had nothing to go by */
    pm_flat_catch_up(q);
    if (!pm_flat_has_kth(q)) {
        rows = pm_flat_fill(q, tile, facts);
    } else if (asked) {
        g->open += (uint64_t)__builtin_popcountll(rows);
    }
    if (rows != 0 && g->metric == POMAI_METRIC_L2) rows = pm_flat_l2_undecided(q, tile, rows);
    pm_flat_offer_rows(q, tile, rows, facts);
    set_limit(g, j);
}

/* Goes on without codes if they do not pay. */
static void judge(pm_flat_group *g, size_t rows)
{
    g->seen += rows * g->n;
    if (++g->tiles % TRIAL_TILES != 0) return;
    if (g->tiles / (SETTLED / PM_FLAT_TILE) >= g->query[0]->k && g->open > g->seen / LEAST_GAIN) g->state = FLOATS;
    g->seen = g->open = 0;
}

static void offer_coded(pm_flat_group *g, const pm_flat_tile *tile)
{
    pm_flat_facts facts;
    facts.has_norm2 = facts.has_vector = 0;
    g->simd->pack_codes(tile->vector, tile->n, g->dim, g->offset, g->whole, g->panel, &g->codes);
    set_bounds(g, tile->n);
    g->simd->codes_not_below(g->bytes, g->stride, g->n, g->limit, g->panel, tile->n, g->dim, &g->bounds, g->not_below);
    for (size_t j = 0; j < g->n; j++)
        if (g->not_below[j] != 0) offer_undecided(g, j, tile, &facts);
    judge(g, tile->n);
}

void pm_flat_group_offer(pm_flat_group *g, const pm_flat_tile *tile)
{
    assert(tile->n <= PM_FLAT_TILE);
    if (tile->n == 0) return;
    pm_flat_tile copy;
    unsigned fp = pm_simd_fp_enter();
    if (g->state != FLOATS) tile = pm_flat_decode(tile, g->dim, &copy);
    if (g->state == NEW) begin(g, tile);
    if (g->state == CODED)
        offer_coded(g, tile);
    else
        pm_flat_offer(g->query, g->n, tile);
    pm_simd_fp_leave(fp);
}
