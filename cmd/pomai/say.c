/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to stderr: complaints, notes and the progress bar; and numbers made readable. */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The program is single-threaded outside the library; these three belong to its one thread. */
static bool bar_on_screen;
static char first[1024];

static void clear_bar(void)
{
    if (bar_on_screen) fputs("\r\033[K", stderr);
    bar_on_screen = false;
}

/* Names of files and their contents end up in sentences; they must not steer the terminal. */
static void mask_controls(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

void complain(const char *format, ...)
{
    char sentence[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    mask_controls(sentence);
    if (!first[0]) memcpy(first, sentence, sizeof first);
    clear_bar();
    fflush(stdout);
    fprintf(stderr, "pomai: %s\n", sentence);
}

const char *first_complaint(void)
{
    return first;
}

int complain_error(const pomai_error *err)
{
    static const char flag[] = "POMAI_OPEN_ACCEPT_DAMAGE"; /* the library's word for an option */
    const char *sentence = err->message[0] ? err->message : pomai_status_text(err->status);
    const char *at = strstr(sentence, flag);
    if (at)
        complain("%.*s--accept-damage%s (%s)", (int)(at - sentence), sentence, at + sizeof flag - 1,
                 pomai_status_name(err->status));
    else
        complain("%s (%s)", sentence, pomai_status_name(err->status));
    return EXIT_FAILED;
}

void note(const struct args *args, const char *format, ...)
{
    if (args_has(args, OPT_QUIET)) return;
    char sentence[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    mask_controls(sentence);
    clear_bar();
    fprintf(stderr, "note: %s\n", sentence);
}

double now_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

const char *grouped(uint64_t number, char buffer[32])
{
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    char *out = buffer;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) *out++ = ',';
        *out++ = digits[i];
    }
    *out = 0;
    return buffer;
}

const char *byte_text(double bytes, char buffer[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    for (; bytes >= 1000 && unit < 4; unit++)
        bytes /= 1000;
    snprintf(buffer, 32, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return buffer;
}

const char *ttl_text(uint64_t nanoseconds, char buffer[32])
{
    static const struct {
        uint64_t nanoseconds;
        const char *unit;
    } units[] = {{UINT64_C(86400000000000), "d"},
                 {UINT64_C(3600000000000), "h"},
                 {UINT64_C(60000000000), "m"},
                 {UINT64_C(1000000000), "s"},
                 {1, "ns"}};
    size_t i = 0;
    while (nanoseconds % units[i].nanoseconds != 0)
        i++;
    if (nanoseconds == 0)
        snprintf(buffer, 32, "none");
    else
        snprintf(buffer, 32, "%llu%s", (unsigned long long)(nanoseconds / units[i].nanoseconds), units[i].unit);
    return buffer;
}

const char *metric_name(pomai_metric metric)
{
    switch (metric) {
    case POMAI_METRIC_L2:
        return "l2";
    case POMAI_METRIC_IP:
        return "ip";
    case POMAI_METRIC_COSINE:
        return "cosine";
    }
    return "?";
}

const char *id_kind_name(pomai_id_kind kind)
{
    return kind == POMAI_ID_STRING ? "string" : kind == POMAI_ID_U64 ? "u64" : "?";
}

const char *index_name(pomai_index_kind index)
{
    switch (index) {
    case POMAI_INDEX_AUTO:
        return "auto";
    case POMAI_INDEX_EXACT:
        return "exact";
    case POMAI_INDEX_CODES:
        return "codes";
    case POMAI_INDEX_GRAPH:
        return "graph";
    }
    return "?";
}

const char *dtype_name(pomai_dtype dtype)
{
    switch (dtype) {
    case POMAI_DTYPE_FLOAT32:
        return "float32";
    case POMAI_DTYPE_FLOAT16:
        return "float16";
    case POMAI_DTYPE_INT8:
        return "int8";
    }
    return "?";
}

const char *durability_name(pomai_durability level)
{
    switch (level) {
    case POMAI_DURABILITY_OS:
        return "os";
    case POMAI_DURABILITY_GROUP:
        return "group";
    case POMAI_DURABILITY_SYNC:
        return "sync";
    case POMAI_DURABILITY_DEFAULT:
        break;
    }
    return "default";
}

void progress_begin(struct progress *progress, const struct args *args, const char *what, const char *unit)
{
    progress->what = what;
    progress->unit = unit;
    progress->began = now_seconds();
    progress->drawn = progress->began;
    progress->on = isatty(STDERR_FILENO) && !args_has(args, OPT_QUIET);
}

void progress_update(struct progress *progress, uint64_t done, double fraction)
{
    double now = now_seconds();
    if (!progress->on || now - progress->drawn < 0.1) return;
    progress->drawn = now;
    double elapsed = now - progress->began;
    char number[32], rate[32];
    grouped(done, number);
    grouped((uint64_t)((double)done / elapsed), rate);
    bar_on_screen = true;
    if (fraction < 0 || fraction > 1) {
        fprintf(stderr, "\r%s  %s %s  %s/s\033[K", progress->what, number, progress->unit, rate);
        return;
    }
    char bar[25];
    size_t filled = (size_t)(fraction * 24);
    memset(bar, '.', 24);
    memset(bar, '#', filled);
    bar[24] = 0;
    unsigned eta = fraction > 0 ? (unsigned)(elapsed / fraction * (1 - fraction) + 0.5) : 0;
    fprintf(stderr, "\r%s [%s] %3.0f%%  %s %s  %s/s  ETA %u:%02u\033[K", progress->what, bar, fraction * 100, number,
            progress->unit, rate, eta / 60, eta % 60);
}

void progress_end(struct progress *progress)
{
    if (progress->on) clear_bar();
}

void *must_realloc(void *old, size_t count, size_t size)
{
    void *memory = reallocarray(old, count ? count : 1, size);
    if (!memory) {
        complain("out of memory: %zu entries of %zu bytes could not be had; use a smaller --batch", count, size);
        exit(EXIT_FAILED);
    }
    return memory;
}

void *must_grow(void *old, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) return old;
    size_t wanted = *capacity > SIZE_MAX / 2 ? SIZE_MAX : *capacity * 2;
    if (wanted < need) wanted = need;
    old = must_realloc(old, wanted, size);
    *capacity = wanted;
    return old;
}
