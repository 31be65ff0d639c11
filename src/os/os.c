/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/mutant.h"
#include "os/os.h"

void pm_task_init(pm_task *task, const pm_os *os, const char *name, pm_step_fn step, void *arg)
{
    memset(task, 0, sizeof *task);
    task->os = os;
    task->name = name;
    task->step = step;
    task->arg = arg;
}

void pm_task_wake(pm_task *task)
{
    atomic_fetch_add(&task->wake, 1);
    if (atomic_load(&task->sleeping) != 0 && !PM_MUTANT(SLEEPER_NOT_WOKEN)) task->os->word_wake(task->os, &task->wake);
}

void pm_task_loop(pm_task *task)
{
    for (;;) {
        uint32_t seen = atomic_load(&task->wake);
        pm_next next = task->step(task->arg);
        if (next.what == PM_NEXT_DONE) return;
        if (next.what == PM_NEXT_AGAIN) continue;
        atomic_store(&task->sleeping, 1);
        if (PM_MUTANT(WAKE_NOT_COMPARED)) seen = atomic_load(&task->wake);
        if (atomic_load(&task->wake) == seen) task->os->word_wait(task->os, &task->wake, seen, next.until_ns);
        atomic_store(&task->sleeping, 0);
    }
}

int pm_file_make(const pm_os *os, const char *path)
{
    const bool keep = PM_MUTANT(LEFTOVER_BLOCKS) || PM_MUTANT(LEFTOVER_REUSED);
    int rc = keep ? 0 : os->path_remove(os, path);
    if (rc != 0 && rc != -ENOENT) return rc;
    const int only_new = PM_MUTANT(LEFTOVER_REUSED) ? 0 : PM_OPEN_NEW;
    return os->file_open(os, path, PM_OPEN_WRITE | PM_OPEN_CREATE | only_new);
}

pm_pages *pm_pages_make(const pm_os *os, uint8_t *data, size_t mapped, _Atomic uint64_t *counted_in)
{
    pm_pages *pages = pm_calloc(1, sizeof *pages);
    if (pages == NULL) return NULL;
    *pages = (pm_pages){.os = os, .mapped = mapped, .counted_in = counted_in, .holders = 1};
    pages->data = data != NULL ? data : os->pages_map(os, mapped);
    if (pages->data == NULL) {
        pm_free(pages);
        return NULL;
    }
    if (counted_in != NULL) atomic_fetch_add_explicit(counted_in, mapped, memory_order_relaxed);
    return pages;
}

void pm_pages_let_go(pm_pages *pages)
{
    if (pages == NULL || atomic_fetch_sub_explicit(&pages->holders, 1, memory_order_acq_rel) != 1) return;
    if (pages->counted_in != NULL) atomic_fetch_sub_explicit(pages->counted_in, pages->mapped, memory_order_relaxed);
    pages->os->pages_unmap(pages->os, pages->data, pages->mapped);
    pm_free(pages);
}
