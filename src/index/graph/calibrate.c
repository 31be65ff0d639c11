/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which effort reaches which recall.
 *
 * Rows drawn from all over are the queries, each left out of its own answer. Their true neighbours are sought among all
 * rows, by the codes that links are made of, which are right to a fraction of a percent; where the last of them is not
 * as far as its code says (rows differ by less than codes tell, or were cut off), all count as missed.
 *
 * Each query walks once, as far as it may. A walk with less slack or a smaller pool goes the same way and ends sooner:
 * with a slack, when the next node is beyond it; with a pool, when it has walked from as many nodes as fit. So what is
 * found by then, at each end of some slacks and pools, tells the recall of all pairs of them and of all k. An effort
 * meets a target if the lower end of a 95% interval of its recall does. Of those that do, the cheapest by a count of
 * what was read is kept: not by the clock, so that the same rows give the same table.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "graph_build.h"
#include "simd/graph.h"

enum {
    LEAST_QUERIES = 250,
    QUERIES = 50,  /* more for each leader that a row went to as it was linked, which also took time */
    FOR_ALL = 5,   /* one query in so many is for the highest k, too */
    DEEPEST = 100, /* neighbours */
    BLOCK = 992,   /* rows compared with all queries at once: a multiple of PM_GRAPH_PANEL */
    SCORED = 36,   /* codes, by rows: the budget of all walks */
    LEAST_SCORED = 1 << 21,
    MOST_SCORED = 1 << 15, /* in a walk */
    FIRST_WALKS = 32,      /* to see how far others go */
    FIRST_SLACKS = 16,
    MORE_SLACKS = 2,
    SPARE_SLACKS = 3, /* beyond what was enough for a few */
    WALKS = 8,        /* of a piece */
    SPREAD = 7919,    /* a prime above the number of queries */
    FEW_FAR = 1000,   /* one in so many queries is taken to be far from all rows */
};
#define TOLD      0.25               /* of a squared distance: as much as codes may be wrong by */
#define ONE_SIDED 1.6448536269514722 /* 95% of a normal distribution are below */
#define ENOUGH    0.9999             /* recall beyond which no walk goes */

static const uint32_t ks[GRAPH_KS] = {1, 10, 100};
enum { MIDDLE = 1 };
static const float targets[GRAPH_TARGETS] = {0.8f, 0.85f, 0.9f, 0.93f, 0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 0.999f};

/* Efforts: every slack with every pool, and of each some numbers of rows to rank again: tenths of k, and some more. */
enum { SLACKS = 32, POOLS = 24, STOPS = SLACKS + POOLS, RERANKS = 9 };
static const float slacks[SLACKS] = {0.02f, 0.03f,  0.04f, 0.045f, 0.05f, 0.055f, 0.06f, 0.065f,
                                     0.07f, 0.075f, 0.08f, 0.085f, 0.09f, 0.095f, 0.1f,  0.105f,
                                     0.11f, 0.115f, 0.12f, 0.13f,  0.14f, 0.15f,  0.16f, 0.17f,
                                     0.18f, 0.2f,   0.22f, 0.25f,  0.28f, 0.32f,  0.4f,  0.5f};
static const uint32_t pools[POOLS] = {12,  16,  20,  24,  32,  40,  48,  64,  80,   96,   112,  128,
                                      160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048, PM_GRAPH_MOST_POOL};
static const uint32_t rerank_tenths[RERANKS] = {10, 12, 15, 20, 30, 40, 60, 100, 200};
static const uint32_t rerank_more[RERANKS] = {2, 2, 2, 2, 4, 8, 16, 32, 64};

/* What a walk has found when one with less slack, or a smaller pool, would end. */
typedef struct stop {
    uint32_t scored, by_rows, expanded;
    uint16_t found[RERANKS]; /* of the k nearest, by the number of rows to rank again */
} stop;

typedef struct calibration {
    pm_graph_builder *b;
    const pm_graph *graph;
    uint32_t reranks; /* that are looked at */
    uint32_t queries;
    uint32_t *row;     /* of each query */
    uint8_t *code;     /* of each query; IP: other than that of its row */
    bool *told;        /* queries x GRAPH_KS: whether codes tell its neighbours */
    float *units;      /* room for two rows */
    uint64_t *nearest; /* queries x DEEPEST: distance << 32 | row */
    uint32_t *have;    /* of them */
    bool *turned;      /* whether the walk of each query turned */
    int32_t *worst;    /* distance of the last, once there are all */
    /* a block of rows, and distances of PM_GRAPH_TILE queries to it for each group of them */
    uint8_t *panels;
    uint32_t *distance;
    uint32_t in_block;
    /* walks */
    stop *stops;             /* queries x GRAPH_KS x (SLACKS, then POOLS) */
    uint32_t last[GRAPH_KS]; /* slacks that are looked at */
    uint32_t first, end;     /* queries that walk; all before have */
    _Atomic bool failed;
} calibration;

static uint32_t least_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Most queries are for all k but the highest, which takes more time than the others. */
static uint32_t ks_of(uint32_t q)
{
    return q % FOR_ALL == 0 ? GRAPH_KS : GRAPH_KS - 1;
}

/* ---- true neighbours ---- */

static void keep(calibration *c, uint32_t q, uint64_t key)
{
    uint64_t *list = c->nearest + (size_t)q * DEEPEST;
    const uint32_t most = ks[ks_of(q) - 1];
    uint32_t at = c->have[q];
    if (at == most && key >= list[at - 1]) return;
    if (at < most) c->have[q] = ++at;
    for (at--; at > 0 && list[at - 1] > key; at--)
        list[at] = list[at - 1];
    list[at] = key;
    if (c->have[q] == most) c->worst[q] = (int32_t)(list[most - 1] >> 32);
}

/* Row j of a block, of which there are `blocks`: spread, so that near rows are seldom in the same one. */
static uint64_t block_row(uint64_t block, uint64_t blocks, uint64_t j)
{
    return block + j * blocks;
}

typedef struct look {
    calibration *c;
    uint64_t block, blocks;
} look;

/* Of a panel; distances are below 2^31, and what is beyond the last row may be anything. */
static bool any_within(const int32_t *distance, int32_t most)
{
    int32_t any = 0;
    for (size_t i = 0; i < PM_GRAPH_PANEL; i++)
        any |= distance[i] <= most;
    return any != 0;
}

static void look_at_block(void *argument, uint32_t group)
{
    const look *l = argument;
    calibration *c = l->c;
    const pm_simd_graph *kernels = c->b->simd->graph;
    const size_t stride = c->b->space.shape.whole;
    const uint32_t first = group * PM_GRAPH_TILE, n = (uint32_t)pm_min_u64(PM_GRAPH_TILE, c->queries - first);
    const uint8_t *code[PM_GRAPH_TILE] = {NULL};
    uint32_t *distance = c->distance + (size_t)group * PM_GRAPH_TILE * BLOCK;
    for (uint32_t i = 0; i < n; i++)
        code[i] = c->code + (size_t)(first + i) * stride;
    kernels->distances(code, n, stride, c->panels, c->in_block, distance, BLOCK);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < c->in_block; j += PM_GRAPH_PANEL) {
            const int32_t *at = (const int32_t *)(const void *)(distance + (size_t)i * BLOCK + j);
            const uint32_t q = first + i, here = least_of(c->in_block - j, PM_GRAPH_PANEL);
            if (!any_within(at, c->worst[q])) continue; /* nearly all are too far */
            for (uint32_t t = 0; t < here; t++) {
                const uint64_t row = block_row(l->block, l->blocks, j + t);
                if (at[t] <= c->worst[q] && row != c->row[q]) keep(c, q, (uint64_t)(uint32_t)at[t] << 32 | row);
            }
        }
}

static pomai_status find_neighbours(calibration *c)
{
    pm_graph_builder *b = c->b;
    const uint64_t rows = b->source->rows, blocks = (rows + BLOCK - 1) / BLOCK;
    const uint8_t *code[BLOCK] = {NULL};
    for (uint64_t block = 0; block < blocks; block++) {
        look l = {c, block, blocks};
        if (!builder_go_on(b)) return POMAI_EDEADLINE;
        c->in_block = 0;
        for (uint64_t j = 0; block_row(block, blocks, j) < rows; j++)
            code[c->in_block++] = b->codes + block_row(block, blocks, j) * b->space.shape.whole;
        b->simd->graph->pack(code, c->in_block, b->space.shape.whole, c->panels);
        builder_run(b->work, look_at_block, &l, (c->queries + PM_GRAPH_TILE - 1) / PM_GRAPH_TILE);
    }
    return POMAI_OK;
}

/* ---- queries ---- */

/* The row of a node in units, as a row or as a query; b->rows is overwritten. */
static bool read_units(const calibration *c, uint64_t node, bool as_query, float *out)
{
    const pm_graph_builder *b = c->b;
    if (!b->source->read(b->source->context, b->order[node], 1, b->rows)) return false;
    if (as_query)
        graph_query_to_units(&b->space, b->rows, out);
    else
        graph_to_units(&b->space, b->rows, out);
    return true;
}

/* Rows from all over; so are the first of them. */
static pomai_status choose_queries(calibration *c)
{
    const pm_graph_builder *b = c->b;
    const uint64_t rows = b->source->rows;
    const size_t stride = b->space.shape.whole;
    for (uint32_t q = 0; q < c->queries; q++) {
        const uint64_t part = (uint64_t)q * SPREAD % c->queries;
        const uint64_t from = rows * part / c->queries, to = rows * (part + 1) / c->queries;
        c->worst[q] = INT32_MAX;
        c->row[q] = (uint32_t)(from + pm_mix64((b->source->seed + 3) ^ pm_mix64(q)) % (to - from));
        memcpy(c->code + q * stride, b->codes + c->row[q] * stride, stride);
        if (b->source->metric != POMAI_METRIC_IP) continue;
        if (!read_units(c, c->row[q], true, c->units)) return POMAI_EDEADLINE;
        graph_units_to_code(&b->space, c->units, c->code + q * stride);
    }
    return POMAI_OK;
}

/* Whether the distance of two rows and that of their codes are about the same. */
static bool agree(const float *a, const float *b, uint32_t n, double coded)
{
    double sum = 0;
    for (uint32_t d = 0; d < n; d++) {
        const double part = (double)a[d] - (double)b[d];
        sum += part * part;
    }
    return fabs(sum - coded) <= TOLD * fmax(sum, coded);
}

static pomai_status see_what_codes_tell(calibration *c)
{
    const uint32_t n = c->b->space.shape.padded;
    float *other = c->units + n;
    for (uint32_t q = 0; q < c->queries; q++) {
        if (!builder_go_on(c->b)) return POMAI_EDEADLINE;
        if (graph_is_raw(&c->b->space)) { /* codes are the rows */
            for (size_t i = 0; i < ks_of(q); i++)
                c->told[q * GRAPH_KS + i] = c->have[q] > 0;
            continue;
        }
        if (!read_units(c, c->row[q], true, c->units)) return POMAI_EDEADLINE;
        for (size_t i = 0; i < ks_of(q); i++) {
            const uint32_t last = c->have[q] < ks[i] ? c->have[q] : ks[i];
            if (last == 0) continue; /* no row but itself */
            const uint64_t key = c->nearest[(size_t)q * DEEPEST + last - 1];
            if (!read_units(c, (uint32_t)key, false, other)) return POMAI_EDEADLINE;
            c->told[q * GRAPH_KS + i] = agree(c->units, other, n, (double)(key >> 32));
        }
    }
    return POMAI_OK;
}

/* ---- walks ---- */

/* What a query's walk watches for. */
typedef struct watch {
    calibration *c;
    uint32_t q, ks;                           /* ks: how many of them this query is for */
    uint32_t slack[GRAPH_KS], pool[GRAPH_KS]; /* the next stop of each kind */
    const pm_graph_query *query;
    bool turned;
    uint64_t want[DEEPEST]; /* keys of the true neighbours */
} watch;

static void score_wanted(watch *w)
{
    const calibration *c = w->c;
    const uint32_t n = c->have[w->q];
    uint32_t row[DEEPEST] = {0};
    float score[DEEPEST + PM_WALK_ROOM];
    for (uint32_t j = 0; j < n; j++)
        row[j] = (uint32_t)c->nearest[(size_t)w->q * DEEPEST + j];
    graph_scores(w->query, row, n, score);
    for (uint32_t j = 0; j < n; j++)
        w->want[j] = pm_walk_key(score[j], row[j]);
}

/* Where codes are exact there is one, and what the codes say is nearest is. */
static uint32_t rerank_of(const calibration *c, uint32_t k, size_t i)
{
    if (c->reranks == 1) return k;
    return k * rerank_tenths[i] / 10 + rerank_more[i];
}

static stop *stop_of(const calibration *c, uint32_t q, size_t of_ks, size_t i)
{
    return &c->stops[((size_t)q * GRAPH_KS + of_ks) * STOPS + i];
}

/* Where in the pool a key is, if it is among the first `most`; else UINT32_MAX. */
static uint32_t rank_of(const pm_walk_pool *pool, uint32_t most, uint64_t want)
{
    uint32_t from = 0, to = most;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (pool->key[middle] < want)
            from = middle + 1;
        else
            to = middle;
    }
    return from < most && (pool->key[from] & ~(uint64_t)1) == want ? from : UINT32_MAX;
}

/* A walk that stops here proposes the nodes it has walked from; others may have been kept out of its pool. */
static void note(const watch *w, const graph_step *step, size_t of_ks, size_t i)
{
    const calibration *c = w->c;
    const uint32_t k = ks[of_ks], have = least_of(c->have[w->q], k);
    stop *s = stop_of(c, w->q, of_ks, i);
    uint32_t met[RERANKS] = {0};
    for (uint32_t j = 0; j < have && c->told[w->q * GRAPH_KS + of_ks]; j++) {
        const uint32_t rank = rank_of(step->pool, step->pool->next, w->want[j]);
        for (size_t r = 0; r < c->reranks; r++)
            met[r] += rank < rerank_of(c, k, r);
    }
    *s = (stop){(uint32_t)step->scored, (uint32_t)step->by_rows, (uint32_t)step->expanded, {0}};
    for (size_t r = 0; r < c->reranks; r++)
        s->found[r] = (uint16_t)(met[r] + (c->told[w->q * GRAPH_KS + of_ks] ? k - have : 0));
}

/* Beyond which a walk for this k, with this slack, does not go. */
static float limit_for(const graph_step *step, uint32_t k, float slack)
{
    const uint32_t few = k < GRAPH_FEW ? GRAPH_FEW : k;
    if (step->pool->size < few) return INFINITY;
    const float limit = pm_walk_score(step->pool->key[few - 1]) * ((1 + slack) * (1 + slack));
    return limit > step->noise ? limit : step->noise;
}

static int32_t apart(const calibration *c, uint32_t a, uint32_t b)
{
    const size_t stride = c->b->space.shape.whole;
    const uint8_t *x = c->b->codes + a * stride, *y = c->b->codes + b * stride;
    int32_t sum = 0;
    for (size_t d = 0; d < stride; d++)
        sum += ((int32_t)x[d] - y[d]) * ((int32_t)x[d] - y[d]);
    return sum;
}

static const uint32_t *links_of(const calibration *c, uint32_t row)
{
    return (const uint32_t *)(const void *)c->graph->section[GRAPH_LINKS] + (size_t)row * c->b->space.shape.degree;
}

/*
 * A node links to the query's own row, which is left out. Pruning put that in the place of others behind it: without it
 * the nearest of these, of what the row links to, would have a link, if no other link of the node is in its way.
 */
static uint32_t instead_of(void *context, uint32_t node)
{
    const watch *w = context;
    const calibration *c = w->c;
    const uint32_t degree = c->b->space.shape.degree, rows = (uint32_t)c->b->source->rows, own = c->row[w->q];
    const uint32_t *behind = links_of(c, own), *link = links_of(c, node);
    uint32_t best = UINT32_MAX;
    int32_t nearest = INT32_MAX;
    for (uint32_t i = 0; i < degree && behind[i] < rows; i++) {
        const int32_t here = apart(c, node, behind[i]);
        if (behind[i] == node || here >= nearest) continue;
        nearest = here;
        best = behind[i];
    }
    for (uint32_t i = 0; i < degree && link[i] < rows && best != UINT32_MAX; i++)
        if (link[i] != own && apart(c, node, link[i]) <= nearest && apart(c, link[i], best) <= nearest)
            best = UINT32_MAX;
    return best;
}

/* Notes what each walk has found that would end now; how far the farthest goes, or -1. */
static float see(void *context, const graph_step *step)
{
    watch *w = context;
    const calibration *c = w->c;
    const pm_walk_pool *pool = step->pool;
    const bool over = pool->next == pool->size || step->scored >= MOST_SCORED;
    if (step->turned && !w->turned) score_wanted(w);
    w->turned = step->turned;
    const float next = over ? INFINITY : pm_walk_score(pool->key[pool->next]);
    float farthest = -1;
    for (size_t i = 0; i < w->ks; i++) {
        for (; w->slack[i] < c->last[i]; w->slack[i]++) {
            if (!over && !(next > limit_for(step, ks[i], slacks[w->slack[i]]))) break;
            note(w, step, i, w->slack[i]);
        }
        for (; w->pool[i] < POOLS && (over || pool->next >= pools[w->pool[i]]); w->pool[i]++)
            note(w, step, i, SLACKS + w->pool[i]);
        if (w->slack[i] < c->last[i] && w->pool[i] < POOLS)
            farthest = fmaxf(farthest, limit_for(step, ks[i], slacks[c->last[i] - 1]));
    }
    return farthest;
}

/* What was not seen to end goes on at least to where the walk was left. */
static void end_watch(watch *w)
{
    for (size_t i = 0; i < w->ks; i++) {
        const size_t last = w->slack[i] == w->c->last[i] ? w->slack[i] - 1 : SLACKS + POOLS - 1;
        const stop *s = stop_of(w->c, w->q, i, last);
        while (w->slack[i] < w->c->last[i])
            *stop_of(w->c, w->q, i, w->slack[i]++) = *s;
        while (w->pool[i] < POOLS)
            *stop_of(w->c, w->q, i, SLACKS + w->pool[i]++) = *s;
    }
}

static void walk_piece(void *argument, uint32_t piece)
{
    calibration *c = argument;
    const uint32_t most = (uint32_t)pm_min_u64(pools[POOLS - 1], c->b->source->rows);
    const uint32_t first = c->first + piece * WALKS, end = least_of(first + WALKS, c->end);
    const pm_graph_effort effort = {.pool = most, .slack = slacks[SLACKS - 1], .rerank = most};
    uint8_t *memory = pm_malloc_aligned(GRAPH_LINE, pm_graph_query_size(c->graph, &effort));
    if (memory == NULL) {
        atomic_store(&c->failed, true);
        return;
    }
    const unsigned fp = pm_simd_fp_enter(); /* the thread is any */
    for (uint32_t q = first; q < end; q++) {
        const uint32_t of_ks = ks_of(q);
        const uint8_t *code = c->code + (size_t)q * c->b->space.shape.whole;
        pm_graph_query *query =
            graph_query_of_row(memory, c->graph, c->b->simd, c->row[q], code, ks[of_ks - 1], &effort);
        watch w = {.c = c, .q = q, .ks = of_ks, .query = query};
        score_wanted(&w);
        graph_walk_watched(query, &(graph_watch){&w, see, instead_of});
        end_watch(&w);
        c->turned[q] = w.turned;
    }
    pm_simd_fp_leave(fp);
    pm_free(memory);
}

/* ---- judging ---- */

typedef struct tally {
    uint64_t queries, found[RERANKS], squares[RERANKS];
} tally;

/* Sums over the queries for a k that have walked, of walks with a pool and a slack. */
typedef struct sums {
    tally all, apart; /* apart: whose walks do not turn */
    uint64_t scored, by_rows, expanded;
} sums;

static void count(tally *t, const stop *s, uint32_t reranks)
{
    t->queries++;
    for (size_t r = 0; r < reranks; r++) {
        t->found[r] += s->found[r];
        t->squares[r] += (uint32_t)s->found[r] * s->found[r];
    }
}

static void add_up(const calibration *c, size_t of_ks, size_t pool, size_t slack, sums *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t q = 0; q < c->end; q++) {
        if (ks_of(q) <= of_ks) continue;
        const stop *s = stop_of(c, q, of_ks, slack), *full = stop_of(c, q, of_ks, SLACKS + pool);
        if (full->expanded < s->expanded) s = full;
        out->scored += s->scored;
        out->by_rows += s->by_rows;
        out->expanded += s->expanded;
        count(&out->all, s, c->reranks);
        if (!c->turned[q]) count(&out->apart, s, c->reranks);
    }
}

/* What a query reads and writes, in nanoseconds of a machine that is nobody's. */
static double cost_of(const calibration *c, const sums *s, uint32_t pool, uint32_t rerank)
{
    const graph_shape *shape = &c->b->space.shape;
    const double line = shape->warm_bytes > 0 ? 3.0 * shape->warm_bytes / GRAPH_LINE : 0.2 * shape->dim;
    const double code = 8 + 5.0 * shape->hot_bytes / GRAPH_LINE, row = 8 + 5.0 * shape->whole / GRAPH_LINE;
    const double codes = (double)(s->scored - s->by_rows) * code + (double)s->by_rows * row, n = (double)s->all.queries;
    return (codes + (double)s->expanded * 40) / n + rerank * (10 + line) + pool * 10.0;
}

/* Mean recall, and the lower end of its interval. */
static double recall_of_tally(const tally *s, size_t r, uint32_t k, double *least)
{
    const double n = (double)s->queries, mean = (double)s->found[r] / n / k;
    const double variance = (double)s->squares[r] / n / k / k - mean * mean;
    /* all found says less than an interval of no width: count half a query that found nothing */
    const double width = ONE_SIDED * sqrt((variance > 0 ? variance : 0) / n) + 0.5 / n;
    *least = mean > width ? mean - width : 0;
    return mean;
}

/* The same of the queries whose walks do not turn, if it is less and they are most: rows that repeat are found with
 * little effort, and are not to make up for what others, which may be all that is ever asked for, do not find. */
static double recall_of(const sums *s, size_t r, uint32_t k, double *least)
{
    double other;
    const double mean = recall_of_tally(&s->all, r, k, least);
    if (s->apart.queries <= s->all.queries / 2) return mean;
    const double apart = recall_of_tally(&s->apart, r, k, &other);
    *least = fmin(*least, other);
    return fmin(mean, apart);
}

/* Looks what walks with a pool and a slack mean for the targets. */
static void judge(const calibration *c, size_t of_ks, size_t pool, size_t slack, graph_row *row, double *cost)
{
    const uint32_t k = ks[of_ks];
    sums s;
    add_up(c, of_ks, pool, slack, &s);
    for (size_t r = 0; r < c->reranks && rerank_of(c, k, r) <= pools[pool]; r++) {
        const uint32_t rerank = rerank_of(c, k, r);
        const double each = cost_of(c, &s, pools[pool], rerank);
        double least;
        const double mean = recall_of(&s, r, k, &least);
        if (mean > (double)row->best) row->best = (float)mean;
        for (size_t t = 0; t < GRAPH_TARGETS; t++) {
            graph_entry *e = &row->entry[t];
            if (least < (double)targets[t] || (e->pool > 0 && each >= cost[t])) continue;
            cost[t] = each;
            *e = (graph_entry){targets[t], slacks[slack], (float)mean, (float)least, pools[pool], rerank};
        }
    }
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The distance of the neighbour that a walk's stop is by, which one query in a thousand, or none, had farther. */
static float far_of(calibration *c, size_t of_ks)
{
    const uint32_t place = ks[of_ks] < GRAPH_FEW ? GRAPH_FEW : ks[of_ks];
    float *distance = (float *)(void *)c->distance; /* they have been looked at */
    uint32_t n = 0;
    for (uint32_t q = 0; q < c->queries; q++)
        if (ks_of(q) > of_ks && c->have[q] >= place)
            distance[n++] = (float)(uint32_t)(c->nearest[(size_t)q * DEEPEST + place - 1] >> 32);
    qsort(distance, n, sizeof *distance, by_value);
    return n == 0 ? 0 : distance[n - 1 - n / FEW_FAR];
}

static void fill_row(calibration *c, size_t of_ks, graph_row *row)
{
    double cost[GRAPH_TARGETS] = {0};
    *row = (graph_row){.k = ks[of_ks],
                       .queries = of_ks + 1 < GRAPH_KS ? c->queries : (c->queries + FOR_ALL - 1) / FOR_ALL};
    row->far = far_of(c, of_ks);
    for (size_t t = 0; t < GRAPH_TARGETS; t++)
        row->entry[t].target = targets[t];
    for (size_t pool = 0; pool < POOLS && pools[pool] <= c->b->source->rows; pool++)
        for (size_t slack = 0; slack < c->last[of_ks]; slack++)
            judge(c, of_ks, pool, slack, row, cost);
}

/* ---- how far to walk ---- */

static pomai_status walk_some(calibration *c, uint32_t first, uint32_t end)
{
    enum { AT_ONCE = 4 * WALKS };
    for (; first < end; first = c->end) {
        if (!builder_go_on(c->b)) return POMAI_EDEADLINE;
        c->first = first;
        c->end = least_of(first + AT_ONCE, end);
        builder_run(c->b->work, walk_piece, c, (c->end - first + WALKS - 1) / WALKS);
        if (atomic_load(&c->failed)) return POMAI_ENOMEM;
    }
    return POMAI_OK;
}

/* As the first queries tell: little farther than gains something, and no farther than there is time for. */
static void choose_last(calibration *c, double budget)
{
    static const double weight[GRAPH_KS] = {1, 1, 0.5};
    double scored[GRAPH_KS][SLACKS];
    for (size_t i = 0; i < GRAPH_KS; i++) {
        const uint32_t most = c->last[i];
        bool enough = false;
        for (uint32_t slack = 0; slack < most; slack++) {
            sums s;
            double unused;
            add_up(c, i, POOLS - 1, slack, &s);
            scored[i][slack] = (double)s.scored / (double)s.all.queries;
            if (enough || recall_of(&s, c->reranks - 1, ks[i], &unused) <= ENOUGH) continue;
            enough = true;
            c->last[i] = least_of(most, slack + 1 + SPARE_SLACKS);
        }
    }
    c->last[0] = c->last[MIDDLE]; /* for k of 1 few queries tell little */
    for (;;) {
        size_t most = 0;
        double here[GRAPH_KS];
        for (size_t i = 0; i < GRAPH_KS; i++) {
            here[i] = scored[i][c->last[i] - 1];
            if (here[i] * weight[i] > here[most] * weight[most]) most = i;
        }
        const double nearly = fmax(here[0], here[1]), all = fmax(nearly, here[2]);
        if ((nearly * (FOR_ALL - 1) + all) / FOR_ALL <= budget || c->last[most] == 1) return;
        c->last[most]--;
    }
}

/* Walks with ever more slack, of a few queries, until more gains nothing or there is no time for more. */
static pomai_status try_first(calibration *c, double budget)
{
    const uint32_t few = least_of(FIRST_WALKS, c->queries);
    bool enough = false;
    for (uint32_t last = FIRST_SLACKS; !enough; last += MORE_SLACKS) {
        for (size_t i = 0; i < GRAPH_KS; i++)
            c->last[i] = last;
        const pomai_status status = walk_some(c, 0, few);
        if (status != POMAI_OK) return status;
        enough = last == SLACKS;
        sums s;
        double unused;
        add_up(c, MIDDLE, POOLS - 1, last - 1, &s);
        enough = enough || (double)s.scored > budget * (double)s.all.queries;
        add_up(c, MIDDLE, POOLS - 1, last - 1 - SPARE_SLACKS, &s);
        enough = enough || recall_of(&s, c->reranks - 1, ks[MIDDLE], &unused) > ENOUGH;
    }
    choose_last(c, budget);
    return walk_some(c, few, c->queries);
}

static pomai_status walk_all(calibration *c, graph_table *table)
{
    /* entries are in a row, and take next to no time */
    const double budget = (double)pm_max_u64(c->b->source->rows * SCORED, LEAST_SCORED) / c->queries +
                          graph_entry_count(&c->b->space.shape, c->b->source->rows);
    pomai_status status = try_first(c, budget);
    for (size_t i = 0; status == POMAI_OK && i < GRAPH_KS; i++)
        fill_row(c, i, &table->row[i]);
    return status;
}

static pomai_status calibrate(calibration *c, graph_table *table)
{
    const pm_simd_graph *kernels = c->b->simd->graph;
    const uint32_t groups = (c->queries + PM_GRAPH_TILE - 1) / PM_GRAPH_TILE;
    c->row = pm_malloc(c->queries * sizeof *c->row);
    c->code = pm_malloc_aligned(GRAPH_LINE, c->queries * (size_t)c->b->space.shape.whole);
    c->told = pm_calloc(c->queries, GRAPH_KS * sizeof *c->told);
    c->units = pm_malloc_aligned(GRAPH_LINE, 2 * c->b->space.shape.padded * sizeof *c->units);
    c->nearest = pm_malloc((size_t)c->queries * DEEPEST * sizeof *c->nearest);
    c->have = pm_calloc(c->queries, sizeof *c->have);
    c->turned = pm_calloc(c->queries, sizeof *c->turned);
    c->worst = pm_malloc(c->queries * sizeof *c->worst);
    c->panels =
        pm_malloc_aligned(GRAPH_LINE, pm_graph_panels(BLOCK) * pm_graph_panel_bytes(kernels, c->b->space.shape.whole));
    c->distance = pm_malloc_aligned(GRAPH_LINE, (size_t)groups * PM_GRAPH_TILE * BLOCK * sizeof *c->distance);
    c->stops = pm_malloc((size_t)c->queries * GRAPH_KS * STOPS * sizeof *c->stops);
    if (c->row == NULL || c->code == NULL || c->told == NULL || c->turned == NULL || c->units == NULL ||
        c->nearest == NULL || c->have == NULL || c->worst == NULL || c->panels == NULL || c->distance == NULL ||
        c->stops == NULL)
        return POMAI_ENOMEM;
    pomai_status status = choose_queries(c);
    if (status == POMAI_OK) status = find_neighbours(c);
    if (status == POMAI_OK) status = see_what_codes_tell(c);
    return status == POMAI_OK ? walk_all(c, table) : status;
}

pomai_status pm_graph_calibrate(pm_graph_builder *b, const pm_graph *graph, const pm_index_sink *sink)
{
    const unsigned fp = pm_simd_fp_enter();
    graph_table table;
    calibration c = {.b = b, .graph = graph, .reranks = b->space.shape.exact ? 1 : RERANKS};
    c.queries = (uint32_t)pm_min_u64(LEAST_QUERIES + graph_fanout(&b->space.shape) * QUERIES, b->source->rows / 8);
    memset(&table, 0, sizeof table);
    table.revision = GRAPH_REVISION;
    pomai_status status = calibrate(&c, &table);
    pm_free(c.row);
    pm_free(c.code);
    pm_free(c.told);
    pm_free(c.units);
    pm_free(c.nearest);
    pm_free(c.have);
    pm_free(c.turned);
    pm_free(c.worst);
    pm_free(c.panels);
    pm_free(c.distance);
    pm_free(c.stops);
    pm_simd_fp_leave(fp);
    if (status == POMAI_OK && !sink->append(sink->context, GRAPH_TABLE, &table, sizeof table)) status = POMAI_EDEADLINE;
    return status;
}
