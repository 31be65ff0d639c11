/* SPDX-License-Identifier: Apache-2.0 */
#include "query/codes.h"

#include <assert.h>

bool pm_query_codes_begin(pm_query_codes *with, const pm_derived *codes, const pm_simd *simd, const float *vectors,
                          uint32_t queries, uint32_t k, float recall)
{
    pm_quant quant;
    pm_query_derived_codes(codes, &quant);
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
        const float *vector = vectors + (size_t)i * quant.dim;
        with->query[i] = recall < 1 ? pm_quant_query_init(at, kept, simd, vector, k, recall, &expected)
                                    : pm_quant_query_init_sure(at, kept, simd, vector, k);
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
