/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks through a graph: recall and time of one query on one thread, everything in memory.
 *
 *   bench_graph_int --data FILE --queries FILE --truth FILE --dim N [--metric l2|ip|cosine] [--k N] [--simd LEVEL]
 *                   [--variant N] [--sweep] [--effort POOL,SLACK,MARGIN] [--threads N]
 *
 * FILEs are raw float32, row after row; the truth is 100 u32 a query. Without --sweep the efforts are those of the
 * graph's own table. Times are of the processor.
 */
#include "index_bench.h"

#include "index/flat/flat.h"
#include "index/graph/graph_int.h"

#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

extern uint32_t pm_graph_forced_variant;

struct in {
    const char *data, *queries, *truth_file, *simd, *effort;
    uint64_t rows, nqueries;
    uint32_t dim, k, variant, threads;
    pomai_metric metric;
    int sweep;
    struct index_bench rows_of;
    float *q;
    const pm_simd *level;
    pm_graph graph;
    uint32_t *truth; /* nqueries x 100 */
};

static void id_of(const void *owner, uint32_t row, pm_flat_id *id)
{
    (void)owner;
    *id = (pm_flat_id){.u64 = row};
}

/* ---- threads ---- */

struct run {
    void (*work)(void *argument, uint32_t piece);
    void *argument;
    uint32_t pieces;
    _Atomic uint32_t next;
};

static void *take(void *context)
{
    struct run *r = context;
    for (uint32_t i; (i = atomic_fetch_add(&r->next, 1)) < r->pieces;)
        r->work(r->argument, i);
    return NULL;
}

static void run_pieces(void *context, void (*work)(void *argument, uint32_t piece), void *argument, uint32_t pieces)
{
    const struct in *in = context;
    struct run r = {.work = work, .argument = argument, .pieces = pieces};
    pthread_t thread[16];
    for (uint32_t i = 1; i < in->threads; i++)
        if (pthread_create(&thread[i], NULL, take, &r) != 0) exit(1);
    (void)take(&r);
    for (uint32_t i = 1; i < in->threads; i++)
        pthread_join(thread[i], NULL);
}

/* ---- measuring ---- */

struct outcome {
    double recall, seconds, scored, expanded, offered;
};

static struct outcome measure(const struct in *in, uint32_t k, const pm_graph_effort *effort, uint64_t queries)
{
    struct outcome out = {0, 0, 0, 0, 0};
    void *memory = bench_alloc(pm_graph_query_size(&in->graph, effort));
    void *flat_memory = bench_alloc(pm_flat_query_size(k, in->dim));
    const pm_graph_asks asks = {0};
    for (uint64_t i = 0; i < queries; i++) {
        const float *vector = in->q + i * in->dim;
        const pm_flat_hit *hits;
        const uint32_t *rows;
        uint64_t scored, expanded;
        const double before = index_busy();
        pm_graph_query *q = pm_graph_query_init(memory, &in->graph, in->level, vector, k, effort);
        const size_t n = pm_graph_walk(q, &asks, &rows);
        pm_flat_query *flat = pm_flat_query_init(flat_memory, in->level, in->metric, vector, in->dim, k, id_of);
        pm_flat_tile tile = {.n = 0};
        const uint32_t *distances = pm_graph_distances(q);
        for (size_t r = 0; r < n && distances != NULL; r++)
            pm_flat_offer_known(flat, (double)distances[r], NULL, rows[r]);
        for (size_t r = 0; r < n && distances == NULL; r++) {
            tile.vector[tile.n] = in->rows_of.x + (size_t)rows[r] * in->dim;
            tile.row[tile.n++] = rows[r];
            if (tile.n < PM_FLAT_TILE && r + 1 < n) continue;
            pm_flat_offer(&flat, 1, &tile);
            tile.n = 0;
        }
        const size_t found = pm_flat_finish(flat, &hits);
        out.seconds += index_busy() - before;
        pm_graph_walked(q, &scored, &expanded);
        out.scored += (double)scored;
        out.expanded += (double)expanded;
        out.offered += (double)n;
        for (size_t h = 0; h < found; h++)
            for (uint32_t j = 0; j < k; j++)
                out.recall += hits[h].row == in->truth[i * 100 + j];
    }
    free(memory);
    free(flat_memory);
    const double n = (double)queries;
    return (struct outcome){out.recall / n / k, out.seconds / n, out.scored / n, out.expanded / n, out.offered / n};
}

static void report(const struct in *in, uint32_t k, const pm_graph_effort *e)
{
    struct outcome best = measure(in, k, e, in->nqueries);
    for (int i = 0; i < 2; i++) {
        struct outcome o = measure(in, k, e, in->nqueries);
        if (o.seconds < best.seconds) best = o;
    }
    printf("  k %3u pool %4u slack %5.3f margin %5.3f rerank %4u: recall %.4f  %8.0f queries/s  %6.0f scored %5.0f "
           "expanded %5.1f "
           "offered\n",
           k, e->pool, (double)e->slack, (double)e->margin, e->rerank, best.recall, 1 / best.seconds, best.scored,
           best.expanded, best.offered);
}

static void sweep(const struct in *in, uint32_t k)
{
    static const uint32_t pools[] = {16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512};
    static const float slacks[] = {0.02f, 0.05f, 0.1f, 0.15f, 0.2f, 0.3f, INFINITY};
    static const double reranks[] = {1.5, 2, 3, 4, 6};
    for (size_t p = 0; p < sizeof pools / sizeof *pools; p++)
        for (size_t s = 0; s < sizeof slacks / sizeof *slacks; s++)
            for (size_t r = 0; r < sizeof reranks / sizeof *reranks; r++) {
                pm_graph_effort e = {
                    .pool = pools[p], .slack = slacks[s], .rerank = (uint32_t)(k * reranks[r]), .margin = INFINITY};
                if (e.rerank <= e.pool) report(in, k, &e);
            }
}

static void build(struct in *in)
{
    pm_index_source source = {in->rows, in->dim, in->metric, 42, &in->rows_of, index_read};
    pm_index_sink sink = {&in->rows_of, index_append};
    pm_index_work work = {.context = in, .run = in->threads > 1 ? run_pieces : NULL};
    pm_graph_builder *builder;
    double total = 0, at[4], wall = bench_now();
    pm_graph_forced_variant = in->variant;
    at[0] = index_busy();
    if (pm_graph_begin(&source, in->level, &work, &builder, &in->variant) != POMAI_OK) exit(1);
    at[1] = index_busy();
    if (!pm_graph_lengths(in->rows, in->dim, in->metric, in->variant, in->rows_of.length)) exit(1);
    in->graph = (pm_graph){.rows = in->rows, .dim = in->dim, .metric = in->metric, .variant = in->variant};
    for (size_t i = 0; i < PM_GRAPH_SECTIONS; i++) {
        in->rows_of.at[i] = bench_alloc(in->rows_of.length[i] + 64);
        in->graph.section[i] = in->rows_of.at[i];
        total += (double)in->rows_of.length[i];
    }
    if (pm_graph_build(builder, &sink) != POMAI_OK) exit(1);
    at[2] = index_busy();
    if (pm_graph_calibrate(builder, &in->graph, &sink) != POMAI_OK) exit(1);
    at[3] = index_busy();
    pm_graph_end(builder);
    if (!pm_graph_is_sound(&in->graph)) exit(1);
    printf("variant %x: read and chosen %.2f s, built %.2f s, calibrated %.2f s of the processor, %.2f s in all on the "
           "clock; %.1f bytes a row, float32 %u\n",
           in->variant, at[1] - at[0], at[2] - at[1], at[3] - at[2], bench_now() - wall, total / (double)in->rows,
           in->dim * 4);
}

static void parse(struct in *in, int argc, char **argv)
{
    static const struct option options[] = {
        {"data", 1, NULL, 'd'},  {"queries", 1, NULL, 'q'}, {"truth", 1, NULL, 't'},   {"dim", 1, NULL, 'n'},
        {"rows", 1, NULL, 'r'},  {"metric", 1, NULL, 'm'},  {"k", 1, NULL, 'k'},       {"simd", 1, NULL, 'l'},
        {"sweep", 0, NULL, 's'}, {"effort", 1, NULL, 'e'},  {"variant", 1, NULL, 'v'}, {"threads", 1, NULL, 'p'},
        {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd')
            in->data = optarg;
        else if (c == 'q')
            in->queries = optarg;
        else if (c == 't')
            in->truth_file = optarg;
        else if (c == 'n')
            in->dim = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'r')
            in->rows = strtoull(optarg, NULL, 10);
        else if (c == 'm')
            in->metric = strcmp(optarg, "ip") == 0       ? POMAI_METRIC_IP
                         : strcmp(optarg, "cosine") == 0 ? POMAI_METRIC_COSINE
                                                         : POMAI_METRIC_L2;
        else if (c == 'k')
            in->k = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'l')
            in->simd = optarg;
        else if (c == 's')
            in->sweep = 1;
        else if (c == 'e')
            in->effort = optarg;
        else if (c == 'v')
            in->variant = (uint32_t)strtoul(optarg, NULL, 0);
        else if (c == 'p')
            in->threads = (uint32_t)strtoul(optarg, NULL, 10);
        else
            exit(2);
    }
    if (in->data == NULL || in->queries == NULL || in->truth_file == NULL || in->dim == 0 || in->threads > 16) exit(2);
}

int main(int argc, char **argv)
{
    struct in in = {.metric = POMAI_METRIC_L2, .nqueries = 1000, .k = 10};
    static const float targets[] = {0.8f, 0.9f, 0.95f, 0.98f, 0.99f, 0.995f, 0.999f};
    parse(&in, argc, argv);
    in.level = pm_simd_best(in.simd);
    in.rows_of.dim = in.dim;
    in.rows_of.x = index_load(in.data, in.dim * 4, &in.rows);
    in.q = index_load(in.queries, in.dim * 4, &in.nqueries);
    in.truth = index_load(in.truth_file, 400, &in.nqueries);
    printf("%s: %llu rows of %u, %s\n", in.data, (unsigned long long)in.rows, in.dim, in.level->name);
    build(&in);
    if (in.sweep) sweep(&in, in.k);
    pm_graph_effort own = {0};
    if (in.effort != NULL && sscanf(in.effort, "%u,%f,%f", &own.pool, &own.slack, &own.margin) == 3) {
        own.rerank = own.pool;
        for (int i = 0; i < 20; i++)
            report(&in, in.k, &own);
    }
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        pm_graph_effort effort;
        printf("target %.3f:", (double)targets[i]);
        if (pm_graph_look_up(&in.graph, in.k, targets[i], false, &effort)) {
            printf(" expected %.4f\n", (double)effort.expected);
            report(&in, in.k, &effort);
        } else
            printf(" none\n");
    }
    return 0;
}
