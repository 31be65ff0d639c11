/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of the table of code kernels. */
#include "codes_int.h"

#include <string.h>

#if defined(__x86_64__)
const pm_simd_quant *pm_simd_quant_of(const pm_simd *simd)
{
    if (strcmp(simd->name, "avx2") == 0 || strcmp(simd->name, "avxvnni") == 0) return &pm_simd_quant_avx2;
    if (strcmp(simd->name, "avx512") == 0) return &pm_simd_quant_avx512;
    return strcmp(simd->name, "avx512vnni") == 0 ? &pm_simd_quant_avx512vnni : &pm_simd_quant_scalar;
}
#else
const pm_simd_quant *pm_simd_quant_of(const pm_simd *simd)
{
    (void)simd;
    return &pm_simd_quant_scalar;
}
#endif

size_t pm_simd_quant_all(const pm_simd_quant *out[], size_t max)
{
    const pm_simd *level[8];
    size_t levels = pm_simd_levels(level, 8), n = 0;
    for (; n < levels && n < max; n++)
        out[n] = pm_simd_quant_of(level[n]);
    return n;
}
