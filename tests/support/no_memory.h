/* SPDX-License-Identifier: Apache-2.0 */
/* One allocation that fails, by its number: pm_malloc_fails = fails. */
#ifndef T_NO_MEMORY_H
#define T_NO_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static uint64_t allocations, fails_at; /* from 1; 0: none */

static bool fails(size_t size)
{
    (void)size;
    return ++allocations == fails_at;
}

#endif
