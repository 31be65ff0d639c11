/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call to the operating system and every allocation of a fixed history fails, once and for ever, with several
 * errors: first call, second call, and so on to the last. What was acknowledged must be there, what was refused must
 * not, nothing may be held after the close, and the next opening, with a healthy disk, finds everything. One failed
 * call is a case. A run is complete when every call of every history was failed in every way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/args.h"
#include "world/world.h"

struct way {
    const char *name;
    uint32_t calls;
    int error;
    bool for_ever, partial;
};

static const struct way ways[] = {
    {"EIO once", PM_SIM_ALL_CALLS & ~PM_SIM_BIT(MALLOC), EIO, false, false},
    {"EIO for ever", PM_SIM_ALL_CALLS & ~PM_SIM_BIT(MALLOC), EIO, true, false},
    {"ENOSPC once", PM_SIM_ALL_CALLS & ~PM_SIM_BIT(MALLOC), ENOSPC, false, true},
    {"ENOSPC for ever", PM_SIM_ALL_CALLS & ~PM_SIM_BIT(MALLOC), ENOSPC, true, true},
    {"EMFILE once", PM_SIM_BIT(OPEN) | PM_SIM_BIT(DIR_LOCK) | PM_SIM_BIT(DIR_LIST) | PM_SIM_BIT(DIR_SYNC), EMFILE,
     false, false},
    {"EOPNOTSUPP ever", PM_SIM_BIT(LOCK) | PM_SIM_BIT(DIR_LOCK) | PM_SIM_BIT(ALLOCATE), EOPNOTSUPP, true, false},
    {"no memory once", PM_SIM_BIT(MALLOC), ENOMEM, false, false},
    {"no memory for ever", PM_SIM_BIT(MALLOC) | PM_SIM_BIT(PAGES), ENOMEM, true, false},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

struct run {
    struct t_args args;
    double begin;
    uint64_t history; /* its seed */
    uint64_t before;  /* cases before it */
    uint64_t cases, failures, complete;
    uint64_t acked, refused, hit[WAYS];
};

static bool over(const struct run *r)
{
    if (r->args.cases != 0 && r->cases >= r->args.cases) return true;
    return r->args.seconds > 0 && t_now() - r->begin >= r->args.seconds;
}

/* The generation with call `nth` failing; false when it has no such call. */
static bool one_case(struct run *r, const pm_disk *start, const struct w_model *model, const struct w_config *config,
                     const struct way *way, uint64_t nth)
{
    struct world *w = w_make(r->history, config); /* anew each time: the same steps up to the fault */
    pm_sim_set_disk(w->sim, pm_disk_copy(start));
    w_model_restore(w->model, model);
    w->may_lose = true;
    w->faults = true;
    w->close = w->no_more_faults = true;
    pm_sim_set_fault(w->sim, (pm_sim_fault){way->calls, nth, way->for_ever, way->partial, way->error});
    (void)w_run(w, true);
    bool hit = pm_sim_faults(w->sim) > 0;
    r->hit[way - ways] += hit;
    w_process_gone(w);
    if (!w->failed) (void)w_check(w);
    if (hit || w->failed) r->cases++;
    r->acked += w->acked;
    r->refused += w->refused;
    if (w->failed) {
        r->failures++;
        if (r->failures <= 10)
            printf("FAILED: %s, call %llu: %s\n  again: --seed %llu --cases %llu\n", way->name, (unsigned long long)nth,
                   w->what, (unsigned long long)r->history, (unsigned long long)(r->cases - r->before));
    }
    w_free(w);
    return hit;
}

/* All ways at all calls; stops early only when the time is over. */
static bool sweep(struct run *r, const pm_disk *start, const struct w_model *model, const struct w_config *config)
{
    for (int i = 0; i < WAYS; i++)
        for (uint64_t nth = 0; one_case(r, start, model, config, &ways[i], nth); nth++)
            if (over(r)) return false;
    return true;
}

/* The making of a database and its first operations; then the recovery of what a power loss left, and more. */
static bool history(struct run *r)
{
    struct t_rng rng = t_rng_from(r->history ^ 0xfa17);
    struct w_config config = w_draw_config(r->history);
    config.clients = 1 + (uint32_t)t_below(&rng, 2);
    config.shards = 1 + (uint32_t)t_below(&rng, 3);
    config.ops = 6 + (uint32_t)t_below(&rng, 12);
    config.preempt = t_chance(&rng, 50) ? 0 : 50;
    config.maintain = 40;
    config.temps = true;
    config.capacity = 0;
    struct world *w = w_make(r->history, &config);
    bool whole = true;
    for (int part = 0; part < 2 && whole; part++) {
        pm_disk *start = pm_disk_copy(pm_sim_disk(w->sim));
        struct w_model *model = w_model_copy(w->model);
        pm_choices choices = pm_choices_random(t_next(&rng));
        pm_sim_crash_in(w->sim, t_range(&rng, 3000, 30000));
        (void)w_run(w, true);
        w_power_gone(w, &choices, true);
        /* Only one machine at a time. */
        pm_disk *next = pm_disk_copy(pm_sim_disk(w->sim));
        struct w_model *next_model = w_model_copy(w->model);
        bool failed = w->failed;
        if (failed) printf("FAILED: seed %llu, no fault: %s\n", (unsigned long long)r->history, w->what);
        w_free(w);
        r->failures += failed;
        whole = sweep(r, start, model, &config) && !failed;
        w = w_make(r->history, &config);
        w_put_back(w, next, next_model);
        pm_disk_free(start);
        free(model);
        free(next_model);
    }
    w_free(w);
    return whole;
}

int main(int argc, char **argv)
{
    struct run r = {.args = t_parse_args(argc, argv)};
    r.begin = t_now();
    for (uint64_t i = 0; !over(&r); i++) {
        r.history = t_case_seed(r.args.seed, i);
        r.before = r.cases;
        r.complete += history(&r);
    }
    for (int i = 0; i < WAYS; i++)
        printf("  %-18s %8llu\n", ways[i].name, (unsigned long long)r.hit[i]);
    printf("%llu histories complete, every call in every way; %llu operations acknowledged, %llu refused; %.1f s\n",
           (unsigned long long)r.complete, (unsigned long long)r.acked, (unsigned long long)r.refused,
           t_now() - r.begin);
    printf("fault: %llu cases, %llu failures, seed %llu\n", (unsigned long long)r.cases, (unsigned long long)r.failures,
           (unsigned long long)r.args.seed);
    return r.failures != 0;
}
