/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A document a line, and where the first byte is odd the first line is a path: what becomes columns becomes documents
 * that say the same from then on.
 */
#include "../support/arrow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_ROWS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pomai_bytes documents[MOST_ROWS];
    uint64_t rows = 0;
    char path[2048];
    const bool with_path = size > 0 && (*data & 1) != 0;
    if (size > 0) size--, data++;
    for (bool first = true; rows < MOST_ROWS && size > 0; first = false) {
        const uint8_t *feed = memchr(data, '\n', size);
        const size_t line = feed == NULL ? size : (size_t)(feed - data);
        if (first && with_path) {
            (void)snprintf(path, sizeof path, "%.*s", (int)line, (const char *)data);
        } else {
            char *copy = t_room(line);
            memcpy(copy, data, line);
            documents[rows++] = (pomai_bytes){copy, line};
        }
        data += line + (feed != NULL);
        size -= line + (feed != NULL);
    }
    t_expect_back(documents, rows);
    if (with_path && rows > 0) {
        const char *const paths[] = {path, "a"};
        struct ArrowSchema schema;
        struct ArrowArray array;
        pomai_error err = {0};
        pomai_bytes *made;
        if (pm_documents_to_arrow(documents, rows, paths, 2, &schema, &array, &err) == POMAI_OK) {
            t_must(schema.n_children == 2, "a column for each path");
            t_must(pm_documents_from_arrow(&schema, &array, UINT64_MAX, &made, &err) == POMAI_OK, "columns not taken");
            pm_free(made);
            schema.release(&schema);
            array.release(&array);
        }
    }
    for (uint64_t i = 0; i < rows; i++)
        free((void *)(uintptr_t)documents[i].data);
    return 0;
}
