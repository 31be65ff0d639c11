/* SPDX-License-Identifier: Apache-2.0 */
/* idx3-ubyte, the images of MNIST and Fashion-MNIST: magic 0x00000803, count, height, width (32 bits, big-endian), then
 * a byte a pixel. An image becomes a row of height x width floats from 0 to 255. */
#include "read.h"

#include <string.h>

enum { RAW_BYTES = 1024 * 1024 };

static uint32_t big32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];
}

static int idx_next(struct reader *reader, struct chunk *chunk)
{
    uint64_t left = reader->rows - reader->row;
    size_t dim = (size_t)reader->dim;
    size_t rows = chunk_room(chunk, dim * sizeof(float) + 8);
    if (left == 0) return input_at_end(&reader->in);
    if (rows > RAW_BYTES / dim) rows = RAW_BYTES / dim;
    if (rows > left) rows = (size_t)left;
    if (rows == 0) rows = 1;
    uint64_t at = reader->in.offset;
    size_t from = chunk->rows;
    const unsigned char *raw = reader->raw;
    float *vectors = chunk_add(chunk, rows);
    if (input_need(&reader->in, reader->raw, rows * dim, "images that the header promises") != 0) return -1;
    for (size_t i = 0; i < rows * dim; i++)
        vectors[i] = raw[i];
    for (size_t i = 0; i < rows; i++)
        chunk->place[from + i] = at + i * dim;
    return left == rows ? input_at_end(&reader->in) : 0;
}

int idx_open(struct reader *reader, const struct args *args)
{
    (void)args;
    struct input *in = &reader->in;
    unsigned char head[16];
    if (input_need(in, head, 4, "the idx magic") != 0) return -1;
    uint32_t magic = big32(head);
    if (magic == 0x00000801) {
        complain("%s holds labels, not images (idx magic 0x00000801); give the images file beside it", in->path);
        return -1;
    }
    if (magic != 0x00000803) {
        complain("%s begins with 0x%08x, not with the idx magic of images 0x00000803; if it has another format, say so "
                 "with --format",
                 in->path, magic);
        return -1;
    }
    if (input_need(in, head + 4, 12, "the idx header") != 0) return -1;
    uint32_t rows = big32(head + 4), height = big32(head + 8), width = big32(head + 12);
    uint64_t dim = (uint64_t)height * width;
    if (dim < 1 || dim > POMAI_MAX_DIM) {
        complain("%s says that its images have %u x %u pixels; 1 to %u in all can be stored", in->path, height, width,
                 POMAI_MAX_DIM);
        return -1;
    }
    if (exact_size(in, rows, dim) != 0) return -1;
    reader->rows = rows;
    reader->dim = dim;
    reader->raw = must_realloc(NULL, RAW_BYTES, 1);
    reader->next = idx_next;
    return 0;
}
