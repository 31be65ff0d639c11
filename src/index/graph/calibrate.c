/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which effort reaches which recall.
 *
 * calibrate_truth.c has the queries and what they should find. Each query walks once, as far as it may. A walk with
 * less slack or a smaller pool goes the same way and ends sooner: with a slack, when the next node is beyond it; with a
 * pool, when it has walked from as many nodes as fit; in either case if that is still so when what was under way is
 * there. So what is found by then, at each end of some slacks and pools, tells the recall of all pairs of them and of
 * all k. (Until then such a walk has not gone on, as the one that is watched has. That is hardly ever of use to it: of
 * two steps, beyond its end.) An effort meets a target if the lower end of a 95% interval of
 * its recall does. Of those that do, the cheapest by a count of what was read is looked for: not by the clock, so that
 * the same rows give the same table. Of those that cost hardly more the one is kept whose walks are ended by slack, and
 * hardly ever by a full pool: then queries unlike the rows, to which more is about as near as the k-th, walk farther.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "calibrate_int.h"
#include "simd/graph.h"

enum {
    LEAST_QUERIES = 250,
    QUERIES = 50, /* more for each leader that a row went to as it was linked, which also took time */
    SCORED = 36,  /* codes, by rows: the budget of all walks, but those of fresh queries */
    LEAST_SCORED = 1 << 21,
    MOST_SCORED = 1 << 15, /* in a walk */
    FIRST_WALKS = 32,      /* to see how far others go */
    FIRST_SLACKS = 16,
    FEW_DIMS_SLACKS = 28, /* at least, among rows of few dimensions */
    MORE_SLACKS = 2,
    MAYBE = 2048,
    BEHIND = 4,       /* copies whose links are looked at where a copy links to none but copies */
    SPARE_SLACKS = 3, /* beyond what was enough for a few */
    WALKS = 8,        /* of a piece */
    FEW_FAR = 1000,   /* one in so many queries is taken to be far from all rows, */
    OUTLYING = 8,     /* one in so many to be farther from the nearest than most, */
    AGAIN = 30,       /* and one in so many codes may be looked at again for that */
    BESIDE = 50,      /* one in so many on either side makes a gap */
    ROOMY = 128,      /* a pool beyond which a place costs more */
};
#define FEW_CRAMMED 0.02f
#define HARDLY      1.05f /* times the cheapest, */
#define LITTLE      2.0f  /* or, among rows of few dimensions, */
#define FEW_DIMS    8.0   /* which are so many: more slack costs little there, and queries off their surface need it */
#define ONE_SIDED   1.6448536269514722 /* 95% of a normal distribution are below */
#define ENOUGH      0.9999             /* recall beyond which no walk goes */
#define GAP         1.5f               /* times the squared distance before it */
#define CROWDED     1.12f              /* a pool that ends farther off, times the k-th squared distance, is none */

#define ks graph_ks
enum { LOWEST = 0 };
static const float targets[GRAPH_TARGETS] = {0.8f, 0.85f, 0.9f, 0.93f, 0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 0.999f};

/* Efforts: every slack with every pool, and of each some margins within which rows are ranked again, or numbers of
 * them: tenths of k, and some more, or all. */
enum { SLACKS = 32, POOLS = 24, STOPS = SLACKS + POOLS, MARGINS = 9, RERANKS = 9 };
static const float slacks[SLACKS] = {0.02f, 0.03f,  0.04f, 0.045f, 0.05f, 0.055f, 0.06f, 0.065f,
                                     0.07f, 0.075f, 0.08f, 0.085f, 0.09f, 0.095f, 0.1f,  0.105f,
                                     0.11f, 0.115f, 0.12f, 0.13f,  0.14f, 0.15f,  0.16f, 0.17f,
                                     0.18f, 0.2f,   0.22f, 0.25f,  0.28f, 0.32f,  0.4f,  0.5f};
static const uint32_t pools[POOLS] = {12,  16,  20,  24,  32,  40,  48,  64,  80,   96,   112,  128,
                                      160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048, PM_GRAPH_MOST_POOL};
static const float margins[MARGINS] = {0, 0.01f, 0.015f, 0.02f, 0.03f, 0.04f, 0.055f, 0.075f, INFINITY};
static const uint32_t rerank_tenths[RERANKS] = {10, 12, 15, 20, 30, 40, 60, 100};
static const uint32_t rerank_more[RERANKS] = {2, 2, 2, 2, 4, 8, 16, 32};
enum { TRIALS = POOLS * SLACKS * MARGINS };

/* What a walk has found when one with less slack, or a smaller pool, would end. */
struct stop {
    uint32_t scored, by_rows, expanded;
    float crowd; /* of a pool: the score of its last by that of the k-th; INFINITY: it is not full */
    uint16_t ranked[MARGINS];
    uint8_t found[MARGINS + RERANKS]; /* of the k nearest, by the margin, and by the number of rows to rank again */
};

/* What an effort finds, the lower end of its interval, what it costs, and which share of walks its pool ends. */
struct trial {
    float mean, least, cost, crammed;
};

static uint32_t least_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- walks ---- */

/* What a query's walk watches for. */
typedef struct watch {
    calibration *c;
    uint32_t q, ks;                           /* ks: how many of them this query is for */
    uint32_t slack[GRAPH_KS], pool[GRAPH_KS]; /* the next stop of each kind */
    /* Stops that had come at the steps before, if nothing comes that is nearer. */
    uint32_t slack_before[GRAPH_KS][GRAPH_UNDER_WAY], pool_before[GRAPH_KS][GRAPH_UNDER_WAY];
    const pm_graph_query *query;
    bool turned;
    float kth[GRAPH_KS];                      /* at this step */
    uint64_t want[CALIBRATE_DEEPEST];         /* keys of the true neighbours */
    uint64_t maybe[MAYBE / 64];               /* bits by row: without its own none is left out */
    uint32_t ranked, rank[CALIBRATE_DEEPEST]; /* at this step */
} watch;

static void score_wanted(watch *w)
{
    const calibration *c = w->c;
    const uint32_t n = c->have[w->q];
    uint32_t row[CALIBRATE_DEEPEST] = {0};
    float score[CALIBRATE_DEEPEST + PM_WALK_ROOM];
    for (uint32_t j = 0; j < n; j++)
        row[j] = (uint32_t)c->nearest[(size_t)w->q * CALIBRATE_LIST + j];
    graph_scores(w->query, row, n, score);
    for (uint32_t j = 0; j < n; j++)
        w->want[j] = pm_walk_key(score[j], row[j]);
}

static uint32_t rerank_of(const calibration *c, uint32_t k, size_t i, uint32_t pool)
{
    if (c->margins == 1) return k;
    if (i + 1 == RERANKS) return pool;
    return k * rerank_tenths[i] / 10 + rerank_more[i];
}

static stop *stop_of(const calibration *c, uint32_t q, size_t of_ks, size_t i)
{
    return &c->stops[((size_t)q * GRAPH_KS + of_ks) * STOPS + i];
}

static trial *trial_of(const calibration *c, size_t pool, size_t slack, size_t m)
{
    return &c->trials[(pool * SLACKS + slack) * MARGINS + m];
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

/* The score that a walk's stop is by. */
static float kth_of(const pm_walk_pool *pool, uint32_t k)
{
    const uint32_t few = k < GRAPH_FEW ? GRAPH_FEW : k;
    return pool->size < few ? INFINITY : pm_walk_score(pool->key[few - 1]);
}

/* Beyond which a walk for this k, with this slack, does not go, or with this margin ranks nothing again. */
static float limit_for(const graph_step *step, uint32_t k, float slack)
{
    const float limit = kth_of(step->pool, k) * ((1 + slack) * (1 + slack));
    return limit > step->noise ? limit : step->noise;
}

/* How many of a pool are within a limit. */
static uint32_t within(const pm_walk_pool *pool, float limit)
{
    uint32_t from = 0, to = pool->next;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (pm_walk_score(pool->key[middle]) > limit)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

/* Where all is ranked again, or the rows are what was walked among, the margin says nothing. */
static uint32_t ranked_of(const calibration *c, const graph_step *step, uint32_t k, size_t m, uint32_t most)
{
    if (c->margins == 1) return k;
    const uint32_t near = margins[m] < INFINITY ? within(step->pool, limit_for(step, k, margins[m])) : most;
    return near < k ? k : least_of(near, most > k ? most : k);
}

/* A walk that stops here proposes the nodes it has walked from, the first `most` of the pool; others may have been kept
 * out of its pool. */
static void note(watch *w, const graph_step *step, size_t of_ks, size_t i, uint32_t most)
{
    const calibration *c = w->c;
    const uint32_t k = ks[of_ks], have = least_of(c->have[w->q], k);
    const bool told = c->told[w->q * GRAPH_KS + of_ks];
    uint32_t met[MARGINS + RERANKS], last[MARGINS + RERANKS];
    stop *s = stop_of(c, w->q, of_ks, i);
    *s = (stop){(uint32_t)step->scored, (uint32_t)step->by_rows, (uint32_t)step->expanded, INFINITY, {0}, {0}};
    if (i >= SLACKS && step->pool->size >= pools[i - SLACKS] && w->kth[of_ks] > 0)
        s->crowd = pm_walk_score(step->pool->key[pools[i - SLACKS] - 1]) / w->kth[of_ks];
    for (; w->ranked < have; w->ranked++)
        w->rank[w->ranked] = rank_of(step->pool, step->pool->next, w->want[w->ranked]);
    for (size_t m = 0; m < c->margins; m++)
        last[m] = s->ranked[m] = (uint16_t)ranked_of(c, step, k, m, most);
    for (size_t r = 0; r < c->reranks; r++)
        last[MARGINS + r] = rerank_of(c, k, r, most);
    for (size_t f = 0; f < MARGINS + RERANKS; f++) {
        met[f] = told ? k - have : 0;
        if (f < MARGINS ? f >= c->margins : f >= MARGINS + c->reranks) continue;
        for (uint32_t j = 0; j < have && told; j++)
            met[f] += w->rank[j] < least_of(most, last[f]);
        s->found[f] = (uint8_t)met[f];
    }
}

/* Nearly all rows are not. */
static bool is_left_out(const watch *w, uint32_t row)
{
    return (w->maybe[row % MAYBE / 64] >> row % 64 & 1) != 0 && calibrate_left_out(w->c, w->q, row);
}

static void note_left_out(watch *w)
{
    const calibration *c = w->c;
    const uint32_t *copy = c->copy + (size_t)w->q * CALIBRATE_LIST, own = c->row[w->q];
    if (c->within[w->q] > 0 && c->copies[w->q] == 0) memset(w->maybe, 0xff, sizeof w->maybe); /* they are not listed */
    w->maybe[own % MAYBE / 64] |= (uint64_t)1 << own % 64;
    for (uint32_t i = 0; i < c->copies[w->q]; i++)
        w->maybe[copy[i] % MAYBE / 64] |= (uint64_t)1 << copy[i] % 64;
}

static const uint32_t *links_of(const calibration *c, uint32_t row)
{
    return (const uint32_t *)(const void *)c->graph->section[GRAPH_LINKS] + (size_t)row * c->b->space.shape.degree;
}

/* Of what a row that is left out links to, the nearest to a node, if it is nearer than *best. */
static bool look_behind(const watch *w, uint32_t node, uint32_t left_out, uint32_t *best, int32_t *nearest)
{
    const calibration *c = w->c;
    const uint32_t degree = c->b->space.shape.degree, rows = (uint32_t)c->b->source->rows;
    const uint32_t *behind = links_of(c, left_out);
    bool any = false;
    for (uint32_t i = 0; i < degree && behind[i] < rows; i++) {
        if (behind[i] == node || is_left_out(w, behind[i])) continue;
        const int32_t here = calibrate_apart(c, node, behind[i]);
        any = true;
        if (here >= *nearest) continue;
        *nearest = here;
        *best = behind[i];
    }
    return any;
}

/*
 * A node links to the query's own row, or a copy of it, which is left out. Pruning put that in the place of others
 * behind it: without it the nearest of these, of what the row links to, would have a link, if no other link of the node
 * is in the way.
 */
static uint32_t instead_of(void *context, uint32_t node)
{
    const watch *w = context;
    const calibration *c = w->c;
    const uint32_t degree = c->b->space.shape.degree, rows = (uint32_t)c->b->source->rows;
    const uint32_t *link = links_of(c, node);
    uint32_t best = UINT32_MAX;
    int32_t nearest = INT32_MAX;
    for (uint32_t i = 0; i < degree && link[i] < rows; i++) {
        if (!is_left_out(w, link[i]) || look_behind(w, node, link[i], &best, &nearest)) continue;
        const uint32_t *copy = links_of(c, link[i]); /* all of them copies, as in a group of many */
        for (uint32_t j = 0; j < degree && j < BEHIND && copy[j] < rows; j++)
            look_behind(w, node, copy[j], &best, &nearest);
    }
    for (uint32_t i = 0; i < degree && link[i] < rows && best != UINT32_MAX; i++)
        if (!is_left_out(w, link[i]) && calibrate_apart(c, node, link[i]) <= nearest &&
            calibrate_apart(c, link[i], best) <= nearest)
            best = UINT32_MAX;
    return best;
}

static bool leaves_out(void *context, uint32_t node)
{
    return is_left_out(context, node);
}

/* Of stops that have come by now those that had come at the steps before, too, which are noted for the next step. */
static uint32_t came_before(uint32_t now, uint32_t before[GRAPH_UNDER_WAY])
{
    uint32_t all = now;
    for (size_t i = 0; i < GRAPH_UNDER_WAY; i++) {
        const uint32_t then = before[i];
        before[i] = i + 1 < GRAPH_UNDER_WAY ? before[i + 1] : now;
        all = least_of(all, then);
    }
    return all;
}

/* Notes what each walk has found that would end now; how far the farthest goes, or -1. */
static float see(void *context, const graph_step *step)
{
    watch *w = context;
    const calibration *c = w->c;
    const pm_walk_pool *pool = step->pool;
    const bool over = step->over || step->scored >= MOST_SCORED, none = over || pool->next == pool->size;
    if (step->turned && !w->turned) score_wanted(w);
    w->turned = step->turned;
    w->ranked = 0;
    const float next = none ? INFINITY : pm_walk_score(pool->key[pool->next]);
    float farthest = -1;
    for (size_t i = 0; i < w->ks; i++) {
        uint32_t slack = w->slack[i], at = w->pool[i];
        w->kth[i] = kth_of(pool, ks[i]);
        while (slack < c->last[i] && (none || next > limit_for(step, ks[i], slacks[slack])))
            slack++;
        while (at < POOLS && (none || pool->next >= pools[at]))
            at++;
        if (!over) slack = came_before(slack, w->slack_before[i]);
        if (!over) at = came_before(at, w->pool_before[i]);
        for (; w->slack[i] < slack; w->slack[i]++)
            note(w, step, i, w->slack[i], within(pool, limit_for(step, ks[i], slacks[w->slack[i]])));
        for (; w->pool[i] < at; w->pool[i]++)
            note(w, step, i, SLACKS + w->pool[i], least_of(pool->next, pools[w->pool[i]]));
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
        w->c->kth[w->q * GRAPH_KS + i] = w->kth[i];
    }
}

static void walk_piece(void *argument, uint32_t piece)
{
    calibration *c = argument;
    const uint32_t most = (uint32_t)pm_min_u64(pools[POOLS - 1], c->b->source->rows);
    const uint32_t first = c->first + piece * WALKS, end = least_of(first + WALKS, c->end);
    const pm_graph_effort effort = {.pool = most, .slack = slacks[SLACKS - 1], .rerank = most, .margin = INFINITY};
    uint8_t *memory = pm_malloc_aligned(GRAPH_LINE, pm_graph_query_size(c->graph, &effort));
    if (memory == NULL) {
        atomic_store(&c->failed, true);
        return;
    }
    const unsigned fp = pm_simd_fp_enter(); /* the thread is any */
    for (uint32_t q = first; q < end; q++) {
        const uint32_t of_ks = calibrate_ks_of(c, q);
        const uint8_t *code = c->code + (size_t)q * c->b->space.shape.whole;
        const float *units = c->units == NULL ? NULL : c->units + (size_t)q * c->b->space.shape.padded;
        pm_graph_query *query =
            graph_query_of_row(memory, c->graph, c->b->simd, c->row[q], code, units, ks[of_ks - 1], &effort);
        watch w = {.c = c, .q = q, .ks = of_ks, .query = query};
        score_wanted(&w);
        note_left_out(&w);
        graph_walk_watched(query, &(graph_watch){&w, see, c->within[q] > 0 ? leaves_out : NULL, instead_of});
        end_watch(&w);
        c->turned[q] = w.turned;
    }
    pm_simd_fp_leave(fp);
    pm_free(memory);
}

/* ---- judging ---- */

typedef struct tally {
    uint64_t queries, found[MARGINS + RERANKS], squares[MARGINS + RERANKS];
} tally;

/* Sums over the queries for a k that have walked, of walks with a pool and a slack. */
typedef struct sums {
    tally rows, fresh, apart; /* fresh: rows without their copies; apart: those of them whose walks do not turn */
    uint64_t crammed;         /* walks that their pool ends */
    uint64_t walks, scored, by_rows, expanded, ranked[MARGINS];
} sums;

static void count(tally *t, const stop *s)
{
    t->queries++;
    for (size_t f = 0; f < MARGINS + RERANKS; f++) {
        t->found[f] += s->found[f];
        t->squares[f] += (uint32_t)s->found[f] * s->found[f];
    }
}

static void add_up(const calibration *c, size_t of_ks, size_t pool, size_t slack, sums *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t q = 0; q < c->end; q++) {
        if (calibrate_ks_of(c, q) <= of_ks) continue;
        const stop *s = stop_of(c, q, of_ks, slack), *full = stop_of(c, q, of_ks, SLACKS + pool);
        out->crammed += full->expanded < s->expanded;
        if (full->expanded < s->expanded) s = full;
        out->scored += s->scored;
        out->by_rows += s->by_rows;
        out->expanded += s->expanded;
        out->walks++;
        for (size_t m = 0; m < MARGINS; m++)
            out->ranked[m] += s->ranked[m];
        if (c->within[q] == 0) count(&out->rows, s);
        if (c->copied[q]) continue;
        count(&out->fresh, s);
        if (!c->turned[q]) count(&out->apart, s);
    }
}

static double lines_of(uint64_t bytes)
{
    return (double)bytes / GRAPH_LINE;
}

/* What a walk reads, in nanoseconds of a machine that is nobody's. */
static double walking_of(const calibration *c, const sums *s)
{
    const graph_shape *shape = &c->b->space.shape;
    const double code = 3 + 2 * lines_of(shape->hot_bytes), row = 3 + 2 * lines_of(shape->whole);
    const double codes = (double)(s->scored - s->by_rows) * code + (double)s->by_rows * row;
    return (codes + (double)s->expanded * 120) / (double)s->walks;
}

/* And a row that is ranked again: its warm code was asked for when it was walked from. */
static double ranking_of(const calibration *c)
{
    const graph_shape *shape = &c->b->space.shape;
    return 10 + (shape->warm_bytes > 0 ? 3 * lines_of(shape->warm_bytes) : 12 * lines_of(shape->dim * sizeof(float)));
}

/* A query: of what is met some goes into the pool, and moves what is behind it; beyond ROOMY there is more to remember.
 */
static double cost_of(const calibration *c, const sums *s, uint32_t pool, size_t m)
{
    const double n = (double)s->walks, ranked = (double)s->ranked[m] / n, met = (double)s->scored / n;
    const double moved = 0.012 * met * least_of(pool, 2 * ROOMY), more = pool > ROOMY ? pool - ROOMY : 0;
    return walking_of(c, s) + ranked * ranking_of(c) + moved + more * 5;
}

/* The same if all has to be more, as others than those that count are met: the pool is full, and all is ranked. */
static double narrow_cost(const calibration *c, const sums *s, uint32_t pool, uint32_t rerank)
{
    return walking_of(c, s) + rerank * ranking_of(c) + pool * 10.0;
}

/* Mean recall, and the lower end of its interval. */
static double recall_of_tally(const tally *s, size_t f, uint32_t k, double *least)
{
    const double n = (double)s->queries, mean = (double)s->found[f] / n / k;
    const double variance = (double)s->squares[f] / n / k / k - mean * mean;
    /* all found says less than an interval of no width: count half a query that found nothing */
    const double width = ONE_SIDED * sqrt((variance > 0 ? variance : 0) / n) + 0.5 / n;
    *least = mean > width ? mean - width : 0;
    return mean;
}

/* The least of those that count: of rows as they are, of rows without their copies, and of the latter those whose walks
 * do not turn, if they are most. Rows that repeat are found with little effort, and are not to make up for what others,
 * which may be all that is ever asked for, do not find. */
static double recall_of(const sums *s, size_t f, uint32_t k, double *least)
{
    const tally *of[] = {&s->rows, &s->fresh, &s->apart};
    const size_t n = s->apart.queries > s->fresh.queries / 2 ? 3 : 2;
    double mean = 1;
    *least = 1;
    for (size_t i = 0; i < n; i++) {
        double low;
        mean = fmin(mean, recall_of_tally(of[i], f, k, &low));
        *least = fmin(*least, low);
    }
    return mean;
}

/* Looks what walks with a pool and a slack find. */
static void judge(calibration *c, size_t of_ks, size_t pool, size_t slack, graph_row *row)
{
    sums s;
    add_up(c, of_ks, pool, slack, &s);
    const float crammed = fmaxf((float)s.crammed / (float)s.walks, FEW_CRAMMED);
    for (size_t m = 0; m < c->margins; m++) {
        double least;
        const double mean = recall_of(&s, m, ks[of_ks], &least), cost = cost_of(c, &s, pools[pool], m);
        *trial_of(c, pool, slack, m) = (trial){(float)mean, (float)least, (float)cost, crammed};
        if (mean > (double)row->best) row->best = (float)mean;
    }
    for (size_t r = 0; r < c->reranks; r++) {
        const uint32_t rerank = rerank_of(c, ks[of_ks], r, pools[pool]);
        if (rerank > pools[pool]) continue;
        const float each = (float)narrow_cost(c, &s, pools[pool], rerank);
        double least;
        const double mean = recall_of(&s, MARGINS + r, ks[of_ks], &least);
        for (size_t t = 0; t < GRAPH_TARGETS; t++) {
            graph_entry *e = &row->entry[t];
            if ((float)least < targets[t] || (e->narrow_pool > 0 && each >= c->narrow[t])) continue;
            c->narrow[t] = each;
            e->narrow_slack = slacks[slack];
            e->narrow_recall = (float)mean;
            e->narrow_pool = pools[pool];
            e->narrow_rerank = rerank;
        }
    }
}

/* The cheapest effort that meets a target costs so much. INFINITY: none does. */
static float cheapest(const calibration *c, float target)
{
    float cost = INFINITY;
    for (size_t i = 0; i < TRIALS; i++)
        if (c->trials[i].least >= target && c->trials[i].cost < cost) cost = c->trials[i].cost;
    return cost;
}

static bool of_few_dims(const calibration *c)
{
    return c->dims > 0 && c->dims < FEW_DIMS && !PM_MUTANT(FEW_DIMS_AS_OTHERS);
}

/* Which of two efforts that meet a target, and cost about the same, is better for queries unlike the rows. Beside a
 * surface of few dimensions rows are about as far as each other, which codes do not tell apart. */
static bool is_sturdier(const calibration *c, const trial *a, const trial *b)
{
    const size_t slack = (size_t)(a - c->trials) / MARGINS % SLACKS, other = (size_t)(b - c->trials) / MARGINS % SLACKS;
    const size_t margin = (size_t)(a - c->trials) % MARGINS, other_margin = (size_t)(b - c->trials) % MARGINS;
    if (of_few_dims(c) && margin != other_margin) return margin > other_margin;
    if (a->crammed < b->crammed || b->crammed < a->crammed) return a->crammed < b->crammed;
    if (slack != other) return slack > other;
    return margin != other_margin ? margin > other_margin : a->cost < b->cost;
}

/* Of those that cost hardly more the one whose pool ends fewest walks. */
static void choose(const calibration *c, size_t of_ks, graph_entry *e)
{
    const float most = cheapest(c, e->target) * (of_few_dims(c) ? LITTLE : HARDLY);
    const trial *best = NULL;
    for (const trial *of = c->trials; of < c->trials + TRIALS; of++) {
        if (!(of->least >= e->target) || !(of->cost <= most)) continue;
        if (best != NULL && !is_sturdier(c, of, best)) continue;
        best = of;
    }
    if (best == NULL) return;
    const size_t at = (size_t)(best - c->trials);
    e->pool = pools[at / MARGINS / SLACKS];
    e->slack = slacks[at / MARGINS % SLACKS];
    e->margin = c->margins == 1 ? INFINITY : margins[at % MARGINS];
    e->rerank = c->margins == 1 ? ks[of_ks] : e->pool;
    e->recall = best->mean;
    e->cost = best->cost;
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
        if (calibrate_ks_of(c, q) > of_ks && c->have[q] >= place)
            distance[n++] = (float)(uint32_t)(c->nearest[(size_t)q * CALIBRATE_LIST + place - 1] >> 32);
    qsort(distance, n, sizeof *distance, by_value);
    return n == 0 ? 0 : distance[n - 1 - n / FEW_FAR];
}

/* Where the next distance in order is so many times the one before, with some of n on either side. */
static void widest_gap(const float *kth, uint32_t n, graph_row *row)
{
    const uint32_t least = n / BESIDE + 1;
    float widest = GAP;
    for (uint32_t i = least; i + least < n; i++) {
        if (!(kth[i] > kth[i - 1] * widest) || kth[i - 1] == 0) continue;
        widest = kth[i] / kth[i - 1];
        row->gap_from = kth[i - 1];
        row->gap_to = kth[i];
    }
}

/* How far queries were from the nearest at the end: beyond what one in OUTLYING of them was, and where none was. */
static void fill_distances(const calibration *c, size_t of_ks, graph_row *row)
{
    float *kth = (float *)(void *)c->distance; /* distances have been looked at */
    uint32_t n = 0;
    for (uint32_t q = 0; q < c->queries; q++)
        if (calibrate_ks_of(c, q) > of_ks && c->kth[q * GRAPH_KS + of_ks] < INFINITY)
            kth[n++] = c->kth[q * GRAPH_KS + of_ks];
    qsort(kth, n, sizeof *kth, by_value);
    row->outlying = n < OUTLYING ? 0 : kth[n - 1 - n / OUTLYING];
    widest_gap(kth, n, row);
}

/* An outlying query whose walk was ended by its pool, and the codes that it would look at when it walks again. */
typedef struct crowded {
    float crowd;
    uint32_t again;
} crowded;

static int by_crowd(const void *a, const void *b)
{
    const crowded *x = a, *y = b;
    if (x->crowd != y->crowd) return x->crowd < y->crowd ? -1 : 1;
    return (x->again > y->again) - (x->again < y->again);
}

/*
 * Who is outlying, and whose walk was ended by its pool, though what was left at its end was hardly farther than the
 * k-th, may well have missed some: queries unlike the rows end like that. It is in doubt as far as second walks of rows
 * that do take one in AGAIN codes more.
 */
static float crowd_of(const calibration *c, size_t of_ks, const graph_row *row, const graph_entry *e)
{
    crowded *of = (crowded *)(void *)c->distance; /* distances have been looked at */
    uint32_t n = 0;
    uint64_t scored = 0, again = 0;
    size_t pool = 0, slack = 0;
    while (pools[pool] != e->pool) /* it was chosen among these */
        pool++;
    while (slacks[slack] != e->slack)
        slack++;
    for (uint32_t q = 0; q < c->queries; q++) {
        if (calibrate_ks_of(c, q) <= of_ks) continue;
        const stop *full = stop_of(c, q, of_ks, SLACKS + pool), *s = stop_of(c, q, of_ks, slack);
        const bool ended = full->expanded < s->expanded;
        scored += ended ? full->scored : s->scored;
        if (ended && c->kth[q * GRAPH_KS + of_ks] > row->outlying && full->crowd < CROWDED)
            of[n++] = (crowded){full->crowd, stop_of(c, q, of_ks, c->last[of_ks] - 1u)->scored};
    }
    qsort(of, n, sizeof *of, by_crowd);
    for (uint32_t i = 0; i < n; i++) {
        again += of[i].again;
        if (again * AGAIN > scored) return of[i].crowd;
    }
    return CROWDED;
}

static void fill_row(calibration *c, size_t of_ks, graph_row *row)
{
    *row = (graph_row){.k = ks[of_ks],
                       .queries =
                           of_ks < CALIBRATE_LOWER ? c->drawn : (c->drawn + CALIBRATE_FOR_ALL - 1) / CALIBRATE_FOR_ALL};
    row->far = far_of(c, of_ks);
    for (size_t t = 0; t < GRAPH_TARGETS; t++)
        row->entry[t].target = targets[t];
    memset(c->trials, 0, TRIALS * sizeof *c->trials);
    for (size_t pool = 0; pool < POOLS && pools[pool] <= c->b->source->rows; pool++)
        for (size_t slack = 0; slack < c->last[of_ks] && pools[pool] >= ks[of_ks]; slack++)
            judge(c, of_ks, pool, slack, row);
    for (size_t t = 0; t < GRAPH_TARGETS; t++)
        choose(c, of_ks, &row->entry[t]);
    fill_distances(c, of_ks, row);
    for (size_t t = 0; t < GRAPH_TARGETS; t++)
        if (row->entry[t].pool > 0) row->entry[t].crowd = crowd_of(c, of_ks, row, &row->entry[t]);
}

/* ---- how far to walk ---- */

static pomai_status walk_some(calibration *c, uint32_t first, uint32_t end)
{
    enum { AT_ONCE = 4 * WALKS };
    for (; first < end; first = c->end) {
        if (!builder_go_on(c->b)) return POMAI_EDEADLINE;
        c->first = first;
        c->end = least_of(first + AT_ONCE, end);
        pm_index_run(c->b->work, walk_piece, c, (c->end - first + WALKS - 1) / WALKS);
        if (atomic_load(&c->failed)) return POMAI_ENOMEM;
    }
    return POMAI_OK;
}

/* As the first queries tell: little farther than gains something, and no farther than there is time for. */
static void choose_last(calibration *c, double budget)
{
    static const double weight[GRAPH_KS] = {1, 0.85, 0.6, 0.5};
    double scored[GRAPH_KS][SLACKS];
    for (size_t i = 0; i < GRAPH_KS; i++) {
        const uint32_t most = c->last[i];
        bool enough = false;
        for (uint32_t slack = 0; slack < most; slack++) {
            sums s;
            double unused;
            add_up(c, i, POOLS - 1, slack, &s);
            scored[i][slack] = (double)s.scored / (double)s.walks;
            if (enough || recall_of(&s, c->margins - 1, ks[i], &unused) <= ENOUGH) continue;
            enough = true;
            c->last[i] = least_of(most, slack + 1 + SPARE_SLACKS);
            if (of_few_dims(c)) c->last[i] = most;
        }
    }
    if (c->last[LOWEST + 1] < c->last[LOWEST]) c->last[LOWEST + 1] = c->last[LOWEST]; /* for this there are few */
    for (;;) {
        size_t most = 0;
        double here[GRAPH_KS];
        for (size_t i = 0; i < GRAPH_KS; i++) {
            here[i] = scored[i][c->last[i] - 1];
            if (here[i] * weight[i] > here[most] * weight[most]) most = i;
        }
        const double nearly = here[LOWEST], all = fmax(nearly, fmax(here[1], fmax(here[2], here[3])));
        if ((nearly * (CALIBRATE_FOR_ALL - 1) + all) / CALIBRATE_FOR_ALL <= budget || c->last[most] == 1) return;
        c->last[most]--;
    }
}

/* Walks with ever more slack, of a few queries, until more gains nothing or there is no time for more. */
static pomai_status try_first(calibration *c, double budget)
{
    const uint32_t few = least_of(FIRST_WALKS, c->queries);
    bool enough = false;
    for (uint32_t last = of_few_dims(c) ? FEW_DIMS_SLACKS : FIRST_SLACKS; !enough; last += MORE_SLACKS) {
        for (size_t i = 0; i < GRAPH_KS; i++)
            c->last[i] = last;
        const pomai_status status = walk_some(c, 0, few);
        if (status != POMAI_OK) return status;
        enough = last == SLACKS;
        sums s;
        double unused;
        add_up(c, LOWEST, POOLS - 1, last - 1, &s);
        enough = enough || (double)s.scored > budget * (double)s.walks;
        add_up(c, LOWEST, POOLS - 1, last - 1 - SPARE_SLACKS, &s);
        enough = enough || recall_of(&s, c->margins - 1, ks[LOWEST], &unused) > ENOUGH;
    }
    choose_last(c, budget);
    return walk_some(c, few, c->queries);
}

static pomai_status walk_all(calibration *c, graph_table *table)
{
    /* entries are in a row, and take next to no time */
    const double budget = (double)pm_max_u64(c->b->source->rows * SCORED, LEAST_SCORED) / c->drawn +
                          graph_entry_count(&c->b->space.shape, c->b->source->rows);
    pomai_status status = try_first(c, budget);
    for (size_t i = 0; status == POMAI_OK && i < GRAPH_KS; i++)
        fill_row(c, i, &table->row[i]);
    return status;
}

static pomai_status calibrate(calibration *c, graph_table *table)
{
    const pomai_status status = calibrate_truth(c);
    if (status != POMAI_OK) return status;
    c->turned = pm_calloc(c->queries, sizeof *c->turned);
    c->kth = pm_calloc((size_t)c->queries * GRAPH_KS, sizeof *c->kth);
    c->stops = pm_malloc((size_t)c->queries * GRAPH_KS * STOPS * sizeof *c->stops);
    c->trials = pm_malloc(TRIALS * sizeof *c->trials);
    if (c->turned == NULL || c->kth == NULL || c->stops == NULL || c->trials == NULL) return POMAI_ENOMEM;
    return walk_all(c, table);
}

pomai_status pm_graph_calibrate(pm_graph_builder *b, const pm_graph *graph, const pm_index_sink *sink)
{
    const unsigned fp = pm_simd_fp_enter();
    graph_table table;
    calibration c = {.b = b,
                     .graph = graph,
                     .margins = b->space.shape.exact ? 1 : MARGINS,
                     .reranks = b->space.shape.exact ? 1 : RERANKS};
    c.drawn = (uint32_t)pm_min_u64(LEAST_QUERIES + graph_fanout(&b->space.shape) * QUERIES, b->source->rows / 8);
    memset(&table, 0, sizeof table);
    table.revision = GRAPH_REVISION;
    pomai_status status = calibrate(&c, &table);
    calibrate_end(&c);
    pm_free(c.turned);
    pm_free(c.kth);
    pm_free(c.stops);
    pm_free(c.trials);
    pm_simd_fp_leave(fp);
    if (status == POMAI_OK && !sink->append(sink->context, GRAPH_TABLE, &table, sizeof table)) status = POMAI_EDEADLINE;
    return status;
}
