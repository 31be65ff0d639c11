/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_STORAGE_SEGMENT_INT_H
#define PM_STORAGE_SEGMENT_INT_H

#include "storage/segment/segment.h"

enum { PM_SEG_PATH = 4096, PM_SEG_CRC_FROM = 12, PM_SEG_PROBES = 6, PM_SEG_META_MOST = 1 << 30 };
enum { PM_SEG_MOST_TEXT = 0x7fffffff }; /* bytes of ids, or of documents: offsets have 32 bits */

/* ---- the plan: where everything lies, which follows from a few numbers ---- */

typedef struct pm_seg_shape {
    uint64_t rows;
    uint32_t dim;
    pomai_dtype dtype;
    uint32_t id_kind;
    uint32_t flags;
    uint64_t id_bytes, document_bytes;
    uint64_t expiry_nulls, document_nulls;
} pm_seg_shape;

enum { PM_SEG_META = 4096 };

/* What surrounds the buffers of an Arrow file. */
typedef struct pm_seg_frame {
    uint8_t head[PM_SEG_META];
    uint8_t tail[PM_SEG_META];
    uint32_t head_size, tail_size;
} pm_seg_frame;

typedef struct pm_seg_plan {
    uint64_t size[PM_FILES]; /* of stats.json: 0 */
    pm_segment_buffer buffer[PM_BUFFERS];
    pm_seg_frame frame[2]; /* vectors.arrow, attributes.arrow */
    uint32_t bloom_blocks, bits;
} pm_seg_plan;

void pm_seg_plan_make(pm_seg_plan *plan, const pm_seg_shape *shape);
/* What a sound header says. */
pm_seg_shape pm_seg_shape_of(const pm_segment_header *header);
/* segment_arrow.c */
void pm_seg_plan_arrow(pm_seg_plan *plan, const pm_seg_shape *shape, uint32_t file);

extern const char *const pm_seg_file_names[PM_FILES];

/* The field of the header: 0 is float32, as in segments of before there were others. */
static inline uint32_t pm_seg_dtype_field(pomai_dtype dtype)
{
    return dtype == POMAI_DTYPE_FLOAT32 ? 0 : (uint32_t)dtype;
}

static inline uint64_t pm_seg_blocks(uint64_t size)
{
    return (size + PM_SEGMENT_BLOCK - 1) / PM_SEGMENT_BLOCK;
}

/* 0 where the path is too long. */
bool pm_seg_path(char path[PM_SEG_PATH], const char *dir, const char *name);
bool pm_seg_live_path(char path[PM_SEG_PATH], const char *dir, uint64_t generation);
bool pm_seg_is_utf8(const uint8_t *bytes, size_t size);

/* ---- the bloom filter: docs/format/segment.md ---- */

static inline uint64_t pm_seg_bloom_line(uint64_t hash, uint32_t lines)
{
    return ((hash >> 32) * lines) >> 32;
}

static inline bool pm_seg_bloom_has(const uint64_t *line, uint64_t hash)
{
    uint64_t h = pm_mix64(hash), missing = 0;
    for (unsigned i = 0; i < PM_SEG_PROBES; i++, h >>= 9)
        missing |= ~line[(h >> 6) & 7] >> (h & 63) & 1;
    return missing == 0;
}

/* The bucket of the directory. */
static inline uint64_t pm_seg_bucket(uint64_t hash, uint32_t bits)
{
    return bits == 0 ? 0 : hash >> (64 - bits);
}

/* ---- writing ---- */

/* A file being written: blocks are summed as they leave the buffer. */
typedef struct pm_seg_out {
    const pm_segment_write *in;
    pomai_error *err;
    int fd;
    char path[PM_SEG_PATH];
    uint8_t *buffer;
    uint64_t used, offset, synced, paced;
    uint32_t *crc; /* of the blocks */
    uint64_t block, blocks;
} pm_seg_out;

pomai_status pm_seg_out_begin(pm_seg_out *out, const char *name, uint32_t *crc, uint64_t blocks);
pomai_status pm_seg_out_put(pm_seg_out *out, const void *bytes, uint64_t size);
/* Zeros up to this offset, which must not lie behind. */
pomai_status pm_seg_out_pad(pm_seg_out *out, uint64_t to);
/* Syncs and closes; a failure before is passed on. */
pomai_status pm_seg_out_end(pm_seg_out *out, pomai_status status);

typedef struct pm_seg_ids pm_seg_ids;
/* The arrays of ids.idx, from a pass over the rows; freed with pm_free. */
pomai_status pm_seg_ids_make(const pm_segment_write *in, const pm_seg_plan *plan, pm_seg_ids **out, pomai_error *err);
pomai_status pm_seg_ids_write(const pm_seg_ids *ids, const pm_segment_write *in, const pm_seg_plan *plan,
                              pm_seg_out *out);

/* ---- reading ---- */

/* A whole file of a known size into memory that the caller frees. */
pomai_status pm_seg_load(const pm_os *os, const char *path, uint64_t size, uint8_t **bytes, pomai_error *err);
/* Opens a file that must have this size; the descriptor. */
pomai_status pm_seg_open_sized(const pm_os *os, const char *path, uint64_t size, int *fd, pomai_error *err);
pomai_status pm_seg_load_live(pm_segment *segment, pomai_error *err);
/* Checks bytes of a file. */
pomai_status pm_seg_check_bytes(const pm_segment *segment, uint32_t file, uint64_t offset, uint64_t size,
                                pomai_error *err);
pomai_status pm_seg_corrupt(const pm_segment *segment, uint32_t file, uint64_t offset, const char *what,
                            pomai_error *err);

#endif
