/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact search. The work is a grid: groups of queries by runs of rows. Many queries make many groups, each over all
 * rows, and a tile of rows stays in the cache while the whole group sees it. Few queries make one group, and the rows
 * are cut into runs for the helpers. Every cell of the grid has its own heaps; the runs of a group are merged, so the
 * answer does not depend on the cut.
 */
#include <string.h>

#include "index/flat/flat.h"
#include "query/query.h"

enum {
    GROUP_QUERIES = 128,     /* queries that share a pass over the rows */
    RUNS_A_THREAD = 4,       /* so that a slow thread does not hold up the end */
    WORTH_SHARING = 1 << 20, /* bytes of vectors below which waking helpers costs more than it gives */
};

/* Rows from (shard, chunk, row) on, `rows` of them; dead ones count. */
typedef struct run {
    uint32_t shard;
    uint64_t chunk;
    uint32_t row;
    uint64_t rows;
} run;

typedef struct cell {
    void *memory; /* of the heaps */
    uint64_t scanned;
    bool cut;
    bool failed;
} cell;

typedef struct grid {
    const pm_os *os;
    const pm_simd *simd;
    const pm_view *view;
    const pm_search *search;
    uint64_t chunks[PM_MAX_SHARDS]; /* visible ones */
    uint32_t k;                     /* no more than there are rows: a large k costs no memory that it cannot use */
    size_t query_size;
    uint32_t groups, runs;
    uint32_t group_queries;
    run *run;
    cell *cell; /* groups x runs */
} grid;

static void id_of(const void *owner, uint32_t row, pm_flat_id *id)
{
    pm_id found;
    pm_chunk_id(owner, row, &found);
    id->u64 = found.u64;
    id->bytes = found.bytes;
    id->size = found.size;
}

static uint32_t queries_of(const grid *g, uint32_t group)
{
    uint64_t left = g->search->queries - (uint64_t)group * g->group_queries;
    return (uint32_t)pm_min_u64(left, g->group_queries);
}

static pm_flat_query *heap_at(const grid *g, const cell *c, uint32_t i)
{
    return (pm_flat_query *)(void *)((uint8_t *)c->memory + i * g->query_size);
}

/* ---- scanning ---- */

typedef struct scan {
    const grid *g;
    cell *c;
    pm_flat_query *heaps[GROUP_QUERIES];
    uint32_t queries;
    pm_flat_tile tile;
} scan;

/* false: the deadline has passed. */
static bool offer_tile(scan *s)
{
    if (s->tile.n == 0) return true;
    pm_flat_offer(s->heaps, s->queries, &s->tile);
    s->c->scanned += s->tile.n;
    s->tile.n = 0;
    const pm_os *os = s->g->os;
    if (s->g->search->until_ns == PM_FOREVER || os->now_ns(os) < s->g->search->until_ns) return true;
    s->c->cut = true;
    return false;
}

static bool scan_chunk(scan *s, const pm_chunk *chunk, uint64_t visible, uint32_t from, uint32_t to)
{
    const bool some_ended = atomic_load_explicit(&chunk->ended, memory_order_acquire) != 0;
    const size_t dim = s->g->search->dim;
    for (uint32_t row = from; row < to; row++) {
        if (some_ended && !pm_chunk_row_visible(chunk, row, visible)) continue;
        size_t n = s->tile.n++;
        s->tile.vector[n] = chunk->vectors + row * dim;
        s->tile.owner[n] = chunk;
        s->tile.row[n] = row;
        if (s->tile.n == PM_FLAT_TILE && !offer_tile(s)) return false;
    }
    return true;
}

static void scan_run(scan *s, const run *r)
{
    const grid *g = s->g;
    uint64_t left = r->rows;
    uint64_t chunk_at = r->chunk;
    uint32_t row = r->row;
    for (uint32_t shard = r->shard; shard < g->view->shards && left > 0; shard++, chunk_at = 0) {
        const pm_memtable *table = g->view->table[shard];
        for (; chunk_at < g->chunks[shard] && left > 0; chunk_at++, row = 0) {
            const pm_chunk *chunk = pm_memtable_chunk(table, chunk_at);
            uint32_t take = (uint32_t)pm_min_u64(left, chunk->rows - row);
            if (!scan_chunk(s, chunk, g->view->visible[shard], row, row + take)) return;
            left -= take;
        }
    }
    (void)offer_tile(s);
}

static void work_on_cell(void *context, uint32_t piece)
{
    grid *g = context;
    const uint32_t group = piece / g->runs;
    cell *c = &g->cell[piece];
    const pm_search *search = g->search;
    scan s = {.g = g, .c = c, .queries = queries_of(g, group)};
    c->memory = pm_malloc_aligned(64, s.queries * g->query_size);
    if (c->memory == NULL) {
        c->failed = true;
        return;
    }
    for (uint32_t i = 0; i < s.queries; i++) {
        const float *vector = search->vectors + ((size_t)group * g->group_queries + i) * search->dim;
        s.heaps[i] = pm_flat_query_init(heap_at(g, c, i), g->simd, search->metric, vector, search->dim, g->k, id_of);
    }
    const pm_os *os = g->os;
    c->cut = search->until_ns != PM_FOREVER && os->now_ns(os) >= search->until_ns;
    if (!c->cut) scan_run(&s, &g->run[piece % g->runs]);
}

/* ---- planning ---- */

static uint64_t count_rows(grid *g)
{
    uint64_t rows = 0;
    for (uint32_t s = 0; s < g->view->shards; s++) {
        g->chunks[s] = pm_memtable_visible_chunks(g->view->table[s], g->view->visible[s]);
        for (uint64_t c = 0; c < g->chunks[s]; c++)
            rows += pm_memtable_chunk(g->view->table[s], c)->rows;
    }
    return rows;
}

/* Cuts all rows into g->runs runs of about equal length. */
static void cut_runs(grid *g, uint64_t rows)
{
    const uint64_t each = rows / g->runs + 1;
    uint32_t made = 0;
    uint64_t room = 0; /* rows until the next run begins */
    for (uint32_t s = 0; s < g->view->shards; s++) {
        for (uint64_t c = 0; c < g->chunks[s]; c++) {
            uint64_t chunk_rows = pm_memtable_chunk(g->view->table[s], c)->rows;
            while (chunk_rows > room) { /* a run begins `room` rows into what is left of this chunk */
                uint32_t row = (uint32_t)(pm_memtable_chunk(g->view->table[s], c)->rows - (chunk_rows - room));
                g->run[made++] = (run){.shard = s, .chunk = c, .row = row, .rows = each};
                chunk_rows -= room;
                room = each;
            }
            room -= chunk_rows;
        }
    }
    g->runs = made > 0 ? made : 1;
}

static bool plan(grid *g, pm_pool *pool)
{
    const pm_search *search = g->search;
    const uint32_t threads = pm_pool_helpers(pool) + 1;
    uint64_t rows = count_rows(g);
    g->k = (uint32_t)pm_max_u64(pm_min_u64(search->k, rows), 1);
    g->query_size = pm_flat_query_size(g->k, search->dim);
    if (g->query_size == 0) return false;
    g->group_queries = GROUP_QUERIES;
    /* Enough groups for all threads, if there are enough queries; groups below 8 lose the matrix product. */
    while (g->group_queries > 8 && (search->queries + g->group_queries - 1) / g->group_queries < threads)
        g->group_queries /= 2;
    g->groups = (uint32_t)((search->queries + g->group_queries - 1) / g->group_queries);
    g->runs = 1;
    const bool worth = rows / PM_FLAT_TILE > threads && rows * search->dim * sizeof(float) >= WORTH_SHARING;
    if (threads > 1 && worth && g->groups < threads) g->runs = threads * RUNS_A_THREAD;
    g->run = pm_calloc(g->runs + 1, sizeof *g->run);
    if (g->run == NULL) return false;
    if (g->runs > 1)
        cut_runs(g, rows);
    else
        g->run[0] = (run){.rows = UINT64_MAX};
    g->cell = pm_calloc((size_t)g->groups * g->runs, sizeof *g->cell);
    return g->cell != NULL;
}

/* ---- the answer ---- */

static pomai_verdict judge(const pm_search *search, size_t found, uint64_t scanned, uint64_t rows, bool cut)
{
    pomai_verdict v = {.completeness = cut ? POMAI_CUT : POMAI_EXACT, .fewer = POMAI_FEWER_NOT};
    if (found < search->k) v.fewer = cut ? POMAI_FEWER_DEADLINE : POMAI_FEWER_ROWS;
    v.expected_recall = cut ? 0.0 : 1.0;
    v.rows_scanned = scanned;
    v.rows_visible = cut ? rows : scanned;
    return v;
}

static pomai_result *result_make(const pm_search *search, size_t hits, uint64_t bytes)
{
    pomai_result *r = pm_calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->queries = search->queries;
    r->dim = search->dim;
    r->first = pm_calloc(search->queries + 1, sizeof *r->first);
    r->verdicts = pm_calloc(search->queries + 1, sizeof *r->verdicts);
    r->distances = pm_calloc(hits + 1, sizeof *r->distances);
    r->bytes = pm_malloc(bytes + 1);
    bool good = r->first != NULL && r->verdicts != NULL && r->distances != NULL && r->bytes != NULL;
    if (search->id_kind == POMAI_ID_U64)
        good &= (r->u64_ids = pm_calloc(hits + 1, sizeof *r->u64_ids)) != NULL;
    else
        good &= (r->string_ids = pm_calloc(hits + 1, sizeof *r->string_ids)) != NULL;
    if ((search->include & POMAI_INCLUDE_DOCUMENTS) != 0)
        good &= (r->documents = pm_calloc(hits + 1, sizeof *r->documents)) != NULL;
    if ((search->include & POMAI_INCLUDE_VECTORS) != 0)
        good &= (r->vectors = pm_calloc(hits + 1, search->dim * sizeof *r->vectors)) != NULL;
    if (good) return r;
    pm_result_free(r);
    return NULL;
}

static pomai_bytes keep_bytes(uint8_t **to, const void *from, size_t size)
{
    pomai_bytes kept = {NULL, 0};
    if (size == 0) return kept;
    memcpy(*to, from, size);
    kept.data = *to;
    kept.size = size;
    *to += size;
    return kept;
}

static void copy_hit(const pm_search *search, pomai_result *r, size_t at, const pm_flat_hit *hit, uint8_t **bytes)
{
    r->distances[at] = hit->distance;
    if (r->u64_ids != NULL)
        r->u64_ids[at] = hit->id.u64;
    else
        r->string_ids[at] = keep_bytes(bytes, hit->id.bytes, hit->id.size);
    if (r->documents != NULL) {
        pomai_bytes document = pm_chunk_document(hit->owner, hit->row);
        r->documents[at] = keep_bytes(bytes, document.data, document.size);
    }
    if (r->vectors != NULL) {
        const pm_chunk *chunk = hit->owner;
        memcpy(r->vectors + at * search->dim, chunk->vectors + (size_t)hit->row * search->dim,
               search->dim * sizeof(float));
    }
}

/* Merges the runs of each group into its first cell. */
static void merge_runs(const grid *g)
{
    for (uint32_t group = 0; group < g->groups; group++) {
        cell *into = &g->cell[group * g->runs];
        for (uint32_t r = 1; r < g->runs; r++) {
            const cell *from = &g->cell[group * g->runs + r];
            for (uint32_t i = 0; i < queries_of(g, group); i++)
                pm_flat_merge(heap_at(g, into, i), heap_at(g, from, i));
            into->scanned += from->scanned;
            into->cut |= from->cut;
        }
    }
}

/* A query's sorted hits. */
typedef struct answer {
    const pm_flat_hit *hit;
    size_t n;
    const cell *cell;
} answer;

/* Sorts every query's hits and counts what the result must hold. */
static void finish_queries(const grid *g, answer *answers, size_t *hits, uint64_t *bytes)
{
    *hits = 0;
    *bytes = 0;
    answer *a = answers;
    for (uint32_t group = 0; group < g->groups; group++) {
        const cell *c = &g->cell[group * g->runs];
        for (uint32_t i = 0; i < queries_of(g, group); i++, a++) {
            a->cell = c;
            a->n = pm_flat_finish(heap_at(g, c, i), &a->hit);
            *hits += a->n;
            for (size_t h = 0; h < a->n; h++) {
                *bytes += a->hit[h].id.size;
                if ((g->search->include & POMAI_INCLUDE_DOCUMENTS) != 0)
                    *bytes += pm_chunk_document(a->hit[h].owner, a->hit[h].row).size;
            }
        }
    }
}

static pomai_result *collect(const grid *g)
{
    const pm_search *search = g->search;
    uint64_t rows = 0, bytes;
    size_t hits, at = 0;
    answer *answers = pm_calloc(search->queries, sizeof *answers);
    if (answers == NULL) return NULL;
    merge_runs(g);
    finish_queries(g, answers, &hits, &bytes);
    for (uint32_t s = 0; s < g->view->shards; s++)
        rows += pm_memtable_live(g->view->table[s]);
    pomai_result *r = result_make(search, hits, bytes);
    uint8_t *to = r == NULL ? NULL : r->bytes;
    for (size_t q = 0; r != NULL && q < search->queries; q++) {
        const answer *a = &answers[q];
        r->first[q] = at;
        for (size_t h = 0; h < a->n; h++)
            copy_hit(search, r, at++, &a->hit[h], &to);
        r->verdicts[q] = judge(search, a->n, a->cell->scanned, rows, a->cell->cut);
    }
    if (r != NULL) r->first[search->queries] = at;
    pm_free(answers);
    return r;
}

pomai_status pm_query_search(const pm_os *os, const pm_simd *simd, pm_pool *pool, const pm_view *view,
                             const pm_search *search, pomai_result **result, pomai_error *err)
{
    grid g = {.os = os, .simd = simd, .view = view, .search = search};
    pomai_status status = POMAI_OK;
    bool good = plan(&g, pool);
    if (good) pm_pool_run(pool, work_on_cell, &g, g.groups * g.runs);
    for (uint64_t i = 0; good && i < (uint64_t)g.groups * g.runs; i++)
        good = !g.cell[i].failed;
    if (good) *result = collect(&g);
    if (!good || *result == NULL)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to search for %llu queries with k = %u",
                         (unsigned long long)search->queries, search->k);
    for (uint64_t i = 0; g.cell != NULL && i < (uint64_t)g.groups * g.runs; i++)
        pm_free(g.cell[i].memory);
    pm_free(g.cell);
    pm_free(g.run);
    return status;
}

pomai_status pm_query_search_nothing(const pm_search *search, pomai_result **result, pomai_error *err)
{
    *result = result_make(search, 0, 0);
    if (*result == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the answer");
    for (uint64_t q = 0; q < search->queries; q++)
        (*result)->verdicts[q] = judge(search, 0, 0, 0, false);
    return POMAI_OK;
}

void pm_result_free(pomai_result *r)
{
    if (r == NULL) return;
    pm_free(r->first);
    pm_free(r->u64_ids);
    pm_free(r->distances);
    pm_free(r->string_ids);
    pm_free(r->documents);
    pm_free(r->vectors);
    pm_free(r->verdicts);
    pm_free(r->bytes);
    pm_free(r);
}
