/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, the same way for every verb. Verbs that only read open read-only, so that any number of them run
 * side by side and none can change what it looks at. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *collection_name(const struct args *args)
{
    return args_has(args, OPT_COLLECTION) ? args->value[OPT_COLLECTION] : "default";
}

/* N threads in all: the caller and N - 1 helpers; the library's 0 means its default. */
static int search_threads(const struct args *args, uint32_t *helpers)
{
    uint64_t threads = 0;
    int status = args_u64(args, OPT_THREADS, 1, 1024, &threads);
    if (threads == 1)
        *helpers = UINT32_MAX;
    else if (threads > 1)
        *helpers = (uint32_t)threads - 1;
    return status;
}

int db_open(const struct args *args, bool write, bool make, pomai_db **db)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_error err;
    uint64_t shards = 0;
    int status = args_u64(args, OPT_SHARDS, 1, 256, &shards);
    if (status == EXIT_OK) status = args_durability(args, &options.durability);
    if (status == EXIT_OK) status = search_threads(args, &options.search_threads);
    if (status != EXIT_OK) return status;
    options.shards = (uint32_t)shards;
    if (!write) options.flags |= POMAI_OPEN_READONLY;
    if (!make) options.flags |= POMAI_OPEN_EXISTING;
    if (args_has(args, OPT_ACCEPT_DAMAGE)) options.flags |= POMAI_OPEN_ACCEPT_DAMAGE;
    if (pomai_open(args->positional[0], &options, db, &err) != POMAI_OK) return complain_error(&err);
    pomai_open_report report;
    pomai_get_open_report(*db, &report);
    for (const char *line = report.notes; line && *line;) {
        size_t size = strcspn(line, "\n");
        note(args, "%.*s", (int)size, line);
        line += size + (line[size] == '\n');
    }
    return EXIT_OK;
}

int db_collection(const struct args *args, pomai_db *db, pomai_collection **collection, pomai_collection_info *info)
{
    pomai_error err;
    const pomai_status status = pomai_collection_open(db, collection_name(args), collection, &err);
    if (status == POMAI_ENOTFOUND) return complain_no_collection(args, db, collection_name(args), false);
    if (status != POMAI_OK) return complain_error(&err);
    if (pomai_collection_get_info(*collection, info, &err) != POMAI_OK) return complain_error(&err);
    return EXIT_OK;
}

int db_close(pomai_db *db, pomai_collection *collection, int status)
{
    pomai_error err;
    pomai_collection_close(collection);
    if (db && pomai_close(db, &err) != POMAI_OK) {
        complain_error(&err);
        if (status == EXIT_OK) status = EXIT_FAILED;
    }
    return status;
}

int id_words_parse(const struct args *args, size_t from, pomai_id_kind kind, struct id_words *words)
{
    size_t count = args->positional_count - from;
    memset(words, 0, sizeof *words);
    words->ids.count = count;
    if (kind == POMAI_ID_STRING) {
        words->string = must_realloc(NULL, count, sizeof *words->string);
        for (size_t i = 0; i < count; i++) {
            const char *word = args->positional[from + i];
            words->string[i] = (pomai_bytes){word, strlen(word)};
        }
        words->ids.string = words->string;
        return EXIT_OK;
    }
    words->u64 = must_realloc(NULL, count, sizeof *words->u64);
    words->ids.u64 = words->u64;
    for (size_t i = 0; i < count; i++) {
        const char *word = args->positional[from + i];
        if (!parse_u64(word, strlen(word), &words->u64[i])) {
            complain("id '%.100s' is not a whole number from 0 to 2^64-1, and collection '%s' has ids of the kind u64",
                     word, collection_name(args));
            return EXIT_FAILED;
        }
    }
    return EXIT_OK;
}

void id_words_free(struct id_words *words)
{
    free(words->u64);
    free(words->string);
    memset(words, 0, sizeof *words);
}
