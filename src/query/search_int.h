/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a search is cut into pieces, for those who plan it (search.c), who work on a piece (search_cell.c) and who make
 * the answer (search_answer.c).
 *
 * The work is a grid: groups of queries by runs of rows. Many queries make many groups, each over all rows, and a tile
 * of rows stays in the cache while the whole group sees it. Few queries make one group, and the rows are cut into runs
 * for the helpers. Every cell of the grid has its own heaps; the runs of a group are merged, so the answer does not
 * depend on the cut.
 *
 * With a filter all rows are judged first (judge.h), once for all queries: what comes after sees only bits.
 */
#ifndef PM_SEARCH_INT_H
#define PM_SEARCH_INT_H

#include "index/flat/flat.h"
#include "query/codes.h"
#include "query/judge.h"
#include "query/query.h"

enum {
    SEARCH_GROUP = 1024,     /* most queries that share a pass over the rows */
    SEARCH_WALK_ROWS = 1024, /* rows that are compared in about the time of a walk: what a graph counts as in a run */
    SEARCH_SURE_DIM = 8192,  /* of more dimensions, a query in 16 bits is too coarse for codes to be sure */
    SEARCH_SURE_QUERIES = 4, /* most for which that is faster than to compare all with each vector that is read */
};

/* A memtable's chunks that the view shows, or a segment, which counts as one chunk. */
typedef struct search_source {
    const pm_memtable *table; /* NULL: a segment */
    pm_segment *segment;
    pm_derived *codes; /* of the segment; NULL: none that are used */
    bool walked;       /* the segment is searched by its graph; else by codes, or exactly */
    bool plain;        /* a segment all of whose rows the reader sees, but for those with an end */
    uint64_t visible;  /* of the memtable's shard */
    uint64_t chunks;
    pm_graph graph;
    pm_graph_effort effort; /* of a walk, and in its pool room for `spare` rows that do not count */
    uint32_t spare;
    pm_graph_effort pick;  /* with a filter: of a look at the codes of all rows that match, which comes instead of a */
    bool picked;           /* walk, or after one that met too few */
    const uint32_t *list;  /* with a filter, of a segment: the few rows that the reader sees and that match; or */
    uint64_t fetched;      /* the first of these are on their way already */
    pm_derived *listed;    /* codes that say which of them are compared; NULL: all are */
    const uint64_t *match; /* a bit for each row, set if it is such; both NULL: no filter */
    const uint64_t *match_at; /* of a memtable, where the words of each chunk begin */
    uint64_t rows, matches;   /* of all its rows, so many do */
} search_source;

/* Rows from (source, chunk, row) on, `rows` of them; dead ones count. */
typedef struct search_run {
    uint32_t source;
    uint64_t chunk;
    uint32_t row;
    uint64_t rows;
} search_run;

typedef struct search_cell {
    void *memory; /* of the heaps, `size` bytes */
    size_t size;
    uint64_t scanned;
    uint64_t *proposed; /* rows that codes or a graph proposed, of each query */
    uint64_t again;     /* queries for which a walk met too few rows that count */
    double lost;        /* neighbours that are expected to be missed: rows x (1 - recall) */
    bool approximate;   /* a segment was searched by codes or by its graph */
    bool cut;
    bool failed;
} search_cell;

typedef struct search_grid {
    pm_pool *pool;
    uint8_t *small; /* what search_take gives of a small search */
    size_t small_left;
    const pm_os *os;
    const pm_simd *simd;
    const pm_view *view;
    const pm_search *search;
    search_source *source;
    uint32_t sources;
    _Atomic bool damaged; /* `error` says where: of the first that found damage */
    pomai_error error;
    bool targeted;        /* less than everything is asked for: segments are searched by graphs and codes */
    bool sure;            /* all is asked for, and codes say which rows cannot be among it */
    pm_judgement *judged; /* with a filter: which rows match; else NULL */
    uint64_t rows;        /* of all sources */
    uint64_t coded;       /* of these, those that codes look at, */
    uint64_t walked;      /* and those in graphs */
    uint32_t walks;       /* graphs */
    uint32_t k;           /* no more than there are rows: a large k costs no memory that it cannot use */
    size_t query_size;
    size_t walk_size; /* memory of a walk */
    uint32_t groups, runs;
    uint32_t group_queries;
    uint8_t *limits; /* of each query, which the runs of an exact search share; NULL: none */
    size_t limit_size;
    uint64_t judged_at; /* ns; 0 without POMAI_INCLUDE_PLAN */
    search_cell *cell;  /* groups x runs, */
    search_run *run;    /* and behind them the runs */
} search_grid;

/* The recall that codes are asked for: 1 is all; with an `ef` the most that they are calibrated for. */
static inline float search_codes_recall(const search_grid *g)
{
    if (g->sure) return 1;
    return g->search->ef == 0 ? g->search->recall : PM_QUANT_MOST_RECALL;
}

static inline uint32_t search_queries_of(const search_grid *g, uint32_t group)
{
    uint64_t left = g->search->queries - (uint64_t)group * g->group_queries;
    return (uint32_t)pm_min_u64(left, g->group_queries);
}

static inline pm_flat_query *search_heap(const search_grid *g, const search_cell *c, uint32_t i)
{
    return (pm_flat_query *)(void *)((uint8_t *)c->memory + i * g->query_size);
}

/* What a chunk counts as when rows are shared out. */
static inline uint64_t search_chunk_rows(const search_source *from, uint64_t chunk)
{
    if (from->walked) return SEARCH_WALK_ROWS;
    if (from->list != NULL) return from->matches;
    return from->table == NULL ? pm_segment_rows(from->segment) : pm_memtable_chunk(from->table, chunk)->rows;
}

/* Which rows of a chunk (of a segment: 0) match. */
static inline const uint64_t *search_matches_of(const search_source *from, uint64_t chunk)
{
    return from->match + (from->match_at == NULL ? 0 : from->match_at[chunk]);
}

/* Of `rows` rows of a source, those that count, about. */
static inline double search_counted(const search_source *from, uint64_t rows)
{
    return from->match == NULL ? (double)rows : (double)rows * (double)from->matches / (double)from->rows;
}

/* The deadline has passed, or the caller wants no answer any more. context: the grid */
bool search_is_over(const void *context);
/* Whether codes may be used for sure by who does not wait for their check: a little of it is done. */
bool search_may_be_sure(pm_derived *codes);
#ifdef POMAI_TEST_HOOKS
extern int search_listed_forced; /* by codes always, or (below 0) never */
/* Walks miss FALLS_SHORT times what they promise, are never in doubt, and have no more room among matches. */
extern bool search_falls_short;
#define FALLS_SHORT 4
#endif
static inline bool search_never_doubts(void)
{
#ifdef POMAI_TEST_HOOKS
    return search_falls_short;
#else
    return false;
#endif
}
/* Of a row of a segment whose ids are checked, or of a chunk. */
void search_id_of(const void *owner, uint32_t row, pm_flat_id *id);
/* For the pool: one cell. */
void search_work(void *context, uint32_t piece);

enum { SEARCH_SMALL = 4096 };
/* Zeros, for as long as the search takes; NULL: no memory. */
void *search_take(search_grid *g, size_t count, size_t size);
void search_give(const search_grid *g, void *memory);

/* false, always: a read met damage. */
bool search_is_damaged(search_grid *g, const pomai_error *error);

/* search_filter.c, which sets the `match` of all sources. A source where nothing matches is left without chunks. false:
 * no memory; g->damaged says the rest. */
bool search_judge(search_grid *g, pm_pool *pool);
/* Whether so few rows of a source match that they are all compared. */
bool search_is_few(const search_source *from, uint32_t k);
/* Whether an exact search looks at the codes of so many listed rows before their vectors. */
bool search_codes_pay(const search_grid *g, const pm_segment *segment, uint64_t matches);
/* Whether matches are so few among the rows that the codes of a list of them are read, and not those of blocks of rows:
 * then codes are sure. */
bool search_is_sparse(const search_grid *g, const search_source *from);
/* For a segment that can be walked with an effort that is known: whether it is, and with which pool, or its matching
 * rows are picked by their codes. */
void search_plan_matches(search_source *from);

/* When what was done, ns. */
typedef struct search_times {
    uint64_t begin, judged, end;
    uint32_t threads;
} search_times;

/* explain.c: adds what was done, once the cells are merged. */
void search_explain(const search_grid *g, const search_times *times, pm_text *text);

/* Merges the runs of each group into its first cell. */
void search_merge(const search_grid *g);
pomai_status search_no_memory(const pm_search *search, pomai_error *err);
pomai_status search_collect(search_grid *g, pomai_result **out, pomai_error *err);

#endif
