/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .jsonl: an object a line: {"id": 7 or "a", "vector": [...], ...}. The document stored with the row is "metadata" if
 * that is there, otherwise the object of all other keys.
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

static int add_id(struct reader *reader, struct chunk *chunk, size_t row, const json_t *id, const char *where)
{
    enum chunk_ids kind = !id ? CHUNK_NO_IDS : json_is_string(id) ? CHUNK_STRING : CHUNK_U64;
    if (reader->no_row_ids)
        return id ? refuse(where, "has an \"id\", but --ids gives others; leave one of the two out") : 0;
    if (kind == CHUNK_U64 && (!json_is_integer(id) || json_integer_value(id) < 0))
        return refuse(where, "has an \"id\" that is neither a whole number from 0 to 2^63-1 nor a string");
    if (row == 0 && chunk->first_row == 0) reader->kind = kind;
    if (kind != reader->kind)
        return refuse(where, kind == CHUNK_NO_IDS
                                 ? "has no \"id\", but the first row has one; give one to all rows or to none"
                                 : "has an \"id\" of another kind than the first row; use one kind for all rows");
    chunk->kind = kind;
    if (kind == CHUNK_U64) chunk->u64[row] = (uint64_t)json_integer_value(id);
    if (kind != CHUNK_STRING) return 0;
    size_t size = json_string_length(id);
    if (size < 1 || size > POMAI_MAX_STRING_ID) {
        complain("%s has an \"id\" of %zu bytes; 1 to %u can be stored", where, size, POMAI_MAX_STRING_ID);
        return -1;
    }
    chunk->id_at[row] = chunk_add_text(chunk, json_string_value(id), size);
    return 0;
}

static int add_document(struct chunk *chunk, size_t row, json_t *object, const char *where)
{
    json_t *metadata = json_object_get(object, "metadata");
    json_object_del(object, "id");
    json_object_del(object, "vector");
    if (metadata && json_object_size(object) > 1)
        return refuse(where, "has \"metadata\" and other keys beside id and vector; put them all into \"metadata\"");
    if (metadata && !json_is_object(metadata) && !json_is_null(metadata))
        return refuse(where, "has \"metadata\" that is no object");
    json_t *document = metadata ? metadata : object;
    if (json_is_null(document) || (!metadata && json_object_size(object) == 0)) return 0;
    size_t at = chunk->text.size;
    text_add_json(&chunk->text, document);
    chunk->document_at[row] = (struct span){at, chunk->text.size - at};
    chunk->has_documents = true;
    return 0;
}

static int add_row(struct reader *reader, struct chunk *chunk, json_t *object, const char *where)
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
    if (parse_vector(vector, where, to) != 0 || add_id(reader, chunk, row, json_object_get(object, "id"), where) != 0)
        return -1;
    return add_document(chunk, row, object, where);
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
        hint = "; whole numbers in JSON go to 2^63-1: give larger ids as text, in all rows, or without \"id\" in the "
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
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!object) return refuse_json(reader, where, text, size, &error);
    int status = json_is_object(object)
                     ? add_row(reader, chunk, object, where)
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
