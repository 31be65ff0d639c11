/* SPDX-License-Identifier: Apache-2.0 */
/* From documents to the sections of docs/format/columns.md. */
#include <string.h>

#include "index/columns/columns_int.h"

enum { STEP = 1 << 15, BATCH = 1 << 12 };

pomai_status pm_columns_begin(uint64_t rows, size_t most, bool (*go_on)(void *context), void *context,
                              pm_columns_builder **out)
{
    *out = NULL;
    if (rows > PM_COLUMNS_MOST_ROWS) return POMAI_ETOOBIG;
    pm_columns_builder *builder = pm_calloc(1, sizeof *builder);
    if (builder == NULL) return POMAI_ENOMEM;
    builder->rows = rows;
    builder->most = most;
    builder->go_on = go_on;
    builder->context = context;
    builder->seed = pm_mix64((uintptr_t)builder); /* of hashes, which a document must not foresee */
    const size_t words = (size_t)(rows + 63) / 64;
    size_t found = 0, residual = 0;
    if (columns_reserve(builder, &builder->paths, &builder->paths_room, 1, sizeof *builder->paths) &&
        columns_reserve(builder, &builder->found, &found, PM_COLUMNS_MOST_VALUES, sizeof *builder->found) &&
        columns_reserve(builder, &builder->open, &builder->bits_room, words, sizeof *builder->open) &&
        columns_reserve(builder, &builder->residual, &residual, words, sizeof *builder->residual)) {
        builder->paths[0] = (columns_path){0};
        builder->path_count = 1;
        if (words > 0) memset(builder->open, 0, words * sizeof *builder->open);
        if (words > 0) memset(builder->residual, 0, words * sizeof *builder->residual);
        *out = builder;
        return POMAI_OK;
    }
    const pomai_status status = builder->status;
    pm_columns_end(builder);
    return status;
}

void pm_columns_end(pm_columns_builder *builder)
{
    if (builder == NULL) return;
    for (size_t i = 0; i < builder->path_count; i++) {
        columns_store *elements = builder->paths[i].elements;
        columns_store_free(builder, &builder->paths[i].values);
        if (elements != NULL) columns_store_free(builder, elements);
        pm_free(elements);
    }
    pm_free(builder->paths);
    pm_free(builder->path_table);
    pm_free(builder->texts);
    pm_free(builder->found);
    pm_free(builder->open);
    pm_free(builder->residual);
    pm_free(builder->chosen);
    pm_free(builder->columns);
    pm_free(builder);
}

static void set_bit(uint64_t *bits, uint64_t row)
{
    bits[row / 64] |= UINT64_C(1) << row % 64;
}

/* ---- documents ---- */

static bool put_array(pm_columns_builder *builder, columns_path *path, uint32_t row, const columns_found *found)
{
    if (path->elements == NULL) {
        if (sizeof *path->elements > builder->most - builder->used)
            builder->status = POMAI_ETOOBIG;
        else if ((path->elements = pm_calloc(1, sizeof *path->elements)) == NULL)
            builder->status = POMAI_ENOMEM;
        if (builder->status != POMAI_OK) return false;
        builder->used += sizeof *path->elements;
    }
    const uint32_t kind = columns_put_elements(builder, path->elements, row, found);
    return kind != KIND_VALUES && columns_put_kind(builder, &path->values, row, kind);
}

pomai_status pm_columns_add(pm_columns_builder *builder, const void *document, size_t size)
{
    if (builder->status != POMAI_OK) return builder->status;
    if (builder->added == builder->rows || builder->finished) return POMAI_EINVAL;
    const uint32_t row = (uint32_t)builder->added;
    if (!columns_work(builder, size + 64)) return builder->status;
    if (size > 0 && columns_read_document(builder, document, size)) {
        if (builder->is_open)
            set_bit(builder->open, row);
        else if (builder->is_residual)
            set_bit(builder->residual, row);
    }
    for (size_t i = 0; i < builder->found_count && builder->status == POMAI_OK; i++) {
        const columns_found *found = &builder->found[i];
        columns_path *path = &builder->paths[found->path];
        if (*found->at == '[')
            (void)put_array(builder, path, row, found);
        else if (*found->at == '{')
            (void)columns_put_kind(builder, &path->values, row, KIND_OBJECT);
        else
            (void)columns_put_scalar(builder, &path->values, row, found);
    }
    builder->found_count = 0;
    builder->added++;
    return builder->status;
}

/* ---- which paths are columns ---- */

/* Most rows first, then those that were met first. */
static bool is_before(const pm_columns_builder *builder, uint32_t a, uint32_t b)
{
    const size_t x = builder->paths[a].values.record_count, y = builder->paths[b].values.record_count;
    return x != y ? x > y : a < b;
}

static void sift(const pm_columns_builder *builder, size_t at)
{
    uint32_t *heap = builder->chosen; /* the last one on top */
    for (size_t child; (child = 2 * at + 1) < builder->column_count; at = child) {
        if (child + 1 < builder->column_count && is_before(builder, heap[child], heap[child + 1])) child++;
        if (is_before(builder, heap[child], heap[at])) break;
        const uint32_t swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static int order_names(const pm_columns_builder *builder, uint32_t a, uint32_t b)
{
    const columns_path *x = &builder->paths[a], *y = &builder->paths[b];
    const pm_filter_key left = {builder->texts + x->text_at, x->text_size};
    const pm_filter_key right = {builder->texts + y->text_at, y->text_size};
    return pm_filter_order_keys(&left, &right);
}

/* A path that is no column makes its rows residual. */
static void drop_path(pm_columns_builder *builder, columns_path *path)
{
    for (size_t i = 0; i < path->values.record_count; i++)
        set_bit(builder->residual, path->values.records[i].row);
    columns_store_free(builder, &path->values);
    if (path->elements != NULL) columns_store_free(builder, path->elements);
}

static bool choose(pm_columns_builder *builder)
{
    if (!columns_reserve(builder, &builder->chosen, &builder->chosen_room, PM_COLUMNS_MOST, sizeof *builder->chosen))
        return false;
    uint32_t *chosen = builder->chosen;
    for (uint32_t i = 1; i < builder->path_count; i++) {
        uint32_t dropped = i;
        if (builder->paths[i].values.record_count == 0) continue; /* left by a document that failed */
        if (builder->column_count < PM_COLUMNS_MOST) {
            chosen[builder->column_count++] = i;
            for (size_t at = builder->column_count; builder->column_count == PM_COLUMNS_MOST && at > 0; at--)
                sift(builder, at - 1);
            continue;
        }
        if (is_before(builder, i, chosen[0])) {
            dropped = chosen[0];
            chosen[0] = i;
            sift(builder, 0);
        }
        drop_path(builder, &builder->paths[dropped]);
        if (!columns_work(builder, STEP / 64)) return false;
    }
    for (size_t i = 1; i < builder->column_count; i++) { /* 1,024 names */
        const uint32_t path = chosen[i];
        size_t low = 0, high = i;
        while (low < high) {
            const size_t middle = (low + high) / 2;
            if (order_names(builder, path, chosen[middle]) < 0)
                high = middle;
            else
                low = middle + 1;
        }
        memmove(chosen + low + 1, chosen + low, (i - low) * sizeof *chosen);
        chosen[low] = path;
    }
    return true;
}

/* ---- one path alone ---- */

void pm_columns_only(pm_columns_builder *builder, const char *path, size_t size)
{
    builder->only = path;
    builder->only_size = size;
}

/* NULL: no document has it. */
static columns_store *store_of_only(const pm_columns_builder *builder)
{
    for (size_t i = 1; i < builder->path_count; i++) {
        columns_path *path = &builder->paths[i];
        if (path->text_size == builder->only_size &&
            memcmp(builder->texts + path->text_at, builder->only, builder->only_size) == 0)
            return &path->values;
    }
    return NULL;
}

pomai_status pm_columns_order(pm_columns_builder *builder, uint32_t *rank, uint64_t *ranks)
{
    if (builder->status != POMAI_OK) return builder->status;
    if (builder->finished) return POMAI_EINVAL;
    builder->finished = true;
    columns_store *store = store_of_only(builder);
    if (store != NULL) columns_store_unhash(builder, store);
    if (store != NULL && !columns_sort(builder, store)) return builder->status;
    const uint32_t missing = store == NULL ? 0 : RANK_NUMBERS + (uint32_t)store->value_count + RANK_MISSING;
    *ranks = (uint64_t)missing + 1;
    for (uint64_t row = 0; row < builder->rows; row++)
        rank[row] = missing;
    for (size_t i = 0; store != NULL && i < store->record_count; i++)
        rank[store->records[i].row] = store->records[i].id;
    return POMAI_OK;
}

/* ---- where everything lies ---- */

static uint64_t count_bits(const uint64_t *bits, uint64_t rows)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < (rows + 63) / 64; i++)
        count += (unsigned)__builtin_popcountll(bits[i]);
    return count;
}

/* Whether a number is whole and fits. */
static bool to_int64(const columns_value *value, int64_t *out)
{
    const int64_t exponent =
        value->head < COLUMNS_ZERO ? 0x40000000 - (int64_t)value->head : (int64_t)value->head - 0xc0000000;
    *out = 0;
    if (value->head == COLUMNS_ZERO) return true;
    if (exponent < 1 || exponent > COLUMNS_LEAD_DIGITS || value->text_size > 0) return false;
    uint64_t whole = value->lead;
    for (int64_t i = exponent; i < COLUMNS_LEAD_DIGITS; i++) {
        if (whole % 10 != 0) return false;
        whole /= 10;
    }
    const bool negative = value->head < COLUMNS_ZERO;
    if (whole > (uint64_t)INT64_MAX + negative) return false;
    *out = negative ? (int64_t)(0 - whole) : (int64_t)whole;
    return true;
}

static bool place_dictionary(pm_columns_builder *builder, const columns_store *store, columns_dictionary *dictionary)
{
    uint64_t *length = builder->length;
    uint64_t texts = 0;
    *dictionary = (columns_dictionary){.numbers_at = length[COLUMNS_NUMBERS],
                                       .texts_at = length[COLUMNS_TEXTS],
                                       .places_at = length[COLUMNS_PLACES] / 4,
                                       .rows_at = length[COLUMNS_ROWS] / 4,
                                       .form = COLUMNS_INT64};
    for (size_t i = 0; i < store->value_count; i++) {
        const columns_value *value = &store->values[i];
        int64_t whole;
        texts += value->text_size + (uint64_t)(value->head != 0 && value->text_size > 0);
        if (value->head != 0 && !to_int64(value, &whole)) dictionary->form = COLUMNS_DECIMALS;
        if (i % STEP == STEP - 1 && !columns_work(builder, STEP)) return false;
    }
    dictionary->numbers = store->numbers;
    dictionary->strings = (uint32_t)(store->value_count - store->numbers);
    dictionary->text_bytes = (uint32_t)texts;
    if (texts >= UINT32_MAX) builder->status = POMAI_ETOOBIG;
    length[COLUMNS_NUMBERS] += dictionary->numbers * columns_number_bytes(dictionary);
    length[COLUMNS_TEXTS] += texts;
    length[COLUMNS_PLACES] += 4 * columns_places(dictionary);
    length[COLUMNS_ROWS] += 4 * (uint64_t)store->record_count;
    return columns_work(builder, 64);
}

static void place_ranks(pm_columns_builder *builder, const columns_store *store, columns_column *column)
{
    column->ranks_at = builder->length[COLUMNS_RANKS];
    if (store->record_count == 0 || store->record_count < (builder->rows + COLUMNS_SPARSE - 1) / COLUMNS_SPARSE) return;
    const uint64_t missing = columns_ranks(&column->values) + RANK_MISSING;
    column->width = missing <= UINT8_MAX ? 1 : missing <= UINT16_MAX ? 2 : 4;
    builder->length[COLUMNS_RANKS] += pm_align_up(builder->rows * column->width, COLUMNS_LINE);
}

/* The store of a path's elements, or one that is empty. */
static const columns_store *elements_of(const columns_path *path)
{
    static const columns_store none;
    return path->elements != NULL ? path->elements : &none;
}

static bool place_columns(pm_columns_builder *builder)
{
    uint64_t *length = builder->length;
    const size_t count = builder->column_count;
    if (!columns_reserve(builder, &builder->columns, &builder->columns_room, count, sizeof *builder->columns))
        return false;
    for (size_t i = 0; i < count; i++) {
        const columns_path *path = &builder->paths[builder->chosen[i]];
        builder->columns[i] = (columns_column){.name_at = length[COLUMNS_TEXTS], .name_size = path->text_size};
        length[COLUMNS_TEXTS] += path->text_size;
    }
    for (size_t i = 0; i < count; i++) {
        const columns_path *path = &builder->paths[builder->chosen[i]];
        columns_column *column = &builder->columns[i];
        if (!place_dictionary(builder, &path->values, &column->values) ||
            !place_dictionary(builder, elements_of(path), &column->elements))
            return false;
        place_ranks(builder, &path->values, column);
    }
    return true;
}

static bool sort_all(pm_columns_builder *builder)
{
    columns_release(builder, &builder->path_table, &builder->path_table_size, sizeof *builder->path_table);
    for (size_t i = 0; i < builder->path_count; i++) {
        columns_path *path = &builder->paths[i];
        columns_store_unhash(builder, &path->values);
        if (path->elements != NULL) columns_store_unhash(builder, path->elements);
    }
    for (size_t i = 0; i < builder->column_count; i++) {
        columns_path *path = &builder->paths[builder->chosen[i]];
        if (!columns_sort(builder, &path->values)) return false;
        if (path->elements != NULL && !columns_sort(builder, path->elements)) return false;
    }
    return true;
}

pomai_status pm_columns_finish(pm_columns_builder *builder, uint64_t length[PM_COLUMNS_SECTIONS])
{
    if (builder->status != POMAI_OK) return builder->status;
    if (builder->finished) return POMAI_EINVAL;
    builder->finished = true;
    if (!choose(builder) || !sort_all(builder)) return builder->status;
    for (uint64_t i = 0; i < (builder->rows + 63) / 64; i++)
        builder->residual[i] &= ~builder->open[i];
    builder->length[COLUMNS_MODEL] = sizeof(columns_model);
    builder->length[COLUMNS_TABLE] = builder->column_count * sizeof(columns_column);
    builder->length[COLUMNS_ROWS] =
        4 * (count_bits(builder->open, builder->rows) + count_bits(builder->residual, builder->rows));
    if (place_columns(builder)) memcpy(length, builder->length, sizeof builder->length);
    return builder->status;
}

/* ---- writing ---- */

/* What is written goes through memory of a column at most: `words` has room for its places and rows or ranks. */
struct writer {
    pm_columns_builder *builder;
    const pm_index_sink *sink;
    uint32_t *words;
    size_t room;
};

static bool append(const struct writer *writer, uint32_t section, const void *data, size_t bytes)
{
    pm_columns_builder *builder = writer->builder;
    if (bytes > 0 && builder->status == POMAI_OK && !writer->sink->append(writer->sink->context, section, data, bytes))
        builder->status = POMAI_EDEADLINE;
    return columns_work(builder, bytes / 16);
}

static bool reserve(struct writer *writer, size_t words)
{
    return columns_reserve(writer->builder, &writer->words, &writer->room, words, sizeof *writer->words);
}

static bool write_bits(struct writer *writer, const uint64_t *bits)
{
    size_t count = 0;
    for (uint64_t row = 0; row < writer->builder->rows; row++) {
        if ((bits[row / 64] >> row % 64 & 1) != 0) writer->words[count++] = (uint32_t)row;
        if (count < BATCH && row + 1 < writer->builder->rows) continue;
        if (!append(writer, COLUMNS_ROWS, writer->words, count * 4)) return false;
        count = 0;
    }
    return true;
}

static bool write_front(struct writer *writer)
{
    pm_columns_builder *builder = writer->builder;
    columns_model model = {.version = PM_COLUMNS_VERSION,
                           .columns = (uint32_t)builder->column_count,
                           .rows = builder->rows,
                           .open = count_bits(builder->open, builder->rows),
                           .residual = count_bits(builder->residual, builder->rows)};
    for (size_t i = 0; i < builder->column_count; i++) {
        const columns_column *column = &builder->columns[i];
        model.values += (uint64_t)column->values.numbers + column->values.strings;
        model.values += (uint64_t)column->elements.numbers + column->elements.strings;
    }
    if (!append(writer, COLUMNS_MODEL, &model, sizeof model) ||
        !append(writer, COLUMNS_TABLE, builder->columns, builder->column_count * sizeof *builder->columns))
        return false;
    for (size_t i = 0; i < builder->column_count; i++) {
        const columns_path *path = &builder->paths[builder->chosen[i]];
        if (!append(writer, COLUMNS_TEXTS, builder->texts + path->text_at, path->text_size)) return false;
    }
    return reserve(writer, BATCH) && write_bits(writer, builder->open) && write_bits(writer, builder->residual);
}

static bool write_numbers(struct writer *writer, const columns_store *store, const columns_dictionary *dictionary)
{
    union {
        int64_t whole[BATCH];
        columns_decimal decimal[BATCH];
    } batch;
    uint32_t digits = 0, count = 0;
    for (uint32_t i = 0; i < dictionary->strings; i++)
        digits += store->values[store->order[dictionary->numbers + i]].text_size;
    for (uint32_t i = 0; i < dictionary->numbers; i++) {
        const columns_value *value = &store->values[store->order[i]];
        if (dictionary->form == COLUMNS_INT64) {
            (void)to_int64(value, &batch.whole[count++]);
        } else {
            const bool has = value->text_size > 0;
            batch.decimal[count++] = (columns_decimal){value->lead, value->head, has ? digits : COLUMNS_NO_DIGITS};
            digits += has ? value->text_size + 1u : 0;
        }
        if (count < BATCH && i + 1 < dictionary->numbers) continue;
        if (!append(writer, COLUMNS_NUMBERS, &batch, count * columns_number_bytes(dictionary))) return false;
        count = 0;
    }
    return true;
}

/* Strings, then further digits. */
static bool write_texts(struct writer *writer, const columns_store *store, const columns_dictionary *dictionary)
{
    char batch[BATCH];
    size_t size = 0;
    for (size_t i = 0; i < store->value_count; i++) {
        const bool number = i >= dictionary->strings;
        const size_t at = number ? i - dictionary->strings : dictionary->numbers + i;
        const columns_value *value = &store->values[store->order[at]];
        if (sizeof batch - size < PM_COLUMNS_MOST_STRING + 1) {
            if (!append(writer, COLUMNS_TEXTS, batch, size)) return false;
            size = 0;
        }
        if (value->text_size == 0) continue;
        if (number) batch[size++] = (char)value->text_size;
        memcpy(batch + size, store->bytes + value->text_at, value->text_size);
        size += value->text_size;
    }
    return append(writer, COLUMNS_TEXTS, batch, size);
}

/* Where strings begin, where the rows of each rank do, and these. */
static bool write_rows(struct writer *writer, const columns_store *store, const columns_dictionary *dictionary)
{
    const size_t strings = dictionary->strings, ranks = columns_ranks(dictionary) + RANKS_BEHIND;
    if (!reserve(writer, strings + 1 + ranks + 1 + store->record_count)) return false;
    uint32_t *string_at = writer->words, *row_at = string_at + strings + 1, *rows = row_at + ranks + 1;
    string_at[0] = 0;
    for (size_t i = 0; i < strings; i++)
        string_at[i + 1] = string_at[i] + store->values[store->order[dictionary->numbers + i]].text_size;
    memset(row_at, 0, (ranks + 1) * sizeof *row_at);
    for (size_t i = 0; i < store->record_count; i++) {
        row_at[store->records[i].id + 1]++;
        if (i % STEP == STEP - 1 && !columns_work(writer->builder, STEP)) return false;
    }
    for (size_t i = 0; i < ranks; i++)
        row_at[i + 1] += row_at[i];
    if (!append(writer, COLUMNS_PLACES, string_at, (strings + 1 + ranks + 1) * 4)) return false;
    for (size_t i = 0; i < store->record_count; i++) {
        rows[row_at[store->records[i].id]++] = store->records[i].row;
        if (i % STEP == STEP - 1 && !columns_work(writer->builder, STEP)) return false;
    }
    for (size_t i = 0, end; i < store->record_count; i = end) {
        end = store->record_count - i > STEP ? i + STEP : store->record_count;
        if (!append(writer, COLUMNS_ROWS, rows + i, (end - i) * 4)) return false;
    }
    return true;
}

static bool write_ranks(struct writer *writer, const columns_store *store, const columns_column *column)
{
    const uint32_t width = column->width, missing = (uint32_t)columns_ranks(&column->values) + RANK_MISSING;
    const uint64_t rows = writer->builder->rows;
    if (width == 0) return true;
    if (!reserve(writer, BATCH)) return false;
    size_t next = 0;
    for (uint64_t row = 0; row < rows; row += BATCH) {
        const size_t n = (size_t)pm_min_u64(BATCH, rows - row);
        const size_t bytes = n * width, all = n < BATCH ? (size_t)pm_align_up(bytes, COLUMNS_LINE) : bytes;
        uint8_t *ranks = (uint8_t *)writer->words;
        memset(ranks + bytes, 0, all - bytes);
        for (size_t i = 0; i < n; i++) {
            uint32_t rank = missing; /* its low bytes come first */
            if (next < store->record_count && store->records[next].row == row + i) rank = store->records[next++].id;
            memcpy(ranks + i * width, &rank, width);
        }
        if (!columns_work(writer->builder, n) || !append(writer, COLUMNS_RANKS, ranks, all)) return false;
    }
    return true;
}

static bool write_dictionary(struct writer *writer, const columns_store *store, const columns_dictionary *dictionary)
{
    return write_numbers(writer, store, dictionary) && write_texts(writer, store, dictionary) &&
           write_rows(writer, store, dictionary);
}

pomai_status pm_columns_write(pm_columns_builder *builder, const pm_index_sink *sink)
{
    struct writer writer = {.builder = builder, .sink = sink};
    if (builder->status != POMAI_OK) return builder->status;
    if (!builder->finished) return POMAI_EINVAL;
    bool good = write_front(&writer);
    for (size_t i = 0; i < builder->column_count && good; i++) {
        columns_path *path = &builder->paths[builder->chosen[i]];
        const columns_column *column = &builder->columns[i];
        good = write_dictionary(&writer, &path->values, &column->values) &&
               write_dictionary(&writer, elements_of(path), &column->elements) &&
               write_ranks(&writer, &path->values, column);
    }
    columns_release(builder, &writer.words, &writer.room, sizeof *writer.words);
    return builder->status;
}
