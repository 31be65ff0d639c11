/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys a filter asks a document for: the paths of all its nodes as one tree. */
#include "filter/filter_int.h"

static int order_paths(const void *left, const void *right)
{
    const pm_filter_node *a = left, *b = right;
    for (uint32_t i = 0; i < a->key_count && i < b->key_count; i++) {
        const int order = pm_filter_order_keys(&a->keys[i], &b->keys[i]);
        if (order != 0) return order;
    }
    return (a->key_count > b->key_count) - (a->key_count < b->key_count);
}

/* Wants of the sorted paths, the document itself among them. */
static uint32_t count_wants(void *const *leaves, uint32_t count)
{
    static const pm_filter_node none;
    uint32_t wants = 1;
    const pm_filter_node *before = &none;
    for (uint32_t i = 0; i < count; i++) {
        const pm_filter_node *leaf = leaves[i];
        uint32_t shared = 0;
        while (shared < leaf->key_count && shared < before->key_count &&
               pm_filter_order_keys(&leaf->keys[shared], &before->keys[shared]) == 0)
            shared++;
        wants += leaf->key_count - shared;
        before = leaf;
    }
    return wants;
}

/* The sorted paths that begin with a want's own. */
struct range {
    uint32_t first, end, depth;
};

bool pm_filter_plan(pm_filter *filter, void **leaves, uint32_t count)
{
    pm_filter_sort(leaves, count, order_paths);
    filter->want_count = count_wants(leaves, count);
    pm_filter_want *wants = pm_filter_take(&filter->arena, filter->want_count * sizeof *wants);
    struct range *ranges = pm_malloc(filter->want_count * sizeof *ranges);
    filter->wants = wants;
    if (wants == NULL || ranges == NULL) {
        pm_free(ranges);
        return false;
    }
    uint32_t made = 1;
    wants[0] = (pm_filter_want){.parent = 0};
    ranges[0] = (struct range){.first = 0, .end = count, .depth = 0};
    for (uint32_t w = 0; w < made; w++) {
        const struct range range = ranges[w];
        wants[w].child = made;
        const pm_filter_key *last = NULL;
        for (uint32_t i = range.first; i < range.end; i++) {
            pm_filter_node *leaf = leaves[i];
            if (leaf->key_count == range.depth) { /* these come first */
                leaf->slot = w;
                continue;
            }
            const pm_filter_key *key = &leaf->keys[range.depth];
            if (last == NULL || pm_filter_order_keys(last, key) != 0) {
                wants[made] = (pm_filter_want){.key = *key, .parent = w};
                ranges[made++] = (struct range){.first = i, .depth = range.depth + 1};
            }
            ranges[made - 1].end = i + 1;
            last = key;
        }
        wants[w].children = made - wants[w].child;
    }
    pm_free(ranges);
    return true;
}
