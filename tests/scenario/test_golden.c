/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases of all formats that were ever frozen (tests/golden) are opened, compared and changed by this build; and
 * what this build writes is what the newest of them holds, byte for byte. `golden --write N` makes set N, which must
 * not be there. On the simulated machine, where clock and chance are the test's. docs/format/frozen.md.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "storage/derived/derived.h"
#include "storage/wal/wal.h"
#include "support/golden.h"
#include "support/golden_answers.h"
#include "support/golden_write.h"
#include "support/tmp.h"

enum { LEAST = 100, SETS = 1000, PLACES = 6 };

#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, tear_down)

static void set_path(char path[400], unsigned set, const char *what)
{
    snprintf(path, 400, "%s/tests/golden/%u.%s.txt", POMAI_SOURCE_DIR, set, what);
}

/* NULL: there is no such set. */
static struct golden_files *load_set(unsigned set)
{
    char path[400];
    unsigned wrong;
    set_path(path, set, "files");
    struct golden_files *files = golden_load(path, &wrong);
    if (wrong > 0) fail_msg("%s:%u: not a line of files", path, wrong);
    return files;
}

static unsigned newest_set(void)
{
    unsigned set = 0;
    char path[400];
    for (set_path(path, 1, "files"); access(path, F_OK) == 0; set_path(path, set + 1, "files"))
        set++;
    assert_in_range(set, 1, SETS);
    return set;
}

static void run_in(struct golden *g, pm_sim_fn part)
{
    const pm_sim_end end = pm_sim_run(g->sim, part, g);
    if (end != PM_SIM_DONE || g->what[0] != '\0') fail_msg("ended with %d: %s", (int)end, g->what);
}

static void written(struct golden *g)
{
    golden_make(g);
    const pm_sim_end end = golden_write(g);
    if (end != PM_SIM_DONE || g->what[0] != '\0') fail_msg("ended with %d: %s", (int)end, g->what);
}

static void placed(struct golden *g, const struct golden_files *files)
{
    golden_make(g);
    golden_clock = GOLDEN_READ;
    pm_sim_set_disk(g->sim, golden_disk(files));
}

static void finish(struct golden *g)
{
    const pm_sim_held held = pm_sim_what_is_held(g->sim);
    golden_end();
    assert_int_equal(held.allocations + held.regions + held.descriptors + held.tasks, 0);
}

/* ---- what is written ---- */

static uint32_t kind_of(const struct golden_file *f)
{
    return pm_derived_kind(strrchr(f->path, '/') + 1);
}

static uint32_t version_of(const struct golden_file *f)
{
    pm_derived_header h;
    assert_true(f->size >= sizeof h);
    memcpy(&h, f->bytes, sizeof h);
    return h.version;
}

static bool equal_at(const struct golden_file *a, const struct golden_file *b, uint64_t at)
{
    return at < a->size && at < b->size && a->bytes[at] == b->bytes[at];
}

/* Says where; the first places are checksums, more often than not. */
static bool differs(const struct golden_file *kept, const struct golden_file *now)
{
    const uint64_t size = pm_max_u64(kept->size, now->size);
    unsigned places = 0;
    for (uint64_t at = 0; at < size; at++) {
        const uint64_t begin = at;
        while (at < size && !equal_at(kept, now, at))
            at++;
        if (at == begin || ++places > PLACES) continue;
        if (places == 1)
            print_message("%s, %llu bytes, now %llu, differs", kept->path, (unsigned long long)kept->size,
                          (unsigned long long)now->size);
        print_message("%s offset %llu", places == 1 ? " at" : ",", (unsigned long long)begin);
        if (at - begin > 1) print_message(" to %llu", (unsigned long long)at - 1);
    }
    if (places > 0) print_message("%s\n", places > PLACES ? ", and more" : "");
    return places > 0;
}

/* Sets from before there were copies of the catalogue have none; it has the bytes of the manifest, which they have. */
static bool is_copy(struct golden_files *of, const struct golden_file *f)
{
    if (strncmp(f->path, "/db/shards/CATALOGUE-", strlen("/db/shards/CATALOGUE-")) != 0) return false;
    const struct golden_file *m = golden_find(of, "/db/manifest/MANIFEST-", "");
    assert_int_equal(m->size, f->size);
    assert_memory_equal(m->bytes, f->bytes, f->size);
    return true;
}

/* What of the two sets is not the same, as bits: 1 what is frozen, others kinds of derived files. */
static uint32_t compare_sets(const struct golden_files *kept, struct golden_files *now)
{
    uint32_t changed = 0;
    unsigned k = 0, n = 0;
    while (k < kept->count || n < now->count) {
        const struct golden_file *a = &kept->file[k], *b = &now->file[n];
        const int order = k == kept->count ? 1 : n == now->count ? -1 : strcmp(a->path, b->path);
        k += order <= 0;
        n += order >= 0;
        if (order > 0 && is_copy(now, b)) continue;
        if (order != 0) {
            print_message(order < 0 ? "%s is not written any more\n" : "%s is new\n", order < 0 ? a->path : b->path);
            changed |= 1u << kind_of(order < 0 ? a : b);
        } else if (strcmp(strrchr(a->path, '/'), "/LOCK") != 0) { /* its text is for people */
            const uint32_t kind = kind_of(a);
            if (kind != 0 && version_of(a) != version_of(b))
                print_message("%s: version %u is kept, and %u written\n", a->path, version_of(a), version_of(b));
            else if (differs(a, b))
                changed |= 1u << kind;
        }
    }
    return changed;
}

static void test_the_same_bytes_are_written(void **state)
{
    struct golden g;
    (void)state;
    struct golden_files *kept = load_set(newest_set());
    written(&g);
    struct golden_files *now = golden_of_disk(pm_sim_disk(g.sim));
    finish(&g);
    const uint32_t changed = compare_sets(kept, now);
    golden_free(kept);
    golden_free(now);
    if ((changed & 1) != 0)
        fail_msg("this build does not write what the newest golden set holds. If it was not meant, take it back. If it "
                 "was, docs/format/frozen.md says what goes with it; then make a new set beside this one, never in "
                 "place of it: tests/golden/README.md");
    if (changed != 0)
        fail_msg(
            "derived files changed, and their version did not. If it was not meant, take it back. If it was, a new "
            "version of the kind is all it needs: old files are built again");
}

/* ---- that it has everything ---- */

struct seen {
    uint64_t features;
    uint32_t ops, record_flags, segment_flags, dtypes, id_kinds, metrics, derived, parts, torn, live, utf8_ids,
        utf8_documents;
};

static void see_manifest(struct seen *s, const struct golden_file *f)
{
    pm_manifest_header h;
    memcpy(&h, f->bytes, sizeof h);
    s->features |= h.incompatible;
    uint64_t at = sizeof h + h.shards * sizeof(pm_manifest_shard);
    for (uint32_t i = 0; i < h.collections; i++) {
        pm_manifest_collection c;
        memcpy(&c, f->bytes + at, sizeof c);
        s->metrics |= 1u << c.metric;
        s->dtypes |= 1u << c.dtype;
        s->id_kinds |= 1u << c.id_kind;
        at += sizeof c + pm_align_up(c.name_len, 8) + pm_align_up(c.cluster_len, 8) + 8 * h.shards +
              c.segments * sizeof(pm_manifest_segment);
    }
    assert_int_equal(at, f->size);
}

static void see_log(struct seen *s, const struct golden_file *f)
{
    pm_rec_header h;
    uint64_t at = PM_WAL_HEADER, end;
    (void)golden_last_record(f, &end);
    for (; at < end; at += sizeof h + h.payload_len) {
        memcpy(&h, f->bytes + at, sizeof h);
        s->ops |= 1u << h.op;
        s->record_flags |= h.flags;
        s->parts |= h.op == PM_OP_PUT && h.parts > 1;
    }
    s->torn |= golden_zeros(f, end) < f->size - end;
}

static void see_segment(struct seen *s, const struct golden_file *f)
{
    pm_segment_header h;
    memcpy(&h, f->bytes, sizeof h);
    s->segment_flags |= h.flags;
    s->utf8_ids |= h.id_kind == POMAI_ID_STRING && (h.flags & PM_SEGMENT_RAW_IDS) == 0;
    s->utf8_documents |= (h.flags & PM_SEGMENT_DOCUMENTS) != 0 && (h.flags & PM_SEGMENT_RAW_DOCUMENTS) == 0;
}

/* What the format knows and the newest set has not would be frozen, and never looked at. */
static void test_the_set_has_everything(void **state)
{
    struct seen s = {0};
    (void)state;
    struct golden_files *files = load_set(newest_set());
    for (unsigned i = 0; i < files->count; i++) {
        const struct golden_file *f = &files->file[i];
        const char *name = strrchr(f->path, '/') + 1;
        if (strncmp(name, "MANIFEST-", 9) == 0) see_manifest(&s, f);
        if (strcmp(name + strlen(name) - 4, ".wal") == 0) see_log(&s, f);
        if (strcmp(name, "SEGMENT") == 0) see_segment(&s, f);
        s.derived |= 1u << kind_of(f);
        s.live |= strncmp(name, "live-", 5) == 0;
    }
    assert_true(s.features == PM_FEATURES_KNOWN);
    assert_int_equal(s.ops, 1u << PM_OP_PUT | 1u << PM_OP_DELETE | 1u << PM_OP_ABORT);
    assert_int_equal(s.record_flags, PM_REC_FLAGS_KNOWN);
    assert_int_equal(s.segment_flags, PM_SEGMENT_FLAGS_KNOWN);
    for (uint32_t dtype = 0; dtype < 32; dtype++) /* those that there are, and no others */
        assert_int_equal(s.dtypes >> dtype & 1, pm_dtype_known((uint8_t)dtype));
    assert_int_equal(s.id_kinds, 1u << POMAI_ID_U64 | 1u << POMAI_ID_STRING);
    assert_int_equal(s.metrics, 1u << POMAI_METRIC_L2 | 1u << POMAI_METRIC_IP | 1u << POMAI_METRIC_COSINE);
    assert_int_equal(s.derived, (1u << PM_DERIVED_KINDS) - 1);
    assert_true(s.parts && s.torn && s.live && s.utf8_ids && s.utf8_documents);
    golden_free(files);
}

/* ---- what is answered ---- */

static void close_it(struct golden *g)
{
    CHECK(g, pomai_close(g->db, &g->err) == POMAI_OK);
    g->db = NULL;
}

static void answer_opened(void *arg)
{
    struct golden *g = arg;
    CHECK(g, golden_open(g, g->flags));
    golden_answer(g);
    close_it(g);
}

/* The answers of a database that is opened with these flags; free. */
static char *answers_of(struct golden *g, uint32_t flags)
{
    char *text = NULL;
    size_t size;
    g->answers = open_memstream(&text, &size);
    g->flags = flags;
    run_in(g, answer_opened);
    fclose(g->answers);
    return text;
}

static void compare_answers(const char *when, unsigned set, char *now)
{
    char path[400];
    static char line[2000];
    unsigned n = 0;
    set_path(path, set, "answers");
    FILE *kept = fopen(path, "r");
    if (kept == NULL) fail_msg("%s cannot be read", path);
    const char *at = now;
    while (fgets(line, sizeof line, kept) != NULL) {
        n++;
        if (line[0] == '#') continue;
        const size_t size = strlen(line);
        if (strncmp(line, at, size) != 0)
            fail_msg("%s:%u: %s it is not so:\n%sbut\n%.*s", path, n, when, line, (int)strcspn(at, "\n"), at);
        at += size;
    }
    if (*at != '\0') fail_msg("%s: %s there is more: %s", path, when, at);
    fclose(kept);
    free(now);
}

static void verify_it(void *arg)
{
    struct golden *g = arg;
    char *json = NULL;
    CHECK(g, pm_inspect_verify(pm_sim_os(g->sim), "/db", NULL, NULL, &json, &g->err) == POMAI_OK);
    CHECK(g, strstr(json, "\"problems\": []") != NULL);
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) {
        char none[40];
        snprintf(none, sizeof none, "\"%s_damaged\": 0", pm_derived_name(kind));
        CHECK(g, !g->built || strstr(json, none) != NULL);
    }
    pomai_free(json);
}

/* A figure of the statistics, name with %s for the kind; of all collections together. */
static uint64_t stat_of(struct golden *g, const char *before, uint32_t kind, const char *after)
{
    char *json, wanted[80];
    uint64_t sum = 0;
    if (pomai_stats(g->db, &json, &g->err) != POMAI_OK) return UINT64_MAX;
    snprintf(wanted, sizeof wanted, "\"%s%s%s\": ", before, pm_derived_name(kind), after);
    for (const char *at = json; (at = strstr(at, wanted)) != NULL; at += strlen(wanted))
        sum += strtoull(at + strlen(wanted), NULL, 10);
    pomai_free(json);
    return sum;
}

/* `way`: how the segment's rows are to be found, as the plan names it. */
static void search_by(struct golden *g, const char *way, float recall, const char *filter)
{
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    pomai_collection *coll;
    unsigned same = 0;
    o.include = POMAI_INCLUDE_PLAN;
    o.filter = filter;
    o.filter_size = filter == NULL ? 0 : strlen(filter);
    CHECK(g, pomai_collection_open(g->db, "indexed", &coll, &g->err) == POMAI_OK);
    for (uint32_t q = 0; q < A_QUERIES; q++) {
        float query[A_DIM];
        pomai_result *by, *exact;
        golden_query(query, q, W_DIM);
        o.recall = 0;
        CHECK(g, pomai_search(coll, query, 1, W_DIM, A_K, &o, &exact, &g->err) == POMAI_OK);
        o.recall = recall;
        CHECK(g, pomai_search(coll, query, 1, W_DIM, A_K, &o, &by, &g->err) == POMAI_OK);
        CHECK(g, pomai_result_count(by, 0) == A_K && pomai_result_count(exact, 0) == A_K);
        if (strstr(pomai_result_plan(by), way) == NULL) {
            snprintf(g->what, sizeof g->what, "no %s in the plan %.400s", way, pomai_result_plan(by));
            return;
        }
        for (size_t i = 0; i < A_K * A_K; i++)
            same += pomai_result_ids(by, 0)[i / A_K] == pomai_result_ids(exact, 0)[i % A_K];
        pomai_result_free(by);
        pomai_result_free(exact);
    }
    CHECK(g, same >= A_QUERIES * A_K * 3 / 4);
    pomai_collection_close(coll);
}

#define COLUMN_FILTER "{\"n\": {\"$lt\": 60}}"

/* With the indexes that were found, and no others. */
static void search_by_indexes(void *arg)
{
    struct golden *g = arg;
    CHECK(g, golden_open(g, g->flags));
    if (g->built) {
        for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
            CHECK(g, stat_of(g, "segments_with_", kind, "") == 1);
        search_by(g, "\"way\": \"graph\"", 0.8f, NULL);
        search_by(g, "\"judged_by\": \"columns\"", 0, COLUMN_FILTER);
    }
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS && (g->flags & POMAI_OPEN_READONLY) == 0; kind++) {
        CHECK(g, pomai_build_indexes(g->db, NULL, &g->err) == POMAI_OK);
        CHECK(g, !g->built || stat_of(g, "", kind, "_builds") == 0);
        CHECK(g, stat_of(g, "segments_with_", kind, "") == 1);
    }
    close_it(g);
}

static void search_by_codes(void *arg)
{
    struct golden *g = arg;
    CHECK(g, golden_open(g, POMAI_OPEN_READONLY));
    CHECK(g, stat_of(g, "segments_with_", PM_DERIVED_GRAPH, "") == 0);
    search_by(g, "\"way\": \"codes\"", 0.8f, NULL);
    close_it(g);
}

/* Whether derived files of the set are of the versions that this build writes. */
static bool are_of_this_build(struct golden_files *files)
{
    struct golden g;
    bool same = true;
    written(&g);
    struct golden_files *now = golden_of_disk(pm_sim_disk(g.sim));
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) {
        char end[40];
        snprintf(end, sizeof end, "/%s", pm_derived_name(kind));
        const struct golden_file *a = golden_find(files, "/db/", end), *b = golden_find(now, "/db/", end);
        assert_non_null(a);
        assert_non_null(b);
        same = same && version_of(a) == version_of(b);
    }
    golden_free(now);
    finish(&g);
    return same;
}

static void report_tail(void *arg)
{
    struct golden *g = arg;
    pomai_open_report report;
    CHECK(g, golden_open(g, POMAI_OPEN_READONLY));
    pomai_get_open_report(g->db, &report);
    CHECK(g, report.torn_tails == 1 && report.torn_bytes == 150 && report.records > 10);
    close_it(g);
}

static void test_read_only(void **state)
{
    (void)state;
    for (unsigned set = 1; set <= newest_set(); set++) {
        struct golden g;
        struct golden_files *files = load_set(set);
        const bool built = are_of_this_build(files);
        placed(&g, files);
        g.built = built;
        const uint64_t before = pm_disk_digest(pm_sim_disk(g.sim));
        run_in(&g, verify_it);
        run_in(&g, report_tail);
        compare_answers("opened read-only,", set, answers_of(&g, POMAI_OPEN_READONLY));
        run_in(&g, search_by_indexes);
        assert_true(pm_disk_digest(pm_sim_disk(g.sim)) == before);
        if (built) {
            const struct golden_file *graph = golden_find(files, "/db/", "/graph");
            assert_int_equal(pm_disk_put(pm_sim_disk(g.sim), graph->path, NULL, 0), 0);
            run_in(&g, search_by_codes);
        }
        finish(&g);
        golden_free(files);
    }
}

static void compact_it(void *arg)
{
    struct golden *g = arg;
    uint64_t before[2] = {1, 0}, after[2] = {2, 0};
    CHECK(g, golden_open(g, 0));
    golden_digest(g, before);
    CHECK(g, pomai_compact(g->db, NULL, &g->err) == POMAI_OK);
    golden_digest(g, after);
    CHECK(g, before[0] == after[0] && before[1] == after[1]);
    close_it(g);
}

static void write_more(void *arg)
{
    struct golden *g = arg;
    uint64_t before[2] = {0, 0}, after[2] = {0, 0};
    CHECK(g, golden_open(g, 0));
    golden_digest(g, before);
    CHECK(g, golden_put_rows(g, "texts", 40, 1, 3, 0, W_RAW) && golden_delete_row(g, "texts", 41));
    golden_digest(g, after);
    CHECK(g, before[0] != after[0] || before[1] != after[1]);
    close_it(g);
}

static void test_for_writing(void **state)
{
    (void)state;
    for (unsigned set = 1; set <= newest_set(); set++) {
        struct golden g;
        struct golden_files *files = load_set(set);
        const bool built = are_of_this_build(files);
        placed(&g, files);
        g.built = built;
        compare_answers("opened for writing,", set, answers_of(&g, POMAI_OPEN_NO_FLUSH_AT_CLOSE));
        compare_answers("opened once more,", set, answers_of(&g, POMAI_OPEN_NO_FLUSH_AT_CLOSE));
        run_in(&g, search_by_indexes);
        run_in(&g, verify_it);
        compare_answers("flushed,", set, answers_of(&g, 0));
        run_in(&g, compact_it);
        run_in(&g, verify_it);
        compare_answers("compacted,", set, answers_of(&g, 0));
        run_in(&g, write_more);
        run_in(&g, verify_it);
        finish(&g);
        golden_free(files);
    }
}

/* ---- what comes from the future ---- */

static void mend(struct golden_file *f, uint64_t at, uint64_t end)
{
    const uint32_t crc = pm_crc32c(0, f->bytes + at + 12, end - at - 12);
    memcpy(f->bytes + at + 8, &crc, 4);
}

/* A file that the manifest names by its checksum changed. */
static void mend_manifest(struct golden_files *files, uint32_t crc_before, uint32_t crc)
{
    struct golden_file *m = golden_find(files, "/db/manifest/MANIFEST-", "");
    unsigned places = 0;
    for (uint64_t at = 128; at + 4 <= m->size; at += 4) {
        if (memcmp(m->bytes + at, &crc_before, 4) != 0) continue;
        memcpy(m->bytes + at, &crc, 4);
        places++;
    }
    assert_int_equal(places, 1);
    mend(m, 0, m->size);
}

static void add_one(struct golden_file *f, uint64_t at, uint32_t more)
{
    uint32_t was;
    memcpy(&was, f->bytes + at, 4);
    was += more;
    memcpy(f->bytes + at, &was, 4);
}

enum future { F_CURRENT, F_MANIFEST, F_FEATURE, F_LOG, F_RECORD, F_MARK, F_SEGMENT, F_LIVE, FUTURES };

static const struct {
    const char *begin, *end, *says;
} futures[FUTURES] = {
    [F_CURRENT] = {"/db/manifest/CURRENT", "", "has format 3, this build reads 2; use a newer PomaiDB"},
    [F_MANIFEST] = {"/db/manifest/MANIFEST-", "", "has format 3, this build reads 2; use a newer PomaiDB"},
    [F_FEATURE] = {"/db/manifest/MANIFEST-", "", "features that this build does not know"},
    [F_LOG] = {"/db/shards/1/1/wal/", ".wal", "has format 3, this build reads 2; use a newer PomaiDB"},
    [F_RECORD] = {"/db/shards/1/1/wal/", ".wal", "a record of version 2, this build reads 1; use a newer PomaiDB"},
    [F_MARK] = {"/db/shards/1/0/wal/WATERMARK", "", "has format 3, this build reads 2; use a newer PomaiDB"},
    [F_SEGMENT] = {"/db/collections/2/", "/SEGMENT", "has format 3, this build reads 2; use a newer PomaiDB"},
    [F_LIVE] = {"/db/collections/2/", "/live-1", "has format 3, this build reads 2; use a newer PomaiDB"},
};

static void make_future(struct golden_files *files, enum future what)
{
    struct golden_file *f = golden_find(files, futures[what].begin, futures[what].end);
    assert_non_null(f);
    const uint32_t before = pm_crc32c(0, f->bytes, f->size);
    if (what == F_FEATURE) {
        f->bytes[offsetof(pm_manifest_header, incompatible) + 2] |= 1;
        mend(f, 0, f->size);
    } else if (what == F_RECORD) {
        uint64_t end, salt;
        const uint64_t at = golden_last_record(f, &end);
        memcpy(&salt, f->bytes + offsetof(pm_wal_header, salt), 8);
        f->bytes[at + offsetof(pm_rec_header, version)]++;
        const uint32_t crc = pm_crc32c(pm_wal_seed(salt), f->bytes + at + 4, PM_REC_HEADER - 4);
        memcpy(f->bytes + at, &crc, 4);
    } else {
        const uint64_t whole = what == F_LOG ? PM_WAL_HEADER : what == F_MARK ? PM_MARK_SLOT : f->size;
        add_one(f, 12, 1);
        mend(f, 0, whole);
        if (what == F_MARK) {
            add_one(f, PM_MARK_SLOT + 12, 1);
            mend(f, PM_MARK_SLOT, 2 * PM_MARK_SLOT);
        }
        if (what == F_SEGMENT || what == F_LIVE) mend_manifest(files, before, pm_crc32c(0, f->bytes, f->size));
    }
}

struct refusal {
    struct golden g; /* first */
    const char *says;
};

static void must_refuse(void *arg)
{
    struct refusal *r = arg;
    struct golden *g = &r->g;
    static const uint32_t flags[] = {0, POMAI_OPEN_READONLY, POMAI_OPEN_READONLY | POMAI_OPEN_ACCEPT_DAMAGE};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        CHECK(g, !golden_open(g, flags[i]));
        CHECK(g, g->err.status == POMAI_EFORMAT && strstr(g->err.message, r->says) != NULL);
    }
    CHECK(g, pm_inspect_verify(pm_sim_os(g->sim), "/db", NULL, NULL, NULL, &g->err) == POMAI_EFORMAT);
}

/* What is not understood is not copied, and nobody is told that all was. */
static void must_not_call_it_whole(void *arg)
{
    struct golden *g = arg;
    char *json = NULL;
    bool whole = false;
    const pomai_status status = pm_salvage(pm_sim_os(g->sim), "/db", "/out", NULL, NULL, &json, &whole, &g->err);
    CHECK(g, status == POMAI_EFORMAT || (status == POMAI_OK && !whole));
    pomai_free(json);
}

static void test_formats_of_the_future_are_refused(void **state)
{
    (void)state;
    for (unsigned what = 0; what < FUTURES; what++) {
        struct refusal r;
        struct golden_files *files = load_set(newest_set());
        make_future(files, (enum future)what);
        placed(&r.g, files);
        r.says = futures[what].says;
        const uint64_t before = pm_disk_digest(pm_sim_disk(r.g.sim));
        const pm_sim_end end = pm_sim_run(r.g.sim, must_refuse, &r);
        if (end != PM_SIM_DONE || r.g.what[0] != '\0') fail_msg("future %u: %d, %s", what, (int)end, r.g.what);
        assert_true(pm_disk_digest(pm_sim_disk(r.g.sim)) == before); /* nothing is touched */
        run_in(&r.g, must_not_call_it_whole);
        finish(&r.g);
        golden_free(files);
    }
}

static uint32_t future_kind;

static void must_do_without(void *arg)
{
    struct golden *g = arg;
    CHECK(g, golden_open(g, POMAI_OPEN_READONLY));
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
        CHECK(g, stat_of(g, "segments_with_", kind, "") == (kind != future_kind));
    close_it(g);
    CHECK(g, golden_open(g, POMAI_OPEN_NO_FLUSH_AT_CLOSE) && pomai_build_indexes(g->db, NULL, &g->err) == POMAI_OK);
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) {
        CHECK(g, stat_of(g, "", kind, "_builds") == (kind == future_kind));
        CHECK(g, stat_of(g, "segments_with_", kind, "") == 1);
    }
    close_it(g);
}

/* A later format, or a later version of the kind; the file is built again, as it was. */
static void test_indexes_of_the_future_are_built_again(void **state)
{
    const uint64_t fields[] = {offsetof(pm_derived_header, format), offsetof(pm_derived_header, version)};
    (void)state;
    for (unsigned n = 0; n < 2 * (PM_DERIVED_KINDS - 1); n++) {
        struct golden g;
        pm_derived_header h;
        char end[40];
        written(&g);
        struct golden_files *files = golden_of_disk(pm_sim_disk(g.sim));
        finish(&g);
        future_kind = 1 + n / 2;
        snprintf(end, sizeof end, "/%s", pm_derived_name(future_kind));
        struct golden_file *f = golden_find(files, "/db/", end);
        assert_non_null(f);
        memcpy(&h, f->bytes, sizeof h);
        add_one(f, fields[n % 2], 1);
        mend(f, 0, h.header_length);
        placed(&g, files);
        compare_answers("with an index of the future", newest_set(), answers_of(&g, POMAI_OPEN_READONLY));
        run_in(&g, must_do_without);
        struct golden_files *again = golden_of_disk(pm_sim_disk(g.sim));
        const struct golden_file *b = golden_find(again, f->path, "");
        add_one(f, fields[n % 2], UINT32_MAX); /* minus one */
        mend(f, 0, h.header_length);
        assert_true(b != NULL && b->size == f->size && memcmp(b->bytes, f->bytes, f->size) == 0);
        finish(&g);
        golden_free(again);
        golden_free(files);
    }
}

/* ---- a new set ---- */

static FILE *new_file(unsigned set, const char *what, const char *about)
{
    char path[400];
    set_path(path, set, what);
    FILE *to = fopen(path, "wx");
    if (to == NULL) t_die("make", path);
    fprintf(to, "# SPDX-License-Identifier: Apache-2.0\n# Never to be changed: README.md. Format %u: %s\n", PM_FORMAT,
            about);
    return to;
}

static int write_set(unsigned set)
{
    struct golden g;
    if (set == 0 || set > SETS) return 2;
    written(&g);
    struct golden_files *files = golden_of_disk(pm_sim_disk(g.sim));
    FILE *to = new_file(set, "files", "the files, as bytes that are not zero");
    for (unsigned i = 0; i < files->count; i++)
        golden_print(to, &files->file[i]);
    fclose(to);
    finish(&g);
    placed(&g, files);
    char *text = answers_of(&g, POMAI_OPEN_READONLY);
    to = new_file(set, "answers", "what is to be answered, vectors as the bits of float32");
    fputs(text, to);
    fclose(to);
    free(text);
    golden_free(files);
    finish(&g);
    return 0;
}

/* A test that failed left its machine. */
static int tear_down(void **state)
{
    (void)state;
    golden_end();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_same_bytes_are_written),
        TEST(test_the_set_has_everything),
        TEST(test_read_only),
        TEST(test_for_writing),
        TEST(test_formats_of_the_future_are_refused),
        TEST(test_indexes_of_the_future_are_built_again),
    };
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
        pm_derive_least_rows[kind] = LEAST;
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return write_set((unsigned)strtoul(argv[2], NULL, 10));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
