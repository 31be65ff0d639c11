/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: the input is the manifest that CURRENT names, or CURRENT itself. The mutator mends lengths and sums.
 */
#include "storage/manifest/manifest.h"
#include "machine.h"

#define CURRENT_PATH "/db/manifest/CURRENT"

static uint64_t current_number(void)
{
    static uint64_t number;
    if (number == 0) number = ((const pm_current *)(const void *)template_file(CURRENT_PATH).bytes)->number;
    return number;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned random)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size < sizeof(pm_manifest_header) + 1 || random % 8 == 0) return size;
    uint8_t *image = data + 1; /* the first byte chooses the file */
    const size_t length = size - 1;
    pm_manifest_header h;
    memcpy(&h, image, sizeof h);
    if (random % 8 != 1) {
        memcpy(h.magic, PM_MANIFEST_MAGIC, 8);
        h.format = PM_FORMAT;
        h.incompatible &= PM_FEATURES_KNOWN;
        if (random % 16 < 12) h.incompatible = PM_FEATURES_KNOWN;
        h.zero1 = 0;
        memset(h.zero2, 0, sizeof h.zero2);
        if (h.next_segment == 0) h.next_segment = 1;
        h.length = length;
        h.number = current_number();
        template_uuid(h.uuid);
        h.epoch = PM_EPOCH;
        h.hash_kind = PM_HASH_KIND;
        if (random % 8 < 6) h.shards = 1;
    }
    memcpy(image, &h, sizeof h);
    uint32_t crc = pm_crc32c(0, image + 12, length - 12);
    memcpy(image + 8, &crc, 4);
    return size;
}

static bool same_entry(const pm_manifest_entry *a, const pm_manifest_entry *b, uint32_t shards)
{
    return memcmp(&a->fixed, &b->fixed, sizeof a->fixed) == 0 && strcmp(a->name, b->name) == 0 &&
           memcmp(a->flushed, b->flushed, shards * sizeof *a->flushed) == 0 && a->segments == b->segments &&
           (a->segments == 0 || memcmp(a->segment, b->segment, a->segments * sizeof *a->segment) == 0);
}

/* What was read and written again reads the same. */
static void rewrite(pm_sim *sim)
{
    pm_manifest m, again;
    pomai_error err;
    bool uncertain;
    if (pm_manifest_read(pm_sim_os(sim), "/db/manifest", &m, &err) != POMAI_OK) return;
    must(pm_manifest_install(pm_sim_os(sim), "/db/manifest", &m, &uncertain, &err) == POMAI_OK, "install");
    must(pm_manifest_read(pm_sim_os(sim), "/db/manifest", &again, &err) == POMAI_OK, "read again");
    must(m.collections == again.collections && m.shards == again.shards && m.next_collection == again.next_collection,
         "not the same catalogue");
    must(m.clock == again.clock && m.next_segment == again.next_segment, "not the same numbers");
    must(memcmp(m.shard, again.shard, sizeof m.shard) == 0, "not the same shards");
    for (uint32_t i = 0; i < m.collections; i++)
        must(same_entry(&m.entry[i], &again.entry[i], m.shards), "not the same collection");
    pm_manifest_clear(&m);
    pm_manifest_clear(&again);
}

static void try_catalogue(void *arg)
{
    pm_sim *sim = arg;
    pm_db *db;
    pomai_error err;
    uint64_t before = pm_disk_digest(pm_sim_disk(sim));
    if (open_it(sim, 0, &db, &err) == POMAI_OK) {
        (void)read_all(db);
        (void)put_one(db, 1, &err);
        must(pomai_close(db, &err) == POMAI_OK, "close");
        nothing_held(sim);
        rewrite(sim);
    } else {
        must(pm_disk_digest(pm_sim_disk(sim)) == before, "a refused open changed the disk");
    }
    nothing_held(sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    if (size == 0 || size > 16384) return 0;
    snprintf(path, sizeof path, "/db/manifest/MANIFEST-%010llu", (unsigned long long)current_number());
    pm_disk *disk = template_disk();
    pm_sim *sim = pm_sim_make(7);
    pm_sim_set_disk(sim, disk);
    must(pm_disk_put(pm_sim_disk(sim), data[0] % 16 == 15 ? CURRENT_PATH : path, data + 1, size - 1) == 0, "put");
    run(sim, try_catalogue, sim);
    pm_sim_free(sim);
    return 0;
}
