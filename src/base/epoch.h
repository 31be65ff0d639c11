/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epochs: how what readers may still hold is freed without a lock. A reader enters, loads what is published, uses it,
 * leaves. Who took something out of publication waits until nobody is left who entered before; then it is free.
 *
 * Two sides and a generation: a reader counts itself on the side of the generation that it saw, and looks again (after
 * McKenney's sleepable RCU, 2006, with the look again instead of a second flip). The generation moves on only when the
 * other side is empty. Counts are striped, so that readers do not share one cache line.
 */
#ifndef PM_BASE_EPOCH_H
#define PM_BASE_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PM_EPOCH_STRIPES = 16 };

typedef struct pm_epoch {
    _Alignas(64) _Atomic uint64_t generation;
    struct {
        _Alignas(64) _Atomic uint64_t inside[2];
    } stripe[PM_EPOCH_STRIPES];
} pm_epoch;

typedef struct pm_epoch_hold {
    uint32_t stripe, side;
} pm_epoch_hold;

#ifdef POMAI_TEST_HOOKS
/* Which stripe the caller takes, NULL: by its stack; a simulated run must not depend on where its stacks are. */
extern uint32_t (*pm_epoch_stripe_hook)(void);
#endif

/* From any thread; never waits. What is loaded from now on stays until pm_epoch_leave. */
pm_epoch_hold pm_epoch_enter(pm_epoch *epoch);
void pm_epoch_leave(pm_epoch *epoch, pm_epoch_hold hold);

/* For one thread at a time. True: a new generation has begun; everything that was unpublished before may be freed once
 * pm_epoch_passed says so. False: readers of the generation before the present one are still inside. */
bool pm_epoch_advance(pm_epoch *epoch);
/* Nobody is inside who entered before the last advance. */
bool pm_epoch_passed(pm_epoch *epoch);

#endif
