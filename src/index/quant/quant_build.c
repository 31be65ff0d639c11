/* SPDX-License-Identifier: Apache-2.0 */
/* From rows to codes: what docs/format/codes.md says of sections 0 to 2. */
#include "quant_int.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define SAMPLE      1024
#define BLOCK       PM_CODES_BLOCK
#define READ_FLOATS ((size_t)1 << 18) /* read at once, but at least a block */
#define HUGE_FACTOR 1e30              /* beyond it the sums of a query might overflow */
#define TINY_FACTOR 1e-30f            /* beside rows of length 1: nothing */

typedef struct builder {
    const pm_index_source *source;
    const pm_index_sink *sink;
    quant_space space;
    float *centre; /* dim */
    double *sum;   /* dim */
    double centre2;
    uint32_t batch; /* rows read at once: a multiple of BLOCK */
    float *rows;    /* batch x dim */
    float *o;       /* D */
    uint8_t *block; /* of section 1 */
    uint8_t *bytes; /* BLOCK rows of section 2 */
} builder;

static uint64_t sample_row(const pm_index_source *source, uint64_t i, uint64_t samples)
{
    uint64_t from = source->rows * i / samples, to = source->rows * (i + 1) / samples;
    return from + pm_mix64(source->seed ^ pm_mix64(i)) % (to - from);
}

/* 1 / |x| for COSINE, else 1; 0 if x is zero. */
static double inverse_of(const builder *b, const float *x)
{
    if (b->source->metric != POMAI_METRIC_COSINE) return 1;
    double norm2 = pm_exact_dot(x, x, b->source->dim);
    return norm2 > 0 ? 1 / sqrt(norm2) : 0;
}

/* The centre, the scale, and whether the sample is of bytes. */
static bool take_sample(builder *b)
{
    const pm_index_source *source = b->source;
    uint64_t samples = pm_min_u64(source->rows, SAMPLE);
    uint32_t dim = source->dim;
    bool lossless = true;
    int exponent = 0;
    memset(b->sum, 0, dim * sizeof *b->sum);
    for (uint64_t i = 0; i < samples; i++) {
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        double inverse = inverse_of(b, b->rows);
        lossless = lossless && b->space.kernels->integers(b->rows, dim, b->bytes);
        for (uint32_t d = 0; d < dim; d++) {
            double part = (double)b->rows[d] * inverse;
            b->sum[d] = b->sum[d] + part;
        }
    }
    for (uint32_t d = 0; d < dim; d++)
        b->centre[d] = (float)(b->sum[d] / (double)samples);
    double squares = 0;
    for (uint64_t i = 0; i < samples; i++) {
        if (!source->read(source->context, sample_row(source, i, samples), 1, b->rows)) return false;
        double inverse = inverse_of(b, b->rows), square = 0;
        for (uint32_t d = 0; d < dim; d++) {
            double part = (double)b->rows[d] * inverse;
            part = part - (double)b->centre[d];
            part = part * part;
            square = square + part;
        }
        squares = squares + square;
    }
    if (squares > 0) (void)frexp(sqrt(squares / (double)samples), &exponent);
    exponent = exponent > 160 ? 160 : exponent < -160 ? -160 : exponent;
    quant_space_set(&b->space, -exponent);
    b->space.lossless = lossless;
    b->centre2 = pm_exact_dot(b->centre, b->centre, dim);
    return true;
}

/* Whether all rows are bytes, after the sample said so. */
static bool confirm_lossless(builder *b)
{
    const pm_index_source *source = b->source;
    for (uint64_t row = 0; row < source->rows && b->space.lossless; row += b->batch) {
        uint32_t n = (uint32_t)pm_min_u64(b->batch, source->rows - row);
        if (!source->read(source->context, row, n, b->rows)) return false;
        for (uint32_t i = 0; i < n && b->space.lossless; i++)
            b->space.lossless = b->space.kernels->integers(b->rows + (size_t)i * source->dim, source->dim, b->bytes);
    }
    return true;
}

static bool append_model(const builder *b, const uint64_t length[PM_QUANT_SECTIONS])
{
    static const uint8_t zero[QUANT_LINE];
    const quant_space *space = &b->space;
    quant_model model = {.revision = QUANT_REVISION,
                         .dim = space->dim,
                         .padded = space->padded,
                         .flags = space->lossless ? QUANT_LOSSLESS : 0,
                         .rows = b->source->rows,
                         .seed = space->seed,
                         .metric = (uint32_t)space->metric,
                         .exponent = space->exponent};
    size_t centre = space->dim * sizeof(float), end = (size_t)length[QUANT_MODEL] - sizeof model - centre;
    const pm_index_sink *sink = b->sink;
    return sink->append(sink->context, QUANT_MODEL, &model, sizeof model) &&
           sink->append(sink->context, QUANT_MODEL, b->centre, centre) &&
           (end == 0 || sink->append(sink->context, QUANT_MODEL, zero, end));
}

/* ---- factors ---- */

static uint32_t bits_of(double x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Positive, finite: the nearest bfloat16, and the next at least as large; as the high half. */
static uint32_t bfloat_nearest(double x)
{
    uint32_t bits = bits_of(x);
    return (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
}

static uint32_t bfloat_above(double x)
{
    return (bits_of(x * (1 + FLT_EPSILON)) + 0xffff) & 0xffff0000u;
}

static float lowered(double x)
{
    return (float)(x - fabs(x) * (double)QUANT_SLACK);
}

/* A, in the space of the codes. */
static double add_of(const builder *b, const float *x, double norm2)
{
    const quant_space *space = &b->space;
    if (space->metric == POMAI_METRIC_L2) return norm2;
    if (space->metric == POMAI_METRIC_COSINE) return norm2 / 2;
    return -(pm_exact_dot(b->centre, x, space->dim) - b->centre2) * space->scale * space->scale;
}

static void set_factors(const builder *b, uint32_t r, float add, uint32_t factors)
{
    memcpy(b->block + r * sizeof add, &add, sizeof add);
    memcpy(b->block + BLOCK * sizeof add + r * sizeof factors, &factors, sizeof factors);
}

static void set_bits(const builder *b, uint32_t r)
{
    uint8_t *at = b->block + PM_CODES_FACTOR + r % 8 * 2 + r / 8 % 2;
    uint32_t shift = r / 16 * 4;
    for (uint32_t d = 0; d < b->space.padded; d += 4) {
        const float *o = b->o + d;
        unsigned nibble =
            (unsigned)(o[0] > 0) | (unsigned)(o[1] > 0) << 1 | (unsigned)(o[2] > 0) << 2 | (unsigned)(o[3] > 0) << 3;
        at[d * 4] = (uint8_t)(at[d * 4] | nibble << shift);
    }
}

static void lossless_bytes(const builder *b, const float *x, uint8_t *to, quant_factor *factor)
{
    double norm2 = pm_exact_dot(x, x, b->space.dim);
    (void)b->space.kernels->integers(x, b->space.dim, to);
    if (b->space.metric == POMAI_METRIC_L2)
        *factor = (quant_factor){lowered(norm2), -2};
    else if (b->space.metric == POMAI_METRIC_IP)
        *factor = (quant_factor){0, -1};
    else
        *factor = norm2 > 0 ? (quant_factor){0, (float)(-1 / sqrt(norm2))} : (quant_factor){-INFINITY, 0};
}

/* Row r of the block, from x. */
static void code_row(builder *b, const float *x, uint32_t r)
{
    const quant_space *space = &b->space;
    double inverse = inverse_of(b, x), sums[2], m = space->metric == POMAI_METRIC_L2 ? 2 : 1, d = space->padded;
    uint8_t *eight = b->bytes + r / 8 * quant_eight_bytes(space->padded);
    uint8_t *code = eight + r % 8 * quant_code_bytes(space->padded);
    quant_factor factor = {-INFINITY, 0};

    quant_rotate(space, x, inverse, b->o);
    float max = space->kernels->facts(b->o, space->padded, sums);
    double norm2 = sums[0], add = add_of(b, x, norm2), mul = 0, error = 0;
    bool known = inverse > 0 && norm2 < HUGE_FACTOR && fabs(add) < HUGE_FACTOR; /* false if one is no number */
    if (known && sums[1] > 0) {
        double ratio = d * norm2 / sums[1] * norm2 / sums[1] - norm2;
        mul = m * norm2 / sums[1];
        error = m * sqrt((ratio > 0 ? ratio : 0) / (d - 1) + norm2 * 0x1p-18);
    }
    set_bits(b, r);
    set_factors(b, r, known ? lowered(add) : -INFINITY, bfloat_nearest(mul) | bfloat_above(error) >> 16);

    if (space->lossless) {
        lossless_bytes(b, x, code, &factor);
    } else if (known) {
        float step = max > TINY_FACTOR ? max / 127 : 0;
        factor = (quant_factor){lowered(add), (float)(-m * (double)step)};
        if (step > 0)
            space->kernels->encode(b->o, space->padded, 127 / max, code);
        else
            memset(code, 128, space->padded);
    }
    memcpy(eight + quant_factor_at(space->padded, r % 8), &factor, sizeof factor);
}

/* ---- all rows ---- */

static bool code_block(builder *b, const float *x, uint32_t n)
{
    uint32_t padded = b->space.padded;
    size_t block = quant_block_bytes(padded), eight = quant_eight_bytes(padded);
    const pm_index_sink *sink = b->sink;
    memset(b->block, 0, block);
    memset(b->bytes, 0, BLOCK / 8 * eight);
    for (uint32_t r = 0; r < n; r++)
        code_row(b, x + (size_t)r * b->space.dim, r);
    for (uint32_t r = n; r < BLOCK; r++)
        set_factors(b, r, INFINITY, 0);
    size_t bytes = quant_is_grouped(padded) ? (n + 7) / 8 * eight : n * (eight / 8);
    return sink->append(sink->context, QUANT_BITS, b->block, block) &&
           sink->append(sink->context, QUANT_BYTES, b->bytes, bytes);
}

static bool code_all(builder *b)
{
    const pm_index_source *source = b->source;
    for (uint64_t row = 0; row < source->rows; row += b->batch) {
        uint32_t n = (uint32_t)pm_min_u64(b->batch, source->rows - row);
        if (!source->read(source->context, row, n, b->rows)) return false;
        for (uint32_t i = 0; i < n; i += BLOCK) {
            if (!code_block(b, b->rows + (size_t)i * source->dim, n - i < BLOCK ? n - i : BLOCK)) return false;
        }
    }
    return true;
}

static bool take_memory(builder *b)
{
    size_t dim = b->source->dim, padded = b->space.padded;
    b->centre = pm_malloc(dim * sizeof *b->centre);
    b->sum = pm_malloc(dim * sizeof *b->sum);
    b->rows = pm_malloc_aligned(QUANT_LINE, b->batch * dim * sizeof *b->rows);
    b->o = pm_malloc_aligned(QUANT_LINE, padded * sizeof *b->o);
    b->block = pm_malloc_aligned(QUANT_LINE, quant_block_bytes((uint32_t)padded));
    b->bytes = pm_malloc_aligned(QUANT_LINE, BLOCK / 8 * quant_eight_bytes((uint32_t)padded));
    return b->centre != NULL && b->sum != NULL && b->rows != NULL && b->o != NULL && b->block != NULL &&
           b->bytes != NULL;
}

pomai_status pm_quant_build(const pm_index_source *source, const pm_simd *simd, const pm_index_sink *sink)
{
    uint64_t length[PM_QUANT_SECTIONS];
    builder b = {.source = source, .sink = sink};
    pomai_status status = POMAI_ENOMEM;
    if (!pm_quant_lengths(source->rows, source->dim, source->metric, length)) return POMAI_EINVAL;
    b.space = (quant_space){.kernels = simd->quant, .dim = source->dim, .metric = source->metric, .seed = source->seed};
    quant_space_set(&b.space, 0);
    size_t blocks = READ_FLOATS / source->dim / BLOCK;
    b.batch = (uint32_t)(blocks > 0 ? blocks * BLOCK : BLOCK);
    if (take_memory(&b)) {
        unsigned fp = pm_simd_fp_enter();
        b.space.centre = b.centre;
        status = take_sample(&b) && confirm_lossless(&b) && append_model(&b, length) && code_all(&b) ? POMAI_OK
                                                                                                     : POMAI_EDEADLINE;
        pm_simd_fp_leave(fp);
    }
    pm_free(b.centre);
    pm_free(b.sum);
    pm_free(b.rows);
    pm_free(b.o);
    pm_free(b.block);
    pm_free(b.bytes);
    return status;
}
