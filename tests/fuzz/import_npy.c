/* SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

static size_t mend(uint8_t *data, size_t size, size_t max_size, unsigned *seed)
{
    return fuzz_mend_npy(data, size, max_size, seed, 2);
}

FUZZ_IMPORTER("npy", mend)
