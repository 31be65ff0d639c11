/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POMAI_OPTIONS_H
#define POMAI_OPTIONS_H

#include "types.h"

/* Options begin with struct_size so that fields can be added; start from the _INIT. NULL means all defaults. */

/* pomai_open_options.flags */
#define POMAI_OPEN_EXISTING      1u /* POMAI_ENOTFOUND instead of making a new database */
#define POMAI_OPEN_READONLY      2u /* change nothing on disk; many processes may do so at once, with no writer */
#define POMAI_OPEN_ACCEPT_DAMAGE 4u /* with READONLY: show what lies before the damage instead of refusing */
#define POMAI_OPEN_STRICT_MARK                                                                                         \
    8u /* sync the WATERMARK before each acknowledgement: even on the image of a crash no                              \
          damage can pass for a torn tail; costs a second sync a commit */
#define POMAI_OPEN_NO_FLUSH_AT_CLOSE                                                                                   \
    16u /* close faster, and leave what is in memory to the log: the next open replays it */

typedef struct pomai_open_options {
    size_t struct_size;
    uint32_t flags;
    uint32_t shards;             /* for a new database; 0: min(cores, 8); at most 256 */
    pomai_durability durability; /* level of writes that name none; DEFAULT: SYNC */
    uint32_t group_ms;           /* for GROUP; 0: 10 */
    uint32_t search_threads;     /* helpers besides the calling thread; 0: cores - 1; UINT32_MAX: none */
    uint32_t mailbox_slots;      /* commands a shard can hold, a power of two; 0: 1,024 */
    uint64_t wal_file_bytes;     /* size of a log file; 0: 64 MiB; at least 64 KiB; one batch may need a larger file */
    uint64_t flush_bytes;        /* rows in memory, as bytes of log, above which they are flushed; 0: 64 MiB. Puts wait
                                    (POMAI_EBUSY without a deadline) while four times as much is there */
    uint64_t log_bytes;          /* size of the log above which what holds it is flushed; 0: 256 MiB */
    uint64_t freeze_rows; /* rows of a collection in a shard after which they are frozen for bounded reads; 0: 5,000 */
    uint64_t segment_bytes; /* most of a segment that compaction makes; 0: docs/lifecycle.md, "Compaction" */
    uint64_t compact_rate;  /* bytes a second that background compaction writes; 0: 128 MiB; UINT64_MAX: no limit */
    uint64_t scrub_rate;    /* bytes a second at which segments are read again, to find damage; 0: 4 MiB; UINT64_MAX:
                               not at all */
    uint64_t watch_share;   /* thousandths of a core that go into doing some searches again, exactly, to watch the
                               recall (docs/indexing.md), ten times that at first; 0: 10; at most 1,000;
                               UINT64_MAX: none */
    uint64_t build_threads; /* that help building graphs, at low priority; 0: cores - 1, at most 15; UINT64_MAX: none */
} pomai_open_options;
#define POMAI_OPEN_OPTIONS_INIT                                                                                        \
    {                                                                                                                  \
        sizeof(pomai_open_options), 0, 0, POMAI_DURABILITY_DEFAULT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                 \
    }

typedef struct pomai_collection_options {
    size_t struct_size;
    uint64_t dim; /* 1 to POMAI_MAX_DIM */
    pomai_metric metric;
    pomai_id_kind id_kind;
    uint64_t ttl_ns;   /* rows that are put without an expiry vanish so long after their commit stamp; 0: never */
    pomai_dtype dtype; /* of the vectors as they are stored; 0: float32 */
    /* A path as filters have it (docs/filter.md), for good: rows whose documents have the same value there lie together
     * in segments, so that a search with a filter on it reads them as one. It changes how fast, not what. NULL: none */
    const char *cluster_by;
    pomai_index_kind index; /* for good */
} pomai_collection_options;
#define POMAI_COLLECTION_OPTIONS_INIT                                                                                  \
    {                                                                                                                  \
        sizeof(pomai_collection_options), 0, POMAI_METRIC_L2, POMAI_ID_U64, 0, POMAI_DTYPE_FLOAT32, NULL,              \
            POMAI_INDEX_AUTO                                                                                           \
    }

typedef struct pomai_write_options {
    size_t struct_size;
    pomai_durability durability; /* DEFAULT: the database's */
    uint64_t deadline_us;        /* wait at most this long for room in full mailboxes; 0: not at all (POMAI_EBUSY);
                                    UINT64_MAX, which _INIT sets: as long as it takes. Once admitted, a write ends
                                    when it is decided. A delete or update by filter, if this is not 0: looks for rows
                                    no longer, and writes at most 65,536 of those that it found (POMAI_EDEADLINE) */
    const volatile int *cancel;  /* of an update, or a delete by filter: any thread may make it non-zero, and it writes
                                    nothing more than what is under way (POMAI_EDEADLINE); NULL: none does */
} pomai_write_options;
#define POMAI_WRITE_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(pomai_write_options), POMAI_DURABILITY_DEFAULT, UINT64_MAX, NULL                                        \
    }

/* What pomai_update does with a document. */
typedef enum pomai_update_how {
    POMAI_UPDATE_REPLACE = 1, /* it takes the place of the row's; of 0 bytes: the row has none any more */
    POMAI_UPDATE_MERGE = 2, /* it is a JSON merge patch (RFC 7396), an object: keys are set, and null removes one. What
                               it does not name stays as it is written; so do numbers of any length */
} pomai_update_how;

/* What a read sees. */
typedef enum pomai_read_mode {
    POMAI_READ_LATEST = 0,  /* everything acknowledged before the call */
    POMAI_READ_BOUNDED = 1, /* what is frozen (freeze_rows, pomai_freeze, a flush): may lag behind, moves in steps */
} pomai_read_mode;

typedef struct pomai_get_options {
    size_t struct_size;
    const pomai_snapshot *snapshot; /* read as of this moment; NULL: as `mode` says */
    pomai_read_mode mode;
} pomai_get_options;
#define POMAI_GET_OPTIONS_INIT                                                                                         \
    {                                                                                                                  \
        sizeof(pomai_get_options), NULL, POMAI_READ_LATEST                                                             \
    }

/* pomai_search_options.include, pomai_scan_options.include */
#define POMAI_INCLUDE_DOCUMENTS 1u
#define POMAI_INCLUDE_VECTORS   2u
#define POMAI_INCLUDE_PLAN      4u /* of a search: what it did, pomai_result_plan */

typedef struct pomai_search_options {
    size_t struct_size;
    uint32_t include;               /* POMAI_INCLUDE_ bits */
    uint64_t deadline_us;           /* from the call; UINT64_MAX, which _INIT sets: none */
    const pomai_snapshot *snapshot; /* search as of this moment; NULL: as `mode` says */
    pomai_read_mode mode;
    const volatile int *cancel; /* any thread may make it non-zero: the search ends as at a deadline; NULL: none does */
    float recall; /* of the k nearest, the share that must be found, on average: 0.95 may take a segment's graph, or its
                     codes, where those reached it in their calibration; 0, which _INIT sets, and 1: exact */
    uint32_t ef;  /* instead of `recall`: segments that have a graph are walked with so many candidates, 1 to 4,096, of
                     which fewer than k count as k; others are searched as with a recall of 0.999. 0, which _INIT sets:
                     as `recall` says. Both: POMAI_EINVAL */
    const char *filter; /* JSON, as docs/filter.md says: only rows count whose documents match; NULL: all rows do */
    size_t filter_size; /* bytes of it */
} pomai_search_options;
#define POMAI_SEARCH_OPTIONS_INIT                                                                                      \
    {                                                                                                                  \
        sizeof(pomai_search_options), 0, UINT64_MAX, NULL, POMAI_READ_LATEST, NULL, 0, 0, NULL, 0                      \
    }

typedef struct pomai_count_options {
    size_t struct_size;
    const char *filter; /* JSON, as docs/filter.md says; NULL: all rows count */
    size_t filter_size;
    const pomai_snapshot *snapshot; /* count as of this moment; NULL: as `mode` says */
    pomai_read_mode mode;
    uint64_t deadline_us;       /* from the call; UINT64_MAX, which _INIT sets: none */
    const volatile int *cancel; /* any thread may make it non-zero: the call ends as at a deadline; NULL: none does */
} pomai_count_options;
#define POMAI_COUNT_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(pomai_count_options), NULL, 0, NULL, POMAI_READ_LATEST, UINT64_MAX, NULL                                \
    }

typedef struct pomai_build_options {
    size_t struct_size;
    uint64_t deadline_us;       /* from the call; UINT64_MAX, which _INIT sets: none */
    const volatile int *cancel; /* any thread may make it non-zero: the call ends as at a deadline; NULL: none does */
} pomai_build_options;
#define POMAI_BUILD_OPTIONS_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(pomai_build_options), UINT64_MAX, NULL                                                                  \
    }

typedef struct pomai_scan_options {
    size_t struct_size;
    uint32_t include;               /* POMAI_INCLUDE_ bits; _INIT sets both */
    const pomai_snapshot *snapshot; /* scan as of this moment; NULL: as `mode` says */
    pomai_read_mode mode;
    const char *filter; /* JSON, as docs/filter.md says: only rows come whose documents match; NULL: all. Borrowed for
                           the opening */
    size_t filter_size;
    const volatile int *cancel; /* of a scan with a filter, until it is closed: any thread may make it non-zero, and
                                   pomai_scan_next gives POMAI_EDEADLINE, once it has given what it judged before,
                                   1,024 rows at most; NULL: none does */
} pomai_scan_options;
#define POMAI_SCAN_OPTIONS_INIT                                                                                        \
    {                                                                                                                  \
        sizeof(pomai_scan_options), POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS, NULL, POMAI_READ_LATEST, NULL, 0, \
            NULL                                                                                                       \
    }

/* pomai_verify_path: called now and then with bytes done and in all; return non-zero to stop with POMAI_EDEADLINE. */
typedef int (*pomai_progress_fn)(void *context, uint64_t done, uint64_t total);

/* pomai_dump_segment's flags */
#define POMAI_DUMP_JSON 1u /* each line is a JSON object */
#define POMAI_DUMP_ROWS 2u /* a line for each row, too */

/* The dumps: called with each line, NUL-terminated, without a line feed; return non-zero to stop. */
typedef int (*pomai_line_fn)(void *context, const char *line);

#endif
