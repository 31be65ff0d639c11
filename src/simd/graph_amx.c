/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMX kernels of graphs: the panels of AVX-512 VNNI, which are columns as tiles want them, and products of 32 rows by
 * two panels at once: four tiles of sums, four loads to four products. What then costs most is to bring the panels
 * near, so as many rows as are given use each.
 */
#include "graph_int.h"

#if defined(__x86_64__)

#if !defined(__AVX512VNNI__)
#error "graph_amx.c needs -mavx512vnni"
#endif

#include "simd_amx_int.h"
#include "simd_avx512_int.h"

enum {
    MOST_BYTES = 65536,              /* of rows laid out as tiles, which stay near */
    PAIR = 2 * TILE_ROWS,            /* rows of one product */
    MOST_STRIDE = MOST_BYTES / PAIR, /* beyond, */
    LEAST_ROWS = 12,                 /* and below: without tiles */
};

/* Rows as tiles: 64 bytes of 16 rows, then the next 64 of each. Those from n to the next multiple of PAIR are zero. */
static void lay_out(const uint8_t *const *rows, size_t n, size_t stride, uint8_t *tiles)
{
    for (size_t r = 0; r < (n + PAIR - 1) / PAIR * PAIR; r++) {
        uint8_t *to = tiles + r / TILE_ROWS * TILE_ROWS * stride + r % TILE_ROWS * TILE_BYTES;
        for (size_t d = 0; d < stride; d += TILE_BYTES, to += TILE_ROWS * TILE_BYTES)
            _mm512_store_si512(to, r < n ? _mm512_loadu_si512(rows[r] + d) : _mm512_setzero_si512());
    }
}

/* A tile's bytes of what is wanted next. */
INLINE void ask_for_tile(const uint8_t *from)
{
    UNROLL
    for (size_t r = 0; r < TILE_ROWS; r++)
        __asm__ volatile("prefetcht0 %c1(%0)" : : "r"(from), "i"(r * TILE_BYTES));
}

/* PAIR rows by two panels, the second's `next` bytes behind the first's. What is at `ask` is asked for meanwhile. */
INLINE void multiply(const uint8_t *tiles, size_t stride, const uint8_t *panel, size_t next, const uint8_t *ask,
                     uint32_t sums[4][TILE_ROWS * W])
{
    const uint8_t *second = tiles + TILE_ROWS * stride;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (size_t d = 0; d < stride * TILE_ROWS; d += TILE_BYTES * TILE_ROWS) {
        TILE_LOAD(4, tiles + d, TILE_BYTES);
        TILE_LOAD(6, panel + 64 + d, TILE_BYTES);
        TILE_ADD_US(0, 4, 6);
        TILE_LOAD(7, panel + next + 64 + d, TILE_BYTES);
        TILE_ADD_US(1, 4, 7);
        TILE_LOAD(5, second + d, TILE_BYTES);
        TILE_ADD_US(2, 5, 6);
        TILE_ADD_US(3, 5, 7);
        ask_for_tile(ask + d);
    }
    TILE_STORE(0, sums[0], TILE_BYTES);
    TILE_STORE(1, sums[1], TILE_BYTES);
    TILE_STORE(2, sums[2], TILE_BYTES);
    TILE_STORE(3, sums[3], TILE_BYTES);
}

/* The sums of rows with one panel, as distances. */
INLINE void put(const uint32_t *sums, const uint32_t *term, size_t n, const uint8_t *panel, uint32_t *out, size_t apart)
{
    const __m512i norm = _mm512_load_si512(panel);
    for (size_t i = 0; i < n; i++) {
        const __m512i both = _mm512_add_epi32(norm, _mm512_set1_epi32((int)term[i]));
        const __m512i twice = _mm512_slli_epi32(_mm512_load_si512(sums + i * W), 1);
        _mm512_store_si512(out + i * apart, _mm512_sub_epi32(both, twice));
    }
}

/* Rows laid out as tiles, by all panels. */
static void multiply_all(const uint8_t *tiles, const uint32_t *term, size_t n, size_t stride, const uint8_t *panels,
                         size_t many, uint32_t *out, size_t apart)
{
    const size_t bytes = 64 + PM_GRAPH_PANEL * stride;
    _Alignas(64) uint32_t sums[2][4][TILE_ROWS * W]; /* two, so that one is read while the other is written */
    unsigned turn = 0;
    tiles_begin();
    for (size_t p = 0; p < many; p += 2) {
        const size_t next = many - p > 1 ? bytes : 0; /* the last alone: twice, and kept once */
        const uint8_t *panel = panels + p * bytes;
        const uint8_t *ask = panel + (p + 2 < many ? 2 * bytes : 0) + 64;
        for (size_t i = 0; i < n; i += PAIR, turn ^= 1, ask += p + 3 < many ? bytes : 0) {
            const size_t here = n - i < TILE_ROWS ? n - i : TILE_ROWS;
            const size_t more = n - i < PAIR ? n - i - here : TILE_ROWS;
            uint32_t(*sum)[TILE_ROWS * W] = sums[turn];
            multiply(tiles + i * stride, stride, panel, next, ask, sum);
            for (size_t v = 0; v < (next ? 2 : 1); v++) {
                uint32_t *to = out + i * apart + (p + v) * W;
                put(sum[v], term + i, here, panel + v * next, to, apart);
                put(sum[2 + v], term + i + TILE_ROWS, more, panel + v * next, to + TILE_ROWS * apart, apart);
            }
        }
    }
    tiles_end();
}

static void distances(const uint8_t *const *rows, size_t n, size_t stride, const uint8_t *panels, size_t packed,
                      uint32_t *out, size_t apart)
{
    _Alignas(64) uint8_t tiles[MOST_BYTES];
    uint32_t term[PM_GRAPH_TILE];
    if (n < LEAST_ROWS || packed <= PM_GRAPH_PANEL || stride > MOST_STRIDE) {
        pm_graph_distances_avx512vnni(rows, n, stride, panels, packed, out, apart);
        return;
    }
    const size_t most = MOST_BYTES / stride / PAIR * PAIR;
    for (size_t i = 0; i < n; i++)
        term[i] = pm_graph_term_avx512vnni(rows[i], stride);
    for (size_t i = 0; i < n; i += most) {
        const size_t here = n - i < most ? n - i : most;
        lay_out(rows + i, here, stride, tiles);
        multiply_all(tiles, term + i, here, stride, panels, pm_graph_panels(packed), out + i * apart, apart);
    }
}

const pm_simd_graph pm_simd_graph_amx = {
    .name = "amx",
    .element = 1,
    .pack = pm_graph_pack_avx512vnni,
    .distances = distances,
    .nearest = pm_graph_nearest_avx512,
    .merge = pm_graph_merge_avx512,
};

#endif
