/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "filter/filter_int.h"

struct made {
    pm_filter_node node;
    struct made *before; /* of all leaves */
    bool folded;         /* into another: it is in no tree */
};

/* Children in the making. */
struct list {
    struct made *first, *last;
    uint32_t count;
};

struct parser {
    const char *begin, *p, *end;
    pm_filter *filter;
    pomai_error *err;
    pomai_status status;
    uint32_t terms, contains, leaf_count;
    struct made *leaves;
    pm_filter_value *values; /* of the $in that is being read or made */
    size_t value_count, value_room;
};

/* A key of an object of the filter, to find those that are there twice. */
struct member {
    pm_filter_key key;
    struct member *before;
};

enum { AS_NULL = 1, AS_BOOL = 2, AS_NUMBER = 4, AS_STRING = 8, AS_ARRAY = 16, AS_OBJECT = 32 };
enum { AS_SCALAR = AS_NULL | AS_BOOL | AS_NUMBER | AS_STRING, AS_ORDERED = AS_NUMBER | AS_STRING };

static const struct operator_entry {
    const char *name;
    pm_filter_op op;
    bool negated;
    unsigned operand;
    const char *wants;
} operators[] = {
    {"$eq", PM_FILTER_EQ, false, AS_SCALAR, "null, a bool, a number or a string"},
    {"$ne", PM_FILTER_EQ, true, AS_SCALAR, "null, a bool, a number or a string"},
    {"$gt", PM_FILTER_GT, false, AS_ORDERED, "a number or a string"},
    {"$gte", PM_FILTER_GTE, false, AS_ORDERED, "a number or a string"},
    {"$lt", PM_FILTER_LT, false, AS_ORDERED, "a number or a string"},
    {"$lte", PM_FILTER_LTE, false, AS_ORDERED, "a number or a string"},
    {"$in", PM_FILTER_IN, false, AS_ARRAY, "an array"},
    {"$nin", PM_FILTER_IN, true, AS_ARRAY, "an array"},
    {"$exists", PM_FILTER_EXISTS, false, AS_BOOL, "true or false"},
    {"$contains", PM_FILTER_CONTAINS, false, AS_SCALAR, "null, a bool, a number or a string"},
    {"$starts_with", PM_FILTER_STARTS_WITH, false, AS_STRING, "a string"},
    {"$not", PM_FILTER_NOT, false, AS_OBJECT, "an object of operators"},
};
enum { OPERATORS = sizeof operators / sizeof operators[0] };

/* ---- refusals ---- */

/* Always NULL, so that a caller can `return refuse(...)`. */
static void *refuse(struct parser *p, const pm_filter_frame *at, pomai_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void *refuse(struct parser *p, const pm_filter_frame *at, pomai_status status, const char *format, ...)
{
    char path[PM_FILTER_SHOWN], what[256];
    const char *from = pm_filter_show(at, path);
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    p->status = pm_fail(p->err, status, "filter: %s%s%s", from, *from != '\0' ? ": " : "", what);
    return NULL;
}

static void *no_memory(struct parser *p, const pm_filter_frame *at)
{
    return refuse(p, at, POMAI_ENOMEM, "no memory");
}

static void *malformed(struct parser *p, const pm_filter_frame *at, const char *what)
{
    const bool unquoted = p->p > p->begin && pm_filter_lacks_quotes(p->p, p->end, strcmp(what, "wants a key") == 0);
    return refuse(p, at, POMAI_EINVAL, "not JSON at byte %zu: %s%s", (size_t)(p->p - p->begin), what,
                  unquoted ? "; JSON strings need double quotes" : "");
}

static bool count_terms(struct parser *p, const pm_filter_frame *at, uint32_t terms)
{
    p->terms += terms;
    if (p->terms <= PM_FILTER_MOST_TERMS) return true;
    refuse(p, at, POMAI_ETOOBIG, "more than %d terms", PM_FILTER_MOST_TERMS);
    return false;
}

/* ---- words ---- */

static void skip_blank(struct parser *p)
{
    p->p = pm_filter_blank(p->p, p->end);
}

static bool is_next(struct parser *p, char c)
{
    skip_blank(p);
    return p->p < p->end && *p->p == c;
}

/* AS_... of the value that begins here, or 0 after a refusal. */
static unsigned kind_here(struct parser *p, const pm_filter_frame *at)
{
    skip_blank(p);
    const char c = p->p < p->end ? *p->p : '\0';
    if (c == '{') return AS_OBJECT;
    if (c == '[') return AS_ARRAY;
    if (c == '"') return AS_STRING;
    if ((c == '-' && !(p->end - p->p > 1 && p->p[1] == 'I')) || pm_filter_digit(c)) return AS_NUMBER;
    if (c != '\0' && pm_filter_skip_word(p->p, p->end) != NULL) return c == 'n' ? AS_NULL : AS_BOOL;
    const bool python = c == 'N' || c == 'I' || c == '-';
    malformed(p, at, python ? PM_FILTER_NO_NAN : "wants a value");
    return 0;
}

static const char *kind_name(unsigned kind)
{
    return kind == AS_NULL     ? "null"
           : kind == AS_BOOL   ? "a bool"
           : kind == AS_NUMBER ? "a number"
           : kind == AS_STRING ? "a string"
           : kind == AS_ARRAY  ? "an array"
                               : "an object";
}

/* false after a refusal: no value here, or none of these. */
static bool wants_kind(struct parser *p, const pm_filter_frame *at, unsigned kinds, const char *name)
{
    const unsigned kind = kind_here(p, at);
    if (kind != 0 && (kind & kinds) == 0) refuse(p, at, POMAI_EINVAL, "wants %s, not %s", name, kind_name(kind));
    return (kind & kinds) != 0;
}

/* Behind a value of an array or object: true: another follows. The end is gone over. false, too, after a refusal. */
static bool another(struct parser *p, const pm_filter_frame *at, char end)
{
    if (is_next(p, ',')) {
        p->p++;
        return true;
    }
    if (is_next(p, end))
        p->p++;
    else
        malformed(p, at, end == '}' ? "wants , or }" : "wants , or ]");
    return false;
}

static bool read_string(struct parser *p, const pm_filter_frame *at, pm_filter_key *out)
{
    bool escapes = false;
    const char *behind = pm_filter_skip_string(p->p, p->end, &escapes);
    if (behind == NULL) return malformed(p, at, "a string that is none") != NULL;
    pm_filter_string string = {.p = p->p + 1, .end = behind - 1};
    char *data = pm_filter_take(&p->filter->arena, (size_t)(string.end - string.p));
    if (data == NULL) return no_memory(p, at) != NULL;
    size_t size = 0;
    const char *escape = string.p;
    for (int byte; (byte = pm_filter_next_byte(&string)) >= 0;) {
        data[size++] = (char)byte;
        if (size > 1 && (uint8_t)data[size - 2] == 0xed && byte > 0x9f) { /* which no UTF-8 has */
            refuse(p, at, POMAI_EINVAL, "half a surrogate pair at byte %zu", (size_t)(escape - p->begin));
            return false;
        }
        if (string.at == string.count) escape = string.p;
    }
    *out = (pm_filter_key){data, size};
    p->p = behind;
    return true;
}

/* A key and its colon. */
static bool read_key(struct parser *p, const pm_filter_frame *at, pm_filter_key *key)
{
    skip_blank(p);
    if (!is_next(p, '"')) return malformed(p, at, "wants a key") != NULL;
    if (!read_string(p, at, key)) return false;
    pm_filter_frame inside = {.up = at, .key = key->data, .size = key->size};
    if (!is_next(p, ':')) return malformed(p, &inside, "wants :") != NULL;
    p->p++;
    return true;
}

/* ---- operands ---- */

static void set_width(pm_filter_value *value)
{
    uint64_t n = 0;
    const bool negative = value->number.sign < 0;
    value->width = PM_FILTER_DECIMAL;
    for (size_t i = negative; i < value->size; i++) {
        if (!pm_filter_digit(value->data[i])) return;
        if (pm_mul_overflows(n, 10, &n) || pm_add_overflows(n, (uint64_t)(value->data[i] - '0'), &n)) return;
    }
    if (n <= (uint64_t)INT64_MAX + negative) {
        value->width = PM_FILTER_INT64;
        value->whole.i64 = (int64_t)(negative ? 0 - n : n);
    } else if (!negative) {
        value->width = PM_FILTER_UINT64;
        value->whole.u64 = n;
    }
}

/* Whether the number is a whole one that is written as pm_filter_write_number writes it. */
static bool is_plain(const char *p, const char *end)
{
    const bool negative = *p == '-';
    p += negative;
    if (end - p > 19 || (negative && *p == '0')) return false;
    while (p < end && pm_filter_digit(*p))
        p++;
    return p == end;
}

static bool read_number(struct parser *p, const pm_filter_frame *at, pm_filter_value *value)
{
    char small[128];
    const char *behind = pm_filter_skip_number(p->p, p->end), *written = p->p;
    if (behind == NULL) return malformed(p, at, "a number that is none") != NULL;
    value->size = (size_t)(behind - p->p);
    if (!is_plain(p->p, behind)) {
        pm_filter_read_number(p->p, behind, &value->number);
        const int64_t most = PM_FILTER_MOST_EXPONENT, exponent = value->number.exponent - 1;
        if (value->number.sign != 0 && (exponent > most || exponent < -most)) {
            refuse(p, at, POMAI_EINVAL, "the exponent of a number is beyond %d", PM_FILTER_MOST_EXPONENT);
            return false;
        }
        const size_t room = pm_filter_number_room(value->size);
        char *to = room <= sizeof small ? small : pm_filter_take(&p->filter->arena, room);
        if (to == NULL) return no_memory(p, at) != NULL;
        value->size = pm_filter_write_number(p->p, behind, to);
        written = to;
    }
    const bool kept = written != p->p && written != small;
    char *text = kept ? NULL : pm_filter_take(&p->filter->arena, value->size);
    if (!kept && text == NULL) return no_memory(p, at) != NULL;
    if (text != NULL) memcpy(text, written, value->size);
    value->type = PM_FILTER_NUMBER;
    value->data = kept ? written : text;
    pm_filter_read_number(value->data, value->data + value->size,
                          &value->number); /* its digits are there from now on */
    set_width(value);
    p->p = behind;
    return true;
}

/* null, a bool, a number or a string, which begins here. */
static bool read_scalar(struct parser *p, const pm_filter_frame *at, pm_filter_value *value)
{
    *value = (pm_filter_value){.type = PM_FILTER_NULL};
    if (*p->p == '-' || pm_filter_digit(*p->p)) return read_number(p, at, value);
    if (*p->p == '"') {
        pm_filter_key text;
        if (!read_string(p, at, &text)) return false;
        value->type = PM_FILTER_STRING;
        value->data = text.data;
        value->size = text.size;
        return true;
    }
    if (*p->p != 'n') value->type = PM_FILTER_BOOL;
    value->truth = *p->p == 't';
    p->p = pm_filter_skip_word(p->p, p->end);
    return true;
}

/* For one more. */
static bool make_room(struct parser *p, const pm_filter_frame *at)
{
    if (p->value_count < p->value_room) return true;
    const size_t room = p->value_room == 0 ? 16 : 2 * p->value_room;
    pm_filter_value *values = pm_realloc(p->values, room * sizeof *values);
    if (values == NULL) return no_memory(p, at) != NULL;
    p->values = values;
    p->value_room = room;
    return true;
}

static bool push_value(struct parser *p, const pm_filter_frame *at)
{
    if (!make_room(p, at)) return false;
    if (!count_terms(p, at, 1) || !read_scalar(p, at, &p->values[p->value_count])) return false;
    p->value_count++;
    return true;
}

/* The values sorted, each once, become the node's. */
static bool settle_values(struct parser *p, const pm_filter_frame *at, pm_filter_node *node)
{
    const size_t count = p->value_count;
    pm_filter_value *values = pm_filter_take(&p->filter->arena, count * sizeof *values);
    void **sorted = pm_filter_take(&p->filter->arena, count * sizeof *sorted);
    if (values == NULL || sorted == NULL) return no_memory(p, at) != NULL;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &p->values[i];
    pm_filter_sort_values(sorted, count);
    node->values = values;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || pm_filter_order_values(&values[node->count - 1], sorted[i]) != 0)
            values[node->count++] = *(const pm_filter_value *)sorted[i];
    if (node->count == 1) node->op = PM_FILTER_EQ;
    return true;
}

static bool read_values(struct parser *p, const pm_filter_frame *at, pm_filter_node *node)
{
    pm_filter_frame inside = {.up = at};
    p->p++;
    p->value_count = 0;
    if (is_next(p, ']')) {
        p->p++;
        return true;
    }
    do {
        if (!wants_kind(p, &inside, AS_SCALAR, operators[0].wants) || !push_value(p, &inside)) return false;
        inside.index++;
    } while (another(p, at, ']'));
    return p->status == POMAI_OK && settle_values(p, at, node);
}

/* How much of the text is still right after so much of it was: Knuth, Morris, Pratt. */
static bool make_skips(struct parser *p, const pm_filter_frame *at, pm_filter_node *node)
{
    const pm_filter_value *value = node->values;
    if (++p->contains > PM_FILTER_MOST_CONTAINS) {
        refuse(p, at, POMAI_ETOOBIG, "more than %d times $contains", PM_FILTER_MOST_CONTAINS);
        return false;
    }
    if (value->type != PM_FILTER_STRING) return true;
    uint32_t *skips = pm_filter_take(&p->filter->arena, value->size * sizeof *skips);
    if (skips == NULL) return no_memory(p, at) != NULL;
    uint32_t same = 0;
    if (value->size > 0) skips[0] = 0;
    for (size_t i = 1; i < value->size; i++) {
        while (same > 0 && value->data[i] != value->data[same])
            same = skips[same - 1];
        same += value->data[i] == value->data[same];
        skips[i] = same;
    }
    node->skips = skips;
    return true;
}

/* ---- nodes ---- */

static struct made *make_node(struct parser *p, const pm_filter_frame *at, pm_filter_op op)
{
    struct made *made = pm_filter_take(&p->filter->arena, sizeof *made);
    if (made == NULL) return no_memory(p, at);
    memset(made, 0, sizeof *made);
    made->node.op = op;
    return made;
}

static struct made *make_leaf(struct parser *p, const pm_filter_frame *at, pm_filter_op op, const pm_filter_node *path)
{
    struct made *made = make_node(p, at, op);
    if (made == NULL || !count_terms(p, at, 1)) return NULL;
    made->node.keys = path->keys;
    made->node.key_count = path->key_count;
    made->before = p->leaves;
    p->leaves = made;
    p->leaf_count++;
    return made;
}

static struct made *negate(struct parser *p, const pm_filter_frame *at, struct made *of)
{
    if (of == NULL) return NULL;
    if (of->node.op == PM_FILTER_NOT)
        return (struct made *)(void *)of->node.children; /* a node is what a made begins with */
    struct made *not = make_node(p, at, PM_FILTER_NOT);
    if (not != NULL) not ->node.children = &of->node;
    return not ;
}

static bool add(struct list *nodes, struct made *made)
{
    if (made == NULL) return false;
    if (nodes->last != NULL)
        nodes->last->node.next = &made->node;
    else
        nodes->first = made;
    nodes->last = made;
    nodes->count++;
    return true;
}

static struct made *join(struct parser *p, const pm_filter_frame *at, pm_filter_op op, const struct list *nodes)
{
    if (nodes->count == 1) return nodes->first;
    struct made *made = make_node(p, at, op);
    if (made != NULL && nodes->first != NULL) made->node.children = &nodes->first->node;
    return made;
}

static struct made *behind(const struct made *made)
{
    return (struct made *)(void *)made->node.next; /* a node is what a made begins with */
}

static bool is_equality(const struct made *made)
{
    return made->node.op == PM_FILTER_EQ || made->node.op == PM_FILTER_IN;
}

/* Whether both say what a value at the same path is equal to. */
static bool can_fold(const struct made *a, const struct made *b)
{
    if (b == NULL || !is_equality(a) || !is_equality(b) || a->node.key_count != b->node.key_count) return false;
    for (uint32_t i = 0; i < a->node.key_count; i++)
        if (pm_filter_order_keys(&a->node.keys[i], &b->node.keys[i]) != 0) return false;
    return true;
}

static bool push_values_of(struct parser *p, const pm_filter_frame *at, const pm_filter_node *node)
{
    for (uint32_t i = 0; i < node->count; i++) {
        if (!make_room(p, at)) return false;
        p->values[p->value_count++] = node->values[i];
    }
    return true;
}

/* Of an $or: equalities of one path side by side become one $in, which a row is not judged against value by value. */
static bool fold_equalities(struct parser *p, const pm_filter_frame *at, struct list *nodes)
{
    for (struct made *made = nodes->first, *other; made != NULL; made = other) {
        other = behind(made);
        if (!can_fold(made, other)) continue;
        p->value_count = 0;
        if (!push_values_of(p, at, &made->node)) return false;
        for (; can_fold(made, other); other = behind(other)) {
            if (!push_values_of(p, at, &other->node)) return false;
            other->folded = true;
            nodes->count--;
        }
        made->node.next = other != NULL ? &other->node : NULL;
        made->node.op = PM_FILTER_IN;
        made->node.count = 0;
        if (!settle_values(p, at, &made->node)) return false;
    }
    return true;
}

static bool goes_deeper(struct parser *p, const pm_filter_frame *at, unsigned depth)
{
    if (depth < PM_FILTER_MOST_DEPTH) return count_terms(p, at, 1);
    refuse(p, at, POMAI_ETOOBIG, "more than %d of $and, $or, $not in each other", PM_FILTER_MOST_DEPTH);
    return false;
}

/* ---- under a key ---- */

static bool is_named(const pm_filter_key *key, const char *name)
{
    return key->size == strlen(name) && memcmp(key->data, name, key->size) == 0;
}

static unsigned find_operator(const pm_filter_key *key)
{
    unsigned i = 0;
    while (i < OPERATORS && !is_named(key, operators[i].name))
        i++;
    return i;
}

static struct made *read_operators(struct parser *p, const pm_filter_frame *at, const pm_filter_node *path,
                                   unsigned depth);

static struct made *read_operand(struct parser *p, const pm_filter_frame *at, unsigned which,
                                 const pm_filter_node *path, unsigned depth)
{
    const struct operator_entry *entry = &operators[which];
    if (!wants_kind(p, at, entry->operand, entry->wants)) return NULL;
    if (entry->op == PM_FILTER_NOT)
        return goes_deeper(p, at, depth) ? negate(p, at, read_operators(p, at, path, depth + 1)) : NULL;
    struct made *leaf = make_leaf(p, at, entry->op, path);
    if (leaf == NULL) return NULL;
    pm_filter_node *node = &leaf->node;
    bool negated = entry->negated;
    if (entry->op == PM_FILTER_IN) {
        if (!read_values(p, at, node)) return NULL;
    } else {
        pm_filter_value *value = pm_filter_take(&p->filter->arena, sizeof *value);
        if (value == NULL) return no_memory(p, at);
        if (!read_scalar(p, at, value)) return NULL;
        node->values = value;
        node->count = entry->op != PM_FILTER_EXISTS;
        if (entry->op == PM_FILTER_EXISTS) negated = !value->truth;
        if (entry->op == PM_FILTER_CONTAINS && !make_skips(p, at, node)) return NULL;
    }
    return negated ? negate(p, at, leaf) : leaf;
}

enum { LONG_NAME = 16 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
    return a == b || (a >= 'A' && a <= 'Z' && a + ('a' - 'A') == b);
}

/* Letters to change, put in, leave out, or exchange with the next, without regard to capitals. */
static unsigned distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    unsigned d[LONG_NAME + 1][LONG_NAME + 1];
    if (a_size > LONG_NAME || b_size > LONG_NAME) return LONG_NAME;
    for (unsigned i = 0; i <= a_size; i++) {
        for (unsigned j = 0; j <= b_size; j++) {
            d[i][j] = i + j;
            if (i == 0 || j == 0) continue;
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + !same_letter(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a_size][b_size];
}

/* What was meant by a name that is none; or "". */
static const char *near_name(const pm_filter_key *key, const char *const *names, size_t count)
{
    const char *found = "";
    unsigned best = key->size <= 5 ? 2 : 3;                   /* $like is not $lte */
    if (key->size < 3 || is_named(key, "$nor")) return found; /* that is no misspelt $or, where it is one */
    for (size_t i = 0; i < count; i++) {
        const unsigned letters = distance(key->data + 1, key->size - 1, names[i] + 1, strlen(names[i] + 1));
        if (letters >= best) continue;
        best = letters;
        found = names[i];
    }
    return found;
}

/* Whether it is this operator without its $, in letters of any size; of a long one, one letter may be wrong. */
static bool lacks_dollar(const pm_filter_key *key, const char *name)
{
    const size_t size = strlen(name + 1);
    return distance(key->data, key->size, name + 1, size) <= (size > 5);
}

/* Of a key that does not begin with $. */
static void *no_dollar(struct parser *p, const pm_filter_frame *at, const pm_filter_frame *inside)
{
    const pm_filter_key key = {inside->key, inside->size}, around = {at->key, at->size};
    const int shown = key.size < PM_FILTER_KEY_SHOWN / 2 ? (int)key.size : 0;
    const int outer = at->size < PM_FILTER_KEY_SHOWN / 2 ? (int)at->size : 0;
    const char *meant = is_named(&around, "not") ? "$not" : "";
    for (unsigned i = 0; i < OPERATORS; i++)
        if (lacks_dollar(&key, operators[i].name)) meant = operators[i].name;
    const char *ask = *meant == '\0' ? "" : "; did you mean ", *asked = *meant == '\0' ? "" : "?";
    if (shown == 0 || outer == 0 || memchr(key.data, '\0', key.size) != NULL || at->key[0] == '$')
        return refuse(p, inside, POMAI_EINVAL, "wants an operator, which begins with $%s%s%s", ask, meant, asked);
    return refuse(p, inside, POMAI_EINVAL,
                  "wants an operator, which begins with $%s%s%s the key \"%.*s\" inside \"%.*s\" is \"%.*s.%.*s\"", ask,
                  meant, *meant == '\0' ? ";" : asked, shown, key.data, outer, at->key, outer, at->key, shown,
                  key.data);
}

static void *no_operator(struct parser *p, const pm_filter_frame *at, const pm_filter_frame *inside)
{
    const pm_filter_key key = {inside->key, inside->size};
    if (key.size == 0 || key.data[0] != '$') return no_dollar(p, at, inside);
    if (is_named(&key, "$and") || is_named(&key, "$or"))
        return refuse(p, inside, POMAI_EINVAL, "stands beside keys, not under one");
    const char *names[OPERATORS];
    char known[160];
    size_t size = 0;
    for (unsigned i = 0; i < OPERATORS; i++) {
        names[i] = operators[i].name;
        size += (size_t)snprintf(known + size, sizeof known - size, " %s", names[i]);
    }
    const char *meant = near_name(&key, names, OPERATORS);
    return refuse(p, inside, POMAI_EINVAL, "no such operator; %s%s%sthere are%s", *meant == '\0' ? "" : "did you mean ",
                  meant, *meant == '\0' ? "" : "? ", known);
}

/* From an opening brace. */
static struct made *read_operators(struct parser *p, const pm_filter_frame *at, const pm_filter_node *path,
                                   unsigned depth)
{
    struct list nodes = {0};
    unsigned seen = 0;
    p->p++;
    if (is_next(p, '}')) return refuse(p, at, POMAI_EINVAL, "wants an operator, like {\"$eq\": 1}");
    do {
        pm_filter_key key = {0};
        if (!read_key(p, at, &key)) return NULL;
        pm_filter_frame inside = {.up = at, .key = key.data, .size = key.size};
        const unsigned which = find_operator(&key);
        if (which == OPERATORS) return no_operator(p, at, &inside);
        if ((seen >> which & 1) != 0) return refuse(p, &inside, POMAI_EINVAL, "stands there twice; use $and");
        seen |= 1u << which;
        if (!add(&nodes, read_operand(p, &inside, which, path, depth))) return NULL;
    } while (another(p, at, '}'));
    return p->status == POMAI_OK ? join(p, at, PM_FILTER_AND, &nodes) : NULL;
}

/* The keys of a path; a backslash takes the meaning from what is behind it. */
static bool read_path(struct parser *p, const pm_filter_frame *at, const pm_filter_key *text, pm_filter_node *path)
{
    if (text->size > PM_FILTER_MOST_PATH) {
        refuse(p, at, POMAI_ETOOBIG, "a path of more than %d bytes", PM_FILTER_MOST_PATH);
        return false;
    }
    size_t most = 1;
    for (size_t i = 0; i < text->size && most < PM_FILTER_MOST_KEYS; i++)
        most += text->data[i] == '.';
    pm_filter_key *keys = pm_filter_take(&p->filter->arena, most * sizeof *keys);
    char *data = pm_filter_take(&p->filter->arena, text->size);
    if (keys == NULL || data == NULL) return no_memory(p, at) != NULL;
    uint32_t count = 1;
    keys[0] = (pm_filter_key){data, 0};
    for (size_t i = 0; i < text->size; i++) {
        char c = text->data[i];
        if (c == '.') {
            if (count == PM_FILTER_MOST_KEYS) {
                refuse(p, at, POMAI_ETOOBIG, "a path of more than %d keys", PM_FILTER_MOST_KEYS);
                return false;
            }
            keys[count++] = (pm_filter_key){data, 0};
            continue;
        }
        if (c == '\\') {
            c = ++i < text->size ? text->data[i] : '\0';
            if (c != '.' && c != '\\' && c != '$') {
                refuse(p, at, POMAI_EINVAL, "a backslash stands before ., \\ or $ only");
                return false;
            }
        }
        *data++ = c;
        keys[count - 1].size++;
    }
    path->keys = keys;
    path->key_count = count;
    return count_terms(p, at, count);
}

static struct made *read_field(struct parser *p, const pm_filter_frame *at, const pm_filter_key *text, unsigned depth)
{
    pm_filter_node path;
    if (!read_path(p, at, text, &path)) return NULL;
    const unsigned kind = kind_here(p, at);
    if (kind == AS_OBJECT) return read_operators(p, at, &path, depth);
    if (kind == AS_ARRAY) {
        const char *meant = lacks_dollar(text, "$and")  ? "did you mean $and? "
                            : lacks_dollar(text, "$or") ? "did you mean $or? "
                                                        : "";
        return refuse(p, at, POMAI_EINVAL,
                      "an array is no operand; %s{\"$in\": [...]} is any of these, {\"$contains\": ...} looks into "
                      "arrays",
                      meant);
    }
    return kind != 0 ? read_operand(p, at, 0, &path, depth) : NULL;
}

/* ---- beside keys ---- */

static struct made *read_filter(struct parser *p, const pm_filter_frame *at, unsigned depth);

/* $and, $or */
static struct made *read_filters(struct parser *p, const pm_filter_frame *at, pm_filter_op op, unsigned depth)
{
    struct list nodes = {0};
    pm_filter_frame inside = {.up = at};
    if (!wants_kind(p, at, AS_ARRAY, "an array of filters") || !goes_deeper(p, at, depth)) return NULL;
    p->p++;
    if (is_next(p, ']')) return refuse(p, at, POMAI_EINVAL, "wants at least one filter");
    do {
        if (!add(&nodes, read_filter(p, &inside, depth + 1))) return NULL;
        inside.index++;
    } while (another(p, at, ']'));
    if (p->status != POMAI_OK || (op == PM_FILTER_OR && !fold_equalities(p, at, &nodes))) return NULL;
    return join(p, at, op, &nodes);
}

static struct made *read_member(struct parser *p, const pm_filter_frame *at, const pm_filter_key *key, unsigned depth)
{
    if (key->size == 0 || key->data[0] != '$') return read_field(p, at, key, depth);
    if (is_named(key, "$and")) return read_filters(p, at, PM_FILTER_AND, depth);
    if (is_named(key, "$or")) return read_filters(p, at, PM_FILTER_OR, depth);
    if (is_named(key, "$not")) return goes_deeper(p, at, depth) ? negate(p, at, read_filter(p, at, depth + 1)) : NULL;
    const unsigned which = find_operator(key);
    if (which < OPERATORS)
        return refuse(p, at, POMAI_EINVAL, "stands under a key: {\"key\": {\"%s\": ...}}", operators[which].name);
    static const char *const beside[] = {"$and", "$or", "$not"};
    const char *meant = near_name(key, beside, 3);
    return refuse(p, at, POMAI_EINVAL,
                  "no such operator; %s%s%sbeside keys there are $and $or $not; a key that begins with $ is written "
                  "\"\\\\$...\"",
                  *meant == '\0' ? "" : "did you mean ", meant, *meant == '\0' ? "" : "? ");
}

static int order_members(const void *a, const void *b)
{
    return pm_filter_order_keys(a, b);
}

static bool are_different(struct parser *p, const pm_filter_frame *at, const struct member *members, size_t count)
{
    void **keys = pm_filter_take(&p->filter->arena, count * sizeof *keys);
    if (keys == NULL) return no_memory(p, at) != NULL;
    for (size_t i = 0; i < count; i++, members = members->before)
        keys[i] = (void *)&members->key;
    pm_filter_sort(keys, count, order_members);
    for (size_t i = 1; i < count; i++) {
        const pm_filter_key *key = keys[i];
        pm_filter_frame inside = {.up = at, .key = key->data, .size = key->size};
        if (order_members(keys[i - 1], key) != 0) continue;
        refuse(p, &inside, POMAI_EINVAL, "stands there twice; use $and");
        return false;
    }
    return true;
}

/* At most PM_FILTER_MOST_DEPTH calls of this and of read_operators are in each other. */
static struct made *read_filter(struct parser *p, const pm_filter_frame *at, unsigned depth)
{
    struct list nodes = {0};
    struct member *members = NULL;
    if (!wants_kind(p, at, AS_OBJECT, "an object")) return NULL;
    p->p++;
    if (is_next(p, '}')) {
        p->p++;
        return count_terms(p, at, 1) ? join(p, at, PM_FILTER_AND, &nodes) : NULL;
    }
    do {
        struct member *member = pm_filter_take(&p->filter->arena, sizeof *member);
        if (member == NULL) return no_memory(p, at);
        if (!read_key(p, at, &member->key)) return NULL;
        member->before = members;
        members = member;
        pm_filter_frame inside = {.up = at, .key = member->key.data, .size = member->key.size};
        if (!add(&nodes, read_member(p, &inside, &member->key, depth))) return NULL;
    } while (another(p, at, '}'));
    if (p->status != POMAI_OK || !are_different(p, at, members, nodes.count)) return NULL;
    return join(p, at, PM_FILTER_AND, &nodes);
}

static bool read_all(struct parser *p)
{
    static const pm_filter_frame whole;
    if (p->end - p->begin > PM_FILTER_MOST_BYTES) {
        refuse(p, &whole, POMAI_ETOOBIG, "more than %d bytes", PM_FILTER_MOST_BYTES);
        return false;
    }
    struct made *root = read_filter(p, &whole, 0);
    if (root == NULL) return false;
    skip_blank(p);
    if (p->p < p->end) return malformed(p, &whole, "wants the end") != NULL;
    p->filter->root = &root->node;
    void **leaves = pm_malloc((p->leaf_count + 1) * sizeof *leaves);
    if (leaves == NULL) return no_memory(p, &whole) != NULL;
    uint32_t count = 0;
    for (struct made *leaf = p->leaves; leaf != NULL; leaf = leaf->before)
        if (!leaf->folded) leaves[count++] = &leaf->node;
    const bool planned = pm_filter_plan(p->filter, leaves, count);
    pm_free(leaves);
    if (!planned) no_memory(p, &whole);
    return planned;
}

pomai_status pm_filter_parse(const char *json, size_t size, pm_filter **out, pomai_error *err)
{
    pm_filter_arena arena = {0};
    const char *text = size > 0 ? json : "";
    struct parser p = {.begin = text, .p = text, .end = text + size, .err = err, .status = POMAI_OK};
    *out = NULL;
    p.filter = pm_filter_take(&arena, sizeof *p.filter);
    if (p.filter == NULL) return pm_fail(err, POMAI_ENOMEM, "filter: no memory");
    *p.filter = (pm_filter){.arena = arena};
    const bool good = read_all(&p);
    pm_free(p.values);
    if (good)
        *out = p.filter;
    else
        pm_filter_free(p.filter);
    return p.status;
}

void pm_filter_free(pm_filter *filter)
{
    if (filter != NULL) pm_filter_release(&filter->arena);
}

const pm_filter_node *pm_filter_root(const pm_filter *filter)
{
    return filter->root;
}
