/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

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
    if (atomic_load(&task->sleeping) != 0) task->os->word_wake(task->os, &task->wake);
}

void pm_task_loop(pm_task *task)
{
    for (;;) {
        uint32_t seen = atomic_load(&task->wake);
        pm_next next = task->step(task->arg);
        if (next.what == PM_NEXT_DONE) return;
        if (next.what == PM_NEXT_AGAIN) continue;
        atomic_store(&task->sleeping, 1);
        if (atomic_load(&task->wake) == seen) task->os->word_wait(task->os, &task->wake, seen, next.until_ns);
        atomic_store(&task->sleeping, 0);
    }
}

int pm_file_make(const pm_os *os, const char *path)
{
    int rc = os->path_remove(os, path);
    if (rc != 0 && rc != -ENOENT) return rc;
    return os->file_open(os, path, PM_OPEN_WRITE | PM_OPEN_CREATE | PM_OPEN_NEW);
}
