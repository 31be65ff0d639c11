/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history of a golden database: everything that the format knows is in it, and as little as can be of each. What is
 * written here is written for ever: a new history is a new set (tests/golden/README.md).
 */
#ifndef T_GOLDEN_WRITE_H
#define T_GOLDEN_WRITE_H

#include "golden.h"
#include "rng.h"
#include "storage/format.h"

enum { W_ASSIGNED = 1, W_JSON = 2, W_RAW = 4, W_EXPIRY = 8, W_LOOSE = 16, W_ROWS = 160, W_DIM = 16 };

static const struct golden_collection {
    const char *name;
    uint32_t dim;
    pomai_metric metric;
    pomai_id_kind ids;
    pomai_dtype dtype;
    uint64_t ttl_ns;
    const char *cluster_by;
    pomai_index_kind index;
} golden_collections[] = {
    {"default", 3, POMAI_METRIC_L2, POMAI_ID_U64, POMAI_DTYPE_FLOAT32, 0, NULL, POMAI_INDEX_AUTO},
    {"texts", 5, POMAI_METRIC_IP, POMAI_ID_STRING, POMAI_DTYPE_FLOAT16, 0, NULL, POMAI_INDEX_AUTO},
    {"bytes", 6, POMAI_METRIC_COSINE, POMAI_ID_U64, POMAI_DTYPE_INT8, 3 * 86400 * GOLDEN_SECOND, NULL,
     POMAI_INDEX_AUTO},
    {"indexed", W_DIM, POMAI_METRIC_L2, POMAI_ID_U64, POMAI_DTYPE_FLOAT32, 0, NULL, POMAI_INDEX_AUTO},
    {"gone", 4, POMAI_METRIC_L2, POMAI_ID_U64, POMAI_DTYPE_FLOAT32, 0, NULL, POMAI_INDEX_AUTO},
    {"clustered", 4, POMAI_METRIC_L2, POMAI_ID_U64, POMAI_DTYPE_FLOAT32, 0, "tag", POMAI_INDEX_EXACT},
};

/* Whole numbers from -48 to 48; of `indexed` quarters on a few planes, so that a graph needs few links. */
static inline float golden_element(const struct golden_collection *c, uint32_t row, uint32_t version, uint32_t d)
{
    const uint64_t of_row = t_mix2(c->dim, (uint64_t)version << 32 | row);
    if (c->dim != W_DIM) return (float)(int)(t_mix2(of_row, d) % 97) - 48.0f + (d == 0 && c->dim == 6 ? 0.0f : 1.0f);
    const int a = (int)(of_row % 64), b = (int)(of_row >> 8 & 63), e = (int)(of_row >> 16 & 7);
    return (float)(a * (int)(d % 5) - b * (int)(d % 3) + e * (int)(t_mix2(of_row, d) & 3)) / 4;
}

/* The first thousand lie in one shard, those from 1000 on by turns. */
static inline uint64_t golden_id(uint32_t row)
{
    return row < 1000 ? row : (uint64_t)(row - 1000) * 4096 + 5;
}

static inline pomai_bytes golden_name(uint32_t row, char text[40])
{
    static const char *const odd[] = {"a",          "\xff\xfe",     "caf\xc3\xa9", "\x80",
                                      "with space", "\"quoted\\\"", "\xc3",        "\x01"};
    pomai_bytes id = {text, 0};
    if (row < 8)
        id.size = (size_t)snprintf(text, 40, "%s", odd[row]);
    else
        id.size = (size_t)snprintf(text, 40, "row %u of those with plain names", row);
    if (row == 7) text[id.size++] = '\0'; /* a zero byte in it */
    return id;
}

static inline pomai_bytes golden_document(uint32_t row, uint32_t version, uint32_t with, char text[80])
{
    pomai_bytes document = {text, 0};
    if ((with & W_RAW) != 0 && row % 3 == 1)
        document.size = (size_t)snprintf(text, 80, "\xff\x80 raw %u", row) + 1;
    else if ((with & W_RAW) == 0 || row % 3 == 0)
        document.size =
            (size_t)snprintf(text, 80, "{\"n\": %u, \"tag\": \"%c\", \"of\": [%u, \"\xc3\xa9\"], \"x\": %u.5}", row,
                             (char)('a' + row % 3), version, row / 2);
    return document;
}

/* Rows first, first + step, ... of a collection. */
static inline bool golden_put_rows(struct golden *g, const char *name, uint32_t first, uint32_t step, uint32_t rows,
                                   uint32_t version, uint32_t with)
{
    static float vectors[W_ROWS * W_DIM];
    static uint64_t ids[W_ROWS], expiries[W_ROWS];
    static pomai_bytes names[W_ROWS], documents[W_ROWS];
    static char texts[W_ROWS][80], name_texts[W_ROWS][40];
    const struct golden_collection *c = golden_collections;
    pomai_collection *coll;
    pomai_write_options w = POMAI_WRITE_OPTIONS_INIT;
    pomai_batch batch = POMAI_BATCH_INIT;
    while (strcmp(c->name, name) != 0)
        c++;
    for (uint32_t i = 0; i < rows; i++) {
        const uint32_t row = first + i * step;
        ids[i] = golden_id(row);
        names[i] = golden_name(row, name_texts[i]);
        documents[i] = golden_document(row, version, with, texts[i]);
        expiries[i] = row % 3 == 0 ? 0 : GOLDEN_BEGIN + (row % 3 == 1 ? 500 : 40000000) * GOLDEN_SECOND + row;
        for (uint32_t d = 0; d < c->dim; d++)
            vectors[i * c->dim + d] = golden_element(c, row, version, d);
    }
    batch.rows = rows;
    batch.dim = c->dim;
    batch.vectors = vectors;
    if (c->ids == POMAI_ID_STRING)
        batch.string_ids = names;
    else if ((with & W_ASSIGNED) == 0)
        batch.u64_ids = ids;
    if ((with & (W_JSON | W_RAW)) != 0) batch.documents = documents;
    if ((with & W_EXPIRY) != 0) batch.expiry_ns = expiries;
    if ((with & W_LOOSE) != 0) w.durability = POMAI_DURABILITY_OS;
    golden_clock += GOLDEN_SECOND;
    if (strcmp(name, "default") == 0) return pomai_put(pomai_default(g->db), &batch, &w, NULL, &g->err) == POMAI_OK;
    if (pomai_collection_open(g->db, name, &coll, &g->err) != POMAI_OK) return false;
    const bool good = pomai_put(coll, &batch, &w, NULL, &g->err) == POMAI_OK;
    pomai_collection_close(coll);
    return good;
}

static inline bool golden_delete_row(struct golden *g, const char *name, uint32_t row)
{
    char text[40];
    const uint64_t id = golden_id(row);
    const pomai_bytes string = golden_name(row, text);
    pomai_ids ids = {1, &id, NULL};
    pomai_collection *coll;
    if (strcmp(name, "texts") == 0) ids = (pomai_ids){1, NULL, &string};
    golden_clock += GOLDEN_SECOND;
    if (pomai_collection_open(g->db, name, &coll, &g->err) != POMAI_OK) return false;
    const bool good = pomai_delete(coll, &ids, NULL, NULL, &g->err) == POMAI_OK;
    pomai_collection_close(coll);
    return good;
}

static inline bool golden_create(struct golden *g, const char *name)
{
    const struct golden_collection *c = golden_collections;
    pomai_collection_options o = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_collection *coll;
    while (strcmp(c->name, name) != 0)
        c++;
    o.dim = c->dim;
    o.metric = c->metric;
    o.id_kind = c->ids;
    o.dtype = c->dtype;
    o.ttl_ns = c->ttl_ns;
    o.cluster_by = c->cluster_by;
    o.index = c->index;
    golden_clock += GOLDEN_SECOND;
    if (pomai_collection_create(g->db, name, &o, &coll, &g->err) != POMAI_OK) return false;
    pomai_collection_close(coll);
    return true;
}

/* Segments with all that goes into them, indexes, and liveness files. */
static inline void golden_segments(void *arg)
{
    struct golden *g = arg;
    CHECK(g, golden_open(g, 0));
    CHECK(g, golden_put_rows(g, "default", 0, 1, 10, 0, W_ASSIGNED));
    CHECK(g, golden_put_rows(g, "default", 1000, 1, 14, 0, W_JSON | W_EXPIRY));
    CHECK(g, golden_create(g, "texts") && golden_create(g, "bytes") && golden_create(g, "indexed"));
    CHECK(g, golden_put_rows(g, "texts", 0, 1, 24, 0, W_RAW));
    CHECK(g, golden_put_rows(g, "bytes", 1000, 1, 16, 0, 0));
    CHECK(g, golden_put_rows(g, "indexed", 0, 1, W_ROWS, 0, W_JSON));
    CHECK(g, golden_create(g, "gone") && golden_put_rows(g, "gone", 0, 1, 4, 0, 0));
    CHECK(g, golden_create(g, "clustered") && golden_put_rows(g, "clustered", 1000, 1, 12, 0, W_JSON));
    CHECK(g, pomai_build_indexes(g->db, NULL, &g->err) == POMAI_OK); /* flushes, too */
    CHECK(g, golden_put_rows(g, "default", 3, 1, 2, 1, W_JSON) && golden_delete_row(g, "default", 1004));
    CHECK(g, golden_put_rows(g, "texts", 10, 10, 2, 1, W_RAW | W_EXPIRY) && golden_delete_row(g, "texts", 3));
    CHECK(g, golden_put_rows(g, "indexed", 7, 40, 3, 1, W_JSON) && golden_delete_row(g, "indexed", 100));
    CHECK(g, pomai_collection_drop(g->db, "gone", &g->err) == POMAI_OK);
    CHECK(g, pomai_flush(g->db, &g->err) == POMAI_OK);
    CHECK(g, pomai_close(g->db, &g->err) == POMAI_OK);
}

/* A batch over both shards, of which one part will be lost. */
static inline void golden_half_a_batch(void *arg)
{
    struct golden *g = arg;
    CHECK(g, golden_open(g, POMAI_OPEN_NO_FLUSH_AT_CLOSE));
    CHECK(g, golden_put_rows(g, "bytes", 1005, 5, 2, 1, W_EXPIRY));
    CHECK(g, golden_put_rows(g, "default", 1020, 1, 12, 0, W_LOOSE));
}

/* A log that is not flushed, of all kinds of records; the process is killed. */
static inline void golden_log(void *arg)
{
    struct golden *g = arg;
    pomai_open_report report;
    CHECK(g, golden_open(g, POMAI_OPEN_NO_FLUSH_AT_CLOSE));
    pomai_get_open_report(g->db, &report);
    CHECK(g, report.aborted_batches == 1);
    CHECK(g, golden_put_rows(g, "default", 1006, 1, 9, 1, W_JSON | W_EXPIRY) && golden_delete_row(g, "default", 5));
    CHECK(g, golden_put_rows(g, "default", 0, 1, 3, 2, W_ASSIGNED));
    CHECK(g, golden_put_rows(g, "texts", 4, 1, 3, 2, W_RAW) && golden_delete_row(g, "texts", 0));
    CHECK(g, golden_put_rows(g, "texts", 30, 1, 3, 2, W_RAW | W_EXPIRY));
    CHECK(g, golden_put_rows(g, "bytes", 1012, 1, 6, 2, W_RAW) && golden_delete_row(g, "bytes", 1001));
    CHECK(g, golden_put_rows(g, "indexed", 50, 1, 2, 2, W_JSON) && golden_delete_row(g, "indexed", 8));
    CHECK(g, golden_create(g, "gone") && golden_put_rows(g, "gone", 1, 1, 2, 0, 0));
    CHECK(g, pomai_collection_drop(g->db, "gone", &g->err) == POMAI_OK);
}

/* The offset of the last record of a log file, and where it ends. */
static inline uint64_t golden_last_record(const struct golden_file *f, uint64_t *end)
{
    uint64_t last = 0;
    *end = PM_WAL_HEADER;
    while (*end + PM_REC_HEADER <= f->size) {
        pm_rec_header h;
        memcpy(&h, f->bytes + *end, sizeof h);
        if (h.version != PM_REC_VERSION) break; /* nothing, or the torn one */
        last = *end;
        *end += PM_REC_HEADER + h.payload_len;
    }
    return last;
}

/* The process is gone; `torn`: it had begun to write a record that nobody was told of. Else the last one is not there.
 */
static inline void golden_kill(struct golden *g, const char *shard, bool torn)
{
    uint64_t end;
    pm_sim_kill_process(g->sim);
    g->db = NULL;
    struct golden_files *files = golden_of_disk(pm_sim_disk(g->sim));
    struct golden_file *f = golden_find(files, shard, ".wal");
    const uint64_t last = golden_last_record(f, &end);
    if (torn)
        memset(f->bytes + end, 0x5a, 150);
    else
        memset(f->bytes + last, 0, end - last);
    golden_put(pm_sim_disk(g->sim), f);
    golden_free(files);
}

/* Leaves the database on the disk of g->sim. */
static inline pm_sim_end golden_write(struct golden *g)
{
    pm_sim_end end = pm_sim_run(g->sim, golden_segments, g);
    if (end != PM_SIM_DONE || g->what[0] != '\0') return end;
    pm_sim_kill_process(g->sim);
    end = pm_sim_run(g->sim, golden_half_a_batch, g);
    if (end != PM_SIM_DONE || g->what[0] != '\0') return end;
    golden_kill(g, "/db/shards/1/1/wal/", false);
    end = pm_sim_run(g->sim, golden_log, g);
    if (end != PM_SIM_DONE || g->what[0] != '\0') return end;
    golden_kill(g, "/db/shards/1/0/wal/", true);
    return end;
}

#endif
