/* SPDX-License-Identifier: Apache-2.0 */
/* Eight bytes at a time as long as none of them wants an escape or is beyond ASCII. */
#include "arrow/text.h"

#include <stdbool.h>
#include <string.h>

#include "arrow/number.h"

enum { SHORT_STRING = 128 }; /* for which the most room is taken unseen */

static const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;

/* The top bit of each byte that is no plain one, certainly right up to the first of them. */
static uint64_t not_plain(uint64_t word)
{
    const uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
    return (word | ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & tops;
}

/* Fewer than 8 bytes as a word, plain behind the last. Reads nothing else. */
static uint64_t load_tail(const char *p, size_t size)
{
    uint64_t word = 0;
    if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, p, 4);
        memcpy(&last, p + size - 4, 4);
        word = first | (uint64_t)last << 8 * (size - 4);
    } else if (size > 0) {
        word = (uint64_t)(uint8_t)p[0] | (uint64_t)(uint8_t)p[size / 2] << 8 * (size / 2) |
               (uint64_t)(uint8_t)p[size - 1] << 8 * (size - 1);
    }
    return word | ones * ' ' << 8 * size;
}

/* Bytes of the character at p, which begins with none of ASCII; 0: it is not UTF-8 (RFC 3629, section 4). */
static size_t character(const uint8_t *p, size_t left)
{
    const uint8_t c = p[0];
    const size_t size = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (size == 0 || left < size) return 0;
    const uint8_t least = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, most = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < least || p[1] > most) return 0;
    for (size_t i = 2; i < size; i++)
        if (p[i] < 0x80 || p[i] > 0xbf) return 0;
    return size;
}

static char *escape(char *at, uint8_t c)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt", hex[] = "0123456789abcdef";
    *at++ = '\\';
    for (size_t i = 0; i + 1 < sizeof shorts; i += 2)
        if ((uint8_t)shorts[i] == c) {
            *at++ = shorts[i + 1];
            return at;
        }
    at[0] = 'u';
    at[1] = at[2] = '0';
    at[3] = hex[c >> 4];
    at[4] = hex[c & 15];
    return at + 5;
}

/* Bytes that its escape has at most, beyond its own. */
static size_t escaped(uint8_t c)
{
    return c == '"' || c == '\\' ? 1 : 5;
}

size_t pm_string_room(const char *data, size_t size)
{
    if (size <= SHORT_STRING) return 6 * size + PM_STRING_SLACK;
    size_t room = size + PM_STRING_SLACK;
    for (size_t i = 0; i < size; i++) {
        const uint8_t c = (uint8_t)data[i];
        const size_t more = c < 0x20 || c == '"' || c == '\\' ? escaped(c) : 0;
        if (room > SIZE_MAX / 2 - more) return SIZE_MAX;
        room += more;
    }
    return room;
}

/* A copy of what is judged, as it may change: p[0] to p[3], 0 behind the last. */
static uint32_t load_four(const char *p, size_t size)
{
    uint32_t four = 0;
    if (size >= 4) {
        memcpy(&four, p, 4);
        return four;
    }
    for (size_t i = 0; i < size; i++)
        four |= (uint32_t)(uint8_t)p[i] << 8 * i;
    return four;
}

char *pm_write_string(char *at, size_t room, const char *data, size_t size)
{
    size_t spare = room - PM_STRING_SLACK - size; /* for escapes */
    *at++ = '"';
    while (size > 0) {
        uint64_t word;
        if (size >= 8)
            memcpy(&word, data, 8);
        else
            word = load_tail(data, size);
        memcpy(at, &word, 8);
        const uint64_t special = not_plain(word);
        const size_t plain = special == 0 ? 8 : (size_t)__builtin_ctzll(special) / 8;
        if (plain >= size || special == 0) {
            const size_t done = size < 8 ? size : 8;
            data += done;
            at += done;
            size -= done;
            continue;
        }
        data += plain;
        at += plain;
        size -= plain;
        const uint32_t four = load_four(data, size);
        const uint8_t c = (uint8_t)four;
        const size_t bytes = c < 0x80 ? 1 : character((const uint8_t *)&four, size);
        if (bytes == 0) return NULL;
        if (c < 0x80) {
            const size_t more = escaped(c);
            if (more > spare) return NULL;
            spare -= more;
            at = escape(at, c);
        } else {
            memcpy(at, &four, 4);
            at += bytes;
        }
        data += bytes;
        size -= bytes;
    }
    *at++ = '"';
    return at;
}

/* ---- dates and times ---- */

/* The civil date of a day since 1970; years of the Gregorian calendar, 400 of which have 146,097 days. */
static char *put_date(char *at, int64_t days)
{
    const int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, day = z - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    const int64_t in_year = day - (365 * year + year / 4 - year / 100), m = (5 * in_year + 2) / 153;
    const int64_t month = m < 10 ? m + 3 : m - 9;
    year += era * 400 + (month <= 2);
    if (year < 0) *at++ = '-';
    if (year < 0) year = -year;
    at = year < 10000 ? pm_write_digits(at, (uint32_t)year, 4) : pm_write_u64(at, (uint64_t)year);
    *at++ = '-';
    at = pm_write_digits(at, (uint32_t)month, 2);
    *at++ = '-';
    return pm_write_digits(at, (uint32_t)(in_year - (153 * m + 2) / 5 + 1), 2);
}

/* 12:34:56.789 */
static char *put_clock(char *at, int64_t ticks, int64_t unit)
{
    const int64_t seconds = ticks / unit, rest = ticks % unit;
    at = pm_write_digits(at, (uint32_t)(seconds / 3600), 2);
    *at++ = ':';
    at = pm_write_digits(at, (uint32_t)(seconds / 60 % 60), 2);
    *at++ = ':';
    at = pm_write_digits(at, (uint32_t)(seconds % 60), 2);
    if (rest == 0) return at;
    *at++ = '.';
    return pm_write_digits(at, (uint32_t)rest, unit == 1000 ? 3 : unit == 1000000 ? 6 : 9);
}

char *pm_write_date(char *at, int64_t days)
{
    *at = '"';
    at = put_date(at + 1, days);
    *at = '"';
    return at + 1;
}

char *pm_write_clock(char *at, int64_t ticks, int64_t unit)
{
    *at = '"';
    at = put_clock(at + 1, ticks, unit);
    *at = '"';
    return at + 1;
}

char *pm_write_time(char *at, int64_t ticks, int64_t unit, int date, int zoned)
{
    const int64_t day = 86400 * unit, past = ticks % day < 0, days = ticks / day - past;
    const int64_t within = ticks % day + past * day; /* days * day may be below what 64 bits hold */
    if (days > 1000000000000 || days < -1000000000000) return NULL;
    *at = '"';
    at = put_date(at + 1, days);
    if (!date || within != 0) {
        *at = 'T';
        at = put_clock(at + 1, within, unit);
    }
    if (zoned) memcpy(at, "+00:00\0", 8);
    if (zoned) at += 6;
    *at = '"';
    return at + 1;
}
