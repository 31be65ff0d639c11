/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a struct array of Arrow, sound or not. What is taken gives documents that the parser takes, and that say
 * what the array says; what is refused says why.
 */
#include "../support/arrow.h"
#include "arrow/arrow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct t_feed feed = {data, data + size};
    struct t_node *rows = t_make_rows(&feed);
    pomai_bytes *documents = NULL, *none = NULL;
    pomai_error err = {0};
    const pomai_status status = pm_documents_from_arrow(&rows->schema, &rows->array, 1 << 20, &documents, &err);
    t_must((status == POMAI_OK) == (documents != NULL), "a status that is not the answer's");
    if (status == POMAI_OK) {
        t_expect_rows(documents, &rows->schema, &rows->array);
        t_must(pm_documents_from_arrow(&rows->schema, NULL, 0, &none, &err) == POMAI_OK && none == NULL,
               "a schema that is refused alone");
    } else {
        t_must(status == POMAI_EINVAL || status == POMAI_ETOOBIG, "a refusal of another kind");
        t_must(err.message[0] != '\0', "a refusal that says nothing");
    }
    pm_free(documents);
    t_node_free(rows);
    return 0;
}
