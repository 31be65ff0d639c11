/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums, hashes, text, histograms: what everything else trusts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "core/shard/shard.h"
#include "storage/manifest/manifest.h"

static void crc32c_known_values(void **state)
{
    (void)state;
    /* RFC 3720, B.4: CRC examples. */
    uint8_t data[32];
    assert_int_equal(pm_crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, sizeof data);
    assert_int_equal(pm_crc32c(0, data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(pm_crc32c(0, data, sizeof data), 0x62a8ab43);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(pm_crc32c(0, data, sizeof data), 0x46dd794e);
}

static void crc32c_same_in_hardware(void **state)
{
    (void)state;
    enum { MOST = 30000 };
    static uint8_t data[MOST + 64];
    uint64_t x = 1;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(x = pm_mix64(x + 1));
    unsigned cases = 0;
    for (size_t n = 0; n <= MOST; n += n < 1600 ? 1 : 397, cases++) {
        size_t skip = n % 61; /* every alignment */
        uint32_t seed = (uint32_t)pm_mix64(n);
        assert_int_equal(pm_crc32c(seed, data + skip, n), pm_crc32c_portable(seed, data + skip, n));
        size_t cut = n / 3;
        assert_int_equal(pm_crc32c(pm_crc32c(seed, data, cut), data + cut, n - cut), pm_crc32c(seed, data, n));
    }
    printf("crc32c: %u cases, 0 failures, seed 1\n", cases);
}

/* The shard map is on disk: these values may never change. */
static void shard_map_is_fixed(void **state)
{
    (void)state;
    assert_int_equal(pm_mix64(1), 0x5692161d100b05e5);
    assert_int_equal(pm_hash_bytes("", 0, 0), pm_hash_bytes(NULL, 0, 0));
    static const uint32_t u64_of_7[] = {0, 2, 6, 0, 5, 4, 5, 0};
    for (uint64_t block = 0; block < 8; block++) {
        assert_int_equal(pm_shard_of_u64(block << 12, 7), u64_of_7[block]);
        assert_int_equal(pm_shard_of_u64((block << 12) + 4095, 7), u64_of_7[block]);
    }
    static const char *const ids[] = {"a", "b", "document-1", "a string id of more than sixteen bytes"};
    static const uint32_t string_of_7[] = {3, 4, 4, 1};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pm_shard_of_string(ids[i], strlen(ids[i]), 7), string_of_7[i]);
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(pm_shard_of_u64(pm_mix64(i), 256) < 256);
}

static void text_grows_and_escapes(void **state)
{
    (void)state;
    pm_text t = {0};
    pm_text_add_json(&t, "a\"b\\c\n\x01\xc3", 8);
    assert_string_equal(t.data, "\"a\\\"b\\\\c\\u000a\\u0001\\u00c3\"");
    for (int i = 0; i < 1000; i++)
        pm_text_add(&t, "%d,", i);
    assert_int_equal(t.size, strlen(t.data));
    assert_false(t.failed);
    pm_free(t.data);
}

static bool no_memory(size_t size)
{
    (void)size;
    return true;
}

static void text_without_memory_says_so(void **state)
{
    (void)state;
    pm_text t = {0};
    pm_malloc_fails = no_memory;
    pm_text_add(&t, "x");
    pm_malloc_fails = NULL;
    assert_true(t.failed);
    assert_null(t.data);
}

static void histogram_bounds_hold(void **state)
{
    (void)state;
    static pm_hist hist;
    uint64_t count;
    assert_int_equal(pm_hist_quantile(&hist, 0.5, &count), 0);
    for (uint64_t ns = 1; ns < 1u << 20; ns = ns * 3 / 2 + 1) {
        memset(&hist, 0, sizeof hist);
        pm_hist_add(&hist, ns);
        uint64_t bound = pm_hist_quantile(&hist, 0.99, &count);
        assert_int_equal(count, 1);
        assert_true(bound > ns || ns < 5);
        assert_true(bound <= ns + ns / 4 + 5);
    }
    pm_hist_add(&hist, UINT64_MAX); /* lands in the last bucket */
    assert_true(pm_hist_quantile(&hist, 1.0, &count) > 0);
}

static void names_of_collections(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", ".a", "a/b", "a b", "\xc3\xa4", "a\n"};
    assert_true(pm_manifest_name_valid("a", 1));
    assert_true(pm_manifest_name_valid("A-z_0.9", 7));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(pm_manifest_name_valid(bad[i], strlen(bad[i])));
    char longest[POMAI_MAX_NAME + 1];
    memset(longest, 'x', sizeof longest);
    assert_true(pm_manifest_name_valid(longest, POMAI_MAX_NAME));
    assert_false(pm_manifest_name_valid(longest, POMAI_MAX_NAME + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_known_values),         cmocka_unit_test(crc32c_same_in_hardware),
        cmocka_unit_test(shard_map_is_fixed),          cmocka_unit_test(text_grows_and_escapes),
        cmocka_unit_test(text_without_memory_says_so), cmocka_unit_test(histogram_bounds_hold),
        cmocka_unit_test(names_of_collections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
