/* SPDX-License-Identifier: Apache-2.0 */
/* Rows, wherever they lie, become segments: the part that flush and compaction share. */
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/engine/engine.h"
#include "index/columns/columns.h"

#define CLUSTER_MEMORY ((uint64_t)1 << 30) /* beyond, rows stay in the order that they have */

/* ---- what nobody needs ---- */

pomai_status pm_horizon_take(pm_db *db, const uint64_t *upto, pm_horizon *h, pomai_error *err)
{
    const uint32_t shards = db->shared.shards;
    const pm_os *os = db->os;
    pomai_status status = POMAI_OK;
    *h = (pm_horizon){.shards = shards, .upto = upto};
    os->mutex_lock(os, &db->pins);
    h->now = pm_clock_now(&db->shared);
    for (const pomai_snapshot *s = db->snapshots; s != NULL; s = s->next)
        h->pins++;
    h->visible = pm_calloc((size_t)h->pins * shards + 1, sizeof *h->visible);
    if (h->visible == NULL) status = pm_fail(err, POMAI_ENOMEM, "no memory to list %u snapshots", h->pins);
    uint64_t *at = h->visible;
    for (const pomai_snapshot *s = db->snapshots; s != NULL && status == POMAI_OK; s = s->next, at += shards) {
        memcpy(at, s->visible, shards * sizeof *at);
        if (!PM_MUTANT(PIN_TIME_IGNORED)) h->now = pm_min_u64(h->now, s->now);
    }
    os->mutex_unlock(os, &db->pins);
    return status;
}

void pm_horizon_clear(pm_horizon *h)
{
    pm_free(h->visible);
    h->visible = NULL;
}

bool pm_horizon_drops(const pm_horizon *h, uint32_t shard, uint64_t begin, uint64_t end, uint64_t expiry)
{
    if (expiry != 0 && expiry <= h->now) return true;
    if (end > h->upto[shard]) return false;
    for (uint32_t i = 0; i < h->pins && !PM_MUTANT(PINS_IGNORED); i++) {
        const uint64_t visible = h->visible[(size_t)i * h->shards + shard];
        if (begin <= visible && visible < end) return false;
    }
    return true;
}

/* ---- rows ---- */

bool pm_build_add(pm_build *b, const void *owner, uint32_t row)
{
    if (b->rows == b->capacity) {
        uint64_t capacity = b->capacity == 0 ? 1024 : b->capacity * 2;
        pm_where *wider = pm_realloc(b->row, capacity * sizeof *wider);
        if (wider == NULL) return false;
        b->row = wider;
        b->capacity = capacity;
    }
    b->row[b->rows++] = (pm_where){owner, row};
    return true;
}

typedef struct output {
    pm_build *build;
    uint64_t first;
} output;

/* A column at a time: what is asked for is cheap, so what is not had better cost nothing. */
static void row_of_chunk(const pm_chunk *chunk, uint32_t row, const pm_build *b, uint32_t columns, pm_segment_row *to)
{
    if ((columns & (PM_SEG_ID | PM_SEG_SHARD)) != 0) pm_chunk_id(chunk, row, &to->id);
    if ((columns & PM_SEG_SHARD) != 0)
        to->shard = to->id.bytes == NULL ? pm_shard_of_u64(to->id.u64, b->db->shared.shards)
                                         : pm_shard_of_string(to->id.bytes, to->id.size, b->db->shared.shards);
    if ((columns & PM_SEG_LSN) != 0) to->lsn = chunk->lsn;
    if ((columns & PM_SEG_STAMP) != 0) to->stamp = chunk->stamp;
    if ((columns & PM_SEG_EXPIRY) != 0) to->expiry = chunk->expiry == NULL ? 0 : chunk->expiry[row];
    if ((columns & PM_SEG_VECTOR) != 0) to->vector = pm_chunk_vector_at(chunk, row);
    if ((columns & PM_SEG_DOCUMENT) != 0) to->document = pm_chunk_document(chunk, row);
}

static void row_of_segment(const pm_segment *segment, uint32_t row, uint32_t columns, pm_segment_row *to)
{
    if ((columns & PM_SEG_ID) != 0) pm_segment_id(segment, row, &to->id);
    if ((columns & PM_SEG_SHARD) != 0) to->shard = pm_segment_shard(segment, row);
    if ((columns & PM_SEG_LSN) != 0) to->lsn = pm_segment_lsn(segment, row);
    if ((columns & PM_SEG_STAMP) != 0) to->stamp = pm_segment_stamp(segment, row);
    if ((columns & PM_SEG_EXPIRY) != 0)
        to->expiry = pm_segment_first_expiry(segment) == 0 ? 0 : pm_segment_expiry(segment, row);
    if ((columns & PM_SEG_VECTOR) != 0) to->vector = pm_segment_vector_at(segment, row);
    if ((columns & PM_SEG_DOCUMENT) != 0) to->document = pm_segment_document(segment, row);
}

static pomai_status give_row(void *context, uint64_t i, uint32_t columns, pm_segment_row *row, pomai_error *err)
{
    const output *o = context;
    const pm_where *at = &o->build->row[o->first + i];
    if (pm_where_chunk(at->owner)) {
        row_of_chunk(at->owner, at->row, o->build, columns, row);
        return POMAI_OK;
    }
    pm_segment *segment = (pm_segment *)(uintptr_t)at->owner;
    pomai_status status = pm_segment_check(segment, columns, at->row, 1, err);
    if (status == POMAI_OK) row_of_segment(segment, at->row, columns, row);
    return status;
}

static pomai_status pace(void *context, uint64_t bytes, pomai_error *err)
{
    const output *o = context;
    return pm_maintenance_pace(o->build->db, bytes, err);
}

/* ---- order ---- */

typedef struct clustering {
    pm_build *build;
    pomai_status status;
    pomai_error *err;
} clustering;

static bool may_go_on(void *context)
{
    clustering *c = context;
    c->status = pm_maintenance_pace(c->build->db, 0, c->err);
    return c->status == POMAI_OK;
}

/* The rank of each row's value. Damage was looked for when the rows were taken. */
static pomai_status rank_rows(const pm_build *b, pm_columns_builder *builder, uint32_t *rank, uint64_t *ranks)
{
    pomai_status status = POMAI_OK;
    pm_columns_only(builder, b->coll->cluster_by, strlen(b->coll->cluster_by));
    for (uint64_t i = 0; i < b->rows && status == POMAI_OK; i++) {
        const pomai_bytes document = pm_where_document(&b->row[i]);
        status = pm_columns_add(builder, document.data, document.size);
    }
    return status == POMAI_OK ? pm_columns_order(builder, rank, ranks) : status;
}

/* Of each row's rank its place: rows of one rank stay in their order. false: no memory. */
static bool place_ranks(uint32_t *rank, uint64_t rows, uint64_t ranks)
{
    uint32_t *next = pm_calloc(ranks + 1, sizeof *next);
    if (next == NULL) return false;
    for (uint64_t i = 0; i < rows; i++)
        next[rank[i] + 1]++;
    for (uint64_t i = 0; i < ranks; i++)
        next[i + 1] += next[i];
    for (uint64_t i = 0; i < rows; i++)
        rank[i] = next[rank[i]]++;
    pm_free(next);
    return true;
}

/* Each row to its place, of which it then has its own. */
static void move_rows(pm_build *b, uint32_t *place)
{
    for (uint64_t i = 0; i < b->rows; i++) {
        while (place[i] != i) {
            const uint32_t to = place[i];
            const pm_where row = b->row[to];
            b->row[to] = b->row[i];
            b->row[i] = row;
            place[i] = place[to];
            place[to] = to;
        }
    }
}

pomai_status pm_build_cluster(pm_build *b, pm_carry *const *carry, uint32_t carries, pomai_error *err)
{
    clustering c = {b, POMAI_OK, err};
    pm_columns_builder *builder = NULL;
    uint64_t ranks = 0;
    if (b->coll->cluster_by[0] == '\0' || PM_MUTANT(CLUSTER_FORGOTTEN)) return POMAI_OK;
    uint32_t *place = pm_malloc((b->rows + 1) * sizeof *place);
    pomai_status status =
        place == NULL ? POMAI_ENOMEM : pm_columns_begin(b->rows, (size_t)CLUSTER_MEMORY, may_go_on, &c, &builder);
    if (status == POMAI_OK) status = rank_rows(b, builder, place, &ranks);
    pm_columns_end(builder);
    if (status == POMAI_OK && !place_ranks(place, b->rows, ranks)) status = POMAI_ENOMEM;
    if (status == POMAI_OK) {
        for (uint32_t i = 0; i < carries && !PM_MUTANT(CLUSTER_NOT_CARRIED); i++)
            for (uint64_t row = 0; carry[i] != NULL && row < carry[i]->places; row++)
                if (carry[i]->place[row] != PM_NO_ROW) carry[i]->place[row] = place[carry[i]->place[row]];
        move_rows(b, place);
    }
    pm_free(place);
    if (c.status != POMAI_OK) return c.status; /* err has it */
    if (status == POMAI_ENOMEM)
        return pm_fail(err, POMAI_ENOMEM, "no memory to cluster rows of the collection %s", b->coll->name);
    return POMAI_OK; /* too large: as it was */
}

/* ---- writing ---- */

static pomai_status write_output(pm_build *b, uint64_t first, uint64_t rows, pomai_error *err)
{
    pm_db *db = b->db;
    output o = {b, first};
    const uint64_t number = db->maintenance.next_segment++;
    char *dir = pm_segment_path(db, b->coll->id, number);
    if (dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to write a segment");
    pm_segment_place place = {.os = db->os,
                              .dir = dir,
                              .collection = b->coll->id,
                              .dim = b->coll->dim,
                              .dtype = b->coll->dtype,
                              .id_kind = b->coll->id_kind,
                              .shards = db->shared.shards,
                              .number = number};
    memcpy(place.uuid, db->uuid, 16);
    const pm_segment_write in = {.place = &place, .rows = rows, .row = give_row, .pace = pace, .context = &o};
    pm_manifest_segment *entry = &b->entry[b->outputs];
    pomai_status status = pm_segment_make(&in, entry, err);
    /* Read back before anything that it replaces may go. */
    if (status == POMAI_OK && !PM_MUTANT(NOT_READ_BACK)) status = pm_segment_verify(&place, entry, NULL, NULL, err);
    if (status == POMAI_OK) status = pm_segment_open(&place, entry, &b->out[b->outputs], err);
    if (status != POMAI_OK) {
        pm_segment_remove(db->os, dir);
    } else {
        b->first[++b->outputs] = first + rows;
        PM_POINT(SEGMENT_WRITTEN);
    }
    pm_free(dir);
    return status;
}

/* What a row takes in a segment, about. */
static uint64_t row_bytes(const pm_build *b, const pm_where *at)
{
    const bool chunk = pm_where_chunk(at->owner);
    const uint64_t document =
        chunk ? pm_chunk_document(at->owner, at->row).size : pm_segment_document(at->owner, at->row).size;
    pm_id id;
    if (chunk)
        pm_chunk_id(at->owner, at->row, &id);
    else
        pm_segment_id(at->owner, at->row, &id);
    return pm_coll_stride(b->coll) + 40 + document + id.size;
}

pomai_status pm_build_write(pm_build *b, uint64_t most, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    uint32_t room = 0;
    for (uint64_t first = 0; first < b->rows && status == POMAI_OK;) {
        uint64_t bytes = 0, end = first;
        while (end < b->rows && (end == first || bytes < most) && end - first < PM_SEGMENT_MAX_ROWS)
            bytes += row_bytes(b, &b->row[end++]);
        if (b->outputs == room) {
            room = room == 0 ? 4 : room * 2;
            pm_segment **out = pm_realloc(b->out, room * sizeof(pm_segment *));
            if (out != NULL) b->out = out;
            pm_manifest_segment *entry = pm_realloc(b->entry, room * sizeof *entry);
            if (entry != NULL) b->entry = entry;
            uint64_t *starts = pm_realloc(b->first, (room + 1) * sizeof *starts);
            if (starts != NULL) b->first = starts;
            if (out == NULL || entry == NULL || starts == NULL)
                return pm_fail(err, POMAI_ENOMEM, "no memory to write a segment");
            b->first[0] = 0;
        }
        status = write_output(b, first, end - first, err);
        first = end;
    }
    return status;
}

bool pm_build_aim(const pm_build *b, pm_carry *carry)
{
    pm_segment **to = pm_calloc(b->outputs + 1, sizeof(pm_segment *));
    uint64_t *first = pm_calloc(b->outputs + 2, sizeof *first);
    carry->to = to;
    carry->to_first = first;
    if (to == NULL || first == NULL) return false;
    carry->outputs = b->outputs;
    for (uint32_t i = 0; i < b->outputs; i++) {
        to[i] = b->out[i];
        first[i + 1] = b->first[i + 1];
    }
    return true;
}

void pm_build_undo(pm_build *b)
{
    for (uint32_t i = 0; i < b->outputs; i++) {
        if (!b->db->catalogue_broken) /* else it may name them */
            pm_segment_remove(b->db->os, pm_segment_where(b->out[i])->dir);
        pm_segment_free(b->out[i]);
    }
    b->outputs = 0;
}

void pm_build_clear(pm_build *b)
{
    pm_free(b->row);
    pm_free(b->out);
    pm_free(b->entry);
    pm_free(b->first);
    memset(b, 0, sizeof *b);
}
