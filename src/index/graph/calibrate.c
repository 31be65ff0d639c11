/* SPDX-License-Identifier: Apache-2.0 */
#include "graph_build.h"
#include <string.h>
pomai_status pm_graph_calibrate(pm_graph_builder *b, const pm_graph *graph, const pm_index_sink *sink)
{
    graph_table t;
    static const float targets[GRAPH_TARGETS] = {0.8f, 0.85f, 0.9f, 0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 0.998f, 0.999f};
    (void)b;
    (void)graph;
    memset(&t, 0, sizeof t);
    t.revision = GRAPH_REVISION;
    static const uint32_t ks[GRAPH_KS] = {1, 10, 100};
    for (int i = 0; i < GRAPH_KS; i++) {
        t.row[i].k = ks[i];
        for (int j = 0; j < GRAPH_TARGETS; j++)
            t.row[i].entry[j].target = targets[j];
    }
    return sink->append(sink->context, GRAPH_TABLE, &t, sizeof t) ? POMAI_OK : POMAI_EDEADLINE;
}
