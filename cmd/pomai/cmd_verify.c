/* SPDX-License-Identifier: Apache-2.0 */
/* pomai verify: every byte of a closed database. */
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
    progress_begin(&progress, args, "verify", "bytes");
    pomai_status verified = pomai_verify_path(args->positional[0], on_progress, &progress, &json, &err);
    progress_end(&progress);
    /* Where there was nothing to read a table of zeros says nothing. */
    const bool read = verified != POMAI_ENOTFOUND && verified != POMAI_ENOTDB && verified != POMAI_EACCESS &&
                      verified != POMAI_ELOCKED;
    if (json && !args_has(args, OPT_QUIET) && (args_has(args, OPT_JSON) || (read && !print_readable(json)))) puts(json);
    pomai_free(json);
    if (verified != POMAI_OK) return complain_error(&err);
    if (!args_has(args, OPT_JSON) && !args_has(args, OPT_QUIET)) puts("no damage found");
    return EXIT_OK;
}

const struct verb verb_verify = {
    .name = "verify",
    .synopsis = "DB [options]",
    .brief = "check every byte of a database",
    .about = "Reads every byte of catalogue, log and segments, checks every checksum and what they say of each other,\n"
             "and opens the database once, changing nothing. No program may have it open for writing. Exits with 1\n"
             "if anything is damaged, and lists it. rows counts those that are there; log_rows those in the log only,\n"
             "segment_rows those in segments, both with rows that were replaced or deleted since.",
    .examples = "  pomai verify my.db",
    .options = TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
