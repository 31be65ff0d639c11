/* SPDX-License-Identifier: Apache-2.0 */
/* Where walks begin, and that they come everywhere. */
#include "link_int.h"

#include <string.h>

#define SAMPLE  65536 /* rows whose mean is taken */
#define SPREAD  16    /* rows looked at for each entry */
#define LOOKED  4096  /* at least, for all */
#define LOOK    1024  /* rows that a near one is looked for among */
#define PASSES  8
#define BETWEEN 4096 /* rows between two questions whether to go on */
#define AHEAD   4    /* rows whose links are asked for before they are followed */

/* Distances to one row, of some. */
typedef struct gauge {
    const graph_codes *codes;
    const pm_simd_graph *kernels;
    uint8_t *panel;
    uint32_t *distance; /* PM_GRAPH_TILE panels wide */
} gauge;

static bool take_gauge(const graph_codes *codes, const pm_simd_graph *kernels, gauge *g)
{
    *g = (gauge){codes, kernels, pm_malloc_aligned(64, pm_graph_panel_bytes(kernels, codes->stride)),
                 pm_malloc_aligned(64, PM_GRAPH_TILE * PM_GRAPH_PANEL * sizeof *g->distance)};
    return g->panel != NULL && g->distance != NULL;
}

static void drop_gauge(gauge *g)
{
    pm_free(g->panel), pm_free(g->distance);
}

static void aim(gauge *g, const uint8_t *code)
{
    g->kernels->pack(&code, 1, g->codes->stride, g->panel);
}

/* key[i]: distance from what was aimed at, and row[i]. */
static void measure(const gauge *g, const uint32_t *row, size_t n, uint64_t *key)
{
    for (size_t i = 0; i < n; i += PM_GRAPH_TILE) {
        const size_t here = n - i < PM_GRAPH_TILE ? n - i : PM_GRAPH_TILE;
        const uint8_t *code[PM_GRAPH_TILE];
        for (size_t r = 0; r < here; r++)
            code[r] = graph_code(g->codes, row[i + r]);
        g->kernels->distances(code, here, g->codes->stride, g->panel, 1, g->distance, PM_GRAPH_PANEL);
        for (size_t r = 0; r < here; r++)
            key[i + r] = (uint64_t)g->distance[r * PM_GRAPH_PANEL] << 32 | row[i + r];
    }
}

/* ---- entries ---- */

/* The nearest of every so-manieth row. */
static uint64_t nearest_of(const gauge *g, uint64_t sample)
{
    uint64_t best = GRAPH_NO_KEY;
    for (uint64_t i = 0; i < sample;) {
        uint32_t row[PM_GRAPH_TILE];
        uint64_t key[PM_GRAPH_TILE];
        size_t n = 0;
        for (; n < PM_GRAPH_TILE && i < sample; i++)
            row[n++] = (uint32_t)(i * g->codes->rows / sample);
        measure(g, row, n, key);
        for (size_t j = 0; j < n; j++)
            best = pm_min_u64(best, key[j]);
    }
    return best;
}

bool graph_middle(const graph_codes *codes, const pm_simd_graph *kernels, uint32_t *out)
{
    const uint64_t sample = pm_min_u64(codes->rows, SAMPLE);
    uint32_t *sum = pm_calloc(codes->stride, sizeof *sum); /* 2^16 bytes fit */
    uint8_t *mean = pm_malloc_aligned(64, codes->stride);
    gauge g;
    const bool good = take_gauge(codes, kernels, &g) && sum != NULL && mean != NULL;
    if (good) {
        for (uint64_t i = 0; i < sample; i++) {
            const uint8_t *code = graph_code(codes, i * codes->rows / sample);
            for (size_t d = 0; d < codes->stride; d++)
                sum[d] += code[d];
        }
        for (size_t d = 0; d < codes->stride; d++)
            mean[d] = (uint8_t)((sum[d] + sample / 2) / sample);
        aim(&g, mean);
        *out = (uint32_t)nearest_of(&g, sample);
    }
    drop_gauge(&g);
    pm_free(sum), pm_free(mean);
    return good;
}

/* A row at random, in proportion to how far it is from those chosen (k-means++: Arthur, Vassilvitskii, 2007). */
static size_t draw(const uint32_t *least, const uint8_t *used, size_t n, uint64_t hash)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += least[i];
    if (sum == 0) { /* all are as near as can be */
        size_t unused = 0;
        while (unused < n && used[unused])
            unused++;
        return unused;
    }
    uint64_t at = hash % sum;
    for (size_t i = 0;; i++) {
        if (at < least[i]) return i;
        at -= least[i];
    }
}

static uint64_t looked_at(uint64_t rows, uint32_t count)
{
    return pm_min_u64(rows, pm_max_u64(LOOKED, (uint64_t)count * SPREAD));
}

/* Among rows that are laid out, so that all are compared with each entry at once. */
typedef struct field {
    uint32_t *row;
    uint8_t *panels;
    uint32_t *distance, *least; /* to the last entry, and to the nearest of all */
    uint8_t *used;
} field;

static void lay_out(const graph_codes *codes, const pm_simd_graph *kernels, uint64_t seed, uint64_t n, field *f)
{
    const size_t bytes = pm_graph_panel_bytes(kernels, codes->stride);
    const uint8_t *code[PM_GRAPH_PANEL];
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t from = codes->rows * i / n, to = codes->rows * (i + 1) / n;
        f->row[i] = (uint32_t)(from + pm_mix64(seed ^ pm_mix64(i)) % (to - from));
        f->least[i] = UINT32_MAX;
    }
    for (uint64_t i = 0; i < n; i += PM_GRAPH_PANEL) {
        const size_t here = (size_t)pm_min_u64(n - i, PM_GRAPH_PANEL);
        for (size_t r = 0; r < here; r++)
            code[r] = graph_code(codes, f->row[i + r]);
        kernels->pack(code, here, codes->stride, f->panels + i / PM_GRAPH_PANEL * bytes);
    }
}

static void spread_entries(const graph_codes *codes, const pm_simd_graph *kernels, uint64_t seed, uint64_t n,
                           uint32_t count, field *f, uint32_t *out)
{
    lay_out(codes, kernels, seed, n, f);
    for (uint64_t i = 0; i < n; i++)
        f->used[i] = f->row[i] == out[0];
    for (uint32_t c = 1; c < count; c++) {
        const uint8_t *last = graph_code(codes, out[c - 1]);
        kernels->distances(&last, 1, codes->stride, f->panels, (size_t)n, f->distance, graph_round16((size_t)n));
        for (uint64_t i = 0; i < n; i++)
            f->least[i] = f->distance[i] < f->least[i] ? f->distance[i] : f->least[i];
        const size_t next = draw(f->least, f->used, (size_t)n, pm_mix64(seed + c));
        out[c] = f->row[next];
        f->used[next] = 1;
    }
}

pomai_status graph_entries(const graph_codes *codes, const pm_simd *simd, uint64_t seed, uint32_t count, uint32_t *out)
{
    const uint64_t n = looked_at(codes->rows, count);
    if (count == 0) return POMAI_OK;
    if (!graph_middle(codes, simd->graph, out)) return POMAI_ENOMEM;
    if (count == 1) return POMAI_OK;
    const size_t wide = graph_round16((size_t)n);
    uint64_t bytes;
    field f = {.row = pm_malloc(n * sizeof *f.row),
               .distance = pm_malloc_aligned(64, wide * sizeof *f.distance),
               .least = pm_malloc(n * sizeof *f.least),
               .used = pm_malloc(n)};
    if (!pm_mul_overflows(pm_graph_panels((size_t)n), pm_graph_panel_bytes(simd->graph, codes->stride), &bytes))
        f.panels = pm_malloc_aligned(64, (size_t)bytes);
    const bool good = f.row != NULL && f.panels != NULL && f.distance != NULL && f.least != NULL && f.used != NULL;
    if (good) spread_entries(codes, simd->graph, seed, n, count, &f, out);
    pm_free(f.row), pm_free(f.panels), pm_free(f.distance), pm_free(f.least), pm_free(f.used);
    return good ? POMAI_OK : POMAI_ENOMEM;
}

/* ---- reach ---- */

/* A breadth-first tree. */
typedef struct tree {
    graph_linker *l;
    gauge gauge;
    uint32_t *parent; /* GRAPH_NONE: not reached; the root's is itself */
    uint32_t *queue;
    uint64_t head, reached;
} tree;

static uint32_t *links_of(const tree *t, uint64_t row)
{
    return t->l->links + row * t->l->options->degree;
}

static size_t degree_of(const tree *t, uint64_t row)
{
    const uint32_t *links = links_of(t, row);
    size_t n = 0;
    while (n < t->l->options->degree && links[n] != GRAPH_NONE)
        n++;
    return n;
}

static void reach(tree *t, uint32_t row, uint32_t parent)
{
    t->parent[row] = parent;
    t->queue[t->reached++] = row;
}

static bool spread(tree *t)
{
    while (t->head < t->reached) {
        if (t->head % BETWEEN == 0 && !graph_go_on(t->l)) return false;
        const uint32_t row = t->queue[t->head++], *links = links_of(t, row);
        if (t->head + AHEAD < t->reached)
            for (size_t i = 0; i < t->l->options->degree; i += 64 / sizeof *links)
                __builtin_prefetch(links_of(t, t->queue[t->head + AHEAD]) + i);
        for (size_t i = 0; i < t->l->options->degree && links[i] != GRAPH_NONE; i++)
            if (t->parent[links[i]] == GRAPH_NONE) reach(t, links[i], row);
    }
    return true;
}

/* Where in the row's links another may be put: behind them, or in place of the farthest that the tree does not need. */
static size_t room_of(const tree *t, uint32_t row)
{
    const uint32_t *links = links_of(t, row);
    const size_t degree = t->l->options->degree;
    size_t at = degree_of(t, row);
    if (at < degree) return at;
    while (at > 0 && t->parent[links[at - 1]] == row)
        at--;
    return at > 0 ? at - 1 : GRAPH_NONE;
}

/* The row, or a near one below it in the tree, that has room. */
static uint32_t host_near(const tree *t, uint32_t row)
{
    while (room_of(t, row) == GRAPH_NONE) { /* all its links are of the tree, so this ends at a leaf at last */
        const uint32_t *links = links_of(t, row);
        size_t i = 0;
        while (i + 1 < t->l->options->degree && room_of(t, links[i]) == GRAPH_NONE)
            i++;
        row = room_of(t, links[i]) != GRAPH_NONE ? links[i] : links[0];
    }
    return row;
}

static void attach(tree *t, uint32_t near, uint32_t row)
{
    const uint32_t host = host_near(t, near);
    uint32_t *links = links_of(t, host);
    uint64_t key[GRAPH_MOST_DEGREE];
    const size_t at = room_of(t, host), before = degree_of(t, host), n = before > at ? before : at + 1;
    links[at] = row;
    aim(&t->gauge, graph_code(&t->l->codes, host));
    measure(&t->gauge, links, n, key);
    graph_sort_keys(key, n);
    for (size_t i = 0; i < n; i++)
        links[i] = (uint32_t)key[i];
    reach(t, row, host);
}

/* A reached row near this one, if there is none among its own links: downhill from the nearest of some. */
static uint32_t search(tree *t, uint32_t row)
{
    const uint64_t rows = t->l->codes.rows, sample = pm_min_u64(rows, LOOK);
    uint32_t some[PM_GRAPH_TILE];
    uint64_t key[GRAPH_MOST_DEGREE], best = GRAPH_NO_KEY;
    aim(&t->gauge, graph_code(&t->l->codes, row));
    for (uint64_t i = 0; i < sample;) {
        size_t n = 0;
        for (; n < PM_GRAPH_TILE && i < sample; i++) {
            some[n] = (uint32_t)(i * rows / sample);
            n += t->parent[some[n]] != GRAPH_NONE;
        }
        measure(&t->gauge, some, n, key);
        for (size_t j = 0; j < n; j++)
            best = pm_min_u64(best, key[j]);
    }
    if (best == GRAPH_NO_KEY) measure(&t->gauge, t->queue, 1, &best); /* the entry */
    for (uint64_t from = GRAPH_NO_KEY; best < from;) {
        const size_t n = degree_of(t, (uint32_t)best);
        from = best;
        measure(&t->gauge, links_of(t, (uint32_t)best), n, key);
        for (size_t j = 0; j < n; j++)
            best = pm_min_u64(best, key[j]);
    }
    return (uint32_t)best;
}

/* Links to rows that are not reached; `searching`: also to those that link to no reached one. */
static bool mend(tree *t, bool searching)
{
    for (uint64_t row = 0; row < t->l->codes.rows; row++) {
        if (row % BETWEEN == 0 && !graph_go_on(t->l)) return false;
        if (t->parent[row] != GRAPH_NONE) continue;
        const uint32_t *links = links_of(t, row);
        uint32_t near = GRAPH_NONE;
        for (size_t i = 0; near == GRAPH_NONE && i < t->l->options->degree && links[i] != GRAPH_NONE; i++)
            if (t->parent[links[i]] != GRAPH_NONE) near = links[i];
        if (near == GRAPH_NONE && searching) near = search(t, (uint32_t)row);
        if (near == GRAPH_NONE) continue;
        attach(t, near, (uint32_t)row);
        if (!spread(t)) return false;
    }
    return true;
}

static bool mend_all(tree *t)
{
    uint64_t before = 0;
    for (int pass = 0; pass < PASSES && t->reached > before && t->reached < t->l->codes.rows; pass++) {
        before = t->reached;
        if (!mend(t, false)) return false;
    }
    return t->reached == t->l->codes.rows || mend(t, true);
}

bool graph_repair(graph_linker *linker)
{
    tree t = {.l = linker};
    const uint64_t rows = linker->codes.rows;
    t.parent = graph_take(linker, rows, sizeof *t.parent);
    t.queue = graph_take(linker, rows, sizeof *t.queue);
    bool good = take_gauge(&linker->codes, linker->kernels, &t.gauge) && t.parent != NULL && t.queue != NULL;
    if (!good) graph_stop(linker, POMAI_ENOMEM);
    if (good) {
        memset(t.parent, 0xff, rows * sizeof *t.parent);
        reach(&t, linker->entry, linker->entry);
        good = spread(&t) && mend_all(&t);
    }
    drop_gauge(&t.gauge);
    pm_free(t.parent), pm_free(t.queue);
    return good;
}
