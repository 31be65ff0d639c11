/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes of segments: they are there after a build and after reopening, and whatever happens to their files, a search
 * finds what its recall says, shows no row that is not to be seen, and never fewer than k.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/derived.h"

/* ---- tests ---- */

static void a_recall_is_a_share(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_result *result;
    pomai_verdict v;
    pomai_db *db = with_file(box, POMAI_METRIC_L2);
    pomai_collection *coll = have(db, "a");
    static const float bad[] = {-0.1f, 1.0001f, 1e30f, -INFINITY, INFINITY, NAN};
    pomai_search_options o = POMAI_SEARCH_OPTIONS_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        o.recall = bad[i];
        assert_refused(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err), POMAI_EINVAL, "recall");
    }
    static const float exact[] = {0, -0.0f, 1};
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
        pomai_result *r = search(coll, queries, 1, K, exact[i], NULL);
        pomai_result_verdict(r, 0, &v);
        assert_int_equal(v.completeness, POMAI_EXACT);
        assert_int_equal(v.rows_scanned, ROWS);
        pomai_result_free(r);
    }
    o = (pomai_search_options)POMAI_SEARCH_OPTIONS_INIT; /* a deadline that has passed */
    o.recall = RECALL;
    o.deadline_us = 0;
    assert_ok(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err));
    pomai_result_verdict(result, 0, &v);
    assert_int_equal(v.completeness, POMAI_CUT);
    pomai_result_free(result);
    const int cancelled = 1;
    o.deadline_us = UINT64_MAX;
    o.cancel = &cancelled;
    assert_ok(pomai_search(coll, queries, 1, DIM, K, &o, &result, &err));
    pomai_result_verdict(result, 0, &v);
    assert_int_equal(v.completeness, POMAI_CUT);
    pomai_result_free(result);
    pomai_collection_close(coll);
    close_db(db);
}

/* Batches, and a mixture of segments with codes and without. */
static void many_queries_and_many_segments(void **state)
{
    const struct box *box = *state;
    pomai_db *db = with_file(box, POMAI_METRIC_COSINE);
    pomai_collection *coll = have(db, "a");
    put(coll, ROWS, ROWS / 2, NULL);
    pomai_error err;
    assert_ok(pomai_flush(db, &err)); /* too small for codes */
    put(coll, ROWS + ROWS / 2, 100, NULL);
    assert_ok(pomai_build_indexes(db, NULL, &err));
    assert_int_equal(stat_of(db, "segments_with_%s"), 1);
    check_groups(coll);
    pomai_collection_close(coll);
    close_db(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(answers_are_as_good_as_asked),
        BOXED(a_recall_is_a_share),
        BOXED(files_are_mapped_not_built_again),
        BOXED(forged_headers_are_passed_over),
        BOXED(flipped_bytes_are_found_when_they_are_used),
        BOXED(files_of_another_segment_are_passed_over),
        BOXED(rows_that_went_are_not_shown),
        BOXED(many_queries_and_many_segments),
        BOXED(building_can_be_waited_for_or_not),
        BOXED(leftovers_of_a_build_go),
    };
    build_only(PM_DERIVED_CODES, PM_CODES_LEAST_ROWS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
