/* SPDX-License-Identifier: Apache-2.0 */
#include "query/codes.h"

#include <assert.h>

enum { CHECK_BLOCKS = 16 }; /* 1 MiB between two looks at the clock */

void pm_query_codes_quant(const pm_derived *codes, pm_quant *quant)
{
    *quant =
        (pm_quant){.rows = codes->header.rows, .dim = codes->header.dim, .metric = (pomai_metric)codes->header.metric};
    for (uint32_t i = 0; i < PM_QUANT_SECTIONS; i++)
        quant->section[i] = codes->section[i];
}

/* From unknown to what was found; the first one says it. */
static bool settle(pm_derived *codes, uint32_t state)
{
    uint32_t unknown = PM_DERIVED_UNKNOWN;
    atomic_compare_exchange_strong(&codes->state, &unknown, state);
    return atomic_load(&codes->state) == PM_DERIVED_SOUND;
}

bool pm_query_codes_ready(pm_derived *codes, uint32_t share, uint32_t shares, bool (*is_over)(const void *context),
                          const void *context, bool *over)
{
    const uint32_t state = atomic_load_explicit(&codes->state, memory_order_acquire);
    uint64_t left = 1;
    *over = false;
    if (state != PM_DERIVED_UNKNOWN) return state == PM_DERIVED_SOUND;
    assert(share < shares);
    const uint64_t from = codes->header.blocks * share / shares;
    while (left > 0) {
        if (pm_derived_check(codes, from, CHECK_BLOCKS, &left, NULL) != POMAI_OK) return settle(codes, PM_DERIVED_BAD);
        *over = left > 0 && is_over(context);
        if (*over) return false;
    }
    pm_quant quant;
    pm_query_codes_quant(codes, &quant);
    return settle(codes, pm_quant_is_sound(&quant) ? PM_DERIVED_SOUND : PM_DERIVED_BAD);
}

bool pm_query_codes_begin(pm_query_codes *with, const pm_derived *codes, const pm_simd *simd, const float *vectors,
                          uint32_t queries, uint32_t k, float recall)
{
    pm_quant quant;
    pm_query_codes_quant(codes, &quant);
    const size_t size = pm_quant_query_size(&quant, k), room = PM_QUANT_STEP * sizeof *with->candidates;
    assert(queries <= PM_QUERY_CODES_MOST && room % 64 == 0);
    *with = (pm_query_codes){.expected = 1};
    if (size == 0 || size > SIZE_MAX / 2 / PM_QUERY_CODES_MOST) return false;
    with->memory = pm_malloc_aligned(64, sizeof quant + 64 + room + queries * size);
    if (with->memory == NULL) return false;
    with->candidates = with->memory;
    uint8_t *at = (uint8_t *)with->memory + room;
    pm_quant *kept = (pm_quant *)(void *)at; /* a query may point to it */
    *kept = quant;
    at += pm_align_up(sizeof quant, 64);
    for (uint32_t i = 0; i < queries; i++, at += size) {
        float expected = 1;
        with->query[i] = pm_quant_query_init(at, kept, simd, vectors + (size_t)i * quant.dim, k, recall, &expected);
        if (with->query[i] == NULL) {
            pm_query_codes_end(with);
            return false;
        }
        if (expected < with->expected) with->expected = expected;
    }
    return true;
}

void pm_query_codes_end(pm_query_codes *with)
{
    pm_free(with->memory);
}
