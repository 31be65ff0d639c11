/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers are the decimals that are written: compared digit by digit, never rounded. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "filter/filter_int.h"

enum { LEAD_DIGITS = 19 }; /* that any 64 bits hold */

static const uint64_t tens[LEAD_DIGITS + 1] = {1,
                                               10,
                                               100,
                                               1000,
                                               10000,
                                               100000,
                                               1000000,
                                               10000000,
                                               100000000,
                                               1000000000,
                                               10000000000,
                                               100000000000,
                                               1000000000000,
                                               10000000000000,
                                               100000000000000,
                                               1000000000000000,
                                               10000000000000000,
                                               100000000000000000,
                                               1000000000000000000,
                                               10000000000000000000u};

/* Behind the e. Stops at 2^56, which no number of digits that fits into memory brings back into a filter's range. */
static int64_t read_exponent(const char *p, const char *end)
{
    const bool negative = *p == '-';
    int64_t exponent = 0;
    if (*p == '-' || *p == '+') p++;
    for (; p < end; p++) {
        exponent = exponent * 10 + (*p - '0');
        if (exponent > INT64_C(1) << 56) exponent = INT64_C(1) << 56;
    }
    return negative ? -exponent : exponent;
}

void pm_filter_read_number(const char *p, const char *end, pm_filter_number *number)
{
    const bool negative = *p == '-';
    const char *last = NULL, *tail = NULL; /* behind the last digit that is not 0; behind the 19th */
    unsigned digits = 0;                   /* in lead */
    bool point = false;
    int64_t exponent = 0;
    uint64_t lead = 0;
    for (p += negative; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (*p != '0') last = p + 1;
        if (last == NULL) { /* zeros before the first digit */
            exponent -= point;
            continue;
        }
        exponent += !point;
        if (digits == LEAD_DIGITS) continue;
        lead = lead * 10 + (uint64_t)(*p - '0');
        if (++digits == LEAD_DIGITS) tail = p + 1;
    }
    *number = (pm_filter_number){0};
    if (last == NULL) return;
    if (p < end) exponent += read_exponent(p + 1, end);
    number->sign = negative ? -1 : 1;
    number->exponent = exponent;
    number->lead = lead * tens[LEAD_DIGITS - digits];
    if (tail == NULL || tail >= last) return;
    number->tail = tail;
    number->tail_end = last;
}

/* Both end in a digit that is not 0, so who goes on is larger. */
static int order_tails(const pm_filter_number *a, const pm_filter_number *b)
{
    const char *p = a->tail, *q = b->tail;
    for (;;) {
        while (p != a->tail_end && *p == '.')
            p++;
        while (q != b->tail_end && *q == '.')
            q++;
        if (p == a->tail_end || q == b->tail_end) return (p != a->tail_end) - (q != b->tail_end);
        if (*p != *q) return *p < *q ? -1 : 1;
        p++;
        q++;
    }
}

int pm_filter_order_numbers(const pm_filter_number *a, const pm_filter_number *b)
{
    if (a->sign != b->sign) return a->sign < b->sign ? -1 : 1;
    if (a->exponent != b->exponent) return a->exponent < b->exponent ? -a->sign : a->sign;
    if (a->lead != b->lead) return a->lead < b->lead ? -a->sign : a->sign;
    if (a->tail == NULL || b->tail == NULL) return ((a->tail != NULL) - (b->tail != NULL)) * a->sign;
    return order_tails(a, b) * a->sign;
}

/* The digits from the first to the last that is not 0. */
static size_t take_digits(const char *p, const char *end, char *out)
{
    size_t size = 0, keep = 0;
    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (!pm_filter_digit(*p) || (size == 0 && *p == '0')) continue;
        out[size++] = *p;
        if (*p != '0') keep = size;
    }
    return keep;
}

size_t pm_filter_write_number(const char *p, const char *end, char *out)
{
    pm_filter_number number;
    pm_filter_read_number(p, end, &number);
    char *at = out;
    if (number.sign < 0) *at++ = '-';
    char *digits = at;
    size_t size = take_digits(p, end, digits);
    const int64_t exponent = number.exponent;
    if (size == 0) {
        *at++ = '0';
    } else if (exponent > 20 || exponent < -4) { /* d.ddde5 */
        at += size;
        if (size > 1) {
            memmove(digits + 2, digits + 1, size - 1);
            digits[1] = '.';
            at++;
        }
        at += snprintf(at, 32, "e%" PRId64, exponent - 1);
    } else if (exponent <= 0) { /* 0.00ddd */
        const size_t zeros = 2 + (size_t)-exponent;
        memmove(digits + zeros, digits, size);
        memset(digits, '0', zeros);
        digits[1] = '.';
        at += zeros + size;
    } else if (size <= (size_t)exponent) { /* ddd000 */
        memset(digits + size, '0', (size_t)exponent - size);
        at += exponent;
    } else { /* dd.dd */
        memmove(digits + exponent + 1, digits + exponent, size - (size_t)exponent);
        digits[exponent] = '.';
        at += size + 1;
    }
    return (size_t)(at - out);
}
