/* SPDX-License-Identifier: Apache-2.0 */
/* One number out of a buffer of any format. */
#include "core.h"
#include <math.h>
#include <string.h>

void pm_py_format(const char *format, Py_ssize_t itemsize, pm_py_numbers *numbers)
{
    if (format == NULL) format = "B";
    numbers->kind = 0;
    numbers->swapped = *format == '>' || *format == '!';
    if (strchr("@=<>!", *format) != NULL && *format != '\0') format++;
    if (format[0] == '\0' || format[1] != '\0') return;
    if (strchr("bhilqn", *format) != NULL) numbers->kind = 'i';
    if (strchr("BHILQN", *format) != NULL) numbers->kind = 'u';
    if (strchr("efd", *format) != NULL) numbers->kind = 'f';
    if (*format == '?') numbers->kind = '?';
    bool known = itemsize == 1 || itemsize == 2 || itemsize == 4 || itemsize == 8;
    if (!known || (numbers->kind == 'f' && itemsize == 1)) numbers->kind = 0;
    numbers->itemsize = itemsize;
}

bool pm_py_contiguous(const pm_py_numbers *n)
{
    if (n->ndim == 0) return true;
    Py_ssize_t last = n->ndim - 1;
    if (n->shape[last] > 1 && n->strides[last] != n->itemsize) return false;
    return n->ndim == 1 || n->shape[0] <= 1 || n->strides[0] == n->shape[1] * n->itemsize;
}

/* The bytes of a number in this machine's order, as the lower bytes of a word. */
static uint64_t load_bits(const pm_py_numbers *n, const char *at)
{
    unsigned char bytes[8] = {0};
    for (Py_ssize_t i = 0; i < n->itemsize; i++)
        bytes[i] = (unsigned char)at[n->swapped ? n->itemsize - 1 - i : i];
    uint64_t bits;
    memcpy(&bits, bytes, sizeof bits);
    return bits;
}

static double half_to_double(uint64_t bits)
{
    double sign = bits & 0x8000 ? -1 : 1;
    int exponent = (int)(bits >> 10 & 31);
    double fraction = (double)(bits & 1023);
    if (exponent == 31) return fraction != 0 ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25));
}

static int64_t sign_extend(uint64_t bits, Py_ssize_t size)
{
    int shift = (int)(64 - 8 * size);
    return (int64_t)(bits << shift) >> shift;
}

double pm_py_load_double(const pm_py_numbers *n, const char *at)
{
    uint64_t bits = load_bits(n, at);
    if (n->kind == 'u') return (double)bits;
    if (n->kind == 'i') return (double)sign_extend(bits, n->itemsize);
    if (n->itemsize == 2) return half_to_double(bits);
    if (n->itemsize == 8) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return (double)value;
}

bool pm_py_load_u64(const pm_py_numbers *n, const char *at, uint64_t *value)
{
    uint64_t bits = load_bits(n, at);
    if (n->kind == 'u') {
        *value = bits;
        return true;
    }
    int64_t number = sign_extend(bits, n->itemsize);
    *value = (uint64_t)number;
    return number >= 0;
}
