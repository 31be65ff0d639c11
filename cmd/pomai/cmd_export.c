/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pomai export: all rows of a collection into a .jsonl that `pomai import` reads back as they were, but for their
 * commit stamps. A file gets its name when it is whole and synced.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CALL_BYTES = 4 * 1024 * 1024, IMPORT_LINE = 8 * 1024 * 1024 };

struct exporter {
    const struct args *args;
    pomai_db *db;
    pomai_collection *collection;
    pomai_collection_info info;
    const char *path; /* NULL: standard output */
    char *unfinished; /* what the file is called until it is whole; NULL: no name is changed */
    FILE *out;
    struct text line;
    struct progress progress;
    uint64_t rows, bytes;
    uint64_t long_lines; /* that an import refuses */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- a row ---- */

static void add_words(struct text *line, const char *words)
{
    text_add(line, words, strlen(words));
}

static void add_number(struct text *line, const char *key, uint64_t number)
{
    char buffer[96];
    /* Most readers of JSON know no whole numbers above. */
    const char *quote = number > INT64_MAX ? "\"" : "";
    snprintf(buffer, sizeof buffer, "\"%s\":%s%" PRIu64 "%s", key, quote, number, quote);
    add_words(line, buffer);
}

/* "<key>": "...", or false if the bytes are no UTF-8. */
static bool add_text(struct text *line, const char *key, pomai_bytes bytes)
{
    json_t *value = json_stringn(bytes.data, bytes.size);
    if (!value) return false;
    add_words(line, "\"");
    add_words(line, key);
    add_words(line, "\":");
    text_add_json(line, value);
    json_decref(value);
    return true;
}

static void add_hex(struct text *line, const char *key, pomai_bytes bytes)
{
    add_words(line, "\"");
    add_words(line, key);
    add_words(line, "\":\"");
    text_add_hex(line, bytes);
    add_words(line, "\"");
}

/* Whether an import of this object, which leaves out blanks, keeps these bytes. In its line it is a level deeper, of
 * which there is a most. */
static bool reads_back(pomai_bytes document)
{
    struct text text = {0};
    json_error_t error;
    add_words(&text, "[");
    text_add(&text, document.data, document.size);
    add_words(&text, "]");
    json_t *line =
        written_load((struct written){text.data, text.size}, false, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    bool same = json_array_size(line) == 1 && json_is_object(json_array_get(line, 0));
    text.size = 0;
    if (same) text_add_written(&text, (struct written){document.data, document.size});
    same = same && text.size == document.size && memcmp(text.data, document.data, text.size) == 0;
    text_free(&text);
    json_decref(line);
    return same;
}

static void add_document(struct text *line, pomai_bytes document)
{
    if (document.size == 0) return;
    add_words(line, ",");
    if (reads_back(document)) {
        add_words(line, "\"metadata\":");
        text_add(line, document.data, document.size);
    } else if (!add_text(line, "document_text", document)) {
        add_hex(line, "document_hex", document);
    }
}

static void make_line(const struct exporter *ex, const pomai_rows *rows, size_t i, struct text *line)
{
    const float *vector = pomai_rows_vector(rows, i);
    const uint64_t id = pomai_rows_id(rows, i), expiry = pomai_rows_expiry(rows, i);
    const pomai_bytes string_id = pomai_rows_string_id(rows, i);
    line->size = 0;
    add_words(line, "{");
    if (string_id.size == 0)
        add_number(line, id > INT64_MAX ? "id_u64" : "id", id);
    else if (!add_text(line, "id", string_id))
        add_hex(line, "id_hex", string_id);
    add_words(line, ",\"vector\":[");
    for (uint32_t d = 0; d < pomai_rows_dim(rows); d++) {
        if (d > 0) text_add(line, ",", 1);
        text_add_float(line, vector[d]);
    }
    add_words(line, "]");
    if (expiry != 0 || ex->info.ttl_ns != 0) { /* else the import would give it a time to live */
        add_words(line, ",");
        add_number(line, "expiry_ns", expiry);
    }
    add_document(line, pomai_rows_document(rows, i));
    add_words(line, "}\n");
}

/* ---- the file ---- */

static int cannot_write(const struct exporter *ex)
{
    complain("%s could not be written: %s", ex->path ? ex->path : "standard output", strerror(errno));
    return EXIT_FAILED;
}

static int open_output(struct exporter *ex)
{
    struct stat st;
    ex->out = stdout;
    if (!ex->path) return EXIT_OK;
    const char *name = ex->path;
    if (stat(ex->path, &st) != 0 || S_ISREG(st.st_mode)) { /* a pipe or device keeps its name */
        const size_t size = strlen(ex->path) + sizeof ".unfinished";
        name = ex->unfinished = must_realloc(NULL, size, 1);
        snprintf(ex->unfinished, size, "%s.unfinished", ex->path);
    }
    ex->out = fopen(name, "w");
    return ex->out ? EXIT_OK : cannot_write(ex);
}

static int close_output(struct exporter *ex, int status)
{
    if (!ex->path || !ex->out) return status;
    const bool whole = status == EXIT_OK;
    if (whole && (fflush(ex->out) != 0 || (ex->unfinished && fsync(fileno(ex->out)) != 0))) status = cannot_write(ex);
    if (fclose(ex->out) != 0 && status == EXIT_OK) status = cannot_write(ex);
    if (ex->unfinished && status == EXIT_OK && rename(ex->unfinished, ex->path) != 0) status = cannot_write(ex);
    if (ex->unfinished && status != EXIT_OK) (void)remove(ex->unfinished);
    return status;
}

/* ---- all rows ---- */

static int write_rows(struct exporter *ex, const pomai_rows *rows)
{
    for (size_t i = 0; i < pomai_rows_count(rows); i++) {
        make_line(ex, rows, i, &ex->line);
        if (fwrite(ex->line.data, 1, ex->line.size, ex->out) != ex->line.size) return cannot_write(ex);
        ex->bytes += ex->line.size;
        ex->long_lines += ex->line.size > IMPORT_LINE;
    }
    ex->rows += pomai_rows_count(rows);
    progress_update(&ex->progress, ex->rows,
                    ex->info.rows && !args_has(ex->args, OPT_WHERE) ? (double)ex->rows / (double)ex->info.rows : -1);
    return EXIT_OK;
}

static int complain_interrupted(void)
{
    complain("interrupted; nothing whole was written");
    return EXIT_INTERRUPTED;
}

static int write_all(struct exporter *ex)
{
    pomai_error err;
    pomai_scan *scan = NULL;
    pomai_rows *rows = NULL;
    const uint64_t most = CALL_BYTES / (ex->info.dim * sizeof(float) + 256) + 1;
    pomai_scan_options options = POMAI_SCAN_OPTIONS_INIT;
    options.filter = ex->args->value[OPT_WHERE];
    options.filter_size = options.filter ? strlen(options.filter) : 0;
    options.cancel = &interrupted; /* it may look for rows for long */
    if (pomai_scan_open(ex->collection, &options, &scan, &err) != POMAI_OK) return complain_error(&err);
    int status = EXIT_OK;
    progress_begin(&ex->progress, ex->args, "export", "rows");
    while (status == EXIT_OK) {
        if (interrupted) {
            status = complain_interrupted();
        } else if (pomai_scan_next(scan, most, &rows, &err) != POMAI_OK) {
            status = interrupted ? complain_interrupted() : complain_error(&err);
        } else if (!rows) {
            break;
        } else {
            status = write_rows(ex, rows);
        }
        pomai_rows_free(rows);
        rows = NULL;
    }
    progress_end(&ex->progress);
    pomai_scan_close(scan);
    return status;
}

static void print_summary(const struct exporter *ex, int status, double seconds)
{
    char rows[32], bytes[32];
    if (!ex->path) return; /* standard output has the rows */
    if (args_has(ex->args, OPT_JSON)) {
        printf("{\"ok\":%s", status == EXIT_OK ? "true" : "false");
        if (status != EXIT_OK) {
            printf(",\"error\":");
            print_json_string(first_complaint());
        }
        printf(",\"collection\":");
        print_json_string(collection_name(ex->args));
        printf(",\"file\":");
        print_json_string(ex->path);
        printf(",\"rows\":%" PRIu64 ",\"dim\":%u,\"bytes\":%" PRIu64 ",\"seconds\":%.6f}\n", ex->rows, ex->info.dim,
               ex->bytes, seconds);
    } else if (status == EXIT_OK) {
        printf("exported %s rows of %u dimensions from collection '%s' to %s (%s) in %.3f s\n", grouped(ex->rows, rows),
               ex->info.dim, ex->info.name, ex->path, byte_text((double)ex->bytes, bytes), seconds);
    }
}

/* Names under which 'import' would look for something else. */
static bool is_other_format(const char *path)
{
    static const char *const names[] = {".csv", ".tsv", ".npy",   ".fvecs",   ".bvecs",  ".gz",
                                        ".ipc", ".idx", ".arrow", ".parquet", ".feather"};
    const size_t size = strlen(path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const size_t n = strlen(names[i]);
        if (size > n && strcasecmp(path + size - n, names[i]) == 0) return true;
    }
    return false;
}

static int run(const struct args *args)
{
    struct exporter ex = {.args = args};
    const double began = now_seconds();
    if (args_has(args, OPT_OUTPUT) && strcmp(args->value[OPT_OUTPUT], "-") != 0) ex.path = args->value[OPT_OUTPUT];
    if (!ex.path && args_has(args, OPT_JSON))
        return usage_error(args, "--json is a summary on standard output, where the rows go; add --output FILE");
    if (ex.path && is_other_format(ex.path))
        return usage_error(
            args, "export writes JSON lines: name the file .jsonl (.parquet and .arrow: 'python -m pomai export')");
    int status = db_open(args, false, false, &ex.db);
    if (status == EXIT_OK) status = db_collection(args, ex.db, &ex.collection, &ex.info);
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL); /* before there is a file that would stay */
    if (status == EXIT_OK) status = open_output(&ex);
    if (status == EXIT_OK) status = write_all(&ex);
    status = close_output(&ex, status);
    if (ex.long_lines > 0)
        note(args, "%" PRIu64 " rows are lines of over 8 MiB, which 'pomai import' refuses", ex.long_lines);
    status = db_close(ex.db, ex.collection, status);
    if (status != EXIT_USAGE) print_summary(&ex, status, now_seconds() - began);
    text_free(&ex.line);
    free(ex.unfinished);
    return status;
}

const struct verb verb_export = {
    .name = "export",
    .synopsis = "DB [options]",
    .brief = "write the rows of a collection into a file",
    .about =
        "Writes all rows of a collection, or those whose documents match --where (docs/filter.md has the language),\n"
        "as they are when it begins, in no promised order: a line of JSON each,\n"
        "which 'pomai import' reads back as it was: id, vector, document, expiry. FILE gets its name when it is\n"
        "whole and on the disk. Opens the database read-only.\n"
        "\n"
        "A line is {\"id\": 7 or \"a\", \"vector\": [...]}, with the document as \"metadata\" if it is a JSON object "
        "as\n"
        "'pomai import' would write it, else as \"document_text\"; and with \"expiry_ns\", if the row has one. What\n"
        "is no UTF-8 is under \"id_hex\" or \"document_hex\", and ids above 2^63-1 are text under \"id_u64\".",
    .examples = "  pomai export my.db --output rows.jsonl\n"
                "  pomai export my.db -c docs | gzip > docs.jsonl.gz\n"
                "  pomai export my.db --where '{\"price\": {\"$lt\": 10}}' --output cheap.jsonl",
    .options = TAKES(COLLECTION) | TAKES(WHERE) | TAKES(OUTPUT) | TAKES(ACCEPT_DAMAGE) | TAKES(READ_ONLY) |
               TAKES(JSON) | TAKES(QUIET),
    .positional_min = 1,
    .positional_max = 1,
    .run = run,
};
