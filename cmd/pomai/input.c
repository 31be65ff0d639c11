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

enum { BUFFER_BYTES = 256 * 1024, PACKED_BYTES = 64 * 1024 };

/* A gzip file: one or more members, one after the other. */
struct gzip {
    z_stream z;
    bool between; /* members: the last one ended whole */
    unsigned char packed[PACKED_BYTES];
};

/* One read of at most `size` bytes from the descriptor; 0 at its end, -1 having said why. */
static ssize_t read_file(struct input *in, void *bytes, size_t size)
{
    for (;;) {
        ssize_t got = read(in->fd, bytes, size < 1 << 30 ? size : 1 << 30);
        if (got >= 0) {
            in->taken += (size_t)got;
            return got;
        }
        if (errno == EINTR && in->stop && *in->stop) return 0; /* as if it ended here */
        if (errno != EINTR) {
            complain("%s: reading at offset %llu failed: %s", in->path, (unsigned long long)in->taken, strerror(errno));
            return -1;
        }
    }
}

static int gzip_trouble(const struct input *in, const char *what)
{
    if (what)
        complain("%s: the gzip data are damaged after about %llu bytes of content (%s); fetch the file again", in->path,
                 (unsigned long long)in->offset, what);
    else
        complain("%s: the gzip data end too early, after %llu bytes of content; fetch the file again", in->path,
                 (unsigned long long)in->offset);
    return -1;
}

/* More packed bytes, if there are none. 1, 0 at the end of the file, -1 having said why. */
static int gzip_refill(struct input *in)
{
    struct gzip *gz = in->gz;
    if (gz->z.avail_in > 0) return 1;
    ssize_t got = read_file(in, gz->packed, PACKED_BYTES);
    gz->z.next_in = gz->packed;
    gz->z.avail_in = got > 0 ? (unsigned)got : 0;
    return got > 0 ? 1 : (int)got;
}

/* Behind a member: another one, or zeros, which fill up blocks of tapes, to the end of the file. */
static int gzip_next_member(struct input *in)
{
    struct gzip *gz = in->gz;
    for (;;) {
        int more = gzip_refill(in);
        if (more <= 0) return more;
        while (gz->z.avail_in > 0 && *gz->z.next_in == 0) {
            gz->z.next_in++;
            gz->z.avail_in--;
        }
        if (gz->z.avail_in == 0) continue;
        gz->between = false;
        return inflateReset(&gz->z) == Z_OK ? 1 : gzip_trouble(in, "zlib");
    }
}

static ssize_t read_gzip(struct input *in, void *bytes, size_t size)
{
    struct gzip *gz = in->gz;
    unsigned room = size < 1 << 30 ? (unsigned)size : 1 << 30;
    gz->z.next_out = bytes;
    gz->z.avail_out = room;
    while (gz->z.avail_out == room) {
        int more = gz->between ? gzip_next_member(in) : gzip_refill(in);
        if (more < 0 || (more == 0 && gz->between)) return more;
        if (more == 0) return in->stop && *in->stop ? 0 : gzip_trouble(in, NULL);
        int status = inflate(&gz->z, Z_NO_FLUSH);
        gz->between = status == Z_STREAM_END;
        if (status == Z_MEM_ERROR) return gzip_trouble(in, "out of memory");
        if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
            return gzip_trouble(in, gz->z.msg ? gz->z.msg : "a dictionary is missing");
    }
    return room - gz->z.avail_out;
}

static ssize_t read_some(struct input *in, void *bytes, size_t size)
{
    return in->gz ? read_gzip(in, bytes, size) : read_file(in, bytes, size);
}

static int gzip_open(struct input *in)
{
    in->gz = must_realloc(NULL, 1, sizeof *in->gz);
    memset(in->gz, 0, sizeof *in->gz);
    memcpy(in->gz->packed, in->buffer, in->have);
    in->gz->z.next_in = in->gz->packed;
    in->gz->z.avail_in = (unsigned)in->have;
    in->have = 0;
    in->size_is_exact = false;
    if (inflateInit2(&in->gz->z, 16 + MAX_WBITS) == Z_OK) return 0; /* 16: gzip and nothing else */
    complain("%s: out of memory for gzip", in->path);
    return -1;
}

bool input_begins(struct input *in, const void *bytes, size_t size)
{
    while (in->at == 0 && in->have < size) {
        ssize_t got = read_some(in, in->buffer + in->have, size - in->have);
        if (got <= 0) break; /* a failure fails the next read too */
        in->have += (size_t)got;
    }
    return in->at == 0 && in->have >= size && memcmp(in->buffer, bytes, size) == 0;
}

static int look_at_file(struct input *in)
{
    struct stat st;
    if (fstat(in->fd, &st) != 0) {
        complain("%s: %s", in->path, strerror(errno));
        return -1;
    }
    if (S_ISDIR(st.st_mode)) {
        complain("%s is a directory; give a file", in->path);
        return -1;
    }
    if (S_ISREG(st.st_mode)) {
        off_t at = lseek(in->fd, 0, SEEK_CUR); /* standard input may have been read before */
        in->size_is_exact = at >= 0 && at <= st.st_size;
        in->size = in->size_is_exact ? (uint64_t)(st.st_size - at) : 0;
    }
    /* The third byte too: an .fvecs file of 35,615 dimensions begins with 1f 8b. */
    return input_begins(in, "\x1f\x8b\x08", 3) ? gzip_open(in) : 0;
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
                 "write it again%s",
                 in->path, (unsigned long long)in->offset, what, size, (unsigned long long)at,
                 at == 0 && in->takes_format ? "; if it has another format, say so with --format" : "");
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
    return input_append_line(in, line, limit, number, end);
}

int input_append_line(struct input *in, struct text *line, size_t limit, uint64_t number, bool *end)
{
    uint64_t begin = in->offset;
    *end = false;
    for (;;) {
        if (in->at == in->have) {
            ssize_t some = read_some(in, in->buffer, BUFFER_BYTES);
            if (some < 0) return -1;
            in->at = 0;
            in->have = (size_t)some;
            if (some == 0) {
                *end = in->offset == begin;
                text_add(line, "", 0);
                return 0;
            }
        }
        const unsigned char *from = in->buffer + in->at;
        const unsigned char *feed = memchr(from, '\n', in->have - in->at);
        size_t size = feed ? (size_t)(feed - from) : in->have - in->at;
        if (line->size + size > limit) {
            complain("%s line %llu is longer than %zu bytes; is each row on a line of its own?", in->path,
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
    return (double)(in->gz ? in->taken : in->offset) / (double)in->size;
}

void input_close(struct input *in)
{
    if (in->gz) inflateEnd(&in->gz->z);
    free(in->gz);
    if (in->fd >= 0) close(in->fd);
    free(in->buffer);
    memset(in, 0, sizeof *in);
    in->fd = -1;
}
