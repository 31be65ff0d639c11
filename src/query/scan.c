/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over all rows of a view, some at a time. Invariants:
 *  1. The view's memtables and segments are held from opening to closing, wherever their rows have gone meanwhile: ends
 *     that are no longer stored here are later than the view, so every call sees the same rows in the same places.
 *  2. A failed call does not move the scan.
 *
 * With a filter rows are judged when the walk comes to them, CHECK_ROWS at a time.
 */
#include <string.h>

#include "base/mutant.h"
#include "query/judge.h"
#include "query/query.h"

enum { CHECK_ROWS = 1024 /* of a segment, whose checksums are asked about at once */ };

/* A memtable's chunks that the view shows, or a segment, which counts as one chunk. */
typedef struct source {
    pm_memtable *table; /* NULL: a segment */
    pm_segment *segment;
    uint64_t visible; /* of the memtable's shard */
    uint64_t chunks;
} source;

typedef struct place {
    uint32_t source;
    uint64_t chunk, row;
} place;

struct pm_scan {
    pm_view view; /* without its lists: these are the sources */
    uint32_t dim, include;
    pomai_id_kind id_kind;
    place at;            /* of the next row */
    pm_judge judge;      /* filter NULL: all rows match */
    pm_filter_asks asks; /* of the judge */
    bool parts;          /* rows are given that were found before it was over */
    uint64_t *bits;   /* with a filter, of all rows of a segment, as its columns told, and behind them of open ones; */
    uint32_t bits_of; /* this source; UINT32_MAX: of none yet. It may have no columns: */
    bool bits_told;   /* then this is false */
    place judged;     /* where these bits begin: of up to CHECK_ROWS rows that are seen and match; */
    bool any;         /* if there are some */
    uint64_t match[CHECK_ROWS / 64];
    uint32_t sources;
    source source[];
};

/* Rows that were found, still in their places. */
typedef struct batch {
    pm_where *row;
    uint64_t rows, capacity, most;
    uint64_t bytes; /* of string ids and documents */
} batch;

static void add_table(pm_scan *scan, pm_memtable *table, uint64_t visible)
{
    if (table == NULL) return;
    const uint64_t chunks = pm_memtable_visible_chunks(table, visible);
    if (chunks == 0) return;
    if (!PM_MUTANT(SCAN_NOT_HELD)) pm_memtable_hold(table);
    scan->source[scan->sources++] = (source){.table = table, .visible = visible, .chunks = chunks};
}

pomai_status pm_scan_open(const pm_view *view, uint32_t dim, pomai_id_kind id_kind, uint32_t include,
                          const pm_filter *filter, const pm_simd *simd, pm_scan **out, pomai_error *err)
{
    const pm_shown *shown = view->shown;
    pm_scan *scan = pm_calloc(1, sizeof *scan + (shown->segments + 2ul * shown->shards) * sizeof scan->source[0]);
    if (scan == NULL || (filter != NULL && !pm_judge_begin(&scan->judge, &scan->view, filter))) {
        pm_free(scan);
        return pm_fail(err, POMAI_ENOMEM, "no memory for a scan");
    }
    scan->judge.simd = simd;
    scan->bits_of = UINT32_MAX;
    scan->view = *view;
    scan->view.shown = NULL;
    scan->dim = dim;
    scan->id_kind = id_kind;
    scan->include = include;
    for (uint32_t i = 0; i < shown->segments; i++) {
        if (!PM_MUTANT(SCAN_NOT_HELD)) pm_segment_hold(shown->segment[i]);
        scan->source[scan->sources++] = (source){.segment = shown->segment[i], .chunks = 1};
    }
    for (uint32_t s = 0; s < shown->shards; s++) {
        add_table(scan, shown->table[s].frozen, view->visible[s]);
        add_table(scan, shown->table[s].active, view->visible[s]);
    }
    *out = scan;
    return POMAI_OK;
}

static bool add_row(const pm_scan *scan, batch *b, const void *owner, uint64_t row)
{
    if (b->rows == b->capacity) {
        const uint64_t capacity = b->capacity == 0 ? pm_min_u64(b->most, 256) : b->capacity * 2;
        pm_where *wider = pm_realloc(b->row, capacity * sizeof *wider);
        if (wider == NULL) return false;
        b->row = wider;
        b->capacity = capacity;
    }
    pm_where *at = &b->row[b->rows++];
    *at = (pm_where){owner, (uint32_t)row};
    if ((scan->include & POMAI_INCLUDE_DOCUMENTS) != 0) b->bytes += pm_where_document(at).size;
    if (scan->id_kind == POMAI_ID_U64) return true;
    pm_id id;
    pm_where_id(at, &id);
    b->bytes += id.size;
    return true;
}

static pomai_status no_memory(const batch *b, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory for %llu rows at once; ask for fewer", (unsigned long long)b->rows);
}

static pomai_status add_chunk(const pm_scan *scan, const source *from, place *at, batch *b, pomai_error *err)
{
    const pm_chunk *chunk = pm_memtable_chunk(from->table, at->chunk);
    for (; at->row < chunk->rows && b->rows < b->most; at->row++) {
        if (!pm_chunk_row_visible(chunk, (uint32_t)at->row, from->visible, scan->view.now)) continue;
        if (!add_row(scan, b, chunk, at->row)) return no_memory(b, err);
    }
    return POMAI_OK;
}

/* That a row which is given needs. */
static uint32_t columns_of(const pm_scan *scan)
{
    uint32_t columns = PM_SEG_ALL;
    if ((scan->include & POMAI_INCLUDE_VECTORS) == 0) columns &= ~(uint32_t)PM_SEG_VECTOR;
    if ((scan->include & POMAI_INCLUDE_DOCUMENTS) == 0) columns &= ~(uint32_t)PM_SEG_DOCUMENT;
    return columns;
}

static pomai_status add_segment(const pm_scan *scan, const source *from, place *at, batch *b, pomai_error *err)
{
    pm_segment *segment = from->segment;
    const uint64_t rows = pm_segment_rows(segment);
    const uint32_t columns = columns_of(scan);
    while (at->row < rows && b->rows < b->most) {
        const uint64_t count = pm_min_u64(pm_min_u64(rows - at->row, CHECK_ROWS), b->most - b->rows);
        pomai_status status = pm_segment_check(segment, columns, at->row, count, err);
        if (status != POMAI_OK) return status;
        for (const uint64_t stop = at->row + count; at->row < stop; at->row++) {
            if (!pm_segment_row_seen(segment, at->row, &scan->view)) continue;
            if (!add_row(scan, b, segment, at->row)) return no_memory(b, err);
        }
    }
    return POMAI_OK;
}

/* ---- with a filter ---- */

static bool is_over(const void *context)
{
    const pm_scan *scan = context;
    return scan->asks.is_over != NULL && scan->asks.is_over(scan->asks.context);
}

/* All rows of a segment, if it has columns, when the scan comes to it; documents are left for later. */
static pomai_status judge_columns(pm_scan *scan, const source *from, uint32_t place_of, pomai_error *err)
{
    const uint64_t words = (pm_segment_rows(from->segment) + 63) / 64;
    if (scan->bits_of == place_of) return POMAI_OK;
    uint64_t *bits = pm_realloc(scan->bits, 2 * words * sizeof *bits);
    if (bits == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for a bit of every row");
    scan->bits = bits;
    scan->bits_of = UINT32_MAX;
    const pomai_status status = pm_judge_columns(&scan->judge, from->segment, is_over, scan, bits, bits + words, err);
    scan->bits_told = status == POMAI_OK;
    if (status == POMAI_EDEADLINE) return pm_judge_is_over(err);
    if (status != POMAI_OK && status != POMAI_ENOTFOUND) return status;
    scan->bits_of = place_of;
    return POMAI_OK;
}

/* The rows of a window of a source, which begins at a multiple of CHECK_ROWS. */
static pomai_status judge_window(pm_scan *scan, const source *from, const place *window, uint64_t n, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    const place *last = &scan->judged;
    if (scan->any && PM_MUTANT(SCAN_MATCH_STALE)) return POMAI_OK;
    if (scan->any && last->source == window->source && last->chunk == window->chunk && last->row == window->row)
        return POMAI_OK;
    scan->any = scan->asks.over = false;
    memset(scan->match, 0, sizeof scan->match);
    if (is_over(scan)) return pm_judge_is_over(err);
    if (from->table == NULL) status = judge_columns(scan, from, window->source, err);
    if (status != POMAI_OK) {
        ;
    } else if (from->table == NULL && scan->bits_told) {
        const uint64_t words = (n + 63) / 64, *bits = scan->bits + window->row / 64;
        memcpy(scan->match, bits, words * sizeof scan->match[0]);
        status = pm_judge_open(&scan->judge, from->segment, window->row, words,
                               bits + (pm_segment_rows(from->segment) + 63) / 64, scan->match, err);
    } else if (from->table == NULL) {
        status = pm_judge_segment(&scan->judge, from->segment, window->row, n, scan->match, err);
    } else {
        const pm_chunk *chunk = pm_memtable_chunk(from->table, window->chunk);
        for (uint64_t i = 0; i < n; i += 64)
            scan->match[i / 64] = pm_judge_chunk(&scan->judge, chunk, from->visible, window->row + i);
    }
    if (status == POMAI_OK && scan->asks.over) status = pm_judge_is_over(err);
    scan->any = status == POMAI_OK;
    scan->judged = *window;
    return status;
}

/* Moves `at` past the rows of a window that it adds, and those that do not match. */
static pomai_status add_matches(const pm_scan *scan, const source *from, place *at, uint64_t end, batch *b,
                                pomai_error *err)
{
    const void *owner = from->table == NULL ? (const void *)from->segment : pm_memtable_chunk(from->table, at->chunk);
    for (; at->row < end && b->rows < b->most; at->row++) {
        const uint64_t left = scan->match[at->row % CHECK_ROWS / 64] >> at->row % 64;
        if (left == 0) {
            at->row |= 63; /* nothing more in this word */
            continue;
        }
        at->row += (uint64_t)__builtin_ctzll(left);
        pomai_status status =
            from->table != NULL ? POMAI_OK : pm_segment_check(from->segment, columns_of(scan), at->row, 1, err);
        if (status != POMAI_OK) return status;
        if (!add_row(scan, b, owner, at->row)) return no_memory(b, err);
    }
    at->row = pm_min_u64(at->row, end);
    return POMAI_OK;
}

static pomai_status add_matching(pm_scan *scan, const source *from, uint64_t rows, place *at, batch *b,
                                 pomai_error *err)
{
    pomai_status status = POMAI_OK;
    while (status == POMAI_OK && at->row < rows && b->rows < b->most) {
        place window = *at;
        window.row -= at->row % CHECK_ROWS;
        const uint64_t n = pm_min_u64(rows - window.row, CHECK_ROWS);
        status = judge_window(scan, from, &window, n, err);
        if (status != POMAI_OK && !(scan->parts && status == POMAI_EDEADLINE)) return status;
        const pomai_status added = add_matches(scan, from, at, window.row + n, b, err);
        if (added != POMAI_OK) status = added;
    }
    return status;
}

static pomai_status add_some(pm_scan *scan, const source *from, uint64_t rows, place *at, batch *b, pomai_error *err)
{
    if (scan->judge.filter != NULL) return add_matching(scan, from, rows, at, b, err);
    return from->table == NULL ? add_segment(scan, from, at, b, err) : add_chunk(scan, from, at, b, err);
}

/* Moves `at` past the rows that it adds. */
static pomai_status gather(pm_scan *scan, place *at, batch *b, pomai_error *err)
{
    while (at->source < scan->sources && b->rows < b->most) {
        const source *from = &scan->source[at->source];
        const uint64_t rows =
            from->table == NULL ? pm_segment_rows(from->segment) : pm_memtable_chunk(from->table, at->chunk)->rows;
        pomai_status status = add_some(scan, from, rows, at, b, err);
        if (status != POMAI_OK) return status;
        if (at->row < rows) break;
        at->row = 0;
        if (++at->chunk < from->chunks) continue;
        at->chunk = 0;
        at->source++;
    }
    return POMAI_OK;
}

static pomai_status next_rows(pm_scan *scan, uint64_t most, pomai_rows **out, bool *over, pomai_error *err)
{
    place at = scan->at;
    batch b = {.most = most};
    *out = NULL;
    pomai_status status = gather(scan, &at, &b, err);
    *over = scan->parts && status == POMAI_EDEADLINE;
    if (*over) status = POMAI_OK;
    if (status == POMAI_OK && b.rows > 0) {
        const pm_rows_shape shape = {
            .count = b.rows, .bytes = b.bytes, .dim = scan->dim, .include = scan->include, .id_kind = scan->id_kind};
        pomai_rows *rows = pm_rows_make(&shape);
        uint8_t *bytes = rows == NULL ? NULL : rows->bytes;
        for (uint64_t i = 0; rows != NULL && i < b.rows; i++) {
            pm_id id;
            pm_where_id(&b.row[i], &id);
            pm_rows_set_id(rows, i, &id, &bytes);
            pm_rows_set(rows, i, &scan->view, &b.row[i], &bytes);
        }
        if (rows == NULL) status = no_memory(&b, err);
        *out = rows;
    }
    if (status == POMAI_OK) scan->at = at;
    pm_free(b.row);
    return status;
}

pomai_status pm_scan_next(pm_scan *scan, uint64_t most, pomai_rows **out, pomai_error *err)
{
    bool over;
    scan->parts = false;
    return next_rows(scan, most, out, &over, err);
}

pomai_status pm_scan_next_part(pm_scan *scan, uint64_t most, pomai_rows **out, bool *over, pomai_error *err)
{
    scan->parts = true;
    return next_rows(scan, most, out, over, err);
}

void pm_scan_ask(pm_scan *scan, bool (*ask)(const void *context), const void *context)
{
    scan->asks = (pm_filter_asks){.is_over = ask, .context = context};
    scan->judge.asks = &scan->asks;
}

void pm_scan_set_now(pm_scan *scan, uint64_t now)
{
    scan->view.now = now;
    scan->any = false;
    scan->bits_of = UINT32_MAX;
}

void pm_scan_close(pm_scan *scan)
{
    if (scan == NULL) return;
    for (uint32_t i = 0; i < scan->sources && !PM_MUTANT(SCAN_NOT_HELD); i++) {
        pm_memtable_free(scan->source[i].table);
        pm_segment_free(scan->source[i].segment);
    }
    pm_judge_end(&scan->judge);
    pm_free(scan->bits);
    pm_free(scan);
}
