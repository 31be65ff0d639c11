/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks of maintenance, and reads of what it leaves: flushes, compactions, frozen rows, snapshots. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "support/gen.h"
#include "world.h"

/* ---- asking ---- */

static void told(struct world *w, const char *what, pomai_status status, const pomai_error *err)
{
    pm_sim_note(w->sim, status);
    if (status == POMAI_OK) return;
    if (!w_may_fail(w) || status == POMAI_EINTERNAL || status == POMAI_ECORRUPT)
        w_fail(w, "%s: %s: %s", what, pomai_status_name(status), err->message);
}

/* What everybody had acknowledged before a flush is sure after it. */
static void flush(struct world *w, bool compact, pomai_collection *only)
{
    uint32_t acked[W_CLIENTS][W_OPEN], count[W_CLIENTS] = {0};
    struct w_model *m = w->model;
    pomai_error err = {0};
    for (uint32_t c = 0; c < w->config.clients; c++)
        for (uint32_t i = 0; i < m->client[c].open_count; i++)
            if (m->op[m->client[c].open[i]].state == W_ACKED) acked[c][count[c]++] = m->client[c].open[i];
    pomai_status status = compact ? pomai_compact(w->db, only, &err) : pomai_flush(w->db, &err);
    told(w, compact ? "compact" : "flush", status, &err);
    for (uint32_t c = 0; c < w->config.clients && status == POMAI_OK; c++)
        for (uint32_t i = 0; i < count[c]; i++)
            w_op_sure(w, c, acked[c][i]);
}

static void build(struct world *w, struct t_rng *rng)
{
    pomai_build_options options = POMAI_BUILD_OPTIONS_INIT;
    pomai_error err = {0};
    if (t_chance(rng, 50)) options.deadline_us = t_below(rng, 2000);
    pomai_status status = pomai_build_indexes(w->db, &options, &err);
    if (status != POMAI_EDEADLINE) told(w, "build_indexes", status, &err);
}

/* ---- reading keys ---- */

struct keys {
    uint32_t client, key[4];
    int coll;
    uint64_t id[4];
    char text[4][16];
    pomai_bytes string[4];
    pomai_ids list;
};

static void draw_keys(struct keys *k, uint32_t client, struct t_rng *rng)
{
    k->client = client;
    k->coll = t_chance(rng, 60) ? W_DEFAULT : W_STRINGS;
    for (int i = 0; i < 4; i++) {
        k->key[i] = (uint32_t)t_below(rng, W_KEYS);
        k->id[i] = w_id(client, k->key[i]);
        w_string_id(client, k->key[i], k->text[i]);
        k->string[i] = (pomai_bytes){k->text[i], strlen(k->text[i])};
    }
    k->list = (pomai_ids){4, k->coll == W_STRINGS ? NULL : k->id, k->coll == W_STRINGS ? k->string : NULL};
}

/* The operation that wrote what was found, 0: nothing was. False: it cannot be there. */
static bool found_op(struct world *w, const struct keys *k, const pomai_rows *rows, size_t i, uint32_t *op)
{
    uint32_t key;
    *op = 0;
    return !pomai_rows_found(rows, i) || w_row_possible(w, k->coll, k->id[i], k->string[i], pomai_rows_vector(rows, i),
                                                        pomai_rows_dim(rows), pomai_rows_document(rows, i), op, &key);
}

/* ---- frozen rows ---- */

/* Something since that version may have taken the row away. */
static bool may_have_gone(const struct world *w, uint32_t client, int coll, uint32_t key, uint32_t since)
{
    for (uint32_t i = since; i <= w->model->ops; i++) {
        const struct w_op *op = &w->model->op[i];
        if (op->client == client && op->coll == coll && (op->keys >> key & 1) != 0 && op->state != W_DEAD &&
            (op->is_delete || op->expiry >= W_NEAR))
            return true;
    }
    return false;
}

void w_recovered(struct world *w)
{
    for (uint32_t c = 0; c < w->config.clients; c++)
        memcpy(w->bounded[c], w->model->client[c].sure, sizeof w->bounded[c]);
}

static void read_bounded(struct world *w, uint32_t client, bool frozen, struct t_rng *rng)
{
    struct keys k;
    pomai_rows *rows;
    pomai_error err = {0};
    pomai_get_options options = POMAI_GET_OPTIONS_INIT;
    options.mode = POMAI_READ_BOUNDED;
    draw_keys(&k, client, rng);
    pomai_status status = pomai_get(w->coll[k.coll], &k.list, &options, &rows, &err);
    if (status != POMAI_OK) {
        told(w, "bounded get", status, &err);
        return;
    }
    for (size_t i = 0; i < 4 && !w->failed; i++) {
        uint32_t op, *newest = &w->bounded[client][k.coll][k.key[i]];
        if (!found_op(w, &k, rows, i, &op) || (op != 0 && !w_row_fresh(w, op))) break;
        if (op == 0 && *newest != 0 && !may_have_gone(w, client, k.coll, k.key[i], *newest))
            w_fail(w, "a bounded read of key %u of client %u finds nothing, and op %u was frozen", k.key[i], client,
                   *newest);
        if (op != 0 && op < *newest)
            w_fail(w, "a bounded read of key %u of client %u finds op %u, and found op %u before", k.key[i], client, op,
                   *newest);
        if (op != 0) *newest = op;
        if (frozen && !w_may_see(w, &w->model->client[client], k.coll, k.key[i], op))
            w_fail(w, "a bounded read of key %u of client %u in %s finds op %u after everything was frozen", k.key[i],
                   client, w_coll_name(k.coll), op);
    }
    pomai_rows_free(rows);
}

static void freeze(struct world *w, uint32_t client, struct t_rng *rng)
{
    pomai_error err = {0};
    pomai_status status = pomai_freeze(w->db, NULL, &err);
    told(w, "freeze", status, &err);
    if (status == POMAI_OK) read_bounded(w, client, true, rng);
}

/* ---- snapshots ---- */

/* One that lists `default` shows the same for ever, unless collections come and go. */
static bool has_all(const struct world *w)
{
    pomai_collection_info info;
    return !w->config.temps && pomai_collection_get_info(w->coll[W_DEFAULT], &info, NULL) == POMAI_OK && info.dim != 0;
}

static void pin(struct world *w, uint32_t client)
{
    struct w_pin *p = &w->pin[client];
    pomai_error err = {0};
    memset(p->seen, 0xff, sizeof p->seen);
    p->has_digest = false;
    const struct w_client own = w->model->client[client];
    pomai_status status = pomai_snapshot_open(w->db, &p->snapshot, &err);
    told(w, "snapshot", status, &err);
    if (status != POMAI_OK) {
        p->snapshot = NULL;
        return;
    }
    p->own = own;
    p->ops = w->model->ops;
    if (has_all(w)) p->has_digest = pomai_digest(w->db, p->snapshot, p->digest, NULL) == POMAI_OK;
}

void w_unpin(struct world *w, uint32_t client)
{
    pomai_scan_close(w->pin[client].scan);
    pomai_snapshot_close(w->pin[client].snapshot);
    w->pin[client].scan = NULL;
    w->pin[client].snapshot = NULL;
}

/* A key in a snapshot: what it was, and always the same. */
static void take_pinned(struct world *w, struct w_pin *p, uint32_t reader, const struct keys *k, size_t i, uint32_t op)
{
    uint32_t *seen = &p->seen[k->coll][k->client][k->key[i]];
    if (op > p->ops) w_fail(w, "a snapshot shows op %u, which came later", op);
    if (*seen != W_UNREAD && *seen != op)
        w_fail(w, "a snapshot showed op %u for key %u of client %u in %s, and now op %u", *seen, k->key[i], k->client,
               w_coll_name(k->coll), op);
    if (k->client == reader && !w_may_see(w, &p->own, k->coll, k->key[i], op))
        w_fail(w, "a snapshot shows client %u op %u for its key %u in %s", reader, op, k->key[i], w_coll_name(k->coll));
    *seen = op;
}

static void get_pinned(struct world *w, uint32_t client, struct t_rng *rng)
{
    struct w_pin *p = &w->pin[client];
    struct keys k;
    pomai_rows *rows;
    pomai_error err = {0};
    pomai_get_options options = POMAI_GET_OPTIONS_INIT;
    options.snapshot = p->snapshot;
    draw_keys(&k, t_chance(rng, 60) ? client : (uint32_t)t_below(rng, w->config.clients), rng);
    pomai_status status = pomai_get(w->coll[k.coll], &k.list, &options, &rows, &err);
    if (status != POMAI_OK) {
        told(w, "get from a snapshot", status, &err);
        return;
    }
    for (size_t i = 0; i < 4 && !w->failed; i++) {
        uint32_t op;
        if (found_op(w, &k, rows, i, &op)) take_pinned(w, p, client, &k, i, op);
    }
    pomai_rows_free(rows);
}

/* A row that a search or a scan came to. */
static void see_pinned(struct world *w, uint32_t client, int coll, uint64_t id, pomai_bytes string_id,
                       const float *vector, pomai_bytes document)
{
    struct w_pin *p = &w->pin[client];
    uint32_t op, key;
    if (!w_row_possible(w, coll, id, string_id, vector, w->config.dim[coll], document, &op, &key)) return;
    struct keys k = {.client = w->model->op[op].client, .coll = coll, .key = {key}};
    if (coll != W_ASSIGNED)
        take_pinned(w, p, client, &k, 0, op);
    else if (op > p->ops)
        w_fail(w, "a snapshot shows op %u, which came later", op);
}

/* Some rows at a time, while flushes and compactions go on. */
static void scan_pinned(struct world *w, uint32_t client, struct t_rng *rng)
{
    struct w_pin *p = &w->pin[client];
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    pomai_rows *rows = NULL;
    pomai_error err = {0};
    pomai_status status = POMAI_OK;
    options.snapshot = p->snapshot;
    if (p->scan == NULL) {
        p->scanned = (int)t_below(rng, W_COLLS);
        status = pomai_scan_open(w->coll[p->scanned], &options, &p->scan, &err);
    }
    if (status == POMAI_OK) status = pomai_scan_next(p->scan, 1 + t_below(rng, 60), &rows, &err);
    if (status != POMAI_OK) told(w, "scan in a snapshot", status, &err);
    for (size_t i = 0; i < pomai_rows_count(rows) && !w->failed; i++)
        see_pinned(w, client, p->scanned, pomai_rows_id(rows, i), pomai_rows_string_id(rows, i),
                   pomai_rows_vector(rows, i), pomai_rows_document(rows, i));
    if (rows == NULL && status == POMAI_OK) {
        pomai_scan_close(p->scan);
        p->scan = NULL;
    }
    pomai_rows_free(rows);
}

static void search_pinned(struct world *w, uint32_t client, struct t_rng *rng)
{
    const struct w_pin *p = &w->pin[client];
    const int coll = (int)t_below(rng, W_COLLS);
    float query[W_DIM_MOST];
    for (uint32_t d = 0; d < w->config.dim[coll]; d++)
        query[d] = t_unit_float(rng);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_VECTORS | POMAI_INCLUDE_DOCUMENTS;
    options.snapshot = p->snapshot;
    if (t_chance(rng, 50)) options.recall = 0.8f;
    pomai_result *result;
    pomai_error err = {0};
    pomai_status status =
        pomai_search(w->coll[coll], query, 1, w->config.dim[coll], 1 + t_below(rng, 400), &options, &result, &err);
    if (status != POMAI_OK) {
        told(w, "search in a snapshot", status, &err);
        return;
    }
    for (size_t i = 0; i < pomai_result_count(result, 0) && !w->failed; i++) {
        see_pinned(w, client, coll, coll == W_STRINGS ? 0 : pomai_result_ids(result, 0)[i],
                   pomai_result_string_id(result, 0, i), pomai_result_vector(result, 0, i),
                   pomai_result_document(result, 0, i));
    }
    pomai_result_free(result);
}

static void digest_pinned(struct world *w, uint32_t client)
{
    struct w_pin *p = &w->pin[client];
    uint64_t digest[2];
    pomai_error err = {0};
    pomai_status status = pomai_digest(w->db, p->snapshot, digest, &err);
    told(w, "digest of a snapshot", status, &err);
    if (status == POMAI_OK && p->has_digest && memcmp(digest, p->digest, sizeof digest) != 0)
        w_fail(w, "a snapshot has another digest");
}

/* ---- a step ---- */

void w_maintain(struct world *w, uint32_t client, struct t_rng *rng)
{
    const uint64_t lot = t_below(rng, 100);
    struct w_pin *p = &w->pin[client];
    if (lot < 32 && t_chance(rng, 30)) w_aim_fault(w, rng, 40);
    if (lot < 4) {
        build(w, rng);
    } else if (lot < 18) {
        flush(w, false, NULL);
    } else if (lot < 32) {
        flush(w, true, t_chance(rng, 50) ? NULL : w->coll[t_below(rng, W_COLLS)]);
    } else if (lot < 44) {
        freeze(w, client, rng);
    } else if (lot < 56) {
        read_bounded(w, client, false, rng);
    } else if (p->snapshot == NULL) {
        pin(w, client);
    } else if (lot < 76) {
        get_pinned(w, client, rng);
    } else if (lot < 82) {
        search_pinned(w, client, rng);
    } else if (lot < 88) {
        scan_pinned(w, client, rng);
    } else if (lot < 94) {
        digest_pinned(w, client);
    } else {
        w_unpin(w, client);
    }
}
