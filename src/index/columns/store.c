/* SPDX-License-Identifier: Apache-2.0 */
/* Distinct values of a path, each once, and which row has which. */
#include <string.h>

#include "index/columns/columns_int.h"

enum { WORK = 1 << 16 }; /* bytes read, or values looked at: some hundred microseconds */

#define MOST_BYTES UINT32_MAX

bool columns_work(pm_columns_builder *builder, size_t work)
{
    builder->work += work;
    if (builder->work < WORK) return builder->status == POMAI_OK;
    builder->work = 0;
    if (builder->go_on != NULL && !builder->go_on(builder->context)) builder->status = POMAI_EDEADLINE;
    return builder->status == POMAI_OK;
}

/* ---- memory ---- */

bool columns_reserve(pm_columns_builder *builder, void *memory, size_t *room, size_t wanted, size_t size)
{
    void *before, *after;
    uint64_t bytes;
    if (wanted <= *room) return true;
    memcpy(&before, memory, sizeof before);
    size_t more = *room + *room / 2 + 8;
    if (more < wanted) more = wanted;
    /* While it is copied, both are there. */
    if (pm_mul_overflows(more, size, &bytes) || bytes > builder->most - builder->used) {
        builder->status = POMAI_ETOOBIG;
        return false;
    }
    if ((after = pm_realloc(before, (size_t)bytes)) == NULL) {
        builder->status = POMAI_ENOMEM;
        return false;
    }
    memcpy(memory, &after, sizeof after);
    builder->used += (size_t)bytes - *room * size;
    *room = more;
    return true;
}

void columns_release(pm_columns_builder *builder, void *memory, size_t *room, size_t size)
{
    void *before;
    const void *none = NULL;
    memcpy(&before, memory, sizeof before);
    pm_free(before);
    memcpy(memory, &none, sizeof none);
    builder->used -= *room * size;
    *room = 0;
}

void columns_store_unhash(pm_columns_builder *builder, columns_store *store)
{
    columns_release(builder, &store->table, &store->table_size, sizeof *store->table);
}

void columns_store_free(pm_columns_builder *builder, columns_store *store)
{
    columns_store_unhash(builder, store);
    columns_release(builder, &store->values, &store->values_room, sizeof *store->values);
    columns_release(builder, &store->records, &store->records_room, sizeof *store->records);
    columns_release(builder, &store->bytes, &store->bytes_room, sizeof *store->bytes);
    columns_release(builder, &store->order, &store->order_room, sizeof *store->order);
    *store = (columns_store){0};
}

/* ---- values, each once ---- */

/* Slots are half empty at least. */
static bool make_room(pm_columns_builder *builder, columns_store *store)
{
    if (store->value_count < store->table_size / 2) return true;
    const size_t size = store->table_size > 0 ? store->table_size * 2 : 16;
    uint32_t *table = NULL;
    size_t room = 0;
    if (size > (size_t)1 << 31) builder->status = POMAI_ETOOBIG;
    if (builder->status != POMAI_OK || !columns_reserve(builder, &table, &room, size, sizeof *table)) return false;
    memset(table, 0, size * sizeof *table);
    for (size_t i = 0; i < store->value_count; i++) {
        size_t at = store->values[i].hash & (size - 1);
        while (table[at] != 0)
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i + 1;
    }
    columns_store_unhash(builder, store);
    store->table = table;
    store->table_size = room;
    return true;
}

static bool is_same(const columns_store *store, const columns_value *a, const columns_value *b, const char *text)
{
    return a->hash == b->hash && a->lead == b->lead && a->head == b->head && a->text_size == b->text_size &&
           (b->text_size == 0 || memcmp(store->bytes + a->text_at, text, b->text_size) == 0);
}

/* The id of a value, of which `text` is not in the store yet. KIND_NULL: failed. */
static uint32_t find_or_put(pm_columns_builder *builder, columns_store *store, columns_value *value, const char *text)
{
    if (!make_room(builder, store)) return KIND_NULL;
    const size_t mask = store->table_size - 1;
    size_t at = value->hash & mask;
    for (; store->table[at] != 0; at = (at + 1) & mask)
        if (is_same(store, &store->values[store->table[at] - 1], value, text))
            return store->table[at] - 1 + KIND_VALUES;
    if (store->byte_count + value->text_size > MOST_BYTES) {
        builder->status = POMAI_ETOOBIG;
        return KIND_NULL;
    }
    if (!columns_reserve(builder, &store->values, &store->values_room, store->value_count + 1, sizeof *value) ||
        !columns_reserve(builder, &store->bytes, &store->bytes_room, store->byte_count + value->text_size + 1, 1))
        return KIND_NULL;
    value->text_at = (uint32_t)store->byte_count;
    if (value->text_size > 0) memcpy(store->bytes + store->byte_count, text, value->text_size);
    store->byte_count += value->text_size;
    store->numbers += value->head != 0;
    store->values[store->value_count++] = *value;
    store->table[at] = (uint32_t)store->value_count;
    return (uint32_t)(store->value_count - 1) + KIND_VALUES;
}

static uint32_t put_number(pm_columns_builder *builder, columns_store *store, const columns_found *found)
{
    char digits[PM_COLUMNS_MOST_STRING];
    pm_filter_number number;
    if (found->end - found->at > PM_COLUMNS_MOST_STRING) return KIND_ODD;
    pm_filter_read_number(found->at, found->end, &number);
    if (number.exponent >= COLUMNS_MOST_EXPONENT || number.exponent <= -COLUMNS_MOST_EXPONENT) return KIND_ODD;
    columns_value value = {.lead = number.lead, .head = columns_head(number.sign, number.exponent)};
    for (const char *p = number.tail; p != number.tail_end; p++)
        if (*p != '.') digits[value.text_size++] = *p;
    const uint64_t hash = pm_mix64(builder->seed ^ number.lead) ^ value.head;
    value.hash = (uint32_t)(value.text_size > 0 ? pm_hash_bytes(digits, value.text_size, hash) : pm_mix64(hash));
    return find_or_put(builder, store, &value, digits);
}

static uint32_t put_string(pm_columns_builder *builder, columns_store *store, const columns_found *found)
{
    char plain[PM_COLUMNS_MOST_STRING];
    const char *text = found->at + 1;
    size_t size = (size_t)(found->end - found->at) - 2;
    if (found->escapes) {
        pm_filter_string string = {.p = text, .end = found->end - 1};
        size = 0;
        for (int byte; (byte = pm_filter_next_byte(&string)) >= 0;) {
            if (size == sizeof plain) return KIND_LONG;
            plain[size++] = (char)byte;
        }
        text = plain;
    }
    if (size > PM_COLUMNS_MOST_STRING) return KIND_LONG;
    columns_value value = {.text_size = (uint8_t)size, .hash = (uint32_t)pm_hash_bytes(text, size, builder->seed)};
    return find_or_put(builder, store, &value, text);
}

/* The id of a value, which is no object and no array. */
static uint32_t put_value(pm_columns_builder *builder, columns_store *store, const columns_found *found)
{
    switch (*found->at) {
    case 'n':
        return KIND_NULL;
    case 'f':
        return KIND_FALSE;
    case 't':
        return KIND_TRUE;
    case '"':
        return put_string(builder, store, found);
    default:
        return put_number(builder, store, found);
    }
}

/* ---- and their rows ---- */

bool columns_put_kind(pm_columns_builder *builder, columns_store *store, uint32_t row, uint32_t kind)
{
    if (store->record_count == UINT32_MAX) builder->status = POMAI_ETOOBIG;
    if (builder->status != POMAI_OK || !columns_reserve(builder, &store->records, &store->records_room,
                                                        store->record_count + 1, sizeof *store->records))
        return false;
    store->records[store->record_count++] = (columns_record){row, kind};
    return true;
}

bool columns_put_scalar(pm_columns_builder *builder, columns_store *store, uint32_t row, const columns_found *found)
{
    const uint32_t id = put_value(builder, store, found);
    return builder->status == POMAI_OK && columns_put_kind(builder, store, row, id);
}

uint32_t columns_put_elements(pm_columns_builder *builder, columns_store *store, uint32_t row,
                              const columns_found *array)
{
    columns_found elements[PM_COLUMNS_MOST_ELEMENTS];
    uint32_t ids[PM_COLUMNS_MOST_ELEMENTS], distinct = 0;
    size_t count = 0, all = 0;
    const char *p = pm_filter_blank(array->at + 1, array->end);
    while (*p != ']') { /* which ends it: it has been looked at */
        if (all++ == PM_COLUMNS_MOST_ELEMENTS) return KIND_BIG;
        columns_found *element = &elements[count];
        *element = (columns_found){.at = p};
        p = element->end = pm_filter_skip_value(p, array->end, 1, &element->escapes);
        count += *element->at != '{' && *element->at != '[';
        p = pm_filter_blank(p, array->end);
        if (*p == ',') p = pm_filter_blank(p + 1, array->end);
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t id = put_value(builder, store, &elements[i]);
        uint32_t same = 0;
        while (same < distinct && ids[same] != id)
            same++;
        if (same < distinct) continue;
        ids[distinct++] = id;
        if (builder->status != POMAI_OK || !columns_put_kind(builder, store, row, id)) return KIND_VALUES;
    }
    return columns_work(builder, all) ? KIND_ARRAY : KIND_VALUES;
}
