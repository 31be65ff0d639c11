/* SPDX-License-Identifier: Apache-2.0 */
/* From what each row met to its links: the best of it, pruned, then links back. */
#include "link_int.h"

#include <string.h>

#define BLOCK     512 /* rows of a piece */
#define RANGES    8
#define MOST      96 /* keys of a row that are looked at */
#define ROOM      (MOST + 1)
#define SOURCE    32 /* links back that are sorted at once */
#define PICK      4
#define ASK_BYTES 128 /* of a code, ahead of its use */
#define AT_ONCE   32  /* rows whose links are taken back at once */

/* What pruning one row needs; of a piece. */
typedef struct pruner {
    uint8_t *panels;    /* of MOST rows */
    uint32_t *distance; /* PICK x MOST, of whole panels */
} pruner;

typedef struct stage {
    atomic_uint *count; /* of each row: rows that link to it */
    uint64_t first, rows;
    atomic_ullong *from; /* of each of these, into back: its first; once they are there, the next one's */
    uint64_t *back;      /* keys */
} stage;

static bool take_pruner(graph_linker *l, pruner *p)
{
    p->panels = graph_take(l, MOST / PM_GRAPH_PANEL, pm_graph_panel_bytes(l->kernels, l->codes.stride));
    p->distance = graph_take(l, PICK * MOST, sizeof *p->distance);
    return p->panels != NULL && p->distance != NULL;
}

static void drop_pruner(pruner *p)
{
    pm_free(p->panels), pm_free(p->distance);
}

/*
 * Which of n sorted keys, of rows around one, are worth a link: a row is not if one that is worth it is by a factor
 * nearer to it than the one in the middle is. Keeps those, at most `most`, in order; their number.
 */
static size_t choose(const graph_linker *l, const pruner *p, uint64_t *key, size_t n, size_t most)
{
    const uint64_t slack2 = (uint64_t)l->options->slack_256 * l->options->slack_256;
    const size_t panel = pm_graph_panel_bytes(l->kernels, l->codes.stride);
    const uint8_t *code[MOST];
    int32_t limit[MOST];
    uint8_t gone[MOST] = {0};
    size_t kept = 0;
    if (n == 0) return 0;
    for (size_t i = 0; i < n; i++) {
        code[i] = graph_code(&l->codes, (uint32_t)key[i]);
        /* slack2 * x <= 65536 * distance, solved for x; distances are below 2^31 */
        limit[i] = (int32_t)((key[i] >> 32 << 16) / slack2);
    }
    l->kernels->pack(code, n, l->codes.stride, p->panels);
    for (size_t i = 0; i < n && kept < most;) {
        const uint8_t *at[PICK];
        size_t pick[PICK], picked = 0;
        for (; i < n && picked < PICK; i++)
            if (!gone[i]) at[picked] = code[i], pick[picked++] = i;
        if (picked == 0) break;
        const size_t first = pick[0] / PM_GRAPH_PANEL * PM_GRAPH_PANEL;
        l->kernels->distances(at, picked, l->codes.stride, p->panels + first / PM_GRAPH_PANEL * panel, n - first,
                              p->distance, MOST);
        for (size_t c = 0; c < picked && kept < most; c++) {
            if (gone[pick[c]]) continue;
            const int32_t *from = (const int32_t *)(const void *)(p->distance + c * MOST);
            key[kept++] = key[pick[c]];
            for (size_t j = pick[c] + 1; j < n; j++)
                gone[j] |= (uint8_t)(from[j - first] <= limit[j]);
        }
    }
    return kept;
}

/* ---- out ---- */

_Static_assert(GRAPH_MOST_FANOUT <= PM_GRAPH_LISTS && GRAPH_CANDIDATES <= PM_GRAPH_NEAREST, "kernels merge as many");

/* The best of what a row met, without repeats; `list` has ROOM. */
static size_t gather(const graph_linker *l, const uint64_t *keys, uint64_t *list)
{
    return l->kernels->merge(keys, l->slots, l->keep, l->candidates, list);
}

/* Keys that pruning leaves of a row, at most. */
static size_t chosen(const graph_linker *l)
{
    const size_t room = (size_t)l->slots * l->keep;
    return room < l->candidates ? room : l->candidates;
}

static void write_links(const graph_linker *l, uint64_t row, const uint64_t *key, size_t n)
{
    uint32_t *links = l->links + row * l->options->degree;
    for (size_t i = 0; i < l->options->degree; i++)
        links[i] = i < n ? (uint32_t)key[i] : GRAPH_NONE;
}

static void ask_for_codes(const graph_linker *l, const uint64_t *key, size_t n)
{
    const size_t bytes = l->codes.stride < ASK_BYTES ? l->codes.stride : ASK_BYTES;
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < bytes; d += 64)
            __builtin_prefetch(graph_code(&l->codes, (uint32_t)key[i]) + d, 0, 2);
}

static void out_piece(void *linker, uint32_t piece)
{
    graph_linker *l = linker;
    const stage *st = l->stage;
    const uint64_t first = (uint64_t)piece * BLOCK, end = pm_min_u64(first + BLOCK, l->codes.rows);
    pruner p;
    const bool good = take_pruner(l, &p) && graph_go_on(l);
    uint64_t lists[2][ROOM];
    size_t found = good ? gather(l, graph_keys_of(l, first), lists[first & 1]) : 0;
    for (uint64_t row = first; good && row < end; row++) {
        uint64_t *list = lists[row & 1], *keys = graph_keys_of(l, row);
        const size_t here = found;
        if (row + 1 < end) { /* its codes come while this row is pruned */
            found = gather(l, graph_keys_of(l, row + 1), lists[~row & 1]);
            ask_for_codes(l, lists[~row & 1], found);
        }
        const size_t n = choose(l, &p, list, here, l->options->degree);
        memcpy(keys, list, n * sizeof *keys);
        if (n < chosen(l)) keys[n] = GRAPH_NO_KEY;
        for (size_t i = 0; i < n; i++)
            atomic_fetch_add_explicit(&st->count[(uint32_t)list[i]], 1, memory_order_relaxed);
    }
    drop_pruner(&p);
}

/* ---- and back ---- */

/* Links to the rows of the stage, each to where it ends; in any order. from: where the next one goes. */
static void back_piece(void *linker, uint32_t piece)
{
    graph_linker *l = linker;
    const stage *st = l->stage;
    const uint64_t first = (uint64_t)piece * BLOCK, end = pm_min_u64(first + BLOCK, l->codes.rows);
    uint64_t key[AT_ONCE * GRAPH_CANDIDATES], at[AT_ONCE * GRAPH_CANDIDATES];
    if (!graph_go_on(l)) return;
    for (uint64_t row = first; row < end;) {
        size_t n = 0;
        for (uint64_t stop = pm_min_u64(row + AT_ONCE, end); row < stop; row++) {
            const uint64_t *keys = graph_keys_of(l, row);
            for (size_t i = 0; i < chosen(l) && keys[i] != GRAPH_NO_KEY; i++) {
                const uint64_t to = (uint64_t)(uint32_t)keys[i] - st->first;
                if (to >= st->rows) continue;
                __builtin_prefetch(&st->from[to], 1);
                key[n] = (keys[i] & ~(uint64_t)UINT32_MAX) | row;
                at[n++] = to;
            }
        }
        /* first all counting, then all storing: an atomic operation waits for the stores before it */
        for (size_t i = 0; i < n; i++)
            at[i] = atomic_fetch_add_explicit(&st->from[at[i]], 1, memory_order_relaxed);
        for (size_t i = 0; i < n; i++)
            st->back[at[i]] = key[i];
    }
}

/* The best of a row's links and those to it; `list` has ROOM. */
static size_t join(const graph_linker *l, uint64_t row, const uint64_t *back, size_t backs, uint64_t *list)
{
    const uint64_t end = GRAPH_NO_KEY;
    uint64_t own[GRAPH_CANDIDATES + 1], some[SOURCE + 1], other[ROOM];
    memcpy(own, graph_keys_of(l, row), chosen(l) * sizeof *own);
    own[chosen(l)] = GRAPH_NO_KEY;
    size_t n = pm_graph_merge_two(own, &end, MOST, list);
    for (size_t i = 0; i < backs; i += SOURCE) {
        const size_t here = backs - i < SOURCE ? backs - i : SOURCE;
        memcpy(some, back + i, here * sizeof *some);
        some[here] = GRAPH_NO_KEY;
        graph_sort_keys(some, here);
        memcpy(other, list, (n + 1) * sizeof *list);
        n = pm_graph_merge_two(other, some, MOST, list);
    }
    return n;
}

/* The first of upper->row that is not before this one. */
static uint32_t first_upper(const graph_linker *l, uint64_t row)
{
    uint32_t from = 0, to = l->upper.count;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (l->upper.row[middle] < row)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Keys of the links that a row has among its like, in order; none if it is not of these. `next`: where to look. */
static size_t upper_keys(const graph_linker *l, const pruner *p, uint64_t row, uint32_t *next, uint64_t *key)
{
    const graph_upper *upper = &l->upper;
    const uint8_t *code[GRAPH_MOST_DEGREE], *own = graph_code(&l->codes, row);
    size_t n = 0;
    while (*next < upper->count && upper->row[*next] < row)
        ++*next;
    if (*next == upper->count || upper->row[*next] != row) return 0;
    const uint32_t *links = upper->links + (size_t)*next * upper->degree;
    for (; n < upper->degree && links[n] != GRAPH_NONE; n++) {
        key[n] = upper->row[links[n]];
        code[n] = graph_code(&l->codes, key[n]);
    }
    l->kernels->pack(code, n, l->codes.stride, p->panels);
    l->kernels->distances(&own, 1, l->codes.stride, p->panels, n, p->distance, MOST);
    for (size_t i = 0; i < n; i++)
        key[i] |= (uint64_t)p->distance[i] << 32;
    key[n] = GRAPH_NO_KEY;
    return n; /* in order: their numbers in upper are in that of their rows */
}

static void join_piece(void *linker, uint32_t piece)
{
    graph_linker *l = linker;
    const stage *st = l->stage;
    const uint64_t first = (uint64_t)piece * BLOCK, end = pm_min_u64(first + BLOCK, st->rows);
    pruner p;
    const bool good = take_pruner(l, &p) && graph_go_on(l);
    uint32_t next = first_upper(l, st->first + first);
    for (uint64_t i = first; good && i < end; i++) {
        const uint64_t row = st->first + i,
                       from = i > 0 ? atomic_load_explicit(&st->from[i - 1], memory_order_relaxed) : 0;
        const uint64_t backs = atomic_load_explicit(&st->from[i], memory_order_relaxed) - from;
        uint64_t list[ROOM], upper[GRAPH_MOST_DEGREE + 1], both[ROOM];
        size_t n = join(l, row, st->back + from, (size_t)backs, list);
        const size_t above = upper_keys(l, &p, row, &next, upper), most = l->options->degree - above;
        if (n > most) n = choose(l, &p, list, n, most);
        list[n] = GRAPH_NO_KEY;
        if (above > 0) n = pm_graph_merge_two(list, upper, l->options->degree, both);
        write_links(l, row, above > 0 ? both : list, n);
    }
    drop_pruner(&p);
}

/* A range of rows at a time, as the keys of all links back would take as much room as all else. */
static bool go_back(graph_linker *l, stage *st)
{
    const uint64_t blocks = (l->codes.rows + BLOCK - 1) / BLOCK;
    st->rows = pm_min_u64(l->codes.rows - st->first, pm_max_u64(graph_range, l->codes.rows / RANGES + 1));
    st->from = graph_take(l, st->rows, sizeof *st->from);
    if (st->from == NULL) return false;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < st->rows; i++) {
        atomic_init(&st->from[i], sum);
        sum += atomic_load_explicit(&st->count[st->first + i], memory_order_relaxed);
    }
    st->back = graph_take(l, sum, sizeof *st->back);
    return st->back != NULL && graph_run(l, back_piece, blocks, st) &&
           graph_run(l, join_piece, (st->rows + BLOCK - 1) / BLOCK, st);
}

bool graph_prune(graph_linker *linker)
{
    stage st = {0};
    st.count = graph_take(linker, linker->codes.rows, sizeof *st.count);
    if (st.count == NULL) return false;
    for (uint64_t i = 0; i < linker->codes.rows; i++)
        atomic_init(&st.count[i], 0);
    bool good = graph_run(linker, out_piece, (linker->codes.rows + BLOCK - 1) / BLOCK, &st);
    for (; good && st.first < linker->codes.rows; st.first += st.rows) {
        good = go_back(linker, &st);
        pm_free(st.from), pm_free(st.back);
        st.from = NULL;
        st.back = NULL;
    }
    pm_free(st.count);
    return good;
}
