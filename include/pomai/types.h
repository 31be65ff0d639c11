/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POMAI_TYPES_H
#define POMAI_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Limits. Anything beyond is refused with POMAI_ETOOBIG, POMAI_EDIM or POMAI_EID before anything is written. */
#define POMAI_MAX_DIM         65536u              /* dimensions of a vector */
#define POMAI_MAX_BATCH_BYTES (64u * 1024 * 1024) /* ids + vectors + documents of one put, as they are given */
#define POMAI_MAX_STRING_ID   512u                /* bytes of a string id; at least 1 */
#define POMAI_MAX_K           1000000u            /* neighbours of one query */
#define POMAI_MAX_EF          4096u               /* candidates of a walk through a graph */
#define POMAI_MAX_NAME        64u                 /* bytes of a collection's name */
#define POMAI_MAX_CLUSTER_BY  255u                /* bytes of the path that rows are clustered by */

typedef struct pomai_db pomai_db;                 /* an open database */
typedef struct pomai_collection pomai_collection; /* a collection of an open database */
typedef struct pomai_ticket pomai_ticket;         /* a put under way */
typedef struct pomai_block pomai_block;           /* reserved rows, to be written by the caller */
typedef struct pomai_rows pomai_rows;             /* what a get found, or a scan came to */
typedef struct pomai_result pomai_result;         /* what a search found */
typedef struct pomai_snapshot pomai_snapshot;     /* the whole database at one moment */
typedef struct pomai_scan pomai_scan;             /* a walk over all rows of a collection */

/* How the distance of two vectors is computed; smaller is closer, always. Numbers are kept on disk. */
typedef enum pomai_metric {
    POMAI_METRIC_L2 = 1,     /* squared Euclidean distance */
    POMAI_METRIC_IP = 2,     /* 1 - dot product */
    POMAI_METRIC_COSINE = 3, /* 1 - cosine of the angle; zero vectors are refused */
} pomai_metric;

/* The kind of a collection's ids, fixed when it is made. Numbers are kept on disk. */
typedef enum pomai_id_kind {
    POMAI_ID_U64 = 1,    /* 64-bit unsigned, given by the caller or assigned by the engine */
    POMAI_ID_STRING = 2, /* 1 to POMAI_MAX_STRING_ID bytes, compared byte by byte */
} pomai_id_kind;

/*
 * The type of the elements of a collection's vectors, fixed when it is made: what a row takes in memory, in the log and
 * in segments. Numbers are kept on disk. Queries are float32, and so are the vectors of every answer: both other types
 * convert exactly, and distances are computed on the converted values.
 */
typedef enum pomai_dtype {
    POMAI_DTYPE_FLOAT32 = 1, /* float: 4 bytes */
    POMAI_DTYPE_FLOAT16 = 2, /* IEEE 754 half precision, as uint16_t: 2 bytes; up to 65504, 11 significant bits */
    POMAI_DTYPE_INT8 = 3,    /* int8_t: 1 byte */
} pomai_dtype;

/*
 * What an acknowledged write survives.
 *   SYNC   power loss: synced to the disk before the acknowledgement (group-committed with whatever else waits)
 *   GROUP  kill -9 at once, power loss after at most group_ms: synced in the background
 *   OS     kill -9: handed to the operating system; synced when the log falls idle, when a file is sealed, and at close
 */
typedef enum pomai_durability {
    POMAI_DURABILITY_DEFAULT = 0, /* in options: the database's own level, which is SYNC unless set at open */
    POMAI_DURABILITY_OS = 1,
    POMAI_DURABILITY_GROUP = 2,
    POMAI_DURABILITY_SYNC = 3,
} pomai_durability;

/* A borrowed run of bytes; need not end in NUL. */
typedef struct pomai_bytes {
    const void *data;
    size_t size;
} pomai_bytes;

/* A list of ids of one kind. Set u64 or string, matching the collection, and count. */
typedef struct pomai_ids {
    size_t count;
    const uint64_t *u64;
    const pomai_bytes *string;
} pomai_ids;

struct ArrowSchema; /* pomai/arrow.h */
struct ArrowArray;

/* Rows to put. Begin with POMAI_BATCH_INIT. All memory is borrowed until the put returns (or its ticket is done). */
typedef struct pomai_batch {
    size_t struct_size;
    uint64_t rows;
    uint64_t dim;
    const void *vectors;           /* rows x dim elements of `dtype`, row after row */
    const uint64_t *u64_ids;       /* rows ids, or NULL: assigned, consecutive, from 0 or above the largest put */
    const pomai_bytes *string_ids; /* rows ids, in a collection of string ids */
    const pomai_bytes *documents;  /* rows documents (opaque bytes; by convention JSON), or NULL; of 0 bytes: none */
    const uint64_t *expiry_ns;     /* rows times, ns since 1970, at which a row vanishes, 0: never; or NULL: after the
                                      collection's ttl_ns, if it has one */
    /* Of `vectors`; 0: float32. float32 goes into any collection, float16 and int8 into one of the same type only. Into
     * float16 it is rounded to nearest, ties to even; what would become infinite is refused. Into int8 only whole
     * numbers from -128 to 127 go. */
    pomai_dtype dtype;
    /* Instead of `documents`: a struct array of the Arrow C data interface (pomai/arrow.h) of `rows` items, a child a
     * key; the documents are what pomai_documents_from_arrow makes of it. */
    const struct ArrowSchema *metadata_schema;
    const struct ArrowArray *metadata;
} pomai_batch;
#define POMAI_BATCH_INIT                                                                                               \
    {                                                                                                                  \
        sizeof(pomai_batch), 0, 0, NULL, NULL, NULL, NULL, NULL, POMAI_DTYPE_FLOAT32, NULL, NULL                       \
    }

/* What an acknowledged write got. */
typedef struct pomai_ack {
    uint64_t stamp_ns;      /* commit stamp: nanoseconds since 1970, never decreasing within a shard */
    uint64_t first_id;      /* the first assigned id; row i has first_id + i; 0 if the ids were given */
    uint64_t rows;          /* put: rows written; delete: rows that were there */
    uint64_t lsn;           /* log sequence number of the write's first part, in its shard's log */
    uint32_t shard;         /* the shard of the first part */
    uint32_t parts;         /* log records the write was spread over */
    pomai_durability level; /* what it survives by now; never less than asked for */
} pomai_ack;

/* Whether an answer is complete. */
typedef enum pomai_completeness {
    POMAI_EXACT = 1,       /* every row that the view shows was compared */
    POMAI_APPROXIMATE = 2, /* an index was used; expected_recall says how good it is */
    POMAI_CUT = 3,         /* the deadline cut it: the best of what was compared by then */
} pomai_completeness;

/* Why a query has fewer than k neighbours. */
typedef enum pomai_fewer {
    POMAI_FEWER_NOT = 0,      /* it has k */
    POMAI_FEWER_ROWS = 1,     /* the collection shows fewer than k rows that match the filter, if there is one */
    POMAI_FEWER_DEADLINE = 2, /* the deadline cut the search */
} pomai_fewer;

/* What a search says of its own answer. */
typedef struct pomai_verdict {
    pomai_completeness completeness;
    pomai_fewer fewer;
    double expected_recall; /* 1.0 when exact; 0.0 when cut (unknown) */
    uint64_t rows_scanned;  /* rows compared with the query: by vectors, or by codes that say for sure that they are
                               farther */
    uint64_t rows_visible; /* rows that the view shows (about, when approximate; an upper bound when cut); with a filter
                              those of them that match: how many do, unless cut before all rows were judged, when it
                              is the upper bound of all rows and says nothing of matches */
} pomai_verdict;

/* What is built for segments of a collection, so that searches which name a recall are fast (docs/indexing.md). Numbers
 * on disk. */
typedef enum pomai_index_kind {
    POMAI_INDEX_AUTO = 0,  /* codes at once, a graph after them, and each search takes what suits it */
    POMAI_INDEX_EXACT = 1, /* neither: nothing is computed, and every search compares the vectors */
    POMAI_INDEX_CODES = 2, /* codes alone: built a hundred times as fast as a graph */
    POMAI_INDEX_GRAPH = 3, /* graphs alone: the least disk; what a graph does not answer compares the vectors */
} pomai_index_kind;

/* What is fixed about a collection. */
typedef struct pomai_collection_info {
    char name[POMAI_MAX_NAME + 1];
    uint32_t id;
    uint32_t dim; /* 0: `default`, before its first put */
    pomai_metric metric;
    pomai_id_kind id_kind;
    uint64_t ttl_ns; /* after which rows that were put without an expiry vanish; 0: never */
    uint64_t rows;   /* live rows at the time of the call */
    pomai_dtype dtype;
    char cluster_by[POMAI_MAX_CLUSTER_BY + 1]; /* "": none */
    pomai_index_kind index;
} pomai_collection_info;

/* What opening found and did. Borrowed pointers live until the database is closed. */
typedef struct pomai_open_report {
    uint64_t records;    /* log records replayed */
    uint64_t rows;       /* rows replayed, before later versions replaced some */
    uint64_t log_bytes;  /* bytes of log read */
    uint64_t torn_bytes; /* bytes after the last whole record, never acknowledged; moved to quarantine/ */
    uint64_t torn_tails; /* logs that had such a tail */
    uint64_t
        aborted_batches; /* batches over several shards that were not complete at the crash; none was acknowledged */
    uint64_t damaged;    /* 1 when opened up to the damage (POMAI_OPEN_ACCEPT_DAMAGE) and there was some */
    uint64_t open_ns;    /* time it took */
    const char *notes;   /* one line for each thing out of the ordinary; "" if none */
} pomai_open_report;

#endif
