/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a column becomes an exception. */
#include "arrow.h"

static int check(pm_py_state *state, const char *name, const char *wrong)
{
    if (wrong == NULL) return 0;
    pm_py_refuse(state, POMAI_EINVAL, "column '%.80s': %s: whoever made it broke the Arrow C data interface",
                 name == NULL ? "" : name, wrong);
    return -1;
}

int pm_py_column_take(pm_py_state *state, const char *name, const pm_arrow_schema *schema, const pm_arrow_array *array,
                      int64_t start, int64_t length, pm_arrow_column *out)
{
    return check(state, name, pm_arrow_column_take(name, schema, array, start, length, out));
}

int pm_py_column_resolve(pm_py_state *state, const pm_arrow_column *c, int64_t *i, pm_arrow_column *values)
{
    const pm_arrow_array *dictionary = c->array->dictionary;
    if (pm_arrow_is_null(c, *i)) return 1;
    if (c->schema->dictionary == NULL) {
        *values = *c;
        return 0;
    }
    if (c->schema->dictionary->dictionary != NULL)
        return check(state, c->name, "the values of its dictionary are in a dictionary");
    if (check(state, c->name, pm_arrow_code(c, *i, i)) != 0 ||
        pm_py_column_take(state, c->name, c->schema->dictionary, dictionary, 0, dictionary->length, values) != 0)
        return -1;
    return pm_arrow_is_null(values, *i) ? 1 : 0;
}

int pm_py_column_bytes(pm_py_state *state, const pm_arrow_column *c, int64_t i, pomai_bytes *out)
{
    return check(state, c->name, pm_arrow_bytes(c, i, out));
}

int pm_py_column_list(pm_py_state *state, const pm_arrow_column *c, int64_t i, int64_t *first, int64_t *count)
{
    return check(state, c->name, pm_arrow_list(c, i, first, count));
}

pm_py_numbers pm_py_column_numbers(const pm_arrow_column *c)
{
    return (pm_py_numbers){.kind = c->number, .itemsize = (Py_ssize_t)c->size};
}
