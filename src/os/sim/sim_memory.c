/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's memory, counted, so that a leak shows and a process that crashed leaves nothing. */
#include <stdlib.h>
#include <string.h>

#include "os/sim/sim_int.h"

#ifdef PM_SIM_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum { HEAD = 64 }; /* keeps what follows aligned; allocations ask for at most this */

static void *take(size_t alignment, size_t size)
{
    pm_sim *sim = pm_sim_now;
    if (alignment > HEAD || pm_sim_fails(sim, PM_SIM_MALLOC)) return NULL;
    uint8_t *raw = NULL;
    if (posix_memalign((void **)&raw, HEAD, HEAD + size) != 0) abort();
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
    free(block);
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

/* Regions hold real rows and may be unmapped piece by piece. */
void *pm_sim_region(pm_sim *sim, size_t size)
{
    sim_region *region = malloc(sizeof *region);
    uint8_t *memory = calloc(1, size + 4096);
    if (region == NULL || memory == NULL) abort();
    *region = (sim_region){sim->regions, memory, size, size};
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
    ASAN_UNPOISON_MEMORY_REGION(region->memory, region->size + 4096);
    free(region->memory);
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
        ASAN_POISON_MEMORY_REGION(pages, size);
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
        free(block);
    }
    sim->blocks.before = &sim->blocks;
    sim->block_count = 0;
    while (sim->regions != NULL)
        free_region(sim, &sim->regions);
}
