/* SPDX-License-Identifier: Apache-2.0 */
/* pomai_stats: docs/stats.md names every field. Counters are atomics read one by one; no lock is taken. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "core/engine/engine.h"
#include "pomai/version.h"

static void add_u64(pm_text *t, const char *name, uint64_t value)
{
    pm_text_add(t, "\"%s\": %llu, ", name, (unsigned long long)value);
}

/* Drops the ", " after the last field and closes. */
static void close_with(pm_text *t, const char *end)
{
    if (!t->failed && t->size >= 2 && t->data[t->size - 2] == ',') t->size -= 2;
    pm_text_add(t, "%s", end);
}

static void add_latency(pm_text *t, const char *name, const pm_hist *hist)
{
    uint64_t count;
    uint64_t p50 = pm_hist_quantile(hist, 0.5, &count);
    pm_text_add(t, "\"%s\": {", name);
    add_u64(t, "count", count);
    add_u64(t, "p50_ns", p50);
    add_u64(t, "p90_ns", pm_hist_quantile(hist, 0.9, NULL));
    add_u64(t, "p99_ns", pm_hist_quantile(hist, 0.99, NULL));
    add_u64(t, "p999_ns", pm_hist_quantile(hist, 0.999, NULL));
    close_with(t, "}, ");
}

static void add_shard(pm_text *t, const pm_db *db, uint32_t index)
{
    pm_shard_stats s;
    pm_shard_get_stats(db->shared.shard[index], &s);
    pm_text_add(t, "{");
    add_u64(t, "shard", index);
    add_u64(t, "visible_lsn", s.visible_lsn);
    add_u64(t, "durable_lsn", s.durable_lsn);
    add_u64(t, "log_bytes", s.log_bytes);
    add_u64(t, "files_begun", s.log_files);
    add_u64(t, "memory_bytes", s.slab_bytes);
    add_u64(t, "records", s.records);
    add_u64(t, "commits", s.commits);
    add_u64(t, "syncs", s.syncs);
    add_u64(t, "watermarks", s.mark_writes);
    add_u64(t, "aborts", s.aborts);
    add_u64(t, "queued", s.queued);
    add_u64(t, "commit_ns", s.commit_ns);
    add_u64(t, "commit_p50_ns", s.commit_ns_p50);
    add_u64(t, "commit_p99_ns", s.commit_ns_p99);
    close_with(t, "}, ");
}

/* A figure of a kind of derived files. */
static void add_of_kind(pm_text *t, const char *before, uint32_t kind, const char *after, uint64_t value)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", before, pm_derived_name(kind), after);
    add_u64(t, name, value);
}

/* What segments have of one kind. */
typedef struct derived_sum {
    uint64_t segments, rows, bytes, waiting;
} derived_sum;

static void count_derived(const pm_segment *segment, const pm_coll *coll, uint32_t kind, derived_sum *sum)
{
    const pm_derived *derived = pm_segment_derived(segment, kind);
    const uint64_t rows = pm_segment_rows(segment);
    if (derived != NULL) {
        sum->segments++;
        sum->rows += rows;
        sum->bytes += derived->header.length;
    } else if (pm_derive_missing(segment, pm_derive_for(coll), kind)) {
        sum->waiting += rows;
    }
}

static void add_segments(pm_text *t, pm_db *db, const pm_coll *coll)
{
    uint64_t memory = 0, rows = 0, ended = 0, bytes = 0;
    derived_sum sum[PM_DERIVED_KINDS] = {{0}};
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    const pm_shown *shown = atomic_load(&coll->shown);
    for (uint32_t i = 0; i < shown->shards; i++) {
        memory += pm_memtable_bytes(shown->table[i].active);
        if (shown->table[i].frozen != NULL) memory += pm_memtable_bytes(shown->table[i].frozen);
    }
    for (uint32_t i = 0; i < shown->segments; i++) {
        rows += pm_segment_rows(shown->segment[i]);
        ended += pm_segment_ended(shown->segment[i]);
        bytes += pm_segment_entry(shown->segment[i])->bytes;
        for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
            count_derived(shown->segment[i], coll, kind, &sum[kind]);
    }
    add_u64(t, "segments", shown->segments);
    pm_epoch_leave(&db->shared.epoch, hold);
    add_u64(t, "segment_rows", rows);
    add_u64(t, "segment_rows_ended", ended);
    add_u64(t, "snapshot_held_rows", atomic_load_explicit(&coll->held_rows, memory_order_relaxed));
    add_u64(t, "segment_bytes", bytes);
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) {
        add_of_kind(t, "segments_with_", kind, "", sum[kind].segments);
        add_of_kind(t, "rows_with_", kind, "", sum[kind].rows);
        add_of_kind(t, "", kind, "_bytes", sum[kind].bytes);
        add_of_kind(t, "rows_waiting_for_", kind, "", sum[kind].waiting);
    }
    add_u64(t, "index_memory_bytes", memory);
}

static void add_watched(pm_text *t, pm_db *db, const pm_coll *coll, pm_watch_kind kind)
{
    pm_watched w;
    const bool any = pm_watch_read(db, coll, kind, &w);
    add_u64(t, "samples", w.samples);
    add_u64(t, "looked_at", w.looked_at);
    if (any)
        pm_text_add(t, "\"asked\": %.4f, \"promised\": %.4f, \"recall\": %.4f, \"low\": %.4f, \"high\": %.4f, ",
                    w.asked, w.promised, w.recall, w.low, w.high);
    add_u64(t, "raised", w.raised);
}

static void add_watch(pm_text *t, pm_db *db, const pm_coll *coll)
{
    pm_text_add(t, "\"recall_watch\": {");
    add_watched(t, db, coll, PM_WATCH_ALL);
    pm_text_add(t, "\"filtered\": {");
    add_watched(t, db, coll, PM_WATCH_FILTERED);
    close_with(t, "}");
    pm_text_add(t, "}, ");
}

static void add_collection(pm_text *t, pm_db *db, const pm_coll *coll)
{
    static const char *const metric[] = {"?", "l2", "ip", "cosine"};
    uint64_t rows = 0;
    (void)pm_coll_live(db, coll, &rows, NULL); /* damage: what was counted until there */
    pm_text_add(t, "{\"name\": \"%s\", ", coll->name);
    add_u64(t, "id", coll->id);
    add_u64(t, "dim", coll->dim);
    pm_text_add(t, "\"dtype\": \"%s\", ", pm_dtype_name(coll->dtype));
    pm_text_add(t, "\"metric\": \"%s\", \"ids\": \"%s\", ", metric[coll->metric],
                coll->id_kind == POMAI_ID_U64 ? "u64" : "string");
    if (coll->ttl_ns != 0) add_u64(t, "ttl_ns", coll->ttl_ns);
    if (coll->index != POMAI_INDEX_AUTO) pm_text_add(t, "\"index\": \"%s\", ", pm_index_name(coll->index));
    if (coll->cluster_by[0] != '\0') {
        pm_text_add(t, "\"cluster_by\": ");
        pm_text_add_json(t, coll->cluster_by, strlen(coll->cluster_by));
        pm_text_add(t, ", ");
    }
    add_u64(t, "rows", rows);
    add_u64(t, "vector_bytes", rows * pm_coll_stride(coll));
    add_segments(t, db, coll);
    add_u64(t, "puts", atomic_load_explicit(&coll->puts, memory_order_relaxed));
    add_u64(t, "rows_put", atomic_load_explicit(&coll->put_rows, memory_order_relaxed));
    add_u64(t, "deletes", atomic_load_explicit(&coll->deletes, memory_order_relaxed));
    add_u64(t, "ids_fetched", atomic_load_explicit(&coll->gets, memory_order_relaxed));
    add_u64(t, "searches", atomic_load_explicit(&coll->searches, memory_order_relaxed));
    add_u64(t, "queries", atomic_load_explicit(&coll->queries, memory_order_relaxed));
    add_watch(t, db, coll);
    close_with(t, "}, ");
}

#define ADD(field) add_u64(t, #field, atomic_load_explicit(&m->field, memory_order_relaxed))

static void add_error(pm_text *t, pm_db *db, const char *name, const pomai_error *kept)
{
    db->os->mutex_lock(db->os, &db->state);
    const pomai_error error = *kept;
    db->os->mutex_unlock(db->os, &db->state);
    if (error.status == POMAI_OK) return;
    pm_text_add(t, "\"%s\": {\"status\": \"%s\", \"message\": ", name, pm_status_name(error.status));
    pm_text_add_json(t, error.message, strlen(error.message));
    pm_text_add(t, "}, ");
}

static void add_deriving(pm_text *t, pm_db *db, uint32_t kind)
{
    const pm_deriving *d = &db->maintenance.deriving[kind];
    char name[64];
    add_of_kind(t, "", kind, "_builds", atomic_load_explicit(&d->builds, memory_order_relaxed));
    add_of_kind(t, "", kind, "_rows", atomic_load_explicit(&d->rows, memory_order_relaxed));
    add_of_kind(t, "", kind, "_written", atomic_load_explicit(&d->written, memory_order_relaxed));
    add_of_kind(t, "", kind, "_failures", atomic_load_explicit(&d->trial.failures, memory_order_relaxed));
    add_of_kind(t, "", kind, "_damaged", atomic_load_explicit(&d->damaged, memory_order_relaxed));
    snprintf(name, sizeof name, "%s_error", pm_derived_name(kind));
    add_error(t, db, name, &d->trial.error);
}

static void add_scrub(pm_text *t, pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    ADD(scrubbed_bytes);
    ADD(scrub_damages);
    add_u64(t, "scrub_passes", atomic_load_explicit(&m->scrub.passes, memory_order_relaxed));
    add_u64(t, "scrub_ended_ns", atomic_load_explicit(&m->scrub.ended_ns, memory_order_relaxed));
    add_error(t, db, "scrub_error", &m->scrub.error);
}

static void add_maintenance(pm_text *t, pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    uint64_t oldest = 0;
    uint32_t snapshots = 0;
    os->mutex_lock(os, &db->pins);
    for (const pomai_snapshot *s = db->snapshots; s != NULL; s = s->next, snapshots++)
        oldest = pm_max_u64(oldest, os->now_ns(os) - s->taken_ns);
    os->mutex_unlock(os, &db->pins);
    pm_text_add(t, "\"maintenance\": {");
    add_u64(t, "unflushed_bytes", atomic_load_explicit(&db->shared.unflushed, memory_order_relaxed));
    ADD(log_live_bytes);
    ADD(flushes);
    ADD(flushed_rows);
    ADD(flushed_bytes);
    ADD(live_bytes);
    ADD(compactions);
    ADD(compacted_rows);
    ADD(compacted_bytes);
    ADD(dropped_rows);
    ADD(retired_files);
    ADD(retired_bytes);
    ADD(stalls);
    ADD(stall_ns);
    ADD(limbo);
    add_u64(t, "failures",
            atomic_load_explicit(&m->flushing.failures, memory_order_relaxed) +
                atomic_load_explicit(&m->compacting.failures, memory_order_relaxed) +
                atomic_load_explicit(&m->quiet.failures, memory_order_relaxed));
    add_u64(t, "snapshots", snapshots);
    add_u64(t, "oldest_snapshot_ns", oldest);
    add_u64(t, "scans", atomic_load(&db->open_scans));
    add_error(t, db, "flush_error", &m->flushing.error);
    add_error(t, db, "compact_error", &m->compacting.error);
    add_error(t, db, "merge_error", &m->quiet.error);
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
        add_deriving(t, db, kind);
    add_scrub(t, db);
    close_with(t, "}, ");
}

static void add_open_report(pm_text *t, const pomai_open_report *r)
{
    pm_text_add(t, "\"open\": {");
    add_u64(t, "records", r->records);
    add_u64(t, "rows", r->rows);
    add_u64(t, "log_bytes", r->log_bytes);
    add_u64(t, "torn_bytes", r->torn_bytes);
    add_u64(t, "torn_tails", r->torn_tails);
    add_u64(t, "aborted_batches", r->aborted_batches);
    add_u64(t, "damaged", r->damaged);
    add_u64(t, "open_ns", r->open_ns);
    pm_text_add(t, "\"notes\": ");
    pm_text_add_json(t, r->notes, strlen(r->notes));
    pm_text_add(t, "}, ");
}

pomai_status pm_db_stats(pm_db *db, char **json, pomai_error *err)
{
    static const char *const level[] = {"?", "os", "group", "sync"};
    pm_text t = {0};
    pm_text_add(&t, "{\"version\": \"%s\", \"path\": ", POMAI_VERSION_STRING);
    pm_text_add_json(&t, db->path, strlen(db->path));
    pm_text_add(&t, ", \"simd\": \"%s\", \"durability\": \"%s\", \"readonly\": %s, \"stopped\": %s, ", db->simd->name,
                level[db->durability], db->readonly ? "true" : "false", pm_stopped(&db->shared) ? "true" : "false");
    if (pm_stopped(&db->shared) && atomic_load(&db->shared.stopped) == 2) {
        pm_text_add(&t, "\"stop_error\": ");
        pm_text_add_json(&t, db->shared.stop_error.message, strlen(db->shared.stop_error.message));
        pm_text_add(&t, ", ");
    }
    add_u64(&t, "search_threads", pm_pool_helpers(db->pool) + 1);
    add_latency(&t, "put_latency", &db->shared.put_latency);
    add_latency(&t, "search_latency", &db->search_latency);
    add_open_report(&t, &db->report);
    add_maintenance(&t, db);
    pm_text_add(&t, "\"collections\": [");
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    for (uint32_t i = 0; i < catalog->count; i++)
        add_collection(&t, db, catalog->coll[i]);
    close_with(&t, "], \"shards\": [");
    for (uint32_t i = 0; i < db->shared.shards; i++)
        add_shard(&t, db, i);
    close_with(&t, "]}");
    if (t.failed) {
        pm_free(t.data);
        return pm_fail(err, POMAI_ENOMEM, "no memory for the statistics");
    }
    *json = t.data;
    return POMAI_OK;
}
