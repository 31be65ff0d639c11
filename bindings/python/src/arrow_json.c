/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of an Arrow batch as metadata: a JSON object a row. */
#include "arrow.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 32 };

typedef struct {
    pm_py_state *state;
    char *data;
    size_t size, room;
    const char *name; /* of the column */
    int64_t row;
} writer;

static int add(writer *w, const char *data, size_t size)
{
    if (size > w->room - w->size) {
        size_t room = w->room < 4096 ? 4096 : w->room;
        while (room - w->size < size) {
            if (room > SIZE_MAX / 4) goto none;
            room *= 2;
        }
        char *grown = realloc(w->data, room);
        if (grown == NULL) goto none;
        w->data = grown;
        w->room = room;
    }
    if (size > 0) memcpy(w->data + w->size, data, size);
    w->size += size;
    return 0;
none:
    PyErr_NoMemory();
    return -1;
}

static int add_text(writer *w, const char *text)
{
    return add(w, text, strlen(text));
}

static int refuse(writer *w, const char *what)
{
    pm_py_refuse(w->state, POMAI_EINVAL, "column '%.80s', row %lld: %s", w->name, (long long)w->row, what);
    return -1;
}

/* In quotes. Bytes above 0x7F are copied; the whole is checked to be UTF-8 by the caller. */
static int add_string(writer *w, const char *data, size_t size)
{
    size_t done = 0;
    if (add(w, "\"", 1) != 0) return -1;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        char escape[8];
        const char *shorts = "b\bf\fn\nr\rt\t";
        (void)snprintf(escape, sizeof escape, "\\u%04x", c);
        if (c == '"' || c == '\\') (void)snprintf(escape, sizeof escape, "\\%c", c);
        for (int j = 0; j < 10; j += 2)
            if (c == (unsigned char)shorts[j + 1]) (void)snprintf(escape, sizeof escape, "\\%c", shorts[j]);
        if (add(w, data + done, i - done) != 0 || add_text(w, escape) != 0) return -1;
        done = i + 1;
    }
    return add(w, data + done, size - done) != 0 || add(w, "\"", 1) != 0 ? -1 : 0;
}

static int add_checked_string(writer *w, const char *data, size_t size)
{
    PyObject *text = PyUnicode_DecodeUTF8(data, (Py_ssize_t)size, "strict");
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return -1;
        PyErr_Clear();
        return refuse(w, "the text is not UTF-8");
    }
    Py_DECREF(text);
    return add_string(w, data, size);
}

/* The shortest digits that read back as the same float of that size. */
static int add_float(writer *w, double value, Py_ssize_t itemsize)
{
    char *text = NULL;
    if (!(value - value == 0)) return refuse(w, "NaN and infinity have no JSON; make them null");
    if (itemsize == 8) {
        text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    } else {
        for (int digits = itemsize == 2 ? 4 : 6; digits <= 9; digits++) {
            PyMem_Free(text);
            text = PyOS_double_to_string(value, 'g', digits, Py_DTSF_ADD_DOT_0, NULL);
            if (text == NULL) break;
            if ((float)PyOS_string_to_double(text, NULL, NULL) == (float)value) break;
        }
    }
    if (text == NULL) return -1;
    int failed = add_text(w, text);
    PyMem_Free(text);
    return failed;
}

static int add_number(writer *w, const pm_arrow_column *c, int64_t i)
{
    char digits[24];
    uint64_t value;
    const char *at = pm_arrow_number(c, i);
    if (c->numbers.kind == 'f') return add_float(w, pm_py_load_double(&c->numbers, at), c->numbers.itemsize);
    if (pm_py_load_u64(&c->numbers, at, &value))
        (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    else
        (void)snprintf(digits, sizeof digits, "%lld", (long long)value);
    return add_text(w, digits);
}

/* The civil date of a day since 1970; years of the Gregorian calendar, 400 of which have 146,097 days. */
static void civil(int64_t days, char *out, size_t size)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, day = z - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t in_year = day - (365 * year + year / 4 - year / 100), m = (5 * in_year + 2) / 153;
    int64_t month = m < 10 ? m + 3 : m - 9;
    year += era * 400 + (month <= 2);
    (void)snprintf(out, size, "%s%04lld-%02d-%02d", year < 0 ? "-" : "", (long long)(year < 0 ? -year : year),
                   (int)month, (int)(in_year - (153 * m + 2) / 5 + 1));
}

/* "12:34:56.789" of `ticks` within a day. */
static void clock_text(int64_t ticks, int64_t unit, char *out, size_t size)
{
    int64_t seconds = ticks / unit, rest = ticks % unit;
    int digits = unit == 1000 ? 3 : unit == 1000000 ? 6 : 9;
    int used =
        snprintf(out, size, "%02d:%02d:%02d", (int)(seconds / 3600), (int)(seconds / 60 % 60), (int)(seconds % 60));
    if (rest != 0 && used > 0) (void)snprintf(out + used, size - (size_t)used, ".%0*lld", digits, (long long)rest);
}

/* As Python's isoformat() writes it; times with a zone are in UTC. */
static int add_time(writer *w, const pm_arrow_column *c, int64_t i)
{
    int64_t value = pm_arrow_int(c, i);
    char text[80] = "", clock[40] = "";
    if (c->kind == PM_ARROW_CLOCK) {
        if (value < 0 || value >= 86400 * c->unit) return refuse(w, "the time is not within a day");
        clock_text(value, c->unit, text, sizeof text);
    } else if (c->kind == PM_ARROW_DAYS) {
        civil(value, text, sizeof text);
    } else {
        int64_t day = 86400 * c->unit, past = value % day < 0, days = value / day - past;
        int64_t within = value % day + past * day; /* days * day may be below what 64 bits hold */
        if (days > 1000000000000 || days < -1000000000000) return refuse(w, "the time is out of range");
        civil(days, text, sizeof text);
        clock_text(within, c->unit, clock, sizeof clock);
        if (strcmp(c->schema->format, "tdm") != 0 || within != 0) {
            strncat(text, "T", sizeof text - strlen(text) - 1);
            strncat(text, clock, sizeof text - strlen(text) - 1);
        }
        if (c->zoned) strncat(text, "+00:00", sizeof text - strlen(text) - 1);
    }
    return add_string(w, text, strlen(text));
}

static int add_value(writer *w, const pm_arrow_column *column, int64_t i, int depth);

static int add_list(writer *w, const pm_arrow_column *c, int64_t i, int depth)
{
    int64_t first, count;
    pm_arrow_column items;
    if (pm_arrow_list(w->state, c, i, &first, &count) != 0) return -1;
    if (pm_arrow_column_take(w->state, c->name, c->schema->children[0], c->array->children[0], first, count, &items))
        return -1;
    for (int64_t j = 0; j < count; j++)
        if (add(w, j == 0 ? "[" : ",", 1) != 0 || add_value(w, &items, j, depth + 1) != 0) return -1;
    return add_text(w, count == 0 ? "[]" : "]");
}

static int add_struct(writer *w, const pm_arrow_column *c, int64_t i, int depth)
{
    const pm_arrow_schema *s = c->schema;
    pm_arrow_column item;
    for (int64_t j = 0; j < s->n_children; j++) {
        const char *name = s->children[j]->name == NULL ? "" : s->children[j]->name;
        if (pm_arrow_column_take(w->state, c->name, s->children[j], c->array->children[j], c->start + i, 1, &item) !=
                0 ||
            add(w, j == 0 ? "{" : ",", 1) != 0 || add_checked_string(w, name, strlen(name)) != 0 ||
            add(w, ":", 1) != 0 || add_value(w, &item, 0, depth + 1) != 0)
            return -1;
    }
    return add_text(w, s->n_children == 0 ? "{}" : "}");
}

static int add_value(writer *w, const pm_arrow_column *column, int64_t i, int depth)
{
    pm_arrow_column c;
    pomai_bytes bytes;
    if (depth > DEEPEST) return refuse(w, "it is nested too deeply");
    int null = pm_arrow_resolve(w->state, column, &i, &c);
    if (null != 0) return null < 0 ? -1 : add_text(w, "null");
    switch (c.kind) {
    case PM_ARROW_BOOL: {
        const unsigned char *bits = c.array->buffers[1];
        uint64_t bit = (uint64_t)(c.start + i);
        return add_text(w, bits[bit / 8] >> bit % 8 & 1 ? "true" : "false");
    }
    case PM_ARROW_NUMBER:
        return add_number(w, &c, i);
    case PM_ARROW_BYTES:
        if (!c.text) break;
        if (pm_arrow_bytes(w->state, &c, i, &bytes) != 0) return -1;
        return add_checked_string(w, bytes.data, bytes.size);
    case PM_ARROW_LIST:
    case PM_ARROW_FIXED:
        return add_list(w, &c, i, depth);
    case PM_ARROW_STRUCT:
        return add_struct(w, &c, i, depth);
    case PM_ARROW_DAYS:
    case PM_ARROW_TIME:
    case PM_ARROW_CLOCK:
        return add_time(w, &c, i);
    default:
        break;
    }
    pm_py_refuse_type(w->state,
                      "column '%.80s' is of the Arrow type '%.40s', which metadata cannot hold: cast it to a number, "
                      "string or date, or leave it out with metadata=[names of the columns to keep]",
                      w->name, c.schema->format);
    return -1;
}

static int add_row(writer *w, const pm_arrow_column *columns, size_t count, int64_t row)
{
    w->row = row;
    for (size_t j = 0; j < count; j++) {
        w->name = columns[j].name;
        if (add(w, j == 0 ? "{" : ",", 1) != 0 || add_checked_string(w, w->name, strlen(w->name)) != 0 ||
            add(w, ":", 1) != 0 || add_value(w, &columns[j], row, 0) != 0)
            return -1;
    }
    return add(w, "}", 1);
}

int pm_arrow_metadata(pm_py_state *state, const pm_arrow_column *columns, size_t count, int64_t rows,
                      pm_py_documents *out, char **memory)
{
    writer w = {.state = state};
    int failed = 0;
    out->bytes = calloc((size_t)rows + 1, sizeof *out->bytes);
    if (out->bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (int64_t i = 0; failed == 0 && i < rows; i++) {
        size_t before = w.size;
        failed = add_row(&w, columns, count, i);
        out->bytes[i].size = w.size - before;
    }
    *memory = w.data;
    size_t at = 0; /* the memory has stopped moving */
    for (int64_t i = 0; failed == 0 && i < rows; at += out->bytes[i++].size)
        out->bytes[i].data = w.data + at;
    return failed;
}
