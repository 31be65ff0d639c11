/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_STORAGE_WAL_INT_H
#define PM_STORAGE_WAL_INT_H

#include <stdio.h>

#include "storage/wal/wal.h"

#define PM_PATH_MAX 4096

enum { PM_CRC_FROM = 12 }; /* file headers, marks, manifests: the checksum covers everything from here */

/* false: the path is too long. */
static inline bool pm_wal_path(char *to, const pm_wal_place *place, uint64_t number, const char *suffix)
{
    int n = snprintf(to, PM_PATH_MAX, "%s/%010llu.wal%s", place->dir, (unsigned long long)number, suffix);
    return n > 0 && n < PM_PATH_MAX;
}

static inline bool pm_mark_path(char *to, const pm_wal_place *place, const char *suffix)
{
    int n = snprintf(to, PM_PATH_MAX, "%s/WATERMARK%s", place->dir, suffix);
    return n > 0 && n < PM_PATH_MAX;
}

#endif
