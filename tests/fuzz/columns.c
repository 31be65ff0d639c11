/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte chooses. Even: a filter in the first line, then documents, a line each: what columns say, in bits and
 * in lists of few rows, is what pm_filter_matches does, but for open rows. Odd: the same, and behind a line that is
 * empty places and bytes of the sections that are forged: if they are called sound, no filter leads outside.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/columns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_ROWS = 300, MOST_MEMORY = 64 << 20 };

static void must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* The next line; NULL: there is none. */
static const uint8_t *next_line(const uint8_t **at, const uint8_t *end, size_t *size)
{
    const uint8_t *line = *at, *feed = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    if (line >= end) return NULL;
    *size = (size_t)((feed != NULL ? feed : end) - line);
    *at = line + *size + 1;
    return line;
}

/* In memory of its own size. */
static void *copied(const void *bytes, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1);
    must(copy != NULL, "memory");
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

struct set {
    char *documents[MOST_ROWS];
    size_t sizes[MOST_ROWS];
    size_t rows;
};

/* The rows of a list that has room for `room` are within the segment; and, of sound columns, all that match. */
static void list(const pm_columns_plan *plan, const pm_filter *filter, void *scratch, const struct set *set,
                 uint32_t room, bool forged, uint64_t wanted)
{
    uint32_t *rows = malloc(room * sizeof *rows), count = 0;
    bool *open = malloc(room), over = false;
    uint64_t matches = 0;
    must(rows != NULL && open != NULL, "memory");
    const bool listed = pm_columns_rows(plan, room, rows, open, &count, NULL, NULL, &over);
    must(!over && (!listed || count <= room), "more rows than there is room for");
    for (uint32_t i = 0; listed && i < count; i++) {
        must(rows[i] < set->rows, "a row that is none");
        if (forged) continue;
        must(i == 0 || rows[i - 1] < rows[i], "rows that are not in order");
        const bool does = pm_filter_matches(filter, scratch, set->documents[rows[i]], set->sizes[rows[i]]);
        must(open[i] || does, "a row is not what its document says");
        matches += does;
    }
    must(!listed || forged || matches == wanted, "a row that matches is not in the list");
    free(rows);
    free(open);
}

static void compare(const pm_columns *columns, const pm_filter *filter, const struct set *set, bool forged)
{
    const pm_simd *levels[8];
    const size_t nlevels = pm_simd_levels(levels, 8), words = (set->rows + 63) / 64;
    uint64_t *match = malloc(words * 8 + 1), *open = malloc(words * 8 + 1), least, most, count = 0;
    void *scratch = malloc(pm_filter_scratch_size(filter));
    bool any, over = false;
    pm_columns_plan *plan = pm_columns_plan_make(columns, filter, levels[set->rows % nlevels], NULL, NULL, &over);
    must(plan != NULL && scratch != NULL && !over, "a plan");
    must(match != NULL && open != NULL, "memory");
    memset(match, 0, words * 8);
    for (size_t i = 0; i < set->rows; i++)
        match[i / 64] |= UINT64_C(1) << i % 64;
    must(pm_columns_match(plan, match, open, &any, NULL, NULL, &over) && !over, "matching");
    pm_columns_plan_bounds(plan, &least, &most);
    for (size_t i = 0; i < set->rows && !forged; i++) {
        const bool does = pm_filter_matches(filter, scratch, set->documents[i], set->sizes[i]);
        const bool is = (match[i / 64] >> i % 64 & 1) != 0, is_open = (open[i / 64] >> i % 64 & 1) != 0;
        must(is_open ? !is : is == does, "a row is not what its document says");
        count += does;
    }
    must(forged || (least <= count && count <= most), "bounds that are none");
    for (uint32_t room = 1; room <= 512; room *= 8) /* the last is more than there are rows */
        list(plan, filter, scratch, set, room, forged, count);
    pm_text text = {0};
    pm_columns_explain(plan, &text);
    pm_free(text.data);
    pm_columns_plan_free(plan);
    free(scratch);
    free(match);
    free(open);
}

/* Six bytes each: section, a place of three, a byte, and whether it is set or added. */
static void forge(struct t_columns *built, const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 6; at += 6) {
        const size_t section = at[0] % PM_COLUMNS_SECTIONS, length = (size_t)built->columns.length[section];
        const size_t place = (size_t)at[1] | (size_t)at[2] << 8 | (size_t)at[3] << 16;
        if (length == 0) continue;
        uint8_t *byte = &built->at[section][place % length];
        *byte = (uint8_t)(at[5] % 2 == 0 ? at[4] : *byte + at[4]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct set set;
    struct t_columns built;
    pm_filter *filter;
    size_t filter_size, line_size;
    if (size < 2) return 0;
    const bool forged = data[0] % 2 == 1;
    const uint8_t *at = data + 1, *end = data + size, *text = next_line(&at, end, &filter_size);
    if (text == NULL || pm_filter_parse((const char *)text, filter_size, &filter, NULL) != POMAI_OK) return 0;
    set.rows = 0;
    for (const uint8_t *line; set.rows < MOST_ROWS && (line = next_line(&at, end, &line_size)) != NULL; set.rows++) {
        if (forged && line_size == 0) break;
        set.documents[set.rows] = copied(line, line_size);
        set.sizes[set.rows] = line_size;
    }
    must(t_columns_build(&built, set.documents, set.sizes, set.rows, MOST_MEMORY) == POMAI_OK, "building");
    must(pm_columns_is_sound(&built.columns), "what was built is not sound");
    compare(&built.columns, filter, &set, false);
    if (forged && at < end) {
        forge(&built, at, end);
        if (pm_columns_is_sound(&built.columns)) compare(&built.columns, filter, &set, true);
    }
    t_columns_free(&built);
    for (size_t i = 0; i < set.rows; i++)
        free(set.documents[i]);
    pm_filter_free(filter);
    return 0;
}
