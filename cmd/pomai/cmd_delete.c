/* SPDX-License-Identifier: Apache-2.0 */
/* pomai delete: rows by id, all or nothing. */
#include "cli.h"

#include <inttypes.h>

static int run(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_collection *collection = NULL;
    pomai_collection_info info;
    pomai_ack ack = {0};
    pomai_error err;
    struct id_words words = {0};
    int status = db_open(args, true, false, &db);
    if (status == EXIT_OK) status = db_collection(args, db, &collection, &info);
    if (status == EXIT_OK) status = id_words_parse(args, 1, info.id_kind, &words);
    if (status == EXIT_OK && pomai_delete(collection, &words.ids, NULL, &ack, &err) != POMAI_OK)
        status = complain_error(&err);
    status = db_close(db, collection, status);
    if (status == EXIT_OK && args_has(args, OPT_JSON))
        printf("{\"ok\":true,\"asked\":%zu,\"deleted\":%" PRIu64 ",\"stamp_ns\":%" PRIu64 ",\"durability\":\"%s\"}\n",
               words.ids.count, ack.rows, ack.stamp_ns, durability_name(ack.level));
    else if (status == EXIT_OK && !args_has(args, OPT_QUIET))
        printf("deleted %" PRIu64 " of %zu\n", ack.rows, words.ids.count);
    id_words_free(&words);
    return status;
}

const struct verb verb_delete = {
    .name = "delete",
    .synopsis = "DB ID... [options]",
    .brief = "delete rows by id",
    .about = "Deletes the rows with these ids, all or nothing, and says how many were there. Ids that are not there\n"
             "are passed over. An id that begins with '-' goes behind '--'.",
    .examples = "  pomai delete my.db 17 18",
    .options = TAKES(COLLECTION) | TAKES(DURABILITY) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 2,
    .positional_max = SIZE_MAX,
    .run = run,
};
