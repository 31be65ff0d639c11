/* SPDX-License-Identifier: Apache-2.0 */
/* One allocation that fails, by its number: pm_malloc_fails = fails. */
#ifndef T_NO_MEMORY_H
#define T_NO_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of this thread: what the engine's own threads allocate is not counted, so a number means the same each time. */
static _Thread_local uint64_t allocations, fails_at; /* from 1; 0: none */

static bool fails(size_t size)
{
    (void)size;
    return ++allocations == fails_at;
}

#endif
