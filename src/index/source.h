/* SPDX-License-Identifier: Apache-2.0 */
/* What an index is computed from, and where its bytes go. An index opens no file: it is handed rows. */
#ifndef PM_INDEX_SOURCE_H
#define PM_INDEX_SOURCE_H

#include "base/base.h"
#include "pomai/types.h"

/* The rows of a segment. */
typedef struct pm_index_source {
    uint64_t rows; /* 1 to 2^28 */
    uint32_t dim;
    pomai_metric metric;
    uint64_t seed;
    void *context;
    /* Rows first .. first + n - 1 as float32 into out (n x dim). false: stop (closing, or damage). */
    bool (*read)(void *context, uint64_t first, uint32_t n, float *out);
} pm_index_source;

/* Who helps. Runs work(argument, i) for i in 0..pieces-1, each once, on any threads, and returns when all are done; run
 * NULL: the builder's thread does it all. */
typedef struct pm_index_work {
    void *context;
    void (*run)(void *context, void (*work)(void *argument, uint32_t piece), void *argument, uint32_t pieces);
    bool (*go_on)(void *context); /* asked between pieces of at most some milliseconds, by each thread; NULL: always */
} pm_index_work;

/* work NULL: as if run were. */
static inline void pm_index_run(const pm_index_work *work, void (*piece)(void *argument, uint32_t piece),
                                void *argument, uint32_t pieces)
{
    if (work != NULL && work->run != NULL) {
        work->run(work->context, piece, argument, pieces);
        return;
    }
    for (uint32_t i = 0; i < pieces; i++)
        piece(argument, i);
}

/* Each section from its beginning to its end, in pieces of any size; sections may alternate. */
typedef struct pm_index_sink {
    void *context;
    bool (*append)(void *context, uint32_t section, const void *data, size_t bytes); /* false: stop */
} pm_index_sink;

#endif
