/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which effort reaches which recall.
 *
 * Rows drawn from all over are the queries, each left out of its own answer. Their true neighbours are sought among
 * another draw, of one row in T. The k / T nearest of those lie within the radius of the k nearest of all, so they
 * stand for them; their farthest, which is the one most easily missed, weighs more, so the recall found is low, if
 * anything. Where k / T is under 2 the NEAREST few are counted, each as if it were the farthest: lower still.
 *
 * For each neighbour the codes say at which effort a search whose bound is already the final one would have let it
 * through (a real one begins with wider bounds, and misses less); so one pass measures every effort.
 *
 * The cost is bounded by counting: one query for QUERY_ROWS rows and WORK products of vectors a row. A query costs what
 * ten to twenty-five rows cost to build, so that is a tenth of the build; only the LEAST_QUERIES of a small segment
 * cost more, some 10 ms.
 */
#include "base/mutant.h"
#include "index/flat/flat.h"
#include "quant_int.h"

#include <math.h>
#include <string.h>

#define WORK          2
#define QUERY_ROWS    192 /* rows to a query */
#define LEAST_QUERIES 500
#define NEAREST       4
#define QUERIES       4000
#define LEAST_ROWS    256
#define MOST_ROWS     65536
#define MOST_MEMORY   ((size_t)1 << 26)  /* of queries */
#define ONE_SIDED     1.6448536269514722 /* 95% of a normal distribution are below */
#define STEPS         48
#define STEP          ((double)QUANT_MOST_EFFORT / STEPS)

static const uint32_t ks[QUANT_KS] = {1, 10, 100};
static const float targets[QUANT_TARGETS] = {0.8f, 0.9f, 0.95f, 0.98f, 0.99f, 0.995f, 0.998f, PM_QUANT_MOST_RECALL};
/* For a query unlike all rows, which has its neighbours at about the distance of the farthest of them, and whose rows
 * codes are wrong about alike: so many deviations of a normal distribution let a quarter as many be missed as each
 * target.
 */
static const float least_efforts[QUANT_TARGETS] = {1.65f, 1.96f, 2.25f, 2.58f, 2.81f, 3.03f, 3.3f, 3.5f};

/* Found neighbours for one k: in all, and their squares by query, for each effort. */
typedef struct tally {
    uint32_t neighbours; /* of a query */
    bool apart;          /* each within its own distance, not within the farthest's */
    uint64_t queries;
    double found[STEPS + 1], squares[STEPS + 1];
} tally;

typedef struct calibration {
    const pm_quant *quant;
    const pm_index_source *source;
    const pm_simd *simd;
    uint64_t rows, queries; /* drawn */
    uint32_t k;             /* neighbours sought for each query, itself perhaps among them */
    size_t query_size;
    uint8_t *query;           /* queries x query_size */
    pm_flat_query **pointers; /* to them */
    float *tile;              /* PM_FLAT_TILE x dim */
    void *coded;              /* a pm_quant_query */
    tally tally[QUANT_KS];
} calibration;

static uint64_t draw(const calibration *c, uint64_t i, uint64_t of, uint64_t salt)
{
    uint64_t from = c->source->rows * i / of, to = c->source->rows * (i + 1) / of;
    return from + pm_mix64((c->source->seed + salt) ^ pm_mix64(i)) % (to - from);
}

static uint64_t query_row(const calibration *c, uint64_t i)
{
    return draw(c, i, c->queries, 2);
}

static void id_of(const void *owner, uint32_t row, pm_flat_id *id)
{
    (void)owner;
    *id = (pm_flat_id){.u64 = row};
}

/* How much is drawn: see WORK. Many queries come first, as it is their number that the lower bounds depend on. */
static void plan(calibration *c)
{
    uint64_t rows = c->source->rows, wanted = pm_max_u64(pm_min_u64(rows / QUERY_ROWS, QUERIES), LEAST_QUERIES);
    size_t query_size = pm_flat_query_size(ks[QUANT_KS - 1] + 1, c->source->dim);
    c->queries = pm_min_u64(pm_min_u64(wanted, rows), MOST_MEMORY / query_size + 1);
    c->rows = pm_min_u64(rows, pm_min_u64(pm_max_u64(WORK * rows / c->queries, LEAST_ROWS), MOST_ROWS));
    for (size_t i = 0; i < QUANT_KS; i++) {
        tally *t = &c->tally[i];
        uint64_t k = ks[i] * c->rows / rows;
        t->apart = k < 2;
        t->neighbours = (uint32_t)pm_min_u64(t->apart ? NEAREST : k, c->rows - 1);
        if (t->neighbours + 1 > c->k) c->k = t->neighbours + 1;
    }
    c->query_size = pm_flat_query_size(c->k, c->source->dim);
}

static bool take_memory(calibration *c)
{
    c->query = pm_malloc_aligned(QUANT_LINE, (size_t)c->queries * c->query_size);
    c->pointers = pm_malloc((size_t)c->queries * sizeof(pm_flat_query *));
    c->tile = pm_malloc_aligned(QUANT_LINE, PM_FLAT_TILE * (size_t)c->source->dim * sizeof(float));
    c->coded = pm_malloc_aligned(QUANT_LINE, pm_quant_query_size(c->quant, 0));
    return c->query != NULL && c->pointers != NULL && c->tile != NULL && c->coded != NULL;
}

/* The exact neighbours of every query among the drawn rows. */
static bool find_neighbours(calibration *c)
{
    const pm_index_source *source = c->source;
    pm_flat_tile tile = {.n = 0};
    for (uint64_t i = 0; i < c->queries; i++) {
        if (!source->read(source->context, query_row(c, i), 1, c->tile)) return false;
        c->pointers[i] = pm_flat_query_init(c->query + i * c->query_size, c->simd, source->metric, c->tile, source->dim,
                                            c->k, id_of);
    }
    for (uint64_t i = 0; i < c->rows; i++) {
        uint64_t row = draw(c, i, c->rows, 1);
        float *to = c->tile + tile.n * source->dim;
        if (!source->read(source->context, row, 1, to)) return false;
        tile.vector[tile.n] = to;
        tile.row[tile.n++] = (uint32_t)row;
        if (tile.n < PM_FLAT_TILE && i + 1 < c->rows) continue;
        pm_flat_offer(c->pointers, (size_t)c->queries, &tile);
        tile.n = 0;
    }
    return true;
}

/* Counts at which efforts the nearest of `n` hits are found. */
static void count(calibration *c, tally *t, const pm_flat_hit *const *hits, size_t n)
{
    double found[STEPS + 1] = {0};
    if (t->neighbours == 0 || n < t->neighbours) return;
    for (size_t i = 0; i < t->neighbours; i++) {
        double bound = hits[t->apart ? i : t->neighbours - 1]->distance;
        double effort = quant_query_effort(c->coded, hits[i]->row, bound);
        for (size_t s = 0; s <= STEPS; s++)
            found[s] += effort <= (double)s * STEP ? 1 : 0;
    }
    t->queries++;
    for (size_t s = 0; s <= STEPS; s++) {
        t->found[s] += found[s];
        t->squares[s] += found[s] * found[s];
    }
}

static bool measure(calibration *c)
{
    const pm_index_source *source = c->source;
    const pm_flat_hit *other[2 + 100];
    for (uint64_t i = 0; i < c->queries; i++) {
        const pm_flat_hit *hits;
        uint64_t row = query_row(c, i);
        size_t n = pm_flat_finish(c->pointers[i], &hits), others = 0;
        for (size_t j = 0; j < n; j++) {
            if (hits[j].row != row) other[others++] = &hits[j];
        }
        if (!source->read(source->context, row, 1, c->tile)) return false;
        (void)quant_query_make(c->coded, c->quant, c->simd, c->tile, 0, 0);
        for (size_t j = 0; j < QUANT_KS; j++) {
            if (j == 0 || !c->tally[j].apart) count(c, &c->tally[j], other, others);
        }
    }
    return true;
}

static double recall_at(const tally *t, size_t s)
{
    return t->queries > 0 ? t->found[s] / ((double)t->queries * t->neighbours) : 0;
}

/*
 * How many times the variance of recall between queries is what independent neighbours would have: at the effort whose
 * recall is next to 0.9, as there is no telling where nothing is missed.
 */
static double spread_of(const tally *t)
{
    size_t at = 0;
    double each = t->neighbours;
    for (size_t s = 1; s <= STEPS; s++) {
        if (fabs(recall_at(t, s) - 0.9) < fabs(recall_at(t, at) - 0.9)) at = s;
    }
    double recall = recall_at(t, at), mean = recall * each;
    if (!(recall > 0 && recall < 1)) return each;
    double variance = t->squares[at] / (double)t->queries - mean * mean;
    return fmin(fmax(variance / (each * recall * (1 - recall)), 1), each);
}

/*
 * The recall at a step, and its one-sided 95% lower bound: Wilson's score interval (Probable inference, the law of
 * succession, and statistical inference, 1927), over as many neighbours as are independent.
 */
static double recall_of(const tally *t, size_t s, double *least)
{
    *least = 0;
    if (t->queries == 0) return 0;
    double recall = recall_at(t, s), z2 = ONE_SIDED * ONE_SIDED;
    double n = (double)t->queries * t->neighbours / spread_of(t);
    double middle = recall + z2 / (2 * n), wide = recall * (1 - recall) / n + z2 / (4 * n * n);
    *least = fmax((middle - ONE_SIDED * sqrt(fmax(wide, 0))) / (1 + z2 / n), 0);
    return recall;
}

static void fill_row(const tally *t, uint32_t k, quant_row *row)
{
    double least;
    *row = (quant_row){.k = k, .neighbours = t->neighbours, .effort = (float)(STEPS * STEP)};
    row->recall = (float)recall_of(t, STEPS, &least);
    for (size_t i = 0; i < QUANT_TARGETS; i++) {
        row->entry[i] = (quant_entry){.target = targets[i], .effort = -1};
        for (size_t s = 0; s <= STEPS && row->entry[i].effort < 0; s++) {
            double recall = recall_of(t, s, &least);
            if (least < (double)targets[i]) continue;
            row->entry[i] = (quant_entry){targets[i], (float)((double)s * STEP), (float)recall, (float)least};
        }
    }
}

pomai_status pm_quant_calibrate(const pm_quant *quant, const pm_index_source *source, const pm_simd *simd,
                                const pm_index_sink *sink)
{
    calibration c = {.quant = quant, .source = source, .simd = simd};
    pomai_status status = POMAI_ENOMEM;
    plan(&c);
    if (take_memory(&c)) {
        unsigned fp = pm_simd_fp_enter();
        status = POMAI_EDEADLINE;
        if (find_neighbours(&c) && measure(&c)) {
            quant_table table = {.revision = QUANT_REVISION, .queries = (uint32_t)c.queries, .rows = (uint32_t)c.rows};
            for (size_t i = 0; i < QUANT_KS; i++)
                fill_row(&c.tally[c.tally[i].apart ? 0 : i], ks[i], &table.row[i]);
            if (sink->append(sink->context, QUANT_TABLE, &table, sizeof table)) status = POMAI_OK;
        }
        pm_simd_fp_leave(fp);
    }
    pm_free(c.query);
    pm_free(c.pointers);
    pm_free(c.tile);
    pm_free(c.coded);
    return status;
}

/* ---- the table ---- */

/* The row of the next larger k; beyond them, of the largest. */
static quant_row row_of(const pm_quant *quant, uint32_t k)
{
    quant_table table;
    size_t i = 0;
    memcpy(&table, quant->section[QUANT_TABLE], sizeof table);
    while (i + 1 < QUANT_KS && table.row[i].k < k)
        i++;
    return table.row[i];
}

float pm_quant_best_recall(const pm_quant *quant, uint32_t k)
{
    return row_of(quant, k).recall;
}

pm_quant_query *pm_quant_query_init(void *memory, const pm_quant *quant, const pm_simd *simd, const float *vector,
                                    uint32_t k, float recall, float *expected)
{
    quant_row row = row_of(quant, k);
    for (size_t i = 0; i < QUANT_TARGETS; i++) {
        const quant_entry *entry = &row.entry[i];
        if (!(entry->target >= recall)) continue;
        if (entry->effort < 0) return NULL;
        *expected = entry->recall;
        float effort = entry->effort;
        if (effort < least_efforts[i] && !PM_MUTANT(EFFORT_OF_ROWS)) effort = least_efforts[i];
        return quant_query_make(memory, quant, simd, vector, k, effort);
    }
    return NULL;
}
