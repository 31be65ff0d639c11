/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a search and a small put take while a client ingests at full speed.
 *     ./dev bench mixed [--rows N] [--dim N] [--seconds S] [--rounds N] [--batch N] [--dir D] [--json FILE]
 * A database of --rows rows is made. Then rounds of two slices of --seconds: in one, nothing else happens; in the other
 * a thread replaces rows, chosen at random, in batches of --batch, as fast as it can, so that the number of rows stays
 * what it is while flush and compaction run. In both a probe searches (exact, k = 10, one query), puts one row, level
 * sync, pauses for two milliseconds, and so on. Between slices everything that waits in the background is done.
 */
#include "load.h"

enum { K = 10, PAUSE_US = 2000, MOST = 1 << 20, MOST_ROUNDS = 1000 };

static double batch_rows = 1000;

struct times {
    double *value;
    size_t n;
};

struct quantiles {
    double p50, p99, p999;
};

struct slice {
    struct quantiles search, put;
};

struct ingest {
    pomai_collection *collection;
    _Atomic bool stop;
    uint64_t rows;
    double wall, longest;
    pthread_t thread;
};

static struct times searches, singles, all_searches[2], all_puts[2]; /* quiet, busy */
static struct slice slices[2][MOST_ROUNDS];

static void *ingest_main(void *arg)
{
    struct ingest *in = arg;
    const size_t batch = (size_t)batch_rows;
    static uint64_t turn; /* goes on where the last slice ended */
    uint64_t ids[LOAD_MOST_BATCH];
    const double begin = bench_now();
    while (!atomic_load(&in->stop) && load_interrupted == 0) {
        if (turn % load.rows + batch > load.rows) turn += load.rows - turn % load.rows; /* no id twice in a batch */
        for (size_t i = 0; i < batch; i++, turn++)
            ids[i] = load_shuffle(turn % load.rows, load.rows, turn / load.rows);
        const double put_begin = bench_now();
        load_put(in->collection, turn, ids, batch, POMAI_DURABILITY_SYNC);
        in->longest = fmax(in->longest, bench_now() - put_begin);
        in->rows += batch;
    }
    in->wall = bench_now() - begin;
    return NULL;
}

static void note(struct times *t, double value)
{
    if (t->n < MOST) t->value[t->n++] = value;
}

static void probe(pomai_collection *collection)
{
    static uint64_t turn;
    pomai_error err;
    pomai_result *result;
    const double end = bench_now() + load.seconds;
    searches.n = singles.n = 0;
    while (bench_now() < end && load_interrupted == 0) {
        double begin = bench_now();
        load_check(pomai_search(collection, load_vectors(++turn * 7, 1), 1, load.dim, K, NULL, &result, &err), "search",
                   &err);
        note(&searches, bench_now() - begin);
        pomai_result_free(result);
        const uint64_t id = bench_mix(turn) % load.rows;
        begin = bench_now();
        load_put(collection, turn, &id, 1, POMAI_DURABILITY_SYNC);
        note(&singles, bench_now() - begin);
        usleep(PAUSE_US);
    }
}

static struct quantiles quantiles_of(struct times *t)
{
    (void)bench_spread_of(t->value, t->n); /* sorts */
    return (struct quantiles){load_quantile(t->value, t->n, 0.5), load_quantile(t->value, t->n, 0.99),
                              load_quantile(t->value, t->n, 0.999)};
}

static void keep(struct times *all, const struct times *t)
{
    for (size_t i = 0; i < t->n; i++)
        note(all, t->value[i]);
}

static void run_slice(pomai_db *db, pomai_collection *collection, bool busy, uint32_t round)
{
    struct ingest in = {.collection = collection};
    if (!load_settle(db, 60)) printf("  not quiet after a minute\n");
    load_leave_if_interrupted();
    const struct load_stats before = load_stats_of(db);
    if (busy && pthread_create(&in.thread, NULL, ingest_main, &in) != 0) load_die("thread", "cannot start");
    probe(collection);
    atomic_store(&in.stop, true);
    if (busy) pthread_join(in.thread, NULL);
    load_leave_if_interrupted();
    const struct load_stats after = load_stats_of(db);
    struct slice *s = &slices[busy][round];
    keep(&all_searches[busy], &searches);
    keep(&all_puts[busy], &singles);
    s->search = quantiles_of(&searches);
    s->put = quantiles_of(&singles);
    printf("  %5u  %-6s %7zu  %8.2f %8.2f %8.2f  %8.2f %8.2f %8.2f  %9.0f %7.0f %8.0f %7.0f %7.0f %8.2f\n", round + 1,
           busy ? "ingest" : "quiet", searches.n, 1e3 * s->search.p50, 1e3 * s->search.p99, 1e3 * s->search.p999,
           1e3 * s->put.p50, 1e3 * s->put.p99, 1e3 * s->put.p999, busy ? (double)in.rows / in.wall : 0,
           after.flushes - before.flushes, after.compactions - before.compactions, after.stalls - before.stalls,
           after.segments, 1e3 * in.longest);
    fflush(stdout);
}

static void report(const char *what, bool put)
{
    static const char *const name[] = {"p50", "p99", "p999"};
    struct times *all = put ? all_puts : all_searches;
    const struct quantiles quiet = quantiles_of(&all[0]), busy = quantiles_of(&all[1]);
    const double pooled[2][3] = {{quiet.p50, quiet.p99, quiet.p999}, {busy.p50, busy.p99, busy.p999}};
    for (int q = 0; q < 3; q++) {
        double ratio[MOST_ROUNDS];
        for (uint32_t r = 0; r < load.rounds; r++) {
            const struct quantiles *a = put ? &slices[0][r].put : &slices[0][r].search;
            const struct quantiles *b = put ? &slices[1][r].put : &slices[1][r].search;
            ratio[r] = q == 0 ? b->p50 / a->p50 : q == 1 ? b->p99 / a->p99 : b->p999 / a->p999;
        }
        const struct bench_spread spread = bench_spread_of(ratio, load.rounds);
        char figure[64];
        snprintf(figure, sizeof figure, "mixed.%s.%s_ratio", what, name[q]);
        printf("  %-24s %5.2fx (%.2f to %.2f)   all rounds: %.2f ms quiet, %.2f ms while ingesting, %.2fx\n", figure,
               spread.median, spread.least, spread.most, 1e3 * pooled[0][q], 1e3 * pooled[1][q],
               pooled[1][q] / pooled[0][q]);
        load_figure(figure, spread, "ratio", ", \"quiet_ms\": %.4f, \"ingest_ms\": %.4f, \"samples\": %zu",
                    1e3 * pooled[0][q], 1e3 * pooled[1][q], all[1].n);
    }
}

int main(int argc, char **argv)
{
    const struct load_option own[] = {{"--batch", &batch_rows, NULL}, {NULL, NULL, NULL}};
    load = (struct load){.name = "mixed", .rows = 200000, .dim = 128, .seconds = 10, .rounds = 5};
    load_begin(argc, argv, own);
    if (batch_rows < 1 || batch_rows > LOAD_MOST_BATCH || batch_rows > (double)load.rows) load_usage(own);
    struct times *const all[] = {&searches, &singles, &all_searches[0], &all_searches[1], &all_puts[0], &all_puts[1]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        all[i]->value = bench_alloc(MOST * sizeof(double));
    pomai_collection *collection;
    pomai_db *db = load_open("db", POMAI_DURABILITY_SYNC, &collection);
    for (uint64_t done = 0; done < load.rows; done += 1000)
        load_put(collection, done, NULL, load.rows - done < 1000 ? load.rows - done : 1000, POMAI_DURABILITY_OS);
    pomai_error err;
    load_check(pomai_flush(db, &err), "flush", &err);
    printf("%llu rows; slices of %.0f s; times in ms\n", (unsigned long long)load.rows, load.seconds);
    printf("  %5s  %-6s %7s  %8s %8s %8s  %8s %8s %8s  %9s %7s %8s %7s %7s %8s\n", "round", "", "probes", "search50",
           "99", "99.9", "put 50", "99", "99.9", "ingest/s", "flushes", "compact.", "stalls", "segm.", "longest");
    for (uint32_t r = 0; r < load.rounds; r++)
        for (int i = 0; i < 2; i++)
            run_slice(db, collection, i == (int)(r % 2 == 0), r);
    report("search", false);
    report("put", true);
    load_close(db, collection);
    load_end();
    return 0;
}
