/* SPDX-License-Identifier: Apache-2.0 */
/* A small database on a simulated disk, of which a fuzz target replaces one file. */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/engine.h"
#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "storage/format.h"
#include "storage/wal/wal.h"

enum { CRC_FROM = 12 }; /* of every header but a record's: magic and checksum come first */

#define WAL_PATH  "/db/shards/1/0/wal/0000000001.wal"
#define MARK_PATH "/db/shards/1/0/wal/WATERMARK"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static inline void run(pm_sim *sim, pm_sim_fn main, void *arg)
{
    must(pm_sim_run(sim, main, arg) == PM_SIM_DONE, "it does not end");
}

static inline void nothing_held(pm_sim *sim)
{
    pm_sim_held held = pm_sim_what_is_held(sim);
    must(held.allocations + held.regions + held.descriptors + held.tasks == 0, "something is held after the close");
}

static inline pomai_status open_it(pm_sim *sim, uint32_t flags, pm_db **db, pomai_error *err)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 1;
    options.wal_file_bytes = 64 << 10;
    options.mailbox_slots = 4;
    options.flags = flags;
    pomai_status status = pm_db_open(pm_sim_os(sim), "/db", &options, db, err);
    must(status != POMAI_EINTERNAL, "a broken invariant");
    must(status == POMAI_OK || (err->status == status && strlen(err->message) > 10), "a refusal without a sentence");
    return status;
}

/* One shard; `a`: u64 ids, 4 dimensions, L2; `s`: string ids, 3 dimensions, cosine; `gone`: dropped. No row yet, so any
 * log fits. */
static inline void make_template(void *arg)
{
    pm_sim *sim = arg;
    pm_db *db;
    pomai_error err;
    must(open_it(sim, 0, &db, &err) == POMAI_OK, "open");
    static const char *const names[] = {"a", "s", "gone"};
    for (int i = 0; i < 3; i++) {
        pomai_collection *coll;
        pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
        options.dim = i == 1 ? 3 : 4;
        options.metric = i == 1 ? POMAI_METRIC_COSINE : POMAI_METRIC_L2;
        options.id_kind = i == 1 ? POMAI_ID_STRING : POMAI_ID_U64;
        must(pomai_collection_create(db, names[i], &options, &coll, &err) == POMAI_OK, "create");
        pomai_collection_close(coll);
    }
    must(pomai_collection_drop(db, "gone", &err) == POMAI_OK, "drop");
    must(pomai_close(db, &err) == POMAI_OK, "close");
}

/* The same bytes in every run: uuid and salts follow from the seed. */
static inline pm_disk *template_disk(void)
{
    static pm_disk *disk;
    if (disk == NULL) {
        pm_sim *sim = pm_sim_make(1);
        run(sim, make_template, sim);
        disk = pm_disk_copy(pm_sim_disk(sim));
        pm_sim_free(sim);
    }
    return pm_disk_copy(disk);
}

struct wanted {
    const char *path;
    uint8_t bytes[4096];
    uint64_t size;
};

static inline void take_wanted(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct wanted *w = context;
    if (strcmp(path, w->path) != 0 || size > sizeof w->bytes) return;
    memcpy(w->bytes, bytes, size);
    w->size = size;
}

/* A (short) file of the template. */
static inline struct wanted template_file(const char *path)
{
    struct wanted w = {.path = path};
    pm_disk *disk = template_disk();
    pm_disk_each_file(disk, take_wanted, &w);
    pm_disk_free(disk);
    return w;
}

static inline void template_uuid(uint8_t uuid[16])
{
    struct wanted mark = template_file(MARK_PATH);
    memcpy(uuid, ((const pm_mark_slot *)(const void *)mark.bytes)->uuid, 16);
}

/* Everything that an open database shows is sound: counts agree, distances ascend. Gives a number that says what. */
static inline uint64_t read_all(pm_db *db)
{
    pomai_error err;
    uint64_t h = 0;
    char **names;
    size_t count;
    must(pomai_collection_list(db, &names, &count, &err) == POMAI_OK, "list");
    for (size_t i = 0; i < count; i++) {
        pomai_collection *coll;
        pomai_collection_info info;
        pomai_result *result;
        must(pomai_collection_open(db, names[i], &coll, &err) == POMAI_OK, "open collection");
        must(pomai_collection_get_info(coll, &info, &err) == POMAI_OK, "info");
        float query[8] = {1, 0.5f, 0.25f, 2};
        pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
        options.include = POMAI_INCLUDE_VECTORS | POMAI_INCLUDE_DOCUMENTS;
        h = pm_mix64(h ^ info.rows ^ (uint64_t)info.dim << 32);
        if (info.dim <= 8 && info.rows < POMAI_MAX_K) {
            pomai_status status = pomai_search(coll, query, 1, info.dim, info.rows + 1, &options, &result, &err);
            must(status == POMAI_OK, err.message);
            size_t found = pomai_result_count(result, 0);
            must(found == info.rows, "search does not find every row");
            for (size_t r = 0; r < found; r++) {
                pomai_bytes text = pomai_result_string_id(result, 0, r), document = pomai_result_document(result, 0, r);
                uint64_t id =
                    text.data != NULL ? pm_hash_bytes(text.data, text.size, 1) : pomai_result_ids(result, 0)[r];
                h += pm_mix64(id ^ pm_hash_bytes(pomai_result_vector(result, 0, r), info.dim * sizeof(float), 2));
                if (document.size > 0) h += pm_hash_bytes(document.data, document.size, id);
            }
            pomai_result_free(result);
        }
        pomai_collection_close(coll);
    }
    pomai_free(names);
    return h;
}

static inline pomai_status put_one(pm_db *db, uint64_t id, pomai_error *err)
{
    pomai_collection *coll;
    pomai_status status = pomai_collection_open(db, "a", &coll, err);
    if (status != POMAI_OK) return status;
    float vector[4] = {1, 2, 3, (float)(id & 1023)};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = 4;
    batch.vectors = vector;
    batch.u64_ids = &id;
    status = pomai_put(coll, &batch, NULL, NULL, err);
    pomai_collection_close(coll);
    return status;
}

/* What any image must stand: readers, a verifier, a reader that accepts damage, a writer, and the next opening. */
static inline void try_image(void *arg)
{
    pm_sim *sim = arg;
    pm_db *db;
    pomai_error err = {0};
    char *json = NULL;
    char refused[700];
    pomai_status verified = pm_inspect_verify(pm_sim_os(sim), "/db", NULL, NULL, &json, &err);
    pomai_free(json);
    snprintf(refused, sizeof refused, "verify refuses what opens: %s", verified != POMAI_OK ? err.message : "");
    nothing_held(sim);
    if (open_it(sim, POMAI_OPEN_READONLY | POMAI_OPEN_ACCEPT_DAMAGE, &db, &err) == POMAI_OK) {
        (void)read_all(db);
        must(pomai_close(db, &err) == POMAI_OK, "close");
    }
    nothing_held(sim);
    uint64_t seen = 0, before = pm_disk_digest(pm_sim_disk(sim));
    pomai_status read_only = open_it(sim, POMAI_OPEN_READONLY, &db, &err);
    if (read_only == POMAI_OK) {
        seen = read_all(db);
        must(pomai_close(db, &err) == POMAI_OK, "close");
    }
    must(pm_disk_digest(pm_sim_disk(sim)) == before, "a reader changed the disk");
    nothing_held(sim);
    pomai_status status = open_it(sim, 0, &db, &err);
    must((status == POMAI_OK) == (read_only == POMAI_OK), "a reader and a writer do not agree");
    if (status != POMAI_OK) {
        must(pm_disk_digest(pm_sim_disk(sim)) == before, "a refused open changed the disk");
        nothing_held(sim);
        return;
    }
    must(verified == POMAI_OK, refused);
    must(read_all(db) == seen, "a reader and a writer do not see the same");
    pomai_status put = put_one(db, 12345, &err);
    must(put == POMAI_OK || put == POMAI_ENOTFOUND || put == POMAI_EDIM || put == POMAI_EID, err.message);
    uint64_t then = read_all(db);
    must(pomai_close(db, &err) == POMAI_OK, "close");
    nothing_held(sim);
    must(open_it(sim, 0, &db, &err) == POMAI_OK, err.message);
    must(read_all(db) == then, "what was there is not there again");
    must(pomai_close(db, &err) == POMAI_OK, "close");
    nothing_held(sim);
}

/* Puts the bytes in place of a file and tries the image. */
static inline void try_file(const char *path, const uint8_t *data, size_t size)
{
    pm_disk *disk = template_disk();
    pm_sim *sim = pm_sim_make(7);
    pm_sim_set_disk(sim, disk);
    must(pm_disk_put(pm_sim_disk(sim), path, data, size) == 0, "put");
    run(sim, try_image, sim);
    pm_sim_free(sim);
}

#endif
