/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_OS_SIM_INT_H
#define PM_OS_SIM_INT_H

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "base/base.h"
#include "os/sim/os_sim.h"

#if defined(__SANITIZE_ADDRESS__)
#define PM_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PM_SIM_ASAN 1
#endif
#endif

typedef enum sim_state { SIM_FREE, SIM_READY, SIM_WAITING, SIM_ENDED } sim_state;

/* Where a fiber was left. swapcontext makes two system calls, and under AddressSanitizer clears a whole stack's shadow.
 */
#if defined(__x86_64__)
typedef void *sim_context; /* its stack pointer; the registers lie there */
#else
typedef ucontext_t sim_context;
#endif

typedef struct sim_fiber {
    sim_state state;
    sim_context context;
    void *stack;
    pm_sim_fn run;
    void *arg;
    const void *word; /* what it waits for */
    uint64_t until;
    uint32_t priority;
    pm_task *task; /* of the engine; NULL: a client */
    /* a write that may be cut off by the end of the process */
    const pm_span *spans;
    size_t span_count;
    uint32_t write_node;
    uint64_t write_offset;
    void *fake_stack; /* AddressSanitizer's */
} sim_fiber;

typedef struct sim_fd {
    bool open;
    bool locked, exclusive;
    uint32_t node;
} sim_fd;

enum { SIM_FDS = 256, SIM_STACK = 256 * 1024 };

/* In front of every allocation, and beside every mapped region. */
typedef struct sim_block {
    struct sim_block *before, *after;
    size_t size;
    void *raw;
} sim_block;

typedef struct sim_region {
    struct sim_region *next;
    uint8_t *memory;
    size_t size, live; /* bytes not unmapped yet */
    bool marked;       /* some of it was unmapped before the rest */
} sim_region;

struct pm_sim {
    pm_os os; /* first: the table is the machine */
    pm_disk *disk;
    uint64_t seed, random, digest;
    uint64_t now, wall_offset;
    uint32_t cores;
    bool no_allocation;
    /* scheduler */
    sim_fiber fiber[PM_SIM_FIBERS];
    sim_context main;
    void *main_fake_stack;
    const void *main_bottom;
    size_t main_size;
    uint32_t current; /* PM_SIM_FIBERS: none */
    uint32_t preempt_mean;
    int64_t quantum;
    uint64_t steps, crash_at, most_steps;
    bool by_priority;
    /* faults */
    pm_sim_fault fault;
    uint64_t fault_seen, faults;
    void (*before_change)(void *context);
    void *change_context;
    /* what the process holds */
    sim_fd fd[SIM_FDS];
    sim_block blocks; /* ring */
    uint64_t block_count;
    sim_region *regions;
    uint64_t region_count;
    uint64_t task_count;
};

extern pm_sim *pm_sim_now; /* the machine, for the hooks that have no argument */

uint64_t pm_sim_random(pm_sim *sim);
/* sim_fiber.c */
void pm_sim_step(pm_sim *sim);
/* The same at a boundary that has a name; the fiber stalls there one time in `stalls`. */
void pm_sim_at_point(pm_sim *sim, uint64_t stalls);
void pm_sim_switch(pm_sim *sim); /* another fiber goes on, if there is one */
void pm_sim_wait(pm_sim *sim, const void *word, uint64_t until);
void pm_sim_wake(pm_sim *sim, const void *word);
int pm_sim_task_start(pm_task *task);
void pm_sim_task_join(pm_task *task);
void pm_sim_fibers_gone(pm_sim *sim);
void pm_sim_stacks_free(void);
/* sim_memory.c */
void pm_sim_memory_hook(void);
void pm_sim_memory_gone(pm_sim *sim);
void *pm_sim_region(pm_sim *sim, size_t size); /* zeroed, counted */
void *pm_sim_pages_map(const pm_os *os, size_t size);
void pm_sim_pages_unmap(const pm_os *os, void *pages, size_t size);
/* os_sim.c */
bool pm_sim_fails(pm_sim *sim, enum pm_sim_call call);
void pm_sim_table(pm_os *os);

static inline pm_sim *pm_sim_of(const pm_os *os)
{
    return (pm_sim *)(uintptr_t)os;
}

#endif
