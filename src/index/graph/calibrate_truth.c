/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows drawn from all over are the queries, each left out of its own answer. Their true neighbours are sought among all
 * rows, by the codes that links are made of, which mostly are right to a fraction of a percent, and some more, which
 * are then ranked by the rows. Where codes do not tell whether more than one in fifty are not among these (rows differ
 * by less than codes tell, or were cut off), all count as missed.
 *
 * Copies of a row, or rows nearly the same, lead a walk from anywhere straight to it, as nothing leads to a query that
 * no row is a copy of. So where many rows have some, such a row is two queries, one of which leaves them out.
 *
 * What a near copy is: were rows spread evenly in D dimensions, within r times the distance that n rows are within
 * there would be n r^D, give or take what a Poisson process does. Where there are ten times as many, and the chance of
 * that many is less than one in a thousand (by the bound of Chernoff), they are copies, if they are not too many. D is
 * what the distances of a sample of the rows grow with.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "calibrate_int.h"
#include "simd/graph.h"
#include "simd/walk.h"

enum {
    SPREAD = 7919, /* a prime above the number of queries */
    SUBS = 32,     /* buckets of an octave of squared distances */
    BUCKETS = 1 + 31 * SUBS,
    REACH = 400,     /* so many rows, or a few times as many, are counted by their distance */
    LEAST_REACH = 1, /* rows of a sample */
    SAMPLED = PM_GRAPH_NEAREST,
    MOST_COPIES = CALIBRATE_LIST,
    COPIES_AMONG = 64, /* rows, if they are fewer */
    MANY_COPIED = 4,   /* one query in so many that has copies */
    SPARE = 8,         /* more than are asked for that are kept at least */
    SORTED = 64,       /* queries whose distances tell of dimensions */
    APART = 4,         /* ranks of these distances that are compared, one so many times the other */
};
#define OTHERS   0.1               /* of those that are taken for copies, as many may not be */
#define DENSER   1.5               /* rows beyond a list than in its farther half */
#define UNTOLD   0.02              /* of the neighbours, as many may be rows that were not listed */
#define UNLIKELY 6.907755278982137 /* the logarithm of a thousand */

/* Which queries are compared with all rows, and what for. */
typedef struct look {
    calibration *c;
    const uint32_t *query; /* their numbers, `count` of them */
    uint32_t count;
    bool by_rows;         /* their rows are compared, not they: the same but for inner products */
    bool keeps;           /* neighbours, */
    bool lists;           /* and copies, which are nearer than these */
    uint32_t *near;       /* queries x BUCKETS: the number of rows at about a distance; or NULL */
    const int32_t *reach; /* of each: up to which they are counted */
    uint64_t block, blocks;
} look;

int32_t calibrate_apart(const calibration *c, uint32_t a, uint32_t b)
{
    const graph_shape *shape = &c->b->space.shape;
    uint32_t sum;
    c->b->simd->walk->apart(c->b->codes + (size_t)a * shape->whole, c->b->codes, shape->whole, &b, 1, shape->padded,
                            &sum);
    return (int32_t)sum;
}

/* By parts of octaves. */
static uint32_t bucket_of(int32_t distance)
{
    if (distance <= 0) return 0;
    const uint32_t d = (uint32_t)distance, octave = 31 - (uint32_t)__builtin_clz(d);
    const uint32_t sub = octave >= 5 ? d >> (octave - 5) : d << (5 - octave);
    return 1 + octave * SUBS + sub % SUBS;
}

/* The least distance that is in it; of the one behind the last the least that is not. */
static double bucket_from(uint32_t bucket)
{
    if (bucket == 0) return 0;
    return ldexp(1 + (double)((bucket - 1) % SUBS) / SUBS, (int)((bucket - 1) / SUBS));
}

bool calibrate_left_out(const calibration *c, uint32_t q, uint32_t row)
{
    if (row == c->row[q]) return true;
    if (c->within[q] == 0) return false;
    if (c->copies[q] == 0) return calibrate_apart(c, c->row[q], row) < c->within[q];
    const uint32_t *copy = c->copy + (size_t)q * CALIBRATE_LIST;
    uint32_t from = 0, to = c->copies[q];
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (copy[middle] < row)
            from = middle + 1;
        else
            to = middle;
    }
    return from < c->copies[q] && copy[from] == row;
}

/* ---- a look at all rows ---- */

/* The neighbours that are asked for, and some. */
static uint32_t kept_of(const calibration *c, uint32_t q)
{
    return calibrate_most(c, q) + CALIBRATE_LIST - CALIBRATE_DEEPEST;
}

static void keep(calibration *c, uint32_t q, uint64_t key)
{
    uint64_t *list = c->nearest + (size_t)q * CALIBRATE_LIST;
    const uint32_t most = kept_of(c, q);
    const int32_t worst = c->worst[q];
    uint32_t at = c->have[q];
    if (at == most && (int32_t)(key >> 32) <= worst) c->ties[q]++; /* this one, or the last, if that is as far */
    if (at == most && key >= list[at - 1]) return;
    if (at < most) c->have[q] = ++at;
    for (at--; at > 0 && list[at - 1] > key; at--)
        list[at] = list[at - 1];
    list[at] = key;
    if (c->have[q] < most) return;
    c->worst[q] = (int32_t)(list[most - 1] >> 32);
    if (c->worst[q] < worst) c->ties[q] = 0;
}

/* Row j of a block, of which there are `blocks`: spread, so that near rows are seldom in the same one. */
static uint64_t block_row(uint64_t block, uint64_t blocks, uint64_t j)
{
    return block + j * blocks;
}

/* Of a panel; distances are below 2^31, and what is beyond the last row may be anything. */
static bool any_within(const int32_t *distance, int32_t most)
{
    int32_t any = 0;
    for (size_t i = 0; i < PM_GRAPH_PANEL; i++)
        any |= distance[i] <= most;
    return any != 0;
}

static void see_row(const look *l, uint32_t q, uint64_t row, int32_t distance)
{
    calibration *c = l->c;
    if (row == c->row[q]) return;
    if (l->near != NULL && distance <= l->reach[q]) l->near[(size_t)q * BUCKETS + bucket_of(distance)]++;
    if (!l->keeps || distance > c->worst[q]) return;
    if (c->within[q] > 0 && calibrate_left_out(c, q, (uint32_t)row)) {
        if (l->lists && c->listed[q] < CALIBRATE_LIST)
            c->copy[(size_t)q * CALIBRATE_LIST + c->listed[q]++] = (uint32_t)row;
        return;
    }
    keep(c, q, (uint64_t)(uint32_t)distance << 32 | row);
}

static void look_at_group(void *argument, uint32_t group)
{
    const look *l = argument;
    calibration *c = l->c;
    const size_t stride = c->b->space.shape.whole;
    const uint32_t first = group * PM_GRAPH_TILE, n = (uint32_t)pm_min_u64(PM_GRAPH_TILE, l->count - first);
    const uint8_t *code[PM_GRAPH_TILE] = {NULL};
    uint32_t *distance = c->distance + (size_t)first * CALIBRATE_BLOCK;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t q = l->query[first + i];
        code[i] = l->by_rows ? c->b->codes + c->row[q] * stride : c->code + q * stride;
    }
    c->b->simd->graph->distances(code, n, stride, c->panels, c->in_block, distance, CALIBRATE_BLOCK);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < c->in_block; j += PM_GRAPH_PANEL) {
            const int32_t *at = (const int32_t *)(const void *)(distance + (size_t)i * CALIBRATE_BLOCK + j);
            const uint32_t q = l->query[first + i], here = (uint32_t)pm_min_u64(c->in_block - j, PM_GRAPH_PANEL);
            int32_t most = l->keeps ? c->worst[q] : -1;
            if (l->near != NULL && l->reach[q] > most) most = l->reach[q];
            if (!any_within(at, most)) continue; /* nearly all are too far */
            for (uint32_t t = 0; t < here; t++)
                if (at[t] <= most) see_row(l, q, block_row(l->block, l->blocks, j + t), at[t]);
        }
}

static void look_at_block(look *l, uint64_t block)
{
    calibration *c = l->c;
    const pm_graph_builder *b = c->b;
    const uint8_t *code[CALIBRATE_BLOCK] = {NULL};
    l->blocks = (b->source->rows + CALIBRATE_BLOCK - 1) / CALIBRATE_BLOCK;
    l->block = block;
    c->in_block = 0;
    for (uint64_t j = 0; block_row(block, l->blocks, j) < b->source->rows; j++)
        code[c->in_block++] = b->codes + block_row(block, l->blocks, j) * b->space.shape.whole;
    b->simd->graph->pack(code, c->in_block, b->space.shape.whole, c->panels);
    pm_index_run(b->work, look_at_group, l, (l->count + PM_GRAPH_TILE - 1) / PM_GRAPH_TILE);
}

static pomai_status look_at_all(look *l)
{
    l->blocks = 1;
    for (uint64_t block = 0; block < l->blocks && l->count > 0; block++) {
        if (!builder_go_on(l->c->b)) return POMAI_EDEADLINE;
        look_at_block(l, block);
    }
    return POMAI_OK;
}

/* ---- near copies ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In how many dimensions rows seem to be spread, by how distances in a sample grow from a rank to one APART times that;
 * 0: no telling. sorted: SAMPLED of each of n queries. */
static double dimensions_at(const uint64_t *sorted, uint32_t n, uint32_t rank)
{
    double d[SORTED];
    uint32_t some = 0;
    for (uint32_t q = 0; q < n; q++) {
        const uint64_t *key = sorted + (size_t)q * SAMPLED;
        const double near = (double)(key[rank - 1] >> 32), far = (double)(key[rank * APART - 1] >> 32);
        if (near > 0 && far > near) d[some++] = 2 * log(APART) / log(far / near);
    }
    qsort(d, some, sizeof *d, by_value);
    return some == 0 ? 0 : d[some / 2];
}

/* What a sample of the rows says: the number of dimensions, and of each query a distance within which there are about
 * REACH rows. */
static double see_sample(const calibration *c, int32_t *reach)
{
    uint64_t sorted[(SORTED + 1) * SAMPLED];
    uint32_t n = 0;
    const uint64_t place = pm_max_u64(REACH * (uint64_t)c->in_block / c->b->source->rows, LEAST_REACH);
    for (uint32_t q = 0; q < c->drawn; q++) {
        uint64_t *key = sorted + (size_t)n * SAMPLED;
        const uint32_t *distance = c->distance + (size_t)q * CALIBRATE_BLOCK;
        const size_t some = c->b->simd->graph->nearest(distance, c->in_block, SAMPLED, key);
        reach[q] = (int32_t)(key[pm_min_u64(place, some - 1)] >> 32);
        n += n < SORTED && some == SAMPLED;
    }
    /* groups of rows make it less */
    return fmax(dimensions_at(sorted, n, SAMPLED / APART / APART), dimensions_at(sorted, n, SAMPLED / APART));
}

/* A distance that near copies are within, and few others; 0: there are none. */
static int32_t copies_within(const calibration *c, const uint32_t *near, int32_t reach, double dims)
{
    const uint64_t most = pm_min_u64(c->b->source->rows / COPIES_AMONG, MOST_COPIES);
    const uint32_t end = bucket_of(reach);
    uint64_t all = 0, rows = 0;
    int32_t within = 0;
    for (uint32_t bucket = 0; bucket <= end; bucket++)
        all += near[bucket];
    for (uint32_t bucket = 0; bucket < end && rows <= most; bucket++) {
        if (near[bucket] == 0) continue;
        rows += near[bucket];
        const double edge = bucket_from(bucket + 1), n = (double)rows;
        const double others = (double)all * pow(edge / ((double)reach + 1), dims / 2);
        if (others > n * OTHERS || n * log(n / others) - n + others < UNLIKELY) continue;
        within = rows <= most ? (int32_t)ceil(edge) : 0; /* as many are a part of all */
    }
    return within;
}

/* If many queries have copies, behind each comes one that leaves these out. Few do not make much easier what is asked
 * of all. */
static void add_fresh(calibration *c, const int32_t *within)
{
    const size_t stride = c->b->space.shape.whole;
    uint32_t copied = 0;
    for (uint32_t q = 0; q < c->drawn; q++)
        copied += within[q] > 0;
    if (copied < c->drawn / MANY_COPIED) return;
    c->queries = c->drawn + copied;
    for (uint32_t q = c->drawn, to = c->queries; q-- > 0;)
        for (int fresh = within[q] > 0; fresh >= 0; fresh--) {
            to--;
            c->row[to] = c->row[q];
            c->deep[to] = c->deep[q];
            c->copied[to] = fresh == 0 && within[q] > 0;
            c->within[to] = fresh ? within[q] : 0;
            memmove(c->code + to * stride, c->code + q * stride, stride);
            memmove(c->nearest + (size_t)to * CALIBRATE_LIST, c->nearest + (size_t)q * CALIBRATE_LIST,
                    CALIBRATE_LIST * sizeof *c->nearest);
            c->have[to] = c->have[q];
            c->worst[to] = c->worst[q];
            c->ties[to] = c->ties[q];
        }
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* From now on those that are listed are left out. */
static void note_copies(calibration *c, uint32_t q, uint32_t copies)
{
    qsort(c->copy + (size_t)q * CALIBRATE_LIST, copies, sizeof *c->copy, by_number);
    c->copies[q] = copies;
}

/* Takes copies out of the list of a fresh query. false: there may be neighbours that were not kept. */
static bool take_out(calibration *c, uint32_t q)
{
    uint64_t *list = c->nearest + (size_t)q * CALIBRATE_LIST;
    const uint32_t kept = c->have[q];
    uint32_t copies = 0;
    for (; copies < kept && (int32_t)(list[copies] >> 32) < c->within[q]; copies++)
        c->copy[(size_t)q * CALIBRATE_LIST + copies] = (uint32_t)list[copies];
    if (copies + calibrate_most(c, q) + SPARE > kept) {
        c->have[q] = c->ties[q] = 0;
        c->worst[q] = INT32_MAX;
        return false;
    }
    note_copies(c, q, copies);
    memmove(list, list + copies, (kept - copies) * sizeof *list);
    c->have[q] = kept - copies;
    return true;
}

/* Counts rows about each query, and finds its neighbours on the way unless it is other than its row. */
static pomai_status see_copies(look *l, uint32_t *near, int32_t *reach, int32_t *within)
{
    calibration *c = l->c;
    l->by_rows = true;
    look_at_block(l, 0);
    c->dims = see_sample(c, reach);
    l->near = near;
    l->reach = reach;
    l->keeps = c->b->source->metric != POMAI_METRIC_IP;
    const pomai_status status = look_at_all(l);
    for (uint32_t q = 0; q < c->drawn; q++)
        within[q] = copies_within(c, near + (size_t)q * BUCKETS, reach[q], c->dims);
    return status;
}

/* Those that were not found yet. */
static pomai_status find_rest(calibration *c, uint32_t *query)
{
    look l = {.c = c, .query = query, .keeps = true};
    const bool all = c->b->source->metric == POMAI_METRIC_IP;
    for (uint32_t q = 0; q < c->queries; q++)
        if (all || (c->within[q] > 0 && !take_out(c, q))) query[l.count++] = q;
    l.lists = !all;
    const pomai_status status = look_at_all(&l);
    for (uint32_t i = 0; i < l.count && l.lists; i++)
        note_copies(c, query[i], c->listed[query[i]]);
    return status;
}

static pomai_status find_neighbours(calibration *c)
{
    look l = {.c = c, .count = c->drawn};
    uint32_t *query = pm_malloc(2 * (size_t)c->drawn * sizeof *query);
    int32_t *reach = pm_malloc(c->drawn * sizeof *reach);
    int32_t *within = pm_malloc(c->drawn * sizeof *within);
    uint32_t *near = pm_calloc(c->drawn, BUCKETS * sizeof *near);
    pomai_status status = POMAI_ENOMEM;
    if (query != NULL && reach != NULL && within != NULL && near != NULL) {
        for (uint32_t q = 0; q < c->drawn; q++)
            query[q] = q;
        l.query = query;
        status = see_copies(&l, near, reach, within);
        if (status == POMAI_OK && !PM_MUTANT(COPIES_LEAD_IN)) add_fresh(c, within);
        if (status == POMAI_OK) status = find_rest(c, query);
    }
    pm_free(query);
    pm_free(reach);
    pm_free(within);
    pm_free(near);
    return status;
}

/* ---- queries ---- */

/* The row of a node in units, as a row or as a query; b->rows is overwritten. */
static bool read_units(const calibration *c, uint64_t node, bool as_query, float *out)
{
    const pm_graph_builder *b = c->b;
    if (!b->source->read(b->source->context, b->order[node], 1, b->rows)) return false;
    if (as_query)
        graph_query_to_units(&b->space, b->rows, out);
    else
        graph_to_units(&b->space, b->rows, out);
    return true;
}

/* Rows from all over; so are the first of them. */
static pomai_status choose_queries(calibration *c)
{
    const pm_graph_builder *b = c->b;
    const uint64_t rows = b->source->rows;
    const size_t stride = b->space.shape.whole;
    for (uint32_t q = 0; q < c->drawn; q++) {
        const uint64_t part = (uint64_t)q * SPREAD % c->drawn;
        const uint64_t from = rows * part / c->drawn, to = rows * (part + 1) / c->drawn;
        c->worst[q] = INT32_MAX;
        c->deep[q] = q % CALIBRATE_FOR_ALL == 0;
        c->row[q] = (uint32_t)(from + pm_mix64((b->source->seed + 3) ^ pm_mix64(q)) % (to - from));
        memcpy(c->code + q * stride, b->codes + c->row[q] * stride, stride);
        if (b->source->metric != POMAI_METRIC_IP) continue;
        if (!read_units(c, c->row[q], true, c->units)) return POMAI_EDEADLINE; /* IP is never raw */
        graph_units_to_code(&b->space, c->units, c->code + q * stride);
    }
    return POMAI_OK;
}

static double apart_by_units(const float *a, const float *b, uint32_t n)
{
    double sum = 0;
    for (uint32_t d = 0; d < n; d++) {
        const double part = (double)a[d] - (double)b[d];
        sum += part * part;
    }
    return sum;
}

typedef struct ranked {
    double distance;
    uint32_t row;
} ranked;

static int by_distance(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* What codes in the list of a query say of rows beyond it. */
typedef struct beyond {
    double from; /* the distance of the nearest of them, about; INFINITY: there are none */
    double off;  /* the deviation of what that is wrong by */
    double rows; /* how many are within that of it, farther, */
    double ties; /* and as far */
} beyond;

/* Of rows that are not listed, how many are nearer than `distance`, if what codes are wrong by is normal. */
static double expected_beyond(const beyond *b, double distance)
{
    if (!(b->from < INFINITY)) return 0;
    if (b->off == 0) return distance <= b->from ? 0 : INFINITY;
    const double z = (b->from - distance) / b->off, tail = erfc(z * M_SQRT1_2) / 2;
    return b->ties * tail + b->rows * (exp(-z * z / 2) * M_SQRT1_2 / sqrt(M_PI) - z * tail);
}

/* Ranks the list of a query by the rows, and says for which k it is complete. */
static pomai_status rank_list(calibration *c, uint32_t q)
{
    const uint32_t n = c->b->space.shape.padded, listed = c->have[q];
    float *units = c->units + (size_t)q * n, *other = c->units + 2 * (size_t)c->drawn * n;
    uint64_t *list = c->nearest + (size_t)q * CALIBRATE_LIST;
    const double middle = (double)(list[listed / 2] >> 32);
    ranked row[CALIBRATE_LIST];
    double sum = 0, squares = 0;
    if (!read_units(c, c->row[q], true, units)) return POMAI_EDEADLINE;
    for (uint32_t i = 0; i < listed; i++) {
        if (!read_units(c, (uint32_t)list[i], false, other)) return POMAI_EDEADLINE;
        row[i] = (ranked){apart_by_units(units, other, n), (uint32_t)list[i]};
        if (PM_MUTANT(TRUTH_BY_CODES)) row[i].distance = (double)(list[i] >> 32);
        const double wrong = row[i].distance - (double)(list[i] >> 32);
        sum += wrong;
        squares += wrong * wrong;
    }
    qsort(row, listed, sizeof *row, by_distance);
    const double mean = sum / listed, last = (double)c->worst[q];
    const bool all = c->worst[q] == INT32_MAX; /* rows are listed */
    beyond b = {.from = INFINITY};
    const double off = sqrt(fmax(squares / listed - mean * mean, 0));
    /* listed are rather those whose code says that they are nearer than they are, if not by more than off on average */
    if (!all) b = (beyond){.from = last + mean - off, .off = off};
    if (!all) b.rows = last > middle ? DENSER * off * (listed - listed / 2) / (last - middle) : INFINITY;
    b.ties = c->ties[q];
    for (uint32_t i = 0; i < listed; i++)
        list[i] = (uint64_t)(uint32_t)fmin(rint(row[i].distance), INT32_MAX) << 32 | row[i].row;
    for (size_t i = 0; i < calibrate_ks_of(c, q); i++) {
        const uint32_t k = graph_ks[i] < listed ? graph_ks[i] : listed;
        c->told[q * GRAPH_KS + i] = expected_beyond(&b, row[k - 1].distance) <= UNTOLD * k;
    }
    return POMAI_OK;
}

/* Codes that are the rows tell all. */
static pomai_status rank_by_rows(calibration *c)
{
    for (uint32_t q = 0; q < c->queries; q++) {
        if (!builder_go_on(c->b)) return POMAI_EDEADLINE;
        for (size_t i = 0; i < calibrate_ks_of(c, q); i++)
            c->told[q * GRAPH_KS + i] = c->have[q] > 0;
        const pomai_status status = c->units != NULL && c->have[q] > 0 ? rank_list(c, q) : POMAI_OK;
        if (status != POMAI_OK) return status;
        c->have[q] = (uint32_t)pm_min_u64(c->have[q], calibrate_most(c, q));
    }
    return POMAI_OK;
}

pomai_status calibrate_truth(calibration *c)
{
    const pm_simd_graph *kernels = c->b->simd->graph;
    const size_t most = 2 * (size_t)c->drawn, stride = c->b->space.shape.whole;
    const bool raw = graph_is_raw(&c->b->space);
    const size_t groups = (most + PM_GRAPH_TILE - 1) / PM_GRAPH_TILE;
    c->queries = c->drawn;
    c->row = pm_malloc(most * sizeof *c->row);
    c->code = pm_malloc_aligned(GRAPH_LINE, most * stride);
    c->deep = pm_calloc(most, sizeof *c->deep);
    c->copied = pm_calloc(most, sizeof *c->copied);
    c->within = pm_calloc(most, sizeof *c->within);
    c->copies = pm_calloc(most, sizeof *c->copies);
    c->listed = pm_calloc(most, sizeof *c->listed);
    c->copy = pm_malloc(most * CALIBRATE_LIST * sizeof *c->copy);
    c->told = pm_calloc(most, GRAPH_KS * sizeof *c->told);
    if (!raw) c->units = pm_malloc_aligned(GRAPH_LINE, (most + 1) * c->b->space.shape.padded * sizeof *c->units);
    c->nearest = pm_malloc(most * CALIBRATE_LIST * sizeof *c->nearest);
    c->have = pm_calloc(most, sizeof *c->have);
    c->worst = pm_malloc(most * sizeof *c->worst);
    c->ties = pm_calloc(most, sizeof *c->ties);
    c->panels = pm_malloc_aligned(GRAPH_LINE, pm_graph_panels(CALIBRATE_BLOCK) * pm_graph_panel_bytes(kernels, stride));
    c->distance = pm_malloc_aligned(GRAPH_LINE, groups * PM_GRAPH_TILE * CALIBRATE_BLOCK * sizeof *c->distance);
    if (c->row == NULL || c->code == NULL || c->deep == NULL || c->copied == NULL || c->within == NULL ||
        c->copies == NULL || c->listed == NULL || c->copy == NULL || c->told == NULL || (!raw && c->units == NULL) ||
        c->nearest == NULL || c->have == NULL || c->worst == NULL || c->ties == NULL || c->panels == NULL ||
        c->distance == NULL)
        return POMAI_ENOMEM;
    pomai_status status = choose_queries(c);
    if (status == POMAI_OK) status = find_neighbours(c);
    return status == POMAI_OK ? rank_by_rows(c) : status;
}

void calibrate_end(calibration *c)
{
    pm_free(c->row);
    pm_free(c->code);
    pm_free(c->deep);
    pm_free(c->copied);
    pm_free(c->within);
    pm_free(c->copies);
    pm_free(c->listed);
    pm_free(c->copy);
    pm_free(c->told);
    pm_free(c->units);
    pm_free(c->nearest);
    pm_free(c->have);
    pm_free(c->worst);
    pm_free(c->ties);
    pm_free(c->panels);
    pm_free(c->distance);
}
