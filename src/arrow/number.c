/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floats by Schubfach (Raffaello Giulietti, The Schubfach way to render doubles, 2020): of the decimals with as few
 * digits as the interval around a float allows, at most two are candidates, and three products with a power of ten of
 * 128 bits, rounded to odd, say exactly which is inside and nearer.
 */
#include "arrow/number.h"

#include <stdbool.h>
#include <string.h>

#include "arrow/powers.h"

__extension__ typedef unsigned __int128 wide;

enum { DOUBLE_POINT_BELOW = 16 }; /* a power of ten: from it on, an exponent */

/* ---- whole numbers ---- */

static int count_digits(uint64_t value)
{
    static const uint64_t tens[] = {0,
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
    const int guess = (64 - __builtin_clzll(value | 1)) * 1233 >> 12; /* bits by log10(2): right, or one too few */
    return guess + (value >= tens[guess]);
}

/* The eight digits of a number below 10^8, the first in the lowest byte: each half by a multiplication, all at once. */
static uint64_t eight_digits(uint32_t value)
{
    const uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
    const uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007f0000007fu; /* of each four: by 100 */
    const uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
    const uint64_t tens = (twos * 103 >> 10) & 0x000f000f000f000fu;
    return (tens | (twos - 10 * tens) << 8) + 0x3030303030303030u;
}

/* The last `digits` of eight. Writes 8 bytes. */
static char *write_eight(char *at, uint32_t value, int digits)
{
    const uint64_t text = eight_digits(value) >> 8 * (8 - digits);
    memcpy(at, &text, 8);
    return at + digits;
}

static char *write_digits(char *at, uint64_t value, int digits)
{
    if (digits <= 8) return write_eight(at, (uint32_t)value, digits);
    if (digits > 16) {
        at = write_eight(at, (uint32_t)(value / 10000000000000000u), digits - 16);
        value %= 10000000000000000u;
        digits = 16;
    }
    at = write_eight(at, (uint32_t)(value / 100000000), digits - 8);
    return write_eight(at, (uint32_t)(value % 100000000), 8);
}

char *pm_write_u64(char *at, uint64_t value)
{
    return write_digits(at, value, count_digits(value));
}

char *pm_write_i64(char *at, int64_t value)
{
    if (value >= 0) return pm_write_u64(at, (uint64_t)value);
    *at = '-';
    return pm_write_u64(at + 1, 0 - (uint64_t)value);
}

char *pm_write_digits(char *at, uint32_t value, int digits)
{
    return write_digits(at, value, digits);
}

/* ---- floats ---- */

/* digits * 10^exponent */
typedef struct decimal {
    uint64_t digits;
    int exponent;
} decimal;

static uint64_t times_rounded_to_odd(const uint64_t power[2], uint64_t factor)
{
    const wide low = (wide)power[1] * factor, high = (wide)power[0] * factor + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* Of c * 2^q. `closer`: the float below is half as far away as the one above. */
static decimal shortest(uint64_t c, int q, bool closer)
{
    const int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22; /* floor(log10(width of the interval)) */
    const int shift = q + ((-k * 1741647) >> 19) + 1;          /* 1 to 4 */
    const uint64_t *power = pm_powers[-k - PM_POWERS_LEAST];
    const uint64_t odd = c & 1; /* then the ends do not read back as it */
    const uint64_t low = times_rounded_to_odd(power, (4 * c - 2 + closer) << shift) + odd;
    const uint64_t at = times_rounded_to_odd(power, (4 * c) << shift);
    const uint64_t high = times_rounded_to_odd(power, (4 * c + 2) << shift) - odd;
    const uint64_t s = at / 4;
    if (s >= 10) {
        const uint64_t tenth = s / 10;
        const bool below = low <= 40 * tenth, above = 40 * tenth + 40 <= high;
        if (below != above) return (decimal){tenth + above, k + 1};
    }
    const bool below = low <= 4 * s, above = 4 * s + 4 <= high;
    if (below != above) return (decimal){s + above, k};
    const uint64_t middle = 4 * s + 2;
    return (decimal){s + (at > middle || (at == middle && (s & 1) != 0)), k};
}

static decimal without_zeros(decimal d)
{
    while (d.digits % 100000000 == 0)
        d = (decimal){d.digits / 100000000, d.exponent + 8};
    while (d.digits % 10 == 0)
        d = (decimal){d.digits / 10, d.exponent + 1};
    return d;
}

static char *write_point_zero(char *at)
{
    at[0] = '.';
    at[1] = '0';
    return at + 2;
}

static char *write_exponent(char *at, int exponent)
{
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    if (exponent < 0) exponent = -exponent;
    return pm_write_digits(at, (uint32_t)exponent, exponent > 99 ? 3 : 2);
}

/* From 10^point_below on with an exponent. */
static char *write_decimal(char *at, decimal d, int point_below)
{
    char digits[40] = {0}; /* of which 20 are copied at once, whatever there are */
    const int count = count_digits(d.digits), lead = count - 1 + d.exponent; /* the first digit's power of ten */
    (void)write_digits(digits, d.digits, count);
    if (lead < -4 || lead >= point_below) { /* d.ddde+05 */
        *at++ = digits[0];
        if (count > 1) *at++ = '.';
        memcpy(at, digits + 1, 20);
        return write_exponent(at + count - 1, lead);
    }
    if (d.exponent >= 0) { /* ddd00.0 */
        memcpy(at, digits, 20);
        memset(at + count, '0', 20);
        return write_point_zero(at + lead + 1);
    }
    if (lead >= 0) { /* dd.dd */
        memcpy(at, digits, 20);
        at[lead + 1] = '.';
        memcpy(at + lead + 2, digits + lead + 1, 20);
        return at + count + 1;
    }
    memcpy(at, "0.00000", 8); /* 0.00dd */
    memcpy(at + 1 - lead, digits, 20);
    return at + 1 - lead + count;
}

char *pm_write_f64(char *at, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    const int exponent = (int)(bits >> 52 & 2047);
    if (bits >> 63 != 0) *at++ = '-';
    const uint64_t c = exponent == 0 ? fraction : fraction | UINT64_C(1) << 52;
    const int q = (exponent == 0 ? 1 : exponent) - 1075;
    if (q <= 0 && q > -53 && (c & ((UINT64_C(1) << -q) - 1)) == 0) { /* whole, below 2^53: all its digits */
        at = pm_write_u64(at, c >> -q);
        return write_point_zero(at);
    }
    if (c == 0) {
        *at = '0';
        return write_point_zero(at + 1);
    }
    return write_decimal(at, without_zeros(shortest(c, q, fraction == 0 && exponent > 1)), DOUBLE_POINT_BELOW);
}

char *pm_write_f32(char *at, float value, int digits)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t fraction = bits & ((1u << 23) - 1);
    const int exponent = (int)(bits >> 23 & 255);
    if (bits >> 31 != 0) *at++ = '-';
    const uint32_t c = exponent == 0 ? fraction : fraction | 1u << 23;
    const int q = (exponent == 0 ? 1 : exponent) - 150;
    if (c == 0) {
        *at = '0';
        return write_point_zero(at + 1);
    }
    const decimal d = without_zeros(shortest(c, q, fraction == 0 && exponent > 1));
    const int count = count_digits(d.digits);
    return write_decimal(at, d, count > digits ? count : digits);
}
