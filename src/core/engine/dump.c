/* SPDX-License-Identifier: Apache-2.0 */
/* Dumps: what is on disk, a line at a time, for people who look for what went wrong. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "core/engine/inspect.h"

typedef unsigned long long ull;

typedef struct dump {
    pomai_line_fn line;
    void *context;
    bool json, rows;
} dump;

static pomai_status give_line(const dump *d, const char *text, pomai_error *err)
{
    return d->line(d->context, text) == 0 ? POMAI_OK : pm_fail(err, POMAI_EDEADLINE, "stopped on request");
}

static pomai_status give_text(const dump *d, pm_text *text, pomai_error *err)
{
    pomai_status status =
        text->failed ? pm_fail(err, POMAI_ENOMEM, "no memory for a line of the dump") : give_line(d, text->data, err);
    pm_free(text->data);
    return status;
}

/* ---- the log ---- */

static pomai_status dump_record(pm_wal_scan *scan, const pm_wal_image *image, uint64_t at, pomai_error *err)
{
    static const char *const op[] = {"?", "PUT", "DELETE", "ABORT"};
    const dump *d = scan->context;
    const pm_rec_header *h = (const pm_rec_header *)(const void *)(image->data + at);
    char text[512];
    const char *format =
        d->json ? "{\"shard\": %u, \"file\": %llu, \"offset\": %llu, \"lsn\": %llu, \"durable_lsn\": "
                  "%llu, \"op\": \"%s\", \"collection\": %u, "
                  "\"rows\": %u, \"dim\": %u, \"dtype\": \"%s\", \"batch\": %llu, \"part\": %u, \"parts\": %u, "
                  "\"stamp_ns\": %llu, \"payload_bytes\": %llu, "
                  "\"expiry_bytes\": %llu, \"document_bytes\": %llu}"
                : "shard %u  file %llu  offset %-9llu lsn %-7llu durable %-7llu %-6s collection %u  "
                  "rows %-6u dim %-5u %-7s batch %llu  part %u/%u  "
                  "stamp %llu  payload %llu  expiry %llu  documents %llu";
    snprintf(text, sizeof text, format, scan->place->shard, (ull)image->number, (ull)at, (ull)h->lsn,
             (ull)h->durable_lsn, op[h->op <= PM_OP_ABORT ? h->op : 0], h->collection, h->rows, h->dim,
             h->dtype == PM_DTYPE_NONE ? "none" : pm_dtype_name((pomai_dtype)h->dtype), (ull)h->batch,
             d->json ? h->part : h->part + 1, h->parts, (ull)h->stamp, (ull)h->payload_len, (ull)h->expiry_len,
             (ull)h->documents_len);
    return give_line(d, text, err);
}

pomai_status pm_inspect_dump(const pm_os *os, const char *path, bool json, pomai_line_fn line, void *context,
                             pomai_error *err)
{
    pm_inspection in;
    dump d = {.line = line, .context = context, .json = json};
    if (line == NULL) return pm_fail(err, POMAI_EINVAL, "no function to give the lines to");
    pomai_status status = pm_inspect_begin(&in, os, path, err);
    for (uint32_t i = 0; status == POMAI_OK && i < in.manifest.shards; i++) {
        pm_wal_scan scan = {.on_record = dump_record, .context = &d};
        status = pm_inspect_scan(&in, i, &scan, err);
    }
    pm_inspect_end(&in);
    return status;
}

/* ---- the catalogue ---- */

static pomai_status dump_header(const dump *d, const pm_manifest *m, pomai_error *err)
{
    char text[512], uuid[33];
    for (int i = 0; i < 16; i++)
        snprintf(uuid + 2 * i, 3, "%02x", m->uuid[i]);
    snprintf(text, sizeof text,
             d->json
                 ? "{\"what\": \"manifest\", \"number\": %llu, \"uuid\": \"%s\", \"created_ns\": %llu, \"clock_ns\": "
                   "%llu, \"epoch\": %u, \"shards\": %u, \"collections\": %u, \"next_collection\": %u, "
                   "\"next_segment\": %llu}"
                 : "manifest %llu  uuid %s  created %llu  clock %llu  epoch %u  shards %u  collections %u  "
                   "next collection %u  next segment %llu",
             (ull)m->number, uuid, (ull)m->created, (ull)m->clock, m->epoch, m->shards, m->collections,
             m->next_collection, (ull)m->next_segment);
    return give_line(d, text, err);
}

static pomai_status dump_shard(const dump *d, uint32_t i, const pm_manifest_shard *s, pomai_error *err)
{
    char text[512];
    snprintf(text, sizeof text,
             d->json ? "{\"what\": \"shard\", \"shard\": %u, \"first_file\": %llu, \"resolved\": %llu, \"before_lsn\": "
                       "%llu, \"before_length\": %llu, \"before_chain\": \"%016llx\", \"before_stamp_ns\": %llu}"
                     : "shard %u  first file %llu  resolved %llu  before it: LSN %llu  length %llu  chain %016llx  "
                       "stamp %llu",
             i, (ull)s->first_wal, (ull)s->resolved, (ull)s->pred_lsn, (ull)s->pred_length, (ull)s->pred_chain,
             (ull)s->pred_stamp);
    return give_line(d, text, err);
}

static pomai_status dump_collection(const dump *d, const pm_manifest_entry *e, uint32_t shards, pomai_error *err)
{
    static const char *const metric[] = {"?", "l2", "ip", "cosine"};
    const pm_manifest_collection *c = &e->fixed;
    pm_text text = {0};
    pm_text_add(
        &text,
        d->json ? "{\"what\": \"collection\", \"id\": %u, \"name\": \"%s\", \"dim\": %u, \"dtype\": \"%s\", "
                  "\"metric\": \"%s\", "
                  "\"ids\": \"%s\", \"created_ns\": %llu, \"next_id\": %llu, \"ttl_ns\": %llu, \"segments\": "
                  "%u, \"flushed\": ["
                : "collection %u  %s  dim %u  %s  %s  %s ids  created %llu  next id %llu  ttl %llu  segments %u  "
                  "flushed",
        c->id, e->name, c->dim, pm_dtype_name((pomai_dtype)c->dtype), metric[c->metric],
        c->id_kind == POMAI_ID_U64 ? "u64" : "string", (ull)c->created, (ull)c->next_id, (ull)c->ttl_ns, e->segments);
    for (uint32_t i = 0; i < shards; i++)
        pm_text_add(&text, d->json ? (i == 0 ? "%llu" : ", %llu") : " %llu", (ull)e->flushed[i]);
    if (d->json) pm_text_add(&text, "]");
    if (c->cluster_len > 0) {
        pm_text_add(&text, d->json ? ", \"cluster_by\": " : "  clustered by ");
        pm_text_add_json(&text, e->cluster_by, c->cluster_len);
    }
    if (c->index != POMAI_INDEX_AUTO)
        pm_text_add(&text, d->json ? ", \"index\": \"%s\"" : "  index %s", pm_index_name(c->index));
    if (d->json) pm_text_add(&text, "}");
    return give_text(d, &text, err);
}

static pomai_status dump_listed(const dump *d, const pm_manifest_entry *e, const pm_manifest_segment *s,
                                pomai_error *err)
{
    char text[512];
    snprintf(text, sizeof text,
             d->json ? "{\"what\": \"segment\", \"collection\": \"%s\", \"number\": %llu, \"rows\": %llu, \"bytes\": "
                       "%llu, \"meta_bytes\": %u, \"meta_crc\": \"%08x\", \"live\": %llu, \"live_bytes\": %llu, "
                       "\"live_crc\": \"%08x\", \"ended\": %llu}"
                     : "segment %s/%llu  rows %llu  bytes %llu  SEGMENT %u bytes, CRC %08x  live-%llu %llu bytes, CRC "
                       "%08x  ended %llu",
             e->name, (ull)s->number, (ull)s->rows, (ull)s->bytes, s->meta_len, s->meta_crc, (ull)s->live_generation,
             (ull)s->live_len, s->live_crc, (ull)pm_segment_live_count(s));
    return give_line(d, text, err);
}

pomai_status pm_inspect_dump_manifest(const pm_os *os, const char *path, bool json, pomai_line_fn line, void *context,
                                      pomai_error *err)
{
    pm_inspection in;
    const dump d = {.line = line, .context = context, .json = json};
    if (line == NULL) return pm_fail(err, POMAI_EINVAL, "no function to give the lines to");
    pomai_status status = pm_inspect_begin(&in, os, path, err);
    const pm_manifest *m = &in.manifest;
    if (status == POMAI_OK) status = dump_header(&d, m, err);
    for (uint32_t i = 0; status == POMAI_OK && i < m->shards; i++)
        status = dump_shard(&d, i, &m->shard[i], err);
    for (uint32_t i = 0; status == POMAI_OK && i < m->collections; i++) {
        status = dump_collection(&d, &m->entry[i], m->shards, err);
        for (uint32_t k = 0; status == POMAI_OK && k < m->entry[i].segments; k++)
            status = dump_listed(&d, &m->entry[i], &m->entry[i].segment[k], err);
    }
    pm_inspect_end(&in);
    return status;
}

/* ---- segments ---- */

static pomai_status dump_row(const dump *d, const pm_segment *s, uint64_t row, pomai_error *err)
{
    pm_text text = {0};
    pm_id id;
    const uint64_t end = pm_segment_end_of(s, row), expiry = pm_segment_expiry(s, row);
    pm_segment_id(s, row, &id);
    pm_text_add(&text, d->json ? "{\"what\": \"row\", \"segment\": %llu, \"row\": %llu, \"id\": " : "  %llu/%llu  id ",
                (ull)pm_segment_where(s)->number, (ull)row);
    if (id.bytes == NULL)
        pm_text_add(&text, "%llu", (ull)id.u64);
    else
        pm_text_add_json(&text, (const char *)id.bytes, id.size);
    pm_text_add(&text,
                d->json ? ", \"shard\": %u, \"lsn\": %llu, \"stamp_ns\": %llu" : "  shard %u  lsn %llu  stamp %llu",
                pm_segment_shard(s, row), (ull)pm_segment_lsn(s, row), (ull)pm_segment_stamp(s, row));
    if (expiry != 0) pm_text_add(&text, d->json ? ", \"expiry_ns\": %llu" : "  expiry %llu", (ull)expiry);
    if (end != PM_NO_END) pm_text_add(&text, d->json ? ", \"end\": %llu" : "  ended %llu", (ull)end);
    pm_text_add(&text, d->json ? ", \"document_bytes\": %llu}" : "  document %llu bytes",
                (ull)pm_segment_document(s, row).size);
    return give_text(d, &text, err);
}

static pomai_status dump_ranges(const dump *d, const pm_segment *s, const char *name, pomai_error *err)
{
    const pm_segment_header *h = &s->header;
    pm_text text = {0};
    pm_text_add(
        &text,
        d->json
            ? "{\"what\": \"segment\", \"collection\": \"%s\", \"number\": %llu, \"rows\": %llu, \"ended\": "
              "%llu, \"dim\": %u, \"dtype\": \"%s\", \"blocks\": %llu, \"first_expiry_ns\": %llu, \"id_bytes\": %llu, "
              "\"document_bytes\": %llu, \"flags\": %u, \"shards\": ["
            : "segment %s/%llu  rows %llu  ended %llu  dim %u  %s  blocks %llu  first expiry %llu  id bytes "
              "%llu  document bytes %llu  flags %u  rows and LSNs of each shard:",
        name, (ull)h->number, (ull)h->rows, (ull)pm_segment_ended(s), h->dim, pm_dtype_name(pm_segment_where(s)->dtype),
        (ull)h->blocks, (ull)h->first_expiry, (ull)h->id_bytes, (ull)h->document_bytes, h->flags);
    for (uint32_t i = 0; i < h->shards; i++) {
        const pm_segment_shard_range *r = &s->range[i];
        pm_text_add(&text,
                    d->json ? "%s{\"rows\": %llu, \"min_lsn\": %llu, \"max_lsn\": %llu}" : "%s %llu (%llu to %llu)",
                    d->json && i > 0 ? ", " : "", (ull)r->rows, (ull)r->min_lsn, (ull)r->max_lsn);
    }
    if (d->json) pm_text_add(&text, "]}");
    return give_text(d, &text, err);
}

static pomai_status dump_one(const dump *d, const pm_inspection *in, const pm_manifest_entry *e,
                             const pm_manifest_segment *listed, pomai_error *err)
{
    pm_segment_place place;
    pm_segment *s = NULL;
    pm_inspect_place(in, e, listed->number, &place);
    if (place.dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open a segment");
    pomai_status status = pm_segment_open(&place, listed, &s, err);
    if (status == POMAI_OK) status = dump_ranges(d, s, e->name, err);
    for (uint64_t row = 0; status == POMAI_OK && d->rows && row < pm_segment_rows(s); row++) {
        status = pm_segment_check(s, PM_SEG_ALL & ~(uint32_t)PM_SEG_VECTOR, row, 1, err);
        if (status == POMAI_OK) status = dump_row(d, s, row, err);
    }
    pm_segment_free(s);
    pm_free((char *)(uintptr_t)place.dir);
    return status;
}

pomai_status pm_inspect_dump_segment(const pm_os *os, const char *path, const pm_dump *what, pomai_line_fn line,
                                     void *context, pomai_error *err)
{
    pm_inspection in;
    const dump d = {.line = line, .context = context, .json = what->json, .rows = what->rows};
    bool collection = false, segment = false;
    if (line == NULL) return pm_fail(err, POMAI_EINVAL, "no function to give the lines to");
    pomai_status status = pm_inspect_begin(&in, os, path, err);
    for (uint32_t i = 0; status == POMAI_OK && i < in.manifest.collections; i++) {
        const pm_manifest_entry *e = &in.manifest.entry[i];
        if (what->collection != NULL && strcmp(what->collection, e->name) != 0) continue;
        collection = true;
        for (uint32_t k = 0; status == POMAI_OK && k < e->segments; k++) {
            if (what->number != 0 && what->number != e->segment[k].number) continue;
            segment = true;
            status = dump_one(&d, &in, e, &e->segment[k], err);
        }
    }
    pm_inspect_end(&in);
    if (status != POMAI_OK) return status;
    if (what->collection != NULL && !collection)
        return pm_fail(err, POMAI_ENOTFOUND, "there is no collection %.64s", what->collection);
    if (what->number != 0 && !segment)
        return pm_fail(err, POMAI_ENOTFOUND, "there is no segment %llu; dump-manifest lists them", (ull)what->number);
    return POMAI_OK;
}
