/* SPDX-License-Identifier: Apache-2.0 */
/* pomai help, pomai version. */
#include "cli.h"

#include <string.h>

int complain_no_verb(const char *word)
{
    struct near near;
    near_begin(&near, word, strlen(word));
    for (const struct verb *const *verb = verbs; *verb; verb++)
        near_look(&near, (*verb)->name);
    if (near.found)
        complain("there is no verb '%.200s'; did you mean '%s'? 'pomai help' lists them", word, near.found);
    else
        complain("there is no verb '%.200s'; 'pomai help' lists them", word);
    return EXIT_USAGE;
}

static int help_words(const struct args *args, const struct verb *verb)
{
    if (args->positional_count > 0) {
        args_print_words(stdout, verb);
        return EXIT_OK;
    }
    for (const struct verb *const *each = verbs; *each; each++)
        puts((*each)->name);
    return EXIT_OK;
}

static int run_help(const struct args *args)
{
    const struct verb *verb = args->positional_count ? verb_find(args->positional[0]) : NULL;
    if (args->positional_count && !verb) return complain_no_verb(args->positional[0]);
    if (args_has(args, OPT_WORDS)) return help_words(args, verb);
    if (verb) {
        args_print_help(stdout, verb);
        return EXIT_OK;
    }
    puts("usage: pomai <verb> DB ...\n\nPomaiDB keeps vectors in a directory and finds the nearest ones.\n\nVerbs:");
    for (const struct verb *const *each = verbs; *each; each++)
        printf("  %-13s  %s\n", (*each)->name, (*each)->brief);
    puts("\n'pomai help VERB' or 'pomai VERB --help' tells more.\n"
         "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n\nExample:\n"
         "  pomai import my.db vectors.npy\n"
         "  pomai search my.db --queries queries.npy -k 10");
    return EXIT_OK;
}

const struct verb verb_help = {
    .name = "help",
    .synopsis = "[VERB]",
    .brief = "explain a verb",
    .about = "Lists the verbs, or explains one.",
    .examples = "  pomai help import",
    .options = TAKES(WORDS),
    .positional_min = 0,
    .positional_max = 1,
    .run = run_help,
};

static int run_version(const struct args *args)
{
    if (args_has(args, OPT_JSON))
        printf("{\"version\":\"%s\",\"simd\":\"%s\"}\n", pomai_version(), pomai_simd_level());
    else
        printf("pomai %s (%s)\n", pomai_version(), pomai_simd_level());
    return EXIT_OK;
}

const struct verb verb_version = {
    .name = "version",
    .synopsis = "[--json]",
    .brief = "print the version",
    .about = "Prints the version and the instruction set that searches use on this machine.",
    .examples = "  pomai version",
    .options = TAKES(JSON),
    .positional_min = 0,
    .positional_max = 0,
    .run = run_version,
};
