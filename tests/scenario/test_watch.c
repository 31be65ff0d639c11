/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recall is watched: queries that are like the rows get what they ask for, and nothing is changed; where queries get
 * less than calibration saw, as those unlike all rows would if walks did not tell of themselves, the statistics say so,
 * and effort is raised until they do not. On the simulated machine, where a minute takes as long as its events.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/engine/engine.h"
#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "query/search_int.h"
#include "support/gen.h"
#include "support/scene_check.h"

enum { DIM = 32, ROWS = 6000, K = 10, SEARCHES = 900 };
#define MS     ((uint64_t)1000 * 1000)
#define ASKED  0.95f
#define FILTER "{\"far\": false}"

struct scene {
    pm_sim *sim;
    pm_db *db;
    pomai_error err;
    bool unlike;    /* queries are not drawn as the rows are */
    bool filtered;  /* nine tenths of the rows match, on one side */
    bool turns;     /* every other search has the filter, and those of another collection come all the time */
    bool hurried;   /* 300 searches in 3 seconds */
    uint64_t share; /* watch_share */
    struct t_rng rng;
    double others, others_raised; /* looked at, of the other kind */
    double samples, looked_at, raised, recall, low, high, asked, promised;
    double first, least; /* expected_recall of the first search, and the least of all */
    char what[500];
};

/* Rows lie near a plane of 14 directions; `unlike` does not. */
static void draw(struct t_rng *r, float *to, uint64_t n, bool unlike)
{
    for (uint64_t i = 0; i < n; i++, to += DIM) {
        float at[14];
        for (int j = 0; j < 14; j++)
            at[j] = t_unit_float(r);
        for (unsigned d = 0; d < DIM; d++)
            to[d] = unlike ? 4 * t_unit_float(r) : at[d % 14] * (float)(1 + d % 5) + 0.1f * t_unit_float(r);
    }
}

/* Of the searches with a filter, or of those without, which come first. */
static double figure(const char *json, const char *name, bool filtered)
{
    char wanted[40];
    const char *at = strstr(json, "\"name\": \"default\"");
    if (at != NULL) at = strstr(at, "\"recall_watch\"");
    if (at != NULL && filtered) at = strstr(at, "\"filtered\"");
    snprintf(wanted, sizeof wanted, "\"%s\": ", name);
    at = at == NULL ? NULL : strstr(at, wanted);
    return at == NULL ? -1 : strtod(at + strlen(wanted), NULL);
}

static bool read_stats(struct scene *s)
{
    char *json;
    if (pomai_stats(s->db, &json, &s->err) != POMAI_OK) return false;
    s->others = figure(json, "looked_at", !s->filtered);
    s->others_raised = figure(json, "raised", !s->filtered);
    s->samples = figure(json, "samples", s->filtered);
    s->looked_at = figure(json, "looked_at", s->filtered);
    s->raised = figure(json, "raised", s->filtered);
    s->recall = figure(json, "recall", s->filtered);
    s->low = figure(json, "low", s->filtered);
    s->high = figure(json, "high", s->filtered);
    s->asked = figure(json, "asked", s->filtered);
    s->promised = figure(json, "promised", s->filtered);
    pomai_free(json);
    return true;
}

static bool search_once(struct scene *s)
{
    float query[DIM];
    pomai_result *result;
    pomai_verdict verdict;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    o.recall = ASKED;
    s->filtered ^= s->turns;
    if (s->filtered) {
        o.filter = FILTER;
        o.filter_size = strlen(FILTER);
    }
    draw(&s->rng, query, 1, s->unlike);
    if (pomai_search(pomai_default(s->db), query, 1, DIM, K, &o, &result, &s->err) != POMAI_OK) return false;
    const bool good = pomai_result_count(result, 0) == K;
    pomai_result_verdict(result, 0, &verdict);
    if (s->first == 0) s->first = s->least = verdict.expected_recall;
    if (verdict.expected_recall < s->least) s->least = verdict.expected_recall;
    pomai_result_free(result);
    return good;
}

/* In a collection that comes before the other, where there is nothing to learn. */
static bool search_few(struct scene *s)
{
    const float query[DIM] = {1};
    pomai_collection *coll;
    pomai_result *result;
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = DIM;
    o.recall = ASKED;
    batch.rows = 1;
    batch.dim = DIM;
    batch.vectors = query;
    const bool made = pm_db_find(s->db, "few") != NULL;
    if ((made ? pomai_collection_open(s->db, "few", &coll, &s->err)
              : pomai_collection_create(s->db, "few", &options, &coll, &s->err)) != POMAI_OK)
        return false;
    bool good = made || pomai_put(coll, &batch, NULL, NULL, &s->err) == POMAI_OK;
    for (int i = 0; i < 2 && good; i++) {
        good = pomai_search(coll, query, 1, DIM, K, &o, &result, &s->err) == POMAI_OK;
        if (good) pomai_result_free(result);
        o.filter = FILTER;
        o.filter_size = strlen(FILTER);
    }
    pomai_collection_close(coll);
    return good;
}

static bool begin(struct scene *s)
{
    static float vectors[ROWS * DIM];
    static pomai_bytes documents[ROWS];
    static const pomai_bytes side[] = {{"{\"far\":false}", 13}, {"{\"far\":true}", 12}};
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 1;
    o.search_threads = UINT32_MAX;
    o.scrub_rate = UINT64_MAX;
    o.watch_share = s->share;
    s->rng = t_rng_from(3);
    draw(&s->rng, vectors, ROWS, false);
    for (int i = 0; i < ROWS; i++)
        documents[i] = side[vectors[i * DIM] > 0.8f];
    batch.rows = ROWS;
    batch.documents = documents;
    batch.dim = DIM;
    batch.vectors = vectors;
    return pm_db_open(pm_sim_os(s->sim), "/db", &o, &s->db, &s->err) == POMAI_OK && (!s->turns || search_few(s)) &&
           pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK &&
           pomai_build_indexes(s->db, NULL, &s->err) == POMAI_OK;
}

static void watch(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin(s) && read_stats(s));
    CHECK(s, s->samples == 0 && s->recall < 0);
    for (int i = 0; i < (s->hurried ? SEARCHES / 3 : SEARCHES); i++) {
        CHECK(s, search_once(s) && (!s->turns || search_few(s)));
        pm_sim_sleep(s->sim, s->turns && i > 10 ? MS / 2 : s->hurried ? 10 * MS : 300 * MS);
    }
    CHECK(s, read_stats(s));
    const pm_coll *coll = pm_db_find(s->db, "default");
    for (pm_watch_kind i = 0; i < PM_WATCH_KINDS; i++) /* what nobody asks for takes no memory */
        CHECK(s, (coll->watch[i].vector != NULL) ==
                     (s->share < UINT64_MAX && (s->turns || s->filtered == (i == PM_WATCH_FILTERED))));
    CHECK(s, pomai_close(s->db, &s->err) == POMAI_OK);
}

static void run_scene(struct scene *s)
{
    s->sim = pm_sim_make(7);
    pm_sim_end end = pm_sim_run(s->sim, watch, s);
    if (end != PM_SIM_DONE || s->what[0] != '\0') fail_msg("ended with %d, %s", (int)end, s->what);
    pm_sim_held held = pm_sim_what_is_held(s->sim);
    assert_int_equal(held.allocations + held.regions + held.descriptors + held.tasks, 0);
    pm_sim_free(s->sim);
    printf("samples %g of %g, asked %g, recall %g (%g to %g), raised %g, expected %g, at least %g\n", s->samples,
           s->looked_at, s->asked, s->recall, s->low, s->high, s->raised, s->first, s->least);
}

static void test_like_the_rows(void **state)
{
    struct scene s = {.share = 1000};
    (void)state;
    run_scene(&s);
    assert_true(s.looked_at > SEARCHES / 4 && s.looked_at <= SEARCHES);
    assert_true(s.samples > 0 && s.samples <= PM_WATCH_SAMPLES);
    assert_true(s.raised == 0 && s.recall >= (double)ASKED);
    assert_true(s.first >= (double)ASKED && s.least >= (double)ASKED);
    assert_true(s.promised >= (double)ASKED && s.promised <= 1);
    assert_true(s.asked > 0.9499 && s.asked < 0.9501);
    assert_true(s.low < s.recall && s.recall <= s.high && s.high <= 1 && s.low > 0.9);
}

/* What walks tell of themselves is not the watch's doing, which is for what they do not tell. */
static void test_unlike_the_rows(void **state)
{
    struct scene s = {.share = 1000, .unlike = true};
    (void)state;
    search_falls_short = true;
    run_scene(&s);
    search_falls_short = false;
    assert_true(s.raised > 0);
    assert_true(s.first >= (double)ASKED && s.least < s.first); /* from when it was seen that it is not so */
    assert_true(s.others_raised == s.raised && s.others == 0);  /* what is in effect */
}

/* What is found is enough: after a few of the first it has time. */
static void test_looks_soon(void **state)
{
    struct scene s = {.share = 10, .hurried = true};
    (void)state;
    run_scene(&s);
    assert_true(s.looked_at >= 16 && s.looked_at < 40 && s.raised == 0);
}

static void test_raises_soon(void **state)
{
    struct scene s = {.share = 10, .unlike = true, .hurried = true};
    (void)state;
    search_falls_short = true;
    run_scene(&s);
    search_falls_short = false;
    assert_true(s.looked_at >= 64 && s.raised > 0);
}

static void test_walks_tell_of_themselves(void **state)
{
    struct scene s = {.share = 1000, .unlike = true};
    (void)state;
    run_scene(&s);
    assert_true(s.raised == 0 && s.recall >= (double)ASKED);
}

static void test_with_a_filter(void **state)
{
    struct scene s = {.share = 1000, .filtered = true};
    (void)state;
    run_scene(&s);
    assert_true(s.others == 0 && s.looked_at > SEARCHES / 4 && s.looked_at <= SEARCHES);
    assert_true(s.raised == 0 && s.recall >= (double)ASKED);
    assert_true(s.first >= (double)ASKED && s.least >= (double)ASKED);
}

/* Without the room that walks among matches have. */
static void test_unlike_the_rows_with_a_filter(void **state)
{
    struct scene s = {.share = 1000, .unlike = true, .filtered = true};
    (void)state;
    search_falls_short = true;
    run_scene(&s);
    search_falls_short = false;
    assert_true(s.others == 0 && s.raised > 0);
    assert_true(s.first >= (double)ASKED && s.least < s.first);
}

static void test_not_at_all(void **state)
{
    struct scene s = {.share = UINT64_MAX, .unlike = true};
    (void)state;
    run_scene(&s);
    assert_true(s.looked_at == 0 && s.raised == 0);
}

static void test_both_have_their_turn(void **state)
{
    struct scene s = {.share = 1000, .turns = true};
    (void)state;
    run_scene(&s);
    assert_true(s.looked_at > 40 && s.others > 40);
}

/* ---- what is learned ---- */

static pm_coll *have_learned(pm_coll *coll, pm_watch_kind kind, int samples, double found)
{
    static pm_watch_samples kept[PM_WATCH_KINDS];
    coll->watch[kind].samples = &kept[kind];
    coll->watch[kind].asked = ASKED;
    for (int i = 0; i < samples; i++)
        pm_watch_note(coll, kind, (double)pm_watch_asks(coll, kind, ASKED), found);
    return coll;
}

static pm_coll *make_coll(void)
{
    pm_coll *coll = calloc(1, sizeof *coll);
    assert_non_null(coll);
    return coll;
}

/* How often what may be missed is halved. */
static unsigned raised(const pm_coll *coll, pm_watch_kind kind)
{
    const double times = (1 - (double)ASKED) / (1 - (double)pm_watch_asks(coll, kind, ASKED));
    unsigned by = 0;
    while (times > 1.5 * (double)(1u << by))
        by++;
    return by;
}

/* What a verdict says is expected. */
static double told(const pm_coll *coll, pm_watch_kind kind)
{
    const double missing = (double)pm_watch_missing(coll, kind);
    return 1 - (missing > 1 ? missing : 1) * (1 - (double)pm_watch_asks(coll, kind, ASKED));
}

static void test_what_is_known(void **state)
{
    pm_coll *coll = make_coll();
    (void)state;
    have_learned(coll, PM_WATCH_ALL, 32, 0.85);
    const double missing = (double)pm_watch_missing(coll, PM_WATCH_ALL);
    assert_true(missing > 2 && missing < 3);
    have_learned(coll, PM_WATCH_FILTERED, 15, 1);
    assert_true((double)pm_watch_missing(coll, PM_WATCH_FILTERED) == missing); /* nothing of their own yet */
    have_learned(coll, PM_WATCH_FILTERED, 1, 1);
    assert_true((double)pm_watch_missing(coll, PM_WATCH_FILTERED) == 1);
    assert_true((double)pm_watch_missing(coll, PM_WATCH_ALL) == missing);
    free(coll);
}

static void test_one_raises_both(void **state)
{
    pm_coll *coll = make_coll();
    pm_watch *filtered = &coll->watch[PM_WATCH_FILTERED];
    (void)state;
    have_learned(coll, PM_WATCH_FILTERED, 40, 0.9);
    have_learned(coll, PM_WATCH_ALL, 64, 0.9);
    assert_int_equal(raised(coll, PM_WATCH_ALL), 1);
    assert_int_equal(raised(coll, PM_WATCH_FILTERED), 1);
    assert_int_equal(filtered->count, 0); /* these had less effort */
    have_learned(coll, PM_WATCH_FILTERED, 64, 0.9);
    assert_int_equal(raised(coll, PM_WATCH_FILTERED), 2); /* above what they had */
    assert_int_equal(raised(coll, PM_WATCH_ALL), 1);
    have_learned(coll, PM_WATCH_FILTERED, PM_WATCH_SAMPLES, 1);
    assert_int_equal(raised(coll, PM_WATCH_FILTERED), 1);
    have_learned(coll, PM_WATCH_FILTERED, 2 * PM_WATCH_SAMPLES, 1); /* not below the others */
    assert_int_equal(raised(coll, PM_WATCH_FILTERED), 1);
    assert_true(filtered->count > PM_WATCH_SAMPLES);
    have_learned(coll, PM_WATCH_ALL, PM_WATCH_SAMPLES, 1);
    assert_int_equal(raised(coll, PM_WATCH_ALL), 0);
    assert_int_equal(raised(coll, PM_WATCH_FILTERED), 1);
    assert_true(filtered->count > PM_WATCH_SAMPLES);
    have_learned(coll, PM_WATCH_ALL, 64, 0.9);
    have_learned(coll, PM_WATCH_ALL, 2 * PM_WATCH_SAMPLES, 1);
    assert_int_equal(raised(coll, PM_WATCH_ALL), 1); /* less was tried */
    free(coll);
}

/* More is promised when it was seen, not when it is hoped for; who misses much is not raised little by little. */
static void test_raised_is_not_found(void **state)
{
    static const double found[] = {0.8, 0.6};
    (void)state;
    for (int i = 0; i < 2; i++)
        for (pm_watch_kind kind = 0; kind < PM_WATCH_KINDS; kind++) {
            pm_coll *coll = make_coll();
            have_learned(coll, kind, 63, found[i]);
            const double before = told(coll, kind);
            assert_true(before < found[i] + 0.03);
            have_learned(coll, kind, 1, found[i]);
            assert_int_equal(raised(coll, kind), 1 + i);
            assert_true(told(coll, PM_WATCH_FILTERED) <= before + 0.001 && told(coll, kind) > before - 0.01);
            have_learned(coll, kind, 15, 1);
            assert_true(told(coll, kind) <= before + 0.001);
            have_learned(coll, kind, 1, 1);
            assert_true(told(coll, kind) >= (double)ASKED);
            have_learned(coll, kind, 1000, 0);
            assert_int_equal(raised(coll, kind), 6);
            assert_true(told(coll, kind) < 0.1);
            free(coll);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_the_rows),
        cmocka_unit_test(test_unlike_the_rows),
        cmocka_unit_test(test_looks_soon),
        cmocka_unit_test(test_raises_soon),
        cmocka_unit_test(test_walks_tell_of_themselves),
        cmocka_unit_test(test_with_a_filter),
        cmocka_unit_test(test_unlike_the_rows_with_a_filter),
        cmocka_unit_test(test_not_at_all),
        cmocka_unit_test(test_both_have_their_turn),
        cmocka_unit_test(test_what_is_known),
        cmocka_unit_test(test_one_raises_both),
        cmocka_unit_test(test_raised_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
