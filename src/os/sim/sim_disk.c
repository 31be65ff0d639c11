/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants:
 *  1. Cached content = durable content, then the pending writes in order, except for sectors whose write-back failed.
 *  2. A pending write holds whole sectors as they were in the cache after it: a page is written back as it is then.
 *  3. A name's list of versions begins with the durable one and ends with the present one.
 */
#include "os/sim/sim_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "os/os.h"

enum { NO_NODE = 0xffffffffu, ROOT = 0 };

/* ---- choices ---- */

pm_choices pm_choices_random(uint64_t seed)
{
    return (pm_choices){.random = seed};
}

pm_choices pm_choices_all(void)
{
    return (pm_choices){.exhaustive = true};
}

uint32_t pm_choose(pm_choices *c, uint32_t bound)
{
    if (bound <= 1) return 0;
    if (!c->exhaustive) {
        c->random += 0x9e3779b97f4a7c15u;
        return (uint32_t)(pm_mix64(c->random) % bound);
    }
    if (c->at == PM_CHOICES_MOST) {
        c->too_many = true;
        return 0;
    }
    if (c->at == c->depth) {
        c->pick[c->depth].value = 0;
        c->pick[c->depth++].bound = bound;
    }
    return c->pick[c->at++].value;
}

bool pm_choices_next(pm_choices *c)
{
    c->at = 0;
    while (c->depth > 0) {
        if (++c->pick[c->depth - 1].value < c->pick[c->depth - 1].bound) return true;
        c->depth--;
    }
    return false;
}

/* ---- memory: a simulation without memory is a broken test ---- */

static void *need(void *memory)
{
    if (memory == NULL) abort();
    return memory;
}

/* Bytes behind `filled` are zero: a file allocated ahead costs nothing. */
typedef struct bytes {
    uint8_t *data;
    uint64_t filled, room;
} bytes;

static void bytes_fill(bytes *b, uint64_t to)
{
    if (to <= b->filled) return;
    if (to > b->room) {
        b->room = pm_max_u64(to, b->room * 2);
        b->data = need(realloc(b->data, b->room));
    }
    memset(b->data + b->filled, 0, to - b->filled);
    b->filled = to;
}

static void bytes_write(bytes *b, uint64_t at, const void *from, uint64_t size)
{
    uint64_t used = size; /* zeros at the end need not be stored */
    while (used > 0 && at + used > b->filled && ((const uint8_t *)from)[used - 1] == 0)
        used--;
    if (used == 0) return;
    bytes_fill(b, at + used);
    memcpy(b->data + at, from, used);
}

static void bytes_read(const bytes *b, uint64_t at, void *to, uint64_t size)
{
    uint64_t have = at >= b->filled ? 0 : pm_min_u64(size, b->filled - at);
    if (have > 0) memcpy(to, b->data + at, have);
    memset((uint8_t *)to + have, 0, size - have);
}

static void bytes_cut(bytes *b, uint64_t size)
{
    if (size < b->filled) b->filled = size;
}

static void bytes_copy(bytes *to, const bytes *from)
{
    to->filled = to->room = from->filled;
    to->data = from->filled == 0 ? NULL : need(malloc(from->filled));
    if (from->filled > 0) memcpy(to->data, from->data, from->filled);
}

/* ---- nodes ---- */

typedef struct op {
    uint64_t at, size; /* whole sectors; size 0: only the file's size changed */
    uint64_t file_size;
    uint8_t *data;
} op;

typedef struct version {
    uint32_t node;
    uint64_t sequence;
} version;

typedef struct entry {
    char name[PM_SIM_NAME_MAX];
    version *version; /* the first is durable, the last is the present */
    uint32_t versions, room;
} entry;

typedef struct node {
    bool is_dir;
    uint32_t shared_locks;
    bool exclusive_lock;
    /* of a file */
    bytes cache, disk;
    uint64_t size, disk_size;
    op *ops;
    uint32_t op_count, op_room;
    /* of a directory */
    entry *entries;
    uint32_t entry_count, entry_room;
} node;

struct pm_disk {
    node *nodes;
    uint32_t count, room;
    uint64_t sequence; /* of changes to names */
    uint64_t capacity;
};

static uint32_t add_node(pm_disk *disk, bool is_dir)
{
    if (disk->count == disk->room) {
        disk->room = disk->room == 0 ? 32 : disk->room * 2;
        disk->nodes = need(realloc(disk->nodes, disk->room * sizeof *disk->nodes));
    }
    memset(&disk->nodes[disk->count], 0, sizeof *disk->nodes);
    disk->nodes[disk->count].is_dir = is_dir;
    return disk->count++;
}

pm_disk *pm_disk_make(void)
{
    pm_disk *disk = need(calloc(1, sizeof *disk));
    (void)add_node(disk, true);
    return disk;
}

static void drop_ops(node *n)
{
    for (uint32_t i = 0; i < n->op_count; i++)
        free(n->ops[i].data);
    n->op_count = 0;
}

void pm_disk_free(pm_disk *disk)
{
    if (disk == NULL) return;
    for (uint32_t i = 0; i < disk->count; i++) {
        node *n = &disk->nodes[i];
        drop_ops(n);
        free(n->ops);
        free(n->cache.data);
        free(n->disk.data);
        for (uint32_t e = 0; e < n->entry_count; e++)
            free(n->entries[e].version);
        free(n->entries);
    }
    free(disk->nodes);
    free(disk);
}

pm_disk *pm_disk_copy(const pm_disk *from)
{
    pm_disk *disk = need(calloc(1, sizeof *disk));
    *disk = *from;
    disk->room = from->count;
    disk->nodes = need(malloc(from->count * sizeof *disk->nodes));
    for (uint32_t i = 0; i < from->count; i++) {
        node *n = &disk->nodes[i];
        const node *f = &from->nodes[i];
        *n = *f;
        bytes_copy(&n->cache, &f->cache);
        bytes_copy(&n->disk, &f->disk);
        n->op_room = f->op_count;
        n->ops = f->op_count == 0 ? NULL : need(malloc(f->op_count * sizeof *n->ops));
        for (uint32_t o = 0; o < f->op_count; o++) {
            n->ops[o] = f->ops[o];
            n->ops[o].data = f->ops[o].size == 0 ? NULL : need(malloc(f->ops[o].size));
            if (f->ops[o].size > 0) memcpy(n->ops[o].data, f->ops[o].data, f->ops[o].size);
        }
        n->entry_room = f->entry_count;
        n->entries = f->entry_count == 0 ? NULL : need(malloc(f->entry_count * sizeof *n->entries));
        for (uint32_t e = 0; e < f->entry_count; e++) {
            n->entries[e] = f->entries[e];
            n->entries[e].room = f->entries[e].versions;
            n->entries[e].version = need(malloc(f->entries[e].versions * sizeof(version)));
            memcpy(n->entries[e].version, f->entries[e].version, f->entries[e].versions * sizeof(version));
        }
    }
    return disk;
}

void pm_disk_set_capacity(pm_disk *disk, uint64_t most)
{
    disk->capacity = most;
}

/* ---- names ---- */

static uint32_t present(const entry *e)
{
    return e->version[e->versions - 1].node;
}

static entry *find_entry(const node *dir, const char *name, size_t size)
{
    for (uint32_t i = 0; i < dir->entry_count; i++)
        if (strncmp(dir->entries[i].name, name, size) == 0 && dir->entries[i].name[size] == '\0')
            return &dir->entries[i];
    return NULL;
}

static void set_entry(pm_disk *disk, uint32_t dir, const char *name, size_t size, uint32_t target)
{
    node *d = &disk->nodes[dir];
    entry *e = find_entry(d, name, size);
    if (e == NULL) {
        if (d->entry_count == d->entry_room) {
            d->entry_room = d->entry_room == 0 ? 8 : d->entry_room * 2;
            d->entries = need(realloc(d->entries, d->entry_room * sizeof *d->entries));
        }
        e = &d->entries[d->entry_count++];
        memset(e, 0, sizeof *e);
        memcpy(e->name, name, size);
        e->room = 4;
        e->version = need(malloc(e->room * sizeof *e->version));
        e->version[e->versions++] = (version){NO_NODE, 0};
    }
    if (e->versions == e->room) {
        e->room *= 2;
        e->version = need(realloc(e->version, e->room * sizeof *e->version));
    }
    e->version[e->versions++] = (version){target, ++disk->sequence};
}

/* The directory that holds the last name of a path, and that name. */
static int walk(const pm_disk *disk, const char *path, uint32_t *dir, const char **name, size_t *size)
{
    uint32_t at = ROOT;
    const char *p = path;
    for (;;) {
        while (*p == '/')
            p++;
        size_t n = strcspn(p, "/");
        const char *rest = p + n;
        while (*rest == '/')
            rest++;
        if (*rest == '\0') {
            if (n >= PM_SIM_NAME_MAX) return -ENAMETOOLONG;
            *dir = at;
            *name = p;
            *size = n;
            return 0;
        }
        const entry *e = find_entry(&disk->nodes[at], p, n);
        if (e == NULL || present(e) == NO_NODE) return -ENOENT;
        at = present(e);
        if (!disk->nodes[at].is_dir) return -ENOTDIR;
        p = rest;
    }
}

static int lookup(const pm_disk *disk, const char *path, uint32_t *found)
{
    uint32_t dir;
    const char *name;
    size_t size;
    int rc = walk(disk, path, &dir, &name, &size);
    if (rc != 0) return rc;
    *found = dir;
    if (size == 0) return 0; /* the root */
    const entry *e = find_entry(&disk->nodes[dir], name, size);
    if (e == NULL || present(e) == NO_NODE) return -ENOENT;
    *found = present(e);
    return 0;
}

int pm_disk_open(pm_disk *disk, const char *path, int flags, uint32_t *out)
{
    uint32_t dir;
    const char *name;
    size_t size;
    int rc = lookup(disk, path, out);
    if (rc == -ENOENT && (flags & PM_OPEN_CREATE) != 0) {
        rc = walk(disk, path, &dir, &name, &size);
        if (rc != 0) return rc;
        *out = add_node(disk, false);
        set_entry(disk, dir, name, size, *out);
        return 0;
    }
    if (rc != 0) return rc;
    if (disk->nodes[*out].is_dir) return -EISDIR;
    return (flags & PM_OPEN_NEW) != 0 ? -EEXIST : 0;
}

int pm_disk_kind(const pm_disk *disk, const char *path)
{
    uint32_t n;
    int rc = lookup(disk, path, &n);
    if (rc == -ENOENT) return PM_PATH_NONE;
    if (rc != 0) return rc;
    return disk->nodes[n].is_dir ? PM_PATH_DIR : PM_PATH_FILE;
}

int pm_disk_rename(pm_disk *disk, const char *from, const char *to)
{
    uint32_t moved, dir, to_dir;
    const char *name, *to_name;
    size_t size, to_size;
    int rc = lookup(disk, from, &moved);
    if (rc == 0) rc = walk(disk, from, &dir, &name, &size);
    if (rc == 0) rc = walk(disk, to, &to_dir, &to_name, &to_size);
    if (rc != 0) return rc;
    set_entry(disk, to_dir, to_name, to_size, moved);
    set_entry(disk, dir, name, size, NO_NODE);
    return 0;
}

int pm_disk_remove(pm_disk *disk, const char *path)
{
    uint32_t n, dir;
    const char *name;
    size_t size;
    int rc = lookup(disk, path, &n);
    if (rc == 0 && disk->nodes[n].is_dir) rc = -EISDIR;
    if (rc == 0) rc = walk(disk, path, &dir, &name, &size);
    if (rc == 0) set_entry(disk, dir, name, size, NO_NODE);
    return rc;
}

int pm_disk_make_dir(pm_disk *disk, const char *path)
{
    uint32_t n, dir;
    const char *name;
    size_t size;
    if (lookup(disk, path, &n) == 0) return -EEXIST;
    int rc = walk(disk, path, &dir, &name, &size);
    if (rc != 0) return rc;
    n = add_node(disk, true);
    set_entry(disk, dir, name, size, n);
    return 0;
}

int pm_disk_remove_dir(pm_disk *disk, const char *path)
{
    uint32_t n, dir;
    const char *name;
    size_t size;
    int rc = pm_disk_open_dir(disk, path, &n);
    for (uint32_t i = 0; rc == 0 && i < disk->nodes[n].entry_count; i++)
        if (present(&disk->nodes[n].entries[i]) != NO_NODE) rc = -ENOTEMPTY;
    if (rc == 0) rc = walk(disk, path, &dir, &name, &size);
    if (rc == 0) set_entry(disk, dir, name, size, NO_NODE);
    return rc;
}

int pm_disk_open_dir(pm_disk *disk, const char *path, uint32_t *out)
{
    int rc = lookup(disk, path, out);
    return rc == 0 && !disk->nodes[*out].is_dir ? -ENOTDIR : rc;
}

int pm_disk_sync_dir(pm_disk *disk, const char *path)
{
    uint32_t n;
    int rc = pm_disk_open_dir(disk, path, &n);
    if (rc != 0) return rc;
    for (uint32_t i = 0; i < disk->nodes[n].entry_count; i++) {
        entry *e = &disk->nodes[n].entries[i];
        e->version[0] = e->version[e->versions - 1];
        e->versions = 1;
    }
    return 0;
}

int pm_disk_list(const pm_disk *disk, const char *path, int (*each)(void *context, const char *name), void *context)
{
    uint32_t n;
    int rc = pm_disk_open_dir((pm_disk *)(uintptr_t)disk, path, &n);
    for (uint32_t i = 0; rc == 0 && i < disk->nodes[n].entry_count; i++) {
        char name[PM_SIM_NAME_MAX]; /* the list may grow, and move, in the call */
        const entry *e = &disk->nodes[n].entries[i];
        if (present(e) == NO_NODE) continue;
        memcpy(name, e->name, sizeof name);
        rc = each(context, name);
    }
    return rc;
}

/* ---- contents ---- */

static uint64_t space_used(const pm_disk *disk)
{
    uint64_t used = 0;
    for (uint32_t d = 0; d < disk->count; d++)
        for (uint32_t i = 0; i < disk->nodes[d].entry_count; i++) {
            uint32_t n = present(&disk->nodes[d].entries[i]);
            if (n != NO_NODE) used += disk->nodes[n].size;
        }
    return used;
}

static bool room_for(const pm_disk *disk, uint64_t more)
{
    return disk->capacity == 0 || more == 0 || space_used(disk) + more <= disk->capacity;
}

static op *add_op(node *n)
{
    if (n->op_count == n->op_room) {
        n->op_room = n->op_room == 0 ? 8 : n->op_room * 2;
        n->ops = need(realloc(n->ops, n->op_room * sizeof *n->ops));
    }
    op *o = &n->ops[n->op_count++];
    *o = (op){.file_size = n->size};
    return o;
}

int64_t pm_disk_read(const pm_disk *disk, uint32_t file, void *to, size_t size, uint64_t offset)
{
    const node *n = &disk->nodes[file];
    if (offset >= n->size) return 0;
    uint64_t have = pm_min_u64(size, n->size - offset);
    bytes_read(&n->cache, offset, to, have);
    return (int64_t)have;
}

int pm_disk_write(pm_disk *disk, uint32_t file, const void *data, size_t size, uint64_t offset)
{
    node *n = &disk->nodes[file];
    uint64_t end = offset + size;
    if (size == 0) return 0;
    if (end > n->size && !room_for(disk, end - n->size)) return -ENOSPC;
    bytes_write(&n->cache, offset, data, size);
    n->size = pm_max_u64(n->size, end);
    op *o = add_op(n);
    o->at = offset / PM_SIM_SECTOR * PM_SIM_SECTOR;
    o->size = pm_align_up(end, PM_SIM_SECTOR) - o->at;
    o->data = need(malloc(o->size));
    bytes_read(&n->cache, o->at, o->data, o->size);
    return 0;
}

int pm_disk_resize(pm_disk *disk, uint32_t file, uint64_t size)
{
    node *n = &disk->nodes[file];
    if (size == n->size) return 0;
    if (size > n->size && !room_for(disk, size - n->size)) return -ENOSPC;
    bytes_cut(&n->cache, size);
    n->size = size;
    (void)add_op(n);
    return 0;
}

uint64_t pm_disk_size(const pm_disk *disk, uint32_t file)
{
    return disk->nodes[file].size;
}

int pm_disk_sync(pm_disk *disk, uint32_t file)
{
    node *n = &disk->nodes[file];
    for (uint32_t i = 0; i < n->op_count; i++) {
        const op *o = &n->ops[i];
        if (o->size > 0) bytes_write(&n->disk, o->at, o->data, o->size);
        bytes_cut(&n->disk, o->file_size);
    }
    n->disk_size = n->size;
    drop_ops(n);
    return 0;
}

int pm_disk_lock(pm_disk *disk, uint32_t file, bool exclusive)
{
    node *n = &disk->nodes[file];
    if (n->exclusive_lock || (exclusive && n->shared_locks > 0)) return -EAGAIN;
    if (exclusive)
        n->exclusive_lock = true;
    else
        n->shared_locks++;
    return 0;
}

void pm_disk_unlock(pm_disk *disk, uint32_t file, bool exclusive)
{
    node *n = &disk->nodes[file];
    if (exclusive)
        n->exclusive_lock = false;
    else if (n->shared_locks > 0)
        n->shared_locks--;
}

/* ---- what a crash leaves ---- */

/* How one file's unsynced sectors fare. */
typedef struct fate {
    pm_choices *choices;
    bool tear;
    uint32_t percent; /* of the sectors that get there; of an exhaustive run: each is a choice */
    uint32_t whole;   /* writes before this one got there whole */
} fate;

static fate draw_fate(const node *n, pm_choices *choices, bool tear)
{
    static const uint32_t percents[] = {0, 100, 50, 10, 90, 0};
    fate f = {.choices = choices, .tear = tear};
    if (choices->exhaustive) return f;
    f.percent = percents[pm_choose(choices, 6)];
    if (pm_choose(choices, 2) == 0) f.whole = pm_choose(choices, n->op_count + 1);
    return f;
}

static void write_back(bytes *to, const op *o, uint32_t index, const fate *f)
{
    for (uint64_t at = 0; at < o->size; at += PM_SIM_SECTOR) {
        const uint8_t *from = o->data + at;
        bool there = index < f->whole;
        if (!there)
            there = f->choices->exhaustive ? pm_choose(f->choices, 2) == 1 : pm_choose(f->choices, 100) < f->percent;
        if (!there) continue;
        uint32_t begin = 0, end = PM_SIM_SECTOR;
        if (f->tear && !f->choices->exhaustive && pm_choose(f->choices, 8) == 0) {
            begin = pm_choose(f->choices, 2) == 0 ? 0 : pm_choose(f->choices, PM_SIM_SECTOR / 8) * 8;
            end = begin + pm_choose(f->choices, (PM_SIM_SECTOR - begin) / 8 + 1) * 8;
        }
        uint8_t sector[PM_SIM_SECTOR];
        bytes_read(to, o->at + at, sector, sizeof sector);
        memcpy(sector + begin, from + begin, end - begin);
        bytes_write(to, o->at + at, sector, sizeof sector);
    }
}

/* The durable content, and of the pending writes what fate lets through. */
static void crash_file(const node *from, bytes *to, uint64_t *size, pm_choices *choices, bool tear)
{
    bytes_copy(to, &from->disk);
    *size = from->disk_size;
    if (from->op_count == 0) return;
    fate f = draw_fate(from, choices, tear);
    uint32_t distinct = 1, chosen; /* sizes the file has had */
    uint64_t last = from->disk_size;
    for (uint32_t i = 0; i < from->op_count; i++) {
        distinct += from->ops[i].file_size != last;
        last = from->ops[i].file_size;
    }
    chosen = f.whole == from->op_count ? distinct - 1 : pm_choose(choices, distinct);
    last = from->disk_size;
    for (uint32_t i = 0; i < from->op_count; i++) {
        const op *o = &from->ops[i];
        if (o->size > 0) write_back(to, o, i, &f);
        if (o->file_size != last && chosen > 0) {
            chosen--;
            *size = o->file_size;
            bytes_cut(to, *size);
        }
        last = o->file_size;
    }
    bytes_cut(to, *size);
}

void pm_disk_lose_sync(pm_disk *disk, uint32_t file, pm_choices *choices)
{
    node *n = &disk->nodes[file];
    bytes left = {0};
    uint64_t size;
    crash_file(n, &left, &size, choices, false);
    free(n->disk.data);
    n->disk = left;
    n->disk_size = n->size; /* the journal has its own luck; a wrong size would show the loss too plainly */
    drop_ops(n);
}

static uint32_t copy_crashed(pm_disk *to, const pm_disk *from, uint32_t which, uint32_t *copied, uint64_t cut,
                             pm_choices *choices, bool tear)
{
    if (copied[which] != NO_NODE) return copied[which];
    const node *f = &from->nodes[which];
    uint32_t mine = add_node(to, f->is_dir);
    copied[which] = mine;
    if (!f->is_dir) {
        bytes content = {0};
        uint64_t size;
        crash_file(f, &content, &size, choices, tear);
        node *n = &to->nodes[mine];
        n->disk = content;
        n->size = n->disk_size = size;
        bytes_copy(&n->cache, &content);
        return mine;
    }
    for (uint32_t i = 0; i < f->entry_count; i++) {
        const entry *e = &f->entries[i];
        uint32_t pick = 0;
        if (cut == 0)
            pick = pm_choose(choices, e->versions);
        else
            while (pick + 1 < e->versions && e->version[pick + 1].sequence < cut)
                pick++;
        uint32_t target = e->version[pick].node;
        if (target == NO_NODE) continue;
        uint32_t child = copy_crashed(to, from, target, copied, cut, choices, tear);
        set_entry(to, mine, e->name, strlen(e->name), child);
        entry *made = &to->nodes[mine].entries[to->nodes[mine].entry_count - 1];
        made->version[0] = made->version[1];
        made->versions = 1;
    }
    return mine;
}

/* The first change of a name that is not durable. */
static uint64_t first_pending_name(const pm_disk *disk)
{
    uint64_t first = disk->sequence + 1;
    for (uint32_t d = 0; d < disk->count; d++)
        for (uint32_t i = 0; i < disk->nodes[d].entry_count; i++)
            if (disk->nodes[d].entries[i].versions > 1)
                first = pm_min_u64(first, disk->nodes[d].entries[i].version[1].sequence);
    return first;
}

pm_disk *pm_disk_power_loss(const pm_disk *from, pm_choices *choices, bool tear)
{
    pm_disk *disk = need(calloc(1, sizeof *disk));
    disk->capacity = from->capacity;
    uint32_t *copied = need(malloc(from->count * sizeof *copied));
    memset(copied, 0xff, from->count * sizeof *copied);
    /* Half of the file systems keep the order of changes to names, as a journal does. */
    uint64_t cut = 0, first = first_pending_name(from);
    if (!choices->exhaustive && pm_choose(choices, 2) == 0)
        cut = first + pm_choose(choices, (uint32_t)(from->sequence + 2 - first));
    (void)copy_crashed(disk, from, ROOT, copied, cut, choices, tear);
    free(copied);
    return disk;
}

enum { PAGE = 4096 };

/* Page by page: some are still cached, with what a failed sync did not write. */
static void keep_some_pages(const bytes *cache, bytes *again, uint64_t size, pm_choices *choices)
{
    uint8_t cached[PAGE], read[PAGE];
    for (uint64_t at = 0; at < size; at += PAGE) {
        uint64_t n = pm_min_u64(PAGE, size - at);
        bytes_read(cache, at, cached, n);
        bytes_read(again, at, read, n);
        if (memcmp(cached, read, n) == 0 || pm_choose(choices, 2) == 0) continue;
        bytes_fill(again, at + n);
        memcpy(again->data + at, cached, n);
    }
}

void pm_disk_process_gone(pm_disk *disk, pm_choices *choices)
{
    for (uint32_t i = 0; i < disk->count; i++) {
        node *n = &disk->nodes[i];
        n->exclusive_lock = false;
        n->shared_locks = 0;
        if (n->is_dir || pm_choose(choices, 2) == 0) continue;
        /* Clean pages are dropped and read again: what a failed sync did not write is then gone. */
        bytes again = {0};
        bytes_copy(&again, &n->disk);
        for (uint32_t o = 0; o < n->op_count; o++) {
            if (n->ops[o].size > 0) bytes_write(&again, n->ops[o].at, n->ops[o].data, n->ops[o].size);
            bytes_cut(&again, n->ops[o].file_size);
        }
        bytes_cut(&again, n->size);
        if (pm_choose(choices, 2) == 0) keep_some_pages(&n->cache, &again, n->size, choices);
        free(n->cache.data);
        n->cache = again;
    }
}

uint64_t pm_disk_pending(const pm_disk *disk)
{
    uint64_t pending = 0;
    for (uint32_t i = 0; i < disk->count; i++) {
        pending += disk->nodes[i].op_count;
        for (uint32_t e = 0; e < disk->nodes[i].entry_count; e++)
            pending += disk->nodes[i].entries[e].versions - 1;
    }
    return pending;
}

/* ---- for tests ---- */

typedef void (*file_fn)(void *context, const char *path, const uint8_t *data, uint64_t size);

static void each_below(const pm_disk *disk, uint32_t dir, char *path, size_t used, file_fn each, void *context)
{
    for (uint32_t i = 0; i < disk->nodes[dir].entry_count; i++) {
        const entry *e = &disk->nodes[dir].entries[i];
        uint32_t which = present(e);
        if (which == NO_NODE) continue;
        size_t size = strlen(e->name);
        if (used + 1 + size >= 1024) abort();
        path[used] = '/';
        memcpy(path + used + 1, e->name, size + 1);
        const node *n = &disk->nodes[which];
        if (n->is_dir) {
            each_below(disk, which, path, used + 1 + size, each, context);
            continue;
        }
        uint8_t *content = need(malloc(n->size + 1));
        bytes_read(&n->cache, 0, content, n->size);
        each(context, path, content, n->size);
        free(content);
    }
}

void pm_disk_each_file(const pm_disk *disk, file_fn each, void *context)
{
    char path[1024];
    each_below(disk, ROOT, path, 0, each, context);
}

/* Whether the file has a second name, as a rename that a crash cut in half may leave it. */
static bool has_other_names(const pm_disk *disk, const char *path)
{
    uint32_t file, names = 0;
    if (lookup(disk, path, &file) != 0) return false;
    for (uint32_t d = 0; d < disk->count; d++)
        for (uint32_t i = 0; i < disk->nodes[d].entry_count; i++)
            names += present(&disk->nodes[d].entries[i]) == file;
    return names > 1;
}

int pm_disk_put(pm_disk *disk, const char *path, const void *data, uint64_t size)
{
    uint32_t file, dir;
    const char *name;
    size_t name_size;
    int rc = data == NULL || has_other_names(disk, path) ? pm_disk_remove(disk, path) : 0;
    if (rc == 0 && data != NULL) rc = pm_disk_open(disk, path, PM_OPEN_WRITE | PM_OPEN_CREATE, &file);
    if (rc == 0 && data != NULL) rc = pm_disk_resize(disk, file, 0);
    if (rc == 0 && data != NULL) rc = pm_disk_write(disk, file, data, size, 0);
    if (rc == 0 && data != NULL) rc = pm_disk_sync(disk, file);
    if (rc == 0) rc = walk(disk, path, &dir, &name, &name_size);
    if (rc != 0) return rc;
    entry *e = find_entry(&disk->nodes[dir], name, name_size);
    e->version[0] = e->version[e->versions - 1];
    e->versions = 1;
    return 0;
}

static void digest_file(void *context, const char *path, const uint8_t *data, uint64_t size)
{
    uint64_t *h = context;
    if (strcmp(path + strlen(path) - 5, "/LOCK") == 0) return; /* the text says who, and nothing else does */
    *h = pm_hash_bytes(path, strlen(path), *h);
    *h = pm_hash_bytes(data, size, *h);
}

uint64_t pm_disk_digest(const pm_disk *disk)
{
    uint64_t h = 0;
    pm_disk_each_file(disk, digest_file, &h);
    return h;
}
