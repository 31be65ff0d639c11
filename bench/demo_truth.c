/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of `./dev demo`: true neighbours by brute force, sharing no line with the engine.
 *     bench_demo_truth BASE QUERIES COUNT K OUT.ivecs
 * BASE and QUERIES are idx3-ubyte files, not compressed. Squared distances of bytes are whole numbers and are summed as
 * such, so they are exact; equal ones are ordered by row number, as the engine orders them by id.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_K = 100, MAX_THREADS = 64, BLOCK = 16 };

struct images {
    uint32_t rows;
    uint32_t dim;
    int16_t *pixels;
};

struct neighbour {
    int32_t distance;
    int32_t row;
};

struct work {
    const struct images *base;
    const struct images *queries;
    uint32_t first;
    uint32_t end;
    uint32_t k;
    struct neighbour *best; /* k of each query */
};

static void die(const char *path, const char *what)
{
    fprintf(stderr, "demo_truth: %s: %s\n", path, what);
    exit(1);
}

static uint32_t big32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];
}

static struct images load(const char *path)
{
    unsigned char head[16], row[4096];
    struct images images;
    FILE *file = fopen(path, "rb");
    if (!file || fread(head, 1, 16, file) != 16 || big32(head) != 0x803) die(path, "no idx3-ubyte file");
    images.rows = big32(head + 4);
    uint64_t dim = (uint64_t)big32(head + 8) * big32(head + 12);
    if (dim < 1 || dim > sizeof row || images.rows > 10000000) die(path, "too large");
    images.dim = (uint32_t)dim;
    images.pixels = malloc((size_t)images.rows * images.dim * sizeof(int16_t));
    if (!images.pixels) die(path, "out of memory");
    for (size_t i = 0; i < images.rows; i++) {
        if (fread(row, 1, images.dim, file) != images.dim) die(path, "cut short");
        for (size_t d = 0; d < images.dim; d++)
            images.pixels[i * images.dim + d] = row[d];
    }
    fclose(file);
    return images;
}

static int32_t squared_distance(const int16_t *a, const int16_t *b, uint32_t dim)
{
    int32_t sum = 0; /* at most 4,096 x 255 x 255 */
    for (uint32_t d = 0; d < dim; d++) {
        int16_t difference = (int16_t)(a[d] - b[d]);
        sum += difference * difference;
    }
    return sum;
}

static void keep(struct neighbour *best, uint32_t k, struct neighbour one)
{
    if (one.distance >= best[k - 1].distance) return; /* rows come in order, so an equal one is further */
    uint32_t at = k - 1;
    for (; at > 0 && best[at - 1].distance > one.distance; at--)
        best[at] = best[at - 1];
    best[at] = one;
}

static void *run(void *argument)
{
    const struct work *work = argument;
    uint32_t dim = work->base->dim;
    for (uint32_t from = work->first; from < work->end; from += BLOCK) {
        uint32_t to = work->end - from < BLOCK ? work->end : from + BLOCK;
        for (uint32_t row = 0; row < work->base->rows; row++) {
            const int16_t *pixels = work->base->pixels + (size_t)row * dim;
            for (uint32_t q = from; q < to; q++) {
                int32_t distance = squared_distance(pixels, work->queries->pixels + (size_t)q * dim, dim);
                keep(work->best + (size_t)q * work->k, work->k, (struct neighbour){distance, (int32_t)row});
            }
        }
    }
    return NULL;
}

static void find_all(struct images *base, struct images *queries, uint32_t count, uint32_t k, struct neighbour *best)
{
    pthread_t threads[MAX_THREADS];
    struct work work[MAX_THREADS];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t parts = cores < 1 ? 1 : cores > MAX_THREADS ? MAX_THREADS : (uint32_t)cores;
    for (size_t i = 0; i < (size_t)count * k; i++)
        best[i] = (struct neighbour){INT32_MAX, -1};
    for (uint32_t i = 0; i < parts; i++) {
        uint32_t first = (uint32_t)((uint64_t)count * i / parts), end = (uint32_t)((uint64_t)count * (i + 1) / parts);
        work[i] = (struct work){base, queries, first, end, k, best};
        if (pthread_create(&threads[i], NULL, run, &work[i]) != 0) die("threads", "cannot be started");
    }
    for (uint32_t i = 0; i < parts; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    if (argc != 6) die("usage", "BASE QUERIES COUNT K OUT.ivecs");
    struct images base = load(argv[1]), queries = load(argv[2]);
    uint32_t count = (uint32_t)strtoul(argv[3], NULL, 10), k = (uint32_t)strtoul(argv[4], NULL, 10);
    if (base.dim != queries.dim || k < 1 || k > MAX_K || k > base.rows) die(argv[1], "does not go with the rest");
    if (count > queries.rows) count = queries.rows;
    struct neighbour *best = malloc((size_t)count * k * sizeof *best);
    FILE *out = fopen(argv[5], "wb");
    if (!best || !out) die(argv[5], "cannot be written");
    find_all(&base, &queries, count, k, best);
    for (uint32_t q = 0; q < count; q++) {
        fwrite(&k, 4, 1, out);
        for (uint32_t i = 0; i < k; i++)
            fwrite(&best[(size_t)q * k + i].row, 4, 1, out);
    }
    if (fclose(out) != 0) die(argv[5], "cannot be written");
    free(best);
    free(base.pixels);
    free(queries.pixels);
    return 0;
}
