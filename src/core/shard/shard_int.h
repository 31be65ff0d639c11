/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_CORE_SHARD_INT_H
#define PM_CORE_SHARD_INT_H

#include "core/shard/shard.h"

enum {
    PM_JOB_SPANS = 512,
    PM_SPANS_A_RECORD = 3, /* header and ids; an adopted block's vectors; documents */
    PM_IDLE_NS = 10 * 1000 * 1000,
    PM_RETRY_NS = 1000 * 1000,
    PM_CLOCK_AHEAD_NS = 1000 * 1000 * 1000,
    PM_HELP_MORE = 2,
};
#define PM_FIRST_FILE ((uint64_t)4 << 20)
#define PM_SLAB_MOST  ((uint64_t)16 << 20)

/* One position of the mailbox: Vyukov's bounded queue (1024cores.net, 2010); here with a single consumer. */
typedef struct pm_cell {
    _Atomic uint64_t sequence;
    pm_part *part;
} pm_cell;

/* A record from encoding until it is shown. From when it is held until it is flipped it is the shower's, and constant.
 */
typedef struct pm_pending {
    uint64_t lsn;
    pm_part *part;   /* NULL: an ABORT record */
    pm_chunk *chunk; /* of a PUT */
    int64_t more;    /* once applied: how many rows more there are */
    const pm_rec_header *record;
    pm_pages *pages; /* held: where the record is */
    uint64_t bytes;
    bool durable; /* at its batch's level */
    bool refused; /* once applied: its batch was, so there is nothing to show of it */
} pm_pending;

typedef enum pm_job_kind {
    PM_JOB_COMMIT, /* write spans (there may be none), then sync if asked to */
    PM_JOB_CREATE, /* seal the file and begin the next */
    PM_JOB_MARK,
    PM_JOB_CLOSE, /* give back what was allocated ahead, close */
} pm_job_kind;

enum { PM_JOB_IDLE, PM_JOB_READY, PM_JOB_TAKEN, PM_JOB_DONE };

/* What an actor hands to its log writer, or to a caller that helps; at most one under way a shard. Whoever moves state
 * from READY to TAKEN owns it until DONE. */
typedef struct pm_job {
    _Atomic uint32_t state;
    pm_job_kind kind;
    int fd;
    bool sync, mark;
    pm_span *spans;
    size_t span_count;
    uint64_t offset;
    pm_wal_end end;    /* the log's end after this commit; of CREATE and CLOSE: of the file as it is */
    uint64_t capacity; /* of CREATE: wanted, and what the next record needs at least */
    uint64_t capacity_least;
    /* result */
    int new_fd;
    uint32_t new_seed;
    uint64_t new_capacity;
    uint64_t took_ns;
    pomai_status status;
    pomai_error error;
} pm_job;

/* Where records are encoded. Held by the actor while it is the current one, and by every chunk and pending record in
 * it. */
typedef struct pm_slab {
    pm_pages *pages; /* NULL: none yet */
    size_t used;
    size_t touched; /* page faults taken, or asked to be taken, up to here */
} pm_slab;

struct pm_shard {
    pm_shared *shared;
    uint32_t index;
    pm_wal_place place;
    char *wal_dir;

    /* shared with producers */
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic int32_t credits; /* free mailbox slots; one is held from admission until the part is done */
    _Atomic uint32_t room_word;           /* counts credits given back while somebody waits for room */
    _Atomic uint32_t room_waiters;
    _Atomic uint64_t sync_wanted; /* raised by pomai_sync */
    _Atomic uint32_t sync_word;   /* counts completed syncs */
    _Atomic uint64_t sync_done;
    _Atomic uint64_t seal_wanted, seal_done; /* as sync_wanted, by maintenance */
    _Atomic(pm_coll *) rotate_wanted;        /* by maintenance; NULL again when answered */
    pomai_status rotate_status;              /* the answer: ENOMEM, or */
    uint64_t rotate_lsn;                     /* the LSN */
    pm_memtable *rotate_frozen;              /* and what was rotated */
    _Atomic uint32_t answer_word;            /* counts answers to maintenance */
    _Atomic(pm_sealed *) sealed;             /* for maintenance */
    uint64_t aborts_lost;                    /* 1: there was no memory to keep one in mind */
    _Atomic uint64_t owed;                   /* aborts, and lost ones */
    /* shared with readers */
    _Alignas(64) _Atomic uint64_t visible;
    /* shared with the shower (docs/threads.md, "Showing several at once"): places of pending records */
    _Atomic uint64_t ready;   /* those before are applied */
    _Atomic uint64_t flipped; /* those before are shown; the shower's while it is below `ready`, else the owner's */
    _Atomic bool waits;       /* the owner has something to do once records are flipped */

    _Alignas(64) _Atomic uint32_t owner; /* 1: a thread is the actor now, and only it touches what follows */
    _Atomic uint64_t parked_until;       /* when the actor's thread looks again by itself */

    /* the owner's */
    _Alignas(64) uint64_t head;
    pm_cell *cell;
    pm_part *held;                                                /* taken from the mailbox, waits for a new file */
    pm_pending *pending;                                          /* ring */
    uint64_t pending_first, unapplied, pending_end, pending_mask; /* unapplied: the first that is not applied */
    uint64_t applied_lsn;                                         /* of the one before */
    uint64_t *abort;                                              /* batch ids that owe an ABORT record */
    size_t aborts, abort_capacity;
    bool aborts_wait;                   /* the disk was full: only after the next record that fits */
    uint64_t sync_noticed, sync_target; /* the last sync asked for, and the LSN it is about */
    pm_slab slab;
    uint64_t slabs; /* begun */
    int fd;         /* the active file, -1: none yet */
    uint32_t seed;
    uint64_t capacity;     /* of the active file */
    pm_wal_end end;        /* encoded */
    pm_wal_end written;    /* handed to the operating system */
    pm_wal_end synced;     /* known to be on disk */
    bool failed;           /* a job failed: this log takes nothing more */
    bool rotate;           /* the next record needs a new file */
    bool sealing;          /* so does maintenance */
    uint64_t rotate_least; /* how large at least */
    pm_span *spans;        /* of the next commit */
    size_t span_count;
    uint64_t spans_at; /* file offset of the first */
    bool want_sync;
    bool group_waits; /* something at level GROUP is written, not synced */
    uint64_t group_since;
    uint64_t last_append;
    uint64_t marked_lsn;
    bool finished;

    pm_task actor;
    pm_task writer;
    pm_pages *touch_pages;     /* held by the actor while they are touched */
    uint8_t *touch_at;         /* what the log writer is to touch when it has nothing else to do; */
    _Atomic size_t touch_size; /* the writer's until it stores 0 here */
    pm_job job;
    uint64_t forgotten; /* of the active file: the page cache was told to forget it up to here; the job's */
    pm_mark mark;       /* the log writer's, once it runs */

    /* recovery */
    const pm_rec_header **record;
    size_t records, record_capacity;
    pm_recovered_part *part;
    size_t parts, part_capacity;
    pm_wal_scan scan;
    pm_pages **image; /* held until all is replayed */
    size_t images, image_capacity;
    pm_wal_image last_image; /* borrowed from the last of them */
    uint64_t rows_read;

    /* counters: written by the actor, read by anyone */
    _Atomic uint64_t count_commits, count_syncs, count_records, count_bytes, count_aborts, count_marks, count_files;
    _Atomic uint64_t slab_bytes, durable_lsn;
    _Atomic uint64_t commit_ns;
    pm_hist commit_latency;
};

static inline void pm_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* encode.c: actor only */
typedef enum pm_encoded {
    PM_ENCODED,
    PM_ENCODE_WAIT,  /* needs a new file first: rotate is set */
    PM_ENCODE_FULL,  /* the next commit has as many spans as it can */
    PM_ENCODE_FAILED /* no memory: the error is filled */
} pm_encoded;
pm_encoded pm_shard_encode(pm_shard *shard, pm_part *part, pomai_error *err);
pm_encoded pm_shard_encode_abort(pm_shard *shard, uint64_t batch);

/* batch.c */
/* Moves outcome from PENDING; the winner's error is kept. Wakes the batch's other shards. */
void pm_batch_fail(pm_shared *shared, pm_batch *batch, pm_outcome outcome, const pomai_error *error, uint32_t self);
void pm_batch_part_durable(pm_shared *shared, pm_batch *batch, uint32_t self);
void pm_batch_part_done(pm_shared *shared, pm_part *part);

enum { PM_FORGET_BYTES = 8 << 20, PM_TOUCH_AHEAD = 4 << 20, PM_TOUCH_PIECE = 512 << 10 };

/* log_writer.c */
pm_next pm_log_writer_step(void *arg);
/* false: there was no job to take. */
bool pm_job_take(pm_shard *shard);
/* Runs a job that was taken. */
void pm_job_run(pm_shard *shard);

/* shown.c */
/* Of whoever shows the shard's records, or recovery: from `lsn` on, which is not shown yet, there are `rows` more. */
void pm_tally_add(pm_coll_shard *own, uint64_t lsn, int64_t rows);
/* Ends a row of a segment, and of what replaces it; false: it had an end. */
bool pm_end_in_segment(pm_segment *segment, uint32_t row, uint64_t lsn);
/* The row of an id that has no end: 0 if there is none, or (segment + 1) << 32 | row. */
pomai_status pm_find_live(const pm_shown *shown, const pm_id *id, uint64_t hash, uint64_t *hint, pomai_error *err);

/* condition.c: actor only. Takes the rows out of a part whose condition does not hold. POMAI_ECORRUPT: it cannot be
 * known. */
pomai_status pm_shard_judge(pm_shard *shard, pm_part *part, pomai_error *err);

/* apply.c: actor only, or recovery */
/* Applies a record that was decided; how many rows it ended, of a DELETE, and how many *more there are. part NULL:
 * replay. A damaged segment stops the database. */
uint64_t pm_shard_apply(pm_shard *shard, pm_coll *coll, const pm_part *part, pm_chunk *chunk,
                        const pm_rec_header *record, uint64_t bytes, int64_t *more);
/* Answers rotate_wanted and seal_wanted. */
void pm_shard_answer(pm_shard *shard);

/* Whether there is anything to answer: once every step, and almost never. */
static inline bool pm_shard_asked(pm_shard *shard)
{
    return atomic_load_explicit(&shard->rotate_wanted, memory_order_acquire) != NULL ||
           atomic_load(&shard->seal_wanted) != atomic_load(&shard->seal_done);
}

/* flip.c */
/* Shows what is held and can be shown; by anybody. */
void pm_flip(pm_shared *shared);

/* shard.c */
/* The LSN up to which the owner showed the shard; flips may have shown more. */
uint64_t pm_shard_shown_alone(const pm_shard *shard);
/* For pm_shard_take_sealed. */
void pm_shard_note_sealed(pm_shard *shard, const pm_wal_end *end);
/* The thread of an admitted batch does the shard's work until the batch is done or somebody else is at it.
 */
void pm_shard_help(pm_shard *shard, pm_batch *batch);

#endif
