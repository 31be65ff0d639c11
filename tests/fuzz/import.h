/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets of the importers share: a file in memory that goes through the readers of cmd/pomai, as a file
 * (whose size is known) and as a pipe, in chunks of several sizes. All ways must tell the same rows or refuse.
 */
#ifndef FUZZ_IMPORT_H
#define FUZZ_IMPORT_H

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "../../cmd/pomai/read.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                 \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

enum { PIPE_BYTES = 65536 }; /* what a pipe holds, so that one thread can fill it and then empty it */

/* Sentences are made, but go nowhere: libFuzzer keeps the stderr of before. */
static inline void fuzz_quiet(void)
{
    FILE *null = fopen("/dev/null", "w");
    CHECK(null);
    stderr = null;
}

static inline int fuzz_descriptor(const uint8_t *data, size_t size, bool as_pipe)
{
    if (as_pipe) {
        int ends[2];
        CHECK(pipe(ends) == 0 && write(ends[1], data, size) == (ssize_t)size && close(ends[1]) == 0);
        return ends[0];
    }
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

/* The bytes as standard input. */
static inline void fuzz_stdin(const uint8_t *data, size_t size, bool as_pipe)
{
    int fd = fuzz_descriptor(data, size, as_pipe);
    CHECK(dup2(fd, STDIN_FILENO) == STDIN_FILENO && close(fd) == 0);
}

static inline uint64_t fuzz_hash(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash;
}

struct told {
    bool refused;
    uint64_t rows;
    uint64_t hash; /* of vectors, ids, documents and places */
};

static inline void fuzz_take_row(const struct chunk *chunk, size_t row, struct told *told)
{
    size_t dim = (size_t)chunk->dim;
    pomai_bytes id = chunk->string_ids[row], document = chunk->documents[row];
    told->hash = fuzz_hash(told->hash, chunk->vectors + row * dim, dim * sizeof(float));
    told->hash = fuzz_hash(told->hash, &chunk->u64[row], sizeof chunk->u64[row]);
    told->hash = fuzz_hash(told->hash, &chunk->place[row], sizeof chunk->place[row]);
    told->hash = fuzz_hash(told->hash, id.data, id.size);
    told->hash = fuzz_hash(told->hash, document.data, document.size);
    told->rows++;
    CHECK(id.size <= POMAI_MAX_STRING_ID);
    CHECK((chunk->kind == CHUNK_STRING || chunk->kind == CHUNK_TEXT) == (id.size > 0));
    CHECK(document.size == 0 || chunk->has_documents);
    /* A document lies in the text of the chunk, whole. */
    CHECK(document.size == 0 || ((const char *)document.data >= chunk->text.data &&
                                 (const char *)document.data + document.size <= chunk->text.data + chunk->text.size));
}

static inline void fuzz_check_chunk(const struct reader *reader, const struct chunk *chunk, uint64_t first_row)
{
    size_t row, twin;
    char place[80];
    if (chunk->rows == 0) return;
    CHECK(chunk->dim >= 1 && chunk->dim <= POMAI_MAX_DIM && chunk->dim == reader->dim);
    CHECK(chunk->rows <= chunk->max_rows && chunk->first_row == first_row);
    CHECK(chunk->rows <= chunk->row_capacity && chunk->rows * chunk->dim <= chunk->float_capacity);
    CHECK(chunk->float_capacity * sizeof(float) <= 2 * (chunk->max_bytes + chunk->dim * sizeof(float)));
    /* All rows but the last were begun below the target. */
    CHECK((chunk->rows - 1) * chunk->dim * sizeof(float) < chunk->max_bytes);
    CHECK(reader->rows == UINT64_MAX || first_row + chunk->rows <= reader->rows);
    CHECK(reader_place(reader, chunk, chunk->rows - 1, place)[0]);
    if (chunk_bad_vector(chunk, false, &row)) CHECK(row < chunk->rows);
    if (chunk_bad_vector(chunk, true, &row)) CHECK(row < chunk->rows);
    if (chunk_same_id(chunk, &row, &twin)) CHECK(row < twin && twin < chunk->rows);
}

/* Reads to the end or the refusal, past `skip` rows. */
static inline struct told fuzz_read(struct reader *reader, size_t max_rows, size_t max_bytes, uint64_t skip)
{
    struct told told = {0};
    struct chunk chunk = {.max_rows = max_rows, .max_bytes = max_bytes};
    told.refused = reader_skip(reader, &chunk, skip) != 0;
    while (!told.refused) {
        told.refused = reader_fill(reader, &chunk) != 0;
        if (told.refused || chunk.rows == 0) break;
        fuzz_check_chunk(reader, &chunk, skip + told.rows);
        for (size_t i = 0; i < chunk.rows; i++)
            fuzz_take_row(&chunk, i, &told);
    }
    CHECK(told.refused || reader->rows == UINT64_MAX || skip + told.rows == reader->rows);
    chunk_free(&chunk);
    return told;
}

static inline struct told fuzz_import(const char *format, const uint8_t *data, size_t size, bool as_pipe,
                                      size_t max_rows, size_t max_bytes, uint64_t skip)
{
    struct args args = {0};
    struct reader reader;
    struct told told = {.refused = true};
    args.value[OPT_QUIET] = "";
    fuzz_stdin(data, size, as_pipe);
    if (reader_open(&reader, &args, "-", format) != EXIT_OK) return told;
    told = fuzz_read(&reader, max_rows, max_bytes, skip);
    reader_close(&reader);
    return told;
}

static inline void fuzz_format(const char *format, const uint8_t *data, size_t size)
{
    if (size > PIPE_BYTES) return;
    struct told whole = fuzz_import(format, data, size, false, 100000, 1 << 20, 0);
    struct told rows = fuzz_import(format, data, size, false, 1 + size % 3, 1 << 20, 0);
    struct told bytes = fuzz_import(format, data, size, true, 100000, 40, 0);
    CHECK(whole.refused == rows.refused && whole.refused == bytes.refused);
    if (whole.refused) return;
    CHECK(whole.rows == rows.rows && whole.hash == rows.hash);
    CHECK(whole.rows == bytes.rows && whole.hash == bytes.hash);
    uint64_t skip = size % (whole.rows + 1);
    struct told rest = fuzz_import(format, data, size, false, 2, 1 << 20, skip);
    CHECK(!rest.refused && skip + rest.rows == whole.rows && (skip > 0 || rest.hash == whole.hash));
}

/* ---- mutations ---- */

static inline uint64_t fuzz_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static inline size_t fuzz_gzip(const uint8_t *from, size_t size, uint8_t *to, size_t max_size)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)from, .avail_in = (unsigned)size};
    z.next_out = to;
    z.avail_out = (unsigned)max_size;
    CHECK(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    bool whole = deflate(&z, Z_FINISH) == Z_STREAM_END;
    deflateEnd(&z);
    return whole ? max_size - z.avail_out : 0;
}

static inline size_t fuzz_gunzip(const uint8_t *from, size_t size, uint8_t *to, size_t max_size)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)from, .avail_in = (unsigned)size};
    z.next_out = to;
    z.avail_out = (unsigned)max_size;
    CHECK(inflateInit2(&z, 16 + MAX_WBITS) == Z_OK);
    bool whole = inflate(&z, Z_FINISH) == Z_STREAM_END;
    inflateEnd(&z);
    return whole ? max_size - z.avail_out : 0;
}

typedef size_t (*fuzz_mend_fn)(uint8_t *data, size_t size, size_t max_size, unsigned *seed);

/* Changes bytes, in gzip the content, which random changes of the packed bytes never reach; then mostly lets `mend`
 * make the counts of the format fit again. */
static inline size_t fuzz_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, fuzz_mend_fn mend)
{
    static uint8_t content[PIPE_BYTES];
    bool packed = size > 2 && data[0] == 0x1f && data[1] == 0x8b;
    if (packed && fuzz_random(&seed) % 8 == 0) return LLVMFuzzerMutate(data, size, max_size);
    size_t room = max_size < sizeof content ? max_size : sizeof content, used = 0;
    if (packed) used = fuzz_gunzip(data, size, content, room);
    if (used == 0) {
        packed = false;
        used = size < room ? size : room;
        memcpy(content, data, used);
    }
    used = LLVMFuzzerMutate(content, used, room);
    if (mend && fuzz_random(&seed) % 4 != 0) used = mend(content, used, room, &seed);
    if (packed || fuzz_random(&seed) % 64 == 0) {
        size_t made = fuzz_gzip(content, used, data, max_size);
        if (made > 0) return made;
    }
    memcpy(data, content, used);
    return used;
}

/* The header of an .npy file: its text kept and its length mended, or a new one for the numbers that are there. */
static inline size_t fuzz_mend_npy(uint8_t *data, size_t size, size_t max_size, unsigned *seed, unsigned axes)
{
    static const char *const types[] = {"<f4", "<f2", "<f8", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"};
    static uint8_t body[PIPE_BYTES];
    char header[256];
    const uint8_t *feed = memchr(data, '\n', size);
    size_t begin = feed ? (size_t)(feed - data) + 1 : 0, body_size = size - begin;
    if (body_size > sizeof body) body_size = sizeof body;
    const char *type = types[fuzz_random(seed) % 11];
    size_t width = (size_t)(type[2] - '0'), dim = axes == 1 ? 1 : 1 + fuzz_random(seed) % 5;
    size_t rows = body_size / (width * dim);
    body_size = rows * width * dim;
    memcpy(body, data + begin, body_size);
    if (begin > 10 && fuzz_random(seed) % 2) { /* the header as it is */
        size_t length = begin - 10;
        data[8] = (uint8_t)length;
        data[9] = (uint8_t)(length >> 8);
        memcpy(data, "\x93NUMPY\1\0", 8);
        return size;
    }
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu,", type, rows);
    if (axes > 1) length += snprintf(header + length, sizeof header - (size_t)length, " %zu", dim);
    length += snprintf(header + length, sizeof header - (size_t)length, "), }\n");
    size_t all = 10 + (size_t)length + body_size;
    if (all > max_size) return size;
    memcpy(data, "\x93NUMPY\1\0", 8);
    data[8] = (uint8_t)length;
    data[9] = 0;
    memcpy(data + 10, header, (size_t)length);
    memcpy(data + 10 + length, body, body_size);
    return all;
}

#define FUZZ_IMPORTER(format, mend)                                                                                    \
    int LLVMFuzzerInitialize(int *argc, char ***argv);                                                                 \
    int LLVMFuzzerInitialize(int *argc, char ***argv)                                                                  \
    {                                                                                                                  \
        (void)argc;                                                                                                    \
        (void)argv;                                                                                                    \
        fuzz_quiet();                                                                                                  \
        return 0;                                                                                                      \
    }                                                                                                                  \
    size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);                        \
    size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)                         \
    {                                                                                                                  \
        return fuzz_mutate(data, size, max_size, seed, mend);                                                          \
    }                                                                                                                  \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                                                      \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                                                       \
    {                                                                                                                  \
        fuzz_format(format, data, size);                                                                               \
        return 0;                                                                                                      \
    }

#endif
