/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power loss at every change of the disk. A history of a few operations runs once; before each write, sync, rename and
 * so on the disk and the model are copied; then, from every copy, the states that a power loss may leave are opened and
 * compared with the model: random ones, and for small histories all of them, one after the other. From one state in
 * sixteen life goes on, to the next loss. One state is a case.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/args.h"
#include "world/world.h"

enum { SNAPS = 400, RANDOM_STATES = 4, MOST_STATES = 4096 };

struct totals {
    uint64_t cases, failures, histories, changes, all_done, too_many;
};

struct run {
    struct t_args args;
    struct totals t;
    double begin;
    uint64_t history; /* its seed */
    uint64_t before;  /* cases before it */
};

static bool over(const struct run *r)
{
    if (r->args.cases != 0 && r->t.cases >= r->args.cases) return true;
    return r->args.seconds > 0 && t_now() - r->begin >= r->args.seconds;
}

/* Life goes on in a state that was recovered, and loses power again: what the first loss left behind must not come up.
 */
static void go_on(struct run *r, struct world *w, uint64_t seed)
{
    struct t_rng rng = t_rng_from(seed);
    uint32_t ops = w->config.ops;
    w->config.ops = 1 + (uint32_t)t_below(&rng, 5);
    for (uint64_t times = 1 + t_below(&rng, 2); times > 0 && !w->failed; times--) {
        pm_choices choices = pm_choices_random(t_next(&rng));
        w_process_gone(w);
        w->close = false;
        pm_sim_crash_in(w->sim, t_skewed(&rng, 2000, 60000));
        (void)w_run(w, true);
        if (t_chance(&rng, 50))
            w_power_gone(w, &choices, false);
        else
            w_process_gone(w);
    }
    w->config.ops = ops;
    if (!w->failed) (void)w_check(w);
    r->t.cases++;
}

static void one_state(struct run *r, struct world *w, const struct w_snap *snap, uint32_t change, uint64_t state,
                      pm_choices *choices, bool tear)
{
    w_put_back(w, pm_disk_power_loss(snap->disk, choices, tear), snap->model);
    w_check_copy(w);
    if (!w->failed) (void)w_check(w);
    r->t.cases++;
    if (!w->failed && t_mix2(change, state) % 16 == 0) go_on(r, w, t_mix2(r->history, t_mix2(change, state)));
    if (!w->failed) return;
    r->t.failures++;
    if (r->t.failures <= 10)
        printf("FAILED: seed %llu, change %u, state %llu: %s\n  again: --seed %llu --cases %llu\n",
               (unsigned long long)r->history, change, (unsigned long long)state, w->what,
               (unsigned long long)r->history, (unsigned long long)(r->t.cases - r->before));
    w->failed = false;
}

static void all_states(struct run *r, struct world *w, const struct w_snap *snap, uint32_t change)
{
    pm_choices all = pm_choices_all();
    uint64_t state = 0;
    bool more = true;
    for (; more && state < MOST_STATES && !over(r); state++) {
        one_state(r, w, snap, change, state, &all, false);
        more = pm_choices_next(&all);
    }
    if (!more && !all.too_many) {
        r->t.all_done++;
        return;
    }
    r->t.too_many++;
    for (uint32_t i = 0; i < RANDOM_STATES * 8 && !over(r); i++) {
        pm_choices choices = pm_choices_random(t_mix2(r->history, t_mix2(change, i)));
        one_state(r, w, snap, change, state + i, &choices, true);
    }
}

static struct w_config small_config(uint64_t seed)
{
    struct t_rng rng = t_rng_from(seed ^ 0x5a11);
    struct w_config c = w_draw_config(seed);
    c.clients = 1;
    c.shards = 1 + (uint32_t)t_below(&rng, 2);
    c.ops = 1 + (uint32_t)t_below(&rng, 6);
    c.preempt = 0;
    c.cores = 1;
    c.async = false;
    c.mistakes = false;
    c.capacity = 0;
    c.dim[W_DEFAULT] = c.dim[W_ASSIGNED] = t_chance(&rng, 70) ? 4 : W_DIM_USUAL;
    return c;
}

/* One history in four is small, and all its states are tried. */
static void history(struct run *r)
{
    struct t_rng rng = t_rng_from(r->history ^ 0x9077);
    bool small = t_chance(&rng, 25);
    struct w_config config = small ? small_config(r->history) : w_draw_config(r->history);
    config.capacity = 0;
    if (!small && config.ops > 24) config.ops = 24;
    struct world *w = w_make(r->history, &config);
    uint64_t generations = t_range(&rng, 1, small ? 2 : 3);
    struct w_snaps snaps;
    for (uint64_t g = 0; g < generations && !w->failed && !over(r); g++) {
        w_snaps_start(&snaps, w, SNAPS);
        w->close = g % 2 == 1 || t_chance(&rng, 50);
        if (t_chance(&rng, 30)) pm_sim_crash_in(w->sim, t_skewed(&rng, 1, 100000));
        (void)w_run(w, true);
        w_snaps_stop(&snaps);
        if (w->failed) {
            printf("FAILED: seed %llu: %s\n", (unsigned long long)r->history, w->what);
            r->t.failures++;
        }
        /* How it goes on after the states were tried. */
        pm_choices choices = pm_choices_random(t_next(&rng));
        bool failed = w->failed;
        w_power_gone(w, &choices, true);
        pm_disk *disk = pm_disk_copy(pm_sim_disk(w->sim));
        struct w_model *model = w_model_copy(w->model);
        r->t.changes += snaps.count;
        for (uint32_t i = 0; i < snaps.count && !over(r) && !failed; i++) {
            if (small) {
                all_states(r, w, &snaps.snap[i], i);
                continue;
            }
            for (uint32_t s = 0; s < RANDOM_STATES && !over(r); s++) {
                choices = pm_choices_random(t_mix2(r->history, t_mix2(i, s)));
                one_state(r, w, &snaps.snap[i], i, s, &choices, s % 2 == 1);
            }
        }
        w_put_back(w, disk, model);
        free(model);
        w_snaps_free(&snaps);
        w->failed = failed;
    }
    w_free(w);
    r->t.histories++;
}

int main(int argc, char **argv)
{
    struct run r = {.args = t_parse_args(argc, argv)};
    r.begin = t_now();
    for (uint64_t i = 0; !over(&r); i++) {
        r.history = t_case_seed(r.args.seed, i);
        r.before = r.t.cases;
        history(&r);
    }
    printf("%llu histories, %llu changes of the disk; all states of %llu changes, part of those of %llu; %.1f s\n",
           (unsigned long long)r.t.histories, (unsigned long long)r.t.changes, (unsigned long long)r.t.all_done,
           (unsigned long long)r.t.too_many, t_now() - r.begin);
    printf("power: %llu cases, %llu failures, seed %llu\n", (unsigned long long)r.t.cases,
           (unsigned long long)r.t.failures, (unsigned long long)r.args.seed);
    return r.t.failures != 0;
}
