/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC32C. The hardware form runs three streams at once, because the crc32 instruction has a latency of three cycles and
 * a throughput of one, and joins them by a carry-less multiplication that appends zeros (Gopal et al., Fast CRC
 * computation for iSCSI polynomial using CRC32 instruction, Intel 2011). The constants are K(n) with crc32(0, clmul(x,
 * K(n))) = x followed by n zero bytes; the tests check them against the portable form.
 */
#include <string.h>

#include "base/base.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

/* Bit by bit through a table of 16: small, and only for machines without the instruction, and tests. */
uint32_t pm_crc32c_portable(uint32_t seed, const void *data, size_t size)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *p = data;
    uint32_t crc = ~seed;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ nibble[crc & 15];
        crc = (crc >> 4) ^ nibble[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)

enum { K256 = (int)0xb9e02b86, K512 = (int)0xdd7e3b0c, K4096 = (int)0x82f89c77, K8192 = 0x54a86326 };

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

__attribute__((target("sse4.2,pclmul"))) static inline uint32_t append_zeros(uint64_t crc, int k)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128((long long)(uint32_t)k), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

/* k1 appends `block` zeros, k2 twice as many. */
__attribute__((target("sse4.2,pclmul"))) static inline const uint8_t *
three_streams(uint64_t *crc, const uint8_t *p, size_t *size, size_t block, int k1, int k2)
{
    while (*size >= 3 * block) {
        uint64_t a = *crc, b = 0, c = 0;
        for (size_t i = 0; i < block; i += 8) {
            a = _mm_crc32_u64(a, load64(p + i));
            b = _mm_crc32_u64(b, load64(p + block + i));
            c = _mm_crc32_u64(c, load64(p + 2 * block + i));
        }
        *crc = append_zeros(a, k2) ^ append_zeros(b, k1) ^ c;
        p += 3 * block;
        *size -= 3 * block;
    }
    return p;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc32c_sse42(uint32_t seed, const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t crc = (uint32_t)~seed;
    p = three_streams(&crc, p, &size, 4096, K4096, K8192);
    p = three_streams(&crc, p, &size, 256, K256, K512);
    for (; size >= 8; size -= 8, p += 8)
        crc = _mm_crc32_u64(crc, load64(p));
    uint32_t tail = (uint32_t)crc;
    for (; size > 0; size--, p++)
        tail = _mm_crc32_u8(tail, *p);
    return ~tail;
}

uint32_t pm_crc32c(uint32_t seed, const void *data, size_t size)
{
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) return crc32c_sse42(seed, data, size);
    return pm_crc32c_portable(seed, data, size);
}

#else

uint32_t pm_crc32c(uint32_t seed, const void *data, size_t size)
{
    return pm_crc32c_portable(seed, data, size);
}

#endif
