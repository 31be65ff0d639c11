/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler. Invariants:
 *  1. Only pick() decides who goes on, by the seed.
 *  2. Time stands still but for what calls cost and for jumps to the next timer.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "os/sim/sim_int.h"

#ifdef PM_SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define SWITCH_BEGIN(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define SWITCH_END(saved, bottom, size)  __sanitizer_finish_switch_fiber(saved, bottom, size)
#define FRESH_STACK(stack)               __asan_unpoison_memory_region(stack, SIM_STACK)
#else
#define SWITCH_BEGIN(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define SWITCH_END(saved, bottom, size)  ((void)(saved), (void)(bottom), (void)(size))
#define FRESH_STACK(stack)               ((void)(stack))
#endif

enum { TICK_NS = 200, JUMP_NS = 12 * 1000 * 1000, STALL_NS = 8 * 1000 * 1000 };

/* Kept from machine to machine; and so are AddressSanitizer's beside them, which take long to map, of fibers that
 * ended. */
static void *stacks[PM_SIM_FIBERS], *fake_stacks[PM_SIM_FIBERS];

/* ---- switching ---- */

#if defined(__x86_64__)
/* Saves what a call must preserve, and the stack pointer, and goes on with another stack. */
void pm_sim_swap(void **left, void *entered);
__asm__(".text\n.globl pm_sim_swap\n.hidden pm_sim_swap\n.type pm_sim_swap,@function\npm_sim_swap:\n"
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n"
        ".size pm_sim_swap,.-pm_sim_swap\n");

static void swap(sim_context *left, sim_context *entered)
{
    pm_sim_swap(left, *entered);
}

static void begin(sim_context *context, void *stack, void (*entry)(void))
{
    uintptr_t *top =
        (uintptr_t *)(void *)((uint8_t *)stack + SIM_STACK) - 1; /* as after a call: 8 off a multiple of 16 */
    memset(top - 7, 0, 8 * sizeof *top);
    *--top = (uintptr_t)entry;
    *context = top - 6;
}
#else
static void swap(sim_context *left, sim_context *entered)
{
    swapcontext(left, entered);
}

static void begin(sim_context *context, void *stack, void (*entry)(void))
{
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = SIM_STACK;
    context->uc_link = NULL;
    makecontext(context, entry, 0);
}
#endif

static void to_scheduler(pm_sim *sim, sim_fiber *self, bool for_good)
{
    SWITCH_BEGIN(for_good ? &fake_stacks[self - sim->fiber] : &self->fake_stack, sim->main_bottom, sim->main_size);
    swap(&self->context, &sim->main);
    SWITCH_END(self->fake_stack, &sim->main_bottom, &sim->main_size);
}

static void fiber_main(void)
{
    pm_sim *sim = pm_sim_now;
    sim_fiber *self = &sim->fiber[sim->current];
    SWITCH_END(fake_stacks[sim->current], &sim->main_bottom, &sim->main_size);
    fake_stacks[sim->current] = NULL; /* who is killed leaves frames in it */
    self->run(self->arg);
    self->state = SIM_ENDED;
    pm_sim_wake(sim, self);
    to_scheduler(sim, self, true);
}

static uint32_t new_fiber(pm_sim *sim, pm_sim_fn run, void *arg, pm_task *task)
{
    uint32_t i = 0;
    while (i < PM_SIM_FIBERS && sim->fiber[i].state != SIM_FREE)
        i++;
    if (i == PM_SIM_FIBERS) abort();
    if (stacks[i] == NULL) {
        stacks[i] = mmap(NULL, SIM_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks[i] == MAP_FAILED) abort();
    }
    sim_fiber *f = &sim->fiber[i];
    FRESH_STACK(stacks[i]);
    f->state = SIM_READY;
    f->run = run;
    f->arg = arg;
    f->task = task;
    f->stack = stacks[i];
    f->priority = (uint32_t)pm_sim_random(sim);
    f->spans = NULL;
    f->fake_stack = NULL;
    begin(&f->context, f->stack, fiber_main);
    return i;
}

void pm_sim_switch(pm_sim *sim)
{
    if (sim->current == PM_SIM_FIBERS) return;
    to_scheduler(sim, &sim->fiber[sim->current], false);
}

/* One time in so many for long: a thread that the machine does not run while others do much. */
static void maybe_stalls(pm_sim *sim, uint64_t one_in)
{
    const uint64_t lot = sim->preempt_mean == 0 ? 1 : pm_sim_random(sim);
    if (lot % one_in == 0)
        pm_sim_sleep(sim, (lot >> 8) % STALL_NS);
    else if (sim->quantum <= 0)
        pm_sim_switch(sim);
}

void pm_sim_step(pm_sim *sim)
{
    if (sim->current == PM_SIM_FIBERS) return;
    sim->steps++;
    sim->quantum--;
    if (sim->steps >= sim->crash_at || sim->steps >= sim->most_steps)
        pm_sim_switch(sim);
    else if (sim->quantum <= 0)
        maybe_stalls(sim, 256);
}

void pm_sim_at_point(pm_sim *sim, uint64_t stalls)
{
    pm_sim_step(sim);
    if (sim->current != PM_SIM_FIBERS) maybe_stalls(sim, stalls);
}

/* ---- waiting ---- */

void pm_sim_wait(pm_sim *sim, const void *word, uint64_t until)
{
    sim_fiber *self = &sim->fiber[sim->current];
    self->state = SIM_WAITING;
    self->word = word;
    self->until = until;
    pm_sim_switch(sim);
}

void pm_sim_wake(pm_sim *sim, const void *word)
{
    for (uint32_t i = 0; i < PM_SIM_FIBERS; i++)
        if (sim->fiber[i].state == SIM_WAITING && sim->fiber[i].word == word) sim->fiber[i].state = SIM_READY;
}

void pm_sim_sleep(pm_sim *sim, uint64_t ns)
{
    pm_sim_wait(sim, NULL, sim->now + ns);
}

/* ---- choosing ---- */

static void fire_timers(pm_sim *sim)
{
    for (uint32_t i = 0; i < PM_SIM_FIBERS; i++)
        if (sim->fiber[i].state == SIM_WAITING && sim->fiber[i].until <= sim->now) sim->fiber[i].state = SIM_READY;
}

/* The nearest timer, PM_FOREVER if none is set. */
static uint64_t next_timer(const pm_sim *sim)
{
    uint64_t next = PM_FOREVER;
    for (uint32_t i = 0; i < PM_SIM_FIBERS; i++)
        if (sim->fiber[i].state == SIM_WAITING) next = pm_min_u64(next, sim->fiber[i].until);
    return next;
}

/* By lot; or, as in Burckhardt et al., A randomized scheduler with probabilistic guarantees of finding bugs (2010), the
 * highest priority until a change point lowers it. */
static uint32_t pick(pm_sim *sim)
{
    uint32_t ready[PM_SIM_FIBERS], count = 0, best = 0;
    for (uint32_t i = 0; i < PM_SIM_FIBERS; i++)
        if (sim->fiber[i].state == SIM_READY) ready[count++] = i;
    if (count == 0) return PM_SIM_FIBERS;
    uint64_t lot = sim->preempt_mean == 0 ? 0 : pm_sim_random(sim);
    if (!sim->by_priority || lot % 16 == 0) return ready[(lot >> 8) % count];
    for (uint32_t i = 1; i < count; i++)
        if (sim->fiber[ready[i]].priority > sim->fiber[ready[best]].priority) best = i;
    if (lot % 64 == 1) sim->fiber[ready[best]].priority /= 2;
    return ready[best];
}

static void draw_quantum(pm_sim *sim)
{
    sim->quantum = INT64_MAX;
    if (sim->preempt_mean == 0) return;
    uint64_t lot = pm_sim_random(sim);
    /* Mostly short, now and then long, so that races need not be close together. */
    sim->quantum = 1 + (int64_t)((lot >> 8) % (sim->preempt_mean * ((lot & 7) == 0 ? 16 : 2)));
    if ((lot >> 40) % 128 == 0) sim->now += (lot >> 16) % JUMP_NS;
    if ((lot >> 48) % 256 == 0) { /* a wake without a reason, as a futex may have it */
        sim_fiber *f = &sim->fiber[(lot >> 56) % PM_SIM_FIBERS];
        if (f->state == SIM_WAITING && f->word != NULL) f->state = SIM_READY;
    }
}

static void resume(pm_sim *sim, uint32_t i)
{
    sim_fiber *f = &sim->fiber[i];
    sim->current = i;
    sim->digest = pm_mix64(sim->digest ^ i);
    SWITCH_BEGIN(&sim->main_fake_stack, f->stack, SIM_STACK);
    swap(&sim->main, &f->context);
    SWITCH_END(sim->main_fake_stack, NULL, NULL);
    sim->current = PM_SIM_FIBERS;
    if (f->state == SIM_ENDED && f->task != NULL) f->state = SIM_FREE;
}

pm_sim_end pm_sim_run(pm_sim *sim, pm_sim_fn main, void *arg)
{
    uint32_t first = new_fiber(sim, main, arg, NULL);
    sim->most_steps = sim->steps + ((uint64_t)1 << 28);
    for (;;) {
        if (sim->fiber[first].state == SIM_ENDED) {
            sim->fiber[first].state = SIM_FREE;
            return PM_SIM_DONE;
        }
        if (sim->steps >= sim->crash_at) return PM_SIM_CRASHED;
        if (sim->steps >= sim->most_steps) return PM_SIM_ENDLESS;
        fire_timers(sim);
        uint32_t next = pick(sim);
        if (next == PM_SIM_FIBERS) {
            uint64_t at = next_timer(sim);
            if (at == PM_FOREVER) return PM_SIM_DEADLOCK;
            sim->now = pm_max_u64(at, sim->now);
            continue;
        }
        draw_quantum(sim);
        sim->now += TICK_NS;
        resume(sim, next);
    }
}

/* ---- fibers of clients and tasks ---- */

uint32_t pm_sim_spawn(pm_sim *sim, pm_sim_fn run, void *arg)
{
    return new_fiber(sim, run, arg, NULL);
}

void pm_sim_join(pm_sim *sim, uint32_t fiber)
{
    while (sim->fiber[fiber].state != SIM_ENDED)
        pm_sim_wait(sim, &sim->fiber[fiber], PM_FOREVER);
    sim->fiber[fiber].state = SIM_FREE;
}

static void run_task(void *arg)
{
    pm_task *task = arg;
    pm_task_loop(task);
    pm_sim_now->task_count--;
    pm_sim_wake(pm_sim_now, task);
}

int pm_sim_task_start(pm_task *task)
{
    pm_sim *sim = pm_sim_of(task->os);
    pm_sim_step(sim);
    if (pm_sim_fails(sim, PM_SIM_TASK_START)) return -sim->fault.error;
    task->started = true;
    task->thread = new_fiber(sim, run_task, task, task);
    sim->task_count++;
    return 0;
}

void pm_sim_task_join(pm_task *task)
{
    pm_sim *sim = pm_sim_of(task->os);
    /* The fiber may be another's by now: its task says whether it still is this one. */
    while (task->started && sim->fiber[task->thread].task == task && sim->fiber[task->thread].state != SIM_FREE &&
           sim->fiber[task->thread].state != SIM_ENDED)
        pm_sim_wait(sim, task, PM_FOREVER);
    task->started = false;
}

void pm_sim_fibers_gone(pm_sim *sim)
{
    for (uint32_t i = 0; i < PM_SIM_FIBERS; i++)
        sim->fiber[i].state = SIM_FREE;
    sim->task_count = 0;
}

void pm_sim_stacks_free(void)
{
    for (uint32_t i = 0; i < PM_SIM_FIBERS; i++) {
        if (stacks[i] != NULL) munmap(stacks[i], SIM_STACK);
        stacks[i] = NULL;
    }
}
