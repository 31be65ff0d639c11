/* SPDX-License-Identifier: Apache-2.0 */
/* One client: puts, deletes and reads what is its own exactly, what is others' within what they may have done. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "core/engine/engine.h"
#include "support/gen.h"
#include "world.h"

struct self {
    struct world *w;
    uint32_t number;
    struct t_rng rng;
    uint32_t oldest, under_way; /* a ring of slots */
};

/* ---- batches ---- */

static void fill_row(struct self *s, struct w_slot *slot, uint32_t op, int coll, uint32_t row, uint32_t key,
                     size_t *document_at)
{
    struct world *w = s->w;
    uint32_t dim = w->config.dim[coll];
    struct t_tag tag = {op, s->number, key};
    t_tagged_vector_of(pm_dtype_size(w_dtype(w, coll)), w->seed, tag, dim, slot->vectors + (size_t)row * dim);
    slot->ids[row] = w_id(s->number, key);
    w_string_id(s->number, key, slot->names[row]);
    slot->string_ids[row] = (pomai_bytes){slot->names[row], strlen(slot->names[row])};
    size_t size = t_tagged_document_size(w->seed, tag);
    if (size > 0) t_tagged_document(w->seed, tag, slot->document_bytes + *document_at);
    slot->documents[row] = (pomai_bytes){size > 0 ? slot->document_bytes + *document_at : NULL, size};
    *document_at += (size + 15) & ~(size_t)7;
}

/* In place: what they are converted to is no longer. */
static void narrow(pomai_dtype dtype, float *vectors, size_t count)
{
    uint8_t *to = (uint8_t *)vectors;
    for (size_t i = 0; i < count; i++) {
        const uint16_t half = pm_f32_to_f16(vectors[i]);
        if (dtype == POMAI_DTYPE_FLOAT16)
            memcpy(to + 2 * i, &half, 2);
        else
            to[i] = (uint8_t)(int8_t)vectors[i];
    }
}

/* Into the collection's own type, or the engine is to do it. `default` is made by its first rows, so there always. */
static void choose_dtype(struct self *s, struct w_slot *slot, int coll, bool own, pomai_batch *batch)
{
    const pomai_dtype dtype = w_dtype(s->w, coll);
    if (dtype == POMAI_DTYPE_FLOAT32 || !(own || coll == W_DEFAULT || slot->op % 2 == 0)) return;
    narrow(dtype, slot->vectors, batch->rows * batch->dim);
    batch->dtype = dtype;
}

static uint32_t fill(struct self *s, struct w_slot *slot, uint32_t op, int coll, uint64_t keys, pomai_batch *batch)
{
    uint32_t rows = 0;
    size_t at = 0;
    for (uint32_t key = 0; key < W_KEYS; key++)
        if ((keys >> key & 1) != 0) fill_row(s, slot, op, coll, rows++, key, &at);
    *batch = (pomai_batch)POMAI_BATCH_INIT;
    batch->rows = rows;
    batch->dim = s->w->config.dim[coll];
    batch->vectors = slot->vectors;
    batch->documents = s->w->config.uniform ? NULL : slot->documents;
    if (coll == W_DEFAULT) batch->u64_ids = slot->ids;
    if (coll == W_STRINGS) batch->string_ids = slot->string_ids;
    const struct w_op *o = &s->w->model->op[op];
    for (uint32_t row = 0; row < rows; row++)
        slot->expiry[row] = o->expiry_ns;
    if (o->expiry != W_STAYS) batch->expiry_ns = slot->expiry;
    slot->op = op;
    choose_dtype(s, slot, coll, coll == W_ASSIGNED, batch);
    return rows;
}

static uint64_t draw_keys(struct self *s)
{
    uint64_t keys = 0;
    switch (s->w->config.uniform ? 0 : t_below(&s->rng, 4)) {
    case 0:
        return (uint64_t)1 << t_below(&s->rng, W_KEYS);
    case 1: /* a whole block: consecutive ids */
        return (uint64_t)0xffff << t_below(&s->rng, 4) * 16;
    case 2: /* a few, anywhere */
        for (int i = 0; i < 4; i++)
            keys |= (uint64_t)1 << t_below(&s->rng, W_KEYS);
        return keys;
    default: /* some of two blocks */
        return t_next(&s->rng) & t_next(&s->rng) & (uint64_t)0xffffffff << t_below(&s->rng, 2) * 32;
    }
}

static pomai_write_options draw_write(struct self *s)
{
    pomai_write_options o = POMAI_WRITE_OPTIONS_INIT;
    o.durability = POMAI_DURABILITY_SYNC;
    if (s->w->config.low_levels && t_chance(&s->rng, s->w->config.paced || s->w->config.uniform ? 90 : 35))
        o.durability = t_chance(&s->rng, 50) ? POMAI_DURABILITY_OS : POMAI_DURABILITY_GROUP;
    if (t_chance(&s->rng, 10)) o.deadline_us = t_below(&s->rng, 3) * 2000;
    return o;
}

static void draw_expiry(struct self *s, uint32_t number)
{
    struct world *w = s->w;
    struct w_op *op = &w->model->op[number];
    const pm_os *os = pm_sim_os(w->sim);
    if (w->config.expiry == 0 || !t_chance(&s->rng, 40)) return;
    switch (op->coll == W_ASSIGNED ? 0 : t_below(&s->rng, w->config.expiry + 1ul)) {
    case 0:
        op->expiry = W_FAR;
        op->expiry_ns = 8000000000000000000u + t_below(&s->rng, 1000);
        break;
    case 1:
        op->expiry = W_PAST;
        op->expiry_ns = t_range(&s->rng, 1, 1000);
        break;
    default:
        op->expiry = W_NEAR;
        op->expiry_ns = os->wall_ns(os) + t_below(&s->rng, 100 * 1000 * 1000);
        break;
    }
}

static bool room_for_ops(const struct self *s)
{
    const struct w_model *m = s->w->model;
    return m->client[s->number].open_count < W_OPEN && m->ops + W_CLIENTS + 1 < W_OPS;
}

static void do_sync(struct self *s)
{
    pomai_error err = {0};
    uint32_t before = 0;
    const struct w_client *c = &s->w->model->client[s->number];
    for (uint32_t i = 0; i < c->open_count; i++)
        if (s->w->model->op[c->open[i]].state == W_ACKED) before = c->open[i];
    pomai_status status = pomai_sync(s->w->db, &err);
    if (status == POMAI_OK)
        w_synced(s->w, s->number, before);
    else if (status == POMAI_ESTOPPED)
        s->w->stopped = true;
    if (status != POMAI_OK && !s->w->faults) w_fail(s->w, "sync: %s", err.message);
}

/* The oldest ticket. */
static void settle_one(struct self *s)
{
    struct world *w = s->w;
    struct w_slot *slot = &w->slot[s->number][s->oldest];
    pomai_ack ack = {0};
    pomai_error err = {0};
    pomai_status status = POMAI_EDEADLINE;
    for (int i = 0; i < 3 && status == POMAI_EDEADLINE && t_chance(&s->rng, 30); i++)
        status = pomai_wait(slot->ticket, t_below(&s->rng, 50), &ack, &err);
    if (status == POMAI_EDEADLINE) status = pomai_wait(slot->ticket, UINT64_MAX, &ack, &err);
    w_end_op(w, slot->op, status, &ack, &err);
    pomai_ticket_free(slot->ticket);
    s->oldest = (s->oldest + 1) % W_SLOTS;
    s->under_way--;
}

static void settle_all(struct self *s)
{
    while (s->under_way > 0)
        settle_one(s);
}

static struct w_slot *free_slot(struct self *s)
{
    if (s->under_way == W_SLOTS) settle_one(s);
    return &s->w->slot[s->number][(s->oldest + s->under_way) % W_SLOTS];
}

static void do_put(struct self *s, bool async)
{
    struct world *w = s->w;
    int coll = t_chance(&s->rng, 60) ? W_DEFAULT : t_chance(&s->rng, 60) ? W_STRINGS : W_ASSIGNED;
    if (w->config.uniform) coll = W_DEFAULT;
    uint64_t keys = draw_keys(s);
    if (keys == 0) keys = 1;
    if (coll == W_ASSIGNED) /* rows 0, 1, ... */
        keys = ((uint64_t)2 << (w->config.uniform ? 0 : t_below(&s->rng, 20))) - 1;
    pomai_write_options options = draw_write(s);
    struct w_slot *slot = free_slot(s);
    uint32_t op = w_begin_op(w, s->number, coll, false, keys, (uint32_t)__builtin_popcountll(keys), options.durability);
    pomai_batch batch;
    pomai_ack ack = {0};
    pomai_error err = {0};
    draw_expiry(s, op);
    (void)fill(s, slot, op, coll, keys, &batch);
    if (!async) {
        pomai_status status = pomai_put(w->coll[coll], &batch, &options, &ack, &err);
        w_end_op(w, op, status, &ack, &err);
        return;
    }
    pomai_status status = pomai_put_async(w->coll[coll], &batch, &options, &slot->ticket, &err);
    if (status != POMAI_OK)
        w_end_op(w, op, status, &ack, &err);
    else
        s->under_way++;
}

static void do_delete(struct self *s)
{
    struct world *w = s->w;
    int coll = t_chance(&s->rng, 60) ? W_DEFAULT : W_STRINGS;
    uint64_t keys = draw_keys(s) & t_next(&s->rng);
    if (keys == 0) keys = 2;
    pomai_write_options options = draw_write(s);
    struct w_slot *slot = free_slot(s);
    uint32_t op = w_begin_op(w, s->number, coll, true, keys, 0, options.durability);
    pomai_batch batch;
    uint32_t count = fill(s, slot, op, coll, keys, &batch);
    pomai_ids ids = {count, batch.u64_ids, batch.string_ids};
    pomai_ack ack = {0};
    pomai_error err = {0};
    uint64_t least, most;
    w_rows_there(w, op, &least, &most);
    pomai_status status = pomai_delete(w->coll[coll], &ids, &options, &ack, &err);
    if (status == POMAI_OK && (ack.rows < least || ack.rows > most))
        w_fail(w, "op %u deleted %llu rows, not %llu to %llu", op, (unsigned long long)ack.rows,
               (unsigned long long)least, (unsigned long long)most);
    if (status == POMAI_OK && ack.parts == 0) { /* `default` is not there: no shard heard of it */
        ack.level = POMAI_DURABILITY_SYNC;
        w->model->op[op].shards = 0;
    }
    w_end_op(w, op, status, &ack, &err);
}

/*
 * Gives rows of its own the documents that they have: new versions, and whatever becomes of them the model need not
 * know. What is read must be sure: an update that lasts would bring back a row of a batch that is lost in another
 * shard.
 */
static void do_update(struct self *s)
{
    struct world *w = s->w;
    const int coll = t_chance(&s->rng, 60) ? W_DEFAULT : W_STRINGS;
    const uint64_t drawn = draw_keys(s), keys = drawn != 0 ? drawn : 4;
    uint64_t ids[W_KEYS];
    char text[W_KEYS][16];
    pomai_bytes strings[W_KEYS], documents[W_KEYS];
    size_t count = 0, there = 0;
    settle_all(s);
    do_sync(s);
    if (w->stopped || w->failed || w->config.uniform) return;
    for (uint32_t key = 0; key < W_KEYS; key++) {
        if ((keys >> key & 1) == 0) continue;
        ids[count] = w_id(s->number, key);
        w_string_id(s->number, key, text[count]);
        strings[count] = (pomai_bytes){text[count], strlen(text[count])};
        count++;
    }
    const pomai_ids list = {count, coll == W_STRINGS ? NULL : ids, coll == W_STRINGS ? strings : NULL};
    pomai_rows *rows;
    pomai_error err = {0};
    pomai_ack ack = {0};
    if (pomai_get(w->coll[coll], &list, NULL, &rows, &err) != POMAI_OK) {
        if (!w->faults) w_fail(w, "get: %s", err.message);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        documents[i] = pomai_rows_document(rows, i);
        there += pomai_rows_found(rows, i) != 0;
    }
    const pomai_status status = pomai_update(w->coll[coll], &list, documents, POMAI_UPDATE_REPLACE, NULL, &ack, &err);
    if (status == POMAI_ESTOPPED || status == POMAI_EUNKNOWN) w->stopped = true;
    if (status != POMAI_OK && !w_may_fail(w)) w_fail(w, "update: %s", err.message);
    if (ack.rows > there) w_fail(w, "%llu rows were updated, %zu were there", (unsigned long long)ack.rows, there);
    if (status == POMAI_OK && ack.rows != there && w->config.expiry < 2)
        w_fail(w, "%llu rows were updated, not %zu", (unsigned long long)ack.rows, there);
    pomai_rows_free(rows);
}

static void do_commit(struct self *s)
{
    struct world *w = s->w;
    uint32_t rows = 1 + (uint32_t)t_below(&s->rng, 20), dim = w->config.dim[W_ASSIGNED];
    pomai_block *block;
    pomai_error err = {0};
    pomai_ack ack = {0};
    pomai_status status = pomai_reserve(w->coll[W_ASSIGNED], rows, dim, &block, &err);
    if (status != POMAI_OK) {
        if (status == POMAI_ESTOPPED) w->stopped = true;
        if (!w->faults) w_fail(w, "reserve: %s", err.message);
        return;
    }
    uint64_t keys = ((uint64_t)1 << rows) - 1;
    pomai_write_options options = draw_write(s);
    struct w_slot *slot = free_slot(s);
    uint32_t op = w_begin_op(w, s->number, W_ASSIGNED, false, keys, rows, options.durability);
    pomai_batch batch;
    (void)fill(s, slot, op, W_ASSIGNED, keys, &batch);
    memcpy(pomai_block_vectors(block), batch.vectors, (size_t)rows * dim * pm_dtype_size(w_dtype(w, W_ASSIGNED)));
    status = pomai_commit(block, batch.documents, &options, &ack, &err);
    w_end_op(w, op, status, &ack, &err);
    pomai_block_free(block);
}

/* ---- reading ---- */

/* What another client's key may show while it is read: noted before, and judged after. */
struct others {
    uint32_t key, ops; /* operations begun before */
    uint32_t may[W_OPEN + 2], count;
    bool may_go; /* something under way may have taken the row away */
};

static bool takes_away(const struct w_op *op)
{
    return op->is_delete || op->expiry >= W_NEAR;
}

static void note_key(const struct world *w, uint32_t client, int coll, uint32_t key, struct others *o)
{
    const struct w_client *c = &w->model->client[client];
    *o = (struct others){.key = key, .ops = w->model->ops};
    if (w_may_see(w, c, coll, key, 0)) o->may_go = true;
    if (w_may_see(w, c, coll, key, c->sure[coll][key])) o->may[o->count++] = c->sure[coll][key];
    for (uint32_t i = 0; i < c->open_count; i++) {
        const struct w_op *op = &w->model->op[c->open[i]];
        if (op->coll != coll || (op->keys >> key & 1) == 0 || op->state == W_DEAD) continue;
        if (op->state == W_IN_FLIGHT || w_may_see(w, c, coll, key, c->open[i])) o->may[o->count++] = c->open[i];
        o->may_go |= op->state == W_IN_FLIGHT && takes_away(op);
    }
}

static bool others_may_show(const struct world *w, uint32_t client, int coll, const struct others *o, uint32_t seen)
{
    if (seen > o->ops || (seen == 0 && o->may_go)) return true;
    for (uint32_t i = 0; seen != 0 && i < o->count; i++)
        if (o->may[i] == seen) return true;
    for (uint32_t i = o->ops + 1; seen == 0 && i <= w->model->ops; i++) {
        const struct w_op *op = &w->model->op[i];
        if (op->client == client && op->coll == coll && (op->keys >> o->key & 1) != 0 && takes_away(op)) return true;
    }
    return false;
}

static void do_get(struct self *s, bool own)
{
    struct world *w = s->w;
    uint32_t whose = own ? s->number : (uint32_t)t_below(&s->rng, w->config.clients);
    int coll = t_chance(&s->rng, 60) ? W_DEFAULT : W_STRINGS;
    uint64_t ids[4];
    char text[4][16];
    pomai_bytes strings[4];
    uint32_t keys[4];
    struct others others[4];
    for (int i = 0; i < 4; i++) {
        keys[i] = (uint32_t)t_below(&s->rng, W_KEYS);
        note_key(w, whose, coll, keys[i], &others[i]);
        ids[i] = w_id(whose, keys[i]);
        w_string_id(whose, keys[i], text[i]);
        strings[i] = (pomai_bytes){text[i], strlen(text[i])};
    }
    pomai_ids list = {4, coll == W_STRINGS ? NULL : ids, coll == W_STRINGS ? strings : NULL};
    pomai_rows *rows;
    pomai_error err = {0};
    pomai_status status = pomai_get(w->coll[coll], &list, NULL, &rows, &err);
    if (status != POMAI_OK) {
        if (!w->faults) w_fail(w, "get: %s", err.message);
        return;
    }
    for (size_t i = 0; i < 4 && !w->failed; i++) {
        uint32_t op = 0, key;
        if (pomai_rows_found(rows, i) && !w_row_possible(w, coll, ids[i], strings[i], pomai_rows_vector(rows, i),
                                                         pomai_rows_dim(rows), pomai_rows_document(rows, i), &op, &key))
            break;
        if (op != 0 && !w_row_fresh(w, op)) break;
        if (op != 0 && pomai_rows_expiry(rows, i) != w->model->op[op].expiry_ns)
            w_fail(w, "a row of op %u has another expiry", op);
        if (op == 0 && whose == s->number) w_row_absent(w, whose, coll, keys[i]);
        if (whose != s->number && !others_may_show(w, whose, coll, &others[i], op))
            w_fail(w, "client %u gets op %u for key %u of client %u in %s, which cannot be", s->number, op, keys[i],
                   whose, w_coll_name(coll));
        if (whose == s->number && !w_may_see(w, &w->model->client[whose], coll, keys[i], op))
            w_fail(w, "client %u gets op %u for its key %u in %s, which it had replaced or never wrote", whose, op,
                   keys[i], w_coll_name(coll));
    }
    pomai_rows_free(rows);
}

/* All keys of one client at once: what is missing is found, too. */
static void do_search_all(struct self *s)
{
    struct world *w = s->w;
    const int coll = (int)t_below(&s->rng, W_ASSIGNED);
    const uint32_t whose = (uint32_t)t_below(&s->rng, w->config.clients), dim = w->config.dim[coll];
    float query[W_DIM_MOST];
    struct others others[W_KEYS];
    uint32_t seen[W_KEYS] = {0};
    for (uint32_t d = 0; d < dim; d++)
        query[d] = t_unit_float(&s->rng);
    for (uint32_t key = 0; key < W_KEYS; key++)
        note_key(w, whose, coll, key, &others[key]);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_VECTORS | POMAI_INCLUDE_DOCUMENTS;
    pomai_result *result;
    pomai_error err = {0};
    pomai_status status = pomai_search(w->coll[coll], query, 1, dim, W_CLIENTS * W_KEYS + 1, &options, &result, &err);
    if (status != POMAI_OK) {
        if (!w->faults && status != POMAI_ENOTFOUND) w_fail(w, "search: %s", err.message);
        return;
    }
    for (size_t i = 0; i < pomai_result_count(result, 0) && !w->failed; i++) {
        uint32_t op, key;
        if (!w_row_possible(w, coll, coll == W_STRINGS ? 0 : pomai_result_ids(result, 0)[i],
                            pomai_result_string_id(result, 0, i), pomai_result_vector(result, 0, i), dim,
                            pomai_result_document(result, 0, i), &op, &key) ||
            !w_row_fresh(w, op))
            break;
        if (w->model->op[op].client == whose) seen[key] = op;
    }
    for (uint32_t key = 0; key < W_KEYS && !w->failed; key++)
        if (!others_may_show(w, whose, coll, &others[key], seen[key]))
            w_fail(w, "client %u finds op %u for key %u of client %u in %s, which cannot be", s->number, seen[key], key,
                   whose, w_coll_name(coll));
    pomai_result_free(result);
}

static void do_search(struct self *s)
{
    struct world *w = s->w;
    int coll = (int)t_below(&s->rng, W_COLLS);
    float query[W_DIM_MOST];
    uint32_t dim = w->config.dim[coll];
    for (uint32_t d = 0; d < dim; d++)
        query[d] = t_unit_float(&s->rng);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_VECTORS | POMAI_INCLUDE_DOCUMENTS;
    pomai_result *result;
    pomai_error err = {0};
    size_t k = 1 + t_below(&s->rng, 30);
    if (t_chance(&s->rng, 50)) options.recall = 0.8f;
    pomai_status status = pomai_search(w->coll[coll], query, 1, dim, k, &options, &result, &err);
    if (status != POMAI_OK) {
        if (!w->faults && status != POMAI_ENOTFOUND) w_fail(w, "search: %s", err.message);
        return;
    }
    for (size_t i = 0; i < pomai_result_count(result, 0) && !w->failed; i++) {
        uint32_t op, key;
        uint64_t id = coll == W_STRINGS ? 0 : pomai_result_ids(result, 0)[i];
        if (!w_row_possible(w, coll, id, pomai_result_string_id(result, 0, i), pomai_result_vector(result, 0, i), dim,
                            pomai_result_document(result, 0, i), &op, &key) ||
            !w_row_fresh(w, op))
            break;
        if (coll != W_ASSIGNED && w->model->op[op].client == s->number &&
            !w_may_see(w, &w->model->client[s->number], coll, key, op))
            w_fail(w, "client %u finds op %u for its key %u, which it had replaced", s->number, op, key);
    }
    pomai_result_free(result);
}

/* Of a snapshot's rows, those whose documents say so by a look at their bytes. */
static bool count_by_hand(struct world *w, pomai_collection *coll, const pomai_snapshot *snapshot, char digit,
                          uint64_t *matches)
{
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    pomai_scan *scan;
    pomai_rows *rows = NULL;
    pomai_error err = {0};
    const char wanted[] = {'{', '"', 'n', '"', ':', digit, ','};
    options.include = POMAI_INCLUDE_DOCUMENTS;
    options.snapshot = snapshot;
    *matches = 0;
    pomai_status status = pomai_scan_open(coll, &options, &scan, &err);
    if (status != POMAI_OK) return false;
    while ((status = pomai_scan_next(scan, 50, &rows, &err)) == POMAI_OK && rows != NULL) {
        for (size_t i = 0; i < pomai_rows_count(rows); i++) {
            const pomai_bytes document = pomai_rows_document(rows, i);
            const char *bytes = document.data;
            const size_t size = document.size;
            *matches += size >= T_DOC_OBJECT && memcmp(bytes, wanted, sizeof wanted) == 0 && bytes[size - 1] == '}';
        }
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    (void)w;
    return status == POMAI_OK;
}

/* A filter tells of a snapshot what its documents say, whoever answers it: a count, a scan and a search. */
static void do_filtered(struct self *s)
{
    struct world *w = s->w;
    const int coll = (int)t_below(&s->rng, W_COLLS);
    const char digit = (char)('0' + t_below(&s->rng, 10));
    const uint32_t dim = w->config.dim[coll];
    char filter[32];
    float query[W_DIM_MOST];
    pomai_error err = {0};
    pomai_snapshot *snapshot;
    uint64_t truth = 0, counted = 0, found = 0, first;
    snprintf(filter, sizeof filter, "{\"n\": %c}", digit);
    for (uint32_t d = 0; d < dim; d++)
        query[d] = t_unit_float(&s->rng);
    if (pomai_snapshot_open(w->db, &snapshot, &err) != POMAI_OK) return;
    pomai_count_options count = POMAI_COUNT_OPTIONS_INIT;
    count.snapshot = snapshot;
    count.filter = filter;
    count.filter_size = strlen(filter);
    pomai_search_options search = POMAI_SEARCH_OPTIONS_INIT;
    search.snapshot = snapshot;
    search.filter = filter;
    search.filter_size = strlen(filter);
    if (t_chance(&s->rng, 50)) search.recall = 0.8f;
    pomai_result *result = NULL;
    pomai_status status = pomai_count(w->coll[coll], &count, &counted, &err);
    if (status == POMAI_OK) status = pomai_search(w->coll[coll], query, 1, dim, 10, &search, &result, &err);
    if (status == POMAI_OK) found = pomai_result_count(result, 0);
    pomai_result_free(result);
    if (status == POMAI_OK && count_by_hand(w, w->coll[coll], snapshot, digit, &first))
        truth = first;
    else if (status == POMAI_OK)
        status = POMAI_EIO;
    pomai_snapshot_close(snapshot);
    if (status != POMAI_OK) {
        if (!w->faults && status != POMAI_ENOTFOUND && status != POMAI_EIO) w_fail(w, "filtered: %s", err.message);
        return;
    }
    if (counted != truth || found != (truth < 10 ? truth : 10))
        w_fail(w, "%s: %llu rows say %s, %llu are counted and %llu found", w_coll_name(coll), (unsigned long long)truth,
               filter, (unsigned long long)counted, (unsigned long long)found);
}

/* ---- collections that come and go, and mistakes ---- */

static bool put_into_temp(pomai_collection *coll)
{
    float vector[4] = {1, 2, 3, 4};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = 4;
    batch.vectors = vector;
    return pomai_put(coll, &batch, NULL, NULL, NULL) == POMAI_OK;
}

/* Rows that are under way when their collection goes. */
struct rows_under_way {
    pomai_collection *coll;
    pomai_ticket *ticket;
    float vectors[80][4];
};

static void put_under_way(struct world *w, const char *name, struct rows_under_way *r)
{
    pomai_batch batch = POMAI_BATCH_INIT;
    memset(r, 0, sizeof *r);
    if (pomai_collection_open(w->db, name, &r->coll, NULL) != POMAI_OK) return;
    batch.rows = sizeof r->vectors / sizeof r->vectors[0];
    batch.dim = 4;
    batch.vectors = &r->vectors[0][0];
    if (pomai_put_async(r->coll, &batch, NULL, &r->ticket, NULL) != POMAI_OK) r->ticket = NULL;
}

static void settle_under_way(struct rows_under_way *r)
{
    pomai_ticket_free(r->ticket); /* waits */
    if (r->coll != NULL) pomai_collection_close(r->coll);
}

static void drop_temp(struct world *w, uint32_t t)
{
    struct w_model *m = w->model;
    pomai_error err = {0};
    struct rows_under_way rows;
    char name[W_TEMP_NAME];
    w_temp_name(t, name);
    put_under_way(w, name, &rows);
    m->temp[t] = W_TEMP_DROPPING;
    pomai_status status = pomai_collection_drop(w->db, name, &err);
    settle_under_way(&rows);
    if (status == POMAI_OK) {
        m->temp[t] = W_TEMP_GONE;
        return;
    }
    if (!w_may_fail(w)) w_fail(w, "drop: %s", err.message);
    /* What is acknowledged after a drop that failed must stay. */
    pomai_collection *coll;
    if (pomai_collection_open(w->db, name, &coll, NULL) != POMAI_OK) return;
    if (put_into_temp(coll)) m->temp[t] = W_TEMP_THERE;
    pomai_collection_close(coll);
}

/* Rows for a collection that somebody may be dropping. */
static void put_beside_drop(struct self *s)
{
    struct world *w = s->w;
    struct rows_under_way rows;
    char name[W_TEMP_NAME];
    if (w->model->temps == 0) return;
    w_temp_name((uint32_t)t_below(&s->rng, w->model->temps), name);
    put_under_way(w, name, &rows);
    settle_under_way(&rows);
}

/* Where faults are allowed: one of the few calls that change the catalogue, which a fault drawn for all seldom meets.
 */
void w_aim_fault(struct world *w, struct t_rng *rng, uint64_t within)
{
    static const uint32_t sets[] = {PM_SIM_BIT(DIR_SYNC), PM_SIM_BIT(RENAME), PM_SIM_BIT(SYNC)};
    if (!w->faults || w->no_more_faults || pm_sim_faults(w->sim) > 0 || !t_chance(rng, 50)) return;
    pm_sim_set_fault(w->sim, (pm_sim_fault){.calls = sets[t_below(rng, 3)],
                                            .nth = t_below(rng, within),
                                            .error = t_chance(rng, 50) ? EIO : ENOSPC});
}

static void do_temp(struct self *s)
{
    struct world *w = s->w;
    struct w_model *m = w->model;
    pomai_error err = {0};
    char name[W_TEMP_NAME];
    w_aim_fault(w, &s->rng, 3);
    uint32_t t = m->temps > 0 ? (uint32_t)t_below(&s->rng, m->temps) : 0;
    if (m->temps > 0 && m->temp[t] == W_TEMP_THERE && t_chance(&s->rng, 70)) {
        drop_temp(w, t);
        return;
    }
    if (m->temps == W_TEMPS) return;
    t = m->temps++;
    w_temp_name(t, name);
    m->temp[t] = W_TEMP_MAKING;
    pomai_collection *coll;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = 4;
    pomai_status status = pomai_collection_create(w->db, name, &options, &coll, &err);
    if (status != POMAI_OK) {
        if (!w_may_fail(w)) w_fail(w, "create: %s", err.message);
        return;
    }
    m->temp[t] = W_TEMP_THERE;
    (void)put_into_temp(coll); /* rows that the drop must take along */
    pomai_collection_close(coll);
}

/* What must be refused, and must not leave a trace. */
static void do_mistake(struct self *s)
{
    struct world *w = s->w;
    float bad[2 * W_DIM_MOST] = {1};
    uint64_t ids[2] = {w_id(s->number, 5), w_id(s->number, 5)};
    uint32_t dim = w->config.dim[W_DEFAULT];
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_error err = {0};
    batch.rows = 2;
    batch.dim = dim;
    batch.vectors = bad;
    batch.u64_ids = ids;
    switch (t_below(&s->rng, 3)) {
    case 0:
        bad[t_below(&s->rng, 2ul * dim)] = t_chance(&s->rng, 50) ? NAN : INFINITY;
        ids[1]++;
        break;
    case 1: /* an id twice */
        break;
    default: {
        pomai_db *second = NULL;
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        if (t_chance(&s->rng, 50)) options.flags = POMAI_OPEN_READONLY;
        pomai_status status = pm_db_open(pm_sim_os(w->sim), "/db", &options, &second, &err);
        if (status == POMAI_OK) w_fail(w, "the database was opened beside its writer");
        if (status != POMAI_ELOCKED && !w->faults) w_fail(w, "second open: %s", err.message);
        return;
    }
    }
    pomai_status status = pomai_put(w->coll[W_DEFAULT], &batch, NULL, NULL, &err);
    if (status == POMAI_OK) w_fail(w, "a bad batch was taken");
}

static void do_stats(struct self *s)
{
    char *json;
    pomai_error err = {0};
    if (pomai_stats(s->w->db, &json, &err) == POMAI_OK)
        pomai_free(json);
    else if (!s->w->faults)
        w_fail(s->w, "stats: %s", err.message);
}

/* ---- the client ---- */

static void step(struct self *s)
{
    struct world *w = s->w;
    uint64_t lot = t_below(&s->rng, 100);
    bool write = !w->stopped || lot % 8 == 0; /* a stopped database must refuse */
    if (t_chance(&s->rng, 3)) w_draw_room(w, &s->rng);
    if (w->config.temps && s->number == 0 && t_chance(&s->rng, w->seed % 4 == 0 ? 40 : 5)) do_temp(s);
    if (w->config.temps && s->number != 0 && t_chance(&s->rng, 15)) put_beside_drop(s);
    if (!room_for_ops(s)) {
        settle_all(s);
        if (!w->stopped) do_sync(s);
        if (!room_for_ops(s)) write = false;
    }
    if (t_below(&s->rng, 100) < w->config.maintain) {
        settle_all(s);
        w_maintain(w, s->number, &s->rng);
        return;
    }
    if (w->config.uniform && lot < 90 && write) /* nothing that syncs: torn tails of several records */
        do_put(s, true);
    else if (lot < 34 && write)
        do_put(s, false);
    else if (lot < 46 && write)
        do_put(s, w->config.async);
    else if (lot < 56 && write)
        do_delete(s);
    else if (lot < 61 && write)
        do_commit(s);
    else if (lot < 64)
        settle_all(s);
    else if (lot < 78)
        do_get(s, t_chance(&s->rng, 70));
    else if (lot < 86)
        t_chance(&s->rng, 40) ? do_filtered(s) : t_chance(&s->rng, 50) ? do_search(s) : do_search_all(s);
    else if (lot < 89)
        do_sync(s);
    else if (lot < 93)
        pm_sim_sleep(w->sim, t_below(&s->rng, 30 * 1000 * 1000));
    else if (lot < 98 && w->config.mistakes)
        do_mistake(s);
    else if (write && t_chance(&s->rng, 60))
        do_update(s);
    else
        do_stats(s);
}

void w_anchor(struct world *w)
{
    enum { BLOCKS = 2 * 4096, NEAR = 40 }; /* more ids than one generation assigns */
    struct self s = {.w = w, .rng = t_rng_from(t_next(&w->rng))};
    if (w->config.uniform || !room_for_ops(&s)) return;
    pomai_write_options options = draw_write(&s);
    struct w_slot *slot = free_slot(&s);
    uint32_t number = w_begin_op(w, 0, W_ASSIGNED, false, 1, 1, options.durability);
    struct w_op *op = &w->model->op[number];
    pomai_batch batch;
    pomai_ack ack = {0};
    pomai_error err = {0};
    (void)fill(&s, slot, number, W_ASSIGNED, 1, &batch);
    op->first_id = (uint64_t)++w->model->anchors * BLOCKS - 1 - t_below(&s.rng, NEAR);
    op->id_known = true;
    op->shards = w_shards_of_range(w, op->first_id, 1);
    slot->ids[0] = op->first_id;
    batch.u64_ids = slot->ids;
    pomai_status status = pomai_put(w->coll[W_ASSIGNED], &batch, &options, &ack, &err);
    ack.first_id = op->first_id;
    w_end_op(w, number, status, &ack, &err);
}

void w_client_run(struct world *w, uint32_t number)
{
    struct self s = {.w = w, .number = number, .rng = t_rng_from(t_next(&w->rng))};
    for (uint32_t i = 0; i < w->config.ops && !w->failed; i++) {
        step(&s);
        if (w->config.paced) pm_sim_sleep(w->sim, t_range(&s.rng, 1, 6) * 1000 * 1000);
    }
    settle_all(&s);
    w_unpin(w, number);
}
