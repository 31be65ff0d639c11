/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log alone: records written and read back; every cut and every kind of damage of a small log told apart, with the
 * WATERMARK and without its help.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "storage/wal/wal.h"

typedef struct box {
    char dir[64];
    char quarantine[80];
    pm_wal_place place;
    pm_mark mark;
    pm_wal_end end;
    uint64_t durable; /* what records say */
} box;

static int set_up(void **state)
{
    box *b = calloc(1, sizeof *b);
    strcpy(b->dir, "/tmp/pomai-wal-XXXXXX");
    if (mkdtemp(b->dir) == NULL) return -1;
    snprintf(b->quarantine, sizeof b->quarantine, "%s/q", b->dir);
    b->place = (pm_wal_place){.os = pm_os_posix(), .dir = b->dir, .uuid = {7}, .epoch = 1, .shard = 3};
    if (pm_mark_make(&b->place, NULL) != POMAI_OK || pm_mark_open(&b->place, 1, &b->mark, NULL) != POMAI_OK) return -1;
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    box *b = *state;
    char command[128];
    pm_mark_close(&b->place, &b->mark);
    snprintf(command, sizeof command, "rm -rf %s", b->dir);
    int rc = system(command);
    free(b);
    return rc;
}

/* One PUT of `rows` rows of 4 dimensions with ids from `first`. */
static size_t make_record(uint8_t *to, const box *b, uint32_t seed, uint64_t first, uint32_t rows)
{
    pm_rec_layout l;
    pm_rec_layout_init(&l, 8, (uint64_t)rows * 4 * sizeof(float), 0, 0);
    memset(to, 0, l.total);
    pm_rec_header *h = (pm_rec_header *)(void *)to;
    h->version = PM_REC_VERSION;
    h->op = PM_OP_PUT;
    h->dtype = POMAI_DTYPE_FLOAT32;
    h->id_kind = POMAI_ID_U64;
    h->flags = PM_REC_IDS_ARE_RANGE;
    h->lsn = b->end.lsn + 1;
    h->durable_lsn = b->durable;
    h->stamp = b->end.stamp + 1;
    h->batch = h->lsn;
    h->parts = 1;
    h->collection = 1;
    h->dim = 4;
    h->rows = rows;
    h->payload_len = l.payload_len;
    h->ids_len = l.ids_len;
    h->vectors_len = l.vectors_len;
    memcpy(to + l.ids_at, &first, sizeof first);
    for (uint32_t i = 0; i < rows * 4; i++) {
        float value = (float)(first * 4 + i);
        memcpy(to + l.vectors_at + i * sizeof value, &value, sizeof value);
    }
    pm_span payload = {to + PM_REC_HEADER, l.payload_len};
    pm_rec_seal(h, &payload, 1, seed);
    return l.total;
}

/* A file with `records` records; the WATERMARK is written after the first `marked` of them. */
static void write_file(box *b, unsigned records, unsigned marked)
{
    const pm_os *os = b->place.os;
    int fd;
    uint32_t seed;
    uint8_t buffer[4096];
    const uint64_t number = b->end.number + 1;
    assert_int_equal(pm_wal_create(&b->place, number, 16384, 1, &b->end, &fd, &seed, NULL), POMAI_OK);
    b->end.number = number;
    b->end.length = PM_WAL_HEADER;
    for (unsigned i = 0; i < records; i++) {
        size_t size = make_record(buffer, b, seed, b->end.lsn * 10, 1 + i % 5);
        pm_span span = {buffer, size};
        assert_int_equal(os->file_write(os, fd, &span, 1, b->end.length), 0);
        const pm_rec_header *h = (const pm_rec_header *)(void *)buffer;
        b->end.lsn = h->lsn;
        b->end.stamp = h->stamp;
        b->end.chain = pm_rec_chain(b->end.chain, h);
        b->end.length += size;
        if (i + 1 == marked) assert_int_equal(pm_mark_write(&b->place, &b->mark, &b->end, NULL), POMAI_OK);
    }
    assert_int_equal(os->file_sync(os, fd), 0);
    os->file_close(os, fd);
}

static pomai_status scan(box *b, pm_wal_scan *s, pomai_error *err)
{
    *s = (pm_wal_scan){.place = &b->place, .first_number = 1};
    return pm_wal_scan_run(s, err);
}

static void path_of(const box *b, uint64_t number, char *path, size_t size)
{
    snprintf(path, size, "%s/%010llu.wal", b->dir, (unsigned long long)number);
}

static void change_byte(const box *b, uint64_t number, long at, int by)
{
    char path[128];
    path_of(b, number, path, sizeof path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ by, f);
    fclose(f);
}

static void read_header(const box *b, uint64_t number, pm_wal_header *header)
{
    char path[128];
    path_of(b, number, path, sizeof path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(header, sizeof *header, 1, f), 1);
    fclose(f);
}

/* With its checksum. */
static void write_header(const box *b, uint64_t number, pm_wal_header *header)
{
    char path[128];
    path_of(b, number, path, sizeof path);
    header->crc = pm_crc32c(0, (const uint8_t *)header + 12, sizeof *header - 12);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite(header, sizeof *header, 1, f), 1);
    fclose(f);
}

static void whole_log_reads_back(void **state)
{
    box *b = *state;
    pm_wal_scan s;
    assert_int_equal(scan(b, &s, NULL), POMAI_OK);
    assert_int_equal(s.end.number, 0);
    write_file(b, 7, 7);
    write_file(b, 0, 0);
    write_file(b, 3, 3);
    assert_int_equal(scan(b, &s, NULL), POMAI_OK);
    assert_int_equal(s.records, 10);
    assert_memory_equal(&s.end, &b->end, sizeof s.end);
    assert_int_equal(s.torn_at, 0);
}

/* Without any witness of durability, every cut of the last file is a torn tail, and keeps what is before it. */
static void cuts_without_witness_are_torn(void **state)
{
    box *b = *state;
    write_file(b, 6, 0);
    char path[128];
    path_of(b, 1, path, sizeof path);
    unsigned cases = 0;
    for (uint64_t length = b->end.length; length >= PM_WAL_HEADER; length -= 32, cases++) {
        assert_int_equal(truncate(path, (off_t)length), 0);
        pm_wal_scan s;
        pomai_error err;
        assert_int_equal(scan(b, &s, &err), POMAI_OK);
        assert_true(s.end.length <= length);
        if (length < b->end.length && length > s.end.length) assert_int_equal(s.torn_at, s.end.length);
    }
    printf("cuts: %u cases, 0 failures, seed 0\n", cases);
}

/* With the WATERMARK, every flipped bit of every record is reported. */
static void damage_under_the_mark_is_corruption(void **state)
{
    box *b = *state;
    write_file(b, 5, 5);
    unsigned cases = 0;
    for (long at = PM_WAL_HEADER; at < (long)b->end.length; at += 1 + at % 3, cases++) {
        change_byte(b, 1, at, 1 << (at % 8));
        pm_wal_scan s;
        pomai_error err = {0};
        assert_int_equal(scan(b, &s, &err), POMAI_ECORRUPT);
        assert_non_null(strstr(err.message, "offset"));
        change_byte(b, 1, at, 1 << (at % 8));
    }
    pm_wal_scan s;
    assert_int_equal(scan(b, &s, NULL), POMAI_OK);
    printf("flips: %u cases, 0 failures, seed 0\n", cases);
}

/* No WATERMARK help, but a later header that says how far the log was durable. */
static void later_header_is_a_witness(void **state)
{
    box *b = *state;
    write_file(b, 0, 0);
    /* records 1..3 say nothing; record 4 knows that 3 was durable */
    char path[128];
    path_of(b, 1, path, sizeof path);
    FILE *f = fopen(path, "r+b");
    pm_wal_header h;
    assert_int_equal(fread(&h, sizeof h, 1, f), 1);
    uint32_t seed = pm_wal_seed(h.salt);
    long starts[4];
    for (unsigned i = 0; i < 4; i++) {
        uint8_t buffer[4096];
        b->durable = i == 3 ? 3 : 0;
        size_t size = make_record(buffer, b, seed, i * 10, 2);
        starts[i] = (long)b->end.length;
        fseek(f, starts[i], SEEK_SET);
        assert_int_equal(fwrite(buffer, size, 1, f), 1);
        b->end.lsn++;
        b->end.stamp++;
        b->end.length += size;
    }
    fclose(f);
    pm_wal_scan s;
    pomai_error err;
    for (unsigned i = 0; i < 3; i++) {
        for (long byte = 0; byte < 256; byte += 13) { /* header and payload of 128 bytes each */
            change_byte(b, 1, starts[i] + byte, 64);
            assert_int_equal(scan(b, &s, &err), POMAI_ECORRUPT);
            change_byte(b, 1, starts[i] + byte, 64);
        }
    }
    change_byte(b, 1, starts[3] + 20, 64); /* nobody says that record 4 was durable */
    assert_int_equal(scan(b, &s, &err), POMAI_OK);
    assert_int_equal(s.end.lsn, 3);
    assert_true(s.torn_bytes > 0);
}

static void files_must_continue_each_other(void **state)
{
    box *b = *state;
    write_file(b, 3, 3);
    write_file(b, 3, 3);
    write_file(b, 2, 2);
    char one[128], two[128], three[128], away[160];
    path_of(b, 1, one, sizeof one);
    path_of(b, 2, two, sizeof two);
    path_of(b, 3, three, sizeof three);
    pm_wal_scan s;
    pomai_error err;
    const char *const each[] = {one, two, three};
    for (int i = 0; i < 3; i++) {
        snprintf(away, sizeof away, "%s.away.tmp", each[i]);
        assert_int_equal(rename(each[i], away), 0);
        assert_int_equal(scan(b, &s, &err), POMAI_ECORRUPT);
        assert_int_equal(rename(away, each[i]), 0);
    }
    pm_wal_header header, wrong;
    read_header(b, 2, &header);
    for (int field = 0; field < 5; field++) { /* a header that is whole, but follows another file */
        wrong = header;
        (&wrong.pred_number)[field]++;
        write_header(b, 2, &wrong);
        assert_int_equal(scan(b, &s, &err), POMAI_ECORRUPT);
    }
    write_header(b, 2, &header);
    change_byte(b, 2, 12 + 300, 1); /* a header */
    assert_int_equal(scan(b, &s, &err), POMAI_ECORRUPT);
    change_byte(b, 2, 12 + 300, 1);
    b->place.uuid[0] = 8; /* as if the files were copied into another database */
    assert_int_equal(scan(b, &s, &err), POMAI_EFOREIGN);
    b->place.uuid[0] = 7;
    assert_int_equal(scan(b, &s, &err), POMAI_OK);
}

/* What lies behind the length that the successor states means nothing. */
static void sealed_tail_is_ignored(void **state)
{
    box *b = *state;
    write_file(b, 3, 3);
    long behind = (long)b->end.length + 70;
    write_file(b, 1, 1);
    change_byte(b, 1, behind, 255);
    pm_wal_scan s;
    assert_int_equal(scan(b, &s, NULL), POMAI_OK);
    assert_int_equal(s.torn_at, 0);
    assert_int_equal(s.records, 4);
}

static void marks_alternate_and_one_may_be_torn(void **state)
{
    box *b = *state;
    write_file(b, 4, 2);
    assert_int_equal(pm_mark_write(&b->place, &b->mark, &b->end, NULL), POMAI_OK);
    char path[128];
    snprintf(path, sizeof path, "%s/WATERMARK", b->dir);
    pm_wal_scan s;
    pomai_error err;
    for (int slot = 0; slot < 2; slot++) {
        FILE *f = fopen(path, "r+b");
        fseek(f, slot * (long)PM_MARK_SLOT + 60, SEEK_SET);
        int c = fgetc(f);
        fseek(f, -1, SEEK_CUR);
        fputc(c ^ 1, f);
        fflush(f);
        assert_int_equal(scan(b, &s, &err), POMAI_OK);
        assert_int_equal(s.mark.durable_lsn, slot == 0 ? 4 : 2);
        fseek(f, -1, SEEK_CUR);
        fputc(c, f);
        fclose(f);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(scan(b, &s, &err), POMAI_ECORRUPT);
}

/* The records are whole, but they are not those that were there when the WATERMARK was written. */
static void mark_of_other_records_is_corruption(void **state)
{
    box *b = *state;
    write_file(b, 3, 0);
    pm_wal_end other = b->end;
    other.chain ^= 1;
    assert_int_equal(pm_mark_write(&b->place, &b->mark, &other, NULL), POMAI_OK);
    pm_wal_scan s;
    pomai_error err;
    assert_int_equal(scan(b, &s, &err), POMAI_ECORRUPT);
    assert_non_null(strstr(err.message, "WATERMARK"));
}

/* A vector may hold the bytes of a record; without the salt of the file they are nothing. */
static void record_of_another_file_is_none(void **state)
{
    box *b = *state;
    pm_wal_header one, two;
    uint8_t buffer[4096];
    char path[128];
    write_file(b, 1, 1);
    write_file(b, 0, 0);
    read_header(b, 1, &one);
    read_header(b, 2, &two);
    assert_true(one.salt != two.salt);
    size_t size = make_record(buffer, b, pm_wal_seed(one.salt), 5, 2);
    path_of(b, 2, path, sizeof path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, PM_WAL_HEADER, SEEK_SET);
    assert_int_equal(fwrite(buffer, size, 1, f), 1);
    fclose(f);
    pm_wal_scan s;
    assert_int_equal(scan(b, &s, NULL), POMAI_OK);
    assert_int_equal(s.end.lsn, 1);
    assert_int_equal(s.torn_at, PM_WAL_HEADER);
}

static void torn_tail_is_kept(void **state)
{
    box *b = *state;
    write_file(b, 2, 2);
    change_byte(b, 1, (long)b->end.length + 5, 255);
    pm_wal_scan s;
    assert_int_equal(scan(b, &s, NULL), POMAI_OK);
    assert_int_equal(s.torn_at, b->end.length);
    assert_int_equal(s.torn_bytes, 6);
    assert_int_equal(b->place.os->dir_make(b->place.os, b->quarantine), 0);
    assert_int_equal(pm_wal_quarantine(&s, b->quarantine, NULL), POMAI_OK);
    char path[256];
    snprintf(path, sizeof path, "%s/shard-3-file-0000000001-at-%llu.torn", b->quarantine,
             (unsigned long long)s.torn_at);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    uint8_t bytes[16];
    assert_int_equal(fread(bytes, 1, sizeof bytes, f), 6);
    assert_int_equal(bytes[5], 255);
    fclose(f);
}

/* Nonsense in a header with a right checksum: what only a bug, or somebody who knows the salt, can write. */
static void sound_checksum_is_not_enough(void **state)
{
    box *b = *state;
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {
        {offsetof(pm_rec_header, version), 9},       {offsetof(pm_rec_header, op), 77},
        {offsetof(pm_rec_header, dtype), 5},         {offsetof(pm_rec_header, id_kind), 3},
        {offsetof(pm_rec_header, flags), 0x81},      {offsetof(pm_rec_header, parts), 0},
        {offsetof(pm_rec_header, part), 4},          {offsetof(pm_rec_header, dim), 5},
        {offsetof(pm_rec_header, rows), 200},        {offsetof(pm_rec_header, rows), 0},
        {offsetof(pm_rec_header, payload_len), 1},   {offsetof(pm_rec_header, payload_len) + 7, 0xff},
        {offsetof(pm_rec_header, ids_len) + 7, 255}, {offsetof(pm_rec_header, vectors_len) + 7, 255},
        {offsetof(pm_rec_header, expiry_len), 64},   {offsetof(pm_rec_header, documents_len), 64},
        {offsetof(pm_rec_header, lsn), 9},           {offsetof(pm_rec_header, key_id), 1},
        {offsetof(pm_rec_header, zero2) + 15, 1},    {offsetof(pm_rec_header, zero1), 1},
    };
    uint8_t image[4096];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = make_record(image, b, 99, 5, 3);
        assert_null(pm_rec_check(image, 0, size, 99, 1));
        assert_non_null(pm_rec_check(image, 0, size - 1, 99, 1));
        assert_non_null(pm_rec_check(image, 0, size, 98, 1));
        image[cases[i].at] = cases[i].value;
        pm_span payload = {image + PM_REC_HEADER, size - PM_REC_HEADER};
        pm_rec_seal((pm_rec_header *)(void *)image, &payload, 1, 99);
        assert_non_null(pm_rec_check(image, 0, size, 99, 1));
    }
}

/* ---- a log whose oldest files were retired ---- */

enum { FILES = 6 };

/* Files 1 to 6; end[n] is the end of file n. */
static void write_files(box *b, pm_wal_end *end)
{
    end[0] = b->end;
    for (unsigned n = 1; n <= FILES; n++) {
        write_file(b, n == 3 ? 0 : n, n == 3 ? 0 : n); /* one without a record */
        end[n] = b->end;
    }
}

static pomai_status scan_from(box *b, uint64_t first, const pm_wal_end *before, pm_wal_scan *s, pm_text *notes)
{
    pomai_error err = {0};
    *s = (pm_wal_scan){.place = &b->place, .first_number = first, .before = *before, .notes = notes};
    return pm_wal_scan_run(s, &err);
}

static bool is_there(const box *b, uint64_t number)
{
    char path[128];
    path_of(b, number, path, sizeof path);
    return access(path, F_OK) == 0;
}

/* Every beginning that a manifest could state, right and with each part of it wrong. */
static void a_log_may_begin_late(void **state)
{
    box *b = *state;
    pm_wal_end end[FILES + 1];
    pm_wal_scan s;
    unsigned cases = 0;
    write_files(b, end);
    for (uint64_t first = 1; first <= FILES; first++) {
        const pm_wal_end before = end[first - 1];
        pm_wal_retire(&b->place, first - 1, first);
        assert_int_equal(scan_from(b, first, &before, &s, NULL), POMAI_OK);
        assert_memory_equal(&s.end, &b->end, sizeof s.end);
        assert_int_equal(s.records, b->end.lsn - before.lsn);
        for (int field = 0; field < 5; field++, cases++) {
            pm_wal_end wrong = before;
            (&wrong.number)[field]++;
            assert_int_equal(scan_from(b, first, &wrong, &s, NULL), POMAI_ECORRUPT);
        }
        const pm_wal_end none = {0};
        if (first > 1) assert_int_equal(scan_from(b, first, &none, &s, NULL), POMAI_ECORRUPT);
        if (first > 1) assert_int_equal(scan_from(b, first - 1, &end[first - 2], &s, NULL), POMAI_ECORRUPT);
        if (first < FILES) assert_int_equal(scan_from(b, first + 1, &before, &s, NULL), POMAI_ECORRUPT);
    }
    pm_mark_write(&b->place, &b->mark, &end[0], NULL); /* even if the WATERMARK says nothing */
    pm_mark_write(&b->place, &b->mark, &end[0], NULL);
    pm_wal_retire(&b->place, FILES, FILES + 1);
    assert_int_equal(scan_from(b, FILES, &end[FILES - 1], &s, NULL), POMAI_ECORRUPT);
    assert_int_equal(scan_from(b, FILES + 9, &end[FILES], &s, NULL), POMAI_ECORRUPT);
    assert_int_equal(scan_from(b, 1, &end[0], &s, NULL), POMAI_OK);
    printf("begins: %u cases, 0 failures, seed 0\n", cases);
}

/* The WATERMARK attests the LSN at which the log was cut: the manifest must state the chain there. */
static void a_mark_at_the_cut_is_compared(void **state)
{
    box *b = *state;
    pm_wal_end end[FILES + 1];
    pm_wal_scan s;
    write_files(b, end);
    for (uint64_t by = 0; by < 2; by++) {
        pm_wal_end marked = end[4];
        marked.chain ^= by;
        assert_int_equal(pm_mark_write(&b->place, &b->mark, &marked, NULL), POMAI_OK);
        assert_int_equal(scan_from(b, 5, &end[4], &s, NULL), by == 0 ? POMAI_OK : POMAI_ECORRUPT);
        assert_int_equal(scan_from(b, 6, &end[5], &s, NULL), POMAI_OK); /* what is gone cannot be compared */
    }
}

/* The manifest's struct says the same as the end it was made of. */
static void the_manifest_states_the_end_before(void **state)
{
    (void)state;
    const pm_manifest_shard first = {.first_wal = 1, .resolved = 7};
    const pm_manifest_shard later = {5, 7, 11, 576, 13, 14};
    const pm_wal_end none = {0}, end = {4, 11, 576, 13, 14};
    pm_wal_end got = pm_wal_before(&first);
    assert_memory_equal(&got, &none, sizeof got);
    got = pm_wal_before(&later);
    assert_memory_equal(&got, &end, sizeof got);
}

static void files_below_the_first_are_leftovers(void **state)
{
    box *b = *state;
    pm_wal_end end[FILES + 1];
    pm_wal_scan s;
    pm_text notes = {0};
    char path[128];
    write_files(b, end);
    change_byte(b, 1, 20, 1); /* nobody reads it */
    snprintf(path, sizeof path, "%s/0000000009.wal.tmp", b->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(scan_from(b, 4, &end[3], &s, &notes), POMAI_OK);
    assert_int_equal(s.records, b->end.lsn - end[3].lsn);
    assert_non_null(strstr(notes.data, "log file 1 "));
    assert_non_null(strstr(notes.data, "log file 3 "));
    assert_null(strstr(notes.data, "log file 4 "));
    pm_free(notes.data);
    pm_wal_remove_leftovers(&b->place, 4);
    assert_int_not_equal(access(path, F_OK), 0);
    for (uint64_t n = 1; n <= FILES; n++)
        assert_int_equal(is_there(b, n), n >= 4);
    snprintf(path, sizeof path, "%s/WATERMARK", b->dir);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(scan_from(b, 4, &end[3], &s, NULL), POMAI_OK);
}

struct ends {
    pm_wal_end end[FILES];
    unsigned count, most;
    uint64_t lsn; /* of the last record */
};

static pomai_status note_record(pm_wal_scan *s, const pm_wal_image *image, uint64_t at, pomai_error *err)
{
    (void)err;
    ((struct ends *)s->context)->lsn = ((const pm_rec_header *)(const void *)(image->data + at))->lsn;
    return POMAI_OK;
}

static pomai_status note_end(pm_wal_scan *s, const pm_wal_end *end, pomai_error *err)
{
    struct ends *e = s->context;
    if (e->count == e->most) return pm_fail(err, POMAI_ENOMEM, "no more");
    if (end->lsn > 0) assert_true(e->lsn == end->lsn || e->lsn == 0);
    e->end[e->count++] = *end;
    return POMAI_OK;
}

/* What may be retired, and what the manifest must say then. */
static void ends_of_sealed_files_are_told(void **state)
{
    box *b = *state;
    pm_wal_end end[FILES + 1];
    pomai_error err;
    write_files(b, end);
    for (uint64_t first = 1; first <= FILES; first++) {
        struct ends e = {.most = FILES};
        pm_wal_scan s = {.place = &b->place, .first_number = first, .before = end[first - 1], .context = &e};
        s.on_file = note_end;
        s.on_record = note_record;
        pm_wal_scan again = s;
        assert_int_equal(pm_wal_scan_run(&s, &err), POMAI_OK);
        assert_int_equal(e.count, FILES - first);
        for (unsigned i = 0; i < e.count; i++)
            assert_memory_equal(&e.end[i], &end[first + i], sizeof e.end[i]);
        if (first == FILES) break;
        e = (struct ends){.most = (unsigned)(FILES - first - 1)};
        assert_int_equal(pm_wal_scan_run(&again, &err), POMAI_ENOMEM); /* its failure is the scan's */
    }
}

static unsigned removals_left;

static int remove_some(const pm_os *os, const char *path)
{
    (void)os;
    if (access(path, F_OK) != 0) return -ENOENT;
    if (removals_left == 0) return -EIO;
    removals_left--;
    return pm_os_posix()->path_remove(pm_os_posix(), path);
}

/* Wherever retiring is cut off, what is left is a run that ends below the first file. */
static void retiring_leaves_no_gap(void **state)
{
    box *b = *state;
    pm_wal_end end[FILES + 1];
    pm_wal_scan s;
    pm_os os = *pm_os_posix();
    os.path_remove = remove_some;
    write_files(b, end);
    pm_wal_place place = b->place;
    place.os = &os;
    for (uint64_t gone = 0; gone <= 4; gone++) { /* each goes on where the last was cut off */
        removals_left = gone > 0;
        pm_wal_retire(&place, 1, 5);
        for (uint64_t n = 1; n <= FILES; n++)
            assert_int_equal(is_there(b, n), n > gone);
        assert_int_equal(scan_from(b, 5, &end[4], &s, NULL), POMAI_OK);
        /* an old manifest finds its log whole, or is refused */
        for (uint64_t first = 1; first < 5; first++)
            assert_int_equal(scan_from(b, first, &end[first - 1], &s, NULL), first > gone ? POMAI_OK : POMAI_ECORRUPT);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(whole_log_reads_back),
        CASE(cuts_without_witness_are_torn),
        CASE(damage_under_the_mark_is_corruption),
        CASE(later_header_is_a_witness),
        CASE(files_must_continue_each_other),
        CASE(sealed_tail_is_ignored),
        CASE(marks_alternate_and_one_may_be_torn),
        CASE(mark_of_other_records_is_corruption),
        CASE(record_of_another_file_is_none),
        CASE(torn_tail_is_kept),
        CASE(sound_checksum_is_not_enough),
        CASE(a_log_may_begin_late),
        CASE(a_mark_at_the_cut_is_compared),
        CASE(the_manifest_states_the_end_before),
        CASE(files_below_the_first_are_leftovers),
        CASE(ends_of_sealed_files_are_told),
        CASE(retiring_leaves_no_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
