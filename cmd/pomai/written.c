/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents as they are written. Jansson says whether a text is JSON and what is in it, but its numbers are of 64 bits:
 * longer ones it refuses, and decimals it rounds. So what is stored and printed is copied from the text.
 */
#include "cli.h"

#include <jansson.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool in_number(char c)
{
    return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Behind the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\') at++;
    return at < end ? at + 1 : end;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    return at;
}

/* Behind the value that begins at `at`. */
static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0) return at;
            depth--;
            at++;
        } else if (depth == 0 && (*at == ',' || is_blank(*at))) {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0) return at;
    }
    return end;
}

bool written_member(struct written *rest, struct written *key, struct written *value)
{
    const char *at = rest->data, *const end = at + rest->size;
    while (at < end && *at != '"') /* blanks, the brace, a comma */
        if (*at++ == '}') return false;
    if (at == end) return false;
    const char *behind = skip_string(at, end);
    *key = (struct written){at, (size_t)(behind - at)};
    at = skip_blanks(behind, end);
    if (at < end) at = skip_blanks(at + 1, end); /* the colon */
    behind = skip_value(at, end);
    *value = (struct written){at, (size_t)(behind - at)};
    *rest = (struct written){behind, (size_t)(end - behind)};
    return true;
}

bool written_is(struct written key, const char *name)
{
    if (!memchr(key.data, '\\', key.size))
        return key.size == strlen(name) + 2 && memcmp(key.data + 1, name, key.size - 2) == 0;
    json_t *value = json_loadb(key.data, key.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const bool same = value && strcmp(json_string_value(value), name) == 0;
    json_decref(value);
    return same;
}

void text_add_written(struct text *text, struct written json)
{
    const char *at = json.data, *const end = at + json.size;
    while (at < end) {
        const char *from = at = skip_blanks(at, end);
        while (at < end && !is_blank(*at))
            at = *at == '"' ? skip_string(at, end) : at + 1;
        text_add(text, from, (size_t)(at - from));
    }
}

/* Behind the digits at `at`; NULL if there are none. */
static const char *skip_digits(const char *at, const char *end)
{
    const char *from = at;
    while (at < end && is_digit(*at))
        at++;
    return at > from ? at : NULL;
}

static bool is_number(const char *at, const char *end)
{
    if (at < end && *at == '-') at++;
    if (at + 1 < end && at[0] == '0' && is_digit(at[1])) return false;
    at = skip_digits(at, end);
    if (at && at < end && *at == '.') at = skip_digits(at + 1, end);
    if (at && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '-' || *at == '+')) at++;
        at = skip_digits(at, end);
    }
    return at == end;
}

/* Numbers become 0 and blanks: the text is JSON if it was, and goes wrong in the same column if it was not. */
static void blank_numbers(char *at, char *end)
{
    while (at < end) {
        if (*at == '"') {
            at += skip_string(at, end) - at;
        } else if (*at == '-' || is_digit(*at)) {
            char *from = at;
            while (at < end && in_number(*at))
                at++;
            if (!is_number(from, at)) continue;
            memset(from, ' ', (size_t)(at - from));
            *from = '0';
        } else {
            at++;
        }
    }
}

static bool keeps_numbers(struct written key)
{
    static const char *const names[] = {"id", "id_u64", "vector", "expiry_ns"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (written_is(key, names[i])) return true;
    return false;
}

/* Of an object only those of its documents; what looks like none is left to be refused as it is. */
static void blank_documents(char *data, size_t size)
{
    struct written rest = {data, size}, key, value;
    while (written_member(&rest, &key, &value))
        if (!keeps_numbers(key)) blank_numbers(data + (value.data - data), data + (value.data - data) + value.size);
}

json_t *written_load(struct written json, bool row, size_t flags, json_error_t *error)
{
    json_t *value = json_loadb(json.data, json.size, flags, error);
    if (value || json_error_code(error) != json_error_numeric_overflow) return value;
    struct text blanked = {0};
    text_add(&blanked, json.data, json.size);
    if (row)
        blank_documents(blanked.data, blanked.size);
    else
        blank_numbers(blanked.data, blanked.data + blanked.size);
    value = json_loadb(blanked.data, blanked.size, flags, error);
    text_free(&blanked);
    return value;
}
