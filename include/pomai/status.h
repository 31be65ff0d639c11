/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POMAI_STATUS_H
#define POMAI_STATUS_H

#include <stdint.h>

/*
 * One vocabulary from the disk to the caller. Numbers are never changed and never reused. docs/errors.md gives, for
 * each, what causes it and the way out.
 *   POMAI_STATUS_TABLE(X): X(NAME, number, short text)
 */
#define POMAI_STATUS_TABLE(X)                                                                                          \
    X(OK, 0, "success")                                                                                                \
    X(EINVAL, 1, "invalid argument")                                                                                   \
    X(ENOTFOUND, 2, "not found")                                                                                       \
    X(EEXISTS, 3, "exists already")                                                                                    \
    X(EDIM, 4, "wrong dimension")                                                                                      \
    X(ENOTFINITE, 5, "NaN or infinity in a vector")                                                                    \
    X(EZEROVEC, 6, "zero vector under the cosine metric")                                                              \
    X(EID, 7, "id of the wrong kind or length")                                                                        \
    X(EDUPID, 8, "id repeated in one batch")                                                                           \
    X(ETOOBIG, 9, "over a size limit")                                                                                 \
    X(EBUSY, 10, "busy; nothing was done")                                                                             \
    X(EDEADLINE, 11, "deadline passed; nothing was done")                                                              \
    X(EUNKNOWN, 12, "outcome unknown; reopen to learn it")                                                             \
    X(EREADONLY, 13, "opened read-only")                                                                               \
    X(ELOCKED, 14, "another process has the database open")                                                            \
    X(EIO, 15, "input/output error")                                                                                   \
    X(ENOSPC, 16, "no space left on the disk")                                                                         \
    X(ENOMEM, 17, "out of memory")                                                                                     \
    X(ECORRUPT, 18, "stored data are damaged")                                                                         \
    X(EFORMAT, 19, "written by another version")                                                                       \
    X(EFOREIGN, 20, "file belongs to another database")                                                                \
    X(ENOTDB, 21, "not a PomaiDB database")                                                                            \
    X(EACCESS, 22, "permission denied")                                                                                \
    X(ESTOPPED, 23, "writing stopped after an input/output error; reopen")                                             \
    X(EINTERNAL, 24, "broken invariant; a bug in PomaiDB")

typedef enum pomai_status {
#define POMAI_STATUS_X(name, number, text) POMAI_##name = number,
    POMAI_STATUS_TABLE(POMAI_STATUS_X)
#undef POMAI_STATUS_X
} pomai_status;

/*
 * Filled by every function that takes one and fails; left alone on success. Owned by the caller, may be NULL. The
 * message is a NUL-terminated UTF-8 sentence: what failed, on which argument or file, the value, and what to do.
 */
typedef struct pomai_error {
    pomai_status status;
    int32_t os_errno; /* the operating system's errno, 0 if it had no part in it */
    char message[504];
} pomai_error;

#endif
