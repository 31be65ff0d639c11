/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are computed from a segment and lie beside it: docs/format/derived.md. They may be missing or damaged;
 * then they are of no use, and that is all. What the sections mean is the caller's business.
 */
#ifndef PM_STORAGE_DERIVED_H
#define PM_STORAGE_DERIVED_H

#include <stdatomic.h>

#include "base/base.h"
#include "os/os.h"
#include "storage/format.h"

/* What a file is computed from, and what follows from that. */
typedef struct pm_derived_of {
    const pm_os *os;
    const char *dir; /* of the segment */
    uint8_t uuid[16];
    uint32_t collection;
    uint32_t segment_crc; /* of its SEGMENT */
    uint64_t number;
    uint32_t kind, version;
    uint32_t variant; /* the kind's own; opening takes it from the file */
    uint64_t seed;
    uint64_t rows;
    uint32_t dim;
    pomai_metric metric;
    uint32_t sections;
    /* The bytes of each section. false: there is no such variant. NULL: they follow from nothing that is known here; */
    bool (*lengths)(uint64_t rows, uint32_t dim, pomai_metric metric, uint32_t variant, uint64_t *length);
    uint64_t length[PM_DERIVED_SECTIONS]; /* then who writes says them here; opening takes them from the file */
} pm_derived_of;

/* The kind whose file has this name; 0: none. And the other way round. */
uint32_t pm_derived_kind(const char *name);
const char *pm_derived_name(uint32_t kind);

/* ---- writing ---- */

typedef struct pm_derived_out pm_derived_out;

/* Begins a file under its temporary name. */
pomai_status pm_derived_begin(const pm_derived_of *of, pm_derived_out **out, pomai_error *err);
/* The next bytes of a section; sections may alternate. */
pomai_status pm_derived_append(pm_derived_out *out, uint32_t section, const void *data, size_t bytes, pomai_error *err);
/* Maps the first `sections`, which are whole by now, until the end of the writing; NULL for one without bytes. */
pomai_status pm_derived_peek(pm_derived_out *out, uint32_t sections, const uint8_t **section, pomai_error *err);
/* All sections are whole: gives the file its name. `out` is freed, also by a failure, which removes the file. */
pomai_status pm_derived_end(pm_derived_out *out, pomai_error *err);
/* Removes what was written. NULL is fine. */
void pm_derived_abandon(pm_derived_out *out);
/* Removes the file of this kind, and its temporary one, from a segment's directory. */
void pm_derived_remove(const pm_os *os, const char *dir, uint32_t kind);

/* ---- reading ---- */

/* Whether the sections may be used. */
enum { PM_DERIVED_UNKNOWN, PM_DERIVED_SOUND, PM_DERIVED_BAD };

/* A mapped file; from any thread. Only this module looks inside, but for `section`, `header` and `state`. */
typedef struct pm_derived {
    const pm_os *os;
    pm_derived_header header;
    const uint8_t *section[PM_DERIVED_SECTIONS]; /* NULL: without bytes */
    uint64_t length[PM_DERIVED_SECTIONS];
    _Atomic uint32_t state; /* the caller's: PM_DERIVED_UNKNOWN until everything was checked, once */
    const void *pages;
    uint32_t *crc; /* of the blocks */
    _Atomic(uint64_t) *checked;
    _Atomic uint64_t left; /* blocks not checked yet */
    char *path;
} pm_derived;

/* Maps the file if it is there and says of itself what `of` says, of any variant; looks at no section. POMAI_ENOTFOUND:
 * there is none; POMAI_ECORRUPT: it is not what it should be. */
pomai_status pm_derived_open(const pm_derived_of *of, pm_derived **out, pomai_error *err);
void pm_derived_free(pm_derived *derived);
/* Checks at most `most` of the blocks that were not checked yet, from block `from` (taken modulo their number) on and
 * around. *left: how many still are not. POMAI_ECORRUPT names the offset. */
pomai_status pm_derived_check(pm_derived *derived, uint64_t from, uint64_t most, uint64_t *left, pomai_error *err);
/* Reads the file from the disk, not through the mapping, and checks every block. */
pomai_status pm_derived_reread(const pm_derived *derived, pomai_error *err);

#endif
