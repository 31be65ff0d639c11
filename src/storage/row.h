/* SPDX-License-Identifier: Apache-2.0 */
/* What memtables and segments say of a row in the same words. */
#ifndef PM_STORAGE_ROW_H
#define PM_STORAGE_ROW_H

#include "base/base.h"
#include "base/dtype.h"

/* The end of a version that has none. A reader at LSN v sees begin <= v < end. */
#define PM_NO_END UINT64_MAX
/* Of a row that had expired and was left behind when the others moved: as good as none, and never replaced. */
#define PM_END_DROPPED (UINT64_MAX - 1)

/* Begins pm_chunk and pm_segment, so that a search can keep rows of both. */
typedef enum pm_rows_kind { PM_ROWS_CHUNK = 1, PM_ROWS_SEGMENT = 2 } pm_rows_kind;

/* An id of either kind: bytes == NULL is u64. */
typedef struct pm_id {
    uint64_t u64;
    const uint8_t *bytes;
    uint32_t size;
} pm_id;

static inline uint64_t pm_id_hash(const pm_id *id, uint64_t seed)
{
    if (id->bytes != NULL) return pm_hash_bytes(id->bytes, id->size, seed);
    return pm_mix64(id->u64 ^ seed);
}

#endif
