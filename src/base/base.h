/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, memory, sizes, hashes: what every module uses. No system calls, no threads. */
#ifndef PM_BASE_BASE_H
#define PM_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pomai/types.h"

/* ---- errors ---- */

/* Fills *err (may be NULL) with a sentence and returns status, so that a caller can `return pm_fail(...)`. */
pomai_status pm_fail(pomai_error *err, pomai_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same after a failed system call: negative or positive errno decides the status; the reason is appended. */
pomai_status pm_fail_os(pomai_error *err, int os_errno, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "POMAI_EDIM" and so on, and the short text; static. */
const char *pm_status_name(pomai_status status);
const char *pm_status_text(pomai_status status);

/* ---- memory: the one door to malloc, so that tests can make any allocation fail ---- */

void *pm_malloc(size_t size);
void *pm_calloc(size_t count, size_t size);
void *pm_realloc(void *memory, size_t size);
void *pm_malloc_aligned(size_t alignment, size_t size); /* freed with pm_free like the others */
void pm_free(void *memory);
#ifdef POMAI_TEST_HOOKS
extern bool (*pm_malloc_fails)(size_t size); /* NULL, or asked before every allocation */
/* Instead of malloc and its kin; NULL: none. Set before anything is allocated. */
typedef struct pm_memory {
    void *(*take)(size_t alignment, size_t size);
    void *(*resize)(void *memory, size_t size);
    void (*give)(void *memory);
} pm_memory;
extern const pm_memory *pm_memory_hook;
#endif

/* ---- sizes ---- */

static inline bool pm_mul_overflows(uint64_t a, uint64_t b, uint64_t *out)
{
    return __builtin_mul_overflow(a, b, out);
}

static inline bool pm_add_overflows(uint64_t a, uint64_t b, uint64_t *out)
{
    return __builtin_add_overflow(a, b, out);
}

/* `alignment` is a power of two; n is far from the end of the range wherever this is used (sizes are bounded first). */
static inline uint64_t pm_align_up(uint64_t n, uint64_t alignment)
{
    return (n + alignment - 1) & ~(alignment - 1);
}

static inline uint64_t pm_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t pm_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- hashes; part of the disk format (the shard map), so never changed ---- */

/* Finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). A bijection. */
static inline uint64_t pm_mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Hash of a string id: 8 bytes at a time through mix64, the length last. */
uint64_t pm_hash_bytes(const void *data, size_t size, uint64_t seed);

/* The shard of an id; docs/format/manifest.md, "The shard map". */
static inline uint32_t pm_shard_of_hash(uint64_t hash, uint32_t shards)
{
    return (uint32_t)(((hash >> 32) * shards) >> 32);
}

static inline uint32_t pm_shard_of_u64(uint64_t id, uint32_t shards)
{
    return pm_shard_of_hash(pm_mix64(id >> 12), shards);
}

static inline uint32_t pm_shard_of_string(const void *data, size_t size, uint32_t shards)
{
    return pm_shard_of_hash(pm_hash_bytes(data, size, 0), shards);
}

/* ---- checksums ---- */

/* CRC32C (Castagnoli), with hardware instructions where there are some. seed is the checksum so far, 0 to begin; so
 * pm_crc32c(pm_crc32c(s, a), b) is the checksum of a then b. */
uint32_t pm_crc32c(uint32_t seed, const void *data, size_t size);
uint32_t pm_crc32c_portable(uint32_t seed, const void *data, size_t size);

/* ---- text ---- */

/* A growing string; after a failed allocation it stays as it was and `failed` is set. */
typedef struct pm_text {
    char *data; /* NUL-terminated, or NULL while empty */
    size_t size;
    size_t capacity;
    bool failed;
} pm_text;
void pm_text_add(pm_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds the bytes as a JSON string with quotes; bytes that are not printable ASCII become \u00XX. */
void pm_text_add_json(pm_text *text, const char *bytes, size_t size);

#endif
