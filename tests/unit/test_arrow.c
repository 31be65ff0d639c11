/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns as documents: numbers against the C library, strings against a loop over bytes, every type, what is refused,
 * and random arrays, read back by other lines. --cases N, --seed S.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "arrow/arrow.h"
#include "arrow/number.h"
#include "arrow/text.h"
#include "support/arrow.h"
#include "support/rng.h"

static uint64_t seed = 1;
static uint64_t cases = 200000;

/* ---- numbers ---- */

static void f64_is(double value, const char *wanted)
{
    char text[PM_NUMBER_ROOM + 1] = {0};
    *pm_write_f64(text, value) = '\0';
    assert_string_equal(text, wanted);
}

static void f32_is(float value, int digits, const char *wanted)
{
    char text[PM_NUMBER_ROOM + 1] = {0};
    *pm_write_f32(text, value, digits) = '\0';
    assert_string_equal(text, wanted);
}

static void floats_are_those_of_python(void **state)
{
    (void)state;
    f64_is(0.0, "0.0");
    f64_is(-0.0, "-0.0");
    f64_is(0.1, "0.1");
    f64_is(1.0, "1.0");
    f64_is(-1234.5, "-1234.5");
    f64_is(0.0001, "0.0001");
    f64_is(0.00001, "1e-05");
    f64_is(0.00012345678901234567, "0.00012345678901234567");
    f64_is(9007199254740993.0, "9007199254740992.0");
    f64_is(9999999999999998.0, "9999999999999998.0");
    f64_is(1e16, "1e+16");
    f64_is(12345678901234567890.0, "1.2345678901234567e+19");
    f64_is(1e22, "1e+22");
    f64_is(1e23, "1e+23");
    f64_is(5e-324, "5e-324");
    f64_is(2.2250738585072014e-308, "2.2250738585072014e-308");
    f64_is(1.7976931348623157e308, "1.7976931348623157e+308");
    f64_is(9.5e-323, "9.4e-323"); /* what a denormal has of it */
    f32_is(0.1f, 6, "0.1");
    f32_is(16777216.0f, 6, "16777216.0");
    f32_is(1e6f, 6, "1e+06");
    f32_is(123456.0f, 6, "123456.0");
    f32_is(1.5e-45f, 6, "1e-45");
    f32_is(3.4028235e38f, 6, "3.4028235e+38");
    f32_is(pm_f16_to_f32(0x2e66), 4, "0.099975586");
    f32_is(10000.0f, 4, "1e+04");
}

static void check_f64(double value)
{
    char text[PM_NUMBER_ROOM];
    const char *end = pm_write_f64(text, value);
    assert_true(end - text <= 24);
    t_expect_float(text, end, value, false);
}

static void floats_are_the_shortest(void **state)
{
    struct t_rng rng = t_rng_from(seed);
    (void)state;
    for (uint64_t i = 0; i < cases / 2; i++) {
        uint64_t bits = t_next(&rng);
        double value;
        if (i % 4 == 1) bits &= ~UINT64_C(0) << t_below(&rng, 53); /* few bits set, powers of two */
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) check_f64(value);
        check_f64((double)(int64_t)t_next(&rng) / 1000);
        const uint32_t low = (uint32_t)t_next(&rng);
        float narrow;
        memcpy(&narrow, &low, sizeof narrow);
        if (!isfinite(narrow)) continue;
        char text[PM_NUMBER_ROOM];
        t_expect_float(text, pm_write_f32(text, narrow, 6), (double)narrow, true);
    }
    for (int e = -1074; e < 1024; e++)
        for (int d = -1; d < 2; d++)
            check_f64(nextafter(ldexp(1, e), d < 0 ? 0 : d > 0 ? 1e308 : ldexp(1, e)));
    for (uint32_t h = 0; h < 65536; h++) {
        const float value = pm_f16_to_f32((uint16_t)h);
        char text[PM_NUMBER_ROOM];
        if (isfinite(value)) t_expect_float(text, pm_write_f32(text, value, 4), (double)value, true);
    }
}

static void whole_numbers(void **state)
{
    char text[PM_NUMBER_ROOM], wanted[PM_NUMBER_ROOM];
    (void)state;
    for (int bit = 0; bit < 64; bit++)
        for (int d = -1; d < 2; d++) {
            const uint64_t value = (UINT64_C(1) << bit) + (uint64_t)d;
            *pm_write_u64(text, value) = '\0';
            (void)snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)value);
            assert_string_equal(text, wanted);
            *pm_write_i64(text, (int64_t)value) = '\0';
            (void)snprintf(wanted, sizeof wanted, "%lld", (long long)value);
            assert_string_equal(text, wanted);
        }
    for (uint64_t power = 1; power <= UINT64_C(1000000000000000000); power *= 10)
        for (int d = -1; d < 1; d++) {
            *pm_write_u64(text, power + (uint64_t)d) = '\0';
            (void)snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)(power + (uint64_t)d));
            assert_string_equal(text, wanted);
        }
}

/* ---- strings ---- */

/* Byte by byte; the size, or SIZE_MAX. */
static size_t slowly(const uint8_t *p, size_t size, char *out)
{
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < size;) {
        const uint8_t c = p[i];
        const int more = c < 0x80                ? 0
                         : c >= 0xc2 && c < 0xe0 ? 1
                         : c >= 0xe0 && c < 0xf0 ? 2
                         : c >= 0xf0 && c < 0xf5 ? 3
                                                 : -1;
        if (more < 0 || i + (size_t)more >= size) return SIZE_MAX;
        uint32_t value = more == 0 ? c : c & (0x3fu >> more);
        for (int j = 1; j <= more; j++) {
            if ((p[i + (size_t)j] & 0xc0) != 0x80) return SIZE_MAX;
            value = value << 6 | (p[i + (size_t)j] & 0x3f);
        }
        if ((more == 2 && value < 0x800) || (more == 3 && (value < 0x10000 || value > 0x10ffff)) ||
            (value >= 0xd800 && value < 0xe000))
            return SIZE_MAX;
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20) {
            static const char *const shorts[32] = {[8] = "\\b", [9] = "\\t", [10] = "\\n", [12] = "\\f", [13] = "\\r"};
            n += (size_t)(shorts[c] != NULL ? sprintf(out + n, "%s", shorts[c]) : sprintf(out + n, "\\u%04x", c));
        } else {
            memcpy(out + n, p + i, (size_t)more + 1);
            n += (size_t)more + 1;
        }
        i += (size_t)more + 1;
    }
    out[n++] = '"';
    return n;
}

static void check_string(const uint8_t *data, size_t size)
{
    uint8_t *copy = t_room(size);
    char *wanted = t_room(6 * size + 2);
    if (size > 0) memcpy(copy, data, size);
    const size_t bytes = slowly(copy, size, wanted), room = pm_string_room((char *)copy, size);
    char *text = t_room(room);
    const char *end = pm_write_string(text, room, (char *)copy, size);
    if ((end == NULL) != (bytes == SIZE_MAX))
        fail_msg("UTF-8 of %zu bytes is %s", size, end == NULL ? "refused" : "taken");
    if (end != NULL) {
        assert_int_equal(end - text, bytes);
        assert_memory_equal(text, wanted, bytes);
    }
    free(copy);
    free(wanted);
    free(text);
}

static void strings(void **state)
{
    static const char *const parts[] = {"a",
                                        "\"",
                                        "\\",
                                        "\n",
                                        "\x01",
                                        "\x1f",
                                        "\x7f",
                                        "\xc2\x80",
                                        "\xdf\xbf",
                                        "\xe0\xa0\x80",
                                        "\xed\x9f\xbf",
                                        "\xef\xbf\xbf",
                                        "\xf0\x90\x80\x80",
                                        "\xf4\x8f\xbf\xbf",
                                        "plain text",
                                        " ",
                                        "\xc1\xbf",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\x80",
                                        "\xc2",
                                        "\xe1\x80",
                                        "\xff",
                                        "!#[]"};
    struct t_rng rng = t_rng_from(seed);
    uint8_t text[512];
    (void)state;
    for (unsigned c = 0; c < 256; c++) /* each byte at each place of a word, and behind it */
        for (size_t size = 0; size < 20; size++)
            for (size_t at = 0; at < size; at++) {
                memset(text, 'x', size);
                text[at] = (uint8_t)c;
                check_string(text, size);
            }
    for (uint64_t i = 0; i < cases / 4; i++) {
        size_t size = 0;
        const uint64_t good = t_below(&rng, 4) != 0 ? 16 : sizeof parts / sizeof parts[0];
        for (uint64_t n = t_below(&rng, 40); n > 0; n--) {
            const char *part = parts[t_below(&rng, good)];
            memcpy(text + size, part, strlen(part));
            size += strlen(part);
        }
        check_string(text, size);
    }
}

/* A string that wants more room than when it was measured, as another thread wrote to it: memory of the room's size is
 * not left. */
static void strings_that_change(void **state)
{
    (void)state;
    for (size_t size = 129; size < 400; size++) {
        char data[400];
        memset(data, 'x', size);
        data[size / 2] = '\n';
        const size_t room = pm_string_room(data, size);
        char *text = t_room(room);
        memset(data, 1, size);
        assert_null(pm_write_string(text, room, data, size));
        memset(data, '"', size);
        assert_null(pm_write_string(text, room, data, size));
        memset(data, 'x', size);
        data[0] = data[1] = '\\'; /* less than what was measured */
        assert_int_equal(pm_write_string(text, room, data, size) - text, size + 4);
        free(text);
    }
}

/* ---- columns ---- */

/* A column of `length` items, without children; buffers[0]: which are there. */
struct column {
    struct ArrowSchema schema;
    struct ArrowArray array;
    const void *buffers[4];
};

static void column_make(struct column *c, const char *name, const char *format, int64_t length, int64_t buffers)
{
    c->schema = (struct ArrowSchema){.format = format, .name = name, .release = t_release_schema};
    c->array = (struct ArrowArray){.length = length,
                                   .null_count = c->buffers[0] != NULL ? -1 : 0,
                                   .n_buffers = buffers,
                                   .buffers = c->buffers,
                                   .release = t_release_array};
}

struct table {
    struct ArrowSchema schema, *schemas[8];
    struct ArrowArray array, *arrays[8];
    const void *buffers[1];
};

static void table_make(struct table *t, int64_t rows)
{
    *t = (struct table){0};
    t->schema = (struct ArrowSchema){.format = "+s", .children = t->schemas, .release = t_release_schema};
    t->array = (struct ArrowArray){
        .length = rows, .n_buffers = 1, .buffers = t->buffers, .children = t->arrays, .release = t_release_array};
}

static void table_add(struct table *t, struct column *c)
{
    const int64_t i = t->schema.n_children++;
    t->array.n_children = t->schema.n_children;
    t->schemas[i] = &c->schema;
    t->arrays[i] = &c->array;
}

static void rows_are(const struct table *t, const char *const *wanted)
{
    pomai_bytes *documents;
    pomai_error err = {0};
    if (pm_documents_from_arrow(&t->schema, &t->array, UINT64_MAX, &documents, &err) != POMAI_OK)
        fail_msg("refused: %s", err.message);
    for (int64_t i = 0; i < t->array.length; i++) {
        const char *text = documents[i].data == NULL ? "" : documents[i].data;
        if (documents[i].size != strlen(wanted[i]) || memcmp(text, wanted[i], documents[i].size) != 0)
            fail_msg("row %lld: %.*s, not %s", (long long)i, (int)documents[i].size, text, wanted[i]);
    }
    pm_free(documents);
}

static void is_refused(const struct table *t, const char *word)
{
    pomai_bytes *documents;
    pomai_error err = {0};
    assert_int_equal(pm_documents_from_arrow(&t->schema, &t->array, UINT64_MAX, &documents, &err), POMAI_EINVAL);
    assert_null(documents);
    if (strstr(err.message, word) == NULL) fail_msg("'%s' does not say '%s'", err.message, word);
}

static void rows_of_columns(void **state)
{
    static const int64_t ints[] = {99, 1, -2, INT64_MIN};
    static const double floats[] = {99, 0.5, 1e100, -3};
    static const int32_t ends[] = {0, 1, 3, 3, 6};
    static const uint8_t valid[] = {0xd}, truth[] = {0x6}; /* 1011, 0110 from the lowest */
    static const char *const wanted[] = {
        "{\"i\":1,\"a \\\"key\\\"\":null,\"s\":\"bc\",\"b\":true}", "",
        "{\"i\":-9223372036854775808,\"a \\\"key\\\"\":-3.0,\"s\":\"d\\ne\",\"b\":false}"};
    struct column i = {.buffers = {NULL, ints}}, f = {.buffers = {valid, floats}},
                  s = {.buffers = {NULL, ends, "abcd\ne"}}, b = {.buffers = {NULL, truth}};
    struct table t;
    (void)state;
    column_make(&i, "i", "l", 4, 2);
    column_make(&f, "a \"key\"", "g", 4, 2);
    column_make(&s, "s", "u", 4, 3);
    column_make(&b, "b", "b", 4, 2);
    table_make(&t, 3);
    table_add(&t, &i);
    table_add(&t, &f);
    table_add(&t, &s);
    table_add(&t, &b);
    static const uint8_t rows[] = {0xa}; /* 0101: of the rows behind the offset the middle one is null */
    t.array.offset = 1;
    t.array.null_count = 1;
    t.buffers[0] = rows;
    rows_are(&t, wanted);
    pomai_bytes *documents;
    const size_t all = strlen(wanted[0]) + strlen(wanted[2]);
    pomai_error err = {0};
    assert_int_equal(pm_documents_from_arrow(&t.schema, &t.array, all - 1, &documents, &err), POMAI_ETOOBIG);
    assert_non_null(strstr(err.message, "split it"));
    assert_int_equal(pm_documents_from_arrow(&t.schema, &t.array, all, &documents, &err), POMAI_OK);
    pm_free(documents);
}

static void dictionaries_and_json(void **state)
{
    static const int8_t codes[] = {1, 0, 1, 2, 1};
    static const int32_t ends[] = {0, 2, 2, 5}, at[] = {0, 7, 11, 16, 19, 24};
    static const uint8_t valid[] = {0x3}; /* the third value is null */
    static const char *const wanted[] = {"{\"d\":\"\",\"j\":{\"a\":1}}", "{\"d\":\"x\\u0001\",\"j\":null}",
                                         "{\"d\":\"\",\"j\":-1.0}", "{\"d\":null,\"j\":[]}",
                                         "{\"d\":\"\",\"j\":\"é\"}"};
    struct column d = {.buffers = {NULL, codes}}, values = {.buffers = {valid, ends, "x\001abc"}},
                  j = {.buffers = {NULL, at, "{\"a\":1}null -1.0 [] \"é\""}};
    struct table t;
    (void)state;
    column_make(&values, NULL, "u", 3, 3);
    values.array.null_count = 1;
    column_make(&d, "d", "c", 5, 2);
    d.schema.dictionary = &values.schema;
    d.array.dictionary = &values.array;
    column_make(&j, "j", "u", 5, 3);
    j.schema.metadata = (const char *)&t_json;
    table_make(&t, 5);
    table_add(&t, &d);
    table_add(&t, &j);
    rows_are(&t, wanted);
    static const int8_t beyond[] = {1, 0, 3, 2, 1}, below[] = {1, 0, -1, 2, 1};
    d.buffers[1] = beyond;
    is_refused(&t, "dictionary");
    d.buffers[1] = below;
    is_refused(&t, "dictionary");
    d.buffers[1] = codes;
    j.buffers[2] = "{\"a\":1}nul  -1.0 [] \"é\"";
    is_refused(&t, "column 'j', row 1: the text is not JSON");
}

static void what_is_refused(void **state)
{
    static const double bad[] = {1, NAN}, huge[] = {1, -INFINITY};
    static const int32_t ends[] = {0, 1, 2}, back[] = {0, 2, 1}, negative[] = {-1, 1, 2};
    struct column c = {.buffers = {NULL, bad}}, s = {.buffers = {NULL, ends, "a\xff"}}, same;
    struct table t;
    (void)state;
    column_make(&c, "speed", "g", 2, 2);
    table_make(&t, 2);
    table_add(&t, &c);
    is_refused(&t, "column 'speed', row 1: NaN");
    c.buffers[1] = huge;
    is_refused(&t, "row 1");
    column_make(&s, "word", "u", 2, 3);
    t.schemas[0] = &s.schema;
    t.arrays[0] = &s.array;
    is_refused(&t, "column 'word', row 1: the text is not UTF-8");
    s.buffers[2] = "ab";
    s.buffers[1] = back;
    is_refused(&t, "do not ascend");
    s.buffers[1] = negative;
    is_refused(&t, "do not ascend");
    s.schema.format = "z";
    is_refused(&t, "column 'word' is of the Arrow type binary, which metadata");
    static const char *const types[][2] = {
        {"vz", "binary_view"},           {"tDs", "duration[s]"}, {"d:19,10", "decimal[19,10]"},
        {"w:5", "fixed_size_binary[5]"}, {"+m", "map"},          {"+us:0,1", "sparse_union[0,1]"},
        {"tin", "interval[ns]"},         {"?\xff\n", "'?\?\?'"},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char sentence[128];
        snprintf(sentence, sizeof sentence, "column 'word' is of the Arrow type %s, which metadata", types[i][1]);
        s.schema.format = types[i][0];
        is_refused(&t, sentence);
    }
    s.schema.name = "w\xff";
    s.schema.format = "u";
    is_refused(&t, "its name is not UTF-8");
    static const int64_t ints[] = {1, 2};
    same = (struct column){.buffers = {NULL, ints}};
    column_make(&same, "x", "l", 2, 2);
    t.schemas[0] = &same.schema;
    t.arrays[0] = &same.array;
    struct column twin = same;
    table_add(&t, &twin);
    twin.array.buffers = twin.buffers;
    is_refused(&t, "same name");
    t.schema.n_children = t.array.n_children = 1;
    same.array.length = 1;
    is_refused(&t, "shorter");
    t.schema.format = "l";
    is_refused(&t, "struct array");
}

/* Lists in lists of the same items: 4^20 of them, in a few bytes of an array. */
static void what_would_never_end(void **state)
{
    enum { LEVELS = 20 };
    static const int32_t firsts[4] = {0}, sizes[] = {4, 4, 4, 4};
    static const uint8_t bits[] = {5};
    struct column level[LEVELS + 1] = {0};
    struct ArrowSchema *schemas[LEVELS][1];
    struct ArrowArray *arrays[LEVELS][1];
    struct table t;
    pomai_bytes *documents;
    pomai_error err = {0};
    (void)state;
    for (int i = 0; i < LEVELS; i++) {
        level[i] = (struct column){.buffers = {NULL, firsts, sizes}};
        column_make(&level[i], "bomb", "+vl", 4, 3);
        schemas[i][0] = &level[i + 1].schema;
        arrays[i][0] = &level[i + 1].array;
        level[i].schema.n_children = level[i].array.n_children = 1;
        level[i].schema.children = schemas[i];
        level[i].array.children = arrays[i];
    }
    level[LEVELS].buffers[1] = bits;
    column_make(&level[LEVELS], "", "b", 4, 2);
    table_make(&t, 1);
    table_add(&t, &level[0]);
    assert_int_equal(pm_documents_from_arrow(&t.schema, &t.array, UINT64_MAX, &documents, &err), POMAI_ETOOBIG);
    assert_non_null(strstr(err.message, "the document of row 0 has more than 67108864 bytes"));
    assert_int_equal(pm_documents_from_arrow(&t.schema, &t.array, 1000, &documents, &err), POMAI_ETOOBIG);
    schemas[LEVELS - 1][0] = &t.schema; /* a schema that is its own child */
    assert_int_equal(pm_documents_from_arrow(&t.schema, NULL, UINT64_MAX, &documents, &err), POMAI_EINVAL);
    assert_non_null(strstr(err.message, "too deeply"));
}

/* ---- documents as columns ---- */

enum { DOCUMENTS = 5 };

/* The columns of five documents, as what they become as documents again; formats: a letter a column. */
static void columns_are(const char *const documents[DOCUMENTS], const char *const *paths, size_t count,
                        const char *formats, const char *const *wanted)
{
    pomai_bytes list[DOCUMENTS];
    struct table t = {0};
    pomai_error err = {0};
    for (int i = 0; i < DOCUMENTS; i++) { /* each in memory of its own */
        char *copy = t_room(strlen(documents[i]));
        memcpy(copy, documents[i], strlen(documents[i]));
        list[i] = (pomai_bytes){copy, strlen(documents[i])};
    }
    if (pm_documents_to_arrow(list, DOCUMENTS, paths, count, &t.schema, &t.array, &err) != POMAI_OK)
        fail_msg("refused: %s", err.message);
    for (int i = 0; i < DOCUMENTS; i++)
        free((void *)(uintptr_t)list[i].data);
    assert_int_equal(t.schema.n_children, strlen(formats));
    for (int64_t i = 0; i < t.schema.n_children; i++) {
        const struct ArrowSchema *s = t.schema.children[i];
        if (s->format[0] != (formats[i] == 'j' ? 'U' : formats[i]) || (s->metadata != NULL) != (formats[i] == 'j'))
            fail_msg("column %s is of the type %s, not %c", s->name, s->format, formats[i]);
    }
    rows_are(&t, wanted);
    t.schema.release(&t.schema);
    t.array.release(&t.array);
    assert_null(t.array.release);
}

static void columns_of_documents(void **state)
{
    static const char *const documents[] = {
        "{\"i\":1,\"f\":1,\"s\":\"a\",\"l\":[\"x\",\"\\n\"],\"b\":true}", "",
        " { \"b\" : false , \"l\" : [ ] , \"i\":-9223372036854775808,\"f\":-0.5e1,\"s\":\"\\u00e9\"} ", "[1]",
        "{\"s\":null,\"i\":9223372036854775807,\"f\":1E+2,\"late\":null}"};
    static const char *const wanted[] = {
        "{\"i\":1,\"f\":1.0,\"s\":\"a\",\"l\":[\"x\",\"\\n\"],\"b\":true,\"late\":null}",
        "{\"i\":null,\"f\":null,\"s\":null,\"l\":null,\"b\":null,\"late\":null}",
        "{\"i\":-9223372036854775808,\"f\":-5.0,\"s\":\"é\",\"l\":[],\"b\":false,\"late\":null}",
        "{\"i\":null,\"f\":null,\"s\":null,\"l\":null,\"b\":null,\"late\":null}",
        "{\"i\":9223372036854775807,\"f\":100.0,\"s\":null,\"l\":null,\"b\":null,\"late\":null}"};
    static const char *const paths[] = {"o.k", "o", "a\\.b", "none"};
    static const char *const nested[] = {"{\"o\":{\"k\":1,\"k\":2},\"a.b\":\"x\"}", "{\"o\":{\"k\":1},\"o\":{}}",
                                         "{\"o\":7}", "{\"\\u006f\":{\"\\u006B\":3}}", "{\"o\":[]}{"};
    static const char *const found[] = {"{\"o.k\":2,\"o\":{\"k\":1,\"k\":2},\"a\\\\.b\":\"x\",\"none\":null}",
                                        "{\"o.k\":null,\"o\":{},\"a\\\\.b\":null,\"none\":null}",
                                        "{\"o.k\":null,\"o\":7,\"a\\\\.b\":null,\"none\":null}",
                                        "{\"o.k\":3,\"o\":{\"\\u006B\":3},\"a\\\\.b\":null,\"none\":null}",
                                        "{\"o.k\":null,\"o\":null,\"a\\\\.b\":null,\"none\":null}"};
    (void)state;
    columns_are(documents, NULL, 0, "lgU+bn", wanted);
    columns_are(nested, paths, 4, "ljUn", found);
}

/* What no other type holds stays as its text. */
static void texts_of_values(void **state)
{
    static const char *const values[][3] = {{"1", "\"a\"", "j"},
                                            {"true", "1", "j"},
                                            {"1", "9223372036854775808", "j"},
                                            {"-9223372036854775809", "1", "j"},
                                            {"[1]", "[]", "j"},
                                            {"[\"a\",1]", "[]", "j"},
                                            {"{}", "{}", "j"},
                                            {"1e999", "1.5", "j"},
                                            {"\"\\ud800\"", "\"a\"", "j"},
                                            {"[\"\\udfff\"]", "[]", "j"},
                                            {"9007199254740993", "0.5", "j"},
                                            {"9007199254740992", "0.5", "g"},
                                            {"18446744073709551616", "1", "j"},
                                            {"1e9999999999999999999999", "1.0", "j"},
                                            {"-1", "-9223372036854775808", "l"},
                                            {"\"\\ud83d\\ude00\"", "\"\xef\xbf\xbf\"", "U"},
                                            {"12345678901234567890123", "1", "j"}};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[2][64];
        pomai_bytes list[2];
        struct ArrowSchema schema;
        struct ArrowArray array;
        pomai_error err = {0};
        for (int j = 0; j < 2; j++)
            list[j] = (pomai_bytes){text[j], (size_t)snprintf(text[j], sizeof text[j], "{\"x\":%s}", values[i][j])};
        assert_int_equal(pm_documents_to_arrow(list, 2, NULL, 0, &schema, &array, &err), POMAI_OK);
        const char *format = schema.children[0]->metadata != NULL ? "j" : schema.children[0]->format;
        if (strcmp(format, values[i][2]) != 0) fail_msg("%s and %s are %s", values[i][0], values[i][1], format);
        schema.release(&schema);
        array.release(&array);
    }
}

static void paths_that_are_refused(void **state)
{
    static const char *const bad[] = {"$or", "a\\", "x\xff"}, *const same[] = {"a", "a"};
    const pomai_bytes document = {"{\"a\\u0000\":1}", 13}, half = {"{\"\\ud800\":1}", 12}, missing = {NULL, 3};
    struct ArrowSchema schema;
    struct ArrowArray array;
    pomai_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (pm_documents_to_arrow(&document, 1, &bad[i], 1, &schema, &array, &err) == POMAI_OK)
            fail_msg("'%s'", bad[i]);
        assert_null(schema.release);
        assert_null(array.release);
    }
    assert_int_equal(pm_documents_to_arrow(&document, 1, same, 2, &schema, &array, &err), POMAI_EINVAL);
    assert_int_equal(pm_documents_to_arrow(&document, 1, NULL, 0, &schema, &array, &err), POMAI_EINVAL);
    assert_int_equal(pm_documents_to_arrow(&half, 1, NULL, 0, &schema, &array, &err), POMAI_EINVAL);
    assert_int_equal(pm_documents_to_arrow(&missing, 1, NULL, 0, &schema, &array, &err), POMAI_EINVAL);
}

/* ---- random arrays ---- */

static uint64_t allowed;

static bool fails(size_t size)
{
    (void)size;
    return allowed-- == 0;
}

static void fill(struct t_rng *rng, uint8_t bytes[600])
{
    for (size_t i = 0; i < 600; i++)
        bytes[i] = (uint8_t)t_next(rng);
}

static void random_arrays_read_back(void **state)
{
    uint64_t good = 0;
    (void)state;
    for (uint64_t i = 0; i < cases; i++) {
        struct t_rng rng = t_rng_from(seed + i);
        uint8_t bytes[600];
        fill(&rng, bytes);
        struct t_feed feed = {bytes, bytes + sizeof bytes};
        struct t_node *rows = t_make_rows(&feed);
        pomai_bytes *documents;
        pomai_error err = {0};
        const pomai_status status = pm_documents_from_arrow(&rows->schema, &rows->array, 1 << 20, &documents, &err);
        if (status == POMAI_OK) {
            t_expect_rows(documents, &rows->schema, &rows->array);
            t_expect_back(documents, (uint64_t)rows->array.length);
        }
        good += status == POMAI_OK && rows->array.length > 0 && rows->schema.n_children > 0;
        pm_free(documents);
        t_node_free(rows);
    }
    print_message("%llu of %llu arrays were taken and had rows\n", (unsigned long long)good, (unsigned long long)cases);
    assert_true(good > cases / 20);
}

static void columns_without_memory(const pomai_bytes *documents, uint64_t rows)
{
    pomai_status status = POMAI_ENOMEM;
    for (uint64_t n = 0; status == POMAI_ENOMEM && n < 1000; n++) {
        struct ArrowSchema schema;
        struct ArrowArray array;
        pomai_error err = {0};
        allowed = n;
        pm_malloc_fails = fails;
        status = pm_documents_to_arrow(documents, rows, NULL, 0, &schema, &array, &err);
        pm_malloc_fails = NULL;
        assert_true((status == POMAI_OK) == (schema.release != NULL) &&
                    (status == POMAI_OK) == (array.release != NULL));
        if (status != POMAI_OK) continue;
        schema.release(&schema);
        array.release(&array);
    }
    assert_int_not_equal(status, POMAI_ENOMEM);
}

static void without_memory(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 300; i++) {
        struct t_rng rng = t_rng_from(seed + i);
        uint8_t bytes[600];
        fill(&rng, bytes);
        struct t_feed feed = {bytes, bytes + sizeof bytes};
        struct t_node *rows = t_make_rows(&feed);
        pomai_status status = POMAI_ENOMEM;
        for (uint64_t n = 0; status == POMAI_ENOMEM && n < 1000; n++) {
            pomai_bytes *documents;
            pomai_error err = {0};
            allowed = n;
            pm_malloc_fails = fails;
            status = pm_documents_from_arrow(&rows->schema, &rows->array, 1 << 20, &documents, &err);
            pm_malloc_fails = NULL;
            assert_true((status == POMAI_OK) == (documents != NULL));
            if (status == POMAI_OK) columns_without_memory(documents, (uint64_t)rows->array.length);
            pm_free(documents);
        }
        assert_int_not_equal(status, POMAI_ENOMEM);
        t_node_free(rows);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--cases") == 0) cases = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
    }
    print_message("--seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_are_those_of_python),
        cmocka_unit_test(floats_are_the_shortest),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(strings_that_change),
        cmocka_unit_test(rows_of_columns),
        cmocka_unit_test(dictionaries_and_json),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(what_would_never_end),
        cmocka_unit_test(columns_of_documents),
        cmocka_unit_test(texts_of_values),
        cmocka_unit_test(paths_that_are_refused),
        cmocka_unit_test(random_arrays_read_back),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
