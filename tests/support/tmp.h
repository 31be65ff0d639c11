/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary directories, and small files read and written whole. */
#ifndef T_TMP_H
#define T_TMP_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define T_PATH_MAX 512

static inline void t_die(const char *what, const char *path)
{
    fprintf(stderr, "cannot %s %s: %s\n", what, path, strerror(errno));
    exit(2);
}

/* Makes a new directory <dir>/pomai-<tag>-XXXXXX. */
static inline void t_tmp_make(char path[T_PATH_MAX], const char *dir, const char *tag)
{
    int n = snprintf(path, T_PATH_MAX, "%s/pomai-%s-XXXXXX", dir, tag);
    if (n < 0 || n >= T_PATH_MAX) {
        errno = ENAMETOOLONG;
        t_die("make a directory in", dir);
    }
    if (mkdtemp(path) == NULL) t_die("make the directory", path);
}

static inline int t_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

/* Removes a file or a tree; one that is not there is no mistake. */
static inline void t_remove(const char *path)
{
    nftw(path, t_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Joins into a buffer of T_PATH_MAX. */
static inline void t_join(char out[T_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out, T_PATH_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= T_PATH_MAX) {
        errno = ENAMETOOLONG;
        t_die("join", dir);
    }
}

/* The bytes of a file, malloc-ed; exits when it cannot be read. */
static inline uint8_t *t_read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) t_die("open", path);
    struct stat st;
    if (fstat(fileno(f), &st) != 0) t_die("stat", path);
    size_t n = (size_t)st.st_size;
    uint8_t *bytes = malloc(n + 1);
    if (bytes == NULL || fread(bytes, 1, n, f) != n) t_die("read", path);
    bytes[n] = 0;
    fclose(f);
    *size = n;
    return bytes;
}

static inline void t_write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL) t_die("open", path);
    if (size > 0 && fwrite(bytes, 1, size, f) != size) t_die("write", path);
    if (fclose(f) != 0) t_die("write", path);
}

/* ---- copying a closed database ---- */

/* nftw has no context argument, and tests copy from one thread only. */
static const char *t_copy_from;
static const char *t_copy_to;

static inline int t_copy_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)where;
    char to[T_PATH_MAX];
    int n = snprintf(to, sizeof to, "%s%s", t_copy_to, path + strlen(t_copy_from));
    if (n < 0 || n >= T_PATH_MAX) return -1;
    if (kind == FTW_D) return mkdir(to, 0700) != 0 && errno != EEXIST ? -1 : 0;
    size_t size;
    uint8_t *bytes = t_read_file(path, &size);
    /* The tail of a log file is allocated ahead and zero: leave it a hole. */
    size_t used = size;
    while (used > 0 && bytes[used - 1] == 0)
        used--;
    t_write_file(to, bytes, used);
    free(bytes);
    return truncate(to, st->st_size);
}

static inline void t_copy_tree(const char *from, const char *to)
{
    t_copy_from = from;
    t_copy_to = to;
    if (nftw(from, t_copy_entry, 16, FTW_PHYS) != 0) t_die("copy", from);
}

#endif
