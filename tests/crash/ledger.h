/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a writer has submitted and what was acknowledged, kept in memory shared with the process that will kill it, so
 * outside the database and untouched by its death.
 *
 * Every client (a thread of the writer) owns the rows that it writes; so the order of the operations on a row is the
 * order of one thread. A client's operations are numbered by `version`, which is also in every row it puts (gen.h):
 * a row that is found says which operation it is from.
 *
 * `base` is the state after all operations before `head`; ops[head .. tail) are the window: submitted, in this order,
 * each in flight, acknowledged or refused. Moving head on is idempotent, because the writer may die while it does so.
 */
#ifndef T_CRASH_LEDGER_H
#define T_CRASH_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../support/gen.h"
#include "base/point.h"
#include "pomai/pomai.h"

enum {
    CLIENTS = 4,
    WINDOW = 8,
    BATCH = 120, /* rows of an operation, at most */
    BLOCKS = 6,
    PER_BLOCK = 32,
    U64_ROWS = BLOCKS * PER_BLOCK,
    STRING_ROWS = 48,
    OWN_ROWS = 40,
    ASSIGNED_ROWS = 300,
    MAX_SHARDS = 4,
    MAX_DIM = 32
};

enum coll {
    C_U64,      /* `default`, ids given, all clients */
    C_STRING,   /* string ids, all clients */
    C_ASSIGNED, /* ids from the engine, all clients */
    C_OWN,      /* one a client, made and dropped by it */
    COLLS
};

enum given {
    GIVEN_NOT, /* assigned by the engine */
    GIVEN_NEW, /* one row, whose new id was given after all: first_id */
    GIVEN_OLD, /* rows that have ids already are replaced */
};
enum op_kind { OP_PUT = 1, OP_DELETE, OP_CREATE, OP_DROP };
enum op_state { OP_SUBMITTED = 1, OP_ACKED, OP_REFUSED };

/* The versions of a client's rows; 0: not there. Compared with memcmp. */
struct rows_state {
    uint32_t u64[U64_ROWS];
    uint32_t string[STRING_ROWS];
    uint32_t assigned[ASSIGNED_ROWS];
    uint32_t own[OWN_ROWS];
    uint32_t own_exists;
};

struct op {
    atomic_uint version;
    atomic_uint state;
    atomic_uint seen; /* its version, once somebody has read a row of it */
    uint32_t kind, coll, count;
    uint32_t shards;   /* mask of the shards of its rows; 0: not known */
    uint32_t given;    /* how rows of C_ASSIGNED got their ids: enum given */
    uint64_t first_id; /* assigned rows: known once acknowledged */
    uint16_t index[BATCH];
};

struct client_ledger {
    struct rows_state base;
    uint64_t assigned_id[ASSIGNED_ROWS]; /* of the rows of base.assigned that are there */
    uint32_t assigned_row[ASSIGNED_ROWS];
    uint32_t next_version;
    atomic_uint head, tail; /* not taken modulo WINDOW */
    struct op ops[WINDOW];
};

/* What one case does; drawn by the parent before it forks. */
struct plan {
    uint64_t seed;
    uint32_t clients;
    uint32_t rounds;     /* openings and clean closings by one writer before it just works until it dies */
    uint32_t target;     /* enum pm_point to die at; PM_POINT_COUNT: at a random instant */
    uint32_t occurrence; /* counts down */
    uint32_t stall_us;   /* stay at the target so long, while the other threads go on, then die */
    uint32_t jitter;     /* percent of boundaries that pause a little */
    uint32_t idle;       /* 1: pauses long enough for the WATERMARK */
    uint32_t big;        /* 1: batches larger than a log file */
};

struct ledger {
    uint64_t salt;
    uint64_t blocks[BLOCKS];
    uint32_t shards;
    uint32_t dim[COLLS];
    pomai_metric metric[COLLS];
    atomic_uint opened;      /* an opening has returned: the database exists */
    atomic_uint made[COLLS]; /* the creation of a shared collection was acknowledged */
    atomic_uint started;     /* the writer is at work */
    atomic_uint countdown;   /* occurrences of the target still to pass */
    uint32_t forged;         /* a torn tail was made, and no recovery has run since */
    uint64_t log_bytes;      /* as of the last check */
    uint32_t aborted;        /* batches aborted by the recovery last checked */
    uint32_t survived;       /* operations in flight at the last crash that took effect ... */
    uint32_t vanished;       /* ... and that did not */
    struct plan plan;
    struct client_ledger clients[CLIENTS];
};

/* ---- the universe of rows ---- */

static inline uint64_t u64_id(const struct ledger *l, unsigned client, uint32_t index)
{
    return l->blocks[index / PER_BLOCK] * 4096 + client * 64 + index % PER_BLOCK;
}

static inline bool u64_find(const struct ledger *l, uint64_t id, unsigned *client, uint32_t *index)
{
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint64_t at = id - l->blocks[b] * 4096;
        if (at >= 64 * CLIENTS || at % 64 >= PER_BLOCK) continue;
        *client = (unsigned)(at / 64);
        *index = b * PER_BLOCK + (uint32_t)(at % 64);
        return true;
    }
    return false;
}

/* docs/format/manifest.md, the shard map. */
static inline uint32_t u64_shard(uint64_t id, uint32_t shards)
{
    return (uint32_t)(((t_mix(id >> 12) >> 32) * shards) >> 32);
}

/* Readable, then filled up to a length from 4 to 512, NUL bytes among the filling. Returns the length. */
static inline size_t string_id(unsigned client, uint32_t index, char out[POMAI_MAX_STRING_ID])
{
    size_t size = (size_t)snprintf(out, 32, "t%u.%u.", client, index);
    size_t filled = index % 8 == 7 ? POMAI_MAX_STRING_ID : index % 8 == 6 ? size + index : size;
    for (; size < filled; size++)
        out[size] = (char)(index * 7 + size % 3);
    return filled;
}

static inline bool string_find(pomai_bytes id, unsigned *client, uint32_t *index)
{
    char text[32] = {0}, whole[POMAI_MAX_STRING_ID];
    memcpy(text, id.data, id.size < 31 ? id.size : 31);
    if (sscanf(text, "t%u.%u.", client, index) != 2 || *client >= CLIENTS || *index >= STRING_ROWS) return false;
    size_t size = string_id(*client, *index, whole);
    return size == id.size && memcmp(whole, id.data, size) == 0;
}

/* Ids of a client's own collection, spread over shards in tens. */
static inline uint64_t own_id(uint32_t index)
{
    return (uint64_t)(index / 10) * 40960 + index % 10;
}

static inline uint64_t coll_salt(const struct ledger *l, unsigned coll)
{
    return l->salt + 16 * coll;
}

/* Some rows expire, in centuries. */
static inline uint64_t row_expiry(unsigned coll, struct t_tag tag)
{
    if (coll != C_U64 || tag.version % 2 != 0 || (tag.version + tag.row) % 3 == 0) return 0;
    return UINT64_C(9000000000000000000) + tag.version * 1000 + tag.row;
}

static inline void coll_name(unsigned coll, unsigned client, char out[POMAI_MAX_NAME])
{
    static const char *const names[] = {"default", "strings", "assigned", "own"};
    if (coll == C_OWN) {
        snprintf(out, POMAI_MAX_NAME, "own-%u", client);
    } else {
        snprintf(out, POMAI_MAX_NAME, "%s", names[coll]);
    }
}

/* ---- the window ---- */

static inline uint32_t *versions_of(struct rows_state *state, unsigned coll)
{
    switch (coll) {
    case C_U64:
        return state->u64;
    case C_STRING:
        return state->string;
    case C_ASSIGNED:
        return state->assigned;
    default:
        return state->own;
    }
}

static inline void op_apply(const struct op *op, struct rows_state *state)
{
    uint32_t *versions = versions_of(state, op->coll);
    switch (op->kind) {
    case OP_PUT:
        for (uint32_t i = 0; i < op->count; i++)
            versions[op->index[i]] = op->version;
        break;
    case OP_DELETE:
        for (uint32_t i = 0; i < op->count; i++)
            versions[op->index[i]] = 0;
        break;
    case OP_CREATE:
        state->own_exists = 1;
        break;
    case OP_DROP:
        state->own_exists = 0;
        memset(state->own, 0, sizeof state->own);
        break;
    }
}

static inline struct op *op_at(struct client_ledger *c, uint32_t i)
{
    return &c->ops[i % WINDOW];
}

/* Moves operations whose outcome is known from the front of the window into base. */
static inline void ledger_fold(struct client_ledger *c)
{
    uint32_t head = c->head, tail = c->tail;
    while (head != tail && op_at(c, head)->state != OP_SUBMITTED) {
        const struct op *op = op_at(c, head);
        if (op->state == OP_ACKED) {
            op_apply(op, &c->base);
            if (op->coll == C_ASSIGNED && op->kind == OP_PUT) {
                for (uint32_t i = 0; i < op->count; i++) {
                    if (op->given != GIVEN_OLD) c->assigned_id[op->index[i]] = op->first_id + i;
                    c->assigned_row[op->index[i]] = i;
                }
            }
        }
        atomic_store(&c->head, ++head);
    }
}

#endif
