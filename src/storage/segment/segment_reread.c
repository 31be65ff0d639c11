/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a segment that is in use from the disk again, piece by piece: docs/lifecycle.md, "Scrub". */
#include "base/mutant.h"
#include "storage/segment/segment_int.h"

/* The mapping may have what the disk has not, or the reverse: neither counts as checked. */
static void doubt(pm_segment *s, uint32_t file, uint64_t block)
{
    pm_segment_file *f = &s->file[file];
    const uint64_t bit = (uint64_t)1 << (block & 63);
    if (f->data == NULL || PM_MUTANT(SCRUB_BELIEVED)) return; /* NULL: stats.json */
    if ((atomic_fetch_and(&f->checked[block >> 6], ~bit) & bit) != 0) atomic_fetch_add(&f->left, 1);
}

/* Whole blocks, as many as fit, at least one. */
static pomai_status reread_blocks(pm_segment *s, uint32_t file, uint64_t offset, uint64_t bytes, uint8_t *buffer,
                                  pomai_error *err)
{
    char path[PM_SEG_PATH];
    const pm_os *os = s->place.os;
    int fd;
    if (!pm_seg_path(path, s->dir, pm_seg_file_names[file]))
        return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    pomai_status status = pm_seg_open_sized(os, path, s->file[file].size, &fd, err);
    if (status != POMAI_OK) return status;
    os->file_forget(os, fd, offset, bytes); /* else it would be the page cache that is checked */
    int64_t got = os->file_read(os, fd, buffer, bytes, offset);
    os->file_close(os, fd);
    if (got < 0) status = pm_fail_os(err, (int)got, "cannot read %s", path);
    for (uint64_t done = 0; done < bytes; done += PM_SEGMENT_BLOCK) {
        const uint64_t block = (offset + done) / PM_SEGMENT_BLOCK, size = pm_min_u64(PM_SEGMENT_BLOCK, bytes - done);
        const bool there = got >= 0 && (uint64_t)got >= done + size;
        if (there && pm_crc32c(0, buffer + done, size) == s->file[file].crc[block]) continue;
        doubt(s, file, block);
        if (status == POMAI_OK) status = pm_seg_corrupt(s, file, offset + done, "the checksum is wrong", err);
    }
    return status;
}

static pomai_status reread_meta(const pm_segment *s, pomai_error *err)
{
    char path[PM_SEG_PATH];
    uint8_t *bytes = NULL;
    if (!pm_seg_path(path, s->dir, "SEGMENT")) return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    pomai_status status = pm_seg_load(s->place.os, path, s->entry.meta_len, &bytes, err);
    if (status == POMAI_OK && pm_crc32c(0, bytes, s->entry.meta_len) != s->entry.meta_crc)
        status = pm_fail(err, POMAI_ECORRUPT, "%s is damaged; restore it from a copy", path);
    pm_free(bytes);
    return status;
}

pomai_status pm_segment_reread(pm_segment *s, uint64_t offset, uint64_t bytes, uint64_t *read, bool *end,
                               pomai_error *err)
{
    uint64_t at = s->entry.meta_len;
    *end = false;
    *read = 0;
    if (offset < at) {
        *read = at - offset;
        return reread_meta(s, err);
    }
    for (uint32_t i = 0; i < PM_FILES; i++) {
        const uint64_t in_file = offset - at, left = s->file[i].size - pm_min_u64(s->file[i].size, in_file);
        at += s->file[i].size;
        if (left == 0) continue;
        *read = pm_min_u64(left, pm_max_u64(bytes / PM_SEGMENT_BLOCK, 1) * PM_SEGMENT_BLOCK);
        *end = offset + *read == s->entry.bytes;
        uint8_t *buffer = pm_malloc(*read);
        if (buffer == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to read %s again", s->dir);
        pomai_status status = reread_blocks(s, i, in_file, *read, buffer, err);
        pm_free(buffer);
        return status;
    }
    *end = true;
    return POMAI_OK;
}

pomai_status pm_segment_reread_live(const pm_segment *s, const pm_manifest_segment *entry, pomai_error *err)
{
    char path[PM_SEG_PATH];
    uint8_t *bytes = NULL;
    if (entry->live_generation == 0) return POMAI_OK;
    if (!pm_seg_live_path(path, s->dir, entry->live_generation))
        return pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long");
    pomai_status status = pm_seg_load(s->place.os, path, entry->live_len, &bytes, err);
    if (status == POMAI_OK && pm_crc32c(0, bytes, entry->live_len) != entry->live_crc)
        status = pm_fail(err, POMAI_ECORRUPT, "%s is damaged; restore it from a copy", path);
    pm_free(bytes);
    return status;
}
