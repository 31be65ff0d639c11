/* SPDX-License-Identifier: Apache-2.0 */
/* One open database: collections, admission, views. The API's functions, with handles resolved. */
#ifndef PM_CORE_ENGINE_H
#define PM_CORE_ENGINE_H

#include "core/engine/layout.h"
#include "core/shard/shard.h"
#include "pomai/options.h"
#include "query/query.h"

typedef struct pomai_db pm_db;

struct pomai_collection {
    pm_db *db;
    _Atomic(pm_coll *) coll; /* NULL: `default`, before its first put */
};

struct pomai_ticket {
    pm_db *db;
    pm_batch *batch;
};

struct pomai_block {
    pm_db *db;
    pm_coll *coll; /* NULL: `default`, which was not made yet */
    uint64_t rows;
    uint32_t dim;
    pomai_dtype dtype;
    pm_pages *pages;
    void *vectors;
};

/* In db->snapshots, under db->pins. */
struct pomai_snapshot {
    pm_db *db;
    pomai_snapshot *next, *before;
    uint64_t now, taken_ns;
    const struct pm_catalog *catalog; /* of that moment */
    uint64_t visible[];               /* of each shard */
};

/* When a call is over that looks at rows. */
typedef struct pm_until {
    const pm_os *os;
    uint64_t ns;
    const volatile int *cancel; /* NULL: nobody cancels it */
} pm_until;
bool pm_until_is_over(const void *until);

struct pomai_scan {
    pm_db *db;
    pm_until until;
    const pm_coll *coll; /* NULL: `default`, which was not made yet */
    pm_filter *filter;   /* NULL: none */
    pm_scan *scan;       /* NULL: the same */
};

/* An immutable list; a new one is published on every change, old ones live until close. */
typedef struct pm_catalog {
    struct pm_catalog *older;
    uint32_t count;
    pm_coll *coll[]; /* by id */
} pm_catalog;

/* What readers may still hold; freed by maintenance once their epoch has passed. */
typedef struct pm_limbo {
    void (*free)(void *what);
    void *what;
} pm_limbo;

typedef struct pm_limbos {
    pm_limbo *entry;
    size_t count, capacity;
} pm_limbos;

/* The log files of a shard that have a successor, oldest first. */
typedef struct pm_log_files {
    pm_wal_end *file;
    size_t count, capacity;
} pm_log_files;

/* A call that waits for maintenance: of each kind all that came before are answered together. */
typedef struct pm_request {
    _Atomic uint64_t wanted, done;
    pomai_status status; /* of the last, under db->state */
    pomai_error error;
} pm_request;

/* Where the scrub is. */
typedef struct pm_scrub {
    uint32_t collection; /* 0: between two passes */
    uint64_t segment, offset;
    uint64_t due;
    uint64_t pass_damages;
    pomai_error error; /* under db->state: the last damage, status 0: none since a whole pass */
    _Atomic uint64_t passes, ended_ns;
} pm_scrub;

/* What the maintenance task tries, and tries again when it failed, each time after a longer while. */
typedef struct pm_trial {
    uint64_t again_at, wait_ns;
    pomai_error error; /* under db->state: of the last; status 0: it went well */
    _Atomic uint64_t failures;
} pm_trial;

/* Building derived files of one kind. */
typedef struct pm_deriving {
    pm_trial trial;
    _Atomic uint64_t builds, rows, written, damaged;
} pm_deriving;

/* docs/lifecycle.md. Owned by the maintenance task, but for what is atomic or under db->state. */
typedef struct pm_maintenance {
    pm_task task;
    pm_request flush, compact, derive;
    pm_coll *compact_only; /* under db->state; NULL: all */
    _Atomic uint32_t answer_word;
    _Atomic bool closing;
    bool in_flush;
    bool hurried;                         /* somebody waits for what is being done */
    bool merging;                         /* a compaction is under way, */
    uint64_t merge_flushes;               /* and so many flushes there were when it began */
    pm_pool *builders;                    /* that help building codes and graphs; made with the first */
    _Atomic uint32_t rests;               /* they do, too */
    uint32_t building;                    /* the kind of derived file that is being built; 0: none */
    uint64_t flushed_at;                  /* when the last flush ended */
    int behind;                           /* dead rows are piling up: how far, while it catches up */
    pm_trial flushing, compacting, quiet; /* quiet: the merges of quiet times */
    pm_deriving deriving[PM_DERIVED_KINDS];
    uint64_t yielded_at;              /* when a build last let others go first, */
    uint64_t looked_at, looked_taken; /* and what had been written by when */
    _Atomic uint32_t derive_waiters;
    uint64_t look_at, look_anyway_at; /* when the next compaction may be worth it */
    uint64_t changes_seen, changes_measured;
    uint64_t next_segment;
    uint64_t compact_below; /* a compaction that somebody waits for takes segments with smaller numbers */
    uint64_t paced_at, paced_bytes;
    pm_log_files files[PM_MAX_SHARDS];
    pm_limbos waiting, passing;
    pm_shown *passing_shown;
    uint64_t buried; /* collections */
    uint64_t watch_due;
    uint32_t hasty_looks;      /* of the watch, that are still to come soon */
    uint64_t watched;          /* the collection that was looked at last, and the kind of search */
    volatile int watch_cancel; /* of a search that is done again */
    pm_scrub scrub;
    /* counters */
    _Atomic uint64_t flushes, flushed_rows, flushed_bytes, compactions, compacted_rows, compacted_bytes, dropped_rows;
    _Atomic uint64_t live_bytes, retired_files, retired_bytes, log_live_bytes, stalls, stall_ns;
    _Atomic uint64_t scrubbed_bytes, scrub_damages, limbo;
    _Atomic uint32_t room_word; /* counts flushes that made room */
    _Atomic uint32_t room_waiters;
} pm_maintenance;

struct pomai_db {
    const pm_os *os;
    char *path;
    char *manifest_dir;
    bool readonly, flush_at_close;
    pm_lock lock;
    pomai_durability durability;
    const pm_simd *simd;
    const pm_convert *convert; /* of the same level */
    pm_pool *pool;
    pm_shared shared;

    uint8_t uuid[16];
    _Atomic uint32_t admin;        /* mutex: catalogue changes */
    pm_manifest manifest;          /* under admin */
    _Atomic bool catalogue_broken; /* an edit may or may not have become current */
    _Atomic(pm_catalog *) catalog;
    pm_coll **graveyard; /* every pm_coll ever made, freed at close */
    size_t graves, grave_capacity;

    _Atomic uint32_t pins; /* mutex: snapshots */
    pomai_snapshot *snapshots;
    _Atomic uint32_t state;   /* mutex: what stats tells of maintenance */
    _Atomic uint64_t dropped; /* collections, since the opening */
    _Atomic uint64_t changes; /* flushes, and snapshots that were closed: something may be worth compacting */
    uint64_t flush_hard, log_budget, segment_bytes, compact_rate, scrub_rate, watch_share;
    uint32_t build_threads;
    pm_maintenance maintenance;
    pomai_collection default_handle;
    _Atomic int64_t open_handles;
    _Atomic uint64_t open_scans; /* of those */
    pomai_open_report report;
    pm_text notes;

    pm_hist search_latency;
};

/* open.c */
pomai_status pm_db_open(const pm_os *os, const char *given_path, const pomai_open_options *options, pm_db **out,
                        pomai_error *err);
pomai_status pm_db_close(pm_db *db, pomai_error *err);
pomai_status pm_db_sync(pm_db *db, pomai_error *err);

/* collections.c */
void pm_coll_free(pm_coll *coll);
pm_coll *pm_db_find(const pm_db *db, const char *name);
pm_coll *pm_db_find_id(void *context, uint32_t id); /* context: the pm_db */
/* For recovery: makes what the manifest lists. */
pomai_status pm_db_load_catalog(pm_db *db, pomai_error *err);
pomai_status pm_db_create(pm_db *db, const char *name, const pomai_collection_options *options, pm_coll **coll,
                          pomai_error *err);
pomai_status pm_db_drop(pm_db *db, const char *name, pomai_error *err);
pomai_status pm_db_list(pm_db *db, char ***names, size_t *count, pomai_error *err);
/* The handle's collection: NULL and POMAI_OK if it is `default` and not made yet; POMAI_ENOTFOUND if it was dropped. */
pomai_status pm_handle_coll(pomai_collection *handle, pm_coll **coll, pomai_error *err);
/* The same, making `default` for a batch of this shape if need be. */
pomai_status pm_handle_coll_for_put(pomai_collection *handle, uint64_t dim, pomai_dtype dtype, pomai_id_kind kind,
                                    pm_coll **coll, pomai_error *err);

/* write.c */
typedef struct pm_write {
    pomai_durability level;
    uint64_t until_ns;
    bool wait; /* the caller waits for the outcome next */
    const volatile int *cancel;
} pm_write;
pomai_status pm_db_put(pomai_collection *handle, const pomai_batch *in, const pm_write *write, pm_batch **batch,
                       pomai_error *err);
pomai_status pm_db_delete(pomai_collection *handle, const pomai_ids *ids, const pm_write *write, pm_batch **batch,
                          pomai_error *err);
pomai_status pm_db_reserve(pomai_collection *handle, uint64_t rows, uint64_t dim, pomai_block **out, pomai_error *err);
pomai_status pm_db_commit(pomai_block *block, const pomai_bytes *documents, const pm_write *write, pomai_ack *ack,
                          pomai_error *err);
void pm_db_block_free(pomai_block *block);
pomai_status pm_check_ids(const pm_coll *coll, const pomai_ids *ids, pomai_error *err);

pomai_status pm_check_writable(const pm_db *db, pomai_error *err);
/* Fewer than 2^32 ids; of none twice. */
pomai_status pm_check_repeats(const pm_db *db, const pomai_ids *ids, pomai_error *err);
/* Waits for room, looks its ids up, and sends a batch; lets go of it if it fails. */
pomai_status pm_db_send(pm_db *db, pm_batch *b, const pm_write *write, pomai_error *err);

/* change.c: *ack (may be NULL) says what was done, also after a failure. */
typedef struct pm_change_where {
    const char *filter;
    size_t filter_size;
} pm_change_where;
pomai_status pm_db_delete_where(pomai_collection *handle, const pm_change_where *where, const pm_write *write,
                                pomai_ack *ack, pomai_error *err);
/* `documents`: one an id. */
pomai_status pm_db_update(pomai_collection *handle, const pomai_ids *ids, const pomai_bytes *documents,
                          pomai_update_how how, const pm_write *write, pomai_ack *ack, pomai_error *err);
pomai_status pm_db_update_where(pomai_collection *handle, const pm_change_where *where, const pomai_bytes *document,
                                pomai_update_how how, const pm_write *write, pomai_ack *ack, pomai_error *err);

/* What a read sees. */
typedef struct pm_read {
    const pomai_snapshot *snapshot;
    bool bounded;
    const volatile int *cancel; /* of a search, count or scan, as their options have it */
    float recall;               /* of a search, */
    uint32_t ef;                /* and this */
    const char *filter;         /* of a search, count or scan; NULL: none */
    size_t filter_size;
} pm_read;

/* read.c */
/* Inside the epoch from here until the hold is given back: nothing of the view goes away. */
pm_epoch_hold pm_db_take_view(pm_db *db, const pm_coll *coll, const pm_read *read, pm_view *view);
pomai_status pm_db_search(pomai_collection *handle, const float *vectors, uint64_t queries, uint64_t dim, uint64_t k,
                          uint32_t include, uint64_t until_ns, const pm_read *read, pomai_result **result,
                          pomai_error *err);
pomai_status pm_db_get(pomai_collection *handle, const pomai_ids *ids, const pm_read *read, pomai_rows **rows,
                       pomai_error *err);
pomai_status pm_db_count(pomai_collection *handle, uint64_t until_ns, const pm_read *read, uint64_t *rows,
                         pomai_error *err);
/* Of a filter's text; NULL: none, which the filter {} is as well. */
pomai_status pm_parse_filter(const char *text, size_t size, pm_filter **filter, pomai_error *err);
/* Of a filter that is not NULL. */
pomai_status pm_is_every_row(const char *text, size_t size, bool *every, pomai_error *err);
/* Rows that are live now, and have not expired. */
pomai_status pm_coll_live(pm_db *db, const pm_coll *coll, uint64_t *rows, pomai_error *err);
pomai_status pm_db_snapshot(pm_db *db, pomai_snapshot **out, pomai_error *err);
void pm_db_snapshot_close(pomai_snapshot *snapshot);
pomai_status pm_db_digest(pm_db *db, const pm_read *read, uint64_t digest[2], pomai_error *err);
pomai_status pm_db_scan(pomai_collection *handle, uint32_t include, const pm_read *read, pomai_scan **out,
                        pomai_error *err);
pomai_status pm_db_scan_next(pomai_scan *scan, uint64_t most, pomai_rows **rows, pomai_error *err);
void pm_db_scan_close(pomai_scan *scan);
/* coll NULL: all. */
pomai_status pm_db_freeze(pm_db *db, const pm_coll *coll);

/* segments.c */
char *pm_segment_path(const pm_db *db, uint32_t collection, uint64_t number);
/* Opens what the catalogue lists into `shown`. */
pomai_status pm_segments_open(const pm_db *db, const pm_coll *coll, const pm_manifest_entry *entry, pm_shown *shown,
                              pomai_error *err);
/* The directories above a collection's segments, durable. */
pomai_status pm_segments_make_dir(const pm_db *db, uint32_t collection, pomai_error *err);
/* For a writer's open: removes segments that the catalogue does not list, and tells the largest number met. */
void pm_segments_remove_others(pm_db *db, uint64_t *largest);

/* build.c: rows that become segments */
typedef struct pm_build {
    pm_db *db;
    pm_coll *coll;
    pm_where *row; /* where they are now, in order */
    uint64_t rows, capacity;
    uint32_t outputs;
    pm_segment **out;
    pm_manifest_segment *entry;
    uint64_t *first; /* outputs + 1 */
    pomai_status (*pace)(void *context, uint64_t bytes, pomai_error *err);
} pm_build;
bool pm_build_add(pm_build *build, const void *owner, uint32_t row);
/* Brings the rows into the order of their values where the collection's cluster_by leads, those that have none last,
 * and else leaves them in theirs; the carries' places (a carry may be NULL) follow them. */
pomai_status pm_build_cluster(pm_build *build, pm_carry *const *carry, uint32_t carries, pomai_error *err);
/* Writes, reads back and opens the segments; at most `most` bytes of vectors and documents each. */
pomai_status pm_build_write(pm_build *build, uint64_t most, pomai_error *err);
/* Lets a carry, whose places count the build's rows, lead to what was written; false: no memory. */
bool pm_build_aim(const pm_build *build, pm_carry *carry);
/* Removes the files of what was written; for what was never named by a manifest. */
void pm_build_undo(pm_build *build);
/* Frees all but the segments, which belong to the view by now, or were undone. */
void pm_build_clear(pm_build *build);
/* What nobody needs any more: rows that ended at or below upto[shard], unless a snapshot shows them, and rows that
 * expired. */
typedef struct pm_horizon {
    uint32_t shards, pins;
    const uint64_t *upto;
    uint64_t now;      /* the earliest of all who read */
    uint64_t *visible; /* pins x shards */
} pm_horizon;
pomai_status pm_horizon_take(pm_db *db, const uint64_t *upto, pm_horizon *horizon, pomai_error *err);
void pm_horizon_clear(pm_horizon *horizon);
bool pm_horizon_drops(const pm_horizon *horizon, uint32_t shard, uint64_t begin, uint64_t end, uint64_t expiry);

/* maintain.c */
pomai_status pm_maintenance_start(pm_db *db, pomai_error *err);
/* Flushes everything and ends the task. */
void pm_maintenance_stop(pm_db *db);
/* After the task has ended, or if it never ran: frees what is in limbo. */
void pm_maintenance_free(pm_db *db);
pomai_status pm_db_flush(pm_db *db, pomai_error *err);
pomai_status pm_db_compact(pm_db *db, pm_coll *coll, pomai_error *err);
pomai_status pm_db_build_indexes(pm_db *db, uint64_t until_ns, const volatile int *cancel, pomai_error *err);
/* Between two pieces of a build of codes or a graph, every millisecond or so: does all there is to do first (within a
 * merge: flushes), and while rows are being written, sleeps most of the time. false: give it up. */
bool pm_maintenance_yield(pm_db *db);
/* Waits while too much is in memory; POMAI_EBUSY, POMAI_EDEADLINE, or why nothing is flushed. */
pomai_status pm_db_wait_for_room(pm_db *db, uint64_t until_ns, pomai_error *err);
/* limbo.c */
/* For pm_limbo_add. */
void pm_free_segment(void *segment);
void pm_free_memtable(void *memtable);
void pm_free_carry(void *what); /* with what it points to, but the segments; NULL is fine */
bool pm_limbo_reserve(pm_maintenance *m, size_t more);
void pm_limbo_add(pm_maintenance *m, void (*free)(void *), void *what); /* there is room */
/* Frees what no reader can hold any more; false: something is left. all: nobody reads. */
bool pm_limbo_reclaim(pm_db *db, bool all);

/* sources.c: segments whose rows are written again; zero is none */
enum { PM_MOST_SOURCES = 64 };
typedef struct pm_sources {
    pm_segment *segment[PM_MOST_SOURCES];
    uint64_t number[PM_MOST_SOURCES];
    pm_carry *carry[PM_MOST_SOURCES];
    uint32_t count;
    uint64_t kept; /* rows */
} pm_sources;
/* Adds to a build the rows that somebody may still see. POMAI_ECORRUPT: a segment is damaged, and set aside. */
pomai_status pm_sources_take(pm_sources *sources, pm_build *build, const pm_horizon *horizon, pomai_error *err);
/* Lets their carries lead to what was written; false: no memory. */
bool pm_sources_aim(const pm_sources *sources, const pm_build *build);
/* Ends that are stored by now. */
void pm_sources_carry_ends(const pm_sources *sources);
/* From now on ends go to where the rows went; returns how many rows expired, and went nowhere, without an end. */
uint64_t pm_sources_forward(const pm_sources *sources);
bool pm_sources_have(const pm_sources *sources, uint64_t number);
/* Takes them out of a view that is to be published. */
void pm_sources_hide(const pm_sources *sources, pm_shown *next);
void pm_sources_remove(const pm_sources *sources, const pm_os *os); /* their files */
/* Once no view has them: their files go now, they themselves (two of the limbo's places each) when nobody reads. */
void pm_sources_retire(pm_sources *sources, pm_db *db);
void pm_sources_clear(pm_sources *sources);

/* flush.c, compact.c: steps of the maintenance task */
/* How far a compaction goes: what is due anyway, or as far as one graph is to cover, or that and everything that can be
 * dropped. */
typedef enum pm_compact_mode { PM_COMPACT_DUE, PM_COMPACT_QUIET, PM_COMPACT_ASKED } pm_compact_mode;
/* with: beside PM_COMPACT_DUE, segments that a compaction of this mode would merge with what is flushed are, of the
 * collection `only`, or of all. */
pomai_status pm_flush_colls(pm_db *db, pm_coll **colls, uint32_t count, bool seal, pm_compact_mode with,
                            const pm_coll *only, pomai_error *err);
/* The segments that rows in memory would be merged with, so many and about so large, if these have at most `most` bytes
 * together; none that have derived files, which searches would miss until there are others. upto: of each shard the LSN
 * up to which the catalogue will say that it is flushed. */
pomai_status pm_compact_with(pm_db *db, pm_coll *coll, const uint64_t *upto, uint64_t bytes, uint64_t rows,
                             pm_compact_mode mode, uint64_t most, pm_sources *sources, pomai_error *err);
/* A merge writes at most so much into one segment. */
#define PM_MOST_MERGED ((uint64_t)4 << 30)
/* One merge, if there is one worth it; *did says so. `only` NULL: of any collection. */
pomai_status pm_compact_once(pm_db *db, const pm_coll *only, pm_compact_mode mode, bool *did, pomai_error *err);
/* derive.c: derived files of segments, each of a kind (storage/format.h) */
/* A segment of fewer rows has no codes: a scan takes some tens of microseconds, and it will soon be merged. */
#define PM_CODES_LEAST_ROWS 4096u
/* A segment of fewer rows has no columns: its documents are judged in a quarter of a millisecond. */
#define PM_COLUMNS_LEAST_ROWS 1024u
/* The order in which they are built: what takes least first. */
extern const uint32_t pm_derive_order[PM_DERIVED_KINDS - 1];
#ifdef POMAI_TEST_HOOKS
extern uint64_t pm_derive_least_rows[PM_DERIVED_KINDS];
#endif
/* What of a collection says which derived files its segments have. */
typedef struct pm_derive_of_coll {
    pomai_metric metric;
    pomai_index_kind index;
} pm_derive_of_coll;
static inline pm_derive_of_coll pm_derive_for(const pm_coll *coll)
{
    return (pm_derive_of_coll){coll->metric, coll->index};
}
/* Opens those that are there and of this segment; else it has none. */
void pm_derive_attach(pm_segment *segment, pm_derive_of_coll coll);
/* Whether it should have one and has not. */
bool pm_derive_missing(const pm_segment *segment, pm_derive_of_coll coll, uint32_t kind);
/* Reads the one that is there; *bytes of it. POMAI_ECORRUPT and so on: it is of no use. */
pomai_status pm_derive_verify(const pm_segment *segment, pm_derive_of_coll coll, uint32_t kind, uint64_t *bytes,
                              pomai_error *err);
/* For maintenance: unpublishes and removes what searches found damaged; false: nothing. err: of the last. */
bool pm_derive_drop_damaged(pm_db *db, uint32_t kind, pomai_error *err);
/* Builds that of one segment with a number below `below`, if one has none; *did says so. */
pomai_status pm_derive_one(pm_db *db, uint32_t kind, uint64_t below, bool *did, pomai_error *err);
/* Builds that of a segment that no view has yet, if it is to have one; gives up as soon as it must not be waited for.
 */
void pm_derive_ahead(pm_db *db, const pm_coll *coll, pm_segment *segment, uint32_t kind);
/* scrub.c: reads a piece of the segments from the disk again, if it is time; when the next is due. */
uint64_t pm_scrub_if_due(pm_db *db, uint64_t now);
/* watch.c: the recall that searches get. What a search asks of graphs and codes instead of `recall`, */
float pm_watch_asks(const pm_coll *coll, pm_watch_kind kind, float recall);
/* how many times what their verdict says is missed that should say, */
float pm_watch_missing(const pm_coll *coll, pm_watch_kind kind);
/* and the search itself, in case one is wanted. */
void pm_watch_offer(pm_coll *coll, pm_watch_kind kind, const pm_read *read, const float *vectors, uint64_t queries,
                    uint32_t k);
/* Does one again, if it is time; when the next is due. */
uint64_t pm_watch_if_due(pm_db *db, uint64_t now);
typedef struct pm_watched {
    uint64_t samples, looked_at;
    double asked, promised, recall, low, high;
    uint32_t raised;
} pm_watched;
/* Under db->state: what one more comparison found, of a search that asked for the watch's `asked`. */
void pm_watch_note(pm_coll *coll, pm_watch_kind kind, double promised, double found);
/* false: no samples. */
bool pm_watch_read(pm_db *db, const pm_coll *coll, pm_watch_kind kind, pm_watched *to);
/* Sleeps, flushes, or gives up, as others need it. */
pomai_status pm_maintenance_pace(pm_db *db, uint64_t bytes, pomai_error *err);
/* What a piece of work changes in the catalogue. */
typedef struct pm_edit {
    pm_coll *coll;
    const uint64_t *flushed; /* of each shard; NULL: as it is */
    const uint64_t *removed; /* numbers of segments that are replaced */
    uint32_t removals;
    const pm_manifest_segment *changed; /* segments whose liveness has another generation */
    uint32_t changes;
    const pm_manifest_segment *added;
    uint32_t additions;
    bool dropped; /* out: the collection is not in the catalogue any more */
} pm_edit;
/* A copy of what the catalogue lists now; pm_free. */
pomai_status pm_catalog_segments(pm_db *db, uint32_t collection, pm_manifest_segment **list, uint32_t *count,
                                 pomai_error *err);
/* POMAI_ESTOPPED once an edit failed half-way: what it may name must stay as it is. */
pomai_status pm_catalog_check(const pm_db *db, pomai_error *err);
/* Bytes of log files that have a successor. For maintenance. */
uint64_t pm_log_files_bytes(pm_db *db);
/* resolved: every batch of several parts with an id at or below it is done; with it log files are retired. */
pomai_status pm_catalog_edit(pm_db *db, pm_edit *edits, uint32_t count, const uint64_t *resolved, pomai_error *err);

/* stats.c */
pomai_status pm_db_stats(pm_db *db, char **json, pomai_error *err);

/* salvage.c */
pomai_status pm_salvage(const pm_os *os, const char *from, const char *to, pomai_progress_fn progress, void *context,
                        char **json, bool *whole, pomai_error *err);
/* verify.c, dump.c */
pomai_status pm_inspect_verify(const pm_os *os, const char *path, pomai_progress_fn progress, void *context,
                               char **json, pomai_error *err);
pomai_status pm_inspect_dump(const pm_os *os, const char *path, bool json, pomai_line_fn line, void *context,
                             pomai_error *err);
pomai_status pm_inspect_dump_manifest(const pm_os *os, const char *path, bool json, pomai_line_fn line, void *context,
                                      pomai_error *err);
typedef struct pm_dump {
    const char *collection; /* NULL: all */
    uint64_t number;        /* 0: all */
    bool json, rows;
} pm_dump;
pomai_status pm_inspect_dump_segment(const pm_os *os, const char *path, const pm_dump *what, pomai_line_fn line,
                                     void *context, pomai_error *err);

#endif
