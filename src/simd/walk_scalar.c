/* SPDX-License-Identifier: Apache-2.0 */
#include "walk_int.h"

static int32_t dot_bytes(const uint8_t *code, const int8_t *query, size_t n)
{
    int32_t dot = 0;
    for (size_t d = 0; d < n; d++)
        dot += code[d] * query[d];
    return dot;
}

static int32_t dot_nibbles(const uint8_t *code, const int8_t *query, size_t n)
{
    int32_t dot = 0;
    for (size_t line = 0; line < n; line += PM_WALK_LINE, query += 2 * PM_WALK_LINE)
        for (size_t d = 0; d < PM_WALK_LINE; d++)
            dot += (code[line + d] & 15) * query[d] + (code[line + d] >> 4) * query[PM_WALK_LINE + d];
    return dot;
}

static void score(const pm_walk_codes *codes, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next)
{
    size_t asked = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = codes->codes + ids[i] * codes->stride;
        asked = walk_ask(codes->codes, codes->stride, next, asked, 1);
        const int32_t dot = codes->nibbles ? dot_nibbles(row, codes->query, codes->stride)
                                           : dot_bytes(row, codes->query, codes->stride);
        out[i] = walk_finish(codes, row, dot);
    }
    walk_ask(codes->codes, codes->stride, next, asked, next->n);
}

static void score_rows(const pm_walk_rows *rows, const uint32_t *ids, size_t n, float *out, const pm_walk_next *next)
{
    size_t asked = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows->rows + ids[i] * rows->stride;
        asked = walk_ask(rows->rows, rows->stride, next, asked, 1);
        int32_t sum = 0, dot = 0;
        for (size_t d = 0; d < rows->stride; d++) {
            const int32_t far = rows->whole ? rows->query[d] - row[d] : row[d];
            sum += far * far;
            dot += rows->query[d] * row[d];
        }
        out[i] = rows->whole ? (float)sum : walk_finish_row(rows, sum, dot);
    }
    walk_ask(rows->rows, rows->stride, next, asked, next->n);
}

/* Without branches on what was seen: no processor foretells them. */
size_t pm_walk_unseen(pm_walk_seen *seen, const uint32_t *links, size_t n, uint32_t *out)
{
    uint32_t *const slot = seen->slot;
    const uint32_t mask = seen->mask, rows = seen->rows, left_out = seen->left_out;
    size_t found = 0;
    for (size_t i = 0; i < n; i += PM_WALK_BLOCK) {
        const uint32_t *link = links + i;
        const size_t before = found;
        size_t some = 0;
        for (; some < PM_WALK_BLOCK && link[some] < rows; some++) {
            const uint32_t id = link[some];
            out[found] = id;
            found += (size_t)(slot[id & mask] != id) & (size_t)(id != left_out);
        }
        for (size_t j = before; j < found; j++)
            slot[out[j] & mask] = out[j];
        if (some < PM_WALK_BLOCK) break;
    }
    return found;
}

void pm_walk_insert(pm_walk_pool *pool, const uint32_t *ids, const float *score, size_t n, float limit)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t key = pm_walk_key(score[i], ids[i]);
        uint32_t at = 0, end = pool->size;
        if (!(score[i] < limit) || (end == pool->most && key > pool->key[end - 1])) continue;
        while (at < end) {
            const uint32_t middle = (at + end) / 2;
            if (pool->key[middle] < key)
                at = middle + 1;
            else
                end = middle;
        }
        if (at < pool->size && (pool->key[at] ^ key) <= 1) continue; /* it is there */
        if (pool->size < pool->most) pool->size++;
        memmove(pool->key + at + 1, pool->key + at, (pool->size - 1 - at) * sizeof *pool->key);
        pool->key[at] = key;
        if (at < pool->next) pool->next = at;
    }
}

static void products(const uint8_t *a, const int8_t *rows, size_t stride, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dot_bytes(a, rows + i * stride, stride);
}

static void apart(const uint8_t *a, const uint8_t *codes, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                  uint32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = codes + ids[i] * stride;
        int32_t sum = 0;
        for (size_t d = 0; d < dim; d++)
            sum += (a[d] - row[d]) * (a[d] - row[d]);
        out[i] = (uint32_t)sum;
    }
}

const pm_simd_walk pm_simd_walk_scalar = {
    .name = "scalar",
    .score = score,
    .score_rows = score_rows,
    .insert = pm_walk_insert,
    .unseen = pm_walk_unseen,
    .products = products,
    .apart = apart,
    WALK_COMMON,
};
