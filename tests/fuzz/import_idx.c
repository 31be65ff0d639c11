/* SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

static void put_big32(uint8_t *data, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        data[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* As many images as there are bytes. */
static size_t mend(uint8_t *data, size_t size, size_t max_size, unsigned *seed)
{
    uint32_t height = (uint32_t)(1 + fuzz_random(seed) % 5), width = (uint32_t)(1 + fuzz_random(seed) % 5);
    (void)max_size;
    if (size < 16) return size;
    uint32_t rows = (uint32_t)((size - 16) / (height * width));
    put_big32(data, 0x803);
    put_big32(data + 4, rows);
    put_big32(data + 8, height);
    put_big32(data + 12, width);
    return 16 + (size_t)rows * height * width;
}

FUZZ_IMPORTER("idx", mend)
