/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows match: bits of rows go down the tree and lose those that a node does not match. Twice where rows are open:
 * with them, and of what is left without them.
 */
#include <string.h>

#include "index/columns/columns_int.h"
#include "simd/ranks.h"

enum { STEP_WORDS = 1 << 12, STEP_ROWS = 1 << 16 };

/* What things cost, about, in rows whose place is looked up one by one (a nanosecond). */
enum { SCANNED = 24 /* bytes of ranks for one */, CLEARED = 8 /* words for one */, JUDGED = 3 /* for one row */ };

typedef struct eval {
    const pm_columns_plan *plan;
    const pm_simd_ranks *kernels;
    size_t words;
    uint64_t **buffers; /* free ones; as many as the tree is deep */
    size_t buffer_count, made;
    bool (*is_over)(const void *context);
    const void *context;
    uint64_t work; /* since is_over was asked */
    bool over, no_memory;
} eval;

/* Counts what is to be done, in rows, and asks when it was enough. */
static bool goes_on(eval *e, uint64_t work)
{
    e->work += work;
    if (e->work >= STEP_ROWS) {
        e->work = 0;
        if (!e->over && e->is_over != NULL) e->over = e->is_over(e->context);
    }
    return !e->over && !e->no_memory;
}

/* ---- buffers ---- */

enum { MOST_BUFFERS = 512 };

static uint64_t *take(eval *e)
{
    if (e->buffer_count > 0) return e->buffers[--e->buffer_count];
    uint64_t *bits = e->made < MOST_BUFFERS ? pm_malloc(e->words * sizeof *bits) : NULL;
    if (bits == NULL)
        e->no_memory = true;
    else
        e->made++;
    return bits;
}

static void give(eval *e, uint64_t *bits)
{
    if (bits != NULL) e->buffers[e->buffer_count++] = bits;
}

/* ---- leaves ---- */

static void set_rows(eval *e, uint64_t *bits, const uint32_t *rows, uint64_t count)
{
    for (uint64_t i = 0, end; i < count; i = end) {
        end = pm_min_u64(i + STEP_ROWS, count);
        if (!goes_on(e, end - i)) return;
        for (; i < end; i++)
            bits[rows[i] / 64] |= UINT64_C(1) << rows[i] % 64;
    }
}

static uint64_t scan(eval *e, const columns_node *leaf, columns_range range, const uint64_t *mask, uint64_t *out)
{
    pm_ranks_scan *const kernel = leaf->width == 1   ? e->kernels->scan1
                                  : leaf->width == 2 ? e->kernels->scan2
                                                     : e->kernels->scan4;
    const uint64_t rows = e->plan->columns->rows;
    uint64_t count = 0;
    for (size_t word = 0; word < e->words && goes_on(e, STEP_ROWS); word += STEP_WORDS) {
        const uint64_t row = (uint64_t)word * 64, n = pm_min_u64((uint64_t)STEP_WORDS * 64, rows - row);
        count += kernel(leaf->ranks + row * leaf->width, (size_t)n, range.low, range.high - range.low - 1, mask + word,
                        out + word);
    }
    return count;
}

/* Row by row. `behind` are bits of RANK_... that count, too. */
static uint64_t judge(eval *e, const columns_node *leaf, uint32_t behind, uint64_t *bits)
{
    const columns_range *ranges = e->plan->ranges + leaf->range_at;
    const uint32_t ranks = (uint32_t)columns_ranks(&leaf->values);
    uint64_t count = 0;
    for (size_t word = 0; word < e->words; word++) {
        if (word % STEP_WORDS == 0 && !goes_on(e, STEP_ROWS)) break;
        for (uint64_t left = bits[word]; left != 0; left &= left - 1) {
            const unsigned bit = (unsigned)__builtin_ctzll(left);
            const uint32_t rank = columns_rank_of(leaf->ranks, leaf->width, (uint64_t)word * 64 + bit);
            const uint32_t above = rank - ranks;
            const bool is =
                columns_is_in(ranges, leaf->range_count, rank) || (above < RANK_MISSING && (behind >> above & 1) != 0);
            bits[word] &= ~((uint64_t)!is << bit);
            count += is;
        }
    }
    return count;
}

static uint64_t rows_of(const columns_view *view, columns_range range)
{
    return view->row_at[range.high] - view->row_at[range.low];
}

/* Whether going through the ranks of all rows is cheaper than setting so many bits. `count` rows are asked about. */
static bool is_scanned(const eval *e, const columns_node *leaf, uint64_t rows, uint64_t count)
{
    return leaf->width > 0 && rows > pm_min_u64(e->words, count) * 64 * leaf->width / SCANNED;
}

/* Adds the rows of a range, those at least that are in `mask`. */
static void add_rows(eval *e, const columns_node *leaf, const columns_view *view, columns_range range, uint64_t count,
                     const uint64_t *mask, uint64_t *sum)
{
    if (!is_scanned(e, leaf, rows_of(view, range), count)) {
        set_rows(e, sum, view->rows + view->row_at[range.low], rows_of(view, range));
        return;
    }
    uint64_t *some = take(e);
    if (some == NULL) return;
    (void)scan(e, leaf, range, mask, some);
    for (size_t i = 0; i < e->words; i++)
        sum[i] |= some[i];
    give(e, some);
}

static void add_behind(eval *e, const columns_view *view, uint32_t behind, uint64_t *sum)
{
    for (uint32_t i = 0; i < RANKS_BEHIND; i++) {
        const uint32_t rank = (uint32_t)view->ranks + i;
        if ((behind >> i & 1) == 0) continue;
        set_rows(e, sum, view->rows + view->row_at[rank], rows_of(view, (columns_range){rank, rank + 1}));
    }
}

/* All parts of a leaf together, then the bits that are in them. */
static uint64_t sum_up(eval *e, const columns_node *leaf, bool upper, uint64_t *bits, uint64_t count)
{
    uint64_t open, residual, *sum = take(e);
    if (sum == NULL) return 0;
    memset(sum, 0, e->words * sizeof *sum);
    if (leaf->column >= 0) {
        const columns_view values = columns_read_view(e->plan->columns, &leaf->values);
        const columns_view elements = columns_read_view(e->plan->columns, &leaf->elements);
        for (size_t i = 0; i < leaf->range_count && goes_on(e, 8); i++)
            add_rows(e, leaf, &values, e->plan->ranges[leaf->range_at + i], count, bits, sum);
        set_rows(e, sum, elements.rows + elements.row_at[leaf->among.low], rows_of(&elements, leaf->among));
        if (upper) add_behind(e, &values, leaf->undecided, sum);
        if (upper) add_behind(e, &elements, leaf->of_elements, sum);
    }
    if (upper) set_rows(e, sum, columns_open_rows(e->plan->columns, &open, &residual), leaf->open);
    count = e->kernels->keep(bits, sum, e->words);
    give(e, sum);
    return count;
}

static uint64_t keep_leaf(eval *e, const columns_node *leaf, bool upper, uint64_t *bits, uint64_t count)
{
    const uint64_t rows = upper ? leaf->most : leaf->least;
    if (rows == 0) {
        memset(bits, 0, e->words * sizeof *bits);
        return 0;
    }
    if (leaf->least >= e->plan->columns->rows) return count; /* every row */
    const bool more = leaf->among.high > 0 || (upper && (leaf->open > 0 || leaf->of_elements != 0));
    const uint32_t behind = upper ? leaf->undecided : 0;
    if (leaf->width == 0 || more) return sum_up(e, leaf, upper, bits, count);
    uint64_t judged = count * JUDGED, scanned = pm_min_u64(e->words, count) * 64 * leaf->width / SCANNED;
    for (size_t ranges = leaf->range_count; ranges > 1; ranges /= 2)
        judged += count;
    const uint64_t set = rows + e->words / CLEARED * 2;
    if (judged < set && judged < scanned) return judge(e, leaf, behind, bits);
    if (leaf->range_count == 1 && behind == 0 && scanned < set)
        return scan(e, leaf, e->plan->ranges[leaf->range_at], bits, bits);
    return sum_up(e, leaf, upper, bits, count);
}

const char *columns_method(const pm_columns_plan *plan, const columns_node *leaf)
{
    const eval e = {.plan = plan, .words = (size_t)(plan->columns->rows + 63) / 64};
    if (leaf->most == 0) return "nothing";
    const columns_view values = leaf->column >= 0 ? columns_read_view(plan->columns, &leaf->values) : (columns_view){0};
    for (size_t i = 0; i < leaf->range_count; i++)
        if (is_scanned(&e, leaf, rows_of(&values, plan->ranges[leaf->range_at + i]), plan->columns->rows))
            return "ranks";
    return "postings";
}

/* ---- the tree ---- */

/* Takes from `count` bits those away that do not match for sure, or, `upper`, that do not match for sure and cannot;
 * gives how many are left. As deep as the tree. */
static uint64_t keep(eval *e, const columns_node *node, bool upper, uint64_t *bits, uint64_t count)
{
    if (count == 0 || !goes_on(e, e->words)) return count;
    if (node->filter->op > PM_FILTER_NOT) return keep_leaf(e, node, upper, bits, count);
    if (node->filter->op == PM_FILTER_AND) {
        for (uint32_t i = 0; i < node->child_count && count > 0; i++)
            count = keep(e, node->children[i], upper, bits, count);
        return count;
    }
    const bool negated = node->filter->op == PM_FILTER_NOT;
    uint64_t *rest = negated ? NULL : take(e), *some = take(e), left = count;
    if (some != NULL && negated) {
        memcpy(some, bits, e->words * sizeof *bits);
        (void)keep(e, node->children[0], !upper, some, count);
        left = e->kernels->drop(bits, some, e->words);
    } else if (some != NULL && rest != NULL) {
        memcpy(rest, bits, e->words * sizeof *bits);
        for (uint32_t i = 0; i < node->child_count && left > 0; i++) {
            memcpy(some, rest, e->words * sizeof *bits);
            (void)keep(e, node->children[i], upper, some, left);
            left = e->kernels->drop(rest, some, e->words);
        }
        left = left == 0 ? count : e->kernels->drop(bits, rest, e->words);
    }
    give(e, some);
    give(e, rest);
    return left;
}

bool pm_columns_match(const pm_columns_plan *plan, uint64_t *match, uint64_t *open, bool *any_open,
                      bool (*is_over)(const void *context), const void *context, bool *over)
{
    uint64_t *buffers[MOST_BUFFERS];
    eval e = {.plan = plan,
              .kernels = plan->kernels,
              .words = (size_t)(plan->columns->rows + 63) / 64,
              .buffers = buffers,
              .work = STEP_ROWS,
              .is_over = is_over,
              .context = context};
    const size_t bytes = e.words * sizeof *match;
    uint64_t some = 0;
    *any_open = false;
    if (e.words == 0) return true;
    memset(open, 0, bytes);
    const uint64_t count = e.kernels->count(match, e.words);
    if (!plan->is_undecided) {
        (void)keep(&e, plan->nodes, false, match, count);
    } else {
        memcpy(open, match, bytes);
        const uint64_t most = keep(&e, plan->nodes, true, open, count);
        memcpy(match, open, bytes);
        (void)keep(&e, plan->nodes, false, match, most);
        some = e.kernels->drop(open, match, e.words);
    }
    while (e.buffer_count > 0)
        pm_free(buffers[--e.buffer_count]);
    *any_open = some > 0;
    if (e.over) *over = true;
    return !e.no_memory;
}
