/* SPDX-License-Identifier: Apache-2.0 */
/* pomai dump-segment, pomai dump-manifest: what lies beside the log. */
#include "cli.h"

#include <string.h>

static int on_line(void *context, const char *line)
{
    (void)context;
    puts(line);
    return ferror(stdout);
}

static int run_segment(const struct args *args)
{
    pomai_error err;
    uint64_t number = 0;
    uint32_t flags = args_has(args, OPT_JSON) ? POMAI_DUMP_JSON : 0;
    if (args_has(args, OPT_ROWS)) flags |= POMAI_DUMP_ROWS;
    if (args->positional_count > 1) {
        const char *word = args->positional[1];
        if (!parse_u64(word, strlen(word), &number) || number == 0)
            return usage_error(args, "'%s' is not the number of a segment", word);
    }
    if (pomai_dump_segment(args->positional[0], args->value[OPT_COLLECTION], number, flags, on_line, NULL, &err) !=
        POMAI_OK)
        return ferror(stdout) ? EXIT_FAILED : complain_error(&err);
    return EXIT_OK;
}

static int run_manifest(const struct args *args)
{
    pomai_error err;
    if (pomai_dump_manifest(args->positional[0], args_has(args, OPT_JSON), on_line, NULL, &err) != POMAI_OK)
        return ferror(stdout) ? EXIT_FAILED : complain_error(&err);
    return EXIT_OK;
}

const struct verb verb_dump_segment = {
    .name = "dump-segment",
    .synopsis = "DB [NUMBER] [options]",
    .brief = "print the segments of a database",
    .about = "Prints a line for the segment NUMBER, or for all; of one collection with -c. With --rows, a line for\n"
             "each of its rows, too: id, shard, LSN, stamp, and where it ended. No program may have the database\n"
             "open for writing. Changes nothing.",
    .examples = "  pomai dump-segment my.db\n"
                "  pomai dump-segment my.db 3 --rows --json",
    .options = TAKES(COLLECTION) | TAKES(ROWS) | TAKES(JSON),
    .positional_min = 1,
    .positional_max = 2,
    .run = run_segment,
};

const struct verb verb_dump_manifest = {
    .name = "dump-manifest",
    .synopsis = "DB [options]",
    .brief = "print the catalogue",
    .about = "Prints a line for the catalogue, each shard, each collection and each of its segments, as the catalogue\n"
             "has them. No program may have the database open for writing. Changes nothing.",
    .examples = "  pomai dump-manifest my.db --json",
    .options = TAKES(JSON),
    .positional_min = 1,
    .positional_max = 1,
    .run = run_manifest,
};
