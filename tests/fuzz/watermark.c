/* SPDX-License-Identifier: Apache-2.0 */
/* The WATERMARK reader. The mutator mends both slots. */
#include "machine.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned random)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (random % 8 == 0) return size;
    if (random % 8 != 1 && max_size >= 2 * PM_MARK_SLOT) size = 2 * PM_MARK_SLOT;
    uint8_t uuid[16];
    template_uuid(uuid);
    for (size_t at = 0; at + PM_MARK_SLOT <= size; at += PM_MARK_SLOT) {
        pm_mark_slot s;
        memcpy(&s, data + at, sizeof s);
        if ((random >> 8) % 4 != at / PM_MARK_SLOT) {
            memcpy(s.magic, PM_MARK_MAGIC, 8);
            s.format = PM_FORMAT;
            memcpy(s.uuid, uuid, 16);
            s.epoch = PM_EPOCH;
            s.shard = 0;
            memset(s.zero, 0, sizeof s.zero);
            if (random % 8 < 6) s.number = s.durable_lsn = s.offset = s.chain = 0;
        }
        s.crc = pm_crc32c(0, (const uint8_t *)&s + CRC_FROM, sizeof s - CRC_FROM);
        memcpy(data + at, &s, sizeof s);
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 4096) try_file(MARK_PATH, data, size);
    return 0;
}
