/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of API calls, good and bad, with crashes, power losses and faults between them, against a map of ids. The
 * input is a program: a byte chooses the call, the next ones its arguments. Every write is synced, so that an id has
 * one value, or either of two after an unknown outcome.
 */
#include <errno.h>
#include <math.h>

#include "machine.h"

enum { IDS = 24, DIM = 3, EITHER = 4 };

typedef struct fuzz {
    const uint8_t *data;
    size_t size, at;
    pm_sim *sim;
    pm_db *db;
    pomai_collection *coll;
    uint32_t clock;              /* each put writes the next value */
    uint32_t value[IDS][EITHER]; /* any of the first `values` is right; 0: the id is not there */
    uint32_t values[IDS];
    bool faulty, stopped, crash, power;
} fuzz;

static uint8_t next(fuzz *f)
{
    return f->at < f->size ? f->data[f->at++] : 0;
}

static void settle(fuzz *f, uint32_t id, uint32_t value)
{
    f->value[id][0] = value;
    f->values[id] = 1;
}

/* The write may be there or not. */
static void unsettle(fuzz *f, uint32_t id, uint32_t value)
{
    if (f->values[id] == EITHER) /* a fifth does not happen: an unknown outcome stops the database */
        must(false, "too many unknown outcomes");
    f->value[id][f->values[id]++] = value;
}

/* What a write came to, for each of its ids. */
static void outcome(fuzz *f, const uint64_t *ids, uint32_t count, bool put, pomai_status status, const pomai_error *err)
{
    must(status != POMAI_EINTERNAL, "a broken invariant");
    if (status == POMAI_EUNKNOWN || status == POMAI_ESTOPPED) {
        must(f->faulty, err->message);
        f->stopped = true;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t value = put ? f->clock : 0;
        if (status == POMAI_OK)
            settle(f, (uint32_t)ids[i], value);
        else if (status == POMAI_EUNKNOWN)
            unsettle(f, (uint32_t)ids[i], value);
    }
    must(status == POMAI_OK || f->faulty, err->message);
}

static uint32_t draw_ids(fuzz *f, uint64_t ids[IDS])
{
    uint32_t count = 0, mask = next(f) | (uint32_t)next(f) << 8 | (uint32_t)next(f) << 16;
    for (uint32_t i = 0; i < IDS; i++)
        if ((mask >> i & 1) != 0) ids[count++] = i;
    if (count == 0) ids[count++] = 0;
    return count;
}

static void do_put(fuzz *f)
{
    uint64_t ids[IDS];
    float vectors[IDS * DIM];
    pomai_error err = {0};
    uint32_t count = draw_ids(f, ids);
    f->clock++;
    for (uint32_t i = 0; i < count; i++) {
        vectors[i * DIM] = (float)ids[i];
        vectors[i * DIM + 1] = (float)(f->clock & 0xffff);
        vectors[i * DIM + 2] = (float)(f->clock >> 16);
    }
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = count;
    batch.dim = DIM;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    if (next(f) % 4 != 0) {
        outcome(f, ids, count, true, pomai_put(f->coll, &batch, NULL, NULL, &err), &err);
        return;
    }
    pomai_ticket *ticket;
    pomai_status status = pomai_put_async(f->coll, &batch, NULL, &ticket, &err);
    if (status == POMAI_OK) {
        while ((status = pomai_wait(ticket, next(f), NULL, &err)) == POMAI_EDEADLINE) {
        }
        pomai_ticket_free(ticket);
    }
    outcome(f, ids, count, true, status, &err);
}

static void do_delete(fuzz *f)
{
    uint64_t ids[IDS];
    pomai_error err = {0};
    uint32_t count = draw_ids(f, ids);
    pomai_ids list = {count, ids, NULL};
    outcome(f, ids, count, false, pomai_delete(f->coll, &list, NULL, NULL, &err), &err);
}

/* Numbers and pointers as they come: to be refused, or harmless. */
static void do_nonsense(fuzz *f)
{
    static const uint64_t sizes[] = {0, 1, 2, 3, 4, 65536, 65537, 1u << 24, UINT32_MAX, UINT64_MAX, UINT64_MAX / 12};
    float vectors[8] = {1, next(f) % 2 == 0 ? NAN : INFINITY, -0.0f, 2};
    uint64_t ids[4] = {1, 1, UINT64_MAX, 0};
    pomai_bytes strings[2] = {{"a", 1}, {NULL, next(f)}};
    pomai_batch batch = POMAI_BATCH_INIT;
    pomai_error err = {0};
    uint8_t kind = next(f);
    batch.rows = sizes[next(f) % 11];
    batch.dim = sizes[next(f) % 11];
    if (batch.rows > 2 && batch.rows < 65536) batch.rows = 2; /* what could be read must be there */
    bool readable = batch.rows <= 2 && batch.dim <= 4;
    if (!readable && kind % 2 == 0) batch.dim = UINT64_MAX / 8;
    batch.vectors = kind % 4 == 3 || (!readable && batch.dim <= 65536) ? NULL : vectors;
    batch.u64_ids = kind % 8 < 4 ? ids : NULL;
    batch.string_ids = kind % 16 < 8 && batch.rows <= 2 ? strings : NULL;
    batch.documents = kind % 32 < 16 && batch.rows <= 2 ? strings : NULL;
    if (kind >= 250) batch.struct_size = kind;
    pomai_status status = pomai_put(f->coll, kind == 33 ? NULL : &batch, NULL, NULL, &err);
    must(status != POMAI_OK && status != POMAI_EINTERNAL, "nonsense was taken");
    must(strlen(err.message) > 10, "no sentence");
    pomai_result *result = NULL;
    uint64_t queries = sizes[next(f) % 11], dim = sizes[next(f) % 11], k = sizes[next(f) % 11];
    if (queries > 2 && dim <= 65536) queries = 0;
    if (queries <= 2 && dim > 4 && dim <= 65536) dim = 4;
    status = pomai_search(f->coll, vectors, queries, dim, k, NULL, &result, &err);
    must(status != POMAI_EINTERNAL, "a broken invariant");
    if (status == POMAI_OK) pomai_result_free(result);
    pomai_collection *made = NULL;
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    options.dim = sizes[next(f) % 11];
    options.metric = (pomai_metric)next(f);
    options.id_kind = (pomai_id_kind)(next(f) % 4);
    char name[2] = {(char)next(f), 0};
    status = pomai_collection_create(f->db, name, &options, &made, &err);
    must(status != POMAI_EINTERNAL, "a broken invariant");
    if (status == POMAI_OK) pomai_collection_close(made);
    if (next(f) % 2 == 0) (void)pomai_collection_drop(f->db, name[0] == 'a' ? "b" : name, &err);
    pomai_block *block = NULL;
    status = pomai_reserve(f->coll, sizes[next(f) % 5], sizes[next(f) % 5], &block, &err);
    if (status == POMAI_OK) pomai_block_free(block);
}

/* ---- reading ---- */

static void check_value(const fuzz *f, uint32_t id, bool there, const float *vector)
{
    uint32_t value = there ? (uint32_t)vector[1] | (uint32_t)vector[2] << 16 : 0;
    must(!there || vector[0] == (float)id, "another id's row");
    for (uint32_t i = 0; i < f->values[id]; i++)
        if (f->value[id][i] == value) return;
    must(false, "a value that the id cannot have");
}

static bool do_get(fuzz *f, bool decide)
{
    uint64_t ids[IDS];
    pomai_rows *rows;
    pomai_error err = {0};
    for (uint32_t i = 0; i < IDS; i++)
        ids[i] = i;
    pomai_ids list = {IDS, ids, NULL};
    pomai_status status = pomai_get(f->coll, &list, NULL, &rows, &err);
    if (status != POMAI_OK) {
        must(f->faulty, err.message);
        return false;
    }
    for (uint32_t i = 0; i < IDS; i++) {
        bool there = pomai_rows_found(rows, i) != 0;
        const float *v = pomai_rows_vector(rows, i);
        check_value(f, i, there, v);
        if (decide) settle(f, i, there ? (uint32_t)v[1] | (uint32_t)v[2] << 16 : 0);
    }
    pomai_rows_free(rows);
    return true;
}

static void do_search(fuzz *f)
{
    float query[DIM] = {(float)(next(f) % IDS), 0, 0};
    pomai_result *result;
    pomai_error err = {0};
    uint64_t k = 1 + next(f) % 32;
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_VECTORS;
    pomai_status status = pomai_search(f->coll, query, 1, DIM, k, &options, &result, &err);
    if (status != POMAI_OK) {
        must(f->faulty, err.message);
        return;
    }
    size_t count = pomai_result_count(result, 0), certain = 0;
    for (uint32_t i = 0; i < IDS; i++)
        certain += f->values[i] == 1 && f->value[i][0] != 0;
    must(count >= (certain < k ? certain : k) && count <= k, "too few, or too many");
    for (size_t i = 0; i < count; i++) {
        uint64_t id = pomai_result_ids(result, 0)[i];
        must(id < IDS, "an id that nobody put");
        check_value(f, (uint32_t)id, true, pomai_result_vector(result, 0, i));
    }
    pomai_result_free(result);
}

/* Everything, a few rows at a time; with something else between, it shows what was there at its beginning. */
static void do_scan(fuzz *f)
{
    bool seen[IDS] = {false};
    pomai_error err = {0};
    pomai_scan *scan;
    pomai_rows *rows = NULL;
    pomai_status status = pomai_scan_open(f->coll, NULL, &scan, &err);
    const uint8_t between = next(f);
    if (status == POMAI_OK && between % 4 == 1) (void)pomai_flush(f->db, &err);
    if (status == POMAI_OK && between % 4 == 2) (void)pomai_compact(f->db, NULL, &err);
    while (status == POMAI_OK && (status = pomai_scan_next(scan, 1 + between / 4, &rows, &err)) == POMAI_OK) {
        if (rows == NULL) break;
        for (size_t i = 0; i < pomai_rows_count(rows); i++) {
            const uint64_t id = pomai_rows_id(rows, i);
            must(id < IDS && !seen[id], "an id that nobody put, or twice");
            seen[id] = true;
            check_value(f, (uint32_t)id, true, pomai_rows_vector(rows, i));
        }
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    must(status == POMAI_OK || f->faulty, err.message);
    for (uint32_t i = 0; i < IDS && status == POMAI_OK; i++)
        must(f->values[i] != 1 || seen[i] == (f->value[i][0] != 0), "a scan has too much or too little");
}

/* ---- a generation ---- */

static bool begin(fuzz *f)
{
    pomai_error err = {0};
    f->stopped = false;
    if (open_it(f->sim, 0, &f->db, &err) != POMAI_OK) {
        must(f->faulty && err.status != POMAI_ECORRUPT, err.message);
        nothing_held(f->sim);
        return false;
    }
    pomai_status status = pomai_collection_open(f->db, "fuzzed", &f->coll, &err);
    if (status == POMAI_ENOTFOUND) {
        pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
        options.dim = DIM;
        status = pomai_collection_create(f->db, "fuzzed", &options, &f->coll, &err);
    }
    must(status == POMAI_OK || f->faulty, err.message);
    if (status == POMAI_OK && do_get(f, true)) return true;
    if (status == POMAI_OK) pomai_collection_close(f->coll);
    (void)pomai_close(f->db, &err);
    return false;
}

static void set_fault(fuzz *f)
{
    static const int errors[] = {EIO, ENOSPC, ENOMEM, EMFILE};
    uint8_t kind = next(f);
    f->faulty = true;
    pm_sim_set_fault(f->sim, (pm_sim_fault){.calls = kind % 2 == 0 ? PM_SIM_ALL_CALLS : PM_SIM_DISK_CALLS,
                                            .nth = next(f),
                                            .for_ever = kind % 4 < 2,
                                            .partial = kind % 8 < 4,
                                            .error = errors[next(f) % 4]});
}

static void generation(void *arg)
{
    fuzz *f = arg;
    pomai_error err = {0};
    f->crash = f->power = false;
    if (!begin(f)) return;
    while (f->at < f->size && !f->crash) {
        switch (next(f) % 18) {
        case 0:
        case 1:
        case 2:
        case 3:
            if (!f->stopped) do_put(f);
            break;
        case 4:
        case 5:
            if (!f->stopped) do_delete(f);
            break;
        case 6:
        case 7:
            (void)do_get(f, false);
            break;
        case 8:
        case 9:
            do_search(f);
            break;
        case 10:
            do_nonsense(f);
            break;
        case 11:
            f->crash = true;
            f->power = next(f) % 2 == 0;
            return;
        case 12:
            set_fault(f);
            break;
        case 13:
            pm_sim_sleep(f->sim, (uint64_t)next(f) << 18);
            break;
        case 14: {
            char *json = NULL;
            if (pomai_sync(f->db, &err) == POMAI_OK) must(!f->stopped, "synced though stopped");
            if (pomai_stats(f->db, &json, &err) == POMAI_OK) pomai_free(json);
            break;
        }
        case 15:
            do_scan(f);
            break;
        case 16: /* what a database that stopped, or has no room, refuses */
            if (next(f) % 2 == 0)
                (void)pomai_flush(f->db, &err);
            else
                (void)pomai_compact(f->db, NULL, &err);
            break;
        default:
            f->crash = true; /* only a close */
            break;
        }
    }
    pomai_collection_close(f->coll);
    pomai_status status = pomai_close(f->db, &err);
    must(status == POMAI_OK || f->faulty, err.message);
    nothing_held(f->sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 600) return 0;
    pm_disk *disk = template_disk();
    fuzz f = {.data = data, .size = size, .sim = pm_sim_make(9)};
    pm_sim_set_disk(f.sim, disk);
    pm_sim_set_preemption(f.sim, 30);
    for (uint32_t i = 0; i < IDS; i++)
        settle(&f, i, 0);
    for (int times = 0; times < 12; times++) {
        run(f.sim, generation, &f);
        pm_sim_kill_process(f.sim);
        f.faulty = false;
        if (!f.power) continue;
        pm_choices choices = pm_choices_random(f.at);
        pm_sim_set_disk(f.sim, pm_disk_power_loss(pm_sim_disk(f.sim), &choices, true));
    }
    run(f.sim, generation, &f);
    pm_sim_free(f.sim);
    return 0;
}
