/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Salvage: what is intact of a damaged database, into a new one. Invariants:
 *  1. Nothing is believed but checksums: a row is copied only if its id, LSN, vector and expiry lie in blocks, or in a
 *     record, whose checksums are right.
 *  2. Of an id only the newest version that can be read decides. If it was deleted, or its vector is lost, no older
 *     version takes its place.
 *  3. Nothing is lost in silence: *whole says whether anything was, and the report says what.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "core/engine/inspect.h"

enum { BATCH_ROWS = 4096, BATCH_BYTES = 4 << 20, IDS_LISTED = 1000, RANGES_LISTED = 100 };

typedef unsigned long long ull;

/* A version of an id, wherever it lies. */
typedef struct version {
    pm_id id;
    uint64_t lsn;
    const pm_rec_header *record; /* NULL: in a segment */
    uint32_t segment, row;
    bool ended;
} version;

typedef struct shard_log {
    pm_wal_place place;
    pm_wal_salvage wal;
} shard_log;

typedef struct salvage {
    pm_inspection in;
    pomai_progress_fn progress;
    void *context;
    uint64_t done, total;
    pm_db *db; /* the new one */
    shard_log log[PM_MAX_SHARDS];
    uint64_t *dropped; /* batches that are not whole, sorted */
    size_t drops;
    pm_text lost, notes, collections;
    uint64_t losses, rows, expired, now;
    bool current;
} salvage;

/* The rows of one collection. */
typedef struct rescue {
    salvage *s;
    const pm_manifest_entry *entry;
    version *list;
    size_t count, capacity;
    uint8_t *text; /* string ids of segments: a list of pieces, each begins with a pointer to the one before */
    size_t text_used, text_size;
    pm_coll *coll;
    uint64_t rows, lost_rows, bare_rows;
    /* the batch */
    uint8_t *vectors; /* as they are stored */
    uint64_t u64[BATCH_ROWS], expiry[BATCH_ROWS];
    pomai_bytes string[BATCH_ROWS], document[BATCH_ROWS];
    uint32_t fill, most;
    uint64_t fill_bytes;
} rescue;

/* Bytes of a row's vector. */
static size_t stride_of(const rescue *r)
{
    return (size_t)r->entry->fixed.dim * pm_dtype_size((pomai_dtype)r->entry->fixed.dtype);
}

/* ---- what is lost ---- */

/* Begins an entry; whoever calls closes it with "}". */
static void lose(salvage *s, const char *what, const char *where)
{
    pm_text_add(&s->lost, "%s{\"what\": \"%s\", \"where\": ", s->losses++ == 0 ? "" : ", ", what);
    pm_text_add_json(&s->lost, where, strlen(where));
}

/* Rows of a segment that are lost for one reason: by their ids, or where those are lost by their places. */
typedef struct lost_rows {
    pm_text ids, ranges;
    uint64_t rows, listed, range_count, first, last; /* of the run that is open */
    bool open;
} lost_rows;

static void lost_id(lost_rows *l, const pm_id *id)
{
    l->rows++;
    if (l->listed == IDS_LISTED) return;
    pm_text_add(&l->ids, "%s", l->listed++ == 0 ? "" : ", ");
    if (id->bytes == NULL)
        pm_text_add(&l->ids, "%llu", (ull)id->u64);
    else
        pm_text_add_json(&l->ids, (const char *)id->bytes, id->size);
}

static void end_run(lost_rows *l)
{
    if (!l->open) return;
    l->open = false;
    if (l->range_count++ >= RANGES_LISTED) return;
    pm_text_add(&l->ranges, "%s[%llu, %llu]", l->range_count == 1 ? "" : ", ", (ull)l->first, (ull)l->last);
}

static void lost_place(lost_rows *l, uint64_t row)
{
    l->rows++;
    if (l->open && row == l->last + 1) {
        l->last = row;
        return;
    }
    end_run(l);
    l->open = true;
    l->first = l->last = row;
}

static void report_rows(rescue *r, const char *what, const char *where, lost_rows *l)
{
    salvage *s = r->s;
    end_run(l);
    if (l->rows > 0) {
        lose(s, what, where);
        pm_text_add(&s->lost, ", \"collection\": \"%s\", \"rows\": %llu", r->entry->name, (ull)l->rows);
        if (l->listed > 0)
            pm_text_add(&s->lost, ", \"ids\": [%s], \"ids_left_out\": %llu", l->ids.data, (ull)(l->rows - l->listed));
        if (l->range_count > 0)
            pm_text_add(&s->lost, ", \"places\": [%s], \"ranges_left_out\": %llu", l->ranges.data,
                        (ull)(l->range_count - pm_min_u64(l->range_count, RANGES_LISTED)));
        pm_text_add(&s->lost, "}");
    }
    s->lost.failed |= l->ids.failed || l->ranges.failed;
    pm_free(l->ids.data);
    pm_free(l->ranges.data);
}

static pomai_status tell(salvage *s, uint64_t bytes, pomai_error *err)
{
    s->done = pm_min_u64(s->done + bytes, s->total);
    if (s->progress == NULL || s->progress(s->context, s->done, s->total) == 0) return POMAI_OK;
    return pm_fail(err, POMAI_EDEADLINE, "stopped on request; the new database has a part of the rows");
}

static pomai_status no_memory(pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory to salvage: every row needs some 60 bytes while it is looked at");
}

/* ---- logs ---- */

/* Whether segments have all of it. */
static bool flushed_everywhere(const salvage *s, uint32_t shard, uint64_t lsn)
{
    const pm_manifest *m = &s->in.manifest;
    for (uint32_t i = 0; i < m->collections; i++)
        if (m->entry[i].flushed[shard] < lsn) return false;
    return true;
}

static void lose_lsns(salvage *s, uint32_t shard, uint64_t first, uint64_t last)
{
    if (flushed_everywhere(s, shard, last)) {
        pm_text_add(&s->notes, "LSN %llu to %llu of shard %u cannot be read in the log; segments have their rows\n",
                    (ull)first, (ull)last, shard);
        return;
    }
    lose(s, "log", s->log[shard].place.dir);
    pm_text_add(&s->lost,
                ", \"shard\": %u, \"first_lsn\": %llu, \"last_lsn\": %llu, \"then\": \"rows put there are "
                "lost, and rows deleted or replaced there may return as they were\"}",
                shard, (ull)first, (ull)last);
}

static void report_log(salvage *s, uint32_t shard, bool damaged)
{
    const pm_wal_salvage *w = &s->log[shard].wal;
    uint64_t last = w->before.lsn;
    const uint64_t before = s->losses;
    for (size_t i = 0; i < w->records; i++) {
        if (w->record[i]->lsn > last + 1) lose_lsns(s, shard, last + 1, w->record[i]->lsn - 1);
        last = pm_max_u64(last, w->record[i]->lsn);
    }
    if (w->durable > last) lose_lsns(s, shard, last + 1, w->durable);
    if (!damaged || s->losses > before) return;
    lose(s, "end of log", w->place->dir);
    pm_text_add(&s->lost,
                ", \"shard\": %u, \"after_lsn\": %llu, \"then\": \"damage makes it impossible to say whether "
                "there was more\"}",
                shard, (ull)last);
}

static pomai_status read_log(salvage *s, uint32_t shard, pomai_error *err)
{
    shard_log *l = &s->log[shard];
    pomai_error own;
    pm_wal_scan scan = {.accept_damage = true};
    pomai_status scanned = pm_inspect_scan(&s->in, shard, &scan, &own); /* for the WATERMARK, and whether all is well */
    const bool sound = scanned == POMAI_OK && !scan.damaged;
    if (scanned != POMAI_OK || scan.damage.message[0] != '\0')
        pm_text_add(&s->notes, "%s\n", scanned != POMAI_OK ? own.message : scan.damage.message);
    l->place = (pm_wal_place){
        .os = s->in.os, .dir = pm_inspect_log_dir(&s->in, shard), .epoch = s->in.manifest.epoch, .shard = shard};
    if (l->place.dir == NULL) return no_memory(err);
    memcpy(l->place.uuid, s->in.manifest.uuid, 16);
    l->wal = (pm_wal_salvage){.place = &l->place,
                              .first_number = s->in.manifest.shard[shard].first_wal,
                              .mark_durable = scan.mark.durable_lsn,
                              .before = pm_wal_before(&s->in.manifest.shard[shard]),
                              .notes = &s->notes};
    pomai_status status = pm_wal_salvage_run(&l->wal, err);
    if (status == POMAI_OK) report_log(s, shard, !sound || l->wal.damaged);
    return status == POMAI_OK ? tell(s, pm_inspect_dir_bytes(s->in.os, l->place.dir), err) : status;
}

/* ---- batches of several parts ---- */

typedef struct part {
    uint64_t batch;
    uint32_t part, parts, rows;
    bool aborted, resolved;
} part;

static int by_batch(const void *a, const void *b)
{
    const part *x = a, *y = b;
    if (x->batch != y->batch) return x->batch < y->batch ? -1 : 1;
    return x->part < y->part ? -1 : x->part > y->part;
}

/* As recovery does: all parts, or none of them. */
static void decide(salvage *s, const part *p, size_t n)
{
    size_t parts = 0;
    uint64_t rows = 0;
    bool aborted = false, resolved = false;
    uint32_t last = UINT32_MAX, wanted = 0;
    for (size_t i = 0; i < n; i++) {
        aborted |= p[i].aborted;
        resolved |= p[i].resolved;
        if (p[i].aborted) continue;
        wanted = p[i].parts;
        rows += p[i].rows;
        if (p[i].part != last) parts++;
        last = p[i].part;
    }
    if (!aborted && (resolved || parts == wanted)) return;
    s->dropped[s->drops++] = p[0].batch;
    if (aborted) return;
    bool damage = false;
    for (uint32_t i = 0; i < s->in.manifest.shards; i++)
        damage |= s->log[i].wal.damaged;
    if (!damage && s->losses == 0) return; /* a crash did this, and nobody was promised it */
    lose(s, "batch", "the log");
    pm_text_add(&s->lost,
                ", \"batch\": %llu, \"rows\": %llu, \"then\": \"other parts of it cannot be read; a batch is "
                "copied whole or not at all\"}",
                (ull)p[0].batch, (ull)rows);
}

static pomai_status decide_batches(salvage *s, pomai_error *err)
{
    size_t count = 0, n = 0;
    for (uint32_t i = 0; i < s->in.manifest.shards; i++)
        count += s->log[i].wal.records;
    part *all = pm_calloc(count + 1, sizeof *all);
    s->dropped = pm_calloc(count + 1, sizeof *s->dropped);
    if (all == NULL || s->dropped == NULL) {
        pm_free(all);
        return no_memory(err);
    }
    for (uint32_t i = 0; i < s->in.manifest.shards; i++) {
        for (size_t k = 0; k < s->log[i].wal.records; k++) {
            const pm_rec_header *h = s->log[i].wal.record[k];
            const bool aborted = h->op == PM_OP_ABORT;
            if (h->parts == 1 && !aborted) continue;
            all[n++] = (part){.batch = h->batch,
                              .part = h->part,
                              .parts = h->parts,
                              .rows = h->rows,
                              .aborted = aborted,
                              .resolved = h->batch <= s->in.manifest.shard[i].resolved};
        }
    }
    qsort(all, n, sizeof *all, by_batch);
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && all[k].batch == all[i].batch;)
            k++;
        decide(s, &all[i], k - i);
    }
    pm_free(all);
    return POMAI_OK;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool counts(const salvage *s, const pm_rec_header *h)
{
    return h->parts == 1 || bsearch(&h->batch, s->dropped, s->drops, sizeof *s->dropped, by_value) == NULL;
}

/* ---- versions ---- */

static bool add_version(rescue *r, const version *v)
{
    if (r->count == r->capacity) {
        const size_t capacity = r->capacity == 0 ? 1024 : r->capacity * 2;
        version *wider = pm_realloc(r->list, capacity * sizeof *wider);
        if (wider == NULL) return false;
        r->list = wider;
        r->capacity = capacity;
    }
    r->list[r->count++] = *v;
    return true;
}

/* The segment is closed before its ids are compared. */
static bool keep_text(rescue *r, pm_id *id)
{
    enum { PIECE = 1 << 20 };
    if (id->bytes == NULL) return true;
    if (r->text_size - r->text_used < id->size) {
        uint8_t *piece = pm_malloc(PIECE);
        if (piece == NULL) return false;
        memcpy(piece, &r->text, sizeof r->text);
        r->text = piece;
        r->text_used = sizeof r->text;
        r->text_size = PIECE;
    }
    memcpy(r->text + r->text_used, id->bytes, id->size);
    id->bytes = r->text + r->text_used;
    r->text_used += id->size;
    return true;
}

static void free_text(rescue *r)
{
    for (uint8_t *piece = r->text, *before; piece != NULL; piece = before) {
        memcpy(&before, piece, sizeof before);
        pm_free(piece);
    }
}

static pomai_status open_segment(rescue *r, uint32_t index, pm_text *notes, bool *ends_lost, pm_segment **segment,
                                 pomai_error *err)
{
    pm_segment_place place;
    pm_inspect_place(&r->s->in, r->entry, r->entry->segment[index].number, &place);
    if (place.dir == NULL) return no_memory(err);
    pomai_status status = pm_segment_open_damaged(&place, &r->entry->segment[index], notes, ends_lost, segment, err);
    pm_free((char *)(uintptr_t)place.dir);
    return status;
}

static pomai_status scan_rows(rescue *r, uint32_t index, pm_segment *segment, pomai_error *err)
{
    lost_rows lost = {0};
    bool room = true;
    assert(segment != NULL);
    for (uint64_t row = 0; row < pm_segment_rows(segment) && room; row++) {
        if (pm_segment_check(segment, PM_SEG_ID | PM_SEG_LSN, row, 1, NULL) != POMAI_OK) {
            if (pm_segment_end_of(segment, row) == PM_NO_END) lost_place(&lost, row);
            continue;
        }
        version v = {.lsn = pm_segment_lsn(segment, row),
                     .segment = index,
                     .row = (uint32_t)row,
                     .ended = pm_segment_end_of(segment, row) != PM_NO_END};
        pm_segment_id(segment, row, &v.id);
        room = keep_text(r, &v.id) && add_version(r, &v);
    }
    r->lost_rows += lost.rows;
    report_rows(r, "ids", pm_segment_where(segment)->dir, &lost);
    return room ? POMAI_OK : no_memory(err);
}

static pomai_status scan_segment(rescue *r, uint32_t index, pomai_error *err)
{
    salvage *s = r->s;
    pomai_error own;
    pm_segment *segment = NULL;
    bool ends_lost = false;
    const pm_manifest_segment *listed = &r->entry->segment[index];
    pomai_status status = open_segment(r, index, &s->notes, &ends_lost, &segment, &own);
    if (status == POMAI_ENOMEM) return no_memory(err);
    if (status != POMAI_OK) { /* SEGMENT has all checksums: without it nothing can be believed */
        lose(s, "segment", own.message);
        pm_text_add(&s->lost, ", \"collection\": \"%s\", \"segment\": %llu, \"rows\": %llu}", r->entry->name,
                    (ull)listed->number, (ull)(listed->rows - pm_min_u64(listed->rows, pm_segment_live_count(listed))));
        r->lost_rows += listed->rows - pm_min_u64(listed->rows, pm_segment_live_count(listed));
        return tell(s, pm_segment_bytes(listed), err);
    }
    if (ends_lost) {
        lose(s, "liveness", pm_segment_where(segment)->dir);
        pm_text_add(&s->lost,
                    ", \"collection\": \"%s\", \"segment\": %llu, \"then\": \"%llu rows of it that were "
                    "deleted may return\"}",
                    r->entry->name, (ull)listed->number, (ull)pm_segment_live_count(listed));
    }
    status = scan_rows(r, index, segment, err);
    pm_segment_free(segment);
    return status == POMAI_OK ? tell(s, pm_segment_bytes(listed) / 2, err) : status;
}

static pm_rec_layout layout_of(const pm_rec_header *h)
{
    pm_rec_layout l;
    pm_rec_layout_init(&l, h->ids_len, h->vectors_len, h->expiry_len, h->documents_len);
    return l;
}

/* Entry i of a column of ends and bytes. */
static pomai_bytes bytes_of(const uint8_t *column, uint32_t rows, uint32_t i)
{
    const uint32_t *ends = (const uint32_t *)(const void *)column;
    return (pomai_bytes){column + ((uint64_t)rows + 1) * sizeof *ends + ends[i], ends[i + 1] - ends[i]};
}

static void id_of(const pm_rec_header *h, const pm_rec_layout *l, uint32_t i, pm_id *id)
{
    const uint8_t *column = (const uint8_t *)h + l->ids_at;
    const uint64_t *numbers = (const uint64_t *)(const void *)column;
    *id = (pm_id){0};
    if (h->id_kind == POMAI_ID_STRING) {
        pomai_bytes text = bytes_of(column, h->rows, i);
        id->bytes = text.data;
        id->size = (uint32_t)text.size;
    } else {
        id->u64 = (h->flags & PM_REC_IDS_ARE_RANGE) != 0 ? numbers[0] + i : numbers[i];
    }
}

static pomai_status scan_log(rescue *r, uint32_t shard, pomai_error *err)
{
    const pm_wal_salvage *w = &r->s->log[shard].wal;
    const pm_manifest_collection *c = &r->entry->fixed;
    for (size_t i = 0; i < w->records; i++) {
        const pm_rec_header *h = w->record[i];
        if (h->op == PM_OP_ABORT || h->collection != c->id || h->id_kind != c->id_kind || !counts(r->s, h)) continue;
        if (h->op == PM_OP_PUT && (h->dim != c->dim || h->dtype != c->dtype)) continue;
        const pm_rec_layout l = layout_of(h);
        for (uint32_t row = 0; row < h->rows; row++) {
            version v = {.lsn = h->lsn, .record = h, .row = row, .ended = h->op == PM_OP_DELETE};
            id_of(h, &l, row, &v.id);
            if (!add_version(r, &v)) return no_memory(err);
        }
    }
    return POMAI_OK;
}

static int compare_ids(const pm_id *x, const pm_id *y)
{
    if (x->bytes == NULL || y->bytes == NULL) return x->u64 < y->u64 ? -1 : x->u64 > y->u64;
    int order = memcmp(x->bytes, y->bytes, pm_min_u64(x->size, y->size));
    return order != 0 ? order : x->size < y->size ? -1 : x->size > y->size;
}

/* Ids together, newest first; of one version what the log has, which is whole, before what a segment has. */
static int by_id(const void *a, const void *b)
{
    const version *x = a, *y = b;
    int order = compare_ids(&x->id, &y->id);
    if (order != 0) return order;
    if (x->lsn != y->lsn) return (x->lsn > y->lsn) != PM_MUTANT(SALVAGE_OLDEST) ? -1 : 1;
    return (x->record == NULL) - (y->record == NULL);
}

static int by_place(const void *a, const void *b)
{
    const version *x = a, *y = b;
    if ((x->record == NULL) != (y->record == NULL)) return x->record == NULL ? -1 : 1;
    if (x->record != NULL && x->lsn != y->lsn) return x->lsn < y->lsn ? -1 : 1;
    if (x->segment != y->segment) return x->segment < y->segment ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Keeps the newest version of each id that lives, in the order of their places. */
static void choose(rescue *r)
{
    size_t kept = 0;
    if (r->count > 0) qsort(r->list, r->count, sizeof *r->list, by_id);
    for (size_t i = 0, k; i < r->count; i = k) {
        bool ended = false;
        for (k = i; k < r->count && compare_ids(&r->list[k].id, &r->list[i].id) == 0; k++)
            ended |= r->list[k].lsn == r->list[i].lsn && r->list[k].ended;
        if (!ended || PM_MUTANT(SALVAGE_ENDS_IGNORED)) r->list[kept++] = r->list[i];
    }
    r->count = kept;
    if (kept > 0) qsort(r->list, kept, sizeof *r->list, by_place);
}

/* ---- copying ---- */

static pomai_status put_batch(rescue *r, pomai_error *err)
{
    if (r->fill == 0) return POMAI_OK;
    pm_db *db = r->s->db;
    pomai_collection handle = {.db = db};
    atomic_init(&handle.coll, r->coll);
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = r->fill;
    batch.dim = r->entry->fixed.dim;
    batch.vectors = r->vectors;
    batch.dtype = (pomai_dtype)r->entry->fixed.dtype;
    if (r->entry->fixed.id_kind == POMAI_ID_STRING)
        batch.string_ids = r->string;
    else
        batch.u64_ids = r->u64;
    batch.documents = r->document;
    batch.expiry_ns = r->expiry;
    const pm_write write = {POMAI_DURABILITY_OS, PM_FOREVER, true, NULL};
    pm_batch *sent = NULL;
    pomai_status status = pm_db_put(&handle, &batch, &write, &sent, err);
    if (status != POMAI_OK) return status;
    (void)pm_batch_wait(&db->shared, sent, PM_FOREVER);
    status = pm_batch_result(sent, NULL, err);
    pm_batch_drop(&db->shared, sent);
    r->rows += r->fill;
    r->fill = 0;
    r->fill_bytes = 0;
    return status;
}

/* Checksums do not promise that what they are of makes sense; one such row must not refuse the others of its batch. */
static bool good_row(const rescue *r, const pm_id *id, const void *vector)
{
    const uint32_t dim = r->entry->fixed.dim;
    const pomai_dtype dtype = (pomai_dtype)r->entry->fixed.dtype;
    const pm_db *db = r->s->db;
    if (r->entry->fixed.id_kind == POMAI_ID_STRING && (id->size == 0 || id->size > POMAI_MAX_STRING_ID)) return false;
    if (dtype == POMAI_DTYPE_FLOAT32 && db->simd->first_not_finite(vector, dim) < dim) return false;
    if (dtype == POMAI_DTYPE_FLOAT16 && db->convert->first_not_finite_f16(vector, dim) < dim) return false;
    return r->entry->fixed.metric != POMAI_METRIC_COSINE || !pm_convert_all_zero(dtype, vector, dim);
}

static pomai_status copy_row(rescue *r, const pm_id *id, const void *vector, pomai_bytes document, uint64_t expiry,
                             pomai_error *err)
{
    const size_t stride = stride_of(r);
    pomai_status status = POMAI_OK;
    if (expiry != 0 && expiry <= r->s->now) {
        r->s->expired++;
        return POMAI_OK;
    }
    if (!good_row(r, id, vector)) {
        r->lost_rows++;
        lose(r->s, "row", "its checksums are right, but no such row can be put");
        pm_text_add(&r->s->lost, ", \"collection\": \"%s\"}", r->entry->name);
        return POMAI_OK;
    }
    if (r->fill == r->most || r->fill_bytes + document.size > BATCH_BYTES) status = put_batch(r, err);
    const uint32_t i = r->fill;
    r->u64[i] = id->u64;
    r->string[i] = (pomai_bytes){id->bytes, id->size};
    r->document[i] = document;
    r->expiry[i] = expiry;
    memcpy(r->vectors + i * stride, vector, stride);
    r->fill_bytes += document.size;
    r->fill++;
    return status;
}

static pomai_status copy_of_log(rescue *r, const version *v, pomai_error *err)
{
    const pm_rec_header *h = v->record;
    const pm_rec_layout l = layout_of(h);
    const uint8_t *bytes = (const uint8_t *)h;
    const uint64_t *expiry = (const uint64_t *)(const void *)(bytes + l.expiry_at);
    pomai_bytes document = {NULL, 0};
    if ((h->flags & PM_REC_HAS_DOCUMENTS) != 0) document = bytes_of(bytes + l.documents_at, h->rows, v->row);
    return copy_row(r, &v->id, bytes + l.vectors_at + v->row * stride_of(r), document,
                    l.expiry_len > 0 ? expiry[v->row] : 0, err);
}

/* Versions from .. of one segment; where the next begin. */
static pomai_status copy_of_segment(rescue *r, size_t *from, pomai_error *err)
{
    const uint32_t index = r->list[*from].segment;
    pm_segment *segment = NULL;
    lost_rows lost = {0}, bare = {0};
    bool ends_lost = false;
    pm_text again = {0}; /* said before */
    pomai_status status = open_segment(r, index, &again, &ends_lost, &segment, err);
    pm_free(again.data);
    if (status != POMAI_OK) return status;
    assert(segment != NULL);
    for (; *from < r->count && status == POMAI_OK; ++*from) {
        const version *v = &r->list[*from];
        if (v->record != NULL || v->segment != index) break;
        pomai_bytes document = {NULL, 0};
        if (pm_segment_check(segment, PM_SEG_VECTOR | PM_SEG_EXPIRY, v->row, 1, NULL) != POMAI_OK) {
            lost_id(&lost, &v->id);
            continue;
        }
        if (pm_segment_check(segment, PM_SEG_DOCUMENT, v->row, 1, NULL) != POMAI_OK)
            lost_id(&bare, &v->id);
        else
            document = pm_segment_document(segment, v->row);
        status = copy_row(r, &v->id, pm_segment_vector_at(segment, v->row), document,
                          pm_segment_expiry(segment, v->row), err);
    }
    if (status == POMAI_OK) status = put_batch(r, err); /* documents lie in the segment */
    if (PM_MUTANT(SALVAGE_IN_SILENCE)) lost.rows = 0;
    r->lost_rows += lost.rows;
    r->bare_rows += bare.rows;
    report_rows(r, "vectors", pm_segment_where(segment)->dir, &lost);
    report_rows(r, "documents", pm_segment_where(segment)->dir, &bare);
    pm_segment_free(segment);
    return status == POMAI_OK ? tell(r->s, pm_segment_bytes(&r->entry->segment[index]) / 2, err) : status;
}

static pomai_status copy_rows(rescue *r, pomai_error *err)
{
    const pm_manifest_collection *c = &r->entry->fixed;
    const pomai_collection_options options = {.struct_size = sizeof options,
                                              .dim = c->dim,
                                              .metric = (pomai_metric)c->metric,
                                              .id_kind = (pomai_id_kind)c->id_kind,
                                              .ttl_ns = c->ttl_ns,
                                              .dtype = (pomai_dtype)c->dtype,
                                              .index = (pomai_index_kind)c->index,
                                              .cluster_by = c->cluster_len > 0 ? r->entry->cluster_by : NULL};
    pomai_status status = pm_db_create(r->s->db, r->entry->name, &options, &r->coll, err);
    if (status != POMAI_OK) return status;
    r->most = (uint32_t)pm_max_u64(1, pm_min_u64(BATCH_ROWS, BATCH_BYTES / stride_of(r)));
    r->vectors = pm_malloc(r->most * stride_of(r));
    if (r->vectors == NULL) return no_memory(err);
    for (size_t i = 0; i < r->count && status == POMAI_OK;) {
        if (r->list[i].record == NULL)
            status = copy_of_segment(r, &i, err);
        else
            status = copy_of_log(r, &r->list[i++], err);
    }
    return status == POMAI_OK ? put_batch(r, err) : status;
}

static pomai_status rescue_collection(salvage *s, const pm_manifest_entry *entry, pomai_error *err)
{
    rescue *r = pm_calloc(1, sizeof *r);
    if (r == NULL) return no_memory(err);
    r->s = s;
    r->entry = entry;
    pomai_status status = POMAI_OK;
    for (uint32_t i = 0; i < entry->segments && status == POMAI_OK; i++)
        status = scan_segment(r, i, err);
    for (uint32_t i = 0; i < s->in.manifest.shards && status == POMAI_OK; i++)
        status = scan_log(r, i, err);
    if (status == POMAI_OK) {
        choose(r);
        status = copy_rows(r, err);
    }
    s->rows += r->rows;
    pm_text_add(&s->collections, "%s{\"name\": \"%s\", \"rows\": %llu, \"rows_lost\": %llu, \"documents_lost\": %llu}",
                s->collections.size == 0 ? "" : ", ", entry->name, (ull)r->rows, (ull)r->lost_rows, (ull)r->bare_rows);
    pm_free(r->vectors);
    pm_free(r->list);
    free_text(r);
    pm_free(r);
    return status;
}

/* ---- all of it ---- */

/* As the paths are spelled. */
static bool is_inside(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    return strncmp(path, dir, n) == 0 && path[n] == '/' && path[n + strspn(path + n, "/")] != '\0';
}

static pomai_status make_new(salvage *s, const char *from, const char *to, pomai_error *err)
{
    pm_dir_state state;
    if (to == NULL || to[0] == '\0') return pm_fail(err, POMAI_EINVAL, "the path of the new database is empty");
    if (is_inside(to, from))
        return pm_fail(err, POMAI_EINVAL,
                       "%.300s is inside the damaged database, which is only read; give a path elsewhere", to);
    pomai_status status = pm_layout_probe(s->in.os, to, &state, err);
    if (status != POMAI_OK) return status;
    if (state == PM_DIR_DATABASE)
        return pm_fail(err, POMAI_EEXISTS, "there is a database at %s already; give the path of a new one", to);
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = s->in.manifest.shards;
    options.search_threads = UINT32_MAX;
    options.scrub_rate = UINT64_MAX;
    return pm_db_open(s->in.os, to, &options, &s->db, err);
}

static pomai_status rescue_all(salvage *s, const char *from, const char *to, pomai_error *err)
{
    const pm_manifest *m = &s->in.manifest;
    for (uint32_t i = 0; i < m->collections; i++)
        for (uint32_t k = 0; k < m->entry[i].segments; k++)
            s->total += pm_segment_bytes(&m->entry[i].segment[k]);
    for (uint32_t i = 0; i < m->shards; i++) {
        char *dir = pm_inspect_log_dir(&s->in, i);
        s->total += pm_inspect_dir_bytes(s->in.os, dir);
        pm_free(dir);
    }
    s->now = pm_max_u64(m->clock, s->in.os->wall_ns(s->in.os));
    if (!s->current) {
        lose(s, "catalogue", s->in.manifest_dir);
        pm_text_add(&s->lost,
                    ", \"then\": \"number %llu was taken, the newest that is whole; nothing says that there was no "
                    "newer one: if "
                    "there was, rows written since may be missing, and deleted ones back\"}",
                    (ull)m->number);
    }
    pomai_status status = make_new(s, from, to, err);
    for (uint32_t i = 0; i < m->shards && status == POMAI_OK; i++)
        status = read_log(s, i, err);
    if (status == POMAI_OK) status = decide_batches(s, err);
    for (uint32_t i = 0; i < m->collections && status == POMAI_OK; i++)
        status = rescue_collection(s, &m->entry[i], err);
    if (s->db != NULL) {
        pomai_status closed = pm_db_close(s->db, status == POMAI_OK ? err : NULL);
        if (status == POMAI_OK) status = closed;
    }
    return status;
}

static pomai_status give_report(salvage *s, char **json, pomai_error *err)
{
    pm_text text = {0};
    const char *lost = s->lost.data != NULL ? s->lost.data : "";
    const char *collections = s->collections.data != NULL ? s->collections.data : "";
    pm_text_add(&text,
                "{\"rows\": %llu, \"expired\": %llu, \"catalogue\": %llu, \"collections\": [%s], \"lost\": [%s], "
                "\"notes\": ",
                (ull)s->rows, (ull)s->expired, (ull)s->in.manifest.number, collections, lost);
    pm_text_add_json(&text, s->notes.data != NULL ? s->notes.data : "", s->notes.size);
    pm_text_add(&text, "}");
    if (text.failed || s->lost.failed || s->notes.failed || s->collections.failed) {
        pm_free(text.data);
        return no_memory(err);
    }
    if (json != NULL)
        *json = text.data;
    else
        pm_free(text.data);
    return POMAI_OK;
}

pomai_status pm_salvage(const pm_os *os, const char *from, const char *to, pomai_progress_fn progress, void *context,
                        char **json, bool *whole, pomai_error *err)
{
    salvage *s = pm_calloc(1, sizeof *s);
    *whole = false;
    if (s == NULL) return no_memory(err);
    s->progress = progress;
    s->context = context;
    pomai_status status = pm_inspect_lock(&s->in, os, from, true, err);
    char *copies = status == POMAI_OK ? pm_layout_path(from, PM_COPIES_DIR) : NULL;
    if (status == POMAI_OK && copies == NULL) status = no_memory(err);
    if (status == POMAI_OK)
        status = pm_manifest_read_any(os, s->in.manifest_dir, copies, &s->in.manifest, &s->current, &s->notes, err);
    pm_free(copies);
    if (status == POMAI_OK) status = rescue_all(s, from, to, err);
    if (status == POMAI_OK) {
        status = give_report(s, json, err);
        *whole = status == POMAI_OK && s->losses == 0;
    }
    for (uint32_t i = 0; i < PM_MAX_SHARDS; i++) {
        if (s->log[i].place.dir == NULL) continue;
        if (s->log[i].wal.place != NULL) pm_wal_salvage_free(&s->log[i].wal);
        pm_free((char *)(uintptr_t)s->log[i].place.dir);
    }
    pm_free(s->dropped);
    pm_free(s->lost.data);
    pm_free(s->notes.data);
    pm_free(s->collections.data);
    pm_inspect_end(&s->in);
    pm_free(s);
    return status;
}
