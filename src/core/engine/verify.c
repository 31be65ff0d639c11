/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying: every byte of catalogue, log and segments, then what they say of each other, then that it opens. A problem
 * in one place does not keep the rest from being looked at; the first is returned.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "core/engine/inspect.h"

enum { ASK_EVERY = 1 << 16 }; /* rows between two calls of the progress function */

typedef struct verifier {
    pm_inspection in;
    pomai_progress_fn progress;
    void *context;
    uint64_t done, total;
    uint64_t problems;
    uint64_t records, log_bytes, torn_bytes, log_rows;
    uint64_t segments, segment_rows, ended, segment_bytes, rows;
    uint64_t derived_bytes[PM_DERIVED_KINDS], derived_damaged[PM_DERIVED_KINDS];
    uint64_t log_end[PM_MAX_SHARDS]; /* 0: the log is damaged */
    pm_text json, notes;
    pomai_status first;
    pomai_error error;
} verifier;

/* false: stop everything. */
static bool add_problem(verifier *v, pomai_status status, const pomai_error *e)
{
    pm_text_add(&v->json, "%s{\"status\": \"%s\", \"message\": ", v->problems++ == 0 ? "" : ", ",
                pm_status_name(status));
    pm_text_add_json(&v->json, e->message, strlen(e->message));
    pm_text_add(&v->json, "}");
    if (v->first == POMAI_OK) {
        v->error = *e;
        v->first = status;
    }
    return status != POMAI_EDEADLINE;
}

static pomai_status tell(const verifier *v, pomai_error *err)
{
    if (v->progress == NULL || v->progress(v->context, v->done, v->total) == 0) return POMAI_OK;
    return pm_fail(err, POMAI_EDEADLINE, "stopped on request");
}

/* ---- the log ---- */

static pomai_status verify_record(pm_wal_scan *scan, const pm_wal_image *image, uint64_t at, pomai_error *err)
{
    verifier *v = scan->context;
    const pm_rec_header *h = (const pm_rec_header *)(const void *)(image->data + at);
    v->done += PM_REC_HEADER + h->payload_len;
    if (h->collection >= v->in.manifest.next_collection)
        return pm_fail(err, POMAI_ECORRUPT, "LSN %llu of %s is of collection %u, which the catalogue never made",
                       (unsigned long long)h->lsn, scan->place->dir, h->collection);
    const pm_manifest_entry *e = h->op == PM_OP_ABORT ? NULL : pm_manifest_find(&v->in.manifest, h->collection);
    const bool vectors_fit = e == NULL || h->op != PM_OP_PUT || (e->fixed.dim == h->dim && e->fixed.dtype == h->dtype);
    if (e != NULL && (e->fixed.id_kind != h->id_kind || !vectors_fit))
        return pm_fail(err, POMAI_ECORRUPT, "LSN %llu of %s does not fit the collection %s", (unsigned long long)h->lsn,
                       scan->place->dir, e->name);
    if (e != NULL && h->op == PM_OP_PUT && h->lsn > e->flushed[scan->place->shard]) v->log_rows += h->rows;
    return tell(v, err);
}

static bool verify_shard(verifier *v, uint32_t shard)
{
    pomai_error own = {0};
    pm_wal_scan scan = {.on_record = verify_record, .context = v, .notes = &v->notes};
    char *dir = pm_inspect_log_dir(&v->in, shard);
    const uint64_t begin = v->done, size = pm_inspect_dir_bytes(v->in.os, dir);
    pm_free(dir);
    pomai_status status = pm_inspect_scan(&v->in, shard, &scan, &own);
    v->records += scan.records;
    v->log_bytes += scan.bytes;
    v->torn_bytes += scan.torn_bytes;
    v->done = begin + size; /* also what lies behind damage */
    if (scan.torn_at != 0)
        pm_text_add(&v->notes,
                    "torn tail of %llu bytes in shard %u: a crash was here; the next open for writing quarantines it\n",
                    (unsigned long long)scan.torn_bytes, shard);
    if (status != POMAI_OK) return add_problem(v, status, &own);
    v->log_end[shard] = scan.end.lsn;
    return true;
}

/* What is in segments was synced to the log before. */
static bool verify_flushed(verifier *v, const pm_manifest_entry *e)
{
    for (uint32_t s = 0; s < v->in.manifest.shards; s++) {
        pomai_error own;
        if (v->log_end[s] == 0 || e->flushed[s] <= v->log_end[s]) continue;
        pomai_status status = pm_fail(&own, POMAI_ECORRUPT,
                                      "the catalogue says that LSN %llu of shard %u is in segments of %s, but its log "
                                      "ends at %llu; restore both from the same copy",
                                      (unsigned long long)e->flushed[s], s, e->name, (unsigned long long)v->log_end[s]);
        if (!add_problem(v, status, &own)) return false;
    }
    return true;
}

/* ---- segments ---- */

typedef struct step {
    verifier *v;
    uint64_t bytes;
} step;

static int on_bytes(void *context, uint64_t bytes)
{
    step *s = context;
    s->bytes += bytes;
    s->v->done += bytes;
    return s->v->progress == NULL ? 0 : s->v->progress(s->v->context, s->v->done, s->v->total);
}

/* LSNs of rows and ends against the catalogue: replay gives what is above. */
static pomai_status check_lsns(verifier *v, const pm_manifest_entry *e, const pm_segment *segment, pomai_error *err)
{
    const pm_segment_place *place = pm_segment_where(segment);
    for (uint32_t s = 0; s < v->in.manifest.shards; s++)
        if (pm_segment_max_lsn(segment, s) > e->flushed[s])
            return pm_fail(err, POMAI_ECORRUPT,
                           "%s has rows up to LSN %llu of shard %u, but the catalogue says that segments end at %llu",
                           place->dir, (unsigned long long)pm_segment_max_lsn(segment, s), s,
                           (unsigned long long)e->flushed[s]);
    for (uint64_t row = 0; row < pm_segment_rows(segment); row++) {
        const uint64_t end = pm_segment_end_of(segment, row);
        if (end == PM_NO_END || end <= e->flushed[pm_segment_shard(segment, row)]) continue;
        return pm_fail(err, POMAI_ECORRUPT, "row %llu of %s ended at LSN %llu, which the catalogue leaves to the log",
                       (unsigned long long)row, place->dir, (unsigned long long)end);
    }
    return POMAI_OK;
}

/* Of the versions of an id, all over the segments, at most one has no end. */
static pomai_status check_versions(verifier *v, pm_segment **list, uint32_t count, pomai_error *err)
{
    const uint64_t seed = pm_segment_seed(v->in.manifest.uuid);
    for (uint32_t i = 0; i < count; i++) {
        for (uint64_t row = 0; row < pm_segment_rows(list[i]); row++) {
            if (row % ASK_EVERY == 0) {
                pomai_status status = tell(v, err);
                if (status != POMAI_OK) return status;
            }
            if (pm_segment_end_of(list[i], row) != PM_NO_END) continue;
            pm_id id;
            pm_segment_id(list[i], row, &id);
            const uint64_t hash = pm_id_hash(&id, seed);
            for (uint32_t k = i; k < count; k++) {
                uint32_t other;
                pomai_status status = pm_segment_find(list[k], &id, hash, PM_NO_END - 1, &other, err);
                if (status != POMAI_OK) return status;
                if (other == PM_NO_ROW || (k == i && other == row)) continue;
                return pm_fail(
                    err, POMAI_ECORRUPT, "row %llu of %s and row %u of %s have the same id, and neither has ended",
                    (unsigned long long)row, pm_segment_where(list[i])->dir, other, pm_segment_where(list[k])->dir);
            }
        }
    }
    return POMAI_OK;
}

/* Nothing is lost with them: a note, not a problem. */
static void verify_derived(verifier *v, const pm_manifest_entry *e, const pm_segment *segment)
{
    const pm_derive_of_coll of = {(pomai_metric)e->fixed.metric, (pomai_index_kind)e->fixed.index};
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) {
        pomai_error own = {0};
        uint64_t bytes;
        if (pm_derive_verify(segment, of, kind, &bytes, &own) != POMAI_OK) {
            v->derived_damaged[kind]++;
            pm_text_add(&v->notes, "no rows are affected: %s\n", own.message);
        }
        v->derived_bytes[kind] += bytes;
    }
}

static pomai_status verify_segment(verifier *v, const pm_manifest_entry *e, const pm_manifest_segment *listed,
                                   pm_segment **segment, pomai_error *err)
{
    step s = {.v = v};
    pm_segment_place place;
    pm_inspect_place(&v->in, e, listed->number, &place);
    if (place.dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to verify the segments of %s", e->name);
    pomai_status status = pm_segment_verify(&place, listed, on_bytes, &s, err);
    if (status != POMAI_EDEADLINE) v->done += pm_segment_bytes(listed) - pm_min_u64(pm_segment_bytes(listed), s.bytes);
    if (status == POMAI_OK) status = pm_segment_open(&place, listed, segment, err);
    /* The columns that are looked at without another check; verified a moment ago. */
    if (status == POMAI_OK)
        status = pm_segment_check(*segment, PM_SEG_ID | PM_SEG_SHARD, 0, pm_segment_rows(*segment), err);
    if (status == POMAI_OK && !PM_MUTANT(VERIFY_LSNS_SKIPPED)) status = check_lsns(v, e, *segment, err);
    if (status == POMAI_OK) verify_derived(v, e, *segment);
    v->segments++;
    v->segment_rows += listed->rows;
    v->ended += pm_segment_live_count(listed);
    v->segment_bytes += pm_segment_bytes(listed);
    pm_free((char *)(uintptr_t)place.dir);
    return status;
}

static bool verify_segments(verifier *v, const pm_manifest_entry *e)
{
    pomai_error own = {0};
    bool on = true;
    uint32_t sound = 0;
    pm_segment **list = pm_calloc((size_t)e->segments + 1, sizeof(pm_segment *));
    if (list == NULL) return add_problem(v, pm_fail(&own, POMAI_ENOMEM, "no memory to verify %s", e->name), &own);
    for (uint32_t i = 0; i < e->segments && on; i++) {
        pomai_status status = verify_segment(v, e, &e->segment[i], &list[i], &own);
        if (status == POMAI_OK)
            sound++;
        else
            on = add_problem(v, status, &own);
    }
    if (sound == e->segments && !PM_MUTANT(VERIFY_VERSIONS_SKIPPED)) {
        pomai_status status = check_versions(v, list, e->segments, &own);
        if (status != POMAI_OK) on = add_problem(v, status, &own);
    }
    for (uint32_t i = 0; i < e->segments; i++)
        pm_segment_free(list[i]);
    pm_free(list);
    return on;
}

/* ---- what nobody names ---- */

typedef struct stranger {
    verifier *v;
    const char *dir;
    const pm_manifest_entry *entry; /* NULL: names are of collections */
    uint64_t collection;
    bool segments;
} stranger;

/* The number that a name is; false: it is none, as we write them. */
static bool number_of(const char *name, uint64_t *number)
{
    const size_t size = strlen(name);
    if (size == 0 || size > 19 || strspn(name, "0123456789") != size || (name[0] == '0' && size > 1)) return false;
    *number = strtoull(name, NULL, 10);
    return true;
}

static int look_at_segment(void *context, const char *name)
{
    const stranger *s = context;
    uint64_t number;
    if (!number_of(name, &number)) {
        pm_text_add(&s->v->notes, "unknown file %s/%.80s left alone\n", s->dir, name);
        return 0;
    }
    for (uint32_t i = 0; s->entry != NULL && i < s->entry->segments; i++)
        if (s->entry->segment[i].number == number) return 0;
    pm_text_add(&s->v->notes, "segment %s/%s is of no catalogue; the next open for writing removes it\n", s->dir, name);
    return 0;
}

static int look_at_part(void *context, const char *name)
{
    stranger *s = context;
    if (strcmp(name, "segments") == 0)
        s->segments = true;
    else
        pm_text_add(&s->v->notes, "unknown file %s/%.80s left alone\n", s->dir, name);
    return 0;
}

static int look_at_collection(void *context, const char *name)
{
    const stranger *above = context;
    verifier *v = above->v;
    uint64_t number;
    if (!number_of(name, &number) || number > UINT32_MAX) {
        pm_text_add(&v->notes, "unknown file %s/%.80s left alone\n", above->dir, name);
        return 0;
    }
    char *own = pm_layout_path(v->in.path, "collections/%llu", (unsigned long long)number);
    char *segments = pm_layout_path(v->in.path, "collections/%llu/segments", (unsigned long long)number);
    stranger s = {.v = v, .dir = own, .entry = pm_manifest_find(&v->in.manifest, (uint32_t)number)};
    if (own == NULL || segments == NULL) {
        v->notes.failed = true;
    } else {
        (void)v->in.os->dir_list(v->in.os, own, look_at_part, &s);
        s.dir = segments;
        if (s.segments) (void)v->in.os->dir_list(v->in.os, segments, look_at_segment, &s);
    }
    pm_free(own);
    pm_free(segments);
    return 0;
}

static void look_for_strangers(verifier *v)
{
    char *dir = pm_layout_path(v->in.path, "collections");
    stranger s = {.v = v, .dir = dir};
    if (dir == NULL)
        v->notes.failed = true;
    else
        (void)v->in.os->dir_list(v->in.os, dir, look_at_collection, &s);
    pm_free(dir);
}

/* ---- all of it ---- */

/* What was found sound must open; and only replay knows which rows there are. */
static void count_rows(verifier *v)
{
    pomai_error own;
    pm_db *db = NULL;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = POMAI_OPEN_READONLY;
    options.search_threads = UINT32_MAX;
    pomai_status status = pm_db_open(v->in.os, v->in.path, &options, &db, &own);
    if (status == POMAI_OK) {
        const pm_catalog *catalog = atomic_load(&db->catalog);
        for (uint32_t i = 0; i < catalog->count && status == POMAI_OK; i++) {
            uint64_t rows = 0;
            status = pm_coll_live(db, catalog->coll[i], &rows, &own);
            v->rows += rows;
        }
        (void)pm_db_close(db, NULL);
    }
    if (status != POMAI_OK) (void)add_problem(v, status, &own);
}

/* false: there is no use in going on. A database from before there were copies has none. */
static bool verify_copy(verifier *v)
{
    pomai_error own;
    bool there = false;
    char *copies = pm_layout_path(v->in.path, PM_COPIES_DIR);
    pomai_status status = copies == NULL ? pm_fail(&own, POMAI_ENOMEM, "no memory to look at the database")
                                         : pm_manifest_check_copy(v->in.os, copies, &v->in.manifest, &there, &own);
    pm_free(copies);
    if (status == POMAI_OK) return true;
    pomai_error advised;
    (void)pm_fail(&advised, status, "%.400s; the next open for writing makes it anew", own.message);
    return add_problem(v, status, &advised);
}

static void verify_all(verifier *v)
{
    const pm_manifest *m = &v->in.manifest;
    if (!verify_copy(v)) return;
    for (uint32_t s = 0; s < m->shards; s++) {
        char *dir = pm_inspect_log_dir(&v->in, s);
        v->total += pm_inspect_dir_bytes(v->in.os, dir);
        pm_free(dir);
    }
    for (uint32_t i = 0; i < m->collections; i++)
        for (uint32_t k = 0; k < m->entry[i].segments; k++)
            v->total += pm_segment_bytes(&m->entry[i].segment[k]);
    for (uint32_t s = 0; s < m->shards; s++)
        if (!verify_shard(v, s)) return;
    for (uint32_t i = 0; i < m->collections; i++)
        if (!verify_flushed(v, &m->entry[i]) || !verify_segments(v, &m->entry[i])) return;
    look_for_strangers(v);
    if (v->problems == 0) count_rows(v);
}

#define ADD(field) pm_text_add(&v->json, "\"" #field "\": %llu, ", (unsigned long long)v->field)

static void finish_json(verifier *v)
{
    pm_text_add(&v->json, "], ");
    if (v->problems == 0) ADD(rows);
    ADD(records);
    ADD(log_rows);
    ADD(log_bytes);
    ADD(torn_bytes);
    ADD(segments);
    ADD(segment_rows);
    pm_text_add(&v->json, "\"segment_rows_ended\": %llu, ", (unsigned long long)v->ended);
    ADD(segment_bytes);
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
        pm_text_add(&v->json, "\"%s_bytes\": %llu, \"%s_damaged\": %llu, ", pm_derived_name(kind),
                    (unsigned long long)v->derived_bytes[kind], pm_derived_name(kind),
                    (unsigned long long)v->derived_damaged[kind]);
    pm_text_add(&v->json, "\"collections\": %u, \"shards\": %u, \"notes\": ", v->in.manifest.collections,
                v->in.manifest.shards);
    const size_t notes = v->notes.size - (v->notes.size > 0); /* without the end of the last line */
    pm_text_add_json(&v->json, v->notes.data != NULL ? v->notes.data : "", notes);
    pm_text_add(&v->json, "}");
}

pomai_status pm_inspect_verify(const pm_os *os, const char *path, pomai_progress_fn progress, void *context,
                               char **json, pomai_error *err)
{
    pomai_error own = {0};
    verifier *v = pm_calloc(1, sizeof *v);
    if (v == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to look at the database");
    v->progress = progress;
    v->context = context;
    pm_text_add(&v->json, "{\"problems\": [");
    pomai_status status = pm_inspect_begin(&v->in, os, path, &own);
    if (status == POMAI_OK)
        verify_all(v);
    else
        (void)add_problem(v, status, &own);
    finish_json(v);
    pm_inspect_end(&v->in);
    status = v->first;
    if (status != POMAI_OK && err != NULL) *err = v->error;
    if (v->json.failed || v->notes.failed) { /* a report must not pass over a torn tail in silence */
        if (status == POMAI_OK) status = pm_fail(err, POMAI_ENOMEM, "no memory for the report");
    } else if (json != NULL) {
        *json = v->json.data;
        v->json.data = NULL;
    }
    pm_free(v->json.data);
    pm_free(v->notes.data);
    pm_free(v);
    return status;
}
