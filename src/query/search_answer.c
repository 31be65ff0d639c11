/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a search: what the cells found, merged, sorted and copied out, with a verdict for each query. */
#include <math.h>
#include <string.h>

#include "query/search_int.h"

static pomai_bytes document_of(const pm_flat_hit *hit)
{
    if (pm_where_chunk(hit->owner)) return pm_chunk_document(hit->owner, hit->row);
    return pm_segment_document(hit->owner, hit->row);
}

/* What codes and graphs did. They do not count the rows that the reader sees; of a snapshot that may be more than live
 * now. */
static void judge_target(const search_grid *g, const search_cell *c, uint64_t rows, pomai_verdict *v)
{
    const double times = g->search->missing > 1 ? (double)g->search->missing : 1;
    if (!c->approximate) return;
    v->rows_visible = pm_max_u64(rows, v->rows_scanned);
    if (c->cut) return;
    v->completeness = POMAI_APPROXIMATE;
    v->expected_recall = fmax(0, 1 - times * c->lost / (double)(g->judged != NULL ? g->judged->matches : g->rows));
}

static pomai_verdict judge(const pm_search *search, size_t found, uint64_t scanned, uint64_t rows, bool cut)
{
    pomai_verdict v = {.completeness = cut ? POMAI_CUT : POMAI_EXACT, .fewer = POMAI_FEWER_NOT};
    if (found < search->k) v.fewer = cut ? POMAI_FEWER_DEADLINE : POMAI_FEWER_ROWS;
    v.expected_recall = cut ? 0.0 : 1.0;
    v.rows_scanned = scanned;
    v.rows_visible = cut ? rows : scanned;
    return v;
}

/* Where `count` things of `size` bytes begin, behind what is there; *used becomes SIZE_MAX if it overflows. */
static size_t place(size_t *used, size_t count, size_t size)
{
    const size_t begin = *used;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, 15, &bytes) ||
        __builtin_add_overflow(begin, bytes / 16 * 16, used))
        *used = SIZE_MAX;
    return begin;
}

/* All in one piece of memory: an allocation takes as long as many a comparison. */
static pomai_result *result_make(const pm_search *search, size_t hits, uint64_t bytes)
{
    const bool numbers = search->id_kind == POMAI_ID_U64;
    const size_t documents = (search->include & POMAI_INCLUDE_DOCUMENTS) != 0 ? hits + 1 : 0;
    const size_t vectors = (search->include & POMAI_INCLUDE_VECTORS) != 0 ? hits + 1 : 0;
    pomai_result *r;
    size_t used = pm_align_up(sizeof *r, 16);
    const size_t first = place(&used, search->queries + 1, sizeof *r->first);
    const size_t verdict = place(&used, search->queries, sizeof *r->verdicts);
    const size_t distance = place(&used, hits, sizeof *r->distances);
    const size_t id = place(&used, hits, numbers ? sizeof *r->u64_ids : sizeof *r->string_ids);
    const size_t document = place(&used, documents, sizeof *r->documents);
    const size_t vector = place(&used, vectors, search->dim * sizeof *r->vectors);
    const size_t byte = place(&used, bytes, 1);
    uint8_t *memory = used == SIZE_MAX ? NULL : pm_malloc(used);
    if (memory == NULL) return NULL;
    r = (pomai_result *)(void *)memory;
    *r = (pomai_result){.queries = search->queries, .dim = search->dim, .bytes = memory + byte};
    r->first = (size_t *)(void *)(memory + first);
    memset(r->first, 0, (r->queries + 1) * sizeof *r->first);
    r->verdicts = (pomai_verdict *)(void *)(memory + verdict);
    r->distances = (double *)(void *)(memory + distance);
    if (numbers)
        r->u64_ids = (uint64_t *)(void *)(memory + id);
    else
        r->string_ids = (pomai_bytes *)(void *)(memory + id);
    if (documents > 0) r->documents = (pomai_bytes *)(void *)(memory + document);
    if (vectors > 0) r->vectors = (float *)(void *)(memory + vector);
    return r;
}

static pomai_bytes keep_bytes(uint8_t **to, const void *from, size_t size)
{
    pomai_bytes kept = {NULL, 0};
    if (size == 0) return kept;
    memcpy(*to, from, size);
    kept.data = *to;
    kept.size = size;
    *to += size;
    return kept;
}

static void copy_hit(const search_grid *g, pomai_result *r, size_t at, const pm_flat_hit *hit, uint8_t **bytes)
{
    const size_t dim = g->search->dim;
    pm_flat_id id;
    search_id_of(hit->owner, hit->row, &id);
    r->distances[at] = hit->distance;
    if (r->u64_ids != NULL)
        r->u64_ids[at] = id.u64;
    else
        r->string_ids[at] = keep_bytes(bytes, id.bytes, id.size);
    if (r->documents != NULL) {
        pomai_bytes document = document_of(hit);
        r->documents[at] = keep_bytes(bytes, document.data, document.size);
    }
    if (r->vectors != NULL) pm_where_vector(g->view, hit->owner, hit->row, dim, r->vectors + at * dim);
}

void search_merge(const search_grid *g)
{
    for (uint32_t group = 0; group < g->groups; group++) {
        search_cell *into = &g->cell[group * g->runs];
        for (uint32_t r = 1; r < g->runs; r++) {
            const search_cell *from = &g->cell[group * g->runs + r];
            for (uint32_t i = 0; i < search_queries_of(g, group); i++) {
                pm_flat_merge(search_heap(g, into, i), search_heap(g, from, i));
                into->proposed[i] += from->proposed[i];
            }
            into->scanned += from->scanned;
            into->again += from->again;
            into->lost += from->lost;
            into->approximate |= from->approximate;
            into->cut |= from->cut;
        }
    }
}

/* A query's sorted hits. */
typedef struct answer {
    const pm_flat_hit *hit;
    size_t n;
    uint64_t scanned;
    const search_cell *cell;
} answer;

/* Sorts every query's hits and counts what the result must hold. */
static pomai_status finish_queries(const search_grid *g, answer *answers, size_t *hits, uint64_t *bytes,
                                   pomai_error *err)
{
    *hits = 0;
    *bytes = 0;
    answer *a = answers;
    for (uint32_t group = 0; group < g->groups; group++) {
        const search_cell *c = &g->cell[group * g->runs];
        for (uint32_t i = 0; i < search_queries_of(g, group); i++, a++) {
            a->cell = c;
            a->scanned = c->scanned + c->proposed[i];
            a->n = pm_flat_finish(search_heap(g, c, i), &a->hit);
            *hits += a->n;
            for (size_t h = 0; h < a->n; h++) {
                const pm_flat_hit *hit = &a->hit[h];
                if (g->search->id_kind != POMAI_ID_U64) {
                    pm_flat_id id;
                    search_id_of(hit->owner, hit->row, &id);
                    *bytes += id.size;
                }
                if ((g->search->include & POMAI_INCLUDE_DOCUMENTS) == 0) continue;
                if (!pm_where_chunk(hit->owner)) {
                    pm_segment *segment = (pm_segment *)(uintptr_t)hit->owner;
                    pomai_status status = pm_segment_check(segment, PM_SEG_DOCUMENT, hit->row, 1, err);
                    if (status != POMAI_OK) return status;
                }
                *bytes += document_of(hit).size;
            }
        }
    }
    return POMAI_OK;
}

/* The rows that the view shows, when the scan did not come to all of them: at most so many. What has an end by now
 * may have had none then. */
static uint64_t rows_at_most(const search_grid *g)
{
    uint64_t rows = 0;
    if (g->judged != NULL && g->judged->whole) return g->judged->matches;
    for (uint32_t i = 0; i < g->sources; i++) {
        const search_source *from = &g->source[i];
        const uint64_t chunks = from->table == NULL ? 0 : pm_memtable_visible_chunks(from->table, from->visible);
        for (uint64_t c = 0; c < chunks; c++)
            rows += pm_memtable_chunk(from->table, c)->rows;
        if (from->segment != NULL) rows += pm_segment_rows(from->segment);
    }
    return rows;
}

/* About so many. */
static uint64_t rows_about(const search_grid *g)
{
    uint64_t rows = 0;
    if (g->judged != NULL) return g->judged->matches;
    for (uint32_t i = 0; i < g->sources; i++)
        rows += g->source[i].table != NULL
                    ? pm_memtable_live(g->source[i].table)
                    : pm_segment_rows(g->source[i].segment) - pm_segment_ended(g->source[i].segment);
    return rows;
}

pomai_status search_no_memory(const pm_search *search, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory to search for %llu queries with k = %u",
                   (unsigned long long)search->queries, search->k);
}

pomai_status search_collect(search_grid *g, pomai_result **out, pomai_error *err)
{
    const pm_search *search = g->search;
    uint64_t bytes;
    size_t hits, at = 0;
    answer *answers = search_take(g, search->queries, sizeof *answers);
    if (answers == NULL) return search_no_memory(search, err);
    pomai_status status = finish_queries(g, answers, &hits, &bytes, err);
    pomai_result *r = status == POMAI_OK ? result_make(search, hits, bytes) : NULL;
    if (status == POMAI_OK && r == NULL) status = search_no_memory(search, err);
    uint8_t *to = r == NULL ? NULL : r->bytes;
    bool cut = false;
    for (uint32_t group = 0; group < g->groups; group++)
        cut |= g->cell[group * g->runs].cut;
    const uint64_t about = rows_about(g), most = cut ? rows_at_most(g) : 0;
    for (size_t q = 0; r != NULL && q < search->queries; q++) {
        const answer *a = &answers[q];
        r->first[q] = at;
        for (size_t h = 0; h < a->n; h++)
            copy_hit(g, r, at++, &a->hit[h], &to);
        const uint64_t rows = a->cell->cut ? most : about;
        r->verdicts[q] = judge(search, a->n, a->scanned, rows, a->cell->cut);
        judge_target(g, a->cell, rows, &r->verdicts[q]);
    }
    if (r != NULL) r->first[search->queries] = at;
    search_give(g, answers);
    *out = r;
    return status;
}

pomai_status pm_query_search_nothing(const pm_search *search, pomai_result **result, pomai_error *err)
{
    *result = result_make(search, 0, 0);
    if (*result == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the answer");
    for (uint64_t q = 0; q < search->queries; q++)
        (*result)->verdicts[q] = judge(search, 0, 0, 0, false);
    if ((search->include & POMAI_INCLUDE_PLAN) == 0) return POMAI_OK;
    pm_text text = {0};
    pm_text_add(&text, "{\"queries\": %llu, \"k\": %u, \"sources\": []}", (unsigned long long)search->queries,
                search->k);
    (*result)->plan = text.data;
    if (!text.failed) return POMAI_OK;
    pm_result_free(*result);
    *result = NULL;
    return pm_fail(err, POMAI_ENOMEM, "no memory for the answer");
}

void pm_result_free(pomai_result *r)
{
    if (r != NULL) pm_free(r->plan);
    pm_free(r);
}
