/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting without being deaf to signals, and forks.
 *
 * Only Python's main thread handles signals. There a call that may take long runs in a helper thread, and the main
 * thread looks after signals every 50 ms. If a handler raises (Ctrl-C), a job that can tell what it did is waited for
 * up to a second, as it soon ends (`stopped`); any other, and one that does not, is abandoned: the helper finishes it,
 * and what it holds is freed by a later call, or by the close of the database, which waits for it.
 */
#include "core.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_MS = 50, WRITE_SLICE_US = 100000, STOP_SLICES = 20 };

struct pm_py_shared {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
    bool orphaned; /* nobody waits, and no list has it: the helper cleans up */
};

static unsigned generation = 1;

static void in_child(void)
{
    generation++;
}

int pm_py_wait_init(void)
{
    static bool registered; /* once a process, however many interpreters; under the GIL */
    if (!registered && pthread_atfork(NULL, NULL, in_child) != 0) {
        PyErr_SetString(PyExc_OSError, "pthread_atfork failed");
        return -1;
    }
    registered = true;
    return 0;
}

unsigned pm_py_generation(void)
{
    return generation;
}

bool pm_py_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

int pm_py_wait_idle(pm_py_database *db, const Py_ssize_t *users)
{
    for (;;) {
        pm_py_jobs_reap(db);
        if (*users == 0) return 0;
        struct timespec pause = {0, 1000000};
        Py_BEGIN_ALLOW_THREADS nanosleep(&pause, NULL);
        Py_END_ALLOW_THREADS if (PyErr_CheckSignals() != 0) return -1;
        if (db->generation != pm_py_generation()) return pm_py_refuse_fork(db->base.state);
    }
}

/* ---- jobs ---- */

static bool is_done(pm_py_job *job)
{
    pthread_mutex_lock(&job->shared->mutex);
    bool done = job->shared->done;
    pthread_mutex_unlock(&job->shared->mutex);
    return done;
}

/* Its handles are no longer in use: done once, by whoever sees first that it is done. */
static void settle(pm_py_job *job)
{
    if (job->settled) return;
    job->settled = true;
    if (job->on != NULL) pm_py_end(job->on);
    if (job->snapshot != NULL) pm_py_snapshot_end(job->snapshot);
    if (job->users != NULL) --*job->users;
}

static void unlist(pm_py_job *job)
{
    if (!job->listed) return;
    if (job->previous != NULL)
        job->previous->next = job->next;
    else
        job->on->db->jobs = job->next;
    if (job->next != NULL) job->next->previous = job->previous;
    job->listed = false;
}

static void shared_free(pm_py_job *job)
{
    if (job->shared == NULL) return;
    pthread_cond_destroy(&job->shared->cond);
    pthread_mutex_destroy(&job->shared->mutex);
    free(job->shared);
    job->shared = NULL;
}

void pm_py_job_finish(pm_py_job *job)
{
    settle(job);
    unlist(job);
    shared_free(job);
}

static void *helper(void *argument)
{
    pm_py_job *job = argument;
    job->run(job);
    pthread_mutex_lock(&job->shared->mutex);
    job->shared->done = true;
    bool orphaned = job->shared->orphaned;
    pthread_cond_signal(&job->shared->cond);
    pthread_mutex_unlock(&job->shared->mutex);
    if (orphaned) { /* else the job may be gone by now */
        shared_free(job);
        job->orphan(job);
    }
    return NULL;
}

static bool start(pm_py_job *job)
{
    pthread_t thread;
    job->shared = calloc(1, sizeof *job->shared);
    if (job->shared == NULL) return false;
    pthread_mutex_init(&job->shared->mutex, NULL);
    pthread_cond_init(&job->shared->cond, NULL);
    if (pthread_create(&thread, NULL, helper, job) == 0) {
        pthread_detach(thread);
        return true;
    }
    shared_free(job);
    return false;
}

static bool wait_slice(pm_py_job *job)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += SLICE_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&job->shared->mutex);
    if (!job->shared->done) pthread_cond_timedwait(&job->shared->cond, &job->shared->mutex, &until);
    bool done = job->shared->done;
    pthread_mutex_unlock(&job->shared->mutex);
    return done;
}

static void enlist(pm_py_job *job)
{
    if (job->on == NULL) return;
    pm_py_database *db = job->on->db;
    job->next = db->jobs;
    if (db->jobs != NULL) db->jobs->previous = job;
    db->jobs = job;
    job->listed = true;
}

/* Whether an interrupted job that can tell what it did is done soon; the exception is set. */
static bool stops(pm_py_job *job)
{
    bool done = false;
    __atomic_store_n(&job->cancel, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < STOP_SLICES && job->stopped != NULL && !done; i++) {
        Py_BEGIN_ALLOW_THREADS done = wait_slice(job);
        Py_END_ALLOW_THREADS
    }
    return done;
}

/* Leaves an interrupted job alone; the exception is set. */
static void abandon(pm_py_job *job)
{
    job->abandoned = true;
    if (job->on != NULL) return; /* the list has it */
    pthread_mutex_lock(&job->shared->mutex);
    bool done = job->shared->done;
    job->shared->orphaned = true;
    pthread_mutex_unlock(&job->shared->mutex);
    if (!done) return; /* the helper frees it */
    shared_free(job);
    job->orphan(job);
}

int pm_py_job_run(pm_py_state *state, pm_py_job *job, bool aside)
{
    const unsigned began = generation;
    if (!aside || !pm_py_main_thread() || !start(job)) {
        Py_BEGIN_ALLOW_THREADS job->run(job);
        Py_END_ALLOW_THREADS pm_py_job_finish(job);
        return 0;
    }
    enlist(job); /* under the GIL: nobody has looked since it began */
    for (;;) {
        bool done;
        Py_BEGIN_ALLOW_THREADS done = wait_slice(job);
        Py_END_ALLOW_THREADS if (done) break;
        const bool raised = PyErr_CheckSignals() != 0;
        if (began != generation) /* a signal handler forked: the helper is in the parent, and its job stays as it is */
            return raised ? -1 : pm_py_refuse_fork(state);
        if (!raised) continue;
        if (stops(job)) {
            pm_py_job_finish(job);
            job->stopped(job);
        } else {
            abandon(job);
        }
        return -1;
    }
    pm_py_job_finish(job);
    return 0;
}

void pm_py_jobs_reap(pm_py_database *db)
{
    pm_py_job *next;
    for (pm_py_job *job = db->jobs; job != NULL; job = next) {
        next = job->next;
        if (!is_done(job)) continue;
        settle(job); /* also for one whose thread is in a signal handler, from where the database is closed */
        if (!job->abandoned) continue;
        pm_py_job_finish(job);
        job->release(job);
        next = db->jobs; /* freeing may have run any code */
    }
}

int pm_py_check_signals(pm_py_collection *on)
{
    pm_py_end(on);
    const bool raised = PyErr_CheckSignals() != 0;
    if (pm_py_begin(on) == 0) return raised ? -1 : 0;
    on->users++; /* balances the caller's end */
    on->db->base.users += on != &on->db->base;
    return -1;
}

pomai_status pm_py_write(pm_py_collection *on, pm_py_attempt attempt, void *context, uint64_t deadline_us,
                         pomai_error *err, bool *raised)
{
    uint64_t left = deadline_us;
    *raised = false;
    for (;;) {
        uint64_t slice = left < WRITE_SLICE_US ? left : WRITE_SLICE_US;
        pomai_status status;
        Py_BEGIN_ALLOW_THREADS status = attempt(context, slice, err);
        Py_END_ALLOW_THREADS if ((status != POMAI_EDEADLINE && status != POMAI_EBUSY) || slice == left) return status;
        if (left != UINT64_MAX) left -= slice;
        *raised = pm_py_check_signals(on) != 0;
        if (*raised) return status;
    }
}
