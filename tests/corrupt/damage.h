/* SPDX-License-Identifier: Apache-2.0 */
/* Damage to the files of an image: drawn at random, or every one of a list, by number. */
#ifndef T_DAMAGE_H
#define T_DAMAGE_H

#include "logs.h"

enum { D_ROOM = 8192, D_RUN = 4096 };

/* A file that a damage adds. */
struct extra {
    char path[C_PATH];
    const uint8_t *bytes;
    uint64_t size;
};

enum { D_EXTRAS = 8 };

struct damage {
    /* twin: another history of the same database; other: another database */
    const struct c_files *files, *older, *twin, *other;
    const struct c_logs *logs;
    struct c_view view;
    c_kind kind;    /* of the file that is hit first */
    bool in_header; /* the first 512 bytes of a log file */
    bool behind;    /* only what is behind the last byte that is not zero */
    bool foreign;   /* a file of another history of the same database */
    bool moved;     /* directories of segments */
    bool derived;   /* rather codes and graphs, if there are some */
    struct extra extra[D_EXTRAS];
    unsigned extras;
    unsigned count;
    char what[400];
};

static inline void d_begin(struct damage *d)
{
    for (unsigned i = 0; i < d->files->count; i++) {
        if (d->view.changed[i]) free(d->view.bytes[i]);
        d->view.bytes[i] = d->files->file[i].bytes;
        d->view.size[i] = d->files->file[i].size;
        d->view.changed[i] = false;
    }
    d->count = d->extras = 0;
    d->foreign = d->moved = false;
    d->what[0] = '\0';
}

static inline void d_set(struct damage *d, unsigned f, uint8_t *bytes, uint64_t size)
{
    if (d->view.changed[f]) free(d->view.bytes[f]);
    d->view.bytes[f] = bytes;
    d->view.size[f] = size;
    d->view.changed[f] = true;
}

/* A copy that may be written to and grow by D_ROOM. */
static inline uint8_t *d_copy(const uint8_t *bytes, uint64_t size)
{
    uint8_t *copy = calloc(1, size + D_ROOM);
    if (copy == NULL) abort();
    if (bytes != NULL && size > 0) memcpy(copy, bytes, size);
    return copy;
}

static inline uint8_t *d_own(struct damage *d, unsigned f)
{
    uint8_t *copy = d_copy(d->view.bytes[f], d->view.size[f]);
    d_set(d, f, copy, d->view.size[f]);
    return copy;
}

static inline void d_note(struct damage *d, unsigned f, uint64_t at, const char *what)
{
    const struct c_file *file = &d->files->file[f];
    size_t used = strlen(d->what);
    if (d->count++ == 0) {
        d->kind = file->kind;
        d->in_header = file->kind == C_LOG && at < PM_WAL_HEADER;
        d->behind = file->kind == C_LOG && at >= file->used;
    }
    snprintf(d->what + used, sizeof d->what - used, "%s%s at %llu of %s", used > 0 ? ", " : "", what,
             (unsigned long long)at, file->path);
}

/* Whether anything is not as it was. */
static inline bool d_file_differs(const struct damage *d, unsigned i)
{
    const struct c_file *f = &d->files->file[i];
    if (!d->view.changed[i]) return false;
    return d->view.bytes[i] == NULL || d->view.size[i] != f->size || memcmp(d->view.bytes[i], f->bytes, f->size) != 0;
}

static inline bool d_differs(const struct damage *d)
{
    for (unsigned i = 0; i < d->files->count; i++)
        if (d_file_differs(d, i)) return true;
    return d->extras > 0;
}

/* Whether a file of a segment that counts is not as it was: no byte of it is without a checksum. */
static inline bool d_hits_segment(const struct damage *d)
{
    for (unsigned i = 0; i < d->files->count; i++)
        if (d->files->file[i].listed && d_file_differs(d, i)) return true;
    return false;
}

/* ---- the kinds of damage ---- */

static inline void d_byte(struct damage *d, unsigned f, uint64_t at, unsigned how, unsigned bit)
{
    static const char *const what[] = {"a bit flipped", "a byte cleared", "a byte set"};
    uint8_t *bytes = d_own(d, f);
    static const uint8_t clear[] = {0xff, 0, 0}, set[] = {0, 0, 0xff};
    bytes[at] = (uint8_t)(((bytes[at] ^ (how == 0 ? 1u << bit : 0)) & clear[how]) | set[how]);
    d_note(d, f, at, what[how]);
}

static inline void d_truncate(struct damage *d, unsigned f, uint64_t size)
{
    (void)d_own(d, f);
    d->view.size[f] = size;
    d_note(d, f, size, "cut");
}

static inline void d_extend(struct damage *d, unsigned f, uint64_t by, struct t_rng *garbage)
{
    uint8_t *bytes = d_own(d, f);
    uint64_t size = d->view.size[f];
    for (uint64_t i = 0; garbage != NULL && i < by; i++)
        bytes[size + i] = (uint8_t)t_next(garbage);
    d->view.size[f] = size + by;
    d_note(d, f, size, garbage != NULL ? "garbage appended" : "zeros appended");
}

static inline void d_remove(struct damage *d, unsigned f)
{
    d_set(d, f, NULL, 0);
    d_note(d, f, 0, "removed");
}

/* The file that stands for `file` in another image: manifests and liveness files have other names each time. */
static inline int d_counterpart(const struct c_files *by, const struct c_file *file)
{
    int other = c_find(by, file->path);
    const bool renamed = file->kind == C_MANIFEST || file->kind == C_LIVE;
    for (unsigned i = 0; other < 0 && renamed && i < by->count; i++)
        if (by->file[i].kind == file->kind && c_same_dir(&by->file[i], file)) other = (int)i;
    return other;
}

static inline void d_replace(struct damage *d, unsigned f, const struct c_files *by, const char *what)
{
    int other = by == NULL ? -1 : d_counterpart(by, &d->files->file[f]);
    if (other < 0) return;
    const struct c_file *o = &by->file[other];
    d->foreign |= by == d->twin;
    d_set(d, f, d_copy(o->bytes, o->size), o->size);
    d_note(d, f, 0, what);
}

static inline void d_exchange(struct damage *d, unsigned f, unsigned g)
{
    uint8_t *a = d_copy(d->view.bytes[f], d->view.size[f]), *b = d_copy(d->view.bytes[g], d->view.size[g]);
    uint64_t a_size = d->view.size[f], b_size = d->view.size[g];
    d_set(d, f, b, b_size);
    d_set(d, g, a, a_size);
    d_note(d, f, 0, "exchanged with another");
    d_note(d, g, 0, "which is it");
}

/* ---- directories of segments, each named by its SEGMENT ---- */

static inline bool d_in_dir(const struct damage *d, unsigned f, unsigned dir)
{
    return c_same_dir(&d->files->file[f], &d->files->file[dir]);
}

static inline int d_find_in_dir(const struct damage *d, unsigned dir, const char *name)
{
    char path[C_PATH];
    int size = snprintf(path, sizeof path, "%.*s%s", (int)c_dir_size(d->files->file[dir].path),
                        d->files->file[dir].path, name);
    if (size < 0 || size >= (int)sizeof path) abort();
    return c_find(d->files, path);
}

/* Files that one has and the other has not change places, too, as names that were not there before. */
static inline void d_give(struct damage *d, unsigned from, unsigned to)
{
    for (unsigned i = 0; i < d->files->count; i++) {
        const struct c_file *f = &d->files->file[i];
        const char *name = strrchr(f->path, '/');
        if (!d_in_dir(d, i, from) || d_find_in_dir(d, to, name) >= 0 || d->extras == D_EXTRAS) continue;
        struct extra *e = &d->extra[d->extras++];
        int size = snprintf(e->path, sizeof e->path, "%.*s%s", (int)c_dir_size(d->files->file[to].path),
                            d->files->file[to].path, name);
        if (size < 0 || size >= (int)sizeof e->path) abort();
        e->bytes = f->bytes;
        e->size = f->size;
        d_set(d, i, NULL, 0);
    }
}

static inline void d_swap_dirs(struct damage *d, unsigned a, unsigned b)
{
    if (a == b || d->extras > 0) return;
    for (unsigned i = 0; i < d->files->count; i++) {
        if (!d_in_dir(d, i, a)) continue;
        int other = d_find_in_dir(d, b, strrchr(d->files->file[i].path, '/'));
        if (other >= 0) d_exchange(d, i, (unsigned)other);
    }
    d_give(d, a, b);
    d_give(d, b, a);
    d->moved = true;
}

static inline void d_remove_dir(struct damage *d, unsigned dir)
{
    for (unsigned i = 0; i < d->files->count; i++)
        if (d_in_dir(d, i, dir)) d_remove(d, i);
    d->moved = true;
}

enum { D_DUPLICATES = 4 };

/* The same directory under another name beside it. */
static inline void d_duplicate_dir(struct damage *d, unsigned dir, unsigned how)
{
    static const char *const names[D_DUPLICATES] = {"999999", "18446744073709551614", "0", "copy"};
    const struct c_file *segment = &d->files->file[dir];
    int above = (int)c_dir_size(segment->path);
    while (segment->path[above - 1] != '/')
        above--;
    if (d->extras > 0) return;
    for (unsigned i = 0; i < d->files->count && d->extras < D_EXTRAS; i++) {
        const struct c_file *f = &d->files->file[i];
        if (!d_in_dir(d, i, dir)) continue;
        struct extra *e = &d->extra[d->extras++];
        int size = snprintf(e->path, sizeof e->path, "%.*s%s%s", above, f->path, names[how], strrchr(f->path, '/'));
        if (size < 0 || size >= (int)sizeof e->path) abort();
        e->bytes = f->bytes;
        e->size = f->size;
    }
    d_note(d, dir, 0, how == 0 ? "directory copied to 999999" : "directory copied to another name");
    d->moved = true;
}

enum { D_ZEROED, D_RANDOM, D_COPIED, D_TAKEN_OUT, D_RUNS };

static inline void d_run(struct damage *d, unsigned f, uint64_t at, uint64_t length, int how, struct t_rng *r)
{
    static const char *const what[] = {"zeroed run", "random run", "run copied from elsewhere", "run taken out"};
    uint64_t size = d->view.size[f];
    if (at >= size) return;
    uint8_t *bytes = d_own(d, f);
    length = pm_min_u64(length, size - at);
    const struct c_file *from = &d->files->file[t_chance(r, 50) ? f : t_below(r, d->files->count)];
    switch (how) {
    case D_ZEROED:
        memset(bytes + at, 0, length);
        break;
    case D_RANDOM:
        for (uint64_t i = 0; i < length; i++)
            bytes[at + i] = (uint8_t)t_next(r);
        break;
    case D_COPIED:
        if (from->used == 0) break;
        length = pm_min_u64(length, from->used);
        uint64_t source = t_below(r, from->used - length + 1);
        if (t_chance(r, 50)) source &= ~(uint64_t)63;
        memcpy(bytes + at, from->bytes + source, length);
        break;
    default:
        memmove(bytes + at, bytes + at + length, size - at - length);
        d->view.size[f] -= length;
        break;
    }
    char text[60];
    snprintf(text, sizeof text, "%s of %llu", what[how], (unsigned long long)length);
    d_note(d, f, at, text);
}

static inline void d_swap_sectors(struct damage *d, unsigned f, uint64_t a, unsigned g, uint64_t b)
{
    uint8_t *x = d_own(d, f), *y = f == g ? x : d_own(d, g), keep[PM_SIM_SECTOR];
    memcpy(keep, x + a, sizeof keep);
    memcpy(x + a, y + b, sizeof keep);
    memcpy(y + b, keep, sizeof keep);
    d_note(d, f, a, "a sector swapped");
    d_note(d, g, b, "with that");
}

/* ---- at random ---- */

static inline bool d_is_derived(const struct damage *d, unsigned f)
{
    return d->files->file[f].kind == C_CODES || d->files->file[f].kind == C_GRAPH;
}

static inline unsigned d_pick_file(const struct damage *d, struct t_rng *r)
{
    const bool derived = d->derived && t_chance(r, 60);
    for (unsigned tries = 0; derived && tries < 10 * d->files->count; tries++) {
        unsigned f = (unsigned)t_below(r, d->files->count);
        if (d_is_derived(d, f)) return f;
    }
    for (;;) {
        unsigned f = (unsigned)t_below(r, d->files->count);
        if (d->files->file[f].kind != C_LOCK) return f;
    }
}

/* In the header or a section, not in the holes between them. */
static inline uint64_t d_pick_in_derived(const uint8_t *bytes, uint64_t size, struct t_rng *r)
{
    pm_derived_header h;
    pm_derived_section section;
    memcpy(&h, bytes, sizeof h);
    const uint64_t which = t_below(r, h.sections + 1);
    if (which == h.sections) return t_below(r, h.header_length);
    memcpy(&section, bytes + sizeof h + which * sizeof section, sizeof section);
    const uint64_t at = section.offset + (section.length == 0 ? 0 : t_below(r, section.length));
    return at < size ? at : size - 1;
}

static inline uint64_t d_pick_offset(const struct damage *d, unsigned f, struct t_rng *r)
{
    if (d_is_derived(d, f) && t_chance(r, 90))
        return pm_min_u64(d_pick_in_derived(d->files->file[f].bytes, d->files->file[f].size, r), d->view.size[f] - 1);
    uint64_t used = pm_min_u64(d->files->file[f].used, d->view.size[f]), size = d->view.size[f];
    if (used == 0 || t_chance(r, 10)) return t_below(r, size);
    uint64_t at = t_chance(r, 50) ? t_below(r, used) : used - 1 - t_skewed(r, 0, used - 1); /* the end is delicate */
    return t_chance(r, 20) ? at & ~(uint64_t)63 : at;
}

static inline void d_draw_sectors(struct damage *d, unsigned f, struct t_rng *r)
{
    unsigned g = t_chance(r, 60) ? f : d_pick_file(d, r);
    uint64_t a = pm_min_u64(d->files->file[f].used, d->view.size[f]) / PM_SIM_SECTOR;
    uint64_t b = pm_min_u64(d->files->file[g].used, d->view.size[g]) / PM_SIM_SECTOR;
    if (a > 0 && b > 0) d_swap_sectors(d, f, t_below(r, a) * PM_SIM_SECTOR, g, t_below(r, b) * PM_SIM_SECTOR);
}

/* A record put in the place of another of its file, or taken out: every checksum is right, only the order is not. */
static inline void d_draw_record(struct damage *d, struct t_rng *r)
{
    const struct c_shard *s = &d->logs->shard[t_below(r, d->logs->shards)];
    if (s->records == 0) return;
    const struct c_record *a = &s->record[t_below(r, s->records)], *b = &s->record[t_below(r, s->records)];
    const uint64_t size = d->files->file[a->file].size;
    if (d->view.bytes[a->file] == NULL || d->view.size[a->file] != size) return; /* hit before */
    uint8_t *bytes = d_own(d, a->file);
    if (a->file == b->file && a != b) {
        memmove(bytes + b->at, bytes + a->at, pm_min_u64(a->size, size - b->at));
        d_note(d, b->file, b->at, "another record put");
    } else {
        memmove(bytes + a->at, bytes + a->at + a->size, size - a->at - a->size);
        memset(bytes + size - a->size, 0, a->size);
        d_note(d, a->file, a->at, "a record taken out");
    }
}

/* A file of the same kind, itself if there is no other. */
static inline unsigned d_pick_like(const struct damage *d, unsigned f, struct t_rng *r)
{
    unsigned like = f, seen = 0;
    for (unsigned i = 0; i < d->files->count; i++)
        if (i != f && d->files->file[i].kind == d->files->file[f].kind && t_below(r, ++seen) == 0) like = i;
    return like;
}

static inline void d_draw_dirs(struct damage *d, struct t_rng *r)
{
    int dir = -1;
    unsigned seen = 0;
    for (unsigned i = 0; i < d->files->count; i++)
        if (d->files->file[i].kind == C_SEGMENT && t_below(r, ++seen) == 0) dir = (int)i;
    if (dir < 0) return;
    switch (t_below(r, 4)) {
    case 0:
        d_remove_dir(d, (unsigned)dir);
        break;
    case 1:
        d_duplicate_dir(d, (unsigned)dir, (unsigned)t_below(r, D_DUPLICATES));
        break;
    default:
        d_swap_dirs(d, (unsigned)dir, d_pick_like(d, (unsigned)dir, r));
        break;
    }
}

/* Another whole file in the place of one. */
static inline void d_draw_whole(struct damage *d, unsigned f, struct t_rng *r)
{
    const unsigned lot = (unsigned)t_below(r, 10), like = d_pick_like(d, f, r), any = d_pick_file(d, r);
    if (lot < 5)
        d_replace(d, f, d->older, "an older version");
    else if (lot < 6)
        d_replace(d, f, d->other, "another database's");
    else if (lot < 9 && like != f)
        d_exchange(d, f, like);
    else if (any != f)
        d_exchange(d, f, any);
}

/* What the disk or the file system does to whole files. */
static inline void d_draw_large(struct damage *d, unsigned f, uint64_t at, struct t_rng *r)
{
    const unsigned lot = (unsigned)t_below(r, 20);
    if (lot < 2)
        d_truncate(d, f, 0);
    else if (lot < 4)
        d_remove(d, f);
    else if (lot < 10)
        d_truncate(d, f, at);
    else if (lot < 14)
        d_extend(d, f, t_skewed(r, 1, D_RUN), t_chance(r, 50) ? r : NULL);
    else
        d_run(d, f, at & ~(uint64_t)(D_RUN - 1), D_RUN, D_ZEROED, r);
}

static inline void d_draw(struct damage *d, struct t_rng *r)
{
    unsigned f = d_pick_file(d, r);
    uint64_t lot = t_below(r, 100);
    if (d->view.bytes[f] == NULL || d->view.size[f] == 0 || d->view.size[f] > d->files->file[f].size)
        return; /* hit before */
    uint64_t at = d_pick_offset(d, f, r), length = t_skewed(r, 1, D_RUN);
    if (lot < 5)
        d_draw_record(d, r);
    else if (lot < 35)
        d_byte(d, f, at, (unsigned)t_below(r, 3), (unsigned)t_below(r, 8));
    else if (lot < 60)
        d_run(d, f, at, length, (int)t_below(r, D_RUNS), r);
    else if (lot < 78)
        d_draw_large(d, f, at, r);
    else if (lot < 89)
        d_draw_whole(d, f, r);
    else if (lot < 94)
        d_draw_dirs(d, r);
    else
        d_draw_sectors(d, f, r);
}

/* ---- one after the other ---- */

enum { D_LENGTHS = 5, D_APPENDED = 8 };

static inline uint64_t d_sectors(const struct c_file *f)
{
    return f->size / PM_SIM_SECTOR;
}

static inline bool d_of_segment(const struct c_file *f)
{
    return f->kind >= C_SEGMENT && f->kind <= C_LIVE;
}

/* Of segments, whose every byte is under a checksum, fewer of the rest. */
static inline uint64_t d_flips(const struct c_file *f)
{
    return d_of_segment(f) ? f->size : 3 * f->size;
}

static inline uint64_t d_cuts(const struct c_file *f)
{
    return d_of_segment(f) ? f->size / 16 : f->size;
}

static inline uint64_t d_run_align(const struct c_file *f)
{
    return d_of_segment(f) ? PM_SIM_SECTOR : PM_WAL_ALIGN;
}

static inline uint64_t d_run_count(const struct c_file *f)
{
    return (f->size / d_run_align(f) + 1) * 3 * D_LENGTHS;
}

enum { D_WHOLE = 4 };

/* Of the directory that a file SEGMENT is in. */
static inline uint64_t d_dir_count(const struct damage *d, unsigned f)
{
    return d->files->file[f].kind == C_SEGMENT ? d->files->count + D_DUPLICATES + 1 : 0;
}

/* How many damages the list has for a file. */
static inline uint64_t d_count(const struct damage *d, unsigned f)
{
    const struct c_file *file = &d->files->file[f];
    if (file->kind == C_LOCK) return 0;
    return d_flips(file) + d_cuts(file) + D_APPENDED + D_WHOLE + d->files->count + d_run_count(file) +
           d_sectors(file) * d_sectors(file) + d_dir_count(d, f);
}

static inline bool d_below(uint64_t *n, uint64_t count)
{
    if (*n < count) return true;
    *n -= count;
    return false;
}

static inline void d_numbered_whole(struct damage *d, unsigned f, uint64_t n)
{
    if (n == 0)
        d_remove(d, f);
    else if (n == 1)
        d_replace(d, f, d->older, "an older version");
    else if (n == 2)
        d_replace(d, f, d->twin, "another history's");
    else
        d_replace(d, f, d->other, "another database's");
}

static inline void d_numbered_dir(struct damage *d, unsigned f, uint64_t n)
{
    if (d_below(&n, d->files->count)) {
        if (d->files->file[n].kind == C_SEGMENT) d_swap_dirs(d, f, (unsigned)n);
    } else if (d_below(&n, D_DUPLICATES)) {
        d_duplicate_dir(d, f, (unsigned)n);
    } else {
        d_remove_dir(d, f);
    }
}

/* Damage n of a file. Leaves everything as it was if there is nothing to do. */
static inline void d_numbered(struct damage *d, unsigned f, uint64_t n, struct t_rng *r)
{
    static const uint64_t lengths[D_LENGTHS] = {16, 64, 100, 512, 4096};
    const struct c_file *file = &d->files->file[f];
    if (d_below(&n, d_flips(file))) {
        if (d_of_segment(file))
            d_byte(d, f, n, 0, (unsigned)t_below(r, 8));
        else
            d_byte(d, f, n / 3, (unsigned)(n % 3), (unsigned)t_below(r, 8));
    } else if (d_below(&n, d_cuts(file))) {
        d_truncate(d, f, d_of_segment(file) ? n * 16 : n);
    } else if (d_below(&n, D_APPENDED)) {
        d_extend(d, f, (uint64_t)1 << (n / 2 * 4), n % 2 == 0 ? r : NULL);
    } else if (d_below(&n, D_WHOLE)) {
        d_numbered_whole(d, f, n);
    } else if (d_below(&n, d->files->count)) {
        if (n != f && d->files->file[n].kind != C_LOCK) d_exchange(d, f, (unsigned)n);
    } else if (d_below(&n, d_run_count(file))) {
        d_run(d, f, n / (3 * D_LENGTHS) * d_run_align(file), lengths[n % D_LENGTHS], (int)(n / D_LENGTHS % 3), r);
    } else if (d_below(&n, d_sectors(file) * d_sectors(file))) {
        uint64_t a = n / d_sectors(file), b = n % d_sectors(file);
        if (a < b) d_swap_sectors(d, f, a * PM_SIM_SECTOR, f, b * PM_SIM_SECTOR);
    } else {
        d_numbered_dir(d, f, n);
    }
}

#endif
