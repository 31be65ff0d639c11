/* SPDX-License-Identifier: Apache-2.0 */
/* What the scenario tests share: a directory of their own, and the calls that every one of them makes. Needs cmocka. */
#ifndef T_SCENARIO_H
#define T_SCENARIO_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/point.h"
#include "gen.h"
#include "os/os.h"
#include "pomai/pomai.h"
#include "tmp.h"

/* A temporary directory; the database goes into <dir>/db. */
struct box {
    char dir[T_PATH_MAX];
    char db[T_PATH_MAX];
};

/* What a database draws at random is drawn from this here, so that its graphs are the same each time. */
static uint64_t box_seed = 1;
static _Atomic uint64_t box_drawn;

static inline int box_random(void *to, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        struct t_rng rng = t_rng_from(box_seed * 1000003 + atomic_fetch_add(&box_drawn, 1));
        ((uint8_t *)to)[i] = (uint8_t)t_below(&rng, 256);
    }
    return 0;
}

#define BOXED(test) cmocka_unit_test_setup_teardown(test, box_make, box_remove)

static inline int box_make(void **state)
{
    struct box *box = calloc(1, sizeof *box);
    const char *dir = getenv("TMPDIR");
    if (box == NULL) return -1;
    t_tmp_make(box->dir, dir != NULL && dir[0] != '\0' ? dir : "/tmp", "scenario");
    t_join(box->db, box->dir, "db");
    box_drawn = 0;
    pm_random_instead = box_random;
    *state = box;
    return 0;
}

static inline int box_remove(void **state)
{
    struct box *box = *state;
    t_remove(box->dir);
    free(box);
    return 0;
}

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        pomai_status got_ = (call);                                                                                    \
        if (got_ != POMAI_OK) fail_msg("%s: %s: %s", #call, pomai_status_name(got_), err.message);                     \
    } while (0)

/* The call must give this status, and a sentence that contains `needle` (unless NULL). */
#define assert_refused(call, wanted, needle)                                                                           \
    do {                                                                                                               \
        memset(&err, 0, sizeof err);                                                                                   \
        refused_as((call), (wanted), &err, (needle), #call, __LINE__);                                                 \
    } while (0)

static inline void refused_as(pomai_status got, pomai_status wanted, const pomai_error *err, const char *needle,
                              const char *call, int line)
{
    if (got != wanted)
        fail_msg("line %d: %s gave %s, should give %s (%s)", line, call, pomai_status_name(got),
                 pomai_status_name(wanted), err->message);
    if (err->status != wanted) fail_msg("line %d: %s left err.status %d", line, call, err->status);
    if (memchr(err->message, 0, sizeof err->message) == NULL || strlen(err->message) < 10)
        fail_msg("line %d: %s left no sentence", line, call);
    if (needle != NULL && strstr(err->message, needle) == NULL)
        fail_msg("line %d: %s: \"%s\" does not say \"%s\"", line, call, err->message, needle);
}

static inline pomai_db *open_db(const struct box *box, const pomai_open_options *options)
{
    pomai_error err;
    pomai_db *db;
    assert_ok(pomai_open(box->db, options, &db, &err));
    assert_non_null(db);
    return db;
}

static inline void close_db(pomai_db *db)
{
    pomai_error err;
    assert_ok(pomai_close(db, &err));
}

static inline pomai_collection *create(pomai_db *db, const char *name, uint64_t dim, pomai_metric metric,
                                       pomai_id_kind kind)
{
    pomai_error err;
    pomai_collection *collection;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = dim;
    options.metric = metric;
    options.id_kind = kind;
    assert_ok(pomai_collection_create(db, name, &options, &collection, &err));
    return collection;
}

/* Rows whose vectors say their ids (gen.h); dim at least 1. */
static inline void scenario_vectors(float *vectors, uint64_t first_id, uint64_t rows, uint64_t dim)
{
    for (uint64_t i = 0; i < rows; i++) {
        struct t_rng rng = t_rng_from(first_id + i);
        for (uint64_t d = 0; d < dim; d++)
            vectors[i * dim + d] = t_unit_float(&rng) + 2.0f;
    }
}

static inline pomai_status try_put_batch(pomai_collection *collection, const uint64_t *ids, uint64_t first_id,
                                         uint64_t rows, uint64_t dim, pomai_ack *ack, pomai_error *err)
{
    float *vectors = calloc(rows * dim, sizeof *vectors);
    scenario_vectors(vectors, first_id, rows, dim);
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = rows;
    batch.dim = dim;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    pomai_status status = pomai_put(collection, &batch, NULL, ack, err);
    free(vectors);
    return status;
}

/* Puts rows with the ids first_id, first_id + 1, ... */
static inline pomai_status try_put(pomai_collection *collection, uint64_t first_id, uint64_t rows, uint64_t dim,
                                   pomai_error *err)
{
    uint64_t *ids = calloc(rows, sizeof *ids);
    for (uint64_t i = 0; i < rows; i++)
        ids[i] = first_id + i;
    pomai_status status = try_put_batch(collection, ids, first_id, rows, dim, NULL, err);
    free(ids);
    return status;
}

static inline void put_rows(pomai_collection *collection, uint64_t first_id, uint64_t rows, uint64_t dim)
{
    pomai_error err;
    assert_ok(try_put(collection, first_id, rows, dim, &err));
}

static inline pomai_status try_put_assigned(pomai_collection *collection, uint64_t rows, uint64_t dim, pomai_ack *ack,
                                            pomai_error *err)
{
    return try_put_batch(collection, NULL, 77, rows, dim, ack, err);
}

static inline uint64_t count_rows(pomai_collection *collection)
{
    pomai_error err;
    pomai_collection_info info;
    assert_ok(pomai_collection_get_info(collection, &info, &err));
    return info.rows;
}

#endif
