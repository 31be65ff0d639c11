/* SPDX-License-Identifier: Apache-2.0 */
#include "query/view.h"

#include <string.h>

#include "base/mutant.h"

pm_shown *pm_shown_make(uint32_t shards, uint32_t segments)
{
    pm_shown *shown = pm_calloc(1, sizeof *shown + shards * sizeof shown->table[0] + segments * sizeof(pm_segment *));
    if (shown == NULL) return NULL;
    shown->shards = shards;
    shown->segments = segments;
    shown->segment = (pm_segment **)(void *)&shown->table[shards];
    return shown;
}

void pm_shown_free(pm_shown *shown)
{
    pm_free(shown);
}

bool pm_view_is_plain(const pm_view *view, const pm_segment *segment)
{
    bool plain = pm_segment_first_expiry(segment) == 0;
    for (uint32_t s = 0; s < pm_segment_where(segment)->shards; s++)
        plain &= pm_segment_max_lsn(segment, s) <= view->visible[s];
    return plain;
}

pomai_status pm_view_see(const pm_view *view, pm_segment *segment, bool plain, uint64_t first, uint64_t n,
                         uint64_t *bits, bool *all, pomai_error *err)
{
    *all = true;
    if (plain && pm_segment_ended(segment) == 0) { /* who ends later is still seen */
        memset(bits, 0xff, (n + 63) / 64 * sizeof *bits);
        if (n % 64 != 0) bits[n / 64] = ((uint64_t)1 << (n % 64)) - 1;
        return POMAI_OK;
    }
    for (uint64_t i = 0; i < n; i += 64) {
        const uint64_t rows = pm_min_u64(64, n - i), full = rows == 64 ? UINT64_MAX : ((uint64_t)1 << rows) - 1;
        uint64_t seen = plain ? full & ~pm_segment_ended_word(segment, (first + i) / 64) : 0;
        if (PM_MUTANT(CODES_NOT_JUDGED)) seen = full;
        if (seen != full) {
            pomai_status status =
                pm_segment_check(segment, PM_SEG_SHARD | PM_SEG_LSN | PM_SEG_EXPIRY, first + i, rows, err);
            if (status != POMAI_OK) return status;
        }
        for (uint64_t left = full & ~seen; left != 0; left &= left - 1)
            if (pm_segment_row_seen(segment, first + i + (uint64_t)__builtin_ctzll(left), view))
                seen |= left & (0 - left);
        bits[i / 64] = seen;
        *all = *all && seen == full;
    }
    return POMAI_OK;
}

static bool expired(const pm_segment *segment, uint32_t row, uint64_t now)
{
    if (pm_segment_first_expiry(segment) == 0) return false;
    const uint64_t expiry = pm_segment_expiry(segment, row);
    return expiry != 0 && expiry <= now;
}

pomai_status pm_view_find(const pm_view *view, uint32_t shard, const pm_id *id, uint64_t hash, pm_where *where,
                          pomai_error *err)
{
    const pm_shown *shown = view->shown;
    const uint64_t visible = view->visible[shard];
    const pm_chunk *chunk;
    where->owner = NULL;
    pm_memtable *const tables[] = {shown->table[shard].active, shown->table[shard].frozen};
    for (int i = 0; i < 2; i++) {
        if (tables[i] == NULL || !pm_memtable_find(tables[i], id, visible, view->now, &chunk, &where->row)) continue;
        where->owner = chunk;
        return POMAI_OK;
    }
    for (uint32_t i = shown->segments; i-- > 0;) { /* newest first: most versions that are seen are there */
        pm_segment *segment = shown->segment[i];
        if (!pm_segment_may_have(segment, hash)) continue;
        pomai_status status = pm_segment_find(segment, id, hash, visible, &where->row, err);
        if (status == POMAI_OK && where->row != PM_NO_ROW)
            status = pm_segment_check(segment, PM_SEG_ALL, where->row, 1, err);
        if (status != POMAI_OK) return status;
        if (where->row == PM_NO_ROW) continue;
        if (!expired(segment, where->row, view->now)) where->owner = segment;
        return POMAI_OK;
    }
    return POMAI_OK;
}

/* Of a memtable, which may be NULL. */
static uint64_t expired_in_table(const pm_memtable *table, uint64_t visible, uint64_t now)
{
    uint64_t rows = 0;
    const uint64_t chunks = table == NULL ? 0 : pm_memtable_visible_chunks(table, visible);
    for (uint64_t c = 0; c < chunks; c++) {
        const pm_chunk *chunk = pm_memtable_chunk(table, c);
        for (uint32_t row = 0; chunk->expiry != NULL && row < chunk->rows; row++)
            rows += pm_chunk_row_visible(chunk, row, visible, 0) && !pm_chunk_row_visible(chunk, row, visible, now);
    }
    return rows;
}

pomai_status pm_view_expired(const pm_view *view, uint64_t *rows, pomai_error *err)
{
    const pm_shown *shown = view->shown;
    *rows = 0;
    for (uint32_t s = 0; s < shown->shards; s++) {
        const pm_shown_tables *t = &shown->table[s];
        *rows += expired_in_table(t->active, view->visible[s], view->now);
        *rows += expired_in_table(t->frozen, view->visible[s], view->now);
    }
    for (uint32_t i = 0; i < shown->segments; i++) {
        pm_segment *segment = shown->segment[i];
        const uint64_t all = pm_segment_rows(segment);
        if (pm_segment_first_expiry(segment) == 0 || pm_segment_first_expiry(segment) > view->now) continue;
        pomai_status status = pm_segment_check(segment, PM_SEG_SHARD | PM_SEG_LSN | PM_SEG_EXPIRY, 0, all, err);
        if (status != POMAI_OK) return status;
        for (uint64_t row = 0; row < all; row++) {
            if (!expired(segment, (uint32_t)row, view->now)) continue;
            const uint64_t visible = view->visible[pm_segment_shard(segment, row)];
            *rows += pm_segment_lsn(segment, row) <= visible && pm_segment_end_of(segment, row) > visible;
        }
    }
    return POMAI_OK;
}
