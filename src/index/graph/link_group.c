/* SPDX-License-Identifier: Apache-2.0 */
/* Leaders, the groups around them, and the leaves these are cut into, in which all pairs are compared. */
#include "link_int.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK   1024 /* rows of a piece */
#define TILE    32   /* rows compared with all leaders at once */
#define AVERAGE 500  /* rows of a leaf */

/* A row in one of its slots: row * slots + slot, so that entries in order are rows in order. */
typedef uint32_t entry;

typedef struct leaders {
    uint32_t count;
    uint8_t *panels;
} leaders;

/* What all groups share. */
typedef struct stage {
    leaders leaders;
    uint32_t *near; /* rows x slots: which, or GRAPH_NONE */
    entry *entries; /* by leader, then by row */
    uint64_t *from; /* of each leader's, and the end */
} stage;

/* Rows to compare, and what that needs; of a piece. */
typedef struct scratch {
    const uint8_t **code;
    uint32_t *row;
    uint8_t *panels;
    uint32_t *distance;
} scratch;

static uint32_t row_of(const graph_linker *l, entry e)
{
    return e / l->slots;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/*
 * Leaders for rows (NULL: all): one at random out of each of `count` stretches, no two of the same code. Hashes stand
 * for codes: of two different ones with the same hash one is lost, no harm.
 */
static bool choose(graph_linker *l, const entry *entries, uint64_t n, uint32_t count, uint64_t path, leaders *out)
{
    const size_t bytes = pm_graph_panel_bytes(l->kernels, l->codes.stride);
    uint64_t *hash = graph_take(l, count, 2 * sizeof *hash);
    const uint8_t **code = graph_take(l, count, sizeof *code);
    out->panels = graph_take(l, pm_graph_panels(count), bytes);
    out->count = 0;
    if (hash == NULL || code == NULL || out->panels == NULL) {
        pm_free(hash), pm_free(code);
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t from = n * i / count, to = n * (i + 1) / count;
        const uint64_t at = from + pm_mix64(path ^ pm_mix64(i + 1)) % (to - from);
        const uint64_t row = entries == NULL ? at : row_of(l, entries[at]);
        hash[2 * i] = pm_hash_bytes(graph_code(&l->codes, row), l->codes.stride, l->options->seed);
        hash[2 * i + 1] = row;
    }
    qsort(hash, count, 2 * sizeof *hash, by_value);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t least = hash[2 * i + 1];
        for (; i + 1 < count && hash[2 * i + 2] == hash[2 * i]; i++)
            least = pm_min_u64(least, hash[2 * i + 3]);
        code[out->count++] = graph_code(&l->codes, least);
    }
    l->kernels->pack(code, out->count, l->codes.stride, out->panels);
    pm_free(hash), pm_free(code);
    return true;
}

/* near[i * fan ..]: the leaders nearest to row i of n, GRAPH_NONE where there are fewer. */
static bool assign(graph_linker *l, const leaders *among, const entry *entries, uint64_t first, uint64_t n,
                   uint32_t fan, uint32_t *near)
{
    const size_t apart = graph_round16(among->count);
    uint32_t *distance = graph_take(l, TILE * apart, sizeof *distance);
    if (distance == NULL) return false;
    bool on = true;
    for (uint64_t i = 0; i < n && on; i += TILE) {
        const size_t here = (size_t)pm_min_u64(n - i, TILE);
        const uint8_t *code[TILE];
        uint64_t best[GRAPH_MOST_FANOUT];
        for (size_t r = 0; r < here; r++)
            code[r] = graph_code(&l->codes, entries == NULL ? first + i + r : row_of(l, entries[i + r]));
        l->kernels->distances(code, here, l->codes.stride, among->panels, among->count, distance, apart);
        for (size_t r = 0; r < here; r++) {
            const size_t found = l->kernels->nearest(distance + r * apart, among->count, fan, best);
            for (size_t a = 0; a < fan; a++)
                near[(i + r) * fan + a] = a < found ? (uint32_t)best[a] : GRAPH_NONE;
        }
        if (i % BLOCK == 0) on = graph_go_on(l);
    }
    pm_free(distance);
    return on;
}

/* Entries by leader: n rows x fan of near. from: count + 1. */
static void sort_entries(const graph_linker *l, const uint32_t *near, uint64_t n, uint32_t fan, const entry *of,
                         uint32_t count, uint64_t *from, entry *out)
{
    memset(from, 0, ((size_t)count + 1) * sizeof *from);
    for (uint64_t i = 0; i < n * fan; i++)
        if (near[i] != GRAPH_NONE) from[near[i]]++;
    uint64_t sum = 0;
    for (uint32_t g = 0; g <= count; g++) {
        const uint64_t here = from[g];
        from[g] = sum;
        sum += here;
    }
    for (uint64_t i = 0; i < n; i++)
        for (uint32_t a = 0; a < fan; a++) {
            const uint32_t g = near[i * fan + a];
            const entry base = of == NULL ? (entry)(i * l->slots) : of[i];
            if (g != GRAPH_NONE) out[from[g]++] = base + a;
        }
    memmove(from + 1, from, count * sizeof *from); /* each was moved to its end */
    from[0] = 0;
}

/* ---- leaves ---- */

static void compare(graph_linker *l, const entry *entries, size_t n, const scratch *s)
{
    const size_t apart = graph_round16(n), most = l->keep < n ? l->keep : n;
    uint64_t best[GRAPH_CANDIDATES];
    if (n < 2) return;
    for (size_t i = 0; i < n; i++) {
        s->row[i] = row_of(l, entries[i]);
        s->code[i] = graph_code(&l->codes, s->row[i]);
    }
    l->kernels->pack(s->code, n, l->codes.stride, s->panels);
    for (size_t i = 0; i < n; i += PM_GRAPH_TILE) {
        const size_t here = n - i < PM_GRAPH_TILE ? n - i : PM_GRAPH_TILE;
        if (i % 64 == 0 && !graph_go_on(l)) return;
        for (size_t r = 0; r < here; r++)
            __builtin_prefetch(l->keys + (uint64_t)entries[i + r] * l->keep, 1);
        l->kernels->distances(s->code + i, here, l->codes.stride, s->panels, n, s->distance, apart);
        for (size_t r = 0; r < here; r++) {
            uint32_t *distance = s->distance + r * apart;
            distance[i + r] = UINT32_MAX; /* not with itself */
            size_t found = l->kernels->nearest(distance, n, most, best);
            uint64_t *keys = l->keys + (uint64_t)entries[i + r] * l->keep;
            found -= best[found - 1] >> 32 == UINT32_MAX;
            for (size_t k = 0; k < found; k++)
                keys[k] = (best[k] & ~(uint64_t)UINT32_MAX) | s->row[(uint32_t)best[k]];
        }
    }
}

/* A group that leaders do not split, of many equal rows: leaves of every so-manieth row. */
static void cut(graph_linker *l, const entry *entries, uint64_t n, const scratch *s)
{
    entry leaf[GRAPH_LEAF];
    const uint64_t parts = (n + GRAPH_LEAF - 1) / GRAPH_LEAF;
    for (uint64_t p = 0; p < parts; p++) {
        size_t in = 0;
        for (uint64_t i = p; i < n; i += parts)
            leaf[in++] = entries[i];
        compare(l, leaf, in, s);
    }
}

static void split(graph_linker *l, const entry *entries, uint64_t n, uint64_t path, const scratch *s);

static void group(graph_linker *l, const entry *entries, uint64_t n, uint64_t path, const scratch *s)
{
    if (n <= GRAPH_LEAF)
        compare(l, entries, (size_t)n, s);
    else
        split(l, entries, n, path, s);
}

/* Splits rows around leaders of their own. */
static void split(graph_linker *l, const entry *entries, uint64_t n, uint64_t path, const scratch *s)
{
    const uint32_t count = (uint32_t)pm_min_u64((n + AVERAGE - 1) / AVERAGE, GRAPH_LEADERS);
    leaders own;
    if (!choose(l, entries, n, count, path, &own)) {
        pm_free(own.panels);
        return;
    }
    uint32_t *near = graph_take(l, n, sizeof *near);
    entry *sorted = graph_take(l, n, sizeof *sorted);
    uint64_t *from = graph_take(l, (uint64_t)own.count + 1, sizeof *from);
    bool good = near != NULL && sorted != NULL && from != NULL;
    good = good && assign(l, &own, entries, 0, n, 1, near);
    pm_free(own.panels);
    uint64_t largest = 0;
    if (good) {
        sort_entries(l, near, n, 1, entries, own.count, from, sorted);
        for (uint32_t g = 0; g < own.count; g++)
            largest = pm_max_u64(largest, from[g + 1] - from[g]);
    }
    pm_free(near);
    const bool helps = largest <= n - n / 4;
    if (good && !helps) cut(l, entries, n, s);
    for (uint32_t g = 0; good && helps && g < own.count && graph_go_on(l); g++)
        group(l, sorted + from[g], from[g + 1] - from[g], pm_mix64(path + 1 + g), s);
    pm_free(sorted), pm_free(from);
}

/* ---- pieces ---- */

static void assign_piece(void *linker, uint32_t piece)
{
    graph_linker *l = linker;
    const stage *st = l->stage;
    const uint64_t first = (uint64_t)piece * BLOCK, n = pm_min_u64(l->codes.rows - first, BLOCK);
    memset(graph_keys_of(l, first), 0xff, n * l->slots * l->keep * sizeof *l->keys);
    (void)assign(l, &st->leaders, NULL, first, n, l->slots, st->near + first * l->slots);
}

static void group_piece(void *linker, uint32_t piece)
{
    graph_linker *l = linker;
    const stage *st = l->stage;
    const uint64_t from = st->from[piece], n = st->from[piece + 1] - from;
    const size_t leaf = (size_t)pm_min_u64(n, GRAPH_LEAF);
    const scratch s = {graph_take(l, leaf, sizeof *s.code), graph_take(l, leaf, sizeof *s.row),
                       graph_take(l, pm_graph_panels(leaf), pm_graph_panel_bytes(l->kernels, l->codes.stride)),
                       graph_take(l, graph_round16(leaf), PM_GRAPH_TILE * sizeof *s.distance)};
    const uint64_t path = pm_mix64(l->options->seed + pm_mix64(piece + 1));
    const bool good = s.code != NULL && s.row != NULL && s.panels != NULL && s.distance != NULL;
    if (good) group(l, st->entries + from, n, path, &s);
    pm_free(s.code), pm_free(s.row), pm_free(s.panels), pm_free(s.distance);
}

static bool group_all(graph_linker *l, stage *st)
{
    const uint64_t rows = l->codes.rows, wanted = (2 * (uint64_t)l->slots * rows + GRAPH_LEAF - 1) / GRAPH_LEAF;
    const uint32_t count = rows > GRAPH_LEAF ? (uint32_t)pm_min_u64(wanted, GRAPH_LEADERS) : 1;
    if (!choose(l, NULL, rows, count, l->options->seed, &st->leaders)) return false;
    st->near = graph_take(l, rows * l->slots, sizeof *st->near);
    if (st->near == NULL || !graph_run(l, assign_piece, (rows + BLOCK - 1) / BLOCK, st)) return false;
    st->entries = graph_take(l, rows * l->slots, sizeof *st->entries);
    st->from = graph_take(l, (uint64_t)st->leaders.count + 1, sizeof *st->from);
    if (st->entries == NULL || st->from == NULL) return false;
    sort_entries(l, st->near, rows, l->slots, NULL, st->leaders.count, st->from, st->entries);
    pm_free(st->near);
    st->near = NULL;
    return graph_run(l, group_piece, st->leaders.count, st);
}

bool graph_group(graph_linker *linker)
{
    stage st = {0};
    const bool good = group_all(linker, &st);
    pm_free(st.leaders.panels), pm_free(st.near), pm_free(st.entries), pm_free(st.from);
    return good;
}
