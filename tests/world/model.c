/* SPDX-License-Identifier: Apache-2.0 */
/* What must be there, and the check of everything. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/dtype.h"
#include "support/exact.h"
#include "support/gen.h"
#include "world.h"

void w_fail(struct world *w, const char *format, ...)
{
    if (w->failed) return; /* the first says most */
    w->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(w->what, sizeof w->what, format, args);
    va_end(args);
}

/* ---- keys ---- */

const char *w_coll_name(int coll)
{
    static const char *const names[] = {"default", "strings", "assigned"};
    return names[coll];
}

/* Sixteen neighbours, then another block of ids, which may be another shard's. */
uint64_t w_id(uint32_t client, uint32_t key)
{
    return (uint64_t)(key / 16) << 12 | client * 16 | key % 16;
}

void w_string_id(uint32_t client, uint32_t key, char text[16])
{
    snprintf(text, 16, "c%u-%u", client % 1000, key % 10000);
}

uint8_t w_shards_of(const struct world *w, int coll, uint32_t client, uint64_t keys)
{
    uint8_t shards = 0;
    for (uint32_t key = 0; key < W_KEYS; key++) {
        if ((keys >> key & 1) == 0) continue;
        char text[16];
        w_string_id(client, key, text);
        uint32_t s = coll == W_STRINGS ? pm_shard_of_string(text, strlen(text), w->config.shards)
                                       : pm_shard_of_u64(w_id(client, key), w->config.shards);
        shards |= (uint8_t)(1 << s);
    }
    return shards;
}

uint8_t w_shards_of_range(const struct world *w, uint64_t first_id, uint32_t rows)
{
    uint8_t shards = 0;
    for (uint32_t i = 0; i < rows; i++)
        shards |= (uint8_t)(1 << pm_shard_of_u64(first_id + i, w->config.shards));
    return shards;
}

/* ---- operations ---- */

static struct w_op *op_of(const struct world *w, uint32_t op)
{
    return &w->model->op[op];
}

uint32_t w_begin_op(struct world *w, uint32_t client, int coll, bool is_delete, uint64_t keys, uint32_t rows,
                    pomai_durability level)
{
    struct w_model *m = w->model;
    struct w_client *c = &m->client[client];
    uint32_t number = ++m->ops;
    if (number >= W_OPS || c->open_count >= W_OPEN) abort();
    m->op[number] = (struct w_op){.client = (uint8_t)client,
                                  .coll = (uint8_t)coll,
                                  .state = W_IN_FLIGHT,
                                  .level = (uint8_t)level,
                                  .is_delete = is_delete,
                                  .refusable = w->faults || w->config.capacity != 0,
                                  .rows = (uint8_t)rows,
                                  .keys = keys};
    if (coll != W_ASSIGNED) m->op[number].shards = w_shards_of(w, coll, client, keys);
    c->open[c->open_count++] = number;
    return number;
}

/* Whether that is what a version of this operation (0: none) shows. */
static bool matches(const struct world *w, uint32_t number, uint32_t found)
{
    const struct w_op *op = op_of(w, number);
    if (number == 0 || op->is_delete || op->expiry == W_PAST) return found == 0;
    return found == number || (found == 0 && op->expiry == W_NEAR);
}

static void apply(const struct world *w, struct w_client *c, const struct w_op *op, uint32_t number)
{
    if (op->coll == W_ASSIGNED) return;
    for (uint32_t key = 0; key < W_KEYS; key++) {
        if ((op->keys >> key & 1) == 0) continue;
        uint32_t *sure = &c->sure[op->coll][key];
        const uint64_t bit = (uint64_t)1 << key;
        if (!op->is_delete || !op->guessed)
            c->undead[op->coll] &= ~bit;
        else if (*sure != 0 && op_of(w, *sure)->expiry >= W_NEAR)
            c->undead[op->coll] |= bit;
        *sure = op->is_delete ? 0 : number;
    }
}

/* Takes the sure and the dead off the front of the open ones. */
static void settle_front(struct world *w, struct w_client *c)
{
    uint32_t gone = 0;
    while (gone < c->open_count) {
        const struct w_op *op = op_of(w, c->open[gone]);
        if (op->state != W_SURE && op->state != W_DEAD) break;
        if (op->state == W_SURE) apply(w, c, op, c->open[gone]);
        gone++;
    }
    memmove(c->open, c->open + gone, (c->open_count - gone) * sizeof c->open[0]);
    c->open_count -= gone;
}

/* What a later synced operation of the same client in the same shards makes sure. Ids of W_ASSIGNED that are not known
 * could be anywhere. */
static void spread_sureness(struct world *w, struct w_client *c)
{
    uint8_t synced = 0;
    for (uint32_t i = c->open_count; i-- > 0;) {
        struct w_op *op = op_of(w, c->open[i]);
        if (op->state == W_SURE) synced |= op->shards;
        bool known = op->coll != W_ASSIGNED || op->id_known;
        if (op->state == W_ACKED && known && (op->shards & ~synced) == 0) op->state = W_SURE;
    }
}

void w_end_op(struct world *w, uint32_t number, pomai_status status, const pomai_ack *ack, const pomai_error *err)
{
    struct w_op *op = op_of(w, number);
    struct w_client *c = &w->model->client[op->client];
    pm_sim_note(w->sim, number ^ (uint64_t)status << 32);
    switch (status) {
    case POMAI_OK:
        w->acked++;
        op->state = ack->level == POMAI_DURABILITY_SYNC ? W_SURE : W_ACKED;
        op->acked_at = pm_sim_time(w->sim);
        if ((int)ack->level < (int)op->level) w_fail(w, "op %u was acknowledged below its level", number);
        if (op->coll == W_ASSIGNED) {
            op->first_id = ack->first_id;
            op->id_known = true;
            op->shards = w_shards_of_range(w, ack->first_id, op->rows);
        }
        break;
    case POMAI_EUNKNOWN: /* it was in the log, or on the way there */
        w->stopped = true;
        op->refusable = false;
        if (!w->faults) w_fail(w, "op %u: %s", number, err->message);
        break;
    case POMAI_ESTOPPED:
        w->stopped = true;
        op->state = W_DEAD;
        w->refused++;
        if (!w->faults) w_fail(w, "op %u: %s", number, err->message);
        break;
    case POMAI_EBUSY:
    case POMAI_EDEADLINE:
        op->state = W_DEAD;
        w->refused++;
        break;
    default:
        op->state = W_DEAD;
        w->refused++;
        if (status == POMAI_EINTERNAL || !(w->faults || w->config.capacity != 0))
            w_fail(w, "op %u: %s: %s", number, pomai_status_name(status), err->message);
        break;
    }
    if (op->state == W_DEAD && op->shown) w_fail(w, "op %u was shown, then refused", number);
    spread_sureness(w, c);
    settle_front(w, c);
}

/* Only where nothing but the engine can be late. */
void w_group_due(struct world *w)
{
    enum { SLACK_MS = 2 };
    const uint64_t allowed = (uint64_t)(w->config.group_ms + SLACK_MS) * 1000 * 1000;
    if (!w->config.paced || w->faults || w->stopped || !w->decided) return; /* those before a crash wait in vain */
    for (uint32_t client = 0; client < w->config.clients; client++) {
        struct w_client *c = &w->model->client[client];
        for (uint32_t i = 0; i < c->open_count; i++) {
            struct w_op *op = op_of(w, c->open[i]);
            bool due = pm_sim_time(w->sim) > op->acked_at + allowed;
            if (op->state == W_ACKED && op->level == POMAI_DURABILITY_GROUP && due) op->state = W_SURE;
        }
        spread_sureness(w, c);
        settle_front(w, c);
    }
}

void w_temp_name(uint32_t temp, char name[W_TEMP_NAME])
{
    snprintf(name, W_TEMP_NAME, "t%u-%.*s", temp, (int)(temp * 17 % 48),
             "a-name-that-is-longer-or-shorter-than-the-others-are");
}

void w_rows_there(const struct world *w, uint32_t number, uint64_t *least, uint64_t *most)
{
    const struct w_op *op = op_of(w, number);
    const struct w_client *c = &w->model->client[op->client];
    *least = *most = 0;
    for (uint32_t key = 0; key < W_KEYS; key++) {
        if ((op->keys >> key & 1) == 0) continue;
        const uint32_t last = c->sure[op->coll][key];
        bool may = last != 0, must = may && op_of(w, last)->expiry < W_NEAR;
        may |= (c->undead[op->coll] >> key & 1) != 0;
        for (uint32_t i = 0; i < c->open_count; i++) {
            const struct w_op *before = op_of(w, c->open[i]);
            if (c->open[i] == number || before->coll != op->coll || (before->keys >> key & 1) == 0) continue;
            if (before->state == W_DEAD) continue;
            const bool sure = before->state != W_IN_FLIGHT, there = !before->is_delete;
            must = (sure ? there : must && there) && before->expiry < W_NEAR;
            may = sure ? there : may || there;
        }
        *least += must;
        *most += may;
    }
}

void w_synced(struct world *w, uint32_t client, uint32_t acked_before)
{
    struct w_client *c = &w->model->client[client];
    for (uint32_t i = 0; i < c->open_count; i++) {
        struct w_op *op = op_of(w, c->open[i]);
        if (c->open[i] <= acked_before && op->state == W_ACKED) op->state = W_SURE;
    }
    settle_front(w, c);
}

void w_op_sure(struct world *w, uint32_t client, uint32_t number)
{
    if (op_of(w, number)->state == W_ACKED) op_of(w, number)->state = W_SURE;
    spread_sureness(w, &w->model->client[client]);
    settle_front(w, &w->model->client[client]);
}

bool w_row_fresh(struct world *w, uint32_t number)
{
    if (op_of(w, number)->gone) w_fail(w, "a row of op %u is back, which had expired", number);
    return !op_of(w, number)->gone;
}

void w_row_absent(struct world *w, uint32_t client, int coll, uint32_t key)
{
    const struct w_client *c = &w->model->client[client];
    const uint32_t number = c->sure[coll][key];
    for (uint32_t i = 0; i < c->open_count; i++)
        if (op_of(w, c->open[i])->coll == coll && (op_of(w, c->open[i])->keys >> key & 1) != 0) return;
    if (number != 0 && op_of(w, number)->expiry == W_NEAR) op_of(w, number)->gone = true;
}

bool w_may_see(const struct world *w, const struct w_client *c, int coll, uint32_t key, uint32_t seen)
{
    bool may = matches(w, c->sure[coll][key], seen);
    for (uint32_t i = 0; i < c->open_count; i++) {
        const struct w_op *op = op_of(w, c->open[i]);
        if (op->coll != coll || (op->keys >> key & 1) == 0 || op->state == W_DEAD) continue;
        bool this_one = matches(w, c->open[i], seen);
        may = op->state == W_IN_FLIGHT ? may || this_one : this_one;
    }
    return may;
}

/* ---- rows ---- */

static bool row_is_whole(const struct world *w, int coll, struct t_tag tag, const float *vector, uint32_t dim,
                         pomai_bytes document)
{
    float written[W_DIM_MOST];
    const unsigned bytes = pm_dtype_size(w_dtype(w, coll));
    if (!w->config.uniform)
        return t_tagged_row_is_whole_of(bytes, w->seed, tag, vector, dim, document.data, document.size);
    t_tagged_vector_of(bytes, w->seed, tag, dim, written);
    return document.size == 0 && memcmp(written, vector, dim * sizeof written[0]) == 0;
}

bool w_row_possible(struct world *w, int coll, uint64_t id, pomai_bytes string_id, const float *vector, uint32_t dim,
                    pomai_bytes document, uint32_t *number, uint32_t *key)
{
    struct t_tag tag;
    if (!t_read_tag(vector, &tag) || tag.version > w->model->ops) {
        w_fail(w, "a row of %s, id %llu, that nobody wrote", w_coll_name(coll), (unsigned long long)id);
        return false;
    }
    struct w_op *op = op_of(w, tag.version);
    char text[16] = "";
    bool right = op->coll == coll && op->client == tag.writer && !op->is_delete;
    if (coll == W_ASSIGNED) {
        right = right && tag.row < op->rows && (!op->id_known || id == op->first_id + tag.row);
    } else {
        right = right && tag.row < W_KEYS && (op->keys >> tag.row & 1) != 0;
        if (right && coll == W_STRINGS) {
            w_string_id(op->client, tag.row, text);
            right = string_id.size == strlen(text) && memcmp(text, string_id.data, string_id.size) == 0;
        } else if (right) {
            right = id == w_id(op->client, tag.row);
        }
    }
    if (!right) {
        w_fail(w, "a row of %s, id %llu%s, from op %u, which never wrote it", w_coll_name(coll), (unsigned long long)id,
               text, tag.version);
        return false;
    }
    if (op->state == W_DEAD) {
        w_fail(w, "a row of %s, key %u, of op %u, which was refused or lost before", w_coll_name(coll), tag.row,
               tag.version);
        return false;
    }
    if (!row_is_whole(w, coll, tag, vector, dim, document)) {
        w_fail(w, "a row of %s, key %u, of op %u, is not as it was written", w_coll_name(coll), tag.row, tag.version);
        return false;
    }
    if (op->expiry == W_PAST) w_fail(w, "a row of op %u, which had expired before it came", tag.version);
    op->shown = true;
    *number = tag.version;
    *key = tag.row;
    return true;
}

/* ---- what a crash left of a client's open operations ---- */

struct found {
    uint32_t key[2][W_CLIENTS][W_KEYS]; /* the operation of the version that is there */
    uint64_t rows[W_OPS];               /* of W_ASSIGNED: a bit a row */
    uint64_t first[W_OPS];
};

static bool must_be_there(const struct world *w, const struct w_op *op)
{
    if (op->state == W_SURE) return true;
    if (op->state == W_ACKED) return !w->may_lose;
    /* Shown means decided, and decided means durable at its level. */
    return op->state == W_IN_FLIGHT && op->shown && (op->level == POMAI_DURABILITY_SYNC || !w->may_lose);
}

/* How far the log of each shard goes, in operations of the client. */
static bool included(const struct w_op *op, uint32_t i, const uint32_t *upto)
{
    if (op->state == W_DEAD || op->refused) return false;
    for (uint32_t s = 0; s < W_SHARDS; s++)
        if ((op->shards >> s & 1) != 0 && i >= upto[s]) return false;
    return true;
}

static bool explains(const struct world *w, uint32_t client, const uint32_t *upto, const struct found *found)
{
    const struct w_client *c = &w->model->client[client];
    for (int coll = 0; coll < W_ASSIGNED; coll++) {
        uint64_t checked = 0;
        for (uint32_t i = c->open_count; i-- > 0;) { /* the newest that is there decides */
            const struct w_op *op = op_of(w, c->open[i]);
            if (op->coll != coll || !included(op, i, upto)) continue;
            uint64_t fresh = op->keys & ~checked;
            checked |= op->keys;
            for (; fresh != 0; fresh &= fresh - 1) {
                uint32_t key = (uint32_t)__builtin_ctzll(fresh);
                if (!matches(w, c->open[i], found->key[coll][client][key])) return false;
            }
        }
        for (uint32_t key = 0; key < W_KEYS; key++)
            if ((checked >> key & 1) == 0 && !matches(w, c->sure[coll][key], found->key[coll][client][key]))
                return false;
    }
    for (uint32_t i = 0; i < c->open_count; i++) {
        const struct w_op *op = op_of(w, c->open[i]);
        if (op->coll != W_ASSIGNED) continue;
        /* Ids that nobody was told could be in any shard: then what is there decides, whole or not at all. */
        bool there = found->rows[c->open[i]] != 0;
        if (op->id_known && there != included(op, i, upto)) return false;
    }
    return true;
}

/* Tries all lengths of the shards' logs, the longest first: what may have expired counts as there. True with the first
 * that explains what is there. */
static bool try_lengths(const struct world *w, uint32_t client, uint32_t shard, uint32_t *upto,
                        const struct found *found)
{
    const struct w_client *c = &w->model->client[client];
    if (shard == w->config.shards) return explains(w, client, upto, found);
    uint32_t least = 0;
    for (uint32_t i = 0; i < c->open_count; i++)
        if ((op_of(w, c->open[i])->shards >> shard & 1) != 0 && must_be_there(w, op_of(w, c->open[i]))) least = i + 1;
    for (uint32_t i = c->open_count; i-- > least;) {
        if ((op_of(w, c->open[i])->shards >> shard & 1) == 0) continue;
        upto[shard] = i + 1;
        if (try_lengths(w, client, shard + 1, upto, found)) return true;
    }
    upto[shard] = least;
    return try_lengths(w, client, shard + 1, upto, found);
}

/* Tries every set of operations that may have been refused, the empty one first. */
static bool try_refusals(struct world *w, uint32_t client, uint32_t *upto, const struct found *found)
{
    const struct w_client *c = &w->model->client[client];
    struct w_op *may[W_OPEN];
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->open_count; i++) {
        struct w_op *op = op_of(w, c->open[i]);
        if (op->state == W_IN_FLIGHT && op->refusable && !op->shown) may[count++] = op;
    }
    bool good = false;
    for (uint32_t set = 0; set < 1u << count && !good; set++) {
        for (uint32_t i = 0; i < count; i++)
            may[i]->refused = (set >> i & 1) != 0;
        good = try_lengths(w, client, 0, upto, found);
    }
    return good;
}

static void describe(const struct world *w, uint32_t client, const struct found *found, char *text, size_t size)
{
    const struct w_client *c = &w->model->client[client];
    size_t at = 0;
    for (uint32_t i = 0; i < c->open_count && at + 60 < size; i++) {
        const struct w_op *op = op_of(w, c->open[i]);
        at += (size_t)snprintf(text + at, size - at, " [op %u %s state %u level %u shards %x%s]", c->open[i],
                               op->is_delete ? "delete" : "put", op->state, op->level, op->shards,
                               op->shown ? " shown" : "");
    }
    for (int coll = 0; coll < W_ASSIGNED; coll++)
        for (uint32_t key = 0; key < W_KEYS && at + 60 < size; key++)
            if (found->key[coll][client][key] != c->sure[coll][key])
                at += (size_t)snprintf(text + at, size - at, " %s/%u: op %u (was %u)", w_coll_name(coll), key,
                                       found->key[coll][client][key], c->sure[coll][key]);
}

/* Rows that are there say which ids they were assigned, and so in which shards what came before must be, too. */
static void learn_ids(struct world *w, const struct w_client *c, const struct found *found)
{
    for (uint32_t i = 0; i < c->open_count; i++) {
        struct w_op *op = op_of(w, c->open[i]);
        if (op->coll != W_ASSIGNED || op->id_known || found->rows[c->open[i]] == 0) continue;
        op->first_id = found->first[c->open[i]];
        op->id_known = true;
        op->shards = w_shards_of_range(w, op->first_id, op->rows);
    }
}

static void decide_client(struct world *w, uint32_t client, const struct found *found, bool first)
{
    struct w_client *c = &w->model->client[client];
    uint32_t upto[W_SHARDS] = {0};
    if (first) learn_ids(w, c, found);
    if (!first) { /* nothing was lost: everything open is there */
        for (uint32_t s = 0; s < W_SHARDS; s++)
            upto[s] = c->open_count;
    }
    bool good = first ? try_refusals(w, client, upto, found) : true;
    if (!first)
        for (uint32_t i = 0; i < c->open_count; i++)
            if (op_of(w, c->open[i])->state == W_IN_FLIGHT) return; /* of unknown outcome: only after the next open */
    if (!first) good = explains(w, client, upto, found);
    if (!good) {
        char text[400] = "";
        describe(w, client, found, text, sizeof text);
        w_fail(w, "what is there of client %u is explained by no outcome of its open operations:%s", client, text);
        return;
    }
    for (int coll = 0; coll < W_ASSIGNED; coll++)
        for (uint32_t key = 0; key < W_KEYS; key++)
            if (found->key[coll][client][key] == 0) w_row_absent(w, client, coll, key);
    if (!first) return;
    for (uint32_t i = 0; i < c->open_count; i++) {
        struct w_op *op = op_of(w, c->open[i]);
        if (op->state == W_DEAD) continue;
        bool there = op->coll == W_ASSIGNED ? found->rows[c->open[i]] != 0 : included(op, i, upto);
        if (op->coll == W_ASSIGNED && must_be_there(w, op) && !there)
            w_fail(w, "op %u, assigned ids, was acknowledged and is gone", c->open[i]);
        op->guessed = !must_be_there(w, op);
        op->state = there ? W_SURE : W_DEAD;
    }
    settle_front(w, c);
}

/* Rows of assigned ids: of each operation all or none. */
static void check_assigned(struct world *w, const struct found *found, bool first)
{
    for (uint32_t i = 1; i <= w->model->ops; i++) {
        const struct w_op *op = op_of(w, i);
        if (op->coll != W_ASSIGNED) continue;
        uint64_t all = op->rows == 64 ? UINT64_MAX : ((uint64_t)1 << op->rows) - 1;
        if (found->rows[i] != 0 && found->rows[i] != all) w_fail(w, "op %u: a part of its rows is there", i);
        if (found->rows[i] == 0 && (op->state == W_SURE || (!first && op->state == W_ACKED)))
            w_fail(w, "op %u, assigned ids, was acknowledged and is gone", i);
    }
}

/* ---- reading everything ---- */

struct read_row {
    uint64_t id;
    pomai_bytes string_id, document;
    const float *vector;
};

static void take_row(struct world *w, int coll, const struct read_row *r, uint32_t dim, struct found *found)
{
    uint32_t op, key;
    const uint64_t id = r->id;
    if (!w_row_possible(w, coll, id, r->string_id, r->vector, dim, r->document, &op, &key)) return;
    if (!w_row_fresh(w, op)) return;
    pm_sim_note(w->sim, id ^ (uint64_t)op << 40);
    uint32_t client = op_of(w, op)->client;
    if (coll == W_ASSIGNED) {
        if ((found->rows[op] >> key & 1) != 0) w_fail(w, "op %u: row %u is there twice", op, key);
        if (found->rows[op] != 0 && found->first[op] + key != id) w_fail(w, "op %u: its ids do not follow", op);
        found->rows[op] |= (uint64_t)1 << key;
        found->first[op] = id - key;
        return;
    }
    if (found->key[coll][client][key] != 0) w_fail(w, "key %u of client %u is there twice", key, client);
    found->key[coll][client][key] = op;
}

/* A scan must come to what search found, but for what has expired since. False: a fault cut it short. */
static bool scan_agrees(struct world *w, int coll, const struct found *found)
{
    static struct found again;
    pomai_error err = {0};
    pomai_scan *scan;
    pomai_rows *rows = NULL;
    memset(again.key, 0, sizeof again.key);
    memset(again.rows, 0, (w->model->ops + 1) * sizeof again.rows[0]);
    const uint64_t most = 1 + w->model->ops % 300; /* no draw: kept cases stay what they are */
    pomai_status status = pomai_scan_open(w->coll[coll], NULL, &scan, &err);
    while (status == POMAI_OK && !w->failed) {
        status = pomai_scan_next(scan, most, &rows, &err);
        if (rows == NULL) break;
        for (size_t i = 0; i < pomai_rows_count(rows) && !w->failed; i++) {
            const struct read_row row = {.id = pomai_rows_id(rows, i),
                                         .string_id = pomai_rows_string_id(rows, i),
                                         .document = pomai_rows_document(rows, i),
                                         .vector = pomai_rows_vector(rows, i)};
            take_row(w, coll, &row, pomai_rows_dim(rows), &again);
        }
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    if (status != POMAI_OK && !w->faults) w_fail(w, "scan of %s: %s", w_coll_name(coll), err.message);
    if (status != POMAI_OK || w->failed) return w->failed;
    const bool may_lack = w->config.expiry == 2;
    for (uint32_t client = 0; coll != W_ASSIGNED && client < W_CLIENTS; client++)
        for (uint32_t key = 0; key < W_KEYS; key++) {
            const uint32_t a = found->key[coll][client][key], b = again.key[coll][client][key];
            if (a != b && (b != 0 || !may_lack))
                w_fail(w, "search finds op %u for key %u of client %u, a scan op %u", a, key, client, b);
        }
    for (uint32_t op = 1; coll == W_ASSIGNED && op <= w->model->ops; op++)
        if (found->rows[op] != again.rows[op]) w_fail(w, "op %u: search and scan find different rows", op);
    return true;
}

/* False: a fault that was asked for cut it short. */
static bool read_collection(struct world *w, int coll, struct found *found)
{
    pomai_error err = {0};
    pomai_collection_info info;
    pomai_result *result = NULL;
    if (pomai_collection_get_info(w->coll[coll], &info, &err) != POMAI_OK) {
        w_fail(w, "%s: %s", w_coll_name(coll), err.message);
        return true;
    }
    if (info.dim == 0) return true; /* `default`, before its first put */
    if (info.dim != w->config.dim[coll] || info.dtype != w_dtype(w, coll)) {
        w_fail(w, "%s has %u dimensions of type %d", w_coll_name(coll), info.dim, (int)info.dtype);
        return true;
    }
    if ((info.cluster_by[0] != '\0') != (coll != W_DEFAULT && (w->config.cluster >> coll & 1) != 0)) {
        w_fail(w, "%s is clustered by \"%s\"", w_coll_name(coll), info.cluster_by);
        return true;
    }
    float query[W_DIM_MOST];
    for (uint32_t d = 0; d < info.dim; d++)
        query[d] = t_unit_float(&w->rng);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    pomai_status status = pomai_search(w->coll[coll], query, 1, info.dim, info.rows + 3, &options, &result, &err);
    if (status != POMAI_OK) {
        if (!w->faults) w_fail(w, "search in %s: %s", w_coll_name(coll), err.message);
        return false;
    }
    size_t count = pomai_result_count(result, 0);
    const double *distance = pomai_result_distances(result, 0);
    if (w->config.expiry == 2 ? count > info.rows : count != info.rows) /* some may have expired meanwhile */
        w_fail(w, "%s has %llu rows, search finds %zu", w_coll_name(coll), (unsigned long long)info.rows, count);
    for (size_t i = 0; i < count && !w->failed; i++) {
        double exact = t_distance(info.metric, query, pomai_result_vector(result, 0, i), info.dim);
        if (!t_same_double(exact, distance[i])) w_fail(w, "%s: a distance is wrong", w_coll_name(coll));
        if (i > 0 && distance[i] < distance[i - 1]) w_fail(w, "%s: not the nearest first", w_coll_name(coll));
        const struct read_row row = {.id = coll == W_STRINGS ? 0 : pomai_result_ids(result, 0)[i],
                                     .string_id = pomai_result_string_id(result, 0, i),
                                     .document = pomai_result_document(result, 0, i),
                                     .vector = pomai_result_vector(result, 0, i)};
        take_row(w, coll, &row, info.dim, found);
    }
    pomai_result_free(result);
    return w->failed || scan_agrees(w, coll, found);
}

/* get must agree with search. */
static void check_gets(struct world *w, const struct found *found)
{
    for (int coll = 0; coll < W_ASSIGNED; coll++) {
        uint32_t client = (uint32_t)t_below(&w->rng, w->config.clients);
        uint64_t ids[8];
        char text[8][16];
        pomai_bytes strings[8];
        uint32_t keys[8];
        for (int i = 0; i < 8; i++) {
            keys[i] = (uint32_t)t_below(&w->rng, W_KEYS);
            ids[i] = w_id(client, keys[i]);
            w_string_id(client, keys[i], text[i]);
            strings[i] = (pomai_bytes){text[i], strlen(text[i])};
        }
        pomai_ids list = {8, coll == W_STRINGS ? NULL : ids, coll == W_STRINGS ? strings : NULL};
        pomai_rows *rows;
        pomai_error err = {0};
        if (pomai_get(w->coll[coll], &list, NULL, &rows, &err) != POMAI_OK) {
            if (!w->faults) w_fail(w, "get from %s: %s", w_coll_name(coll), err.message);
            continue;
        }
        for (size_t i = 0; i < 8 && !w->failed; i++) {
            uint32_t op = 0, key;
            if (pomai_rows_found(rows, i) &&
                !w_row_possible(w, coll, ids[i], strings[i], pomai_rows_vector(rows, i), pomai_rows_dim(rows),
                                pomai_rows_document(rows, i), &op, &key))
                break;
            const uint32_t expected = found->key[coll][client][keys[i]];
            if (op == 0 && expected != 0 && op_of(w, expected)->expiry == W_NEAR) continue;
            if (op != expected)
                w_fail(w, "key %u of client %u in %s: search finds op %u, get op %u", keys[i], client,
                       w_coll_name(coll), found->key[coll][client][keys[i]], op);
        }
        pomai_rows_free(rows);
    }
}

static bool check_names(struct world *w, bool first)
{
    char **names;
    size_t count;
    pomai_error err = {0};
    struct w_model *m = w->model;
    if (pomai_collection_list(w->db, &names, &count, &err) != POMAI_OK) {
        if (!w->faults) w_fail(w, "list: %s", err.message);
        return false;
    }
    for (uint32_t t = 0; t < m->temps; t++) {
        char name[W_TEMP_NAME];
        w_temp_name(t, name);
        bool there = false;
        for (size_t i = 0; i < count; i++)
            there |= strcmp(names[i], name) == 0;
        bool may = m->temp[t] != W_TEMP_GONE && m->temp[t] != W_TEMP_ABSENT, must = m->temp[t] == W_TEMP_THERE;
        if ((there && !may) || (!there && must)) w_fail(w, "collection %s: %s", name, there ? "is back" : "is gone");
        if (first) m->temp[t] = there ? W_TEMP_THERE : m->temp[t] == W_TEMP_ABSENT ? W_TEMP_ABSENT : W_TEMP_GONE;
    }
    pomai_free(names);
    return true;
}

bool w_check_all(struct world *w, bool first)
{
    static struct found found; /* large; one world at a time checks */
    memset(found.key, 0, sizeof found.key);
    memset(found.rows, 0, (w->model->ops + 1) * sizeof found.rows[0]);
    bool whole = check_names(w, first);
    for (int coll = 0; coll < W_COLLS && !w->failed; coll++)
        if (w->coll[coll] != NULL) whole = read_collection(w, coll, &found) && whole;
    if (!whole) return false;
    if (!w->failed) check_gets(w, &found);
    for (uint32_t client = 0; client < w->config.clients && !w->failed; client++)
        decide_client(w, client, &found, first);
    if (!w->failed) check_assigned(w, &found, first);
    return true;
}

struct w_model *w_model_copy(const struct w_model *model)
{
    size_t size = offsetof(struct w_model, op) + (model->ops + 1) * sizeof model->op[0];
    struct w_model *copy = malloc(size);
    if (copy == NULL) abort();
    memcpy(copy, model, size);
    return copy;
}

void w_model_restore(struct w_model *model, const struct w_model *copy)
{
    memcpy(model, copy, offsetof(struct w_model, op) + (copy->ops + 1) * sizeof copy->op[0]);
}
