/* SPDX-License-Identifier: Apache-2.0 */
/* Linked into the twins: the environment variable POMAI_MUTANT names the planted bug; without it there is none.
 * POMAI_MUTANT_TEST: the only test to run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"

static const char *const names[] = {"",
#define NAME_X(name, kinds, what) #name,
                                    PM_MUTANT_TABLE(NAME_X)
#undef NAME_X
};

/* Of cmocka, which soaks are not linked with. */
void cmocka_set_test_filter(const char *pattern) __attribute__((weak));

__attribute__((constructor)) static void select_mutant(void)
{
    const char *name = getenv("POMAI_MUTANT"), *test = getenv("POMAI_MUTANT_TEST");
    if (test != NULL && cmocka_set_test_filter != NULL) cmocka_set_test_filter(test);
    setvbuf(stdout, NULL, _IOLBF, 0); /* a failure is to be seen at once */
    if (name == NULL || name[0] == '\0') return;
    for (int i = 1; i < PM_MUTANT_COUNT; i++)
        if (strcmp(names[i], name) == 0) pm_mutant = i;
    if (pm_mutant != PM_MUTANT_NONE) return;
    fprintf(stderr, "there is no planted bug %s\n", name);
    exit(2);
}
