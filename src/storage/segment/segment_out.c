/* SPDX-License-Identifier: Apache-2.0 */
/* A file of a segment as it is written: through a buffer of whole blocks, summed, synced little by little. */
#include <string.h>

#include "base/mutant.h"
#include "storage/segment/segment_int.h"

/* A write of 2 MB at a multiple of that is kept in the page cache as one large page by file systems that have them
 * (ext4 since Linux 6.16), and mapped as one: rows that lie anywhere are found without a walk through tables of pages.
 */
enum { BUFFER = 2 << 20, PACE = 4 << 20, SYNC = 16 << 20 };
_Static_assert(BUFFER % PM_SEGMENT_BLOCK == 0, "a buffer is of whole blocks");

static const pm_os *os_of(const pm_seg_out *out)
{
    return out->in->place->os;
}

pomai_status pm_seg_out_begin(pm_seg_out *out, const char *name, uint32_t *crc, uint64_t blocks)
{
    out->used = out->offset = out->synced = out->paced = out->block = 0;
    out->fd = -1;
    out->crc = crc;
    out->blocks = blocks;
    if (!pm_seg_path(out->path, out->in->place->dir, name))
        return pm_fail(out->err, POMAI_ETOOBIG, "the path of a segment is too long: %.200s", out->in->place->dir);
    if (out->buffer == NULL && (out->buffer = pm_malloc(BUFFER)) == NULL)
        return pm_fail(out->err, POMAI_ENOMEM, "no memory to write %s", out->path);
    out->fd = pm_file_make(os_of(out), out->path);
    return out->fd < 0 ? pm_fail_os(out->err, out->fd, "cannot make %s", out->path) : POMAI_OK;
}

static pomai_status sync(pm_seg_out *out)
{
    out->synced = out->offset;
    int rc = PM_MUTANT(SEGMENT_NOT_SYNCED) ? 0 : os_of(out)->file_sync(os_of(out), out->fd);
    return rc != 0 ? pm_fail_os(out->err, rc, "cannot sync %s", out->path) : POMAI_OK;
}

static pomai_status pace(pm_seg_out *out)
{
    const uint64_t bytes = out->offset - out->paced;
    out->paced = out->offset;
    return out->in->pace == NULL ? POMAI_OK : out->in->pace(out->in->context, bytes, out->err);
}

static pomai_status flush(pm_seg_out *out)
{
    for (uint64_t at = 0; at < out->used; at += PM_SEGMENT_BLOCK) {
        if (out->block == out->blocks)
            return pm_fail(out->err, POMAI_EINTERNAL, "%s became longer than planned", out->path);
        out->crc[out->block++] = pm_crc32c(0, out->buffer + at, pm_min_u64(PM_SEGMENT_BLOCK, out->used - at));
    }
    pm_span span = {out->buffer, out->used};
    int rc = out->used == 0 ? 0 : os_of(out)->file_write(os_of(out), out->fd, &span, 1, out->offset);
    if (rc != 0) return pm_fail_os(out->err, rc, "cannot write %s", out->path);
    out->offset += out->used;
    out->used = 0;
    /* One sync of everything at the end would hold up the log's for seconds. */
    pomai_status status = out->offset - out->synced >= SYNC ? sync(out) : POMAI_OK;
    if (status == POMAI_OK && out->offset - out->paced >= PACE) status = pace(out);
    return status;
}

pomai_status pm_seg_out_put(pm_seg_out *out, const void *bytes, uint64_t size)
{
    const uint8_t *from = bytes;
    while (size > 0) {
        const uint64_t n = pm_min_u64(size, BUFFER - out->used);
        memcpy(out->buffer + out->used, from, n);
        out->used += n;
        from += n;
        size -= n;
        if (out->used < BUFFER) break;
        pomai_status status = flush(out);
        if (status != POMAI_OK) return status;
    }
    return POMAI_OK;
}

pomai_status pm_seg_out_pad(pm_seg_out *out, uint64_t to)
{
    static const uint8_t zeros[PM_SEGMENT_ALIGN];
    const uint64_t at = out->offset + out->used;
    if (to < at || to - at > sizeof zeros)
        return pm_fail(out->err, POMAI_EINTERNAL, "the rows changed while %s was written", out->path);
    return pm_seg_out_put(out, zeros, to - at);
}

pomai_status pm_seg_out_end(pm_seg_out *out, pomai_status status)
{
    if (status == POMAI_OK) status = flush(out);
    if (status == POMAI_OK && out->block != out->blocks)
        status = pm_fail(out->err, POMAI_EINTERNAL, "%s became shorter than planned", out->path);
    if (status == POMAI_OK) status = sync(out);
    if (status == POMAI_OK) status = pace(out);
    if (out->fd >= 0) {
        int rc = os_of(out)->file_close(os_of(out), out->fd);
        if (status == POMAI_OK && rc != 0) status = pm_fail_os(out->err, rc, "cannot close %s", out->path);
    }
    return status;
}
