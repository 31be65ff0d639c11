/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers that replay from a seed: SplitMix64. A test draws everything it decides from one of these, so that the
 * seed it prints brings the same case back.
 */
#ifndef T_RNG_H
#define T_RNG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/random.h>
#include <time.h>

struct t_rng {
    uint64_t state;
};

static inline uint64_t t_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* A hash of two numbers; used to derive independent streams. */
static inline uint64_t t_mix2(uint64_t a, uint64_t b)
{
    return t_mix(t_mix(a + 0x9e3779b97f4a7c15u) ^ (b * 0xd6e8feb86659fd93u + 0x2545f4914f6cdd1du));
}

static inline struct t_rng t_rng_from(uint64_t seed)
{
    return (struct t_rng){t_mix(seed + 0x9e3779b97f4a7c15u)};
}

static inline uint64_t t_next(struct t_rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15u;
    return t_mix(rng->state);
}

/* A number in [0, bound); bound is at least 1. The tiny bias of the remainder does not matter to a test. */
static inline uint64_t t_below(struct t_rng *rng, uint64_t bound)
{
    return t_next(rng) % bound;
}

/* A number in [low, high]. */
static inline uint64_t t_range(struct t_rng *rng, uint64_t low, uint64_t high)
{
    return low + t_below(rng, high - low + 1);
}

static inline bool t_chance(struct t_rng *rng, unsigned percent)
{
    return t_below(rng, 100) < percent;
}

/* A number in [low, high] whose logarithm is about uniform: small ones are common, large ones do occur. */
static inline uint64_t t_skewed(struct t_rng *rng, uint64_t low, uint64_t high)
{
    uint64_t span = high - low + 1;
    unsigned bits = 0;
    while (bits < 63 && ((uint64_t)1 << bits) < span)
        bits++;
    uint64_t limit = (uint64_t)1 << t_below(rng, bits + 1);
    return low + t_below(rng, limit < span ? limit : span);
}

/* A seed for a run that was given none. */
static inline uint64_t t_fresh_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint64_t)time(NULL);
    return seed >> 16; /* short enough to be typed again */
}

#endif
