/* SPDX-License-Identifier: Apache-2.0 */
/* pomai delete, pomai update: rows by id, or by what their documents say. */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What was asked for, and what became of it. */
struct change {
    const struct args *args;
    pomai_collection *collection;
    const char *filter; /* NULL: by id */
    struct id_words words;
    bool merge;
    pomai_bytes document; /* of an update */
    pomai_ack ack;
};

/* Says how far it came: a change by filter goes in batches. */
static void print_change(const struct change *c, int status, const char *done)
{
    const pomai_ack *ack = &c->ack;
    if (status != EXIT_OK) {
        if (ack->rows > 0) note(c->args, "%" PRIu64 " rows were %s before that", ack->rows, done);
        return;
    }
    if (args_has(c->args, OPT_JSON)) {
        printf("{\"ok\":true,");
        if (!c->filter) printf("\"asked\":%zu,", c->words.ids.count);
        printf("\"%s\":%" PRIu64 ",\"stamp_ns\":%" PRIu64 ",\"durability\":\"%s\"}\n", done, ack->rows, ack->stamp_ns,
               durability_name(ack->level));
    } else if (!args_has(c->args, OPT_QUIET)) {
        printf("%s %" PRIu64, done, ack->rows);
        if (!c->filter) printf(" of %zu", c->words.ids.count);
        putchar('\n');
    }
}

static int do_delete(struct change *c)
{
    pomai_error err;
    const pomai_status status =
        c->filter ? pomai_delete_where(c->collection, c->filter, strlen(c->filter), NULL, &c->ack, &err)
                  : pomai_delete(c->collection, &c->words.ids, NULL, &c->ack, &err);
    return status == POMAI_OK ? EXIT_OK : complain_error(&err);
}

static int do_update(struct change *c)
{
    pomai_error err;
    pomai_status status;
    const pomai_update_how how = c->merge ? POMAI_UPDATE_MERGE : POMAI_UPDATE_REPLACE;
    if (c->filter) {
        status =
            pomai_update_where(c->collection, c->filter, strlen(c->filter), &c->document, how, NULL, &c->ack, &err);
    } else {
        pomai_bytes *documents = must_realloc(NULL, c->words.ids.count, sizeof *documents);
        for (size_t i = 0; i < c->words.ids.count; i++)
            documents[i] = c->document;
        status = pomai_update(c->collection, &c->words.ids, documents, how, NULL, &c->ack, &err);
        free(documents);
    }
    return status == POMAI_OK ? EXIT_OK : complain_error(&err);
}

static int change(struct change *c, int (*act)(struct change *), const char *done)
{
    pomai_db *db = NULL;
    pomai_collection_info info;
    int status = args_rows(c->args, &c->filter);
    if (status != EXIT_OK) return status;
    status = db_open(c->args, true, false, &db);
    if (status == EXIT_OK) status = db_collection(c->args, db, &c->collection, &info);
    if (status == EXIT_OK && !c->filter) status = id_words_parse(c->args, 1, info.id_kind, &c->words);
    if (status == EXIT_OK) status = act(c);
    status = db_close(db, c->collection, status);
    print_change(c, status, done);
    id_words_free(&c->words);
    return status;
}

static int run_delete(const struct args *args)
{
    struct change c = {.args = args};
    return change(&c, do_delete, "deleted");
}

static int run_update(const struct args *args)
{
    struct change c = {.args = args, .merge = args_has(args, OPT_SET)};
    if (args_has(args, OPT_SET) == args_has(args, OPT_DOCUMENT))
        return usage_error(args, "what is to be written? give --set or --document%s",
                           args_has(args, OPT_SET) ? ", not both" : "");
    const char *text = args->value[c.merge ? OPT_SET : OPT_DOCUMENT];
    c.document = (pomai_bytes){text, strlen(text)};
    return change(&c, do_update, "updated");
}

const struct verb verb_delete = {
    .name = "delete",
    .synopsis = "DB ID...|--where JSON|--all [options]",
    .brief = "delete rows by id, or by what their documents say",
    .about =
        "Deletes the rows with these ids, all or nothing, and says how many were there; ids that are not there are\n"
        "passed over. Or those whose documents match --where (docs/filter.md has the language), or all: in "
        "batches,\n"
        "each all or nothing. An id that begins with '-' goes behind '--'.",
    .examples = "  pomai delete my.db 17 18\n"
                "  pomai delete my.db --where '{\"sold\": true}'",
    .options = TAKES(COLLECTION) | TAKES(WHERE) | TAKES(ALL) | TAKES(DURABILITY) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = SIZE_MAX,
    .run = run_delete,
};

const struct verb verb_update = {
    .name = "update",
    .synopsis = "DB ID...|--where JSON|--all --set JSON|--document TEXT [options]",
    .brief = "change the documents of rows",
    .about =
        "Gives the rows with these ids, or whose documents match --where (docs/filter.md has the language), or all,\n"
        "another document: --set merges an object into the one that they have (RFC 7396: keys are set, null\n"
        "removes one, objects are merged in turn), --document takes its place. Vectors and expiry stay as they "
        "are.\n"
        "In batches, each all or nothing; ids that are not there are passed over.",
    .examples = "  pomai update my.db 17 18 --set '{\"price\": 9, \"sale\": null}'\n"
                "  pomai update my.db --where '{\"price\": {\"$lt\": 10}}' --set '{\"cheap\": true}'",
    .options = TAKES(COLLECTION) | TAKES(WHERE) | TAKES(ALL) | TAKES(SET) | TAKES(DOCUMENT) | TAKES(DURABILITY) |
               TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = SIZE_MAX,
    .run = run_update,
};
