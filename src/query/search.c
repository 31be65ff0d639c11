/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact search, and search by codes. The work is a grid: groups of queries by runs of rows. Many queries make many
 * groups, each over all rows, and a tile of rows stays in the cache while the whole group sees it. Few queries make one
 * group, and the rows are cut into runs for the helpers. Every cell of the grid has its own heaps; the runs of a group
 * are merged, so the answer does not depend on the cut. Queries with a target for the recall go through a segment
 * by its codes, if it has some: only rows that these propose are compared. Everything else is scanned exactly.
 */
#include <math.h>
#include <string.h>

#include "base/mutant.h"
#include "index/flat/flat.h"
#include "query/codes.h"
#include "query/query.h"

enum {
    GROUP_QUERIES = 1024,    /* most queries that share a pass over the rows */
    LEAST_GROUP = 8,         /* fewer in a group lose the matrix product */
    LEAST_SHARED = 64,       /* queries of a thread from which rows are shared out and not queries, */
    SHARED_K = 128,          /* up to this k */
    RUNS_A_THREAD = 4,       /* so that a slow thread does not hold up the end */
    CHECK_ROWS = 1024,       /* rows of a segment whose checksums are asked about at once */
    WORTH_SHARING = 1 << 20, /* bytes of vectors below which waking helpers costs more than it gives */
    EXACT_QUERIES = 192,     /* of a thread, from which products of bytes are faster than codes, and exact */
    CODES_SHARE = 16,        /* rows that codes look at in the time of one vector */
    FIRST_STEP = 256,        /* rows that codes are asked about before there is a bound */
};

/* A memtable's chunks that the view shows, or a segment, which counts as one chunk. */
typedef struct source {
    const pm_memtable *table; /* NULL: a segment */
    pm_segment *segment;
    pm_derived *codes; /* of the segment; NULL: it is scanned exactly */
    uint64_t visible;  /* of the memtable's shard */
    uint64_t chunks;
    bool plain; /* a segment all of whose rows the reader sees, but for those with an end */
} source;

/* Rows from (source, chunk, row) on, `rows` of them; dead ones count. */
typedef struct run {
    uint32_t source;
    uint64_t chunk;
    uint32_t row;
    uint64_t rows;
} run;

typedef struct cell {
    void *memory; /* of the heaps */
    uint64_t scanned;
    uint64_t *proposed; /* rows that codes proposed, of each query */
    double lost;        /* neighbours that are expected to be missed: rows x (1 - recall) */
    bool by_codes;
    bool cut;
    bool failed;
} cell;

typedef struct grid {
    const pm_os *os;
    const pm_simd *simd;
    const pm_view *view;
    const pm_search *search;
    source *source;
    uint32_t sources;
    _Atomic bool damaged; /* `error` says where: of the first that found damage */
    pomai_error error;
    bool by_codes;  /* segments that have codes are searched by them */
    uint64_t rows;  /* of all sources */
    uint64_t coded; /* of these, those that codes look at */
    uint32_t k;     /* no more than there are rows: a large k costs no memory that it cannot use */
    size_t query_size;
    uint32_t groups, runs;
    uint32_t group_queries;
    run *run;
    cell *cell; /* groups x runs */
} grid;

static void id_of(const void *owner, uint32_t row, pm_flat_id *id)
{
    pm_id found;
    if (pm_where_chunk(owner))
        pm_chunk_id(owner, row, &found);
    else
        pm_segment_id(owner, row, &found);
    id->u64 = found.u64;
    id->bytes = found.bytes;
    id->size = found.size;
}

static pomai_bytes document_of(const pm_flat_hit *hit)
{
    if (pm_where_chunk(hit->owner)) return pm_chunk_document(hit->owner, hit->row);
    return pm_segment_document(hit->owner, hit->row);
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

static uint64_t chunk_rows(const source *from, uint64_t chunk)
{
    return from->table == NULL ? pm_segment_rows(from->segment) : pm_memtable_chunk(from->table, chunk)->rows;
}

typedef struct scan {
    grid *g;
    cell *c;
    const float *vectors; /* of its queries */
    uint32_t run;
    pm_flat_query *heaps[GROUP_QUERIES];
    uint32_t queries;
    pm_flat_group *group;
    pm_flat_tile tile;
    float *decoded; /* PM_FLAT_TILE rows; NULL: what is stored is float32 */
} scan;

/* The deadline has passed, or the caller wants no answer any more. */
static bool is_over(const grid *g)
{
    const pm_search *search = g->search;
    if (search->cancel != NULL && __atomic_load_n(search->cancel, __ATOMIC_RELAXED) != 0) return true;
    return search->until_ns != PM_FOREVER && g->os->now_ns(g->os) >= search->until_ns;
}

/* The rows of a tile as float32. */
static void decode_tile(const scan *s, pm_flat_tile *tile)
{
    const size_t dim = s->g->search->dim;
    for (size_t i = 0; i < tile->n && s->decoded != NULL; i++) {
        float *to = s->decoded + i * dim;
        pm_convert_row(s->g->view->convert, s->g->view->dtype, tile->vector[i], dim, to);
        tile->vector[i] = to;
    }
}

/* false: it is over. */
static bool offer_tile(scan *s)
{
    if (s->tile.n == 0) return true;
    decode_tile(s, &s->tile);
    pm_flat_group_offer(s->group, &s->tile);
    s->c->scanned += s->tile.n;
    s->tile.n = 0;
    s->c->cut = is_over(s->g);
    return !s->c->cut;
}

static bool offer_row(scan *s, const void *owner, uint32_t row, const void *stored)
{
    size_t n = s->tile.n++;
    s->tile.vector[n] = stored; /* of the collection's type, until the tile is full */
    s->tile.owner[n] = owner;
    s->tile.row[n] = row;
    return s->tile.n < PM_FLAT_TILE || offer_tile(s);
}

/* All of these return false when the scan is over: the deadline has passed, or there is damage. */
static bool scan_chunk(scan *s, const pm_chunk *chunk, uint64_t visible, uint32_t from, uint32_t to)
{
    const bool some_unseen = chunk->expiry != NULL || atomic_load_explicit(&chunk->ended, memory_order_acquire) != 0;
    for (uint32_t row = from; row < to; row++) {
        if (some_unseen && !pm_chunk_row_visible(chunk, row, visible, s->g->view->now)) continue;
        if (!offer_row(s, chunk, row, pm_chunk_vector_at(chunk, row))) return false;
    }
    return true;
}

/* false, always: a read met damage. */
static bool is_damaged(grid *g, const pomai_error *error)
{
    if (!atomic_exchange(&g->damaged, true)) g->error = *error;
    return false;
}

static bool scan_segment(scan *s, const source *from, uint64_t first, uint64_t end)
{
    pm_segment *segment = from->segment;
    const pm_view *view = s->g->view;
    const uint64_t stride = segment->stride;
    for (uint64_t row = first; row < end;) {
        const uint64_t stop = pm_min_u64(end, (row / CHECK_ROWS + 1) * CHECK_ROWS);
        pomai_error error;
        if (pm_segment_check(segment, PM_SEG_ALL & ~(uint32_t)PM_SEG_DOCUMENT, row, stop - row, &error) != POMAI_OK) {
            return is_damaged(s->g, &error);
        }
        while (row < stop) {
            const uint64_t word_end = pm_min_u64(stop, (row / 64 + 1) * 64);
            const bool all = from->plain && pm_segment_ended_word(segment, row / 64) == 0;
            const uint8_t *vector = pm_segment_vector_at(segment, row);
            for (; row < word_end; row++, vector += stride) {
                if (!all && !pm_segment_row_seen(segment, row, view)) continue;
                if (!offer_row(s, segment, (uint32_t)row, vector)) return false;
            }
        }
    }
    return true;
}

/* ---- by codes ---- */

static bool is_over_now(const void *context)
{
    return is_over(context);
}

/* A bit for each of n rows that the reader sees; *all: they all are. false: damage. */
static bool see_rows(const scan *s, const source *from, uint64_t first, uint32_t n, uint64_t *among, bool *all)
{
    pm_segment *segment = from->segment;
    pomai_error error;
    *all = true;
    for (uint32_t i = 0; i < n; i += 64) {
        const uint64_t rows = pm_min_u64(64, n - i), full = rows == 64 ? UINT64_MAX : ((uint64_t)1 << rows) - 1;
        uint64_t bits = from->plain ? full & ~pm_segment_ended_word(segment, (first + i) / 64) : 0;
        if (PM_MUTANT(CODES_NOT_JUDGED)) bits = full;
        if (bits != full &&
            pm_segment_check(segment, PM_SEG_SHARD | PM_SEG_LSN | PM_SEG_EXPIRY, first + i, rows, &error) != POMAI_OK)
            return is_damaged(s->g, &error);
        for (uint64_t left = full & ~bits; left != 0; left &= left - 1) {
            const uint64_t row = first + i + (uint64_t)__builtin_ctzll(left);
            if (pm_segment_row_seen(segment, row, s->g->view)) bits |= left & (0 - left);
        }
        among[i / 64] = bits;
        *all = *all && bits == full;
    }
    return true;
}

/* Offers rows to query i. false: damage. */
static bool offer_rows(scan *s, pm_segment *segment, uint32_t i, const uint32_t *rows, size_t n)
{
    pomai_error error;
    pm_flat_tile tile;
    tile.n = 0;
    s->c->proposed[i] += n;
    for (size_t at = 0; at < n; at++) {
        const uint32_t row = rows[at];
        if (pm_segment_check(segment, PM_SEG_ID | PM_SEG_VECTOR, row, 1, &error) != POMAI_OK)
            return is_damaged(s->g, &error);
        tile.vector[tile.n] = pm_segment_vector_at(segment, row);
        tile.owner[tile.n] = segment;
        tile.row[tile.n++] = row;
        if (tile.n < PM_FLAT_TILE && at + 1 < n) continue;
        decode_tile(s, &tile); /* the tile of rows that all queries are offered is empty by now */
        pm_flat_offer(&s->heaps[i], 1, &tile);
        tile.n = 0;
    }
    return true;
}

/* Rows from a multiple of 64 on. */
static bool scan_steps(scan *s, const source *from, const pm_query_codes *codes, uint64_t row, uint64_t end)
{
    uint64_t among[PM_QUANT_STEP / 64];
    while (row < end) {
        uint64_t step = PM_QUANT_STEP;
        bool all;
        for (uint32_t i = 0; i < s->queries; i++)
            if (!(pm_flat_bound(s->heaps[i]) < (double)INFINITY)) step = FIRST_STEP; /* most of them are proposed */
        const uint32_t n = (uint32_t)pm_min_u64(end - row, step);
        if (!see_rows(s, from, row, n, among, &all)) return false;
        for (uint32_t i = 0; i < s->queries; i++) {
            const double bound = pm_flat_bound(s->heaps[i]);
            const size_t found = all ? pm_quant_scan(codes->query[i], row, n, bound, codes->candidates)
                                     : pm_quant_scan_some(codes->query[i], row, n, among, bound, codes->candidates);
            if (!offer_rows(s, from->segment, i, codes->candidates, found)) return false;
        }
        row += n;
        s->c->cut = is_over(s->g);
        if (s->c->cut) return false;
    }
    return true;
}

static bool scan_codes(scan *s, const source *from, uint64_t first, uint64_t end)
{
    grid *g = s->g;
    pm_query_codes codes;
    const uint64_t begin = pm_min_u64(end, pm_align_up(first, 64));
    const bool ready = pm_query_codes_ready(from->codes, s->run, g->runs, is_over_now, g, &s->c->cut);
    if (s->c->cut) return false;
    if (!ready || !pm_query_codes_begin(&codes, from->codes, g->simd, s->vectors, s->queries, g->k, g->search->recall))
        return scan_segment(s, from, first, end);
    const bool more = scan_segment(s, from, first, begin) && offer_tile(s) && scan_steps(s, from, &codes, begin, end);
    s->c->by_codes = true;
    s->c->lost += (1 - (double)codes.expected) * (double)(end - begin);
    pm_query_codes_end(&codes);
    return more;
}

/* ---- a cell ---- */

static bool scan_source(scan *s, const source *from, uint64_t chunk, uint64_t first, uint64_t end)
{
    if (from->codes != NULL) return scan_codes(s, from, first, end);
    if (from->table == NULL) return scan_segment(s, from, first, end);
    return scan_chunk(s, pm_memtable_chunk(from->table, chunk), from->visible, (uint32_t)first, (uint32_t)end);
}

static void scan_run(scan *s, const run *r)
{
    const grid *g = s->g;
    uint64_t left = r->rows;
    uint64_t chunk_at = r->chunk;
    uint32_t row = r->row;
    for (uint32_t i = r->source; i < g->sources && left > 0; i++, chunk_at = 0) {
        const source *from = &g->source[i];
        for (; chunk_at < from->chunks && left > 0; chunk_at++, row = 0) {
            const uint32_t take = (uint32_t)pm_min_u64(left, chunk_rows(from, chunk_at) - row);
            if (!scan_source(s, from, chunk_at, row, (uint64_t)row + take)) return;
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
    scan s = {.g = g, .c = c, .run = piece % g->runs, .queries = queries_of(g, group)};
    const size_t group_size = pm_flat_group_size(g->simd, s.queries, search->dim);
    const bool decodes = g->view->dtype != POMAI_DTYPE_FLOAT32;
    const size_t decoded_size = decodes ? PM_FLAT_TILE * (size_t)search->dim * sizeof(float) : 0;
    uint8_t *memory = group_size > 0 ? pm_malloc_aligned(64, group_size + decoded_size) : NULL;
    c->memory = pm_malloc_aligned(64, s.queries * (g->query_size + sizeof *c->proposed));
    if (c->memory == NULL || memory == NULL) {
        pm_free(memory);
        c->failed = true;
        return;
    }
    if (decodes) s.decoded = (float *)(void *)(memory + group_size);
    c->proposed = (uint64_t *)(void *)((uint8_t *)c->memory + s.queries * g->query_size);
    s.vectors = search->vectors + (size_t)group * g->group_queries * search->dim;
    for (uint32_t i = 0; i < s.queries; i++) {
        const float *vector = s.vectors + (size_t)i * search->dim;
        c->proposed[i] = 0;
        s.heaps[i] = pm_flat_query_init(heap_at(g, c, i), g->simd, search->metric, vector, search->dim, g->k, id_of);
    }
    s.group = pm_flat_group_init(memory, s.heaps, s.queries);
    c->cut = is_over(g);
    if (!c->cut) scan_run(&s, &g->run[piece % g->runs]);
    pm_free(memory);
}

/* ---- planning ---- */

static void add_table(grid *g, const pm_memtable *table, uint64_t visible, uint64_t *rows)
{
    if (table == NULL) return;
    source *to = &g->source[g->sources++];
    *to = (source){.table = table, .visible = visible, .chunks = pm_memtable_visible_chunks(table, visible)};
    for (uint64_t c = 0; c < to->chunks; c++)
        *rows += pm_memtable_chunk(table, c)->rows;
}

static bool find_sources(grid *g, uint64_t *rows)
{
    const pm_view *view = g->view;
    const pm_shown *shown = view->shown;
    *rows = 0;
    g->source = pm_calloc(shown->shards * 2u + shown->segments + 1, sizeof *g->source);
    if (g->source == NULL) return false;
    for (uint32_t i = 0; i < shown->segments; i++) {
        pm_segment *segment = shown->segment[i];
        source *to = &g->source[g->sources++];
        *to = (source){.segment = segment, .chunks = 1, .plain = pm_segment_first_expiry(segment) == 0};
        for (uint32_t s = 0; s < shown->shards; s++)
            to->plain &= pm_segment_max_lsn(segment, s) <= view->visible[s];
        if (g->by_codes && g->search->k < pm_segment_rows(segment)) to->codes = pm_segment_codes(segment);
        if (to->codes != NULL) g->coded += pm_segment_rows(segment);
        *rows += pm_segment_rows(segment);
    }
    for (uint32_t s = 0; s < shown->shards; s++) {
        add_table(g, shown->table[s].frozen, view->visible[s], rows);
        add_table(g, shown->table[s].active, view->visible[s], rows);
    }
    return true;
}

/* Cuts all rows into g->runs runs of about equal length. */
static void cut_runs(grid *g, uint64_t rows)
{
    const uint64_t each = rows / g->runs + 1;
    uint32_t made = 0;
    uint64_t room = 0; /* rows until the next run begins */
    for (uint32_t s = 0; s < g->sources; s++) {
        for (uint64_t c = 0; c < g->source[s].chunks; c++) {
            const uint64_t all = chunk_rows(&g->source[s], c);
            uint64_t left = all;
            while (left > room) { /* a run begins `room` rows into what is left of this chunk */
                uint32_t row = (uint32_t)(all - (left - room));
                g->run[made++] = (run){.source = s, .chunk = c, .row = row, .rows = each};
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
static void cut_groups(grid *g, uint32_t threads, bool share_rows)
{
    const uint64_t queries = g->search->queries;
    const uint64_t most = g->by_codes ? PM_QUERY_CODES_MOST : GROUP_QUERIES;
    uint64_t groups = (queries + most - 1) / most;
    g->runs = 1;
    if (share_rows && !g->by_codes && g->simd->pack_codes != NULL && g->k <= SHARED_K && groups < threads &&
        queries / threads >= LEAST_SHARED)
        g->runs = threads;
    else
        groups = pm_min_u64((groups + threads - 1) / threads * threads, (queries + LEAST_GROUP - 1) / LEAST_GROUP);
    g->group_queries = (uint32_t)((queries + groups - 1) / groups);
    g->groups = (uint32_t)((queries + g->group_queries - 1) / g->group_queries);
}

static bool plan(grid *g, pm_pool *pool)
{
    const pm_search *search = g->search;
    const uint32_t threads = pm_pool_helpers(pool) + 1;
    uint64_t rows;
    if (!find_sources(g, &rows)) return false;
    g->rows = rows;
    g->by_codes = g->coded > 0; /* else the larger groups of an exact search */
    g->k = (uint32_t)pm_max_u64(pm_min_u64(search->k, rows), 1);
    g->query_size = pm_flat_query_size(g->k, search->dim);
    if (g->query_size == 0) return false;
    const uint64_t work = rows - g->coded + g->coded / CODES_SHARE;
    const bool worth =
        threads > 1 && rows / PM_FLAT_TILE > threads && work * search->dim * sizeof(float) >= WORTH_SHARING;
    cut_groups(g, threads, worth);
    if (worth && g->groups < threads && g->runs == 1) g->runs = threads * RUNS_A_THREAD;
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

/* What codes did. They do not count the rows that the reader sees; of a snapshot that may be more than live now. */
static void judge_codes(const grid *g, const cell *c, uint64_t rows, pomai_verdict *v)
{
    if (!c->by_codes) return;
    v->rows_visible = pm_max_u64(rows, v->rows_scanned);
    if (c->cut) return;
    v->completeness = POMAI_APPROXIMATE;
    v->expected_recall = 1 - c->lost / (double)g->rows;
}

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

static void copy_hit(const grid *g, pomai_result *r, size_t at, const pm_flat_hit *hit, uint8_t **bytes)
{
    const size_t dim = g->search->dim;
    r->distances[at] = hit->distance;
    if (r->u64_ids != NULL)
        r->u64_ids[at] = hit->id.u64;
    else
        r->string_ids[at] = keep_bytes(bytes, hit->id.bytes, hit->id.size);
    if (r->documents != NULL) {
        pomai_bytes document = document_of(hit);
        r->documents[at] = keep_bytes(bytes, document.data, document.size);
    }
    if (r->vectors != NULL) pm_where_vector(g->view, hit->owner, hit->row, dim, r->vectors + at * dim);
}

/* Merges the runs of each group into its first cell. */
static void merge_runs(const grid *g)
{
    for (uint32_t group = 0; group < g->groups; group++) {
        cell *into = &g->cell[group * g->runs];
        for (uint32_t r = 1; r < g->runs; r++) {
            const cell *from = &g->cell[group * g->runs + r];
            for (uint32_t i = 0; i < queries_of(g, group); i++) {
                pm_flat_merge(heap_at(g, into, i), heap_at(g, from, i));
                into->proposed[i] += from->proposed[i];
            }
            into->scanned += from->scanned;
            into->lost += from->lost;
            into->by_codes |= from->by_codes;
            into->cut |= from->cut;
        }
    }
}

/* A query's sorted hits. */
typedef struct answer {
    const pm_flat_hit *hit;
    size_t n;
    uint64_t scanned;
    const cell *cell;
} answer;

/* Sorts every query's hits and counts what the result must hold. */
static pomai_status finish_queries(const grid *g, answer *answers, size_t *hits, uint64_t *bytes, pomai_error *err)
{
    *hits = 0;
    *bytes = 0;
    answer *a = answers;
    for (uint32_t group = 0; group < g->groups; group++) {
        const cell *c = &g->cell[group * g->runs];
        for (uint32_t i = 0; i < queries_of(g, group); i++, a++) {
            a->cell = c;
            a->scanned = c->scanned + c->proposed[i];
            a->n = pm_flat_finish(heap_at(g, c, i), &a->hit);
            *hits += a->n;
            for (size_t h = 0; h < a->n; h++) {
                const pm_flat_hit *hit = &a->hit[h];
                *bytes += hit->id.size;
                if ((g->search->include & POMAI_INCLUDE_DOCUMENTS) == 0) continue;
                if (!pm_where_chunk(hit->owner)) {
                    pm_segment *segment = (pm_segment *)(uintptr_t)hit->owner;
                    pomai_status status = pm_segment_check(segment, PM_SEG_DOCUMENT, hit->row, 1, err);
                    if (status != POMAI_OK) return status;
                }
                *bytes += document_of(hit).size;
            }
        }
    }
    return POMAI_OK;
}

/* The rows that the view shows, when the scan did not come to all of them: at most so many. */
static uint64_t rows_at_most(const grid *g)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < g->sources; i++)
        rows += g->source[i].table != NULL
                    ? pm_memtable_live(g->source[i].table)
                    : pm_segment_rows(g->source[i].segment) - pm_segment_ended(g->source[i].segment);
    return rows;
}

static pomai_status no_memory(const pm_search *search, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory to search for %llu queries with k = %u",
                   (unsigned long long)search->queries, search->k);
}

static pomai_status collect(const grid *g, pomai_result **out, pomai_error *err)
{
    const pm_search *search = g->search;
    uint64_t bytes;
    size_t hits, at = 0;
    answer *answers = pm_calloc(search->queries, sizeof *answers);
    if (answers == NULL) return no_memory(search, err);
    pomai_status status = finish_queries(g, answers, &hits, &bytes, err);
    pomai_result *r = status == POMAI_OK ? result_make(search, hits, bytes) : NULL;
    if (status == POMAI_OK && r == NULL) status = no_memory(search, err);
    uint8_t *to = r == NULL ? NULL : r->bytes;
    const uint64_t rows = rows_at_most(g);
    for (size_t q = 0; r != NULL && q < search->queries; q++) {
        const answer *a = &answers[q];
        r->first[q] = at;
        for (size_t h = 0; h < a->n; h++)
            copy_hit(g, r, at++, &a->hit[h], &to);
        r->verdicts[q] = judge(search, a->n, a->scanned, rows, a->cell->cut);
        judge_codes(g, a->cell, rows, &r->verdicts[q]);
    }
    if (r != NULL) r->first[search->queries] = at;
    pm_free(answers);
    *out = r;
    return status;
}

/* Codes proposed too few rows that the reader sees: some ended, or have expired. */
static bool fell_short(const grid *g)
{
    for (uint32_t group = 0; group < g->groups; group++) {
        const cell *c = &g->cell[group * g->runs];
        for (uint32_t i = 0; c->by_codes && !c->cut && i < queries_of(g, group); i++)
            if (!(pm_flat_bound(heap_at(g, c, i)) < (double)INFINITY)) return true;
    }
    return false;
}

/* *again: by codes there are fewer than k, and perhaps more rows. */
static pomai_status search_once(grid *g, pm_pool *pool, bool *again, pomai_result **result, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    bool good = plan(g, pool);
    *again = false;
    if (good) pm_pool_run(pool, work_on_cell, g, g->groups * g->runs);
    for (uint64_t i = 0; good && i < (uint64_t)g->groups * g->runs; i++)
        good = !g->cell[i].failed;
    if (!good) {
        status = no_memory(g->search, err);
    } else if (atomic_load(&g->damaged)) {
        status = g->error.status;
        if (err != NULL) *err = g->error;
    } else {
        merge_runs(g);
        *again = fell_short(g);
        if (!*again) status = collect(g, result, err);
    }
    for (uint64_t i = 0; g->cell != NULL && i < (uint64_t)g->groups * g->runs; i++)
        pm_free(g->cell[i].memory);
    pm_free(g->cell);
    pm_free(g->run);
    pm_free(g->source);
    return status;
}

pomai_status pm_query_search(const pm_os *os, const pm_simd *simd, pm_pool *pool, const pm_view *view,
                             const pm_search *search, pomai_result **result, pomai_error *err)
{
    const uint64_t each = search->queries / (pm_pool_helpers(pool) + 1); /* of a thread */
    const bool targeted =
        search->recall > 0 && search->recall < 1 && !(simd->pack_codes != NULL && each >= EXACT_QUERIES);
    grid by_codes = {.os = os, .simd = simd, .view = view, .search = search, .by_codes = true};
    grid exact = {.os = os, .simd = simd, .view = view, .search = search};
    bool again = true;
    pomai_status status = targeted ? search_once(&by_codes, pool, &again, result, err) : POMAI_OK;
    if (again) status = search_once(&exact, pool, &again, result, err);
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
