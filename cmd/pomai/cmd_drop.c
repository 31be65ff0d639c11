/* SPDX-License-Identifier: Apache-2.0 */
/* pomai drop: removes a collection for good. */
#include "cli.h"

static int run(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_error err;
    const char *name = args->positional[1];
    int status = db_open(args, true, false, &db);
    if (status == EXIT_OK && pomai_collection_drop(db, name, &err) != POMAI_OK)
        status = err.status == POMAI_ENOTFOUND ? complain_no_collection(args, db, name, true) : complain_error(&err);
    status = db_close(db, NULL, status);
    if (status != EXIT_OK) return status;
    if (args_has(args, OPT_JSON)) {
        printf("{\"ok\":true,\"dropped\":");
        print_json_string(name);
        puts("}");
    } else if (!args_has(args, OPT_QUIET)) {
        printf("dropped the collection '%s'\n", name);
    }
    return EXIT_OK;
}

const struct verb verb_drop = {
    .name = "drop",
    .synopsis = "DB NAME [options]",
    .brief = "remove a collection and its rows",
    .about = "Removes the collection NAME and all its rows, for good and without asking.",
    .examples = "  pomai drop my.db docs",
    .options = TAKES(JSON) | TAKES(QUIET),
    .positional_min = 2,
    .positional_max = 2,
    .run = run,
};
