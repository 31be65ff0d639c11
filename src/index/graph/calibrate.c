/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which effort reaches which recall.
 *
 * Rows drawn from all over are the queries, each left out of its own answer. Their true neighbours are sought among all
 * rows, by the codes that links are made of, which are right to a fraction of a percent; where the last of them is not
 * as far as its code says (rows differ by less than codes tell, or were cut off), all count as missed. Then they walk
 * with pools of several sizes; of one walk all numbers of rows to rank again are judged. An effort meets a target if
 * the lower end of a 95% interval of its recall does. Of those that do, the cheapest by a count of what was read is
 * kept: not by the clock, so that the same rows give the same table.
 */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "graph_build.h"
#include "simd/graph.h"

enum {
    QUERIES = 600, /* of rows; fewer if there are few */
    DEEPEST = 100, /* neighbours */
    BLOCK = 992,   /* rows compared with all queries at once: a multiple of PM_GRAPH_PANEL */
    RERANKS = 9,
    SCORED = 96,
    LEAST_SCORED = 1 << 20,
    FIRST_POOL = 12,
    TRIES = 4,
    ROUGHLY = 48, /* queries */
    LEAST_QUERIES = 150,
    SPREAD = 7919, /* a prime above the number of queries */
};
#define TOLD      0.25               /* of a squared distance: as much as codes may be wrong by */
#define ONE_SIDED 1.6448536269514722 /* 95% of a normal distribution are below */

static const uint32_t ks[GRAPH_KS] = {1, 10, 100};
static const uint32_t shares[GRAPH_KS] = {15, 70, 15}; /* of the budget, percent */
static const float targets[GRAPH_TARGETS] = {0.8f, 0.85f, 0.9f, 0.93f, 0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 0.999f};
/* The targets for which a pool is sought; the others take the next one that meets them. Some are for k of 10 alone. The
 * margin is of what may be missed: about the width of the interval. */
static const struct {
    float target, margin;
    bool always;
} sought[] = {{0.9f, 0.15f, true}, {0.95f, 0.2f, true}, {0.98f, 0.3f, false}, {0.99f, 0.4f, true}};
enum { SOUGHT = sizeof sought / sizeof sought[0] };
#define ROUGH_ENOUGH 0.15 /* missed */

/* Rows to rank again, in tenths of k, and some more; at last the whole pool. */
static const uint32_t rerank_tenths[RERANKS] = {10, 12, 15, 20, 30, 40, 60, 100, 10 * PM_GRAPH_MOST_POOL};

static uint32_t rerank_of(uint32_t k, size_t i, uint32_t pool)
{
    const uint32_t r = k * rerank_tenths[i] / 10 + 2;
    return r < pool ? r : pool;
}

typedef struct calibration {
    pm_graph_builder *b;
    const pm_graph *graph;
    uint32_t queries, walking; /* walking: those of a rung */
    uint32_t *row;             /* of each query */
    uint8_t *code;             /* of each query; IP: other than that of its row */
    bool *told;                /* queries x GRAPH_KS: whether codes tell its neighbours */
    float *units;              /* room for two rows */
    uint64_t *nearest;         /* queries x DEEPEST: distance << 32 | row */
    uint32_t *have;            /* of them */
    uint32_t *worst;           /* distance of the last, once there are all */
    /* a block of rows, and distances of PM_GRAPH_TILE queries to it for each group of them */
    uint8_t *panels;
    uint32_t *distance;
    uint32_t in_block;
    /* a walk of all queries */
    uint32_t k;
    size_t of_ks; /* of k */
    pm_graph_effort effort;
    uint16_t *found; /* queries x RERANKS */
    uint32_t *scored, *expanded;
    _Atomic bool failed;
} calibration;

/* ---- true neighbours ---- */

static void keep(calibration *c, uint32_t q, uint64_t key)
{
    uint64_t *list = c->nearest + (size_t)q * DEEPEST;
    uint32_t at = c->have[q];
    if (at == DEEPEST && key >= list[at - 1]) return;
    if (at < DEEPEST) c->have[q] = ++at;
    for (at--; at > 0 && list[at - 1] > key; at--)
        list[at] = list[at - 1];
    list[at] = key;
    if (c->have[q] == DEEPEST) c->worst[q] = (uint32_t)(list[DEEPEST - 1] >> 32);
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
        for (uint32_t j = 0; j < c->in_block; j++) { /* nearly all are too far */
            const uint32_t at = distance[(size_t)i * BLOCK + j], q = first + i;
            if (at > c->worst[q]) continue;
            const uint64_t row = block_row(l->block, l->blocks, j);
            if (row != c->row[q]) keep(c, q, (uint64_t)at << 32 | row);
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

/* In units, as a row or as a query; b->rows is overwritten. */
static bool read_units(const calibration *c, uint64_t row, bool as_query, float *out)
{
    const pm_graph_builder *b = c->b;
    if (!b->source->read(b->source->context, row, 1, b->rows)) return false;
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
        c->worst[q] = UINT32_MAX;
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
        if (!read_units(c, c->row[q], true, c->units)) return POMAI_EDEADLINE;
        for (size_t i = 0; i < GRAPH_KS; i++) {
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

/* How many of the k nearest are among the first rows that would be ranked again. */
static void count_found(const calibration *c, uint32_t q, const uint32_t *rows, size_t n, uint16_t *found)
{
    const uint64_t *nearest = c->nearest + (size_t)q * DEEPEST;
    const uint32_t have = c->have[q] < c->k ? c->have[q] : c->k, wanted = c->told[q * GRAPH_KS + c->of_ks] ? have : 0;
    uint32_t met = 0;
    size_t i = 0;
    for (size_t r = 0; r < RERANKS; r++) {
        for (; i < n && i < rerank_of(c->k, r, c->effort.pool); i++)
            for (uint32_t j = 0; j < wanted; j++)
                met += (uint32_t)nearest[j] == rows[i];
        found[r] = (uint16_t)met;
    }
}

enum { WALKS = 16 }; /* of a piece */

static void walk_piece(void *argument, uint32_t piece)
{
    calibration *c = argument;
    const pm_index_source *source = c->b->source;
    const size_t size = pm_graph_query_size(c->graph, &c->effort);
    uint8_t *memory = pm_malloc_aligned(GRAPH_LINE, size + source->dim * sizeof(float));
    if (memory == NULL) {
        atomic_store(&c->failed, true);
        return;
    }
    const unsigned fp = pm_simd_fp_enter(); /* the thread is any */
    for (uint32_t q = piece * WALKS; q < c->walking && q < (piece + 1) * WALKS; q++) {
        const uint32_t *rows;
        uint64_t scored, expanded;
        const pm_graph_asks asks = {0};
        const uint8_t *code = c->code + (size_t)q * c->b->space.shape.whole;
        pm_graph_query *query = graph_query_of_row(memory, c->graph, c->b->simd, c->row[q], code, c->k, &c->effort);
        const size_t n = graph_walk_unranked(query, &asks, &rows);
        pm_graph_walked(query, &scored, &expanded);
        c->scored[q] = (uint32_t)scored;
        c->expanded[q] = (uint32_t)expanded;
        count_found(c, q, rows, n, c->found + (size_t)q * RERANKS);
    }
    pm_simd_fp_leave(fp);
    pm_free(memory);
}

static double mean_of(const calibration *c, const uint32_t *counts)
{
    double sum = 0;
    for (uint32_t q = 0; q < c->walking; q++)
        sum += counts[q];
    return sum / c->walking;
}

/* What a query reads, in nanoseconds of a machine that is nobody's. */
static double cost_of(const calibration *c, uint32_t rerank)
{
    const graph_shape *shape = &c->b->space.shape;
    const double line = shape->warm_bytes > 0 ? 3.0 * shape->warm_bytes / GRAPH_LINE : 0.2 * shape->dim;
    const double codes = 8 + 5.0 * shape->hot_bytes / GRAPH_LINE;
    return mean_of(c, c->scored) * codes + mean_of(c, c->expanded) * 40 + rerank * (10 + line);
}

/* Mean recall of a column, and the lower end of its interval. */
static double recall_of(const calibration *c, size_t column, double *least)
{
    double sum = 0, squares = 0;
    for (uint32_t q = 0; q < c->walking; q++) {
        const uint32_t wanted = c->have[q] < c->k ? c->have[q] : c->k;
        const double r = wanted == 0 ? 1 : (double)c->found[(size_t)q * RERANKS + column] / wanted;
        sum += r;
        squares += r * r;
    }
    const double n = c->walking, mean = sum / n, variance = squares / n - mean * mean;
    /* all found says less than an interval of no width: count half a query that found nothing */
    const double width = ONE_SIDED * sqrt((variance > 0 ? variance : 0) / n) + 0.5 / n;
    *least = mean > width ? mean - width : 0;
    return mean;
}

/* Looks what this walk of all queries means for the targets. */
static void judge(const calibration *c, graph_row *row, double cost[GRAPH_TARGETS])
{
    for (size_t r = 0; r < RERANKS; r++) {
        double least;
        const uint32_t rerank = rerank_of(c->k, r, c->effort.pool);
        const double mean = recall_of(c, r, &least), each = cost_of(c, rerank);
        if (mean > (double)row->best) row->best = (float)mean;
        for (size_t t = 0; t < GRAPH_TARGETS; t++) {
            graph_entry *e = &row->entry[t];
            if (least < (double)targets[t] || (e->pool > 0 && each >= cost[t])) continue;
            cost[t] = each;
            e->pool = c->effort.pool;
            e->slack = c->effort.slack;
            e->rerank = rerank;
            e->recall = (float)mean;
            e->least = (float)least;
        }
    }
}

/* How far beyond the k-th a walk goes on: larger pools are for recalls that the stop must not stand in the way of. */
static const struct {
    uint32_t most; /* pool */
    float slack;
} stops[] = {{24, 0.12f}, {256, 0.15f}, {512, 0.2f}, {1024, 0.3f}, {PM_GRAPH_MOST_POOL, 0.4f}};

static size_t stop_of(uint32_t pool)
{
    size_t i = 0;
    while (pool > stops[i].most)
        i++;
    return i;
}

/* Walks with a pool, with as many queries as `work` scored codes allow, of which one takes `each`; judges. work 0: with
 * few, and does not judge: of many tries with few queries some would meet a target by luck. */
static pomai_status try_pool(calibration *c, uint32_t pool, double work, double *each, graph_row *row, double *cost)
{
    const double queries = fmin(c->k == 10 ? QUERIES : QUERIES / 2, *each > 0 ? work / *each : QUERIES);
    if (!builder_go_on(c->b)) return POMAI_EDEADLINE;
    c->walking = (uint32_t)fmin(c->queries, fmax(queries, work > 0 ? LEAST_QUERIES : ROUGHLY));
    c->effort = (pm_graph_effort){.pool = pool, .slack = stops[stop_of(pool)].slack, .rerank = pool};
    builder_run(c->b->work, walk_piece, c, (c->walking + WALKS - 1) / WALKS);
    if (atomic_load(&c->failed)) return POMAI_ENOMEM;
    if (work > 0) judge(c, row, cost);
    *each = mean_of(c, c->scored);
    return POMAI_OK;
}

/* The pool that seems to miss `wanted` where one of `pool` misses `missed`: about in inverse proportion. Where more
 * room gained nothing, one that stops later. */
static uint32_t guess_pool(const calibration *c, uint32_t pool, double missed, double wanted, bool stalled)
{
    /* to the power of 7/8, by roots, which have the same bits anywhere */
    const double more = missed / wanted, factor = fmin(fmax(more / sqrt(sqrt(sqrt(more))), 1.1), 2.5);
    const uint64_t most = pm_min_u64(PM_GRAPH_MOST_POOL, c->b->source->rows);
    const uint64_t guess = (uint64_t)(pool * factor / 4 + 1) * 4, later = !stalled ? 0 : stops[stop_of(pool)].most + 4;
    return (uint32_t)pm_min_u64(pm_max_u64(guess, later), most);
}

/* Pools that double, with few queries, come near the first target; then pools are tried with many, each guessed from
 * what the last one missed. */
static pomai_status climb(calibration *c, size_t of_ks, double budget, graph_row *row)
{
    const uint32_t k = ks[of_ks];
    double cost[GRAPH_TARGETS] = {0}, each = 1, missed = 1, unused;
    uint32_t pool = FIRST_POOL;
    pomai_status status = POMAI_OK;
    *row = (graph_row){.k = k, .queries = c->queries};
    for (size_t t = 0; t < GRAPH_TARGETS; t++)
        row->entry[t].target = targets[t];
    c->k = k;
    c->of_ks = of_ks;
    while (pool < k + 2)
        pool *= 2;
    if (pool > c->b->source->rows) return POMAI_OK; /* as good as none */
    for (; missed > ROUGH_ENOUGH && status == POMAI_OK; pool *= missed > ROUGH_ENOUGH ? 2 : 1) {
        if (pool > pm_min_u64(PM_GRAPH_MOST_POOL, c->b->source->rows)) return POMAI_OK; /* it leads nowhere */
        status = try_pool(c, pool, 0, &each, row, cost);
        missed = 1 - recall_of(c, RERANKS - 1, &unused);
    }
    for (size_t i = 0; i < SOUGHT && status == POMAI_OK; i++) {
        const graph_entry *e = row->entry;
        const double wanted = (1 - (double)sought[i].target) * (1 - (double)sought[i].margin);
        while (e->target < sought[i].target)
            e++;
        if (k != 10 && !sought[i].always) continue;
        bool stalled = false, between = false;
        uint32_t last = pool;
        for (int tries = 0; tries < TRIES && (e->pool == 0 || between) && status == POMAI_OK; tries++) {
            const double before = missed;
            const uint32_t first = last;
            last = pool;
            if (between) /* it was met by a leap: perhaps less than that does */
                pool = (uint32_t)sqrt((double)first * pool);
            else if (missed > wanted || tries > 0)
                pool = guess_pool(c, pool, missed, wanted, stalled);
            status =
                try_pool(c, pool, fmax(budget / (double)(SOUGHT - i), 1), &each, row, cost); /* 1: with the least */
            missed = 1 - recall_of(c, RERANKS - 1, &unused);
            budget -= each * c->walking;
            stalled = tries > 0 && pool > last && missed > 0.9 * before;
            between = !between && e->pool == pool && pool > last + last / 2;
        }
    }
    return status;
}

static pomai_status calibrate(calibration *c, graph_table *table)
{
    const uint64_t rows = c->b->source->rows;
    const pm_simd_graph *kernels = c->b->simd->graph;
    const uint32_t groups = (c->queries + PM_GRAPH_TILE - 1) / PM_GRAPH_TILE;
    c->row = pm_malloc(c->queries * sizeof *c->row);
    c->code = pm_malloc_aligned(GRAPH_LINE, c->queries * (size_t)c->b->space.shape.whole);
    c->told = pm_calloc(c->queries, GRAPH_KS * sizeof *c->told);
    c->units = pm_malloc_aligned(GRAPH_LINE, 2 * c->b->space.shape.padded * sizeof *c->units);
    c->nearest = pm_malloc((size_t)c->queries * DEEPEST * sizeof *c->nearest);
    c->have = pm_calloc(c->queries, sizeof *c->have);
    c->worst = pm_malloc(c->queries * sizeof *c->worst);
    c->panels =
        pm_malloc_aligned(GRAPH_LINE, pm_graph_panels(BLOCK) * pm_graph_panel_bytes(kernels, c->b->space.shape.whole));
    c->distance = pm_malloc_aligned(GRAPH_LINE, (size_t)groups * PM_GRAPH_TILE * BLOCK * sizeof *c->distance);
    c->found = pm_malloc((size_t)c->queries * RERANKS * sizeof *c->found);
    c->scored = pm_malloc(c->queries * sizeof *c->scored);
    c->expanded = pm_malloc(c->queries * sizeof *c->expanded);
    if (c->row == NULL || c->code == NULL || c->told == NULL || c->units == NULL || c->nearest == NULL ||
        c->have == NULL || c->worst == NULL || c->panels == NULL || c->distance == NULL || c->found == NULL ||
        c->scored == NULL || c->expanded == NULL)
        return POMAI_ENOMEM;
    const double budget = (double)pm_max_u64(rows * SCORED, LEAST_SCORED);
    pomai_status status = choose_queries(c);
    if (status == POMAI_OK) status = find_neighbours(c);
    if (status == POMAI_OK) status = see_what_codes_tell(c);
    for (size_t i = 0; status == POMAI_OK && i < GRAPH_KS; i++)
        status = climb(c, i, budget * shares[i] / 100, &table->row[i]);
    return status;
}

pomai_status pm_graph_calibrate(pm_graph_builder *b, const pm_graph *graph, const pm_index_sink *sink)
{
    const unsigned fp = pm_simd_fp_enter();
    graph_table table;
    calibration c = {.b = b, .graph = graph, .queries = (uint32_t)pm_min_u64(QUERIES, b->source->rows / 8)};
    memset(&table, 0, sizeof table);
    table.revision = GRAPH_REVISION;
    pomai_status status = calibrate(&c, &table);
    pm_free(c.row);
    pm_free(c.code);
    pm_free(c.told);
    pm_free(c.units);
    pm_free(c.nearest);
    pm_free(c.have);
    pm_free(c.worst);
    pm_free(c.panels);
    pm_free(c.distance);
    pm_free(c.found);
    pm_free(c.scored);
    pm_free(c.expanded);
    pm_simd_fp_leave(fp);
    if (status == POMAI_OK && !sink->append(sink->context, GRAPH_TABLE, &table, sizeof table)) status = POMAI_EDEADLINE;
    return status;
}
