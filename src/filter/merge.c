/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A patch becomes a tree of its objects. A document is gone through twice along that tree, without one of its own: once
 * to see that all of it is JSON, and which value of a key that stands there several times is the last, which counts;
 * once to write it.
 */
#include "filter/merge.h"

#include <string.h>

#include "filter/filter_int.h"

typedef enum kind { REMOVES, OBJECT, OTHER } kind;

typedef struct member {
    pm_filter_key name;      /* what the key stands for */
    const char *key, *value; /* as they are written, the key with its quotes */
    size_t key_size, value_size;
    kind kind;
    struct object *inside; /* OBJECT */
    struct member *next;
    uint64_t seen;  /* the visit of the object around it in which the document had the key; */
    const char *at; /* its last value there */
} member;

typedef struct object {
    member *first;   /* in the order of the patch, no two of one name */
    member **sorted; /* by name */
    size_t count;
    uint64_t visit; /* of the object of the document that was looked at last, or is being written */
} object;

struct pm_merge {
    pm_filter_arena arena; /* of everything but this */
    object *root;
    uint64_t visits;
    bool changed; /* the last document */
};

void pm_bytes_add(pm_bytes *to, const void *data, size_t size)
{
    if (to->failed || size == 0) return;
    if (size > to->capacity - to->size) {
        size_t capacity = to->capacity < 512 ? 1024 : to->capacity * 2;
        if (capacity < to->size + size) capacity = to->size + size;
        char *wider = pm_realloc(to->data, capacity);
        to->failed = wider == NULL;
        if (to->failed) return;
        to->data = wider;
        to->capacity = capacity;
    }
    memcpy(to->data + to->size, data, size);
    to->size += size;
}

/* ---- keys ---- */

/* The document's key, as it is written without its quotes, before, at or behind a name. */
static int order_key(const char *p, const char *end, bool escapes, const pm_filter_key *name)
{
    const size_t size = (size_t)(end - p);
    if (!escapes) {
        const size_t both = size < name->size ? size : name->size;
        const int order = both == 0 ? 0 : memcmp(p, name->data, both);
        return order != 0 ? order : (size > name->size) - (size < name->size);
    }
    pm_filter_string s = {.p = p, .end = end};
    for (size_t i = 0;; i++) {
        const int byte = pm_filter_next_byte(&s);
        if (byte < 0) return i < name->size ? -1 : 0;
        if (i == name->size) return 1;
        if (byte != (uint8_t)name->data[i]) return byte - (uint8_t)name->data[i];
    }
}

static member *find(const object *o, const char *p, const char *end, bool escapes)
{
    size_t low = 0, high = o->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = order_key(p, end, escapes, &o->sorted[middle]->name);
        if (order == 0) return o->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- the patch ---- */

static int order_members(const void *left, const void *right)
{
    const member *a = left, *b = right;
    const int order = pm_filter_order_keys(&a->name, &b->name);
    return order != 0 ? order : (a->key > b->key) - (a->key < b->key);
}

/* Of members with one name the last stays. */
static bool sort_members(pm_filter_arena *arena, object *o)
{
    size_t kept = 0, i = 0;
    o->sorted = pm_filter_take(arena, o->count * sizeof *o->sorted);
    if (o->sorted == NULL) return false;
    for (member *m = o->first; m != NULL; m = m->next)
        o->sorted[i++] = m;
    pm_filter_sort((void **)o->sorted, o->count, order_members);
    for (i = 0; i < o->count; i++) {
        if (i + 1 < o->count && pm_filter_order_keys(&o->sorted[i]->name, &o->sorted[i + 1]->name) == 0)
            o->sorted[i]->key_size = 0; /* it goes */
        else
            o->sorted[kept++] = o->sorted[i];
    }
    o->count = kept;
    for (member **m = &o->first; *m != NULL;) {
        if ((*m)->key_size == 0)
            *m = (*m)->next;
        else
            m = &(*m)->next;
    }
    return true;
}

static bool set_name(pm_filter_arena *arena, member *m, bool escapes)
{
    const char *p = m->key + 1, *end = m->key + m->key_size - 1;
    m->name = (pm_filter_key){p, (size_t)(end - p)};
    if (!escapes) return true;
    char *name = pm_filter_take(arena, m->name.size); /* what is written is never shorter */
    pm_filter_string s = {.p = p, .end = end};
    if (name == NULL) return false;
    m->name = (pm_filter_key){name, 0};
    for (int byte; (byte = pm_filter_next_byte(&s)) >= 0;)
        name[m->name.size++] = (char)byte;
    return true;
}

typedef struct reading {
    pm_filter_arena *arena;
    const char *end;
    pomai_status status; /* of what went wrong */
} reading;

static object *read_object(reading *r, const char **at, unsigned depth);

static const char *give_up(reading *r, pomai_status status)
{
    if (r->status == POMAI_OK) r->status = status;
    return NULL;
}

/* From the key's quote; gives the place behind the value. */
static const char *read_member(reading *r, const char *p, unsigned depth, member *m)
{
    bool escapes = false;
    const char *key = p;
    if (p == r->end || *p != '"' || (p = pm_filter_skip_string(p, r->end, &escapes)) == NULL)
        return give_up(r, POMAI_EINVAL);
    m->key = key;
    m->key_size = (size_t)(p - key);
    if (!set_name(r->arena, m, escapes)) return give_up(r, POMAI_ENOMEM);
    p = pm_filter_blank(p, r->end);
    if (p == r->end || *p != ':') return give_up(r, POMAI_EINVAL);
    p = pm_filter_blank(p + 1, r->end);
    m->value = p;
    m->kind = OTHER;
    if (p < r->end && *p == '{') {
        m->kind = OBJECT;
        m->inside = read_object(r, &p, depth + 1);
        if (m->inside == NULL) return NULL;
    } else if ((p = pm_filter_skip_value(p, r->end, depth, &escapes)) == NULL) {
        return give_up(r, POMAI_EINVAL);
    }
    m->value_size = (size_t)(p - m->value);
    if (*m->value == 'n') m->kind = REMOVES;
    return p;
}

/* From the opening brace to behind the closing one. */
static object *read_object(reading *r, const char **at, unsigned depth)
{
    const char *p = *at + 1;
    object *o = pm_filter_take(r->arena, sizeof *o);
    if (o == NULL) give_up(r, POMAI_ENOMEM);
    if (depth > PM_MERGE_MOST_DEPTH) give_up(r, POMAI_ETOOBIG);
    if (r->status != POMAI_OK) return NULL;
    memset(o, 0, sizeof *o);
    member **last = &o->first;
    p = pm_filter_blank(p, r->end);
    for (bool more = p == r->end || *p != '}'; more;) {
        member *m = pm_filter_take(r->arena, sizeof *m);
        if (m == NULL) {
            give_up(r, POMAI_ENOMEM);
            return NULL;
        }
        memset(m, 0, sizeof *m);
        p = read_member(r, pm_filter_blank(p, r->end), depth, m);
        if (p == NULL) return NULL;
        *last = m;
        last = &m->next;
        o->count++;
        p = pm_filter_blank(p, r->end);
        more = p < r->end && *p == ',';
        if (more) p++;
    }
    if (p == r->end || *p != '}') {
        give_up(r, POMAI_EINVAL);
        return NULL;
    }
    *at = p + 1;
    if (sort_members(r->arena, o)) return o;
    give_up(r, POMAI_ENOMEM);
    return NULL;
}

/* What begins as an object is told where it is none. */
static pomai_status refuse(const char *patch, size_t size, pomai_error *err)
{
    char why[PM_FILTER_FAULT];
    const char *begin = size == 0 ? patch : pm_filter_blank(patch, patch + size);
    if (size > 0 && begin < patch + size && *begin == '{' && pm_filter_find_fault(patch, size, why))
        return pm_fail(err, POMAI_EINVAL, "the patch is no JSON object: %s", why);
    return pm_fail(err, POMAI_EINVAL,
                   "the patch is no JSON object: a merge wants one, {\"key\": value}; null removes a key");
}

pomai_status pm_merge_parse(const void *patch, size_t size, pm_merge **out, pomai_error *err)
{
    pm_merge *merge = pm_calloc(1, sizeof *merge);
    *out = NULL;
    char *text = merge == NULL ? NULL : pm_filter_take(&merge->arena, size);
    if (text == NULL) {
        pm_free(merge);
        return pm_fail(err, POMAI_ENOMEM, "no memory for a patch of %zu bytes", size);
    }
    if (size > 0) memcpy(text, patch, size);
    reading r = {.arena = &merge->arena, .end = text + size, .status = POMAI_OK};
    const char *p = pm_filter_blank(text, r.end);
    if (p < r.end && *p == '{') {
        merge->root = read_object(&r, &p, 1);
        if (merge->root != NULL && pm_filter_blank(p, r.end) != r.end) give_up(&r, POMAI_EINVAL);
    } else {
        give_up(&r, POMAI_EINVAL);
    }
    if (r.status == POMAI_OK) {
        *out = merge;
        return POMAI_OK;
    }
    pm_merge_free(merge);
    if (r.status == POMAI_ENOMEM) return pm_fail(err, POMAI_ENOMEM, "no memory for a patch of %zu bytes", size);
    if (r.status == POMAI_ETOOBIG)
        return pm_fail(err, POMAI_ETOOBIG, "the patch has more than %d objects in each other", PM_MERGE_MOST_DEPTH);
    return refuse(patch, size, err);
}

void pm_merge_free(pm_merge *merge)
{
    if (merge == NULL) return;
    pm_filter_release(&merge->arena);
    pm_free(merge);
}

/* ---- a document ---- */

/* A member of an object of the document. */
typedef struct found {
    const char *key, *key_end; /* with the quotes */
    const char *value;
    member *patch; /* NULL: the patch does not name it */
} found;

/* From behind a brace or comma to the value; NULL: it is no JSON. */
static const char *read_key(const object *o, const char *p, const char *end, found *f)
{
    bool escapes = false;
    p = pm_filter_blank(p, end);
    f->key = p;
    if (p == end || *p != '"' || (p = pm_filter_skip_string(p, end, &escapes)) == NULL) return NULL;
    f->key_end = p;
    f->patch = find(o, f->key + 1, p - 1, escapes);
    p = pm_filter_blank(p, end);
    if (p == end || *p != ':') return NULL;
    f->value = pm_filter_blank(p + 1, end);
    return f->value == end ? NULL : f->value;
}

/* Whether both have an object there. */
static bool goes_on(const found *f)
{
    return f->patch != NULL && f->patch->kind == OBJECT && *f->value == '{';
}

/* Looks at an object of the document, which the patch has one for; gives the place behind it, or NULL. */
static const char *look(pm_merge *merge, object *o, const char *p, const char *end, unsigned depth)
{
    bool escapes;
    o->visit = ++merge->visits;
    p = pm_filter_blank(p + 1, end);
    if (p < end && *p == '}') return p + 1;
    for (;; p++) {
        found f;
        p = read_key(o, p, end, &f);
        if (p == NULL) return NULL;
        if (f.patch != NULL) {
            f.patch->seen = o->visit;
            f.patch->at = f.value;
        }
        p = goes_on(&f) ? look(merge, f.patch->inside, p, end, depth + 1)
                        : pm_filter_skip_value(p, end, depth, &escapes);
        if (p == NULL) return NULL;
        p = pm_filter_blank(p, end);
        if (p == end || (*p != ',' && *p != '}')) return NULL;
        if (*p == '}') return p + 1;
    }
}

static void add_comma(pm_bytes *to, bool *any)
{
    if (*any) pm_bytes_add(to, ",", 1);
    *any = true;
}

static void write_new(const object *o, pm_bytes *to);

static void write_value(const member *m, pm_bytes *to)
{
    if (m->kind == OBJECT)
        write_new(m->inside, to);
    else
        pm_bytes_add(to, m->value, m->value_size);
}

static void write_member(const member *m, pm_bytes *to)
{
    pm_bytes_add(to, m->key, m->key_size);
    pm_bytes_add(to, ":", 1);
    write_value(m, to);
}

/* An object of the patch where the document has none: without what removes. */
static void write_new(const object *o, pm_bytes *to)
{
    bool any = false;
    pm_bytes_add(to, "{", 1);
    for (const member *m = o->first; m != NULL; m = m->next) {
        if (m->kind == REMOVES) continue;
        add_comma(to, &any);
        write_member(m, to);
    }
    pm_bytes_add(to, "}", 1);
}

static void write_rest(pm_merge *merge, const object *o, pm_bytes *to, bool *any)
{
    for (const member *m = o->first; m != NULL; m = m->next) {
        if (m->kind == REMOVES || m->seen == o->visit) continue;
        merge->changed = true;
        add_comma(to, any);
        write_member(m, to);
    }
}

/* Writes an object that look() looked at last; gives the place behind it. */
static const char *write_merged(pm_merge *merge, object *o, const char *p, const char *end, unsigned depth,
                                pm_bytes *to)
{
    bool any = false, escapes;
    pm_bytes_add(to, "{", 1);
    p = pm_filter_blank(p + 1, end);
    while (*p != '}') {
        found f;
        (void)read_key(o, p, end, &f);
        const member *m = f.patch;
        const bool drops = m != NULL && (m->kind == REMOVES || m->at != f.value);
        const bool merges = !drops && goes_on(&f);
        merge->changed |= m != NULL && !merges;
        if (!drops) {
            add_comma(to, &any);
            pm_bytes_add(to, f.key, (size_t)(f.key_end - f.key));
            pm_bytes_add(to, ":", 1);
        }
        p = merges ? write_merged(merge, m->inside, f.value, end, depth + 1, to)
                   : pm_filter_skip_value(f.value, end, depth, &escapes);
        if (m == NULL)
            pm_bytes_add(to, f.value, (size_t)(p - f.value));
        else if (!drops && !merges)
            write_value(m, to);
        p = pm_filter_blank(p, end);
        if (*p == ',') p = pm_filter_blank(p + 1, end);
    }
    write_rest(merge, o, to, &any);
    pm_bytes_add(to, "}", 1);
    return p + 1;
}

bool pm_merge_apply(pm_merge *merge, const void *document, size_t size, pm_bytes *to)
{
    if (size == 0) {
        merge->changed = false;
        for (const member *m = merge->root->first; m != NULL; m = m->next)
            merge->changed |= m->kind != REMOVES;
        write_new(merge->root, to);
        return true;
    }
    const char *end = (const char *)document + size, *begin = pm_filter_blank(document, end);
    if (begin == end || *begin != '{') return false;
    const char *p = look(merge, merge->root, begin, end, 1);
    if (p == NULL || pm_filter_blank(p, end) != end) return false;
    merge->changed = false;
    (void)write_merged(merge, merge->root, begin, end, 1, to);
    return true;
}

bool pm_merge_changed(const pm_merge *merge)
{
    return merge->changed;
}

bool pm_merge_is_nothing(const void *patch, size_t size)
{
    const char *end = (const char *)patch + size, *p = size == 0 ? end : pm_filter_blank(patch, end);
    return p < end && *p == '{' && (p = pm_filter_blank(p + 1, end)) < end && *p == '}';
}
