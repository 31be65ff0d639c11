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
            "  --seconds, --cases: stop after so many, whichever comes first; without both: 10 seconds\n"
            "  --seed: the run's; a failure prints the one that brings it back\n"
            "  --dir: where databases are made (TMPDIR, or /tmp); --jobs: processes at a time; --threads: of a case\n",
            program);
}

static inline void t_bad_argument(const char *program, const char *name, const char *why)
{
    fprintf(stderr, "%s: %s %s\n", program, name, why);
    t_usage(program);
    exit(2);
}

/* A whole number of at least `least`. */
static inline uint64_t t_number(const char *program, const char *name, const char *value, uint64_t least)
{
    char *end;
    uint64_t n = strtoull(value, &end, 0);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || n < least)
        t_bad_argument(program, name, least > 0 ? "takes a number above 0" : "takes a number");
    return n;
}

/* Exits with 2 after a mistake on the command line. */
static inline struct t_args t_parse_args(int argc, char **argv)
{
    struct t_args args = {.seed = t_fresh_seed(), .threads = -1, .jobs = 1};
    const char *program = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
    args.dir = getenv("TMPDIR");
    if (args.dir == NULL || args.dir[0] == '\0') args.dir = "/tmp";
    for (int i = 1; i < argc; i++) {
        char name[16];
        const char *equals = strchr(argv[i], '=');
        int size = equals != NULL ? (int)(equals - argv[i]) : (int)strlen(argv[i]);
        snprintf(name, sizeof name, "%.*s", size, argv[i]);
        if (strcmp(name, "--verbose") == 0) {
            args.verbose = 1;
            continue;
        }
        int known = 0;
        static const char *const names[] = {"--seconds", "--cases", "--seed", "--dir", "--threads", "--jobs"};
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
            known |= strcmp(name, names[n]) == 0;
        if (!known) t_bad_argument(program, argv[i], "is not an option");
        const char *value = equals != NULL ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (value == NULL) t_bad_argument(program, name, "needs a value");
        if (strcmp(name, "--dir") == 0)
            args.dir = value;
        else if (strcmp(name, "--seconds") == 0)
            args.seconds = (double)t_number(program, name, value, 1);
        else if (strcmp(name, "--cases") == 0)
            args.cases = t_number(program, name, value, 1);
        else if (strcmp(name, "--seed") == 0)
            args.seed = t_number(program, name, value, 0);
        else if (strcmp(name, "--threads") == 0)
            args.threads = (int)(t_number(program, name, value, 0) & 1023);
        else
            args.jobs = (int)(t_number(program, name, value, 1) & 1023);
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
