/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue on a simulated disk: what was written reads back, no byte of it can change unseen, its largest size,
 * and that what is too large changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/sim/os_sim.h"
#include "storage/manifest/manifest.h"

static void fill(pm_manifest *m, uint32_t collections)
{
    m->epoch = PM_EPOCH;
    m->shards = 1;
    m->next_segment = 1;
    m->shard[0].first_wal = 1;
    m->next_collection = collections + 1;
    m->collections = collections;
    for (uint32_t i = 0; i < collections; i++) {
        pm_manifest_entry *e = &m->entry[i];
        int n = snprintf(e->name, sizeof e->name, "c%u", i);
        e->fixed = (pm_manifest_collection){.id = i + 1,
                                            .dim = 4,
                                            .metric = POMAI_METRIC_L2,
                                            .id_kind = POMAI_ID_U64,
                                            .dtype = POMAI_DTYPE_FLOAT32,
                                            .name_len = (uint8_t)n};
    }
}

static void a_catalogue_that_no_reader_takes_is_not_written(void **state)
{
    (void)state;
    pm_sim *sim = pm_sim_make(1);
    const pm_os *os = pm_sim_os(sim);
    pomai_error err = {0};
    bool uncertain;
    assert_int_equal(os->dir_make(os, "/m"), 0);
    const uint32_t many = 64u * 1024 * 1024 / sizeof(pm_manifest_collection); /* without their names */
    pm_manifest m = {0}, again;
    m.entry = calloc(many, sizeof *m.entry);
    assert_non_null(m.entry);
    fill(&m, 3);
    assert_int_equal(pm_manifest_install(os, "/m", &m, &uncertain, &err), POMAI_OK);
    uint64_t before = pm_disk_digest(pm_sim_disk(sim));
    fill(&m, many);
    assert_int_equal(pm_manifest_install(os, "/m", &m, &uncertain, &err), POMAI_ETOOBIG);
    assert_false(uncertain);
    assert_non_null(strstr(err.message, "drop some collections"));
    assert_true(pm_disk_digest(pm_sim_disk(sim)) == before);
    assert_int_equal(pm_manifest_read(os, "/m", &again, &err), POMAI_OK);
    assert_int_equal(again.collections, 3);
    pm_manifest_clear(&again);
    free(m.entry);
    pm_sim_free(sim);
}

/* ---- catalogues with segments ---- */

static pm_manifest_segment segment_of(uint64_t number)
{
    pm_manifest_segment s = {
        .number = number, .rows = number * 1000, .meta_len = 4096, .meta_crc = 77, .bytes = 1 << 20};
    if (number % 2 == 0) {
        s.live_generation = number * 3;
        s.live_len = 100;
        s.live_crc = 5;
    }
    return s;
}

/* Segments are dealt out in turn, so that the numbers of one collection rise with gaps. */
static void make_catalogue(pm_manifest *m, uint32_t shards, uint32_t collections, uint32_t segments)
{
    pm_manifest_segment list[8];
    pomai_error err;
    *m = (pm_manifest){.epoch = PM_EPOCH, .shards = shards, .created = 3, .clock = 99, .uuid = {1, 2}};
    m->next_collection = 2 * collections + 1;
    m->next_segment = (uint64_t)segments * collections + 1;
    for (uint32_t i = 0; i < shards; i++) {
        m->shard[i].first_wal = 1 + i;
        m->shard[i].resolved = 40 + i;
        if (i > 0) m->shard[i].pred_lsn = i;
        if (i > 0) m->shard[i].pred_length = PM_WAL_HEADER + 64 * i;
        if (i > 0) m->shard[i].pred_chain = UINT64_MAX - i;
        if (i > 0) m->shard[i].pred_stamp = 1000 + i;
    }
    for (uint32_t i = 0; i < collections; i++) {
        const pm_manifest_collection fixed = {.id = 2 * i + 1,
                                              .dim = 4 + i,
                                              .metric = POMAI_METRIC_L2,
                                              .id_kind = POMAI_ID_STRING,
                                              .dtype = POMAI_DTYPE_FLOAT32,
                                              .created = i,
                                              .next_id = (uint64_t)i << 40,
                                              .ttl_ns = i};
        char name[16];
        pm_manifest_entry *entry = NULL;
        snprintf(name, sizeof name, "%.*s", (int)(1 + 3 * i), "abcdefghijklmno");
        assert_int_equal(pm_manifest_add_entry(m, &fixed, name, &entry, &err), POMAI_OK);
        if (i >= 2) pm_manifest_set_cluster(entry, i % 2 == 0 ? "abcdefgh" : "a\\.b.c");
        for (uint32_t s = 0; s < shards; s++)
            entry->flushed[s] = 1000 * i + s + 1;
        for (uint32_t k = 0; k < segments; k++)
            list[k] = segment_of((uint64_t)k * collections + i + 1);
        assert_int_equal(pm_manifest_set_segments(entry, list, segments, &err), POMAI_OK);
    }
}

static void assert_same(const pm_manifest *a, const pm_manifest *b)
{
    assert_memory_equal(a->uuid, b->uuid, 16);
    assert_true(a->created == b->created && a->clock == b->clock && a->next_segment == b->next_segment);
    assert_true(a->epoch == b->epoch && a->shards == b->shards && a->next_collection == b->next_collection);
    assert_int_equal(a->collections, b->collections);
    assert_memory_equal(a->shard, b->shard, sizeof a->shard);
    for (uint32_t i = 0; i < a->collections; i++) {
        const pm_manifest_entry *x = &a->entry[i], *y = &b->entry[i];
        assert_memory_equal(&x->fixed, &y->fixed, sizeof x->fixed);
        assert_string_equal(x->name, y->name);
        assert_string_equal(x->cluster_by, y->cluster_by);
        assert_memory_equal(x->flushed, y->flushed, a->shards * sizeof *x->flushed);
        assert_int_equal(x->segments, y->segments);
        if (x->segments > 0) assert_memory_equal(x->segment, y->segment, x->segments * sizeof *x->segment);
    }
}

static pm_sim *make_sim(void)
{
    pm_sim *sim = pm_sim_make(1);
    assert_int_equal(pm_sim_os(sim)->dir_make(pm_sim_os(sim), "/m"), 0);
    return sim;
}

static void what_was_written_reads_back(void **state)
{
    (void)state;
    static const uint32_t shards[] = {1, 3, PM_MAX_SHARDS}, segments[] = {0, 1, 2, 8};
    unsigned cases = 0;
    pomai_error err;
    bool uncertain;
    for (uint32_t i = 0; i < 3 * 4 * 5; i++, cases++) {
        pm_sim *sim = make_sim();
        pm_manifest m, again, copy;
        make_catalogue(&m, shards[i % 3], i / 12, segments[i / 3 % 4]);
        for (int twice = 0; twice < 2; twice++) { /* the second replaces the first */
            assert_int_equal(pm_manifest_install(pm_sim_os(sim), "/m", &m, &uncertain, &err), POMAI_OK);
            assert_int_equal(pm_manifest_read(pm_sim_os(sim), "/m", &again, &err), POMAI_OK);
            assert_same(&m, &again);
            assert_int_equal(pm_manifest_copy(&copy, &again, &err), POMAI_OK);
            pm_manifest_clear(&again); /* the copy is deep */
            assert_same(&m, &copy);
            pm_manifest_clear(&copy);
        }
        pm_manifest_clear(&m);
        pm_sim_free(sim);
    }
    printf("round trips: %u cases, 0 failures, seed 1\n", cases);
}

static void entries_come_and_go(void **state)
{
    (void)state;
    pm_manifest m, copy;
    pomai_error err;
    make_catalogue(&m, 2, 4, 3);
    for (uint32_t id = 0; id < 9; id++) {
        const pm_manifest_entry *e = pm_manifest_find(&m, id);
        assert_true(id % 2 == 0 ? e == NULL : e == &m.entry[id / 2]);
    }
    static const uint32_t order[] = {1, 2, 0, 0}; /* the middle, the last, the first, the only one */
    static const uint32_t gone[] = {3, 7, 1, 5};
    for (int i = 0; i < 4; i++) {
        assert_non_null(pm_manifest_find(&m, gone[i]));
        pm_manifest_remove_entry(&m, order[i]);
        assert_null(pm_manifest_find(&m, gone[i]));
        assert_int_equal(m.collections, 3 - i);
        assert_int_equal(pm_manifest_copy(&copy, &m, &err), POMAI_OK);
        assert_same(&m, &copy);
        pm_manifest_clear(&copy);
    }
    const pm_manifest_collection fixed = {.id = 8, .dim = 1};
    pm_manifest_entry *entry = NULL;
    assert_int_equal(pm_manifest_add_entry(&m, &fixed, "again", &entry, &err), POMAI_OK);
    pm_manifest_segment list[3] = {segment_of(1), segment_of(2), segment_of(3)};
    assert_int_equal(pm_manifest_set_segments(entry, list, 3, &err), POMAI_OK);
    assert_int_equal(pm_manifest_set_segments(entry, entry->segment + 1, 2, &err), POMAI_OK); /* of its own */
    assert_memory_equal(entry->segment, list + 1, 2 * sizeof list[0]);
    assert_int_equal(entry->fixed.segments, 2);
    assert_int_equal(pm_manifest_set_segments(entry, NULL, 0, &err), POMAI_OK);
    assert_null(entry->segment);
    pm_manifest_clear(&m);
}

/* Whichever allocation fails: an error, nothing lost, nothing leaked. */
static void no_memory_changes_nothing(void **state)
{
    (void)state;
    pm_sim *sim = make_sim();
    pm_manifest m, before, other;
    pomai_error err;
    bool uncertain;
    make_catalogue(&m, 2, 3, 2);
    assert_int_equal(pm_manifest_install(pm_sim_os(sim), "/m", &m, &uncertain, &err), POMAI_OK);
    assert_int_equal(pm_manifest_copy(&before, &m, &err), POMAI_OK);
    const pm_manifest_collection fixed = {.id = 99, .dim = 1};
    const pm_manifest_segment list[1] = {segment_of(1)};
    pm_manifest_entry *entry = NULL;
    unsigned failed[5] = {0};
    for (unsigned i = 0; i < 5 * 16; i++) {
        pomai_status status = POMAI_OK;
        pm_sim_set_fault(sim, (pm_sim_fault){.calls = PM_SIM_BIT(MALLOC), .nth = i / 5});
        if (i % 5 == 0) status = pm_manifest_copy(&other, &m, &err);
        if (i % 5 == 1) status = pm_manifest_read(pm_sim_os(sim), "/m", &other, &err);
        if (i % 5 == 2) status = pm_manifest_add_entry(&m, &fixed, "more", &entry, &err);
        if (i % 5 == 3) status = pm_manifest_set_segments(&m.entry[1], list, 1, &err);
        if (i % 5 == 4) status = pm_manifest_install(pm_sim_os(sim), "/m", &m, &uncertain, &err);
        pm_sim_set_fault(sim, (pm_sim_fault){0});
        assert_true(status == POMAI_OK || status == POMAI_ENOMEM);
        failed[i % 5] += status != POMAI_OK;
        if (status == POMAI_OK && i % 5 < 2) pm_manifest_clear(&other);
        if (status == POMAI_OK && i % 5 == 2) pm_manifest_remove_entry(&m, 3);
        if (status == POMAI_OK && i % 5 == 3)
            assert_int_equal(pm_manifest_set_segments(&m.entry[1], before.entry[1].segment, 2, &err), POMAI_OK);
        assert_same(&m, &before);
    }
    assert_true(failed[0] == 7 && failed[1] == 10 && failed[2] == 2 && failed[3] == 1 && failed[4] == 1);
    pm_manifest_clear(&m);
    pm_manifest_clear(&before);
    assert_int_equal(pm_sim_what_is_held(sim).allocations, 0);
    pm_sim_free(sim);
}

/* ---- damage ---- */

struct taken {
    const char *path;
    uint8_t bytes[4096];
    uint64_t size;
};

static void take(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct taken *t = context;
    if (strcmp(path, t->path) != 0) return;
    assert_true(size <= sizeof t->bytes);
    memcpy(t->bytes, bytes, size);
    t->size = size;
}

static pomai_status read_with(pm_sim *sim, const struct taken *t, uint64_t size, pomai_error *err)
{
    pm_manifest m;
    assert_int_equal(pm_disk_put(pm_sim_disk(sim), t->path, t->bytes, size), 0);
    pomai_status status = pm_manifest_read(pm_sim_os(sim), "/m", &m, err);
    pm_manifest_clear(&m);
    return status;
}

static pm_sim *write_one(struct taken *manifest, struct taken *current)
{
    pm_sim *sim = make_sim();
    pm_manifest m;
    bool uncertain;
    make_catalogue(&m, 2, 3, 2);
    assert_int_equal(pm_manifest_install(pm_sim_os(sim), "/m", &m, &uncertain, NULL), POMAI_OK);
    pm_manifest_clear(&m);
    *manifest = (struct taken){.path = "/m/MANIFEST-0000000001"};
    *current = (struct taken){.path = "/m/CURRENT"};
    pm_disk_each_file(pm_sim_disk(sim), take, manifest);
    pm_disk_each_file(pm_sim_disk(sim), take, current);
    assert_true(manifest->size > 0 && current->size > 0);
    return sim;
}

static void no_byte_changes_unseen(void **state)
{
    (void)state;
    static struct taken file[2];
    pomai_error err;
    unsigned cases = 0;
    pm_sim *sim = write_one(&file[0], &file[1]);
    for (int f = 0; f < 2; f++) {
        for (uint64_t at = 0; at < file[f].size; at++, cases++) {
            file[f].bytes[at] ^= (uint8_t)(1u << at % 8);
            assert_int_equal(read_with(sim, &file[f], file[f].size, &err), POMAI_ECORRUPT);
            file[f].bytes[at] ^= (uint8_t)(1u << at % 8);
        }
        for (uint64_t size = 0; size < file[f].size; size++, cases++)
            assert_int_equal(read_with(sim, &file[f], size, &err), POMAI_ECORRUPT);
        assert_int_equal(read_with(sim, &file[f], file[f].size, &err), POMAI_OK);
    }
    printf("flips and cuts: %u cases, 0 failures, seed 1\n", cases);
    pm_sim_free(sim);
}

static void set(struct taken *t, size_t at, uint64_t value, size_t size)
{
    memcpy(t->bytes + at, &value, size);
    uint32_t crc = pm_crc32c(0, t->bytes + 12, t->size - 12);
    memcpy(t->bytes + 8, &crc, 4);
}

/* The sentence says how to go on. */
static void other_formats_and_features(void **state)
{
    (void)state;
    static struct taken file[2];
    pomai_error err;
    pm_sim *sim = write_one(&file[0], &file[1]);
    for (int f = 0; f < 2; f++) {
        for (uint32_t format = PM_FORMAT - 1; format <= PM_FORMAT + 1; format += 2) {
            set(&file[f], 12, format, 4);
            assert_int_equal(read_with(sim, &file[f], file[f].size, &err), POMAI_EFORMAT);
            const char *way = format < PM_FORMAT ? "older development build: export" : "use a newer PomaiDB";
            assert_non_null(strstr(err.message, way));
        }
        set(&file[f], 12, PM_FORMAT, 4);
        assert_int_equal(read_with(sim, &file[f], file[f].size, &err), POMAI_OK);
    }
    const size_t at = offsetof(pm_manifest_header, incompatible);
    for (unsigned bit = 5; bit < 64; bit++) {
        char bits[32];
        snprintf(bits, sizeof bits, "bits %llx;", 1ull << bit);
        set(&file[0], at, PM_FEATURES_KNOWN | 1ull << bit, 8);
        assert_int_equal(read_with(sim, &file[0], file[0].size, &err), POMAI_EFORMAT);
        assert_non_null(strstr(err.message, bits));
    }
    set(&file[0], at, PM_FEATURES_KNOWN, 8);
    /* The next edit drops compatible bits that it does not know. */
    const size_t compatible = offsetof(pm_manifest_header, compatible);
    set(&file[0], compatible, UINT64_MAX, 8);
    pm_manifest m;
    bool uncertain;
    assert_int_equal(read_with(sim, &file[0], file[0].size, &err), POMAI_OK);
    assert_int_equal(pm_manifest_read(pm_sim_os(sim), "/m", &m, &err), POMAI_OK);
    assert_int_equal(pm_manifest_install(pm_sim_os(sim), "/m", &m, &uncertain, &err), POMAI_OK);
    pm_manifest_clear(&m);
    file[0].path = "/m/MANIFEST-0000000002";
    pm_disk_each_file(pm_sim_disk(sim), take, &file[0]);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(file[0].bytes[compatible + i], 0);
    pm_sim_free(sim);
}

/* A feature is said when it is used, and not before: an older build reads on as long as it can. */
static void features_are_said_when_used(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        pm_sim *sim = make_sim();
        pm_manifest m;
        bool uncertain;
        struct taken t = {.path = "/m/MANIFEST-0000000001"};
        make_catalogue(&m, i == 2 ? 2 : 1, i == 3 ? 2 : 1, i == 1);
        if (i == 7) m.entry[0].fixed.index = POMAI_INDEX_EXACT;
        if (i == 6) pm_manifest_set_cluster(&m.entry[0], "tenant");
        if (i == 4 || i == 5) m.entry[0].fixed.dtype = (uint8_t)(i == 4 ? POMAI_DTYPE_FLOAT16 : POMAI_DTYPE_INT8);
        assert_int_equal(pm_manifest_install(pm_sim_os(sim), "/m", &m, &uncertain, NULL), POMAI_OK);
        pm_manifest_clear(&m);
        pm_disk_each_file(pm_sim_disk(sim), take, &t);
        pm_manifest_header h;
        memcpy(&h, t.bytes, sizeof h);
        static const uint64_t wanted[] = {0,
                                          PM_FEATURE_SEGMENTS,
                                          PM_FEATURE_SEGMENTS,
                                          PM_FEATURE_EXPIRY,
                                          PM_FEATURE_DTYPE,
                                          PM_FEATURE_DTYPE,
                                          PM_FEATURE_CLUSTER,
                                          PM_FEATURE_INDEX};
        assert_true(h.incompatible == wanted[i]);
        pm_sim_free(sim);
    }
}

/* ---- the copy ---- */

enum copy { COPY_SAME, COPY_OTHER, COPY_OLDER, COPY_FOREIGN, COPY_KINDS };

static pm_sim *write_two(pm_manifest *m, struct taken file[3], enum copy kind)
{
    pm_sim *sim = make_sim();
    const pm_os *os = pm_sim_os(sim);
    bool uncertain;
    assert_int_equal(os->dir_make(os, "/c"), 0);
    make_catalogue(m, 2, 3, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pm_manifest_install(os, "/m", m, &uncertain, NULL), POMAI_OK);
    m->uuid[3] ^= kind == COPY_FOREIGN;
    m->entry[2].segment[1].rows ^= kind == COPY_OTHER;
    assert_int_equal(pm_manifest_write_copy(os, "/c", m, kind == COPY_OLDER ? 1 : 2, NULL), POMAI_OK);
    m->uuid[3] ^= kind == COPY_FOREIGN;
    m->entry[2].segment[1].rows ^= kind == COPY_OTHER;
    file[0] = (struct taken){.path = "/m/MANIFEST-0000000002"};
    file[1] = (struct taken){.path = "/m/CURRENT"};
    file[2] = (struct taken){.path = kind == COPY_OLDER ? "/c/CATALOGUE-0000000001" : "/c/CATALOGUE-0000000002"};
    for (int i = 0; i < 3; i++) {
        pm_disk_each_file(pm_sim_disk(sim), take, &file[i]);
        assert_true(file[i].size > 0);
    }
    return sim;
}

static pomai_status read_any(pm_sim *sim, const pm_manifest *wanted, bool *current)
{
    pm_manifest m;
    pm_text notes = {0};
    pomai_error err;
    pomai_status status = pm_manifest_read_any(pm_sim_os(sim), "/m", "/c", &m, current, &notes, &err);
    if (status == POMAI_OK && *current) assert_same(&m, wanted);
    pm_manifest_clear(&m);
    pm_free(notes.data);
    return status;
}

/* Every bit of the catalogue may be wrong, every length of it too short: the copy says what it said. */
static void the_copy_says_the_same(void **state)
{
    (void)state;
    static struct taken file[3];
    static const uint8_t nothing[1];
    pm_manifest m;
    pm_sim *sim = write_two(&m, file, COPY_SAME);
    pm_disk *disk = pm_sim_disk(sim);
    bool current, there;
    assert_int_equal(pm_manifest_check_copy(pm_sim_os(sim), "/c", &m, &there, NULL), POMAI_OK);
    assert_true(there);
    for (int f = 0; f < 3; f++) {
        struct taken *t = &file[f];
        for (uint64_t bit = 0; bit < 8 * t->size; bit++) {
            t->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(pm_disk_put(disk, t->path, t->bytes, t->size), 0);
            assert_int_equal(read_any(sim, &m, &current), POMAI_OK);
            assert_true(current);
            if (f == 2) assert_int_not_equal(pm_manifest_check_copy(pm_sim_os(sim), "/c", &m, &there, NULL), POMAI_OK);
            t->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (uint64_t size = 0; size < t->size; size++) {
            assert_int_equal(pm_disk_put(disk, t->path, t->bytes, size), 0);
            assert_int_equal(read_any(sim, &m, &current), POMAI_OK);
            assert_true(current);
        }
        assert_int_equal(pm_disk_put(disk, t->path, t->bytes, t->size), 0);
    }
    for (int f = 0; f < 8; f++) { /* which of the three are lost */
        for (int i = 0; i < 3; i++)
            assert_int_equal(pm_disk_put(disk, file[i].path, (f >> i & 1) != 0 ? nothing : file[i].bytes,
                                         (f >> i & 1) != 0 ? 0 : file[i].size),
                             0);
        const bool named = (f & 2) == 0, manifest = (f & 1) == 0, copy = (f & 4) == 0;
        assert_int_equal(read_any(sim, &m, &current), manifest || copy ? POMAI_OK : POMAI_ECORRUPT);
        assert_int_equal(current, (named && (manifest || copy)) || (manifest && copy));
    }
    pm_manifest_clear(&m);
    pm_sim_free(sim);
}

/* An interrupted edit's, with the number of one that another build made then. */
static void a_copy_that_says_something_else_is_found(void **state)
{
    (void)state;
    static struct taken file[3];
    pm_manifest m;
    bool there;
    pm_sim *sim = write_two(&m, file, COPY_OTHER);
    assert_int_equal(pm_manifest_check_copy(pm_sim_os(sim), "/c", &m, &there, NULL), POMAI_ECORRUPT);
    pm_manifest_clear(&m);
    pm_sim_free(sim);
}

/* Nor is one that is older, or of another database, taken for the same. */
static void another_copy_is_not_the_same(void **state)
{
    (void)state;
    static struct taken file[3];
    for (enum copy kind = COPY_OLDER; kind < COPY_KINDS; kind++) {
        pm_manifest m;
        bool current, there;
        pm_sim *sim = write_two(&m, file, kind);
        pm_disk *disk = pm_sim_disk(sim);
        pomai_status status = pm_manifest_check_copy(pm_sim_os(sim), "/c", &m, &there, NULL);
        assert_true(kind == COPY_OLDER ? !there : status == POMAI_EFOREIGN);
        assert_int_equal(read_any(sim, &m, &current), POMAI_OK);
        assert_true(current);
        assert_int_equal(pm_disk_put(disk, file[1].path, file[1].bytes, 1), 0);
        assert_int_equal(read_any(sim, &m, &current), POMAI_OK); /* the manifest, by its own word */
        assert_false(current);
        assert_int_equal(pm_disk_put(disk, file[1].path, file[1].bytes, file[1].size), 0);
        assert_int_equal(pm_disk_put(disk, file[0].path, file[0].bytes, 100), 0);
        assert_int_equal(read_any(sim, &m, &current), POMAI_OK); /* it is all there is */
        assert_false(current);
        pm_manifest_clear(&m);
        pm_sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_catalogue_that_no_reader_takes_is_not_written),
        cmocka_unit_test(what_was_written_reads_back),
        cmocka_unit_test(entries_come_and_go),
        cmocka_unit_test(no_memory_changes_nothing),
        cmocka_unit_test(no_byte_changes_unseen),
        cmocka_unit_test(the_copy_says_the_same),
        cmocka_unit_test(another_copy_is_not_the_same),
        cmocka_unit_test(a_copy_that_says_something_else_is_found),
        cmocka_unit_test(other_formats_and_features),
        cmocka_unit_test(features_are_said_when_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
