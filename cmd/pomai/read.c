/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of an input file, whatever its format: opening by name, filling chunks, limits, places for sentences. */
#include "read.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct format {
    const char *name;
    const char *ends[3]; /* of names of files */
    int (*open)(struct reader *reader, const struct args *args);
} formats[] = {
    {"npy", {".npy"}, npy_open},
    {"fvecs", {".fvecs"}, fvecs_open},
    {"bvecs", {".bvecs"}, bvecs_open},
    {"csv", {".csv", ".tsv"}, csv_open},
    {"jsonl", {".jsonl", ".ndjson"}, jsonl_open},
    {"idx", {".idx", "idx3-ubyte"}, idx_open},
};
enum { FORMATS = sizeof formats / sizeof formats[0] };
static const char format_names[] = "npy, fvecs, bvecs, csv, jsonl or idx";

static bool name_ends(const char *path, size_t size, const char *end)
{
    size_t end_size = strlen(end);
    return size >= end_size && memcmp(path + size - end_size, end, end_size) == 0;
}

const char *format_of(const char *path)
{
    size_t size = strlen(path);
    if (name_ends(path, size, ".gz")) size -= 3;
    for (size_t i = 0; i < FORMATS; i++)
        for (const char *const *end = formats[i].ends; *end; end++)
            if (name_ends(path, size, *end)) return formats[i].name;
    return NULL;
}

static const struct format *format_find(const char *name)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0) return &formats[i];
    return NULL;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int reader_open(struct reader *reader, const struct args *args, const char *path, const char *format)
{
    memset(reader, 0, sizeof *reader);
    reader->in.fd = -1;
    reader->rows = UINT64_MAX;
    reader->limit = UINT64_MAX;
    if (!format) format = format_of(path);
    if (!format && is_directory(path)) {
        complain("%s is a directory; give a file of vectors", path);
        return EXIT_FAILED;
    }
    if (!format && strcmp(path, "-") == 0)
        return usage_error(args, "standard input has no name that tells its format; add --format %s", format_names);
    if (!format)
        return usage_error(args, "the name '%s' does not tell the format; add --format %s", path, format_names);
    const struct format *known = format_find(format);
    if (!known) return usage_error(args, "--format is '%s'; it takes %s", format, format_names);
    if (input_open(&reader->in, path) != 0) return EXIT_FAILED;
    reader->in.takes_format = true;
    if (known->open(reader, args) != 0) {
        reader_close(reader);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

/* Gives the rows from `from` on the ids that --ids asks for. */
static int add_ids(struct reader *reader, struct chunk *chunk, size_t from)
{
    if (reader->ids) return ids_file_fill(reader->ids, chunk, from);
    if (reader->ids_are_rows) {
        chunk->kind = CHUNK_U64;
        for (size_t i = from; i < chunk->rows; i++)
            chunk->u64[i] = chunk->first_row + i;
    }
    return 0;
}

int reader_fill(struct reader *reader, struct chunk *chunk)
{
    size_t max_rows = chunk->max_rows;
    int status = 0;
    chunk_clear(chunk);
    chunk->dim = reader->dim;
    chunk->first_row = reader->row;
    if (chunk->max_rows > reader->limit) chunk->max_rows = (size_t)reader->limit;
    while (status == 0 && chunk->rows < chunk->max_rows) {
        size_t row_bytes = reader->dim ? (size_t)reader->dim * sizeof(float) + 8 : 1;
        if (chunk_room(chunk, row_bytes) == 0) break;
        size_t from = chunk->rows;
        status = reader->next(reader, chunk);
        if (status == 0) status = add_ids(reader, chunk, from);
        reader->row += chunk->rows - from;
        /* Some formats learn of their end by finding it, others know it. */
        bool end = chunk->rows == from || reader->row == reader->rows;
        if (end && status == 0 && reader->ids) status = ids_file_end(reader->ids);
        if (end) break;
    }
    reader->limit -= chunk->rows;
    chunk->max_rows = max_rows;
    chunk_seal(chunk);
    return status;
}

int reader_skip(struct reader *reader, struct chunk *chunk, uint64_t rows)
{
    uint64_t limit = reader->limit;
    int status = 0;
    reader->limit = rows;
    while (status == 0 && reader->limit > 0) {
        status = reader_fill(reader, chunk);
        if (status == 0 && chunk->rows == 0) {
            complain("%s has only %llu rows; --skip %llu passes over all of them", reader->in.path,
                     (unsigned long long)reader->row, (unsigned long long)rows);
            status = -1;
        }
    }
    reader->limit = limit;
    return status;
}

const char *reader_place(const struct reader *reader, const struct chunk *chunk, size_t row, char buffer[80])
{
    if (reader->by_line)
        snprintf(buffer, 80, "line %llu", (unsigned long long)chunk->place[row]);
    else
        snprintf(buffer, 80, "row %llu (offset %llu)", (unsigned long long)(chunk->first_row + row),
                 (unsigned long long)chunk->place[row]);
    return buffer;
}

int exact_size(const struct input *in, uint64_t rows, uint64_t row_bytes)
{
    uint64_t body, all;
    if (__builtin_mul_overflow(rows, row_bytes, &body) || __builtin_add_overflow(body, in->offset, &all)) {
        complain("%s says that it has %llu rows of %llu bytes, more than any file can; its header is damaged", in->path,
                 (unsigned long long)rows, (unsigned long long)row_bytes);
        return -1;
    }
    if (!in->size_is_exact || in->size == all) return 0;
    complain(
        "%s has %llu bytes, but its header says %llu rows of %llu bytes, which makes %llu; the file is %s, fetch or "
        "write it again",
        in->path, (unsigned long long)in->size, (unsigned long long)rows, (unsigned long long)row_bytes,
        (unsigned long long)all, in->size < all ? "cut short" : "longer than its header says");
    return -1;
}

void reader_close(struct reader *reader)
{
    input_close(&reader->in);
    ids_file_close(reader->ids);
    csv_close(reader->csv);
    text_free(&reader->line);
    free(reader->raw);
    reader->ids = NULL;
    reader->csv = NULL;
    reader->raw = NULL;
}
