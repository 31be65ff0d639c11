/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment's files: the input says which bytes of a small one are changed, and whether checksums are mended after.
 * Anything may be refused; what is not is read to the end, and nothing leads out of bounds.
 */
#include "../support/segment.h"
#include "machine.h"

#define DIR "/s/1"

enum { MOST_FILES = 8, MOST_BYTES = 16384, ROWS = 40, DIM = 2 };

struct image {
    seg_source source;
    pm_manifest_segment entry;
    struct {
        char path[64];
        uint8_t bytes[MOST_BYTES];
        uint64_t size;
    } file[MOST_FILES];
    unsigned files;
};

struct job {
    pm_sim *sim;
    struct image *image;
};

static void keep(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct image *m = context;
    must(m->files < MOST_FILES && size <= MOST_BYTES, "the template is too large");
    snprintf(m->file[m->files].path, sizeof m->file[0].path, "%s", path);
    memcpy(m->file[m->files].bytes, bytes, size);
    m->file[m->files++].size = size;
}

static void make_image(void *arg)
{
    struct job *j = arg;
    struct image *m = j->image;
    const pm_os *os = pm_sim_os(j->sim);
    uint64_t upto[4] = {1000, 1000, 1000, 1000};
    pm_segment *segment;
    pomai_error err;
    m->source.place.os = os;
    must(os->dir_make(os, "/s") == 0, "dir");
    must(seg_make(&m->source, &m->entry, &err) == POMAI_OK, "make");
    must(pm_segment_open(&m->source.place, &m->entry, &segment, &err) == POMAI_OK, "open");
    for (uint64_t i = 0; i < ROWS; i += 3)
        (void)pm_segment_end(segment, i, 100 + i);
    must(pm_segment_write_live(segment, 2, upto, &m->entry, &err) == POMAI_OK, "live");
    pm_segment_free(segment);
    pm_disk_each_file(pm_sim_disk(j->sim), keep, m);
}

/* A copy of one of four templates: both kinds of ids, with and without expiries and documents. */
static struct image *copy_image(unsigned which)
{
    static struct image *images[4];
    if (images[which] == NULL) {
        struct image *m = images[which] = calloc(1, sizeof *m);
        must(m != NULL, "memory");
        const pomai_id_kind kind = (which & 1) != 0 ? POMAI_ID_STRING : POMAI_ID_U64;
        m->source = seg_source_make(NULL, DIR, kind, ROWS, DIM, (which & 2) != 0 ? SEG_EXPIRY | SEG_DOCUMENTS : 0);
        m->source.place.dtype = (pomai_dtype)(POMAI_DTYPE_FLOAT32 + which % 3);
        struct job j = {pm_sim_make(1), m};
        run(j.sim, make_image, &j);
        pm_sim_free(j.sim);
    }
    struct image *copy = malloc(sizeof *copy);
    must(copy != NULL, "memory");
    *copy = *images[which];
    return copy;
}

static int file_of(const struct image *m, const char *name)
{
    for (unsigned i = 0; i < m->files; i++)
        if (strncmp(m->file[i].path + strlen(DIR) + 1, name, strlen(name)) == 0) return (int)i;
    return -1;
}

static void mend_sum(uint8_t *bytes, uint64_t size)
{
    if (size < 64) return;
    uint32_t crc = pm_crc32c(0, bytes + CRC_FROM, size - CRC_FROM);
    memcpy(bytes + 8, &crc, 4);
}

/* Every file has fewer bytes than a block: one checksum each. */
static void mend(struct image *m)
{
    static const char *const names[] = {"vectors.arrow", "attributes.arrow", "ids.idx", "stats.json"};
    const int meta = file_of(m, "SEGMENT"), live = file_of(m, "live-");
    uint8_t *bytes = m->file[meta].bytes;
    uint64_t at = sizeof(pm_segment_header) + 4 * sizeof(pm_segment_shard_range) +
                  PM_FILES * sizeof(pm_segment_file_entry) + PM_BUFFERS * sizeof(pm_segment_buffer);
    for (int i = 0; i < PM_FILES; i++) {
        const int file = file_of(m, names[i]);
        if (file < 0) continue;
        if (i == PM_FILE_IDS) { /* its header has a sum of its own */
            uint32_t own = pm_crc32c(0, m->file[file].bytes + CRC_FROM, PM_IDS_HEADER - CRC_FROM);
            memcpy(m->file[file].bytes + 8, &own, 4);
        }
        uint32_t crc = pm_crc32c(0, m->file[file].bytes, m->file[file].size);
        if (at + 4 <= m->file[meta].size) memcpy(bytes + at, &crc, 4);
        at += 4;
    }
    mend_sum(bytes, m->file[meta].size);
    m->entry.meta_len = (uint32_t)m->file[meta].size;
    m->entry.meta_crc = pm_crc32c(0, bytes, m->file[meta].size);
    mend_sum(m->file[live].bytes, m->file[live].size);
    m->entry.live_len = m->file[live].size;
    m->entry.live_crc = pm_crc32c(0, m->file[live].bytes, m->file[live].size);
}

static void find_all(const struct image *m, pm_segment *segment)
{
    const uint64_t seed = pm_segment_seed(m->source.place.uuid);
    for (uint64_t i = 0; i < 2 * ROWS; i++) {
        uint8_t text[POMAI_MAX_STRING_ID];
        pm_id id;
        uint32_t row;
        pomai_error err;
        seg_id(&m->source, i, text, &id);
        pomai_status status = pm_segment_find(segment, &id, pm_id_hash(&id, seed), i + 1, &row, &err);
        must(status == POMAI_OK || status == POMAI_ECORRUPT, "find");
        must(status != POMAI_OK || row == PM_NO_ROW || row < ROWS, "a row that is not there");
    }
}

static uint64_t read_rows(const struct image *m, pm_segment *segment)
{
    uint64_t h = 0;
    pomai_error err;
    for (uint64_t i = 0; i < pm_segment_rows(segment); i++) {
        if (pm_segment_check(segment, PM_SEG_ALL, i, 1, &err) != POMAI_OK) return 0;
        pm_id id;
        pm_segment_id(segment, i, &id);
        pomai_bytes document = pm_segment_document(segment, i);
        h ^= pm_id_hash(&id, i) ^ pm_segment_lsn(segment, i) ^ pm_segment_stamp(segment, i);
        h ^= pm_segment_expiry(segment, i) ^ pm_segment_end_of(segment, i);
        h ^= pm_hash_bytes(pm_segment_vector_at(segment, i), DIM * pm_dtype_size(m->source.place.dtype), i);
        if (document.size > 0) h ^= pm_hash_bytes(document.data, document.size, i);
        must(pm_segment_shard(segment, i) < m->source.place.shards, "a shard that is not there");
    }
    return h;
}

static void try_segment(void *arg)
{
    struct job *j = arg;
    struct image *m = j->image;
    pm_segment *segment;
    pomai_error err;
    uint64_t upto[4] = {500, 50, 0, 500};
    m->source.place.os = pm_sim_os(j->sim);
    pomai_status status = pm_segment_open(&m->source.place, &m->entry, &segment, &err);
    if (status == POMAI_OK) {
        find_all(m, segment);
        const uint64_t first = read_rows(m, segment);
        must(read_rows(m, segment) == first, "the same rows read differently");
        find_all(m, segment);
        pm_manifest_segment entry = m->entry;
        (void)pm_segment_end(segment, 5, 60);
        (void)pm_segment_write_live(segment, 3, upto, &entry, &err);
        pm_segment_free(segment);
    } else {
        must(status == POMAI_ECORRUPT || status == POMAI_EFORMAT, err.message);
    }
    nothing_held(j->sim);
    pomai_status verified = pm_segment_verify(&m->source.place, &m->entry, NULL, NULL, &err);
    must(verified != POMAI_OK || status == POMAI_OK, "verify passes what does not open");
    must(verified == POMAI_OK || verified == POMAI_ECORRUPT || verified == POMAI_EFORMAT, err.message);
    nothing_held(j->sim);
}

/* First byte: template, and whether sums are mended. Then four bytes a change: file, where (two), what. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 4096) return 0;
    struct job j = {NULL, copy_image(data[0] & 3)};
    struct image *m = j.image;
    for (size_t i = 1; i + 4 <= size; i += 4) {
        const unsigned f = (data[i] & 0x3fu) % m->files;
        uint64_t at = (uint64_t)data[i + 1] << 8 | data[i + 2];
        if ((data[i] & 0x80) != 0 && data[i + 3] < 8) /* another size */
            m->file[f].size = at % MOST_BYTES;
        else if (m->file[f].size > 0)
            m->file[f].bytes[at % m->file[f].size] = data[i + 3];
    }
    if ((data[0] & 4) != 0) mend(m);
    j.sim = pm_sim_make(7);
    (void)pm_sim_os(j.sim)->dir_make(pm_sim_os(j.sim), "/s");
    (void)pm_sim_os(j.sim)->dir_make(pm_sim_os(j.sim), DIR);
    for (unsigned i = 0; i < m->files; i++)
        must(pm_disk_put(pm_sim_disk(j.sim), m->file[i].path, m->file[i].bytes, m->file[i].size) == 0, "put");
    run(j.sim, try_segment, &j);
    pm_sim_free(j.sim);
    free(m);
    return 0;
}
