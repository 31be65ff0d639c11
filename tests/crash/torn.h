/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the tail that a log has when its writer dies in the middle of a write. SIGKILL seldom leaves one, because the
 * kernel finishes short writes; a crash of the machine does. Bytes of a record that was never acknowledged are put
 * behind the last whole one of a shard's newest log file.
 */
#ifndef T_CRASH_TORN_H
#define T_CRASH_TORN_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/rng.h"
#include "../support/tmp.h"
#include "base/base.h"
#include "storage/format.h"

/* The newest log file of a shard; false if there is none. The oldest may be retired. */
static inline bool newest_log(const char *db, uint32_t shard, char path[T_PATH_MAX])
{
    char dir[T_PATH_MAX - 32];
    unsigned newest = 0, number;
    int size = snprintf(dir, sizeof dir, "%s/shards/1/%u/wal", db, shard), end;
    DIR *list = size > 0 && size < (int)sizeof dir ? opendir(dir) : NULL;
    if (list == NULL) return false;
    for (struct dirent *e; (e = readdir(list)) != NULL;) {
        end = 0;
        if (sscanf(e->d_name, "%10u.wal%n", &number, &end) == 1 && end == 14 && e->d_name[end] == '\0')
            newest = number > newest ? number : newest;
    }
    closedir(list);
    return newest > 0 && snprintf(path, T_PATH_MAX, "%s/%010u.wal", dir, newest) < T_PATH_MAX;
}

static inline bool record_is_whole(const uint8_t *at, uint64_t left, uint32_t seed)
{
    pm_rec_header header;
    if (left < sizeof header) return false;
    memcpy(&header, at, sizeof header);
    if (header.lsn == 0 || header.header_crc != pm_crc32c(seed, at + 4, sizeof header - 4)) return false;
    if (header.payload_len > left - sizeof header) return false;
    return header.payload_crc == pm_crc32c(seed, at + sizeof header, header.payload_len);
}

/* 1 if a tail was made; 0 if the log has one already, or no file. */
static inline uint32_t forge_torn_tail(const char *db, uint32_t shards, struct t_rng *rng)
{
    char path[T_PATH_MAX];
    if (!newest_log(db, (uint32_t)t_below(rng, shards), path)) return 0;
    size_t size;
    uint8_t *bytes = t_read_file(path, &size), tail[900];
    pm_wal_header file;
    uint64_t end = PM_WAL_HEADER, last = 0;
    uint32_t made = 0;
    if (size < sizeof file) goto out;
    memcpy(&file, bytes, sizeof file);
    uint32_t seed = pm_crc32c(0, &file.salt, sizeof file.salt);
    while (end < size && record_is_whole(bytes + end, size - end, seed)) {
        pm_rec_header header;
        memcpy(&header, bytes + end, sizeof header);
        last = end;
        end += sizeof header + header.payload_len;
    }
    for (uint64_t i = end; i < size; i++) {
        if (bytes[i] != 0) goto out;
    }
    size_t length = (size_t)t_range(rng, 1, sizeof tail);
    for (size_t i = 0; i < length; i++)
        tail[i] = (uint8_t)(1 + t_below(rng, 255));
    if (last != 0 && t_chance(rng, 60)) { /* a right header before a payload that is cut off */
        pm_rec_header header;
        memcpy(&header, bytes + last, sizeof header);
        header.lsn++;
        header.payload_crc ^= 0x5a5a5a5au;
        if (header.payload_len == 0) goto out;
        header.header_crc = pm_crc32c(seed, (const uint8_t *)&header + 4, sizeof header - 4);
        memcpy(tail, &header, sizeof header);
        if (length > sizeof header + header.payload_len) length = sizeof header + header.payload_len;
    }
    FILE *f = fopen(path, "r+b");
    if (f == NULL || fseek(f, (long)end, SEEK_SET) != 0 || fwrite(tail, 1, length, f) != length || fclose(f) != 0)
        t_die("write to", path);
    made = 1;
out:
    free(bytes);
    return made;
}

#endif
