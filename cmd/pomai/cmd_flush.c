/* SPDX-License-Identifier: Apache-2.0 */
/* pomai flush, pomai compact, pomai index, pomai digest: rows that live for years. */
#include "cli.h"

#include <inttypes.h>

static int say(const struct args *args, int status, const char *json, const char *sentence)
{
    if (status != EXIT_OK) return status;
    if (args_has(args, OPT_JSON))
        puts(json);
    else if (!args_has(args, OPT_QUIET))
        puts(sentence);
    return EXIT_OK;
}

static int run_flush(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_error err;
    int status = db_open(args, true, false, &db);
    if (status == EXIT_OK && pomai_flush(db, &err) != POMAI_OK) status = complain_error(&err);
    status = db_close(db, NULL, status);
    return say(args, status, "{\"ok\":true}", "every row is in segments");
}

static int run_compact(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_collection *collection = NULL;
    pomai_collection_info info;
    pomai_error err;
    int status = db_open(args, true, false, &db);
    if (status == EXIT_OK && args_has(args, OPT_COLLECTION)) status = db_collection(args, db, &collection, &info);
    if (status == EXIT_OK && pomai_compact(db, collection, &err) != POMAI_OK) status = complain_error(&err);
    status = db_close(db, collection, status);
    return say(args, status, "{\"ok\":true}", "compacted");
}

static int run_index(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_error err;
    pomai_build_options options = POMAI_BUILD_OPTIONS_INIT;
    int status = args_milliseconds(args, OPT_DEADLINE, &options.deadline_us);
    if (status == EXIT_OK) status = db_open(args, true, false, &db);
    if (status == EXIT_OK && pomai_flush(db, &err) != POMAI_OK) status = complain_error(&err);
    if (status == EXIT_OK && pomai_build_indexes(db, &options, &err) != POMAI_OK) status = complain_error(&err);
    status = db_close(db, NULL, status);
    return say(args, status, "{\"ok\":true}", "segments have their indexes");
}

static int run_digest(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_error err;
    uint64_t digest[2] = {0, 0};
    char json[96], words[48];
    int status = db_open(args, false, false, &db);
    if (status == EXIT_OK && pomai_digest(db, NULL, digest, &err) != POMAI_OK) status = complain_error(&err);
    status = db_close(db, NULL, status);
    snprintf(words, sizeof words, "%016" PRIx64 "%016" PRIx64, digest[0], digest[1]);
    snprintf(json, sizeof json, "{\"digest\":\"%s\"}", words);
    return say(args, status, json, words);
}

const struct verb verb_flush = {
    .name = "flush",
    .synopsis = "DB [options]",
    .brief = "write all rows into segments",
    .about = "Writes what is still in the log into segments, which takes the log back. This happens by itself, too:\n"
             "in the background and at every close.",
    .examples = "  pomai flush my.db",
    .options = TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run_flush,
};

const struct verb verb_compact = {
    .name = "compact",
    .synopsis = "DB [options]",
    .brief = "drop rows that nobody can see any more",
    .about = "Rewrites all segments that have rows which were replaced, deleted or have expired, and merges small\n"
             "segments: of one collection with -c, else of all. This happens by itself, too, in the background.",
    .examples = "  pomai compact my.db",
    .options = TAKES(COLLECTION) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run_compact,
};

const struct verb verb_index = {
    .name = "index",
    .synopsis = "DB [options]",
    .brief = "build what makes searches with --recall fast",
    .about = "Writes what is still in the log into segments, and codes and a graph beside each segment of 4,096 rows\n"
             "or more, by which a search with --recall looks at few of them. This happens by itself, too, in the\n"
             "background of a program that has the database open. With --deadline-ms it stops after so long, and says\n"
             "so.",
    .examples = "  pomai index my.db",
    .options = TAKES(DEADLINE) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run_index,
};

const struct verb verb_digest = {
    .name = "digest",
    .synopsis = "DB [options]",
    .brief = "print 32 hex digits that say what is in a database",
    .about = "Prints a sum over names of collections and ids, vectors, documents, commit stamps and expiry of all\n"
             "rows. It stays the same over any reopening, flush or compaction, and changes with any row. Opens the\n"
             "database read-only.",
    .examples = "  pomai digest my.db",
    .options = TAKES(ACCEPT_DAMAGE) | TAKES(READ_ONLY) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run_digest,
};
