/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and installing the catalogue. Invariants:
 *  1. CURRENT names only a manifest that was synced and whose name was synced.
 *  2. Nothing of a file is used before its checksum is right; lengths are checked before they are used.
 */
#include "storage/manifest/manifest.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "base/mutant.h"
#include "base/point.h"

enum { PATH_SIZE = 4096, CRC_FROM = 12, MOST_BYTES = 64 * 1024 * 1024 };
enum { MOST_ROWS = 1 << 28, MOST_META = 64 << 20 }; /* of a segment */

bool pm_manifest_name_valid(const char *name, size_t size)
{
    if (size == 0 || size > POMAI_MAX_NAME || name[0] == '.') return false;
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                    c == '-' || c == '.';
        if (!good) return false;
    }
    return true;
}

/* ---- in memory ---- */

static void entry_clear(pm_manifest_entry *entry)
{
    pm_free(entry->flushed);
    pm_free(entry->segment);
    entry->flushed = NULL;
    entry->segment = NULL;
}

pomai_status pm_manifest_set_segments(pm_manifest_entry *entry, const pm_manifest_segment *list, uint32_t count,
                                      pomai_error *err)
{
    pm_manifest_segment *own = NULL;
    if (count > 0) {
        own = pm_malloc(count * sizeof *own);
        if (own == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
        memcpy(own, list, count * sizeof *own);
    }
    pm_free(entry->segment);
    entry->segment = own;
    entry->segments = entry->fixed.segments = count;
    return POMAI_OK;
}

/* What `to` owned is forgotten, not freed. */
static pomai_status entry_copy(pm_manifest_entry *to, const pm_manifest_entry *from, uint32_t shards, pomai_error *err)
{
    *to = *from;
    to->segment = NULL;
    to->flushed = pm_calloc(shards, sizeof *to->flushed);
    if (to->flushed == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    if (from->flushed != NULL) memcpy(to->flushed, from->flushed, shards * sizeof *to->flushed);
    return pm_manifest_set_segments(to, from->segment, from->segments, err);
}

pomai_status pm_manifest_copy(pm_manifest *to, const pm_manifest *from, pomai_error *err)
{
    *to = *from;
    to->entry = pm_calloc((size_t)from->collections + 1, sizeof *to->entry);
    to->collections = 0;
    if (to->entry == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    for (uint32_t i = 0; i < from->collections; i++) {
        to->collections++;
        pomai_status status = entry_copy(&to->entry[i], &from->entry[i], from->shards, err);
        if (status == POMAI_OK) continue;
        pm_manifest_clear(to);
        return status;
    }
    return POMAI_OK;
}

void pm_manifest_clear(pm_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->collections; i++)
        entry_clear(&manifest->entry[i]);
    pm_free(manifest->entry);
    memset(manifest, 0, sizeof *manifest);
}

pomai_status pm_manifest_add_entry(pm_manifest *manifest, const pm_manifest_collection *fixed, const char *name,
                                   pm_manifest_entry **entry, pomai_error *err)
{
    const size_t name_len = strlen(name);
    assert(pm_manifest_name_valid(name, name_len));
    uint64_t *flushed = pm_calloc(manifest->shards, sizeof *flushed);
    pm_manifest_entry *all =
        flushed == NULL ? NULL : pm_realloc(manifest->entry, ((size_t)manifest->collections + 1) * sizeof *all);
    if (all == NULL) {
        pm_free(flushed);
        return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    }
    manifest->entry = all;
    assert(manifest->collections == 0 || all[manifest->collections - 1].fixed.id < fixed->id);
    pm_manifest_entry *e = &all[manifest->collections++];
    memset(e, 0, sizeof *e);
    e->fixed = *fixed;
    e->fixed.name_len = (uint8_t)name_len;
    e->fixed.segments = 0;
    memcpy(e->name, name, name_len);
    e->flushed = flushed;
    *entry = e;
    return POMAI_OK;
}

void pm_manifest_set_cluster(pm_manifest_entry *entry, const char *path)
{
    const size_t size = strlen(path);
    assert(size <= POMAI_MAX_CLUSTER_BY);
    entry->fixed.cluster_len = (uint8_t)size;
    memcpy(entry->cluster_by, path, size + 1);
}

void pm_manifest_remove_entry(pm_manifest *manifest, uint32_t index)
{
    assert(index < manifest->collections);
    pm_manifest_entry *e = &manifest->entry[index];
    entry_clear(e);
    memmove(e, e + 1, (--manifest->collections - index) * sizeof *e);
}

pm_manifest_entry *pm_manifest_find(pm_manifest *manifest, uint32_t collection)
{
    uint32_t low = 0, high = manifest->collections;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (manifest->entry[middle].fixed.id < collection)
            low = middle + 1;
        else
            high = middle;
    }
    return low < manifest->collections && manifest->entry[low].fixed.id == collection ? &manifest->entry[low] : NULL;
}

/* ---- names ---- */

#define MANIFEST_NAME "MANIFEST-"
#define COPY_NAME     "CATALOGUE-"

/* Of a manifest, or of a copy; 0: it is none. */
static uint64_t number_in(const char *prefix, const char *name)
{
    const size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || strlen(name) != n + 10 || strspn(name + n, "0123456789") != 10) return 0;
    return strtoull(name + n, NULL, 10);
}

typedef struct newest {
    uint64_t number, below;
} newest;

static int take_newest(void *context, const char *name)
{
    newest *n = context;
    const uint64_t number = pm_max_u64(number_in(MANIFEST_NAME, name), number_in(COPY_NAME, name));
    if (number < n->below && number > n->number) n->number = number;
    return 0;
}

static pomai_status path_of(char *path, const char *dir, const char *prefix, uint64_t number, pomai_error *err)
{
    if (snprintf(path, PATH_SIZE, "%s/%s%010llu", dir, prefix, (unsigned long long)number) < PATH_SIZE) return POMAI_OK;
    return pm_fail(err, POMAI_ETOOBIG, "the path of the database is too long");
}

/* ---- reading ---- */

static int look_at_name(void *context, const char *name)
{
    pm_manifest_state *state = context;
    if (strcmp(name, "CURRENT") == 0)
        *state = PM_MANIFEST_THERE;
    else if (*state == PM_MANIFEST_NONE && strncmp(name, "MANIFEST-", 9) == 0 &&
             strcmp(name, "MANIFEST-0000000001") != 0 && strstr(name, ".tmp") == NULL)
        *state = PM_MANIFEST_LOST;
    return 0;
}

pomai_status pm_manifest_probe(const pm_os *os, const char *dir, const char *copies, pm_manifest_state *state,
                               pomai_error *err)
{
    newest n = {.below = UINT64_MAX};
    *state = PM_MANIFEST_NONE;
    (void)os->dir_list(os, copies, take_newest, &n);
    if (n.number > 1) *state = PM_MANIFEST_LOST;
    int rc = os->dir_list(os, dir, look_at_name, state);
    if (rc == -ENOENT || rc == -ENOTDIR) return POMAI_OK;
    if (rc != 0) return pm_fail_os(err, rc, "cannot list %s", dir);
    return POMAI_OK;
}

/* Reads a whole file of at least `least` bytes into memory that the caller frees. */
static pomai_status read_file(const pm_os *os, const char *path, uint64_t least, uint8_t **bytes, uint64_t *size,
                              pomai_error *err)
{
    *bytes = NULL;
    int fd = os->file_open(os, path, PM_OPEN_READ);
    if (fd == -ENOENT) return pm_fail(err, POMAI_ECORRUPT, "%s is missing", path);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open %s", path);
    pomai_status status = POMAI_OK;
    int rc = os->file_size(os, fd, size);
    if (rc != 0)
        status = pm_fail_os(err, rc, "cannot read the size of %s", path);
    else if (*size < least || *size > MOST_BYTES)
        status = pm_fail(err, POMAI_ECORRUPT, "%s has an impossible size, %llu bytes", path, (unsigned long long)*size);
    else if ((*bytes = pm_malloc(*size)) == NULL)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to read %s", path);
    if (status == POMAI_OK) {
        int64_t got = os->file_read(os, fd, *bytes, *size, 0);
        if (got < 0)
            status = pm_fail_os(err, (int)got, "cannot read %s", path);
        else if ((uint64_t)got != *size)
            status = pm_fail(err, POMAI_EIO, "%s ended early", path);
    }
    os->file_close(os, fd);
    if (status != POMAI_OK) {
        pm_free(*bytes);
        *bytes = NULL;
    }
    return status;
}

static pomai_status read_current(const pm_os *os, const char *dir, pm_current *current, pomai_error *err)
{
    char path[PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/CURRENT", dir) >= PATH_SIZE)
        return pm_fail(err, POMAI_ETOOBIG, "the path of the database is too long");
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    pomai_status status = read_file(os, path, sizeof *current, &bytes, &size, err);
    if (status != POMAI_OK) return status;
    memcpy(current, bytes, sizeof *current);
    pm_free(bytes);
    if (size != sizeof *current || memcmp(current->magic, PM_CURRENT_MAGIC, 8) != 0 ||
        current->crc != pm_crc32c(0, (const uint8_t *)current + CRC_FROM, sizeof *current - CRC_FROM))
        return pm_fail(err, POMAI_ECORRUPT, "%s is damaged", path);
    if (current->format != PM_FORMAT)
        return pm_fail(err, POMAI_EFORMAT, "%s has format %u, this build reads %u; %s", path, current->format,
                       PM_FORMAT, pm_format_advice(current->format));
    return POMAI_OK;
}

/* Bytes of a catalogue that are not read yet. */
typedef struct reader {
    const uint8_t *at;
    uint64_t left;
} reader;

/* NULL: there are not that many. */
static const uint8_t *take(reader *r, uint64_t size)
{
    if (r->left < size) return NULL;
    const uint8_t *bytes = r->at;
    r->at += size;
    r->left -= size;
    return bytes;
}

static bool all_zero(const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != 0) return false;
    return true;
}

static bool shard_sound(const pm_manifest_shard *s)
{
    if (s->first_wal > 1) return s->pred_length >= PM_WAL_HEADER;
    return s->first_wal == 1 && s->pred_lsn == 0 && s->pred_length == 0 && s->pred_chain == 0 && s->pred_stamp == 0;
}

static bool segment_sound(const pm_manifest_segment *s, uint64_t last, uint64_t next)
{
    const bool no_live = s->live_len == 0 && s->live_crc == 0;
    return s->number > last && s->number < next && s->rows >= 1 && s->rows <= MOST_ROWS && s->meta_len >= 1 &&
           s->meta_len <= MOST_META && (s->live_generation == 0 ? no_live : s->live_len > 0) && s->zero1 == 0 &&
           s->zero2 == 0;
}

static bool fixed_sound(const pm_manifest *m, const pm_manifest_collection *c, uint32_t last)
{
    if (c->id <= last || c->id >= m->next_collection || c->dim == 0 || c->dim > POMAI_MAX_DIM) return false;
    if (c->metric < POMAI_METRIC_L2 || c->metric > POMAI_METRIC_COSINE || !pm_dtype_known(c->dtype)) return false;
    if (c->id_kind != POMAI_ID_U64 && c->id_kind != POMAI_ID_STRING) return false;
    return c->flags == 0 && c->index <= POMAI_INDEX_GRAPH && all_zero(c->zero, sizeof c->zero);
}

static pomai_status contradicts(const char *path, pomai_error *err)
{
    return pm_fail(err, POMAI_ECORRUPT, "the catalogue %s contradicts itself", path);
}

static pomai_status decode_entry(pm_manifest *m, reader *r, uint32_t last, const char *path, pomai_error *err)
{
    pm_manifest_entry *e = &m->entry[m->collections];
    const uint8_t *fixed = take(r, sizeof e->fixed);
    if (fixed == NULL) return contradicts(path, err);
    memcpy(&e->fixed, fixed, sizeof e->fixed);
    const uint64_t size = e->fixed.name_len, padded = pm_align_up(size, 8);
    const uint8_t *name = take(r, padded);
    const uint64_t path_size = e->fixed.cluster_len, path_padded = pm_align_up(path_size, 8);
    const uint8_t *cluster_by = take(r, path_padded);
    const uint8_t *flushed = take(r, m->shards * sizeof *e->flushed);
    const uint8_t *list = take(r, e->fixed.segments * sizeof *e->segment);
    if (name == NULL || cluster_by == NULL || flushed == NULL || list == NULL || !fixed_sound(m, &e->fixed, last) ||
        !pm_manifest_name_valid((const char *)name, size) || !all_zero(name + size, padded - size) ||
        memchr(cluster_by, 0, path_size) != NULL || !all_zero(cluster_by + path_size, path_padded - path_size))
        return contradicts(path, err);
    memcpy(e->name, name, size);
    memcpy(e->cluster_by, cluster_by, path_size);
    m->collections++; /* from here on it is freed with the others */
    e->flushed = pm_malloc(m->shards * sizeof *e->flushed);
    if (e->flushed == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    memcpy(e->flushed, flushed, m->shards * sizeof *e->flushed);
    pomai_status status =
        pm_manifest_set_segments(e, (const pm_manifest_segment *)(const void *)list, e->fixed.segments, err);
    if (status != POMAI_OK) return status;
    for (uint32_t i = 0; i < e->segments; i++)
        if (!segment_sound(&e->segment[i], i == 0 ? 0 : e->segment[i - 1].number, m->next_segment))
            return contradicts(path, err);
    return POMAI_OK;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* A segment that two collections list would be removed under the feet of one of them. */
static pomai_status check_segments(const pm_manifest *m, const char *path, pomai_error *err)
{
    size_t count = 0, n = 0;
    for (uint32_t i = 0; i < m->collections; i++)
        count += m->entry[i].segments;
    if (count == 0) return POMAI_OK;
    uint64_t *numbers = pm_malloc(count * sizeof *numbers);
    if (numbers == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    for (uint32_t i = 0; i < m->collections; i++)
        for (uint32_t k = 0; k < m->entry[i].segments; k++)
            numbers[n++] = m->entry[i].segment[k].number;
    qsort(numbers, count, sizeof *numbers, by_value);
    bool twice = false;
    for (size_t i = 1; i < count; i++)
        twice |= numbers[i] == numbers[i - 1];
    pm_free(numbers);
    return twice ? contradicts(path, err) : POMAI_OK;
}

/* The features that a reader of this catalogue must know. */
static uint64_t features_of(const pm_manifest *m)
{
    uint64_t features = 0;
    for (uint32_t i = 0; i < m->shards; i++)
        if (m->shard[i].first_wal > 1) features |= PM_FEATURE_SEGMENTS;
    for (uint32_t i = 0; i < m->collections; i++) {
        if (m->entry[i].segments > 0) features |= PM_FEATURE_SEGMENTS;
        if (m->entry[i].fixed.ttl_ns > 0) features |= PM_FEATURE_EXPIRY;
        if (m->entry[i].fixed.dtype != POMAI_DTYPE_FLOAT32) features |= PM_FEATURE_DTYPE;
        if (m->entry[i].fixed.cluster_len > 0) features |= PM_FEATURE_CLUSTER;
        if (m->entry[i].fixed.index != POMAI_INDEX_AUTO) features |= PM_FEATURE_INDEX;
    }
    return features;
}

static pomai_status check_header(const pm_manifest_header *h, const uint8_t *bytes, uint64_t size,
                                 const pm_current *current, const char *path, pomai_error *err)
{
    if (memcmp(h->magic, PM_MANIFEST_MAGIC, 8) != 0 || h->length != size ||
        h->crc != pm_crc32c(0, bytes + CRC_FROM, size - CRC_FROM))
        return pm_fail(err, POMAI_ECORRUPT, "the catalogue %s is damaged", path);
    if (h->format != PM_FORMAT)
        return pm_fail(err, POMAI_EFORMAT, "the catalogue %s has format %u, this build reads %u; %s", path, h->format,
                       PM_FORMAT, pm_format_advice(h->format));
    if ((h->incompatible & ~PM_FEATURES_KNOWN) != 0)
        return pm_fail(err, POMAI_EFORMAT,
                       "the catalogue %s has features that this build does not know, bits %llx; use a newer PomaiDB",
                       path, (unsigned long long)(h->incompatible & ~PM_FEATURES_KNOWN));
    if (memcmp(h->uuid, current->uuid, 16) != 0 || h->number != current->number)
        return pm_fail(err, POMAI_EFOREIGN, "the catalogue %s belongs to another database than CURRENT", path);
    const bool sound = h->shards >= 1 && h->shards <= PM_MAX_SHARDS && h->epoch == PM_EPOCH &&
                       h->hash_kind == PM_HASH_KIND && h->next_collection >= 1 && h->collections < h->next_collection &&
                       h->collections <= size / sizeof(pm_manifest_collection) && h->next_segment >= 1 &&
                       h->zero1 == 0 && all_zero(h->zero2, sizeof h->zero2);
    return sound ? POMAI_OK : contradicts(path, err);
}

static pomai_status decode(pm_manifest *m, const uint8_t *bytes, uint64_t size, const pm_current *current,
                           const char *path, pomai_error *err)
{
    pm_manifest_header h;
    memcpy(&h, bytes, sizeof h);
    pomai_status status = check_header(&h, bytes, size, current, path, err);
    if (status != POMAI_OK) return status;
    memcpy(m->uuid, h.uuid, 16);
    m->number = h.number;
    m->created = h.created;
    m->clock = h.clock;
    m->next_segment = h.next_segment;
    m->epoch = h.epoch;
    m->shards = h.shards;
    m->next_collection = h.next_collection;
    reader r = {bytes + sizeof h, size - sizeof h};
    const uint8_t *shards = take(&r, h.shards * sizeof(pm_manifest_shard));
    if (shards == NULL) return contradicts(path, err);
    memcpy(m->shard, shards, h.shards * sizeof(pm_manifest_shard));
    for (uint32_t i = 0; i < h.shards; i++)
        if (!shard_sound(&m->shard[i])) return contradicts(path, err);
    m->entry = pm_calloc((size_t)h.collections + 1, sizeof *m->entry);
    if (m->entry == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    for (uint32_t i = 0; i < h.collections && status == POMAI_OK; i++)
        status = decode_entry(m, &r, i == 0 ? 0 : m->entry[i - 1].fixed.id, path, err);
    if (status != POMAI_OK) return status;
    if (r.left != 0 || (features_of(m) & ~h.incompatible) != 0) return contradicts(path, err);
    return check_segments(m, path, err);
}

static pomai_status read_named(const pm_os *os, const char *dir, pm_manifest *manifest, pomai_error *err)
{
    pm_current current;
    memset(manifest, 0, sizeof *manifest);
    pomai_status status = read_current(os, dir, &current, err);
    if (status != POMAI_OK) return status;
    char path[PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/MANIFEST-%010llu", dir, (unsigned long long)current.number) >= PATH_SIZE)
        return pm_fail(err, POMAI_ETOOBIG, "the path of the database is too long");
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    status = read_file(os, path, sizeof(pm_manifest_header), &bytes, &size, err);
    if (status == POMAI_OK) status = decode(manifest, bytes, size, &current, path, err);
    pm_free(bytes);
    if (status != POMAI_OK) pm_manifest_clear(manifest);
    return status;
}

pomai_status pm_manifest_read(const pm_os *os, const char *dir, pm_manifest *manifest, pomai_error *err)
{
    pomai_error own;
    pomai_status status = read_named(os, dir, manifest, &own);
    if (status == POMAI_ECORRUPT)
        return pm_fail(err, status,
                       "%.350s; make a new database of what is whole with `pomai salvage`, or restore the whole "
                       "database from a copy",
                       own.message);
    if (status != POMAI_OK && err != NULL) *err = own;
    return status;
}

/* ---- reading what is left ---- */

/* A manifest, or a copy, by its own word, or by CURRENT's if that can be read. */
static pomai_status read_alone(const pm_os *os, const char *dir, const char *prefix, uint64_t number,
                               const pm_current *current, pm_manifest *m, pomai_error *err)
{
    char path[PATH_SIZE];
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    memset(m, 0, sizeof *m);
    pomai_status status = path_of(path, dir, prefix, number, err);
    if (status == POMAI_OK) status = read_file(os, path, sizeof(pm_manifest_header), &bytes, &size, err);
    if (status == POMAI_OK) {
        pm_current own = {.number = number};
        memcpy(own.uuid, bytes + offsetof(pm_manifest_header, uuid), 16);
        status = decode(m, bytes, size, current != NULL ? current : &own, path, err);
    }
    pm_free(bytes);
    if (status != POMAI_OK) pm_manifest_clear(m);
    return status;
}

/* The copy with CURRENT's number and uuid says what the manifest said. Without CURRENT, a manifest and a copy that both
 * have the largest number that a name has: either is what CURRENT named, or an edit that nobody was told of. */
static bool read_copy(const pm_os *os, const char *dir, const char *copies, pm_manifest *m, pm_text *notes)
{
    pm_current current;
    pm_manifest other;
    pomai_error own;
    if (read_current(os, dir, &current, &own) == POMAI_OK) {
        if (read_alone(os, copies, COPY_NAME, current.number, &current, m, &own) != POMAI_OK) return false;
        pm_text_add(notes, "%s/" COPY_NAME "%010llu was taken, which says the same\n", copies,
                    (unsigned long long)current.number);
        return true;
    }
    newest n = {.below = UINT64_MAX};
    (void)os->dir_list(os, dir, take_newest, &n);
    (void)os->dir_list(os, copies, take_newest, &n);
    if (n.number == 0 || read_alone(os, dir, MANIFEST_NAME, n.number, NULL, m, &own) != POMAI_OK) return false;
    const bool same = read_alone(os, copies, COPY_NAME, n.number, NULL, &other, &own) == POMAI_OK &&
                      memcmp(other.uuid, m->uuid, sizeof m->uuid) == 0;
    pm_manifest_clear(&other);
    if (!same) pm_manifest_clear(m);
    return same;
}

pomai_status pm_manifest_read_any(const pm_os *os, const char *dir, const char *copies, pm_manifest *manifest,
                                  bool *current, pm_text *notes, pomai_error *err)
{
    pomai_error own;
    pomai_status status = read_named(os, dir, manifest, &own);
    const bool lost = status == POMAI_ECORRUPT || status == POMAI_EFOREIGN || status == POMAI_EIO;
    *current = !lost;
    if (lost) pm_text_add(notes, "%s\n", own.message);
    if (lost && read_copy(os, dir, copies, manifest, notes)) {
        *current = true;
        return POMAI_OK;
    }
    newest n = {.below = UINT64_MAX};
    while (status == POMAI_ECORRUPT || status == POMAI_EFOREIGN || status == POMAI_EIO) {
        n.number = 0;
        (void)os->dir_list(os, dir, take_newest, &n);
        (void)os->dir_list(os, copies, take_newest, &n);
        if (n.number == 0)
            return pm_fail(
                err, POMAI_ECORRUPT,
                "no catalogue in %.150s can be read, nor a copy in %.150s, so nothing says what is what: restore one "
                "of them; the rows can be read with any reader of Arrow files, vectors.arrow of each segment",
                dir, copies);
        status = read_alone(os, dir, MANIFEST_NAME, n.number, NULL, manifest, &own);
        if (status != POMAI_OK && own.status != POMAI_ENOMEM)
            status = read_alone(os, copies, COPY_NAME, n.number, NULL, manifest, &own);
        if (status != POMAI_OK) pm_text_add(notes, "%s\n", own.message);
        n.below = n.number;
    }
    if (status != POMAI_OK && err != NULL) *err = own;
    return status;
}

/* ---- writing ---- */

static uint64_t encoded_size(const pm_manifest *m)
{
    uint64_t n = sizeof(pm_manifest_header) + m->shards * sizeof(pm_manifest_shard);
    for (uint32_t i = 0; i < m->collections; i++)
        n += sizeof(pm_manifest_collection) + pm_align_up(m->entry[i].fixed.name_len, 8) +
             pm_align_up(m->entry[i].fixed.cluster_len, 8) + m->shards * sizeof(uint64_t) +
             m->entry[i].segments * sizeof(pm_manifest_segment);
    return n;
}

static uint8_t *encode_entry(uint8_t *to, const pm_manifest_entry *e, uint32_t shards)
{
    pm_manifest_collection fixed = e->fixed;
    fixed.segments = e->segments;
    memcpy(to, &fixed, sizeof fixed);
    to += sizeof fixed;
    memcpy(to, e->name, fixed.name_len);
    to += pm_align_up(fixed.name_len, 8);
    memcpy(to, e->cluster_by, fixed.cluster_len);
    to += pm_align_up(fixed.cluster_len, 8);
    if (e->flushed != NULL && !PM_MUTANT(FLUSHED_NOT_STORED)) memcpy(to, e->flushed, shards * sizeof *e->flushed);
    to += shards * sizeof *e->flushed;
    if (e->segments > 0) memcpy(to, e->segment, e->segments * sizeof *e->segment);
    return to + e->segments * sizeof *e->segment;
}

static uint8_t *encode(const pm_manifest *m, uint64_t number, uint64_t n)
{
    uint8_t *bytes = pm_calloc(1, n);
    if (bytes == NULL) return NULL;
    pm_manifest_header h = {.format = PM_FORMAT, .length = n, .number = number, .created = m->created};
    memcpy(h.magic, PM_MANIFEST_MAGIC, 8);
    memcpy(h.uuid, m->uuid, 16);
    h.incompatible = PM_MUTANT(FEATURES_NOT_SAID) ? 0 : features_of(m);
    h.epoch = m->epoch;
    h.shards = m->shards;
    h.hash_kind = PM_HASH_KIND;
    h.next_collection = m->next_collection;
    h.collections = m->collections;
    h.clock = m->clock;
    h.next_segment = m->next_segment;
    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, m->shard, m->shards * sizeof(pm_manifest_shard));
    uint8_t *to = bytes + sizeof h + m->shards * sizeof(pm_manifest_shard);
    for (uint32_t i = 0; i < m->collections; i++)
        to = encode_entry(to, &m->entry[i], m->shards);
    uint32_t crc = pm_crc32c(0, bytes + CRC_FROM, n - CRC_FROM);
    memcpy(bytes + 8, &crc, 4);
    return bytes;
}

/* A durable file under a temporary name. */
static int write_temp(const pm_os *os, const char *temp, const void *bytes, size_t size)
{
    int fd = pm_file_make(os, temp);
    if (fd < 0) return fd;
    pm_span span = {bytes, size};
    int rc = os->file_write(os, fd, &span, 1, 0);
    if (rc == 0) PM_POINT(MANIFEST_WRITTEN);
    if (rc == 0 && !PM_MUTANT(MANIFEST_NOT_SYNCED)) rc = os->file_sync(os, fd);
    int closed = os->file_close(os, fd);
    if (rc == 0) rc = closed;
    if (rc != 0) (void)os->path_remove(os, temp);
    return rc;
}

static int install_manifest(const pm_os *os, const char *dir, const char *path, const uint8_t *bytes, uint64_t size)
{
    char temp[PATH_SIZE];
    if (snprintf(temp, sizeof temp, "%s.tmp", path) >= PATH_SIZE) return -ENAMETOOLONG;
    int rc = write_temp(os, temp, bytes, size);
    if (rc == 0) PM_POINT(MANIFEST_SYNCED);
    if (rc == 0) rc = os->path_rename(os, temp, path);
    if (rc == 0) PM_POINT(MANIFEST_RENAMED);
    if (rc == 0 && !PM_MUTANT(MANIFEST_NAME_NOT_SYNCED)) rc = os->dir_sync(os, dir);
    return rc;
}

/* Without its checksum. */
static pm_current current_of(const pm_manifest *m, uint64_t number)
{
    pm_current current = {.format = PM_FORMAT, .number = number};
    memcpy(current.magic, PM_CURRENT_MAGIC, 8);
    memcpy(current.uuid, m->uuid, 16);
    return current;
}

static int install_current(const pm_os *os, const char *dir, const pm_manifest *m, uint64_t number, bool *uncertain)
{
    char temp[PATH_SIZE], path[PATH_SIZE];
    if (snprintf(temp, sizeof temp, "%s/CURRENT.tmp", dir) >= PATH_SIZE ||
        snprintf(path, sizeof path, "%s/CURRENT", dir) >= PATH_SIZE)
        return -ENAMETOOLONG;
    pm_current current = current_of(m, number);
    current.crc = pm_crc32c(0, (const uint8_t *)&current + CRC_FROM, sizeof current - CRC_FROM);
    const char *from = PM_MUTANT(CURRENT_IN_PLACE) ? path : temp;
    int rc = write_temp(os, from, &current, sizeof current);
    if (rc != 0) return rc;
    rc = os->path_rename(os, from, path);
    if (rc != 0) return rc;
    *uncertain = true;
    PM_POINT(CURRENT_RENAMED);
    if (!PM_MUTANT(CURRENT_NAME_NOT_SYNCED)) rc = os->dir_sync(os, dir);
    if (rc == 0) *uncertain = false;
    return rc;
}

pomai_status pm_manifest_install(const pm_os *os, const char *dir, pm_manifest *manifest, bool *uncertain,
                                 pomai_error *err)
{
    char path[PATH_SIZE], old[PATH_SIZE];
    const uint64_t number = manifest->number + 1;
    *uncertain = false;
    if (snprintf(path, sizeof path, "%s/MANIFEST-%010llu", dir, (unsigned long long)number) >= PATH_SIZE ||
        snprintf(old, sizeof old, "%s/MANIFEST-%010llu", dir, (unsigned long long)manifest->number) >= PATH_SIZE)
        return pm_fail(err, POMAI_ETOOBIG, "the path of the database is too long");
    const uint64_t size = encoded_size(manifest);
    if (size > MOST_BYTES) /* a reader would refuse it */
        return pm_fail(err, POMAI_ETOOBIG, "the catalogue would have %llu bytes, at most %d: drop some collections",
                       (unsigned long long)size, MOST_BYTES);
    uint8_t *bytes = encode(manifest, number, size);
    if (bytes == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to write the catalogue");
    int rc = PM_MUTANT(CURRENT_FIRST) ? install_current(os, dir, manifest, number, uncertain) : 0;
    if (rc == 0) rc = install_manifest(os, dir, path, bytes, size);
    pm_free(bytes);
    if (rc == 0 && PM_MUTANT(OLD_MANIFEST_FIRST)) (void)os->path_remove(os, old);
    if (rc == 0) rc = install_current(os, dir, manifest, number, uncertain);
    if (rc != 0) return pm_fail_os(err, rc, "cannot write the catalogue %s", path);
    PM_POINT(MANIFEST_DONE);
    if (manifest->number > 0) (void)os->path_remove(os, old); /* a leftover costs a few bytes */
    manifest->number = number;
    return POMAI_OK;
}

/* ---- the copy ---- */

pomai_status pm_manifest_write_copy(const pm_os *os, const char *copies, const pm_manifest *manifest, uint64_t number,
                                    pomai_error *err)
{
    char path[PATH_SIZE];
    const uint64_t size = encoded_size(manifest);
    if (size > MOST_BYTES) return POMAI_OK; /* the manifest itself will be refused */
    pomai_status status = path_of(path, copies, COPY_NAME, number, err);
    if (status != POMAI_OK || PM_MUTANT(COPY_NOT_WRITTEN)) return status;
    uint8_t *bytes = encode(manifest, number, size);
    if (bytes == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to write the catalogue");
    const int rc = install_manifest(os, copies, path, bytes, size);
    pm_free(bytes);
    return rc == 0 ? POMAI_OK : pm_fail_os(err, rc, "cannot write the copy of the catalogue %s", path);
}

static pomai_status same_words(const pm_manifest *manifest, const pm_manifest *copy, const char *path, pomai_error *err)
{
    const uint64_t size = encoded_size(manifest);
    const bool as_long = encoded_size(copy) == size;
    uint8_t *own = encode(manifest, manifest->number, size);
    uint8_t *its = as_long ? encode(copy, manifest->number, size) : NULL;
    pomai_status status = POMAI_OK;
    if (own == NULL || (as_long && its == NULL))
        status = pm_fail(err, POMAI_ENOMEM, "no memory to compare the copy of the catalogue");
    else if (!as_long || memcmp(own, its, size) != 0)
        status = pm_fail(err, POMAI_ECORRUPT, "%s is of another catalogue with the same number", path);
    pm_free(own);
    pm_free(its);
    return status;
}

pomai_status pm_manifest_check_copy(const pm_os *os, const char *copies, const pm_manifest *manifest, bool *there,
                                    pomai_error *err)
{
    char path[PATH_SIZE];
    pm_manifest copy;
    const pm_current current = current_of(manifest, manifest->number);
    pomai_status status = path_of(path, copies, COPY_NAME, manifest->number, err);
    *there = false;
    if (status != POMAI_OK) return status;
    *there = os->path_kind(os, path) != PM_PATH_NONE;
    if (!*there) return POMAI_OK;
    status = read_alone(os, copies, COPY_NAME, manifest->number, &current, &copy, err);
    if (status == POMAI_OK) status = same_words(manifest, &copy, path, err);
    pm_manifest_clear(&copy);
    return status;
}

/* ---- leftovers ---- */

void pm_manifest_remove_copy(const pm_os *os, const char *copies, uint64_t number)
{
    char path[PATH_SIZE];
    if (path_of(path, copies, COPY_NAME, number, NULL) == POMAI_OK) (void)os->path_remove(os, path);
}

typedef struct leftovers {
    const pm_os *os;
    const char *dir;
    char keep[32];
} leftovers;

static int remove_other(void *context, const char *name)
{
    const leftovers *l = context;
    char path[PATH_SIZE];
    if (strcmp(name, "CURRENT") == 0 || strcmp(name, l->keep) == 0) return 0;
    if (strncmp(name, MANIFEST_NAME, 9) != 0 && strcmp(name, "CURRENT.tmp") != 0 && strncmp(name, COPY_NAME, 10) != 0)
        return 0;
    if (snprintf(path, sizeof path, "%s/%s", l->dir, name) < PATH_SIZE) (void)l->os->path_remove(l->os, path);
    return 0;
}

void pm_manifest_remove_others(const pm_os *os, const char *dir, const char *copies, const pm_manifest *manifest)
{
    leftovers l = {.os = os, .dir = dir};
    snprintf(l.keep, sizeof l.keep, MANIFEST_NAME "%010llu", (unsigned long long)manifest->number);
    (void)os->dir_list(os, dir, remove_other, &l);
    l.dir = copies;
    snprintf(l.keep, sizeof l.keep, COPY_NAME "%010llu", (unsigned long long)manifest->number);
    (void)os->dir_list(os, copies, remove_other, &l);
}
