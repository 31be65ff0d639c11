/* SPDX-License-Identifier: Apache-2.0 */
/* Between element types: every level against definitions by value, over all float16 numbers and hostile float32s. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "simd/convert.h"
#include "support/rng.h"

enum { HALVES = 65536, MOST = 700 };

static const pm_simd *level[8];
static size_t levels;
static uint64_t seed = 1;

static uint32_t pick(struct t_rng *rng, uint32_t bound)
{
    return (uint32_t)t_below(rng, bound);
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The definition of IEEE 754 binary16, by value. */
static double value_of(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const double sign = (h & 0x8000) != 0 ? -1 : 1;
    if (exponent == 31) return fraction != 0 ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25));
}

/* The nearest float16 of a finite number, of two the even one; infinity from half a step beyond the largest on. */
static uint16_t nearest(float f)
{
    const uint16_t sign = signbit(f) != 0 ? 0x8000 : 0;
    const double x = fabs((double)f);
    uint16_t low = 0, high = 0x7c00; /* low is never above x; infinity counts as 65536 here */
    while (high - low > 1) {
        const uint16_t middle = (uint16_t)((low + high) / 2);
        if (value_of(middle) <= x)
            low = middle;
        else
            high = middle;
    }
    const double above = high == 0x7c00 ? 65536 : value_of(high);
    const double under = x - value_of(low), over = above - x;
    return sign | (under < over || (under == over && (low & 1) == 0) ? low : high);
}

static void every_float16_converts_exactly(void **state)
{
    (void)state;
    static uint16_t half[HALVES];
    static float out[HALVES + 1];
    for (uint32_t h = 0; h < HALVES; h++)
        half[h] = (uint16_t)h;
    for (size_t l = 0; l < levels; l++) {
        const pm_convert *convert = level[l]->convert;
#if defined(__x86_64__) /* elsewhere there is only the scalar one */
        assert_true(l == 0 || convert != level[0]->convert);
#endif
        convert->from_f16(half, HALVES, out);
        for (uint32_t h = 0; h < HALVES; h++) {
            const double want = value_of((uint16_t)h);
            if (isnan(want))
                assert_true(isnan(out[h]));
            else
                assert_true((double)out[h] == want && (signbit(out[h]) != 0) == (h >= 0x8000));
            if (isfinite(want)) { /* and back */
                uint16_t back;
                assert_int_equal(convert->to_f16(&out[h], 1, &back), 1);
                assert_int_equal(back, h);
                assert_int_equal(convert->first_not_finite_f16(&half[h], 1), 1);
            } else {
                assert_int_equal(convert->first_not_finite_f16(&half[h], 1), 0);
            }
        }
    }
}

/* Between and at all numbers that matter to rounding: halves, the middles between them, and their neighbours. */
static size_t hostile(float *x, size_t most, struct t_rng *rng)
{
    size_t n = 0;
    for (; n < most; n++) {
        const uint32_t kind = pick(rng, 8);
        const uint16_t h = (uint16_t)t_next(rng);
        const float exact = pm_f16_to_f32(h & 0x7fff), next = pm_f16_to_f32((uint16_t)((h & 0x7fff) + 1));
        const float middle = (float)(((double)exact + (double)next) / 2);
        const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
        if (kind == 0)
            x[n] = float_of((uint32_t)t_next(rng)); /* any bits: NaN, infinities, denormals */
        else if (kind == 1)
            x[n] = exact;
        else if (kind == 2)
            x[n] = float_of(bits_of(middle) | sign);
        else if (kind == 3)
            x[n] = float_of((bits_of(middle) + pick(rng, 3) - 1) | sign);
        else if (kind == 4)
            x[n] = float_of((0x477fe000u + pick(rng, 0x4000)) | sign); /* around 65504 and 65520 */
        else if (kind == 5)
            x[n] = float_of((0x33000000u + pick(rng, 5) - 2) | sign); /* around half of the smallest */
        else if (kind == 6)
            x[n] = float_of(pick(rng, 0x800000) | sign); /* denormal */
        else
            x[n] = (float)((int)pick(rng, 300) - 150) * (pick(rng, 4) == 0 ? 0.5f : 1.0f);
    }
    return n;
}

static void float32_is_rounded_to_the_nearest_even(void **state)
{
    (void)state;
    static float x[4096];
    uint64_t refused = 0, taken = 0;
    struct t_rng rng = t_rng_from(seed);
    for (int round = 0; round < 40; round++) {
        const size_t n = hostile(x, sizeof x / sizeof x[0], &rng);
        for (size_t l = 0; l < levels; l++) {
            const pm_convert *convert = level[l]->convert;
            for (size_t i = 0; i < n; i++) {
                uint16_t out = 0xdead;
                const bool fits = isfinite(x[i]) && (nearest(x[i]) & 0x7fff) != 0x7c00;
                assert_int_equal(convert->to_f16(&x[i], 1, &out), fits ? 1 : 0);
                if (fits) assert_int_equal(out, nearest(x[i]));
                *(fits ? &taken : &refused) += 1;
            }
        }
    }
    assert_true(refused > 1000 && taken > 1000);
    assert_true(isnan(pm_f16_to_f32(pm_f32_to_f16(NAN))));
    assert_int_equal(pm_f32_to_f16(-INFINITY), 0xfc00);
}

static bool whole(float f)
{
    return f >= -128 && f <= 127 && rintf(f) == f;
}

/* Arrays of every small length, at every alignment of an element, with the first bad element anywhere; what lies around
 * them stays as it was. */
static void lengths_and_places(void **state)
{
    (void)state;
    float x[MOST];
    uint16_t half[MOST], half_out[MOST + 2];
    int8_t byte[MOST], byte_out[MOST + 2];
    float single_out[MOST + 2];
    struct t_rng rng = t_rng_from(seed + 1);
    for (size_t l = 0; l < levels; l++) {
        const pm_convert *convert = level[l]->convert;
        for (int round = 0; round < 3000; round++) {
            const size_t n = pick(&rng, MOST - 32), at = pick(&rng, 32);
            const size_t bad = pick(&rng, 3) == 0 ? n : pick(&rng, (uint32_t)n + 1);
            for (size_t i = 0; i < MOST; i++) {
                byte[i] = (int8_t)t_next(&rng);
                x[i] = byte[i] == 0 && pick(&rng, 2) == 0 ? -0.0f : (float)byte[i];
                half[i] = pm_f32_to_f16(x[i]);
            }
            memset(half_out, 0x5a, sizeof half_out);
            memset(byte_out, 0x5a, sizeof byte_out);
            memset(single_out, 0x5a, sizeof single_out);
            static const float no_byte[] = {128, -129, 0.5f, 1e-40f, -1e-45f, 1e30f, NAN, INFINITY, 4294967296.0f};
            static const float no_half[] = {65520, -65520, NAN, INFINITY, 3e38f, -INFINITY};
            static const uint16_t no_number[] = {0x7c00, 0xfc00, 0x7c01, 0xffff};
            float keep = x[at + bad];
            const uint16_t keep_half = half[at + bad];
            if (bad < n) x[at + bad] = no_byte[pick(&rng, 9)];
            assert_int_equal(convert->to_i8(x + at, n, byte_out + 1), bad);
            if (bad < n) x[at + bad] = no_half[pick(&rng, 6)];
            assert_int_equal(convert->to_f16(x + at, n, half_out + 1), bad);
            if (bad < n) half[at + bad] = no_number[pick(&rng, 4)];
            assert_int_equal(convert->first_not_finite_f16(half + at, n), bad);
            x[at + bad] = keep;
            half[at + bad] = keep_half;
            if (bad == n) {
                assert_memory_equal(byte_out + 1, byte + at, n);
                assert_memory_equal(half_out + 1, half + at, n * 2);
            }
            assert_true(byte_out[0] == 0x5a && byte_out[n + 1] == 0x5a);
            assert_true(half_out[0] == 0x5a5a && half_out[n + 1] == 0x5a5a);
            convert->from_f16(half + at, n, single_out + 1);
            for (size_t i = 0; i < n; i++)
                assert_true(single_out[1 + i] == x[at + i] && signbit(single_out[1 + i]) == signbit(x[at + i]));
            convert->from_i8(byte + at, n, single_out + 1);
            for (size_t i = 0; i < n; i++)
                assert_true(single_out[1 + i] == (float)byte[at + i]);
            assert_true(bits_of(single_out[0]) == 0x5a5a5a5au && bits_of(single_out[n + 1]) == 0x5a5a5a5au);
        }
    }
}

static void whole_numbers_only(void **state)
{
    (void)state;
    static float x[4096];
    struct t_rng rng = t_rng_from(seed + 2);
    for (int round = 0; round < 40; round++) {
        const size_t n = hostile(x, sizeof x / sizeof x[0], &rng);
        for (size_t l = 0; l < levels; l++) {
            const pm_convert *convert = level[l]->convert;
            for (size_t i = 0; i < n; i++) {
                int8_t out = 77;
                assert_int_equal(convert->to_i8(&x[i], 1, &out), whole(x[i]) ? 1 : 0);
                if (whole(x[i])) assert_true((float)out == x[i]);
                float eight[9] = {1, 2, 3, 4, 5, 6, 7, 8, x[i]};
                int8_t bytes[9];
                eight[i % 9] = x[i];
                eight[8] = i % 9 == 8 ? x[i] : 9;
                assert_int_equal(convert->to_i8(eight, 9, bytes), whole(x[i]) ? 9 : i % 9);
            }
        }
    }
}

/* An application may round otherwise and take denormals as zero; what is stored must not depend on it. */
static void the_environment_has_no_say(void **state)
{
    (void)state;
    static float x[1024], small[16];
    static uint16_t want[1024], got[1024];
    struct t_rng rng = t_rng_from(seed + 3);
    size_t n = 0;
    while (n < 1024) {
        (void)hostile(&x[n], 1, &rng);
        n += isfinite(x[n]) && (nearest(x[n]) & 0x7fff) != 0x7c00;
    }
    for (size_t i = 0; i < 1024; i++)
        want[i] = nearest(x[i]);
    for (size_t i = 0; i < 16; i++)
        small[i] = 1e-40f;
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (size_t l = 0; l < levels; l++) {
        const pm_convert *convert = level[l]->convert;
        for (size_t m = 0; m < 4; m++) {
            int8_t bytes[16];
            float out[1024];
            fesetround(modes[m]);
#if defined(__x86_64__)
            const unsigned before = __builtin_ia32_stmxcsr();
            __builtin_ia32_ldmxcsr(before | 0x8040); /* denormals are zero, on the way in and out */
#endif
            const size_t halves = convert->to_f16(x, 1024, got), whole_ones = convert->to_i8(small, 16, bytes);
            convert->from_f16(want, 1024, out);
#if defined(__x86_64__)
            __builtin_ia32_ldmxcsr(before);
#endif
            fesetround(FE_TONEAREST);
            assert_int_equal(halves, 1024);
            assert_int_equal(whole_ones, 0);
            assert_memory_equal(got, want, sizeof want);
            for (size_t i = 0; i < 1024; i++)
                assert_true((double)out[i] == value_of(want[i]));
        }
    }
}

static void zeros(void **state)
{
    (void)state;
    const float single[3] = {0, -0.0f, 1e-45f};
    const uint16_t half[3] = {0, 0x8000, 1};
    const int8_t byte[3] = {0, 0, -1};
    for (size_t n = 1; n <= 3; n++) {
        assert_int_equal(pm_convert_all_zero(POMAI_DTYPE_FLOAT32, single, n), n < 3);
        assert_int_equal(pm_convert_all_zero(POMAI_DTYPE_FLOAT16, half, n), n < 3);
        assert_int_equal(pm_convert_all_zero(POMAI_DTYPE_INT8, byte, n), n < 3);
    }
    assert_string_equal(pm_dtype_name(POMAI_DTYPE_FLOAT16), "float16");
    assert_string_equal(pm_dtype_name((pomai_dtype)9), "?");
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
    levels = pm_simd_levels(level, sizeof level / sizeof level[0]);
    printf("convert: %zu levels, seed %llu\n", levels, (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_float16_converts_exactly),
        cmocka_unit_test(float32_is_rounded_to_the_nearest_even),
        cmocka_unit_test(lengths_and_places),
        cmocka_unit_test(whole_numbers_only),
        cmocka_unit_test(the_environment_has_no_say),
        cmocka_unit_test(zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
