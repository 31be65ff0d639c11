/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "filter/filter_int.h"

enum { FEW = 16 };

static void sift(void **items, size_t at, size_t count, pm_filter_order order)
{
    void *item = items[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && order(items[child], items[child + 1]) < 0) child++;
        if (order(item, items[child]) >= 0) break;
        items[at] = items[child];
    }
    items[at] = item;
}

static void sort_in_place(void **items, size_t count, pm_filter_order order)
{
    for (size_t i = count / 2; i > 0; i--)
        sift(items, i - 1, count, order);
    for (size_t i = count; i > 1; i--) {
        void *largest = items[0];
        items[0] = items[i - 1];
        items[i - 1] = largest;
        sift(items, 0, i - 1, order);
    }
}

/* Runs of `size` items by twos. */
static void merge_runs(void *const *from, void **to, size_t count, size_t size, pm_filter_order order)
{
    for (size_t begin = 0; begin < count; begin += 2 * size) {
        const size_t middle = pm_min_u64(begin + size, count), end = pm_min_u64(begin + 2 * size, count);
        size_t left = begin, right = middle;
        for (size_t i = begin; i < end; i++) {
            const bool first = right == end || (left < middle && order(from[left], from[right]) <= 0);
            to[i] = from[first ? left++ : right++];
        }
    }
}

/* Merging takes half as many comparisons, which of long filters is most of what reading them takes. */
void pm_filter_sort(void **items, size_t count, pm_filter_order order)
{
    void **from = items, **to = count < FEW ? NULL : pm_malloc(count * sizeof *to);
    if (to == NULL) {
        sort_in_place(items, count, order);
        return;
    }
    for (size_t begin = 0; begin < count; begin += FEW)
        sort_in_place(items + begin, pm_min_u64(FEW, count - begin), order);
    for (size_t size = FEW; size < count; size *= 2) {
        merge_runs(from, to, count, size, order);
        void **other = from;
        from = to;
        to = other;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
    pm_free(from != items ? from : to);
}

static int order_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
    const size_t both = a_size < b_size ? a_size : b_size;
    const int order = both == 0 ? 0 : memcmp(a, b, both);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

int pm_filter_order_keys(const pm_filter_key *a, const pm_filter_key *b)
{
    return order_bytes(a->data, a->size, b->data, b->size);
}

int pm_filter_order_values(const void *left, const void *right)
{
    const pm_filter_value *a = left, *b = right;
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    switch (a->type) {
    case PM_FILTER_BOOL:
        return (int)a->truth - (int)b->truth;
    case PM_FILTER_NUMBER:
        return pm_filter_order_numbers(&a->number, &b->number);
    case PM_FILTER_STRING:
        return order_bytes(a->data, a->size, b->data, b->size);
    default:
        return 0;
    }
}
