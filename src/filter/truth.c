/* SPDX-License-Identifier: Apache-2.0 */
/* What a filter says without a look at any row. */
#include "filter/filter_int.h"

enum truth { NO_ROW, SOME_ROWS, EVERY_ROW };

/* No more calls in each other than the tree is deep. */
static enum truth truth_of(const pm_filter_node *node)
{
    const bool all = node->op == PM_FILTER_AND;
    if (node->op == PM_FILTER_NOT) return EVERY_ROW - truth_of(node->children);
    if (node->op == PM_FILTER_IN && node->count == 0) return NO_ROW;
    if (!all && node->op != PM_FILTER_OR) return SOME_ROWS;
    enum truth truth = all ? EVERY_ROW : NO_ROW;
    for (const pm_filter_node *child = node->children; child != NULL; child = child->next) {
        const enum truth one = truth_of(child);
        if (all ? one < truth : one > truth) truth = one;
    }
    return truth;
}

bool pm_filter_is_every_row(const pm_filter *filter)
{
    return truth_of(filter->root) == EVERY_ROW;
}
