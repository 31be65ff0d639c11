/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multi-threaded half of soak_model.c. Every client thread owns ids that no other writes, so it knows what it must
 * read back; of the others' rows it knows that each is, as a whole, one that its owner wrote (the tags of gen.h), that
 * their versions never go back, and that a batch within one shard is seen whole or not at all. The boundaries of
 * base/point.h pause at random, to bring about orders of events that a fast machine seldom shows.
 */
#ifndef T_MODEL_THREADS_H
#define T_MODEL_THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "../support/args.h"
#include "../support/gen.h"
#include "../support/model.h"
#include "../support/tmp.h"
#include "base/point.h"
#include "pomai/pomai.h"

enum { TH_MAX = 4, TH_BLOCKS = 5, TH_PER_BLOCK = 48, TH_OWN = TH_BLOCKS * TH_PER_BLOCK, TH_GROUP = 64, TH_BATCH = 96 };
enum { TH_TAIL = 128, TH_TAIL_BATCHES = 4000 };
enum { TH_STILL_ROWS = 1700, TH_STILL_DIM = 170, TH_STILL_K = 20, TH_STILL_QUERIES = 4 };

struct th_shared {
    uint64_t seed;
    unsigned threads;
    uint32_t dim;
    pomai_metric metric;
    uint64_t salt;
    uint64_t blocks[TH_BLOCKS]; /* shared by all threads: thread t has ids 64 t to 64 t + 47 of each */
    pomai_db *db;
    pomai_collection *rows;
    pomai_collection *groups[TH_MAX]; /* written whole by thread i, read by all */
    /* Rows that nobody changes, over 1 MiB, so that several searches share the helpers; and what they must find. */
    pomai_collection *still;
    float *still_queries;
    uint64_t still_ids[TH_STILL_QUERIES][TH_STILL_K];
    double still_distances[TH_STILL_QUERIES][TH_STILL_K];
    /* Batches of ascending ids, appended by client 0, replaced or deleted as a whole, read by all as they appear. */
    pomai_collection *tail;
    atomic_uint tail_batches;
    atomic_bool failed;
};

struct th_client {
    struct th_shared *shared;
    unsigned me;
    struct t_rng rng;
    uint32_t version;
    uint32_t own[TH_OWN];           /* version of each own row; 0: none */
    uint32_t seen[TH_MAX * TH_OWN]; /* the newest version seen of anyone's row */
    uint32_t group_seen[TH_MAX];
};

struct th_rows {
    uint32_t count, version;
    uint32_t index[TH_BATCH];
    uint64_t ids[TH_BATCH];
    float vectors[TH_BATCH * 64];
    pomai_bytes documents[TH_BATCH];
    uint8_t *document_bytes;
    pomai_batch view;
};

static atomic_uint th_pause_percent;

/* Called in the engine's threads too, so the randomness is a counter and not a client's. */
static void th_point(enum pm_point point)
{
    static atomic_uint_fast64_t calls;
    uint64_t h = t_mix2(atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed), (uint64_t)point);
    if (h % 100 < atomic_load_explicit(&th_pause_percent, memory_order_relaxed)) usleep((useconds_t)(h >> 32) % 300);
}

__attribute__((format(printf, 2, 3))) static bool th_fail(struct th_client *c, const char *format, ...)
{
    if (atomic_exchange(&c->shared->failed, true)) return false;
    fprintf(stderr, "model: FAILED: threads, seed %llu thread %u: ", (unsigned long long)c->shared->seed, c->me);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return false;
}

static bool th_ok(struct th_client *c, pomai_status status, const pomai_error *err, const char *what)
{
    if (status == POMAI_OK) return true;
    return th_fail(c, "%s: %s: %s", what, pomai_status_name(status), err->message);
}

static uint64_t th_id(const struct th_shared *s, unsigned owner, uint32_t index)
{
    return s->blocks[index / TH_PER_BLOCK] * 4096 + owner * 64 + index % TH_PER_BLOCK;
}

/* Who owns an id, and which of his rows it is; false if it is nobody's. */
static bool th_find(const struct th_shared *s, uint64_t id, unsigned *owner, uint32_t *index)
{
    for (uint32_t b = 0; b < TH_BLOCKS; b++) {
        uint64_t at = id - s->blocks[b] * 4096;
        if (at >= 64u * s->threads || at % 64 >= TH_PER_BLOCK) continue;
        *owner = (unsigned)(at / 64);
        *index = b * TH_PER_BLOCK + (uint32_t)(at % 64);
        return true;
    }
    return false;
}

static struct t_tag th_tag(unsigned owner, uint32_t index, uint32_t version)
{
    return (struct t_tag){version, owner, index};
}

/* ---- writing ---- */

static void th_rows_free(struct th_rows *r)
{
    if (r != NULL) free(r->document_bytes);
    free(r);
}

/* A new version of some own rows: of one block, which is one shard, or of any. */
static struct th_rows *th_draw_rows(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    struct th_rows *r = m_alloc(sizeof *r);
    uint32_t want = (uint32_t)t_skewed(&c->rng, 1, TH_BATCH), block = (uint32_t)t_below(&c->rng, TH_BLOCKS);
    bool one_block = t_chance(&c->rng, 60), used[TH_OWN] = {0};
    size_t at = 0;
    r->document_bytes = m_alloc(want * (size_t)T_DOC_MAX);
    r->version = ++c->version;
    for (uint32_t i = 0; i < want; i++) {
        uint32_t index = (uint32_t)t_below(&c->rng, TH_OWN);
        if (one_block) index = block * TH_PER_BLOCK + index % TH_PER_BLOCK;
        if (used[index]) continue;
        used[index] = true;
        struct t_tag tag = th_tag(c->me, index, r->version);
        size_t size = t_tagged_document_size(s->salt, tag);
        t_tagged_vector(s->salt, tag, s->dim, r->vectors + (size_t)r->count * s->dim);
        t_tagged_document(s->salt, tag, r->document_bytes + at);
        r->documents[r->count] = (pomai_bytes){size > 0 ? r->document_bytes + at : NULL, size};
        at += size;
        r->ids[r->count] = th_id(s, c->me, index);
        r->index[r->count++] = index;
    }
    r->view = (pomai_batch)POMAI_BATCH_INIT;
    r->view.rows = r->count;
    r->view.dim = s->dim;
    r->view.vectors = r->vectors;
    r->view.u64_ids = r->ids;
    r->view.documents = r->documents;
    return r;
}

static void th_apply(struct th_client *c, const struct th_rows *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        c->own[r->index[i]] = r->version;
}

static bool th_put(struct th_client *c)
{
    pomai_error err;
    struct th_rows *r = th_draw_rows(c);
    bool ok = th_ok(c, pomai_put(c->shared->rows, &r->view, NULL, NULL, &err), &err, "put");
    th_apply(c, r);
    th_rows_free(r);
    return ok;
}

/* Several puts in flight, later ones over the same rows. */
static bool th_put_async(struct th_client *c)
{
    enum { FLIGHT = 4 };
    pomai_error err;
    struct th_rows *r[FLIGHT] = {0};
    pomai_ticket *tickets[FLIGHT] = {0};
    unsigned n = (unsigned)t_range(&c->rng, 1, FLIGHT);
    bool ok = true;
    for (unsigned i = 0; ok && i < n; i++) {
        r[i] = th_draw_rows(c);
        ok = th_ok(c, pomai_put_async(c->shared->rows, &r[i]->view, NULL, &tickets[i], &err), &err, "put_async");
        if (ok) th_apply(c, r[i]);
    }
    for (unsigned i = n; i-- > 0;) {
        if (tickets[i] != NULL && ok && t_chance(&c->rng, 70))
            ok = th_ok(c, pomai_wait(tickets[i], UINT64_MAX, NULL, &err), &err, "wait");
        pomai_ticket_free(tickets[i]);
        th_rows_free(r[i]);
    }
    return ok;
}

static bool th_delete(struct th_client *c)
{
    pomai_error err;
    pomai_ack ack;
    uint64_t ids[40], there = 0;
    uint32_t n = (uint32_t)t_skewed(&c->rng, 1, 40), first = (uint32_t)t_below(&c->rng, TH_OWN);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = (first + i * 7) % TH_OWN; /* 7 has no factor in common with TH_OWN: none repeats */
        ids[i] = th_id(c->shared, c->me, index);
        there += c->own[index] != 0;
        c->own[index] = 0;
    }
    pomai_ids list = {n, ids, NULL};
    if (!th_ok(c, pomai_delete(c->shared->rows, &list, NULL, &ack, &err), &err, "delete")) return false;
    return ack.rows == there || th_fail(c, "delete: %llu were there, ack.rows is %llu", (unsigned long long)there,
                                        (unsigned long long)ack.rows);
}

/* All rows of the group in one batch of one shard, or all deleted. */
static bool th_write_group(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    pomai_error err;
    uint64_t ids[TH_GROUP];
    float vectors[TH_GROUP * 64];
    pomai_batch batch = POMAI_BATCH_INIT;
    for (uint32_t i = 0; i < TH_GROUP; i++)
        ids[i] = i;
    if (t_chance(&c->rng, 15)) {
        pomai_ids list = {TH_GROUP, ids, NULL};
        return th_ok(c, pomai_delete(s->groups[c->me], &list, NULL, NULL, &err), &err, "delete the group");
    }
    uint32_t version = ++c->version;
    for (uint32_t i = 0; i < TH_GROUP; i++)
        t_tagged_vector(s->salt, th_tag(c->me, i, version), s->dim, vectors + i * s->dim);
    batch.rows = TH_GROUP;
    batch.dim = s->dim;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    return th_ok(c, pomai_put(s->groups[c->me], &batch, NULL, NULL, &err), &err, "put the group");
}

/* ---- reading ---- */

/* Checks one row that was read; `vector` is NULL if it was not there. */
static bool th_check_row(struct th_client *c, uint64_t id, const float *vector, pomai_bytes document, const char *how)
{
    const struct th_shared *s = c->shared;
    struct t_tag tag;
    unsigned owner;
    uint32_t index;
    if (!th_find(s, id, &owner, &index)) return th_fail(c, "%s: nobody wrote the id %llu", how, (unsigned long long)id);
    if (owner == c->me && (vector != NULL) != (c->own[index] != 0))
        return th_fail(c, "%s: own row %u of version %u is %s", how, index, c->own[index],
                       vector ? "there" : "missing");
    if (vector == NULL) return true;
    if (!t_read_tag(vector, &tag) || tag.writer != owner || tag.row != index ||
        !t_tagged_row_is_whole(s->salt, tag, vector, s->dim, document.data, document.size))
        return th_fail(c, "%s: row %u of thread %u is not as it was written", how, index, owner);
    if (owner == c->me && tag.version != c->own[index])
        return th_fail(c, "%s: own row %u has version %u, should be %u", how, index, tag.version, c->own[index]);
    uint32_t *seen = &c->seen[owner * TH_OWN + index];
    if (tag.version < *seen)
        return th_fail(c, "%s: row %u of thread %u went back from %u to %u", how, index, owner, *seen, tag.version);
    *seen = tag.version;
    return true;
}

static bool th_get(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    pomai_error err;
    pomai_rows *rows;
    uint64_t ids[60];
    size_t n = t_skewed(&c->rng, 1, 60);
    unsigned owner = t_chance(&c->rng, 50) ? c->me : (unsigned)t_below(&c->rng, s->threads);
    for (size_t i = 0; i < n; i++)
        ids[i] = th_id(s, owner, (uint32_t)t_below(&c->rng, TH_OWN));
    pomai_ids list = {n, ids, NULL};
    if (!th_ok(c, pomai_get(s->rows, &list, NULL, &rows, &err), &err, "get")) return false;
    bool ok = pomai_rows_count(rows) == n;
    for (size_t i = 0; ok && i < n; i++)
        ok = th_check_row(c, ids[i], pomai_rows_vector(rows, i), pomai_rows_document(rows, i), "get");
    pomai_rows_free(rows);
    return ok;
}

struct th_hit {
    double distance;
    uint64_t id;
};

static int th_compare_hits(const void *pa, const void *pb)
{
    const struct th_hit *a = pa, *b = pb;
    if (a->distance != b->distance) return a->distance < b->distance ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Of its own rows a thread knows which must be among the k nearest, whatever the others do meanwhile. */
static bool th_check_own_hits(struct th_client *c, const pomai_result *result, const float *query, size_t k)
{
    const struct th_shared *s = c->shared;
    struct th_hit own[TH_OWN], last = {0};
    size_t owned = 0, at = 0, count = pomai_result_count(result, 0);
    float vector[64];
    for (uint32_t i = 0; i < TH_OWN; i++) {
        if (c->own[i] == 0) continue;
        t_tagged_vector(s->salt, th_tag(c->me, i, c->own[i]), s->dim, vector);
        own[owned++] = (struct th_hit){t_distance(s->metric, query, vector, s->dim), th_id(s, c->me, i)};
    }
    if (owned > 1) qsort(own, owned, sizeof own[0], th_compare_hits);
    for (size_t i = 0; i < count; i++) {
        struct th_hit hit = {pomai_result_distances(result, 0)[i], pomai_result_ids(result, 0)[i]};
        if (i > 0 && th_compare_hits(&last, &hit) >= 0) return th_fail(c, "search: neighbours %zu not in order", i);
        last = hit;
        unsigned owner;
        uint32_t index;
        if (!th_find(s, hit.id, &owner, &index) || owner != c->me) continue;
        if (at == owned || own[at].id != hit.id) return th_fail(c, "search: an own row was passed over before %zu", i);
        at++;
    }
    if (at < owned && (count < k || th_compare_hits(&own[at], &last) < 0))
        return th_fail(c, "search: own row %llu is missing", (unsigned long long)own[at].id);
    return true;
}

static bool th_search(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    pomai_error err;
    pomai_result *result;
    float query[64];
    size_t k = t_chance(&c->rng, 20) ? TH_MAX * TH_OWN + 1 : t_skewed(&c->rng, 1, 60);
    t_tagged_vector(s->salt,
                    th_tag((unsigned)t_below(&c->rng, TH_MAX), (uint32_t)t_below(&c->rng, TH_OWN), c->version + 1),
                    s->dim, query);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    pomai_status status = pomai_search(s->rows, query, 1, s->dim, k, &options, &result, &err);
    if (!th_ok(c, status, &err, "search")) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < pomai_result_count(result, 0); i++) {
        const float *vector = pomai_result_vector(result, 0, i);
        ok = th_check_row(c, pomai_result_ids(result, 0)[i], vector, pomai_result_document(result, 0, i), "search") &&
             (t_same_double(pomai_result_distances(result, 0)[i], t_distance(s->metric, query, vector, s->dim)) ||
              th_fail(c, "search: neighbour %zu has another distance", i));
    }
    pomai_verdict verdict;
    pomai_result_verdict(result, 0, &verdict);
    if (ok && verdict.completeness != POMAI_EXACT) ok = th_fail(c, "search: the verdict is %d", verdict.completeness);
    ok = ok && th_check_own_hits(c, result, query, k);
    pomai_result_free(result);
    return ok;
}

/* `versions` of the group's rows as one read saw them, 0 for a missing one: all must be equal, and never go back. */
static bool th_check_group(struct th_client *c, unsigned owner, const uint32_t versions[TH_GROUP], const char *how)
{
    for (unsigned i = 1; i < TH_GROUP; i++) {
        if (versions[i] != versions[0])
            return th_fail(c, "%s: half a batch: versions %u and %u of group %u", how, versions[0], versions[i], owner);
    }
    if (versions[0] == 0) return true;
    if (versions[0] < c->group_seen[owner])
        return th_fail(c, "%s: group %u went back from %u to %u", how, owner, c->group_seen[owner], versions[0]);
    c->group_seen[owner] = versions[0];
    return true;
}

static bool th_write_tail(struct th_client *c)
{
    struct th_shared *s = c->shared;
    pomai_error err;
    uint64_t ids[TH_TAIL];
    float *vectors = m_alloc((size_t)TH_TAIL * s->dim * sizeof(float));
    pomai_batch batch = POMAI_BATCH_INIT;
    uint32_t batches = atomic_load(&s->tail_batches), at = batches, version = ++c->version;
    if (batches > 0 && (batches == TH_TAIL_BATCHES || t_chance(&c->rng, 30)))
        at = batches - 1 - (uint32_t)t_below(&c->rng, batches < 4 ? batches : 4); /* an old one again */
    for (uint32_t i = 0; i < TH_TAIL; i++) {
        ids[i] = (uint64_t)at * TH_TAIL + i;
        t_tagged_vector(s->salt, th_tag(c->me, i, version), s->dim, vectors + (size_t)i * s->dim);
    }
    batch.rows = TH_TAIL;
    batch.dim = s->dim;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    if (at == batches) atomic_store(&s->tail_batches, batches + 1); /* readers look before it is there */
    pomai_ids list = {TH_TAIL, ids, NULL};
    bool ok = at < batches && t_chance(&c->rng, 30)
                  ? th_ok(c, pomai_delete(s->tail, &list, NULL, NULL, &err), &err, "delete from the tail")
                  : th_ok(c, pomai_put(s->tail, &batch, NULL, NULL, &err), &err, "put to the tail");
    free(vectors);
    return ok;
}

/* A batch of the tail lies in one block of ids, so in one shard: it is there whole, of one version, or not at all. */
static bool th_read_tail(struct th_client *c)
{
    struct th_shared *s = c->shared;
    pomai_error err;
    pomai_rows *rows;
    uint64_t ids[TH_TAIL];
    uint32_t batches = atomic_load(&s->tail_batches), back = (uint32_t)t_below(&c->rng, 5), first = 0;
    uint32_t at = batches >= back ? batches - back : 0; /* the newest, the one to come, or one of the last */
    for (uint32_t i = 0; i < TH_TAIL; i++)
        ids[i] = (uint64_t)at * TH_TAIL + i;
    pomai_ids list = {TH_TAIL, ids, NULL};
    if (!th_ok(c, pomai_get(s->tail, &list, NULL, &rows, &err), &err, "get from the tail")) return false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < TH_TAIL; i++) {
        const float *vector = pomai_rows_vector(rows, i);
        struct t_tag tag = {0};
        if (vector != NULL && (!t_read_tag(vector, &tag) || tag.row != i))
            ok = th_fail(c, "get: a row of the tail that nobody wrote");
        if (i == 0) first = tag.version;
        if (ok && tag.version != first)
            ok = th_fail(c, "get: half a batch of the tail: versions %u and %u", first, tag.version);
    }
    pomai_rows_free(rows);
    return ok;
}

static bool th_read_group(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    unsigned owner = (unsigned)t_below(&c->rng, s->threads);
    uint32_t versions[TH_GROUP] = {0};
    uint64_t ids[TH_GROUP];
    struct t_tag tag = {0};
    pomai_error err;
    bool ok = true;
    if (t_chance(&c->rng, 50)) {
        pomai_rows *rows;
        for (uint32_t i = 0; i < TH_GROUP; i++)
            ids[i] = i;
        pomai_ids list = {TH_GROUP, ids, NULL};
        if (!th_ok(c, pomai_get(s->groups[owner], &list, NULL, &rows, &err), &err, "get a group")) return false;
        for (size_t i = 0; ok && i < TH_GROUP; i++) {
            const float *vector = pomai_rows_vector(rows, i);
            if (vector != NULL) ok = t_read_tag(vector, &tag) || th_fail(c, "get a group: a row nobody wrote");
            if (vector != NULL) versions[i] = tag.version;
        }
        pomai_rows_free(rows);
        return ok && th_check_group(c, owner, versions, "get");
    }
    pomai_result *result;
    float query[64];
    t_tagged_vector(s->salt, th_tag(1, 1, 1), s->dim, query);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_VECTORS;
    pomai_status status = pomai_search(s->groups[owner], query, 1, s->dim, 3 * TH_GROUP, &options, &result, &err);
    if (!th_ok(c, status, &err, "search a group")) return false;
    for (size_t i = 0; ok && i < pomai_result_count(result, 0); i++) {
        uint64_t id = pomai_result_ids(result, 0)[i];
        ok = id < TH_GROUP && versions[id] == 0 && t_read_tag(pomai_result_vector(result, 0, i), &tag);
        if (ok) versions[id] = tag.version;
    }
    pomai_result_free(result);
    return (ok || th_fail(c, "search a group: a row twice, or one nobody wrote")) &&
           th_check_group(c, owner, versions, "search");
}

/* All queries at once or one: the rows are cut over the helpers in different ways. */
static bool th_search_still(struct th_client *c)
{
    struct th_shared *s = c->shared;
    pomai_error err;
    pomai_result *result;
    size_t first = t_below(&c->rng, TH_STILL_QUERIES + 1), queries = 1;
    if (first == TH_STILL_QUERIES) first = 0, queries = TH_STILL_QUERIES;
    pomai_status status = pomai_search(s->still, s->still_queries + first * TH_STILL_DIM, queries, TH_STILL_DIM,
                                       TH_STILL_K, NULL, &result, &err);
    if (!th_ok(c, status, &err, "search")) return false;
    bool ok = true;
    for (size_t q = 0; ok && q < queries; q++) {
        ok =
            pomai_result_count(result, q) == TH_STILL_K &&
            memcmp(pomai_result_ids(result, q), s->still_ids[first + q], sizeof s->still_ids[0]) == 0 &&
            memcmp(pomai_result_distances(result, q), s->still_distances[first + q], sizeof s->still_distances[0]) == 0;
    }
    pomai_result_free(result);
    return ok || th_fail(c, "search: another answer over rows that nobody changes");
}

/* ---- where rows lie ---- */

static bool th_maintain(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    pomai_error err;
    switch (t_below(&c->rng, 4)) {
    case 0:
        return th_ok(c, pomai_sync(s->db, &err), &err, "sync");
    case 1:
        return th_ok(c, pomai_compact(s->db, t_chance(&c->rng, 50) ? s->rows : NULL, &err), &err, "compact");
    default:
        return th_ok(c, pomai_flush(s->db, &err), &err, "flush");
    }
}

/* The versions of all of somebody's rows, as a read sees them. */
static bool th_versions(struct th_client *c, unsigned owner, const pomai_get_options *options, uint32_t out[TH_OWN])
{
    const struct th_shared *s = c->shared;
    uint64_t ids[TH_OWN];
    pomai_rows *rows;
    pomai_error err;
    for (uint32_t i = 0; i < TH_OWN; i++)
        ids[i] = th_id(s, owner, i);
    pomai_ids list = {TH_OWN, ids, NULL};
    if (!th_ok(c, pomai_get(s->rows, &list, options, &rows, &err), &err, "get everything of one")) return false;
    bool ok = true;
    for (uint32_t i = 0; i < TH_OWN && ok; i++) {
        const float *vector = pomai_rows_vector(rows, i);
        pomai_bytes document = pomai_rows_document(rows, i);
        struct t_tag tag = {0};
        if (vector != NULL && (!t_read_tag(vector, &tag) || tag.writer != owner || tag.row != i ||
                               !t_tagged_row_is_whole(s->salt, tag, vector, s->dim, document.data, document.size)))
            ok = th_fail(c, "snapshot: row %u of thread %u is not as it was written", i, owner);
        out[i] = tag.version;
    }
    pomai_rows_free(rows);
    return ok;
}

/* Of one's own rows it shows what they were; of the others' the same every time. */
static bool th_snapshot(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    pomai_get_options options = POMAI_GET_OPTIONS_INIT;
    pomai_snapshot *snapshot;
    pomai_error err;
    uint32_t own[TH_OWN], first[TH_OWN], then[TH_OWN];
    uint64_t before[2], after[2];
    unsigned owner = (unsigned)t_below(&c->rng, s->threads);
    if (!th_ok(c, pomai_snapshot_open(s->db, &snapshot, &err), &err, "snapshot")) return false;
    memcpy(own, c->own, sizeof own);
    options.snapshot = snapshot;
    bool ok =
        th_ok(c, pomai_digest(s->db, snapshot, before, &err), &err, "digest") && th_versions(c, owner, &options, first);
    for (uint64_t i = t_range(&c->rng, 1, 4); i > 0 && ok; i--)
        ok = t_chance(&c->rng, 40) ? th_put(c) : t_chance(&c->rng, 50) ? th_delete(c) : th_maintain(c);
    ok = ok && th_versions(c, owner, &options, then);
    if (ok && memcmp(first, then, sizeof then) != 0) ok = th_fail(c, "snapshot: it changed");
    ok = ok && th_versions(c, c->me, &options, then);
    if (ok && memcmp(own, then, sizeof then) != 0) ok = th_fail(c, "snapshot: own rows are not as they were");
    ok = ok && th_ok(c, pomai_digest(s->db, snapshot, after, &err), &err, "digest");
    if (ok && memcmp(before, after, sizeof after) != 0) ok = th_fail(c, "snapshot: its digest changed");
    pomai_snapshot_close(snapshot);
    return ok;
}

/* Own rows that are frozen are up to date. */
static bool th_bounded(struct th_client *c)
{
    const struct th_shared *s = c->shared;
    pomai_get_options options = POMAI_GET_OPTIONS_INIT;
    pomai_error err;
    uint32_t now[TH_OWN];
    options.mode = POMAI_READ_BOUNDED;
    if (!th_ok(c, pomai_freeze(s->db, t_chance(&c->rng, 50) ? s->rows : NULL, &err), &err, "freeze")) return false;
    if (!th_versions(c, c->me, &options, now)) return false;
    return memcmp(now, c->own, sizeof now) == 0 || th_fail(c, "bounded: own rows are not as they were frozen");
}

/* ---- a case ---- */

static void *th_run(void *argument)
{
    struct th_client *c = argument;
    unsigned ops = (unsigned)t_range(&c->rng, 60, 250);
    bool ok = true;
    for (unsigned i = 0; ok && i < ops && !atomic_load(&c->shared->failed); i++) {
        uint64_t kind = t_below(&c->rng, 100);
        if (kind < 22) {
            ok = th_put(c);
        } else if (kind < 36) {
            ok = th_put_async(c);
        } else if (kind < 46) {
            ok = th_delete(c);
        } else if (kind < 62) {
            ok = th_get(c);
        } else if (kind < 75) {
            ok = th_search(c);
        } else if (kind < 79) {
            ok = c->shared->still == NULL || th_search_still(c);
        } else if (kind < 84) {
            ok = c->me == 0 ? th_write_tail(c) : th_read_tail(c);
        } else if (kind < 89) {
            ok = th_write_group(c);
        } else if (kind < 95) {
            ok = th_read_group(c);
        } else if (kind < 97) {
            ok = th_snapshot(c);
        } else if (kind < 98) {
            ok = th_bounded(c);
        } else {
            ok = th_maintain(c);
        }
    }
    return NULL;
}

static bool th_create(struct th_client *c, const char *name, pomai_collection **collection)
{
    pomai_error err;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = c->shared->dim;
    options.metric = c->shared->metric;
    return th_ok(c, pomai_collection_create(c->shared->db, name, &options, collection, &err), &err, "create");
}

static bool th_make_still(struct th_client *c)
{
    struct th_shared *s = c->shared;
    pomai_error err;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_batch batch = POMAI_BATCH_INIT;
    struct m_coll model = {.dim = TH_STILL_DIM, .metric = s->metric, .kind = POMAI_ID_U64};
    uint64_t *ids = m_alloc(TH_STILL_ROWS * sizeof *ids);
    float *vectors = m_alloc((size_t)TH_STILL_ROWS * TH_STILL_DIM * sizeof(float));
    pomai_bytes none = {NULL, 0};
    for (uint32_t i = 0; i < TH_STILL_ROWS; i++) {
        ids[i] = (uint64_t)i * 977;
        t_styled_vector(&c->rng, T_STYLE_PLAIN, TH_STILL_DIM, vectors + (size_t)i * TH_STILL_DIM);
        m_upsert(&model, ids[i], none, vectors + (size_t)i * TH_STILL_DIM, none);
    }
    s->still_queries = m_alloc((size_t)TH_STILL_QUERIES * TH_STILL_DIM * sizeof(float));
    for (unsigned q = 0; q < TH_STILL_QUERIES; q++) {
        float *query = s->still_queries + (size_t)q * TH_STILL_DIM;
        t_styled_vector(&c->rng, T_STYLE_PLAIN, TH_STILL_DIM, query);
        struct m_hit *hits = m_search(&model, query);
        for (unsigned i = 0; i < TH_STILL_K; i++) {
            s->still_ids[q][i] = hits[i].row->id;
            s->still_distances[q][i] = hits[i].distance;
        }
        free(hits);
    }
    options.dim = TH_STILL_DIM;
    options.metric = s->metric;
    batch.rows = TH_STILL_ROWS;
    batch.dim = TH_STILL_DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    bool ok = th_ok(c, pomai_collection_create(s->db, "still", &options, &s->still, &err), &err, "create") &&
              th_ok(c, pomai_put(s->still, &batch, NULL, NULL, &err), &err, "put");
    m_clear(&model);
    free(ids);
    free(vectors);
    return ok;
}

static bool th_open(struct th_client *c, const char *path, bool create)
{
    struct th_shared *s = c->shared;
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = (uint32_t)t_range(&c->rng, 1, 4);
    options.durability = (pomai_durability)t_range(&c->rng, POMAI_DURABILITY_OS, POMAI_DURABILITY_SYNC);
    options.group_ms = 1;
    options.mailbox_slots = t_chance(&c->rng, 30) ? 1u << t_below(&c->rng, 4) : 0;
    options.wal_file_bytes = t_chance(&c->rng, 60) ? 65536 : 1u << 20;
    options.search_threads = t_chance(&c->rng, 50) ? 3 : 0;
    if (t_chance(&c->rng, 30)) options.flags |= POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    if (t_chance(&c->rng, 75)) options.flush_bytes = (uint64_t)16384 << t_below(&c->rng, 7);
    if (t_chance(&c->rng, 75)) options.log_bytes = (uint64_t)65536 << t_below(&c->rng, 4);
    if (t_chance(&c->rng, 75)) options.segment_bytes = (uint64_t)65536 << t_below(&c->rng, 6);
    options.freeze_rows = t_skewed(&c->rng, 1, 5000);
    options.compact_rate = t_chance(&c->rng, 80) ? UINT64_MAX : 0;
    if (!th_ok(c, pomai_open(path, &options, &s->db, &err), &err, "open")) return false;
    bool ok = create ? th_create(c, "rows", &s->rows)
                     : th_ok(c, pomai_collection_open(s->db, "rows", &s->rows, &err), &err, "open rows");
    for (unsigned i = 0; ok && create && i < s->threads; i++) {
        char name[32];
        snprintf(name, sizeof name, "group-%u", i);
        ok = th_create(c, name, &s->groups[i]);
    }
    if (ok && create) ok = th_create(c, "tail", &s->tail);
    if (ok && create && t_chance(&c->rng, 40)) ok = th_make_still(c);
    return ok;
}

static bool th_close(struct th_client *c)
{
    struct th_shared *s = c->shared;
    pomai_error err;
    pomai_collection_close(s->rows);
    pomai_collection_close(s->still);
    pomai_collection_close(s->tail);
    s->still = s->tail = NULL;
    for (unsigned i = 0; i < TH_MAX; i++) {
        pomai_collection_close(s->groups[i]);
        s->groups[i] = NULL;
    }
    return th_ok(c, pomai_close(s->db, &err), &err, "close");
}

/* The model of all threads' rows against every row of the collection, by search and by get. */
static bool th_compare_all(struct th_client *clients)
{
    struct th_shared *s = clients[0].shared;
    struct th_client *c = &clients[0];
    pomai_error err;
    pomai_result *result;
    pomai_collection_info info;
    float query[64];
    size_t rows = 0;
    for (unsigned t = 0; t < s->threads; t++) {
        for (uint32_t i = 0; i < TH_OWN; i++)
            rows += clients[t].own[i] != 0;
    }
    t_tagged_vector(s->salt, th_tag(1, 1, 1), s->dim, query);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    pomai_status status = pomai_search(s->rows, query, 1, s->dim, rows + 1, &options, &result, &err);
    if (!th_ok(c, status, &err, "full search")) return false;
    bool ok = pomai_result_count(result, 0) == rows;
    if (!ok) th_fail(c, "full search: %zu rows, should be %zu", pomai_result_count(result, 0), rows);
    for (size_t i = 0; ok && i < rows; i++) {
        uint64_t id = pomai_result_ids(result, 0)[i];
        unsigned owner = 0;
        uint32_t index;
        ok = (th_find(s, id, &owner, &index) || th_fail(c, "full search: a row nobody wrote")) &&
             th_check_row(&clients[owner], id, pomai_result_vector(result, 0, i), pomai_result_document(result, 0, i),
                          "full search");
    }
    pomai_result_free(result);
    for (unsigned t = 0; ok && t < s->threads; t++) {
        uint64_t ids[TH_OWN];
        pomai_rows *got;
        for (uint32_t i = 0; i < TH_OWN; i++)
            ids[i] = th_id(s, t, i);
        pomai_ids list = {TH_OWN, ids, NULL};
        ok = th_ok(c, pomai_get(s->rows, &list, NULL, &got, &err), &err, "full get");
        for (uint32_t i = 0; ok && i < TH_OWN; i++)
            ok = th_check_row(&clients[t], ids[i], pomai_rows_vector(got, i), pomai_rows_document(got, i), "full get");
        if (ok) pomai_rows_free(got);
    }
    ok = ok && th_ok(c, pomai_collection_get_info(s->rows, &info, &err), &err, "info");
    return ok &&
           (info.rows == rows || th_fail(c, "info: %llu rows, should be %zu", (unsigned long long)info.rows, rows));
}

static bool th_run_clients(struct th_client *clients, unsigned threads)
{
    pthread_t ids[TH_MAX];
    unsigned started = 0;
    while (started < threads && pthread_create(&ids[started], NULL, th_run, &clients[started]) == 0)
        started++;
    for (unsigned t = 0; t < started; t++)
        pthread_join(ids[t], NULL);
    return started == threads && !atomic_load(&clients[0].shared->failed);
}

static bool run_threads_case(const struct t_args *args, uint64_t seed)
{
    struct th_shared *s = m_alloc(sizeof *s);
    struct th_client *clients = m_alloc(TH_MAX * sizeof *clients);
    struct t_rng rng = t_rng_from(seed);
    char path[T_PATH_MAX];
    pomai_error err;
    t_tmp_make(path, args->dir, "model");
    s->seed = seed;
    s->salt = t_next(&rng);
    s->threads =
        args->threads > 1 && args->threads <= TH_MAX ? (unsigned)args->threads : (unsigned)t_range(&rng, 2, TH_MAX);
    s->dim = (uint32_t)t_range(&rng, T_TAG_DIM, 40);
    s->metric = (pomai_metric)t_range(&rng, POMAI_METRIC_L2, POMAI_METRIC_COSINE);
    for (unsigned i = 0; i < TH_BLOCKS; i++)
        s->blocks[i] = t_next(&rng) >> 16;
    for (unsigned t = 0; t < TH_MAX; t++)
        clients[t] = (struct th_client){.shared = s, .me = t, .rng = {t_next(&rng)}};
    atomic_store(&th_pause_percent, t_chance(&rng, 50) ? 0 : (unsigned)t_range(&rng, 1, 8));
    pm_point_hook = th_point;

    bool ok = th_open(&clients[0], path, true) && th_run_clients(clients, s->threads) && th_compare_all(clients) &&
              th_close(&clients[0]) && th_open(&clients[0], path, false) && th_compare_all(clients) &&
              th_close(&clients[0]);
    if (ok) {
        char *json = NULL;
        pomai_status status = pomai_verify_path(path, NULL, NULL, &json, &err);
        ok = th_ok(&clients[0], status, &err, "verify");
        pomai_free(json);
    }
    atomic_store(&th_pause_percent, 0);
    pm_point_hook = NULL;
    if (ok) {
        t_remove(path);
        free(clients);
        free(s->still_queries);
        free(s);
    } else { /* threads of the engine may still use them */
        fprintf(stderr, "model: the database is kept in %s; repeat with --threads 4 --cases 1 --seed %llu\n", path,
                (unsigned long long)seed);
    }
    return ok;
}

#endif
