/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines: --name VALUE, --name=VALUE, -x VALUE, -xVALUE, flags; `--` ends the options. The last one given wins.
 */
#include "read.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FILTER_BYTES = 16 << 20 }; /* of a filter, as the library has it */

static const struct {
    const char *name;
    char letter;
    const char *argument;
    const char *help;
} options[OPT_COUNT] = {
#define OPTION_X(key, name, letter, argument, help) {name, letter, argument, help},
    OPTION_TABLE(OPTION_X)
#undef OPTION_X
};
_Static_assert(OPT_COUNT <= 64, "struct verb keeps the options of a verb in 64 bits");

static bool takes(const struct verb *verb, int key)
{
    return key == OPT_HELP || (verb->options >> key & 1);
}

int usage_error(const struct args *args, const char *format, ...)
{
    char sentence[768];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    const size_t size = strlen(sentence);
    complain("%s%s see 'pomai help %s'", sentence, size > 0 && sentence[size - 1] == '?' ? "" : ";", args->verb->name);
    return EXIT_USAGE;
}

/* The option that `word` (after its dashes) begins with, and the value after '=' or the letter; -1 if there is none. */
static int find_option(const struct verb *verb, const char *word, bool is_long, const char **value)
{
    size_t size = is_long ? strcspn(word, "=") : 1;
    for (int key = 0; key < OPT_COUNT; key++) {
        if (!takes(verb, key)) continue;
        if (is_long ? strlen(options[key].name) == size && memcmp(options[key].name, word, size) == 0
                    : options[key].letter != 0 && options[key].letter == word[0]) {
            *value = word[size] ? word + size + (is_long ? 1 : 0) : NULL;
            return key;
        }
    }
    return -1;
}

static int no_option(const struct args *args, const char *word)
{
    const char *name = word + strspn(word, "-");
    struct near near;
    near_begin(&near, name, strcspn(name, "="));
    for (int key = 0; key < OPT_COUNT; key++)
        if (takes(args->verb, key)) near_look(&near, options[key].name);
    if (!near.found) return usage_error(args, "'pomai %s' has no option '%.200s'", args->verb->name, word);
    return usage_error(args, "'pomai %s' has no option '%.200s'; did you mean --%s?", args->verb->name, word,
                       near.found);
}

/* Takes words[*at], an option, and its value. */
static int parse_option(struct args *args, size_t count, char *const *words, size_t *at)
{
    const char *word = words[*at];
    bool is_long = word[1] == '-';
    const char *value;
    int key = find_option(args->verb, word + (is_long ? 2 : 1), is_long, &value);
    if (key < 0) return no_option(args, word);
    if (!options[key].argument) {
        if (value) return usage_error(args, "--%s takes no value, but '%s' gives one", options[key].name, word);
        value = "";
    } else if (!value) {
        if (*at + 1 >= count) return usage_error(args, "%s needs a value: %s", word, options[key].argument);
        value = words[++*at];
    }
    /* who gives two means both, and the rows of one alone might be deleted */
    if (key == OPT_WHERE && args->value[key] != NULL)
        return usage_error(args, "--where is given twice; put the filters together: {\"$and\": [..., ...]}");
    args->value[key] = value;
    return EXIT_OK;
}

int args_parse(struct args *args, const struct verb *verb, size_t count, char *const *words, const char **positional)
{
    memset(args, 0, sizeof *args);
    args->verb = verb;
    args->positional = positional;
    bool only_positional = false;
    for (size_t at = 0; at < count; at++) {
        const char *word = words[at];
        if (!only_positional && strcmp(word, "--") == 0) {
            only_positional = true;
        } else if (!only_positional && word[0] == '-' && word[1]) {
            int status = parse_option(args, count, words, &at);
            if (status != EXIT_OK) return status;
        } else {
            positional[args->positional_count++] = word;
        }
    }
    if (args_has(args, OPT_HELP)) return EXIT_OK;
    if (args->positional_count < verb->positional_min || args->positional_count > verb->positional_max)
        return usage_error(args, "%s arguments; usage: pomai %s %s",
                           args->positional_count < verb->positional_min ? "too few" : "too many", verb->name,
                           verb->synopsis);
    return EXIT_OK;
}

static int read_filter(struct args *args, const char *path)
{
    struct input in;
    size_t size = 0;
    char name[32];
    if (input_open(&in, path) != 0) return EXIT_FAILED;
    args->filter = must_realloc(NULL, FILTER_BYTES + 2, 1);
    const bool failed = input_read(&in, args->filter, FILTER_BYTES + 1, &size) != 0;
    const char *nul = memchr(args->filter, '\0', size);
    if (!failed && size > FILTER_BYTES)
        complain("%s: the filter has more than %s bytes, which is the most", in.path, grouped(FILTER_BYTES, name));
    else if (!failed && nul)
        complain("%s: the filter has a NUL byte, at offset %zu; JSON has none: a string has it as \\u0000", in.path,
                 (size_t)(nul - args->filter));
    input_close(&in);
    if (failed || size > FILTER_BYTES || nul) return EXIT_FAILED;
    args->filter[size] = '\0';
    args->value[OPT_WHERE] = args->filter;
    return EXIT_OK;
}

int args_filter(struct args *args)
{
    const char *where = args->value[OPT_WHERE], *queries = args->value[OPT_QUERIES];
    if (!where || (where[0] != '@' && strcmp(where, "-") != 0)) return EXIT_OK;
    where += where[0] == '@';
    if (!*where) return usage_error(args, "--where @ names no file");
    if (strcmp(where, "-") == 0 && queries && strcmp(queries, "-") == 0)
        return usage_error(args, "--where and --queries cannot both be standard input");
    return read_filter(args, where);
}

void args_print_help(FILE *out, const struct verb *verb)
{
    fprintf(out, "usage: pomai %s %s\n\n%s\n\nOptions:\n", verb->name, verb->synopsis, verb->about);
    for (int key = 0; key < OPT_COUNT; key++) {
        if (!takes(verb, key)) continue;
        char left[64];
        int used = options[key].letter ? snprintf(left, sizeof left, "-%c, ", options[key].letter)
                                       : snprintf(left, sizeof left, "    ");
        snprintf(left + used, sizeof left - (size_t)used, "--%s%s%s", options[key].name,
                 options[key].argument ? " " : "", options[key].argument ? options[key].argument : "");
        fprintf(out, "  %-32s  %s\n", left, options[key].help);
    }
    fprintf(out, "\nExample:\n%s\n", verb->examples);
}

void args_print_words(FILE *out, const struct verb *verb)
{
    for (int key = 0; key < OPT_COUNT; key++)
        if (takes(verb, key)) fprintf(out, "--%s\n", options[key].name);
}

bool parse_u64(const char *text, size_t size, uint64_t *value)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return false;
    }
    *value = number;
    return size > 0;
}

int args_u64(const struct args *args, enum option_key key, uint64_t min, uint64_t max, uint64_t *value)
{
    const char *text = args->value[key];
    if (!text) return EXIT_OK;
    uint64_t number;
    if (!parse_u64(text, strlen(text), &number) || number < min || number > max)
        return usage_error(args, "--%s is '%s', not a whole number from %llu to %llu", options[key].name, text,
                           (unsigned long long)min, (unsigned long long)max);
    *value = number;
    return EXIT_OK;
}

/* {}, {"$and": [{}]}, {"a": {"$nin": []}} and so on: what deletes everything is to be said in words. The engine says
 * what it is: another reader of JSON takes other texts. */
static int refuse_every_row(const struct args *args, const char *filter)
{
    int every;
    pomai_error err;
    if (pomai_filter_is_every_row(filter, strlen(filter), &every, &err) != POMAI_OK) return complain_error(&err);
    return every ? usage_error(args, "this --where is every row: say --all") : EXIT_OK;
}

int args_rows(const struct args *args, const char **filter)
{
    const bool ids = args->positional_count > 1, where = args_has(args, OPT_WHERE), all = args_has(args, OPT_ALL);
    *filter = where ? args->value[OPT_WHERE] : all ? "{}" : NULL;
    if ((int)ids + where + all != 1)
        return usage_error(args, "which rows? give ids, or --where, or --all%s", ids || where || all ? ": one" : "");
    return where ? refuse_every_row(args, *filter) : EXIT_OK;
}

int args_milliseconds(const struct args *args, enum option_key key, uint64_t *microseconds)
{
    const char *text = args->value[key];
    if (!text) return EXIT_OK;
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number >= 0) || number > 1e12)
        return usage_error(args, "--%s is '%s', not a number of milliseconds", options[key].name, text);
    *microseconds = (uint64_t)llround(number * 1000);
    return EXIT_OK;
}

int args_share(const struct args *args, enum option_key key, float *share)
{
    const char *text = args->value[key];
    if (!text) return EXIT_OK;
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number > 0 && number <= 1))
        return usage_error(args, "--%s is '%s', not a number above 0 and at most 1", options[key].name, text);
    *share = (float)number;
    return EXIT_OK;
}

int args_ttl(const struct args *args, uint64_t *nanoseconds)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const char *text = args->value[OPT_TTL];
    if (!text) return EXIT_OK;
    size_t size = strlen(text);
    uint64_t number, unit = 0;
    for (size_t i = 0; size > 1 && i < sizeof units / sizeof units[0]; i++)
        if (text[size - 1] == units[i].letter) unit = units[i].seconds;
    if (unit == 0 || !parse_u64(text, size - 1, &number) || number == 0 ||
        __builtin_mul_overflow(number, unit * UINT64_C(1000000000), &number))
        return usage_error(args, "--ttl is '%s', not a time like 30s, 5m, 12h or 7d", text);
    *nanoseconds = number;
    return EXIT_OK;
}

/* Finds the option's value in `names`, whose entry i stands for numbers[i]. */
static int pick(const struct args *args, enum option_key key, const char *const *names, const int *numbers, int *number)
{
    const char *text = args->value[key];
    if (!text) return EXIT_OK;
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *number = numbers[i];
            return EXIT_OK;
        }
    }
    return usage_error(args, "--%s is '%s'; it takes %s", options[key].name, text, options[key].argument);
}

int args_metric(const struct args *args, pomai_metric *metric)
{
    static const char *const names[] = {"l2", "ip", "cosine", NULL};
    static const int numbers[] = {POMAI_METRIC_L2, POMAI_METRIC_IP, POMAI_METRIC_COSINE};
    int number = (int)*metric;
    int status = pick(args, OPT_METRIC, names, numbers, &number);
    *metric = (pomai_metric)number;
    return status;
}

int args_id_kind(const struct args *args, pomai_id_kind *kind)
{
    static const char *const names[] = {"u64", "string", NULL};
    static const int numbers[] = {POMAI_ID_U64, POMAI_ID_STRING};
    int number = (int)*kind;
    int status = pick(args, OPT_ID_KIND, names, numbers, &number);
    *kind = (pomai_id_kind)number;
    return status;
}

int args_dtype(const struct args *args, pomai_dtype *dtype)
{
    static const char *const names[] = {"float32", "float16", "int8", NULL};
    static const int numbers[] = {POMAI_DTYPE_FLOAT32, POMAI_DTYPE_FLOAT16, POMAI_DTYPE_INT8};
    int number = (int)*dtype;
    int status = pick(args, OPT_DTYPE, names, numbers, &number);
    *dtype = (pomai_dtype)number;
    return status;
}

int args_index(const struct args *args, pomai_index_kind *index)
{
    static const char *const names[] = {"auto", "exact", "codes", "graph", NULL};
    static const int numbers[] = {POMAI_INDEX_AUTO, POMAI_INDEX_EXACT, POMAI_INDEX_CODES, POMAI_INDEX_GRAPH};
    int number = (int)*index;
    int status = pick(args, OPT_INDEX, names, numbers, &number);
    *index = (pomai_index_kind)number;
    return status;
}

int args_durability(const struct args *args, pomai_durability *level)
{
    static const char *const names[] = {"sync", "group", "os", NULL};
    static const int numbers[] = {POMAI_DURABILITY_SYNC, POMAI_DURABILITY_GROUP, POMAI_DURABILITY_OS};
    int number = (int)*level;
    int status = pick(args, OPT_DURABILITY, names, numbers, &number);
    *level = (pomai_durability)number;
    return status;
}
