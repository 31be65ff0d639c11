/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of a segment, as a search uses them: docs/format/derived.md, docs/threads.md ("Codes"). */
#ifndef PM_QUERY_CODES_H
#define PM_QUERY_CODES_H

#include "index/quant/quant.h"
#include "storage/derived/derived.h"

/* The sections of a mapped file. */
void pm_query_codes_quant(const pm_derived *codes, pm_quant *quant);
/* Whether codes may be used. Checks, the first time, what was not checked yet, from part `share` of `shares` on, so
 * that threads that come together share the work. *over: is_over said so before an answer was known. */
bool pm_query_codes_ready(pm_derived *codes, uint32_t share, uint32_t shares, bool (*is_over)(const void *context),
                          const void *context, bool *over);

/* A group of queries over the codes of one segment. */
enum { PM_QUERY_CODES_MOST = 16 };
typedef struct pm_query_codes {
    pm_quant_query *query[PM_QUERY_CODES_MOST];
    uint32_t *candidates; /* room for those of a step */
    float expected;       /* recall */
    void *memory;
} pm_query_codes;

/* vectors: queries x dim. false: they do not reach this recall, or there is no memory: scan exactly. */
bool pm_query_codes_begin(pm_query_codes *with, const pm_derived *codes, const pm_simd *simd, const float *vectors,
                          uint32_t queries, uint32_t k, float recall);
void pm_query_codes_end(pm_query_codes *with);

#endif
