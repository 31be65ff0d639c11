/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that can be made at any number, one by one, without a download: row n is a function of n alone.
 *
 * Uniform noise would not do: its neighbours are all nearly equally far, which no data are. What is embedded has fewer
 * degrees of freedom, bent into many dimensions, and some regions are denser than others. So a row is a point of a
 * mixture of 256 Gaussians in 32 dimensions, of unequal weights and, in each dimension, of unequal widths, which
 * overlap; a random layer with a soft threshold bends it into 64 dimensions, a random linear one spreads these over all
 * of the row's, and noise is added in each of them, so that neighbours do not lie on the bent surface. The distribution
 * does not depend on how many rows are taken.
 *
 * The widths were chosen so that the local intrinsic dimension, as recall.h estimates it, is that of SIFT descriptors,
 * 18 of 10,000 rows and 21 of 100,000 (SIFT: 18, 21; GloVe: 29, 32; Fashion-MNIST: 12, 15), and not by what any engine
 * makes of it.
 */
#ifndef POMAI_BENCH_SYNTH_H
#define POMAI_BENCH_SYNTH_H

#include "bench.h"

enum { SYNTH_LATENT = 32, SYNTH_HIDDEN = 64, SYNTH_PARTS = 256, SYNTH_SEED = 20240607 };

/* Rows from here on are queries: the same distribution, and no row is ever one. */
static const uint64_t synth_queries = (uint64_t)1 << 40;

struct synth {
    size_t dim;
    float centre[SYNTH_PARTS][SYNTH_LATENT], width[SYNTH_PARTS][SYNTH_LATENT];
    float bend[SYNTH_LATENT][SYNTH_HIDDEN], threshold[SYNTH_HIDDEN];
    float *spread; /* SYNTH_HIDDEN x dim */
};

static struct synth synth;

/* Number `i` of the stream: mean 0, deviation 1, close to normal: a sum of four uniform ones. */
static inline float synth_normal(uint64_t stream, uint64_t i)
{
    const uint64_t m = bench_mix(stream + i);
    const int sum = (int)(m & 0xffff) + (int)(m >> 16 & 0xffff) + (int)(m >> 32 & 0xffff) + (int)(m >> 48);
    return (float)(sum - 131070) * (1 / 37837.2f);
}

static inline float synth_uniform(uint64_t stream, uint64_t i)
{
    return (float)(bench_mix(stream + i) >> 40) * 0x1p-24f;
}

static inline void synth_begin(size_t dim)
{
    const uint64_t stream = bench_mix(SYNTH_SEED);
    uint64_t n = 0;
    synth.dim = dim;
    synth.spread = bench_alloc(SYNTH_HIDDEN * dim * sizeof(float));
    for (int c = 0; c < SYNTH_PARTS; c++)
        for (int i = 0; i < SYNTH_LATENT; i++) {
            synth.centre[c][i] = synth_normal(stream, n++);
            synth.width[c][i] = 1.0f + 1.0f * synth_uniform(stream, n++);
        }
    for (int i = 0; i < SYNTH_LATENT; i++)
        for (int h = 0; h < SYNTH_HIDDEN; h++)
            synth.bend[i][h] = synth_normal(stream, n++) * 0.25f;
    for (int h = 0; h < SYNTH_HIDDEN; h++)
        synth.threshold[h] = synth_normal(stream, n++);
    for (size_t i = 0; i < SYNTH_HIDDEN * dim; i++)
        synth.spread[i] = synth_normal(stream, n++) * 0.125f;
}

static inline void synth_row(uint64_t number, float *row)
{
    const uint64_t stream = bench_mix(number ^ (uint64_t)SYNTH_SEED << 48);
    const float u = synth_uniform(stream, 0);
    const int c = (int)(u * u * SYNTH_PARTS); /* the first parts are denser */
    float hidden[SYNTH_HIDDEN];
    memcpy(hidden, synth.threshold, sizeof hidden);
    for (int i = 0; i < SYNTH_LATENT; i++) {
        const float z = synth.centre[c][i] + synth.width[c][i] * synth_normal(stream, 1 + (uint64_t)i);
        for (int h = 0; h < SYNTH_HIDDEN; h++)
            hidden[h] += z * synth.bend[i][h];
    }
    for (size_t j = 0; j < synth.dim; j++)
        row[j] = 0.1f * synth_normal(stream, 1 + SYNTH_LATENT + j);
    for (size_t h = 0; h < SYNTH_HIDDEN; h++) {
        const float bent = hidden[h] / (1 + fabsf(hidden[h]));
        for (size_t j = 0; j < synth.dim; j++)
            row[j] += bent * synth.spread[h * synth.dim + j];
    }
}

static inline void synth_rows(uint64_t first, size_t rows, float *out)
{
    for (size_t i = 0; i < rows; i++)
        synth_row(first + i, out + i * synth.dim);
}

#endif
