/* SPDX-License-Identifier: Apache-2.0 */
/* Names, offsets and the header of a derived file, for those who write and those who read. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "storage/derived/derived_int.h"

static const char *const names[PM_DERIVED_KINDS] = {NULL, "codes", "graph", "columns"};

const char *pm_derived_name(uint32_t kind)
{
    assert(kind > 0 && kind < PM_DERIVED_KINDS);
    return names[kind];
}

uint32_t pm_derived_kind(const char *name)
{
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++)
        if (strcmp(name, names[kind]) == 0) return kind;
    return 0;
}

bool pm_derived_path(char path[PM_DERIVED_PATH], const char *dir, uint32_t kind, bool temporary)
{
    const int size = snprintf(path, PM_DERIVED_PATH, "%s/%s%s", dir, pm_derived_name(kind), temporary ? ".tmp" : "");
    return size > 0 && size < PM_DERIVED_PATH;
}

bool pm_derived_plan_make(pm_derived_plan *plan, const pm_derived_of *of)
{
    uint64_t blocks = 0, length[PM_DERIVED_SECTIONS] = {0};
    memset(plan, 0, sizeof *plan);
    if (of->sections == 0 || of->sections > PM_DERIVED_SECTIONS) return false;
    if (of->lengths == NULL)
        memcpy(length, of->length, of->sections * sizeof length[0]);
    else if (!of->lengths(of->rows, of->dim, of->metric, of->variant, length))
        return false;
    for (uint32_t i = 0; i < of->sections; i++) {
        if (length[i] > UINT64_MAX / 64) return false;
        plan->first[i] = blocks;
        blocks += (length[i] + PM_DERIVED_BLOCK - 1) / PM_DERIVED_BLOCK;
    }
    if (blocks == 0 || blocks > UINT32_MAX / 4) return false;
    for (uint32_t i = of->sections; i <= PM_DERIVED_SECTIONS; i++)
        plan->first[i] = blocks;
    plan->header_length = PM_DERIVED_HEADER + of->sections * sizeof plan->section[0] + 4 * blocks;
    uint64_t at = pm_align_up(plan->header_length, PM_DERIVED_BLOCK);
    for (uint32_t i = 0; i < of->sections; i++) {
        plan->section[i] = (pm_derived_section){at, length[i]};
        if (length[i] > 0) plan->length = at + length[i];
        at = pm_align_up(at + length[i], PM_DERIVED_BLOCK);
    }
    return true;
}

void pm_derived_header_make(pm_derived_header *h, const pm_derived_of *of, const pm_derived_plan *plan)
{
    *h = (pm_derived_header){.format = PM_DERIVED_FORMAT,
                             .number = of->number,
                             .length = plan->length,
                             .collection = of->collection,
                             .segment_crc = of->segment_crc,
                             .kind = of->kind,
                             .version = of->version,
                             .seed = of->seed,
                             .rows = of->rows,
                             .dim = of->dim,
                             .metric = (uint32_t)of->metric,
                             .sections = of->sections,
                             .block_bytes = PM_DERIVED_BLOCK,
                             .blocks = plan->first[PM_DERIVED_SECTIONS],
                             .header_length = plan->header_length,
                             .variant = of->variant};
    memcpy(h->magic, PM_DERIVED_MAGIC, 8);
    memcpy(h->uuid, of->uuid, 16);
}

void pm_derived_remove(const pm_os *os, const char *dir, uint32_t kind)
{
    char path[PM_DERIVED_PATH];
    for (int temporary = 0; temporary < 2; temporary++)
        if (pm_derived_path(path, dir, kind, temporary != 0)) (void)os->path_remove(os, path);
}
