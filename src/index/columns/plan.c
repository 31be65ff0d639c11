/* SPDX-License-Identifier: Apache-2.0 */
/* Each leaf of a filter as ranges of ranks, found in the dictionaries; and how many rows these have. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "index/columns/columns_int.h"

enum { ASK = 256, ASK_STRINGS = 1 << 12, MOST_LEAF = 240, MOST_LINES = 2000 };
enum { OF_VALUES_LONG = 1u << RANK_LONG, OF_VALUES_ODD = 1u << RANK_ODD };

static bool must_end(pm_columns_plan *plan)
{
    if (!plan->over && plan->is_over != NULL) plan->over = plan->is_over(plan->context);
    return plan->over;
}

/* ---- leaves ---- */

/* Makes room for more. false: no memory. */
static bool grow_ranges(pm_columns_plan *plan)
{
    const size_t room = plan->ranges_room * 2;
    const bool first = plan->ranges == plan->few;
    columns_range *ranges = pm_realloc(first ? NULL : plan->ranges, room * sizeof *ranges);
    if (ranges == NULL) return false;
    if (first) memcpy(ranges, plan->few, sizeof plan->few);
    plan->ranges = ranges;
    plan->ranges_room = room;
    return true;
}

/* false: no memory. */
static bool add_range(pm_columns_plan *plan, columns_node *leaf, uint64_t low, uint64_t high)
{
    if (low >= high) return true;
    assert(plan->ranges != NULL);
    columns_range *last = leaf->range_count > 0 ? &plan->ranges[plan->range_count - 1] : NULL;
    if (last != NULL && last->high == low) {
        last->high = (uint32_t)high;
        return true;
    }
    if (plan->range_count == plan->ranges_room && !grow_ranges(plan)) return false;
    plan->ranges[plan->range_count++] = (columns_range){(uint32_t)low, (uint32_t)high};
    leaf->range_count++;
    return true;
}

/* Ranks that may hold a value like this one without saying so. */
static uint32_t hidden(const pm_filter_value *value, bool whole)
{
    if (value->type == PM_FILTER_NUMBER) return OF_VALUES_ODD;
    if (value->type != PM_FILTER_STRING) return 0;
    return !whole || value->size > PM_COLUMNS_MOST_STRING ? OF_VALUES_LONG : 0;
}

static bool look_in(pm_columns_plan *plan, columns_node *leaf, const columns_view *view)
{
    uint64_t from = 0;
    for (uint32_t i = 0; i < leaf->filter->count; i++) {
        const pm_filter_value *value = &leaf->filter->values[i];
        bool equal;
        from = columns_seek(view, value, from, &equal);
        if (equal && !add_range(plan, leaf, from, from + 1)) return false;
        leaf->undecided |= hidden(value, true);
        if (i % ASK == ASK - 1 && must_end(plan)) return false;
    }
    return true;
}

/* Strings of the dictionary that have the value inside. They lie side by side, and are searched as one. */
static bool look_inside(pm_columns_plan *plan, columns_node *leaf, const columns_view *view)
{
    const pm_filter_value *value = leaf->filter->values;
    const uint64_t first = (uint64_t)RANK_NUMBERS + view->facts.numbers, strings = view->facts.strings;
    if (value->size == 0) return add_range(plan, leaf, first, view->ranks + 1);
    leaf->undecided |= OF_VALUES_LONG;
    for (uint64_t at = 0, stop; at < strings; at = stop) { /* in pieces, so as to be stopped */
        stop = pm_min_u64(at + ASK_STRINGS, strings);
        const char *p = view->texts + view->string_at[at];
        const char *end = view->texts + view->string_at[stop];
        while ((p = memmem(p, (size_t)(end - p), value->data, value->size)) != NULL) {
            const uint64_t place = (uint64_t)(p - view->texts);
            uint64_t high = stop;
            while (at + 1 < high) { /* the last string that does not begin behind it */
                const uint64_t middle = at + (high - at) / 2;
                if (view->string_at[middle] <= place)
                    at = middle;
                else
                    high = middle;
            }
            if (view->string_at[at + 1] - place >= value->size && !add_range(plan, leaf, first + at, first + at + 1))
                return false;
            p = view->texts + view->string_at[++at];
            if (at == stop) break;
        }
        if (must_end(plan)) return false;
    }
    return true;
}

static bool look_compared(pm_columns_plan *plan, columns_node *leaf, const columns_view *view)
{
    const pm_filter_value *value = leaf->filter->values;
    const uint64_t strings = (uint64_t)RANK_NUMBERS + view->facts.numbers;
    const bool number = value->type == PM_FILTER_NUMBER;
    const uint64_t first = number ? RANK_NUMBERS : strings, end = number ? strings : view->ranks;
    bool equal;
    const uint64_t at = columns_seek(view, value, 0, &equal);
    const pm_filter_op op = leaf->filter->op;
    const bool nothing = !number && value->size == 0; /* a long string is above "" */
    if (!nothing) leaf->undecided |= hidden(value, false);
    if (op == PM_FILTER_LT) return add_range(plan, leaf, first, at);
    if (op == PM_FILTER_LTE) return add_range(plan, leaf, first, at + equal);
    return add_range(plan, leaf, op == PM_FILTER_GT ? at + equal : at, end + nothing);
}

static bool look_begun(pm_columns_plan *plan, columns_node *leaf, const columns_view *view)
{
    const pm_filter_value *value = leaf->filter->values;
    bool equal;
    const uint64_t first = columns_seek(view, value, 0, &equal);
    if (value->size == 0) return add_range(plan, leaf, first, view->ranks + 1);
    leaf->undecided |= OF_VALUES_LONG;
    return add_range(plan, leaf, first, columns_seek_prefix_end(view, value));
}

static bool look_contained(pm_columns_plan *plan, columns_node *leaf, const columns_view *view)
{
    const pm_filter_value *value = leaf->filter->values;
    const columns_view elements = columns_read_view(plan->columns, &leaf->elements);
    bool equal;
    const uint64_t at = columns_seek(&elements, value, 0, &equal);
    if (equal) leaf->among = (columns_range){(uint32_t)at, (uint32_t)at + 1};
    leaf->of_elements = hidden(value, true);
    leaf->undecided = 1u << RANK_BIG;
    return value->type != PM_FILTER_STRING || look_inside(plan, leaf, view);
}

static bool look(pm_columns_plan *plan, columns_node *leaf, const columns_view *view)
{
    switch (leaf->filter->op) {
    case PM_FILTER_EXISTS:
        return add_range(plan, leaf, 0, view->ranks + RANK_MISSING);
    case PM_FILTER_EQ:
    case PM_FILTER_IN:
        return look_in(plan, leaf, view);
    case PM_FILTER_CONTAINS:
        return look_contained(plan, leaf, view);
    case PM_FILTER_STARTS_WITH:
        return look_begun(plan, leaf, view);
    default:
        return look_compared(plan, leaf, view);
    }
}

/* Rows of the ranks behind the last value whose bits are set. Clears the bits of those that have none. */
static uint64_t count_behind(const columns_view *view, uint32_t *bits)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < RANKS_BEHIND; i++) {
        const uint64_t rows = view->row_at[view->ranks + i + 1] - view->row_at[view->ranks + i];
        if ((*bits >> i & 1) != 0) count += rows;
        if (rows == 0) *bits &= ~(1u << i);
    }
    return count;
}

/* Ranges that have no rows are dropped, and the others counted. */
static uint64_t count_ranges(pm_columns_plan *plan, columns_node *leaf, const columns_view *view)
{
    columns_range *ranges = plan->ranges + leaf->range_at;
    uint64_t sure = 0;
    size_t kept = 0;
    for (size_t i = 0; i < leaf->range_count; i++) {
        const uint64_t rows = view->row_at[ranges[i].high] - view->row_at[ranges[i].low];
        if (rows > 0) ranges[kept++] = ranges[i];
        sure += rows;
    }
    plan->range_count -= leaf->range_count - kept;
    leaf->range_count = kept;
    return sure;
}

/* false: no memory, or over. */
static bool make_leaf(pm_columns_plan *plan, columns_node *leaf)
{
    char path[PM_FILTER_MOST_PATH];
    const pm_columns *columns = plan->columns;
    uint64_t open, residual, sure = 0, undecided;
    (void)columns_open_rows(columns, &open, &residual);
    leaf->column = columns_find(columns, path, pm_filter_write_path(leaf->filter, path));
    leaf->open = undecided = leaf->column < 0 ? open + residual : open;
    if (leaf->column >= 0) {
        const columns_column column = columns_read_column(columns, (uint32_t)leaf->column);
        leaf->values = column.values;
        leaf->elements = column.elements;
        leaf->width = column.width;
        if (column.width > 0) leaf->ranks = columns->section[COLUMNS_RANKS] + column.ranks_at;
        leaf->range_at = plan->range_count;
        const columns_view view = columns_read_view(columns, &leaf->values);
        const columns_view elements = columns_read_view(columns, &leaf->elements);
        if (!look(plan, leaf, &view)) return false;
        sure = count_ranges(plan, leaf, &view);
        const uint64_t among = elements.row_at[leaf->among.high] - elements.row_at[leaf->among.low];
        if (among == 0) leaf->among = (columns_range){0, 0};
        sure += among;
        undecided += count_behind(&view, &leaf->undecided);
        undecided += count_behind(&elements, &leaf->of_elements);
    }
    leaf->least = pm_min_u64(sure, columns->rows);
    leaf->most = pm_min_u64(sure + undecided, columns->rows);
    plan->is_undecided |= undecided > 0;
    return true;
}

/* ---- the tree ---- */

static size_t count_nodes(const pm_filter_node *node)
{
    size_t count = 1;
    if (node->op <= PM_FILTER_NOT)
        for (const pm_filter_node *child = node->children; child != NULL; child = child->next)
            count += count_nodes(child);
    return count;
}

/* The fewest rows first; of equals those that come first. */
static int order_most(const void *left, const void *right)
{
    const columns_node *a = left, *b = right;
    if (a->most != b->most) return a->most < b->most ? -1 : 1;
    return (a > b) - (a < b);
}

static int order_least(const void *left, const void *right)
{
    return order_most(right, left);
}

static bool is_compared(const columns_node *node)
{
    return node->filter->op >= PM_FILTER_LT && node->filter->op <= PM_FILTER_GTE && node->column >= 0 &&
           node->also == NULL;
}

/* Two ends of a range, which are one leaf then: its rows are known, and looked at once. */
static bool join(pm_columns_plan *plan, columns_node *a, const columns_node *b)
{
    if (!is_compared(a) || !is_compared(b) || a->filter->slot != b->filter->slot || a->undecided != b->undecided ||
        a->filter->values->type != b->filter->values->type)
        return false;
    const uint64_t undecided = a->most - a->least;
    const columns_view view = columns_read_view(plan->columns, &a->values);
    columns_range *range = plan->ranges + a->range_at;
    a->also = b->filter;
    a->least = 0;
    if (a->range_count > 0 && b->range_count > 0) {
        const columns_range other = plan->ranges[b->range_at];
        range->low = range->low > other.low ? range->low : other.low;
        range->high = range->high < other.high ? range->high : other.high;
        if (range->low < range->high) a->least = view.row_at[range->high] - view.row_at[range->low];
    }
    if (a->least == 0) a->range_count = 0;
    a->most = a->least + undecided;
    return true;
}

static void join_ranges(pm_columns_plan *plan, columns_node *node)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->child_count; i++)
        if (kept == 0 || !join(plan, node->children[kept - 1], node->children[i]))
            node->children[kept++] = node->children[i];
    node->child_count = kept;
}

static void bound(const pm_columns_plan *plan, columns_node *node)
{
    const uint64_t rows = plan->columns->rows;
    uint64_t not_least = 0, least = 0, most = 0, smallest = rows;
    for (uint32_t i = 0; i < node->child_count; i++) {
        const columns_node *child = node->children[i];
        not_least = pm_min_u64(not_least + (rows - child->least), rows);
        smallest = pm_min_u64(smallest, child->most);
        least = pm_max_u64(least, child->least);
        most = pm_min_u64(most + child->most, rows);
    }
    if (node->filter->op == PM_FILTER_AND) {
        node->least = rows - not_least;
        node->most = smallest;
    } else if (node->filter->op == PM_FILTER_OR) {
        node->least = least;
        node->most = most;
    } else {
        node->least = rows - most;
        node->most = rows - least;
    }
}

/* As deep as the tree. NULL: no memory, or over. */
static columns_node *make_node(pm_columns_plan *plan, const pm_filter_node *filter)
{
    assert(filter != NULL);
    columns_node *node = &plan->nodes[plan->node_count++];
    *node = (columns_node){.filter = filter, .column = -1};
    if (plan->node_count % ASK == 0 && must_end(plan)) return NULL;
    if (filter->op > PM_FILTER_NOT) return make_leaf(plan, node) ? node : NULL;
    for (const pm_filter_node *child = filter->children; child != NULL; child = child->next)
        node->child_count++;
    node->children = plan->children + plan->child_count;
    plan->child_count += node->child_count;
    const pm_filter_node *child = filter->children;
    for (uint32_t i = 0; child != NULL; i++, child = child->next)
        if ((node->children[i] = make_node(plan, child)) == NULL) return NULL;
    if (filter->op == PM_FILTER_AND) join_ranges(plan, node);
    pm_filter_sort(node->children, node->child_count, filter->op == PM_FILTER_OR ? order_least : order_most);
    bound(plan, node);
    return node;
}

pm_columns_plan *pm_columns_plan_make(const pm_columns *columns, const pm_filter *filter, const pm_simd *simd,
                                      bool (*is_over)(const void *context), const void *context, bool *over)
{
    const size_t nodes = count_nodes(pm_filter_root(filter));
    pm_columns_plan *plan = pm_malloc(sizeof *plan + nodes * (sizeof *plan->nodes + sizeof *plan->children));
    if (plan == NULL) return NULL;
    *plan = (pm_columns_plan){.columns = columns, .kernels = simd->ranks, .is_over = is_over, .context = context};
    plan->nodes = (columns_node *)(void *)(plan + 1);
    plan->children = (void **)(void *)(plan->nodes + nodes);
    plan->ranges = plan->few;
    plan->ranges_room = sizeof plan->few / sizeof plan->few[0];
    if (make_node(plan, pm_filter_root(filter)) != NULL) return plan;
    if (plan->over) *over = true;
    pm_columns_plan_free(plan);
    return NULL;
}

void pm_columns_plan_free(pm_columns_plan *plan)
{
    if (plan == NULL) return;
    if (plan->ranges != plan->few) pm_free(plan->ranges);
    pm_free(plan);
}

void pm_columns_plan_bounds(const pm_columns_plan *plan, uint64_t *least, uint64_t *most)
{
    *least = plan->nodes[0].least;
    *most = plan->nodes[0].most;
}

/* ---- for people ---- */

/* As it prints, but for what a line has no room for. */
static void add_leaf(const pm_filter_node *leaf, pm_text *text)
{
    const size_t before = text->size;
    pm_filter_print_node(leaf, text);
    if (text->failed || text->size - before <= MOST_LEAF) return;
    text->size = before + MOST_LEAF;
    while (((uint8_t)text->data[text->size] & 0xc0) == 0x80) /* in the midst of a character */
        text->size--;
    text->data[text->size] = '\0';
    pm_text_add(text, "...");
}

/* As deep as the tree. Behind `end`, lines are only counted. */
static void explain(const pm_columns_plan *plan, const columns_node *node, unsigned depth, size_t end, uint64_t *left,
                    pm_text *text)
{
    static const char *const names[] = {"and", "or", "not"};
    *left += text->size >= end;
    if (text->size >= end) {
        for (uint32_t i = 0; i < node->child_count; i++)
            explain(plan, node->children[i], depth + 1, end, left, text);
        return;
    }
    pm_text_add(text, "%*s", (int)depth * 2, "");
    if (node->filter->op > PM_FILTER_NOT) {
        add_leaf(node->filter, text);
        if (node->also != NULL) pm_text_add(text, ", ");
        if (node->also != NULL) add_leaf(node->also, text);
        pm_text_add(text, ": %s, %" PRIu64 " rows", columns_method(plan, node), node->least);
        if (node->most > node->least) pm_text_add(text, ", %" PRIu64 " undecided", node->most - node->least);
        pm_text_add(text, "\n");
        return;
    }
    pm_text_add(text, "%s: %" PRIu64 " to %" PRIu64 " rows\n", names[node->filter->op], node->least, node->most);
    for (uint32_t i = 0; i < node->child_count; i++)
        explain(plan, node->children[i], depth + 1, end, left, text);
}

void pm_columns_explain(const pm_columns_plan *plan, pm_text *text)
{
    uint64_t left = 0;
    explain(plan, plan->nodes, 0, text->size + MOST_LINES, &left, text);
    if (left > 0) pm_text_add(text, "... and %" PRIu64 " more\n", left);
}
