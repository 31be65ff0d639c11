/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches with a filter. Every row that the reader sees is judged once for a search, before anything is planned: then
 * it is known how many match, and whether they are compared one by one or proposed by codes or a graph.
 */
#include "query/search_int.h"

enum { FEW_SHARE = 20 /* of the rows that match, one in so many: a walk would meet too few of them */ };

bool search_judge(search_grid *g, pm_pool *pool)
{
    const pm_judge_how how = {g->view, g->search->filter, pool, search_is_over, g};
    pomai_error error;
    const pomai_status status = pm_judge_all(&how, &g->judged, &error);
    if (status == POMAI_ENOMEM) return false;
    if (status != POMAI_OK) return search_is_damaged(g, &error) || true;
    assert(g->judged->sources == g->sources);
    for (uint32_t i = 0; i < g->sources; i++) {
        search_source *to = &g->source[i];
        const pm_judged *from = &g->judged->source[i];
        assert(to->table == from->table && to->segment == from->segment);
        to->match = from->match;
        to->match_at = from->match_at;
        to->rows = from->rows;
        to->matches = from->matches;
        if (to->matches > 0) continue;
        g->rows -= to->rows;
        to->chunks = 0;
    }
    return true;
}

bool search_is_few(const search_source *from, uint32_t k)
{
    const uint64_t m = from->matches;
    /* A walk takes the time of SEARCH_WALK_ROWS rows, and longer by as much as its pool is larger: by rows / m. */
    return m <= k || m <= from->rows / FEW_SHARE || m * m <= SEARCH_WALK_ROWS * from->rows;
}

/*
 * Calibration walked through a pool of rows that all count. To come to as many that do, the pool has to be larger by
 * rows / m where matches are spread evenly, and half as much again, if there is room, because they are not quite.
 */
bool search_make_room(search_source *from)
{
    const uint64_t kept = from->effort.pool, least = kept * from->rows / from->matches;
    const uint64_t pool = pm_min_u64(least + least / 2 + 1, PM_GRAPH_MOST_POOL);
    if (from->matches == from->rows) return true;
    if (least > PM_GRAPH_MOST_POOL) return false;
    from->effort.pool = (uint32_t)pool;
    from->spare = (uint32_t)(pool - kept);
    return true;
}
