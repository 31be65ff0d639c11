/* SPDX-License-Identifier: Apache-2.0 */
/* What is no longer published waits here until no reader can hold it: docs/lifecycle.md, "Reclaiming". */
#include "core/engine/engine.h"

void pm_free_segment(void *segment)
{
    pm_segment_free(segment);
}

void pm_free_memtable(void *memtable)
{
    pm_memtable_free(memtable);
}

void pm_free_carry(void *what)
{
    pm_carry *carry = what;
    if (carry == NULL) return;
    pm_free((void *)(uintptr_t)carry->first);
    pm_free(carry->place);
    pm_free((void *)(uintptr_t)carry->to);
    pm_free((void *)(uintptr_t)carry->to_first);
    pm_free(carry);
}

bool pm_limbo_reserve(pm_maintenance *m, size_t more)
{
    pm_limbos *l = &m->waiting;
    if (l->capacity - l->count >= more) return true;
    size_t capacity = l->capacity == 0 ? 16 : l->capacity;
    while (capacity - l->count < more)
        capacity *= 2;
    pm_limbo *wider = pm_realloc(l->entry, capacity * sizeof *wider);
    if (wider == NULL) return false;
    l->entry = wider;
    l->capacity = capacity;
    return true;
}

void pm_limbo_add(pm_maintenance *m, void (*free)(void *), void *what)
{
    m->waiting.entry[m->waiting.count++] = (pm_limbo){free, what};
    atomic_fetch_add_explicit(&m->limbo, 1, memory_order_relaxed);
}

static void free_all(pm_maintenance *m, pm_limbos *l, pm_shown **shown)
{
    for (size_t i = 0; i < l->count; i++)
        l->entry[i].free(l->entry[i].what);
    atomic_fetch_sub_explicit(&m->limbo, l->count, memory_order_relaxed);
    l->count = 0;
    for (pm_shown *next; *shown != NULL; *shown = next) {
        next = (*shown)->next;
        pm_shown_free(*shown);
    }
}

bool pm_limbo_reclaim(pm_db *db, bool all)
{
    pm_maintenance *m = &db->maintenance;
    pm_epoch *epoch = &db->shared.epoch;
    if (m->passing.count > 0 || m->passing_shown != NULL) {
        if (!all && !pm_epoch_passed(epoch)) return false;
        free_all(m, &m->passing, &m->passing_shown);
    }
    if (m->waiting.count == 0 && atomic_load(&db->shared.replaced) == NULL) return true;
    pm_limbos waiting = m->waiting;
    pm_shown *replaced = atomic_exchange(&db->shared.replaced, NULL);
    /* All of it was taken out of publication before the epoch moves on. */
    m->waiting = m->passing;
    m->passing = waiting;
    m->passing_shown = replaced;
    if (all) {
        free_all(m, &m->passing, &m->passing_shown);
        return true;
    }
    if (!pm_epoch_advance(epoch)) { /* back where it was: readers of long ago are still inside */
        m->passing = m->waiting;
        m->waiting = waiting;
        m->passing_shown = NULL;
        while (replaced != NULL) {
            pm_shown *next = replaced->next;
            replaced->next = atomic_load(&db->shared.replaced);
            while (!atomic_compare_exchange_weak(&db->shared.replaced, &replaced->next, replaced))
                ;
            replaced = next;
        }
    }
    return false;
}
