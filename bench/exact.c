/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast exact search is, beside what the machine can do.
 *     ./dev bench exact [--rows N] [--dim N] [--rounds N] [--queries N] [--metric l2|ip|cosine] [--dir D] [--json FILE]
 * Without --dim: 1 million rows of 128 dimensions, then 300 thousand of 768, random. The rows are flushed and lie in
 * segments, in the page cache. In each round, one after the other:
 *   read     memory of as many bytes as the vectors have is read by one thread: the ceiling of a single query
 *   one      one query, k = 10, one thread
 *   two      the same with a helper for every other core
 *   k10000   one query, k = 10,000, one thread
 *   batch    --queries queries in one call, one thread; then with helpers: the shortest of a few calls
 * and once, in registers: how many multiply-adds a second one core does, which is the ceiling of float products.
 */
#include "load.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { K = 10, LARGE_K = 10000, MOST_ROUNDS = 1000, BATCH = 1000, SINGLES = 5, CALLS = 3 };
enum what { READ, ONE, TWO, LARGE, BATCH_ONE, BATCH_TWO, CODES_ONE, CODES_TWO, WHATS };

static const char *const what_name[WHATS] = {"read", "one", "two", "k10000", "batch", "batch2", "codes", "codes2"};
static double queries = 1000;
static const char *metric_name = "l2";
static pomai_metric metric = POMAI_METRIC_L2;
static double seconds[WHATS][MOST_ROUNDS];
static volatile uint64_t read_sink; /* keeps the loop */

/* Row i of the data, the same in every run: uniform in -1 to 1. */
static void make_rows(uint64_t first, uint64_t n, float *out)
{
    for (uint64_t i = 0; i < n * load.dim; i++)
        out[i] = (float)(bench_mix(first * load.dim + i) >> 40) * 0x1p-23f - 1;
}

/* The same rows in two collections: one is searched by its vectors, one by codes and then by these. */
static void fill(const char *name, pomai_index_kind index)
{
    char path[600];
    pomai_db *db;
    pomai_error err;
    pomai_collection *collection;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_collection_options shape = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_batch batch = POMAI_BATCH_INIT;
    float *rows = bench_alloc(BATCH * load.dim * sizeof(float));
    load_path(path, "db");
    options.durability = POMAI_DURABILITY_OS;
    load_check(pomai_open(path, &options, &db, &err), "open", &err);
    shape.dim = load.dim;
    shape.metric = metric;
    shape.index = index;
    load_check(pomai_collection_create(db, name, &shape, &collection, &err), "create", &err);
    for (uint64_t done = 0; done < load.rows; done += batch.rows) {
        batch.rows = load.rows - done < BATCH ? load.rows - done : BATCH;
        batch.dim = load.dim;
        batch.vectors = rows;
        make_rows(done, batch.rows, rows);
        load_check(pomai_put(collection, &batch, NULL, NULL, &err), "put", &err);
        load_leave_if_interrupted();
    }
    load_check(pomai_flush(db, &err), "flush", &err);
    load_check(pomai_compact(db, collection, &err), "compact", &err);
    load_check(pomai_build_indexes(db, NULL, &err), "build", &err);
    load_close(db, collection);
    free(rows);
}

static pomai_db *open_to_search(uint32_t helpers, pomai_collection **collection, pomai_collection **codes)
{
    char path[600];
    pomai_db *db;
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    load_path(path, "db");
    options.flags = POMAI_OPEN_READONLY;
    options.search_threads = helpers;
    load_check(pomai_open(path, &options, &db, &err), "open", &err);
    load_check(pomai_collection_open(db, "vectors", collection, &err), "open", &err);
    load_check(pomai_collection_open(db, "codes", codes, &err), "open", &err);
    return db;
}

static double time_search(pomai_collection *collection, const float *vectors, uint64_t n, uint32_t k)
{
    pomai_error err;
    pomai_result *result;
    const double begin = bench_now();
    load_check(pomai_search(collection, vectors, n, load.dim, k, NULL, &result, &err), "search", &err);
    const double taken = bench_now() - begin;
    pomai_result_free(result);
    load_leave_if_interrupted();
    return taken;
}

/* The shortest of a few: what the code does when nothing disturbs it; each with a query of its own. */
static double time_single(pomai_collection *collection, const float *vectors, uint32_t k)
{
    static uint64_t turn;
    double best = INFINITY;
    for (int i = 0; i < SINGLES; i++)
        best = fmin(best, time_search(collection, vectors + turn++ % (uint64_t)queries * load.dim, 1, k));
    return best;
}

/* The shortest of a few, likewise; all with the same queries. */
static double time_batch(pomai_collection *collection, const float *vectors)
{
    double best = INFINITY;
    for (int i = 0; i < CALLS; i++)
        best = fmin(best, time_search(collection, vectors, (uint64_t)queries, K));
    return best;
}

/* Reads the memory in `streams` places at once, a line of each in turn, and asks for lines `ahead` bytes before. */
static uint64_t read_all(const uint64_t *memory, size_t bytes, size_t streams, size_t ahead)
{
    uint64_t sum[8] = {0};
    const size_t each = bytes / streams / 64 * 8; /* words */
    for (size_t at = 0; at < each; at += 8) {
        for (size_t s = 0; s < streams; s++) {
            const uint64_t *line = memory + s * each + at;
            if (ahead > 0) __builtin_prefetch((const char *)line + ahead);
            for (size_t j = 0; j < 8; j++)
                sum[j] += line[j];
        }
    }
    for (size_t j = 1; j < 8; j++)
        sum[0] += sum[j];
    return sum[0];
}

/* The best way to read that we know: the ceiling should be the machine's, not that of one loop. */
static double time_read(const uint64_t *memory, size_t bytes)
{
    static const size_t streams[] = {1, 1, 2, 4, 8, 8}, ahead[] = {0, 2048, 1024, 1024, 0, 512};
    double best = INFINITY;
    for (size_t way = 0; way < sizeof streams / sizeof streams[0]; way++) {
        const double begin = bench_now();
        read_sink = read_sink + read_all(memory, bytes, streams[way], ahead[way]);
        best = fmin(best, bench_now() - begin);
    }
    return best;
}

/* ---- multiply-adds a second of one core, in registers ---- */

#if defined(__x86_64__)
enum { CHAINS = 12, FMAS = 20 * 1000 * 1000 };

static volatile float fma_sink; /* keeps the loops */

__attribute__((target("avx512f"))) static double fmas_512(void)
{
    __m512 sum[CHAINS], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(1.5f);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_set1_ps((float)c);
    const double begin = bench_now();
    for (int i = 0; i < FMAS / CHAINS; i++) {
        __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm512_fmadd_ps(sum[c], x, y);
    }
    const double taken = bench_now() - begin;
    for (int c = 1; c < CHAINS; c++)
        sum[0] = _mm512_add_ps(sum[0], sum[c]);
    fma_sink = _mm512_reduce_add_ps(sum[0]);
    return 16.0 * FMAS / taken;
}

__attribute__((target("avx2,fma"))) static double fmas_256(void)
{
    __m256 sum[CHAINS], x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(1.5f);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_set1_ps((float)c);
    const double begin = bench_now();
    for (int i = 0; i < FMAS / CHAINS; i++) {
        __asm__ volatile("" : "+x"(x), "+x"(y));
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            sum[c] = _mm256_fmadd_ps(sum[c], x, y);
    }
    const double taken = bench_now() - begin;
    for (int c = 1; c < CHAINS; c++)
        sum[0] = _mm256_add_ps(sum[0], sum[c]);
    fma_sink = _mm256_cvtss_f32(sum[0]);
    return 8.0 * FMAS / taken;
}

static double fmas_a_second(void)
{
    double best = 0;
    for (int i = 0; i < SINGLES; i++)
        best = fmax(best, __builtin_cpu_supports("avx512f")                                 ? fmas_512()
                          : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? fmas_256()
                                                                                            : 0);
    return best;
}
#else
static double fmas_a_second(void)
{
    return 0;
}
#endif

/* ---- the answer ---- */

/* Of seconds[over] by seconds[under], each times a factor. */
static struct bench_spread ratio_of(enum what over, enum what under, double factor)
{
    double value[MOST_ROUNDS];
    for (uint32_t r = 0; r < load.rounds; r++)
        value[r] = seconds[over][r] / seconds[under][r] * factor;
    return bench_spread_of(value, load.rounds);
}

static struct bench_spread rate_of(enum what what, double work)
{
    double value[MOST_ROUNDS];
    for (uint32_t r = 0; r < load.rounds; r++)
        value[r] = work / seconds[what][r];
    return bench_spread_of(value, load.rounds);
}

static void say(const char *figure, struct bench_spread s, const char *unit, const char *meaning)
{
    char name[64];
    snprintf(name, sizeof name, "exact.%s.%s.d%zu.%s", strncmp(figure, "batch", 5) == 0 ? "batch" : "f32", metric_name,
             load.dim, strncmp(figure, "batch.", 6) == 0 ? figure + 6 : figure);
    printf("  %-38s %10.4g %-10s (%.4g to %.4g)  %s\n", name, s.median, unit, s.least, s.most, meaning);
    load_figure(name, s, unit, ", \"metric\": \"%s\", \"k\": %d", metric_name, K);
}

static void report(double fmas)
{
    const double bytes = (double)load.rows * (double)load.dim * sizeof(float), pairs = (double)load.rows * queries;
    say("read_gb_per_s", rate_of(READ, bytes / 1e9), "GB/s", "plain reads, one thread");
    say("gb_per_s", rate_of(ONE, bytes / 1e9), "GB/s", "one query, one thread");
    say("bandwidth_share", ratio_of(READ, ONE, 1), "ratio", "of plain reads; at least 0.85 is asked for");
    say("two_threads", ratio_of(ONE, TWO, 1), "ratio", "one query, all cores by one");
    say("k10000", ratio_of(LARGE, ONE, 1), "ratio", "time with k = 10,000 by k = 10");
    say("by_codes", ratio_of(ONE, CODES_ONE, 1), "ratio",
        "one query by codes, the same answer, by one that reads vectors");
    say("by_codes.two_threads", ratio_of(CODES_ONE, CODES_TWO, 1), "ratio", "the same, all cores by one");
    say("batch.queries_per_s", rate_of(BATCH_ONE, queries), "queries/s", "in one call, one thread");
    say("batch.two_threads", ratio_of(BATCH_ONE, BATCH_TWO, 1), "ratio", "all cores by one; 1.8 is asked for");
    if (fmas > 0)
        say("batch.fma_share", rate_of(BATCH_ONE, pairs * (double)load.dim / fmas), "ratio",
            "products by the float multiply-adds of one core");
}

static void measure(double fmas)
{
    const size_t bytes = load.rows * load.dim * sizeof(float);
    float *vectors = bench_alloc((size_t)queries * load.dim * sizeof(float));
    uint64_t *memory = bench_alloc(bytes);
    pomai_collection *collection[2], *codes[2];
    pomai_db *db[2];
    memset(memory, 1, bytes);
    make_rows(UINT32_MAX, (uint64_t)queries, vectors);
    fill("vectors", POMAI_INDEX_EXACT);
    fill("codes", POMAI_INDEX_CODES);
    db[0] = open_to_search(UINT32_MAX, &collection[0], &codes[0]);
    db[1] = open_to_search(0, &collection[1], &codes[1]);
    for (int i = 0; i < 2; i++) { /* checks the segments, takes the page faults */
        (void)time_search(collection[i], vectors, 1, K);
        (void)time_search(codes[i], vectors, 1, K);
    }
    for (uint32_t r = 0; r < load.rounds; r++) {
        seconds[READ][r] = time_read(memory, bytes);
        seconds[ONE][r] = time_single(collection[0], vectors, K);
        seconds[TWO][r] = time_single(collection[1], vectors, K);
        seconds[CODES_ONE][r] = time_single(codes[0], vectors, K);
        seconds[CODES_TWO][r] = time_single(codes[1], vectors, K);
        seconds[LARGE][r] = time_single(collection[0], vectors, LARGE_K);
        seconds[BATCH_ONE][r] = time_batch(collection[0], vectors);
        seconds[BATCH_TWO][r] = time_batch(collection[1], vectors);
        printf("  round %u:", r + 1);
        for (int what = 0; what < WHATS; what++)
            printf("  %s %.2f ms", what_name[what], 1e3 * seconds[what][r]);
        printf("\n");
        fflush(stdout);
    }
    report(fmas);
    for (int i = 0; i < 2; i++) {
        pomai_collection_close(codes[i]);
        load_close(db[i], collection[i]);
    }
    free(memory);
    free(vectors);
    char path[600];
    load_path(path, "db");
    bench_remove_tree(path);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"l2", "ip", "cosine"};
    static const pomai_metric metrics[] = {POMAI_METRIC_L2, POMAI_METRIC_IP, POMAI_METRIC_COSINE};
    const struct load_option own[] = {
        {"--queries", &queries, NULL}, {"--metric", NULL, &metric_name}, {NULL, NULL, NULL}};
    bool both = true, known = false;
    for (int i = 1; i < argc; i++)
        both &= strcmp(argv[i], "--dim") != 0 && strcmp(argv[i], "--rows") != 0;
    load = (struct load){.name = "exact", .rows = 1000000, .dim = 128, .seconds = 1, .rounds = 5};
    load_begin(argc, argv, own);
    for (int i = 0; i < 3; i++) {
        if (strcmp(metric_name, names[i]) != 0) continue;
        metric = metrics[i];
        known = true;
    }
    if (!known || queries < 1 || queries > 100000 || load.rows > UINT32_MAX) load_usage(own);
    const double fmas = fmas_a_second();
    printf("one core: %.1f G float multiply-adds/s in registers\n", fmas / 1e9);
    for (int turn = 0; turn < (both ? 2 : 1); turn++) {
        if (turn == 1) load.rows = 300000, load.dim = 768;
        printf("%llu rows x %zu, %s, %.0f queries\n", (unsigned long long)load.rows, load.dim, metric_name, queries);
        measure(fmas);
    }
    load_end();
    return 0;
}
