/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole engine on one thread: shards, log writers, search helpers and clients under a simulated scheduler, clock
 * and disk; generation after generation ends in a crash, a power loss, a fault or a close, and after every opening
 * everything is compared with the dumb model. A seed repeats a case exactly; now and then that is checked. A failing
 * case is made smaller and printed as a line for tests/sim/kept.txt, whose cases are run first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/args.h"
#include "world/world.h"

enum { MOST_GENERATIONS = 8, LONG_LIFE = 60, SMALLER_TRIES = 400 };

struct sim_case {
    uint64_t seed;
    struct w_config config;
    uint32_t generations;
    bool faults;
};

struct outcome {
    bool failed;
    char what[600];
    uint64_t digest, cycles, acked, refused, steps;
};

static struct sim_case draw_case(uint64_t seed)
{
    struct t_rng r = t_rng_from(seed ^ 0xca5e);
    struct sim_case c = {.seed = seed,
                         .config = w_draw_config(seed),
                         .generations = (uint32_t)t_range(&r, 1, MOST_GENERATIONS),
                         .faults = t_chance(&r, 30)};
    if (t_chance(&r, 2)) { /* a long life of short openings: log files and torn tails without end */
        c.generations = LONG_LIFE;
        c.config.ops = (uint32_t)t_range(&r, 2, 8);
    }
    return c;
}

static void draw_fault(struct world *w)
{
    static const int errors[] = {EIO, ENOSPC, ENOMEM, EMFILE};
    static const uint32_t sets[] = {PM_SIM_ALL_CALLS,
                                    PM_SIM_DISK_CALLS,
                                    PM_SIM_BIT(MALLOC),
                                    PM_SIM_BIT(SYNC),
                                    PM_SIM_BIT(ALLOCATE) | PM_SIM_BIT(RENAME),
                                    PM_SIM_BIT(DIR_SYNC)};
    static const uint32_t spans[] = {3000, 3000, 3000, 3000, 40, 40};
    const uint64_t set = t_below(&w->rng, 6);
    pm_sim_fault fault = {.calls = sets[set],
                          .nth = t_skewed(&w->rng, 0, spans[set]),
                          .for_ever = t_chance(&w->rng, 40),
                          .partial = t_chance(&w->rng, 50),
                          .error = errors[t_below(&w->rng, 4)]};
    w->faults = true;
    pm_sim_set_fault(w->sim, fault);
}

static void generation(struct world *w, bool faults)
{
    if (faults && t_chance(&w->rng, 40)) draw_fault(w);
    w->look = t_chance(&w->rng, 25);
    if (t_chance(&w->rng, 30)) w_draw_room(w, &w->rng);
    w->close = t_chance(&w->rng, w->config.uniform ? 10 : 60);
    if (t_chance(&w->rng, 70)) pm_sim_crash_in(w->sim, t_skewed(&w->rng, 1, 400000));
    (void)w_run(w, true);
    if (t_chance(&w->rng, 50)) {
        w_process_gone(w);
    } else {
        pm_choices choices = pm_choices_random(t_next(&w->rng));
        w_power_gone(w, &choices, t_chance(&w->rng, 30));
    }
    if (t_chance(&w->rng, 30)) { /* somebody cleared the disk up */
        w->config.capacity = 0;
        pm_disk_set_capacity(pm_sim_disk(w->sim), 0);
    }
}

static struct outcome run_case(const struct sim_case *c)
{
    struct world *w = w_make(c->seed, &c->config);
    struct outcome o = {0};
    for (uint32_t g = 0; g < c->generations && !w->failed; g++, o.cycles++)
        generation(w, c->faults);
    w->config.capacity = 0;
    pm_disk_set_capacity(pm_sim_disk(w->sim), 0);
    if (!w->failed) (void)w_check(w);
    o.cycles++;
    o.failed = w->failed;
    memcpy(o.what, w->what, sizeof o.what);
    o.digest = pm_sim_digest(w->sim);
    o.acked = w->acked;
    o.refused = w->refused;
    o.steps = pm_sim_steps(w->sim);
    w_free(w);
    return o;
}

/* ---- a case as text ---- */

/* Every number of a case, in one line: the seed, then what would be drawn from it. */
#define NUMBERS(X)                                                                                                     \
    X(config.clients)                                                                                                  \
    X(config.shards)                                                                                                   \
    X(config.ops)                                                                                                      \
    X(config.preempt)                                                                                                  \
    X(config.cores)                                                                                                    \
    X(config.mailbox)                                                                                                  \
    X(config.group_ms)                                                                                                 \
    X(config.strict_mark)                                                                                              \
    X(config.low_levels)                                                                                               \
    X(config.async)                                                                                                    \
    X(config.temps)                                                                                                    \
    X(config.mistakes)                                                                                                 \
    X(config.dim[0])                                                                                                   \
    X(config.dim[1])                                                                                                   \
    X(config.dim[2])                                                                                                   \
    X(config.capacity)                                                                                                 \
    X(generations)                                                                                                     \
    X(faults)                                                                                                          \
    X(config.uniform)                                                                                                  \
    X(config.paced)                                                                                                    \
    X(config.no_allocate)                                                                                              \
    X(config.maintain)                                                                                                 \
    X(config.flush_bytes)                                                                                              \
    X(config.log_bytes)                                                                                                \
    X(config.freeze_rows)                                                                                              \
    X(config.segment_bytes)                                                                                            \
    X(config.compact_rate)                                                                                             \
    X(config.wal_file_bytes)                                                                                           \
    X(config.expiry)                                                                                                   \
    X(config.dtype[0])                                                                                                 \
    X(config.dtype[1])                                                                                                 \
    X(config.dtype[2])                                                                                                 \
    X(config.cluster)                                                                                                  \
    X(config.index)

static void print_case(const struct sim_case *c, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%llu", (unsigned long long)c->seed);
#define PRINT(field)                                                                                                   \
    at += (size_t)snprintf(text + at, at < size ? size - at : 0, ",%llu", (unsigned long long)c->field);
    NUMBERS(PRINT)
#undef PRINT
}

static bool parse_case(const char *text, struct sim_case *c)
{
    char *end;
    memset(c, 0, sizeof *c);
    c->seed = strtoull(text, &end, 10);
#define PARSE(field)                                                                                                   \
    if (*end != ',') return false;                                                                                     \
    c->field = (__typeof__(c->field))strtoull(end + 1, &end, 10);
    NUMBERS(PARSE)
#undef PARSE
    return (*end == '\0' || *end == ' ' || *end == '\n') && c->config.clients >= 1 && c->config.clients <= W_CLIENTS &&
           c->config.shards >= 1 && c->config.shards <= W_SHARDS && c->config.dim[0] <= W_DIM_MOST &&
           c->config.dim[1] <= W_DIM_MOST && c->config.dim[2] <= W_DIM_MOST && c->config.dtype[0] <= POMAI_DTYPE_INT8 &&
           c->config.dtype[1] <= POMAI_DTYPE_INT8 && c->config.dtype[2] <= POMAI_DTYPE_INT8;
}

/* ---- making a failing case smaller ---- */

static struct sim_case simpler(const struct sim_case *c, struct t_rng *r)
{
    struct sim_case s = *c;
    switch (t_below(r, 13)) {
    case 0:
        s.config.clients = 1 + (uint32_t)t_below(r, s.config.clients);
        break;
    case 1:
        s.config.shards = 1 + (uint32_t)t_below(r, s.config.shards);
        break;
    case 2:
        s.config.ops = 1 + (uint32_t)t_below(r, s.config.ops);
        break;
    case 3:
        s.generations = 1 + (uint32_t)t_below(r, s.generations);
        break;
    case 4:
        s.config.low_levels = false;
        break;
    case 5:
        s.config.async = false;
        break;
    case 6:
        s.config.temps = s.config.mistakes = false;
        break;
    case 7:
        s.faults = false;
        break;
    case 8:
        s.config.capacity = 0;
        break;
    case 9:
        s.config.cores = 1;
        break;
    case 10:
        s.config.expiry = 0;
        break;
    case 11:
        s.config.maintain = 0;
        break;
    default:
        s.config.strict_mark = false;
        break;
    }
    s.seed = t_chance(r, 30) ? c->seed : t_next(r) >> 16; /* another case of this shape will do as well */
    return s;
}

static uint64_t weight(const struct sim_case *c)
{
    return (uint64_t)c->config.clients * c->config.ops * c->generations * 16 + c->config.shards * 8 +
           c->config.low_levels + c->config.async + c->config.temps + c->config.mistakes + c->faults +
           (c->config.capacity != 0) + c->config.expiry + (c->config.maintain != 0) + c->config.cores +
           c->config.strict_mark;
}

static struct sim_case make_smaller(struct sim_case c, struct outcome *o)
{
    struct t_rng r = t_rng_from(c.seed);
    for (int i = 0; i < SMALLER_TRIES; i++) {
        struct sim_case s = simpler(&c, &r);
        if (weight(&s) >= weight(&c)) continue;
        struct outcome so = run_case(&s);
        if (!so.failed) continue;
        c = s;
        *o = so;
    }
    return c;
}

/* ---- running ---- */

struct totals {
    uint64_t cases, kept, failures, cycles, acked, refused, twice;
};

static bool keep; /* --keep: a failing case becomes a test at once */

static void keep_case(const char *text)
{
    FILE *f = fopen(POMAI_SOURCE_DIR "/tests/sim/kept.txt", "a");
    if (f == NULL) return;
    fprintf(f, "%s\n", text);
    fclose(f);
}

static void report(struct sim_case c, struct outcome o, bool shrink)
{
    char text[300];
    print_case(&c, text, sizeof text);
    printf("FAILED: seed %llu: %s\n  again: --case %s\n", (unsigned long long)c.seed, o.what, text);
    if (!shrink) return;
    fflush(stdout);
    c = make_smaller(c, &o);
    print_case(&c, text, sizeof text);
    printf("  smaller: %s\n  %s tests/sim/kept.txt: %s\n", o.what, keep ? "added to" : "for", text);
    fflush(stdout);
    if (keep) keep_case(text);
}

static void take(struct totals *t, const struct sim_case *c, bool twice, const struct t_args *args)
{
    struct outcome o = run_case(c);
    t->cases++;
    t->cycles += o.cycles;
    t->acked += o.acked;
    t->refused += o.refused;
    if (args->verbose)
        printf("case %llu: %llu cycles, %llu steps, %llu acknowledged, digest %016llx\n", (unsigned long long)c->seed,
               (unsigned long long)o.cycles, (unsigned long long)o.steps, (unsigned long long)o.acked,
               (unsigned long long)o.digest);
    if (o.failed) {
        t->failures++;
        report(*c, o, t->failures <= 3);
    } else if (twice) {
        t->twice++;
        struct outcome again = run_case(c);
        if (again.digest != o.digest) {
            t->failures++;
            printf("FAILED: seed %llu: two runs differ: %016llx, %016llx\n", (unsigned long long)c->seed,
                   (unsigned long long)o.digest, (unsigned long long)again.digest);
        }
    }
}

static void run_kept(struct totals *t, const struct t_args *args)
{
    FILE *f = fopen(POMAI_SOURCE_DIR "/tests/sim/kept.txt", "r");
    char line[400];
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        struct sim_case c;
        if (line[0] == '#' || line[0] == '\n') continue;
        if (parse_case(line, &c)) {
            take(t, &c, true, args);
            t->kept++;
            t->cases--; /* they come on top of what was asked for */
        } else {
            printf("FAILED: tests/sim/kept.txt: not a case: %s", line);
            t->failures++;
        }
    }
    if (f != NULL) fclose(f);
}

int main(int argc, char **argv)
{
    struct sim_case one;
    bool have_one = argc == 3 && strcmp(argv[1], "--case") == 0;
    if (have_one && !parse_case(argv[2], &one)) {
        fprintf(stderr, "--case takes what a failure printed\n");
        return 2;
    }
    if (have_one) argc = 1;
    if (argc > 1 && strcmp(argv[argc - 1], "--keep") == 0) {
        keep = true;
        argc--;
    }
    struct t_args args = t_parse_args(argc, argv);
    struct totals t = {0};
    double begin = t_now();
    if (have_one) {
        args.verbose = 1;
        take(&t, &one, true, &args);
    } else {
        run_kept(&t, &args);
        for (uint64_t i = 0; args.cases == 0 || i < args.cases; i++) {
            if (args.seconds > 0 && t_now() - begin >= args.seconds) break;
            struct sim_case c = draw_case(t_case_seed(args.seed, i));
            take(&t, &c, i % 16 == 0, &args);
        }
    }
    printf(
        "%llu kept cases; %llu crash-recover cycles, %llu operations acknowledged, %llu refused, %llu cases run twice, "
        "in %.1f s\n",
        (unsigned long long)t.kept, (unsigned long long)t.cycles, (unsigned long long)t.acked,
        (unsigned long long)t.refused, (unsigned long long)t.twice, t_now() - begin);
    printf("sim: %llu cases, %llu failures, seed %llu\n", (unsigned long long)t.cases, (unsigned long long)t.failures,
           (unsigned long long)args.seed);
    return t.failures != 0;
}
