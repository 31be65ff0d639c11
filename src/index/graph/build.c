/* SPDX-License-Identifier: Apache-2.0 */
/* From rows to a graph: what docs/format/graph.md says of sections 0 to 4. */
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "graph_build.h"

enum { SAMPLE = 4096, READ_BYTES = 1 << 22, READ_PIECES = 16, PIECE_ROWS = 512 };
enum {
    ONE_LINE = 112,        /* dimensions of a line of nibbles beside two floats */
    MOST_LINES = 3,        /* of a projection, */
    ALL_LINES = 368,       /* and their dimensions */
    WORTH_MORE = 16,       /* rows for each dimension, from which on more than one is looked at */
    PROJECTED_FROM = 2048, /* more dimensions cost too much to decompose */
    WORTH_WARM = 256,      /* dimensions from which a code of all of them is cheaper to read than the vector */
    EXACT_MOST = 128,      /* up to which whole numbers are codes themselves */
    FEW_LEADERS = 4,       /* to which a row goes while it is linked */
    MANY_LEADERS = 12,
    FEW_LINKS = 32,
    MANY_LINKS = 64,
    EXACT_LINKS = 48, /* as good, where codes are exact, or turned from */
    FEW_SLACK = 264,  /* of 256 */
    MANY_SLACK = 282,
};
#define APPEND_BYTES ((uint64_t)8 << 20) /* at once */
#define BROAD        12.0
/* Of the variance: the deviation of the products that a projection leaves out, which it is wrong by. */
#define WORTH_PROJECTING 0.008
/* The same, of what near rows differ by: few directions may tell clusters apart, and all dimensions the rows of one. */
#define WORTH_OF_GAP (1.0 / 3)
#define REST_WEIGHT  0.3f /* of what a projection leaves out of a row: part of it is the query's, too */

#ifdef POMAI_TEST_HOOKS
uint32_t pm_graph_forced_variant;
#endif

static uint64_t sample_row(const pm_index_source *source, uint64_t i, uint64_t samples)
{
    const uint64_t from = source->rows * i / samples, to = source->rows * (i + 1) / samples;
    return from + pm_mix64(source->seed ^ pm_mix64(i)) % (to - from);
}

static double norm2_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t d = 0; d < n; d++)
        sum += (double)x[d] * (double)x[d];
    return sum;
}

/* The greatest length of all rows: a longer one would be farther than it is, and its products are the greatest. */
static bool find_reach(pm_graph_builder *b)
{
    const pm_index_source *source = b->source;
    double reach2 = 0;
    for (uint64_t row = 0; row < source->rows; row += b->batch) {
        const uint32_t n = (uint32_t)pm_min_u64(b->batch, source->rows - row);
        if (!builder_go_on(b) || !source->read(source->context, row, n, b->rows)) return false;
        for (uint32_t i = 0; i < n; i++) {
            const float *x = b->rows + (size_t)i * source->dim;
            reach2 = fmax(reach2, b->simd->exact_dot(x, x, source->dim));
        }
    }
    b->space.reach = (float)fmin(sqrt(reach2), (double)FLT_MAX);
    return true;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of a sorted sample, the last that is not among the one in a hundred that may be outliers. */
static uint64_t most_of(uint64_t samples)
{
    return (samples - 1) * 99 / 100;
}

/* The mean again, of the rows of the sample that are not far from it: a single one may have taken it where none is. */
static bool leave_out_outliers(pm_graph_builder *b, uint64_t samples)
{
    const pm_index_source *source = b->source;
    double *far2 = (double *)(void *)b->codes, *sorted = far2 + samples; /* codes are not needed yet */
    uint64_t kept = 0;
    for (uint64_t i = 0; i < samples; i++) {
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        far2[i] = b->simd->exact_l2(b->rows, b->centre, source->dim);
    }
    memcpy(sorted, far2, samples * sizeof *sorted);
    qsort(sorted, samples, sizeof *sorted, by_value);
    const double limit = 16 * sorted[most_of(samples)];
    if (sorted[samples - 1] <= limit) return true;
    memset(b->sum, 0, source->dim * sizeof *b->sum);
    for (uint64_t i = 0; i < samples; i++) {
        if (far2[i] > limit) continue;
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        for (uint32_t d = 0; d < source->dim; d++)
            b->sum[d] += (double)b->rows[d];
        kept++;
    }
    for (uint32_t d = 0; d < source->dim; d++)
        b->centre[d] = (float)(b->sum[d] / (double)kept);
    return true;
}

/* The mean of the sample, and whether it is of bytes. */
static bool look_at_sample(pm_graph_builder *b, uint64_t samples, bool *raw)
{
    const pm_index_source *source = b->source;
    const uint32_t dim = source->dim;
    double *sum = b->sum, rests = 0;
    memset(sum, 0, (dim + 1) * sizeof *sum);
    *raw = source->metric == POMAI_METRIC_L2;
    for (uint64_t i = 0; i < samples; i++) {
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        const double norm2 = norm2_of(b->rows, dim);
        const double inverse = source->metric == POMAI_METRIC_COSINE && norm2 > 0 ? 1 / sqrt(norm2) : 1;
        *raw = *raw && b->simd->quant->integers(b->rows, dim, b->code);
        for (uint32_t d = 0; d < dim; d++) {
            const double part = (double)b->rows[d] * inverse;
            sum[d] = sum[d] + part;
        }
    }
    for (uint32_t d = 0; d < dim; d++)
        b->centre[d] = (float)(sum[d] / (double)samples);
    if (source->metric == POMAI_METRIC_L2 && !*raw) return leave_out_outliers(b, samples);
    if (source->metric != POMAI_METRIC_IP) return true;
    if (!find_reach(b)) return false;
    for (uint64_t i = 0; i < samples; i++) {
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        const double rest = (double)b->space.reach * (double)b->space.reach - norm2_of(b->rows, dim);
        rests += rest > 0 ? sqrt(rest) : 0;
    }
    b->centre[dim] = (float)(rests / (double)samples);
    return true;
}

/* A step with which the largest element of the rotated sample is 127, but for outliers: one row in a hundred may be cut
 * off, lest a single one take from all others what tells them apart. */
static bool choose_step(pm_graph_builder *b, uint64_t samples)
{
    const pm_index_source *source = b->source;
    double *largest = (double *)(void *)b->codes; /* of each row; not needed yet */
    b->space.step = FLT_MIN;                      /* then one in which nothing overflows or vanishes */
    for (uint64_t i = 0; i < samples && source->metric != POMAI_METRIC_COSINE; i++) {
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        for (uint32_t d = 0; d < source->dim; d++)
            b->space.step = fmaxf(b->space.step, fabsf(b->rows[d]));
    }
    if (source->metric == POMAI_METRIC_COSINE) b->space.step = 1;
    if (source->metric == POMAI_METRIC_IP) b->space.step = fmaxf(b->space.step, b->space.reach);
    for (uint64_t i = 0; i < samples; i++) {
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        graph_to_units(&b->space, b->rows, b->units);
        float own = 0; /* in float: gcc 12 for ARM fails on a vector of the largest as doubles */
        for (uint32_t d = 0; d < b->space.shape.padded; d++)
            own = fmaxf(own, fabsf(b->units[d]));
        largest[i] = (double)own;
    }
    qsort(largest, samples, sizeof *largest, by_value);
    const double most = fmin(largest[samples - 1], 2 * largest[most_of(samples)]);
    const double step = (most > 0 ? most / 127 : 1) * (double)b->space.step;
    b->space.step = (float)fmin(fmax(step, (double)FLT_MIN), (double)FLT_MAX);
    return true;
}

/* A batch of rows that has been read. */
typedef struct batch {
    const pm_graph_builder *b;
    uint64_t first;
    uint32_t rows, each; /* each: of a piece */
    bool raw;
    _Atomic bool other, failed; /* a row is not of bytes; no memory */
} batch;

static void code_batch(void *argument, uint32_t piece)
{
    batch *to = argument;
    const pm_graph_builder *b = to->b;
    const uint32_t dim = b->source->dim, whole = b->space.shape.whole;
    const uint32_t from = piece * to->each, end = (uint32_t)pm_min_u64(to->rows, (uint64_t)from + to->each);
    float *units = to->raw ? NULL : pm_malloc_aligned(GRAPH_LINE, (b->space.shape.padded + 16) * sizeof *units);
    const unsigned fp = pm_simd_fp_enter();
    if (!to->raw && units == NULL) atomic_store(&to->failed, true);
    for (uint32_t i = from; i < end && (to->raw || units != NULL); i++) {
        uint8_t *code = b->codes + (to->first + i) * whole;
        const float *x = b->rows + (size_t)i * dim;
        if (!to->raw)
            graph_to_code(&b->space, x, units, code);
        else if (!b->simd->quant->integers(x, dim, code))
            atomic_store(&to->other, true);
        else
            memset(code + dim, 0, whole - dim);
    }
    pm_simd_fp_leave(fp);
    pm_free(units);
}

/* *raw becomes false, and the codes are worth nothing, if not all rows are bytes. */
static pomai_status code_rows(pm_graph_builder *b, bool *raw)
{
    const pm_index_source *source = b->source;
    batch at = {.b = b, .each = b->batch / READ_PIECES + 1, .raw = *raw};
    for (; at.first < source->rows; at.first += b->batch) {
        at.rows = (uint32_t)pm_min_u64(b->batch, source->rows - at.first);
        if (!builder_go_on(b) || !source->read(source->context, at.first, at.rows, b->rows)) return POMAI_EDEADLINE;
        pm_index_run(b->work, code_batch, &at, (at.rows + at.each - 1) / at.each);
        if (atomic_load(&at.failed)) return POMAI_ENOMEM;
        if (atomic_load(&at.other)) *raw = false;
        if (atomic_load(&at.other)) break;
    }
    return POMAI_OK;
}

/* ---- what codes a walk looks at ---- */

static uint32_t nibble_lines(uint32_t dims)
{
    return (uint32_t)(dims / 2 + GRAPH_FLOATS + GRAPH_LINE - 1) / GRAPH_LINE << 8 | GRAPH_NIBBLES;
}

/* Dimensions that these lines of nibbles have room for. */
static uint32_t dims_of(uint32_t lines)
{
    return (uint32_t)(lines * GRAPH_LINE - GRAPH_FLOATS) * 2 / 16 * 16;
}

static bool find_directions(pm_graph_builder *b, uint32_t count, double *beyond, double *breadth)
{
    const uint32_t padded = b->space.shape.padded;
    pm_free(b->directions);
    b->count = count;
    b->directions = pm_malloc(((size_t)padded * count + 1) * sizeof *b->directions);
    if (b->directions == NULL || !graph_directions(b->codes, b->source->rows, &b->space.shape, b->simd, b->work, count,
                                                   b->mean, b->directions, beyond, breadth))
        return false;
    for (uint32_t d = 0; d < padded && !graph_is_raw(&b->space); d++)
        b->mean[d] -= 128;
    return true;
}

/* What may be left out. Where codes are the same of many rows, all dimensions do not tell these apart, either. */
static bool find_worth(const pm_graph_builder *b, double *worth)
{
    double gap;
    if (!graph_gap(b->codes, b->source->rows, &b->space.shape, b->simd, &gap)) return false;
    *worth = gap > 0 ? fmin(WORTH_PROJECTING, gap * WORTH_OF_GAP) : WORTH_PROJECTING;
    if (PM_MUTANT(PROJECTED_AT_ANY_LOSS)) *worth = 1;
    return true;
}

/*
 * *lines: the fewest, up to `most`, that rows are projected to by directions which leave little out; 0: none. Lines are
 * what a walk waits for, and it looks at five to ten codes for each that it ranks again by all dimensions.
 */
static pomai_status choose_lines(pm_graph_builder *b, uint32_t most, uint32_t *lines, double *breadth)
{
    double beyond[ALL_LINES], worth = 0;
    *lines = 0;
    if (!find_directions(b, most > 0 ? ONE_LINE : 0, beyond, breadth)) return POMAI_ENOMEM;
    if (most > 0 && !find_worth(b, &worth)) return POMAI_ENOMEM;
    if (most > 0 && beyond[ONE_LINE - 1] <= worth) *lines = 1;
    if (*lines > 0 || most < 2 || b->source->rows / WORTH_MORE < b->space.shape.padded) return POMAI_OK;
    if (!find_directions(b, dims_of(most), beyond, breadth)) return POMAI_ENOMEM;
    for (uint32_t l = most; l > 1 && beyond[dims_of(l) - 1] <= worth; l--)
        *lines = l;
    if (*lines > 0) b->count = dims_of(*lines);
    return POMAI_OK;
}

/* Rows that vary in many directions have neighbours in many, and need more links. Whole numbers are codes of
 * themselves, which are exact: where they take two lines and a projection to one tells most, this is the hot code and
 * they the warm one; of many dimensions there are warm codes. */
static pomai_status choose_variant(pm_graph_builder *b)
{
    const uint32_t padded = b->space.shape.padded, full = nibble_lines(padded) >> 8 & 0xff;
    double breadth;
    uint32_t lines;
    const bool whole = graph_is_raw(&b->space), exact = whole && padded <= EXACT_MOST;
    const bool warm = padded >= WORTH_WARM || (whole && !exact);
    b->variant = FEW_LINKS | (warm ? GRAPH_WARMED : 0);
    if (padded > PROJECTED_FROM) {
        b->variant |= nibble_lines(padded);
        return POMAI_OK;
    }
    const pomai_status status = choose_lines(b, full - 1 < MOST_LINES ? full - 1 : MOST_LINES, &lines, &breadth);
    if (status != POMAI_OK) return status;
    if (breadth > BROAD) b->variant += (exact ? EXACT_LINKS : MANY_LINKS) - (uint32_t)FEW_LINKS;
    if (lines > 0)
        b->variant |= nibble_lines(dims_of(lines)) | GRAPH_PROJECTED | (exact ? GRAPH_EXACT | GRAPH_WARMED : 0);
    else if (exact)
        b->variant |= b->space.shape.whole / GRAPH_LINE << 8 | GRAPH_EXACT;
    else
        b->variant |= nibble_lines(padded);
    return POMAI_OK;
}

/* Directions as signed bytes, turned within their space, which makes all dimensions of the hot codes alike. */
static bool make_plane(pm_graph_builder *b, float *length, float *offset, float *sum, int8_t *plane)
{
    const graph_shape *shape = &b->space.shape;
    const uint32_t hot = shape->hot, padded = shape->padded;
    const float zero = graph_is_raw(&b->space) ? 0 : 128;
    float *turned = pm_malloc((size_t)hot * padded * sizeof *turned), *column = pm_malloc(hot * sizeof *column);
    uint32_t window = 16;
    while (window * 2 <= hot)
        window *= 2;
    if (turned == NULL || column == NULL) {
        pm_free(turned);
        pm_free(column);
        return false;
    }
    for (uint32_t d = 0; d < padded; d++) {
        for (uint32_t h = 0; h < hot; h++)
            column[h] = h < b->count ? b->directions[(size_t)h * padded + d] : 0;
        b->simd->quant->rotate(column, hot, window, b->source->seed);
        for (uint32_t h = 0; h < hot; h++)
            turned[(size_t)h * padded + d] = column[h];
    }
    for (uint32_t h = 0; h < hot; h++) {
        const float *row = turned + (size_t)h * padded;
        float most = 0, at_mean = 0, all = 0;
        for (uint32_t d = 0; d < padded; d++)
            most = fabsf(row[d]) > most ? fabsf(row[d]) : most;
        length[h] = most / 127;
        for (uint32_t d = 0; d < padded; d++) {
            const float value = most > 0 ? floorf(row[d] / most * 127 + 0.5f) : 0;
            plane[(size_t)h * shape->whole + d] = (int8_t)(int32_t)value;
            at_mean += value * (b->mean[d] + zero);
            all += value;
        }
        offset[h] = at_mean;
        sum[h] = all;
    }
    pm_free(turned);
    pm_free(column);
    return true;
}

static pomai_status make_model(pm_graph_builder *b)
{
    const pm_index_source *source = b->source;
    graph_space *space = &b->space;
    graph_shape shape;
    if (!graph_shape_of(&shape, source->dim, source->metric, b->variant)) return POMAI_EINTERNAL;
    space->shape = shape;
    b->model = pm_malloc_aligned(GRAPH_LINE, shape.model_bytes);
    if (b->model == NULL) return POMAI_ENOMEM;
    memset(b->model, 0, shape.model_bytes);
    space->rest = REST_WEIGHT;
    graph_model *model = (graph_model *)(void *)b->model;
    *model = (graph_model){.revision = GRAPH_REVISION,
                           .dim = source->dim,
                           .padded = shape.padded,
                           .rows = source->rows,
                           .seed = source->seed,
                           .metric = (uint32_t)source->metric,
                           .variant = b->variant,
                           .step = space->step,
                           .reach = space->reach,
                           .rest = space->rest};
    float *floats = (float *)(void *)(b->model + sizeof *model);
    memcpy(floats, b->centre, shape.padded * sizeof *floats);
    memcpy(floats + shape.padded, b->mean, shape.padded * sizeof *floats);
    graph_space_place(space, b->model);
    float *projection = floats + 2 * (size_t)shape.padded;
    if (shape.projected && !make_plane(b, projection, projection + shape.hot, projection + 2 * (size_t)shape.hot,
                                       (int8_t *)b->model + graph_plane_at(&shape)))
        return POMAI_ENOMEM;
    return POMAI_OK;
}

static bool take_memory(pm_graph_builder *b)
{
    const graph_shape *shape = &b->space.shape;
    const pm_index_source *source = b->source;
    const size_t row = source->dim * sizeof(float);
    uint64_t codes;
    if (pm_mul_overflows(source->rows, shape->whole, &codes) || codes > SIZE_MAX / 2) return false;
    b->batch = row >= READ_BYTES ? 1 : (uint32_t)pm_min_u64(READ_BYTES / row, source->rows);
    b->rows = pm_malloc_aligned(GRAPH_LINE, b->batch * row);
    b->units = pm_malloc_aligned(GRAPH_LINE, (shape->padded + 16) * sizeof *b->units);
    b->code = pm_malloc_aligned(GRAPH_LINE, shape->whole);
    b->sum = pm_malloc((shape->padded + 16) * sizeof *b->sum);
    b->centre = pm_calloc(shape->padded + 16, sizeof *b->centre);
    b->mean = pm_calloc(shape->padded + 16, sizeof *b->mean);
    b->codes = pm_malloc_aligned(GRAPH_LINE, (size_t)codes);
    return b->rows != NULL && b->units != NULL && b->code != NULL && b->sum != NULL && b->centre != NULL &&
           b->mean != NULL && b->codes != NULL;
}

static pomai_status begin(pm_graph_builder *b)
{
    const uint64_t samples = pm_min_u64(b->source->rows, SAMPLE);
    bool raw;
    if (!take_memory(b)) return POMAI_ENOMEM;
    b->space.centre = b->centre;
    graph_space_window(&b->space);
    if (!look_at_sample(b, samples, &raw)) return POMAI_EDEADLINE;
    pomai_status status = POMAI_OK;
    if (raw) {
        b->space.step = 0;
        status = code_rows(b, &raw);
    }
    if (status == POMAI_OK && !raw) {
        bool not_raw = false;
        status = choose_step(b, samples) ? code_rows(b, &not_raw) : POMAI_EDEADLINE;
    }
    if (status == POMAI_OK) status = choose_variant(b);
#ifdef POMAI_TEST_HOOKS
    if (pm_graph_forced_variant != 0) b->variant = pm_graph_forced_variant;
#endif
    if (status == POMAI_OK) status = make_model(b);
    return status == POMAI_OK ? graph_order_rows(b) : status;
}

/* One that all rows can have. */
static uint32_t any_variant(uint32_t dim)
{
    return FEW_LINKS | nibble_lines((uint32_t)pm_align_up((uint64_t)dim + 1, 16));
}

bool pm_graph_is_possible(uint64_t rows, uint32_t dim, pomai_metric metric)
{
    uint64_t length[PM_GRAPH_SECTIONS];
    return pm_graph_lengths(rows, dim, metric, any_variant(dim), length);
}

pomai_status pm_graph_begin(const pm_index_source *source, const pm_simd *simd, const pm_index_work *work,
                            pm_graph_builder **out, uint32_t *variant)
{
    pm_graph_builder *b = pm_calloc(1, sizeof *b);
    uint64_t length[PM_GRAPH_SECTIONS];
    *out = NULL;
    if (b == NULL) return POMAI_ENOMEM;
    b->source = source;
    b->simd = simd;
    b->work = work;
    b->space = (graph_space){.simd = simd, .metric = source->metric, .seed = source->seed};
    pomai_status status = POMAI_EINTERNAL;
    if (graph_shape_of(&b->space.shape, source->dim, source->metric, any_variant(source->dim))) {
        const unsigned fp = pm_simd_fp_enter();
        status = begin(b);
        pm_simd_fp_leave(fp);
    }
    if (status == POMAI_OK && !pm_graph_lengths(source->rows, source->dim, source->metric, b->variant, length))
        status = POMAI_EINTERNAL;
    if (status != POMAI_OK) {
        pm_graph_end(b);
        return status;
    }
    *out = b;
    *variant = b->variant;
    return POMAI_OK;
}

void pm_graph_end(pm_graph_builder *b)
{
    if (b == NULL) return;
    pm_free(b->rows);
    pm_free(b->units);
    pm_free(b->code);
    pm_free(b->sum);
    pm_free(b->centre);
    pm_free(b->mean);
    pm_free(b->directions);
    pm_free(b->codes);
    pm_free(b->hot);
    pm_free(b->order);
    pm_free(b->place);
    pm_free(b->model);
    pm_free(b);
}

/* ---- writing ---- */

/* All of a section, or what comes next of it, in pieces: between them others go first, and a close is heard. */
static pomai_status append_all(const pm_graph_builder *b, const pm_index_sink *sink, uint32_t section, const void *data,
                               uint64_t bytes)
{
    const uint8_t *from = data;
    for (uint64_t at = 0; at < bytes; at += APPEND_BYTES) {
        const size_t here = (size_t)pm_min_u64(APPEND_BYTES, bytes - at);
        if (!builder_go_on(b) || !sink->append(sink->context, section, from + at, here)) return POMAI_EDEADLINE;
    }
    return POMAI_OK;
}

/* Codes of one piece of the rows. */
typedef struct coding {
    const pm_graph_builder *b;
    uint64_t first, rows;
    bool warm;
    uint8_t *out;
    _Atomic bool failed;
} coding;

static void code_piece(void *argument, uint32_t piece)
{
    coding *c = argument;
    const graph_shape *shape = &c->b->space.shape;
    const uint64_t from = (uint64_t)piece * PIECE_ROWS, end = pm_min_u64(c->rows, from + PIECE_ROWS);
    void *scratch = c->warm ? NULL : pm_malloc_aligned(GRAPH_LINE, graph_scratch_bytes(shape));
    const unsigned fp = pm_simd_fp_enter();
    if (!c->warm && scratch == NULL) atomic_store(&c->failed, true);
    for (uint64_t i = from; i < end && (c->warm || scratch != NULL); i++) {
        const uint8_t *code = c->b->codes + (c->first + i) * shape->whole;
        if (c->warm)
            graph_warm_code(&c->b->space, code, c->out + i * shape->warm_bytes);
        else
            graph_hot_code(&c->b->space, code, scratch, c->out + i * shape->hot_bytes);
    }
    pm_simd_fp_leave(fp);
    pm_free(scratch);
}

/* All hot, or warm, codes. */
static pomai_status append_codes(pm_graph_builder *b, const pm_index_sink *sink, bool warm)
{
    const graph_shape *shape = &b->space.shape;
    const size_t each = warm ? shape->warm_bytes : shape->hot_bytes;
    const uint64_t step = pm_max_u64(PIECE_ROWS, APPEND_BYTES / (each + 1) / PIECE_ROWS * PIECE_ROWS);
    if (each == 0) return POMAI_OK;
    if (!warm && b->hot != NULL) return append_all(b, sink, GRAPH_HOT, b->hot, b->source->rows * each);
    coding c = {.b = b, .warm = warm, .out = pm_malloc_aligned(GRAPH_LINE, step * each)};
    pomai_status status = c.out == NULL ? POMAI_ENOMEM : POMAI_OK;
    for (; status == POMAI_OK && c.first < b->source->rows; c.first += step) {
        c.rows = pm_min_u64(step, b->source->rows - c.first);
        if (!builder_go_on(b)) status = POMAI_EDEADLINE;
        if (status == POMAI_OK)
            pm_index_run(b->work, code_piece, &c, (uint32_t)((c.rows + PIECE_ROWS - 1) / PIECE_ROWS));
        if (status == POMAI_OK && atomic_load(&c.failed)) status = POMAI_ENOMEM;
        if (status == POMAI_OK && !sink->append(sink->context, warm ? GRAPH_WARM : GRAPH_HOT, c.out, c.rows * each))
            status = POMAI_EDEADLINE;
    }
    pm_free(c.out);
    return status;
}

static pomai_status append_entries(pm_graph_builder *b, const pm_index_sink *sink, const uint32_t *entry)
{
    const graph_shape *shape = &b->space.shape;
    const uint32_t count = graph_entry_count(shape, b->source->rows);
    uint8_t *hot = pm_malloc_aligned(GRAPH_LINE, count * shape->hot_bytes + graph_scratch_bytes(shape));
    if (hot == NULL) return POMAI_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        graph_hot_code(&b->space, b->codes + (size_t)entry[i] * shape->whole, hot + count * shape->hot_bytes,
                       hot + i * shape->hot_bytes);
    const bool good = sink->append(sink->context, GRAPH_ENTRIES, entry, count * sizeof *entry) &&
                      sink->append(sink->context, GRAPH_ENTRIES, hot, count * shape->hot_bytes);
    pm_free(hot);
    return good ? POMAI_OK : POMAI_EDEADLINE;
}

uint32_t graph_fanout(const graph_shape *shape)
{
    return shape->degree > FEW_LINKS ? MANY_LEADERS : FEW_LEADERS;
}

pomai_status pm_graph_build(pm_graph_builder *b, const pm_index_sink *sink)
{
    const graph_shape *shape = &b->space.shape;
    const graph_codes codes = {.code = b->codes, .rows = b->source->rows, .stride = shape->whole};
    graph_codes near = codes;
    uint8_t *projected = NULL;
    const graph_link_options options = {.degree = shape->degree,
                                        .slack_256 = shape->degree > FEW_LINKS ? MANY_SLACK : FEW_SLACK,
                                        .fanout = graph_fanout(shape),
                                        .seed = b->source->seed,
                                        .simd = b->simd,
                                        .work = b->work};
    const size_t bytes = (size_t)b->source->rows * shape->degree * sizeof(uint32_t);
    const uint32_t entries = graph_entry_count(shape, b->source->rows);
    uint32_t *links = pm_malloc_aligned(GRAPH_LINE, bytes), *entry = pm_malloc(entries * sizeof *entry);
    const unsigned fp = pm_simd_fp_enter();
    pomai_status status = links == NULL || entry == NULL ? POMAI_ENOMEM : graph_project(b, &projected);
    if (projected != NULL) near = (graph_codes){projected, codes.rows, graph_near_bytes(shape)};
    if (status == POMAI_OK) status = graph_link(&near, &options, links);
    /* By the same codes: the first of them is from where links lead to every row. */
    const graph_codes *by = PM_MUTANT(ENTRIES_BY_OTHERS) ? &codes : &near;
    if (status == POMAI_OK) status = graph_entries(by, b->simd, b->source->seed, entries, entry);
    pm_free(projected);
    if (status == POMAI_OK) status = append_all(b, sink, GRAPH_MODEL, b->model, shape->model_bytes);
    if (status == POMAI_OK) status = append_all(b, sink, GRAPH_LINKS, links, bytes);
    pm_free(links);
    const size_t numbers = (size_t)b->source->rows * sizeof(uint32_t);
    if (status == POMAI_OK) status = append_all(b, sink, GRAPH_ORDER, b->order, numbers);
    if (status == POMAI_OK) status = append_all(b, sink, GRAPH_PLACE, b->place, numbers);
    if (status == POMAI_OK) status = append_codes(b, sink, false);
    if (status == POMAI_OK) status = append_entries(b, sink, entry);
    if (status == POMAI_OK) status = append_codes(b, sink, true);
    pm_free(entry);
    pm_simd_fp_leave(fp);
    return status;
}
