/* SPDX-License-Identifier: Apache-2.0 */
/* pomai create: a database, a collection in it, or both. */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

static bool names_collection(const struct args *args)
{
    return args_has(args, OPT_COLLECTION) || args_has(args, OPT_DIM) || args_has(args, OPT_METRIC) ||
           args_has(args, OPT_ID_KIND) || args_has(args, OPT_TTL) || args_has(args, OPT_DTYPE) ||
           args_has(args, OPT_CLUSTER_BY) || args_has(args, OPT_INDEX);
}

/* Opens what is there, or makes it; *made says which. */
static int open_or_make(const struct args *args, pomai_db **db, bool *made)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    pomai_error err;
    uint64_t shards = 0;
    int status = args_u64(args, OPT_SHARDS, 1, 256, &shards);
    if (status != EXIT_OK) return status;
    options.flags = POMAI_OPEN_EXISTING;
    pomai_status opened = pomai_open(args->positional[0], &options, db, &err);
    *made = opened == POMAI_ENOTFOUND;
    if (*made) {
        options.flags = 0;
        options.shards = (uint32_t)shards;
        opened = pomai_open(args->positional[0], &options, db, &err);
    } else if (opened == POMAI_OK && args_has(args, OPT_SHARDS)) {
        complain("%s exists already; the number of shards is fixed when a database is made", args->positional[0]);
        return EXIT_FAILED;
    }
    return opened == POMAI_OK ? EXIT_OK : complain_error(&err);
}

static int run(const struct args *args)
{
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_collection *collection = NULL;
    pomai_db *db = NULL;
    pomai_error err;
    bool made = false;
    char ttl[32];
    int status = args_u64(args, OPT_DIM, 1, POMAI_MAX_DIM, &options.dim);
    if (status == EXIT_OK) status = args_metric(args, &options.metric);
    if (status == EXIT_OK) status = args_id_kind(args, &options.id_kind);
    if (status == EXIT_OK) status = args_dtype(args, &options.dtype);
    if (status == EXIT_OK) status = args_ttl(args, &options.ttl_ns);
    if (status == EXIT_OK) status = args_index(args, &options.index);
    if (status != EXIT_OK) return status;
    options.cluster_by = args->value[OPT_CLUSTER_BY];
    if (names_collection(args) && !args_has(args, OPT_DIM))
        return usage_error(args, "a collection needs its dimension: --dim D");
    status = open_or_make(args, &db, &made);
    if (status == EXIT_OK && !made && !names_collection(args)) {
        complain("%s exists already; --dim D makes a collection in it", args->positional[0]);
        status = EXIT_FAILED;
    }
    if (status == EXIT_OK && names_collection(args) &&
        pomai_collection_create(db, collection_name(args), &options, &collection, &err) != POMAI_OK)
        status = complain_error(&err);
    status = db_close(db, collection, status);
    if (status != EXIT_OK) return status;
    if (args_has(args, OPT_JSON)) {
        printf("{\"ok\":true,\"created_database\":%s", made ? "true" : "false");
        if (names_collection(args)) {
            printf(",\"collection\":");
            print_json_string(collection_name(args));
            printf(",\"dim\":%" PRIu64 ",\"dtype\":\"%s\",\"metric\":\"%s\",\"ids\":\"%s\"", options.dim,
                   dtype_name(options.dtype), metric_name(options.metric), id_kind_name(options.id_kind));
            if (options.ttl_ns) printf(",\"ttl_ns\":%" PRIu64, options.ttl_ns);
            if (options.index != POMAI_INDEX_AUTO) printf(",\"index\":\"%s\"", index_name(options.index));
            if (options.cluster_by != NULL) printf(",\"cluster_by\":");
            if (options.cluster_by != NULL) print_json_string(options.cluster_by);
        }
        puts("}");
    } else if (!args_has(args, OPT_QUIET)) {
        if (made) printf("made the database %s\n", args->positional[0]);
        if (names_collection(args))
            printf("made the collection '%s': %" PRIu64 " dimensions, %s, metric %s, %s ids%s%s%s%s%s%s\n",
                   collection_name(args), options.dim, dtype_name(options.dtype), metric_name(options.metric),
                   id_kind_name(options.id_kind), options.ttl_ns ? ", rows vanish after " : "",
                   options.ttl_ns ? ttl_text(options.ttl_ns, ttl) : "",
                   options.cluster_by != NULL ? ", clustered by " : "",
                   options.cluster_by != NULL ? options.cluster_by : "",
                   options.index != POMAI_INDEX_AUTO ? ", index " : "",
                   options.index != POMAI_INDEX_AUTO ? index_name(options.index) : "");
    }
    return EXIT_OK;
}

const struct verb verb_create = {
    .name = "create",
    .synopsis = "DB [--dim D [options]]",
    .brief = "make a database or a collection",
    .about = "Makes the database in the directory DB; with --dim, a collection in it (the database may be there).\n"
             "Not needed before an import, which makes both from its file.",
    .examples = "  pomai create my.db --collection docs --dim 384 --metric cosine --ids string\n"
                "  pomai create my.db --collection cache --dim 384 --ttl 7d --dtype float16\n"
                "  pomai create my.db --collection notes --dim 384 --cluster-by tenant",
    .options = TAKES(COLLECTION) | TAKES(DIM) | TAKES(METRIC) | TAKES(ID_KIND) | TAKES(DTYPE) | TAKES(TTL) |
               TAKES(CLUSTER_BY) | TAKES(INDEX) | TAKES(SHARDS) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
