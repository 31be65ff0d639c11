/* SPDX-License-Identifier: Apache-2.0 */
/* For scenes on the simulated machine: checks run in fibers, so they note a failure instead of leaving by longjmp. */
#ifndef T_SCENE_CHECK_H
#define T_SCENE_CHECK_H

#include <stdio.h>

/* *s has `what`, an array for the first thing found wrong, and `err` of the last call. */
#define WRONG(s, text)                                                                                                 \
    do {                                                                                                               \
        if ((s)->what[0] == '\0')                                                                                      \
            snprintf((s)->what, sizeof(s)->what, "line %d: %s (%.250s)", __LINE__, text, (s)->err.message);            \
    } while (0)

#define CHECK(s, condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            WRONG((s), #condition);                                                                                    \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

#endif
