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

/* ---- many values ---- */

enum { MANY = 64, DIGITS = 8 /* of a key, of eight bits each */ };

/* In order of the keys, values are in order; those of one key in any. */
struct keyed {
    uint64_t key;
    void *value;
};

/* Sign, exponent and the first 15 or 16 digits in 62 bits. */
static uint64_t number_key(const pm_filter_number *n)
{
    const uint64_t zero = UINT64_C(1) << 61;
    uint64_t part = 0;
    if (n->sign == 0) return zero;
    if (n->exponent > 510)
        part = zero - 1;
    else if (n->exponent >= -510)
        part = (uint64_t)(n->exponent + 512) << 51 | n->lead >> 13;
    return n->sign > 0 ? zero + part : zero - 1 - part;
}

/* Behind the `same` bytes that all strings begin with. */
static uint64_t string_key(const pm_filter_value *v, size_t same)
{
    uint64_t key = 0;
    for (size_t i = same; i < same + 8; i++)
        key = key << 8 | (i < v->size ? (uint8_t)v->data[i] : 0);
    return key >> 2;
}

static size_t same_begin(void *const *values, size_t count)
{
    const pm_filter_value *first = NULL;
    size_t same = 0;
    for (size_t i = 0; i < count; i++) {
        const pm_filter_value *v = values[i];
        if (v->type != PM_FILTER_STRING) continue;
        if (first == NULL) {
            first = v;
            same = v->size;
        }
        if (same > v->size) same = v->size;
        if (same > 0 && memcmp(first->data, v->data, same) == 0) continue;
        size_t equal = 0;
        while (equal < same && first->data[equal] == v->data[equal])
            equal++;
        same = equal;
    }
    return same;
}

/* By eight bits after eight, from the last: into `from` or `to`, whichever is returned. */
static struct keyed *sort_keys(struct keyed *from, struct keyed *to, size_t count)
{
    uint32_t counts[DIGITS][256] = {{0}};
    for (size_t i = 0; i < count; i++)
        for (int d = 0; d < DIGITS; d++)
            counts[d][from[i].key >> 8 * d & 0xff]++;
    for (int d = 0; d < DIGITS; d++) {
        uint32_t at = 0, *places = counts[d];
        if (places[from[0].key >> 8 * d & 0xff] == count) continue; /* they are all alike */
        for (int i = 0; i < 256; i++) {
            const uint32_t here = places[i];
            places[i] = at;
            at += here;
        }
        for (size_t i = 0; i < count; i++)
            to[places[from[i].key >> 8 * d & 0xff]++] = from[i];
        struct keyed *other = from;
        from = to;
        to = other;
    }
    return from;
}

/* Comparing is most of what sorting takes: it is left to those that have equal keys. Strings among these get others
 * first, from their next bytes; not for ever, as each time all are looked at. */
static void sort_values(void **values, size_t count, unsigned again)
{
    struct keyed *memory = count < MANY ? NULL : pm_malloc(2 * count * sizeof *memory);
    if (memory == NULL) {
        pm_filter_sort(values, count, pm_filter_order_values);
        return;
    }
    const size_t same = same_begin(values, count);
    for (size_t i = 0; i < count; i++) {
        const pm_filter_value *v = values[i];
        const uint64_t part = v->type == PM_FILTER_NUMBER   ? number_key(&v->number)
                              : v->type == PM_FILTER_STRING ? string_key(v, same)
                                                            : v->truth;
        memory[i] = (struct keyed){(uint64_t)v->type << 62 | part, values[i]};
    }
    const struct keyed *sorted = sort_keys(memory, memory + count, count);
    for (size_t i = 0; i < count; i++)
        values[i] = sorted[i].value;
    for (size_t begin = 0, end; begin < count; begin = end) {
        end = begin + 1;
        while (end < count && sorted[end].key == sorted[begin].key)
            end++;
        const pm_filter_value *first = values[begin];
        if (end - begin > 1 && first->type == PM_FILTER_STRING && again > 0)
            sort_values(values + begin, end - begin, again - 1);
        else if (end - begin > 1)
            pm_filter_sort(values + begin, end - begin, pm_filter_order_values);
    }
    pm_free(memory);
}

void pm_filter_sort_values(void **values, size_t count)
{
    sort_values(values, count, 3);
}
