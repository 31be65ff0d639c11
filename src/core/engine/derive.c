/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns, codes and graphs of segments (docs/lifecycle.md, "Codes and graphs"): opened with the segment if they are
 * there, else built by the maintenance task when it has nothing else to do. Nothing depends on them: whatever fails
 * here costs speed.
 */
#include <string.h>

#include "base/point.h"
#include "core/engine/engine.h"
#include "index/columns/columns.h"
#include "index/graph/graph.h"
#include "index/quant/quant.h"
#include "query/derived.h"

_Static_assert(PM_QUANT_SECTIONS <= PM_DERIVED_SECTIONS, "a file has room for the sections of codes");
_Static_assert(PM_GRAPH_SECTIONS <= PM_DERIVED_SECTIONS, "a file has room for the sections of a graph");
_Static_assert(PM_COLUMNS_SECTIONS <= PM_DERIVED_SECTIONS, "a file has room for the sections of columns");
_Static_assert(PM_GRAPH_MOST_POOL == POMAI_MAX_EF, "a graph takes every ef that a search may name");

#ifndef POMAI_TEST_HOOKS
static const
#endif
    uint64_t pm_derive_least_rows[PM_DERIVED_KINDS] = {[PM_DERIVED_CODES] = PM_CODES_LEAST_ROWS,
                                                       [PM_DERIVED_GRAPH] = PM_GRAPH_LEAST_ROWS,
                                                       [PM_DERIVED_COLUMNS] = PM_COLUMNS_LEAST_ROWS};

const uint32_t pm_derive_order[PM_DERIVED_KINDS - 1] = {PM_DERIVED_COLUMNS, PM_DERIVED_CODES, PM_DERIVED_GRAPH};

typedef struct build {
    pm_db *db;
    uint32_t kind;
    const pm_coll *coll;
    pm_segment *segment;
    pm_derived_out *out;
    pomai_status status; /* why it was stopped, */
    pomai_error *err;    /* said here */
    const void *owner;   /* the thread of the maintenance task */
    atomic_flag asking;  /* it lets others go first */
    _Atomic bool stop;   /* for those who help */
} build;

enum { READ_DOCUMENTS = 1024, COLUMNS_MEMORY = 1 << 30 };

#define HELPER_LOOKS_NS ((uint64_t)10 * 1000 * 1000)

/* ---- the kinds ---- */

static bool codes_lengths(uint64_t rows, uint32_t dim, pomai_metric metric, uint32_t variant, uint64_t *length)
{
    return variant == 0 && pm_quant_lengths(rows, dim, metric, length);
}

static bool codes_pay(const pm_segment *segment, pomai_metric metric)
{
    uint64_t length[PM_QUANT_SECTIONS];
    return pm_quant_lengths(segment->rows, segment->dim, metric, length);
}

static bool graph_pays(const pm_segment *segment, pomai_metric metric)
{
    return pm_graph_is_possible(segment->rows, segment->dim, metric);
}

static bool columns_pay(const pm_segment *segment, pomai_metric metric)
{
    (void)metric;
    return segment->document_offsets != NULL;
}

static pomai_status write_codes(build *b, pm_derived_of *of, const pm_index_source *source, const pm_index_sink *sink);
static pomai_status write_graph(build *b, pm_derived_of *of, const pm_index_source *source, const pm_index_sink *sink);
static pomai_status write_columns(build *b, pm_derived_of *of, const pm_index_source *source,
                                  const pm_index_sink *sink);

static const struct kind {
    uint32_t version, sections; /* docs/format/codes.md, graph.md, columns.md */
    bool (*pays)(const pm_segment *segment, pomai_metric metric);
    /* NULL: they depend on what is in the rows */
    bool (*lengths)(uint64_t rows, uint32_t dim, pomai_metric metric, uint32_t variant, uint64_t *length);
    /* Begins b->out and writes all sections. */
    pomai_status (*write)(build *b, pm_derived_of *of, const pm_index_source *source, const pm_index_sink *sink);
} kinds[PM_DERIVED_KINDS] = {
    [PM_DERIVED_CODES] = {1, PM_QUANT_SECTIONS, codes_pay, codes_lengths, write_codes},
    [PM_DERIVED_GRAPH] = {PM_GRAPH_VERSION, PM_GRAPH_SECTIONS, graph_pays, pm_graph_lengths, write_graph},
    [PM_DERIVED_COLUMNS] = {PM_COLUMNS_VERSION, PM_COLUMNS_SECTIONS, columns_pay, NULL, write_columns},
};

static bool is_wanted(pomai_index_kind index, uint32_t kind)
{
    if (kind == PM_DERIVED_CODES) return index == POMAI_INDEX_AUTO || index == POMAI_INDEX_CODES;
    if (kind == PM_DERIVED_GRAPH) return index == POMAI_INDEX_AUTO || index == POMAI_INDEX_GRAPH;
    return true;
}

/* What a segment's file is computed from; false: it has none, being small, as its collection wants none, or because it
 * would not pay. */
static bool describe(const pm_segment *segment, pm_derive_of_coll coll, uint32_t kind, pm_derived_of *of)
{
    const pm_segment_place *place = pm_segment_where(segment);
    *of = (pm_derived_of){.os = place->os,
                          .dir = place->dir,
                          .collection = place->collection,
                          .segment_crc = pm_segment_entry(segment)->meta_crc,
                          .number = place->number,
                          .kind = kind,
                          .version = kinds[kind].version,
                          .seed = pm_segment_seed(place->uuid),
                          .rows = pm_segment_rows(segment),
                          .dim = place->dim,
                          .metric = coll.metric,
                          .sections = kinds[kind].sections,
                          .lengths = kinds[kind].lengths};
    memcpy(of->uuid, place->uuid, sizeof of->uuid);
    return of->rows >= pm_derive_least_rows[kind] && is_wanted(coll.index, kind) &&
           kinds[kind].pays(segment, coll.metric);
}

void pm_derive_attach(pm_segment *segment, pm_derive_of_coll coll)
{
    for (uint32_t kind = 1; kind < PM_DERIVED_KINDS; kind++) {
        pm_derived_of of;
        pm_derived *derived = NULL;
        if (describe(segment, coll, kind, &of) && pm_derived_open(&of, &derived, NULL) == POMAI_OK)
            pm_derived_free(pm_segment_set_derived(segment, kind, derived));
    }
}

bool pm_derive_missing(const pm_segment *segment, pm_derive_of_coll coll, uint32_t kind)
{
    pm_derived_of of;
    return pm_segment_derived(segment, kind) == NULL && (atomic_load(&segment->underivable) >> kind & 1) == 0 &&
           describe(segment, coll, kind, &of);
}

pomai_status pm_derive_verify(const pm_segment *segment, pm_derive_of_coll coll, uint32_t kind, uint64_t *bytes,
                              pomai_error *err)
{
    pm_derived_of of;
    pm_derived *derived = NULL;
    uint64_t left;
    *bytes = 0;
    if (!describe(segment, coll, kind, &of)) return POMAI_OK;
    pomai_status status = pm_derived_open(&of, &derived, err);
    if (status != POMAI_OK) return status == POMAI_ENOTFOUND ? POMAI_OK : status;
    *bytes = derived->header.length;
    status = pm_derived_reread(derived, err);
    if (status == POMAI_OK) status = pm_derived_check(derived, 0, UINT64_MAX, &left, err);
    if (status == POMAI_OK && !pm_query_derived_is_sound(derived))
        status = pm_fail(err, POMAI_ECORRUPT, "%s contradicts itself; it is built again", derived->path);
    pm_derived_free(derived);
    return status;
}

/* ---- what was found damaged ---- */

static void free_derived(void *derived)
{
    pm_derived_free(derived);
}

bool pm_derive_drop_damaged(pm_db *db, uint32_t kind, pomai_error *err)
{
    pm_maintenance *m = &db->maintenance;
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    bool any = false;
    for (uint32_t i = 0; i < catalog->count; i++) {
        const pm_shown *shown = atomic_load(&catalog->coll[i]->shown); /* only this task takes segments out */
        for (uint32_t s = 0; s < shown->segments; s++) {
            pm_segment *segment = shown->segment[s];
            pm_derived *derived = pm_segment_derived(segment, kind);
            if (derived == NULL || atomic_load(&derived->state) != PM_DERIVED_BAD) continue;
            if (!pm_limbo_reserve(m, 1)) return any; /* another time */
            (void)pm_fail(err, POMAI_ECORRUPT, "%s is damaged; it is built again", derived->path);
            (void)pm_segment_set_derived(segment, kind, NULL);
            pm_derived_remove(db->os, pm_segment_where(segment)->dir, kind);
            pm_limbo_add(m, free_derived, derived);
            atomic_fetch_add_explicit(&m->deriving[kind].damaged, 1, memory_order_relaxed);
            any = true;
        }
    }
    return any;
}

/* ---- building ---- */

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
            if (!pm_derive_missing(segment, pm_derive_for(coll), b->kind)) continue;
            most = rows;
            b->coll = coll;
            b->segment = segment;
        }
    }
    return most > 0;
}

/* Lets everything else go first. */
static bool may_go_on(void *context)
{
    build *b = context;
    if (b->status != POMAI_OK) return false;
    if (!pm_maintenance_yield(b->db)) {
        b->status = pm_fail(b->err, POMAI_EBUSY, "the database is being closed, or stopped");
        return false;
    }
    /* A compaction, or a drop, may have come between. */
    if (atomic_load(pm_segment_forward(b->segment)) == NULL && !atomic_load(&b->coll->dropped)) return true;
    b->status = pm_fail(b->err, POMAI_ENOTFOUND, "the segment was replaced");
    return false;
}

/* Something that only the calling thread has. */
static const void *this_thread(void)
{
    static _Thread_local char here;
    return &here;
}

/* Between two pieces of a graph, in each thread that works on it: others go first in the maintenance task's alone, and
 * those who help rest when it does. */
static bool may_go_on_together(void *context)
{
    build *b = context;
    pm_maintenance *m = &b->db->maintenance;
    const pm_os *os = b->db->os;
    if (this_thread() == b->owner && !atomic_flag_test_and_set(&b->asking)) {
        if (!may_go_on(b)) atomic_store(&b->stop, true);
        atomic_flag_clear(&b->asking);
    } else {
        while (atomic_load(&m->rests) != 0 && !atomic_load(&m->closing))
            os->word_wait(os, &m->rests, 1, os->now_ns(os) + HELPER_LOOKS_NS);
    }
    return !atomic_load(&b->stop) && !atomic_load(&m->closing);
}

static void run_together(void *context, void (*work)(void *argument, uint32_t piece), void *argument, uint32_t pieces)
{
    const build *b = context;
    pm_pool_run(b->db->maintenance.builders, work, argument, pieces);
}

static void find_helpers(const build *b)
{
    pm_maintenance *m = &b->db->maintenance;
    if (b->db->build_threads > 0 && m->builders == NULL)
        m->builders = pm_pool_make(b->db->os, b->db->build_threads, true); /* NULL: it takes longer */
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
    if (b->status != POMAI_OK) return false;
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
    if (status == POMAI_OK) return status;
    return pm_fail(b->err, status, "no memory to build the %s of %s", pm_derived_name(b->kind), b->coll->name);
}

static pomai_status write_codes(build *b, pm_derived_of *of, const pm_index_source *source, const pm_index_sink *sink)
{
    const pm_simd *simd = b->db->simd;
    const pm_index_work work = {.context = b, .run = run_together};
    pm_quant quant = {.rows = of->rows, .dim = of->dim, .metric = of->metric};
    find_helpers(b);
    pomai_status status = pm_derived_begin(of, &b->out, b->err);
    if (status == POMAI_OK) status = outcome(b, pm_quant_build(source, simd, &work, sink));
    if (status == POMAI_OK) status = pm_derived_peek(b->out, PM_QUANT_SECTIONS - 1, quant.section, b->err);
    PM_POINT(DERIVED_BUILT);
    if (status == POMAI_OK) status = outcome(b, pm_quant_calibrate(&quant, source, simd, sink));
    return status;
}

static pomai_status write_graph(build *b, pm_derived_of *of, const pm_index_source *source, const pm_index_sink *sink)
{
    find_helpers(b);
    b->owner = this_thread();
    atomic_flag_clear(&b->asking);
    const pm_index_work work = {.context = b, .run = run_together, .go_on = may_go_on_together};
    pm_graph graph = {.rows = of->rows, .dim = of->dim, .metric = of->metric};
    pm_graph_builder *builder = NULL;
    pomai_status status = outcome(b, pm_graph_begin(source, b->db->simd, &work, &builder, &graph.variant));
    of->variant = graph.variant; /* the lengths of the sections follow from it */
    if (status == POMAI_OK) status = pm_derived_begin(of, &b->out, b->err);
    if (status == POMAI_OK) status = outcome(b, pm_graph_build(builder, sink));
    if (status == POMAI_OK) status = pm_derived_peek(b->out, PM_GRAPH_SECTIONS - 1, graph.section, b->err);
    PM_POINT(DERIVED_BUILT);
    if (status == POMAI_OK) status = outcome(b, pm_graph_calibrate(builder, &graph, sink));
    pm_graph_end(builder);
    /* Stopped between two pieces, by a close that the other thread saw. */
    if (status == POMAI_EDEADLINE && b->status == POMAI_OK && !may_go_on(b)) status = b->status;
    return status;
}

static pomai_status add_documents(build *b, pm_columns_builder *builder, uint64_t rows)
{
    pomai_status status = POMAI_OK;
    for (uint64_t first = 0; first < rows && status == POMAI_OK; first += READ_DOCUMENTS) {
        const uint64_t n = pm_min_u64(READ_DOCUMENTS, rows - first);
        if (!may_go_on(b)) return b->status;
        status = pm_segment_check(b->segment, PM_SEG_DOCUMENT, first, n, b->err);
        if (status != POMAI_OK) b->status = status;
        for (uint64_t row = first; row < first + n && status == POMAI_OK; row++) {
            const pomai_bytes document = pm_segment_document(b->segment, row);
            status = pm_columns_add(builder, document.data, document.size);
        }
    }
    return status;
}

static pomai_status write_columns(build *b, pm_derived_of *of, const pm_index_source *source, const pm_index_sink *sink)
{
    pm_columns_builder *builder = NULL;
    (void)source; /* vectors are of no interest */
    pomai_status status = outcome(b, pm_columns_begin(of->rows, COLUMNS_MEMORY, may_go_on, b, &builder));
    if (status == POMAI_OK) status = outcome(b, add_documents(b, builder, of->rows));
    if (status == POMAI_OK) status = outcome(b, pm_columns_finish(builder, of->length));
    if (status == POMAI_OK) status = pm_derived_begin(of, &b->out, b->err);
    PM_POINT(DERIVED_BUILT);
    if (status == POMAI_OK) status = outcome(b, pm_columns_write(builder, sink));
    pm_columns_end(builder);
    return status;
}

static pomai_status write_file(build *b, pm_derived_of *of)
{
    const pm_index_source source = {
        .rows = of->rows, .dim = of->dim, .metric = of->metric, .seed = of->seed, .context = b, .read = read_rows};
    const pm_index_sink sink = {b, append};
    pomai_status status = kinds[b->kind].write(b, of, &source, &sink);
    if (status == POMAI_OK && !may_go_on(b)) status = b->status; /* the last time: the directory may be gone */
    if (status == POMAI_OK) return pm_derived_end(b->out, b->err);
    pm_derived_abandon(b->out);
    return status;
}

/* Reads the file into memory, lest the first search wait for it. */
static void read_ahead(const build *b, const pm_derived *derived)
{
    const volatile uint8_t *pages = derived->pages;
    for (uint64_t at = 0; at < derived->header.length; at += 4096) {
        if (at % (1 << 20) == 0 && !pm_maintenance_yield(b->db)) return;
        (void)pages[at];
    }
}

static pomai_status build_file(build *b)
{
    pm_maintenance *m = &b->db->maintenance;
    pm_deriving *to = &m->deriving[b->kind];
    const uint32_t outer = m->building;
    pm_derived_of of;
    pm_derived *derived;
    if (!describe(b->segment, pm_derive_for(b->coll), b->kind, &of)) return POMAI_OK;
    m->yielded_at = b->db->os->now_ns(b->db->os);
    m->building = b->kind;
    pm_segment_hold(b->segment); /* a compaction that comes between may replace it */
    pomai_status status = write_file(b, &of);
    if (status == POMAI_OK) status = pm_derived_open(&of, &derived, b->err);
    if (status == POMAI_OK) {
        read_ahead(b, derived);
        pm_derived_free(pm_segment_set_derived(b->segment, b->kind, derived)); /* there was none */
        atomic_fetch_add_explicit(&to->builds, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&to->rows, of.rows, memory_order_relaxed);
        atomic_fetch_add_explicit(&to->written, derived->header.length, memory_order_relaxed);
    }
    m->building = outer; /* not before it is published: else it would be found missing, and built inside of itself */
    /* The rows are damaged, or it would take more memory than it may. */
    if (status == POMAI_ECORRUPT) atomic_store(&b->segment->underivable, UINT32_MAX);
    if (status == POMAI_ETOOBIG) {
        atomic_fetch_or(&b->segment->underivable, 1u << b->kind);
        status = POMAI_OK; /* documents are judged as before */
    }
    pm_segment_free(b->segment);
    return status;
}

pomai_status pm_derive_one(pm_db *db, uint32_t kind, uint64_t below, bool *did, pomai_error *err)
{
    build b = {.db = db, .kind = kind, .err = err};
    *did = choose(db, below, &b);
    if (!*did) return POMAI_OK;
    pomai_status status = build_file(&b);
    return status == POMAI_ENOTFOUND ? POMAI_OK : status; /* nobody misses them */
}

void pm_derive_ahead(pm_db *db, const pm_coll *coll, pm_segment *segment, uint32_t kind)
{
    pomai_error err;
    build b = {.db = db, .kind = kind, .coll = coll, .segment = segment, .err = &err};
    (void)build_file(&b); /* what fails is tried again once views have the segment, and told then */
}
