/* SPDX-License-Identifier: Apache-2.0 */
/* --ids FILE: as many ids as the vector file has rows, in the same order. An .npy file of whole numbers with one axis,
 * or text with an id a line; whether such a line is a number or a string is up to the collection. */
#include "read.h"

#include <stdlib.h>
#include <string.h>

struct ids_file {
    struct input in;
    struct npy npy;
    bool text;
    uint64_t next; /* id to be read */
    struct text line;
};

static int check_npy(struct ids_file *ids, uint64_t rows)
{
    struct npy *npy = &ids->npy;
    if (npy_header(&ids->in, npy) != 0) return -1;
    if (npy->axes != 1 || npy->type == 'f') {
        complain("%s holds %s of %u axes; ids are whole numbers of one axis: ids.astype('<u8').ravel()", ids->in.path,
                 npy->type == 'f' ? "floats" : "numbers", npy->axes);
        return -1;
    }
    if (rows != UINT64_MAX && npy->shape[0] != rows) {
        complain("%s holds %llu ids, but there are %llu rows; there must be one for each row", ids->in.path,
                 (unsigned long long)npy->shape[0], (unsigned long long)rows);
        return -1;
    }
    return exact_size(&ids->in, npy->shape[0], npy->size);
}

struct ids_file *ids_file_open(const char *path, uint64_t rows)
{
    struct ids_file *ids = must_realloc(NULL, 1, sizeof *ids);
    const char *format = format_of(path);
    memset(ids, 0, sizeof *ids);
    ids->in.fd = -1;
    int status = input_open(&ids->in, path);
    /* Through a pipe there is no name that says .npy. */
    ids->text = status != 0 || ((!format || strcmp(format, "npy") != 0) && !input_begins(&ids->in, "\x93NUMPY", 6));
    if (status == 0 && !ids->text) status = check_npy(ids, rows);
    if (status == 0) return ids;
    ids_file_close(ids);
    return NULL;
}

static int too_few(const struct ids_file *ids)
{
    complain("%s has only %llu ids, but there are more rows; there must be one for each row", ids->in.path,
             (unsigned long long)ids->next);
    return -1;
}

static int next_text(struct ids_file *ids, struct chunk *chunk, size_t row)
{
    bool end;
    if (input_line(&ids->in, &ids->line, 1024 * 1024, ids->next + 1, &end) != 0) return -1;
    if (end) return too_few(ids);
    size_t size = ids->line.size;
    if (size > 0 && ids->line.data[size - 1] == '\r') size--;
    if (size < 1 || size > POMAI_MAX_STRING_ID) {
        complain("%s line %llu is an id of %zu bytes; 1 to %u can be stored", ids->in.path,
                 (unsigned long long)ids->next + 1, size, POMAI_MAX_STRING_ID);
        return -1;
    }
    chunk->kind = CHUNK_TEXT;
    chunk->id_at[row] = chunk_add_text(chunk, ids->line.data, size);
    return 0;
}

static int next_number(struct ids_file *ids, struct chunk *chunk, size_t row)
{
    unsigned char bytes[8] = {0};
    unsigned size = ids->npy.size;
    if (ids->next == ids->npy.shape[0]) return too_few(ids);
    if (input_need(&ids->in, bytes, size, "ids that the header promises") != 0) return -1;
    if (ids->npy.type == 'i' && bytes[size - 1] & 0x80) {
        complain("%s: id %llu is negative; ids are whole numbers from 0 to 2^64-1", ids->in.path,
                 (unsigned long long)ids->next);
        return -1;
    }
    chunk->kind = CHUNK_U64;
    memcpy(&chunk->u64[row], bytes, 8);
    return 0;
}

int ids_file_fill(struct ids_file *ids, struct chunk *chunk, size_t from)
{
    int status = 0;
    for (size_t row = from; row < chunk->rows && status == 0; row++) {
        status = ids->text ? next_text(ids, chunk, row) : next_number(ids, chunk, row);
        ids->next++;
    }
    return status;
}

int ids_file_end(struct ids_file *ids)
{
    unsigned char byte;
    size_t got;
    if (input_read(&ids->in, &byte, 1, &got) != 0) return -1;
    bool more = got != 0 || (!ids->text && ids->next < ids->npy.shape[0]); /* there or promised */
    if (!more) return 0;
    complain("%s has more than the %llu ids that the rows need; there must be one for each row", ids->in.path,
             (unsigned long long)ids->next);
    return -1;
}

void ids_file_close(struct ids_file *ids)
{
    if (!ids) return;
    input_close(&ids->in);
    text_free(&ids->line);
    free(ids);
}
