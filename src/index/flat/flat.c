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

#include "base/mutant.h"
#include "simd/stored.h"

#define FEW_HITS  16  /* that are sorted by a heap */
#define FEW_FIRST 32  /* the most that are chosen from a tile before the others are compared */
#define GROUP     8   /* queries from which a matrix product pays for the packing of the rows */
#define BIG_GROUP 128 /* queries of one matrix product; more are taken in turn */

/* From here on the best are kept in no order: a heap moves more for each than is looked at again. */
#ifdef POMAI_TEST_HOOKS
size_t pm_flat_large_k = 512;
#else
const size_t pm_flat_large_k = 512;
#endif

/* ---- order ---- */

static int compare_ids(const pm_flat_id *a, const pm_flat_id *b)
{
    if (a->bytes == NULL || b->bytes == NULL) return (a->u64 > b->u64) - (a->u64 < b->u64);
    uint32_t shorter = a->size < b->size ? a->size : b->size;
    int c = shorter > 0 ? memcmp(a->bytes, b->bytes, shorter) : 0;
    return c != 0 ? c : (a->size > b->size) - (a->size < b->size);
}

static int is_after_by_id(pm_flat_id_fn id_of, const pm_flat_hit *a, const pm_flat_hit *b)
{
    pm_flat_id x, y;
    id_of(a->owner, a->row, &x);
    id_of(b->owner, b->row, &y);
    return compare_ids(&x, &y) > 0;
}

/* Whether a comes after b in the answer. */
static inline int is_after(pm_flat_id_fn id_of, const pm_flat_hit *a, const pm_flat_hit *b)
{
    if (a->distance != b->distance) return a->distance > b->distance;
    return is_after_by_id(id_of, a, b);
}

/* ---- heap ---- */

/* Puts hit into the hole at the top of heap[0..n). */
static void sink(pm_flat_id_fn id_of, pm_flat_hit *heap, size_t n, const pm_flat_hit *hit)
{
    size_t hole = 0, child;
    while ((child = 2 * hole + 1) < n) {
        if (child + 1 < n && is_after(id_of, &heap[child + 1], &heap[child])) child++;
        if (!is_after(id_of, &heap[child], hit)) break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = *hit;
}

/* Puts hit at the end of heap[0..n), which grows to n + 1. */
static void rise(pm_flat_id_fn id_of, pm_flat_hit *heap, size_t n, const pm_flat_hit *hit)
{
    size_t hole = n;
    while (hole > 0 && is_after(id_of, hit, &heap[(hole - 1) / 2])) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = *hit;
}

/* A heap, farthest on top, becomes the hits in order. */
static void unheap(pm_flat_id_fn id_of, pm_flat_hit *heap, size_t n)
{
    for (; n > 1; n--) {
        const pm_flat_hit last = heap[n - 1];
        heap[n - 1] = heap[0];
        sink(id_of, heap, n - 1, &last);
    }
}

/* ---- many hits, in no order until they are needed ---- */

/* Hoare's partition: none of the first, whose number is returned, is after one of the others; n > FEW_HITS. */
static size_t split_hits(pm_flat_id_fn id_of, pm_flat_hit *hit, size_t n)
{
    const pm_flat_hit *a = &hit[0], *b = &hit[n / 2], *c = &hit[n - 1];
    const pm_flat_hit *low = is_after(id_of, a, b) ? b : a, *high = low == a ? b : a;
    const pm_flat_hit pivot = is_after(id_of, low, c)    ? *low
                              : is_after(id_of, high, c) ? *c
                                                         : *high; /* the middle one of three */
    for (size_t i = 0, j = n - 1;; i++, j--) {
        while (is_after(id_of, &pivot, &hit[i]))
            i++;
        while (is_after(id_of, &hit[j], &pivot))
            j--;
        if (i >= j) return j + 1;
        const pm_flat_hit swapped = hit[i];
        hit[i] = hit[j];
        hit[j] = swapped;
    }
}

/* Twice the logarithm: more splits than that are one-sided, and a heap is never worse than its own. */
static unsigned splits_for(size_t n)
{
    return 2 * (64 - (unsigned)__builtin_clzll(n | 1));
}

static void sort_hits(pm_flat_id_fn id_of, pm_flat_hit *hit, size_t n, unsigned splits)
{
    while (n > FEW_HITS && splits-- > 0) {
        const size_t first = split_hits(id_of, hit, n);
        sort_hits(id_of, hit, first, splits);
        hit += first;
        n -= first;
    }
    for (size_t i = 0; i < n; i++) {
        const pm_flat_hit own = hit[i];
        rise(id_of, hit, i, &own);
    }
    unheap(id_of, hit, n);
}

/* The `first` nearest of n come first, in no order. */
static void select_hits(pm_flat_id_fn id_of, pm_flat_hit *hit, size_t n, size_t first)
{
    unsigned splits = splits_for(n);
    while (n > FEW_HITS && first > 0 && first < n && splits-- > 0) {
        const size_t low = split_hits(id_of, hit, n);
        if (low <= first) {
            hit += low;
            first -= low;
            n -= low;
        } else {
            n = low;
        }
    }
    if (first > 0 && first < n) sort_hits(id_of, hit, n, 0);
}

/* Leaves the k best, of k or more. */
static void settle(pm_flat_query *q)
{
    select_hits(q->id_of, q->heap, q->n, q->k);
    q->n = q->k;
    q->kth = -(double)INFINITY;
    for (size_t i = 0; i < q->k; i++)
        q->kth = fmax(q->kth, q->heap[i].distance);
}

/* That is not beyond the k-th. */
static void keep_hit(pm_flat_query *q, const pm_flat_hit *hit)
{
    if (q->most > q->k) {
        q->heap[q->n++] = *hit;
        if (q->n == q->most || (q->n == q->k && !(q->kth < (double)INFINITY))) settle(q);
        return;
    }
    if (q->n < q->k)
        rise(q->id_of, q->heap, q->n++, hit);
    else if (q->n > 0 && is_after(q->id_of, &q->heap[0], hit))
        sink(q->id_of, q->heap, q->n, hit);
    if (q->n == q->k && q->n > 0) q->kth = q->heap[0].distance;
    if (q->limit != NULL) {
        pm_flat_limit_offer(q->limit, hit->distance);
        pm_flat_catch_up(q);
    }
}

/* ---- rows of other types ---- */

static bool is_float32(const pm_flat_tile *tile)
{
    return tile->dtype == 0 || tile->dtype == POMAI_DTYPE_FLOAT32;
}

const pm_flat_tile *pm_flat_decode(const pm_flat_tile *tile, size_t dim, pm_flat_tile *copy)
{
    if (is_float32(tile)) return tile;
    copy->n = tile->n;
    copy->dtype = POMAI_DTYPE_FLOAT32;
    for (size_t i = 0; i < tile->n; i++) {
        pm_convert_row(tile->convert, tile->dtype, tile->stored[i], dim, tile->room + i * dim);
        copy->vector[i] = tile->room + i * dim;
        copy->owner[i] = tile->owner[i];
        copy->row[i] = tile->row[i];
    }
    return copy;
}

static const float *vector_of(const pm_flat_tile *tile, size_t i, size_t dim, pm_flat_facts *facts)
{
    if (is_float32(tile)) return tile->vector[i];
    if (!(facts->has_vector >> i & 1))
        pm_convert_row(tile->convert, tile->dtype, tile->stored[i], dim, tile->room + i * dim);
    facts->has_vector |= (uint64_t)1 << i;
    return tile->room + i * dim;
}

/* ---- canonical distances ---- */

/* Lengths of rows are kept for the tile's other queries. */
static void cosines_of(pm_flat_query *q, const float *const *vector, uint64_t rows, size_t n, pm_flat_facts *facts,
                       double *distance)
{
    double norm2[PM_FLAT_TILE];
    const double own2 = pm_flat_norm2(q);
    const bool known = (rows & ~facts->has_norm2) == 0;
    size_t j = 0;
    q->simd->exact_dot_rows(q->vector, vector, n, q->dim, distance, known ? NULL : norm2);
    for (uint64_t left = rows; left != 0; left &= left - 1, j++) {
        const int i = __builtin_ctzll(left);
        if (!known) facts->norm2[i] = norm2[j];
        const double norms = own2 * facts->norm2[i];
        distance[j] = norms > 0 ? 1 - distance[j] / sqrt(norms) : 1;
    }
    facts->has_norm2 |= rows;
}

/* One for each bit of `rows`, in order. */
static void distances_of(pm_flat_query *q, const pm_flat_tile *tile, uint64_t rows, pm_flat_facts *facts,
                         double *distance)
{
    const float *vector[PM_FLAT_TILE];
    size_t n = 0;
    for (uint64_t left = rows; left != 0; left &= left - 1)
        vector[n++] = vector_of(tile, (size_t)__builtin_ctzll(left), q->dim, facts);
    if (q->metric == POMAI_METRIC_L2) {
        q->simd->exact_l2_rows(q->vector, vector, n, q->dim, distance);
    } else if (q->metric == POMAI_METRIC_COSINE) {
        cosines_of(q, vector, rows, n, facts, distance);
    } else {
        q->simd->exact_dot_rows(q->vector, vector, n, q->dim, distance, NULL);
        for (size_t j = 0; j < n; j++)
            distance[j] = 1 - distance[j];
    }
}

static bool is_kept(const pm_flat_query *q, const pm_flat_hit *hit)
{
    for (size_t i = 0; i < q->n; i++)
        if (q->heap[i].row == hit->row && q->heap[i].owner == hit->owner) return true;
    return false;
}

/* Keeps a row if it is among the best. */
void pm_flat_offer_known(pm_flat_query *q, double distance, const void *owner, uint32_t row)
{
    const pm_flat_hit hit = {.distance = distance, .owner = owner, .row = row};
    if ((q->n >= q->k || pm_flat_has_kth(q)) && !(hit.distance <= q->kth)) return;
    if (q->repeats && is_kept(q, &hit)) return;
    q->nearer += hit.distance < q->kth;
    keep_hit(q, &hit);
}

void pm_flat_offer_rows(pm_flat_query *q, const pm_flat_tile *tile, uint64_t rows, pm_flat_facts *facts)
{
    double distance[PM_FLAT_TILE];
    size_t j = 0;
    if (rows == 0) return;
    distances_of(q, tile, rows, facts, distance);
    for (uint64_t left = rows; left != 0; left &= left - 1) {
        const int i = __builtin_ctzll(left);
        pm_flat_offer_known(q, distance[j++], tile->owner[i], tile->row[i]);
    }
}

/* While there are fewer than k hits every row is one. Returns the rows left to be compared. */
uint64_t pm_flat_fill(pm_flat_query *q, const pm_flat_tile *tile, pm_flat_facts *facts)
{
    pm_flat_catch_up(q);
    size_t room = q->n < q->k && !pm_flat_has_kth(q) ? q->k - q->n : 0;
    size_t n = room < tile->n ? room : tile->n;
    pm_flat_offer_rows(q, tile, pm_flat_first_bits(n), facts);
    return q->k > 0 ? pm_flat_first_bits(tile->n) & ~pm_flat_first_bits(n) : 0;
}

/* ---- proofs that a row is too far ---- */

static bool is_beyond(const pm_flat_query *q, float approx)
{
    const double limit = (q->kth * (1 + q->rel) + q->abs) * (1 + PM_FLAT_SLACK);
    return approx <= FLT_MAX && (double)approx > limit;
}

/* Proof 1: those of `rows` whose approximate squared distance does not show them to be beyond the k-th. */
uint64_t pm_flat_l2_undecided(pm_flat_query *q, const pm_flat_tile *tile, uint64_t rows)
{
    const float *some[PM_FLAT_TILE] = {NULL}, *const *vector = tile->vector;
    const uint16_t *half[PM_FLAT_TILE] = {NULL};
    size_t n = tile->n;
    if (q->rel > PM_FLAT_REL_MAX) return rows;
    if (!is_float32(tile)) {
        n = 0;
        for (uint64_t left = rows; left != 0; left &= left - 1)
            half[n++] = tile->stored[__builtin_ctzll(left)];
        q->simd->stored->l2_f16(q->vector, half, n, q->dim, q->dot);
    } else {
        if (rows != pm_flat_first_bits(n)) {
            vector = some;
            n = 0;
            for (uint64_t left = rows; left != 0; left &= left - 1)
                some[n++] = tile->vector[__builtin_ctzll(left)];
        }
        q->simd->l2_rows(q->vector, vector, n, q->dim, q->dot);
    }

    const float *approx = q->dot;
    uint64_t undecided = 0;
    for (uint64_t left = rows; left != 0; left &= left - 1)
        undecided |= is_beyond(q, *approx++) ? 0 : left & (0 - left);
    return undecided;
}

/* The same, of all rows' approximations in q->dot. */
static uint64_t l2_not_beyond(const pm_flat_query *q, uint64_t rows)
{
    uint64_t undecided = 0;
    for (uint64_t left = rows; left != 0; left &= left - 1)
        undecided |= is_beyond(q, q->dot[__builtin_ctzll(left)]) ? 0 : left & (0 - left);
    return undecided;
}

/* Dot products with all rows, and their lengths. */
static void halves_dots(pm_flat_query *q, const pm_flat_tile *tile, float *norm2)
{
    const uint16_t *half[PM_FLAT_TILE];
    for (size_t i = 0; i < tile->n; i++)
        half[i] = tile->stored[i];
    q->simd->stored->dots_f16(q->vector, half, tile->n, q->dim, q->dot, norm2);
}

/* From norm2 of the kernels, in facts->length. */
static void facts_init(pm_flat_facts *facts, const pm_flat_query *q, const pm_flat_tile *tile)
{
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
static uint64_t dot_undecided(pm_flat_query *q, const pm_flat_tile *tile, const pm_flat_facts *facts)
{
    if (q->rel > PM_FLAT_REL_MAX) return pm_flat_first_bits(tile->n);
    const double c = q->kth, own2 = pm_flat_norm2(q), length = sqrt(own2);
    double a, b;
    if (q->metric == POMAI_METRIC_L2) {
        /* c < |q|^2 + |x|^2 - 2 (dot + g|q||x| + e) */
        a = (own2 - c) / 2 - PM_FLAT_SLACK * (own2 + c);
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

/* ---- which rows come first ---- */

/* By approximations in q->dot, how far each row of the tile is: any numbers that have about that order. */
static void guess(const pm_flat_query *q, const pm_flat_tile *tile, const pm_flat_facts *facts, float far[PM_FLAT_TILE])
{
    for (size_t i = tile->n; i < PM_FLAT_TILE; i++)
        far[i] = INFINITY;
    for (size_t i = 0; i < tile->n; i++) {
        const float length = q->metric == POMAI_METRIC_COSINE && facts->length[i] > 0 ? facts->length[i] : 1;
        far[i] = q->metric == POMAI_METRIC_L2 ? q->dot[i] : -q->dot[i] / length;
    }
}

/* The bits of the n nearest, and of others as near as the last; what is no number counts as near. All are compared with
 * all, which has no branch to be guessed wrong. */
static uint64_t nearest_of(const float far[PM_FLAT_TILE], size_t rows, int n)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < rows; i++) {
        int nearer = 0;
        for (size_t j = 0; j < PM_FLAT_TILE; j++)
            nearer += far[j] < far[i];
        bits |= (uint64_t)(nearer < n) << i;
    }
    return bits;
}

/* As pm_flat_fill, but by approximations in q->dot the nearest come first: what is not among the nearest of the tile
 * is then seldom looked at again. */
static uint64_t fill_with_nearest(pm_flat_query *q, const pm_flat_tile *tile, pm_flat_facts *facts)
{
    float far[PM_FLAT_TILE];
    pm_flat_catch_up(q);
    const size_t room = q->n < q->k && !pm_flat_has_kth(q) ? q->k - q->n : 0;
    if (room == 0 || room > FEW_FIRST || room >= tile->n) return pm_flat_fill(q, tile, facts);
    guess(q, tile, facts, far);
    const uint64_t first = nearest_of(far, tile->n, (int)room);
    pm_flat_offer_rows(q, tile, first, facts);
    return pm_flat_first_bits(tile->n) & ~first;
}

/* ---- offers ---- */

static void offer_one(pm_flat_query *q, const pm_flat_tile *tile, pm_flat_facts *facts)
{
    uint64_t rows;
    if (q->metric != POMAI_METRIC_L2) {
        if (is_float32(tile)) q->simd->dot_rows(q->vector, tile->vector, tile->n, q->dim, q->dot);
        rows = fill_with_nearest(q, tile, facts);
        if (rows != 0) rows &= dot_undecided(q, tile, facts);
    } else if (is_float32(tile) && q->rel <= PM_FLAT_REL_MAX) {
        q->simd->l2_rows(q->vector, tile->vector, tile->n, q->dim, q->dot);
        rows = fill_with_nearest(q, tile, facts);
        rows = l2_not_beyond(q, rows);
    } else {
        rows = pm_flat_fill(q, tile, facts);
        if (rows != 0) rows = pm_flat_l2_undecided(q, tile, rows);
    }
    pm_flat_offer_rows(q, tile, rows, facts);
}

/* Of float16, where the level has kernels for them: only rows that these leave are converted. */
static void offer_halves(pm_flat_query *const *queries, size_t nqueries, const pm_flat_tile *tile)
{
    pm_flat_facts facts;
    facts.has_norm2 = facts.has_vector = 0;
    for (size_t j = 0; j < nqueries; j++) {
        if (queries[j]->metric != POMAI_METRIC_L2) {
            halves_dots(queries[j], tile, facts.length);
            facts_init(&facts, queries[j], tile);
        }
        offer_one(queries[j], tile, &facts);
    }
}

/* Whether the query is of bytes as well; asked once. */
static bool take_bytes(pm_flat_query *q)
{
    if (!q->has_bytes && q->bytes != NULL) {
        for (size_t d = 0; d < q->dim && q->bytes != NULL; d++) {
            const float v = q->vector[d];
            if (v >= -128 && v <= 127 && v == (float)(int)v)
                q->bytes[d] = (int8_t)v;
            else
                q->bytes = NULL;
        }
        q->has_bytes = q->bytes != NULL;
    }
    return q->has_bytes;
}

/* Of int8, to a query of whole numbers like them: sums of products are exact, and so are the distances from them, those
 * of distance_of bit for bit. */
static void offer_bytes(pm_flat_query *q, const pm_flat_tile *tile)
{
    const int8_t *row[PM_FLAT_TILE];
    int32_t dot[PM_FLAT_TILE], norm2[PM_FLAT_TILE];
    double distance[PM_FLAT_TILE];
    const double own2 = pm_flat_norm2(q);
    for (size_t i = 0; i < tile->n; i++)
        row[i] = tile->stored[i];
    q->simd->stored->dots_i8(q->bytes, row, tile->n, q->dim, dot, norm2);
    for (size_t i = 0; i < tile->n; i++) {
        const double norms = own2 * (double)norm2[i];
        if (q->metric == POMAI_METRIC_L2)
            distance[i] = own2 + (double)norm2[i] - 2 * (double)dot[i];
        else if (q->metric == POMAI_METRIC_IP)
            distance[i] = 1 - (double)dot[i];
        else
            distance[i] = norms > 0 ? 1 - (double)dot[i] / sqrt(norms) : 1;
    }
    for (size_t i = 0; i < tile->n; i++)
        pm_flat_offer_known(q, distance[i], tile->owner[i], tile->row[i]);
}

/* Rows of another type, as they are stored if there are kernels for it, otherwise as float32. */
static void offer_stored(pm_flat_query *const *queries, size_t nqueries, const pm_flat_tile *tile)
{
    const bool native = queries[0]->simd->stored != NULL && nqueries < GROUP;
    bool bytes = native && tile->dtype == POMAI_DTYPE_INT8;
    pm_flat_tile copy;
    for (size_t j = 0; j < nqueries && bytes; j++)
        bytes = take_bytes(queries[j]);
    if (bytes) {
        for (size_t j = 0; j < nqueries; j++)
            offer_bytes(queries[j], tile);
    } else if (native && tile->dtype == POMAI_DTYPE_FLOAT16) {
        offer_halves(queries, nqueries, tile);
    } else {
        pm_flat_offer(queries, nqueries, pm_flat_decode(tile, queries[0]->dim, &copy));
    }
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
    facts.has_norm2 = facts.has_vector = 0;
    if (is_float32(tile) && (nqueries >= GROUP || queries[0]->metric != POMAI_METRIC_L2)) {
        queries[0]->simd->norm2_rows(tile->vector, tile->n, queries[0]->dim, facts.length);
        facts_init(&facts, queries[0], tile);
    }
    if (!is_float32(tile)) {
        offer_stored(queries, nqueries, tile);
    } else if (nqueries < GROUP) {
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
    const double kth = q->limit != NULL ? pm_flat_limit_kth(q->limit) : q->kth;
    return kth < q->kth ? kth : q->kth;
}

void pm_flat_expect_repeats(pm_flat_query *query)
{
    query->repeats = true;
}

uint64_t pm_flat_nearer(const pm_flat_query *query)
{
    return query->nearer;
}

void pm_flat_merge(pm_flat_query *into, const pm_flat_query *from)
{
    if (!PM_MUTANT(LIMIT_MET_TWICE)) into->limit = NULL; /* it has these hits already */
    for (size_t i = 0; i < from->n; i++)
        if (into->n < into->k || from->heap[i].distance <= into->kth) keep_hit(into, &from->heap[i]);
}

size_t pm_flat_finish(pm_flat_query *q, const pm_flat_hit **hits)
{
    if (q->most > q->k) {
        if (q->n > q->k) settle(q);
        sort_hits(q->id_of, q->heap, q->n, splits_for(q->n));
    } else {
        unheap(q->id_of, q->heap, q->n);
    }
    *hits = q->heap;
    return q->n;
}

/* ---- memory: the struct, the vector, its bytes, the heap ---- */

static size_t lines(size_t bytes)
{
    return (bytes + PM_FLAT_LINE - 1) / PM_FLAT_LINE * PM_FLAT_LINE;
}

static size_t header_size(void)
{
    return lines(sizeof(pm_flat_query));
}

/* Hits of a query for k. */
static size_t room_for(size_t k)
{
    return k < pm_flat_large_k ? k : k + k / 4 + 1;
}

size_t pm_flat_query_size(size_t k, size_t dim)
{
    size_t vector, heap, size;
    if (__builtin_mul_overflow(dim, sizeof(float) + sizeof(int8_t), &vector) || k > SIZE_MAX / 2 ||
        __builtin_mul_overflow(room_for(k), sizeof(pm_flat_hit), &heap) ||
        __builtin_add_overflow(vector, heap, &size) ||
        __builtin_add_overflow(size, header_size() + 3 * PM_FLAT_LINE, &size))
        return 0;
    return size / PM_FLAT_LINE * PM_FLAT_LINE;
}

pm_flat_query *pm_flat_query_init(void *memory, const pm_simd *simd, pomai_metric metric, const float *vector,
                                  size_t dim, size_t k, pm_flat_id_fn id_of)
{
    pm_flat_query *q = memory;
    assert((uintptr_t)memory % PM_FLAT_LINE == 0);
    *q = (pm_flat_query){.simd = simd, .id_of = id_of, .metric = metric, .dim = dim, .k = k};
    q->kth = INFINITY;
    q->most = room_for(k);
    q->vector = (float *)(void *)((char *)memory + header_size());
    q->bytes = (int8_t *)q->vector + lines(dim * sizeof(float));
    q->heap = (pm_flat_hit *)(void *)(q->bytes + lines(dim));
    if (dim > PM_STORED_INT8_DIM) q->bytes = NULL;
    memcpy(q->vector, vector, dim * sizeof(float));
    unsigned fp = pm_simd_fp_enter();
    q->norm2 = -1;
    q->rel = (double)pm_simd_rel_error(dim);
    q->abs = (double)pm_simd_abs_error(dim);
    pm_simd_fp_leave(fp);
    return q;
}
