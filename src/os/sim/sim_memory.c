/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's memory, counted, so that a leak shows and a process that crashed leaves nothing. */
#include <stdlib.h>
#include <string.h>

#include "os/sim/sim_int.h"

#ifdef PM_SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum { HEAD = 64 }; /* keeps what follows aligned; allocations ask for at most this */

/* ---- what is large ---- */

#ifdef PM_SIM_ASAN
/*
 * AddressSanitizer marks a large allocation wholly when it is made and again when it is freed, and gives the marks back
 * in between: hundreds of page faults for a buffer of which little is used. So large ones are mapped here: only a page
 * before and what follows are marked, and for a while after it is gone nothing else is at its place.
 */
enum { APART = 4096, GONE = 256 };

#define IS_LARGE(size) ((size) >= 64 * 1024)

static struct {
    void *at;
    size_t size;
} gone[GONE];

static unsigned gone_next;

static void *large_take(size_t size)
{
    const size_t whole = APART + ((size + APART - 1) & ~(size_t)(APART - 1)) + APART;
    uint8_t *at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) abort();
    ASAN_POISON_MEMORY_REGION(at, APART);
    ASAN_POISON_MEMORY_REGION(at + APART + size, whole - APART - size);
    return at + APART;
}

/* `marked`: parts of it are marked, too. */
static void large_give(void *memory, size_t size, bool marked)
{
    const size_t whole = APART + ((size + APART - 1) & ~(size_t)(APART - 1)) + APART;
    uint8_t *at = (uint8_t *)memory - APART;
    const unsigned i = gone_next++ % GONE;
    if (marked) ASAN_UNPOISON_MEMORY_REGION(memory, size);
    ASAN_UNPOISON_MEMORY_REGION(at, APART);
    ASAN_UNPOISON_MEMORY_REGION(at + APART + size, whole - APART - size);
    /* Whoever uses it now is killed by a signal. */
    if (mmap(at, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != at) abort();
    if (gone[i].at != NULL) munmap(gone[i].at, gone[i].size);
    gone[i].at = at;
    gone[i].size = whole;
}
#else
#define IS_LARGE(size)                   false
#define large_take(size)                 NULL
#define large_give(memory, size, marked) ((void)(memory), (void)(size), (void)(marked))
#endif

static uint8_t *block_take(size_t size)
{
    void *raw = NULL;
    if (IS_LARGE(size)) return large_take(size);
    if (posix_memalign(&raw, HEAD, size) != 0) abort();
    return raw;
}

static void block_give(sim_block *block)
{
    const size_t size = HEAD + block->size;
    if (IS_LARGE(size))
        large_give(block, size, false);
    else
        free(block);
}

/* ---- blocks ---- */

static void *take(size_t alignment, size_t size)
{
    pm_sim *sim = pm_sim_now;
    if (alignment > HEAD || pm_sim_fails(sim, PM_SIM_MALLOC)) return NULL;
    uint8_t *raw = block_take(HEAD + size);
    sim_block *block = (sim_block *)(void *)raw;
    block->size = size;
    block->raw = raw;
    block->before = sim->blocks.before;
    block->after = &sim->blocks;
    block->before->after = block;
    sim->blocks.before = block;
    sim->block_count++;
    memset(raw + HEAD, 0xa5, size < 4096 ? size : 4096); /* nobody may count on zeros */
    return raw + HEAD;
}

static void give(void *memory)
{
    if (memory == NULL) return;
    sim_block *block = (sim_block *)(void *)((uint8_t *)memory - HEAD);
    if (block->raw != block) abort(); /* never ours, or freed */
    block->before->after = block->after;
    block->after->before = block->before;
    block->raw = NULL;
    pm_sim_now->block_count--;
    block_give(block);
}

static void *resize(void *memory, size_t size)
{
    void *wider = take(HEAD, size);
    if (wider == NULL || memory == NULL) return wider;
    const sim_block *block = (const sim_block *)(const void *)((uint8_t *)memory - HEAD);
    memcpy(wider, memory, block->size < size ? block->size : size);
    give(memory);
    return wider;
}

void pm_sim_memory_hook(void)
{
    static const pm_memory hooks = {take, resize, give};
    pm_memory_hook = &hooks;
}

/* ---- regions ---- */

/* Regions hold real rows and may be unmapped piece by piece. */
void *pm_sim_region(pm_sim *sim, size_t size)
{
    sim_region *region = malloc(sizeof *region);
    uint8_t *memory = IS_LARGE(size) ? large_take(size) : calloc(1, size + 4096);
    if (region == NULL || memory == NULL) abort();
    *region = (sim_region){.next = sim->regions, .memory = memory, .size = size, .live = size};
    sim->regions = region;
    sim->region_count++;
    return (uint8_t *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);
}

void *pm_sim_pages_map(const pm_os *os, size_t size)
{
    pm_sim *sim = pm_sim_of(os);
    pm_sim_step(sim);
    return pm_sim_fails(sim, PM_SIM_PAGES) ? NULL : pm_sim_region(sim, size);
}

static void free_region(pm_sim *sim, sim_region **at)
{
    sim_region *region = *at;
    *at = region->next;
    if (IS_LARGE(region->size)) {
        large_give(region->memory, region->size, region->marked);
    } else {
        ASAN_UNPOISON_MEMORY_REGION(region->memory, region->size + 4096);
        free(region->memory);
    }
    free(region);
    sim->region_count--;
}

void pm_sim_pages_unmap(const pm_os *os, void *pages, size_t size)
{
    pm_sim *sim = pm_sim_of(os);
    if (pages == NULL || size == 0) return;
    for (sim_region **at = &sim->regions; *at != NULL; at = &(*at)->next) {
        sim_region *region = *at;
        const uint8_t *p = pages;
        if (p < region->memory || p >= region->memory + region->size + 4096) continue;
        if (size > region->live) abort();
        region->live -= size;
        if (region->live > 0 || !IS_LARGE(region->size)) {
            ASAN_POISON_MEMORY_REGION(pages, size);
            region->marked = true;
        }
        if (region->live == 0) free_region(sim, at);
        return;
    }
    abort(); /* never mapped, or unmapped before */
}

void pm_sim_memory_gone(pm_sim *sim)
{
    while (sim->blocks.after != &sim->blocks) {
        sim_block *block = sim->blocks.after;
        sim->blocks.after = block->after;
        block_give(block);
    }
    sim->blocks.before = &sim->blocks;
    sim->block_count = 0;
    while (sim->regions != NULL)
        free_region(sim, &sim->regions);
}
