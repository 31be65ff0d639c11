/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels of graphs over rows of unsigned bytes, one table of functions an instruction set.
 *
 * Rows are `stride` bytes, a multiple of 64 and at most PM_GRAPH_STRIDE, and 64-byte aligned. All is integers, so every
 * level gives the same bits; only what lies in a panel is each level's own.
 *
 * No function here allocates, locks or calls the system; all may be called from any thread.
 */
#ifndef PM_SIMD_GRAPH_H
#define PM_SIMD_GRAPH_H

#include "simd/simd.h"

#define PM_GRAPH_STRIDE 16384 /* a squared distance is below 2^31 */
#define PM_GRAPH_PANEL  16    /* rows of a panel */
#define PM_GRAPH_TILE   64    /* rows of a call, at most */

typedef struct pm_simd_graph {
    const char *name;
    size_t element; /* bytes of one element in a panel */

    /* Packs n rows into panels of PM_GRAPH_PANEL, pm_graph_panel_bytes apart, 64-byte aligned. */
    void (*pack)(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *panels);

    /*
     * out[i * apart + j] = squared distance between rows[i] and row j of the panels, n <= PM_GRAPH_TILE. `apart` is a
     * multiple of PM_GRAPH_PANEL, `out` 64-byte aligned; what is beyond `packed` in the last panel is scratch.
     */
    void (*distances)(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels, size_t packed,
                      uint32_t *out, size_t apart);

    /*
     * The `most` least of distance[0..n), as distance << 32 | index, in that order; their number, which is less only if
     * n is. Reads to the next multiple of PM_GRAPH_PANEL. n < 2^32, 1 <= most <= PM_GRAPH_NEAREST.
     */
    size_t (*nearest)(const uint32_t *distance, size_t n, size_t most, uint64_t *out);

    /*
     * The `most` least keys of `lists` lists of `keep` each, in order and each once, and UINT64_MAX behind them; their
     * number, which is less only if there are no more. Each list is in order, without repeats; one that has fewer is
     * filled with UINT64_MAX. Room for most + 8 in `out`. 1 <= lists <= PM_GRAPH_LISTS; 1 <= keep, most <=
     * PM_GRAPH_NEAREST.
     */
    size_t (*merge)(const uint64_t *keys, size_t lists, size_t keep, size_t most, uint64_t *out);
} pm_simd_graph;
#define PM_GRAPH_NEAREST 64
#define PM_GRAPH_LISTS   12

static inline size_t pm_graph_panel_bytes(const pm_simd_graph *kernels, size_t stride)
{
    return 64 + PM_GRAPH_PANEL * kernels->element * stride;
}

static inline size_t pm_graph_panels(size_t rows)
{
    return (rows + PM_GRAPH_PANEL - 1) / PM_GRAPH_PANEL;
}

/* Two lists in order, ended by UINT64_MAX, into one of at most `most` without repeats, which is ended so, too. */
static inline size_t pm_graph_merge_two(const uint64_t *a, const uint64_t *b, size_t most, uint64_t *out)
{
    size_t n = 0;
    while (n < most) {
        const uint64_t x = *a, y = *b, least = x < y ? x : y;
        if (least == UINT64_MAX) break;
        out[n++] = least;
        a += x == least;
        b += y == least;
    }
    out[n] = UINT64_MAX;
    return n;
}

#endif
