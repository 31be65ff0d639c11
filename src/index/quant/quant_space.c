/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths of sections, whether they can be used, and the rotation. */
#include "quant_int.h"

#include <float.h>
#include <math.h>
#include <string.h>

static bool metric_is_known(pomai_metric metric)
{
    return metric == POMAI_METRIC_L2 || metric == POMAI_METRIC_IP || metric == POMAI_METRIC_COSINE;
}

/* Nothing overflows within these limits: at most 2^28 rows of some 80 KiB. */
bool pm_quant_lengths(uint64_t rows, uint32_t dim, pomai_metric metric, uint64_t length[PM_QUANT_SECTIONS])
{
    if (rows == 0 || rows > QUANT_MAX_ROWS || dim < 16 || dim > POMAI_MAX_DIM || !metric_is_known(metric)) return false;
    uint32_t padded = quant_padded(dim);
    length[QUANT_MODEL] = pm_align_up(sizeof(quant_model) + 4 * (uint64_t)dim, QUANT_LINE);
    length[QUANT_BITS] = (rows + PM_CODES_BLOCK - 1) / PM_CODES_BLOCK * quant_block_bytes(padded);
    length[QUANT_BYTES] =
        quant_is_grouped(padded) ? (rows + 7) / 8 * quant_eight_bytes(padded) : rows * (quant_eight_bytes(padded) / 8);
    length[QUANT_TABLE] = sizeof(quant_table);
    return true;
}

static bool in_range(float x, float least, float most)
{
    return x >= least && x <= most; /* false for NaN */
}

static bool table_is_sound(const quant_table *table)
{
    static const uint32_t ks[QUANT_KS] = {1, 10, 100};
    if (table->revision != QUANT_REVISION) return false;
    for (size_t i = 0; i < QUANT_KS; i++) {
        const quant_row *row = &table->row[i];
        if (row->k != ks[i] || !in_range(row->effort, 0, QUANT_MAX_EFFORT) || !in_range(row->recall, 0, 1))
            return false;
        for (size_t j = 0; j < QUANT_TARGETS; j++) {
            const quant_entry *entry = &row->entry[j];
            if (!in_range(entry->target, 0, 1) || !in_range(entry->effort, -1, QUANT_MAX_EFFORT) ||
                !in_range(entry->recall, 0, 1) || !in_range(entry->least, 0, 1))
                return false;
            if (j > 0 && entry->target <= row->entry[j - 1].target) return false;
        }
    }
    return true;
}

/* The floats of sections 1 and 2 may be anything: they are compared, and lead nowhere. */
bool pm_quant_is_sound(const pm_quant *quant)
{
    uint64_t length[PM_QUANT_SECTIONS];
    quant_model model;
    quant_table table;
    if (!pm_quant_lengths(quant->rows, quant->dim, quant->metric, length)) return false;
    for (size_t i = 0; i < PM_QUANT_SECTIONS; i++) {
        if (quant->section[i] == NULL || (uintptr_t)quant->section[i] % QUANT_LINE != 0) return false;
    }
    memcpy(&model, quant->section[QUANT_MODEL], sizeof model);
    memcpy(&table, quant->section[QUANT_TABLE], sizeof table);
    if (model.revision != QUANT_REVISION || model.dim != quant->dim || model.padded != quant_padded(quant->dim) ||
        (model.flags & ~QUANT_LOSSLESS) != 0 || model.rows != quant->rows || model.metric != (uint32_t)quant->metric ||
        model.exponent < -160 || model.exponent > 160)
        return false;
    const float *centre = (const float *)(const void *)(quant->section[QUANT_MODEL] + sizeof model);
    for (uint32_t d = 0; d < quant->dim; d++) {
        if (!in_range(centre[d], -FLT_MAX, FLT_MAX)) return false;
    }
    return table_is_sound(&table);
}

void quant_space_of(quant_space *space, const pm_quant *quant, const pm_simd *simd)
{
    quant_model model;
    memcpy(&model, quant->section[QUANT_MODEL], sizeof model);
    *space = (quant_space){.kernels = simd->quant,
                           .dim = quant->dim,
                           .metric = quant->metric,
                           .lossless = (model.flags & QUANT_LOSSLESS) != 0,
                           .seed = model.seed,
                           .centre = (const float *)(const void *)(quant->section[QUANT_MODEL] + sizeof model)};
    quant_space_set(space, model.exponent);
}

void quant_space_set(quant_space *space, int exponent)
{
    space->padded = quant_padded(space->dim);
    space->window = 16;
    while (space->window * 2 <= space->padded)
        space->window *= 2;
    space->exponent = exponent;
    space->scale = ldexp(1, exponent);
}

/* Fast rotations by signs and Hadamard transforms: Ailon and Chazelle, The fast Johnson-Lindenstrauss transform, 2009;
 * windows that overlap and a step that joins the halves serve lengths that are no power of two. */
void quant_rotate(const quant_space *space, const float *x, double inverse, float *o)
{
    space->kernels->centre(x, space->centre, space->dim, inverse, space->scale, o);
    memset(o + space->dim, 0, (space->padded - space->dim) * sizeof *o);
    space->kernels->rotate(o, space->padded, space->window, space->seed);
}
