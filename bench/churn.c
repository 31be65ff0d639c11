/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a database takes on disk and in memory while its rows are replaced and deleted again and again.
 *     ./dev bench churn [--rows N] [--dim N] [--passes N] [--deleted PERCENT] [--csv FILE] [--svg FILE] ...
 * --rows rows; then --passes passes (10), in each of which every row is put anew, in another random order, in batches
 * of 1,000, and then --deleted percent of the ids (30), chosen at random, are deleted; the next pass puts them again.
 * Every second a sample: blocks that the directory takes, resident memory (anonymous, and with mapped files), live
 * rows, segments, rows of segments that nobody sees. Then until the background is quiet, and after pomai_compact; and
 * the same for a database into which just the rows that live in the end were put.
 */
#include "load.h"

enum { BATCH = 1000, MOST_SAMPLES = 100000 };

struct sample {
    double at, disk, anonymous, resident, rows, segments, dead;
    uint32_t pass;
};

static double passes = 10, deleted = 30;
static const char *csv_path = "build/churn.csv", *svg_path;
static struct sample samples[MOST_SAMPLES];
static size_t sample_count;
static _Atomic bool stop;
static _Atomic uint32_t pass_now;
static pomai_db *sampled;
static double begun;

/* ---- samples ---- */

static uint64_t blocks;

static int add_blocks(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    (void)where;
    if (kind == FTW_F) blocks += (uint64_t)st->st_blocks * 512;
    return 0;
}

/* Files come and go while it is walked: those that are there. */
static double disk_bytes(const char *name)
{
    char path[600];
    load_path(path, name);
    blocks = 0;
    (void)nftw(path, add_blocks, 16, FTW_PHYS);
    return (double)blocks;
}

static void read_memory(struct sample *s)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "RssAnon:", 8) == 0) s->anonymous = strtod(line + 8, NULL) * 1024;
        if (strncmp(line, "VmRSS:", 6) == 0) s->resident = strtod(line + 6, NULL) * 1024;
    }
    if (status != NULL) fclose(status);
    s->anonymous -= LOAD_POOL; /* our own */
    s->resident -= LOAD_POOL;
}

static struct sample take_sample(pomai_db *db, const char *name)
{
    const struct load_stats stats = load_stats_of(db);
    struct sample s = {.at = bench_now() - begun, .pass = atomic_load(&pass_now)};
    s.disk = disk_bytes(name);
    s.rows = stats.rows;
    s.segments = stats.segments;
    s.dead = stats.segment_rows > 0 ? stats.segment_rows_ended / stats.segment_rows : 0;
    read_memory(&s);
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

/* Ids in the order of this pass, as far as `only_living` lets them through. */
static void put_all(pomai_collection *collection, uint32_t pass, bool only_living)
{
    uint64_t ids[BATCH];
    size_t n = 0;
    for (uint64_t i = 0; i < load.rows && load_interrupted == 0; i++) {
        const uint64_t id = load_shuffle(i, load.rows, pass);
        if (!only_living || lives(id, pass)) ids[n++] = id;
        if (n == BATCH || (n > 0 && i + 1 == load.rows)) {
            load_put(collection, i, ids, n, POMAI_DURABILITY_SYNC);
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

static void quiet(pomai_db *db)
{
    pomai_error err;
    load_check(pomai_flush(db, &err), "flush", &err);
    if (!load_settle(db, 300)) printf("  not quiet after five minutes\n");
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

static void polyline(FILE *f, double (*of)(const struct sample *), double most_at, double most, const char *colour)
{
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colour);
    const size_t every = sample_count / 300 + 1;
    for (size_t i = 0; i < sample_count; i += every)
        fprintf(f, "%.1f,%.1f ", 60 + 700 * samples[i].at / most_at, 270 - 240 * of(&samples[i]) / most);
    fprintf(f, "\"/>\n");
}

static double disk_of(const struct sample *s)
{
    return s->disk;
}

static double anonymous_of(const struct sample *s)
{
    return s->anonymous;
}

static double rows_of(const struct sample *s)
{
    return s->rows * (double)load.dim * sizeof(float);
}

static void write_plot(const struct sample *fresh)
{
    FILE *f = svg_path == NULL ? NULL : fopen(svg_path, "w");
    double most = fresh->disk, most_at = 1;
    for (size_t i = 0; i < sample_count; i++) {
        most = fmax(most, fmax(samples[i].disk, samples[i].anonymous));
        most_at = fmax(most_at, samples[i].at);
    }
    if (f == NULL) {
        if (svg_path != NULL) load_die(svg_path, strerror(errno));
        return;
    }
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 320\" font-family=\"sans-serif\" "
               "font-size=\"12\">\n<rect width=\"800\" height=\"320\" fill=\"white\"/>\n");
    for (int i = 0; i <= 4; i++)
        fprintf(f, "<path d=\"M60 %d H760\" stroke=\"#ddd\"/><text x=\"54\" y=\"%d\" text-anchor=\"end\">%.0f</text>\n",
                270 - 60 * i, 274 - 60 * i, most * i / 4 / 1e6);
    for (int i = 0; i <= 7; i++)
        fprintf(f, "<text x=\"%d\" y=\"286\" text-anchor=\"middle\">%.0f</text>\n", 60 + 100 * i, most_at * i / 7);
    fprintf(f, "<path d=\"M60 %.1f H760\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>\n",
            270 - 240 * fresh->disk / most);
    polyline(f, disk_of, most_at, most, "#1f4e9c");
    polyline(f, anonymous_of, most_at, most, "#c0392b");
    polyline(f, rows_of, most_at, most, "#2e8b57");
    fprintf(f,
            "<text x=\"60\" y=\"18\">MB by seconds: %.0f passes over %llu rows of %zu dimensions, %.0f%% deleted after "
            "each</text>\n",
            passes, (unsigned long long)load.rows, load.dim, deleted);
    fprintf(f, "<text x=\"60\" y=\"308\"><tspan fill=\"#1f4e9c\">disk</tspan>  <tspan fill=\"#c0392b\">memory, but "
               "for mapped files</tspan>  <tspan fill=\"#2e8b57\">vectors of live rows</tspan>  <tspan "
               "fill=\"#666\">dashed: the disk of a fresh load of what lives in the end</tspan></text>\n</svg>\n");
    if (fclose(f) != 0) load_die(svg_path, strerror(errno));
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
};

static struct ends run_churn(void)
{
    pthread_t sampler;
    pomai_error err;
    pomai_collection *collection;
    struct ends e;
    sampled = load_open("db", POMAI_DURABILITY_SYNC, &collection);
    begun = bench_now();
    if (pthread_create(&sampler, NULL, sampler_main, NULL) != 0) load_die("thread", "cannot start");
    put_all(collection, 0, false);
    for (uint32_t pass = 1; pass <= (uint32_t)passes && load_interrupted == 0; pass++) {
        atomic_store(&pass_now, pass);
        put_all(collection, pass, false);
        delete_some(collection, pass);
    }
    if (load_interrupted == 0) quiet(sampled);
    e.quiet = take_sample(sampled, "db");
    if (load_interrupted == 0) load_check(pomai_compact(sampled, NULL, &err), "compact", &err);
    if (load_interrupted == 0) quiet(sampled);
    atomic_store(&stop, true);
    pthread_join(sampler, NULL);
    load_leave_if_interrupted();
    e.compacted = take_sample(sampled, "db");
    load_close(sampled, collection);
    return e;
}

static struct ends run_fresh(void)
{
    pomai_error err;
    pomai_collection *collection;
    struct ends e;
    pomai_db *db = load_open("fresh", POMAI_DURABILITY_SYNC, &collection);
    put_all(collection, (uint32_t)passes, true);
    quiet(db);
    e.quiet = take_sample(db, "fresh");
    load_check(pomai_compact(db, NULL, &err), "compact", &err);
    quiet(db);
    e.compacted = take_sample(db, "fresh");
    load_close(db, collection);
    return e;
}

static void report(const char *figure, double value, double against)
{
    printf("  %-28s %5.2fx a fresh load\n", figure, value / against);
    load_figure(figure, load_one(value / against), "ratio", ", \"bytes\": %.0f, \"fresh_bytes\": %.0f", value, against);
}

int main(int argc, char **argv)
{
    const struct load_option own[] = {{"--passes", &passes, NULL},
                                      {"--deleted", &deleted, NULL},
                                      {"--csv", NULL, &csv_path},
                                      {"--svg", NULL, &svg_path},
                                      {NULL, NULL, NULL}};
    load = (struct load){.name = "churn", .rows = 1000000, .dim = 128, .seconds = 1, .rounds = 1};
    load_begin(argc, argv, own);
    if (deleted > 90 || passes > 1000) load_usage(own);
    printf("  %-28s %7s %15s %15s %15s %11s %6s %6s\n", "", "s", "disk bytes", "anonymous", "resident", "live rows",
           "segm.", "dead");
    const struct ends churned = run_churn();
    double peak_disk = 0, peak_memory = 0;
    for (size_t i = 0; i < sample_count; i++) {
        if (i == 0 || samples[i].pass != samples[i - 1].pass || i + 1 == sample_count) {
            char what[32];
            snprintf(what, sizeof what, "pass %u", samples[i].pass);
            print_sample(what, &samples[i]);
        }
        peak_disk = fmax(peak_disk, samples[i].disk);
        peak_memory = fmax(peak_memory, samples[i].anonymous);
    }
    print_sample("quiet", &churned.quiet);
    print_sample("after pomai_compact", &churned.compacted);
    const struct ends fresh = run_fresh();
    print_sample("fresh load, quiet", &fresh.quiet);
    print_sample("fresh load, pomai_compact", &fresh.compacted);
    if (churned.quiet.rows != fresh.quiet.rows) load_die("rows", "the fresh load has others");
    report("churn.disk_ratio", churned.quiet.disk, fresh.quiet.disk);
    report("churn.disk_compacted_ratio", churned.compacted.disk, fresh.compacted.disk);
    report("churn.disk_peak_ratio", peak_disk, fresh.quiet.disk);
    report("churn.memory_ratio", churned.quiet.anonymous, fresh.quiet.anonymous);
    load_figure("churn.memory_peak_bytes", load_one(peak_memory), "bytes", "%s", "");
    write_csv();
    write_plot(&fresh.quiet);
    load_end();
    return 0;
}
