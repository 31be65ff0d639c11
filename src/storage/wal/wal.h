/* SPDX-License-Identifier: Apache-2.0 */
/* The log of one shard: docs/format/wal.md. Not safe for concurrent use; docs/threads.md says who calls what. */
#ifndef PM_STORAGE_WAL_H
#define PM_STORAGE_WAL_H

#include "base/base.h"
#include "os/os.h"
#include "storage/format.h"

/* Where a log is and whose it is. */
typedef struct pm_wal_place {
    const pm_os *os;
    const char *dir; /* .../shards/<epoch>/<i>/wal */
    uint8_t uuid[16];
    uint32_t epoch;
    uint32_t shard;
} pm_wal_place;

/* The end of a log, as a successor's header states it. All zero: an empty log. */
typedef struct pm_wal_end {
    uint64_t number; /* of the file */
    uint64_t lsn;    /* last record */
    uint64_t length; /* where it ends in the file */
    uint64_t chain;
    uint64_t stamp;
} pm_wal_end;

/* ---- records ---- */

/* Where the columns of a record are; offsets from the record's begin. */
typedef struct pm_rec_layout {
    uint64_t ids_at, ids_len;
    uint64_t vectors_at, vectors_len;
    uint64_t expiry_at, expiry_len;
    uint64_t documents_at, documents_len;
    uint64_t payload_len;
    uint64_t total; /* header and payload: a multiple of PM_WAL_ALIGN */
} pm_rec_layout;

/* Lengths were bounded at admission (POMAI_MAX_BATCH_BYTES), so sums cannot overflow. */
void pm_rec_layout_init(pm_rec_layout *layout, uint64_t ids_len, uint64_t vectors_len, uint64_t expiry_len,
                        uint64_t documents_len);

/* Checksum seed of a file's records. */
uint32_t pm_wal_seed(uint64_t salt);
/* Sets the header's checksums. The payload is given in pieces, in order. */
void pm_rec_seal(pm_rec_header *header, const pm_span *pieces, size_t count, uint32_t seed);
uint64_t pm_rec_chain(uint64_t chain, const pm_rec_header *header);
/* NULL if the record at `at` of an image is whole and its columns are sound, else what is wrong with it. `limit` bounds
 * the image. */
const char *pm_rec_check(const uint8_t *image, uint64_t at, uint64_t limit, uint32_t seed, uint64_t lsn);

/* ---- writing ---- */

/* Makes file `number`, durable under its name on return. `capacity` bytes are allocated ahead. */
pomai_status pm_wal_create(const pm_wal_place *place, uint64_t number, uint64_t capacity, uint64_t open_counter,
                           const pm_wal_end *pred, int *fd, uint32_t *seed, pomai_error *err);
/* Cuts off what lies behind `length` in a file whose successor is durable. Failure only costs space. */
void pm_wal_trim(const pm_wal_place *place, uint64_t number, uint64_t length);
/* Removes files from .. below - 1, oldest first, once the manifest begins the log at `below`. Stops at the first that
 * cannot be removed, so that no gap comes to be; failure only costs space. */
void pm_wal_retire(const pm_wal_place *place, uint64_t from, uint64_t below);

typedef struct pm_mark {
    int fd; /* -1: not open for writing */
    uint64_t sequence;
} pm_mark;

/* Makes an empty WATERMARK, for a new database. */
pomai_status pm_mark_make(const pm_wal_place *place, pomai_error *err);
pomai_status pm_mark_open(const pm_wal_place *place, uint64_t sequence, pm_mark *mark, pomai_error *err);
/* Writes and syncs the other slot. */
pomai_status pm_mark_write(const pm_wal_place *place, pm_mark *mark, const pm_wal_end *durable, pomai_error *err);
void pm_mark_close(const pm_wal_place *place, pm_mark *mark);

/* ---- reading ---- */

/* A file's bytes in memory: [0, length) is the header and whole records. */
typedef struct pm_wal_image {
    uint8_t *data;
    size_t mapped;
    uint64_t number;
    uint64_t length;
} pm_wal_image;

typedef struct pm_wal_scan pm_wal_scan;
typedef pomai_status (*pm_wal_record_fn)(pm_wal_scan *scan, const pm_wal_image *image, uint64_t at, pomai_error *err);

struct pm_wal_scan {
    /* in */
    const pm_wal_place *place;
    uint64_t first_number;      /* from the manifest */
    pm_wal_end before;          /* the end of the log before that file, from the manifest: pm_wal_before */
    bool accept_damage;         /* stop at damage instead of failing */
    pm_wal_record_fn on_record; /* each whole record in order; may be NULL */
    /* Takes over an image after its records; NULL: images are freed. */
    pomai_status (*on_image)(pm_wal_scan *scan, pm_wal_image *image, pomai_error *err);
    /* Called with the end of each file that has a successor, after its records and its image; may be NULL. */
    pomai_status (*on_file)(pm_wal_scan *scan, const pm_wal_end *end, pomai_error *err);
    void *context;
    pm_text *notes; /* lines on what is out of the ordinary */
    /* out */
    pm_wal_end end;        /* of the last file */
    uint64_t open_counter; /* largest seen */
    pm_mark_slot mark;     /* what the WATERMARK says */
    uint64_t records;
    uint64_t bytes;
    uint64_t torn_at; /* in the last file; 0: no torn tail */
    uint64_t torn_bytes;
    bool damaged; /* only with accept_damage */
    pomai_error damage;
};

/* The end of the log before the first file that the manifest names. */
static inline pm_wal_end pm_wal_before(const pm_manifest_shard *shard)
{
    return (pm_wal_end){.number = shard->first_wal - 1,
                        .lsn = shard->pred_lsn,
                        .length = shard->pred_length,
                        .chain = shard->pred_chain,
                        .stamp = shard->pred_stamp};
}
/* Reads a log whole. POMAI_ECORRUPT names file, offset and the LSNs that are lost. */
pomai_status pm_wal_scan_run(pm_wal_scan *scan, pomai_error *err);
/* Makes what a scan read durable: the next file's header will say that it is on disk. After kill -9 it may be in the
 * page cache only; after a failed sync too, and there Linux calls it clean, so that a second sync would succeed without
 * writing. So what the WATERMARK does not attest (`unattested`, from `offset` on) is written again, byte for byte,
 * before the sync. */
pomai_status pm_wal_settle(const pm_wal_place *place, uint64_t number, const pm_span *unattested, uint64_t offset,
                           pomai_error *err);
/* Removes *.tmp and files below `first_number`, as a writer's open does once all logs were found sound; failure only
 * costs space. */
void pm_wal_remove_leftovers(const pm_wal_place *place, uint64_t first_number);
/* Copies the torn tail that a scan found into `quarantine_dir`, durable on return. */
pomai_status pm_wal_quarantine(const pm_wal_scan *scan, const char *quarantine_dir, pomai_error *err);

/* ---- what is left of a damaged log ---- */

typedef struct pm_wal_salvage {
    /* in */
    const pm_wal_place *place;
    uint64_t first_number, mark_durable;
    pm_wal_end before;
    pm_text *notes;
    /* out */
    const pm_rec_header **record; /* whole ones, by rising LSN; payloads lie behind the headers */
    size_t records, record_capacity;
    pm_wal_image *image;
    size_t images;
    uint64_t durable; /* the largest LSN that anything says was durable */
    bool damaged;
} pm_wal_salvage;

/* Reads every record that is whole by its own checksums; damage is no failure. pm_wal_salvage_free in any case; `place`
 * must live until then. */
pomai_status pm_wal_salvage_run(pm_wal_salvage *w, pomai_error *err);
void pm_wal_salvage_free(pm_wal_salvage *w);

#endif
