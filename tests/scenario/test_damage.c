/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage to a closed database: every byte of every file flipped, files cut, emptied, removed, exchanged, runs of bytes
 * overwritten. Nothing may be silent: opening and verifying refuse and say why, or what is shown is what was there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "../support/args.h"
#include "../support/one_in.h"
#include "../support/scenario.h"
#include "base/base.h"
#include "storage/format.h"

/* ---- the image ---- */

struct file {
    char path[T_PATH_MAX];
    uint8_t *bytes;
    size_t size;
};

static struct file files[96];
static unsigned file_count;
static uint64_t run_seed; /* --seed S */

static int collect_file(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    if (kind != FTW_F || strcmp(path + where->base, "LOCK") == 0) return 0; /* the text of LOCK is for people only */
    assert_true(file_count < sizeof files / sizeof files[0]);
    struct file *file = &files[file_count++];
    memset(file, 0, sizeof *file);
    snprintf(file->path, sizeof file->path, "%s", path);
    file->bytes = t_read_file(path, &file->size);
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static void collect_files(const char *db)
{
    for (unsigned i = 0; i < file_count; i++)
        free(files[i].bytes);
    file_count = 0;
    assert_int_equal(nftw(db, collect_file, 16, FTW_PHYS), 0);
    qsort(files, file_count, sizeof files[0], by_path); /* so that a seed means the same everywhere */
}

static struct file *find_file(const char *part)
{
    for (unsigned i = 0; i < file_count; i++) {
        if (strstr(files[i].path, part) != NULL) return &files[i];
    }
    fail_msg("no file like %s", part);
    return NULL;
}

static bool in_segment(const struct file *file)
{
    return strstr(file->path, "/segments/") != NULL;
}

static bool is_changed(const struct file *file)
{
    size_t size;
    uint8_t *bytes = t_read_file(file->path, &size);
    const bool changed = size != file->size || memcmp(bytes, file->bytes, size) != 0;
    free(bytes);
    return changed;
}

static void restore(const struct file *file)
{
    t_write_file(file->path, file->bytes, file->size);
}

static void put_strings(pomai_collection *strings, float value)
{
    pomai_error err;
    pomai_bytes ids[] = {{"one", 3}, {"two", 3}, {"three", 5}};
    pomai_bytes documents[] = {{"{\"n\":1}", 7}, {NULL, 0}, {"x", 1}};
    const uint64_t expiry[] = {0, UINT64_C(9000000000000000000), 1}; /* never, in long, long ago */
    float vectors[] = {1, 2, 3, value, 5, 6};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 3;
    batch.dim = 2;
    batch.vectors = vectors;
    batch.string_ids = ids;
    batch.documents = documents;
    batch.expiry_ns = value > 0 ? expiry : NULL;
    assert_ok(pomai_put(strings, &batch, NULL, NULL, &err));
}

/* One opening of the image: upserts, deletes, documents, a batch over both shards. */
static void fill_image(pomai_db *db, unsigned round)
{
    pomai_error err;
    pomai_collection *coll = pomai_default(db), *strings;
    put_rows(coll, 1, 3, 3);
    uint64_t spread[6];
    for (unsigned i = 0; i < 6; i++)
        spread[i] = (uint64_t)i * 4096 + round;
    assert_ok(try_put_batch(coll, spread, round, 6, 3, NULL, &err));
    pomai_ids dead = {2, spread, NULL};
    assert_ok(pomai_delete(coll, &dead, NULL, NULL, &err));
    if (round == 0)
        strings = create(db, "strings", 2, POMAI_METRIC_COSINE, POMAI_ID_STRING);
    else
        assert_ok(pomai_collection_open(db, "strings", &strings, &err));
    put_strings(strings, (float)round);
    pomai_collection_close(strings);
}

/* Two shards; one collection of u64 and one of string ids; several log files. */
static void make_log_image(const struct box *box)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 2;
    options.wal_file_bytes = 65536;
    options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    for (unsigned round = 0; round < 2; round++) {
        pomai_db *db = open_db(box, &options);
        fill_image(db, round);
        close_db(db);
    }
}

/* The same, and before it two generations in segments, with liveness files. */
static void make_image(const struct box *box)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 2;
    options.wal_file_bytes = 65536;
    for (unsigned round = 0; round < 4; round++) {
        options.flags = round < 2 ? 0 : POMAI_OPEN_NO_FLUSH_AT_CLOSE;
        pomai_db *db = open_db(box, &options);
        fill_image(db, round);
        close_db(db);
    }
}

/* A number that says everything a user can see: collections, ids, vectors, documents. */
static pomai_status digest_collection(pomai_collection *coll, uint64_t *digest, pomai_error *err)
{
    pomai_collection_info info;
    pomai_result *result;
    float query[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    pomai_status status = pomai_collection_get_info(coll, &info, err);
    if (status != POMAI_OK) return status;
    uint64_t h = t_mix2(info.rows, info.dim * 16 + info.metric * 4 + info.id_kind);
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    assert_true(info.dim > 0 && info.dim <= 8);
    status = pomai_search(coll, query, 1, info.dim, 1000, &options, &result, err);
    if (status != POMAI_OK) return status;
    for (size_t i = 0; i < pomai_result_count(result, 0); i++) {
        pomai_bytes id = pomai_result_string_id(result, 0, i), document = pomai_result_document(result, 0, i);
        uint64_t number = id.data == NULL ? pomai_result_ids(result, 0)[i] : pm_crc32c(0, id.data, id.size);
        h = t_mix2(h, number);
        h = t_mix2(h, pm_crc32c(1, pomai_result_vector(result, 0, i), info.dim * sizeof(float)));
        h = t_mix2(h, document.size == 0 ? 0 : pm_crc32c(2, document.data, document.size) + document.size);
        pomai_ids one = {1, id.data == NULL ? &number : NULL, id.data == NULL ? NULL : &id};
        pomai_rows *rows;
        if (status == POMAI_OK) status = pomai_get(coll, &one, NULL, &rows, err);
        if (status != POMAI_OK) break;
        h = t_mix2(h, pomai_rows_found(rows, 0) ? pm_crc32c(3, pomai_rows_vector(rows, 0), info.dim * 4) : 0);
        h = t_mix2(h, pomai_rows_expiry(rows, 0));
        pomai_rows_free(rows);
    }
    pomai_result_free(result);
    *digest = t_mix2(*digest, h);
    return status;
}

/* Reads all there is; fails as the first read that does. */
static pomai_status try_digest(pomai_db *db, uint64_t *digest, pomai_error *err)
{
    char **names;
    size_t count;
    uint64_t all[2] = {0, 0};
    *digest = 0;
    pomai_status status = pomai_collection_list(db, &names, &count, err);
    for (size_t i = 0; i < count && status == POMAI_OK; i++) {
        pomai_collection *coll;
        status = pomai_collection_open(db, names[i], &coll, err);
        if (status != POMAI_OK) break;
        *digest = t_mix2(*digest, pm_crc32c(0, names[i], strlen(names[i])));
        status = digest_collection(coll, digest, err);
        pomai_collection_close(coll);
    }
    pomai_free(names);
    if (status == POMAI_OK) status = pomai_digest(db, NULL, all, err);
    return status;
}

static uint64_t digest_db(pomai_db *db)
{
    pomai_error err;
    uint64_t h;
    assert_ok(try_digest(db, &h, &err));
    return h;
}

static uint64_t digest_path(const struct box *box)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = POMAI_OPEN_READONLY;
    pomai_db *db = open_db(box, &options);
    uint64_t h = digest_db(db);
    close_db(db);
    return h;
}

/* ---- one damage ---- */

static bool is_said(const pomai_error *err, pomai_status status)
{
    return err->status == status && memchr(err->message, 0, sizeof err->message) != NULL && strlen(err->message) > 10;
}

/* 1 if a damage was silent: something else is shown, and nothing is said. */
static unsigned damage_is_silent(const struct box *box, uint64_t before, uint32_t flags, const char *what, size_t at)
{
    pomai_error err = {0};
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = flags;
    options.search_threads = UINT32_MAX;
    options.wal_file_bytes = 65536;
    pomai_db *db = NULL;
    pomai_status status = pomai_open(box->db, &options, &db, &err);
    if (status != POMAI_OK) {
        if (is_said(&err, status) && status != POMAI_EINTERNAL && status != POMAI_ENOMEM) return 0;
        print_error("%s at %zu: %s, \"%s\"\n", what, at, pomai_status_name(status), err.message);
        return 1;
    }
    pomai_open_report report;
    uint64_t now;
    pomai_get_open_report(db, &report);
    status = try_digest(db, &now, &err); /* damage in a segment is found by the first read that needs it */
    bool same = status == POMAI_OK && now == before, torn = report.torn_tails > 0;
    close_db(db);
    if (status == POMAI_ECORRUPT && is_said(&err, status) && strstr(err.message, box->db) != NULL) return 0;
    char *json = NULL;
    status = pomai_verify_path(box->db, NULL, NULL, &json, &err);
    pomai_free(json);
    if (same && !torn) return 0;
    print_error("%s at %zu: silent: the state is %s, torn %d; verify says %s\n", what, at,
                same ? "the same" : "ANOTHER", torn, pomai_status_name(status));
    return 1;
}

/* verify must see damage wherever opening does, and in a segment wherever it is. */
static unsigned verify_is_silent(const struct box *box, bool in_segment, const char *what, size_t at)
{
    pomai_error err = {0}, open_err = {0};
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = POMAI_OPEN_READONLY;
    options.search_threads = UINT32_MAX;
    pomai_db *db;
    char *json = NULL;
    pomai_status status = pomai_verify_path(box->db, NULL, NULL, &json, &err),
                 opened = pomai_open(box->db, &options, &db, &open_err);
    pomai_free(json);
    if (opened == POMAI_OK) close_db(db);
    if (opened == POMAI_OK && !in_segment) return 0;
    if (status != POMAI_OK && is_said(&err, status)) return 0;
    print_error("%s at %zu: open says %s, verify says %s\n", what, at, pomai_status_name(opened),
                pomai_status_name(status));
    return 1;
}

static void conclude(const char *name, uint64_t cases, uint64_t failures, uint64_t seed)
{
    print_message("%s: %llu cases, %llu failures, seed %llu\n", name, (unsigned long long)cases,
                  (unsigned long long)failures, (unsigned long long)seed);
    assert_int_equal(failures, 0);
}

/* ---- the tests ---- */

static void test_every_byte_flipped(void **state)
{
    struct box *box = *state;
    uint64_t cases = 0, failures = 0, seed = 1;
    struct t_rng rng = t_rng_from(seed);
    make_image(box);
    uint64_t before = digest_path(box);
    collect_files(box->db);
    assert_true(file_count >= 6);
    for (unsigned f = 0; f < file_count; f++) {
        struct file *file = &files[f];
        for (size_t at = f % T_ONE_IN; at < file->size; at += T_ONE_IN) {
            uint8_t good = file->bytes[at];
            file->bytes[at] ^= (uint8_t)(1u << t_below(&rng, 8));
            restore(file);
            failures += damage_is_silent(box, before, POMAI_OPEN_READONLY, file->path, at);
            if (at % 16 == 0) failures += verify_is_silent(box, in_segment(file), file->path, at);
            cases++;
            file->bytes[at] = good;
        }
        restore(file);
        if (failures > 20) break;
    }
    assert_true(digest_path(box) == before);
    conclude("flips", cases, failures, seed);
}

/* Draws a damage of many bytes and applies it to a copy of the file's bytes. Returns its name. */
static const char *draw_damage(struct t_rng *rng, const struct file *file)
{
    size_t at = t_below(rng, file->size), length = (size_t)t_skewed(rng, 1, file->size - at);
    uint8_t *bytes = malloc(file->size + 4096);
    const char *what = "";
    size_t size = file->size;
    memcpy(bytes, file->bytes, size);
    memset(bytes + size, 0, 4096);
    switch (t_below(rng, 6)) {
    case 0:
        what = "zeroed run";
        memset(bytes + at, 0, length);
        break;
    case 1:
        what = "random run";
        for (size_t i = 0; i < length; i++)
            bytes[at + i] = (uint8_t)t_next(rng);
        break;
    case 2:
        what = "cut";
        size = at;
        break;
    case 3:
        what = "cut, then zeros";
        memset(bytes + at, 0, size - at);
        size += t_below(rng, 4096);
        break;
    case 4:
        what = "run copied over another";
        memmove(bytes + t_below(rng, size - length + 1), file->bytes + at, length);
        break;
    default:
        what = "run taken out";
        memmove(bytes + at, bytes + at + length, size - at - length);
        size -= length;
        break;
    }
    t_write_file(file->path, bytes, size);
    free(bytes);
    return what;
}

static void test_damage_of_many_bytes(void **state)
{
    struct box *box = *state;
    uint64_t failures = 0, seed = run_seed, cases = 1500 / T_ONE_IN;
    struct t_rng rng = t_rng_from(seed);
    char copy[T_PATH_MAX];
    make_image(box);
    uint64_t before = digest_path(box);
    collect_files(box->db);
    t_join(copy, box->dir, "copy");
    for (uint64_t i = 0; i < cases && failures < 20; i++) {
        struct file *file = &files[t_below(&rng, file_count)];
        const char *what = draw_damage(&rng, file);
        failures += damage_is_silent(box, before, POMAI_OPEN_READONLY, what, i);
        if (i % 8 == 0) failures += verify_is_silent(box, in_segment(file) && is_changed(file), what, i);
        if (i % 4 == 0) { /* a writer must not take it for a torn tail either */
            struct box other = *box;
            memcpy(other.db, copy, sizeof copy);
            t_copy_tree(box->db, copy);
            failures += damage_is_silent(&other, before, 0, what, i);
            t_remove(copy);
        }
        restore(file);
    }
    conclude("damage", cases, failures, seed);
}

static void test_missing_files(void **state)
{
    struct box *box = *state;
    uint64_t failures = 0;
    make_image(box);
    uint64_t before = digest_path(box);
    collect_files(box->db);
    for (unsigned f = 0; f < file_count; f++) {
        assert_int_equal(remove(files[f].path), 0);
        failures += damage_is_silent(box, before, POMAI_OPEN_READONLY, files[f].path, 0);
        failures += damage_is_silent(box, before, 0, files[f].path, 1);
        failures += verify_is_silent(box, in_segment(&files[f]), files[f].path, 2);
        t_remove(box->db);
        make_image(box);
        before = digest_path(box);
        collect_files(box->db);
        t_write_file(files[f].path, "", 0);
        failures += damage_is_silent(box, before, POMAI_OPEN_READONLY, files[f].path, 3);
        failures += damage_is_silent(box, before, 0, files[f].path, 4);
        t_remove(box->db);
        make_image(box);
        before = digest_path(box);
        collect_files(box->db);
    }
    conclude("missing", file_count * 5, failures, 0);
}

static void assert_open_gives(const struct box *box, pomai_status wanted)
{
    pomai_error err = {0};
    pomai_db *db = NULL;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    for (unsigned i = 0; i < 2; i++) {
        options.flags = i == 0 ? POMAI_OPEN_READONLY : 0;
        pomai_status status = pomai_open(box->db, &options, &db, &err);
        if (status == POMAI_OK && wanted == POMAI_OK) {
            close_db(db);
        } else {
            refused_as(status, wanted, &err, NULL, "pomai_open", __LINE__);
        }
    }
}

/* Recomputes the checksum over bytes 12 and on, which every file but a log's records has at offset 8. */
static void seal(uint8_t *bytes, size_t size)
{
    uint32_t crc = pm_crc32c(0, bytes + 12, size - 12);
    memcpy(bytes + 8, &crc, sizeof crc);
}

static void set_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static void test_newer_format(void **state)
{
    struct box *box = *state;
    make_image(box);
    collect_files(box->db);
    static const char *const names[] = {"/CURRENT", "/MANIFEST-", "/WATERMARK", ".wal"};
    for (unsigned i = 0; i < 4; i++) {
        struct file *file = find_file(names[i]);
        uint8_t *bytes = malloc(file->size);
        memcpy(bytes, file->bytes, file->size);
        set_u32(bytes + 12, PM_FORMAT + 1);
        seal(bytes, i < 2 ? file->size : 512);
        if (i == 2) { /* both slots */
            memcpy(bytes + 512, bytes, 512);
            bytes[512 + 40]++;
            seal(bytes + 512, 512);
        }
        t_write_file(file->path, bytes, file->size);
        assert_open_gives(box, POMAI_EFORMAT);
        free(bytes);
        restore(file);
        assert_open_gives(box, POMAI_OK);
        t_remove(box->db);
        make_image(box);
        collect_files(box->db);
    }
    /* A feature that a reader must know, and one that it may pass over. */
    struct file *manifest = find_file("/MANIFEST-");
    const uint8_t features = manifest->bytes[offsetof(pm_manifest_header, incompatible)];
    manifest->bytes[offsetof(pm_manifest_header, incompatible)] = (uint8_t)(features | (PM_FEATURES_KNOWN + 1));
    seal(manifest->bytes, manifest->size);
    restore(manifest);
    assert_open_gives(box, POMAI_EFORMAT);
    manifest->bytes[offsetof(pm_manifest_header, incompatible)] = features;
    manifest->bytes[offsetof(pm_manifest_header, compatible) + 5] = 1;
    seal(manifest->bytes, manifest->size);
    restore(manifest);
    assert_open_gives(box, POMAI_OK);
}

static void test_files_of_another_database(void **state)
{
    struct box *box = *state;
    struct box other = *box;
    make_log_image(box);
    t_join(other.db, box->dir, "other");
    make_log_image(&other);
    collect_files(other.db);
    static const char *const names[] = {".wal", "/WATERMARK", "/MANIFEST-"};
    for (unsigned i = 0; i < 3; i++) {
        struct file *file = find_file(names[i]);
        char path[T_PATH_MAX];
        size_t size;
        assert_true(snprintf(path, sizeof path, "%s%s", box->db, file->path + strlen(other.db)) < T_PATH_MAX);
        uint8_t *own = t_read_file(path, &size);
        t_write_file(path, file->bytes, file->size);
        assert_open_gives(box, POMAI_EFOREIGN);
        t_write_file(path, own, size);
        free(own);
        uint64_t before = digest_path(box);
        assert_true(before != 0);
    }
}

/* Refused at open or by the first read, with the name of the file; and by verify. */
static void assert_named(const struct box *box, const char *name)
{
    pomai_error err = {0};
    pomai_db *db = NULL;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    uint64_t words;
    options.flags = POMAI_OPEN_READONLY;
    pomai_status status = pomai_open(box->db, &options, &db, &err);
    if (status == POMAI_OK) {
        status = try_digest(db, &words, &err);
        close_db(db);
    }
    refused_as(status, status == POMAI_EFOREIGN ? POMAI_EFOREIGN : POMAI_ECORRUPT, &err, name, name, __LINE__);
    assert_refused(pomai_verify_path(box->db, NULL, NULL, NULL, &err), status, name);
}

enum { EACH = 20 };

static void put_letters(pomai_collection *coll, char letter)
{
    pomai_error err;
    char text[EACH][4];
    pomai_bytes ids[EACH], documents[EACH];
    float vectors[EACH * 2];
    for (int i = 0; i < EACH; i++) {
        snprintf(text[i], sizeof text[i], "%c%c", letter, '0' + i);
        ids[i] = documents[i] = (pomai_bytes){text[i], 2};
        vectors[2 * i] = (float)letter;
        vectors[2 * i + 1] = (float)i;
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = EACH;
    batch.dim = 2;
    batch.vectors = vectors;
    batch.string_ids = ids;
    batch.documents = documents;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
}

static void delete_letter(pomai_db *db, pomai_collection *coll, const char *id)
{
    pomai_error err;
    pomai_bytes bytes = {id, strlen(id)};
    pomai_ids ids = {1, NULL, &bytes};
    assert_ok(pomai_delete(coll, &ids, NULL, NULL, &err));
    assert_ok(pomai_flush(db, &err));
}

/* One collection, two segments of the same sizes, too good to be merged; the first has live-1. */
static void make_two_segments(const struct box *box)
{
    pomai_error err;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "letters", 2, POMAI_METRIC_L2, POMAI_ID_STRING);
    put_letters(coll, 'a');
    assert_ok(pomai_flush(db, &err));
    put_letters(coll, 'b');
    assert_ok(pomai_flush(db, &err));
    delete_letter(db, coll, "a1");
    pomai_collection_close(coll);
    close_db(db);
    collect_files(box->db);
}

/* Whole files, each good in its place, in another: of another segment, of another database. */
static void test_segment_files_elsewhere(void **state)
{
    struct box *box = *state;
    struct box other = *box;
    static const char *const names[] = {"SEGMENT", "vectors.arrow", "attributes.arrow", "ids.idx"};
    char part[80], path[T_PATH_MAX];
    size_t size;
    t_join(other.db, box->dir, "other");
    make_two_segments(&other);
    make_two_segments(box);
    uint64_t before = digest_path(box);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(part, sizeof part, "/segments/1/%s", names[i]);
        const struct file *a = find_file(part);
        snprintf(part, sizeof part, "/segments/2/%s", names[i]);
        const struct file *b = find_file(part);
        t_write_file(a->path, b->bytes, b->size);
        assert_named(box, names[i]);
        t_write_file(b->path, a->bytes, a->size);
        assert_named(box, names[i]);
        restore(a);
        restore(b);
        assert_true(snprintf(path, sizeof path, "%s%s", other.db, a->path + strlen(box->db)) < T_PATH_MAX);
        uint8_t *foreign = t_read_file(path, &size);
        t_write_file(a->path, foreign, size);
        if (size != a->size || memcmp(foreign, a->bytes, size) != 0) assert_named(box, names[i]);
        free(foreign);
        restore(a);
        assert_true(digest_path(box) == before);
    }
}

/* An earlier generation of the ends under the name of the one that counts; a directory that nobody names. */
static void test_older_ends(void **state)
{
    struct box *box = *state;
    char path[T_PATH_MAX];
    size_t size;
    pomai_error err;
    pomai_collection *coll;
    make_two_segments(box);
    uint8_t *older = t_read_file(find_file("/segments/1/live-1")->path, &size);
    pomai_db *db = open_db(box, NULL);
    assert_ok(pomai_collection_open(db, "letters", &coll, &err));
    delete_letter(db, coll, "a2");
    pomai_collection_close(coll);
    close_db(db);
    collect_files(box->db);
    uint64_t before = digest_path(box);
    const struct file *live = find_file("/segments/1/live-2");
    t_join(path, box->db, "collections/1/segments/1/live-1");
    assert_int_not_equal(access(path, F_OK), 0);
    t_write_file(live->path, older, size);
    assert_named(box, "live-2");
    restore(live);
    t_write_file(path, older, size); /* beside it: a leftover */
    t_join(path, box->db, "collections/1/segments/77");
    assert_int_equal(mkdir(path, 0700), 0);
    t_join(path, box->db, "collections/1/segments/77/SEGMENT");
    t_write_file(path, "half", 4);
    assert_true(digest_path(box) == before);
    db = open_db(box, NULL);
    assert_true(digest_db(db) == before);
    close_db(db);
    t_join(path, box->db, "collections/1/segments/77");
    assert_int_not_equal(access(path, F_OK), 0);
    t_join(path, box->db, "collections/1/segments/1/live-1");
    assert_int_not_equal(access(path, F_OK), 0);
    free(older);
}

/* A directory whose name is the largest number there is must not become the next segment's. */
static void test_directory_of_the_last_number(void **state)
{
    struct box *box = *state;
    char path[T_PATH_MAX];
    make_two_segments(box);
    t_join(path, box->db, "collections/1/segments/18446744073709551614");
    assert_int_equal(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < 3; i++) {
        pomai_db *db = open_db(box, NULL);
        put_rows(pomai_default(db), i * 10, 3, 3);
        assert_int_equal(count_rows(pomai_default(db)), (i + 1) * 3);
        close_db(db);
    }
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(rmdir(path), 0);
}

/* What is left of an interrupted edit is no damage. */
static void test_leftovers(void **state)
{
    struct box *box = *state;
    char path[T_PATH_MAX];
    make_image(box);
    uint64_t before = digest_path(box);
    collect_files(box->db);
    struct file *manifest = find_file("/MANIFEST-");
    pm_manifest_header header;
    memcpy(&header, manifest->bytes, sizeof header);
    assert_true(snprintf(path, sizeof path, "%s/manifest/MANIFEST-%010llu", box->db,
                         (unsigned long long)header.number + 1) < T_PATH_MAX);
    t_write_file(path, manifest->bytes, manifest->size / 2);
    t_join(path, box->db, "manifest/CURRENT.tmp");
    t_write_file(path, manifest->bytes, manifest->size); /* longer than what takes its place */
    t_join(path, box->db, "shards/1/0/wal/0000000099.wal.tmp");
    t_write_file(path, "half", 4);
    assert_true(digest_path(box) == before);
    pomai_db *db = open_db(box, NULL);
    assert_true(digest_db(db) == before);
    pomai_collection *made = create(db, "later", 3, POMAI_METRIC_L2, POMAI_ID_U64); /* replaces the leftover manifest */
    pomai_collection_close(made);
    close_db(db);
    assert_int_equal(access(path, F_OK), -1);
    db = open_db(box, NULL);
    pomai_error err;
    assert_ok(pomai_collection_open(db, "later", &made, &err));
    pomai_collection_close(made);
    close_db(db);
}

/* On request a damaged database shows what lies before the damage, and says that there is some. */
static void test_accepting_damage(void **state)
{
    struct box *box = *state;
    pomai_error err;
    make_log_image(box);
    collect_files(box->db);
    struct file *log = find_file(".wal");
    assert_true(log->size > PM_WAL_HEADER + PM_REC_HEADER);
    log->bytes[log->size - 80] ^= 4; /* in its last record */
    restore(log);
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_db *db;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_ECORRUPT, "log file 1 of");
    options.flags = POMAI_OPEN_ACCEPT_DAMAGE;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_EINVAL, NULL); /* only with READONLY */
    options.flags |= POMAI_OPEN_READONLY;
    db = open_db(box, &options);
    pomai_open_report report;
    pomai_get_open_report(db, &report);
    assert_int_equal(report.damaged, 1);
    assert_true(strlen(report.notes) > 0);
    assert_true(count_rows(pomai_default(db)) > 0);
    close_db(db);
    char *json = NULL;
    assert_refused(pomai_verify_path(box->db, NULL, NULL, &json, &err), POMAI_ECORRUPT, NULL);
    assert_non_null(json);
    pomai_free(json);
}

/* Rows in segments are there though the log that they came from ends before them. */
static void test_accepting_damage_below_segments(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 1;
    options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    pomai_db *db = open_db(box, &options);
    put_rows(pomai_default(db), 1, 3, 3);
    put_rows(pomai_default(db), 2, 4, 3); /* replaces two of them */
    assert_ok(pomai_flush(db, &err));
    put_rows(pomai_default(db), 100, 2, 3);
    close_db(db);
    collect_files(box->db);
    struct file *log = find_file(".wal");
    log->bytes[PM_WAL_HEADER] ^= 1;
    restore(log);
    assert_refused(pomai_open(box->db, NULL, &db, &err), POMAI_ECORRUPT, "log file 1 of");
    options.flags = POMAI_OPEN_READONLY | POMAI_OPEN_ACCEPT_DAMAGE;
    db = open_db(box, &options);
    pomai_result *result;
    const float query[3] = {0};
    assert_int_equal(count_rows(pomai_default(db)), 5);
    assert_ok(pomai_search(pomai_default(db), query, 1, 3, 100, NULL, &result, &err));
    assert_int_equal(pomai_result_count(result, 0), 5);
    pomai_result_free(result);
    close_db(db);
}

/* ---- the image of a crash ---- */

enum { COMMITS = 6 };

static void die_when_told(enum pm_point point)
{
    static atomic_int told;
    if (point == PM_POINT_BATCH_ACKED && atomic_fetch_add(&told, 1) + 1 == COMMITS) kill(getpid(), SIGKILL);
}

/* A writer that dies without closing, as soon as its last put is acknowledged at level SYNC. One shard. */
static void make_crash_image(const struct box *box, uint32_t flags)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.shards = 1;
        options.wal_file_bytes = 65536;
        options.flags = flags;
        pomai_db *db;
        pm_point_hook = die_when_told;
        bool ok = pomai_open(box->db, &options, &db, NULL) == POMAI_OK;
        for (unsigned i = 0; ok && i < COMMITS; i++)
            ok = try_put(pomai_default(db), i * 10, 2, 3, NULL) == POMAI_OK;
        if (ok) sleep(30); /* the thread that told us of the last one is about to die */
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* On a slow machine the log falls idle between two puts; then its WATERMARK attests what a header should. */
static bool mark_attests(void)
{
    const struct file *mark = find_file("/WATERMARK");
    pm_mark_slot slots[2];
    memcpy(slots, mark->bytes, sizeof slots);
    return slots[0].durable_lsn > 0 || slots[1].durable_lsn > 0;
}

/* How many rows it shows; -1: it is refused as corrupt. */
static int rows_of_image(const struct box *box)
{
    pomai_error err = {0};
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = POMAI_OPEN_READONLY;
    pomai_db *db;
    pomai_status status = pomai_open(box->db, &options, &db, &err);
    if (status != POMAI_OK) {
        refused_as(status, POMAI_ECORRUPT, &err, NULL, "pomai_open", __LINE__);
        return -1;
    }
    int rows = (int)count_rows(pomai_default(db));
    pomai_open_report report;
    pomai_get_open_report(db, &report);
    if (rows < 2 * COMMITS) assert_true(report.torn_tails == 1 && strlen(report.notes) > 0);
    close_db(db);
    return rows;
}

/* An image in which only headers say what was durable. */
static void make_unmarked_crash_image(const struct box *box)
{
    make_crash_image(box, 0);
    collect_files(box->db);
    for (unsigned tries = 0; tries < 20 && mark_attests(); tries++) {
        t_remove(box->db);
        make_crash_image(box, 0);
        collect_files(box->db);
    }
}

/* Where the last record of a log begins, and where it ends. */
static uint64_t last_record(const struct file *log, uint64_t *end)
{
    uint64_t last = 0;
    pm_rec_header header;
    *end = PM_WAL_HEADER;
    memcpy(&header, log->bytes + *end, sizeof header);
    while (header.lsn != 0) {
        last = *end;
        *end += sizeof header + header.payload_len;
        memcpy(&header, log->bytes + *end, sizeof header);
    }
    return last;
}

/* What is left of a torn record could be taken for one of those that are written next: so not into the same file. */
static void test_torn_tail_is_not_written_over(void **state)
{
    struct box *box = *state;
    char path[T_PATH_MAX];
    uint64_t end;
    struct stat st;
    make_unmarked_crash_image(box);
    if (mark_attests()) return; /* too slow a machine */
    struct file *log = find_file(".wal");
    uint64_t last = last_record(log, &end);
    log->bytes[last + PM_REC_HEADER] ^= 1;
    restore(log);
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE; /* else the log is retired */
    pomai_db *db = open_db(box, &options);
    put_rows(pomai_default(db), 1000, 2, 3);
    close_db(db);
    assert_int_equal(stat(log->path, &st), 0);
    assert_true((uint64_t)st.st_size == last);
    t_join(path, box->db, "shards/1/0/wal/0000000002.wal");
    assert_int_equal(access(path, F_OK), 0);
}

/*
 * Every commit but the last is attested by a later header; so only damage to the last may pass for a torn tail, and
 * with the strict WATERMARK not even that. (The WATERMARK may also have been written in an idle moment: then none may.)
 */
static void test_damage_after_a_crash(void **state)
{
    struct box *box = *state;
    uint64_t cases = 0, failures = 0;
    for (uint32_t strict = 0; strict < 2; strict++) {
        if (strict) {
            make_crash_image(box, POMAI_OPEN_STRICT_MARK);
            collect_files(box->db);
        } else {
            make_unmarked_crash_image(box);
        }
        struct file *log = find_file(".wal");
        uint64_t end, last = last_record(log, &end);
        assert_int_equal(rows_of_image(box), 2 * COMMITS);
        for (uint64_t at = PM_WAL_HEADER; at < end && failures < 20; at += T_ONE_IN) {
            log->bytes[at] ^= (uint8_t)(1u << at % 8);
            restore(log);
            int rows = rows_of_image(box);
            bool may_tear = at >= last && !strict && rows == 2 * (COMMITS - 1);
            if (rows != -1 && !may_tear) {
                print_error("byte %zu of a crash image, strict %u: %d rows are shown\n", (size_t)at, strict, rows);
                failures++;
            }
            log->bytes[at] ^= (uint8_t)(1u << at % 8);
            cases++;
        }
        t_remove(box->db);
    }
    conclude("crash image", cases, failures, 0);
}

static int forget_files(void **state)
{
    (void)state;
    for (unsigned i = 0; i < file_count; i++)
        free(files[i].bytes);
    file_count = 0;
    return 0;
}

int main(int argc, char **argv)
{
    run_seed = argc == 3 && strcmp(argv[1], "--seed") == 0 ? strtoull(argv[2], NULL, 0) : t_fresh_seed();
    const struct CMUnitTest tests[] = {
        BOXED(test_torn_tail_is_not_written_over),
        BOXED(test_every_byte_flipped),
        BOXED(test_damage_of_many_bytes),
        BOXED(test_missing_files),
        BOXED(test_newer_format),
        BOXED(test_files_of_another_database),
        BOXED(test_segment_files_elsewhere),
        BOXED(test_older_ends),
        BOXED(test_directory_of_the_last_number),
        BOXED(test_leftovers),
        BOXED(test_accepting_damage),
        BOXED(test_accepting_damage_below_segments),
        BOXED(test_damage_after_a_crash),
    };
    return cmocka_run_group_tests_name("damage", tests, NULL, forget_files);
}
