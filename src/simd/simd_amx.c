/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMX: what AVX-512 VNNI does, and products of bytes by tiles: 32 queries by 32 rows are four tiles of sums, four loads
 * to four products. The panel is that of simd_avx512vnni.c: 16 rows of it, as columns of a tile, are 64 bytes in every
 * GROUP_BYTES.
 */
#include "simd_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512VNNI__)
#error "simd_amx.c needs -mavx512vnni"
#endif

#include <string.h>

#include "simd_amx_int.h"
#include "simd_avx512_int.h"

#define GROUP_BYTES 256 /* four dimensions of all rows of a panel */
#define QUERIES     32  /* at once */

/* QUERIES queries by 32 rows. */
INLINE void multiply(const int8_t *queries, size_t stride, const uint8_t *panel, size_t dim,
                     int32_t sums[4][TILE_ROWS * W])
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (size_t d = 0; d < dim; d += TILE_BYTES, panel += TILE_ROWS * GROUP_BYTES) {
        TILE_LOAD(4, queries + d, stride);
        TILE_LOAD(6, panel, GROUP_BYTES);
        TILE_ADD_SU(0, 4, 6);
        TILE_LOAD(7, panel + 64, GROUP_BYTES);
        TILE_ADD_SU(1, 4, 7);
        TILE_LOAD(5, queries + TILE_ROWS * stride + d, stride);
        TILE_ADD_SU(2, 5, 6);
        TILE_ADD_SU(3, 5, 7);
    }
    TILE_STORE(0, sums[0], TILE_BYTES);
    TILE_STORE(1, sums[1], TILE_BYTES);
    TILE_STORE(2, sums[2], TILE_BYTES);
    TILE_STORE(3, sums[3], TILE_BYTES);
}

static void codes_not_below(const int8_t *queries, size_t stride, size_t nqueries, const pm_simd_limit *limit,
                            const uint8_t *panel, size_t n, size_t dim, const pm_simd_bounds *rows, uint64_t *not_below)
{
    _Alignas(64) int32_t sums[2][4][TILE_ROWS * W];
    if (nqueries < QUERIES) {
        pm_avx512vnni_codes_not_below(queries, stride, nqueries, limit, panel, n, dim, rows, not_below);
        return;
    }
    tiles_begin();
    for (size_t row = 0; row < n; row += 2 * W) {
        pm_simd_bounds bounds; /* of these rows, which then stay in registers */
        const uint32_t here = UINT32_MAX >> (n - row < 2 * W ? 2 * W - (n - row) : 0);
        memcpy(bounds.inverse, rows->inverse + row, 2 * W * sizeof *rows->inverse);
        memcpy(bounds.plus, rows->plus + row, 2 * W * sizeof *rows->plus);
        memcpy(bounds.loss, rows->loss + row, 2 * W * sizeof *rows->loss);
        for (size_t q = 0; q < nqueries; q += QUERIES) {
            const size_t first = q + QUERIES <= nqueries ? q : nqueries - QUERIES; /* the last ones: some again */
            int32_t(*sum)[TILE_ROWS * W] = sums[q / QUERIES % 2];
            multiply(queries + first * stride, stride, panel + row * 4, dim, sum);
            for (size_t j = 0; j < QUERIES; j++) {
                const int32_t *from = sum[j / TILE_ROWS * 2] + j % TILE_ROWS * W;
                const __mmask16 low = codes_below(_mm512_load_si512(from), &limit[first + j], &bounds, 0);
                const __mmask16 high =
                    codes_below(_mm512_load_si512(from + TILE_ROWS * W), &limit[first + j], &bounds, W);
                const uint64_t bits = (uint32_t)~_mm512_kunpackw(high, low) & here;
                not_below[first + j] = row == 0 ? bits : (uint32_t)not_below[first + j] | bits << 2 * W;
            }
        }
    }
    tiles_end();
}

const pm_simd pm_simd_amx = {
    .name = "amx",
    .quant = &pm_simd_quant_avx512vnni,
    .convert = &pm_convert_avx512,
    .walk = &pm_simd_walk_avx512vnni,
    .ranks = &pm_simd_ranks_avx512,
    .stored = &pm_simd_stored_avx512,
    .graph = &pm_simd_graph_amx,
    .l2_rows = pm_avx512_l2_rows,
    .dot_rows = pm_avx512_dot_rows,
    .first_not_finite = pm_avx512_first_not_finite,
    .norm2_rows = pm_avx512_norm2_rows,
    .dot_tile = pm_avx512_dot_tile,
    .not_below = pm_avx512_not_below,
    .exact_l2 = pm_avx512_exact_l2,
    .exact_dot = pm_avx512_exact_dot,
    .exact_l2_rows = pm_avx512_exact_l2_rows,
    .exact_dot_rows = pm_avx512_exact_dot_rows,
    .pack_codes = pm_avx512vnni_pack_codes,
    .codes_not_below = codes_not_below,
};

#endif
