/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine in memory: the table of os.h over a simulated disk, clock, source of chance and scheduler, all driven by
 * one seed, on one thread. The engine's tasks and the test's clients are fibers; between any two calls to the operating
 * system, at every named boundary and (in test builds) at every atomic access another fiber may go on. A run is
 * repeated exactly by its seed. Only one machine at a time in a process. docs/simulation.md.
 */
#ifndef PM_OS_SIM_H
#define PM_OS_SIM_H

#include "os/os.h"
#include "os/sim/sim_disk.h"

/* The calls that can be made to fail. */
#define PM_SIM_CALL_TABLE(X)                                                                                           \
    X(OPEN)                                                                                                            \
    X(CLOSE)                                                                                                           \
    X(READ)                                                                                                            \
    X(WRITE)                                                                                                           \
    X(SYNC)                                                                                                            \
    X(ALLOCATE)                                                                                                        \
    X(TRUNCATE)                                                                                                        \
    X(SIZE)                                                                                                            \
    X(LOCK)                                                                                                            \
    X(DIR_LOCK)                                                                                                        \
    X(KIND)                                                                                                            \
    X(ABSOLUTE)                                                                                                        \
    X(RENAME)                                                                                                          \
    X(REMOVE)                                                                                                          \
    X(DIR_MAKE)                                                                                                        \
    X(DIR_SYNC)                                                                                                        \
    X(DIR_LIST)                                                                                                        \
    X(PAGES)                                                                                                           \
    X(RANDOM)                                                                                                          \
    X(TASK_START)                                                                                                      \
    X(MALLOC)                                                                                                          \
    X(MAP)                                                                                                             \
    X(DIR_REMOVE)

enum pm_sim_call {
#define PM_SIM_CALL_X(name) PM_SIM_##name,
    PM_SIM_CALL_TABLE(PM_SIM_CALL_X)
#undef PM_SIM_CALL_X
        PM_SIM_CALLS
};

#define PM_SIM_BIT(call) ((uint32_t)1 << PM_SIM_##call)
#define PM_SIM_ALL_CALLS (((uint32_t)1 << PM_SIM_CALLS) - 1)
/* Calls whose failure leaves a disk that can no longer be trusted with what was not synced. */
#define PM_SIM_DISK_CALLS (PM_SIM_BIT(WRITE) | PM_SIM_BIT(SYNC) | PM_SIM_BIT(DIR_SYNC))

const char *pm_sim_call_name(enum pm_sim_call call);

typedef struct pm_sim_fault {
    uint32_t calls; /* PM_SIM_BIT; 0: none */
    uint64_t nth;   /* counted from when the fault was set; 0: the next one */
    bool for_ever;
    bool partial; /* of a write: a part of it is written before it fails */
    int error;    /* positive errno; MALLOC and PAGES give no memory whatever it says */
} pm_sim_fault;

typedef enum pm_sim_end {
    PM_SIM_DONE,     /* the fiber that was waited for has ended */
    PM_SIM_CRASHED,  /* the step was reached at which the machine was to stop */
    PM_SIM_DEADLOCK, /* every fiber waits, and no timer is set */
    PM_SIM_ENDLESS,  /* more steps than a run can need */
} pm_sim_end;

typedef struct pm_sim pm_sim;
typedef void (*pm_sim_fn)(void *arg);

pm_sim *pm_sim_make(uint64_t seed);
void pm_sim_free(pm_sim *sim);
const pm_os *pm_sim_os(pm_sim *sim);

/* The disk in the machine; borrowed. pm_sim_set_disk frees the one before. */
pm_disk *pm_sim_disk(pm_sim *sim);
void pm_sim_set_disk(pm_sim *sim, pm_disk *disk);
void pm_sim_set_fault(pm_sim *sim, pm_sim_fault fault);
/* Calls that matched since the fault was set, and those that were failed. */
uint64_t pm_sim_fault_seen(const pm_sim *sim);
uint64_t pm_sim_faults(const pm_sim *sim);
/* False: a file system that cannot allocate ahead (EOPNOTSUPP), so that a file's size grows with its writes. */
void pm_sim_set_allocation(pm_sim *sim, bool allocates);
void pm_sim_set_cores(pm_sim *sim, uint32_t cores);
/* 0: fibers go on until they wait (one order, little variety); else one in about `mean` steps another may go on. */
void pm_sim_set_preemption(pm_sim *sim, uint32_t mean);
/* The machine stops after this many more steps; UINT64_MAX: never. */
void pm_sim_crash_in(pm_sim *sim, uint64_t steps);
/* Of the steady clock; no time passes. */
uint64_t pm_sim_time(const pm_sim *sim);
/* From a fiber: somebody sets the wall clock. */
void pm_sim_set_wall(pm_sim *sim, uint64_t ns);
uint64_t pm_sim_steps(const pm_sim *sim);
/* Called before each call that changes the disk, from the fiber that makes it: the disk may be copied there. */
void pm_sim_on_change(pm_sim *sim, void (*before)(void *context), void *context);

/* Runs `main` as a fiber, and whatever it starts, until it ends. */
pm_sim_end pm_sim_run(pm_sim *sim, pm_sim_fn main, void *arg);
/* From a fiber: starts another; waits for it. At most PM_SIM_FIBERS at a time, the engine's tasks among them. */
enum { PM_SIM_FIBERS = 64 };
uint32_t pm_sim_spawn(pm_sim *sim, pm_sim_fn run, void *arg);
void pm_sim_join(pm_sim *sim, uint32_t fiber);
/* From a fiber: lets time pass. */
void pm_sim_sleep(pm_sim *sim, uint64_t ns);

/* The process is gone (after a crash, or when nothing of it should be left): fibers, memory, descriptors, locks. The
 * disk stays as it is. */
void pm_sim_kill_process(pm_sim *sim);
/* What the engine still holds: allocations, mapped regions, descriptors, tasks. All 0 after a close. */
typedef struct pm_sim_held {
    uint64_t allocations, regions, descriptors, tasks;
} pm_sim_held;
pm_sim_held pm_sim_what_is_held(const pm_sim *sim);
/* Every decision, call and result so far in one number. */
uint64_t pm_sim_digest(const pm_sim *sim);
void pm_sim_note(pm_sim *sim, uint64_t what);

#endif
