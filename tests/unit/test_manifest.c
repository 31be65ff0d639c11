/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue on a simulated disk: its largest size, and that what is too large changes nothing. */
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
                                            .dtype = PM_DTYPE_F32,
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_catalogue_that_no_reader_takes_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
