/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log writer: runs one shard's jobs. It owns a job from READY to DONE and touches nothing else of the shard. A
 * failed write or sync is reported and never tried again.
 */
#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "core/shard/shard_int.h"

/* The rows live in the slab: the page cache need not hold them too, and reuses warm pages for what comes next. */
static void forget_synced(pm_shard *shard, int fd, uint64_t synced, uint64_t at_least)
{
    const pm_os *os = shard->shared->os;
    if (synced < shard->forgotten + at_least) return;
    os->file_forget(os, fd, shard->forgotten, synced - shard->forgotten);
    shard->forgotten = synced & ~(uint64_t)4095; /* the last page may still grow */
}

static pomai_status run_commit(pm_shard *shard, pm_job *job, pomai_error *err)
{
    const pm_os *os = shard->shared->os;
    int rc = 0;
    PM_POINT(COMMIT_WRITE_BEGIN);
    if (job->span_count > 0) rc = os->file_write(os, job->fd, job->spans, job->span_count, job->offset);
    if (rc != 0)
        return pm_fail(err, POMAI_EIO,
                       "cannot write to log file %llu of %s (errno %d); the writes under way are lost or not: reopen "
                       "to learn it",
                       (unsigned long long)job->end.number, shard->place.dir, -rc);
    PM_POINT(COMMIT_WRITTEN);
    if (!job->sync || PM_MUTANT(ACK_BEFORE_SYNC)) return POMAI_OK;
    rc = os->file_sync(os, job->fd);
    if (rc != 0 && PM_MUTANT(SYNC_TRIED_AGAIN)) rc = os->file_sync(os, job->fd);
    if (rc != 0)
        return pm_fail(err, POMAI_EIO,
                       "cannot sync log file %llu of %s (errno %d); the writes under way are lost or not: reopen to "
                       "learn it",
                       (unsigned long long)job->end.number, shard->place.dir, -rc);
    PM_POINT(COMMIT_SYNCED);
    forget_synced(shard, job->fd, job->end.length, PM_FORGET_BYTES);
    return job->mark ? pm_mark_write(&shard->place, &shard->mark, &job->end, err) : POMAI_OK;
}

/* Everything in the old file is synced (the actor saw to that), so the new one may say so. */
static pomai_status run_create(pm_shard *shard, pm_job *job, pomai_error *err)
{
    const uint64_t number = job->end.number == 0 ? shard->scan.first_number : job->end.number + 1;
    const pm_shared *shared = shard->shared;
    job->new_capacity = job->capacity;
    pomai_status status = pm_wal_create(&shard->place, number, job->capacity, shared->open_counter, &job->end,
                                        &job->new_fd, &job->new_seed, err);
    if (status == POMAI_ENOSPC &&
        job->capacity_least < job->capacity) { /* a full disk may have room for a small file */
        job->new_capacity = job->capacity_least;
        status = pm_wal_create(&shard->place, number, job->capacity_least, shared->open_counter, &job->end,
                               &job->new_fd, &job->new_seed, err);
    }
    if (status != POMAI_OK) return status;
    pm_wal_end mark = job->end;
    mark.number = number;
    mark.length = PM_WAL_HEADER;
    status = pm_mark_write(&shard->place, &shard->mark, &mark, err);
    if (status != POMAI_OK) { /* the actor keeps the old file, and stops */
        (void)shared->os->file_close(shared->os, job->new_fd);
        return status;
    }
    if (job->end.number > 0) pm_wal_trim(&shard->place, job->end.number, job->end.length);
    if (job->fd >= 0) {
        forget_synced(shard, job->fd, job->end.length, 1);
        (void)shared->os->file_close(shared->os, job->fd);
    }
    shard->forgotten = 0;
    return POMAI_OK;
}

static pomai_status run_close(pm_shard *shard, pm_job *job)
{
    const pm_os *os = shard->shared->os;
    if (job->fd < 0) return POMAI_OK;
    /* Not on a log that failed: its end is for recovery to judge. */
    if (!pm_stopped(shard->shared)) (void)os->file_truncate(os, job->fd, job->end.length);
    (void)os->file_close(os, job->fd); /* all of it was synced */
    return POMAI_OK;
}

bool pm_job_take(pm_shard *shard)
{
    uint32_t ready = PM_JOB_READY;
    return atomic_compare_exchange_strong(&shard->job.state, &ready, PM_JOB_TAKEN);
}

void pm_job_run(pm_shard *shard)
{
    pm_job *job = &shard->job;
    const pm_os *os = shard->shared->os;
    uint64_t begin = os->now_ns(os);
    switch (job->kind) {
    case PM_JOB_COMMIT:
        job->status = run_commit(shard, job, &job->error);
        break;
    case PM_JOB_CREATE:
        job->status = run_create(shard, job, &job->error);
        break;
    case PM_JOB_MARK:
        job->status = pm_mark_write(&shard->place, &shard->mark, &job->end, &job->error);
        break;
    case PM_JOB_CLOSE:
        job->status = run_close(shard, job);
        break;
    }
    job->took_ns = os->now_ns(os) - begin;
    atomic_store_explicit(&job->state, PM_JOB_DONE, PM_MUTANT_ORDER(DONE_RELAXED, memory_order_release));
}

/* One piece, so that a job never waits long. */
static bool touch_piece(pm_shard *shard)
{
    size_t left = atomic_load_explicit(&shard->touch_size, memory_order_acquire);
    if (left == 0) return false;
    const pm_os *os = shard->shared->os;
    size_t piece = pm_min_u64(left, PM_TOUCH_PIECE);
    os->pages_touch(os, shard->touch_at, piece);
    shard->touch_at += piece;
    atomic_store_explicit(&shard->touch_size, left - piece, memory_order_release);
    return true;
}

pm_next pm_log_writer_step(void *arg)
{
    pm_shard *shard = arg;
    if (pm_job_take(shard)) {
        bool last = shard->job.kind == PM_JOB_CLOSE;
        pm_job_run(shard);
        pm_task_wake(&shard->actor);
        if (last) return (pm_next){PM_NEXT_DONE, 0};
    }
    if (touch_piece(shard)) return (pm_next){PM_NEXT_AGAIN, 0};
    return (pm_next){PM_NEXT_PARK, PM_FOREVER};
}
