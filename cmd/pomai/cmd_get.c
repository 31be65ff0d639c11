/* SPDX-License-Identifier: Apache-2.0 */
/* pomai get: rows by id, or by what their documents say; pomai count. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

enum { SHORT_VECTOR = 16, FEW_VALUES = 8, CALL_ROWS = 256 };

static void print_row_json(const pomai_rows *rows, size_t i)
{
    bool found = pomai_rows_found(rows, i);
    printf("{\"found\":%s", found ? "true" : "false");
    if (pomai_rows_string_id(rows, i).data == NULL)
        printf(",\"id\":%" PRIu64, pomai_rows_id(rows, i));
    else
        print_json_id("id", pomai_rows_string_id(rows, i));
    if (found) {
        const float *vector = pomai_rows_vector(rows, i);
        printf(",\"stamp_ns\":%" PRIu64, pomai_rows_stamp(rows, i));
        if (pomai_rows_expiry(rows, i)) printf(",\"expiry_ns\":%" PRIu64, pomai_rows_expiry(rows, i));
        printf(",\"vector\":[");
        for (uint32_t d = 0; d < pomai_rows_dim(rows); d++) {
            fputs(d ? "," : "", stdout);
            print_float(vector[d]);
        }
        putchar(']');
        print_json_document("document", pomai_rows_document(rows, i));
    }
    puts("}");
}

static void print_row(const pomai_rows *rows, size_t i)
{
    printf("id        ");
    if (pomai_rows_string_id(rows, i).data == NULL)
        printf("%" PRIu64, pomai_rows_id(rows, i));
    else
        print_safe(pomai_rows_string_id(rows, i), POMAI_MAX_STRING_ID);
    if (!pomai_rows_found(rows, i)) {
        puts("  not found");
        return;
    }
    const float *vector = pomai_rows_vector(rows, i);
    pomai_bytes document = pomai_rows_document(rows, i);
    uint32_t dim = pomai_rows_dim(rows), shown = dim > SHORT_VECTOR ? FEW_VALUES : dim;
    printf("\nstamp     ");
    print_stamp(pomai_rows_stamp(rows, i));
    if (pomai_rows_expiry(rows, i)) {
        printf("\nexpires   ");
        print_stamp(pomai_rows_expiry(rows, i));
    }
    printf("\nvector   ");
    for (uint32_t d = 0; d < shown; d++) {
        putchar(' ');
        print_float(vector[d]);
    }
    if (shown < dim) printf(" ... (%u values; --json prints all)", dim);
    if (document.data) {
        printf("\ndocument  ");
        print_safe(document, 4000);
    }
    putchar('\n');
}

static bool print_rows(const struct args *args, const pomai_rows *rows)
{
    bool all_there = true;
    for (size_t i = 0; i < pomai_rows_count(rows); i++) {
        all_there = all_there && pomai_rows_found(rows, i);
        if (args_has(args, OPT_JSON))
            print_row_json(rows, i);
        else
            print_row(rows, i);
    }
    return all_there;
}

static int get_ids(const struct args *args, pomai_collection *collection, pomai_id_kind kind)
{
    pomai_rows *rows = NULL;
    pomai_error err;
    struct id_words words = {0};
    int status = id_words_parse(args, 1, kind, &words);
    if (status == EXIT_OK && pomai_get(collection, &words.ids, NULL, &rows, &err) != POMAI_OK)
        status = complain_error(&err);
    if (status == EXIT_OK && !print_rows(args, rows)) status = EXIT_FAILED;
    pomai_rows_free(rows);
    id_words_free(&words);
    return status;
}

static int get_matching(const struct args *args, pomai_collection *collection, const char *filter, uint64_t limit)
{
    pomai_error err;
    pomai_scan *scan = NULL;
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    options.filter = filter;
    options.filter_size = strlen(filter);
    if (pomai_scan_open(collection, &options, &scan, &err) != POMAI_OK) return complain_error(&err);
    int status = EXIT_OK;
    while (limit > 0 && status == EXIT_OK) {
        pomai_rows *rows = NULL;
        if (pomai_scan_next(scan, limit < CALL_ROWS ? limit : CALL_ROWS, &rows, &err) != POMAI_OK)
            status = complain_error(&err);
        if (!rows) break;
        (void)print_rows(args, rows);
        limit -= pomai_rows_count(rows);
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    return status;
}

static int run(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_collection *collection = NULL;
    pomai_collection_info info;
    uint64_t limit = UINT64_MAX;
    const char *filter = NULL;
    int status = args_u64(args, OPT_ROW_LIMIT, 0, UINT64_MAX, &limit);
    if (status == EXIT_OK) status = args_rows(args, &filter);
    if (status == EXIT_OK && !filter && args_has(args, OPT_ROW_LIMIT))
        status = usage_error(args, "--limit goes with --where or --all");
    if (status == EXIT_OK) status = db_open(args, false, false, &db);
    if (status == EXIT_OK) status = db_collection(args, db, &collection, &info);
    if (status == EXIT_OK)
        status = filter ? get_matching(args, collection, filter, limit) : get_ids(args, collection, info.id_kind);
    return db_close(db, collection, status);
}

const struct verb verb_get = {
    .name = "get",
    .synopsis = "DB ID...|--where JSON|--all [options]",
    .brief = "print rows by id, or by what their documents say",
    .about = "Prints rows: vector, document, time of the write, expiry. Those with these ids, and exits with 1 if one "
             "is not\n"
             "there; or those whose documents match --where (docs/filter.md has the language), or all, in no promised\n"
             "order, --limit of them. Opens the database read-only. An id that begins with '-' goes behind '--'.",
    .examples = "  pomai get my.db 17 18\n"
                "  pomai get my.db -c docs readme.txt --json\n"
                "  pomai get my.db --where '{\"price\": {\"$lt\": 10}}' --limit 5",
    .options = TAKES(COLLECTION) | TAKES(WHERE) | TAKES(ALL) | TAKES(ROW_LIMIT) | TAKES(ACCEPT_DAMAGE) |
               TAKES(READ_ONLY) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = SIZE_MAX,
    .run = run,
};

/* ---- count ---- */

static int run_count(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_collection *collection = NULL;
    pomai_collection_info info;
    pomai_count_options options = POMAI_COUNT_OPTIONS_INIT;
    pomai_error err;
    uint64_t rows = 0;
    options.filter = args->value[OPT_WHERE];
    options.filter_size = options.filter ? strlen(options.filter) : 0;
    int status = args_milliseconds(args, OPT_DEADLINE, &options.deadline_us);
    if (status == EXIT_OK) status = db_open(args, false, false, &db);
    if (status == EXIT_OK) status = db_collection(args, db, &collection, &info);
    if (status == EXIT_OK && pomai_count(collection, &options, &rows, &err) != POMAI_OK) status = complain_error(&err);
    status = db_close(db, collection, status);
    if (status == EXIT_OK)
        printf(args_has(args, OPT_JSON) ? "{\"ok\":true,\"rows\":%" PRIu64 "}\n" : "%" PRIu64 "\n", rows);
    return status;
}

const struct verb verb_count = {
    .name = "count",
    .synopsis = "DB [options]",
    .brief = "count rows",
    .about =
        "Prints how many rows a collection has, or how many have documents that match --where (docs/filter.md has\n"
        "the language). Opens the database read-only.",
    .examples = "  pomai count my.db\n"
                "  pomai count my.db --where '{\"price\": {\"$lt\": 10}}'",
    .options = TAKES(COLLECTION) | TAKES(WHERE) | TAKES(DEADLINE) | TAKES(ACCEPT_DAMAGE) | TAKES(READ_ONLY) |
               TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run_count,
};
