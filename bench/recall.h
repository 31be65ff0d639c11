/* SPDX-License-Identifier: Apache-2.0 */
/* Recall and rate of searches that ask for a recall: held-out queries, true neighbours by our own exact search. */
#ifndef POMAI_BENCH_RECALL_H
#define POMAI_BENCH_RECALL_H

#include "load.h"
#include "synth.h"

enum { RECALL_K = 10, RECALL_WIDE = 100, RECALL_CHUNK = 100 };

/* Rows as near as the tenth true neighbour count as true, which asks for distances only. */
struct recall_truth {
    size_t queries;
    float *vectors;
    double *tenth;    /* of each query: the distance of its tenth neighbour */
    double *nearest;  /* RECALL_WIDE of each query, where so many rows are */
    double intrinsic; /* dimension: the maximum-likelihood estimate from the 100 nearest, mean over the queries */
};

/* Where one search found its candidates, in rows. */
struct recall_ways {
    double graph, codes, vectors, memory; /* segments walked, by codes, by all vectors; not in a segment yet */
    double segments, graphs;
};

static inline double recall_not_in_graph(const struct recall_ways *w)
{
    return w->codes + w->vectors + w->memory;
}

static inline struct recall_truth recall_queries(size_t queries)
{
    struct recall_truth t = {.queries = queries};
    t.vectors = bench_alloc(queries * synth.dim * sizeof *t.vectors);
    t.tenth = bench_alloc(queries * sizeof *t.tenth);
    t.nearest = bench_alloc(queries * RECALL_WIDE * sizeof *t.nearest);
    synth_rows(synth_queries, queries, t.vectors);
    return t;
}

static inline void recall_free(struct recall_truth *t)
{
    free(t->vectors);
    free(t->tenth);
    free(t->nearest);
}

/* 1 / mean of log(r100 / r): distances are squares. */
static inline double recall_intrinsic(const double *nearest)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < RECALL_WIDE - 1; i++)
        if (nearest[i] > 0) {
            sum += log(nearest[RECALL_WIDE - 1] / nearest[i]) / 2;
            n++;
        }
    return sum > 0 ? n / sum : 0;
}

static inline void recall_find_truth(struct recall_truth *t, pomai_collection *collection)
{
    pomai_error err;
    pomai_result *result;
    t->intrinsic = 0;
    for (size_t first = 0; first < t->queries; first += RECALL_CHUNK) {
        const size_t n = t->queries - first < RECALL_CHUNK ? t->queries - first : RECALL_CHUNK;
        load_check(
            pomai_search(collection, t->vectors + first * synth.dim, n, synth.dim, RECALL_WIDE, NULL, &result, &err),
            "exact search", &err);
        for (size_t q = 0; q < n; q++) {
            double *nearest = t->nearest + (first + q) * RECALL_WIDE;
            if (pomai_result_count(result, q) != RECALL_WIDE) load_die("exact search", "found fewer than 100 rows");
            memcpy(nearest, pomai_result_distances(result, q), RECALL_WIDE * sizeof *nearest);
            t->tenth[first + q] = nearest[RECALL_K - 1];
            t->intrinsic += recall_intrinsic(nearest) / (double)t->queries;
        }
        pomai_result_free(result);
        load_leave_if_interrupted();
    }
}

static inline pomai_search_options recall_options(double recall)
{
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.recall = (float)recall;
    return options;
}

/* Of query q, the share of its true neighbours. */
static inline double recall_of(const pomai_result *result, double tenth)
{
    const double *distance = pomai_result_distances(result, 0);
    const size_t n = pomai_result_count(result, 0);
    double found = 0;
    for (size_t i = 0; i < n && i < RECALL_K; i++)
        found += distance[i] <= tenth;
    return found / RECALL_K;
}

/* One pass over all queries, one at a time. *expected (may be NULL): the mean that the answers promise. */
static inline double recall_measure_with(const struct recall_truth *t, pomai_collection *collection,
                                         const pomai_search_options *options, double *expected)
{
    pomai_error err;
    pomai_result *result;
    pomai_verdict verdict;
    double found = 0, promised = 0;
    for (size_t q = 0; q < t->queries; q++) {
        load_check(pomai_search(collection, t->vectors + q * synth.dim, 1, synth.dim, RECALL_K, options, &result, &err),
                   "search", &err);
        found += recall_of(result, t->tenth[q]);
        pomai_result_verdict(result, 0, &verdict);
        promised += verdict.expected_recall;
        pomai_result_free(result);
    }
    if (expected != NULL) *expected = promised / (double)t->queries;
    return found / (double)t->queries;
}

static inline double recall_measure(const struct recall_truth *t, pomai_collection *collection, double recall,
                                    double *expected)
{
    const pomai_search_options options = recall_options(recall);
    return recall_measure_with(t, collection, &options, expected);
}

/* With the same effort in every graph, whatever recall it was calibrated to have. */
static inline double recall_measure_ef(const struct recall_truth *t, pomai_collection *collection, uint32_t ef)
{
    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    options.ef = ef;
    return recall_measure_with(t, collection, &options, NULL);
}

struct recall_rate {
    double qps, busy_us; /* time of this thread's processor a query: of use where others need it, too */
};

/* One at a time, for so long; begins where the last call ended. */
static inline struct recall_rate recall_rate(const struct recall_truth *t, pomai_collection *collection, double recall,
                                             double seconds)
{
    static size_t turn;
    const pomai_search_options options = recall_options(recall);
    pomai_error err;
    pomai_result *result;
    const double begin = bench_now(), busy = bench_busy(CLOCK_THREAD_CPUTIME_ID);
    double n = 0, now = begin;
    for (; now - begin < seconds && load_interrupted == 0; n++, now = bench_now()) {
        const float *query = t->vectors + turn++ % t->queries * synth.dim;
        load_check(pomai_search(collection, query, 1, synth.dim, RECALL_K, &options, &result, &err), "search", &err);
        pomai_result_free(result);
    }
    return (struct recall_rate){n / (now - begin), 1e6 * (bench_busy(CLOCK_THREAD_CPUTIME_ID) - busy) / n};
}

/* What a search with this recall goes through now, from its plan. */
static inline struct recall_ways recall_ways(pomai_collection *collection, const float *query, double recall)
{
    pomai_search_options options = recall_options(recall);
    pomai_error err;
    pomai_result *result;
    struct recall_ways w = {0};
    options.include = POMAI_INCLUDE_PLAN;
    load_check(pomai_search(collection, query, 1, load.dim, RECALL_K, &options, &result, &err), "search", &err);
    const char *at = strstr(pomai_result_plan(result), "\"sources\"");
    while (at != NULL && (at = strstr(at, "\"rows\": ")) != NULL) {
        const double rows = strtod(at + 8, NULL);
        const char *begin = at, *way = strstr(at, "\"way\": \"");
        while (*begin != '{')
            begin--;
        const bool segment = strncmp(begin, "{\"segment\"", 10) == 0, graph = strncmp(way + 8, "graph", 5) == 0;
        double *add = !segment                            ? &w.memory
                      : graph                             ? &w.graph
                      : strncmp(way + 8, "codes", 5) == 0 ? &w.codes
                                                          : &w.vectors;
        *add += rows;
        w.segments += segment;
        w.graphs += graph;
        at = way;
    }
    pomai_result_free(result);
    return w;
}

/* Until the background has nothing more to do: what is searched without a graph has been the same for `still` seconds
 * (the merges of quiet times may come 20 after the last flush) and nothing was written, or `most` have passed; false
 * then. */
static inline bool recall_settle(pomai_db *db, pomai_collection *collection, const float *query, double recall,
                                 double still, double most)
{
    const double begin = bench_now();
    double since = begin, seen = -1, last = 0;
    while (bench_now() - begin < most && load_interrupted == 0) {
        const struct recall_ways w = recall_ways(collection, query, recall);
        const struct load_stats s = load_stats_of(db);
        const double now = recall_not_in_graph(&w) + 1e9 * w.segments + s.compacted_bytes + load_disk_writes();
        const double busy =
            bench_busy(CLOCK_PROCESS_CPUTIME_ID); /* a graph is built in memory, and writes at its end */
        if (now != seen || busy - last > 0.1) since = bench_now();
        seen = now;
        last = busy;
        if (bench_now() - since >= still) return true;
        usleep(500 * 1000);
    }
    return false;
}

#endif
