/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations through pomai.h, each answer compared with the dumb model of tests/support/model.h. A case is one
 * short-lived database. Most cases use one thread and replay exactly from the seed that a failure prints; every fourth
 * has several client threads (threads.h). Searches are compared to the last bit: ids, distances, vectors, documents.
 */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../support/args.h"
#include "../support/gen.h"
#include "../support/model.h"
#include "../support/tmp.h"
#include "pomai/pomai.h"
#include "threads.h"

enum { SLOTS = 6, PENDING = 6, MAX_ROWS = 2500, SHOTS = 3 };

/* A collection, or a name for one; slot 0 is `default`. */
struct slot {
    struct m_coll model;
    bool exists;
    enum t_style style;
    bool ghosts;   /* rows are put that have expired already */
    unsigned made; /* which of those that had the name */
    pomai_collection *handle;
};

/* A snapshot, and what there was when it was taken. */
struct shot {
    pomai_snapshot *snapshot; /* NULL: free */
    uint64_t digest[2];
    unsigned changes; /* of the catalogue, until then */
    struct m_coll coll[SLOTS];
    unsigned made[SLOTS]; /* 0: there was none */
};

struct pending {
    pomai_ticket *ticket; /* NULL: free */
    struct slot *slot;
    struct m_batch batch;
    pomai_batch view;
    pomai_durability level;
};

struct world {
    struct t_rng rng;
    uint64_t seed;
    unsigned op;
    bool failed;
    const char *doing;
    char path[T_PATH_MAX];
    pomai_db *db;
    pomai_durability level;
    struct slot slots[SLOTS];
    struct pending pending[PENDING];
    struct shot shots[SHOTS];
    unsigned changes;               /* of the catalogue */
    const pomai_snapshot *snapshot; /* what reads go by */
    pomai_read_mode mode;
    uint64_t blocks[4];   /* where clustered ids lie */
    const void *oversize; /* POMAI_MAX_BATCH_BYTES and more of zeros that cost nothing */
};

/* ---- saying what went wrong ---- */

__attribute__((format(printf, 2, 3))) static bool fail(struct world *w, const char *format, ...)
{
    if (w->failed) return false;
    w->failed = true;
    fprintf(stderr, "model: FAILED: seed %llu operation %u (%s): ", (unsigned long long)w->seed, w->op, w->doing);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return false;
}

/* The status must be the wanted one, and a failure must come with a sentence. */
static bool expect(struct world *w, pomai_status got, pomai_status wanted, const pomai_error *err, const char *what)
{
    if (got != POMAI_OK) {
        if (err->status != got) return fail(w, "%s: err.status is %d, returned %d", what, err->status, got);
        if (memchr(err->message, 0, sizeof err->message) == NULL || err->message[0] == '\0')
            return fail(w, "%s: %s without a message", what, pomai_status_name(got));
    }
    if (got == wanted) return true;
    return fail(w, "%s: got %s, wanted %s (%s)", what, pomai_status_name(got), pomai_status_name(wanted),
                got == POMAI_OK ? "no error" : err->message);
}

/* ---- drawing ---- */

static pomai_durability draw_level(struct t_rng *rng)
{
    static const pomai_durability levels[] = {POMAI_DURABILITY_DEFAULT, POMAI_DURABILITY_DEFAULT,
                                              POMAI_DURABILITY_OS,      POMAI_DURABILITY_OS,
                                              POMAI_DURABILITY_GROUP,   POMAI_DURABILITY_SYNC};
    return levels[t_below(rng, sizeof levels / sizeof levels[0])];
}

static pomai_open_options draw_open_options(struct world *w)
{
    static const uint32_t mailboxes[] = {0, 1, 2, 4, 64};
    static const uint32_t helpers[] = {0, 1, 3, UINT32_MAX};
    static const uint64_t file_bytes[] = {65536, 65536, 65536, 131072, 1u << 20, 0};
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = (uint32_t)t_below(&w->rng, 6); /* 0: as many as cores */
    options.durability = draw_level(&w->rng);
    options.group_ms = (uint32_t)t_below(&w->rng, 5);
    options.mailbox_slots = mailboxes[t_below(&w->rng, 5)];
    options.search_threads = helpers[t_below(&w->rng, 4)];
    options.wal_file_bytes = file_bytes[t_below(&w->rng, 6)];
    if (t_chance(&w->rng, 10)) options.flags |= POMAI_OPEN_STRICT_MARK;
    if (t_chance(&w->rng, 40)) options.flags |= POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    if (t_chance(&w->rng, 60)) options.flush_bytes = (uint64_t)4096 << t_below(&w->rng, 9);
    if (t_chance(&w->rng, 60)) options.log_bytes = (uint64_t)65536 << t_below(&w->rng, 4);
    if (t_chance(&w->rng, 60)) options.segment_bytes = (uint64_t)16384 << t_below(&w->rng, 8);
    if (t_chance(&w->rng, 60)) options.freeze_rows = t_skewed(&w->rng, 1, 2000);
    options.compact_rate = t_chance(&w->rng, 70) ? UINT64_MAX : 0;
    return options;
}

static uint64_t draw_id(struct world *w, const struct m_coll *coll)
{
    static const uint64_t edges[] = {0, 1, 4095, 4096, 1u << 31, (uint64_t)1 << 32, (uint64_t)1 << 40};
    uint64_t kind = t_below(&w->rng, 100);
    if (kind < 30 && coll->count > 0) return coll->rows[t_below(&w->rng, coll->count)].id;
    if (kind < 60) return t_below(&w->rng, 1500);
    if (kind < 85) return w->blocks[t_below(&w->rng, 4)] * 4096 + t_below(&w->rng, 300);
    if (kind < 95) return t_next(&w->rng) >> t_below(&w->rng, 24) >> 1;
    return edges[t_below(&w->rng, sizeof edges / sizeof edges[0])];
}

/* Writes a string id into a buffer of POMAI_MAX_STRING_ID. */
static pomai_bytes draw_string(struct world *w, const struct m_coll *coll, char *buffer)
{
    uint64_t kind = t_below(&w->rng, 100);
    if (kind < 30 && coll->count > 0) {
        pomai_bytes id = coll->rows[t_below(&w->rng, coll->count)].string;
        memcpy(buffer, id.data, id.size);
        return (pomai_bytes){buffer, id.size};
    }
    size_t size;
    if (kind < 80) {
        size = (size_t)snprintf(buffer, 32, "doc-%llu", (unsigned long long)t_below(&w->rng, 900));
    } else {
        size = (size_t)t_skewed(&w->rng, 1, POMAI_MAX_STRING_ID);
        uint64_t alphabet = t_chance(&w->rng, 50) ? 2 : 256; /* with 2: many common prefixes, and NUL bytes */
        for (size_t i = 0; i < size; i++)
            buffer[i] = (char)t_below(&w->rng, alphabet);
    }
    return (pomai_bytes){buffer, size};
}

static void draw_vector(struct world *w, const struct slot *slot, float *out)
{
    const struct m_coll *coll = &slot->model;
    if (coll->count > 0 && t_chance(&w->rng, 10)) { /* equal rows: ties, and distances of 0 */
        memcpy(out, coll->rows[t_below(&w->rng, coll->count)].vector, coll->dim * sizeof(float));
        return;
    }
    t_styled_vector(&w->rng, slot->style, coll->dim, out);
    if (coll->metric == POMAI_METRIC_COSINE && t_is_zero_vector(out, coll->dim)) out[coll->dim - 1] = 1.0f;
}

/* One that the collection takes. */
static void draw_fitting(struct world *w, const struct slot *slot, float *out)
{
    const struct m_coll *coll = &slot->model;
    bool zero = true;
    draw_vector(w, slot, out);
    for (uint32_t d = 0; d < coll->dim; d++) {
        out[d] = m_fitting(coll->dtype, out[d]);
        zero = zero && m_stored(coll->dtype, out[d]) == 0.0f;
    }
    if (zero && coll->metric == POMAI_METRIC_COSINE) out[coll->dim - 1] = 1.0f;
}

static void draw_documents(struct world *w, struct m_batch *batch)
{
    batch->documents = m_alloc(batch->rows * sizeof *batch->documents);
    for (uint64_t i = 0; i < batch->rows; i++) {
        if (t_chance(&w->rng, 30)) continue;
        size_t size = (size_t)t_skewed(&w->rng, 1, t_chance(&w->rng, 1) ? 20000 : 60);
        uint8_t *bytes = m_alloc(size);
        for (size_t j = 0; j < size; j++)
            bytes[j] = (uint8_t)t_next(&w->rng);
        batch->documents[i] = (pomai_bytes){bytes, size};
    }
}

/* Never, in a few thousand years, or long ago. */
static void draw_expiries(struct world *w, const struct slot *slot, struct m_batch *batch)
{
    batch->expiry = m_alloc(batch->rows * sizeof *batch->expiry);
    for (uint64_t i = 0; i < batch->rows; i++) {
        uint64_t kind = t_below(&w->rng, 10);
        if (kind < 5) batch->expiry[i] = UINT64_C(9000000000000000000) + t_below(&w->rng, 1000);
        if (kind > 7 && slot->ghosts) batch->expiry[i] = 1 + t_below(&w->rng, M_PAST);
    }
}

/* A batch of up to `rows`; fewer if the ids repeat. */
static struct m_batch draw_batch(struct world *w, const struct slot *slot, uint64_t rows, bool assigned)
{
    const struct m_coll *coll = &slot->model;
    struct m_batch batch = {.dim = coll->dim};
    char buffer[POMAI_MAX_STRING_ID];
    if (coll->kind == POMAI_ID_STRING) {
        batch.strings = m_alloc(rows * sizeof *batch.strings);
    } else if (!assigned) {
        batch.ids = m_alloc(rows * sizeof *batch.ids);
    }
    uint64_t run = t_chance(&w->rng, 20) ? draw_id(w, coll) : 0; /* sometimes a run of neighbours */
    for (uint64_t i = 0; i < rows; i++) {
        if (batch.strings != NULL) {
            pomai_bytes id = draw_string(w, coll, buffer);
            if (m_batch_has(&batch, batch.rows, 0, id)) continue;
            batch.strings[batch.rows] = m_bytes_copy(id);
        } else if (batch.ids != NULL) {
            uint64_t id = run != 0 ? run + i : draw_id(w, coll);
            if (m_batch_has(&batch, batch.rows, id, (pomai_bytes){NULL, 0})) continue;
            batch.ids[batch.rows] = id;
        }
        batch.rows++;
    }
    batch.vectors = m_alloc(batch.rows * batch.dim * sizeof(float));
    for (uint64_t i = 0; i < batch.rows; i++)
        draw_fitting(w, slot, batch.vectors + i * batch.dim);
    if (coll->dtype > POMAI_DTYPE_FLOAT32 && t_chance(&w->rng, 50)) m_batch_narrow(&batch, coll->dtype);
    if (t_chance(&w->rng, 50)) draw_documents(w, &batch);
    if (t_chance(&w->rng, 25)) draw_expiries(w, slot, &batch);
    return batch;
}

static uint64_t draw_rows(struct world *w)
{
    return t_chance(&w->rng, 5) ? t_range(&w->rng, 200, 500) : t_skewed(&w->rng, 1, 120);
}

static pomai_write_options draw_write_options(struct world *w)
{
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    options.durability = draw_level(&w->rng);
    if (t_chance(&w->rng, 5)) options.deadline_us = t_below(&w->rng, 2) * 50;
    return options;
}

static struct slot *draw_slot(struct world *w)
{
    for (unsigned tries = 0; tries < 20; tries++) {
        struct slot *slot = &w->slots[t_below(&w->rng, SLOTS)];
        if (slot->exists) return slot;
    }
    return NULL;
}

/* ---- writes ---- */

static pomai_durability effective_level(const struct world *w, pomai_durability level)
{
    if (level != POMAI_DURABILITY_DEFAULT) return level;
    return w->level != POMAI_DURABILITY_DEFAULT ? w->level : POMAI_DURABILITY_SYNC;
}

static bool check_put_ack(struct world *w, const struct slot *slot, const struct m_batch *batch, pomai_durability level,
                          const pomai_ack *ack)
{
    if (ack->rows != batch->rows)
        return fail(w, "ack.rows %llu of %llu", (unsigned long long)ack->rows, (unsigned long long)batch->rows);
    if (ack->level < effective_level(w, level)) return fail(w, "ack.level %d, asked %d", ack->level, level);
    if (ack->parts == 0 || ack->lsn == 0 || ack->stamp_ns == 0) return fail(w, "ack without parts, lsn or stamp");
    if (batch->ids != NULL || batch->strings != NULL) {
        return ack->first_id == 0 || fail(w, "ack.first_id is set, but the ids were given");
    }
    for (uint64_t i = 0; i < batch->rows; i++) {
        if (m_find(&slot->model, ack->first_id + i, (pomai_bytes){NULL, 0}) != slot->model.count)
            return fail(w, "assigned the id %llu, which a row has", (unsigned long long)(ack->first_id + i));
    }
    return true;
}

/* Waits for one pending put. Given ids were put into the model at admission; assigned ones are known only now. */
static bool settle_one(struct world *w, struct pending *p)
{
    pomai_error err;
    pomai_ack ack;
    if (p->ticket == NULL) return true;
    bool assigned = p->batch.ids == NULL && p->batch.strings == NULL;
    if (!assigned && t_chance(&w->rng, 5)) { /* freeing waits */
        pomai_ticket_free(p->ticket);
    } else {
        pomai_status status = POMAI_EDEADLINE;
        if (t_chance(&w->rng, 30)) status = pomai_wait(p->ticket, t_below(&w->rng, 2) * 100, &ack, &err);
        if (status == POMAI_EDEADLINE) status = pomai_wait(p->ticket, UINT64_MAX, &ack, &err);
        if (!expect(w, status, POMAI_OK, &err, "wait")) return false;
        if (t_chance(&w->rng, 20) && !expect(w, pomai_wait(p->ticket, 0, &ack, &err), POMAI_OK, &err, "second wait"))
            return false;
        if (!check_put_ack(w, p->slot, &p->batch, p->level, &ack)) return false;
        if (assigned) m_put(&p->slot->model, &p->batch, ack.first_id);
        pomai_ticket_free(p->ticket);
    }
    p->ticket = NULL;
    m_batch_free(&p->batch);
    return true;
}

/* Waits for all pending puts of a collection, or of all (NULL), in any order. */
static bool settle(struct world *w, const struct slot *slot)
{
    uint64_t start = t_below(&w->rng, PENDING);
    for (unsigned i = 0; i < PENDING; i++) {
        struct pending *p = &w->pending[(start + i) % PENDING];
        if (p->ticket != NULL && (slot == NULL || p->slot == slot) && !settle_one(w, p)) return false;
    }
    return true;
}

static bool assigned_is_pending(const struct world *w, const struct slot *slot)
{
    for (unsigned i = 0; i < PENDING; i++) {
        const struct pending *p = &w->pending[i];
        if (p->ticket != NULL && p->slot == slot && p->batch.ids == NULL && p->batch.strings == NULL) return true;
    }
    return false;
}

/*
 * With a finite deadline an admission may fail; then nothing was done, and it is tried again without one, so that the
 * rest of the case does not depend on time.
 */
static bool was_refused(pomai_status status, pomai_write_options *options)
{
    if (options->deadline_us == UINT64_MAX || (status != POMAI_EBUSY && status != POMAI_EDEADLINE)) return false;
    options->deadline_us = UINT64_MAX;
    return true;
}

static bool do_put(struct world *w, struct slot *slot, bool assigned)
{
    pomai_error err;
    pomai_ack ack;
    if (assigned_is_pending(w, slot) && !settle(w, slot)) return false;
    struct m_batch batch = draw_batch(w, slot, draw_rows(w), assigned);
    pomai_batch view = m_batch_view(&batch);
    pomai_write_options options = draw_write_options(w);
    pomai_status status = pomai_put(slot->handle, &view, &options, &ack, &err);
    if (was_refused(status, &options)) status = pomai_put(slot->handle, &view, &options, &ack, &err);
    bool ok = expect(w, status, POMAI_OK, &err, "put") && check_put_ack(w, slot, &batch, options.durability, &ack);
    if (ok) m_put(&slot->model, &batch, ack.first_id);
    m_batch_free(&batch);
    return ok;
}

static bool do_put_async(struct world *w, struct slot *slot, bool assigned)
{
    pomai_error err;
    if (assigned_is_pending(w, slot) && !settle(w, slot)) return false;
    struct pending *p = &w->pending[t_below(&w->rng, PENDING)];
    if (!settle_one(w, p)) return false;
    p->slot = slot;
    p->batch = draw_batch(w, slot, draw_rows(w), assigned);
    p->view = m_batch_view(&p->batch);
    pomai_write_options options = draw_write_options(w);
    p->level = options.durability;
    pomai_status status = pomai_put_async(slot->handle, &p->view, &options, &p->ticket, &err);
    if (was_refused(status, &options)) {
        if (p->ticket != NULL) return fail(w, "a refused put_async left a ticket");
        status = pomai_put_async(slot->handle, &p->view, &options, &p->ticket, &err);
    }
    if (!expect(w, status, POMAI_OK, &err, "put_async")) return false;
    if (!assigned) m_put(&slot->model, &p->batch, 0);
    return true;
}

static bool do_commit(struct world *w, struct slot *slot)
{
    pomai_error err;
    pomai_ack ack;
    pomai_block *block;
    if (slot->model.kind == POMAI_ID_STRING) {
        pomai_status status = pomai_reserve(slot->handle, 3, slot->model.dim, &block, &err);
        return expect(w, status, POMAI_EID, &err, "reserve with string ids");
    }
    if (assigned_is_pending(w, slot) && !settle(w, slot)) return false;
    struct m_batch batch = draw_batch(w, slot, draw_rows(w), true);
    free(batch.expiry); /* a block takes none */
    batch.expiry = NULL;
    size_t floats = batch.rows * batch.dim;
    bool ok = expect(w, pomai_reserve(slot->handle, batch.rows, batch.dim, &block, &err), POMAI_OK, &err, "reserve");
    if (!ok) goto out;
    const pomai_dtype dtype = slot->model.dtype;
    void *to = pomai_block_vectors(block);
    ok = to != NULL && (uintptr_t)to % 64 == 0 && (dtype == 0 || pomai_block_dtype(block) == dtype);
    for (size_t i = 0; ok && i < floats * pm_dtype_size(dtype == 0 ? POMAI_DTYPE_FLOAT32 : dtype); i++)
        ok = ((const uint8_t *)to)[i] == 0;
    if (!ok) {
        fail(w, "the block is not aligned or not zeroed");
        goto out;
    }
    for (size_t i = 0; i < floats; i++)
        m_put_element(dtype, to, i, batch.vectors[i]);
    if (dtype != POMAI_DTYPE_INT8 && t_chance(&w->rng, 20)) {
        size_t at = t_below(&w->rng, floats);
        m_put_element(dtype, to, at, t_chance(&w->rng, 50) ? NAN : -INFINITY);
        ok = expect(w, pomai_commit(block, batch.documents, NULL, &ack, &err), POMAI_ENOTFINITE, &err, "bad commit");
        if (ok && pomai_block_vectors(block) != to) ok = fail(w, "a refused commit emptied the block");
        if (!ok) goto out;
        m_put_element(dtype, to, at, batch.vectors[at]);
    }
    if (t_chance(&w->rng, 90)) {
        ok = expect(w, pomai_commit(block, batch.documents, NULL, &ack, &err), POMAI_OK, &err, "commit") &&
             check_put_ack(w, slot, &batch, POMAI_DURABILITY_DEFAULT, &ack);
        if (ok && pomai_block_vectors(block) != NULL) ok = fail(w, "a committed block still has vectors");
        if (ok) m_put(&slot->model, &batch, ack.first_id);
    }
out:
    pomai_block_free(block);
    m_batch_free(&batch);
    return ok;
}

/* Ids to get or delete, drawn without repetition: a batch without vectors. */
static struct m_batch draw_ids(struct world *w, const struct slot *slot, uint64_t count)
{
    struct m_batch ids = draw_batch(w, slot, count, false);
    free(ids.vectors);
    ids.vectors = NULL;
    return ids;
}

static bool do_delete(struct world *w, struct slot *slot)
{
    pomai_error err;
    pomai_ack ack;
    if (assigned_is_pending(w, slot) && !settle(w, slot)) return false;
    struct m_batch drawn = draw_ids(w, slot, t_skewed(&w->rng, 1, slot->model.count > MAX_ROWS / 2 ? 400 : 60));
    pomai_ids ids = {drawn.rows, drawn.ids, drawn.strings};
    pomai_write_options options = draw_write_options(w);
    pomai_status status = pomai_delete(slot->handle, &ids, &options, &ack, &err);
    if (was_refused(status, &options)) status = pomai_delete(slot->handle, &ids, &options, &ack, &err);
    uint64_t there = 0;
    for (uint64_t i = 0; i < drawn.rows; i++)
        there += m_delete(&slot->model, drawn.ids != NULL ? drawn.ids[i] : 0,
                          drawn.strings != NULL ? drawn.strings[i] : (pomai_bytes){NULL, 0});
    bool ok = expect(w, status, POMAI_OK, &err, "delete");
    if (ok && (ack.rows < there || (ack.rows > there && !slot->ghosts))) /* those that expired may still be stored */
        ok = fail(w, "delete: %llu were there, ack.rows is %llu", (unsigned long long)there,
                  (unsigned long long)ack.rows);
    m_batch_free(&drawn);
    return ok;
}

/* ---- reads ---- */

static bool check_get(struct world *w, const struct slot *slot, const pomai_ids *ids)
{
    const struct m_coll *coll = &slot->model;
    pomai_error err;
    pomai_rows *rows;
    pomai_get_options options = POMAI_GET_OPTIONS_INIT;
    options.snapshot = w->snapshot;
    options.mode = w->mode;
    if (!expect(w, pomai_get(slot->handle, ids, &options, &rows, &err), POMAI_OK, &err, "get")) return false;
    bool ok = pomai_rows_count(rows) == ids->count && (ids->count == 0 || pomai_rows_dim(rows) == coll->dim);
    if (!ok) fail(w, "get: %zu entries of dimension %u", pomai_rows_count(rows), pomai_rows_dim(rows));
    for (size_t i = 0; ok && i < ids->count; i++) {
        uint64_t id = ids->u64 != NULL ? ids->u64[i] : 0;
        pomai_bytes string = ids->string != NULL ? ids->string[i] : (pomai_bytes){NULL, 0};
        size_t at = m_find(coll, id, string);
        const float *vector = pomai_rows_vector(rows, i);
        pomai_bytes document = pomai_rows_document(rows, i);
        if (at == coll->count) {
            ok = !pomai_rows_found(rows, i) && vector == NULL && document.size == 0 && pomai_rows_stamp(rows, i) == 0;
            if (!ok) fail(w, "get: id %llu (entry %zu) should not be there", (unsigned long long)id, i);
        } else if (!pomai_rows_found(rows, i) || vector == NULL) {
            ok = fail(w, "get: id %llu (entry %zu) is missing", (unsigned long long)id, i);
        } else if (memcmp(vector, coll->rows[at].vector, coll->dim * sizeof(float)) != 0) {
            ok = fail(w, "get: id %llu (entry %zu) has another vector", (unsigned long long)id, i);
        } else if (!m_bytes_equal(document, coll->rows[at].document)) {
            ok = fail(w, "get: id %llu (entry %zu) has another document", (unsigned long long)id, i);
        } else if (pomai_rows_stamp(rows, i) == 0) {
            ok = fail(w, "get: id %llu (entry %zu) has no stamp", (unsigned long long)id, i);
        } else {
            uint64_t expiry = coll->rows[at].expiry;
            if (expiry == M_TTL) expiry = pomai_rows_stamp(rows, i) + coll->ttl;
            if (pomai_rows_expiry(rows, i) != expiry)
                ok = fail(w, "get: id %llu (entry %zu) has another expiry", (unsigned long long)id, i);
        }
    }
    pomai_rows_free(rows);
    return ok;
}

static bool do_get(struct world *w, struct slot *slot)
{
    if (!settle(w, slot)) return false;
    struct m_batch drawn = draw_ids(w, slot, t_skewed(&w->rng, 1, 100));
    if (drawn.rows > 1 && t_chance(&w->rng, 30)) { /* the same id twice is no mistake in a get */
        if (drawn.ids != NULL) drawn.ids[0] = drawn.ids[drawn.rows - 1];
    }
    pomai_ids ids = {drawn.rows, drawn.ids, drawn.strings};
    bool ok = check_get(w, slot, &ids);
    m_batch_free(&drawn);
    return ok;
}

static bool check_hit(struct world *w, const struct slot *slot, const pomai_result *result, size_t q, size_t i,
                      const struct m_hit *hit, uint32_t include)
{
    const struct m_row *row = hit->row;
    if (!t_same_double(pomai_result_distances(result, q)[i], hit->distance))
        return fail(w, "query %zu neighbour %zu: distance %a, should be %a", q, i, pomai_result_distances(result, q)[i],
                    hit->distance);
    if (slot->model.kind == POMAI_ID_STRING) {
        if (!m_bytes_equal(pomai_result_string_id(result, q, i), row->string) || pomai_result_ids(result, q) != NULL)
            return fail(w, "query %zu neighbour %zu: another string id", q, i);
    } else if (pomai_result_ids(result, q)[i] != row->id) {
        return fail(w, "query %zu neighbour %zu: id %llu, should be %llu", q, i,
                    (unsigned long long)pomai_result_ids(result, q)[i], (unsigned long long)row->id);
    }
    const float *vector = pomai_result_vector(result, q, i);
    pomai_bytes document = pomai_result_document(result, q, i);
    if ((include & POMAI_INCLUDE_VECTORS) == 0) {
        if (vector != NULL) return fail(w, "a vector that was not asked for");
    } else if (vector == NULL || memcmp(vector, row->vector, slot->model.dim * sizeof(float)) != 0) {
        return fail(w, "query %zu neighbour %zu: another vector", q, i);
    }
    if ((include & POMAI_INCLUDE_DOCUMENTS) == 0) {
        if (document.data != NULL) return fail(w, "a document that was not asked for");
    } else if (!m_bytes_equal(document, row->document)) {
        return fail(w, "query %zu neighbour %zu: another document", q, i);
    }
    return true;
}

static bool check_query(struct world *w, const struct slot *slot, const pomai_result *result, size_t q,
                        const float *query, uint64_t k, uint32_t include)
{
    size_t rows = slot->model.count, wanted = k < rows ? (size_t)k : rows;
    pomai_verdict verdict;
    pomai_result_verdict(result, q, &verdict);
    if (pomai_result_count(result, q) != wanted)
        return fail(w, "query %zu: %zu neighbours, should be %zu", q, pomai_result_count(result, q), wanted);
    if (verdict.completeness != POMAI_EXACT || verdict.expected_recall != 1.0 || verdict.rows_visible != rows ||
        verdict.fewer != (wanted < k ? POMAI_FEWER_ROWS : POMAI_FEWER_NOT))
        return fail(w, "query %zu: verdict %d, fewer %d, visible %llu, recall %f", q, verdict.completeness,
                    verdict.fewer, (unsigned long long)verdict.rows_visible, verdict.expected_recall);
    struct m_hit *hits = m_search(&slot->model, query);
    bool ok = true;
    for (size_t i = 0; ok && i < wanted; i++)
        ok = check_hit(w, slot, result, q, i, &hits[i], include);
    free(hits);
    return ok;
}

/* A search that its deadline may cut: what it found must be true, nearest first, and its verdict honest. */
static bool check_cut(struct world *w, const struct slot *slot, const pomai_result *result, size_t q,
                      const float *query, uint64_t k, uint32_t include)
{
    pomai_verdict verdict;
    pomai_result_verdict(result, q, &verdict);
    if (verdict.completeness == POMAI_EXACT) return check_query(w, slot, result, q, query, k, include);
    if (verdict.completeness != POMAI_CUT || verdict.expected_recall != 0.0) return fail(w, "a dishonest verdict");
    struct m_hit *hits = m_search(&slot->model, query);
    size_t at = 0, found = pomai_result_count(result, q);
    bool ok = found <= k;
    for (size_t i = 0; ok && i < found; i++) { /* a subsequence of the full ranking */
        while (at < slot->model.count &&
               (slot->model.kind == POMAI_ID_STRING
                    ? !m_bytes_equal(hits[at].row->string, pomai_result_string_id(result, q, i))
                    : hits[at].row->id != pomai_result_ids(result, q)[i]))
            at++;
        ok = at < slot->model.count && check_hit(w, slot, result, q, i, &hits[at], include);
        at++;
    }
    free(hits);
    return ok || fail(w, "query %zu: a cut search found what is not there", q);
}

static bool do_search(struct world *w, struct slot *slot)
{
    pomai_error err;
    pomai_result *result;
    if (!settle(w, slot)) return false;
    uint32_t dim = slot->model.dim;
    uint64_t queries = t_chance(&w->rng, 60) ? 1 : t_skewed(&w->rng, 1, 24);
    uint64_t k = t_chance(&w->rng, 5) ? slot->model.count + t_below(&w->rng, 3) : t_skewed(&w->rng, 1, 50);
    if (k == 0) k = 1;
    float *vectors = m_alloc(queries * dim * sizeof(float));
    for (uint64_t q = 0; q < queries; q++)
        draw_vector(w, slot, vectors + q * dim);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = (uint32_t)t_below(&w->rng, 4);
    bool cut = t_chance(&w->rng, 4);
    if (cut) options.deadline_us = t_below(&w->rng, 20);
    pomai_status status = pomai_search(slot->handle, vectors, queries, dim, k, &options, &result, &err);
    bool ok = expect(w, status, POMAI_OK, &err, "search");
    if (ok && pomai_result_queries(result) != queries) ok = fail(w, "%zu queries", pomai_result_queries(result));
    for (uint64_t q = 0; ok && q < queries; q++) {
        const float *query = vectors + q * dim;
        ok = cut ? check_cut(w, slot, result, q, query, k, options.include)
                 : check_query(w, slot, result, q, query, k, options.include);
    }
    pomai_result_free(result);
    free(vectors);
    return ok;
}

static bool check_info(struct world *w, const struct slot *slot)
{
    pomai_error err;
    pomai_collection_info info;
    if (!expect(w, pomai_collection_get_info(slot->handle, &info, &err), POMAI_OK, &err, "info")) return false;
    if (info.rows != slot->model.count)
        return fail(w, "info: %llu rows, should be %zu", (unsigned long long)info.rows, slot->model.count);
    const pomai_dtype dtype = slot->model.dtype == 0 ? POMAI_DTYPE_FLOAT32 : slot->model.dtype;
    if (info.dim != slot->model.dim || info.dtype != dtype || info.metric != slot->model.metric ||
        info.id_kind != slot->model.kind || strcmp(info.name, slot->model.name) != 0)
        return fail(w, "info: %s, dim %u, metric %d, kind %d", info.name, info.dim, info.metric, info.id_kind);
    return true;
}

/* Every row by get, and every row by search. */
static bool compare_slot(struct world *w, const struct slot *slot)
{
    const struct m_coll *coll = &slot->model;
    pomai_error err;
    if (w->snapshot == NULL && !check_info(w, slot)) return false;
    uint64_t *u64 = m_alloc((coll->count + 1) * sizeof *u64);
    pomai_bytes *strings = m_alloc((coll->count + 1) * sizeof *strings);
    for (size_t i = 0; i < coll->count; i++) {
        u64[i] = coll->rows[i].id;
        strings[i] = coll->rows[i].string;
    }
    pomai_ids ids = {coll->count, coll->kind == POMAI_ID_U64 ? u64 : NULL, coll->kind == POMAI_ID_U64 ? NULL : strings};
    bool ok = coll->count == 0 || check_get(w, slot, &ids);
    free(u64);
    free(strings);
    if (!ok) return false;
    float *query = m_alloc(coll->dim * sizeof(float));
    draw_vector(w, slot, query);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    options.snapshot = w->snapshot;
    options.mode = w->mode;
    pomai_result *result;
    pomai_status status = pomai_search(slot->handle, query, 1, coll->dim, coll->count + 2, &options, &result, &err);
    ok = expect(w, status, POMAI_OK, &err, "full search") &&
         check_query(w, slot, result, 0, query, coll->count + 2, options.include);
    pomai_result_free(result);
    free(query);
    return ok;
}

static bool check_list(struct world *w)
{
    pomai_error err;
    char **names;
    size_t count, there = 0;
    if (!expect(w, pomai_collection_list(w->db, &names, &count, &err), POMAI_OK, &err, "list")) return false;
    bool ok = names[count] == NULL;
    for (unsigned s = 0; s < SLOTS; s++) {
        if (!w->slots[s].exists) continue;
        there++;
        bool found = false;
        for (size_t i = 0; i < count; i++)
            found = found || strcmp(names[i], w->slots[s].model.name) == 0;
        ok = ok && found;
    }
    for (size_t i = 1; i < count; i++)
        ok = ok && strcmp(names[i - 1], names[i]) < 0;
    if (!ok || there != count) ok = fail(w, "list: %zu names, should be %zu", count, there);
    pomai_free(names);
    return ok;
}

static bool check_stats(struct world *w)
{
    pomai_error err;
    char *json;
    if (!expect(w, pomai_stats(w->db, &json, &err), POMAI_OK, &err, "stats")) return false;
    size_t size = strlen(json);
    bool ok = size >= 2 && json[0] == '{' && json[size - 1] == '}';
    pomai_free(json);
    return ok || fail(w, "stats: no JSON object");
}

/* ---- bad input ---- */

static bool refuse_put(struct world *w, struct slot *slot, const pomai_batch *batch, pomai_status wanted,
                       const char *what)
{
    pomai_error err;
    pomai_ack ack;
    pomai_ticket *ticket = NULL;
    if (t_chance(&w->rng, 70)) return expect(w, pomai_put(slot->handle, batch, NULL, &ack, &err), wanted, &err, what);
    bool ok = expect(w, pomai_put_async(slot->handle, batch, NULL, &ticket, &err), wanted, &err, what);
    return ok && (ticket == NULL || fail(w, "%s: a ticket for a refused put", what));
}

/* *number: of the batch. */
static bool put_of_bad_type(struct world *w, struct slot *slot, pomai_batch *view, float *number)
{
    const pomai_dtype dtype = slot->model.dtype;
    if (dtype <= POMAI_DTYPE_FLOAT32) {
        view->dtype = (pomai_dtype)t_range(&w->rng, POMAI_DTYPE_FLOAT16, POMAI_DTYPE_INT8 + 1);
        return refuse_put(w, slot, view, POMAI_EINVAL, "put of another type");
    }
    *number = t_chance(&w->rng, 50) ? 65520.0f : dtype == POMAI_DTYPE_INT8 ? 0.25f : -1e30f;
    return refuse_put(w, slot, view, POMAI_EINVAL, "put of what the type has not");
}

static bool bad_put(struct world *w, struct slot *slot)
{
    struct m_coll *coll = &slot->model;
    struct m_batch batch = draw_batch(w, slot, t_range(&w->rng, 2, 40), false);
    m_batch_widen(&batch);
    pomai_batch view = m_batch_view(&batch);
    size_t at = t_below(&w->rng, batch.rows * batch.dim);
    uint64_t row = t_below(&w->rng, batch.rows);
    char long_id[POMAI_MAX_STRING_ID + 1] = {0};
    bool ok = true;
    switch (t_below(&w->rng, 10)) {
    case 0:
        batch.vectors[at] = t_chance(&w->rng, 50) ? NAN : INFINITY;
        ok = refuse_put(w, slot, &view, POMAI_ENOTFINITE, "put with NaN or infinity");
        break;
    case 1:
        view.dim = t_chance(&w->rng, 50) ? coll->dim + 1 : (uint64_t)1 << 32;
        ok = refuse_put(w, slot, &view, POMAI_EDIM, "put of another dimension");
        break;
    case 2:
        if (coll->metric != POMAI_METRIC_COSINE) break;
        for (uint32_t d = 0; d < coll->dim; d++)
            batch.vectors[row * coll->dim + d] = d % 2 ? 0.0f : -0.0f;
        ok = refuse_put(w, slot, &view, POMAI_EZEROVEC, "put of a zero vector");
        break;
    case 3:
        view.rows = 0;
        ok = refuse_put(w, slot, &view, POMAI_EINVAL, "put of no rows");
        break;
    case 4:
        if (batch.rows < 2) break;
        if (batch.ids != NULL) {
            batch.ids[0] = batch.ids[batch.rows - 1];
        } else {
            m_bytes_free(&batch.strings[0]);
            batch.strings[0] = m_bytes_copy(batch.strings[batch.rows - 1]);
        }
        ok = refuse_put(w, slot, &view, POMAI_EDUPID, "put of an id twice");
        break;
    case 5:
        view.vectors = w->oversize;
        view.rows = POMAI_MAX_BATCH_BYTES / (coll->dim * sizeof(float)) + 1;
        view.u64_ids = coll->kind == POMAI_ID_U64 ? w->oversize : NULL;
        view.string_ids = coll->kind == POMAI_ID_U64 ? NULL : w->oversize;
        view.documents = NULL;
        ok = refuse_put(w, slot, &view, POMAI_ETOOBIG, "put of too large a batch");
        break;
    case 6:
        view.u64_ids = coll->kind == POMAI_ID_U64 ? NULL : w->oversize;
        view.string_ids = coll->kind == POMAI_ID_U64 ? w->oversize : NULL;
        ok = refuse_put(w, slot, &view, POMAI_EID, "put of the wrong kind of id");
        break;
    case 7:
        if (batch.strings == NULL) break;
        m_bytes_free(&batch.strings[row]);
        if (t_chance(&w->rng, 50)) batch.strings[row] = m_bytes_copy((pomai_bytes){long_id, sizeof long_id});
        ok = refuse_put(w, slot, &view, POMAI_EID, "put of an id of 0 or 513 bytes");
        break;
    case 8:
        ok = put_of_bad_type(w, slot, &view, &batch.vectors[at]);
        break;
    default:
        view.vectors = NULL;
        ok = refuse_put(w, slot, &view, POMAI_EINVAL, "put without vectors");
        break;
    }
    m_batch_free(&batch);
    return ok;
}

static bool bad_search(struct world *w, struct slot *slot)
{
    const struct m_coll *coll = &slot->model;
    float query[801] = {0};
    pomai_error err;
    pomai_result *result = NULL;
    uint64_t queries = 1, dim = coll->dim, k = 5;
    pomai_status wanted;
    draw_vector(w, slot, query);
    switch (t_below(&w->rng, 6)) {
    case 0:
        k = 0, wanted = POMAI_EINVAL;
        break;
    case 1:
        k = POMAI_MAX_K + 1u, wanted = POMAI_ETOOBIG;
        break;
    case 2:
        dim = dim + 1, wanted = POMAI_EDIM;
        break;
    case 3:
        query[t_below(&w->rng, dim)] = -INFINITY, wanted = POMAI_ENOTFINITE;
        break;
    case 4:
        queries = 0, wanted = POMAI_EINVAL;
        break;
    default:
        if (coll->metric != POMAI_METRIC_COSINE) return true;
        memset(query, 0, sizeof query);
        wanted = POMAI_EZEROVEC;
        break;
    }
    pomai_status status = pomai_search(slot->handle, query, queries, dim, k, NULL, &result, &err);
    return expect(w, status, wanted, &err, "bad search") && (result == NULL || fail(w, "a result of a refused search"));
}

static bool bad_name(struct world *w)
{
    static const char *const names[] = {"", ".hidden", "a/b", "sp ace", "..", "\xc3\xa9"};
    char long_name[POMAI_MAX_NAME + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[POMAI_MAX_NAME + 1] = '\0';
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_collection *handle = NULL;
    pomai_error err;
    options.dim = 4;
    uint64_t n = t_below(&w->rng, 9);
    const char *name = n < 6 ? names[n] : n == 6 ? long_name : "fine";
    if (n == 7) options.dim = 0;
    if (n == 8) options.dim = (uint64_t)1 << 32;
    pomai_status status = pomai_collection_create(w->db, name, &options, &handle, &err);
    if (n >= 7) return expect(w, status, POMAI_EDIM, &err, "create with a bad dimension");
    return expect(w, status, POMAI_EINVAL, &err, "create with a bad name");
}

static bool do_bad(struct world *w, struct slot *slot)
{
    switch (t_below(&w->rng, 10)) {
    case 0:
        return bad_name(w);
    case 1:
    case 2:
    case 3:
        return bad_search(w, slot);
    default:
        return bad_put(w, slot);
    }
}

/* ---- collections ---- */

static bool do_create(struct world *w, struct slot *slot)
{
    pomai_error err;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    struct m_coll *coll = &slot->model;
    coll->dim = (uint32_t)(t_chance(&w->rng, 20) ? t_range(&w->rng, 1, 130) : t_skewed(&w->rng, 1, 40));
    if (t_chance(&w->rng, 4))
        coll->dim = (uint32_t)t_range(&w->rng, 500, 800); /* some MB: searched by several threads */
    coll->metric = (pomai_metric)t_range(&w->rng, POMAI_METRIC_L2, POMAI_METRIC_COSINE);
    coll->kind = t_chance(&w->rng, 30) ? POMAI_ID_STRING : POMAI_ID_U64;
    coll->dtype = slot == &w->slots[0] || t_chance(&w->rng, 50)
                      ? POMAI_DTYPE_FLOAT32
                      : (pomai_dtype)t_range(&w->rng, POMAI_DTYPE_FLOAT16, POMAI_DTYPE_INT8);
    slot->style = (enum t_style)t_below(&w->rng, T_STYLE_COUNT);
    slot->ghosts = t_chance(&w->rng, 30);
    slot->made = ++w->changes;
    coll->ttl = slot != &w->slots[0] && t_chance(&w->rng, 30) ? UINT64_C(1000000000000000000) : 0;
    if (slot == &w->slots[0]) { /* the first put makes it */
        coll->metric = POMAI_METRIC_L2;
        slot->handle = pomai_default(w->db);
        slot->exists = true;
        return do_put(w, slot, coll->kind == POMAI_ID_U64 && t_chance(&w->rng, 50));
    }
    options.dim = coll->dim;
    options.metric = coll->metric;
    options.dtype = coll->dtype;
    options.id_kind = coll->kind;
    options.ttl_ns = coll->ttl;
    pomai_status status = pomai_collection_create(w->db, coll->name, &options, &slot->handle, &err);
    slot->exists = true;
    return expect(w, status, POMAI_OK, &err, "create");
}

static bool do_create_again(struct world *w, const struct slot *slot)
{
    pomai_error err;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_collection *handle = NULL;
    options.dim = slot->model.dim;
    pomai_status status = pomai_collection_create(w->db, slot->model.name, &options, &handle, &err);
    return expect(w, status, POMAI_EEXISTS, &err, "create twice") &&
           (handle == NULL || fail(w, "a handle of a collection that was not created"));
}

static bool do_drop(struct world *w, struct slot *slot)
{
    pomai_error err;
    pomai_collection_info info;
    if (slot == &w->slots[0]) return true;
    if (!settle(w, slot)) return false;
    if (!expect(w, pomai_collection_drop(w->db, slot->model.name, &err), POMAI_OK, &err, "drop")) return false;
    w->changes++;
    pomai_status status = pomai_collection_get_info(slot->handle, &info, &err);
    if (!expect(w, status, POMAI_ENOTFOUND, &err, "info of a dropped collection")) return false;
    pomai_collection_close(slot->handle);
    slot->handle = NULL;
    slot->exists = false;
    m_clear(&slot->model);
    status = pomai_collection_open(w->db, slot->model.name, &slot->handle, &err);
    return expect(w, status, POMAI_ENOTFOUND, &err, "open a dropped collection") &&
           expect(w, pomai_collection_drop(w->db, slot->model.name, &err), POMAI_ENOTFOUND, &err, "drop twice");
}

/* ---- where rows lie ---- */

static bool digest(struct world *w, const pomai_snapshot *snapshot, uint64_t words[2])
{
    pomai_error err;
    return expect(w, pomai_digest(w->db, snapshot, words, &err), POMAI_OK, &err, "digest");
}

static bool check_digest(struct world *w, const pomai_snapshot *snapshot, const uint64_t before[2], const char *what)
{
    uint64_t words[2];
    if (!digest(w, snapshot, words)) return false;
    return (words[0] == before[0] && words[1] == before[1]) || fail(w, "%s: the digest is another", what);
}

static bool move_rows(struct world *w, const struct slot *slot, bool compacts)
{
    pomai_error err;
    if (!compacts) return expect(w, pomai_flush(w->db, &err), POMAI_OK, &err, "flush");
    pomai_collection *only = t_chance(&w->rng, 50) ? slot->handle : NULL;
    return expect(w, pomai_compact(w->db, only, &err), POMAI_OK, &err, "compact");
}

/* With puts under way, or with none, so that nothing may change. */
static bool do_move(struct world *w, struct slot *slot, bool compacts)
{
    uint64_t before[2];
    if (t_chance(&w->rng, 50)) return move_rows(w, slot, compacts);
    return settle(w, NULL) && digest(w, NULL, before) && move_rows(w, slot, compacts) &&
           check_digest(w, NULL, before, compacts ? "compact" : "flush") && compare_slot(w, slot);
}

/* What is frozen is seen by bounded reads. */
static bool do_freeze(struct world *w, struct slot *slot)
{
    pomai_error err;
    if (!settle(w, NULL)) return false;
    pomai_collection *only = t_chance(&w->rng, 50) ? slot->handle : NULL;
    if (!expect(w, pomai_freeze(w->db, only, &err), POMAI_OK, &err, "freeze")) return false;
    w->mode = POMAI_READ_BOUNDED;
    bool ok = compare_slot(w, slot);
    w->mode = POMAI_READ_LATEST;
    return ok;
}

static void free_shot(struct shot *shot)
{
    pomai_snapshot_close(shot->snapshot);
    for (unsigned s = 0; s < SLOTS; s++)
        m_clear(&shot->coll[s]);
    memset(shot, 0, sizeof *shot);
}

static bool take_shot(struct world *w, struct shot *shot)
{
    pomai_error err;
    if (!settle(w, NULL) || !digest(w, NULL, shot->digest)) return false;
    if (!expect(w, pomai_snapshot_open(w->db, &shot->snapshot, &err), POMAI_OK, &err, "snapshot")) return false;
    shot->changes = w->changes;
    for (unsigned s = 0; s < SLOTS; s++) {
        if (!w->slots[s].exists) continue;
        shot->coll[s] = m_copy(&w->slots[s].model);
        shot->made[s] = w->slots[s].exists ? w->slots[s].made : 0;
    }
    return check_digest(w, shot->snapshot, shot->digest, "snapshot");
}

/* Of what was dropped since, and made anew. */
static bool is_refused(struct world *w, const struct slot *slot)
{
    float *query = m_alloc(slot->model.dim * sizeof(float));
    draw_vector(w, slot, query);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.snapshot = w->snapshot;
    options.mode = w->mode;
    pomai_error err;
    pomai_result *result;
    pomai_status status = pomai_search(slot->handle, query, 1, slot->model.dim, 1, &options, &result, &err);
    const bool ok = expect(w, status, POMAI_ENOTFOUND, &err, "search of what was made anew");
    pomai_result_free(result);
    free(query);
    return ok;
}

/* It shows what there was; of a collection that was made since, nothing. */
static bool check_shot(struct world *w, struct shot *shot)
{
    bool ok = shot->changes != w->changes || check_digest(w, shot->snapshot, shot->digest, "old snapshot");
    w->snapshot = shot->snapshot;
    for (unsigned s = 0; s < SLOTS && ok; s++) {
        struct slot then = w->slots[s];
        if (!then.exists) continue;
        if (shot->made[s] == then.made)
            then.model = shot->coll[s];
        else
            then.model.count = 0;
        const bool anew = shot->made[s] != 0 && shot->made[s] != then.made;
        ok = anew ? is_refused(w, &then) : compare_slot(w, &then);
    }
    w->snapshot = NULL;
    return ok;
}

static bool do_snapshot(struct world *w)
{
    struct shot *shot = &w->shots[t_below(&w->rng, SHOTS)];
    if (shot->snapshot == NULL) return take_shot(w, shot);
    if (!check_shot(w, shot)) return false;
    if (t_chance(&w->rng, 50)) free_shot(shot);
    return true;
}

static bool check_shots(struct world *w)
{
    bool ok = true;
    for (unsigned i = 0; i < SHOTS && ok; i++)
        if (w->shots[i].snapshot != NULL) ok = check_shot(w, &w->shots[i]);
    return ok;
}

/* ---- open and close ---- */

static bool open_slots(struct world *w)
{
    pomai_error err;
    for (unsigned s = 0; s < SLOTS; s++) {
        struct slot *slot = &w->slots[s];
        if (!slot->exists) continue;
        if (s == 0) {
            slot->handle = pomai_default(w->db);
            continue;
        }
        pomai_status status = pomai_collection_open(w->db, slot->model.name, &slot->handle, &err);
        if (!expect(w, status, POMAI_OK, &err, "open a collection")) return false;
    }
    return true;
}

static bool compare_all(struct world *w)
{
    for (unsigned s = 0; s < SLOTS; s++) {
        if (w->slots[s].exists && !compare_slot(w, &w->slots[s])) return false;
    }
    return check_list(w) && check_stats(w);
}

static void close_slots(struct world *w)
{
    for (unsigned s = 1; s < SLOTS; s++) {
        pomai_collection_close(w->slots[s].handle);
        w->slots[s].handle = NULL;
    }
}

static bool close_db(struct world *w)
{
    pomai_error err;
    if (!settle(w, NULL) || !check_shots(w)) return false;
    bool handles = false;
    for (unsigned i = 0; i < SHOTS; i++)
        handles = handles || w->shots[i].snapshot != NULL;
    for (unsigned s = 1; s < SLOTS; s++)
        handles = handles || w->slots[s].handle != NULL;
    if (handles && t_chance(&w->rng, 30) &&
        !expect(w, pomai_close(w->db, &err), POMAI_EBUSY, &err, "close with open handles"))
        return false;
    close_slots(w);
    for (unsigned i = 0; i < SHOTS; i++)
        if (w->shots[i].snapshot != NULL) free_shot(&w->shots[i]);
    pomai_status status = pomai_close(w->db, &err);
    w->db = NULL;
    return expect(w, status, POMAI_OK, &err, "close");
}

static bool check_report(struct world *w)
{
    pomai_open_report report;
    pomai_get_open_report(w->db, &report);
    if (report.notes == NULL) return fail(w, "the open report has no notes");
    if (report.torn_bytes != 0 || report.torn_tails != 0 || report.aborted_batches != 0 || report.damaged != 0)
        return fail(w, "the open report of a closed database: torn %llu in %llu, aborted %llu, damaged %llu: %s",
                    (unsigned long long)report.torn_bytes, (unsigned long long)report.torn_tails,
                    (unsigned long long)report.aborted_batches, (unsigned long long)report.damaged, report.notes);
    return true;
}

static bool open_db(struct world *w, pomai_open_options options)
{
    pomai_error err;
    if (!expect(w, pomai_open(w->path, &options, &w->db, &err), POMAI_OK, &err, "open")) return false;
    w->level = options.durability;
    return check_report(w) && open_slots(w);
}

static bool verify(struct world *w)
{
    pomai_error err;
    char *json = NULL;
    pomai_status status = pomai_verify_path(w->path, NULL, NULL, &json, &err);
    bool ok = expect(w, status, POMAI_OK, &err, "verify") && (json != NULL || fail(w, "verify without a report"));
    pomai_free(json);
    return ok;
}

/* Opened read-only it shows the same, refuses every write, and a second reader may have it too. */
static bool read_only_visit(struct world *w)
{
    pomai_error err;
    pomai_open_options options = draw_open_options(w);
    options.flags = POMAI_OPEN_READONLY;
    if (!open_db(w, options)) return false;
    pomai_db *second = NULL;
    pomai_status status = pomai_open(w->path, &options, &second, &err);
    if (!expect(w, status, POMAI_OK, &err, "a second reader")) return false;
    if (!compare_all(w)) return false;
    struct slot *slot = draw_slot(w);
    if (slot != NULL) {
        struct m_batch batch = draw_batch(w, slot, 2, false);
        pomai_batch view = m_batch_view(&batch);
        pomai_ids ids = {batch.rows, batch.ids, batch.strings};
        bool ok =
            refuse_put(w, slot, &view, POMAI_EREADONLY, "put, read-only") &&
            expect(w, pomai_delete(slot->handle, &ids, NULL, NULL, &err), POMAI_EREADONLY, &err, "delete, read-only") &&
            expect(w, pomai_collection_drop(w->db, slot->model.name, &err), POMAI_EREADONLY, &err, "drop, read-only");
        m_batch_free(&batch);
        if (!ok) return false;
    }
    if (!expect(w, pomai_close(second, &err), POMAI_OK, &err, "close the second reader")) return false;
    return close_db(w);
}

static bool do_reopen(struct world *w)
{
    uint64_t before[2];
    if (!settle(w, NULL) || !digest(w, NULL, before) || !close_db(w)) return false;
    if (t_chance(&w->rng, 50) && !verify(w)) return false;
    if (t_chance(&w->rng, 30) && !read_only_visit(w)) return false;
    return open_db(w, draw_open_options(w)) && check_digest(w, NULL, before, "reopen") && compare_all(w);
}

/* ---- a case ---- */

/* What hangs is ended, so that a lost wake-up is a failure like any other. */
enum { CASE_SECONDS = 180 };
static char hang_text[120];

static void on_alarm(int signal_number)
{
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, hang_text, strlen(hang_text));
    _exit(written >= 0 ? 1 : 2);
}

static void watch_case(uint64_t seed)
{
    snprintf(hang_text, sizeof hang_text, "model: FAILED: seed %llu hangs\nmodel: 1 cases, 1 failures, seed %llu\n",
             (unsigned long long)seed, (unsigned long long)seed);
    signal(SIGALRM, on_alarm);
    alarm(CASE_SECONDS);
}

static const struct {
    const char *name;
    unsigned weight;
} ops[] = {
    {"put", 22},    {"put_async", 16}, {"assigned put", 7}, {"commit", 6}, {"delete", 11},  {"get", 12},
    {"search", 15}, {"bad input", 9},  {"wait", 5},         {"create", 3}, {"drop", 1},     {"inspect", 3},
    {"sync", 1},    {"flush", 3},      {"compact", 3},      {"freeze", 3}, {"snapshot", 5}, {"reopen", 2},
};
enum { OPS = sizeof ops / sizeof ops[0] };

static bool do_op(struct world *w)
{
    unsigned total = 0, op = 0;
    for (unsigned i = 0; i < OPS; i++)
        total += ops[i].weight;
    uint64_t at = t_below(&w->rng, total);
    while (at >= ops[op].weight)
        at -= ops[op++].weight;
    struct slot *slot = draw_slot(w);
    if (slot == NULL) op = 9;
    if (slot != NULL && slot->model.count > MAX_ROWS && op < 4) op = 4;
    w->doing = ops[op].name;
    pomai_error err;
    switch (op) {
    case 0:
        return do_put(w, slot, false);
    case 1:
        return do_put_async(w, slot, slot->model.kind == POMAI_ID_U64 && t_chance(&w->rng, 20));
    case 2:
        return do_put(w, slot, slot->model.kind == POMAI_ID_U64);
    case 3:
        return do_commit(w, slot);
    case 4:
        return do_delete(w, slot);
    case 5:
        return do_get(w, slot);
    case 6:
        return do_search(w, slot);
    case 7:
        return do_bad(w, slot);
    case 8:
        return settle_one(w, &w->pending[t_below(&w->rng, PENDING)]);
    case 9:
        slot = &w->slots[t_below(&w->rng, SLOTS)];
        return slot->exists ? do_create_again(w, slot) : do_create(w, slot);
    case 10:
        return do_drop(w, slot);
    case 11:
        return settle(w, slot) && check_info(w, slot) && check_list(w) && check_stats(w);
    case 12:
        return expect(w, pomai_sync(w->db, &err), POMAI_OK, &err, "sync");
    case 13:
    case 14:
        return do_move(w, slot, op == 14);
    case 15:
        return do_freeze(w, slot);
    case 16:
        return do_snapshot(w);
    default:
        return do_reopen(w);
    }
}

static void world_init(struct world *w, const struct t_args *args, uint64_t seed, const void *oversize)
{
    *w = (struct world){.rng = t_rng_from(seed), .seed = seed, .doing = "open", .oversize = oversize};
    t_tmp_make(w->path, args->dir, "model");
    for (unsigned s = 0; s < SLOTS; s++) {
        struct m_coll *coll = &w->slots[s].model;
        if (s == 0) {
            strcpy(coll->name, "default");
        } else {
            snprintf(coll->name, sizeof coll->name, "%s%u", s == 1 ? "A-long.name_with-everything." : "c", s);
        }
    }
    for (unsigned i = 0; i < 4; i++)
        w->blocks[i] = t_next(&w->rng) >> 20;
}

/* After a failure handles are left as they are: closing could wait for what is broken. */
static bool run_case(const struct t_args *args, uint64_t seed, const void *oversize)
{
    struct world *w = m_alloc(sizeof *w);
    world_init(w, args, seed, oversize);
    bool ok = open_db(w, draw_open_options(w));
    unsigned count = (unsigned)t_range(&w->rng, 100, 400);
    for (w->op = 1; ok && w->op <= count; w->op++)
        ok = do_op(w);
    w->doing = "end";
    if (ok) ok = settle(w, NULL) && compare_all(w) && check_shots(w) && close_db(w) && verify(w);
    if (ok) ok = open_db(w, draw_open_options(w)) && compare_all(w) && close_db(w);
    if (args->verbose) /* the same seed must say the same */
        printf("model: %u operations, random state %llx\n", w->op - 1, (unsigned long long)w->rng.state);
    for (unsigned s = 0; s < SLOTS; s++)
        m_clear(&w->slots[s].model);
    if (ok) {
        t_remove(w->path);
    } else {
        fprintf(stderr, "model: the database is kept in %s; repeat with --threads 1 --cases 1 --seed %llu\n", w->path,
                (unsigned long long)seed);
    }
    free(w);
    return ok;
}

int main(int argc, char **argv)
{
    struct t_args args = t_parse_args(argc, argv);
    const void *oversize =
        mmap(NULL, POMAI_MAX_BATCH_BYTES * (size_t)5, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (oversize == MAP_FAILED) t_die("map", "zeros");
    double start = t_now();
    uint64_t cases = 0, failures = 0;
    for (; args.cases == 0 || cases < args.cases; cases++) {
        if (args.seconds > 0 && t_now() - start > args.seconds) break;
        uint64_t seed = t_case_seed(args.seed, cases);
        bool threads = args.threads < 0 ? t_mix2(seed, 1) % 4 == 0 : args.threads > 1;
        if (args.verbose)
            printf("model: case %llu seed %llu%s\n", (unsigned long long)cases, (unsigned long long)seed,
                   threads ? " (threads)" : "");
        watch_case(seed);
        bool ok = threads ? run_threads_case(&args, seed) : run_case(&args, seed, oversize);
        failures += !ok;
        if (failures >= 5) { /* enough to look at */
            cases++;
            break;
        }
    }
    printf("model: %llu cases, %llu failures, seed %llu\n", (unsigned long long)cases, (unsigned long long)failures,
           (unsigned long long)args.seed);
    return failures > 0;
}
