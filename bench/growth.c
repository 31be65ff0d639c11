/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How import, indexes, searches, memory and disk grow with the rows.
 *     ./dev bench growth [--rows 10k,100k,1m,4m] [--dim N] [--queries N] [--seconds S] [--rounds N] [--write DOC]
 *                        [--svg FILE] [--dir D] [--json FILE]
 * Each size is a database of its own, of the rows of synth.h: one distribution, whatever the size, made a batch at a
 * time. Measured of each:
 *   import   durable puts (level sync) of 10,000 rows, or 32 MiB; the time in puts. Rows are made between them
 *   index    from the last put until pomai_build_indexes returns
 *   truth    100 nearest of --queries held-out queries (1,000), by exact search; of ten of them the nearest are
 * computed here from all rows, too, and must be the same search   a new process opens the closed database and asks for
 * a recall of 0.90, 0.95 and 0.99: recall@10 of one pass over the queries, then rates of one thread, --rounds slices of
 * --seconds, in turn. "at 0.95" lies between two of them: the logarithm of the rate linear in recall memory   of that
 * process: resident, by kind, after these searches; and after an exact one, which reads every vector disk     blocks of
 * the directory, once closed Exponents: slope of the least squares line through the logarithms; 1 is in proportion to
 * the rows.
 */
#include "plot.h"
#include "recall.h"

#include <sys/statvfs.h>
#include <sys/wait.h>

enum { BATCH = 10000, MOST_SIZES = 16, TARGETS = 3, CHECKED = 10, MOST_ROUNDS = 1000 };

static const double target[TARGETS] = {0.90, 0.95, 0.99};

/* What the child measures; it goes through a pipe. */
struct searched {
    double recall[TARGETS], expected[TARGETS], qps_at_95;
    struct bench_spread qps[TARGETS], busy_us[TARGETS];
    struct recall_ways ways;
    struct load_memory opened, searched, scanned;
};

struct outcome {
    double rows, import_s, wall_s, index_s, index_busy_s, intrinsic, disk;
    struct searched s;
};

static const char *rows_text = "10k,100k,1m,4m", *svg_path, *doc_path;
static double queries = 1000;
static double sizes[MOST_SIZES];
static struct outcome outcome[MOST_SIZES];
static size_t size_count;

/* ---- the child ---- */

/* Between the two efforts around 0.95, or that of the least that finds more; 0: none does. */
static double rate_at_95(const struct searched *s)
{
    if (s->recall[0] >= 0.95) return s->qps[0].median;
    for (int i = 1; i < TARGETS; i++) {
        if (s->recall[i] < 0.95) continue;
        const double share = (0.95 - s->recall[i - 1]) / (s->recall[i] - s->recall[i - 1]);
        return exp(log(s->qps[i - 1].median) * (1 - share) + log(s->qps[i].median) * share);
    }
    return 0;
}

static void read_truth(struct recall_truth *t, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fread(t->tenth, sizeof *t->tenth, t->queries, f) != t->queries) load_die(path, "cannot be read");
    fclose(f);
}

/* Opens, warms, searches, and writes a struct searched. */
static int child(char **argv)
{
    static double rate[TARGETS][MOST_ROUNDS], busy_us[TARGETS][MOST_ROUNDS];
    struct searched s = {0};
    pomai_collection *collection;
    pomai_error err;
    pomai_result *result;
    load.name = "growth";
    load.search_threads = UINT32_MAX;
    load.dim = strtoul(argv[4], NULL, 10);
    load.rounds = (uint32_t)strtoul(argv[6], NULL, 10);
    snprintf(load.dir, sizeof load.dir, "%s", argv[2]);
    synth_begin(load.dim);
    struct recall_truth truth = recall_queries(strtoul(argv[5], NULL, 10));
    read_truth(&truth, argv[3]);
    pomai_db *db = load_open("db", POMAI_DURABILITY_SYNC, &collection);
    s.opened = load_memory_now();
    s.ways = recall_ways(collection, truth.vectors, 0.95);
    for (int i = 0; i < TARGETS; i++)
        s.recall[i] = recall_measure(&truth, collection, target[i], &s.expected[i]);
    for (uint32_t r = 0; r < load.rounds; r++)
        for (int i = 0; i < TARGETS; i++) {
            const struct recall_rate found = recall_rate(&truth, collection, target[i], strtod(argv[7], NULL));
            rate[i][r] = found.qps;
            busy_us[i][r] = found.busy_us;
        }
    for (int i = 0; i < TARGETS; i++) {
        s.qps[i] = bench_spread_of(rate[i], load.rounds);
        s.busy_us[i] = bench_spread_of(busy_us[i], load.rounds);
    }
    s.qps_at_95 = rate_at_95(&s);
    s.searched = load_memory_now();
    load_check(pomai_search(collection, truth.vectors, 1, load.dim, RECALL_K, NULL, &result, &err), "search", &err);
    pomai_result_free(result);
    s.scanned = load_memory_now();
    load_close(db, collection);
    recall_free(&truth);
    return fwrite(&s, sizeof s, 1, stdout) == 1 && fflush(stdout) == 0 ? 0 : 1;
}

static struct searched run_child(const char *program, const struct recall_truth *truth)
{
    char path[600], dim[32], count[32], rounds[32], seconds[32];
    struct searched s;
    int ends[2], status;
    load_path(path, "truth");
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(truth->tenth, sizeof *truth->tenth, truth->queries, f) != truth->queries || fclose(f) != 0)
        load_die(path, strerror(errno));
    snprintf(dim, sizeof dim, "%zu", load.dim);
    snprintf(count, sizeof count, "%zu", truth->queries);
    snprintf(rounds, sizeof rounds, "%u", load.rounds);
    snprintf(seconds, sizeof seconds, "%.6f", load.seconds);
    if (pipe(ends) != 0) load_die("pipe", strerror(errno));
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0) load_die("fork", strerror(errno));
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        execl(program, program, "--child", load.dir, path, dim, count, rounds, seconds, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "rb");
    const bool said = from != NULL && fread(&s, sizeof s, 1, from) == 1;
    if (from != NULL) fclose(from);
    if (waitpid(pid, &status, 0) != pid || status != 0 || !said) load_die("the searching process", "failed");
    return s;
}

/* ---- room ---- */

static double memory_available(void)
{
    char line[256];
    double bytes = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "MemAvailable:", 13) == 0) bytes = strtod(line + 13, NULL) * 1024;
    if (f != NULL) fclose(f);
    return bytes;
}

/* Before anything is made. Disk: log, segments and what merges them, indexes of both. Memory: a graph that is built
 * (docs/indexing.md), and vectors that stay in the page cache. */
static void refuse_without_room(void)
{
    struct statvfs fs;
    char need_text[32], have_text[32], why[256];
    if (statvfs(load.dir, &fs) != 0) load_die(load.dir, strerror(errno));
    const double vector = (double)load.dim * sizeof(float);
    const double disk = (double)fs.f_bavail * (double)fs.f_frsize, memory = memory_available();
    for (size_t i = 0; i < size_count; i++) {
        const double needs_disk = sizes[i] * (4 * vector + 1000) + 1e9;
        const double needs_memory = sizes[i] * (1100 + (double)load.dim + vector) + 0.5e9;
        const bool no_disk = needs_disk > disk;
        if (!no_disk && (needs_memory <= memory || memory == 0)) continue;
        snprintf(why, sizeof why, "needs about %s MB of %s, there are %s; leave it out of --rows%s",
                 bench_number(need_text, (no_disk ? needs_disk : needs_memory) / 1e6), no_disk ? "disk" : "memory",
                 bench_number(have_text, (no_disk ? disk : memory) / 1e6), no_disk ? ", or see --dir" : "");
        char what[64], rows[32];
        snprintf(what, sizeof what, "%s rows", bench_number(rows, sizes[i]));
        load_die(what, why);
    }
}

/* ---- one size ---- */

static void import(pomai_collection *collection, struct outcome *o)
{
    const size_t fit = (32 << 20) / (load.dim * sizeof(float)), most = fit < BATCH ? fit : BATCH;
    float *batch = bench_alloc(most * load.dim * sizeof *batch);
    const double begin = bench_now();
    for (uint64_t done = 0; done < load.rows;) {
        const size_t n = load.rows - done < most ? (size_t)(load.rows - done) : most;
        synth_rows(done, n, batch);
        const double put = bench_now();
        load_put_vectors(collection, batch, NULL, n, POMAI_DURABILITY_SYNC);
        o->import_s += bench_now() - put;
        done += n;
        load_leave_if_interrupted();
    }
    o->wall_s = bench_now() - begin;
    free(batch);
}

static double squared_distance(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < load.dim; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sum;
}

/* The truth of some queries from the rows themselves: no code of the engine, another order of sums. */
static void check_truth(const struct recall_truth *truth)
{
    double best[CHECKED][RECALL_K + 1];
    float *row = bench_alloc(load.dim * sizeof *row);
    const size_t checked = truth->queries < CHECKED ? truth->queries : CHECKED;
    for (size_t q = 0; q < checked; q++)
        for (int i = 0; i <= RECALL_K; i++)
            best[q][i] = INFINITY;
    for (uint64_t r = 0; r < load.rows; r++) {
        synth_row(r, row);
        for (size_t q = 0; q < checked; q++) {
            const double d = squared_distance(row, truth->vectors + q * load.dim);
            if (d >= best[q][RECALL_K]) continue;
            int at = RECALL_K;
            for (; at > 0 && best[q][at - 1] > d; at--)
                best[q][at] = best[q][at - 1];
            best[q][at] = d;
        }
    }
    for (size_t q = 0; q < checked; q++)
        for (int i = 0; i < RECALL_K; i++)
            if (!(fabs(best[q][i] - truth->nearest[q * RECALL_WIDE + (size_t)i]) <= 1e-9 * best[q][i]))
                load_die("exact search", "other neighbours than were found from the rows themselves");
    free(row);
}

static void run_size(const char *program, struct outcome *o)
{
    char path[600];
    pomai_collection *collection;
    pomai_error err;
    load.rows = (uint64_t)o->rows;
    pomai_db *db = load_open("db", POMAI_DURABILITY_SYNC, &collection);
    import(collection, o);
    const double begin = bench_now(), busy = bench_busy(CLOCK_PROCESS_CPUTIME_ID);
    load_check(pomai_build_indexes(db, NULL, &err), "pomai_build_indexes", &err);
    o->index_s = bench_now() - begin;
    o->index_busy_s = bench_busy(CLOCK_PROCESS_CPUTIME_ID) - busy;
    struct recall_truth truth = recall_queries((size_t)queries);
    recall_find_truth(&truth, collection);
    check_truth(&truth);
    o->intrinsic = truth.intrinsic;
    load_close(db, collection);
    o->disk = load_disk_bytes("db");
    o->s = run_child(program, &truth);
    recall_free(&truth);
    load_path(path, "db");
    bench_remove_tree(path);
    load_leave_if_interrupted();
}

/* ---- figures ---- */

struct column {
    const char *head, *figure, *unit;
    double (*of)(const struct outcome *);
    int decimals;
    bool fits; /* gets an exponent */
};

static double of_rows(const struct outcome *o)
{
    return o->rows;
}
static double of_import(const struct outcome *o)
{
    return o->rows / o->import_s;
}
static double of_index(const struct outcome *o)
{
    return o->index_s;
}
static double of_index_row(const struct outcome *o)
{
    return 1e6 * o->index_s / o->rows;
}
static double of_index_busy(const struct outcome *o)
{
    return o->index_busy_s;
}

static double of_busy(const struct outcome *o)
{
    return o->s.busy_us[1].median;
}

static double of_graphs(const struct outcome *o)
{
    return o->s.ways.graphs;
}
static double of_outside(const struct outcome *o)
{
    return recall_not_in_graph(&o->s.ways);
}
static double of_intrinsic(const struct outcome *o)
{
    return o->intrinsic;
}
static double of_recall_90(const struct outcome *o)
{
    return o->s.recall[0];
}
static double of_recall_95(const struct outcome *o)
{
    return o->s.recall[1];
}
static double of_recall_99(const struct outcome *o)
{
    return o->s.recall[2];
}
static double of_qps_90(const struct outcome *o)
{
    return o->s.qps[0].median;
}
static double of_qps_95(const struct outcome *o)
{
    return o->s.qps[1].median;
}
static double of_qps_99(const struct outcome *o)
{
    return o->s.qps[2].median;
}
static double of_qps(const struct outcome *o)
{
    return o->s.qps_at_95;
}
static double of_memory(const struct outcome *o)
{
    return o->s.searched.resident / 1e6;
}
static double of_anonymous(const struct outcome *o)
{
    return o->s.searched.anonymous / 1e6;
}
static double of_all_in(const struct outcome *o)
{
    return o->s.scanned.resident / 1e6;
}
static double of_most(const struct outcome *o)
{
    return o->s.scanned.most / 1e6;
}
static double of_disk(const struct outcome *o)
{
    return o->disk / o->rows;
}

static const struct column columns[] = {
    {"rows", "rows", "rows", of_rows, 0, false},
    {"dimension, intrinsic", "intrinsic_dimension", "dimensions", of_intrinsic, 1, false},
    {"import, rows/s", "import.vec_per_s", "rows/s", of_import, 0, false},
    {"index, s", "index.s", "s", of_index, 2, true},
    {"us a row", "index.us_a_row", "us", of_index_row, 1, false},
    {"of all processors, s", "index.busy_s", "s", of_index_busy, 2, true},
    {"graphs", "graphs", "graphs", of_graphs, 0, false},
    {"rows in none", "rows_not_in_graph", "rows", of_outside, 0, false},
    {"asked for 0.90: recall", "r90.recall", "recall", of_recall_90, 3, false},
    {"queries/s", "r90.qps", "queries/s", of_qps_90, 0, false},
    {"0.95: recall", "r95.recall", "recall", of_recall_95, 3, false},
    {"queries/s", "r95.qps", "queries/s", of_qps_95, 0, false},
    {"0.99: recall", "r99.recall", "recall", of_recall_99, 3, false},
    {"queries/s", "r99.qps", "queries/s", of_qps_99, 0, false},
    {"queries/s at a recall of 0.95", "qps_at_95", "queries/s", of_qps, 0, true},
    {"of the processor, 0.95, us a query", "r95.busy_us", "us", of_busy, 1, true},
    {"memory, MB", "memory.searched_mb", "MB", of_memory, 1, true},
    {"of it not mapped files", "memory.anonymous_mb", "MB", of_anonymous, 1, false},
    {"memory, every vector read", "memory.all_mb", "MB", of_all_in, 1, true},
    {"its peak", "memory.peak_mb", "MB", of_most, 1, false},
    {"disk, bytes a row", "disk.bytes_a_row", "bytes", of_disk, 0, false},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

static const char *cell(char text[32], const struct column *c, const struct outcome *o)
{
    const double value = c->of(o);
    if (c->decimals == 0) return bench_number(text, value);
    snprintf(text, 32, "%.*f", c->decimals, value);
    return text;
}

/* Of the last n sizes; NAN if one has no value. */
static double exponent(const struct column *c, size_t n)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (size_t i = size_count - n; i < size_count; i++) {
        const double x = log(outcome[i].rows), y = log(c->of(&outcome[i]));
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
    }
    return n < 2 ? (double)NAN : ((double)n * sxy - sx * sy) / ((double)n * sxx - sx * sx);
}

/* A column for each size, as there are more figures than sizes. */
static void write_table(FILE *f)
{
    char text[32];
    for (int c = 0; c < COLUMNS; c++) {
        fprintf(f, "| %s |", columns[c].head);
        for (size_t i = 0; i < size_count; i++)
            fprintf(f, " %s |", cell(text, &columns[c], &outcome[i]));
        const double all = exponent(&columns[c], size_count);
        if (c == 0)
            fprintf(f, " exponent |\n|---|");
        else if (columns[c].fits && isfinite(all))
            fprintf(f, " %.2f; last step %.2f |", all, exponent(&columns[c], 2));
        else
            fprintf(f, " |");
        for (size_t i = 0; c == 0 && i <= size_count; i++)
            fprintf(f, "---:|");
        fprintf(f, "\n");
    }
}

static void write_figures(void)
{
    char name[64];
    for (size_t i = 0; i < size_count; i++) {
        load.rows = (uint64_t)outcome[i].rows;
        for (int c = 1; c < COLUMNS; c++) {
            snprintf(name, sizeof name, "growth.%s", columns[c].figure);
            load_figure(name, load_one(columns[c].of(&outcome[i])), columns[c].unit, "%s", "");
        }
    }
    for (int c = 0; c < COLUMNS; c++) {
        const double all = exponent(&columns[c], size_count);
        if (!columns[c].fits || !isfinite(all)) continue;
        snprintf(name, sizeof name, "growth.%s.exponent", columns[c].figure);
        load_figure(name, load_one(all), "exponent", ", \"last_step\": %.3f, \"sizes\": \"%s\"",
                    exponent(&columns[c], 2), rows_text);
    }
}

static void write_plot(void)
{
    static const char *const name[] = {"queries/s at a recall of 0.95", "seconds to index", "MB of memory, all read"};
    static const char *const colour[] = {"#1f4e9c", "#c0392b", "#2e8b57"};
    double (*const of[])(const struct outcome *) = {of_qps, of_index, of_all_in};
    struct plot_curve curve[3];
    double x[MOST_SIZES], y[3][MOST_SIZES];
    char title[128];
    for (int c = 0; c < 3; c++) {
        size_t n = 0;
        for (size_t i = 0; i < size_count; i++)
            if (of[c](&outcome[i]) > 0) {
                x[n] = outcome[i].rows;
                y[c][n++] = of[c](&outcome[i]);
            }
        curve[c] = (struct plot_curve){name[c], colour[c], false, n, x, y[c]};
        if (n < size_count) curve[c].n = 0; /* x would not be its own */
    }
    snprintf(title, sizeof title, "By rows of %zu dimensions, float32, L2, k of 10, one thread of search", load.dim);
    struct plot p = {.title = title, .logarithmic = true, .curve = curve, .curves = 3};
    plot_write(&p, svg_path);
}

static const char doc_first[] = "<!-- growth -->\n", doc_last[] = "<!-- end of growth -->\n";

/* The text, and where it goes on after the first marker and at the last one. */
static char *read_doc(char **begin, char **end)
{
    struct stat st;
    FILE *f = fopen(doc_path, "r");
    if (f == NULL || fstat(fileno(f), &st) != 0) load_die(doc_path, strerror(errno));
    char *text = bench_alloc((size_t)st.st_size + 1);
    text[fread(text, 1, (size_t)st.st_size, f)] = '\0';
    fclose(f);
    *begin = strstr(text, doc_first);
    *end = *begin == NULL ? NULL : strstr(*begin, doc_last);
    if (*end == NULL) load_die(doc_path, "has no markers <!-- growth --> and <!-- end of growth -->");
    *begin += sizeof doc_first - 1;
    return text;
}

/* What is between the markers becomes the table. */
static void write_doc(void)
{
    char *begin, *end;
    if (doc_path == NULL) return;
    char *text = read_doc(&begin, &end);
    FILE *f = fopen(doc_path, "w");
    if (f == NULL) load_die(doc_path, strerror(errno));
    fprintf(f, "%.*s\n%s, %u cores, %s, %s, commit %s; %.0f queries, %u rounds of %.1f s.\n\n", (int)(begin - text),
            text, load.machine.cpu, load.machine.cores, load.machine.kernel, load.machine.file_system,
            load.machine.commit, queries, load.rounds, load.seconds);
    write_table(f);
    fprintf(f, "\n%s", end);
    if (fclose(f) != 0) load_die(doc_path, strerror(errno));
    free(text);
}

static bool read_sizes(void)
{
    char text[256];
    if (strlen(rows_text) >= sizeof text) return false;
    snprintf(text, sizeof text, "%s", rows_text);
    char *rest = NULL;
    for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        const double rows = load_number(word);
        if (size_count == MOST_SIZES || !(rows >= 1000 && rows <= 1e9)) return false;
        if (size_count > 0 && rows <= sizes[size_count - 1]) return false;
        sizes[size_count++] = floor(rows);
    }
    return size_count > 0;
}

int main(int argc, char **argv)
{
    const struct load_option own[] = {{"--rows", NULL, &rows_text},
                                      {"--queries", &queries, NULL},
                                      {"--svg", NULL, &svg_path},
                                      {"--write", NULL, &doc_path},
                                      {NULL, NULL, NULL}};
    if (argc == 8 && strcmp(argv[1], "--child") == 0) return child(argv);
    load = (struct load){.name = "growth", .data = "synth", .rows = 1, .dim = 128, .seconds = 1, .rounds = 5};
    load_begin(argc, argv, own);
    if (!read_sizes() || queries < 1 || queries > 100000 || load.rounds > MOST_ROUNDS) load_usage(own);
    refuse_without_room();
    if (doc_path != NULL) { /* that it can be written, before hours are spent */
        char *begin, *end;
        free(read_doc(&begin, &end));
    }
    synth_begin(load.dim);
    for (size_t i = 0; i < size_count; i++) {
        char rows[32];
        outcome[i].rows = sizes[i];
        run_size("/proc/self/exe", &outcome[i]);
        const struct outcome *o = &outcome[i];
        printf(
            "  %s rows: import %.1f s (%.1f with making them), index %.1f s, recall %.3f %.3f %.3f, %.0f queries/s at "
            "0.95, %.0f MB\n",
            bench_number(rows, o->rows), o->import_s, o->wall_s, o->index_s, o->s.recall[0], o->s.recall[1],
            o->s.recall[2], o->s.qps_at_95, of_all_in(o));
        fflush(stdout);
    }
    write_table(stdout);
    write_figures();
    write_plot();
    write_doc();
    load_end();
    return 0;
}
