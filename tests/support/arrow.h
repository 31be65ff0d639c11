/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrow arrays out of any bytes, sound ones and others, in buffers of their own size; and what a document of them has
 * to say, read by other lines than those that wrote it.
 *
 * What cannot be checked by who is given an array is right: no buffer is shorter than its lengths and offsets ask for.
 */
#ifndef T_ARROW_H
#define T_ARROW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/arrow.h"
#include "base/dtype.h"
#include "filter/json.h"
#include "pomai/arrow.h"

struct t_feed {
    const uint8_t *at, *end;
};

static inline uint8_t t_byte(struct t_feed *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

/* Now and then, and never once the bytes are used up. */
static inline bool t_rarely(struct t_feed *f)
{
    return t_byte(f) >= 0xfa;
}

struct t_node {
    struct ArrowSchema schema;
    struct ArrowArray array;
    const void *buffers[4];
    struct ArrowSchema *schemas[4];
    struct ArrowArray *arrays[4];
    struct t_node *children[5]; /* the last: a dictionary */
    char name[8];
};

/* Keys and values of a schema's metadata. */
static const struct {
    int32_t pairs, key_size;
    char key[20];
    int32_t value_size;
    char value[10];
} t_json = {1, 20, "ARROW:extension:name", 10, "arrow.json"};

static inline void *t_room(size_t size)
{
    void *room = calloc(size > 0 ? size : 1, 1);
    if (room == NULL) abort();
    return room;
}

static inline void t_node_free(struct t_node *n)
{
    if (n == NULL) return;
    for (int i = 0; i < 5; i++)
        t_node_free(n->children[i]);
    for (int i = 0; i < 4; i++)
        free((void *)(uintptr_t)n->buffers[i]);
    free(n);
}

static inline void t_release_schema(struct ArrowSchema *schema)
{
    (void)schema;
}

static inline void t_release_array(struct ArrowArray *array)
{
    (void)array;
}

static inline const void *t_fill(struct t_feed *f, size_t size)
{
    uint8_t *room = t_room(size);
    for (size_t i = 0; i < size; i++)
        room[i] = t_byte(f);
    return room;
}

/* `items` + 1 offsets into `most` items or bytes: mostly they ascend. */
static inline const void *t_offsets(struct t_feed *f, size_t items, bool large, int64_t most)
{
    uint8_t *room = t_room((items + 1) * (large ? 8 : 4));
    int64_t at = 0;
    for (size_t i = 0; i <= items; i++) {
        int64_t value = at += t_byte(f) % 5;
        if (t_rarely(f)) value = (int64_t)t_byte(f) - 130;
        if (value > most) value = most;
        if (at > most) at = most;
        const int32_t narrow = (int32_t)value;
        memcpy(room + i * (large ? 8 : 4), large ? (void *)&value : (void *)&narrow, large ? 8 : 4);
    }
    return room;
}

static const char *const t_formats[] = {"n",     "b",   "c",     "C",    "s",       "S",    "i",   "I",
                                        "l",     "L",   "e",     "f",    "g",       "u",    "U",   "vu",
                                        "tdD",   "tdm", "tss:",  "tsm:", "tsu:UTC", "tsn:", "tts", "ttm",
                                        "ttu",   "ttn", "+l",    "+L",   "+w:2",    "+vl",  "+vL", "+s",
                                        "u",     "z",   "d:3,2", "+m",   "",        "+x",   "+w:", "+w:99999999999",
                                        "+ud:0", "tD",  "tiM",   "g",    "l",       "u",    "U",   "+w:0"};
enum { T_FORMATS = sizeof t_formats / sizeof t_formats[0] };

static inline size_t t_size(const char *format)
{
    static const char letters[] = "bcCsSiIlLefg";
    static const size_t sizes[] = {0, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};
    if (format[0] == 't')
        return strcmp(format, "tdD") == 0 || strcmp(format, "tts") == 0 || strcmp(format, "ttm") == 0 ? 4 : 8;
    const char *at = format[0] == '\0' ? NULL : strchr(letters, format[0]);
    return at == NULL ? 8 : sizes[at - letters];
}

static inline struct t_node *t_make(struct t_feed *f, int64_t length, int depth);

static inline void t_make_bytes(struct t_feed *f, struct t_node *n, size_t items)
{
    const bool view = n->schema.format[0] == 'v', large = n->schema.format[0] == 'U';
    const int64_t most = t_byte(f) % 64;
    if (!view) {
        n->buffers[1] = t_offsets(f, items, large, most);
        n->buffers[2] = t_fill(f, (size_t)most);
        n->array.n_buffers = 3;
        return;
    }
    int32_t *views = t_room(items * 16 + 16);
    for (size_t i = 0; i < items; i++) {
        uint8_t *words = (uint8_t *)(views + i * 4);
        for (size_t j = 0; j < 16; j++)
            words[j] = t_byte(f);
        int32_t *w = views + i * 4;
        w[0] = (int32_t)t_byte(f) % 30 - t_rarely(f) * 40;
        if (w[0] > 12 && !t_rarely(f)) { /* where it lies */
            w[2] = 0;
            w[3] = (int32_t)t_byte(f) % 40 - t_rarely(f) * 41;
        }
    }
    int64_t *sizes = t_room(8);
    *sizes = most;
    n->buffers[1] = views;
    n->buffers[2] = t_fill(f, (size_t)most);
    n->buffers[3] = sizes;
    n->array.n_buffers = 4;
}

static inline void t_adopt(struct t_node *n, int i, struct t_node *child)
{
    n->children[i] = child;
    n->schemas[i] = &child->schema;
    n->arrays[i] = &child->array;
    n->schema.n_children = n->array.n_children = i + 1;
    n->schema.children = n->schemas;
    n->array.children = n->arrays;
}

static inline void t_make_nested(struct t_feed *f, struct t_node *n, size_t items, int depth)
{
    const char *format = n->schema.format;
    n->array.n_buffers = 1;
    if (format[1] == 's') {
        const int count = t_byte(f) % 4;
        for (int i = 0; i < count; i++)
            t_adopt(n, i, t_make(f, (int64_t)items + t_byte(f) % 3 - t_rarely(f), depth + 1));
        return;
    }
    const int64_t below = format[1] == 'w' ? (int64_t)items * 2 + t_byte(f) % 2 - t_rarely(f) : t_byte(f) % 20;
    t_adopt(n, 0, t_make(f, below, depth + 1));
    if (format[1] == 'w' || format[1] == 'm' || format[1] == 'x') return;
    const bool view = format[1] == 'v', large = strchr(format, 'L') != NULL;
    n->buffers[1] = t_offsets(f, items, large, 20);
    n->array.n_buffers = 2;
    if (!view) return;
    uint8_t *sizes = t_room(items * 8 + 8);
    for (size_t i = 0; i < items; i++) {
        const int64_t wide = t_byte(f) % 4 - t_rarely(f) * 5;
        const int32_t narrow = (int32_t)wide;
        memcpy(sizes + i * (large ? 8 : 4), large ? (const void *)&wide : (const void *)&narrow, large ? 8 : 4);
    }
    n->buffers[2] = sizes;
    n->array.n_buffers = 3;
}

/* What the maker of an array may have got wrong, where it can be seen. */
static inline void t_spoil(struct t_feed *f, struct t_node *n)
{
    static const int64_t wrong[] = {-1, INT64_MIN, INT64_MAX, INT64_MAX / 2};
    const int64_t number = wrong[t_byte(f) % 4];
    switch (t_byte(f) % 10) {
    case 0:
        n->array.length = -1;
        break;
    case 1:
        n->array.offset = number;
        break;
    case 2:
        n->array.n_buffers = number < 0 ? number : 0;
        break;
    case 3:
        n->array.buffers = NULL;
        break;
    case 4:
        n->array.n_children = number;
        break;
    case 5:
        n->schema.n_children = number < 0 ? number : 0;
        break;
    case 6:
        n->array.children = NULL;
        break;
    case 7:
        n->array.dictionary = NULL;
        break;
    case 8:
        n->array.null_count = 3; /* and perhaps no bits */
        break;
    default:
        if (n->array.n_children > 0) n->arrays[0] = NULL;
    }
}

/* An array of `length` items at least; less if that is negative. */
static inline struct t_node *t_make(struct t_feed *f, int64_t length, int depth)
{
    struct t_node *n = t_room(sizeof *n);
    if (length < 0) length = 0;
    const int64_t offset = t_byte(f) % 4;
    const size_t items = (size_t)(length + offset);
    n->schema.format = t_formats[depth > 4 ? t_byte(f) % 26 : t_byte(f) % T_FORMATS];
    if (t_byte(f) % 8 != 0 && strchr("zd+tgluU", n->schema.format[0]) == NULL)
        n->schema.format = "l"; /* fewer oddities */
    (void)snprintf(n->name, sizeof n->name, "k%c%d", 'a' + t_byte(f) % 26, t_byte(f) % 10);
    n->schema.name = t_rarely(f) ? NULL : n->name;
    n->schema.release = t_release_schema;
    n->array = (struct ArrowArray){
        .length = length, .offset = offset, .buffers = n->buffers, .release = t_release_array, .n_buffers = 2};
    if (t_byte(f) % 2 == 0) {
        n->buffers[0] = t_fill(f, items / 8 + 1);
        n->array.null_count = t_byte(f) % 3 - 1;
    }
    if (n->schema.format[0] == '+') {
        t_make_nested(f, n, items, depth);
    } else if (strchr("uUvz", n->schema.format[0]) != NULL && n->schema.format[0] != '\0') {
        t_make_bytes(f, n, items);
        if (t_rarely(f)) n->schema.metadata = (const char *)&t_json;
    } else {
        n->buffers[1] = t_fill(f, items * t_size(n->schema.format) + items / 8 + 1);
        if (n->schema.format[0] == 'n') n->array.n_buffers = 0;
        if (strchr("cCsSiIlL", n->schema.format[0]) != NULL && n->schema.format[0] != '\0' && t_byte(f) % 4 == 1) {
            n->children[4] = t_make(f, t_byte(f) % 100, depth + 1);
            n->schema.dictionary = &n->children[4]->schema;
            n->array.dictionary = &n->children[4]->array;
        }
    }
    if (t_rarely(f)) t_spoil(f, n);
    return n;
}

/* A struct array of rows; `columns` may be spoilt as well. */
static inline struct t_node *t_make_rows(struct t_feed *f)
{
    struct t_node *n = t_room(sizeof *n);
    const int64_t length = t_byte(f) % 12, offset = t_byte(f) % 3;
    const int columns = t_byte(f) % 5;
    n->schema = (struct ArrowSchema){.format = "+s", .release = t_release_schema};
    n->array = (struct ArrowArray){
        .length = length, .offset = offset, .n_buffers = 1, .buffers = n->buffers, .release = t_release_array};
    for (int i = 0; i < columns && i < 4; i++)
        t_adopt(n, i, t_make(f, length + offset - t_rarely(f), 1));
    if (t_byte(f) % 4 == 1) {
        n->buffers[0] = t_fill(f, (size_t)(length + offset) / 8 + 1);
        n->array.null_count = -1;
    }
    if (t_rarely(f)) t_spoil(f, n);
    return n;
}

/* ---- what a document has to say; the array was taken, so it is sound as far as the document shows it ---- */

static inline void t_must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static inline const char *t_word(const char *p, const char *end, const char *word)
{
    const size_t size = strlen(word);
    t_must((size_t)(end - p) >= size && memcmp(p, word, size) == 0, word);
    return p + size;
}

static inline bool t_null(const struct ArrowArray *a, const struct ArrowSchema *s, int64_t i)
{
    if (s->format[0] == 'n') return true;
    const uint8_t *valid = a->buffers[0];
    const int64_t at = a->offset + i;
    return a->null_count != 0 && valid != NULL && (valid[at / 8] >> at % 8 & 1) == 0;
}

static inline const char *t_expect_text(const char *p, const char *end, const char *data, size_t size)
{
    bool escapes = false;
    const char *behind = pm_filter_skip_string(p, end, &escapes);
    t_must(behind != NULL, "a string that is none");
    pm_filter_string s = {.p = p + 1, .end = behind - 1};
    for (size_t i = 0; i < size; i++)
        t_must(pm_filter_next_byte(&s) == (uint8_t)data[i], "another byte in a string");
    t_must(pm_filter_next_byte(&s) < 0, "a string that is too long");
    return behind;
}

/* The digits of a number of that many bytes: it reads back, and no shorter one does. */
static inline void t_expect_float(const char *p, const char *behind, double value, bool narrow)
{
    char text[64], shorter[64];
    const size_t size = (size_t)(behind - p);
    t_must(size < sizeof text, "a number that is too long");
    memcpy(text, p, size);
    text[size] = '\0';
    t_must(narrow ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value, "another float");
    t_must((text[0] == '-') == (__builtin_signbit(value) != 0), "another sign");
    t_must(strpbrk(text, ".e") != NULL, "a float that has become a whole number");
    int digits = 0, zeros = 0;
    for (const char *c = text; *c != '\0' && *c != 'e'; c++) {
        if (*c < '0' || *c > '9' || (digits == 0 && *c == '0')) continue;
        digits++;
        zeros = *c == '0' ? zeros + 1 : 0;
    }
    digits -= zeros;
    if (digits < 2) return;
    (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
    t_must(narrow ? strtof(shorter, NULL) != (float)value : strtod(shorter, NULL) != value,
           "a float with too many digits");
}

static inline const char *t_expect_number(const char *p, const char *end, const struct ArrowSchema *s, const char *from)
{
    const char *behind = pm_filter_skip_number(p, end);
    char text[32];
    uint64_t bits = 0;
    t_must(behind != NULL, "a number that is none");
    memcpy(&bits, from, t_size(s->format)); /* little-endian */
    if (s->format[0] == 'g') {
        double value;
        memcpy(&value, from, 8);
        t_expect_float(p, behind, value, false);
        return behind;
    }
    if (s->format[0] == 'f' || s->format[0] == 'e') {
        float value;
        if (s->format[0] == 'f')
            memcpy(&value, from, 4);
        else
            value = pm_f16_to_f32((uint16_t)bits);
        t_expect_float(p, behind, (double)value, true);
        return behind;
    }
    const int shift = 64 - 8 * (int)t_size(s->format);
    if (s->format[0] >= 'a') /* signed */
        (void)snprintf(text, sizeof text, "%lld", (long long)((int64_t)(bits << shift) >> shift));
    else
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)bits);
    t_must((size_t)(behind - p) == strlen(text) && memcmp(p, text, strlen(text)) == 0, "another whole number");
    return behind;
}

static inline int64_t t_offset(const void *buffer, bool large, int64_t i)
{
    int64_t wide;
    int32_t narrow;
    if (large)
        memcpy(&wide, (const char *)buffer + i * 8, 8);
    else
        memcpy(&narrow, (const char *)buffer + i * 4, 4);
    return large ? wide : narrow;
}

static inline const char *t_expect(const char *p, const char *end, const struct ArrowSchema *s,
                                   const struct ArrowArray *a, int64_t i);

static inline const char *t_expect_list(const char *p, const char *end, const struct ArrowSchema *s,
                                        const struct ArrowArray *a, int64_t at)
{
    const char *f = s->format;
    const bool large = strchr(f, 'L') != NULL, fixed = f[1] == 'w';
    const int64_t width = fixed ? f[3] - '0' : 0, first = fixed ? at * width : t_offset(a->buffers[1], large, at);
    const int64_t count = fixed         ? width
                          : f[1] == 'v' ? t_offset(a->buffers[2], large, at)
                                        : t_offset(a->buffers[1], large, at + 1) - first;
    p = t_word(p, end, "[");
    for (int64_t j = 0; j < count; j++)
        p = t_expect(j == 0 ? p : t_word(p, end, ","), end, s->children[0], a->children[0], first + j);
    return t_word(p, end, "]");
}

static inline const char *t_expect_struct(const char *p, const char *end, const struct ArrowSchema *s,
                                          const struct ArrowArray *a, int64_t at)
{
    p = t_word(p, end, "{");
    for (int64_t j = 0; j < s->n_children; j++) {
        const char *name = s->children[j]->name == NULL ? "" : s->children[j]->name;
        if (j > 0) p = t_word(p, end, ",");
        p = t_word(t_expect_text(p, end, name, strlen(name)), end, ":");
        p = t_expect(p, end, s->children[j], a->children[j], at);
    }
    return t_word(p, end, "}");
}

static inline const char *t_expect_bytes(const char *p, const char *end, const struct ArrowSchema *s,
                                         const struct ArrowArray *a, int64_t at)
{
    const char *data;
    int64_t size;
    if (s->format[0] == 'v') {
        int32_t words[4];
        memcpy(words, (const char *)a->buffers[1] + at * 16, 16);
        size = words[0];
        data =
            size <= 12 ? (const char *)a->buffers[1] + at * 16 + 4 : (const char *)a->buffers[2 + words[2]] + words[3];
    } else {
        const bool large = s->format[0] == 'U';
        const int64_t first = t_offset(a->buffers[1], large, at);
        size = t_offset(a->buffers[1], large, at + 1) - first;
        data = (const char *)a->buffers[2] + first;
    }
    if (s->metadata == NULL) return t_expect_text(p, end, data, (size_t)size);
    const char *from = pm_filter_blank(data, data + size);
    while (size > 0 && strchr(" \n\t\r", data[size - 1]) != NULL)
        size--;
    size -= from - data;
    t_must(end - p >= size && memcmp(p, from, (size_t)size) == 0, "another text of JSON");
    return p + size;
}

/* Item i, counted without the array's offset. */
static inline const char *t_expect(const char *p, const char *end, const struct ArrowSchema *s,
                                   const struct ArrowArray *a, int64_t i)
{
    const int64_t at = a->offset + i;
    if (t_null(a, s, i)) return t_word(p, end, "null");
    if (s->dictionary != NULL) {
        uint64_t code = 0;
        memcpy(&code, (const char *)a->buffers[1] + at * (int64_t)t_size(s->format), t_size(s->format));
        return t_expect(p, end, s->dictionary, a->dictionary, (int64_t)code);
    }
    switch (s->format[0]) {
    case 'b':
        return t_word(p, end, ((const uint8_t *)a->buffers[1])[at / 8] >> at % 8 & 1 ? "true" : "false");
    case 't': {
        bool escapes = false;
        p = pm_filter_skip_string(p, end, &escapes);
        t_must(p != NULL && !escapes, "a time that is no string");
        return p;
    }
    case 'u':
    case 'U':
    case 'v':
        return t_expect_bytes(p, end, s, a, at);
    case '+':
        return s->format[1] == 's' ? t_expect_struct(p, end, s, a, at) : t_expect_list(p, end, s, a, at);
    default:
        return t_expect_number(p, end, s, (const char *)a->buffers[1] + at * (int64_t)t_size(s->format));
    }
}

/* All documents of a struct array. */
static inline void t_expect_rows(const pomai_bytes *documents, const struct ArrowSchema *s, const struct ArrowArray *a)
{
    for (int64_t i = 0; i < a->length; i++) {
        bool escapes = false;
        t_must((documents[i].size == 0) == t_null(a, s, i), "a row without a document");
        if (documents[i].size == 0) continue;
        const char *p = documents[i].data, *end = p + documents[i].size;
        t_must(pm_filter_skip_value(p, end, 1, &escapes) == end, "a document that is no JSON");
        t_must(t_expect_struct(p, end, s, a, a->offset + i) == end, "a document with something behind it");
    }
}

/* Columns of any documents: they are documents again, and from then on nothing changes any more. */
static inline void t_expect_back(const pomai_bytes *documents, uint64_t rows)
{
    pomai_bytes *made[2] = {NULL, NULL};
    const pomai_bytes *from = documents;
    pomai_error err = {0};
    for (int round = 0; round < 2; round++) {
        struct ArrowSchema schema;
        struct ArrowArray array;
        pomai_status status = pm_documents_to_arrow(from, rows, NULL, 0, &schema, &array, &err);
        if (status != POMAI_OK) { /* a key that no column can have, too many of them */
            t_must(round == 0 && (status == POMAI_EINVAL || status == POMAI_ETOOBIG), "columns that were made once");
            return;
        }
        t_must((uint64_t)array.length == rows, "another number of rows");
        t_must(pm_documents_from_arrow(&schema, &array, UINT64_MAX, &made[round], &err) == POMAI_OK,
               "columns that are not taken");
        t_expect_rows(made[round], &schema, &array);
        schema.release(&schema);
        array.release(&array);
        from = made[round];
    }
    for (uint64_t i = 0; i < rows; i++)
        t_must(made[0][i].size == made[1][i].size && memcmp(made[0][i].data, made[1][i].data, made[0][i].size) == 0,
               "other documents a second time");
    pm_free(made[0]);
    pm_free(made[1]);
}

#endif
