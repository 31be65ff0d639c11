/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a file of columns an Arrow file: two messages before them, a footer behind. The metadata are flatbuffers
 * (tables that point forward, each with a table of offsets before it), written by hand since their shape is fixed.
 * Apache Arrow, Columnar format 1.4, "IPC file format"; Schema.fbs, Message.fbs, File.fbs.
 */
#include <assert.h>
#include <string.h>

#include "storage/segment/segment_int.h"

/* ---- flatbuffers ---- */

typedef struct fb {
    uint8_t data[PM_SEG_META];
    uint32_t size;
} fb;

static uint32_t fb_take(fb *b, uint32_t alignment, uint32_t size)
{
    uint32_t at = (uint32_t)pm_align_up(b->size, alignment);
    assert(at + size <= sizeof b->data);
    b->size = at + size;
    return at;
}

static void fb_put(fb *b, uint32_t at, uint64_t value, uint32_t size)
{
    memcpy(b->data + at, &value, size); /* little-endian, as everything here */
}

static void fb_link(fb *b, uint32_t from, uint32_t to)
{
    fb_put(b, from, to - from, 4);
}

/* A table whose fields have these sizes, a digit each, 0: left out. Where they are goes to `at`. */
static uint32_t fb_table(fb *b, const char *sizes, uint32_t *at)
{
    uint32_t count = (uint32_t)strlen(sizes), index = 4 + 2 * count;
    b->size = (uint32_t)pm_align_up(b->size + index, 8);
    const uint32_t table = fb_take(b, 8, 4);
    fb_put(b, table - index, index, 2);
    fb_put(b, table, index, 4);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = (uint32_t)(sizes[i] - '0');
        if (size == 0) continue;
        at[i] = fb_take(b, size, size);
        fb_put(b, table - index + 4 + 2 * i, at[i] - table, 2);
    }
    fb_put(b, table - index + 2, b->size - table, 2);
    return table;
}

/* A vector whose elements have this size and alignment; the first element. */
static uint32_t fb_vector(fb *b, uint32_t from, uint32_t count, uint32_t size, uint32_t alignment)
{
    b->size = (uint32_t)pm_align_up(b->size + 4, alignment);
    uint32_t length = b->size - 4;
    fb_put(b, length, count, 4);
    fb_link(b, from, length);
    return fb_take(b, alignment, count * size);
}

static void fb_string(fb *b, uint32_t from, const char *text)
{
    uint32_t size = (uint32_t)strlen(text);
    uint32_t at = fb_vector(b, from, size, 1, 4);
    memcpy(b->data + at, text, size);
    (void)fb_take(b, 1, 1); /* the NUL */
}

/* ---- the schema ---- */

enum { TYPE_INT = 2, TYPE_FLOAT = 3, TYPE_BINARY = 4, TYPE_UTF8 = 5, TYPE_TIMESTAMP = 10, TYPE_LIST = 16 };
enum { HEADER_SCHEMA = 1, HEADER_BATCH = 3, VERSION_V5 = 4, NANOSECONDS = 3, NONE = PM_BUFFERS };
enum { HALF = 0, SINGLE = 1 };
enum { MOST_COLUMNS = 6, MOST_BUFFERS = 20 };

typedef struct column {
    const char *name;
    uint32_t type, bits; /* bits: of a number; of a list: its items */
    bool nullable;
    uint32_t valid, offsets, data; /* PM_BUF_ or NONE */
    uint64_t nulls;
    pomai_dtype dtype; /* of the items of a list */
} column;

static uint32_t columns_of(const pm_seg_shape *s, uint32_t file, column *c)
{
    uint32_t n = 0;
    if (file == PM_FILE_ATTRIBUTES) {
        uint32_t type = (s->flags & PM_SEGMENT_RAW_DOCUMENTS) != 0 ? TYPE_BINARY : TYPE_UTF8;
        c[n++] =
            (column){"document",        type, 0, true, PM_BUF_DOCUMENT_VALID, PM_BUF_DOCUMENT_OFFSETS, PM_BUF_DOCUMENT,
                     s->document_nulls, 0};
        return n;
    }
    if (s->id_kind == POMAI_ID_U64) {
        c[n++] = (column){"id", TYPE_INT, 64, false, NONE, NONE, PM_BUF_ID, 0, 0};
    } else {
        uint32_t type = (s->flags & PM_SEGMENT_RAW_IDS) != 0 ? TYPE_BINARY : TYPE_UTF8;
        c[n++] = (column){"id", type, 0, false, NONE, PM_BUF_ID_OFFSETS, PM_BUF_ID, 0, 0};
    }
    c[n++] = (column){"shard", TYPE_INT, 16, false, NONE, NONE, PM_BUF_SHARD, 0, 0};
    c[n++] = (column){"lsn", TYPE_INT, 64, false, NONE, NONE, PM_BUF_LSN, 0, 0};
    c[n++] = (column){"stamp", TYPE_TIMESTAMP, 64, false, NONE, NONE, PM_BUF_STAMP, 0, 0};
    if ((s->flags & PM_SEGMENT_EXPIRY) != 0)
        c[n++] =
            (column){"expiry", TYPE_TIMESTAMP, 64, true, PM_BUF_EXPIRY_VALID, NONE, PM_BUF_EXPIRY, s->expiry_nulls, 0};
    c[n++] = (column){"vector", TYPE_LIST, s->dim, false, NONE, NONE, PM_BUF_VECTOR, 0, s->dtype};
    return n;
}

static void put_type(fb *b, uint32_t from, const column *c)
{
    uint32_t at[2], table;
    if (c->type == TYPE_INT) {
        table = fb_table(b, "41", at);
        fb_put(b, at[0], c->bits, 4);
        fb_put(b, at[1], c->bits == 8, 1); /* signed: only the items of a list of int8 */
    } else if (c->type == TYPE_FLOAT) {
        table = fb_table(b, "2", at);
        fb_put(b, at[0], c->bits == 16 ? HALF : SINGLE, 2);
    } else if (c->type == TYPE_TIMESTAMP) {
        table = fb_table(b, "24", at);
        fb_put(b, at[0], NANOSECONDS, 2);
        fb_string(b, at[1], "UTC");
    } else if (c->type == TYPE_LIST) {
        table = fb_table(b, "4", at);
        fb_put(b, at[0], c->bits, 4);
    } else {
        table = fb_table(b, "", at);
    }
    fb_link(b, from, table);
}

static void put_field(fb *b, uint32_t from, const column *c)
{
    uint32_t at[6];
    fb_link(b, from, fb_table(b, "411404", at)); /* name, nullable, type's kind, type, dictionary, children */
    fb_string(b, at[0], c->name);
    fb_put(b, at[1], c->nullable, 1);
    fb_put(b, at[2], c->type, 1);
    put_type(b, at[3], c);
    if (c->type != TYPE_LIST) {
        (void)fb_vector(b, at[5], 0, 4, 4);
        return;
    }
    const uint32_t type = c->dtype == POMAI_DTYPE_INT8 ? TYPE_INT : TYPE_FLOAT;
    column item = {"item", type, 8 * pm_dtype_size(c->dtype), false, NONE, NONE, NONE, 0, 0};
    uint32_t child = fb_vector(b, at[5], 1, 4, 4), inner[6];
    fb_link(b, child, fb_table(b, "411404", inner));
    fb_string(b, inner[0], item.name);
    fb_put(b, inner[2], item.type, 1);
    put_type(b, inner[3], &item);
    (void)fb_vector(b, inner[5], 0, 4, 4);
}

static void put_schema(fb *b, uint32_t from, const column *c, uint32_t columns)
{
    uint32_t at[2];
    fb_link(b, from, fb_table(b, "24", at)); /* endianness: little, which is 0; fields */
    uint32_t fields = fb_vector(b, at[1], columns, 4, 4);
    for (uint32_t i = 0; i < columns; i++)
        put_field(b, fields + 4 * i, &c[i]);
}

static uint32_t put_message(fb *b, uint32_t header, uint64_t body)
{
    uint32_t at[4], root = fb_take(b, 4, 4);
    fb_link(b, root, fb_table(b, "2148", at)); /* version, header's kind, header, length of the body */
    fb_put(b, at[0], VERSION_V5, 2);
    fb_put(b, at[1], header, 1);
    fb_put(b, at[3], body, 8);
    return at[2];
}

/* ---- the batch ---- */

typedef struct batch {
    uint64_t node[MOST_COLUMNS + 1][2]; /* length, nulls */
    uint64_t buffer[MOST_BUFFERS][2];   /* offset, length */
    uint32_t nodes, buffers;
    uint64_t body;
} batch;

static void add_buffer(batch *t, pm_seg_plan *plan, uint32_t file, uint32_t which, uint64_t length)
{
    t->buffer[t->buffers][0] = t->body;
    t->buffer[t->buffers++][1] = which == NONE ? 0 : length;
    if (which == NONE) return;
    plan->buffer[which] = (pm_segment_buffer){file, 0, t->body, length}; /* the head is added later */
    t->body = pm_align_up(t->body + length, PM_SEGMENT_ALIGN);
}

static void add_node(batch *t, uint64_t length, uint64_t nulls)
{
    t->node[t->nodes][0] = length;
    t->node[t->nodes++][1] = nulls;
}

static void add_column(batch *t, pm_seg_plan *plan, uint32_t file, const pm_seg_shape *s, const column *c)
{
    add_node(t, s->rows, c->nulls);
    add_buffer(t, plan, file, c->valid, (s->rows + 7) / 8);
    if (c->type == TYPE_UTF8 || c->type == TYPE_BINARY) {
        add_buffer(t, plan, file, c->offsets, 4 * (s->rows + 1));
        add_buffer(t, plan, file, c->data, c->data == PM_BUF_ID ? s->id_bytes : s->document_bytes);
    } else if (c->type == TYPE_LIST) {
        add_node(t, s->rows * s->dim, 0);
        add_buffer(t, plan, file, NONE, 0);
        add_buffer(t, plan, file, c->data, s->rows * s->dim * pm_dtype_size(s->dtype));
    } else {
        add_buffer(t, plan, file, c->data, s->rows * c->bits / 8);
    }
}

static void put_batch(fb *b, const batch *t, uint64_t rows)
{
    uint32_t at[3], header = put_message(b, HEADER_BATCH, t->body);
    fb_link(b, header, fb_table(b, "844", at)); /* length, nodes, buffers */
    fb_put(b, at[0], rows, 8);
    uint32_t nodes = fb_vector(b, at[1], t->nodes, 16, 8);
    memcpy(b->data + nodes, t->node, t->nodes * sizeof t->node[0]);
    uint32_t buffers = fb_vector(b, at[2], t->buffers, 16, 8);
    memcpy(b->data + buffers, t->buffer, t->buffers * sizeof t->buffer[0]);
}

/* A message's length and metadata, so that what follows begins at a multiple of `alignment`; its size. */
static uint32_t add_message(pm_seg_frame *f, const fb *b, uint32_t alignment)
{
    uint32_t end = (uint32_t)pm_align_up(f->head_size + 8 + b->size, alignment);
    assert(end <= sizeof f->head);
    uint32_t prefix[2] = {0xffffffffu, end - f->head_size - 8};
    memcpy(f->head + f->head_size, prefix, 8);
    memcpy(f->head + f->head_size + 8, b->data, b->size);
    uint32_t size = end - f->head_size;
    f->head_size = end;
    return size;
}

static void make_tail(pm_seg_frame *f, const column *c, uint32_t columns, uint64_t message_at, uint32_t message_size,
                      uint64_t body)
{
    fb b = {.size = 0};
    uint32_t at[4], root = fb_take(&b, 4, 4);
    fb_link(&b, root, fb_table(&b, "2444", at)); /* version, schema, dictionaries, batches */
    fb_put(&b, at[0], VERSION_V5, 2);
    put_schema(&b, at[1], c, columns);
    (void)fb_vector(&b, at[2], 0, 24, 8);
    uint32_t block = fb_vector(&b, at[3], 1, 24, 8);
    fb_put(&b, block, message_at, 8);
    fb_put(&b, block + 8, message_size, 4);
    fb_put(&b, block + 16, body, 8);
    uint32_t size = (uint32_t)pm_align_up(b.size, 8), end[2] = {0xffffffffu, 0};
    assert(8 + size + 10 <= sizeof f->tail);
    memcpy(f->tail, end, 8); /* the end of the stream */
    memcpy(f->tail + 8, b.data, size);
    memcpy(f->tail + 8 + size, &size, 4);
    memcpy(f->tail + 8 + size + 4, "ARROW1", 6);
    f->tail_size = 8 + size + 10;
}

void pm_seg_plan_arrow(pm_seg_plan *plan, const pm_seg_shape *shape, uint32_t file)
{
    column c[MOST_COLUMNS];
    batch t = {.nodes = 0};
    pm_seg_frame *f = &plan->frame[file];
    const uint32_t columns = columns_of(shape, file, c);
    for (uint32_t i = 0; i < columns; i++)
        add_column(&t, plan, file, shape, &c[i]);
    memcpy(f->head, "ARROW1\0", 8);
    f->head_size = 8;
    fb schema = {.size = 0}, record = {.size = 0};
    put_schema(&schema, put_message(&schema, HEADER_SCHEMA, 0), c, columns);
    (void)add_message(f, &schema, 8);
    put_batch(&record, &t, shape->rows);
    const uint32_t message_at = f->head_size;
    const uint32_t message_size = add_message(f, &record, PM_SEGMENT_ALIGN);
    make_tail(f, c, columns, message_at, message_size, t.body);
    for (uint32_t i = 0; i < PM_BUFFERS; i++)
        if (plan->buffer[i].length > 0 && plan->buffer[i].file == file) plan->buffer[i].offset += f->head_size;
    plan->size[file] = f->head_size + t.body + f->tail_size;
}
