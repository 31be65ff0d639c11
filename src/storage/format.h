/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that is on disk, by offset: docs/format/wal.md, manifest.md, segment.md, derived.md, with one static
 * assertion for each size and offset. Structs are used in memory as they are on disk; the engine runs on little-endian
 * machines only.
 */
#ifndef PM_STORAGE_FORMAT_H
#define PM_STORAGE_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "on-disk structs are little-endian");

#define PM_FORMAT 2u

#define PM_WAL_MAGIC      "POMAIWAL"
#define PM_MARK_MAGIC     "POMAIMRK"
#define PM_CURRENT_MAGIC  "POMAICUR"
#define PM_MANIFEST_MAGIC "POMAIMAN"
#define PM_SEGMENT_MAGIC  "POMAISEG"
#define PM_IDS_MAGIC      "POMAIIDX"
#define PM_LIVE_MAGIC     "POMAILIV"
#define PM_DERIVED_MAGIC  "POMAIDRV"

#define PM_WAL_ALIGN       64u
#define PM_WAL_HEADER      512u
#define PM_REC_HEADER      128u
#define PM_MARK_SLOT       512u
#define PM_REC_VERSION     1u
#define PM_MANIFEST_HEADER 128u
#define PM_HASH_KIND       1u
#define PM_EPOCH           1u
#define PM_MAX_SHARDS      256u
#define PM_MAX_ROWS        (1u << 24) /* of a batch */

/* What a reader of the manifest must know. */
#define PM_FEATURE_SEGMENTS ((uint64_t)1)  /* rows outside of the log, or a log without its begin */
#define PM_FEATURE_EXPIRY   ((uint64_t)2)  /* a collection whose rows end by themselves */
#define PM_FEATURE_DTYPE    ((uint64_t)4)  /* a collection whose vectors are not float32 */
#define PM_FEATURE_CLUSTER  ((uint64_t)8)  /* a collection whose rows are clustered by a path */
#define PM_FEATURE_INDEX    ((uint64_t)16) /* a collection that has not all kinds of indexes */
#define PM_FEATURES_KNOWN                                                                                              \
    (PM_FEATURE_SEGMENTS | PM_FEATURE_EXPIRY | PM_FEATURE_DTYPE | PM_FEATURE_CLUSTER | PM_FEATURE_INDEX)

enum { PM_OP_PUT = 1, PM_OP_DELETE = 2, PM_OP_ABORT = 3 };
enum { PM_DTYPE_NONE = 0 }; /* of a record without vectors; else pomai_dtype */
enum { PM_REC_IDS_ARE_RANGE = 1, PM_REC_HAS_DOCUMENTS = 2, PM_REC_HAS_EXPIRY = 4, PM_REC_FLAGS_KNOWN = 7 };

typedef struct pm_wal_header {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint8_t uuid[16];
    uint64_t salt;
    uint64_t number;
    uint64_t open_counter;
    uint32_t epoch;
    uint32_t shard;
    uint32_t cipher;
    uint32_t zero1;
    uint64_t pred_number;
    uint64_t pred_lsn;
    uint64_t pred_length;
    uint64_t pred_chain;
    uint64_t pred_stamp;
    uint8_t zero2[400];
} pm_wal_header;

typedef struct pm_rec_header {
    uint32_t header_crc;
    uint32_t payload_crc;
    uint16_t version;
    uint8_t op;
    uint8_t dtype;
    uint8_t id_kind;
    uint8_t flags;
    uint16_t zero1;
    uint64_t lsn;
    uint64_t durable_lsn;
    uint64_t stamp;
    uint64_t batch;
    uint32_t part;
    uint32_t parts;
    uint32_t collection;
    uint32_t dim;
    uint32_t rows;
    uint32_t key_id;
    uint64_t payload_len;
    uint64_t ids_len;
    uint64_t vectors_len;
    uint64_t expiry_len;
    uint64_t documents_len;
    uint8_t zero2[16];
} pm_rec_header;

typedef struct pm_mark_slot {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint8_t uuid[16];
    uint32_t epoch;
    uint32_t shard;
    uint64_t sequence;
    uint64_t number;
    uint64_t durable_lsn;
    uint64_t offset;
    uint64_t chain;
    uint8_t zero[432];
} pm_mark_slot;

typedef struct pm_current {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint8_t uuid[16];
    uint64_t number;
    uint8_t zero[24];
} pm_current;

typedef struct pm_manifest_header {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint64_t length;
    uint64_t incompatible;
    uint64_t compatible;
    uint8_t uuid[16];
    uint64_t number;
    uint64_t created;
    uint32_t epoch;
    uint32_t shards;
    uint32_t hash_kind;
    uint32_t next_collection;
    uint32_t collections;
    uint32_t zero1;
    uint64_t clock; /* latest wall-clock time acted on, ns since 1970; never goes back */
    uint64_t next_segment;
    uint8_t zero2[16];
} pm_manifest_header;

typedef struct pm_manifest_shard {
    uint64_t first_wal;
    uint64_t resolved;
    uint64_t pred_lsn; /* the end of the log before first_wal; all zero while that is 1 */
    uint64_t pred_length;
    uint64_t pred_chain;
    uint64_t pred_stamp;
} pm_manifest_shard;

typedef struct pm_manifest_collection {
    uint32_t id;
    uint32_t dim;
    uint8_t metric;
    uint8_t id_kind;
    uint8_t dtype;
    uint8_t name_len;
    uint32_t flags;
    uint64_t created;
    uint64_t next_id; /* the next id to assign is at least this */
    uint64_t ttl_ns;  /* 0: none */
    uint32_t segments;
    uint8_t cluster_len; /* of the path that its rows are clustered by; 0: none */
    uint8_t index;       /* pomai_index_kind */
    uint8_t zero[18];
} pm_manifest_collection;

/* A segment, as the manifest names it. */
typedef struct pm_manifest_segment {
    uint64_t number;
    uint64_t rows;
    uint32_t meta_len; /* of its file SEGMENT */
    uint32_t meta_crc;
    uint64_t live_generation; /* of live-<g>; 0: there is none, no row has ended */
    uint64_t live_len;
    uint32_t live_crc;
    uint32_t zero1;
    uint64_t bytes; /* of all its files but live-<g> */
    uint64_t zero2;
} pm_manifest_segment;

#define PM_SEGMENT_HEADER 256u
#define PM_IDS_HEADER     64u
#define PM_LIVE_HEADER    64u
#define PM_SEGMENT_BLOCK  65536u /* bytes under one checksum */
#define PM_SEGMENT_ALIGN  64u    /* of every buffer, in its file */

enum { PM_SEGMENT_EXPIRY = 1, PM_SEGMENT_DOCUMENTS = 2, PM_SEGMENT_RAW_IDS = 4, PM_SEGMENT_RAW_DOCUMENTS = 8 };
enum { PM_SEGMENT_FLAGS_KNOWN = 15 };
/* Files of a segment, in the order of the file table. */
enum { PM_FILE_VECTORS, PM_FILE_ATTRIBUTES, PM_FILE_IDS, PM_FILE_STATS, PM_FILES };
/* Buffers, in the order of the buffer table. */
enum {
    PM_BUF_ID_OFFSETS,
    PM_BUF_ID,
    PM_BUF_SHARD,
    PM_BUF_LSN,
    PM_BUF_STAMP,
    PM_BUF_EXPIRY_VALID,
    PM_BUF_EXPIRY,
    PM_BUF_VECTOR,
    PM_BUF_DOCUMENT_VALID,
    PM_BUF_DOCUMENT_OFFSETS,
    PM_BUF_DOCUMENT,
    PM_BUF_BLOOM,
    PM_BUF_DIRECTORY,
    PM_BUF_KEYS,
    PM_BUF_ROWS,
    PM_BUFFERS
};

typedef struct pm_segment_header {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint8_t uuid[16];
    uint64_t number;
    uint64_t length;
    uint32_t collection;
    uint32_t dim;
    uint32_t id_kind;
    uint32_t shards;
    uint64_t rows;
    uint64_t max_id;
    uint64_t first_expiry;
    uint64_t id_bytes;
    uint64_t document_bytes;
    uint64_t expiry_nulls;
    uint64_t document_nulls;
    uint32_t flags;
    uint32_t files;
    uint32_t buffers;
    uint32_t block_bytes;
    uint64_t blocks;
    uint32_t dtype; /* 0: float32; else pomai_dtype, but not float32 */
    uint8_t zero[108];
} pm_segment_header;

typedef struct pm_segment_shard_range {
    uint64_t rows;
    uint64_t min_lsn;
    uint64_t max_lsn;
} pm_segment_shard_range;

typedef struct pm_segment_file_entry {
    uint64_t size;
    uint64_t blocks;
} pm_segment_file_entry;

typedef struct pm_segment_buffer {
    uint32_t file;
    uint32_t zero;
    uint64_t offset;
    uint64_t length;
} pm_segment_buffer;

typedef struct pm_ids_header {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint8_t uuid[16];
    uint64_t number;
    uint64_t rows;
    uint32_t collection;
    uint32_t bloom_blocks;
    uint32_t probes;
    uint32_t bits;
} pm_ids_header;

typedef struct pm_live_header {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint8_t uuid[16];
    uint64_t number;
    uint64_t generation;
    uint64_t count;
    uint32_t collection;
    uint32_t zero;
} pm_live_header;

#define PM_DERIVED_HEADER   128u
#define PM_DERIVED_FORMAT   1u
#define PM_DERIVED_BLOCK    65536u /* bytes under one checksum; and where sections begin */
#define PM_DERIVED_SECTIONS 8u     /* at most */

/* Kinds, counted from 1; KINDS is one more than the last. */
enum { PM_DERIVED_CODES = 1, PM_DERIVED_GRAPH = 2, PM_DERIVED_COLUMNS = 3, PM_DERIVED_KINDS };

typedef struct pm_derived_header {
    char magic[8];
    uint32_t crc;
    uint32_t format;
    uint8_t uuid[16];
    uint64_t number;
    uint64_t length;
    uint32_t collection;
    uint32_t segment_crc;
    uint32_t kind;
    uint32_t version;
    uint64_t seed;
    uint64_t rows;
    uint32_t dim;
    uint32_t metric;
    uint32_t sections;
    uint32_t block_bytes;
    uint64_t blocks;
    uint64_t header_length;
    uint32_t variant;
    uint8_t zero[12];
} pm_derived_header;

typedef struct pm_derived_section {
    uint64_t offset;
    uint64_t length;
} pm_derived_section;

#define PM_AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field)
#define PM_SIZE(type, size)        _Static_assert(sizeof(type) == (size), #type)

PM_SIZE(pm_wal_header, PM_WAL_HEADER);
PM_AT(pm_wal_header, magic, 0);
PM_AT(pm_wal_header, crc, 8);
PM_AT(pm_wal_header, format, 12);
PM_AT(pm_wal_header, uuid, 16);
PM_AT(pm_wal_header, salt, 32);
PM_AT(pm_wal_header, number, 40);
PM_AT(pm_wal_header, open_counter, 48);
PM_AT(pm_wal_header, epoch, 56);
PM_AT(pm_wal_header, shard, 60);
PM_AT(pm_wal_header, cipher, 64);
PM_AT(pm_wal_header, zero1, 68);
PM_AT(pm_wal_header, pred_number, 72);
PM_AT(pm_wal_header, pred_lsn, 80);
PM_AT(pm_wal_header, pred_length, 88);
PM_AT(pm_wal_header, pred_chain, 96);
PM_AT(pm_wal_header, pred_stamp, 104);
PM_AT(pm_wal_header, zero2, 112);

PM_SIZE(pm_rec_header, PM_REC_HEADER);
PM_AT(pm_rec_header, header_crc, 0);
PM_AT(pm_rec_header, payload_crc, 4);
PM_AT(pm_rec_header, version, 8);
PM_AT(pm_rec_header, op, 10);
PM_AT(pm_rec_header, dtype, 11);
PM_AT(pm_rec_header, id_kind, 12);
PM_AT(pm_rec_header, flags, 13);
PM_AT(pm_rec_header, zero1, 14);
PM_AT(pm_rec_header, lsn, 16);
PM_AT(pm_rec_header, durable_lsn, 24);
PM_AT(pm_rec_header, stamp, 32);
PM_AT(pm_rec_header, batch, 40);
PM_AT(pm_rec_header, part, 48);
PM_AT(pm_rec_header, parts, 52);
PM_AT(pm_rec_header, collection, 56);
PM_AT(pm_rec_header, dim, 60);
PM_AT(pm_rec_header, rows, 64);
PM_AT(pm_rec_header, key_id, 68);
PM_AT(pm_rec_header, payload_len, 72);
PM_AT(pm_rec_header, ids_len, 80);
PM_AT(pm_rec_header, vectors_len, 88);
PM_AT(pm_rec_header, expiry_len, 96);
PM_AT(pm_rec_header, documents_len, 104);
PM_AT(pm_rec_header, zero2, 112);

PM_SIZE(pm_mark_slot, PM_MARK_SLOT);
PM_AT(pm_mark_slot, crc, 8);
PM_AT(pm_mark_slot, uuid, 16);
PM_AT(pm_mark_slot, epoch, 32);
PM_AT(pm_mark_slot, sequence, 40);
PM_AT(pm_mark_slot, number, 48);
PM_AT(pm_mark_slot, durable_lsn, 56);
PM_AT(pm_mark_slot, offset, 64);
PM_AT(pm_mark_slot, chain, 72);
PM_AT(pm_mark_slot, zero, 80);

PM_SIZE(pm_current, 64);
PM_AT(pm_current, crc, 8);
PM_AT(pm_current, uuid, 16);
PM_AT(pm_current, number, 32);

PM_SIZE(pm_manifest_header, PM_MANIFEST_HEADER);
PM_AT(pm_manifest_header, crc, 8);
PM_AT(pm_manifest_header, format, 12);
PM_AT(pm_manifest_header, length, 16);
PM_AT(pm_manifest_header, incompatible, 24);
PM_AT(pm_manifest_header, compatible, 32);
PM_AT(pm_manifest_header, uuid, 40);
PM_AT(pm_manifest_header, number, 56);
PM_AT(pm_manifest_header, created, 64);
PM_AT(pm_manifest_header, epoch, 72);
PM_AT(pm_manifest_header, shards, 76);
PM_AT(pm_manifest_header, hash_kind, 80);
PM_AT(pm_manifest_header, next_collection, 84);
PM_AT(pm_manifest_header, collections, 88);
PM_AT(pm_manifest_header, zero1, 92);
PM_AT(pm_manifest_header, clock, 96);
PM_AT(pm_manifest_header, next_segment, 104);
PM_AT(pm_manifest_header, zero2, 112);

PM_SIZE(pm_manifest_shard, 48);
PM_AT(pm_manifest_shard, resolved, 8);
PM_AT(pm_manifest_shard, pred_lsn, 16);
PM_AT(pm_manifest_shard, pred_length, 24);
PM_AT(pm_manifest_shard, pred_chain, 32);
PM_AT(pm_manifest_shard, pred_stamp, 40);

PM_SIZE(pm_manifest_segment, 64);
PM_AT(pm_manifest_segment, meta_len, 16);
PM_AT(pm_manifest_segment, meta_crc, 20);
PM_AT(pm_manifest_segment, live_generation, 24);
PM_AT(pm_manifest_segment, live_len, 32);
PM_AT(pm_manifest_segment, live_crc, 40);
PM_AT(pm_manifest_segment, bytes, 48);
PM_AT(pm_manifest_segment, zero2, 56);

PM_SIZE(pm_manifest_collection, 64);
PM_AT(pm_manifest_collection, metric, 8);
PM_AT(pm_manifest_collection, flags, 12);
PM_AT(pm_manifest_collection, created, 16);
PM_AT(pm_manifest_collection, next_id, 24);
PM_AT(pm_manifest_collection, ttl_ns, 32);
PM_AT(pm_manifest_collection, segments, 40);
PM_AT(pm_manifest_collection, cluster_len, 44);
PM_AT(pm_manifest_collection, index, 45);
PM_AT(pm_manifest_collection, zero, 46);

/* What to do about a file of another format. */
static inline const char *pm_format_advice(uint32_t format)
{
    return format < PM_FORMAT ? "it was written by an older development build: export the database with that build"
                              : "use a newer PomaiDB";
}

PM_SIZE(pm_segment_header, PM_SEGMENT_HEADER);
PM_AT(pm_segment_header, crc, 8);
PM_AT(pm_segment_header, format, 12);
PM_AT(pm_segment_header, uuid, 16);
PM_AT(pm_segment_header, number, 32);
PM_AT(pm_segment_header, length, 40);
PM_AT(pm_segment_header, collection, 48);
PM_AT(pm_segment_header, dim, 52);
PM_AT(pm_segment_header, id_kind, 56);
PM_AT(pm_segment_header, shards, 60);
PM_AT(pm_segment_header, rows, 64);
PM_AT(pm_segment_header, max_id, 72);
PM_AT(pm_segment_header, first_expiry, 80);
PM_AT(pm_segment_header, id_bytes, 88);
PM_AT(pm_segment_header, document_bytes, 96);
PM_AT(pm_segment_header, expiry_nulls, 104);
PM_AT(pm_segment_header, document_nulls, 112);
PM_AT(pm_segment_header, flags, 120);
PM_AT(pm_segment_header, files, 124);
PM_AT(pm_segment_header, buffers, 128);
PM_AT(pm_segment_header, block_bytes, 132);
PM_AT(pm_segment_header, blocks, 136);
PM_AT(pm_segment_header, dtype, 144);
PM_AT(pm_segment_header, zero, 148);

PM_SIZE(pm_segment_shard_range, 24);
PM_AT(pm_segment_shard_range, min_lsn, 8);
PM_AT(pm_segment_shard_range, max_lsn, 16);
PM_SIZE(pm_segment_file_entry, 16);
PM_AT(pm_segment_file_entry, blocks, 8);
PM_SIZE(pm_segment_buffer, 24);
PM_AT(pm_segment_buffer, zero, 4);
PM_AT(pm_segment_buffer, offset, 8);
PM_AT(pm_segment_buffer, length, 16);

PM_SIZE(pm_ids_header, PM_IDS_HEADER);
PM_AT(pm_ids_header, crc, 8);
PM_AT(pm_ids_header, format, 12);
PM_AT(pm_ids_header, uuid, 16);
PM_AT(pm_ids_header, number, 32);
PM_AT(pm_ids_header, rows, 40);
PM_AT(pm_ids_header, collection, 48);
PM_AT(pm_ids_header, bloom_blocks, 52);
PM_AT(pm_ids_header, probes, 56);
PM_AT(pm_ids_header, bits, 60);

PM_SIZE(pm_live_header, PM_LIVE_HEADER);
PM_AT(pm_live_header, crc, 8);
PM_AT(pm_live_header, format, 12);
PM_AT(pm_live_header, uuid, 16);
PM_AT(pm_live_header, number, 32);
PM_AT(pm_live_header, generation, 40);
PM_AT(pm_live_header, count, 48);
PM_AT(pm_live_header, collection, 56);
PM_AT(pm_live_header, zero, 60);

PM_SIZE(pm_derived_header, PM_DERIVED_HEADER);
PM_AT(pm_derived_header, crc, 8);
PM_AT(pm_derived_header, format, 12);
PM_AT(pm_derived_header, uuid, 16);
PM_AT(pm_derived_header, number, 32);
PM_AT(pm_derived_header, length, 40);
PM_AT(pm_derived_header, collection, 48);
PM_AT(pm_derived_header, segment_crc, 52);
PM_AT(pm_derived_header, kind, 56);
PM_AT(pm_derived_header, version, 60);
PM_AT(pm_derived_header, seed, 64);
PM_AT(pm_derived_header, rows, 72);
PM_AT(pm_derived_header, dim, 80);
PM_AT(pm_derived_header, metric, 84);
PM_AT(pm_derived_header, sections, 88);
PM_AT(pm_derived_header, block_bytes, 92);
PM_AT(pm_derived_header, blocks, 96);
PM_AT(pm_derived_header, header_length, 104);
PM_AT(pm_derived_header, variant, 112);
PM_AT(pm_derived_header, zero, 116);
PM_SIZE(pm_derived_section, 16);
PM_AT(pm_derived_section, length, 8);

#endif
