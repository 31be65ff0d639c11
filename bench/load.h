/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks of whole databases share: options, a directory that is emptied, figures as JSON lines, puts,
 * statistics. bench_begin comes first; --rows, --dim, --seconds, --rounds, --dir and --json are everybody's.
 */
#ifndef POMAI_BENCH_LOAD_H
#define POMAI_BENCH_LOAD_H

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pomai/pomai.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { LOAD_POOL = 64 << 20, LOAD_MOST_BATCH = 10000 };

/* A number with k, m or g behind it, or (text) a word. */
struct load_option {
    const char *name;
    double *number;
    const char **text;
};

struct load {
    const char *name;        /* of the benchmark */
    const char *data;        /* of the figures; NULL: random */
    uint32_t search_threads; /* of load_open, as in the open options */
    uint64_t rows;
    size_t dim;
    double seconds;
    uint32_t rounds;
    const char *json_path;
    char dir[512];
    FILE *json;
    struct bench_machine machine;
    float *pool; /* the vectors, made before anything is timed */
    size_t pool_rows;
};

static struct load load;
static volatile sig_atomic_t load_interrupted;

_Noreturn static inline void load_die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", load.name, what, why);
    exit(1);
}

static inline void load_check(pomai_status status, const char *what, const pomai_error *err)
{
    if (status != POMAI_OK) load_die(what, err->message);
}

/* ---- beginning ---- */

static inline void load_clean_up(void)
{
    if (load.dir[0] != '\0') bench_remove_tree(load.dir);
}

static inline void load_on_signal(int number)
{
    load_interrupted = number;
}

/* Between pieces of work, on the main thread while no other puts. */
static inline void load_leave_if_interrupted(void)
{
    if (load_interrupted != 0) exit(128 + load_interrupted);
}

static inline double load_number(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    value *= *end == 'k' ? 1e3 : *end == 'm' ? 1e6 : *end == 'g' ? 1e9 : 1;
    end += *end == 'k' || *end == 'm' || *end == 'g';
    return *end == '\0' ? value : -1;
}

_Noreturn static inline void load_usage(const struct load_option *own)
{
    fprintf(stderr, "usage: ./dev bench %s [--rows N] [--dim N] [--seconds S] [--rounds N] [--dir D] [--json FILE]",
            load.name);
    for (; own != NULL && own->name != NULL; own++)
        fprintf(stderr, " [%s %s]", own->name, own->number != NULL ? "N" : "TEXT");
    fprintf(stderr, "\nnumbers may end in k, m, g\n");
    exit(2);
}

static inline const char *load_parse(int argc, char **argv, const struct load_option *own)
{
    struct stat st;
    const char *dir = stat("build", &st) == 0 && S_ISDIR(st.st_mode) ? "build" : ".";
    double rows = (double)load.rows, dim = (double)load.dim, rounds = load.rounds;
    const struct load_option common[] = {
        {"--rows", &rows, NULL},     {"--dim", &dim, NULL}, {"--seconds", &load.seconds, NULL},
        {"--rounds", &rounds, NULL}, {"--dir", NULL, &dir}, {"--json", NULL, &load.json_path},
        {NULL, NULL, NULL}};
    for (int i = 1; i < argc; i += 2) {
        const struct load_option *found = NULL;
        for (const struct load_option *o = common; o->name != NULL; o++)
            if (strcmp(argv[i], o->name) == 0) found = o;
        for (const struct load_option *o = own; o != NULL && o->name != NULL; o++)
            if (strcmp(argv[i], o->name) == 0) found = o;
        if (found == NULL || i + 1 == argc) load_usage(own);
        if (found->text != NULL) *found->text = argv[i + 1];
        if (found->number != NULL && (*found->number = load_number(argv[i + 1])) < 0) load_usage(own);
    }
    if (rows < 1 || dim < 1 || dim > 65536 || rounds < 1 || rounds > 1000 || !(load.seconds > 0)) load_usage(own);
    load.rows = (uint64_t)rows;
    load.dim = (size_t)dim;
    load.rounds = (uint32_t)rounds;
    return dir;
}

/* `load` has the defaults and the name; `own` (may be NULL) ends with an empty entry. */
static inline void load_begin(int argc, char **argv, const struct load_option *own)
{
    const char *parent = load_parse(argc, argv, own);
    char template[500];
    snprintf(template, sizeof template, "%s/bench-%s.XXXXXX", parent, load.name);
    if (mkdtemp(template) == NULL) load_die(parent, strerror(errno));
    snprintf(load.dir, sizeof load.dir, "%s", template);
    atexit(load_clean_up);
    signal(SIGINT, load_on_signal);
    signal(SIGTERM, load_on_signal);
    if (load.json_path != NULL) {
        load.json = strcmp(load.json_path, "-") == 0 ? stdout : fopen(load.json_path, "w");
        if (load.json == NULL) load_die(load.json_path, strerror(errno));
    }
    bench_machine_get(&load.machine, load.dir);
    load.pool_rows = LOAD_POOL / (load.dim * sizeof(float));
    load.pool = bench_alloc(LOAD_POOL);
    for (size_t i = 0; i < LOAD_POOL / sizeof(float); i++)
        load.pool[i] = (float)(bench_mix(i) >> 40) * 0x1p-23f - 1;
    printf("%s: %s, %u cores, %s, %s, commit %s\n", load.name, load.machine.cpu, load.machine.cores,
           load.machine.kernel, load.machine.file_system, load.machine.commit);
    fflush(stdout);
}

static inline void load_end(void)
{
    fflush(stdout);
    if (load.json != NULL && load.json != stdout && fclose(load.json) != 0) load_die(load.json_path, strerror(errno));
}

/* ---- figures ---- */

/* `more`: further members of the object, each ", \"name\": value". */
__attribute__((format(printf, 4, 5))) static inline void load_figure(const char *figure, struct bench_spread value,
                                                                     const char *unit, const char *more, ...)
{
    if (load.json == NULL) return;
    fprintf(load.json, "{\"figure\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"least\": %.6g, \"most\": %.6g",
            figure, value.median, unit, value.least, value.most);
    va_list list;
    va_start(list, more);
    vfprintf(load.json, more, list);
    va_end(list);
    fprintf(load.json,
            ", \"rounds\": %u, \"data\": \"%s\", \"n\": %llu, \"dim\": %zu, \"machine\": \"%s, %u cores\", "
            "\"kernel\": \"%s\", \"file_system\": \"%s\", \"commit\": \"%s\"}\n",
            load.rounds, load.data != NULL ? load.data : "random", (unsigned long long)load.rows, load.dim,
            load.machine.cpu, load.machine.cores, load.machine.kernel, load.machine.file_system, load.machine.commit);
    fflush(load.json);
}

static inline struct bench_spread load_one(double value)
{
    return (struct bench_spread){value, value, value};
}

/* Of values in order. */
static inline double load_quantile(const double *sorted, size_t n, double q)
{
    return n == 0 ? 0 : sorted[(size_t)(q * (double)(n - 1) + 0.5)];
}

/* ---- databases ---- */

static inline void load_path(char path[600], const char *name)
{
    snprintf(path, 600, "%s/%s", load.dir, name);
}

static inline pomai_db *load_open(const char *name, pomai_durability level, pomai_collection **collection)
{
    char path[600];
    pomai_db *db;
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_collection_options shape = POMAI_COLLECTION_OPTIONS_INIT;
    load_path(path, name);
    options.durability = level;
    options.search_threads = load.search_threads;
    load_check(pomai_open(path, &options, &db, &err), "open", &err);
    shape.dim = load.dim;
    if (pomai_collection_open(db, "bench", collection, &err) != POMAI_OK)
        load_check(pomai_collection_create(db, "bench", &shape, collection, &err), "create", &err);
    return db;
}

static inline void load_close(pomai_db *db, pomai_collection *collection)
{
    pomai_error err;
    pomai_collection_close(collection);
    load_check(pomai_close(db, &err), "close", &err);
}

/* Vectors for put number `number`; walks the pool. */
static inline const float *load_vectors(uint64_t number, size_t rows)
{
    const size_t room = load.pool_rows - rows + 1;
    return load.pool + number * 1009 * rows % room * load.dim;
}

/* ids NULL: assigned. */
static inline void load_put_vectors(pomai_collection *collection, const float *vectors, const uint64_t *ids,
                                    size_t rows, pomai_durability level)
{
    pomai_error err;
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.durability = level;
    batch.rows = rows;
    batch.dim = load.dim;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    load_check(pomai_put(collection, &batch, &options, NULL, &err), "put", &err);
}

static inline void load_put(pomai_collection *collection, uint64_t number, const uint64_t *ids, size_t rows,
                            pomai_durability level)
{
    load_put_vectors(collection, load_vectors(number, rows), ids, rows, level);
}

/* A bijection of 0 .. n - 1 for each seed, as good as random: cycles walked in a power of two. */
static inline uint64_t load_shuffle(uint64_t i, uint64_t n, uint64_t seed)
{
    unsigned bits = 1;
    while (bits < 63 && (uint64_t)1 << bits < n)
        bits++;
    const uint64_t mask = ((uint64_t)1 << bits) - 1, add = bench_mix(seed);
    do {
        for (int round = 0; round < 3; round++) {
            i = (i + add) & mask;
            i = i * 0xd6e8feb86659fd93 & mask;
            i ^= i >> (bits / 2 + 1);
        }
    } while (i >= n);
    return i;
}

static inline void load_sync_dir(void)
{
    int fd = open(load.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) load_die(load.dir, strerror(errno));
    close(fd);
}

/* ---- statistics ---- */

struct load_stats {
    double rows, segments, segment_rows, segment_rows_ended, segment_bytes, log_bytes;
    double unflushed, flushes, flushed_bytes, live_bytes, compactions, compacted_bytes, stalls, stall_ns, limbo;
};

static inline double load_field(const char *text, const char *name)
{
    const char *at = text == NULL ? NULL : strstr(text, name);
    return at != NULL ? strtod(at + strlen(name), NULL) : 0;
}

static inline struct load_stats load_stats_of(pomai_db *db)
{
    pomai_error err;
    char *text;
    load_check(pomai_stats(db, &text, &err), "stats", &err);
    const char *m = strstr(text, "\"maintenance\""), *c = strstr(text, "\"collections\"");
    struct load_stats s = {.unflushed = load_field(m, "\"unflushed_bytes\": "),
                           .flushes = load_field(m, "\"flushes\": "),
                           .flushed_bytes = load_field(m, "\"flushed_bytes\": "),
                           .live_bytes = load_field(m, "\"live_bytes\": "),
                           .compactions = load_field(m, "\"compactions\": "),
                           .compacted_bytes = load_field(m, "\"compacted_bytes\": "),
                           .stalls = load_field(m, "\"stalls\": "),
                           .stall_ns = load_field(m, "\"stall_ns\": "),
                           .limbo = load_field(m, "\"limbo\": ")};
    s.rows = load_field(c, "\"rows\": ");
    s.segments = load_field(c, "\"segments\": ");
    s.segment_rows = load_field(c, "\"segment_rows\": ");
    s.segment_rows_ended = load_field(c, "\"segment_rows_ended\": ");
    s.segment_bytes = load_field(c, "\"segment_bytes\": ");
    for (const char *at = strstr(text, "\"shards\""); at != NULL && (at = strstr(at, "{\"shard\":")) != NULL; at++)
        s.log_bytes += load_field(at, "\"log_bytes\": ");
    pomai_free(text);
    return s;
}

/* Bytes that this process made the disk write so far; 0 where that is not to be had. */
static inline double load_disk_writes(void)
{
    char line[128];
    double bytes = 0;
    FILE *io = fopen("/proc/self/io", "r");
    while (io != NULL && fgets(line, sizeof line, io) != NULL)
        if (strncmp(line, "write_bytes: ", 13) == 0) bytes = strtod(line + 13, NULL);
    if (io != NULL) fclose(io);
    return bytes;
}

static uint64_t load_blocks;

static inline int load_add_blocks(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    (void)where;
    if (kind == FTW_F) load_blocks += (uint64_t)st->st_blocks * 512;
    return 0;
}

/* Blocks of the directory. Files come and go while it is walked: those that are there. */
static inline double load_disk_bytes(const char *name)
{
    char path[600];
    load_path(path, name);
    load_blocks = 0;
    (void)nftw(path, load_add_blocks, 16, FTW_PHYS);
    return (double)load_blocks;
}

struct load_memory {
    double resident, anonymous, mapped, most; /* most: the largest that resident has been */
};

/* Of this process, in bytes. */
static inline struct load_memory load_memory_now(void)
{
    struct load_memory m = {0};
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) m.resident = strtod(line + 6, NULL) * 1024;
        if (strncmp(line, "VmHWM:", 6) == 0) m.most = strtod(line + 6, NULL) * 1024;
        if (strncmp(line, "RssAnon:", 8) == 0) m.anonymous = strtod(line + 8, NULL) * 1024;
        if (strncmp(line, "RssFile:", 8) == 0) m.mapped = strtod(line + 8, NULL) * 1024;
    }
    if (status != NULL) fclose(status);
    return m;
}

/* Until nothing was written for a second and nothing waits to be freed, or `most` seconds have passed; false then. */
static inline bool load_settle(pomai_db *db, double most)
{
    const double begin = bench_now();
    double written = -1, since = begin;
    while (bench_now() - begin < most && load_interrupted == 0) {
        struct load_stats s = load_stats_of(db);
        const double now = s.flushed_bytes + s.compacted_bytes + s.limbo + load_disk_writes();
        if (now != written) since = bench_now();
        written = now;
        if (bench_now() - since >= 1 && s.limbo == 0) return true;
        usleep(100 * 1000);
    }
    return false;
}

/* ---- the disk by itself ---- */

/* Bytes a second of plain writes of `record` bytes, each followed by fdatasync, into one growing file, as the log. */
static inline double load_disk_rate(size_t record, double seconds)
{
    char path[600];
    load_path(path, "plain");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || fsync(fd) != 0) load_die(path, strerror(errno));
    const double begin = bench_now();
    uint64_t done = 0;
    while (bench_now() - begin < seconds && load_interrupted == 0) {
        const char *from = (const char *)load.pool + done % (LOAD_POOL - record);
        if (pwrite(fd, from, record, (off_t)done) != (ssize_t)record || fdatasync(fd) != 0)
            load_die("plain write", strerror(errno));
        done += record;
    }
    const double took = bench_now() - begin;
    close(fd);
    unlink(path);
    load_sync_dir();
    return (double)done / took;
}

#endif
