/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durable puts for longer than memory holds them, with flush and compaction, as the options are by default.
 *     ./dev bench ingest --sustained SECONDS [--slice S] ...
 * Puts of 1,000 rows, level sync, assigned ids, for SECONDS in all, into one database. In turn: the disk by itself
 * (plain writes of the bytes of one batch, each synced), a slice of puts with the flush that ends it, a wait until the
 * background is quiet. disk_share counts every byte that the process made the disk write from the first put of a slice
 * until its flush is done, against the disk's rate before and after the slice.
 *     ./dev bench ingest --existing N ...
 * A database of N rows. Rounds of three slices: random ids into an empty database, ids chosen at random among the N,
 * and new random ids. The ratios are those of the rates within a round; the flush that ends a slice counts.
 */
#include "ingest/long.h"

#include "load.h"

enum { BATCH = 1000, MOST_SECONDS = 100000, MOST_SLICES = 1000 };

/* ---- a slice of puts ---- */

struct second {
    uint64_t rows;
};

struct puts {
    uint64_t rows;
    double wall, put_wall; /* with and without the flush at the end */
    double longest;
    double bytes; /* that the disk was made to write */
};

enum kind { ASSIGNED, FRESH, EXISTING, NEW };

static struct second buckets[MOST_SECONDS];
static size_t bucket_count;

static void make_ids(enum kind kind, uint64_t turn, uint64_t *ids)
{
    for (size_t i = 0; i < BATCH; i++) {
        const uint64_t n = turn * BATCH + i;
        if (kind == EXISTING)
            ids[i] = load_shuffle(n % load.rows, load.rows, n / load.rows);
        else
            ids[i] = bench_mix(n + (kind == NEW ? (uint64_t)1 << 40 : 0)) | (uint64_t)1 << 63;
    }
}

/* *turn goes on over slices; `count`: in one second buckets. */
static struct puts put_for(pomai_db *db, pomai_collection *collection, enum kind kind, double seconds, uint64_t *turn,
                           bool count)
{
    uint64_t ids[BATCH];
    pomai_error err;
    struct puts p = {.bytes = -load_disk_writes()};
    const size_t first = bucket_count;
    const double begin = bench_now();
    double now = begin;
    while (now - begin < seconds && load_interrupted == 0) {
        if (kind == EXISTING && *turn * BATCH % load.rows + BATCH > load.rows) ++*turn; /* no id twice */
        if (kind != ASSIGNED) make_ids(kind, *turn, ids);
        load_put(collection, *turn, kind == ASSIGNED ? NULL : ids, BATCH, POMAI_DURABILITY_SYNC);
        ++*turn;
        p.rows += BATCH;
        const double before = now;
        now = bench_now();
        p.longest = fmax(p.longest, now - before);
        const size_t at = first + (size_t)(now - begin);
        if (!count || at >= MOST_SECONDS) continue;
        bucket_count = at + 1;
        buckets[at].rows += BATCH;
    }
    p.put_wall = now - begin;
    load_check(pomai_flush(db, &err), "flush", &err);
    p.wall = bench_now() - begin;
    p.bytes += load_disk_writes();
    load_leave_if_interrupted();
    return p;
}

/* ---- sustained ---- */

static double sustained_seconds = 60, slice_seconds = 10;

struct totals {
    uint64_t rows;
    double wall, put_wall, longest, bytes;
};

static void report_buckets(void)
{
    double *rate = bench_alloc((bucket_count + 1) * sizeof *rate);
    size_t n = 0;
    if (load.json != NULL) {
        fprintf(load.json, "{\"figure\": \"ingest.sustained.seconds\", \"unit\": \"vec/s\", \"values\": [");
        for (size_t i = 0; i < bucket_count; i++)
            fprintf(load.json, "%s%llu", i > 0 ? ", " : "", (unsigned long long)buckets[i].rows);
        fprintf(load.json, "], \"commit\": \"%s\"}\n", load.machine.commit);
    }
    printf("rows put in each second (thousands):");
    for (size_t i = 0; i < bucket_count; i++) {
        printf("%s%5.0f", i % 16 == 0 ? "\n " : " ", (double)buckets[i].rows / 1e3);
        rate[n++] = (double)buckets[i].rows;
    }
    (void)bench_spread_of(rate, n);
    printf("\nseconds: least %.0f, 10%% %.0f, median %.0f, most %.0f rows\n", load_quantile(rate, n, 0),
           load_quantile(rate, n, 0.1), load_quantile(rate, n, 0.5), load_quantile(rate, n, 1));
    load_figure("ingest.sustained.second_p10_share",
                load_one(load_quantile(rate, n, 0.1) / load_quantile(rate, n, 0.5)), "ratio", ", \"least\": %.0f",
                load_quantile(rate, n, 0));
    free(rate);
}

static void report_sustained(const struct totals *t, const struct load_stats *s, double all_bytes, double *share,
                             double *vector_share, double *disk, size_t slices)
{
    const double user = (double)t->rows * (double)load.dim * sizeof(float);
    const struct bench_spread rate = bench_spread_of(disk, slices), of_disk = bench_spread_of(share, slices),
                              of_user = bench_spread_of(vector_share, slices);
    const double per_second = (double)t->rows / t->wall;
    report_buckets();
    printf("disk by itself %.0f MB/s (%.0f to %.0f); %.0f rows/s, %.0f MB/s of vectors, %.0f MB/s to the disk\n",
           rate.median / 1e6, rate.least / 1e6, rate.most / 1e6, per_second, user / t->wall / 1e6,
           t->bytes / t->wall / 1e6);
    printf("share of the disk: all bytes %.0f%% (%.0f to %.0f), vectors alone %.0f%% (%.0f to %.0f)\n",
           100 * of_disk.median, 100 * of_disk.least, 100 * of_disk.most, 100 * of_user.median, 100 * of_user.least,
           100 * of_user.most);
    printf("written for each byte of vectors: %.2f in all (log %.2f, flush %.2f, liveness %.3f, compaction %.2f)\n",
           all_bytes / user, s->log_bytes / user, s->flushed_bytes / user, s->live_bytes / user,
           s->compacted_bytes / user);
    printf("puts that waited for room: %.0f, %.2f s in all; longest put %.0f ms; %.0f flushes, %.0f compactions\n",
           s->stalls, s->stall_ns / 1e9, 1e3 * t->longest, s->flushes, s->compactions);
    load_figure("ingest.sustained.vec_per_s", load_one(per_second), "vec/s", ", \"stalls\": %.0f, \"stall_s\": %.3f",
                s->stalls, s->stall_ns / 1e9);
    load_figure("ingest.sustained.disk_share", of_disk, "ratio", ", \"disk_bytes_per_s\": %.0f", rate.median);
    load_figure("ingest.sustained.vector_share", of_user, "ratio", "%s", "");
    load_figure("ingest.sustained.write_amplification", load_one(all_bytes / user), "ratio",
                ", \"log\": %.3f, \"flush\": %.3f, \"liveness\": %.4f, \"compaction\": %.3f", s->log_bytes / user,
                s->flushed_bytes / user, s->live_bytes / user, s->compacted_bytes / user);
    load_figure("ingest.sustained.longest_put_ms", load_one(1e3 * t->longest), "ms", "%s", "");
}

int ingest_sustained(int argc, char **argv)
{
    static double share[MOST_SLICES], vector_share[MOST_SLICES], disk[MOST_SLICES];
    const struct load_option own[] = {
        {"--sustained", &sustained_seconds, NULL}, {"--slice", &slice_seconds, NULL}, {NULL, NULL, NULL}};
    load = (struct load){.name = "ingest", .rows = 1, .dim = 128, .seconds = 2, .rounds = 1};
    load_begin(argc, argv, own);
    if (sustained_seconds <= 0 || slice_seconds < 1 || sustained_seconds / slice_seconds >= MOST_SLICES)
        load_usage(own);
    const size_t record = 128 + 64 + BATCH * load.dim * sizeof(float);
    if (record > LOAD_POOL / 2) load_usage(own);
    pomai_collection *collection;
    pomai_db *db = load_open("db", POMAI_DURABILITY_SYNC, &collection);
    struct totals t = {0};
    uint64_t turn = 0;
    size_t slices = 0;
    const double written = load_disk_writes();
    double plain = 0, before = load_disk_rate(record, load.seconds);
    plain += before * load.seconds;
    for (; (double)slices < sustained_seconds / slice_seconds - 0.01; slices++) {
        const struct puts p = put_for(db, collection, ASSIGNED, slice_seconds, &turn, true);
        if (!load_settle(db, 60)) printf("  not quiet after a minute\n");
        const double after = load_disk_rate(record, load.seconds);
        plain += after * load.seconds;
        disk[slices] = (before + after) / 2;
        share[slices] = p.bytes / p.wall / disk[slices];
        vector_share[slices] = (double)p.rows * (double)load.dim * sizeof(float) / p.wall / disk[slices];
        printf("  slice %zu: %8.0f rows/s, %4.0f MB/s to the disk, which by itself writes %4.0f: %3.0f%%\n", slices + 1,
               (double)p.rows / p.wall, p.bytes / p.wall / 1e6, disk[slices] / 1e6, 100 * share[slices]);
        fflush(stdout);
        before = after;
        t.rows += p.rows;
        t.wall += p.wall;
        t.put_wall += p.put_wall;
        t.bytes += p.bytes;
        t.longest = fmax(t.longest, p.longest);
    }
    const struct load_stats stats = load_stats_of(db);
    load.rows = t.rows;
    report_sustained(&t, &stats, load_disk_writes() - written - plain, share, vector_share, disk, slices);
    load_close(db, collection);
    load_end();
    return 0;
}

/* ---- existing ---- */

static double existing_rows = 5e6;

static void fill(void)
{
    pomai_collection *collection;
    pomai_error err;
    pomai_db *db = load_open("db", POMAI_DURABILITY_OS, &collection);
    const double begin = bench_now();
    for (uint64_t done = 0; done < load.rows; done += BATCH) {
        load_put(collection, done, NULL, load.rows - done < BATCH ? load.rows - done : BATCH, POMAI_DURABILITY_OS);
        load_leave_if_interrupted();
    }
    load_check(pomai_flush(db, &err), "flush", &err);
    if (!load_settle(db, 300)) printf("  not quiet after five minutes\n");
    load_close(db, collection);
    printf("%llu rows of %zu dimensions there, after %.0f s\n", (unsigned long long)load.rows, load.dim,
           bench_now() - begin);
    fflush(stdout);
}

static struct puts put_into(const char *name, enum kind kind, uint64_t *turn)
{
    pomai_collection *collection;
    pomai_db *db = load_open(name, POMAI_DURABILITY_SYNC, &collection);
    const struct puts p = put_for(db, collection, kind, load.seconds, turn, false);
    if (!load_settle(db, 120)) printf("  not quiet after two minutes\n");
    load_close(db, collection);
    return p;
}

int ingest_existing(int argc, char **argv)
{
    static double empty[MOST_SLICES], ratio[2][MOST_SLICES];
    static const char *const figure[2] = {"ingest.existing.replace_ratio", "ingest.existing.new_ratio"};
    const struct load_option own[] = {{"--existing", &existing_rows, NULL}, {NULL, NULL, NULL}};
    load = (struct load){.name = "ingest", .rows = 1, .dim = 128, .seconds = 5, .rounds = 5};
    load_begin(argc, argv, own);
    if (existing_rows < BATCH) load_usage(own);
    load.rows = (uint64_t)existing_rows;
    fill();
    uint64_t turn[4] = {0};
    printf("  %5s  %11s  %11s %6s  %11s %6s\n", "round", "empty/s", "replaced/s", "", "new/s", "");
    for (uint32_t r = 0; r < load.rounds; r++) {
        char path[600];
        const struct puts fresh = put_into("empty", FRESH, &turn[FRESH]);
        load_path(path, "empty");
        bench_remove_tree(path);
        load_sync_dir();
        const struct puts replaced = put_into("db", EXISTING, &turn[EXISTING]);
        const struct puts added = put_into("db", NEW, &turn[NEW]);
        empty[r] = (double)fresh.rows / fresh.wall;
        ratio[0][r] = (double)replaced.rows / replaced.wall / empty[r];
        ratio[1][r] = (double)added.rows / added.wall / empty[r];
        printf("  %5u  %11.0f  %11.0f %5.0f%%  %11.0f %5.0f%%\n", r + 1, empty[r],
               (double)replaced.rows / replaced.wall, 100 * ratio[0][r], (double)added.rows / added.wall,
               100 * ratio[1][r]);
        fflush(stdout);
    }
    load_figure("ingest.existing.empty_vec_per_s", bench_spread_of(empty, load.rounds), "vec/s", "%s", "");
    for (int i = 0; i < 2; i++) {
        const struct bench_spread s = bench_spread_of(ratio[i], load.rounds);
        printf("  %-32s %3.0f%% (%.0f to %.0f)\n", figure[i], 100 * s.median, 100 * s.least, 100 * s.most);
        load_figure(figure[i], s, "ratio", "%s", "");
    }
    load_end();
    return 0;
}
