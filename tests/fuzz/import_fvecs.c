/* SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

/* Rows of one small dimension, whole. */
static size_t mend(uint8_t *data, size_t size, size_t max_size, unsigned *seed)
{
    uint32_t dim = (uint32_t)(1 + fuzz_random(seed) % 8);
    size_t row_bytes = 4 + dim * sizeof(float);
    (void)max_size;
    size -= size % row_bytes;
    for (size_t at = 0; at < size; at += row_bytes)
        memcpy(data + at, &dim, 4);
    return size;
}

FUZZ_IMPORTER("fvecs", mend)
