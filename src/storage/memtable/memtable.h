/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of one collection in one shard, as they lie in the log slab, with an id map. One thread writes (the shard's
 * actor, or recovery); any number read without a lock. docs/threads.md, "Readers", states the ordering.
 *
 * A version of a row is seen by a reader at LSN v if begin <= v < end; begin is its chunk's LSN.
 */
#ifndef PM_STORAGE_MEMTABLE_H
#define PM_STORAGE_MEMTABLE_H

#include <assert.h>
#include <stdatomic.h>

#include "base/base.h"
#include "storage/format.h"
#include "storage/row.h"

struct pm_pages;

/* The rows of one PUT record. The columns are borrowed from pages that the chunk holds. */
typedef struct pm_chunk {
    uint32_t kind; /* PM_ROWS_CHUNK */
    uint32_t rows;
    uint64_t lsn;
    uint64_t stamp;
    bool ids_are_range;
    uint64_t first_id;       /* if ids_are_range */
    const uint64_t *u64_ids; /* else, of u64 ids */
    const uint32_t *id_ends; /* of string ids: rows + 1 */
    const uint8_t *id_bytes;
    const uint8_t *vector_bytes;
    uint64_t stride;               /* bytes of a row's vector */
    const uint64_t *expiry;        /* of each row, ns since 1970, 0: never; NULL: no row ever expires */
    const uint32_t *document_ends; /* rows + 1, or NULL */
    const uint8_t *document_bytes;
    struct pm_pages *pages[2]; /* the record's, and of an adopted block's vectors; let go of with the memtable */
    _Atomic uint32_t ended;    /* rows with an end, so that most chunks need no look at them */
    bool fresh_range;   /* its ids are consecutive and above all before: found by searching ranges, not in the id map */
    uint64_t *previous; /* of each row: reference of the version that it replaced, 0: none; NULL: none of any */
    _Atomic uint64_t end[]; /* of each row; PM_NO_END */
} pm_chunk;

/* What is known of the u64 ids of a chunk to be; of string ids all zero. */
typedef struct pm_id_bounds {
    bool consecutive; /* first, first + 1, ... last */
    uint64_t first;
    uint64_t last; /* the largest */
} pm_id_bounds;
/* Of a PUT record. */
void pm_id_bounds_of(const pm_rec_header *record, const uint8_t *payload, pm_id_bounds *bounds);

typedef struct pm_memtable pm_memtable;

/* `largest_id`: no u64 id above it is anywhere, so that ranges above it need no look; NULL: no id is anywhere. */
pm_memtable *pm_memtable_make(pomai_id_kind id_kind, uint64_t hash_seed, const uint64_t *largest_id);
/* Another pm_memtable_free is needed from now on. From any thread that holds it, or is in an epoch with it. */
void pm_memtable_hold(pm_memtable *table);
/* The last one lets go of the pages of its chunks, too. No reader but other holders may be left. */
void pm_memtable_free(pm_memtable *table);

/* Where versions that are older than the memtable's are. `end` ends the version of an id that has no end yet; true if
 * there was one. `row` is the id's in its record. */
typedef struct pm_older {
    bool (*end)(void *context, const pm_id *id, uint32_t row, uint64_t lsn);
    void *context;
} pm_older;

/* Who replaces a memtable learns of ends that are stored meanwhile; docs/lifecycle.md, "Carrying ends over". */
typedef struct pm_forward {
    void (*end)(struct pm_forward *forward, uint64_t chunk, uint32_t row, uint64_t lsn);
} pm_forward;
void pm_memtable_set_forward(pm_memtable *table, pm_forward *forward);
/* A row that has expired and goes nowhere: from now on it cannot be ended. false: it has an end. */
bool pm_memtable_drop(pm_memtable *table, uint64_t chunk, uint32_t row);

/* ---- the writer ---- */

/* A chunk of `rows` rows with everything that applying it can need, so that after this nothing can fail. NULL: no
 * memory. A reservation lasts until the chunk is applied or forgotten. */
pm_chunk *pm_memtable_reserve(pm_memtable *table, uint32_t rows, const pm_id_bounds *bounds);
void pm_memtable_forget(pm_memtable *table, pm_chunk *chunk);
/* Points a chunk's columns into a PUT record. `vectors` may lie elsewhere (an adopted block). */
void pm_chunk_point(pm_chunk *chunk, const pm_rec_header *record, const uint8_t *payload, const void *vectors);
/* Publishes the chunk and ends the versions it replaces, here or in what is older (may be NULL); how many it ended. Not
 * shown until the shard's visible LSN is raised. */
uint64_t pm_memtable_apply(pm_memtable *table, pm_chunk *chunk, const pm_older *older);
/* Ends the version of an id, if it has one; true if it had. */
bool pm_memtable_end(pm_memtable *table, const pm_id *id, uint64_t lsn);
/* The same for all ids of a DELETE record, here or in what is older; how many had one. */
uint64_t pm_memtable_end_all(pm_memtable *table, const pm_rec_header *record, const uint8_t *payload,
                             const pm_older *older);
/* Whether it has a version of an id; *lsn is that of the newest, 0 if that has an end. */
bool pm_memtable_newest(const pm_memtable *table, const pm_id *id, uint64_t *lsn);
/* A record of `bytes` bytes at `lsn` was applied: it pins the log until this memtable is in a segment. */
void pm_memtable_note(pm_memtable *table, uint64_t lsn, uint64_t bytes);
/* The LSN up to which it has everything; set once, when it takes no more rows. */
void pm_memtable_close(pm_memtable *table, uint64_t lsn);
uint64_t pm_memtable_upto(const pm_memtable *table);
/* Takes over what was reserved in `from` for a chunk, into a chunk of this table; `from`'s is void. NULL: no memory. */
pm_chunk *pm_memtable_move(pm_memtable *table, const pm_chunk *from, const pm_id_bounds *bounds);

/* ---- readers ---- */

/* Chunks published so far; those above the reader's LSN come last and are to be passed over. */
uint64_t pm_memtable_chunks(const pm_memtable *table);
const pm_chunk *pm_memtable_chunk(const pm_memtable *table, uint64_t index);
/* Chunks with begin <= visible. */
uint64_t pm_memtable_visible_chunks(const pm_memtable *table, uint64_t visible);
/* The version of an id that a reader at `visible` sees. */
bool pm_memtable_find(const pm_memtable *table, const pm_id *id, uint64_t visible, uint64_t now, const pm_chunk **chunk,
                      uint32_t *row);
/* The first and the bytes of all records noted; 0: none. */
uint64_t pm_memtable_first_lsn(const pm_memtable *table);
uint64_t pm_memtable_log_bytes(const pm_memtable *table);
/* Rows that are live by now, and bytes that the memtable itself takes (the slab not counted). */
uint64_t pm_memtable_live(const pm_memtable *table);
uint64_t pm_memtable_bytes(const pm_memtable *table);
/* Largest u64 id that was ever put or reserved; NULL: none. For the writer. */
const uint64_t *pm_memtable_largest_id(const pm_memtable *table);

static inline void pm_chunk_id(const pm_chunk *chunk, uint32_t row, pm_id *id)
{
    id->bytes = NULL;
    id->size = 0;
    id->u64 = 0;
    if (chunk->ids_are_range) {
        id->u64 = chunk->first_id + row;
    } else if (chunk->u64_ids != NULL) {
        id->u64 = chunk->u64_ids[row];
    } else {
        assert(chunk->id_ends != NULL);
        id->bytes = chunk->id_bytes + chunk->id_ends[row];
        id->size = chunk->id_ends[row + 1] - chunk->id_ends[row];
    }
}

/* The vector of a row, of the collection's type. */
static inline const void *pm_chunk_vector_at(const pm_chunk *chunk, uint32_t row)
{
    return chunk->vector_bytes + row * chunk->stride;
}

static inline pomai_bytes pm_chunk_document(const pm_chunk *chunk, uint32_t row)
{
    pomai_bytes none = {NULL, 0};
    if (chunk->document_ends == NULL || chunk->document_ends[row] == chunk->document_ends[row + 1]) return none;
    pomai_bytes document = {chunk->document_bytes + chunk->document_ends[row],
                            chunk->document_ends[row + 1] - chunk->document_ends[row]};
    return document;
}

/* now: rows that expire at or before it are not seen. */
static inline bool pm_chunk_row_visible(const pm_chunk *chunk, uint32_t row, uint64_t visible, uint64_t now)
{
    if (chunk->expiry != NULL && chunk->expiry[row] != 0 && chunk->expiry[row] <= now) return false;
    return visible < atomic_load_explicit(&chunk->end[row], memory_order_relaxed);
}

#endif
