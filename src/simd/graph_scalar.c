/* SPDX-License-Identifier: Apache-2.0 */
/* Portable kernels of graphs: the definition that the others are held to. A panel holds its rows one after another. */
#include "graph_int.h"

static void pack(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *panels)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *panel = panels + i / PM_GRAPH_PANEL * (64 + PM_GRAPH_PANEL * stride);
        memcpy(panel + 64 + i % PM_GRAPH_PANEL * stride, rows[i], stride);
    }
}

static uint32_t distance(const uint8_t *a, const uint8_t *b, size_t stride)
{
    uint32_t sum = 0;
    for (size_t d = 0; d < stride; d++) {
        const int by = a[d] - b[d];
        sum += (uint32_t)(by * by);
    }
    return sum;
}

static void distances(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels, size_t packed,
                      uint32_t *out, size_t apart)
{
    for (size_t j = 0; j < packed; j++) {
        const uint8_t *panel = panels + j / PM_GRAPH_PANEL * (64 + PM_GRAPH_PANEL * stride);
        const uint8_t *row = panel + 64 + j % PM_GRAPH_PANEL * stride;
        for (size_t i = 0; i < n; i++)
            out[i * apart + j] = distance(rows[i], row, stride);
    }
}

const pm_simd_graph pm_simd_graph_scalar = {
    .name = "scalar",
    .element = 1,
    .pack = pack,
    .distances = distances,
    .nearest = graph_nearest,
    .merge = graph_merge,
};
