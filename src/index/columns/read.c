/* SPDX-License-Identifier: Apache-2.0 */
/* What the sections of docs/format/columns.md say, and whether that can be used. */
#include <string.h>

#include "base/mutant.h"
#include "index/columns/columns_int.h"

/* A section without bytes lies somewhere, too. */
static const uint8_t *base_of(const pm_columns *columns, uint32_t section)
{
    static const uint64_t nothing[8];
    return columns->section[section] != NULL ? columns->section[section] : (const uint8_t *)nothing;
}

static const uint32_t *words_of(const pm_columns *columns, uint32_t section)
{
    return (const uint32_t *)(const void *)base_of(columns, section);
}

static columns_model read_model(const pm_columns *columns)
{
    columns_model model;
    memcpy(&model, columns->section[COLUMNS_MODEL], sizeof model);
    return model;
}

columns_column columns_read_column(const pm_columns *columns, uint32_t index)
{
    columns_column column;
    memcpy(&column, columns->section[COLUMNS_TABLE] + index * sizeof column, sizeof column);
    return column;
}

columns_view columns_read_view(const pm_columns *columns, const columns_dictionary *dictionary)
{
    const uint32_t *places = words_of(columns, COLUMNS_PLACES) + dictionary->places_at;
    return (columns_view){.facts = *dictionary,
                          .ranks = columns_ranks(dictionary),
                          .numbers = base_of(columns, COLUMNS_NUMBERS) + dictionary->numbers_at,
                          .texts = (const char *)base_of(columns, COLUMNS_TEXTS) + dictionary->texts_at,
                          .string_at = places,
                          .row_at = places + dictionary->strings + 1,
                          .rows = words_of(columns, COLUMNS_ROWS) + dictionary->rows_at};
}

const uint32_t *columns_open_rows(const pm_columns *columns, uint64_t *open, uint64_t *residual)
{
    const columns_model model = read_model(columns);
    *open = model.open;
    *residual = model.residual;
    return words_of(columns, COLUMNS_ROWS);
}

pm_columns_facts pm_columns_look(const pm_columns *columns)
{
    const columns_model model = read_model(columns);
    return (pm_columns_facts){model.columns, model.open, model.residual, model.values};
}

/* ---- looking values up ---- */

static pm_filter_key name_of(const pm_columns *columns, const columns_column *column)
{
    return (pm_filter_key){(const char *)base_of(columns, COLUMNS_TEXTS) + column->name_at, column->name_size};
}

int64_t columns_find(const pm_columns *columns, const char *name, size_t size)
{
    const pm_filter_key wanted = {name, size};
    uint32_t low = 0, high = read_model(columns).columns;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const columns_column column = columns_read_column(columns, middle);
        const pm_filter_key key = name_of(columns, &column);
        const int order = pm_filter_order_keys(&key, &wanted);
        if (order == 0) return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static int order_number(const columns_view *view, uint64_t at, const pm_filter_value *value)
{
    pm_filter_number number = {0};
    if (view->facts.form == COLUMNS_INT64) {
        int64_t whole;
        memcpy(&whole, view->numbers + at * sizeof whole, sizeof whole);
        if (value->width == PM_FILTER_INT64) return (whole > value->whole.i64) - (whole < value->whole.i64);
        columns_of_int64(whole, &number);
        return pm_filter_order_numbers(&number, &value->number);
    }
    columns_decimal decimal;
    memcpy(&decimal, view->numbers + at * sizeof decimal, sizeof decimal);
    number.sign = (decimal.head > COLUMNS_ZERO) - (decimal.head < COLUMNS_ZERO);
    if (number.sign > 0) number.exponent = (int64_t)decimal.head - 0xc0000000;
    if (number.sign < 0) number.exponent = 0x40000000 - (int64_t)decimal.head;
    number.lead = decimal.lead;
    if (decimal.digits_at != COLUMNS_NO_DIGITS) {
        number.tail = view->texts + decimal.digits_at + 1;
        number.tail_end = number.tail + (uint8_t)view->texts[decimal.digits_at];
    }
    return pm_filter_order_numbers(&number, &value->number);
}

static pm_filter_key string_of(const columns_view *view, uint64_t rank)
{
    const uint64_t at = rank - RANK_NUMBERS - view->facts.numbers;
    return (pm_filter_key){view->texts + view->string_at[at], view->string_at[at + 1] - view->string_at[at]};
}

/* Of the value at a rank, which is of the value's type. */
static int order_rank(const columns_view *view, uint64_t rank, const pm_filter_value *value)
{
    if (value->type == PM_FILTER_NUMBER) return order_number(view, rank - RANK_NUMBERS, value);
    const pm_filter_key key = string_of(view, rank), wanted = {value->data, value->size};
    return pm_filter_order_keys(&key, &wanted);
}

/* The first of `count` int64 that is not below the value, or `count`, without a branch on what it compares. */
static uint64_t seek_int64(const uint8_t *numbers, uint64_t count, int64_t value)
{
    uint64_t low = 0;
    int64_t at;
    while (count > 0) {
        const uint64_t half = count / 2;
        memcpy(&at, numbers + (low + half) * sizeof at, sizeof at);
        low = at < value ? low + half + 1 : low;
        count = at < value ? count - half - 1 : half;
    }
    return low;
}

uint64_t columns_seek(const columns_view *view, const pm_filter_value *value, uint64_t from, bool *equal)
{
    *equal = true;
    if (value->type == PM_FILTER_NULL) return RANK_NULL;
    if (value->type == PM_FILTER_BOOL) return value->truth ? RANK_TRUE : RANK_FALSE;
    const uint64_t strings = (uint64_t)RANK_NUMBERS + view->facts.numbers;
    const uint64_t first = value->type == PM_FILTER_NUMBER ? RANK_NUMBERS : strings;
    const uint64_t end = value->type == PM_FILTER_NUMBER ? strings : view->ranks;
    if (value->type == PM_FILTER_NUMBER && value->width == PM_FILTER_INT64 && view->facts.form == COLUMNS_INT64 &&
        from <= first) {
        const uint64_t at = first + seek_int64(view->numbers, view->facts.numbers, value->whole.i64);
        *equal = at < end && order_number(view, at - RANK_NUMBERS, value) == 0;
        return at;
    }
    uint64_t low = from > first ? pm_min_u64(from, end) : first, high = end;
    /* What was sought before is often near. */
    for (uint64_t step = 1; from > first && low + step < end; step *= 2) {
        if (order_rank(view, low + step, value) >= 0) {
            high = low + step + 1;
            break;
        }
        low += step;
    }
    *equal = false;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const int order = order_rank(view, middle, value);
        if (order == 0) {
            *equal = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t columns_seek_prefix_end(const columns_view *view, const pm_filter_value *value)
{
    uint64_t low = (uint64_t)RANK_NUMBERS + view->facts.numbers, high = view->ranks;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const pm_filter_key key = string_of(view, middle);
        const size_t both = key.size < value->size ? key.size : value->size;
        if (both == 0 || memcmp(key.data, value->data, both) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- soundness ---- */

/* Whether `bytes` from `at` on are within `length`. */
static bool is_within(uint64_t at, uint64_t bytes, uint64_t length)
{
    return at <= length && bytes <= length - at;
}

/* Without a branch in them, these loops are as fast as memory. */
static bool are_below(const uint32_t *rows, uint64_t count, uint64_t below)
{
    uint32_t most = 0;
    for (uint64_t i = 0; i < count; i++)
        most = rows[i] > most ? rows[i] : most;
    return count == 0 || most < below;
}

/* How many do not ascend from the one before them. */
static uint64_t count_descents(const uint32_t *rows, uint64_t count)
{
    uint64_t descents = 0;
    for (uint64_t i = 1; i < count; i++)
        descents += rows[i] <= rows[i - 1];
    return descents;
}

/* Whether the rows of each rank ascend: as often as they do not, another rank begins. */
static bool ranks_ascend(const columns_view *view, uint64_t ranks)
{
    const uint32_t *rows = view->rows, *at = view->row_at;
    uint64_t descents = 0;
    for (uint64_t i = 1; i < ranks; i++)
        if (at[i] > at[i - 1] && at[i] < at[ranks]) descents += rows[at[i]] <= rows[at[i] - 1];
    return descents == count_descents(rows, at[ranks]) || PM_MUTANT(COLUMNS_IN_ANY_ORDER);
}

/* Whether they begin with 0, never descend, and end at most at `most`. */
static bool are_places(const uint32_t *places, uint64_t count, uint64_t most)
{
    uint32_t descents = 0;
    for (uint64_t i = 1; i < count; i++)
        descents |= places[i] < places[i - 1];
    return places[0] == 0 && descents == 0 && places[count - 1] <= most;
}

static bool digits_are_within(const columns_view *view)
{
    const uint64_t length = view->facts.text_bytes;
    for (uint64_t i = 0; i < view->facts.numbers && view->facts.form == COLUMNS_DECIMALS; i++) {
        columns_decimal decimal;
        memcpy(&decimal, view->numbers + i * sizeof decimal, sizeof decimal);
        if (decimal.digits_at == COLUMNS_NO_DIGITS) continue;
        if (!is_within(decimal.digits_at, 1, length) ||
            !is_within((uint64_t)decimal.digits_at + 1, (uint8_t)view->texts[decimal.digits_at], length))
            return false;
    }
    return true;
}

static bool dictionary_is_sound(const pm_columns *columns, const columns_dictionary *dictionary)
{
    const uint64_t *length = columns->length;
    if (dictionary->form >= COLUMNS_FORMS || columns_ranks(dictionary) > UINT32_MAX - COLUMNS_LINE) return false;
    if (dictionary->numbers_at % 8 != 0 ||
        !is_within(dictionary->numbers_at, dictionary->numbers * columns_number_bytes(dictionary),
                   length[COLUMNS_NUMBERS]) ||
        !is_within(dictionary->texts_at, dictionary->text_bytes, length[COLUMNS_TEXTS]) ||
        !is_within(dictionary->places_at, columns_places(dictionary), length[COLUMNS_PLACES] / 4) ||
        !is_within(dictionary->rows_at, 0, length[COLUMNS_ROWS] / 4))
        return false;
    const columns_view view = columns_read_view(columns, dictionary);
    const uint64_t ranks = view.ranks + RANKS_BEHIND;
    if (!are_places(view.string_at, (uint64_t)dictionary->strings + 1, dictionary->text_bytes) ||
        !are_places(view.row_at, ranks + 1, length[COLUMNS_ROWS] / 4 - dictionary->rows_at) ||
        !digits_are_within(&view))
        return false;
    return are_below(view.rows, view.row_at[ranks], columns->rows) && ranks_ascend(&view, ranks);
}

static bool ranks_are_sound(const pm_columns *columns, const columns_column *column)
{
    const uint64_t missing = columns_ranks(&column->values) + RANK_MISSING;
    const uint32_t width = column->width;
    if (width == 0) return true;
    if ((width != 1 && width != 2 && width != 4) || column->ranks_at % COLUMNS_LINE != 0 ||
        !is_within(column->ranks_at, columns->rows * width, columns->length[COLUMNS_RANKS]))
        return false;
    const void *ranks = base_of(columns, COLUMNS_RANKS) + column->ranks_at;
    if (width == 4) return are_below(ranks, columns->rows, missing + 1);
    uint16_t most = 0;
    for (uint64_t row = 0; width == 1 && row < columns->rows; row++)
        most = ((const uint8_t *)ranks)[row] > most ? ((const uint8_t *)ranks)[row] : most;
    for (uint64_t row = 0; width == 2 && row < columns->rows; row++)
        most = ((const uint16_t *)ranks)[row] > most ? ((const uint16_t *)ranks)[row] : most;
    return most <= missing;
}

static bool model_is_sound(const pm_columns *columns)
{
    const uint64_t *length = columns->length;
    for (uint32_t i = 0; i < PM_COLUMNS_SECTIONS; i++)
        if ((uintptr_t)columns->section[i] % COLUMNS_LINE != 0 || (length[i] > 0 && columns->section[i] == NULL))
            return false;
    if (length[COLUMNS_MODEL] != sizeof(columns_model) || columns->rows > PM_COLUMNS_MOST_ROWS) return false;
    const columns_model model = read_model(columns);
    const uint64_t rows = length[COLUMNS_ROWS] / 4;
    return model.version == PM_COLUMNS_VERSION && model.rows == columns->rows && model.columns <= PM_COLUMNS_MOST &&
           length[COLUMNS_TABLE] == model.columns * sizeof(columns_column) && model.open <= rows &&
           model.residual <= rows - model.open &&
           are_below(words_of(columns, COLUMNS_ROWS), model.open + model.residual, columns->rows) &&
           count_descents(words_of(columns, COLUMNS_ROWS), model.open) == 0 &&
           count_descents(words_of(columns, COLUMNS_ROWS) + model.open, model.residual) == 0;
}

bool pm_columns_is_sound(const pm_columns *columns)
{
    if (!model_is_sound(columns)) return false;
    pm_filter_key before = {0};
    for (uint32_t i = 0; i < read_model(columns).columns; i++) {
        const columns_column column = columns_read_column(columns, i);
        if (!is_within(column.name_at, column.name_size, columns->length[COLUMNS_TEXTS])) return false;
        const pm_filter_key name = name_of(columns, &column);
        if (i > 0 && pm_filter_order_keys(&before, &name) >= 0) return false;
        if (!dictionary_is_sound(columns, &column.values) || !dictionary_is_sound(columns, &column.elements) ||
            !ranks_are_sound(columns, &column))
            return false;
        before = name;
    }
    return true;
}
