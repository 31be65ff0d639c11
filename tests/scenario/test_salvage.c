/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Salvage of a small database in which every kind of file was damaged in many ways: it never crashes, never makes up a
 * row or brings back an older version while it says that all is well, returns every row that lies in what is whole, and
 * says what is lost.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <ftw.h>
#include <sys/stat.h>

#include "../support/one_in.h"
#include "../support/rng.h"
#include "../support/scenario.h"
#include "base/base.h"

enum { DIM = 16, ROWS = 6000, STRINGS = 40 };

/* ---- the image ---- */

struct file {
    char path[T_PATH_MAX];
    uint8_t *bytes;
    size_t size;
};

static struct file files[96];
static unsigned file_count;

static int collect_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    if (kind != FTW_F || strcmp(path + where->base, "LOCK") == 0) return 0;
    assert_true(file_count < sizeof files / sizeof files[0]);
    struct file *file = &files[file_count++];
    snprintf(file->path, sizeof file->path, "%s", path);
    file->bytes = t_read_file(path, &file->size);
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static void collect(const char *db)
{
    file_count = 0;
    assert_int_equal(nftw(db, collect_file, 16, FTW_PHYS), 0);
    qsort(files, file_count, sizeof files[0], by_path);
}

static void forget(void)
{
    for (unsigned i = 0; i < file_count; i++)
        free(files[i].bytes);
    file_count = 0;
}

static struct file *find(const char *part)
{
    for (unsigned i = 0; i < file_count; i++)
        if (strstr(files[i].path, part) != NULL) return &files[i];
    fail_msg("no file like %s", part);
    return NULL;
}

/* Component d of version v of an id. */
static float component(uint64_t id, unsigned version, unsigned d)
{
    return (float)(id + 1) + (float)version * 0.25f + (float)d * 8192.0f;
}

static void put(pomai_collection *coll, uint64_t first, uint64_t count, unsigned version)
{
    pomai_error err;
    uint64_t *ids = calloc(count, sizeof *ids);
    float *vectors = calloc(count * DIM, sizeof *vectors);
    pomai_bytes *documents = calloc(count, sizeof *documents);
    char(*text)[32] = calloc(count, sizeof *text);
    for (uint64_t i = 0; i < count; i++) {
        ids[i] = first + i;
        documents[i] = (pomai_bytes){
            text[i], (size_t)snprintf(text[i], sizeof text[i], "%llu/%u", (unsigned long long)ids[i], version)};
        for (unsigned d = 0; d < DIM; d++)
            vectors[i * DIM + d] = component(ids[i], version, d);
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = count;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    free(ids);
    free(vectors);
    free(documents);
    free(text);
}

static void drop(pomai_collection *coll, uint64_t first, uint64_t count)
{
    pomai_error err;
    uint64_t ids[64];
    for (uint64_t i = 0; i < count; i++)
        ids[i] = first + i;
    const pomai_ids list = {count, ids, NULL};
    assert_ok(pomai_delete(coll, &list, NULL, NULL, &err));
}

static void put_strings(pomai_collection *coll, unsigned version)
{
    pomai_error err;
    char text[STRINGS][16];
    pomai_bytes ids[STRINGS];
    float vectors[STRINGS * 2];
    for (unsigned i = 0; i < STRINGS; i++) {
        ids[i] = (pomai_bytes){text[i], (size_t)snprintf(text[i], sizeof text[i], "key %u", i)};
        vectors[2 * i] = (float)i;
        vectors[2 * i + 1] = (float)version;
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = STRINGS;
    batch.dim = 2;
    batch.vectors = vectors;
    batch.string_ids = ids;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
}

/*
 * What there is at the end, in two shards: ids 0 .. 5999 of version 0, but 100 .. 149 deleted in the segment's
 * liveness, 200 .. 299 of version 1 in a second segment, 300 .. 349 of version 2 and 400 .. 409 deleted in the log
 * only.
 */
static void make_image(const struct box *box)
{
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 2;
    options.scrub_rate = UINT64_MAX;
    pomai_db *db = open_db(box, &options);
    pomai_collection *coll = create(db, "rows", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
    pomai_collection *strings = create(db, "strings", 2, POMAI_METRIC_L2, POMAI_ID_STRING);
    put(coll, 0, ROWS, 0);
    put_strings(strings, 0);
    pomai_collection_close(coll);
    pomai_collection_close(strings);
    close_db(db); /* begins an empty log: only the segment has these rows now */
    options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    db = open_db(box, &options);
    assert_ok(pomai_collection_open(db, "rows", &coll, &err));
    assert_ok(pomai_collection_open(db, "strings", &strings, &err));
    drop(coll, 100, 50);
    put(coll, 200, 100, 1);
    assert_ok(pomai_flush(db, &err));
    put(coll, 300, 50, 2);
    drop(coll, 400, 10);
    put_strings(strings, 1);
    pomai_collection_close(coll);
    pomai_collection_close(strings);
    close_db(db);
    forget();
    collect(box->db);
}

/* The version that an id has; -1: it was deleted. */
static int version_of(uint64_t id)
{
    if ((id >= 100 && id < 150) || (id >= 400 && id < 410)) return -1;
    return id >= 200 && id < 300 ? 1 : id >= 300 && id < 350 ? 2 : 0;
}

/* ---- looking at what was salvaged ---- */

struct found {
    uint64_t right, bare, missing, returned, invented; /* returned: deleted rows and older versions */
    uint64_t strings, old_strings;
    char *json;
    int whole;
};

static void look_at_row(const pomai_rows *rows, size_t i, uint64_t id, struct found *f)
{
    const int wanted = version_of(id);
    if (!pomai_rows_found(rows, i)) {
        f->missing += wanted >= 0;
        return;
    }
    const float *vector = pomai_rows_vector(rows, i);
    int version = -1;
    for (int v = 0; v < 3; v++)
        if (vector[0] == component(id, (unsigned)v, 0)) version = v;
    for (unsigned d = 0; version >= 0 && d < DIM; d++)
        if (vector[d] != component(id, (unsigned)version, d)) version = -1;
    char text[32];
    const pomai_bytes document = pomai_rows_document(rows, i);
    const int size = snprintf(text, sizeof text, "%llu/%d", (unsigned long long)id, version);
    const bool same = document.size == (size_t)size && memcmp(document.data, text, (size_t)size) == 0;
    if (version < 0 || (document.size > 0 && !same))
        f->invented++;
    else if (version != wanted)
        f->returned++;
    else if (document.size == 0)
        f->bare++;
    else
        f->right++;
}

static void look_at_strings(pomai_db *db, struct found *f)
{
    pomai_error err;
    pomai_collection *coll;
    assert_ok(pomai_collection_open(db, "strings", &coll, &err));
    for (unsigned i = 0; i < STRINGS; i++) {
        char text[16];
        const pomai_bytes id = {text, (size_t)snprintf(text, sizeof text, "key %u", i)};
        const pomai_ids ids = {1, NULL, &id};
        pomai_rows *rows;
        assert_ok(pomai_get(coll, &ids, NULL, &rows, &err));
        if (pomai_rows_found(rows, 0)) {
            const float *vector = pomai_rows_vector(rows, 0);
            if (vector[0] != (float)i || vector[1] > 1) f->invented++;
            f->strings += vector[1] == 1;
            f->old_strings += vector[1] == 0;
        }
        pomai_rows_free(rows);
    }
    if (count_rows(coll) != f->strings + f->old_strings) f->invented++;
    pomai_collection_close(coll);
}

static void look(const char *path, struct found *f)
{
    pomai_error err;
    pomai_db *db;
    pomai_collection *coll;
    assert_ok(pomai_open(path, NULL, &db, &err));
    assert_ok(pomai_collection_open(db, "rows", &coll, &err));
    uint64_t *ids = calloc(ROWS, sizeof *ids);
    for (uint64_t i = 0; i < ROWS; i++)
        ids[i] = i;
    const pomai_ids list = {ROWS, ids, NULL};
    pomai_rows *rows;
    assert_ok(pomai_get(coll, &list, NULL, &rows, &err));
    for (size_t i = 0; i < ROWS; i++)
        look_at_row(rows, i, i, f);
    pomai_rows_free(rows);
    free(ids);
    if (count_rows(coll) != f->right + f->bare + f->returned + f->invented) f->invented++; /* ids of nobody */
    pomai_collection_close(coll);
    look_at_strings(db, f);
    close_db(db);
}

/* Salvages; false: it refused, and left nothing that is taken for a database. */
static bool try_salvage(const struct box *box, struct found *f, pomai_error *err)
{
    char to[T_PATH_MAX];
    memset(f, 0, sizeof *f);
    memset(err, 0, sizeof *err);
    t_join(to, box->dir, "saved");
    t_remove(to);
    pomai_status status = pomai_salvage(box->db, to, NULL, NULL, &f->json, &f->whole, err);
    if (status == POMAI_OK) {
        assert_non_null(f->json);
        look(to, f);
        assert_int_equal(f->invented, 0);
        if (f->whole) {
            assert_int_equal(f->missing + f->bare + f->returned, 0);
            assert_int_equal(f->strings, STRINGS);
            assert_non_null(strstr(f->json, "\"lost\": []"));
        } else {
            assert_null(strstr(f->json, "\"lost\": []"));
        }
    } else {
        assert_true(strlen(err->message) > 10);
        assert_null(f->json);
    }
    t_remove(to);
    return status == POMAI_OK;
}

static void must_salvage(const struct box *box, struct found *f)
{
    pomai_error err;
    if (!try_salvage(box, f, &err)) fail_msg("salvage refused: %s", err.message);
}

static void done(struct found *f)
{
    pomai_free(f->json);
    f->json = NULL;
}

static void restore(const struct file *file)
{
    t_write_file(file->path, file->bytes, file->size);
}

static void flip(const struct file *file, size_t at)
{
    assert_true(at < file->size);
    uint8_t *bytes = malloc(file->size);
    memcpy(bytes, file->bytes, file->size);
    bytes[at] ^= 0x10;
    t_write_file(file->path, bytes, file->size);
    free(bytes);
}

/* ---- one kind of damage each ---- */

static void test_nothing_is_damaged(void **state)
{
    const struct box *box = *state;
    struct found f;
    make_image(box);
    must_salvage(box, &f);
    assert_int_equal(f.whole, 1);
    assert_int_equal(f.right, ROWS - 60);
    done(&f);
    for (unsigned i = 0; i < file_count; i++) { /* and nothing was written to it */
        size_t size;
        uint8_t *bytes = t_read_file(files[i].path, &size);
        assert_int_equal(size, files[i].size);
        assert_memory_equal(bytes, files[i].bytes, size);
        free(bytes);
    }
    forget();
}

/* One block has 1,024 vectors: those are lost, by id, and no others. */
static void test_a_block_of_vectors(void **state)
{
    const struct box *box = *state;
    struct found f;
    make_image(box);
    struct file *vectors = find("segments/1/vectors.arrow");
    flip(vectors, vectors->size - 100000);
    must_salvage(box, &f);
    assert_int_equal(f.whole, 0);
    assert_in_range(f.missing, 1, 1026);
    assert_int_equal(f.returned, 0);
    assert_non_null(strstr(f.json, "\"what\": \"vectors\""));
    assert_non_null(strstr(f.json, "\"ids\": ["));
    done(&f);
    t_remove(vectors->path);
    must_salvage(box, &f);
    assert_in_range(f.missing, ROWS - 60 - 200, ROWS - 60 - 150);
    assert_int_equal(f.returned, 0);
    done(&f);
    t_write_file(vectors->path, vectors->bytes, vectors->size / 2);
    must_salvage(box, &f);
    assert_true(f.right > 1000 && f.missing > 1000);
    done(&f);
    forget();
}

static void test_documents_and_indexes(void **state)
{
    const struct box *box = *state;
    struct found f;
    make_image(box);
    struct file *documents = find("segments/1/attributes.arrow"), *ids = find("segments/1/ids.idx");
    t_remove(documents->path);
    must_salvage(box, &f);
    assert_int_equal(f.missing, 0);
    assert_true(f.bare > 5000);
    assert_non_null(strstr(f.json, "\"what\": \"documents\""));
    done(&f);
    restore(documents);
    t_remove(ids->path); /* copying needs none */
    must_salvage(box, &f);
    assert_int_equal(f.whole, 1);
    done(&f);
    forget();
}

static void test_liveness(void **state)
{
    const struct box *box = *state;
    struct found f;
    make_image(box);
    struct file *live = find("segments/1/live-");
    flip(live, 70);
    must_salvage(box, &f);
    assert_int_equal(f.whole, 0);
    assert_int_equal(f.missing, 0);
    assert_in_range(f.returned, 0, 50); /* replaced rows stay replaced: the newer version is there */
    assert_non_null(strstr(f.json, "\"what\": \"liveness\""));
    done(&f);
    forget();
}

static void test_segment_lost(void **state)
{
    const struct box *box = *state;
    struct found f;
    make_image(box);
    struct file *meta = find("segments/1/SEGMENT");
    flip(meta, meta->size - 1);
    must_salvage(box, &f);
    assert_int_equal(f.whole, 0);
    assert_int_equal(f.returned, 0);
    assert_true(f.right >= 150);
    assert_non_null(strstr(f.json, "\"what\": \"segment\""));
    done(&f);
    forget();
}

/* Everything is there, and nobody has to be told that something is not. */
static void must_save_all(const struct box *box)
{
    struct found f;
    must_salvage(box, &f);
    assert_int_equal(f.missing + f.returned + f.bare, 0);
    assert_int_equal(f.right, ROWS - 60);
    assert_int_equal(f.strings, STRINGS);
    assert_int_equal(f.whole, 1);
    done(&f);
}

/* The same, but nothing proves that it is all. */
static void must_save_all_there_is(const struct box *box)
{
    struct found f;
    must_salvage(box, &f);
    assert_int_equal(f.missing + f.returned + f.bare, 0);
    assert_int_equal(f.right, ROWS - 60);
    assert_int_equal(f.strings, STRINGS);
    assert_int_equal(f.whole, 0);
    assert_non_null(strstr(f.json, "\"what\": \"catalogue\""));
    assert_non_null(strstr(f.json, "was taken, the newest that is whole; nothing says that there was no newer one: if "
                                   "there was, rows written since may be missing, and deleted ones back"));
    done(&f);
}

static void must_not_open(const struct box *box)
{
    static const uint32_t flags[] = {0, POMAI_OPEN_READONLY, POMAI_OPEN_READONLY | POMAI_OPEN_ACCEPT_DAMAGE};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        pomai_error err;
        pomai_db *db;
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.flags = flags[i];
        /* not manifest/ alone: an older one does not name the segments of today */
        assert_refused(
            pomai_open(box->db, &options, &db, &err), POMAI_ECORRUPT,
            "make a new database of what is whole with `pomai salvage`, or restore the whole database from a "
            "copy");
    }
}

static void test_catalogue(void **state)
{
    const struct box *box = *state;
    struct found f;
    pomai_error err;
    make_image(box);
    struct file *current = find("manifest/CURRENT"), *manifest = find("manifest/MANIFEST-");
    struct file *copy = find("shards/CATALOGUE-");
    assert_int_equal(copy->size, manifest->size);
    assert_memory_equal(copy->bytes, manifest->bytes, copy->size);
    for (size_t at = 0; at < current->size; at += 5) {
        flip(current, at);
        must_not_open(box);
        must_save_all(box); /* MANIFEST and its copy agree */
    }
    t_remove(current->path);
    must_not_open(box);
    must_save_all(box);
    t_remove(copy->path);
    must_save_all_there_is(box); /* the MANIFEST speaks for itself */
    restore(current);
    restore(copy);
    for (size_t at = 0; at<manifest->size; at += T_ONE_IN> 1 ? 40 : 17) { /* every bit: unit.test_manifest */
        flip(manifest, at);
        must_not_open(box);
        must_save_all(box);
    }
    for (size_t size = 0; size<manifest->size; size += T_ONE_IN> 1 ? 200 : 120) {
        t_write_file(manifest->path, manifest->bytes, size);
        must_not_open(box);
        must_save_all(box);
    }
    t_remove(manifest->path);
    must_not_open(box);
    must_save_all(box);
    t_remove(current->path); /* all of the directory is lost: nothing says which number was the newest */
    must_not_open(box);
    must_save_all_there_is(box);
    char dir[T_PATH_MAX];
    t_join(dir, box->db, "manifest");
    t_remove(dir);
    must_not_open(box);
    must_save_all_there_is(box);
    t_remove(copy->path);
    pomai_db *db;
    assert_refused(
        pomai_open(box->db, NULL, &db, &err), POMAI_ECORRUPT,
        "CURRENT is missing though the database has data, and so is every later catalogue; restore the whole "
        "database from a copy, or see with `pomai salvage` what can still be read");
    assert_false(try_salvage(box, &f, &err));
    assert_non_null(strstr(err.message, "vectors.arrow"));
    restore(copy);
    assert_int_equal(mkdir(dir, 0777), 0);
    restore(current);
    restore(manifest);
    flip(copy, copy->size / 2); /* nothing needs it, and verify tells */
    must_save_all(box);
    assert_refused(pomai_verify_path(box->db, NULL, NULL, NULL, &err), POMAI_ECORRUPT, "CATALOGUE-");
    flip(manifest, manifest->size / 2);
    assert_false(try_salvage(box, &f, &err));
    assert_int_equal(err.status, POMAI_ECORRUPT);
    assert_non_null(strstr(err.message, "catalogue"));
    forget();
}

/* A copy that is missing, damaged, or older is written when the database is opened for writing. */
static void test_copy_of_the_catalogue(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    char *json;
    make_image(box);
    struct file *copy = find("shards/CATALOGUE-");
    char older[T_PATH_MAX];
    t_join(older, box->db, "shards/CATALOGUE-0000000001");
    for (int i = 0; i < 3; i++) {
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        if (i == 0) flip(copy, 77);
        if (i > 0) t_remove(copy->path);
        if (i == 2) t_write_file(older, copy->bytes, copy->size);
        options.flags = POMAI_OPEN_READONLY; /* writes nothing */
        close_db(open_db(box, &options));
        assert_int_equal(access(copy->path, F_OK) == 0, i == 0);
        options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
        close_db(open_db(box, &options));
        size_t size;
        uint8_t *bytes = t_read_file(copy->path, &size);
        assert_int_equal(size, copy->size);
        assert_memory_equal(bytes, copy->bytes, size);
        free(bytes);
        assert_int_equal(access(older, F_OK), -1);
        assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err));
        pomai_free(json);
    }
    forget();
}

/* ---- anything ---- */

static void damage(const struct file *file, struct t_rng *rng)
{
    uint8_t *bytes = calloc(1, file->size + 1);
    size_t size = file->size;
    memcpy(bytes, file->bytes, size);
    const uint64_t at = size == 0 ? 0 : t_below(rng, size);
    switch (t_below(rng, 6)) {
    case 0:
        t_remove(file->path);
        free(bytes);
        return;
    case 1:
        size = at;
        break;
    case 2:
        size = 0;
        break;
    case 3:
        for (uint64_t i = at; i < size && i < at + 600; i++)
            bytes[i] = (uint8_t)t_next(rng);
        break;
    case 4:
        memset(bytes + at, 0, size - at < 70000 ? size - at : 70000);
        break;
    default:
        if (size > 0) bytes[at] ^= (uint8_t)(1u << t_below(rng, 8));
    }
    t_write_file(file->path, bytes, size);
    free(bytes);
}

static void test_anything(void **state)
{
    const struct box *box = *state;
    make_image(box);
    unsigned refused = 0, rounds = 0;
    for (uint64_t seed = 1; seed <= (T_ONE_IN > 1 ? 30 : 90); seed++) {
        struct t_rng rng = t_rng_from(seed);
        struct found f;
        pomai_error err;
        const unsigned hits = seed <= file_count ? 1 : 1 + (unsigned)t_below(&rng, 3);
        bool catalogue = false, ends = false;
        for (unsigned i = 0; i < hits; i++) {
            const unsigned which = seed <= file_count ? (unsigned)seed - 1 : (unsigned)t_below(&rng, file_count);
            catalogue |= strstr(files[which].path, "/manifest/") != NULL;
            ends |= strstr(files[which].path, "/live-") != NULL || strstr(files[which].path, ".wal") != NULL ||
                    strstr(files[which].path, "SEGMENT") != NULL;
            damage(&files[which], &rng);
        }
        rounds++;
        if (try_salvage(box, &f, &err)) {
            if (!ends) assert_int_equal(f.returned, 0); /* only what says that rows ended can bring them back */
            done(&f);
        } else {
            assert_true(catalogue);
            refused++;
        }
        for (unsigned i = 0; i < file_count; i++)
            restore(&files[i]);
    }
    assert_true(refused < rounds / 2);
    forget();
}

/* ---- no memory ---- */

static _Thread_local uint64_t until_failure; /* 0: never; of this thread, so that a number means the same each time */

static bool fail_one(size_t size)
{
    (void)size;
    return until_failure > 0 && --until_failure == 0;
}

static void test_no_memory(void **state)
{
    const struct box *box = *state;
    make_image(box);
    pm_malloc_fails = fail_one;
    unsigned failed = 0;
    for (uint64_t n = 1; n < 1000; n += n < 30 ? 1 : n / 8) {
        char to[T_PATH_MAX], *json = NULL;
        pomai_error err;
        int whole = 0;
        t_join(to, box->dir, "saved");
        t_remove(to);
        until_failure = n;
        pomai_status status = pomai_salvage(box->db, to, NULL, NULL, &json, &whole, &err);
        until_failure = 0;
        assert_true(status == POMAI_OK || (status == POMAI_ENOMEM && json == NULL));
        failed += status != POMAI_OK;
        if (status == POMAI_OK && whole) {
            struct found f = {0};
            look(to, &f);
            assert_int_equal(f.right, ROWS - 60);
            assert_int_equal(f.invented, 0);
        }
        pomai_free(json);
        t_remove(to);
    }
    assert_true(failed > 20);
    pm_malloc_fails = NULL;
    forget();
}

static void test_refusals(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    char *json;
    char to[T_PATH_MAX], none[T_PATH_MAX];
    make_image(box);
    t_join(to, box->dir, "saved");
    t_join(none, box->dir, "none");
    assert_refused(pomai_salvage(none, to, NULL, NULL, &json, NULL, &err), POMAI_ENOTFOUND, "none");
    assert_refused(pomai_salvage(NULL, to, NULL, NULL, &json, NULL, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_salvage(box->db, NULL, NULL, NULL, &json, NULL, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_salvage(box->db, box->db, NULL, NULL, &json, NULL, &err), POMAI_EEXISTS, NULL);
    char inside[T_PATH_MAX];
    t_join(inside, box->db, "manifest/saved");
    assert_refused(pomai_salvage(box->db, inside, NULL, NULL, &json, NULL, &err), POMAI_EINVAL, "inside");
    pomai_db *db = open_db(box, NULL);
    assert_refused(pomai_salvage(box->db, to, NULL, NULL, &json, NULL, &err), POMAI_ELOCKED, NULL);
    close_db(db);
    forget();
}

/* ---- the scrub ---- */

static void wait_for(pomai_db *db, const char *words, bool there)
{
    for (int i = 0; i < 3000; i++) {
        pomai_error err;
        char *json;
        assert_ok(pomai_stats(db, &json, &err));
        const bool has = strstr(json, words) != NULL;
        pomai_free(json);
        if (has == there) return;
        usleep(10000);
    }
    fail_msg("stats never %s %s", there ? "says" : "stops saying", words);
}

static void test_scrub(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    make_image(box);
    struct file *vectors = find("segments/1/vectors.arrow");
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.scrub_rate = UINT64_MAX / 2;
    pomai_db *db = open_db(box, &options);
    wait_for(db, "\"scrub_passes\": 0", false);
    wait_for(db, "\"scrub_damages\": 0", true);
    wait_for(db, "\"scrub_error\"", false);
    close_db(db);
    flip(vectors, vectors->size - 100000);
    db = open_db(box, &options);
    wait_for(db, "\"scrub_error\"", true);
    wait_for(db, "segments/1/vectors.arrow, block at offset", true);
    assert_refused(pomai_compact(db, NULL, &err), POMAI_ECORRUPT, "vectors.arrow");
    (void)pomai_close(db, &err);
    forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(test_nothing_is_damaged),
        BOXED(test_a_block_of_vectors),
        BOXED(test_documents_and_indexes),
        BOXED(test_liveness),
        BOXED(test_segment_lost),
        BOXED(test_catalogue),
        BOXED(test_copy_of_the_catalogue),
        BOXED(test_anything),
        BOXED(test_no_memory),
        BOXED(test_refusals),
        BOXED(test_scrub),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
