/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that help running searches: docs/threads.md, "Search helpers". */
#ifndef PM_QUERY_POOL_H
#define PM_QUERY_POOL_H

#include "base/base.h"
#include "os/os.h"

typedef struct pm_pool pm_pool;

/* Work that can be taken in pieces: calls work(context, i) for i in 0..pieces-1, each once, from any thread. */
typedef void (*pm_work_fn)(void *context, uint32_t piece);

/* helpers may be 0; low: they leave the cores to others. NULL: no memory or no threads. */
pm_pool *pm_pool_make(const pm_os *os, uint32_t helpers, bool low);
void pm_pool_free(pm_pool *pool);
/* NULL is a pool without helpers, here and below. */
uint32_t pm_pool_helpers(const pm_pool *pool);
/* Returns when all pieces are done; the caller does its share, and all of it when the helpers are busy. */
void pm_pool_run(pm_pool *pool, pm_work_fn work, void *context, uint32_t pieces);
/*
 * Memory for a search, 64-byte aligned: at least *size bytes, what is in them is anything; *size is how many there are.
 * A piece is kept for the next search, as to allocate tens of kilobytes anew takes as long as many a comparison.
 * NULL: no memory.
 */
void *pm_pool_take(pm_pool *pool, size_t *size);
/* What was taken; NULL is fine. */
void pm_pool_give(pm_pool *pool, void *memory, size_t size);

#endif
