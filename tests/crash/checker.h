/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold after a crash. The checker is a process of its own: it opens the database, reads all of it, looks for
 * an explanation of what it finds (which operations of each window have their effect), and makes that the new base.
 * The explanation must hold: everything acknowledged or ever shown; nothing refused; every operation whole or not at
 * all; within a shard, nothing missing before what is there, but for batches over several shards, which are aborted.
 */
#ifndef T_CRASH_CHECKER_H
#define T_CRASH_CHECKER_H

#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/exact.h"
#include "../support/tmp.h"
#include "ledger.h"
#include "storage/manifest/manifest.h"
#include "writer.h"

enum { CHECK_FAILED = 8 };

/* What was found in the database. */
struct found {
    struct rows_state state[CLIENTS];
    uint64_t assigned_id[CLIENTS][ASSIGNED_ROWS];
    uint64_t digest;
};

static unsigned long long check_seed;

__attribute__((format(printf, 1, 2), noreturn)) static void check_fail(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "crash: FAILED: seed %llu: ", check_seed);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(CHECK_FAILED);
}

static void check_ok(pomai_status status, const pomai_error *err, const char *what)
{
    if (status != POMAI_OK) check_fail("%s: %s: %s", what, pomai_status_name(status), err->message);
}

/* ---- reading everything ---- */

/* The slot of an assigned row: by its id if it is in base, else by the operation of the window that put it. */
static uint32_t assigned_slot(struct client_ledger *c, uint64_t id, struct t_tag tag)
{
    for (uint32_t i = 0; i < ASSIGNED_ROWS; i++) {
        if (c->base.assigned[i] == tag.version && c->assigned_row[i] == tag.row) {
            if (c->assigned_id[i] != id)
                check_fail("assigned row of id %llu is found under id %llu", (unsigned long long)c->assigned_id[i],
                           (unsigned long long)id);
            return i;
        }
    }
    for (uint32_t i = c->head; i != c->tail; i++) {
        const struct op *op = op_at(c, i);
        if (op->version == tag.version && op->coll == C_ASSIGNED && op->kind == OP_PUT && tag.row < op->count)
            return op->index[tag.row];
    }
    check_fail("a phantom: assigned row %llu of client %u version %u was never submitted, or is gone",
               (unsigned long long)id, tag.writer, tag.version);
}

/* Records one row of the result; every byte of it must be what its tag says. */
static void found_row(struct ledger *l, struct found *found, unsigned coll, unsigned own, const pomai_result *result,
                      size_t i)
{
    const float *vector = pomai_result_vector(result, 0, i);
    pomai_bytes document = pomai_result_document(result, 0, i);
    uint64_t id = coll == C_STRING ? 0 : pomai_result_ids(result, 0)[i];
    struct t_tag tag;
    unsigned client = own;
    uint32_t index = 0;
    if (vector == NULL || !t_read_tag(vector, &tag) || tag.writer >= CLIENTS ||
        !t_tagged_row_is_whole(coll_salt(l, coll), tag, vector, l->dim[coll], document.data, document.size))
        check_fail("a row of collection %u, id %llu, is not as anyone wrote it", coll, (unsigned long long)id);
    switch (coll) {
    case C_U64:
        if (!u64_find(l, id, &client, &index)) check_fail("nobody ever wrote the id %llu", (unsigned long long)id);
        break;
    case C_STRING:
        if (!string_find(pomai_result_string_id(result, 0, i), &client, &index)) check_fail("a string id of nobody");
        break;
    case C_ASSIGNED:
        client = tag.writer;
        index = assigned_slot(&l->clients[client], id, tag);
        found->assigned_id[client][index] = id;
        break;
    default:
        while (index < OWN_ROWS && own_id(index) != id)
            index++;
        if (index == OWN_ROWS) check_fail("nobody ever wrote the id %llu", (unsigned long long)id);
        break;
    }
    if (client != tag.writer || (coll != C_ASSIGNED && index != tag.row))
        check_fail("row %u of client %u holds what was put as row %u of client %u", index, client, tag.row, tag.writer);
    uint32_t *version = &versions_of(&found->state[client], coll)[index];
    if (*version != 0) check_fail("row %u of client %u is there twice", index, client);
    *version = tag.version;
    found->digest += t_mix2(t_mix2(coll * 8 + client, index), t_mix2(tag.version, id)); /* order does not matter */
}

/* The full ranking of one query must be sorted, and every distance right. */
static void check_ranking(const struct ledger *l, unsigned coll, const float *query, const pomai_result *result)
{
    const double *distances = pomai_result_distances(result, 0);
    for (size_t i = 0; i < pomai_result_count(result, 0); i++) {
        double right = t_distance(l->metric[coll], query, pomai_result_vector(result, 0, i), l->dim[coll]);
        if (!t_same_double(distances[i], right)) check_fail("distance %zu is %a, should be %a", i, distances[i], right);
        if (i == 0) continue;
        int order = coll == C_STRING ? t_compare_bytes(pomai_result_string_id(result, 0, i - 1),
                                                       pomai_result_string_id(result, 0, i))
                    : pomai_result_ids(result, 0)[i - 1] < pomai_result_ids(result, 0)[i] ? -1
                                                                                          : 1;
        if (distances[i - 1] > distances[i] || (distances[i - 1] == distances[i] && order >= 0))
            check_fail("neighbours %zu and %zu are out of order", i - 1, i);
    }
}

/* The k nearest are the first k of the full ranking. */
static void check_nearest(const struct ledger *l, unsigned coll, pomai_collection *handle, const float *query,
                          const pomai_result *full, size_t k)
{
    pomai_result *result;
    pomai_error err;
    size_t all = pomai_result_count(full, 0), want = k < all ? k : all;
    check_ok(pomai_search(handle, query, 1, l->dim[coll], k, NULL, &result, &err), &err, "search");
    bool same = pomai_result_count(result, 0) == want;
    for (size_t i = 0; same && i < want; i++) {
        same = t_same_double(pomai_result_distances(result, 0)[i], pomai_result_distances(full, 0)[i]);
        if (coll == C_STRING) {
            same =
                same && t_compare_bytes(pomai_result_string_id(result, 0, i), pomai_result_string_id(full, 0, i)) == 0;
        } else {
            same = same && pomai_result_ids(result, 0)[i] == pomai_result_ids(full, 0)[i];
        }
    }
    if (!same) check_fail("the %zu nearest are not the first of the full ranking", k);
    pomai_result_free(result);
}

/* All rows by get: those found by search and no others. */
static void check_get(struct ledger *l, struct found *found, unsigned coll, pomai_collection *handle, unsigned client)
{
    enum { MOST = ASSIGNED_ROWS };
    static uint64_t ids[MOST];
    static char bytes[STRING_ROWS][POMAI_MAX_STRING_ID];
    static pomai_bytes strings[STRING_ROWS];
    static uint32_t expected[MOST];
    uint32_t n = 0;
    pomai_rows *rows;
    pomai_error err;
    for (uint32_t i = 0; i < coll_rows((enum coll)coll); i++) {
        uint32_t version = versions_of(&found->state[client], coll)[i];
        if (coll == C_ASSIGNED && version == 0) continue; /* its id is not known */
        if (coll == C_STRING) strings[n] = (pomai_bytes){bytes[n], string_id(client, i, bytes[n])};
        if (coll == C_U64) ids[n] = u64_id(l, client, i);
        if (coll == C_OWN) ids[n] = own_id(i);
        if (coll == C_ASSIGNED) ids[n] = found->assigned_id[client][i];
        expected[n++] = version;
    }
    if (n == 0) return;
    pomai_ids list = {n, coll == C_STRING ? NULL : ids, coll == C_STRING ? strings : NULL};
    check_ok(pomai_get(handle, &list, NULL, &rows, &err), &err, "get");
    for (uint32_t i = 0; i < n; i++) {
        const float *vector = pomai_rows_vector(rows, i);
        struct t_tag tag = {0};
        if (vector != NULL && !t_read_tag(vector, &tag)) check_fail("get: a row nobody wrote");
        if (tag.version != expected[i])
            check_fail("get finds version %u of collection %u row %u, search finds %u", tag.version, coll, i,
                       expected[i]);
        if (pomai_rows_expiry(rows, i) != (vector == NULL ? 0 : row_expiry(coll, tag)))
            check_fail("get: row %u of collection %u expires at another time", i, coll);
    }
    pomai_rows_free(rows);
}

static void read_collection(struct ledger *l, struct found *found, unsigned coll, unsigned own,
                            pomai_collection *handle, struct t_rng *rng)
{
    pomai_collection_info info;
    pomai_error err;
    pomai_result *result;
    float query[MAX_DIM];
    struct t_tag tag = {(uint32_t)t_range(rng, 1, 4000), (uint32_t)t_below(rng, CLIENTS), (uint32_t)t_below(rng, 100)};
    check_ok(pomai_collection_get_info(handle, &info, &err), &err, "info");
    if (info.dim == 0) return; /* `default`, before its first put */
    if (info.dim != l->dim[coll] || info.metric != l->metric[coll]) check_fail("collection %u has changed", coll);
    t_tagged_vector(1, tag, l->dim[coll], query);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    check_ok(pomai_search(handle, query, 1, l->dim[coll], 100000, &options, &result, &err), &err, "full search");
    if (pomai_result_count(result, 0) != info.rows)
        check_fail("collection %u has %llu rows, the full search finds %zu", coll, (unsigned long long)info.rows,
                   pomai_result_count(result, 0));
    for (size_t i = 0; i < pomai_result_count(result, 0); i++)
        found_row(l, found, coll, own, result, i);
    check_ranking(l, coll, query, result);
    check_nearest(l, coll, handle, query, result, t_skewed(rng, 1, 40));
    pomai_result_free(result);
    if (coll == C_OWN) {
        check_get(l, found, coll, handle, own);
    } else {
        for (unsigned i = 0; i < CLIENTS; i++)
            check_get(l, found, coll, handle, i);
    }
}

static void read_database(struct ledger *l, pomai_db *db, struct found *found, struct t_rng *rng)
{
    memset(found, 0, sizeof *found);
    read_collection(l, found, C_U64, 0, pomai_default(db), rng);
    for (unsigned coll = C_STRING; coll < COLLS; coll++) {
        for (unsigned i = 0; i < (coll == C_OWN ? CLIENTS : 1); i++) {
            char name[POMAI_MAX_NAME];
            pomai_collection *handle = NULL;
            pomai_error err;
            coll_name(coll, i, name);
            pomai_status status = pomai_collection_open(db, name, &handle, &err);
            if (status == POMAI_ENOTFOUND) {
                if (l->made[coll]) check_fail("the collection %s is gone", name);
                continue;
            }
            check_ok(status, &err, "open a collection");
            if (coll == C_OWN) found->state[i].own_exists = 1;
            if (coll == C_OWN) found->digest += t_mix2(77, i);
            read_collection(l, found, coll, i, handle, rng);
            pomai_collection_close(handle);
        }
    }
}

/* ---- explaining it ---- */

/* May the operations whose bits are set in `there` be the ones that survived? Bit i is the i-th of the window. */
static bool order_holds(struct client_ledger *c, uint32_t there)
{
    uint32_t n = c->tail - c->head;
    for (uint32_t i = 0; i < n; i++) {
        const struct op *op = op_at(c, c->head + i);
        if (((there >> i) & 1) != 0 || op->state == OP_REFUSED || op->shards == 0) continue;
        bool one_shard = (op->shards & (op->shards - 1)) == 0;
        for (uint32_t j = i + 1; j < n; j++) {
            const struct op *later = op_at(c, c->head + j);
            if (((there >> j) & 1) == 0 || (later->shards & op->shards) == 0) continue;
            /* A later record of the same shard is there, so this one's was too; only an abort undoes it. What was
             * acknowledged or shown comes after the decision about all before it in its shard. */
            if (one_shard || later->state == OP_ACKED || later->seen == later->version) return false;
        }
    }
    return true;
}

static bool explains(struct client_ledger *c, unsigned client, const struct found *found, uint32_t there)
{
    struct rows_state state = c->base;
    for (uint32_t i = c->head; i != c->tail; i++) {
        const struct op *op = op_at(c, i);
        if ((there >> (i - c->head)) & 1) op_apply(op, &state);
    }
    if (memcmp(&state, &found->state[client], sizeof state) != 0) return false;
    for (uint32_t i = c->head; i != c->tail; i++) { /* assigned ids are consecutive, and those of the acknowledgement */
        const struct op *op = op_at(c, i);
        if (op->coll != C_ASSIGNED || op->kind != OP_PUT || ((there >> (i - c->head)) & 1) == 0) continue;
        for (uint32_t r = 0; op->given == GIVEN_OLD && r < op->count; r++) {
            uint32_t slot = op->index[r];
            if (state.assigned[slot] == op->version && found->assigned_id[client][slot] != c->assigned_id[slot])
                return false;
        }
        if (op->given == GIVEN_OLD) continue;
        uint64_t first = 0;
        bool known = op->state == OP_ACKED || op->given;
        if (known) first = op->first_id;
        for (uint32_t r = 0; r < op->count; r++) {
            if (state.assigned[op->index[r]] != op->version) continue; /* deleted since */
            uint64_t id = found->assigned_id[client][op->index[r]];
            if (!known) first = id - r;
            known = true;
            if (id != first + r) return false;
        }
    }
    return order_holds(c, there);
}

static const char *const coll_words[] = {"u64", "string", "assigned", "own"};

static void print_op(const struct op *op)
{
    static const char *const states[] = {"?", "in flight", "acknowledged", "refused"};
    static const char *const kinds[] = {"?", "put", "delete", "create", "drop"};
    fprintf(stderr, "  version %u: %s of %u in %s, shards %x, %s%s, rows", op->version, kinds[op->kind], op->count,
            coll_words[op->coll], op->shards, states[op->state], op->seen == op->version ? ", seen" : "");
    for (uint32_t i = 0; i < op->count && i < 30; i++)
        fprintf(stderr, " %u", op->index[i]);
    fputc('\n', stderr);
}

static void print_differences(struct client_ledger *c, const struct found *found, unsigned client)
{
    struct rows_state state = c->base, seen = found->state[client];
    for (uint32_t i = c->head; i != c->tail; i++)
        print_op(op_at(c, i));
    for (uint32_t i = c->head; i != c->tail; i++) {
        if (op_at(c, i)->state == OP_ACKED) op_apply(op_at(c, i), &state);
    }
    unsigned lines = 0;
    for (unsigned coll = 0; coll < COLLS; coll++) {
        for (uint32_t i = 0; i < coll_rows((enum coll)coll); i++) {
            uint32_t should = versions_of(&state, coll)[i], is = versions_of(&seen, coll)[i];
            if (should != is && lines++ < 60)
                fprintf(stderr, "  %s row %u: acknowledged version %u, found %u\n", coll_words[coll], i, should, is);
        }
    }
    if (state.own_exists != seen.own_exists)
        fprintf(stderr, "  own collection: %u, found %u\n", state.own_exists, seen.own_exists);
}

/* Finds out what survived of a client's window, and makes it the base. */
static void resolve(struct ledger *l, unsigned client, const struct found *found)
{
    struct client_ledger *c = &l->clients[client];
    ledger_fold(c);
    uint32_t n = c->tail - c->head, must = 0, free_bits = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct op *op = op_at(c, c->head + i);
        if (op->state == OP_ACKED || (op->state == OP_SUBMITTED && op->seen == op->version)) {
            must |= 1u << i;
        } else if (op->state == OP_SUBMITTED) {
            free_bits |= 1u << i;
        }
    }
    /* All subsets of free_bits, from all of them down. */
    uint32_t subset = free_bits;
    for (;;) {
        if (explains(c, client, found, must | subset)) break;
        if (subset == 0) {
            fprintf(stderr, "crash: client %u, window of %u:\n", client, n);
            print_differences(c, found, client);
            check_fail("what is found of client %u cannot be explained", client);
        }
        subset = (subset - 1) & free_bits;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct op *op = op_at(c, c->head + i);
        bool there = ((must | subset) >> i) & 1;
        if (there && op->coll == C_ASSIGNED && op->kind == OP_PUT && !op->given) {
            for (uint32_t r = 0; r < op->count; r++) {
                if (found->state[client].assigned[op->index[r]] != op->version) continue;
                op->first_id = found->assigned_id[client][op->index[r]] - r;
                break;
            }
        }
        if (op->state == OP_SUBMITTED) *(there ? &l->survived : &l->vanished) += 1;
        op->state = there ? OP_ACKED : OP_REFUSED;
    }
    ledger_fold(c);
}

/* ---- the files ---- */

static uint64_t tree_hash;

static int tree_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)where;
    uint64_t h = (uint64_t)kind;
    if (kind == FTW_F && strcmp(path + where->base, "LOCK") == 0) return 0;
    for (const char *p = path; *p != '\0'; p++)
        h = t_mix2(h, (uint64_t)(unsigned char)*p);
    if (kind == FTW_F) {
        h = t_mix2(h, (uint64_t)st->st_size);
        h = t_mix2(h, (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec);
    }
    tree_hash += h;
    return 0;
}

static uint64_t hash_tree(const char *path)
{
    tree_hash = 0;
    nftw(path, tree_entry, 16, FTW_PHYS);
    return tree_hash;
}

/* ---- batches in the log ---- */

struct log_part {
    unsigned long long batch;
    unsigned part, parts, shard;
    bool abort;
};

struct log_parts {
    struct log_part *list;
    size_t count, room;
};

static unsigned long long json_number(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    if (at == NULL) check_fail("dump_wal: no %s in %s", key, line);
    return strtoull(at + strlen(key), NULL, 10);
}

static int take_log_line(void *context, const char *line)
{
    struct log_parts *parts = context;
    if (parts->count == parts->room) {
        parts->room = parts->room == 0 ? 1024 : parts->room * 2;
        parts->list = realloc(parts->list, parts->room * sizeof *parts->list);
        if (parts->list == NULL) check_fail("out of memory in the test itself");
    }
    parts->list[parts->count++] = (struct log_part){
        .batch = json_number(line, "\"batch\": "),
        .part = (unsigned)json_number(line, "\"part\": "),
        .parts = (unsigned)json_number(line, "\"parts\": "),
        .shard = (unsigned)json_number(line, "\"shard\": "),
        .abort = strstr(line, "\"ABORT\"") != NULL,
    };
    return 0;
}

static int compare_log_parts(const void *pa, const void *pb)
{
    const struct log_part *a = pa, *b = pb;
    if (a->batch != b->batch) return a->batch < b->batch ? -1 : 1;
    if (a->abort != b->abort) return a->abort ? 1 : -1;
    return a->part < b->part ? -1 : a->part > b->part;
}

static pm_manifest read_manifest(const char *path)
{
    char dir[T_PATH_MAX];
    pm_manifest manifest;
    pomai_error err;
    t_join(dir, path, "manifest");
    check_ok(pm_manifest_read(pm_os_posix(), dir, &manifest, &err), &err, "read the manifest");
    return manifest;
}

/* At any moment: it is there before CURRENT names its number. */
static void check_copy(const char *path)
{
    char dir[T_PATH_MAX];
    pm_manifest manifest;
    pomai_error err;
    bool there = false;
    t_join(dir, path, "manifest");
    if (pm_manifest_read(pm_os_posix(), dir, &manifest, &err) != POMAI_OK) return; /* the first is not there yet */
    t_join(dir, path, "shards");
    check_ok(pm_manifest_check_copy(pm_os_posix(), dir, &manifest, &there, &err), &err, "read the copy");
    if (!there) check_fail("the catalogue has no copy");
    pm_manifest_clear(&manifest);
}

/* Once recovered, a batch is in the log with all its parts, or an ABORT is in every shard that has one of them; but of
 * batches up to `resolved` parts may be retired. */
static void check_log(const char *path)
{
    struct log_parts parts = {0};
    pomai_error err;
    pm_manifest manifest = read_manifest(path);
    uint64_t resolved = manifest.shard[0].resolved;
    for (uint32_t i = 0; i < manifest.shards; i++)
        resolved = manifest.shard[i].resolved < resolved ? manifest.shard[i].resolved : resolved;
    pm_manifest_clear(&manifest);
    check_ok(pomai_dump_wal(path, 1, take_log_line, &parts, &err), &err, "dump_wal");
    if (parts.count > 0) qsort(parts.list, parts.count, sizeof *parts.list, compare_log_parts);
    for (size_t i = 0, n; i < parts.count; i += n) {
        unsigned whole = 0, put_shards = 0, abort_shards = 0;
        for (n = 0; i + n < parts.count && parts.list[i + n].batch == parts.list[i].batch; n++) {
            const struct log_part *p = &parts.list[i + n];
            *(p->abort ? &abort_shards : &put_shards) |= 1u << p->shard;
            if (!p->abort && p->part >= p->parts) check_fail("part %u of %u in the log", p->part, p->parts);
            whole += !p->abort && (n == 0 || p->part != p[-1].part);
        }
        if (parts.list[i].batch <= resolved) continue;
        if (parts.list[i].abort) check_fail("an ABORT without a part, batch %llu", parts.list[i].batch);
        if (whole < parts.list[i].parts && (abort_shards & put_shards) != put_shards)
            check_fail("batch %llu has %u of its %u parts and no ABORT in some shard: parts in %x, ABORT in %x",
                       parts.list[i].batch, whole, parts.list[i].parts, put_shards, abort_shards);
    }
    free(parts.list);
}

/* ---- segments ---- */

static unsigned segment_dirs;

static int count_segment_dir(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    segment_dirs += kind == FTW_D && where->level == 3 && strstr(path, "/segments/") != NULL;
    return 0;
}

/* What interrupted flushes and compactions left is gone. */
static void check_leftovers(const char *path)
{
    char dir[T_PATH_MAX];
    unsigned named = 0;
    pm_manifest manifest = read_manifest(path);
    for (uint32_t i = 0; i < manifest.collections; i++)
        named += manifest.entry[i].segments;
    pm_manifest_clear(&manifest);
    segment_dirs = 0;
    t_join(dir, path, "collections");
    nftw(dir, count_segment_dir, 8, FTW_PHYS);
    if (segment_dirs != named) check_fail("the manifest names %u segments, %u are there", named, segment_dirs);
}

/* Where rows lie is nothing that anybody sees. */
static void move_rows(struct ledger *l, pomai_db *db, struct found *found, struct t_rng *rng)
{
    uint64_t before[2], after[2], digest = found->digest;
    pomai_error err;
    check_ok(pomai_digest(db, NULL, before, &err), &err, "digest");
    check_ok(pomai_flush(db, &err), &err, "flush");
    check_ok(pomai_digest(db, NULL, after, &err), &err, "digest");
    if (memcmp(before, after, sizeof after) != 0) check_fail("after a flush the digest is another");
    if (t_chance(rng, 50)) check_ok(pomai_compact(db, NULL, &err), &err, "compact");
    check_ok(pomai_digest(db, NULL, after, &err), &err, "digest");
    if (memcmp(before, after, sizeof after) != 0) check_fail("after a compaction the digest is another");
    read_database(l, db, found, rng);
    if (found->digest != digest) check_fail("after a flush another state is there");
}

/* ---- the process ---- */

static unsigned torn_files;

static int count_torn_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)path;
    (void)st;
    (void)where;
    torn_files += kind == FTW_F;
    return 0;
}

static void check_report(struct ledger *l, const char *path, pomai_db *db, bool first)
{
    pomai_open_report report;
    pomai_get_open_report(db, &report);
    if (report.notes == NULL) check_fail("the open report has no notes");
    if (report.damaged != 0) check_fail("the open report says damaged: %s", report.notes);
    if ((report.torn_tails != 0) != (report.torn_bytes != 0) || report.torn_tails > l->shards)
        check_fail("the open report says %llu torn bytes in %llu tails", (unsigned long long)report.torn_bytes,
                   (unsigned long long)report.torn_tails);
    if (first && l->forged && report.torn_tails == 0) check_fail("a torn tail was not reported");
    if (report.torn_tails > 0) { /* kept, not dropped */
        char quarantine[T_PATH_MAX];
        t_join(quarantine, path, "quarantine");
        torn_files = 0;
        nftw(quarantine, count_torn_file, 4, FTW_PHYS);
        if (torn_files == 0) check_fail("a torn tail is not in quarantine");
    }
    if (report.aborted_batches > CLIENTS * WINDOW)
        check_fail("%llu batches aborted", (unsigned long long)report.aborted_batches);
    if (!first && (report.torn_tails != 0 || report.aborted_batches != 0))
        check_fail("a closed database reports torn tails %llu, aborted %llu", (unsigned long long)report.torn_tails,
                   (unsigned long long)report.aborted_batches);
    l->log_bytes = report.log_bytes;
    if (first) l->aborted = (uint32_t)report.aborted_batches;
}

/* A reader shows the same as the recovery that follows, and changes nothing. */
static bool read_only_visit(struct ledger *l, const char *path, struct found *found, struct t_rng *rng)
{
    pomai_open_options options = draw_open_options(rng, l);
    pomai_db *db;
    pomai_error err;
    options.flags = POMAI_OPEN_READONLY;
    uint64_t before = hash_tree(path);
    pomai_status status = pomai_open(path, &options, &db, &err);
    if (status != POMAI_OK) {
        if (l->opened) check_fail("open read-only: %s: %s", pomai_status_name(status), err.message);
        return false;
    }
    read_database(l, db, found, rng);
    check_ok(pomai_close(db, &err), &err, "close read-only");
    if (hash_tree(path) != before) check_fail("opening read-only changed files");
    return true;
}

static void verify(const char *path)
{
    char *json = NULL;
    pomai_error err;
    pomai_status status = pomai_verify_path(path, NULL, NULL, &json, &err);
    if (status != POMAI_OK)
        check_fail("verify: %s: %s\n%s", pomai_status_name(status), err.message, json != NULL ? json : "");
    pomai_free(json);
}

__attribute__((noreturn)) static void checker_main(struct ledger *l, const char *path)
{
    struct t_rng rng = t_rng_from(l->plan.seed + 1);
    struct found *seen_read_only = calloc(1, sizeof *seen_read_only), *found = calloc(1, sizeof *found);
    pomai_db *db;
    pomai_error err;
    char *stats = NULL;
    if (seen_read_only == NULL || found == NULL) check_fail("out of memory in the test itself");
    check_seed = l->plan.seed;
    for (unsigned i = 0; i < CLIENTS; i++)
        ledger_fold(&l->clients[i]); /* the writer may have died while it did so */
    check_copy(path);
    bool visited = t_chance(&rng, 25) && read_only_visit(l, path, seen_read_only, &rng);
    pomai_open_options options = draw_open_options(&rng, l);
    if (l->opened && t_chance(&rng, 50)) options.flags |= POMAI_OPEN_EXISTING;
    check_ok(pomai_open(path, &options, &db, &err), &err, "open after the crash");
    check_report(l, path, db, true);
    l->forged = 0;
    atomic_store(&l->opened, 1);
    read_database(l, db, found, &rng);
    if (visited && seen_read_only->digest != found->digest) check_fail("read-only, another state was shown");
    for (unsigned i = 0; i < CLIENTS; i++)
        resolve(l, i, found);
    check_ok(pomai_stats(db, &stats, &err), &err, "stats");
    pomai_free(stats);
    if (t_chance(&rng, 20)) move_rows(l, db, found, &rng);
    uint64_t words[2], again[2];
    check_ok(pomai_digest(db, NULL, words, &err), &err, "digest");
    check_ok(pomai_close(db, &err), &err, "close");
    verify(path);
    check_leftovers(path);
    check_copy(path);
    if (t_chance(&rng, 20)) check_log(path);
    if (t_chance(&rng, 35)) {
        uint64_t digest = found->digest;
        options = draw_open_options(&rng, l);
        check_ok(pomai_open(path, &options, &db, &err), &err, "open once more");
        check_report(l, path, db, false);
        read_database(l, db, found, &rng);
        if (found->digest != digest) check_fail("opened once more, another state is there");
        check_ok(pomai_digest(db, NULL, again, &err), &err, "digest");
        if (memcmp(words, again, sizeof again) != 0) check_fail("opened once more, the digest is another");
        check_ok(pomai_close(db, &err), &err, "close once more");
    }
    _exit(0);
}

#endif
