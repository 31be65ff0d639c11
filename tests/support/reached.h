/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows the links of a graph lead to from one of them, and that one. */
#ifndef T_REACHED_H
#define T_REACHED_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "support/levels.h"

static inline uint64_t count_reached(uint64_t rows, uint32_t degree, const uint32_t *links, uint32_t entry)
{
    uint32_t *queue = allocate(rows * sizeof *queue);
    uint8_t *seen = allocate(rows);
    uint64_t head = 0, tail = 0;
    memset(seen, 0, rows);
    queue[tail++] = entry;
    seen[entry] = 1;
    while (head < tail) {
        const uint32_t *own = links + queue[head++] * (uint64_t)degree;
        for (uint32_t i = 0; i < degree && own[i] < rows; i++)
            if (!seen[own[i]]) seen[own[i]] = 1, queue[tail++] = own[i];
    }
    free(queue), free(seen);
    return tail;
}

#endif
