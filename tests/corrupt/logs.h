/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image holds, read without the engine: the rows of its segments, the records of each log, the rows that
 * replaying them gives, and which bytes say that which record was durable. From it follows what an open of the damaged
 * image must show: of segments all that they had, of logs what is left.
 */
#ifndef T_LOGS_H
#define T_LOGS_H

#include "segments.h"
#include "world/world.h"

enum { C_RECORDS = 4000, C_ROWS = 40000, C_COLLS = 64, C_WITNESSES = 8000, C_TABLE = 1 << 14 };

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
    uint32_t id, dim, dtype, metric, id_kind;
    uint64_t name_hash;
    uint64_t flushed[W_SHARDS]; /* records up to these LSNs are in segments */
};

struct c_logs {
    struct c_files *files;
    uint32_t shards;
    uint64_t resolved[W_SHARDS];
    struct c_shard shard[W_SHARDS];
    struct c_coll coll[C_COLLS];
    unsigned colls;
    struct c_row base[C_ROWS]; /* what the segments show before replay */
    unsigned base_count, segments, with_ends;
    uint64_t flushed[W_SHARDS]; /* the largest of all collections */
    /* of the whole image */
    uint64_t digest;
    uint64_t rows[C_ROWS]; /* every row that was ever put and not aborted, sorted */
    unsigned row_count;
    /* the last replay that was asked for */
    unsigned cut[W_SHARDS];
    uint64_t cut_digest;
    bool cut_known;
};

/* ---- rows of records ---- */

static inline uint64_t c_coll_hash(uint64_t name_hash, uint64_t dim, uint32_t dtype, uint32_t metric, uint32_t id_kind)
{
    return t_mix2(name_hash, dim * 1024 + dtype * 64 + metric * 8 + id_kind);
}

enum { C_COLUMN_IDS, C_COLUMN_VECTORS, C_COLUMN_EXPIRY, C_COLUMN_DOCUMENTS };

static inline uint64_t c_column_at(const pm_rec_header *h, int which)
{
    uint64_t at = PM_REC_HEADER;
    if (which > C_COLUMN_IDS) at += pm_align_up(h->ids_len, PM_WAL_ALIGN);
    if (which > C_COLUMN_VECTORS) at += pm_align_up(h->vectors_len, PM_WAL_ALIGN);
    if (which > C_COLUMN_EXPIRY) at += pm_align_up(h->expiry_len, PM_WAL_ALIGN);
    return at;
}

static inline const struct c_coll *c_coll_of(const struct c_logs *l, uint32_t id)
{
    for (unsigned c = 0; c < l->colls; c++)
        if (l->coll[c].id == id) return &l->coll[c];
    return NULL;
}

/* seen: as a reader would; else as it was put. */
static inline struct c_row c_row_of(const struct c_logs *l, const pm_rec_header *h, uint32_t i, bool seen)
{
    const uint8_t *record = (const uint8_t *)h, *ids = record + c_column_at(h, C_COLUMN_IDS), *text;
    const struct c_coll *coll = c_coll_of(l, h->collection);
    struct c_content c = {.name_hash = coll == NULL ? 0 : coll->name_hash, .stamp = h->stamp};
    if (h->id_kind == POMAI_ID_STRING) {
        const uint64_t size = c_text_at(ids, ids + (h->rows + 1ul) * 4, i, &text);
        c.id_hash = c_name_hash(text, size);
    } else {
        bool range = (h->flags & PM_REC_IDS_ARE_RANGE) != 0;
        c.id_hash = c_id_hash(c_u64_at(ids, range ? 0 : i) + (range ? i : 0));
    }
    struct c_row row = {t_mix2(c.id_hash, h->collection), 0};
    if (h->op != PM_OP_PUT) return row;
    c.dtype = (pomai_dtype)h->dtype;
    c.vector_size = (uint64_t)h->dim * pm_dtype_size(c.dtype);
    c.vector = record + c_column_at(h, C_COLUMN_VECTORS) + i * c.vector_size;
    if ((h->flags & PM_REC_HAS_EXPIRY) != 0) c.expiry = c_u64_at(record + c_column_at(h, C_COLUMN_EXPIRY), i);
    if ((h->flags & PM_REC_HAS_DOCUMENTS) != 0) {
        const uint8_t *ends = record + c_column_at(h, C_COLUMN_DOCUMENTS);
        c.document_size = c_text_at(ends, ends + (h->rows + 1ul) * 4, i, &text);
        c.document = text;
    }
    if (!seen || !c_has_passed(c.expiry)) row.row_hash = c_row_hash(&c);
    return row;
}

/* ---- replaying ---- */

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

static inline void c_collect(struct c_logs *l, uint64_t row_hash)
{
    if (l->row_count == C_ROWS) abort();
    l->rows[l->row_count++] = row_hash;
}

/* What an open shows if of each shard's log the first cut[s] records are there. */
static inline uint64_t c_replay(struct c_logs *l, const unsigned *cut, bool collect)
{
    static struct c_row table[C_TABLE];
    if (!collect && l->cut_known && memcmp(cut, l->cut, sizeof l->cut) == 0) return l->cut_digest;
    memset(table, 0, sizeof table);
    for (unsigned i = 0; i < l->base_count; i++)
        c_apply(table, l->base[i]);
    for (uint32_t s = 0; s < l->shards; s++)
        for (unsigned i = 0; i < cut[s]; i++) {
            const pm_rec_header *h = l->shard[s].record[i].h;
            const struct c_coll *coll = h->op == PM_OP_ABORT ? NULL : c_coll_of(l, h->collection);
            if (coll == NULL) continue;
            if (h->parts > 1 && !c_batch_counts(l, cut, h)) continue;
            for (uint32_t r = 0; r < h->rows; r++) {
                if (h->lsn > coll->flushed[s]) c_apply(table, c_row_of(l, h, r, true));
                if (collect && h->op == PM_OP_PUT) c_collect(l, c_row_of(l, h, r, false).row_hash);
            }
        }
    uint64_t digest = 0;
    for (unsigned c = 0; c < l->colls; c++)
        digest +=
            c_coll_hash(l->coll[c].name_hash, l->coll[c].dim, l->coll[c].dtype, l->coll[c].metric, l->coll[c].id_kind);
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

static inline bool c_read_segment(struct c_logs *l, const struct c_coll *coll, const pm_manifest_segment *listed)
{
    struct c_segment segment;
    if (!c_segment_read(&segment, l->files, coll->id, listed)) return false;
    segment.name_hash = coll->name_hash;
    l->segments++;
    l->with_ends += segment.ends > 0;
    for (uint64_t row = 0; row < listed->rows; row++) {
        const struct c_row r = c_segment_row(&segment, row);
        c_collect(l, r.row_hash);
        if (c_has_ended(&segment, row) || c_has_passed(c_u64_at(segment.buffer[C_B_EXPIRY], row))) continue;
        if (l->base_count == C_ROWS) abort();
        l->base[l->base_count++] = r;
    }
    return true;
}

/* A collection of the catalogue; NULL: a segment of it is not whole. */
static inline const uint8_t *c_read_coll(struct c_logs *l, const uint8_t *p)
{
    pm_manifest_collection c;
    struct c_coll *coll = &l->coll[l->colls++];
    memcpy(&c, p, sizeof c);
    p += sizeof c;
    *coll = (struct c_coll){c.id, c.dim, c.dtype, c.metric, c.id_kind, c_name_hash(p, c.name_len), {0}};
    p += pm_align_up(c.name_len, 8);
    for (uint32_t s = 0; s < l->shards; s++, p += sizeof(uint64_t)) {
        memcpy(&coll->flushed[s], p, sizeof(uint64_t));
        l->flushed[s] = pm_max_u64(l->flushed[s], coll->flushed[s]);
    }
    for (uint32_t i = 0; i < c.segments; i++, p += sizeof(pm_manifest_segment)) {
        pm_manifest_segment listed;
        memcpy(&listed, p, sizeof listed);
        if (!c_read_segment(l, coll, &listed)) return NULL;
    }
    return p;
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
        p = c_read_coll(l, p);
        if (p == NULL) return false;
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
static inline bool c_logs_read(struct c_logs *l, struct c_files *files, const struct c_files *older)
{
    unsigned cut[W_SHARDS];
    l->files = files;
    l->shards = l->colls = l->row_count = l->base_count = l->segments = l->with_ends = 0;
    memset(l->flushed, 0, sizeof l->flushed);
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
    bool unmarked; /* a WATERMARK that was never there: must be refused, too, unless another history's says the same */
    bool torn;     /* records are gone that nothing attests: rule 3 */
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
            if (l->shard[i].records > 0 || l->segments > 0) verdict.must_refuse = true;
        return verdict;
    }
    for (uint32_t i = 0; i < l->shards; i++) {
        const struct c_shard *s = &l->shard[i];
        cut[i] = c_first_lost(l, s, v);
        if (v->changed[s->mark]) verdict.marks_whole = false;
        if (c_marked(s, v) < 0) verdict.unmarked = true;
        if (cut[i] == s->records) continue;
        verdict.torn = true;
        if (pm_max_u64(c_attested(l, s, v), l->flushed[i]) > s->base + cut[i]) verdict.must_refuse = true;
    }
    verdict.digest = verdict.torn ? c_replay(l, cut, false) : l->digest;
    return verdict;
}

#endif
