/* SPDX-License-Identifier: Apache-2.0 */
/* Counted cases drawn from --seed, of which --share runs one in so many; for tests of one thread. Needs cmocka. */
#ifndef T_CASES_H
#define T_CASES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/rng.h"

static uint64_t seed = 1, cases, failures, drawn;
static size_t share = 1; /* for emulators and sanitizers; a prime above the number of kinds meets them all */
static struct t_rng cases_rng;

/* false: wrong arguments. */
static inline bool cases_arguments(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 0);
        if (strcmp(argv[i], "--share") == 0) share = strtoul(argv[i + 1], NULL, 0);
    }
    return share > 0;
}

static inline uint64_t draw(void)
{
    return t_next(&cases_rng);
}

static inline size_t below(size_t n)
{
    return (size_t)(draw() % n);
}

/* -1 to 1. */
static inline float uniform(void)
{
    return (float)((double)(draw() >> 11) * 0x1p-52 - 1);
}

static inline void begin(void)
{
    cases_rng.state = seed;
    cases = failures = drawn = 0;
}

/* Whether this case is not of the share. */
static inline bool left_out(void)
{
    return drawn++ % share != 0;
}

static inline void end(const char *name)
{
    printf("%s: %llu cases, %llu failures, seed %llu\n", name, (unsigned long long)cases, (unsigned long long)failures,
           (unsigned long long)seed);
    assert_true(cases > 0);
    assert_true(failures == 0);
}

#endif
