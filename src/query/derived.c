/* SPDX-License-Identifier: Apache-2.0 */
#include "query/derived.h"

#include <assert.h>

enum { CHECK_BLOCKS = 16 }; /* 1 MiB between two looks at the clock */

void pm_query_derived_codes(const pm_derived *derived, pm_quant *quant)
{
    const pm_derived_header *h = &derived->header;
    *quant = (pm_quant){.rows = h->rows, .dim = h->dim, .metric = (pomai_metric)h->metric};
    for (uint32_t i = 0; i < PM_QUANT_SECTIONS; i++)
        quant->section[i] = derived->section[i];
}

void pm_query_derived_graph(const pm_derived *derived, pm_graph *graph)
{
    const pm_derived_header *h = &derived->header;
    *graph = (pm_graph){.rows = h->rows, .dim = h->dim, .metric = (pomai_metric)h->metric, .variant = h->variant};
    for (uint32_t i = 0; i < PM_GRAPH_SECTIONS; i++)
        graph->section[i] = derived->section[i];
}

void pm_query_derived_columns(const pm_derived *derived, pm_columns *columns)
{
    *columns = (pm_columns){.rows = derived->header.rows};
    for (uint32_t i = 0; i < PM_COLUMNS_SECTIONS; i++) {
        columns->section[i] = derived->section[i];
        columns->length[i] = derived->length[i];
    }
}

bool pm_query_derived_is_sound(const pm_derived *derived)
{
    pm_quant quant;
    pm_graph graph;
    pm_columns columns;
    switch (derived->header.kind) {
    case PM_DERIVED_CODES:
        pm_query_derived_codes(derived, &quant);
        return pm_quant_is_sound(&quant);
    case PM_DERIVED_GRAPH:
        pm_query_derived_graph(derived, &graph);
        return pm_graph_is_sound(&graph);
    case PM_DERIVED_COLUMNS:
        pm_query_derived_columns(derived, &columns);
        return pm_columns_is_sound(&columns);
    default:
        return false;
    }
}

/* From unknown to what was found; the first one says it. */
static bool settle(pm_derived *derived, uint32_t state)
{
    uint32_t unknown = PM_DERIVED_UNKNOWN;
    atomic_compare_exchange_strong(&derived->state, &unknown, state);
    return atomic_load(&derived->state) == PM_DERIVED_SOUND;
}

bool pm_query_derived_is_ready(pm_derived *derived, uint32_t share, uint32_t shares,
                               bool (*is_over)(const void *context), const void *context, bool *over)
{
    const uint32_t state = atomic_load_explicit(&derived->state, memory_order_acquire);
    uint64_t left = 1;
    *over = false;
    if (state != PM_DERIVED_UNKNOWN) return state == PM_DERIVED_SOUND;
    assert(share < shares);
    const uint64_t from = derived->header.blocks * share / shares;
    while (left > 0) {
        if (pm_derived_check(derived, from, CHECK_BLOCKS, &left, NULL) != POMAI_OK)
            return settle(derived, PM_DERIVED_BAD);
        *over = left > 0 && is_over(context);
        if (*over) return false;
    }
    return settle(derived, pm_query_derived_is_sound(derived) ? PM_DERIVED_SOUND : PM_DERIVED_BAD);
}
