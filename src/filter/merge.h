/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON merge patches (RFC 7396) on texts: what a patch does not name stays as it is written, numbers of any length,
 * escapes and the order of keys. Documents and patches are JSON objects as docs/filter.md has them.
 */
#ifndef PM_FILTER_MERGE_H
#define PM_FILTER_MERGE_H

#include "base/base.h"

enum { PM_MERGE_MOST_DEPTH = 64 /* objects of a patch in each other */ };

/* Bytes that grow; after a failed allocation nothing more is added, and `failed` is set. */
typedef struct pm_bytes {
    char *data;
    size_t size, capacity;
    bool failed;
} pm_bytes;
void pm_bytes_add(pm_bytes *to, const void *data, size_t size);

/* For one thread at a time. */
typedef struct pm_merge pm_merge;

/* Copies the patch. Refuses with POMAI_EINVAL what is no JSON object, with POMAI_ETOOBIG what is nested too deep; or
 * POMAI_ENOMEM. */
pomai_status pm_merge_parse(const void *patch, size_t size, pm_merge **out, pomai_error *err);
void pm_merge_free(pm_merge *merge);
/* Of a patch that was parsed: it names no key. */
bool pm_merge_is_nothing(const void *patch, size_t size);
/* Adds the patched document; one of 0 bytes counts as {}. false: it is no JSON object, and nothing was added. Takes
 * time in proportion to document and patch. */
bool pm_merge_apply(pm_merge *merge, const void *document, size_t size, pm_bytes *to);
/* Whether the last document that was an object lost a member or had one set, be it to what it was: if not, it is as
 * before but for blanks, and one of 0 bytes still counts as {}. */
bool pm_merge_changed(const pm_merge *merge);

#endif
