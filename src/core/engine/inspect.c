/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a database that no writer has open: verify reads and checks everything, dump prints the log. Both use the
 * readers that recovery uses, and change nothing.
 */
#include <stdio.h>
#include <string.h>

#include "core/engine/engine.h"
#include "core/engine/layout.h"

typedef struct inspection {
    const pm_os *os;
    const char *path;
    pm_lock lock;
    pm_manifest manifest;
    char *manifest_dir;
} inspection;

static pomai_status begin(inspection *in, const pm_os *os, const char *path, pomai_error *err)
{
    memset(in, 0, sizeof *in);
    in->os = os;
    in->path = path;
    in->lock = (pm_lock){-1, -1};
    if (path == NULL || path[0] == '\0') return pm_fail(err, POMAI_EINVAL, "the path of the database is empty");
    if (strlen(path) > PM_DB_PATH_MAX) return pm_fail(err, POMAI_ETOOBIG, "the path of the database is too long");
    pm_dir_state state;
    pomai_status status = pm_layout_probe(os, path, &state, err);
    if (status != POMAI_OK) return status;
    if (state != PM_DIR_DATABASE) return pm_fail(err, POMAI_ENOTFOUND, "there is no database at %s", path);
    status = pm_layout_lock(os, path, false, &in->lock, err);
    if (status != POMAI_OK) return status;
    in->manifest_dir = pm_layout_path(path, "manifest");
    if (in->manifest_dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to look at the database");
    return pm_manifest_read(os, in->manifest_dir, &in->manifest, err);
}

static void end(inspection *in)
{
    pm_manifest_clear(&in->manifest);
    pm_free(in->manifest_dir);
    pm_layout_unlock(in->os, &in->lock);
}

static pomai_status scan_shard(inspection *in, uint32_t shard, pm_wal_scan *scan, pomai_error *err)
{
    char *dir = pm_layout_path(in->path, "shards/%u/%u/wal", in->manifest.epoch, shard);
    if (dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to look at the database");
    pm_wal_place place = {.os = in->os, .dir = dir, .epoch = in->manifest.epoch, .shard = shard};
    memcpy(place.uuid, in->manifest.uuid, 16);
    scan->place = &place;
    scan->first_number = in->manifest.shard[shard].first_wal;
    scan->before = pm_wal_before(&in->manifest.shard[shard]);
    pomai_status status = pm_wal_scan_run(scan, err);
    scan->place = NULL;
    pm_free(dir);
    return status;
}

/* ---- verify ---- */

typedef struct totals {
    pomai_progress_fn progress;
    void *context;
    uint64_t done, total;
    uint64_t problems;
    uint64_t rows, records, bytes, torn_bytes;
    pm_text *json;
    const pm_manifest *manifest;
} totals;

static pomai_status verify_record(pm_wal_scan *scan, const pm_wal_image *image, uint64_t at, pomai_error *err)
{
    totals *t = scan->context;
    const pm_rec_header *h = (const pm_rec_header *)(const void *)(image->data + at);
    if (h->op == PM_OP_PUT) t->rows += h->rows;
    t->done += PM_REC_HEADER + h->payload_len;
    if (h->collection >= t->manifest->next_collection)
        return pm_fail(err, POMAI_ECORRUPT, "LSN %llu of %s is of collection %u, which the catalogue never made",
                       (unsigned long long)h->lsn, scan->place->dir, h->collection);
    for (uint32_t i = 0; h->op != PM_OP_ABORT && i < t->manifest->collections; i++) {
        const pm_manifest_collection *c = &t->manifest->entry[i].fixed;
        if (c->id != h->collection) continue;
        if (c->id_kind != h->id_kind || (h->op == PM_OP_PUT && c->dim != h->dim))
            return pm_fail(err, POMAI_ECORRUPT, "LSN %llu of %s does not fit the collection %s",
                           (unsigned long long)h->lsn, scan->place->dir, t->manifest->entry[i].name);
    }
    if (t->progress != NULL && t->progress(t->context, t->done, t->total) != 0)
        return pm_fail(err, POMAI_EDEADLINE, "stopped on request");
    return POMAI_OK;
}

typedef struct sizing {
    const pm_os *os;
    const char *dir;
    uint64_t bytes;
} sizing;

static int add_size(void *context, const char *name)
{
    sizing *s = context;
    char *path = pm_layout_path(s->dir, "%s", name);
    int fd = path == NULL ? -1 : s->os->file_open(s->os, path, PM_OPEN_READ);
    uint64_t size = 0;
    if (fd >= 0) {
        if (s->os->file_size(s->os, fd, &size) == 0) s->bytes += size;
        s->os->file_close(s->os, fd);
    }
    pm_free(path);
    return 0;
}

static uint64_t total_bytes(const inspection *in)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < in->manifest.shards; i++) {
        char *dir = pm_layout_path(in->path, "shards/%u/%u/wal", in->manifest.epoch, i);
        sizing s = {.os = in->os, .dir = dir};
        if (dir != NULL) (void)in->os->dir_list(in->os, dir, add_size, &s);
        bytes += s.bytes;
        pm_free(dir);
    }
    return bytes;
}

static void add_problem(totals *t, const pomai_error *e)
{
    pm_text_add(t->json, "%s{\"status\": \"%s\", \"message\": ", t->problems++ == 0 ? "" : ", ",
                pm_status_name(e->status));
    pm_text_add_json(t->json, e->message, strlen(e->message));
    pm_text_add(t->json, "}");
}

/* A problem in one shard does not keep the others from being looked at; the first is returned. */
static pomai_status verify_shards(inspection *in, totals *t, pm_text *notes, pomai_error *err)
{
    pomai_status first = POMAI_OK;
    for (uint32_t i = 0; i < in->manifest.shards; i++) {
        pomai_error own = {0};
        pm_wal_scan scan = {.on_record = verify_record, .context = t, .notes = notes};
        pomai_status status = scan_shard(in, i, &scan, &own);
        t->records += scan.records;
        t->bytes += scan.bytes;
        t->torn_bytes += scan.torn_bytes;
        if (scan.torn_at != 0)
            pm_text_add(
                notes,
                "torn tail of %llu bytes in shard %u: a crash was here; the next open for writing quarantines it\n",
                (unsigned long long)scan.torn_bytes, i);
        if (status == POMAI_OK) continue;
        add_problem(t, &own);
        if (first == POMAI_OK) {
            *err = own;
            first = status;
        }
        if (status == POMAI_EDEADLINE) break;
    }
    return first;
}

pomai_status pm_inspect_verify(const pm_os *os, const char *path, pomai_progress_fn progress, void *context,
                               char **json, pomai_error *err)
{
    inspection in;
    pomai_error own = {0};
    pm_text text = {0}, notes = {0};
    totals t = {.progress = progress, .context = context, .json = &text, .manifest = &in.manifest};
    pm_text_add(&text, "{\"problems\": [");
    pomai_status status = begin(&in, os, path, &own);
    if (status == POMAI_OK) {
        t.total = total_bytes(&in);
        status = verify_shards(&in, &t, &notes, &own);
    } else {
        add_problem(&t, &own);
    }
    pm_text_add(
        &text, "], \"records\": %llu, \"rows\": %llu, \"log_bytes\": %llu, \"torn_bytes\": %llu, \"collections\": %u, ",
        (unsigned long long)t.records, (unsigned long long)t.rows, (unsigned long long)t.bytes,
        (unsigned long long)t.torn_bytes, in.manifest.collections);
    pm_text_add(&text, "\"shards\": %u, \"notes\": ", in.manifest.shards);
    pm_text_add_json(&text, notes.data != NULL ? notes.data : "", notes.size);
    pm_text_add(&text, "}");
    end(&in);
    pm_free(notes.data);
    if (status != POMAI_OK && err != NULL) *err = own;
    if (text.failed || notes.failed) { /* a report must not pass over a torn tail in silence */
        pm_free(text.data);
        return status != POMAI_OK ? status : pm_fail(err, POMAI_ENOMEM, "no memory for the report");
    }
    if (json != NULL)
        *json = text.data;
    else
        pm_free(text.data);
    return status;
}

/* ---- dump ---- */

typedef struct dump {
    pomai_line_fn line;
    void *context;
    bool json;
    uint64_t file;
} dump;

static pomai_status give_line(dump *d, const char *text, pomai_error *err)
{
    return d->line(d->context, text) == 0 ? POMAI_OK : pm_fail(err, POMAI_EDEADLINE, "stopped on request");
}

static pomai_status dump_record(pm_wal_scan *scan, const pm_wal_image *image, uint64_t at, pomai_error *err)
{
    static const char *const op[] = {"?", "PUT", "DELETE", "ABORT"};
    dump *d = scan->context;
    const pm_rec_header *h = (const pm_rec_header *)(const void *)(image->data + at);
    char text[512];
    const char *format = d->json ? "{\"shard\": %u, \"file\": %llu, \"offset\": %llu, \"lsn\": %llu, \"durable_lsn\": "
                                   "%llu, \"op\": \"%s\", \"collection\": %u, "
                                   "\"rows\": %u, \"dim\": %u, \"batch\": %llu, \"part\": %u, \"parts\": %u, "
                                   "\"stamp_ns\": %llu, \"payload_bytes\": %llu, "
                                   "\"expiry_bytes\": %llu, \"document_bytes\": %llu}"
                                 : "shard %u  file %llu  offset %-9llu lsn %-7llu durable %-7llu %-6s collection %u  "
                                   "rows %-6u dim %-5u batch %llu  part %u/%u  "
                                   "stamp %llu  payload %llu  expiry %llu  documents %llu";
    snprintf(text, sizeof text, format, scan->place->shard, (unsigned long long)image->number, (unsigned long long)at,
             (unsigned long long)h->lsn, (unsigned long long)h->durable_lsn, op[h->op <= PM_OP_ABORT ? h->op : 0],
             h->collection, h->rows, h->dim, (unsigned long long)h->batch, d->json ? h->part : h->part + 1, h->parts,
             (unsigned long long)h->stamp, (unsigned long long)h->payload_len, (unsigned long long)h->expiry_len,
             (unsigned long long)h->documents_len);
    return give_line(d, text, err);
}

pomai_status pm_inspect_dump(const pm_os *os, const char *path, bool json, pomai_line_fn line, void *context,
                             pomai_error *err)
{
    inspection in;
    dump d = {.line = line, .context = context, .json = json};
    if (line == NULL) return pm_fail(err, POMAI_EINVAL, "no function to give the lines to");
    pomai_status status = begin(&in, os, path, err);
    for (uint32_t i = 0; status == POMAI_OK && i < in.manifest.shards; i++) {
        pm_wal_scan scan = {.on_record = dump_record, .context = &d};
        status = scan_shard(&in, i, &scan, err);
    }
    end(&in);
    return status;
}
