/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are in a database's directory; telling a database from other directories; its lock. */
#ifndef PM_CORE_LAYOUT_H
#define PM_CORE_LAYOUT_H

#include "base/base.h"
#include "os/os.h"
#include "storage/manifest/manifest.h"

enum { PM_DB_PATH_MAX = 3800 }; /* leaves room for what is appended to it */

/* path + "/" + the formatted rest, from pm_malloc; NULL: no memory. */
char *pm_layout_path(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef enum pm_dir_state {
    PM_DIR_ABSENT, /* no such path */
    PM_DIR_EMPTY,  /* nothing in it, or an interrupted creation: may become a database */
    PM_DIR_DATABASE,
} pm_dir_state;

/* POMAI_ENOTDB for a file or a directory with other things in it; POMAI_ECORRUPT for a database that lost its CURRENT.
 */
pomai_status pm_layout_probe(const pm_os *os, const char *path, pm_dir_state *state, pomai_error *err);
/* Directories, watermarks and the first manifest of a new database; what an interrupted creation left is reused. */
pomai_status pm_layout_make(const pm_os *os, const char *path, uint32_t shards, pomai_error *err);
/* Where the copy of the catalogue is: elsewhere than the catalogue. */
#define PM_COPIES_DIR "shards"
/* pm_manifest_install, and the copy before it. */
pomai_status pm_layout_install(const pm_os *os, const char *path, pm_manifest *manifest, bool *uncertain,
                               pomai_error *err);
/* When CURRENT is durable: removes what interrupted edits left, and writes the copy if it is missing or damaged.
 * Failure only costs space, or the copy until the next edit. */
void pm_layout_settle(const pm_os *os, const char *path, const pm_manifest *manifest);

/* Two locks: of the file LOCK, and of the directory itself, which holds also when somebody removes the file. */
typedef struct pm_lock {
    int file; /* -1: not held */
    int dir;
} pm_lock;

/* Takes the locks; POMAI_ELOCKED names the holder. */
pomai_status pm_layout_lock(const pm_os *os, const char *path, bool exclusive, pm_lock *lock, pomai_error *err);
/* Also when a forked child still has the descriptors. */
void pm_layout_unlock(const pm_os *os, pm_lock *lock);

#endif
