/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches with a filter. Every row that the reader sees is judged once for a search, before anything is planned: then
 * it is known how many match, and whether they are compared one by one or proposed by codes or a graph.
 */
#include "query/search_int.h"

enum {
    RUN_FETCHED = 16,   /* of rows that follow each other: the kernels ask for the others */
    FETCHED = 1 << 15,  /* bytes that are on their way before they are compared */
    LISTED_AGAIN = 3,   /* times k rows that codes leave to be compared, about */
    LISTED_LINES = 200, /* lines of memory that a query's own preparation takes as long as */
};

#ifdef POMAI_TEST_HOOKS
int search_listed_forced;
#endif

bool search_codes_pay(const search_grid *g, const pm_segment *segment, uint64_t matches)
{
    const uint64_t vector = segment->stride / 64 + 1, code = pm_quant_lines((uint32_t)g->search->dim);
#ifdef POMAI_TEST_HOOKS
    if (search_listed_forced != 0) return search_listed_forced > 0;
#endif
    const uint64_t again = pm_min_u64(matches, (uint64_t)LISTED_AGAIN * g->search->k);
    return matches * vector > matches * code + again * vector + LISTED_LINES;
}

/*
 * Codes by which an exact search leaves out most rows of a list; NULL: their vectors are compared. A row of a list lies
 * anywhere, so what counts is how many lines are read of it.
 */
static pm_derived *codes_of_listed(const search_grid *g, pm_segment *segment, uint64_t matches)
{
    const pm_search *search = g->search;
    if (search->queries > SEARCH_SURE_QUERIES || g->view->dtype != POMAI_DTYPE_FLOAT32 || search->dim > SEARCH_SURE_DIM)
        return NULL;
    pm_derived *codes = pm_segment_derived(segment, PM_DERIVED_CODES);
    return codes != NULL && search_codes_pay(g, segment, matches) ? codes : NULL;
}

/* The same, if they were checked. */
static pm_derived *sound_codes_of_listed(const search_grid *g, pm_segment *segment, uint64_t matches)
{
    pm_derived *codes = codes_of_listed(g, segment, matches);
    const bool sound = codes != NULL && atomic_load_explicit(&codes->state, memory_order_acquire) == PM_DERIVED_SOUND;
    return sound ? codes : NULL;
}

/* Checks a little of the codes of one segment, for searches to come. */
static void check_some_codes(const search_grid *g)
{
    for (uint32_t i = 0; i < g->sources; i++) {
        const search_source *from = &g->source[i];
        pm_derived *codes = from->list == NULL ? NULL : codes_of_listed(g, from->segment, from->matches);
        if (codes == NULL || atomic_load_explicit(&codes->state, memory_order_acquire) != PM_DERIVED_UNKNOWN) continue;
        if (!search_is_over(g)) (void)search_may_be_sure(codes);
        return;
    }
}

/* Asks for what will be read of the first of these rows. */
static void fetch_listed(const void *context, pm_judged *from)
{
    const search_grid *g = context;
    const pm_derived *codes = sound_codes_of_listed(g, from->segment, from->matches);
    if (codes != NULL) {
        pm_quant quant;
        pm_query_derived_codes(codes, &quant);
        const uint64_t most = FETCHED / 64 / pm_quant_lines(quant.dim);
        for (uint64_t i = 0; i < from->matches && i < most; i++)
            pm_quant_ask_for(&quant, from->list[i]);
        return;
    }
    from->fetched = pm_min_u64(from->matches, FETCHED / from->segment->stride);
    for (uint64_t i = 0, n; i < from->fetched; i += n) {
        n = pm_judge_run(from->list, i, from->fetched);
        pm_segment_fetch(from->segment, from->list[i], pm_min_u64(n, RUN_FETCHED));
    }
}

bool search_judge(search_grid *g, pm_pool *pool)
{
    const pm_judge_how how = {g->view, g->search->filter, g->simd, pool, search_is_over, g, fetch_listed};
    pomai_error error;
    const pomai_status status = pm_judge_all(&how, &g->judged, &error);
    if (status == POMAI_ENOMEM) return false;
    if (status != POMAI_OK) return search_is_damaged(g, &error) || true;
    assert(g->judged->sources == g->sources);
    for (uint32_t i = 0; i < g->sources; i++) {
        search_source *to = &g->source[i];
        const pm_judged *from = &g->judged->source[i];
        assert(to->table == from->table && to->segment == from->segment);
        to->match = from->match;
        to->list = from->list;
        to->listed = from->list != NULL ? sound_codes_of_listed(g, from->segment, from->matches) : NULL;
        to->fetched = from->fetched;
        to->match_at = from->match_at;
        to->rows = from->rows;
        to->matches = from->matches;
        if (to->matches == 0) to->chunks = 0;
        if (to->matches == 0 || to->list != NULL) g->rows -= to->rows - to->matches;
    }
    check_some_codes(g);
    return true;
}

/*
 * Three ways through a segment with a graph, by what they read, in nanoseconds of a machine that is nobody's: the
 * vectors of all matching rows, or fewer where the segment's own codes leave some out; the codes in the graph of all
 * matching rows, and then the nearest again; or a walk, which looks at some two dozen codes for each node of a pool
 * that has to be larger by rows / matches.
 */
#define VECTOR_NS(bytes) (10 + (double)(bytes) / 16)
#define PICKED_NS(lines) (3 + 4.0 * (lines))
#define WALKED_NS(lines) (4 + 4.0 * (lines))
enum {
    A_NODE = 24,     /* codes that a walk looks at for each node of its pool */
    PICK_LEAST = 32, /* rows that are ranked again: far from the query, where matches are few, codes tell less */
    SPARSE = 6,      /* matches are one of so many rows or fewer; then their bytes cost less than the bits of all, */
    SPARSE_SURE = 2, /* or than the bytes of all */
};

bool search_is_few(const search_source *from, uint32_t k)
{
    return from->matches <= k || from->matches <= PM_JUDGE_FEW;
}

/*
 * Calibration walked through a pool of rows that all count. To come to as many that do, the pool has to be larger by
 * rows / m where matches are spread evenly, and half as much again, if there is room, because they are not quite.
 */
static bool make_room(search_source *from)
{
    const uint64_t kept = from->effort.pool, least = kept * from->rows / from->matches;
    const uint64_t pool = pm_min_u64(least + least / 2 + 1, PM_GRAPH_MOST_POOL);
    if (from->matches == from->rows || search_never_doubts()) return true;
    if (least > PM_GRAPH_MOST_POOL) return false;
    from->effort.pool = (uint32_t)pool;
    from->spare = (uint32_t)(pool - kept);
    return true;
}

bool search_is_sparse(const search_grid *g, const search_source *from)
{
    if (from->match == NULL || g->view->dtype != POMAI_DTYPE_FLOAT32 || g->search->dim > SEARCH_SURE_DIM) return false;
    return from->matches < from->rows / (g->sure ? SPARSE_SURE : SPARSE);
}

/* By that again, so that a query tells that codes do not reach far enough for it (search_cell.c); if there is room. */
static void reach_farther(pm_graph_effort *effort, uint32_t near)
{
    effort->near = (uint32_t)pm_min_u64(near, effort->pool);
    effort->rerank = (uint32_t)pm_min_u64(2 * (uint64_t)near, effort->pool);
}

void search_plan_matches(search_source *from)
{
    const double lines = (double)pm_graph_hot_lines(&from->graph), kept = from->effort.pool;
    const double m = (double)from->matches, rows = (double)from->rows;
    const double walk = kept * rows / m * A_NODE * WALKED_NS(lines);
    const uint32_t near = (uint32_t)pm_max_u64((uint64_t)from->effort.rerank * 3 / 2, PICK_LEAST);
    from->pick = from->effort;
    from->pick.pool = (uint32_t)pm_min_u64(2 * (uint64_t)near, PM_GRAPH_MOST_POOL);
    reach_farther(&from->pick, near);
    const double again = (double)from->pick.near * VECTOR_NS(from->segment->stride);
    from->picked = m * PICKED_NS(lines) + again < walk || !make_room(from);
    if (!from->picked && !search_never_doubts())
        reach_farther(&from->effort, (uint32_t)pm_max_u64(from->effort.rerank, PICK_LEAST));
    if (m * VECTOR_NS(from->segment->stride) < m * PICKED_NS(lines) + again && from->picked) from->walked = false;
}
