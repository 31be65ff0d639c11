/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The k least distances that several threads have met for one query. One thread at a time adds to them; who finds
 * another at it goes on without: the k-th least of fewer distances is no less than that of all, so it rules out nothing
 * wrongly. A line of memory that another core has written costs as much as a distance, so all of a usual k is in one:
 * distances are floats, rounded upwards.
 */
#include "flat_int.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/mutant.h"

struct pm_flat_limit {
    _Atomic float kth; /* INFINITY until there are k */
    atomic_flag busy;  /* someone adds; guards the rest */
    uint16_t k, n;
    float distance[]; /* a heap, farthest on top */
};

size_t pm_flat_limit_size(size_t k)
{
    if (k == 0 || k >= pm_flat_large_k || k > UINT16_MAX) return 0;
    const size_t size = sizeof(pm_flat_limit) + k * sizeof(float);
    return (size + PM_FLAT_LINE - 1) / PM_FLAT_LINE * PM_FLAT_LINE;
}

pm_flat_limit *pm_flat_limit_init(void *memory, size_t k)
{
    pm_flat_limit *l = memory;
    assert((uintptr_t)memory % PM_FLAT_LINE == 0);
    atomic_init(&l->kth, INFINITY);
    atomic_flag_clear_explicit(&l->busy, memory_order_relaxed);
    l->k = (uint16_t)k;
    l->n = 0;
    return l;
}

double pm_flat_limit_kth(const pm_flat_limit *l)
{
    return (double)atomic_load_explicit(&l->kth, memory_order_relaxed);
}

/* Puts the distance at the end of the heap, which grows. */
static void rise(pm_flat_limit *l, float distance)
{
    size_t hole = l->n++;
    while (hole > 0 && distance > l->distance[(hole - 1) / 2]) {
        l->distance[hole] = l->distance[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    l->distance[hole] = distance;
}

/* Puts it in the place of the top. */
static void sink(pm_flat_limit *l, float distance)
{
    size_t hole = 0, child;
    while ((child = 2 * hole + 1) < l->n) {
        if (child + 1 < l->n && l->distance[child + 1] > l->distance[child]) child++;
        if (!(l->distance[child] > distance)) break;
        l->distance[hole] = l->distance[child];
        hole = child;
    }
    l->distance[hole] = distance;
}

void pm_flat_limit_offer(pm_flat_limit *l, double exact)
{
    if (!(exact < pm_flat_limit_kth(l) && exact < (double)FLT_MAX)) return;
    const float near = (float)exact;
    float distance = (double)near < exact ? nextafterf(near, INFINITY) : near;
    /* It may be read in an environment where denormals are zero. */
    if (distance > 0 && distance < FLT_MIN && !PM_MUTANT(LIMIT_DENORMAL)) distance = FLT_MIN;
    if (atomic_flag_test_and_set_explicit(&l->busy, memory_order_acquire)) return;
    if (l->n < l->k)
        rise(l, distance);
    else if (distance < l->distance[0])
        sink(l, distance);
    if (l->n == l->k) atomic_store_explicit(&l->kth, l->distance[0], memory_order_relaxed);
    atomic_flag_clear_explicit(&l->busy, memory_order_release);
}

void pm_flat_share(pm_flat_query *q, pm_flat_limit *limit)
{
    assert(q->n == 0 && q->k == limit->k);
    q->limit = limit;
}
