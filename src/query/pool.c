/* SPDX-License-Identifier: Apache-2.0 */
#include "query/pool.h"

#include <string.h>

enum { SLOTS = 64, MOST_HELPERS = 256, MOST_KEPT = 1 << 20 };

typedef struct job {
    pm_work_fn work;
    void *context;
    uint32_t pieces;
    _Atomic uint32_t next; /* the next piece to take */
} job;

/* A helper counts itself into `users` before it looks at `job`; the owner sets `job` to `leaving` before it looks at
 * `users`. Both are sequentially consistent, so a job is never touched after its owner left. The slot is free again
 * only when users is zero. */
typedef struct slot {
    _Alignas(64) _Atomic(job *) job;
    _Atomic uint32_t users;
} slot;

struct pm_pool {
    slot slot[SLOTS];
    const pm_os *os;
    uint32_t helpers;
    _Atomic bool closing;
    /* Memory for a search, which begins with its size; NULL: it is in use. Who gives it releases what was written into
     * it, who takes it acquires that; an exchange gives it to one alone. */
    _Atomic(void *) kept;
    pm_task task[];
};

static job leaving; /* only its address is used */

static void work_off(job *j)
{
    for (;;) {
        uint32_t piece = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
        if (piece >= j->pieces) return;
        j->work(j->context, piece);
    }
}

static pm_next helper_step(void *arg)
{
    pm_pool *pool = arg;
    if (atomic_load(&pool->closing)) return (pm_next){PM_NEXT_DONE, 0};
    for (int i = 0; i < SLOTS; i++) {
        slot *s = &pool->slot[i];
        job *peek = atomic_load_explicit(&s->job, memory_order_relaxed);
        if (peek == NULL || peek == &leaving) continue;
        atomic_fetch_add(&s->users, 1);
        job *j = atomic_load(&s->job);
        if (j != NULL && j != &leaving) work_off(j);
        if (atomic_fetch_sub(&s->users, 1) == 1) pool->os->word_wake(pool->os, &s->users);
    }
    return (pm_next){PM_NEXT_PARK, PM_FOREVER};
}

pm_pool *pm_pool_make(const pm_os *os, uint32_t helpers, bool low)
{
    if (helpers > MOST_HELPERS) helpers = MOST_HELPERS;
    const size_t size = sizeof(pm_pool) + helpers * sizeof(pm_task);
    pm_pool *pool = pm_malloc_aligned(64, size);
    if (pool == NULL) return NULL;
    memset(pool, 0, size);
    pool->os = os;
    for (uint32_t i = 0; i < helpers; i++) {
        pm_task_init(&pool->task[i], os, low ? "pomai-build" : "pomai-search", helper_step, pool);
        pool->task[i].low = low;
        if (os->task_start(&pool->task[i]) != 0) {
            pm_pool_free(pool);
            return NULL;
        }
        pool->helpers++;
    }
    return pool;
}

void pm_pool_free(pm_pool *pool)
{
    if (pool == NULL) return;
    atomic_store(&pool->closing, true);
    for (uint32_t i = 0; i < pool->helpers; i++) {
        pm_task_wake(&pool->task[i]);
        pool->os->task_join(&pool->task[i]);
    }
    pm_free(atomic_load(&pool->kept));
    pm_free(pool);
}

/* Not where a write behind the end is to be seen. */
static bool keeps(const pm_pool *pool)
{
#ifdef __SANITIZE_ADDRESS__
    (void)pool;
    return false;
#else
    return pool != NULL;
#endif
}

void *pm_pool_take(pm_pool *pool, size_t *size)
{
    void *memory = keeps(pool) ? atomic_exchange_explicit(&pool->kept, NULL, memory_order_acquire) : NULL;
    size_t there = 0;
    if (memory != NULL) memcpy(&there, memory, sizeof there);
    if (there >= *size && memory != NULL) {
        *size = there;
        return memory;
    }
    pm_free(memory);
    *size = *size < sizeof there ? sizeof there : *size;
    return pm_malloc_aligned(64, *size);
}

void pm_pool_give(pm_pool *pool, void *memory, size_t size)
{
    if (keeps(pool) && memory != NULL && size <= MOST_KEPT) {
        memcpy(memory, &size, sizeof size);
        memory = atomic_exchange_explicit(&pool->kept, memory, memory_order_acq_rel);
    }
    pm_free(memory);
}

uint32_t pm_pool_helpers(const pm_pool *pool)
{
    return pool == NULL ? 0 : pool->helpers;
}

void pm_pool_run(pm_pool *pool, pm_work_fn work, void *context, uint32_t pieces)
{
    job j = {.work = work, .context = context, .pieces = pieces};
    slot *mine = NULL;
    const uint32_t helpers = pm_pool_helpers(pool);
    for (int i = 0; helpers > 0 && pieces > 1 && mine == NULL && i < SLOTS; i++) {
        job *none = NULL;
        if (atomic_compare_exchange_strong(&pool->slot[i].job, &none, &j)) mine = &pool->slot[i];
    }
    for (uint32_t i = 0; mine != NULL && i < helpers && i + 1 < pieces; i++)
        pm_task_wake(&pool->task[i]);
    work_off(&j);
    if (mine == NULL) return;
    atomic_store(&mine->job, &leaving);
    for (uint32_t users; (users = atomic_load(&mine->users)) != 0;)
        pool->os->word_wait(pool->os, &mine->users, users, PM_FOREVER);
    atomic_store(&mine->job, NULL);
}
