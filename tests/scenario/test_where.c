/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows counted, scanned, deleted and updated by what their documents say, beside a list of rows; and while others
 * replace them: never is a row deleted whose newest version does not match, and no write is undone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "../support/scenario.h"
#include "base/base.h"
#include "support/no_memory.h"

enum { DIM = 8, KEYS = 300, TEXT = 160 };
#define FAR_OFF UINT64_C(9000000000000000000)

static uint64_t seed = 1; /* --seed S */

/* ---- the model: of each key what its row must be ---- */

struct row {
    bool there;
    char text[TEXT]; /* the document; "": none */
    int n;           /* in it; -1: none */
    bool last;       /* "n" was removed and came back: it is the last key */
    int tag;         /* as `n` */
    bool object;
    float vector[DIM]; /* as it is read */
    uint64_t expiry;
};

struct model {
    bool strings;
    struct row row[KEYS];
};

static void render(struct row *r, unsigned key)
{
    char n[32] = "", tail[32] = "", tag[32] = "";
    if (r->n >= 0) snprintf(r->last ? tail : n, 32, ",\"n\":%d", r->n);
    if (r->tag >= 0) snprintf(tag, sizeof tag, ",\"tag\":%d", r->tag);
    snprintf(r->text, sizeof r->text, "{\"key\":%u%s,\"big\":12345678901234567890.50,\"s\":\"\\u00e9\\n\"%s%s}", key, n,
             r->last ? tag : "", r->last ? tail : tag);
}

static size_t name_of(unsigned key, char name[32])
{
    return (size_t)snprintf(name, 32, "%.*s%u", (int)(key % 9), "idididid", key);
}

struct list {
    pomai_ids ids;
    uint64_t u64[KEYS];
    pomai_bytes string[KEYS];
    char name[KEYS][32];
};

static void list_keys(struct list *l, bool strings, const unsigned *keys, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        l->u64[i] = (uint64_t)keys[i] * 1000; /* over several shards */
        l->string[i] = (pomai_bytes){l->name[i], name_of(keys[i], l->name[i])};
    }
    l->ids = (pomai_ids){count, strings ? NULL : l->u64, strings ? l->string : NULL};
}

/* The row of one key as it is read; false: it is not there. */
static bool read_key(const struct model *m, pomai_collection *coll, unsigned key, struct row *to)
{
    pomai_error err;
    pomai_rows *rows;
    static _Thread_local struct list l;
    list_keys(&l, m->strings, &key, 1);
    assert_ok(pomai_get(coll, &l.ids, NULL, &rows, &err));
    const bool found = pomai_rows_found(rows, 0) != 0;
    if (found) {
        const pomai_bytes document = pomai_rows_document(rows, 0);
        assert_true(document.size < TEXT);
        memset(to->text, 0, TEXT);
        if (document.size > 0) memcpy(to->text, document.data, document.size);
        memcpy(to->vector, pomai_rows_vector(rows, 0), sizeof to->vector);
        to->expiry = pomai_rows_expiry(rows, 0);
    }
    pomai_rows_free(rows);
    return found;
}

static pomai_status try_put_row(const struct model *m, pomai_collection *coll, unsigned key, const struct row *r,
                                pomai_ticket **ticket, pomai_error *err)
{
    static _Thread_local struct list l; /* borrowed until a ticket is done */
    static _Thread_local pomai_bytes document;
    list_keys(&l, m->strings, &key, 1);
    document = (pomai_bytes){r->text, strlen(r->text)};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 1;
    batch.dim = DIM;
    batch.vectors = r->vector;
    batch.u64_ids = l.ids.u64;
    batch.string_ids = l.ids.string;
    batch.documents = &document;
    batch.expiry_ns = &r->expiry;
    if (ticket != NULL) return pomai_put_async(coll, &batch, NULL, ticket, err);
    return pomai_put(coll, &batch, NULL, NULL, err);
}

static void draw_vector(struct t_rng *rng, float *vector)
{
    for (int d = 0; d < DIM; d++)
        vector[d] = (float)((int)t_below(rng, 255) - 127);
}

static void put_key(struct model *m, pomai_collection *coll, unsigned key, struct t_rng *rng)
{
    pomai_error err;
    struct row *r = &m->row[key];
    *r = (struct row){.there = true, .n = (int)t_below(rng, 100), .tag = -1, .object = true};
    if (t_chance(rng, 30)) r->expiry = FAR_OFF + t_below(rng, 1000);
    draw_vector(rng, r->vector);
    render(r, key);
    if (t_chance(rng, 10)) {
        r->n = -1;
        r->object = false;
        strcpy(r->text, t_chance(rng, 50) ? "" : "no JSON {");
    }
    assert_ok(try_put_row(m, coll, key, r, NULL, &err));
}

static void check_key(struct model *m, pomai_collection *coll, unsigned key)
{
    struct row found, *r = &m->row[key];
    const bool is = read_key(m, coll, key, &found);
    if (is != r->there) fail_msg("key %u is %sthere", key, is ? "" : "not ");
    if (!is) return;
    if (strcmp(found.text, r->text) != 0) fail_msg("key %u has %s, should have %s", key, found.text, r->text);
    if (memcmp(found.vector, r->vector, sizeof r->vector) != 0) fail_msg("key %u has another vector", key);
    assert_int_equal(found.expiry, r->expiry);
}

/* ---- filters ---- */

struct filter {
    char text[96];
    bool (*matches)(const struct row *row, int x);
    int x;
};

static bool below(const struct row *row, int x)
{
    return row->n >= 0 && row->n < x;
}

static bool has_no_n(const struct row *row, int x)
{
    (void)x;
    return row->n < 0;
}

static bool any(const struct row *row, int x)
{
    (void)row;
    (void)x;
    return true;
}

static bool tagged(const struct row *row, int x)
{
    return row->tag == x;
}

static struct filter draw_filter(struct t_rng *rng)
{
    struct filter f = {.x = (int)t_below(rng, 110)};
    switch (t_below(rng, 8)) {
    case 0:
        snprintf(f.text, sizeof f.text, "{}");
        f.matches = any;
        break;
    case 1:
        snprintf(f.text, sizeof f.text, "{\"n\": {\"$exists\": false}}");
        f.matches = has_no_n;
        break;
    case 2:
        f.x = (int)t_below(rng, 10);
        snprintf(f.text, sizeof f.text, "{\"tag\": %d}", f.x);
        f.matches = tagged;
        break;
    default:
        snprintf(f.text, sizeof f.text, "{\"n\": {\"$lt\": %d}}", f.x);
        f.matches = below;
    }
    return f;
}

static uint64_t matching(const struct model *m, const struct filter *f)
{
    uint64_t rows = 0;
    for (unsigned key = 0; key < KEYS; key++)
        rows += m->row[key].there && f->matches(&m->row[key], f->x);
    return rows;
}

static uint64_t count_of(pomai_collection *coll, const char *filter, const pomai_snapshot *snapshot)
{
    pomai_error err;
    uint64_t rows = 77;
    pomai_count_options o = POMAI_COUNT_OPTIONS_INIT;
    o.filter = filter;
    o.filter_size = strlen(filter);
    o.snapshot = snapshot;
    assert_ok(pomai_count(coll, &o, &rows, &err));
    return rows;
}

/* Each row that matches comes once, in pieces of `most`, and no other. */
static void check_scan(const struct model *m, pomai_collection *coll, const struct filter *f, uint64_t most,
                       const pomai_snapshot *snapshot)
{
    pomai_error err;
    pomai_scan *scan;
    pomai_rows *rows;
    bool seen[KEYS] = {false};
    uint64_t count = 0;
    char text[96];
    memcpy(text, f->text, sizeof text);
    pomai_scan_options o = POMAI_SCAN_OPTIONS_INIT;
    o.filter = text;
    o.filter_size = strlen(text);
    o.snapshot = snapshot;
    o.include = most % 2 == 0 ? 0 : POMAI_INCLUDE_VECTORS | POMAI_INCLUDE_DOCUMENTS;
    assert_ok(pomai_scan_open(coll, &o, &scan, &err));
    memset(text, 0, sizeof text); /* borrowed for the opening only */
    for (;;) {
        assert_ok(pomai_scan_next(scan, most, &rows, &err));
        if (rows == NULL) break;
        assert_true(pomai_rows_count(rows) <= most);
        for (size_t i = 0; i < pomai_rows_count(rows); i++) {
            unsigned key = (unsigned)(pomai_rows_id(rows, i) / 1000);
            char name[32];
            const pomai_bytes id = pomai_rows_string_id(rows, i);
            for (key = m->strings ? 0 : key; m->strings && key < KEYS; key++)
                if (name_of(key, name) == id.size && memcmp(name, id.data, id.size) == 0) break;
            assert_true(key < KEYS && !seen[key]);
            seen[key] = true;
            if (!m->row[key].there || !f->matches(&m->row[key], f->x))
                fail_msg("key %u (%s) comes for %s", key, m->row[key].text, f->text);
            if (o.include != 0) assert_memory_equal(pomai_rows_vector(rows, i), m->row[key].vector, sizeof(float[DIM]));
            count++;
        }
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    assert_int_equal(count, matching(m, f));
}

/* ---- one thread, at random ---- */

static void delete_where(struct model *m, pomai_collection *coll, struct t_rng *rng)
{
    pomai_error err;
    pomai_ack ack;
    const struct filter f = draw_filter(rng);
    const uint64_t rows = matching(m, &f);
    assert_ok(pomai_delete_where(coll, f.text, strlen(f.text), NULL, &ack, &err));
    assert_int_equal(ack.rows, rows);
    assert_true((ack.parts > 0) == (rows > 0));
    for (unsigned key = 0; key < KEYS; key++)
        if (m->row[key].there && f.matches(&m->row[key], f.x)) m->row[key].there = false;
}

/* A patch that the model can follow: sets or removes "n", sets "tag". */
struct patch {
    char text[96];
    int n, tag; /* -1: left alone; -2: removed */
};

static struct patch draw_patch(struct t_rng *rng)
{
    struct patch p = {.n = -1, .tag = -1};
    const uint64_t lot = t_below(rng, 4);
    if (lot < 2) p.n = lot == 0 ? -2 : (int)t_below(rng, 100);
    if (lot > 0) p.tag = (int)t_below(rng, 10);
    char n[32] = "", tag[32] = "";
    if (p.tag >= 0) snprintf(tag, sizeof tag, "\"tag\": %d%s", p.tag, p.n == -1 ? "" : ", ");
    if (p.n >= 0) snprintf(n, sizeof n, "\"n\":%d", p.n);
    if (p.n == -2) snprintf(n, sizeof n, "\"n\":null");
    snprintf(p.text, sizeof p.text, " {%s%s} ", tag, n);
    return p;
}

static void patch_row(struct row *r, const struct patch *p, unsigned key)
{
    if (p->n == -2) r->n = -1;
    if (p->n >= 0 && r->n < 0) r->last = true;
    if (p->n >= 0) r->n = p->n;
    if (p->tag >= 0) r->tag = p->tag;
    render(r, key);
}

/* Whether it sets something, or finds what it removes. */
static bool changes(const struct row *r, const struct patch *p)
{
    return p->tag >= 0 || p->n >= 0 || (p->n == -2 && r->n >= 0);
}

/* What the model can follow to the byte. */
static bool simple(const struct row *r, const struct patch *p)
{
    return r->object && !(r->last && r->tag < 0 && p->tag >= 0) &&
           !(r->n < 0 && p->n >= 0 && r->tag < 0 && p->tag < 0 && false);
}

static void update_ids(struct model *m, pomai_collection *coll, struct t_rng *rng)
{
    static struct list l;
    static char texts[KEYS][TEXT];
    pomai_error err;
    pomai_ack ack;
    pomai_bytes documents[KEYS];
    unsigned keys[KEYS], count = 0;
    uint64_t rows = 0;
    const bool merge = t_chance(rng, 50);
    for (unsigned key = (unsigned)t_below(rng, 20); key < KEYS && count < 40; key += 1 + (unsigned)t_below(rng, 20)) {
        struct row *r = &m->row[key];
        const struct patch p = draw_patch(rng);
        if (merge && r->there && !simple(r, &p)) continue;
        keys[count] = key;
        snprintf(texts[count], TEXT, "%s", p.text);
        if (!merge) snprintf(texts[count], TEXT, "{\"n\":%d}", (int)t_below(rng, 100));
        if (!merge && t_chance(rng, 20)) texts[count][0] = '\0';
        documents[count] = (pomai_bytes){texts[count], strlen(texts[count])};
        count++;
        if (!r->there) continue;
        rows += !merge || changes(r, &p);
        if (merge) {
            patch_row(r, &p, key);
        } else {
            strcpy(r->text, texts[count - 1]);
            r->object = false; /* no more of the shape that the model patches */
            r->tag = -1;
            if (sscanf(r->text, "{\"n\":%d}", &r->n) != 1) r->n = -1;
        }
    }
    if (count == 0) return;
    list_keys(&l, m->strings, keys, count);
    assert_ok(
        pomai_update(coll, &l.ids, documents, merge ? POMAI_UPDATE_MERGE : POMAI_UPDATE_REPLACE, NULL, &ack, &err));
    assert_int_equal(ack.rows, rows);
}

static void update_where(struct model *m, pomai_collection *coll, struct t_rng *rng)
{
    pomai_error err;
    pomai_ack ack;
    uint64_t rows = 0, changed = 0;
    const struct filter f = draw_filter(rng);
    const struct patch p = draw_patch(rng);
    bool merge = true;
    for (unsigned key = 0; key < KEYS; key++) {
        const struct row *r = &m->row[key];
        if (!r->there || !f.matches(r, f.x)) continue;
        merge = merge && simple(r, &p);
        rows++;
        changed += changes(r, &p);
    }
    const char *text = merge ? p.text : "{\"n\":5}";
    const pomai_bytes document = {text, strlen(text)};
    assert_ok(pomai_update_where(coll, f.text, strlen(f.text), &document,
                                 merge ? POMAI_UPDATE_MERGE : POMAI_UPDATE_REPLACE, NULL, &ack, &err));
    assert_int_equal(ack.rows, merge ? changed : rows);
    for (unsigned key = 0; key < KEYS; key++) {
        struct row *r = &m->row[key];
        if (!r->there || !f.matches(r, f.x)) continue;
        if (merge) {
            patch_row(r, &p, key);
        } else {
            strcpy(r->text, text);
            r->object = false;
            r->tag = -1;
            r->n = 5;
        }
    }
}

static void check_all(struct model *m, pomai_collection *coll, struct t_rng *rng)
{
    for (unsigned key = 0; key < KEYS; key++)
        check_key(m, coll, key);
    for (int i = 0; i < 6; i++) {
        const struct filter f = draw_filter(rng);
        assert_int_equal(count_of(coll, f.text, NULL), matching(m, &f));
        check_scan(m, coll, &f, i == 0 ? 1 : 1 + t_below(rng, 2 * KEYS), NULL);
    }
}

static void step(struct model *m, pomai_db *db, pomai_collection *coll, struct t_rng *rng)
{
    pomai_error err;
    const uint64_t lot = t_below(rng, 100);
    if (lot < 65) {
        put_key(m, coll, (unsigned)t_below(rng, KEYS), rng);
    } else if (lot < 75) {
        update_ids(m, coll, rng);
    } else if (lot < 82) {
        update_where(m, coll, rng);
    } else if (lot < 86) {
        if (t_chance(rng, 30)) delete_where(m, coll, rng);
    } else if (lot < 90) {
        assert_ok(pomai_flush(db, &err));
    } else if (lot < 92) {
        assert_ok(pomai_compact(db, NULL, &err));
    } else {
        const struct filter f = draw_filter(rng);
        assert_int_equal(count_of(coll, f.text, NULL), matching(m, &f));
        check_scan(m, coll, &f, 1 + t_below(rng, 100), NULL);
    }
}

static void run_random(const struct box *box, bool strings, uint32_t shards, pomai_dtype dtype, uint64_t ttl_ns)
{
    pomai_error err;
    struct t_rng rng = t_rng_from(t_mix2(seed, (uint64_t)dtype * 16 + strings * 8 + shards));
    struct model *m = calloc(1, sizeof *m);
    uint64_t before[2], after[2];
    assert_non_null(m);
    m->strings = strings;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = shards;
    o.durability = POMAI_DURABILITY_OS;
    o.flags = POMAI_OPEN_NO_FLUSH_AT_CLOSE; /* what is reopened comes from the log */
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll;
    pomai_collection_options co = POMAI_COLLECTION_OPTIONS_INIT;
    co.dim = DIM;
    co.dtype = dtype;
    co.ttl_ns = ttl_ns;
    co.id_kind = strings ? POMAI_ID_STRING : POMAI_ID_U64;
    assert_ok(pomai_collection_create(db, "c", &co, &coll, &err));
    for (int i = 0; i < 900; i++) {
        step(m, db, coll, &rng);
        if (i % 300 != 299) continue;
        check_all(m, coll, &rng);
        assert_ok(pomai_digest(db, NULL, before, &err));
        pomai_collection_close(coll);
        close_db(db);
        db = open_db(box, &o);
        assert_ok(pomai_collection_open(db, "c", &coll, &err));
        assert_ok(pomai_digest(db, NULL, after, &err));
        assert_memory_equal(before, after, sizeof before);
        check_all(m, coll, &rng);
    }
    pomai_collection_close(coll);
    close_db(db);
    free(m);
}

static void numbers_at_random(void **state)
{
    run_random(*state, false, 3, POMAI_DTYPE_FLOAT32, 0);
}

static void strings_at_random(void **state)
{
    run_random(*state, true, 2, POMAI_DTYPE_FLOAT32, 0);
}

static void float16_at_random(void **state)
{
    run_random(*state, false, 1, POMAI_DTYPE_FLOAT16, 0);
}

/* Rows that have no expiry stay without one, though updated ones are written anew. */
static void int8_with_ttl_at_random(void **state)
{
    run_random(*state, false, 2, POMAI_DTYPE_INT8, UINT64_C(1000000000));
}

/* ---- between reading and writing ---- */

/* What another thread does after rows were read and before they are written: with the hook, at that very moment. */
static struct meddling {
    struct model *m;
    pomai_collection *coll;
    unsigned key;
    struct row row; /* that it puts */
    bool deletes;
    bool async;
    pomai_ticket *ticket;
    int times; /* that it will */
    int done;
} meddling;

static void meddle(enum pm_point point)
{
    pomai_error err;
    struct meddling *d = &meddling;
    if (point != PM_POINT_CHANGE_READ || d->times == 0) return;
    d->times--;
    d->done++;
    d->row.vector[0] += 1;
    if (d->deletes) {
        static struct list l;
        list_keys(&l, d->m->strings, &d->key, 1);
        assert_ok(pomai_delete(d->coll, &l.ids, NULL, NULL, &err));
        return;
    }
    assert_ok(try_put_row(d->m, d->coll, d->key, &d->row, d->async ? &d->ticket : NULL, &err));
}

enum { ROWS = 40 };

/* ROWS rows with n = 0, 1, ...; key 7 is the one that is meddled with. Where they are: in memory, or in a segment. */
static pomai_collection *make_rows(const struct box *box, struct model *m, bool flushed, pomai_db **db)
{
    pomai_error err;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 1;
    pm_point_hook = meddle;
    meddling = (struct meddling){.m = m};
    *db = open_db(box, &o);
    pomai_collection *coll = meddling.coll = create(*db, "c", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
    struct t_rng rng = t_rng_from(seed);
    memset(m, 0, sizeof *m);
    for (unsigned key = 0; key < ROWS; key++) {
        struct row *r = &m->row[key];
        *r = (struct row){.there = true, .n = (int)key, .tag = -1, .object = true, .expiry = FAR_OFF + key};
        draw_vector(&rng, r->vector);
        render(r, key);
        assert_ok(try_put_row(m, coll, key, r, NULL, &err));
    }
    if (flushed) assert_ok(pomai_flush(*db, &err));
    meddling.key = 7;
    meddling.row = m->row[7];
    meddling.row.expiry = FAR_OFF + 777;
    return coll;
}

static void end_rows(pomai_db *db, pomai_collection *coll)
{
    pomai_error err;
    if (meddling.ticket != NULL) assert_ok(pomai_wait(meddling.ticket, UINT64_MAX, NULL, &err));
    pomai_ticket_free(meddling.ticket);
    meddling.ticket = NULL;
    pomai_collection_close(coll);
    close_db(db);
    pm_point_hook = NULL;
}

static void drop_rows(const struct box *box)
{
    t_remove(box->db);
}

static void meddled_delete(const struct box *box, bool flushed, bool async, bool still_matches)
{
    pomai_error err;
    pomai_ack ack;
    pomai_db *db;
    struct row found;
    static struct model m;
    pomai_collection *coll = make_rows(box, &m, flushed, &db);
    meddling.row.n = still_matches ? 8 : 50;
    render(&meddling.row, 7);
    meddling.times = 1;
    meddling.async = async;
    static const char below_ten[] = "{\"n\": {\"$lt\": 10}}";
    assert_ok(pomai_delete_where(coll, below_ten, strlen(below_ten), NULL, &ack, &err));
    assert_int_equal(meddling.done, 1);
    assert_int_equal(ack.rows, still_matches ? 10 : 9);
    for (unsigned key = 0; key < ROWS; key++)
        assert_int_equal(read_key(&m, coll, key, &found), key >= 10 || (key == 7 && !still_matches));
    if (!still_matches) {
        assert_true(read_key(&m, coll, 7, &found));
        assert_string_equal(found.text, meddling.row.text);
    }
    end_rows(db, coll);
    drop_rows(box);
}

static void a_row_that_stops_matching_stays(void **state)
{
    for (int i = 0; i < 4; i++)
        meddled_delete(*state, (i & 1) != 0, (i & 2) != 0, false);
}

static void a_row_that_goes_on_matching_goes(void **state)
{
    for (int i = 0; i < 4; i++)
        meddled_delete(*state, (i & 1) != 0, (i & 2) != 0, true);
}

/* The update goes on top of what was put meanwhile: its vector, its expiry, its other keys. */
static void meddled_update(const struct box *box, bool flushed, bool async, bool where)
{
    pomai_error err;
    pomai_ack ack;
    pomai_db *db;
    struct row found;
    static struct model m;
    static struct list l;
    pomai_collection *coll = make_rows(box, &m, flushed, &db);
    meddling.row.n = 8;
    render(&meddling.row, 7);
    meddling.times = 3;
    meddling.async = async;
    const unsigned keys[] = {5, 7, 9, 200};
    const char *patch = "{\"tag\":4}";
    const pomai_bytes one = {patch, strlen(patch)}, documents[] = {one, one, one, one};
    static const char filter[] = "{\"n\": {\"$in\": [5, 7, 8, 9]}}";
    list_keys(&l, false, keys, 4);
    if (async) meddling.times = 1; /* one ticket */
    if (where)
        assert_ok(pomai_update_where(coll, filter, strlen(filter), &one, POMAI_UPDATE_MERGE, NULL, &ack, &err));
    else
        assert_ok(pomai_update(coll, &l.ids, documents, POMAI_UPDATE_MERGE, NULL, &ack, &err));
    assert_int_equal(meddling.done, async ? 1 : 3);
    assert_int_equal(ack.rows, where ? 4 : 3);
    meddling.row.tag = 4;
    render(&meddling.row, 7);
    assert_true(read_key(&m, coll, 7, &found));
    assert_string_equal(found.text, meddling.row.text);
    assert_memory_equal(found.vector, meddling.row.vector, sizeof found.vector);
    assert_int_equal(found.expiry, meddling.row.expiry);
    m.row[5].tag = 4;
    render(&m.row[5], 5);
    check_key(&m, coll, 5);
    check_key(&m, coll, 6);
    end_rows(db, coll);
    drop_rows(box);
}

static void no_write_is_undone(void **state)
{
    for (int i = 0; i < 8; i++)
        meddled_update(*state, (i & 1) != 0, (i & 2) != 0, (i & 4) != 0);
}

/* A row that was deleted meanwhile does not come back; and one that stops matching is left alone. */
static void what_is_gone_is_passed_over(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_db *db;
    struct row found;
    static struct model m;
    static const char filter[] = "{\"n\": 7}";
    const char *patch = "{\"tag\":4}";
    const pomai_bytes one = {patch, strlen(patch)};
    for (int i = 0; i < 4; i++) {
        pomai_collection *coll = make_rows(box, &m, (i & 1) != 0, &db);
        meddling.times = 1;
        meddling.deletes = i < 2;
        meddling.row.n = 70;
        render(&meddling.row, 7);
        assert_ok(pomai_update_where(coll, filter, strlen(filter), &one, POMAI_UPDATE_MERGE, NULL, &ack, &err));
        assert_int_equal(ack.rows, 0);
        assert_int_equal(meddling.done, 1);
        assert_int_equal(read_key(&m, coll, 7, &found), i >= 2);
        if (i >= 2) assert_string_equal(found.text, meddling.row.text);
        end_rows(db, coll);
        drop_rows(box);
    }
}

/* Whoever replaces a row each time that it is read: an update gives up, and says so; a delete leaves the row. */
static void without_end(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_db *db;
    struct row found;
    static struct model m;
    static const char filter[] = "{\"n\": {\"$lt\": 10}}";
    const char *patch = "{\"tag\":4}";
    const pomai_bytes one = {patch, strlen(patch)};
    pomai_write_options o = POMAI_WRITE_OPTIONS_INIT;
    o.durability = POMAI_DURABILITY_OS;
    pomai_collection *coll = make_rows(box, &m, false, &db);
    meddling.times = INT32_MAX;
    assert_refused(pomai_update_where(coll, filter, strlen(filter), &one, POMAI_UPDATE_MERGE, &o, &ack, &err),
                   POMAI_EBUSY, "replaced by others");
    assert_int_equal(ack.rows, 9);
    assert_true(read_key(&m, coll, 7, &found));
    assert_string_equal(found.text, meddling.row.text);
    assert_ok(pomai_delete_where(coll, filter, strlen(filter), &o, &ack, &err));
    assert_int_equal(ack.rows, 9);
    assert_true(read_key(&m, coll, 7, &found));
    end_rows(db, coll);
}

/* ---- threads ---- */

enum { WRITERS = 3, OWN = 8, ROUNDS = 150 };

struct writer {
    pthread_t thread;
    pomai_collection *coll;
    unsigned me;
    atomic_bool *failed;
};

/* The vector says which write it is; the document, too. n below 100 may be deleted at any time. */
static void make_version(struct row *r, unsigned key, int version, bool matches)
{
    *r = (struct row){.there = true, .n = matches ? version % 100 : 100 + version, .tag = -1, .object = true};
    r->expiry = FAR_OFF + (uint64_t)version;
    for (int d = 0; d < DIM; d++)
        r->vector[d] = (float)(version * 10 + d);
    render(r, key);
}

/* What is there must be this version; updates may have put a tag on it. */
static bool is_version(const struct row *found, const struct row *r)
{
    const size_t size = strlen(r->text) - 1;
    return memcmp(found->vector, r->vector, sizeof r->vector) == 0 && found->expiry == r->expiry &&
           memcmp(found->text, r->text, size) == 0 &&
           (strcmp(found->text + size, "}") == 0 || strncmp(found->text + size, ",\"tag\":", 7) == 0);
}

static void *write_rows(void *argument)
{
    struct writer *w = argument;
    static const struct model numbers;
    pomai_error err;
    for (int round = 1; round <= ROUNDS && !atomic_load(w->failed); round++) {
        for (unsigned i = 0; i < OWN; i++) {
            const unsigned key = w->me * OWN + i;
            struct row r, found;
            make_version(&r, key, round, round % 2 == 0);
            if (try_put_row(&numbers, w->coll, key, &r, NULL, &err) != POMAI_OK) atomic_store(w->failed, true);
            const bool is = read_key(&numbers, w->coll, key, &found);
            if ((!is && round % 2 != 0) || (is && !is_version(&found, &r))) {
                printf("key %u, round %d: %s %s\n", key, round, is ? "is" : "is gone", is ? found.text : "");
                atomic_store(w->failed, true);
            }
        }
    }
    return NULL;
}

static void beside_writers(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    struct writer writer[WRITERS];
    atomic_bool failed = false;
    static const char matching_ones[] = "{\"n\": {\"$lt\": 100}}";
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.shards = 2;
    o.durability = POMAI_DURABILITY_OS;
    o.flush_bytes = 1 << 20;
    pomai_db *db = open_db(box, &o);
    pomai_collection *coll = create(db, "c", DIM, POMAI_METRIC_L2, POMAI_ID_U64);
    for (unsigned i = 0; i < WRITERS; i++) {
        writer[i] = (struct writer){.coll = coll, .me = i, .failed = &failed};
        assert_int_equal(pthread_create(&writer[i].thread, NULL, write_rows, &writer[i]), 0);
    }
    for (int i = 0; i < 120 && !atomic_load(&failed); i++) {
        char patch[32];
        snprintf(patch, sizeof patch, "{\"tag\":%d}", i);
        const pomai_bytes one = {patch, strlen(patch)};
        assert_ok(pomai_delete_where(coll, matching_ones, strlen(matching_ones), NULL, &ack, &err));
        const pomai_status status = pomai_update_where(coll, "{}", 2, &one, POMAI_UPDATE_MERGE, NULL, &ack, &err);
        if (status != POMAI_EBUSY) assert_int_equal(status, POMAI_OK);
        (void)count_of(coll, matching_ones, NULL);
        if (i % 40 == 39) assert_ok(pomai_flush(db, &err));
    }
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(writer[i].thread, NULL), 0);
    assert_false(atomic_load(&failed));
    pomai_collection_close(coll);
    close_db(db);
}

/* Killed in the midst of updates: each row has one document or the next, whole, and the vector that it always had. */
static void killed(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    static struct model m;
    atomic_int *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(done != MAP_FAILED);
    pomai_db *db;
    pomai_collection *coll = make_rows(box, &m, true, &db);
    end_rows(db, coll);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        db = open_db(box, NULL);
        if (pomai_collection_open(db, "c", &coll, &err) != POMAI_OK) _exit(1);
        for (int i = 1;; i++) {
            char patch[32];
            snprintf(patch, sizeof patch, "{\"tag\":%d}", i);
            const pomai_bytes one = {patch, strlen(patch)};
            if (pomai_update_where(coll, "{}", 2, &one, POMAI_UPDATE_MERGE, NULL, NULL, &err) != POMAI_OK) _exit(1);
            atomic_store(done, i);
        }
    }
    while (atomic_load(done) < 20 && waitpid(child, NULL, WNOHANG) == 0)
        usleep(1000);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    const int sure = atomic_load(done);
    assert_true(sure >= 20);
    db = open_db(box, NULL);
    assert_ok(pomai_collection_open(db, "c", &coll, &err));
    struct row found;
    assert_true(read_key(&m, coll, 0, &found));
    const char *tag = strstr(found.text, "\"tag\":");
    assert_non_null(tag);
    const int last = atoi(tag + 6);
    assert_true(last == sure || last == sure + 1);
    for (unsigned key = 0; key < ROWS; key++) { /* of one shard: all or none */
        m.row[key].tag = last;
        render(&m.row[key], key);
        check_key(&m, coll, key);
    }
    pomai_collection_close(coll);
    close_db(db);
    munmap(done, 4096);
}

/* ---- reads ---- */

static void snapshots_and_bounded_reads(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    pomai_snapshot *snapshot;
    uint64_t rows;
    static struct model m;
    pomai_collection *coll = make_rows(box, &m, false, &db);
    struct filter f = {"{\"n\": {\"$lt\": 10}}", below, 10};
    pomai_count_options o = POMAI_COUNT_OPTIONS_INIT;
    o.filter = f.text;
    o.filter_size = strlen(f.text);
    o.mode = POMAI_READ_BOUNDED;
    assert_ok(pomai_count(coll, &o, &rows, &err));
    assert_int_equal(rows, 0); /* nothing is frozen */
    assert_ok(pomai_freeze(db, NULL, &err));
    assert_ok(pomai_snapshot_open(db, &snapshot, &err));
    assert_ok(pomai_delete_where(coll, f.text, strlen(f.text), NULL, NULL, &err));
    assert_int_equal(count_of(coll, f.text, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(count_of(coll, f.text, snapshot), 10);
        assert_int_equal(count_of(coll, "{}", snapshot), ROWS);
        check_scan(&m, coll, &f, 3, snapshot);
        if (i == 0) {
            assert_ok(pomai_count(coll, &o, &rows, &err));
            assert_int_equal(rows, 10);
            assert_ok(pomai_compact(db, NULL, &err));
        }
    }
    pomai_snapshot_close(snapshot);
    assert_ok(pomai_count(coll, NULL, &rows, &err));
    assert_int_equal(rows, ROWS - 10);
    end_rows(db, coll);
}

static void what_is_every_row(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int every;
    } cases[] = {
        {"{}", 1},
        {"{\"a\": {\"$nin\": []}}", 1},
        {"{\"a\\u0000b\": {\"$nin\": []}, \"c\": {\"$not\": {\"$in\": []}}}", 1},
        {"{\"$or\": [{\"a\": 1}, {\"$and\": [{}, {}]}]}", 1},
        {"{\"$not\": {\"$not\": {\"$not\": {\"a\": {\"$in\": []}}}}}", 1},
        {"{\"a\": {\"$not\": {\"$gt\": 1, \"$in\": []}}}", 1},
        {"{\"a\": {\"$in\": []}}", 0},
        {"{\"$not\": {}}", 0},
        {"{\"a\": {\"$nin\": [null]}}", 0},
        {"{\"a\": {\"$nin\": [], \"$gt\": 1}}", 0},
        {"{\"$or\": [{\"a\": 1}, {\"a\": {\"$ne\": 1}}]}", 0}, /* only by a look at rows */
    };
    pomai_error err;
    int every;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(pomai_filter_is_every_row(cases[i].text, strlen(cases[i].text), &every, &err));
        if (every != cases[i].every) fail_msg("%s", cases[i].text);
    }
    every = 0;
    assert_refused(pomai_filter_is_every_row("{\"a\": {}}", 9, &every, &err), POMAI_EINVAL, "operator");
    assert_int_equal(every, 1);
    assert_refused(pomai_filter_is_every_row(NULL, 0, &every, &err), POMAI_EINVAL, "filter is NULL");
    assert_refused(pomai_filter_is_every_row("{}", 2, NULL, &err), POMAI_EINVAL, "every is NULL");
}

/* A scan shows what was there when it was opened, judged as it was. */
static void a_scan_is_fixed(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    pomai_scan *scan;
    pomai_rows *rows;
    static struct model m;
    pomai_collection *coll = make_rows(box, &m, false, &db);
    pomai_scan_options o = POMAI_SCAN_OPTIONS_INIT;
    o.filter = "{\"n\": {\"$lt\": 10}}";
    o.filter_size = strlen(o.filter);
    assert_ok(pomai_scan_open(coll, &o, &scan, &err));
    const char *patch = "{\"n\":50}";
    const pomai_bytes one = {patch, strlen(patch)};
    assert_ok(pomai_update_where(coll, "{}", 2, &one, POMAI_UPDATE_MERGE, NULL, NULL, &err));
    assert_ok(pomai_flush(db, &err));
    assert_ok(pomai_compact(db, NULL, &err));
    uint64_t count = 0;
    for (;; pomai_rows_free(rows)) {
        assert_ok(pomai_scan_next(scan, 4, &rows, &err));
        if (rows == NULL) break;
        for (size_t i = 0; i < pomai_rows_count(rows); i++, count++) {
            const unsigned key = (unsigned)(pomai_rows_id(rows, i) / 1000);
            const pomai_bytes document = pomai_rows_document(rows, i);
            assert_true(key < 10);
            assert_int_equal(document.size, strlen(m.row[key].text));
            assert_memory_equal(document.data, m.row[key].text, document.size);
        }
    }
    assert_int_equal(count, 10);
    pomai_scan_close(scan);
    end_rows(db, coll);
}

/* Rows of many pieces, some of which match: in memory in chunks of all sizes, and in a segment. */
static void many_rows(void **state)
{
    enum { MANY = 5000 };
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = create(db, "c", 2, POMAI_METRIC_L2, POMAI_ID_U64);
    static float vectors[MANY * 2];
    static char text[MANY][32];
    static pomai_bytes documents[MANY];
    static uint64_t ids[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        vectors[2 * i] = (float)i;
        ids[i] = i;
        documents[i] = (pomai_bytes){text[i], (size_t)snprintf(text[i], 32, "{\"i\":%u,\"m\":%u}", i, i % 7)};
    }
    for (unsigned first = 0, n = 1; first < MANY; first += n, n = n * 3 / 2 + 1) {
        if (n > MANY - first) n = MANY - first;
        pomai_batch batch = POMAI_BATCH_INIT;
        batch.rows = n;
        batch.dim = 2;
        batch.vectors = vectors + 2 * first;
        batch.u64_ids = ids + first;
        batch.documents = documents + first;
        assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    }
    static const char filter[] = "{\"m\": 3}";
    for (int i = 0; i < 2; i++) {
        assert_int_equal(count_of(coll, filter, NULL), MANY / 7);
        for (uint64_t most = 1; most < 3000; most = most * 5 + 1) {
            pomai_scan *scan;
            pomai_rows *rows;
            uint64_t count = 0, sum = 0;
            pomai_scan_options o = POMAI_SCAN_OPTIONS_INIT;
            o.filter = filter;
            o.filter_size = strlen(filter);
            assert_ok(pomai_scan_open(coll, &o, &scan, &err));
            while (pomai_scan_next(scan, most, &rows, &err) == POMAI_OK && rows != NULL) {
                for (size_t r = 0; r < pomai_rows_count(rows); r++) {
                    assert_int_equal(pomai_rows_id(rows, r) % 7, 3);
                    assert_true(pomai_rows_vector(rows, r)[0] == (float)pomai_rows_id(rows, r));
                    sum += pomai_rows_id(rows, r);
                }
                count += pomai_rows_count(rows);
                pomai_rows_free(rows);
            }
            assert_null(rows);
            pomai_scan_close(scan);
            assert_int_equal(count, MANY / 7);
            assert_int_equal(sum, 3 * count + 7 * count * (count - 1) / 2);
        }
        assert_ok(pomai_flush(db, &err));
    }
    assert_ok(pomai_delete_where(coll, filter, strlen(filter), NULL, &ack, &err));
    assert_int_equal(ack.rows, MANY / 7);
    assert_int_equal(count_of(coll, filter, NULL), 0);
    assert_int_equal(count_of(coll, "{}", NULL), MANY - MANY / 7);
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- what is refused, and what is nothing ---- */

static void refusals(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_db *db;
    uint64_t rows = 7;
    pomai_scan *scan;
    static struct model m;
    pomai_collection *coll = make_rows(box, &m, false, &db);
    const char *bad = "{\"n\": {\"$gt\": null}}", *path = "n.$gt: wants a number or a string";
    pomai_count_options co = POMAI_COUNT_OPTIONS_INIT;
    pomai_scan_options so = POMAI_SCAN_OPTIONS_INIT;
    co.filter = so.filter = bad;
    co.filter_size = so.filter_size = strlen(bad);
    const pomai_bytes object = {"{}", 2}, array = {"[1]", 3}, broken = {NULL, 3};
    const uint64_t ids[] = {1000, 1000};
    const pomai_ids twice = {2, ids, NULL}, one = {1, ids, NULL}, none = {0, ids, NULL};
    const pomai_bytes objects[] = {object, object}, mixed[] = {object, array};
    const uint64_t two[] = {1000, 2000};
    const pomai_ids both = {2, two, NULL};
    assert_refused(pomai_count(coll, &co, &rows, &err), POMAI_EINVAL, path);
    assert_int_equal(rows, 0);
    assert_refused(pomai_scan_open(coll, &so, &scan, &err), POMAI_EINVAL, path);
    assert_null(scan);
    assert_refused(pomai_delete_where(coll, bad, strlen(bad), NULL, &ack, &err), POMAI_EINVAL, path);
    assert_refused(pomai_delete_where(coll, NULL, 0, NULL, &ack, &err), POMAI_EINVAL, "filter");
    assert_refused(pomai_delete_where(coll, "", 0, NULL, &ack, &err), POMAI_EINVAL, "filter");
    assert_refused(pomai_delete_where(NULL, "{}", 2, NULL, &ack, &err), POMAI_EINVAL, "collection");
    assert_refused(pomai_update_where(coll, bad, strlen(bad), &object, POMAI_UPDATE_MERGE, NULL, &ack, &err),
                   POMAI_EINVAL, path);
    assert_refused(pomai_update_where(coll, "{}", 2, NULL, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EINVAL,
                   "document");
    assert_refused(pomai_update_where(coll, "{}", 2, &array, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EINVAL,
                   "no JSON object");
    assert_refused(pomai_update_where(coll, "{}", 2, &broken, POMAI_UPDATE_REPLACE, NULL, &ack, &err), POMAI_EINVAL,
                   "no data");
    assert_refused(pomai_update_where(coll, "{}", 2, &object, (pomai_update_how)3, NULL, &ack, &err), POMAI_EINVAL,
                   "unknown");
    assert_refused(pomai_update(coll, NULL, objects, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EINVAL, "ids");
    assert_refused(pomai_update(coll, &one, NULL, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EINVAL, "documents");
    assert_refused(pomai_update(coll, &none, objects, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EINVAL, "no ids");
    assert_refused(pomai_update(coll, &twice, objects, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EDUPID, NULL);
    assert_refused(pomai_update(coll, &both, mixed, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EINVAL, "no JSON");
    for (unsigned key = 0; key < ROWS; key++) /* nothing was done */
        check_key(&m, coll, key);
    /* A merge into what is no object: said with the row; {} and none are something else. */
    assert_ok(pomai_update(coll, &both, mixed, POMAI_UPDATE_REPLACE, NULL, &ack, &err));
    assert_int_equal(ack.rows, 2);
    const pomai_bytes empty[] = {{NULL, 0}, {NULL, 0}}, patches[] = {{"{\"a\":1}", 7}, {"{\"b\":null}", 10}};
    assert_refused(pomai_update(coll, &both, patches, POMAI_UPDATE_MERGE, NULL, &ack, &err), POMAI_EINVAL, "2000");
    assert_ok(pomai_update(coll, &both, objects, POMAI_UPDATE_MERGE, NULL, &ack, &err)); /* {} names nothing */
    assert_int_equal(ack.rows, 0);
    assert_int_equal(ack.parts, 0);
    assert_ok(pomai_update_where(coll, "{}", 2, &object, POMAI_UPDATE_MERGE, NULL, &ack, &err));
    assert_int_equal(ack.rows, 0);
    assert_ok(pomai_update(coll, &both, empty, POMAI_UPDATE_REPLACE, NULL, &ack, &err));
    assert_ok(pomai_update(coll, &both, patches, POMAI_UPDATE_MERGE, NULL, &ack, &err));
    assert_int_equal(count_of(coll, "{\"a\": 1}", NULL), 1);
    end_rows(db, coll);
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    o.flags = POMAI_OPEN_READONLY;
    db = open_db(box, &o);
    assert_ok(pomai_collection_open(db, "c", &coll, &err));
    assert_refused(pomai_delete_where(coll, "{}", 2, NULL, &ack, &err), POMAI_EREADONLY, NULL);
    assert_refused(pomai_update(coll, &both, empty, POMAI_UPDATE_REPLACE, NULL, &ack, &err), POMAI_EREADONLY, NULL);
    assert_int_equal(count_of(coll, "{\"a\": 1}", NULL), 1);
    pomai_collection_close(coll);
    close_db(db);
}

static void nothing_is_there(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    uint64_t rows = 7;
    const uint64_t id = 1;
    const pomai_ids one = {1, &id, NULL};
    const pomai_bytes object = {"{}", 2};
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db); /* not made yet */
    for (int i = 0; i < 2; i++) {
        assert_ok(pomai_count(coll, NULL, &rows, &err));
        assert_int_equal(rows, 0);
        assert_ok(pomai_delete_where(coll, "{}", 2, NULL, &ack, &err));
        assert_int_equal(ack.rows, 0);
        assert_ok(pomai_update(coll, &one, &object, POMAI_UPDATE_REPLACE, NULL, &ack, &err));
        assert_int_equal(ack.rows, 0);
        assert_ok(pomai_update_where(coll, "{}", 2, &object, POMAI_UPDATE_MERGE, NULL, NULL, &err));
        if (i == 1) break;
        put_rows(coll, 50, 10, 3);
        assert_int_equal(count_of(coll, "{}", NULL), 10);
        assert_ok(pomai_delete_where(coll, "{}", 2, NULL, &ack, &err));
        assert_int_equal(ack.rows, 10);
    }
    close_db(db);
}

static void a_count_is_cut(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    uint64_t rows = 7;
    static struct model m;
    const volatile int cancel = 1;
    pomai_collection *coll = make_rows(box, &m, false, &db);
    pomai_count_options o = POMAI_COUNT_OPTIONS_INIT;
    o.cancel = &cancel;
    assert_refused(pomai_count(coll, &o, &rows, &err), POMAI_EDEADLINE, NULL);
    assert_int_equal(rows, 0);
    o.cancel = NULL;
    o.deadline_us = 1;
    const pomai_status status = pomai_count(coll, &o, &rows, &err); /* may be in time */
    assert_true(status == POMAI_EDEADLINE || (status == POMAI_OK && rows == ROWS));
    end_rows(db, coll);
}

/* A cancelled change by filter has changed nothing more; a scan is where it was. */
static void changes_and_scans_are_cut(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_rows *rows;
    pomai_scan *scan;
    const pomai_bytes object = {"{}", 2};
    for (int stored = 0; stored < 2; stored++) {
        pomai_db *db;
        static struct model m;
        volatile int cancel = 1;
        pomai_collection *coll = make_rows(box, &m, stored == 1, &db);
        pomai_write_options o = POMAI_WRITE_OPTIONS_INIT;
        pomai_scan_options s = POMAI_SCAN_OPTIONS_INIT;
        static const char filter[] = "{\"n\": {\"$lt\": 10}}";
        const uint64_t matching = count_of(coll, filter, NULL);
        assert_true(matching > 0);
        o.cancel = s.cancel = &cancel;
        s.filter = filter;
        s.filter_size = strlen(filter);
        assert_refused(pomai_delete_where(coll, filter, strlen(filter), &o, &ack, &err), POMAI_EDEADLINE, "rows");
        assert_int_equal(ack.rows, 0);
        assert_refused(pomai_delete_where(coll, "{}", 2, &o, &ack, &err), POMAI_EDEADLINE, "rows");
        assert_refused(pomai_update_where(coll, filter, strlen(filter), &object, POMAI_UPDATE_REPLACE, &o, &ack, &err),
                       POMAI_EDEADLINE, "rows");
        assert_int_equal(count_of(coll, filter, NULL), matching);
        assert_ok(pomai_scan_open(coll, &s, &scan, &err));
        for (int i = 0; i < 2; i++)
            assert_refused(pomai_scan_next(scan, UINT64_MAX, &rows, &err), POMAI_EDEADLINE, "rows");
        cancel = 0;
        assert_ok(pomai_scan_next(scan, UINT64_MAX, &rows, &err));
        assert_int_equal(pomai_rows_count(rows), matching);
        pomai_rows_free(rows);
        pomai_scan_close(scan);
        o.deadline_us = 1;
        const pomai_status status = pomai_delete_where(coll, filter, strlen(filter), &o, &ack, &err);
        assert_true(status == POMAI_EDEADLINE || status == POMAI_OK); /* it may be in time */
        assert_int_equal(count_of(coll, filter, NULL), matching - ack.rows);
        o.deadline_us = 0; /* does not wait for room, and there is some */
        assert_ok(pomai_delete_where(coll, filter, strlen(filter), &o, &ack, &err));
        assert_int_equal(count_of(coll, filter, NULL), 0);
        end_rows(db, coll);
        t_remove(box->db);
    }
}

/* Ends the call when it has read the rows of a piece: `left` more are read before. */
static struct {
    int left;
    bool late; /* its deadline passes; else it is cancelled */
    volatile int cancel;
} ending;

enum { PIECE = 1 << 16, LATE_MS = 400 };

static void end_it(enum pm_point point)
{
    if (point != PM_POINT_CHANGE_READ || ending.left-- != 0) return;
    const struct timespec pause = {0, (LATE_MS + 20) * 1000000L};
    if (ending.late)
        nanosleep(&pause, NULL);
    else
        ending.cancel = 1;
}

static pomai_status end_at(pomai_collection *coll, int reads, bool late, bool updates, uint64_t *rows, pomai_error *err)
{
    pomai_ack ack;
    const pomai_bytes object = {"{}", 2};
    pomai_write_options o = POMAI_WRITE_OPTIONS_INIT;
    if (late) o.deadline_us = LATE_MS * 1000;
    o.cancel = &ending.cancel;
    ending.left = reads;
    ending.late = late;
    ending.cancel = 0;
    pm_point_hook = end_it;
    const pomai_status status = updates
                                    ? pomai_update_where(coll, "{}", 2, &object, POMAI_UPDATE_REPLACE, &o, &ack, err)
                                    : pomai_delete_where(coll, "{}", 2, &o, &ack, err);
    pm_point_hook = NULL;
    *rows = ack.rows;
    return status;
}

/* Nothing is begun once a call is cancelled; at its deadline the rows that were found are still written, one piece. */
static void what_ends_a_change(void **state)
{
    enum { MANY = 3 * PIECE - 10 };
    const struct box *box = *state;
    pomai_error err;
    uint64_t rows, there = MANY;
    pomai_open_options open = POMAI_OPEN_OPTIONS_INIT;
    open.shards = 2;
    pomai_db *db = open_db(box, &open);
    pomai_collection *coll = create(db, "c", 1, POMAI_METRIC_L2, POMAI_ID_U64);
    float *vectors = calloc(MANY, sizeof *vectors);
    uint64_t *ids = malloc(MANY * sizeof *ids);
    assert_true(vectors != NULL && ids != NULL);
    for (uint64_t i = 0; i < MANY; i++)
        ids[i] = i;
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = MANY;
    batch.dim = 1;
    batch.vectors = vectors;
    batch.u64_ids = ids;
    assert_ok(pomai_put(coll, &batch, NULL, NULL, &err));
    for (int updates = 1; updates >= 0; updates--) {
        assert_refused(end_at(coll, 0, false, updates, &rows, &err), POMAI_EDEADLINE, "rows");
        assert_int_equal(rows, 0);
        assert_refused(end_at(coll, 1, false, updates, &rows, &err), POMAI_EDEADLINE, "rows");
        assert_int_equal(rows, PIECE);
        if (!updates) there -= rows;
        assert_refused(end_at(coll, 0, true, updates, &rows, &err), POMAI_EDEADLINE, "rows");
        assert_true(rows > 0 && rows <= PIECE);
        if (!updates) there -= rows;
        assert_int_equal(count_of(coll, "{}", NULL), there);
    }
    ending.cancel = 1;
    pomai_ack ack;
    pomai_write_options o = POMAI_WRITE_OPTIONS_INIT;
    const pomai_ids all = {MANY, ids, NULL};
    pomai_bytes *objects = malloc(MANY * sizeof *objects);
    assert_non_null(objects);
    for (uint64_t i = 0; i < MANY; i++)
        objects[i] = (pomai_bytes){"{}", 2};
    o.cancel = &ending.cancel;
    assert_refused(pomai_update(coll, &all, objects, POMAI_UPDATE_MERGE, &o, &ack, &err), POMAI_EDEADLINE, "rows");
    assert_int_equal(ack.rows, 0);
    free(objects);
    free(ids);
    free(vectors);
    pomai_collection_close(coll);
    close_db(db);
}

/* Each allocation fails once: a call says so, and each row has been done or not. */
static void no_memory(void **state)
{
    const struct box *box = *state;
    pomai_error err;
    pomai_ack ack;
    pomai_db *db;
    uint64_t rows;
    static struct model m;
    pomai_collection *coll = make_rows(box, &m, true, &db);
    static const char filter[] = "{\"n\": {\"$lt\": 10}}";
    for (int way = 0; way < 3; way++) {
        pomai_status status = POMAI_ENOMEM;
        uint64_t i = 1;
        for (; i < 300 && status != POMAI_OK; i++) {
            char patch[32];
            snprintf(patch, sizeof patch, "{\"tag\":%llu}", (unsigned long long)i);
            const pomai_bytes one = {patch, strlen(patch)};
            pomai_count_options o = POMAI_COUNT_OPTIONS_INIT;
            o.filter = filter;
            o.filter_size = strlen(filter);
            allocations = 0;
            fails_at = i;
            pm_malloc_fails = fails;
            if (way == 0) status = pomai_count(coll, &o, &rows, &err);
            if (way == 1)
                status = pomai_update_where(coll, filter, strlen(filter), &one, POMAI_UPDATE_MERGE, NULL, &ack, &err);
            if (way == 2) status = pomai_delete_where(coll, filter, strlen(filter), NULL, &ack, &err);
            pm_malloc_fails = NULL;
            if (status != POMAI_OK) assert_int_equal(status, POMAI_ENOMEM);
            if (way == 1 && status == POMAI_OK) assert_int_equal(ack.rows, 10);
            if (way == 1) assert_int_equal(count_of(coll, patch, NULL), ack.rows);
        }
        assert_true(i > 3 && i < 300);
        if (way == 0) assert_int_equal(rows, 10);
    }
    assert_int_equal(count_of(coll, filter, NULL), 0);
    assert_int_equal(count_of(coll, "{}", NULL), ROWS - 10);
    end_rows(db, coll);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BOXED(numbers_at_random),
        BOXED(strings_at_random),
        BOXED(float16_at_random),
        BOXED(int8_with_ttl_at_random),
        BOXED(a_row_that_stops_matching_stays),
        BOXED(a_row_that_goes_on_matching_goes),
        BOXED(no_write_is_undone),
        BOXED(what_is_gone_is_passed_over),
        BOXED(without_end),
        BOXED(killed),
        BOXED(snapshots_and_bounded_reads),
        BOXED(a_scan_is_fixed),
        BOXED(what_is_every_row),
        BOXED(many_rows),
        BOXED(refusals),
        BOXED(nothing_is_there),
        BOXED(a_count_is_cut),
        BOXED(changes_and_scans_are_cut),
        BOXED(what_ends_a_change),
        BOXED(no_memory),
    };
    const struct CMUnitTest of_threads[] = {
        BOXED(beside_writers),
    };
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--seed") == 0) seed = box_seed = strtoull(argv[i + 1], NULL, 10);
    int failed = 0;
#ifdef __SANITIZE_THREAD__ /* a child of a process with threads is not for it */
    (void)tests;
#else
    failed = cmocka_run_group_tests(tests, NULL, NULL);
#endif
    return failed + cmocka_run_group_tests(of_threads, NULL, NULL);
}
