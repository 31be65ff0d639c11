/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maintenance task: it flushes, retires, compacts and frees, one thing at a time, and nobody waits for it but who
 * asked, and puts while too much is in memory. docs/lifecycle.md.
 */
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "core/engine/engine.h"

#define MS ((uint64_t)1000 * 1000)
enum { RETRY_LEAST_MS = 50, RETRY_MOST_MS = 5000, LIMBO_MS = 2, LOOK_MS = 250, LOOK_ANYWAY_MS = 10000, PACE_MS = 20 };
enum { QUIET_MS = 10000, MERGE_FLUSHES = 4 };
enum { QUIET_RETRY_LEAST_MS = 10 * 1000, LARGE_RETRY_MOST_MS = 600 * 1000 };
enum { DERIVE_PIECE_MS = 1, DERIVE_REST = 9, DERIVE_REST_MOST_MS = 100 };
#define DERIVE_BUSY ((uint64_t)128 << 20) /* bytes of log a second that want the cores for themselves */

/* ---- what went wrong ---- */

/* Flushes do not wait for what compactions fail at, nor these for large merges, codes and graphs, which may take what
 * is left of a disk each time, and so are tried seldom. */
static void note_result(pm_db *db, pm_trial *trial, pomai_status status, const pomai_error *error)
{
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    os->mutex_lock(os, &db->state);
    if (status != POMAI_OK) trial->error = *error;
    trial->error.status = status;
    os->mutex_unlock(os, &db->state);
    if (status == POMAI_OK) {
        trial->wait_ns = 0;
        return;
    }
    atomic_fetch_add_explicit(&trial->failures, 1, memory_order_relaxed);
    const uint64_t least = trial == &m->quiet ? QUIET_RETRY_LEAST_MS : RETRY_LEAST_MS;
    const uint64_t most = trial == &m->flushing || trial == &m->compacting ? RETRY_MOST_MS : LARGE_RETRY_MOST_MS;
    trial->wait_ns = pm_min_u64(pm_max_u64(trial->wait_ns * 2, least * MS), most * MS);
    trial->again_at = os->now_ns(os) + trial->wait_ns;
}

/* ---- requests ---- */

static void answer(pm_db *db, pm_request *r, uint64_t upto, pomai_status status, const pomai_error *error)
{
    const pm_os *os = db->os;
    os->mutex_lock(os, &db->state);
    r->status = status;
    if (status != POMAI_OK) r->error = *error;
    os->mutex_unlock(os, &db->state);
    atomic_store(&r->done, upto);
    atomic_fetch_add(&db->maintenance.answer_word, 1);
    os->word_wake(os, &db->maintenance.answer_word);
}

/* Until it is answered: a caller with a deadline, or who may change their mind, looks now and then. */
static pomai_status wait_for(pm_db *db, const pm_request *r, uint64_t wanted, uint64_t until_ns,
                             const volatile int *cancel, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    for (;;) {
        const uint32_t seen = atomic_load(&m->answer_word);
        if (atomic_load(&r->done) >= wanted) return POMAI_OK;
        const uint64_t now = os->now_ns(os);
        if (now >= until_ns || (cancel != NULL && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0))
            return pm_fail(err, POMAI_EDEADLINE,
                           "it was not done before the deadline, or was cancelled; what is left "
                           "is done in the background");
        os->word_wait(os, &m->answer_word, seen, cancel == NULL ? until_ns : pm_min_u64(until_ns, now + PACE_MS * MS));
    }
}

/* only: where it is said for which collection; NULL is all. */
static pomai_status ask(pm_db *db, pm_request *r, pm_coll **only, pm_coll *coll, uint64_t until_ns,
                        const volatile int *cancel, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    if (db->readonly)
        return pm_fail(err, POMAI_EREADONLY, "the database is open read-only; open it without POMAI_OPEN_READONLY");
    if (pm_stopped(&db->shared)) return pm_stopped_error(&db->shared, err);
    os->mutex_lock(os, &db->state);
    if (only != NULL && atomic_load(&r->wanted) != atomic_load(&r->done) && *only != coll) coll = NULL; /* then all */
    if (only != NULL) *only = coll;
    const uint64_t wanted = atomic_fetch_add(&r->wanted, 1) + 1;
    os->mutex_unlock(os, &db->state);
    pm_task_wake(&m->task);
    pomai_status status = wait_for(db, r, wanted, until_ns, cancel, err);
    if (status != POMAI_OK) return status;
    os->mutex_lock(os, &db->state);
    status = r->status;
    if (status != POMAI_OK && err != NULL) *err = r->error;
    os->mutex_unlock(os, &db->state);
    return status;
}

pomai_status pm_db_flush(pm_db *db, pomai_error *err)
{
    return ask(db, &db->maintenance.flush, NULL, NULL, PM_FOREVER, NULL, err);
}

pomai_status pm_db_compact(pm_db *db, pm_coll *coll, pomai_error *err)
{
    return ask(db, &db->maintenance.compact, &db->maintenance.compact_only, coll, PM_FOREVER, NULL, err);
}

pomai_status pm_db_build_indexes(pm_db *db, uint64_t until_ns, const volatile int *cancel, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    atomic_fetch_add(&m->derive_waiters, 1);
    pomai_status status = ask(db, &m->derive, NULL, NULL, until_ns, cancel, err);
    atomic_fetch_sub(&m->derive_waiters, 1);
    return status;
}

/* ---- room in memory ---- */

static bool too_much(const pm_db *db)
{
    return atomic_load_explicit(&db->shared.unflushed, memory_order_relaxed) >= db->flush_hard;
}

static pomai_status why_no_room(pm_db *db, pomai_error *err)
{
    const pm_maintenance *m = &db->maintenance;
    pomai_error error;
    db->os->mutex_lock(db->os, &db->state);
    error = m->flushing.error;
    db->os->mutex_unlock(db->os, &db->state);
    if (error.status == POMAI_OK) return POMAI_OK;
    pm_fail(err, error.status, "rows in memory cannot be flushed, and no more are taken until they are: %.380s",
            error.message);
    if (err != NULL) err->os_errno = error.os_errno;
    return error.status;
}

pomai_status pm_db_wait_for_room(pm_db *db, uint64_t until_ns, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    if (!too_much(db)) return POMAI_OK;
    const uint64_t begin = os->now_ns(os);
    pomai_status status = POMAI_OK;
    atomic_fetch_add_explicit(&m->stalls, 1, memory_order_relaxed);
    atomic_fetch_add(&m->room_waiters, 1);
    pm_task_wake(&m->task);
    for (;;) {
        const uint32_t seen = atomic_load(&m->room_word);
        if (!too_much(db) || pm_stopped(&db->shared)) break; /* stopped: admission says so */
        status = why_no_room(db, err);
        if (status != POMAI_OK) break;
        if (until_ns == 0)
            status = pm_fail(err, POMAI_EBUSY,
                             "%llu bytes of rows wait to be flushed; nothing was done: try again, or give a deadline",
                             (unsigned long long)atomic_load(&db->shared.unflushed));
        else if (until_ns != PM_FOREVER && os->now_ns(os) >= until_ns)
            status = pm_fail(err, POMAI_EDEADLINE,
                             "rows in memory were not flushed before the deadline; nothing was "
                             "done");
        if (status != POMAI_OK) break;
        os->word_wait(os, &m->room_word, seen, pm_min_u64(until_ns, os->now_ns(os) + LOOK_MS * MS));
    }
    atomic_fetch_sub(&m->room_waiters, 1);
    atomic_fetch_add_explicit(&m->stall_ns, os->now_ns(os) - begin, memory_order_relaxed);
    return status;
}

/* ---- flushing ---- */

static bool has_rows(pm_db *db, const pm_coll *coll, uint64_t *bytes, uint64_t *oldest)
{
    bool any = false;
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    const pm_shown *shown = atomic_load(&coll->shown);
    *bytes = 0;
    *oldest = UINT64_MAX;
    for (uint32_t s = 0; s < shown->shards; s++) {
        const pm_memtable *const both[] = {shown->table[s].active, shown->table[s].frozen};
        for (int i = 0; i < 2; i++) {
            const uint64_t first = both[i] == NULL ? 0 : pm_memtable_first_lsn(both[i]);
            if (first == 0) continue;
            any = true;
            *bytes += pm_memtable_log_bytes(both[i]);
            *oldest = pm_min_u64(*oldest, first);
        }
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    return any;
}

/* Those that have rows in memory: all, or the one with the most, or (oldest) the one that holds the log. */
static uint32_t choose(pm_db *db, pm_coll **list, bool all, bool oldest)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    uint64_t best = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < catalog->count; i++) {
        uint64_t bytes, first;
        if (!has_rows(db, catalog->coll[i], &bytes, &first)) continue;
        const uint64_t score = oldest ? UINT64_MAX - first : bytes + 1;
        if (all) {
            list[count++] = catalog->coll[i];
        } else if (score > best) {
            list[0] = catalog->coll[i];
            best = score;
            count = 1;
        }
    }
    return count;
}

static pomai_status flush(pm_db *db, bool all, bool oldest, bool seal, pm_compact_mode with, const pm_coll *only,
                          pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    pm_coll **list = pm_calloc(catalog->count + 1, sizeof(pm_coll *));
    if (list == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to flush");
    m->in_flush = true;
    const uint32_t count = choose(db, list, all, oldest);
    pomai_status status = count > 0 || seal ? pm_flush_colls(db, list, count, seal, with, only, err) : POMAI_OK;
    m->in_flush = false;
    m->flushed_at = db->os->now_ns(db->os);
    pm_free(list);
    return status;
}

/* A flush that failed before left memtables as they were then: what came later needs another. */
static pomai_status flush_left(pm_db *db, pomai_error *err)
{
    bool left = false;
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_shown *shown = atomic_load(&catalog->coll[i]->shown);
        for (uint32_t s = 0; s < shown->shards; s++)
            left |= shown->table[s].frozen != NULL;
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    return left ? flush(db, true, false, false, PM_COMPACT_DUE, NULL, err) : POMAI_OK;
}

static pomai_status flush_all(pm_db *db, bool seal, pomai_error *err)
{
    const pomai_status status = flush_left(db, err);
    return status == POMAI_OK ? flush(db, true, false, seal, PM_COMPACT_DUE, NULL, err) : status;
}

/* For who has segments merged afterwards: what can be is written but once. */
static pomai_status flush_and_merge(pm_db *db, bool seal, pm_compact_mode with, const pm_coll *only, pomai_error *err)
{
    pomai_status status = PM_MUTANT(WRITTEN_TWICE) ? POMAI_EBUSY : flush_left(db, err);
    if (status == POMAI_OK) status = flush(db, true, false, seal, with, only, err);
    if (status == POMAI_OK || PM_MUTANT(NOT_FLUSHED_ALONE)) return status;
    if (db->catalogue_broken || pm_stopped(&db->shared)) return status; /* err has the cause */
    return flush_all(db, seal, err);                                    /* which takes less of a disk */
}

/* Which flush is due, if any. */
static bool flush_due(pm_db *db, bool *oldest)
{
    *oldest = false;
    if (pm_stopped(&db->shared)) return false;
    const uint64_t unflushed = atomic_load_explicit(&db->shared.unflushed, memory_order_relaxed);
    if (unflushed >= db->shared.flush_bytes) return true;
    if (unflushed == 0) return false;
    const uint64_t log = pm_log_files_bytes(db);
    atomic_store_explicit(&db->maintenance.log_live_bytes, log, memory_order_relaxed);
    return *oldest = log >= db->log_budget;
}

static bool flush_if_due(pm_db *db)
{
    bool oldest;
    pomai_error error;
    if (!flush_due(db, &oldest)) return false;
    pomai_status status = flush(db, false, oldest, false, PM_COMPACT_DUE, NULL, &error);
    note_result(db, &db->maintenance.flushing, status, &error);
    return true;
}

static bool serve_flush(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    pomai_error error = {0};
    const uint64_t wanted = atomic_load(&m->flush.wanted);
    if (wanted == atomic_load(&m->flush.done)) return false;
    pomai_status status = flush_all(db, false, &error);
    note_result(db, &m->flushing, status, &error);
    answer(db, &m->flush, wanted, status, &error);
    return true;
}

/* ---- pacing ---- */

/* How far compaction trails behind: by half as much again as the rows that live, or nearly as much as they are. */
enum { IN_STEP, BEHIND, FAR_BEHIND };

/* By the ends that the segments have; what only snapshots keep is not compaction's to take. */
static int how_far_behind(pm_db *db)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    uint64_t live = 0, dead = 0;
    pm_epoch_hold hold = pm_epoch_enter(&db->shared.epoch);
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_shown *shown = atomic_load(&catalog->coll[i]->shown);
        uint64_t rows = 0, ended = 0, bytes = 0;
        for (uint32_t s = 0; s < shown->segments; s++) {
            if (shown->segment[s]->set_aside) continue;
            rows += pm_segment_rows(shown->segment[s]);
            ended += pm_segment_ended(shown->segment[s]);
            bytes += pm_segment_entry(shown->segment[s])->bytes;
        }
        ended -= pm_min_u64(ended, atomic_load(&catalog->coll[i]->held_rows));
        const uint64_t a_row = rows == 0 ? 0 : bytes / rows;
        dead += ended * a_row;
        live += (rows - ended) * a_row;
    }
    pm_epoch_leave(&db->shared.epoch, hold);
    dead -= pm_min_u64(dead, db->shared.flush_bytes); /* a small database need not be rewritten all the time */
    return dead <= live / 2 ? IN_STEP : dead <= live / 4 * 3 ? BEHIND : FAR_BEHIND;
}

/* What does not wait for a compaction; the flush that brings still more to compact does, while it is far behind. */
static void flush_between(pm_db *db)
{
    const pm_maintenance *m = &db->maintenance;
    (void)pm_limbo_reclaim(db, false);
    (void)serve_flush(db);
    const uint64_t unflushed = atomic_load_explicit(&db->shared.unflushed, memory_order_relaxed);
    if (m->behind == FAR_BEHIND || (m->behind == BEHIND && unflushed < db->flush_hard / 2)) return;
    if (db->os->now_ns(db->os) >= m->flushing.again_at) (void)flush_if_due(db);
}

/* Somebody waits for a compaction, and it is another than the one that is under way. */
static bool compaction_is_asked_for(const pm_maintenance *m)
{
    return !m->hurried && atomic_load(&m->compact.wanted) != atomic_load(&m->compact.done);
}

pomai_status pm_maintenance_pace(pm_db *db, uint64_t bytes, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    if (m->in_flush) return POMAI_OK; /* puts may wait for it */
    if (atomic_load(&m->closing)) return pm_fail(err, POMAI_EBUSY, "the database is being closed");
    if (pm_stopped(&db->shared)) return pm_stopped_error(&db->shared, err);
    flush_between(db);
    if (m->hurried || m->behind != IN_STEP || db->compact_rate == UINT64_MAX) return POMAI_OK;
    /* So many bytes a second since this piece of work began; a pause that was lost is not made up for. */
    m->paced_bytes += bytes;
    const uint64_t due = m->paced_at + m->paced_bytes * 1000 / (db->compact_rate / MS + 1);
    for (uint64_t now; (now = os->now_ns(os)) < due && !atomic_load(&m->closing);) {
        _Atomic uint32_t nobody = 0;
        if (compaction_is_asked_for(m)) break;
        os->word_wait(os, &nobody, 0, pm_min_u64(due, now + PACE_MS * MS));
        flush_between(db);
    }
    return POMAI_OK;
}

/* ---- compacting ---- */

/* hurried: somebody waits for it */
static bool compact(pm_db *db, const pm_coll *only, pm_compact_mode mode, bool hurried, pomai_status *status,
                    pomai_error *error)
{
    pm_maintenance *m = &db->maintenance;
    bool did = false;
    m->paced_at = db->os->now_ns(db->os);
    m->paced_bytes = 0;
    m->hurried = hurried;
    m->merging = true;
    m->merge_flushes = atomic_load_explicit(&m->flushes, memory_order_relaxed);
    *status = pm_compact_once(db, only, mode, &did, error);
    if (*status == POMAI_EBUSY && atomic_load(&m->closing)) *status = POMAI_OK; /* given up, not failed */
    m->merging = false;
    m->hurried = false;
    return did;
}

/* A merge that only waits for the files of its output: whether it may go on waiting. */
static bool merge_may_wait(pm_db *db)
{
    const pm_maintenance *m = &db->maintenance;
    if (atomic_load(&m->closing) || pm_stopped(&db->shared) || compaction_is_asked_for(m)) return false;
    flush_between(db);
    const uint64_t flushes = atomic_load_explicit(&m->flushes, memory_order_relaxed);
    return flushes - m->merge_flushes < MERGE_FLUSHES && how_far_behind(db) == IN_STEP;
}

/* Of the segments that there are by now: what a writer adds meanwhile would keep it at work for ever. */
static pomai_status compact_all(pm_db *db, const pm_coll *only, pomai_error *err)
{
    pomai_status status = flush_and_merge(db, true, PM_COMPACT_ASKED, only, err);
    db->maintenance.compact_below = db->maintenance.next_segment;
    while (status == POMAI_OK && !atomic_load(&db->maintenance.closing) &&
           compact(db, only, PM_COMPACT_ASKED, true, &status, err))
        ;
    return status;
}

/* ---- dropped collections ---- */

static void show_nothing(void *context, pm_shown *next)
{
    (void)context;
    next->segments = 0;
    next->version++;
    for (uint32_t s = 0; s < next->shards; s++)
        next->table[s].frozen = NULL;
}

/* Its files, and most of its memory. */
static void bury(pm_db *db, pm_coll *coll)
{
    pm_maintenance *m = &db->maintenance;
    pm_shared *shared = &db->shared;
    pm_memtable *frozen;
    uint64_t lsn;
    bool all = true;
    const pm_shown *shown = atomic_load(&coll->shown); /* only rotations change it now, and only we ask for them */
    for (uint32_t s = 0; s < shared->shards; s++) {
        all &= shown->table[s].frozen == NULL; /* else there is another to come */
        if (shown->table[s].frozen != NULL) continue;
        all &= pm_shard_rotate(shared->shard[s], coll, &lsn, &frozen, NULL) == POMAI_OK;
        shown = atomic_load(&coll->shown);
    }
    pm_shown *room = pm_coll_room(shared, coll, 0);
    if (room == NULL || !pm_limbo_reserve(m, shown->segments + shown->shards)) {
        pm_shown_free(room); /* another time */
        return;
    }
    pm_coll_publish(shared, coll, room, show_nothing, NULL);
    for (uint32_t i = 0; i < shown->segments; i++) {
        pm_segment_remove(db->os, pm_segment_where(shown->segment[i])->dir);
        pm_limbo_add(m, pm_free_segment, shown->segment[i]);
    }
    for (uint32_t s = 0; s < shown->shards; s++) {
        if (shown->table[s].frozen == NULL) continue;
        atomic_fetch_sub(&shared->unflushed, pm_memtable_log_bytes(shown->table[s].frozen));
        pm_limbo_add(m, pm_free_memtable, shown->table[s].frozen);
    }
    coll->buried = all;
}

/* ---- the task ---- */

static void bury_dropped(pm_db *db)
{
    if (atomic_load(&db->dropped) == db->maintenance.buried) return;
    db->os->mutex_lock(db->os, &db->admin); /* the list of all collections may move */
    for (size_t i = 0; i < db->graves; i++) {
        pm_coll *coll = db->graveyard[i];
        if (atomic_load(&coll->dropped) && !coll->buried) {
            bury(db, coll);
            if (coll->buried) db->maintenance.buried++;
        }
    }
    db->os->mutex_unlock(db->os, &db->admin);
}

static bool serve(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    pomai_error error = {0};
    db->os->mutex_lock(db->os, &db->state);
    const uint64_t compact_wanted = atomic_load(&m->compact.wanted);
    const pm_coll *only = m->compact_only;
    db->os->mutex_unlock(db->os, &db->state);
    if (serve_flush(db)) return true;
    if (compact_wanted != atomic_load(&m->compact.done)) {
        pomai_status status = compact_all(db, only, &error);
        note_result(db, &db->maintenance.compacting, status, &error);
        answer(db, &m->compact, compact_wanted, status, &error);
        return true;
    }
    return false;
}

/* Before the next flush, so that dead rows do not become more than a part of what there is. */
static bool catch_up(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    pomai_error error = {0};
    pomai_status status;
    const uint64_t changes = atomic_load(&db->changes);
    if (changes == m->changes_measured || pm_stopped(&db->shared)) return false;
    m->behind = how_far_behind(db);
    bool did = false;
    if (m->behind != IN_STEP) {
        did = compact(db, NULL, PM_COMPACT_DUE, false, &status, &error);
        note_result(db, &m->compacting, status, &error);
        did = did && status == POMAI_OK;
    }
    m->behind = IN_STEP;
    if (did)
        m->changes_seen = changes - 1; /* there may be more */
    else
        m->changes_measured = changes;
    return did;
}

static bool compact_if_due(pm_db *db, uint64_t now)
{
    pm_maintenance *m = &db->maintenance;
    const uint64_t changes = atomic_load(&db->changes);
    if (now < m->look_at || (changes == m->changes_seen && now < m->look_anyway_at) || pm_stopped(&db->shared))
        return false;
    m->changes_seen = changes;
    m->look_anyway_at = now + LOOK_ANYWAY_MS * MS;
    pomai_error error = {0};
    pomai_status status;
    bool did = compact(db, NULL, PM_COMPACT_DUE, false, &status, &error);
    note_result(db, &m->compacting, status, &error);
    /* Not between two pieces of a build: that would be given up for the sake of one that may wait. */
    const bool quiet = m->building == 0 && now >= m->flushed_at + QUIET_MS * MS && now >= m->quiet.again_at;
    if (!did && status == POMAI_OK && quiet && !PM_MUTANT(NEVER_QUIET)) {
        did = compact(db, NULL, PM_COMPACT_QUIET, false, &status, &error);
        note_result(db, &m->quiet, status, &error); /* also when nothing is left to merge: then nothing fails */
    }
    if (did) m->changes_seen = changes - 1; /* there may be more */
    m->look_at = did ? 0 : db->os->now_ns(db->os) + LOOK_MS * MS;
    return did;
}

/* All that comes before codes, graphs and the scrub: one thing of it, if there is something to do. */
static bool do_one(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    if (serve(db)) return true;
    const uint64_t now = db->os->now_ns(db->os);
    if (now >= m->compacting.again_at && !PM_MUTANT(NEVER_BEHIND) && catch_up(db)) return true;
    if (now < m->flushing.again_at) return false;
    return flush_if_due(db) || (now >= m->compacting.again_at && compact_if_due(db, now));
}

/* ---- codes and graphs ---- */

/* All that comes before codes and graphs, until there is nothing; false: the database is being closed, or stopped. */
static bool do_all_else(pm_db *db)
{
    do {
        if (atomic_load(&db->maintenance.closing) || pm_stopped(&db->shared)) return false;
        (void)pm_limbo_reclaim(db, false);
        bury_dropped(db); /* a flush may be due for rows of a collection that was dropped: only this ends it */
    } while (do_one(db));
    return true;
}

static void drop_damaged(pm_db *db, uint32_t kind)
{
    pomai_error error = {0};
    if (pm_derive_drop_damaged(db, kind, &error))
        note_result(db, &db->maintenance.deriving[kind].trial, POMAI_ECORRUPT, &error);
}

/* Of one kind, that of one segment, if there is one that it is time to build; false: no. */
static bool derive_if_due(pm_db *db, uint32_t kind, pomai_status *status)
{
    pm_trial *trial = &db->maintenance.deriving[kind].trial;
    pomai_error error = {0};
    bool did = false;
    drop_damaged(db, kind);
    if (pm_stopped(&db->shared) || db->os->now_ns(db->os) < trial->again_at) return false;
    *status = pm_derive_one(db, kind, UINT64_MAX, &did, &error);
    if (did && *status != POMAI_EBUSY) note_result(db, trial, *status, &error); /* else others come first */
    return did;
}

/* What comes before the next piece of a build; false: give it up. */
static bool do_before_build(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    if (m->merging ? !merge_may_wait(db) : !do_all_else(db)) return false;
    /* Codes take a tenth of the time of a graph, columns less, and are needed until there is one. */
    pomai_status status = POMAI_OK;
    for (uint32_t turn = 0; m->building != 0 && pm_derive_order[turn] != m->building; turn++)
        while (status == POMAI_OK && derive_if_due(db, pm_derive_order[turn], &status))
            ;
    return status != POMAI_EBUSY;
}

/* For how long a build rests that worked so long: in proportion to what is written, so that a trickle does not hold it
 * up and a flood is not held up by it. Between them graphs come at the rate of rows as far as the cores go. */
static uint64_t rest_of(pm_db *db, uint64_t worked)
{
    pm_maintenance *m = &db->maintenance;
    const uint64_t now = db->os->now_ns(db->os), taken = atomic_load_explicit(&db->shared.taken, memory_order_relaxed);
    const double seconds = (double)(now - m->looked_at + 1) * 1e-9, bytes = (double)(taken - m->looked_taken);
    const double share = bytes / (seconds * (double)DERIVE_BUSY);
    m->looked_at = now;
    m->looked_taken = taken;
    const uint64_t rest = (uint64_t)((double)(worked * DERIVE_REST) * (share < 1 ? share : 1));
    return pm_min_u64(rest, DERIVE_REST_MOST_MS * MS);
}

bool pm_maintenance_yield(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    const uint64_t worked = os->now_ns(os) - m->yielded_at;
    if (atomic_load(&m->closing) || pm_stopped(&db->shared)) return false;
    if (worked < DERIVE_PIECE_MS * MS) return true; /* rows may be asked for one at a time */
    if (!do_before_build(db)) return false;
    const uint64_t begin = os->now_ns(os), until = begin + rest_of(db, worked);
    bool on = true;
    atomic_store(&m->rests, begin < until);
    for (uint64_t now = begin; on && now < until; now = os->now_ns(os)) {
        _Atomic uint32_t nobody = 0;
        if (atomic_load(&m->derive_waiters) > 0 || m->hurried) break;
        os->word_wait(os, &nobody, 0, pm_min_u64(until, now + PACE_MS * MS));
        on = do_before_build(db);
    }
    if (atomic_exchange(&m->rests, 0) != 0) os->word_wake(os, &m->rests);
    m->yielded_at = os->now_ns(os);
    return on;
}

/* Those of the segments that there are by now, also if it failed before. */
static bool serve_derive(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    pomai_error error = {0};
    const uint64_t wanted = atomic_load(&m->derive.wanted);
    if (wanted == atomic_load(&m->derive.done)) return false;
    pomai_status status = flush_and_merge(db, false, PM_COMPACT_QUIET, NULL, &error);
    note_result(db, &m->flushing, status, &error);
    if (status != POMAI_OK) {
        answer(db, &m->derive, wanted, status, &error);
        return true;
    }
    m->compact_below = m->next_segment;
    while (status == POMAI_OK && atomic_load(&m->derive_waiters) > 0 && !atomic_load(&m->closing) &&
           compact(db, NULL, PM_COMPACT_QUIET, true, &status, &error))
        note_result(db, &m->quiet, status, &error);
    status = POMAI_OK; /* what cannot be merged gets indexes as it is */
    const uint64_t below = m->next_segment;
    for (uint32_t turn = 0; turn + 1 < PM_DERIVED_KINDS && status == POMAI_OK; turn++) {
        const uint32_t kind = pm_derive_order[turn];
        bool did = true;
        drop_damaged(db, kind);
        while (did && status == POMAI_OK && atomic_load(&m->derive_waiters) > 0) {
            status = pm_derive_one(db, kind, below, &did, &error);
            if (did && status != POMAI_EBUSY) note_result(db, &m->deriving[kind].trial, status, &error);
        }
    }
    answer(db, &m->derive, wanted, status, &error);
    return true;
}

static pm_next maintain(void *arg)
{
    pm_db *db = arg;
    pm_maintenance *m = &db->maintenance;
    const pm_os *os = db->os;
    const bool freed = pm_limbo_reclaim(db, false);
    bury_dropped(db);
    if (atomic_load(&m->closing)) {
        pomai_error error = {0};
        if (db->flush_at_close && !pm_stopped(&db->shared))
            note_result(db, &m->flushing, flush_all(db, true, &error), &error);
        (void)serve(db);
        (void)serve_derive(db);
        return (pm_next){PM_NEXT_DONE, 0};
    }
    if (do_one(db)) return (pm_next){PM_NEXT_AGAIN, 0};
    const uint64_t now = os->now_ns(os);
    uint64_t until = now + LOOK_MS * MS;
    if (now >= m->flushing.again_at) {
        if (m->look_at > now) until = pm_max_u64(m->look_at, now + MS); /* else nothing changed since */
        until = pm_min_u64(until, pm_max_u64(pm_scrub_if_due(db, now), now + MS));
    }
    if (serve_derive(db)) return (pm_next){PM_NEXT_AGAIN, 0};
    pomai_status status;
    for (uint32_t turn = 0; turn + 1 < PM_DERIVED_KINDS; turn++)
        if (derive_if_due(db, pm_derive_order[turn], &status)) return (pm_next){PM_NEXT_AGAIN, 0};
    until = pm_min_u64(until, pm_max_u64(pm_watch_if_due(db, now), now + MS));
    if (!freed) until = pm_min_u64(until, now + LIMBO_MS * MS);
    return (pm_next){PM_NEXT_PARK, until};
}

pomai_status pm_maintenance_start(pm_db *db, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    pm_task_init(&m->task, db->os, "pomai-maint", maintain, db);
    db->shared.maintenance = &m->task;
    m->flushed_at = db->os->now_ns(db->os);
    int rc = db->os->task_start(&m->task);
    if (rc == 0) return POMAI_OK;
    db->shared.maintenance = NULL;
    return pm_fail_os(err, rc, "cannot start the maintenance thread");
}

void pm_maintenance_stop(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    if (!m->task.started) return;
    atomic_store(&m->closing, true);
    __atomic_store_n(&m->watch_cancel, 1, __ATOMIC_RELAXED);
    pm_task_wake(&m->task);
    db->os->task_join(&m->task);
}

void pm_maintenance_free(pm_db *db)
{
    pm_maintenance *m = &db->maintenance;
    (void)pm_limbo_reclaim(db, true);
    pm_pool_free(m->builders);
    pm_free(m->waiting.entry);
    pm_free(m->passing.entry);
    for (uint32_t s = 0; s < PM_MAX_SHARDS; s++)
        pm_free(m->files[s].file);
}
