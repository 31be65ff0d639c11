/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows a filter lets pass. Every row that the reader sees is judged once for a search, by its document, before
 * anything is planned: then it is known how many match, and whether they are compared one by one or proposed by codes
 * or a graph. The rows are shared out to the search's threads by runs of words of the bitmap, so that no two threads
 * store to the same word.
 */
#include "query/search_int.h"

enum {
    PIECE_WORDS = 64, /* that one thread does at once: 4,096 rows or fewer */
    ASK_WORDS = 16,   /* after which it asks whether the search is over */
    FEW_SHARE = 20,   /* of the rows that match, one in so many: a walk would meet too few of them */
};

typedef struct judging {
    search_grid *g;
    uint64_t words;
    bool none; /* what the filter says of a row without a document */
    _Atomic bool over, failed;
} judging;

static uint64_t words_of(uint64_t rows)
{
    return (rows + 63) / 64;
}

/* ---- the bitmap ---- */

static bool count_words(const search_grid *g, uint64_t *words, uint64_t *chunks)
{
    *words = *chunks = 0;
    for (uint32_t i = 0; i < g->sources; i++) {
        const search_source *from = &g->source[i];
        for (uint64_t c = 0; c < from->chunks; c++)
            if (__builtin_add_overflow(*words, words_of(search_chunk_rows(from, c)), words)) return false;
        if (from->table != NULL && __builtin_add_overflow(*chunks, from->chunks, chunks)) return false;
    }
    return true;
}

/* One piece of memory: the words of all sources, and behind them where those of each chunk begin. */
static bool lay_out(search_grid *g, uint64_t *words)
{
    uint64_t chunks, all, word = 0;
    if (!count_words(g, words, &chunks) || __builtin_add_overflow(*words, chunks, &all) ||
        __builtin_add_overflow(all, 1, &all) || *words / PIECE_WORDS >= UINT32_MAX)
        return false;
    g->match = pm_calloc(all, sizeof *g->match);
    if (g->match == NULL) return false;
    uint64_t *at = g->match + *words;
    for (uint32_t i = 0; i < g->sources; i++) {
        search_source *from = &g->source[i];
        from->match = g->match + word;
        if (from->table != NULL) from->match_at = at;
        for (uint64_t c = 0; c < from->chunks; c++) {
            const uint64_t rows = search_chunk_rows(from, c);
            if (from->table != NULL) *at++ = from->match_words;
            from->match_words += words_of(rows);
            from->rows += rows;
        }
        word += from->match_words;
    }
    return true;
}

/* ---- judging ---- */

static bool matches(const judging *j, void *scratch, pomai_bytes document)
{
    return document.size == 0 ? j->none
                              : pm_filter_matches(j->g->search->filter, scratch, document.data, document.size);
}

static uint64_t judge_chunk(const judging *j, void *scratch, const search_source *from, uint64_t chunk, uint64_t word)
{
    const pm_chunk *in = pm_memtable_chunk(from->table, chunk);
    const uint32_t first = (uint32_t)(word * 64), end = (uint32_t)pm_min_u64(in->rows, word * 64 + 64);
    uint64_t bits = 0;
    for (uint32_t row = first; row < end; row++)
        if (pm_chunk_row_visible(in, row, from->visible, j->g->view->now) &&
            matches(j, scratch, pm_chunk_document(in, row)))
            bits |= (uint64_t)1 << (row - first);
    return bits;
}

/* Damage is told as it is to who reads documents; then nothing matches. */
static uint64_t judge_segment(const judging *j, void *scratch, const search_source *from, uint64_t word)
{
    pm_segment *segment = from->segment;
    const uint64_t first = word * 64;
    const uint32_t rows = (uint32_t)pm_min_u64(64, pm_segment_rows(segment) - first);
    uint64_t seen, bits = 0;
    bool all;
    pomai_error error;
    if (!search_see_rows(j->g, from, first, rows, &seen, &all) || seen == 0) return 0;
    const uint32_t low = (uint32_t)__builtin_ctzll(seen), high = 63 - (uint32_t)__builtin_clzll(seen);
    if (pm_segment_check(segment, PM_SEG_DOCUMENT, first + low, high - low + 1, &error) != POMAI_OK) {
        (void)search_is_damaged(j->g, &error);
        return 0;
    }
    for (; seen != 0; seen &= seen - 1)
        if (matches(j, scratch, pm_segment_document(segment, first + (uint32_t)__builtin_ctzll(seen))))
            bits |= seen & (0 - seen);
    return bits;
}

static bool is_over(judging *j)
{
    if (!atomic_load_explicit(&j->over, memory_order_relaxed) && search_is_over(j->g)) atomic_store(&j->over, true);
    return atomic_load(&j->over) || atomic_load(&j->failed) || atomic_load(&j->g->damaged);
}

/* The last chunk whose words begin at or before `word`. */
static uint64_t chunk_of(const search_source *from, uint64_t word)
{
    uint64_t low = 0, high = from->chunks;
    while (high - low > 1) {
        const uint64_t middle = low + (high - low) / 2;
        if (from->match_at[middle] <= word)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void judge_piece(void *context, uint32_t piece)
{
    judging *j = context;
    const search_grid *g = j->g;
    const search_source *from = g->source;
    uint64_t word = (uint64_t)piece * PIECE_WORDS; /* of all, then of `from` */
    uint64_t left = pm_min_u64(PIECE_WORDS, j->words - word);
    if (is_over(j)) return;
    void *scratch = pm_malloc(pm_filter_scratch_size(g->search->filter) + 1);
    if (scratch == NULL) {
        atomic_store(&j->failed, true);
        return;
    }
    for (uint64_t chunk = UINT64_MAX; left > 0; left--, word++) {
        if (left % ASK_WORDS == 0 && is_over(j)) break;
        for (; word >= from->match_words; chunk = UINT64_MAX)
            word -= (from++)->match_words;
        if (from->table == NULL) {
            from->match[word] = judge_segment(j, scratch, from, word);
            continue;
        }
        if (chunk == UINT64_MAX) chunk = chunk_of(from, word);
        while (chunk + 1 < from->chunks && from->match_at[chunk + 1] <= word)
            chunk++;
        from->match[word] = judge_chunk(j, scratch, from, chunk, word - from->match_at[chunk]);
    }
    pm_free(scratch);
}

static bool judge_none(judging *j)
{
    void *scratch = pm_malloc(pm_filter_scratch_size(j->g->search->filter) + 1);
    if (scratch == NULL) return false;
    j->none = pm_filter_matches(j->g->search->filter, scratch, "", 0);
    pm_free(scratch);
    return true;
}

bool search_judge(search_grid *g, pm_pool *pool)
{
    judging j = {.g = g};
    if (!lay_out(g, &j.words) || !judge_none(&j)) return false;
    pm_pool_run(pool, judge_piece, &j, (uint32_t)((j.words + PIECE_WORDS - 1) / PIECE_WORDS));
    if (atomic_load(&j.failed)) return false;
    for (uint32_t i = 0; i < g->sources; i++) {
        search_source *from = &g->source[i];
        for (uint64_t w = 0; w < from->match_words; w++)
            from->matches += (uint64_t)__builtin_popcountll(from->match[w]);
        g->matches += from->matches;
        if (from->matches > 0) continue;
        g->rows -= from->rows;
        from->chunks = 0;
    }
    g->judged = !atomic_load(&j.over);
    return true;
}

/* ---- planning ---- */

bool search_is_few(const search_source *from, uint32_t k)
{
    const uint64_t m = from->matches;
    /* A walk takes the time of SEARCH_WALK_ROWS rows, and longer by as much as its pool is larger: by rows / m. */
    return m <= k || m <= from->rows / FEW_SHARE || m * m <= SEARCH_WALK_ROWS * from->rows;
}

/*
 * Calibration walked through a pool of rows that all count. To come to as many that do, the pool has to be larger by
 * rows / m where matches are spread evenly, and half as much again, if there is room, because they are not quite.
 */
bool search_make_room(search_source *from)
{
    const uint64_t kept = from->effort.pool, least = kept * from->rows / from->matches;
    const uint64_t pool = pm_min_u64(least + least / 2 + 1, PM_GRAPH_MOST_POOL);
    if (from->matches == from->rows) return true;
    if (least > PM_GRAPH_MOST_POOL) return false;
    from->effort.pool = (uint32_t)pool;
    from->spare = (uint32_t)(pool - kept);
    return true;
}
