/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that are looked at and then written: updates, and deletes by filter. Rows are taken some at a time, read as they
 * are by now, and written on the condition that they still are when they are logged (docs/threads.md, "A write with a
 * condition"); those that are not are read again. Invariants:
 *  1. A row is deleted or updated only if its newest version was looked at: it matched, and its vector and expiry are
 *     what is written.
 *  2. Rows of one shard that go together are one record: all or none of them.
 *  3. Once a call is cancelled no more is written than what is under way. A deadline ends the looking; what had been
 *     found by then is written, up to one piece: a call with a short one, made again, gets on, unless what it writes
 *     matches as before.
 */
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/engine/engine.h"
#include "filter/merge.h"
#include "query/judge.h"

enum {
    PIECE_BYTES = 16 << 20, /* of what is read and written at once; a row of more goes alone */
    PIECE_ROWS = 1 << 16,
    SCAN_ROWS = 1 << 16,
    ASK_ROWS = 1 << 10, /* that are read until it is asked whether the call is cancelled */
    MOST_ROUNDS = 200,  /* that a row is read again */
    LOOK_NS = 200 * 1000,
};

/* What is wanted. */
typedef struct change {
    pm_db *db;
    pm_coll *coll;
    const pm_write *write;
    uint8_t op;          /* PM_OP_ */
    pm_until until;      /* of a change by filter: looks for rows until then, */
    pm_filter_asks asks; /* and judges them again; others can only be cancelled */
    pm_judge judge;      /* filter NULL: all rows */
    bool looks;          /* by filter, */
    bool filtered;       /* of which judge is to be ended: {} is none */
    pm_merge *merged;    /* MERGE, and one patch for all */
    bool merges;
    const pomai_bytes *documents;   /* of an update: one of each id, */
    pomai_bytes document;           /* or NULL, and this one */
    pomai_ack ack;                  /* of all so far */
    uint64_t shown[PM_MAX_SHARDS];  /* LSNs to wait for before rows that were passed over are read again */
    uint64_t judged[PM_MAX_SHARDS]; /* by filter: versions up to these LSNs matched when they were found */
} change;

/* The ids of a call, or some of those of a scan. */
typedef struct work {
    const pomai_ids *ids;
    uint32_t *todo; /* of these ids those that are not done, by shard */
    uint32_t count;
} work;

/* Rows that are written together. */
typedef struct piece {
    uint32_t rows, most;
    uint64_t bytes;
    uint32_t *index; /* in the ids */
    uint64_t *lsn;
    uint64_t *u64_ids;
    pomai_bytes *string_ids;
    uint8_t *vectors;
    uint64_t *expiry;
    size_t *document; /* where each ends in `texts` */
    pomai_bytes *documents;
    pm_bytes texts;
    uint8_t *passed_over;
    uint32_t *slots; /* of all tables of ids, one behind the other */
    uint32_t used;   /* of these */
    uint16_t *shard;
    bool expires;
    void *memory;
} piece;

/* ---- reading ---- */

static size_t place(size_t *used, size_t count, size_t size)
{
    const size_t begin = *used;
    *used += pm_align_up(count * size, 8);
    return begin;
}

/* Counts are bounded by PIECE_ROWS and PIECE_BYTES: nothing here overflows. */
static bool piece_make(const change *c, uint32_t rows, piece *p)
{
    const size_t stride = c->op == PM_OP_PUT ? pm_coll_stride(c->coll) : 0;
    const uint64_t fit = pm_max_u64(PIECE_BYTES / (stride + 128), 1);
    const size_t n = pm_min_u64(pm_min_u64(rows, PIECE_ROWS), fit), slots = 4 * n + 4 * (size_t)PM_MAX_SHARDS;
    size_t used = 0;
    memset(p, 0, sizeof *p);
    const size_t index = place(&used, n, sizeof *p->index), lsn = place(&used, n, sizeof *p->lsn);
    const size_t u64_ids = place(&used, n, sizeof *p->u64_ids), strings = place(&used, n, sizeof *p->string_ids);
    const size_t vectors = place(&used, n, stride), expiry = place(&used, n, sizeof *p->expiry);
    const size_t document = place(&used, n, sizeof *p->document), texts = place(&used, n, sizeof *p->documents);
    const size_t passed = place(&used, n, 1), shard = place(&used, n, sizeof *p->shard);
    const size_t slot = place(&used, slots, sizeof *p->slots);
    uint8_t *memory = p->memory = pm_malloc(used);
    if (memory == NULL) return false;
    p->most = (uint32_t)n;
    p->index = (uint32_t *)(void *)(memory + index);
    p->lsn = (uint64_t *)(void *)(memory + lsn);
    p->u64_ids = (uint64_t *)(void *)(memory + u64_ids);
    p->string_ids = (pomai_bytes *)(void *)(memory + strings);
    p->vectors = memory + vectors;
    p->expiry = (uint64_t *)(void *)(memory + expiry);
    p->document = (size_t *)(void *)(memory + document);
    p->documents = (pomai_bytes *)(void *)(memory + texts);
    p->passed_over = memory + passed;
    p->shard = (uint16_t *)(void *)(memory + shard);
    p->slots = (uint32_t *)(void *)(memory + slot);
    return true;
}

static void piece_free(piece *p)
{
    pm_free(p->texts.data);
    pm_free(p->memory);
}

static void id_of(const pomai_ids *ids, uint32_t i, pm_id *id)
{
    memset(id, 0, sizeof *id);
    if (ids->u64 != NULL) {
        id->u64 = ids->u64[i];
        return;
    }
    id->bytes = ids->string[i].data;
    id->size = (uint32_t)ids->string[i].size;
}

static uint32_t shard_of(const pm_db *db, const pm_id *id)
{
    if (id->bytes != NULL) return pm_shard_of_string(id->bytes, id->size, db->shared.shards);
    return pm_shard_of_u64(id->u64, db->shared.shards);
}

static pomai_status no_object(const pm_id *id, pomai_error *err)
{
    if (id->bytes == NULL)
        return pm_fail(err, POMAI_EINVAL,
                       "the document of the row with id %llu is no JSON object, so nothing can be merged into it",
                       (unsigned long long)id->u64);
    return pm_fail(err, POMAI_EINVAL,
                   "the document of the row with id \"%.*s\" is no JSON object, so nothing can be merged into it",
                   (int)pm_min_u64(id->size, 80), (const char *)id->bytes);
}

/* Adds the row's new document to the texts. *same: a merge found nothing to remove, and has nothing to set. */
static pomai_status make_document(const change *c, piece *p, uint32_t index, const pm_id *id, pomai_bytes old,
                                  bool *same, pomai_error *err)
{
    const pomai_bytes given = c->documents != NULL ? c->documents[index] : c->document;
    bool object = true;
    *same = false;
    if (!c->merges) {
        pm_bytes_add(&p->texts, given.data, given.size);
    } else if (c->merged != NULL) {
        object = pm_merge_apply(c->merged, old.data, old.size, &p->texts);
        *same = !pm_merge_changed(c->merged);
    } else {
        pm_merge *merge;
        pomai_status status = pm_merge_parse(given.data, given.size, &merge, err);
        if (status != POMAI_OK) return status;
        object = pm_merge_apply(merge, old.data, old.size, &p->texts);
        *same = !pm_merge_changed(merge);
        pm_merge_free(merge);
    }
    if (!object) return no_object(id, err);
    if (p->texts.failed) return pm_fail(err, POMAI_ENOMEM, "no memory for %u documents", p->rows + 1);
    return POMAI_OK;
}

static uint64_t lsn_of(const pm_where *at)
{
    return pm_where_chunk(at->owner) ? ((const pm_chunk *)at->owner)->lsn : pm_segment_lsn(at->owner, at->row);
}

/* Adds a row as it is, unless nothing of it changes; *full: not this one, the piece has enough. */
static pomai_status add_row(const change *c, piece *p, uint32_t index, const pm_id *id, uint32_t shard,
                            const pm_where *at, bool *full, pomai_error *err)
{
    const bool chunk = pm_where_chunk(at->owner);
    const size_t stride = pm_coll_stride(c->coll), texts = p->texts.size;
    uint64_t bytes = id->bytes != NULL ? id->size : sizeof id->u64;
    if (c->op == PM_OP_PUT) {
        bool same;
        pomai_status status = make_document(c, p, index, id, pm_where_document(at), &same, err);
        if (status == POMAI_OK && same) p->texts.size = texts;
        if (status != POMAI_OK || same) return status;
        bytes += stride + sizeof(uint64_t) + p->texts.size - texts;
    }
    if (bytes > POMAI_MAX_BATCH_BYTES)
        return pm_fail(err, POMAI_ETOOBIG, "a row would have %llu bytes with its new document, at most %u (64 MiB)",
                       (unsigned long long)bytes, POMAI_MAX_BATCH_BYTES);
    *full = p->rows > 0 && p->bytes + bytes > PIECE_BYTES;
    if (*full) {
        p->texts.size = texts;
        return POMAI_OK;
    }
    const uint32_t i = p->rows++;
    p->bytes += bytes;
    p->index[i] = index;
    p->shard[i] = (uint16_t)shard;
    p->passed_over[i] = 0; /* the actor's from now on */
    p->u64_ids[i] = id->u64;
    p->string_ids[i] = (pomai_bytes){id->bytes, id->size};
    p->lsn[i] = lsn_of(at);
    if (c->op != PM_OP_PUT) return POMAI_OK;
    const pm_chunk *in = at->owner;
    p->expiry[i] = !chunk ? pm_segment_expiry(at->owner, at->row) : in->expiry == NULL ? 0 : in->expiry[at->row];
    if (PM_MUTANT(UPDATE_EXPIRY_LOST)) p->expiry[i] = 0;
    p->expires |= p->expiry[i] != 0;
    p->document[i] = p->texts.size;
    memcpy(p->vectors + i * stride, pm_where_stored(at->owner, at->row), stride);
    return POMAI_OK;
}

static bool is_cancelled(const change *c)
{
    const pm_until cancel = {c->until.os, PM_FOREVER, c->until.cancel};
    return pm_until_is_over(&cancel);
}

/* Nothing to merge: the row stays as it is, whatever its document. */
static bool is_left(const change *c, uint32_t index)
{
    return c->merges && c->documents != NULL && pm_merge_is_nothing(c->documents[index].data, c->documents[index].size);
}

/* Of a row that is there. */
static bool matches(change *c, uint32_t shard, const pm_where *at)
{
    if (!c->filtered || lsn_of(at) <= c->judged[shard] || PM_MUTANT(WHERE_NOT_JUDGED_AGAIN)) return true;
    return pm_judge_matches(&c->judge, pm_where_document(at));
}

/* Of the ids that are to be done, from *from on, as many rows as a piece takes: those that are there, and match. */
static pomai_status gather(change *c, const work *w, uint32_t *from, piece *p, pomai_error *err)
{
    const pm_read latest = {0};
    pm_view view;
    pomai_status status = POMAI_OK;
    bool full = false;
    p->rows = p->used = 0;
    p->bytes = p->texts.size = 0;
    p->expires = false;
    pm_epoch_hold hold = pm_db_take_view(c->db, c->coll, &latest, &view);
    while (*from < w->count && p->rows < p->most && status == POMAI_OK) {
        pm_id id;
        pm_where at;
        id_of(w->ids, w->todo[*from], &id);
        const uint32_t shard = shard_of(c->db, &id);
        status = pm_view_find(&view, shard, &id, pm_id_hash(&id, c->db->shared.segment_seed), &at, err);
        const bool take =
            status == POMAI_OK && at.owner != NULL && !is_left(c, w->todo[*from]) && matches(c, shard, &at);
        if (c->asks.over && p->rows > 0) break; /* these are written first */
        if (c->asks.over || (*from % ASK_ROWS == 0 && is_cancelled(c)))
            status = pm_judge_is_over(err);
        else if (take)
            status = add_row(c, p, w->todo[*from], &id, shard, &at, &full, err);
        if (full) break;
        if (status == POMAI_OK) ++*from;
    }
    pm_epoch_leave(&c->db->shared.epoch, hold);
    for (uint32_t i = 0; i < p->rows && c->op == PM_OP_PUT; i++) { /* now the texts stay where they are */
        const size_t begin = i == 0 ? 0 : p->document[i - 1];
        p->documents[i] = (pomai_bytes){p->texts.data == NULL ? NULL : p->texts.data + begin, p->document[i] - begin};
    }
    return status;
}

/* ---- writing ---- */

/* A batch of rows of one shard, sent. */
static pomai_status send_rows(change *c, piece *p, uint32_t first, uint32_t rows, bool wait, pm_batch **sent,
                              pomai_error *err)
{
    pm_db *db = c->db;
    *sent = NULL;
    pm_batch *b = pm_batch_take(&db->shared, 1);
    if (b != NULL) b->index = pm_malloc(rows * sizeof *b->index);
    if (b == NULL || b->index == NULL) {
        if (b != NULL) pm_batch_drop(&db->shared, b);
        return pm_fail(err, POMAI_ENOMEM, "no memory for a batch of %u rows", rows);
    }
    const bool numbers = c->coll->id_kind == POMAI_ID_U64;
    const uint32_t slots = pm_batch_id_slots(rows);
    b->coll = c->coll;
    b->op = c->op;
    b->level = c->write->level == POMAI_DURABILITY_DEFAULT ? db->durability : c->write->level;
    b->rows = rows;
    b->u64_ids = numbers ? p->u64_ids + first : NULL;
    b->string_ids = numbers ? NULL : p->string_ids + first;
    b->expected = p->lsn + first;
    b->passed_over = p->passed_over + first;
    if (c->op == PM_OP_PUT) {
        b->vectors = p->vectors + first * pm_coll_stride(c->coll);
        b->documents = p->texts.size > 0 ? p->documents + first : NULL;
        b->expiry = p->expires || c->coll->ttl_ns != 0 ? p->expiry + first : NULL;
    }
    for (uint32_t i = 0; i < rows; i++)
        b->index[i] = i;
    b->part[0].shard = p->shard[first];
    b->part[0].rows = rows;
    b->part[0].index = b->index;
    memset(p->slots + p->used, 0, slots * sizeof *p->slots);
    pm_batch_index_ids(&db->shared, b, p->slots + p->used, slots);
    p->used += slots;
    const pm_write write = {c->write->level, c->write->until_ns, wait, NULL};
    pomai_status status = pm_db_send(db, b, &write, err);
    if (status == POMAI_OK) *sent = b;
    return status;
}

static void add_ack(change *c, const pomai_ack *ack)
{
    const bool first = c->ack.parts == 0;
    if (ack->rows == 0) return; /* nothing was logged */
    c->ack.rows += ack->rows;
    c->ack.parts += ack->parts;
    c->ack.stamp_ns = pm_max_u64(c->ack.stamp_ns, ack->stamp_ns);
    if (first) {
        c->ack.lsn = ack->lsn;
        c->ack.shard = ack->shard;
    }
    if (ack->level < c->ack.level) c->ack.level = ack->level;
}

/* Waits for a batch, and notes until when its shard must have come before what was passed over is read again. */
static pomai_status finish_rows(change *c, pm_batch *b, pomai_error *err)
{
    pm_shared *shared = &c->db->shared;
    pomai_ack ack;
    (void)pm_batch_wait(shared, b, PM_FOREVER);
    pomai_status status = pm_batch_result(b, &ack, err);
    if (status == POMAI_OK) {
        add_ack(c, &ack);
        c->shown[b->part[0].shard] = pm_max_u64(c->shown[b->part[0].shard], b->judged_lsn);
    }
    pm_batch_drop(shared, b);
    return status;
}

/* A batch for each shard, all under way at once; the first failure counts. */
static pomai_status write_piece(change *c, piece *p, pomai_error *err)
{
    pm_batch *sent[PM_MAX_SHARDS];
    uint32_t batches = 0;
    pomai_status status = POMAI_OK;
    for (uint32_t first = 0, end; first < p->rows && status == POMAI_OK; first = end) {
        for (end = first + 1; end < p->rows && p->shard[end] == p->shard[first];)
            end++;
        status = send_rows(c, p, first, end - first, end == p->rows, &sent[batches], err);
        if (status == POMAI_OK) batches++;
    }
    for (uint32_t i = 0; i < batches; i++) {
        pomai_error error;
        pomai_status one = finish_rows(c, sent[i], &error);
        if (one == POMAI_OK || status != POMAI_OK) continue;
        status = one;
        if (err != NULL) *err = error;
    }
    return status;
}

/* ---- rounds ---- */

/* Until readers see what rows were passed over for. */
static pomai_status wait_shown(change *c, pomai_error *err)
{
    pm_shared *shared = &c->db->shared;
    for (uint32_t s = 0; s < shared->shards; s++) {
        while (pm_shard_visible(shared->shard[s]) < c->shown[s]) {
            _Atomic uint32_t nobody = 0;
            if (pm_stopped(shared)) return pm_stopped_error(shared, err);
            shared->os->word_wait(shared->os, &nobody, 0, shared->os->now_ns(shared->os) + LOOK_NS);
        }
        c->shown[s] = 0;
    }
    return POMAI_OK;
}

/* All ids once; those that were passed over are left. */
static pomai_status do_round(change *c, work *w, piece *p, pomai_error *err)
{
    uint32_t from = 0, left = 0;
    pomai_status status = POMAI_OK;
    while (from < w->count && status == POMAI_OK) {
        if (atomic_load(&c->coll->dropped))
            return pm_fail(err, POMAI_ENOTFOUND, "the collection %s was dropped", c->coll->name);
        status = gather(c, w, &from, p, err);
        PM_POINT(CHANGE_READ);
        if (status == POMAI_OK && is_cancelled(c)) return pm_judge_is_over(err);
        if (status == POMAI_OK && p->rows > 0) status = write_piece(c, p, err);
        for (uint32_t i = 0; i < p->rows && status == POMAI_OK; i++)
            if (p->passed_over[i] != 0) w->todo[left++] = p->index[i]; /* at most `from` of them: read already */
        if (status == POMAI_OK && (from < w->count || left > 0) && c->looks && pm_until_is_over(&c->until))
            return pm_judge_is_over(err);
    }
    w->count = left;
    return status;
}

static pomai_status do_rounds(change *c, work *w, piece *p, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    for (uint32_t round = 0; w->count > 0 && status == POMAI_OK; round++) {
        if (round == MOST_ROUNDS && c->op == PM_OP_PUT)
            return pm_fail(err, POMAI_EBUSY,
                           "%u rows were replaced by others each time that they were to be updated; the rest is done: "
                           "do it again",
                           w->count);
        if (round == MOST_ROUNDS) return POMAI_OK; /* each was replaced after it was to be deleted */
        status = wait_shown(c, err);
        if (status == POMAI_OK) status = do_round(c, w, p, err);
    }
    return status;
}

/* All of these ids. */
static pomai_status change_ids(change *c, const pomai_ids *ids, pomai_error *err)
{
    const uint32_t n = (uint32_t)ids->count, shards = c->db->shared.shards;
    uint32_t first[PM_MAX_SHARDS + 1] = {0};
    piece p;
    work w = {ids, pm_malloc(n * sizeof *w.todo), n};
    if (w.todo == NULL || !piece_make(c, n, &p)) {
        pm_free(w.todo);
        return pm_fail(err, POMAI_ENOMEM, "no memory to change %u rows", n);
    }
    pm_id id;
    for (uint32_t i = 0; i < n; i++) {
        id_of(ids, i, &id);
        first[shard_of(c->db, &id) + 1]++;
    }
    for (uint32_t s = 0; s < shards; s++)
        first[s + 1] += first[s];
    for (uint32_t i = 0; i < n; i++) {
        id_of(ids, i, &id);
        w.todo[first[shard_of(c->db, &id)]++] = i;
    }
    pomai_status status = do_rounds(c, &w, &p, err);
    piece_free(&p);
    pm_free(w.todo);
    return status;
}

/* All rows that match in a view of the moment. */
static pomai_status change_matching(change *c, const pm_filter *filter, pomai_error *err)
{
    const pm_read latest = {0};
    pm_scan *scan;
    pomai_rows *rows = NULL;
    pm_view view;
    bool over = false;
    pm_epoch_hold hold = pm_db_take_view(c->db, c->coll, &latest, &view);
    memcpy(c->judged, view.visible, c->db->shared.shards * sizeof view.visible[0]);
    pomai_status status = pm_scan_open(&view, c->coll->dim, c->coll->id_kind, 0, filter, c->db->simd, &scan, err);
    pm_epoch_leave(&c->db->shared.epoch, hold);
    if (status != POMAI_OK) return status;
    pm_scan_ask(scan, pm_until_is_over, &c->until);
    do {
        hold = pm_epoch_enter(&c->db->shared.epoch);
        status = pm_scan_next_part(scan, SCAN_ROWS, &rows, &over, err);
        pm_epoch_leave(&c->db->shared.epoch, hold);
        if (status != POMAI_OK || rows == NULL) break;
        const pomai_ids ids = {rows->count, rows->u64_ids, rows->string_ids};
        /* a scan of all rows is not over */
        const bool late = filter == NULL && c->ack.parts > 0 && pm_until_is_over(&c->until);
        status = late ? pm_judge_is_over(err) : change_ids(c, &ids, err);
        pm_rows_free(rows);
    } while (status == POMAI_OK && !over);
    if (status == POMAI_OK && over) status = pm_judge_is_over(err);
    pm_scan_close(scan);
    return status;
}

/* ---- calls ---- */

static pomai_status begin(pomai_collection *handle, const pm_write *write, change *c, pomai_error *err)
{
    memset(c, 0, sizeof *c);
    c->db = handle->db;
    c->write = write;
    c->ack.level = POMAI_DURABILITY_SYNC;
    /* 0 says only that it does not wait for room */
    c->until = (pm_until){c->db->os, write->until_ns == 0 ? PM_FOREVER : write->until_ns, write->cancel};
    pomai_status status = pm_check_writable(c->db, err);
    return status == POMAI_OK ? pm_handle_coll(handle, &c->coll, err) : status;
}

static pomai_status begin_filter(change *c, const pm_change_where *where, pm_filter **filter, pomai_error *err)
{
    pomai_status status = pm_parse_filter(where->filter, where->filter_size, filter, err);
    c->looks = true;
    if (status != POMAI_OK || *filter == NULL) return status;
    c->filtered = pm_judge_begin(&c->judge, NULL, *filter);
    c->asks = (pm_filter_asks){.is_over = pm_until_is_over, .context = &c->until};
    c->judge.asks = &c->asks;
    return c->filtered ? POMAI_OK : pm_fail(err, POMAI_ENOMEM, "no memory to judge rows by a filter");
}

static pomai_status end(change *c, pm_filter *filter, pomai_status status, pomai_ack *ack)
{
    if (c->filtered) pm_judge_end(&c->judge);
    pm_filter_free(filter);
    pm_merge_free(c->merged);
    if (ack != NULL) *ack = c->ack;
    if (c->ack.parts == 0) return status;
    _Atomic uint64_t *counter = c->op == PM_OP_PUT ? &c->coll->puts : &c->coll->deletes;
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
    if (c->op == PM_OP_PUT) atomic_fetch_add_explicit(&c->coll->put_rows, c->ack.rows, memory_order_relaxed);
    return status;
}

pomai_status pm_db_delete_where(pomai_collection *handle, const pm_change_where *where, const pm_write *write,
                                pomai_ack *ack, pomai_error *err)
{
    change c;
    pm_filter *filter = NULL;
    pomai_status status = begin(handle, write, &c, err);
    c.op = PM_OP_DELETE;
    if (status == POMAI_OK) status = begin_filter(&c, where, &filter, err);
    if (status == POMAI_OK && c.coll != NULL) status = change_matching(&c, filter, err);
    return end(&c, filter, status, ack);
}

static pomai_status check_how(pomai_update_how how, pomai_error *err)
{
    if (how == POMAI_UPDATE_REPLACE || how == POMAI_UPDATE_MERGE) return POMAI_OK;
    return pm_fail(err, POMAI_EINVAL, "unknown way to update: %d", (int)how);
}

static pomai_status check_document(const pomai_bytes *document, pomai_error *err)
{
    if (document->data == NULL && document->size > 0)
        return pm_fail(err, POMAI_EINVAL, "a document has a size but no data");
    if (document->size > POMAI_MAX_BATCH_BYTES)
        return pm_fail(err, POMAI_ETOOBIG, "a document has %zu bytes, at most %u (64 MiB)", document->size,
                       POMAI_MAX_BATCH_BYTES);
    return POMAI_OK;
}

pomai_status pm_db_update_where(pomai_collection *handle, const pm_change_where *where, const pomai_bytes *document,
                                pomai_update_how how, const pm_write *write, pomai_ack *ack, pomai_error *err)
{
    change c;
    pm_filter *filter = NULL;
    pomai_status status = begin(handle, write, &c, err);
    c.op = PM_OP_PUT;
    c.merges = how == POMAI_UPDATE_MERGE;
    c.document = *document;
    if (status == POMAI_OK) status = check_how(how, err);
    if (status == POMAI_OK) status = check_document(document, err);
    if (status == POMAI_OK && c.merges) status = pm_merge_parse(document->data, document->size, &c.merged, err);
    if (status == POMAI_OK) status = begin_filter(&c, where, &filter, err);
    const bool nothing = c.merges && pm_merge_is_nothing(document->data, document->size);
    if (status == POMAI_OK && c.coll != NULL && !nothing) status = change_matching(&c, filter, err);
    return end(&c, filter, status, ack);
}

/* Every patch, before anything is written. */
static pomai_status check_documents(const change *c, uint64_t count, pomai_error *err)
{
    for (uint64_t i = 0; i < count; i++) {
        pm_merge *merge = NULL;
        pomai_status status = check_document(&c->documents[i], err);
        if (status == POMAI_OK && c->merges)
            status = pm_merge_parse(c->documents[i].data, c->documents[i].size, &merge, err);
        pm_merge_free(merge);
        if (status != POMAI_OK) return status;
    }
    return POMAI_OK;
}

pomai_status pm_db_update(pomai_collection *handle, const pomai_ids *ids, const pomai_bytes *documents,
                          pomai_update_how how, const pm_write *write, pomai_ack *ack, pomai_error *err)
{
    change c;
    pomai_status status = begin(handle, write, &c, err);
    c.op = PM_OP_PUT;
    c.merges = how == POMAI_UPDATE_MERGE;
    c.documents = documents;
    if (status == POMAI_OK) status = check_how(how, err);
    if (status == POMAI_OK) status = pm_check_ids(c.coll, ids, err);
    if (status == POMAI_OK && ids->count == 0) status = pm_fail(err, POMAI_EINVAL, "no ids to update were given");
    if (status == POMAI_OK && ids->count > PM_MAX_ROWS)
        status = pm_fail(err, POMAI_ETOOBIG, "%zu ids at once, at most 16,777,216: split them", ids->count);
    if (status == POMAI_OK) status = pm_check_repeats(c.db, ids, err);
    if (status == POMAI_OK) status = check_documents(&c, ids->count, err);
    if (status == POMAI_OK && c.coll != NULL) status = change_ids(&c, ids, err);
    return end(&c, NULL, status, ack);
}
