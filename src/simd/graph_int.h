/* SPDX-License-Identifier: Apache-2.0 */
/* What the tables of graph.h share. */
#ifndef PM_GRAPH_INT_H
#define PM_GRAPH_INT_H

#include <string.h>

#include "graph.h"
#include "simd_int.h"

#if defined(__x86_64__)
/* graph_avx2.c; also what the levels above do. Panels of 16-bit elements: [d / 2][row][d % 2]. */
void pm_graph_pack_avx2(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *panels);
void pm_graph_distances_avx2(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels, size_t packed,
                             uint32_t *out, size_t apart);
/* graph_avx512.c */
size_t pm_graph_nearest_avx512(const uint32_t *distance, size_t n, size_t most, uint64_t *out);
size_t pm_graph_merge_avx512(const uint64_t *keys, size_t lists, size_t keep, size_t most, uint64_t *out);
/* graph_avx512vnni.c; its panels are also those of amx */
void pm_graph_pack_avx512vnni(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *panels);
uint32_t pm_graph_term_avx512vnni(const uint8_t *row, size_t stride); /* sum a^2 - 256 sum a */
void pm_graph_distances_avx512vnni(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels,
                                   size_t packed, uint32_t *out, size_t apart);
#endif

/* Compiled for each level by its own file, as vectors of its own width. */
#define GRAPH_EACH static __attribute__((unused))

/*
 * No less than the `most`-th least distance, most <= 16: of the least ones of 16 interleaved groups, the `most`-th.
 */
GRAPH_EACH uint32_t graph_bound(const uint32_t *distance, size_t n, size_t most)
{
    uint32_t least[16];
    for (size_t l = 0; l < 16; l++)
        least[l] = UINT32_MAX;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t l = 0; l < 16; l++)
            least[l] = distance[i + l] < least[l] ? distance[i + l] : least[l];
    for (size_t l = 0; i + l < n; l++)
        least[l] = distance[i + l] < least[l] ? distance[i + l] : least[l];
    uint32_t bound = UINT32_MAX;
    for (size_t l = 0; l < 16; l++) {
        size_t under = 0;
        for (size_t o = 0; o < 16; o++)
            under += least[o] <= least[l];
        if (under >= most && least[l] < bound) bound = least[l];
    }
    return bound;
}

/* Puts a key into the sorted ones; the last of `most` falls out. */
GRAPH_EACH size_t graph_keep(uint64_t key, uint64_t *out, size_t kept, size_t most)
{
    if (kept == most && key >= out[most - 1]) return kept;
    size_t at = kept < most ? kept : most - 1;
    for (; at > 0 && out[at - 1] > key; at--)
        out[at] = out[at - 1];
    out[at] = key;
    return kept < most ? kept + 1 : kept;
}

GRAPH_EACH size_t graph_nearest(const uint32_t *distance, size_t n, size_t most, uint64_t *out)
{
    uint32_t bound = most <= 16 ? graph_bound(distance, n, most) : UINT32_MAX;
    size_t kept = 0, i = 0;
    for (; i < n; i += 16) {
        const size_t here = n - i < 16 ? n - i : 16;
        uint32_t any = 0;
        if (here == 16)
            for (size_t l = 0; l < 16; l++)
                any |= (uint32_t)(distance[i + l] <= bound);
        if (here == 16 && any == 0) continue;
        for (size_t l = 0; l < here; l++)
            if (distance[i + l] <= bound) kept = graph_keep((uint64_t)distance[i + l] << 32 | (i + l), out, kept, most);
        if (kept == most) bound = (uint32_t)(out[most - 1] >> 32);
    }
    return kept;
}

GRAPH_EACH size_t graph_merge(const uint64_t *keys, size_t lists, size_t keep, size_t most, uint64_t *out)
{
    const uint64_t end = UINT64_MAX;
    uint64_t run[2][PM_GRAPH_LISTS][PM_GRAPH_NEAREST + 1];
    unsigned side = 0;
    for (size_t l = 0; l < lists; l++) {
        memcpy(run[0][l], keys + l * keep, keep * sizeof *keys);
        run[0][l][keep] = UINT64_MAX;
    }
    for (; lists > 1; lists = (lists + 1) / 2, side ^= 1)
        for (size_t l = 0; l < lists; l += 2)
            if (l + 1 < lists)
                (void)pm_graph_merge_two(run[side][l], run[side][l + 1], most, run[side ^ 1][l / 2]);
            else
                memcpy(run[side ^ 1][l / 2], run[side][l], sizeof run[0][l]);
    return pm_graph_merge_two(run[side][0], &end, most, out);
}

#endif
