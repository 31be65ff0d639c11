/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to stdout: JSON for machines, text for people. Ids and documents are opaque bytes to the engine, so both
 * must survive anything: bytes that are no UTF-8, control characters, JSON spread over lines.
 */
#include "cli.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void text_add(struct text *text, const void *bytes, size_t size)
{
    text->data = must_grow(text->data, &text->capacity, text->size + size + 1, 1);
    if (size) memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = 0;
}

void text_free(struct text *text)
{
    free(text->data);
    memset(text, 0, sizeof *text);
}

static void text_add_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

/* 0.1 must not become 0.10000000000000001: tries fewer digits first. */
static void format_double(double number, char buffer[40])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buffer, 40, "%.*g", digits, number);
        if (strtod(buffer, NULL) == number) return;
    }
}

static void format_float(float number, char buffer[40])
{
    /* Many a JSON reader takes -0 for a whole number, which has no sign. */
    if (number == 0) {
        snprintf(buffer, 40, signbit(number) ? "-0.0" : "0");
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(buffer, 40, "%.*g", digits, (double)number);
        if ((float)strtod(buffer, NULL) == number) return; /* as readers of JSON do, with its second rounding */
    }
}

void text_add_double(struct text *text, double number)
{
    char buffer[40];
    format_double(number, buffer);
    text_add_string(text, buffer);
    if (!strpbrk(buffer, ".eEn")) text_add_string(text, ".0");
}

void text_add_float(struct text *text, float number)
{
    char buffer[40];
    if (number > 0 && number < 1000000 && (float)(int)number == number) /* much data is whole numbers */
        snprintf(buffer, sizeof buffer, "%d", (int)number);
    else
        format_float(number, buffer);
    text_add_string(text, buffer);
}

static void text_add_json_string(struct text *text, const char *string, size_t size)
{
    json_t *value = json_stringn(string, size);
    char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    text_add_string(text, quoted ? quoted : "null");
    free(quoted);
    json_decref(value);
}

/* Jansson walks only objects that may be changed. */
static void *first_member(const json_t *object)
{
    return json_object_iter((json_t *)object);
}

static void *next_member(const json_t *object, void *at)
{
    return json_object_iter_next((json_t *)object, at);
}

void text_add_json(struct text *text, const json_t *value)
{
    char buffer[40];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        text_add(text, "{", 1);
        for (void *at = first_member(value); at; at = next_member(value, at)) {
            if (text->data[text->size - 1] != '{') text_add(text, ",", 1);
            text_add_json_string(text, json_object_iter_key(at), strlen(json_object_iter_key(at)));
            text_add(text, ":", 1);
            text_add_json(text, json_object_iter_value(at));
        }
        text_add(text, "}", 1);
        break;
    case JSON_ARRAY:
        text_add(text, "[", 1);
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i) text_add(text, ",", 1);
            text_add_json(text, json_array_get(value, i));
        }
        text_add(text, "]", 1);
        break;
    case JSON_STRING:
        text_add_json_string(text, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        snprintf(buffer, sizeof buffer, "%lld", (long long)json_integer_value(value));
        text_add_string(text, buffer);
        break;
    case JSON_REAL:
        text_add_double(text, json_real_value(value));
        break;
    case JSON_TRUE:
        text_add_string(text, "true");
        break;
    case JSON_FALSE:
        text_add_string(text, "false");
        break;
    case JSON_NULL:
        text_add_string(text, "null");
        break;
    }
}

void print_json_string(const char *string)
{
    struct text text = {0};
    json_t *value = json_string(string);
    if (value)
        text_add_json(&text, value);
    else
        text_add_string(&text, "null");
    fwrite(text.data, 1, text.size, stdout);
    json_decref(value);
    text_free(&text);
}

void text_add_hex(struct text *text, pomai_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        const unsigned char byte = ((const unsigned char *)bytes.data)[i];
        text_add(text, (char[]){digits[byte >> 4], digits[byte & 15]}, 2);
    }
}

static void print_hex(const char *key, pomai_bytes bytes)
{
    struct text text = {0};
    text_add_hex(&text, bytes);
    printf(",\"%s_hex\":\"%s\"", key, text.data ? text.data : "");
    text_free(&text);
}

static void print_member(const char *key, struct text *value)
{
    printf(",\"%s\":", key);
    fwrite(value->data, 1, value->size, stdout);
    text_free(value);
}

void print_json_id(const char *key, pomai_bytes id)
{
    json_t *value = json_stringn(id.data, id.size);
    if (value) {
        struct text text = {0};
        text_add_json(&text, value);
        print_member(key, &text);
    } else {
        print_hex(key, id);
    }
    json_decref(value);
}

void print_json_document(const char *key, pomai_bytes document)
{
    if (!document.data) return;
    const struct written json = {document.data, document.size};
    json_error_t error;
    json_t *value = written_load(json, false, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (value) {
        struct text text = {0};
        text_add_written(&text, json);
        print_member(key, &text);
    } else {
        print_json_id(key, document);
    }
    json_decref(value);
}

void print_double(double number)
{
    char buffer[40];
    format_double(number, buffer);
    fputs(isfinite(number) ? buffer : "null", stdout);
}

void print_float(float number)
{
    char buffer[40];
    format_float(number, buffer);
    fputs(buffer, stdout);
}

/* Bytes of the UTF-8 character at `at`; 0 if it is none. */
static size_t utf8_size(const unsigned char *at, size_t left)
{
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    if (size > left) return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    return size;
}

void print_safe(pomai_bytes bytes, size_t limit)
{
    const unsigned char *data = bytes.data;
    size_t end = bytes.size < limit ? bytes.size : limit;
    for (size_t i = 0; i < end;) {
        size_t size = utf8_size(data + i, bytes.size - i);
        /* U+0080 to U+009f are control characters as well. */
        bool control = data[i] < 0x20 || data[i] == 0x7f || (size == 2 && data[i] == 0xc2 && data[i + 1] < 0xa0);
        if (size == 0 || control) {
            printf("\\x%02x", data[i]);
            i++;
        } else {
            fwrite(data + i, 1, size, stdout);
            i += size;
        }
    }
    if (bytes.size > limit) printf("... (%zu bytes)", bytes.size);
}

void print_stamp(uint64_t stamp_ns)
{
    time_t seconds = (time_t)(stamp_ns / 1000000000);
    struct tm tm;
    char buffer[64];
    gmtime_r(&seconds, &tm);
    strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &tm);
    printf("%s.%09lluZ", buffer, (unsigned long long)(stamp_ns % 1000000000));
}

/* ---- any JSON for people ---- */

static bool is_flat(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

/* Objects without objects in them, all with the members of the first. */
static bool is_table(const json_t *list)
{
    const json_t *first = json_array_get(list, 0);
    if (json_object_size(first) == 0) return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        if (json_object_size(row) != json_object_size(first)) return false;
        for (void *at = first_member(row); at; at = next_member(row, at))
            if (!json_object_get(first, json_object_iter_key(at)) || !is_flat(json_object_iter_value(at))) return false;
    }
    return true;
}

static bool ends_with(const char *key, const char *end)
{
    size_t size = strlen(key), end_size = strlen(end);
    return size >= end_size && strcmp(key + size - end_size, end) == 0;
}

static void add_duration(double nanoseconds, struct text *out)
{
    char buffer[40];
    if (nanoseconds < 1e6)
        snprintf(buffer, sizeof buffer, "%.1f us", nanoseconds / 1e3);
    else if (nanoseconds < 1e9)
        snprintf(buffer, sizeof buffer, "%.1f ms", nanoseconds / 1e6);
    else
        snprintf(buffer, sizeof buffer, "%.2f s", nanoseconds / 1e9);
    text_add_string(out, buffer);
}

/* The unit is the end of the name: 12345678 as bytes or nanoseconds reads badly. --json has every digit. */
static void format_flat(const char *key, const json_t *value, struct text *out)
{
    const double year_ns = 3.2e16; /* beyond that it is a time of day */
    char buffer[40];
    out->size = 0;
    if (json_is_string(value)) {
        text_add(out, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value) && json_integer_value(value) >= 0) {
        uint64_t number = (uint64_t)json_integer_value(value);
        if (ends_with(key, "bytes"))
            text_add_string(out, byte_text((double)number, buffer));
        else if (ends_with(key, "_ns") && number > 0 && (double)number < year_ns)
            add_duration((double)number, out);
        else
            text_add_string(out, grouped(number, buffer));
    } else {
        text_add_json(out, value);
    }
}

static void print_indent(size_t depth)
{
    printf("%*s", (int)(depth * 2), "");
}

static void print_cell(const struct text *cell, size_t width)
{
    print_safe((pomai_bytes){cell->data, cell->size}, 200);
    if (cell->size < width) printf("%*s", (int)(width - cell->size), "");
}

/* A line for each member and a column for each object: there are many members and few objects. */
static void print_table(const json_t *rows, size_t depth)
{
    enum { COLUMNS = 8 };
    struct text cell = {0};
    const json_t *first = json_array_get(rows, 0);
    size_t count = json_array_size(rows), width = 0;
    for (size_t i = 0; i < count; i++) {
        for (void *at = first_member(first); at; at = next_member(first, at)) {
            const char *key = json_object_iter_key(at);
            format_flat(key, json_object_get(json_array_get(rows, i), key), &cell);
            width = cell.size > width ? cell.size : width;
        }
    }
    for (size_t from = 0; from < count; from += COLUMNS) {
        for (void *at = first_member(first); at; at = next_member(first, at)) {
            const char *key = json_object_iter_key(at);
            print_indent(depth);
            printf("%-24s", key);
            for (size_t i = from; i < count && i < from + COLUMNS; i++) {
                format_flat(key, json_object_get(json_array_get(rows, i), key), &cell);
                putchar(' ');
                print_cell(&cell, i + 1 == count || i + 1 == from + COLUMNS ? 0 : width + 1);
            }
            putchar('\n');
        }
        if (from + COLUMNS < count) putchar('\n');
    }
    text_free(&cell);
}

static void print_tree(const char *key, const json_t *value, size_t depth);

static bool is_empty_string(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) == 0;
}

static void print_members(const json_t *object, size_t depth)
{
    /* The report of an opening counts all rows ever put, deleted ones too; as `rows` a delete would seem to have
     * failed. */
    bool of_log = json_object_get(object, "torn_bytes") != NULL && json_object_get(object, "problems") == NULL;
    for (void *at = first_member(object); at; at = next_member(object, at)) {
        const char *key = json_object_iter_key(at);
        if (is_empty_string(json_object_iter_value(at))) continue; /* says nothing */
        print_tree(of_log && strcmp(key, "rows") == 0 ? "rows_put" : key, json_object_iter_value(at), depth);
    }
}

static void print_list(const json_t *list, size_t depth)
{
    bool all_flat = true;
    for (size_t i = 0; i < json_array_size(list); i++)
        all_flat = all_flat && is_flat(json_array_get(list, i));
    if (is_table(list)) {
        print_table(list, depth);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        char name[24];
        snprintf(name, sizeof name, "%zu", i);
        print_tree(all_flat ? "-" : name, json_array_get(list, i), depth);
    }
}

static void print_tree(const char *key, const json_t *value, size_t depth)
{
    print_indent(depth);
    print_safe((pomai_bytes){key, strlen(key)}, 200);
    if (is_flat(value)) {
        struct text text = {0};
        format_flat(key, value, &text);
        printf("%*s", strlen(key) < 24 ? (int)(25 - strlen(key)) : 1, "");
        print_safe((pomai_bytes){text.data, text.size}, 4000);
        putchar('\n');
        text_free(&text);
    } else if (json_is_array(value)) {
        puts(json_array_size(value) ? "" : "  none");
        print_list(value, depth + 1);
    } else {
        putchar('\n');
        print_members(value, depth + 1);
    }
}

bool print_readable(const char *json)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    if (!value) return false;
    if (json_is_object(value))
        print_members(value, 0);
    else
        print_tree("value", value, 0);
    json_decref(value);
    return true;
}
