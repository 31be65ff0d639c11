/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents as columns: first where each value lies, then what a column can be so that it holds all of its values, then
 * its buffers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow/arrow.h"
#include "arrow/text.h"
#include "filter/filter.h"
#include "filter/json.h"

enum { MOST_FOUND = 1024, LONGEST_FLOAT = 100 };

/* What has been seen in a column. */
enum {
    SEEN_BOOL = 1,
    SEEN_INT = 2,  /* of 64 bits */
    SEEN_WIDE = 4, /* besides: one that no float64 has */
    SEEN_FLOAT = 8,
    SEEN_TEXT = 16,
    SEEN_TEXTS = 32, /* an array of strings */
    SEEN_OTHER = 64,
};

typedef struct column {
    char *name;
    pm_filter *path; /* NULL: the name is the key */
    pm_filter_key key;
    const pm_filter_key *keys;
    uint32_t key_count;
    pomai_bytes *values; /* of each row; without data: there is none, or null */
    unsigned seen;
} column;

typedef struct decoder {
    const pomai_bytes *documents;
    uint64_t rows;
    column *columns;
    size_t count, room;
    bool finding; /* columns are made for the keys that are met */
    pomai_status status;
    pomai_error *err;
} decoder;

static bool no_memory(decoder *d)
{
    d->status =
        pm_fail(d->err, POMAI_ENOMEM, "no memory for the columns of %llu documents", (unsigned long long)d->rows);
    return false;
}

static bool refuse(decoder *d, pomai_status status, const char *what, const char *name)
{
    d->status = pm_fail(d->err, status, "%s%.80s", what, name);
    return false;
}

/* ---- columns ---- */

/* NULL: it is refused. The name is copied. */
static column *add_column(decoder *d, const char *name, size_t size)
{
    if (d->count == d->room) {
        const size_t room = d->room * 2 + 8;
        column *grown = pm_realloc(d->columns, room * sizeof *grown);
        if (grown == NULL) return (void)no_memory(d), NULL;
        d->columns = grown;
        d->room = room;
    }
    column *c = &d->columns[d->count++];
    *c = (column){.key_count = 1};
    c->name = pm_malloc(size + 1);
    c->values = pm_calloc(d->rows + 1, sizeof *c->values);
    if (c->name == NULL || c->values == NULL) return (void)no_memory(d), NULL;
    memcpy(c->name, name, size);
    c->name[size] = '\0';
    c->key = (pm_filter_key){c->name, size};
    return c;
}

/* What is wrong with a path, said of a column and not of a filter. */
static bool refuse_path(decoder *d, const char *path, pomai_status status, const pomai_error *why)
{
    static const char of_filter[] = "filter: ";
    const size_t head = sizeof of_filter - 1;
    const char *text = strncmp(why->message, of_filter, head) == 0 ? why->message + head : why->message;
    d->status = pm_fail(d->err, status, "column '%.80s' is no path: %.200s", path, text);
    return false;
}

/* The keys of a path, as a filter reads them. */
static bool read_path(decoder *d, const char *path)
{
    const size_t size = strlen(path), room = pm_string_room(path, size);
    static const char before[] = "{", behind[] = ":{\"$exists\":true}}";
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->columns[i].name, path) == 0)
            return refuse(d, POMAI_EINVAL, "two columns of the same path: ", path);
    column *c = add_column(d, path, size);
    if (c == NULL) return false;
    char *text = room == SIZE_MAX ? NULL : pm_malloc(room + sizeof before + sizeof behind);
    if (text == NULL) return no_memory(d);
    text[0] = before[0];
    char *end = pm_write_string(text + 1, room, path, size);
    if (end == NULL) {
        pm_free(text);
        return refuse(d, POMAI_EINVAL, "a path that is not UTF-8: ", path);
    }
    memcpy(end, behind, sizeof behind);
    pomai_error why = {0};
    const pomai_status status = pm_filter_parse(text, strlen(text), &c->path, &why);
    pm_free(text);
    if (status != POMAI_OK) return refuse_path(d, path, status, &why);
    const pm_filter_node *node = pm_filter_root(c->path);
    if (node->op != PM_FILTER_EXISTS) return refuse(d, POMAI_EINVAL, "an operator where a path is to be: ", path);
    c->keys = node->keys;
    c->key_count = node->key_count;
    return true;
}

static const pm_filter_key *key_at(const column *c, uint32_t i)
{
    return c->path == NULL ? &c->key : &c->keys[i];
}

/* A string whose escapes mean half a character is none in UTF-8. `to` may be NULL; *size: its bytes. */
static bool read_string(const char *p, const char *end, char *to, size_t *size)
{
    pm_filter_string s = {.p = p + 1, .end = end - 1};
    int last = 0;
    *size = 0;
    for (int byte; (byte = pm_filter_next_byte(&s)) >= 0; ++*size) {
        if (last == 0xed && byte >= 0xa0) return false;
        if (to != NULL) to[*size] = (char)byte;
        last = byte;
    }
    return true;
}

/* ---- where values are ---- */

/* A member of an object that has been looked at. */
typedef struct member {
    const char *key, *key_end; /* between the quotes */
    const char *value, *value_end;
    bool escapes;
} member;

/* p: behind the `{` or the last member. Gives the place behind it, NULL at the end. */
static const char *next_member(const char *p, const char *end, member *m)
{
    bool ignored = false;
    p = pm_filter_blank(p, end);
    if (*p == ',') p = pm_filter_blank(p + 1, end);
    if (*p == '}') return NULL;
    m->escapes = false;
    m->key = p + 1;
    p = pm_filter_skip_string(p, end, &m->escapes);
    m->key_end = p - 1;
    p = pm_filter_blank(pm_filter_blank(p, end) + 1, end); /* the colon */
    m->value = p;
    m->value_end = pm_filter_skip_value(p, end, 1, &ignored);
    return m->value_end;
}

static bool is_key(const member *m, const pm_filter_key *key)
{
    if (!m->escapes) return (size_t)(m->key_end - m->key) == key->size && memcmp(m->key, key->data, key->size) == 0;
    pm_filter_string s = {.p = m->key, .end = m->key_end};
    for (size_t i = 0; i < key->size; i++)
        if (pm_filter_next_byte(&s) != (uint8_t)key->data[i]) return false;
    return pm_filter_next_byte(&s) < 0;
}

/* Of equal keys the last counts, as with Python's json. */
static void note_value(column *c, uint64_t row, uint32_t depth, const member *m)
{
    c->values[row] = (pomai_bytes){NULL, 0};
    if (depth == c->key_count) {
        if (*m->value != 'n') c->values[row] = (pomai_bytes){m->value, (size_t)(m->value_end - m->value)};
        return;
    }
    member inner;
    if (*m->value != '{') return;
    for (const char *p = m->value + 1; (p = next_member(p, m->value_end, &inner)) != NULL;)
        if (is_key(&inner, key_at(c, depth))) note_value(c, row, depth + 1, &inner);
}

/* The column of a key that was not met before. */
static column *find_column(decoder *d, const member *m)
{
    size_t size = 0;
    char *name = pm_malloc((size_t)(m->key_end - m->key) + 1); /* escapes are longer than what they mean */
    if (name == NULL) return (void)no_memory(d), NULL;
    const bool unicode = read_string(m->key - 1, m->key_end + 1, name, &size);
    column *made = NULL;
    if (d->count == MOST_FOUND)
        (void)refuse(d, POMAI_ETOOBIG, "the documents have more than 1,024 keys: name those that are to be columns",
                     "");
    else if (!unicode || memchr(name, '\0', size) != NULL)
        (void)refuse(d, POMAI_EINVAL, "a key has NUL or half a character in it: name those that are to be columns", "");
    else
        made = add_column(d, name, size);
    pm_free(name);
    return made;
}

static bool look_at(decoder *d, uint64_t row)
{
    const char *p = d->documents[row].data;
    bool ignored = false;
    if (d->documents[row].size == 0) return true;
    if (p == NULL) return refuse(d, POMAI_EINVAL, "a document has a size but no data", "");
    const char *end = p + d->documents[row].size;
    p = pm_filter_blank(p, end);
    const char *behind = p < end && *p == '{' ? pm_filter_skip_value(p, end, 1, &ignored) : NULL;
    if (behind == NULL || pm_filter_blank(behind, end) != end) return true; /* no object: no keys */
    member m;
    size_t next = 0; /* documents have their keys in one order, mostly */
    for (p++; (p = next_member(p, behind, &m)) != NULL;) {
        bool found = false;
        for (size_t i = 0; i < d->count && !(found && d->finding); i++) {
            const size_t at = (next + i) % d->count;
            if (!is_key(&m, key_at(&d->columns[at], 0))) continue;
            note_value(&d->columns[at], row, 1, &m);
            if (d->finding) next = at + 1;
            found = true;
        }
        if (found || !d->finding) continue;
        column *made = find_column(d, &m);
        if (made == NULL) return false;
        note_value(made, row, 1, &m);
        next = 0;
    }
    return true;
}

/* ---- what a column is ---- */

/* The next item of an array that has been looked at; p: behind the `[` or the last one. NULL at the end. */
static const char *next_item(const char *p, const char *end, const char **item)
{
    bool ignored = false;
    p = pm_filter_blank(p, end);
    if (*p == ',') p = pm_filter_blank(p + 1, end);
    if (*p == ']') return NULL;
    *item = p;
    return pm_filter_skip_value(p, end, 1, &ignored);
}

static unsigned array_kind(const pomai_bytes *value)
{
    const char *p = (const char *)value->data + 1, *end = p - 1 + value->size, *item;
    size_t size;
    while ((p = next_item(p, end, &item)) != NULL)
        if (*item != '"' || !read_string(item, p, NULL, &size)) return SEEN_OTHER;
    return SEEN_TEXTS;
}

/* Its digits without the point, and the exponent for it: which point strtod takes depends on where one lives. */
static bool read_float(const pomai_bytes *value, double *number)
{
    char text[LONGEST_FLOAT + 32], exponent[LONGEST_FLOAT + 1] = "0";
    const char *p = value->data, *end = p + value->size;
    size_t n = 0;
    int64_t behind = 0;
    bool point = false;
    if (value->size > LONGEST_FLOAT) return false;
    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.')
            point = true;
        else
            text[n++] = *p;
        behind += point && *p != '.';
    }
    if (p < end) memcpy(exponent, p + 1, (size_t)(end - p) - 1);
    if (p < end) exponent[end - p - 1] = '\0';
    const int64_t tens = strtol(exponent, NULL, 10); /* the largest there is, if it is larger */
    if (tens > 1000 || tens < -1000) return false;
    (void)snprintf(text + n, sizeof text - n, "e%lld", (long long)(tens - behind));
    *number = strtod(text, NULL);
    return *number - *number == 0;
}

static unsigned number_kind(const pomai_bytes *value)
{
    const char *p = value->data, *end = p + value->size;
    pm_filter_number number;
    double read;
    for (const char *c = p; c < end; c++)
        if (*c == '.' || (*c | 0x20) == 'e') return read_float(value, &read) ? SEEN_FLOAT : SEEN_OTHER;
    pm_filter_read_number(p, end, &number);
    if (number.exponent > 19 || number.tail != NULL) return SEEN_OTHER;
    uint64_t magnitude = number.lead;
    for (int64_t i = number.exponent; i < 19; i++)
        magnitude /= 10;
    if (magnitude > (uint64_t)INT64_MAX + (number.sign < 0)) return SEEN_OTHER;
    return SEEN_INT | (magnitude > UINT64_C(1) << 53 ? SEEN_WIDE : 0);
}

static unsigned kind_of(const pomai_bytes *value)
{
    const char *p = value->data;
    size_t size;
    switch (*p) {
    case 't':
    case 'f':
        return SEEN_BOOL;
    case '"':
        return read_string(p, p + value->size, NULL, &size) ? SEEN_TEXT : SEEN_OTHER;
    case '[':
        return array_kind(value);
    case '{':
        return SEEN_OTHER;
    default:
        return number_kind(value);
    }
}

static char format_of(unsigned seen)
{
    switch (seen) {
    case 0:
        return 'n';
    case SEEN_BOOL:
        return 'b';
    case SEEN_INT:
    case SEEN_INT | SEEN_WIDE:
        return 'l';
    case SEEN_FLOAT:
    case SEEN_INT | SEEN_FLOAT:
        return 'g';
    case SEEN_TEXT:
        return 'U';
    case SEEN_TEXTS:
        return '+';
    default:
        return 'j';
    }
}

/* ---- what goes out ---- */

typedef struct schema_parts {
    char *name;
    struct ArrowSchema *children, **pointers;
} schema_parts;

static void schema_release(struct ArrowSchema *schema)
{
    schema_parts *parts = schema->private_data;
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i]->release != NULL) schema->children[i]->release(schema->children[i]);
    schema->release = NULL;
    pm_free(parts->name);
    pm_free(parts->children);
    pm_free(parts->pointers);
    pm_free(parts);
}

static bool schema_make(struct ArrowSchema *schema, const char *format, const char *name, size_t children)
{
    schema_parts *parts = pm_calloc(1, sizeof *parts);
    if (parts == NULL) return false;
    *schema = (struct ArrowSchema){
        .format = format, .flags = ARROW_FLAG_NULLABLE, .release = schema_release, .private_data = parts};
    parts->name = pm_malloc(strlen(name) + 1);
    parts->children = pm_calloc(children + 1, sizeof *parts->children);
    parts->pointers = pm_calloc(children + 1, sizeof *parts->pointers);
    if (parts->name == NULL || parts->children == NULL || parts->pointers == NULL) return false;
    memcpy(parts->name, name, strlen(name) + 1);
    for (size_t i = 0; i < children; i++)
        parts->pointers[i] = &parts->children[i];
    schema->name = parts->name;
    schema->n_children = (int64_t)children;
    schema->children = parts->pointers;
    return true;
}

typedef struct array_parts {
    const void *buffers[3];
    void *owned[3];
    struct ArrowArray *children, **pointers;
} array_parts;

static void array_release(struct ArrowArray *array)
{
    array_parts *parts = array->private_data;
    for (int64_t i = 0; i < array->n_children; i++)
        if (array->children[i]->release != NULL) array->children[i]->release(array->children[i]);
    array->release = NULL;
    for (int i = 0; i < 3; i++)
        pm_free(parts->owned[i]);
    pm_free(parts->children);
    pm_free(parts->pointers);
    pm_free(parts);
}

/* With buffers of these sizes, zeroed; 0: none. */
static bool array_make(struct ArrowArray *array, uint64_t length, int64_t buffers, const size_t sizes[3],
                       size_t children)
{
    array_parts *parts = pm_calloc(1, sizeof *parts);
    if (parts == NULL) return false;
    *array = (struct ArrowArray){.length = (int64_t)length,
                                 .n_buffers = buffers,
                                 .buffers = parts->buffers,
                                 .release = array_release,
                                 .private_data = parts};
    for (int i = 0; i < 3; i++) {
        if (sizes[i] > 0 && (parts->owned[i] = pm_calloc(sizes[i] + 8, 1)) == NULL) return false;
        parts->buffers[i] = parts->owned[i];
    }
    parts->children = pm_calloc(children + 1, sizeof *parts->children);
    parts->pointers = pm_calloc(children + 1, sizeof *parts->pointers);
    if (parts->children == NULL || parts->pointers == NULL) return false;
    for (size_t i = 0; i < children; i++)
        parts->pointers[i] = &parts->children[i];
    array->n_children = (int64_t)children;
    array->children = parts->pointers;
    return true;
}

static void *buffer(struct ArrowArray *array, int i)
{
    return ((array_parts *)array->private_data)->owned[i];
}

static void set_bit(uint8_t *bits, uint64_t i)
{
    bits[i / 8] |= (uint8_t)(1u << i % 8);
}

/* Bytes of all texts, and how many: values that are strings, or the strings in them. */
static void measure(const column *c, uint64_t rows, char format, size_t *texts, size_t *bytes)
{
    size_t size;
    *texts = *bytes = 0;
    for (uint64_t row = 0; row < rows; row++) {
        const char *p = c->values[row].data, *item;
        if (p == NULL) continue;
        const char *end = p + c->values[row].size;
        if (format == 'j') *bytes += c->values[row].size;
        if (format == 'U') (void)read_string(p, end, NULL, &size);
        if (format == 'U') *bytes += size;
        if (format != '+') continue;
        for (p++; (p = next_item(p, end, &item)) != NULL; ++*texts) {
            (void)read_string(item, p, NULL, &size);
            *bytes += size;
        }
    }
}

static void fill_texts(const column *c, uint64_t row, char format, struct ArrowArray *array)
{
    int64_t *ends = buffer(array, 1);
    const char *p = c->values[row].data, *item;
    int64_t at = ends[row];
    size_t size;
    ends[row + 1] = at;
    if (p == NULL) return;
    const char *end = p + c->values[row].size;
    if (format == 'U') {
        (void)read_string(p, end, (char *)buffer(array, 2) + at, &size);
        ends[row + 1] += (int64_t)size;
    } else if (format == 'j') {
        memcpy((char *)buffer(array, 2) + at, p, c->values[row].size);
        ends[row + 1] += (int64_t)c->values[row].size;
    } else {
        struct ArrowArray *items = array->children[0];
        int64_t *item_ends = buffer(items, 1);
        for (p++; (p = next_item(p, end, &item)) != NULL; at++) {
            (void)read_string(item, p, (char *)buffer(items, 2) + item_ends[at], &size);
            item_ends[at + 1] = item_ends[at] + (int64_t)size;
        }
        ends[row + 1] = at;
    }
}

static void fill_value(const column *c, uint64_t row, char format, struct ArrowArray *array)
{
    const pomai_bytes *value = &c->values[row];
    if (format == 'U' || format == 'j' || format == '+') fill_texts(c, row, format, array);
    if (value->data == NULL) {
        array->null_count++;
        return;
    }
    set_bit(buffer(array, 0), row);
    if (format == 'b' && *(const char *)value->data == 't') set_bit(buffer(array, 1), row);
    if (format == 'g') (void)read_float(value, (double *)buffer(array, 1) + row);
    if (format != 'l') return;
    const char *p = value->data, *end = p + value->size;
    const bool negative = *p == '-';
    uint64_t whole = 0;
    for (p += negative; p < end; p++)
        whole = whole * 10 + (uint64_t)(*p - '0');
    ((uint64_t *)buffer(array, 1))[row] = negative ? 0 - whole : whole;
}

/* Its key, its value and how long they are, in the machine's order. */
static const struct {
    int32_t pairs, key_size;
    char key[20];
    int32_t value_size;
    char value[10];
} json_says = {1, 20, "ARROW:extension:name", 10, "arrow.json"};

static bool make_column(decoder *d, column *c, struct ArrowSchema *schema, struct ArrowArray *array)
{
    for (uint64_t row = 0; row < d->rows; row++)
        if (c->values[row].data != NULL) c->seen |= kind_of(&c->values[row]);
    const char format = format_of(c->seen);
    const char *const formats[] = {"n", "b", "l", "g", "U", "U", "+L"};
    const char *letters = "nblgUj+";
    const size_t bits = d->rows / 8 + 1;
    size_t texts, bytes;
    measure(c, d->rows, format, &texts, &bytes);
    size_t sizes[3] = {bits, format == 'b' ? bits : (d->rows + 1) * 8, bytes + 1};
    const size_t item_sizes[3] = {0, (texts + 1) * 8, bytes + 1};
    int64_t buffers = 2;
    if (format == 'n') sizes[0] = sizes[1] = 0;
    if (format == 'n') buffers = 0;
    if (format == 'U' || format == 'j')
        buffers = 3;
    else
        sizes[2] = 0;
    if (!schema_make(schema, formats[strchr(letters, format) - letters], c->name, format == '+') ||
        !array_make(array, d->rows, buffers, sizes, format == '+'))
        return no_memory(d);
    if (format == 'j') schema->metadata = (const char *)&json_says;
    if (format == '+' &&
        (!schema_make(schema->children[0], "U", "item", 0) || !array_make(array->children[0], texts, 3, item_sizes, 0)))
        return no_memory(d);
    for (uint64_t row = 0; format != 'n' && row < d->rows; row++)
        fill_value(c, row, format, array);
    if (format == 'n') array->null_count = (int64_t)d->rows;
    return true;
}

static bool make_all(decoder *d, struct ArrowSchema *schema, struct ArrowArray *array)
{
    static const size_t none[3];
    if (!schema_make(schema, "+s", "", d->count) || !array_make(array, d->rows, 1, none, d->count)) return no_memory(d);
    schema->flags = 0;
    for (size_t i = 0; i < d->count; i++)
        if (!make_column(d, &d->columns[i], schema->children[i], array->children[i])) return false;
    return true;
}

pomai_status pm_documents_to_arrow(const pomai_bytes *documents, uint64_t rows, const char *const *paths, size_t count,
                                   struct ArrowSchema *schema, struct ArrowArray *array, pomai_error *err)
{
    decoder d = {.documents = documents, .rows = rows, .finding = paths == NULL, .err = err};
    bool good = rows <= INT64_MAX / 16 || no_memory(&d);
    for (size_t i = 0; good && paths != NULL && i < count; i++)
        good = read_path(&d, paths[i]);
    for (uint64_t row = 0; good && row < rows; row++)
        good = look_at(&d, row);
    *schema = (struct ArrowSchema){0};
    *array = (struct ArrowArray){0};
    good = good && make_all(&d, schema, array);
    if (!good && schema->release != NULL) schema->release(schema);
    if (!good && array->release != NULL) array->release(array);
    for (size_t i = 0; i < d.count; i++) {
        pm_free(d.columns[i].name);
        pm_free(d.columns[i].values);
        pm_filter_free(d.columns[i].path);
    }
    pm_free(d.columns);
    return good ? POMAI_OK : d.status;
}
