/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of disk and model, taken from the fiber that is about to change the disk. */
#include <stdlib.h>
#include <string.h>

#include "world.h"

static void take(void *context)
{
    struct w_snaps *s = context;
    uint32_t at = s->count;
    w_group_due(s->w);
    s->changes++;
    if (s->count == s->most) { /* each change is kept with the same chance */
        uint64_t lot = t_below(&s->rng, s->changes);
        if (lot >= s->most) return;
        at = (uint32_t)lot;
        pm_disk_free(s->snap[at].disk);
        free(s->snap[at].model);
    } else if (s->count == s->room) {
        s->room = s->room == 0 ? 64 : s->room * 2;
        s->snap = realloc(s->snap, s->room * sizeof *s->snap);
        if (s->snap == NULL) abort();
    }
    s->snap[at] = (struct w_snap){pm_disk_copy(pm_sim_disk(s->w->sim)), w_model_copy(s->w->model)};
    if (at == s->count) s->count++;
}

void w_snaps_start(struct w_snaps *s, struct world *w, uint32_t most)
{
    *s = (struct w_snaps){.w = w, .most = most, .rng = t_rng_from(w->seed)};
    pm_sim_on_change(w->sim, take, s);
}

void w_snaps_stop(struct w_snaps *s)
{
    pm_sim_on_change(s->w->sim, NULL, NULL);
}

void w_snaps_free(struct w_snaps *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        pm_disk_free(s->snap[i].disk);
        free(s->snap[i].model);
    }
    free(s->snap);
    *s = (struct w_snaps){0};
}

void w_put_back(struct world *w, pm_disk *disk, const struct w_model *model)
{
    w_process_gone(w);
    pm_sim_set_disk(w->sim, disk);
    w_model_restore(w->model, model);
    w->may_lose = true;
    w->has_digest = w->clock_kept = false;
}
