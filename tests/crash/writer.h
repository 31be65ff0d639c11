/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that is to die: opens the database and works on it with several client threads, each writing what it does
 * into the ledger before and after. What it can see to be wrong while it lives ends it with WRITER_FAILED.
 */
#ifndef T_CRASH_WRITER_H
#define T_CRASH_WRITER_H

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"
#include "core/engine/engine.h"
#include "ledger.h"

enum { WRITER_FAILED = 9, DERIVED_ROWS = 16 };

struct client {
    struct ledger *l;
    struct client_ledger *c;
    unsigned me;
    struct t_rng rng;
    pomai_durability level; /* the database's */
    pomai_db *db;
    pomai_collection *colls[COLLS];
    uint64_t assigned, given; /* the largest first id of a batch of assigned ids; the last id given among them */
    struct {                  /* of the operations in the window */
        pomai_ticket *ticket;
        pomai_durability level;
        uint8_t *documents;
        pomai_bytes document[BATCH];
        pomai_bytes string[BATCH];
        char string_bytes[BATCH / 4][POMAI_MAX_STRING_ID]; /* STRING batches are smaller */
        uint64_t ids[BATCH], expiry[BATCH];
        float vectors[BATCH * MAX_DIM];
        pomai_batch view;
    } flight[WINDOW];
};

static atomic_bool writer_stop;
static struct ledger *hook_ledger;
static atomic_uint *hook_reached; /* by enum pm_point */
static atomic_uint *hook_killed;

/* ---- dying ---- */

static void writer_die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* The countdown passes zero once, so one thread dies; it may stay at the boundary for a while first. */
static void writer_point(enum pm_point point)
{
    const struct plan *plan = &hook_ledger->plan;
    uint32_t nth = atomic_fetch_add_explicit(&hook_reached[point], 1, memory_order_relaxed);
    if ((uint32_t)point == plan->target && atomic_fetch_sub(&hook_ledger->countdown, 1) == 1) {
        if (plan->stall_us > 0) usleep(plan->stall_us);
        atomic_fetch_add_explicit(&hook_killed[point], 1, memory_order_relaxed);
        writer_die();
    }
    if (plan->jitter > 0) {
        uint64_t h = t_mix2(plan->seed + (uint64_t)point, nth);
        if (h % 100 < plan->jitter) usleep((useconds_t)(h >> 32) % 200);
    }
}

__attribute__((format(printf, 1, 2), noreturn)) static void writer_fail(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "crash: FAILED: before any crash: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(WRITER_FAILED);
}

static void writer_ok(pomai_status status, const pomai_error *err, const char *what)
{
    if (status != POMAI_OK) writer_fail("%s: %s: %s", what, pomai_status_name(status), err->message);
}

/* ---- the window ---- */

/* Everything submitted has its effect, sooner or later: the state after the whole window. */
static void client_expect(const struct client *cl, struct rows_state *state)
{
    *state = cl->c->base;
    for (uint32_t i = cl->c->head; i != cl->c->tail; i++) {
        const struct op *op = op_at(cl->c, i);
        if (op->state != OP_REFUSED) op_apply(op, state);
    }
}

static void client_check_ack(const struct client *cl, const struct op *op, pomai_durability asked, const pomai_ack *ack)
{
    if (asked == POMAI_DURABILITY_DEFAULT) asked = cl->level;
    if (ack->level < asked) writer_fail("asked for level %d, acknowledged at %d", asked, ack->level);
    if (ack->parts == 0 && op->kind == OP_PUT) writer_fail("an acknowledged put of no parts");
    if (op->kind == OP_PUT && ack->rows != op->count)
        writer_fail("a put of %u rows acknowledged %llu", op->count, (unsigned long long)ack->rows);
    bool one_shard = op->shards != 0 && (op->shards & (op->shards - 1)) == 0;
    if (op->kind == OP_PUT && one_shard && (ack->parts != 1 || op->shards != 1u << ack->shard))
        writer_fail("rows of the shards %x acknowledged in %u parts, the first in shard %u", op->shards, ack->parts,
                    ack->shard);
}

static void client_acked(struct client *cl, struct op *op, unsigned slot, const pomai_ack *ack)
{
    client_check_ack(cl, op, cl->flight[slot].level, ack);
    if (!op->given) op->first_id = ack->first_id;
    if (op->coll == C_ASSIGNED && op->kind == OP_PUT && !op->given)
        cl->assigned = ack->first_id > cl->assigned ? ack->first_id : cl->assigned;
    if (ack->parts == 0) op->shards = 0; /* a delete from a collection never made: nothing was logged */
    atomic_store(&op->state, OP_ACKED);
    free(cl->flight[slot].documents);
    cl->flight[slot].documents = NULL;
}

/* Waits for one operation in flight, if it is. */
static void client_wait(struct client *cl, uint32_t i, uint64_t timeout_us)
{
    unsigned slot = i % WINDOW;
    pomai_error err;
    pomai_ack ack;
    if (cl->flight[slot].ticket == NULL) return;
    pomai_status status = pomai_wait(cl->flight[slot].ticket, timeout_us, &ack, &err);
    if (status == POMAI_EDEADLINE && timeout_us != UINT64_MAX) return;
    writer_ok(status, &err, "wait");
    client_acked(cl, op_at(cl->c, i), slot, &ack);
    pomai_ticket_free(cl->flight[slot].ticket);
    cl->flight[slot].ticket = NULL;
}

static void client_drain(struct client *cl)
{
    for (uint32_t i = cl->c->head; i != cl->c->tail; i++)
        client_wait(cl, i, UINT64_MAX);
    ledger_fold(cl->c);
}

/* The next operation of the window, not yet submitted. */
static struct op *client_begin(struct client *cl, enum op_kind kind, enum coll coll)
{
    struct client_ledger *c = cl->c;
    ledger_fold(c);
    if (c->tail - c->head == WINDOW) client_wait(cl, c->head, UINT64_MAX);
    ledger_fold(c);
    struct op *op = op_at(c, c->tail);
    memset(op, 0, sizeof *op);
    op->version = c->next_version++;
    op->kind = kind;
    op->coll = coll;
    return op;
}

static void client_submit(struct client *cl, struct op *op)
{
    atomic_store(&op->state, OP_SUBMITTED);
    atomic_fetch_add(&cl->c->tail, 1);
}

/* ---- rows ---- */

static uint32_t coll_rows(enum coll coll)
{
    switch (coll) {
    case C_U64:
        return U64_ROWS;
    case C_STRING:
        return STRING_ROWS;
    case C_OWN:
        return OWN_ROWS;
    default:
        return ASSIGNED_ROWS;
    }
}

static uint64_t client_id(const struct client *cl, enum coll coll, uint32_t index)
{
    switch (coll) {
    case C_U64:
        return u64_id(cl->l, cl->me, index);
    case C_OWN:
        return own_id(index);
    default:
        return cl->c->assigned_id[index];
    }
}

/* Draws rows without repetition; half the time of one block, so of one shard. */
static void client_draw_rows(struct client *cl, struct op *op, uint32_t most)
{
    bool used[U64_ROWS] = {0};
    uint32_t rows = coll_rows((enum coll)op->coll), want = (uint32_t)t_skewed(&cl->rng, 1, most);
    uint32_t block = (uint32_t)t_below(&cl->rng, BLOCKS);
    bool one_block = op->coll == C_U64 && t_chance(&cl->rng, 55);
    for (uint32_t i = 0; i < want; i++) {
        uint32_t index = (uint32_t)t_below(&cl->rng, rows);
        if (one_block) index = block * PER_BLOCK + index % PER_BLOCK;
        if (used[index]) continue;
        used[index] = true;
        op->index[op->count++] = (uint16_t)index;
        if (op->coll == C_U64 || op->coll == C_OWN)
            op->shards |= 1u << u64_shard(client_id(cl, (enum coll)op->coll, index), cl->l->shards);
        if (op->coll == C_STRING) {
            char id[POMAI_MAX_STRING_ID];
            op->shards |= 1u << pm_shard_of_string(id, string_id(cl->me, index, id), cl->l->shards);
        }
    }
}

/* Slots that neither a row nor an operation of the window has. */
static void client_draw_free_slots(struct client *cl, struct op *op, uint32_t want)
{
    bool used[ASSIGNED_ROWS];
    for (uint32_t i = 0; i < ASSIGNED_ROWS; i++)
        used[i] = cl->c->base.assigned[i] != 0;
    for (uint32_t i = cl->c->head; i != cl->c->tail; i++) {
        const struct op *other = op_at(cl->c, i);
        for (uint32_t j = 0; other->coll == C_ASSIGNED && j < other->count; j++)
            used[other->index[j]] = true;
    }
    for (uint32_t i = 0; i < ASSIGNED_ROWS && op->count < want; i++) {
        if (!used[i]) op->index[op->count++] = (uint16_t)i;
    }
}

/* Rows of C_ASSIGNED whose ids are known, neighbours for the most part. */
static void client_draw_assigned(struct client *cl, struct op *op)
{
    uint32_t first = (uint32_t)t_below(&cl->rng, ASSIGNED_ROWS), most = (uint32_t)t_skewed(&cl->rng, 1, 60);
    for (uint32_t i = 0; i < ASSIGNED_ROWS && op->count < most; i++) {
        uint32_t at = (first + i) % ASSIGNED_ROWS;
        if (cl->c->base.assigned[at] == 0) continue;
        op->index[op->count++] = (uint16_t)at;
        op->shards |= 1u << u64_shard(cl->c->assigned_id[at], cl->l->shards);
    }
}

/* Writes the vectors, documents and ids of an operation's rows where the put borrows them. */
static void client_fill(struct client *cl, const struct op *op, unsigned slot)
{
    uint64_t salt = coll_salt(cl->l, op->coll);
    uint32_t dim = cl->l->dim[op->coll];
    size_t bytes = 0, at = 0;
    struct t_tag tag = {op->version, cl->me, 0};
    for (uint32_t i = 0; i < op->count; i++) {
        tag.row = op->coll == C_ASSIGNED ? i : op->index[i];
        bytes += t_tagged_document_size(salt, tag);
    }
    uint8_t *documents = malloc(bytes + 8);
    if (documents == NULL) writer_fail("out of memory in the test itself");
    for (uint32_t i = 0; i < op->count; i++) {
        tag.row = op->coll == C_ASSIGNED ? i : op->index[i];
        size_t size = t_tagged_document_size(salt, tag);
        t_tagged_vector(salt, tag, dim, cl->flight[slot].vectors + (size_t)i * dim);
        t_tagged_document(salt, tag, documents + at);
        cl->flight[slot].document[i] = (pomai_bytes){size > 0 ? documents + at : NULL, size};
        at += size;
        cl->flight[slot].expiry[i] = row_expiry(op->coll, tag);
        if (op->coll == C_STRING) {
            char *to = cl->flight[slot].string_bytes[i];
            cl->flight[slot].string[i] = (pomai_bytes){to, string_id(cl->me, op->index[i], to)};
        } else if (op->coll != C_ASSIGNED) {
            cl->flight[slot].ids[i] = client_id(cl, (enum coll)op->coll, op->index[i]);
        }
    }
    cl->flight[slot].documents = documents;
    pomai_batch view = POMAI_BATCH_INIT;
    view.rows = op->count;
    view.dim = dim;
    view.vectors = cl->flight[slot].vectors;
    if (op->given == GIVEN_NEW) cl->flight[slot].ids[0] = op->first_id;
    for (uint32_t i = 0; op->given == GIVEN_OLD && i < op->count; i++)
        cl->flight[slot].ids[i] = cl->c->assigned_id[op->index[i]];
    view.u64_ids = op->coll == C_U64 || op->coll == C_OWN || op->given ? cl->flight[slot].ids : NULL;
    view.string_ids = op->coll == C_STRING ? cl->flight[slot].string : NULL;
    view.documents = cl->flight[slot].document;
    view.expiry_ns = op->coll == C_U64 && op->version % 2 == 0 ? cl->flight[slot].expiry : NULL;
    cl->flight[slot].view = view;
}

static pomai_write_options client_write_options(struct client *cl)
{
    pomai_write_options options = POMAI_WRITE_OPTIONS_INIT;
    if (t_chance(&cl->rng, 30))
        options.durability = (pomai_durability)t_range(&cl->rng, POMAI_DURABILITY_OS, POMAI_DURABILITY_SYNC);
    if (t_chance(&cl->rng, 3)) options.deadline_us = t_below(&cl->rng, 50);
    return options;
}

static bool client_was_refused(pomai_status status, const pomai_write_options *options)
{
    return options->deadline_us != UINT64_MAX && (status == POMAI_EBUSY || status == POMAI_EDEADLINE);
}

/* ---- what a client does ---- */

static void client_put_op(struct client *cl, struct op *op, bool async)
{
    unsigned slot = cl->c->tail % WINDOW;
    pomai_error err;
    pomai_ack ack;
    client_fill(cl, op, slot);
    pomai_write_options options = client_write_options(cl);
    cl->flight[slot].level = options.durability;
    pomai_collection *coll = cl->colls[op->coll];
    pomai_batch *view = &cl->flight[slot].view;
    client_submit(cl, op);
    pomai_status status = async ? pomai_put_async(coll, view, &options, &cl->flight[slot].ticket, &err)
                                : pomai_put(coll, view, &options, &ack, &err);
    if (client_was_refused(status, &options)) {
        atomic_store(&op->state, OP_REFUSED);
        free(cl->flight[slot].documents);
        cl->flight[slot].documents = NULL;
        return;
    }
    writer_ok(status, &err, "put");
    if (!async) client_acked(cl, op, slot, &ack);
}

static void client_put(struct client *cl, enum coll coll)
{
    struct op *op = client_begin(cl, OP_PUT, coll);
    uint32_t most = coll == C_STRING ? BATCH / 4 : cl->l->plan.big ? BATCH : t_chance(&cl->rng, 10) ? BATCH : 24;
    client_draw_rows(cl, op, most);
    client_put_op(cl, op, t_chance(&cl->rng, 45));
}

static void client_commit(struct client *cl, struct op *op)
{
    unsigned slot = cl->c->tail % WINDOW;
    pomai_error err;
    pomai_ack ack;
    pomai_block *block;
    client_fill(cl, op, slot);
    cl->flight[slot].level = POMAI_DURABILITY_DEFAULT;
    uint32_t dim = cl->l->dim[C_ASSIGNED];
    writer_ok(pomai_reserve(cl->colls[C_ASSIGNED], op->count, dim, &block, &err), &err, "reserve");
    memcpy(pomai_block_vectors(block), cl->flight[slot].vectors, (size_t)op->count * dim * sizeof(float));
    client_submit(cl, op);
    writer_ok(pomai_commit(block, cl->flight[slot].document, NULL, &ack, &err), &err, "commit");
    client_acked(cl, op, slot, &ack);
    pomai_block_free(block);
}

/*
 * Now and then an id is given shortly below a multiple of 4,096, so that the next assigned ones lie in two shards. Only
 * client 0 does so, well above what the others can have been assigned meanwhile: nobody's row is replaced.
 */
static void client_put_assigned(struct client *cl)
{
    struct op *op = client_begin(cl, OP_PUT, C_ASSIGNED);
    if (t_chance(&cl->rng, 30)) {
        op->given = GIVEN_OLD;
        client_draw_assigned(cl, op);
        if (op->count > 0) client_put_op(cl, op, t_chance(&cl->rng, 50));
        return;
    }
    bool given = cl->me == 0 && cl->assigned > cl->given && t_chance(&cl->rng, 25);
    client_draw_free_slots(cl, op, given ? 1 : (uint32_t)t_skewed(&cl->rng, 1, 40));
    if (op->count == 0) return;
    if (given) {
        op->given = GIVEN_NEW;
        op->first_id = ((cl->assigned >> 12) + 4) * 4096 - t_range(&cl->rng, 2, 30);
        cl->given = op->first_id;
        client_put_op(cl, op, false);
        return;
    }
    if (t_chance(&cl->rng, 50)) {
        client_commit(cl, op);
    } else {
        client_put_op(cl, op, t_chance(&cl->rng, 40));
    }
}

static void client_delete(struct client *cl, enum coll coll)
{
    struct op *op = client_begin(cl, OP_DELETE, coll);
    struct rows_state expected;
    uint64_t ids[BATCH], there = 0;
    char bytes[BATCH / 4][POMAI_MAX_STRING_ID];
    pomai_bytes strings[BATCH / 4];
    pomai_error err;
    pomai_ack ack;
    if (coll == C_ASSIGNED) { /* only rows whose ids are known */
        client_draw_assigned(cl, op);
        if (op->count == 0) return;
    } else {
        client_draw_rows(cl, op, BATCH / 4);
    }
    client_expect(cl, &expected);
    for (uint32_t i = 0; i < op->count; i++) {
        if (coll == C_STRING) {
            strings[i] = (pomai_bytes){bytes[i], string_id(cl->me, op->index[i], bytes[i])};
        } else {
            ids[i] = client_id(cl, coll, op->index[i]);
        }
        there += versions_of(&expected, coll)[op->index[i]] != 0;
    }
    pomai_ids list = {op->count, coll == C_STRING ? NULL : ids, coll == C_STRING ? strings : NULL};
    unsigned slot = cl->c->tail % WINDOW;
    cl->flight[slot].level = POMAI_DURABILITY_DEFAULT;
    client_submit(cl, op);
    writer_ok(pomai_delete(cl->colls[coll], &list, NULL, &ack, &err), &err, "delete");
    if (ack.rows != there)
        writer_fail("delete: %llu rows were there, ack.rows is %llu", (unsigned long long)there,
                    (unsigned long long)ack.rows);
    client_acked(cl, op, slot, &ack);
}

/* Makes or drops the client's own collection, with nothing else in flight. */
static void client_own(struct client *cl)
{
    char name[POMAI_MAX_NAME];
    pomai_error err;
    client_drain(cl);
    bool exists = cl->c->base.own_exists;
    coll_name(C_OWN, cl->me, name);
    struct op *op = client_begin(cl, exists ? OP_DROP : OP_CREATE, C_OWN);
    client_submit(cl, op);
    if (exists) {
        writer_ok(pomai_collection_drop(cl->db, name, &err), &err, "drop");
        pomai_collection_close(cl->colls[C_OWN]);
        cl->colls[C_OWN] = NULL;
    } else {
        pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
        options.dim = cl->l->dim[C_OWN];
        options.metric = cl->l->metric[C_OWN];
        writer_ok(pomai_collection_create(cl->db, name, &options, &cl->colls[C_OWN], &err), &err, "create");
    }
    atomic_store(&op->state, OP_ACKED);
}

/* Reads rows of any client. What has been read is shown, and must survive; own rows must be up to date. */
static void client_get(struct client *cl)
{
    enum { ROWS = 24 };
    unsigned owner = t_chance(&cl->rng, 40) ? cl->me : (unsigned)t_below(&cl->rng, cl->l->plan.clients);
    struct client_ledger *of = &cl->l->clients[owner];
    uint64_t ids[ROWS];
    uint32_t index[ROWS];
    pomai_error err;
    pomai_rows *rows;
    for (uint32_t i = 0; i < ROWS; i++) {
        index[i] = (uint32_t)t_below(&cl->rng, U64_ROWS);
        ids[i] = u64_id(cl->l, owner, index[i]);
    }
    pomai_ids list = {ROWS, ids, NULL};
    pomai_status status = pomai_get(cl->colls[C_U64], &list, NULL, &rows, &err);
    if (status == POMAI_ENOTFOUND) return; /* `default` is not made yet */
    writer_ok(status, &err, "get");
    for (uint32_t i = 0; i < ROWS; i++) {
        const float *vector = pomai_rows_vector(rows, i);
        struct t_tag tag = {0};
        pomai_bytes document = pomai_rows_document(rows, i);
        if (vector != NULL && (!t_read_tag(vector, &tag) || tag.writer != owner || tag.row != index[i] ||
                               !t_tagged_row_is_whole(coll_salt(cl->l, C_U64), tag, vector, cl->l->dim[C_U64],
                                                      document.data, document.size)))
            writer_fail("get: row %u of client %u is not as it was written", index[i], owner);
        for (unsigned s = 0; tag.version != 0 && s < WINDOW; s++) {
            if (of->ops[s].version == tag.version) atomic_store(&of->ops[s].seen, tag.version);
        }
        if (owner != cl->me) continue;
        /* Own rows: as after the last acknowledged operation, or a later one that is in flight. */
        struct rows_state state = cl->c->base;
        bool allowed = tag.version == state.u64[index[i]];
        for (uint32_t at = cl->c->head; at != cl->c->tail; at++) {
            const struct op *op = op_at(cl->c, at);
            if (op->state == OP_REFUSED || op->coll != C_U64) continue;
            op_apply(op, &state);
            bool touched = false;
            for (uint32_t j = 0; j < op->count; j++)
                touched = touched || op->index[j] == index[i];
            if (!touched) continue;
            if (op->state == OP_ACKED) allowed = false;
            allowed = allowed || tag.version == state.u64[index[i]];
        }
        if (!allowed)
            writer_fail("get: own row %u has version %u, should have %u", index[i], tag.version, state.u64[index[i]]);
    }
    pomai_rows_free(rows);
}

/* Gives own rows the documents that they have, as new versions: whether they last changes nothing about what must be
 * there. What is read must last itself; a batch of several parts might else be there by halves. */
static void client_update(struct client *cl)
{
    enum { ROWS = 24 };
    uint64_t ids[ROWS], there = 0;
    pomai_bytes documents[ROWS];
    pomai_error err;
    pomai_rows *rows;
    pomai_ack ack;
    const uint32_t first = (uint32_t)t_below(&cl->rng, U64_ROWS - ROWS);
    client_drain(cl);
    writer_ok(pomai_sync(cl->db, &err), &err, "sync");
    for (uint32_t i = 0; i < ROWS; i++)
        ids[i] = u64_id(cl->l, cl->me, first + i);
    pomai_ids list = {ROWS, ids, NULL};
    pomai_status status = pomai_get(cl->colls[C_U64], &list, NULL, &rows, &err);
    if (status == POMAI_ENOTFOUND) return; /* `default` is not made yet */
    writer_ok(status, &err, "get");
    for (uint32_t i = 0; i < ROWS; i++) {
        documents[i] = pomai_rows_document(rows, i);
        there += pomai_rows_found(rows, i) != 0;
    }
    writer_ok(pomai_update(cl->colls[C_U64], &list, documents, POMAI_UPDATE_REPLACE, NULL, &ack, &err), &err, "update");
    if (ack.rows != there)
        writer_fail("update: %llu rows were there, ack.rows is %llu", (unsigned long long)there,
                    (unsigned long long)ack.rows);
    pomai_rows_free(rows);
}

/* Refused as a whole: its rows must never be seen. */
static void client_put_bad(struct client *cl)
{
    struct op *op = client_begin(cl, OP_PUT, C_U64);
    unsigned slot = cl->c->tail % WINDOW;
    pomai_error err;
    client_draw_rows(cl, op, 40);
    client_fill(cl, op, slot);
    cl->flight[slot].vectors[t_below(&cl->rng, (uint64_t)op->count * cl->l->dim[C_U64])] = NAN;
    pomai_status status = pomai_put(cl->colls[C_U64], &cl->flight[slot].view, NULL, NULL, &err);
    if (status != POMAI_ENOTFINITE) writer_fail("a put with NaN gave %s", pomai_status_name(status));
    free(cl->flight[slot].documents);
    cl->flight[slot].documents = NULL;
}

/* Asks for what otherwise comes when it is due. */
static void client_maintain(struct client *cl)
{
    pomai_error err;
    switch (t_below(&cl->rng, 6)) {
    case 0:
    case 1:
        writer_ok(pomai_flush(cl->db, &err), &err, "flush");
        break;
    case 2:
        writer_ok(pomai_compact(cl->db, NULL, &err), &err, "compact");
        break;
    case 3:
        writer_ok(pomai_freeze(cl->db, NULL, &err), &err, "freeze");
        break;
    default:
        writer_ok(pomai_sync(cl->db, &err), &err, "sync");
        break;
    }
}

static void client_step(struct client *cl)
{
    uint64_t kind = t_below(&cl->rng, 100);
    if (kind < 42) {
        client_put(cl, C_U64);
    } else if (kind < 50) {
        client_put(cl, C_STRING);
    } else if (kind < 56) {
        client_delete(cl, C_U64);
    } else if (kind < 59) {
        client_delete(cl, C_STRING);
    } else if (kind < 66) {
        client_put_assigned(cl);
    } else if (kind < 69) {
        client_delete(cl, C_ASSIGNED);
    } else if (kind < 75) {
        if (cl->colls[C_OWN] != NULL) client_put(cl, C_OWN);
    } else if (kind < 77) {
        client_own(cl);
    } else if (kind < 79) {
        client_update(cl);
    } else if (kind < 92) {
        client_get(cl);
    } else if (kind < 97) { /* look whether any of the window is done */
        uint32_t window = cl->c->tail - cl->c->head;
        if (window > 0) client_wait(cl, cl->c->head + (uint32_t)t_below(&cl->rng, window), t_below(&cl->rng, 2) * 200);
    } else if (kind < 98) {
        client_put_bad(cl);
    } else if (kind < 99) {
        client_maintain(cl);
    } else if (cl->l->plan.idle) { /* the log falls idle and its WATERMARK is written */
        client_drain(cl);
        usleep(14000);
    }
}

static void *client_run(void *argument)
{
    struct client *cl = argument;
    char name[POMAI_MAX_NAME];
    pomai_error err;
    coll_name(C_OWN, cl->me, name);
    if (cl->c->base.own_exists)
        writer_ok(pomai_collection_open(cl->db, name, &cl->colls[C_OWN], &err), &err, "open the own collection");
    while (!atomic_load_explicit(&writer_stop, memory_order_relaxed))
        client_step(cl);
    client_drain(cl);
    pomai_collection_close(cl->colls[C_OWN]);
    cl->colls[C_OWN] = NULL;
    return NULL;
}

/* ---- the process ---- */

static pomai_open_options draw_open_options(struct t_rng *rng, const struct ledger *l)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = l->shards;
    options.durability = (pomai_durability)t_range(rng, POMAI_DURABILITY_OS, POMAI_DURABILITY_SYNC);
    options.group_ms = (uint32_t)t_range(rng, 1, 6);
    options.search_threads = t_chance(rng, 50) ? UINT32_MAX : 1;
    options.mailbox_slots = t_chance(rng, 25) ? 1u << t_range(rng, 0, 3) : 0;
    options.wal_file_bytes = t_chance(rng, 70) ? 65536 : (uint64_t)65536 << t_below(rng, 6);
    if (t_chance(rng, 10)) options.flags |= POMAI_OPEN_STRICT_MARK;
    if (t_chance(rng, 40)) options.flags |= POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    if (t_chance(rng, 70) || l->plan.target >= PM_POINT_WAL_RETIRED) { /* flushes and compactions all the time */
        options.flush_bytes = (uint64_t)4096 << t_below(rng, 8);
        options.log_bytes = (uint64_t)65536 << t_below(rng, 4);
        options.segment_bytes = (uint64_t)4096 << t_below(rng, 10);
    }
    options.freeze_rows = t_skewed(rng, 1, 1000);
    options.compact_rate = t_chance(rng, 80) ? UINT64_MAX : (uint64_t)1 << 20;
    return options;
}

static pomai_collection *writer_collection(struct ledger *l, pomai_db *db, unsigned coll)
{
    char name[POMAI_MAX_NAME];
    pomai_collection *handle = NULL;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_error err;
    coll_name(coll, 0, name);
    pomai_status status = pomai_collection_open(db, name, &handle, &err);
    if (status == POMAI_OK) return handle;
    if (status != POMAI_ENOTFOUND || l->made[coll]) writer_ok(status, &err, "open a shared collection");
    options.dim = l->dim[coll];
    options.metric = l->metric[coll];
    options.id_kind = coll == C_STRING ? POMAI_ID_STRING : POMAI_ID_U64;
    writer_ok(pomai_collection_create(db, name, &options, &handle, &err), &err, "create a shared collection");
    atomic_store(&l->made[coll], 1);
    return handle;
}

static void writer_round(struct ledger *l, const char *path, struct t_rng *rng, struct client *clients, bool last)
{
    pomai_db *db;
    pomai_error err;
    pthread_t threads[CLIENTS];
    pomai_open_options options = draw_open_options(rng, l);
    writer_ok(pomai_open(path, &options, &db, &err), &err, "open");
    atomic_store(&l->opened, 1);
    pomai_collection *strings = writer_collection(l, db, C_STRING), *assigned = writer_collection(l, db, C_ASSIGNED);
    atomic_store(&writer_stop, false);
    atomic_store(&l->started, 1);
    for (unsigned i = 0; i < l->plan.clients; i++) {
        clients[i].level = options.durability;
        clients[i].db = db;
        clients[i].colls[C_U64] = pomai_default(db);
        clients[i].colls[C_STRING] = strings;
        clients[i].colls[C_ASSIGNED] = assigned;
        if (pthread_create(&threads[i], NULL, client_run, &clients[i]) != 0) writer_fail("no thread");
    }
    usleep(last ? 2000000 : (useconds_t)t_range(rng, 500, 8000));
    atomic_store(&writer_stop, true);
    for (unsigned i = 0; i < l->plan.clients; i++)
        pthread_join(threads[i], NULL);
    pomai_collection_close(strings);
    pomai_collection_close(assigned);
    writer_ok(pomai_close(db, &err), &err, "close");
}

/* The body of the child. Killed from outside, by its own hand at a boundary, or ends by itself. */
__attribute__((noreturn)) static void writer_main(struct ledger *l, const char *path, atomic_uint *reached,
                                                  atomic_uint *killed)
{
    struct t_rng rng = t_rng_from(l->plan.seed);
    struct client *clients = calloc(CLIENTS, sizeof *clients);
    if (clients == NULL) writer_fail("out of memory in the test itself");
    hook_ledger = l;
    hook_reached = reached;
    hook_killed = killed;
    pm_point_hook = writer_point;
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS && l->plan.target == PM_POINT_DERIVED_BUILT; kind++)
        pm_derive_least_rows[kind] = DERIVED_ROWS; /* else no segment is so large */
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].l = l;
        clients[i].c = &l->clients[i];
        clients[i].me = i;
        clients[i].rng = t_rng_from(t_next(&rng));
    }
    for (uint32_t i = 0; i < l->plan.rounds; i++)
        writer_round(l, path, &rng, clients, false);
    writer_round(l, path, &rng, clients, true);
    _exit(0);
}

/* A recovery that is to die: opens, does nothing, closes. */
__attribute__((noreturn)) static void recoverer_main(struct ledger *l, const char *path, atomic_uint *reached,
                                                     atomic_uint *killed)
{
    struct t_rng rng = t_rng_from(l->plan.seed);
    pomai_open_options options = draw_open_options(&rng, l);
    pomai_db *db;
    pomai_error err;
    hook_ledger = l;
    hook_reached = reached;
    hook_killed = killed;
    pm_point_hook = writer_point;
    pomai_status status = pomai_open(path, &options, &db, &err);
    if (status != POMAI_OK) writer_fail("open after a crash: %s: %s", pomai_status_name(status), err.message);
    atomic_store(&l->opened, 1);
    writer_ok(pomai_close(db, &err), &err, "close after a recovery");
    _exit(0);
}

#endif
