/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what is on the simulated disk and reads everything in every way there is, or verifies it. */
#ifndef T_READING_H
#define T_READING_H

#include "core/engine/engine.h"
#include "logs.h"

enum { R_MOST = 20000 };

struct attempt {
    struct world *w;
    const struct c_logs *logs;
    uint32_t flags;
    bool verify; /* instead of an open */
    pomai_status status;
    pomai_error err;
    bool read_says; /* it opens, and a read says what is wrong: err */
    uint64_t digest, words[2];
    unsigned strange_rows;
    const char *wrong; /* with what was read */
};

/* A read that fails must say that it met damage. */
static inline bool r_good(struct attempt *a, pomai_status status, const pomai_error *err, const char *what)
{
    if (status == POMAI_OK) return true;
    const bool apt = status == POMAI_ECORRUPT || status == POMAI_EFORMAT || status == POMAI_EFOREIGN;
    if (!apt || err->status != status || strstr(err->message, "/db/") == NULL) {
        a->wrong = what;
        a->err = *err;
    }
    if (!a->read_says) a->err = *err;
    a->read_says = true;
    return false;
}

static inline bool r_same(const void *a, size_t a_size, const void *b, size_t b_size)
{
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

/* The rows that a search found, one by one: as a get shows them. */
static inline void r_compare(struct attempt *a, const pomai_result *found, const pomai_rows *rows, uint64_t name_hash,
                             uint32_t dim)
{
    const size_t size = dim * sizeof(float);
    for (size_t i = 0; i < pomai_result_count(found, 0); i++) {
        pomai_bytes id = pomai_result_string_id(found, 0, i), document = pomai_result_document(found, 0, i);
        if (!pomai_rows_found(rows, i)) {
            a->wrong = "a get does not find what search found";
            return;
        }
        pomai_bytes again = pomai_rows_document(rows, i);
        if (!r_same(document.data, document.size, again.data, again.size) ||
            memcmp(pomai_result_vector(found, 0, i), pomai_rows_vector(rows, i), size) != 0)
            a->wrong = "a get shows something else than search";
        struct c_content c = {.name_hash = name_hash,
                              .id_hash = id.data == NULL ? c_id_hash(pomai_result_ids(found, 0)[i])
                                                         : c_name_hash(id.data, id.size),
                              .vector = pomai_rows_vector(rows, i),
                              .vector_size = size,
                              .document = again.data,
                              .document_size = again.size,
                              .stamp = pomai_rows_stamp(rows, i),
                              .expiry = pomai_rows_expiry(rows, i)};
        const uint64_t row = c_row_hash(&c);
        a->digest += row;
        if (!c_row_known(a->logs, row)) a->strange_rows++;
    }
}

static inline void r_get_found(struct attempt *a, pomai_collection *coll, const pomai_result *found, uint64_t name_hash,
                               uint32_t dim)
{
    const size_t count = pomai_result_count(found, 0);
    pomai_bytes *strings = calloc(count + 1, sizeof *strings);
    if (strings == NULL) abort();
    for (size_t i = 0; i < count; i++)
        strings[i] = pomai_result_string_id(found, 0, i);
    const uint64_t *ids = pomai_result_ids(found, 0);
    const pomai_ids list = {count, ids, ids == NULL ? strings : NULL};
    pomai_rows *rows;
    pomai_error err = {0};
    if (count > 0 && r_good(a, pomai_get(coll, &list, NULL, &rows, &err), &err, "a get fails")) {
        r_compare(a, found, rows, name_hash, dim);
        pomai_rows_free(rows);
    }
    free(strings);
}

/* All keys that the clients use, most of which are not there. */
static inline void r_get_keys(struct attempt *a, pomai_collection *coll, bool strings, uint64_t expected)
{
    static uint64_t ids[W_CLIENTS * W_KEYS];
    static char text[W_CLIENTS * W_KEYS][16];
    static pomai_bytes names[W_CLIENTS * W_KEYS];
    size_t count = 0, found = 0;
    for (uint32_t client = 0; client < a->w->config.clients; client++)
        for (uint32_t key = 0; key < W_KEYS; key++, count++) {
            ids[count] = w_id(client, key);
            w_string_id(client, key, text[count]);
            names[count] = (pomai_bytes){text[count], strlen(text[count])};
        }
    const pomai_ids list = {count, strings ? NULL : ids, strings ? names : NULL};
    pomai_rows *rows;
    pomai_error err = {0};
    if (!r_good(a, pomai_get(coll, &list, NULL, &rows, &err), &err, "a get fails")) return;
    for (size_t i = 0; i < count; i++)
        found += pomai_rows_found(rows, i) != 0;
    if (found != expected && !a->read_says) a->wrong = "gets find another number of rows than search";
    pomai_rows_free(rows);
}

/* Whatever codes and graphs say: rows that exact search shows, at their distances, and as many as are asked for. */
static inline void r_by_derived(struct attempt *a, pomai_collection *coll, const float *query, uint32_t dim,
                                const pomai_result *all)
{
    enum { FEW = 2 };
    pomai_result *result;
    pomai_error err = {0};
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.recall = 0.8f;
    if (!r_good(a, pomai_search(coll, query, 1, dim, FEW, &options, &result, &err), &err, "search fails")) return;
    const size_t count = pomai_result_count(result, 0), there = pomai_result_count(all, 0);
    if (count != (there < FEW ? there : FEW)) a->wrong = "a search with a recall finds another number of rows";
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < there && !found; j++) {
            pomai_bytes x = pomai_result_string_id(result, 0, i), y = pomai_result_string_id(all, 0, j);
            found = r_same(x.data, x.size, y.data, y.size) &&
                    (x.data != NULL || pomai_result_ids(result, 0)[i] == pomai_result_ids(all, 0)[j]) &&
                    pomai_result_distances(result, 0)[i] == pomai_result_distances(all, 0)[j];
        }
        if (!found) a->wrong = "a search with a recall shows a row that is not there";
    }
    pomai_result_free(result);
}

static inline void r_collection(struct attempt *a, pomai_collection *coll, const char *name)
{
    pomai_collection_info info;
    pomai_result *result;
    pomai_error err = {0};
    float query[W_DIM_MOST];
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.include = POMAI_INCLUDE_DOCUMENTS | POMAI_INCLUDE_VECTORS;
    for (unsigned i = 0; i < W_DIM_MOST; i++)
        query[i] = 1;
    if (!r_good(a, pomai_collection_get_info(coll, &info, &err), &err, "a collection says nothing of itself")) return;
    if (info.dim == 0) return;
    if (info.dim > W_DIM_MOST) {
        a->wrong = "a collection says nothing sane of itself";
        return;
    }
    const uint64_t name_hash = c_name_hash(name, strlen(name));
    const bool strings = info.id_kind == POMAI_ID_STRING;
    uint64_t count = info.rows;
    a->digest += c_coll_hash(name_hash, info.dim, (uint32_t)info.dtype, (uint32_t)info.metric, (uint32_t)info.id_kind);
    if (r_good(a, pomai_search(coll, query, 1, info.dim, R_MOST, &options, &result, &err), &err, "search fails")) {
        count = pomai_result_count(result, 0);
        r_get_found(a, coll, result, name_hash, (uint32_t)info.dim);
        if (count != info.rows) a->wrong = "search finds another number of rows";
        r_by_derived(a, coll, query, (uint32_t)info.dim, result);
        pomai_result_free(result);
    }
    if (strcmp(name, w_coll_name(W_DEFAULT)) == 0 || strcmp(name, w_coll_name(W_STRINGS)) == 0)
        r_get_keys(a, coll, strings, count);
}

static inline void r_everything(struct attempt *a, pomai_db *db)
{
    char **names;
    size_t count;
    pomai_error err = {0};
    if (!r_good(a, pomai_collection_list(db, &names, &count, &err), &err, "the collections cannot be listed")) return;
    for (size_t i = 0; i < count; i++) {
        pomai_collection *coll;
        if (!r_good(a, pomai_collection_open(db, names[i], &coll, &err), &err, "a listed collection does not open"))
            continue;
        r_collection(a, coll, names[i]);
        pomai_collection_close(coll);
    }
    pomai_free(names);
    (void)r_good(a, pomai_digest(db, NULL, a->words, &err), &err, "there is no digest");
}

static inline void r_main(void *context)
{
    struct attempt *a = context;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_db *db = NULL;
    if (a->verify) {
        char *json = NULL;
        a->status = pm_inspect_verify(pm_sim_os(a->w->sim), "/db", NULL, NULL, &json, &a->err);
        pomai_free(json);
        return;
    }
    options.shards = a->w->config.shards;
    options.wal_file_bytes = 64 << 10;
    options.mailbox_slots = 4;
    options.flags = a->flags;
    options.search_threads = UINT32_MAX;
    a->status = pm_db_open(pm_sim_os(a->w->sim), "/db", &options, &db, &a->err);
    if (a->status != POMAI_OK) return;
    r_everything(a, db);
    pomai_error err = {0};
    if (pomai_close(db, &err) != POMAI_OK && !a->read_says) a->wrong = "close fails";
}

#endif
