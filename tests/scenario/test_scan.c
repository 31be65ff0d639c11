/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans, through pomai.h: each row once, and as it was when the scan was opened, whatever is put, replaced, deleted,
 * expired, flushed, merged or dropped between two calls and beside them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#include "../support/scenario.h"
#include "base/base.h"
#include "support/no_memory.h"

enum { DIM = 5, KEYS = 400 };

/* ---- the dumb model: of each key what its row must be ---- */

struct row {
    bool there;
    uint64_t version;
    uint64_t expiry; /* 0: never */
};

struct model {
    bool strings;
    struct row row[KEYS];
};

static size_t name_of(uint64_t key, char name[32])
{
    return (size_t)snprintf(name, 32, "%.*s%llu", (int)(key % 9), "idididid", (unsigned long long)key);
}

/* Some have no document. */
static size_t document_of(uint64_t key, uint64_t version, char text[64])
{
    if (version % 3 == 0) return 0;
    return (size_t)snprintf(text, 64, "{\"key\":%llu,\"v\":%llu}", (unsigned long long)key,
                            (unsigned long long)version);
}

static void put_key(struct model *m, pomai_collection *coll, uint64_t first, uint64_t count, uint64_t version,
                    uint64_t expiry)
{
    pomai_error err;
    float vectors[KEYS * DIM];
    uint64_t ids[KEYS], expiries[KEYS];
    char names[KEYS][32], documents[KEYS][64];
    pomai_bytes strings[KEYS], texts[KEYS];
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t key = (first + i) % KEYS;
        ids[i] = key * 1000; /* over several shards */
        strings[i] = (pomai_bytes){names[i], name_of(key, names[i])};
        texts[i] = (pomai_bytes){documents[i], document_of(key, version, documents[i])};
        expiries[i] = expiry;
        scenario_vectors(vectors + i * DIM, t_mix2(key, version), 1, DIM);
        m->row[key] = (struct row){true, version, expiry};
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = count;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = m->strings ? NULL : ids;
    batch.string_ids = m->strings ? strings : NULL;
    batch.documents = texts;
    batch.expiry_ns = expiries;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
}

static void delete_key(struct model *m, pomai_collection *coll, uint64_t key)
{
    pomai_error err;
    char name[32];
    const uint64_t id = key * 1000;
    const pomai_bytes string = {name, name_of(key, name)};
    const pomai_ids list = {1, m->strings ? NULL : &id, m->strings ? &string : NULL};
    assert_ok(pomai_delete(coll, &list, NULL, NULL, &err));
    m->row[key].there = false;
}

static uint64_t key_of(const struct model *m, const pomai_rows *rows, size_t i)
{
    uint64_t key = 0;
    char name[32];
    if (!m->strings) {
        assert_int_equal(pomai_rows_ids(rows)[i], pomai_rows_id(rows, i));
        assert_null(pomai_rows_string_id(rows, i).data);
        return pomai_rows_id(rows, i) / 1000;
    }
    const pomai_bytes id = pomai_rows_string_id(rows, i);
    assert_null(pomai_rows_ids(rows));
    while (key < KEYS && (name_of(key, name) != id.size || memcmp(name, id.data, id.size) != 0))
        key++;
    return key;
}

/* Takes the rows off what is still to come. */
static void take(struct model *m, const pomai_rows *rows, uint32_t include)
{
    const size_t count = pomai_rows_count(rows);
    const float *all = pomai_rows_vectors(rows);
    assert_int_equal(pomai_rows_dim(rows), DIM);
    assert_true((all != NULL) == ((include & POMAI_INCLUDE_VECTORS) != 0));
    for (size_t i = 0; i < count; i++) {
        float vector[DIM];
        char text[64];
        const uint64_t key = key_of(m, rows, i);
        assert_true(key < KEYS && pomai_rows_found(rows, i));
        struct row *row = &m->row[key];
        if (!row->there) fail_msg("key %llu comes twice, or is not there", (unsigned long long)key);
        row->there = false;
        scenario_vectors(vector, t_mix2(key, row->version), 1, DIM);
        if (all != NULL) {
            assert_ptr_equal(pomai_rows_vector(rows, i), all + i * DIM);
            assert_memory_equal(all + i * DIM, vector, sizeof vector);
        }
        const pomai_bytes document = pomai_rows_document(rows, i);
        const size_t size = (include & POMAI_INCLUDE_DOCUMENTS) != 0 ? document_of(key, row->version, text) : 0;
        assert_int_equal(document.size, size);
        if (size > 0) assert_memory_equal(document.data, text, size);
        assert_int_equal(pomai_rows_expiry(rows, i), row->expiry);
        assert_int_equal(pomai_rows_expiries(rows)[i], row->expiry);
        assert_true(pomai_rows_stamp(rows, i) != 0);
        assert_int_equal(pomai_rows_stamps(rows)[i], pomai_rows_stamp(rows, i));
    }
}

static size_t left_of(const struct model *m)
{
    size_t left = 0;
    for (size_t i = 0; i < KEYS; i++)
        left += m->row[i].there;
    return left;
}

static void nothing_left(const struct model *m)
{
    for (size_t i = 0; i < KEYS; i++)
        if (m->row[i].there) fail_msg("key %zu, version %llu, was not given", i, (unsigned long long)m->row[i].version);
}

static pomai_scan *scan_of(pomai_collection *coll, const pomai_scan_options *options)
{
    pomai_error err;
    pomai_scan *scan;
    assert_ok(pomai_scan_open(coll, options, &scan, &err));
    assert_non_null(scan);
    return scan;
}

/* false: that was all. */
static bool next(struct model *m, pomai_scan *scan, uint64_t most, uint32_t include)
{
    pomai_error err;
    pomai_rows *rows;
    const size_t left = left_of(m);
    assert_ok(pomai_scan_next(scan, most, &rows, &err));
    assert_int_equal(pomai_rows_count(rows), left < most ? left : most);
    const bool more = rows != NULL;
    if (more) take(m, rows, include);
    pomai_rows_free(rows);
    return more;
}

static void scan_all(const struct model *now, pomai_collection *coll, uint64_t most)
{
    struct model m = *now;
    pomai_scan *scan = scan_of(coll, NULL);
    while (next(&m, scan, most, POMAI_INCLUDE_VECTORS | POMAI_INCLUDE_DOCUMENTS))
        ;
    nothing_left(&m);
    assert_false(next(&m, scan, 1, POMAI_INCLUDE_VECTORS)); /* and it stays so */
    pomai_scan_close(scan);
}

/* ---- one thread, at random ---- */

enum { SCANS = 6 };

struct open_scan {
    struct model left;
    pomai_scan *scan;
    uint32_t include;
};

static uint64_t wall_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return (uint64_t)at.tv_sec * UINT64_C(1000000000) + (uint64_t)at.tv_nsec;
}

static void open_one(struct open_scan *s, const struct model *now, pomai_db *db, pomai_collection *coll,
                     struct t_rng *rng)
{
    pomai_error err;
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    pomai_snapshot *snapshot = NULL;
    if (t_chance(rng, 50)) assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    s->include = options.include = (uint32_t)t_below(rng, 4);
    options.snapshot = snapshot;
    s->left = *now;
    s->scan = scan_of(coll, &options);
    pomai_snapshot_close(snapshot); /* the scan goes on */
}

static void step(struct model *now, struct open_scan *scans, pomai_db *db, pomai_collection *coll, struct t_rng *rng)
{
    pomai_error err;
    const uint64_t lot = t_below(rng, 100);
    struct open_scan *s = &scans[t_below(rng, SCANS)];
    if (lot < 35) {
        put_key(now, coll, t_below(rng, KEYS), 1 + t_below(rng, 40), 1 + t_below(rng, 1000000),
                t_chance(rng, 20) ? UINT64_C(9000000000000000000) : 0);
    } else if (lot < 50) {
        delete_key(now, coll, t_below(rng, KEYS));
    } else if (lot < 56) {
        assert_ok(pomai_flush(db, &err));
    } else if (lot < 60) {
        assert_ok(pomai_compact(db, t_chance(rng, 50) ? coll : NULL, &err));
    } else if (s->scan == NULL) {
        open_one(s, now, db, coll, rng);
    } else if (!next(&s->left, s->scan, t_chance(rng, 20) ? UINT64_MAX : 1 + t_below(rng, 200), s->include) ||
               t_chance(rng, 3)) {
        if (left_of(&s->left) == 0) nothing_left(&s->left);
        pomai_scan_close(s->scan);
        s->scan = NULL;
    }
}

static void run_random(const struct box *box, bool strings, uint32_t shards, uint64_t seed)
{
    struct t_rng rng = t_rng_from(seed);
    struct model *now = calloc(1, sizeof *now);
    struct open_scan *scans = calloc(SCANS, sizeof *scans);
    assert_true(now != NULL && scans != NULL);
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = shards;
    o.durability = POMAI_DURABILITY_OS;
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = create(db, "c", DIM, POMAI_METRIC_L2, strings ? POMAI_ID_STRING : POMAI_ID_U64);
    now->strings = strings;
    for (int i = 0; i < 1200; i++)
        step(now, scans, db, coll, &rng);
    for (int i = 0; i < SCANS; i++)
        pomai_scan_close(scans[i].scan);
    scan_all(now, coll, 1);
    scan_all(now, coll, UINT64_MAX);
    pomai_collection_close(coll);
    close_db(db);
    db = open_db(box, &o); /* from segments alone */
    pomai_error err;
    assert_ok(pomai_collection_open(db, "c", &coll, &err));
    scan_all(now, coll, 7);
    pomai_collection_close(coll);
    close_db(db);
    free(scans);
    free(now);
}

static void test_random_u64(void **state)
{
    run_random(*state, false, 3, 1);
}

static void test_random_strings(void **state)
{
    run_random(*state, true, 4, 2);
}

static void test_random_one_shard(void **state)
{
    run_random(*state, false, 1, 3);
}

/* ---- what moves under a scan ---- */

/* Everything that it shows is flushed, replaced, merged away and unlinked. */
static void test_all_rewritten(void **state)
{
    struct box *box = *state;
    pomai_error err;
    static struct model now, was;
    now = (struct model){0};
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    put_key(&now, coll, 0, KEYS / 2, 1, 0);
    assert_ok(pomai_flush(db, &err));
    put_key(&now, coll, KEYS / 4, KEYS / 2, 2, 0); /* in memory */
    was = now;
    pomai_scan *scan = scan_of(coll, NULL);
    assert_true(next(&was, scan, 3, 3));
    for (uint64_t round = 0; round < 4; round++) {
        put_key(&now, coll, 0, KEYS, 10 + round, 0);
        assert_ok(pomai_compact(db, NULL, &err));
        assert_true(next(&was, scan, 50, 3));
    }
    while (next(&was, scan, 11, 3))
        ;
    nothing_left(&was);
    assert_refused(pomai_close(db, &err), POMAI_EBUSY, "open");
    pomai_scan_close(scan);
    scan_all(&now, coll, 100);
    close_db(db);
}

/* Rows that expire while it goes on stay in it. */
static void test_expiry_under_a_scan(void **state)
{
    struct box *box = *state;
    static struct model now, was;
    now = (struct model){0};
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    const uint64_t soon = wall_ns() + 400000000;
    put_key(&now, coll, 0, 100, 1, 0);
    put_key(&now, coll, 100, 100, 2, soon);
    was = now;
    pomai_scan *scan = scan_of(coll, NULL);
    assert_true(wall_ns() < soon); /* else the machine is too slow for this test */
    assert_true(next(&was, scan, 1, 3));
    while (wall_ns() <= soon + 20000000)
        usleep(5000);
    while (next(&was, scan, 9, 3))
        ;
    nothing_left(&was);
    pomai_scan_close(scan);
    for (int i = 100; i < 200; i++)
        now.row[i].there = false;
    scan_all(&now, coll, 60);
    close_db(db);
}

static void test_dropped(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_rows *rows, *kept;
    static struct model now;
    now = (struct model){.strings = true};
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "gone", DIM, POMAI_METRIC_L2, POMAI_ID_STRING);
    put_key(&now, coll, 0, 100, 1, 0);
    pomai_scan *scan = scan_of(coll, NULL);
    pomai_collection_close(coll); /* not needed any more */
    assert_ok(pomai_scan_next(scan, 10, &kept, &err));
    assert_ok(pomai_collection_drop(db, "gone", &err));
    assert_refused(pomai_scan_next(scan, 10, &rows, &err), POMAI_ENOTFOUND, "gone");
    assert_null(rows);
    pomai_scan_close(scan);
    close_db(db);
    take(&now, kept, 3); /* rows outlive everything */
    assert_int_equal(left_of(&now), 90);
    pomai_rows_free(kept);
}

static void test_arguments(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_scan *scan;
    pomai_rows *rows;
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    pomai_db *db = open_db(box, NULL);
    scan = scan_of(pomai_default(db), NULL); /* which was not made yet */
    assert_ok(pomai_scan_next(scan, 5, &rows, &err));
    assert_null(rows);
    assert_refused(pomai_scan_next(scan, 0, &rows, &err), POMAI_EINVAL, "max_rows");
    pomai_scan_close(scan);
    assert_refused(pomai_scan_next(NULL, 1, &rows, &err), POMAI_EINVAL, "scan");
    options.include = 4;
    assert_refused(pomai_scan_open(pomai_default(db), &options, &scan, &err), POMAI_EINVAL, "include");
    assert_null(scan);
    options = (pomai_scan_options)POMAI_SCAN_OPTIONS_INIT;
    options.struct_size--;
    assert_refused(pomai_scan_open(pomai_default(db), &options, &scan, &err), POMAI_EINVAL, "_INIT");
    options = (pomai_scan_options)POMAI_SCAN_OPTIONS_INIT;
    options.mode = (pomai_read_mode)7;
    assert_refused(pomai_scan_open(pomai_default(db), &options, &scan, &err), POMAI_EINVAL, "mode");
    pomai_scan_close(NULL);
    close_db(db);
}

/* What is frozen, no more. */
static void test_bounded(void **state)
{
    struct box *box = *state;
    pomai_error err;
    static struct model now, was;
    now = (struct model){0};
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    options.mode = POMAI_READ_BOUNDED;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    put_key(&now, coll, 0, 100, 1, 0);
    assert_ok(pomai_freeze(db, NULL, &err));
    was = now;
    put_key(&now, coll, 50, 100, 2, 0);
    pomai_scan *scan = scan_of(coll, &options);
    while (next(&was, scan, 64, 3))
        ;
    nothing_left(&was);
    pomai_scan_close(scan);
    close_db(db);
}

/* The ids of what a get answers, found or not. */
static void test_ids_of_a_get(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_rows *rows;
    static struct model now;
    now = (struct model){.strings = true};
    pomai_db *db = open_db(box, NULL);
    put_key(&now, pomai_default(db), 1, 1, 1, 0);
    const pomai_bytes ids[] = {{"none", 4}, {"i1", 2}};
    const pomai_ids list = {2, NULL, ids};
    assert_ok(pomai_get(pomai_default(db), &list, NULL, &rows, &err));
    assert_false(pomai_rows_found(rows, 0));
    assert_true(pomai_rows_found(rows, 1));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pomai_rows_string_id(rows, i).size, ids[i].size);
        assert_memory_equal(pomai_rows_string_id(rows, i).data, ids[i].data, ids[i].size);
    }
    assert_int_equal(pomai_rows_id(rows, 0), 0);
    for (int d = 0; d < DIM; d++)
        assert_true(pomai_rows_vectors(rows)[d] == 0);
    assert_memory_equal(pomai_rows_vectors(rows) + DIM, pomai_rows_vector(rows, 1), DIM * sizeof(float));
    pomai_rows_free(rows);
    close_db(db);
}

/* ---- damage, and memory that is not there ---- */

static char found_path[T_PATH_MAX];
static const char *wanted_name;

static int find_name(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    if (kind == FTW_F && strstr(path, "/segments/") != NULL && strcmp(path + where->base, wanted_name) == 0)
        snprintf(found_path, sizeof found_path, "%s", path);
    return 0;
}

static void damage(const struct box *box, const char *name, long at)
{
    wanted_name = name;
    found_path[0] = '\0';
    assert_int_equal(nftw(box->db, find_name, 16, FTW_PHYS), 0);
    FILE *file = fopen(found_path, "r+b");
    if (file == NULL) fail_msg("no segment has a file %s", name);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(byte ^ 4, file);
    fclose(file);
}

static void test_damage(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_rows *rows;
    static struct model now;
    now = (struct model){0};
    pomai_db *db = open_db(box, NULL);
    put_key(&now, pomai_default(db), 0, KEYS, 1, 0);
    close_db(db);
    damage(box, "attributes.arrow", 2000);
    pomai_open_options readonly = POMAI_OPEN_OPTIONS_INIT;
    readonly.flags = POMAI_OPEN_READONLY;
    db = open_db(box, &readonly);
    pomai_scan *scan = scan_of(pomai_default(db), NULL);
    for (int i = 0; i < 2; i++) { /* it stays where it is */
        assert_refused(pomai_scan_next(scan, 100, &rows, &err), POMAI_ECORRUPT, "attributes.arrow");
        assert_null(rows);
    }
    pomai_scan_close(scan);
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_VECTORS; /* nothing that it gives is damaged */
    scan = scan_of(pomai_default(db), &options);
    while (next(&now, scan, 100, options.include))
        ;
    nothing_left(&now);
    pomai_scan_close(scan);
    close_db(db);
    damage(box, "vectors.arrow", 2000);
    db = open_db(box, &readonly);
    scan = scan_of(pomai_default(db), &options);
    assert_refused(pomai_scan_next(scan, 1, &rows, &err), POMAI_ECORRUPT, "vectors.arrow");
    pomai_scan_close(scan);
    close_db(db);
}

/* Each allocation fails once: the call says so, and the next one goes on from where it was. */
static void test_no_memory(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_rows *rows;
    pomai_scan *scan = NULL;
    static struct model now, was;
    now = (struct model){.strings = true};
    pomai_db *db = open_db(box, NULL);
    put_key(&now, pomai_default(db), 0, KEYS, 1, 0);
    assert_ok(pomai_flush(db, &err));
    was = now;
    for (fails_at = 1; scan == NULL; fails_at++) {
        allocations = 0;
        pm_malloc_fails = fails;
        const pomai_status status = pomai_scan_open(pomai_default(db), NULL, &scan, &err);
        pm_malloc_fails = NULL;
        assert_true(status == POMAI_OK || (status == POMAI_ENOMEM && scan == NULL));
    }
    assert_true(fails_at > 2);
    for (fails_at = 1, rows = NULL; rows == NULL; fails_at++) {
        allocations = 0;
        pm_malloc_fails = fails;
        const pomai_status status = pomai_scan_next(scan, 300, &rows, &err);
        pm_malloc_fails = NULL;
        assert_true(status == POMAI_OK || (status == POMAI_ENOMEM && rows == NULL));
    }
    assert_true(fails_at > 3);
    take(&was, rows, 3);
    assert_int_equal(left_of(&was), KEYS - 300);
    pomai_rows_free(rows);
    assert_true(next(&was, scan, 300, 3));
    nothing_left(&was);
    pomai_scan_close(scan);
    close_db(db);
}

/* ---- beside writers ---- */

enum { WRITERS = 2, OWN = 100 };

struct writer {
    pthread_t thread;
    pomai_db *db;
    pomai_collection *coll;
    uint64_t first;
    _Atomic uint64_t began, done; /* versions */
    _Atomic bool *stop;
};

/* Replaces all of its rows at once, over and over: of each of its ids there is one version or the next. */
static void *write_on(void *context)
{
    struct writer *w = context;
    struct model *unused = calloc(1, sizeof *unused);
    for (uint64_t version = 1; !atomic_load(w->stop); version++) {
        pomai_error err;
        atomic_store(&w->began, version);
        put_key(unused, w->coll, w->first, OWN, version, 0);
        atomic_store(&w->done, version);
        if (version % 7 == 0 && w->first == 0) assert_ok(pomai_flush(w->db, &err));
        if (version % 31 == 0 && w->first == 0) assert_ok(pomai_compact(w->db, NULL, &err));
    }
    free(unused);
    return NULL;
}

/* Which version it is; fails if it is none from `least` to `most`. */
static void check_version(const pomai_rows *rows, size_t i, uint64_t least, uint64_t most)
{
    const uint64_t key = pomai_rows_id(rows, i) / 1000;
    for (uint64_t version = least; version <= most; version++) {
        float vector[DIM];
        scenario_vectors(vector, t_mix2(key, version), 1, DIM);
        if (memcmp(vector, pomai_rows_vector(rows, i), sizeof vector) == 0) return;
    }
    fail_msg("key %llu is none of the versions %llu to %llu", (unsigned long long)key, (unsigned long long)least,
             (unsigned long long)most);
}

static void scan_beside(struct writer *writers, pomai_collection *coll)
{
    pomai_error err;
    pomai_rows *rows;
    uint64_t least[WRITERS], most[WRITERS];
    bool seen[KEYS] = {false};
    size_t count = 0;
    for (int i = 0; i < WRITERS; i++)
        least[i] = atomic_load(&writers[i].done);
    pomai_scan *scan = scan_of(coll, NULL);
    for (int i = 0; i < WRITERS; i++)
        most[i] = atomic_load(&writers[i].began);
    for (;;) {
        assert_ok(pomai_scan_next(scan, 17, &rows, &err));
        if (rows == NULL) break;
        for (size_t i = 0; i < pomai_rows_count(rows); i++, count++) {
            const uint64_t key = pomai_rows_id(rows, i) / 1000;
            assert_true(key < WRITERS * OWN && !seen[key]);
            seen[key] = true;
            check_version(rows, i, least[key / OWN], most[key / OWN]);
        }
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    assert_int_equal(count, WRITERS * OWN);
}

static void test_beside_writers(void **state)
{
    struct box *box = *state;
    struct writer writers[WRITERS];
    static struct model now;
    _Atomic bool stop = false;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 2;
    o.durability = POMAI_DURABILITY_OS;
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = pomai_default(db);
    put_key(&now, coll, 0, WRITERS * OWN, 0, 0);
    memset(writers, 0, sizeof writers);
    for (uint64_t i = 0; i < WRITERS; i++) {
        writers[i].db = db;
        writers[i].coll = coll;
        writers[i].first = i * OWN;
        writers[i].stop = &stop;
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
    }
    for (int i = 0; i < 150; i++)
        scan_beside(writers, coll);
    atomic_store(&stop, true);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    close_db(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(test_random_u64),          BOXED(test_random_strings),
        BOXED(test_random_one_shard),    BOXED(test_all_rewritten),
        BOXED(test_expiry_under_a_scan), BOXED(test_dropped),
        BOXED(test_arguments),           BOXED(test_bounded),
        BOXED(test_ids_of_a_get),        BOXED(test_damage),
        BOXED(test_no_memory),           BOXED(test_beside_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
