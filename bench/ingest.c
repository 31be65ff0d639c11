/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable puts beside the disk.
 *     ./dev bench ingest [--json FILE] [--seconds-a-point S] [--dir D] [--rounds N]
 *                        [--only batch=1000,dim=128,level=sync,threads=4,ids=random]
 * For every level, dimension and batch size: rounds, in each of which every way to put and every way to write runs for
 * a short slice. A way to put starts from an empty database. A way to write is a plain pwrite, and fdatasync at level
 * sync, of as many bytes as the log record of one batch, by one stream or by as many as the database has shards, into
 * a file that grows or one that was allocated with fallocate. disk_share is the median over the rounds of
 * (rows put / rows that one stream of the better kind of file wrote) in the same round.
 */
#include "ingest/long.h"

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pomai/pomai.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>

enum {
    MAX_ROUNDS = 99,
    MAX_CLIENTS = 4,
    MAX_STREAMS = 8,
    IN_FLIGHT = 4,
    MAX_SLICES = 16,
    FLOORS = 4,
    POOL_BYTES = 64 << 20,
    LEAST_POOL = 32 << 20,
    SYNC_BYTES = 1 << 30, /* most bytes of one slice */
    OS_BYTES = 512 << 20,
    LEAST_BATCHES = 8, /* of one slice, whatever their size */
};

enum ids { ASSIGNED, SEQUENTIAL, RANDOM };
static const char *const ids_name[] = {"assigned", "sequential", "random"};

/* What one group of slices has in common. */
struct shape {
    pomai_durability level;
    size_t batch, dim;
    size_t vector_bytes; /* of a batch */
    size_t record_bytes; /* of its log record, when its ids are consecutive */
    size_t most_batches; /* of a slice */
};

struct sample {
    double wall, rows, bytes;
    double cpu_user, cpu_system;
    double commit_seconds; /* estimated from the median commit */
    double commits, records;
    double put_p50, commit_p50;
    double stall; /* share of the time in puts that is beyond four times the median put */
};

/* A way to put (streams is 0) or to write. */
struct slice {
    uint32_t clients, in_flight;
    enum ids ids;
    uint32_t streams;
    bool allocated;
    struct sample sample[MAX_ROUNDS];
};

struct settings {
    const char *json_path, *only;
    char dir[512];
    double seconds;
    uint32_t rounds, shards;
};

static struct settings settings = {.seconds = 0.9, .rounds = 3};
static struct bench_machine machine;
static FILE *json;
static float *pool; /* the vectors, made before anything is timed */
static volatile sig_atomic_t interrupted;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "ingest: %s: %s\n", what, why);
    exit(1);
}

static void clean_up(void)
{
    if (settings.dir[0] != '\0') bench_remove_tree(settings.dir);
}

static void on_signal(int number)
{
    interrupted = number;
}

static const char *level_name(pomai_durability level)
{
    return level == POMAI_DURABILITY_SYNC ? "sync" : "os";
}

static void path_in_dir(char *path, size_t size, const char *name, unsigned number)
{
    snprintf(path, size, "%s/%s%u", settings.dir, name, number);
}

/* The journal's work for what was removed is done before the next slice begins. */
static void settle(void)
{
    int fd = open(settings.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) die(settings.dir, strerror(errno));
    close(fd);
}

static size_t round_up(size_t n)
{
    return (n + 63) / 64 * 64;
}

static struct shape make_shape(pomai_durability level, size_t batch, size_t dim)
{
    struct shape s = {.level = level, .batch = batch, .dim = dim, .vector_bytes = batch * dim * sizeof(float)};
    /* docs/format/wal.md: header, consecutive ids as one number, vectors. */
    s.record_bytes = 128 + round_up(sizeof(uint64_t)) + round_up(s.vector_bytes);
    size_t most = level == POMAI_DURABILITY_SYNC ? SYNC_BYTES : OS_BYTES;
    s.most_batches = most / s.record_bytes > LEAST_BATCHES ? most / s.record_bytes : LEAST_BATCHES;
    return s;
}

/* Walks the pool, so that neither puts nor plain writes find their bytes in the nearest cache. */
static float *vectors_of(const struct shape *shape, size_t number)
{
    size_t batches = LEAST_POOL / shape->vector_bytes;
    return pool + number % (batches > 0 ? batches : 1) * (shape->vector_bytes / sizeof(float));
}

/* ---- statistics ---- */

struct counters {
    double commits, records, log_bytes, commit_seconds, commit_p50;
    struct rusage usage;
};

static double field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtod(at + strlen(name), NULL) : 0;
}

/* commits x the median commit: the sum itself is not to be had. */
static struct counters read_counters(pomai_db *db)
{
    struct counters c = {0};
    pomai_error err;
    char *text;
    if (pomai_stats(db, &text, &err) != POMAI_OK) die("stats", err.message);
    const char *at = strstr(text, "\"shards\"");
    while (at != NULL && (at = strstr(at, "{\"shard\":")) != NULL) {
        double commits = field(at, "\"commits\": ");
        /* The bound of a bucket a quarter octave wide: its middle is about 8% below. */
        double p50 = field(at, "\"commit_p50_ns\": ") * 0.92e-9;
        c.commits += commits;
        c.records += field(at, "\"records\": ");
        c.log_bytes += field(at, "\"log_bytes\": ");
        c.commit_seconds += commits * p50;
        if (commits > 0 && p50 > c.commit_p50) c.commit_p50 = p50;
        at++;
    }
    pomai_free(text);
    getrusage(RUSAGE_SELF, &c.usage);
    return c;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

/* ---- puts ---- */

struct run {
    const struct shape *shape;
    const struct slice *slice;
    pomai_collection *collection;
    const uint64_t *ids;
    double *latency; /* of each batch, by its number */
    size_t most;
    double deadline;
    _Atomic size_t next; /* batch */
    pthread_barrier_t barrier;
};

struct client {
    struct run *run;
    pthread_t thread;
    size_t batches;
    double end;
};

static pomai_batch batch_of(const struct run *run, size_t number)
{
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = run->shape->batch;
    batch.dim = run->shape->dim;
    batch.vectors = vectors_of(run->shape, number);
    if (run->ids != NULL) batch.u64_ids = run->ids + number * run->shape->batch;
    return batch;
}

static bool next_batch(struct run *run, size_t *number)
{
    if (interrupted != 0 || bench_now() >= run->deadline) return false;
    *number = atomic_fetch_add(&run->next, 1);
    return *number < run->most;
}

static void put_number(struct run *run, size_t number)
{
    pomai_error err;
    pomai_batch batch = batch_of(run, number);
    double begin = bench_now();
    if (pomai_put(run->collection, &batch, NULL, NULL, &err) != POMAI_OK) die("put", err.message);
    run->latency[number] = bench_now() - begin;
}

static void put_one_by_one(struct client *client)
{
    for (size_t number; next_batch(client->run, &number); client->batches++)
        put_number(client->run, number);
}

struct flight {
    pomai_ticket *ticket;
    size_t number;
    double begin;
};

static void land(struct client *client, struct flight *flight)
{
    pomai_error err;
    if (flight->ticket == NULL) return;
    if (pomai_wait(flight->ticket, UINT64_MAX, NULL, &err) != POMAI_OK) die("wait", err.message);
    client->run->latency[flight->number] = bench_now() - flight->begin;
    pomai_ticket_free(flight->ticket);
    flight->ticket = NULL;
    client->batches++;
}

static void put_in_flight(struct client *client)
{
    struct flight flight[IN_FLIGHT] = {{0}};
    pomai_error err;
    size_t number, turn = 0;
    while (next_batch(client->run, &number)) {
        struct flight *f = &flight[turn++ % IN_FLIGHT];
        land(client, f);
        pomai_batch batch = batch_of(client->run, number);
        f->number = number;
        f->begin = bench_now();
        if (pomai_put_async(client->run->collection, &batch, NULL, &f->ticket, &err) != POMAI_OK)
            die("put", err.message);
    }
    for (size_t i = 0; i < IN_FLIGHT; i++)
        land(client, &flight[turn++ % IN_FLIGHT]);
}

static void *client_main(void *arg)
{
    struct client *client = arg;
    struct run *run = client->run;
    put_number(run, atomic_fetch_add(&run->next, 1)); /* not counted: begins the log, wakes the threads */
    pthread_barrier_wait(&run->barrier);
    pthread_barrier_wait(&run->barrier);
    if (run->slice->in_flight > 1)
        put_in_flight(client);
    else
        put_one_by_one(client);
    client->end = bench_now();
    return NULL;
}

static void note_latencies(struct sample *sample, double *latency, size_t count)
{
    double all = 0, beyond = 0;
    sample->put_p50 = bench_spread_of(latency, count).median;
    for (size_t i = 0; i < count; i++) {
        all += latency[i];
        if (latency[i] > 4 * sample->put_p50) beyond += latency[i] - 4 * sample->put_p50;
    }
    sample->stall = all > 0 ? beyond / all : 0;
}

static void run_clients(struct run *run, pomai_db *db, struct sample *sample)
{
    struct client client[MAX_CLIENTS] = {{0}};
    const uint32_t clients = run->slice->clients;
    pthread_barrier_init(&run->barrier, NULL, clients + 1);
    for (uint32_t i = 0; i < clients; i++) {
        client[i].run = run;
        if (pthread_create(&client[i].thread, NULL, client_main, &client[i]) != 0) die("thread", "cannot start");
    }
    pthread_barrier_wait(&run->barrier);
    struct counters before = read_counters(db);
    size_t first = atomic_load(&run->next);
    double begin = bench_now(), end = begin;
    run->deadline = begin + settings.seconds / settings.rounds;
    pthread_barrier_wait(&run->barrier);
    for (uint32_t i = 0; i < clients; i++) {
        pthread_join(client[i].thread, NULL);
        sample->rows += (double)(client[i].batches * run->shape->batch);
        if (client[i].end > end) end = client[i].end;
    }
    struct counters after = read_counters(db);
    pthread_barrier_destroy(&run->barrier);
    size_t last = atomic_load(&run->next) < run->most ? atomic_load(&run->next) : run->most;
    sample->wall = end - begin;
    note_latencies(sample, run->latency + first, last - first);
    sample->cpu_user = seconds_of(after.usage.ru_utime) - seconds_of(before.usage.ru_utime);
    sample->cpu_system = seconds_of(after.usage.ru_stime) - seconds_of(before.usage.ru_stime);
    sample->bytes = after.log_bytes - before.log_bytes;
    sample->records = after.records - before.records;
    sample->commits = after.commits - before.commits;
    sample->commit_p50 = after.commit_p50;
    if (after.commits > 0) sample->commit_seconds = after.commit_seconds * sample->commits / after.commits;
}

static uint64_t *make_ids(enum ids kind, size_t count)
{
    if (kind == ASSIGNED) return NULL;
    uint64_t *ids = bench_alloc(count * sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = kind == SEQUENTIAL ? i + 1 : bench_mix(i);
    return ids;
}

static void run_puts(const struct shape *shape, struct slice *slice, struct sample *sample)
{
    char path[600];
    pomai_db *db;
    pomai_error err;
    pomai_open_options open_options = POMAI_OPEN_OPTIONS_INIT;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    struct run run = {.shape = shape, .slice = slice, .most = shape->most_batches + slice->clients};
    uint64_t *ids = make_ids(slice->ids, run.most * shape->batch);
    run.ids = ids;
    run.latency = bench_alloc(run.most * sizeof *run.latency);
    path_in_dir(path, sizeof path, "db", 0);
    open_options.shards = settings.shards;
    open_options.durability = shape->level;
    if (pomai_open(path, &open_options, &db, &err) != POMAI_OK) die("open", err.message);
    options.dim = shape->dim;
    if (pomai_collection_create(db, "ingest", &options, &run.collection, &err) != POMAI_OK) die("create", err.message);
    run_clients(&run, db, sample);
    pomai_collection_close(run.collection);
    if (pomai_close(db, &err) != POMAI_OK) die("close", err.message);
    bench_remove_tree(path);
    settle();
    free(run.latency);
    free(ids);
}

/* ---- plain writes ---- */

struct stream {
    const struct shape *shape;
    pthread_t thread;
    pthread_barrier_t *barrier;
    const double *deadline;
    int fd;
    size_t most, first, writes;
    double end;
};

static void write_record(const struct stream *s, size_t number)
{
    const char *from = (const char *)vectors_of(s->shape, s->first + number);
    size_t size = s->shape->record_bytes, done = 0;
    while (done < size) {
        ssize_t n = pwrite(s->fd, from + done, size - done, (off_t)(number * size + done));
        if (n < 0) die("pwrite", strerror(errno));
        done += (size_t)n;
    }
    if (s->shape->level == POMAI_DURABILITY_SYNC && fdatasync(s->fd) != 0) die("fdatasync", strerror(errno));
}

static void *stream_main(void *arg)
{
    struct stream *s = arg;
    write_record(s, 0); /* not counted */
    pthread_barrier_wait(s->barrier);
    pthread_barrier_wait(s->barrier);
    while (s->writes < s->most && interrupted == 0 && bench_now() < *s->deadline)
        write_record(s, ++s->writes);
    s->end = bench_now();
    return NULL;
}

static void open_stream(struct stream *s, const struct slice *slice, unsigned number)
{
    char path[600];
    path_in_dir(path, sizeof path, "plain", number);
    s->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (s->fd < 0) die(path, strerror(errno));
    if (slice->allocated && fallocate(s->fd, 0, 0, (off_t)((s->most + 1) * s->shape->record_bytes)) != 0)
        die("fallocate", strerror(errno));
    if (fsync(s->fd) != 0) die("fsync", strerror(errno));
}

static void run_writes(const struct shape *shape, struct slice *slice, struct sample *sample)
{
    struct stream stream[MAX_STREAMS];
    pthread_barrier_t barrier;
    double deadline = 0;
    pthread_barrier_init(&barrier, NULL, slice->streams + 1);
    for (uint32_t i = 0; i < slice->streams; i++) {
        stream[i] = (struct stream){.shape = shape, .barrier = &barrier, .deadline = &deadline};
        stream[i].most = (shape->most_batches + slice->streams - 1) / slice->streams;
        stream[i].first = i * stream[i].most;
        open_stream(&stream[i], slice, i);
        if (pthread_create(&stream[i].thread, NULL, stream_main, &stream[i]) != 0) die("thread", "cannot start");
    }
    pthread_barrier_wait(&barrier);
    double begin = bench_now(), end = begin;
    deadline = begin + settings.seconds / settings.rounds;
    pthread_barrier_wait(&barrier);
    for (uint32_t i = 0; i < slice->streams; i++) {
        char path[600];
        pthread_join(stream[i].thread, NULL);
        close(stream[i].fd);
        path_in_dir(path, sizeof path, "plain", i);
        unlink(path);
        sample->rows += (double)(stream[i].writes * shape->batch);
        sample->bytes += (double)(stream[i].writes * shape->record_bytes);
        if (stream[i].end > end) end = stream[i].end;
    }
    sample->wall = end - begin;
    pthread_barrier_destroy(&barrier);
    settle();
}

/* ---- figures ---- */

static double rate(const struct slice *slice, uint32_t round)
{
    const struct sample *s = &slice->sample[round];
    return s->wall > 0 ? s->rows / s->wall : 0;
}

static struct bench_spread rates(const struct slice *slice)
{
    double value[MAX_ROUNDS];
    for (uint32_t r = 0; r < settings.rounds; r++)
        value[r] = rate(slice, r);
    return bench_spread_of(value, settings.rounds);
}

static struct bench_spread shares(const struct slice *slice, const struct slice *floor)
{
    double value[MAX_ROUNDS];
    for (uint32_t r = 0; r < settings.rounds; r++)
        value[r] = rate(floor, r) > 0 ? rate(slice, r) / rate(floor, r) : 0;
    return bench_spread_of(value, settings.rounds);
}

/* Sums over the rounds: what the slice did, in all its wall time. */
static struct sample sum_of(const struct slice *slice)
{
    struct sample sum = {0};
    double put[MAX_ROUNDS], commit[MAX_ROUNDS], stall[MAX_ROUNDS];
    for (uint32_t r = 0; r < settings.rounds; r++) {
        const struct sample *s = &slice->sample[r];
        sum.wall += s->wall;
        sum.rows += s->rows;
        sum.bytes += s->bytes;
        sum.cpu_user += s->cpu_user;
        sum.cpu_system += s->cpu_system;
        sum.commit_seconds += s->commit_seconds;
        sum.commits += s->commits;
        sum.records += s->records;
        put[r] = s->put_p50;
        commit[r] = s->commit_p50;
        stall[r] = s->stall;
    }
    sum.put_p50 = bench_spread_of(put, settings.rounds).median;
    sum.commit_p50 = bench_spread_of(commit, settings.rounds).median;
    sum.stall = bench_spread_of(stall, settings.rounds).median;
    return sum;
}

/* The better of the two kinds of file. */
static const struct slice *better(const struct slice *slices, size_t count, uint32_t streams)
{
    const struct slice *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (slices[i].streams != streams) continue;
        if (best == NULL || rates(&slices[i]).median > rates(best).median) best = &slices[i];
    }
    return best;
}

/*
 * disk: it runs near the plain writes' rate, or log commits take most of the time. disk (new files): the cores are
 * mostly idle and the time is in few long puts, or in all of them if they are large: they wait until a full log file is
 * synced and the next is made. No hand-over between threads takes a millisecond.
 * cpu: the cores that it can use are mostly busy; "kernel" if mostly in system calls, which at level os is the copy
 * into the page cache. latency: none of these; time goes into handing work from thread to thread and waking up, or to
 * whatever else the machine is doing.
 */
static const char *bound_of(const struct shape *shape, const struct slice *slice, const struct sample *sum,
                            double share)
{
    double cores = slice->clients * slice->in_flight > 1 ? machine.cores : 1;
    double busy = (sum->cpu_user + sum->cpu_system) / sum->wall / cores;
    bool in_commits = sum->commit_seconds / sum->wall >= 0.5;
    if (share >= 0.8 || (in_commits && shape->level == POMAI_DURABILITY_SYNC)) return "disk";
    if (busy >= 0.5) return sum->cpu_system > sum->cpu_user ? "cpu (kernel)" : "cpu";
    if (sum->stall >= 0.3 || (1 - busy) * sum->put_p50 > 1e-3) return "disk (new files)";
    return in_commits ? "disk" : "latency";
}

static void threads_name(char text[24], const struct slice *slice)
{
    if (slice->in_flight > 1)
        snprintf(text, 24, "async %u", slice->in_flight);
    else
        snprintf(text, 24, "%u", slice->clients);
}

static void write_figure(const struct shape *shape, const struct slice *slice, const char *name, const char *unit,
                         struct bench_spread value, const char *bound)
{
    if (json == NULL) return;
    struct sample sum = sum_of(slice);
    fprintf(json,
            "{\"figure\": \"ingest.%s.b%zu.d%zu.%s\", \"value\": %.6g, \"unit\": \"%s\", \"least\": %.6g, "
            "\"most\": %.6g, \"rounds\": %u, \"data\": \"random\", \"n\": %.0f, \"dim\": %zu, \"threads\": %u, "
            "\"in_flight\": %u, \"ids\": \"%s\", \"streams\": %u, \"bytes_per_s\": %.6g, ",
            level_name(shape->level), shape->batch, shape->dim, name, value.median, unit, value.least, value.most,
            settings.rounds, sum.rows, shape->dim, slice->clients, slice->in_flight,
            slice->streams > 0 ? "none" : ids_name[slice->ids], slice->streams, sum.bytes / sum.wall);
    if (slice->streams == 0)
        fprintf(json,
                "\"bound\": \"%s\", \"cpu_user_share\": %.4f, \"cpu_system_share\": %.4f, \"commit_share\": %.4f, "
                "\"commit_p50_us\": %.1f, \"put_p50_us\": %.1f, \"stall_share\": %.4f, \"records_a_commit\": %.3f, ",
                bound, sum.cpu_user / sum.wall, sum.cpu_system / sum.wall, sum.commit_seconds / sum.wall,
                sum.commit_p50 * 1e6, sum.put_p50 * 1e6, sum.stall, sum.commits > 0 ? sum.records / sum.commits : 0);
    else
        fprintf(json, "\"file\": \"%s\", ", slice->allocated ? "fallocate" : "growing");
    fprintf(json,
            "\"machine\": \"%s, %u cores\", \"kernel\": \"%s\", \"file_system\": \"%s\", \"shards\": %u, "
            "\"commit\": \"%s\"}\n",
            machine.cpu, machine.cores, machine.kernel, machine.file_system, settings.shards, machine.commit);
}

static void report_floor(const struct shape *shape, const struct slice *slice, const struct slice *best)
{
    char number[32], name[64];
    struct bench_spread r = rates(slice);
    double bytes = (double)shape->record_bytes / (double)shape->batch;
    printf("  disk, %u stream%s %-9s %11s rows/s  %6.0f MB/s  (%.0f to %.0f)%s\n", slice->streams,
           slice->streams == 1 ? ", " : "s,", slice->allocated ? "fallocate" : "growing",
           bench_number(number, r.median), r.median * bytes / 1e6, r.least * bytes / 1e6, r.most * bytes / 1e6,
           slice == best ? "  <- 100%" : "");
    snprintf(name, sizeof name, "floor_%s_%u", slice->allocated ? "fallocate" : "growing", slice->streams);
    write_figure(shape, slice, name, "vec/s", r, "");
}

static void report_puts(const struct shape *shape, const struct slice *slice, const struct slice *slices, size_t count)
{
    char number[32], threads[24], parallel[24] = "";
    const struct slice *one = better(slices, count, 1);
    const struct slice *many = slice->clients * slice->in_flight > 1 ? better(slices, count, settings.shards) : NULL;
    struct bench_spread r = rates(slice), share = shares(slice, one);
    struct sample sum = sum_of(slice);
    const char *bound = bound_of(shape, slice, &sum, share.median);
    threads_name(threads, slice);
    write_figure(shape, slice, "vec_per_s", "vec/s", r, bound);
    write_figure(shape, slice, "disk_share", "ratio", share, bound);
    if (many != NULL && many != one) {
        struct bench_spread p = shares(slice, many);
        snprintf(parallel, sizeof parallel, "%.0f%%", p.median * 100);
        write_figure(shape, slice, "disk_share_parallel", "ratio", p, bound);
    }
    printf(
        "  %-8s %-11s %11s %5.0f  %4.0f%% (%.0f to %.0f)\t%6s %8.0f %8.0f %5.1f %5.0f%% %4.0f%% %5.0f%% %5.0f%%  %s\n",
        threads, ids_name[slice->ids], bench_number(number, r.median), sum.bytes / sum.wall / 1e6, share.median * 100,
        share.least * 100, share.most * 100, parallel, sum.put_p50 * 1e6, sum.commit_p50 * 1e6,
        sum.commits > 0 ? sum.records / sum.commits : 0, 100 * sum.cpu_user / sum.wall, 100 * sum.cpu_system / sum.wall,
        100 * sum.commit_seconds / sum.wall, 100 * sum.stall, bound);
}

static void report(const struct shape *shape, const struct slice *slices, size_t count)
{
    char rows[32], bytes[32];
    printf("\n%s, %s rows x %zud a batch: a record of %s bytes\n", level_name(shape->level),
           bench_number(rows, (double)shape->batch), shape->dim, bench_number(bytes, (double)shape->record_bytes));
    for (size_t i = 0; i < count; i++)
        if (slices[i].streams > 0) report_floor(shape, &slices[i], better(slices, count, 1));
    printf("  %-8s %-11s %11s %5s  %s\t%6s %8s %8s %5s %6s %5s %6s %6s  %s\n", "threads", "ids", "vec/s", "MB/s",
           "of disk (spread)", "par.", "put us", "commit", "recs", "user", "sys", "commit", "stall", "bound by");
    for (size_t i = 0; i < count; i++)
        if (slices[i].streams == 0) report_puts(shape, &slices[i], slices, count);
    fflush(stdout);
}

/* ---- choosing ---- */

/* Whether --only lets key=value through: nothing is said about the key, or this value is among those named. */
static bool chosen(const char *key, const char *value)
{
    bool named = false;
    size_t key_size = strlen(key);
    for (const char *at = settings.only; at != NULL && *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size > key_size && strncmp(at, key, key_size) == 0 && at[key_size] == '=') {
            named = true;
            if (size - key_size - 1 == strlen(value) && strncmp(at + key_size + 1, value, strlen(value)) == 0)
                return true;
        }
        at += size + (at[size] == ',');
    }
    return !named;
}

static bool chosen_number(const char *key, size_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%zu", value);
    return chosen(key, text);
}

static void add_puts(struct slice *slices, size_t *count, uint32_t clients, uint32_t in_flight)
{
    for (int ids = ASSIGNED; ids <= RANDOM; ids++) {
        if (in_flight > 1 && ids != ASSIGNED) continue;
        if (!chosen("ids", ids_name[ids])) continue;
        slices[*count] = (struct slice){.clients = clients, .in_flight = in_flight, .ids = (enum ids)ids};
        ++*count;
    }
}

/* Plain writes first. */
static size_t choose_slices(struct slice *slices)
{
    size_t count = FLOORS;
    if (chosen("threads", "1")) add_puts(slices, &count, 1, 1);
    size_t with_one = count;
    if (chosen("threads", "4")) add_puts(slices, &count, MAX_CLIENTS, 1);
    if (chosen("threads", "async")) add_puts(slices, &count, 1, IN_FLIGHT);
    if (count == FLOORS) return 0;
    size_t floors = count > with_one && settings.shards > 1 ? 4 : 2;
    for (size_t i = 0; i < floors; i++)
        slices[i] = (struct slice){.streams = i < 2 ? 1 : settings.shards, .allocated = i % 2 == 1};
    memmove(slices + floors, slices + FLOORS, (count - FLOORS) * sizeof *slices);
    return count - FLOORS + floors;
}

/* Every round begins at another slice, so that none always follows the same one or lies farthest from the floor. */
static void measure(const struct shape *shape)
{
    static struct slice slices[MAX_SLICES];
    size_t count = choose_slices(slices);
    if (count == 0) return;
    for (uint32_t round = 0; round < settings.rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            struct slice *slice = &slices[(i + round * 4) % count];
            if (slice->streams > 0)
                run_writes(shape, slice, &slice->sample[round]);
            else
                run_puts(shape, slice, &slice->sample[round]);
            if (interrupted != 0) exit(128 + interrupted);
        }
    }
    report(shape, slices, count);
}

static void measure_all(void)
{
    static const size_t batches[] = {1, 10, 100, 1000, 10000}, dims[] = {128, 768};
    static const pomai_durability levels[] = {POMAI_DURABILITY_SYNC, POMAI_DURABILITY_OS};
    for (size_t l = 0; l < 2; l++)
        for (size_t d = 0; d < 2; d++)
            for (size_t b = 0; b < 5; b++) {
                if (!chosen("level", level_name(levels[l])) || !chosen_number("dim", dims[d]) ||
                    !chosen_number("batch", batches[b]))
                    continue;
                struct shape shape = make_shape(levels[l], batches[b], dims[d]);
                measure(&shape);
            }
}

/* ---- main ---- */

static void usage(void)
{
    fprintf(stderr, "usage: ./dev bench ingest [--json FILE] [--seconds-a-point S] [--dir D] [--rounds N]\n"
                    "                          [--only KEY=VALUE,...]\n"
                    "       ./dev bench ingest --sustained SECONDS | --existing ROWS [--help]\n"
                    "keys: batch (1 10 100 1000 10000), dim (128 768), level (sync os), threads (1 4 async),\n"
                    "      ids (assigned sequential random); a key may be given several times\n");
    exit(2);
}

static void check_only(void)
{
    static const char *const known[] = {"batch=", "dim=", "level=", "threads=", "ids="};
    for (const char *at = settings.only; at != NULL && *at != '\0';) {
        bool good = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            good |= strncmp(at, known[i], strlen(known[i])) == 0;
        if (!good) usage();
        at += strcspn(at, ",");
        at += *at == ',';
    }
}

static const char *parse(int argc, char **argv)
{
    struct stat st;
    const char *dir = stat("build", &st) == 0 && S_ISDIR(st.st_mode) ? "build" : ".";
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL) usage();
        if (strcmp(argv[i], "--json") == 0)
            settings.json_path = value;
        else if (strcmp(argv[i], "--seconds-a-point") == 0)
            settings.seconds = strtod(value, NULL);
        else if (strcmp(argv[i], "--dir") == 0)
            dir = value;
        else if (strcmp(argv[i], "--only") == 0)
            settings.only = value;
        else if (strcmp(argv[i], "--rounds") == 0)
            settings.rounds = (uint32_t)strtoul(value, NULL, 10);
        else
            usage();
    }
    if (!(settings.seconds > 0) || settings.rounds < 1 || settings.rounds > MAX_ROUNDS) usage();
    check_only();
    return dir;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--sustained") == 0) return ingest_sustained(argc, argv);
        if (strcmp(argv[i], "--existing") == 0) return ingest_existing(argc, argv);
    }
    const char *parent = parse(argc, argv);
    char template[500];
    snprintf(template, sizeof template, "%s/bench-ingest.XXXXXX", parent);
    if (mkdtemp(template) == NULL) die(parent, strerror(errno));
    snprintf(settings.dir, sizeof settings.dir, "%s", template);
    atexit(clean_up);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (settings.json_path != NULL) {
        json = strcmp(settings.json_path, "-") == 0 ? stdout : fopen(settings.json_path, "w");
        if (json == NULL) die(settings.json_path, strerror(errno));
    }
    bench_machine_get(&machine, settings.dir);
    settings.shards = machine.cores < MAX_STREAMS ? machine.cores : MAX_STREAMS;
    pool = bench_alloc(POOL_BYTES);
    for (size_t i = 0; i < POOL_BYTES / sizeof *pool; i++)
        pool[i] = (float)(bench_mix(i) >> 40) * 0x1p-23f - 1;

    double begin = bench_now();
    printf("ingest: %s, %u cores, %s, %s, commit %s, %u shards, %u rounds of %.0f ms a slice\n", machine.cpu,
           machine.cores, machine.kernel, machine.file_system, machine.commit, settings.shards, settings.rounds,
           1000 * settings.seconds / settings.rounds);
    printf(
        "of disk: rows put / rows that plain writes of one record each would store, one stream, better file; par.:\n"
        "as many streams as shards; put, commit: median us; recs: records a commit; user, sys, commit: in percent of "
        "wall\n"
        "time (commits: estimated from the median, all shards added up); stall: share of the puts' time beyond four\n"
        "times the median put\n");
    measure_all();
    printf("\n%.0f s\n", bench_now() - begin);
    if (json != NULL && json != stdout && fclose(json) != 0) die(settings.json_path, strerror(errno));
    return 0;
}
