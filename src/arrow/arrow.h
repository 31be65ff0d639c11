/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of the Arrow C data interface as documents, a JSON object a row; and documents as columns. */
#ifndef PM_ARROW_ARROW_H
#define PM_ARROW_ARROW_H

#include "base/base.h"
#include "pomai/arrow.h"

/* array->length documents in one allocation for pm_free, or POMAI_ETOOBIG if their texts are more than most_bytes.
 * array NULL: only the schema is looked at, and *documents is NULL. Everything but how long the buffers are is checked.
 */
pomai_status pm_documents_from_arrow(const struct ArrowSchema *schema, const struct ArrowArray *array,
                                     uint64_t most_bytes, pomai_bytes **documents, pomai_error *err);

/* A struct array of what the documents have under these paths (as filters have them), or, with paths NULL, under every
 * key. Schema and array are the caller's, to be released. */
pomai_status pm_documents_to_arrow(const pomai_bytes *documents, uint64_t rows, const char *const *paths, size_t count,
                                   struct ArrowSchema *schema, struct ArrowArray *array, pomai_error *err);

#endif
