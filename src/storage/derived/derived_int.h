/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PM_STORAGE_DERIVED_INT_H
#define PM_STORAGE_DERIVED_INT_H

#include "storage/derived/derived.h"

enum { PM_DERIVED_PATH = 4096, PM_DERIVED_CRC_FROM = 12 };

/* Where everything lies, which follows from the lengths. */
typedef struct pm_derived_plan {
    pm_derived_section section[PM_DERIVED_SECTIONS];
    uint64_t first[PM_DERIVED_SECTIONS + 1]; /* block of each section; the last: all */
    uint64_t header_length, length;
} pm_derived_plan;

/* For of->variant; false: there is none such, or no file could have such sections. */
bool pm_derived_plan_make(pm_derived_plan *plan, const pm_derived_of *of);
/* The header, but its checksum. */
void pm_derived_header_make(pm_derived_header *header, const pm_derived_of *of, const pm_derived_plan *plan);
/* false: too long. */
bool pm_derived_path(char path[PM_DERIVED_PATH], const char *dir, uint32_t kind, bool temporary);

#endif
