/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a search: what the cells found, merged, sorted and copied out, with a verdict for each query. */
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
    if (!c->approximate) return;
    v->rows_visible = pm_max_u64(rows, v->rows_scanned);
    if (c->cut) return;
    v->completeness = POMAI_APPROXIMATE;
    v->expected_recall = 1 - c->lost / (double)g->rows;
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

static pomai_result *result_make(const pm_search *search, size_t hits, uint64_t bytes)
{
    pomai_result *r = pm_calloc(1, sizeof *r);
    if (r == NULL) return NULL;
    r->queries = search->queries;
    r->dim = search->dim;
    r->first = pm_calloc(search->queries + 1, sizeof *r->first);
    r->verdicts = pm_calloc(search->queries + 1, sizeof *r->verdicts);
    r->distances = pm_calloc(hits + 1, sizeof *r->distances);
    r->bytes = pm_malloc(bytes + 1);
    bool good = r->first != NULL && r->verdicts != NULL && r->distances != NULL && r->bytes != NULL;
    if (search->id_kind == POMAI_ID_U64)
        good &= (r->u64_ids = pm_calloc(hits + 1, sizeof *r->u64_ids)) != NULL;
    else
        good &= (r->string_ids = pm_calloc(hits + 1, sizeof *r->string_ids)) != NULL;
    if ((search->include & POMAI_INCLUDE_DOCUMENTS) != 0)
        good &= (r->documents = pm_calloc(hits + 1, sizeof *r->documents)) != NULL;
    if ((search->include & POMAI_INCLUDE_VECTORS) != 0)
        good &= (r->vectors = pm_calloc(hits + 1, search->dim * sizeof *r->vectors)) != NULL;
    if (good) return r;
    pm_result_free(r);
    return NULL;
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
    r->distances[at] = hit->distance;
    if (r->u64_ids != NULL)
        r->u64_ids[at] = hit->id.u64;
    else
        r->string_ids[at] = keep_bytes(bytes, hit->id.bytes, hit->id.size);
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
                *bytes += hit->id.size;
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

/* The rows that the view shows, when the scan did not come to all of them: at most so many. */
static uint64_t rows_at_most(const search_grid *g)
{
    uint64_t rows = 0;
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

pomai_status search_collect(const search_grid *g, pomai_result **out, pomai_error *err)
{
    const pm_search *search = g->search;
    uint64_t bytes;
    size_t hits, at = 0;
    answer *answers = pm_calloc(search->queries, sizeof *answers);
    if (answers == NULL) return search_no_memory(search, err);
    pomai_status status = finish_queries(g, answers, &hits, &bytes, err);
    pomai_result *r = status == POMAI_OK ? result_make(search, hits, bytes) : NULL;
    if (status == POMAI_OK && r == NULL) status = search_no_memory(search, err);
    uint8_t *to = r == NULL ? NULL : r->bytes;
    const uint64_t rows = rows_at_most(g);
    for (size_t q = 0; r != NULL && q < search->queries; q++) {
        const answer *a = &answers[q];
        r->first[q] = at;
        for (size_t h = 0; h < a->n; h++)
            copy_hit(g, r, at++, &a->hit[h], &to);
        r->verdicts[q] = judge(search, a->n, a->scanned, rows, a->cell->cut);
        judge_target(g, a->cell, rows, &r->verdicts[q]);
    }
    if (r != NULL) r->first[search->queries] = at;
    pm_free(answers);
    *out = r;
    return status;
}

pomai_status pm_query_search_nothing(const pm_search *search, pomai_result **result, pomai_error *err)
{
    *result = result_make(search, 0, 0);
    if (*result == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the answer");
    for (uint64_t q = 0; q < search->queries; q++)
        (*result)->verdicts[q] = judge(search, 0, 0, 0, false);
    return POMAI_OK;
}

void pm_result_free(pomai_result *r)
{
    if (r == NULL) return;
    pm_free(r->first);
    pm_free(r->u64_ids);
    pm_free(r->distances);
    pm_free(r->string_ids);
    pm_free(r->documents);
    pm_free(r->vectors);
    pm_free(r->verdicts);
    pm_free(r->bytes);
    pm_free(r);
}
