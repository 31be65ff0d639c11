/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over a document says where the values of the wanted keys lie; then the tree is evaluated on these. The whole
 * document is looked at, also behind the last wanted key: what is no JSON object has no keys, and the last of two equal
 * keys counts.
 */
#include <string.h>

#include "base/mutant.h"
#include "filter/filter_int.h"

enum {
    FEW_CHILDREN = 8,
    NO_SCALAR = -1,
    ASK_WORK = 1 << 17, /* terms, or eights of bytes, until it is asked whether it is over */
};

struct item {
    const char *at, *end; /* its text; NULL: none was found */
    bool escapes;         /* a string: has some */
    pm_filter_number number;
};

/* A document that has a key twice leaves values here that an outer key has since been given anew: they lie within
 * another object than that one's. */
struct slot {
    struct item item;
    const char *within;
};

size_t pm_filter_scratch_size(const pm_filter *filter)
{
    return filter->want_count * sizeof(struct slot);
}

/* ---- the pass over the document ---- */

/* The wanted key in this object, or 0. `key` to `end` is what is between the quotes. */
static uint32_t find_want(const pm_filter *filter, uint32_t in, const char *key, const char *end, bool escapes)
{
    const pm_filter_want *want = &filter->wants[in];
    char plain[PM_FILTER_MOST_PATH];
    pm_filter_key given = {key, (size_t)(end - key)};
    if (escapes) {
        pm_filter_string string = {.p = key, .end = end};
        given = (pm_filter_key){plain, 0};
        for (int byte; (byte = pm_filter_next_byte(&string)) >= 0;) {
            if (given.size == sizeof plain) return 0;
            plain[given.size++] = (char)byte;
        }
    }
    uint32_t low = want->child, high = low + want->children;
    if (want->children <= FEW_CHILDREN) {
        for (; low < high; low++) {
            const pm_filter_key *wanted = &filter->wants[low].key;
            if (wanted->size == given.size && memcmp(wanted->data, given.data, given.size) == 0) return low;
        }
        return 0;
    }
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = pm_filter_order_keys(&given, &filter->wants[middle].key);
        if (order == 0) return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return 0;
}

/* Over a value to behind it. What was wanted goes into *found. */
static const char *take_value(const char *p, const char *end, unsigned depth, struct item *found)
{
    bool escapes = false;
    const char *behind = pm_filter_skip_value(p, end, depth, &escapes);
    if (behind == NULL || found == NULL) return behind;
    found->end = behind;
    found->escapes = escapes;
    if (*p == '-' || pm_filter_digit(*p)) pm_filter_read_number(p, behind, &found->number);
    return behind;
}

/* false: it is no JSON object. */
static bool scan(const pm_filter *filter, struct slot *slots, const char *p, const char *end)
{
    uint32_t in = 0;
    unsigned depth = 1;
    bool opened = true;
    p = pm_filter_blank(p, end);
    if (p == end || *p != '{') return false;
    slots[0].item.at = p;
    for (;;) { /* at an opening brace or a comma */
        p = pm_filter_blank(p + 1, end);
        if (p == end) return false;
        if (!opened || *p != '}') {
            bool escapes = false;
            const char *key = p + 1;
            if (*p != '"' || (p = pm_filter_skip_string(p, end, &escapes)) == NULL) return false;
            const uint32_t want = find_want(filter, in, key, p - 1, escapes);
            p = pm_filter_blank(p, end);
            if (p == end || *p != ':') return false;
            p = pm_filter_blank(p + 1, end);
            if (p == end) return false;
            struct slot *found = want != 0 ? &slots[want] : NULL;
            if (found != NULL) {
                found->item.at = p;
                found->within = slots[in].item.at;
            }
            opened = found != NULL && *p == '{' && filter->wants[want].children > 0;
            if (opened) {
                in = want;
                depth++;
                continue;
            }
            if ((p = take_value(p, end, depth, found != NULL ? &found->item : NULL)) == NULL) return false;
        }
        for (opened = false;;) {
            p = pm_filter_blank(p, end);
            if (p == end) return false;
            if (*p == ',') break;
            if (*p++ != '}') return false;
            if (in == 0) return pm_filter_blank(p, end) == end;
            in = filter->wants[in].parent;
            depth--;
        }
    }
}

/* What the document has at a node's path, or NULL. */
static const struct item *value_at(const pm_filter *filter, const struct slot *slots, uint32_t want)
{
    if (slots[want].item.at == NULL) return NULL;
    for (uint32_t inner = want, outer; (outer = filter->wants[inner].parent) != 0; inner = outer)
        if (slots[outer].item.at == NULL || slots[inner].within != slots[outer].item.at) return NULL;
    return &slots[want].item;
}

/* ---- values ---- */

static int type_of(const struct item *item)
{
    switch (*item->at) {
    case 'n':
        return PM_FILTER_NULL;
    case 't':
    case 'f':
        return PM_FILTER_BOOL;
    case '"':
        return PM_FILTER_STRING;
    case '{':
    case '[':
        return NO_SCALAR;
    default:
        return PM_FILTER_NUMBER;
    }
}

static int order_strings(const struct item *item, const pm_filter_value *value)
{
    if (!item->escapes) {
        const pm_filter_key text = {item->at + 1, (size_t)(item->end - item->at) - 2};
        const pm_filter_key other = {value->data, value->size};
        return pm_filter_order_keys(&text, &other);
    }
    pm_filter_string string = {.p = item->at + 1, .end = item->end - 1};
    for (size_t i = 0; i < value->size; i++) {
        const int byte = pm_filter_next_byte(&string), other = (uint8_t)value->data[i];
        if (byte != other) return byte < other ? -1 : 1;
    }
    return pm_filter_next_byte(&string) < 0 ? 0 : 1;
}

/* Of an item of the value's type. */
static int order_same(const struct item *item, const pm_filter_value *value)
{
    switch (value->type) {
    case PM_FILTER_BOOL:
        return (*item->at == 't') - (int)value->truth;
    case PM_FILTER_NUMBER:
        return pm_filter_order_numbers(&item->number, &value->number);
    case PM_FILTER_STRING:
        return order_strings(item, value);
    default:
        return 0;
    }
}

static bool is_equal(const struct item *item, const pm_filter_value *value)
{
    return type_of(item) == (int)value->type && order_same(item, value) == 0;
}

static bool is_in(const struct item *item, const pm_filter_node *node)
{
    const int type = type_of(item);
    uint32_t low = 0, high = node->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const pm_filter_value *value = &node->values[middle];
        const int order = type != (int)value->type ? type - (int)value->type : order_same(item, value);
        if (order == 0) return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static bool starts_with(const struct item *item, const pm_filter_value *value)
{
    if (type_of(item) != PM_FILTER_STRING) return false;
    if (!item->escapes) {
        const size_t size = (size_t)(item->end - item->at) - 2;
        return size >= value->size && memcmp(item->at + 1, value->data, value->size) == 0;
    }
    pm_filter_string string = {.p = item->at + 1, .end = item->end - 1};
    for (size_t i = 0; i < value->size; i++)
        if (pm_filter_next_byte(&string) != (uint8_t)value->data[i]) return false;
    return true;
}

/* With escapes: Knuth, Morris, Pratt: Fast pattern matching in strings, 1977. */
static bool has_inside(const struct item *item, const pm_filter_node *node)
{
    const pm_filter_value *value = node->values;
    if (value->size == 0) return true;
    if (!item->escapes)
        return memmem(item->at + 1, (size_t)(item->end - item->at) - 2, value->data, value->size) != NULL;
    pm_filter_string string = {.p = item->at + 1, .end = item->end - 1};
    size_t same = 0;
    for (int byte; (byte = pm_filter_next_byte(&string)) >= 0;) {
        while (same > 0 && byte != (uint8_t)value->data[same])
            same = node->skips[same - 1];
        same += byte == (uint8_t)value->data[same];
        if (same == value->size) return true;
    }
    return false;
}

static bool has_element(const struct item *array, const pm_filter_value *value)
{
    const char *p = pm_filter_blank(array->at + 1, array->end);
    while (*p != ']') { /* which ends it: it has been looked at */
        struct item element = {.at = p};
        p = take_value(p, array->end, 1, &element);
        if (is_equal(&element, value)) return true;
        p = pm_filter_blank(p, array->end);
        if (*p == ',') p = pm_filter_blank(p + 1, array->end);
    }
    return false;
}

static bool compare(const struct item *item, const pm_filter_node *node)
{
    const pm_filter_value *value = node->values;
    if (type_of(item) != (int)value->type) return false;
    const int order = order_same(item, value);
    switch (node->op) {
    case PM_FILTER_LT:
        return order < 0;
    case PM_FILTER_LTE:
        return order <= 0;
    case PM_FILTER_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

static bool holds(const struct item *item, const pm_filter_node *node)
{
    if (item == NULL) return false;
    switch (node->op) {
    case PM_FILTER_EXISTS:
        return true;
    case PM_FILTER_EQ:
        return is_equal(item, node->values);
    case PM_FILTER_IN:
        return is_in(item, node);
    case PM_FILTER_CONTAINS:
        if (*item->at == '[') return has_element(item, node->values);
        return *item->at == '"' && node->values->type == PM_FILTER_STRING && has_inside(item, node);
    case PM_FILTER_STARTS_WITH:
        return starts_with(item, node->values);
    default:
        return compare(item, node);
    }
}

static bool is_over(pm_filter_asks *asks, uint64_t work)
{
    asks->work += work;
    if (asks->over || asks->work < ASK_WORK || PM_MUTANT(TERMS_NOT_ENDED)) return asks->over;
    asks->work = 0;
    asks->over = asks->is_over != NULL && asks->is_over(asks->context);
    return asks->over;
}

/* As deep as the tree: the operators that are written and two ANDs of several keys and operators for each. */
static bool evaluate(const pm_filter *filter, const struct slot *slots, const pm_filter_node *node,
                     pm_filter_asks *asks)
{
    if (node->op == PM_FILTER_NOT) return !evaluate(filter, slots, node->children, asks);
    if (node->op != PM_FILTER_AND && node->op != PM_FILTER_OR) {
        const struct item *item = value_at(filter, slots, node->slot);
        const uint64_t reads =
            node->op == PM_FILTER_CONTAINS && item != NULL ? (uint64_t)(item->end - item->at) / 8 : 0;
        return !is_over(asks, 1 + reads) && holds(item, node);
    }
    const bool decides = node->op == PM_FILTER_OR;
    for (const pm_filter_node *child = node->children; child != NULL && !asks->over; child = child->next)
        if (evaluate(filter, slots, child, asks) == decides) return decides;
    return !decides;
}

bool pm_filter_matches_until(const pm_filter *filter, void *scratch, const void *document, size_t size,
                             pm_filter_asks *asks)
{
    struct slot *slots = scratch;
    const char *text = size > 0 ? document : "";
    for (uint32_t i = 0; i < filter->want_count; i++)
        slots[i].item.at = NULL;
    if (filter->want_count > 1 && !scan(filter, slots, text, text + size))
        for (uint32_t i = 0; i < filter->want_count; i++)
            slots[i].item.at = NULL;
    return !is_over(asks, filter->want_count + size / 8) && evaluate(filter, slots, filter->root, asks) && !asks->over;
}

bool pm_filter_matches(const pm_filter *filter, void *scratch, const void *document, size_t size)
{
    pm_filter_asks never = {0};
    return pm_filter_matches_until(filter, scratch, document, size, &never);
}
