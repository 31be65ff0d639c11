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
#include "simd/ranks.h"

enum {
    PIECE_WORDS = 64, /* that one thread does at once: 4,096 rows or fewer */
    ASK_WORDS = 16,   /* after which it asks whether it is over, */
    ASK_DOCUMENTS = ASK_WORDS * 64,
    ASK_SEEN = 1 << 16, /* or so many rows, where they are only asked whether the reader sees them */
    CHECKED = 1 << 20   /* bytes of documents that are checked at once, before it is asked again */
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

pomai_status pm_judge_is_over(pomai_error *err)
{
    return pm_fail(err, POMAI_EDEADLINE,
                   "not all rows were looked at before the call was over, by its deadline or because it was cancelled");
}

bool pm_judge_matches(const pm_judge *with, pomai_bytes document)
{
    if (document.size == 0 || with->filter == NULL) return with->none;
    return with->asks == NULL
               ? pm_filter_matches(with->filter, with->scratch, document.data, document.size)
               : pm_filter_matches_until(with->filter, with->scratch, document.data, document.size, with->asks);
}

static bool is_told(const pm_judge *with)
{
    return with->asks != NULL && with->asks->over;
}

uint64_t pm_judge_chunk(const pm_judge *with, const pm_chunk *chunk, uint64_t visible, uint64_t first)
{
    const uint32_t begin = (uint32_t)first, end = (uint32_t)pm_min_u64(chunk->rows, first + 64);
    uint64_t bits = 0;
    for (uint32_t row = begin; row < end && !is_told(with); row++)
        if (pm_chunk_row_visible(chunk, row, visible, with->view->now) &&
            pm_judge_matches(with, pm_chunk_document(chunk, row)))
            bits |= (uint64_t)1 << (row - begin);
    return bits;
}

/* Checks the documents of rows `low` to `high`, or leaves that for each of them: all may be gigabytes. What offsets say
 * that are not checked yet is only used to choose. */
static pomai_status check_documents(pm_segment *segment, uint64_t low, uint64_t high, bool *each, pomai_error *err)
{
    *each = segment->document_offsets[high + 1] - segment->document_offsets[low] > CHECKED;
    return *each ? POMAI_OK : pm_segment_check(segment, PM_SEG_DOCUMENT, low, high - low + 1, err);
}

/* Of 64 rows from `first` on, those of `among` whose documents match. */
static pomai_status judge_documents(const pm_judge *with, pm_segment *segment, uint64_t first, uint64_t among,
                                    uint64_t *bits, pomai_error *err)
{
    bool each;
    *bits = segment->document_offsets == NULL && with->none ? among : 0;
    if (among == 0 || segment->document_offsets == NULL || is_told(with)) return POMAI_OK;
    const uint32_t low = (uint32_t)__builtin_ctzll(among), high = 63 - (uint32_t)__builtin_clzll(among);
    pomai_status status = check_documents(segment, first + low, first + high, &each, err);
    for (; status == POMAI_OK && among != 0 && !is_told(with); among &= among - 1) {
        const uint64_t row = first + (uint32_t)__builtin_ctzll(among);
        if (each) status = pm_segment_check(segment, PM_SEG_DOCUMENT, row, 1, err);
        if (status == POMAI_OK && pm_judge_matches(with, pm_segment_document(segment, row)))
            *bits |= among & (0 - among);
    }
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

pomai_status pm_judge_open(const pm_judge *with, pm_segment *segment, uint64_t first, uint64_t words,
                           const uint64_t *open, uint64_t *bits, pomai_error *err)
{
    pomai_status status = POMAI_OK;
    for (uint64_t w = 0; w < words && status == POMAI_OK; w++) {
        uint64_t match = 0;
        if (open[w] == 0) continue;
        status = judge_documents(with, segment, first + w * 64, open[w], &match, err);
        bits[w] |= PM_MUTANT(OPEN_NOT_JUDGED) ? 0 : match;
    }
    return status;
}

/* The same of all rows. These may all be open. */
static pomai_status settle_open(const pm_judge *with, pm_segment *segment, uint64_t *match, const uint64_t *open,
                                bool (*is_over)(const void *context), const void *context, pm_judge_by *by,
                                pomai_error *err)
{
    const uint64_t words = words_of(pm_segment_rows(segment));
    uint64_t since = 0; /* it was asked */
    pomai_status status = POMAI_OK;
    for (uint64_t w = 0; w < words && status == POMAI_OK; w++) {
        const uint64_t n = (uint64_t)__builtin_popcountll(open[w]);
        if (since + n > ASK_DOCUMENTS) {
            if (is_over(context)) return POMAI_EDEADLINE;
            since = 0;
        }
        since += n;
        by->documents += n;
        status = pm_judge_open(with, segment, w * 64, 1, open + w, match + w, err);
    }
    return status;
}

static void set_all(uint64_t *bits, uint64_t rows)
{
    memset(bits, 0xff, words_of(rows) * sizeof *bits);
    if (rows % 64 != 0) bits[rows / 64] = ((uint64_t)1 << rows % 64) - 1;
}

/* Takes those rows away that the reader does not see, where there are some; or POMAI_EDEADLINE. */
static pomai_status see_matches(const pm_judge *with, pm_segment *segment, bool (*is_over)(const void *context),
                                const void *context, uint64_t *bits, uint64_t *open, pomai_error *err)
{
    const uint64_t rows = pm_segment_rows(segment);
    const bool plain = pm_view_is_plain(with->view, segment);
    uint64_t since = 0;                                           /* it was asked */
    if (plain && pm_segment_ended(segment) == 0) return POMAI_OK; /* who ends later is still seen */
    for (uint64_t w = 0; w < words_of(rows) && !PM_MUTANT(COLUMNS_SEE_ALL); w++) {
        uint64_t seen;
        bool all;
        if ((bits[w] | open[w]) == 0) continue;
        if ((since += 64) > ASK_SEEN) {
            if (is_over(context)) return POMAI_EDEADLINE;
            since = 0;
        }
        const uint64_t n = pm_min_u64(64, rows - w * 64);
        pomai_status status = pm_view_see(with->view, segment, plain, w * 64, n, &seen, &all, err);
        if (status != POMAI_OK) return status;
        bits[w] &= seen;
        open[w] &= seen;
    }
    return POMAI_OK;
}

/* `bits` and `open` as pm_judge_columns has them. */
static pomai_status match_columns(const pm_judge *with, pm_segment *segment, const pm_columns_plan *plan,
                                  bool (*is_over)(const void *context), const void *context, uint64_t *bits,
                                  uint64_t *open, bool *any_open, pomai_error *err)
{
    const uint64_t rows = pm_segment_rows(segment);
    uint64_t least, most;
    bool over = false;
    pm_columns_plan_bounds(plan, &least, &most);
    *any_open = false;
    if (most == 0) {
        memset(bits, 0, words_of(rows) * sizeof *bits);
        memset(open, 0, words_of(rows) * sizeof *open);
        return POMAI_OK;
    }
    set_all(bits, rows);
    if (!pm_columns_match(plan, bits, open, any_open, is_over, context, &over))
        return pm_fail(err, POMAI_ENOMEM, "no memory to judge rows by a filter");
    if (over && !PM_MUTANT(COLUMNS_CUT_ARE_WHOLE)) return POMAI_EDEADLINE;
    return see_matches(with, segment, is_over, context, bits, open, err);
}

/* The columns of a segment, and what they make of the filter. POMAI_ENOTFOUND: it has none that can be used. */
static pomai_status plan_columns(const pm_filter *filter, const pm_simd *simd, const pm_segment *segment,
                                 bool (*is_over)(const void *context), const void *context, pm_columns *columns,
                                 pm_columns_plan **plan, pomai_error *err)
{
    pm_derived *derived = simd == NULL || filter == NULL ? NULL : pm_segment_derived(segment, PM_DERIVED_COLUMNS);
    bool over = false;
    if (derived == NULL) return POMAI_ENOTFOUND;
    const bool ready = pm_query_derived_is_ready(derived, 0, 1, is_over, context, &over);
    if (over) return POMAI_EDEADLINE;
    if (!ready) return POMAI_ENOTFOUND;
    pm_query_derived_columns(derived, columns);
    *plan = pm_columns_plan_make(columns, filter, simd, is_over, context, &over);
    if (*plan != NULL) return POMAI_OK;
    return over ? POMAI_EDEADLINE : pm_fail(err, POMAI_ENOMEM, "no memory to look a filter up in columns");
}

pomai_status pm_judge_columns(const pm_judge *with, pm_segment *segment, bool (*is_over)(const void *context),
                              const void *context, uint64_t *bits, uint64_t *open, pomai_error *err)
{
    pm_columns columns;
    pm_columns_plan *plan;
    bool any_open;
    pomai_status status = plan_columns(with->filter, with->simd, segment, is_over, context, &columns, &plan, err);
    if (status != POMAI_OK) return status;
    status = match_columns(with, segment, plan, is_over, context, bits, open, &any_open, err);
    pm_columns_plan_free(plan);
    return status;
}

/* ---- all rows of a view ---- */

static void add_table(pm_judgement *to, const pm_memtable *table, uint64_t visible)
{
    if (table == NULL) return;
    to->source[to->sources++] =
        (pm_judged){.table = table, .visible = visible, .chunks = pm_memtable_visible_chunks(table, visible)};
}

static pm_judgement *make(const pm_view *view)
{
    const pm_shown *shown = view->shown;
    const uint64_t most = shown->shards * 2u + (uint64_t)shown->segments;
    pm_judgement *to = pm_calloc(1, sizeof *to + most * sizeof to->source[0]);
    if (to == NULL) return NULL;
    for (uint32_t i = 0; i < shown->segments; i++) {
        const uint64_t rows = pm_segment_rows(shown->segment[i]);
        to->source[to->sources++] = (pm_judged){.segment = shown->segment[i], .chunks = 1, .rows = rows};
    }
    for (uint32_t s = 0; s < shown->shards; s++) {
        add_table(to, shown->table[s].frozen, view->visible[s]);
        add_table(to, shown->table[s].active, view->visible[s]);
    }
    return to;
}

/* Of rows that can match those that the reader sees and that do. */
static pomai_status judge_listed(const pm_judge *with, pm_judged *from, bool all, const bool *open, uint32_t count,
                                 pomai_error *err)
{
    pm_segment *segment = from->segment;
    const bool plain = pm_view_is_plain(with->view, segment);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t row = from->list[i];
        uint64_t seen = UINT64_MAX, first = row / 64 * 64;
        bool whole;
        pomai_status status = all ? POMAI_OK
                                  : pm_view_see(with->view, segment, plain, first, pm_min_u64(64, from->rows - first),
                                                &seen, &whole, err);
        seen &= (uint64_t)1 << row % 64;
        if (PM_MUTANT(COLUMNS_SEE_ALL)) seen = (uint64_t)1 << row % 64;
        if (status == POMAI_OK && open[i]) {
            from->by.documents += seen != 0;
            status = judge_documents(with, segment, first, seen, &seen, err);
            if (PM_MUTANT(OPEN_NOT_JUDGED)) seen = 0;
        }
        if (status != POMAI_OK) return status;
        if (seen != 0) from->list[from->matches++] = row;
    }
    return POMAI_OK;
}

/* Rows that are listed: often the reader sees them all, and columns have told everything. */
static pomai_status judge_few(const pm_judge_how *how, pm_judged *from, const bool *open, uint32_t count,
                              pomai_error *err)
{
    pm_judge with;
    const bool all = pm_view_is_plain(how->view, from->segment) &&
                     pm_segment_ended(from->segment) == 0; /* who ends later is still seen */
    if (all && memchr(open, true, count) == NULL) {
        from->matches = count;
        return POMAI_OK;
    }
    pm_filter_asks asks = {how->is_over, how->context, 0, false};
    if (!pm_judge_begin(&with, how->view, how->filter))
        return pm_fail(err, POMAI_ENOMEM, "no memory to judge rows by a filter");
    with.asks = &asks;
    const pomai_status status = judge_listed(&with, from, all, open, count, err);
    pm_judge_end(&with);
    /* There may be many segments. */
    const bool over = asks.over || (from->by.documents > 0 && how->is_over(how->context));
    return status == POMAI_OK && over ? POMAI_EDEADLINE : status;
}

/* Whether it has few rows that can match: then they are judged at once. */
static pomai_status list_few(const pm_judge_how *how, pm_judged *from, pomai_error *err)
{
    bool open[PM_JUDGE_FEW], over = false;
    uint32_t count = 0;
    from->listed = from->by.most == 0;
    if (from->by.most == 0) return POMAI_OK;
    if (from->rows <= PM_JUDGE_FEW) return POMAI_OK; /* bits of few rows are as good */
    const uint32_t room = (uint32_t)pm_min_u64(from->by.most, PM_JUDGE_FEW);
    from->list = pm_malloc(room * sizeof *from->list);
    if (from->list == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory to list rows");
    from->listed = pm_columns_rows(from->plan, room, from->list, open, &count, how->is_over, how->context, &over);
    if (over && !PM_MUTANT(LIST_CUT_IS_WHOLE)) return POMAI_EDEADLINE;
    if (!from->listed) {
        pm_free(from->list);
        from->list = NULL;
        return POMAI_OK;
    }
    const pomai_status status = judge_few(how, from, open, count, err);
    if (how->list != NULL) how->list(how->context, from);
    return status;
}

/* What columns tell before any row is looked at. */
static pomai_status look_up(const pm_judge_how *how, pm_judged *from, pomai_error *err)
{
    if (from->table != NULL) return POMAI_OK;
    const pomai_status status = plan_columns(how->filter, how->simd, from->segment, how->is_over, how->context,
                                             &from->columns, &from->plan, err);
    if (status != POMAI_OK) return status == POMAI_ENOTFOUND ? POMAI_OK : status;
    from->by.columns = true;
    pm_columns_plan_bounds(from->plan, &from->by.least, &from->by.most);
    pm_columns_fetch(from->plan);
    return POMAI_OK;
}

static uint64_t rows_of(const pm_judged *from, uint64_t chunk)
{
    return from->table == NULL ? pm_segment_rows(from->segment) : pm_memtable_chunk(from->table, chunk)->rows;
}

/* How many words all sources need that have bits, and where those of each chunk begin. */
static bool count_words(const pm_judgement *to, uint64_t *words, uint64_t *chunks)
{
    *words = *chunks = 0;
    for (uint32_t i = 0; i < to->sources; i++) {
        const pm_judged *from = &to->source[i];
        for (uint64_t c = 0; c < from->chunks && !from->listed; c++)
            if (__builtin_add_overflow(*words, words_of(rows_of(from, c)), words)) return false;
        if (from->table != NULL && __builtin_add_overflow(*chunks, from->chunks, chunks)) return false;
    }
    return true;
}

/* One piece of memory: the words of all sources, and behind them where those of each chunk begin. false: none. */
static bool lay_out(pm_judgement *to, uint64_t *pieces)
{
    uint64_t words, chunks, bytes;
    *pieces = 0;
    if (!count_words(to, &words, &chunks) || __builtin_add_overflow(words, chunks, &bytes) ||
        __builtin_mul_overflow(bytes, sizeof(uint64_t), &bytes))
        return false;
    to->words = bytes == 0 ? NULL : pm_calloc(1, bytes);
    if (bytes > 0 && to->words == NULL) return false;
    uint64_t *word = to->words, *at = to->words + words;
    for (uint32_t i = 0; i < to->sources; i++) {
        pm_judged *from = &to->source[i];
        from->first_piece = *pieces;
        if (from->listed) continue;
        from->match = word;
        from->rows = 0;
        if (from->table != NULL) from->match_at = at;
        for (uint64_t c = 0; c < from->chunks; c++) {
            const uint64_t rows = rows_of(from, c);
            if (from->table != NULL) *at++ = from->words;
            from->words += words_of(rows);
            from->rows += rows;
        }
        word += from->words;
        *pieces += from->plan != NULL ? 1 : (from->words + PIECE_WORDS - 1) / PIECE_WORDS;
    }
    return true;
}

static bool is_over(judging *j)
{
    if (!atomic_load_explicit(&j->over, memory_order_relaxed) && j->how->is_over(j->how->context))
        atomic_store(&j->over, true);
    return atomic_load(&j->over) || atomic_load(&j->failed);
}

/* For who judges a row: the judging is over with it. */
static bool ends_judging(const void *context)
{
    judging *const *j = context;
    return is_over(*j);
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

/* All of a segment, by its columns. */
static void judge_whole(judging *j, const pm_judge *with, pm_judged *from)
{
    pomai_error error;
    const pm_judge_how *how = j->how;
    bool any_open = false;
    uint64_t *open = pm_malloc(from->words * sizeof *open);
    pomai_status status = open == NULL ? pm_fail(&error, POMAI_ENOMEM, "no memory to judge rows by a filter")
                                       : match_columns(with, from->segment, from->plan, how->is_over, how->context,
                                                       from->match, open, &any_open, &error);
    if (status == POMAI_OK && any_open)
        status = settle_open(with, from->segment, from->match, open, how->is_over, how->context, &from->by, &error);
    pm_free(open);
    if (status == POMAI_OK) return;
    memset(from->match, 0, from->words * sizeof *from->match);
    if (status == POMAI_EDEADLINE)
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
    pm_filter_asks asks = {ends_judging, &j, 0, false};
    pomai_error error;
    (void)thread;
    for (uint64_t piece; (piece = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed)) < j->pieces;) {
        if (is_over(j)) break;
        if (with.scratch == NULL && !pm_judge_begin(&with, j->how->view, j->how->filter)) {
            (void)pm_fail(&error, POMAI_ENOMEM, "no memory to judge rows by a filter");
            fail(j, &error);
            break;
        }
        with.asks = &asks;
        pm_judged *from = source_of(j->to, piece);
        if (from->plan != NULL) {
            judge_whole(j, &with, from);
            continue;
        }
        const uint64_t word = (piece - from->first_piece) * PIECE_WORDS;
        judge_words(j, &with, from, word, pm_min_u64(word + PIECE_WORDS, from->words));
    }
    pm_judge_end(&with);
}

/* Everything that is told before rows are gone through. */
static pomai_status prepare(judging *j, pomai_error *err)
{
    pm_judgement *to = j->to;
    pomai_status status = POMAI_OK;
    for (uint32_t i = 0; i < to->sources && status == POMAI_OK; i++)
        status = look_up(j->how, &to->source[i], err);
    for (uint32_t i = 0; i < to->sources && status == POMAI_OK; i++)
        if (to->source[i].plan != NULL) status = list_few(j->how, &to->source[i], err);
    if (status == POMAI_EDEADLINE) {
        for (uint32_t i = 0; i < to->sources; i++) /* nothing was judged */
            to->source[i].matches = 0;
        atomic_store(&j->over, true);
        status = POMAI_OK;
    }
    if (status == POMAI_OK && !lay_out(to, &j->pieces))
        status = pm_fail(err, POMAI_ENOMEM, "no memory for a bit of every row");
    return status;
}

static uint64_t count_bits(const pm_simd *simd, const uint64_t *bits, size_t words)
{
    uint64_t count = 0;
    if (simd != NULL) return simd->ranks->count(bits, words); /* with the processor's own instruction, if it has one */
    for (size_t w = 0; w < words; w++)
        count += (uint64_t)__builtin_popcountll(bits[w]);
    return count;
}

pomai_status pm_judge_all(const pm_judge_how *how, pm_judgement **out, pomai_error *err)
{
    judging j = {.how = how};
    pm_judgement *to = j.to = make(how->view);
    *out = NULL;
    if (to == NULL) return pm_fail(err, POMAI_ENOMEM, "no memory for a bit of every row");
    pomai_status status = prepare(&j, err);
    if (status == POMAI_OK && j.pieces > 0)
        pm_pool_run(how->pool, judge_pieces, &j,
                    (uint32_t)pm_min_u64(j.pieces, (uint64_t)pm_pool_helpers(how->pool) + 1));
    if (status == POMAI_OK && atomic_load(&j.failed)) {
        if (err != NULL) *err = j.error;
        status = j.error.status;
    }
    if (status != POMAI_OK) {
        pm_judgement_free(to);
        return status;
    }
    for (uint32_t i = 0; i < to->sources; i++) {
        pm_judged *from = &to->source[i];
        from->matches += count_bits(how->simd, from->match, from->words);
        to->matches += from->matches;
    }
    to->whole = !atomic_load(&j.over);
    *out = to;
    return POMAI_OK;
}

void pm_judgement_free(pm_judgement *judgement)
{
    if (judgement == NULL) return;
    for (uint32_t i = 0; i < judgement->sources; i++) {
        pm_columns_plan_free(judgement->source[i].plan);
        pm_free(judgement->source[i].list);
    }
    pm_free(judgement->words);
    pm_free(judgement);
}
