/* SPDX-License-Identifier: Apache-2.0 */
/* Damage to the files of an image: drawn at random, or every one of a list, by number. */
#ifndef T_DAMAGE_H
#define T_DAMAGE_H

#include "logs.h"

enum { D_ROOM = 8192, D_RUN = 4096 };

struct damage {
    const struct c_files *files, *older, *twin;
    const struct c_logs *logs;
    struct c_view view;
    c_kind kind;    /* of the file that is hit first */
    bool in_header; /* the first 512 bytes of a log file */
    bool behind;    /* only what is behind the last byte that is not zero */
    bool foreign;   /* a file of another history of the same database */
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
    d->count = 0;
    d->foreign = false;
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
static inline bool d_differs(const struct damage *d)
{
    for (unsigned i = 0; i < d->files->count; i++) {
        const struct c_file *f = &d->files->file[i];
        if (!d->view.changed[i]) continue;
        if (d->view.bytes[i] == NULL || d->view.size[i] != f->size) return true;
        if (memcmp(d->view.bytes[i], f->bytes, f->size) != 0) return true;
    }
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

static inline void d_replace(struct damage *d, unsigned f, const struct c_files *by, const char *what)
{
    int other = by == NULL ? -1 : c_find(by, d->files->file[f].path);
    for (unsigned i = 0; by != NULL && other < 0 && i < by->count; i++) /* a manifest has another name each time */
        if (d->files->file[f].kind == C_MANIFEST && by->file[i].kind == C_MANIFEST) other = (int)i;
    if (other < 0) return;
    const struct c_file *o = &by->file[other];
    d->foreign = by == d->twin;
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

static inline unsigned d_pick_file(const struct damage *d, struct t_rng *r)
{
    for (;;) {
        unsigned f = (unsigned)t_below(r, d->files->count);
        if (d->files->file[f].kind != C_LOCK) return f;
    }
}

static inline uint64_t d_pick_offset(const struct damage *d, unsigned f, struct t_rng *r)
{
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
    else if (lot < 65)
        d_run(d, f, at, length, (int)t_below(r, D_RUNS), r);
    else if (lot < 75)
        d_truncate(d, f, at);
    else if (lot < 80)
        d_extend(d, f, length, t_chance(r, 50) ? r : NULL);
    else if (lot < 82)
        d_remove(d, f);
    else if (lot < 84)
        d_truncate(d, f, 0);
    else if (lot < 88)
        d_exchange(d, f, d_pick_file(d, r));
    else if (lot < 93)
        d_replace(d, f, d->older, "an older version");
    else
        d_draw_sectors(d, f, r);
}

/* ---- one after the other ---- */

enum { D_LENGTHS = 5, D_APPENDED = 8 };

static inline uint64_t d_sectors(const struct c_file *f)
{
    return f->size / PM_SIM_SECTOR;
}

/* How many damages the list has for a file. */
static inline uint64_t d_count(const struct damage *d, unsigned f)
{
    const struct c_file *file = &d->files->file[f];
    if (file->kind == C_LOCK) return 0;
    return 3 * file->size + file->size + D_APPENDED + 3 + d->files->count +
           (file->size / PM_WAL_ALIGN + 1) * 3 * D_LENGTHS + d_sectors(file) * d_sectors(file);
}

static inline bool d_below(uint64_t *n, uint64_t count)
{
    if (*n < count) return true;
    *n -= count;
    return false;
}

/* Damage n of a file. Leaves everything as it was if there is nothing to do. */
static inline void d_numbered(struct damage *d, unsigned f, uint64_t n, struct t_rng *r)
{
    static const uint64_t lengths[D_LENGTHS] = {16, 64, 100, 512, 4096};
    const struct c_file *file = &d->files->file[f];
    if (d_below(&n, 3 * file->size)) {
        d_byte(d, f, n / 3, (unsigned)(n % 3), (unsigned)t_below(r, 8));
    } else if (d_below(&n, file->size)) {
        d_truncate(d, f, n);
    } else if (d_below(&n, D_APPENDED)) {
        d_extend(d, f, (uint64_t)1 << (n / 2 * 4), n % 2 == 0 ? r : NULL);
    } else if (d_below(&n, 3)) {
        if (n == 0)
            d_remove(d, f);
        else
            d_replace(d, f, n == 1 ? d->older : d->twin, n == 1 ? "an older version" : "another history's");
    } else if (d_below(&n, d->files->count)) {
        if (n != f && d->files->file[n].kind != C_LOCK) d_exchange(d, f, (unsigned)n);
    } else if (d_below(&n, (file->size / PM_WAL_ALIGN + 1) * 3 * D_LENGTHS)) {
        d_run(d, f, n / (3 * D_LENGTHS) * PM_WAL_ALIGN, lengths[n % D_LENGTHS], (int)(n / D_LENGTHS % 3), r);
    } else if (d_below(&n, d_sectors(file) * d_sectors(file))) {
        uint64_t a = n / d_sectors(file), b = n % d_sectors(file);
        if (a < b) d_swap_sectors(d, f, a * PM_SIM_SECTOR, f, b * PM_SIM_SECTOR);
    }
}

#endif
