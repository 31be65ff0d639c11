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
    uint64_t share; /* watch_share */
    struct t_rng rng;
    double others; /* looked at, of the other kind */
    double samples, looked_at, raised, recall, low, high, asked, promised;
    double first, least; /* expected_recall of the first search, and the least of all */
    char what[500];
};

/* Rows lie near a plane of 4 directions; `unlike` does not. */
static void draw(struct t_rng *r, float *to, uint64_t n, bool unlike)
{
    for (uint64_t i = 0; i < n; i++, to += DIM) {
        float at[4];
        for (int j = 0; j < 4; j++)
            at[j] = t_unit_float(r);
        for (unsigned d = 0; d < DIM; d++)
            to[d] = unlike ? 4 * t_unit_float(r) : at[d % 4] * (float)(1 + d % 5) + 0.1f * t_unit_float(r);
    }
}

/* Of the searches with a filter, or of those without, which come first. */
static double figure(const char *json, const char *name, bool filtered)
{
    char wanted[40];
    const char *at = strstr(json, "\"recall_watch\"");
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
    return pm_db_open(pm_sim_os(s->sim), "/db", &o, &s->db, &s->err) == POMAI_OK &&
           pomai_put(pomai_default(s->db), &batch, NULL, NULL, &s->err) == POMAI_OK &&
           pomai_build_indexes(s->db, NULL, &s->err) == POMAI_OK;
}

static void watch(void *arg)
{
    struct scene *s = arg;
    CHECK(s, begin(s) && read_stats(s));
    CHECK(s, s->samples == 0 && s->recall < 0);
    for (int i = 0; i < SEARCHES; i++) {
        CHECK(s, search_once(s));
        pm_sim_sleep(s->sim, 300 * MS);
    }
    CHECK(s, read_stats(s));
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
    search_without_doubt = true;
    run_scene(&s);
    search_without_doubt = false;
    assert_true(s.raised > 0);
    assert_true(s.first >= (double)ASKED && s.least < s.first); /* from when it was seen that it is not so */
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
    search_without_doubt = true;
    run_scene(&s);
    search_without_doubt = false;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_the_rows),
        cmocka_unit_test(test_unlike_the_rows),
        cmocka_unit_test(test_walks_tell_of_themselves),
        cmocka_unit_test(test_with_a_filter),
        cmocka_unit_test(test_unlike_the_rows_with_a_filter),
        cmocka_unit_test(test_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
