/* SPDX-License-Identifier: Apache-2.0 */
/* pomai get: rows by id. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

enum { SHORT_VECTOR = 16, FEW_VALUES = 8 };

static void print_row_json(const struct id_words *words, const pomai_rows *rows, size_t i)
{
    bool found = pomai_rows_found(rows, i);
    printf("{\"found\":%s", found ? "true" : "false");
    if (words->u64)
        printf(",\"id\":%" PRIu64, words->u64[i]);
    else
        print_json_id("id", words->string[i]);
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

static void print_row(const struct id_words *words, const pomai_rows *rows, size_t i)
{
    printf("id        ");
    if (words->u64)
        printf("%" PRIu64, words->u64[i]);
    else
        print_safe(words->string[i], POMAI_MAX_STRING_ID);
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

static int run(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_collection *collection = NULL;
    pomai_collection_info info;
    pomai_rows *rows = NULL;
    pomai_error err;
    struct id_words words = {0};
    int status = db_open(args, false, false, &db);
    if (status == EXIT_OK) status = db_collection(args, db, &collection, &info);
    if (status == EXIT_OK) status = id_words_parse(args, 1, info.id_kind, &words);
    if (status == EXIT_OK && pomai_get(collection, &words.ids, NULL, &rows, &err) != POMAI_OK)
        status = complain_error(&err);
    bool all_there = true;
    for (size_t i = 0; status == EXIT_OK && i < pomai_rows_count(rows); i++) {
        all_there = all_there && pomai_rows_found(rows, i);
        if (args_has(args, OPT_JSON))
            print_row_json(&words, rows, i);
        else
            print_row(&words, rows, i);
    }
    pomai_rows_free(rows);
    id_words_free(&words);
    status = db_close(db, collection, status);
    return status == EXIT_OK && !all_there ? EXIT_FAILED : status;
}

const struct verb verb_get = {
    .name = "get",
    .synopsis = "DB ID... [options]",
    .brief = "print rows by id",
    .about = "Prints the rows with these ids: vector, document, time of the write, expiry. Exits with 1 if one is not "
             "there.\n"
             "Opens the database read-only. An id that begins with '-' goes behind '--'.",
    .examples = "  pomai get my.db 17 18\n"
                "  pomai get my.db -c docs readme.txt --json",
    .options = TAKES(COLLECTION) | TAKES(ACCEPT_DAMAGE) | TAKES(READ_ONLY) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 2,
    .positional_max = SIZE_MAX,
    .run = run,
};
