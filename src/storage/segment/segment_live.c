/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of a segment have ended: in memory, and in live-<g>. */
#include <stdio.h>
#include <string.h>

#include "base/mutant.h"
#include "storage/segment/segment_int.h"

bool pm_segment_end(pm_segment *s, uint64_t row, uint64_t lsn)
{
    const uint64_t bit = (uint64_t)1 << (row & 63);
    if ((atomic_load(&s->ended[row >> 6]) & bit) != 0) return false;
    uint64_t none = 0;
    const bool first = atomic_compare_exchange_strong(&s->ends[row], &none, lsn);
    atomic_fetch_or(&s->ended[row >> 6], bit); /* also for who was first and did not come to it yet */
    if (first) atomic_fetch_add(&s->ended_count, 1);
    return first;
}

/* ---- reading live-<g> ---- */

static uint64_t live_length(uint64_t count)
{
    return sizeof(pm_live_header) + pm_align_up(4 * count, 8) + 8 * count;
}

static bool sound_live(const pm_segment *s, const uint8_t *bytes, const pm_live_header *h)
{
    const pm_segment_place *p = &s->place;
    if (memcmp(h->uuid, p->uuid, 16) != 0 || h->number != p->number || h->generation != s->entry.live_generation ||
        h->collection != p->collection || h->zero != 0 || h->count == 0 || h->count > s->rows ||
        live_length(h->count) != s->entry.live_len)
        return false;
    const uint32_t *rows = (const uint32_t *)(const void *)(bytes + sizeof *h);
    const uint64_t *ends = (const uint64_t *)(const void *)(bytes + sizeof *h + pm_align_up(4 * h->count, 8));
    for (uint64_t i = 0; i < h->count; i++)
        if (rows[i] >= s->rows || (i > 0 && rows[i] <= rows[i - 1]) || ends[i] == 0 || ends[i] == PM_NO_END)
            return false;
    return true;
}

static pomai_status take_live(pm_segment *s, const uint8_t *bytes, const char *path, pomai_error *err)
{
    pm_live_header h;
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.magic, PM_LIVE_MAGIC, 8) != 0 || pm_crc32c(0, bytes, s->entry.live_len) != s->entry.live_crc ||
        pm_crc32c(0, bytes + PM_SEG_CRC_FROM, s->entry.live_len - PM_SEG_CRC_FROM) != h.crc)
        return pm_fail(err, POMAI_ECORRUPT, "%s is damaged, or another segment's; restore it from a copy", path);
    if (h.format != PM_FORMAT)
        return pm_fail(err, POMAI_EFORMAT, "%s has format %u, this build reads %u; use a newer PomaiDB", path, h.format,
                       PM_FORMAT);
    if (!sound_live(s, bytes, &h))
        return pm_fail(err, POMAI_ECORRUPT, "%s contradicts its segment; restore it from a copy", path);
    const uint32_t *rows = (const uint32_t *)(const void *)(bytes + sizeof h);
    const uint64_t *ends = (const uint64_t *)(const void *)(bytes + sizeof h + pm_align_up(4 * h.count, 8));
    for (uint64_t i = 0; i < h.count; i++)
        (void)pm_segment_end(s, rows[i], ends[i]);
    return POMAI_OK;
}

pomai_status pm_seg_load_live(pm_segment *s, pomai_error *err)
{
    char path[PM_SEG_PATH];
    const pm_manifest_segment *e = &s->entry;
    if (e->live_generation == 0) return POMAI_OK;
    if (!pm_seg_live_path(path, s->dir, e->live_generation))
        return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    if (e->live_len < sizeof(pm_live_header) || e->live_len > live_length(s->rows))
        return pm_fail(err, POMAI_ECORRUPT, "%s has an impossible length in the catalogue", path);
    uint8_t *bytes;
    pomai_status status = pm_seg_load(s->place.os, path, e->live_len, &bytes, err);
    if (status == POMAI_OK) status = take_live(s, bytes, path, err);
    pm_free(bytes);
    return status;
}

uint64_t pm_segment_live_count(const pm_manifest_segment *entry)
{
    if (entry->live_generation == 0 || entry->live_len < sizeof(pm_live_header)) return 0;
    return (entry->live_len - sizeof(pm_live_header)) / 12; /* what is added for alignment is less than an entry */
}

/* ---- writing it ---- */

typedef struct list {
    uint32_t *rows;
    uint64_t *ends;
    uint64_t count, room;
} list;

static pomai_status list_add(list *l, uint32_t row, uint64_t end, pomai_error *err)
{
    if (l->count == l->room) {
        const uint64_t room = l->room == 0 ? 1024 : l->room * 2;
        uint32_t *rows = pm_realloc(l->rows, room * sizeof *rows);
        if (rows != NULL) l->rows = rows;
        uint64_t *ends = pm_realloc(l->ends, room * sizeof *ends);
        if (ends != NULL) l->ends = ends;
        if (rows == NULL || ends == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to write ended rows");
        l->room = room;
    }
    l->rows[l->count] = row;
    l->ends[l->count++] = end;
    return POMAI_OK;
}

static pomai_status collect(const pm_segment *s, const uint64_t *upto, list *l, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    for (uint64_t word = 0; word < (s->rows + 63) / 64; word++) {
        uint64_t bits = pm_segment_ended_word(s, word);
        while (bits != 0 && status == POMAI_OK) {
            const uint64_t row = 64 * word + (uint64_t)__builtin_ctzll(bits);
            bits &= bits - 1;
            status = pm_segment_check((pm_segment *)(uintptr_t)s, PM_SEG_SHARD, row, 1, err);
            if (status != POMAI_OK) return status;
            const uint64_t end = pm_segment_end_of(s, row);
            if (end <= upto[pm_segment_shard(s, row)] || PM_MUTANT(LIVE_UPTO_IGNORED))
                status = list_add(l, (uint32_t)row, end, err);
        }
    }
    return status;
}

static int write_parts(const pm_segment *s, const char *path, const pm_span *parts, size_t count)
{
    const pm_os *os = s->place.os;
    int fd = pm_file_make(os, path);
    if (fd < 0) return fd;
    int rc = os->file_write(os, fd, parts, count, 0);
    if (rc == 0 && !PM_MUTANT(LIVE_NOT_SYNCED)) rc = os->file_sync(os, fd);
    int closed = os->file_close(os, fd);
    if (rc == 0) rc = closed;
    if (rc == 0) rc = os->dir_sync(os, s->dir);
    if (rc != 0) (void)os->path_remove(os, path);
    return rc;
}

static pomai_status write_list(const pm_segment *s, uint64_t generation, const list *l, pm_manifest_segment *entry,
                               pomai_error *err)
{
    static const uint8_t zeros[8];
    char path[PM_SEG_PATH];
    if (!pm_seg_live_path(path, s->dir, generation))
        return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    pm_live_header h = {.format = PM_FORMAT, .number = s->place.number, .generation = generation, .count = l->count};
    memcpy(h.magic, PM_LIVE_MAGIC, 8);
    memcpy(h.uuid, s->place.uuid, 16);
    h.collection = s->place.collection;
    const pm_span parts[4] = {
        {&h, sizeof h}, {l->rows, 4 * l->count}, {zeros, 4 * l->count % 8}, {l->ends, 8 * l->count}};
    uint32_t crc = pm_crc32c(0, (const uint8_t *)&h + PM_SEG_CRC_FROM, sizeof h - PM_SEG_CRC_FROM);
    for (int i = 1; i < 4; i++)
        crc = pm_crc32c(crc, parts[i].data, parts[i].size);
    h.crc = crc;
    crc = 0;
    for (int i = 0; i < 4; i++)
        crc = pm_crc32c(crc, parts[i].data, parts[i].size);
    int rc = write_parts(s, path, parts, 4);
    if (rc != 0) return pm_fail_os(err, rc, "cannot write %s", path);
    entry->live_generation = generation;
    entry->live_len = live_length(l->count);
    entry->live_crc = crc;
    return POMAI_OK;
}

pomai_status pm_segment_write_live(const pm_segment *s, uint64_t generation, const uint64_t *upto,
                                   pm_manifest_segment *entry, pomai_error *err)
{
    list l = {0};
    pomai_status status = collect(s, upto, &l, err);
    if (status == POMAI_OK && l.count == 0) {
        entry->live_generation = entry->live_len = 0;
        entry->live_crc = 0;
    } else if (status == POMAI_OK) {
        status = write_list(s, generation, &l, entry, err);
    }
    pm_free(l.rows);
    pm_free(l.ends);
    return status;
}

/* ---- removing it ---- */

void pm_segment_remove_live(const pm_segment *s, uint64_t generation)
{
    char path[PM_SEG_PATH];
    if (pm_seg_live_path(path, s->dir, generation)) (void)s->place.os->path_remove(s->place.os, path);
}

static int remove_leftover(void *context, const char *name)
{
    const pm_segment *s = context;
    char keep[32], path[PM_SEG_PATH];
    const size_t size = strlen(name);
    snprintf(keep, sizeof keep, "live-%llu", (unsigned long long)s->entry.live_generation);
    const bool live = strncmp(name, "live-", 5) == 0 && strcmp(name, keep) != 0;
    const bool temp = size > 4 && strcmp(name + size - 4, ".tmp") == 0;
    const uint32_t kind = pm_derived_kind(name);
    const bool derived = kind != 0 && pm_segment_derived(s, kind) == NULL;
    if ((live || temp || derived) && pm_seg_path(path, s->dir, name)) (void)s->place.os->path_remove(s->place.os, path);
    return 0;
}

void pm_segment_remove_leftovers(const pm_segment *s)
{
    (void)s->place.os->dir_list(s->place.os, s->dir, remove_leftover, (void *)(uintptr_t)s);
}
