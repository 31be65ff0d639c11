/* SPDX-License-Identifier: Apache-2.0 */
/* pomai collections: what is in a database. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

static int print_collection(const struct args *args, pomai_db *db, const char *name)
{
    pomai_collection *collection = NULL;
    pomai_collection_info info;
    pomai_error err;
    char rows[32], ttl[32];
    pomai_status status = pomai_collection_open(db, name, &collection, &err);
    if (status == POMAI_OK) status = pomai_collection_get_info(collection, &info, &err);
    pomai_collection_close(collection);
    if (status != POMAI_OK) return complain_error(&err);
    if (args_has(args, OPT_JSON)) {
        printf("{\"collection\":");
        print_json_string(info.name);
        printf(",\"rows\":%" PRIu64 ",\"dim\":%u,\"dtype\":\"%s\",\"metric\":\"%s\",\"ids\":\"%s\"", info.rows,
               info.dim, dtype_name(info.dtype), metric_name(info.metric), id_kind_name(info.id_kind));
        if (info.ttl_ns) printf(",\"ttl_ns\":%" PRIu64, info.ttl_ns);
        if (info.index != POMAI_INDEX_AUTO) printf(",\"index\":\"%s\"", index_name(info.index));
        if (info.cluster_by[0] != '\0') printf(",\"cluster_by\":");
        if (info.cluster_by[0] != '\0') print_json_string(info.cluster_by);
        puts("}");
    } else {
        printf("%-24s %15s rows  %6u dimensions  %-7s  %-6s  %s ids%s%s%s%s%s%s\n", info.name, grouped(info.rows, rows),
               info.dim, dtype_name(info.dtype), metric_name(info.metric), id_kind_name(info.id_kind),
               info.ttl_ns ? "  ttl " : "", info.ttl_ns ? ttl_text(info.ttl_ns, ttl) : "",
               info.cluster_by[0] != '\0' ? "  clustered by " : "", info.cluster_by,
               info.index != POMAI_INDEX_AUTO ? "  index " : "",
               info.index != POMAI_INDEX_AUTO ? index_name(info.index) : "");
    }
    return EXIT_OK;
}

static int run(const struct args *args)
{
    pomai_db *db = NULL;
    pomai_error err;
    char **names = NULL;
    size_t count = 0;
    int status = db_open(args, false, false, &db);
    if (status == EXIT_OK && pomai_collection_list(db, &names, &count, &err) != POMAI_OK) status = complain_error(&err);
    for (size_t i = 0; i < count && status == EXIT_OK; i++)
        status = print_collection(args, db, names[i]);
    if (status == EXIT_OK && count == 0)
        note(args, "the database has no collections; 'pomai import' or 'pomai create' makes one");
    pomai_free(names);
    return db_close(db, NULL, status);
}

const struct verb verb_collections = {
    .name = "collections",
    .synopsis = "DB [options]",
    .brief = "list the collections of a database",
    .about = "Prints name, rows, dimensions, type, metric, kind of ids, time to live, the path of its clustering and "
             "its indexes, where they are not the usual ones, of each collection. Opens the database read-only.",
    .examples = "  pomai collections my.db",
    .options = TAKES(ACCEPT_DAMAGE) | TAKES(READ_ONLY) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
