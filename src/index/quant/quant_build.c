/* SPDX-License-Identifier: Apache-2.0 */
/* From rows to codes: what docs/format/codes.md says of sections 0 to 2. */
#include "quant_int.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define SAMPLE      1024
#define BLOCK       PM_CODES_BLOCK
#define READ_FLOATS ((size_t)1 << 20) /* read at once, but at least a block */
#define HUGE_FACTOR 1e30              /* beyond it the sums of a query might overflow */
#define TINY_FACTOR 1e-30f            /* beside rows of length 1: nothing */

typedef struct builder {
    const pm_index_source *source;
    const pm_index_sink *sink;
    const pm_index_work *work;
    quant_space space;
    float *centre; /* dim */
    double *sum;   /* dim */
    double centre2;
    uint32_t batch;     /* rows read at once: a multiple of BLOCK */
    uint32_t n;         /* of them there are */
    float *rows;        /* batch x dim */
    float *o;           /* of each block, D */
    uint8_t *block;     /* of section 1, each */
    uint8_t *bytes;     /* BLOCK rows of section 2, of each */
    _Atomic bool other; /* a row is not of bytes */
} builder;

/* What one block of a batch is made of and in. */
typedef struct block_work {
    const builder *b;
    const float *rows;
    uint32_t n;
    float *o;
    uint8_t *block, *bytes;
} block_work;

static size_t bytes_of_block(const builder *b)
{
    return BLOCK / 8 * quant_eight_bytes(b->space.padded);
}

static block_work work_of(const builder *b, uint32_t i)
{
    const uint32_t first = i * BLOCK;
    return (block_work){.b = b,
                        .rows = b->rows + (size_t)first * b->source->dim,
                        .n = b->n - first < BLOCK ? b->n - first : BLOCK,
                        .o = b->o + (size_t)i * b->space.padded,
                        .block = b->block + i * quant_block_bytes(b->space.padded),
                        .bytes = b->bytes + i * bytes_of_block(b)};
}

/* Reads the next batch and runs the work for each of its blocks. */
static bool do_batch(builder *b, uint64_t first, void (*piece)(void *b, uint32_t i))
{
    const pm_index_source *source = b->source;
    b->n = (uint32_t)pm_min_u64(b->batch, source->rows - first);
    if (!source->read(source->context, first, b->n, b->rows)) return false;
    pm_index_run(b->work, piece, b, (b->n + BLOCK - 1) / BLOCK);
    return true;
}

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

static void look_at_block(void *argument, uint32_t i)
{
    builder *b = argument;
    const block_work w = work_of(b, i);
    const unsigned fp = pm_simd_fp_enter();
    for (uint32_t r = 0; r < w.n && !atomic_load_explicit(&b->other, memory_order_relaxed); r++)
        if (!b->space.kernels->integers(w.rows + (size_t)r * b->source->dim, b->source->dim, w.bytes))
            atomic_store(&b->other, true);
    pm_simd_fp_leave(fp);
}

/* Whether all rows are bytes, after the sample said so. */
static bool confirm_lossless(builder *b)
{
    for (uint64_t row = 0; row < b->source->rows && b->space.lossless; row += b->batch) {
        if (!do_batch(b, row, look_at_block)) return false;
        b->space.lossless = !atomic_load(&b->other);
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

static void set_factors(const block_work *w, uint32_t r, float add, uint32_t factors)
{
    memcpy(w->block + r * sizeof add, &add, sizeof add);
    memcpy(w->block + BLOCK * sizeof add + r * sizeof factors, &factors, sizeof factors);
}

static void set_bits(const block_work *w, uint32_t r)
{
    uint8_t *at = w->block + PM_CODES_FACTOR + r % 8 * 2 + r / 8 % 2;
    uint32_t shift = r / 16 * 4;
    for (uint32_t d = 0; d < w->b->space.padded; d += 4) {
        const float *o = w->o + d;
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
static void code_row(const block_work *w, const float *x, uint32_t r)
{
    const builder *b = w->b;
    const quant_space *space = &b->space;
    double inverse = inverse_of(b, x), sums[2], m = space->metric == POMAI_METRIC_L2 ? 2 : 1, d = space->padded;
    uint8_t *eight = w->bytes + r / 8 * quant_eight_bytes(space->padded);
    uint8_t *code = eight + r % 8 * quant_code_bytes(space->padded);
    quant_factor factor = {-INFINITY, 0};

    quant_rotate(space, x, inverse, w->o);
    float max = space->kernels->facts(w->o, space->padded, sums);
    double norm2 = sums[0], add = add_of(b, x, norm2), mul = 0, error = 0;
    bool known = inverse > 0 && norm2 < HUGE_FACTOR && fabs(add) < HUGE_FACTOR; /* false if one is no number */
    if (known && sums[1] > 0) {
        double ratio = d * norm2 / sums[1] * norm2 / sums[1] - norm2;
        mul = m * norm2 / sums[1];
        error = m * sqrt((ratio > 0 ? ratio : 0) / (d - 1) + norm2 * 0x1p-18);
    }
    set_bits(w, r);
    set_factors(w, r, known ? lowered(add) : -INFINITY, bfloat_nearest(mul) | bfloat_above(error) >> 16);

    if (space->lossless) {
        lossless_bytes(b, x, code, &factor);
    } else if (known) {
        float step = max > TINY_FACTOR ? max / 127 : 0;
        factor = (quant_factor){lowered(add), (float)(-m * (double)step)};
        if (step > 0)
            space->kernels->encode(w->o, space->padded, 127 / max, code);
        else
            memset(code, 128, space->padded);
    }
    memcpy(eight + quant_factor_at(space->padded, r % 8), &factor, sizeof factor);
}

/* ---- all rows ---- */

static void code_block(void *argument, uint32_t i)
{
    const block_work w = work_of(argument, i);
    const unsigned fp = pm_simd_fp_enter();
    memset(w.block, 0, quant_block_bytes(w.b->space.padded));
    memset(w.bytes, 0, bytes_of_block(w.b));
    for (uint32_t r = 0; r < w.n; r++)
        code_row(&w, w.rows + (size_t)r * w.b->space.dim, r);
    for (uint32_t r = w.n; r < BLOCK; r++)
        set_factors(&w, r, INFINITY, 0);
    pm_simd_fp_leave(fp);
}

static bool append_blocks(const builder *b)
{
    const uint32_t padded = b->space.padded;
    const size_t block = quant_block_bytes(padded), eight = quant_eight_bytes(padded);
    const size_t bytes = quant_is_grouped(padded) ? (b->n + 7) / 8 * eight : b->n * (eight / 8);
    const pm_index_sink *sink = b->sink;
    return sink->append(sink->context, QUANT_BITS, b->block, (b->n + BLOCK - 1) / BLOCK * block) &&
           sink->append(sink->context, QUANT_BYTES, b->bytes, bytes);
}

static bool code_all(builder *b)
{
    for (uint64_t row = 0; row < b->source->rows; row += b->batch)
        if (!do_batch(b, row, code_block) || !append_blocks(b)) return false;
    return true;
}

static bool take_memory(builder *b)
{
    size_t dim = b->source->dim, padded = b->space.padded, blocks = b->batch / BLOCK;
    b->centre = pm_malloc(dim * sizeof *b->centre);
    b->sum = pm_malloc(dim * sizeof *b->sum);
    b->rows = pm_malloc_aligned(QUANT_LINE, b->batch * dim * sizeof *b->rows);
    b->o = pm_malloc_aligned(QUANT_LINE, blocks * padded * sizeof *b->o);
    b->block = pm_malloc_aligned(QUANT_LINE, blocks * quant_block_bytes((uint32_t)padded));
    b->bytes = pm_malloc_aligned(QUANT_LINE, blocks * bytes_of_block(b));
    return b->centre != NULL && b->sum != NULL && b->rows != NULL && b->o != NULL && b->block != NULL &&
           b->bytes != NULL;
}

pomai_status pm_quant_build(const pm_index_source *source, const pm_simd *simd, const pm_index_work *work,
                            const pm_index_sink *sink)
{
    uint64_t length[PM_QUANT_SECTIONS];
    builder b = {.source = source, .sink = sink, .work = work};
    pomai_status status = POMAI_ENOMEM;
    if (!pm_quant_lengths(source->rows, source->dim, source->metric, length)) return POMAI_EINVAL;
    b.space = (quant_space){.kernels = simd->quant, .dim = source->dim, .metric = source->metric, .seed = source->seed};
    quant_space_set(&b.space, 0);
    const uint64_t most = (source->rows + BLOCK - 1) / BLOCK,
                   blocks = pm_min_u64(READ_FLOATS / source->dim / BLOCK, most);
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
