/* SPDX-License-Identifier: Apache-2.0 */
/* The options every soak takes: --seconds N --cases N --seed S --dir D --verbose; and clocks to hold to them. */
#ifndef T_ARGS_H
#define T_ARGS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rng.h"

struct t_args {
    double seconds; /* stop starting cases after this; 0: no limit */
    uint64_t cases; /* stop after this many; 0: no limit */
    uint64_t seed;
    const char *dir; /* where databases are made */
    int verbose;
    int threads; /* -1: as the case draws it */
    int jobs;
};

static inline double t_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static inline void t_usage(const char *program)
{
    fprintf(stderr,
            "usage: %s [--seconds N] [--cases N] [--seed S] [--dir D] [--threads N] [--jobs N] [--verbose]\n"
            "Without --seconds and --cases: a short run. A failure prints the seed that brings it back.\n",
            program);
}

/* Exits with 2 after a mistake on the command line. */
static inline struct t_args t_parse_args(int argc, char **argv)
{
    struct t_args args = {.seed = t_fresh_seed(), .threads = -1, .jobs = 1};
    args.dir = getenv("TMPDIR");
    if (args.dir == NULL || args.dir[0] == '\0') args.dir = "/tmp";
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--verbose") == 0) {
            args.verbose = 1;
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        char *end = NULL;
        int ok = value != NULL;
        if (ok && strcmp(name, "--dir") == 0) {
            args.dir = value;
        } else if (ok && strcmp(name, "--seconds") == 0) {
            args.seconds = strtod(value, &end);
        } else if (ok && strcmp(name, "--cases") == 0) {
            args.cases = strtoull(value, &end, 0);
        } else if (ok && strcmp(name, "--seed") == 0) {
            args.seed = strtoull(value, &end, 0);
        } else if (ok && strcmp(name, "--threads") == 0) {
            args.threads = (int)strtol(value, &end, 0);
        } else if (ok && strcmp(name, "--jobs") == 0) {
            args.jobs = (int)strtol(value, &end, 0);
        } else {
            ok = 0;
        }
        if (!ok || (end != NULL && *end != '\0')) {
            t_usage(argv[0]);
            exit(2);
        }
        i++;
    }
    if (args.seconds <= 0 && args.cases == 0) args.seconds = 10;
    if (args.jobs < 1) args.jobs = 1;
    if (args.jobs > 64) args.jobs = 64;
    return args;
}

/* The seed of case i: case 0 has the run's own, so that `--seed S --cases 1` repeats a case whose seed was printed. */
static inline uint64_t t_case_seed(uint64_t run_seed, uint64_t i)
{
    return i == 0 ? run_seed : t_mix2(run_seed, i) >> 16;
}

#endif
