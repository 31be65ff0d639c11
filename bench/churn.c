/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a database takes on disk and in memory while its rows are replaced and deleted again and again.
 *     ./dev bench churn [--rows N] [--dim N] [--passes N] [--deleted PERCENT] [--recall R] [--queries N] [--csv FILE]
 *                       [--svg FILE] ...
 * --rows rows; then --passes passes (10), in each of which every row is put anew, in another random order, in batches
 * of 1,000, and then --deleted percent of the ids (30), chosen at random, are deleted; the next pass puts them again.
 * Every second a sample: blocks that the directory takes, resident memory (anonymous, and with mapped files), live
 * rows, segments, rows of segments that nobody sees. Then until the background is quiet, and after pomai_compact; and
 * the same for a database into which just the rows that live in the end were put.
 *
 * With --recall the rows are those of synth.h, each put with another vector; rows are deleted only after the last pass
 * (50%); and nothing is compacted: the background is given time for indexes, not asked for them. Then recall@10 of
 * searches with this recall, right behind the last write and quiet, and of the fresh load, whose true neighbours must
 * be the same; of both with the same ef; and queries a second of one thread of both, opened again, in turn, --rounds
 * slices of --seconds.
 */
#include "plot.h"
#include "recall.h"

enum { BATCH = 1000, MOST_SAMPLES = 100000, MOST_ROUNDS = 1000 };

struct sample {
    double at, disk, anonymous, resident, rows, segments, dead;
    uint32_t pass;
};

enum { EFFORTS = 3 };
static const uint32_t efforts[EFFORTS] = {32, 64, 128};

/* What searches with --recall find, and go through. */
struct searched {
    double recall;
    double same_effort[EFFORTS]; /* with each ef */
    struct recall_ways ways;
};

static double passes = 10, deleted = -1, recall, queries = 1000;
static struct recall_truth truth;
static const char *csv_path = "build/churn.csv", *svg_path;
static struct sample samples[MOST_SAMPLES];
static size_t sample_count;
static _Atomic bool stop;
static _Atomic uint32_t pass_now;
static pomai_db *sampled;
static double begun;

/* ---- samples ---- */

static struct sample take_sample(pomai_db *db, const char *name)
{
    const struct load_stats stats = load_stats_of(db);
    struct sample s = {.at = bench_now() - begun, .pass = atomic_load(&pass_now)};
    const struct load_memory memory = load_memory_now();
    s.disk = load_disk_bytes(name);
    s.anonymous = memory.anonymous - LOAD_POOL; /* our own */
    s.resident = memory.resident - LOAD_POOL;
    s.rows = stats.rows;
    s.segments = stats.segments;
    s.dead = stats.segment_rows > 0 ? stats.segment_rows_ended / stats.segment_rows : 0;
    return s;
}

static void *sampler_main(void *arg)
{
    (void)arg;
    for (double next = 0; !atomic_load(&stop); next += 1) {
        while (bench_now() - begun < next && !atomic_load(&stop))
            usleep(20 * 1000);
        if (sample_count < MOST_SAMPLES) samples[sample_count++] = take_sample(sampled, "db");
    }
    return NULL;
}

/* ---- work ---- */

static bool lives(uint64_t id, uint32_t pass)
{
    return (double)(bench_mix(id ^ (uint64_t)pass << 40) % 10000) >= deleted * 100;
}

static void put_batch(pomai_collection *collection, uint64_t number, const uint64_t *ids, size_t n, uint32_t pass)
{
    static float *vectors;
    if (recall == 0) {
        load_put(collection, number, ids, n, POMAI_DURABILITY_SYNC);
        return;
    }
    if (vectors == NULL) vectors = bench_alloc(BATCH * load.dim * sizeof *vectors);
    for (size_t i = 0; i < n; i++)
        synth_row(pass * load.rows + ids[i], vectors + i * load.dim);
    load_put_vectors(collection, vectors, ids, n, POMAI_DURABILITY_SYNC);
}

/* Ids in the order of this pass, as far as `only_living` lets them through. */
static void put_all(pomai_collection *collection, uint32_t pass, bool only_living)
{
    uint64_t ids[BATCH];
    size_t n = 0;
    for (uint64_t i = 0; i < load.rows && load_interrupted == 0; i++) {
        const uint64_t id = load_shuffle(i, load.rows, pass);
        if (!only_living || lives(id, pass)) ids[n++] = id;
        if (n == BATCH || (n > 0 && i + 1 == load.rows)) {
            put_batch(collection, i, ids, n, pass);
            n = 0;
        }
    }
}

static void delete_some(pomai_collection *collection, uint32_t pass)
{
    uint64_t ids[BATCH];
    size_t n = 0;
    pomai_error err;
    for (uint64_t i = 0; i < load.rows && load_interrupted == 0; i++) {
        const uint64_t id = load_shuffle(i, load.rows, pass + 1000);
        if (!lives(id, pass)) ids[n++] = id;
        if (n == BATCH || (n > 0 && i + 1 == load.rows)) {
            const pomai_ids list = {n, ids, NULL};
            load_check(pomai_delete(collection, &list, NULL, NULL, &err), "delete", &err);
            n = 0;
        }
    }
}

static void quiet(pomai_db *db, pomai_collection *collection)
{
    pomai_error err;
    load_check(pomai_flush(db, &err), "flush", &err);
    if (recall > 0 && !recall_settle(db, collection, truth.vectors, recall, 25, 900))
        printf("  indexes not quiet after 15 minutes\n");
    if (!load_settle(db, 300)) printf("  not quiet after five minutes\n");
}

static struct searched search(pomai_collection *collection, const char *what)
{
    struct searched s = {0};
    if (recall == 0) return s;
    s.ways = recall_ways(collection, truth.vectors, recall);
    s.recall = recall_measure(&truth, collection, recall, NULL);
    for (int i = 0; i < EFFORTS; i++)
        s.same_effort[i] = recall_measure_ef(&truth, collection, efforts[i]);
    printf("  %-28s recall %.4f; rows in %.0f graphs %.0f, by codes %.0f, by vectors %.0f\n", what, s.recall,
           s.ways.graphs, s.ways.graph, s.ways.codes, s.ways.vectors + s.ways.memory);
    fflush(stdout);
    return s;
}

static void print_sample(const char *what, const struct sample *s)
{
    char disk[32], anonymous[32], resident[32], rows[32];
    printf("  %-28s %7.1f %15s %15s %15s %11s %6.0f %5.1f%%\n", what, s->at, bench_number(disk, s->disk),
           bench_number(anonymous, s->anonymous), bench_number(resident, s->resident), bench_number(rows, s->rows),
           s->segments, 100 * s->dead);
    fflush(stdout);
}

/* ---- the plot ---- */

/* A dashed line for the fresh load's disk. */
static void write_plot(double fresh_disk)
{
    enum { DISK, MEMORY, LIVE, CURVES };
    static double x[MOST_SAMPLES], y[CURVES][MOST_SAMPLES];
    char title[256];
    for (size_t i = 0; i < sample_count; i++) {
        x[i] = samples[i].at;
        y[DISK][i] = samples[i].disk / 1e6;
        y[MEMORY][i] = samples[i].anonymous / 1e6;
        y[LIVE][i] = samples[i].rows * (double)(load.dim * sizeof(float)) / 1e6;
    }
    const double ends[2] = {0, sample_count > 0 ? x[sample_count - 1] : 1},
                 fresh[2] = {fresh_disk / 1e6, fresh_disk / 1e6};
    const struct plot_curve curve[] = {
        {"disk", "#1f4e9c", false, sample_count, x, y[DISK]},
        {"memory, but for mapped files", "#c0392b", false, sample_count, x, y[MEMORY]},
        {"vectors of live rows", "#2e8b57", false, sample_count, x, y[LIVE]},
        {"the disk of a fresh load of what lives in the end", "#888", true, 2, ends, fresh}};
    snprintf(title, sizeof title,
             "MB by seconds: %.0f passes over %llu rows of %zu dimensions, %.0f%% deleted after %s", passes,
             (unsigned long long)load.rows, load.dim, deleted, recall > 0 ? "them" : "each");
    struct plot p = {.title = title, .curve = curve, .curves = sizeof curve / sizeof *curve};
    plot_write(&p, svg_path);
}

static void write_csv(void)
{
    FILE *f = fopen(csv_path, "w");
    if (f == NULL) load_die(csv_path, strerror(errno));
    fprintf(f, "seconds,pass,disk_bytes,anonymous_bytes,resident_bytes,rows,segments,dead_share\n");
    for (size_t i = 0; i < sample_count; i++) {
        const struct sample *s = &samples[i];
        fprintf(f, "%.1f,%u,%.0f,%.0f,%.0f,%.0f,%.0f,%.4f\n", s->at, s->pass, s->disk, s->anonymous, s->resident,
                s->rows, s->segments, s->dead);
    }
    if (fclose(f) != 0) load_die(csv_path, strerror(errno));
}

/* ---- all of it ---- */

struct ends {
    struct sample quiet, compacted;
    struct searched behind_found, quiet_found;
};

/* Right behind the last write. */
static struct searched search_behind(pomai_db *db, pomai_collection *collection)
{
    pomai_error err;
    if (recall == 0) return (struct searched){0};
    load_check(pomai_flush(db, &err), "flush", &err);
    return search(collection, "right behind the last write");
}

static struct ends run_churn(void)
{
    pthread_t sampler;
    pomai_error err;
    pomai_collection *collection;
    struct ends e = {0};
    sampled = load_open("db", POMAI_DURABILITY_SYNC, &collection);
    begun = bench_now();
    if (pthread_create(&sampler, NULL, sampler_main, NULL) != 0) load_die("thread", "cannot start");
    put_all(collection, 0, false);
    for (uint32_t pass = 1; pass <= (uint32_t)passes && load_interrupted == 0; pass++) {
        atomic_store(&pass_now, pass);
        put_all(collection, pass, false);
        if (recall == 0 || pass == (uint32_t)passes) delete_some(collection, pass);
    }
    if (load_interrupted == 0 && recall > 0) recall_find_truth(&truth, collection);
    if (load_interrupted == 0) e.behind_found = search_behind(sampled, collection);
    if (load_interrupted == 0) quiet(sampled, collection);
    e.quiet = take_sample(sampled, "db");
    if (load_interrupted == 0) e.quiet_found = search(collection, "quiet");
    if (load_interrupted == 0 && recall == 0) {
        load_check(pomai_compact(sampled, NULL, &err), "compact", &err);
        quiet(sampled, collection);
    }
    atomic_store(&stop, true);
    pthread_join(sampler, NULL);
    load_leave_if_interrupted();
    e.compacted = take_sample(sampled, "db");
    load_close(sampled, collection);
    return e;
}

/* Both databases show the same rows, or an exact search is wrong. */
static void check_same_truth(pomai_collection *collection)
{
    if (recall == 0) return;
    struct recall_truth fresh = recall_queries(truth.queries);
    recall_find_truth(&fresh, collection);
    for (size_t q = 0; q < truth.queries; q++)
        if (memcmp(fresh.nearest + q * RECALL_WIDE, truth.nearest + q * RECALL_WIDE, RECALL_WIDE * sizeof(double)) != 0)
            load_die("exact search", "the fresh load has other neighbours");
    recall_free(&fresh);
}

static struct ends run_fresh(void)
{
    pomai_error err;
    pomai_collection *collection;
    struct ends e = {0};
    pomai_db *db = load_open("fresh", POMAI_DURABILITY_SYNC, &collection);
    put_all(collection, (uint32_t)passes, true);
    quiet(db, collection);
    load_leave_if_interrupted();
    e.quiet = take_sample(db, "fresh");
    check_same_truth(collection);
    e.quiet_found = search(collection, "fresh load, quiet");
    if (recall == 0) {
        load_check(pomai_compact(db, NULL, &err), "compact", &err);
        quiet(db, collection);
    }
    e.compacted = take_sample(db, "fresh");
    load_close(db, collection);
    return e;
}

static void report(const char *figure, double value, double against)
{
    printf("  %-28s %5.2fx a fresh load\n", figure, value / against);
    load_figure(figure, load_one(value / against), "ratio", ", \"bytes\": %.0f, \"fresh_bytes\": %.0f", value, against);
}

/* Queries a second of both in turn, as machines drift. */
static void report_rates(void)
{
    static const char *const name[2] = {"db", "fresh"};
    static double rate[2][MOST_ROUNDS], ratio[MOST_ROUNDS];
    pomai_collection *collection[2];
    pomai_db *db[2];
    for (int i = 0; i < 2; i++) {
        db[i] = load_open(name[i], POMAI_DURABILITY_SYNC, &collection[i]);
        (void)recall_measure(&truth, collection[i], recall, NULL); /* pages that are new to the process */
    }
    for (uint32_t r = 0; r < load.rounds; r++) {
        for (int i = 0; i < 2; i++)
            rate[i][r] = recall_rate(&truth, collection[i], recall, load.seconds).qps;
        ratio[r] = rate[0][r] / rate[1][r];
        load_leave_if_interrupted();
    }
    for (int i = 0; i < 2; i++)
        load_close(db[i], collection[i]);
    const struct bench_spread s = bench_spread_of(ratio, load.rounds), churned = bench_spread_of(rate[0], load.rounds),
                              fresh = bench_spread_of(rate[1], load.rounds);
    printf("  %-28s %5.2fx a fresh load (%.2f to %.2f): %.0f and %.0f queries/s\n", "churn.recall_qps_ratio", s.median,
           s.least, s.most, churned.median, fresh.median);
    load_figure("churn.recall_qps_ratio", s, "ratio", ", \"qps\": %.0f, \"fresh_qps\": %.0f", churned.median,
                fresh.median);
}

static void report_searched(const struct ends *churned, const struct ends *fresh)
{
    const struct searched *c = &churned->quiet_found, *f = &fresh->quiet_found;
    printf("  %-28s %+.4f: %.4f, a fresh load %.4f, asked for %g\n", "churn.recall_difference", c->recall - f->recall,
           c->recall, f->recall, recall);
    load_figure("churn.recall_difference", load_one(c->recall - f->recall), "recall",
                ", \"asked\": %g, \"churned\": %.5f, \"fresh\": %.5f, \"queries\": %zu, \"segments\": %.0f, "
                "\"rows_not_in_graph\": %.0f",
                recall, c->recall, f->recall, truth.queries, c->ways.segments, recall_not_in_graph(&c->ways));
    for (int i = 0; i < EFFORTS; i++) {
        const double churned_ef = c->same_effort[i], fresh_ef = f->same_effort[i];
        printf("  %-28s %+.4f: %.4f, a fresh load %.4f, with ef %u\n", "churn.recall_difference_ef",
               churned_ef - fresh_ef, churned_ef, fresh_ef, efforts[i]);
        load_figure("churn.recall_difference_ef", load_one(churned_ef - fresh_ef), "recall",
                    ", \"ef\": %u, \"churned\": %.5f, \"fresh\": %.5f", efforts[i], churned_ef, fresh_ef);
    }
    load_figure("churn.recall_behind", load_one(churned->behind_found.recall), "recall", "%s", "");
    report_rates();
}

static void print_samples(double *peak_disk, double *peak_memory)
{
    for (size_t i = 0; i < sample_count; i++) {
        if (i == 0 || samples[i].pass != samples[i - 1].pass || i + 1 == sample_count) {
            char what[32];
            snprintf(what, sizeof what, "pass %u", samples[i].pass);
            print_sample(what, &samples[i]);
        }
        *peak_disk = fmax(*peak_disk, samples[i].disk);
        *peak_memory = fmax(*peak_memory, samples[i].anonymous);
    }
}

int main(int argc, char **argv)
{
    const struct load_option own[] = {{"--passes", &passes, NULL}, {"--deleted", &deleted, NULL},
                                      {"--recall", &recall, NULL}, {"--queries", &queries, NULL},
                                      {"--csv", NULL, &csv_path},  {"--svg", NULL, &svg_path},
                                      {NULL, NULL, NULL}};
    load = (struct load){.name = "churn", .rows = 1000000, .dim = 128, .seconds = 1, .rounds = 5};
    load_begin(argc, argv, own);
    if (deleted < 0) deleted = recall > 0 ? 50 : 30;
    if (deleted > 90 || passes > 1000 || recall >= 1 || queries < 1 || queries > 100000) load_usage(own);
    if (recall > 0) {
        load.data = "synth";
        load.search_threads = UINT32_MAX; /* one thread */
        synth_begin(load.dim);
        truth = recall_queries((size_t)queries);
    }
    printf("  %-28s %7s %15s %15s %15s %11s %6s %6s\n", "", "s", "disk bytes", "anonymous", "resident", "live rows",
           "segm.", "dead");
    const struct ends churned = run_churn();
    double peak_disk = 0, peak_memory = 0;
    print_samples(&peak_disk, &peak_memory);
    print_sample("quiet", &churned.quiet);
    if (recall == 0) print_sample("after pomai_compact", &churned.compacted);
    const struct ends fresh = run_fresh();
    print_sample("fresh load, quiet", &fresh.quiet);
    if (recall == 0) print_sample("fresh load, pomai_compact", &fresh.compacted);
    if (churned.quiet.rows != fresh.quiet.rows) load_die("rows", "the fresh load has others");
    report("churn.disk_ratio", churned.quiet.disk, fresh.quiet.disk);
    report("churn.disk_peak_ratio", peak_disk, fresh.quiet.disk);
    report("churn.memory_ratio", churned.quiet.anonymous, fresh.quiet.anonymous);
    if (recall > 0) {
        report_searched(&churned, &fresh);
    } else {
        report("churn.disk_compacted_ratio", churned.compacted.disk, fresh.compacted.disk);
    }
    load_figure("churn.memory_peak_bytes", load_one(peak_memory), "bytes", "%s", "");
    write_csv();
    write_plot(fresh.quiet.disk);
    load_end();
    return 0;
}
