/* SPDX-License-Identifier: Apache-2.0 */
/* The verb table of `pomai` and the way into it. A new verb: one file, one line here, one section in docs/cli.md. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const struct verb verb_create, verb_import, verb_export, verb_search, verb_count, verb_get, verb_update,
    verb_delete, verb_collections, verb_drop, verb_flush, verb_compact, verb_index, verb_stats, verb_digest,
    verb_verify, verb_salvage, verb_dump_wal, verb_dump_segment, verb_dump_manifest, verb_version, verb_help;

const struct verb *const verbs[] = {
    &verb_create,       &verb_import,        &verb_export,      &verb_search, &verb_count,   &verb_get,
    &verb_update,       &verb_delete,        &verb_collections, &verb_drop,   &verb_flush,   &verb_compact,
    &verb_index,        &verb_stats,         &verb_digest,      &verb_verify, &verb_salvage, &verb_dump_wal,
    &verb_dump_segment, &verb_dump_manifest, &verb_version,     &verb_help,   NULL,
};

const struct verb *verb_find(const char *name)
{
    for (const struct verb *const *verb = verbs; *verb; verb++)
        if (strcmp((*verb)->name, name) == 0) return *verb;
    return NULL;
}

static int run_verb(const struct verb *verb, size_t count, char *const *words)
{
    struct args args;
    const char **positional = must_realloc(NULL, count + 1, sizeof *positional);
    int status = args_parse(&args, verb, count, words, positional);
    if (status == EXIT_OK && args_has(&args, OPT_HELP))
        args_print_help(stdout, verb);
    else if (status == EXIT_OK && (status = args_filter(&args)) == EXIT_OK)
        status = verb->run(&args);
    free(args.filter);
    free(positional);
    return status;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const struct verb *verb = verb_find(word);
    size_t rest = argc > 2 ? (size_t)argc - 2 : 0;
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) verb = &verb_version;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) verb = &verb_help;
    int status;
    if (verb) {
        status = run_verb(verb, rest, argv + 2);
    } else if (argc < 2) {
        fputs("usage: pomai <verb> DB ...\n'pomai help' lists the verbs.\n", stderr);
        status = EXIT_USAGE;
    } else {
        status = complain_no_verb(word);
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_OK) {
        complain("the output could not be written: %s", strerror(errno));
        status = EXIT_FAILED;
    }
    return status;
}
