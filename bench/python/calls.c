/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of ./dev bench python; calls.py is the other, line for line.
 *     python_calls DIRECTORY VECTORS
 * VECTORS: a file of float32, 128 to a row. Reads "WHAT CALLS" from stdin, does it on a new database, and answers one
 * line: seconds a call, the median of ten blocks (of single calls, for batches). "memory-WHAT ROWS": bytes by which the
 * peak of the resident memory lay above what there was before.
 */
#include "load.h"

enum { DIM = 128, TINY = 8, SEARCHED = 10000, QUERIES = 100, K = 10, WARM = 20, BLOCKS = 10, MOST = 100000 };

typedef struct side {
    pomai_db *db;
    pomai_collection *collection;
    const float *vectors;
    uint64_t rows, next; /* of vectors; the next to put */
    pomai_durability level;
} side;

typedef struct work {
    const char *name;
    void (*call)(side *s, uint64_t i);
    uint64_t rows; /* there beforehand; 0: as many as are deleted */
    pomai_durability level;
    bool batch; /* each call is timed alone */
} work;

/* ---- calls ---- */

static void put(side *s, uint64_t rows)
{
    pomai_error err;
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.durability = s->level;
    if (s->next + rows > s->rows) s->next = 0;
    batch.rows = rows;
    batch.dim = DIM;
    batch.vectors = s->vectors + s->next * DIM;
    s->next += rows;
    load_check(pomai_put(s->collection, &batch, &options, NULL, &err), "put", &err);
}

static void call_put(side *s, uint64_t i)
{
    (void)i;
    put(s, 1);
}

static void call_put_1k(side *s, uint64_t i)
{
    (void)i;
    put(s, 1000);
}

static void call_put_10k(side *s, uint64_t i)
{
    (void)i;
    put(s, 10000);
}

static void call_delete(side *s, uint64_t i)
{
    pomai_error err;
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.durability = s->level;
    const pomai_ids ids = {1, &i, NULL};
    load_check(pomai_delete(s->collection, &ids, &options, NULL, &err), "delete", &err);
}

static void call_get(side *s, uint64_t i)
{
    pomai_error err;
    pomai_rows *rows;
    const uint64_t id = 3;
    const pomai_ids ids = {1, &id, NULL};
    (void)i;
    load_check(pomai_get(s->collection, &ids, NULL, &rows, &err), "get", &err);
    pomai_rows_free(rows);
}

static void call_count(side *s, uint64_t i)
{
    pomai_error err;
    pomai_collection_info info;
    (void)i;
    load_check(pomai_collection_get_info(s->collection, &info, &err), "count", &err);
}

static void search(side *s, uint64_t queries, bool look)
{
    pomai_error err;
    pomai_result *result;
    load_check(pomai_search(s->collection, s->vectors, queries, DIM, K, NULL, &result, &err), "search", &err);
    if (look && (pomai_result_ids(result, 0) == NULL || !(pomai_result_distances(result, 0)[0] >= 0)))
        load_die("search", "no arrays");
    pomai_result_free(result);
}

static void call_search(side *s, uint64_t i)
{
    (void)i;
    search(s, 1, false);
}

static void call_search_arrays(side *s, uint64_t i)
{
    (void)i;
    search(s, 1, true);
}

static void call_search_100(side *s, uint64_t i)
{
    (void)i;
    search(s, QUERIES, false);
}

static const work works[] = {
    {"search", call_search, TINY, POMAI_DURABILITY_OS, false},
    {"search_arrays", call_search_arrays, TINY, POMAI_DURABILITY_OS, false},
    {"get", call_get, TINY, POMAI_DURABILITY_OS, false},
    {"put", call_put, TINY, POMAI_DURABILITY_OS, false},
    {"delete", call_delete, 0, POMAI_DURABILITY_OS, false},
    {"count", call_count, TINY, POMAI_DURABILITY_OS, false},
    {"add_batch.os", call_put_1k, TINY, POMAI_DURABILITY_OS, true},
    {"add_batch.sync", call_put_1k, TINY, POMAI_DURABILITY_SYNC, true},
    {"add_batch_10k.os", call_put_10k, TINY, POMAI_DURABILITY_OS, true},
    {"add_batch_10k.sync", call_put_10k, TINY, POMAI_DURABILITY_SYNC, true},
    {"search_batch", call_search_100, SEARCHED, POMAI_DURABILITY_OS, true},
};

/* ---- time ---- */

static void begin(side *s, pomai_durability level)
{
    char path[600];
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_collection_options shape = POMAI_COLLECTION_OPTIONS_INIT;
    load_path(path, "c");
    bench_remove_tree(path);
    options.durability = level;
    options.flush_bytes = (uint64_t)1 << 30; /* no flush in between */
    shape.dim = DIM;
    load_check(pomai_open(path, &options, &s->db, &err), "open", &err);
    load_check(pomai_collection_create(s->db, "bench", &shape, &s->collection, &err), "create", &err);
    s->level = level;
    s->next = 0;
}

static void end(side *s)
{
    char path[600];
    load_close(s->db, s->collection);
    load_path(path, "c");
    bench_remove_tree(path);
}

static double measure(side *s, const work *w, uint64_t calls)
{
    static double values[MOST];
    const uint64_t warm = w->batch ? 1 : WARM, blocks = w->batch || calls < BLOCKS ? calls : BLOCKS;
    uint64_t i = 0;
    begin(s, w->level);
    put(s, w->rows != 0 ? w->rows : calls + warm);
    for (; i < warm; i++)
        w->call(s, i);
    for (uint64_t block = 0; block < blocks; block++) {
        const uint64_t last = warm + (block + 1) * calls / blocks, first = i;
        const double start = bench_now();
        for (; i < last; i++)
            w->call(s, i);
        values[block] = (bench_now() - start) / (double)(last - first);
    }
    end(s);
    return blocks == 0 ? 0 : bench_spread_of(values, blocks).median;
}

/* ---- memory ---- */

static double status_bytes(const char *field)
{
    char line[256];
    double value = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, field, strlen(field)) == 0) value = strtod(line + strlen(field), NULL) * 1024;
    if (status != NULL) fclose(status);
    return value;
}

/* The peak begins anew at what is resident now. */
static double reset_peak(void)
{
    FILE *refs = fopen("/proc/self/clear_refs", "w");
    if (refs == NULL || fputs("5", refs) < 0 || fclose(refs) != 0) load_die("/proc/self/clear_refs", strerror(errno));
    return status_bytes("VmRSS:");
}

static void put_all(side *s, uint64_t rows)
{
    const uint64_t most = POMAI_MAX_BATCH_BYTES / (DIM * sizeof(float) + 8);
    for (uint64_t done = 0, n; done < rows; done += n) {
        n = rows - done < most ? rows - done : most;
        put(s, n);
    }
}

static void get_all(side *s, uint64_t rows, uint64_t *numbers)
{
    pomai_error err;
    pomai_rows *found;
    const pomai_ids ids = {rows, numbers, NULL};
    load_check(pomai_get(s->collection, &ids, NULL, &found, &err), "get", &err);
    if (pomai_rows_vectors(found) == NULL) load_die("get", "no vectors");
    pomai_rows_free(found);
}

static double memory(side *s, const char *what, uint64_t rows)
{
    if (rows > s->rows) load_die(what, "more rows than the file has");
    const bool get = strcmp(what, "get") == 0;
    uint64_t *numbers = bench_alloc(rows * sizeof *numbers);
    for (uint64_t i = 0; i < rows; i++)
        numbers[i] = i;
    begin(s, POMAI_DURABILITY_SYNC);
    put(s, 1);
    s->next = 0;
    if (get) put_all(s, rows);
    const double before = reset_peak();
    if (get)
        get_all(s, rows, numbers);
    else
        put_all(s, rows);
    const double peak = status_bytes("VmHWM:") - before;
    end(s);
    free(numbers);
    return peak;
}

/* ---- */

static double answer(side *s, const char *what, uint64_t number)
{
    if (strncmp(what, "memory-", 7) == 0) return memory(s, what + 7, number);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(what, works[i].name) == 0 && number <= MOST) return measure(s, &works[i], number);
    load_die(what, "unknown, or too many calls");
}

static void read_vectors(side *s, const char *path)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &st) != 0) load_die(path, strerror(errno));
    s->rows = (uint64_t)st.st_size / (DIM * sizeof(float));
    float *vectors = malloc(s->rows * DIM * sizeof(float)); /* aligned as NumPy's, which copying depends on */
    if (vectors == NULL) load_die(path, "no memory");
    if (fread(vectors, DIM * sizeof(float), s->rows, file) != s->rows) load_die(path, "cannot be read");
    fclose(file);
    s->vectors = vectors;
}

int main(int argc, char **argv)
{
    side s = {0};
    char line[128], what[64];
    unsigned long long number;
    load.name = "python_calls";
    if (argc != 3) load_die("usage", "python_calls DIRECTORY VECTORS; ./dev bench python runs it");
    snprintf(load.dir, sizeof load.dir, "%s", argv[1]);
    read_vectors(&s, argv[2]);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%63s %llu", what, &number) != 2) load_die(line, "is not WHAT NUMBER");
        printf("%.9g\n", answer(&s, what, number));
        fflush(stdout);
    }
    free((void *)(uintptr_t)s.vectors);
    return 0;
}
