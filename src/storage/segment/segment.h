/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments: rows of one collection, of all shards, immutable on disk, with what has ended since kept beside them.
 * docs/format/segment.md. A segment is found through the manifest, which holds a checksum of its file SEGMENT, which
 * holds sizes, offsets and checksums of everything else. Every block of every buffer is checked once before its first
 * use after an open; docs/threads.md says who may store ends.
 */
#ifndef PM_STORAGE_SEGMENT_H
#define PM_STORAGE_SEGMENT_H

#include <stdatomic.h>

#include "base/base.h"
#include "os/os.h"
#include "storage/derived/derived.h"
#include "storage/format.h"
#include "storage/row.h"

enum { PM_SEGMENT_MAX_ROWS = 1 << 28 };
#define PM_NO_ROW UINT32_MAX

/* Where a segment is and whose it is. */
typedef struct pm_segment_place {
    const pm_os *os;
    const char *dir; /* .../collections/<id>/segments/<number>; its parents exist */
    uint8_t uuid[16];
    uint32_t collection;
    uint32_t dim;
    pomai_dtype dtype;
    pomai_id_kind id_kind;
    uint32_t shards;
    uint64_t number;
} pm_segment_place;

/* One row; pointers are borrowed from where it lies. */
typedef struct pm_segment_row {
    pm_id id;
    uint32_t shard;
    uint64_t lsn, stamp;
    uint64_t expiry;    /* ns since 1970; 0: never */
    const void *vector; /* of the collection's type */
    pomai_bytes document;
} pm_segment_row;

/* ---- writing ---- */

typedef struct pm_segment_write {
    const pm_segment_place *place;
    uint64_t rows; /* 1 to PM_SEGMENT_MAX_ROWS */
    /* Gives of row i what `columns` (PM_SEG_ID and so on) name, and may give more. Called for every row once a column,
     * in ascending order within each pass. */
    pomai_status (*row)(void *context, uint64_t i, uint32_t columns, pm_segment_row *row, pomai_error *err);
    /* Called after about every 4 MiB written and at least once a pass; may sleep; a failure gives up. May be NULL. */
    pomai_status (*pace)(void *context, uint64_t bytes, pomai_error *err);
    void *context;
} pm_segment_write;

/* Writes a segment's files, synced, with their names and the name of the directory. Nothing refers to them until the
 * manifest does. A failure removes what it can; an interrupted write leaves a directory that the next open removes. */
pomai_status pm_segment_make(const pm_segment_write *in, pm_manifest_segment *out, pomai_error *err);
/* Removes a segment's files and its directory, whatever is there. Failure only costs space. */
void pm_segment_remove(const pm_os *os, const char *dir);

/* ---- an open segment ---- */

/* A mapped file, and which of its blocks have been checked. */
typedef struct pm_segment_file {
    const uint8_t *data; /* NULL: there is none */
    uint64_t size, blocks;
    const uint32_t *crc;
    _Atomic(uint64_t) *checked;
    _Atomic(uint64_t) left; /* blocks not checked yet */
} pm_segment_file;

/* Only this module and the functions below look inside. */
typedef struct pm_segment {
    uint32_t kind; /* PM_ROWS_SEGMENT */
    uint32_t dim;
    uint64_t rows;
    /* columns in the mapped files; NULL: there is none */
    const uint8_t *vector_bytes;
    uint64_t stride; /* bytes of a row's vector */
    const uint64_t *lsns;
    const uint64_t *expiries;
    const uint16_t *row_shards;
    const uint64_t *stamps;
    const uint64_t *ids;        /* of u64 ids */
    const uint32_t *id_offsets; /* of strings */
    const uint8_t *id_bytes;
    const uint32_t *document_offsets;
    const uint8_t *document_bytes;
    /* ends: 0 is none; a bit is set after its end */
    _Atomic(uint64_t) *ends;
    _Atomic(uint64_t) *ended;
    _Atomic(uint64_t) ended_count;
    _Atomic(void *) forward;
    _Atomic(pm_derived *) derived[PM_DERIVED_KINDS]; /* NULL: none; docs/threads.md, "Codes and graphs" */
    _Atomic uint32_t underivable; /* bit k: none of kind k can be made: rows are damaged, or it would be too large */
    /* ids.idx */
    const uint64_t *bloom;
    const uint32_t *directory;
    const uint64_t *keys;
    const uint32_t *key_rows;
    uint32_t bloom_lines, bits;
    /* the rest */
    pm_segment_file file[PM_FILES]; /* stats.json is not mapped */
    pm_segment_header header;
    pm_segment_buffer buffer[PM_BUFFERS];
    const pm_segment_shard_range *range;
    uint8_t *meta; /* SEGMENT; ranges and checksums lie in it */
    void *end_pages;
    size_t end_bytes;
    bool copied;    /* files are in memory, not mapped */
    bool set_aside; /* maintenance's: damaged, not to be merged */
    _Atomic uint32_t holders;
    pm_segment_place place;
    pm_manifest_segment entry;
    char *dir;
} pm_segment;

/* Maps the files and loads the liveness that `entry` names. Takes time that does not depend on the number of rows,
 * but for the liveness. POMAI_ECORRUPT names the file: missing, cut short, another segment's, damaged. */
pomai_status pm_segment_open(const pm_segment_place *place, const pm_manifest_segment *entry, pm_segment **out,
                             pomai_error *err);
/* For salvage: files that are short, missing or cannot be read are taken as far as they go, into memory; what is not
 * there has wrong checksums. ids.idx is not read: pm_segment_find and pm_segment_may_have must not be called. `notes`
 * gets what is wrong, *ends_lost whether the liveness is. Fails if SEGMENT does: nothing else says what is where. */
pomai_status pm_segment_open_damaged(const pm_segment_place *place, const pm_manifest_segment *entry, pm_text *notes,
                                     bool *ends_lost, pm_segment **out, pomai_error *err);
/* Another pm_segment_free is needed from now on. From any thread that holds it, or is in an epoch with it. */
void pm_segment_hold(pm_segment *segment);
void pm_segment_free(pm_segment *segment);

static inline const pm_segment_place *pm_segment_where(const pm_segment *segment)
{
    return &segment->place;
}

static inline const pm_manifest_segment *pm_segment_entry(const pm_segment *segment)
{
    return &segment->entry;
}

static inline uint64_t pm_segment_rows(const pm_segment *segment)
{
    return segment->rows;
}

/* Largest begin of a shard's rows, 0 if it has none. */
uint64_t pm_segment_max_lsn(const pm_segment *segment, uint32_t shard);
/* Largest u64 id; earliest expiry of any row, 0 if none ever expires. */
uint64_t pm_segment_max_id(const pm_segment *segment);
uint64_t pm_segment_first_expiry(const pm_segment *segment);

/* ---- reading ---- */

enum { PM_SEG_FETCH = 512 /* bytes of a vector; the rest comes by itself */ };

/* Columns, for pm_segment_check. */
enum {
    PM_SEG_ID = 1,
    PM_SEG_SHARD = 2,
    PM_SEG_LSN = 4,
    PM_SEG_STAMP = 8,
    PM_SEG_EXPIRY = 16,
    PM_SEG_VECTOR = 32,
    PM_SEG_DOCUMENT = 64,
    PM_SEG_ALL = 127
};

/* Checks the blocks that hold these columns of rows first .. first + count - 1, unless they were checked before. From
 * any thread. POMAI_ECORRUPT names file, offset and rows. What follows may be called only for rows checked so. */
pomai_status pm_segment_check(pm_segment *segment, uint32_t columns, uint64_t first, uint64_t count, pomai_error *err);
void pm_segment_id(const pm_segment *segment, uint64_t row, pm_id *id);
pomai_bytes pm_segment_document(const pm_segment *segment, uint64_t row);

/* Asks for it. */
static inline void pm_segment_fetch_id(const pm_segment *segment, uint64_t row)
{
    if (segment->ids != NULL) __builtin_prefetch(segment->ids + row);
}

static inline uint32_t pm_segment_shard(const pm_segment *segment, uint64_t row)
{
    return segment->row_shards[row];
}

static inline uint64_t pm_segment_lsn(const pm_segment *segment, uint64_t row)
{
    return segment->lsns[row];
}

static inline uint64_t pm_segment_stamp(const pm_segment *segment, uint64_t row)
{
    return segment->stamps[row];
}

static inline uint64_t pm_segment_expiry(const pm_segment *segment, uint64_t row)
{
    return segment->expiries == NULL ? 0 : segment->expiries[row];
}

/* For rows from `first` on that are compared soon. gcc takes a call that only prefetches for one without effect, and
 * drops it. */
__attribute__((always_inline)) static inline void pm_segment_fetch(const pm_segment *segment, uint64_t first,
                                                                   uint64_t n)
{
    const uint8_t *vectors = segment->vector_bytes + first * segment->stride;
    const uint64_t bytes = n == 1 && segment->stride > PM_SEG_FETCH ? PM_SEG_FETCH : n * segment->stride;
    for (uint64_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(vectors + at, 0, 2);
}

/* Of the collection's type. */
static inline const void *pm_segment_vector_at(const pm_segment *segment, uint64_t row)
{
    return segment->vector_bytes + row * segment->stride;
}

/* The seed of the hashes in ids.idx, the same for all segments of a database. */
uint64_t pm_segment_seed(const uint8_t uuid[16]);
/* false: no row has an id of this hash (pm_id_hash with the seed). Checked blocks of the bloom filter only; damage
 * makes it true, and pm_segment_find fail. */
bool pm_segment_may_have(pm_segment *segment, uint64_t hash);
/* Asks for the memory that pm_segment_may_have will read. */
void pm_segment_prefetch(const pm_segment *segment, uint64_t hash);
/* The version of an id that a reader at `visible` of its shard sees; PM_NO_END - 1: the one without an end. *row is
 * PM_NO_ROW if there is none. An id may have several versions in a segment. */
pomai_status pm_segment_find(pm_segment *segment, const pm_id *id, uint64_t hash, uint64_t visible, uint32_t *row,
                             pomai_error *err);

/* ---- ends ---- */

/* Stores the end of a row; true if it had none. Of two threads one stores it. */
bool pm_segment_end(pm_segment *segment, uint64_t row, uint64_t lsn);

/* PM_NO_END if it has none. */
static inline uint64_t pm_segment_end_of(const pm_segment *segment, uint64_t row)
{
    uint64_t end = atomic_load_explicit(&segment->ends[row], memory_order_acquire);
    return end == 0 ? PM_NO_END : end;
}

/* A bit for each of rows 64 * word .. 64 * word + 63 that has an end. Sequentially consistent. */
static inline uint64_t pm_segment_ended_word(const pm_segment *segment, uint64_t word)
{
    return atomic_load(&segment->ended[word]);
}

/* How many rows have an end. */
static inline uint64_t pm_segment_ended(const pm_segment *segment)
{
    return atomic_load(&segment->ended_count);
}

/* For whoever replaces the segment: where ends are stored as well (core/engine). Sequentially consistent. */
static inline _Atomic(void *) *pm_segment_forward(pm_segment *segment)
{
    return &segment->forward;
}

/* Its codes, or its graph; NULL: there is none. It stays while the reader is in the epoch in which it asked. */
static inline pm_derived *pm_segment_derived(const pm_segment *segment, uint32_t kind)
{
    return atomic_load_explicit(&segment->derived[kind], memory_order_acquire);
}

/* For maintenance: publishes one, or NULL; what was there before is the caller's to free once readers have left. */
static inline pm_derived *pm_segment_set_derived(pm_segment *segment, uint32_t kind, pm_derived *derived)
{
    return atomic_exchange_explicit(&segment->derived[kind], derived, memory_order_acq_rel);
}

/* Writes live-<generation> with every end that is at most upto[shard of its row], synced, and fills the live_ fields of
 * `entry`. No such end: live_generation 0, and no file. */
pomai_status pm_segment_write_live(const pm_segment *segment, uint64_t generation, const uint64_t *upto,
                                   pm_manifest_segment *entry, pomai_error *err);
/* How many ends its liveness file has. */
uint64_t pm_segment_live_count(const pm_manifest_segment *entry);
/* Removes live-<generation>. */
void pm_segment_remove_live(const pm_segment *segment, uint64_t generation);
/* Removes every live-<g> but the one of the entry, *.tmp, and derived files that it did not take: for a writer's open.
 */
void pm_segment_remove_leftovers(const pm_segment *segment);

/* ---- inspecting ---- */

/* Reads all of a segment from the disk again, not through the mapping, and checks every byte and every relation:
 * blocks, ids against ids.idx, the order of ids.idx, bloom filter, Arrow headers, liveness, unknown files. `progress`
 * gets the bytes done since the last call; non-zero stops with POMAI_EDEADLINE. */
pomai_status pm_segment_verify(const pm_segment_place *place, const pm_manifest_segment *entry,
                               int (*progress)(void *context, uint64_t bytes), void *context, pomai_error *err);
/* The scrub: reads up to `bytes` of a segment's files, but the liveness, from the disk again and compares checksums.
 * `offset` counts through all of them; *read says how far it came, also past damage; *end: that was all. Blocks found
 * damaged are checked again before their next use. */
pomai_status pm_segment_reread(pm_segment *segment, uint64_t offset, uint64_t bytes, uint64_t *read, bool *end,
                               pomai_error *err);
/* The same for the liveness that `entry`, the catalogue's own, names. */
pomai_status pm_segment_reread_live(const pm_segment *segment, const pm_manifest_segment *entry, pomai_error *err);
/* Bytes that pm_segment_verify will read. */
uint64_t pm_segment_bytes(const pm_manifest_segment *entry);

#endif
