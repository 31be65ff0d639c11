/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image holds, read without the engine: the files, the records of each log, the rows that replaying them gives,
 * and which bytes say that which record was durable. From it follows what an open of the damaged image must show.
 */
#ifndef T_LOGS_H
#define T_LOGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/sim/sim_disk.h"
#include "storage/format.h"
#include "support/rng.h"
#include "world/world.h"

enum { C_FILES = 200, C_RECORDS = 4000, C_ROWS = 40000, C_COLLS = 64, C_WITNESSES = 8000, C_TABLE = 1 << 14 };

/* ---- files ---- */

typedef enum c_kind { C_CURRENT, C_MANIFEST, C_MARK, C_LOG, C_LOCK, C_OTHER } c_kind;

struct c_file {
    char path[120];
    c_kind kind;
    uint8_t *bytes;
    uint64_t size, used; /* used: without the zeros at the end */
};

struct c_files {
    struct c_file file[C_FILES];
    unsigned count;
};

static inline c_kind c_kind_of(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    size_t n = strlen(name);
    if (strcmp(name, "LOCK") == 0) return C_LOCK;
    if (strcmp(name, "CURRENT") == 0) return C_CURRENT;
    if (strcmp(name, "WATERMARK") == 0) return C_MARK;
    if (n > 4 && strcmp(name + n - 4, ".wal") == 0) return C_LOG;
    if (n == 19 && strncmp(name, "MANIFEST-", 9) == 0) return C_MANIFEST;
    return C_OTHER;
}

static inline void c_take_file(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct c_files *files = context;
    if (files->count == C_FILES || strlen(path) >= sizeof files->file[0].path) abort();
    struct c_file *f = &files->file[files->count++];
    snprintf(f->path, sizeof f->path, "%s", path);
    f->kind = c_kind_of(path);
    f->bytes = malloc(size + 1);
    if (f->bytes == NULL) abort();
    memcpy(f->bytes, bytes, size);
    f->size = f->used = size;
    while (f->used > 0 && bytes[f->used - 1] == 0)
        f->used--;
}

static inline void c_files_free(struct c_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        free(files->file[i].bytes);
    files->count = 0;
}

static inline void c_files_read(struct c_files *files, const pm_disk *disk)
{
    c_files_free(files);
    pm_disk_each_file(disk, c_take_file, files);
}

static inline int c_find(const struct c_files *files, const char *path)
{
    for (unsigned i = 0; i < files->count; i++)
        if (strcmp(files->file[i].path, path) == 0) return (int)i;
    return -1;
}

/* The files after a damage, beside those of the image. bytes NULL: removed. */
struct c_view {
    uint8_t *bytes[C_FILES]; /* the image's own, unless `changed` */
    uint64_t size[C_FILES];
    bool changed[C_FILES];
};

/* ---- the logs ---- */

struct c_record {
    const pm_rec_header *h;
    unsigned file;
    uint64_t at, size;
};

/* Bytes that say that the log up to `lsn` was durable; they count as long as nobody touched them. */
struct c_witness {
    unsigned file, size;
    uint64_t at, lsn;
    const uint8_t *bytes;
};

struct c_shard {
    struct c_record record[C_RECORDS]; /* record i has the LSN base + i + 1 */
    uint64_t base, first_wal;          /* what was retired */
    struct c_witness witness[C_WITNESSES];
    unsigned records, witnesses;
    unsigned mark; /* the WATERMARK */
    /* Slots of the WATERMARK that were ever whole: its own, and those of older versions. */
    struct c_witness slot[6];
    unsigned slots;
};

struct c_coll {
    uint32_t id, dim, metric, id_kind;
    uint64_t name_hash;
};

struct c_logs {
    const struct c_files *files;
    uint32_t shards;
    uint64_t resolved[W_SHARDS];
    struct c_shard shard[W_SHARDS];
    struct c_coll coll[C_COLLS];
    unsigned colls;
    /* of the whole image */
    uint64_t digest;
    uint64_t rows[C_ROWS]; /* every row that was ever put and not aborted, sorted */
    unsigned row_count;
    /* the last replay that was asked for */
    unsigned cut[W_SHARDS];
    uint64_t cut_digest;
    bool cut_known;
};

/* ---- rows as numbers ---- */

static inline uint64_t c_row_hash(uint64_t name_hash, uint64_t id_hash, const void *vector, uint64_t vector_size,
                                  const void *document, uint64_t document_size)
{
    uint64_t h = t_mix2(name_hash, id_hash);
    h = t_mix2(h, pm_hash_bytes(vector, vector_size, 3));
    return t_mix2(h, document_size == 0 ? 0 : pm_hash_bytes(document, document_size, 4));
}

static inline uint64_t c_id_hash(uint64_t id)
{
    return pm_hash_bytes(&id, sizeof id, 1);
}

static inline uint64_t c_name_hash(const void *name, size_t size)
{
    return pm_hash_bytes(name, size, 2);
}

static inline uint64_t c_coll_hash(uint64_t name_hash, uint64_t dim, uint32_t metric, uint32_t id_kind)
{
    return t_mix2(name_hash, dim * 64 + metric * 8 + id_kind);
}

struct c_row {
    uint64_t id_hash, row_hash;
};

static inline uint64_t c_column_at(const pm_rec_header *h, int which)
{
    uint64_t at = PM_REC_HEADER;
    if (which > 0) at += pm_align_up(h->ids_len, PM_WAL_ALIGN);
    if (which > 1) at += pm_align_up(h->vectors_len, PM_WAL_ALIGN) + pm_align_up(h->expiry_len, PM_WAL_ALIGN);
    return at;
}

static inline struct c_row c_row_of(const struct c_logs *l, const pm_rec_header *h, uint32_t i)
{
    const uint8_t *record = (const uint8_t *)h, *ids = record + c_column_at(h, 0);
    uint64_t name_hash = 0, id;
    struct c_row row = {0};
    for (unsigned c = 0; c < l->colls; c++)
        if (l->coll[c].id == h->collection) name_hash = l->coll[c].name_hash;
    if (h->id_kind == POMAI_ID_STRING) {
        uint32_t ends[2];
        memcpy(ends, ids + i * 4, sizeof ends);
        row.id_hash = c_name_hash(ids + (h->rows + 1) * 4 + ends[0], ends[1] - ends[0]);
    } else {
        bool range = (h->flags & PM_REC_IDS_ARE_RANGE) != 0;
        memcpy(&id, ids + (range ? 0 : i * 8), sizeof id);
        row.id_hash = c_id_hash(id + (range ? i : 0));
    }
    if (h->op == PM_OP_PUT) {
        const uint8_t *documents = record + c_column_at(h, 2), *document = NULL;
        uint32_t ends[2] = {0, 0};
        if ((h->flags & PM_REC_HAS_DOCUMENTS) != 0) {
            memcpy(ends, documents + i * 4, sizeof ends);
            document = documents + (h->rows + 1) * 4 + ends[0];
        }
        row.row_hash = c_row_hash(name_hash, row.id_hash, record + c_column_at(h, 1) + (uint64_t)i * h->dim * 4,
                                  (uint64_t)h->dim * 4, document, ends[1] - ends[0]);
    }
    row.id_hash = t_mix2(row.id_hash, h->collection); /* now the key in the table */
    return row;
}

/* ---- replaying ---- */

static inline bool c_listed(const struct c_logs *l, uint32_t collection)
{
    for (unsigned c = 0; c < l->colls; c++)
        if (l->coll[c].id == collection) return true;
    return false;
}

/* Whether a batch is whole in what the cuts leave of the logs. */
static inline bool c_batch_counts(const struct c_logs *l, const unsigned *cut, const pm_rec_header *of)
{
    uint64_t seen = 0;
    bool resolved = false;
    if (of->parts > 64) abort();
    for (uint32_t s = 0; s < l->shards; s++)
        for (unsigned i = 0; i < cut[s]; i++) {
            const pm_rec_header *h = l->shard[s].record[i].h;
            if (h->batch != of->batch) continue;
            if (h->op == PM_OP_ABORT) return false;
            seen |= (uint64_t)1 << h->part;
            resolved |= h->batch <= l->resolved[s];
        }
    return resolved || (uint32_t)__builtin_popcountll(seen) == of->parts;
}

static inline void c_apply(struct c_row *table, struct c_row row)
{
    uint64_t at = row.id_hash % C_TABLE;
    while (table[at].id_hash != 0 && table[at].id_hash != row.id_hash)
        at = (at + 1) % C_TABLE;
    table[at] = row;
}

/* What an open shows if of each shard's log the first cut[s] records are there. */
static inline uint64_t c_replay(struct c_logs *l, const unsigned *cut, bool collect)
{
    static struct c_row table[C_TABLE];
    if (!collect && l->cut_known && memcmp(cut, l->cut, sizeof l->cut) == 0) return l->cut_digest;
    memset(table, 0, sizeof table);
    for (uint32_t s = 0; s < l->shards; s++)
        for (unsigned i = 0; i < cut[s]; i++) {
            const pm_rec_header *h = l->shard[s].record[i].h;
            if (h->op == PM_OP_ABORT || !c_listed(l, h->collection)) continue;
            if (h->parts > 1 && !c_batch_counts(l, cut, h)) continue;
            for (uint32_t r = 0; r < h->rows; r++) {
                struct c_row row = c_row_of(l, h, r);
                c_apply(table, row);
                if (collect && h->op == PM_OP_PUT && l->row_count < C_ROWS) l->rows[l->row_count++] = row.row_hash;
            }
        }
    uint64_t digest = 0;
    for (unsigned c = 0; c < l->colls; c++)
        digest += c_coll_hash(l->coll[c].name_hash, l->coll[c].dim, l->coll[c].metric, l->coll[c].id_kind);
    for (unsigned i = 0; i < C_TABLE; i++)
        digest += table[i].row_hash;
    memcpy(l->cut, cut, sizeof l->cut);
    l->cut_digest = digest;
    l->cut_known = true;
    return digest;
}

/* ---- reading an image ---- */

static inline bool c_sealed(const uint8_t *bytes, uint64_t size)
{
    uint32_t crc;
    memcpy(&crc, bytes + 8, 4);
    return crc == pm_crc32c(0, bytes + 12, size - 12);
}

static inline void c_add_witness(struct c_shard *s, unsigned file, const uint8_t *bytes, uint64_t at, unsigned size,
                                 uint64_t lsn)
{
    if (s->witnesses == C_WITNESSES) abort();
    s->witness[s->witnesses++] = (struct c_witness){file, size, at, lsn, bytes + at};
}

static inline bool c_read_catalogue(struct c_logs *l)
{
    char path[120];
    pm_current current;
    pm_manifest_header h;
    int at = c_find(l->files, "/db/manifest/CURRENT");
    if (at < 0) return false;
    memcpy(&current, l->files->file[at].bytes, sizeof current);
    snprintf(path, sizeof path, "/db/manifest/MANIFEST-%010llu", (unsigned long long)current.number);
    at = c_find(l->files, path);
    if (at < 0) return false;
    const uint8_t *p = l->files->file[at].bytes;
    memcpy(&h, p, sizeof h);
    p += sizeof h;
    l->shards = h.shards;
    if (h.shards > W_SHARDS || h.collections > C_COLLS) abort();
    for (uint32_t s = 0; s < h.shards; s++, p += sizeof(pm_manifest_shard)) {
        pm_manifest_shard shard;
        memcpy(&shard, p, sizeof shard);
        l->resolved[s] = shard.resolved;
        l->shard[s].first_wal = shard.first_wal;
        l->shard[s].base = shard.pred_lsn;
    }
    for (uint32_t i = 0; i < h.collections; i++) {
        pm_manifest_collection c;
        memcpy(&c, p, sizeof c);
        p += sizeof c;
        l->coll[l->colls++] = (struct c_coll){c.id, c.dim, c.metric, c.id_kind, c_name_hash(p, c.name_len)};
        p += pm_align_up(c.name_len, 8) + h.shards * sizeof(uint64_t) + c.segments * sizeof(pm_manifest_segment);
    }
    return true;
}

static inline void c_read_records(struct c_shard *s, unsigned file, const struct c_file *f, uint64_t limit)
{
    const pm_wal_header *header = (const pm_wal_header *)(const void *)f->bytes;
    const uint32_t seed = pm_crc32c(0, &header->salt, sizeof header->salt);
    for (uint64_t at = PM_WAL_HEADER; at + PM_REC_HEADER <= limit;) {
        const pm_rec_header *h = (const pm_rec_header *)(const void *)(f->bytes + at);
        if (h->header_crc != pm_crc32c(seed, (const uint8_t *)h + 4, sizeof *h - 4)) return;
        if (h->lsn != s->base + s->records + 1 || h->payload_len > limit - at - PM_REC_HEADER) return;
        if (h->payload_crc != pm_crc32c(seed, h + 1, h->payload_len)) return;
        if (s->records == C_RECORDS) abort();
        s->record[s->records++] = (struct c_record){h, file, at, PM_REC_HEADER + h->payload_len};
        c_add_witness(s, file, f->bytes, at, PM_REC_HEADER, h->durable_lsn);
        at += PM_REC_HEADER + h->payload_len;
    }
}

static inline void c_read_slots(struct c_shard *s, const struct c_file *f, unsigned file)
{
    for (uint64_t at = 0; at + PM_MARK_SLOT <= f->size && s->slots < 6; at += PM_MARK_SLOT) {
        pm_mark_slot slot;
        memcpy(&slot, f->bytes + at, sizeof slot);
        if (memcmp(slot.magic, PM_MARK_MAGIC, 8) != 0 || !c_sealed(f->bytes + at, PM_MARK_SLOT)) continue;
        s->slot[s->slots++] = (struct c_witness){file, PM_MARK_SLOT, at, slot.durable_lsn, f->bytes + at};
    }
}

static inline bool c_read_shard(struct c_logs *l, uint32_t number, const struct c_files *older)
{
    struct c_shard *s = &l->shard[number];
    char path[120];
    s->records = s->witnesses = s->slots = 0;
    snprintf(path, sizeof path, "/db/shards/1/%u/wal/WATERMARK", number);
    int at = c_find(l->files, path), old = c_find(older, path);
    if (at < 0) return false;
    s->mark = (unsigned)at;
    c_read_slots(s, &l->files->file[at], (unsigned)at);
    if (old >= 0) c_read_slots(s, &older->file[old], (unsigned)at);
    for (uint64_t n = s->first_wal;; n++) {
        snprintf(path, sizeof path, "/db/shards/1/%u/wal/%010llu.wal", number, (unsigned long long)n);
        at = c_find(l->files, path);
        if (at < 0) return true;
        const struct c_file *f = &l->files->file[at];
        const pm_wal_header *h = (const pm_wal_header *)(const void *)f->bytes;
        c_add_witness(s, (unsigned)at, f->bytes, 0, PM_WAL_HEADER, h->pred_lsn);
        snprintf(path, sizeof path, "/db/shards/1/%u/wal/%010llu.wal", number, (unsigned long long)n + 1);
        int next = c_find(l->files, path);
        const pm_wal_header *nh = next < 0 ? NULL : (const pm_wal_header *)(const void *)l->files->file[next].bytes;
        c_read_records(s, (unsigned)at, f, nh == NULL ? f->size : nh->pred_length);
    }
}

static inline int c_by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static inline void c_whole(const struct c_logs *l, unsigned *cut)
{
    for (uint32_t s = 0; s < W_SHARDS; s++)
        cut[s] = s < l->shards ? l->shard[s].records : 0;
}

/* False: no database yet. */
static inline bool c_logs_read(struct c_logs *l, const struct c_files *files, const struct c_files *older)
{
    unsigned cut[W_SHARDS];
    l->files = files;
    l->shards = l->colls = l->row_count = 0;
    l->cut_known = false;
    if (!c_read_catalogue(l)) return false;
    for (uint32_t s = 0; s < l->shards; s++)
        if (!c_read_shard(l, s, older)) return false;
    c_whole(l, cut);
    l->digest = c_replay(l, cut, true);
    qsort(l->rows, l->row_count, sizeof l->rows[0], c_by_value);
    return true;
}

static inline bool c_row_known(const struct c_logs *l, uint64_t row_hash)
{
    return bsearch(&row_hash, l->rows, l->row_count, sizeof row_hash, c_by_value) != NULL;
}

/* ---- what must come of a damage ---- */

static inline bool c_intact(const struct c_logs *l, const struct c_view *v, unsigned file, uint64_t at, uint64_t size)
{
    if (!v->changed[file]) return true;
    return v->bytes[file] != NULL && at + size <= v->size[file] &&
           memcmp(v->bytes[file] + at, l->files->file[file].bytes + at, size) == 0;
}

/* The LSN that the WATERMARK still attests; -1: neither slot is one that was ever written there. */
static inline int64_t c_marked(const struct c_shard *s, const struct c_view *v)
{
    int64_t lsn = -1;
    for (unsigned i = 0; i < s->slots; i++) {
        const struct c_witness *w = &s->slot[i];
        if (v->bytes[s->mark] == NULL || v->size[s->mark] != 2ul * PM_MARK_SLOT) continue;
        for (unsigned at = 0; at < 2 * PM_MARK_SLOT; at += PM_MARK_SLOT) /* a slot says the same in either place */
            if (memcmp(v->bytes[s->mark] + at, w->bytes, PM_MARK_SLOT) == 0 && (int64_t)w->lsn > lsn)
                lsn = (int64_t)w->lsn;
    }
    return lsn;
}

static inline uint64_t c_attested(const struct c_logs *l, const struct c_shard *s, const struct c_view *v)
{
    int64_t marked = c_marked(s, v);
    uint64_t lsn = marked < 0 ? 0 : (uint64_t)marked;
    for (unsigned i = 0; i < s->witnesses; i++) {
        const struct c_witness *w = &s->witness[i];
        if (w->lsn > lsn && c_intact(l, v, w->file, w->at, w->size)) lsn = w->lsn;
    }
    return lsn;
}

static inline unsigned c_first_lost(const struct c_logs *l, const struct c_shard *s, const struct c_view *v)
{
    unsigned n = 0;
    while (n < s->records && c_intact(l, v, s->record[n].file, s->record[n].at, s->record[n].size))
        n++;
    return n;
}

struct c_verdict {
    bool must_refuse;
    bool torn; /* records are gone that nothing attests: rule 3 */
    bool marks_whole;
    uint64_t digest; /* what it must show if it opens */
};

/* Without CURRENT, a later manifest and log files a database looks like one whose making was cut off. */
static inline bool c_looks_unmade(const struct c_logs *l, const struct c_view *v)
{
    for (unsigned i = 0; i < l->files->count; i++) {
        const struct c_file *f = &l->files->file[i];
        bool first = f->kind == C_MANIFEST && strcmp(strrchr(f->path, '-'), "-0000000001") == 0;
        bool counts = f->kind == C_CURRENT || f->kind == C_LOG || (f->kind == C_MANIFEST && !first);
        if (counts && v->bytes[i] != NULL) return false;
    }
    return true;
}

static inline struct c_verdict c_judge(struct c_logs *l, const struct c_view *v)
{
    struct c_verdict verdict = {.marks_whole = true};
    unsigned cut[W_SHARDS] = {0};
    if (c_looks_unmade(l, v)) {
        for (uint32_t i = 0; i < l->shards; i++)
            if (l->shard[i].records > 0) verdict.must_refuse = true;
        return verdict;
    }
    for (uint32_t i = 0; i < l->shards; i++) {
        const struct c_shard *s = &l->shard[i];
        cut[i] = c_first_lost(l, s, v);
        if (v->changed[s->mark]) verdict.marks_whole = false;
        if (c_marked(s, v) < 0) verdict.must_refuse = true;
        if (cut[i] == s->records) continue;
        verdict.torn = true;
        if (c_attested(l, s, v) > s->base + cut[i]) verdict.must_refuse = true;
    }
    verdict.digest = verdict.torn ? c_replay(l, cut, false) : l->digest;
    return verdict;
}

#endif
