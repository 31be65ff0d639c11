/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random filters on random documents, against the definitions of docs/filter.md taken literally: here both are trees
 * before they are text, strings are code points, numbers are columns of digits, and nothing is sorted, shared or
 * skipped. --cases N, --seed S; a failure prints the seed that brings it back with --cases 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "filter/filter.h"
#include "support/args.h"
#include "support/cases.h"

enum { MOST_STRING = 12, MOST_ITEMS = 40, WHOLE = 40, PARTS = 40, MOST_PATH = 4, MOST_TEXT = 1 << 16 };
enum kind { JNULL, JBOOL, JNUMBER, JSTRING, JARRAY, JOBJECT };

struct string {
    uint32_t points[MOST_STRING];
    unsigned size;
};

struct json {
    enum kind kind;
    bool truth, negative;
    char digits[WHOLE + PARTS + 1]; /* of a number: all columns, before and behind the point */
    struct string text;
    struct string keys[MOST_ITEMS];
    struct json *items[MOST_ITEMS];
    unsigned count;
};

enum op { EQ, NE, GT, GTE, LT, LTE, IN, NIN, EXISTS, CONTAINS, STARTS_WITH, NOT_OPS, OPS };
static const char *const op_names[] = {"$eq", "$ne",  "$gt",     "$gte",      "$lt",          "$lte",
                                       "$in", "$nin", "$exists", "$contains", "$starts_with", "$not"};

struct test { /* an operator under a key */
    enum op op;
    struct json *operand;
    struct test *inside[3]; /* NOT_OPS */
    unsigned count;
};

enum shape { ALL_OF, ANY_OF, NOT_THAT, FIELDS };

struct filter {
    enum shape shape;
    struct filter *inside[4];
    struct string paths[4][MOST_PATH]; /* FIELDS */
    unsigned path_sizes[4];
    struct test *tests[4][3];
    unsigned test_counts[4];
    unsigned count;
};

/* ---- memory of a case ---- */

static char pool[8 << 20];
static size_t pool_used;

static void *take(size_t size)
{
    void *memory = pool + pool_used;
    pool_used += (size + 15) / 16 * 16;
    assert_true(pool_used <= sizeof pool);
    return memset(memory, 0, size);
}

/* ---- the definitions ---- */

static bool same_string(const struct string *a, const struct string *b)
{
    if (a->size != b->size) return false;
    for (unsigned i = 0; i < a->size; i++)
        if (a->points[i] != b->points[i]) return false;
    return true;
}

/* Of two numbers or two strings. */
static bool is_less(const struct json *a, const struct json *b)
{
    if (a->kind == JNUMBER) {
        if (a->negative != b->negative) return a->negative;
        return a->negative ? strcmp(a->digits, b->digits) > 0 : strcmp(a->digits, b->digits) < 0;
    }
    for (unsigned i = 0; i < b->text.size; i++) {
        if (i == a->text.size) return true;
        if (a->text.points[i] != b->text.points[i]) return a->text.points[i] < b->text.points[i];
    }
    return false;
}

static bool is_equal(const struct json *a, const struct json *b)
{
    if (a->kind != b->kind) return false;
    if (a->kind == JNULL) return true;
    if (a->kind == JBOOL) return a->truth == b->truth;
    if (a->kind == JNUMBER) return !is_less(a, b) && !is_less(b, a);
    return a->kind == JSTRING && same_string(&a->text, &b->text);
}

static bool has_at(const struct string *text, unsigned at, const struct string *part)
{
    for (unsigned i = 0; i < part->size; i++)
        if (at + i >= text->size || text->points[at + i] != part->points[i]) return false;
    return true;
}

static bool contains(const struct json *value, const struct json *operand)
{
    if (value->kind == JARRAY) {
        for (unsigned i = 0; i < value->count; i++)
            if (is_equal(value->items[i], operand)) return true;
        return false;
    }
    if (value->kind != JSTRING || operand->kind != JSTRING) return false;
    for (unsigned at = 0; at <= value->text.size; at++)
        if (has_at(&value->text, at, &operand->text)) return true;
    return false;
}

static bool test_holds(const struct test *test, const struct json *value)
{
    const struct json *operand = test->operand;
    const bool comparable = value != NULL && operand != NULL && value->kind == operand->kind;
    switch (test->op) {
    case EQ:
        return value != NULL && is_equal(value, operand);
    case NE:
        return value == NULL || !is_equal(value, operand);
    case GT:
        return comparable && is_less(operand, value);
    case GTE:
        return comparable && (is_less(operand, value) || is_equal(value, operand));
    case LT:
        return comparable && is_less(value, operand);
    case LTE:
        return comparable && (is_less(value, operand) || is_equal(value, operand));
    case IN:
    case NIN:
        for (unsigned i = 0; value != NULL && i < operand->count; i++)
            if (is_equal(value, operand->items[i])) return test->op == IN;
        return test->op == NIN;
    case EXISTS:
        return (value != NULL) == operand->truth;
    case CONTAINS:
        return value != NULL && contains(value, operand);
    case STARTS_WITH:
        return comparable && has_at(&value->text, 0, &operand->text);
    default:
        for (unsigned i = 0; i < test->count; i++)
            if (!test_holds(test->inside[i], value)) return true;
        return false;
    }
}

static struct json *look_up(struct json *in, const struct string *path, unsigned size)
{
    if (size == 0) return in;
    if (in == NULL || in->kind != JOBJECT) return NULL;
    for (unsigned i = in->count; i > 0; i--)
        if (same_string(&in->keys[i - 1], path)) return look_up(in->items[i - 1], path + 1, size - 1);
    return NULL;
}

static bool filter_holds(const struct filter *f, struct json *document)
{
    bool all = true, any = false;
    if (f->shape == FIELDS) {
        for (unsigned i = 0; i < f->count; i++)
            for (unsigned t = 0; t < f->test_counts[i]; t++)
                all &= test_holds(f->tests[i][t], look_up(document, f->paths[i], f->path_sizes[i]));
        return all;
    }
    for (unsigned i = 0; i < f->count; i++) {
        const bool holds = filter_holds(f->inside[i], document);
        all &= holds;
        any |= holds;
    }
    return f->shape == ALL_OF ? all : f->shape == ANY_OF ? any : !any;
}

/* ---- drawing ---- */

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

static struct string draw_string(bool of_document)
{
    static const uint32_t alphabet[] = {'a',    'a',    'a',    'b',     'b',     'A',      '"',    '\\',   '/', '\n',
                                        0,      0x1f,   0x7f,   0xe9,    0x301,   0x7ff,    0x800,  0x20ac, '$', '.',
                                        0xd7ff, 0xe000, 0xffff, 0x10000, 0x1f600, 0x10ffff, 0xd800, 0xdc00};
    const bool repeats = chance(15); /* of which a part may begin again inside itself */
    struct string s = {.size = (unsigned)below(repeats || chance(10) ? MOST_STRING + 1 : 4)};
    for (unsigned i = 0; i < s.size; i++) {
        const size_t some = repeats ? 5 : chance(60) ? 6 : sizeof alphabet / sizeof alphabet[0] - (of_document ? 0 : 2);
        s.points[i] = alphabet[below(some)];
        if (i > 0 && s.points[i] == 0xdc00 && s.points[i - 1] == 0xd800) s.points[i] = 'a'; /* would be a pair */
    }
    return s;
}

static struct string draw_key(void)
{
    static const char *const common[] = {"a", "a", "a", "b", "b", "c", "a.b", "$a", "", "a\\", "b.", "k0", "k1", "k2"};
    struct string s = {0};
    if (chance(10)) return draw_string(false);
    for (const char *c = common[below(sizeof common / sizeof common[0])]; *c != '\0'; c++)
        s.points[s.size++] = (uint32_t)*c;
    return s;
}

static void draw_number(struct json *v)
{
    static const char *const common[] = {"0",
                                         "1",
                                         "1",
                                         "2",
                                         "3",
                                         "9",
                                         "10",
                                         "12",
                                         "25",
                                         "9007199254740992",
                                         "9007199254740993",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "18446744073709551615",
                                         "18446744073709551616",
                                         "1234567890123456789",
                                         "12345678901234567890",
                                         "12345678901234567891",
                                         "1234567890123456789012",
                                         "1234567890123456789000",
                                         "1180591620717411303424"};
    char made[WHOLE];
    const char *digits = common[chance(60) ? below(9) : below(sizeof common / sizeof common[0])];
    if (chance(15)) {
        unsigned size = 1 + (unsigned)below(24);
        for (unsigned i = 0; i < size; i++)
            made[i] = (char)('0' + below(chance(50) ? 2 : 10));
        made[size] = '\0';
        digits = made;
    }
    memset(v->digits, '0', WHOLE + PARTS);
    const size_t size = strlen(digits), shift = chance(60) ? 0 : below(12);
    memcpy(v->digits + WHOLE - size + (chance(60) ? shift : 0) - (chance(30) ? shift : 0), digits, size);
    v->negative = chance(25) && strspn(v->digits, "0") < WHOLE + PARTS;
}

static struct json *draw_scalar(enum kind kind, bool of_document)
{
    struct json *v = take(sizeof *v);
    v->kind = kind;
    v->truth = chance(50);
    if (kind == JNUMBER) draw_number(v);
    if (kind == JSTRING) v->text = draw_string(of_document);
    return v;
}

static struct json *draw_value(unsigned depth)
{
    static const enum kind kinds[] = {JNULL,   JBOOL,   JNUMBER, JNUMBER, JNUMBER,
                                      JSTRING, JSTRING, JARRAY,  JOBJECT, JOBJECT};
    const enum kind kind = kinds[below(depth > 0 ? 10 : 7)];
    struct json *v = draw_scalar(kind, true);
    if (kind < JARRAY) return v;
    v->count = (unsigned)below(4);
    for (unsigned i = 0; i < v->count; i++) {
        v->keys[i] = draw_key();
        v->items[i] = draw_value(depth - 1);
    }
    return v;
}

static struct json *draw_document(void)
{
    struct json *v = take(sizeof *v);
    v->kind = JOBJECT;
    v->count = (unsigned)below(chance(5) ? MOST_ITEMS : 6);
    for (unsigned i = 0; i < v->count; i++) {
        v->keys[i] = draw_key();
        v->items[i] = draw_value(3);
    }
    return v;
}

/* A path into the document, or anywhere. */
static unsigned draw_path(const struct json *document, struct string *path)
{
    const unsigned size = 1 + (unsigned)(chance(35) ? 1 + below(MOST_PATH - 1) : 0);
    for (unsigned i = 0; i < size; i++) {
        path[i] = draw_key();
        if (document == NULL || document->kind != JOBJECT || document->count == 0) {
            document = NULL;
            continue;
        }
        const size_t at = below(document->count);
        if (chance(85)) path[i] = document->keys[at];
        for (unsigned p = 0; p < path[i].size; p++) /* which a filter cannot name */
            if (path[i].points[p] >> 11 == 0xd800 >> 11) path[i] = draw_key(), p = 0;
        document = document->items[at];
    }
    return size;
}

/* A value like the one that is there, as often as not. */
static struct json *draw_operand(const struct json *there, unsigned kinds)
{
    static const enum kind all[] = {JNUMBER, JSTRING, JNULL, JBOOL};
    if (there != NULL && there->kind == JARRAY && there->count > 0) there = there->items[below(there->count)];
    struct json *v = draw_scalar(all[below(kinds)], false);
    if (there == NULL || chance(40) || (there->kind != JNUMBER && there->kind != JSTRING && kinds < 4)) return v;
    if (there->kind >= JARRAY) return v;
    *v = *there;
    unsigned kept = 0;
    for (unsigned i = 0; i < v->text.size; i++)
        if (v->text.points[i] >> 11 != 0xd800 >> 11) v->text.points[kept++] = v->text.points[i];
    v->text.size = kept;
    if (v->kind == JNUMBER && chance(30)) v->digits[below(WHOLE + PARTS)] = (char)('0' + below(2));
    if (v->kind == JNUMBER && strspn(v->digits, "0") == WHOLE + PARTS) v->negative = false;
    if (v->kind == JSTRING && kept > 0 && chance(40)) { /* a part of it */
        const unsigned from = (unsigned)below(chance(50) ? 2 : kept);
        v->text.size = (unsigned)below(kept + 1);
        if (from < v->text.size) {
            memmove(v->text.points, v->text.points + from, (v->text.size - from) * sizeof v->text.points[0]);
            v->text.size -= from;
        }
    }
    return v;
}

static struct test *draw_test(const struct json *there, enum op op, unsigned depth)
{
    struct test *t = take(sizeof *t);
    t->op = op;
    if (op == NOT_OPS) {
        t->count = 1 + (unsigned)below(3);
        const size_t ops = OPS - (depth == 0 ? 1u : 0u), first = below(ops);
        for (unsigned i = 0; i < t->count; i++)
            t->inside[i] = draw_test(there, (enum op)((first + i) % ops), depth - 1);
    } else if (op == IN || op == NIN) {
        t->operand = take(sizeof *t->operand);
        t->operand->kind = JARRAY;
        t->operand->count = (unsigned)below(chance(10) ? MOST_ITEMS : 5);
        for (unsigned i = 0; i < t->operand->count; i++)
            t->operand->items[i] = draw_operand(there, 4);
    } else if (op == EXISTS) {
        t->operand = draw_scalar(JBOOL, false);
    } else if (op == STARTS_WITH) {
        t->operand = there != NULL && there->kind == JSTRING ? draw_operand(there, 2) : draw_scalar(JSTRING, false);
        if (t->operand->kind != JSTRING) t->operand = draw_scalar(JSTRING, false);
    } else {
        t->operand = draw_operand(there, op == EQ || op == NE || op == CONTAINS ? 4 : 2);
    }
    return t;
}

static struct filter *draw_filter(struct json *document, unsigned depth)
{
    struct filter *f = take(sizeof *f);
    f->shape = depth == 0 || chance(40) ? FIELDS : (enum shape)below(FIELDS);
    if (f->shape != FIELDS) {
        f->count = f->shape == NOT_THAT ? 1 : 1 + (unsigned)below(4);
        for (unsigned i = 0; i < f->count; i++)
            f->inside[i] = draw_filter(document, depth - 1);
        return f;
    }
    const unsigned wanted = chance(5) ? 0 : chance(70) ? 1 : 1 + (unsigned)below(4);
    while (f->count < wanted) {
        const unsigned at = f->count++;
        f->path_sizes[at] = draw_path(document, f->paths[at]);
        for (unsigned i = 0; i < at; i++) { /* a key stands there once */
            bool same = f->path_sizes[i] == f->path_sizes[at];
            for (unsigned k = 0; same && k < f->path_sizes[i]; k++)
                same = same_string(&f->paths[i][k], &f->paths[at][k]);
            if (!same) continue;
            f->count = at;
            return f;
        }
        const size_t first = below(OPS);
        f->test_counts[at] = chance(70) ? 1 : 1 + (unsigned)below(3);
        for (unsigned t = 0; t < f->test_counts[at]; t++)
            f->tests[at][t] =
                draw_test(look_up(document, f->paths[at], f->path_sizes[at]), (enum op)((first + t) % OPS), 2);
    }
    return f;
}

/* ---- writing, in any of the ways that JSON has ---- */

static char text[MOST_TEXT], other[MOST_TEXT];
static size_t text_size;

static void put(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void put(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_size += (size_t)vsnprintf(text + text_size, sizeof text - text_size, format, args);
    va_end(args);
    assert_true(text_size < sizeof text);
}

static void put_mark(const char *mark)
{
    static const char *const blanks[] = {"", "", "", " ", "\n", "\t ", "\r\n"};
    put("%s%s%s", blanks[below(7)], mark, blanks[below(7)]);
}

static void put_point(uint32_t c, unsigned escapes)
{
    static const char named[] = "\"\\/\b\f\n\r\t", names[] = "\"\\/bfnrt";
    const char *name = c > 0 && c < 0x80 ? strchr(named, (int)c) : NULL;
    const bool surrogate = c >> 11 == 0xd800 >> 11;
    if (name != NULL && (chance(70) || c != '/') && chance(80)) {
        put("\\%c", names[name - named]);
    } else if (c < 0x20 || c == '"' || c == '\\' || surrogate || chance(escapes)) {
        for (unsigned half = 0; half < (c > 0xffff ? 2u : 1u); half++) {
            unsigned unit = c > 0xffff ? half == 0 ? 0xd7c0 + (c >> 10) : 0xdc00 + (c & 0x3ff) : c;
            put(chance(50) ? "\\u%04x" : "\\u%04X", unit);
        }
    } else if (c < 0x80) {
        put("%c", (int)c);
    } else if (c < 0x800) {
        put("%c%c", (int)(0xc0 + c / 64), (int)(0x80 + c % 64));
    } else if (c < 0x10000) {
        put("%c%c%c", (int)(0xe0 + c / 4096), (int)(0x80 + c / 64 % 64), (int)(0x80 + c % 64));
    } else {
        put("%c%c%c%c", (int)(0xf0 + c / 262144), (int)(0x80 + c / 4096 % 64), (int)(0x80 + c / 64 % 64),
            (int)(0x80 + c % 64));
    }
}

static void put_string(const struct string *s)
{
    const unsigned escapes = chance(70) ? 0 : 40;
    put("\"");
    for (unsigned i = 0; i < s->size; i++)
        put_point(s->points[i], escapes);
    put("\"");
}

static void put_number(const struct json *v)
{
    const size_t first = strspn(v->digits, "0");
    size_t end = WHOLE + PARTS;
    while (end > first && v->digits[end - 1] == '0')
        end--;
    if (v->negative || (first == end && chance(20))) put("-");
    if (chance(50)) { /* as it stands there */
        const size_t from = first < WHOLE ? first : WHOLE - 1;
        put("%.*s", (int)(WHOLE - from), v->digits + from);
        if (end > WHOLE || chance(20)) put(".%.*s", (int)(end > WHOLE ? end - WHOLE : 1), v->digits + WHOLE);
        if (chance(10)) put("%s0", chance(50) ? "e" : "E-");
        return;
    }
    /* A point anywhere, and an exponent that takes it back. */
    size_t point = first + below(end - first + 4);
    if (first == end) point = first;
    if (point > WHOLE + PARTS) point = WHOLE + PARTS;
    if (point <= first)
        put("0");
    else
        put("%.*s", (int)(point - first), v->digits + first);
    if (point < end)
        put(".%.*s%s", (int)(end - (point < first ? first : point)), v->digits + point, chance(30) ? "000" : "");
    const int exponent = WHOLE - (int)point;
    put("%s%s%d", chance(50) ? "e" : "E", exponent >= 0 && chance(50) ? "+" : "", exponent);
}

static void put_json(const struct json *v)
{
    switch (v->kind) {
    case JNULL:
        put("null");
        break;
    case JBOOL:
        put("%s", v->truth ? "true" : "false");
        break;
    case JNUMBER:
        put_number(v);
        break;
    case JSTRING:
        put_string(&v->text);
        break;
    default:
        put_mark(v->kind == JARRAY ? "[" : "{");
        for (unsigned i = 0; i < v->count; i++) {
            if (i > 0) put_mark(",");
            if (v->kind == JOBJECT) {
                put_string(&v->keys[i]);
                put_mark(":");
            }
            put_json(v->items[i]);
        }
        put_mark(v->kind == JARRAY ? "]" : "}");
        break;
    }
}

static void put_path(const struct string *path, unsigned size)
{
    const unsigned escapes = chance(80) ? 0 : 40;
    put("\"");
    for (unsigned k = 0; k < size; k++) {
        if (k > 0) put_point('.', escapes);
        for (unsigned i = 0; i < path[k].size; i++) {
            const uint32_t c = path[k].points[i];
            if (c == '.' || c == '\\' || (c == '$' && (chance(50) || (k == 0 && i == 0)))) put_point('\\', escapes);
            put_point(c, escapes);
        }
    }
    put("\"");
}

static void put_tests(struct test *const *tests, unsigned count)
{
    put_mark("{");
    for (unsigned i = 0; i < count; i++) {
        if (i > 0) put_mark(",");
        put("\"%s\"", op_names[tests[i]->op]);
        put_mark(":");
        if (tests[i]->op == NOT_OPS)
            put_tests(tests[i]->inside, tests[i]->count);
        else
            put_json(tests[i]->operand);
    }
    put_mark("}");
}

static void put_filter(const struct filter *f)
{
    static const char *const names[] = {"\"$and\"", "\"$or\"", "\"$not\""};
    put_mark("{");
    if (f->shape == FIELDS) {
        for (unsigned i = 0; i < f->count; i++) {
            if (i > 0) put_mark(",");
            put_path(f->paths[i], f->path_sizes[i]);
            put_mark(":");
            if (f->test_counts[i] == 1 && f->tests[i][0]->op == EQ && chance(50))
                put_json(f->tests[i][0]->operand);
            else
                put_tests(f->tests[i], f->test_counts[i]);
        }
    } else {
        put("%s", names[f->shape]);
        put_mark(":");
        if (f->shape != NOT_THAT) put_mark("[");
        for (unsigned i = 0; i < f->count; i++) {
            if (i > 0) put_mark(",");
            put_filter(f->inside[i]);
        }
        if (f->shape != NOT_THAT) put_mark("]");
    }
    put_mark("}");
}

/* ---- a case ---- */

/* Into something that is no JSON, whatever it was. */
static void spoil(void)
{
    const size_t at = below(text_size);
    size_t last = text_size;
    switch (below(4)) {
    case 0: /* the last brace goes, at least */
        while (last > 0 && text[--last] != '}') {
        }
        text_size = at < last ? at : last;
        break;
    case 1:
        text[at] = (char)0xff;
        break;
    case 2:
        text[at] = (char)1;
        break;
    default:
        put("%c", "x,}]\""[below(5)]);
        break;
    }
}

static unsigned long long hits;

static void one_case(uint64_t case_seed)
{
    cases_rng.state = case_seed;
    pool_used = 0;
    struct json *document = chance(2) ? draw_value(2) : draw_document();
    struct filter *f = draw_filter(document, (unsigned)below(4));
    text_size = 0;
    put_json(document);
    const bool spoilt = chance(5);
    if (spoilt) spoil();
    const size_t size = text_size;
    memcpy(other, text, size);
    const bool expected = filter_holds(f, spoilt || document->kind != JOBJECT ? NULL : document);
    hits += expected;
    text_size = 0;
    put_filter(f);
    pm_filter *filter = NULL, *again = NULL;
    pm_text canonical = {0};
    static uint64_t scratch[8192];
    pomai_error err = {0};
    bool good = pm_filter_parse(text, text_size, &filter, &err) == POMAI_OK;
    assert_true(!good || pm_filter_scratch_size(filter) <= sizeof scratch);
    good = good && pm_filter_matches(filter, scratch, other, size) == expected;
    if (filter != NULL) pm_filter_print(filter, &canonical);
    good = good && pm_filter_parse(canonical.data, canonical.size, &again, &err) == POMAI_OK &&
           pm_filter_matches(again, scratch, other, size) == expected;
    if (!good && failures++ < 5)
        print_error("--seed %llu --cases 1: document %.*s\n  filter %.*s\n  printed %s\n  expected %d; %s\n",
                    (unsigned long long)case_seed, (int)size, other, (int)text_size, text,
                    canonical.data != NULL ? canonical.data : "", expected, err.message);
    pm_free(canonical.data);
    pm_filter_free(again);
    pm_filter_free(filter);
}

static uint64_t wanted = 200000;

static void as_defined(void **state)
{
    (void)state;
    begin();
    for (; cases < wanted; cases++)
        one_case(t_case_seed(seed, cases));
    printf("%llu of the rows matched\n", hits);
    assert_true(wanted < 1000 || (hits > wanted / 10 && hits < wanted / 10 * 9)); /* else nothing is tried */
    end("filters and documents");
}

int main(int argc, char **argv)
{
    if (!cases_arguments(argc, argv)) return 2;
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--cases") == 0) wanted = strtoull(argv[i + 1], NULL, 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_defined)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
