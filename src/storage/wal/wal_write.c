/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making log files, sealing records, the WATERMARK. Invariants:
 *  1. A file appears under its name only when its header is durable and its predecessor is durable up to the stated
 * length.
 *  2. A file that existed before this open is never written to, except to cut off what lies behind its stated length.
 *  3. A failed write or sync is returned at once and never tried again.
 */
#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"
#include "storage/wal/wal_int.h"

void pm_rec_layout_init(pm_rec_layout *layout, uint64_t ids_len, uint64_t vectors_len, uint64_t expiry_len,
                        uint64_t documents_len)
{
    layout->ids_at = PM_REC_HEADER;
    layout->ids_len = ids_len;
    layout->vectors_at = layout->ids_at + pm_align_up(ids_len, PM_WAL_ALIGN);
    layout->vectors_len = vectors_len;
    layout->expiry_at = layout->vectors_at + pm_align_up(vectors_len, PM_WAL_ALIGN);
    layout->expiry_len = expiry_len;
    layout->documents_at = layout->expiry_at + pm_align_up(expiry_len, PM_WAL_ALIGN);
    layout->documents_len = documents_len;
    layout->total = layout->documents_at + pm_align_up(documents_len, PM_WAL_ALIGN);
    layout->payload_len = layout->total - PM_REC_HEADER;
}

uint32_t pm_wal_seed(uint64_t salt)
{
    if (PM_MUTANT(SALT_IS_CONSTANT)) salt = 0;
    return pm_crc32c(0, &salt, sizeof salt);
}

void pm_rec_seal(pm_rec_header *header, const pm_span *pieces, size_t count, uint32_t seed)
{
    uint32_t crc = seed;
    for (size_t i = 0; i < count; i++)
        crc = pm_crc32c(crc, pieces[i].data, pieces[i].size);
    header->payload_crc = crc;
    header->header_crc = pm_crc32c(seed, (const uint8_t *)header + 4, sizeof *header - 4);
}

uint64_t pm_rec_chain(uint64_t chain, const pm_rec_header *header)
{
    return pm_mix64(chain ^ ((uint64_t)header->payload_crc << 32 | header->header_crc));
}

static pomai_status write_new_file(const pm_wal_place *place, const char *path, const pm_wal_header *header,
                                   uint64_t capacity, int *out, pomai_error *err)
{
    const pm_os *os = place->os;
    int fd = pm_file_make(os, path);
    if (fd < 0) return pm_fail_os(err, fd, "cannot make the log file %s", path);
    pm_span span = {header, sizeof *header};
    int rc = os->file_allocate(os, fd, capacity);
    if (rc == -EOPNOTSUPP) rc = 0; /* then a full disk is met at commit, and is as final as any failed write */
    if (rc == 0) rc = os->file_write(os, fd, &span, 1, 0);
    if (rc == -ENOSPC && PM_MUTANT(ENOSPC_IGNORED)) rc = 0;
    if (rc == 0) PM_POINT(WAL_CREATE_WRITTEN);
    if (rc == 0 && !PM_MUTANT(LOG_HEADER_NOT_SYNCED)) rc = os->file_sync(os, fd);
    if (rc != 0) {
        if (!PM_MUTANT(FD_LEAKED)) os->file_close(os, fd);
        (void)os->path_remove(os, path);
        return pm_fail_os(err, rc,
                          "cannot write the log file %s of %llu bytes (free some space, then repeat the write)", path,
                          (unsigned long long)capacity);
    }
    PM_POINT(WAL_CREATE_SYNCED);
    *out = fd;
    return POMAI_OK;
}

pomai_status pm_wal_create(const pm_wal_place *place, uint64_t number, uint64_t capacity, uint64_t open_counter,
                           const pm_wal_end *pred, int *fd, uint32_t *seed, pomai_error *err)
{
    const pm_os *os = place->os;
    char temp[PM_PATH_MAX], path[PM_PATH_MAX];
    *fd = -1;
    if (!pm_wal_path(temp, place, number, ".tmp") || !pm_wal_path(path, place, number, ""))
        return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long: %.200s...", place->dir);
    PM_POINT(WAL_CREATE_BEGIN);
    pm_wal_header header = {.format = PM_FORMAT, .number = number, .open_counter = open_counter};
    memcpy(header.magic, PM_WAL_MAGIC, 8);
    memcpy(header.uuid, place->uuid, 16);
    header.epoch = place->epoch;
    header.shard = place->shard;
    header.pred_number = pred->number;
    header.pred_lsn = pred->lsn;
    header.pred_length = PM_MUTANT(PRED_LENGTH_WRONG) ? capacity : pred->length;
    header.pred_chain = pred->chain;
    header.pred_stamp = pred->stamp;
    int rc = os->random(os, &header.salt, sizeof header.salt);
    if (rc != 0) return pm_fail_os(err, rc, "no random bytes for the log file %s", path);
    header.crc = pm_crc32c(0, (const uint8_t *)&header + PM_CRC_FROM, sizeof header - PM_CRC_FROM);

    int made = -1;
    pomai_status status = write_new_file(place, temp, &header, capacity, &made, err);
    if (status != POMAI_OK) return status;
    rc = os->path_rename(os, temp, path);
    if (rc != 0) {
        os->file_close(os, made);
        (void)os->path_remove(os, temp);
        return pm_fail_os(err, rc, "cannot rename %s", temp);
    }
    PM_POINT(WAL_CREATE_RENAMED);
    if (!PM_MUTANT(LOG_NAME_NOT_SYNCED)) rc = os->dir_sync(os, place->dir);
    if (rc != 0) {
        os->file_close(os, made); /* the name may or may not last: the caller must treat the log as failed */
        return pm_fail(err, POMAI_EIO, "cannot sync the directory %s", place->dir);
    }
    PM_POINT(WAL_CREATE_DONE);
    *fd = made;
    *seed = pm_wal_seed(header.salt);
    return POMAI_OK;
}

void pm_wal_trim(const pm_wal_place *place, uint64_t number, uint64_t length)
{
    const pm_os *os = place->os;
    char path[PM_PATH_MAX];
    if (!pm_wal_path(path, place, number, "")) return;
    int fd = os->file_open(os, path, PM_OPEN_WRITE);
    if (fd < 0) return;
    (void)os->file_truncate(os, fd, length);
    (void)os->file_close(os, fd);
    PM_POINT(WAL_SEALED);
}

void pm_wal_retire(const pm_wal_place *place, uint64_t from, uint64_t below)
{
    char path[PM_PATH_MAX];
    for (uint64_t i = from; i < below; i++) {
        const uint64_t number = PM_MUTANT(RETIRE_NEWEST_FIRST) ? from + below - 1 - i : i;
        if (!pm_wal_path(path, place, number, "")) return;
        int rc = place->os->path_remove(place->os, path);
        if (rc != 0 && rc != -ENOENT) return;
        PM_POINT(WAL_RETIRED);
    }
}

pomai_status pm_wal_settle(const pm_wal_place *place, uint64_t number, const pm_span *unattested, uint64_t offset,
                           pomai_error *err)
{
    const pm_os *os = place->os;
    char path[PM_PATH_MAX];
    if (!pm_wal_path(path, place, number, "")) return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long");
    int fd = os->file_open(os, path, PM_OPEN_WRITE);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open the log file %s", path);
    const bool rewrite = unattested->size > 0 && !PM_MUTANT(RECOVERED_NOT_REWRITTEN);
    int rc = rewrite ? os->file_write(os, fd, unattested, 1, offset) : 0;
    if (rc == 0 && !PM_MUTANT(RECOVERED_NOT_SYNCED)) rc = os->file_sync(os, fd);
    os->file_close(os, fd);
    if (rc == 0 && !PM_MUTANT(RECOVERED_NAMES_NOT_SYNCED)) rc = os->dir_sync(os, place->dir);
    if (rc != 0) return pm_fail_os(err, rc, "cannot sync the log file %s", path);
    return POMAI_OK;
}

/* ---- WATERMARK ---- */

static void fill_slot(const pm_wal_place *place, uint64_t sequence, const pm_wal_end *durable, pm_mark_slot *slot)
{
    memset(slot, 0, sizeof *slot);
    memcpy(slot->magic, PM_MARK_MAGIC, 8);
    slot->format = PM_FORMAT;
    memcpy(slot->uuid, place->uuid, 16);
    slot->epoch = place->epoch;
    slot->shard = place->shard;
    slot->sequence = sequence;
    slot->number = durable->number;
    slot->durable_lsn = durable->lsn;
    slot->offset = durable->length;
    slot->chain = durable->chain;
    slot->crc = pm_crc32c(0, (const uint8_t *)slot + PM_CRC_FROM, sizeof *slot - PM_CRC_FROM);
}

pomai_status pm_mark_make(const pm_wal_place *place, pomai_error *err)
{
    const pm_os *os = place->os;
    char temp[PM_PATH_MAX], path[PM_PATH_MAX];
    if (!pm_mark_path(temp, place, ".tmp") || !pm_mark_path(path, place, ""))
        return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long: %.200s...", place->dir);
    pm_wal_end none = {0};
    pm_mark_slot slots[2];
    fill_slot(place, 0, &none, &slots[0]);
    fill_slot(place, 1, &none, &slots[1]);
    int fd = pm_file_make(os, temp);
    if (fd < 0) return pm_fail_os(err, fd, "cannot make %s", temp);
    pm_span span = {slots, sizeof slots};
    int rc = os->file_write(os, fd, &span, 1, 0);
    if (rc == 0) rc = os->file_sync(os, fd);
    int closed = os->file_close(os, fd);
    if (rc == 0) rc = closed;
    if (rc == 0) rc = os->path_rename(os, temp, path);
    if (rc == 0) rc = os->dir_sync(os, place->dir);
    if (rc != 0) return pm_fail_os(err, rc, "cannot write %s", path);
    return POMAI_OK;
}

pomai_status pm_mark_open(const pm_wal_place *place, uint64_t sequence, pm_mark *mark, pomai_error *err)
{
    char path[PM_PATH_MAX];
    mark->fd = -1;
    mark->sequence = sequence;
    if (!pm_mark_path(path, place, "")) return pm_fail(err, POMAI_ETOOBIG, "the path of the log is too long");
    int fd = place->os->file_open(place->os, path, PM_OPEN_WRITE);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open %s for writing", path);
    mark->fd = fd;
    return POMAI_OK;
}

pomai_status pm_mark_write(const pm_wal_place *place, pm_mark *mark, const pm_wal_end *durable, pomai_error *err)
{
    const pm_os *os = place->os;
    pm_mark_slot slot;
    mark->sequence++;
    fill_slot(place, mark->sequence, durable, &slot);
    pm_span span = {&slot, sizeof slot};
    const uint64_t other = PM_MUTANT(MARK_SAME_SLOT) ? 0 : mark->sequence & 1;
    int rc = os->file_write(os, mark->fd, &span, 1, other * PM_MARK_SLOT);
    if (rc == 0) PM_POINT(MARK_WRITTEN);
    if (rc == 0 && !PM_MUTANT(MARK_NOT_SYNCED)) rc = os->file_sync(os, mark->fd);
    /* Always EIO: its space is allocated, so even "disk full" here means that the log can no longer be trusted. */
    if (rc != 0) return pm_fail(err, POMAI_EIO, "cannot write %s/WATERMARK (errno %d)", place->dir, -rc);
    PM_POINT(MARK_SYNCED);
    return POMAI_OK;
}

void pm_mark_close(const pm_wal_place *place, pm_mark *mark)
{
    if (mark->fd >= 0) (void)place->os->file_close(place->os, mark->fd);
    mark->fd = -1;
}
