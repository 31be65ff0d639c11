/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .csv as RFC 4180 has it: a row a line, fields apart by comma, semicolon or tab, quoted or not. What a column is, the
 * names in the first line and the numbers in the first row decide, once; no later row can change it. A column without a
 * value in the first row is open: it is kept as text, and a number further down is refused, lest a dimension vanish.
 */
#include "read.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Bounds the table of fields, which costs more than the bytes of empty fields. */
enum { MAX_COLUMNS = POMAI_MAX_DIM + 1024 };

enum role { ROLE_NUMBER, ROLE_TEXT, ROLE_OPEN, ROLE_ID, ROLE_VECTOR };

struct column {
    enum role role;
    char *name; /* NULL: the file has no header */
};

/* In the line; offsets, because the line moves while it grows. */
struct field {
    size_t at;
    size_t size;
    bool doubled; /* has quotes that stand for one */
};

struct csv {
    char separator;
    struct column *columns;
    size_t column_count;
    bool has_vector;
    bool has_id;
    bool pending;      /* the line in the reader is a row that was not taken yet */
    uint64_t row_line; /* where the row begins, which may go over several lines */
    uint64_t first_row_line;
    struct field *fields;
    size_t count;
    size_t capacity;
};

static int refuse(const struct reader *reader, const char *what)
{
    complain("%s line %llu %s", reader->in.path, (unsigned long long)reader->csv->row_line, what);
    return -1;
}

/* Begins the sentence about a field: "x.csv line 3 column 2 ('title')". */
static const char *place_of(const struct reader *reader, size_t column, char buffer[400])
{
    const struct csv *csv = reader->csv;
    const char *name = column < csv->column_count ? csv->columns[column].name : NULL;
    int used = snprintf(buffer, 400, "%.200s line %llu column %zu", reader->in.path, (unsigned long long)csv->row_line,
                        column + 1);
    if (name) snprintf(buffer + used, 400 - (size_t)used, " ('%.80s')", name);
    return buffer;
}

/* ---- a line into fields ---- */

static bool is_blank(const struct csv *csv, char c)
{
    return c == ' ' || c == '\r' || (c == '\t' && csv->separator != '\t');
}

static int add_field(struct reader *reader, struct field field)
{
    struct csv *csv = reader->csv;
    if (csv->count == MAX_COLUMNS) {
        complain("%s line %llu has more than %d columns; a vector has at most %u dimensions", reader->in.path,
                 (unsigned long long)csv->row_line, MAX_COLUMNS, POMAI_MAX_DIM);
        return -1;
    }
    csv->fields = must_grow(csv->fields, &csv->capacity, csv->count + 1, sizeof *csv->fields);
    csv->fields[csv->count++] = field;
    return 0;
}

/* From the quote at *at to behind the closing one; takes more lines while there is none. */
static int take_quoted(struct reader *reader, size_t *at, struct field *field)
{
    struct text *line = &reader->line;
    size_t next = *at + 1;
    *field = (struct field){.at = next};
    for (;;) {
        const char *quote = memchr(line->data + next, '"', line->size - next);
        if (!quote) {
            bool end;
            next = line->size + 1;
            text_add(line, "\n", 1);
            if (input_append_line(&reader->in, line, MAX_LINE, ++reader->line_number, &end) != 0) return -1;
            if (end) return refuse(reader, "begins a quoted field that is never closed; close it with a quote");
            continue;
        }
        next = (size_t)(quote - line->data) + 1;
        if (next == line->size || line->data[next] != '"') break;
        field->doubled = true;
        next++;
    }
    field->size = next - 1 - field->at;
    *at = next;
    return 0;
}

static void take_plain(const struct reader *reader, size_t *at, struct field *field)
{
    const struct text *line = &reader->line;
    const char *separator = memchr(line->data + *at, reader->csv->separator, line->size - *at);
    size_t end = separator ? (size_t)(separator - line->data) : line->size;
    *field = (struct field){.at = *at, .size = end - *at};
    while (field->size > 0 && is_blank(reader->csv, line->data[field->at + field->size - 1]))
        field->size--;
    *at = end;
}

/* Blanks around a field do not count, unless they are quoted. */
static int split(struct reader *reader, size_t at)
{
    struct csv *csv = reader->csv;
    const struct text *line = &reader->line;
    csv->count = 0;
    for (;; at++) {
        struct field field;
        while (at < line->size && is_blank(csv, line->data[at]))
            at++;
        if (at < line->size && line->data[at] == '"') {
            if (take_quoted(reader, &at, &field) != 0) return -1;
            while (at < line->size && is_blank(csv, line->data[at]))
                at++;
            if (at < line->size && line->data[at] != csv->separator) {
                char place[400];
                complain("%s has text behind its closing quote; a quote inside of a quoted field is written twice",
                         place_of(reader, csv->count, place));
                return -1;
            }
        } else {
            take_plain(reader, &at, &field);
        }
        if (add_field(reader, field) != 0) return -1;
        if (at >= line->size) return 0;
    }
}

/* The tab if the line has one outside of quotes, else the semicolon, else the comma. */
static char separator_of(const struct text *line)
{
    bool quoted = false;
    char found = ',';
    for (size_t i = 0; i < line->size; i++) {
        char c = line->data[i];
        quoted = quoted != (c == '"');
        if (quoted) continue;
        if (c == '\t') return c;
        if (c == ';') found = c;
    }
    return found;
}

static bool line_is_empty(const struct text *line)
{
    return strspn(line->data, " \r") == line->size;
}

/* Whether lines end in CR alone, which makes the file one line; the first CR outside of quotes tells. */
static bool ends_in_cr_only(const struct text *line)
{
    bool quoted = false;
    for (size_t i = 0; i < line->size; i++) {
        quoted = quoted != (line->data[i] == '"');
        if (!quoted && line->data[i] == '\r') return i + strspn(line->data + i, " \t\r") < line->size;
    }
    return false;
}

/* What can be no first line of any .csv file. */
static int check_first_line(struct reader *reader, size_t from)
{
    const struct text *line = &reader->line;
    const char *text = line->data + from;
    if (memchr(line->data, 0, line->size))
        return refuse(reader, "has a byte that is 0; is the file UTF-16? Write it as UTF-8. If it has another format, "
                              "say so with --format");
    if (*text == '{' && text[1 + strspn(text + 1, " \t")] == '"')
        return refuse(reader, "begins like JSON; read the file with --format jsonl");
    if (ends_in_cr_only(line))
        return refuse(reader, "has a carriage return inside; lines end in LF or CRLF: tr '\\r' '\\n' turns them");
    return 0;
}

/* Whether a field is an array that should have been quoted: its commas make columns. */
static bool has_bare_array(const struct reader *reader)
{
    const struct csv *csv = reader->csv;
    const char *line = reader->line.data;
    for (size_t i = 0; i < csv->count; i++) {
        size_t at = csv->fields[i].at;
        if (line[at] == '[' && (at == 0 || line[at - 1] != '"')) return true;
    }
    return false;
}

/* The next line that is not empty, as fields. *end when there is none. */
static int next_fields(struct reader *reader, bool *end)
{
    struct csv *csv = reader->csv;
    struct text *line = &reader->line;
    do {
        csv->row_line = ++reader->line_number;
        if (input_line(&reader->in, line, MAX_LINE, reader->line_number, end) != 0) return -1;
        if (*end) return 0;
    } while (line_is_empty(line));
    size_t from = reader->line_number == 1 && line->size >= 3 && memcmp(line->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (csv->separator == 0) {
        if (check_first_line(reader, from) != 0) return -1;
        csv->separator = separator_of(line);
    }
    if (split(reader, from) != 0) return -1;
    if (memchr(line->data, 0, line->size))
        return refuse(reader, "has a byte that is 0; is the file UTF-16? Write it as UTF-8");
    if (csv->column_count == 0 || csv->count == csv->column_count) return 0;
    complain("%s line %llu has %zu columns, the first line has %zu; %s", reader->in.path,
             (unsigned long long)csv->row_line, csv->count, csv->column_count,
             csv->has_vector && has_bare_array(reader) ? "quote the array: \"[1, 2]\""
                                                       : "all lines must have the same");
    return -1;
}

/* The field's text, which is ended by a 0 in place of what stood behind it. */
static char *field_text(struct reader *reader, size_t i, size_t *size)
{
    struct field *field = &reader->csv->fields[i];
    char *text = reader->line.data + field->at;
    if (field->doubled) {
        size_t used = 0;
        for (size_t from = 0; from < field->size; from++) {
            text[used++] = text[from];
            if (text[from] == '"') from++;
        }
        field->size = used;
        field->doubled = false;
    }
    text[field->size] = 0;
    *size = field->size;
    return text;
}

/* ---- fields ---- */

static size_t digits(const char **at)
{
    size_t count = strspn(*at, "0123456789");
    *at += count;
    return count;
}

/* Sign, digits with or without a point, exponent; what strtof takes beyond that is no number here. */
static bool is_decimal(const char *text)
{
    text += *text == '+' || *text == '-';
    size_t count = digits(&text);
    if (*text == '.') {
        text++;
        count += digits(&text);
    }
    if (count == 0) return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        if (digits(&text) == 0) return false;
    }
    return *text == 0;
}

/* A number as much of Europe writes it: "2,5". */
static bool is_decimal_with_comma(const char *text)
{
    text += *text == '+' || *text == '-';
    if (digits(&text) == 0 || *text != ',') return false;
    text++;
    return digits(&text) > 0 && *text == 0;
}

static int take_number(struct reader *reader, size_t i, float *number)
{
    char place[400];
    size_t size;
    const char *text = field_text(reader, i, &size);
    bool decimal = is_decimal(text);
    /* The program never sets a locale, so that the point is a point. */
    *number = decimal ? strtof(text, NULL) : 0;
    if (decimal && isfinite(*number)) return 0;
    place_of(reader, i, place);
    if (decimal)
        complain("%s is %.40s, which is beyond the range of float32; scale the vectors", place, text);
    else if (size == 0)
        complain("%s is empty where a number should be; fill it in or leave the row out", place);
    else
        complain("%s is '%.40s', not a number such as -1.5 or 1e-3%s", place, text,
                 *text == '['        ? "; arrays go into a column 'vector', quoted"
                 : strchr(text, ',') ? "; write a point, not a comma"
                                     : "; mend it or leave the row out");
    return -1;
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(text, words[i]) == 0) return true;
    return false;
}

static bool is_nan_word(const char *text)
{
    static const char *const words[] = {"nan", "inf", "infinity", "null", "none", "na", "n/a"};
    return is_one_of(text, words, sizeof words / sizeof words[0]);
}

/* Whether the field is what programs write where there is no value. */
static bool is_missing(const char *text)
{
    static const char *const words[] = {"", "-", "--", ".", "?", "na", "n/a", "#n/a", "<na>", "null", "\\N", "none"};
    return is_one_of(text, words, sizeof words / sizeof words[0]);
}

/* Whether it can only be the name of a column: a header must not be taken for a row, nor a damaged row for a header. */
static bool is_word(const char *text)
{
    return *text && !strchr("0123456789+-.,[{", *text) && !is_nan_word(text);
}

/* ---- columns ---- */

static int add_column(struct reader *reader, size_t i)
{
    struct csv *csv = reader->csv;
    char place[400];
    size_t size;
    const char *text = field_text(reader, i, &size);
    bool is_id = strcasecmp(text, "id") == 0, is_vector = strcasecmp(text, "vector") == 0;
    json_t *utf8 = json_stringn(text, size);
    json_decref(utf8);
    if (size == 0 || !utf8) {
        complain("%s %s; a header names every column, in UTF-8 (pandas: df.to_csv(file, index=False))",
                 place_of(reader, i, place), utf8 ? "has no name" : "is no UTF-8");
        return -1;
    }
    csv->columns[i].role = is_id ? ROLE_ID : is_vector ? ROLE_VECTOR : ROLE_TEXT;
    csv->columns[i].name = must_realloc(NULL, size + 1, 1);
    memcpy(csv->columns[i].name, text, size + 1);
    csv->has_id = csv->has_id || is_id;
    csv->has_vector = csv->has_vector || is_vector;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcasecmp(*(char *const *)a, *(char *const *)b);
}

static int check_names(struct reader *reader)
{
    struct csv *csv = reader->csv;
    char **names = must_realloc(NULL, csv->column_count, sizeof *names);
    int status = 0;
    for (size_t i = 0; i < csv->column_count; i++)
        names[i] = csv->columns[i].name;
    qsort(names, csv->column_count, sizeof *names, compare_names);
    for (size_t i = 1; i < csv->column_count && status == 0; i++) {
        if (strcasecmp(names[i - 1], names[i]) != 0) continue;
        complain("%s line %llu names two columns '%.80s' (capitals do not count); rename one of them", reader->in.path,
                 (unsigned long long)csv->row_line, names[i]);
        status = -1;
    }
    free(names);
    return status;
}

/* The fields are the first line of the file. */
static int look_at_header(struct reader *reader, bool *header)
{
    struct csv *csv = reader->csv;
    size_t size;
    *header = false;
    for (size_t i = 0; i < csv->count; i++)
        *header = *header || is_word(field_text(reader, i, &size));
    csv->columns = must_realloc(NULL, csv->count, sizeof *csv->columns);
    memset(csv->columns, 0, csv->count * sizeof *csv->columns);
    csv->column_count = csv->count;
    for (size_t i = 0; i < csv->count && *header; i++)
        if (add_column(reader, i) != 0) return -1;
    return *header ? check_names(reader) : 0;
}

/* What the field in the first row makes of a column of no special name. */
static int look_at_first_field(struct reader *reader, size_t i)
{
    struct column *column = &reader->csv->columns[i];
    size_t size;
    char place[400];
    const char *text = field_text(reader, i, &size);
    if (is_decimal(text)) column->role = ROLE_NUMBER;
    if (is_missing(text)) column->role = ROLE_OPEN;
    if (column->role != ROLE_TEXT) return 0;
    if (is_nan_word(text)) {
        complain("%s is '%s' in the first row, which says neither number nor text of its column; put another row "
                 "first, or leave it out",
                 place_of(reader, i, place), text);
        return -1;
    }
    if (is_decimal_with_comma(text)) {
        complain("%s is '%.40s', a number with a decimal comma; write a point, as in 2.5", place_of(reader, i, place),
                 text);
        return -1;
    }
    return 0;
}

/* The fields are the first row. Without a column of vectors, those with numbers are the vector. */
static int look_at_first_row(struct reader *reader)
{
    struct csv *csv = reader->csv;
    size_t first = SIZE_MAX, last = 0;
    csv->first_row_line = csv->row_line;
    for (size_t i = 0; i < csv->count && !csv->has_vector; i++) {
        if (csv->columns[i].role != ROLE_TEXT) continue;
        if (look_at_first_field(reader, i) != 0) return -1;
        if (csv->columns[i].role != ROLE_NUMBER) continue;
        for (size_t gap = last + 1; first != SIZE_MAX && gap < i; gap++) {
            bool open = csv->columns[gap].role == ROLE_OPEN;
            if (csv->columns[gap].role != ROLE_TEXT && !open) continue;
            complain("%s: the columns of numbers '%.80s' and '%.80s' do not stand side by side, '%.80s' is between "
                     "them; %sput those of the vector together and drop the others, or use a column 'vector' of arrays",
                     reader->in.path, csv->columns[last].name, csv->columns[i].name, csv->columns[gap].name,
                     open ? "fill it in, in the first row, or " : "");
            return -1;
        }
        first = first == SIZE_MAX ? i : first;
        last = i;
    }
    if (csv->has_vector || first != SIZE_MAX) return 0;
    return refuse(reader, "has no number outside of 'id'; a vector is columns of numbers such as -1.5 (with a point), "
                          "or a column 'vector' of arrays such as \"[1, 2]\"");
}

static size_t count_role(const struct csv *csv, enum role role, const char **first)
{
    size_t count = 0;
    for (size_t i = csv->column_count; i-- > 0;) {
        if (csv->columns[i].role != role) continue;
        *first = csv->columns[i].name;
        count++;
    }
    return count;
}

/* Beside a column 'vector' numbers may stand in others, and a filter by number finds none of them. */
static void tell_digits(struct reader *reader, const struct args *args)
{
    const struct csv *csv = reader->csv;
    for (size_t i = 0, size; i < csv->column_count; i++) {
        if (csv->columns[i].role != ROLE_TEXT || !is_decimal(field_text(reader, i, &size))) continue;
        note(args,
             "%s: '%.80s' has numbers, but is kept as text, as all columns of documents are: a filter finds \"7\" "
             "there, "
             "and not 7; a .jsonl keeps numbers",
             reader->in.path, csv->columns[i].name);
        return;
    }
}

/* Where the ids of the rows come from, for a note; the first row is in the fields. */
static const char *tell_ids(struct reader *reader, const struct args *args)
{
    const struct csv *csv = reader->csv;
    uint64_t number;
    size_t i = 0, size;
    if (args_has(args, OPT_IDS)) return "ids by --ids";
    if (!csv->has_id) return args->verb && args->verb->options & TAKES(IDS) ? "ids are assigned" : "no ids";
    while (csv->columns[i].role != ROLE_ID)
        i++;
    const char *text = field_text(reader, i, &size);
    return parse_u64(text, size, &number) ? "ids from 'id' (numbers)" : "ids from 'id' (text)";
}

/* What was guessed is said. */
static void tell_columns(struct reader *reader, const struct args *args, bool header)
{
    const struct csv *csv = reader->csv;
    const char *number = "", *text = "", *open = "", *ids = tell_ids(reader, args);
    size_t numbers = count_role(csv, ROLE_NUMBER, &number), texts = count_role(csv, ROLE_TEXT, &text);
    size_t opens = count_role(csv, ROLE_OPEN, &open);
    char vectors[160], documents[160] = "no documents";
    if (!header) {
        note(args, "%s: no header: vectors of %zu column%s; %s", reader->in.path, numbers, numbers == 1 ? "" : "s",
             ids);
        return;
    }
    if (texts == 0) text = open;
    texts += opens;
    if (csv->has_vector)
        snprintf(vectors, sizeof vectors, "the column 'vector'");
    else if (numbers == 1)
        snprintf(vectors, sizeof vectors, "the column '%.80s'", number);
    else
        snprintf(vectors, sizeof vectors, "%zu columns from '%.80s' on", numbers, number);
    if (texts > 0)
        snprintf(documents, sizeof documents, "documents from %zu ('%.80s'%s)", texts, text, texts > 1 ? ", ..." : "");
    note(args, "%s: vectors from %s, %s, %s", reader->in.path, vectors, ids, documents);
    tell_digits(reader, args);
    if (opens > 0)
        note(args, "%s: '%.80s'%s no value in the first row; kept as text, and a number further down is refused",
             reader->in.path, open, opens > 1 ? " and others have" : " has");
}

/* ---- rows ---- */

static int add_id(struct reader *reader, struct chunk *chunk, size_t row, size_t i)
{
    char place[400];
    size_t size;
    if (reader->no_row_ids) return refuse(reader, "has an 'id', but --ids gives others; leave one of the two out");
    const char *text = field_text(reader, i, &size);
    if (size < 1 || size > POMAI_MAX_STRING_ID) {
        complain("%s is an id of %zu bytes; 1 to %u can be stored", place_of(reader, i, place), size,
                 POMAI_MAX_STRING_ID);
        return -1;
    }
    chunk->kind = CHUNK_TEXT;
    chunk->id_at[row] = chunk_add_text(chunk, text, size);
    return 0;
}

static int add_text(struct reader *reader, json_t *document, size_t i)
{
    char place[400];
    size_t size;
    const char *text = field_text(reader, i, &size);
    if (json_object_set_new(document, reader->csv->columns[i].name, json_stringn(text, size)) == 0) return 0;
    complain("%s is no UTF-8; convert the file: iconv -f latin1 -t utf-8", place_of(reader, i, place));
    return -1;
}

static int add_open(struct reader *reader, json_t *document, size_t i)
{
    char place[400];
    size_t size;
    const char *text = field_text(reader, i, &size);
    if (!is_decimal(text) && !is_decimal_with_comma(text)) return add_text(reader, document, i);
    complain(
        "%s is the number %.40s, but the column has no value in the first row (line %llu), so that it is open "
        "whether it belongs to the vector; fill in the first row: a number for the vector, a word for the document",
        place_of(reader, i, place), text, (unsigned long long)reader->csv->first_row_line);
    return -1;
}

/* The row's array, or NULL having said why. Its size is the dimension. */
static json_t *take_array(struct reader *reader, size_t *dim)
{
    char place[400];
    json_error_t error;
    size_t i = 0, size;
    while (reader->csv->columns[i].role != ROLE_VECTOR)
        i++;
    const char *text = field_text(reader, i, &size);
    json_t *array = json_loadb(text, size, 0, &error);
    *dim = json_array_size(array);
    if (json_is_array(array) && *dim >= 1 && *dim <= POMAI_MAX_DIM && (reader->dim == 0 || *dim == reader->dim))
        return array;
    place_of(reader, i, place);
    if (!json_is_array(array))
        complain("%s is '%.40s', no JSON array of numbers such as \"[0.1, 0.2]\"%s", place, text,
                 *text == '[' && !strchr(text, ']') ? ", with the quotes" : "");
    else if (reader->dim == 0 || *dim < 1)
        complain("%s has %zu dimensions; 1 to %u can be stored", place, *dim, POMAI_MAX_DIM);
    else
        complain("%s has %zu dimensions, the rows before it have %llu; vectors of another dimension belong in a "
                 "collection of their own",
                 place, *dim, (unsigned long long)reader->dim);
    json_decref(array);
    return NULL;
}

static int add_vector(struct reader *reader, struct chunk *chunk)
{
    const struct csv *csv = reader->csv;
    char place[400];
    size_t dim = (size_t)reader->dim;
    json_t *array = NULL;
    int status = 0;
    if (csv->has_vector && !(array = take_array(reader, &dim))) return -1;
    chunk->dim = reader->dim = dim;
    float *vector = chunk_add(chunk, 1);
    if (csv->has_vector) {
        snprintf(place, sizeof place, "%.200s line %llu", reader->in.path, (unsigned long long)csv->row_line);
        status = parse_vector(array, place, vector);
        json_decref(array);
    }
    for (size_t i = 0; i < csv->column_count && status == 0; i++)
        if (csv->columns[i].role == ROLE_NUMBER) status = take_number(reader, i, vector++);
    return status;
}

static int csv_next(struct reader *reader, struct chunk *chunk)
{
    struct csv *csv = reader->csv;
    bool end = false;
    if (!csv->pending && next_fields(reader, &end) != 0) return -1;
    csv->pending = false;
    if (end) return 0;
    size_t row = chunk->rows;
    if (add_vector(reader, chunk) != 0) return -1;
    chunk->place[row] = csv->row_line;
    json_t *document = json_object();
    int status = 0;
    for (size_t i = 0; i < csv->column_count && status == 0; i++) {
        if (csv->columns[i].role == ROLE_ID) status = add_id(reader, chunk, row, i);
        if (csv->columns[i].role == ROLE_TEXT) status = add_text(reader, document, i);
        if (csv->columns[i].role == ROLE_OPEN) status = add_open(reader, document, i);
    }
    if (status == 0 && json_object_size(document) > 0) {
        size_t at = chunk->text.size;
        text_add_json(&chunk->text, document);
        chunk->document_at[row] = (struct span){at, chunk->text.size - at};
        chunk->has_documents = true;
    }
    json_decref(document);
    return status;
}

static int look_at_columns(struct reader *reader, const struct args *args)
{
    struct csv *csv = reader->csv;
    const char *first = NULL;
    bool end, header;
    if (next_fields(reader, &end) != 0) return -1;
    if (end) return 0; /* no rows; whoever wants some says so */
    if (look_at_header(reader, &header) != 0) return -1;
    if (header) {
        if (next_fields(reader, &end) != 0) return -1;
        if (end) return 0;
        if (look_at_first_row(reader) != 0) return -1;
    }
    csv->pending = true;
    tell_columns(reader, args, header);
    reader->dim = count_role(csv, ROLE_NUMBER, &first);
    if (reader->dim <= POMAI_MAX_DIM) return 0;
    complain("%s has vectors of %llu dimensions; 1 to %u can be stored", reader->in.path,
             (unsigned long long)reader->dim, POMAI_MAX_DIM);
    return -1;
}

int csv_open(struct reader *reader, const struct args *args)
{
    reader->csv = must_realloc(NULL, 1, sizeof *reader->csv);
    memset(reader->csv, 0, sizeof *reader->csv);
    reader->by_line = true;
    reader->next = csv_next;
    return look_at_columns(reader, args);
}

void csv_close(struct csv *csv)
{
    if (!csv) return;
    for (size_t i = 0; csv->columns && i < csv->column_count; i++)
        free(csv->columns[i].name);
    free(csv->columns);
    free(csv->fields);
    free(csv);
}
