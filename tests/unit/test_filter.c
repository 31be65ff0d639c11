/* SPDX-License-Identifier: Apache-2.0 */
/* The language of filters: the tables of docs/filter.md row by row, its limits, what is hostile, and the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filter/filter.h"
#include "filter/json.h"
#include "support/no_memory.h"
#include "support/rng.h"

/* ---- the page ---- */

enum { MOST_LINE = 4096 };

/* The next line of a table is cut into cells, of which backticks are taken off; false: the section is over. */
static bool next_row(FILE *page, char *line, char **cells, int count)
{
    while (fgets(line, MOST_LINE, page) != NULL && strncmp(line, "## ", 3) != 0) {
        if (strncmp(line, "| ", 2) != 0) continue;
        char *p = line + 2;
        for (int i = 0; i < count; i++) {
            char *end = strstr(p, i + 1 < count ? " | " : " |\n");
            assert_non_null(end);
            *end = '\0';
            cells[i] = p;
            p = end + 3;
            const size_t size = strlen(cells[i]);
            if (cells[i][0] != '`') continue;
            assert_true(size >= 2 && cells[i][size - 1] == '`');
            cells[i][size - 1] = '\0';
            cells[i]++;
        }
        return true;
    }
    return false;
}

/* Behind the names of the columns. */
static FILE *open_table(const char *title)
{
    char line[MOST_LINE];
    FILE *page = fopen(POMAI_SOURCE_DIR "/docs/filter.md", "r");
    assert_non_null(page);
    while (fgets(line, sizeof line, page) != NULL)
        if (strncmp(line, "## ", 3) == 0 && strncmp(line + 3, title, strlen(title)) == 0) break;
    while (fgets(line, sizeof line, page) != NULL)
        if (strncmp(line, "|---", 4) == 0) return page;
    fail_msg("docs/filter.md has no table %s", title);
    return NULL;
}

/* In memory of its own size, so that a read beyond its end is seen. */
static pomai_status parse(const char *text, size_t size, pm_filter **filter, pomai_error *err)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    memset(err, 0, sizeof *err);
    pomai_status status = pm_filter_parse(copy, size, filter, err);
    memset(copy, 'x', size); /* nothing of it is needed any more */
    free(copy);
    assert_int_equal(status != POMAI_OK, *filter == NULL);
    assert_int_equal(status, err->status);
    return status;
}

static pm_filter *parsed(const char *text)
{
    pm_filter *filter;
    pomai_error err;
    if (parse(text, strlen(text), &filter, &err) != POMAI_OK) fail_msg("%.200s: %s", text, err.message);
    return filter;
}

static bool matches_bytes(const pm_filter *filter, const char *document, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    void *scratch = malloc(pm_filter_scratch_size(filter));
    assert_non_null(copy);
    assert_non_null(scratch);
    if (size > 0) memcpy(copy, document, size);
    memset(scratch, 0xa5, pm_filter_scratch_size(filter));
    const bool matches = pm_filter_matches(filter, scratch, copy, size);
    assert_int_equal(pm_filter_matches(filter, scratch, copy, size), matches);
    free(scratch);
    free(copy);
    return matches;
}

static bool matches(const char *text, const char *document)
{
    pm_filter *filter = parsed(text);
    const bool does = matches_bytes(filter, document, document != NULL ? strlen(document) : 0);
    pm_filter_free(filter);
    return does;
}

static char *printed(const pm_filter *filter)
{
    pm_text text = {0};
    pm_filter_print(filter, &text);
    assert_false(text.failed);
    return text.data;
}

static void the_truth_table(void **state)
{
    (void)state;
    char line[MOST_LINE], *cells[3], inverse[MOST_LINE + 16];
    unsigned rows = 0, wrong = 0;
    FILE *page = open_table("Truth table");
    while (next_row(page, line, cells, 3)) {
        const char *document = strcmp(cells[0], "none") == 0 ? NULL : cells[0];
        const bool expected = strcmp(cells[2], "yes") == 0;
        assert_true(expected || strcmp(cells[2], "no") == 0);
        pm_filter *filter = parsed(cells[1]);
        char *canonical = printed(filter);
        pm_filter_free(filter);
        pm_filter *again = parsed(canonical);
        char *same = printed(again);
        pm_filter_free(again);
        snprintf(inverse, sizeof inverse, "{\"$not\": %s}", cells[1]);
        if (matches(cells[1], document) != expected || matches(canonical, document) != expected ||
            matches(inverse, document) == expected || strcmp(same, canonical) != 0) {
            print_error("not as the table says: %s | %s | %s (printed: %s)\n", cells[0], cells[1], cells[2], canonical);
            wrong++;
        }
        pm_free(same);
        pm_free(canonical);
        rows++;
    }
    fclose(page);
    assert_int_equal(wrong, 0);
    assert_true(rows > 150);
}

static void the_refusals(void **state)
{
    (void)state;
    char line[MOST_LINE], *cells[2];
    unsigned rows = 0, wrong = 0;
    FILE *page = open_table("Refusals");
    while (next_row(page, line, cells, 2)) {
        pm_filter *filter;
        pomai_error err;
        if (parse(cells[0], strlen(cells[0]), &filter, &err) != POMAI_EINVAL || strcmp(err.message, cells[1]) != 0) {
            print_error("not as the page says: %s | %s, but: %s\n", cells[0], cells[1], err.message);
            wrong++;
        }
        pm_filter_free(filter);
        rows++;
    }
    fclose(page);
    assert_int_equal(wrong, 0);
    assert_true(rows > 30);
}

/* ---- limits ---- */

/* before, then `many` times `what`, then after; NUL-terminated. */
static char *repeated(const char *before, const char *what, size_t many, const char *after)
{
    const size_t head = strlen(before), size = strlen(what), foot = strlen(after);
    char *text = malloc(head + many * size + foot + 1), *p = text;
    assert_non_null(text);
    memcpy(p, before, head);
    p += head;
    for (size_t i = 0; i < many; i++, p += size)
        memcpy(p, what, size);
    memcpy(p, after, foot + 1);
    return text;
}

static void is_refused(char *text, pomai_status wanted, const char *part)
{
    pm_filter *filter;
    pomai_error err;
    const pomai_status status = parse(text, strlen(text), &filter, &err);
    if (status != wanted || (wanted != POMAI_OK && strstr(err.message, part) == NULL))
        fail_msg("%.60s...: status %d, %s", text, (int)status, err.message);
    pm_filter_free(filter);
    free(text);
}

/* `many` operators in each other, closed again. */
static char *nested(const char *open, const char *inside, const char *close, size_t many)
{
    char *shut = repeated("", close, many, ""), *tail = repeated(inside, shut, 1, "");
    char *text = repeated("", open, many, tail);
    free(tail);
    free(shut);
    return text;
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    is_refused(nested("{\"$and\": [", "{\"a\": 1}", "]}", 32), POMAI_OK, "");
    is_refused(nested("{\"$and\": [", "{\"a\": 1}", "]}", 33), POMAI_ETOOBIG,
               "[0].$and: more than 32 of $and, $or, $not");
    is_refused(nested("{\"$not\": ", "{}", "}", 32), POMAI_OK, "");
    is_refused(nested("{\"$not\": ", "{}", "}", 33), POMAI_ETOOBIG, "$not.$not: more than 32");
    is_refused(nested("{\"$not\": ", "{}", "}", 1000000), POMAI_ETOOBIG, "$not.$not: more than 32");
    is_refused(nested("{\"a\": {\"$not\": ", "{\"$gt\": 1}", "}", 1), POMAI_EINVAL, "wants , or }");
    char *inner = nested("{\"$not\": ", "{\"$gt\": 1}", "}", 32);
    is_refused(repeated("{\"a\": ", inner, 1, "}"), POMAI_OK, "");
    free(inner);
    inner = nested("{\"$not\": ", "{\"$gt\": 1}", "}", 33);
    is_refused(repeated("{\"a\": ", inner, 1, "}"), POMAI_ETOOBIG, "more than 32");
    free(inner);
    is_refused(repeated("", "[", 1000000, ""), POMAI_EINVAL, "wants an object, not an array");
    is_refused(repeated("{\"a\": {\"$in\": ", "[", 1000000, ""), POMAI_EINVAL, "a.$in[0]: wants null");
    is_refused(repeated("", "{\"a\":", 1000000, ""), POMAI_EINVAL, "a.a: wants an operator");
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    is_refused(repeated("{\"", "a", 1024, "\": 1}"), POMAI_OK, "");
    is_refused(repeated("{\"", "a", 1025, "\": 1}"), POMAI_ETOOBIG, "...: a path of more than 1024 bytes");
    is_refused(repeated("{\"", "a.", 31, "\": 1}"), POMAI_OK, "");
    is_refused(repeated("{\"", "a.", 32, "\": 1}"), POMAI_ETOOBIG, "a path of more than 32 keys");
    is_refused(repeated("{\"", "\\\\.", 40, "\": 1}"), POMAI_OK, ""); /* 40 dots, one key */
    is_refused(repeated("{\"a\": 1e", "1", 10000, "}"), POMAI_EINVAL, "a: the exponent of a number is beyond");
    is_refused(repeated("{\"a\": 1e-", "1", 10000, "}"), POMAI_EINVAL, "a: the exponent of a number is beyond");
    is_refused(repeated("{\"a\": ", "1", 1000000, "}"), POMAI_OK, "");
    is_refused(repeated("{\"a\": \"", "x", (16 << 20) - 9, "\"}"), POMAI_OK, "");
    is_refused(repeated("{\"a\": \"", "x", (16 << 20) - 8, "\"}"), POMAI_ETOOBIG, "filter: more than 16777216 bytes");
    is_refused(repeated("{\"$or\": [", "{\"a\": {\"$contains\": 1}},", 255, "{\"a\": {\"$contains\": 1}}]}"), POMAI_OK,
               "");
    is_refused(repeated("{\"$or\": [", "{\"a\": {\"$contains\": 1}},", 256, "{\"a\": {\"$contains\": 1}}]}"),
               POMAI_ETOOBIG, "filter: $or[256].a.$contains: more than 256 times $contains");
    /* Terms: $or, then a path and a comparison each. */
    is_refused(repeated("{\"$or\": [", "{\"a\":1},", 131070, "{\"a\": 1}]}"), POMAI_OK, "");
    is_refused(repeated("{\"$or\": [", "{\"a\":1},", 131071, "{\"a\": 1}]}"), POMAI_ETOOBIG,
               "filter: $or[131071].a: more than 262144 terms");
    is_refused(repeated("{\"$or\": [", "{},", 262142, "{}]}"), POMAI_OK, "");
    is_refused(repeated("{\"$or\": [", "{},", 262143, "{}]}"), POMAI_ETOOBIG, "more than 262144 terms");
    is_refused(repeated("{\"a\": {\"$in\": [", "1,", 262141, "1]}}"), POMAI_OK, "");
    is_refused(repeated("{\"a\": {\"$in\": [", "1,", 262142, "1]}}"), POMAI_ETOOBIG, "a.$in[262142]: more than 262144");
    is_refused(repeated("{\"$or\": [", "{\"$or\": [{}]},", 87381, "{\"$or\": [{}]}]}"), POMAI_OK, "");
}

static void a_long_path_is_shown_at_its_end(void **state)
{
    (void)state;
    pm_filter *filter;
    pomai_error err;
    char *inner = repeated("{\"\u00e4", "\u20ac", 200, "\": {\"$gt\": null}}");
    char *text = nested("{\"$and\": [{\"$or\": [{}, ", inner, "]}]}", 14);
    assert_int_equal(parse(text, strlen(text), &filter, &err), POMAI_EINVAL);
    assert_memory_equal(err.message, "filter: ...", 11);
    const char *end = strstr(err.message, "[1].\u00e4\u20ac\u20ac");
    assert_non_null(end);
    assert_non_null(strstr(end, "\u20ac....$gt: wants a number or a string, not null"));
    free(text);
    free(inner);
    text = repeated("{\"a\nb", "", 0, "\": {\"$gt\": null}}");
    assert_int_equal(parse(text, strlen(text), &filter, &err), POMAI_EINVAL);
    assert_non_null(strstr(err.message, "not JSON at byte 1: a string that is none"));
    free(text);
    assert_int_equal(parse("{\"a\\nb\": {}}", 12, &filter, &err), POMAI_EINVAL);
    assert_string_equal(err.message, "filter: a?b: wants an operator, like {\"$eq\": 1}");
    assert_int_equal(pm_filter_parse("[]", 2, &filter, NULL), POMAI_EINVAL);
    assert_int_equal(parse("", 0, &filter, &err), POMAI_EINVAL);
    assert_string_equal(err.message, "filter: not JSON at byte 0: wants a value");
    assert_int_equal(parse("{}\0", 3, &filter, &err), POMAI_EINVAL);
    assert_string_equal(err.message, "filter: not JSON at byte 2: wants the end");
}

/* Every cut of it, and every byte of it changed, is refused or parsed, never more. */
static void cut_and_changed_filters(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a.b\\\\.c\": {\"$in\": [1.5e3, \"x\\ud83d\\ude00\u20ac\", null, true], \"$ne\": -2}, "
        "\"$or\": [{\"d\": {\"$contains\": \"abab\"}}, {\"$not\": {}}]}";
    const size_t size = sizeof text - 1;
    char changed[sizeof text];
    pm_filter *filter;
    pomai_error err;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(parse(text, i, &filter, &err), POMAI_EINVAL);
        assert_memory_equal(err.message, "filter: ", 8);
    }
    for (size_t i = 0; i < size; i++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(changed, text, size);
            changed[i] = (char)byte;
            if (parse(changed, size, &filter, &err) == POMAI_OK) (void)matches_bytes(filter, changed, size);
            pm_filter_free(filter);
        }
    }
}

/* ---- many terms, large documents ---- */

static void a_hundred_thousand_values(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    char *text = malloc(MANY * 16 + 64), *p = text, document[64];
    assert_non_null(text);
    p += sprintf(p, "{\"a\": {\"$in\": [");
    for (unsigned i = 0; i < MANY; i++) /* even numbers and strings, in no order */
        p += sprintf(p, i % 2 == 0 ? "%s%u" : "%s\"%u\"", i > 0 ? "," : "", i * 7919 % MANY / 2 * 2);
    sprintf(p, "]}}");
    pm_filter *filter = parsed(text);
    assert_int_equal(pm_filter_root(filter)->op, PM_FILTER_IN);
    for (int i = -2; i < MANY + 2; i++) {
        const bool there = i >= 0 && i < MANY && i % 2 == 0;
        sprintf(document, "{\"a\": %d}", i);
        const bool number = matches_bytes(filter, document, strlen(document));
        sprintf(document, "{\"a\": \"%d\"}", i);
        const bool string = matches_bytes(filter, document, strlen(document));
        if (there != (number || string)) fail_msg("%d", i); /* which of both, the drawing says */
    }
    pm_filter_free(filter);
    free(text);
}

static void a_hundred_thousand_keys(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    char *text = malloc(MANY * 48 + 64), *p = text;
    assert_non_null(text);
    p += sprintf(p, "{\"$and\": [");
    for (unsigned i = 0; i < MANY; i++)
        p += sprintf(p, "%s{\"k%u\": %u}", i > 0 ? "," : "", i, i);
    sprintf(p, "]}");
    pm_filter *filter = parsed(text);
    p = text;
    for (unsigned i = 0; i < MANY; i++) /* backwards, and every third key with an escape */
        p += sprintf(p, "%c\"%s%u\": %u", i > 0 ? ',' : '{', i % 3 == 0 ? "\\u006b" : "k", MANY - 1 - i, MANY - 1 - i);
    sprintf(p, "}");
    const size_t size = strlen(text);
    assert_true(matches_bytes(filter, text, size));
    p[-1] = 'x'; /* no JSON any more */
    assert_false(matches_bytes(filter, text, size));
    p[-1] = '1'; /* k0 is 1 */
    assert_false(matches_bytes(filter, text, size));
    pm_filter_free(filter);
    free(text);
}

static bool is_third(const void *context)
{
    unsigned *asked = *(unsigned *const *)context;
    return ++*asked >= 3;
}

/* Who waits for many terms, or for strings that are searched, is heard before they are done. */
static void judging_can_be_ended(void **state)
{
    enum { TERMS = 100000, LONG = 1 << 20, STRINGS = 100 };
    (void)state;
    unsigned asked = 0, *const counter = &asked;
    char *text = malloc(TERMS * 48), *document = malloc(LONG), *p = text;
    assert_true(text != NULL && document != NULL);
    p += sprintf(p, "{\"$or\": [");
    for (unsigned i = 0; i < TERMS; i++)
        p += sprintf(p, "%s{\"k%u\": %u}", i > 0 ? "," : "", i, i);
    sprintf(p, "]}");
    memset(document, 'x', LONG);
    memcpy(document, "{\"a\":\"", 6);
    memcpy(document + LONG - 2, "\"}", 2);
    for (int way = 0; way < 2; way++) {
        pm_filter *filter = parsed(text);
        void *scratch = malloc(pm_filter_scratch_size(filter));
        pm_filter_asks asks = {.is_over = is_third, .context = &counter};
        asked = 0;
        for (unsigned i = 0; i < (way == 0 ? 3 : 1); i++)
            assert_false(pm_filter_matches_until(filter, scratch, document, way == 0 ? 0 : LONG, &asks));
        assert_int_equal(asked, 3);
        assert_true(asks.over);
        assert_false(pm_filter_matches_until(filter, scratch, document, LONG, &asks)); /* for good */
        assert_int_equal(asked, 3);
        free(scratch);
        pm_filter_free(filter);
        p = text + sprintf(text, "{\"$or\": [");
        for (unsigned i = 0; i < STRINGS; i++)
            p += sprintf(p, "%s{\"a\": {\"$contains\": \"y%u\"}}", i > 0 ? "," : "", i);
        sprintf(p, "]}");
    }
    free(text);
    free(document);
}

static void hostile_documents(void **state)
{
    (void)state;
    pm_filter *filter = parsed("{\"a\": 1, \"b.c\": 2}"), *any = parsed("{\"$or\": [{\"a\": 1}, {\"b.c\": 2}]}");
    char *text = repeated("{\"a\": 1, \"x\": ", "[", 10 << 20, "");
    assert_false(matches_bytes(filter, text, strlen(text)));
    free(text);
    text = repeated("{\"a\": 1, \"x\": \"", "\\\"\u20ac", 2 << 20, "\", \"b\": {\"c\": 2}}");
    assert_true(matches_bytes(filter, text, strlen(text)));
    assert_false(matches_bytes(any, text, strlen(text) - 1));
    free(text);
    text = repeated("{", "\"b\": {\"c\": 2}, ", 1 << 20, "\"a\": 1}"); /* the same key a million times */
    assert_true(matches_bytes(filter, text, strlen(text)));
    free(text);
    text = repeated("{\"a\": 1, \"x\": [", "1.5e3, {\"b\": []}, ", 1 << 19, "null], \"b\": {\"c\": 2}}");
    assert_true(matches_bytes(filter, text, strlen(text)));
    free(text);
    text = repeated("{\"a\": 0.", "0", 10 << 20, "1}");
    assert_false(matches_bytes(any, text, strlen(text)));
    free(text);
    text = repeated("{\"a\": 1.", "0", 10 << 20, "}");
    assert_true(matches_bytes(any, text, strlen(text)));
    free(text);
    assert_false(matches_bytes(any, NULL, 0));
    assert_false(matches_bytes(any, "\xef\xbb\xbf{\"a\": 1}", 11));
    assert_true(matches_bytes(any, " \r\n\t{\"a\" : 1 } \n", 16));
    pm_filter_free(any);
    pm_filter_free(filter);
}

/* A document nested 1,024 deep is read, one deeper has no keys, whether or not what is wanted lies on the way. */
static void deep_documents(void **state)
{
    (void)state;
    static const char *const filters[] = {"{\"z\": 1}", "{\"z\": 1, \"a.a.a.b\": {\"$exists\": false}}",
                                          "{\"z\": 1, \"a\": {\"$exists\": true}}"};
    static const char *const opens[] = {"{\"a\":", "["}, *const closes[] = {"}", "]"};
    for (size_t f = 0; f < 3; f++) {
        pm_filter *filter = parsed(filters[f]);
        for (size_t kind = 0; kind < 2; kind++) {
            for (size_t depth = 1022; depth <= 1025; depth++) {
                char *inner = nested(opens[kind], kind == 0 ? "{}" : "[]", closes[kind], depth - 2);
                char *text = repeated("{\"z\": 1, \"a\": ", inner, 1, "}");
                assert_int_equal(matches_bytes(filter, text, strlen(text)), depth <= PM_FILTER_MOST_NESTING);
                free(text);
                free(inner);
            }
        }
        pm_filter_free(filter);
    }
}

static const char *const no_documents[] = {
    "",        "{\"a\": 1",         "{\"a\": 1,}",      "{\"a\": 1}}",   "{a: 1}",           "{'a': 1}",
    "{\"a\"}", "{\"a\" 1}",         "{\"a\": 1 \"b\"}", "{\"a\": 1, 2}", "[{\"a\": 1}]",     "null",
    "{,}",     "{\"a\": 1, \"b\"}", "{\"a\": 1; }",     "{\"a\": 1}\f",  "{\"a\": 1, b: 1}", "1",
};
static const char *const no_values[] = {
    "01",
    "+1",
    ".5",
    "1.",
    "1.e5",
    "1e",
    "1e+",
    "--1",
    "-",
    "0x10",
    "1_0",
    "NaN",
    "nul",
    "True",
    "truee",
    "Infinity",
    "'x'",
    "\"",
    "\"\\\"",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u123g\"",
    "\"\t\"",
    "\"\\\0\"",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1}",
    "{]",
    "{\"b\":}",
    "{\"b\"}",
    "{\"b\":1,}",
    "[\"b\":1]",
    "{1:1}",
    "\"\x80\"",
    "\"\xc1\x81\"",
    "\"\xc3\"",
    "\"\xe0\x80\x80\"",
    "\"\xed\xa0\x80\"",
    "\"\xf0\x80\x80\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xf5\x80\x80\x80\"",
    "\"\xe2\x82\"",
    "\"\xf0\x9f\x98\"",
    "\"\xff\"",
    "\"\xc3\x28\"",
    "\"\x7f\x1f\"",
    "",
    "[[]",
    "{}}",
    "[\"\\\"]",
};
static const char *const sound_values[] = {
    "0",
    "-0",
    "-0.0e-0",
    "1E5",
    "10",
    "\"\"",
    "\"\x7f\"",
    "\"\\ud800\"",
    "\"\\uDC00\\uD800\"",
    "\"\xf4\x8f\xbf\xbf\"",
    "\"\xee\x80\x80\xed\x9f\xbf\"",
    "[]",
    "{}",
    "[ ]",
    "{ }",
    "[[],{},[{}]]",
    "{\"\":[]}",
    "[1 , 2]",
    "false",
    "true",
    "null",
};

static void only_json_has_keys(void **state)
{
    (void)state;
    pm_filter *filter = parsed("{\"a\": 1}");
    char text[128];
    for (size_t i = 0; i < sizeof no_documents / sizeof no_documents[0]; i++)
        if (matches_bytes(filter, no_documents[i], strlen(no_documents[i]))) fail_msg("%s", no_documents[i]);
    for (size_t i = 0; i < sizeof no_values / sizeof no_values[0]; i++) {
        snprintf(text, sizeof text, "{\"a\": 1, \"b\": %s}", no_values[i]);
        if (matches_bytes(filter, text, strlen(text))) fail_msg("%s", text);
        snprintf(text, sizeof text, "{\"b\": [%s], \"a\": 1}", no_values[i]);
        if (no_values[i][0] != '\0' && matches_bytes(filter, text, strlen(text))) fail_msg("%s", text);
    }
    for (size_t i = 0; i < sizeof sound_values / sizeof sound_values[0]; i++) {
        for (int pad = 0; pad < 20; pad++) { /* every way to lie in a word of eight bytes */
            snprintf(text, sizeof text, "{\"%.*s\": %s, \"a\": 1}", pad, "xxxxxxxxxxxxxxxxxxxx", sound_values[i]);
            if (!matches_bytes(filter, text, strlen(text))) fail_msg("%s", text);
        }
    }
    pm_filter_free(filter);
}

/* ---- the tree ---- */

static void is_printed(const char *text, const char *canonical)
{
    pm_filter *filter = parsed(text);
    char *got = printed(filter);
    assert_string_equal(got, canonical);
    pm_free(got);
    pm_filter_free(filter);
}

static void the_text_of_a_tree(void **state)
{
    (void)state;
    is_printed(" { } ", "{}");
    is_printed("{\"a\": 1}", "{\"a\": {\"$eq\": 1}}");
    is_printed("{\"a\": {\"$gt\": 1, \"$lte\": 5.50}, \"b\": null}",
               "{\"$and\": [{\"$and\": [{\"a\": {\"$gt\": 1}}, {\"a\": {\"$lte\": 5.5}}]}, {\"b\": {\"$eq\": null}}]}");
    is_printed("{\"a\": {\"$ne\": true}}", "{\"a\": {\"$ne\": true}}");
    is_printed("{\"$not\": {\"a\": {\"$ne\": true}}}", "{\"a\": {\"$eq\": true}}");
    is_printed("{\"a\": {\"$nin\": [2, 1, 2.0, \"b\", null, false, -1, \"a\"]}}",
               "{\"a\": {\"$nin\": [null, false, -1, 1, 2, \"a\", \"b\"]}}");
    is_printed("{\"a\": {\"$in\": [1, 1.0]}}", "{\"a\": {\"$eq\": 1}}");
    is_printed("{\"a\": {\"$in\": []}}", "{\"a\": {\"$in\": []}}");
    is_printed("{\"a\": {\"$exists\": false}}", "{\"a\": {\"$exists\": false}}");
    is_printed("{\"$not\": {\"a\": {\"$exists\": false}}}", "{\"a\": {\"$exists\": true}}");
    is_printed("{\"$not\": {\"a\": {\"$lt\": \"x\"}}}", "{\"$not\": {\"a\": {\"$lt\": \"x\"}}}");
    is_printed("{\"$or\": [{\"a\": 1}]}", "{\"a\": {\"$eq\": 1}}");
    is_printed("{\"$or\": [{\"a\": 1}, {}]}", "{\"$or\": [{\"a\": {\"$eq\": 1}}, {}]}");
    /* equals of one key side by side are one $in */
    is_printed(
        "{\"$or\": [{\"a\": 3}, {\"a\": {\"$eq\": \"x\"}}, {\"a\": null}, {\"a\": 3.0}, {\"a\": {\"$in\": [1, 2]}}]}",
        "{\"a\": {\"$in\": [null, 1, 2, 3, \"x\"]}}");
    is_printed("{\"$or\": [{\"a\": 1}, {\"\\u0061\": 1.0}]}", "{\"a\": {\"$eq\": 1}}");
    is_printed("{\"$or\": [{\"a\": {\"$in\": []}}, {\"a\": {\"$in\": []}}]}", "{\"a\": {\"$in\": []}}");
    is_printed("{\"$or\": [{\"a.b\": 1}, {\"$or\": [{\"a.b\": 3}, {\"a.b\": 2}]}]}", "{\"a.b\": {\"$in\": [1, 2, 3]}}");
    is_printed("{\"$not\": {\"$or\": [{\"a\": 1}, {\"a\": 2}]}}", "{\"a\": {\"$nin\": [1, 2]}}");
    is_printed(
        "{\"$or\": [{\"b\": 1}, {\"a\": 1}, {\"a\": 2}, {\"b\": 2}, {\"a\": {\"$gt\": 7}}, {\"a\": 3}, {\"a\": 4}]}",
        "{\"$or\": [{\"b\": {\"$eq\": 1}}, {\"a\": {\"$in\": [1, 2]}}, {\"b\": {\"$eq\": 2}}, {\"a\": {\"$gt\": 7}}, "
        "{\"a\": {\"$in\": [3, 4]}}]}");
    is_printed("{\"$or\": [{\"a\": 1}, {\"a.b\": 2}, {\"a\\\\.b\": 3}]}",
               "{\"$or\": [{\"a\": {\"$eq\": 1}}, {\"a.b\": {\"$eq\": 2}}, {\"a\\\\.b\": {\"$eq\": 3}}]}");
    is_printed("{\"$or\": [{\"a\": {\"$ne\": 1}}, {\"a\": {\"$ne\": 2}}, {\"a\": 1, \"b\": 1}, {\"a\": 2}]}",
               "{\"$or\": [{\"a\": {\"$ne\": 1}}, {\"a\": {\"$ne\": 2}}, {\"$and\": [{\"a\": {\"$eq\": 1}}, {\"b\": "
               "{\"$eq\": 1}}]}, "
               "{\"a\": {\"$eq\": 2}}]}");
    is_printed("{\"$and\": [{\"a\": 1}, {\"a\": 2}]}", "{\"$and\": [{\"a\": {\"$eq\": 1}}, {\"a\": {\"$eq\": 2}}]}");
    is_printed("{\"\\\\$a\\\\.b\\\\\\\\.$\\\"\\n\": {\"$starts_with\": \"\\u0000\\\\\\u00e9\\u007f\"}}",
               "{\"\\\\$a\\\\.b\\\\\\\\.$\\\"\\u000a\": {\"$starts_with\": \"\\u0000\\\\\u00e9\\u007f\"}}");
    is_printed("{\"a\": {\"$contains\": \"x\"}}", "{\"a\": {\"$contains\": \"x\"}}");
    is_printed(
        "{\"a\": {\"$in\": [0e7, 100, 1e19, 1e20, 12e-1, 0.00012, 0.000012, 123456789012345678901234, -1.5e-400]}}",
        "{\"a\": {\"$in\": [-1.5e-400, 0, 0.000012, 0.00012, 1.2, 100, 10000000000000000000, 1e20, "
        "1.23456789012345678901234e23]}}");
}

static void widths(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
        pm_filter_width width;
        int64_t i64;
        uint64_t u64;
    } numbers[] = {
        {"-0.0", "0", PM_FILTER_INT64, 0, 0},
        {"1e3", "1000", PM_FILTER_INT64, 1000, 0},
        {"-12.00", "-12", PM_FILTER_INT64, -12, 0},
        {"9223372036854775807", "9223372036854775807", PM_FILTER_INT64, INT64_MAX, 0},
        {"-9223372036854775808.0", "-9223372036854775808", PM_FILTER_INT64, INT64_MIN, 0},
        {"9223372036854775808", "9223372036854775808", PM_FILTER_UINT64, 0, (uint64_t)INT64_MAX + 1},
        {"18446744073709551615", "18446744073709551615", PM_FILTER_UINT64, 0, UINT64_MAX},
        {"18446744073709551616", "18446744073709551616", PM_FILTER_DECIMAL, 0, 0},
        {"-9223372036854775809", "-9223372036854775809", PM_FILTER_DECIMAL, 0, 0},
        {"1e20", "1e20", PM_FILTER_DECIMAL, 0, 0},
        {"0.5", "0.5", PM_FILTER_DECIMAL, 0, 0},
        {"12.5e-1", "1.25", PM_FILTER_DECIMAL, 0, 0},
        {"0.000050", "0.00005", PM_FILTER_DECIMAL, 0, 0},
        {"5e-6", "5e-6", PM_FILTER_DECIMAL, 0, 0},
        {"-1.2300e+400", "-1.23e400", PM_FILTER_DECIMAL, 0, 0},
        {"123456789012345678901234567890", "1.2345678901234567890123456789e29", PM_FILTER_DECIMAL, 0, 0},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"x.y\": {\"$lt\": %s}}", numbers[i].text);
        pm_filter *filter = parsed(text);
        const pm_filter_node *node = pm_filter_root(filter);
        assert_int_equal(node->op, PM_FILTER_LT);
        assert_int_equal(node->key_count, 2);
        assert_int_equal(node->count, 1);
        const pm_filter_value *value = node->values;
        assert_int_equal(value->type, PM_FILTER_NUMBER);
        assert_int_equal(value->size, strlen(numbers[i].canonical));
        assert_memory_equal(value->data, numbers[i].canonical, value->size);
        assert_int_equal(value->width, numbers[i].width);
        if (value->width == PM_FILTER_INT64) assert_true(value->whole.i64 == numbers[i].i64);
        if (value->width == PM_FILTER_UINT64) assert_true(value->whole.u64 == numbers[i].u64);
        pm_filter_free(filter);
    }
}

static void no_memory_is_no_crash(void **state)
{
    (void)state;
    char *values = repeated("", "12345678, \"abcdefgh\", ", 400, "1");
    char *text = repeated("{\"$and\": [{\"a.b\": {\"$contains\": \"xyxyz\", \"$nin\": [", values, 1,
                          "]}}, {\"$or\": [{}, {\"c\": null}, {\"c\": 1}, {\"c\": \"x\"}]}]}");
    pm_filter *filter;
    pomai_error err;
    pomai_status status;
    fails_at = 0;
    do {
        fails_at++;
        allocations = 0;
        pm_malloc_fails = fails;
        status = pm_filter_parse(text, strlen(text), &filter, &err);
        pm_malloc_fails = NULL;
        assert_true(status == POMAI_OK || status == POMAI_ENOMEM);
        if (status == POMAI_ENOMEM) assert_non_null(strstr(err.message, "no memory"));
    } while (status != POMAI_OK);
    assert_true(fails_at > 8);
    pm_filter_free(filter);
    pm_filter_free(NULL);
    free(text);
    free(values);
}

static int order_ints(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* By merging, and without memory in place. */
static void sorting(void **state)
{
    (void)state;
    enum { MOST = 3000 };
    static int values[MOST];
    static void *items[MOST];
    struct t_rng rng = t_rng_from(7);
    for (int count = 0; count <= MOST; count += 1 + (count > 70) * 97) {
        for (int how = 0; how < 6; how++) {
            for (int i = 0; i < count; i++) {
                values[i] = how % 3 == 0 ? (int)(t_next(&rng) % 50) : how % 3 == 1 ? i : -i;
                items[i] = &values[i];
            }
            allocations = 0;
            fails_at = how < 3 ? 0 : 1;
            pm_malloc_fails = fails;
            pm_filter_sort(items, (size_t)count, order_ints);
            pm_malloc_fails = NULL;
            uint64_t seen = 0, all = 0;
            for (int i = 0; i < count; i++) {
                if (i > 0) assert_true(order_ints(items[i - 1], items[i]) <= 0);
                seen += (uint64_t)((int *)items[i] - values + 1) * (uint64_t)((int *)items[i] - values + 1);
                all += (uint64_t)(i + 1) * (uint64_t)(i + 1);
            }
            assert_int_equal(seen, all); /* each once */
        }
    }
}

/* A value as JSON: near others in its first digits or bytes, and far from all. */
static int draw_value(struct t_rng *rng, int how, char *out, size_t room)
{
    const int r = (int)(t_next(rng) % 1000), sign = (int)(t_next(rng) % 2);
    const char *minus = sign ? "-" : "";
    switch (how == 0 ? (int)(t_next(rng) % 12) : how) {
    case 1:
        return snprintf(out, room, "%s%d", minus, r);
    case 2:
        return snprintf(out, room, "%s1700000000000000%03d", minus, r);
    case 3:
        return snprintf(out, room, "%s123456789012345678901234567890%03d", minus, r);
    case 4:
        return snprintf(out, room, "%s%d.%de%d", minus, r % 10, r, 2 * r - 1000);
    case 5:
        return snprintf(out, room, "%s%de%s%d", minus, r % 3, r % 2 ? "-" : "", 999999000 + r);
    case 6:
        return snprintf(out, room, "%s0.%06d", minus, r);
    case 7:
        return snprintf(out, room, "\"%d\"", r);
    case 8:
        return snprintf(out, room, "\"customer-number-%09d\"", r);
    case 9:
        return snprintf(out, room, "\"%d-customer-with-a-long-name-and-a-number-%d\"", r % 2, r);
    case 10:
        return snprintf(out, room, "\"\\u0000%.*s\\u00%02x\"", r % 12, "aaaaaaaa\x7f\x7f\x7f\x7f", r % 256);
    default:
        return snprintf(out, room, "%s", r % 4 == 0 ? "null" : r % 4 == 1 ? "true" : r % 4 == 2 ? "false" : "\"\"");
    }
}

/* The values of an $in are each once and in order, and none is lost. */
static void values_in_order(void **state)
{
    (void)state;
    enum { MOST = 5000, ROOM = 80 };
    static char drawn[MOST][ROOM], text[MOST * ROOM + 64];
    struct t_rng rng = t_rng_from(11);
    for (int how = 0; how < 12; how++) {
        for (int count = 40; count <= MOST; count *= 5) {
            int size = snprintf(text, sizeof text, "{\"a\": {\"$in\": [");
            for (int i = 0; i < count; i++) {
                assert_in_range(draw_value(&rng, how, drawn[i], ROOM), 1, ROOM - 1);
                size += snprintf(text + size, sizeof text - (size_t)size, "%s%s", i > 0 ? "," : "", drawn[i]);
            }
            snprintf(text + size, sizeof text - (size_t)size, "]}}");
            pm_filter *all = parsed(text);
            const pm_filter_node *in = pm_filter_root(all);
            for (uint32_t i = 1; i < in->count; i++)
                assert_true(pm_filter_order_values(&in->values[i - 1], &in->values[i]) < 0);
            for (int i = 0; i < count; i++) {
                snprintf(text, sizeof text, "{\"a\": %s}", drawn[i]);
                pm_filter *one = parsed(text);
                const pm_filter_value *value = pm_filter_root(one)->values;
                const pm_filter_value *found =
                    bsearch(value, in->values, in->count, sizeof *value, pm_filter_order_values);
                if (found == NULL) fail_msg("lost: %s", drawn[i]);
                assert_int_equal(found->size, value->size);
                if (value->size > 0) assert_memory_equal(found->data, value->data, value->size);
                assert_int_equal(found->width, value->width);
                pm_filter_free(one);
            }
            pm_filter_free(all);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_table),
        cmocka_unit_test(the_refusals),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(a_long_path_is_shown_at_its_end),
        cmocka_unit_test(cut_and_changed_filters),
        cmocka_unit_test(a_hundred_thousand_values),
        cmocka_unit_test(a_hundred_thousand_keys),
        cmocka_unit_test(judging_can_be_ended),
        cmocka_unit_test(hostile_documents),
        cmocka_unit_test(deep_documents),
        cmocka_unit_test(only_json_has_keys),
        cmocka_unit_test(the_text_of_a_tree),
        cmocka_unit_test(widths),
        cmocka_unit_test(no_memory_is_no_crash),
        cmocka_unit_test(sorting),
        cmocka_unit_test(values_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
