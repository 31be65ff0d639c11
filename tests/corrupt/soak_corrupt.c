/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage to databases that were closed, left idle, or cut off by a crash: first every byte of a small one, then random
 * damage to random ones. What must come of it is worked out without the engine (segments.h, logs.h): of a closed or
 * idle database every damage is refused with a sentence, by the open or by a read that needs it, or does no harm; of a
 * crash only records that nothing on disk attests may be taken for a torn tail. A refused open changes nothing; verify
 * sees what the open and the reads saw, and in segments also what no read needs; what closing makes of a damaged
 * database shows nothing else; opening to save what is left shows only rows that were there.
 *
 * --image S: the random damages of one image, whose seed a failure printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "reading.h"
#include "support/args.h"
#include "world/world.h"

enum { CLOSED, IDLE, CRASHED, IMAGE_KINDS };
enum { DAMAGES_OF_AN_IMAGE = 2000, MOST_FAILURES = 10, SMALL_SEED = 342, SMALL_MOST = 30000 };
enum {
    T_CURRENT,
    T_MANIFEST,
    T_MARK,
    T_LOG_HEADER,
    T_LOG,
    T_BEHIND,
    T_SEGMENT,
    T_VECTORS,
    T_ATTRIBUTES,
    T_IDS,
    T_STATS
};
enum { T_LIVE = T_STATS + 1, T_CODES, T_GRAPH, T_DIRS, T_OTHER, T_SEVERAL, T_KINDS };
enum {
    DERIVED = 8 /* one seed in so many */,
    DERIVED_ROWS = 4,
    DERIVED_DIM = 20,
    DERIVED_OPS = 40,
    DAMAGES_OF_A_DERIVED = 500
};
enum { REPORTED, READ_SAYS, HARMLESS, TORN, OUTCOMES };

struct soak {
    const struct t_args *args;
    double begin;
    uint64_t cases, failures, opens, images, checks, only_verify, segments, with_ends;
    uint64_t table[2][T_KINDS][OUTCOMES]; /* 0: closed and idle, 1: crash */
};

/* What damages are tried on. */
struct image {
    struct soak *soak;
    uint64_t seed;
    int kind;
    bool derived; /* segments have codes, a graph, or both */
    struct world *w;
    struct w_model *model; /* as the clients left it */
    bool may_lose;
    uint64_t words[2]; /* the digest */
    pm_disk *disk;
    struct damage damage;
};

static struct c_files files_now, files_older, files_twin, files_other;
static struct c_logs logs;

static void failed(struct image *im, const char *what, const char *more)
{
    im->soak->failures++;
    printf("FAILED: image %llu (%s): %s: %s%s%s\n", (unsigned long long)im->seed,
           im->kind == CLOSED ? "closed"
           : im->kind == IDLE ? "idle"
                              : "crash",
           im->damage.what, what, more[0] != '\0' ? ": " : "", more);
    fflush(stdout);
}

/* ---- one open ---- */

static struct attempt attempt(struct image *im, uint32_t flags, bool verify)
{
    struct attempt a = {.w = im->w, .logs = &logs, .flags = flags, .verify = verify};
    im->soak->opens++;
    if (pm_sim_run(im->w->sim, r_main, &a) != PM_SIM_DONE) {
        a.wrong = "it hangs";
        failed(im, a.wrong, a.err.message);
        pm_sim_kill_process(im->w->sim);
        return a;
    }
    pm_sim_held held = pm_sim_what_is_held(im->w->sim);
    if (held.allocations + held.regions + held.descriptors + held.tasks != 0) {
        failed(im, "something is still held afterwards", a.err.message);
        pm_sim_kill_process(im->w->sim);
    }
    bool said = a.err.status == a.status && strlen(a.err.message) > 10;
    bool apt = a.status == POMAI_ECORRUPT || a.status == POMAI_EFORMAT || a.status == POMAI_EFOREIGN ||
               (a.status == POMAI_ENOTFOUND && (verify || (flags & POMAI_OPEN_READONLY) != 0));
    if (a.status != POMAI_OK && (!said || !apt))
        failed(im, "refused without an apt status and a sentence", pomai_status_name(a.status));
    if (a.wrong != NULL) failed(im, a.wrong, a.err.message);
    return a;
}

/* ---- one damage ---- */

static pm_disk *damaged_disk(const struct image *im)
{
    pm_disk *disk = pm_disk_copy(im->disk);
    for (unsigned i = 0; i < files_now.count; i++)
        if (im->damage.view.changed[i])
            (void)pm_disk_put(disk, files_now.file[i].path, im->damage.view.bytes[i], im->damage.view.size[i]);
    for (unsigned i = 0; i < im->damage.extras; i++) {
        const struct extra *e = &im->damage.extra[i];
        char dir[C_PATH];
        snprintf(dir, sizeof dir, "%.*s", (int)c_dir_size(e->path), e->path);
        (void)pm_disk_make_dir(disk, dir);
        if (pm_disk_put(disk, e->path, e->bytes, e->size) != 0) abort();
    }
    return disk;
}

struct comparison {
    const struct damage *damage;
    const struct c_view *view;
    unsigned seen;
    const char *differs;
    char path[C_PATH];
};

static void compare_file(void *context, const char *path, const uint8_t *bytes, uint64_t size)
{
    struct comparison *c = context;
    for (unsigned e = 0; e < c->damage->extras; e++)
        if (strcmp(path, c->damage->extra[e].path) == 0) return;
    int i = c_find(&files_now, path);
    if (i >= 0 && files_now.file[i].kind == C_LOCK) return;
    c->seen++;
    if (i >= 0 && c->view->bytes[i] != NULL && c->view->size[i] == size && memcmp(c->view->bytes[i], bytes, size) == 0)
        return;
    c->differs = i < 0 ? "it made a file" : "it changed a file";
    snprintf(c->path, sizeof c->path, "%s", path);
}

/* An open that was refused must leave the disk as it was. */
static void check_unchanged(struct image *im)
{
    struct comparison c = {.damage = &im->damage, .view = &im->damage.view};
    unsigned there = 0;
    for (unsigned i = 0; i < files_now.count; i++)
        there += files_now.file[i].kind != C_LOCK && im->damage.view.bytes[i] != NULL;
    pm_disk_each_file(pm_sim_disk(im->w->sim), compare_file, &c);
    if (c.differs == NULL && c.seen != there) c.differs = "it removed a file";
    if (c.differs != NULL) failed(im, "the refused open left a trace", c.differs);
    if (c.differs != NULL && c.path[0] != '\0') printf("  %s\n", c.path);
}

static void after_refusal(struct image *im, const struct attempt *a)
{
    check_unchanged(im);
    if (attempt(im, 0, true).status == POMAI_OK) failed(im, "verify finds nothing, the open did", a->err.message);
    struct attempt save = attempt(im, POMAI_OPEN_READONLY | POMAI_OPEN_ACCEPT_DAMAGE, false);
    /* What another history's file holds was there once, too. */
    if (save.strange_rows > 0 && !im->damage.foreign)
        failed(im, "accepting the damage shows rows that were never there", a->err.message);
    check_unchanged(im);
}

/* With the strict WATERMARK whole, nothing that was acknowledged at level `sync` may be gone. */
static void check_model(struct image *im, bool damaged)
{
    struct world *w = im->w;
    pm_sim_set_disk(w->sim, damaged_disk(im));
    w_model_restore(w->model, im->model);
    w->may_lose = im->may_lose || damaged;
    w->has_digest = w->clock_kept = false; /* of a close that this disk may not know of */
    if (!w_check(w)) {
        failed(im, "the model says", w->what);
        pm_sim_kill_process(w->sim);
    }
    w->failed = false;
    im->soak->checks++;
}

static int row_of_table(const struct damage *d)
{
    if (d->moved) return T_DIRS;
    if (d->count > 1) return T_SEVERAL;
    if (d->kind >= C_SEGMENT && d->kind <= C_LIVE) return T_SEGMENT + (int)(d->kind - C_SEGMENT);
    switch (d->kind) {
    case C_CURRENT:
        return T_CURRENT;
    case C_MANIFEST:
        return T_MANIFEST;
    case C_MARK:
        return T_MARK;
    case C_LOG:
        return d->in_header ? T_LOG_HEADER : d->behind ? T_BEHIND : T_LOG;
    case C_CODES:
        return T_CODES;
    case C_GRAPH:
        return T_GRAPH;
    default:
        return T_OTHER;
    }
}

/* Right after a crash the manifests before and after an edit of the catalogue may both be there, and CURRENT.tmp beside
 * CURRENT: nothing tells another CURRENT, if it is whole, from an edit that was cut off elsewhere. */
static bool is_another_catalogue(const struct image *im)
{
    int now = c_find(&files_now, "/db/manifest/CURRENT");
    if (im->kind != CRASHED || now < 0 || !im->damage.view.changed[now]) return false;
    const uint8_t *bytes = im->damage.view.bytes[now];
    return bytes != NULL && im->damage.view.size[now] == sizeof(pm_current) && c_sealed(bytes, sizeof(pm_current)) &&
           memcmp(bytes, files_now.file[now].bytes, sizeof(pm_current)) != 0;
}

/* Damage in segments is found by the reads that need it; what they do not need, by verify. */
static void check_verify(struct image *im, const struct attempt *a)
{
    const bool hit = d_hits_segment(&im->damage);
    if (!a->read_says && !hit && im->soak->cases % 8 != 0) return;
    pm_sim_set_disk(im->w->sim, damaged_disk(im));
    struct attempt v = attempt(im, 0, true);
    if (a->read_says && v.status == POMAI_OK) failed(im, "verify finds nothing, a read did", a->err.message);
    if (hit && v.status == POMAI_OK) failed(im, "verify passes over damage in a segment", "");
    if (!a->read_says && v.status != POMAI_OK) im->soak->only_verify++;
    check_unchanged(im);
}

/* It opens: everything is right, or a read says what is not. */
static void after_open(struct image *im, const struct attempt *a, const struct c_verdict *v)
{
    const struct soak *s = im->soak;
    if (v->must_refuse || (v->unmarked && (!im->damage.foreign || v->torn)))
        failed(im, "SILENT: it opens, and what is gone had been durable", "");
    if (!a->read_says && a->digest != v->digest) failed(im, "SILENT: it opens, and shows something else", "");
    if (!a->read_says && !v->torn && memcmp(a->words, im->words, sizeof a->words) != 0)
        failed(im, "SILENT: it opens, and has another digest", "");
    if (a->strange_rows > 0 && !im->damage.foreign) failed(im, "SILENT: it shows rows that were never there", "");
    if (v->torn && im->kind != CRASHED && im->damage.count == 1 && !v->must_refuse)
        failed(im, "SILENT: a single damage to a database at rest", "");
    if (s->cases % 8 != 0 && !(a->read_says && s->cases % 2 != 0)) return;
    struct attempt next = attempt(im, POMAI_OPEN_READONLY, false); /* of what closing made of it */
    if (next.status == POMAI_OK && !next.read_says && next.digest != v->digest)
        failed(im, "SILENT: the next open shows something else", "");
    if (!a->read_says && (next.status != POMAI_OK || next.read_says))
        failed(im, "the next open finds damage", next.err.message);
}

static void try_damage(struct image *im)
{
    struct soak *s = im->soak;
    if (!d_differs(&im->damage) || is_another_catalogue(im)) return;
    struct c_verdict v = c_judge(&logs, &im->damage.view);
    pm_sim_set_disk(im->w->sim, damaged_disk(im));
    uint32_t flags = ++s->cases % 3 == 0 ? POMAI_OPEN_NO_FLUSH_AT_CLOSE : 0;
    if (im->derived && s->cases % 4 != 0) flags = POMAI_OPEN_READONLY; /* else they are built again each time */
    struct attempt a = attempt(im, flags, false);
    uint64_t *count = s->table[im->kind == CRASHED][row_of_table(&im->damage)];
    if (a.status != POMAI_OK) {
        count[REPORTED]++;
        after_refusal(im, &a);
        return;
    }
    count[a.read_says ? READ_SAYS : v.torn ? TORN : HARMLESS]++;
    after_open(im, &a, &v);
    check_verify(im, &a);
    if (!a.read_says && v.torn && im->kind == CRASHED && im->w->config.strict_mark && v.marks_whole)
        check_model(im, true);
}

/* ---- images ---- */

/* log_only: nothing is flushed, so that logs are long. */
static struct w_config draw_config(struct t_rng *r, bool log_only)
{
    struct w_config c = {0};
    c.clients = (uint32_t)t_range(r, 1, 2);
    c.shards = (uint32_t)t_range(r, 1, W_SHARDS);
    c.ops = (uint32_t)t_skewed(r, 2, 16);
    c.preempt = 20;
    c.cores = (uint32_t)t_range(r, 1, 2);
    c.mailbox = 8;
    c.group_ms = (uint32_t)t_range(r, 1, 5);
    c.strict_mark = t_chance(r, 30);
    c.low_levels = t_chance(r, 40);
    c.async = t_chance(r, 50);
    c.temps = t_chance(r, 50);
    for (int i = 0; i < W_COLLS; i++)
        c.dim[i] = (uint32_t)t_range(r, 4, 8);
    c.expiry = t_chance(r, 40);
    c.maintain =
        log_only || t_chance(r, 60) ? 0 : (uint32_t)t_range(r, 1, 30); /* which compacts, and leaves few segments */
    if (!log_only && t_chance(r, 80)) c.flush_bytes = t_skewed(r, 1 << 10, 32 << 10);
    c.segment_bytes = t_skewed(r, 4 << 10, 64 << 10);
    if (t_chance(r, 60)) c.compact_rate = t_skewed(r, 1 << 10, 1 << 20); /* so that it is interrupted */
    for (int i = 0; i < W_COLLS; i++)
        c.dtype[i] = w_draw_dtype(r);
    return c;
}

/* Segments of as many rows as a graph needs. */
static void grow(struct w_config *c)
{
    c->clients = W_CLIENTS;
    c->ops = DERIVED_OPS;
    c->flush_bytes = c->segment_bytes = 0;
    for (int i = 0; i < W_COLLS; i++)
        c->dim[i] = DERIVED_DIM;
}

/* How long a generation is; where it is to be cut off. */
struct length {
    pm_sim *sim;
    uint64_t steps, changes; /* of the last one that came to its end */
    uint64_t seen, cut_at;
    uint64_t total, older_at; /* of all generations: when to keep older versions of the files */
};

static void before_change(void *context)
{
    struct length *l = context;
    if (++l->total == l->older_at) c_files_read(&files_older, pm_sim_disk(l->sim));
    if (++l->seen == l->cut_at) pm_sim_crash_in(l->sim, 1 + l->seen % 4);
}

/* Ends a generation as the kind of image wants it. */
static void generation(struct world *w, int kind, struct t_rng *r, struct length *l)
{
    const uint64_t begin = pm_sim_steps(w->sim);
    l->sim = w->sim;
    l->seen = l->cut_at = 0;
    w->close = kind == CLOSED;
    w->rest_ns = kind == IDLE ? 3000000000u : 0;
    if (kind == CRASHED && t_chance(r, 30)) /* anywhere; else where the disk is changed */
        pm_sim_crash_in(w->sim, t_range(r, 1, l->steps + l->steps / 4));
    else if (kind == CRASHED)
        l->cut_at = t_range(r, 1, l->changes);
    pm_sim_on_change(w->sim, before_change, l);
    (void)w_run(w, true);
    pm_sim_on_change(w->sim, NULL, NULL);
    if (kind != CRASHED) {
        l->steps = pm_sim_steps(w->sim) - begin;
        l->changes = l->seen;
    }
    if (kind == CRASHED && t_chance(r, 40)) {
        pm_choices choices = pm_choices_random(t_next(r));
        w_power_gone(w, &choices, t_chance(r, 50));
    } else {
        w_process_gone(w);
    }
    w->rest_ns = 0;
}

static void before_the_last(struct image *im, struct t_rng *r, uint32_t generations, struct length *l)
{
    for (uint32_t g = 0; g < generations && !im->w->failed; g++) {
        bool crash = g > 0 && t_chance(r, 50); /* leaves batches to abort, tails to quarantine, temporary files */
        generation(im->w, crash ? CRASHED : CLOSED, r, l);
    }
}

/* All of a database at rest is attested; else the image is not what it should be. */
static bool at_rest(void)
{
    for (uint32_t i = 0; i < logs.shards; i++) {
        struct c_view v = {0};
        for (unsigned f = 0; f < files_now.count; f++) {
            v.bytes[f] = files_now.file[f].bytes;
            v.size[f] = files_now.file[f].size;
        }
        if (c_marked(&logs.shard[i], &v) != (int64_t)(logs.shard[i].base + logs.shard[i].records)) return false;
    }
    return true;
}

/* The undamaged image: the model, the engine and logs.h must agree on it. */
static bool image_is_good(struct image *im)
{
    snprintf(im->damage.what, sizeof im->damage.what, "not damaged");
    if (im->w->failed) {
        failed(im, "making it", im->w->what);
        return false;
    }
    c_files_read(&files_now, im->disk);
    if (!c_logs_read(&logs, &files_now, &files_older)) return false; /* cut off before there was a database */
    if (im->kind != CRASHED && !at_rest()) {
        failed(im, "the WATERMARK does not attest all of it", "");
        return false;
    }
    im->damage.files = &files_now;
    im->damage.older = &files_older;
    im->damage.other = &files_other;
    im->damage.logs = &logs;
    im->damage.derived = im->derived;
    d_begin(&im->damage);
    uint64_t before = im->soak->failures;
    check_model(im, false);
    pm_sim_set_disk(im->w->sim, pm_disk_copy(im->disk));
    struct attempt a = attempt(im, 0, false);
    if (a.status != POMAI_OK) failed(im, "it does not open", a.err.message);
    if (a.read_says) failed(im, "it cannot be read", a.err.message);
    if (a.digest != logs.digest) failed(im, "it shows another state than its segments and log", "");
    memcpy(im->words, a.words, sizeof im->words);
    im->soak->segments += logs.segments;
    im->soak->with_ends += logs.with_ends;
    if (attempt(im, 0, true).status != POMAI_OK) failed(im, "verify complains", "");
    return im->soak->failures == before;
}

static void keep_image(struct image *im)
{
    im->disk = pm_disk_copy(pm_sim_disk(im->w->sim));
    im->model = w_model_copy(im->w->model);
    im->may_lose = im->w->may_lose;
    pm_sim_set_preemption(im->w->sim, 0);
    im->soak->images++;
}

static void free_image(struct image *im)
{
    if (im->damage.files != NULL) d_begin(&im->damage);
    pm_disk_free(im->disk);
    free(im->model);
    w_free(im->w);
    free(im);
}

static void build_derived(void *context)
{
    struct image *im = context;
    pomai_open_options o = POMAI_OPEN_OPTIONS_INIT;
    pomai_error err = {0};
    pm_db *db;
    o.search_threads = UINT32_MAX;
    if (pm_db_open(pm_sim_os(im->w->sim), "/db", &o, &db, &err) != POMAI_OK || pomai_flush(db, &err) != POMAI_OK ||
        pomai_build_indexes(db, NULL, &err) != POMAI_OK || pomai_close(db, &err) != POMAI_OK)
        failed(im, "building codes and graphs", err.message);
}

static struct image *make_image(struct soak *s, uint64_t seed)
{
    struct image *im = calloc(1, sizeof *im);
    if (im == NULL) abort();
    struct t_rng r = t_rng_from(seed ^ 0xda3a6e);
    const bool derived = seed % DERIVED == 0, log_only = !derived && t_chance(&r, 30);
    struct w_config config = draw_config(&r, log_only);
    if (derived) grow(&config);
    struct length length = {.steps = 60000, .changes = 100};
    im->soak = s;
    im->seed = seed;
    im->derived = derived;
    im->kind = derived ? CLOSED : (int)t_below(&r, IMAGE_KINDS);
    im->w = w_make(seed, &config);
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) /* there are none before the last generation has ended */
        pm_derive_least_rows[kind] = UINT64_MAX;
    if (log_only) im->w->close_how = W_CLOSE_KEEPS;
    length.older_at = t_skewed(&r, 20, 400);
    c_files_free(&files_older);
    before_the_last(im, &r, (uint32_t)t_range(&r, 0, 3), &length);
    if (files_older.count == 0) c_files_read(&files_older, pm_sim_disk(im->w->sim));
    generation(im->w, im->kind, &r, &length);
    if (derived && !im->w->failed) {
        for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) /* all but one of them, or all */
            if (seed / DERIVED % PM_DERIVED_KINDS != kind) pm_derive_least_rows[kind] = DERIVED_ROWS;
        if (pm_sim_run(im->w->sim, build_derived, im) != PM_SIM_DONE) failed(im, "building codes and graphs hangs", "");
    }
    keep_image(im);
    return im;
}

/* ---- the soak ---- */

/* share: of the time and the cases, in percent. */
static bool time_is_over(const struct soak *s, unsigned share)
{
    return s->failures >= MOST_FAILURES || (s->args->cases > 0 && s->cases >= s->args->cases * share / 100) ||
           (s->args->seconds > 0 && t_now() - s->begin >= s->args->seconds * share / 100);
}

static void random_damages(struct soak *s, uint64_t seed)
{
    struct image *im = make_image(s, seed);
    bool good = image_is_good(im);
    const uint64_t most = im->derived ? DAMAGES_OF_A_DERIVED : DAMAGES_OF_AN_IMAGE;
    for (uint64_t i = 0; good && i < most && !time_is_over(s, 100); i++) {
        struct t_rng r = t_rng_from(t_mix2(seed, i));
        uint64_t lot = t_below(&r, 100);
        d_begin(&im->damage);
        for (unsigned n = lot < 80 ? 1 : lot < 95 ? 2 : 3; n > 0; n--)
            d_draw(&im->damage, &r);
        try_damage(im);
    }
    free_image(im);
}

static struct w_config small_config(void)
{
    return (struct w_config){.clients = 1,
                             .shards = 2,
                             .ops = 5,
                             .preempt = 20,
                             .cores = 1,
                             .mailbox = 8,
                             .group_ms = 5,
                             .low_levels = true,
                             .temps = true,
                             .expiry = 1,
                             .dim = {4, 4, 4}};
}

/* Another database, with files of every kind under the same names. */
static void make_other(void)
{
    struct w_config config = small_config();
    struct t_rng r = t_rng_from(5);
    struct length length = {0};
    struct world *w = w_make(5, &config);
    for (int g = 0; g < 3; g++) {
        w->close_how = g < 2 ? W_CLOSE_FLUSHES : W_CLOSE_KEEPS;
        generation(w, CLOSED, &r, &length);
    }
    c_files_read(&files_other, pm_sim_disk(w->sim));
    w_free(w);
}

static void small_generation(struct image *im, int close_how, uint32_t ops, struct t_rng *r)
{
    struct length length = {0};
    im->w->close_how = close_how;
    im->w->config.ops = ops;
    generation(im->w, CLOSED, r, &length);
}

/* A small closed database, with another history of its last generations. */
static struct image *make_small_image(struct soak *s, uint64_t seed)
{
    struct image *im = calloc(1, sizeof *im);
    if (im == NULL) abort();
    struct t_rng r = t_rng_from(seed);
    struct w_config config = small_config();
    im->soak = s;
    im->seed = seed;
    im->kind = CLOSED;
    im->w = w_make(im->seed, &config);
    small_generation(im, W_CLOSE_FLUSHES, config.ops, &r);
    pm_disk *fork = pm_disk_copy(pm_sim_disk(im->w->sim));
    struct w_model *then = w_model_copy(im->w->model);
    for (int twin = 1; twin >= 0; twin--) {
        pm_sim_set_disk(im->w->sim, pm_disk_copy(fork));
        w_model_restore(im->w->model, then);
        im->w->has_digest = false;
        small_generation(im, W_CLOSE_FLUSHES, config.ops, &r);
        small_generation(im, W_CLOSE_KEEPS, 2, &r);
        if (!twin) c_files_read(&files_older, pm_sim_disk(im->w->sim));
        small_generation(im, W_CLOSE_KEEPS, 2, &r);
        if (twin) c_files_read(&files_twin, pm_sim_disk(im->w->sim));
    }
    pm_disk_free(fork);
    free(then);
    keep_image(im);
    im->damage.twin = &files_twin;
    return im;
}

/* Files of every kind, rows of every kind, and a log in each shard. */
static bool has_all_kinds(void)
{
    unsigned kinds = 0, strings = 0, expiries = 0;
    uint64_t bytes = 0;
    for (unsigned f = 0; f < files_now.count; f++) {
        const struct c_file *file = &files_now.file[f];
        bytes += file->size;
        if (d_of_segment(file) && file->listed) kinds |= 1u << file->kind;
        if (file->kind != C_SEGMENT) continue;
        const pm_segment_header *h = (const pm_segment_header *)(const void *)file->bytes;
        strings += h->id_kind == POMAI_ID_STRING;
        expiries += (h->flags & PM_SEGMENT_EXPIRY) != 0;
    }
    for (uint32_t i = 0; i < logs.shards; i++)
        if (logs.shard[i].records == 0) return false;
    const unsigned all = (1u << (C_LIVE + 1)) - (1u << C_SEGMENT);
    return kinds == all && strings > 0 && expiries > 0 && bytes < SMALL_MOST;
}

static struct image *find_small_image(struct soak *s)
{
    for (uint64_t seed = SMALL_SEED; seed < SMALL_SEED + 1000; seed++) {
        struct image *im = make_small_image(s, seed);
        if (!image_is_good(im)) return im;
        if (has_all_kinds()) return im;
        free_image(im);
    }
    printf("FAILED: no small database has files of every kind\n");
    s->failures++;
    return NULL;
}

static uint64_t all_damages(const struct image *im, uint64_t n, unsigned *file, uint64_t *which)
{
    uint64_t all = 0;
    for (unsigned f = 0; f < files_now.count; f++) {
        uint64_t count = d_count(&im->damage, f);
        if (n >= all && n < all + count) {
            *file = f;
            *which = n - all;
        }
        all += count;
    }
    return all;
}

/* Every damage of the list; in an order that comes everywhere early, should the time not last. */
static void every_damage(struct soak *s)
{
    struct image *im = find_small_image(s);
    unsigned file = 0;
    uint64_t which = 0, bytes = 0, all = 0, done = 0;
    if (im == NULL) return;
    if (s->failures == 0) {
        const uint64_t stride = 1000003; /* a prime */
        all = all_damages(im, 0, &file, &which);
        for (uint64_t i = 0; i < all && !time_is_over(s, 60); i++, done++) {
            (void)all_damages(im, i * stride % all, &file, &which);
            struct t_rng r = t_rng_from(t_mix2(file, which));
            d_begin(&im->damage);
            d_numbered(&im->damage, file, which, &r);
            try_damage(im);
        }
        for (unsigned f = 0; f < files_now.count; f++)
            bytes += files_now.file[f].kind == C_LOCK ? 0 : files_now.file[f].size;
        printf("complete: %llu of %llu damages to a database of %u files, %llu bytes, made from %llu\n",
               (unsigned long long)done, (unsigned long long)all, files_now.count, (unsigned long long)bytes,
               (unsigned long long)im->seed);
    }
    free_image(im);
}

static void print_table(const struct soak *s)
{
    static const char *const names[T_KINDS] = {
        "CURRENT", "MANIFEST",      "WATERMARK",        "log, header", "log, records",   "log, behind them",
        "SEGMENT", "vectors.arrow", "attributes.arrow", "ids.idx",     "stats.json",     "live-<g>",
        "codes",   "graph",         "directories",      "other files", "several at once"};
    printf("%-17s%11s%11s%11s%16s%11s%11s%11s\n", "", "at rest:", "", "", "after crash:", "", "", "");
    printf("%-17s%11s%11s%11s%16s%11s%11s%11s\n", "damaged", "refused", "by a read", "harmless", "refused", "by a read",
           "harmless", "torn tail");
    for (int i = 0; i < T_KINDS; i++) {
        const uint64_t *rest = s->table[0][i], *crash = s->table[1][i];
        printf("%-17s%11llu%11llu%11llu%16llu%11llu%11llu%11llu\n", names[i], (unsigned long long)rest[REPORTED],
               (unsigned long long)rest[READ_SAYS], (unsigned long long)(rest[HARMLESS] + rest[TORN]),
               (unsigned long long)crash[REPORTED], (unsigned long long)crash[READ_SAYS],
               (unsigned long long)crash[HARMLESS], (unsigned long long)crash[TORN]);
    }
}

int main(int argc, char **argv)
{
    uint64_t one = 0;
    bool have_one = argc == 3 && strcmp(argv[1], "--image") == 0;
    if (have_one) {
        one = strtoull(argv[2], NULL, 0);
        argc = 1;
    }
    struct t_args args = t_parse_args(argc, argv);
    if (have_one) args.seconds = 0;
    struct soak s = {.args = &args, .begin = t_now()};
    make_other();
    if (have_one) {
        random_damages(&s, one);
    } else {
        every_damage(&s);
        for (uint64_t i = 1; i < PM_DERIVED_KINDS; i++)
            random_damages(&s, (args.seed * PM_DERIVED_KINDS + i) * DERIVED);
        for (uint64_t i = 0; !time_is_over(&s, 100); i++)
            random_damages(&s, t_case_seed(args.seed, i));
    }
    double took = t_now() - s.begin;
    print_table(&s);
    printf("%llu segments, %llu with ends; verify alone found %llu damages that no read needs\n",
           (unsigned long long)s.segments, (unsigned long long)s.with_ends, (unsigned long long)s.only_verify);
    printf("%llu images, %llu opens in %.1f s, %.0f a second; %llu compared with the model\n",
           (unsigned long long)s.images, (unsigned long long)s.opens, took, (double)s.opens / took,
           (unsigned long long)s.checks);
    printf("corrupt: %llu cases, %llu failures, seed %llu\n", (unsigned long long)s.cases,
           (unsigned long long)s.failures, (unsigned long long)args.seed);
    c_files_free(&files_now);
    c_files_free(&files_older);
    c_files_free(&files_twin);
    c_files_free(&files_other);
    return s.failures != 0;
}
