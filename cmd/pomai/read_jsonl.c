/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .jsonl: an object a line: {"id": 7 or "a", "vector": [...], ...}. The document stored with the row is "metadata" if
 * that is there, otherwise the object of all other keys, as it is written but for blanks. For what JSON cannot say
 * otherwise there are, as `pomai export` writes them, "id_u64", "id_hex", "document_text", "document_hex" and
 * "expiry_ns".
 */
#include "read.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <strings.h>

int parse_vector(const json_t *array, const char *where, float *vector)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *entry = json_array_get(array, i);
        if (!json_is_number(entry)) {
            complain("%s: element %zu of the vector is no number; a vector is an array of numbers", where, i);
            return -1;
        }
        vector[i] = (float)json_number_value(entry);
        if (!isfinite(vector[i])) {
            complain("%s: element %zu of the vector is %g, which is beyond the range of float32; scale the vectors",
                     where, i, json_number_value(entry));
            return -1;
        }
    }
    return 0;
}

static int refuse(const char *where, const char *what)
{
    complain("%s %s", where, what);
    return -1;
}

/* A whole number, as such or, above 2^63-1, as text. */
static bool whole_number(const json_t *value, uint64_t *number)
{
    if (json_is_string(value)) return parse_u64(json_string_value(value), json_string_length(value), number);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *number = (uint64_t)json_integer_value(value);
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Appends text, or the bytes that hexadecimal digits stand for. */
static bool add_bytes(struct chunk *chunk, const json_t *value, bool hex, struct span *span)
{
    const char *text = json_string_value(value);
    const size_t size = json_string_length(value);
    if (!text) return false;
    if (!hex) {
        *span = chunk_add_text(chunk, text, size);
        return true;
    }
    const size_t at = chunk->text.size;
    for (size_t i = 0; i < size; i += 2) {
        const int high = hex_digit(text[i]), low = i + 1 < size ? hex_digit(text[i + 1]) : -1;
        if (high < 0 || low < 0) return false;
        const char byte = (char)(high << 4 | low);
        text_add(&chunk->text, &byte, 1);
    }
    *span = (struct span){at, size / 2}; /* of bytes that are there: the rows before a refused one are looked at */
    return true;
}

static int add_id(struct reader *reader, struct chunk *chunk, size_t row, const json_t *object, const char *where)
{
    const json_t *id = json_object_get(object, "id"), *hex = json_object_get(object, "id_hex");
    const json_t *number = json_object_get(object, "id_u64");
    if ((id != NULL) + (hex != NULL) + (number != NULL) > 1)
        return refuse(where, "has more than one of \"id\", \"id_hex\" and \"id_u64\"; leave one");
    enum chunk_ids kind = hex || json_is_string(id) ? CHUNK_STRING : id || number ? CHUNK_U64 : CHUNK_NO_IDS;
    if (reader->no_row_ids)
        return kind != CHUNK_NO_IDS ? refuse(where, "has an \"id\", but --ids gives others; leave one of the two out")
                                    : 0;
    if (kind == CHUNK_U64 && !whole_number(id ? id : number, &chunk->u64[row]))
        return refuse(where, id ? "has an \"id\" that is neither a whole number from 0 to 2^63-1 nor a string"
                                : "has an \"id_u64\" that is no whole number from 0 to 2^64-1");
    if (row == 0 && chunk->first_row == 0) reader->kind = kind;
    if (kind != reader->kind)
        return refuse(where, kind == CHUNK_NO_IDS
                                 ? "has no \"id\", but the first row has one; give one to all rows or to none"
                                 : "has an \"id\" of another kind than the first row; use one kind for all rows");
    chunk->kind = kind;
    if (kind != CHUNK_STRING) return 0;
    if (!add_bytes(chunk, hex ? hex : id, hex != NULL, &chunk->id_at[row]))
        return refuse(where, "has an \"id_hex\" that is no text of pairs of hexadecimal digits");
    size_t size = chunk->id_at[row].size;
    if (size < 1 || size > POMAI_MAX_STRING_ID) {
        complain("%s has an \"id\" of %zu bytes; 1 to %u can be stored", where, size, POMAI_MAX_STRING_ID);
        return -1;
    }
    return 0;
}

static int add_expiry(struct chunk *chunk, size_t row, const json_t *expiry, const char *where)
{
    if (!expiry) return 0;
    chunk->expiries++;
    if (whole_number(expiry, &chunk->expiry[row])) return 0;
    return refuse(where, "has an \"expiry_ns\" that is no whole number of nanoseconds since 1970 (0: never)");
}

/* A document that is no JSON object, or not as this program would write it: kept byte by byte. */
static int add_raw_document(struct chunk *chunk, size_t row, const json_t *object, const char *where)
{
    const json_t *text = json_object_get(object, "document_text"), *hex = json_object_get(object, "document_hex");
    if (json_object_size(object) > 1)
        return refuse(where, "has \"document_text\" or \"document_hex\" and other keys beside id, vector and "
                             "expiry_ns; leave either out");
    if (!add_bytes(chunk, text ? text : hex, text == NULL, &chunk->document_at[row]))
        return refuse(where, text ? "has a \"document_text\" that is no text"
                                  : "has a \"document_hex\" that is no text of pairs of hexadecimal digits");
    chunk->has_documents = true;
    return 0;
}

static const char *const taken[] = {"id", "id_u64", "id_hex", "vector", "expiry_ns"};
enum { TAKEN = sizeof taken / sizeof taken[0] };

static bool is_taken(struct written key)
{
    for (size_t i = 0; i < TAKEN; i++)
        if (written_is(key, taken[i])) return true;
    return false;
}

/* As it is written, so that no number loses a digit. */
static void add_written(struct text *text, struct written line, bool metadata)
{
    struct written key, value;
    const size_t begin = text->size;
    while (written_member(&line, &key, &value)) {
        if (metadata ? !written_is(key, "metadata") : is_taken(key)) continue;
        if (!metadata) {
            text_add(text, text->size == begin ? "{" : ",", 1);
            text_add_written(text, key);
            text_add(text, ":", 1);
        }
        text_add_written(text, value);
    }
    if (!metadata) text_add(text, "}", 1);
}

static int add_document(struct chunk *chunk, size_t row, json_t *object, struct written line, const char *where)
{
    for (size_t i = 0; i < TAKEN; i++)
        json_object_del(object, taken[i]);
    if (json_object_get(object, "document_text") || json_object_get(object, "document_hex"))
        return add_raw_document(chunk, row, object, where);
    json_t *metadata = json_object_get(object, "metadata");
    if (metadata && json_object_size(object) > 1)
        return refuse(where, "has \"metadata\" and other keys beside id and vector; put them all into \"metadata\"");
    if (metadata && !json_is_object(metadata) && !json_is_null(metadata))
        return refuse(where, "has \"metadata\" that is no object");
    json_t *document = metadata ? metadata : object;
    if (json_is_null(document) || (!metadata && json_object_size(object) == 0)) return 0;
    size_t at = chunk->text.size;
    add_written(&chunk->text, line, metadata != NULL);
    chunk->document_at[row] = (struct span){at, chunk->text.size - at};
    chunk->has_documents = true;
    return 0;
}

static int add_row(struct reader *reader, struct chunk *chunk, json_t *object, struct written line, const char *where)
{
    const json_t *vector = json_object_get(object, "vector");
    if (!vector) return refuse(where, "has no \"vector\", an array of numbers");
    if (json_is_string(vector))
        return refuse(where, "has a \"vector\" that is text; write the array without quotes around it: [1, 2]");
    if (!json_is_array(vector)) return refuse(where, "has a \"vector\" that is no array of numbers");
    size_t dim = json_array_size(vector);
    if (dim < 1 || dim > POMAI_MAX_DIM) {
        complain("%s has a vector of %zu dimensions; 1 to %u can be stored", where, dim, POMAI_MAX_DIM);
        return -1;
    }
    if (reader->dim == 0) chunk->dim = reader->dim = dim;
    if (dim != reader->dim) {
        complain("%s has a vector of %zu dimensions, the rows before it have %llu; vectors of another dimension belong "
                 "in a collection of their own",
                 where, dim, (unsigned long long)reader->dim);
        return -1;
    }
    size_t row = chunk->rows;
    float *to = chunk_add(chunk, 1);
    chunk->place[row] = reader->line_number;
    if (parse_vector(vector, where, to) != 0 || add_id(reader, chunk, row, object, where) != 0 ||
        add_expiry(chunk, row, json_object_get(object, "expiry_ns"), where) != 0)
        return -1;
    return add_document(chunk, row, object, line, where);
}

static bool is_blank(struct text *line)
{
    return strspn(line->data, " \t\r") == line->size;
}

/* Whether the parser stopped at what Python writes for a float that JSON does not have. */
static bool stopped_at_nan(const json_error_t *error, const char *text, size_t size)
{
    const char *word = strstr(error->text, "near '");
    if (!word) return false;
    word += strlen("near '");
    if (*word == '-' && error->position > 0 && (size_t)error->position <= size) word = text + error->position;
    return strncasecmp(word, "nan", 3) == 0 || strncasecmp(word, "inf", 3) == 0;
}

static int refuse_json(const struct reader *reader, const char *where, const char *text, size_t size,
                       const json_error_t *error)
{
    const char *hint = "";
    bool cut = json_error_code(error) == json_error_premature_end_of_input;
    if (stopped_at_nan(error, text, size))
        hint = "; JSON has neither NaN nor infinity, mend that row or leave it out";
    else if (strstr(error->text, "too big"))
        hint = "; whole numbers in JSON go to 2^63-1: give larger ids as \"id_u64\": \"...\", or without \"id\" in the "
               "rows by --ids FILE";
    else if (cut && *text == '{')
        hint = "; a row is an object on one line: jq -c . FILE writes it so";
    else if (cut && *text == '[')
        hint = "; a row is an object on one line, without an array around all: jq -c '.[]' FILE writes it so";
    else if (reader->line_number == 1 && *text != '{')
        hint = "; if the file has another format, say so with --format";
    complain("%s is no JSON at column %d: %s%s", where, error->column, error->text, hint);
    return -1;
}

static int jsonl_next(struct reader *reader, struct chunk *chunk)
{
    bool end;
    do {
        reader->line_number++;
        if (input_line(&reader->in, &reader->line, MAX_LINE, reader->line_number, &end) != 0) return -1;
        if (end) return 0;
    } while (is_blank(&reader->line));
    char where[256];
    snprintf(where, sizeof where, "%.200s line %llu", reader->in.path, (unsigned long long)reader->line_number);
    const char *text = reader->line.data;
    size_t size = reader->line.size;
    if (reader->line_number == 1 && size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3; /* a byte order mark */
        size -= 3;
    }
    json_error_t error;
    const struct written line = {text, size};
    json_t *object = written_load(line, true, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!object) return refuse_json(reader, where, text, size, &error);
    int status = json_is_object(object)
                     ? add_row(reader, chunk, object, line, where)
                     : refuse(where, "is no JSON object; a row is {\"vector\": [...], ...}, alone on "
                                     "its line (jq -c '.[]' FILE takes an array of them apart)");
    json_decref(object);
    return status;
}

int jsonl_open(struct reader *reader, const struct args *args)
{
    (void)args;
    reader->by_line = true;
    reader->next = jsonl_next;
    return 0;
}
