/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: everything about a batch is checked here, in the caller's thread, before anything is reserved or sent;
 * then its rows are routed to shards. What is admitted can only fail for want of disk or memory, or because a log
 * fails.
 */
#include <stdio.h>
#include <string.h>

#include "arrow/arrow.h"
#include "base/mutant.h"
#include "core/engine/engine.h"

enum { BLOCK_SHIFT = 12 }; /* ids of one block of 4,096 share a shard */

/* ---- checks ---- */

pomai_status pm_check_writable(const pm_db *db, pomai_error *err)
{
    if (db->readonly)
        return pm_fail(err, POMAI_EREADONLY, "the database is open read-only; open it without POMAI_OPEN_READONLY");
    if (pm_stopped(&db->shared)) return pm_stopped_error(&db->shared, err);
    return POMAI_OK;
}

/* Adds up the sizes of byte strings; false when a pointer is missing. */
static bool sum_bytes(const pomai_bytes *list, uint64_t count, uint64_t *sum)
{
    for (uint64_t i = 0; i < count; i++) {
        if (list[i].data == NULL && list[i].size > 0) return false;
        if (pm_add_overflows(*sum, list[i].size, sum)) *sum = UINT64_MAX;
        if (*sum == UINT64_MAX) return true; /* too big in any case */
    }
    return true;
}

static pomai_status check_string_ids(const pomai_bytes *ids, uint64_t count, pomai_error *err)
{
    for (uint64_t i = 0; i < count; i++)
        if (ids[i].data == NULL || ids[i].size == 0 || ids[i].size > POMAI_MAX_STRING_ID)
            return pm_fail(err, POMAI_EID, "the id of row %llu has %zu bytes: a string id has 1 to %u",
                           (unsigned long long)i, ids[i].data == NULL ? 0 : ids[i].size, POMAI_MAX_STRING_ID);
    return POMAI_OK;
}

/* What splitting cannot help is said otherwise. `documents`: one a row, or NULL. */
static pomai_status check_size(uint64_t rows, uint64_t bytes, const pomai_bytes *documents, pomai_error *err)
{
    for (uint64_t i = 0; bytes > POMAI_MAX_BATCH_BYTES && documents != NULL && i < rows; i++)
        if (documents[i].size > POMAI_MAX_BATCH_BYTES)
            return pm_fail(err, POMAI_ETOOBIG,
                           "the document of row %llu has %zu bytes, at most %u (64 MiB): shorten it",
                           (unsigned long long)i, documents[i].size, POMAI_MAX_BATCH_BYTES);
    if (bytes > POMAI_MAX_BATCH_BYTES && rows == 1)
        return pm_fail(err, POMAI_ETOOBIG,
                       "the row has %llu bytes of id, vector and document, at most %u (64 MiB): shorten its document",
                       (unsigned long long)bytes, POMAI_MAX_BATCH_BYTES);
    if (bytes > POMAI_MAX_BATCH_BYTES)
        return pm_fail(err, POMAI_ETOOBIG,
                       "the batch has %llu bytes of ids, vectors and documents, at most %u (64 MiB): split it",
                       (unsigned long long)bytes, POMAI_MAX_BATCH_BYTES);
    if (rows > PM_MAX_ROWS)
        return pm_fail(err, POMAI_ETOOBIG, "the batch has %llu rows, at most 16,777,216: split it",
                       (unsigned long long)rows);
    return POMAI_OK;
}

static pomai_dtype dtype_of(const pomai_batch *in)
{
    return in->dtype == 0 ? POMAI_DTYPE_FLOAT32 : in->dtype;
}

/* Shape and sizes, before any memory of the batch is read. */
static pomai_status check_shape(const pomai_batch *in, pomai_error *err)
{
    if (in == NULL || in->struct_size != sizeof *in)
        return pm_fail(err, POMAI_EINVAL, "the batch is missing, or does not begin with POMAI_BATCH_INIT");
    if (in->rows == 0) return pm_fail(err, POMAI_EINVAL, "the batch is empty: rows is 0");
    if (in->dim == 0 || in->dim > POMAI_MAX_DIM)
        return pm_fail(err, POMAI_EDIM, "%llu dimensions: a vector has 1 to %u", (unsigned long long)in->dim,
                       POMAI_MAX_DIM);
    if (in->vectors == NULL) return pm_fail(err, POMAI_EINVAL, "the batch has no vectors");
    if (in->u64_ids != NULL && in->string_ids != NULL)
        return pm_fail(err, POMAI_EINVAL, "the batch has ids of both kinds; a collection has one kind");
    if (in->dtype != 0 && !pm_dtype_known((uint32_t)in->dtype))
        return pm_fail(err, POMAI_EINVAL, "unknown type of vectors %d: float32, float16 and int8 are known",
                       (int)in->dtype);
    uint64_t bytes;
    if (pm_mul_overflows(in->rows, in->dim * pm_dtype_size(dtype_of(in)), &bytes)) bytes = UINT64_MAX;
    pomai_status status = check_size(in->rows, bytes, NULL, err);
    if (status != POMAI_OK) return status;
    if (in->u64_ids != NULL) bytes += in->rows * sizeof(uint64_t);
    if (in->expiry_ns != NULL) bytes += in->rows * sizeof(uint64_t);
    if (in->string_ids != NULL) {
        status = check_string_ids(in->string_ids, in->rows, err);
        if (status != POMAI_OK) return status;
        (void)sum_bytes(in->string_ids, in->rows, &bytes);
    }
    if (in->metadata != NULL && in->documents != NULL)
        return pm_fail(err, POMAI_EINVAL,
                       "the batch has documents and metadata; a row has one document: give one of them");
    if (in->metadata != NULL && in->metadata_schema == NULL)
        return pm_fail(err, POMAI_EINVAL, "the batch has metadata without its schema: give it in metadata_schema");
    if (in->metadata != NULL && (uint64_t)in->metadata->length != in->rows)
        return pm_fail(err, POMAI_EINVAL, "the batch has %llu rows and metadata of %lld", (unsigned long long)in->rows,
                       (long long)in->metadata->length);
    if (in->documents != NULL && !sum_bytes(in->documents, in->rows, &bytes))
        return pm_fail(err, POMAI_EINVAL, "a document has a size but no data");
    return check_size(in->rows, bytes, in->documents, err);
}

static pomai_status not_finite(size_t at, size_t dim, bool nan, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOTFINITE, "row %zu, dimension %zu is %s; nothing of the batch was stored", at / dim,
                   at % dim, nan ? "NaN" : "infinite");
}

static pomai_status not_representable(const pm_coll *coll, size_t at, float value, pomai_error *err)
{
    const size_t row = at / coll->dim, d = at % coll->dim;
    if (coll->dtype == POMAI_DTYPE_FLOAT16)
        return pm_fail(
            err, POMAI_EINVAL,
            "row %zu, dimension %zu is %g, beyond the 65504 of float16, which the collection %s has; nothing "
            "of the batch was stored: scale the vectors, or use float32",
            row, d, (double)value, coll->name);
    return pm_fail(err, POMAI_EINVAL,
                   "row %zu, dimension %zu is %.9g, no whole number from -128 to 127, which int8 has, the type of the "
                   "collection %s; nothing of the batch was stored: quantise before, or use float32",
                   row, d, (double)value, coll->name);
}

/* Float32 vectors into what the collection stores. */
static pomai_status convert_vectors(const pm_db *db, const pm_coll *coll, const float *vectors, size_t n, void *out,
                                    pomai_error *err)
{
    const size_t bad =
        coll->dtype == POMAI_DTYPE_FLOAT16 ? db->convert->to_f16(vectors, n, out) : db->convert->to_i8(vectors, n, out);
    if (bad == n) return POMAI_OK;
    if (db->simd->first_not_finite(vectors + bad, 1) == 0)
        return not_finite(bad, coll->dim, vectors[bad] != vectors[bad], err);
    return not_representable(coll, bad, vectors[bad], err);
}

/* Vectors of the collection's type. */
static pomai_status check_vectors(const pm_db *db, const pm_coll *coll, const void *vectors, uint64_t rows,
                                  pomai_error *err)
{
    const size_t dim = coll->dim, stride = pm_coll_stride(coll), n = rows * dim;
    if (coll->dtype == POMAI_DTYPE_FLOAT32) {
        const float *all = vectors;
        const size_t bad = db->simd->first_not_finite(all, n);
        if (bad < n) return not_finite(bad, dim, all[bad] != all[bad], err);
    } else if (coll->dtype == POMAI_DTYPE_FLOAT16) {
        const uint16_t *all = vectors;
        const size_t bad = db->convert->first_not_finite_f16(all, n);
        if (bad < n) return not_finite(bad, dim, (all[bad] & 0x3ff) != 0, err);
    }
    if (coll->metric != POMAI_METRIC_COSINE) return POMAI_OK;
    for (size_t row = 0; row < rows; row++)
        if (pm_convert_all_zero(coll->dtype, (const uint8_t *)vectors + row * stride, dim))
            return pm_fail(err, POMAI_EZEROVEC,
                           "row %zu is a zero vector%s, which has no direction under the cosine metric", row,
                           coll->dtype == POMAI_DTYPE_FLOAT16 ? " in float16" : "");
    return POMAI_OK;
}

/* What will be stored: the caller's vectors, or a copy of the collection's type in *converted. */
static pomai_status take_vectors(const pm_db *db, const pm_coll *coll, const pomai_batch *in, const void **stored,
                                 void **converted, pomai_error *err)
{
    const pomai_dtype dtype = dtype_of(in);
    *stored = in->vectors;
    *converted = NULL;
    if (dtype == coll->dtype) return check_vectors(db, coll, in->vectors, in->rows, err);
    if (dtype != POMAI_DTYPE_FLOAT32)
        return pm_fail(err, POMAI_EINVAL, "the batch has %s vectors, the collection %s has %s: give %s%s",
                       pm_dtype_name(dtype), coll->name, pm_dtype_name(coll->dtype), pm_dtype_name(coll->dtype),
                       coll->dtype == POMAI_DTYPE_FLOAT32 ? "" : ", or float32");
    *converted = pm_malloc(in->rows * pm_coll_stride(coll));
    if (*converted == NULL)
        return pm_fail(err, POMAI_ENOMEM, "no memory to convert %llu rows to %s", (unsigned long long)in->rows,
                       pm_dtype_name(coll->dtype));
    *stored = *converted;
    pomai_status status = convert_vectors(db, coll, in->vectors, in->rows * coll->dim, *converted, err);
    return status == POMAI_OK ? check_vectors(db, coll, *converted, in->rows, err) : status;
}

static pomai_status check_kind(const pm_coll *coll, bool u64, bool string, pomai_error *err)
{
    if (coll->id_kind == POMAI_ID_U64 && string)
        return pm_fail(err, POMAI_EID, "the collection %s has u64 ids; string ids were given", coll->name);
    if (coll->id_kind == POMAI_ID_STRING && !string)
        return pm_fail(err, POMAI_EID, "the collection %s has string ids; %s were given", coll->name,
                       u64 ? "u64 ids" : "none");
    return POMAI_OK;
}

/* ---- repeated ids ---- */

static uint64_t hash_of(const pm_batch *b, uint32_t row, uint64_t seed)
{
    if (b->u64_ids != NULL) return pm_mix64(b->u64_ids[row] ^ seed);
    return pm_hash_bytes(b->string_ids[row].data, b->string_ids[row].size, seed);
}

static bool same_id(const pm_batch *b, uint32_t x, uint32_t y)
{
    if (b->u64_ids != NULL) return b->u64_ids[x] == b->u64_ids[y];
    return b->string_ids[x].size == b->string_ids[y].size &&
           memcmp(b->string_ids[x].data, b->string_ids[y].data, b->string_ids[x].size) == 0;
}

static bool ids_ascend(const pm_batch *b)
{
    for (uint32_t i = 1; i < b->rows; i++)
        if (b->u64_ids[i] <= b->u64_ids[i - 1]) return false;
    return true;
}

static pomai_status check_repeats(const pm_db *db, const pm_batch *b, pomai_error *err)
{
    if (b->rows == 1 || (b->u64_ids == NULL && b->string_ids == NULL) || PM_MUTANT(REPEATS_ACCEPTED)) return POMAI_OK;
    if (b->u64_ids != NULL && ids_ascend(b)) return POMAI_OK;
    uint32_t slots = 4;
    while (slots < b->rows * 2)
        slots *= 2;
    uint32_t *seen = pm_calloc(slots, sizeof *seen); /* row + 1 */
    if (seen == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to check %u ids", b->rows);
    pomai_status status = POMAI_OK;
    for (uint32_t row = 0; row < b->rows && status == POMAI_OK; row++) {
        uint32_t at = (uint32_t)hash_of(b, row, db->shared.hash_seed) & (slots - 1);
        while (seen[at] != 0 && !same_id(b, seen[at] - 1, row))
            at = (at + 1) & (slots - 1);
        if (seen[at] == 0)
            seen[at] = row + 1;
        else if (b->u64_ids != NULL)
            status = pm_fail(err, POMAI_EDUPID, "rows %u and %u have the same id %llu; an id may be in a batch once",
                             seen[at] - 1, row, (unsigned long long)b->u64_ids[row]);
        else
            status = pm_fail(err, POMAI_EDUPID,
                             "rows %u and %u have the same id \"%.*s\"; an id may be in a batch once", seen[at] - 1,
                             row, (int)pm_min_u64(b->string_ids[row].size, 80), (const char *)b->string_ids[row].data);
    }
    pm_free(seen);
    return status;
}

pomai_status pm_check_repeats(const pm_db *db, const pomai_ids *ids, pomai_error *err)
{
    const pm_batch list = {.u64_ids = ids->u64, .string_ids = ids->string, .rows = (uint32_t)ids->count};
    return check_repeats(db, &list, err);
}

/* ---- routing ---- */

static uint64_t id_at(const pm_batch *b, uint32_t row)
{
    return b->u64_ids != NULL ? b->u64_ids[row] : b->first_id + row;
}

static uint32_t shard_at(const pm_batch *b, uint32_t row, uint32_t shards)
{
    if (b->string_ids != NULL) return pm_shard_of_string(b->string_ids[row].data, b->string_ids[row].size, shards);
    return pm_shard_of_u64(id_at(b, row), shards);
}

/* How many rows each shard gets. */
static void count_rows(const pm_batch *b, uint32_t shards, uint32_t *count)
{
    memset(count, 0, shards * sizeof *count);
    uint64_t block = 0;
    uint32_t shard = 0;
    for (uint32_t row = 0; row < b->rows; row++) {
        if (b->string_ids != NULL) {
            shard = shard_at(b, row, shards);
        } else if (row == 0 || id_at(b, row) >> BLOCK_SHIFT != block) {
            block = id_at(b, row) >> BLOCK_SHIFT;
            shard = shard_at(b, row, shards);
        }
        count[shard]++;
    }
}

/* A shard's rows are often one run; then they need no list. */
static void simplify(pm_part *part)
{
    for (uint32_t i = 1; i < part->rows; i++)
        if (part->index[i] != part->index[0] + i) return;
    part->first = part->index[0];
    part->index = NULL;
}

/* What it owns is still the caller's. */
static void give_back(pm_batch *b)
{
    b->converted = NULL;
    b->encoded = NULL;
}

/* Splits `from` (a batch on the caller's stack) into parts of a pooled one, which takes over what `from` owns. */
static pomai_status route(pm_db *db, const pm_batch *from, pm_batch **out, pomai_error *err)
{
    const uint32_t less = PM_MUTANT(SHARD_MAP_MOVES) && db->shared.open_counter > 1 && db->shared.shards > 1;
    const uint32_t shards = db->shared.shards - less;
    uint32_t count[PM_MAX_SHARDS], part_of[PM_MAX_SHARDS] = {0}, parts = 0;
    count_rows(from, shards, count);
    for (uint32_t s = 0; s < shards; s++)
        if (count[s] > 0) part_of[s] = parts++;
    pm_batch *b = pm_batch_take(&db->shared, parts);
    if (b == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the batch");
    b->coll = from->coll;
    b->op = from->op;
    b->level = from->level;
    b->vectors = from->vectors;
    b->converted = from->converted;
    if (PM_MUTANT(CONVERTED_NOT_KEPT)) {
        pm_free(b->converted);
        b->converted = NULL;
    }
    b->u64_ids = from->u64_ids;
    b->string_ids = from->string_ids;
    b->documents = from->documents;
    b->encoded = from->encoded;
    b->expiry = from->expiry;
    b->first_id = from->first_id;
    b->rows = from->rows;
    *out = b;
    for (uint32_t s = 0; s < shards; s++)
        if (count[s] > 0) b->part[part_of[s]].shard = s;
    if (parts == 1) {
        b->part[0].rows = b->rows;
        return POMAI_OK;
    }
    b->index = pm_malloc(b->rows * sizeof *b->index);
    if (b->index == NULL) {
        give_back(b);
        pm_batch_drop(&db->shared, b);
        *out = NULL;
        return pm_fail(err, POMAI_ENOMEM, "no memory to route %u rows", from->rows);
    }
    uint32_t *at = b->index;
    for (uint32_t p = 0; p < parts; p++) {
        b->part[p].index = at;
        at += count[b->part[p].shard];
    }
    for (uint32_t row = 0; row < b->rows; row++) {
        const uint32_t shard = shard_at(b, row, shards);
        if (count[shard]-- == 0) { /* room was made for so many: another thread writes the ids that are only borrowed */
            give_back(b);
            pm_batch_drop(&db->shared, b);
            *out = NULL;
            return pm_fail(err, POMAI_EINVAL, "the ids changed while they were being put; nothing was stored");
        }
        pm_part *part = &b->part[part_of[shard]];
        b->index[(uint32_t)(part->index - b->index) + part->rows++] = row;
    }
    for (uint32_t p = 0; p < parts; p++)
        simplify(&b->part[p]);
    return POMAI_OK;
}

/* ---- assigned ids ---- */

static pomai_status no_ids_left(const pm_coll *coll, uint64_t left, uint64_t rows, pomai_error *err)
{
    char text[32] = "none";
    if (left > 0) snprintf(text, sizeof text, "%llu", (unsigned long long)left);
    return pm_fail(err, POMAI_ETOOBIG,
                   "the batch needs %llu ids to be assigned and %s %s left in %s: they go on from the largest id ever "
                   "put there, also if it was deleted, to 2^64-2; give ids yourself, or use another collection",
                   (unsigned long long)rows, text, left > 1 ? "are" : "is", coll->name);
}

/* Before any work: where that many are left, others may still take them. */
static pomai_status check_ids_left(const pm_coll *coll, uint64_t rows, pomai_error *err)
{
    const uint64_t next = atomic_load(&coll->next_id);
    return next > UINT64_MAX - rows ? no_ids_left(coll, UINT64_MAX - next, rows, err) : POMAI_OK;
}

static pomai_status assign_ids(pm_coll *coll, uint64_t rows, uint64_t *first, pomai_error *err)
{
    uint64_t next = atomic_load(&coll->next_id);
    do {
        if (next > UINT64_MAX - rows) return no_ids_left(coll, UINT64_MAX - next, rows, err);
    } while (!atomic_compare_exchange_weak(&coll->next_id, &next, next + rows));
    *first = next;
    return POMAI_OK;
}

/* Later assigned ids must not meet these. */
static void note_given_ids(pm_coll *coll, const uint64_t *ids, uint64_t rows)
{
    uint64_t largest = 0;
    for (uint64_t i = 0; i < rows; i++)
        largest = pm_max_u64(largest, ids[i]);
    uint64_t want = largest == UINT64_MAX ? largest : largest + 1;
    uint64_t next = atomic_load(&coll->next_id);
    while (next < want && !atomic_compare_exchange_weak(&coll->next_id, &next, want))
        ;
}

/* ---- put, delete ---- */

static pomai_durability level_of(const pm_db *db, const pm_write *write)
{
    return write->level == POMAI_DURABILITY_DEFAULT ? db->durability : write->level;
}

pomai_status pm_db_send(pm_db *db, pm_batch *b, const pm_write *write, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    if (atomic_load(&b->coll->drop_unsure))
        status = pm_fail(err, POMAI_ESTOPPED,
                         "an earlier drop of the collection %s failed half-way; close and reopen the database to learn "
                         "whether it is there",
                         b->coll->name);
    /* Deletes may always go on: they give room back in the end. */
    if (status == POMAI_OK && b->op == PM_OP_PUT) status = pm_db_wait_for_room(db, write->until_ns, err);
    if (status == POMAI_OK) status = pm_batch_look_up(&db->shared, b, err);
    if (status == POMAI_OK) status = pm_batch_admit(&db->shared, b, write->until_ns, err);
    if (status != POMAI_OK) {
        pm_batch_drop(&db->shared, b);
        return status;
    }
    /* Between the last refusal and the first row: no refused id is used up, and no id that is under way is assigned. */
    if (b->op == PM_OP_PUT && b->u64_ids != NULL && !PM_MUTANT(GIVEN_IDS_NOT_NOTED))
        note_given_ids(b->coll, b->u64_ids, b->rows);
    pm_batch_send(&db->shared, b, write->wait);
    return POMAI_OK;
}

/* For `default`, which the first put makes: refuse what would be refused after it was made. */
static pomai_status check_before_making(const pm_db *db, const pomai_batch *in, pomai_error *err)
{
    pm_coll would_be = {.dim = (uint32_t)in->dim, .dtype = dtype_of(in), .metric = POMAI_METRIC_L2};
    pomai_status status = check_vectors(db, &would_be, in->vectors, in->rows, err);
    pm_batch ids = {.u64_ids = in->u64_ids, .string_ids = in->string_ids, .rows = (uint32_t)in->rows};
    return status != POMAI_OK ? status : check_repeats(db, &ids, err);
}

/* A batch whose shape was checked. *encoded, its documents if they were made for it, is NULL once it is taken over. */
static pomai_status put(pomai_collection *handle, const pomai_batch *in, pomai_bytes **encoded, const pm_write *write,
                        pm_batch **batch, pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    pomai_status status = pm_handle_coll(handle, &coll, err);
    if (status != POMAI_OK) return status;
    if (coll == NULL) {
        status = check_before_making(db, in, err);
        pomai_id_kind kind = in->string_ids != NULL ? POMAI_ID_STRING : POMAI_ID_U64;
        if (status == POMAI_OK) status = pm_handle_coll_for_put(handle, in->dim, dtype_of(in), kind, &coll, err);
        if (status != POMAI_OK) return status;
    }
    if (in->dim != coll->dim)
        return pm_fail(err, POMAI_EDIM, "the vectors have %llu dimensions, the collection %s has %u",
                       (unsigned long long)in->dim, coll->name, coll->dim);
    status = check_kind(coll, in->u64_ids != NULL, in->string_ids != NULL, err);
    const bool assigns = coll->id_kind == POMAI_ID_U64 && in->u64_ids == NULL;
    if (status == POMAI_OK && assigns) status = check_ids_left(coll, in->rows, err);
    pm_batch from = {.coll = coll,
                     .op = PM_OP_PUT,
                     .level = level_of(db, write),
                     .u64_ids = in->u64_ids,
                     .string_ids = in->string_ids,
                     .documents = in->documents,
                     .encoded = *encoded,
                     .expiry = in->expiry_ns,
                     .rows = (uint32_t)in->rows};
    if (status == POMAI_OK) status = take_vectors(db, coll, in, &from.vectors, &from.converted, err);
    if (status == POMAI_OK) status = check_repeats(db, &from, err);
    if (status == POMAI_OK && assigns) status = assign_ids(coll, in->rows, &from.first_id, err);
    if (status == POMAI_OK) status = route(db, &from, batch, err);
    if (status != POMAI_OK) { /* nobody took it over */
        pm_free(from.converted);
        return status;
    }
    *encoded = NULL;
    status = pm_db_send(db, *batch, write, err);
    if (status != POMAI_OK) return status;
    atomic_fetch_add_explicit(&coll->puts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&coll->put_rows, in->rows, memory_order_relaxed);
    return POMAI_OK;
}

pomai_status pm_db_put(pomai_collection *handle, const pomai_batch *in, const pm_write *write, pm_batch **batch,
                       pomai_error *err)
{
    pomai_bytes *encoded = NULL;
    pomai_status status = pm_check_writable(handle->db, err);
    if (status == POMAI_OK) status = check_shape(in, err);
    if (status != POMAI_OK) return status;
    pomai_batch with = *in;
    if (in->metadata != NULL) {
        status = pm_documents_from_arrow(in->metadata_schema, in->metadata, POMAI_MAX_BATCH_BYTES, &encoded, err);
        with.metadata = NULL;
        with.documents = encoded;
        if (status == POMAI_OK) status = check_shape(&with, err);
    }
    if (status == POMAI_OK) status = put(handle, &with, &encoded, write, batch, err);
    pm_free(encoded);
    return status;
}

pomai_status pm_check_ids(const pm_coll *coll, const pomai_ids *ids, pomai_error *err)
{
    if (ids == NULL || (ids->count > 0 && ids->u64 == NULL && ids->string == NULL))
        return pm_fail(err, POMAI_EINVAL, "the list of ids is missing");
    if (ids->u64 != NULL && ids->string != NULL)
        return pm_fail(err, POMAI_EINVAL, "ids of both kinds were given; a collection has one kind");
    if (ids->count == 0) return POMAI_OK;
    if (coll != NULL) {
        pomai_status status = check_kind(coll, ids->u64 != NULL, ids->string != NULL, err);
        if (status != POMAI_OK) return status;
    }
    return ids->string != NULL ? check_string_ids(ids->string, ids->count, err) : POMAI_OK;
}

pomai_status pm_db_delete(pomai_collection *handle, const pomai_ids *ids, const pm_write *write, pm_batch **batch,
                          pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    *batch = NULL;
    pomai_status status = pm_check_writable(db, err);
    if (status == POMAI_OK) status = pm_handle_coll(handle, &coll, err);
    if (status == POMAI_OK) status = pm_check_ids(coll, ids, err);
    if (status != POMAI_OK) return status;
    if (ids->count == 0) return pm_fail(err, POMAI_EINVAL, "no ids to delete were given");
    uint64_t bytes = 0;
    if (ids->string != NULL) (void)sum_bytes(ids->string, ids->count, &bytes);
    if (ids->u64 != NULL && pm_mul_overflows(ids->count, sizeof(uint64_t), &bytes)) bytes = UINT64_MAX;
    status = check_size(ids->count, bytes, NULL, err);
    if (status != POMAI_OK || coll == NULL) return status; /* `default` was never made: none of them is there */
    pm_batch from = {.coll = coll,
                     .op = PM_OP_DELETE,
                     .level = level_of(db, write),
                     .u64_ids = ids->u64,
                     .string_ids = ids->string,
                     .rows = (uint32_t)ids->count};
    status = route(db, &from, batch, err);
    if (status == POMAI_OK) status = pm_db_send(db, *batch, write, err);
    if (status == POMAI_OK) atomic_fetch_add_explicit(&coll->deletes, 1, memory_order_relaxed);
    if (status != POMAI_OK) *batch = NULL;
    return status;
}

/* ---- reserve and commit ---- */

pomai_status pm_db_reserve(pomai_collection *handle, uint64_t rows, uint64_t dim, pomai_block **out, pomai_error *err)
{
    pm_db *db = handle->db;
    pm_coll *coll = NULL;
    *out = NULL;
    pomai_status status = pm_check_writable(db, err);
    if (status == POMAI_OK) status = pm_handle_coll(handle, &coll, err);
    if (status != POMAI_OK) return status;
    if (rows == 0) return pm_fail(err, POMAI_EINVAL, "a block of 0 rows cannot be reserved");
    if (dim == 0 || dim > POMAI_MAX_DIM)
        return pm_fail(err, POMAI_EDIM, "%llu dimensions: a vector has 1 to %u", (unsigned long long)dim,
                       POMAI_MAX_DIM);
    if (coll != NULL && dim != coll->dim)
        return pm_fail(err, POMAI_EDIM, "the block has %llu dimensions, the collection %s has %u",
                       (unsigned long long)dim, coll->name, coll->dim);
    if (coll != NULL) status = check_kind(coll, true, false, err);
    const pomai_dtype dtype = coll == NULL ? POMAI_DTYPE_FLOAT32 : coll->dtype;
    uint64_t bytes;
    if (pm_mul_overflows(rows, dim * pm_dtype_size(dtype), &bytes)) bytes = UINT64_MAX;
    if (status == POMAI_OK) status = check_size(rows, bytes, NULL, err);
    if (status == POMAI_OK && coll != NULL) status = check_ids_left(coll, rows, err);
    if (status != POMAI_OK) return status;
    pomai_block *block = pm_calloc(1, sizeof *block);
    if (block != NULL) {
        block->pages = pm_pages_make(db->os, NULL, pm_align_up(bytes, 4096), NULL);
    }
    if (block == NULL || block->pages == NULL) {
        pm_free(block);
        return pm_fail(err, POMAI_ENOMEM, "no memory for a block of %llu bytes", (unsigned long long)bytes);
    }
    block->db = db;
    block->coll = coll;
    block->rows = rows;
    block->dim = (uint32_t)dim;
    block->dtype = dtype;
    block->vectors = block->pages->data;
    atomic_fetch_add(&db->open_handles, 1);
    *out = block;
    return POMAI_OK;
}

/* Rows of consecutive ids, cut where the shard changes; every piece is a part. */
static uint32_t cut_pieces(const pm_db *db, uint64_t first_id, uint32_t rows, pm_part *parts)
{
    uint32_t count = 0, last_shard = 0;
    for (uint64_t row = 0; row < rows;) {
        uint64_t id = first_id + row;
        uint64_t block_end = ((id >> BLOCK_SHIFT) + 1) << BLOCK_SHIFT; /* 0 at the very end of the ids */
        uint64_t take = pm_min_u64(block_end - id, rows - row);
        uint32_t shard = pm_shard_of_u64(id, db->shared.shards);
        if (count > 0 && shard == last_shard) {
            if (parts != NULL) parts[count - 1].rows += (uint32_t)take;
        } else {
            if (parts != NULL) {
                parts[count].shard = shard;
                parts[count].first = (uint32_t)row;
                parts[count].rows = (uint32_t)take;
            }
            count++;
        }
        last_shard = shard;
        row += take;
    }
    return count;
}

static pomai_status check_commit(pomai_block *block, const pomai_bytes *documents, pm_coll **coll, pomai_error *err)
{
    if (block->vectors == NULL) return pm_fail(err, POMAI_EINVAL, "the block was committed before; reserve another");
    pomai_status status = pm_check_writable(block->db, err);
    uint64_t bytes = block->rows * block->dim * pm_dtype_size(block->dtype);
    if (status == POMAI_OK && documents != NULL && !sum_bytes(documents, block->rows, &bytes))
        status = pm_fail(err, POMAI_EINVAL, "a document has a size but no data");
    if (status == POMAI_OK) status = check_size(block->rows, bytes, documents, err);
    if (status != POMAI_OK) return status;
    pm_coll l2 = {.dim = block->dim, .dtype = block->dtype, .metric = POMAI_METRIC_L2};
    status = check_vectors(block->db, &l2, block->vectors, block->rows, err);
    *coll = block->coll;
    if (status == POMAI_OK && *coll == NULL)
        status = pm_handle_coll_for_put(&block->db->default_handle, block->dim, block->dtype, POMAI_ID_U64, coll, err);
    else if (status == POMAI_OK && atomic_load(&(*coll)->dropped))
        status = pm_fail(err, POMAI_ENOTFOUND, "the collection %s was dropped", (*coll)->name);
    if (status != POMAI_OK) return status;
    if ((*coll)->dim != block->dim) /* `default` was made by somebody else meanwhile */
        return pm_fail(err, POMAI_EDIM, "the block has %u dimensions, the collection %s has %u", block->dim,
                       (*coll)->name, (*coll)->dim);
    if ((*coll)->dtype != block->dtype)
        return pm_fail(err, POMAI_EINVAL, "the block has %s vectors, the collection %s has %s: reserve another",
                       pm_dtype_name(block->dtype), (*coll)->name, pm_dtype_name((*coll)->dtype));
    status = check_kind(*coll, true, false, err);
    return status != POMAI_OK ? status : check_vectors(block->db, *coll, block->vectors, block->rows, err);
}

pomai_status pm_db_commit(pomai_block *block, const pomai_bytes *documents, const pm_write *write, pomai_ack *ack,
                          pomai_error *err)
{
    pm_db *db = block->db;
    pm_coll *coll = NULL;
    uint64_t first_id = 0;
    pomai_status status = check_commit(block, documents, &coll, err);
    if (status == POMAI_OK) status = assign_ids(coll, block->rows, &first_id, err);
    pm_batch *b = NULL;
    if (status == POMAI_OK) {
        b = pm_batch_take(&db->shared, cut_pieces(db, first_id, (uint32_t)block->rows, NULL));
        if (b == NULL) status = pm_fail(err, POMAI_ENOMEM, "no memory for the batch");
    }
    if (status != POMAI_OK) return status;
    (void)cut_pieces(db, first_id, (uint32_t)block->rows, b->part);
    b->coll = coll;
    b->op = PM_OP_PUT;
    b->level = level_of(db, write);
    b->vectors = block->vectors;
    b->documents = documents;
    b->first_id = first_id;
    b->adopt = block->pages;
    b->rows = (uint32_t)block->rows;
    status = pm_db_send(db, b, write, err);
    if (status != POMAI_OK) return status;
    (void)pm_batch_wait(&db->shared, b, PM_FOREVER);
    status = pm_batch_result(b, ack, err);
    pm_batch_drop(&db->shared, b);
    if (status != POMAI_OK && status != POMAI_EUNKNOWN) return status; /* refused: no shard shows or will read it */
    pm_pages_let_go(block->pages);                                     /* chunks hold it */
    block->pages = NULL;
    block->vectors = NULL;
    if (status != POMAI_OK) return status;
    atomic_fetch_add_explicit(&coll->puts, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&coll->put_rows, block->rows, memory_order_relaxed);
    return POMAI_OK;
}

void pm_db_block_free(pomai_block *block)
{
    if (block == NULL) return;
    pm_pages_let_go(block->pages);
    atomic_fetch_sub(&block->db->open_handles, 1);
    pm_free(block);
}
