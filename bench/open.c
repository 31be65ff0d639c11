/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long opening takes, by the size of the database, and the first search after it.
 *     ./dev bench open [--rows N] [--dim N] [--rounds N] [--dir D] [--json FILE]
 * One database grows by puts to 10 thousand rows, 100 thousand, and so on up to --rows (1 million; 5m for more), and is
 * closed cleanly at each size. Then it is opened --rounds times, each time by a new process: with its files in the page
 * cache (warm), and after they were dropped from it as far as posix_fadvise does that (cold).
 */
#include "load.h"

#include <sys/wait.h>

enum { BATCH = 1000, K = 10, MOST_ROUNDS = 1000 };

struct timing {
    double open_ms, search_ms;
};

/* The child: opens, searches once, and says how long both took. */
static int child(const char *path, const char *dim_text)
{
    pomai_db *db;
    pomai_collection *collection;
    pomai_result *result;
    pomai_error err;
    const size_t dim = strtoul(dim_text, NULL, 10);
    float *query = bench_alloc(dim * sizeof *query);
    for (size_t i = 0; i < dim; i++)
        query[i] = (float)(bench_mix(i) >> 40) * 0x1p-23f - 1;
    load.name = "open";
    const double begin = bench_now();
    load_check(pomai_open(path, NULL, &db, &err), "open", &err);
    const double opened = bench_now();
    load_check(pomai_collection_open(db, "bench", &collection, &err), "collection", &err);
    load_check(pomai_search(collection, query, 1, dim, K, NULL, &result, &err), "search", &err);
    const double searched = bench_now();
    printf("%.6f %.6f\n", 1e3 * (opened - begin), 1e3 * (searched - opened));
    pomai_result_free(result);
    pomai_collection_close(collection);
    load_check(pomai_close(db, &err), "close", &err);
    free(query);
    return 0;
}

static struct timing run_child(const char *program)
{
    char path[600], line[128] = "", dim[32];
    int ends[2], status;
    struct timing t = {0, 0};
    load_path(path, "db");
    snprintf(dim, sizeof dim, "%zu", load.dim);
    if (pipe(ends) != 0) load_die("pipe", strerror(errno));
    const pid_t pid = fork();
    if (pid < 0) load_die("fork", strerror(errno));
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        execl(program, program, "--child", path, dim, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    char *rest = line;
    if (from == NULL || fgets(line, sizeof line, from) == NULL) load_die("child", "said nothing");
    t.open_ms = strtod(line, &rest);
    t.search_ms = strtod(rest, NULL);
    fclose(from);
    if (waitpid(pid, &status, 0) != pid || status != 0) load_die("child", "failed");
    return t;
}

/* ---- the page cache ---- */

static int drop_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)where;
    if (kind != FTW_F) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    (void)fdatasync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return 0;
}

static int read_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    static char buffer[1 << 20];
    (void)st;
    (void)where;
    if (kind != FTW_F) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && read(fd, buffer, sizeof buffer) > 0)
        ;
    if (fd >= 0) close(fd);
    return 0;
}

/* ---- sizes ---- */

static void grow(uint64_t from, uint64_t to)
{
    pomai_collection *collection;
    pomai_db *db = load_open("db", POMAI_DURABILITY_OS, &collection);
    for (uint64_t done = from; done < to; done += BATCH) {
        load_put(collection, done, NULL, to - done < BATCH ? to - done : BATCH, POMAI_DURABILITY_OS);
        load_leave_if_interrupted();
    }
    pomai_error err;
    load_check(pomai_flush(db, &err), "flush", &err);
    if (!load_settle(db, 120)) printf("  not quiet after two minutes\n");
    load_close(db, collection);
}

static void size_name(char text[32], uint64_t rows)
{
    if (rows % 1000000 == 0)
        snprintf(text, 32, "%llum", (unsigned long long)rows / 1000000);
    else if (rows % 1000 == 0)
        snprintf(text, 32, "%lluk", (unsigned long long)rows / 1000);
    else
        snprintf(text, 32, "%llu", (unsigned long long)rows);
}

static double measure(const char *program, uint64_t rows)
{
    static double value[2][2][MOST_ROUNDS]; /* cold; open, first search */
    char path[600], size[32], name[64];
    load_path(path, "db");
    for (uint32_t r = 0; r < load.rounds; r++) {
        for (int cold = 0; cold < 2; cold++) {
            (void)nftw(path, cold != 0 ? drop_one : read_one, 16, FTW_PHYS);
            const struct timing t = run_child(program);
            value[cold][0][r] = t.open_ms;
            value[cold][1][r] = t.search_ms;
            load_leave_if_interrupted();
        }
    }
    size_name(size, rows);
    printf("  %8s", size);
    double warm = 0;
    for (int cold = 0; cold < 2; cold++) {
        for (int what = 0; what < 2; what++) {
            const struct bench_spread s = bench_spread_of(value[cold][what], load.rounds);
            printf("  %9.2f (%.2f to %.2f)", s.median, s.least, s.most);
            snprintf(name, sizeof name, "open.%s.%s%sms", size, what == 1 ? "first_search_" : "",
                     cold == 1 ? "cold_" : "");
            load_figure(name, s, "ms", ", \"rows\": %llu", (unsigned long long)rows);
            if (cold == 0 && what == 0) warm = s.median;
        }
    }
    printf("\n");
    fflush(stdout);
    return warm;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--child") == 0) return child(argv[2], argv[3]);
    load = (struct load){.name = "open", .rows = 1000000, .dim = 128, .seconds = 1, .rounds = 9};
    load_begin(argc, argv, NULL);
    printf("median of %u (least to most), ms\n  %8s  %-30s %-30s %-30s %s\n", load.rounds, "rows", "open",
           "first search", "open, cold", "first search, cold");
    double first = 0, last = 0;
    uint64_t there = 0;
    for (uint64_t rows = load.rows < 10000 ? load.rows : 10000;;) {
        grow(there, rows);
        there = rows;
        last = measure("/proc/self/exe", rows);
        if (first == 0) first = last;
        if (rows == load.rows) break;
        rows = rows * 10 < load.rows ? rows * 10 : load.rows;
    }
    printf("  the largest takes %.2f times as long to open as the smallest\n", last / first);
    load_figure("open.flat", load_one(last / first), "ratio", "%s", "");
    load_end();
    return 0;
}
