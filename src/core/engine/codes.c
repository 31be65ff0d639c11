/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes of segments (docs/lifecycle.md, "Codes"): opened with the segment if they are there, else built by the
 * maintenance task when it has nothing else to do. Nothing depends on them: whatever fails here costs speed.
 */
#include <string.h>

#include "base/mutant.h"
#include "core/engine/engine.h"
#include "index/quant/quant.h"
#include "query/codes.h"

#define CODES_VERSION 1u /* of the sections: docs/format/codes.md */

_Static_assert(PM_QUANT_SECTIONS <= PM_DERIVED_SECTIONS, "a file has room for the sections of codes");

#ifdef POMAI_TEST_HOOKS
uint64_t pm_codes_least_rows = PM_CODES_LEAST_ROWS;
#endif

/* What the codes of a segment are computed from; false: it has none, being small, or because they would not pay. */
static bool describe(const pm_segment *segment, pomai_metric metric, pm_derived_of *of)
{
    const pm_segment_place *place = pm_segment_where(segment);
    *of = (pm_derived_of){.os = place->os,
                          .dir = place->dir,
                          .collection = place->collection,
                          .segment_crc = pm_segment_entry(segment)->meta_crc,
                          .number = place->number,
                          .kind = PM_DERIVED_CODES,
                          .version = CODES_VERSION,
                          .seed = pm_segment_seed(place->uuid),
                          .rows = pm_segment_rows(segment),
                          .dim = place->dim,
                          .metric = (uint32_t)metric,
                          .sections = PM_QUANT_SECTIONS};
    memcpy(of->uuid, place->uuid, sizeof of->uuid);
    return of->rows >= pm_codes_least_rows && pm_quant_lengths(of->rows, of->dim, metric, of->length);
}

void pm_codes_attach(pm_segment *segment, pomai_metric metric)
{
    pm_derived_of of;
    pm_derived *codes = NULL;
    if (describe(segment, metric, &of) && pm_derived_open(&of, &codes, NULL) == POMAI_OK)
        pm_derived_free(pm_segment_set_codes(segment, codes));
}

bool pm_codes_missing(const pm_segment *segment, pomai_metric metric)
{
    pm_derived_of of;
    return pm_segment_codes(segment) == NULL && !atomic_load(&segment->uncoded) && describe(segment, metric, &of);
}

pomai_status pm_codes_verify(const pm_segment *segment, pomai_metric metric, uint64_t *bytes, pomai_error *err)
{
    pm_derived_of of;
    pm_derived *codes = NULL;
    uint64_t left;
    *bytes = 0;
    if (!describe(segment, metric, &of)) return POMAI_OK;
    pomai_status status = pm_derived_open(&of, &codes, err);
    if (status != POMAI_OK) return status == POMAI_ENOTFOUND ? POMAI_OK : status;
    *bytes = codes->header.length;
    status = pm_derived_reread(codes, err);
    if (status == POMAI_OK) status = pm_derived_check(codes, 0, UINT64_MAX, &left, err);
    pm_quant quant;
    pm_query_codes_quant(codes, &quant);
    if (status == POMAI_OK && !pm_quant_is_sound(&quant))
        status = pm_fail(err, POMAI_ECORRUPT, "%s contradicts itself; it is built again", codes->path);
    pm_derived_free(codes);
    return status;
}

/* ---- what was found damaged ---- */

static void free_codes(void *codes)
{
    pm_derived_free(codes);
}

bool pm_codes_drop_damaged(pm_db *db, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    bool any = false;
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_shown *shown = atomic_load(&catalog->coll[i]->shown); /* only this task takes segments out */
        for (uint32_t s = 0; s < shown->segments; s++) {
            pm_segment *segment = shown->segment[s];
            pm_derived *codes = pm_segment_codes(segment);
            if (codes == NULL || atomic_load(&codes->state) != PM_DERIVED_BAD) continue;
            if (!pm_limbo_reserve(m, 1)) return any; /* another time */
            (void)pm_fail(err, POMAI_ECORRUPT, "%s is damaged; it is built again", codes->path);
            (void)pm_segment_set_codes(segment, NULL);
            pm_derived_remove(db->os, pm_segment_where(segment)->dir, PM_DERIVED_CODES);
            pm_limbo_add(m, free_codes, codes);
            atomic_fetch_add_explicit(&m->codes_damaged, 1, memory_order_relaxed);
            any = true;
        }
    }
    return any;
}

/* ---- building ---- */

typedef struct build {
    pm_db *db;
    const pm_coll *coll;
    pm_segment *segment;
    pm_derived_out *out;
    pomai_status status; /* why it was stopped, */
    pomai_error *err;    /* said here */
} build;

/* The largest that has none: it will live longest. */
static bool choose(pm_db *db, uint64_t below, build *b)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    uint64_t most = 0;
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_coll *coll = catalog->coll[i];
        if (atomic_load(&coll->dropped)) continue;
        const pm_shown *shown = atomic_load(&coll->shown); /* only this task takes segments out */
        for (uint32_t s = 0; s < shown->segments; s++) {
            pm_segment *segment = shown->segment[s];
            const uint64_t rows = pm_segment_rows(segment);
            if (rows <= most || pm_segment_entry(segment)->number >= below) continue;
            if (!pm_codes_missing(segment, coll->metric)) continue;
            most = rows;
            b->coll = coll;
            b->segment = segment;
        }
    }
    return most > 0;
}

/* Lets everything else go first. */
static bool may_go_on(build *b)
{
    if (!pm_maintenance_yield(b->db)) {
        b->status = pm_fail(b->err, POMAI_EBUSY, "the database is being closed, or stopped");
        return false;
    }
    /* A compaction, or a drop, may have come between. */
    if (atomic_load(pm_segment_forward(b->segment)) == NULL && !atomic_load(&b->coll->dropped)) return true;
    b->status = pm_fail(b->err, POMAI_ENOTFOUND, "the segment was replaced");
    return false;
}

/* The one place where rows become floats for an index. */
static bool read_rows(void *context, uint64_t first, uint32_t n, float *out)
{
    build *b = context;
    if (!may_go_on(b)) return false;
    b->status = pm_segment_check(b->segment, PM_SEG_VECTOR, first, n, b->err);
    if (b->status != POMAI_OK) return false;
    for (uint32_t i = 0; i < n; i++, out += b->coll->dim)
        pm_convert_row(b->db->convert, b->coll->dtype, pm_segment_vector_at(b->segment, first + i), b->coll->dim, out);
    return true;
}

static bool append(void *context, uint32_t section, const void *data, size_t bytes)
{
    build *b = context;
    if (atomic_load(&b->db->maintenance.closing))
        b->status = pm_fail(b->err, POMAI_EBUSY, "the database is being closed");
    else
        b->status = pm_derived_append(b->out, section, data, bytes, b->err);
    return b->status == POMAI_OK;
}

/* What the index returned, unless it was stopped for another reason. */
static pomai_status outcome(const build *b, pomai_status status)
{
    if (b->status != POMAI_OK) return b->status;
    return status == POMAI_OK ? status : pm_fail(b->err, status, "no memory to build codes of %s", b->coll->name);
}

static pomai_status write_codes(build *b, const pm_derived_of *of)
{
    const pm_simd *simd = b->db->simd;
    const pm_index_source source = {
        .rows = of->rows, .dim = of->dim, .metric = b->coll->metric, .seed = of->seed, .context = b, .read = read_rows};
    const pm_index_sink sink = {b, append};
    pm_quant quant = {.rows = of->rows, .dim = of->dim, .metric = b->coll->metric};
    pomai_status status = pm_derived_begin(of, &b->out, b->err);
    if (status != POMAI_OK) return status;
    status = outcome(b, pm_quant_build(&source, simd, &sink));
    if (status == POMAI_OK) status = pm_derived_peek(b->out, PM_QUANT_SECTIONS - 1, quant.section, b->err);
    if (status == POMAI_OK) status = outcome(b, pm_quant_calibrate(&quant, &source, simd, &sink));
    if (status == POMAI_OK && !may_go_on(b)) status = b->status; /* the last time: the directory may be gone */
    if (status != POMAI_OK) {
        pm_derived_abandon(b->out);
        return status;
    }
    return pm_derived_end(b->out, b->err);
}

static pomai_status build_codes(build *b)
{
    pm_maintenance *m = &b->db->maintenance;
    pm_derived_of of;
    pm_derived *codes;
    if (!describe(b->segment, b->coll->metric, &of)) return POMAI_OK;
    pm_segment_hold(b->segment); /* a compaction that comes between may replace it */
    pomai_status status = write_codes(b, &of);
    if (status == POMAI_OK) status = pm_derived_open(&of, &codes, b->err);
    if (status == POMAI_OK) {
        pm_derived_free(pm_segment_set_codes(b->segment, codes)); /* there were none */
        atomic_fetch_add_explicit(&m->codes_builds, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->codes_rows, of.rows, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->codes_written, codes->header.length, memory_order_relaxed);
    }
    if (status == POMAI_ECORRUPT) atomic_store(&b->segment->uncoded, true); /* the rows are damaged */
    pm_segment_free(b->segment);
    return status;
}

pomai_status pm_codes_build_one(pm_db *db, uint64_t below, bool *did, pomai_error *err)
{
    build b = {.db = db, .err = err};
    *did = choose(db, below, &b);
    if (!*did) return POMAI_OK;
    db->maintenance.yielded_at = db->os->now_ns(db->os);
    pomai_status status = build_codes(&b);
    return status == POMAI_ENOTFOUND ? POMAI_OK : status; /* nobody misses them */
}
