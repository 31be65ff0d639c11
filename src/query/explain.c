/* SPDX-License-Identifier: Apache-2.0 */
/* What a search did, as JSON for people: docs/indexing.md, "What a search did". It is said after the search, which
 * notes nothing for it but times. */
#include <math.h>
#include <string.h>

#include "query/search_int.h"

#define U(value) ((unsigned long long)(value))

enum { MOST_FILTER = 2000 /* bytes of its text: a filter has up to 16 MiB */ };

/* As a JSON string. What filters print is UTF-8, and control characters are escaped in it. */
static void add_string(pm_text *t, const char *at, size_t size)
{
    const char *end = at + size;
    pm_text_add(t, "\"");
    while (at < end) {
        const char *run = at;
        while (run < end && *run != '"' && *run != '\\')
            run++;
        pm_text_add(t, "%.*s", (int)(run - at), at);
        if (run < end) pm_text_add(t, "\\%c", *run++);
        at = run;
    }
    pm_text_add(t, "\"");
}

/* Lines as an array of strings. */
static void add_lines(pm_text *t, const pm_text *lines)
{
    const char *at = lines->data, *end = lines->data + lines->size;
    pm_text_add(t, "[");
    while (at != NULL && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        pm_text_add(t, "%s", at == lines->data ? "" : ", ");
        add_string(t, at, (size_t)(stop - at));
        at = stop + 1;
    }
    pm_text_add(t, "]");
}

/* How columns answered. */
static void add_terms(pm_text *t, const pm_columns_plan *plan)
{
    pm_text lines = {0};
    pm_columns_explain(plan, &lines);
    pm_text_add(t, ", \"terms\": ");
    add_lines(t, &lines);
    t->failed |= lines.failed;
    pm_free(lines.data);
}

static void add_judging(pm_text *t, const search_grid *g, uint32_t i)
{
    if (g->judged == NULL) return;
    const pm_judged *from = &g->judged->source[i];
    pm_text_add(t, ", \"matches\": %llu, \"judged_by\": \"%s\"", U(from->matches),
                from->by.columns ? "columns" : "documents");
    if (!from->by.columns) return;
    pm_text_add(t, ", \"least\": %llu, \"most\": %llu, \"documents_judged\": %llu", U(from->by.least), U(from->by.most),
                U(from->by.documents));
    const pm_columns_facts facts = pm_columns_look(&from->columns);
    pm_text_add(t, ", \"columns\": %u, \"open_rows\": %llu, \"residual_rows\": %llu", facts.columns, U(facts.open_rows),
                U(facts.residual_rows));
    add_terms(t, from->plan);
}

static void add_effort(pm_text *t, const char *way, const pm_graph_effort *effort)
{
    pm_text_add(t, ", \"way\": \"%s\", \"pool\": %u, \"rerank\": %u", way, effort->pool, effort->rerank);
    if (effort->slack < (float)INFINITY) pm_text_add(t, ", \"slack\": %.4g", (double)effort->slack);
    if (effort->margin < (float)INFINITY) pm_text_add(t, ", \"margin\": %.4g", (double)effort->margin);
    pm_text_add(t, ", \"expected_recall\": %.4f", (double)effort->expected);
}

static void add_way(pm_text *t, const search_grid *g, uint32_t i)
{
    const search_source *from = &g->source[i];
    if (g->judged != NULL && g->judged->source[i].matches == 0)
        pm_text_add(t, ", \"way\": \"nothing\"");
    else if (from->walked && from->picked)
        add_effort(t, "codes of matches", &from->pick);
    else if (from->walked)
        add_effort(t, "graph", &from->effort);
    else
        pm_text_add(t, ", \"way\": \"%s\"",
                    from->listed != NULL  ? "codes, then vectors"
                    : from->codes != NULL ? (g->sure || search_is_sparse(g, from) ? "codes, then vectors" : "codes")
                    : g->judged != NULL   ? "vectors of matches"
                                          : "vectors");
}

static void add_source(pm_text *t, const search_grid *g, uint32_t i)
{
    const search_source *from = &g->source[i];
    uint64_t rows = 0;
    if (from->segment != NULL) {
        rows = pm_segment_rows(from->segment);
        pm_text_add(t, "{\"segment\": %llu", U(pm_segment_where(from->segment)->number));
    } else {
        for (uint64_t c = 0; c < pm_memtable_visible_chunks(from->table, from->visible); c++)
            rows += pm_memtable_chunk(from->table, c)->rows;
        pm_text_add(t, "{\"memory\": true");
    }
    pm_text_add(t, ", \"rows\": %llu", U(rows));
    add_judging(t, g, i);
    add_way(t, g, i);
    pm_text_add(t, "}");
}

static void add_filter(pm_text *t, const pm_filter *filter)
{
    pm_text text = {0};
    pm_filter_print(filter, &text);
    if (!text.failed && text.size > MOST_FILTER) {
        text.size = MOST_FILTER;
        while (((uint8_t)text.data[text.size] & 0xc0) == 0x80) /* in the midst of a character */
            text.size--;
        text.data[text.size] = '\0';
        pm_text_add(&text, "...");
    }
    pm_text_add(t, "\"filter\": ");
    add_string(t, text.data == NULL ? "" : text.data, text.size);
    pm_text_add(t, ", \"matches\": ");
    t->failed |= text.failed;
    pm_free(text.data);
}

void search_explain(const search_grid *g, const search_times *times, pm_text *t)
{
    const pm_search *search = g->search;
    uint64_t rows = 0, compared = 0, wide = 0;
    for (uint32_t i = 0; i < g->groups; i++) {
        const search_cell *c = &g->cell[i * g->runs];
        rows += c->scanned * search_queries_of(g, i);
        for (uint32_t q = 0; q < search_queries_of(g, i); q++)
            compared += c->proposed[q];
        wide += c->again;
    }
    pm_text_add(t, "{\"queries\": %llu, \"k\": %u, ", U(search->queries), search->k);
    if (search->filter != NULL) {
        add_filter(t, search->filter);
        pm_text_add(t, "%llu, ", U(g->judged->matches));
    }
    pm_text_add(t, "\"compared\": %llu, \"walks_that_met_too_few\": %llu, \"threads\": %u, ",
                U((rows + compared) / search->queries), U(wide), times->threads);
    pm_text_add(t, "\"judging_us\": %.1f, \"searching_us\": %.1f, \"sources\": [",
                (double)(times->judged - times->begin) / 1e3, (double)(times->end - times->judged) / 1e3);
    for (uint32_t i = 0, n = 0; i < g->sources; i++) {
        if (g->source[i].table != NULL && pm_memtable_visible_chunks(g->source[i].table, g->source[i].visible) == 0)
            continue;
        pm_text_add(t, "%s", n++ == 0 ? "" : ", ");
        add_source(t, g, i);
    }
    pm_text_add(t, "]}");
}
