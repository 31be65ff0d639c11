/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NumPy's .npy, versions 1 to 3: 6 bytes of magic, 2 of version, the length of the header (2 bytes little-endian, from
 * version 2 on 4), the header (a Python dictionary as text), the numbers in C order. Whatever NumPy would have to
 * unpickle is refused, as are big-endian and Fortran-order arrays: a sentence says how to rewrite them.
 */
#include "read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers of input files are little-endian");

enum { MAX_HEADER = 65536, RAW_BYTES = 1024 * 1024 };

/* ---- the header ---- */

struct cursor {
    const char *at;
    const char *end;
};

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r' || *c->at == '\n'))
        c->at++;
}

static bool take(struct cursor *c, const char *word)
{
    size_t size = strlen(word);
    skip_blanks(c);
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, word, size) != 0) return false;
    c->at += size;
    return true;
}

static bool take_quoted(struct cursor *c, char *text, size_t size)
{
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
    char quote = *c->at++;
    size_t used = 0;
    while (c->at < c->end && *c->at != quote) {
        if (used + 1 >= size || *c->at == 0) return false;
        text[used++] = *c->at++;
    }
    text[used] = 0;
    return c->at < c->end && *c->at++ == quote;
}

static bool take_shape(struct cursor *c, struct npy *npy, unsigned *axes)
{
    *axes = 0;
    if (!take(c, "(")) return false;
    while (!take(c, ")")) {
        size_t size = 0;
        uint64_t number;
        skip_blanks(c);
        while (c->at + size < c->end && c->at[size] >= '0' && c->at[size] <= '9')
            size++;
        if (!parse_u64(c->at, size, &number)) return false;
        c->at += size;
        if (*axes < 2) npy->shape[*axes] = number;
        ++*axes;
        skip_blanks(c);
        if (!take(c, ",") && (c->at == c->end || *c->at != ')')) return false;
    }
    return true;
}

static int check_type(const char *path, const char *descr, struct npy *npy)
{
    static const char *const known[] = {"<f4", "<f2", "<f8", "|u1", "|i1", "<u2",
                                        "<i2", "<u4", "<i4", "<u8", "<i8", NULL};
    for (const char *const *type = known; *type; type++) {
        if (strcmp(descr, *type) == 0) {
            npy->type = descr[1];
            npy->size = (unsigned)(descr[2] - '0');
            return 0;
        }
    }
    if (descr[0] == '>')
        complain("%s holds big-endian numbers ('%s'); write them little-endian: numpy.save(file, x.astype('<f4'))",
                 path, descr);
    else if (strchr(descr, 'O'))
        complain("%s holds Python objects ('%s'), which only Python can read; save an array of float32: "
                 "numpy.save(file, x.astype('<f4'))",
                 path, descr);
    else
        complain("%s holds numbers of type '%s'; float16, float32, float64 and whole numbers can be read: "
                 "numpy.save(file, x.astype('<f4'))",
                 path, descr);
    return -1;
}

static int bad_header(const struct input *in, const char *what)
{
    complain("%s: the .npy header, which begins at offset 10 or 12, %s; the file is damaged or no .npy file", in->path,
             what);
    return -1;
}

static int parse_header(const struct input *in, const char *text, size_t size, struct npy *npy)
{
    struct cursor c = {text, text + size};
    char key[32], descr[32] = "", order = 0;
    bool have_shape = false;
    if (!take(&c, "{")) return bad_header(in, "is no Python dictionary");
    while (!take(&c, "}")) {
        if (!take_quoted(&c, key, sizeof key) || !take(&c, ":"))
            return bad_header(in, "has no 'key': value where one should be");
        if (strcmp(key, "descr") == 0) {
            if (take(&c, "[")) return bad_header(in, "describes records of several fields; save one array of float32");
            if (!take_quoted(&c, descr, sizeof descr)) return bad_header(in, "has no type of numbers in 'descr'");
        } else if (strcmp(key, "fortran_order") == 0) {
            order = take(&c, "True") ? 'F' : take(&c, "False") ? 'C' : 0;
        } else if (strcmp(key, "shape") == 0) {
            if (!(have_shape = take_shape(&c, npy, &npy->axes)))
                return bad_header(in, "has a 'shape' that is no list of sizes below 2^64");
        } else {
            return bad_header(in, "has a key other than descr, fortran_order and shape");
        }
        if (!take(&c, ",") && (c.at == c.end || *c.at != '}'))
            return bad_header(in, "has no comma between its entries");
    }
    skip_blanks(&c);
    if (c.at != c.end || !descr[0] || !order || !have_shape)
        return bad_header(in, "lacks one of descr, fortran_order and shape, or has more after them");
    if (order == 'F') {
        complain("%s is in Fortran order (columns first); write it in C order: numpy.save(file, "
                 "numpy.ascontiguousarray(x))",
                 in->path);
        return -1;
    }
    return check_type(in->path, descr, npy);
}

int npy_header(struct input *in, struct npy *npy)
{
    unsigned char fixed[8], length[4] = {0};
    if (input_need(in, fixed, 8, "the .npy magic and version") != 0) return -1;
    if (memcmp(fixed, "\x93NUMPY", 6) != 0) {
        complain("%s does not begin with the magic of an .npy file; if it has another format, say so with --format",
                 in->path);
        return -1;
    }
    if (fixed[6] < 1 || fixed[6] > 3) {
        complain("%s is of .npy version %u; versions 1 to 3 can be read", in->path, fixed[6]);
        return -1;
    }
    if (input_need(in, length, fixed[6] == 1 ? 2 : 4, "the length of the .npy header") != 0) return -1;
    uint32_t size =
        (uint32_t)length[0] | (uint32_t)length[1] << 8 | (uint32_t)length[2] << 16 | (uint32_t)length[3] << 24;
    if (size > MAX_HEADER) {
        complain("%s says that its header has %u bytes; no header of an array of numbers has more than %d, the file is "
                 "damaged",
                 in->path, size, MAX_HEADER);
        return -1;
    }
    char *text = must_realloc(NULL, size, 1);
    int status = input_need(in, text, size, "the .npy header");
    if (status == 0) status = parse_header(in, text, size, npy);
    free(text);
    return status;
}

/* ---- the numbers ---- */

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023u, bits;
    float number;
    if (exponent == 0) {
        number = ldexpf((float)fraction, -24);
        return sign ? -number : number;
    }
    bits = exponent == 31 ? sign | 0x7f800000u | fraction << 13 : sign | (exponent + 112) << 23 | fraction << 13;
    memcpy(&number, &bits, sizeof number);
    return number;
}

#define CONVERT(type)                                                                                                  \
    for (size_t i = 0; i < count; i++) {                                                                               \
        type number;                                                                                                   \
        memcpy(&number, from + i * sizeof number, sizeof number);                                                      \
        to[i] = (float)number;                                                                                         \
    }                                                                                                                  \
    break

static void convert(const struct npy *npy, const unsigned char *from, size_t count, float *to)
{
    switch (npy->type << 8 | (int)npy->size) {
    case 'f' << 8 | 2:
        for (size_t i = 0; i < count; i++)
            to[i] = half_to_float((uint16_t)(from[2 * i] | from[2 * i + 1] << 8));
        break;
    case 'f' << 8 | 4:
        CONVERT(float);
    case 'f' << 8 | 8:
        CONVERT(double);
    case 'u' << 8 | 1:
        CONVERT(uint8_t);
    case 'i' << 8 | 1:
        CONVERT(int8_t);
    case 'u' << 8 | 2:
        CONVERT(uint16_t);
    case 'i' << 8 | 2:
        CONVERT(int16_t);
    case 'u' << 8 | 4:
        CONVERT(uint32_t);
    case 'i' << 8 | 4:
        CONVERT(int32_t);
    case 'u' << 8 | 8:
        CONVERT(uint64_t);
    case 'i' << 8 | 8:
        CONVERT(int64_t);
    default:
        break;
    }
}

/* A float64 beyond the range of float32 would turn into infinity unnoticed. */
static int check_range(const struct reader *reader, const unsigned char *from, size_t rows, const float *to)
{
    for (size_t i = 0; i < rows * reader->dim; i++) {
        double number;
        memcpy(&number, from + i * sizeof number, sizeof number);
        if (isfinite(number) && !isfinite(to[i])) {
            complain("%s row %llu column %llu is %g, which is beyond the range of float32; scale the vectors",
                     reader->in.path, (unsigned long long)(reader->row + i / reader->dim),
                     (unsigned long long)(i % reader->dim), number);
            return -1;
        }
    }
    return 0;
}

static int npy_next(struct reader *reader, struct chunk *chunk)
{
    uint64_t left = reader->rows - reader->row;
    size_t dim = (size_t)reader->dim, row_bytes = dim * reader->npy.size;
    bool as_is = reader->npy.type == 'f' && reader->npy.size == 4;
    size_t room = chunk_room(chunk, dim * sizeof(float) + 8);
    if (!as_is && room > RAW_BYTES / row_bytes) room = RAW_BYTES / row_bytes;
    size_t rows = left < room ? (size_t)left : room;
    if (left == 0) return input_at_end(&reader->in);
    if (rows == 0) rows = 1;
    uint64_t at = reader->in.offset;
    size_t from = chunk->rows;
    float *vectors = chunk_add(chunk, rows);
    void *raw = as_is ? vectors : reader->raw;
    if (input_need(&reader->in, raw, rows * row_bytes, "rows that the header promises") != 0) return -1;
    for (size_t i = 0; i < rows; i++)
        chunk->place[from + i] = at + i * row_bytes;
    if (!as_is) convert(&reader->npy, raw, rows * dim, vectors);
    if (reader->npy.type == 'f' && reader->npy.size == 8 && check_range(reader, raw, rows, vectors) != 0) return -1;
    /* With the last row, so that a file that is too long is refused before its last rows are stored. */
    return left == rows ? input_at_end(&reader->in) : 0;
}

int npy_open(struct reader *reader, const struct args *args)
{
    struct npy *npy = &reader->npy;
    if (npy_header(&reader->in, npy) != 0) return -1;
    if (npy->axes != 2) {
        complain("%s holds an array of %u axes; vectors need 2, (rows, dimensions)%s", reader->in.path, npy->axes,
                 npy->axes == 1 ? ": one vector is x.reshape(1, -1)" : ": x.reshape(len(x), -1)");
        return -1;
    }
    if (npy->shape[1] < 1 || npy->shape[1] > POMAI_MAX_DIM) {
        complain("%s holds vectors of %llu dimensions; 1 to %u can be stored", reader->in.path,
                 (unsigned long long)npy->shape[1], POMAI_MAX_DIM);
        return -1;
    }
    if (exact_size(&reader->in, npy->shape[0], npy->shape[1] * npy->size) != 0) return -1;
    reader->rows = npy->shape[0];
    reader->dim = npy->shape[1];
    reader->next = npy_next;
    if (npy->type != 'f' || npy->size != 4) {
        reader->raw = must_realloc(NULL, RAW_BYTES, 1);
        const char *kind = npy->type == 'f' ? "float" : npy->type == 'u' ? "uint" : "int";
        char name[16];
        snprintf(name, sizeof name, "%s%u", kind, npy->size * 8);
        /* What is asked for is what comes out. */
        if (args_has(args, OPT_DTYPE) && strcmp(args->value[OPT_DTYPE], name) == 0) return 0;
        note(args, "%s holds %s numbers; they are converted to float32%s", reader->in.path, name,
             npy->size >= 4 ? " and rounded" : "");
    }
    return 0;
}
