/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second fault while the first is being recovered from. From a state that a power loss or kill -9 left, the database
 * is opened and the recovery (1) loses power before each of its own changes of the disk, (2) is killed at any step, (3)
 * meets a call that fails, once or for ever; up to three times, then a healthy opening must find everything. One
 * disturbed recovery is a case.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/args.h"
#include "world/world.h"

enum { SNAPS = 60, RECOVERY_SNAPS = 80, LATER = 3 };

struct run {
    struct t_args args;
    double begin;
    uint64_t history; /* its seed */
    uint64_t before;  /* cases before it */
    uint64_t cases, failures, histories, kills, cuts, faults, refused;
    struct t_rng rng;
};

static bool over(const struct run *r)
{
    if (r->args.cases != 0 && r->cases >= r->args.cases) return true;
    return r->args.seconds > 0 && t_now() - r->begin >= r->args.seconds;
}

static void judge(struct run *r, struct world *w, const char *what)
{
    r->cases++;
    if (!w->failed) return;
    r->failures++;
    if (r->failures <= 10)
        printf("FAILED: %s: %s\n  again: --seed %llu --cases %llu\n", what, w->what, (unsigned long long)r->history,
               (unsigned long long)(r->cases - r->before));
    w->failed = false;
}

static void draw_fault(struct run *r, struct world *w)
{
    static const int errors[] = {EIO, EIO, ENOSPC, ENOMEM, EACCES};
    static const uint32_t sets[] = {PM_SIM_ALL_CALLS, PM_SIM_DISK_CALLS, PM_SIM_BIT(READ), PM_SIM_BIT(MALLOC),
                                    PM_SIM_BIT(RENAME) | PM_SIM_BIT(ALLOCATE) | PM_SIM_BIT(OPEN)};
    static const uint32_t spans[] = {200, 12, 16, 60, 40};
    uint64_t set = t_below(&r->rng, 5);
    w->faults = true;
    pm_sim_set_fault(w->sim, (pm_sim_fault){.calls = sets[set],
                                            .nth = t_below(&r->rng, spans[set]),
                                            .for_ever = t_chance(&r->rng, 40),
                                            .partial = t_chance(&r->rng, 50),
                                            .error = errors[t_below(&r->rng, 5)]});
}

/* Disturbs one opening of what is in the machine. */
static void disturb(struct run *r, struct world *w)
{
    w->close = t_chance(&r->rng, 50);
    if (t_chance(&r->rng, 50)) {
        draw_fault(r, w);
        r->faults++;
    } else {
        pm_sim_crash_in(w->sim, t_skewed(&r->rng, 1, 6000));
        r->kills++;
    }
    (void)w_run(w, false);
    r->refused += w->opened != POMAI_OK;
    if (t_chance(&r->rng, 40)) {
        w_process_gone(w);
    } else {
        pm_choices choices = pm_choices_random(t_next(&r->rng));
        w_power_gone(w, &choices, t_chance(&r->rng, 30));
    }
}

/* The recovery of one state: once whole, copied before each change; then from each copy. */
static void at_each_change(struct run *r, struct world *w, const pm_disk *state, const struct w_model *model)
{
    struct w_snaps snaps;
    w_put_back(w, pm_disk_copy(state), model);
    w_snaps_start(&snaps, w, RECOVERY_SNAPS);
    (void)w_check(w);
    w_snaps_stop(&snaps);
    judge(r, w, "undisturbed");
    for (uint32_t i = 0; i < snaps.count && !over(r); i++) {
        pm_choices choices = pm_choices_random(t_next(&r->rng));
        w_put_back(w, pm_disk_power_loss(snaps.snap[i].disk, &choices, i % 2 == 1), snaps.snap[i].model);
        for (uint64_t more = t_below(&r->rng, LATER); more > 0 && !w->failed; more--)
            disturb(r, w);
        if (!w->failed) (void)w_check(w);
        r->cuts++;
        judge(r, w, "power lost during recovery");
    }
    w_snaps_free(&snaps);
}

static void at_random(struct run *r, struct world *w, const pm_disk *state, const struct w_model *model)
{
    w_put_back(w, pm_disk_copy(state), model);
    for (uint64_t times = 1 + t_below(&r->rng, LATER); times > 0 && !w->failed; times--)
        disturb(r, w);
    if (!w->failed) (void)w_check(w);
    judge(r, w, "recovery disturbed");
}

static void history(struct run *r)
{
    struct w_config config = w_draw_config(r->history);
    config.capacity = 0;
    if (config.ops > 20) config.ops = 20;
    r->rng = t_rng_from(r->history ^ 0xd0b1e);
    struct world *w = w_make(r->history, &config);
    struct w_snaps snaps;
    w_snaps_start(&snaps, w, SNAPS);
    w->close = true;
    (void)w_run(w, true);
    w_snaps_stop(&snaps);
    if (w->failed) judge(r, w, "the history itself");
    for (uint32_t i = 0; i < snaps.count && !over(r); i++) {
        pm_choices choices = pm_choices_random(t_next(&r->rng));
        pm_disk *state;
        if (t_chance(&r->rng, 40)) { /* killed: what is read may not be durable, until the recovery has made it so */
            state = pm_disk_copy(snaps.snap[i].disk);
            pm_disk_process_gone(state, &choices);
        } else {
            state = pm_disk_power_loss(snaps.snap[i].disk, &choices, t_chance(&r->rng, 30));
        }
        at_each_change(r, w, state, snaps.snap[i].model);
        for (int times = 0; times < 8 && !over(r); times++)
            at_random(r, w, state, snaps.snap[i].model);
        pm_disk_free(state);
    }
    w_snaps_free(&snaps);
    w_free(w);
    r->histories++;
}

int main(int argc, char **argv)
{
    struct run r = {.args = t_parse_args(argc, argv)};
    r.begin = t_now();
    for (uint64_t i = 0; !over(&r); i++) {
        r.history = t_case_seed(r.args.seed, i);
        r.before = r.cases;
        history(&r);
    }
    printf("%llu histories; %llu recoveries lost power at a change, %llu were killed, %llu met faults, %llu were "
           "refused; %.1f s\n",
           (unsigned long long)r.histories, (unsigned long long)r.cuts, (unsigned long long)r.kills,
           (unsigned long long)r.faults, (unsigned long long)r.refused, t_now() - r.begin);
    printf("double: %llu cases, %llu failures, seed %llu\n", (unsigned long long)r.cases,
           (unsigned long long)r.failures, (unsigned long long)r.args.seed);
    return r.failures != 0;
}
