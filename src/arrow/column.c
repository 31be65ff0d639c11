/* SPDX-License-Identifier: Apache-2.0 */
#include "arrow/column.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- what a format says ---- */

static int64_t a_second(char letter)
{
    return letter == 's' ? 1 : letter == 'm' ? 1000 : letter == 'u' ? 1000000 : letter == 'n' ? 1000000000 : 0;
}

static bool number_format(char letter, pm_arrow_column *c)
{
    static const char letters[] = "cCsSiIlLefg";
    static const struct {
        char kind;
        int64_t size;
    } kinds[] = {{'i', 1}, {'u', 1}, {'i', 2}, {'u', 2}, {'i', 4}, {'u', 4},
                 {'i', 8}, {'u', 8}, {'f', 2}, {'f', 4}, {'f', 8}};
    const char *at = letter == '\0' ? NULL : strchr(letters, letter);
    if (at == NULL) return false;
    c->kind = PM_ARROW_NUMBER;
    c->number = kinds[at - letters].kind;
    c->size = kinds[at - letters].size;
    return true;
}

static void list_format(const char *f, pm_arrow_column *c)
{
    bool view = f[1] == 'v';
    char letter = view ? f[2] : f[1];
    if (f[1] == 's' && f[2] == '\0') c->kind = PM_ARROW_STRUCT;
    if (letter == 'l' || letter == 'L') {
        c->kind = PM_ARROW_LIST;
        c->large = letter == 'L';
        c->view = view;
    }
    if (f[1] != 'w' || f[2] != ':' || f[3] == '\0') return;
    int64_t width = 0;
    for (const char *p = f + 3; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || width > INT32_MAX / 10 - 10) return;
        width = width * 10 + (*p - '0');
    }
    c->kind = PM_ARROW_FIXED;
    c->width = width;
}

static void time_format(const char *f, pm_arrow_column *c)
{
    if (strcmp(f, "tdD") == 0) c->kind = PM_ARROW_DAYS;
    if (strcmp(f, "tdm") == 0) {
        c->kind = PM_ARROW_TIME;
        c->unit = 1000;
    }
    if (f[1] == '\0' || f[2] == '\0') return;
    int64_t unit = a_second(f[2]);
    if (f[1] == 's' && f[3] == ':' && unit != 0) {
        c->kind = PM_ARROW_TIME;
        c->unit = unit;
        c->zoned = f[4] != '\0';
    }
    if (f[1] == 't' && f[3] == '\0' && unit != 0) {
        c->kind = PM_ARROW_CLOCK;
        c->unit = unit;
        c->size = unit <= 1000 ? 4 : 8;
    }
}

static void read_format(const char *f, pm_arrow_column *c)
{
    c->kind = PM_ARROW_OTHER;
    if (f[0] == '+') {
        list_format(f, c);
    } else if (f[0] == 't') {
        time_format(f, c);
    } else if (f[0] == 'v' && (f[1] == 'u' || f[1] == 'z') && f[2] == '\0') {
        c->kind = PM_ARROW_BYTES;
        c->view = true;
        c->text = f[1] == 'u';
    } else if (f[0] != '\0' && f[1] == '\0' && !number_format(f[0], c)) {
        if (f[0] == 'n') c->kind = PM_ARROW_NULL;
        if (f[0] == 'b') c->kind = PM_ARROW_BOOL;
        if (strchr("uUzZ", f[0]) != NULL) c->kind = PM_ARROW_BYTES;
        c->large = f[0] == 'U' || f[0] == 'Z';
        c->text = f[0] == 'u' || f[0] == 'U';
    }
}

/* ---- a column ---- */

static int64_t buffers_of(const pm_arrow_column *c)
{
    switch (c->kind) {
    case PM_ARROW_NULL:
        return 0;
    case PM_ARROW_FIXED:
    case PM_ARROW_STRUCT:
        return 1;
    case PM_ARROW_BYTES:
        return 3; /* a view: at least */
    case PM_ARROW_LIST:
        return c->view ? 3 : 2;
    default:
        return 2;
    }
}

static bool same_children(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t count)
{
    if (schema->n_children != array->n_children || (count >= 0 && array->n_children != count)) return false;
    if (array->n_children < 0 || (array->n_children > 0 && (array->children == NULL || schema->children == NULL)))
        return false;
    for (int64_t i = 0; i < array->n_children; i++)
        if (array->children[i] == NULL || schema->children[i] == NULL || schema->children[i]->format == NULL)
            return false;
    return true;
}

static const char *check_array(const pm_arrow_column *c, int64_t start)
{
    const struct ArrowArray *a = c->array;
    int64_t wanted = buffers_of(c);
    if (a->length < 0 || a->offset < 0 || a->offset > INT64_MAX / 64 - a->length || a->length > INT64_MAX / 64)
        return "its length or offset is out of range";
    if (start < 0 || c->length < 0 || start > a->length || c->length > a->length - start)
        return "it is shorter than the batch";
    if (c->kind == PM_ARROW_OTHER) return NULL;
    if (c->kind == PM_ARROW_BYTES && c->view ? a->n_buffers < wanted : a->n_buffers != wanted)
        return "it has a wrong number of buffers";
    if (wanted > 0 && a->buffers == NULL) return "it has no buffers";
    if (wanted > 1 && c->length > 0 && a->buffers[1] == NULL) return "a buffer is missing";
    if (c->kind == PM_ARROW_LIST && c->view && c->length > 0 && a->buffers[2] == NULL) return "a buffer is missing";
    if (a->null_count > 0 && a->buffers != NULL && wanted > 0 && a->buffers[0] == NULL)
        return "it has nulls and does not say where";
    bool nested = c->kind == PM_ARROW_LIST || c->kind == PM_ARROW_FIXED;
    if (nested && !same_children(c->schema, a, 1)) return "a list without its items";
    if (c->kind == PM_ARROW_STRUCT && !same_children(c->schema, a, -1))
        return "its columns are not those that its schema names";
    if ((c->schema->dictionary == NULL) != (a->dictionary == NULL)) return "its dictionary is missing";
    return NULL;
}

const char *pm_arrow_column_take(const char *name, const struct ArrowSchema *schema, const struct ArrowArray *array,
                                 int64_t start, int64_t length, pm_arrow_column *out)
{
    memset(out, 0, sizeof *out);
    out->schema = schema;
    out->array = array;
    out->name = name == NULL ? "" : name;
    out->length = length;
    if (schema->format == NULL) return "it has no format";
    read_format(schema->format, out);
    if (schema->dictionary != NULL &&
        (schema->dictionary->format == NULL || out->kind != PM_ARROW_NUMBER || out->number == 'f'))
        return "its dictionary is not numbered by ints";
    if (array == NULL) return NULL;
    const char *wrong = check_array(out, start);
    if (wrong != NULL) return wrong;
    out->start = array->offset + start;
    return NULL;
}

int64_t pm_arrow_int(const pm_arrow_column *c, int64_t i)
{
    int32_t small;
    int64_t value;
    bool narrow = c->kind == PM_ARROW_DAYS || (c->kind == PM_ARROW_CLOCK && c->size == 4);
    const char *at = (const char *)c->array->buffers[1] + (c->start + i) * (narrow ? 4 : 8);
    if (narrow) {
        memcpy(&small, at, sizeof small);
        return small;
    }
    memcpy(&value, at, sizeof value);
    return value;
}

const char *pm_arrow_code(const pm_arrow_column *c, int64_t i, int64_t *at)
{
    const char *from = pm_arrow_number(c, i);
    uint64_t code = 0;
    memcpy(&code, from, (size_t)c->size); /* little-endian, as the whole engine */
    if (c->number == 'i') {               /* a negative one becomes too large */
        const int shift = (int)(64 - 8 * c->size);
        code = (uint64_t)((int64_t)(code << shift) >> shift);
    }
    if (c->array->dictionary->length < 0 || code >= (uint64_t)c->array->dictionary->length)
        return "a number that its dictionary does not have";
    *at = (int64_t)code;
    return NULL;
}

/* ---- bytes and lists ---- */

/* A pair of offsets of 32 or 64 bits. */
static void load_pair(const void *buffer, bool large, int64_t at, int64_t pair[2])
{
    if (large) {
        memcpy(pair, (const char *)buffer + at * 8, 16);
        return;
    }
    int32_t small[2];
    memcpy(small, (const char *)buffer + at * 4, 8);
    pair[0] = small[0];
    pair[1] = small[1];
}

static int64_t load_one(const void *buffer, bool large, int64_t at)
{
    int64_t wide;
    int32_t small;
    memcpy(&small, (const char *)buffer + at * (large ? 8 : 4), sizeof small);
    if (!large) return small;
    memcpy(&wide, (const char *)buffer + at * 8, sizeof wide);
    return wide;
}

/* A view of 16 bytes: the length, then up to 12 bytes; or 4 of them, the number of a buffer, and where in it. */
static const char *bytes_view(const pm_arrow_column *c, int64_t i, pomai_bytes *out)
{
    const char *view = (const char *)c->array->buffers[1] + (c->start + i) * 16;
    int32_t words[4];
    memcpy(words, view, sizeof words);
    if (words[0] < 0) return "a text of negative length";
    out->size = (size_t)words[0];
    out->data = view + 4;
    if (words[0] <= 12) return NULL;
    int64_t data = c->array->n_buffers - 3, size;
    const void *sizes = c->array->buffers[c->array->n_buffers - 1];
    if (words[2] < 0 || words[2] >= data || sizes == NULL || c->array->buffers[2 + words[2]] == NULL)
        return "a text in a buffer that it does not have";
    memcpy(&size, (const char *)sizes + (int64_t)words[2] * 8, sizeof size);
    if (words[3] < 0 || size < words[3] || size - words[3] < words[0]) return "a text that goes beyond its buffer";
    out->data = (const char *)c->array->buffers[2 + words[2]] + words[3];
    return NULL;
}

const char *pm_arrow_bytes(const pm_arrow_column *c, int64_t i, pomai_bytes *out)
{
    int64_t pair[2];
    if (c->view) return bytes_view(c, i, out);
    load_pair(c->array->buffers[1], c->large, c->start + i, pair);
    if (pair[0] < 0 || pair[1] < pair[0] || (pair[1] > pair[0] && c->array->buffers[2] == NULL))
        return "its offsets do not ascend";
    static const char empty[1];
    out->size = (size_t)(pair[1] - pair[0]);
    out->data = out->size == 0 ? empty : (const char *)c->array->buffers[2] + pair[0];
    return NULL;
}

const char *pm_arrow_list(const pm_arrow_column *c, int64_t i, int64_t *first, int64_t *count)
{
    const struct ArrowArray *items = c->array->children[0];
    if (c->kind == PM_ARROW_FIXED) {
        if (c->width > 0 && c->start + i > (INT64_MAX - c->width) / c->width) return "its lists are too long";
        *first = (c->start + i) * c->width;
        *count = c->width;
    } else if (c->view) {
        *first = load_one(c->array->buffers[1], c->large, c->start + i);
        *count = load_one(c->array->buffers[2], c->large, c->start + i);
    } else {
        int64_t pair[2];
        load_pair(c->array->buffers[1], c->large, c->start + i, pair);
        if (pair[0] < 0 || pair[1] < pair[0]) return "its offsets do not ascend";
        *first = pair[0];
        *count = pair[1] - pair[0];
    }
    if (*first < 0 || *count < 0 || *first > items->length || *count > items->length - *first)
        return "a list that goes beyond its items";
    return NULL;
}

/* ---- for people ---- */

/* Of a format that has nothing behind it which says more. */
static const char *plain_name(const char *format)
{
    static const char *const names[][2] = {
        {"n", "null"},
        {"b", "bool"},
        {"c", "int8"},
        {"C", "uint8"},
        {"s", "int16"},
        {"S", "uint16"},
        {"i", "int32"},
        {"I", "uint32"},
        {"l", "int64"},
        {"L", "uint64"},
        {"e", "float16"},
        {"f", "float32"},
        {"g", "float64"},
        {"z", "binary"},
        {"Z", "large_binary"},
        {"vz", "binary_view"},
        {"u", "string"},
        {"U", "large_string"},
        {"vu", "string_view"},
        {"tdD", "date32"},
        {"tdm", "date64"},
        {"tts", "time32[s]"},
        {"ttm", "time32[ms]"},
        {"ttu", "time64[us]"},
        {"ttn", "time64[ns]"},
        {"tDs", "duration[s]"},
        {"tDm", "duration[ms]"},
        {"tDu", "duration[us]"},
        {"tDn", "duration[ns]"},
        {"tiM", "interval[months]"},
        {"tiD", "interval[days]"},
        {"tin", "interval[ns]"},
        {"+l", "list"},
        {"+L", "large_list"},
        {"+vl", "list_view"},
        {"+vL", "large_list_view"},
        {"+s", "struct"},
        {"+m", "map"},
        {"+r", "run_end_encoded"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(format, names[i][0]) == 0) return names[i][1];
    return NULL;
}

/* Of one that has: "w:5", "d:3,2", "tsu:UTC". */
static bool name_more(const char *f, char *name)
{
    static const struct {
        const char *begin, *name;
    } kinds[] = {{"w:", "fixed_size_binary"}, {"+w:", "fixed_size_list"}, {"d:", "decimal"},
                 {"tss:", "timestamp[s"},     {"tsm:", "timestamp[ms"},   {"tsu:", "timestamp[us"},
                 {"tsn:", "timestamp[ns"},    {"+ud:", "dense_union"},    {"+us:", "sparse_union"}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const size_t size = strlen(kinds[i].begin);
        if (strncmp(f, kinds[i].begin, size) != 0) continue;
        const bool time = f[0] == 't', zoned = time && f[size] != '\0';
        snprintf(name, PM_ARROW_TYPE_NAME, "%s%s%.32s]", kinds[i].name, zoned ? ", tz=" : time ? "" : "[", f + size);
        return true;
    }
    return false;
}

const char *pm_arrow_type_name(const struct ArrowSchema *schema, char name[PM_ARROW_TYPE_NAME])
{
    const struct ArrowSchema *of = schema->dictionary != NULL ? schema->dictionary : schema;
    const char *f = of->format == NULL ? "" : of->format, *plain = plain_name(f);
    char own[PM_ARROW_TYPE_NAME];
    if (plain != NULL)
        snprintf(own, sizeof own, "%s", plain);
    else if (!name_more(f, own))
        snprintf(own, sizeof own, "'%.40s'", f);
    for (char *p = own; *p != '\0'; p++) /* whoever made it wrote anything there */
        if (*p < ' ' || *p > '~') *p = '?';
    snprintf(name, PM_ARROW_TYPE_NAME, "%s%.48s", of != schema ? "dictionary of " : "", own);
    return name;
}
