/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact search, and search by graphs and codes: what is looked at, and how it is shared out (search_int.h). A search
 * with a target for the recall, or an effort, goes through a segment by its graph, or by its codes, whichever of them
 * there is and reaches the target: only rows that these propose are compared. Everything else is scanned exactly.
 */
#include <math.h>
#include <string.h>

#include "base/mutant.h"
#include "query/search_int.h"

enum {
    LEAST_GROUP = 8,         /* fewer in a group lose the matrix product */
    LEAST_SHARED = 64,       /* queries of a thread from which rows are shared out and not queries, */
    SHARED_K = 128,          /* up to this k */
    RUNS_A_THREAD = 4,       /* so that a slow thread does not hold up the end */
    WORTH_SHARING = 1 << 20, /* bytes of vectors below which waking helpers costs more than it gives */
    EXACT_QUERIES = 192,     /* of a thread, from which products of bytes are faster than codes, and exact */
    CODES_SHARE = 16,        /* rows that codes look at in the time of one vector, */
    SURE_SHARE = 3,          /* and where they must be sure */
    SURE_LEAST = 64,         /* rows for each of the k nearest, from which that pays */
    SPARE = 8,
};

/* ---- memory ---- */

void *search_take(search_grid *g, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > g->small_left) return pm_calloc(count, size);
    void *memory = g->small;
    const size_t taken = pm_min_u64(pm_align_up(bytes, 16), g->small_left);
    g->small += taken;
    g->small_left -= taken;
    return memset(memory, 0, bytes);
}

void search_give(const search_grid *g, void *memory)
{
    const uintptr_t at = (uintptr_t)memory, end = (uintptr_t)g->small + g->small_left;
    if (at <= end && at + SEARCH_SMALL >= end) return; /* on the stack: nothing at its end, either */
    pm_free(memory);
}

/* ---- what is searched, and how ---- */

typedef struct checking {
    const search_grid *g;
    pm_derived *derived;
    uint32_t shares;
} checking;

static void check_share(void *context, uint32_t share)
{
    const checking *c = context;
    bool over;
    (void)pm_query_derived_is_ready(c->derived, share, c->shares, search_is_over, c->g, &over);
}

/* Whether a graph may be used; the first search that wants to has all threads check it. */
static bool is_ready(const search_grid *g, pm_pool *pool, pm_derived *derived)
{
    if (atomic_load_explicit(&derived->state, memory_order_acquire) == PM_DERIVED_UNKNOWN) {
        checking c = {g, derived, pm_pool_helpers(pool) + 1};
        pm_pool_run(pool, check_share, &c, c.shares);
    }
    return atomic_load_explicit(&derived->state, memory_order_acquire) == PM_DERIVED_SOUND;
}

/*
 * A walk finds what calibration saw if as many nodes of its pool count as did then. So there is room for others, about
 * as many as it will meet: it asks of some SPARE times as many rows as it keeps.
 */
static uint32_t spare_of(const search_source *from)
{
    const uint64_t rows = pm_segment_rows(from->segment), ended = pm_segment_ended(from->segment);
    if (from->plain && ended == 0) return 0;
    const uint64_t most = PM_GRAPH_MOST_POOL - from->effort.pool;
    return (uint32_t)pm_min_u64(SPARE + (uint64_t)SPARE * from->effort.pool * ended / rows, most);
}

/* Nanoseconds that a look at the codes of all rows takes at most, about: more of many rows is in order. */
static double codes_cost(uint64_t rows, uint32_t dim)
{
    return (double)rows * (1.5 + dim / 40.0);
}

/* The effort of a walk; false: there is none that does. */
static bool find_effort(const pm_search *search, search_source *to)
{
    const uint32_t ef = search->ef < search->k ? search->k : search->ef;
    float recall = search->recall;
    if (search->ef > 0) return pm_graph_of_pool(&to->graph, search->k, ef, &to->effort);
#ifdef POMAI_TEST_HOOKS
    if (search_falls_short) recall = 1 - FALLS_SHORT * (1 - recall);
#endif
    const bool found = pm_graph_look_up(&to->graph, search->k, recall, to->match != NULL, &to->effort);
#ifdef POMAI_TEST_HOOKS
    if (search_falls_short) to->effort.expected = 1 - (1 - to->effort.expected) / FALLS_SHORT;
#endif
    return found;
}

/* By its graph, if that reaches what is asked for, and not by going through half the rows; else by its codes, which may
 * reach it or not. */
static void choose_way(search_grid *g, pm_pool *pool, search_source *to)
{
    const pm_search *search = g->search;
    const uint64_t rows = pm_segment_rows(to->segment);
    if (search->k >= rows || ((to->match != NULL || to->list != NULL) && search_is_few(to, search->k))) return;
    to->codes = pm_segment_derived(to->segment, PM_DERIVED_CODES);
    pm_derived *graph = pm_segment_derived(to->segment, PM_DERIVED_GRAPH);
    if (graph != NULL && is_ready(g, pool, graph)) {
        pm_query_derived_graph(graph, &to->graph);
        to->walked = find_effort(search, to);
    }
    if (to->walked && to->match == NULL && to->list == NULL && to->codes != NULL &&
        (double)to->effort.cost > codes_cost(rows, search->dim))
        to->walked = PM_MUTANT(WALKS_AT_ANY_COST);
    if (to->walked && to->match != NULL)
        search_plan_matches(to);
    else if (to->walked)
        to->effort.pool += to->spare = spare_of(to);
    size_t size = to->walked ? pm_graph_query_size(&to->graph, &to->effort) : 0;
    if (to->walked && to->match != NULL) size = pm_max_u64(size, pm_graph_query_size(&to->graph, &to->pick));
    to->walked = size > 0;
    if (to->walked) {
        g->walks++;
        g->walked += rows;
        g->walk_size = pm_max_u64(g->walk_size, size);
    } else if (to->codes != NULL) {
        g->coded += rows;
    }
}

static bool at_once(const void *context)
{
    (void)context;
    return true;
}

bool search_may_be_sure(pm_derived *codes)
{
    bool over;
    return pm_query_derived_is_ready(codes, 0, 1, at_once, NULL, &over);
}

typedef struct hasty {
    const search_grid *g;
    uint64_t until_ns;
} hasty;

static bool is_enough(const void *context)
{
    const hasty *c = context;
    return c->g->os->now_ns(c->g->os) >= c->until_ns || search_is_over(c->g);
}

/* Whether codes may be used for sure. Who has a deadline checks the file for an eighth of its time, and does without it
 * until all is checked: vectors are there at once. */
static bool is_sure(const search_grid *g, pm_derived *codes)
{
    if (codes == NULL || g->search->until_ns == PM_FOREVER) return codes != NULL;
    const uint64_t now = g->os->now_ns(g->os), left = g->search->until_ns > now ? g->search->until_ns - now : 0;
    const hasty part = {g, now + left / 8};
    bool over;
    return pm_query_derived_is_ready(codes, 0, 1, is_enough, &part, &over);
}

/* All is asked for, of few queries: by codes, which are a quarter of the vectors or less, and leave few rows to be
 * read. */
static void choose_sure_way(search_grid *g, search_source *to)
{
    const pm_search *search = g->search;
    const uint64_t rows = pm_segment_rows(to->segment);
    if (to->list != NULL || search->dim > SEARCH_SURE_DIM || search->k >= rows / SURE_LEAST) return;
    if (to->match != NULL && !search_codes_pay(g, to->segment, to->matches)) return;
    pm_derived *codes = pm_segment_derived(to->segment, PM_DERIVED_CODES);
    if (!is_sure(g, codes)) return;
    to->codes = codes;
    g->coded += rows;
    g->sure = true;
}

static void add_table(search_grid *g, const pm_memtable *table, uint64_t visible)
{
    if (table == NULL) return;
    search_source *to = &g->source[g->sources++];
    *to = (search_source){.table = table, .visible = visible, .chunks = pm_memtable_visible_chunks(table, visible)};
    for (uint64_t c = 0; c < to->chunks; c++)
        g->rows += pm_memtable_chunk(table, c)->rows;
}

static bool find_sources(search_grid *g, pm_pool *pool)
{
    const pm_view *view = g->view;
    const pm_shown *shown = view->shown;
    g->source = search_take(g, shown->shards * 2u + shown->segments + 1, sizeof *g->source);
    if (g->source == NULL) return false;
    for (uint32_t i = 0; i < shown->segments; i++) {
        pm_segment *segment = shown->segment[i];
        search_source *to = &g->source[g->sources++];
        to->segment = segment;
        to->chunks = 1;
        to->plain = pm_view_is_plain(view, segment);
        g->rows += pm_segment_rows(segment);
    }
    for (uint32_t s = 0; s < shown->shards; s++) {
        add_table(g, shown->table[s].frozen, view->visible[s]);
        add_table(g, shown->table[s].active, view->visible[s]);
    }
    if (g->search->filter != NULL && !search_judge(g, pool)) return false;
    if ((g->search->include & POMAI_INCLUDE_PLAN) != 0) g->judged_at = g->os->now_ns(g->os);
    for (uint32_t i = 0; i < g->sources && g->targeted; i++)
        if (g->source[i].segment != NULL && g->source[i].chunks > 0) choose_way(g, pool, &g->source[i]);
    const bool few = !g->targeted && g->search->queries <= SEARCH_SURE_QUERIES && view->dtype == POMAI_DTYPE_FLOAT32;
    for (uint32_t i = 0; i < g->sources && few; i++)
        if (g->source[i].segment != NULL && g->source[i].chunks > 0) choose_sure_way(g, &g->source[i]);
    return true;
}

/* Codes alone lose against products of bytes when the queries are many. */
static void settle_target(search_grid *g, uint32_t threads)
{
    const bool many = g->simd->pack_codes != NULL && g->search->queries / threads >= EXACT_QUERIES;
    if (g->sure) return;
    if (g->walks == 0 && (many || g->coded == 0)) g->targeted = false;
    for (uint32_t i = 0; i < g->sources && !g->targeted; i++)
        g->source[i].codes = NULL;
    if (!g->targeted) g->coded = 0;
}

/* ---- sharing out ---- */

/* Cuts all rows into g->runs runs of about equal length. */
static void cut_runs(search_grid *g, uint64_t rows)
{
    const uint64_t each = rows / g->runs + 1;
    uint32_t made = 0;
    uint64_t room = 0; /* rows until the next run begins */
    for (uint32_t s = 0; s < g->sources; s++) {
        for (uint64_t c = 0; c < g->source[s].chunks; c++) {
            const uint64_t all = search_chunk_rows(&g->source[s], c);
            uint64_t left = all;
            while (left > room) { /* a run begins `room` rows into what is left of this chunk */
                uint32_t row = (uint32_t)(all - (left - room));
                g->run[made++] = (search_run){.source = s, .chunk = c, .row = row, .rows = each};
                left -= room;
                room = each;
            }
            room -= left;
        }
    }
    g->runs = made > 0 ? made : 1;
}

/*
 * Groups of about equal size, as many for each thread if there are enough queries. Where tiles are coded for a group,
 * one group that shares the rows out is better than a group for each thread: each tile is coded once. Not for a large
 * k, as each share has hits of its own.
 */
static void cut_groups(search_grid *g, uint32_t threads, bool share_rows)
{
    const uint64_t queries = g->search->queries;
    const uint64_t most = g->targeted || g->sure ? PM_QUERY_CODES_MOST : SEARCH_GROUP;
    uint64_t groups = (queries + most - 1) / most;
    g->runs = 1;
    if (share_rows && !g->targeted && g->simd->pack_codes != NULL && g->k <= SHARED_K && groups < threads &&
        queries / threads >= LEAST_SHARED)
        g->runs = threads;
    else
        groups = pm_min_u64((groups + threads - 1) / threads * threads, (queries + LEAST_GROUP - 1) / LEAST_GROUP);
    g->group_queries = (uint32_t)((queries + groups - 1) / groups);
    g->groups = (uint32_t)((queries + g->group_queries - 1) / g->group_queries);
}

/* Not where codes and graphs propose rows: which they do would depend on how far the others are. */
static bool make_limits(search_grid *g)
{
    const uint64_t queries = g->search->queries;
    g->limit_size = g->runs > 1 && !g->targeted ? pm_flat_limit_size(g->k) : 0;
    if (g->limit_size == 0) return true;
    if (queries > SIZE_MAX / g->limit_size) return false;
    g->limits = pm_malloc_aligned(64, queries * g->limit_size);
    for (uint64_t i = 0; i < queries && g->limits != NULL; i++)
        (void)pm_flat_limit_init(g->limits + i * g->limit_size, g->k);
    return g->limits != NULL;
}

static bool plan(search_grid *g, pm_pool *pool)
{
    const pm_search *search = g->search;
    const uint32_t threads = pm_pool_helpers(pool) + 1;
    if (!find_sources(g, pool)) return false;
    settle_target(g, threads);
    g->k = (uint32_t)pm_max_u64(pm_min_u64(search->k, g->judged != NULL ? g->judged->matches : g->rows), 1);
    g->query_size = pm_flat_query_size(g->k, search->dim);
    if (g->query_size == 0) return false;
    const uint64_t walks = (uint64_t)g->walks * SEARCH_WALK_ROWS, rows = g->rows - g->walked + walks;
    uint64_t work = g->rows - g->walked - g->coded + g->coded / (g->sure ? SURE_SHARE : CODES_SHARE);
    if (g->judged != NULL) work = pm_min_u64(work, g->judged->matches);
    if (g->walks > 1) work += walks; /* one alone cannot be shared out */
    const bool worth =
        threads > 1 && rows / PM_FLAT_TILE > threads && work * search->dim * sizeof(float) >= WORTH_SHARING;
    cut_groups(g, threads, worth);
    if (worth && g->groups < threads && g->runs == 1) g->runs = threads * RUNS_A_THREAD;
    const size_t cells = (size_t)g->groups * g->runs;
    g->cell = search_take(g, 1, cells * sizeof *g->cell + (g->runs + 1) * sizeof *g->run);
    if (g->cell == NULL) return false;
    g->run = (search_run *)(void *)(g->cell + cells);
    if (g->runs > 1)
        cut_runs(g, rows);
    else
        g->run[0] = (search_run){.rows = UINT64_MAX};
    return make_limits(g);
}

/* ---- searching ---- */

/* Codes and graphs proposed too few rows that the reader sees: some ended, or have expired. */
static bool fell_short(const search_grid *g)
{
    for (uint32_t group = 0; group < g->groups; group++) {
        const search_cell *c = &g->cell[group * g->runs];
        if (PM_MUTANT(FILTER_FEWER) && g->judged != NULL) break;
        for (uint32_t i = 0; c->approximate && !c->cut && i < search_queries_of(g, group); i++)
            if (!(pm_flat_bound(search_heap(g, c, i)) < (double)INFINITY)) return true;
    }
    return false;
}

static pomai_status add_plan(const search_grid *g, const pm_pool *pool, uint64_t begin, pomai_result *result,
                             pomai_error *err)
{
    const search_times times = {begin, g->judged_at, g->os->now_ns(g->os), pm_pool_helpers(pool) + 1};
    pm_text text = {0};
    search_explain(g, &times, &text);
    result->plan = text.data;
    return text.failed ? pm_fail(err, POMAI_ENOMEM, "no memory to say what a search did") : POMAI_OK;
}

/* *again: there are fewer than k, and perhaps more rows. */
static pomai_status search_once(search_grid *g, pm_pool *pool, bool *again, pomai_result **result, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    const bool plans = (g->search->include & POMAI_INCLUDE_PLAN) != 0;
    const uint64_t begin = plans ? g->os->now_ns(g->os) : 0;
    bool good = plan(g, pool);
    *again = false;
    if (good && !atomic_load(&g->damaged)) pm_pool_run(pool, search_work, g, g->groups * g->runs);
    for (uint64_t i = 0; good && i < (uint64_t)g->groups * g->runs; i++)
        good = !g->cell[i].failed;
    if (!good) {
        status = search_no_memory(g->search, err);
    } else if (atomic_load(&g->damaged)) {
        status = g->error.status;
        if (err != NULL) *err = g->error;
    } else {
        search_merge(g);
        *again = fell_short(g);
        if (!*again) status = search_collect(g, result, err);
        if (!*again && status == POMAI_OK && plans) status = add_plan(g, pool, begin, *result, err);
        if (status != POMAI_OK) {
            pm_result_free(*result);
            *result = NULL;
        }
    }
    for (uint64_t i = 0; g->cell != NULL && i < (uint64_t)g->groups * g->runs; i++)
        pm_pool_give(pool, g->cell[i].memory, g->cell[i].size);
    search_give(g, g->cell);
    pm_free(g->limits);
    search_give(g, g->source);
    pm_judgement_free(g->judged);
    return status;
}

pomai_status pm_query_search(const pm_os *os, const pm_simd *simd, pm_pool *pool, const pm_view *view,
                             const pm_search *search, pomai_result **result, pomai_error *err)
{
    const bool targeted = search->ef > 0 || (search->recall > 0 && search->recall < 1);
    bool again = true;
    pomai_status status = POMAI_OK;
    for (int tries = targeted ? 0 : 1; tries < 2 && again; tries++) {
        _Alignas(16) uint8_t small[SEARCH_SMALL];
        search_grid g = {.pool = pool,
                         .small = small,
                         .small_left = sizeof small,
                         .os = os,
                         .simd = simd,
                         .view = view,
                         .search = search,
                         .targeted = tries == 0};
        status = search_once(&g, pool, &again, result, err);
    }
    return status;
}
