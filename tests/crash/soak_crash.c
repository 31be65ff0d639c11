/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills a writing process and looks at what is left. A case: a child writes (writer.h) and dies by SIGKILL, at a random
 * instant or at a named boundary of base/point.h; the next opening is killed too, sometimes several times; then another
 * child opens the database and compares it with the ledger that the dead ones left in shared memory (checker.h). Most
 * cases go on with the database of the case before; some begin a new one, so that its making is interrupted as well.
 *
 * The cases are drawn from the seed, but the instants at which threads meet are not, so a seed brings back the plan of
 * a case and not always its failure; the database of a failed case is kept.
 *
 * This process stays single-threaded: it only forks.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../support/args.h"
#include "../support/tmp.h"
#include "checker.h"
#include "ledger.h"
#include "torn.h"
#include "writer.h"

/* Shared by all workers (--jobs). */
struct totals {
    atomic_ullong cases, failures, killed_at_random, killed_in_recovery, ended, forged, aborted, survived, vanished;
    atomic_uint reached[PM_POINT_COUNT];
    atomic_uint killed[PM_POINT_COUNT];
};

static const char *const point_names[] = {
#define POINT_NAME(name) #name,
    PM_POINT_TABLE(POINT_NAME)
#undef POINT_NAME
};

struct worker {
    const struct t_args *args;
    struct totals *totals;
    struct ledger *l;
    char path[T_PATH_MAX];
    bool have_db;
    unsigned cycles_left;
};

static void *map_shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) t_die("map", "shared memory");
    return p;
}

/* ---- children ---- */

enum child { CHILD_WRITER, CHILD_RECOVERER, CHILD_CHECKER };

static pid_t start_child(struct worker *w, enum child kind)
{
    pid_t pid = fork();
    if (pid < 0) t_die("fork for", w->path);
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing is left running when this program is interrupted */
    switch (kind) {
    case CHILD_WRITER:
        writer_main(w->l, w->path, w->totals->reached, w->totals->killed);
    case CHILD_RECOVERER:
        recoverer_main(w->l, w->path, w->totals->reached, w->totals->killed);
    default:
        checker_main(w->l, w->path);
    }
}

/* Waits until the child is gone or `until`; true if it is gone. */
static bool wait_until(pid_t pid, double until, int *status)
{
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        if (got == pid) return true;
        if (got < 0 && errno != EINTR) t_die("wait for", "a child");
        if (t_now() >= until) return false;
        usleep(200);
    }
}

static void kill_and_wait(pid_t pid, int *status)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        continue;
}

/* A child that was to be killed ends by SIGKILL or, having had nothing left to do, with 0. */
static bool died_well(struct worker *w, int status, const char *what)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        atomic_fetch_add(&w->totals->ended, 1);
        return true;
    }
    fprintf(stderr, "crash: FAILED: seed %llu: the %s ended with %s %d\n", (unsigned long long)w->l->plan.seed, what,
            WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return false;
}

/* ---- a case ---- */

static void new_database(struct worker *w, struct t_rng *rng)
{
    struct ledger *l = w->l;
    if (w->have_db) t_remove(w->path);
    memset(l, 0, sizeof *l);
    t_tmp_make(w->path, w->args->dir, "crash");
    l->salt = t_next(rng);
    l->shards = (uint32_t)t_range(rng, 1, MAX_SHARDS);
    for (unsigned i = 0; i < BLOCKS; i++)
        l->blocks[i] = t_next(rng) >> 16;
    for (unsigned i = 0; i < COLLS; i++) {
        l->dim[i] = (uint32_t)t_range(rng, 8, MAX_DIM);
        l->metric[i] = i == C_U64 ? POMAI_METRIC_L2 : (pomai_metric)t_range(rng, POMAI_METRIC_L2, POMAI_METRIC_COSINE);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        l->clients[i].next_version = 1;
    w->have_db = true;
    w->cycles_left = (unsigned)t_skewed(rng, 1, 24);
}

/* Boundaries that only a new database, or a recovery, passes. */
static bool is_init_point(uint32_t point)
{
    return point == PM_POINT_INIT_DIRS;
}

static bool is_recovery_point(uint32_t point)
{
    return point == PM_POINT_RECOVERY_SCANNED || point == PM_POINT_QUARANTINE_COPIED ||
           point == PM_POINT_ABORTS_WRITTEN || point == PM_POINT_RECOVERY_DONE;
}

static bool is_frequent_point(uint32_t point)
{
    return point >= PM_POINT_COMMIT_WRITE_BEGIN && point <= PM_POINT_BATCH_ACKED;
}

static void draw_plan(struct worker *w, struct t_rng *rng, uint64_t seed, uint64_t number)
{
    struct plan *plan = &w->l->plan;
    *plan = (struct plan){.seed = seed, .target = PM_POINT_COUNT};
    plan->clients = (uint32_t)t_range(rng, 1, CLIENTS);
    plan->rounds = t_chance(rng, 30) ? (uint32_t)t_range(rng, 1, 2) : 0;
    plan->idle = t_chance(rng, 30);
    plan->big = t_chance(rng, 15);
    plan->jitter = t_chance(rng, 30) ? (uint32_t)t_range(rng, 1, 5) : 0;
    if (t_chance(rng, 60)) {
        plan->target = (uint32_t)(number % PM_POINT_COUNT);
        plan->occurrence = (uint32_t)t_skewed(rng, 1, is_frequent_point(plan->target) ? 150 : 3);
        plan->stall_us = t_chance(rng, 50) ? (uint32_t)t_range(rng, 100, 4000) : 0;
        if (plan->target == PM_POINT_MARK_WRITTEN || plan->target == PM_POINT_MARK_SYNCED ||
            plan->target == PM_POINT_DERIVED_BUILT)
            plan->idle = 1;
    }
    atomic_store(&w->l->countdown, plan->occurrence);
    atomic_store(&w->l->started, 0);
}

static bool run_writer(struct worker *w, struct t_rng *rng)
{
    const struct plan *plan = &w->l->plan;
    int status;
    bool random = plan->target == PM_POINT_COUNT;
    bool in_open = random && t_chance(rng, 15);
    double at = in_open ? (double)t_below(rng, 4000) : (double)t_skewed(rng, 1, 30000);
    double start = t_now();
    pid_t pid = start_child(w, CHILD_WRITER);
    double give_up = start + 10;
    if (random && !in_open) { /* from the moment at which it begins to work */
        while (!atomic_load(&w->l->started) && t_now() < give_up) {
            if (wait_until(pid, 0, &status)) return died_well(w, status, "writer");
            usleep(100);
        }
        start = t_now();
    }
    double until = random ? start + at * 1e-6 : start + 0.06 + (plan->idle ? 0.1 : 0);
    if (wait_until(pid, until, &status)) return died_well(w, status, "writer");
    kill_and_wait(pid, &status);
    atomic_fetch_add(&w->totals->killed_at_random, 1);
    return died_well(w, status, "writer");
}

/* The recovery is killed too, again and again. */
static bool run_recoverers(struct worker *w, struct t_rng *rng, uint64_t number)
{
    struct plan *plan = &w->l->plan;
    static const enum pm_point others[] = {
        PM_POINT_WAL_CREATE_BEGIN, PM_POINT_WAL_CREATE_WRITTEN, PM_POINT_WAL_CREATE_SYNCED, PM_POINT_WAL_CREATE_RENAMED,
        PM_POINT_WAL_CREATE_DONE,  PM_POINT_COMMIT_WRITE_BEGIN, PM_POINT_COMMIT_WRITTEN,    PM_POINT_COMMIT_SYNCED,
        PM_POINT_MARK_WRITTEN,     PM_POINT_MARK_SYNCED,        PM_POINT_MANIFEST_WRITTEN,  PM_POINT_MANIFEST_RENAMED,
        PM_POINT_CURRENT_RENAMED};
    bool pursue = is_recovery_point((uint32_t)(number % PM_POINT_COUNT));
    unsigned times = pursue || t_chance(rng, 30) ? (unsigned)t_skewed(rng, 1, 4) : 0;
    for (unsigned i = 0; i < times; i++) {
        int status;
        double at = 0.3;
        plan->seed = t_next(rng) >> 16;
        plan->target = PM_POINT_COUNT;
        plan->stall_us = 0;
        uint64_t kind = t_below(rng, 10);
        if (pursue && kind < 6) {
            plan->target = (uint32_t)(number % PM_POINT_COUNT);
            plan->occurrence = 1;
        } else if (kind < 4) {
            plan->target = (uint32_t)(PM_POINT_RECOVERY_SCANNED + t_below(rng, 4));
            plan->occurrence = 1;
        } else if (kind < 6) {
            plan->target = (uint32_t)others[t_below(rng, sizeof others / sizeof others[0])];
            plan->occurrence = (uint32_t)t_range(rng, 1, 3);
        } else {
            at = (double)t_skewed(rng, 1, 6000) * 1e-6;
        }
        atomic_store(&w->l->countdown, plan->occurrence);
        pid_t pid = start_child(w, CHILD_RECOVERER);
        if (!wait_until(pid, t_now() + at, &status)) {
            kill_and_wait(pid, &status);
            atomic_fetch_add(&w->totals->killed_in_recovery, 1);
        }
        w->l->forged = 0; /* it may have been dealt with */
        if (!died_well(w, status, "recovery")) return false;
    }
    return true;
}

static bool run_checker(struct worker *w)
{
    int status;
    pid_t pid = start_child(w, CHILD_CHECKER);
    if (!wait_until(pid, t_now() + 60, &status)) {
        kill_and_wait(pid, &status);
        fprintf(stderr, "crash: FAILED: seed %llu: the checker hangs\n", (unsigned long long)w->l->plan.seed);
        return false;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    if (WIFSIGNALED(status))
        fprintf(stderr, "crash: FAILED: seed %llu: the checker died of signal %d\n",
                (unsigned long long)w->l->plan.seed, WTERMSIG(status));
    return false;
}

static bool run_case(struct worker *w, uint64_t seed, uint64_t number)
{
    struct t_rng rng = t_rng_from(seed);
    bool fresh = !w->have_db || w->cycles_left == 0 || w->l->log_bytes > (16u << 20) || t_chance(&rng, 5) ||
                 is_init_point((uint32_t)(number % PM_POINT_COUNT));
    if (fresh) new_database(w, &rng);
    w->cycles_left -= w->cycles_left > 0;
    draw_plan(w, &rng, seed, number);
    if (fresh && is_init_point((uint32_t)(number % PM_POINT_COUNT))) {
        w->l->plan.target = (uint32_t)(number % PM_POINT_COUNT);
        atomic_store(&w->l->countdown, 1);
    }
    if (!run_writer(w, &rng)) return false;
    if (w->l->opened && t_chance(&rng, number % PM_POINT_COUNT == PM_POINT_QUARANTINE_COPIED ? 100 : 12)) {
        w->l->forged = forge_torn_tail(w->path, w->l->shards, &rng);
        atomic_fetch_add(&w->totals->forged, w->l->forged);
    }
    if (!run_recoverers(w, &rng, number)) return false;
    w->l->plan.seed = seed;
    w->l->survived = w->l->vanished = 0;
    if (!run_checker(w)) return false;
    atomic_fetch_add(&w->totals->aborted, w->l->aborted);
    atomic_fetch_add(&w->totals->survived, w->l->survived);
    atomic_fetch_add(&w->totals->vanished, w->l->vanished);
    return true;
}

static void run_worker(const struct t_args *args, struct totals *totals, unsigned job)
{
    struct worker w = {.args = args, .totals = totals, .l = map_shared(sizeof(struct ledger))};
    double start = t_now();
    for (uint64_t i = 0;; i++) {
        if (args->seconds > 0 && t_now() - start > args->seconds) break;
        if (atomic_load(&totals->failures) >= 5) break;
        uint64_t number = i * (unsigned)args->jobs + job;
        if (args->cases > 0 && number >= args->cases) break;
        uint64_t seed = t_case_seed(args->seed, number);
        bool ok = run_case(&w, seed, number);
        atomic_fetch_add(&totals->cases, 1);
        if (ok) continue;
        atomic_fetch_add(&totals->failures, 1);
        fprintf(stderr, "crash: case %llu, seed %llu: the database is kept in %s\n", (unsigned long long)number,
                (unsigned long long)seed, w.path);
        w.have_db = false;
    }
    if (w.have_db) t_remove(w.path);
}

static void print_totals(const struct t_args *args, struct totals *totals)
{
    if (args->verbose) {
        printf("crash: killed at random %llu, in recovery at random %llu, ended by themselves %llu, torn tails made "
               "%llu, batches aborted %llu\ncrash: of the writes in flight %llu survived, %llu did not\n",
               totals->killed_at_random, totals->killed_in_recovery, totals->ended, totals->forged, totals->aborted,
               totals->survived, totals->vanished);
        for (unsigned i = 0; i < PM_POINT_COUNT; i++)
            printf("crash: %-20s reached %8u, died there %5u\n", point_names[i], totals->reached[i], totals->killed[i]);
    }
    for (unsigned i = 0; i < PM_POINT_COUNT; i++) {
        if (totals->killed[i] == 0)
            printf("crash: nobody died at %s (reached %u times)\n", point_names[i], totals->reached[i]);
    }
    printf("crash: %llu cases, %llu failures, seed %llu\n", totals->cases, totals->failures,
           (unsigned long long)args->seed);
}

int main(int argc, char **argv)
{
    struct t_args args = t_parse_args(argc, argv);
    struct totals *totals = map_shared(sizeof *totals);
    pid_t workers[64] = {0};
    for (int i = 1; i < args.jobs; i++) {
        workers[i] = fork();
        if (workers[i] < 0) t_die("fork for", "a worker");
        if (workers[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            run_worker(&args, totals, (unsigned)i);
            _exit(0);
        }
    }
    run_worker(&args, totals, 0);
    for (int i = 1; i < args.jobs; i++) {
        int status;
        while (waitpid(workers[i], &status, 0) < 0 && errno == EINTR)
            continue;
        if (!WIFEXITED(status)) atomic_fetch_add(&totals->failures, 1);
    }
    print_totals(&args, totals);
    return totals->failures > 0;
}
