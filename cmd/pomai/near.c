/* SPDX-License-Identifier: Apache-2.0 */
/* What was meant by a word that is none. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST = 64 };

static bool same(char a, char b)
{
    const bool upper = a >= 'A' && a <= 'Z', other = b >= 'A' && b <= 'Z';
    if (a == '_') a = '-';
    if (b == '_') b = '-';
    return (upper ? a + ('a' - 'A') : a) == (other ? b + ('a' - 'A') : b);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to change, put in, leave out, or exchange with the next, without regard to capitals. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= a_size; i++) {
        for (size_t j = 0; j <= b_size; j++) {
            d[i][j] = i + j;
            if (i == 0 || j == 0) continue;
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + !same(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a_size][b_size];
}

void near_begin(struct near *near, const char *word, size_t size)
{
    *near = (struct near){.word = word, .size = size, .found = NULL};
    near->best = size < 3 ? 0 : size < 6 ? 2 : 3; /* so many letters are too many */
}

void near_look(struct near *near, const char *name)
{
    const size_t size = strlen(name);
    if (size > LONGEST || near->size > LONGEST) return;
    const size_t letters = distance(near->word, near->size, name, size);
    if (letters >= near->best) return;
    near->best = letters;
    near->found = name;
}

int complain_no_collection(const struct args *args, pomai_db *db, const char *name, bool to_drop)
{
    struct near near;
    char **names = NULL;
    size_t count = 0;
    near_begin(&near, name, strlen(name));
    if (pomai_collection_list(db, &names, &count, NULL) != POMAI_OK) count = 0;
    for (size_t i = 0; i < count; i++)
        near_look(&near, names[i]);
    complain("there is no collection '%.80s'%s; %s%s%s'pomai collections %.300s' lists those that are there%s (%s)",
             name, to_drop ? " to drop" : "", near.found ? "did you mean '" : "", near.found ? near.found : "",
             near.found ? "'? " : "", args->positional[0], to_drop ? "" : ", and import or 'create --dim' makes one",
             pomai_status_name(POMAI_ENOTFOUND));
    pomai_free(names);
    return EXIT_FAILED;
}
