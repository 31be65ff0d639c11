/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk keeps a sorted pool of the nearest nodes found, walks from the nearest that it has not walked from yet, and
 * ends when all in the pool were, or when the next is too far from the k-th (a distance-adaptive stop: Al-Jazzazi et
 * al., Distance adaptive beam search for provably accurate graph-based nearest neighbor search, 2025). That bound also
 * keeps nodes out of the pool.
 *
 * Memory answers many at once, but each only after a tenth of a microsecond, and a walk that waits for one answer
 * before it asks for the next does little else. So a walk is a pipeline: while the neighbours of one node are scored,
 * the codes of those of the next are on their way, and the links of the node after that. A node is thus chosen before
 * it is known what the two before it lead to, which costs few steps more than the best order would.
 *
 * Which nodes were seen is kept in a table that forgets: a node that is met again after its slot was taken is scored
 * once more and found in the pool, or is too far for it. So memory does not grow with the rows.
 */
#include <math.h>
#include <string.h>

#include "base/mutant.h"
#include "graph_int.h"

enum { LEAST_SEEN = 4096, MOST_SEEN = 1 << 17, SEEN_A_NODE = 32, ASK_EVERY = 32 };
#define NO_NODE UINT32_MAX
/* On squared distances, and how often what a warm code is wrong by is allowed for. */
#define WARM_MARGIN 1.02f
#define WARM_NOISES 3.0f
#define ROWS_MARGIN 1.000001f /* for what single floats are rounded by */
#define HOT_NOISE   0.2f /* by the root of the dimensions: of the squared length, what a nibble of each is wrong by */
/* Times the squared distance that few queries of calibration exceeded. */
#define FARTHER     1.05f
#define GAP_MARGIN  1.05f /* by which a squared distance is to be within a gap */
#define CROWD       0.25f /* of the distance that a walk's slack leaves room for */
#define TURN_NOISES 2.0f  /* beyond a row that is the same, a walk among few so near turns to the rows */

struct pm_graph_query {
    const pm_simd_walk *kernels;
    graph_shape shape;
    const uint32_t *links, *entries, *order, *place;
    const uint8_t *entry_codes;
    uint32_t entry_count;
    uint32_t k, rerank; /* rerank: less once a walk has ended that proposes what it has walked from */
    size_t near;        /* of the rerank, then of the result */
    uint32_t stop;      /* the limit is by this one of the nearest */
    float far, outlying, crowd, gap_from, gap_to;
    pm_graph_doubt doubt;
    float reach;   /* squared: (1 + slack)^2 */
    float ranked;  /* the same of the margin */
    float noise;   /* distances that hot codes do not tell from none */
    float turn_at; /* that of few by which a walk turns to the rows */
    pm_walk_codes hot, warm;
    pm_walk_rows rows; /* where hot, or warm, codes are these */
    bool by_rows;      /* they are what is scored */
    graph_noise warm_noise;
    pm_walk_pool pool, found; /* found: of rows that count, or rescored by warm codes */
    pm_walk_seen seen;
    uint64_t scored, rows_scored, expanded;
    uint32_t met;                 /* pm_graph_met */
    uint32_t *ids, *ahead, *kept; /* room for MOST_AT_ONCE, GRAPH_FEW and PM_WALK_ROOM each; ahead: asked for */
    float *score;                 /* of ids */
    uint32_t *result, *distance;  /* distance: of the result, in whole numbers */
    bool whole;                   /* rows and query are whole numbers of a byte: whole_of */
    float *units;
    int8_t *bytes;
    void *scratch;
};

/* Links of a node, or entries; entries that are begun at. */
enum { MOST_AT_ONCE = 128, ENTERED = 8 };
static_assert(GRAPH_FEW_ENTRIES <= MOST_AT_ONCE && GRAPH_FEW_ENTRIES % ENTERED == 0, "so many are scored at once");

static uint32_t seen_slots(uint32_t pool)
{
    uint32_t slots = LEAST_SEEN;
    while (slots < MOST_SEEN && slots < pool * SEEN_A_NODE)
        slots *= 2;
    return slots;
}

/* Where in a query's memory its arrays are. */
typedef struct layout {
    size_t bytes, pool, found, seen, ids, ahead, kept, score, result, distance, scratch, units, size;
} layout;

static size_t take(size_t *at, size_t bytes)
{
    const size_t from = *at;
    *at += pm_align_up(bytes, GRAPH_LINE);
    return from;
}

/* Where in a query's bytes are the elements for rows, after those for hot codes, and what whole_of says, after both. */
static size_t elements_at(const graph_shape *shape)
{
    return shape->exact ? 0 : 2 * (size_t)shape->hot_bytes;
}

static size_t whole_at(const graph_shape *shape)
{
    return elements_at(shape) + (shape->exact || shape->turns ? 2 * (size_t)shape->whole : 0);
}

static layout layout_of(const graph_shape *shape, const pm_graph_effort *effort)
{
    layout l;
    size_t at = 0;
    (void)take(&at, sizeof(pm_graph_query));
    l.bytes = take(&at, whole_at(shape) + (shape->exact ? shape->whole : shape->warm_bytes));
    l.pool = take(&at, (effort->pool + 16) * sizeof(uint64_t));
    l.found = take(&at, (effort->pool + 16) * sizeof(uint64_t));
    l.seen = take(&at, seen_slots(effort->pool) * sizeof(uint32_t));
    l.ids = take(&at, (MOST_AT_ONCE + GRAPH_FEW + PM_WALK_ROOM) * sizeof(uint32_t));
    l.ahead = take(&at, (MOST_AT_ONCE + GRAPH_FEW + PM_WALK_ROOM) * sizeof(uint32_t));
    l.kept = take(&at, (MOST_AT_ONCE + GRAPH_FEW + PM_WALK_ROOM) * sizeof(uint32_t));
    l.score = take(&at, (MOST_AT_ONCE + GRAPH_FEW + PM_WALK_ROOM) * sizeof(float));
    l.result = take(&at, effort->pool * sizeof(uint32_t));
    l.distance = take(&at, effort->pool * sizeof(uint32_t));
    l.scratch = take(&at, graph_scratch_bytes(shape));
    l.units = take(&at, shape->padded * sizeof(float));
    l.size = at;
    return l;
}

size_t pm_graph_query_size(const pm_graph *graph, const pm_graph_effort *effort)
{
    graph_shape shape;
    if (effort->pool == 0 || effort->pool > PM_GRAPH_MOST_POOL ||
        !graph_shape_of(&shape, graph->dim, graph->metric, graph->variant))
        return 0;
    return layout_of(&shape, effort).size;
}

uint32_t pm_graph_hot_lines(const pm_graph *graph)
{
    graph_shape shape;
    return graph_shape_of(&shape, graph->dim, graph->metric, graph->variant) ? (uint32_t)(shape.hot_bytes / GRAPH_LINE)
                                                                             : 0;
}

static void empty_pool(pm_walk_pool *pool, uint64_t *keys, uint32_t most)
{
    *pool = (pm_walk_pool){.key = keys, .most = most};
    memset(keys, 0xff, (most + 16) * sizeof *keys);
}

static uint32_t stop_of(uint32_t k, const pm_graph_effort *effort)
{
    const uint32_t most = k > effort->stop ? k : effort->stop;
    return most < GRAPH_FEW ? GRAPH_FEW : most;
}

static pm_graph_query *prepare(void *memory, const pm_graph *graph, const pm_simd *simd, uint32_t k,
                               const pm_graph_effort *effort, graph_space *space)
{
    pm_graph_query *q = memory;
    uint8_t *base = memory;
    graph_space_of(space, graph, simd);
    const layout l = layout_of(&space->shape, effort);
    *q = (pm_graph_query){.kernels = simd->walk,
                          .shape = space->shape,
                          .links = (const uint32_t *)(const void *)graph->section[GRAPH_LINKS],
                          .entries = (const uint32_t *)(const void *)graph->section[GRAPH_ENTRIES],
                          .order = (const uint32_t *)(const void *)graph->section[GRAPH_ORDER],
                          .place = (const uint32_t *)(const void *)graph->section[GRAPH_PLACE],
                          .entry_count = graph_entry_count(&space->shape, graph->rows),
                          .k = k,
                          .rerank = effort->rerank,
                          .near = effort->near,
                          .stop = stop_of(k, effort),
                          .far = effort->far > 0 ? effort->far : INFINITY,
                          .outlying = effort->outlying > 0 ? effort->outlying : INFINITY,
                          .crowd = effort->crowd,
                          .gap_from = effort->gap_from * GAP_MARGIN,
                          .gap_to = effort->gap_to / GAP_MARGIN,
                          .reach = (1 + effort->slack) * (1 + effort->slack),
                          .ranked = (1 + effort->margin) * (1 + effort->margin),
                          .seen = {.slot = (uint32_t *)(void *)(base + l.seen),
                                   .mask = seen_slots(effort->pool) - 1,
                                   .rows = (uint32_t)graph->rows,
                                   .left_out = UINT32_MAX},
                          .ids = (uint32_t *)(void *)(base + l.ids),
                          .ahead = (uint32_t *)(void *)(base + l.ahead),
                          .kept = (uint32_t *)(void *)(base + l.kept),
                          .score = (float *)(void *)(base + l.score),
                          .result = (uint32_t *)(void *)(base + l.result),
                          .distance = (uint32_t *)(void *)(base + l.distance),
                          .units = (float *)(void *)(base + l.units),
                          .bytes = (int8_t *)base + l.bytes,
                          .scratch = base + l.scratch};
    q->entry_codes = graph->section[GRAPH_ENTRIES] + q->entry_count * sizeof *q->entries;
    empty_pool(&q->pool, (uint64_t *)(void *)(base + l.pool), effort->pool);
    empty_pool(&q->found, (uint64_t *)(void *)(base + l.found), effort->pool);
    memset(q->seen.slot, 0xff, ((size_t)q->seen.mask + 1) * sizeof *q->seen.slot);
    return q;
}

/* The query's whole numbers, of `whole` bytes, or signed ones for warm codes. */
static uint8_t *whole_of(const pm_graph_query *q)
{
    return (uint8_t *)q->bytes + whole_at(&q->shape);
}

/* false: it is not whole numbers of a byte. */
static bool keep_whole(const pm_graph_query *q, const float *vector)
{
    uint8_t *to = whole_of(q);
    memset(to + q->shape.dim, 0, q->shape.whole - q->shape.dim);
    return q->kernels->to_whole(vector, q->shape.dim, to);
}

/* From its units, and from its code if that is the same, or what whole_of says. */
static void code_query(pm_graph_query *q, const graph_space *space, const pm_graph *graph, const float *units,
                       const uint8_t *code)
{
    const uint8_t *rows = graph->section[q->shape.exact ? GRAPH_HOT : GRAPH_WARM];
    int8_t *bytes = q->bytes + elements_at(&q->shape);
    q->by_rows = q->shape.exact;
    if (q->whole && (q->shape.exact || q->shape.turns))
        graph_whole_query(&q->shape, whole_of(q), rows, bytes, &q->rows);
    else if (q->shape.exact || q->shape.turns)
        graph_wide_query(&q->shape, units, rows, bytes, &q->rows);
    if (q->shape.exact) return;
    const float same = graph_hot_query(space, units, code, q->scratch, graph->section[GRAPH_HOT], q->bytes, &q->hot);
    q->noise = q->hot.base * HOT_NOISE / sqrtf((float)q->shape.hot);
    q->turn_at = same + TURN_NOISES * q->noise;
}

pm_graph_query *pm_graph_query_init(void *memory, const pm_graph *graph, const pm_simd *simd, const float *vector,
                                    uint32_t k, const pm_graph_effort *effort)
{
    const unsigned fp = pm_simd_fp_enter();
    graph_space space;
    pm_graph_query *q = prepare(memory, graph, simd, k, effort, &space);
    const bool can = graph_is_raw(&space) && (space.shape.warm_bytes > 0 || space.shape.exact);
    q->whole = can && keep_whole(q, vector);
    const bool as_is = q->whole && space.shape.dim == space.shape.padded;
    if (q->whole && !space.shape.exact && !as_is) {
        memcpy(q->units, vector, space.shape.dim * sizeof *vector);
        memset(q->units + space.shape.dim, 0, (space.shape.padded - space.shape.dim) * sizeof *vector);
    } else if (!q->whole) {
        graph_query_to_units(&space, vector, q->units);
    }
    code_query(q, &space, graph, as_is ? vector : q->units, q->whole ? whole_of(q) : NULL);
    if (q->whole || q->shape.turns)
        q->warm = (pm_walk_codes){.codes = graph->section[GRAPH_WARM], .stride = q->shape.warm_bytes};
    else if (q->shape.warm_bytes > 0)
        graph_warm_query(&space, q->units, graph->section[GRAPH_WARM], (int8_t *)whole_of(q), q->scratch, &q->warm,
                         &q->warm_noise);
    pm_simd_fp_leave(fp);
    return q;
}

pm_graph_query *graph_query_of_row(void *memory, const pm_graph *graph, const pm_simd *simd, uint32_t row,
                                   const uint8_t *code, const float *units, uint32_t k, const pm_graph_effort *effort)
{
    graph_space space;
    pm_graph_query *q = prepare(memory, graph, simd, k, effort, &space);
    q->seen.left_out = row;
    q->whole = space.shape.exact || space.shape.turns; /* and false for warm codes, which are not asked for */
    if (q->whole) memcpy(whole_of(q), code, space.shape.whole);
    if (units != NULL) memcpy(q->units, units, space.shape.padded * sizeof *units);
    for (uint32_t d = 0; d < space.shape.padded && units == NULL; d++)
        q->units[d] = code[d];
    code_query(q, &space, graph, q->units, graph_is_raw(&space) ? code : NULL);
    return q;
}

/* ---- the walk ---- */

static const pm_walk_next no_next;

static void score(const pm_graph_query *q, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next)
{
    if (q->by_rows)
        q->kernels->score_rows(&q->rows, ids, n, out, next);
    else
        q->kernels->score(&q->hot, ids, n, out, next);
}

static void score_more(pm_graph_query *q, const uint32_t *ids, size_t n, const pm_walk_next *next)
{
    score(q, ids, n, q->score, next);
    q->scored += n;
    if (q->by_rows) q->rows_scored += n;
}

/* The same of entries, whose codes lie together. */
static void score_entries(const pm_graph_query *q, float *out)
{
    pm_walk_codes codes = q->hot;
    pm_walk_rows rows = q->rows;
    codes.codes = rows.rows = q->entry_codes;
    for (uint32_t first = 0; first < q->entry_count; first += GRAPH_FEW_ENTRIES) {
        for (uint32_t i = 0; i < GRAPH_FEW_ENTRIES; i++)
            q->ids[i] = first + i;
        if (q->shape.exact)
            q->kernels->score_rows(&rows, q->ids, GRAPH_FEW_ENTRIES, out + first, &no_next);
        else
            q->kernels->score(&codes, q->ids, GRAPH_FEW_ENTRIES, out + first, &no_next);
    }
}

/* So many times as far as the k-th. The nearest of few is not where its code says, but nearer. */
static float limit_by(const pm_graph_query *q, const pm_walk_pool *nearest, float times)
{
    const uint32_t k = q->stop;
    if (nearest->size < k || !(times < INFINITY)) return INFINITY;
    const float limit = pm_walk_score(nearest->key[k - 1]) * times;
    return limit > q->noise ? limit : q->noise;
}

/* Nodes beyond are neither walked from nor kept. */
static float limit_of(const pm_graph_query *q, const pm_walk_pool *nearest)
{
    return limit_by(q, nearest, q->reach);
}

/* Puts scored nodes into the pool, and into `found` if only some rows count. */
static void admit(pm_graph_query *q, const pm_graph_asks *asks, size_t n, float limit)
{
    q->kernels->insert(&q->pool, q->ids, q->score, n, limit);
    if (asks->counts == NULL) return;
    size_t kept = 0;
    const float least = q->found.size < q->found.most ? INFINITY : pm_walk_score(q->found.key[q->found.size - 1]);
    for (size_t i = 0; i < n; i++) {
        if (!(q->score[i] <= least) || !(q->score[i] < limit) || !asks->counts(asks->context, q->order[q->ids[i]]))
            continue;
        q->kept[kept] = q->ids[i];
        q->score[kept++] = q->score[i];
    }
    q->kernels->insert(&q->found, q->kept, q->score, kept, limit);
}

/* By Shell: most keys are about where they belong, and no two are the same. */
static void sort_keys(uint64_t *key, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < n; i++) {
            const uint64_t own = key[i];
            size_t at = i;
            for (; at >= gap && key[at - gap] > own; at -= gap)
                key[at] = key[at - gap];
            key[at] = own;
        }
}

/* Scores again what is in a pool; which nodes were walked from stays. */
static void score_again(pm_graph_query *q, pm_walk_pool *pool)
{
    uint32_t *ids = q->result; /* there is none yet */
    const uint32_t size = pool->size;
    for (uint32_t i = 0; i < size; i++)
        ids[i] = pm_walk_node(pool->key[i]);
    uint32_t n = size < MOST_AT_ONCE ? size : MOST_AT_ONCE;
    score(q, ids, 0, q->score, &(pm_walk_next){ids, n});
    for (uint32_t at = 0; at < size;) {
        const uint32_t left = size - at - n, more = left < MOST_AT_ONCE ? left : MOST_AT_ONCE;
        score(q, ids + at, n, q->score, &(pm_walk_next){ids + at + n, more});
        for (uint32_t i = at; i < at + n; i++)
            pool->key[i] = pm_walk_key(q->score[i - at], ids[i]) | (pool->key[i] & 1);
        at += n;
        n = more;
    }
    sort_keys(pool->key, size);
    memset(pool->key + size, 0xff, (pool->most + 16 - size) * sizeof *pool->key); /* what fell out */
    pool->next = 0;
    q->scored += size;
    q->rows_scored += size;
}

/* Where hot codes no longer tell the nearest apart, the rows do. */
static bool turn_to_rows(pm_graph_query *q)
{
    if (q->pool.size < GRAPH_FEW) return false;
    const float few = pm_walk_score(q->pool.key[GRAPH_FEW - 1]);
    if (!(few <= q->turn_at) || PM_MUTANT(WALK_NEVER_TURNS)) return false;
    q->by_rows = true;
    q->noise = 0;
    score_again(q, &q->pool);
    score_again(q, &q->found);
    return true;
}

/* Behind n nodes the nearest of the pool, which may fall out as these are put into it. Returns the number of all. */
static size_t with_nearest(const pm_graph_query *q, uint32_t *ids, size_t n)
{
    const size_t few = q->pool.size < GRAPH_FEW ? q->pool.size : GRAPH_FEW;
    for (size_t i = 0; i < few; i++)
        ids[n + i] = pm_walk_node(q->pool.key[i]);
    return n + few;
}

/* Takes in n nodes in q->ids, which are scored. Where they make the walk turn, more of them may be near than the pool
 * had room for, and fewer than few others. */
static void take_in(pm_graph_query *q, const pm_graph_asks *asks, size_t n, float limit)
{
    const bool may_turn = q->shape.turns && !q->by_rows;
    const size_t all = may_turn ? with_nearest(q, q->ids, n) : n;
    admit(q, asks, n, limit);
    if (!may_turn || !turn_to_rows(q)) return;
    score_more(q, q->ids, all, &no_next);
    admit(q, asks, all, INFINITY);
}

/* At least ENTERED entries are not beyond, the nearest among them. The least of each group, and of these the greatest.
 */
static float entered_within(const float *score, uint32_t n)
{
    float least[ENTERED], most = 0;
    memcpy(least, score, sizeof least);
    for (uint32_t i = ENTERED; i < n; i += ENTERED)
        for (uint32_t j = 0; j < ENTERED; j++)
            least[j] = score[i + j] < least[j] ? score[i + j] : least[j];
    for (uint32_t j = 0; j < ENTERED; j++)
        most = least[j] > most ? least[j] : most;
    return most;
}

/* Those in q->ids, which hot codes have scored; others may have made the walk turn. */
static void take_entries(pm_graph_query *q, const pm_graph_asks *asks, size_t n)
{
    if (q->by_rows && !q->shape.exact && !PM_MUTANT(ENTRIES_NOT_TURNED)) score_more(q, q->ids, n, &no_next);
    take_in(q, asks, n, INFINITY);
}

static bool leaves_out(const graph_watch *watch, uint32_t node)
{
    return watch != NULL && watch->leaves_out != NULL && watch->leaves_out(watch->context, node);
}

/* The others would soon fall out of the pool. */
static void enter(pm_graph_query *q, const pm_graph_asks *asks, const graph_watch *watch)
{
    float scores[GRAPH_MOST_ENTRIES + PM_WALK_ROOM] = {0};
    size_t n = 0;
    score_entries(q, scores);
    q->scored += q->entry_count;
    const float limit = entered_within(scores, q->entry_count);
    for (uint32_t i = 0; i < q->entry_count; i++) {
        const uint32_t id = q->entries[i];
        if (scores[i] > limit || id >= q->seen.rows || id == q->seen.left_out || leaves_out(watch, id)) continue;
        q->seen.slot[id & q->seen.mask] = id;
        q->score[n] = scores[i];
        q->ids[n++] = id;
        if (n < MOST_AT_ONCE) continue;
        take_entries(q, asks, n);
        n = 0;
    }
    if (n > 0) take_entries(q, asks, n);
}

/* Of a walk that is at its end. */
static pm_graph_doubt doubt_of(const pm_graph_query *q, const pm_walk_pool *nearest)
{
    const pm_walk_pool *pool = &q->pool;
    const uint32_t k = q->stop;
    if (nearest->size < k) return PM_GRAPH_NO_DOUBT;
    const float kth = pm_walk_score(nearest->key[k - 1]);
    if (kth > q->far * FARTHER) return PM_GRAPH_FAR;
    if (kth > q->gap_from && kth < q->gap_to && !PM_MUTANT(GAPS_NOT_MINDED)) return PM_GRAPH_FAR;
    const bool exhausted = pool->size == pool->most && pool->next == pool->size && q->reach < INFINITY;
    if (!exhausted) return PM_GRAPH_NO_DOUBT;
    const float last = pm_walk_score(pool->key[pool->size - 1]), within = 1 + CROWD * (q->reach - 1);
    const bool outlying = kth > q->outlying && nearest == pool && !PM_MUTANT(OUTLYING_AS_OTHERS);
    if (last < kth * within) return PM_GRAPH_CROWDED;
    return outlying && last < kth * q->crowd ? PM_GRAPH_OUTLYING : PM_GRAPH_NO_DOUBT;
}

/* Into q->ahead the nodes that `node` leads to and that were not seen, as far as is remembered. */
static size_t neighbours(pm_graph_query *q, uint32_t node)
{
    const uint32_t *links = q->links + (size_t)node * q->shape.degree;
    return node == NO_NODE ? 0 : q->kernels->unseen(&q->seen, links, q->shape.degree, q->ahead);
}

static void ask_for_links(const pm_graph_query *q, uint32_t node)
{
    const char *line = (const char *)(q->links + (size_t)node * q->shape.degree);
    for (size_t i = 0; i < q->shape.degree * sizeof(uint32_t); i += GRAPH_LINE)
        __builtin_prefetch(line + i);
}

/* Most of the nearest that are walked from are proposed; then all of their warm codes and their rows are asked for. */
static void ask_for_proposal(const pm_graph_query *q, uint32_t node)
{
    const size_t stride = q->by_rows ? 0 : q->shape.warm_bytes; /* by rows they were read */
    for (size_t i = 0; i < stride; i += GRAPH_LINE)
        __builtin_prefetch(q->warm.codes + node * stride + i, 0, 2);
    __builtin_prefetch(q->order + node);
}

static void skip_walked(pm_walk_pool *pool)
{
    while (pool->next < pool->size && (pool->key[pool->next] & 1) != 0)
        pool->next++;
}

/* The nearest node that was not walked from, and now is; its links are asked for, and those of the next. NO_NODE: there
 * is none within. */
static uint32_t choose(pm_graph_query *q, float limit)
{
    pm_walk_pool *pool = &q->pool;
    skip_walked(pool);
    if (pool->next == pool->size || pm_walk_score(pool->key[pool->next]) > limit) return NO_NODE;
    const uint32_t place = pool->next++, node = pm_walk_node(pool->key[place]);
    pool->key[place] |= 1;
    q->expanded++;
    ask_for_links(q, node);
    skip_walked(pool);
    if (pool->next < pool->size) ask_for_links(q, pm_walk_node(pool->key[pool->next])); /* likely the one after it */
    if (place < q->rerank && !(pm_walk_score(pool->key[place]) * q->reach > limit * q->ranked))
        ask_for_proposal(q, node);
    return node;
}

/* Takes in the `under_way` nodes in q->ids, whose codes were asked for, and asks for those of the n in q->ahead, which
 * are in q->ids then. */
static void move_on(pm_graph_query *q, const pm_graph_asks *asks, size_t under_way, size_t n, float limit)
{
    score_more(q, q->ids, under_way, &(pm_walk_next){q->ahead, n});
    if (under_way > 0) take_in(q, asks, under_way, limit);
    uint32_t *own = q->ids;
    q->ids = q->ahead;
    q->ahead = own;
}

/* false: it was over before. */
static bool walk(pm_graph_query *q, const pm_graph_asks *asks)
{
    const pm_walk_pool *nearest = asks->counts == NULL ? &q->pool : &q->found;
    uint32_t node = NO_NODE;
    for (size_t under_way = 0;;) {
        const float limit = limit_of(q, nearest);
        const size_t n = neighbours(q, node);
        node = choose(q, limit);
        if (node == NO_NODE && ((n == 0 && under_way == 0) || PM_MUTANT(WALK_LEAVES_CODES))) return true;
        if (q->expanded % ASK_EVERY == 0 && asks->is_over != NULL && asks->is_over(asks->context)) return false;
        move_on(q, asks, under_way, n, limit);
        under_way = n;
    }
}

/* To its end. What it has not walked from is beyond its stop, and none of it was counted by calibration, either. */
static void walk_all(pm_graph_query *q, const pm_graph_asks *asks)
{
    enter(q, asks, NULL);
    if (!walk(q, asks) || asks->counts != NULL) return;
    const uint32_t walked = q->pool.next > q->k ? q->pool.next : q->k;
    if (walked < q->rerank) q->rerank = walked;
}

/* Of n nodes those that are not left out. */
static size_t without(const graph_watch *watch, uint32_t *ids, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!leaves_out(watch, ids[i])) ids[kept++] = ids[i];
    return kept;
}

/* Where a node links to a row that is left out, it gets what it may have linked to if that were not there. */
static size_t fill_in(pm_graph_query *q, const graph_watch *watch, uint32_t node, size_t n)
{
    const uint32_t *link = q->links + (size_t)node * q->shape.degree;
    bool has = false;
    for (uint32_t i = 0; i < q->shape.degree && link[i] < q->seen.rows && !has; i++)
        has = link[i] == q->seen.left_out || leaves_out(watch, link[i]);
    if (!has) return n;
    n = without(watch, q->ahead, n);
    const uint32_t id = watch->instead(watch->context, node);
    uint32_t *slot = &q->seen.slot[id & q->seen.mask];
    if (id >= q->seen.rows || id == q->seen.left_out || *slot == id) return n;
    *slot = id;
    q->ahead[n] = id;
    return n + 1;
}

void graph_walk_watched(pm_graph_query *q, const graph_watch *watch)
{
    const pm_graph_asks asks = {0};
    uint32_t node = NO_NODE;
    enter(q, &asks, watch);
    for (size_t under_way = 0;;) {
        size_t n = neighbours(q, node);
        if (node != NO_NODE) n = fill_in(q, watch, node, n);
        skip_walked(&q->pool);
        const bool over = node == NO_NODE && under_way == 0 && q->pool.next == q->pool.size;
        const float limit = watch->limit(watch->context, &(graph_step){.pool = &q->pool,
                                                                       .scored = q->scored,
                                                                       .by_rows = q->rows_scored,
                                                                       .expanded = q->expanded,
                                                                       .noise = q->noise,
                                                                       .turned = q->by_rows,
                                                                       .over = over});
        if (limit < 0 || over) return;
        node = choose(q, INFINITY);
        move_on(q, &asks, under_way, n, limit);
        under_way = n;
    }
}

void graph_scores(const pm_graph_query *q, const uint32_t *row, size_t n, float *out)
{
    score(q, row, n, out, &no_next);
}

/* What may be among the k nearest of a pool by warm codes. */
static float limit_of_warm(const pm_graph_query *q, const pm_walk_pool *warm)
{
    if (warm->size < q->k) return INFINITY;
    const float kth = pm_walk_score(warm->key[q->k - 1]);
    if (q->shape.turns) { /* distances are those of a query that is off by half of what an element is worth, each */
        const float off = (float)(q->rows.scale / 4) * sqrtf((float)q->shape.padded), far = sqrtf(kth) + 2 * off;
        return far * far * ROWS_MARGIN;
    }
    const float each = 2 * q->warm_noise.each * sqrtf(kth + WARM_NOISES * q->warm_noise.shift);
    return kth * WARM_MARGIN + WARM_NOISES * each;
}

static void score_warm(const pm_graph_query *q, const uint32_t *ids, size_t n, float *out)
{
    if (q->shape.turns)
        q->kernels->score_rows(&q->rows, ids, n, out, &no_next);
    else
        q->kernels->score(&q->warm, ids, n, out, &no_next);
}

/* Sorts the result by warm codes, and cuts off what cannot be among the k nearest: beyond *limit. */
static size_t rescore(pm_graph_query *q, size_t n, float *limit)
{
    pm_walk_pool *warm = &q->found; /* the walk is over */
    size_t kept = 0;
    empty_pool(warm, warm->key, warm->most);
    for (size_t at = 0; at < n; at += MOST_AT_ONCE) {
        const size_t some = n - at < MOST_AT_ONCE ? n - at : MOST_AT_ONCE;
        score_warm(q, q->result + at, some, q->score);
        q->kernels->insert(warm, q->result + at, q->score, some, INFINITY);
    }
    *limit = limit_of_warm(q, warm);
    for (; kept < warm->size && !(pm_walk_score(warm->key[kept]) > *limit); kept++)
        q->result[kept] = pm_walk_node(warm->key[kept]);
    return kept;
}

/* Cuts off the same of the result from place `first` on, and puts the rest behind the `kept` that are before it. */
static size_t rescore_rest(pm_graph_query *q, size_t kept, size_t first, size_t n, float limit)
{
    for (size_t at = first; at < n; at += MOST_AT_ONCE) {
        const size_t some = n - at < MOST_AT_ONCE ? n - at : MOST_AT_ONCE;
        score_warm(q, q->result + at, some, q->score);
        for (size_t i = 0; i < some; i++)
            if (!(q->score[i] > limit)) q->result[kept++] = q->result[at + i];
    }
    return kept;
}

static uint32_t count_met(const pm_graph_query *q)
{
    const pm_walk_pool *pool = &q->pool, *found = &q->found;
    if (pool->size < pool->most || pool->next < pool->size) return UINT32_MAX;
    const float last = pm_walk_score(pool->key[pool->size - 1]);
    uint32_t n = 0;
    while (n < found->size && pm_walk_score(found->key[n]) <= last)
        n++;
    return n;
}

static void measure(pm_graph_query *q, const pm_walk_pool *from, size_t n)
{
    if (q->by_rows) {
        for (size_t i = 0; i < n; i++)
            q->distance[i] = (uint32_t)pm_walk_score(from->key[i]); /* of rows that exist: a whole number */
        return;
    }
    q->kernels->apart(whole_of(q), q->warm.codes, q->warm.stride, q->result, n, q->shape.padded, q->distance);
}

/* Of the nodes in a pool the nearest, ranked again. */
static size_t propose(pm_graph_query *q, const pm_walk_pool *from, const uint32_t **rows)
{
    const bool all = q->whole && q->by_rows && q->rerank > q->k; /* codes tell all: no other row is nearer */
    const uint32_t most = all ? q->k : q->rerank;
    const float limit = limit_by(q, from, q->ranked);
    size_t n = from->size < most ? from->size : most;
    while (n > q->k && pm_walk_score(from->key[n - 1]) > limit)
        n--;
    for (size_t i = 0; i < n; i++)
        q->result[i] = pm_walk_node(from->key[i]);
    *rows = q->result;
    if (q->near == 0 || q->near > n || n < q->rerank) q->near = n; /* what there was is proposed */
    if (q->whole) {
        measure(q, from, n);
    } else if (q->shape.warm_bytes > 0) {
        float near;
        const size_t first = q->near;
        q->near = rescore(q, first, &near);
        n = rescore_rest(q, q->near, first, n, near);
    }
    return n;
}

/* From nodes. */
static void to_rows(pm_graph_query *q, size_t n)
{
    for (size_t i = 0; i < n && !PM_MUTANT(GRAPH_NODES_FOR_ROWS); i++)
        q->result[i] = q->order[q->result[i]];
}

size_t pm_graph_walk(pm_graph_query *q, const pm_graph_asks *asks, const uint32_t **rows)
{
    const unsigned fp = pm_simd_fp_enter();
    walk_all(q, asks);
    q->met = asks->counts == NULL ? UINT32_MAX : count_met(q);
    q->doubt = doubt_of(q, asks->counts == NULL ? &q->pool : &q->found);
    const size_t n = propose(q, asks->counts == NULL ? &q->pool : &q->found, rows);
    to_rows(q, n);
    pm_simd_fp_leave(fp);
    return n;
}

/* Nodes of the next rows from *word on, at most MOST_AT_ONCE, of which whole words are taken. */
static inline size_t next_matches(const pm_graph_query *q, const uint64_t *match, uint64_t words, uint64_t *word,
                                  bool ask, uint32_t *ids)
{
    const uint32_t *place = q->place;
    const uint8_t *codes = q->by_rows ? q->rows.rows : q->hot.codes;
    const size_t stride = q->by_rows ? q->rows.stride : q->hot.stride;
    uint64_t at = *word;
    size_t n = 0;
    for (; at < words && n + 64 <= MOST_AT_ONCE; at++)
        for (uint64_t bits = match[at]; bits != 0; bits &= bits - 1) {
            const uint32_t node = place[at * 64 + (uint64_t)__builtin_ctzll(bits)];
            for (size_t i = 0; i < stride && ask; i += GRAPH_LINE)
                __builtin_prefetch(codes + node * stride + i);
            ids[n++] = node;
        }
    *word = at;
    return n;
}

size_t pm_graph_pick(pm_graph_query *q, const uint64_t *match, bool (*is_over)(void *context), void *context,
                     const uint32_t **rows)
{
    const unsigned fp = pm_simd_fp_enter();
    const uint64_t words = ((uint64_t)q->seen.rows + 63) / 64;
    uint64_t word = 0;
    const pm_graph_asks all = {0};
    size_t n = next_matches(q, match, words, &word, true, q->ids);
    bool sparse = false; /* matches: there is time to ask for codes while they are sought */
    for (uint32_t turn = 1; n > 0; turn++) {
        const uint64_t from = word;
        const size_t after = sparse ? next_matches(q, match, words, &word, true, q->ahead)
                                    : next_matches(q, match, words, &word, false, q->ahead);
        move_on(q, &all, n, sparse ? 0 : after, INFINITY);
        sparse = after < word - from;
        n = after;
        if (turn % ASK_EVERY == 0 && is_over != NULL && is_over(context)) break;
    }
    const size_t found = propose(q, &q->pool, rows);
    to_rows(q, found);
    pm_simd_fp_leave(fp);
    return found;
}

const uint32_t *pm_graph_distances(const pm_graph_query *query)
{
    return query->whole ? query->distance : NULL;
}

pm_graph_doubt pm_graph_doubts(const pm_graph_query *query)
{
    return query->doubt;
}

size_t pm_graph_near(const pm_graph_query *query)
{
    return query->near;
}

uint32_t pm_graph_met(const pm_graph_query *query)
{
    return query->met;
}

void pm_graph_walked(const pm_graph_query *query, uint64_t *seen, uint64_t *expanded)
{
    *seen = query->scored;
    *expanded = query->expanded;
}
