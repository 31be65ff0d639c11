/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes to link rows by, where a projection keeps most of what they vary by: its dimensions as bytes of one scale. They
 * take a fraction of the bytes of the rows' own codes, and the walk looks at the same dimensions, more coarsely.
 */
#include <math.h>
#include <stdatomic.h>

#include "base/mutant.h"
#include "graph_build.h"

#define SAMPLE     1024
#define PIECE_ROWS 1024
#define WORTH      2    /* so many times shorter than the rows' own codes, at least */
#define DEVIATIONS 4.0f /* of all dimensions together, in which a byte ends */
#define MOST       1e6f /* bytes for a unit of the rows' own codes: they hardly differ */

typedef struct projecting {
    const pm_graph_builder *b;
    float inverse;
    uint8_t *out;
    _Atomic int status;
} projecting;

static void project_piece(void *argument, uint32_t piece)
{
    projecting *p = argument;
    const pm_graph_builder *b = p->b;
    const graph_shape *shape = &b->space.shape;
    const size_t bytes = graph_near_bytes(shape);
    const uint64_t first = (uint64_t)piece * PIECE_ROWS, end = pm_min_u64(first + PIECE_ROWS, b->source->rows);
    if (atomic_load_explicit(&p->status, memory_order_relaxed) != POMAI_OK) return;
    void *scratch = pm_malloc_aligned(GRAPH_LINE, graph_scratch_bytes(shape));
    if (scratch == NULL || !builder_go_on(b)) {
        atomic_store(&p->status, scratch == NULL ? POMAI_ENOMEM : POMAI_EDEADLINE);
        pm_free(scratch);
        return;
    }
    const unsigned fp = pm_simd_fp_enter();
    for (uint64_t i = first; i < end; i++) {
        graph_hot_code(&b->space, b->codes + i * shape->whole, scratch, b->hot + i * shape->hot_bytes);
        graph_near_code(&b->space, scratch, p->inverse, p->out + i * bytes);
    }
    pm_simd_fp_leave(fp);
    pm_free(scratch);
}

/* Bytes for a unit. */
static float scale_of(const pm_graph_builder *b, void *scratch)
{
    const uint64_t rows = b->source->rows, samples = pm_min_u64(rows, SAMPLE);
    double sum = 0;
    for (uint64_t i = 0; i < samples; i++)
        sum += (double)graph_inside(&b->space, b->codes + rows * i / samples * b->space.shape.whole, scratch);
    const float deviation = (float)sqrt(sum / (double)samples / b->space.shape.hot);
    const float deviations = PM_MUTANT(PROJECTED_COARSELY) ? 1000 : DEVIATIONS;
    return fminf(127 / (deviations * deviation), MOST);
}

pomai_status graph_project(pm_graph_builder *b, uint8_t **out)
{
    const graph_shape *shape = &b->space.shape;
    const size_t bytes = graph_near_bytes(shape);
    *out = NULL;
    if (!shape->projected || bytes * WORTH > shape->whole) return POMAI_OK;
    void *scratch = pm_malloc_aligned(GRAPH_LINE, graph_scratch_bytes(shape));
    projecting p = {.b = b, .out = pm_malloc_aligned(GRAPH_LINE, (size_t)b->source->rows * bytes)};
    b->hot = pm_malloc_aligned(GRAPH_LINE, (size_t)b->source->rows * shape->hot_bytes);
    atomic_init(&p.status, scratch == NULL || p.out == NULL || b->hot == NULL ? POMAI_ENOMEM : POMAI_OK);
    if (atomic_load(&p.status) == POMAI_OK) {
        p.inverse = scale_of(b, scratch);
        pm_index_run(b->work, project_piece, &p, (uint32_t)((b->source->rows + PIECE_ROWS - 1) / PIECE_ROWS));
    }
    pm_free(scratch);
    const pomai_status status = (pomai_status)atomic_load(&p.status);
    if (status == POMAI_OK)
        *out = p.out;
    else
        pm_free(p.out);
    return status;
}
