/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of an input file, plain or gzip, in order; nothing here seeks. */
#include "read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BUFFER_BYTES = 256 * 1024 };

static int look_at_file(struct input *in)
{
    struct stat st;
    unsigned char magic[3];
    if (fstat(in->fd, &st) != 0) {
        complain("%s: %s", in->path, strerror(errno));
        return -1;
    }
    if (S_ISDIR(st.st_mode)) {
        complain("%s is a directory; give a file of vectors", in->path);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) return 0;
    in->size = (uint64_t)st.st_size;
    /* The third byte too: an .fvecs file of 35,615 dimensions begins with 1f 8b. */
    if (pread(in->fd, magic, 3, 0) == 3 && magic[0] == 0x1f && magic[1] == 0x8b && magic[2] == 8) {
        in->gz = gzdopen(in->fd, "rb");
        if (!in->gz) {
            complain("%s: out of memory for gzip", in->path);
            return -1;
        }
        gzbuffer(in->gz, BUFFER_BYTES);
        return 0;
    }
    in->size_is_exact = lseek(in->fd, 0, SEEK_CUR) == 0;
    return 0;
}

int input_open(struct input *in, const char *path)
{
    memset(in, 0, sizeof *in);
    in->path = strcmp(path, "-") == 0 ? "standard input" : path;
    in->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0) {
        complain("%s: %s%s", in->path, strerror(errno), errno == ENOENT ? "; check the path of the file" : "");
        return -1;
    }
    in->buffer = must_realloc(NULL, BUFFER_BYTES, 1);
    if (look_at_file(in) != 0) {
        input_close(in);
        return -1;
    }
    return 0;
}

static int gzip_trouble(const struct input *in)
{
    int number;
    const char *text = gzerror(in->gz, &number);
    if (number == Z_BUF_ERROR)
        complain("%s: the gzip data end too early, after %llu bytes of content; fetch the file again", in->path,
                 (unsigned long long)in->offset);
    else
        complain("%s: the gzip data are damaged after about %llu bytes of content (%s); fetch the file again", in->path,
                 (unsigned long long)in->offset, number == Z_ERRNO ? strerror(errno) : text);
    return -1;
}

/* One read of at most `size` bytes from the file; 0 at its end, -1 having said why. */
static ssize_t read_some(struct input *in, void *bytes, size_t size)
{
    if (size > 1 << 30) size = 1 << 30;
    if (in->gz) {
        int got = gzread(in->gz, bytes, (unsigned)size);
        int number = Z_OK;
        if (got == 0) gzerror(in->gz, &number);
        return got < 0 || number < 0 ? gzip_trouble(in) : got;
    }
    for (;;) {
        ssize_t got = read(in->fd, bytes, size);
        if (got >= 0) return got;
        if (errno == EINTR && in->stop && *in->stop) return 0; /* as if it ended here */
        if (errno != EINTR) {
            complain("%s: reading at offset %llu failed: %s", in->path, (unsigned long long)in->offset,
                     strerror(errno));
            return -1;
        }
    }
}

int input_read(struct input *in, void *bytes, size_t size, size_t *got)
{
    unsigned char *out = bytes;
    *got = 0;
    while (*got < size) {
        size_t left = size - *got;
        size_t ready = in->have - in->at;
        if (ready > 0) {
            size_t take = ready < left ? ready : left;
            memcpy(out + *got, in->buffer + in->at, take);
            in->at += take;
            in->offset += take;
            *got += take;
            continue;
        }
        /* Large reads go where they are wanted, without a copy. */
        bool direct = left >= BUFFER_BYTES;
        ssize_t some = read_some(in, direct ? out + *got : in->buffer, direct ? left : BUFFER_BYTES);
        if (some < 0) return -1;
        if (some == 0) return 0;
        in->at = 0;
        in->have = direct ? 0 : (size_t)some;
        if (direct) {
            in->offset += (size_t)some;
            *got += (size_t)some;
        }
    }
    return 0;
}

int input_need(struct input *in, void *bytes, size_t size, const char *what)
{
    uint64_t at = in->offset;
    size_t got;
    if (input_read(in, bytes, size, &got) != 0) return -1;
    if (got == size) return 0;
    if (at == 0 && got == 0)
        complain("%s is empty; it should begin with %s", in->path, what);
    else
        complain("%s ends after %llu bytes, inside %s (%zu bytes from offset %llu); the file is cut short, fetch or "
                 "write it again",
                 in->path, (unsigned long long)in->offset, what, size, (unsigned long long)at);
    return -1;
}

int input_at_end(struct input *in)
{
    unsigned char byte;
    size_t got;
    uint64_t at = in->offset;
    if (input_read(in, &byte, 1, &got) != 0) return -1;
    if (got == 0) return 0;
    complain("%s has bytes after its last row, from offset %llu; its header does not describe it, write it again",
             in->path, (unsigned long long)at);
    return -1;
}

int input_line(struct input *in, struct text *line, size_t limit, uint64_t number, bool *end)
{
    line->size = 0;
    *end = false;
    for (;;) {
        if (in->at == in->have) {
            ssize_t some = read_some(in, in->buffer, BUFFER_BYTES);
            if (some < 0) return -1;
            in->at = 0;
            in->have = (size_t)some;
            if (some == 0) {
                *end = line->size == 0;
                text_add(line, "", 0);
                return 0;
            }
        }
        const unsigned char *from = in->buffer + in->at;
        const unsigned char *feed = memchr(from, '\n', in->have - in->at);
        size_t size = feed ? (size_t)(feed - from) : in->have - in->at;
        if (line->size + size > limit) {
            complain("%s line %llu is longer than %zu bytes; is each object on a line of its own?", in->path,
                     (unsigned long long)number, limit);
            return -1;
        }
        text_add(line, from, size);
        in->at += size + (feed ? 1 : 0);
        in->offset += size + (feed ? 1 : 0);
        if (feed) return 0;
    }
}

double input_fraction(const struct input *in)
{
    if (in->size == 0) return -1;
    long long at = in->gz ? (long long)gzoffset(in->gz) : (long long)in->offset;
    return at < 0 ? -1 : (double)at / (double)in->size;
}

void input_close(struct input *in)
{
    if (in->gz)
        gzclose(in->gz);
    else if (in->fd >= 0)
        close(in->fd);
    free(in->buffer);
    memset(in, 0, sizeof *in);
    in->fd = -1;
}
