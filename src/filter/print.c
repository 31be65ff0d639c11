/* SPDX-License-Identifier: Apache-2.0 */
#include "filter/filter_int.h"

/* What is between the quotes. Bytes that need no escape go in runs. */
static void add_text(pm_text *text, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size;) {
        size_t run = i;
        while (run < size && (uint8_t)bytes[run] >= 0x20 && bytes[run] != '"' && bytes[run] != '\\' &&
               bytes[run] != 0x7f && run - i < 4096)
            run++;
        if (run > i)
            pm_text_add(text, "%.*s", (int)(run - i), bytes + i);
        else if (bytes[run] == '"' || bytes[run] == '\\')
            pm_text_add(text, "\\%c", bytes[run++]);
        else
            pm_text_add(text, "\\u%04x", (unsigned)bytes[run++]);
        i = run;
    }
}

size_t pm_filter_write_key(const pm_filter_key *key, bool first, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < key->size; i++) {
        const char c = key->data[i];
        if (c == '.' || c == '\\' || (c == '$' && first && i == 0)) out[size++] = '\\';
        out[size++] = c;
    }
    return size;
}

size_t pm_filter_write_path(const pm_filter_node *node, char out[PM_FILTER_MOST_PATH])
{
    size_t size = 0;
    for (uint32_t k = 0; k < node->key_count; k++) {
        if (k > 0) out[size++] = '.';
        size += pm_filter_write_key(&node->keys[k], k == 0, out + size);
    }
    return size;
}

static void add_path(pm_text *text, const pm_filter_node *node)
{
    char path[PM_FILTER_MOST_PATH];
    add_text(text, path, pm_filter_write_path(node, path));
}

static void add_value(pm_text *text, const pm_filter_value *value)
{
    switch (value->type) {
    case PM_FILTER_NULL:
        pm_text_add(text, "null");
        break;
    case PM_FILTER_BOOL:
        pm_text_add(text, value->truth ? "true" : "false");
        break;
    case PM_FILTER_NUMBER:
        add_text(text, value->data, value->size);
        break;
    case PM_FILTER_STRING:
        pm_text_add(text, "\"");
        add_text(text, value->data, value->size);
        pm_text_add(text, "\"");
        break;
    }
}

static void add_leaf(pm_text *text, const pm_filter_node *node, bool negated)
{
    static const char *const names[] = {"",   "",    "",   "exists", "eq",       "in",
                                        "lt", "lte", "gt", "gte",    "contains", "starts_with"};
    const char *name = names[node->op];
    const bool many = node->op == PM_FILTER_IN;
    if (negated && node->op == PM_FILTER_EQ) name = "ne";
    if (negated && many) name = "nin";
    pm_text_add(text, "{\"");
    add_path(text, node);
    pm_text_add(text, "\": {\"$%s\": %s", name, many ? "[" : "");
    if (node->op == PM_FILTER_EXISTS) pm_text_add(text, negated ? "false" : "true");
    for (uint32_t i = 0; i < node->count; i++) {
        if (i > 0) pm_text_add(text, ", ");
        add_value(text, &node->values[i]);
    }
    pm_text_add(text, "%s}}", many ? "]" : "");
}

/* As deep as the tree. */
void pm_filter_print_node(const pm_filter_node *node, pm_text *text)
{
    const pm_filter_node *child = node->children;
    if (node->op > PM_FILTER_NOT) {
        add_leaf(text, node, false);
    } else if (child == NULL) {
        pm_text_add(text, "{}");
    } else if (node->op != PM_FILTER_NOT) {
        pm_text_add(text, "{\"$%s\": [", node->op == PM_FILTER_AND ? "and" : "or");
        for (; child != NULL; child = child->next) {
            pm_filter_print_node(child, text);
            if (child->next != NULL) pm_text_add(text, ", ");
        }
        pm_text_add(text, "]}");
    } else if (child->op == PM_FILTER_EQ || child->op == PM_FILTER_IN || child->op == PM_FILTER_EXISTS) {
        add_leaf(text, child, true);
    } else {
        pm_text_add(text, "{\"$not\": ");
        pm_filter_print_node(child, text);
        pm_text_add(text, "}");
    }
}

void pm_filter_print(const pm_filter *filter, pm_text *text)
{
    pm_filter_print_node(filter->root, text);
}
