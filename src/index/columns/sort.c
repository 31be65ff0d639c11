/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings a store's values into order: by 8 bytes of each at a time, and where these are equal by the next 8. Numbers
 * have their head, then their first 19 digits, then the others; so it is the order of pm_filter_order_numbers.
 */
#include <string.h>

#include "index/columns/columns_int.h"

enum { FEW = 12, SOME = 768, CHUNK = 7, STEP = 1 << 15 };

struct item {
    uint64_t key;
    uint32_t value;
};

struct sorter {
    pm_columns_builder *builder;
    const columns_store *store;
    struct item *items, *spare;
    size_t items_room, spare_room;
};

/* Seven bytes, and how many there are from here on, 8 for more than seven: what ends comes before what goes on. */
static uint64_t chunk_of(const char *text, size_t size, unsigned chunk)
{
    const size_t from = (size_t)chunk * CHUNK, rest = size > from ? size - from : 0;
    uint64_t key = 0;
    for (size_t i = 0; i < CHUNK; i++)
        key = key << 8 | (i < rest ? (uint8_t)text[from + i] : 0);
    return key << 8 | (rest < CHUNK + 1 ? rest : CHUNK + 1);
}

static uint64_t key_of(const columns_store *store, const columns_value *value, unsigned level)
{
    const char *text = store->bytes + value->text_at;
    if (value->head == 0) return chunk_of(text, value->text_size, level);
    if (level == 0) return value->head;
    const uint64_t key = level == 1 ? value->lead : chunk_of(text, value->text_size, level - 2);
    return value->head < COLUMNS_ZERO ? ~key : key;
}

/* Of two that differ, at this level or a later one. */
static bool is_less(const columns_store *store, uint32_t a, uint32_t b, unsigned level)
{
    for (;; level++) {
        const uint64_t x = key_of(store, &store->values[a], level), y = key_of(store, &store->values[b], level);
        if (x != y) return x < y;
    }
}

static void sort_few(const columns_store *store, struct item *items, size_t n, unsigned level)
{
    for (size_t i = 1; i < n; i++) {
        const struct item item = items[i];
        size_t at = i;
        for (; at > 0 && is_less(store, item.value, items[at - 1].value, level); at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

/* By keys alone, from the bottom up. */
static void merge_some(struct item *items, struct item *spare, size_t n)
{
    struct item *from = items, *to = spare;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t begin = 0; begin < n; begin += 2 * run) {
            const size_t middle = begin + run < n ? begin + run : n;
            const size_t end = middle + run < n ? middle + run : n;
            size_t left = begin, right = middle;
            for (size_t at = begin; at < end; at++)
                to[at] =
                    right == end || (left < middle && from[left].key <= from[right].key) ? from[left++] : from[right++];
        }
        struct item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, n * sizeof *items);
}

/* By a byte of the keys, in steps between which it may be stopped. */
static bool deal(struct sorter *sorter, const struct item *from, struct item *to, size_t n, unsigned shift)
{
    size_t at[256] = {0}, sum = 0;
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = n - begin > STEP ? begin + STEP : n;
        for (size_t i = begin; i < end; i++)
            at[from[i].key >> shift & 255]++;
        if (!columns_work(sorter->builder, end - begin)) return false;
    }
    for (size_t i = 0; i < 256; i++) {
        const size_t count = at[i];
        at[i] = sum;
        sum += count;
    }
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = n - begin > STEP ? begin + STEP : n;
        for (size_t i = begin; i < end; i++)
            to[at[from[i].key >> shift & 255]++] = from[i];
        if (!columns_work(sorter->builder, end - begin)) return false;
    }
    return true;
}

/* By the bytes that differ, the last first. */
static bool deal_many(struct sorter *sorter, struct item *items, struct item *spare, size_t n, uint64_t differ)
{
    struct item *from = items, *to = spare;
    for (unsigned shift = 0; shift < 64; shift += 8) {
        if ((differ >> shift & 255) == 0) continue;
        if (!deal(sorter, from, to, n, shift)) return false;
        struct item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, n * sizeof *items);
    return true;
}

/* Those from `first` on, which are equal up to this level. As deep as a text has chunks. */
static bool sort(struct sorter *sorter, size_t first, size_t n, unsigned level)
{
    struct item *items = sorter->items + first;
    uint64_t differ = 0;
    if (!columns_work(sorter->builder, n)) return false;
    if (n <= FEW) {
        sort_few(sorter->store, items, n, level);
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        items[i].key = key_of(sorter->store, &sorter->store->values[items[i].value], level);
        differ |= items[i].key ^ items[0].key;
        if (i % STEP == STEP - 1 && !columns_work(sorter->builder, STEP)) return false;
    }
    if (n <= SOME)
        merge_some(items, sorter->spare, n);
    else if (!deal_many(sorter, items, sorter->spare, n, differ))
        return false;
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && items[end].key == items[begin].key;)
            end++;
        if (end - begin > 1 && !sort(sorter, first + begin, end - begin, level + 1)) return false;
    }
    return true;
}

static bool sort_kind(struct sorter *sorter, bool numbers, uint32_t *order)
{
    const columns_store *store = sorter->store;
    size_t n = 0;
    for (size_t i = 0; i < store->value_count; i++)
        if ((store->values[i].head != 0) == numbers) sorter->items[n++].value = (uint32_t)i;
    if (!sort(sorter, 0, n, 0)) return false;
    for (size_t i = 0; i < n; i++)
        order[i] = sorter->items[i].value;
    return columns_work(sorter->builder, n);
}

/* Of the records, which had ids of what was not in order. `rank` has room for all values. */
static bool give_ranks(pm_columns_builder *builder, columns_store *store, uint32_t *rank)
{
    static const uint32_t behind[] = {[KIND_LONG] = RANK_LONG,
                                      [KIND_ODD] = RANK_ODD,
                                      [KIND_ARRAY] = RANK_ARRAY,
                                      [KIND_BIG] = RANK_BIG,
                                      [KIND_OBJECT] = RANK_OBJECT};
    const uint32_t ranks = RANK_NUMBERS + (uint32_t)store->value_count;
    for (size_t i = 0; i < store->value_count; i++)
        rank[store->order[i]] = RANK_NUMBERS + (uint32_t)i;
    for (size_t i = 0; i < store->record_count; i++) {
        columns_record *record = &store->records[i];
        if (record->id >= KIND_VALUES)
            record->id = rank[record->id - KIND_VALUES];
        else if (record->id >= KIND_LONG)
            record->id = ranks + behind[record->id];
        if (i % STEP == STEP - 1 && !columns_work(builder, STEP)) return false;
    }
    return true;
}

bool columns_sort(pm_columns_builder *builder, columns_store *store)
{
    struct sorter sorter = {.builder = builder, .store = store};
    const size_t n = store->value_count + 1; /* memory, also of none */
    bool good = columns_reserve(builder, &sorter.items, &sorter.items_room, n, sizeof *sorter.items) &&
                columns_reserve(builder, &sorter.spare, &sorter.spare_room, n, sizeof *sorter.spare) &&
                columns_reserve(builder, &store->order, &store->order_room, n, sizeof *store->order) &&
                sort_kind(&sorter, true, store->order) && sort_kind(&sorter, false, store->order + store->numbers);
    columns_release(builder, &sorter.spare, &sorter.spare_room, sizeof *sorter.spare);
    columns_release(builder, &sorter.items, &sorter.items_room, sizeof *sorter.items);
    uint32_t *rank = NULL;
    size_t room = 0;
    good = good && columns_reserve(builder, &rank, &room, n, sizeof *rank) && give_ranks(builder, store, rank);
    columns_release(builder, &rank, &room, sizeof *rank);
    return good;
}
