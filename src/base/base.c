/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/point.h"

#ifdef POMAI_TEST_HOOKS
void (*pm_point_hook)(enum pm_point point) = NULL;
void (*pm_atomic_hook)(void) = NULL;
bool (*pm_malloc_fails)(size_t size) = NULL;
const pm_memory *pm_memory_hook = NULL;
#define FAILS(size) (pm_malloc_fails != NULL && pm_malloc_fails(size))
#else
#define FAILS(size) false
#endif
#ifdef POMAI_MUTANTS
int pm_mutant = PM_MUTANT_NONE;
#endif

pomai_status pm_fail(pomai_error *err, pomai_status status, const char *format, ...)
{
    if (err == NULL) return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    err->os_errno = 0;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

static pomai_status status_of_errno(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT:
        return POMAI_ENOSPC;
    case ENOMEM:
    case EMFILE: /* no descriptors: as harmless, and as much for the caller to mend */
    case ENFILE:
        return POMAI_ENOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
        return POMAI_EACCESS;
    case ENOENT:
        return POMAI_ENOTFOUND;
    case ENAMETOOLONG:
        return POMAI_ETOOBIG;
    default:
        return POMAI_EIO;
    }
}

pomai_status pm_fail_os(pomai_error *err, int os_errno, const char *format, ...)
{
    if (os_errno < 0) os_errno = -os_errno;
    pomai_status status = status_of_errno(os_errno);
    if (err == NULL) return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    err->os_errno = os_errno;
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    char reason[96];
    const char *text = strerror_r(os_errno, reason, sizeof reason); /* the GNU form: may not use the buffer */
    size_t room = sizeof err->message - strlen(text) - 6;           /* a long path must not push out the reason */
    size_t at = n < 0 ? 0 : (size_t)n;
    bool cut = at > room;
    if (cut) at = room;
    snprintf(err->message + at, sizeof err->message - at, "%s: %s", cut ? "..." : "", text);
    return status;
}

const char *pm_status_name(pomai_status status)
{
    switch (status) {
#define NAME_X(name, number, text)                                                                                     \
    case POMAI_##name:                                                                                                 \
        return "POMAI_" #name;
        POMAI_STATUS_TABLE(NAME_X)
#undef NAME_X
    }
    return "POMAI_?";
}

const char *pm_status_text(pomai_status status)
{
    switch (status) {
#define TEXT_X(name, number, text)                                                                                     \
    case POMAI_##name:                                                                                                 \
        return text;
        POMAI_STATUS_TABLE(TEXT_X)
#undef TEXT_X
    }
    return "unknown status";
}

#ifdef POMAI_TEST_HOOKS
#define HOOKED(call)                                                                                                   \
    if (pm_memory_hook != NULL) return pm_memory_hook->call
#else
#define HOOKED(call) ((void)0)
#endif

void *pm_malloc(size_t size)
{
    HOOKED(take(16, size));
    return FAILS(size) ? NULL : malloc(size);
}

void *pm_calloc(size_t count, size_t size)
{
#ifdef POMAI_TEST_HOOKS
    uint64_t bytes;
    if (pm_memory_hook != NULL) {
        void *memory = pm_mul_overflows(count, size, &bytes) ? NULL : pm_memory_hook->take(16, bytes);
        return memory == NULL ? NULL : memset(memory, 0, bytes);
    }
#endif
    return FAILS(size) ? NULL : calloc(count, size);
}

void *pm_realloc(void *memory, size_t size)
{
    HOOKED(resize(memory, size));
    return FAILS(size) ? NULL : realloc(memory, size);
}

void *pm_malloc_aligned(size_t alignment, size_t size)
{
    HOOKED(take(alignment, size));
    void *memory = NULL;
    if (FAILS(size) || posix_memalign(&memory, alignment, size) != 0) return NULL;
    return memory;
}

void pm_free(void *memory)
{
#ifdef POMAI_TEST_HOOKS
    if (pm_memory_hook != NULL) {
        pm_memory_hook->give(memory);
        return;
    }
#endif
    free(memory);
}

uint64_t pm_hash_bytes(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *p = data;
    uint64_t h = seed;
    size_t n = size;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        h = pm_mix64(h ^ word) + 0x9e3779b97f4a7c15u;
    }
    uint64_t word = 0;
    if (n > 0) memcpy(&word, p, n);
    h = pm_mix64(h ^ word) + 0x9e3779b97f4a7c15u;
    return pm_mix64(h ^ size);
}

static bool text_reserve(pm_text *text, size_t more)
{
    if (text->failed) return false;
    if (text->size + more + 1 <= text->capacity) return true;
    size_t capacity = text->capacity == 0 ? 256 : text->capacity;
    while (capacity < text->size + more + 1)
        capacity *= 2;
    char *data = pm_realloc(text->data, capacity);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void pm_text_add(pm_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n >= 0 && text_reserve(text, (size_t)n)) {
        vsnprintf(text->data + text->size, (size_t)n + 1, format, again);
        text->size += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void pm_text_add_json(pm_text *text, const char *bytes, size_t size)
{
    pm_text_add(text, "\"");
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\')
            pm_text_add(text, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            pm_text_add(text, "\\u%04x", c);
        else
            pm_text_add(text, "%c", c);
    }
    pm_text_add(text, "\"");
}
