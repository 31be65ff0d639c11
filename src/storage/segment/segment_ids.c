/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ids.idx: keys go straight to their bucket of the directory, in two passes over the rows (count, place), and the few
 * of a bucket are then sorted. 12 bytes a row, beside the filter and the directory.
 */
#include <string.h>

#include "base/mutant.h"
#include "storage/segment/segment_int.h"

struct pm_seg_ids {
    uint64_t *key;
    uint64_t *bloom;
    uint32_t *directory;
    uint32_t *row;
};

static bool before(const pm_seg_ids *ids, uint64_t a, uint64_t b)
{
    return ids->key[a] != ids->key[b] ? ids->key[a] < ids->key[b] : ids->row[a] < ids->row[b];
}

static void swap(pm_seg_ids *ids, uint64_t a, uint64_t b)
{
    uint64_t key = ids->key[a];
    uint32_t row = ids->row[a];
    ids->key[a] = ids->key[b];
    ids->row[a] = ids->row[b];
    ids->key[b] = key;
    ids->row[b] = row;
}

static void sift(pm_seg_ids *ids, uint64_t first, uint64_t at, uint64_t count)
{
    for (;;) {
        uint64_t child = 2 * at + 1;
        if (child >= count) return;
        if (child + 1 < count && before(ids, first + child, first + child + 1)) child++;
        if (!before(ids, first + at, first + child)) return;
        swap(ids, first + at, first + child);
        at = child;
    }
}

/* A bucket has about 16 keys, unless an id has very many versions. */
static void sort_bucket(pm_seg_ids *ids, uint64_t first, uint64_t end)
{
    const uint64_t count = end - first;
    if (count > 64) {
        for (uint64_t i = count / 2; i-- > 0;)
            sift(ids, first, i, count);
        for (uint64_t n = count; n-- > 1;) {
            swap(ids, first, first + n);
            sift(ids, first, 0, n);
        }
        return;
    }
    for (uint64_t i = first + 1; i < end; i++)
        for (uint64_t j = i; j > first && before(ids, j, j - 1); j--)
            swap(ids, j, j - 1);
}

static void add_to_bloom(uint64_t *bloom, uint32_t lines, uint64_t hash)
{
    uint64_t *line = bloom + 8 * pm_seg_bloom_line(hash, lines), h = pm_mix64(hash);
    if (PM_MUTANT(BLOOM_FORGETS) && hash % 64 == 0) return;
    for (unsigned i = 0; i < PM_SEG_PROBES; i++, h >>= 9)
        line[(h >> 6) & 7] |= (uint64_t)1 << (h & 63);
}

/* One pass: counts keys in directory[bucket + 1], or places them at directory[bucket]++. */
static pomai_status pass(const pm_segment_write *in, const pm_seg_plan *plan, pm_seg_ids *ids, bool place,
                         pomai_error *err)
{
    const uint64_t seed = pm_segment_seed(in->place->uuid);
    for (uint64_t i = 0; i < in->rows; i++) {
        pm_segment_row row;
        pomai_status status = in->row(in->context, i, PM_SEG_ID, &row, err);
        if (status != POMAI_OK) return status;
        const uint64_t hash = pm_id_hash(&row.id, seed), bucket = pm_seg_bucket(hash, plan->bits);
        if (!place) {
            ids->directory[bucket + 1]++;
            continue;
        }
        const uint32_t at = ids->directory[bucket]++;
        if (at >= in->rows) return pm_fail(err, POMAI_EINTERNAL, "the rows changed while a segment was written");
        ids->key[at] = hash;
        ids->row[at] = (uint32_t)i;
        add_to_bloom(ids->bloom, plan->bloom_blocks, hash);
    }
    return POMAI_OK;
}

pomai_status pm_seg_ids_make(const pm_segment_write *in, const pm_seg_plan *plan, pm_seg_ids **out, pomai_error *err)
{
    const uint64_t buckets = (uint64_t)1 << plan->bits;
    const uint64_t bloom_bytes = (uint64_t)plan->bloom_blocks * 64;
    pm_seg_ids *ids = pm_calloc(1, sizeof *ids + bloom_bytes + in->rows * 12 + (buckets + 1) * 4);
    if (ids == NULL)
        return pm_fail(err, POMAI_ENOMEM, "no memory to sort the ids of %llu rows", (unsigned long long)in->rows);
    ids->bloom = (uint64_t *)(void *)(ids + 1);
    ids->key = ids->bloom + bloom_bytes / 8;
    ids->row = (uint32_t *)(void *)(ids->key + in->rows);
    ids->directory = ids->row + in->rows;
    pomai_status status = pass(in, plan, ids, false, err);
    for (uint64_t b = 0; b < buckets; b++)
        ids->directory[b + 1] += ids->directory[b];
    if (status == POMAI_OK) status = pass(in, plan, ids, true, err);
    if (status != POMAI_OK) {
        pm_free(ids);
        return status;
    }
    /* Placing moved every beginning to the next one's. */
    memmove(ids->directory + 1, ids->directory, buckets * sizeof *ids->directory);
    ids->directory[0] = 0;
    for (uint64_t b = 0; b < buckets; b++)
        sort_bucket(ids, ids->directory[b], ids->directory[b + 1]);
    *out = ids;
    return POMAI_OK;
}

pomai_status pm_seg_ids_write(const pm_seg_ids *ids, const pm_segment_write *in, const pm_seg_plan *plan,
                              pm_seg_out *out)
{
    pm_ids_header h = {.format = PM_FORMAT, .number = in->place->number, .rows = in->rows};
    memcpy(h.magic, PM_IDS_MAGIC, 8);
    memcpy(h.uuid, in->place->uuid, 16);
    h.collection = in->place->collection;
    h.bloom_blocks = plan->bloom_blocks;
    h.probes = PM_SEG_PROBES;
    h.bits = plan->bits;
    h.crc = pm_crc32c(0, (const uint8_t *)&h + PM_SEG_CRC_FROM, sizeof h - PM_SEG_CRC_FROM);
    pomai_status status = pm_seg_out_put(out, &h, sizeof h);
    const void *const parts[4] = {ids->bloom, ids->directory, ids->key, ids->row};
    for (uint32_t i = 0; i < 4 && status == POMAI_OK; i++) {
        const pm_segment_buffer *buffer = &plan->buffer[PM_BUF_BLOOM + i];
        status = pm_seg_out_pad(out, buffer->offset);
        if (status == POMAI_OK) status = pm_seg_out_put(out, parts[i], buffer->length);
    }
    return status == POMAI_OK ? pm_seg_out_pad(out, plan->size[PM_FILE_IDS]) : status;
}
