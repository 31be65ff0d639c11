/* SPDX-License-Identifier: Apache-2.0 */
/* Portable code kernels: the definition that the others are held to. */
#include "codes_int.h"

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void sum_block(const pm_simd_bits *query, const uint8_t *codes, uint32_t sum[PM_CODES_BLOCK])
{
    memset(sum, 0, PM_CODES_BLOCK * sizeof *sum);
    for (size_t g = 0; g < query->dim / 4; g++) {
        const uint8_t *table = query->table + 16 * g;
        for (size_t j = 0; j < 16; j++) {
            uint8_t byte = codes[16 * g + j];
            size_t row = j / 2 + j % 2 * 8;
            sum[row] += table[byte & 15];
            sum[row + 16] += table[byte >> 4];
        }
    }
}

static void bits_near(const pm_simd_bits *query, const uint8_t *blocks, size_t n, float limit, uint32_t *mask)
{
    for (size_t b = 0; b < n; b++) {
        const uint8_t *block = blocks + b * (4 * query->dim + PM_CODES_FACTOR);
        uint32_t sum[PM_CODES_BLOCK], bits = 0;
        float a[PM_CODES_BLOCK];
        uint32_t gf[PM_CODES_BLOCK];
        memcpy(a, block, sizeof a);
        memcpy(gf, block + sizeof a, sizeof gf);
        sum_block(query, block + PM_CODES_FACTOR, sum);
        for (size_t r = 0; r < PM_CODES_BLOCK; r++) {
            float t = (float)sum[r] * query->scale;
            t = t + query->base;
            float part = float_of(gf[r] & 0xffff0000u) * t, margin = float_of(gf[r] << 16) * query->error;
            float away = part + margin;
            float least = a[r] - away;
            bits |= (uint32_t) !(least > limit) << r;
        }
        mask[b] = bits;
    }
}

static void bytes_dot(const pm_simd_bytes *query, const uint8_t *const *rows, size_t n, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        int32_t sum = 0;
        for (size_t d = 0; d < query->dim; d++)
            sum += query->wide[d] * rows[i][d];
        out[i] = sum;
    }
}

const pm_simd_quant pm_simd_quant_scalar = {
    .name = "scalar",
    .bits_near = bits_near,
    .bytes_dot = bytes_dot,
    CODES_COMMON,
};
