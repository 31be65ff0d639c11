/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input files, all of them hostile. Invariants of everything behind this header:
 *   1. Memory is bounded by the chunk, never by what a file says of itself.
 *   2. A number read from a file is checked against its limit before it is multiplied, and every product is checked.
 *   3. Room is made by the same number of rows that is then filled (chunk_add).
 *   4. A refusal names the file, the row or line or offset, the value, and what to do.
 */
#ifndef POMAI_READ_H
#define POMAI_READ_H

#include <signal.h>

#include "cli.h"

/* ---- bytes (input.c) ---- */

struct gzip;

/* A file or, as "-", standard input; either may be gzip, recognised by its first bytes. */
struct input {
    const char *path;
    int fd;
    struct gzip *gz; /* NULL for plain bytes */
    unsigned char *buffer;
    size_t have;
    size_t at;
    uint64_t offset;                   /* of the next byte, uncompressed */
    uint64_t taken;                    /* bytes that were read from the file */
    uint64_t size;                     /* of the file on disk; 0 if unknown */
    bool takes_format;                 /* --format is about this file */
    bool size_is_exact;                /* a plain regular file: size counts the bytes that can be read */
    const volatile sig_atomic_t *stop; /* may be NULL; set by a signal handler: a read that waits ends */
};

/* All return 0, or -1 having said why. */
int input_open(struct input *in, const char *path);
/* Whether the content begins with these bytes, which stay to be read. Before the first read only. */
bool input_begins(struct input *in, const void *bytes, size_t size);
/* Reads up to `size` bytes; fewer only at the end of the file. */
int input_read(struct input *in, void *bytes, size_t size, size_t *got);
/* Reads exactly `size` bytes; `what` names them if the file ends before. */
int input_need(struct input *in, void *bytes, size_t size, const char *what);
/* Refuses bytes after the end. Reading to the end is also what checks a gzip file's checksum. */
int input_at_end(struct input *in);
/* Appends the next line, without its line feed, to text (emptied first). *end at the end of the file. */
int input_line(struct input *in, struct text *line, size_t limit, uint64_t number, bool *end);
/* The same behind what the text holds already; the limit is for both. */
int input_append_line(struct input *in, struct text *line, size_t limit, uint64_t number, bool *end);
/* How much of the file was read, 0 to 1; negative if unknown. */
double input_fraction(const struct input *in);
void input_close(struct input *in);

/* ---- rows on their way to the engine (chunk.c) ---- */

enum chunk_ids {
    CHUNK_NO_IDS,
    CHUNK_U64,
    CHUNK_STRING,
    CHUNK_TEXT /* as strings, but the collection decides whether they are numbers (--ids FILE, csv) */
};

struct span {
    size_t at;
    size_t size;
};

struct chunk {
    uint64_t dim;
    size_t rows;
    uint64_t first_row; /* row 0 of the chunk in its file */
    uint64_t *place;    /* of each row in the file: its line, or the offset of its vector */
    float *vectors;
    enum chunk_ids kind;
    uint64_t *u64;
    struct span *id_at; /* in text */
    struct span *document_at;
    bool has_documents;
    uint64_t *expiry; /* ns since 1970; 0: never */
    size_t expiries;  /* rows that came with one, 0 included */
    struct text text;
    pomai_bytes *string_ids; /* made by chunk_seal */
    pomai_bytes *documents;
    /* limits */
    size_t max_rows;
    size_t max_bytes; /* a target: the row that reaches it is the last */
    /* entries allocated */
    size_t row_capacity;
    size_t float_capacity;
};

/* Forgets the rows, keeps the memory and the limits. */
void chunk_clear(struct chunk *chunk);
void chunk_free(struct chunk *chunk);
/* Bytes of vectors, ids and documents so far. */
size_t chunk_bytes(const struct chunk *chunk);
/* How many more rows of row_bytes fit; 0: full. */
size_t chunk_room(const struct chunk *chunk, size_t row_bytes);
/* Makes room for more rows of chunk->dim and returns where their vectors go. They count at once. */
float *chunk_add(struct chunk *chunk, size_t rows);
struct span chunk_add_text(struct chunk *chunk, const void *bytes, size_t size);
/* Turns offsets into pointers, once the text moves no more. */
void chunk_seal(struct chunk *chunk);
/* Rows i < j with the same id; false if there are none. */
bool chunk_same_id(const struct chunk *chunk, size_t *i, size_t *j);
/* The first row with NaN or infinity, or (zero) only zeros; false if there is none. */
bool chunk_bad_vector(const struct chunk *chunk, bool zero, size_t *row);

/* ---- rows from files (read.c, read_<format>.c) ---- */

struct reader;
/* Appends at least one row to the chunk unless the file is at its end. 0, or -1 having said why. */
typedef int (*reader_next_fn)(struct reader *reader, struct chunk *chunk);

/* One axis of numbers in an .npy file. */
struct npy {
    char type;     /* 'f', 'i' or 'u' */
    unsigned size; /* bytes of a number */
    unsigned axes;
    uint64_t shape[2];
};

struct reader {
    struct input in;
    reader_next_fn next;
    uint64_t dim;     /* 0: not known before the first row (jsonl) */
    uint64_t rows;    /* in the file; UINT64_MAX: unknown */
    uint64_t row;     /* the next one */
    uint64_t limit;   /* rows still wanted */
    bool by_line;     /* places are lines, not offsets */
    bool no_row_ids;  /* --ids was given: ids in the rows are refused */
    struct npy npy;   /* of npy */
    unsigned width;   /* fvecs, bvecs: bytes of a number */
    void *raw;        /* npy, bvecs, idx: rows as stored */
    struct csv *csv;  /* columns and fields of csv */
    struct text line; /* jsonl, csv */
    uint64_t line_number;
    enum chunk_ids kind; /* jsonl: of the first row */
    struct ids_file *ids;
    bool ids_are_rows;
};

/* The format's name by the file's name; NULL if it says nothing. */
const char *format_of(const char *path);
/* `format` NULL: by the name. EXIT_OK; EXIT_USAGE for an unknown format; EXIT_FAILED. It has said why. */
int reader_open(struct reader *reader, const struct args *args, const char *path, const char *format);
/* Empties the chunk and fills it; no rows at the end. 0, or -1 having said why. */
int reader_fill(struct reader *reader, struct chunk *chunk);
/* Passes over rows, using the chunk as scratch. 0, or -1. */
int reader_skip(struct reader *reader, struct chunk *chunk, uint64_t rows);
/* "row 7 (offset 1234)" or "line 8". */
const char *reader_place(const struct reader *reader, const struct chunk *chunk, size_t row, char buffer[80]);
void reader_close(struct reader *reader);

int npy_open(struct reader *reader, const struct args *args);
int fvecs_open(struct reader *reader, const struct args *args);
int bvecs_open(struct reader *reader, const struct args *args);
int csv_open(struct reader *reader, const struct args *args);
int jsonl_open(struct reader *reader, const struct args *args);
int idx_open(struct reader *reader, const struct args *args);

void csv_close(struct csv *csv);

/* Reads the header of an .npy file; `name` is what an array of this many axes is called in sentences. */
int npy_header(struct input *in, struct npy *npy);
/* rows x row_bytes must be what is left of the file, if its size is known. */
int exact_size(const struct input *in, uint64_t rows, uint64_t row_bytes);

/* Ids beside the vectors: .npy of whole numbers with one axis, or text with an id a line. */
struct ids_file *ids_file_open(const char *path, uint64_t rows);
/* Gives ids to the rows from `from` on. */
int ids_file_fill(struct ids_file *ids, struct chunk *chunk, size_t from);
/* The vectors ended; so must the ids. */
int ids_file_end(struct ids_file *ids);
void ids_file_close(struct ids_file *ids);

/* A row of text has at most this many bytes: parsing JSON costs up to twenty times its size in memory. */
enum { MAX_LINE = 8 * 1024 * 1024 };
/* Parses a JSON array of numbers into floats. `where` begins the sentence of a refusal. */
struct json_t;
int parse_vector(const struct json_t *array, const char *where, float *vector);

#endif
