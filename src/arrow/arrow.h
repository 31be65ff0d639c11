/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of the Arrow C data interface as documents: a JSON object a row. */
#ifndef PM_ARROW_ARROW_H
#define PM_ARROW_ARROW_H

#include "base/base.h"
#include "pomai/arrow.h"

/* array->length documents in one allocation for pm_free, or POMAI_ETOOBIG if their texts are more than most_bytes.
 * array NULL: only the schema is looked at, and *documents is NULL. Everything but how long the buffers are is checked.
 */
pomai_status pm_documents_from_arrow(const struct ArrowSchema *schema, const struct ArrowArray *array,
                                     uint64_t most_bytes, pomai_bytes **documents, pomai_error *err);

#endif
