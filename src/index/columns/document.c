/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over a document says which paths it has and where their values lie. All of it is looked at first: what is no
 * JSON object has no keys. It goes the way of pm_filter_matches, which has the last word on what a document says.
 */
#include <string.h>

#include "index/columns/columns_int.h"

enum { NO_PATH = 0 };

/* ---- paths ---- */

static bool make_room(pm_columns_builder *builder)
{
    if (builder->path_count < builder->path_table_size / 2) return true;
    const size_t size = builder->path_table_size > 0 ? builder->path_table_size * 2 : 64;
    uint32_t *table = NULL;
    size_t room = 0;
    if (!columns_reserve(builder, &table, &room, size, sizeof *table)) return false;
    memset(table, 0, size * sizeof *table);
    for (size_t i = 1; i < builder->path_count; i++) {
        size_t at = builder->paths[i].hash & (size - 1);
        while (table[at] != 0)
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i;
    }
    columns_release(builder, &builder->path_table, &builder->path_table_size, sizeof *table);
    builder->path_table = table;
    builder->path_table_size = room;
    return true;
}

/* Takes the paths back that came last. Behind them nothing was put into the table, so a free slot is right. */
static void forget_paths(pm_columns_builder *builder, size_t keep)
{
    while (builder->path_count > keep) {
        const columns_path *path = &builder->paths[--builder->path_count];
        size_t at = path->hash & (builder->path_table_size - 1);
        while (builder->path_table[at] != builder->path_count)
            at = (at + 1) & (builder->path_table_size - 1);
        builder->path_table[at] = 0;
        builder->text_count = path->text_at;
    }
}

/* Whether the path of `only` is the one whose last key is written so behind `before` bytes, or leads through it. Those
 * before are known to lead there. */
static bool is_on_way(const pm_columns_builder *builder, size_t before, const char *written, size_t size)
{
    const size_t end = before + size;
    if (end > builder->only_size || (size > 0 && memcmp(builder->only + before, written, size) != 0)) return false;
    return end == builder->only_size || builder->only[end] == '.';
}

/* NO_PATH: no filter can name it, or there are too many, or it failed. */
static uint32_t add_path(pm_columns_builder *builder, uint32_t in, const pm_filter_key *key, size_t at, uint32_t hash)
{
    char written[2 * PM_FILTER_MOST_PATH];
    const columns_path *parent = &builder->paths[in];
    const size_t before = in == 0 ? 0 : parent->text_size + (size_t)1;
    const size_t after = pm_filter_write_key(key, in == 0, written), size = before + after;
    if (size > PM_FILTER_MOST_PATH || parent->keys == PM_FILTER_MOST_KEYS) return NO_PATH;
    if (builder->only != NULL && !is_on_way(builder, before, written, after)) return NO_PATH;
    if (builder->path_count > COLUMNS_MOST_PATHS) {
        builder->is_residual = true;
        return NO_PATH;
    }
    const size_t room = builder->text_count + size + key->size;
    if (!columns_reserve(builder, &builder->paths, &builder->paths_room, builder->path_count + 1, sizeof *parent) ||
        !columns_reserve(builder, &builder->texts, &builder->texts_room, room + 1, 1))
        return NO_PATH;
    columns_path *path = &builder->paths[builder->path_count];
    parent = &builder->paths[in];
    *path = (columns_path){.parent = in, .hash = hash, .text_at = (uint32_t)builder->text_count};
    path->text_size = (uint16_t)size;
    path->key_size = (uint16_t)key->size;
    path->keys = (uint8_t)(parent->keys + 1);
    char *text = builder->texts + builder->text_count;
    if (before > 0) {
        memcpy(text, builder->texts + parent->text_at, before - 1);
        text[before - 1] = '.';
    }
    memcpy(text + before, written, after);
    if (key->size > 0) memcpy(text + size, key->data, key->size);
    builder->text_count = room;
    builder->path_table[at] = (uint32_t)builder->path_count;
    return (uint32_t)builder->path_count++;
}

/* The path of a key in the object at path `in`. `key` to `end` is what is between the quotes. */
static uint32_t find_path(pm_columns_builder *builder, uint32_t in, const char *key, const char *end, bool escapes)
{
    char plain[PM_FILTER_MOST_PATH];
    pm_filter_key given = {key, (size_t)(end - key)};
    if (escapes) {
        pm_filter_string string = {.p = key, .end = end};
        given = (pm_filter_key){plain, 0};
        for (int byte; (byte = pm_filter_next_byte(&string)) >= 0;) {
            if (given.size == sizeof plain) return NO_PATH;
            plain[given.size++] = (char)byte;
        }
    }
    if (given.size > PM_FILTER_MOST_PATH || !make_room(builder)) return NO_PATH;
    const uint32_t hash = (uint32_t)pm_hash_bytes(given.data, given.size, builder->seed + in);
    const size_t mask = builder->path_table_size - 1;
    size_t at = hash & mask;
    for (; builder->path_table[at] != 0; at = (at + 1) & mask) {
        const columns_path *path = &builder->paths[builder->path_table[at]];
        if (path->hash == hash && path->parent == in && path->key_size == given.size &&
            (given.size == 0 || memcmp(builder->texts + path->text_at + path->text_size, given.data, given.size) == 0))
            return builder->path_table[at];
    }
    return add_path(builder, in, &given, at, hash);
}

/* ---- the pass ---- */

/* Remembers that the document has a value there. false: it is not descended into. */
static bool find(pm_columns_builder *builder, uint32_t in, const char *key, const char *end, bool escapes,
                 const char *value)
{
    if (builder->is_open) return false;
    const uint32_t path = find_path(builder, in, key, end, escapes);
    if (path == NO_PATH) return false;
    if (builder->paths[path].stamp == builder->added + 1 || builder->found_count == PM_COLUMNS_MOST_VALUES) {
        builder->is_open = true;
        return false;
    }
    builder->paths[path].stamp = (uint32_t)builder->added + 1;
    builder->found[builder->found_count++] = (columns_found){.path = path, .at = value};
    return true;
}

/* Over a key and its colon to the value; NULL: it is none. */
static const char *skip_key(const char *p, const char *end, const char **key_end, bool *escapes)
{
    if (*p != '"' || (p = pm_filter_skip_string(p, end, escapes)) == NULL) return NULL;
    *key_end = p - 1;
    p = pm_filter_blank(p, end);
    if (p == end || *p != ':') return NULL;
    p = pm_filter_blank(p + 1, end);
    return p < end ? p : NULL;
}

/* false: it is no JSON object. */
static bool scan(pm_columns_builder *builder, const char *p, const char *end)
{
    uint32_t in = 0;
    unsigned depth = 1;
    bool opened = true;
    p = pm_filter_blank(p, end);
    if (p == end || *p != '{') return false;
    for (;;) { /* at an opening brace or a comma */
        p = pm_filter_blank(p + 1, end);
        if (p == end) return false;
        if (!opened || *p != '}') {
            bool escapes = false;
            const char *key = p + 1, *key_end;
            if ((p = skip_key(p, end, &key_end, &escapes)) == NULL) return false;
            const bool found = find(builder, in, key, key_end, escapes, p);
            opened = found && *p == '{';
            if (opened) {
                in = builder->found[builder->found_count - 1].path;
                depth++;
                continue;
            }
            escapes = false;
            if ((p = pm_filter_skip_value(p, end, depth, &escapes)) == NULL) return false;
            if (found) {
                builder->found[builder->found_count - 1].end = p;
                builder->found[builder->found_count - 1].escapes = escapes;
            }
        }
        for (opened = false;;) {
            p = pm_filter_blank(p, end);
            if (p == end) return false;
            if (*p == ',') break;
            if (*p++ != '}') return false;
            if (in == 0) return pm_filter_blank(p, end) == end;
            in = builder->paths[in].parent;
            depth--;
        }
    }
}

bool columns_read_document(pm_columns_builder *builder, const char *text, size_t size)
{
    const size_t paths = builder->path_count;
    builder->found_count = 0;
    builder->is_open = builder->is_residual = false;
    const bool is_object = scan(builder, text, text + size);
    if (!is_object || builder->is_open) {
        forget_paths(builder, paths);
        builder->found_count = 0;
    }
    if (!is_object) builder->is_open = builder->is_residual = false;
    return is_object;
}
