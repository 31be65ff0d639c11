/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pomai import: a file of vectors into a collection.
 *
 * The file is read a chunk at a time; while one is being read, up to two are with the engine (tickets), so disk and
 * file overlap and memory stays at three chunks. Each chunk is one batch: whole or absent. Tickets are waited for in
 * order, so the ledger is in the order of the file.
 *
 * The first chunk is read before the database is opened: a file that is refused at its beginning leaves no trace.
 */
#include "read.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    IN_FLIGHT = 2,
    DEFAULT_BYTES = 4 * 1024 * 1024,
    MOST_BYTES = 48 * 1024 * 1024, /* under POMAI_MAX_BATCH_BYTES with room for one long row */
    DEFAULT_ROWS = 65536
};

struct slot {
    struct chunk chunk;
    pomai_batch batch;
    pomai_ticket *ticket;
};

struct importer {
    const struct args *args;
    struct reader reader;
    pomai_db *db;
    pomai_collection *collection;
    pomai_collection_info info;
    pomai_write_options options;
    bool made; /* the collection, by this run */
    struct slot slots[IN_FLIGHT + 1];
    size_t oldest; /* slot in flight longest */
    size_t in_flight;
    FILE *ledger;
    struct progress progress;
    double began;
    uint64_t skipped;
    uint64_t batches;  /* acknowledged */
    uint64_t rows;     /* acknowledged */
    uint64_t whole_to; /* every row of the file before this one is stored (counted after skipped) */
    uint64_t first_id;
    pomai_durability level; /* the least of the acknowledgements */
    bool failed;
    bool unknown; /* the outcome of a batch */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- the collection ---- */

static enum chunk_ids resolve_text_kind(const struct chunk *chunk)
{
    uint64_t number;
    pomai_bytes id = chunk->string_ids[0];
    return parse_u64(id.data, id.size, &number) ? CHUNK_U64 : CHUNK_STRING;
}

static int make_collection(struct importer *im, const struct chunk *chunk)
{
    pomai_collection_options options = POMAI_COLLECTION_OPTIONS_INIT;
    pomai_error err;
    enum chunk_ids kind = chunk->kind == CHUNK_TEXT ? resolve_text_kind(chunk) : chunk->kind;
    options.dim = chunk->dim;
    options.id_kind = kind == CHUNK_STRING ? POMAI_ID_STRING : POMAI_ID_U64;
    int status = args_metric(im->args, &options.metric);
    if (status == EXIT_OK) status = args_dtype(im->args, &options.dtype);
    if (status == EXIT_OK) status = args_ttl(im->args, &options.ttl_ns);
    if (status == EXIT_OK) status = args_index(im->args, &options.index);
    if (status != EXIT_OK) return status;
    options.cluster_by = im->args->value[OPT_CLUSTER_BY];
    if (pomai_collection_create(im->db, collection_name(im->args), &options, &im->collection, &err) != POMAI_OK)
        return complain_error(&err);
    im->made = true;
    return EXIT_OK;
}

/* What is said of a collection that is there already, and may not be changed. */
static int check_layout(const struct importer *im)
{
    const pomai_collection_info *info = &im->info;
    const char *wanted = im->args->value[OPT_CLUSTER_BY];
    pomai_index_kind index = info->index;
    const int status = args_index(im->args, &index);
    if (status != EXIT_OK) return status;
    if (index != info->index) {
        complain("collection '%s' has the index %s; leave --index out, or import into another collection with -c NAME",
                 info->name, index_name(info->index));
        return EXIT_FAILED;
    }
    const bool clusters = info->cluster_by[0] != '\0';
    if (wanted != NULL && strcmp(wanted, info->cluster_by) != 0) {
        complain("collection '%s' is %s%s; leave --cluster-by out, or import into another collection with -c NAME",
                 info->name, clusters ? "clustered by " : "not clustered", clusters ? info->cluster_by : "");
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static int check_collection(struct importer *im, const struct chunk *chunk)
{
    const pomai_collection_info *info = &im->info;
    pomai_metric metric = info->metric;
    pomai_dtype dtype = info->dtype;
    uint64_t ttl_ns = info->ttl_ns;
    int status = args_metric(im->args, &metric);
    if (status == EXIT_OK) status = args_dtype(im->args, &dtype);
    if (status == EXIT_OK) status = args_ttl(im->args, &ttl_ns);
    if (status == EXIT_OK) status = check_layout(im);
    if (status != EXIT_OK) return status;
    if (ttl_ns != info->ttl_ns) {
        char ttl[32];
        complain(
            "collection '%s' has the time to live %s; leave --ttl out, or import into another collection with -c NAME",
            info->name, ttl_text(info->ttl_ns, ttl));
        return EXIT_FAILED;
    }
    if (metric != info->metric) {
        complain(
            "collection '%s' has the metric %s; leave --metric out, or import into another collection with -c NAME",
            info->name, metric_name(info->metric));
        return EXIT_FAILED;
    }
    if (dtype != info->dtype) {
        complain("collection '%s' has %s vectors; leave --dtype out, or import into another collection with -c NAME",
                 info->name, dtype_name(info->dtype));
        return EXIT_FAILED;
    }
    if (chunk->dim != info->dim) {
        complain("%s has vectors of %" PRIu64
                 " dimensions, collection '%s' has %u; import into another collection with "
                 "-c NAME",
                 im->reader.in.path, chunk->dim, info->name, info->dim);
        return EXIT_FAILED;
    }
    if (info->id_kind == POMAI_ID_STRING && (chunk->kind == CHUNK_NO_IDS || chunk->kind == CHUNK_U64)) {
        complain(
            "collection '%s' has string ids, but the rows come with %s; give strings with --ids FILE, or import into "
            "another collection with -c NAME",
            info->name, chunk->kind == CHUNK_U64 ? "numbers" : "none");
        return EXIT_FAILED;
    }
    if (info->id_kind == POMAI_ID_U64 && chunk->kind == CHUNK_STRING) {
        complain("collection '%s' has ids that are numbers, but the rows come with strings; import into another "
                 "collection with -c NAME",
                 info->name);
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static int open_collection(struct importer *im, const struct chunk *chunk)
{
    pomai_error err;
    pomai_status status = pomai_collection_open(im->db, collection_name(im->args), &im->collection, &err);
    if (status == POMAI_OK) status = pomai_collection_get_info(im->collection, &im->info, &err);
    /* A dimension of 0: `default` before its first put. It is made like any other, because of --metric. */
    if (status == POMAI_OK && im->info.dim == 0) {
        pomai_collection_close(im->collection);
        im->collection = NULL;
        status = POMAI_ENOTFOUND;
    }
    if (status == POMAI_ENOTFOUND) {
        int made = make_collection(im, chunk);
        if (made != EXIT_OK) return made;
        status = pomai_collection_get_info(im->collection, &im->info, &err);
    }
    if (status != POMAI_OK) return complain_error(&err);
    return check_collection(im, chunk);
}

/* ---- batches ---- */

/* Ids that came as text, in a collection of numbers. */
static int text_ids_to_numbers(const struct importer *im, struct chunk *chunk)
{
    bool numbers = im->info.id_kind == POMAI_ID_U64;
    if (chunk->kind != CHUNK_TEXT) return 0;
    for (size_t i = 0; numbers && i < chunk->rows; i++) {
        pomai_bytes id = chunk->string_ids[i];
        if (!parse_u64(id.data, id.size, &chunk->u64[i])) {
            char place[80];
            bool beside = im->reader.ids != NULL; /* the ids are in a file of their own, one a line */
            snprintf(place, sizeof place, "line %" PRIu64, chunk->first_row + i + 1);
            if (!beside) reader_place(&im->reader, chunk, i, place);
            complain("%s %s: '%.*s' is not a whole number from 0 to 2^64-1, and collection '%s' has such ids",
                     beside ? im->args->value[OPT_IDS] : im->reader.in.path, place, (int)(id.size < 80 ? id.size : 80),
                     (const char *)id.data, im->info.name);
            return -1;
        }
    }
    chunk->kind = numbers ? CHUNK_U64 : CHUNK_STRING;
    return 0;
}

static size_t first_not_finite(const float *vector, size_t dim)
{
    size_t i = 0;
    while (i < dim && isfinite(vector[i]))
        i++;
    return i;
}

static bool representable(pomai_dtype dtype, float x)
{
    if (dtype == POMAI_DTYPE_FLOAT16) return fabsf(x) < 65520;
    return dtype != POMAI_DTYPE_INT8 || (x >= -128 && x <= 127 && rintf(x) == x);
}

/* The first number of a chunk that the collection's type has not; false: there is none. */
static bool find_not_representable(const struct importer *im, const struct chunk *chunk, size_t *at)
{
    const size_t n = chunk->rows * (size_t)chunk->dim;
    for (*at = 0; *at < n; ++*at)
        if (!representable(im->info.dtype, chunk->vectors[*at])) return true;
    return false;
}

/* The engine counts rows within the batch; the person has a file, so its sentence is used only where no row is meant.
 */
static void complain_of_batch(const struct importer *im, const struct chunk *chunk, const pomai_error *err)
{
    char place[80], other[80];
    size_t row, twin, dim = (size_t)chunk->dim;
    const char *path = im->reader.in.path, *name = pomai_status_name(err->status);
    if (err->status == POMAI_ENOTFINITE && chunk_bad_vector(chunk, false, &row)) {
        size_t i = first_not_finite(chunk->vectors + row * dim, dim);
        complain("%s, %s: dimension %zu is %s; mend that row or leave it out (%s)", path,
                 reader_place(&im->reader, chunk, row, place), i,
                 isnan(chunk->vectors[row * dim + i]) ? "NaN" : "infinite", name);
    } else if (err->status == POMAI_EZEROVEC && chunk_bad_vector(chunk, true, &row)) {
        complain("%s, %s: a zero vector has no direction under the cosine metric; leave that row out, or use "
                 "--metric l2 (%s)",
                 path, reader_place(&im->reader, chunk, row, place), name);
    } else if (err->status == POMAI_EINVAL && find_not_representable(im, chunk, &row)) {
        complain("%s, %s: dimension %zu is %.9g, which %s has not: %s; nothing of the batch was stored (%s)", path,
                 reader_place(&im->reader, chunk, row / dim, place), row % dim, (double)chunk->vectors[row],
                 dtype_name(im->info.dtype),
                 im->info.dtype == POMAI_DTYPE_INT8
                     ? "it takes whole numbers from -128 to 127; quantise before, or use --dtype float32"
                     : "it ends at 65504; scale the vectors, or use --dtype float32",
                 name);
    } else if (err->status == POMAI_EDUPID && chunk_same_id(chunk, &row, &twin)) {
        complain("%s has the same id in %s, and again in %s; a batch takes an id once, keep one of the two (%s)", path,
                 reader_place(&im->reader, chunk, row, place), reader_place(&im->reader, chunk, twin, other), name);
    } else {
        complain_error(err);
        complain("the batch was made of %s, %s to %s", path, reader_place(&im->reader, chunk, 0, place),
                 reader_place(&im->reader, chunk, chunk->rows - 1, other));
    }
}

static void refused(struct importer *im, const struct chunk *chunk, const pomai_error *err)
{
    /* The batches behind a failed one mostly fail for the same reason: once is enough. */
    if (!im->failed) complain_of_batch(im, chunk, err);
    im->failed = true;
    im->unknown = im->unknown || err->status == POMAI_EUNKNOWN;
}

static void write_ledger(struct importer *im, const struct chunk *chunk, const pomai_ack *ack)
{
    uint64_t first = chunk->kind == CHUNK_NO_IDS ? ack->first_id : chunk->first_row;
    if (!im->ledger) return;
    if (fprintf(im->ledger, "%" PRIu64 " %zu %" PRIu64 "\n", first, chunk->rows, chunk->first_row) < 0 ||
        fflush(im->ledger) != 0) {
        complain("the ledger %s could not be written: %s", im->args->value[OPT_LEDGER], strerror(errno));
        im->failed = true;
    }
}

static void settle_oldest(struct importer *im)
{
    struct slot *slot = &im->slots[im->oldest];
    pomai_ack ack;
    pomai_error err;
    pomai_status status = pomai_wait(slot->ticket, UINT64_MAX, &ack, &err);
    pomai_ticket_free(slot->ticket);
    slot->ticket = NULL;
    im->oldest = (im->oldest + 1) % (IN_FLIGHT + 1);
    im->in_flight--;
    if (status != POMAI_OK) {
        refused(im, &slot->chunk, &err);
        return;
    }
    if (im->batches++ == 0) {
        im->first_id = ack.first_id;
        im->level = ack.level;
    }
    if (ack.level < im->level) im->level = ack.level;
    if (slot->chunk.first_row == im->skipped + im->whole_to) im->whole_to += slot->chunk.rows;
    im->rows += slot->chunk.rows;
    write_ledger(im, &slot->chunk, &ack);
    double fraction = im->reader.rows == UINT64_MAX ? input_fraction(&im->reader.in)
                                                    : (double)(im->skipped + im->rows) / (double)im->reader.rows;
    progress_update(&im->progress, im->rows, fraction);
}

/* Rows without an expiry have the collection's, but the engine takes one for all rows of a batch, or for none. */
static int check_expiries(const struct importer *im, const struct chunk *chunk)
{
    char place[80];
    if (chunk->expiries == 0 || chunk->expiries == chunk->rows || im->info.ttl_ns == 0) return 0;
    complain("%s, %s or a row near it has no \"expiry_ns\", others have one, and collection '%s' has a time to live; "
             "give one to all rows (0: never) or to none",
             im->reader.in.path, reader_place(&im->reader, chunk, 0, place), im->info.name);
    return -1;
}

static void submit(struct importer *im, struct slot *slot)
{
    struct chunk *chunk = &slot->chunk;
    pomai_error err;
    if (text_ids_to_numbers(im, chunk) != 0 || check_expiries(im, chunk) != 0) {
        im->failed = true;
        return;
    }
    slot->batch = (pomai_batch)POMAI_BATCH_INIT;
    slot->batch.rows = chunk->rows;
    slot->batch.dim = chunk->dim;
    slot->batch.vectors = chunk->vectors;
    slot->batch.u64_ids = chunk->kind == CHUNK_U64 ? chunk->u64 : NULL;
    slot->batch.string_ids = chunk->kind == CHUNK_STRING ? chunk->string_ids : NULL;
    slot->batch.documents = chunk->has_documents ? chunk->documents : NULL;
    slot->batch.expiry_ns = chunk->expiries > 0 ? chunk->expiry : NULL;
    if (pomai_put_async(im->collection, &slot->batch, &im->options, &slot->ticket, &err) != POMAI_OK)
        refused(im, chunk, &err);
    else
        im->in_flight++;
}

/* slots[0] holds the first chunk. */
static void put_all(struct importer *im)
{
    struct slot *slot = &im->slots[0];
    progress_begin(&im->progress, im->args, "import", "rows");
    while (!im->failed && !interrupted && slot->chunk.rows > 0) {
        submit(im, slot);
        while (im->in_flight == IN_FLIGHT && !im->failed)
            settle_oldest(im);
        if (im->failed) break;
        slot = &im->slots[(im->oldest + im->in_flight) % (IN_FLIGHT + 1)];
        if (reader_fill(&im->reader, &slot->chunk) != 0) im->failed = true;
    }
    while (im->in_flight > 0)
        settle_oldest(im);
    progress_end(&im->progress);
}

/* ---- before and after ---- */

static int set_limits(struct importer *im)
{
    const struct args *args = im->args;
    uint64_t rows = DEFAULT_ROWS, limit = UINT64_MAX;
    int status = args_u64(args, OPT_BATCH, 1, UINT32_MAX, &rows);
    if (status == EXIT_OK) status = args_u64(args, OPT_LIMIT, 1, UINT64_MAX, &limit);
    if (status == EXIT_OK) status = args_u64(args, OPT_SKIP, 0, UINT64_MAX, &im->skipped);
    if (status == EXIT_OK) status = args_durability(args, &im->options.durability);
    im->reader.limit = limit;
    size_t most = args_has(args, OPT_BATCH) ? MOST_BYTES : DEFAULT_BYTES;
    for (size_t i = 0; i <= IN_FLIGHT; i++) {
        im->slots[i].chunk.max_rows = (size_t)rows;
        im->slots[i].chunk.max_bytes = most;
    }
    if (status == EXIT_OK && args_has(args, OPT_BATCH) && rows > MOST_BYTES / (im->reader.dim * sizeof(float) + 8))
        note(args, "a batch of %" PRIu64 " rows would be over 64 MB; batches end at 48 MB instead", rows);
    return status;
}

static int open_ids(struct importer *im)
{
    const char *ids = im->args->value[OPT_IDS];
    if (!ids) return EXIT_OK;
    im->reader.no_row_ids = true;
    if (strcmp(ids, "assigned") == 0) return EXIT_OK;
    if (strcmp(ids, "-") == 0 && strcmp(im->args->positional[1], "-") == 0)
        return usage_error(im->args, "the rows and --ids cannot both come from standard input");
    if (strcmp(ids, "rows") == 0)
        im->reader.ids_are_rows = true;
    else if (!(im->reader.ids = ids_file_open(ids, im->reader.rows)))
        return EXIT_FAILED;
    return EXIT_OK;
}

/* Everything that can be refused before the database is touched. */
static int prepare(struct importer *im)
{
    const struct args *args = im->args;
    pomai_metric metric = POMAI_METRIC_L2;
    pomai_dtype dtype = POMAI_DTYPE_FLOAT32;
    pomai_index_kind index = POMAI_INDEX_AUTO;
    uint64_t ttl_ns = 0;
    int status = args_metric(args, &metric);
    if (status == EXIT_OK) status = args_dtype(args, &dtype);
    if (status == EXIT_OK) status = args_ttl(args, &ttl_ns);
    if (status == EXIT_OK) status = args_index(args, &index);
    if (status == EXIT_OK) status = reader_open(&im->reader, args, args->positional[1], args->value[OPT_FORMAT]);
    if (status == EXIT_OK) status = set_limits(im);
    if (status == EXIT_OK) status = open_ids(im);
    if (status != EXIT_OK) return status;
    struct chunk *chunk = &im->slots[0].chunk;
    if (reader_skip(&im->reader, chunk, im->skipped) != 0 || reader_fill(&im->reader, chunk) != 0) return EXIT_FAILED;
    if (chunk->rows == 0) {
        complain("%s has no rows%s; there is nothing to import", im->reader.in.path, im->skipped ? " left" : "");
        return EXIT_FAILED;
    }
    if (args_has(args, OPT_LEDGER) && !(im->ledger = fopen(args->value[OPT_LEDGER], "a"))) {
        complain("the ledger %s cannot be opened: %s", args->value[OPT_LEDGER], strerror(errno));
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static void report_failure(const struct importer *im)
{
    char number[32];
    if (im->rows == 0)
        complain("no row of this file was stored%s",
                 im->unknown ? " for sure; search or get after opening again shows the outcome" : "");
    else if (im->rows == im->whole_to)
        complain("the %s rows before that were acknowledged and stay; once mended, go on with --skip %" PRIu64,
                 grouped(im->rows, number), im->skipped + im->whole_to);
    else
        complain("%s rows were acknowledged and stay, among them the first %" PRIu64 " of the file from row %" PRIu64
                 " on",
                 grouped(im->rows, number), im->whole_to, im->skipped);
}

static void print_summary(const struct importer *im, double seconds)
{
    double rate = (double)im->rows / seconds;
    double megabytes = (double)im->rows * im->info.dim * sizeof(float) / 1e6 / seconds;
    char rows[32], rate_text[32];
    if (!args_has(im->args, OPT_JSON)) {
        if (im->rows > 0 && im->failed)
            printf("imported %s rows of %u dimensions into collection '%s' before the %s (%" PRIu64 " batches, %s)\n",
                   grouped(im->rows, rows), im->info.dim, im->info.name, interrupted ? "interruption" : "failure",
                   im->batches, durability_name(im->level));
        else if (im->rows > 0)
            printf("imported %s rows of %u dimensions into collection '%s' in %.3f s: %s vec/s, %.1f MB/s "
                   "(%" PRIu64 " batches, %s)\n",
                   grouped(im->rows, rows), im->info.dim, im->info.name, seconds, grouped((uint64_t)rate, rate_text),
                   megabytes, im->batches, durability_name(im->level));
        return;
    }
    printf("{\"ok\":%s", im->failed || interrupted ? "false" : "true");
    if (im->failed) {
        printf(",\"error\":");
        print_json_string(first_complaint());
    }
    printf(",\"collection\":");
    print_json_string(collection_name(im->args));
    printf(",\"rows\":%" PRIu64 ",\"dim\":%u,\"batches\":%" PRIu64 ",\"seconds\":%.6f,\"vec_per_s\":%.1f,"
           "\"mb_per_s\":%.3f,\"durability\":\"%s\",\"created\":%s",
           im->rows, im->info.dim, im->batches, seconds, im->batches ? rate : 0, im->batches ? megabytes : 0,
           im->batches ? durability_name(im->level) : "none", im->made ? "true" : "false");
    if (im->slots[0].chunk.kind == CHUNK_NO_IDS && im->batches > 0) printf(",\"first_id\":%" PRIu64, im->first_id);
    puts("}");
}

static int finish(struct importer *im, int status, double seconds)
{
    pomai_error err;
    if (status == EXIT_OK && im->failed) {
        report_failure(im);
        status = EXIT_FAILED;
    } else if (status == EXIT_OK && interrupted) {
        complain("interrupted; %" PRIu64 " rows were acknowledged and stay; go on with --skip %" PRIu64, im->rows,
                 im->skipped + im->whole_to);
        status = EXIT_INTERRUPTED;
    }
    im->failed = im->failed || status != EXIT_OK;
    if (im->made && im->rows == 0 && !im->unknown) {
        pomai_collection_close(im->collection);
        im->collection = NULL;
        if (pomai_collection_drop(im->db, collection_name(im->args), &err) == POMAI_OK) im->made = false;
    }
    status = db_close(im->db, im->collection, status);
    im->failed = im->failed || status != EXIT_OK;
    if (status != EXIT_USAGE) print_summary(im, seconds);
    if (im->ledger && fclose(im->ledger) != 0 && status == EXIT_OK) {
        complain("the ledger %s could not be written: %s", im->args->value[OPT_LEDGER], strerror(errno));
        status = EXIT_FAILED;
    }
    reader_close(&im->reader);
    for (size_t i = 0; i <= IN_FLIGHT; i++)
        chunk_free(&im->slots[i].chunk);
    return status;
}

static int run(const struct args *args)
{
    struct importer *im = must_realloc(NULL, 1, sizeof *im);
    memset(im, 0, sizeof *im);
    im->args = args;
    im->options = (pomai_write_options)POMAI_WRITE_OPTIONS_INIT;
    im->reader.in.fd = -1;
    im->began = now_seconds();
    int status = prepare(im);
    if (status == EXIT_OK) status = db_open(args, true, true, &im->db);
    if (status == EXIT_OK) status = open_collection(im, &im->slots[0].chunk);
    if (status == EXIT_OK) {
        /* The second Ctrl-C kills, as ever; what was acknowledged is safe from that too. */
        im->reader.in.stop = &interrupted;
        struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGINT, &action, NULL);
        put_all(im);
    }
    status = finish(im, status, now_seconds() - im->began);
    free(im);
    return status;
}

const struct verb verb_import = {
    .name = "import",
    .synopsis = "DB FILE [options]",
    .brief = "put the vectors of a file into a collection",
    .about =
        "Puts every row of FILE into a collection, in batches that are whole or absent, whatever happens.\n"
        "Makes the database and the collection if they are not there: dimension and kind of ids from the\n"
        "file, all else as 'pomai create' would from --metric, --dtype, --ttl, --cluster-by and --index. Rows\n"
        "whose ids are there already replace them; only an id twice in one batch (see --batch) is refused. What\n"
        "is refused in the first batch leaves no row and no collection, but a database made for it may stay, empty.\n"
        "\n"
        "FILE is .npy, .fvecs, .bvecs, .csv, .tsv, .jsonl or idx3-ubyte, plain or gzip, or - for standard\n"
        "input, with --format. Without ids in the file or --ids, the engine assigns them;\n"
        "with both, the file is refused, whatever --ids says.\n"
        "\n"
        "A line of .jsonl is {\"id\": 7 or \"a\", \"vector\": [...]} with \"metadata\": {...} or any other keys,\n"
        "which are kept as the row's document.\n"
        "What 'pomai export' writes reads back as it was.\n"
        "\n"
        "A .csv of numbers alone is a vector a line. If its first line names the columns, 'id' holds the ids\n"
        "and 'vector' the vectors, as JSON arrays; without 'vector', the columns with numbers in the first row\n"
        "are the vector and must stand side by side. The other columns are kept as the row's document. A column\n"
        "without a value in the first row may hold no number further down.",
    .examples = "  pomai import my.db vectors.npy\n"
                "  pomai import my.db docs.jsonl -c docs --metric cosine",
    .options = TAKES(COLLECTION) | TAKES(METRIC) | TAKES(DTYPE) | TAKES(TTL) | TAKES(CLUSTER_BY) | TAKES(INDEX) |
               TAKES(FORMAT) | TAKES(IDS) | TAKES(BATCH) | TAKES(LIMIT) | TAKES(SKIP) | TAKES(LEDGER) |
               TAKES(DURABILITY) | TAKES(SHARDS) | TAKES(JSON) | TAKES(QUIET),
    .positional_min = 2,
    .positional_max = 2,
    .run = run,
};
