/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of one shard: read the log, let the engine decide the batches over all shards, replay, settle. Replaying
 * twice equals replaying once: nothing is changed before settling, and settling can be cut off anywhere.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

static bool grow(void **array, size_t *capacity, size_t count, size_t each)
{
    if (count < *capacity) return true;
    size_t wider = *capacity == 0 ? 64 : *capacity * 2;
    void *memory = pm_realloc(*array, wider * each);
    if (memory == NULL) return false;
    *array = memory;
    *capacity = wider;
    return true;
}

static pomai_status take_record(pm_wal_scan *scan, const pm_wal_image *image, uint64_t at, pomai_error *err)
{
    pm_shard *shard = scan->context;
    const pm_rec_header *h = (const pm_rec_header *)(const void *)(image->data + at);
    void *records = shard->record;
    bool room = grow(&records, &shard->record_capacity, shard->records, sizeof *shard->record);
    shard->record = records;
    if (!room) return pm_fail(err, POMAI_ENOMEM, "no memory to replay the log %s", shard->place.dir);
    shard->record[shard->records++] = h;
    shard->rows_read += h->op == PM_OP_PUT ? h->rows : 0;
    if (h->parts == 1 && h->op != PM_OP_ABORT) return POMAI_OK;
    void *parts = shard->part;
    room = grow(&parts, &shard->part_capacity, shard->parts, sizeof *shard->part);
    shard->part = parts;
    if (!room) return pm_fail(err, POMAI_ENOMEM, "no memory to replay the log %s", shard->place.dir);
    shard->part[shard->parts++] = (pm_recovered_part){
        .batch = h->batch, .shard = shard->index, .part = h->part, .parts = h->parts, .aborted = h->op == PM_OP_ABORT};
    return POMAI_OK;
}

/* Held by the chunks that lie in it once all is replayed. */
static pomai_status take_image(pm_wal_scan *scan, pm_wal_image *image, pomai_error *err)
{
    pm_shard *shard = scan->context;
    void *images = shard->image;
    bool room = grow(&images, &shard->image_capacity, shard->images, sizeof *shard->image);
    shard->image = images;
    pm_pages *pages = room ? pm_pages_make(shard->shared->os, image->data, image->mapped, &shard->slab_bytes) : NULL;
    if (pages == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to replay the log %s", shard->place.dir);
    shard->image[shard->images++] = pages;
    shard->last_image = *image;
    image->data = NULL;
    return POMAI_OK;
}

static pomai_status take_file(pm_wal_scan *scan, const pm_wal_end *end, pomai_error *err)
{
    (void)err;
    pm_shard_note_sealed(scan->context, end);
    return POMAI_OK;
}

void pm_shard_recovered(pm_shard *shard)
{
    for (size_t i = 0; i < shard->images; i++)
        pm_pages_let_go(shard->image[i]);
    pm_free(shard->image);
    shard->image = NULL;
    shard->images = 0;
}

pomai_status pm_shard_scan(pm_shard *shard, const pm_manifest_shard *begin, bool accept_damage, pm_text *notes,
                           pomai_error *err)
{
    shard->scan = (pm_wal_scan){.place = &shard->place,
                                .first_number = begin->first_wal,
                                .before = pm_wal_before(begin),
                                .accept_damage = accept_damage,
                                .on_record = take_record,
                                .on_image = take_image,
                                .on_file = take_file,
                                .context = shard,
                                .notes = notes};
    pomai_status status = pm_wal_scan_run(&shard->scan, err);
    if (status != POMAI_OK) return status;
    if (shard->scan.torn_at != 0)
        pm_text_add(notes, "torn tail of %llu bytes in log file %llu of %s at offset %llu\n",
                    (unsigned long long)shard->scan.torn_bytes, (unsigned long long)shard->scan.end.number,
                    shard->place.dir, (unsigned long long)shard->scan.torn_at);
    return POMAI_OK;
}

const pm_recovered_part *pm_shard_parts(const pm_shard *shard, size_t *count)
{
    *count = shard->parts;
    return shard->part;
}

uint64_t pm_shard_open_counter(const pm_shard *shard)
{
    return shard->scan.open_counter;
}

uint64_t pm_shard_end_lsn(const pm_shard *shard)
{
    return shard->scan.end.lsn;
}

void pm_shard_show_segments(pm_shard *shard, uint64_t flushed)
{
    if (flushed > atomic_load(&shard->visible)) atomic_store(&shard->visible, flushed);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Also of records that are not shown: what verify refuses must not open. coll NULL: it was dropped. */
static pomai_status check_fit(const pm_shard *shard, const pm_coll *coll, const pm_rec_header *h, pomai_error *err)
{
    if (h->collection >= shard->shared->next_collection)
        return pm_fail(
            err, POMAI_ECORRUPT,
            "LSN %llu of %s is of collection %u, which the catalogue never made; restore both from the same copy",
            (unsigned long long)h->lsn, shard->place.dir, h->collection);
    const bool vectors_fit = h->op != PM_OP_PUT || coll == NULL ||
                             (h->dim == coll->dim && (h->dtype == coll->dtype || PM_MUTANT(RECORD_TYPE_IGNORED)));
    if (coll != NULL && (h->id_kind != coll->id_kind || !vectors_fit))
        return pm_fail(
            err, POMAI_ECORRUPT,
            "LSN %llu of %s does not fit the collection %s: dimension %u, type %s, kind of id %u; is the catalogue of "
            "the same copy as the log?",
            (unsigned long long)h->lsn, shard->place.dir, coll->name, h->dim, pm_dtype_name((pomai_dtype)h->dtype),
            h->id_kind);
    return POMAI_OK;
}

/* Which of the images a record lies in: records come in their order. */
static pm_pages *image_of(const pm_shard *shard, const pm_rec_header *h, size_t *at)
{
    const uint8_t *byte = (const uint8_t *)h;
    while (byte < shard->image[*at]->data || byte >= shard->image[*at]->data + shard->image[*at]->mapped)
        *at = (*at + 1) % shard->images;
    return shard->image[*at];
}

static void replay(pm_shard *shard, pm_coll *coll, pm_chunk *chunk, const pm_rec_header *h, uint64_t bytes)
{
    int64_t more;
    (void)pm_shard_apply(shard, coll, NULL, chunk, h, bytes, &more);
    if (more != 0) pm_tally_add(&coll->shard[shard->index], h->lsn, more);
}

static pomai_status replay_record(pm_shard *shard, pm_coll *coll, const pm_rec_header *h, size_t *image_at,
                                  pomai_error *err)
{
    const uint8_t *payload = (const uint8_t *)(h + 1);
    const uint64_t bytes = sizeof *h + h->payload_len;
    if (h->op == PM_OP_DELETE) {
        if (!PM_MUTANT(DELETE_NOT_REPLAYED)) replay(shard, coll, NULL, h, bytes);
        return POMAI_OK;
    }
    pm_id_bounds bounds;
    pm_id_bounds_of(h, payload, &bounds);
    pm_chunk *chunk = pm_memtable_reserve(coll->shard[shard->index].table, h->rows, &bounds);
    if (chunk == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to replay LSN %llu", (unsigned long long)h->lsn);
    const uint8_t *vectors = payload + pm_align_up(h->ids_len, PM_WAL_ALIGN);
    pm_chunk_point(chunk, h, payload, vectors);
    chunk->pages[0] = pm_pages_hold(image_of(shard, h, image_at));
    replay(shard, coll, chunk, h, bytes);
    return POMAI_OK;
}

pomai_status pm_shard_replay(pm_shard *shard, const uint64_t *aborted, size_t aborted_count,
                             pm_coll *(*find)(void *context, uint32_t id), void *context, pomai_error *err)
{
    const size_t again = PM_MUTANT(REPLAYED_TWICE) && shard->records > 0;
    size_t image_at = 0;
    for (size_t i = 0; i < shard->records + again; i++) {
        const pm_rec_header *h = shard->record[i < shard->records ? i : 0];
        if (h->op == PM_OP_ABORT) continue;
        pm_coll *coll = find(context, h->collection);
        pomai_status status = check_fit(shard, coll, h, err);
        if (status != POMAI_OK) return status;
        bool aborted_part = h->parts > 1 && aborted_count > 0 && !PM_MUTANT(ABORT_IGNORED) &&
                            bsearch(&h->batch, aborted, aborted_count, sizeof *aborted, by_value) != NULL;
        if (coll == NULL || aborted_part) continue;
        if (h->lsn <= coll->shard[shard->index].flushed && !PM_MUTANT(FLUSHED_REPLAYED)) continue;
        status = replay_record(shard, coll, h, &image_at, err);
        /* A segment that cannot be read: what the record ends is not known. */
        if (status == POMAI_OK && pm_stopped(shard->shared)) {
            if (err != NULL) *err = shard->shared->stop_error;
            status = shard->shared->stop_error.status;
        }
        if (status != POMAI_OK) return status;
    }
    pm_free(shard->record);
    shard->record = NULL;
    shard->end = shard->scan.end;
    atomic_store(&shard->visible, shard->end.lsn);
    shard->applied_lsn = shard->end.lsn;
    atomic_store(&shard->durable_lsn, shard->end.lsn);
    atomic_store(&shard->count_bytes, shard->scan.bytes);
    pm_clock_at_least(shard->shared, shard->end.stamp);
    return POMAI_OK;
}

/* A file of its own for the ABORT records, written by hand: no thread runs yet. There is a file before it, with the
 * torn tail or the parts to abort. */
static pomai_status begin_file_with_aborts(pm_shard *shard, const uint64_t *aborts, size_t count, pomai_error *err)
{
    const pm_os *os = shard->shared->os;
    pm_wal_end pred = shard->end;
    const uint64_t number = pred.number + 1;
    assert(pred.number > 0);
    const uint64_t need = pm_align_up(PM_WAL_HEADER + count * PM_REC_HEADER, 4096);
    shard->capacity = pm_max_u64(need, pm_min_u64(shard->shared->wal_file_bytes, PM_FIRST_FILE));
    pomai_status status = pm_wal_create(&shard->place, number, shard->capacity, shard->shared->open_counter, &pred,
                                        &shard->fd, &shard->seed, err);
    if (status == POMAI_ENOSPC && need < shard->capacity) {
        shard->capacity = need;
        status = pm_wal_create(&shard->place, number, need, shard->shared->open_counter, &pred, &shard->fd,
                               &shard->seed, err);
    }
    if (status != POMAI_OK) return status;
    pm_shard_note_sealed(shard, &pred);
    shard->end.number = number;
    shard->end.length = PM_WAL_HEADER;
    for (size_t i = 0; i < count; i++) {
        if (pm_shard_encode_abort(shard, aborts[i]) != PM_ENCODED)
            return pm_fail(err, POMAI_ENOMEM, "no memory to abort an incomplete batch");
        pm_pages_let_go(shard->pending[shard->pending_first & shard->pending_mask].pages);
        shard->pending_first = shard->unapplied = shard->pending_end; /* nothing to show */
    }
    int rc = 0;
    if (shard->span_count > 0) {
        rc = os->file_write(os, shard->fd, shard->spans, shard->span_count, shard->spans_at);
        if (rc == 0 && !PM_MUTANT(ABORT_NOT_SYNCED)) rc = os->file_sync(os, shard->fd);
    }
    shard->span_count = 0;
    shard->spans_at = 0;
    if (rc != 0)
        return pm_fail_os(err, rc, "cannot write to log file %llu of %s", (unsigned long long)number, shard->place.dir);
    PM_POINT(ABORTS_WRITTEN);
    pm_wal_trim(&shard->place, pred.number, pred.length);
    return POMAI_OK;
}

/* Of the last file, what the WATERMARK does not attest. */
static pomai_status settle_log(pm_shard *shard, pomai_error *err)
{
    const pm_wal_image *image = &shard->last_image;
    const pm_mark_slot *mark = &shard->scan.mark;
    uint64_t from = mark->number == shard->end.number ? pm_max_u64(mark->offset, PM_WAL_HEADER) : PM_WAL_HEADER;
    pm_span span = {NULL, 0};
    if (image->number == shard->end.number && image->length == shard->end.length && from < image->length)
        span = (pm_span){image->data + from, image->length - from};
    return pm_wal_settle(&shard->place, shard->end.number, &span, from, err);
}

#ifdef POMAI_MUTANTS
/* What a writer must not do after a torn tail: go on in the old file. */
static void go_on_in_old_file(pm_shard *shard)
{
    const pm_os *os = shard->shared->os;
    char path[4096];
    pm_wal_header header = {0};
    snprintf(path, sizeof path, "%s/%010llu.wal", shard->place.dir, (unsigned long long)shard->end.number);
    shard->fd = os->file_open(os, path, PM_OPEN_READ | PM_OPEN_WRITE);
    (void)os->file_read(os, shard->fd, &header, sizeof header, 0);
    shard->seed = pm_wal_seed(header.salt);
    shard->capacity = shard->shared->wal_file_bytes;
}
#endif

pomai_status pm_shard_settle(pm_shard *shard, const char *quarantine_dir, const uint64_t *aborts, size_t abort_count,
                             pomai_error *err)
{
    pomai_status status = POMAI_OK;
    /* Not while scanning: another shard's damage may still refuse the open. */
    pm_wal_remove_leftovers(&shard->place, shard->scan.first_number);
    if (shard->end.number > 0) status = settle_log(shard, err);
    if (status == POMAI_OK && shard->scan.torn_at != 0 && !PM_MUTANT(QUARANTINE_FORGOTTEN))
        status = pm_wal_quarantine(&shard->scan, quarantine_dir, err);
    if (status != POMAI_OK) return status;
    if (PM_MUTANT(ABORT_NOT_WRITTEN)) abort_count = 0;
    shard->synced = shard->written = shard->end;
    status = pm_mark_open(&shard->place, shard->scan.mark.sequence, &shard->mark, err);
    if (status != POMAI_OK) return status;
#ifdef POMAI_MUTANTS
    if (PM_MUTANT(APPEND_AFTER_TORN_TAIL) && shard->scan.torn_at != 0 && abort_count == 0) go_on_in_old_file(shard);
#endif
    const bool new_file = shard->fd < 0 && (shard->scan.torn_at != 0 || abort_count > 0);
    if (new_file) status = begin_file_with_aborts(shard, aborts, abort_count, err);
    if (status != POMAI_OK) return status;
    atomic_store(&shard->ready, shard->pending_end);
    atomic_store(&shard->flipped, shard->pending_end);
    shard->synced = shard->written = shard->end;
    shard->marked_lsn = shard->end.lsn;
    atomic_store(&shard->visible, shard->end.lsn);
    shard->applied_lsn = shard->end.lsn;
    atomic_store(&shard->durable_lsn, shard->end.lsn);
    if (shard->end.number == 0) return POMAI_OK;
    /* Also when it says the same: it may have been left unsynced. */
    return pm_mark_write(&shard->place, &shard->mark, &shard->end, err);
}

void pm_shard_get_report(const pm_shard *shard, pm_shard_report *report)
{
    *report = (pm_shard_report){.records = shard->scan.records,
                                .rows = shard->rows_read,
                                .bytes = shard->scan.bytes,
                                .torn_bytes = shard->scan.torn_bytes,
                                .torn = shard->scan.torn_at != 0,
                                .damaged = shard->scan.damaged};
}
