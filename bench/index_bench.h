/* SPDX-License-Identifier: Apache-2.0 */
/* What benchmarks of indexes share: rows from raw files, sections in memory. */
#ifndef INDEX_BENCH_H
#define INDEX_BENCH_H

#include <stdbool.h>

#include "bench.h"

/* Rows, and the sections of an index of them; none has more than eight. */
struct index_bench {
    float *x;
    uint32_t dim;
    uint8_t *at[8];
    uint64_t length[8], filled[8];
};

/* Seconds of the processor: on a machine that others use the clock on the wall says little. */
static inline double index_busy(void)
{
    return bench_busy(CLOCK_PROCESS_CPUTIME_ID);
}

/* For pm_index_source and pm_index_sink; context: the index_bench. */
static inline bool index_read(void *context, uint64_t first, uint32_t n, float *out)
{
    const struct index_bench *b = context;
    memcpy(out, b->x + first * b->dim, (size_t)n * b->dim * sizeof *out);
    return true;
}

static inline bool index_append(void *context, uint32_t section, const void *data, size_t bytes)
{
    struct index_bench *b = context;
    if (bytes > b->length[section] - b->filled[section]) return false;
    memcpy(b->at[section] + b->filled[section], data, bytes);
    b->filled[section] += bytes;
    return true;
}

/* The first *rows rows (0: all) of a file of rows of so many bytes. */
static inline void *index_load(const char *path, size_t row, uint64_t *rows)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        fprintf(stderr, "bench: cannot read %s\n", path);
        exit(1);
    }
    uint64_t n = (uint64_t)st.st_size / row;
    if (*rows == 0 || n < *rows) *rows = n;
    void *x = bench_alloc(*rows * row);
    if (fread(x, row, *rows, file) != *rows) exit(1);
    fclose(file);
    return x;
}

#endif
