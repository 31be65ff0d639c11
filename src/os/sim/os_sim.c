/* SPDX-License-Identifier: Apache-2.0 */
/* The table itself: every call is a step of the scheduler, may be failed, and is part of the digest. */
#include "os/sim/os_sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "base/point.h"
#include "os/sim/sim_int.h"

pm_sim *pm_sim_now;

/* ---- chance, faults, digest ---- */

uint64_t pm_sim_random(pm_sim *sim)
{
    sim->random += 0x9e3779b97f4a7c15u;
    return pm_mix64(sim->random);
}

void pm_sim_note(pm_sim *sim, uint64_t what)
{
    sim->digest = pm_mix64(sim->digest ^ what) + what;
}

const char *pm_sim_call_name(enum pm_sim_call call)
{
    static const char *const names[] = {
#define PM_SIM_NAME_X(name) #name,
        PM_SIM_CALL_TABLE(PM_SIM_NAME_X)
#undef PM_SIM_NAME_X
    };
    return names[call];
}

bool pm_sim_fails(pm_sim *sim, enum pm_sim_call call)
{
    pm_sim_note(sim, call);
    if ((sim->fault.calls >> call & 1) == 0) return false;
    uint64_t nth = sim->fault_seen++;
    bool now = nth == sim->fault.nth || (sim->fault.for_ever && nth > sim->fault.nth);
    sim->faults += now;
    return now;
}

static bool call_fails(const pm_os *os, enum pm_sim_call call)
{
    pm_sim *sim = pm_sim_of(os);
    pm_sim_step(sim);
    return pm_sim_fails(sim, call);
}

static int failed(const pm_os *os)
{
    return -pm_sim_of(os)->fault.error;
}

static void changing(const pm_os *os)
{
    pm_sim *sim = pm_sim_of(os);
    if (sim->before_change != NULL) sim->before_change(sim->change_context);
}

/* ---- files ---- */

static int new_fd(pm_sim *sim, uint32_t node)
{
    for (int i = 0; i < SIM_FDS; i++) {
        if (sim->fd[i].open) continue;
        sim->fd[i] = (sim_fd){.open = true, .node = node};
        return i;
    }
    return -EMFILE;
}

static sim_fd *fd_of(const pm_os *os, int fd)
{
    pm_sim *sim = pm_sim_of(os);
    if (fd < 0 || fd >= SIM_FDS || !sim->fd[fd].open) abort(); /* a descriptor that is not open: a bug */
    return &sim->fd[fd];
}

static int sim_file_open(const pm_os *os, const char *path, int flags)
{
    pm_sim *sim = pm_sim_of(os);
    uint32_t node;
    if ((flags & PM_OPEN_CREATE) != 0) changing(os);
    if (call_fails(os, PM_SIM_OPEN)) return failed(os);
    int rc = pm_disk_open(sim->disk, path, flags, &node);
    return rc != 0 ? rc : new_fd(sim, node);
}

static void unlock(const pm_os *os, sim_fd *f)
{
    if (f->locked) pm_disk_unlock(pm_sim_of(os)->disk, f->node, f->exclusive);
    f->locked = false;
}

static int sim_file_close(const pm_os *os, int fd)
{
    bool fails = call_fails(os, PM_SIM_CLOSE);
    sim_fd *f = fd_of(os, fd);
    unlock(os, f);
    f->open = false;
    return fails ? failed(os) : 0;
}

static int64_t sim_file_read(const pm_os *os, int fd, void *to, size_t size, uint64_t offset)
{
    if (call_fails(os, PM_SIM_READ)) return failed(os);
    return pm_disk_read(pm_sim_of(os)->disk, fd_of(os, fd)->node, to, size, offset);
}

/* The first `most` bytes of the spans. */
static int write_spans(pm_sim *sim, uint32_t node, const pm_span *spans, size_t count, uint64_t offset, uint64_t most)
{
    uint64_t size = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        size += spans[i].size;
    size = pm_min_u64(size, most);
    if (size == 0) return 0;
    uint8_t *all = malloc(size);
    if (all == NULL) abort();
    for (size_t i = 0; i < count && at < size; i++) {
        uint64_t n = pm_min_u64(spans[i].size, size - at);
        memcpy(all + at, spans[i].data, n);
        at += n;
    }
    int rc = pm_disk_write(sim->disk, node, all, size, offset);
    pm_sim_note(sim, pm_hash_bytes(all, size, offset));
    free(all);
    return rc;
}

static int sim_file_write(const pm_os *os, int fd, const pm_span *spans, size_t count, uint64_t offset)
{
    pm_sim *sim = pm_sim_of(os);
    uint32_t node = fd_of(os, fd)->node;
    changing(os);
    if (sim->current < PM_SIM_FIBERS) {
        sim_fiber *self = &sim->fiber[sim->current];
        self->spans = spans;
        self->span_count = count;
        self->write_node = node;
        self->write_offset = offset;
    }
    bool fails = call_fails(os, PM_SIM_WRITE);
    if (sim->current < PM_SIM_FIBERS) sim->fiber[sim->current].spans = NULL;
    if (!fails) return write_spans(sim, node, spans, count, offset, UINT64_MAX);
    if (sim->fault.partial) {
        uint64_t size = 0;
        for (size_t i = 0; i < count; i++)
            size += spans[i].size;
        (void)write_spans(sim, node, spans, count, offset, size == 0 ? 0 : pm_sim_random(sim) % size);
    }
    return failed(os);
}

static int sim_file_sync(const pm_os *os, int fd)
{
    pm_sim *sim = pm_sim_of(os);
    changing(os);
    if (!call_fails(os, PM_SIM_SYNC)) return pm_disk_sync(sim->disk, fd_of(os, fd)->node);
    pm_choices choices = pm_choices_random(pm_sim_random(sim));
    pm_disk_lose_sync(sim->disk, fd_of(os, fd)->node, &choices);
    return failed(os);
}

static void sim_file_forget(const pm_os *os, int fd, uint64_t offset, uint64_t size)
{
    (void)offset;
    (void)size;
    pm_sim_step(pm_sim_of(os));
    (void)fd_of(os, fd);
}

static int sim_file_allocate(const pm_os *os, int fd, uint64_t size)
{
    pm_sim *sim = pm_sim_of(os);
    changing(os);
    if (call_fails(os, PM_SIM_ALLOCATE)) return failed(os);
    if (sim->no_allocation) return -EOPNOTSUPP;
    uint32_t node = fd_of(os, fd)->node;
    return size <= pm_disk_size(sim->disk, node) ? 0 : pm_disk_resize(sim->disk, node, size);
}

static int sim_file_truncate(const pm_os *os, int fd, uint64_t size)
{
    changing(os);
    if (call_fails(os, PM_SIM_TRUNCATE)) return failed(os);
    return pm_disk_resize(pm_sim_of(os)->disk, fd_of(os, fd)->node, size);
}

static int sim_file_size(const pm_os *os, int fd, uint64_t *size)
{
    if (call_fails(os, PM_SIM_SIZE)) return failed(os);
    *size = pm_disk_size(pm_sim_of(os)->disk, fd_of(os, fd)->node);
    return 0;
}

static int lock(const pm_os *os, int fd, bool exclusive)
{
    sim_fd *f = fd_of(os, fd);
    int rc = pm_disk_lock(pm_sim_of(os)->disk, f->node, exclusive);
    if (rc != 0) return rc;
    f->locked = true;
    f->exclusive = exclusive;
    return 0;
}

static int sim_file_lock(const pm_os *os, int fd, bool exclusive)
{
    return call_fails(os, PM_SIM_LOCK) ? failed(os) : lock(os, fd, exclusive);
}

static void sim_file_unlock(const pm_os *os, int fd)
{
    pm_sim_step(pm_sim_of(os));
    unlock(os, fd_of(os, fd));
}

static int sim_dir_lock(const pm_os *os, const char *path, bool exclusive)
{
    pm_sim *sim = pm_sim_of(os);
    uint32_t node;
    if (call_fails(os, PM_SIM_DIR_LOCK)) return failed(os);
    int rc = pm_disk_open_dir(sim->disk, path, &node);
    int fd = rc != 0 ? rc : new_fd(sim, node);
    if (fd < 0) return fd;
    rc = lock(os, fd, exclusive);
    if (rc == 0) return fd;
    sim->fd[fd].open = false;
    return rc;
}

/* ---- names ---- */

static int sim_path_kind(const pm_os *os, const char *path)
{
    return call_fails(os, PM_SIM_KIND) ? failed(os) : pm_disk_kind(pm_sim_of(os)->disk, path);
}

static int sim_path_absolute(const pm_os *os, const char *path, char *to, size_t size)
{
    if (call_fails(os, PM_SIM_ABSOLUTE)) return failed(os);
    int n = snprintf(to, size, "%s%s", path[0] == '/' ? "" : "/", path);
    return n >= 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

static int sim_path_rename(const pm_os *os, const char *from, const char *to)
{
    changing(os);
    return call_fails(os, PM_SIM_RENAME) ? failed(os) : pm_disk_rename(pm_sim_of(os)->disk, from, to);
}

static int sim_path_remove(const pm_os *os, const char *path)
{
    changing(os);
    return call_fails(os, PM_SIM_REMOVE) ? failed(os) : pm_disk_remove(pm_sim_of(os)->disk, path);
}

static int sim_dir_make(const pm_os *os, const char *path)
{
    changing(os);
    return call_fails(os, PM_SIM_DIR_MAKE) ? failed(os) : pm_disk_make_dir(pm_sim_of(os)->disk, path);
}

static int sim_dir_remove(const pm_os *os, const char *path)
{
    changing(os);
    return call_fails(os, PM_SIM_DIR_REMOVE) ? failed(os) : pm_disk_remove_dir(pm_sim_of(os)->disk, path);
}

static int sim_dir_sync(const pm_os *os, const char *path)
{
    changing(os);
    return call_fails(os, PM_SIM_DIR_SYNC) ? failed(os) : pm_disk_sync_dir(pm_sim_of(os)->disk, path);
}

static int sim_dir_list(const pm_os *os, const char *path, pm_name_fn each, void *context)
{
    return call_fails(os, PM_SIM_DIR_LIST) ? failed(os) : pm_disk_list(pm_sim_of(os)->disk, path, each, context);
}

/* ---- clocks, chance, surroundings ---- */

static uint64_t sim_now_ns(const pm_os *os)
{
    pm_sim *sim = pm_sim_of(os);
    pm_sim_step(sim);
    return sim->now += 100;
}

/* Goes back now and then, as a clock that is set does; sometimes it is years off. */
static uint64_t sim_wall_ns(const pm_os *os)
{
    pm_sim *sim = pm_sim_of(os);
    pm_sim_step(sim);
    uint64_t lot = pm_sim_random(sim);
    if (lot % 64 == 0) sim->wall_offset = 1700000000000000000u + (lot >> 8) % 3600000000000u;
    if (lot % 1024 == 0) sim->wall_offset = (lot >> 16) % 4000000000000000000u;
    return sim->wall_offset + sim->now;
}

static int sim_random_bytes(const pm_os *os, void *to, size_t size)
{
    pm_sim *sim = pm_sim_of(os);
    if (call_fails(os, PM_SIM_RANDOM)) return failed(os);
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)pm_sim_random(sim);
    return 0;
}

static uint32_t sim_cores(const pm_os *os)
{
    return pm_sim_of(os)->cores;
}

static const char *sim_env(const pm_os *os, const char *name)
{
    (void)os;
    (void)name;
    return NULL;
}

static void sim_who(const pm_os *os, char *text, size_t size)
{
    (void)os;
    snprintf(text, size, "process 1 on sim");
}

/* ---- memory and threads ---- */

/* A copy: what is mapped may not change, and here it does not. */
static int sim_file_map(const pm_os *os, int fd, uint64_t size, const void **pages)
{
    pm_sim *sim = pm_sim_of(os);
    if (call_fails(os, PM_SIM_MAP)) return failed(os);
    uint32_t node = fd_of(os, fd)->node;
    if (size == 0) return -EINVAL;
    if (size > pm_disk_size(sim->disk, node)) abort(); /* the kernel would kill the process at the first touch */
    void *memory = pm_sim_region(sim, size);
    (void)pm_disk_read(sim->disk, node, memory, size, 0);
    *pages = memory;
    return 0;
}

static void sim_file_unmap(const pm_os *os, const void *pages, uint64_t size)
{
    pm_sim_pages_unmap(os, (void *)(uintptr_t)pages, size);
}

static void sim_file_scatter(const pm_os *os, const void *pages, uint64_t size)
{
    (void)pages;
    (void)size;
    pm_sim_step(pm_sim_of(os));
}

static void sim_pages_touch(const pm_os *os, void *pages, size_t size)
{
    (void)pages;
    (void)size;
    pm_sim_step(pm_sim_of(os));
}

static void sim_word_wait(const pm_os *os, _Atomic uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    pm_sim *sim = pm_sim_of(os);
    pm_sim_step(sim);
    if (__atomic_load_n((uint32_t *)word, __ATOMIC_SEQ_CST) != seen || until_ns <= sim->now) return;
    pm_sim_wait(sim, word, until_ns);
}

static void sim_word_wake(const pm_os *os, _Atomic uint32_t *word)
{
    pm_sim_step(pm_sim_of(os));
    pm_sim_wake(pm_sim_of(os), word);
}

static void sim_mutex_lock(const pm_os *os, _Atomic uint32_t *mutex)
{
    pm_sim *sim = pm_sim_of(os);
    pm_sim_step(sim);
    while (__atomic_load_n((uint32_t *)mutex, __ATOMIC_SEQ_CST) != 0)
        pm_sim_wait(sim, mutex, PM_FOREVER);
    __atomic_store_n((uint32_t *)mutex, 1, __ATOMIC_SEQ_CST);
}

static void sim_mutex_unlock(const pm_os *os, _Atomic uint32_t *mutex)
{
    __atomic_store_n((uint32_t *)mutex, 0, __ATOMIC_SEQ_CST);
    pm_sim_wake(pm_sim_of(os), mutex);
    pm_sim_step(pm_sim_of(os));
}

static int sim_thread_hold(const pm_os *os)
{
    (void)os;
    return 0;
}

static void sim_thread_let_go(const pm_os *os, int held)
{
    (void)os;
    (void)held;
}

static void sim_relax(const pm_os *os)
{
    pm_sim *sim = pm_sim_of(os);
    pm_sim_step(sim);
    sim->now += 1000;
    pm_sim_switch(sim);
}

void pm_sim_table(pm_os *os)
{
    *os = (pm_os){
        .file_open = sim_file_open,
        .file_close = sim_file_close,
        .file_read = sim_file_read,
        .file_write = sim_file_write,
        .file_sync = sim_file_sync,
        .file_forget = sim_file_forget,
        .file_allocate = sim_file_allocate,
        .file_truncate = sim_file_truncate,
        .file_size = sim_file_size,
        .file_lock = sim_file_lock,
        .file_unlock = sim_file_unlock,
        .dir_lock = sim_dir_lock,
        .path_kind = sim_path_kind,
        .path_absolute = sim_path_absolute,
        .path_rename = sim_path_rename,
        .path_remove = sim_path_remove,
        .dir_make = sim_dir_make,
        .dir_remove = sim_dir_remove,
        .dir_sync = sim_dir_sync,
        .dir_list = sim_dir_list,
        .pages_map = pm_sim_pages_map,
        .pages_unmap = pm_sim_pages_unmap,
        .pages_touch = sim_pages_touch,
        .file_map = sim_file_map,
        .file_unmap = sim_file_unmap,
        .file_scatter = sim_file_scatter,
        .now_ns = sim_now_ns,
        .wall_ns = sim_wall_ns,
        .random = sim_random_bytes,
        .cores = sim_cores,
        .env = sim_env,
        .who = sim_who,
        .task_start = pm_sim_task_start,
        .task_join = pm_sim_task_join,
        .word_wait = sim_word_wait,
        .word_wake = sim_word_wake,
        .mutex_lock = sim_mutex_lock,
        .mutex_unlock = sim_mutex_unlock,
        .thread_hold = sim_thread_hold,
        .thread_let_go = sim_thread_let_go,
        .relax = sim_relax,
    };
}

/* ---- the machine ---- */

static void at_point(enum pm_point point)
{
    pm_sim_note(pm_sim_now, (uint64_t)point + 100);
    /* What a view shows others do not wait for. */
    pm_sim_at_point(pm_sim_now, point == PM_POINT_VIEW_LOADED ? 8 : point == PM_POINT_VIEW_TO_END_IN ? 64 : 256);
}

static uint32_t stripe_of_fiber(void)
{
    return pm_sim_now->current;
}

static void at_atomic(void)
{
    pm_sim_step(pm_sim_now);
}

pm_sim *pm_sim_make(uint64_t seed)
{
    pm_sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL || pm_sim_now != NULL) abort();
    pm_sim_table(&sim->os);
    sim->disk = pm_disk_make();
    sim->seed = sim->random = seed;
    sim->digest = seed;
    sim->now = 1000000000u;
    sim->wall_offset = 1700000000000000000u;
    sim->cores = 2;
    sim->current = PM_SIM_FIBERS;
    sim->crash_at = UINT64_MAX;
    sim->blocks.before = sim->blocks.after = &sim->blocks;
    sim->by_priority = pm_sim_random(sim) % 3 == 0;
    pm_sim_now = sim;
    pm_sim_memory_hook();
    pm_point_hook = at_point;
    pm_atomic_hook = at_atomic;
    pm_epoch_stripe_hook = stripe_of_fiber;
    return sim;
}

void pm_sim_free(pm_sim *sim)
{
    if (sim == NULL) return;
    pm_sim_kill_process(sim);
    pm_disk_free(sim->disk);
    pm_sim_now = NULL;
    pm_memory_hook = NULL;
    pm_point_hook = NULL;
    pm_atomic_hook = NULL;
    pm_epoch_stripe_hook = NULL;
    free(sim);
}

const pm_os *pm_sim_os(pm_sim *sim)
{
    return &sim->os;
}

pm_disk *pm_sim_disk(pm_sim *sim)
{
    return sim->disk;
}

void pm_sim_set_disk(pm_sim *sim, pm_disk *disk)
{
    pm_disk_free(sim->disk);
    sim->disk = disk;
}

void pm_sim_set_fault(pm_sim *sim, pm_sim_fault fault)
{
    sim->fault = fault;
    sim->fault_seen = sim->faults = 0;
}

uint64_t pm_sim_fault_seen(const pm_sim *sim)
{
    return sim->fault_seen;
}

uint64_t pm_sim_faults(const pm_sim *sim)
{
    return sim->faults;
}

void pm_sim_set_allocation(pm_sim *sim, bool allocates)
{
    sim->no_allocation = !allocates;
}

void pm_sim_set_cores(pm_sim *sim, uint32_t cores)
{
    sim->cores = cores;
}

void pm_sim_set_preemption(pm_sim *sim, uint32_t mean)
{
    sim->preempt_mean = mean;
}

void pm_sim_crash_in(pm_sim *sim, uint64_t steps)
{
    sim->crash_at = steps > UINT64_MAX - sim->steps ? UINT64_MAX : sim->steps + steps;
}

uint64_t pm_sim_time(const pm_sim *sim)
{
    return sim->now;
}

void pm_sim_set_wall(pm_sim *sim, uint64_t ns)
{
    sim->wall_offset = ns - sim->now;
}

uint64_t pm_sim_steps(const pm_sim *sim)
{
    return sim->steps;
}

void pm_sim_on_change(pm_sim *sim, void (*before)(void *context), void *context)
{
    sim->before_change = before;
    sim->change_context = context;
}

void pm_sim_kill_process(pm_sim *sim)
{
    /* A write under way may have come to a part of its bytes. */
    for (uint32_t i = 0; i < PM_SIM_FIBERS; i++) {
        const sim_fiber *f = &sim->fiber[i];
        if (f->state == SIM_FREE || f->spans == NULL || pm_sim_random(sim) % 4 != 0) continue;
        uint64_t size = 0;
        for (size_t s = 0; s < f->span_count; s++)
            size += f->spans[s].size;
        if (size > 0)
            (void)write_spans(sim, f->write_node, f->spans, f->span_count, f->write_offset, pm_sim_random(sim) % size);
    }
    pm_sim_fibers_gone(sim);
    pm_sim_memory_gone(sim);
    memset(sim->fd, 0, sizeof sim->fd);
    sim->current = PM_SIM_FIBERS;
    sim->crash_at = UINT64_MAX;
    sim->fault = (pm_sim_fault){0};
    pm_choices choices = pm_choices_random(pm_sim_random(sim));
    pm_disk_process_gone(sim->disk, &choices);
}

pm_sim_held pm_sim_what_is_held(const pm_sim *sim)
{
    pm_sim_held held = {sim->block_count, sim->region_count, 0, sim->task_count};
    for (int i = 0; i < SIM_FDS; i++)
        held.descriptors += sim->fd[i].open;
    return held;
}

uint64_t pm_sim_digest(const pm_sim *sim)
{
    return pm_mix64(sim->digest ^ sim->steps ^ pm_disk_digest(sim->disk));
}
