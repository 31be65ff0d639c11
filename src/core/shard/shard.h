/* SPDX-License-Identifier: Apache-2.0 */
/* The shard actor, its log writer, and the batches that travel between them: docs/threads.md. */
#ifndef PM_CORE_SHARD_H
#define PM_CORE_SHARD_H

#include "base/base.h"
#include "os/os.h"
#include "query/view.h"
#include "storage/manifest/manifest.h"
#include "storage/memtable/memtable.h"
#include "storage/segment/segment.h"
#include "storage/wal/wal.h"

typedef struct pm_shard pm_shard;
typedef struct pm_batch pm_batch;

/* How many rows more than at the opening a collection has in a shard, from an LSN on: docs/threads.md, "Counting". */
enum { PM_TALLIES = 4 };
typedef struct pm_tally {
    _Atomic uint64_t lsn;
    _Atomic int64_t rows;
} pm_tally;

/* What a shard keeps of a collection. */
typedef struct pm_coll_shard {
    pm_memtable *table;         /* the actor's: where rows go; the published view has it, too */
    uint64_t thawed;            /* the actor's: rows applied since the last soft freeze */
    uint64_t flushed;           /* at open: records at or below it are in segments */
    int64_t untallied;          /* the shower's, while it tallies */
    _Atomic uint64_t frozen[2]; /* LSNs up to which bounded reads see it; freezes says which is in use */
    _Atomic uint64_t tallies;   /* how many there were but the first, which is of no row */
    pm_tally tally[PM_TALLIES]; /* the last of them, in turn */
} pm_coll_shard;

enum { PM_WATCH_SAMPLES = 256, PM_WATCH_FILTER = 4096 /* bytes of a filter; with longer ones none is watched */ };
typedef enum pm_watch_kind { PM_WATCH_ALL, PM_WATCH_FILTERED, PM_WATCH_KINDS } pm_watch_kind;
/* UNASKED until a search of the kind came, so that nobody else's takes memory. */
enum { PM_WATCH_UNASKED, PM_WATCH_IDLE, PM_WATCH_WANTED, PM_WATCH_TAKING, PM_WATCH_TAKEN };
/* The last comparisons. */
typedef struct pm_watch_samples {
    float wanted[PM_WATCH_SAMPLES], promised[PM_WATCH_SAMPLES], found[PM_WATCH_SAMPLES];
} pm_watch_samples;
/* The recall that searches without a filter get, or those with one (core/engine/watch.c). */
typedef struct pm_watch {
    _Atomic uint32_t state;  /* whose turn it is with the search below */
    _Atomic uint32_t raised; /* how often what searches may miss is halved; with a filter, if not more without */
    _Atomic float missing;   /* times what calibration says is missed, at least 1, was seen to be; 0: not known */
    float *vector;           /* of the search; NULL: none was wanted yet */
    char *filter;            /* with one: room for PM_WATCH_FILTER bytes */
    size_t filter_size;      /* 0: without */
    uint32_t k;
    float asked;
    /* under db->state */
    uint64_t count, all;
    uint32_t least; /* not below, as it was tried: */
    bool lowered;
    pm_watch_samples *samples; /* if count > 0 */
} pm_watch;

/* A collection, as shards and readers see it. Lives until the database is closed. */
typedef struct pm_coll {
    uint32_t id;
    uint32_t dim;
    pomai_dtype dtype;
    pomai_metric metric;
    pomai_id_kind id_kind;
    uint64_t ttl_ns; /* of rows that are put without an expiry; 0: they stay */
    char name[POMAI_MAX_NAME + 1];
    char cluster_by[POMAI_MAX_CLUSTER_BY + 1]; /* "": none */
    pomai_index_kind index;
    _Atomic(pm_shown *) shown; /* read inside shared->epoch */
    _Atomic bool dropped;
    _Atomic uint64_t held_rows; /* of segments, that only snapshots keep, when compaction last looked */
    bool buried;                /* maintenance: its files are gone */
    _Atomic bool drop_unsure;   /* a drop failed half-way: the next opening may not find it */
    _Atomic uint64_t next_id;   /* the next to be assigned; above every id ever put */
    _Atomic uint32_t freezing;  /* 1: a thread writes what bounded reads see */
    _Atomic uint64_t freezes;   /* how often that was; the place of `frozen` that is in use */
    _Atomic uint64_t puts, put_rows, deletes, gets, searches, queries;
    pm_watch watch[PM_WATCH_KINDS];
    pm_coll_shard shard[];
} pm_coll;

/* Bytes of a row's vector. */
static inline size_t pm_coll_stride(const pm_coll *coll)
{
    return (size_t)coll->dim * pm_dtype_size(coll->dtype);
}

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
    uint64_t place; /* in the mailbox, then of its record among the shard's pending ones */
} pm_part;

enum { PM_INLINE_PARTS = 8 };

struct pm_batch {
    /* set before admission, then constant */
    pm_coll *coll;
    uint8_t op; /* PM_OP_ */
    pomai_durability level;
    uint64_t id;
    uint64_t admitted_ns;
    const void *vectors; /* of the collection's type: borrowed from the caller, or the adopted block, or `converted` */
    void *converted;     /* owned; NULL: the caller's were of the collection's type */
    const uint64_t *u64_ids;
    const pomai_bytes *string_ids;
    const pomai_bytes *documents;
    pomai_bytes *encoded;   /* owned; NULL: the caller's documents */
    uint64_t first_id;      /* assigned ids: if u64_ids and string_ids are NULL */
    pm_pages *adopt;        /* vectors are in these pages, which become the memtable's storage */
    const uint64_t *expiry; /* of each row; NULL: what the collection says */
    /* What the caller's thread found in the segments of a view: for each row 0, or (segment + 1) << 32 | row. Counts
     * while the view has the same segments. */
    uint64_t looked_up; /* the view's version; 0: not looked up */
    uint64_t *hints;    /* owned; NULL: none of the ids is in a segment */
    /* A write with a condition, of one part (docs/threads.md): of each row the LSN of the version that it is about. */
    const uint64_t *expected; /* NULL: no condition */
    const uint32_t *by_id;    /* a hash table of rows + 1: pm_batch_index_ids; */
    uint32_t by_id_mask;      /* its slots - 1 */
    uint8_t *passed_over;     /* the actor's: of each row whether it was left out. Zero before */
    uint64_t judged_lsn;      /* the actor's: what was encoded by then */
    uint32_t rows;
    uint32_t parts;
    pm_part *part;
    uint32_t *index; /* owned; behind the parts' index */
    /* counted by the parts */
    _Atomic uint32_t undurable;
    _Atomic uint32_t unready; /* parts of several that are not applied, or not known to be */
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
    uint32_t side;            /* of shared->several, if it has several parts */
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
    uint64_t freeze_rows;
    uint64_t segment_seed, hash_seed;
    /* What readers see, beside what nobody writes: docs/threads.md, "Showing several at once". */
    _Atomic uint64_t flips;                 /* how many there were; the place of cut that is in use */
    _Atomic uint64_t cut[2][PM_MAX_SHARDS]; /* of each shard the LSN up to which flips showed it */
    /* state */
    pm_epoch epoch;               /* of views, and all that is reached through them */
    _Atomic(pm_shown *) replaced; /* views that actors and maintenance took out of publication */
    _Atomic uint64_t versions;    /* of views, given out */
    _Atomic uint64_t unflushed;   /* bytes of log records whose rows are in memtables */
    _Atomic uint64_t taken;       /* such bytes in all, also of what was flushed since */
    _Atomic uint64_t clock;       /* the latest time that anybody acted on; never goes back */
    pm_task *maintenance;         /* woken when there may be something to do; NULL: none */
    uint64_t flush_bytes;         /* unflushed bytes that wake it */
    /* Batches of several parts under way, on two sides like an epoch: which ids are behind us. */
    _Atomic uint64_t several_generation;
    _Atomic uint64_t several[2];
    /* Showing batches of several parts: docs/threads.md. */
    _Atomic uint32_t shower;      /* 1: a thread has the role */
    _Atomic uint64_t flip_wanted; /* how often somebody asked for it */
    _Atomic bool flip_left;       /* the first shard's actor is to go on */
    uint64_t open_counter;
    uint32_t next_collection;  /* as the catalogue was when it was opened; records of others are not possible */
    _Atomic uint32_t claiming; /* 1: a thread claims places in the mailboxes of several shards */
    _Atomic uint64_t batch_sequence;
    _Atomic uint32_t stopped; /* 0 running, 1 the error is being written, 2 stopped */
    pomai_error stop_error;   /* valid when stopped == 2 */
    _Atomic bool closing;
    _Atomic uint64_t pool_free; /* a bit a slot */
    pm_batch pool[PM_POOL_SLOTS];
    pm_hist put_latency;
} pm_shared;

/* A log file that has a successor: nothing is written to it any more. */
typedef struct pm_sealed {
    struct pm_sealed *next;
    pm_wal_end end;
} pm_sealed;

/* The wall clock, but never earlier than before. */
uint64_t pm_clock_now(pm_shared *shared);
void pm_clock_at_least(pm_shared *shared, uint64_t ns);

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
/* Slots of a table of so many ids. */
uint32_t pm_batch_id_slots(uint32_t rows);
/* Fills by_id, of zeroed slots, for a batch with a condition. */
void pm_batch_index_ids(const pm_shared *shared, pm_batch *batch, uint32_t *slots, uint32_t count);
/* Reserves room in the mailboxes of all parts, or in none. until_ns: how long to wait for room. */
pomai_status pm_batch_admit(pm_shared *shared, pm_batch *batch, uint64_t until_ns, pomai_error *err);
/* Sends an admitted batch; cannot fail. help: the caller will wait for it, and may do the shard's work meanwhile. */
void pm_batch_send(pm_shared *shared, pm_batch *batch, bool help);
bool pm_batch_done(const pm_batch *batch);
/* false: not done at until_ns. */
bool pm_batch_wait(pm_shared *shared, pm_batch *batch, uint64_t until_ns);
/* The outcome of a batch that is done. */
pomai_status pm_batch_result(const pm_batch *batch, pomai_ack *ack, pomai_error *err);

/* Waits until every batch of several parts that had an id is done, in all its shards; the largest such id. For one
 * thread at a time. */
uint64_t pm_batches_resolved(pm_shared *shared);

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

/* ---- views ---- */

/* Memory for a view with `more` segments than the present one; NULL: none. Only maintenance changes the segments, so
 * it is enough until maintenance publishes. */
pm_shown *pm_coll_room(pm_shared *shared, const pm_coll *coll, uint32_t more);
/* Takes the place of the present view: `next`, from pm_coll_room, becomes a copy of it to which `change` is applied
 * (again if another was published meanwhile). The old one goes to shared->replaced. */
typedef void (*pm_change_fn)(void *context, pm_shown *next);
void pm_coll_publish(pm_shared *shared, pm_coll *coll, pm_shown *next, pm_change_fn change, void *context);
/* The present view, with the LSNs of all shards; inside shared->epoch. */
void pm_coll_view(pm_shared *shared, const pm_coll *coll, pm_view *view);
/* The same, and how many rows it would show if none had expired. */
void pm_coll_view_counted(pm_shared *shared, const pm_coll *coll, pm_view *view, int64_t *rows);

/* What readers see now is what bounded reads see from now on. false, if it is not to wait: another thread is at it. */
bool pm_coll_freeze(pm_shared *shared, pm_coll *coll, bool wait);
/* A view as bounded reads have it. */
void pm_coll_bound(const pm_shared *shared, const pm_coll *coll, pm_view *view);

/* Where the rows of something that is being replaced went: ends that are stored meanwhile are stored there, too. */
typedef struct pm_carry {
    pm_forward forward;    /* first: a memtable calls it */
    const uint64_t *first; /* of a memtable: the place of each chunk's row 0; of a segment NULL */
    uint32_t *place;       /* of each row: its row in `to`, counted over all of them; PM_NO_ROW: left out */
    uint64_t places;
    uint32_t outputs;
    pm_segment *const *to;
    const uint64_t *to_first; /* outputs + 1 */
} pm_carry;
void pm_carry_end(const pm_carry *carry, uint64_t place, uint64_t lsn);
void pm_carry_init(pm_carry *carry);

/* The version of each id of a batch that has no end, in the segments: batch->hints. In the caller's thread, before it
 * sends. POMAI_ECORRUPT: damage that would keep the write from being applied; it must not be logged. */
pomai_status pm_batch_look_up(pm_shared *shared, pm_batch *batch, pomai_error *err);

/* `dir` is .../shards/<epoch>/<i>; copied. */
pm_shard *pm_shard_make(pm_shared *shared, uint32_t index, const char *dir, const uint8_t uuid[16], pomai_error *err);
void pm_shard_free(pm_shard *shard);
/* Reads the log. The caller may do this for several shards at once. */
pomai_status pm_shard_scan(pm_shard *shard, const pm_manifest_shard *begin, bool accept_damage, pm_text *notes,
                           pomai_error *err);
/* Parts of batches over several records, and aborts; borrowed. */
const pm_recovered_part *pm_shard_parts(const pm_shard *shard, size_t *count);
uint64_t pm_shard_open_counter(const pm_shard *shard);
/* Of the last record that was read. */
uint64_t pm_shard_end_lsn(const pm_shard *shard);
/* Of a log that was damaged: what is in segments is shown up to this LSN, though the log ends before. Read-only. */
void pm_shard_show_segments(pm_shard *shard, uint64_t flushed);
/* Applies what was read, but for the batches in `aborted` (sorted). find: a collection by id, NULL if it was dropped.
 */
pomai_status pm_shard_replay(pm_shard *shard, const uint64_t *aborted, size_t aborted_count,
                             pm_coll *(*find)(void *context, uint32_t id), void *context, pomai_error *err);
/* Makes the recovery itself durable: quarantine, a new file if the old one's end was torn, ABORT records for `aborts`.
 */
pomai_status pm_shard_settle(pm_shard *shard, const char *quarantine_dir, const uint64_t *aborts, size_t abort_count,
                             pomai_error *err);
/* After the last of these: lets go of the log's images; chunks hold what they need. */
void pm_shard_recovered(pm_shard *shard);
void pm_shard_get_report(const pm_shard *shard, pm_shard_report *report);

/* Starts actor and log writer. */
pomai_status pm_shard_start(pm_shard *shard, pomai_error *err);
void pm_shard_wake(pm_shard *shard);
/* After shared->closing was set: waits until all is synced and the threads are gone. */
void pm_shard_stop(pm_shard *shard);

/* The LSN up to which a reader sees this shard. Load it before anything else of the shard. */
uint64_t pm_shard_visible(const pm_shard *shard);
/* The same of all shards, at one moment: every batch is covered as a whole or not at all. */
void pm_shards_visible(const pm_shared *shared, uint64_t *visible);
/* Returns when everything encoded so far is synced, or the database stopped. */
pomai_status pm_shard_sync(pm_shard *shard, pomai_error *err);
/* For maintenance, one call at a time. Rotates the memtable of a collection if there is anything in it: *frozen, which
 * the view has as such, or NULL. *lsn: everything of the collection up to it is in there or in segments. */
pomai_status pm_shard_rotate(pm_shard *shard, pm_coll *coll, uint64_t *lsn, pm_memtable **frozen, pomai_error *err);
/* Begins a new log file, if the present one has records; waits for it. A full disk leaves things as they are. */
pomai_status pm_shard_seal(pm_shard *shard, pomai_error *err);
/* The log files sealed since the last call, latest first; the caller's. */
pm_sealed *pm_shard_take_sealed(pm_shard *shard);
/* Removes log files from .. below - 1. */
void pm_shard_retire(pm_shard *shard, uint64_t from, uint64_t below);
/* ABORT records that are not in the log yet. */
uint64_t pm_shard_owed(const pm_shard *shard);
void pm_shard_get_stats(const pm_shard *shard, pm_shard_stats *stats);

#endif
