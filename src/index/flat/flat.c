/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact top-k.
 *
 * A row is left out without its canonical distance only when the float kernels prove that it is farther than the k-th
 * best so far. Everything else gets its canonical distance and goes through a heap ordered by (distance, id). So
 * the answer depends on canonical distances and ids alone, and the float part only on how much work there is.
 *
 * Proofs. With c the k-th canonical distance, g and e the relative and absolute error of the kernels:
 *   1. One query, L2: the approximation is of a sum of positive terms, so approx > c(1 + g) + e proves it.
 *   2. Otherwise from dot products, as |q|^2 + |x|^2 - 2qx for L2: the error of the dot product is at most
 *      g |q||x| + e (Cauchy-Schwarz), and each metric's condition has the form  dot < a + plus(x) + b |x|  with a and b
 * of the query and plus and |x| of the row, computed once a tile for all queries of a group.
 *   3. The condition itself is evaluated in float, and so are its inputs rounded: every part is lowered by
 *      PM_FLAT_SLACK of the magnitudes it was computed from, many times those roundings. What overflows to infinity
 * proves nothing.
 *   4. For L2 in a group, the rows that 2 leaves are tried again by 1: the dot product loses its digits when the rows
 *      lie far from the origin and near each other.
 */
#include "flat_int.h"

#include <assert.h>
#include <string.h>

#define GROUP     8   /* queries from which a matrix product pays for the packing of the rows */
#define BIG_GROUP 128 /* queries of one matrix product; more are taken in turn */

/* ---- order ---- */

static int compare_ids(const pm_flat_id *a, const pm_flat_id *b)
{
    if (a->bytes == NULL || b->bytes == NULL) return (a->u64 > b->u64) - (a->u64 < b->u64);
    uint32_t shorter = a->size < b->size ? a->size : b->size;
    int c = shorter > 0 ? memcmp(a->bytes, b->bytes, shorter) : 0;
    return c != 0 ? c : (a->size > b->size) - (a->size < b->size);
}

/* Whether a comes after b in the answer. */
static int is_after(const pm_flat_hit *a, const pm_flat_hit *b)
{
    if (a->distance != b->distance) return a->distance > b->distance;
    return compare_ids(&a->id, &b->id) > 0;
}

/* ---- heap ---- */

/* Puts hit into the hole at the top of heap[0..n). */
static void sink(pm_flat_hit *heap, size_t n, const pm_flat_hit *hit)
{
    size_t hole = 0, child;
    while ((child = 2 * hole + 1) < n) {
        if (child + 1 < n && is_after(&heap[child + 1], &heap[child])) child++;
        if (!is_after(&heap[child], hit)) break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = *hit;
}

/* Puts hit at the end of heap[0..n), which grows to n + 1. */
static void rise(pm_flat_hit *heap, size_t n, const pm_flat_hit *hit)
{
    size_t hole = n;
    while (hole > 0 && is_after(hit, &heap[(hole - 1) / 2])) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = *hit;
}

static void keep_hit(pm_flat_query *q, const pm_flat_hit *hit)
{
    if (q->n < q->k)
        rise(q->heap, q->n++, hit);
    else if (q->n > 0 && is_after(&q->heap[0], hit))
        sink(q->heap, q->n, hit);
}

/* ---- canonical distances ---- */

static double distance_of(const pm_flat_query *q, const pm_flat_tile *tile, size_t i, pm_flat_facts *facts)
{
    const float *x = tile->vector[i];
    if (q->metric == POMAI_METRIC_L2) return q->simd->exact_l2(q->vector, x, q->dim);
    double dot = q->simd->exact_dot(q->vector, x, q->dim);
    if (q->metric == POMAI_METRIC_IP) return 1 - dot;
    if (!(facts->has_norm2 >> i & 1)) {
        facts->norm2[i] = q->simd->exact_dot(x, x, q->dim);
        facts->has_norm2 |= (uint64_t)1 << i;
    }
    double norms = q->norm2 * facts->norm2[i];
    return norms > 0 ? 1 - dot / sqrt(norms) : 1;
}

/* Keeps a row if it is among the best. The id is asked for only then. */
void pm_flat_offer_known(pm_flat_query *q, double distance, const void *owner, uint32_t row)
{
    pm_flat_hit hit = {.distance = distance, .owner = owner, .row = row};
    if (q->n == q->k && !(hit.distance <= q->heap[0].distance)) return;
    q->id_of(hit.owner, hit.row, &hit.id);
    keep_hit(q, &hit);
}

static void offer_row(pm_flat_query *q, const pm_flat_tile *tile, size_t i, pm_flat_facts *facts)
{
    pm_flat_offer_known(q, distance_of(q, tile, i, facts), tile->owner[i], tile->row[i]);
}

void pm_flat_offer_rows(pm_flat_query *q, const pm_flat_tile *tile, uint64_t rows, pm_flat_facts *facts)
{
    for (; rows != 0; rows &= rows - 1)
        offer_row(q, tile, (size_t)__builtin_ctzll(rows), facts);
}

/* While there are fewer than k hits every row is one. Returns the rows left to be compared. */
uint64_t pm_flat_fill(pm_flat_query *q, const pm_flat_tile *tile, pm_flat_facts *facts)
{
    size_t room = q->k - q->n;
    size_t n = room < tile->n ? room : tile->n;
    pm_flat_offer_rows(q, tile, pm_flat_first_bits(n), facts);
    return q->k > 0 ? pm_flat_first_bits(tile->n) & ~pm_flat_first_bits(n) : 0;
}

/* ---- proofs that a row is too far ---- */

/* Proof 1: those of `rows` whose approximate squared distance does not show them to be beyond the k-th. */
uint64_t pm_flat_l2_undecided(pm_flat_query *q, const pm_flat_tile *tile, uint64_t rows)
{
    const float *some[PM_FLAT_TILE] = {NULL}, *const *vector = tile->vector;
    size_t n = tile->n;
    if (q->rel > PM_FLAT_REL_MAX) return rows;
    if (rows != pm_flat_first_bits(n)) {
        vector = some;
        n = 0;
        for (uint64_t left = rows; left != 0; left &= left - 1)
            some[n++] = tile->vector[__builtin_ctzll(left)];
    }
    q->simd->l2_rows(q->vector, vector, n, q->dim, q->dot);

    double limit = (q->heap[0].distance * (1 + q->rel) + q->abs) * (1 + PM_FLAT_SLACK);
    uint64_t undecided = 0;
    const float *approx = q->dot;
    for (uint64_t left = rows; left != 0; left &= left - 1, approx++) {
        int beyond = *approx <= FLT_MAX && (double)*approx > limit;
        undecided |= beyond ? 0 : left & (0 - left);
    }
    return undecided;
}

static void facts_init(pm_flat_facts *facts, const pm_flat_query *q, const pm_flat_tile *tile)
{

    q->simd->norm2_rows(tile->vector, tile->n, q->dim, facts->length);
    for (size_t i = 0; i < tile->n; i++) {
        double norm2 = (double)facts->length[i];
        int useless = !(norm2 <= FLT_MAX);
        double upper = norm2 * (1 + 2 * q->rel) + 2 * q->abs;
        facts->plus[i] = 0;
        if (q->metric == POMAI_METRIC_L2) facts->plus[i] = pm_flat_below((norm2 * (1 - 2 * q->rel) - q->abs) / 2);
        if (q->metric == POMAI_METRIC_COSINE) {
            useless |= norm2 * q->rel <= q->abs; /* the norm's own error would be more than 2g */
            upper = norm2;
        }
        if (useless) facts->plus[i] = -INFINITY;
        facts->length[i] = useless ? 0 : (float)sqrt(upper);
    }
}

/* Proof 2, all rows of the tile: bits of those whose approximate dot product (q->dot) does not put them beyond. */
static uint64_t dot_undecided(const pm_flat_query *q, const pm_flat_tile *tile, const pm_flat_facts *facts)
{
    double c = q->heap[0].distance, length = sqrt(q->norm2), a, b;
    if (q->rel > PM_FLAT_REL_MAX) return pm_flat_first_bits(tile->n);
    if (q->metric == POMAI_METRIC_L2) {
        /* c < |q|^2 + |x|^2 - 2 (dot + g|q||x| + e) */
        a = (q->norm2 - c) / 2 - PM_FLAT_SLACK * (q->norm2 + c);
        b = -q->rel * length;
    } else if (q->metric == POMAI_METRIC_IP) {
        /* c < 1 - (dot + g|q||x| + e) */
        a = 1 - c - PM_FLAT_SLACK * (1 + fabs(c));
        b = -q->rel * length;
    } else {
        /* c < 1 - (dot + g|q||x| + e) / |q||x| */
        double cosine = 1 - c - PM_FLAT_SLACK * (1 + fabs(c)) - q->rel;
        a = 0;
        b = (cosine - fabs(cosine) * 2 * q->rel) * length;
    }
    a -= 4 * q->abs;
    return q->simd->not_below(q->dot, facts->plus, facts->length, tile->n, pm_flat_below(a),
                              pm_flat_below(b - fabs(b) * PM_FLAT_SLACK));
}

/* ---- offers ---- */

static void offer_one(pm_flat_query *q, const pm_flat_tile *tile, pm_flat_facts *facts)
{
    uint64_t rows = pm_flat_fill(q, tile, facts);
    if (rows == 0) return;
    if (q->metric == POMAI_METRIC_L2) {
        rows = pm_flat_l2_undecided(q, tile, rows);
    } else {
        q->simd->dot_rows(q->vector, tile->vector, tile->n, q->dim, q->dot);
        rows &= dot_undecided(q, tile, facts);
    }
    pm_flat_offer_rows(q, tile, rows, facts);
}

static void offer_group(pm_flat_query *const *queries, size_t nqueries, const pm_flat_tile *tile, pm_flat_facts *facts)
{
    pm_flat_query *busy[BIG_GROUP];
    const float *vector[BIG_GROUP];
    float *dot[BIG_GROUP];
    uint64_t left[BIG_GROUP];
    size_t n = 0;
    for (size_t j = 0; j < nqueries; j++) {
        left[n] = pm_flat_fill(queries[j], tile, facts);
        if (left[n] == 0) continue;
        busy[n] = queries[j];
        vector[n] = queries[j]->vector;
        dot[n++] = queries[j]->dot;
    }
    if (n == 0) return;
    busy[0]->simd->dot_tile(vector, n, tile->vector, tile->n, busy[0]->dim, dot);
    for (size_t j = 0; j < n; j++) {
        uint64_t rows = left[j] & dot_undecided(busy[j], tile, facts);
        if (rows != 0 && busy[j]->metric == POMAI_METRIC_L2) rows = pm_flat_l2_undecided(busy[j], tile, rows);
        pm_flat_offer_rows(busy[j], tile, rows, facts);
    }
}

void pm_flat_offer(pm_flat_query *const *queries, size_t nqueries, const pm_flat_tile *tile)
{
    assert(tile->n <= PM_FLAT_TILE);
    if (nqueries == 0 || tile->n == 0) return;
    for (size_t j = 1; j < nqueries; j++)
        assert(queries[j]->simd == queries[0]->simd && queries[j]->metric == queries[0]->metric &&
               queries[j]->dim == queries[0]->dim);

    unsigned fp = pm_simd_fp_enter();
    pm_flat_facts facts;
    facts.has_norm2 = 0;
    if (nqueries >= GROUP || queries[0]->metric != POMAI_METRIC_L2) facts_init(&facts, queries[0], tile);
    if (nqueries < GROUP) {
        for (size_t j = 0; j < nqueries; j++)
            offer_one(queries[j], tile, &facts);
    } else {
        for (size_t j = 0; j < nqueries; j += BIG_GROUP)
            offer_group(queries + j, nqueries - j < BIG_GROUP ? nqueries - j : BIG_GROUP, tile, &facts);
    }
    pm_simd_fp_leave(fp);
}

double pm_flat_bound(const pm_flat_query *q)
{
    return q->n < q->k ? (double)INFINITY : q->heap[0].distance;
}

void pm_flat_merge(pm_flat_query *into, const pm_flat_query *from)
{
    for (size_t i = 0; i < from->n; i++)
        keep_hit(into, &from->heap[i]);
}

size_t pm_flat_finish(pm_flat_query *q, const pm_flat_hit **hits)
{
    for (size_t n = q->n; n > 1; n--) {
        pm_flat_hit last = q->heap[n - 1];
        q->heap[n - 1] = q->heap[0];
        sink(q->heap, n - 1, &last);
    }
    *hits = q->heap;
    return q->n;
}

/* ---- memory: the struct, the vector, the heap ---- */

static size_t header_size(void)
{
    return (sizeof(pm_flat_query) + PM_FLAT_LINE - 1) / PM_FLAT_LINE * PM_FLAT_LINE;
}

size_t pm_flat_query_size(size_t k, size_t dim)
{
    size_t vector, heap, size;
    if (__builtin_mul_overflow(dim, sizeof(float), &vector) || __builtin_mul_overflow(k, sizeof(pm_flat_hit), &heap) ||
        __builtin_add_overflow(vector, heap, &size) ||
        __builtin_add_overflow(size, header_size() + 2 * PM_FLAT_LINE, &size))
        return 0;
    return size / PM_FLAT_LINE * PM_FLAT_LINE;
}

pm_flat_query *pm_flat_query_init(void *memory, const pm_simd *simd, pomai_metric metric, const float *vector,
                                  size_t dim, size_t k, pm_flat_id_fn id_of)
{
    pm_flat_query *q = memory;
    assert((uintptr_t)memory % PM_FLAT_LINE == 0);
    *q = (pm_flat_query){.simd = simd, .id_of = id_of, .metric = metric, .dim = dim, .k = k};
    q->vector = (float *)(void *)((char *)memory + header_size());
    q->heap = (pm_flat_hit *)(void *)((char *)q->vector +
                                      (dim * sizeof(float) + PM_FLAT_LINE - 1) / PM_FLAT_LINE * PM_FLAT_LINE);
    memcpy(q->vector, vector, dim * sizeof(float));
    unsigned fp = pm_simd_fp_enter();
    q->norm2 = simd->exact_dot(q->vector, q->vector, dim);
    q->rel = (double)pm_simd_rel_error(dim);
    q->abs = (double)pm_simd_abs_error(dim);
    pm_simd_fp_leave(fp);
    return q;
}
