/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that work on the pieces of an index, in no order, and a question that is answered no. Needs cmocka. */
#ifndef T_CREW_H
#define T_CREW_H

#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { MOST_THREADS = 5 };

typedef struct crew {
    uint32_t threads;
    void (*work)(void *argument, uint32_t piece);
    void *argument;
    uint32_t pieces;
    atomic_uint next;
    atomic_ullong asked;
    uint64_t stop_at; /* the question that is answered no, from 1; 0: none */
} crew;

static inline void *crew_thread(void *context)
{
    crew *c = context;
    const int rounding = fegetround();
    fesetround(FE_UPWARD); /* an application's threads may be anyhow */
    for (uint32_t i; (i = atomic_fetch_add(&c->next, 1)) < c->pieces;)
        c->work(c->argument, c->pieces - 1 - i); /* not in order */
    fesetround(rounding);
    return NULL;
}

static inline void crew_run(void *context, void (*work)(void *argument, uint32_t piece), void *argument,
                            uint32_t pieces)
{
    crew *c = context;
    pthread_t thread[MOST_THREADS];
    c->work = work, c->argument = argument, c->pieces = pieces;
    atomic_store(&c->next, 0);
    for (uint32_t t = 1; t < c->threads; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, crew_thread, c), 0);
    crew_thread(c);
    for (uint32_t t = 1; t < c->threads; t++)
        pthread_join(thread[t], NULL);
}

static inline bool crew_go_on(void *context)
{
    crew *c = context;
    return atomic_fetch_add(&c->asked, 1) + 1 != c->stop_at;
}

#endif
