/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What verify finds though every checksum is right: a catalogue, a log and segments that contradict each other; and
 * what it only notes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "../support/scenario.h"
#include "os/os.h"
#include "storage/manifest/manifest.h"

/* Ids 1 to 200 in one segment, 1 to 10 of it replaced by a second one, 11 to 20 deleted, which is too little to be
 * merged; 5 rows in the log only. */
static void make_image(const struct box *box)
{
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 1;
    options.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE;
    pomai_db *db = open_db(box, &options);
    pomai_collection *coll = pomai_default(db);
    put_rows(coll, 1, 200, 3);
    assert_ok(pomai_flush(db, &err));
    put_rows(coll, 1, 10, 3);
    uint64_t ids[10];
    for (uint64_t i = 0; i < 10; i++)
        ids[i] = 11 + i;
    const pomai_ids dead = {10, ids, NULL};
    assert_ok(pomai_delete(coll, &dead, NULL, NULL, &err));
    assert_ok(pomai_flush(db, &err));
    put_rows(coll, 201, 5, 3);
    close_db(db);
}

static void read_catalogue(const struct box *box, pm_manifest *m, char dir[T_PATH_MAX])
{
    pomai_error err;
    t_join(dir, box->db, "manifest");
    assert_ok(pm_manifest_read(pm_os_posix(), dir, m, &err));
}

static void write_catalogue(pm_manifest *m, const char *dir)
{
    pomai_error err;
    bool uncertain;
    assert_ok(pm_manifest_install(pm_os_posix(), dir, m, &uncertain, &err));
    pm_manifest_clear(m);
}

static void must_find(const struct box *box, const char *words)
{
    pomai_error err;
    char *json;
    assert_refused(pomai_verify_path(box->db, NULL, NULL, &json, &err), POMAI_ECORRUPT, words);
    assert_non_null(json);
    assert_null(strstr(json, "\"rows\":"));
    pomai_free(json);
}

static void test_counts_and_notes(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    char *json, path[T_PATH_MAX];
    make_image(box);
    assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err));
    assert_non_null(strstr(json, "\"rows\": 195,"));
    assert_non_null(strstr(json, "\"log_rows\": 5,"));
    assert_non_null(strstr(json, "\"segment_rows\": 210,"));
    assert_non_null(strstr(json, "\"segment_rows_ended\": 20,"));
    assert_non_null(strstr(json, "\"notes\": \"\""));
    pomai_free(json);
    t_join(path, box->db, "collections/1/segments/99");
    assert_int_equal(mkdir(path, 0700), 0);
    t_join(path, box->db, "collections/1/notes.txt");
    t_write_file(path, "x", 1);
    t_join(path, box->db, "collections/1/segments/mine");
    t_write_file(path, "x", 1);
    assert_ok(pomai_verify_path(box->db, NULL, NULL, &json, &err));
    assert_non_null(strstr(json, "segments/99 is of no catalogue"));
    assert_non_null(strstr(json, "collections/1/notes.txt left alone"));
    assert_non_null(strstr(json, "segments/mine left alone"));
    pomai_free(json);
}

static void test_two_versions_alive(void **state)
{
    const struct box *box = *state;
    pm_manifest m;
    char dir[T_PATH_MAX];
    make_image(box);
    read_catalogue(box, &m, dir);
    assert_int_equal(m.entry[0].segments, 2);
    m.entry[0].segment[0].live_generation = m.entry[0].segment[0].live_len = 0;
    m.entry[0].segment[0].live_crc = 0;
    write_catalogue(&m, dir);
    must_find(box, "have the same id");
}

static void test_lsns_that_contradict(void **state)
{
    const struct box *box = *state;
    pm_manifest m;
    char dir[T_PATH_MAX];
    make_image(box);
    read_catalogue(box, &m, dir);
    const uint64_t flushed = m.entry[0].flushed[0];
    assert_int_equal(flushed, 3); /* a put, a put, a delete */
    m.entry[0].flushed[0] = 1;
    write_catalogue(&m, dir);
    must_find(box, "leaves to the log");
    read_catalogue(box, &m, dir);
    m.entry[0].flushed[0] = 0;
    write_catalogue(&m, dir);
    must_find(box, "has rows up to LSN 1 of shard 0");
    read_catalogue(box, &m, dir);
    m.entry[0].flushed[0] = 1000;
    write_catalogue(&m, dir);
    must_find(box, "but its log ends at 4");
}

static int stop_late(void *context, uint64_t done, uint64_t total)
{
    unsigned *calls = context;
    assert_true(done <= total);
    return ++*calls == 4;
}

static void test_stopped(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    char *json;
    unsigned calls = 0;
    make_image(box);
    assert_refused(pomai_verify_path(box->db, stop_late, &calls, &json, &err), POMAI_EDEADLINE, NULL);
    assert_int_equal(calls, 4);
    pomai_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(test_counts_and_notes),
        BOXED(test_two_versions_alive),
        BOXED(test_lsns_that_contradict),
        BOXED(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
