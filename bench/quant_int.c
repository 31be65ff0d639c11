/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantised flat search against the exact scan: recall and time of one query on one thread, codes in memory.
 *
 *   bench_quant_int [--data FILE --queries FILE] --dim N [--rows N] [--metric l2|ip|cosine] [--k N] [--seconds N]
 *                   [--simd LEVEL] [--efforts]
 *
 * FILEs are raw float32, row after row; without them the rows are clustered, from a fixed seed. Rounds of the two are
 * interleaved, and times are of the processor, so that ratios mean something on a machine that others use.
 */
#include "index_bench.h"

#include "index/flat/flat.h"
#include "index/quant/quant.h"
#include "index/quant/quant_int.h"
#include "simd/codes.h"

#include <getopt.h>

struct in {
    const char *data, *queries, *simd;
    uint64_t rows, nqueries;
    uint32_t dim, k;
    pomai_metric metric;
    double seconds;
    int efforts;
    struct index_bench rows_of;
    float *q;
    const pm_simd *level;
    pm_quant quant;
    uint32_t *truth; /* nqueries x 100 */
};

/* Sums of uniform numbers around 1,000 centres. */
static float *generate(const struct in *in, uint64_t rows, uint64_t salt)
{
    float *x = bench_alloc(rows * in->dim * 4);
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t centre = bench_mix(i + salt) % 1000;
        for (uint32_t d = 0; d < in->dim; d++) {
            double c = (double)(bench_mix(centre * 65537 + d) >> 11) * 0x1p-53;
            uint64_t bits = bench_mix(salt + i * in->dim + d);
            double noise = ((double)(bits >> 48) + (double)(bits >> 32 & 0xffff) + (double)(bits & 0xffff)) / 65536;
            x[i * in->dim + d] = (float)(c + noise - 1.5);
        }
    }
    return x;
}

static void id_of(const void *owner, uint32_t row, pm_flat_id *id)
{
    (void)owner;
    *id = (pm_flat_id){.u64 = row};
}

static void offer(const struct in *in, pm_flat_query *flat, const uint32_t *rows, size_t n)
{
    pm_flat_tile tile = {.n = 0};
    for (size_t i = 0; i < n; i++) {
        tile.vector[tile.n] = in->rows_of.x + (size_t)rows[i] * in->dim;
        tile.row[tile.n++] = rows[i];
        if (tile.n < PM_FLAT_TILE && i + 1 < n) continue;
        pm_flat_offer(&flat, 1, &tile);
        tile.n = 0;
    }
}

static pm_flat_query *flat_init(const struct in *in, const float *q, uint32_t k, void *memory)
{
    return pm_flat_query_init(memory, in->level, in->metric, q, in->dim, k, id_of);
}

static size_t exact(const struct in *in, const float *q, uint32_t k, void *memory, const pm_flat_hit **hits)
{
    pm_flat_query *flat = flat_init(in, q, k, memory);
    uint32_t rows[PM_FLAT_TILE];
    for (uint64_t row = 0; row < in->rows; row += PM_FLAT_TILE) {
        size_t n = in->rows - row < PM_FLAT_TILE ? (size_t)(in->rows - row) : PM_FLAT_TILE;
        for (size_t i = 0; i < n; i++)
            rows[i] = (uint32_t)(row + i);
        offer(in, flat, rows, n);
    }
    return pm_flat_finish(flat, hits);
}

/* effort < 0: by recall. The bound is the query's own, as if nothing else were searched. */
static size_t quantised(const struct in *in, const float *q, uint32_t k, float effort, float recall, void *memory,
                        void *coded, const pm_flat_hit **hits, uint64_t *candidates)
{
    static uint32_t some[PM_QUANT_STEP];
    float expected;
    pm_flat_query *flat = flat_init(in, q, k, memory);
    pm_quant_query *query = effort >= 0 ? quant_query_make(coded, &in->quant, in->level, q, k, effort)
                                        : pm_quant_query_init(coded, &in->quant, in->level, q, k, recall, &expected);
    if (query == NULL) return exact(in, q, k, memory, hits);
    for (uint64_t row = 0; row < in->rows; row += PM_QUANT_STEP) {
        uint32_t n = (uint32_t)(in->rows - row < PM_QUANT_STEP ? in->rows - row : PM_QUANT_STEP);
        size_t found = pm_quant_scan(query, row, n, INFINITY, some);
        *candidates += found;
        offer(in, flat, some, found);
    }
    return pm_flat_finish(flat, hits);
}

/* ---- measuring ---- */

static void find_truth(struct in *in, void *memory)
{
    const pm_flat_hit *hits;
    in->truth = bench_alloc(in->nqueries * 100 * sizeof *in->truth);
    for (uint64_t i = 0; i < in->nqueries; i++) {
        size_t n = exact(in, in->q + i * in->dim, 100, memory, &hits);
        for (size_t j = 0; j < 100; j++)
            in->truth[i * 100 + j] = j < n ? hits[j].row : UINT32_MAX;
    }
}

static double recall_of(const struct in *in, uint64_t query, uint32_t k, const pm_flat_hit *hits, size_t n)
{
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < k; j++)
            found += hits[i].row == in->truth[query * 100 + j];
    }
    return (double)found / k;
}

struct outcome {
    double recall, seconds, candidates;
};

static struct outcome run(const struct in *in, uint32_t k, float effort, float recall, uint64_t from, uint64_t to,
                          void *memory, void *coded)
{
    struct outcome out = {0, 0, 0};
    uint64_t candidates = 0;
    for (uint64_t i = from; i < to; i++) {
        const pm_flat_hit *hits;
        double before = index_busy();
        size_t n = quantised(in, in->q + i * in->dim, k, effort, recall, memory, coded, &hits, &candidates);
        out.seconds += index_busy() - before;
        out.recall += recall_of(in, i, k, hits, n);
    }
    double queries = (double)(to - from);
    return (struct outcome){out.recall / queries, out.seconds / queries, (double)candidates / queries};
}

/* Interleaved rounds: a few exact scans, then queries at the effort. */
static void compare(const struct in *in, uint32_t k, float effort, float recall, void *memory, void *coded)
{
    double ratios[64], exact_seconds = 0, coded_seconds = 0;
    struct outcome all = run(in, k, effort, recall, 0, in->nqueries, memory, coded);
    size_t rounds = 0;
    for (double end = bench_now() + in->seconds; rounds < 64 && (rounds < 3 || bench_now() < end); rounds++) {
        const pm_flat_hit *hits;
        uint64_t from = rounds * 20 % (in->nqueries - 20);
        double before = index_busy();
        for (uint64_t i = 0; i < 2; i++)
            (void)exact(in, in->q + (from + i) * in->dim, k, memory, &hits);
        double one = (index_busy() - before) / 2;
        struct outcome some = run(in, k, effort, recall, from, from + 20, memory, coded);
        ratios[rounds] = one / some.seconds;
        exact_seconds += one;
        coded_seconds += some.seconds;
    }
    struct bench_spread ratio = bench_spread_of(ratios, rounds);
    double each = coded_seconds / (double)rounds, rows = (double)in->rows;
    double bits = (double)in->rows_of.length[1], scan = exact_seconds / (double)rounds;
    printf("  k %3u  %s %5.3f  recall %.4f  %8.1f candidates  %7.3f ms (all queries %7.3f)  %7.1f M rows/s  %5.1f GB/s "
           "of bits  exact "
           "%7.3f ms %5.1f GB/s  ratio %.1f (%.1f to %.1f)\n",
           k, effort >= 0 ? "effort" : "target", (double)(effort >= 0 ? effort : recall), all.recall, all.candidates,
           each * 1e3, all.seconds * 1e3, rows / each * 1e-6, bits / each * 1e-9, scan * 1e3,
           rows * in->dim * 4 / scan * 1e-9, ratio.median, ratio.least, ratio.most);
}

static void build(struct in *in)
{
    pm_index_source source = {in->rows, in->dim, in->metric, 42, &in->rows_of, index_read};
    pm_index_sink sink = {&in->rows_of, index_append};
    double total = 0;
    if (!pm_quant_lengths(in->rows, in->dim, in->metric, in->rows_of.length)) exit(1);
    in->quant = (pm_quant){.rows = in->rows, .dim = in->dim, .metric = in->metric};
    for (size_t i = 0; i < PM_QUANT_SECTIONS; i++) {
        in->rows_of.at[i] = bench_alloc(in->rows_of.length[i]);
        memset(in->rows_of.at[i], 0, in->rows_of.length[i]);
        in->quant.section[i] = in->rows_of.at[i];
        total += (double)in->rows_of.length[i];
    }
    double before = index_busy();
    if (pm_quant_build(&source, in->level, NULL, &sink) != POMAI_OK) exit(1);
    double built = index_busy() - before;
    before = index_busy();
    if (pm_quant_calibrate(&in->quant, &source, in->level, &sink) != POMAI_OK) exit(1);
    double calibrated = index_busy() - before;
    if (!pm_quant_is_sound(&in->quant)) exit(1);
    quant_table table;
    memcpy(&table, in->rows_of.at[QUANT_TABLE], sizeof table);
    printf("build %.3f s, %.0f rows/s; calibration %.3f s (%.0f%% of it): %u queries among %u rows; %.1f bytes a row "
           "(%.1f of bits), float32 %u\n",
           built, (double)in->rows / built, calibrated, calibrated / built * 100, table.queries, table.rows,
           total / (double)in->rows, (double)in->rows_of.length[QUANT_BITS] / (double)in->rows, in->dim * 4);
    for (size_t i = 0; i < QUANT_KS; i++) {
        printf("  k %3u by %u:", table.row[i].k, table.row[i].neighbours);
        for (size_t j = 0; j < QUANT_TARGETS; j++)
            printf("  %.3f: %.3f (%.4f)", (double)table.row[i].entry[j].target, (double)table.row[i].entry[j].effort,
                   (double)table.row[i].entry[j].recall);
        printf("  best %.4f\n", (double)table.row[i].recall);
    }
}

static pomai_metric metric_of(const char *name)
{
    return strcmp(name, "ip") == 0       ? POMAI_METRIC_IP
           : strcmp(name, "cosine") == 0 ? POMAI_METRIC_COSINE
                                         : POMAI_METRIC_L2;
}

static void parse(struct in *in, int argc, char **argv)
{
    static const struct option options[] = {
        {"data", 1, NULL, 'd'},    {"queries", 1, NULL, 'q'}, {"dim", 1, NULL, 'n'},     {"rows", 1, NULL, 'r'},
        {"metric", 1, NULL, 'm'},  {"k", 1, NULL, 'k'},       {"seconds", 1, NULL, 's'}, {"simd", 1, NULL, 'l'},
        {"efforts", 0, NULL, 'e'}, {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'd')
            in->data = optarg;
        else if (c == 'q')
            in->queries = optarg;
        else if (c == 'n')
            in->dim = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'r')
            in->rows = strtoull(optarg, NULL, 10);
        else if (c == 'm')
            in->metric = metric_of(optarg);
        else if (c == 'k')
            in->k = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 's')
            in->seconds = strtod(optarg, NULL);
        else if (c == 'l')
            in->simd = optarg;
        else if (c == 'e')
            in->efforts = 1;
        else
            exit(2);
    }
}

int main(int argc, char **argv)
{
    struct in in = {.dim = 128, .metric = POMAI_METRIC_L2, .k = 0, .seconds = 1, .nqueries = 200};
    static const uint32_t ks[] = {1, 10, 100};
    static const float targets[] = {0.9f, 0.95f, 0.98f, 0.99f, 0.995f};
    parse(&in, argc, argv);
    in.level = pm_simd_best(in.simd);
    in.rows_of.dim = in.dim;
    if (in.data != NULL && in.queries != NULL) {
        in.rows_of.x = index_load(in.data, in.dim * sizeof(float), &in.rows);
        in.q = index_load(in.queries, in.dim * sizeof(float), &in.nqueries);
    } else {
        if (in.rows == 0) in.rows = 100000;
        in.rows_of.x = generate(&in, in.rows, 1);
        in.q = generate(&in, in.nqueries, 987654321);
    }
    double load[1] = {0};
    (void)getloadavg(load, 1);
    printf("load %.1f\n", load[0]);
    printf("%s: %llu rows of %u, %s\n", in.data != NULL ? in.data : "generated", (unsigned long long)in.rows, in.dim,
           in.level->quant->name);
    build(&in);
    void *memory = bench_alloc(pm_flat_query_size(100, in.dim)),
         *coded = bench_alloc(pm_quant_query_size(&in.quant, 100));
    find_truth(&in, memory);
    for (size_t i = 0; i < 3; i++) {
        if (in.k != 0 && in.k != ks[i]) continue;
        for (size_t j = 0; j < sizeof targets / sizeof *targets; j++)
            compare(&in, ks[i], -1, targets[j], memory, coded);
        for (float effort = 0; in.efforts && effort <= 3; effort += 0.25f)
            compare(&in, ks[i], effort, 0, memory, coded);
    }
    return 0;
}
