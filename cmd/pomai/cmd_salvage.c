/* SPDX-License-Identifier: Apache-2.0 */
/* pomai salvage: what is intact of a damaged database, into a new one. */
#include "cli.h"

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    progress_update(context, done, total ? (double)done / (double)total : -1);
    return 0;
}

static int run(const struct args *args)
{
    struct progress progress;
    pomai_error err;
    char *json = NULL;
    int whole = 0;
    progress_begin(&progress, args, "salvage", "bytes");
    pomai_status status =
        pomai_salvage(args->positional[0], args->positional[1], on_progress, &progress, &json, &whole, &err);
    progress_end(&progress);
    if (json && !args_has(args, OPT_QUIET) && (args_has(args, OPT_JSON) || !print_readable(json))) puts(json);
    pomai_free(json);
    if (status != POMAI_OK) return complain_error(&err);
    if (whole) {
        if (!args_has(args, OPT_JSON) && !args_has(args, OPT_QUIET)) puts("nothing was lost");
        return EXIT_OK;
    }
    complain("%s has what is intact of %s; what was lost is listed on stdout", args->positional[1],
             args->positional[0]);
    return EXIT_FAILED;
}

const struct verb verb_salvage = {
    .name = "salvage",
    .synopsis = "DAMAGED NEW [options]",
    .brief = "copy what is intact out of a damaged database",
    .about = "Makes the database NEW of all rows of DAMAGED that can be read, the newest version of each, with ids,\n"
             "vectors, documents and expiry, and lists what is lost. Changes nothing in DAMAGED, which no program may\n"
             "have open for writing. The times of the writes are new. Exits with 1 if anything was lost.",
    .examples = "  pomai salvage my.db saved.db --json",
    .options = TAKES(JSON) | TAKES(QUIET),
    .positional_min = 2,
    .positional_max = 2,
    .run = run,
};
