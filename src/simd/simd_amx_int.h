/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles of AMX. A tile is 16 rows of 64 bytes; a product adds to a tile of 16 x 16 sums of 32 bits what 16 rows and 16
 * columns of 64 bytes give, the columns four bytes beside each other: row t of that tile has bytes 4t to 4t + 3 of
 * each of the 16. (Intel SDM volume 1, chapter 18.)
 *
 * In assembler, with memory clobbered: the intrinsics of gcc 12 do not tell it that a tile is loaded from memory.
 * Tiles are a thread's own state: configured by each kernel when it begins and released when it ends, so that the
 * system need not save them in between, and nothing of the caller's depends on them.
 */
#ifndef PM_SIMD_AMX_INT_H
#define PM_SIMD_AMX_INT_H

#include <stddef.h>
#include <stdint.h>

#include "simd_int.h"

#define TILE_ROWS  16
#define TILE_BYTES 64

/* All eight tiles, whole. */
INLINE void tiles_begin(void)
{
    static const struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } all = {.palette = 1,
             .bytes = {TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES, TILE_BYTES},
             .rows = {TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS, TILE_ROWS}};
    _Static_assert(sizeof all == 64, "as the instruction has it");
    __asm__ volatile("ldtilecfg %0" : : "m"(all));
}

INLINE void tiles_end(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

/* What a tile is named by is a constant in the instruction. */
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t : :)
#define TILE_LOAD(t, from, stride)                                                                                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t : : "r"((const void *)(from)), "r"((size_t)(stride)) : "memory")
#define TILE_STORE(t, to, stride)                                                                                      \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" : : "r"((void *)(to)), "r"((size_t)(stride)) : "memory")
/* sums += unsigned bytes of rows a x signed bytes of columns b; _SU: signed and unsigned. */
#define TILE_ADD_US(sums, a, b) __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #sums : :)
#define TILE_ADD_SU(sums, a, b) __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #sums : :)

#endif
