/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that lives on: threads put, delete, get and search while everything is flushed and compacted, in processes
 * that are killed at random instants, one after the other on the same database. A ledger outside of it knows what was
 * acknowledged. One process in four lives long; what it holds (memory, descriptors) must not grow.
 *
 * A writer owns its keys, and has one operation under way: after a kill all of its rows are as it wanted them, or none.
 * What was acknowledged, at whatever level, survives the death of the process.
 */
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "pomai/pomai.h"
#include "support/args.h"
#include "support/tmp.h"

enum { WRITERS = 3, KEYS = 1500, DIM = 24, MOST_ROWS = 60, SAMPLES = 4096, WHAT = 400 };

/* A key's state: 0 absent, else the version that is there. */
struct writer {
    uint32_t state[KEYS];
    uint32_t last; /* version given out */
    /* the operation under way */
    _Atomic uint32_t busy;
    uint32_t rows, version; /* version 0: a delete */
    uint16_t key[MOST_ROWS];
};

struct ledger {
    struct writer writer[WRITERS];
    _Atomic uint64_t operations, checks, kills, processes;
    _Atomic uint32_t failed;
    char what[WHAT];
    /* of the process that runs */
    _Atomic uint32_t samples;
    struct {
        uint64_t resident, allocated, descriptors;
    } sample[SAMPLES];
};

static struct ledger *ledger;
static pomai_db *db;
static pomai_collection *coll;
static _Atomic bool stop;
static pthread_rwlock_t quiet; /* held for writing: nothing is under way, to see what the process holds then */
static uint64_t seed;

/* What the engine has from malloc: what is resident says little under a sanitizer. */
static _Atomic uint64_t allocated;

static void *count(void *memory)
{
    if (memory != NULL) atomic_fetch_add(&allocated, malloc_usable_size(memory));
    return memory;
}

static void *take(size_t alignment, size_t size)
{
    return count(alignment > 16 ? aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                                : malloc(size));
}

static void give(void *memory)
{
    if (memory != NULL) atomic_fetch_sub(&allocated, malloc_usable_size(memory));
    free(memory);
}

static void *resize(void *memory, size_t size)
{
    const size_t before = memory == NULL ? 0 : malloc_usable_size(memory);
    void *after = realloc(memory, size);
    if (after != NULL) atomic_fetch_sub(&allocated, before);
    return count(after);
}

static const pm_memory counting = {take, resize, give};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RESIDENT_COUNTS = 0 };
#else
enum { RESIDENT_COUNTS = 1 };
#endif

static void failed(const char *what, const char *detail)
{
    uint32_t none = 0;
    if (atomic_compare_exchange_strong(&ledger->failed, &none, 1))
        snprintf(ledger->what, sizeof ledger->what, "%s: %.300s", what, detail);
    atomic_store(&stop, true);
}

static uint64_t id_of(uint32_t writer, uint32_t key)
{
    return (uint64_t)(key / 16) << 12 | writer * 16 | key % 16;
}

static void fill(float *vector, uint32_t writer, uint32_t key, uint32_t version)
{
    struct t_rng rng = t_rng_from(t_mix2((uint64_t)writer << 32 | key, version));
    vector[0] = (float)(version & 0xffffff);
    for (uint32_t d = 1; d < DIM; d++)
        vector[d] = (float)t_below(&rng, 1000) / 1000;
}

static bool is_version(const float *vector, uint32_t writer, uint32_t key, uint32_t version)
{
    float wanted[DIM];
    fill(wanted, writer, key, version);
    return memcmp(wanted, vector, sizeof wanted) == 0;
}

/* ---- what a killed process left ---- */

/* Every key of a writer: which version is there. */
static bool read_writer(uint32_t w, uint32_t *found)
{
    uint64_t ids[KEYS];
    pomai_rows *rows;
    pomai_error err = {0};
    const struct writer *own = &ledger->writer[w];
    for (uint32_t key = 0; key < KEYS; key++)
        ids[key] = id_of(w, key);
    pomai_ids list = {KEYS, ids, NULL};
    if (pomai_get(coll, &list, NULL, &rows, &err) != POMAI_OK) {
        failed("get", err.message);
        return false;
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        const float *vector = pomai_rows_vector(rows, key);
        found[key] = 0;
        if (vector == NULL) continue;
        if (own->state[key] != 0 && is_version(vector, w, key, own->state[key]))
            found[key] = own->state[key];
        else if (own->version != 0 && is_version(vector, w, key, own->version))
            found[key] = own->version;
        else
            failed("a row that was never so, or is no longer so", "of the ledger");
    }
    pomai_rows_free(rows);
    return true;
}

static void settle_writer(uint32_t w)
{
    struct writer *own = &ledger->writer[w];
    uint32_t found[KEYS];
    bool mine[KEYS] = {false};
    if (!read_writer(w, found)) return;
    uint32_t done = 0, not_done = 0;
    for (uint32_t i = 0; atomic_load(&own->busy) != 0 && i < own->rows; i++) {
        const uint32_t key = own->key[i];
        mine[key] = true;
        if (own->version == own->state[key]) { /* the ledger had it already; or a delete of what is not there */
            done += own->version != 0;
            continue;
        }
        done += found[key] == own->version;
        not_done += found[key] == own->state[key];
    }
    if (done > 0 && not_done > 0) failed("a batch", "is there in part");
    for (uint32_t key = 0; key < KEYS; key++) {
        if (mine[key] && done > 0) own->state[key] = own->version;
        if (found[key] != own->state[key]) failed("an acknowledged row", "is not as it was acknowledged");
    }
    atomic_store(&own->busy, 0);
    atomic_fetch_add(&ledger->checks, 1);
}

/* A search for everything finds exactly what the ledger has. */
static void check_count(void)
{
    pomai_collection_info info;
    pomai_error err = {0};
    uint64_t rows = 0;
    for (uint32_t w = 0; w < WRITERS; w++)
        for (uint32_t key = 0; key < KEYS; key++)
            rows += ledger->writer[w].state[key] != 0;
    if (pomai_collection_get_info(coll, &info, &err) != POMAI_OK) {
        failed("info", err.message);
        return;
    }
    const float query[DIM] = {0};
    pomai_result *result;
    if (pomai_search(coll, query, 1, DIM, WRITERS * KEYS + 1, NULL, &result, &err) != POMAI_OK) {
        failed("search", err.message);
        return;
    }
    if (pomai_result_count(result, 0) != rows || info.rows != rows) failed("a search for all", "finds another number");
    pomai_result_free(result);
}

/* ---- threads ---- */

static bool put_or_delete(struct writer *own, uint32_t w, struct t_rng *rng)
{
    float vectors[MOST_ROWS * DIM];
    uint64_t ids[MOST_ROWS];
    pomai_error err = {0};
    pomai_ack ack;
    const bool delete = t_chance(rng, 25);
    uint64_t there = 0;
    own->rows = 1 + (uint32_t)t_skewed(rng, 0, MOST_ROWS - 1);
    own->version = delete ? 0 : ++own->last;
    const uint32_t first = (uint32_t)t_below(rng, KEYS), step = t_chance(rng, 50) ? 1 : 7;
    for (uint32_t i = 0; i < own->rows; i++) {
        own->key[i] = (uint16_t)((first + i * step) % KEYS);
        ids[i] = id_of(w, own->key[i]);
        there += own->state[own->key[i]] != 0;
        if (!delete) fill(vectors + (size_t)i * DIM, w, own->key[i], own->version);
    }
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.durability = t_chance(rng, 80) ? POMAI_DURABILITY_OS : POMAI_DURABILITY_SYNC;
    atomic_store(&own->busy, 1);
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = own->rows;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    pomai_ids list = {own->rows, ids, NULL};
    pomai_status status =
        delete ? pomai_delete(coll, &list, &options, &ack, &err) : pomai_put(coll, &batch, &options, &ack, &err);
    if (status != POMAI_OK) {
        failed(delete ? "delete" : "put", err.message);
        return false;
    }
    if (delete &&ack.rows != there) failed("a delete", "found another number of rows");
    for (uint32_t i = 0; i < own->rows; i++)
        own->state[own->key[i]] = own->version;
    atomic_store(&own->busy, 0);
    atomic_fetch_add(&ledger->operations, 1);
    return true;
}

static void *write_and_read(void *arg)
{
    const uint32_t w = (uint32_t)(uintptr_t)arg;
    struct writer *own = &ledger->writer[w];
    struct t_rng rng = t_rng_from(t_mix2(seed, w + 1));
    for (bool goes_on = true; goes_on && !atomic_load(&stop); pthread_rwlock_unlock(&quiet)) {
        pthread_rwlock_rdlock(&quiet);
        goes_on = put_or_delete(own, w, &rng);
        if (goes_on && t_chance(&rng, 30)) {
            const uint32_t key = own->key[0];
            uint64_t id = id_of(w, key);
            pomai_ids list = {1, &id, NULL};
            pomai_rows *rows;
            pomai_error err = {0};
            if (pomai_get(coll, &list, NULL, &rows, &err) != POMAI_OK) {
                failed("get", err.message);
                continue;
            }
            const float *vector = pomai_rows_vector(rows, 0);
            if ((vector != NULL) != (own->state[key] != 0) ||
                (vector != NULL && !is_version(vector, w, key, own->state[key])))
                failed("a writer", "does not read what it wrote");
            pomai_rows_free(rows);
        }
    }
    return NULL;
}

/* Snapshots that stay the same while everything under them moves. */
static void *look_after(void *arg)
{
    struct t_rng rng = t_rng_from(t_mix2(seed, 99));
    (void)arg;
    while (!atomic_load(&stop)) {
        pthread_rwlock_rdlock(&quiet);
        pomai_snapshot *snapshot = NULL;
        uint64_t before[2] = {0}, after[2] = {0};
        pomai_error err = {0};
        const bool pin = t_chance(&rng, 50);
        pomai_status status = pin ? pomai_snapshot_open(db, &snapshot, &err) : POMAI_OK;
        if (status == POMAI_OK && pin) status = pomai_digest(db, snapshot, before, &err);
        if (status == POMAI_OK && t_chance(&rng, 50)) status = pomai_flush(db, &err);
        if (status == POMAI_OK && t_chance(&rng, 30)) status = pomai_compact(db, NULL, &err);
        if (status == POMAI_OK && pin) status = pomai_digest(db, snapshot, after, &err);
        if (status != POMAI_OK) failed("flush, compact or digest", err.message);
        if (memcmp(before, after, sizeof before) != 0) failed("a snapshot", "changed");
        pomai_snapshot_close(snapshot);
        pthread_rwlock_unlock(&quiet);
        struct timespec pause = {0, (long)t_below(&rng, 30000000)};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ---- what the process holds ---- */

static void take_sample(void)
{
    unsigned long pages = 0;
    pomai_error err = {0};
    pthread_rwlock_wrlock(&quiet);
    if (pomai_flush(db, &err) != POMAI_OK || pomai_compact(db, NULL, &err) != POMAI_OK)
        failed("flush or compact", err.message);
    uint64_t descriptors = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
        fclose(f);
    }
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        descriptors++;
    if (dir != NULL) closedir(dir);
    const uint64_t held = atomic_load(&allocated);
    pthread_rwlock_unlock(&quiet);
    uint32_t n = atomic_load(&ledger->samples);
    if (n == SAMPLES) return;
    ledger->sample[n].resident = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    ledger->sample[n].allocated = held;
    ledger->sample[n].descriptors = descriptors;
    atomic_store(&ledger->samples, n + 1);
}

static void process(const char *path, double seconds, bool is_judged)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    struct t_rng rng = t_rng_from(seed);
    pomai_error err = {0};
    options.flags = t_chance(&rng, 30) ? POMAI_OPEN_NO_FLUSH_AT_CLOSE : 0;
    options.shards = 2;
    options.flush_bytes = (uint64_t)64 << 10 << t_below(&rng, 5);
    options.log_bytes = (uint64_t)1 << 20;
    options.wal_file_bytes = (uint64_t)64 << 10 << t_below(&rng, 5);
    options.segment_bytes = (uint64_t)256 << 10 << t_below(&rng, 4);
    options.compact_rate = UINT64_MAX;
    if (pomai_open(path, &options, &db, &err) != POMAI_OK) {
        failed("open", err.message);
        return;
    }
    coll = pomai_default(db);
    pomai_collection *made = NULL;
    pomai_collection_options shape = POMAI_COLLECTION_OPTIONS_INIT;
    shape.dim = DIM;
    if (pomai_collection_create(db, "default", &shape, &made, NULL) == POMAI_OK) pomai_collection_close(made);
    for (uint32_t w = 0; w < WRITERS; w++)
        settle_writer(w);
    check_count();
    pthread_t thread[WRITERS + 1];
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&quiet, &attributes);
    for (uintptr_t w = 0; w < WRITERS; w++)
        pthread_create(&thread[w], NULL, write_and_read, (void *)w);
    pthread_create(&thread[WRITERS], NULL, look_after, NULL);
    for (const double end = t_now() + seconds; t_now() < end && !atomic_load(&stop);) {
        struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
        if (is_judged) take_sample();
    }
    atomic_store(&stop, true);
    for (int i = 0; i <= WRITERS; i++)
        pthread_join(thread[i], NULL);
    check_count();
    if (pomai_close(db, &err) != POMAI_OK) failed("close", err.message);
}

/* ---- the parent ---- */

enum what { RESIDENT, ALLOCATED, DESCRIPTORS };

static uint64_t value_of(uint32_t i, enum what what)
{
    return what == RESIDENT    ? ledger->sample[i].resident
           : what == ALLOCATED ? ledger->sample[i].allocated
                               : ledger->sample[i].descriptors;
}

/* The least of some samples: what comes and goes with builds is not in it, what leaks is. */
static uint64_t least_of(uint32_t from, uint32_t to, enum what what)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = from; i < to; i++)
        if (value_of(i, what) < least) least = value_of(i, what);
    return least;
}

/* Growth from the second quarter of a long life to its last. */
static void judge_growth(int verbose)
{
    const uint32_t n = atomic_load(&ledger->samples);
    uint64_t before[3], after[3];
    if (n < 12) return;
    for (int i = 0; i < 3; i++) {
        before[i] = least_of(n / 4, n / 2, (enum what)i);
        after[i] = least_of(n * 3 / 4, n, (enum what)i);
    }
    /* malloc keeps what the largest merge took */
    if (RESIDENT_COUNTS && after[RESIDENT] > before[RESIDENT] + before[RESIDENT] / 5 + (16u << 20))
        failed("resident memory", "grows");
    if (after[ALLOCATED] > before[ALLOCATED] + before[ALLOCATED] / 4 + (256u << 10))
        failed("allocated memory", "grows");
    if (after[DESCRIPTORS] > before[DESCRIPTORS] + 4) failed("descriptors", "grow");
    if (verbose || atomic_load(&ledger->failed) != 0)
        printf("endure: %u samples: resident at least %.1f, then %.1f MB; allocated %.2f, then %.2f MB; descriptors "
               "%llu, then "
               "%llu\n",
               n, (double)before[RESIDENT] / 1e6, (double)after[RESIDENT] / 1e6, (double)before[ALLOCATED] / 1e6,
               (double)after[ALLOCATED] / 1e6, (unsigned long long)before[DESCRIPTORS],
               (unsigned long long)after[DESCRIPTORS]);
}

static void run_process(const char *path, bool lives_long, double seconds, struct t_rng *rng, int verbose)
{
    atomic_store(&ledger->samples, 0);
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        process(path, lives_long ? seconds : 600, lives_long);
        _exit(0);
    }
    if (pid < 0) t_die("fork for", path);
    int status;
    if (!lives_long) {
        const uint64_t us = t_skewed(rng, 1000, 1500000);
        struct timespec pause = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
    }
    waitpid(pid, &status, 0);
    atomic_fetch_add(&ledger->processes, 1);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !lives_long)
        atomic_fetch_add(&ledger->kills, 1);
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        failed("a process", "died by itself");
    else if (lives_long)
        judge_growth(verbose);
}

int main(int argc, char **argv)
{
    const struct t_args args = t_parse_args(argc, argv);
    pm_memory_hook = &counting;
    char path[T_PATH_MAX], database[T_PATH_MAX];
    ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ledger == MAP_FAILED) t_die("map", "the ledger");
    t_tmp_make(path, args.dir, "endure");
    t_join(database, path, "db");
    struct t_rng rng = t_rng_from(args.seed);
    const double seconds = args.seconds > 0 ? args.seconds : 1e9, end = t_now() + seconds;
    for (uint64_t i = 0; t_now() < end && (args.cases == 0 || i < args.cases) && !atomic_load(&ledger->failed); i++) {
        seed = t_case_seed(args.seed, i);
        run_process(database, i % 4 == 3, seconds < 40 ? seconds / 4 : seconds / 20 + 8, &rng, args.verbose);
    }
    const bool bad = atomic_load(&ledger->failed) != 0;
    if (bad) printf("endure: %s (database kept in %s)\n", ledger->what, database);
    printf("endure: %llu processes, %llu killed, %llu operations\n",
           (unsigned long long)atomic_load(&ledger->processes), (unsigned long long)atomic_load(&ledger->kills),
           (unsigned long long)atomic_load(&ledger->operations));
    printf("endure: %llu cases, %d failures, seed %llu\n", (unsigned long long)atomic_load(&ledger->checks), bad,
           (unsigned long long)args.seed);
    if (!bad) t_remove(path);
    return bad;
}
