/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few rows that can match, without a bit for every row: those of the leaf that has fewest, of which each is then
 * looked at in the other leaves.
 */
#include <stdlib.h>
#include <string.h>

#include "index/columns/columns_int.h"

enum { NO = 1, YES = 2, MAYBE = NO | YES };
enum {
    LOOKED_THROUGH = 64 /* rows of several values, one after the other */,
    LOOKED_INTO = 128 /* ranges of values of a leaf, each of them */,
    ASK_WORK = 1 << 12 /* leaves and values of them, until it is asked whether it is over */,
    FETCHED = 512,
    SORTED_BY_BYTES = 512,
    SORTED_BY_COUNTS = 64
};

typedef struct lookup {
    const pm_columns_plan *plan;
    const uint32_t *open_rows;
    uint64_t open, residual;
    bool (*is_over)(const void *context);
    const void *context;
    uint64_t work; /* since is_over was asked */
    bool over;
} lookup;

static bool ends(lookup *l, uint64_t work)
{
    l->work += work;
    if (l->work < ASK_WORK || l->over) return l->over;
    l->work = 0;
    l->over = l->is_over != NULL && l->is_over(l->context);
    return l->over;
}

static bool has(const uint32_t *rows, uint64_t count, uint32_t row)
{
    uint64_t low = 0;
    while (low < count) {
        const uint64_t middle = low + (count - low) / 2;
        if (rows[middle] == row) return true;
        if (rows[middle] < row)
            low = middle + 1;
        else
            count = middle;
    }
    return false;
}

/* ---- a row in a leaf ---- */

static bool is_open(const lookup *l, const columns_node *leaf, uint32_t row)
{
    if (leaf->open == 0) return false;
    return has(l->open_rows, l->open, row) || (leaf->open > l->open && has(l->open_rows + l->open, l->residual, row));
}

/* By the ranks of all rows. */
static unsigned look_at_rank(const lookup *l, const columns_node *leaf, uint32_t row)
{
    const columns_range *ranges = l->plan->ranges + leaf->range_at;
    const uint32_t rank = columns_rank_of(leaf->ranks, leaf->width, row);
    const uint32_t above = rank - (uint32_t)columns_ranks(&leaf->values);
    if (columns_is_in(ranges, leaf->range_count, rank)) return YES;
    if (above < RANK_MISSING && (leaf->undecided >> above & 1) != 0) return MAYBE;
    const bool of_elements = leaf->among.high > leaf->among.low || leaf->of_elements != 0;
    return of_elements && above == RANK_ARRAY ? MAYBE : NO;
}

/* By the rows of its values. What takes longer than a look into the document is left to that. */
static unsigned look_at_rows(lookup *l, const columns_node *leaf, uint32_t row)
{
    const columns_view view = columns_read_view(l->plan->columns, &leaf->values);
    if (leaf->undecided != 0 || leaf->of_elements != 0 || leaf->among.high > leaf->among.low) return MAYBE;
    if (leaf->range_count > LOOKED_INTO) return MAYBE;
    l->work += leaf->range_count;
    for (size_t i = 0; i < leaf->range_count; i++) {
        const columns_range range = l->plan->ranges[leaf->range_at + i];
        const uint32_t *rows = view.rows + view.row_at[range.low];
        const uint64_t count = view.row_at[range.high] - view.row_at[range.low];
        if (range.high == range.low + 1) {
            if (has(rows, count, row)) return YES;
            continue;
        }
        if (count > LOOKED_THROUGH) return MAYBE;
        for (uint64_t j = 0; j < count; j++)
            if (rows[j] == row) return YES;
    }
    return NO;
}

/* MAYBE, too, when it is over. */
static unsigned look_at(lookup *l, const columns_node *node, uint32_t row)
{
    const pm_filter_op op = node->filter->op;
    if (ends(l, 1)) return MAYBE;
    if (op > PM_FILTER_NOT) {
        if (is_open(l, node, row)) return MAYBE;
        if (node->column < 0) return node->least > 0 ? MAYBE : NO;
        return node->width > 0 ? look_at_rank(l, node, row) : look_at_rows(l, node, row);
    }
    if (op == PM_FILTER_NOT) {
        const unsigned inside = look_at(l, node->children[0], row);
        return inside == MAYBE ? MAYBE : inside ^ MAYBE;
    }
    const unsigned decides = op == PM_FILTER_AND ? NO : YES; /* the answer of one child that is all of it */
    unsigned all = op == PM_FILTER_AND ? YES : NO;
    for (uint32_t i = 0; i < node->child_count && !l->over; i++) {
        const unsigned child = look_at(l, node->children[i], row);
        if (child == decides) return decides;
        if (child == MAYBE) all = MAYBE;
    }
    return all;
}

/* ---- the rows of a leaf ---- */

typedef struct gathering {
    uint32_t *rows, room, count;
    uint64_t lists; /* each of them in order */
    bool full;
} gathering;

/* Of so many lists. */
static void gather(gathering *g, const uint32_t *rows, uint64_t count, uint64_t lists)
{
    if (count > g->room - g->count) g->full = true;
    if (g->full || count == 0) return;
    memcpy(g->rows + g->count, rows, count * sizeof *rows);
    g->count += (uint32_t)count;
    g->lists += lists;
}

static void gather_ranks(gathering *g, const columns_view *view, uint64_t low, uint64_t high)
{
    gather(g, view->rows + view->row_at[low], view->row_at[high] - view->row_at[low], high - low);
}

static void gather_behind(gathering *g, const columns_view *view, uint32_t behind)
{
    for (uint32_t i = 0; i < RANKS_BEHIND; i++)
        if ((behind >> i & 1) != 0) gather_ranks(g, view, view->ranks + i, view->ranks + i + 1);
}

static void gather_leaf(gathering *g, const lookup *l, const columns_node *leaf)
{
    if (leaf->column >= 0) {
        const columns_view values = columns_read_view(l->plan->columns, &leaf->values);
        const columns_view elements = columns_read_view(l->plan->columns, &leaf->elements);
        for (size_t i = 0; i < leaf->range_count && !g->full; i++) {
            const columns_range range = l->plan->ranges[leaf->range_at + i];
            gather_ranks(g, &values, range.low, range.high);
        }
        gather_ranks(g, &elements, leaf->among.low, leaf->among.high);
        gather_behind(g, &values, leaf->undecided);
        gather_behind(g, &elements, leaf->of_elements);
    }
    gather(g, l->open_rows, leaf->open, 2); /* open ones, and residual ones */
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The least first, by how many are before each: no branch is guessed wrong. */
static void sort_by_counts(uint32_t *rows, uint32_t count)
{
    uint32_t other[SORTED_BY_COUNTS];
    memcpy(other, rows, count * sizeof *rows);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = 0;
        for (uint32_t j = 0; j < count; j++)
            before += (other[j] < other[i]) | ((other[j] == other[i]) & (j < i));
        rows[before] = other[i];
    }
}

/* Few numbers by their bytes, the least first: a comparison that is guessed wrong takes as long as several of these. */
static void sort_few(uint32_t *rows, uint32_t count)
{
    uint32_t other[SORTED_BY_BYTES], *from = rows, *to = other, all = 0;
    if (count <= SORTED_BY_COUNTS) {
        sort_by_counts(rows, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        all |= rows[i];
    for (uint32_t shift = 0; shift < 32 && all >> shift != 0; shift += 8) {
        uint32_t place[257] = {0};
        for (uint32_t i = 0; i < count; i++)
            place[(from[i] >> shift & 255) + 1]++;
        for (uint32_t i = 0; i < 255; i++)
            place[i + 1] += place[i];
        for (uint32_t i = 0; i < count; i++)
            to[place[from[i] >> shift & 255]++] = from[i];
        uint32_t *last = from;
        from = to;
        to = last;
    }
    if (from != rows) memcpy(rows, from, count * sizeof *rows);
}

/* In order, each once. */
static void put_in_order(gathering *g)
{
    uint32_t kept = 0;
    bool ordered = true;
    if (g->lists <= 1) return;
    for (uint32_t i = 1; i < g->count; i++)
        ordered &= g->rows[i - 1] < g->rows[i];
    if (ordered) return;
    if (g->count <= SORTED_BY_BYTES)
        sort_few(g->rows, g->count);
    else
        qsort(g->rows, g->count, sizeof g->rows[0], by_number);
    for (uint32_t i = 0; i < g->count; i++)
        if (kept == 0 || g->rows[kept - 1] != g->rows[i]) g->rows[kept++] = g->rows[i];
    g->count = kept;
}

/* The leaf that has the fewest rows. */
static const columns_node *leaf_of(const pm_columns_plan *plan)
{
    const columns_node *leaf = plan->nodes;
    while (leaf->filter->op == PM_FILTER_AND && leaf->child_count > 0)
        leaf = leaf->children[0];
    return leaf;
}

/* The leaf is all that the filter asks: two ends of a range are one leaf below their $and. */
static bool is_all(const pm_columns_plan *plan, const columns_node *leaf)
{
    const columns_node *node = plan->nodes;
    while (node != leaf && node->filter->op == PM_FILTER_AND && node->child_count == 1)
        node = node->children[0];
    return node == leaf;
}

void pm_columns_fetch(const pm_columns_plan *plan)
{
    const columns_node *leaf = leaf_of(plan);
    if (leaf->filter->op <= PM_FILTER_NOT || leaf->column < 0 || leaf->range_count == 0) return;
    const columns_view values = columns_read_view(plan->columns, &leaf->values);
    const columns_range range = plan->ranges[leaf->range_at];
    const uint32_t *rows = values.rows + values.row_at[range.low];
    const uint64_t count = values.row_at[range.high] - values.row_at[range.low];
    for (uint64_t i = 0; i < count && i < FETCHED; i += 64 / sizeof *rows)
        __builtin_prefetch(rows + i);
}

bool pm_columns_rows(const pm_columns_plan *plan, uint32_t room, uint32_t *rows, bool *open, uint32_t *count,
                     bool (*is_over)(const void *context), const void *context, bool *over)
{
    lookup l = {.plan = plan, .is_over = is_over, .context = context};
    gathering g = {.rows = rows, .room = room};
    const columns_node *leaf = leaf_of(plan);
    l.open_rows = columns_open_rows(plan->columns, &l.open, &l.residual);
    if (leaf->filter->op <= PM_FILTER_NOT || leaf->most > room || leaf->least >= plan->columns->rows) return false;
    gather_leaf(&g, &l, leaf);
    if (g.full) return false;
    put_in_order(&g);
    *count = 0;
    if (is_all(plan, leaf) && !plan->is_undecided) {
        *count = g.count;
        memset(open, false, g.count * sizeof *open);
        return true;
    }
    for (uint32_t i = 0; i < g.count && !l.over; i++) {
        const unsigned answer = look_at(&l, plan->nodes, rows[i]);
        if (answer == NO) continue;
        open[*count] = answer == MAYBE;
        rows[(*count)++] = rows[i];
    }
    if (l.over) *over = true;
    return true;
}
