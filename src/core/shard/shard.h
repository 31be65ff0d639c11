/* SPDX-License-Identifier: Apache-2.0 */
/* The shard actor, its log writer, and the batches that travel between them: docs/threads.md. */
#ifndef PM_CORE_SHARD_H
#define PM_CORE_SHARD_H

#include "base/base.h"
#include "os/os.h"
#include "storage/manifest/manifest.h"
#include "storage/memtable/memtable.h"
#include "storage/wal/wal.h"

typedef struct pm_shard pm_shard;
typedef struct pm_batch pm_batch;

/* A collection, as shards and readers see it. Lives until the database is closed. */
typedef struct pm_coll {
    uint32_t id;
    uint32_t dim;
    pomai_metric metric;
    pomai_id_kind id_kind;
    char name[POMAI_MAX_NAME + 1];
    _Atomic bool dropped;
    _Atomic bool drop_unsure; /* a drop failed half-way: the next opening may not find it */
    _Atomic uint64_t next_id; /* the next to be assigned; above every id ever put */
    _Atomic uint64_t puts, put_rows, deletes, gets, searches, queries;
    pm_memtable *table[]; /* one a shard */
} pm_coll;

/* Counts of a log2 histogram with four steps an octave, in nanoseconds. */
enum { PM_HIST_BUCKETS = 160 };
typedef struct pm_hist {
    _Atomic uint64_t bucket[PM_HIST_BUCKETS];
} pm_hist;
void pm_hist_add(pm_hist *hist, uint64_t ns);
/* The upper bound of the bucket in which the quantile lies; 0 if empty. */
uint64_t pm_hist_quantile(const pm_hist *hist, double quantile, uint64_t *count);

/* ---- batches ---- */

typedef enum pm_outcome {
    PM_PENDING,
    PM_DECIDED, /* every part is durable at its level */
    PM_REFUSED, /* a shard did not take its part, and never will: the batch cannot become whole */
    PM_UNKNOWN, /* a log failed under a part that was encoded */
} pm_outcome;

/* The rows of a batch that belong to one shard: one log record. */
typedef struct pm_part {
    pm_batch *batch;
    uint32_t shard;
    uint32_t number;
    uint32_t rows;
    uint32_t first;        /* rows first, first + 1, ... of the batch, if index is NULL */
    const uint32_t *index; /* else these */
    uint64_t lsn;
} pm_part;

enum { PM_INLINE_PARTS = 8 };

struct pm_batch {
    /* set before admission, then constant */
    pm_coll *coll;
    uint8_t op; /* PM_OP_ */
    pomai_durability level;
    uint64_t id;
    uint64_t admitted_ns;
    const float *vectors; /* borrowed from the caller, or the adopted block */
    const uint64_t *u64_ids;
    const pomai_bytes *string_ids;
    const pomai_bytes *documents;
    uint64_t first_id; /* assigned ids: if u64_ids and string_ids are NULL */
    bool adopt;        /* vectors become the memtable's storage */
    uint32_t rows;
    uint32_t parts;
    pm_part *part;
    uint32_t *index; /* owned; behind the parts' index */
    /* counted by the parts */
    _Atomic uint32_t undurable;
    _Atomic uint32_t unapplied;
    _Atomic uint32_t outcome;    /* pm_outcome, moves once */
    _Atomic bool unsynced;       /* at least one part was acknowledged without a sync */
    _Atomic uint64_t rows_there; /* of a delete */
    /* written by the one who moves outcome to REFUSED or UNKNOWN, before the last part is done */
    pomai_error error;
    /* the end */
    uint64_t stamp;           /* of part 0 */
    _Atomic uint32_t word;    /* 0 under way, 1 somebody sleeps on it, 2 done */
    _Atomic uint32_t holders; /* the caller, and each part */
    int pool_slot;            /* -1: from malloc */
    pm_part inline_part[PM_INLINE_PARTS];
};

enum { PM_POOL_SLOTS = 64 };

/* What all shards of a database share. */
typedef struct pm_shared {
    const pm_os *os;
    uint32_t shards;
    pm_shard *shard[PM_MAX_SHARDS];
    /* options */
    uint32_t mailbox_slots;
    uint64_t wal_file_bytes;
    uint64_t group_ns;
    bool strict_mark;
    /* state */
    uint64_t open_counter;
    uint32_t next_collection; /* as the catalogue was when it was opened; records of others are not possible */
    _Atomic uint64_t batch_sequence;
    _Atomic uint32_t stopped; /* 0 running, 1 the error is being written, 2 stopped */
    pomai_error stop_error;   /* valid when stopped == 2 */
    _Atomic bool closing;
    _Atomic uint64_t pool_free; /* a bit a slot */
    pm_batch pool[PM_POOL_SLOTS];
    pm_hist put_latency;
} pm_shared;

static inline bool pm_stopped(const pm_shared *shared)
{
    return atomic_load(&shared->stopped) != 0;
}
/* Stops all writing, once and for ever; the first error stays. */
void pm_stop(pm_shared *shared, const pomai_error *error);
/* POMAI_ESTOPPED with the reason. */
pomai_status pm_stopped_error(const pm_shared *shared, pomai_error *err);

/* An empty batch held by its caller; NULL: no memory. `parts` are zeroed and numbered. */
pm_batch *pm_batch_take(pm_shared *shared, uint32_t parts);
void pm_batch_drop(pm_shared *shared, pm_batch *batch);
/* Reserves room in the mailboxes of all parts, or in none. until_ns: how long to wait for room. */
pomai_status pm_batch_admit(pm_shared *shared, pm_batch *batch, uint64_t until_ns, pomai_error *err);
/* Sends an admitted batch; cannot fail. help: the caller will wait for it, and may do the shard's work meanwhile. */
void pm_batch_send(pm_shared *shared, pm_batch *batch, bool help);
bool pm_batch_done(const pm_batch *batch);
/* false: not done at until_ns. */
bool pm_batch_wait(pm_shared *shared, pm_batch *batch, uint64_t until_ns);
/* The outcome of a batch that is done. */
pomai_status pm_batch_result(const pm_batch *batch, pomai_ack *ack, pomai_error *err);

/* ---- shards ---- */

/* What recovery found in a shard's log. */
typedef struct pm_recovered_part {
    uint64_t batch;
    uint32_t shard;
    uint32_t part, parts;
    bool aborted; /* an ABORT record, not a part */
} pm_recovered_part;

typedef struct pm_shard_report {
    uint64_t records, rows, bytes, torn_bytes;
    bool torn, damaged;
} pm_shard_report;

typedef struct pm_shard_stats {
    uint64_t visible_lsn, durable_lsn, log_files, log_bytes, slab_bytes, commits, syncs, records, aborts;
    uint64_t queued, mark_writes, commit_ns, commit_ns_p50, commit_ns_p99;
} pm_shard_stats;

/* `dir` is .../shards/<epoch>/<i>; copied. */
pm_shard *pm_shard_make(pm_shared *shared, uint32_t index, const char *dir, const uint8_t uuid[16], pomai_error *err);
void pm_shard_free(pm_shard *shard);
/* Reads the log. The caller may do this for several shards at once. */
pomai_status pm_shard_scan(pm_shard *shard, const pm_manifest_shard *begin, bool accept_damage, pm_text *notes,
                           pomai_error *err);
/* Parts of batches over several records, and aborts; borrowed. */
const pm_recovered_part *pm_shard_parts(const pm_shard *shard, size_t *count);
uint64_t pm_shard_open_counter(const pm_shard *shard);
/* Applies what was read, but for the batches in `aborted` (sorted). find: a collection by id, NULL if it was dropped.
 */
pomai_status pm_shard_replay(pm_shard *shard, const uint64_t *aborted, size_t aborted_count,
                             pm_coll *(*find)(void *context, uint32_t id), void *context, pomai_error *err);
/* Makes the recovery itself durable: quarantine, a new file if the old one's end was torn, ABORT records for `aborts`.
 */
pomai_status pm_shard_settle(pm_shard *shard, const char *quarantine_dir, const uint64_t *aborts, size_t abort_count,
                             pomai_error *err);
void pm_shard_get_report(const pm_shard *shard, pm_shard_report *report);

/* Starts actor and log writer. */
pomai_status pm_shard_start(pm_shard *shard, pomai_error *err);
void pm_shard_wake(pm_shard *shard);
/* After shared->closing was set: waits until all is synced and the threads are gone. */
void pm_shard_stop(pm_shard *shard);

/* The LSN up to which a reader sees this shard. Load it before anything else of the shard. */
uint64_t pm_shard_visible(const pm_shard *shard);
/* Returns when everything encoded so far is synced, or the database stopped. */
pomai_status pm_shard_sync(pm_shard *shard, pomai_error *err);
void pm_shard_get_stats(const pm_shard *shard, pm_shard_stats *stats);

#endif
