/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns against pm_filter_matches: random documents and filters, row by row, at every level of the kernels; what rows
 * are left open; damage, which must not lead outside; limits; the truth table of docs/filter.md. --cases N: filters
 * that are tried at random (200,000); --seed S.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd/ranks.h"
#include "support/columns.h"
#include "support/levels.h"
#include "support/no_memory.h"

#define ENOUGH ((size_t)1 << 30)

static uint64_t wanted_cases = 200000;

/* ---- memory that is counted ---- */

static size_t live, peak;

static void *counted(void *memory, size_t size)
{
    size_t *block = memory;
    if (block == NULL) return NULL;
    *block = size;
    live += size;
    peak = live > peak ? live : peak;
    return block + 2;
}

static void *take_memory(size_t alignment, size_t size)
{
    if (alignment > 16) abort();
    if (fails_at > 0 && fails(size)) return NULL;
    return counted(malloc(size + 16), size);
}

static void give_memory(void *memory)
{
    if (memory == NULL) return;
    size_t *block = (size_t *)memory - 2;
    live -= *block;
    free(block);
}

/* As if it were copied: both are there for a moment. */
static void *resize_memory(void *memory, size_t size)
{
    void *copy = take_memory(16, size);
    if (memory == NULL || copy == NULL) return copy;
    const size_t before = ((size_t *)memory)[-2];
    memcpy(copy, memory, before < size ? before : size);
    give_memory(memory);
    return copy;
}

static const pm_memory memory_hook = {.take = take_memory, .resize = resize_memory, .give = give_memory};

/* ---- text ---- */

enum { MOST_TEXT = 1 << 16, MOST_DOCUMENTS = 3000 };
static char text[MOST_TEXT];
static size_t text_size;

static void put(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void put(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_size += (size_t)vsnprintf(text + text_size, sizeof text - text_size, format, args);
    va_end(args);
    assert_true(text_size < sizeof text);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* Plain bytes as a string of JSON, some as escapes. */
static void put_string(const char *bytes, size_t size)
{
    const unsigned escapes = chance(80) ? 0 : 20;
    put("\"");
    for (size_t i = 0; i < size; i++) {
        const char c = bytes[i];
        if (c == '"' || c == '\\' || (uint8_t)c < 0x20 || ((uint8_t)c < 0x80 && chance(escapes)))
            put("\\u%04x", (unsigned)c);
        else
            put("%c", c);
    }
    put("\"");
}

/* ---- documents ---- */

static const char *const keys[] = {"a", "b", "c", "d", "a.b", "$a", "", "a\\", "\xc3\xa9", "id", "tags", "text"};
enum { KEYS = sizeof keys / sizeof *keys };

static const char *const numbers[] = {"0",
                                      "-0",
                                      "0.0",
                                      "1",
                                      "1.0",
                                      "1e0",
                                      "10e-1",
                                      "2",
                                      "3",
                                      "-1",
                                      "-2.5",
                                      "0.1",
                                      "0.1000000000000000055",
                                      "9007199254740992",
                                      "9007199254740993",
                                      "9007199254740993.0",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "-9223372036854775808",
                                      "-9223372036854775809",
                                      "18446744073709551615",
                                      "1e400",
                                      "1e401",
                                      "10e399",
                                      "-1e400",
                                      "1e-400",
                                      "0e99999999999999999999",
                                      "123456789012345678901234567890",
                                      "123456789012345678901234567891",
                                      "-123456789012345678901234567890",
                                      "-12345678901234567890.1234567890",
                                      "1234567890123456789012345.5",
                                      "123456789012345678901234.55e1",
                                      "0.3333333333333333333333333",
                                      "0.33333333333333333333333333",
                                      "1e536870910",
                                      "1e18",
                                      "1e19",
                                      "100",
                                      "7e1"};
enum { NUMBERS = sizeof numbers / sizeof *numbers };
/* What columns do not store. */
static const char *const odd_numbers[] = {
    "1e536870912", "-1e99999999999999999999", "1e-600000000",
    "1."
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000"};

static bool is_odd;      /* the document that is drawn: columns may leave it open */
static unsigned variety; /* of the documents of a set: how many different values a path has */

static void put_number(bool operand)
{
    if (!operand && chance(1) && variety > 1) {
        is_odd = true;
        put("%s", odd_numbers[below(4)]);
        return;
    }
    switch (below(4)) {
    case 0:
        put("%s", numbers[below(NUMBERS)]);
        break;
    case 1:
        put("%s%u.%02u", chance(20) ? "-" : "", (unsigned)below(variety), (unsigned)below(100));
        break;
    default:
        put("%s%u", chance(10) ? "-" : "", (unsigned)below(variety));
        break;
    }
}

static size_t draw_string(char *bytes, bool operand)
{
    static const char *const some[] = {"",    "a",    "ab",   "abc", "b", "ba", "z", "\xc3\xa9", "\xf0\x9f\x98\x80",
                                       "a\n", "\x01", "shoes"};
    if (chance(60)) {
        const char *one = some[below(sizeof some / sizeof *some)];
        return (size_t)snprintf(bytes, 512, "%s", one);
    }
    if (chance(70)) return (size_t)snprintf(bytes, 512, "value %u", (unsigned)below(variety));
    size_t size = chance(50) ? 8 * below(17) : 120 + below(20);
    if (!operand && size > PM_COLUMNS_MOST_STRING) is_odd = true;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i + 3 < size ? 'x' : 'x' + below(2));
    if (size > 3 && chance(20)) bytes[size / 2] = '\0';
    return size;
}

static void put_scalar(bool operand)
{
    char bytes[512];
    switch (below(8)) {
    case 0:
        put("null");
        break;
    case 1:
        put(chance(50) ? "true" : "false");
        break;
    case 2:
    case 3:
    case 4:
        put_number(operand);
        break;
    default: {
        const size_t size = draw_string(bytes, operand);
        if (!operand && chance(2)) /* half of a surrogate pair */
            put(chance(50) ? "\"\\ud800\"" : "\"a\\udfff\"");
        else
            put_string(bytes, size);
        break;
    }
    }
}

static void put_object(unsigned depth);

static void put_array(unsigned depth)
{
    const size_t count = chance(2) ? 250 + below(12) : below(5);
    if (count > PM_COLUMNS_MOST_ELEMENTS) is_odd = true;
    put("[");
    for (size_t i = 0; i < count; i++) {
        put(i > 0 ? ", " : chance(10) ? " " : "");
        if (depth > 0 && chance(5))
            put_object(depth - 1);
        else if (depth > 0 && chance(5) && count < 10)
            put_array(depth - 1);
        else if (count > 10)
            put("%u", (unsigned)below(400));
        else
            put_scalar(false);
    }
    put("]");
}

static void put_value(unsigned depth)
{
    const size_t kind = below(20);
    if (depth > 0 && kind < 2)
        put_array(depth - 1);
    else if (depth > 0 && kind < 5)
        put_object(depth - 1);
    else
        put_scalar(false);
}

static void put_object(unsigned depth)
{
    uint32_t had = 0;
    const size_t count = below(7);
    put(chance(10) ? " {\n" : "{");
    for (size_t i = 0, n = 0; i < count; i++) {
        const size_t key = below(chance(80) ? 4 : KEYS);
        if ((had >> key & 1) != 0 && !chance(2)) continue;
        if ((had >> key & 1) != 0) is_odd = true;
        had |= 1u << key;
        put(n++ > 0 ? ", " : "");
        put_string(keys[key], strlen(keys[key]));
        put(": ");
        put_value(depth);
    }
    put("}");
}

static void put_document(void)
{
    is_odd = false;
    text_size = 0;
    if (chance(3)) return;
    if (chance(1)) { /* deep: beyond what paths can name, perhaps */
        const size_t depth = 30 + below(6);
        for (size_t i = 0; i < depth; i++)
            put("{\"a\": ");
        put_scalar(false);
        for (size_t i = 0; i < depth; i++)
            put("}");
        return;
    }
    if (chance(1))
        put_value(2);
    else
        put_object(4);
    if (chance(3)) { /* no JSON */
        if (chance(50))
            put("%c", "x,}]\""[below(5)]);
        else if (text_size > 0)
            text_size = below(text_size);
    }
}

/* ---- filters ---- */

static void put_path(void)
{
    char path[256];
    size_t size = 0;
    const size_t depth = chance(2) ? 28 + below(5) : chance(30) ? 2 + below(2) : 1;
    for (size_t k = 0; k < depth; k++) {
        const char *key = depth > 4 ? "a" : keys[below(chance(80) ? 4 : KEYS)];
        if (k > 0) path[size++] = '.';
        for (; *key != '\0'; key++) {
            if (*key == '.' || *key == '\\' || (*key == '$' && (k == 0 || chance(50)))) path[size++] = '\\';
            path[size++] = *key;
        }
    }
    put_string(path, size);
}

static void put_leaf(void)
{
    static const char *const ops[] = {"$eq", "$ne", "$contains", "$in", "$nin", "$gt", "$gte", "$lt", "$lte"};
    char bytes[512];
    put("{");
    put_path();
    const size_t op = below(12);
    if (op == 9) {
        put(": {\"$exists\": %s}", chance(50) ? "true" : "false");
    } else if (op == 10) {
        put(": {\"$starts_with\": ");
        const size_t size = draw_string(bytes, true);
        put_string(bytes, chance(50) && size > 0 && (uint8_t)bytes[0] < 0x80 ? 1 : size);
        put("}");
    } else if (op == 11) {
        put(": {\"$gte\": %u, \"$lt\": %u}", (unsigned)below(variety), (unsigned)below(variety));
    } else if (op > 4) {
        put(": {\"%s\": ", ops[op]);
        const size_t size = draw_string(bytes, true);
        if (chance(60))
            put_number(true);
        else
            put_string(bytes, size);
        put("}");
    } else if (op > 2) {
        put(": {\"%s\": [", ops[op]);
        const size_t count = below(chance(10) ? 60 : 5);
        for (size_t i = 0; i < count; i++) {
            put(i > 0 ? ", " : "");
            put_scalar(true);
        }
        put("]}");
    } else {
        put(": {\"%s\": ", ops[op]);
        put_scalar(true);
        put("}");
    }
    put("}");
}

static void put_filter(unsigned depth)
{
    const size_t kind = below(10), count = 1 + below(4);
    if (depth == 0 || kind < 4) {
        if (chance(2))
            put("{}");
        else
            put_leaf();
        return;
    }
    put("{\"%s\": ", kind < 6 ? "$and" : kind < 8 ? "$or" : "$not");
    if (kind >= 8) {
        put_filter(depth - 1);
    } else {
        put("[");
        for (size_t i = 0; i < count; i++) {
            put(i > 0 ? ", " : "");
            put_filter(depth - 1);
        }
        put("]");
    }
    put("}");
}

/* ---- a set of documents ---- */

static char *documents[MOST_DOCUMENTS];
static size_t sizes[MOST_DOCUMENTS];
static bool odd[MOST_DOCUMENTS];
static size_t rows;

static char *copied(const char *bytes, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

static void add_document(const char *bytes, size_t size)
{
    assert_true(rows < MOST_DOCUMENTS);
    documents[rows] = size > 0 ? copied(bytes, size) : NULL;
    odd[rows] = is_odd;
    sizes[rows++] = size;
}

static void forget_documents(void)
{
    while (rows > 0)
        free(documents[--rows]);
}

static void draw_documents(void)
{
    const size_t count = chance(5) ? 300 + below(1500) : below(chance(50) ? 200 : 20);
    variety = chance(50) ? 1 + (unsigned)below(8) : 10 + (unsigned)below(1000);
    for (size_t i = 0; i < count; i++) {
        put_document();
        add_document(text, text_size);
    }
}

static pm_filter *parsed(const char *filter, size_t size)
{
    pm_filter *out;
    pomai_error err = {0};
    if (pm_filter_parse(filter, size, &out, &err) != POMAI_OK) fail_msg("%.*s: %s", (int)size, filter, err.message);
    return out;
}

/* ---- the model ---- */

static uint64_t match[MOST_DOCUMENTS / 64 + 1], open_rows[MOST_DOCUMENTS / 64 + 1], mask[MOST_DOCUMENTS / 64 + 1];
static uint64_t opened, judged, matched, listed;

static bool bit(const uint64_t *bits, size_t row)
{
    return (bits[row / 64] >> row % 64 & 1) != 0;
}

static void draw_mask(void)
{
    const unsigned percent = (unsigned[]){100, 100, 50, 5, 1, 0}[below(6)];
    memset(mask, 0, sizeof mask);
    for (size_t i = 0; i < rows; i++)
        if (percent == 100 || chance(percent)) mask[i / 64] |= UINT64_C(1) << i % 64;
}

static bool is_leaf(const pm_filter_node *node)
{
    return node->op > PM_FILTER_NOT;
}

/* The same rows without a bit of every row, where that can be: those that match, and none that may not. */
static bool few_agree(const pm_columns_plan *plan, const pm_filter *filter, void *scratch)
{
    static uint32_t few[MOST_DOCUMENTS];
    static bool open[MOST_DOCUMENTS];
    const uint32_t room = (uint32_t)(rows == 0 || chance(50) ? rows : 1 + below(rows));
    uint32_t count = UINT32_MAX;
    bool over = false;
    if (!pm_columns_rows(plan, room, few, open, &count, NULL, NULL, &over)) return true;
    listed++;
    for (size_t i = 0, at = 0; i < rows; i++) {
        const bool does = pm_filter_matches(filter, scratch, documents[i], sizes[i]);
        const bool is = at < count && few[at] == i;
        if (does && !is) printf("row %zu of %zu is not among %u\n", i, rows, count);
        if (is && !open[at] && !does) printf("row %zu does not match\n", i);
        if ((does && !is) || (is && !open[at] && !does)) return false;
        at += is;
        if (i + 1 == rows && at != count) printf("%zu of %u rows in order\n", at, count);
        if (i + 1 == rows && at != count) return false;
    }
    return count <= room;
}

/* Compares all rows; false: something is wrong, and was said. */
static bool agrees(const pm_columns *columns, const pm_filter *filter, const pm_simd *simd)
{
    bool any = false, over = false, good = true;
    uint64_t least, most, truth = 0;
    void *scratch = malloc(pm_filter_scratch_size(filter));
    pm_columns_plan *plan = pm_columns_plan_make(columns, filter, simd, NULL, NULL, &over);
    assert_non_null(plan);
    memcpy(match, mask, sizeof match);
    memset(open_rows, 0xa5, sizeof open_rows);
    pm_columns_plan_bounds(plan, &least, &most);
    assert_true(pm_columns_match(plan, match, open_rows, &any, NULL, NULL, &over));
    assert_false(over);
    bool some = false;
    for (size_t i = 0; i < (rows + 63) / 64 * 64 && good; i++) {
        const bool is = bit(match, i), open = bit(open_rows, i);
        const bool does = i < rows && pm_filter_matches(filter, scratch, documents[i], sizes[i]);
        truth += does;
        some |= open;
        judged += bit(mask, i);
        opened += open;
        matched += is;
        good = bit(mask, i) ? (open ? !is && odd[i] : is == does) : !is && !open;
        if (!good)
            printf("row %zu: mask %d match %d open %d, truth %d, odd %d: %.*s\n", i, bit(mask, i), is, open, does,
                   odd[i], (int)sizes[i], documents[i] != NULL ? documents[i] : "");
    }
    if (good && (some != any || least > truth || truth > most || most > rows)) {
        printf("%llu <= %llu <= %llu, any open %d\n", (unsigned long long)least, (unsigned long long)truth,
               (unsigned long long)most, any);
        good = false;
    }
    if (good && is_leaf(pm_filter_root(filter)) && pm_columns_look(columns).open_rows == 0 && least != most) {
        bool all_plain = true;
        for (size_t i = 0; i < rows; i++)
            all_plain &= !odd[i];
        good = !all_plain;
        if (!good) printf("bounds of a leaf differ\n");
    }
    good = good && few_agree(plan, filter, scratch);
    pm_columns_plan_free(plan);
    free(scratch);
    return good;
}

static void one_set(uint64_t set_seed, size_t filters)
{
    struct t_columns built, again;
    cases_rng.state = set_seed;
    draw_documents();
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    assert_true(pm_columns_is_sound(&built.columns));
    if (chance(20)) {
        assert_int_equal(t_columns_build(&again, documents, sizes, rows, ENOUGH), POMAI_OK);
        for (size_t i = 0; i < PM_COLUMNS_SECTIONS; i++) {
            assert_true(again.columns.length[i] == built.columns.length[i]);
            if (built.columns.length[i] > 0)
                assert_memory_equal(again.at[i], built.at[i], (size_t)built.columns.length[i]);
        }
        t_columns_free(&again);
    }
    for (size_t i = 0; i < filters; i++, cases++) {
        text_size = 0;
        put_filter((unsigned)below(4));
        pm_filter *filter = parsed(text, text_size);
        draw_mask();
        const pm_simd *level = levels[below(nlevels)];
        if (!agrees(&built.columns, filter, level) && failures++ < 5)
            printf("  %s, set seed %llu, filter %zu: %.*s\n", level->name, (unsigned long long)set_seed, i,
                   (int)text_size, text);
        pm_filter_free(filter);
    }
    t_columns_free(&built);
    forget_documents();
}

static void rows_are_those_that_match(void **state)
{
    (void)state;
    struct t_rng sets = {.state = seed};
    begin();
    opened = judged = matched = listed = 0;
    for (uint64_t set = 0; cases < wanted_cases && failures < 5; set++)
        one_set(set == 0 ? seed : t_next(&sets) >> 16, 1 + t_below(&sets, 60));
    printf("  %llu rows judged, %llu matched, %llu open (%.3f%%)\n", (unsigned long long)judged,
           (unsigned long long)matched, (unsigned long long)opened, 100.0 * (double)opened / (double)judged);
    printf("  %llu filters answered by lists\n", (unsigned long long)listed);
    assert_true(listed > cases / 20);
    assert_true(judged < 1000000 || opened * 100 < judged * 3); /* of documents that are odd by intent */
    end("rows");
}

/* ---- the page ---- */

/* Cuts the next cell off; backticks are taken off. */
static char *cell(char **line, const char *until)
{
    char *begin = *line, *end = strstr(begin, until);
    assert_non_null(end);
    *end = '\0';
    *line = end + strlen(until);
    if (*begin != '`') return begin;
    end[-1] = '\0';
    return begin + 1;
}

/* All documents of the table as rows of one segment, each with all filters. */
static void the_truth_table(void **state)
{
    (void)state;
    static char line[4096], *filters[512];
    static bool expected[512];
    FILE *page = fopen(POMAI_SOURCE_DIR "/docs/filter.md", "r");
    struct t_columns built;
    begin();
    assert_non_null(page);
    while (fgets(line, sizeof line, page) != NULL && strncmp(line, "## Truth table", 14) != 0) {
    }
    is_odd = true;
    while (fgets(line, sizeof line, page) != NULL) {
        if (strncmp(line, "| ", 2) != 0 || strncmp(line, "| Document", 10) == 0) continue;
        char *at = line + 2, *document = cell(&at, " | "), *filter = cell(&at, " | ");
        expected[rows] = strcmp(cell(&at, " |"), "yes") == 0;
        filters[rows] = copied(filter, strlen(filter) + 1);
        add_document(document, strcmp(document, "none") == 0 ? 0 : strlen(document));
    }
    fclose(page);
    assert_true(rows > 150);
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    assert_true(pm_columns_is_sound(&built.columns));
    memset(mask, 0, sizeof mask);
    for (size_t i = 0; i < rows; i++)
        mask[i / 64] |= UINT64_C(1) << i % 64;
    for (size_t i = 0; i < rows; i++, cases++) {
        pm_filter *filter = parsed(filters[i], strlen(filters[i]));
        if (!agrees(&built.columns, filter, levels[i % nlevels])) failures++;
        if (!bit(open_rows, i) && bit(match, i) != expected[i]) failures++;
        pm_filter_free(filter);
        free(filters[i]);
    }
    t_columns_free(&built);
    forget_documents();
    end("truth table");
}

/* ---- limits ---- */

/* Rows that a filter matches for sure, and leaves open. */
static void count(const pm_columns *columns, const char *filter_text, size_t *sure, size_t *undecided)
{
    pm_filter *filter = parsed(filter_text, strlen(filter_text));
    bool any, over = false;
    pm_columns_plan *plan = pm_columns_plan_make(columns, filter, levels[nlevels - 1], NULL, NULL, &over);
    assert_non_null(plan);
    memset(match, 0, sizeof match);
    for (size_t i = 0; i < rows; i++)
        match[i / 64] |= UINT64_C(1) << i % 64;
    assert_true(pm_columns_match(plan, match, open_rows, &any, NULL, NULL, &over));
    *sure = *undecided = 0;
    for (size_t i = 0; i < rows; i++) {
        *sure += bit(match, i);
        *undecided += bit(open_rows, i);
    }
    assert_int_equal(any, *undecided > 0);
    pm_columns_plan_free(plan);
    pm_filter_free(filter);
}

static void expect(const pm_columns *columns, const char *filter, size_t sure, size_t undecided)
{
    size_t is_sure, is_undecided;
    count(columns, filter, &is_sure, &is_undecided);
    if (is_sure != sure || is_undecided != undecided) fail_msg("%s: %zu rows, %zu open", filter, is_sure, is_undecided);
}

/* before, `many` times what, after */
static void add_repeated(const char *before, const char *what, size_t many, const char *after)
{
    const size_t head = strlen(before), size = strlen(what), foot = strlen(after), all = head + many * size + foot;
    char *bytes = malloc(all);
    assert_non_null(bytes);
    memcpy(bytes, before, head);
    for (size_t i = 0; i < many; i++)
        memcpy(bytes + head + i * size, what, size);
    memcpy(bytes + head + many * size, after, foot);
    add_document(bytes, all);
    free(bytes);
}

static void add_numbered(size_t from, size_t count_of, const char *format, const char *end)
{
    char *bytes = malloc(count_of * 32 + 16), *p = bytes;
    assert_non_null(bytes);
    *p++ = '{';
    for (size_t i = 0; i < count_of; i++) {
        if (i > 0) *p++ = ',';
        p += sprintf(p, format, (unsigned)(from + i));
    }
    p += sprintf(p, "%s", end);
    add_document(bytes, (size_t)(p - bytes));
    free(bytes);
}

static void documents_at_the_limits(void **state)
{
    (void)state;
    struct t_columns built;
    is_odd = true;
    add_repeated("{\"a\": 1, \"deep\": ", "[", 1023, "");                  /* 0: no JSON */
    add_repeated("{\"a\": 1, \"b\":", "{\"a\":", 100000, "");              /* 1: no JSON */
    add_repeated("{\"a\": 1, \"text\": \"", "0123456789", 1000000, "\"}"); /* 2: 10 MB */
    add_numbered(0, 100000, "\"k%u\": 1", "}");                            /* 3: open */
    add_repeated("{\"a\": 1", ", \"a\": 1", 100000, "}");                  /* 4: open */
    add_repeated("{\"a\": 1, \"tags\": [1", ", 1", 255, "]}");             /* 5 */
    add_repeated("{\"a\": 1, \"tags\": [1", ", 1", 256, "]}");             /* 6: BIG */
    add_repeated("{\"a\": 1, \"text\": \"", "x", 128, "\"}");              /* 7 */
    add_repeated("{\"a\": 1, \"text\": \"", "x", 129, "\"}");              /* 8: LONG */
    add_repeated("{\"a\": 1, \"text\": \"", "\\u0078", 128, "\"}");        /* 9 */
    add_numbered(0, PM_COLUMNS_MOST_VALUES, "\"k%u\": 1", "}");            /* 10 */
    add_repeated("{\"a\": 1, \"a\": 2", "", 0, "");                        /* 11: a key twice, but no JSON */
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    assert_true(pm_columns_is_sound(&built.columns));
    const pm_columns_facts facts = pm_columns_look(&built.columns);
    assert_int_equal(facts.open_rows, 2);
    assert_int_equal(facts.columns, PM_COLUMNS_MOST);
    assert_int_equal(facts.residual_rows, 1);
    expect(&built.columns, "{\"a\": 1}", 6, 2);
    expect(&built.columns, "{\"text\": {\"$exists\": true}}", 4, 2);
    expect(&built.columns, "{\"text\": {\"$starts_with\": \"xx\"}}", 2, 4);
    expect(&built.columns, "{\"text\": {\"$contains\": \"\"}}", 4, 2);
    expect(&built.columns, "{\"text\": {\"$gte\": \"\"}}", 4, 2);
    expect(&built.columns, "{\"text\": \"x\"}", 0, 2);
    expect(&built.columns, "{\"text\": 5}", 0, 2);
    for (int size = 127; size < 131; size++) { /* of an operand */
        char filter[256], x[256];
        memset(x, 'x', sizeof x);
        snprintf(filter, sizeof filter, "{\"text\": \"%.*s\"}", size, x);
        expect(&built.columns, filter, size == 128 ? 2 : 0, size > 128 ? 4 : 2);
    }
    expect(&built.columns, "{\"tags\": {\"$contains\": 1}}", 1, 3);
    expect(&built.columns, "{\"tags\": {\"$exists\": true}}", 2, 2);
    expect(&built.columns, "{\"k5\": 1}", 1, 2);
    expect(&built.columns, "{\"k4000\": 1}", 0, 3);
    expect(&built.columns, "{\"never\": {\"$exists\": false}}", 9, 3);
    t_columns_free(&built);
    forget_documents();
}

/* 70,000 paths in 70 rows, and 2,000 rows with two that are among the first. */
static void paths_beyond_the_limit_leave_few_rows_open(void **state)
{
    (void)state;
    struct t_columns built;
    is_odd = true;
    for (size_t i = 0; i < 2000; i++) {
        if (i < 100) /* no JSON: nothing of it counts */
            add_numbered(1000 * i, 1000, "\"no%u\": 1", "");
        else if (i >= 1000 && i < 1070)
            add_numbered(1000 * i, 1000, "\"p%u\": 1", "}");
        else
            add_numbered(i, 1, "\"a\": true, \"b\": %u", "}");
    }
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    assert_true(pm_columns_is_sound(&built.columns));
    const pm_columns_facts facts = pm_columns_look(&built.columns);
    assert_int_equal(facts.columns, PM_COLUMNS_MOST);
    assert_int_equal(facts.open_rows, 0);
    expect(&built.columns, "{\"a\": true}", 1830, 0);
    expect(&built.columns, "{\"b\": {\"$lt\": 110}}", 10, 0);
    expect(&built.columns, "{\"q\": 1}", 0, (size_t)facts.residual_rows);
    assert_in_range(facts.residual_rows, 68, 70);
    t_columns_free(&built);
    forget_documents();
}

/* Ranks of four bytes. */
static void many_values(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    static char *many[MANY];
    static size_t many_sizes[MANY];
    struct t_columns built;
    for (size_t i = 0; i < MANY; i++) {
        char bytes[64];
        const uint64_t number = pm_mix64(i) >> 4;
        many_sizes[i] = (size_t)snprintf(bytes, sizeof bytes, "{\"n\": %llu}", (unsigned long long)number);
        many[i] = copied(bytes, many_sizes[i]);
    }
    assert_int_equal(t_columns_build(&built, many, many_sizes, MANY, ENOUGH), POMAI_OK);
    assert_true(pm_columns_is_sound(&built.columns));
    for (size_t l = 0; l < nlevels; l++) {
        static uint64_t bits[MANY / 64 + 1], open[MANY / 64 + 1];
        char range[64];
        bool any, over = false;
        const uint64_t low = UINT64_C(1) << 57;
        snprintf(range, sizeof range, "{\"n\": {\"$gte\": %llu}}", (unsigned long long)low);
        pm_filter *filter = parsed(range, strlen(range));
        pm_columns_plan *plan = pm_columns_plan_make(&built.columns, filter, levels[l], NULL, NULL, &over);
        memset(bits, 0xff, sizeof bits);
        bits[MANY / 64] &= (UINT64_C(1) << MANY % 64) - 1;
        assert_true(pm_columns_match(plan, bits, open, &any, NULL, NULL, &over));
        for (size_t i = 0; i < MANY; i++)
            if (bit(bits, i) != (pm_mix64(i) >> 4 >= low)) fail_msg("%s: row %zu", levels[l]->name, i);
        pm_columns_plan_free(plan);
        pm_filter_free(filter);
    }
    t_columns_free(&built);
    for (size_t i = 0; i < MANY; i++)
        free(many[i]);
}

/* ---- memory, and being stopped ---- */

static size_t asked, asked_most;

static bool stop_now(void *context)
{
    (void)context;
    return ++asked < asked_most;
}

static bool is_over(const void *context)
{
    (void)context;
    return ++asked >= asked_most;
}

static void memory_is_bounded(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < 60; i++, cases++) {
        struct t_columns built;
        draw_documents();
        size_t most = (size_t)1 << (10 + below(13));
        most += below(most);
        const size_t before = live;
        peak = live;
        const pomai_status status = t_columns_build(&built, documents, sizes, rows, most);
        if (status == POMAI_OK) t_columns_free(&built);
        if ((status != POMAI_OK && status != POMAI_ETOOBIG) || live != before) failures++;
        if (peak - before > most + 1024) { /* the builder itself */
            printf("%zu of %zu bytes\n", peak - before, most);
            failures++;
        }
        forget_documents();
    }
    end("memory");
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const char some[] =
        "{\"$or\": [{\"a\": {\"$in\": [1, \"a\", null]}}, {\"$not\": {\"b\": {\"$contains\": \"a\"}}},"
        " {\"$and\": [{\"c\": {\"$gt\": 1}}, {\"a\": {\"$lt\": \"b\"}}]}]}";
    struct t_columns built;
    begin();
    do {
        forget_documents();
        draw_documents();
    } while (rows < 20 || rows > 200);
    pm_filter *filter = parsed(some, sizeof some - 1);
    const size_t before = live; /* sections are not counted */
    pomai_status status = POMAI_ENOMEM;
    for (fails_at = 1; status == POMAI_ENOMEM; fails_at++, cases++) {
        allocations = 0;
        status = t_columns_build(&built, documents, sizes, rows, ENOUGH);
        assert_true(live == before);
    }
    assert_int_equal(status, POMAI_OK);
    bool good = false;
    for (fails_at = 1; !good; fails_at++, cases++) {
        bool any, over = false;
        memset(match, 0, sizeof match);
        if (rows > 0) match[0] = 1;
        allocations = 0;
        pm_columns_plan *plan = pm_columns_plan_make(&built.columns, filter, levels[0], NULL, NULL, &over);
        good = plan != NULL && pm_columns_match(plan, match, open_rows, &any, NULL, NULL, &over);
        pm_columns_plan_free(plan);
        assert_true(live == before);
        assert_false(over);
    }
    fails_at = 0;
    pm_filter_free(filter);
    t_columns_free(&built);
    forget_documents();
    end("no memory");
}

static void builds_and_searches_stop_when_told(void **state)
{
    (void)state;
    static const char some[] = "{\"$or\": [{\"a\": 1}, {\"b\": {\"$gt\": 1}}, {\"c\": {\"$contains\": \"a\"}}]}";
    pm_columns_builder *builder;
    const size_t before = live;
    bool any, over = false;
    add_repeated("{\"a\": 1, \"text\": \"", "x", 200000, "\"}");
    asked = 0;
    asked_most = 2;
    assert_int_equal(pm_columns_begin(100, ENOUGH, stop_now, NULL, &builder), POMAI_OK);
    assert_int_equal(pm_columns_add(builder, documents[0], sizes[0]), POMAI_OK);
    assert_int_equal(pm_columns_add(builder, documents[0], sizes[0]), POMAI_EDEADLINE);
    uint64_t length[PM_COLUMNS_SECTIONS];
    assert_int_equal(pm_columns_finish(builder, length), POMAI_EDEADLINE);
    pm_columns_end(builder);
    assert_true(live == before);
    forget_documents();

    struct t_columns built;
    draw_documents();
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    pm_filter *filter = parsed(some, sizeof some - 1);
    asked = 0;
    asked_most = 1;
    pm_columns_plan *plan = pm_columns_plan_make(&built.columns, filter, levels[0], NULL, NULL, &over);
    assert_non_null(plan);
    memset(match, 0, sizeof match);
    if (rows > 0) match[0] = 1;
    assert_true(pm_columns_match(plan, match, open_rows, &any, is_over, NULL, &over));
    assert_int_equal(over, rows > 0);
    pm_columns_plan_free(plan);
    pm_filter_free(filter);
    t_columns_free(&built);
    forget_documents();
}

/* {"k": 1, "$not": {"$or": [{"b": ...}, ...]}}: each of the rows with k is looked at in all of it. */
static void a_long_look_at_few_rows_stops_when_told(void **state)
{
    (void)state;
    enum { TERMS = 3000, FEW = 400 };
    struct t_columns built;
    static char long_filter[TERMS * 32];
    static uint32_t few[FEW];
    static bool open[FEW];
    uint32_t found = 0;
    bool over = false;
    is_odd = true;
    for (size_t i = 0; i < 1500; i++)
        add_numbered(i, 1, i < FEW ? "\"k\": 1, \"b\": %u" : "\"b\": %u", "}");
    char *p = long_filter + sprintf(long_filter, "{\"k\": 1, \"$not\": {\"$or\": [");
    for (unsigned i = 0; i < TERMS; i++)
        p += sprintf(p, "%s{\"b\": {\"$gt\": %u}}", i == 0 ? "" : ",", 5000 + i);
    sprintf(p, "]}}");
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    pm_filter *filter = parsed(long_filter, strlen(long_filter));
    pm_columns_plan *plan = pm_columns_plan_make(&built.columns, filter, levels[0], NULL, NULL, &over);
    assert_non_null(plan);
    asked = 0;
    asked_most = SIZE_MAX;
    assert_true(pm_columns_rows(plan, FEW, few, open, &found, is_over, NULL, &over));
    assert_int_equal(found, FEW);
    assert_false(over);
    assert_in_range(asked, FEW * TERMS / 5000, FEW * TERMS / 1000);
    asked = 0;
    asked_most = 3;
    assert_true(pm_columns_rows(plan, FEW, few, open, &found, is_over, NULL, &over));
    assert_true(over);
    assert_int_equal(asked, 3);
    pm_columns_plan_free(plan);
    pm_filter_free(filter);
    t_columns_free(&built);
    forget_documents();
}

/* A row of a column that few have is looked for among the rows of each value: of many values the document tells. */
static void many_values_are_left_to_documents(void **state)
{
    (void)state;
    enum { FEW = 10 };
    struct t_columns built;
    char values[4096];
    static uint32_t few[FEW];
    static bool open[FEW];
    uint32_t found = 0;
    bool over = false;
    is_odd = true;
    for (size_t i = 0; i < 3000; i++)
        add_numbered(i, 1, i < FEW ? "\"k\": 1, \"b\": %u" : i % 9 == 0 ? "\"b\": %u" : "\"c\": %u", "}");
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    for (unsigned most = 100; most <= 160; most += 60) { /* values, each a range of its own */
        char *p = values + sprintf(values, "{\"k\": 1, \"b\": {\"$in\": [5");
        for (unsigned i = 0; i < most; i++)
            p += sprintf(p, ",%u", 18 + 18 * i);
        sprintf(p, "]}}");
        pm_filter *filter = parsed(values, strlen(values));
        pm_columns_plan *plan = pm_columns_plan_make(&built.columns, filter, levels[0], NULL, NULL, &over);
        assert_non_null(plan);
        assert_true(pm_columns_rows(plan, FEW, few, open, &found, NULL, NULL, &over));
        assert_int_equal(found, most < 128 ? 1 : FEW);
        assert_int_equal(open[0], most > 128);
        pm_columns_plan_free(plan);
        pm_filter_free(filter);
    }
    t_columns_free(&built);
    forget_documents();
}

/* ---- damage ---- */

static uint64_t *copied_bits(const uint64_t *bits)
{
    return (uint64_t *)(void *)copied((const char *)bits, (rows + 63) / 64 * sizeof *bits);
}

/* Whatever it says, nothing outside of the sections is read: a sanitizer looks on. */
static void use(const pm_columns *columns)
{
    for (size_t i = 0; i < 8; i++) {
        bool any, over = false;
        uint64_t least, most;
        pm_text lines = {0};
        text_size = 0;
        put_filter(2);
        pm_filter *filter = parsed(text, text_size);
        pm_columns_plan *plan = pm_columns_plan_make(columns, filter, levels[below(nlevels)], NULL, NULL, &over);
        assert_non_null(plan);
        pm_columns_plan_bounds(plan, &least, &most);
        assert_true(least <= most && most <= columns->rows);
        pm_columns_explain(plan, &lines);
        draw_mask();
        uint64_t *bits = copied_bits(mask), *open = copied_bits(mask);
        assert_true(pm_columns_match(plan, bits, open, &any, NULL, NULL, &over));
        for (size_t w = 0; w < (rows + 63) / 64; w++)
            assert_true((bits[w] & ~mask[w]) == 0 && (open[w] & ~mask[w]) == 0 && (open[w] & bits[w]) == 0);
        free(bits);
        free(open);
        uint32_t *few = malloc(rows * sizeof *few + 1), found = 0;
        bool *maybe = malloc(rows + 1);
        const bool is_listed = pm_columns_rows(plan, (uint32_t)rows, few, maybe, &found, NULL, NULL, &over);
        for (uint32_t k = 0; is_listed && k < found; k++)
            assert_true(found <= rows && few[k] < rows);
        free(few);
        free(maybe);
        pm_free(lines.data);
        pm_columns_plan_free(plan);
        pm_filter_free(filter);
    }
}

static void damage(struct t_columns *columns)
{
    const size_t section = below(PM_COLUMNS_SECTIONS);
    const size_t length = (size_t)columns->columns.length[section];
    if (length == 0) return;
    uint8_t *at = columns->at[section];
    const uint32_t words[] = {
        0, 1, UINT32_MAX, UINT32_MAX - 1, 0x80000000u, (uint32_t)length, (uint32_t)rows, (uint32_t)below(length + 1)};
    switch (below(4)) {
    case 0:
        at[below(length)] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        at[below(length)] = (uint8_t)draw();
        break;
    case 2:
        if (length >= 4) memcpy(at + below(length / 4) * 4, &words[below(8)], 4);
        break;
    default: /* a little more or less */
        if (length >= 4) {
            uint32_t word;
            uint8_t *to = at + below(length / 4) * 4;
            memcpy(&word, to, sizeof word);
            word += (uint32_t)below(5) - 2;
            memcpy(to, &word, sizeof word);
        }
    }
}

static void damage_leads_nowhere(void **state)
{
    (void)state;
    size_t sound = 0;
    begin();
    for (size_t set = 0; set < 60 / share + 1; set++) {
        struct t_columns built;
        do {
            forget_documents();
            draw_documents();
        } while (rows == 0 || rows > 400);
        while (chance(90) && rows % 64 != 0) /* bits of rows that are none are then outside of memory */
            add_document("", 0);
        for (size_t i = 0; i < 40; i++, cases++) {
            assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
            const size_t places = 1 + below(3);
            for (size_t n = 0; n < places; n++)
                damage(&built);
            if (pm_columns_is_sound(&built.columns)) {
                sound++;
                use(&built.columns);
            }
            if (chance(10)) { /* cut short */
                const size_t section = below(PM_COLUMNS_SECTIONS);
                if (built.columns.length[section] > 0) {
                    built.columns.length[section] -= 1 + below((size_t)built.columns.length[section]);
                    if (pm_columns_is_sound(&built.columns)) use(&built.columns);
                }
            }
            t_columns_free(&built);
        }
        forget_documents();
    }
    printf("  %zu of %llu were sound\n", sound, (unsigned long long)cases);
    assert_true(sound > 0);
    end("damage");
}

/* Each row, place and rank in turn is the least that leads outside. */
static void nothing_that_leads_outside_is_sound(void **state)
{
    (void)state;
    enum { PLACES = 4, ROWS = 5, RANKS = 6 };
    struct t_columns built;
    begin();
    is_odd = true;
    for (size_t i = 0; i < 64; i++)
        add_numbered(i % 7, 1, i % 3 == 0 ? "\"a\": \"%u\"" : "\"b\": [0.5, %u]", i % 11 == 0 ? ", \"b\": 1}" : "}");
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    for (size_t section = PLACES; section <= ROWS; section++)
        for (size_t at = 0; at < built.columns.length[section]; at += 4, cases++) {
            uint32_t before, after = section == ROWS ? (uint32_t)rows : UINT32_MAX;
            memcpy(&before, built.at[section] + at, 4);
            memcpy(built.at[section] + at, &after, 4);
            if (pm_columns_is_sound(&built.columns)) failures++;
            memcpy(built.at[section] + at, &before, 4);
        }
    for (size_t at = 0; at < built.columns.length[RANKS]; at++, cases++) {
        const uint8_t before = built.at[RANKS][at];
        built.at[RANKS][at] = 255;
        if (at % 64 < rows && pm_columns_is_sound(&built.columns)) failures++;
        built.at[RANKS][at] = before;
    }
    assert_true(pm_columns_is_sound(&built.columns));
    t_columns_free(&built);
    forget_documents();
    end("outside");
}

/* Half of the rows are open, the others have one value; each in turn is there twice, or after the next. */
static void rows_of_a_value_ascend(void **state)
{
    (void)state;
    enum { EACH = 32, ROWS = 5 };
    struct t_columns built;
    begin();
    is_odd = true;
    for (size_t i = 0; i < 2 * EACH; i++)
        add_numbered(1, 1, i % 2 == 0 ? "\"a\": %u" : "\"a\": %u, \"a\": 2", "}");
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    assert_int_equal(built.columns.length[ROWS] / 4, 2 * EACH);
    uint32_t *row = (uint32_t *)(void *)built.at[ROWS];
    for (size_t at = 1; at < 2 * EACH; at++) {
        const uint32_t before = row[at - 1], own = row[at];
        if (at == EACH) continue;
        row[at] = before;
        if (pm_columns_is_sound(&built.columns)) failures++;
        row[at - 1] = own;
        if (pm_columns_is_sound(&built.columns)) failures++;
        row[at - 1] = before;
        row[at] = own;
        cases += 2;
    }
    assert_true(pm_columns_is_sound(&built.columns));
    t_columns_free(&built);
    forget_documents();
    end("order");
}

/* ---- kernels ---- */

static uint32_t rank_at(const void *ranks, size_t width, size_t i)
{
    uint32_t rank = 0;
    memcpy(&rank, (const uint8_t *)ranks + i * width, width);
    return rank;
}

static void levels_give_the_same_bits(void **state)
{
    (void)state;
    begin();
    for (size_t i = 0; i < 3000; i++) {
        const size_t width = (size_t)1 << below(3), n = below(400), words = (n + 63) / 64;
        const uint64_t all = width == 4 ? UINT32_MAX : (UINT64_C(1) << 8 * width) - 1;
        const uint32_t limit = (uint32_t)(chance(50) ? all : 1 + below(20));
        uint8_t *ranks = malloc(n * width + 1); /* a byte off, so that nothing is aligned */
        uint64_t before[8] = {0}, out[8], by[8] = {0};
        for (size_t r = 0; r < n; r++) {
            const uint32_t rank = (uint32_t)(draw() % ((uint64_t)limit + 1));
            memcpy(ranks + r * width, &rank, width);
            if (chance(70)) before[r / 64] |= UINT64_C(1) << r % 64;
            if (chance(70)) by[r / 64] |= UINT64_C(1) << r % 64;
        }
        if (chance(30)) before[below(7)] = 0;
        const uint32_t low = (uint32_t)(draw() % ((uint64_t)limit + 1)),
                       more = (uint32_t)(draw() % (limit - low + UINT64_C(1)));
        for (size_t l = 0; l < nlevels; l++) {
            const pm_simd_ranks *kernels = levels[l]->ranks;
            uint64_t good[8] = {0}, sum = 0, kept = 0, dropped = 0;
            for (size_t r = 0; r < n; r++) {
                const uint32_t rank = rank_at(ranks, width, r);
                if (rank >= low && rank - low <= more && bit(before, r)) good[r / 64] |= UINT64_C(1) << r % 64;
                sum += bit(good, r);
                kept += bit(before, r) && bit(by, r);
                dropped += bit(before, r) && !bit(by, r);
            }
            memcpy(out, before, sizeof out);
            pm_ranks_scan *scan = width == 1 ? kernels->scan1 : width == 2 ? kernels->scan2 : kernels->scan4;
            const bool scanned = scan(ranks, n, low, more, out, out) == sum && memcmp(out, good, words * 8) == 0;
            check(scanned && kernels->count(good, words) == sum, "scan", levels[l]->name, width, n);
            memcpy(out, before, sizeof out);
            check(kernels->keep(out, by, words) == kept, "keep", levels[l]->name, width, n);
            memcpy(out, before, sizeof out);
            check(kernels->drop(out, by, words) == dropped, "drop", levels[l]->name, width, n);
        }
        free(ranks);
    }
    end("kernels");
}

/* ---- people ---- */

static void plans_explain_themselves(void **state)
{
    (void)state;
    static const char some[] = "{\"a\": {\"$gte\": 1, \"$lt\": 3}, \"$not\": {\"b\": \"x\"}, \"$or\": [{\"c\": 1}, "
                               "{\"b\": {\"$lt\": \"y\"}}]}";
    struct t_columns built;
    is_odd = true;
    for (size_t i = 0; i < 1000; i++)
        add_repeated(i % 2 == 0 ? "{\"a\": 1, \"b\": \"" : "{\"a\": 0, \"b\": \"", "x", i == 0 ? 200 : 1, "\"}");
    assert_int_equal(t_columns_build(&built, documents, sizes, rows, ENOUGH), POMAI_OK);
    pm_filter *filter = parsed(some, sizeof some - 1);
    bool over = false;
    pm_columns_plan *plan = pm_columns_plan_make(&built.columns, filter, levels[0], NULL, NULL, &over);
    pm_text lines = {0};
    pm_columns_explain(plan, &lines);
    assert_string_equal(lines.data, "and: 0 to 1 rows\n"
                                    "  not: 1 to 1 rows\n"
                                    "    {\"b\": {\"$eq\": \"x\"}}: ranks, 999 rows\n"
                                    "  and: 500 to 500 rows\n"
                                    "    {\"a\": {\"$gte\": 1}}, {\"a\": {\"$lt\": 3}}: ranks, 500 rows\n"
                                    "  or: 999 to 1000 rows\n"
                                    "    {\"b\": {\"$lt\": \"y\"}}: ranks, 999 rows, 1 undecided\n"
                                    "    {\"c\": {\"$eq\": 1}}: nothing, 0 rows\n");
    pm_free(lines.data);
    pm_columns_plan_free(plan);
    pm_filter_free(filter);

    char many[4096] = "{\"a\": {\"$in\": [0";
    size_t size = strlen(many);
    for (unsigned i = 0; i < 200; i++)
        size += (size_t)snprintf(many + size, sizeof many - size, ", \"\xf0\x9f\x98\x80%03u\"", i);
    size += (size_t)snprintf(many + size, sizeof many - size, "]}}");
    filter = parsed(many, size);
    plan = pm_columns_plan_make(&built.columns, filter, levels[0], NULL, NULL, &over);
    lines = (pm_text){0};
    pm_columns_explain(plan, &lines);
    const char *cut = strstr(lines.data, "...: ranks, 500 rows\n");
    assert_non_null(cut);
    assert_in_range(cut - lines.data, 237, 240);
    pm_free(lines.data);
    pm_columns_plan_free(plan);
    pm_filter_free(filter);
    t_columns_free(&built);
    forget_documents();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_table),
        cmocka_unit_test(rows_are_those_that_match),
        cmocka_unit_test(documents_at_the_limits),
        cmocka_unit_test(paths_beyond_the_limit_leave_few_rows_open),
        cmocka_unit_test(many_values),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(builds_and_searches_stop_when_told),
        cmocka_unit_test(a_long_look_at_few_rows_stops_when_told),
        cmocka_unit_test(many_values_are_left_to_documents),
        cmocka_unit_test(damage_leads_nowhere),
        cmocka_unit_test(nothing_that_leads_outside_is_sound),
        cmocka_unit_test(rows_of_a_value_ascend),
        cmocka_unit_test(levels_give_the_same_bits),
        cmocka_unit_test(plans_explain_themselves),
    };
    if (!cases_arguments(argc, argv)) return 2;
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--cases") == 0) wanted_cases = strtoull(argv[i + 1], NULL, 0);
    pm_memory_hook = &memory_hook;
    nlevels = pm_simd_levels(levels, sizeof levels / sizeof *levels);
    return cmocka_run_group_tests_name("columns", tests, NULL, NULL);
}
