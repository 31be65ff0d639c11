/* SPDX-License-Identifier: Apache-2.0 */
/* A group of queries over the codes of one segment. */
#ifndef PM_QUERY_CODES_H
#define PM_QUERY_CODES_H

#include "query/derived.h"

enum { PM_QUERY_CODES_MOST = 16 };
typedef struct pm_query_codes {
    pm_quant_query *query[PM_QUERY_CODES_MOST];
    uint32_t *candidates; /* room for those of a step */
    float expected;       /* recall */
    void *memory;
} pm_query_codes;

/* vectors: queries x dim. recall 1: no row is left out that may be among the k nearest. false: they do not reach this
 * recall, or there is no memory: scan exactly. */
bool pm_query_codes_begin(pm_query_codes *with, const pm_derived *codes, const pm_simd *simd, const float *vectors,
                          uint32_t queries, uint32_t k, float recall);
void pm_query_codes_end(pm_query_codes *with);

#endif
