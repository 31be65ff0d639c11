/* SPDX-License-Identifier: Apache-2.0 */
#include "base/epoch.h"

#include "base/base.h"
#include "base/mutant.h"

#ifdef POMAI_TEST_HOOKS
uint32_t (*pm_epoch_stripe_hook)(void) = NULL;
#endif

/* Threads have stacks of their own, so an address on it tells them apart well enough. */
static uint32_t stripe_of(const void *on_stack)
{
#ifdef POMAI_TEST_HOOKS
    if (pm_epoch_stripe_hook != NULL) return pm_epoch_stripe_hook() % PM_EPOCH_STRIPES;
#endif
    return (uint32_t)(pm_mix64((uint64_t)(uintptr_t)on_stack >> 12) % PM_EPOCH_STRIPES);
}

pm_epoch_hold pm_epoch_enter(pm_epoch *epoch)
{
    pm_epoch_hold hold;
    hold.stripe = stripe_of(&hold);
    for (;;) {
        const uint64_t generation = atomic_load(&epoch->generation);
        hold.side = (uint32_t)(generation & 1);
        atomic_fetch_add(&epoch->stripe[hold.stripe].inside[hold.side], 1);
        if (atomic_load(&epoch->generation) == generation) return hold;
        atomic_fetch_sub(&epoch->stripe[hold.stripe].inside[hold.side], 1);
    }
}

void pm_epoch_leave(pm_epoch *epoch, pm_epoch_hold hold)
{
    atomic_fetch_sub(&epoch->stripe[hold.stripe].inside[hold.side], 1);
}

static bool side_empty(pm_epoch *epoch, uint64_t side)
{
    uint64_t inside = 0; /* all are looked at: a simulated run must not depend on where its stacks are */
    for (int i = 0; i < PM_EPOCH_STRIPES; i++)
        inside |= atomic_load(&epoch->stripe[i].inside[side]);
    return inside == 0 || PM_MUTANT(READERS_NOT_WAITED_FOR);
}

bool pm_epoch_advance(pm_epoch *epoch)
{
    const uint64_t generation = atomic_load(&epoch->generation);
    if (!side_empty(epoch, (generation + 1) & 1)) return false;
    atomic_store(&epoch->generation, generation + 1);
    return true;
}

bool pm_epoch_passed(pm_epoch *epoch)
{
    return side_empty(epoch, (atomic_load(&epoch->generation) + 1) & 1);
}
