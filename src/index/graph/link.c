/* SPDX-License-Identifier: Apache-2.0 */
/* The stages one after another, and how pieces of them are run and stopped. */
#include "link_int.h"

#include <assert.h>
#include <string.h>

#define UPPER_SHARE  16
#define UPPER_LEAST  8 /* rows */
#define UPPER_DEGREE 4
#define FEW_SLOTS    4
#define MANY_KEEP    8 /* of a leaf */

#ifndef POMAI_TEST_HOOKS
const
#endif
    uint64_t graph_range = (uint64_t)1 << 17;

void graph_stop(graph_linker *linker, pomai_status status)
{
    int none = POMAI_OK;
    atomic_compare_exchange_strong(&linker->status, &none, (int)status);
}

bool graph_go_on(graph_linker *linker)
{
    const pm_index_work *work = linker->options->work;
    if (atomic_load_explicit(&linker->status, memory_order_relaxed) != POMAI_OK) return false;
    const bool on = work->go_on == NULL || work->go_on(work->context);
    if (!on) graph_stop(linker, POMAI_EDEADLINE);
    return on;
}

void *graph_take(graph_linker *linker, uint64_t count, uint64_t size)
{
    uint64_t bytes;
    void *memory = NULL;
    if (!pm_mul_overflows(count, size, &bytes) && bytes <= SIZE_MAX - 64)
        memory = pm_malloc_aligned(64, (size_t)pm_align_up(bytes + (bytes == 0), 64));
    if (memory == NULL) graph_stop(linker, POMAI_ENOMEM);
    return memory;
}

bool graph_run(graph_linker *linker, void (*piece)(void *linker, uint32_t i), uint64_t pieces, const void *stage)
{
    assert(pieces <= UINT32_MAX);
    linker->stage = stage;
    pm_index_run(linker->options->work, piece, linker, (uint32_t)pieces);
    return atomic_load(&linker->status) == POMAI_OK;
}

void graph_sort_keys(uint64_t *key, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const uint64_t k = key[i];
        size_t at = i;
        for (; at > 0 && key[at - 1] > k; at--)
            key[at] = key[at - 1];
        key[at] = k;
    }
}

static void link_rows(graph_linker *l);

/* Links one row in UPPER_SHARE among its like; the entry is one of them, so that a walk begins with the longest links.
 */
static bool link_upper(graph_linker *l)
{
    const uint64_t rows = l->codes.rows, count = rows / UPPER_SHARE;
    const uint32_t degree = l->options->degree / 2;
    if (count < UPPER_LEAST || degree < UPPER_DEGREE) return true;
    graph_link_options options = *l->options;
    options.degree = degree;
    options.seed = pm_mix64(options.seed + 1);
    l->upper.row = graph_take(l, count, sizeof *l->upper.row);
    l->upper.links = graph_take(l, count, degree * sizeof *l->upper.links);
    uint8_t *code = graph_take(l, count, l->codes.stride);
    if (l->upper.row != NULL && l->upper.links != NULL && code != NULL) {
        graph_linker upper = {.codes = {code, count, l->codes.stride}, .options = &options, .links = l->upper.links};
        for (uint64_t i = 0; i < count; i++) {
            const uint64_t from = rows * i / count, to = rows * (i + 1) / count;
            const bool has_entry = from <= l->entry && l->entry < to;
            const uint64_t row = has_entry ? l->entry : from + pm_mix64(options.seed ^ pm_mix64(i)) % (to - from);
            if (has_entry) upper.entry = (uint32_t)i;
            l->upper.row[i] = (uint32_t)row;
            memcpy(code + i * l->codes.stride, graph_code(&l->codes, row), l->codes.stride);
        }
        link_rows(&upper);
        graph_stop(l, (pomai_status)atomic_load(&upper.status));
        l->upper.count = (uint32_t)count;
        l->upper.degree = degree;
    }
    pm_free(code);
    return atomic_load(&l->status) == POMAI_OK;
}

/* With codes, options, links and entry set. */
static void link_rows(graph_linker *l)
{
    const uint64_t rows = l->codes.rows;
    l->kernels = l->options->simd->graph;
    l->slots = rows > GRAPH_LEAF ? l->options->fanout : 1;
    /* where rows need many leaders, they also need many candidates */
    l->candidates = l->slots > FEW_SLOTS ? GRAPH_CANDIDATES : GRAPH_CANDIDATES * 3 / 4;
    l->keep = l->slots > FEW_SLOTS ? MANY_KEEP : (l->candidates + l->slots - 1) / l->slots;
    atomic_init(&l->status, POMAI_OK);
    bool good = link_upper(l);
    if (good) l->keys = graph_take(l, rows, (uint64_t)l->slots * l->keep * sizeof *l->keys);
    good = good && l->keys != NULL && graph_group(l) && graph_prune(l);
    pm_free(l->keys), pm_free(l->upper.row), pm_free(l->upper.links);
    if (good) (void)graph_repair(l);
}

pomai_status graph_link(const graph_codes *codes, const graph_link_options *options, uint32_t *links)
{
    assert(options->degree >= 1 && options->degree <= GRAPH_MOST_DEGREE && options->slack_256 >= 256);
    assert(options->fanout >= 1 && options->fanout <= GRAPH_MOST_FANOUT);
    assert(codes->rows <= (uint64_t)1 << 28 && codes->stride % 64 == 0 && codes->stride <= PM_GRAPH_STRIDE);
    graph_linker linker = {.codes = *codes, .options = options, .links = links};
    if (codes->rows == 0) return POMAI_OK;
    if (!graph_middle(codes, options->simd->graph, &linker.entry)) return POMAI_ENOMEM;
    link_rows(&linker);
    return (pomai_status)atomic_load(&linker.status);
}
