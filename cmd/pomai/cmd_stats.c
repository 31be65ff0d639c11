/* SPDX-License-Identifier: Apache-2.0 */
/* pomai stats: sizes and counters, whatever fields the engine has. */
#include "cli.h"

static int run(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_error err;
    char *json = NULL;
    int status = db_open(args, false, false, &db);
    if (status == EXIT_OK && pomai_stats(db, &json, &err) != POMAI_OK) status = complain_error(&err);
    if (status == EXIT_OK && (args_has(args, OPT_JSON) || !print_readable(json))) puts(json);
    pomai_free(json);
    return db_close(db, NULL, status);
}

const struct verb verb_stats = {
    .name = "stats",
    .synopsis = "DB [options]",
    .brief = "print sizes and counters",
    .about = "Prints what the engine knows of the database: shards, collections, rows, bytes, log. The counters of\n"
             "puts and queries begin at each opening, so here they are those of this look. Opens the database\n"
             "read-only.",
    .examples = "  pomai stats my.db --json",
    .options = TAKES(ACCEPT_DAMAGE) | TAKES(READ_ONLY) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
