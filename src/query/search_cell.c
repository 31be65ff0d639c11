/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cell of a search: a group of queries over a run of rows. Rows of memtables are compared, and those of segments
 * that have neither a graph nor codes which reach what is asked for. Of the others those are that codes let pass, or
 * that a walk through the graph came to; a run that begins in the middle of a graph's segment leaves it to the one
 * before.
 */
#include <math.h>

#include "base/mutant.h"
#include "query/search_int.h"
#include "simd/ranks.h"

enum {
    CHECK_ROWS = 1024,  /* rows of a segment whose checksums are asked about at once */
    FIRST_STEP = 256,   /* rows that codes are asked about before there is a bound */
    JUDGED_BY = 16,     /* nearest, of what a look at hot codes found */
    SCRAMBLED = 2,      /* of them in the farther half, as none of 1,000 queries of GloVe has, and 98% of queries that
                         * are nearly orthogonal to 2,000 multiples of one vector */
    WALK_SCRAMBLED = 4, /* of a walk, which is among more matches, so that they lie closer together */
    LOOK_AHEAD = 8,     /* listed rows that are on their way */
    SPARSE_STEP = 1024, /* matches whose codes are looked at in a list */
    AT_ONCE = 1 << 16,  /* bytes */
};

#ifdef POMAI_TEST_HOOKS
bool search_falls_short;
#endif

void search_id_of(const void *owner, uint32_t row, pm_flat_id *id)
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

typedef struct scan {
    search_grid *g;
    search_cell *c;
    const float *vectors; /* of its queries */
    uint32_t run;
    uint32_t queries;
    pm_flat_query **heaps;
    pm_flat_group *group; /* of the heaps; NULL: of one query alone */
    float *decoded;       /* PM_FLAT_TILE rows; NULL: what is stored is float32 */
    void *walk;           /* memory of a pm_graph_query */
    void *more;           /* that of a pm_flat_query for JUDGED_BY; NULL: no matches are judged by that */
    pm_flat_tile tile;
} scan;

bool search_is_over(const void *context)
{
    const search_grid *g = context;
    const pm_search *search = g->search;
    if (search->cancel != NULL && __atomic_load_n(search->cancel, __ATOMIC_RELAXED) != 0) return true;
    return search->until_ns != PM_FOREVER && g->os->now_ns(g->os) >= search->until_ns;
}

/* An empty one. There is room for the values of one tile, which is needed only while it is offered. */
static void begin_tile(const scan *s, pm_flat_tile *tile)
{
    tile->n = 0;
    tile->dtype = s->g->view->dtype;
    tile->convert = s->g->view->convert;
    tile->room = s->decoded;
}

/* false: it is over. */
static bool offer_tile(scan *s)
{
    if (s->tile.n == 0) return true;
    if (s->group != NULL)
        pm_flat_group_offer(s->group, &s->tile);
    else
        pm_flat_offer(s->heaps, s->queries, &s->tile);
    s->c->scanned += s->tile.n;
    s->tile.n = 0;
    s->c->cut = search_is_over(s->g);
    return !s->c->cut;
}

static bool offer_row(scan *s, const void *owner, uint32_t row, const void *stored)
{
    size_t n = s->tile.n++;
    s->tile.stored[n] = stored;
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

bool search_is_damaged(search_grid *g, const pomai_error *error)
{
    if (!atomic_exchange(&g->damaged, true)) g->error = *error;
    return false;
}

/* Rows that a filter lets pass. */
static bool scan_matches(scan *s, const search_source *from, uint64_t chunk, uint64_t first, uint64_t end)
{
    const uint64_t *match = search_matches_of(from, chunk);
    const void *owner = from->table != NULL ? (const void *)pm_memtable_chunk(from->table, chunk) : from->segment;
    pomai_error error;
    for (uint64_t row = first, stop; row < end; row = stop) {
        stop = pm_min_u64(end, (row / 64 + 1) * 64);
        uint64_t bits = match[row / 64] & (UINT64_MAX << row % 64) & (UINT64_MAX >> (63 - (stop - 1) % 64));
        if (bits != 0 && from->table == NULL &&
            pm_segment_check(from->segment, PM_SEG_ALL & ~(uint32_t)PM_SEG_DOCUMENT, row, stop - row, &error) !=
                POMAI_OK)
            return search_is_damaged(s->g, &error);
        for (; bits != 0; bits &= bits - 1) {
            const uint32_t at = (uint32_t)(row / 64 * 64) + (uint32_t)__builtin_ctzll(bits);
            if (!offer_row(s, owner, at, pm_where_stored(owner, at))) return false;
        }
    }
    return true;
}

/* The same where they are listed. */
static bool scan_list(scan *s, const search_source *from, uint64_t first, uint64_t end)
{
    pm_segment *segment = from->segment;
    pomai_error error;
    for (uint64_t i = first, n; i < end; i += n) {
        const uint32_t row = from->list[i];
        n = pm_judge_run(from->list, i, end);
        if (i + LOOK_AHEAD < end && i + LOOK_AHEAD >= from->fetched)
            pm_segment_fetch(segment, from->list[i + LOOK_AHEAD], 1);
        if (pm_segment_check(segment, PM_SEG_ID | PM_SEG_VECTOR, row, n, &error) != POMAI_OK)
            return search_is_damaged(s->g, &error);
        const uint8_t *vector = pm_segment_vector_at(segment, row);
        for (uint32_t at = 0; at < n; at++, vector += segment->stride)
            if (!offer_row(s, segment, row + at, vector)) return false;
    }
    return true;
}

static bool scan_listed(scan *s, const search_source *from, uint64_t first, uint64_t end);

static bool scan_segment(scan *s, const search_source *from, uint64_t first, uint64_t end)
{
    if (from->listed != NULL) return scan_listed(s, from, first, end);
    if (from->list != NULL) return scan_list(s, from, first, end);
    if (from->match != NULL) return scan_matches(s, from, 0, first, end);
    pm_segment *segment = from->segment;
    const pm_view *view = s->g->view;
    const uint64_t stride = segment->stride;
    for (uint64_t row = first; row < end;) {
        const uint64_t stop = pm_min_u64(end, (row / CHECK_ROWS + 1) * CHECK_ROWS);
        pomai_error error;
        if (pm_segment_check(segment, PM_SEG_ALL & ~(uint32_t)PM_SEG_DOCUMENT, row, stop - row, &error) != POMAI_OK) {
            return search_is_damaged(s->g, &error);
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

/* Of rows that match. */
static bool see_matches(const search_source *from, uint64_t first, uint32_t n, uint64_t *among)
{
    bool all = true;
    for (uint32_t i = 0; i < n; i += 64) {
        const uint64_t full = n - i >= 64 ? UINT64_MAX : ((uint64_t)1 << (n - i)) - 1;
        among[i / 64] = from->match[(first + i) / 64] & full; /* the next run's rows may begin within a word */
        all = all && among[i / 64] == full;
    }
    return all;
}

/* Compares rows for query i. false: damage. */
static bool compare_rows(scan *s, pm_segment *segment, uint32_t i, const uint32_t *rows, size_t n)
{
    pomai_error error;
    pm_flat_tile tile;
    begin_tile(s, &tile);
    for (size_t at = 0; at < n; at++) {
        const uint32_t row = rows[at];
        if (pm_segment_check(segment, PM_SEG_ID | PM_SEG_VECTOR, row, 1, &error) != POMAI_OK)
            return search_is_damaged(s->g, &error);
        tile.stored[tile.n] = pm_segment_vector_at(segment, row);
        tile.owner[tile.n] = segment;
        tile.row[tile.n++] = row;
        if (tile.n < PM_FLAT_TILE && at + 1 < n) continue;
        pm_flat_offer(&s->heaps[i], 1, &tile);
        tile.n = 0;
    }
    return true;
}

/* The same of what codes or a graph propose. */
static bool offer_rows(scan *s, pm_segment *segment, uint32_t i, const uint32_t *rows, size_t n)
{
    if (!s->g->sure) s->c->proposed[i] += n; /* else codes count all rows that they look at */
    return compare_rows(s, segment, i, rows, n);
}

/* Listed rows, by codes that leave none out that may be among the nearest. */
static bool scan_listed(scan *s, const search_source *from, uint64_t first, uint64_t end)
{
    const search_grid *g = s->g;
    pm_query_codes codes;
    bool good = true;
    if (!pm_query_codes_begin(&codes, from->listed, g->simd, s->vectors, s->queries, g->k, 1))
        return scan_list(s, from, first, end);
    for (uint32_t i = 0; i < s->queries && good; i++) {
        const size_t found = pm_quant_scan_listed(codes.query[i], from->list + first, (uint32_t)(end - first),
                                                  pm_flat_bound(s->heaps[i]), codes.candidates);
        for (size_t j = 0; j < found; j++)
            pm_segment_fetch(from->segment, codes.candidates[j], 1);
        good = compare_rows(s, from->segment, i, codes.candidates, found);
    }
    pm_query_codes_end(&codes);
    s->c->scanned += end - first;
    s->c->cut = search_is_over(g);
    return good && !s->c->cut;
}

/* The same of matches that are few among the others, from a multiple of 64 on. */
static bool scan_sparse(scan *s, const search_source *from, const pm_query_codes *codes, uint64_t row, uint64_t end)
{
    uint32_t rows[SPARSE_STEP];
    while (row < end) {
        uint32_t n = 0;
        for (; row < end && n + 64 <= SPARSE_STEP; row += 64) {
            uint64_t bits = from->match[row / 64];
            if (end - row < 64) bits &= ((uint64_t)1 << (end - row)) - 1;
            for (; bits != 0; bits &= bits - 1)
                rows[n++] = (uint32_t)row + (uint32_t)__builtin_ctzll(bits);
        }
        for (uint32_t i = 0; i < s->queries; i++) {
            const size_t found =
                pm_quant_scan_listed(codes->query[i], rows, n, pm_flat_bound(s->heaps[i]), codes->candidates);
            for (size_t j = 0; j < found; j++)
                pm_segment_fetch(from->segment, codes->candidates[j], 1);
            if (!compare_rows(s, from->segment, i, codes->candidates, found)) return false;
        }
        s->c->scanned += n;
        s->c->cut = search_is_over(s->g);
        if (s->c->cut) return false;
    }
    return true;
}

/* Rows from a multiple of 64 on. */
static bool scan_steps(scan *s, const search_source *from, const pm_query_codes *codes, uint64_t row, uint64_t end)
{
    uint64_t among[PM_QUANT_STEP / 64];
    pomai_error error;
    while (row < end) {
        uint64_t step = PM_QUANT_STEP;
        bool all;
        for (uint32_t i = 0; i < s->queries; i++)
            if (!(pm_flat_bound(s->heaps[i]) < (double)INFINITY)) step = FIRST_STEP; /* most of them are proposed */
        const uint32_t n = (uint32_t)pm_min_u64(end - row, step);
        if (from->match != NULL)
            all = see_matches(from, row, n, among);
        else if (pm_view_see(s->g->view, from->segment, from->plain, row, n, among, &all, &error) != POMAI_OK)
            return search_is_damaged(s->g, &error);
        for (uint32_t i = 0; i < s->queries; i++) {
            const double bound = pm_flat_bound(s->heaps[i]);
            const size_t found = all ? pm_quant_scan(codes->query[i], row, n, bound, codes->candidates)
                                     : pm_quant_scan_some(codes->query[i], row, n, among, bound, codes->candidates);
            if (!offer_rows(s, from->segment, i, codes->candidates, found)) return false;
        }
        if (s->g->sure && !PM_MUTANT(SURE_ROWS_NOT_COUNTED))
            s->c->scanned += all ? n : s->g->simd->ranks->count(among, ((size_t)n + 63) / 64);
        row += n;
        s->c->cut = search_is_over(s->g);
        if (s->c->cut) return false;
    }
    return true;
}

static bool scan_codes(scan *s, const search_source *from, uint64_t first, uint64_t end)
{
    search_grid *g = s->g;
    pm_query_codes codes;
    const uint64_t begin = pm_min_u64(end, pm_align_up(first, 64));
    const bool ready = pm_query_derived_is_ready(from->codes, s->run, g->runs, search_is_over, g, &s->c->cut);
    const bool sparse = search_is_sparse(g, from);
    const float recall = sparse ? 1 : search_codes_recall(g);
    if (s->c->cut) return false;
    if (!ready || !pm_query_codes_begin(&codes, from->codes, g->simd, s->vectors, s->queries, g->k, recall))
        return scan_segment(s, from, first, end);
    for (uint32_t i = 0; i < s->queries && from->match != NULL && recall < 1; i++)
        pm_quant_widen(codes.query[i]);
    bool more = scan_segment(s, from, first, begin) && offer_tile(s);
    if (more) more = sparse ? scan_sparse(s, from, &codes, begin, end) : scan_steps(s, from, &codes, begin, end);
    s->c->approximate |= recall < 1;
    s->c->lost += (1 - (double)codes.expected) * search_counted(from, end - begin);
    pm_query_codes_end(&codes);
    return more;
}

/* ---- by graphs ---- */

/* Offers rows to query i whose distances are known, so their vectors are not read. false: damage. */
static bool offer_known(scan *s, pm_segment *segment, uint32_t i, const uint32_t *rows, const uint32_t *distances,
                        size_t n)
{
    pomai_error error;
    s->c->proposed[i] += n;
    for (size_t at = 0; at < n; at++) {
        if ((double)distances[at] > pm_flat_bound(s->heaps[i])) continue;
        if (pm_segment_check(segment, PM_SEG_ID, rows[at], 1, &error) != POMAI_OK)
            return search_is_damaged(s->g, &error);
        pm_segment_fetch_id(segment, rows[at]); /* for the answer */
        pm_flat_offer_known(s->heaps[i], (double)distances[at], segment, rows[at]);
    }
    return true;
}

typedef struct walk {
    const search_grid *g;
    const search_source *from;
    uint32_t unseen; /* rows that were asked about and do not count */
    const uint32_t *distances;
    pm_graph_doubt doubt;
    bool again;   /* the query is counted as such */
    bool picks;   /* what was found is of a look at all that match, however the segment was planned */
    size_t near;  /* pm_graph_near */
    uint32_t met; /* with a filter: pm_graph_met */
    bool damaged;
    pomai_error error;
} walk;

/* Whether the reader sees a row: those that nobody sees are walked through all the same. */
static bool counts(void *context, uint32_t row)
{
    walk *w = context;
    pm_segment *segment = w->from->segment;
    if (w->from->plain && (pm_segment_ended_word(segment, row / 64) >> (row % 64) & 1) == 0) return true;
    w->damaged |= pm_segment_check(segment, PM_SEG_SHARD | PM_SEG_LSN | PM_SEG_EXPIRY, row, 1, &w->error) != POMAI_OK;
    if (!w->damaged && pm_segment_row_seen(segment, row, w->g->view)) return true;
    w->unseen++;
    return false;
}

/* Whether it matches the filter. */
static bool counts_match(void *context, uint32_t row)
{
    const walk *w = context;
    return (w->from->match[row / 64] >> (row % 64) & 1) != 0;
}

static bool ends_walk(void *context)
{
    const walk *w = context;
    return w->damaged || search_is_over(w->g);
}

/* In memory for a query of this effort. */
static size_t walk_with(walk *w, void *memory, const float *vector, const pm_graph_effort *effort,
                        const uint32_t **rows)
{
    const search_grid *g = w->g;
    const search_source *from = w->from;
    const bool all = from->plain && pm_segment_ended(from->segment) == 0; /* whoever ends later is still seen */
    const bool endless = all && g->search->cancel == NULL && g->search->until_ns == PM_FOREVER;
    pm_graph_asks asks = {w, all || PM_MUTANT(GRAPH_NOT_JUDGED) ? NULL : counts, endless ? NULL : ends_walk};
    if (from->match != NULL) asks.counts = PM_MUTANT(FILTER_NOT_JUDGED) ? NULL : counts_match;
    w->unseen = 0;
    pm_graph_query *query = pm_graph_query_init(memory, &from->graph, g->simd, vector, g->k, effort);
    const size_t found = pm_graph_walk(query, &asks, rows);
    w->met = pm_graph_met(query);
    w->distances = pm_graph_distances(query);
    w->near = pm_graph_near(query);
    w->doubt = pm_graph_doubts(query);
    return found;
}

/* What the walk found, to query i. false: damage. */
static bool offer_found(scan *s, const walk *w, uint32_t i, const uint32_t *rows, size_t n)
{
    pm_segment *segment = w->from->segment;
    if (w->distances == NULL) return offer_rows(s, segment, i, rows, n);
    return offer_known(s, segment, i, rows, w->distances, n);
}

/* Query i, for which a walk found too few rows, by codes, or exactly. *lost: as that of a cell. */
static bool scan_alone(scan *s, const search_source *from, uint32_t i, double *lost)
{
    search_cell own = {.proposed = &s->c->proposed[i]};
    scan alone;
    alone.g = s->g;
    alone.c = &own;
    alone.vectors = s->vectors + (size_t)i * s->g->search->dim;
    alone.run = s->run;
    alone.queries = 1;
    alone.heaps = s->heaps + i;
    alone.group = NULL;
    alone.decoded = s->decoded;
    begin_tile(s, &alone.tile);
    const uint64_t rows = pm_segment_rows(from->segment);
    const bool more = from->codes != NULL ? scan_codes(&alone, from, 0, rows) : scan_segment(&alone, from, 0, rows);
    const bool whole = more && offer_tile(&alone);
    s->c->proposed[i] += own.scanned;
    s->c->cut |= own.cut;
    if (own.lost > *lost) *lost = own.lost;
    return whole;
}

/* Once more, in a pool that has room for all rows that did not count; *found 0 if there can be none. */
static bool walk_wider(scan *s, walk *w, uint32_t i, size_t *found)
{
    const search_source *from = w->from;
    pm_graph_effort effort = from->effort;
    const uint64_t pool = (uint64_t)effort.pool - from->spare + 2 * (uint64_t)w->unseen;
    effort.pool = (uint32_t)pm_min_u64(pool, PM_GRAPH_MOST_POOL);
    const size_t size = pm_graph_query_size(&from->graph, &effort);
    void *memory = pool <= PM_GRAPH_MOST_POOL && size > 0 ? pm_malloc_aligned(64, size) : NULL;
    const uint32_t room = 2 * w->unseen, *rows;
    *found = 0;
    if (memory == NULL) return true;
    *found = walk_with(w, memory, s->vectors + (size_t)i * s->g->search->dim, &effort, &rows);
    if (w->unseen > room) *found = 0;
    const bool good = w->damaged || *found < s->g->k || offer_found(s, w, i, rows, *found);
    pm_free(memory);
    return good;
}

/* As many rows as calibration walked through, of those that count. */
static bool is_enough(const walk *w, size_t found)
{
    const search_source *from = w->from;
    if (PM_MUTANT(FILTER_FEWER) && from->match != NULL) return true;
    if (found < w->g->k) return false;
    return from->match != NULL ? w->met >= from->effort.pool - from->spare : w->unseen <= from->spare;
}

static void count_again(scan *s, walk *w)
{
    s->c->again += !w->again;
    w->again = true;
}

/* Offers what was found to query i, the nearer half first; *farther: those of the others that were nearer. */
static bool offer_both(scan *s, walk *w, uint32_t i, const uint32_t *rows, size_t near, size_t n, uint64_t *farther)
{
    const uint32_t *distances = w->distances;
    bool good = offer_found(s, w, i, rows, near);
    const uint64_t before = pm_flat_nearer(s->heaps[i]);
    if (distances != NULL) w->distances = distances + near;
    good = good && offer_found(s, w, i, rows + near, n - near);
    *farther = pm_flat_nearer(s->heaps[i]) - before;
    return good;
}

/*
 * The same for a small k, which says little of how well codes told the rows apart: of more of the nearest, if there is
 * room for twice as many in the nearer half. *scrambled: so many of these are in the farther half that the order was
 * hardly better than any.
 */
static bool offer_more(scan *s, walk *w, uint32_t i, const uint32_t *rows, size_t near, size_t n, uint64_t *farther,
                       bool *scrambled)
{
    const search_grid *g = s->g;
    const pm_search *search = g->search;
    const float *vector = s->vectors + (size_t)i * search->dim;
    pm_flat_query *own = s->heaps[i];
    const pm_flat_hit *hits;
    s->heaps[i] = pm_flat_query_init(s->more, g->simd, search->metric, vector, search->dim, JUDGED_BY, search_id_of);
    const bool good = offer_both(s, w, i, rows, near, n, farther);
    pm_flat_query *more = s->heaps[i];
    s->heaps[i] = own;
    const size_t found = pm_flat_finish(more, &hits);
    const bool any = *farther > 0;
    uint32_t beyond = 0;
    *farther = 0;
    for (size_t h = 0; h < found; h++) {
        const uint64_t before = pm_flat_nearer(own);
        bool far = false;
        for (size_t at = near; at < n && any && !far; at++)
            far = rows[at] == hits[h].row;
        pm_flat_offer_known(own, hits[h].distance, hits[h].owner, hits[h].row);
        beyond += far;
        *farther += far ? pm_flat_nearer(own) - before : 0;
    }
    *scrambled = beyond >= (uint32_t)(w->picks != PM_MUTANT(SCRAMBLED_SWAPPED) ? SCRAMBLED : WALK_SCRAMBLED);
    return good;
}

/*
 * What a look at hot codes found, to query i. Calibration has seen queries that are among rows. One that is far from
 * all that match has them at about one distance, and hot codes may not tell them apart: then more of the nearest are
 * among the farther half of what was found than may be missed, and there are more where nothing was looked for. false:
 * damage, or it is over.
 */
static bool offer_halves(scan *s, walk *w, uint32_t i, const uint32_t *rows, size_t near, size_t n, double *lost)
{
    const search_grid *g = s->g;
    const search_source *from = w->from;
    const float recall = g->search->recall > 0 ? g->search->recall : from->effort.expected;
    const double missed = (1 - (double)recall) * g->k + (w->picks ? 0 : 1);
    uint64_t farther = 0;
    bool scrambled = false;
    if (PM_MUTANT(FAR_MATCHES_MISSED) || search_never_doubts()) n = near;
    if (near == n) return offer_found(s, w, i, rows, near);
    const bool good = s->more != NULL && near >= 2 * JUDGED_BY && !PM_MUTANT(FEW_TELL_ENOUGH)
                          ? offer_more(s, w, i, rows, near, n, &farther, &scrambled)
                          : offer_both(s, w, i, rows, near, n, &farther);
    if (!good || (!((double)farther > missed) && !scrambled)) return good;
    count_again(s, w);
    s->c->proposed[i] -= n; /* they are counted with the others, which are all that match or some of them */
    pm_flat_expect_repeats(s->heaps[i]);
    return scan_alone(s, from, i, lost);
}

static bool ends_pick(void *context)
{
    return search_is_over(context);
}

/* Query i among the rows that match, by their codes in the graph. false: damage, or it is over. */
static bool pick_query(scan *s, walk *w, uint32_t i, double *lost)
{
    search_grid *g = s->g;
    const search_source *from = w->from;
    const bool endless = g->search->cancel == NULL && g->search->until_ns == PM_FOREVER;
    const uint32_t *rows;
    pm_graph_query *query =
        pm_graph_query_init(s->walk, &from->graph, g->simd, s->vectors + (size_t)i * g->search->dim, g->k, &from->pick);
    const size_t found = pm_graph_pick(query, from->match, endless ? NULL : ends_pick, g, &rows);
    w->picks = !PM_MUTANT(PICK_JUDGED_AS_WALK) || from->picked;
    w->distances = pm_graph_distances(query);
    s->c->cut = search_is_over(g);
    return offer_halves(s, w, i, rows, s->c->cut ? found : pm_graph_near(query), found, lost) && !s->c->cut;
}

/* The next greater effort that may do where this one did not. */
static bool reach_harder(const walk *w, pm_graph_effort *effort)
{
    static const float more[] = {0.99f, 0.995f, 0.999f};
    const search_source *from = w->from;
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        if (pm_graph_look_up(&from->graph, w->g->search->k, more[i], false, effort) &&
            effort->pool + from->spare > from->effort.pool) {
            effort->pool = (uint32_t)pm_min_u64((uint64_t)effort->pool + from->spare, PM_GRAPH_MOST_POOL);
            return true;
        }
    return false;
}

/*
 * Query i is unlike those that calibration saw, or so is where its matches are: these are looked at by codes. Without a
 * filter it walks again with more effort; if it is in doubt still, and not only as it is outlying, which some rows are
 * as well, codes have the effort for it. What is found without codes is what there is.
 */
static bool settle_doubt(scan *s, walk *w, uint32_t i, const uint32_t *rows, size_t found, double *lost)
{
    const search_source *from = w->from;
    pm_graph_effort effort;
    void *memory = NULL;
    bool good = true;
    count_again(s, w);
    if (from->match != NULL) return from->codes == NULL ? pick_query(s, w, i, lost) : scan_alone(s, from, i, lost);
    if (reach_harder(w, &effort)) {
        const size_t size = pm_graph_query_size(&from->graph, &effort);
        memory = size > 0 ? pm_malloc_aligned(64, size) : NULL;
        if (memory != NULL) found = walk_with(w, memory, s->vectors + (size_t)i * s->g->search->dim, &effort, &rows);
        s->c->cut = search_is_over(s->g);
    }
    const bool settled = w->doubt == PM_GRAPH_NO_DOUBT || w->doubt == PM_GRAPH_OUTLYING;
    if (s->c->cut || w->damaged || (is_enough(w, found) && (settled || from->codes == NULL)))
        good = offer_found(s, w, i, rows, found);
    else
        good = scan_alone(s, from, i, lost);
    pm_free(memory);
    return good && !s->c->cut;
}

static bool is_doubted(const walk *w)
{
    if (search_never_doubts()) return false;
    return w->doubt != PM_GRAPH_NO_DOUBT && !PM_MUTANT(NEVER_IN_DOUBT);
}

static bool walk_query(scan *s, walk *w, uint32_t i, double *lost)
{
    const search_grid *g = s->g;
    const uint32_t *rows;
    w->again = w->picks = false;
    if (w->from->picked) return pick_query(s, w, i, lost);
    size_t found = walk_with(w, s->walk, s->vectors + (size_t)i * g->search->dim, &w->from->effort, &rows);
    bool good = true;
    s->c->cut = search_is_over(g);
    if (is_doubted(w) && !s->c->cut && is_enough(w, found)) return settle_doubt(s, w, i, rows, found, lost);
    if (s->c->cut || PM_MUTANT(GRAPH_FEWER) || is_enough(w, found))
        return offer_halves(s, w, i, rows, s->c->cut ? found : w->near, found, lost) && !s->c->cut;
    count_again(s, w);
    if (w->from->match != NULL) return pick_query(s, w, i, lost);
    if (w->unseen > w->from->spare) {
        good = walk_wider(s, w, i, &found);
        s->c->cut = search_is_over(g);
    }
    if (found < g->k && good && !w->damaged && !s->c->cut) good = scan_alone(s, w->from, i, lost);
    return good && !s->c->cut;
}

static bool walk_graph(scan *s, const search_source *from)
{
    walk w = {.g = s->g, .from = from};
    double lost = (1 - (double)from->effort.expected) * search_counted(from, pm_segment_rows(from->segment));
    bool more = true;
    for (uint32_t i = 0; i < s->queries && more && !w.damaged; i++)
        more = walk_query(s, &w, i, &lost);
    s->c->approximate = true;
    s->c->lost += lost;
    return w.damaged ? search_is_damaged(s->g, &w.error) : more;
}

/* ---- a cell ---- */

static bool scan_source(scan *s, const search_source *from, uint64_t chunk, uint64_t first, uint64_t end)
{
    if (from->walked) return (first > 0 && !PM_MUTANT(GRAPH_TWICE)) || walk_graph(s, from);
    if (from->codes != NULL) return scan_codes(s, from, first, end);
    if (from->table == NULL) return scan_segment(s, from, first, end);
    if (from->match != NULL) return scan_matches(s, from, chunk, first, end);
    return scan_chunk(s, pm_memtable_chunk(from->table, chunk), from->visible, (uint32_t)first, (uint32_t)end);
}

static void scan_run(scan *s, const search_run *r)
{
    const search_grid *g = s->g;
    uint64_t left = r->rows;
    uint64_t chunk_at = r->chunk;
    uint32_t row = r->row;
    for (uint32_t i = r->source; i < g->sources && left > 0; i++, chunk_at = 0) {
        const search_source *from = &g->source[i];
        for (; chunk_at < from->chunks && left > 0; chunk_at++, row = 0) {
            const uint32_t take = (uint32_t)pm_min_u64(left, search_chunk_rows(from, chunk_at) - row);
            if (!scan_source(s, from, chunk_at, row, (uint64_t)row + take)) return;
            left -= take;
        }
    }
    (void)offer_tile(s);
}

void search_work(void *context, uint32_t piece)
{
    search_grid *g = context;
    const uint32_t group = piece / g->runs;
    search_cell *c = &g->cell[piece];
    const pm_search *search = g->search;
    scan s;
    s.g = g;
    s.c = c;
    s.run = piece % g->runs;
    s.queries = search_queries_of(g, group);
    s.vectors = search->vectors + (size_t)group * g->group_queries * search->dim;
    const size_t group_size = pm_flat_group_size(g->simd, s.queries, search->dim);
    const bool decodes = g->view->dtype != POMAI_DTYPE_FLOAT32;
    const size_t decoded_size = decodes ? PM_FLAT_TILE * (size_t)search->dim * sizeof(float) : 0;
    const bool judges = g->judged != NULL && g->walks > 0 && g->k < JUDGED_BY;
    const size_t more_size = judges ? pm_flat_query_size(JUDGED_BY, search->dim) : 0;
    const size_t scratch = group_size + decoded_size + more_size + g->walk_size;
    const size_t kept = pm_align_up(s.queries * (g->query_size + sizeof *c->proposed + sizeof *s.heaps), 64);
    const bool at_once = scratch <= AT_ONCE; /* one allocation less for a small search, of which they are a tenth */
    c->size = kept + (at_once ? scratch : 0);
    c->memory = group_size > 0 ? pm_pool_take(g->pool, &c->size) : NULL;
    uint8_t *own = at_once || c->memory == NULL ? NULL : pm_malloc_aligned(64, scratch);
    uint8_t *memory = at_once && c->memory != NULL ? (uint8_t *)c->memory + kept : own;
    if (memory == NULL) {
        c->failed = true;
        return;
    }
    s.decoded = decodes ? (float *)(void *)(memory + group_size) : NULL;
    begin_tile(&s, &s.tile);
    s.more = judges ? memory + group_size + decoded_size : NULL;
    s.walk = memory + group_size + decoded_size + more_size;
    c->proposed = (uint64_t *)(void *)((uint8_t *)c->memory + s.queries * g->query_size);
    s.heaps = (pm_flat_query **)(void *)(c->proposed + s.queries);
    for (uint32_t i = 0; i < s.queries; i++) {
        const float *vector = s.vectors + (size_t)i * search->dim;
        c->proposed[i] = 0;
        s.heaps[i] =
            pm_flat_query_init(search_heap(g, c, i), g->simd, search->metric, vector, search->dim, g->k, search_id_of);
        const size_t query = (size_t)group * g->group_queries + i;
        if (g->limits != NULL) pm_flat_share(s.heaps[i], (pm_flat_limit *)(void *)(g->limits + query * g->limit_size));
    }
    s.group = pm_flat_group_init(memory, s.heaps, s.queries);
    c->cut = search_is_over(g) || (g->judged != NULL && !g->judged->whole);
    if (!c->cut) scan_run(&s, &g->run[s.run]);
    pm_free(own);
}
