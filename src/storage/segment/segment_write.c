/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a segment: one pass over the rows to know the sizes, then one a column, straight to the files. Invariants:
 *  1. Nothing is returned as written before every file, its name and the directory's name are synced.
 *  2. Memory does not grow with the rows, but for ids.idx.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "storage/segment/segment_int.h"

enum { SAMPLE = 4096, GATHER = 256 };

/* ---- the first pass ---- */

typedef struct edge_id {
    uint32_t size;
    uint8_t bytes[POMAI_MAX_STRING_ID];
} edge_id;

typedef struct survey {
    pm_seg_shape shape;
    uint64_t min_id, max_id;
    edge_id min_text, max_text;
    uint64_t first_expiry, min_stamp, max_stamp;
    pm_segment_shard_range range[PM_MAX_SHARDS];
    double norms[SAMPLE];
    uint32_t sampled;
} survey;

static int compare_text(const edge_id *a, const pm_id *b)
{
    int c = memcmp(a->bytes, b->bytes, pm_min_u64(a->size, b->size));
    return c != 0 ? c : a->size < b->size ? -1 : a->size > b->size;
}

static void keep_text(edge_id *to, const pm_id *id)
{
    to->size = id->size;
    memcpy(to->bytes, id->bytes, id->size);
}

static void survey_id(survey *s, const pm_id *id)
{
    if (id->bytes == NULL) {
        s->min_id = pm_min_u64(s->min_id, id->u64);
        s->max_id = pm_max_u64(s->max_id, id->u64);
        return;
    }
    s->shape.id_bytes += id->size;
    if ((s->shape.flags & PM_SEGMENT_RAW_IDS) == 0 && !pm_seg_is_utf8(id->bytes, id->size))
        s->shape.flags |= PM_SEGMENT_RAW_IDS;
    if (s->min_text.size == 0 || compare_text(&s->min_text, id) > 0) keep_text(&s->min_text, id);
    if (s->max_text.size == 0 || compare_text(&s->max_text, id) < 0) keep_text(&s->max_text, id);
}

static void survey_row(survey *s, const pm_segment_row *row)
{
    pm_segment_shard_range *range = &s->range[row->shard];
    range->min_lsn = range->rows++ == 0 ? row->lsn : pm_min_u64(range->min_lsn, row->lsn);
    range->max_lsn = pm_max_u64(range->max_lsn, row->lsn);
    s->min_stamp = pm_min_u64(s->min_stamp, row->stamp);
    s->max_stamp = pm_max_u64(s->max_stamp, row->stamp);
    if (row->expiry == 0)
        s->shape.expiry_nulls++;
    else if (s->first_expiry == 0 || row->expiry < s->first_expiry)
        s->first_expiry = row->expiry;
    s->shape.document_bytes += row->document.size;
    s->shape.document_nulls += row->document.size == 0;
    if ((s->shape.flags & PM_SEGMENT_RAW_DOCUMENTS) == 0 && !pm_seg_is_utf8(row->document.data, row->document.size))
        s->shape.flags |= PM_SEGMENT_RAW_DOCUMENTS;
}

static double element(pomai_dtype dtype, const void *vector, uint32_t d)
{
    if (dtype == POMAI_DTYPE_INT8) return ((const int8_t *)vector)[d];
    return (double)(dtype == POMAI_DTYPE_FLOAT16 ? pm_f16_to_f32(((const uint16_t *)vector)[d])
                                                 : ((const float *)vector)[d]);
}

static void survey_norm(survey *s, const pm_segment_write *in, uint64_t i, const void *vector)
{
    const uint64_t every = (in->rows + SAMPLE - 1) / SAMPLE;
    if (i % every != 0 || s->sampled == SAMPLE) return;
    double sum = 0;
    for (uint32_t d = 0; d < in->place->dim; d++) {
        const double x = element(in->place->dtype, vector, d);
        sum += x * x;
    }
    s->norms[s->sampled++] = sqrt(sum);
}

static pomai_status survey_rows(survey *s, const pm_segment_write *in, pomai_error *err)
{
    const pm_segment_place *p = in->place;
    s->shape = (pm_seg_shape){.rows = in->rows, .dim = p->dim, .dtype = p->dtype, .id_kind = p->id_kind};
    s->min_id = s->min_stamp = UINT64_MAX;
    for (uint64_t i = 0; i < in->rows; i++) {
        pm_segment_row row;
        pomai_status status = in->row(in->context, i, PM_SEG_ALL, &row, err);
        if (status != POMAI_OK) return status;
        const bool text = p->id_kind == POMAI_ID_STRING;
        if (row.shard >= p->shards || row.lsn == 0 || (row.id.bytes != NULL) != text ||
            (text && (row.id.size == 0 || row.id.size > POMAI_MAX_STRING_ID)))
            return pm_fail(err, POMAI_EINTERNAL, "a row of collection %u cannot be in a segment", p->collection);
        survey_id(s, &row.id);
        survey_row(s, &row);
        survey_norm(s, in, i, row.vector);
    }
    if (s->shape.id_bytes > PM_SEG_MOST_TEXT || s->shape.document_bytes > PM_SEG_MOST_TEXT)
        return pm_fail(err, POMAI_ETOOBIG,
                       "a segment of collection %u would have %llu bytes of ids and %llu of documents, at most %d of "
                       "each: merge fewer rows",
                       p->collection, (unsigned long long)s->shape.id_bytes,
                       (unsigned long long)s->shape.document_bytes, PM_SEG_MOST_TEXT);
    if (s->first_expiry != 0)
        s->shape.flags |= PM_SEGMENT_EXPIRY;
    else
        s->shape.expiry_nulls = 0;
    if (s->shape.document_bytes > 0)
        s->shape.flags |= PM_SEGMENT_DOCUMENTS;
    else
        s->shape.document_nulls = 0;
    return POMAI_OK;
}

/* ---- columns ---- */

typedef struct cells {
    uint64_t length; /* of a text column so far */
    uint8_t bits;    /* of a validity bitmap */
} cells;

static pomai_status put_offset(pm_seg_out *out, cells *c, uint64_t i, uint64_t size)
{
    uint32_t offsets[2] = {0, 0};
    c->length += size;
    offsets[1] = (uint32_t)c->length;
    return i == 0 ? pm_seg_out_put(out, offsets, 8) : pm_seg_out_put(out, &offsets[1], 4);
}

static pomai_status put_bit(pm_seg_out *out, cells *c, uint64_t i, bool set, bool last)
{
    c->bits |= (uint8_t)(set << (i & 7));
    if ((i & 7) != 7 && !last) return POMAI_OK;
    const uint8_t bits = c->bits;
    c->bits = 0;
    return pm_seg_out_put(out, &bits, 1);
}

/* What a column of the file needs of a row. */
static uint32_t needed_by(uint32_t column)
{
    switch (column) {
    case PM_BUF_ID_OFFSETS:
    case PM_BUF_ID:
        return PM_SEG_ID;
    case PM_BUF_SHARD:
        return PM_SEG_SHARD;
    case PM_BUF_LSN:
        return PM_SEG_LSN;
    case PM_BUF_STAMP:
        return PM_SEG_STAMP;
    case PM_BUF_EXPIRY_VALID:
    case PM_BUF_EXPIRY:
        return PM_SEG_EXPIRY;
    case PM_BUF_VECTOR:
        return PM_SEG_VECTOR;
    default:
        return PM_SEG_DOCUMENT;
    }
}

static pomai_status put_cell(pm_seg_out *out, uint32_t column, cells *c, uint64_t i, const pm_segment_row *row)
{
    switch (column) {
    case PM_BUF_ID:
        return pm_seg_out_put(out, row->id.bytes, row->id.size);
    case PM_BUF_ID_OFFSETS:
        return put_offset(out, c, i, row->id.size);
    case PM_BUF_EXPIRY_VALID:
        return put_bit(out, c, i, row->expiry != 0, i + 1 == out->in->rows);
    case PM_BUF_VECTOR:
        return pm_seg_out_put(out, row->vector, (size_t)out->in->place->dim * pm_dtype_size(out->in->place->dtype));
    case PM_BUF_DOCUMENT_VALID:
        return put_bit(out, c, i, row->document.size > 0, i + 1 == out->in->rows);
    case PM_BUF_DOCUMENT_OFFSETS:
        return put_offset(out, c, i, row->document.size);
    default:
        return pm_seg_out_put(out, row->document.data, row->document.size);
    }
}

static pomai_status put_cells(pm_seg_out *out, uint32_t column)
{
    const pm_segment_write *in = out->in;
    const uint32_t needed = needed_by(column);
    cells c = {0, 0};
    pomai_status status = POMAI_OK;
    for (uint64_t i = 0; i < in->rows && status == POMAI_OK; i++) {
        pm_segment_row row;
        status = in->row(in->context, i, needed, &row, out->err);
        if (status == POMAI_OK) status = put_cell(out, column, &c, i, &row);
    }
    return status;
}

/* A number a row, GATHER of them at a time. */
static pomai_status put_numbers(pm_seg_out *out, uint32_t column)
{
    const pm_segment_write *in = out->in;
    const uint32_t needed = needed_by(column);
    uint64_t numbers[GATHER];
    uint16_t shards[GATHER];
    const bool narrow = column == PM_BUF_SHARD;
    for (uint64_t first = 0, n; first < in->rows; first += n) {
        n = pm_min_u64(GATHER, in->rows - first);
        for (uint64_t i = 0; i < n; i++) {
            pm_segment_row row;
            pomai_status status = in->row(in->context, first + i, needed, &row, out->err);
            if (status != POMAI_OK) return status;
            if (narrow)
                shards[i] = (uint16_t)row.shard;
            else
                numbers[i] = column == PM_BUF_ID      ? row.id.u64
                             : column == PM_BUF_LSN   ? row.lsn
                             : column == PM_BUF_STAMP ? row.stamp
                                                      : row.expiry;
        }
        pomai_status status = narrow ? pm_seg_out_put(out, shards, n * sizeof shards[0])
                                     : pm_seg_out_put(out, numbers, n * sizeof numbers[0]);
        if (status != POMAI_OK) return status;
    }
    return POMAI_OK;
}

static pomai_status put_column(pm_seg_out *out, const pm_segment_buffer *buffer, uint32_t column)
{
    pomai_status status = pm_seg_out_pad(out, buffer->offset);
    if (status != POMAI_OK) return status;
    if (column == PM_BUF_SHARD || column == PM_BUF_LSN || column == PM_BUF_STAMP || column == PM_BUF_EXPIRY ||
        (column == PM_BUF_ID && out->in->place->id_kind == POMAI_ID_U64))
        status = put_numbers(out, column);
    else
        status = put_cells(out, column);
    if (status == POMAI_OK && out->offset + out->used != buffer->offset + buffer->length)
        status = pm_fail(out->err, POMAI_EINTERNAL, "the rows changed while %s was written", out->path);
    return status;
}

static pomai_status put_columns(pm_seg_out *out, const pm_seg_plan *plan, uint32_t file)
{
    const pm_seg_frame *f = &plan->frame[file];
    pomai_status status = pm_seg_out_put(out, f->head, f->head_size);
    for (uint32_t i = 0; i < PM_BUFFERS && status == POMAI_OK; i++)
        if (plan->buffer[i].length > 0 && plan->buffer[i].file == file) status = put_column(out, &plan->buffer[i], i);
    if (status == POMAI_OK) status = pm_seg_out_pad(out, plan->size[file] - f->tail_size);
    return status == POMAI_OK ? pm_seg_out_put(out, f->tail, f->tail_size) : status;
}

/* ---- stats.json ---- */

static int compare_norms(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void add_number(pm_text *t, const char *name, uint64_t value)
{
    pm_text_add(t, ", \"%s\": %llu", name, (unsigned long long)value);
}

/* JSON's decimal point, whatever the application's locale has in its place. */
static void add_decimal(pm_text *t, double value)
{
    char text[40];
    size_t to = 0;
    snprintf(text, sizeof text, "%.9g", value);
    for (size_t i = 0; text[i] != '\0'; i++) {
        const char c = text[i];
        const bool point = strchr("0123456789+-e", c) == NULL;
        if (!point || to == 0 || text[to - 1] != '.') text[to++] = point ? '.' : c;
    }
    text[to] = '\0';
    pm_text_add(t, "%s", text);
}

static void add_norms(pm_text *t, survey *s)
{
    static const int percents[] = {0, 1, 10, 50, 90, 99, 100};
    uint32_t finite = 0;
    for (uint32_t i = 0; i < s->sampled; i++)
        if (isfinite(s->norms[i])) s->norms[finite++] = s->norms[i];
    qsort(s->norms, finite, sizeof s->norms[0], compare_norms);
    pm_text_add(t, ", \"norms\": {\"sampled\": %u", finite);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0] && finite > 0; i++) {
        pm_text_add(t, ", \"p%d\": ", percents[i]);
        add_decimal(t, s->norms[(uint64_t)percents[i] * (finite - 1) / 100]);
    }
    pm_text_add(t, "}");
}

static void make_stats(pm_text *t, survey *s, const pm_segment_write *in, const pm_seg_plan *plan)
{
    pm_text_add(t, "{\"collection\": %u", in->place->collection);
    add_number(t, "segment", in->place->number);
    add_number(t, "rows", in->rows);
    add_number(t, "dim", in->place->dim);
    pm_text_add(t, ", \"dtype\": \"%s\"", pm_dtype_name(in->place->dtype));
    add_number(t, "bytes", plan->size[PM_FILE_VECTORS] + plan->size[PM_FILE_ATTRIBUTES] + plan->size[PM_FILE_IDS]);
    if (s->shape.id_kind == POMAI_ID_U64) {
        add_number(t, "min_id", s->min_id);
        add_number(t, "max_id", s->max_id);
    } else {
        pm_text_add(t, ", \"min_id\": ");
        pm_text_add_json(t, (const char *)s->min_text.bytes, s->min_text.size);
        pm_text_add(t, ", \"max_id\": ");
        pm_text_add_json(t, (const char *)s->max_text.bytes, s->max_text.size);
        add_number(t, "id_bytes", s->shape.id_bytes);
    }
    add_number(t, "min_stamp", s->min_stamp);
    add_number(t, "max_stamp", s->max_stamp);
    const bool expire = s->first_expiry != 0, documents = s->shape.document_bytes > 0;
    add_number(t, "expiring", expire ? in->rows - s->shape.expiry_nulls : 0);
    if (expire) add_number(t, "first_expiry", s->first_expiry);
    add_number(t, "documents", documents ? in->rows - s->shape.document_nulls : 0);
    add_number(t, "document_bytes", s->shape.document_bytes);
    add_norms(t, s);
    const char *comma = "";
    pm_text_add(t, ", \"shards\": [");
    for (uint32_t i = 0; i < in->place->shards; i++) {
        const pm_segment_shard_range *r = &s->range[i];
        if (r->rows == 0) continue;
        pm_text_add(t, "%s{\"shard\": %u, \"rows\": %llu, \"min_lsn\": %llu, \"max_lsn\": %llu}", comma, i,
                    (unsigned long long)r->rows, (unsigned long long)r->min_lsn, (unsigned long long)r->max_lsn);
        comma = ", ";
    }
    pm_text_add(t, "]}\n");
}

/* ---- SEGMENT ---- */

typedef struct meta {
    uint8_t *bytes;
    uint64_t length, blocks;
    uint64_t block_count[PM_FILES];
    uint32_t *crc[PM_FILES]; /* in bytes */
} meta;

static pomai_status meta_make(meta *m, const pm_segment_write *in, const pm_seg_plan *plan, const pm_seg_shape *shape,
                              survey *s, pomai_error *err)
{
    const uint64_t tables = sizeof(pm_segment_header) + in->place->shards * sizeof(pm_segment_shard_range) +
                            PM_FILES * sizeof(pm_segment_file_entry) + sizeof plan->buffer;
    m->blocks = 0;
    for (uint32_t i = 0; i < PM_FILES; i++)
        m->blocks += m->block_count[i] = pm_seg_blocks(plan->size[i]);
    m->length = tables + 4 * m->blocks;
    if (m->length > PM_SEG_META_MOST)
        return pm_fail(err, POMAI_ETOOBIG, "a segment of %llu rows of collection %u would be too large: merge fewer",
                       (unsigned long long)in->rows, in->place->collection);
    m->bytes = pm_calloc(1, m->length);
    if (m->bytes == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to write a segment");
    pm_segment_header h = {.format = PM_FORMAT, .number = in->place->number, .length = m->length};
    memcpy(h.magic, PM_SEGMENT_MAGIC, 8);
    memcpy(h.uuid, in->place->uuid, 16);
    h.collection = in->place->collection;
    h.dim = in->place->dim;
    h.id_kind = shape->id_kind;
    h.shards = in->place->shards;
    h.rows = in->rows;
    h.max_id = s->max_id;
    h.first_expiry = s->first_expiry;
    h.id_bytes = shape->id_bytes;
    h.document_bytes = shape->document_bytes;
    h.expiry_nulls = shape->expiry_nulls;
    h.document_nulls = shape->document_nulls;
    h.flags = shape->flags;
    h.files = PM_FILES;
    h.buffers = PM_BUFFERS;
    h.block_bytes = PM_SEGMENT_BLOCK;
    h.blocks = m->blocks;
    h.dtype = pm_seg_dtype_field(shape->dtype);
    uint8_t *to = m->bytes;
    memcpy(to, &h, sizeof h);
    to += sizeof h;
    memcpy(to, s->range, h.shards * sizeof s->range[0]);
    to += h.shards * sizeof s->range[0];
    uint32_t *crc = (uint32_t *)(void *)(m->bytes + tables);
    for (uint32_t i = 0; i < PM_FILES; i++) {
        pm_segment_file_entry entry = {plan->size[i], m->block_count[i]};
        memcpy(to, &entry, sizeof entry);
        to += sizeof entry;
        m->crc[i] = crc;
        crc += m->block_count[i];
    }
    memcpy(to, plan->buffer, sizeof plan->buffer);
    return POMAI_OK;
}

/* ---- all of it ---- */

typedef struct writer {
    const pm_segment_write *in;
    survey s;
    pm_seg_plan plan;
    meta m;
    pm_text stats;
    pm_seg_out out;
} writer;

static pomai_status write_files(writer *w, pomai_error *err)
{
    pm_seg_out *out = &w->out;
    pomai_status status = POMAI_OK;
    for (uint32_t i = 0; i < PM_FILES && status == POMAI_OK; i++) {
        if (w->plan.size[i] == 0) continue;
        pm_seg_ids *ids = NULL;
        if (i == PM_FILE_IDS) status = pm_seg_ids_make(w->in, &w->plan, &ids, err);
        if (status == POMAI_OK) {
            status = pm_seg_out_begin(out, pm_seg_file_names[i], w->m.crc[i], w->m.block_count[i]);
            if (status == POMAI_OK)
                status = i == PM_FILE_IDS     ? pm_seg_ids_write(ids, w->in, &w->plan, out)
                         : i == PM_FILE_STATS ? pm_seg_out_put(out, w->stats.data, w->stats.size)
                                              : put_columns(out, &w->plan, i);
            status = pm_seg_out_end(out, status);
        }
        pm_free(ids);
    }
    return status;
}

static pomai_status write_meta(writer *w, pm_manifest_segment *entry, pomai_error *err)
{
    const meta *m = &w->m;
    uint32_t crc = pm_crc32c(0, m->bytes + PM_SEG_CRC_FROM, m->length - PM_SEG_CRC_FROM);
    memcpy(m->bytes + 8, &crc, 4);
    const uint64_t blocks = pm_seg_blocks(m->length);
    uint32_t *unused = pm_malloc(blocks * 4);
    if (unused == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to write a segment");
    pomai_status status = pm_seg_out_begin(&w->out, "SEGMENT", unused, blocks);
    if (status == POMAI_OK) status = pm_seg_out_put(&w->out, m->bytes, m->length);
    status = pm_seg_out_end(&w->out, status);
    pm_free(unused);
    *entry = (pm_manifest_segment){.number = w->in->place->number, .rows = w->in->rows};
    entry->meta_len = (uint32_t)m->length;
    entry->meta_crc = pm_crc32c(0, m->bytes, m->length);
    entry->bytes = m->length;
    for (uint32_t i = 0; i < PM_FILES; i++)
        entry->bytes += w->plan.size[i];
    return status;
}

static pomai_status sync_names(const pm_os *os, const char *dir, pomai_error *err)
{
    if (PM_MUTANT(SEGMENT_NAMES_NOT_SYNCED)) return POMAI_OK;
    char parent[PM_SEG_PATH];
    const char *slash = strrchr(dir, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - dir);
    memcpy(parent, slash == NULL ? "." : dir, size > 0 ? size : 1); /* "." or "/" */
    parent[size > 0 ? size : 1] = '\0';
    int rc = os->dir_sync(os, dir);
    if (rc == 0) rc = os->dir_sync(os, parent);
    return rc != 0 ? pm_fail_os(err, rc, "cannot sync the directory %s", dir) : POMAI_OK;
}

static pomai_status make_dir(const pm_os *os, const char *dir, pomai_error *err)
{
    if (strlen(dir) >= PM_SEG_PATH - 32) return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    int rc = os->dir_make(os, dir);
    if (rc == -EEXIST) { /* an interrupted write's: nothing refers to it */
        pm_segment_remove(os, dir);
        rc = os->dir_make(os, dir);
    }
    return rc != 0 ? pm_fail_os(err, rc, "cannot make the directory %s", dir) : POMAI_OK;
}

static pomai_status write_all(writer *w, pm_manifest_segment *entry, pomai_error *err)
{
    const pm_segment_place *p = w->in->place;
    pomai_status status = survey_rows(&w->s, w->in, err);
    if (status != POMAI_OK) return status;
    pm_seg_plan_make(&w->plan, &w->s.shape);
    make_stats(&w->stats, &w->s, w->in, &w->plan);
    if (w->stats.failed) return pm_fail(err, POMAI_ENOMEM, "no memory to write a segment");
    w->plan.size[PM_FILE_STATS] = w->stats.size;
    status = meta_make(&w->m, w->in, &w->plan, &w->s.shape, &w->s, err);
    if (status == POMAI_OK) status = make_dir(p->os, p->dir, err);
    if (status != POMAI_OK) return status;
    status = write_files(w, err);
    if (status == POMAI_OK) status = write_meta(w, entry, err);
    if (status == POMAI_OK) status = sync_names(p->os, p->dir, err);
    if (status != POMAI_OK) pm_segment_remove(p->os, p->dir);
    return status;
}

pomai_status pm_segment_make(const pm_segment_write *in, pm_manifest_segment *out, pomai_error *err)
{
    const pm_segment_place *p = in->place;
    if (in->rows == 0 || in->rows > PM_SEGMENT_MAX_ROWS || p->dim == 0 || p->dim > POMAI_MAX_DIM ||
        !pm_dtype_known(p->dtype) || p->shards == 0 || p->shards > PM_MAX_SHARDS)
        return pm_fail(err, POMAI_EINTERNAL, "no segment can have %llu rows of %u dimensions from %u shards",
                       (unsigned long long)in->rows, p->dim, p->shards);
    writer *w = pm_calloc(1, sizeof *w);
    if (w == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to write a segment");
    w->in = in;
    w->out.in = in;
    w->out.err = err;
    pm_manifest_segment entry;
    pomai_status status = write_all(w, &entry, err);
    if (status == POMAI_OK) *out = entry;
    pm_free(w->out.buffer);
    pm_free(w->m.bytes);
    pm_free(w->stats.data);
    pm_free(w);
    return status;
}

/* ---- removing ---- */

typedef struct removal {
    const pm_os *os;
    const char *dir;
} removal;

static int remove_one(void *context, const char *name)
{
    const removal *r = context;
    char path[PM_SEG_PATH];
    if (pm_seg_path(path, r->dir, name)) (void)r->os->path_remove(r->os, path);
    return 0;
}

void pm_segment_remove(const pm_os *os, const char *dir)
{
    removal r = {os, dir};
    /* Twice: a directory that changes while it is listed may hide a name. */
    for (int i = 0; i < 2; i++) {
        (void)os->dir_list(os, dir, remove_one, &r);
        if (os->dir_remove(os, dir) == 0) return;
    }
}
