/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a part of a batch to a record in the log slab. The slab's copy of the vectors is the only one: the memtable
 * points into it. Everything that applying the record will need is reserved here, before the record exists, so that
 * what is logged can be shown.
 */
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

/* `size` is a multiple of PM_WAL_ALIGN. The memory is zero: padding needs no writing. */
static uint8_t *slab_reserve(pm_shard *shard, size_t size)
{
    pm_slab *slab = &shard->slab;
    if (slab->pages == NULL || slab->pages->mapped - slab->used < size) {
        size_t mapped = pm_align_up(pm_max_u64(size, pm_min_u64(shard->capacity, PM_SLAB_MOST)), 4096);
        pm_pages *pages = pm_pages_make(shard->shared->os, NULL, mapped, &shard->slab_bytes);
        if (pages == NULL) return NULL;
        pm_pages_let_go(slab->pages);
        *slab = (pm_slab){.pages = pages};
        shard->slabs++;
    }
    return slab->pages->data + slab->used;
}

/* A page fault costs as much as copying the page. While puts stream in, the log writer, idle between jobs, takes them
 * ahead. */
static void touch_ahead(pm_shard *shard)
{
    pm_slab *slab = &shard->slab;
    if (shard->slabs == 1 && slab->used < PM_TOUCH_AHEAD / 4) return; /* a small database takes no memory ahead */
    if (slab->touched >= slab->used + PM_TOUCH_AHEAD / 2 || slab->touched >= slab->pages->mapped) return;
    if (atomic_load_explicit(&shard->touch_size, memory_order_acquire) != 0) return;
    size_t from = pm_align_up(pm_max_u64(slab->touched, slab->used), 4096);
    size_t to = pm_min_u64(slab->used + PM_TOUCH_AHEAD, slab->pages->mapped);
    if (from >= to) return;
    slab->touched = to;
    pm_pages_let_go(shard->touch_pages);
    shard->touch_pages = pm_pages_hold(slab->pages);
    shard->touch_at = slab->pages->data + from;
    atomic_store_explicit(&shard->touch_size, to - from, PM_MUTANT_ORDER(TOUCH_RELAXED, memory_order_release));
    pm_task_wake(&shard->writer);
}

static inline uint32_t row_of(const pm_part *part, uint32_t i)
{
    return part->index != NULL ? part->index[i] : part->first + i;
}

/* ---- columns ---- */

typedef struct columns {
    pm_rec_layout layout;
    bool expiry;
    bool range; /* ids are consecutive: one number says all */
    uint64_t first_id;
} columns;

/* Given ids often are consecutive, too. */
static bool ids_consecutive(const pm_part *part, uint64_t *first)
{
    const pm_batch *batch = part->batch;
    if (batch->coll->id_kind != POMAI_ID_U64) return false;
    if (batch->u64_ids == NULL) {
        *first = batch->first_id + part->first;
        return part->index == NULL;
    }
    *first = batch->u64_ids[row_of(part, 0)];
    if (*first > UINT64_MAX - part->rows) return false;
    for (uint32_t i = 1; i < part->rows; i++)
        if (batch->u64_ids[row_of(part, i)] != *first + i) return false;
    return true;
}

static void measure(const pm_part *part, columns *c)
{
    const pm_batch *batch = part->batch;
    uint64_t ids = 0, vectors = 0, documents = 0;
    c->range = ids_consecutive(part, &c->first_id);
    if (batch->coll->id_kind == POMAI_ID_STRING) {
        ids = ((uint64_t)part->rows + 1) * sizeof(uint32_t);
        for (uint32_t i = 0; i < part->rows; i++)
            ids += batch->string_ids[row_of(part, i)].size;
    } else {
        ids = c->range ? sizeof(uint64_t) : part->rows * sizeof(uint64_t);
    }
    if (batch->op == PM_OP_PUT) vectors = part->rows * pm_coll_stride(batch->coll);
    if (batch->documents != NULL) {
        documents = ((uint64_t)part->rows + 1) * sizeof(uint32_t);
        for (uint32_t i = 0; i < part->rows; i++)
            documents += batch->documents[row_of(part, i)].size;
    }
    c->expiry = batch->op == PM_OP_PUT && (batch->expiry != NULL || batch->coll->ttl_ns != 0);
    pm_rec_layout_init(&c->layout, ids, vectors, c->expiry ? part->rows * sizeof(uint64_t) : 0, documents);
}

/* rows + 1 ends, then the bytes. */
static void copy_bytes(uint8_t *to, const pm_part *part, const pomai_bytes *from)
{
    uint32_t *ends = (uint32_t *)(void *)to;
    uint8_t *bytes = to + ((size_t)part->rows + 1) * sizeof *ends;
    uint32_t end = 0;
    ends[0] = 0;
    const bool swap = PM_MUTANT(DOCUMENTS_SWAPPED) && from == part->batch->documents && part->rows > 1;
    for (uint32_t i = 0; i < part->rows; i++) {
        const pomai_bytes *b = &from[row_of(part, swap && i < 2 ? 1 - i : i)];
        if (b->size > 0) memcpy(bytes + end, b->data, b->size);
        end += (uint32_t)b->size; /* all bytes of a batch are below POMAI_MAX_BATCH_BYTES */
        ends[i + 1] = end;
    }
}

static void copy_ids(uint8_t *to, const pm_part *part, const columns *c)
{
    const pm_batch *batch = part->batch;
    if (c->range) {
        memcpy(to, &c->first_id, sizeof c->first_id);
    } else if (batch->coll->id_kind == POMAI_ID_STRING) {
        copy_bytes(to, part, batch->string_ids);
    } else {
        uint64_t *ids = (uint64_t *)(void *)to;
        for (uint32_t i = 0; i < part->rows; i++)
            ids[i] = batch->u64_ids != NULL ? batch->u64_ids[row_of(part, i)] : batch->first_id + row_of(part, i);
    }
}

static void copy_vectors(uint8_t *to, const pm_part *part)
{
    const size_t bytes = pm_coll_stride(part->batch->coll);
    const uint8_t *from = part->batch->vectors;
    if (part->index == NULL) {
        memcpy(to, from + part->first * bytes, part->rows * bytes);
        return;
    }
    for (uint32_t i = 0; i < part->rows; i++)
        memcpy(to + i * bytes, from + part->index[i] * bytes, bytes);
}

/* What the caller gave, or `now` and the collection's time to live. */
static void copy_expiry(uint8_t *to, const pm_part *part, uint64_t now)
{
    const pm_batch *batch = part->batch;
    uint64_t *expiry = (uint64_t *)(void *)to, later;
    if (pm_add_overflows(now, batch->coll->ttl_ns, &later)) later = 0;
    for (uint32_t i = 0; i < part->rows; i++)
        expiry[i] = batch->expiry != NULL ? batch->expiry[row_of(part, i)] : later;
}

/* The commit stamp; or the clock that reads go by, if it is far ahead after it was once wrong. */
static uint64_t now_of(const pm_shard *shard, const pm_rec_header *h)
{
    const uint64_t clock = atomic_load_explicit(&shard->shared->clock, memory_order_relaxed);
    return clock > h->stamp && clock - h->stamp > PM_CLOCK_AHEAD_NS ? clock : h->stamp;
}

/* ---- records ---- */

/* Whether `total` bytes fit the active file and `spans` more spans the next commit. */
static pm_encoded room_for(pm_shard *shard, uint64_t total, size_t spans)
{
    if (shard->span_count + spans > PM_JOB_SPANS) return PM_ENCODE_FULL;
    if (shard->fd < 0 || shard->end.length + total > shard->capacity) {
        shard->rotate = true;
        shard->rotate_least = PM_WAL_HEADER + total;
        return PM_ENCODE_WAIT;
    }
    return PM_ENCODED;
}

static void add_span(pm_shard *shard, const void *data, size_t size)
{
    if (size == 0) return;
    if (shard->span_count > 0) { /* records lie one behind the other in the slab */
        pm_span *last = &shard->spans[shard->span_count - 1];
        if ((const uint8_t *)last->data + last->size == data) {
            last->size += size;
            return;
        }
    }
    shard->spans[shard->span_count++] = (pm_span){data, size};
}

static void begin_header(pm_shard *shard, pm_rec_header *h)
{
    const pm_os *os = shard->shared->os;
    memset(h, 0, sizeof *h);
    h->version = PM_REC_VERSION;
    h->lsn = shard->end.lsn + 1;
    h->durable_lsn = PM_MUTANT(WITNESS_LIES) ? shard->end.lsn : shard->synced.lsn;
    h->stamp = pm_max_u64(shard->end.stamp, os->wall_ns(os));
}

/* The record is in place and sealed: it is part of the log's encoded end, and of the next commit. */
static void append(pm_shard *shard, const pm_rec_header *h, uint64_t total, pm_part *part, pm_chunk *chunk)
{
    if (shard->spans_at == 0) shard->spans_at = shard->end.length;
    shard->end.lsn = h->lsn;
    shard->end.stamp = h->stamp;
    shard->end.chain = pm_rec_chain(shard->end.chain, h);
    shard->end.length += total;
    if (part != NULL) part->place = shard->pending_end;
    shard->pending[shard->pending_end++ & shard->pending_mask] = (pm_pending){.lsn = h->lsn,
                                                                              .part = part,
                                                                              .chunk = chunk,
                                                                              .record = h,
                                                                              .pages = pm_pages_hold(shard->slab.pages),
                                                                              .bytes = total};
    shard->last_append = shard->shared->os->now_ns(shard->shared->os);
    pm_count(&shard->count_records, 1);
    pm_count(&shard->count_bytes, total);
    PM_POINT(PART_ENCODED);
}

static void fill_header(pm_rec_header *h, const pm_part *part, const columns *c)
{
    const pm_batch *batch = part->batch;
    h->op = batch->op;
    h->id_kind = (uint8_t)batch->coll->id_kind;
    h->flags = (uint8_t)((c->range ? PM_REC_IDS_ARE_RANGE : 0) | (batch->documents != NULL ? PM_REC_HAS_DOCUMENTS : 0) |
                         (c->expiry ? PM_REC_HAS_EXPIRY : 0));
    h->batch = batch->id;
    h->part = part->number;
    h->parts = batch->parts;
    h->collection = batch->coll->id;
    h->rows = part->rows;
    if (batch->op == PM_OP_PUT) {
        h->dtype = (uint8_t)batch->coll->dtype;
        h->dim = batch->coll->dim;
    }
    h->payload_len = c->layout.payload_len;
    h->ids_len = c->layout.ids_len;
    h->vectors_len = c->layout.vectors_len;
    h->expiry_len = c->layout.expiry_len;
    h->documents_len = c->layout.documents_len;
}

/* An adopted block's rows stay where they are; only what surrounds them is in the slab. */
static void place_adopted(pm_shard *shard, uint8_t *at, pm_rec_header *h, const pm_part *part, const columns *c,
                          const void **vectors)
{
    static const uint8_t zeros[PM_WAL_ALIGN];
    const pm_rec_layout *l = &c->layout;
    const size_t pad = l->expiry_at - l->vectors_at - l->vectors_len;
    uint8_t *tail = at + l->vectors_at;
    *vectors = (const uint8_t *)part->batch->vectors + part->first * pm_coll_stride(part->batch->coll);
    if (c->expiry) copy_expiry(tail, part, now_of(shard, h));
    if (part->batch->documents != NULL)
        copy_bytes(tail + (l->documents_at - l->expiry_at), part, part->batch->documents);
    pm_span pieces[] = {{at + l->ids_at, l->vectors_at - l->ids_at},
                        {*vectors, l->vectors_len},
                        {zeros, pad},
                        {tail, l->total - l->expiry_at}};
    pm_rec_seal(h, pieces, sizeof pieces / sizeof pieces[0], shard->seed);
    add_span(shard, at, l->vectors_at);
    add_span(shard, *vectors, l->vectors_len);
    add_span(shard, zeros, pad);
    add_span(shard, tail, l->total - l->expiry_at);
}

static void place_copied(pm_shard *shard, uint8_t *at, pm_rec_header *h, const pm_part *part, const columns *c,
                         const void **vectors)
{
    const pm_rec_layout *l = &c->layout;
    if (l->vectors_len > 0) copy_vectors(at + l->vectors_at, part);
    if (c->expiry) copy_expiry(at + l->expiry_at, part, now_of(shard, h));
    if (part->batch->documents != NULL) copy_bytes(at + l->documents_at, part, part->batch->documents);
    *vectors = at + l->vectors_at;
    pm_span payload = {at + PM_REC_HEADER, l->payload_len};
    pm_rec_seal(h, &payload, 1, shard->seed);
    add_span(shard, at, l->total);
}

static pm_encoded no_memory(const pm_part *part, const columns *c, pomai_error *err)
{
    pm_fail(err, POMAI_ENOMEM, "no memory for %u rows (%llu bytes); nothing was written", part->rows,
            (unsigned long long)c->layout.total);
    return PM_ENCODE_FAILED;
}

pm_encoded pm_shard_encode(pm_shard *shard, pm_part *part, pomai_error *err)
{
    pm_batch *batch = part->batch;
    columns c;
    measure(part, &c);
    pm_encoded room = room_for(shard, c.layout.total, PM_SPANS_A_RECORD + 1);
    if (room != PM_ENCODED) return room;
    const size_t in_slab =
        batch->adopt != NULL ? c.layout.vectors_at + (c.layout.total - c.layout.expiry_at) : c.layout.total;
    uint8_t *at = slab_reserve(shard, in_slab);
    if (at == NULL) return no_memory(part, &c, err);
    pm_rec_header *h = (pm_rec_header *)(void *)at;
    const void *vectors;
    begin_header(shard, h);
    fill_header(h, part, &c);
    copy_ids(at + c.layout.ids_at, part, &c);
    pm_chunk *chunk = NULL;
    if (batch->op == PM_OP_PUT) {
        pm_id_bounds bounds;
        pm_id_bounds_of(h, at + c.layout.ids_at, &bounds);
        chunk = pm_memtable_reserve(batch->coll->shard[shard->index].table, part->rows, &bounds);
        if (chunk == NULL) {
            memset(at, 0, c.layout.vectors_at); /* the slab stays zero behind what is used */
            return no_memory(part, &c, err);
        }
    }
    shard->slab.used += in_slab;
    touch_ahead(shard);
    if (batch->adopt != NULL)
        place_adopted(shard, at, h, part, &c, &vectors);
    else
        place_copied(shard, at, h, part, &c, &vectors);
    if (chunk != NULL) {
        /* With an adopted block the columns are not one payload in memory: point at ids and documents one by one. */
        pm_rec_header shape = *h;
        if (batch->adopt != NULL) shape.payload_len = in_slab - PM_REC_HEADER;
        pm_chunk_point(chunk, &shape, at + PM_REC_HEADER, vectors);
        chunk->pages[0] = pm_pages_hold(shard->slab.pages);
        if (batch->adopt != NULL) chunk->pages[1] = pm_pages_hold(batch->adopt);
    }
    part->lsn = h->lsn;
    if (part->number == 0) batch->stamp = h->stamp;
    if (batch->level == POMAI_DURABILITY_SYNC) shard->want_sync = true;
    append(shard, h, c.layout.total, part, chunk);
    return PM_ENCODED;
}

pm_encoded pm_shard_encode_abort(pm_shard *shard, uint64_t batch)
{
    pm_encoded room = room_for(shard, PM_REC_HEADER, 1);
    if (room != PM_ENCODED) return room;
    uint8_t *at = slab_reserve(shard, PM_REC_HEADER);
    if (at == NULL) return PM_ENCODE_FAILED;
    shard->slab.used += PM_REC_HEADER;
    pm_rec_header *h = (pm_rec_header *)(void *)at;
    begin_header(shard, h);
    h->op = PM_OP_ABORT;
    h->batch = batch;
    h->parts = 1;
    pm_rec_seal(h, NULL, 0, shard->seed);
    add_span(shard, at, PM_REC_HEADER);
    append(shard, h, PM_REC_HEADER, NULL, NULL);
    pm_count(&shard->count_aborts, 1);
    return PM_ENCODED;
}
