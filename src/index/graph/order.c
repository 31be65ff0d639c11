/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which order the rows become nodes: near rows mostly side by side, so that the codes, links and rows that a walk
 * looks at lie near each other in memory (as Coleman et al., Graph reordering for cache-efficient near neighbor search,
 * 2022, but before there are links, so that building gains from it, too).
 *
 * A tree: rows are divided among a few of them, each goes to the nearest, and so on, until few are left; the few follow
 * each other by a chain of nearest ones. All is integers, and no piece depends on another of its level.
 */
#include <stdatomic.h>
#include <string.h>

#include "graph_build.h"
#include "simd/graph.h"

enum {
    FEW = 64,                /* rows that are not divided */
    PIVOTS = PM_GRAPH_PANEL, /* among which rows are divided, at most */
    LEVELS = 12,             /* at most, whatever the rows are */
    DIVIDED = 1 << 14,       /* rows of a piece; a multiple of PM_GRAPH_TILE */
    MOVES = 1 << 14,         /* of a row between two questions */
    AHEAD = 16,              /* moves; what then is needed is asked for */
    ASK_BYTES = 256,         /* of a code */
};

typedef struct range {
    uint32_t from, to;
} range;

typedef struct ordering {
    const pm_graph_builder *b;
    uint32_t *order, *spare; /* spare: of the same ranges */
    uint8_t *group;
    const range *cut; /* each a piece */
    range *next;      /* PIVOTS of each piece; from == to: none */
    _Atomic int status;
} ordering;

static const uint8_t *code_of(const ordering *o, uint32_t at)
{
    return o->b->codes + (size_t)o->order[at] * o->b->space.shape.whole;
}

/* Numbers of pivots, each followed by the nearest that is left. */
static void chain(const uint32_t *distance, uint32_t count, uint8_t *position)
{
    uint32_t at = 0, left = (1u << count) - 2;
    position[0] = 0;
    for (uint8_t place = 1; left != 0; place++) {
        const uint32_t *from = distance + (size_t)at * PIVOTS;
        uint32_t best = (uint32_t)__builtin_ctz(left);
        for (uint32_t i = best + 1; i < count; i++)
            if ((left >> i & 1) != 0 && from[i] < from[best]) best = i;
        position[best] = place;
        left &= ~(1u << best);
        at = best;
    }
}

/* Rows that a range is divided among, laid out, and where the group of each comes among the others. */
typedef struct pivots {
    ordering *o;
    range r;
    uint32_t count;
    uint8_t *panels;
    uint8_t position[PIVOTS];
} pivots;

static void choose_pivots(pivots *p)
{
    const ordering *o = p->o;
    const pm_simd_graph *kernels = o->b->simd->graph;
    const size_t stride = o->b->space.shape.whole;
    _Alignas(GRAPH_LINE) uint32_t distance[PIVOTS * PIVOTS];
    const uint8_t *code[PIVOTS] = {NULL};
    for (uint32_t i = 0; i < p->count; i++) {
        const uint64_t n = p->r.to - p->r.from, from = n * i / p->count, to = n * (i + 1) / p->count;
        const uint64_t key = pm_mix64(o->b->source->seed ^ pm_mix64((uint64_t)p->r.from * PIVOTS + i));
        code[i] = code_of(o, p->r.from + (uint32_t)(from + key % (to - from)));
    }
    kernels->pack(code, p->count, stride, p->panels);
    kernels->distances(code, p->count, stride, p->panels, p->count, distance, PIVOTS);
    chain(distance, p->count, p->position);
}

/* Which group each of some rows of the range goes to. */
static void divide(void *argument, uint32_t piece)
{
    const pivots *p = argument;
    ordering *o = p->o;
    const pm_simd_graph *kernels = o->b->simd->graph;
    const size_t stride = o->b->space.shape.whole;
    const uint32_t end = (uint32_t)pm_min_u64(p->r.to, p->r.from + (uint64_t)(piece + 1) * DIVIDED);
    _Alignas(GRAPH_LINE) uint32_t distance[PM_GRAPH_TILE * PIVOTS];
    const uint8_t *code[PM_GRAPH_TILE] = {NULL};
    if (atomic_load_explicit(&o->status, memory_order_relaxed) != POMAI_OK) return;
    if (!builder_go_on(o->b)) atomic_store(&o->status, POMAI_EDEADLINE);
    for (uint32_t at = p->r.from + piece * DIVIDED; at < end; at += PM_GRAPH_TILE) {
        const uint32_t n = end - at < PM_GRAPH_TILE ? end - at : PM_GRAPH_TILE;
        for (uint32_t i = 0; i < n; i++)
            code[i] = code_of(o, at + i);
        kernels->distances(code, n, stride, p->panels, p->count, distance, PIVOTS);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t *to = distance + (size_t)i * PIVOTS;
            uint32_t best = 0;
            for (uint32_t j = 1; j < p->count; j++)
                best = to[j] < to[best] ? j : best;
            o->group[at + i] = p->position[best];
        }
    }
}

/* The rows of a range by group, otherwise as they were, and the groups that are to be divided. */
static void cut_range(ordering *o, range r, const pm_index_work *work, range *next)
{
    const uint32_t n = r.to - r.from, wanted = (n + FEW - 1) / FEW;
    const size_t bytes = pm_graph_panel_bytes(o->b->simd->graph, o->b->space.shape.whole);
    pivots p = {
        .o = o, .r = r, .count = wanted < PIVOTS ? wanted : PIVOTS, .panels = pm_malloc_aligned(GRAPH_LINE, bytes)};
    uint32_t size[PIVOTS] = {0}, end[PIVOTS];
    if (p.panels == NULL) {
        atomic_store(&o->status, POMAI_ENOMEM);
        return;
    }
    choose_pivots(&p);
    pm_index_run(work, divide, &p, (n + DIVIDED - 1) / DIVIDED);
    pm_free(p.panels);
    if (atomic_load(&o->status) != POMAI_OK) return;
    for (uint32_t i = r.from; i < r.to; i++)
        size[o->group[i]]++;
    for (uint32_t g = 0, at = r.from; g < PIVOTS; g++) {
        const bool more = size[g] > FEW && size[g] < n;
        next[g] = more ? (range){at, at + size[g]} : (range){0, 0};
        end[g] = at;
        at += size[g];
    }
    for (uint32_t i = r.from; i < r.to; i++)
        o->spare[end[o->group[i]]++] = o->order[i];
    memcpy(o->order + r.from, o->spare + r.from, n * sizeof *o->order);
}

static void cut_piece(void *argument, uint32_t piece)
{
    ordering *o = argument;
    if (atomic_load_explicit(&o->status, memory_order_relaxed) != POMAI_OK) return;
    cut_range(o, o->cut[piece], NULL, o->next + (size_t)piece * PIVOTS);
}

static pomai_status cut_all(ordering *o, range *cut, range *next)
{
    const uint32_t rows = (uint32_t)o->b->source->rows;
    uint32_t pieces = rows > FEW ? 1 : 0;
    cut[0] = (range){0, rows};
    for (uint32_t level = 0; level < LEVELS && pieces > 0; level++) {
        uint32_t kept = 0;
        o->cut = cut;
        o->next = next;
        if (pieces == 1)
            cut_range(o, cut[0], o->b->work, next); /* the first: all threads divide its rows */
        else
            pm_index_run(o->b->work, cut_piece, o, pieces);
        if (atomic_load(&o->status) != POMAI_OK) break;
        for (size_t i = 0; i < (size_t)pieces * PIVOTS; i++)
            if (next[i].from < next[i].to) cut[kept++] = next[i];
        pieces = kept;
    }
    return (pomai_status)atomic_load(&o->status);
}

/* Each code to where its row is now, along the circles of the order; b->place becomes its inverse. */
static pomai_status move_codes(pm_graph_builder *b)
{
    const uint64_t rows = b->source->rows;
    const size_t size = b->space.shape.whole, asked = size < ASK_BYTES ? size : ASK_BYTES;
    uint32_t moves = 0;
    memset(b->place, 0xff, rows * sizeof *b->place);
    for (uint64_t first = 0; first < rows; first++) {
        if (b->place[b->order[first]] != UINT32_MAX) continue;
        uint64_t to = first;
        uint32_t soon = (uint32_t)first;
        memcpy(b->code, b->codes + first * size, size);
        for (int i = 0; i < AHEAD; i++)
            soon = b->order[soon];
        for (;;) {
            const uint32_t from = b->order[to];
            soon = b->order[soon];
            for (size_t d = 0; d < asked; d += GRAPH_LINE)
                __builtin_prefetch(b->codes + soon * size + d);
            b->place[from] = (uint32_t)to;
            if (++moves % MOVES == 0 && !builder_go_on(b)) return POMAI_EDEADLINE;
            if (from == first) break;
            memcpy(b->codes + to * size, b->codes + from * size, size);
            to = from;
        }
        memcpy(b->codes + to * size, b->code, size);
    }
    return POMAI_OK;
}

pomai_status graph_order_rows(pm_graph_builder *b)
{
    const uint64_t rows = b->source->rows, most = rows / FEW + 1; /* ranges of more than FEW */
    ordering o = {.b = b};
    range *cut = pm_malloc(most * sizeof *cut), *next = pm_malloc(most * PIVOTS * sizeof *next);
    b->order = pm_malloc(rows * sizeof *b->order);
    b->place = pm_malloc(rows * sizeof *b->place);
    o.group = pm_malloc(rows);
    o.order = b->order;
    o.spare = b->place; /* not needed yet */
    atomic_init(&o.status, POMAI_OK);
    pomai_status status = POMAI_ENOMEM;
    if (cut != NULL && next != NULL && b->order != NULL && b->place != NULL && o.group != NULL) {
        for (uint64_t i = 0; i < rows; i++)
            b->order[i] = (uint32_t)i;
        status = cut_all(&o, cut, next);
    }
    pm_free(cut);
    pm_free(next);
    pm_free(o.group);
    return status == POMAI_OK ? move_codes(b) : status;
}
