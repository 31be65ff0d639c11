/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments alone: what was written is read back and found by id; ends and their generations; every kind of damage of
 * every file; every call of the operating system failing once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/sim/os_sim.h"
#include "query/judge.h"
#include "support/one_in.h"
#include "support/segment.h"

#define DIR "/s/1"

static uint64_t seed_of(const seg_source *s)
{
    return pm_segment_seed(s->place.uuid);
}

static uint32_t find_number(seg_source *s, pm_segment *segment, uint64_t number, uint64_t visible)
{
    uint8_t text[POMAI_MAX_STRING_ID];
    pm_id id;
    uint32_t row;
    seg_id(s, number, text, &id);
    const uint64_t hash = pm_id_hash(&id, seed_of(s));
    pm_segment_prefetch(segment, hash);
    const bool may = pm_segment_may_have(segment, hash);
    assert_int_equal(pm_segment_find(segment, &id, hash, visible, &row, NULL), POMAI_OK);
    assert_true(may || row == PM_NO_ROW);
    return row;
}

static void check_all(seg_source *s, pm_segment *segment)
{
    pomai_error err;
    for (uint64_t i = 0; i < s->rows; i += 1000) {
        const uint64_t count = pm_min_u64(1000, s->rows - i);
        assert_int_equal(pm_segment_check(segment, PM_SEG_ALL, i, count, &err), POMAI_OK);
    }
    for (uint64_t i = 0; i < s->rows; i++)
        assert_true(seg_same(s, segment, i));
}

static void round_trip_of(pomai_dtype dtype, pomai_id_kind kind, uint64_t rows, uint32_t dim, unsigned flags)
{
    char dir[64] = "/tmp/pomai-segment-XXXXXX", path[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/9", dir);
    const pm_os *os = pm_os_posix();
    seg_source s = seg_source_make(os, path, kind, rows, dim, flags);
    s.place.dtype = dtype;
    pm_manifest_segment entry;
    pm_segment *segment;
    pomai_error err = {0};
    if (seg_make(&s, &entry, &err) != POMAI_OK) fail_msg("%s", err.message);
    if (pm_segment_verify(&s.place, &entry, NULL, NULL, &err) != POMAI_OK) fail_msg("%s", err.message);
    if (pm_segment_open(&s.place, &entry, &segment, &err) != POMAI_OK) fail_msg("%s", err.message);
    assert_int_equal(pm_segment_rows(segment), rows);
    assert_int_equal(segment->kind, PM_ROWS_SEGMENT);
    assert_int_equal(pm_segment_first_expiry(segment), seg_expiry(&s, 0));
    uint64_t max_id = 0, max_lsn[5] = {0};
    for (uint64_t i = 0; i < rows; i++) {
        if (kind == POMAI_ID_U64) max_id = pm_max_u64(max_id, seg_u64_id(i));
        max_lsn[i % 4] = i + 1;
    }
    assert_int_equal(pm_segment_max_id(segment), max_id);
    for (uint32_t shard = 0; shard < 5; shard++)
        assert_int_equal(pm_segment_max_lsn(segment, shard), max_lsn[shard]);
    for (uint64_t i = 0; i < rows; i++)
        assert_int_equal(find_number(&s, segment, i, PM_NO_END - 1), i);
    for (uint64_t i = rows; i < 2 * rows + 100; i++)
        assert_int_equal(find_number(&s, segment, i, PM_NO_END - 1), PM_NO_ROW);
    check_all(&s, segment);
    pm_segment_free(segment);
    pm_segment_remove(os, path);
    assert_int_equal(os->path_kind(os, path), PM_PATH_NONE);
    assert_int_equal(os->dir_remove(os, dir), 0);
    free(s.vector);
}

static void round_trip(pomai_id_kind kind, uint64_t rows, uint32_t dim, unsigned flags)
{
    round_trip_of(POMAI_DTYPE_FLOAT32, kind, rows, dim, flags);
}

static void test_round_trips_of_types(void **state)
{
    (void)state;
    static const uint32_t dims[] = {1, 3, 31, 64, 129};
    for (int dtype = POMAI_DTYPE_FLOAT16; dtype <= POMAI_DTYPE_INT8; dtype++)
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
            for (unsigned flags = 0; flags < 4; flags++) {
                round_trip_of((pomai_dtype)dtype, POMAI_ID_U64, 1000, dims[d], flags);
                round_trip_of((pomai_dtype)dtype, POMAI_ID_STRING, 65, dims[d], flags);
            }
}

static void test_round_trips(void **state)
{
    (void)state;
    static const uint64_t rows[] = {1, 2, 7, 8, 9, 63, 64, 65, 1000};
    static const uint32_t dims[] = {1, 3, 128};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++)
            for (unsigned flags = 0; flags < 16; flags++) {
                if (flags < 4) round_trip(POMAI_ID_U64, rows[r], dims[d], flags);
                round_trip(POMAI_ID_STRING, rows[r], dims[d], flags);
            }
    round_trip(POMAI_ID_U64, 700, 4100, SEG_DOCUMENTS);
    round_trip(POMAI_ID_STRING, 60000, 3, SEG_DOCUMENTS | SEG_EXPIRY);
    round_trip(POMAI_ID_U64, 200000, 32, SEG_EXPIRY);
}

enum { LARGE = 128 << 10, LARGE_ROWS = 200 };

static pomai_status large_row(void *context, uint64_t i, uint32_t columns, pm_segment_row *row, pomai_error *err)
{
    static char document[LARGE];
    pomai_status status = seg_row(context, i, columns, row, err);
    memset(document, ' ', sizeof document);
    memcpy(document, "{\"a\":1}", 7);
    row->document = (pomai_bytes){document, sizeof document};
    return status;
}

static bool at_once(const void *context)
{
    (void)context;
    return true;
}

/* Of large documents no more are checked, let alone judged, once it is over. */
static void test_large_documents_are_checked_until_it_is_over(void **state)
{
    (void)state;
    char dir[64] = "/tmp/pomai-segment-XXXXXX", path[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/9", dir);
    seg_source s = seg_source_make(pm_os_posix(), path, POMAI_ID_U64, LARGE_ROWS, 2, 0);
    const pm_segment_write in = {&s.place, LARGE_ROWS, large_row, seg_pace, &s};
    pm_manifest_segment entry;
    pm_segment *segment;
    pm_filter *filter;
    pomai_error err = {0};
    uint64_t open[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 255}, bits[4] = {0};
    assert_int_equal(pm_segment_make(&in, &entry, &err), POMAI_OK);
    assert_int_equal(pm_segment_open(&s.place, &entry, &segment, &err), POMAI_OK);
    assert_int_equal(pm_filter_parse("{\"a\":1}", 7, &filter, &err), POMAI_OK);
    const pm_segment_file *file = &segment->file[PM_FILE_ATTRIBUTES];
    const uint64_t left = file->left;
    pm_filter_asks asks = {.is_over = at_once};
    pm_judge with;
    assert_true(pm_judge_begin(&with, NULL, filter));
    with.asks = &asks;
    assert_int_equal(pm_judge_open(&with, segment, 0, 4, open, bits, &err), POMAI_OK);
    assert_true(asks.over && bits[0] > 0 && bits[1] == 0 && bits[3] == 0);
    assert_in_range(left - file->left, 1, 2 * (2 << 20) / PM_SEGMENT_BLOCK);
    asks = (pm_filter_asks){0};
    memset(bits, 0, sizeof bits);
    assert_int_equal(pm_judge_open(&with, segment, 0, 4, open, bits, &err), POMAI_OK);
    assert_memory_equal(bits, open, sizeof bits);
    pm_judge_end(&with);
    pm_filter_free(filter);
    pm_segment_free(segment);
    pm_segment_remove(pm_os_posix(), path);
    assert_int_equal(pm_os_posix()->dir_remove(pm_os_posix(), dir), 0);
    free(s.vector);
}

/* An id has several versions; each reader sees one. */
static void versions(pomai_id_kind kind, uint64_t rows, uint64_t distinct)
{
    char dir[64] = "/tmp/pomai-segment-XXXXXX", path[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/9", dir);
    seg_source s = seg_source_make(pm_os_posix(), path, kind, rows, 2, 0);
    s.distinct = distinct;
    pm_manifest_segment entry;
    pm_segment *segment;
    pomai_error err;
    assert_int_equal(seg_make(&s, &entry, &err), POMAI_OK);
    assert_int_equal(pm_segment_verify(&s.place, &entry, NULL, NULL, &err), POMAI_OK);
    assert_int_equal(pm_segment_open(&s.place, &entry, &segment, &err), POMAI_OK);
    for (uint64_t i = 0; i + distinct < rows; i++) {
        assert_true(pm_segment_end(segment, i, i + distinct + 1));
        assert_false(pm_segment_end(segment, i, i + distinct + 1));
    }
    assert_int_equal(pm_segment_ended(segment), rows - distinct);
    const uint64_t step = rows / 50 + 1;
    for (uint64_t number = 0; number < distinct; number += distinct / 40 + 1) {
        for (uint64_t visible = 1; visible <= rows; visible += step) {
            uint64_t want = visible < number + 1 ? PM_NO_ROW : number + (visible - 1 - number) / distinct * distinct;
            assert_int_equal(find_number(&s, segment, number, visible), want);
        }
        const uint64_t last = number + (rows - 1 - number) / distinct * distinct;
        assert_int_equal(find_number(&s, segment, number, PM_NO_END - 1), last);
        assert_true(pm_segment_end(segment, last, rows + 5));
        assert_int_equal(find_number(&s, segment, number, PM_NO_END - 1), PM_NO_ROW);
        assert_int_equal(find_number(&s, segment, number, rows + 4), last);
    }
    pm_segment_free(segment);
    pm_segment_remove(pm_os_posix(), path);
    assert_int_equal(rmdir(dir), 0);
    free(s.vector);
}

static void test_versions(void **state)
{
    (void)state;
    versions(POMAI_ID_U64, 10, 1);
    versions(POMAI_ID_U64, 5000, 3);
    versions(POMAI_ID_STRING, 5000, 7);
    versions(POMAI_ID_STRING, 3000, 1700);
}

/* ---- on a simulated machine ---- */

typedef struct box {
    pm_sim *sim;
    const pm_os *os;
    seg_source s;
    pm_manifest_segment entry;
    pomai_error err;
    /* the files as they were written */
    struct {
        char name[32];
        uint8_t *bytes;
        uint64_t size;
    } file[8];
    unsigned files;
} box;

static void keep_file(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    box *b = context;
    if (strncmp(path, DIR "/", strlen(DIR "/")) != 0) return;
    assert_in_range(b->files, 0, 7);
    snprintf(b->file[b->files].name, sizeof b->file[0].name, "%s", path + strlen(DIR "/"));
    b->file[b->files].bytes = malloc(size + 1);
    memcpy(b->file[b->files].bytes, bytes, size);
    b->file[b->files++].size = size;
}

static void make_parents(box *b)
{
    assert_int_equal(b->os->dir_make(b->os, "/s"), 0);
    assert_int_equal(b->os->dir_sync(b->os, "/"), 0);
}

static void box_begin(box *b, pomai_id_kind kind, uint64_t rows, uint32_t dim, unsigned flags)
{
    memset(b, 0, sizeof *b);
    b->sim = pm_sim_make(3);
    b->os = pm_sim_os(b->sim);
    b->s = seg_source_make(b->os, DIR, kind, rows, dim, flags);
}

static void box_run(box *b, pm_sim_fn run)
{
    assert_int_equal(pm_sim_run(b->sim, run, b), PM_SIM_DONE);
}

static void nothing_held(const box *b)
{
    pm_sim_held held = pm_sim_what_is_held(b->sim);
    assert_int_equal(held.allocations + held.regions + held.descriptors + held.tasks, 0);
}

static void box_end(box *b)
{
    nothing_held(b);
    for (unsigned i = 0; i < b->files; i++)
        free(b->file[i].bytes);
    free(b->s.vector);
    pm_sim_free(b->sim);
}

/* Makes a segment, of which every third row has ended, and keeps its files. */
static void make_it(void *arg)
{
    box *b = arg;
    pm_segment *segment;
    uint64_t upto[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    make_parents(b);
    assert_int_equal(seg_make(&b->s, &b->entry, &b->err), POMAI_OK);
    assert_int_equal(pm_disk_pending(pm_sim_disk(b->sim)), 0); /* files and names are durable */
    assert_int_equal(pm_segment_open(&b->s.place, &b->entry, &segment, &b->err), POMAI_OK);
    for (uint64_t i = 0; i < b->s.rows; i += 3)
        assert_true(pm_segment_end(segment, i, 1000 + i));
    assert_int_equal(pm_segment_write_live(segment, 4, upto, &b->entry, &b->err), POMAI_OK);
    assert_int_equal(pm_disk_pending(pm_sim_disk(b->sim)), 0);
    pm_segment_free(segment);
    assert_int_equal(pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &b->err), POMAI_OK);
    uint64_t size = b->entry.bytes + b->entry.live_len;
    assert_int_equal(pm_segment_bytes(&b->entry), size);
    pm_disk_each_file(pm_sim_disk(b->sim), keep_file, b);
    for (unsigned i = 0; i < b->files; i++)
        size -= b->file[i].size;
    assert_int_equal(size, 0);
}

/* ---- ends ---- */

static int count_live(void *context, const char *name)
{
    *(unsigned *)context += strncmp(name, "live-", 5) == 0 || strstr(name, ".tmp") != NULL;
    return 0;
}

static unsigned lives(const box *b)
{
    unsigned count = 0;
    assert_int_equal(b->os->dir_list(b->os, DIR, count_live, &count), 0);
    return count;
}

static void ends(void *arg)
{
    box *b = arg;
    pm_segment *segment;
    pm_manifest_segment entry = b->entry;
    assert_int_equal(pm_segment_open(&b->s.place, &b->entry, &segment, &b->err), POMAI_OK);
    assert_int_equal(pm_segment_ended(segment), (b->s.rows + 2) / 3);
    for (uint64_t i = 0; i < b->s.rows; i++) {
        assert_int_equal(pm_segment_end_of(segment, i), i % 3 == 0 ? 1000 + i : PM_NO_END);
        assert_int_equal(pm_segment_ended_word(segment, i / 64) >> (i % 64) & 1, i % 3 == 0);
    }
    /* Only ends up to a shard's LSN go to the disk. */
    uint64_t upto[4] = {1050, 0, 1100, 1000 + b->s.rows};
    assert_int_equal(pm_segment_write_live(segment, 5, upto, &entry, &b->err), POMAI_OK);
    assert_int_equal(entry.live_generation, 5);
    assert_int_equal(lives(b), 2);
    pm_segment_free(segment);
    assert_int_equal(pm_segment_verify(&b->s.place, &entry, NULL, NULL, &b->err), POMAI_OK);
    assert_int_equal(pm_segment_open(&b->s.place, &entry, &segment, &b->err), POMAI_OK);
    for (uint64_t i = 0; i < b->s.rows; i++) {
        const bool ended = i % 3 == 0 && 1000 + i <= upto[i % 4];
        assert_int_equal(pm_segment_end_of(segment, i), ended ? 1000 + i : PM_NO_END);
    }
    uint64_t none[4] = {1, 1, 1, 1};
    assert_int_equal(pm_segment_write_live(segment, 6, none, &entry, &b->err), POMAI_OK);
    assert_int_equal(entry.live_generation, 0);
    assert_int_equal(pm_disk_put(pm_sim_disk(b->sim), DIR "/x.tmp", "x", 1), 0);
    assert_int_equal(lives(b), 3);
    pm_segment_remove_leftovers(segment); /* keeps live-5 */
    assert_int_equal(lives(b), 1);
    pm_segment_remove_live(segment, 5);
    assert_int_equal(lives(b), 0);
    assert_null(atomic_load(pm_segment_forward(segment)));
    pm_segment_free(segment);
}

static void test_ends(void **state)
{
    (void)state;
    box b;
    box_begin(&b, POMAI_ID_U64, 300, 3, 0);
    box_run(&b, make_it);
    box_run(&b, ends);
    box_end(&b);
}

/* ---- bloom filter ---- */

static void bloom(void *arg)
{
    box *b = arg;
    pm_segment *segment;
    assert_int_equal(pm_segment_open(&b->s.place, &b->entry, &segment, &b->err), POMAI_OK);
    unsigned wrong = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        const pm_id id = {.u64 = seg_u64_id(b->s.rows + i)};
        wrong += pm_segment_may_have(segment, pm_id_hash(&id, seed_of(&b->s)));
    }
    assert_in_range(wrong, 100, 2000);
    pm_segment_free(segment);
}

static void test_bloom(void **state)
{
    (void)state;
    box b;
    box_begin(&b, POMAI_ID_U64, 30000, 1, 0);
    box_run(&b, make_it);
    box_run(&b, bloom);
    box_end(&b);
}

/* ---- damage ---- */

static void put_file(box *b, const char *name, const uint8_t *bytes, uint64_t size)
{
    char path[64];
    snprintf(path, sizeof path, DIR "/%s", name);
    assert_int_equal(pm_disk_put(pm_sim_disk(b->sim), path, bytes, size), 0);
}

/* Reads everything there is to read; the status of the first refusal. */
static pomai_status read_everything(box *b, bool compare, pomai_error *err)
{
    pm_segment *segment;
    pomai_status status = pm_segment_open(&b->s.place, &b->entry, &segment, err);
    if (status != POMAI_OK) return status;
    status = pm_segment_check(segment, PM_SEG_ALL, 0, b->s.rows, err);
    for (uint64_t i = 0; i < b->s.rows && status == POMAI_OK; i++) {
        const bool same = seg_same(&b->s, segment, i);
        assert_true(same || !compare);
        uint8_t text[POMAI_MAX_STRING_ID];
        pm_id id;
        uint32_t row;
        seg_id(&b->s, i, text, &id);
        status = pm_segment_find(segment, &id, pm_id_hash(&id, seed_of(&b->s)), i + 1, &row, err);
        if (status == POMAI_OK && compare) assert_int_equal(row, i);
    }
    pm_segment_free(segment);
    return status;
}

/* No reader is wrong without saying so, and a verifier always tells, with the file's name. */
static void expect_found(box *b, const char *name, bool compare)
{
    pomai_error err = {0};
    pomai_status status = read_everything(b, compare, &err);
    if (status != POMAI_OK) {
        assert_int_equal(status, POMAI_ECORRUPT);
        assert_non_null(strstr(err.message, name));
    }
    memset(&err, 0, sizeof err);
    status = pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &err);
    if (status != POMAI_ECORRUPT || strstr(err.message, name) == NULL)
        fail_msg("%s damaged, and verify says %d: %s", name, status, err.message);
    nothing_held(b);
}

static void flip_bytes(void *arg)
{
    box *b = arg;
    uint64_t random = 1;
    for (unsigned f = 0; f < b->files; f++) {
        uint8_t *bytes = b->file[f].bytes;
        const bool small = b->file[f].size < 20000;
        for (uint64_t at = 0; at < b->file[f].size; at += T_ONE_IN * (small ? 1 : 1 + pm_mix64(random++) % 3001)) {
            const uint8_t old = bytes[at];
            bytes[at] ^= (uint8_t)(1u << pm_mix64(random++) % 8);
            put_file(b, b->file[f].name, bytes, b->file[f].size);
            expect_found(b, b->file[f].name, true);
            bytes[at] = old;
        }
        put_file(b, b->file[f].name, bytes, b->file[f].size);
    }
    assert_int_equal(pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &b->err), POMAI_OK);
}

/* Reads all of a segment again; how many pieces are damaged. */
static unsigned reread_all(box *b, pm_segment *segment)
{
    unsigned damaged = 0;
    uint64_t at = 0, read;
    for (bool end = false; !end; at += read) {
        pomai_status status = pm_segment_reread(segment, at, PM_SEGMENT_BLOCK, &read, &end, &b->err);
        assert_true(status == POMAI_OK || status == POMAI_ECORRUPT);
        assert_true(read > 0 || end);
        damaged += status != POMAI_OK;
    }
    assert_int_equal(at, b->entry.bytes);
    return damaged + (pm_segment_reread_live(segment, &b->entry, &b->err) != POMAI_OK);
}

/* What is found damaged on the disk does not count as checked any more. */
static void reread(void *arg)
{
    box *b = arg;
    pm_segment *segment;
    assert_int_equal(pm_segment_open(&b->s.place, &b->entry, &segment, &b->err), POMAI_OK);
    assert_int_equal(pm_segment_check(segment, PM_SEG_ALL, 0, b->s.rows, &b->err), POMAI_OK);
    const uint64_t unchecked = atomic_load(&segment->file[PM_FILE_VECTORS].left);
    assert_int_equal(reread_all(b, segment), 0);
    assert_int_equal(atomic_load(&segment->file[PM_FILE_VECTORS].left), unchecked);
    for (unsigned f = 0; f < b->files; f++) {
        uint8_t *bytes = b->file[f].bytes;
        bytes[b->file[f].size - 9] ^= 4;
        put_file(b, b->file[f].name, bytes, b->file[f].size);
        assert_int_equal(reread_all(b, segment), 1);
        bytes[b->file[f].size - 9] ^= 4;
        put_file(b, b->file[f].name, bytes, b->file[f].size);
        assert_int_equal(reread_all(b, segment), 0);
    }
    assert_true(atomic_load(&segment->file[PM_FILE_VECTORS].left) > unchecked ||
                segment->file[PM_FILE_VECTORS].blocks == unchecked);
    pm_segment_free(segment);
}

static void test_reread(void **state)
{
    (void)state;
    box b;
    box_begin(&b, POMAI_ID_STRING, 9000, 12, SEG_DOCUMENTS);
    box_run(&b, make_it);
    box_run(&b, reread);
    box_end(&b);
}

static void test_flipped_bytes(void **state)
{
    (void)state;
    static const unsigned flags[] = {0, SEG_EXPIRY | SEG_DOCUMENTS};
    for (unsigned i = 0; i < 2; i++) {
        box b;
        box_begin(&b, i == 0 ? POMAI_ID_U64 : POMAI_ID_STRING, 30, 3, flags[i]);
        box_run(&b, make_it);
        box_run(&b, flip_bytes);
        box_end(&b);
    }
    box b; /* files of several blocks */
    box_begin(&b, POMAI_ID_STRING, 9000, 12, SEG_DOCUMENTS);
    box_run(&b, make_it);
    box_run(&b, flip_bytes);
    box_end(&b);
}

static void other_files(void *arg)
{
    box *b = arg;
    box other;
    memset(&other, 0, sizeof other);
    other.sim = b->sim;
    other.os = b->os;
    other.s = b->s;
    other.s.place.dir = DIR "x";
    other.s.place.number++;
    assert_int_equal(seg_make(&other.s, &other.entry, &other.err), POMAI_OK);
    assert_int_equal(b->os->path_rename(b->os, DIR, "/s/old"), 0);
    assert_int_equal(b->os->path_rename(b->os, DIR "x", DIR), 0);
    pm_disk_each_file(pm_sim_disk(b->sim), keep_file, &other);
    assert_int_equal(b->os->path_rename(b->os, DIR, DIR "x"), 0);
    assert_int_equal(b->os->path_rename(b->os, "/s/old", DIR), 0);
    for (unsigned f = 0; f < b->files; f++) {
        const char *name = b->file[f].name;
        for (uint64_t size = 0; size < b->file[f].size; size += 1 + b->file[f].size / 9) {
            put_file(b, name, b->file[f].bytes, size);
            expect_found(b, name, true);
        }
        put_file(b, name, NULL, 0);
        expect_found(b, name, true);
        b->file[f].bytes[b->file[f].size] = 0;
        put_file(b, name, b->file[f].bytes, b->file[f].size + 1);
        expect_found(b, name, true);
        for (unsigned o = 0; o < other.files; o++) {
            if (strcmp(other.file[o].name, name) != 0) continue;
            /* stats.json of a twin may be the same but for its number */
            put_file(b, name, other.file[o].bytes, other.file[o].size);
            if (strstr(name, ".arrow") == NULL) expect_found(b, name, true);
        }
        put_file(b, name, b->file[f].bytes, b->file[f].size);
    }
    put_file(b, "what", (const uint8_t *)"", 1);
    expect_found(b, "what", true);
    put_file(b, "what", NULL, 0);
    assert_int_equal(pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &b->err), POMAI_OK);
    /* All of a segment in the place of another. */
    seg_source s = b->s;
    s.place.number++;
    assert_int_equal(pm_segment_verify(&s.place, &b->entry, NULL, NULL, &b->err), POMAI_ECORRUPT);
    for (unsigned f = 0; f < other.files; f++)
        free(other.file[f].bytes);
}

static void test_other_files(void **state)
{
    (void)state;
    box b;
    box_begin(&b, POMAI_ID_STRING, 100, 5, SEG_DOCUMENTS);
    box_run(&b, make_it);
    box_run(&b, other_files);
    box_end(&b);
}

/* Checksums that are right over bytes that are not: anything may be refused, nothing may be followed out of bounds. */
static void forge(void *arg)
{
    box *b = arg;
    uint64_t random = 5;
    uint8_t *meta = NULL;
    pm_segment_header h;
    for (unsigned f = 0; f < b->files; f++)
        if (strcmp(b->file[f].name, "SEGMENT") == 0) meta = b->file[f].bytes;
    assert_non_null(meta);
    memcpy(&h, meta, sizeof h);
    const uint64_t tables = sizeof h + h.shards * 24 + PM_FILES * 16 + PM_BUFFERS * 24;
    for (unsigned round = 0; round < 3000; round++) {
        const unsigned f = (unsigned)(pm_mix64(random++) % b->files);
        uint8_t *bytes = b->file[f].bytes;
        const uint64_t at = pm_mix64(random++) % b->file[f].size;
        const uint8_t old = bytes[at];
        bytes[at] = (uint8_t)pm_mix64(random++);
        static const char *const order[] = {"vectors.arrow", "attributes.arrow", "ids.idx", "stats.json"};
        uint32_t *crc = (uint32_t *)(void *)(meta + tables);
        const pm_manifest_segment entry = b->entry;
        for (unsigned o = 0; o < PM_FILES; o++)
            for (unsigned i = 0; i < b->files; i++)
                if (strcmp(b->file[i].name, order[o]) == 0)
                    for (uint64_t p = 0; p < b->file[i].size; p += PM_SEGMENT_BLOCK)
                        *crc++ = pm_crc32c(0, b->file[i].bytes + p, pm_min_u64(PM_SEGMENT_BLOCK, b->file[i].size - p));
        uint32_t sum = pm_crc32c(0, meta + 12, b->entry.meta_len - 12);
        memcpy(meta + 8, &sum, 4);
        b->entry.meta_crc = pm_crc32c(0, meta, b->entry.meta_len);
        for (unsigned i = 0; i < b->files; i++) {
            if (strncmp(b->file[i].name, "live-", 5) == 0) {
                sum = pm_crc32c(0, b->file[i].bytes + 12, b->file[i].size - 12);
                memcpy(b->file[i].bytes + 8, &sum, 4);
                b->entry.live_crc = pm_crc32c(0, b->file[i].bytes, b->file[i].size);
            }
            put_file(b, b->file[i].name, b->file[i].bytes, b->file[i].size);
        }
        (void)read_everything(b, false, &b->err);
        (void)pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &b->err);
        nothing_held(b);
        bytes[at] = old;
        b->entry = entry;
    }
}

/* A later format is told from damage. */
static void later_format(void *arg)
{
    box *b = arg;
    for (unsigned f = 0; f < b->files; f++) {
        const bool live = strncmp(b->file[f].name, "live-", 5) == 0;
        if (!live && strcmp(b->file[f].name, "SEGMENT") != 0) continue;
        const pm_manifest_segment entry = b->entry;
        uint8_t *bytes = b->file[f].bytes;
        bytes[12] = PM_FORMAT + 1;
        uint32_t sum = pm_crc32c(0, bytes + 12, b->file[f].size - 12);
        memcpy(bytes + 8, &sum, 4);
        *(live ? &b->entry.live_crc : &b->entry.meta_crc) = pm_crc32c(0, bytes, b->file[f].size);
        put_file(b, b->file[f].name, bytes, b->file[f].size);
        assert_int_equal(read_everything(b, true, &b->err), POMAI_EFORMAT);
        bytes[12] = PM_FORMAT;
        sum = pm_crc32c(0, bytes + 12, b->file[f].size - 12);
        memcpy(bytes + 8, &sum, 4);
        put_file(b, b->file[f].name, bytes, b->file[f].size);
        b->entry = entry;
    }
    assert_int_equal(read_everything(b, true, &b->err), POMAI_OK);
}

/* What neither the catalogue nor a version knows; the checksums are right. */
static void forge_dtype(void *arg)
{
    box *b = arg;
    const size_t at = offsetof(pm_segment_header, dtype);
    for (unsigned f = 0; f < b->files; f++) {
        if (strcmp(b->file[f].name, "SEGMENT") != 0) continue;
        const pm_manifest_segment entry = b->entry;
        uint8_t *bytes = b->file[f].bytes;
        const uint8_t right = bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            bytes[at] = (uint8_t)value;
            uint32_t sum = pm_crc32c(0, bytes + 12, b->file[f].size - 12);
            memcpy(bytes + 8, &sum, 4);
            b->entry.meta_crc = pm_crc32c(0, bytes, b->file[f].size);
            put_file(b, b->file[f].name, bytes, b->file[f].size);
            assert_int_equal(read_everything(b, true, &b->err), value == right ? POMAI_OK : POMAI_ECORRUPT);
        }
        bytes[at] = right;
        uint32_t sum = pm_crc32c(0, bytes + 12, b->file[f].size - 12);
        memcpy(bytes + 8, &sum, 4);
        b->entry = entry;
        put_file(b, b->file[f].name, bytes, b->file[f].size);
    }
    const pomai_dtype dtype = b->s.place.dtype;
    for (int other = POMAI_DTYPE_FLOAT32; other <= POMAI_DTYPE_INT8; other++) { /* or the catalogue lies */
        b->s.place.dtype = (pomai_dtype)other;
        assert_int_equal(read_everything(b, true, &b->err), b->s.place.dtype == dtype ? POMAI_OK : POMAI_ECORRUPT);
    }
    b->s.place.dtype = dtype;
}

static void test_forged_dtype(void **state)
{
    (void)state;
    for (int dtype = POMAI_DTYPE_FLOAT32; dtype <= POMAI_DTYPE_INT8; dtype++) {
        box b;
        box_begin(&b, POMAI_ID_U64, 40, 3, 0);
        b.s.place.dtype = (pomai_dtype)dtype;
        box_run(&b, make_it);
        box_run(&b, forge_dtype);
        box_end(&b);
    }
}

static void test_later_format(void **state)
{
    (void)state;
    box b;
    box_begin(&b, POMAI_ID_U64, 40, 2, 0);
    box_run(&b, make_it);
    box_run(&b, later_format);
    box_end(&b);
}

static void test_forged(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        box b;
        box_begin(&b, i == 0 ? POMAI_ID_U64 : POMAI_ID_STRING, 40, 2, SEG_EXPIRY | SEG_DOCUMENTS);
        box_run(&b, make_it);
        box_run(&b, forge);
        box_end(&b);
    }
}

/* ---- failing calls ---- */

/* Everything that is done with a segment. */
static pomai_status whole_life(box *b, const char **where)
{
    pm_segment *segment;
    uint64_t upto[4] = {50, 50, 50, 50};
    *where = "make";
    pomai_status status = seg_make(&b->s, &b->entry, &b->err);
    if (status != POMAI_OK) return status;
    *where = "open";
    status = pm_segment_open(&b->s.place, &b->entry, &segment, &b->err);
    if (status != POMAI_OK) return status;
    (void)pm_segment_end(segment, 3, 50);
    *where = "live";
    status = pm_segment_write_live(segment, 2, upto, &b->entry, &b->err);
    pm_segment_free(segment);
    if (status != POMAI_OK) return status;
    *where = "verify";
    return pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &b->err);
}

static void fail_each(void *arg)
{
    box *b = arg;
    static const uint32_t sets[] = {PM_SIM_ALL_CALLS & ~PM_SIM_BIT(MALLOC), PM_SIM_BIT(MALLOC), PM_SIM_BIT(PAGES)};
    make_parents(b);
    for (int set = 0; set < 3; set++)
        for (int partial = 0; partial < 2; partial++)
            for (uint64_t nth = 0;; nth++) {
                const char *where = "";
                pm_sim_fault fault = {sets[set], nth, false, partial == 1, partial == 1 ? 28 : 5};
                memset(&b->err, 0, sizeof b->err);
                pm_sim_set_fault(b->sim, fault);
                pomai_status status = whole_life(b, &where);
                const bool hit = pm_sim_faults(b->sim) > 0;
                pm_sim_set_fault(b->sim, (pm_sim_fault){0});
                nothing_held(b);
                if (status != POMAI_OK) {
                    assert_true(hit);
                    assert_int_not_equal(status, POMAI_EINTERNAL);
                    assert_int_not_equal(status, POMAI_ECORRUPT);
                    assert_int_equal(b->err.status, status);
                    assert_in_range(strlen(b->err.message), 10, sizeof b->err.message);
                    if (strcmp(where, "make") == 0) assert_int_equal(b->os->path_kind(b->os, DIR), PM_PATH_NONE);
                } else {
                    assert_int_equal(pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &b->err), POMAI_OK);
                }
                pm_segment_remove(b->os, DIR);
                assert_int_equal(b->os->path_kind(b->os, DIR), PM_PATH_NONE);
                if (!hit) break;
            }
}

static void test_failing_calls(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        box b;
        box_begin(&b, i == 0 ? POMAI_ID_U64 : POMAI_ID_STRING, 20, 2, i == 0 ? 0 : SEG_DOCUMENTS | SEG_EXPIRY);
        box_run(&b, fail_each);
        box_end(&b);
    }
}

/* A leftover of an interrupted write is in the way of nobody. */
static void over_leftover(void *arg)
{
    box *b = arg;
    make_parents(b);
    assert_int_equal(b->os->dir_make(b->os, DIR), 0);
    put_file(b, "vectors.arrow", (const uint8_t *)"half", 4);
    put_file(b, "attributes.arrow", (const uint8_t *)"half", 4);
    assert_int_equal(b->os->dir_remove(b->os, DIR), -39); /* ENOTEMPTY */
    assert_int_equal(seg_make(&b->s, &b->entry, &b->err), POMAI_OK);
    assert_int_equal(pm_segment_verify(&b->s.place, &b->entry, NULL, NULL, &b->err), POMAI_OK);
    assert_int_equal(b->os->dir_remove(b->os, "/s/none"), -2); /* ENOENT */
}

static void test_leftover(void **state)
{
    (void)state;
    box b;
    box_begin(&b, POMAI_ID_U64, 20, 2, 0);
    box_run(&b, over_leftover);
    box_end(&b);
}

/* ---- pace, progress, limits ---- */

static pomai_status give_up(void *context, uint64_t bytes, pomai_error *err)
{
    (void)context;
    (void)bytes;
    return pm_fail(err, POMAI_ELOCKED, "closing");
}

static pomai_status long_id(void *context, uint64_t i, uint32_t columns, pm_segment_row *row, pomai_error *err)
{
    static const uint8_t text[POMAI_MAX_STRING_ID] = {1};
    pomai_status status = seg_row(context, i, columns, row, err);
    row->id = (pm_id){.bytes = text, .size = sizeof text};
    return status;
}

static int count_progress(void *context, uint64_t bytes)
{
    *(uint64_t *)context += bytes;
    return 0;
}

static int stop(void *context, uint64_t bytes)
{
    (void)context;
    (void)bytes;
    return 1;
}

static void limits(void *arg)
{
    box *b = arg;
    uint64_t seen = 0;
    assert_int_equal(pm_segment_verify(&b->s.place, &b->entry, count_progress, &seen, &b->err), POMAI_OK);
    assert_int_equal(seen, pm_segment_bytes(&b->entry));
    assert_int_equal(pm_segment_verify(&b->s.place, &b->entry, stop, NULL, &b->err), POMAI_EDEADLINE);
    assert_int_equal(b->s.paced, b->entry.bytes);
    seg_source s = b->s;
    s.place.dir = "/s/2";
    pm_segment_write in = {&s.place, s.rows, seg_row, give_up, &s};
    pm_manifest_segment entry;
    assert_int_equal(pm_segment_make(&in, &entry, &b->err), POMAI_ELOCKED);
    assert_int_equal(b->os->path_kind(b->os, "/s/2"), PM_PATH_NONE);
    s.place.id_kind = POMAI_ID_STRING;
    in = (pm_segment_write){&s.place, (1u << 31) / POMAI_MAX_STRING_ID, long_id, NULL, &s};
    assert_int_equal(pm_segment_make(&in, &entry, &b->err), POMAI_ETOOBIG);
    assert_int_equal(b->os->path_kind(b->os, "/s/2"), PM_PATH_NONE);
}

static void test_limits(void **state)
{
    (void)state;
    box b;
    box_begin(&b, POMAI_ID_U64, 20, 2, 0);
    box_run(&b, make_it);
    box_run(&b, limits);
    box_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_bloom),
        cmocka_unit_test(test_leftover),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_forged),
        cmocka_unit_test(test_forged_dtype),
        cmocka_unit_test(test_round_trips_of_types),
        cmocka_unit_test(test_large_documents_are_checked_until_it_is_over),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_reread),
        cmocka_unit_test(test_later_format),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_flipped_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
