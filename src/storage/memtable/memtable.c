/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants:
 *  1. A chunk's columns never change once its index is below `chunks`.
 *  2. A map slot, once taken by an id, stays that id's; only the version it refers to changes, always to a newer one.
 *  3. Everything that applying a record needs was reserved before the record was logged.
 *  4. An id is in the map, or in one fresh range, or in both: then the map's version is the newer and leads to the
 * other.
 *
 * A version's reference is (chunk index + 1) << 24 | row; a map slot holds it with 8 bits of the id's hash on top.
 */
#include "storage/memtable/memtable.h"

#include <assert.h>
#include <string.h>

#include "base/mutant.h"
#include "os/os.h"

enum { ROW_BITS = 24, TAG_SHIFT = 56, FIRST_BLOCK = 64, BLOCKS = 27, ARENA_BLOCK = 1 << 18, LEAST_RANGE = 16 };

#define REF_MASK (((uint64_t)1 << TAG_SHIFT) - 1)
#define ROW_MASK (((uint32_t)1 << ROW_BITS) - 1)

/* A power of two of slots, probed linearly. Replaced by a larger one when it fills; the old stays for its readers. */
typedef struct id_map {
    struct id_map *older;
    uint64_t mask;
    _Atomic uint64_t slot[];
} id_map;

/* Chunks are small for small puts, so they come from blocks. */
typedef struct arena {
    struct arena *older;
    size_t used, size;
    uint64_t bytes[]; /* uint64_t for alignment */
} arena;

/* A list of words that only grows, in blocks that never move: block b holds FIRST_BLOCK << b. */
typedef struct list {
    _Atomic(uint64_t *) block[BLOCKS];
    _Atomic uint64_t count;
} list;

struct pm_memtable {
    uint64_t hash_seed; /* of this process: ids cannot be chosen to collide */
    pomai_id_kind id_kind;
    /* the writer's */
    arena *arenas;
    uint64_t reserved_rows; /* of chunks that are reserved, not yet applied, and go into the map */
    uint64_t reserved_chunks;
    uint64_t reserved_ranges;
    bool any_id; /* largest_id says something */
    uint64_t used_slots;
    uint64_t largest_id;
    _Atomic uint64_t first_lsn, log_bytes, upto;
    /* published */
    _Atomic(pm_forward *) forward;
    _Atomic(id_map *) map;
    list chunks;
    list ranges; /* indexes of the chunks with fresh_range */
    _Atomic uint64_t live;
    _Atomic uint64_t bytes;
    _Atomic uint32_t holders;
};

pm_memtable *pm_memtable_make(pomai_id_kind id_kind, uint64_t hash_seed, const uint64_t *largest_id)
{
    pm_memtable *table = pm_calloc(1, sizeof *table);
    if (table == NULL) return NULL;
    table->id_kind = id_kind;
    table->hash_seed = hash_seed;
    atomic_init(&table->holders, 1);
    table->any_id = largest_id != NULL;
    if (largest_id != NULL) table->largest_id = *largest_id;
    return table;
}

static void list_clear(list *l)
{
    for (int b = 0; b < BLOCKS; b++)
        pm_free(atomic_load(&l->block[b]));
}

void pm_memtable_hold(pm_memtable *table)
{
    atomic_fetch_add_explicit(&table->holders, 1, memory_order_relaxed);
}

void pm_memtable_free(pm_memtable *table)
{
    if (table == NULL || atomic_fetch_sub_explicit(&table->holders, 1, memory_order_acq_rel) != 1) return;
    for (uint64_t i = 0; i < pm_memtable_chunks(table); i++) {
        const pm_chunk *chunk = pm_memtable_chunk(table, i);
        pm_pages_let_go(chunk->pages[0]);
        pm_pages_let_go(chunk->pages[1]);
    }
    for (arena *a = table->arenas; a != NULL;) {
        arena *older = a->older;
        pm_free(a);
        a = older;
    }
    for (id_map *m = atomic_load(&table->map); m != NULL;) {
        id_map *older = m->older;
        pm_free(m);
        m = older;
    }
    list_clear(&table->chunks);
    list_clear(&table->ranges);
    pm_free(table);
}

static uint64_t hash_id(const pm_memtable *table, const pm_id *id)
{
    return pm_id_hash(id, table->hash_seed);
}

static bool id_equal(const pm_chunk *chunk, uint32_t row, const pm_id *id)
{
    pm_id other;
    pm_chunk_id(chunk, row, &other);
    if (id->bytes == NULL) return other.u64 == id->u64;
    assert(other.bytes != NULL); /* ids of a collection are of one kind */
    return other.size == id->size && memcmp(other.bytes, id->bytes, id->size) == 0;
}

/* ---- lists ---- */

/* Index i lies in block b with FIRST_BLOCK * (2^b - 1) <= i. */
static void locate(uint64_t index, int *b, uint64_t *at)
{
    uint64_t n = index / FIRST_BLOCK + 1;
    *b = 63 - __builtin_clzll(n);
    *at = index - FIRST_BLOCK * (((uint64_t)1 << *b) - 1);
}

static uint64_t list_at(const list *l, uint64_t index)
{
    int b;
    uint64_t at;
    locate(index, &b, &at);
    return atomic_load_explicit(&l->block[b], memory_order_acquire)[at];
}

/* Room for `count` entries in all. */
static bool list_reserve(pm_memtable *table, list *l, uint64_t count)
{
    int b;
    uint64_t at;
    if (count == 0) return true;
    locate(count - 1, &b, &at);
    if (b >= BLOCKS) return false;
    for (int i = b; i >= 0 && atomic_load_explicit(&l->block[i], memory_order_relaxed) == NULL; i--) {
        size_t entries = (size_t)FIRST_BLOCK << i;
        uint64_t *block = pm_calloc(entries, sizeof *block);
        if (block == NULL) return false;
        atomic_store_explicit(&l->block[i], block, memory_order_release);
        atomic_fetch_add_explicit(&table->bytes, entries * sizeof *block, memory_order_relaxed);
    }
    return true;
}

/* There is room. */
static void list_add(list *l, uint64_t value)
{
    int b;
    uint64_t at, count = atomic_load_explicit(&l->count, memory_order_relaxed);
    locate(count, &b, &at);
    atomic_load_explicit(&l->block[b], memory_order_relaxed)[at] = value;
    atomic_store_explicit(&l->count, count + 1, PM_MUTANT_ORDER(COUNT_RELAXED, memory_order_release));
}

uint64_t pm_memtable_chunks(const pm_memtable *table)
{
    return atomic_load_explicit(&table->chunks.count, memory_order_acquire);
}

const pm_chunk *pm_memtable_chunk(const pm_memtable *table, uint64_t index)
{
    return (const pm_chunk *)(uintptr_t)list_at(&table->chunks, index);
}

uint64_t pm_memtable_visible_chunks(const pm_memtable *table, uint64_t visible)
{
    uint64_t n = pm_memtable_chunks(table);
    while (n > 0 && pm_memtable_chunk(table, n - 1)->lsn > visible && !PM_MUTANT(SEARCH_SEES_AHEAD))
        n--;
    return n;
}

/* ---- ranges ---- */

/* The reference of an id in a fresh range, 0 if it is in none. Ranges ascend: each was above all ids before it. */
static uint64_t find_in_ranges(const pm_memtable *table, uint64_t id)
{
    uint64_t low = 0, high = atomic_load_explicit(&table->ranges.count, memory_order_acquire);
    while (low < high) { /* the first range that begins above id */
        uint64_t middle = low + (high - low) / 2;
        if (pm_memtable_chunk(table, list_at(&table->ranges, middle))->first_id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return 0;
    uint64_t index = list_at(&table->ranges, low - 1);
    const pm_chunk *chunk = pm_memtable_chunk(table, index);
    uint64_t row = id - chunk->first_id;
    return row + PM_MUTANT(RANGE_END_MISSED) < chunk->rows ? (index + 1) << ROW_BITS | row : 0;
}

/* ---- id map ---- */

static bool map_grow(pm_memtable *table, uint64_t slots)
{
    id_map *map = pm_calloc(1, sizeof *map + slots * sizeof map->slot[0]);
    if (map == NULL) return false;
    id_map *old = atomic_load_explicit(&table->map, memory_order_relaxed);
    map->older = old;
    map->mask = slots - 1;
    for (uint64_t i = 0; old != NULL && i + PM_MUTANT(MAP_GROWTH_DROPS) <= old->mask; i++) {
        uint64_t value = atomic_load_explicit(&old->slot[i], memory_order_relaxed);
        if (value == 0) continue;
        uint64_t ref = value & REF_MASK;
        pm_id id;
        pm_chunk_id(pm_memtable_chunk(table, (ref >> ROW_BITS) - 1), (uint32_t)(ref & ROW_MASK), &id);
        uint64_t at = hash_id(table, &id) & map->mask;
        while (atomic_load_explicit(&map->slot[at], memory_order_relaxed) != 0)
            at = (at + 1) & map->mask;
        atomic_store_explicit(&map->slot[at], value, memory_order_relaxed);
    }
    atomic_store_explicit(&table->map, map, PM_MUTANT_ORDER(MAP_RELAXED, memory_order_release));
    atomic_fetch_add_explicit(&table->bytes, sizeof *map + slots * sizeof map->slot[0], memory_order_relaxed);
    return true;
}

/* Room for all reserved rows and `rows` more at a load of at most two thirds. */
static bool map_reserve(pm_memtable *table, uint32_t rows)
{
    uint64_t want = table->used_slots + table->reserved_rows + rows;
    id_map *map = atomic_load_explicit(&table->map, memory_order_relaxed);
    uint64_t slots = map == NULL ? 0 : map->mask + 1;
    if (want * 3 <= slots * 2) return true;
    uint64_t wider = slots == 0 ? 64 : slots * 2;
    while (want * 3 > wider * 2)
        wider *= 2;
    return map_grow(table, wider);
}

/* The slot of an id: its own, or the free one where it would go. */
static _Atomic uint64_t *map_slot(const pm_memtable *table, id_map *map, const pm_id *id, uint64_t hash,
                                  uint64_t *value)
{
    uint64_t tag = hash >> TAG_SHIFT;
    for (uint64_t at = hash & map->mask;; at = (at + 1) & map->mask) {
        uint64_t v = atomic_load_explicit(&map->slot[at], memory_order_acquire);
        if (v != 0 && v >> TAG_SHIFT != tag) continue;
        if (v != 0) {
            uint64_t ref = v & REF_MASK;
            const pm_chunk *chunk = pm_memtable_chunk(table, (ref >> ROW_BITS) - 1);
            if (!id_equal(chunk, (uint32_t)(ref & ROW_MASK), id) && !PM_MUTANT(ID_TAG_ONLY)) continue;
        }
        *value = v;
        return &map->slot[at];
    }
}

/* ---- the writer ---- */

static void *arena_take(pm_memtable *table, size_t size)
{
    size = pm_align_up(size, 8);
    arena *a = table->arenas;
    if (a == NULL || a->size - a->used < size) {
        size_t block = size > ARENA_BLOCK / 4 ? size : ARENA_BLOCK;
        arena *fresh = pm_malloc(sizeof *fresh + block);
        if (fresh == NULL) return NULL;
        fresh->used = 0;
        fresh->size = block;
        /* A block for one large chunk goes behind the one still in use. */
        if (a != NULL && block == size) {
            fresh->older = a->older;
            a->older = fresh;
        } else {
            fresh->older = a;
            table->arenas = fresh;
        }
        atomic_fetch_add_explicit(&table->bytes, sizeof *fresh + block, memory_order_relaxed);
        a = fresh;
    }
    void *memory = (char *)a->bytes + a->used;
    a->used += size;
    return memory;
}

/* Only ids above all before can be neither in the map nor in another range; short runs are better off in the map. */
static bool is_fresh_range(const pm_memtable *table, uint32_t rows, const pm_id_bounds *bounds)
{
    return bounds->consecutive && rows >= LEAST_RANGE &&
           (!table->any_id || bounds->first + PM_MUTANT(RANGES_OVERLAP) > table->largest_id);
}

pm_chunk *pm_memtable_reserve(pm_memtable *table, uint32_t rows, const pm_id_bounds *bounds)
{
    const bool fresh = is_fresh_range(table, rows, bounds);
    const uint64_t chunks =
        atomic_load_explicit(&table->chunks.count, memory_order_relaxed) + table->reserved_chunks + 1;
    const uint64_t ranges =
        atomic_load_explicit(&table->ranges.count, memory_order_relaxed) + table->reserved_ranges + fresh;
    if (!list_reserve(table, &table->chunks, chunks) || !list_reserve(table, &table->ranges, ranges)) return NULL;
    if (!fresh && !map_reserve(table, rows)) return NULL;
    pm_chunk *chunk = arena_take(table, sizeof *chunk + (size_t)rows * (fresh ? 1 : 2) * sizeof(uint64_t));
    if (chunk == NULL) return NULL;
    memset(chunk, 0, sizeof *chunk);
    chunk->kind = PM_ROWS_CHUNK;
    chunk->rows = rows;
    chunk->fresh_range = fresh;
    memset((void *)chunk->end, 0xff, rows * sizeof chunk->end[0]); /* PM_NO_END */
    if (!fresh) {
        chunk->previous = (uint64_t *)(void *)&chunk->end[rows];
        memset(chunk->previous, 0, rows * sizeof *chunk->previous);
        table->reserved_rows += rows;
    }
    table->reserved_ranges += fresh;
    table->reserved_chunks++;
    if (table->id_kind == POMAI_ID_U64) {
        table->largest_id = table->any_id ? pm_max_u64(table->largest_id, bounds->last) : bounds->last;
        table->any_id = true;
    }
    return chunk;
}

pm_chunk *pm_memtable_move(pm_memtable *table, const pm_chunk *from, const pm_id_bounds *bounds)
{
    pm_chunk *chunk = pm_memtable_reserve(table, from->rows, bounds);
    if (chunk == NULL) return NULL;
    chunk->lsn = from->lsn;
    chunk->stamp = from->stamp;
    chunk->ids_are_range = from->ids_are_range;
    chunk->first_id = from->first_id;
    chunk->u64_ids = from->u64_ids;
    chunk->id_ends = from->id_ends;
    chunk->id_bytes = from->id_bytes;
    chunk->vector_bytes = from->vector_bytes;
    chunk->stride = from->stride;
    chunk->document_ends = from->document_ends;
    chunk->document_bytes = from->document_bytes;
    chunk->expiry = from->expiry;
    chunk->pages[0] = from->pages[0];
    chunk->pages[1] = from->pages[1];
    return chunk;
}

static void no_longer_reserved(pm_memtable *table, const pm_chunk *chunk)
{
    table->reserved_chunks--;
    if (chunk->fresh_range)
        table->reserved_ranges--;
    else
        table->reserved_rows -= chunk->rows;
}

void pm_memtable_forget(pm_memtable *table, pm_chunk *chunk)
{
    no_longer_reserved(table, chunk);
    pm_pages_let_go(chunk->pages[0]);
    pm_pages_let_go(chunk->pages[1]);
}

void pm_memtable_set_forward(pm_memtable *table, pm_forward *forward)
{
    atomic_store(&table->forward, forward);
}

void pm_memtable_note(pm_memtable *table, uint64_t lsn, uint64_t bytes)
{
    if (atomic_load_explicit(&table->first_lsn, memory_order_relaxed) == 0)
        atomic_store_explicit(&table->first_lsn, lsn, memory_order_release);
    atomic_fetch_add_explicit(&table->log_bytes, bytes, memory_order_relaxed);
}

void pm_memtable_close(pm_memtable *table, uint64_t lsn)
{
    atomic_store_explicit(&table->upto, lsn, memory_order_release);
}

uint64_t pm_memtable_upto(const pm_memtable *table)
{
    return atomic_load_explicit(&table->upto, memory_order_acquire);
}

uint64_t pm_memtable_first_lsn(const pm_memtable *table)
{
    return atomic_load_explicit(&table->first_lsn, memory_order_acquire);
}

uint64_t pm_memtable_log_bytes(const pm_memtable *table)
{
    return atomic_load_explicit(&table->log_bytes, memory_order_relaxed);
}

void pm_id_bounds_of(const pm_rec_header *record, const uint8_t *payload, pm_id_bounds *bounds)
{
    memset(bounds, 0, sizeof *bounds);
    if (record->id_kind != POMAI_ID_U64) return;
    const uint64_t *ids = (const uint64_t *)(const void *)payload;
    bounds->consecutive = (record->flags & PM_REC_IDS_ARE_RANGE) != 0;
    bounds->first = ids[0];
    bounds->last = ids[0] + (bounds->consecutive ? record->rows - 1 : 0);
    for (uint32_t row = 1; !bounds->consecutive && row < record->rows; row++)
        bounds->last = pm_max_u64(bounds->last, ids[row]);
}

void pm_chunk_point(pm_chunk *chunk, const pm_rec_header *record, const uint8_t *payload, const void *vectors)
{
    chunk->lsn = record->lsn;
    chunk->stamp = record->stamp;
    chunk->vector_bytes = vectors;
    chunk->stride = (uint64_t)record->dim * pm_dtype_size((pomai_dtype)record->dtype);
    const uint8_t *ids = payload;
    if ((record->flags & PM_REC_IDS_ARE_RANGE) != 0) {
        chunk->ids_are_range = true;
        memcpy(&chunk->first_id, ids, sizeof chunk->first_id);
    } else if (record->id_kind == POMAI_ID_U64) {
        chunk->u64_ids = (const uint64_t *)(const void *)ids;
    } else {
        chunk->id_ends = (const uint32_t *)(const void *)ids;
        chunk->id_bytes = ids + ((size_t)record->rows + 1) * sizeof(uint32_t);
    }
    /* From the end: where the vectors begin differs if they lie elsewhere. */
    const uint8_t *documents = payload + record->payload_len - pm_align_up(record->documents_len, PM_WAL_ALIGN);
    if ((record->flags & PM_REC_HAS_EXPIRY) != 0)
        chunk->expiry = (const uint64_t *)(const void *)(documents - pm_align_up(record->expiry_len, PM_WAL_ALIGN));
    if ((record->flags & PM_REC_HAS_DOCUMENTS) != 0) {
        chunk->document_ends = (const uint32_t *)(const void *)documents;
        chunk->document_bytes = documents + ((size_t)record->rows + 1) * sizeof(uint32_t);
    }
}

/* false: it has an end, or was dropped. */
static bool set_end(pm_chunk *chunk, uint32_t row, uint64_t lsn)
{
    uint64_t none = PM_NO_END;
    return atomic_compare_exchange_strong_explicit(&chunk->end[row], &none, lsn, memory_order_release,
                                                   memory_order_relaxed);
}

bool pm_memtable_drop(pm_memtable *table, uint64_t chunk, uint32_t row)
{
    return set_end((pm_chunk *)(uintptr_t)pm_memtable_chunk(table, chunk), row, PM_END_DROPPED);
}

static bool end_version(pm_memtable *table, uint64_t ref, uint64_t lsn)
{
    pm_chunk *old = (pm_chunk *)(uintptr_t)pm_memtable_chunk(table, (ref >> ROW_BITS) - 1);
    if (!set_end(old, ref & ROW_MASK, lsn)) return false;
    atomic_fetch_sub_explicit(&table->live, 1, memory_order_relaxed);
    /* Sequentially consistent, and so is who sets `forward` and then looks at `ended`: one of us sees the other. */
    atomic_fetch_add(&old->ended, 1);
    pm_forward *forward = atomic_load(&table->forward);
    if (forward != NULL) forward->end(forward, (ref >> ROW_BITS) - 1, (uint32_t)(ref & ROW_MASK), lsn);
    return true;
}

static bool version_live(const pm_memtable *table, uint64_t ref)
{
    const pm_chunk *chunk = pm_memtable_chunk(table, (ref >> ROW_BITS) - 1);
    return atomic_load_explicit(&chunk->end[ref & ROW_MASK], memory_order_relaxed) == PM_NO_END;
}

/* The version that the map, or else a range, has of an id; 0: none. */
static uint64_t newest(const pm_memtable *table, const pm_id *id, uint64_t map_value)
{
    if (map_value != 0) return map_value & REF_MASK;
    return id->bytes == NULL ? find_in_ranges(table, id->u64) : 0;
}

/* true: it ended another version. */
static bool apply_row(pm_memtable *table, id_map *map, pm_chunk *chunk, uint64_t index, uint32_t row,
                      const pm_older *older)
{
    pm_id id;
    pm_chunk_id(chunk, row, &id);
    uint64_t hash = hash_id(table, &id), value;
    _Atomic uint64_t *slot = map_slot(table, map, &id, hash, &value);
    uint64_t old = newest(table, &id, value);
    chunk->previous[row] = old;
    uint64_t ref = (index + 1) << ROW_BITS | row;
    atomic_store_explicit(slot, (hash >> TAG_SHIFT) << TAG_SHIFT | ref,
                          PM_MUTANT_ORDER(SLOT_RELAXED, memory_order_release));
    if (value == 0) table->used_slots++;
    if (old == 0) /* else the version here ended what is older when it came */
        return older != NULL && older->end(older->context, &id, row, chunk->lsn);
    return version_live(table, old) && !PM_MUTANT(OLD_VERSION_STAYS) &&
           end_version(table, old, chunk->lsn + PM_MUTANT(ENDS_ONE_LATE));
}

uint64_t pm_memtable_apply(pm_memtable *table, pm_chunk *chunk, const pm_older *older)
{
    uint64_t index = atomic_load_explicit(&table->chunks.count, memory_order_relaxed);
    list_add(&table->chunks, (uint64_t)(uintptr_t)chunk);
    no_longer_reserved(table, chunk);
    id_map *map = atomic_load_explicit(&table->map, memory_order_relaxed);
    if (chunk->fresh_range) list_add(&table->ranges, index);
    uint64_t ended = 0;
    for (uint32_t row = 0; !chunk->fresh_range && row < chunk->rows; row++)
        ended += apply_row(table, map, chunk, index, row, older);
    atomic_fetch_add_explicit(&table->live, chunk->rows, memory_order_relaxed);
    return ended;
}

/* Where an id's newest version is, for writer and readers; 0: nowhere. */
static uint64_t find_newest(const pm_memtable *table, const pm_id *id, memory_order order)
{
    id_map *map = atomic_load_explicit(&table->map, order);
    uint64_t value = 0;
    if (map != NULL) map_slot(table, map, id, hash_id(table, id), &value);
    return newest(table, id, value);
}

bool pm_memtable_end(pm_memtable *table, const pm_id *id, uint64_t lsn)
{
    uint64_t ref = find_newest(table, id, memory_order_relaxed);
    return ref != 0 && version_live(table, ref) && end_version(table, ref, lsn - PM_MUTANT(DELETES_ONE_EARLY));
}

bool pm_memtable_newest(const pm_memtable *table, const pm_id *id, uint64_t *lsn)
{
    const uint64_t ref = find_newest(table, id, memory_order_relaxed);
    if (ref == 0) return false;
    *lsn = version_live(table, ref) ? pm_memtable_chunk(table, (ref >> ROW_BITS) - 1)->lsn : 0;
    return true;
}

uint64_t pm_memtable_end_all(pm_memtable *table, const pm_rec_header *record, const uint8_t *payload,
                             const pm_older *older)
{
    pm_chunk ids; /* only its id columns are used */
    memset(&ids, 0, sizeof ids);
    pm_chunk_point(&ids, record, payload, NULL);
    uint64_t ended = 0;
    for (uint32_t row = 0; row < record->rows; row++) {
        pm_id id;
        pm_chunk_id(&ids, row, &id);
        if (pm_memtable_end(table, &id, record->lsn) ||
            (older != NULL && older->end(older->context, &id, row, record->lsn)))
            ended++;
    }
    return ended;
}

/* ---- readers ---- */

bool pm_memtable_find(const pm_memtable *table, const pm_id *id, uint64_t visible, uint64_t now, const pm_chunk **chunk,
                      uint32_t *row)
{
    for (uint64_t ref = find_newest(table, id, memory_order_acquire); ref != 0;) {
        *chunk = pm_memtable_chunk(table, (ref >> ROW_BITS) - 1);
        *row = (uint32_t)(ref & ROW_MASK);
        if ((*chunk)->lsn <= visible || PM_MUTANT(GET_SEES_AHEAD))
            return pm_chunk_row_visible(*chunk, *row, visible, now);
        ref = (*chunk)->previous == NULL ? 0 : (*chunk)->previous[*row];
    }
    return false;
}

uint64_t pm_memtable_live(const pm_memtable *table)
{
    return atomic_load_explicit(&table->live, memory_order_relaxed);
}

uint64_t pm_memtable_bytes(const pm_memtable *table)
{
    return atomic_load_explicit(&table->bytes, memory_order_relaxed);
}

const uint64_t *pm_memtable_largest_id(const pm_memtable *table)
{
    return table->any_id ? &table->largest_id : NULL;
}
