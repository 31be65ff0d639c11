/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a search and a small put take while a client ingests at full speed.
 *     ./dev bench mixed [--rows N] [--dim N] [--seconds S] [--rounds N] [--batch N] [--recall R] [--rate N] [--dir D]
 *                       [--json FILE]
 * A database of --rows rows is made. Then rounds of three slices, in which a probe searches (exact, k = 10, one query),
 * puts one row, level sync, pauses for two milliseconds, and so on:
 *   idle     nothing else happens, for --seconds; everything that waited in the background is done
 *   ingest   a thread replaces rows, chosen at random, in batches of --batch, as fast as it can, for --seconds, so that
 *            the number of rows stays what it is while flush and compaction run
 *   paused   right behind it: the thread stands still, flush and compaction work off the backlog that it left, until
 *            nothing of it is left or --seconds have passed
 * Reported are ingest by paused, which is the price of the ingest itself, and ingest by idle; quantiles of the samples
 * of all rounds. The disk alone: plain writes of as many bytes as one row's log record, each synced, by themselves and
 * beside as many streams as there are cores, which write and sync what one batch has for each shard. What this does to
 * the small writes no engine can undo; mixed.put.p99_over_disk is the put's ratio by the disk's.
 *
 * With --recall searches ask for that, of rows as synth.h makes them; each round begins when all are indexed; and the
 * thread puts new rows, --rate a second (20,000; 0: as fast as it can). The backlog is what a search does not find
 * through a graph: rows in memory, in segments without one, and in those too small for one. It is looked at every
 * quarter of a second, and the paused slice ends when half of what the ingest left is done. Once a second a search is
 * done again exactly, in the same snapshot: the recall of the answers. Neither is among the times.
 */
#include "recall.h"

enum { K = 10, PAUSE_US = 2000, MOST = 1 << 20, MOST_ROUNDS = 1000 };
enum kind { IDLE, PAUSED, INGEST, KINDS };

static const char *const kind_name[KINDS] = {"idle", "paused", "ingest"};

static double batch_rows = 1000, recall, rate = 20000;
static uint64_t synth_next; /* the number of the next row */

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

/* Of rounds together, with --recall. `last` has the samples of one slice, in order. */
struct watched {
    struct times backlog, found, last;
    double end;
};

static struct watched watched[KINDS];
static struct times searches, singles, all_searches[KINDS], all_puts[KINDS];
static struct slice slices[KINDS][MOST_ROUNDS];
static struct quantiles disk[2][MOST_ROUNDS];
static double ingested, slope[MOST_ROUNDS]; /* rows a second; of them into the backlog, in a slice's second half */

/* Due when `rows` are to be there; a batch that is late is not waited for. */
static void wait_until_due(const struct ingest *in, double begin)
{
    while (rate > 0 && !atomic_load(&in->stop) && load_interrupted == 0) {
        const double ahead = begin + (double)in->rows / rate - bench_now();
        if (ahead <= 0) return;
        usleep((useconds_t)(1e6 * fmin(ahead, 0.01)) + 1);
    }
}

static void *ingest_new(void *arg)
{
    struct ingest *in = arg;
    const size_t batch = (size_t)batch_rows;
    float *vectors = bench_alloc(batch * load.dim * sizeof *vectors);
    const double begin = bench_now();
    while (!atomic_load(&in->stop) && load_interrupted == 0) {
        synth_rows(synth_next, batch, vectors);
        synth_next += batch;
        const double put_begin = bench_now();
        load_put_vectors(in->collection, vectors, NULL, batch, POMAI_DURABILITY_SYNC);
        in->longest = fmax(in->longest, bench_now() - put_begin);
        in->rows += batch;
        wait_until_due(in, begin);
    }
    in->wall = bench_now() - begin;
    free(vectors);
    return NULL;
}

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

/* Whether flush and compaction have moved since the last look, which is at least a quarter of a second ago. */
static bool is_working(pomai_db *db)
{
    static double last, seen;
    if (bench_now() - last < 0.25) return true;
    const struct load_stats s = load_stats_of(db);
    const double now = s.flushed_bytes + s.compacted_bytes + s.flushes + s.compactions;
    const bool moved = now != seen || bench_now() - last > 1; /* a look of long ago says nothing */
    seen = now;
    last = bench_now();
    return moved;
}

/* What the approximate search of a query finds of the exact one's answer, while neither sees what comes meanwhile. */
static double recall_now(pomai_db *db, pomai_collection *collection, const float *query)
{
    pomai_search_options options = recall_options(recall), exact = POMAI_SEARCH_OPTIONS_INIT;
    pomai_snapshot *snapshot;
    pomai_result *result;
    pomai_error err;
    load_check(pomai_snapshot_open(db, &snapshot, &err), "snapshot", &err);
    options.snapshot = exact.snapshot = snapshot;
    load_check(pomai_search(collection, query, 1, load.dim, K, &exact, &result, &err), "exact search", &err);
    const double tenth = pomai_result_distances(result, 0)[pomai_result_count(result, 0) - 1];
    pomai_result_free(result);
    load_check(pomai_search(collection, query, 1, load.dim, K, &options, &result, &err), "search", &err);
    const double found = recall_of(result, tenth);
    pomai_result_free(result);
    pomai_snapshot_close(snapshot);
    return found;
}

/* Between two probes. False: of the backlog that the ingest left half is done. */
static bool watch(pomai_db *db, pomai_collection *collection, enum kind kind, const float *query)
{
    static double looked_at, compared_at;
    struct watched *w = &watched[kind];
    if (bench_now() - looked_at < 0.25) return true;
    const struct recall_ways ways = recall_ways(collection, query, recall);
    w->end = recall_not_in_graph(&ways);
    note(&w->backlog, w->end);
    note(&w->last, w->end);
    looked_at = bench_now();
    if (looked_at - compared_at >= 1) {
        note(&w->found, recall_now(db, collection, query));
        compared_at = bench_now();
    }
    return kind != PAUSED || w->end > watched[INGEST].end / 2;
}

/* The query and the row of this turn. */
static void choose_vectors(uint64_t turn, float *own, const float **query, const float **row)
{
    *query = load_vectors(turn * 7, 1);
    *row = load_vectors(turn, 1);
    if (recall == 0) return;
    synth_row(synth_queries + 2 * turn, own);
    synth_row(synth_queries + 2 * turn + 1, own + load.dim);
    *query = own;
    *row = own + load.dim;
}

static void probe(pomai_db *db, pomai_collection *collection, enum kind kind)
{
    static uint64_t turn;
    const pomai_search_options options = recall_options(recall);
    const float *query, *row;
    float *own = bench_alloc(2 * load.dim * sizeof *own);
    pomai_error err;
    pomai_result *result;
    const double end = bench_now() + load.seconds;
    searches.n = singles.n = watched[kind].last.n = 0;
    while (bench_now() < end && load_interrupted == 0) {
        choose_vectors(++turn, own, &query, &row);
        if (recall > 0 ? !watch(db, collection, kind, query) : kind == PAUSED && !is_working(db)) break;
        double begin = bench_now();
        load_check(pomai_search(collection, query, 1, load.dim, K, &options, &result, &err), "search", &err);
        note(&searches, bench_now() - begin);
        pomai_result_free(result);
        const uint64_t id = bench_mix(turn) % load.rows;
        begin = bench_now();
        load_put_vectors(collection, row, &id, 1, POMAI_DURABILITY_SYNC);
        note(&singles, bench_now() - begin);
        usleep(PAUSE_US);
    }
    free(own);
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

/* Least squares, through the second half of looks evenly spread over so many seconds. */
static double slope_of(const struct times *t, double seconds)
{
    const size_t from = t->n / 2, n = t->n - from;
    const double middle = (double)from + ((double)n - 1) / 2;
    double sxx = 0, sxy = 0;
    for (size_t i = from; i < t->n; i++) {
        sxx += ((double)i - middle) * ((double)i - middle);
        sxy += ((double)i - middle) * t->value[i];
    }
    return sxx > 0 ? sxy / sxx * (double)t->n / seconds : 0;
}

/* A dozen looks, evenly spread. */
static void print_backlog(const struct times *t)
{
    char text[32];
    printf("         rows not in a graph:");
    for (size_t i = 0; i < 12 && t->n > 0; i++)
        printf(" %s", bench_number(text, t->value[i * (t->n - 1) / 11]));
    printf("\n");
}

/* Everything that waits in the background is done; with --recall every row is indexed, too. */
static void prepare(pomai_db *db)
{
    pomai_error err;
    if (recall > 0) load_check(pomai_build_indexes(db, NULL, &err), "pomai_build_indexes", &err);
    if (!load_settle(db, 60)) printf("  not quiet after a minute\n");
}

static void run_slice(pomai_db *db, pomai_collection *collection, enum kind kind, uint32_t round)
{
    struct ingest in = {.collection = collection};
    if (kind != PAUSED) prepare(db);
    load_leave_if_interrupted();
    const struct load_stats before = load_stats_of(db);
    const double begin = bench_now();
    if (kind == INGEST && pthread_create(&in.thread, NULL, recall > 0 ? ingest_new : ingest_main, &in) != 0)
        load_die("thread", "cannot start");
    probe(db, collection, kind);
    atomic_store(&in.stop, true);
    if (kind == INGEST) pthread_join(in.thread, NULL);
    load_leave_if_interrupted();
    const double wall = bench_now() - begin;
    const struct load_stats after = load_stats_of(db);
    struct slice *s = &slices[kind][round];
    keep(&all_searches[kind], &searches);
    keep(&all_puts[kind], &singles);
    s->search = quantiles_of(&searches);
    s->put = quantiles_of(&singles);
    printf("  %5u  %-6s %5.1f %7zu  %8.2f %8.2f %8.2f  %8.2f %8.2f %8.2f  %9.0f %7.0f %8.0f %7.0f %7.0f %7.0f %8.2f\n",
           round + 1, kind_name[kind], wall, searches.n, 1e3 * s->search.p50, 1e3 * s->search.p99, 1e3 * s->search.p999,
           1e3 * s->put.p50, 1e3 * s->put.p99, 1e3 * s->put.p999, kind == INGEST ? (double)in.rows / in.wall : 0,
           after.flushes - before.flushes, after.compactions - before.compactions, after.stalls - before.stalls,
           after.segments,
           (before.unflushed + before.segment_rows_ended * (double)(load.dim * sizeof(float))) / (1 << 20),
           1e3 * in.longest);
    if (kind == INGEST) slope[round] = slope_of(&watched[INGEST].last, wall);
    if (kind == INGEST) ingested += (double)in.rows / in.wall / load.rounds;
    if (recall > 0) print_backlog(&watched[kind].last);
    fflush(stdout);
}

/* ---- the disk alone ---- */

enum { MOST_STREAMS = 8 };

struct stream {
    pthread_t thread;
    size_t record;
    uint32_t number;
    _Atomic bool *stop;
};

static int open_plain(char path[600], uint32_t number)
{
    char name[32];
    snprintf(name, sizeof name, "plain%u", number);
    load_path(path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || fallocate(fd, 0, 0, 64 << 20) != 0 || fsync(fd) != 0) load_die(path, strerror(errno));
    return fd;
}

/* Into 64 MiB that are allocated and not yet written; when they are full, into others: as a log does it. */
static void write_plain(int fd, size_t record, uint64_t turn)
{
    const uint64_t records = (64 << 20) / record;
    if (turn > 0 && turn % records == 0 && (ftruncate(fd, 0) != 0 || fallocate(fd, 0, 0, 64 << 20) != 0))
        load_die("plain file", strerror(errno));
    if (pwrite(fd, load.pool, record, (off_t)(turn % records * record)) != (ssize_t)record || fdatasync(fd) != 0)
        load_die("plain write", strerror(errno));
}

static void *stream_main(void *arg)
{
    struct stream *s = arg;
    char path[600];
    int fd = open_plain(path, s->number);
    for (uint64_t turn = 0; !atomic_load(s->stop) && load_interrupted == 0; turn++)
        write_plain(fd, s->record, turn);
    close(fd);
    unlink(path);
    return NULL;
}

static struct quantiles probe_disk(uint32_t streams)
{
    struct stream stream[MOST_STREAMS];
    char path[600];
    _Atomic bool stop = false;
    const size_t row = 192 + load.dim * sizeof(float), batch = (size_t)batch_rows * load.dim * sizeof(float);
    int fd = open_plain(path, MOST_STREAMS);
    for (uint32_t i = 0; i < streams; i++) {
        stream[i] = (struct stream){.record = batch / streams + row, .number = i, .stop = &stop};
        if (pthread_create(&stream[i].thread, NULL, stream_main, &stream[i]) != 0) load_die("thread", "cannot start");
    }
    singles.n = 0;
    const double end = bench_now() + load.seconds / 2;
    for (uint64_t turn = 0; bench_now() < end && load_interrupted == 0; turn++) {
        const double begin = bench_now();
        write_plain(fd, row, turn);
        note(&singles, bench_now() - begin);
        usleep(PAUSE_US);
    }
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < streams; i++)
        pthread_join(stream[i].thread, NULL);
    close(fd);
    unlink(path);
    load_leave_if_interrupted();
    return quantiles_of(&singles);
}

static void run_disk(uint32_t round)
{
    uint32_t streams = load.machine.cores < MOST_STREAMS ? load.machine.cores : MOST_STREAMS;
    load_sync_dir();
    disk[0][round] = probe_disk(0);
    disk[1][round] = probe_disk(streams);
    for (int i = 0; i < 2; i++)
        printf("  %5u  %-6s %5s %7s  %8s %8s %8s  %8.2f %8.2f %8.2f\n", round + 1, i == 0 ? "disk" : "busy", "", "", "",
               "", "", 1e3 * disk[i][round].p50, 1e3 * disk[i][round].p99, 1e3 * disk[i][round].p999);
}

/* ---- the answer ---- */

static void report_against(const char *what, bool put, enum kind base, const char *suffix)
{
    static const char *const name[] = {"p50", "p99", "p999"};
    struct times *all = put ? all_puts : all_searches;
    const struct quantiles quiet = quantiles_of(&all[base]), busy = quantiles_of(&all[INGEST]);
    const double pooled[2][3] = {{quiet.p50, quiet.p99, quiet.p999}, {busy.p50, busy.p99, busy.p999}};
    for (int q = 0; q < 3; q++) {
        double ratio[MOST_ROUNDS];
        for (uint32_t r = 0; r < load.rounds; r++) {
            const struct quantiles *a = put ? &slices[base][r].put : &slices[base][r].search;
            const struct quantiles *b = put ? &slices[INGEST][r].put : &slices[INGEST][r].search;
            ratio[r] = q == 0 ? b->p50 / a->p50 : q == 1 ? b->p99 / a->p99 : b->p999 / a->p999;
        }
        struct bench_spread spread = bench_spread_of(ratio, load.rounds);
        spread.median = pooled[1][q] / pooled[0][q]; /* a paused slice alone has too few samples for a tail */
        char figure[64];
        snprintf(figure, sizeof figure, "mixed.%s.%s_%s", what, name[q], suffix);
        printf("  %-27s %6.2fx (rounds: %.2f to %.2f)   %.2f ms %s, %.2f ms while ingesting; %zu and %zu samples\n",
               figure, spread.median, spread.least, spread.most, 1e3 * pooled[0][q], kind_name[base],
               1e3 * pooled[1][q], all[base].n, all[INGEST].n);
        load_figure(figure, spread, "ratio", ", \"%s_ms\": %.4f, \"ingest_ms\": %.4f, \"samples\": %zu",
                    kind_name[base], 1e3 * pooled[0][q], 1e3 * pooled[1][q], all[base].n);
    }
}

static void report(const char *what, bool put)
{
    report_against(what, put, PAUSED, "ratio");
    report_against(what, put, IDLE, "over_idle");
}

static void report_disk(void)
{
    double alone[MOST_ROUNDS], over[MOST_ROUNDS];
    for (uint32_t r = 0; r < load.rounds; r++) {
        alone[r] = disk[1][r].p99 / disk[0][r].p99;
        over[r] = slices[INGEST][r].put.p99 / slices[IDLE][r].put.p99 / alone[r];
    }
    const struct bench_spread a = bench_spread_of(alone, load.rounds), o = bench_spread_of(over, load.rounds);
    printf("  %-24s %5.2fx (%.2f to %.2f)   the disk's own\n  %-24s %5.2fx (%.2f to %.2f)\n", "mixed.disk.p99_ratio",
           a.median, a.least, a.most, "mixed.put.p99_over_disk", o.median, o.least, o.most);
    load_figure("mixed.disk.p99_ratio", a, "ratio", "%s", "");
    load_figure("mixed.put.p99_over_disk", o, "ratio", "%s", "");
}

/* With --recall: of all rounds. */
static void report_watched(void)
{
    const struct bench_spread s = bench_spread_of(slope, load.rounds);
    char least[32], most[32], end[32];
    for (int kind = 0; kind < KINDS; kind++) {
        struct watched *w = &watched[kind];
        double sum = 0;
        for (size_t i = 0; i < w->found.n; i++)
            sum += w->found.value[i] / (double)w->found.n;
        const struct bench_spread b = bench_spread_of(w->backlog.value, w->backlog.n);
        printf("  %-27s recall %.4f of %zu searches; rows not in a graph: median %s, most %s, at the end %s\n",
               kind_name[kind], sum, w->found.n, bench_number(least, b.median), bench_number(most, b.most),
               bench_number(end, w->end));
        char figure[64];
        snprintf(figure, sizeof figure, "mixed.recall.%s", kind_name[kind]);
        load_figure(figure, load_one(sum), "recall", ", \"asked\": %g, \"samples\": %zu", recall, w->found.n);
        snprintf(figure, sizeof figure, "mixed.backlog.%s", kind_name[kind]);
        load_figure(figure, b, "rows", ", \"end\": %.0f", w->end);
    }
    printf("  %-27s %.2f (%.2f to %.2f) of the %s rows/s that came, in the second half of a slice\n",
           "mixed.backlog.growth", s.median / ingested, s.least / ingested, s.most / ingested,
           bench_number(most, ingested));
    load_figure("mixed.backlog.growth",
                (struct bench_spread){s.median / ingested, s.least / ingested, s.most / ingested}, "share",
                ", \"vec_per_s\": %.0f", ingested);
}

static void fill(pomai_db *db, pomai_collection *collection)
{
    pomai_error err;
    float *vectors = bench_alloc(1000 * load.dim * sizeof *vectors);
    for (uint64_t done = 0; done < load.rows; done += 1000) {
        const size_t n = load.rows - done < 1000 ? (size_t)(load.rows - done) : 1000;
        if (recall > 0) {
            synth_rows(synth_next, n, vectors);
            synth_next += n;
        }
        load_put_vectors(collection, recall > 0 ? vectors : load_vectors(done, n), NULL, n, POMAI_DURABILITY_OS);
        load_leave_if_interrupted();
    }
    load_check(pomai_flush(db, &err), "flush", &err);
    free(vectors);
}

int main(int argc, char **argv)
{
    const struct load_option own[] = {
        {"--batch", &batch_rows, NULL}, {"--recall", &recall, NULL}, {"--rate", &rate, NULL}, {NULL, NULL, NULL}};
    load = (struct load){.name = "mixed", .rows = 200000, .dim = 128, .seconds = 10, .rounds = 5};
    load_begin(argc, argv, own);
    if (batch_rows < 1 || batch_rows > LOAD_MOST_BATCH || batch_rows > (double)load.rows || recall >= 1)
        load_usage(own);
    if (recall > 0) {
        load.data = "synth";
        synth_begin(load.dim);
    }
    searches.value = bench_alloc(MOST * sizeof(double));
    singles.value = bench_alloc(MOST * sizeof(double));
    for (int kind = 0; kind < KINDS; kind++) {
        all_searches[kind].value = bench_alloc(MOST * sizeof(double));
        all_puts[kind].value = bench_alloc(MOST * sizeof(double));
        watched[kind].backlog.value = bench_alloc(MOST * sizeof(double));
        watched[kind].found.value = bench_alloc(MOST * sizeof(double));
        watched[kind].last.value = bench_alloc(MOST * sizeof(double));
    }
    pomai_collection *collection;
    pomai_db *db = load_open("db", POMAI_DURABILITY_SYNC, &collection);
    fill(db, collection);
    printf("%llu rows; slices of %.0f s; times in ms\n", (unsigned long long)load.rows, load.seconds);
    printf("  %5s  %-6s %5s %7s  %8s %8s %8s  %8s %8s %8s  %9s %7s %8s %7s %7s %7s %8s\n", "round", "", "s", "probes",
           "search50", "99", "99.9", "put 50", "99", "99.9", "ingest/s", "flushes", "compact.", "stalls", "segm.",
           "MB todo", "longest");
    for (uint32_t r = 0; r < load.rounds; r++) {
        if (r % 2 == 0) run_slice(db, collection, IDLE, r);
        run_slice(db, collection, INGEST, r);
        run_slice(db, collection, PAUSED, r);
        if (r % 2 == 1) run_slice(db, collection, IDLE, r);
        prepare(db);
        run_disk(r);
    }
    report("search", false);
    report("put", true);
    if (recall > 0) report_watched();
    report_disk();
    load_close(db, collection);
    load_end();
    return 0;
}
