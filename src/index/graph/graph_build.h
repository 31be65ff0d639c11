/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps of building share. */
#ifndef PM_GRAPH_BUILD_H
#define PM_GRAPH_BUILD_H

#include "graph_int.h"
#include "link.h"

struct pm_graph_builder {
    const pm_index_source *source;
    const pm_simd *simd;
    const pm_index_work *work;
    graph_space space;
    uint32_t variant;
    uint32_t batch;       /* rows read at once */
    float *rows;          /* batch x dim */
    float *units;         /* padded + 16 */
    uint8_t *code;        /* whole */
    double *sum;          /* padded + 16 */
    float *centre, *mean; /* padded */
    float *directions;    /* of the projection, if there may be one */
    uint32_t count;       /* of them */
    uint8_t *codes;       /* rows x whole; once begun in the order of nodes */
    uint8_t *hot;         /* rows x hot_bytes, if they were made on the way to something else; or NULL */
    uint32_t *order;      /* the row of each node */
    uint32_t *place;      /* the node of each row */
    uint8_t *model;       /* section 0 */
};

/* Chooses the order of nodes, and brings the codes into it. POMAI_ENOMEM, or POMAI_EDEADLINE: go_on said stop. */
pomai_status graph_order_rows(pm_graph_builder *b);

/* Codes that near rows are found by faster, to link them, and hot codes; or *out NULL. POMAI_ENOMEM, or
 * POMAI_EDEADLINE. */
pomai_status graph_project(pm_graph_builder *b, uint8_t **out);

uint32_t graph_fanout(const graph_shape *shape); /* leaders to which a row goes while it is linked */

static inline bool builder_go_on(const pm_graph_builder *b)
{
    return b->work == NULL || b->work->go_on == NULL || b->work->go_on(b->work->context);
}

#endif
