/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening: lock, manifest, read all logs, decide the batches over several shards, replay, settle, start. Nothing on
 * disk is changed before all logs were read and found sound.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/engine/engine.h"
#include "core/engine/layout.h"

enum { DEFAULT_MAILBOX = 1024, DEFAULT_GROUP_MS = 10, MOST_DEFAULT_SHARDS = 8 };
#define DEFAULT_WAL_BYTES ((uint64_t)64 << 20)
#define LEAST_WAL_BYTES   ((uint64_t)64 << 10)
#define MOST_WAL_BYTES    ((uint64_t)1 << 30)
#define DEFAULT_FLUSH     ((uint64_t)64 << 20)
#define DEFAULT_LOG       ((uint64_t)256 << 20)
#define DEFAULT_RATE      ((uint64_t)128 << 20)
#define DEFAULT_SCRUB     ((uint64_t)4 << 20)
#define DEFAULT_WATCH     10 /* thousandths of a core */
#define MOST_BUILDERS     15u
#define DEFAULT_FREEZE    5000

/* ---- options ---- */

static pomai_status check_options(const pomai_open_options *o, pomai_error *err)
{
    const uint32_t known = POMAI_OPEN_EXISTING | POMAI_OPEN_READONLY | POMAI_OPEN_ACCEPT_DAMAGE |
                           POMAI_OPEN_STRICT_MARK | POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    if (o->struct_size != sizeof *o)
        return pm_fail(err, POMAI_EINVAL,
                       "pomai_open_options.struct_size is %zu, not %zu: begin with POMAI_OPEN_OPTIONS_INIT",
                       o->struct_size, sizeof *o);
    if ((o->flags & ~known) != 0) return pm_fail(err, POMAI_EINVAL, "unknown open flags %#x", o->flags & ~known);
    if ((o->flags & POMAI_OPEN_ACCEPT_DAMAGE) != 0 && (o->flags & POMAI_OPEN_READONLY) == 0)
        return pm_fail(err, POMAI_EINVAL,
                       "POMAI_OPEN_ACCEPT_DAMAGE needs POMAI_OPEN_READONLY: a damaged log takes no writes");
    if (o->shards > PM_MAX_SHARDS)
        return pm_fail(err, POMAI_EINVAL, "%u shards are too many: at most %u", o->shards, PM_MAX_SHARDS);
    if ((unsigned)o->durability > POMAI_DURABILITY_SYNC)
        return pm_fail(err, POMAI_EINVAL, "unknown durability %d", (int)o->durability);
    if (o->mailbox_slots > 1u << 20 || (o->mailbox_slots & (o->mailbox_slots - 1)) != 0)
        return pm_fail(err, POMAI_EINVAL, "mailbox_slots is %u: it must be a power of two, at most 1,048,576",
                       o->mailbox_slots);
    if (o->wal_file_bytes != 0 && (o->wal_file_bytes < LEAST_WAL_BYTES || o->wal_file_bytes > MOST_WAL_BYTES))
        return pm_fail(err, POMAI_EINVAL, "wal_file_bytes is %llu: it must be 64 KiB to 1 GiB",
                       (unsigned long long)o->wal_file_bytes);
    if (o->watch_share > 1000 && o->watch_share != UINT64_MAX)
        return pm_fail(err, POMAI_EINVAL, "watch_share is %llu: it must be thousandths of a core, at most 1,000",
                       (unsigned long long)o->watch_share);
    return POMAI_OK;
}

static void set_options(pm_db *db, const pomai_open_options *o)
{
    pm_shared *s = &db->shared;
    db->flush_at_close = (o->flags & POMAI_OPEN_NO_FLUSH_AT_CLOSE) == 0;
    db->readonly = (o->flags & POMAI_OPEN_READONLY) != 0;
    db->durability = o->durability == POMAI_DURABILITY_DEFAULT ? POMAI_DURABILITY_SYNC : o->durability;
    s->mailbox_slots = o->mailbox_slots == 0 ? DEFAULT_MAILBOX : o->mailbox_slots;
    s->wal_file_bytes = o->wal_file_bytes == 0 ? DEFAULT_WAL_BYTES : o->wal_file_bytes;
    s->group_ns = (uint64_t)(o->group_ms == 0 ? DEFAULT_GROUP_MS : o->group_ms) * 1000000u;
    s->flush_bytes = o->flush_bytes == 0 ? DEFAULT_FLUSH : o->flush_bytes;
    s->freeze_rows = o->freeze_rows == 0 ? DEFAULT_FREEZE : o->freeze_rows;
    if (pm_mul_overflows(s->flush_bytes, 4, &db->flush_hard)) db->flush_hard = UINT64_MAX;
    db->log_budget = o->log_bytes == 0 ? DEFAULT_LOG : o->log_bytes;
    db->segment_bytes = o->segment_bytes;
    db->compact_rate = o->compact_rate == 0 ? DEFAULT_RATE : o->compact_rate;
    db->scrub_rate = o->scrub_rate == 0 ? DEFAULT_SCRUB : o->scrub_rate;
    db->watch_share = o->watch_share == 0 ? DEFAULT_WATCH : o->watch_share;
    const uint32_t others = db->os->cores(db->os) - 1;
    const uint64_t builders = o->build_threads == 0 ? others : o->build_threads == UINT64_MAX ? 0 : o->build_threads;
    db->build_threads = (uint32_t)pm_min_u64(builders, MOST_BUILDERS);
    s->strict_mark = (o->flags & POMAI_OPEN_STRICT_MARK) != 0;
}

/* ---- finding or making the directory ---- */

static pomai_status make_if_absent(const pm_os *os, const char *path, const pomai_open_options *o, pomai_error *err)
{
    pm_dir_state state;
    pomai_status status = pm_layout_probe(os, path, &state, err);
    if (status != POMAI_OK || state == PM_DIR_DATABASE) return status;
    if ((o->flags & (POMAI_OPEN_EXISTING | POMAI_OPEN_READONLY)) != 0)
        return pm_fail(err, POMAI_ENOTFOUND, "there is no database at %s", path);
    if (state == PM_DIR_EMPTY) return POMAI_OK;
    int rc = os->dir_make(os, path);
    if (rc != 0 && os->path_kind(os, path) != PM_PATH_DIR)
        return pm_fail_os(err, rc, "cannot make the database directory %s (its parent must exist)", path);
    return POMAI_OK;
}

static pomai_status lock_and_make(pm_db *db, const pomai_open_options *o, pomai_error *err)
{
    const pm_os *os = db->os;
    pomai_status status = make_if_absent(os, db->path, o, err);
    if (status == POMAI_OK) status = pm_layout_lock(os, db->path, !db->readonly, &db->lock, err);
    if (status != POMAI_OK) return status;
    pm_dir_state state; /* again: another process may have made it before we had the lock */
    status = pm_layout_probe(os, db->path, &state, err);
    if (status != POMAI_OK || state == PM_DIR_DATABASE) return status;
    if ((o->flags & (POMAI_OPEN_EXISTING | POMAI_OPEN_READONLY)) != 0) /* it went away meanwhile */
        return pm_fail(err, POMAI_ENOTFOUND, "there is no database at %s", db->path);
    uint32_t cores = os->cores(os);
    uint32_t shards = o->shards != 0 ? o->shards : cores < MOST_DEFAULT_SHARDS ? cores : MOST_DEFAULT_SHARDS;
    return pm_layout_make(os, db->path, shards, err);
}

/* ---- recovery ---- */

typedef enum recovery_phase { PHASE_SCAN, PHASE_REPLAY, PHASE_SETTLE } recovery_phase;

typedef struct shard_work {
    pm_text notes;
    pomai_status status;
    pomai_error error;
    uint64_t *aborts; /* batches that this shard must still abort on disk */
    size_t abort_count;
} shard_work;

typedef struct recovery {
    pm_db *db;
    recovery_phase phase;
    bool accept_damage;
    char *quarantine;
    uint64_t *aborted; /* batches not to be shown, sorted */
    size_t aborted_count;
    shard_work work[PM_MAX_SHARDS];
} recovery;

static void work_on_shard(void *context, uint32_t i)
{
    recovery *r = context;
    shard_work *w = &r->work[i];
    pm_shard *shard = r->db->shared.shard[i];
    switch (r->phase) {
    case PHASE_SCAN:
        w->status = pm_shard_scan(shard, &r->db->manifest.shard[i], r->accept_damage, &w->notes, &w->error);
        break;
    case PHASE_REPLAY:
        w->status = pm_shard_replay(shard, r->aborted, r->aborted_count, pm_db_find_id, r->db, &w->error);
        break;
    case PHASE_SETTLE:
        w->status = pm_shard_settle(shard, r->quarantine, w->aborts, w->abort_count, &w->error);
        break;
    }
}

static pomai_status run_phase(recovery *r, recovery_phase phase, pomai_error *err)
{
    r->phase = phase;
    pm_pool_run(r->db->pool, work_on_shard, r, r->db->shared.shards);
    for (uint32_t i = 0; i < r->db->shared.shards; i++) {
        if (r->work[i].status == POMAI_OK) continue;
        if (err != NULL) *err = r->work[i].error;
        return r->work[i].status;
    }
    return POMAI_OK;
}

static int by_batch(const void *a, const void *b)
{
    const pm_recovered_part *x = a, *y = b;
    if (x->batch != y->batch) return x->batch < y->batch ? -1 : 1;
    if (x->aborted != y->aborted) return x->aborted ? 1 : -1; /* parts first */
    if (x->part != y->part) return x->part < y->part ? -1 : 1;
    return x->shard < y->shard ? -1 : x->shard > y->shard;
}

/* One batch's entries, parts first. False: not all its parts are there, or it was aborted before. */
static bool batch_counts(const pm_db *db, const pm_recovered_part *p, size_t n)
{
    size_t parts = 0;
    bool resolved = false;
    for (size_t i = 0; i < n; i++) {
        if (p[i].aborted) return false;
        if (i == 0 || p[i].part != p[i - 1].part) parts += PM_MUTANT(PARTS_COUNTED_TWICE) ? 2 : 1;
        resolved |= p[i].batch <= db->manifest.shard[p[i].shard].resolved;
    }
    return parts == p[0].parts || resolved || PM_MUTANT(MISSING_PART_COUNTS);
}

/* Every shard that has a part but no ABORT yet owes one. Several parts in one shard owe one together. */
static void owe_aborts(recovery *r, const pm_recovered_part *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i].aborted) continue;
        bool done = false;
        for (size_t j = 0; j < n && !done; j++)
            done = p[j].shard == p[i].shard && (p[j].aborted || j < i);
        shard_work *w = &r->work[p[i].shard];
        assert(w->aborts != NULL);
        if (!done) w->aborts[w->abort_count++] = p[i].batch;
    }
}

static pomai_status gather_parts(recovery *r, pm_recovered_part **all, size_t *count, pomai_error *err)
{
    pm_db *db = r->db;
    *count = 0;
    for (uint32_t s = 0; s < db->shared.shards; s++) {
        size_t n;
        (void)pm_shard_parts(db->shared.shard[s], &n);
        *count += n;
        r->work[s].aborts = pm_calloc(n + 1, sizeof *r->work[s].aborts);
        if (r->work[s].aborts == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
    }
    *all = pm_calloc(*count + 1, sizeof **all);
    r->aborted = pm_calloc(*count + 1, sizeof *r->aborted);
    if (*all == NULL || r->aborted == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
    size_t at = 0;
    for (uint32_t s = 0; s < db->shared.shards; s++) {
        size_t n;
        const pm_recovered_part *parts = pm_shard_parts(db->shared.shard[s], &n);
        if (n > 0) memcpy(*all + at, parts, n * sizeof *parts);
        at += n;
    }
    qsort(*all, *count, sizeof **all, by_batch);
    return POMAI_OK;
}

/* docs/format/wal.md, "Batches". */
static pomai_status decide_batches(recovery *r, pomai_error *err)
{
    pm_recovered_part *all = NULL;
    size_t count;
    pomai_status status = gather_parts(r, &all, &count, err);
    assert(status != POMAI_OK || (all != NULL && r->aborted != NULL));
    for (size_t i = 0; status == POMAI_OK && i < count;) {
        size_t n = 1;
        while (i + n < count && all[i + n].batch == all[i].batch)
            n++;
        if (!batch_counts(r->db, &all[i], n)) {
            r->aborted[r->aborted_count++] = all[i].batch;
            owe_aborts(r, &all[i], n);
        }
        i += n;
    }
    pm_free(all);
    return status;
}

static void fill_report(recovery *r)
{
    pm_db *db = r->db;
    pomai_open_report *report = &db->report;
    for (uint32_t i = 0; i < db->shared.shards; i++) {
        pm_shard_report s;
        pm_shard_get_report(db->shared.shard[i], &s);
        report->records += s.records;
        report->rows += s.rows;
        report->log_bytes += s.bytes;
        report->torn_bytes += s.torn_bytes;
        report->torn_tails += s.torn;
        report->damaged |= s.damaged;
        if (r->work[i].notes.size > 0) pm_text_add(&db->notes, "%s", r->work[i].notes.data);
    }
    for (size_t i = 0; i < r->aborted_count; i++) {
        bool owed = false; /* older ones have their ABORT records */
        for (uint32_t s = 0; s < db->shared.shards && !owed; s++)
            for (size_t j = 0; j < r->work[s].abort_count && !owed; j++)
                owed = r->work[s].aborts[j] == r->aborted[i];
        if (owed) report->aborted_batches++;
    }
    if (report->aborted_batches > 0)
        pm_text_add(&db->notes,
                    report->damaged ? "%llu batches lost parts to the damage; none of their rows are shown\n"
                                    : "%llu incomplete batches were aborted; none had been acknowledged\n",
                    (unsigned long long)report->aborted_batches);
    report->notes = db->notes.data != NULL ? db->notes.data : "";
}

/* Somebody may have cleared it away. What is copied there lasts only if its name does. */
static pomai_status make_quarantine(const recovery *r, pomai_error *err)
{
    const pm_os *os = r->db->os;
    int rc = os->dir_make(os, r->quarantine);
    if (rc == 0) rc = os->dir_sync(os, r->db->path);
    return rc == 0 || rc == -EEXIST ? POMAI_OK : pm_fail_os(err, rc, "cannot make the directory %s", r->quarantine);
}

/* A log that ends before what the catalogue says was flushed from it is not the one that belongs to it. */
static pomai_status check_flushed(const pm_db *db, pomai_error *err)
{
    const pm_catalog *catalog = atomic_load(&db->catalog);
    for (uint32_t c = 0; c < catalog->count; c++)
        for (uint32_t s = 0; s < db->shared.shards; s++) {
            const uint64_t flushed = catalog->coll[c]->shard[s].flushed, end = pm_shard_end_lsn(db->shared.shard[s]);
            if (flushed > end)
                return pm_fail(
                    err, POMAI_ECORRUPT,
                    "the log of shard %u ends at LSN %llu, but the collection %s was flushed up to LSN %llu; "
                    "restore log and catalogue from the same copy",
                    s, (unsigned long long)end, catalog->coll[c]->name, (unsigned long long)flushed);
        }
    return POMAI_OK;
}

/* Batch ids begin above all that were ever used: log files tell of openings that wrote, and the manifest of one that
 * only refused, whose ids count as resolved. */
static void count_opening(pm_db *db)
{
    pm_shared *shared = &db->shared;
    for (uint32_t i = 0; i < shared->shards; i++) {
        const uint64_t resolved = db->manifest.shard[i].resolved >> 40;
        shared->open_counter = pm_max_u64(shared->open_counter, pm_shard_open_counter(shared->shard[i]));
        shared->open_counter = pm_max_u64(shared->open_counter, resolved);
    }
}

/* Segments are whole, whatever happened to the log that their rows came from. */
static void show_segments(pm_db *db)
{
    const pm_catalog *catalog = atomic_load(&db->catalog);
    for (uint32_t c = 0; c < catalog->count; c++)
        for (uint32_t s = 0; s < db->shared.shards; s++)
            pm_shard_show_segments(db->shared.shard[s], catalog->coll[c]->shard[s].flushed);
}

static pomai_status recover(pm_db *db, bool accept_damage, pomai_error *err)
{
    recovery *r = pm_calloc(1, sizeof *r);
    if (r == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
    r->db = db;
    r->accept_damage = accept_damage;
    r->quarantine = pm_layout_path(db->path, "quarantine");
    pomai_status status = POMAI_OK;
    if (r->quarantine == NULL) status = pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
    if (status == POMAI_OK) status = run_phase(r, PHASE_SCAN, err);
    if (status == POMAI_OK) PM_POINT(RECOVERY_SCANNED);
    if (status == POMAI_OK && !accept_damage) status = check_flushed(db, err);
    if (status == POMAI_OK) status = decide_batches(r, err);
    if (status == POMAI_OK) status = run_phase(r, PHASE_REPLAY, err);
    if (status == POMAI_OK && accept_damage) show_segments(db);
    if (status == POMAI_OK) {
        count_opening(db);
        if (!PM_MUTANT(BATCH_IDS_REUSED)) db->shared.open_counter++;
        fill_report(r);
    }
    if (status == POMAI_OK && !db->readonly) {
        status = make_quarantine(r, err);
        if (status == POMAI_OK) status = run_phase(r, PHASE_SETTLE, err);
    }
    if (status == POMAI_OK) PM_POINT(RECOVERY_DONE);
    for (uint32_t i = 0; i < db->shared.shards; i++)
        pm_shard_recovered(db->shared.shard[i]);
    for (uint32_t i = 0; i < PM_MAX_SHARDS; i++) {
        pm_free(r->work[i].notes.data);
        pm_free(r->work[i].aborts);
    }
    pm_free(r->aborted);
    pm_free(r->quarantine);
    pm_free(r);
    return status;
}

/* The next assigned id is above every id that was ever put. */
static void set_next_ids(pm_db *db)
{
    const pm_catalog *catalog = atomic_load(&db->catalog);
    for (uint32_t c = 0; c < catalog->count; c++) {
        pm_coll *coll = catalog->coll[c];
        uint64_t next = atomic_load(&coll->next_id); /* as of the last flush */
        for (uint32_t s = 0; s < db->shared.shards; s++) {
            const uint64_t *largest = pm_memtable_largest_id(coll->shard[s].table);
            if (largest == NULL) continue;
            next = pm_max_u64(next, *largest == UINT64_MAX ? *largest : *largest + !PM_MUTANT(NEXT_ID_IS_LARGEST));
        }
        atomic_store(&coll->next_id, PM_MUTANT(NEXT_ID_RESTARTS) ? 0 : next);
    }
}

/* ---- opening and closing ---- */

static void release(pm_db *db)
{
    const pm_os *os = db->os;
    pm_pool_free(db->pool);
    pm_maintenance_free(db);
    for (size_t i = 0; i < db->graves; i++)
        pm_coll_free(db->graveyard[i]);
    pm_free(db->graveyard);
    for (uint32_t i = 0; i < db->shared.shards; i++)
        pm_shard_free(db->shared.shard[i]);
    for (pm_catalog *c = atomic_load(&db->catalog); c != NULL;) {
        pm_catalog *older = c->older;
        pm_free(c);
        c = older;
    }
    pm_manifest_clear(&db->manifest);
    pm_layout_unlock(os, &db->lock);
    pm_free(db->notes.data);
    if (!PM_MUTANT(OPEN_LEAKS)) pm_free(db->manifest_dir);
    pm_free(db->path);
    pm_free(db);
}

static pomai_status make_shards(pm_db *db, pomai_error *err)
{
    pm_shared *shared = &db->shared;
    const uint32_t shards = db->manifest.shards;
    shared->next_collection = db->manifest.next_collection;
    for (uint32_t i = 0; i < shards; i++) {
        char *dir = pm_layout_path(db->path, "shards/%u/%u", PM_EPOCH, i);
        if (dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
        shared->shard[i] = pm_shard_make(shared, i, dir, db->manifest.uuid, err);
        pm_free(dir);
        if (shared->shard[i] == NULL) return POMAI_ENOMEM;
        shared->shards = i + 1;
    }
    return POMAI_OK;
}

static pomai_status start(pm_db *db, const pomai_open_options *o, pomai_error *err)
{
    const pm_os *os = db->os;
    db->simd = pm_simd_best(os->env(os, "POMAI_SIMD"));
    db->convert = db->simd->convert;
    uint32_t helpers = o->search_threads == 0            ? os->cores(os) - 1
                       : o->search_threads == UINT32_MAX ? 0
                                                         : o->search_threads;
    db->pool = pm_pool_make(os, helpers, false);
    int rc = os->random(os, &db->shared.hash_seed, sizeof db->shared.hash_seed);
    db->shared.segment_seed = pm_segment_seed(db->manifest.uuid);
    pm_clock_at_least(&db->shared, db->manifest.clock);
    if (db->pool == NULL) return pm_fail(err, POMAI_ENOMEM, "cannot start %u search threads", helpers);
    if (rc != 0) return pm_fail_os(err, rc, "no random bytes");
    return POMAI_OK;
}

static pomai_status open_parts(pm_db *db, const pomai_open_options *o, pomai_error *err)
{
    const pm_os *os = db->os;
    pomai_status status = lock_and_make(db, o, err);
    if (status == POMAI_OK) status = pm_manifest_read(os, db->manifest_dir, &db->manifest, err);
    if (status != POMAI_OK) return status;
    if (!db->readonly) { /* after kill -9 the rename that made CURRENT may not be on disk yet */
        int rc = PM_MUTANT(RECOVERED_CURRENT_NOT_SYNCED) ? 0 : os->dir_sync(os, db->manifest_dir);
        if (rc != 0) return pm_fail_os(err, rc, "cannot sync %s", db->manifest_dir);
    }
    memcpy(db->uuid, db->manifest.uuid, sizeof db->uuid);
    status = start(db, o, err);
    if (status == POMAI_OK) status = make_shards(db, err);
    if (status == POMAI_OK) status = pm_db_load_catalog(db, err);
    if (status == POMAI_OK) status = recover(db, (o->flags & POMAI_OPEN_ACCEPT_DAMAGE) != 0, err);
    if (status != POMAI_OK) return status;
    set_next_ids(db);
    if (!PM_MUTANT(RECOVERED_NOT_FROZEN)) (void)pm_db_freeze(db, NULL); /* what was found does not change any more */
    atomic_store(&db->shared.batch_sequence, 1);
    if (db->readonly) return POMAI_OK;
    uint64_t largest;
    pm_layout_settle(os, db->path, &db->manifest);
    pm_segments_remove_others(db, &largest);
    db->maintenance.next_segment = pm_max_u64(db->manifest.next_segment, largest + 1);
    for (uint32_t i = 0; i < db->shared.shards && status == POMAI_OK; i++)
        status = pm_shard_start(db->shared.shard[i], err);
    if (status == POMAI_OK) status = pm_maintenance_start(db, err);
    if (status != POMAI_OK) {
        atomic_store(&db->shared.closing, true);
        for (uint32_t i = 0; i < db->shared.shards; i++)
            pm_shard_stop(db->shared.shard[i]);
    }
    return status;
}

pomai_status pm_db_open(const pm_os *os, const char *given_path, const pomai_open_options *options, pm_db **out,
                        pomai_error *err)
{
    const pomai_open_options defaults = POMAI_OPEN_OPTIONS_INIT;
    const pomai_open_options *o = options == NULL ? &defaults : options;
    char path[PM_DB_PATH_MAX + 1]; /* absolute: the application may change its directory */
    *out = NULL;
    if (given_path == NULL || given_path[0] == '\0')
        return pm_fail(err, POMAI_EINVAL, "the path of the database is empty");
    int rc = os->path_absolute(os, given_path, path, sizeof path);
    if (rc == -ENAMETOOLONG || rc == -ERANGE)
        return pm_fail(err, POMAI_ETOOBIG, "the path of the database has more than %d bytes: %.80s...", PM_DB_PATH_MAX,
                       given_path);
    if (rc != 0) return pm_fail_os(err, rc, "cannot find out where %s is", given_path);
    pomai_status status = check_options(o, err);
    if (status != POMAI_OK) return status;
    uint64_t begin = os->now_ns(os);
    pm_db *db = pm_malloc_aligned(64, pm_align_up(sizeof *db, 64));
    if (db == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
    memset(db, 0, sizeof *db);
    db->os = os;
    db->lock = (pm_lock){-1, -1};
    db->shared.os = os;
    db->default_handle.db = db;
    atomic_store(&db->shared.pool_free, UINT64_MAX);
    set_options(db, o);
    db->path = pm_malloc(strlen(path) + 1);
    db->manifest_dir = pm_layout_path(path, "manifest");
    if (db->path != NULL) memcpy(db->path, path, strlen(path) + 1);
    if (db->path == NULL || db->manifest_dir == NULL)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
    if (status == POMAI_OK) status = open_parts(db, o, err);
    if (status != POMAI_OK) {
        release(db);
        return status;
    }
    db->report.open_ns = os->now_ns(os) - begin;
    *out = db;
    return POMAI_OK;
}

pomai_status pm_db_close(pm_db *db, pomai_error *err)
{
    int64_t handles = atomic_load(&db->open_handles);
    if (handles > 0)
        return pm_fail(
            err, POMAI_EBUSY,
            "%lld collections, tickets, blocks, snapshots or scans of the database are still open; close them first",
            (long long)handles);
    pomai_status status = POMAI_OK;
    if (!db->readonly) {
        pm_maintenance_stop(db);
        atomic_store(&db->shared.closing, true);
        for (uint32_t i = 0; i < db->shared.shards; i++)
            pm_shard_wake(db->shared.shard[i]);
        for (uint32_t i = 0; i < db->shared.shards; i++)
            pm_shard_stop(db->shared.shard[i]);
        if (pm_stopped(&db->shared)) status = pm_stopped_error(&db->shared, err);
    }
    release(db);
    return status;
}

pomai_status pm_db_sync(pm_db *db, pomai_error *err)
{
    for (uint32_t i = 0; !db->readonly && i < db->shared.shards; i++) {
        pomai_status status = pm_shard_sync(db->shared.shard[i], err);
        if (status != POMAI_OK) return status;
    }
    return POMAI_OK;
}
