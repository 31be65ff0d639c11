/* SPDX-License-Identifier: Apache-2.0 */
/* Derived files of a segment, as a search uses them: docs/format/derived.md, docs/threads.md ("Codes and graphs"). */
#ifndef PM_QUERY_DERIVED_H
#define PM_QUERY_DERIVED_H

#include "index/columns/columns.h"
#include "index/graph/graph.h"
#include "index/quant/quant.h"
#include "storage/derived/derived.h"

/* The sections of a mapped file of the kind. */
void pm_query_derived_codes(const pm_derived *derived, pm_quant *quant);
void pm_query_derived_graph(const pm_derived *derived, pm_graph *graph);
void pm_query_derived_columns(const pm_derived *derived, pm_columns *columns);
/* Whether what the sections say can be used; their checksums were right. */
bool pm_query_derived_is_sound(const pm_derived *derived);
/* Whether the file may be used. Checks, the first time, what was not checked yet, from part `share` of `shares` on, so
 * that threads that come together share the work. *over: is_over said so before an answer was known. */
bool pm_query_derived_is_ready(pm_derived *derived, uint32_t share, uint32_t shares,
                               bool (*is_over)(const void *context), const void *context, bool *over);

#endif
