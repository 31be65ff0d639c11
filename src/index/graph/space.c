/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From vectors to codes. Rows become bytes by one scale (or are bytes), and everything after that is computed from
 * these bytes: links by integers alone, hot codes by operations on single floats, so both have the same bits anywhere.
 *
 * Hot codes are products with a scaled copy of the row, corrected so that a row's product with itself is right, as
 * RaBitQ does (Gao and Long, RaBitQ, 2024), and exact norms beside them. IP becomes L2 by one more dimension, which
 * brings all rows to the same length (Bachrach et al., Speeding up the Xbox recommender system, 2014).
 */
#include <math.h>
#include <string.h>

#include "graph_int.h"

#define ROUND 12582912.0f /* 1.5 * 2^23: what is added to it is rounded */
/* A query farther off than this, in units, is brought nearer on its way to the centre: single floats would not tell
 * rows apart, and their order is the same to less than codes are wrong by. */
#define FAR         0x1p20
#define MOST_UNITS  0x1p24f /* no query has more, unless the mean is none */
#define LEAST_WORTH 0x1p-6  /* of elements from 0 to 255 in PM_WALK_WIDE */

bool graph_shape_of(graph_shape *shape, uint32_t dim, pomai_metric metric, uint32_t variant)
{
    const uint32_t degree = variant & 0xff, lines = variant >> 8 & 0xff;
    const uint32_t known = 0xffff | GRAPH_NIBBLES | GRAPH_PROJECTED | GRAPH_WARMED | GRAPH_EXACT;
    if (metric != POMAI_METRIC_L2 && metric != POMAI_METRIC_IP && metric != POMAI_METRIC_COSINE) return false;
    if (dim < 8 || dim > GRAPH_MAX_DIM || degree < 16 || degree > 128 || degree % 16 != 0 || lines == 0) return false;
    if ((variant & ~known) != 0) return false;
    *shape = (graph_shape){.dim = dim, .degree = degree};
    shape->padded = (uint32_t)pm_align_up(dim + (metric == POMAI_METRIC_IP), 16);
    shape->whole = (uint32_t)pm_align_up(shape->padded, GRAPH_LINE);
    shape->nibbles = (variant & GRAPH_NIBBLES) != 0;
    shape->projected = (variant & GRAPH_PROJECTED) != 0;
    shape->exact = (variant >> 16) == GRAPH_EXACT >> 16;
    shape->turns = (variant & ~(0xffff | GRAPH_PROJECTED)) == (GRAPH_EXACT | GRAPH_NIBBLES | GRAPH_WARMED);
    shape->hot_bytes = lines * GRAPH_LINE;
    if ((variant & GRAPH_EXACT) != 0 &&
        ((!shape->exact && !shape->turns) || metric != POMAI_METRIC_L2 || shape->whole > PM_WALK_ROW))
        return false;
    if (shape->exact && shape->hot_bytes != shape->whole) return false;
    const uint32_t least = shape->exact ? 0 : GRAPH_FLOATS;
    const uint32_t room = (shape->hot_bytes - least) * (shape->nibbles ? 2 : 1) / 16 * 16;
    if (shape->projected != (room < shape->padded)) return false;
    shape->hot = shape->projected ? room : shape->padded;
    if ((variant & GRAPH_WARMED) != 0)
        shape->warm_bytes =
            shape->turns ? shape->whole : (uint32_t)pm_align_up(shape->padded + GRAPH_FLOATS, GRAPH_LINE);
    shape->model_bytes = pm_align_up(sizeof(graph_model) + 2 * shape->padded * sizeof(float), GRAPH_LINE);
    if (shape->projected) shape->model_bytes = graph_plane_at(shape) + shape->hot * (uint64_t)shape->whole;
    return true;
}

bool pm_graph_lengths(uint64_t rows, uint32_t dim, pomai_metric metric, uint32_t variant,
                      uint64_t length[PM_GRAPH_SECTIONS])
{
    graph_shape shape;
    if (rows <= GRAPH_FEW_ENTRIES || rows > GRAPH_MAX_ROWS || !graph_shape_of(&shape, dim, metric, variant))
        return false;
    length[GRAPH_MODEL] = shape.model_bytes;
    length[GRAPH_LINKS] = rows * shape.degree * sizeof(uint32_t);
    length[GRAPH_HOT] = rows * shape.hot_bytes;
    length[GRAPH_ENTRIES] = graph_entry_count(&shape, rows) * (sizeof(uint32_t) + (uint64_t)shape.hot_bytes);
    length[GRAPH_WARM] = rows * shape.warm_bytes;
    length[GRAPH_ORDER] = rows * sizeof(uint32_t);
    length[GRAPH_PLACE] = rows * sizeof(uint32_t);
    length[GRAPH_TABLE] = sizeof(graph_table);
    return true;
}

void graph_space_of(graph_space *space, const pm_graph *graph, const pm_simd *simd)
{
    graph_model model;
    const uint8_t *at = graph->section[GRAPH_MODEL];
    memcpy(&model, at, sizeof model);
    *space = (graph_space){.simd = simd,
                           .metric = graph->metric,
                           .seed = model.seed,
                           .step = model.step,
                           .reach = model.reach,
                           .rest = model.rest};
    (void)graph_shape_of(&space->shape, graph->dim, graph->metric, graph->variant);
    graph_space_place(space, at);
    graph_space_window(space);
}

void graph_space_window(graph_space *space)
{
    space->window = 16;
    while (space->window * 2 <= space->shape.padded)
        space->window *= 2;
}

void graph_space_place(graph_space *space, const uint8_t *model)
{
    const graph_shape *shape = &space->shape;
    const float *floats = (const float *)(const void *)(model + sizeof(graph_model));
    space->centre = floats;
    space->mean = floats + shape->padded;
    if (shape->projected) {
        space->length = space->mean + shape->padded;
        space->offset = space->length + shape->hot;
        space->sum = space->offset + shape->hot;
        space->plane = (const int8_t *)model + graph_plane_at(shape);
    }
}

size_t graph_plane_at(const graph_shape *shape)
{
    return pm_align_up(sizeof(graph_model) + (2 * (size_t)shape->padded + 3 * (size_t)shape->hot) * sizeof(float),
                       GRAPH_LINE);
}

size_t graph_scratch_bytes(const graph_shape *shape)
{
    return pm_align_up((2 * shape->whole + 2 * (size_t)shape->hot) * sizeof(float) + 2 * (size_t)shape->whole,
                       GRAPH_LINE);
}

/* ---- rows ---- */

static double norm2_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t d = 0; d < n; d++)
        sum += (double)x[d] * (double)x[d];
    return sum;
}

void graph_to_units(const graph_space *space, const float *x, float *out)
{
    const graph_shape *shape = &space->shape;
    const uint32_t dim = shape->dim;
    memset(out + dim, 0, (shape->padded - dim) * sizeof *out);
    if (graph_is_raw(space)) {
        memcpy(out, x, dim * sizeof *out);
        return;
    }
    const double norm2 = space->metric == POMAI_METRIC_L2 ? 1 : norm2_of(x, dim);
    const double inverse = space->metric == POMAI_METRIC_COSINE && norm2 > 0 ? 1 / sqrt(norm2) : 1;
    const double scale = 1 / (double)space->step;
    space->simd->quant->centre(x, space->centre, dim, inverse, scale, out);
    if (space->metric == POMAI_METRIC_IP) {
        const double rest = (double)space->reach * (double)space->reach - norm2;
        out[dim] = (float)(((rest > 0 ? sqrt(rest) : 0) - (double)space->centre[dim]) * scale);
    }
    space->simd->quant->rotate(out, shape->padded, space->window, space->seed);
}

/* The sum of (x * inverse - from)^2. */
static double apart(const float *x, const float *from, size_t n, double inverse)
{
    double sum = 0;
    for (size_t d = 0; d < n; d++) {
        const double part = (double)x[d] * inverse - (double)from[d];
        sum += part * part;
    }
    return sum;
}

void graph_query_to_units(const graph_space *space, const float *x, float *out)
{
    const graph_shape *shape = &space->shape;
    const uint32_t dim = shape->dim;
    const double norm2 = space->metric == POMAI_METRIC_L2 ? 1 : norm2_of(x, dim), step = (double)space->step;
    double inverse = 1;
    memset(out + dim, 0, (shape->padded - dim) * sizeof *out);
    if (graph_is_raw(space)) {
        const double far2 = apart(x, space->mean, dim, 1), nearer = far2 > FAR * FAR ? FAR / sqrt(far2) : 1;
        memcpy(out, x, dim * sizeof *out);
        for (uint32_t d = 0; d < dim && nearer < 1; d++)
            out[d] = (float)((double)space->mean[d] + ((double)x[d] - (double)space->mean[d]) * nearer);
        return;
    }
    /* IP: the nearest of a query of any length are the same: it gets that of the rows, and nothing in the last one. */
    if (space->metric != POMAI_METRIC_L2 && norm2 > 0)
        inverse = (space->metric == POMAI_METRIC_IP ? (double)space->reach : 1) / sqrt(norm2);
    const double last = space->metric == POMAI_METRIC_IP ? (double)space->centre[dim] : 0;
    const double far2 = apart(x, space->centre, dim, inverse) + last * last;
    const double scale = far2 > FAR * FAR * step * step ? FAR / sqrt(far2) : 1 / step;
    space->simd->quant->centre(x, space->centre, dim, inverse, scale, out);
    if (space->metric == POMAI_METRIC_IP) out[dim] = (float)(-last * scale);
    space->simd->quant->rotate(out, shape->padded, space->window, space->seed);
}

static float clamp(float x, float most)
{
    return x > most ? most : x < -most ? -most : x == x ? x : 0; /* no number becomes 0 */
}

void graph_to_code(const graph_space *space, const float *x, float *scratch, uint8_t *code)
{
    graph_to_units(space, x, scratch);
    graph_units_to_code(space, scratch, code);
}

void graph_units_to_code(const graph_space *space, float *units, uint8_t *code)
{
    const uint32_t padded = space->shape.padded;
    memset(code + padded, 0, space->shape.whole - padded);
    for (uint32_t d = 0; d < padded; d++)
        units[d] = clamp(units[d], 127.25f);
    space->simd->quant->encode(units, padded, 1, code);
}

/* ---- hot codes ---- */

static void put_floats(uint8_t *end, float add, float mul)
{
    memcpy(end - 8, &add, sizeof add);
    memcpy(end - 4, &mul, sizeof mul);
}

typedef struct fit {
    float scale, product, square; /* sums of x * c and c * c, c the whole numbers less their middle */
} fit;

/* Sums are of eight parts, always in the same order: so one addition need not wait for another. Vectors of gcc and
 * clang, as compilers make none of what is bounded. Dimensions are a multiple of 16. */
typedef float four __attribute__((vector_size(16)));
typedef int32_t four_int __attribute__((vector_size(16)));
enum { PARTS = 8 };

static four four_at(const float *x)
{
    four v;
    memcpy(&v, x, sizeof v);
    return v;
}

static four all_four(float x)
{
    return (four){x, x, x, x};
}

static float sum_of(four a, four b)
{
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((b[0] + b[1]) + (b[2] + b[3]));
}

static float squares_of(const float *x, uint32_t n)
{
    four square[2] = {{0}};
    for (uint32_t d = 0; d < n; d += PARTS)
        for (uint32_t i = 0; i < 2; i++)
            square[i] += four_at(x + d + 4 * i) * four_at(x + d + 4 * i);
    return sum_of(square[0], square[1]);
}

/* The nearest whole numbers, at least 0 and at most `most`. */
static four whole_of(four x, four most)
{
    const four at = (x + ROUND) - ROUND;
    const four_int positive = (four_int)at & (at > 0), beyond = (four)positive > most;
    return (four)((positive & ~beyond) | ((four_int)most & beyond));
}

/* How x is met by whole numbers 0 to most times scale, around the middle. */
static fit fit_of(const float *x, uint32_t n, float scale, float middle, float most)
{
    const four inverse = all_four(1 / scale), half = all_four(middle), limit = all_four(most);
    four product[2] = {{0}}, square[2] = {{0}};
    for (uint32_t d = 0; d < n; d += PARTS)
        for (uint32_t i = 0; i < 2; i++) {
            const four v = four_at(x + d + 4 * i), c = whole_of(v * inverse + half, limit) - half;
            product[i] += v * c;
            square[i] += c * c;
        }
    return (fit){scale, sum_of(product[0], product[1]), sum_of(square[0], square[1])};
}

/* The largest of x, without a sign; *norm2: the sum of squares. */
static float largest_of(const float *x, uint32_t n, float *norm2)
{
    four most[2] = {{0}}, square[2] = {{0}};
    for (uint32_t d = 0; d < n; d += PARTS)
        for (uint32_t i = 0; i < 2; i++) {
            const four v = four_at(x + d + 4 * i), size = (four)((four_int)v & 0x7fffffff);
            const four_int larger = size > most[i];
            most[i] = (four)(((four_int)size & larger) | ((four_int)most[i] & ~larger));
            square[i] += v * v;
        }
    float largest = 0;
    for (uint32_t i = 0; i < PARTS; i++)
        largest = fmaxf(largest, most[i / 4][i % 4]);
    *norm2 = sum_of(square[0], square[1]);
    return largest;
}

/* x as nibbles or bytes with a scale of its own; `outside` is added to its squared length. */
static void encode(const graph_space *space, const float *x, float outside, uint8_t *hot)
{
    static const float parts[] = {1.0f, 0.9f, 0.8f, 0.7f, 0.6f};
    const graph_shape *shape = &space->shape;
    const float most = shape->nibbles ? 15 : 255, middle = most / 2;
    const uint32_t half = shape->hot_bytes - GRAPH_FLOATS;
    float norm2;
    const float largest = largest_of(x, shape->hot, &norm2);
    memset(hot, 0, shape->hot_bytes);
    if (!(largest > 1e-30f)) { /* a scale has an inverse */
        put_floats(hot + shape->hot_bytes, outside, 0);
        return;
    }
    fit best = {0};
    for (size_t i = 0; i < (shape->nibbles ? sizeof parts / sizeof parts[0] : 1); i++) {
        const fit f = fit_of(x, shape->hot, largest * parts[i] / middle, middle, most);
        /* the largest cosine */
        if (i == 0 || f.product * f.product * best.square > best.product * best.product * f.square) best = f;
    }
    const four inverse = all_four(1 / best.scale);
    for (uint32_t d = 0; d < half && d < shape->hot; d += 4) {
        const four low = four_at(x + d) * inverse + all_four(middle);
        four_int c = __builtin_convertvector(whole_of(low, all_four(most)), four_int);
        if (half + d < shape->hot) { /* the first dimensions in low nibbles, the others in high ones */
            const four high = four_at(x + half + d) * inverse + all_four(middle);
            c |= __builtin_convertvector(whole_of(high, all_four(most)), four_int) << 4;
        }
        for (uint32_t i = 0; i < 4; i++)
            hot[d + i] = (uint8_t)c[i];
    }
    put_floats(hot + shape->hot_bytes, norm2 + outside, best.product > 0 ? -2 * norm2 / best.product : 0);
}

/* The row in units, less the mean. */
static float centred(const graph_space *space, const uint8_t *code, float *out)
{
    const float zero = graph_is_raw(space) ? 0 : 128;
    for (uint32_t d = 0; d < space->shape.padded; d++)
        out[d] = (float)code[d] - zero - space->mean[d];
    return squares_of(out, space->shape.padded);
}

/* Products with the plane, of a row, or a query like it. */
static float project_whole(const graph_space *space, const uint8_t *code, float *u)
{
    const graph_shape *shape = &space->shape;
    int32_t *sums = (int32_t *)(void *)(u + shape->hot);
    space->simd->walk->products(code, space->plane, shape->whole, shape->hot, sums);
    for (uint32_t h = 0; h < shape->hot; h++)
        u[h] = ((float)sums[h] - space->offset[h]) * space->length[h];
    return squares_of(u, shape->hot);
}

void graph_hot_code(const graph_space *space, const uint8_t *code, void *scratch, uint8_t *hot)
{
    const graph_shape *shape = &space->shape;
    float *x = scratch;
    if (shape->exact) {
        memcpy(hot, code, shape->hot_bytes);
        return;
    }
    const float norm2 = centred(space, code, x);
    if (!shape->projected) {
        encode(space, x, 0, hot);
        return;
    }
    float *u = x + shape->whole;
    const float inside = project_whole(space, code, u);
    encode(space, u, space->rest * (norm2 > inside ? norm2 - inside : 0), hot);
}

float graph_inside(const graph_space *space, const uint8_t *code, void *scratch)
{
    return project_whole(space, code, scratch);
}

void graph_near_code(const graph_space *space, void *scratch, float inverse, uint8_t *out)
{
    const uint32_t hot = space->shape.hot;
    float *u = (float *)scratch + space->shape.whole;
    for (uint32_t h = 0; h < hot; h++)
        u[h] = clamp(u[h] * inverse, 127.25f);
    memset(out + hot, 0, graph_near_bytes(&space->shape) - hot);
    space->simd->quant->encode(u, hot, 1, out);
}

void graph_warm_code(const graph_space *space, const uint8_t *code, uint8_t *warm)
{
    int32_t norm2 = 0;
    if (space->shape.turns) {
        memcpy(warm, code, space->shape.whole);
        return;
    }
    for (uint32_t d = 0; d < space->shape.padded; d++) {
        const int32_t x = (int32_t)code[d] - 128;
        norm2 += x * x;
    }
    memset(warm, 0, space->shape.warm_bytes);
    memcpy(warm, code, space->shape.padded);
    put_floats(warm + space->shape.warm_bytes, (float)norm2, -2);
}

/* ---- queries ---- */

/* Signed bytes as the kernels want them: for each line those of the low nibbles, then those of the high ones. */
static void hot_bytes_of(const graph_space *space, const float *x, int8_t *scratch, int8_t *bytes, pm_walk_codes *out)
{
    const graph_shape *shape = &space->shape;
    const pm_simd_walk *kernels = space->simd->walk;
    const uint32_t half = shape->hot_bytes - GRAPH_FLOATS;
    int32_t sum;
    memset(bytes, 0, shape->hot_bytes * (shape->nibbles ? 2u : 1u));
    out->query = bytes;
    out->stride = shape->hot_bytes;
    out->nibbles = shape->nibbles;
    if (!shape->nibbles) {
        out->scale = kernels->to_bytes(x, shape->hot, PM_WALK_BYTES, bytes, &sum);
        out->zero = (float)sum * 127.5f;
        return;
    }
    out->scale = kernels->to_bytes(x, shape->hot, PM_WALK_NIBBLES, scratch, &sum);
    out->zero = (float)sum * 7.5f;
    for (uint32_t at = 0; at < half; at += GRAPH_LINE) {
        const uint32_t end = (uint32_t)pm_min_u64(half, at + GRAPH_LINE), high = half + at;
        if (at < shape->hot) memcpy(bytes + 2 * (size_t)at, scratch + at, pm_min_u64(end, shape->hot) - at);
        if (high >= shape->hot) continue;
        memcpy(bytes + 2 * (size_t)at + GRAPH_LINE, scratch + high, pm_min_u64(half + end, shape->hot) - high);
    }
}

/* Products with the plane, of a query as bytes of its own scale, around the mean. */
static float project(const graph_space *space, const float *x, float *u)
{
    const graph_shape *shape = &space->shape;
    const uint32_t padded = shape->padded;
    int32_t *sums = (int32_t *)(void *)(u + shape->hot);
    uint8_t *code = (uint8_t *)(sums + shape->hot);
    int32_t unused;
    memset(code, 0, shape->whole);
    const float worth = space->simd->walk->to_bytes(x, shape->padded, 127, (int8_t *)code, &unused);
    for (uint32_t d = 0; d < padded; d++)
        code[d] ^= 0x80; /* 128 more */
    space->simd->walk->products(code, space->plane, shape->whole, shape->hot, sums);
    for (uint32_t h = 0; h < shape->hot; h++)
        u[h] = ((float)sums[h] - 128 * space->sum[h]) * (space->length[h] * worth);
    return squares_of(u, shape->hot);
}

float graph_hot_query(const graph_space *space, const float *units, const uint8_t *whole, void *scratch,
                      const uint8_t *codes, int8_t *bytes, pm_walk_codes *out)
{
    const graph_shape *shape = &space->shape;
    float *x = scratch, rest = 0;
    int8_t *small = (int8_t *)scratch + graph_scratch_bytes(shape) - shape->whole;
    const float norm2 = space->simd->walk->centre(units, space->mean, shape->padded, x);
    *out = (pm_walk_codes){.codes = codes, .base = norm2};
    if (shape->projected) {
        float *u = x + shape->whole;
        const float inside = whole != NULL ? project_whole(space, whole, u) : project(space, x, u);
        rest = space->rest * (norm2 > inside ? norm2 - inside : 0);
        out->base = inside + rest;
        x = u;
    }
    hot_bytes_of(space, x, small, bytes, out);
    return 2 * rest;
}

void graph_whole_query(const graph_shape *shape, const uint8_t *code, const uint8_t *rows, int8_t *bytes,
                       pm_walk_rows *out)
{
    int16_t *query = (int16_t *)(void *)bytes;
    for (uint32_t d = 0; d < shape->whole; d++)
        query[d] = d < shape->padded ? code[d] : 0;
    *out = (pm_walk_rows){.rows = rows, .query = query, .stride = shape->whole, .whole = true};
}

void graph_wide_query(const graph_shape *shape, const float *units, const uint8_t *rows, int8_t *bytes,
                      pm_walk_rows *out)
{
    int16_t *query = (int16_t *)(void *)bytes;
    double worth = LEAST_WORTH, base = 0;
    for (uint32_t d = 0; d < shape->padded; d++)
        while (fabs((double)clamp(units[d], MOST_UNITS)) > PM_WALK_WIDE * worth)
            worth *= 2;
    const float inverse = (float)(1 / worth);
    memset(query, 0, shape->whole * sizeof *query);
    for (uint32_t d = 0; d < shape->padded; d++) {
        const float at = (clamp(units[d], MOST_UNITS) * inverse + ROUND) - ROUND;
        query[d] = (int16_t)at;
        base += (double)at * (double)at;
    }
    *out = (pm_walk_rows){rows, query, shape->whole, false, 2 * worth, base * worth * worth};
}

void graph_warm_query(const graph_space *space, const float *units, const uint8_t *codes, int8_t *bytes, float *scratch,
                      pm_walk_codes *out, graph_noise *noise)
{
    const graph_shape *shape = &space->shape;
    const pm_simd_walk *kernels = space->simd->walk;
    float *x = scratch, *middle = x + shape->padded;
    int32_t sum;
    for (uint32_t d = 0; d < shape->padded; d++)
        middle[d] = graph_is_raw(space) ? 128 : 0;
    *out = (pm_walk_codes){.codes = codes, .query = bytes, .stride = shape->warm_bytes};
    out->base = kernels->centre(units, middle, shape->padded, x);
    memset(bytes, 0, shape->warm_bytes);
    out->scale = kernels->to_bytes(x, shape->padded, PM_WALK_BYTES, bytes, &sum);
    out->zero = 128.0f * (float)sum;
    float lost2 = 0;
    for (uint32_t d = 0; d < shape->padded; d++) {
        const float lost = x[d] - out->scale * (float)bytes[d];
        lost2 += lost * lost;
    }
    lost2 /= (float)shape->padded;
    noise->shift = 2 * sqrtf(out->base * lost2);
    noise->each = sqrtf(lost2 + (graph_is_raw(space) ? 0 : 1.0f / 12)); /* those of rows are rounded, too */
}
