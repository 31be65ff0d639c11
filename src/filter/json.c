/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "filter/filter_int.h"

/* Length of the sequence of UTF-8 that begins at p with a byte above 0x7f (Unicode 15, table 3-7); 0: it is none. */
static unsigned utf8_length(const char *text, const char *end)
{
    const uint8_t *p = (const uint8_t *)text;
    const size_t room = (size_t)(end - text);
#define TAIL(i) ((p[i] & 0xc0u) == 0x80u)
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    if (p[0] < 0xe0) return room >= 2 && TAIL(1) ? 2 : 0;
    if (p[0] < 0xf0) {
        if (room < 3 || !TAIL(1) || !TAIL(2)) return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)) return 0; /* too long; a surrogate */
        return 3;
    }
    if (room < 4 || !TAIL(1) || !TAIL(2) || !TAIL(3)) return 0;
    if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) return 0; /* too long; above 10ffff */
    return 4;
#undef TAIL
}

static int hex_digit(char c)
{
    if (pm_filter_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Length of the escape at p; 0: it is none. */
static unsigned escape_length(const char *p, const char *end)
{
    if (end - p < 2) return 0;
    if (p[1] != 'u') return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? 2 : 0;
    if (end - p < 6) return 0;
    for (int i = 2; i < 6; i++)
        if (hex_digit(p[i]) < 0) return 0;
    return 6;
}

/* Eight bytes at a time over what needs no look: no quote, no backslash, nothing below 0x20 or above 0x7f. */
static const char *skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        const uint64_t quote = word ^ ones * '"', back = word ^ ones * '\\';
        /* Above the first byte that needs a look there may be marks by mistake: of a borrow. */
        const uint64_t marks = ((quote - ones) | (back - ones) | (word - ones * 0x20) | word) & high;
        if (marks == 0) continue;
        if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) break;
        return p + __builtin_ctzll(marks) / 8;
    }
    while (p < end && *p != '"' && *p != '\\' && (uint8_t)*p >= 0x20 && (uint8_t)*p < 0x80)
        p++;
    return p;
}

const char *pm_filter_skip_string(const char *p, const char *end, bool *escapes)
{
    for (p++;;) {
        p = skip_plain(p, end);
        if (p == end) return NULL;
        if (*p == '"') return p + 1;
        unsigned length;
        if (*p == '\\') {
            *escapes = true;
            length = escape_length(p, end);
        } else {
            length = (uint8_t)*p < 0x20 ? 0 : utf8_length(p, end);
        }
        if (length == 0) return NULL;
        p += length;
    }
}

static const char *skip_digits(const char *p, const char *end)
{
    if (p == end || !pm_filter_digit(*p)) return NULL;
    while (p < end && pm_filter_digit(*p))
        p++;
    return p;
}

bool pm_filter_lacks_quotes(const char *p, const char *end, bool key)
{
    if (p == end) return false;
    if (*p == '\'' || (end - p > 2 && memcmp(p, "\xe2\x80", 2) == 0 && ((uint8_t)p[2] & 0xf8) == 0x98)) return true;
    return key && (*p == '_' || *p == '$' || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'));
}

const char *pm_filter_skip_number(const char *p, const char *end)
{
    if (*p == '-') p++;
    if (p < end && *p == '0')
        p++;
    else if ((p = skip_digits(p, end)) == NULL)
        return NULL;
    if (p < end && *p == '.' && (p = skip_digits(p + 1, end)) == NULL) return NULL;
    if (p == end || (*p | 0x20) != 'e') return p;
    p++;
    if (p < end && (*p == '+' || *p == '-')) p++;
    return skip_digits(p, end);
}

const char *pm_filter_skip_word(const char *p, const char *end)
{
    static const char *const words[] = {"null", "true", "false"};
    for (int i = 0; i < 3; i++) {
        const size_t size = strlen(words[i]);
        if ((size_t)(end - p) >= size && memcmp(p, words[i], size) == 0) return p + size;
    }
    return NULL;
}

/* A value that is no object and no array. */
static const char *skip_scalar(const char *p, const char *end, bool *escapes)
{
    if (*p == '"') return pm_filter_skip_string(p, end, escapes);
    if (*p == '-' || pm_filter_digit(*p)) return pm_filter_skip_number(p, end);
    return pm_filter_skip_word(p, end);
}

/* From behind a brace or comma to the value: over the key and the colon. */
static const char *skip_key(const char *p, const char *end)
{
    bool escapes;
    p = pm_filter_blank(p, end);
    if (p == end || *p != '"' || (p = pm_filter_skip_string(p, end, &escapes)) == NULL) return NULL;
    p = pm_filter_blank(p, end);
    return p < end && *p == ':' ? p + 1 : NULL;
}

/* From an opening brace or bracket. */
static const char *skip_nested(const char *p, const char *end, unsigned depth, bool *escapes)
{
    uint64_t objects[PM_FILTER_MOST_NESTING / 64 + 1] = {0}; /* a bit for each that is open: an object, not an array */
    const unsigned outside = depth;
    do {
        p = pm_filter_blank(p, end);
        if (p == end) return NULL;
        if (*p == '{' || *p == '[') {
            const bool object = *p == '{';
            if (++depth > PM_FILTER_MOST_NESTING) return NULL;
            objects[depth / 64] &= ~(UINT64_C(1) << depth % 64);
            objects[depth / 64] |= (uint64_t)object << depth % 64;
            p = pm_filter_blank(p + 1, end);
            if (p == end) return NULL;
            if (*p != (object ? '}' : ']')) {
                if (object && (p = skip_key(p, end)) == NULL) return NULL;
                continue;
            }
        } else if ((p = skip_scalar(p, end, escapes)) == NULL) {
            return NULL;
        }
        for (; depth > outside; p++, depth--) { /* behind a value, or at the end of what is empty */
            const bool object = (objects[depth / 64] >> depth % 64 & 1) != 0;
            p = pm_filter_blank(p, end);
            if (p == end) return NULL;
            if (*p == (object ? '}' : ']')) continue;
            if (*p != ',') return NULL;
            p++;
            if (object && (p = skip_key(p, end)) == NULL) return NULL;
            break;
        }
    } while (depth > outside);
    return p;
}

const char *pm_filter_skip_value(const char *p, const char *end, unsigned depth, bool *escapes)
{
    p = pm_filter_blank(p, end);
    if (p == end) return NULL;
    return *p == '{' || *p == '[' ? skip_nested(p, end, depth, escapes) : skip_scalar(p, end, escapes);
}

/* ---- what strings stand for ---- */

static unsigned read_hex(const char *p)
{
    unsigned n = 0;
    for (int i = 0; i < 4; i++)
        n = n << 4 | (unsigned)hex_digit(p[i]);
    return n;
}

/* Half a pair is written like any other code point. */
static void put_utf8(pm_filter_string *s, unsigned c)
{
    s->at = 0;
    if (c < 0x80) {
        s->bytes[0] = (uint8_t)c;
        s->count = 1;
    } else if (c < 0x800) {
        s->bytes[0] = (uint8_t)(0xc0 | c >> 6);
        s->bytes[1] = (uint8_t)(0x80 | (c & 0x3f));
        s->count = 2;
    } else if (c < 0x10000) {
        s->bytes[0] = (uint8_t)(0xe0 | c >> 12);
        s->bytes[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        s->bytes[2] = (uint8_t)(0x80 | (c & 0x3f));
        s->count = 3;
    } else {
        s->bytes[0] = (uint8_t)(0xf0 | c >> 18);
        s->bytes[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        s->bytes[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        s->bytes[3] = (uint8_t)(0x80 | (c & 0x3f));
        s->count = 4;
    }
}

int pm_filter_unescape(pm_filter_string *s)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (s->p == s->end) return -1;
    const char c = s->p[1];
    s->p += 2;
    if (c != 'u') return meant[strchr(names, c) - names];
    unsigned point = read_hex(s->p);
    s->p += 4;
    if (point >> 10 == 0xd800 >> 10 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        const unsigned low = read_hex(s->p + 2);
        if (low >> 10 == 0xdc00 >> 10) {
            point = 0x10000 + ((point & 0x3ff) << 10 | (low & 0x3ff));
            s->p += 6;
        }
    }
    put_utf8(s, point);
    return s->bytes[s->at++];
}
