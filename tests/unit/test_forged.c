/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with right checksums and wrong contents, as a bug or an enemy would make them: one field at a time is changed
 * in a record, a log file's header, a WATERMARK and a catalogue, and sealed again. Each must be refused by name.
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

#include "storage/manifest/manifest.h"
#include "storage/memtable/memtable.h"
#include "storage/wal/wal_int.h"
#include "support/tmp.h"

#define AT(type, field) offsetof(type, field), sizeof(((type *)0)->field)

struct patch {
    size_t at, size;
    uint64_t value;
};

static void patch(uint8_t *bytes, const struct patch *p)
{
    memset(bytes + p->at, 0, p->size);
    memcpy(bytes + p->at, &p->value, p->size < sizeof p->value ? p->size : sizeof p->value);
}

/* ---- records ---- */

#define R(field)  AT(pm_rec_header, field)
#define LARGE     ((uint64_t)1 << 40)
#define MOST_ROWS (PM_MAX_ROWS + 1)
enum { SEED = 99, ROOM = 1 << 14 };

#define BASE(o, n, ids, vectors, documents)                                                                            \
    .version = PM_REC_VERSION, .lsn = 7, .durable_lsn = 6, .parts = 1, .op = (o), .rows = (n), .ids_len = (ids),       \
    .vectors_len = (vectors), .documents_len = (documents)
#define PUT(ids, kind, flag, documents)                                                                                \
    {                                                                                                                  \
        BASE(PM_OP_PUT, 2, ids, 32, documents), .dtype = POMAI_DTYPE_FLOAT32, .dim = 4, .id_kind = (kind),             \
                                                .flags = (flag)                                                        \
    }
static const pm_rec_header put = PUT(8, POMAI_ID_U64, PM_REC_IDS_ARE_RANGE, 0);
static const pm_rec_header put_strings = PUT(16, POMAI_ID_STRING, 0, 0);
static const pm_rec_header put_documents = PUT(8, POMAI_ID_U64, PM_REC_IDS_ARE_RANGE | PM_REC_HAS_DOCUMENTS, 16);
static const pm_rec_header put_all = {BASE(PM_OP_PUT, 2, 8, 32, 16), .dtype = POMAI_DTYPE_FLOAT32, .dim = 4,
                                      .id_kind = POMAI_ID_U64,       .flags = PM_REC_FLAGS_KNOWN,  .expiry_len = 16};
static const pm_rec_header put_half = {BASE(PM_OP_PUT, 2, 8, 16, 0), .dtype = POMAI_DTYPE_FLOAT16, .dim = 4,
                                       .id_kind = POMAI_ID_U64, .flags = 1};
static const pm_rec_header put_bytes = {BASE(PM_OP_PUT, 2, 8, 14, 0), .dtype = POMAI_DTYPE_INT8, .dim = 7,
                                        .id_kind = POMAI_ID_U64, .flags = 1};
static const pm_rec_header delete_list = {BASE(PM_OP_DELETE, 2, 16, 0, 0), .id_kind = POMAI_ID_U64};
static const pm_rec_header abort_record = {BASE(PM_OP_ABORT, 0, 0, 0, 0)};

struct shape {
    const char *what;
    bool sound;
    const pm_rec_header *base;
    struct patch p[1];
    uint32_t word[6];      /* the payload begins with these */
    uint32_t documents[4]; /* and the column of documents with these */
};

static const struct shape shapes[] = {
    {"a put", true, &put, {{0}}, {1}, {0}},
    {"a put of strings", true, &put_strings, {{0}}, {0, 1, 4, 0x61626364}, {0}},
    {"a put with documents", true, &put_documents, {{0}}, {1}, {0, 0, 4, 5}},
    {"a put with expiry and documents", true, &put_all, {{0}}, {1}, {0, 0, 4, 5}},
    {"a put of float16", true, &put_half, {{0}}, {1}, {0}},
    {"a put of int8", true, &put_bytes, {{0}}, {1}, {0}},
    {"a delete", true, &delete_list, {{0}}, {1}, {0}},
    {"an abort", true, &abort_record, {{0}}, {0}, {0}},
    {"version", false, &put, {{R(version), 2}}, {1}, {0}},
    {"zero1", false, &put, {{R(zero1), 1}}, {1}, {0}},
    {"key_id", false, &put, {{R(key_id), 1}}, {1}, {0}},
    {"expiry", false, &put, {{R(expiry_len), 1}}, {1}, {0}},
    {"zero2", false, &put, {{R(zero2), 1}}, {1}, {0}},
    {"expiry unsaid", false, &put_all, {{R(flags), 3}}, {1}, {0, 0, 4, 5}},
    {"expiry said, none there", false, &put_all, {{R(expiry_len), 0}}, {1}, {0, 0, 4, 5}},
    {"expiry short", false, &put_all, {{R(expiry_len), 8}}, {1}, {0, 0, 4, 5}},
    {"expiry long", false, &put_all, {{R(expiry_len), 17}}, {1}, {0, 0, 4, 5}},
    {"expiry too long", false, &put_all, {{R(expiry_len), LARGE}}, {1}, {0, 0, 4, 5}},
    {"expiry of more rows", false, &put_all, {{R(rows), UINT32_MAX}}, {1}, {0, 0, 4, 5}},
    {"flags", false, &put, {{R(flags), 8}}, {1}, {0}},
    {"no parts", false, &put, {{R(parts), 0}}, {1}, {0}},
    {"part beyond", false, &put, {{R(part), 1}}, {1}, {0}},
    {"LSN 0", false, &put, {{R(lsn), 0}}, {1}, {0}},
    {"another LSN", false, &put, {{R(lsn), 8}}, {1}, {0}},
    {"durable ahead", false, &put, {{R(durable_lsn), 7}}, {1}, {0}},
    {"ids too long", false, &put, {{R(ids_len), LARGE}}, {1}, {0}},
    {"vectors too long", false, &put, {{R(vectors_len), LARGE}}, {1}, {0}},
    {"documents too long", false, &put, {{R(documents_len), LARGE}}, {1}, {0}},
    {"op", false, &put, {{R(op), 9}}, {1}, {0}},
    {"put of no rows", false, &put, {{R(rows), 0}}, {1}, {0}},
    {"put of too many rows", false, &put, {{R(rows), MOST_ROWS}}, {1}, {0}},
    {"put without type", false, &put, {{R(dtype), 0}}, {1}, {0}},
    {"put of no type that is known", false, &put, {{R(dtype), 4}}, {1}, {0}},
    {"put of float32 called float16", false, &put, {{R(dtype), 2}}, {1}, {0}},
    {"put of float16 called float32", false, &put_half, {{R(dtype), 1}}, {1}, {0}},
    {"put of float16 called int8", false, &put_half, {{R(dtype), 3}}, {1}, {0}},
    {"put of int8 called float16", false, &put_bytes, {{R(dtype), 2}}, {1}, {0}},
    {"put of int8 called the last type", false, &put_bytes, {{R(dtype), 255}}, {1}, {0}},
    {"put of int8, one byte more", false, &put_bytes, {{R(vectors_len), 15}}, {1}, {0}},
    {"put without dim", false, &put, {{R(dim), 0}}, {1}, {0}},
    {"put of large dim", false, &put, {{R(dim), POMAI_MAX_DIM + 1}}, {1}, {0}},
    {"put of other length", false, &put, {{R(dim), 5}}, {1}, {0}},
    {"documents unsaid", false, &put_documents, {{R(flags), 1}}, {1}, {0, 0, 4, 5}},
    {"documents short", false, &put_documents, {{R(documents_len), 8}}, {1}, {0, 0, 4, 5}},
    {"documents begin late", false, &put_documents, {{0}}, {1}, {1, 1, 4, 5}},
    {"documents end early", false, &put_documents, {{0}}, {1}, {0, 0, 3, 5}},
    {"documents go back", false, &put_documents, {{0}}, {1}, {0, 9, 4, 5}},
    {"range of strings", false, &put_strings, {{R(flags), 1}}, {0, 1, 4, 5}, {0}},
    {"an empty string id", false, &put_strings, {{0}}, {0, 0, 4, 5}, {0}},
    {"a string id too long", false, &put_strings, {{R(ids_len), 12 + 2000}}, {0, 1, 2000, 5}, {0}},
    {"kind of id", false, &put, {{R(id_kind), 9}}, {1}, {0}},
    {"range too long", false, &put, {{R(ids_len), 16}}, {1}, {0}},
    {"range over the end", false, &put, {{0}}, {UINT32_MAX, UINT32_MAX}, {0}},
    {"list too short", false, &delete_list, {{R(ids_len), 8}}, {1}, {0}},
    {"delete of no rows", false, &delete_list, {{R(rows), 0}}, {1}, {0}},
    {"delete of too many rows", false, &delete_list, {{R(rows), MOST_ROWS}}, {1}, {0}},
    {"delete with a type", false, &delete_list, {{R(dtype), 1}}, {1}, {0}},
    {"delete with a dim", false, &delete_list, {{R(dim), 1}}, {1}, {0}},
    {"delete with vectors", false, &delete_list, {{R(vectors_len), 32}}, {1}, {0}},
    {"delete with documents", false, &delete_list, {{R(documents_len), 16}}, {1}, {0}},
    {"delete that says documents", false, &delete_list, {{R(flags), 2}}, {1}, {0}},
    {"delete that says expiry", false, &delete_list, {{R(flags), 4}}, {1}, {0}},
    {"delete with expiry", false, &delete_list, {{R(expiry_len), 16}}, {1}, {0}},
    {"abort that says expiry", false, &abort_record, {{R(flags), 4}}, {0}, {0}},
    {"abort with expiry", false, &abort_record, {{R(expiry_len), 16}}, {0}, {0}},
    {"abort with rows", false, &abort_record, {{R(rows), 1}}, {0}, {0}},
    {"abort with payload", false, &abort_record, {{R(ids_len), 8}}, {0}, {0}},
    {"abort with a kind", false, &abort_record, {{R(id_kind), 1}}, {0}, {0}},
    {"abort with flags", false, &abort_record, {{R(flags), 1}}, {0}, {0}},
    {"abort with a dim", false, &abort_record, {{R(dim), 1}}, {0}, {0}},
};

static void test_records(void **state)
{
    (void)state;
    uint8_t *image = aligned_alloc(64, ROOM);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *s = &shapes[i];
        memset(image, 0, ROOM);
        pm_rec_header *h = (pm_rec_header *)(void *)image;
        pm_rec_layout l;
        *h = *s->base;
        patch(image, &s->p[0]);
        pm_rec_layout_init(&l, h->ids_len, h->vectors_len, h->expiry_len, h->documents_len);
        h->payload_len = l.payload_len;
        memcpy(image + l.ids_at, s->word, sizeof s->word);
        if (l.total < ROOM && h->documents_len > 0) memcpy(image + l.documents_at, s->documents, sizeof s->documents);
        pm_span payload = {image + PM_REC_HEADER, l.total < ROOM ? l.payload_len : 0};
        pm_rec_seal(h, &payload, 1, SEED);
        const char *why = pm_rec_check(image, 0, ROOM, SEED, h->lsn == 8 || h->lsn == 0 ? h->lsn / 8 * 7 : 7);
        if ((why == NULL) != s->sound) fail_msg("%s: %s", s->what, why == NULL ? "taken" : why);
    }
    assert_non_null(pm_rec_check(image, 0, PM_REC_HEADER - 1, SEED, 7));
    assert_non_null(pm_rec_check(image, 64, PM_REC_HEADER + 63, SEED, 7));
    free(image);
}

/* ---- files ---- */

struct box {
    char dir[T_PATH_MAX];
    pm_wal_place place;
};

static int box_make(void **state)
{
    struct box *b = calloc(1, sizeof *b);
    const char *dir = getenv("TMPDIR");
    t_tmp_make(b->dir, dir != NULL && dir[0] != '\0' ? dir : "/tmp", "forged");
    b->place = (pm_wal_place){.os = pm_os_posix(), .dir = b->dir, .uuid = {7}, .epoch = 1, .shard = 3};
    *state = b;
    return 0;
}

static int box_remove(void **state)
{
    struct box *b = *state;
    t_remove(b->dir);
    free(b);
    return 0;
}

/* Patches a file and seals what lies from `from` on, `size` bytes, again; the old bytes come back. */
static uint8_t *forge(const char *path, size_t from, size_t size, const struct patch *p, int count, size_t *length)
{
    uint8_t *bytes = t_read_file(path, length);
    uint8_t *before = malloc(*length);
    memcpy(before, bytes, *length);
    for (int i = 0; i < count; i++)
        if (p[i].size > 0) patch(bytes + from, &p[i]);
    if (size == 0) size = *length;
    uint32_t crc = pm_crc32c(0, bytes + from + PM_CRC_FROM, size - PM_CRC_FROM);
    memcpy(bytes + from + 8, &crc, sizeof crc);
    t_write_file(path, bytes, *length);
    free(bytes);
    return before;
}

struct forgery {
    const char *what;
    pomai_status wanted;
    struct patch p[2];
};

/* ---- log files and WATERMARK ---- */

#define W(field) AT(pm_wal_header, field)
static const struct forgery headers[] = {
    {"format", POMAI_EFORMAT, {{W(format), PM_FORMAT + 1}}},
    {"older format", POMAI_EFORMAT, {{W(format), 1}}},
    {"uuid", POMAI_EFOREIGN, {{W(uuid), 8}}},
    {"epoch", POMAI_EFOREIGN, {{W(epoch), 2}}},
    {"shard", POMAI_EFOREIGN, {{W(shard), 2}}},
    {"number", POMAI_EFOREIGN, {{W(number), 3}}},
    {"cipher", POMAI_ECORRUPT, {{W(cipher), 1}}},
    {"zero1", POMAI_ECORRUPT, {{W(zero1), 1}}},
    {"zero2", POMAI_ECORRUPT, {{W(zero2), 1}}},
    {"pred_number", POMAI_ECORRUPT, {{W(pred_number), 5}}},
    {"pred_number of another", POMAI_EFOREIGN, {{W(pred_number), 5}, {W(uuid), 8}}},
    {"pred_length short", POMAI_ECORRUPT, {{W(pred_length), 511}}},
    {"pred_length long", POMAI_ECORRUPT, {{W(pred_length), 1 << 20}}},
    {"pred_length longer", POMAI_ECORRUPT, {{W(pred_length), 576}}},
    {"pred_lsn", POMAI_ECORRUPT, {{W(pred_lsn), 5}}},
    {"pred_chain", POMAI_ECORRUPT, {{W(pred_chain), 5}}},
    {"pred_stamp", POMAI_ECORRUPT, {{W(pred_stamp), 5}}},
};

#define M(field) AT(pm_mark_slot, field)
static const struct forgery marks[] = {
    {"format", POMAI_EFORMAT, {{M(format), PM_FORMAT + 1}}},
    {"older format", POMAI_EFORMAT, {{M(format), 1}}},
    {"zero", POMAI_EFORMAT, {{M(zero), 1}}},
    {"uuid", POMAI_EFOREIGN, {{M(uuid), 9}}},
    {"epoch", POMAI_EFOREIGN, {{M(epoch), 9}}},
    {"shard", POMAI_EFOREIGN, {{M(shard), 9}}},
    {"durable_lsn", POMAI_ECORRUPT, {{M(durable_lsn), 9}}},
    {"chain", POMAI_ECORRUPT, {{M(durable_lsn), 1}, {M(chain), 9}}},
    {"number", POMAI_ECORRUPT, {{M(number), 9}}},
};

/* Two log files, the first with one ABORT record. */
static void make_log(struct box *b)
{
    pm_wal_end end = {0};
    int fd;
    uint32_t seed;
    assert_int_equal(pm_mark_make(&b->place, NULL), POMAI_OK);
    for (uint64_t number = 1; number <= 2; number++) {
        assert_int_equal(pm_wal_create(&b->place, number, 8192, 1, &end, &fd, &seed, NULL), POMAI_OK);
        pm_rec_header h = abort_record;
        h.lsn = 1;
        h.durable_lsn = 0;
        pm_rec_seal(&h, NULL, 0, seed);
        pm_span span = {&h, sizeof h};
        if (number == 1) assert_int_equal(b->place.os->file_write(b->place.os, fd, &span, 1, PM_WAL_HEADER), 0);
        b->place.os->file_close(b->place.os, fd);
        end = (pm_wal_end){.number = 1, .lsn = 1, .length = PM_WAL_HEADER + sizeof h, .chain = pm_rec_chain(0, &h)};
    }
}

static pomai_status scan(struct box *b, bool accept_damage, pm_text *notes)
{
    pomai_error err;
    pm_wal_scan s = {.place = &b->place, .first_number = 1, .accept_damage = accept_damage, .notes = notes};
    return pm_wal_scan_run(&s, &err);
}

static void try_forgeries(struct box *b, const char *name, size_t from, size_t size, const struct forgery *f,
                          size_t count)
{
    char path[T_PATH_MAX];
    t_join(path, b->dir, name);
    for (size_t i = 0; i < count; i++) {
        size_t length;
        uint8_t *before = forge(path, from, size, f[i].p, 2, &length);
        pm_text notes = {0};
        pomai_status got = scan(b, false, i % 2 == 0 ? &notes : NULL);
        if (got != f[i].wanted) fail_msg("%s of %s: %s", f[i].what, name, pm_status_name(got));
        got = scan(b, true, i % 2 == 0 ? NULL : &notes);
        if (got != (f[i].wanted == POMAI_ECORRUPT ? POMAI_OK : f[i].wanted))
            fail_msg("%s of %s, damage accepted: %s", f[i].what, name, pm_status_name(got));
        pm_free(notes.data);
        t_write_file(path, before, length);
        free(before);
        assert_int_equal(scan(b, false, NULL), POMAI_OK);
    }
}

static void test_logs(void **state)
{
    struct box *b = *state;
    make_log(b);
    assert_int_equal(scan(b, false, NULL), POMAI_OK);
    try_forgeries(b, "0000000002.wal", 0, PM_WAL_HEADER, headers, sizeof headers / sizeof headers[0]);
    try_forgeries(b, "WATERMARK", PM_MARK_SLOT, PM_MARK_SLOT, marks, sizeof marks / sizeof marks[0]);
    char path[T_PATH_MAX];
    t_join(path, b->dir, "0000000002.wal");
    assert_int_equal(truncate(path, ((off_t)1 << 32) + 1), 0);
    assert_int_equal(scan(b, false, NULL), POMAI_ECORRUPT);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(scan(b, false, NULL), POMAI_ECORRUPT);
    t_join(path, b->dir, "WATERMARK");
    assert_int_equal(truncate(path, 700), 0); /* one slot is whole, and yet */
    assert_int_equal(scan(b, false, NULL), POMAI_ECORRUPT);
    assert_int_equal(truncate(path, 0), 0);
    pm_text notes = {0};
    assert_int_equal(scan(b, true, NULL), POMAI_OK);
    assert_int_equal(scan(b, true, &notes), POMAI_OK);
    assert_non_null(strstr(notes.data, "WATERMARK"));
    pm_free(notes.data);
}

/* The first file says that there was one before it; and a WATERMARK whose files are all gone. */
static void test_log_without_its_begin(void **state)
{
    static const struct patch number = {W(pred_number), 5}, length = {W(pred_length), 5}, lsn = {M(durable_lsn), 9};
    struct box *b = *state;
    char path[T_PATH_MAX];
    size_t size;
    make_log(b);
    t_join(path, b->dir, "0000000002.wal");
    assert_int_equal(unlink(path), 0);
    t_join(path, b->dir, "0000000001.wal");
    for (int i = 0; i < 2; i++) {
        uint8_t *before = forge(path, 0, PM_WAL_HEADER, i == 0 ? &number : &length, 1, &size);
        assert_int_equal(scan(b, false, NULL), POMAI_ECORRUPT);
        t_write_file(path, before, size);
        free(before);
    }
    assert_int_equal(scan(b, false, NULL), POMAI_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(scan(b, false, NULL), POMAI_OK);
    t_join(path, b->dir, "WATERMARK");
    free(forge(path, PM_MARK_SLOT, PM_MARK_SLOT, &lsn, 1, &size));
    assert_int_equal(scan(b, false, NULL), POMAI_ECORRUPT);
}

static void test_names_beside_the_log(void **state)
{
    struct box *b = *state;
    static const char *const names[] = {"0000000009.wax", "00000x0009.wal", "000 000009.wal", ".tmp", "a.tmp", "x"};
    make_log(b);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[T_PATH_MAX];
        t_join(path, b->dir, names[i]);
        t_write_file(path, (const uint8_t *)"?", 1);
    }
    pm_text notes = {0};
    assert_int_equal(scan(b, false, NULL), POMAI_OK);
    assert_int_equal(scan(b, false, &notes), POMAI_OK);
    assert_non_null(strstr(notes.data, "0000000009.wax"));
    assert_null(strstr(notes.data, "a.tmp"));
    pm_free(notes.data);
}

/* ---- the catalogue ---- */

/* Two shards, of which the second has a log without its begin; collections with one segment and with two. */
enum {
    SHARDS_AT = PM_MANIFEST_HEADER,
    FIRST_AT = SHARDS_AT + 2 * sizeof(pm_manifest_shard),
    SECOND_AT = FIRST_AT + sizeof(pm_manifest_collection) + 8 + 2 * 8 + sizeof(pm_manifest_segment),
    NAME_AT = SECOND_AT + sizeof(pm_manifest_collection),
    SEGMENTS_AT = NAME_AT + 8 + 2 * 8
};
#define S(i, field)                                                                                                    \
    SHARDS_AT + (i) * sizeof(pm_manifest_shard) + offsetof(pm_manifest_shard, field),                                  \
        sizeof(((pm_manifest_shard *)0)->field)
#define G(i, field)                                                                                                    \
    SEGMENTS_AT + (i) * sizeof(pm_manifest_segment) + offsetof(pm_manifest_segment, field),                            \
        sizeof(((pm_manifest_segment *)0)->field)
#define H(field) AT(pm_manifest_header, field)
#define C(field) SECOND_AT + offsetof(pm_manifest_collection, field), sizeof(((pm_manifest_collection *)0)->field)

static const struct forgery catalogues[] = {
    {"magic", POMAI_ECORRUPT, {{H(magic), 1}}},
    {"length", POMAI_ECORRUPT, {{H(length), 1}}},
    {"format", POMAI_EFORMAT, {{H(format), PM_FORMAT + 1}}},
    {"older format", POMAI_EFORMAT, {{H(format), 1}}},
    {"incompatible", POMAI_EFORMAT, {{H(incompatible), PM_FEATURES_KNOWN * 2 + 1}}},
    {"largest incompatible", POMAI_EFORMAT, {{H(incompatible), (uint64_t)1 << 63}}},
    {"segments unsaid", POMAI_ECORRUPT, {{H(incompatible), PM_FEATURE_EXPIRY}}},
    {"expiry unsaid", POMAI_ECORRUPT, {{H(incompatible), PM_FEATURE_SEGMENTS}}},
    {"expiry said, none there", POMAI_OK, {{C(ttl_ns), 0}}},
    {"compatible", POMAI_OK, {{H(compatible), UINT64_MAX}}},
    {"clock", POMAI_OK, {{H(clock), UINT64_MAX}}},
    {"zero1 of the header", POMAI_ECORRUPT, {{H(zero1), 1}}},
    {"zero2 of the header", POMAI_ECORRUPT, {{H(zero2), 1}}},
    {"next segment 0", POMAI_ECORRUPT, {{H(next_segment), 0}}},
    {"next segment too low", POMAI_ECORRUPT, {{H(next_segment), 7}}},
    {"first log file 0", POMAI_ECORRUPT, {{SHARDS_AT, 8, 0}}},
    {"predecessor of file 1: LSN", POMAI_ECORRUPT, {{S(0, pred_lsn), 1}}},
    {"predecessor of file 1: length", POMAI_ECORRUPT, {{S(0, pred_length), 600}}},
    {"predecessor of file 1: chain", POMAI_ECORRUPT, {{S(0, pred_chain), 1}}},
    {"predecessor of file 1: stamp", POMAI_ECORRUPT, {{S(0, pred_stamp), 1}}},
    {"predecessor too short", POMAI_ECORRUPT, {{S(1, pred_length), PM_WAL_HEADER - 1}}},
    {"first log file 1 with a predecessor", POMAI_ECORRUPT, {{S(1, first_wal), 1}}},
    {"uuid", POMAI_EFOREIGN, {{H(uuid), 1}}},
    {"number", POMAI_EFOREIGN, {{H(number), 9}}},
    {"no shards", POMAI_ECORRUPT, {{H(shards), 0}}},
    {"too many shards", POMAI_ECORRUPT, {{H(shards), PM_MAX_SHARDS + 1}}},
    {"more shards than bytes", POMAI_ECORRUPT, {{H(shards), PM_MAX_SHARDS}}},
    {"epoch", POMAI_ECORRUPT, {{H(epoch), 2}}},
    {"hash", POMAI_ECORRUPT, {{H(hash_kind), 2}}},
    {"next 0", POMAI_ECORRUPT, {{H(next_collection), 0}}},
    {"next too low", POMAI_ECORRUPT, {{H(next_collection), 2}}},
    {"more collections than bytes", POMAI_ECORRUPT, {{H(collections), 99}, {H(next_collection), 999}}},
    {"one collection more", POMAI_ECORRUPT, {{H(collections), 3}, {H(next_collection), 9}}},
    {"one collection less", POMAI_ECORRUPT, {{H(collections), 1}}},
    {"name too long", POMAI_ECORRUPT, {{C(name_len), 255}}},
    {"no name", POMAI_ECORRUPT, {{C(name_len), 0}}},
    {"name with a tilde", POMAI_ECORRUPT, {{NAME_AT, 1, '~'}}},
    {"name with a slash", POMAI_ECORRUPT, {{NAME_AT, 1, '/'}}},
    {"name with a dot first", POMAI_ECORRUPT, {{NAME_AT, 1, '.'}}},
    {"id twice", POMAI_ECORRUPT, {{C(id), 1}}},
    {"id not made yet", POMAI_ECORRUPT, {{C(id), 3}}},
    {"dim 0", POMAI_ECORRUPT, {{C(dim), 0}}},
    {"large dim", POMAI_ECORRUPT, {{C(dim), POMAI_MAX_DIM + 1}}},
    {"metric 0", POMAI_ECORRUPT, {{C(metric), 0}}},
    {"metric 9", POMAI_ECORRUPT, {{C(metric), 9}}},
    {"dtype unsaid", POMAI_ECORRUPT, {{C(dtype), POMAI_DTYPE_FLOAT16}}},
    {"dtype said", POMAI_OK, {{C(dtype), POMAI_DTYPE_FLOAT16}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"dtype said, none there", POMAI_OK, {{H(incompatible), PM_FEATURES_KNOWN}}},
    {"dtype 0", POMAI_ECORRUPT, {{C(dtype), 0}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"dtype 4", POMAI_ECORRUPT, {{C(dtype), 4}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"dtype 255", POMAI_ECORRUPT, {{C(dtype), 255}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"kind of id", POMAI_ECORRUPT, {{C(id_kind), 9}}},
    {"flags", POMAI_ECORRUPT, {{C(flags), 1}}},
    {"zero", POMAI_ECORRUPT, {{C(zero), 1}}},
    {"index unsaid", POMAI_ECORRUPT, {{C(index), POMAI_INDEX_GRAPH}}},
    {"index said", POMAI_OK, {{C(index), POMAI_INDEX_GRAPH}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"index 4", POMAI_ECORRUPT, {{C(index), 4}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"clustered, and unsaid", POMAI_ECORRUPT, {{C(cluster_len), 8}}},
    {"path over what follows", POMAI_ECORRUPT, {{C(cluster_len), 8}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"path beyond the end", POMAI_ECORRUPT, {{C(cluster_len), 255}, {H(incompatible), PM_FEATURES_KNOWN}}},
    {"name with bytes behind it", POMAI_ECORRUPT, {{NAME_AT + 7, 1, 1}}},
    {"next id", POMAI_OK, {{C(next_id), UINT64_MAX}}},
    {"flushed", POMAI_OK, {{NAME_AT + 8, 8, UINT64_MAX}, {NAME_AT + 16, 8, 1}}},
    {"one segment more", POMAI_ECORRUPT, {{C(segments), 3}}},
    {"one segment less", POMAI_ECORRUPT, {{C(segments), 1}}},
    {"no segments", POMAI_ECORRUPT, {{C(segments), 0}}},
    {"segments without end", POMAI_ECORRUPT, {{C(segments), UINT32_MAX}}},
    {"segment 0", POMAI_ECORRUPT, {{G(0, number), 0}}},
    {"segment twice", POMAI_ECORRUPT, {{G(1, number), 3}}},
    {"segments fall", POMAI_ECORRUPT, {{G(0, number), 8}}},
    {"segment of two collections", POMAI_ECORRUPT, {{G(1, number), 5}}},
    {"segment not made yet", POMAI_ECORRUPT, {{G(1, number), 9}}},
    {"segment of no rows", POMAI_ECORRUPT, {{G(1, rows), 0}}},
    {"segment of the most rows", POMAI_OK, {{G(1, rows), (uint64_t)1 << 28}}},
    {"segment of more rows", POMAI_ECORRUPT, {{G(1, rows), ((uint64_t)1 << 28) + 1}}},
    {"no SEGMENT", POMAI_ECORRUPT, {{G(1, meta_len), 0}}},
    {"the longest SEGMENT", POMAI_OK, {{G(1, meta_len), 64 << 20}}},
    {"SEGMENT too long", POMAI_ECORRUPT, {{G(1, meta_len), (64 << 20) + 1}}},
    {"live without length", POMAI_ECORRUPT, {{G(0, live_len), 0}}},
    {"live of no generation", POMAI_ECORRUPT, {{G(0, live_generation), 0}}},
    {"length of no live", POMAI_ECORRUPT, {{G(1, live_len), 1}}},
    {"checksum of no live", POMAI_ECORRUPT, {{G(1, live_crc), 1}}},
    {"checksum 0", POMAI_OK, {{G(0, live_crc), 0}}},
    {"zero1 of a segment", POMAI_ECORRUPT, {{G(1, zero1), 1}}},
    {"zero2 of a segment", POMAI_ECORRUPT, {{G(1, zero2), 1}}},
};

static void make_catalogue(const struct box *b, pm_manifest *m)
{
    bool uncertain;
    static pm_manifest_segment first[1] = {{.number = 5, .rows = 1, .meta_len = 1}};
    static pm_manifest_segment second[2] = {
        {.number = 3, .rows = 9, .meta_len = 99, .live_generation = 4, .live_len = 50, .live_crc = 7},
        {.number = 7, .rows = 9, .meta_len = 99}};
    static uint64_t flushed[2] = {11, 12};
    static pm_manifest_entry entry[2] = {{.name = "ab", .segment = first, .segments = 1},
                                         {.name = "c_", .segment = second, .segments = 2, .flushed = flushed}};
    for (uint32_t i = 0; i < 2; i++)
        entry[i].fixed = (pm_manifest_collection){.id = i + 1,
                                                  .dim = 4,
                                                  .metric = POMAI_METRIC_L2,
                                                  .id_kind = POMAI_ID_U64,
                                                  .dtype = POMAI_DTYPE_FLOAT32,
                                                  .name_len = 2,
                                                  .ttl_ns = i};
    *m = (pm_manifest){.epoch = 1, .shards = 2, .next_collection = 3, .collections = 2, .entry = entry, .uuid = {7, 7}};
    m->next_segment = 9;
    m->shard[0].first_wal = 1;
    m->shard[1] = (pm_manifest_shard){.first_wal = 4, .pred_lsn = 9, .pred_length = PM_WAL_HEADER, .pred_chain = 2};
    assert_int_equal(pm_manifest_install(b->place.os, b->dir, m, &uncertain, NULL), POMAI_OK);
}

static pomai_status read_catalogue(const struct box *b)
{
    pm_manifest m;
    pomai_status status = pm_manifest_read(b->place.os, b->dir, &m, NULL);
    pm_manifest_clear(&m);
    return status;
}

static void test_catalogues(void **state)
{
    struct box *b = *state;
    pm_manifest m;
    char path[T_PATH_MAX], current[T_PATH_MAX];
    make_catalogue(b, &m);
    t_join(path, b->dir, "MANIFEST-0000000001");
    t_join(current, b->dir, "CURRENT");
    for (size_t i = 0; i < sizeof catalogues / sizeof catalogues[0]; i++) {
        size_t length;
        uint8_t *before = forge(path, 0, 0, catalogues[i].p, 2, &length);
        pomai_status got = read_catalogue(b);
        if (got != catalogues[i].wanted) fail_msg("%s: %s", catalogues[i].what, pm_status_name(got));
        t_write_file(path, before, length);
        free(before);
        assert_int_equal(read_catalogue(b), POMAI_OK);
    }
    assert_int_equal(truncate(path, 65 << 20), 0);
    assert_int_equal(read_catalogue(b), POMAI_ECORRUPT);
    assert_int_equal(truncate(current, sizeof(pm_current) + 1), 0);
    assert_int_equal(read_catalogue(b), POMAI_ECORRUPT);
}

/* ---- files that get shorter while they are read ---- */

static size_t shorten_from; /* reads of at least so many bytes miss the last one */

static int64_t short_read(const pm_os *os, int fd, void *to, size_t size, uint64_t offset)
{
    (void)os;
    return pm_os_posix()->file_read(pm_os_posix(), fd, to, size - (size >= shorten_from), offset);
}

static void test_files_that_end_early(void **state)
{
    struct box *b = *state;
    pm_os os = *pm_os_posix();
    pm_manifest m;
    os.file_read = short_read;
    make_log(b);
    make_catalogue(b, &m);
    b->place.os = &os;
    shorten_from = 8000;
    assert_int_equal(scan(b, false, NULL), POMAI_EIO);
    shorten_from = 0;
    assert_int_equal(read_catalogue(b), POMAI_EIO);
    shorten_from = SIZE_MAX;
    assert_int_equal(scan(b, false, NULL), POMAI_OK);
    assert_int_equal(read_catalogue(b), POMAI_OK);
}

/* ---- paths ---- */

static void test_long_paths(void **state)
{
    struct box *b = *state;
    static char dir[PM_PATH_MAX];
    memset(dir, 'd', sizeof dir - 8);
    dir[0] = '/';
    pm_wal_place place = b->place;
    place.dir = dir;
    pm_wal_end end = {0};
    pm_wal_scan s = {.place = &place, .first_number = 1};
    pm_span none = {NULL, 0};
    pm_mark mark;
    pm_manifest m;
    bool uncertain;
    int fd;
    uint32_t seed;
    make_catalogue(b, &m);
    assert_int_equal(pm_wal_create(&place, 1, 4096, 1, &end, &fd, &seed, NULL), POMAI_ETOOBIG);
    assert_int_equal(pm_wal_settle(&place, 1, &none, 0, NULL), POMAI_ETOOBIG);
    assert_int_equal(pm_mark_make(&place, NULL), POMAI_ETOOBIG);
    assert_int_equal(pm_mark_open(&place, 1, &mark, NULL), POMAI_ETOOBIG);
    assert_int_equal(pm_wal_scan_run(&s, NULL), POMAI_ETOOBIG);
    assert_int_equal(pm_wal_quarantine(&s, dir, NULL), POMAI_ETOOBIG);
    assert_int_equal(pm_wal_quarantine(&s, b->dir, NULL), POMAI_ETOOBIG);
    pm_wal_trim(&place, 1, 0);
    assert_int_equal(pm_manifest_install(place.os, dir, &m, &uncertain, NULL), POMAI_ETOOBIG);
    assert_int_equal(pm_manifest_read(place.os, dir, &m, NULL), POMAI_ETOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test_setup_teardown(test_logs, box_make, box_remove),
        cmocka_unit_test_setup_teardown(test_names_beside_the_log, box_make, box_remove),
        cmocka_unit_test_setup_teardown(test_log_without_its_begin, box_make, box_remove),
        cmocka_unit_test_setup_teardown(test_files_that_end_early, box_make, box_remove),
        cmocka_unit_test_setup_teardown(test_catalogues, box_make, box_remove),
        cmocka_unit_test_setup_teardown(test_long_paths, box_make, box_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
