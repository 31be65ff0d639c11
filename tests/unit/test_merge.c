/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge patches: the cases of RFC 7396, what is kept as it is written, what is refused; and random documents and
 * patches against the pseudocode of the RFC on trees. --cases N, --seed S.
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
#include "filter/merge.h"
#include "support/rng.h"

/* In memory of its own size, so that a sanitizer sees a step too far. */
static char *copied(const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) memcpy(copy, text, size);
    return copy;
}

/* The merged text, to be freed; NULL: the document is no object. */
static char *merged(const char *document, const char *patch)
{
    pomai_error err;
    pm_merge *merge;
    pm_bytes to = {0};
    char *text = copied(document, strlen(document)), *other = copied(patch, strlen(patch));
    if (pm_merge_parse(other, strlen(patch), &merge, &err) != POMAI_OK) fail_msg("%s: %s", patch, err.message);
    free(other); /* it was copied */
    const bool object = pm_merge_apply(merge, text, strlen(document), &to);
    assert_false(to.failed);
    if (!object) assert_int_equal(to.size, 0);
    pm_bytes_add(&to, "", 1);
    char *result = object ? copied(to.data, to.size) : NULL;
    pm_free(to.data);
    pm_merge_free(merge);
    free(text);
    return result;
}

/* Whether it came out otherwise, or was set anew. */
static bool changed(const char *document, const char *patch)
{
    pomai_error err;
    pm_merge *merge;
    pm_bytes to = {0};
    assert_int_equal(pm_merge_parse(patch, strlen(patch), &merge, &err), POMAI_OK);
    assert_true(pm_merge_apply(merge, "{\"z\":{\"z\":1}}", 13, &to)); /* it says so of the last */
    assert_true(pm_merge_apply(merge, document, strlen(document), &to));
    const bool changes = pm_merge_changed(merge);
    pm_free(to.data);
    pm_merge_free(merge);
    return changes;
}

static void what_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *document, *patch;
        bool changes;
    } cases[] = {
        {"{\"a\":1}", "{\"b\":null}", false},
        {"{ \"a\" : 1 }", "{\"b\":null,\"c\":null}", false},
        {"", "{\"b\":null}", false},
        {"{}", "{\"b\":null}", false},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"c\":null}}", false},
        {"{\"a\":{\"b\":1}}", "{\"a\":{}}", false},
        {"{\"b\":null}", "{\"b\":null}", true},
        {"{\"\\u0062\":0}", "{\"b\":null}", true},
        {"{\"a\":1}", "{\"a\":1}", true}, /* what is set is set */
        {"{\"a\":1}", "{\"b\":null,\"c\":2}", true},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"b\":null}}", true},
        {"{\"a\":{\"b\":1},\"c\":3}", "{\"a\":{\"x\":null},\"c\":null}", true},
        {"{\"a\":1}", "{\"a\":{\"c\":null}}", true}, /* becomes {} */
        {"{}", "{\"a\":{\"c\":null}}", true},
        {"", "{\"a\":{}}", true},
        {"{\"a\":1,\"a\":{}}", "{\"a\":{\"c\":null}}", true}, /* only the last stays */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (changed(cases[i].document, cases[i].patch) != cases[i].changes)
            fail_msg("%s with %s", cases[i].document, cases[i].patch);
}

static void merges_as(const char *document, const char *patch, const char *wanted)
{
    char *text = merged(document, patch);
    if (wanted == NULL) assert_null(text);
    if (wanted != NULL && (text == NULL || strcmp(text, wanted) != 0))
        fail_msg("%s with %s gives %s, not %s", document, patch, text == NULL ? "nothing" : text, wanted);
    free(text);
}

static void the_cases_of_the_rfc(void **state)
{
    (void)state;
    merges_as("{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    merges_as("{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}");
    merges_as("{\"a\":\"b\"}", "{\"a\":null}", "{}");
    merges_as("{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}");
    merges_as("{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}");
    merges_as("{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}");
    merges_as("{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}");
    merges_as("{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}");
    merges_as("{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}");
    merges_as("{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}");
    merges_as("", "{\"a\":1,\"b\":null}", "{\"a\":1}");
}

static void what_is_not_named_stays(void **state)
{
    (void)state;
    merges_as("{ \"big\" : 123456789012345678901234567890.50E+2 , \"s\":\"\\u00e9\\n\", \"o\": { \"x\" : [ 1, 2 ] } }",
              "{\"n\": 1}",
              "{\"big\":123456789012345678901234567890.50E+2,\"s\":\"\\u00e9\\n\","
              "\"o\":{ \"x\" : [ 1, 2 ] },\"n\":1}");
    merges_as("{\"a\":1,\"b\":2,\"c\":3}", "{\"b\":20,\"a\":10}", "{\"a\":10,\"b\":20,\"c\":3}"); /* in its place */
    merges_as("{\"a\":1,\"x\":0,\"a\":{\"k\":1}}", "{\"a\":{\"l\":2}}", "{\"x\":0,\"a\":{\"k\":1,\"l\":2}}");
    merges_as("{\"a\":{\"k\":1},\"a\":2}", "{\"a\":{\"l\":2}}", "{\"a\":{\"l\":2}}");
    merges_as("{\"x\":1,\"x\":2}", "{\"a\":1}", "{\"x\":1,\"x\":2,\"a\":1}");
    merges_as("{\"\\u0061\":1}", "{\"a\":2}", "{\"\\u0061\":2}");
    merges_as("{\"a\":1}", "{\"\\u0061\":2}", "{\"a\":2}");
    merges_as("{\"a\":1}", "{\"a\":2,\"b\":0,\"a\":3}", "{\"a\":3,\"b\":0}");
    merges_as("{\"\":1,\"a\\u0000\":2}", "{\"\":null,\"a\\u0000\":[null]}", "{\"a\\u0000\":[null]}");
}

static void what_is_no_object_is_refused(void **state)
{
    static const char *const documents[] = {"[1]",
                                            "1",
                                            "null",
                                            "\"a\"",
                                            " ",
                                            "{",
                                            "{\"a\":1",
                                            "{\"a\":1}x",
                                            "{\"a\":1,}",
                                            "{\"a\" 1}",
                                            "{a:1}",
                                            "{\"a\":01}",
                                            "{\"a\":\"\xff\"}",
                                            "{\"a\":{\"b\":}}",
                                            "\xef\xbb\xbf{}"};
    static const char *const patches[] = {"",           " ",          "[]",          "null",
                                          "1",          "{",          "{\"a\"}",     "{\"a\":}",
                                          "{\"a\":1}}", "{\"a\":1,}", "{\"a\":tru}", "{\"a\":{\"b\":}}",
                                          "{,}",        "{\"a\":nul"};
    pomai_error err;
    pm_merge *merge;
    (void)state;
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        merges_as(documents[i], "{\"a\":{\"b\":1}}", NULL);
        merges_as(documents[i], "{}", NULL);
    }
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
        assert_int_equal(pm_merge_parse(patches[i], strlen(patches[i]), &merge, &err), POMAI_EINVAL);
        assert_null(merge);
    }
}

static void a_refusal_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *patch, *says;
    } cases[] = {
        {"{\"q\":01}", "the patch is no JSON object: not JSON at byte 6: wants , or }"},
        {"{\"q\":NaN}", "q: not JSON at byte 5: wants a value; there is no NaN, no Infinity"},
        {"{\"q\":-Infinity}", "q: not JSON at byte 5: wants a value; there is no NaN, no Infinity"},
        {"{\"q\":-}", "q: not JSON at byte 5: a number that is none"},
        {"{\"q\":{\"r\":[1,}}", "q.r[1]: not JSON at byte 13: wants a value"},
        {"{\"q\":{\"r\":[[],[{\"s\":1},{ \"t\" :[{}, \"\x01\"]}]]}}",
         "q.r[1][1].t[1]: not JSON at byte 35: a string that is none"},
        {"{\"a\":[1 2]}", "a: not JSON at byte 8: wants , or ]"},
        {"{\"a\":{\"b\":1,}}", "a: not JSON at byte 12: wants a key"},
        {"{\"a\":{\"b\" 1}}", "a.b: not JSON at byte 10: wants :"},
        {"{\"a\":1", "not JSON at byte 6: wants , or }"},
        {"{\"a\":", "a: not JSON at byte 5: wants a value"},
        {" {\"a\":1} x", "the patch is no JSON object: not JSON at byte 9: wants the end"},
        {"{a:1}", "not JSON at byte 1: wants a key; JSON strings need double quotes"},
        {"{\"a\":'b'}", "a: not JSON at byte 5: wants a value; JSON strings need double quotes"},
        {"[]", "the patch is no JSON object: a merge wants one"},
        {"", "the patch is no JSON object: a merge wants one"},
    };
    pm_merge *merge;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pomai_error err;
        char *text = copied(cases[i].patch, strlen(cases[i].patch));
        assert_int_equal(pm_merge_parse(text, strlen(cases[i].patch), &merge, &err), POMAI_EINVAL);
        free(text);
        if (strstr(err.message, cases[i].says) == NULL) fail_msg("%s: %s", cases[i].patch, err.message);
    }
}

static void append(char *text, const char *piece, int times)
{
    for (char *end = text + strlen(text); times-- > 0; end += strlen(piece))
        strcpy(end, piece);
}

static void depth_is_bounded(void **state)
{
    static char text[20000], other[20000];
    pomai_error err;
    pm_merge *merge;
    (void)state;
    for (int depth = PM_MERGE_MOST_DEPTH; depth <= PM_MERGE_MOST_DEPTH + 1; depth++) {
        text[0] = '\0';
        append(text, "{\"a\":", depth - 1);
        append(text, "{", 1);
        append(text, "}", depth);
        const pomai_status status = pm_merge_parse(text, strlen(text), &merge, &err);
        assert_int_equal(status, depth == PM_MERGE_MOST_DEPTH ? POMAI_OK : POMAI_ETOOBIG);
        pm_merge_free(merge);
    }
    /* Arrays count with what is around them, as in documents. */
    for (int depth = PM_FILTER_MOST_NESTING - 1; depth <= PM_FILTER_MOST_NESTING; depth++) {
        strcpy(text, "{\"a\":");
        append(text, "[", depth);
        append(text, "]", depth);
        append(text, "}", 1);
        const bool good = depth < PM_FILTER_MOST_NESTING;
        assert_int_equal(pm_merge_parse(text, strlen(text), &merge, &err), good ? POMAI_OK : POMAI_EINVAL);
        if (!good) assert_non_null(strstr(err.message, "]: not JSON at byte 1028: more than 1,024 objects and arrays"));
        pm_merge_free(merge);
        strcpy(other, text);
        merges_as(text, "{\"b\":1}", good ? (other[strlen(other) - 1] = '\0', strcat(other, ",\"b\":1}")) : NULL);
    }
}

/* ---- random trees ---- */

enum { KEYS = 5, DEPTH = 4, TEXT = 1 << 16 };

/* NULL values are absent keys; a leaf has a text. */
struct tree {
    bool object;
    char leaf[16];
    struct tree *child[KEYS];
};

static struct tree *draw(struct t_rng *rng, unsigned depth, bool object)
{
    struct tree *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->object = object || (depth < DEPTH && t_chance(rng, 50));
    static const char *const leaves[] = {"null", "1.50", "\"x\"", "[null,{}]", "true"};
    if (!t->object) strcpy(t->leaf, leaves[t_below(rng, 5)]);
    for (unsigned k = 0; t->object && k < KEYS; k++)
        if (t_chance(rng, 50)) t->child[k] = draw(rng, depth + 1, false);
    return t;
}

static void drop(struct tree *t)
{
    if (t == NULL) return;
    for (unsigned k = 0; k < KEYS; k++)
        drop(t->child[k]);
    free(t);
}

static struct tree *copy(const struct tree *t)
{
    struct tree *c = calloc(1, sizeof *c);
    assert_non_null(c);
    *c = *t;
    for (unsigned k = 0; k < KEYS; k++)
        c->child[k] = t->child[k] == NULL ? NULL : copy(t->child[k]);
    return c;
}

/* RFC 7396, section 2. */
static struct tree *apply(struct tree *target, const struct tree *patch)
{
    if (!patch->object) {
        drop(target);
        return copy(patch);
    }
    if (target == NULL || !target->object) {
        drop(target);
        target = calloc(1, sizeof *target);
        assert_non_null(target);
        target->object = true;
    }
    for (unsigned k = 0; k < KEYS; k++) {
        if (patch->child[k] == NULL) continue;
        if (!patch->child[k]->object && strcmp(patch->child[k]->leaf, "null") == 0) {
            drop(target->child[k]);
            target->child[k] = NULL;
        } else {
            target->child[k] = apply(target->child[k], patch->child[k]);
        }
    }
    return target;
}

static const char *const keys[KEYS][2] = {{"\"a\"", "\"\\u0061\""},
                                          {"\"b\"", "\"\\u0062\""},
                                          {"\"\"", "\"\""},
                                          {"\"ab\"", "\"a\\u0062\""},
                                          {"\"\xc3\xa9\"", "\"\\u00E9\""}};

/* With blanks, escapes, keys in any order, and keys that stand there before the one that counts. */
static void print(const struct tree *t, struct t_rng *rng, char *text)
{
    static const char *const blanks[] = {"", "", " ", "\n\t"};
    bool any = false;
    if (!t->object) {
        strcat(text, t->leaf);
        return;
    }
    strcat(text, "{");
    const unsigned first = (unsigned)t_below(rng, KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        const unsigned k = (first + i) % KEYS;
        for (int again = t_chance(rng, 10) ? 2 : 1; t->child[k] != NULL && again > 0; again--) {
            if (any) strcat(text, ",");
            any = true;
            strcat(text, blanks[t_below(rng, 4)]);
            strcat(text, keys[k][t_below(rng, 2)]);
            strcat(text, blanks[t_below(rng, 4)]);
            strcat(text, ":");
            if (again == 2)
                strcat(text, t_chance(rng, 50) ? "{\"a\":{\"b\":9}}" : "9");
            else
                print(t->child[k], rng, text);
            strcat(text, blanks[t_below(rng, 4)]);
        }
    }
    strcat(text, "}");
}

/* Reads what print() made back into a tree; gives the place behind it. */
static const char *read_back(const char *p, struct tree **to)
{
    struct tree *t = *to = calloc(1, sizeof *t);
    assert_non_null(t);
    p += strspn(p, " \n\t");
    if (*p != '{') { /* a leaf: up to the comma or brace behind it */
        int open = 0;
        size_t n = 0;
        for (; p[n] != '\0' && (open > 0 || strchr(",} \n\t", p[n]) == NULL); n++)
            open += (p[n] == '[') - (p[n] == ']');
        assert_true(n > 0 && n < sizeof t->leaf);
        memcpy(t->leaf, p, n);
        return p + n;
    }
    t->object = true;
    for (p++; *(p += strspn(p, " \n\t,")) != '}';) {
        unsigned k = 0;
        size_t size = 0;
        for (; k < KEYS && size == 0; k++)
            for (int i = 0; i < 2 && size == 0; i++)
                if (strncmp(p, keys[k][i], strlen(keys[k][i])) == 0) size = strlen(keys[k][i]);
        if (size == 0) fail_msg("no key at %s", p);
        p += size;
        p += strspn(p, " \n\t");
        assert_int_equal(*p, ':');
        drop(t->child[--k]);
        p = read_back(p + 1, &t->child[k]);
    }
    return p + 1;
}

static bool same(const struct tree *a, const struct tree *b)
{
    if (a == NULL || b == NULL) return a == b;
    if (a->object != b->object || strcmp(a->leaf, b->leaf) != 0) return false;
    for (unsigned k = 0; k < KEYS; k++)
        if (!same(a->child[k], b->child[k])) return false;
    return true;
}

static void what_names_nothing(void **state)
{
    static const char *const nothing[] = {"{}", " {} ", "\t{ \r\n}\n"};
    static const char *const something[] = {"", " ", "{", "{\"a\": {}}", "{\"\": null}", "[]", "null"};
    (void)state;
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
        assert_true(pm_merge_is_nothing(nothing[i], strlen(nothing[i])));
    for (size_t i = 0; i < sizeof something / sizeof something[0]; i++)
        assert_false(pm_merge_is_nothing(something[i], strlen(something[i])));
    assert_false(pm_merge_is_nothing(NULL, 0));
}

static uint64_t cases = 3000, seed = 1;

static void random_ones(void **state)
{
    static char document[TEXT], patch[TEXT];
    (void)state;
    for (uint64_t i = 0; i < cases; i++) {
        struct t_rng rng = t_rng_from(t_mix2(seed, i));
        struct tree *target = draw(&rng, 0, true), *change = draw(&rng, 0, true), *found;
        document[0] = patch[0] = '\0';
        print(target, &rng, document);
        print(change, &rng, patch);
        target = apply(target, change);
        char *text = merged(document, patch);
        assert_non_null(text);
        const char *end = read_back(text, &found);
        if (*end != '\0' || !same(found, target))
            fail_msg("%s with %s gives %s (--seed %llu, case %llu)", document, patch, text, (unsigned long long)seed,
                     (unsigned long long)i);
        free(text);
        drop(found);
        drop(target);
        drop(change);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cases_of_the_rfc), cmocka_unit_test(what_is_not_named_stays),
        cmocka_unit_test(what_changes_nothing), cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(a_refusal_says_where), cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(what_names_nothing),   cmocka_unit_test(random_ones),
    };
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--cases") == 0) cases = strtoull(argv[i + 1], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
