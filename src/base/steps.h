/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before every source of the test build: each atomic access asks pm_atomic_hook first, so that a simulated
 * scheduler can let another thread go on between any two of them. The accesses themselves are as in <stdatomic.h>.
 */
#ifndef PM_BASE_STEPS_H
#define PM_BASE_STEPS_H

#pragma GCC system_header /* nested accesses shadow each other's names, as in the compiler's own header */

#include <stdatomic.h>

extern void (*pm_atomic_hook)(void); /* NULL: none; set before the database is opened */

/* A function: its branch is not one of the code that it is called from (./dev coverage). */
static inline void pm_step(void)
{
    if (pm_atomic_hook != 0) pm_atomic_hook();
}

#define PM_STEP() pm_step()

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak
#undef atomic_compare_exchange_weak_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and
#undef atomic_fetch_and_explicit

#ifdef __clang__
#define PM_ATOMIC(operation)                  __c11_atomic_##operation
#define atomic_load_explicit(p, m)            (PM_STEP(), __c11_atomic_load(p, m))
#define atomic_store_explicit(p, v, m)        (PM_STEP(), __c11_atomic_store(p, v, m))
#define atomic_exchange_explicit(p, v, m)     (PM_STEP(), __c11_atomic_exchange(p, v, m))
#define PM_EXCHANGE_IF(p, e, d, kind, m1, m2) (PM_STEP(), __c11_atomic_compare_exchange_##kind(p, e, d, m1, m2))
#else
#define PM_ATOMIC(operation) __atomic_##operation
#define atomic_load_explicit(p, m)                                                                                     \
    __extension__({                                                                                                    \
        PM_STEP();                                                                                                     \
        __auto_type pm_at = (p);                                                                                       \
        __typeof__((void)0, *pm_at) pm_got;                                                                            \
        __atomic_load(pm_at, &pm_got, (m));                                                                            \
        pm_got;                                                                                                        \
    })
#define atomic_store_explicit(p, v, m)                                                                                 \
    __extension__({                                                                                                    \
        PM_STEP();                                                                                                     \
        __auto_type pm_at = (p);                                                                                       \
        __typeof__((void)0, *pm_at) pm_new = (v);                                                                      \
        __atomic_store(pm_at, &pm_new, (m));                                                                           \
    })
#define atomic_exchange_explicit(p, v, m)                                                                              \
    __extension__({                                                                                                    \
        PM_STEP();                                                                                                     \
        __auto_type pm_at = (p);                                                                                       \
        __typeof__((void)0, *pm_at) pm_new = (v), pm_old;                                                              \
        __atomic_exchange(pm_at, &pm_new, &pm_old, (m));                                                               \
        pm_old;                                                                                                        \
    })
#define PM_EXCHANGE_IF_strong 0
#define PM_EXCHANGE_IF_weak   1
#define PM_EXCHANGE_IF(p, e, d, kind, m1, m2)                                                                          \
    __extension__({                                                                                                    \
        PM_STEP();                                                                                                     \
        __auto_type pm_at = (p);                                                                                       \
        __typeof__((void)0, *pm_at) pm_new = (d);                                                                      \
        __atomic_compare_exchange(pm_at, (e), &pm_new, PM_EXCHANGE_IF_##kind, (m1), (m2));                             \
    })
#endif

#define atomic_load(p)                                           atomic_load_explicit(p, __ATOMIC_SEQ_CST)
#define atomic_store(p, v)                                       atomic_store_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_exchange(p, v)                                    atomic_exchange_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_compare_exchange_strong_explicit(p, e, d, m1, m2) PM_EXCHANGE_IF(p, e, d, strong, m1, m2)
#define atomic_compare_exchange_weak_explicit(p, e, d, m1, m2)   PM_EXCHANGE_IF(p, e, d, weak, m1, m2)
#define atomic_compare_exchange_strong(p, e, d)                  PM_EXCHANGE_IF(p, e, d, strong, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define atomic_compare_exchange_weak(p, e, d)                    PM_EXCHANGE_IF(p, e, d, weak, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define atomic_fetch_add_explicit(p, v, m)                       (PM_STEP(), PM_ATOMIC(fetch_add)(p, v, m))
#define atomic_fetch_sub_explicit(p, v, m)                       (PM_STEP(), PM_ATOMIC(fetch_sub)(p, v, m))
#define atomic_fetch_or_explicit(p, v, m)                        (PM_STEP(), PM_ATOMIC(fetch_or)(p, v, m))
#define atomic_fetch_and_explicit(p, v, m)                       (PM_STEP(), PM_ATOMIC(fetch_and)(p, v, m))
#define atomic_fetch_add(p, v)                                   atomic_fetch_add_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_sub(p, v)                                   atomic_fetch_sub_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_or(p, v)                                    atomic_fetch_or_explicit(p, v, __ATOMIC_SEQ_CST)
#define atomic_fetch_and(p, v)                                   atomic_fetch_and_explicit(p, v, __ATOMIC_SEQ_CST)

#endif
