/* SPDX-License-Identifier: Apache-2.0 */
/* pomai search: the nearest rows of one query or of a file of them, and what the engine says of its answer. */
#include "read.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_BATCH = 1000, MOST_HITS = 2 * 1000 * 1000, MOST_BYTES = 64 * 1024 * 1024 };

/* .ivecs: true neighbours, an int32 count and that many int32 ids a query. */
struct truth {
    struct input in;
    uint64_t queries;
    uint64_t found;
    uint64_t wanted;
    uint32_t *ids;
    size_t capacity;
};

struct searcher {
    const struct args *args;
    pomai_db *db;
    pomai_collection *collection;
    pomai_collection_info info;
    pomai_search_options options;
    uint64_t k;
    uint64_t queries;
    uint64_t cut;
    double seconds; /* in pomai_search alone */
    struct truth *truth;
    bool truth_ended;
};

static const char *completeness_name(pomai_completeness completeness)
{
    switch (completeness) {
    case POMAI_EXACT:
        return "exact";
    case POMAI_APPROXIMATE:
        return "approximate";
    case POMAI_CUT:
        return "cut";
    }
    return "?";
}

static const char *fewer_name(pomai_fewer fewer)
{
    switch (fewer) {
    case POMAI_FEWER_NOT:
        return "no";
    case POMAI_FEWER_ROWS:
        return "rows";
    case POMAI_FEWER_DEADLINE:
        return "deadline";
    }
    return "?";
}

/* ---- one answer ---- */

static void print_hits_json(const struct searcher *s, const pomai_result *result, size_t q)
{
    pomai_verdict verdict;
    const uint64_t *ids = pomai_result_ids(result, q);
    const double *distances = pomai_result_distances(result, q);
    pomai_result_verdict(result, q, &verdict);
    printf("{\"query\":%" PRIu64 ",\"hits\":[", s->queries + q);
    for (size_t i = 0; i < pomai_result_count(result, q); i++) {
        printf("%s{\"distance\":", i ? "," : "");
        print_double(distances[i]);
        if (ids)
            printf(",\"id\":%" PRIu64, ids[i]);
        else
            print_json_id("id", pomai_result_string_id(result, q, i));
        if (s->options.include & POMAI_INCLUDE_DOCUMENTS)
            print_json_document("document", pomai_result_document(result, q, i));
        putchar('}');
    }
    printf("],\"verdict\":{\"completeness\":\"%s\",\"fewer\":\"%s\",\"expected_recall\":",
           completeness_name(verdict.completeness), fewer_name(verdict.fewer));
    print_double(verdict.expected_recall);
    printf(",\"rows_scanned\":%" PRIu64 ",\"rows_visible\":%" PRIu64 "}}\n", verdict.rows_scanned,
           verdict.rows_visible);
}

static void print_hits(const struct searcher *s, const pomai_result *result, size_t q)
{
    pomai_verdict verdict;
    char number[32], other[32];
    const uint64_t *ids = pomai_result_ids(result, q);
    const double *distances = pomai_result_distances(result, q);
    pomai_result_verdict(result, q, &verdict);
    printf("query %" PRIu64 ": %zu found, %s (%s of %s rows compared)%s\n", s->queries + q,
           pomai_result_count(result, q), completeness_name(verdict.completeness),
           grouped(verdict.rows_scanned, number), grouped(verdict.rows_visible, other),
           verdict.fewer == POMAI_FEWER_ROWS       ? "; fewer than k because there are no more rows"
           : verdict.fewer == POMAI_FEWER_DEADLINE ? "; fewer than k because of the deadline"
                                                   : "");
    for (size_t i = 0; i < pomai_result_count(result, q); i++) {
        printf("%6zu  %-14.9g  ", i + 1, distances[i]);
        if (ids)
            printf("%" PRIu64, ids[i]);
        else
            print_safe(pomai_result_string_id(result, q, i), 64);
        pomai_bytes document = pomai_result_document(result, q, i);
        if (s->options.include & POMAI_INCLUDE_DOCUMENTS && document.data) {
            printf("  ");
            print_safe(document, 160);
        }
        putchar('\n');
    }
}

/* ---- recall ---- */

static struct truth *truth_open(const struct args *args)
{
    struct truth *truth = must_realloc(NULL, 1, sizeof *truth);
    memset(truth, 0, sizeof *truth);
    if (input_open(&truth->in, args->value[OPT_TRUTH]) == 0) return truth;
    free(truth);
    return NULL;
}

static void truth_close(struct truth *truth)
{
    if (!truth) return;
    input_close(&truth->in);
    free(truth->ids);
    free(truth);
}

/* The next record into truth->ids. 1, 0 at the end, -1 having said why. */
static int truth_next(struct truth *truth, uint64_t k)
{
    uint32_t count;
    size_t got;
    uint64_t at = truth->in.offset;
    if (input_read(&truth->in, &count, 4, &got) != 0) return -1;
    if (got == 0) return 0;
    if (got < 4 || count < k || count > POMAI_MAX_K) {
        complain("%s has a record of %u neighbours at offset %" PRIu64 "; it takes at least k = %" PRIu64
                 " and at most %u. Is it an .ivecs file?",
                 truth->in.path, got < 4 ? 0 : count, at, k, POMAI_MAX_K);
        return -1;
    }
    truth->ids = must_grow(truth->ids, &truth->capacity, count, sizeof *truth->ids);
    return input_need(&truth->in, truth->ids, count * sizeof *truth->ids, "the neighbours of a query") == 0 ? 1 : -1;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int count_recall(struct searcher *s, const pomai_result *result, size_t q)
{
    struct truth *truth = s->truth;
    if (!truth || s->truth_ended) return 0;
    int more = truth_next(truth, s->k);
    if (more <= 0) {
        s->truth_ended = true;
        return more;
    }
    const uint64_t *ids = pomai_result_ids(result, q);
    qsort(truth->ids, (size_t)s->k, sizeof *truth->ids, compare_u32);
    for (size_t i = 0; i < pomai_result_count(result, q); i++) {
        uint32_t id = (uint32_t)ids[i];
        if (ids[i] <= UINT32_MAX && bsearch(&id, truth->ids, (size_t)s->k, sizeof id, compare_u32)) truth->found++;
    }
    truth->wanted += s->k;
    truth->queries++;
    return 0;
}

/* ---- queries ---- */

static int search_chunk(struct searcher *s, const float *vectors, size_t count, uint64_t dim)
{
    pomai_result *result;
    pomai_error err;
    double began = now_seconds();
    if (pomai_search(s->collection, vectors, count, dim, s->k, &s->options, &result, &err) != POMAI_OK)
        return complain_error(&err);
    s->seconds += now_seconds() - began;
    int status = EXIT_OK;
    for (size_t q = 0; q < pomai_result_queries(result) && status == EXIT_OK; q++) {
        pomai_verdict verdict;
        pomai_result_verdict(result, q, &verdict);
        s->cut += verdict.completeness == POMAI_CUT;
        if (!args_has(s->args, OPT_QUIET)) {
            if (args_has(s->args, OPT_JSON))
                print_hits_json(s, result, q);
            else
                print_hits(s, result, q);
        }
        if (count_recall(s, result, q) != 0) status = EXIT_FAILED;
    }
    if (args_has(s->args, OPT_EXPLAIN) && status == EXIT_OK) printf("{\"plan\":%s}\n", pomai_result_plan(result));
    s->queries += pomai_result_queries(result);
    pomai_result_free(result);
    return status;
}

static int search_vector(struct searcher *s)
{
    json_error_t error;
    const char *text = s->args->value[OPT_VECTOR];
    json_t *array = json_loads(text, 0, &error);
    if (!json_is_array(array)) {
        json_decref(array);
        return usage_error(s->args, "--vector is no JSON array of numbers such as '[0.1, 0.2]'%s%s", array ? "" : ": ",
                           array ? "" : error.text);
    }
    size_t dim = json_array_size(array);
    float *vector = must_realloc(NULL, dim, sizeof *vector);
    int status = parse_vector(array, "--vector", vector) == 0 ? search_chunk(s, vector, 1, dim) : EXIT_FAILED;
    free(vector);
    json_decref(array);
    return status;
}

static int search_file(struct searcher *s)
{
    const struct args *args = s->args;
    struct reader reader;
    struct chunk chunk = {0};
    struct progress progress;
    uint64_t batch = DEFAULT_BATCH, limit = UINT64_MAX, skip = 0;
    int status = args_u64(args, OPT_BATCH, 1, 1000000, &batch);
    if (status == EXIT_OK) status = args_u64(args, OPT_LIMIT, 1, UINT64_MAX, &limit);
    if (status == EXIT_OK) status = args_u64(args, OPT_SKIP, 0, UINT64_MAX, &skip);
    if (status == EXIT_OK) status = reader_open(&reader, args, args->value[OPT_QUERIES], args->value[OPT_FORMAT]);
    if (status != EXIT_OK) return status;
    reader.limit = limit;
    /* The answers of a call are in memory at once: queries times k of them. */
    chunk.max_rows = batch * s->k > MOST_HITS ? (size_t)(MOST_HITS / s->k) : (size_t)batch;
    chunk.max_rows = chunk.max_rows ? chunk.max_rows : 1;
    chunk.max_bytes = MOST_BYTES;
    progress_begin(&progress, args, "search", "queries");
    progress.on = progress.on && args_has(args, OPT_QUIET);
    if (reader_skip(&reader, &chunk, skip) != 0) status = EXIT_FAILED;
    while (status == EXIT_OK) {
        if (reader_fill(&reader, &chunk) != 0) {
            status = EXIT_FAILED;
            break;
        }
        if (chunk.rows == 0) break;
        status = search_chunk(s, chunk.vectors, chunk.rows, chunk.dim);
        if (status != EXIT_OK)
            complain("the queries were rows %" PRIu64 " to %" PRIu64 " of %s", chunk.first_row,
                     chunk.first_row + chunk.rows - 1, reader.in.path);
        progress_update(&progress, s->queries, input_fraction(&reader.in));
    }
    progress_end(&progress);
    if (status == EXIT_OK && s->queries == 0) {
        complain("%s has no rows; there is nothing to search for", reader.in.path);
        status = EXIT_FAILED;
    }
    chunk_free(&chunk);
    reader_close(&reader);
    return status;
}

static void print_summary(const struct searcher *s)
{
    const struct truth *truth = s->truth;
    double recall = truth && truth->wanted ? (double)truth->found / (double)truth->wanted : 0;
    double rate = s->seconds > 0 ? (double)s->queries / s->seconds : 0;
    char queries[32];
    if (args_has(s->args, OPT_JSON)) {
        if (!args_has(s->args, OPT_QUIET) && !truth) return;
        printf("{\"queries\":%" PRIu64 ",\"k\":%" PRIu64 ",\"seconds\":%.6f,\"qps\":%.1f,\"cut\":%" PRIu64
               ",\"simd\":\"%s\"",
               s->queries, s->k, s->seconds, rate, s->cut, pomai_simd_level());
        if (truth) printf(",\"recall\":%.6f,\"recall_queries\":%" PRIu64, recall, truth->queries);
        puts("}");
        return;
    }
    /* The time of a lone query, right after the opening, says nothing of the next one. */
    if (!args_has(s->args, OPT_QUIET) && s->queries == 1) return;
    printf("%s queries, k = %" PRIu64 ", in %.3f s: %.1f queries/s (%s)", grouped(s->queries, queries), s->k,
           s->seconds, rate, pomai_simd_level());
    if (s->cut) printf(", %" PRIu64 " cut by the deadline", s->cut);
    if (truth) printf(", recall %.4f over %" PRIu64 " queries", recall, truth->queries);
    putchar('\n');
}

static int run(const struct args *args)
{
    struct searcher s = {.args = args, .k = 10, .options = POMAI_SEARCH_OPTIONS_INIT};
    uint64_t ef = 0;
    if (args_has(args, OPT_VECTOR) == args_has(args, OPT_QUERIES))
        return usage_error(args, "give either --vector or --queries");
    if (args_has(args, OPT_RECALL) && args_has(args, OPT_EF)) return usage_error(args, "give either --recall or --ef");
    int status = args_u64(args, OPT_K, 1, POMAI_MAX_K, &s.k);
    if (status == EXIT_OK) status = args_milliseconds(args, OPT_DEADLINE, &s.options.deadline_us);
    if (status == EXIT_OK) status = args_share(args, OPT_RECALL, &s.options.recall);
    if (status == EXIT_OK) status = args_u64(args, OPT_EF, 1, POMAI_MAX_EF, &ef);
    if (status != EXIT_OK) return status;
    s.options.ef = (uint32_t)ef;
    if (args_has(args, OPT_WHERE)) {
        s.options.filter = args->value[OPT_WHERE];
        s.options.filter_size = strlen(s.options.filter);
    }
    if (args_has(args, OPT_EXPLAIN)) s.options.include |= POMAI_INCLUDE_PLAN;
    if (args_has(args, OPT_DOCUMENTS)) s.options.include |= POMAI_INCLUDE_DOCUMENTS;
    status = db_open(args, false, false, &s.db);
    if (status == EXIT_OK) status = db_collection(args, s.db, &s.collection, &s.info);
    if (status == EXIT_OK && args_has(args, OPT_TRUTH)) {
        if (s.info.id_kind != POMAI_ID_U64) {
            complain("--truth holds ids that are numbers, but collection '%s' has string ids", s.info.name);
            status = EXIT_FAILED;
        } else if (!(s.truth = truth_open(args))) {
            status = EXIT_FAILED;
        }
    }
    if (status == EXIT_OK) status = args_has(args, OPT_VECTOR) ? search_vector(&s) : search_file(&s);
    status = db_close(s.db, s.collection, status);
    if (status == EXIT_OK) print_summary(&s);
    truth_close(s.truth);
    return status;
}

const struct verb verb_search = {
    .name = "search",
    .synopsis = "DB (--vector JSON | --queries FILE) [options]",
    .brief = "find the nearest rows",
    .about = "Finds the k nearest rows of one query or of every row of a file, of any format that import reads, and\n"
             "says how complete each answer is: exact, approximate, or cut by --deadline-ms; and why it has fewer\n"
             "than k. With --recall, or --ef, segments that have a graph or codes (pomai index) are searched by\n"
             "these; --explain says of each part of the collection what was done. With --where only rows count\n"
             "whose documents match; docs/filter.md has the language.\n"
             "Distances: smaller is closer; l2 is squared Euclidean, ip is 1 - dot, cosine is 1 - cos.\n"
             "Opens the database read-only. The seconds of the summary are those of the search alone.",
    .examples = "  pomai search my.db --vector '[0.1, 0.2, 0.3]' -k 5 --documents\n"
                "  pomai search my.db --queries queries.npy --quiet\n"
                "  pomai search my.db --vector '[0.1, 0.2, 0.3]' --recall 0.95\n"
                "  pomai search my.db --vector '[0.1, 0.2, 0.3]' --where '{\"price\": {\"$lt\": 10}}'",
    .options = TAKES(COLLECTION) | TAKES(VECTOR) | TAKES(QUERIES) | TAKES(FORMAT) | TAKES(K) | TAKES(WHERE) |
               TAKES(DOCUMENTS) | TAKES(EXPLAIN) | TAKES(DEADLINE) | TAKES(RECALL) | TAKES(EF) | TAKES(TRUTH) |
               TAKES(BATCH) | TAKES(LIMIT) | TAKES(SKIP) | TAKES(THREADS) | TAKES(ACCEPT_DAMAGE) | TAKES(READ_ONLY) |
               TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
