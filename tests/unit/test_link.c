/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links of a graph: every level of the kernels and any number of threads give the same, links are in range and in
 * order, every row is reached, and a plain walk finds what is near.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/graph/link.h"
#include "index/graph/link_int.h"
#include "simd/graph.h"
#include "support/cases.h"
#include "support/crew.h"
#include "support/levels.h"
#include "support/no_memory.h"
#include "support/reached.h"

#define DIGEST 0xecb59972192e3b00u

/* ---- rows ---- */

enum kind { CLUSTERED, EQUAL, FEW, DUPLICATES, NOISE, EXTREMES, FAR, OUTLIERS, TIGHT, KINDS };
#define CENTRES 300

static uint8_t near_byte(int centre, int by)
{
    const int at = centre + (int)below((size_t)(2 * by + 1)) - by;
    return (uint8_t)(at < 0 ? 0 : at > 255 ? 255 : at);
}

static uint8_t element(enum kind kind, const uint8_t *centre, size_t d, uint64_t row)
{
    switch (kind) {
    case CLUSTERED:
        return near_byte(centre[d], 40);
    case EQUAL:
        return 77;
    case FEW: /* sixteen different rows */
        return d < 4 ? (uint8_t)(below(2) * 200) : 0;
    case EXTREMES:
        return (uint8_t)(below(2) * 255);
    case TIGHT:
        return near_byte(centre[d], 2);
    case FAR: /* clusters that no leaf of the near ones joins */
        return near_byte(centre[d] / 128 * 255, 1);
    case OUTLIERS:
        return row % 500 == 0 ? (uint8_t)below(256) : near_byte(20, 2);
    default:
        return (uint8_t)below(256);
    }
}

static uint8_t *fill(enum kind kind, uint64_t rows, size_t dim, size_t stride)
{
    uint8_t *code = allocate(rows * stride), *centres = allocate(CENTRES * dim);
    for (size_t i = 0; i < CENTRES * dim; i++)
        centres[i] = (uint8_t)below(256);
    memset(code, 0, rows * stride);
    for (uint64_t i = 0; i < rows; i++) {
        const uint8_t *centre = centres + below(kind == TIGHT ? CENTRES : 16) * dim;
        if (kind == DUPLICATES && i > 8 && below(3) > 0) {
            memcpy(code + i * stride, code + below(below(2) == 0 ? 8 : i) * stride, stride);
            continue;
        }
        for (size_t d = 0; d < dim; d++)
            code[i * stride + d] = element(kind, centre, d, i);
    }
    free(centres);
    return code;
}

/* threads 0: without a runner. */
static pomai_status link_rows(const graph_codes *codes, graph_link_options options, uint32_t threads, uint32_t *links,
                              uint64_t stop_at, uint64_t *asked)
{
    crew c = {.threads = threads, .stop_at = stop_at};
    const pm_index_work work = {&c, threads > 0 ? crew_run : NULL, crew_go_on};
    options.work = &work;
    const pomai_status status = graph_link(codes, &options, links);
    if (asked != NULL) *asked = atomic_load(&c.asked);
    return status;
}

/* ---- what links must be ---- */

static uint64_t distance(const graph_codes *codes, uint64_t a, uint64_t b)
{
    const uint8_t *x = codes->code + a * codes->stride, *y = codes->code + b * codes->stride;
    uint64_t sum = 0;
    for (size_t d = 0; d < codes->stride; d++)
        sum += (uint64_t)((x[d] - y[d]) * (x[d] - y[d]));
    return sum;
}

static bool in_order(const graph_codes *codes, uint32_t degree, const uint32_t *links)
{
    for (uint64_t row = 0; row < codes->rows; row++) {
        const uint32_t *own = links + row * degree;
        uint64_t before = 0;
        bool ended = false;
        for (uint32_t i = 0; i < degree; i++) {
            ended = ended || own[i] == GRAPH_NONE;
            if (ended && own[i] == GRAPH_NONE) continue;
            if (ended || own[i] >= codes->rows || own[i] == row) return false;
            const uint64_t key = distance(codes, row, own[i]) << 32 | own[i];
            if (i > 0 && key <= before) return false; /* so no row is there twice */
            before = key;
        }
    }
    return true;
}

static void check_links(const graph_codes *codes, uint32_t degree, const uint32_t *links)
{
    uint32_t entry = GRAPH_NONE;
    assert_int_equal(graph_entries(codes, levels[nlevels - 1], 1, 1, &entry), POMAI_OK);
    check(in_order(codes, degree, links), "links", "", codes->stride, codes->rows);
    check(count_reached(codes->rows, degree, links, entry) == codes->rows, "reached", "", codes->stride, codes->rows);
}

/* ---- kernels ---- */

static void distances_are_right_at_every_level(void **unused)
{
    (void)unused;
    static const size_t strides[] = {64, 128, 192, 256, 320, 832, 4096, PM_GRAPH_STRIDE};
    begin();
    for (size_t i = 0; i < 160; i++) {
        const size_t stride = strides[i % 8], n = 1 + below(PM_GRAPH_TILE), packed = 1 + below(100);
        const size_t apart = (pm_graph_panels(packed) + below(2)) * PM_GRAPH_PANEL;
        uint8_t *code = fill(i % 3 == 0 ? EXTREMES : NOISE, n + packed, stride, stride);
        uint32_t *out = allocate(PM_GRAPH_TILE * apart * sizeof *out);
        const uint8_t *row[PM_GRAPH_TILE + 100];
        if (left_out()) {
            free(code), free(out);
            continue;
        }
        if (i % 6 == 0) memset(code, 0, n * stride), memset(code + n * stride, 255, packed * stride);
        const graph_codes codes = {code, n + packed, stride};
        for (size_t r = 0; r < n + packed; r++)
            row[r] = code + r * stride;
        for (size_t l = 0; l < nlevels; l++) {
            const pm_simd_graph *k = levels[l]->graph;
            uint8_t *panels = allocate(pm_graph_panels(packed) * pm_graph_panel_bytes(k, stride));
            k->pack(row + n, packed, stride, panels);
            k->distances(row, n, stride, panels, packed, out, apart);
            bool right = true;
            for (size_t a = 0; a < n; a++)
                for (size_t b = 0; b < packed; b++)
                    right = right && out[a * apart + b] == distance(&codes, a, n + b);
            check(right, "distances", levels[l]->name, stride, n * 1000 + packed);
            free(panels);
        }
        free(code), free(out);
    }
    end("distances_are_right_at_every_level");
}

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void the_nearest_are_chosen_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 4000; i++) {
        const size_t n = 1 + below(i % 4 == 0 ? 4100 : i % 4 == 1 ? 40 : 1024), most = 1 + below(i % 5 == 0 ? 64 : 16);
        static const size_t ranges[] = {1, 3, 40, 1000, 0x7fffffff};
        const size_t range = ranges[below(5)];
        if (left_out()) continue;
        uint32_t *d = allocate((n + PM_GRAPH_PANEL) * sizeof *d);
        uint64_t *sorted = allocate(n * sizeof *sorted), out[PM_GRAPH_NEAREST];
        for (size_t j = 0; j < n; j++) {
            d[j] = (uint32_t)below(range) + (i % 7 == 0 ? (uint32_t)(n - j) : 0);
            if (below(30) == 0) d[j] = UINT32_MAX;
            sorted[j] = (uint64_t)d[j] << 32 | j;
        }
        for (size_t j = n; j < (n + 15) / 16 * 16; j++)
            d[j] = 0; /* not to be looked at */
        qsort(sorted, n, sizeof *sorted, by_key);
        for (size_t l = 0; l < nlevels; l++) {
            const size_t found = levels[l]->graph->nearest(d, n, most, out);
            check(found == (most < n ? most : n) && memcmp(out, sorted, found * sizeof *out) == 0, "nearest",
                  levels[l]->name, most, n);
        }
        free(d), free(sorted);
    }
    end("the_nearest_are_chosen_at_every_level");
}

/* Sorted lists without repeats, of keys that several may have, each filled with UINT64_MAX. */
static uint64_t *fill_lists(size_t lists, size_t keep, size_t range)
{
    uint64_t *keys = allocate(lists * keep * sizeof *keys);
    for (size_t l = 0; l < lists; l++) {
        uint64_t *list = keys + l * keep;
        size_t n = below(4) == 0 ? below(keep + 1) : keep, kept = 0;
        for (size_t i = 0; i < n; i++)
            list[i] = (uint64_t)below(range) << 32 | below(4);
        qsort(list, n, sizeof *list, by_key);
        for (size_t i = 0; i < n; i++)
            if (kept == 0 || list[kept - 1] != list[i]) list[kept++] = list[i];
        for (; kept < keep; kept++)
            list[kept] = UINT64_MAX;
    }
    return keys;
}

static void lists_are_merged_at_every_level(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 4000; i++) {
        static const size_t ranges[] = {1, 5, 40, 1000, 0x7fffffff};
        const size_t lists = 1 + below(PM_GRAPH_LISTS), most = 1 + below(PM_GRAPH_NEAREST), range = ranges[below(5)];
        const size_t keep = i % 3 == 0 ? 8 : 1 + below(i % 3 == 1 ? 16 : PM_GRAPH_NEAREST);
        if (left_out()) continue;
        uint64_t *keys = fill_lists(lists, keep, range), *sorted = allocate((lists * keep + 1) * sizeof *sorted);
        size_t n = 0;
        memcpy(sorted, keys, lists * keep * sizeof *sorted);
        qsort(sorted, lists * keep, sizeof *sorted, by_key);
        for (size_t j = 0; j < lists * keep; j++)
            if (sorted[j] != UINT64_MAX && (n == 0 || sorted[n - 1] != sorted[j])) sorted[n++] = sorted[j];
        n = n < most ? n : most;
        for (size_t l = 0; l < nlevels; l++) {
            uint64_t *out = allocate((most + 8) * sizeof *out);
            const size_t found = levels[l]->graph->merge(keys, lists, keep, most, out);
            check(found == n && memcmp(out, sorted, n * sizeof *out) == 0 && out[n] == UINT64_MAX, "merge",
                  levels[l]->name, lists * 100 + keep, most);
            free(out);
        }
        free(keys), free(sorted);
    }
    end("lists_are_merged_at_every_level");
}

/* ---- links ---- */

static const struct {
    uint32_t degree, slack, fanout;
} shapes[] = {{64, 282, 12}, {64, 269, 8}, {32, 256, 4}, {8, 300, 3}, {2, 256, 1}, {64, 256, 2}};

static void links_are_the_same_on_any_machine(void **unused)
{
    (void)unused;
    static const uint32_t threads[] = {1, 2, MOST_THREADS};
    static const uint64_t sizes[] = {1, 2, 3, 32, 33, 64, 65, 1000, 1001, 2500, 4100};
    static const size_t strides[] = {64, 128, 832};
    begin();
    for (size_t i = 0; i < 11 * KINDS; i++) {
        const enum kind kind = (enum kind)(i % KINDS);
        const size_t stride = strides[below(i / KINDS < 9 ? 3 : 2)], dim = stride - below(60), shape = below(6);
        const uint64_t rows = sizes[i / KINDS];
        const graph_codes codes = {fill(kind, rows, dim, stride), rows, stride};
        const uint64_t own_seed = draw();
        if (left_out()) {
            free((void *)(uintptr_t)codes.code);
            continue;
        }
        const size_t bytes = rows * shapes[shape].degree * sizeof(uint32_t);
        uint32_t *links = allocate(bytes), *other = allocate(bytes);
        graph_link_options options = {
            shapes[shape].degree, shapes[shape].slack, shapes[shape].fanout, own_seed, levels[nlevels - 1], NULL};
        assert_int_equal(link_rows(&codes, options, 0, links, 0, NULL), POMAI_OK);
        check_links(&codes, options.degree, links);
        for (size_t l = 0; l < nlevels; l++) {
            memset(other, 0x11, bytes);
            options.simd = levels[l];
            assert_int_equal(link_rows(&codes, options, threads[(i + l) % 3], other, 0, NULL), POMAI_OK);
            check(memcmp(links, other, bytes) == 0, "the same", levels[l]->name, stride, rows * 100 + kind);
        }
        free((void *)(uintptr_t)codes.code), free(links), free(other);
    }
    end("links_are_the_same_on_any_machine");
}

static void entries_are_distinct_and_the_same(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 5 * KINDS; i++) {
        if (share > 3 && i % 4 != 0) continue; /* sanitizers */
        const uint64_t rows = 1 + below(i < KINDS ? 20 : 3000);
        const uint32_t count = (uint32_t)(1 + below(rows < 64 ? rows : 64));
        const graph_codes codes = {fill((enum kind)(i % KINDS), rows, 100, 128), rows, 128};
        uint32_t entry[64], other[64];
        assert_int_equal(graph_entries(&codes, levels[0], 5, count, entry), POMAI_OK);
        for (uint32_t a = 0; a < count; a++)
            for (uint32_t b = 0; b <= a; b++)
                check(entry[a] < rows && (a == b || entry[a] != entry[b]), "distinct", "", a, rows);
        for (size_t l = 1; l < nlevels; l++) {
            assert_int_equal(graph_entries(&codes, levels[l], 5, count, other), POMAI_OK);
            check(memcmp(entry, other, count * sizeof *entry) == 0, "the same", levels[l]->name, 128, rows);
        }
        free((void *)(uintptr_t)codes.code);
    }
    end("entries_are_distinct_and_the_same");
}

/* Of millions of rows links back are made a range of rows at a time. */
static void many_rows_are_linked_like_few(void **unused)
{
    (void)unused;
    const uint64_t before = graph_range;
    begin();
    for (size_t i = 0; i < KINDS; i++) {
        const uint64_t rows = 2600 + below(2000);
        const size_t shape = i % 3;
        if (left_out()) continue;
        const graph_codes codes = {fill((enum kind)(i % KINDS), rows, 40, 64), rows, 64};
        const size_t bytes = rows * shapes[shape].degree * sizeof(uint32_t);
        uint32_t *links = allocate(bytes), *other = allocate(bytes);
        graph_link_options options = {
            shapes[shape].degree, shapes[shape].slack, shapes[shape].fanout, i, levels[nlevels - 1], NULL};
        graph_range = before;
        assert_int_equal(link_rows(&codes, options, 0, links, 0, NULL), POMAI_OK);
        check_links(&codes, options.degree, links);
        graph_range = 100;
        options.simd = levels[i % nlevels];
        assert_int_equal(link_rows(&codes, options, 2, other, 0, NULL), POMAI_OK);
        check(memcmp(links, other, bytes) == 0, "the same", "", 64, rows);
        free((void *)(uintptr_t)codes.code), free(links), free(other);
    }
    graph_range = before;
    end("many_rows_are_linked_like_few");
}

/* What was measured was measured with these: whoever changes them on purpose measures again, and changes this. */
static void links_are_what_they_always_were(void **unused)
{
    (void)unused;
    uint64_t digest = 0;
    begin();
    cases_rng.state = 42;
    for (size_t shape = 0; shape < 6; shape++) {
        const graph_codes codes = {fill(shape % 2 == 0 ? CLUSTERED : NOISE, 1700, 20, 64), 1700, 64};
        const graph_link_options options = {
            shapes[shape].degree, shapes[shape].slack, shapes[shape].fanout, 9, levels[nlevels - 1], NULL};
        const size_t bytes = codes.rows * options.degree * sizeof(uint32_t);
        uint32_t *links = allocate(bytes);
        assert_int_equal(link_rows(&codes, options, 2, links, 0, NULL), POMAI_OK);
        digest = pm_hash_bytes(links, bytes, digest);
        free((void *)(uintptr_t)codes.code), free(links);
    }
    printf("  digest 0x%016llxu\n", (unsigned long long)digest);
    check(digest == DIGEST, "digest", "", 64, 1700);
    end("links_are_what_they_always_were");
}

/* ---- walks ---- */

typedef struct walk {
    const graph_codes *codes;
    const uint32_t *links;
    uint32_t degree;
    size_t pool, kept;
    uint64_t key[64];
    uint8_t done[64];
    uint8_t *seen;
} walk;

static void offer(walk *w, const uint8_t *query, uint32_t row)
{
    if (w->seen[row]) return;
    w->seen[row] = 1;
    const uint8_t *code = w->codes->code + row * w->codes->stride;
    uint64_t sum = 0;
    for (size_t d = 0; d < w->codes->stride; d++)
        sum += (uint64_t)((code[d] - query[d]) * (code[d] - query[d]));
    const uint64_t key = sum << 32 | row;
    if (w->kept == w->pool && key >= w->key[w->kept - 1]) return;
    size_t at = w->kept < w->pool ? w->kept++ : w->kept - 1;
    for (; at > 0 && w->key[at - 1] > key; at--)
        w->key[at] = w->key[at - 1], w->done[at] = w->done[at - 1];
    w->key[at] = key, w->done[at] = 0;
}

static void go(walk *w, const uint8_t *query, const uint32_t *entry, size_t entries)
{
    memset(w->seen, 0, w->codes->rows);
    w->kept = 0;
    for (size_t i = 0; i < entries; i++)
        offer(w, query, entry[i]);
    for (size_t i = 0; i < w->kept;) {
        if (w->done[i]) {
            i++;
            continue;
        }
        w->done[i] = 1;
        const uint32_t *own = w->links + (uint32_t)w->key[i] * (uint64_t)w->degree;
        for (uint32_t j = 0; j < w->degree && own[j] != GRAPH_NONE; j++)
            offer(w, query, own[j]);
        i = 0;
    }
}

static double recall(const graph_codes *codes, const uint8_t *queries, size_t n, uint32_t degree, const uint32_t *links,
                     const uint32_t *entry, size_t entries)
{
    walk w = {codes, links, degree, 64, 0, {0}, {0}, allocate(codes->rows)};
    uint64_t *all = allocate(codes->rows * sizeof *all), hits = 0;
    for (size_t q = 0; q < n; q++) {
        const uint8_t *query = queries + q * codes->stride;
        for (uint64_t row = 0; row < codes->rows; row++) {
            const uint8_t *code = codes->code + row * codes->stride;
            all[row] = 0;
            for (size_t d = 0; d < codes->stride; d++)
                all[row] += (uint64_t)((code[d] - query[d]) * (code[d] - query[d]));
        }
        go(&w, query, entry, entries);
        uint64_t found[10], within = 0;
        for (size_t i = 0; i < 10; i++)
            found[i] = w.kept > i ? w.key[i] >> 32 : UINT64_MAX;
        qsort(all, codes->rows, sizeof *all, by_key);
        for (size_t i = 0; i < 10; i++)
            within += found[i] <= all[9];
        hits += within;
    }
    free(all), free(w.seen);
    return (double)hits / (10 * (double)n);
}

static void walks_find_what_is_near(void **unused)
{
    (void)unused;
    enum { ROWS = 20000, QUERIES = 100 };
    static const struct {
        enum kind kind;
        double least, from_one; /* recall */
    } data[] = {{CLUSTERED, 0.95, 0.7}, {DUPLICATES, 0.75, 0.7}, {FAR, 0.95, 0.5}, {FEW, 0.95, 0.3}, {TIGHT, 0.8, 0.5}};
    begin();
    for (size_t i = 0; i < 5; i++) {
        if (left_out()) continue;
        const size_t dim = data[i].kind == CLUSTERED ? 24 : 64, stride = 64;
        uint8_t *code = fill(data[i].kind, ROWS + QUERIES, dim, stride);
        const graph_codes codes = {code, ROWS, stride};
        for (size_t shape = 0; shape < 3; shape++) {
            const graph_link_options options = {
                shapes[shape].degree, shapes[shape].slack, shapes[shape].fanout, 3, levels[nlevels - 1], NULL};
            uint32_t *links = allocate(ROWS * options.degree * sizeof *links), entry[64];
            assert_int_equal(link_rows(&codes, options, 2, links, 0, NULL), POMAI_OK);
            check_links(&codes, options.degree, links);
            assert_int_equal(graph_entries(&codes, levels[nlevels - 1], 3, 64, entry), POMAI_OK);
            const double one = recall(&codes, code + ROWS * stride, QUERIES, options.degree, links, entry, 1);
            const double many = recall(&codes, code + ROWS * stride, QUERIES, options.degree, links, entry, 64);
            printf("  kind %d, degree %u: recall %.4f from one entry, %.4f from 64\n", (int)data[i].kind,
                   options.degree, one, many);
            check(many >= data[i].least && one >= data[i].from_one, "recall", "", (size_t)data[i].kind, options.degree);
            free(links);
        }
        free(code);
    }
    end("walks_find_what_is_near");
}

/* ---- stops ---- */

static void stops_and_missing_memory_are_reported(void **unused)
{
    (void)unused;
    begin();
    for (size_t i = 0; i < 3; i++) {
        const uint64_t rows = i == 0 ? 40 : 2500;
        const graph_codes codes = {fill(i == 2 ? OUTLIERS : CLUSTERED, rows, 64, 64), rows, 64};
        uint32_t *links = allocate(rows * 32 * sizeof *links), entry[8];
        uint64_t asked = 0, last;
        const graph_link_options options = {32, 256, 4, 1, levels[nlevels - 1], NULL};
        assert_int_equal(link_rows(&codes, options, 0, links, 0, &asked), POMAI_OK);
        for (uint64_t at = 1; at <= asked; at += share > 3 ? 13 : 1) {
            check(link_rows(&codes, options, 0, links, at, &last) == POMAI_EDEADLINE, "stop", "", 64, at);
            check(last == at, "asked again", "", 64, at);
        }
        check(link_rows(&codes, options, 3, links, asked / 4, NULL) == POMAI_EDEADLINE, "stop", "threads", 64, rows);
        pm_malloc_fails = fails;
        for (fails_at = 1;; fails_at += share > 3 ? 7 : 1) {
            allocations = 0;
            const pomai_status status = link_rows(&codes, options, 0, links, 0, NULL);
            if (allocations < fails_at) break;
            check(status == POMAI_ENOMEM, "memory", "", 64, fails_at);
        }
        check(fails_at > 20, "allocations", "", 64, fails_at);
        for (fails_at = 1;; fails_at++) {
            allocations = 0;
            const pomai_status status = graph_entries(&codes, levels[0], 1, 8, entry);
            if (allocations < fails_at) break;
            check(status == POMAI_ENOMEM, "memory of entries", "", 64, fails_at);
        }
        pm_malloc_fails = NULL;
        free((void *)(uintptr_t)codes.code), free(links);
    }
    end("stops_and_missing_memory_are_reported");
}

int main(int argc, char **argv)
{
    if (!cases_arguments(argc, argv)) return 2;
    nlevels = pm_simd_levels(levels, sizeof levels / sizeof *levels);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_right_at_every_level),
        cmocka_unit_test(the_nearest_are_chosen_at_every_level),
        cmocka_unit_test(lists_are_merged_at_every_level),
        cmocka_unit_test(links_are_the_same_on_any_machine),
        cmocka_unit_test(many_rows_are_linked_like_few),
        cmocka_unit_test(links_are_what_they_always_were),
        cmocka_unit_test(entries_are_distinct_and_the_same),
        cmocka_unit_test(walks_find_what_is_near),
        cmocka_unit_test(stops_and_missing_memory_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
