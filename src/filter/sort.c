/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "filter/filter_int.h"

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

void pm_filter_sort(void **items, size_t count, pm_filter_order order)
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
