/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and installing the catalogue. Invariants:
 *  1. CURRENT names only a manifest that was synced and whose name was synced.
 *  2. Nothing of a file is used before its checksum is right; lengths are checked before they are used.
 */
#include "storage/manifest/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"

enum { PATH_SIZE = 4096, CRC_FROM = 12, MOST_BYTES = 64 * 1024 * 1024 };

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

pomai_status pm_manifest_copy(pm_manifest *to, const pm_manifest *from, pomai_error *err)
{
    *to = *from;
    to->entry = pm_calloc((size_t)from->collections + 1, sizeof *to->entry);
    if (to->entry == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    if (from->collections > 0) memcpy(to->entry, from->entry, from->collections * sizeof *to->entry);
    return POMAI_OK;
}

void pm_manifest_clear(pm_manifest *manifest)
{
    pm_free(manifest->entry);
    memset(manifest, 0, sizeof *manifest);
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

pomai_status pm_manifest_probe(const pm_os *os, const char *dir, pm_manifest_state *state, pomai_error *err)
{
    *state = PM_MANIFEST_NONE;
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
    if (fd == -ENOENT) return pm_fail(err, POMAI_ECORRUPT, "%s is missing; restore it from a copy", path);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open %s", path);
    pomai_status status = POMAI_OK;
    int rc = os->file_size(os, fd, size);
    if (rc != 0)
        status = pm_fail_os(err, rc, "cannot read the size of %s", path);
    else if (*size < least || *size > MOST_BYTES)
        status = pm_fail(err, POMAI_ECORRUPT, "%s has an impossible size, %llu bytes; restore it from a copy", path,
                         (unsigned long long)*size);
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
        return pm_fail(err, POMAI_ECORRUPT, "%s is damaged; restore it from a copy", path);
    if (current->format != PM_FORMAT)
        return pm_fail(err, POMAI_EFORMAT, "%s has format %u, this build reads %u; use a newer PomaiDB", path,
                       current->format, PM_FORMAT);
    return POMAI_OK;
}

static bool decode_collections(pm_manifest *m, const uint8_t *bytes, uint64_t size, uint64_t at, uint32_t count)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        pm_manifest_entry *e = &m->entry[i];
        if (size - at < sizeof e->fixed) return false;
        memcpy(&e->fixed, bytes + at, sizeof e->fixed);
        at += sizeof e->fixed;
        const pm_manifest_collection *c = &e->fixed;
        uint64_t padded = pm_align_up(c->name_len, 8);
        if (size - at < padded || !pm_manifest_name_valid((const char *)bytes + at, c->name_len)) return false;
        memcpy(e->name, bytes + at, c->name_len);
        at += padded;
        if (c->id <= last || c->id >= m->next_collection || c->dim == 0 || c->dim > POMAI_MAX_DIM) return false;
        if (c->metric < POMAI_METRIC_L2 || c->metric > POMAI_METRIC_COSINE || c->dtype != PM_DTYPE_F32) return false;
        if (c->id_kind != POMAI_ID_U64 && c->id_kind != POMAI_ID_STRING) return false;
        if (c->flags != 0 || c->zero != 0) return false;
        last = c->id;
        m->collections++;
    }
    return at == size;
}

static pomai_status decode(pm_manifest *m, const uint8_t *bytes, uint64_t size, const pm_current *current,
                           const char *path, pomai_error *err)
{
    pm_manifest_header h;
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.magic, PM_MANIFEST_MAGIC, 8) != 0 || h.length != size ||
        h.crc != pm_crc32c(0, bytes + CRC_FROM, size - CRC_FROM))
        return pm_fail(err, POMAI_ECORRUPT, "the catalogue %s is damaged; restore it from a copy", path);
    if (h.format != PM_FORMAT || h.incompatible != 0)
        return pm_fail(
            err, POMAI_EFORMAT,
            "the catalogue %s has format %u and features %llx, this build reads format %u; use a newer PomaiDB", path,
            h.format, (unsigned long long)h.incompatible, PM_FORMAT);
    if (memcmp(h.uuid, current->uuid, 16) != 0 || h.number != current->number)
        return pm_fail(err, POMAI_EFOREIGN, "the catalogue %s belongs to another database than CURRENT", path);
    bool sound = h.shards >= 1 && h.shards <= PM_MAX_SHARDS && h.epoch == PM_EPOCH && h.hash_kind == PM_HASH_KIND &&
                 h.next_collection >= 1 && h.collections < h.next_collection &&
                 h.collections <= size / sizeof(pm_manifest_collection) &&
                 sizeof h + h.shards * sizeof(pm_manifest_shard) <= size;
    if (!sound) return pm_fail(err, POMAI_ECORRUPT, "the catalogue %s contradicts itself", path);
    memcpy(m->uuid, h.uuid, 16);
    m->number = h.number;
    m->created = h.created;
    m->epoch = h.epoch;
    m->shards = h.shards;
    m->next_collection = h.next_collection;
    memcpy(m->shard, bytes + sizeof h, h.shards * sizeof(pm_manifest_shard));
    m->entry = pm_calloc((size_t)h.collections + 1, sizeof *m->entry);
    if (m->entry == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for the catalogue");
    if (!decode_collections(m, bytes, size, sizeof h + h.shards * sizeof(pm_manifest_shard), h.collections))
        return pm_fail(err, POMAI_ECORRUPT, "the catalogue %s contradicts itself", path);
    return POMAI_OK;
}

pomai_status pm_manifest_read(const pm_os *os, const char *dir, pm_manifest *manifest, pomai_error *err)
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

/* ---- writing ---- */

static uint64_t encoded_size(const pm_manifest *m)
{
    uint64_t n = sizeof(pm_manifest_header) + m->shards * sizeof(pm_manifest_shard);
    for (uint32_t i = 0; i < m->collections; i++)
        n += sizeof(pm_manifest_collection) + pm_align_up(m->entry[i].fixed.name_len, 8);
    return n;
}

static uint8_t *encode(const pm_manifest *m, uint64_t number, uint64_t n)
{
    uint8_t *bytes = pm_calloc(1, n);
    if (bytes == NULL) return NULL;
    pm_manifest_header h = {.format = PM_FORMAT, .length = n, .number = number, .created = m->created};
    memcpy(h.magic, PM_MANIFEST_MAGIC, 8);
    memcpy(h.uuid, m->uuid, 16);
    h.epoch = m->epoch;
    h.shards = m->shards;
    h.hash_kind = PM_HASH_KIND;
    h.next_collection = m->next_collection;
    h.collections = m->collections;
    memcpy(bytes, &h, sizeof h);
    memcpy(bytes + sizeof h, m->shard, m->shards * sizeof(pm_manifest_shard));
    uint64_t at = sizeof h + m->shards * sizeof(pm_manifest_shard);
    for (uint32_t i = 0; i < m->collections; i++) {
        memcpy(bytes + at, &m->entry[i].fixed, sizeof(pm_manifest_collection));
        at += sizeof(pm_manifest_collection);
        memcpy(bytes + at, m->entry[i].name, m->entry[i].fixed.name_len);
        at += pm_align_up(m->entry[i].fixed.name_len, 8);
    }
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

static int install_current(const pm_os *os, const char *dir, const pm_manifest *m, uint64_t number, bool *uncertain)
{
    char temp[PATH_SIZE], path[PATH_SIZE];
    if (snprintf(temp, sizeof temp, "%s/CURRENT.tmp", dir) >= PATH_SIZE ||
        snprintf(path, sizeof path, "%s/CURRENT", dir) >= PATH_SIZE)
        return -ENAMETOOLONG;
    pm_current current = {.format = PM_FORMAT, .number = number};
    memcpy(current.magic, PM_CURRENT_MAGIC, 8);
    memcpy(current.uuid, m->uuid, 16);
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

/* ---- leftovers ---- */

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
    if (strncmp(name, "MANIFEST-", 9) != 0 && strcmp(name, "CURRENT.tmp") != 0) return 0;
    if (snprintf(path, sizeof path, "%s/%s", l->dir, name) < PATH_SIZE) (void)l->os->path_remove(l->os, path);
    return 0;
}

void pm_manifest_remove_others(const pm_os *os, const char *dir, const pm_manifest *manifest)
{
    leftovers l = {.os = os, .dir = dir};
    snprintf(l.keep, sizeof l.keep, "MANIFEST-%010llu", (unsigned long long)manifest->number);
    (void)os->dir_list(os, dir, remove_other, &l);
}
