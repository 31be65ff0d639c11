/* SPDX-License-Identifier: Apache-2.0 */
#include "core/engine/layout.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "storage/wal/wal.h"

char *pm_layout_path(const char *path, const char *format, ...)
{
    char rest[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    if (n < 0 || n >= (int)sizeof rest) return NULL;
    size_t size = strlen(path) + 1 + (size_t)n + 1;
    char *joined = pm_malloc(size);
    if (joined != NULL) snprintf(joined, size, "%s/%s", path, rest);
    return joined;
}

/* ---- probing ---- */

typedef struct contents {
    bool ours; /* manifest/ or shards/ or LOCK */
    char other[64];
} contents;

static int look_at_name(void *context, const char *name)
{
    contents *c = context;
    if (strcmp(name, "manifest") == 0 || strcmp(name, "shards") == 0 || strcmp(name, "LOCK") == 0 ||
        strcmp(name, "quarantine") == 0 || strcmp(name, "collections") == 0)
        c->ours = true;
    else if (strcmp(name, "lost+found") != 0)
        snprintf(c->other, sizeof c->other, "%s", name);
    return 0;
}

static int look_for_log(void *context, const char *name)
{
    size_t length = strlen(name);
    bool *found = context;
    if (length > 4 && strcmp(name + length - 4, ".wal") == 0) *found = true;
    return 0;
}

/* Whether any shard has a log file: then a missing CURRENT is a loss, not an interrupted creation. */
static pomai_status any_log(const pm_os *os, const char *path, bool *found, pomai_error *err)
{
    *found = false;
    for (uint32_t i = 0; i < PM_MAX_SHARDS && !*found; i++) {
        char *dir = pm_layout_path(path, "shards/%u/%u/wal", PM_EPOCH, i);
        if (dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
        int rc = os->dir_list(os, dir, look_for_log, found);
        pm_free(dir);
        if (rc == -ENOENT || rc == -ENOTDIR) break;
        if (rc < 0) return pm_fail_os(err, rc, "cannot list the logs of %s", path);
    }
    return POMAI_OK;
}

pomai_status pm_layout_probe(const pm_os *os, const char *path, pm_dir_state *state, pomai_error *err)
{
    *state = PM_DIR_ABSENT;
    int kind = os->path_kind(os, path);
    if (kind == -ENOTDIR) return pm_fail(err, POMAI_ENOTDB, "a part of the path %s is a file, not a directory", path);
    if (kind < 0) return pm_fail_os(err, kind, "cannot look at %s", path);
    if (kind == PM_PATH_NONE) return POMAI_OK;
    if (kind == PM_PATH_FILE)
        return pm_fail(err, POMAI_ENOTDB, "%s is a file; a database is a directory: give another path", path);
    contents c = {0};
    int rc = os->dir_list(os, path, look_at_name, &c);
    if (rc != 0) return pm_fail_os(err, rc, "cannot list the directory %s", path);
    if (!c.ours && c.other[0] != '\0')
        return pm_fail(err, POMAI_ENOTDB,
                       "the directory %s holds other things (%s) and is no database: give another path", path, c.other);
    char *dir = pm_layout_path(path, "manifest"), *copies = pm_layout_path(path, PM_COPIES_DIR);
    pm_manifest_state manifest = PM_MANIFEST_NONE;
    pomai_status status = dir == NULL || copies == NULL ? pm_fail(err, POMAI_ENOMEM, "no memory to open the database")
                                                        : pm_manifest_probe(os, dir, copies, &manifest, err);
    pm_free(dir);
    pm_free(copies);
    if (status != POMAI_OK) return status;
    if (manifest == PM_MANIFEST_THERE) {
        *state = PM_DIR_DATABASE;
        return POMAI_OK;
    }
    if (c.other[0] != '\0')
        return pm_fail(err, POMAI_ENOTDB,
                       "the directory %.300s holds other things (%s) and is no database: give another path", path,
                       c.other);
    bool log = false;
    status = any_log(os, path, &log, err);
    if (status != POMAI_OK) return status;
    if (manifest == PM_MANIFEST_LOST)
        return pm_fail(
            err, POMAI_ECORRUPT,
            "%.350s/manifest/CURRENT is missing though the database has data; make a new database of what is "
            "whole with `pomai salvage`, or restore the whole database from a copy",
            path);
    if (log)
        return pm_fail(err, POMAI_ECORRUPT,
                       "%.300s/manifest/CURRENT is missing though the database has data, and so is every later "
                       "catalogue; restore the whole database from a copy, or see with `pomai salvage` what can still "
                       "be read",
                       path);
    *state = PM_DIR_EMPTY;
    return POMAI_OK;
}

/* ---- making ---- */

static pomai_status make_dir(const pm_os *os, const char *path, pomai_error *err)
{
    int rc = os->dir_make(os, path);
    if (rc == 0 || rc == -EEXIST) return POMAI_OK;
    return pm_fail_os(err, rc, "cannot make the directory %s", path);
}

/* A directory below the database, and its name made durable in its parent. */
static pomai_status make_sub(const pm_os *os, const char *path, const char *parent, const char *name, pomai_error *err)
{
    char *full = pm_layout_path(path, "%s%s%s", parent, parent[0] == '\0' ? "" : "/", name);
    char *above = pm_layout_path(path, "%s", parent);
    pomai_status status = POMAI_OK;
    if (full == NULL || above == NULL) status = pm_fail(err, POMAI_ENOMEM, "no memory to make the database");
    if (status == POMAI_OK) status = make_dir(os, full, err);
    int rc = status == POMAI_OK && !PM_MUTANT(NEW_DIRS_NOT_SYNCED) ? os->dir_sync(os, above) : 0;
    if (rc != 0) status = pm_fail_os(err, rc, "cannot sync the directory %s", above);
    pm_free(full);
    pm_free(above);
    return status;
}

static pomai_status make_shard(const pm_os *os, const char *path, uint32_t index, const uint8_t uuid[16],
                               pomai_error *err)
{
    char epoch[48], number[16], shard[64];
    snprintf(epoch, sizeof epoch, "shards/%u", PM_EPOCH);
    snprintf(number, sizeof number, "%u", index);
    snprintf(shard, sizeof shard, "%s/%s", epoch, number);
    pomai_status status = make_sub(os, path, epoch, number, err);
    if (status == POMAI_OK) status = make_sub(os, path, shard, "wal", err);
    if (status != POMAI_OK) return status;
    char *dir = pm_layout_path(path, "%s/wal", shard);
    if (dir == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to make the database");
    pm_wal_place place = {.os = os, .dir = dir, .epoch = PM_EPOCH, .shard = index};
    memcpy(place.uuid, uuid, 16);
    status = pm_mark_make(&place, err);
    pm_free(dir);
    return status;
}

/* The directory that `path`, which is absolute, is in: what is before the last name. */
static int sync_parent(const pm_os *os, const char *path)
{
    char parent[PM_DB_PATH_MAX + 4];
    snprintf(parent, sizeof parent, "%s", path);
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/')
        n--;
    while (parent[n - 1] != '/')
        n--;
    parent[n] = '\0';
    return os->dir_sync(os, parent);
}

pomai_status pm_layout_make(const pm_os *os, const char *path, uint32_t shards, pomai_error *err)
{
    pm_manifest m = {
        .epoch = PM_EPOCH, .shards = shards, .next_collection = 1, .next_segment = 1, .created = os->wall_ns(os)};
    int rc = os->random(os, m.uuid, sizeof m.uuid);
    if (rc != 0) return pm_fail_os(err, rc, "no random bytes for the new database %s", path);
    if (!PM_MUTANT(NEW_DATABASE_NOT_SYNCED)) rc = sync_parent(os, path);
    if (rc != 0) return pm_fail_os(err, rc, "cannot sync the directory above %s", path);
    char epoch[16];
    snprintf(epoch, sizeof epoch, "%u", PM_EPOCH);
    pomai_status status = make_sub(os, path, "", "shards", err);
    if (status == POMAI_OK) status = make_sub(os, path, "", "manifest", err);
    if (status == POMAI_OK) status = make_sub(os, path, "", "quarantine", err);
    if (status == POMAI_OK) status = make_sub(os, path, "shards", epoch, err);
    for (uint32_t i = 0; i < shards && status == POMAI_OK; i++) {
        status = make_shard(os, path, i, m.uuid, err);
        m.shard[i].first_wal = 1;
    }
    if (status != POMAI_OK) return status;
    PM_POINT(INIT_DIRS);
    bool uncertain;
    return pm_layout_install(os, path, &m, &uncertain, err);
}

/* ---- the catalogue ---- */

pomai_status pm_layout_install(const pm_os *os, const char *path, pm_manifest *manifest, bool *uncertain,
                               pomai_error *err)
{
    const uint64_t before = manifest->number;
    char *dir = pm_layout_path(path, "manifest"), *copies = pm_layout_path(path, PM_COPIES_DIR);
    pomai_status status = POMAI_OK;
    *uncertain = false;
    if (dir == NULL || copies == NULL) status = pm_fail(err, POMAI_ENOMEM, "no memory to write the catalogue");
    if (status == POMAI_OK) status = pm_manifest_write_copy(os, copies, manifest, before + 1, err);
    if (status == POMAI_OK) {
        status = pm_manifest_install(os, dir, manifest, uncertain, err);
        if (!*uncertain) pm_manifest_remove_copy(os, copies, status == POMAI_OK ? before : before + 1);
    }
    pm_free(dir);
    pm_free(copies);
    return status;
}

void pm_layout_settle(const pm_os *os, const char *path, const pm_manifest *manifest)
{
    bool there;
    char *dir = pm_layout_path(path, "manifest"), *copies = pm_layout_path(path, PM_COPIES_DIR);
    if (dir != NULL && copies != NULL) {
        pm_manifest_remove_others(os, dir, copies, manifest);
        if (pm_manifest_check_copy(os, copies, manifest, &there, NULL) != POMAI_OK || !there)
            (void)pm_manifest_write_copy(os, copies, manifest, manifest->number, NULL);
    }
    pm_free(dir);
    pm_free(copies);
}

/* ---- lock ---- */

static void read_holder(const pm_os *os, int fd, char *text, size_t size)
{
    int64_t got = fd < 0 ? 0 : os->file_read(os, fd, text, size - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\n' || (unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e) *p = '\0';
    if (text[0] == '\0') snprintf(text, size, "another process");
}

/* Whether a lock for reading is to be had where one for writing was not. */
static bool readers_hold(const pm_os *os, const char *path, int fd)
{
    os->file_unlock(os, fd); /* where the directory's is the one that was refused */
    if (os->file_lock(os, fd, false) != 0) return false;
    int dir = os->dir_lock(os, path, false);
    os->file_unlock(os, fd);
    if (dir >= 0) {
        os->file_unlock(os, dir);
        os->file_close(os, dir);
    }
    return dir != -EAGAIN;
}

static pomai_status locked(const pm_os *os, const char *path, int fd, bool exclusive, pomai_error *err)
{
    char holder[128], who[128] = {0};
    if (exclusive && readers_hold(os, path, fd)) /* LOCK names who wrote last, not them */
        return pm_fail(err, POMAI_ELOCKED,
                       "the database %.300s is open read-only, in another process or this one; a writer has it for "
                       "itself: close it there first, or open it read-only here",
                       path);
    read_holder(os, fd, holder, sizeof holder);
    os->who(os, who, sizeof who - 1);
    if (strcmp(holder, who) == 0)
        return pm_fail(err, POMAI_ELOCKED, "this process has the database %.300s open already; use that handle", path);
    return pm_fail(err, POMAI_ELOCKED,
                   "the database %.300s is open for writing in another process (%s); close it there first", path,
                   holder);
}

pomai_status pm_layout_lock(const pm_os *os, const char *path, bool exclusive, pm_lock *lock, pomai_error *err)
{
    lock->file = lock->dir = -1;
    char *name = pm_layout_path(path, "LOCK");
    if (name == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to open the database");
    int fd = os->file_open(os, name, exclusive ? PM_OPEN_READ | PM_OPEN_WRITE | PM_OPEN_CREATE : PM_OPEN_READ);
    pm_free(name);
    if (fd < 0 && !(fd == -ENOENT && !exclusive)) /* a reader does with the directory's lock, if the file was removed */
        return pm_fail_os(err, fd, "cannot open %s/LOCK%s", path,
                          exclusive ? " for writing; to only read, open read-only" : "");
    if (fd >= 0) lock->file = fd;
    const bool alone = exclusive && !PM_MUTANT(LOCK_IS_SHARED);
    int rc = lock->file >= 0 ? os->file_lock(os, lock->file, alone) : 0;
    if (rc == 0) {
        int dir = os->dir_lock(os, path, alone);
        if (dir >= 0) lock->dir = dir;
        if (dir == -EAGAIN) rc = dir; /* other failures: a file system without such locks */
    }
    pomai_status status = POMAI_OK;
    if (rc == -EAGAIN)
        status = locked(os, path, lock->file, exclusive, err);
    else if (rc != 0)
        status = pm_fail_os(err, rc, "cannot lock %s/LOCK", path);
    if (status != POMAI_OK) {
        pm_layout_unlock(os, lock);
        return status;
    }
    if (exclusive) { /* for the error message above, nothing else */
        char who[128] = {0};
        os->who(os, who, sizeof who - 2);
        who[strlen(who)] = '\n';
        pm_span span = {who, strlen(who)};
        if (os->file_truncate(os, lock->file, 0) == 0) (void)os->file_write(os, lock->file, &span, 1, 0);
    }
    return POMAI_OK;
}

void pm_layout_unlock(const pm_os *os, pm_lock *lock)
{
    int *const each[] = {&lock->dir, &lock->file};
    for (int i = 0; i < 2; i++) {
        if (*each[i] < 0) continue;
        os->file_unlock(os, *each[i]);
        os->file_close(os, *each[i]);
        *each[i] = -1;
    }
}
