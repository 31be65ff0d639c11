/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory that knows what of it is durable: docs/simulation.md, "The disk". Files have a cached and a durable
 * content and the writes between the two, sector by sector; directories have, for each name, the files it stood for
 * since the directory was last synced. Test builds only.
 */
#ifndef PM_OS_SIM_DISK_H
#define PM_OS_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PM_SIM_SECTOR = 512, PM_SIM_NAME_MAX = 80 };

/* ---- choices: drawn at random, or all of them one after the other ---- */

enum { PM_CHOICES_MOST = 48 };

typedef struct pm_choices {
    uint64_t random; /* state of the generator */
    bool exhaustive;
    bool too_many; /* exhaustive: more than PM_CHOICES_MOST had to be made; the rest were 0 */
    uint32_t depth, at;
    struct {
        uint32_t value, bound;
    } pick[PM_CHOICES_MOST];
} pm_choices;

pm_choices pm_choices_random(uint64_t seed);
pm_choices pm_choices_all(void);
/* A number below bound. */
uint32_t pm_choose(pm_choices *choices, uint32_t bound);
/* Exhaustive: on to the next combination; false after the last. */
bool pm_choices_next(pm_choices *choices);

/* ---- the disk ---- */

typedef struct pm_disk pm_disk;

pm_disk *pm_disk_make(void);
void pm_disk_free(pm_disk *disk);
/* A copy with everything that is not durable yet. */
pm_disk *pm_disk_copy(const pm_disk *from);

/* What may be found after the power failed now. Durable bytes and names are there; of what was not synced, every sector
 * has any of the contents it had since, every name any of its files, every file any of its sizes. `tear`: a sector may
 * also be part old and part new. */
pm_disk *pm_disk_power_loss(const pm_disk *from, pm_choices *choices, bool tear);
/* The machine stays up, the process is gone: locks are free; a page whose write-back failed may be read from the disk
 * again. */
void pm_disk_process_gone(pm_disk *disk, pm_choices *choices);
/* Writes and names that are not durable yet. */
uint64_t pm_disk_pending(const pm_disk *disk);

/* Calls as in os.h, on absolute paths; a node stands for a file or directory whatever its name. */
int pm_disk_open(pm_disk *disk, const char *path, int flags, uint32_t *out);
int pm_disk_kind(const pm_disk *disk, const char *path);
int64_t pm_disk_read(const pm_disk *disk, uint32_t file, void *to, size_t size, uint64_t offset);
int pm_disk_write(pm_disk *disk, uint32_t file, const void *data, size_t size, uint64_t offset);
int pm_disk_sync(pm_disk *disk, uint32_t file);
/* A sync that fails: some sectors got there, and nothing remembers which did not. */
void pm_disk_lose_sync(pm_disk *disk, uint32_t file, pm_choices *choices);
int pm_disk_resize(pm_disk *disk, uint32_t file, uint64_t size);
uint64_t pm_disk_size(const pm_disk *disk, uint32_t file);
int pm_disk_lock(pm_disk *disk, uint32_t file, bool exclusive);
void pm_disk_unlock(pm_disk *disk, uint32_t file, bool exclusive);
int pm_disk_rename(pm_disk *disk, const char *from, const char *to);
int pm_disk_remove(pm_disk *disk, const char *path);
int pm_disk_make_dir(pm_disk *disk, const char *path);
int pm_disk_remove_dir(pm_disk *disk, const char *path);
int pm_disk_open_dir(pm_disk *disk, const char *path, uint32_t *out);
int pm_disk_sync_dir(pm_disk *disk, const char *path);
int pm_disk_list(const pm_disk *disk, const char *path, int (*each)(void *context, const char *name), void *context);

/* Space: sum of the sizes of all files that have a name may not pass `most`; 0: no limit. */
void pm_disk_set_capacity(pm_disk *disk, uint64_t most);

/* ---- for tests ---- */

/* Every file with its path and cached content. */
void pm_disk_each_file(const pm_disk *disk,
                       void (*each)(void *context, const char *path, const uint8_t *bytes, uint64_t size),
                       void *context);
/* A file's content, durable at once; made if it is not there. Another name of the same file keeps what it had. bytes
 * NULL: the file is removed, durably. */
int pm_disk_put(pm_disk *disk, const char *path, const void *data, uint64_t size);
/* A number that says everything a process could see. */
uint64_t pm_disk_digest(const pm_disk *disk);

#endif
