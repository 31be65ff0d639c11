/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmarks share: time, medians, numbers for people, the machine as context of every figure. */
#ifndef POMAI_BENCH_H
#define POMAI_BENCH_H

#include <ftw.h>
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static inline double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds of the processor: CLOCK_THREAD_CPUTIME_ID, or CLOCK_PROCESS_CPUTIME_ID. */
static inline double bench_busy(clockid_t of)
{
    struct timespec t;
    clock_gettime(of, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void *bench_alloc(size_t size)
{
    const size_t page = size >= ((size_t)2 << 20) ? (size_t)2 << 20 : 64; /* large ones, as mapped files have */
    void *memory = size > 0 ? aligned_alloc(page, (size + page - 1) / page * page) : NULL;
    if (memory != NULL && page > 64) (void)madvise(memory, size, MADV_HUGEPAGE);
    if (memory == NULL) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", size);
        exit(1);
    }
    return memory;
}

/* SplitMix64: distinct for distinct n. */
static inline uint64_t bench_mix(uint64_t n)
{
    n += 0x9e3779b97f4a7c15;
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
    n = (n ^ n >> 27) * 0x94d049bb133111eb;
    return n ^ n >> 31;
}

static inline uint32_t bench_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (uint32_t)n : 1;
}

/* ---- medians ---- */

struct bench_spread {
    double median, least, most;
};

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the values. */
static inline struct bench_spread bench_spread_of(double *values, size_t n)
{
    if (n == 0) return (struct bench_spread){0, 0, 0};
    qsort(values, n, sizeof *values, bench_compare);
    double middle = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return (struct bench_spread){middle, values[0], values[n - 1]};
}

/* ---- text ---- */

/* 1234567.8 as 1,234,568. */
static inline const char *bench_number(char text[32], double value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", value), to = 0;
    for (int i = 0; i < n && to < 30; i++) {
        if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-') text[to++] = ',';
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

/* ---- machine ---- */

struct bench_machine {
    char cpu[96];
    char kernel[96];
    char file_system[64];
    char commit[64];
    uint32_t cores;
};

/* Keeps it fit for a JSON string. */
static inline void bench_copy(char *to, size_t size, const char *from)
{
    size_t n = 0;
    for (; *from != '\0' && *from != '\n' && n + 1 < size; from++)
        if (*from != '"' && *from != '\\' && (unsigned char)*from >= ' ') to[n++] = *from;
    to[n] = '\0';
}

static inline int bench_popen_line(const char *command, char *line, int size)
{
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) return 0;
    int got = fgets(line, size, pipe) != NULL;
    pclose(pipe);
    return got;
}

static inline void bench_find_file_system(char *to, size_t size, const char *dir)
{
    struct stat st;
    char line[1024], type[32];
    FILE *mounts = fopen("/proc/self/mountinfo", "r");
    bench_copy(to, size, "?");
    if (mounts == NULL || stat(dir, &st) != 0) {
        if (mounts != NULL) fclose(mounts);
        return;
    }
    while (fgets(line, sizeof line, mounts) != NULL) {
        unsigned upper, lower;
        const char *rest = strstr(line, " - ");
        if (sscanf(line, "%*u %*u %u:%u", &upper, &lower) != 2 || rest == NULL) continue;
        if (makedev(upper, lower) == st.st_dev && sscanf(rest, " - %31s", type) == 1) bench_copy(to, size, type);
    }
    fclose(mounts);
}

static inline void bench_machine_get(struct bench_machine *m, const char *dir)
{
    char line[512], text[128];
    struct utsname name;
    bench_copy(m->cpu, sizeof m->cpu, "?");
    FILE *cpus = fopen("/proc/cpuinfo", "r");
    while (cpus != NULL && fgets(line, sizeof line, cpus) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL) continue;
        bench_copy(m->cpu, sizeof m->cpu, colon + 2);
        break;
    }
    if (cpus != NULL) fclose(cpus);
    snprintf(text, sizeof text, "?");
    if (uname(&name) == 0) snprintf(text, sizeof text, "%.20s %.70s", name.sysname, name.release);
    bench_copy(m->kernel, sizeof m->kernel, text);
    bench_find_file_system(m->file_system, sizeof m->file_system, dir);
    bench_copy(m->commit, sizeof m->commit, "?");
    if (bench_popen_line("git rev-parse --short=12 HEAD 2>/dev/null", line, sizeof line)) {
        bench_copy(m->commit, sizeof m->commit - 8, line);
        if (bench_popen_line("git status --porcelain -uno -- src include CMakeLists.txt 2>/dev/null", line,
                             sizeof line))
            strcat(m->commit, "+edits");
    }
    m->cores = bench_cores();
}

/* ---- directories ---- */

static inline int bench_remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

/* The directory and all that is in it. */
static inline void bench_remove_tree(const char *path)
{
    (void)nftw(path, bench_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
