/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shard actor: one function that drains, acts and returns. Invariants:
 *  1. At most one job is with the log writer; the next commit is encoded meanwhile.
 *  2. Records are shown in LSN order, each only when its batch is decided.
 *  3. After a failed job nothing more is encoded; what was encoded and is not durable makes its batch UNKNOWN.
 *  4. A new file is begun only when everything in the old one is synced.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

/* A broken invariant is a bug: nothing more is written, in release builds too. Reads go on. */
static void broken(pm_shard *shard, const char *what)
{
    pomai_error error;
    pm_fail(&error, POMAI_EINTERNAL, "broken invariant in shard %u: %s; this is a bug in PomaiDB, please report it",
            shard->index, what);
    pm_stop(shard->shared, &error);
}

/* ---- results of jobs ---- */

/* Without memory for it the file just stays until the database is opened again. */
void pm_shard_note_sealed(pm_shard *shard, const pm_wal_end *end)
{
    pm_sealed *sealed = end->number == 0 ? NULL : pm_malloc(sizeof *sealed);
    if (sealed == NULL) return;
    sealed->end = *end;
    sealed->next = atomic_load(&shard->sealed);
    while (!atomic_compare_exchange_weak(&shard->sealed, &sealed->next, sealed))
        ;
    if (shard->shared->maintenance != NULL) pm_task_wake(shard->shared->maintenance);
}

static void file_begun(pm_shard *shard, const pm_job *job)
{
    pm_shard_note_sealed(shard, &job->end);
    shard->fd = job->new_fd;
    shard->seed = job->new_seed;
    shard->capacity = job->new_capacity;
    shard->end.number = job->end.number == 0 ? shard->scan.first_number : job->end.number + 1;
    shard->end.length = PM_WAL_HEADER;
    shard->synced = shard->written = shard->end;
    shard->rotate = false;
    shard->marked_lsn = shard->end.lsn;
    pm_count(&shard->count_files, 1);
}

static void commit_done(pm_shard *shard, const pm_job *job)
{
    shard->written = job->end;
    if (job->end.lsn < shard->synced.lsn || job->end.lsn > shard->end.lsn) broken(shard, "a commit outside the log");
    if (job->sync) {
        shard->synced = job->end;
        shard->group_waits = false;
        atomic_store_explicit(&shard->durable_lsn, job->end.lsn, memory_order_relaxed);
        pm_count(&shard->count_syncs, 1);
        if (job->mark) shard->marked_lsn = job->end.lsn;
    }
    if (job->span_count > 0) {
        pm_count(&shard->count_commits, 1);
        pm_count(&shard->commit_ns, job->took_ns);
        pm_hist_add(&shard->commit_latency, job->took_ns);
    }
    for (uint64_t i = shard->unapplied; i != shard->pending_end; i++) {
        const pm_pending *p = &shard->pending[i & shard->pending_mask];
        if (p->lsn > job->end.lsn) break;
        if (p->durable || p->part == NULL) continue;
        shard->pending[i & shard->pending_mask].durable = true;
        pm_batch *batch = p->part->batch;
        if (!job->sync) {
            atomic_store_explicit(&batch->unsynced, true, memory_order_relaxed);
            if (batch->level == POMAI_DURABILITY_GROUP && !shard->group_waits) {
                shard->group_waits = !PM_MUTANT(GROUP_NOT_SYNCED);
                shard->group_since = shard->shared->os->now_ns(shard->shared->os);
            }
        }
        pm_batch_part_durable(shard->shared, batch, shard->index);
    }
}

static void part_refused(pm_shard *shard, pm_part *part, const pomai_error *error)
{
    pm_batch_fail(shard->shared, part->batch, PM_REFUSED, error, shard->index);
    pm_batch_part_done(shard->shared, part);
}

/* A full disk refuses the write that needed the new file; the old file stays, and small writes may still fit it. */
static void create_failed(pm_shard *shard, const pm_job *job)
{
    bool mild = job->status == POMAI_ENOSPC || job->status == POMAI_ENOMEM || job->status == POMAI_EACCESS;
    shard->rotate = false;
    if (!mild) {
        shard->failed = true;
        pm_stop(shard->shared, &job->error);
        return;
    }
    shard->aborts_wait = true;
    if (shard->held != NULL) {
        part_refused(shard, shard->held, &job->error);
        shard->held = NULL;
    }
}

static bool take_job_result(pm_shard *shard)
{
    pm_job *job = &shard->job;
    if (atomic_load_explicit(&job->state, memory_order_acquire) != PM_JOB_DONE) return false;
    atomic_store_explicit(&job->state, PM_JOB_IDLE, memory_order_relaxed);
    bool good = job->status == POMAI_OK;
    shard->failed |= !good && job->kind != PM_JOB_CREATE;
    switch (job->kind) {
    case PM_JOB_COMMIT:
        if (good)
            commit_done(shard, job);
        else
            pm_stop(shard->shared, &job->error);
        break;
    case PM_JOB_CREATE:
        if (good)
            file_begun(shard, job);
        else
            create_failed(shard, job);
        break;
    case PM_JOB_MARK:
        if (good)
            shard->marked_lsn = job->end.lsn;
        else
            pm_stop(shard->shared, &job->error);
        pm_count(&shard->count_marks, 1);
        break;
    case PM_JOB_CLOSE:
        shard->fd = -1;
        shard->finished = true;
        break;
    }
    return true;
}

/* ---- showing ---- */

#ifdef POMAI_MUTANTS
/* What is behind `visible` is atomic or published once more, so a sanitizer does not see its ordering. These words are
 * written before it is raised and read after it is loaded. Of one database at a time. */
static uint64_t witness[8][1 << 16];

static uint64_t *witness_of(const pm_shard *shard, uint64_t lsn)
{
    return &witness[shard->index & 7][lsn & 0xffff];
}
#endif

static void apply(pm_shard *shard, pm_pending *p)
{
    pm_batch *batch = p->part->batch;
    uint64_t there = pm_shard_apply(shard, batch->coll, p->part, p->chunk, p->record, p->bytes, &p->more);
    if (there > 0) atomic_fetch_add_explicit(&batch->rows_there, there, memory_order_relaxed);
}

static void forget(pm_shard *shard, const pm_pending *p)
{
    if (p->chunk != NULL) pm_memtable_forget(p->part->batch->coll->shard[shard->index].table, p->chunk);
}

/* Every so many rows what there is counts as frozen: bounded reads see it. Later, if the last are not shown yet. */
static void freeze_softly(pm_shard *shard, pm_coll *coll)
{
    pm_coll_shard *own = &coll->shard[shard->index];
    if (own->thawed < shard->shared->freeze_rows || pm_shard_visible(shard) < shard->applied_lsn) return;
    if (pm_coll_freeze(shard->shared, coll, false)) own->thawed = 0;
}

/* Queues the ABORT of a refused batch. Without memory for it, it stays unwritten, and owed: recovery aborts an
 * incomplete batch anyway, unless the manifest says that it is resolved. */
static void owe_abort(pm_shard *shard, uint64_t batch)
{
    if (PM_MUTANT(ABORT_NOT_OWED)) return;
    if (shard->aborts == shard->abort_capacity) {
        size_t capacity = shard->abort_capacity == 0 ? 8 : shard->abort_capacity * 2;
        uint64_t *abort = pm_realloc(shard->abort, capacity * sizeof *abort);
        if (abort == NULL) {
            shard->aborts_lost = 1;
            atomic_store(&shard->owed, shard->aborts + shard->aborts_lost);
            return;
        }
        shard->abort = abort;
        shard->abort_capacity = capacity;
    }
    shard->abort[shard->aborts++] = batch;
    atomic_store(&shard->owed, shard->aborts + shard->aborts_lost);
}

/* Of a stopped log nothing more becomes durable: all that wait say so at once. */
static void fail_undurable(pm_shard *shard)
{
    pm_shared *shared = shard->shared;
    if (!pm_stopped(shared) || atomic_load_explicit(&shard->job.state, memory_order_relaxed) != PM_JOB_IDLE) return;
    for (uint64_t i = shard->unapplied; i != shard->pending_end; i++) {
        const pm_pending *p = &shard->pending[i & shard->pending_mask];
        if (p->part == NULL || p->durable) continue;
        if (atomic_load_explicit(&p->part->batch->outcome, memory_order_acquire) != PM_PENDING) continue;
        pomai_error error = {0};
        pm_fail(&error, POMAI_EUNKNOWN,
                "a log failed while this write was under way; close and reopen the database to learn whether it is "
                "there; the error was: %.300s",
                atomic_load(&shared->stopped) == 2 ? shared->stop_error.message : "of another shard");
        pm_batch_fail(shared, p->part->batch, PM_UNKNOWN, &error, shard->index);
    }
}

/* Lets go of the records that others have shown meanwhile; whether there were any. */
static bool let_flipped_go(pm_shard *shard)
{
    const uint64_t flipped = atomic_load(&shard->flipped), first = shard->pending_first;
    while (shard->pending_first != flipped)
        pm_pages_let_go(shard->pending[shard->pending_first++ & shard->pending_mask].pages);
    return shard->pending_first != first;
}

/* Nothing before it is held: it is shown now. */
static void show_alone(pm_shard *shard, uint64_t place)
{
    const pm_pending *p = &shard->pending[place & shard->pending_mask];
    (void)let_flipped_go(shard);
    if (p->more != 0) pm_tally_add(&p->part->batch->coll->shard[shard->index], p->lsn, p->more);
    PM_POINT(ROWS_COUNTED);
    atomic_store_explicit(&shard->visible, p->lsn, PM_MUTANT_ORDER(VISIBLE_RELAXED, memory_order_release));
    PM_POINT(ROWS_SHOWN);
    shard->pending_first = place + 1;
    /* In this order: who looks what is held must not find any. */
    atomic_store(&shard->flipped, place + 1);
    atomic_store(&shard->ready, place + 1);
    pm_pages_let_go(p->pages);
    if (p->part != NULL) pm_batch_part_done(shard->shared, p->part);
}

/* From now on it belongs to the shower; so does its batch once that has no part that is not ready. */
static void hold(pm_shard *shard, uint64_t place, pm_batch *several)
{
    atomic_store(&shard->ready, place + 1);
    /* Of a batch the last part asks. What is alone, if what it waited for was shown meanwhile: else the shower, who
     * looks after that, sees it. */
    const bool ask = several != NULL ? atomic_fetch_sub_explicit(&several->unready, 1, memory_order_acq_rel) == 1
                                     : atomic_load(&shard->flipped) == place;
    if (ask) pm_flip(shard->shared);
}

/* In the order of the log. Applied, or of a batch that was refused: then there is nothing to show of it. */
static void show_or_hold(pm_shard *shard, uint64_t place)
{
    const pm_pending *p = &shard->pending[place & shard->pending_mask];
    pm_batch *several = p->part != NULL && !p->refused && p->part->batch->parts > 1 ? p->part->batch : NULL;
    if (PM_MUTANT(SHOWN_APART) || PM_MUTANT(SHOWN_UNDECIDED)) several = NULL;
    if (p->lsn != shard->applied_lsn + 1) broken(shard, "records shown out of order");
    shard->applied_lsn = p->lsn;
    shard->unapplied = place + 1;
#ifdef POMAI_MUTANTS
    *witness_of(shard, p->lsn) = p->lsn;
#endif
    if (several == NULL && atomic_load(&shard->flipped) == place)
        show_alone(shard, place);
    else
        hold(shard, place, several);
}

static bool show_decided(pm_shard *shard)
{
    fail_undurable(shard);
    bool any = let_flipped_go(shard);
    pm_shared *shared = shard->shared;
    while (shard->unapplied != shard->pending_end) {
        const uint64_t place = shard->unapplied;
        pm_pending *p = &shard->pending[place & shard->pending_mask];
        pm_coll *coll = NULL;
        if (p->part != NULL) {
            uint32_t outcome = atomic_load_explicit(&p->part->batch->outcome, memory_order_acquire);
            if (PM_MUTANT(SHOWN_UNDECIDED) && outcome == PM_PENDING && p->durable) outcome = PM_DECIDED;
            bool job_out = atomic_load_explicit(&shard->job.state, memory_order_relaxed) != PM_JOB_IDLE;
            if (outcome == PM_PENDING) break;
            /* A refused record is still to be written, perhaps from the caller's block; a stopped log never writes it.
             */
            if (outcome != PM_DECIDED && !p->durable && (job_out || !pm_stopped(shared))) break;
            if (PM_MUTANT(VISIBLE_FIRST)) atomic_store(&shard->visible, p->lsn);
            if (outcome == PM_DECIDED || PM_MUTANT(REFUSED_SHOWN))
                apply(shard, p);
            else
                forget(shard, p);
            if (outcome == PM_REFUSED && !pm_stopped(shared)) owe_abort(shard, p->part->batch->id);
            PM_POINT(ROWS_APPLIED);
            coll = p->part->batch->coll;
            if (outcome != PM_DECIDED) {
                p->refused = true;
                p->more = 0;
            }
        }
        show_or_hold(shard, place);
        if (coll != NULL) freeze_softly(shard, coll);
        any = true;
    }
    return any;
}

/* ---- taking commands ---- */

static pm_part *take_part(pm_shard *shard)
{
    if (shard->held != NULL) {
        pm_part *part = shard->held;
        shard->held = NULL;
        return part;
    }
    const uint64_t mask = shard->pending_mask >> 1;
    pm_cell *cell = &shard->cell[shard->head & mask];
    if (atomic_load_explicit(&cell->sequence, memory_order_acquire) != shard->head + 1) return NULL;
    pm_part *part = cell->part;
    atomic_store_explicit(&cell->sequence, shard->head + mask + 1, memory_order_release);
    shard->head++;
    return part;
}

static void encode_aborts(pm_shard *shard)
{
    /* Half of the ring is theirs: the other is of parts, each of which keeps its credit as long as it has a place, so
     * that one in the mailbox always finds one. */
    while (shard->aborts > 0 && !shard->aborts_wait && !shard->rotate &&
           shard->pending_end - shard->pending_first <= shard->pending_mask / 2) {
        if (pm_shard_encode_abort(shard, shard->abort[shard->aborts - 1]) != PM_ENCODED) return;
        shard->aborts--;
        atomic_store(&shard->owed, shard->aborts + shard->aborts_lost);
    }
}

static bool take_commands(pm_shard *shard)
{
    bool any = false;
    encode_aborts(shard);
    while (!shard->rotate && shard->pending_end - shard->pending_first <= shard->pending_mask) {
        pm_part *part = take_part(shard);
        if (part == NULL) break;
        any = true;
        if (pm_stopped(shard->shared)) {
            pomai_error error;
            pm_stopped_error(shard->shared, &error);
            part_refused(shard, part, &error);
            continue;
        }
        if (atomic_load_explicit(&part->batch->outcome, memory_order_acquire) != PM_PENDING) {
            pm_batch_part_done(shard->shared, part); /* another shard refused: ours is not even logged */
            continue;
        }
        pomai_error error;
        if (part->batch->expected != NULL) {
            if (pm_shard_judge(shard, part, &error) != POMAI_OK) {
                part_refused(shard, part, &error);
                continue;
            }
            if (part->rows == 0) { /* there is nothing to log */
                pm_batch_part_durable(shard->shared, part->batch, shard->index);
                pm_batch_part_done(shard->shared, part);
                continue;
            }
        }
        pm_encoded encoded = pm_shard_encode(shard, part, &error);
        if (encoded == PM_ENCODED) {
            shard->aborts_wait = false;
            continue;
        }
        if (encoded == PM_ENCODE_FAILED) {
            part_refused(shard, part, &error);
            continue;
        }
        shard->held = part;
        break;
    }
    return any;
}

/* A stopped shard still has to give back what waits for a new file. */
static void release_held(pm_shard *shard)
{
    if (!pm_stopped(shard->shared) || atomic_load_explicit(&shard->job.state, memory_order_relaxed) != PM_JOB_IDLE)
        return;
    shard->rotate = false;
    if (shard->held == NULL) return;
    pomai_error error;
    pm_stopped_error(shard->shared, &error);
    part_refused(shard, shard->held, &error);
    shard->held = NULL;
}

/* ---- giving out jobs ---- */

static void give_job(pm_shard *shard, pm_job_kind kind)
{
    pm_job *job = &shard->job;
    job->kind = kind;
    job->fd = shard->fd;
    job->end = kind == PM_JOB_MARK ? shard->synced : shard->end;
    if (kind == PM_JOB_COMMIT && job->span_count == 0) job->end = shard->written; /* only a sync */
    job->status = POMAI_OK;
    /* the owner sees to it that somebody takes it */
    atomic_store_explicit(&job->state, PM_JOB_READY, memory_order_release);
}

static void give_commit(pm_shard *shard, bool sync)
{
    pm_job *job = &shard->job;
    pm_span *spans = job->spans;
    uint64_t bytes = 0;
    for (size_t i = 0; i < shard->span_count; i++)
        bytes += shard->spans[i].size;
    if (shard->span_count > 0 && shard->spans_at + bytes != shard->end.length) {
        broken(shard, "a commit that does not end where the log ends");
        return;
    }
    job->spans = shard->spans;
    job->span_count = shard->span_count;
    job->offset = shard->spans_at;
    job->sync = sync;
    job->mark = sync && shard->shared->strict_mark;
    shard->spans = spans;
    shard->span_count = 0;
    shard->spans_at = 0;
    shard->want_sync = false;
    give_job(shard, PM_JOB_COMMIT);
}

static void give_create(pm_shard *shard)
{
    pm_job *job = &shard->job;
    /* Files grow with the log, so that a small database stays small. */
    uint64_t grown = pm_max_u64(PM_FIRST_FILE, atomic_load_explicit(&shard->count_bytes, memory_order_relaxed));
    job->capacity_least = pm_align_up(shard->rotate_least, 4096);
    job->capacity = pm_max_u64(pm_min_u64(shard->shared->wal_file_bytes, grown), job->capacity_least);
    give_job(shard, PM_JOB_CREATE);
}

/* Another shard's log failed. What this one acknowledged is still synced when it is due; nothing new is written. */
static uint64_t give_stopped_job(pm_shard *shard, bool closing, bool *gave)
{
    const pm_os *os = shard->shared->os;
    const bool unsynced = !shard->failed && shard->fd >= 0 && shard->synced.lsn < shard->written.lsn;
    const uint64_t due = shard->last_append + pm_min_u64(PM_IDLE_NS, shard->shared->group_ns);
    *gave = true;
    shard->span_count = 0; /* encoded, never to be written */
    shard->spans_at = 0;
    if (unsynced && (closing || os->now_ns(os) >= due)) {
        give_commit(shard, true);
        return PM_FOREVER;
    }
    if (closing && shard->pending_first == shard->pending_end) {
        give_job(shard, PM_JOB_CLOSE);
        return PM_FOREVER;
    }
    *gave = false;
    return unsynced ? due : PM_FOREVER;
}

/* What the log needs next, and when to look again if nothing. */
static uint64_t give_next_job(pm_shard *shard, bool *gave)
{
    const pm_os *os = shard->shared->os;
    *gave = true;
    if (atomic_load_explicit(&shard->job.state, memory_order_relaxed) != PM_JOB_IDLE || shard->finished) {
        *gave = false;
        return PM_FOREVER;
    }
    const bool closing = atomic_load(&shard->shared->closing);
    if (pm_stopped(shard->shared)) return give_stopped_job(shard, closing, gave);
    const bool unsynced = shard->synced.lsn < shard->end.lsn && !(closing && PM_MUTANT(CLOSE_NOT_SYNCED));
    const bool seal = shard->rotate && !PM_MUTANT(SUCCESSOR_FIRST);
    const bool sync_asked = atomic_load(&shard->sync_wanted) > atomic_load(&shard->sync_done);
    const uint64_t now = os->now_ns(os);
    const uint64_t idle_at = shard->last_append + PM_IDLE_NS;
    const bool idle = closing || now >= idle_at;
    const bool group_due = shard->group_waits && now >= shard->group_since + shard->shared->group_ns;
    if (shard->span_count > 0) {
        give_commit(shard, shard->want_sync || sync_asked || seal || group_due || closing);
        return PM_FOREVER;
    }
    if (unsynced && (sync_asked || seal || group_due || idle)) {
        give_commit(shard, true);
        return PM_FOREVER;
    }
    if (shard->rotate) {
        give_create(shard);
        return PM_FOREVER;
    }
    if (!unsynced && shard->marked_lsn < shard->synced.lsn && idle && !PM_MUTANT(MARK_SKIPPED)) {
        give_job(shard, PM_JOB_MARK);
        return PM_FOREVER;
    }
    if (closing && shard->pending_first == shard->pending_end) {
        give_job(shard, PM_JOB_CLOSE);
        return PM_FOREVER;
    }
    *gave = false;
    uint64_t look_at = PM_FOREVER;
    if (unsynced || shard->marked_lsn < shard->synced.lsn) look_at = idle_at;
    if (shard->group_waits) look_at = pm_min_u64(look_at, shard->group_since + shard->shared->group_ns);
    return look_at;
}

static void answer_syncs(pm_shard *shard)
{
    if (shard->sync_noticed == atomic_load(&shard->sync_done)) {
        /* Everything acknowledged before it was asked for is encoded by now. */
        shard->sync_noticed = atomic_load(&shard->sync_wanted);
        shard->sync_target = shard->end.lsn;
        if (shard->sync_noticed == atomic_load(&shard->sync_done)) return;
    }
    if ((shard->synced.lsn < shard->sync_target && !PM_MUTANT(SYNC_RETURNS_EARLY)) || pm_stopped(shard->shared)) return;
    atomic_store(&shard->sync_done, shard->sync_noticed);
    atomic_fetch_add(&shard->sync_word, 1);
    shard->shared->os->word_wake(shard->shared->os, &shard->sync_word);
}

/* A ring that is full of held records, ABORT records that find no room, and a close wait for the shower; whether it was
 * faster. */
static bool await_flips(pm_shard *shard)
{
    const bool waits =
        shard->pending_first != shard->unapplied && (shard->pending_end - shard->pending_first > shard->pending_mask ||
                                                     shard->aborts > 0 || atomic_load(&shard->shared->closing));
    if (waits != atomic_load_explicit(&shard->waits, memory_order_relaxed)) atomic_store(&shard->waits, waits);
    return waits && atomic_load(&shard->flipped) != shard->pending_first;
}

static pm_next shard_step(pm_shard *shard)
{
    bool any = take_job_result(shard);
    release_held(shard);
    any |= show_decided(shard);
    if (shard->index == 0 && atomic_load(&shard->shared->flip_left)) {
        atomic_store(&shard->shared->flip_left, false);
        pm_flip(shard->shared);
    }
    if (pm_shard_asked(shard)) pm_shard_answer(shard);
    any |= take_commands(shard);
    answer_syncs(shard);
    bool gave;
    uint64_t look_at = give_next_job(shard, &gave);
    if (shard->finished) return (pm_next){PM_NEXT_DONE, 0};
    any |= await_flips(shard);
    /* A job that was given may let more be encoded; what was shown or taken may have unblocked something. */
    return any ? (pm_next){PM_NEXT_AGAIN, 0} : (pm_next){PM_NEXT_PARK, look_at};
}

/* ---- being the actor: docs/threads.md, "Helping" ---- */

static bool own(pm_shard *shard)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(&shard->owner, &nobody, 1);
}

static void let_go(pm_shard *shard)
{
    atomic_store_explicit(&shard->owner, 0, PM_MUTANT_ORDER(OWNER_RELAXED, memory_order_seq_cst));
}

static bool job_ready(pm_shard *shard)
{
    return atomic_load(&shard->job.state) == PM_JOB_READY;
}

static pm_next actor_step(void *arg)
{
    pm_shard *shard = arg;
    /* A helper is at it. It wakes us if it leaves something; the short sleep is for its timers. */
    if (!own(shard)) return (pm_next){PM_NEXT_PARK, shard->shared->os->now_ns(shard->shared->os) + PM_RETRY_NS};
    pm_next next = shard_step(shard);
    atomic_store(&shard->parked_until, next.what == PM_NEXT_PARK ? next.until_ns : 0);
    bool ready = job_ready(shard);
    let_go(shard);
    if (ready) pm_task_wake(&shard->writer);
    return next;
}

/* After own() and steps that looked at everything up to `seen`: what is left is for the actor's own thread. */
static void leave(pm_shard *shard, pm_next next, uint32_t seen)
{
    bool ready = job_ready(shard);
    let_go(shard);
    if (ready && !PM_MUTANT(JOB_LEFT_ALONE)) pm_task_wake(&shard->writer);
    if (PM_MUTANT(LEAVE_WAKES_NOBODY)) return;
    if (next.what != PM_NEXT_PARK || atomic_load(&shard->actor.wake) != seen ||
        next.until_ns < atomic_load(&shard->parked_until))
        pm_task_wake(&shard->actor);
}

void pm_shard_help(pm_shard *shard, pm_batch *batch)
{
    /* Our part is in the mailbox. Whoever owns the shard now either sees this, or leaves it to us. */
    atomic_fetch_add(&shard->actor.wake, 1);
    while (own(shard)) {
        pm_next next;
        uint32_t seen;
        int more = PM_HELP_MORE; /* once ours is done: to leave a shard that needs no waking, but not to serve others
                                    for ever */
        do {
            seen = atomic_load(&shard->actor.wake);
            next = shard_step(shard);
        } while (next.what == PM_NEXT_AGAIN && (!pm_batch_done(batch) || more-- > 0));
        bool mine = !pm_batch_done(batch) && pm_job_take(shard);
        leave(shard, next, seen);
        if (!mine) return;
        pm_job_run(shard);
        /* Even if our batch was shown meanwhile, somebody has to take the job's result: we, or who owns the shard now.
         */
        atomic_fetch_add(&shard->actor.wake, 1);
    }
}

/* ---- life ---- */

pm_shard *pm_shard_make(pm_shared *shared, uint32_t index, const char *dir, const uint8_t uuid[16], pomai_error *err)
{
    pm_shard *shard = pm_malloc_aligned(64, sizeof *shard);
    if (shard == NULL) goto no_memory;
    memset(shard, 0, sizeof *shard);
    shard->shared = shared;
    shard->index = index;
    shard->fd = -1;
    shard->mark.fd = -1;
    const size_t dir_size = strlen(dir);
    shard->wal_dir = pm_malloc(dir_size + sizeof "/wal");
    shard->cell = pm_calloc(shared->mailbox_slots, sizeof *shard->cell);
    shard->pending = pm_calloc((size_t)shared->mailbox_slots * 2, sizeof *shard->pending);
    shard->spans = pm_calloc(PM_JOB_SPANS, sizeof *shard->spans);
    shard->job.spans = pm_calloc(PM_JOB_SPANS, sizeof *shard->job.spans);
    if (shard->wal_dir == NULL || shard->cell == NULL || shard->pending == NULL || shard->spans == NULL ||
        shard->job.spans == NULL)
        goto no_memory;
    memcpy(shard->wal_dir, dir, dir_size);
    memcpy(shard->wal_dir + dir_size, "/wal", sizeof "/wal");
    shard->place = (pm_wal_place){.os = shared->os, .dir = shard->wal_dir, .epoch = PM_EPOCH, .shard = index};
    memcpy(shard->place.uuid, uuid, 16);
    shard->pending_mask = (uint64_t)shared->mailbox_slots * 2 - 1;
    for (uint64_t i = 0; i < shared->mailbox_slots; i++)
        atomic_init(&shard->cell[i].sequence, i);
    atomic_init(&shard->credits, (int32_t)shared->mailbox_slots);
    pm_task_init(&shard->actor, shared->os, "pomai-shard", actor_step, shard);
    pm_task_init(&shard->writer, shared->os, "pomai-log", pm_log_writer_step, shard);
    return shard;
no_memory:
    pm_shard_free(shard);
    pm_fail(err, POMAI_ENOMEM, "no memory for shard %u", index);
    return NULL;
}

void pm_shard_free(pm_shard *shard)
{
    if (shard == NULL) return;
    const pm_os *os = shard->shared->os;
    if (shard->fd >= 0) (void)os->file_close(os, shard->fd);
    pm_mark_close(&shard->place, &shard->mark);
    for (uint64_t i = shard->pending_first; shard->pending != NULL && i != shard->pending_end; i++)
        pm_pages_let_go(shard->pending[i & shard->pending_mask].pages);
    pm_pages_let_go(shard->slab.pages);
    pm_pages_let_go(shard->touch_pages);
    pm_shard_recovered(shard);
    for (pm_sealed *s = pm_shard_take_sealed(shard); s != NULL;) {
        pm_sealed *next = s->next;
        pm_free(s);
        s = next;
    }
    pm_free(shard->record);
    pm_free(shard->part);
    pm_free(shard->abort);
    pm_free(shard->spans);
    pm_free(shard->job.spans);
    pm_free(shard->pending);
    pm_free(shard->cell);
    pm_free(shard->wal_dir);
    pm_free(shard);
}

pomai_status pm_shard_start(pm_shard *shard, pomai_error *err)
{
    const pm_os *os = shard->shared->os;
    int rc = os->task_start(&shard->writer);
    if (rc == 0) rc = os->task_start(&shard->actor);
    if (rc != 0) return pm_fail_os(err, rc, "cannot start the threads of shard %u", shard->index);
    return POMAI_OK;
}

void pm_shard_wake(pm_shard *shard)
{
    pm_task_wake(&shard->actor);
}

void pm_shard_stop(pm_shard *shard)
{
    const pm_os *os = shard->shared->os;
    if (shard->writer.started && !shard->actor.started) { /* start failed half-way; nobody else gives jobs */
        give_job(shard, PM_JOB_CLOSE);
        pm_task_wake(&shard->writer);
        shard->fd = -1;
    }
    pm_task_wake(&shard->actor);
    os->task_join(&shard->actor);
    os->task_join(&shard->writer);
}

uint64_t pm_shard_shown_alone(const pm_shard *shard)
{
    const uint64_t visible = atomic_load_explicit(&shard->visible, memory_order_acquire);
#ifdef POMAI_MUTANTS
    if (*(volatile uint64_t *)witness_of(shard, visible) == UINT64_MAX) abort();
#endif
    return visible;
}

pomai_status pm_shard_sync(pm_shard *shard, pomai_error *err)
{
    pm_shared *shared = shard->shared;
    uint64_t wanted = atomic_fetch_add(&shard->sync_wanted, 1) + 1;
    pm_task_wake(&shard->actor);
    for (;;) {
        uint32_t seen = atomic_load(&shard->sync_word);
        if (atomic_load(&shard->sync_done) >= wanted) return POMAI_OK;
        if (pm_stopped(shared)) return pm_stopped_error(shared, err);
        shared->os->word_wait(shared->os, &shard->sync_word, seen, PM_FOREVER);
    }
}

void pm_shard_get_stats(const pm_shard *shard, pm_shard_stats *s)
{
    memset(s, 0, sizeof *s);
    s->visible_lsn = pm_shard_visible(shard);
    s->durable_lsn = atomic_load_explicit(&shard->durable_lsn, memory_order_relaxed);
    s->log_files = atomic_load_explicit(&shard->count_files, memory_order_relaxed);
    s->log_bytes = atomic_load_explicit(&shard->count_bytes, memory_order_relaxed);
    s->slab_bytes = atomic_load_explicit(&shard->slab_bytes, memory_order_relaxed);
    s->commits = atomic_load_explicit(&shard->count_commits, memory_order_relaxed);
    s->syncs = atomic_load_explicit(&shard->count_syncs, memory_order_relaxed);
    s->records = atomic_load_explicit(&shard->count_records, memory_order_relaxed);
    s->aborts = atomic_load_explicit(&shard->count_aborts, memory_order_relaxed);
    s->mark_writes = atomic_load_explicit(&shard->count_marks, memory_order_relaxed);
    int32_t credits = atomic_load_explicit(&shard->credits, memory_order_relaxed);
    s->queued = (uint64_t)((int64_t)shard->shared->mailbox_slots - credits);
    s->commit_ns = atomic_load_explicit(&shard->commit_ns, memory_order_relaxed);
    s->commit_ns_p50 = pm_hist_quantile(&shard->commit_latency, 0.5, NULL);
    s->commit_ns_p99 = pm_hist_quantile(&shard->commit_latency, 0.99, NULL);
}
