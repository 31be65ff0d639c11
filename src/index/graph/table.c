/* SPDX-License-Identifier: Apache-2.0 */
/* The table of efforts, and whether a graph can be used. */
#include <math.h>
#include <string.h>

#include "base/mutant.h"
#include "graph_int.h"

const uint32_t graph_ks[GRAPH_KS] = {10, 20, 50, 100};

static bool in_range(float x, float least, float most)
{
    return x >= least && x <= most; /* false for NaN */
}

static bool effort_is_sound(float slack, float recall, uint32_t pool, uint32_t rerank)
{
    return slack >= 0 && in_range(recall, 0, 1) && pool <= PM_GRAPH_MOST_POOL && rerank <= pool;
}

static bool table_is_sound(const graph_table *table)
{
    if (table->revision != GRAPH_REVISION) return false;
    for (size_t i = 0; i < GRAPH_KS; i++) {
        const graph_row *row = &table->row[i];
        if (row->k != graph_ks[i] || !in_range(row->best, 0, 1)) return false;
        for (size_t j = 0; j < GRAPH_TARGETS; j++) {
            const graph_entry *e = &row->entry[j];
            if (!in_range(e->target, 0, 1) || !(e->cost >= 0)) return false;
            if (!(e->crowd >= 0) || !(row->outlying >= 0)) return false;
            if (!(row->gap_from >= 0) || !(row->gap_to >= row->gap_from)) return false;
            if (!(row->far >= 0) || !effort_is_sound(e->slack, e->recall, e->pool, e->rerank)) return false;
            if (!effort_is_sound(e->narrow_slack, e->narrow_recall, e->narrow_pool, e->narrow_rerank)) return false;
            if (!(e->margin >= 0) || (e->pool == 0) != (e->narrow_pool == 0)) return false;
            if (j > 0 && e->target <= row->entry[j - 1].target) return false;
        }
    }
    return true;
}

/* An entry that scored otherwise than its row would be found twice. */
static bool entries_are_sound(const pm_graph *graph, const graph_shape *shape)
{
    const uint32_t *entry = (const uint32_t *)(const void *)graph->section[GRAPH_ENTRIES];
    const uint32_t count = graph_entry_count(shape, graph->rows);
    const uint8_t *code = graph->section[GRAPH_ENTRIES] + count * sizeof *entry;
    for (size_t i = 0; i < count; i++, code += shape->hot_bytes)
        if (entry[i] >= graph->rows ||
            memcmp(code, graph->section[GRAPH_HOT] + (uint64_t)entry[i] * shape->hot_bytes, shape->hot_bytes) != 0)
            return false;
    return true;
}

/* Each the other backwards: no row is the answer twice. */
static bool order_is_sound(const pm_graph *graph)
{
    const uint32_t *order = (const uint32_t *)(const void *)graph->section[GRAPH_ORDER];
    const uint32_t *place = (const uint32_t *)(const void *)graph->section[GRAPH_PLACE];
    for (uint64_t i = 0; i < graph->rows; i++)
        if (order[i] >= graph->rows || (place[order[i]] != i && !PM_MUTANT(GRAPH_ORDER_TRUSTED))) return false;
    return true;
}

/* Links are compared with the number of rows where they are followed; floats of codes and the model may be anything. */
bool pm_graph_is_sound(const pm_graph *graph)
{
    uint64_t length[PM_GRAPH_SECTIONS];
    graph_shape shape;
    graph_model model;
    graph_table table;
    if (!pm_graph_lengths(graph->rows, graph->dim, graph->metric, graph->variant, length) ||
        !graph_shape_of(&shape, graph->dim, graph->metric, graph->variant))
        return false;
    for (size_t i = 0; i < PM_GRAPH_SECTIONS; i++)
        if (length[i] > 0 && (graph->section[i] == NULL || (uintptr_t)graph->section[i] % GRAPH_LINE != 0))
            return false;
    memcpy(&model, graph->section[GRAPH_MODEL], sizeof model);
    memcpy(&table, graph->section[GRAPH_TABLE], sizeof table);
    return model.revision == GRAPH_REVISION && model.dim == graph->dim && model.padded == shape.padded &&
           model.rows == graph->rows && model.metric == (uint32_t)graph->metric && model.variant == graph->variant &&
           model.flags == 0 && in_range(model.step, 0, INFINITY) &&
           (model.step > 0 || graph->metric == POMAI_METRIC_L2) && !((shape.exact || shape.turns) && model.step > 0) &&
           entries_are_sound(graph, &shape) && table_is_sound(&table) && order_is_sound(graph);
}

static const graph_row *rows_of(const pm_graph *graph)
{
    return ((const graph_table *)(const void *)graph->section[GRAPH_TABLE])->row;
}

/* The measured k that stands for this one: recall falls with k. GRAPH_KS: it is more than any. */
static size_t row_for(uint32_t k)
{
    size_t i = 0;
    while (i < GRAPH_KS && k > graph_ks[i])
        i++;
    return i;
}

bool pm_graph_look_up(const pm_graph *graph, uint32_t k, float recall, bool narrow, pm_graph_effort *effort)
{
    for (size_t i = row_for(k); k > 0 && i < GRAPH_KS;
         i++) { /* a higher k may have been seen to get what this did not */
        const graph_row *row = rows_of(graph) + i;
        for (size_t j = 0; j < GRAPH_TARGETS; j++) {
            const graph_entry *e = &row->entry[j];
            if (e->target < recall || e->pool == 0) continue;
            *effort = (pm_graph_effort){.pool = narrow ? e->narrow_pool : e->pool,
                                        .slack = narrow ? e->narrow_slack : e->slack,
                                        .rerank = narrow ? e->narrow_rerank : e->rerank,
                                        .margin = narrow ? INFINITY : e->margin,
                                        .expected = narrow ? e->narrow_recall : e->recall,
                                        .cost = e->cost,
                                        .far = row->far,
                                        .gap_from = row->gap_from,
                                        .gap_to = row->gap_to,
                                        .outlying = row->outlying,
                                        .crowd = e->crowd,
                                        .stop = PM_MUTANT(STOP_BY_OWN_K) ? 0 : row->k};
            return true;
        }
    }
    return false;
}

bool pm_graph_of_pool(const pm_graph *graph, uint32_t k, uint32_t ef, pm_graph_effort *effort)
{
    const size_t at = row_for(k);
    const uint32_t pool = ef > k ? ef : k;
    if (k == 0 || pool > PM_GRAPH_MOST_POOL) return false;
    *effort = (pm_graph_effort){.pool = pool, .slack = INFINITY, .rerank = pool, .margin = INFINITY};
    for (size_t j = 0; at < GRAPH_KS && j < GRAPH_TARGETS; j++) { /* what a smaller pool reached */
        const graph_entry *e = &rows_of(graph)[at].entry[j];
        if (e->narrow_pool > 0 && e->narrow_pool <= pool && e->narrow_recall > effort->expected)
            effort->expected = e->narrow_recall;
    }
    return true;
}
