/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first line is a filter, the rest a document. What is accepted prints as a filter that prints and matches the
 * same, and `$not` of it is its complement; what is refused says why.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filter/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* In memory of its own size. */
static void *copied(const void *bytes, size_t size)
{
    void *copy = malloc(size > 0 ? size : 1);
    must(copy != NULL, "memory");
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

static pm_filter *parsed(const char *text, size_t size)
{
    pm_filter *filter;
    pomai_error err = {0};
    char *copy = copied(text, size);
    const pomai_status status = pm_filter_parse(copy, size, &filter, &err);
    free(copy);
    must((status == POMAI_OK) == (filter != NULL), "a status that is not the answer's");
    if (status == POMAI_OK) return filter;
    must(status == POMAI_EINVAL || status == POMAI_ETOOBIG, "a refusal of another kind");
    must(strncmp(err.message, "filter: ", 8) == 0 && strlen(err.message) > 16, "a refusal without a sentence");
    return NULL;
}

static bool matches(const pm_filter *filter, const void *document, size_t size)
{
    void *scratch = malloc(pm_filter_scratch_size(filter));
    must(scratch != NULL, "memory");
    const bool does = pm_filter_matches(filter, scratch, document, size);
    free(scratch);
    return does;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *feed = size > 0 ? memchr(data, '\n', size) : NULL;
    const size_t filter_size = feed != NULL ? (size_t)(feed - data) : size;
    const size_t document_size = feed != NULL ? size - filter_size - 1 : 0;
    pm_filter *filter = parsed((const char *)data, filter_size);
    if (filter == NULL) return 0;
    void *document = copied(feed != NULL ? feed + 1 : data, document_size);
    const bool does = matches(filter, document, document_size);
    pm_text text = {0}, again = {0}, inverse = {0};
    pm_filter_print(filter, &text);
    pm_filter *same = parsed(text.data, text.size);
    if (same != NULL) { /* a tree at the limits may print as more than they allow */
        pm_filter_print(same, &again);
        must(text.size == again.size && memcmp(text.data, again.data, text.size) == 0, "it prints otherwise again");
        must(matches(same, document, document_size) == does, "what it prints does not match the same");
    } else {
        must(filter_size > 64, "what it prints is refused");
    }
    pm_text_add(&inverse, "{\"$not\": %s}", text.data);
    pm_filter *not = parsed(inverse.data, inverse.size);
    must(not == NULL || matches(not, document, document_size) != does, "$not is not the complement");
    pm_filter_free(not );
    pm_filter_free(same);
    pm_filter_free(filter);
    pm_free(inverse.data);
    pm_free(again.data);
    pm_free(text.data);
    free(document);
    return 0;
}
