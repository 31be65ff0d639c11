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

/* Each section from its beginning to its end, in pieces of any size; sections may alternate. */
typedef struct pm_index_sink {
    void *context;
    bool (*append)(void *context, uint32_t section, const void *data, size_t bytes); /* false: stop */
} pm_index_sink;

#endif
