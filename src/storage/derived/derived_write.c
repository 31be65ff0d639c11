/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a derived file: a buffer for each section, since sections are written side by side. */
#include <assert.h>
#include <string.h>

#include "storage/derived/derived_int.h"

/* Written at once, at multiples of that: so a page cache that has large pages keeps each of these as one. */
enum { CHUNK = 2 << 20 };
#define SYNC_EVERY ((uint64_t)16 << 20)

struct pm_derived_out {
    pm_derived_of of;
    pm_derived_plan plan;
    int fd;
    uint8_t *meta; /* header, sections, checksums */
    uint8_t *buffer[PM_DERIVED_SECTIONS];
    uint64_t used[PM_DERIVED_SECTIONS], written[PM_DERIVED_SECTIONS];
    uint64_t unsynced;
    const void *pages;
    uint64_t mapped;
    char path[PM_DERIVED_PATH]; /* the temporary one */
};

static pomai_status no_memory(const pm_derived_of *of, pomai_error *err)
{
    return pm_fail(err, POMAI_ENOMEM, "no memory to write a derived file of %s", of->dir);
}

/* What is written of a section at once, from where it is: up to where a chunk of the file ends, or it does. */
static size_t room_of(const pm_derived_out *out, uint32_t i)
{
    const pm_derived_section *section = &out->plan.section[i];
    const uint64_t at = section->offset + out->written[i];
    return (size_t)pm_min_u64(CHUNK - at % CHUNK, section->length - out->written[i]);
}

pomai_status pm_derived_begin(const pm_derived_of *of, pm_derived_out **to, pomai_error *err)
{
    pm_derived_plan plan;
    *to = NULL;
    if (!pm_derived_plan_make(&plan, of))
        return pm_fail(err, POMAI_EINTERNAL, "no derived file of %s can have such sections", of->dir);
    pm_derived_out *out = pm_calloc(1, sizeof *out);
    if (out == NULL) return no_memory(of, err);
    out->of = *of;
    out->plan = plan;
    out->fd = -1;
    out->meta = pm_calloc(1, plan.header_length);
    bool good = out->meta != NULL;
    for (uint32_t i = 0; i < of->sections; i++)
        good &= (out->buffer[i] = pm_malloc(pm_min_u64(CHUNK, plan.section[i].length) + 1)) != NULL;
    pomai_status status = POMAI_OK;
    if (!good) status = no_memory(of, err);
    if (status == POMAI_OK && !pm_derived_path(out->path, of->dir, of->kind, true))
        status = pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long: %.200s", of->dir);
    if (status == POMAI_OK) {
        out->fd = pm_file_make(of->os, out->path);
        if (out->fd < 0) status = pm_fail_os(err, out->fd, "cannot make %s", out->path);
    }
    if (status == POMAI_OK)
        *to = out;
    else
        pm_derived_abandon(out);
    return status;
}

static pomai_status sync(pm_derived_out *out, pomai_error *err)
{
    out->unsynced = 0;
    int rc = out->of.os->file_sync(out->of.os, out->fd);
    return rc == 0 ? POMAI_OK : pm_fail_os(err, rc, "cannot sync %s", out->path);
}

static pomai_status write_at(pm_derived_out *out, const void *data, uint64_t size, uint64_t offset, pomai_error *err)
{
    const pm_span span = {data, size};
    int rc = size == 0 ? 0 : out->of.os->file_write(out->of.os, out->fd, &span, 1, offset);
    if (rc != 0) return pm_fail_os(err, rc, "cannot write %s", out->path);
    out->unsynced += size;
    /* One sync of everything at the end would hold up the log's for seconds. */
    return out->unsynced >= SYNC_EVERY ? sync(out, err) : POMAI_OK;
}

/* What comes next of a section, which begins at a block, and ends at one or with it. */
static pomai_status put(pm_derived_out *out, uint32_t i, const uint8_t *data, uint64_t size, pomai_error *err)
{
    uint32_t *crc = (uint32_t *)(void *)(out->meta + PM_DERIVED_HEADER + out->of.sections * sizeof(pm_derived_section));
    const uint64_t begin = out->written[i];
    for (uint64_t at = 0; at < size; at += PM_DERIVED_BLOCK)
        crc[out->plan.first[i] + (begin + at) / PM_DERIVED_BLOCK] =
            pm_crc32c(0, data + at, pm_min_u64(PM_DERIVED_BLOCK, size - at));
    out->used[i] = 0;
    out->written[i] += size;
    return write_at(out, data, size, out->plan.section[i].offset + begin, err);
}

pomai_status pm_derived_append(pm_derived_out *out, uint32_t i, const void *data, size_t bytes, pomai_error *err)
{
    const uint8_t *from = data;
    pomai_status status = POMAI_OK;
    if (i >= out->of.sections || bytes > out->plan.section[i].length - out->written[i] - out->used[i])
        return pm_fail(err, POMAI_EINTERNAL, "%s became longer than planned", out->path);
    while (bytes > 0 && status == POMAI_OK) {
        const size_t room = room_of(out, i), n = (size_t)pm_min_u64(bytes, room - out->used[i]);
        const bool whole = n == room;
        if (!whole) memcpy(out->buffer[i] + out->used[i], from, n);
        out->used[i] += n;
        if (out->used[i] == room) status = put(out, i, whole ? from : out->buffer[i], room, err);
        from += n;
        bytes -= n;
    }
    return status;
}

/* Nothing is left in the buffer of a section that is whole. */
static pomai_status expect_whole(const pm_derived_out *out, uint32_t sections, pomai_error *err)
{
    for (uint32_t i = 0; i < sections; i++)
        if (out->written[i] != out->plan.section[i].length)
            return pm_fail(err, POMAI_EINTERNAL, "%s became shorter than planned", out->path);
    return POMAI_OK;
}

/* Chunks that were written in pieces, as sections begin or end in them, are read again as one large page. */
static void forget_pieces(const pm_derived_out *out)
{
    const pm_os *os = out->of.os;
    uint64_t from = 0, to = CHUNK; /* the header is in the first */
    for (uint32_t i = 0; i < 2 * out->of.sections; i++) {
        const pm_derived_section *section = &out->plan.section[i / 2];
        const uint64_t at = section->offset + (i % 2 == 0 ? 0 : section->length), chunk = at / CHUNK * CHUNK;
        if (at % CHUNK == 0 || chunk + CHUNK == to) continue;
        if (chunk > to) {
            os->file_forget(os, out->fd, from, to - from);
            from = chunk;
        }
        to = chunk + CHUNK;
    }
    os->file_forget(os, out->fd, from, to - from);
}

pomai_status pm_derived_peek(pm_derived_out *out, uint32_t sections, const uint8_t **section, pomai_error *err)
{
    assert(out->pages == NULL && sections <= out->of.sections);
    for (uint32_t i = 0; i < sections; i++)
        if (out->plan.section[i].length > 0) out->mapped = out->plan.section[i].offset + out->plan.section[i].length;
    pomai_status status = expect_whole(out, sections, err);
    if (status == POMAI_OK) status = sync(out, err); /* what is mapped must not get lost on its way to the disk */
    if (status != POMAI_OK || out->mapped == 0) return status;
    int rc, fd = out->of.os->file_open(out->of.os, out->path, PM_OPEN_READ); /* the other is for writing only */
    if (fd < 0) return pm_fail_os(err, fd, "cannot open %s", out->path);
    rc = out->of.os->file_map(out->of.os, fd, out->mapped, &out->pages);
    (void)out->of.os->file_close(out->of.os, fd);
    if (rc != 0) return pm_fail_os(err, rc, "cannot map %s", out->path);
    for (uint32_t i = 0; i < sections; i++)
        section[i] =
            out->plan.section[i].length == 0 ? NULL : (const uint8_t *)out->pages + out->plan.section[i].offset;
    return POMAI_OK;
}

static pomai_status write_header(pm_derived_out *out, pomai_error *err)
{
    pm_derived_header h;
    pm_derived_header_make(&h, &out->of, &out->plan);
    memcpy(out->meta, &h, sizeof h);
    memcpy(out->meta + sizeof h, out->plan.section, out->of.sections * sizeof out->plan.section[0]);
    const uint32_t crc = pm_crc32c(0, out->meta + PM_DERIVED_CRC_FROM, out->plan.header_length - PM_DERIVED_CRC_FROM);
    memcpy(out->meta + 8, &crc, sizeof crc);
    return write_at(out, out->meta, out->plan.header_length, 0, err);
}

static void unmap(pm_derived_out *out)
{
    if (out->pages != NULL) out->of.os->file_unmap(out->of.os, out->pages, out->mapped);
    out->pages = NULL;
}

static void release(pm_derived_out *out)
{
    const pm_os *os = out->of.os;
    unmap(out);
    if (out->fd >= 0) (void)os->file_close(os, out->fd);
    for (uint32_t i = 0; i < PM_DERIVED_SECTIONS; i++)
        pm_free(out->buffer[i]);
    pm_free(out->meta);
    pm_free(out);
}

pomai_status pm_derived_end(pm_derived_out *out, pomai_error *err)
{
    const pm_os *os = out->of.os;
    char path[PM_DERIVED_PATH];
    pomai_status status = expect_whole(out, out->of.sections, err);
    if (status == POMAI_OK) status = write_header(out, err);
    if (status == POMAI_OK) status = sync(out, err);
    if (status == POMAI_OK && !pm_derived_path(path, out->of.dir, out->of.kind, false))
        status = pm_fail(err, POMAI_ETOOBIG, "the path of a segment is too long: %.200s", out->of.dir);
    int rc = status == POMAI_OK ? os->path_rename(os, out->path, path) : 0;
    if (rc != 0) status = pm_fail_os(err, rc, "cannot rename %s", out->path);
    if (status == POMAI_OK) {
        unmap(out);
        forget_pieces(out);
        release(out);
    } else
        pm_derived_abandon(out);
    return status;
}

void pm_derived_abandon(pm_derived_out *out)
{
    if (out == NULL) return;
    if (out->fd >= 0) (void)out->of.os->path_remove(out->of.os, out->path);
    release(out);
}
