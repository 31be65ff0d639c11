/* SPDX-License-Identifier: Apache-2.0 */
/* Columns in memory, for tests and fuzzing: each section in memory of its own size. */
#ifndef T_COLUMNS_H
#define T_COLUMNS_H

#include <stdlib.h>
#include <string.h>

#include "index/columns/columns.h"

struct t_columns {
    pm_columns columns;
    uint8_t *at[PM_COLUMNS_SECTIONS];
    uint64_t written[PM_COLUMNS_SECTIONS];
};

static inline bool t_columns_append(void *context, uint32_t section, const void *data, size_t bytes)
{
    struct t_columns *to = context;
    if (bytes > to->columns.length[section] - to->written[section]) abort();
    memcpy(to->at[section] + to->written[section], data, bytes);
    to->written[section] += bytes;
    return true;
}

static inline void t_columns_room(struct t_columns *to, uint64_t rows)
{
    to->columns.rows = rows;
    for (size_t i = 0; i < PM_COLUMNS_SECTIONS; i++) {
        void *memory = NULL;
        if (to->columns.length[i] > 0 && posix_memalign(&memory, 64, (size_t)to->columns.length[i]) != 0) abort();
        to->columns.section[i] = to->at[i] = memory;
    }
}

static inline void t_columns_free(struct t_columns *columns)
{
    for (size_t i = 0; i < PM_COLUMNS_SECTIONS; i++)
        free(columns->at[i]);
    memset(columns, 0, sizeof *columns);
}

/* Of documents, NULL: none. */
static inline pomai_status t_columns_build(struct t_columns *to, char *const *documents, const size_t *sizes,
                                           uint64_t rows, size_t most)
{
    pm_columns_builder *builder;
    const pm_index_sink sink = {to, t_columns_append};
    memset(to, 0, sizeof *to);
    pomai_status status = pm_columns_begin(rows, most, NULL, NULL, &builder);
    for (uint64_t i = 0; i < rows && status == POMAI_OK; i++)
        status = pm_columns_add(builder, documents[i], documents[i] != NULL ? sizes[i] : 0);
    if (status == POMAI_OK) status = pm_columns_finish(builder, to->columns.length);
    if (status == POMAI_OK) {
        t_columns_room(to, rows);
        status = pm_columns_write(builder, &sink);
        for (size_t i = 0; i < PM_COLUMNS_SECTIONS && status == POMAI_OK; i++)
            if (to->written[i] != to->columns.length[i]) abort();
    }
    pm_columns_end(builder);
    if (status != POMAI_OK) t_columns_free(to);
    return status;
}

#endif
