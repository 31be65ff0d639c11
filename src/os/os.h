/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operating system, as the engine sees it: every system call, clock, random byte and thread goes through one table,
 * so that a simulated twin can stand in for it. Nothing outside src/os makes a system call; a check in the tests holds
 * that.
 *
 * Functions return 0 (or a count) on success and a negative errno on failure, and never set a status: callers know what
 * the failure means. Interrupted calls are repeated inside. Paths are NUL-terminated.
 */
#ifndef PM_OS_OS_H
#define PM_OS_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pm_os pm_os;

/* ---- tasks: a thread is only a loop around a step function ---- */

typedef enum pm_next_what {
    PM_NEXT_AGAIN, /* call again at once */
    PM_NEXT_PARK,  /* call again after a wake, or at until_ns */
    PM_NEXT_DONE,  /* never again */
} pm_next_what;

typedef struct pm_next {
    pm_next_what what;
    uint64_t until_ns; /* monotonic; PM_FOREVER: only a wake */
} pm_next;

#define PM_FOREVER UINT64_MAX

typedef pm_next (*pm_step_fn)(void *arg);

typedef struct pm_task {
    const pm_os *os;
    pm_step_fn step;
    void *arg;
    const char *name;      /* at most 15 bytes; static */
    _Atomic uint32_t wake; /* docs/threads.md, "Parking" */
    _Atomic uint32_t sleeping;
    bool started;
    bool low;             /* to be set before it is started: a core that others want is theirs; a hint */
    unsigned long thread; /* of the implementation */
} pm_task;

typedef struct pm_span {
    const void *data;
    size_t size;
} pm_span;

enum { PM_OPEN_READ = 1, PM_OPEN_WRITE = 2, PM_OPEN_CREATE = 4, PM_OPEN_NEW = 8 };
/* PM_OPEN_NEW: with CREATE, -EEXIST if there is a file of that name. */
enum { PM_PATH_NONE = 0, PM_PATH_FILE = 1, PM_PATH_DIR = 2 };

/* Called with each name in a directory except . and ..; a non-zero return stops and is passed on. */
typedef int (*pm_name_fn)(void *context, const char *name);

struct pm_os {
    /* files */
    int (*file_open)(const pm_os *os, const char *path, int flags); /* the descriptor */
    int (*file_close)(const pm_os *os, int fd);
    int64_t (*file_read)(const pm_os *os, int fd, void *to, size_t size, uint64_t offset); /* fewer only at the end */
    int (*file_write)(const pm_os *os, int fd, const pm_span *spans, size_t count, uint64_t offset); /* all of it */
    int (*file_sync)(const pm_os *os, int fd);                                    /* data, and the size */
    void (*file_forget)(const pm_os *os, int fd, uint64_t offset, uint64_t size); /* synced, not read soon; a hint */
    int (*file_allocate)(const pm_os *os, int fd, uint64_t size);                 /* -EOPNOTSUPP: carry on */
    int (*file_truncate)(const pm_os *os, int fd, uint64_t size);
    int (*file_size)(const pm_os *os, int fd, uint64_t *size);
    int (*file_lock)(const pm_os *os, int fd, bool exclusive); /* -EAGAIN: held by another */
    void (*file_unlock)(const pm_os *os, int fd);              /* also when a forked child still has the descriptor */
    /* names */
    int (*dir_lock)(const pm_os *os, const char *path, bool exclusive); /* a descriptor; -EAGAIN: held by another */
    int (*path_kind)(const pm_os *os, const char *path);                /* PM_PATH_ or a negative errno */
    int (*path_absolute)(const pm_os *os, const char *path, char *to, size_t size); /* need not exist */
    int (*path_rename)(const pm_os *os, const char *from, const char *to);
    int (*path_remove)(const pm_os *os, const char *path); /* a file */
    int (*dir_make)(const pm_os *os, const char *path);
    int (*dir_remove)(const pm_os *os, const char *path); /* an empty one; -ENOTEMPTY */
    int (*dir_sync)(const pm_os *os, const char *path);
    int (*dir_list)(const pm_os *os, const char *path, pm_name_fn each, void *context);
    /* memory in pages, zeroed; for log slabs and reserved blocks */
    void *(*pages_map)(const pm_os *os, size_t size);
    void (*pages_unmap)(const pm_os *os, void *pages, size_t size);
    void (*pages_touch)(const pm_os *os, void *pages, size_t size); /* takes the page faults ahead; a hint */
    /* The first `size` bytes of a file, to read. Only of a file that is synced and never changes again, and no more
     * than it has: pages that are not there kill the process. The descriptor may be closed. */
    int (*file_map)(const pm_os *os, int fd, uint64_t size, const void **pages);
    void (*file_unmap)(const pm_os *os, const void *pages, uint64_t size);
    void (*file_scatter)(const pm_os *os, const void *pages, uint64_t size); /* all of it is read at random; a hint */
    /* clocks, chance, surroundings */
    uint64_t (*now_ns)(const pm_os *os);  /* monotonic */
    uint64_t (*wall_ns)(const pm_os *os); /* since 1970 */
    int (*random)(const pm_os *os, void *to, size_t size);
    uint32_t (*cores)(const pm_os *os);
    const char *(*env)(const pm_os *os, const char *name);
    void (*who)(const pm_os *os, char *text, size_t size); /* "process 123 on host" */
    /* threads */
    int (*task_start)(pm_task *task);
    void (*task_join)(pm_task *task); /* after it said PM_NEXT_DONE, or will */
    void (*word_wait)(const pm_os *os, _Atomic uint32_t *word, uint32_t seen, uint64_t until_ns);
    void (*word_wake)(const pm_os *os, _Atomic uint32_t *word); /* all who wait */
    void (*mutex_lock)(const pm_os *os, _Atomic uint32_t *mutex);
    void (*mutex_unlock)(const pm_os *os, _Atomic uint32_t *mutex);
    /* The calling thread belongs to the application: keep it from being cancelled while it acts for the engine. */
    int (*thread_hold)(const pm_os *os);
    void (*thread_let_go)(const pm_os *os, int held);
    void (*relax)(const pm_os *os); /* inside a short spin */
};

const pm_os *pm_os_posix(void);
#ifdef POMAI_TEST_HOOKS
extern int (*pm_random_instead)(void *to, size_t size); /* NULL, or where its random bytes come from */
#endif

#if defined(__aarch64__)
/* The optional instructions of this processor, bits as Linux gives them. */
uint64_t pm_os_hwcap(void);
#elif defined(__x86_64__)
/*
 * Whether the threads of this process may use the tiles of AMX: Linux (5.16 on) wants to be asked, and says no where a
 * thread's alternate signal stack is too small for what a signal then saves.
 */
bool pm_os_allow_tiles(void);
#endif

/* Makes an empty file, for writing, in place of a leftover of the same name. The leftover is removed, never truncated:
 * a rename that a crash cut in half may have left it as a second name of the very file it was to replace. */
int pm_file_make(const pm_os *os, const char *path);

/* Pages that several hold; unmapped when the last lets go. From any thread. */
typedef struct pm_pages {
    const pm_os *os;
    uint8_t *data;
    size_t mapped;
    _Atomic uint64_t *counted_in; /* bytes of all such pages; may be NULL */
    _Atomic uint64_t holders;
} pm_pages;

/* Around pages that are mapped, or new ones if `data` is NULL; held once. NULL: no memory, and `data` stays mapped. */
pm_pages *pm_pages_make(const pm_os *os, uint8_t *data, size_t mapped, _Atomic uint64_t *counted_in);

static inline pm_pages *pm_pages_hold(pm_pages *pages)
{
    atomic_fetch_add_explicit(&pages->holders, 1, memory_order_relaxed);
    return pages;
}
/* NULL is let go of in silence. */
void pm_pages_let_go(pm_pages *pages);

/* Prepares a task that is not running yet. */
void pm_task_init(pm_task *task, const pm_os *os, const char *name, pm_step_fn step, void *arg);
/* Makes a parked task run its step again; from any thread. */
void pm_task_wake(pm_task *task);
/* Steps a task until it is done: what the thread of an implementation runs. */
void pm_task_loop(pm_task *task);

#endif
