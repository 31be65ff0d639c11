/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is the same for all rows is done once, column by column: what the schema says, what can be checked of
 * an array, the key as it stands before each value, and each value of a dictionary when it is first met. Then row after
 * row is written in one pass.
 */
#include <string.h>

#include "arrow/arrow.h"
#include "arrow/column.h"
#include "arrow/number.h"
#include "arrow/text.h"
#include "base/dtype.h"
#include "filter/json.h"

enum {
    DEEPEST = 32,
    MOST_COLUMNS = 4096,
    BLOCK = 16,
    SLACK = 2 * BLOCK,
    UNSEEN = 1024 /* that a place may be too large */
};

/* The text of a value of a dictionary; size 0: not written yet. */
typedef struct cell {
    size_t at, size;
} cell;

typedef struct node {
    pm_arrow_column c;
    char *key; /* `{"name":` or `,"name":`, in whole blocks */
    size_t key_size;
    struct node *children; /* of a struct; of a list one */
    size_t count;
    struct node *values; /* of a dictionary */
    cell *cells;         /* one a value; NULL: there are more values than items */
    bool json;           /* text that is JSON */
    unsigned level;      /* of its values below the document, which dictionaries add nothing to */
} node;

typedef struct encoder {
    char *data; /* the array of documents, then their texts */
    size_t size, room;
    size_t most, first, limit; /* of all texts; `size` when the row began, and what it may be at its end */
    char *kept;                /* texts of dictionaries */
    size_t kept_size, kept_room;
    const char *name; /* of the column of the first level */
    int64_t row;      /* -1: the schema is looked at */
    uint64_t columns; /* of all levels */
    pomai_status status;
    pomai_error *err;
} encoder;

/* ---- refusals: all return false ---- */

static bool refuse(encoder *e, const char *what)
{
    if (e->row < 0)
        e->status = pm_fail(e->err, POMAI_EINVAL, "column '%.80s': %s", e->name, what);
    else
        e->status = pm_fail(e->err, POMAI_EINVAL, "column '%.80s', row %lld: %s", e->name, (long long)e->row, what);
    return false;
}

static bool malformed(encoder *e, const char *what)
{
    e->status = pm_fail(e->err, POMAI_EINVAL, "column '%.80s': %s: whoever made it broke the Arrow C data interface",
                        e->name, what);
    return false;
}

static bool no_memory(encoder *e)
{
    e->status = pm_fail(e->err, POMAI_ENOMEM, "no memory for the documents of the columns");
    return false;
}

/* ---- what grows ---- */

/* Nested lists may have the same items over and over: a text is not to be much larger than what a put takes. */
static bool too_big(encoder *e)
{
    const bool alone = e->limit - e->first >= POMAI_MAX_BATCH_BYTES; /* and so no matter what else is in the batch */
    e->status =
        alone ? pm_fail(e->err, POMAI_ETOOBIG,
                        "the document of row %lld has more than %u bytes (64 MiB), which no row may: shorten it",
                        (long long)e->row, POMAI_MAX_BATCH_BYTES)
              : pm_fail(e->err, POMAI_ETOOBIG,
                        "the documents of the rows up to %lld are too large: a batch has at most %u bytes (64 MiB); "
                        "split it",
                        (long long)e->row, POMAI_MAX_BATCH_BYTES);
    return false;
}

/* Makes room for `more` bytes and some beyond them. */
static bool grow(encoder *e, char **data, size_t size, size_t *room, size_t more)
{
    size_t wanted = *room < 4096 ? 4096 : *room;
    if (more > SIZE_MAX / 4 || size > SIZE_MAX / 4) return no_memory(e);
    while (wanted < size + more + SLACK)
        wanted *= 2;
    char *grown = pm_realloc(*data, wanted);
    if (grown == NULL) return no_memory(e);
    *data = grown;
    *room = wanted;
    return true;
}

static bool grow_data(encoder *e, size_t more)
{
    if (e->size > e->limit || more > e->limit - e->size + UNSEEN) return too_big(e);
    return grow(e, &e->data, e->size, &e->room, more);
}

/* The place for the next `more` bytes, to be handed to `done` with the place behind what was written; or NULL. */
static inline char *place(encoder *e, size_t more)
{
    if (more > e->room - e->size - SLACK && !grow_data(e, more)) return NULL;
    return e->data + e->size;
}

static inline void done(encoder *e, const char *end)
{
    e->size = (size_t)(end - e->data);
}

/* In whole blocks on both sides: the text has one more behind it, and so has every place. */
static inline char *copy_blocks(char *at, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i += BLOCK)
        memcpy(at + i, text + i, BLOCK);
    return at + size;
}

static bool add(encoder *e, const char *text, size_t size)
{
    char *at = place(e, size);
    if (at == NULL) return false;
    memcpy(at, text, size);
    e->size += size;
    return true;
}

/* ---- values ---- */

static bool add_value(encoder *e, node *n, int64_t i);

static bool add_float(encoder *e, const node *n, const char *from)
{
    double value;
    float narrow = 0;
    uint16_t half;
    if (n->c.size == 8) {
        memcpy(&value, from, sizeof value);
    } else if (n->c.size == 4) {
        memcpy(&narrow, from, sizeof narrow);
        value = (double)narrow;
    } else {
        memcpy(&half, from, sizeof half);
        narrow = pm_f16_to_f32(half);
        value = (double)narrow;
    }
    if (!(value - value == 0)) return refuse(e, "NaN and infinity have no JSON; make them null");
    char *at = place(e, PM_NUMBER_ROOM);
    if (at == NULL) return false;
    done(e, n->c.size == 8 ? pm_write_f64(at, value) : pm_write_f32(at, narrow, n->c.size == 4 ? 6 : 4));
    return true;
}

static bool add_whole(encoder *e, const node *n, const char *from)
{
    const int shift = (int)(64 - 8 * n->c.size);
    uint64_t bits = 0;
    switch (n->c.size) { /* each of its own, so that it is one load */
    case 8:
        memcpy(&bits, from, 8);
        break;
    case 4:
        memcpy(&bits, from, 4);
        break;
    case 2:
        memcpy(&bits, from, 2);
        break;
    default:
        memcpy(&bits, from, 1);
    }
    char *at = place(e, PM_NUMBER_ROOM);
    if (at == NULL) return false;
    done(e, n->c.number == 'u' ? pm_write_u64(at, bits) : pm_write_i64(at, (int64_t)(bits << shift) >> shift));
    return true;
}

static bool add_string(encoder *e, const char *data, size_t size)
{
    const size_t room = pm_string_room(data, size);
    char *at = place(e, room);
    if (at == NULL) return false;
    const char *end = pm_write_string(at, room, data, size);
    if (end == NULL) return refuse(e, "the text is not UTF-8, or changes while it is read");
    done(e, end);
    return true;
}

/* As it stands, but for blanks around it. What is looked at is the copy, which no other thread changes. */
static bool add_json(encoder *e, const node *n, const char *data, size_t size)
{
    char *at = place(e, size);
    if (at == NULL) return false;
    memcpy(at, data, size);
    const char *end = at + size, *from = pm_filter_blank(at, end);
    bool escapes = false;
    const char *behind = from == end ? NULL : pm_filter_skip_value(from, end, n->level, &escapes);
    if (behind == NULL || pm_filter_blank(behind, end) != end)
        return refuse(e, "the text is not JSON, or makes a document that is nested more than 1,024 deep");
    memmove(at, from, (size_t)(behind - from));
    done(e, at + (behind - from));
    return true;
}

static bool add_bytes(encoder *e, const node *n, int64_t i)
{
    pomai_bytes bytes;
    const char *wrong = pm_arrow_bytes(&n->c, i, &bytes);
    if (wrong != NULL) return malformed(e, wrong);
    return n->json ? add_json(e, n, bytes.data, bytes.size) : add_string(e, bytes.data, bytes.size);
}

static bool add_time(encoder *e, const node *n, int64_t i)
{
    const int64_t value = pm_arrow_int(&n->c, i), unit = n->c.unit;
    char *at = place(e, PM_TIME_ROOM);
    if (at == NULL) return false;
    if (n->c.kind == PM_ARROW_CLOCK) {
        if (value < 0 || value >= 86400 * unit) return refuse(e, "the time is not within a day");
        at = pm_write_clock(at, value, unit);
    } else if (n->c.kind == PM_ARROW_DAYS) {
        at = pm_write_date(at, value);
    } else {
        at = pm_write_time(at, value, unit, strcmp(n->c.schema->format, "tdm") == 0, n->c.zoned);
    }
    if (at == NULL) return refuse(e, "the time is out of range");
    done(e, at);
    return true;
}

static bool add_list(encoder *e, node *n, int64_t i)
{
    int64_t first, count;
    const char *wrong = pm_arrow_list(&n->c, i, &first, &count);
    if (wrong != NULL) return malformed(e, wrong);
    for (int64_t j = 0; j < count; j++)
        if (!add(e, j == 0 ? "[" : ",", 1) || !add_value(e, n->children, first + j)) return false;
    return count == 0 ? add(e, "[]", 2) : add(e, "]", 1);
}

static bool add_struct(encoder *e, node *n, int64_t i)
{
    for (size_t j = 0; j < n->count; j++) {
        node *child = &n->children[j];
        char *at = place(e, child->key_size);
        if (at == NULL) return false;
        done(e, copy_blocks(at, child->key, child->key_size));
        if (!add_value(e, child, i)) return false;
    }
    return n->count == 0 ? add(e, "{}", 2) : add(e, "}", 1);
}

/* Remembers the last `size` bytes that were written. */
static bool keep(encoder *e, cell *to, size_t size)
{
    if (e->kept_room - e->kept_size < size + SLACK && !grow(e, &e->kept, e->kept_size, &e->kept_room, size))
        return false;
    memcpy(e->kept + e->kept_size, e->data + e->size - size, size);
    *to = (cell){e->kept_size, size};
    e->kept_size += size;
    return true;
}

static bool add_coded(encoder *e, node *n, int64_t i)
{
    int64_t code;
    const char *wrong = pm_arrow_code(&n->c, i, &code);
    if (wrong != NULL) return malformed(e, wrong);
    if (n->cells == NULL) return add_value(e, n->values, code);
    cell *known = &n->cells[code];
    if (known->size == 0) {
        const size_t before = e->size;
        return add_value(e, n->values, code) && keep(e, known, e->size - before);
    }
    char *at = place(e, known->size);
    if (at == NULL) return false;
    done(e, copy_blocks(at, e->kept + known->at, known->size));
    return true;
}

/* Of 8 bytes, copied all of them. */
static bool add_word(encoder *e, const char *text, size_t size)
{
    char *at = place(e, 8);
    if (at == NULL) return false;
    memcpy(at, text, 8);
    e->size += size;
    return true;
}

static bool add_value(encoder *e, node *n, int64_t i)
{
    if (pm_arrow_is_null(&n->c, i)) return add_word(e, "null\0\0\0", 4);
    if (n->values != NULL) return add_coded(e, n, i);
    switch (n->c.kind) {
    case PM_ARROW_BOOL: {
        const uint64_t bit = (uint64_t)(n->c.start + i);
        const size_t truth = ((const unsigned char *)n->c.array->buffers[1])[bit / 8] >> bit % 8 & 1;
        return add_word(e, truth != 0 ? "true\0\0\0" : "false\0\0", 5 - truth);
    }
    case PM_ARROW_NUMBER: {
        const char *from = pm_arrow_number(&n->c, i);
        return n->c.number == 'f' ? add_float(e, n, from) : add_whole(e, n, from);
    }
    case PM_ARROW_BYTES:
        return add_bytes(e, n, i);
    case PM_ARROW_LIST:
    case PM_ARROW_FIXED:
        return add_list(e, n, i);
    case PM_ARROW_STRUCT:
        return add_struct(e, n, i);
    default:
        return add_time(e, n, i);
    }
}

/* ---- columns ---- */

static void free_node(node *n)
{
    for (size_t i = 0; i < n->count; i++)
        free_node(&n->children[i]);
    if (n->values != NULL) free_node(n->values);
    pm_free(n->children);
    pm_free(n->values);
    pm_free(n->cells);
    pm_free(n->key);
}

static const char *read_length(const char *p, int32_t *length)
{
    memcpy(length, p, sizeof *length);
    return p + sizeof *length;
}

/* Whether the metadata of a schema (numbers in the machine's order, keys and values without an end) says arrow.json. */
static bool is_json(const char *p)
{
    static const char key[] = "ARROW:extension:name", value[] = "arrow.json";
    int32_t pairs = 0, size;
    if (p != NULL) p = read_length(p, &pairs);
    while (pairs-- > 0) {
        p = read_length(p, &size);
        if (size < 0) return false;
        const bool named = size == sizeof key - 1 && memcmp(p, key, sizeof key - 1) == 0;
        p = read_length(p + size, &size);
        if (size < 0) return false;
        if (named) return size == sizeof value - 1 && memcmp(p, value, sizeof value - 1) == 0;
        p += size;
    }
    return false;
}

static bool can_hold(const pm_arrow_column *c)
{
    return c->kind == PM_ARROW_BYTES ? c->text : c->kind != PM_ARROW_OTHER;
}

static bool take(encoder *e, node *n, const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t start,
                 int64_t length, int depth);

static bool take_key(encoder *e, node *n, bool first)
{
    const char *name = n->c.schema->name == NULL ? "" : n->c.schema->name;
    const size_t size = strlen(name), room = pm_string_room(name, size);
    if (room == SIZE_MAX) return no_memory(e);
    n->key = pm_malloc(room + 2 + BLOCK);
    if (n->key == NULL) return no_memory(e);
    n->key[0] = first ? '{' : ',';
    char *end = pm_write_string(n->key + 1, room, name, size);
    if (end == NULL) return refuse(e, "its name is not UTF-8");
    *end++ = ':';
    n->key_size = (size_t)(end - n->key);
    memset(end, 0, BLOCK);
    return true;
}

static bool take_children(encoder *e, node *n, int depth)
{
    const struct ArrowSchema *s = n->c.schema;
    const struct ArrowArray *a = n->c.array;
    const bool object = n->c.kind == PM_ARROW_STRUCT;
    if (s->n_children < 0 || (!object && s->n_children != 1) || (s->n_children > 0 && s->children == NULL))
        return malformed(e, "a list or struct without its children");
    if ((e->columns += (uint64_t)s->n_children) > MOST_COLUMNS)
        return refuse(e, "there are more than 4,096 columns, with those in structs and lists");
    n->children = pm_calloc((size_t)s->n_children + 1, sizeof *n->children);
    if (n->children == NULL) return no_memory(e);
    for (int64_t i = 0; i < s->n_children; i++) {
        node *child = &n->children[n->count++];
        if (s->children[i] == NULL || s->children[i]->format == NULL) return malformed(e, "a child has no type");
        if (depth == 0) e->name = s->children[i]->name == NULL ? "" : s->children[i]->name;
        const struct ArrowArray *part = a == NULL ? NULL : a->children[i];
        const int64_t start = object ? n->c.start : 0, length = object || part == NULL ? n->c.length : part->length;
        child->level = n->level + 1;
        if (!take(e, child, s->children[i], part, start, length, depth + 1)) return false;
        if (object && !take_key(e, child, i == 0)) return false;
    }
    for (size_t i = 0; object && i < n->count; i++)
        for (size_t j = 0; j < i; j++)
            if (n->children[i].key_size == n->children[j].key_size &&
                memcmp(n->children[i].key + 1, n->children[j].key + 1, n->children[i].key_size - 1) == 0)
                return refuse(e, "two columns have the same name");
    return true;
}

static bool take_dictionary(encoder *e, node *n, int depth)
{
    const struct ArrowSchema *s = n->c.schema->dictionary;
    const struct ArrowArray *a = n->c.array == NULL ? NULL : n->c.array->dictionary;
    const int64_t length = a == NULL ? 0 : a->length;
    if (s->dictionary != NULL) return malformed(e, "the values of its dictionary are in a dictionary");
    n->values = pm_calloc(1, sizeof *n->values);
    if (n->values == NULL) return no_memory(e);
    n->values->level = n->level;
    if (!take(e, n->values, s, a, 0, length, depth + 1)) return false;
    if (length == 0 || length > n->c.length) return true;
    n->cells = pm_calloc((size_t)length, sizeof *n->cells);
    return n->cells != NULL || no_memory(e);
}

static bool take(encoder *e, node *n, const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t start,
                 int64_t length, int depth)
{
    if (depth > DEEPEST) return refuse(e, "it is nested too deeply");
    const char *wrong = pm_arrow_column_take(e->name, schema, array, start, length, &n->c);
    if (wrong != NULL) return malformed(e, wrong);
    if (schema->dictionary != NULL) return take_dictionary(e, n, depth);
    if (!can_hold(&n->c)) {
        char type[PM_ARROW_TYPE_NAME];
        e->status = pm_fail(e->err, POMAI_EINVAL,
                            "column '%.80s' is of the Arrow type %s, which metadata cannot hold: cast it to a "
                            "number, string or date, or leave it out",
                            e->name, pm_arrow_type_name(schema, type));
        return false;
    }
    n->json = n->c.kind == PM_ARROW_BYTES && is_json(schema->metadata);
    if (n->c.kind == PM_ARROW_STRUCT || n->c.kind == PM_ARROW_LIST || n->c.kind == PM_ARROW_FIXED)
        return take_children(e, n, depth);
    return true;
}

/* ---- rows ---- */

static bool begin(encoder *e, const node *top, uint64_t rows)
{
    uint64_t head, room, a_row = 4;
    for (size_t i = 0; i < top->count; i++)
        a_row += top->children[i].key_size + 12;
    if (pm_mul_overflows(rows, sizeof(pomai_bytes), &head) || pm_mul_overflows(rows, a_row, &room) ||
        pm_add_overflows(room, head, &room) || room > SIZE_MAX / 4)
        return no_memory(e);
    if (e->most > SIZE_MAX - head) e->most = SIZE_MAX - head;
    e->most += head;
    e->size = head;
    return grow(e, &e->data, head, &e->room, pm_min_u64(room, e->most) - head);
}

static bool add_rows(encoder *e, node *top, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        e->row = i;
        e->first = e->size;
        e->limit =
            e->size > e->most || e->most - e->size < POMAI_MAX_BATCH_BYTES ? e->most : e->size + POMAI_MAX_BATCH_BYTES;
        if (!pm_arrow_is_null(&top->c, i) && !add_struct(e, top, i)) return false;
        if (e->size > e->limit) return too_big(e);
        ((pomai_bytes *)(void *)e->data)[i].size = e->size - e->first;
    }
    return true;
}

/* Only now, as the memory has stopped moving. */
static pomai_bytes *finish(encoder *e, int64_t rows)
{
    pomai_bytes *documents = (pomai_bytes *)(void *)e->data;
    const char *at = e->data + (size_t)rows * sizeof *documents;
    for (int64_t i = 0; i < rows; at += documents[i++].size)
        documents[i].data = documents[i].size == 0 ? NULL : at;
    return documents;
}

pomai_status pm_documents_from_arrow(const struct ArrowSchema *schema, const struct ArrowArray *array,
                                     uint64_t most_bytes, pomai_bytes **documents, pomai_error *err)
{
    encoder e = {.name = "(all of them)", .row = -1, .most = most_bytes, .err = err};
    node top = {0};
    *documents = NULL;
    if (schema->release == NULL || (array != NULL && array->release == NULL))
        return pm_fail(err, POMAI_EINVAL, "the Arrow schema or array has been released");
    if (schema->format == NULL || strcmp(schema->format, "+s") != 0 || schema->dictionary != NULL)
        return pm_fail(err, POMAI_EINVAL,
                       "metadata is to be a struct array of Arrow ('+s'), a child a key; it is '%.40s'",
                       schema->format == NULL ? "" : schema->format);
    const int64_t rows = array == NULL ? 0 : array->length;
    bool good = take(&e, &top, schema, array, 0, rows, 0);
    if (good && array != NULL) good = begin(&e, &top, (uint64_t)rows) && add_rows(&e, &top, rows);
    if (good && array != NULL) *documents = finish(&e, rows);
    if (!good) pm_free(e.data);
    pm_free(e.kept);
    free_node(&top);
    return good ? POMAI_OK : e.status;
}
