/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view is cut into pieces of some words of the bitmap each, none of which is of two sources, so that no two threads
 * store to the same word. A segment with columns is one piece: it takes less time than a few thousand documents. Each
 * thread takes pieces from a counter until there are no more, and has memory of its own.
 */
#include "query/judge.h"

#include <string.h>

#include "base/mutant.h"
#include "query/derived.h"

enum {
    PIECE_WORDS = 64, /* that one thread does at once: 4,096 rows or fewer */
    ASK_WORDS = 16,   /* after which it asks whether it is over */
};

typedef struct judging {
    const pm_judge_how *how;
    pm_judgement *to;
    uint64_t pieces;
    _Atomic uint64_t next; /* piece to take */
    _Atomic bool over, failed;
    _Atomic bool told; /* `error` is taken */
    pomai_error error;
} judging;

static uint64_t words_of(uint64_t rows)
{
    return (rows + 63) / 64;
}

/* ---- a piece of a source ---- */

bool pm_judge_begin(pm_judge *with, const pm_view *view, const pm_filter *filter)
{
    const size_t size = filter == NULL ? 0 : pm_filter_scratch_size(filter);
    *with = (pm_judge){.view = view, .filter = filter, .scratch = pm_malloc(size + 1)};
    if (with->scratch == NULL) return false;
    with->none = filter == NULL || pm_filter_matches(filter, with->scratch, "", 0);
    return true;
}

void pm_judge_end(pm_judge *with)
{
    pm_free(with->scratch);
    with->scratch = NULL;
}

bool pm_judge_matches(const pm_judge *with, pomai_bytes document)
{
    return document.size == 0 || with->filter == NULL
               ? with->none
               : pm_filter_matches(with->filter, with->scratch, document.data, document.size);
}

uint64_t pm_judge_chunk(const pm_judge *with, const pm_chunk *chunk, uint64_t visible, uint64_t first)
{
    const uint32_t begin = (uint32_t)first, end = (uint32_t)pm_min_u64(chunk->rows, first + 64);
    uint64_t bits = 0;
    for (uint32_t row = begin; row < end; row++)
        if (pm_chunk_row_visible(chunk, row, visible, with->view->now) &&
            pm_judge_matches(with, pm_chunk_document(chunk, row)))
            bits |= (uint64_t)1 << (row - begin);
    return bits;
}

/* Of 64 rows from `first` on, those of `among` whose documents match. */
static pomai_status judge_documents(const pm_judge *with, pm_segment *segment, uint64_t first, uint64_t among,
                                    uint64_t *bits, pomai_error *err)
{
    *bits = segment->document_offsets == NULL && with->none ? among : 0;
    if (among == 0 || segment->document_offsets == NULL) return POMAI_OK;
    const uint32_t low = (uint32_t)__builtin_ctzll(among), high = 63 - (uint32_t)__builtin_clzll(among);
    pomai_status status = pm_segment_check(segment, PM_SEG_DOCUMENT, first + low, high - low + 1, err);
    for (; status == POMAI_OK && among != 0; among &= among - 1)
        if (pm_judge_matches(with, pm_segment_document(segment, first + (uint32_t)__builtin_ctzll(among))))
            *bits |= among & (0 - among);
    return status;
}

pomai_status pm_judge_segment(const pm_judge *with, pm_segment *segment, uint64_t first, uint64_t n, uint64_t *bits,
                              pomai_error *err)
{
    bool all;
    pomai_status status =
        pm_view_see(with->view, segment, pm_view_is_plain(with->view, segment), first, n, bits, &all, err);
    for (uint64_t i = 0; status == POMAI_OK && with->filter != NULL && i < words_of(n); i++)
        status = judge_documents(with, segment, first + i * 64, bits[i], &bits[i], err);
    return status;
}

/* Bits of `match`, and of those rows of `open` whose documents match. */
static pomai_status settle_open(const pm_judge *with, pm_segment *segment, uint64_t *match, const uint64_t *open,
                                pm_judge_by *by, pomai_error *err)
{
    const uint64_t words = words_of(pm_segment_rows(segment));
    pomai_status status = POMAI_OK;
    for (uint64_t w = 0; w < words && status == POMAI_OK; w++) {
        uint64_t bits = 0;
        if (open[w] == 0) continue;
        by->documents += (uint64_t)__builtin_popcountll(open[w]);
        status = judge_documents(with, segment, w * 64, open[w], &bits, err);
        match[w] |= PM_MUTANT(OPEN_NOT_JUDGED) ? 0 : bits;
    }
    return status;
}

static pomai_status match_columns(const pm_judge *with, pm_segment *segment, const pm_columns_plan *plan,
                                  bool (*is_over)(const void *context), const void *context, uint64_t *bits,
                                  pm_judge_by *by, pomai_error *err)
{
    const uint64_t rows = pm_segment_rows(segment);
    bool all, any_open = false, over = false;
    pm_columns_plan_bounds(plan, &by->least, &by->most);
    if (by->most == 0) {
        memset(bits, 0, words_of(rows) * sizeof *bits);
        return POMAI_OK;
    }
    pomai_status status =
        pm_view_see(with->view, segment, pm_view_is_plain(with->view, segment), 0, rows, bits, &all, err);
    if (status != POMAI_OK) return status;
    for (uint64_t row = 0; row < rows && PM_MUTANT(COLUMNS_SEE_ALL); row++)
        bits[row / 64] |= (uint64_t)1 << (row % 64);
    uint64_t *open = pm_malloc(words_of(rows) * sizeof *open);
    if (open == NULL || !pm_columns_match(plan, bits, open, &any_open, is_over, context, &over))
        status = pm_fail(err, POMAI_ENOMEM, "no memory to judge rows by a filter");
    else if (over)
        status = POMAI_EDEADLINE;
    else if (any_open)
        status = settle_open(with, segment, bits, open, by, err);
    pm_free(open);
    return status;
}

pomai_status pm_judge_columns(const pm_judge *with, pm_segment *segment, bool (*is_over)(const void *context),
                              const void *context, uint64_t *bits, pm_judge_by *by, pomai_error *err)
{
    pm_derived *derived =
        with->simd == NULL || with->filter == NULL ? NULL : pm_segment_derived(segment, PM_DERIVED_COLUMNS);
    bool over = false;
    *by = (pm_judge_by){.columns = false};
    if (derived == NULL) return POMAI_ENOTFOUND;
    const bool ready = pm_query_derived_is_ready(derived, 0, 1, is_over, context, &over);
    if (over) return POMAI_EDEADLINE;
    if (!ready) return POMAI_ENOTFOUND;
    pm_columns columns;
    pm_query_derived_columns(derived, &columns);
    pm_columns_plan *plan = pm_columns_plan_make(&columns, with->filter, with->simd, is_over, context, &over);
    if (plan == NULL)
        return over ? POMAI_EDEADLINE : pm_fail(err, POMAI_ENOMEM, "no memory to look a filter up in columns");
    by->columns = true;
    const pomai_status status = match_columns(with, segment, plan, is_over, context, bits, by, err);
    pm_columns_plan_free(plan);
    return status;
}

/* ---- all rows of a view ---- */

/* Whether a segment is judged at once. Whether its columns can be used is known only when they are. */
static bool is_one_piece(const pm_judge_how *how, const pm_judged *from)
{
    if (from->table != NULL || how->simd == NULL || how->filter == NULL) return false;
    const pm_derived *derived = pm_segment_derived(from->segment, PM_DERIVED_COLUMNS);
    return derived != NULL && atomic_load_explicit(&derived->state, memory_order_acquire) != PM_DERIVED_BAD;
}

static void add_table(pm_judgement *to, const pm_memtable *table, uint64_t visible)
{
    if (table == NULL) return;
    to->source[to->sources++] =
        (pm_judged){.table = table, .visible = visible, .chunks = pm_memtable_visible_chunks(table, visible)};
}

static uint64_t rows_of(const pm_judged *from, uint64_t chunk)
{
    return from->table == NULL ? pm_segment_rows(from->segment) : pm_memtable_chunk(from->table, chunk)->rows;
}

/* How many words all sources need, and where those of each chunk begin. */
static bool count_words(const pm_judgement *to, uint64_t *words, uint64_t *chunks)
{
    *words = *chunks = 0;
    for (uint32_t i = 0; i < to->sources; i++) {
        const pm_judged *from = &to->source[i];
        for (uint64_t c = 0; c < from->chunks; c++)
            if (__builtin_add_overflow(*words, words_of(rows_of(from, c)), words)) return false;
        if (from->table != NULL && __builtin_add_overflow(*chunks, from->chunks, chunks)) return false;
    }
    return true;
}

static uint64_t lay_out(const pm_judge_how *how, pm_judgement *to, uint64_t *word, uint64_t *at)
{
    uint64_t pieces = 0;
    for (uint32_t i = 0; i < to->sources; i++) {
        pm_judged *from = &to->source[i];
        from->match = word;
        from->first_piece = pieces;
        if (from->table != NULL) from->match_at = at;
        for (uint64_t c = 0; c < from->chunks; c++) {
            const uint64_t rows = rows_of(from, c);
            if (from->table != NULL) *at++ = from->words;
            from->words += words_of(rows);
            from->rows += rows;
        }
        word += from->words;
        from->by.columns = is_one_piece(how, from);
        pieces += from->by.columns ? 1 : (from->words + PIECE_WORDS - 1) / PIECE_WORDS;
    }
    return pieces;
}

/* The sources, and behind them the words of all, and behind them where those of each chunk begin. */
static pm_judgement *make(const pm_judge_how *how, uint64_t *pieces)
{
    const pm_view *view = how->view;
    const pm_shown *shown = view->shown;
    const uint64_t most = shown->shards * 2u + (uint64_t)shown->segments;
    uint64_t words, chunks, bytes;
    pm_judgement *to = pm_calloc(1, sizeof *to + most * sizeof to->source[0]);
    if (to == NULL) return NULL;
    for (uint32_t i = 0; i < shown->segments; i++)
        to->source[to->sources++] = (pm_judged){.segment = shown->segment[i], .chunks = 1};
    for (uint32_t s = 0; s < shown->shards; s++) {
        add_table(to, shown->table[s].frozen, view->visible[s]);
        add_table(to, shown->table[s].active, view->visible[s]);
    }
    const uint64_t head = sizeof *to + to->sources * sizeof to->source[0];
    pm_judgement *whole = NULL;
    if (count_words(to, &words, &chunks) && !__builtin_add_overflow(words, chunks, &bytes) &&
        !__builtin_mul_overflow(bytes, sizeof(uint64_t), &bytes) && !__builtin_add_overflow(bytes, head, &bytes))
        whole = pm_calloc(1, bytes);
    if (whole != NULL) {
        whole->sources = to->sources;
        for (uint32_t i = 0; i < to->sources; i++)
            whole->source[i] = to->source[i];
        uint64_t *word = (uint64_t *)(void *)&whole->source[whole->sources];
        *pieces = lay_out(how, whole, word, word + words);
    }
    pm_free(to);
    return whole;
}

static bool is_over(judging *j)
{
    if (!atomic_load_explicit(&j->over, memory_order_relaxed) && j->how->is_over(j->how->context))
        atomic_store(&j->over, true);
    return atomic_load(&j->over) || atomic_load(&j->failed);
}

static void fail(judging *j, const pomai_error *error)
{
    if (!atomic_exchange(&j->told, true)) j->error = *error;
    atomic_store(&j->failed, true);
}

/* The last chunk whose words begin at or before `word`. */
static uint64_t chunk_of(const pm_judged *from, uint64_t word)
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

static void judge_table(const pm_judge *with, const pm_judged *from, uint64_t word, uint64_t end)
{
    uint64_t chunk = chunk_of(from, word);
    for (; word < end; word++) {
        while (chunk + 1 < from->chunks && from->match_at[chunk + 1] <= word)
            chunk++;
        from->match[word] = pm_judge_chunk(with, pm_memtable_chunk(from->table, chunk), from->visible,
                                           (word - from->match_at[chunk]) * 64);
    }
}

/* Words of a source. Damage is told as it is to who reads documents. */
static void judge_words(judging *j, const pm_judge *with, const pm_judged *from, uint64_t word, uint64_t end)
{
    for (uint64_t stop; word < end && !is_over(j); word = stop) {
        stop = pm_min_u64(end, word + ASK_WORDS);
        pomai_error error;
        if (from->table != NULL) {
            judge_table(with, from, word, stop);
            continue;
        }
        const uint64_t first = word * 64, n = pm_min_u64(stop * 64, from->rows) - first;
        if (pm_judge_segment(with, from->segment, first, n, from->match + word, &error) != POMAI_OK) fail(j, &error);
    }
}

/* All of a segment: by its columns, or else by documents. */
static void judge_whole(judging *j, const pm_judge *with, pm_judged *from)
{
    pomai_error error;
    const pm_judge_how *how = j->how;
    const pomai_status status =
        pm_judge_columns(with, from->segment, how->is_over, how->context, from->match, &from->by, &error);
    if (status == POMAI_OK) return;
    memset(from->match, 0, from->words * sizeof *from->match);
    if (status == POMAI_ENOTFOUND)
        judge_words(j, with, from, 0, from->words);
    else if (status == POMAI_EDEADLINE)
        atomic_store(&j->over, true);
    else
        fail(j, &error);
}

/* The last source that begins at or before a piece, which is not one without pieces. */
static pm_judged *source_of(pm_judgement *to, uint64_t piece)
{
    uint32_t low = 0, high = to->sources;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (to->source[middle].first_piece <= piece)
            low = middle;
        else
            high = middle;
    }
    return &to->source[low];
}

/* One thread's share. */
static void judge_pieces(void *context, uint32_t thread)
{
    judging *j = context;
    pm_judge with = {.scratch = NULL};
    pomai_error error;
    (void)thread;
    for (uint64_t piece; (piece = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed)) < j->pieces;) {
        if (is_over(j)) break;
        if (with.scratch == NULL && !pm_judge_begin(&with, j->how->view, j->how->filter)) {
            (void)pm_fail(&error, POMAI_ENOMEM, "no memory to judge rows by a filter");
            fail(j, &error);
            break;
        }
        pm_judged *from = source_of(j->to, piece);
        with.simd = j->how->simd;
        if (from->by.columns) {
            judge_whole(j, &with, from);
            continue;
        }
        const uint64_t word = (piece - from->first_piece) * PIECE_WORDS;
        judge_words(j, &with, from, word, pm_min_u64(word + PIECE_WORDS, from->words));
    }
    pm_judge_end(&with);
}

pomai_status pm_judge_all(const pm_judge_how *how, pm_judgement **out, pomai_error *err)
{
    judging j = {.how = how};
    pm_judgement *to = j.to = make(how, &j.pieces);
    *out = NULL;
    if (to == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for a bit of every row");
    pm_pool_run(how->pool, judge_pieces, &j, (uint32_t)pm_min_u64(j.pieces, (uint64_t)pm_pool_helpers(how->pool) + 1));
    if (atomic_load(&j.failed)) {
        pm_judgement_free(to);
        if (err != NULL) *err = j.error;
        return j.error.status;
    }
    for (uint32_t i = 0; i < to->sources; i++) {
        pm_judged *from = &to->source[i];
        for (uint64_t w = 0; w < from->words; w++)
            from->matches += (uint64_t)__builtin_popcountll(from->match[w]);
        to->matches += from->matches;
    }
    to->whole = !atomic_load(&j.over);
    *out = to;
    return POMAI_OK;
}

void pm_judgement_free(pm_judgement *judgement)
{
    pm_free(judgement);
}
