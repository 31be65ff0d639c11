/* SPDX-License-Identifier: Apache-2.0 */
/* What the files for 64-bit ARM share. */
#ifndef PM_SIMD_NEON_INT_H
#define PM_SIMD_NEON_INT_H

#include <arm_neon.h>

#include "simd_int.h"

#define W 4 /* floats in a register */

/* The first n <= W elements, and those of `rest`. */
INLINE float32x4_t load_first(const float *x, size_t n, float32x4_t rest)
{
    if (n >= W) return vld1q_f32(x);
    if (n > 0) rest = vld1q_lane_f32(x, rest, 0);
    if (n > 1) rest = vld1q_lane_f32(x + 1, rest, 1);
    if (n > 2) rest = vld1q_lane_f32(x + 2, rest, 2);
    return rest;
}

/* Bit i is set if element i, which is all ones or zeros, is ones. */
INLINE unsigned bits_of(uint32x4_t mask)
{
    static const uint32_t bit[W] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(mask, vld1q_u32(bit)));
}

/* v[i] element j becomes v[j] element i. */
INLINE void transpose4(float32x4_t *v)
{
    const float64x2_t ab = vreinterpretq_f64_f32(vtrn1q_f32(v[0], v[1]));
    const float64x2_t AB = vreinterpretq_f64_f32(vtrn2q_f32(v[0], v[1]));
    const float64x2_t cd = vreinterpretq_f64_f32(vtrn1q_f32(v[2], v[3]));
    const float64x2_t CD = vreinterpretq_f64_f32(vtrn2q_f32(v[2], v[3]));
    v[0] = vreinterpretq_f32_f64(vtrn1q_f64(ab, cd));
    v[1] = vreinterpretq_f32_f64(vtrn1q_f64(AB, CD));
    v[2] = vreinterpretq_f32_f64(vtrn2q_f64(ab, cd));
    v[3] = vreinterpretq_f32_f64(vtrn2q_f64(AB, CD));
}

#endif
