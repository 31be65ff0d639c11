/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recall that searches get, watched: the maintenance task does one of them again now and then, also exactly, and
 * compares. What calibration promised on rows is so held on queries, too. docs/indexing.md, "And watched"; the protocol
 * is in docs/lifecycle.md.
 */
#include <math.h>
#include <string.h>

#include "base/mutant.h"
#include "core/engine/engine.h"

#define MS ((uint64_t)1000 * 1000)
enum {
    MOST_MS = 1000,
    LOOK_MS = 250,
    HASTY_LOOK_MS = 10,
    MOST_RAISED = 6,
    LEAST_SAMPLES = 64,
    LEAST_TOLD = 16,
    HASTE = 10,
    WHOLE = 1000
};
#define SIGMAS        1.96   /* of a 95% interval */
#define LEAST_MISSING 0.0005 /* a promise to miss less is taken for this */
#define FAR_MISSING   4      /* times what was asked: raised by two at once */

/* ---- searches ---- */

/* How often it is raised: queries that are unlike the rows are so with a filter as well. */
static uint32_t raised_of(const pm_coll *coll, pm_watch_kind kind)
{
    const uint32_t own = atomic_load_explicit(&coll->watch[kind].raised, memory_order_relaxed);
    if (kind == PM_WATCH_ALL || PM_MUTANT(WATCH_ASKS_ALONE)) return own;
    return (uint32_t)pm_max_u64(own, atomic_load_explicit(&coll->watch[PM_WATCH_ALL].raised, memory_order_relaxed));
}

float pm_watch_asks(const pm_coll *coll, pm_watch_kind kind, float recall)
{
    const uint32_t raised = raised_of(coll, kind);
    if (raised == 0 || !(recall > 0 && recall < 1)) return recall;
    return 1 - ldexpf(1 - recall, -(int)raised);
}

float pm_watch_missing(const pm_coll *coll, pm_watch_kind kind)
{
    const float missing = atomic_load_explicit(&coll->watch[kind].missing, memory_order_relaxed);
    if (missing > 0 || PM_MUTANT(WATCH_KNOWS_ALONE)) return missing;
    return atomic_load_explicit(&coll->watch[PM_WATCH_ALL].missing, memory_order_relaxed);
}

void pm_watch_offer(pm_coll *coll, pm_watch_kind kind, const pm_read *read, const float *vectors, uint64_t queries,
                    uint32_t k)
{
    pm_watch *w = &coll->watch[kind];
    uint32_t state = atomic_load_explicit(&w->state, memory_order_relaxed);
    if ((state != PM_WATCH_UNASKED && state != PM_WATCH_WANTED) || read->ef != 0) return;
    if (!(read->recall > 0 && read->recall < 1)) return;
    if (kind == PM_WATCH_FILTERED && read->filter_size > PM_WATCH_FILTER) return;
    const uint32_t next = state == PM_WATCH_UNASKED ? PM_WATCH_IDLE : PM_WATCH_TAKING;
    if (!atomic_compare_exchange_strong(&w->state, &state, next) || next != PM_WATCH_TAKING) return;
    const uint64_t which = atomic_load_explicit(&coll->queries, memory_order_relaxed) % queries;
    memcpy(w->vector, vectors + which * coll->dim, coll->dim * sizeof *vectors);
    w->filter_size = kind == PM_WATCH_FILTERED ? read->filter_size : 0;
    if (w->filter_size > 0) memcpy(w->filter, read->filter, w->filter_size);
    w->k = k;
    w->asked = read->recall;
    atomic_store(&w->state, PM_WATCH_TAKEN);
}

/* ---- what was found ---- */

/* Of the samples that are kept; false: there are none. */
static bool sum_up(const pm_coll *coll, pm_watch_kind kind, pm_watched *to)
{
    const pm_watch *w = &coll->watch[kind];
    double sum = 0, asked = 0, promised = 0, squares = 0;
    const uint64_t n = pm_min_u64(w->count, PM_WATCH_SAMPLES);
    const pm_watch_samples *kept = n > 0 ? w->samples : NULL; /* before, maintenance may be making room for them */
    *to = (pm_watched){.samples = n, .looked_at = w->all, .raised = raised_of(coll, kind)};
    for (uint64_t i = 0; i < n; i++) {
        sum += (double)kept->found[i];
        asked += (double)kept->wanted[i];
        promised += (double)kept->promised[i];
    }
    if (n == 0) return false;
    to->recall = sum / (double)n;
    to->asked = asked / (double)n;
    to->promised = promised / (double)n;
    for (uint64_t i = 0; i < n; i++)
        squares += ((double)kept->found[i] - to->recall) * ((double)kept->found[i] - to->recall);
    /* One more that found half: few samples that all found everything prove little. */
    const double half = SIGMAS * sqrt((squares + 0.25) / (double)n / (double)n);
    to->low = to->recall > half ? to->recall - half : 0;
    to->high = to->recall + half < 1 ? to->recall + half : 1;
    return true;
}

bool pm_watch_read(pm_db *db, const pm_coll *coll, pm_watch_kind kind, pm_watched *to)
{
    db->os->mutex_lock(db->os, &db->state);
    const bool any = sum_up(coll, kind, to);
    db->os->mutex_unlock(db->os, &db->state);
    return any;
}

/* Searches are asked to miss half as much `by` times more. Until that is seen, they are taken to miss what they did. */
static void begin_anew(pm_watch *w, int by)
{
    const float missing = atomic_load_explicit(&w->missing, memory_order_relaxed);
    w->count = 0;
    if (missing > 0 && !PM_MUTANT(RAISED_IS_ENOUGH))
        atomic_store_explicit(&w->missing, fmaxf(ldexpf(missing, by), 1), memory_order_relaxed);
}

/* Those with a filter begin anew with those without, if their effort is the same. */
static void raise_to(pm_coll *coll, pm_watch_kind kind, uint32_t raised)
{
    uint32_t before[PM_WATCH_KINDS];
    for (pm_watch_kind i = 0; i < PM_WATCH_KINDS; i++)
        before[i] = raised_of(coll, i);
    atomic_store_explicit(&coll->watch[kind].raised, raised, memory_order_relaxed);
    for (pm_watch_kind i = 0; i < PM_WATCH_KINDS; i++) {
        const int by = (int)raised_of(coll, i) - (int)before[i];
        if (by != 0) begin_anew(&coll->watch[i], by);
    }
}

/* Raises the effort, or lowers it; verdicts allow for what was seen to be missed. */
static void steer(pm_coll *coll, pm_watch_kind kind)
{
    pm_watch *w = &coll->watch[kind];
    pm_watched now;
    if (!sum_up(coll, kind, &now) || now.samples < LEAST_TOLD) return;
    const double times = fmax((1 - now.high) / fmax(1 - now.promised, LEAST_MISSING), 1);
    if (!PM_MUTANT(VERDICT_ONLY_PROMISES)) atomic_store_explicit(&w->missing, (float)times, memory_order_relaxed);
    if (now.samples < LEAST_SAMPLES) return;
    const double missing = 1 - now.asked;
    const uint32_t least = kind == PM_WATCH_ALL ? 0 : raised_of(coll, PM_WATCH_ALL); /* others need it */
    if (now.high < now.asked && now.raised < MOST_RAISED && !PM_MUTANT(WATCH_ONLY_LOOKS)) {
        if (w->lowered) w->least = now.raised + 1; /* less was tried, and is not enough */
        const uint32_t by = 1 - now.high > FAR_MISSING * missing ? 2 : 1;
        raise_to(coll, kind, (uint32_t)pm_min_u64(now.raised + by, MOST_RAISED));
    } else if (now.samples == PM_WATCH_SAMPLES && now.raised > pm_max_u64(w->least, least) &&
               now.low > 1 - missing / 4) {
        /* twice as much may be missing then; as it may turn out not to be enough, not tried lightly */
        w->lowered = true;
        raise_to(coll, kind, now.raised - 1);
    }
}

void pm_watch_note(pm_coll *coll, pm_watch_kind kind, double promised, double found)
{
    pm_watch *w = &coll->watch[kind];
    w->samples->found[w->count % PM_WATCH_SAMPLES] = (float)found;
    w->samples->wanted[w->count % PM_WATCH_SAMPLES] = w->asked;
    w->samples->promised[w->count % PM_WATCH_SAMPLES] = (float)promised;
    w->count++;
    w->all++;
    steer(coll, kind);
}

/* ---- doing it again ---- */

/* The share of the exact answer that the other has; equally far is as good. */
static double share_found(const pomai_result *exact, const pomai_result *other)
{
    const size_t n = exact->first[1], others = other->first[1];
    size_t found = 0;
    if (n == 0) return 1;
    while (found < others && found < n && other->distances[found] <= exact->distances[n - 1])
        found++; /* by distance, nearest first */
    return (double)found / (double)n;
}

/* Both on one view. false: it was cut, or failed: nothing is learned. */
static bool look_again(pm_db *db, const pm_coll *coll, pm_watch_kind kind, double *promised, double *found)
{
    const pm_watch *w = &coll->watch[kind];
    pomai_result *exact = NULL, *other = NULL;
    pm_filter *filter = NULL;
    const pm_read latest = {0};
    pm_view view;
    pm_search search = {.vectors = w->vector,
                        .queries = 1,
                        .dim = coll->dim,
                        .k = w->k,
                        .metric = coll->metric,
                        .id_kind = coll->id_kind,
                        .until_ns = db->os->now_ns(db->os) + MOST_MS * MS,
                        .cancel = &db->maintenance.watch_cancel,
                        .recall = pm_watch_asks(coll, kind, w->asked)};
    if (w->filter_size > 0 && pm_filter_parse(w->filter, w->filter_size, &filter, NULL) != POMAI_OK) return false;
    search.filter = filter;
    pm_epoch_hold hold = pm_db_take_view(db, coll, &latest, &view);
    bool good = pm_query_search(db->os, db->simd, NULL, &view, &search, &other, NULL) == POMAI_OK;
    good = good && other->verdicts[0].completeness == POMAI_APPROXIMATE; /* else there is nothing to learn */
    search.recall = 0;
    if (PM_MUTANT(WATCH_FORGETS_FILTER)) search.filter = NULL;
    good = good && pm_query_search(db->os, db->simd, NULL, &view, &search, &exact, NULL) == POMAI_OK;
    pm_epoch_leave(&db->shared.epoch, hold);
    pm_filter_free(filter);
    good = good && exact->verdicts[0].completeness == POMAI_EXACT;
    if (good) *found = share_found(exact, other);
    if (good) *promised = other->verdicts[0].expected_recall;
    pm_result_free(other);
    pm_result_free(exact);
    return good;
}

/* All in one piece, as long as the collection is there. */
static bool has_room(pm_coll *coll, pm_watch_kind kind)
{
    pm_watch *w = &coll->watch[kind];
    const size_t filter = kind == PM_WATCH_FILTERED ? PM_WATCH_FILTER : 0;
    if (w->vector != NULL) return true;
    float *vector = pm_malloc(coll->dim * sizeof(float) + sizeof *w->samples + filter);
    if (vector == NULL) return false;
    w->samples = (pm_watch_samples *)(void *)(vector + coll->dim);
    w->filter = filter > 0 ? (char *)(w->samples + 1) : NULL;
    w->vector = vector;
    return true;
}

/* In which order searches are looked at. */
static uint64_t turn_of(const pm_coll *coll, uint32_t kind)
{
    return (uint64_t)coll->id * PM_WATCH_KINDS + kind;
}

/* The next after `last` that is there to be looked at; where there is none, one is asked for. */
static pm_coll *find_taken(pm_db *db, uint64_t last, pm_watch_kind *which)
{
    const pm_catalog *catalog = atomic_load_explicit(&db->catalog, memory_order_acquire);
    pm_coll *best = NULL;
    uint64_t best_turn = 0;
    for (uint32_t i = 0; i < catalog->count * PM_WATCH_KINDS; i++) {
        pm_coll *coll = catalog->coll[i / PM_WATCH_KINDS];
        const uint32_t kind = i % PM_WATCH_KINDS;
        pm_watch *w = &coll->watch[kind];
        const uint32_t state = atomic_load(&w->state);
        const uint64_t turn = turn_of(coll, kind);
        if (atomic_load(&coll->dropped)) continue;
        if (state == PM_WATCH_IDLE && has_room(coll, kind)) atomic_store(&w->state, PM_WATCH_WANTED);
        if (state != PM_WATCH_TAKEN || (best != NULL && (best_turn > last || turn <= last))) continue;
        if (best != NULL && PM_MUTANT(WATCH_TAKES_FIRST)) continue;
        best = coll;
        best_turn = turn;
        *which = (pm_watch_kind)kind;
    }
    return best;
}

/* Nothing is known yet, or it looks as if less was found than asked and is not sure: it is not to take long. */
static bool is_in_haste(const pm_coll *coll, pm_watch_kind kind)
{
    pm_watched now;
    if (PM_MUTANT(WATCH_TAKES_ITS_TIME)) return false;
    if (!sum_up(coll, kind, &now)) return true;
    return now.samples < LEAST_TOLD || (now.samples < PM_WATCH_SAMPLES && now.recall < now.asked);
}

uint64_t pm_watch_if_due(pm_db *db, uint64_t now)
{
    pm_maintenance *m = &db->maintenance;
    pm_watch_kind kind = PM_WATCH_ALL;
    double promised, found;
    if (db->watch_share == UINT64_MAX || pm_stopped(&db->shared)) return PM_FOREVER;
    if (now < m->watch_due) return m->watch_due;
    pm_coll *coll = find_taken(db, m->watched, &kind);
    if (coll == NULL) { /* in haste, but nobody searches: not for long */
        const uint64_t ms = m->hasty_looks > 0 ? HASTY_LOOK_MS : LOOK_MS;
        m->hasty_looks -= m->hasty_looks > 0;
        return m->watch_due = now + ms * MS;
    }
    m->watched = turn_of(coll, kind);
    const bool looked = look_again(db, coll, kind, &promised, &found);
    db->os->mutex_lock(db->os, &db->state);
    if (looked) pm_watch_note(coll, kind, promised, found);
    const bool haste = looked && is_in_haste(coll, kind);
    db->os->mutex_unlock(db->os, &db->state);
    /* In haste the next search is taken, not the next once somebody has looked whether there is any. */
    atomic_store(&coll->watch[kind].state, haste ? PM_WATCH_WANTED : PM_WATCH_IDLE);
    m->hasty_looks = haste ? LOOK_MS / HASTY_LOOK_MS : 0;
    const uint64_t spent = db->os->now_ns(db->os) - now;
    const uint64_t share = pm_min_u64(haste ? db->watch_share * HASTE : db->watch_share, WHOLE);
    return m->watch_due = now + pm_max_u64(spent * WHOLE / share, 1000);
}
