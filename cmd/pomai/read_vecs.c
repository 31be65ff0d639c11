/* SPDX-License-Identifier: Apache-2.0 */
/* .fvecs and .bvecs: each row is its dimension (int32, little-endian) and that many float32 or bytes, which become
 * floats from 0 to 255. All rows must have the same dimension. */
#include "read.h"

static uint32_t little32(const unsigned char bytes[4])
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static int vecs_next(struct reader *reader, struct chunk *chunk)
{
    struct input *in = &reader->in;
    uint64_t at = in->offset;
    unsigned char bytes[4];
    size_t got;
    /* The dimension of row 0 was read at the opening. */
    if (reader->row == 0) {
        at -= 4;
    } else {
        if (input_read(in, bytes, 4, &got) != 0) return -1;
        if (got == 0) return 0;
        if (got < 4) {
            complain("%s ends inside row %llu, which begins at offset %llu; the file is cut short, fetch it again",
                     in->path, (unsigned long long)reader->row, (unsigned long long)at);
            return -1;
        }
        if (little32(bytes) != reader->dim) {
            complain("%s row %llu at offset %llu has %d dimensions, the rows before it have %llu; the file is damaged, "
                     "mixes vectors, which belong in collections of their own, or has another format (--format)",
                     in->path, (unsigned long long)reader->row, (unsigned long long)at, (int32_t)little32(bytes),
                     (unsigned long long)reader->dim);
            return -1;
        }
    }
    size_t row = chunk->rows;
    float *vector = chunk_add(chunk, 1);
    chunk->place[row] = at;
    size_t dim = (size_t)reader->dim;
    const unsigned char *raw = reader->raw;
    if (input_need(in, raw ? reader->raw : vector, dim * reader->width, "the numbers of a row") != 0) return -1;
    for (size_t i = 0; raw && i < dim; i++)
        vector[i] = raw[i];
    return 0;
}

static int vecs_open(struct reader *reader, const char *name, unsigned width)
{
    struct input *in = &reader->in;
    unsigned char bytes[4];
    if (input_need(in, bytes, 4, "the dimension of the first row") != 0) return -1;
    uint32_t dim = little32(bytes);
    if (dim < 1 || dim > POMAI_MAX_DIM) {
        complain("%s row 0 has %d dimensions; 1 to %u can be stored. Is it a file of %s? If not, say so with --format",
                 in->path, (int32_t)dim, POMAI_MAX_DIM, name);
        return -1;
    }
    uint64_t row_bytes = 4 + width * (uint64_t)dim;
    if (in->size_is_exact && in->size % row_bytes != 0) {
        complain(
            "%s has %llu bytes, which is no whole number of rows of %u dimensions (%llu bytes each); the file is cut "
            "short, damaged or no file of %s (--format)",
            in->path, (unsigned long long)in->size, dim, (unsigned long long)row_bytes, name);
        return -1;
    }
    if (in->size_is_exact) reader->rows = in->size / row_bytes;
    reader->dim = dim;
    reader->width = width;
    if (width == 1) reader->raw = must_realloc(NULL, dim, 1);
    reader->next = vecs_next;
    return 0;
}

int fvecs_open(struct reader *reader, const struct args *args)
{
    (void)args;
    return vecs_open(reader, "fvecs", sizeof(float));
}

int bvecs_open(struct reader *reader, const struct args *args)
{
    (void)args;
    return vecs_open(reader, "bvecs", 1);
}
