/* SPDX-License-Identifier: Apache-2.0 */
/* Put before every engine file but base.c when clang-tidy reads it: it sees one file at a time, so it must be told that
 * pm_fail does not return POMAI_OK. */
#include "base/base.h"

static inline pomai_status analyzer_failed(pomai_status status)
{
    if (status == POMAI_OK) __builtin_unreachable();
    return status;
}
#define pm_fail(...) analyzer_failed((pm_fail)(__VA_ARGS__))
#define pm_fail_os(...) analyzer_failed((pm_fail_os)(__VA_ARGS__))
