/* SPDX-License-Identifier: Apache-2.0 */
/* The log reader: the input is a log file. The mutator mends headers and checksums, else nothing gets past them. */
#include "machine.h"

static void mend_header(pm_wal_header *h, uint32_t lot)
{
    static uint8_t uuid[16];
    if (uuid[0] == 0 && uuid[1] == 0) template_uuid(uuid);
    if (lot % 16 != 0) {
        memset(h, 0, offsetof(pm_wal_header, salt));
        memcpy(h->magic, PM_WAL_MAGIC, 8);
        h->format = PM_FORMAT;
        memcpy(h->uuid, uuid, 16);
        uint64_t salt = h->salt, counter = h->open_counter;
        memset((uint8_t *)h + offsetof(pm_wal_header, salt), 0, sizeof *h - offsetof(pm_wal_header, salt));
        h->salt = salt;
        h->number = 1;
        h->epoch = PM_EPOCH;
        h->open_counter = counter & 0xffff;
    }
    h->crc = pm_crc32c(0, (const uint8_t *)h + CRC_FROM, sizeof *h - CRC_FROM);
}

/* Makes the lengths of a record fit its counts, mostly, and those the file. */
static uint64_t mend_record(uint8_t *at, uint64_t room, uint32_t seed, uint64_t lsn, uint32_t lot)
{
    pm_rec_header *h = (pm_rec_header *)(void *)at;
    if (lot % 8 != 0) {
        h->version = PM_REC_VERSION;
        h->zero1 = 0;
        h->key_id = 0;
        memset(h->zero2, 0, sizeof h->zero2);
        h->lsn = lsn;
        h->durable_lsn = lot % 5 == 0 ? lsn - 1 : 0;
        h->op = (uint8_t)(1 + h->op % 3);
        if (h->parts == 0 || lot % 3 != 0) h->parts = 1;
        h->part %= h->parts;
        h->flags &= PM_REC_FLAGS_KNOWN;
        h->rows = 1 + h->rows % 8;
        h->collection = 1 + h->collection % 3;
        h->id_kind = h->collection == 2 ? POMAI_ID_STRING : POMAI_ID_U64;
        const uint8_t dtype = (uint8_t)(lot % 11 == 0 ? 1 + h->dtype % 3 : POMAI_DTYPE_FLOAT32);
        h->dtype = h->op == PM_OP_PUT ? dtype : PM_DTYPE_NONE;
        h->dim = h->op == PM_OP_PUT ? (h->collection == 2 ? 3 : 4) : 0;
        if (h->op != PM_OP_PUT) h->flags &= PM_REC_IDS_ARE_RANGE;
        if (h->id_kind == POMAI_ID_STRING) h->flags &= (uint8_t)~PM_REC_IDS_ARE_RANGE;
        h->ids_len = (h->flags & PM_REC_IDS_ARE_RANGE) != 0 ? 8 : h->rows * 8;
        if (h->id_kind == POMAI_ID_STRING) h->ids_len = ((uint64_t)h->rows + 1) * 4 + h->rows * 3;
        h->vectors_len = (uint64_t)h->rows * h->dim * pm_dtype_size((pomai_dtype)dtype);
        h->expiry_len = (h->flags & PM_REC_HAS_EXPIRY) != 0 ? (uint64_t)h->rows * 8 : 0;
        h->documents_len = (h->flags & PM_REC_HAS_DOCUMENTS) != 0 ? ((uint64_t)h->rows + 1) * 4 + 5 : 0;
        if (h->op == PM_OP_ABORT) {
            h->rows = h->dim = 0;
            h->id_kind = h->flags = h->dtype = 0;
            if (lot % 16 != 9) h->collection = 0;
            h->ids_len = h->vectors_len = h->expiry_len = h->documents_len = 0;
        }
    }
    pm_rec_layout l;
    const uint64_t most = (uint64_t)1 << (lot % 4 == 0 ? 60 : 16); /* sums stay in range */
    h->ids_len %= most;
    h->vectors_len %= most;
    h->expiry_len %= most;
    h->documents_len %= most;
    pm_rec_layout_init(&l, h->ids_len, h->vectors_len, h->expiry_len, h->documents_len);
    h->payload_len = l.payload_len;
    uint64_t payload = h->payload_len <= room - PM_REC_HEADER ? h->payload_len : room - PM_REC_HEADER;
    if (h->id_kind == POMAI_ID_STRING && lot % 7 != 0 && h->ids_len <= payload &&
        ((uint64_t)h->rows + 1) * 4 <= payload)
        for (uint32_t i = 0; i <= h->rows; i++) /* ends: 0, 3, 6, ... */
            memcpy(at + PM_REC_HEADER + i * 4, &(uint32_t){i * 3}, 4);
    if (h->documents_len >= ((uint64_t)h->rows + 1) * 4 && lot % 7 != 1 && l.total <= room)
        for (uint32_t i = 0; i <= h->rows; i++)
            memcpy(at + l.documents_at + i * 4, &(uint32_t){i == h->rows ? 5 : 0}, 4);
    h->payload_crc = pm_crc32c(seed, at + PM_REC_HEADER, payload);
    h->header_crc = pm_crc32c(seed, at + 4, sizeof *h - 4);
    return PM_REC_HEADER + payload;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned random)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size < PM_WAL_HEADER || random % 16 == 0) return size;
    uint8_t *image = aligned_alloc(64, (size + 63) / 64 * 64);
    if (image == NULL) return size;
    memcpy(image, data, size);
    uint32_t lot = random * 2654435761u >> 8;
    mend_header((pm_wal_header *)(void *)image, lot);
    const uint32_t seed = pm_wal_seed(((const pm_wal_header *)(const void *)image)->salt);
    uint64_t at = PM_WAL_HEADER, lsn = 1;
    for (; at + PM_REC_HEADER <= size; lsn++) {
        if (lot % 32 != lsn % 32) /* now and then one stays broken */
            at += mend_record(image + at, size - at, seed, lsn, lot >> (lsn % 8));
        else
            at += PM_REC_HEADER;
        at = (at + 63) / 64 * 64;
    }
    memcpy(data, image, size);
    free(image);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 32768) try_file(WAL_PATH, data, size);
    return 0;
}
