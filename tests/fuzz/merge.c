/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first line is a merge patch, the rest a document. What is merged is a document that takes patches, and the same
 * patch once more changes nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filter/merge.h"

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

static bool apply(pm_merge *merge, const void *document, size_t size, pm_bytes *to)
{
    void *copy = copied(document, size);
    const bool object = pm_merge_apply(merge, copy, size, to);
    free(copy);
    must(!to->failed, "memory");
    must(object || to->size == 0, "a refusal that wrote");
    return object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *feed = size > 0 ? memchr(data, '\n', size) : NULL;
    const size_t patch_size = feed != NULL ? (size_t)(feed - data) : size;
    const size_t document_size = feed != NULL ? size - patch_size - 1 : 0;
    pm_merge *merge;
    pomai_error err = {0};
    pm_bytes once = {0}, twice = {0};
    void *patch = copied(data, patch_size);
    const pomai_status status = pm_merge_parse(patch, patch_size, &merge, &err);
    free(patch);
    must((status == POMAI_OK) == (merge != NULL), "a status that is not the answer's");
    if (merge == NULL) {
        must(status == POMAI_EINVAL || status == POMAI_ETOOBIG, "a refusal of another kind");
        return 0;
    }
    if (apply(merge, feed == NULL ? NULL : feed + 1, document_size, &once)) {
        must(once.size >= 2 && once.size <= patch_size + document_size + 2, "a size that cannot be");
        must(apply(merge, once.data, once.size, &twice), "what is merged is no object");
        must(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0, "not the same a second time");
    }
    pm_free(once.data);
    pm_free(twice.data);
    pm_merge_free(merge);
    return 0;
}
