/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/filter_int.h"

enum { FIRST_BLOCK = 960 /* what allocators have at hand */, LARGEST_STEP = 1 << 20 };

void *pm_filter_take(pm_filter_arena *arena, size_t size)
{
    pm_filter_block *block = arena->last;
    size = pm_align_up(size > 0 ? size : 1, 16);
    if (block == NULL || block->size - block->used < size) {
        size_t room = block == NULL ? FIRST_BLOCK : pm_min_u64(2 * block->size, LARGEST_STEP);
        if (room < size) room = size;
        block = pm_malloc(sizeof *block + room);
        if (block == NULL) return NULL;
        *block = (pm_filter_block){.before = arena->last, .size = room};
        arena->last = block;
    }
    void *memory = (char *)(block + 1) + block->used;
    block->used += size;
    return memory;
}

void pm_filter_release(pm_filter_arena *arena)
{
    /* The arena itself may lie in one of the blocks. */
    pm_filter_block *block = arena->last;
    while (block != NULL) {
        pm_filter_block *before = block->before;
        pm_free(block);
        block = before;
    }
}
