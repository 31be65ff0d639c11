/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memtable against a list of versions: random puts of ranges and lists, deletes, and reads at every LSN. Then one
 * writer and two readers at once.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/memtable/memtable.h"

enum { IDS = 400, MOST_VERSIONS = 40000 };

typedef struct version {
    uint64_t id, begin, end;
} version;

typedef struct world {
    pm_memtable *table;
    uint64_t seed, random;
    uint64_t lsn;
    uint64_t live;
    version *versions;
    size_t count;
    void **memory; /* records, to be freed */
    size_t records;
} world;

static uint64_t next_random(world *w)
{
    return w->random = pm_mix64(w->random + 0x9e3779b97f4a7c15u);
}

static version *newest_of(world *w, uint64_t id)
{
    for (size_t i = w->count; i > 0; i--)
        if (w->versions[i - 1].id == id) return &w->versions[i - 1];
    return NULL;
}

static void end_in_model(world *w, uint64_t id)
{
    version *v = newest_of(w, id);
    if (v == NULL || v->end != PM_NO_END) return;
    v->end = w->lsn;
    w->live--;
}

/* A PUT or DELETE record with its ids; vectors are not looked at. */
static const pm_rec_header *make_record(world *w, uint8_t op, const uint64_t *ids, uint32_t rows, bool range)
{
    uint8_t *memory = calloc(1, sizeof(pm_rec_header) + rows * sizeof *ids);
    pm_rec_header *h = (pm_rec_header *)(void *)memory;
    h->op = op;
    h->lsn = ++w->lsn;
    h->rows = rows;
    h->id_kind = POMAI_ID_U64;
    h->flags = range ? PM_REC_IDS_ARE_RANGE : 0;
    memcpy(memory + sizeof *h, ids, rows * sizeof *ids);
    w->memory[w->records++] = memory;
    return h;
}

static void put(world *w, const uint64_t *ids, uint32_t rows, bool range)
{
    const pm_rec_header *h = make_record(w, PM_OP_PUT, ids, rows, range);
    const uint8_t *payload = (const uint8_t *)(h + 1);
    pm_id_bounds bounds;
    pm_id_bounds_of(h, payload, &bounds);
    pm_chunk *chunk = pm_memtable_reserve(w->table, rows, &bounds);
    assert_non_null(chunk);
    pm_chunk_point(chunk, h, payload, NULL);
    pm_memtable_apply(w->table, chunk, NULL);
    for (uint32_t i = 0; i < rows; i++) {
        end_in_model(w, ids[i]);
        w->versions[w->count++] = (version){ids[i], w->lsn, PM_NO_END};
        w->live++;
    }
}

static void delete (world *w, const uint64_t *ids, uint32_t rows)
{
    const pm_rec_header *h = make_record(w, PM_OP_DELETE, ids, rows, false);
    uint64_t before = w->live;
    for (uint32_t i = 0; i < rows; i++)
        end_in_model(w, ids[i]);
    assert_int_equal(pm_memtable_end_all(w->table, h, (const uint8_t *)(h + 1), NULL), before - w->live);
}

static void check_id(world *w, uint64_t id, uint64_t at)
{
    const version *expected = NULL;
    for (size_t i = 0; i < w->count; i++)
        if (w->versions[i].id == id && w->versions[i].begin <= at && at < w->versions[i].end)
            expected = &w->versions[i];
    pm_id key = {.u64 = id};
    const pm_chunk *chunk;
    uint32_t row;
    bool found = pm_memtable_find(w->table, &key, at, 0, &chunk, &row);
    if (found != (expected != NULL) || (found && chunk->lsn != expected->begin))
        fail_msg("seed %llu: id %llu at LSN %llu", (unsigned long long)w->seed, (unsigned long long)id,
                 (unsigned long long)at);
    if (!found) return;
    pm_id back;
    pm_chunk_id(chunk, row, &back);
    assert_int_equal(back.u64, id);
}

/* Distinct ids in a random order. */
static uint32_t random_ids(world *w, uint64_t *ids, uint32_t rows)
{
    uint32_t made = 0;
    while (made < rows) {
        uint64_t id = next_random(w) % IDS;
        bool twice = false;
        for (uint32_t i = 0; i < made; i++)
            twice |= ids[i] == id;
        if (!twice) ids[made++] = id;
    }
    return made;
}

static void play(world *w)
{
    uint64_t ids[64];
    uint64_t next_fresh = 0;
    for (int step = 0; step < 120; step++) {
        uint32_t rows = 1 + (uint32_t)(next_random(w) % 40);
        switch (next_random(w) % 4) {
        case 0: /* above all before, mostly */
            for (uint32_t i = 0; i < rows; i++)
                ids[i] = next_fresh + i;
            if (next_fresh + rows > IDS) break;
            put(w, ids, rows, true);
            next_fresh += rows + next_random(w) % 3;
            break;
        case 1:
            put(w, ids, random_ids(w, ids, rows), false);
            break;
        case 2: { /* a range in the midst of what is there */
            uint64_t first = next_random(w) % (IDS - 40);
            for (uint32_t i = 0; i < rows; i++)
                ids[i] = first + i;
            put(w, ids, rows, true);
            break;
        }
        default:
            delete (w, ids, random_ids(w, ids, rows));
        }
    }
}

static void world_begin(world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->seed = w->random = seed;
    w->table = pm_memtable_make(POMAI_ID_U64, seed, NULL);
    w->versions = calloc(MOST_VERSIONS, sizeof *w->versions);
    w->memory = calloc(1024, sizeof *w->memory);
}

static void world_end(world *w)
{
    pm_memtable_free(w->table);
    for (size_t i = 0; i < w->records; i++)
        free(w->memory[i]);
    free(w->memory);
    free(w->versions);
}

static void versions_at_every_lsn(void **state)
{
    (void)state;
    unsigned cases = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        world w;
        world_begin(&w, seed);
        play(&w);
        assert_int_equal(pm_memtable_live(w.table), w.live);
        for (uint64_t at = 0; at <= w.lsn; at += 1 + at / 8)
            for (uint64_t id = 0; id < IDS + 3; id += 1 + id % 3, cases++)
                check_id(&w, id, at);
        world_end(&w);
    }
    printf("memtable: %u cases, 0 failures, seed 1\n", cases);
}

static int allocations_left;

static bool fails_later(size_t size)
{
    (void)size;
    return allocations_left-- <= 0;
}

/* Whatever allocation fails, a refused reservation leaves the table as it was. */
static void reservation_fails_cleanly(void **state)
{
    (void)state;
    for (int allowed = 0; allowed < 6; allowed++) {
        world w;
        world_begin(&w, 5);
        uint64_t ids[40];
        put(&w, ids, random_ids(&w, ids, 40), false);
        pm_id_bounds bounds = {.last = IDS};
        allocations_left = allowed;
        pm_malloc_fails = fails_later;
        for (int i = 0; i < 400 && pm_malloc_fails != NULL; i++)
            if (pm_memtable_reserve(w.table, 1000, &bounds) == NULL) pm_malloc_fails = NULL;
        assert_null(pm_malloc_fails);
        assert_int_equal(pm_memtable_live(w.table), w.live);
        for (uint64_t id = 0; id < IDS; id++)
            check_id(&w, id, w.lsn);
        world_end(&w);
    }
}

/* ---- one writer, two readers ---- */

typedef struct race {
    world w;
    _Atomic uint64_t visible;
    _Atomic bool over;
    _Atomic uint64_t looks;
    _Atomic uint64_t wrong;
} race;

/* Every id below RACE_IDS is put again and again and never deleted: a reader must always see exactly one version. */
enum { RACE_IDS = 64, ROUNDS = 150 };

static void *read_on(void *arg)
{
    race *r = arg;
    while (!atomic_load(&r->over)) {
        uint64_t visible = atomic_load_explicit(&r->visible, memory_order_acquire);
        for (uint64_t id = 0; id < RACE_IDS && visible > 0; id++) {
            pm_id key = {.u64 = id};
            const pm_chunk *chunk;
            uint32_t row;
            if (!pm_memtable_find(r->w.table, &key, visible, 0, &chunk, &row) || chunk->lsn > visible) r->wrong++;
        }
        uint64_t seen = 0;
        for (uint64_t c = 0; c < pm_memtable_visible_chunks(r->w.table, visible); c++) {
            const pm_chunk *chunk = pm_memtable_chunk(r->w.table, c);
            for (uint32_t row = 0; row < chunk->rows; row++) {
                pm_id id;
                pm_chunk_id(chunk, row, &id);
                seen += id.u64 < RACE_IDS && pm_chunk_row_visible(chunk, row, visible, 0);
            }
        }
        if (visible > 0 && seen != RACE_IDS) r->wrong++;
        r->looks++;
    }
    return NULL;
}

static void readers_see_one_version(void **state)
{
    (void)state;
    static race r;
    world_begin(&r.w, 3);
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, &r), 0);
    uint64_t ids[64], fresh = RACE_IDS;
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < 64; i++)
            ids[i] = i;
        put(&r.w, ids, RACE_IDS, round % 2 == 0);
        atomic_store_explicit(&r.visible, r.w.lsn, memory_order_release);
        for (uint64_t i = 0; i < 64; i++)
            ids[i] = fresh + i * (round % 3 == 0 ? 1 : 7); /* makes the map grow under the readers */
        put(&r.w, ids, 64, round % 3 == 0);
        fresh += 64 * 7;
        atomic_store_explicit(&r.visible, r.w.lsn, memory_order_release);
    }
    atomic_store(&r.over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    printf("readers: %llu cases, %llu failures, seed 3\n", (unsigned long long)r.looks, (unsigned long long)r.wrong);
    assert_int_equal(r.wrong, 0);
    world_end(&r.w);
}

/* The column lies between the vectors, which may be elsewhere, and the documents. */
static void expiry_is_pointed_to(void **state)
{
    (void)state;
    static _Alignas(64) uint8_t payload[256];
    static float vectors[2];
    for (int i = 0; i < 8; i++) {
        const bool expires = (i & 1) != 0, documents = (i & 2) != 0, elsewhere = (i & 4) != 0;
        pm_rec_header h = {.op = PM_OP_PUT, .lsn = 1, .rows = 2, .id_kind = POMAI_ID_U64, .ids_len = 16};
        h.vectors_len = sizeof vectors;
        h.expiry_len = expires ? 16 : 0;
        h.documents_len = documents ? 12 : 0;
        h.flags = (uint8_t)((expires ? PM_REC_HAS_EXPIRY : 0) | (documents ? PM_REC_HAS_DOCUMENTS : 0));
        h.payload_len = 64 * (2u + expires + documents);
        pm_chunk *chunk = calloc(1, sizeof *chunk);
        pm_chunk_point(chunk, &h, payload, elsewhere ? (const void *)vectors : payload + 64);
        assert_ptr_equal(chunk->expiry, expires ? (const uint64_t *)(const void *)(payload + 128) : NULL);
        if (documents) assert_ptr_equal(chunk->document_ends, payload + (expires ? 192 : 128));
        free(chunk);
    }
}

/* A chunk that goes into the next memtable still has its rows, of whatever type they are. */
static void moved_rows_are_the_same(void **state)
{
    (void)state;
    static uint8_t payload[64 * 4];
    memcpy(payload, &(uint64_t){70}, 8);
    for (uint8_t dtype = POMAI_DTYPE_FLOAT32; dtype <= POMAI_DTYPE_INT8; dtype++) {
        const uint32_t size = pm_dtype_size((pomai_dtype)dtype);
        const pm_rec_header h = {.op = PM_OP_PUT,
                                 .dtype = dtype,
                                 .dim = 3,
                                 .lsn = 1,
                                 .rows = 5,
                                 .id_kind = POMAI_ID_U64,
                                 .flags = PM_REC_IDS_ARE_RANGE,
                                 .ids_len = 8,
                                 .vectors_len = 15 * size,
                                 .payload_len = 128};
        const uint64_t none = 0;
        pm_memtable *table = pm_memtable_make(POMAI_ID_U64, 1, &none), *next = pm_memtable_make(POMAI_ID_U64, 1, &none);
        pm_id_bounds bounds;
        pm_id_bounds_of(&h, payload, &bounds);
        pm_chunk *chunk = pm_memtable_reserve(table, h.rows, &bounds);
        pm_chunk_point(chunk, &h, payload, payload + 64);
        pm_chunk *moved = pm_memtable_move(next, chunk, &bounds);
        assert_non_null(moved);
        for (uint32_t row = 0; row < h.rows; row++) {
            pm_id id;
            pm_chunk_id(moved, row, &id);
            assert_int_equal(id.u64, 70 + row);
            assert_ptr_equal(pm_chunk_vector_at(moved, row), payload + 64 + row * 3 * size);
        }
        pm_memtable_apply(next, moved, NULL);
        pm_memtable_free(table);
        pm_memtable_free(next);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_at_every_lsn),   cmocka_unit_test(reservation_fails_cleanly),
        cmocka_unit_test(readers_see_one_version), cmocka_unit_test(expiry_is_pointed_to),
        cmocka_unit_test(moved_rows_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
