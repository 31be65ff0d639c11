/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a derived file. Of the header only the variant, or the lengths of the sections, are used before its checksum
 * is right: the file must be as long as follows from them, and its header say all that follows; nothing is mapped that
 * the file does not have, and no memory taken for more than it can be.
 */
#include <errno.h>
#include <string.h>

#include "base/mutant.h"
#include "storage/derived/derived_int.h"

static pomai_status useless(const char *path, const char *what, pomai_error *err)
{
    return pm_fail(err, POMAI_ECORRUPT, "%s %s; it is built again", path, what);
}

static bool header_good(const pm_derived_of *of, const pm_derived_plan *plan, const uint8_t *meta)
{
    pm_derived_header wanted, has;
    uint32_t crc;
    pm_derived_header_make(&wanted, of, plan);
    memcpy(&has, meta, sizeof has);
    memcpy(&crc, meta + 8, sizeof crc);
    wanted.crc = crc;
    if (PM_MUTANT(DERIVED_OF_ANY_SEGMENT)) {
        wanted.segment_crc = has.segment_crc;
        wanted.number = has.number;
    }
    return memcmp(&wanted, &has, sizeof has) == 0 &&
           memcmp(meta + sizeof has, plan->section, of->sections * sizeof plan->section[0]) == 0 &&
           pm_crc32c(0, meta + PM_DERIVED_CRC_FROM, plan->header_length - PM_DERIVED_CRC_FROM) == crc;
}

/* What the file would be if it were what its variant says. */
static pomai_status plan_of_file(pm_derived_of *of, int fd, const char *path, pm_derived_plan *plan, pomai_error *err)
{
    struct {
        pm_derived_header header;
        pm_derived_section section[PM_DERIVED_SECTIONS];
    } has;
    const size_t wanted = sizeof has.header + of->sections * sizeof has.section[0];
    const int64_t got = of->os->file_read(of->os, fd, &has, wanted, 0);
    uint64_t size = 0;
    if (got < 0) return pm_fail_os(err, (int)got, "cannot read %s", path);
    if ((uint64_t)got != wanted) return useless(path, "is cut short", err);
    of->variant = PM_MUTANT(GRAPH_VARIANT_IGNORED) ? 0 : has.header.variant;
    for (uint32_t i = 0; i < of->sections && of->lengths == NULL; i++)
        of->length[i] = has.section[i].length;
    if (!pm_derived_plan_make(plan, of)) return useless(path, "is of a variant that there is not", err);
    const int rc = of->os->file_size(of->os, fd, &size);
    if (rc != 0) return pm_fail_os(err, rc, "cannot read the size of %s", path);
    if (size != plan->length) return useless(path, "has another length than it should", err);
    return POMAI_OK;
}

static pomai_status read_meta(pm_derived *d, const pm_derived_of *of, const pm_derived_plan *plan, int fd,
                              pomai_error *err)
{
    uint8_t *meta = pm_malloc(plan->header_length);
    if (meta == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to read %s", d->path);
    pomai_status status = POMAI_OK;
    int64_t got = of->os->file_read(of->os, fd, meta, plan->header_length, 0);
    if (got < 0)
        status = pm_fail_os(err, (int)got, "cannot read %s", d->path);
    else if ((uint64_t)got != plan->header_length)
        status = pm_fail(err, POMAI_EIO, "%s ended early", d->path);
    else if (!header_good(of, plan, meta))
        status = useless(d->path, "is damaged, or another segment's, or of another version", err);
    if (status == POMAI_OK) {
        memcpy(&d->header, meta, sizeof d->header);
        memcpy(d->crc, meta + sizeof d->header + of->sections * sizeof plan->section[0], 4 * d->header.blocks);
    }
    pm_free(meta);
    return status;
}

static pm_derived *make(const pm_derived_of *of, const pm_derived_plan *plan, const char *path)
{
    const uint64_t blocks = plan->first[PM_DERIVED_SECTIONS];
    const size_t name = strlen(path) + 1;
    pm_derived *d = pm_calloc(1, sizeof *d + name);
    if (d == NULL) return NULL;
    d->os = of->os;
    d->path = (char *)(d + 1);
    memcpy(d->path, path, name);
    d->crc = pm_malloc(4 * blocks);
    d->checked = pm_malloc((blocks + 63) / 64 * sizeof *d->checked);
    for (uint64_t i = 0; d->checked != NULL && i < (blocks + 63) / 64; i++)
        atomic_init(&d->checked[i], 0);
    atomic_init(&d->left, blocks);
    atomic_init(&d->state, PM_DERIVED_UNKNOWN);
    if (d->crc != NULL && d->checked != NULL) return d;
    pm_derived_free(d);
    return NULL;
}

pomai_status pm_derived_open(const pm_derived_of *wanted, pm_derived **out, pomai_error *err)
{
    pm_derived_of of = *wanted;
    pm_derived_plan plan;
    pm_derived *d = NULL;
    char path[PM_DERIVED_PATH];
    *out = NULL;
    if (!pm_derived_path(path, of.dir, of.kind, false))
        return pm_fail(err, POMAI_EINTERNAL, "there can be no derived file of %s", of.dir);
    int fd = of.os->file_open(of.os, path, PM_OPEN_READ);
    if (fd == -ENOENT) return pm_fail(err, POMAI_ENOTFOUND, "%s is not there; it is built again", path);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open %s", path);
    pomai_status status = plan_of_file(&of, fd, path, &plan, err);
    if (status == POMAI_OK && (d = make(&of, &plan, path)) == NULL)
        status = pm_fail(err, POMAI_ENOMEM, "no memory to open %s", path);
    if (status == POMAI_OK) status = read_meta(d, &of, &plan, fd, err);
    if (status == POMAI_OK) {
        int rc = of.os->file_map(of.os, fd, plan.length, &d->pages);
        if (rc != 0)
            status = pm_fail_os(err, rc, "cannot map %s", path);
        else
            of.os->file_scatter(of.os, d->pages, plan.length);
    }
    (void)of.os->file_close(of.os, fd);
    if (status != POMAI_OK) {
        pm_derived_free(d);
        return status;
    }
    for (uint32_t i = 0; i < of.sections; i++) {
        d->length[i] = plan.section[i].length;
        d->section[i] = d->length[i] == 0 ? NULL : (const uint8_t *)d->pages + plan.section[i].offset;
    }
    *out = d;
    return POMAI_OK;
}

void pm_derived_free(pm_derived *d)
{
    if (d == NULL) return;
    if (d->pages != NULL) d->os->file_unmap(d->os, d->pages, d->header.length);
    pm_free(d->crc);
    pm_free(d->checked);
    pm_free(d);
}

/* ---- blocks ---- */

/* Where a block is in its section, and how long. */
static uint64_t find_block(const pm_derived *d, uint64_t block, uint32_t *section, uint64_t *size)
{
    for (uint32_t i = 0;; i++) {
        const uint64_t blocks = (d->length[i] + PM_DERIVED_BLOCK - 1) / PM_DERIVED_BLOCK;
        if (block >= blocks) {
            block -= blocks;
            continue;
        }
        *section = i;
        *size = pm_min_u64(PM_DERIVED_BLOCK, d->length[i] - block * PM_DERIVED_BLOCK);
        return block * PM_DERIVED_BLOCK;
    }
}

static pomai_status damaged(const pm_derived *d, uint32_t section, uint64_t offset, pomai_error *err)
{
    return pm_fail(err, POMAI_ECORRUPT, "%s, block at offset %llu: the checksum is wrong; it is built again", d->path,
                   (unsigned long long)((uint64_t)(d->section[section] - (const uint8_t *)d->pages) + offset));
}

pomai_status pm_derived_check(pm_derived *d, uint64_t from, uint64_t most, uint64_t *left, pomai_error *err)
{
    const uint64_t blocks = d->header.blocks;
    *left = atomic_load_explicit(&d->left, memory_order_acquire);
    for (uint64_t i = 0; i < blocks && most > 0 && *left > 0; i++) {
        const uint64_t block = (from + i) % blocks, bit = (uint64_t)1 << (block & 63);
        if ((atomic_load_explicit(&d->checked[block >> 6], memory_order_acquire) & bit) != 0) continue;
        uint32_t section;
        uint64_t size;
        const uint64_t at = find_block(d, block, &section, &size);
        if (!PM_MUTANT(DERIVED_CRC_SKIPPED) && pm_crc32c(0, d->section[section] + at, size) != d->crc[block])
            return damaged(d, section, at, err);
        if ((atomic_fetch_or_explicit(&d->checked[block >> 6], bit, memory_order_acq_rel) & bit) == 0)
            atomic_fetch_sub_explicit(&d->left, 1, memory_order_acq_rel);
        *left = atomic_load_explicit(&d->left, memory_order_acquire);
        most--;
    }
    return POMAI_OK;
}

static pomai_status reread_block(const pm_derived *d, int fd, uint64_t block, uint8_t *buffer, pomai_error *err)
{
    uint32_t section;
    uint64_t size;
    const uint64_t at = find_block(d, block, &section, &size);
    const uint64_t offset = (uint64_t)(d->section[section] - (const uint8_t *)d->pages) + at;
    int64_t got = d->os->file_read(d->os, fd, buffer, size, offset);
    if (got < 0) return pm_fail_os(err, (int)got, "cannot read %s", d->path);
    if ((uint64_t)got != size || pm_crc32c(0, buffer, size) != d->crc[block]) return damaged(d, section, at, err);
    return POMAI_OK;
}

pomai_status pm_derived_reread(const pm_derived *d, pomai_error *err)
{
    int fd = d->os->file_open(d->os, d->path, PM_OPEN_READ);
    if (fd < 0) return pm_fail_os(err, fd, "cannot open %s", d->path);
    uint8_t *buffer = pm_malloc(PM_DERIVED_BLOCK);
    pomai_status status = buffer == NULL ? pm_fail(err, POMAI_ENOMEM, "no memory to read %s", d->path) : POMAI_OK;
    for (uint64_t block = 0; block < d->header.blocks && status == POMAI_OK; block++)
        status = reread_block(d, fd, block, buffer, err);
    pm_free(buffer);
    (void)d->os->file_close(d->os, fd);
    return status;
}
