/* SPDX-License-Identifier: Apache-2.0 */
/* Where everything lies in the files of a segment. */
#include <stdio.h>
#include <string.h>

#include "storage/segment/segment_int.h"

const char *const pm_seg_file_names[PM_FILES] = {"vectors.arrow", "attributes.arrow", "ids.idx", "stats.json"};

bool pm_seg_path(char path[PM_SEG_PATH], const char *dir, const char *name)
{
    int n = snprintf(path, PM_SEG_PATH, "%s/%s", dir, name);
    return n > 0 && n < PM_SEG_PATH;
}

bool pm_seg_live_path(char path[PM_SEG_PATH], const char *dir, uint64_t generation)
{
    int n = snprintf(path, PM_SEG_PATH, "%s/live-%llu", dir, (unsigned long long)generation);
    return n > 0 && n < PM_SEG_PATH;
}

uint64_t pm_segment_seed(const uint8_t uuid[16])
{
    return pm_hash_bytes(uuid, 16, 0);
}

static void plan_ids(pm_seg_plan *plan, uint64_t rows)
{
    uint32_t bits = 0;
    while ((uint64_t)16 << bits < rows)
        bits++;
    plan->bits = bits;
    plan->bloom_blocks = (uint32_t)((rows * 10 + 511) / 512); /* rows is at least 1 */
    const uint64_t lengths[4] = {(uint64_t)plan->bloom_blocks * 64, 4 * (((uint64_t)1 << bits) + 1), 8 * rows,
                                 4 * rows};
    uint64_t at = PM_IDS_HEADER;
    for (uint32_t i = 0; i < 4; i++) {
        plan->buffer[PM_BUF_BLOOM + i] = (pm_segment_buffer){PM_FILE_IDS, 0, at, lengths[i]};
        at = pm_align_up(at + lengths[i], PM_SEGMENT_ALIGN);
    }
    plan->size[PM_FILE_IDS] = at;
}

pm_seg_shape pm_seg_shape_of(const pm_segment_header *h)
{
    return (pm_seg_shape){.rows = h->rows,
                          .dim = h->dim,
                          .dtype = h->dtype == 0 ? POMAI_DTYPE_FLOAT32 : (pomai_dtype)h->dtype,
                          .id_kind = h->id_kind,
                          .flags = h->flags,
                          .id_bytes = h->id_bytes,
                          .document_bytes = h->document_bytes,
                          .expiry_nulls = h->expiry_nulls,
                          .document_nulls = h->document_nulls};
}

void pm_seg_plan_make(pm_seg_plan *plan, const pm_seg_shape *shape)
{
    memset(plan, 0, sizeof *plan);
    pm_seg_plan_arrow(plan, shape, PM_FILE_VECTORS);
    if ((shape->flags & PM_SEGMENT_DOCUMENTS) != 0) pm_seg_plan_arrow(plan, shape, PM_FILE_ATTRIBUTES);
    plan_ids(plan, shape->rows);
}

/* The length of a well-formed sequence of more than one byte, 0 if it is none (The Unicode Standard, table 3-7). */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    const uint8_t first = p[0];
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > left) return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return size;
}

bool pm_seg_is_utf8(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    while (at < size) {
        uint64_t word;
        if (size - at >= 8 && (memcpy(&word, bytes + at, 8), (word & 0x8080808080808080u) == 0)) {
            at += 8;
        } else if (bytes[at] < 0x80) {
            at++;
        } else {
            size_t n = utf8_sequence(bytes + at, size - at);
            if (n == 0) return false;
            at += n;
        }
    }
    return true;
}
