/* SPDX-License-Identifier: Apache-2.0 */
/* pomai dump-wal: the log, a record a line. */
#include "cli.h"

static int on_line(void *context, const char *line)
{
    (void)context;
    puts(line);
    return ferror(stdout);
}

static int run(const struct args *args)
{
    pomai_error err;
    if (pomai_dump_wal(args->positional[0], args_has(args, OPT_JSON), on_line, NULL, &err) != POMAI_OK)
        return ferror(stdout) ? EXIT_FAILED : complain_error(&err);
    return EXIT_OK;
}

const struct verb verb_dump_wal = {
    .name = "dump-wal",
    .synopsis = "DB [options]",
    .brief = "print the records of the log",
    .about = "Prints a line for each record of the log, oldest first, shard after shard. No program may have the\n"
             "database open for writing. Changes nothing.",
    .examples = "  pomai dump-wal my.db --json",
    .options = TAKES(JSON),
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
