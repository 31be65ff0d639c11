/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands of `pomai` share. Words used throughout:
 *   verb   a subcommand; one file cmd_<verb>.c each, listed in the table of main.c
 *   row    a vector of an input file with its id and document; rows count from 0, lines of text from 1
 *   chunk  the rows that go to the engine in one call
 */
#ifndef POMAI_CLI_H
#define POMAI_CLI_H

#include <pomai/pomai.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* ---- arguments (args.c) ---- */

/* Every option of every verb: X(KEY, long name, letter or 0, argument or NULL for a flag, help). Two keys may share a
 * name when no verb takes both. */
#define OPTION_TABLE(X)                                                                                                \
    X(COLLECTION, "collection", 'c', "NAME", "the collection (default: default)")                                      \
    X(DIM, "dim", 'd', "D", "dimensions of a vector, 1 to 65536")                                                      \
    X(METRIC, "metric", 'm', "l2|ip|cosine", "distance of a new collection (default: l2)")                             \
    X(ID_KIND, "ids", 0, "u64|string", "kind of ids of the new collection (default: u64)")                             \
    X(DTYPE, "dtype", 0, "float32|float16|int8", "type of the new collection's vectors (default: float32)")            \
    X(TTL, "ttl", 0, "TIME", "rows of the new collection vanish so long after they were put: 30s 5m 12h 7d")           \
    X(CLUSTER_BY, "cluster-by", 0, "PATH", "rows of the new collection with the same value there lie together")        \
    X(INDEX, "index", 0, "auto|exact|codes|graph", "indexes of the new collection (default: auto)")                    \
    X(SHARDS, "shards", 0, "N", "shards of a new database, 1 to 256 (default: cores, at most 8)")                      \
    X(FORMAT, "format", 'f', "npy|fvecs|bvecs|csv|jsonl|idx", "format of the file (default: by its name)")             \
    X(IDS, "ids", 0, "FILE|assigned|rows", "ids: from a .npy or text file, assigned, or the row numbers")              \
    X(BATCH, "batch", 'b', "ROWS", "rows a call (default: about 4 MB of vectors; a search: 1000)")                     \
    X(LIMIT, "limit", 'n', "N", "stop after N rows of the file")                                                       \
    X(ROW_LIMIT, "limit", 'n', "N", "stop after N rows")                                                               \
    X(SKIP, "skip", 0, "N", "pass over the first N rows of the file")                                                  \
    X(OUTPUT, "output", 'o', "FILE", "write to FILE (default: standard output)")                                       \
    X(LEDGER, "ledger", 0, "FILE", "append 'first_id rows file_row' for each acknowledged batch")                      \
    X(DURABILITY, "durability", 0, "sync|group|os", "what a write survives when acknowledged (default: sync)")         \
    X(VECTOR, "vector", 'v', "JSON", "one query, as a JSON array of numbers")                                          \
    X(QUERIES, "queries", 0, "FILE", "many queries: a file of any import format")                                      \
    X(K, "k", 'k', "K", "neighbours of each query (default: 10)")                                                      \
    X(WHERE, "where", 'w', "JSON|@FILE|-", "only rows whose documents match this filter, or that in FILE, or stdin")   \
    X(ALL, "all", 0, NULL, "all rows of the collection")                                                               \
    X(SET, "set", 0, "JSON", "merge this object into the documents: its keys are set, and null removes one")           \
    X(DOCUMENT, "document", 0, "TEXT", "the new document, in place of the old one; '' for none")                       \
    X(DOCUMENTS, "documents", 0, NULL, "show the documents of the neighbours")                                         \
    X(DEADLINE, "deadline-ms", 0, "X", "cut each call after X milliseconds and say so")                                \
    X(RECALL, "recall", 0, "R", "the share of the nearest that must be found, such as 0.95 (default: all, exactly)")   \
    X(EF, "ef", 0, "N", "instead of --recall: how many candidates a walk through a graph keeps")                       \
    X(EXPLAIN, "explain", 0, NULL, "say what each search did, as JSON")                                                \
    X(TRUTH, "truth", 0, "FILE", "true neighbours (.ivecs, one record a query): print the recall")                     \
    X(THREADS, "threads", 't', "N", "threads that search, this one included (default: cores)")                         \
    X(ROWS, "rows", 0, NULL, "a line for each row, too")                                                               \
    X(ACCEPT_DAMAGE, "accept-damage", 0, NULL, "show what lies before damage instead of refusing")                     \
    X(READ_ONLY, "read-only", 0, NULL, "change nothing on disk (this verb never does)")                                \
    X(JSON, "json", 'j', NULL, "print JSON, one object a line")                                                        \
    X(QUIET, "quiet", 'q', NULL, "no progress and no notes; a search prints only its summary")                         \
    X(WORDS, "words", 0, NULL, "the words that can come next, for shell completion")                                   \
    X(HELP, "help", 'h', NULL, "this text")

enum option_key {
#define OPTION_X(key, name, letter, argument, help) OPT_##key,
    OPTION_TABLE(OPTION_X)
#undef OPTION_X
        OPT_COUNT
};
#define TAKES(key) (UINT64_C(1) << OPT_##key)

struct args;

struct verb {
    const char *name;
    const char *synopsis; /* what follows `pomai <name>` */
    const char *brief;    /* one line */
    const char *about;    /* paragraphs */
    const char *examples;
    uint64_t options; /* TAKES() bits; --help is always taken */
    size_t positional_min;
    size_t positional_max;
    int (*run)(const struct args *args);
};

struct args {
    const struct verb *verb;
    const char *value[OPT_COUNT]; /* NULL when not given; "" for a flag */
    const char *const *positional;
    size_t positional_count;
    char *filter; /* of args_filter; value[OPT_WHERE] then */
};

/* Parses what follows the verb. `positional` has room for `count` entries. EXIT_OK or EXIT_USAGE, having said why. */
int args_parse(struct args *args, const struct verb *verb, size_t count, char *const *words, const char **positional);
/* Reads a --where that names a file, or is - for standard input. EXIT_OK, EXIT_USAGE or EXIT_FAILED, having said why;
 * args->filter is to be freed in any case. */
int args_filter(struct args *args);
void args_print_help(FILE *out, const struct verb *verb);
/* Prints "--name" of each option that the verb takes, one a line. */
void args_print_words(FILE *out, const struct verb *verb);
static inline bool args_has(const struct args *args, enum option_key key)
{
    return args->value[key] != NULL;
}
/* These leave *value alone when the option was not given. EXIT_OK or EXIT_USAGE, having said why. */
int args_u64(const struct args *args, enum option_key key, uint64_t min, uint64_t max, uint64_t *value);
int args_metric(const struct args *args, pomai_metric *metric);
int args_id_kind(const struct args *args, pomai_id_kind *kind);
int args_dtype(const struct args *args, pomai_dtype *dtype);
int args_index(const struct args *args, pomai_index_kind *index);
int args_durability(const struct args *args, pomai_durability *level);
/* "7d" and so on, as nanoseconds. */
int args_ttl(const struct args *args, uint64_t *nanoseconds);
/* EXIT_OK with *share as it was if the option is not given. */
int args_share(const struct args *args, enum option_key key, float *share);
/* Which rows: ids behind the database, or --where, or --all; one of them, and --where is not {}. *filter is NULL for
 * ids. */
int args_rows(const struct args *args, const char **filter);
int args_milliseconds(const struct args *args, enum option_key key, uint64_t *microseconds);
/* Says what is wrong with the command line and where help is. Returns EXIT_USAGE. */
int usage_error(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Decimal digits only, no sign, no overflow. */
bool parse_u64(const char *text, size_t size, uint64_t *value);

extern const struct verb *const verbs[]; /* main.c; ends with NULL */
const struct verb *verb_find(const char *name);

/* ---- saying things (say.c) ---- */

/* Prints "pomai: <sentence>" on stderr, control characters masked, and keeps it for last_complaint(). */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a failure of the library: its sentence, then the name of its status. Returns EXIT_FAILED. */
int complain_error(const pomai_error *err);
/* The first sentence complained of; "" if none. */
const char *first_complaint(void);
/* A remark on stderr that is no error; silent under --quiet. */
void note(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- what was meant (near.c) ---- */

/* The name that is most like a word; NULL: none is. */
struct near {
    const char *word, *found;
    size_t size, best;
};
void near_begin(struct near *near, const char *word, size_t size);
void near_look(struct near *near, const char *name);
/* cmd_help.c. Returns EXIT_USAGE. */
int complain_no_verb(const char *word);
/* Returns EXIT_FAILED. */
int complain_no_collection(const struct args *args, pomai_db *db, const char *name, bool to_drop);

double now_seconds(void);
/* 60000 as "60,000". The text lives in `buffer`. */
const char *grouped(uint64_t number, char buffer[32]);
/* 12345678 as "12.3 MB". */
const char *byte_text(double bytes, char buffer[32]);
/* 90 s as "90s", 604,800 s as "7d", nothing as "none". */
const char *ttl_text(uint64_t nanoseconds, char buffer[32]);
const char *metric_name(pomai_metric metric);
const char *id_kind_name(pomai_id_kind kind);
const char *dtype_name(pomai_dtype dtype);
const char *index_name(pomai_index_kind index);

const char *durability_name(pomai_durability level);

/* A bar on stderr while it is a terminal, otherwise silent. */
struct progress {
    const char *what;
    const char *unit;
    double began;
    double drawn;
    bool on;
};
void progress_begin(struct progress *progress, const struct args *args, const char *what, const char *unit);
/* `fraction` of the whole that is done, negative if unknown. Draws ten times a second at most. */
void progress_update(struct progress *progress, uint64_t done, double fraction);
void progress_end(struct progress *progress);

/* Memory that must be there: on failure says so and exits. */
void *must_realloc(void *old, size_t count, size_t size);
/* Grows an array to at least `need` entries, at least doubling. */
void *must_grow(void *old, size_t *capacity, size_t need, size_t size);

/* ---- JSON and text on stdout (text.c) ---- */

struct text {
    char *data;
    size_t size;
    size_t capacity;
};
void text_add(struct text *text, const void *bytes, size_t size);
void text_free(struct text *text);
struct json_t;
/* Appends compact JSON with the shortest digits that read back as the same numbers. */
void text_add_json(struct text *text, const struct json_t *value);
void text_add_double(struct text *text, double number);
/* The shortest digits that read back as the same float, also by way of a double. */
void text_add_float(struct text *text, float number);
void text_add_hex(struct text *text, pomai_bytes bytes);

void print_json_string(const char *string);
/* ,"<key>":<value>. If the bytes are no UTF-8, "<key>_hex" and the bytes in hexadecimal. */
void print_json_id(const char *key, pomai_bytes id);
/* The same for a document: as the JSON it holds, or as a string if it holds none. */
void print_json_document(const char *key, pomai_bytes document);
void print_double(double number);
void print_float(float number);
/* For people: control characters and broken UTF-8 as \xNN; at most `limit` bytes, then "..." */
void print_safe(pomai_bytes bytes, size_t limit);
void print_stamp(uint64_t stamp_ns);
/* Any JSON as indented text; arrays of flat objects as tables. False if it is no JSON. */
bool print_readable(const char *json);

/* ---- JSON as it is written (written.c) ---- */

/* A part of a JSON text. */
struct written {
    const char *data;
    size_t size;
};
struct json_error_t;
/* Parses; numbers that jansson cannot hold are 0, but for those of a row (of a .jsonl) that are no document's. */
struct json_t *written_load(struct written json, bool row, size_t flags, struct json_error_t *error);
/* The next member of an object that was parsed, whose rest this is; false behind the last. The key has its quotes. */
bool written_member(struct written *rest, struct written *key, struct written *value);
bool written_is(struct written key, const char *name);
/* Appends JSON that was parsed, without the blanks between its words. */
void text_add_written(struct text *text, struct written json);

/* ---- the database (open.c) ---- */

/* Opens args->positional[0]. Read-only, and never making a database, unless `write`. */
int db_open(const struct args *args, bool write, bool make, pomai_db **db);
/* Opens the collection that --collection names. */
int db_collection(const struct args *args, pomai_db *db, pomai_collection **collection, pomai_collection_info *info);
const char *collection_name(const struct args *args);
/* Closes both (either may be NULL); returns `status`, or EXIT_FAILED if closing failed. */
int db_close(pomai_db *db, pomai_collection *collection, int status);

/* Ids given on the command line, turned into the kind of the collection. */
struct id_words {
    pomai_ids ids;
    uint64_t *u64;
    pomai_bytes *string;
};
int id_words_parse(const struct args *args, size_t from, pomai_id_kind kind, struct id_words *words);
void id_words_free(struct id_words *words);

#endif
