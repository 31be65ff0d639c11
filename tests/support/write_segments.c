/* SPDX-License-Identifier: Apache-2.0 */
/* Writes segments below a directory, and beside each what is in it, a JSON object a row: for scenario/test_arrow.py. */
#include <stdio.h>

#include "support/segment.h"

static void print_bytes(FILE *to, const char *name, const void *bytes, size_t size)
{
    fprintf(to, ", \"%s\": ", name);
    if (size == 0) {
        fprintf(to, "null");
        return;
    }
    fprintf(to, "\"");
    for (size_t i = 0; i < size; i++)
        fprintf(to, "%02x", ((const uint8_t *)bytes)[i]);
    fprintf(to, "\"");
}

static int print_rows(seg_source *s, const char *path)
{
    FILE *to = fopen(path, "w");
    if (to == NULL) return 1;
    for (uint64_t i = 0; i < s->rows; i++) {
        pm_segment_row row;
        (void)seg_row(s, i, PM_SEG_ALL, &row, NULL);
        fprintf(to, "{\"shard\": %u, \"lsn\": %llu, \"stamp\": %llu, \"expiry\": %llu", row.shard,
                (unsigned long long)row.lsn, (unsigned long long)row.stamp, (unsigned long long)row.expiry);
        if (row.id.bytes == NULL)
            fprintf(to, ", \"id\": %llu", (unsigned long long)row.id.u64);
        else
            print_bytes(to, "id", row.id.bytes, row.id.size);
        print_bytes(to, "document", row.document.data, row.document.size);
        for (uint32_t d = 0; d < s->place.dim; d++)
            fprintf(to, "%s%.9g", d == 0 ? ", \"vector\": [" : ", ", (double)seg_component(s, i, d));
        fprintf(to, "]}\n");
    }
    return fclose(to);
}

int main(int argc, char **argv)
{
    static const struct {
        pomai_id_kind kind;
        uint32_t rows, dim;
        unsigned flags;
        pomai_dtype dtype; /* 0: float32 */
    } cases[] = {
        {POMAI_ID_U64, 1, 1, 0, 0},
        {POMAI_ID_U64, 1000, 3, SEG_EXPIRY, 0},
        {POMAI_ID_U64, 2000, 128, SEG_DOCUMENTS, 0},
        {POMAI_ID_STRING, 1, 4100, SEG_DOCUMENTS, 0},
        {POMAI_ID_STRING, 999, 2, 0, 0},
        {POMAI_ID_STRING, 3000, 17, SEG_EXPIRY | SEG_DOCUMENTS, 0},
        {POMAI_ID_STRING, 65, 5, SEG_RAW_IDS | SEG_RAW_DOCUMENTS | SEG_DOCUMENTS | SEG_EXPIRY, 0},
        {POMAI_ID_U64, 1, 1, 0, POMAI_DTYPE_FLOAT16},
        {POMAI_ID_U64, 1001, 67, SEG_EXPIRY | SEG_DOCUMENTS, POMAI_DTYPE_FLOAT16},
        {POMAI_ID_STRING, 333, 5, 0, POMAI_DTYPE_INT8},
        {POMAI_ID_U64, 1001, 67, SEG_EXPIRY | SEG_DOCUMENTS, POMAI_DTYPE_INT8},
    };
    if (argc != 2) return 2;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char dir[4096], rows[4096];
        pomai_error err;
        pm_manifest_segment entry;
        snprintf(dir, sizeof dir, "%s/%u", argv[1], i);
        snprintf(rows, sizeof rows, "%s/%u.rows", argv[1], i);
        seg_source s = seg_source_make(pm_os_posix(), dir, cases[i].kind, cases[i].rows, cases[i].dim, cases[i].flags);
        if (cases[i].dtype != 0) s.place.dtype = cases[i].dtype;
        if (seg_make(&s, &entry, &err) != POMAI_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        if (print_rows(&s, rows) != 0) return 1;
        free(s.vector);
    }
    return 0;
}
