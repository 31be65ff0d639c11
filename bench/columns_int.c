/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns (src/index/columns) on generated documents of five short keys and an array: building, looking filters up, and
 * matching them, against judging each document by pm_filter_matches. Times are of the processor, rounds interleaved.
 * --rows N (1,000,000), --rounds N, --simd LEVEL, --plan: says how each filter is answered.
 */
#include "index_bench.h"

#include "index/columns/columns.h"

#include <getopt.h>
#include <sys/resource.h>

struct in {
    uint64_t rows;
    size_t rounds;
    const char *simd;
    bool plan;
    char *text;
    size_t *at; /* where each document begins; rows + 1 */
    uint64_t *match, *open;
};

static uint64_t stamp(uint64_t i)
{
    return 1700000000000 + (bench_mix(i + 77) >> 30);
}

/* tenant: 1,000; kind: 12; price: 100,000 decimals; stamp: all distinct; stock: 50; tags: 0 to 3 of 40. */
static size_t document(uint64_t i, char *out)
{
    static const char *const kinds[] = {"shoes", "hats",  "coats", "socks", "shirts", "belts",
                                        "bags",  "rings", "ties",  "gowns", "vests",  "gloves"};
    const uint64_t r = bench_mix(i), s = bench_mix(r);
    size_t size = (size_t)sprintf(
        out,
        "{\"tenant\": \"t%03u\", \"kind\": \"%s\", \"price\": %u.%02u, \"stamp\": %llu, \"stock\": %u, \"tags\": [",
        (unsigned)(r % 1000), kinds[(r >> 10) % 12], (unsigned)(s % 1000), (unsigned)(s >> 10) % 100,
        (unsigned long long)stamp(i), (unsigned)(r >> 20) % 50);
    for (unsigned t = 0; t < (unsigned)(r >> 30) % 4; t++)
        size += (size_t)sprintf(out + size, "%s\"tag%u\"", t > 0 ? ", " : "", (unsigned)(s >> (20 + 8 * t)) % 40);
    return size + (size_t)sprintf(out + size, "]}");
}

static void generate(struct in *in)
{
    in->text = bench_alloc(in->rows * 256);
    in->at = bench_alloc((in->rows + 1) * sizeof *in->at);
    in->at[0] = 0;
    for (uint64_t i = 0; i < in->rows; i++)
        in->at[i + 1] = in->at[i] + document(i, in->text + in->at[i]);
    const size_t bytes = (in->rows + 63) / 64 * sizeof *in->match;
    in->match = bench_alloc(bytes);
    in->open = bench_alloc(bytes);
}

static void all_rows(const struct in *in)
{
    memset(in->match, 0xff, (in->rows + 63) / 64 * sizeof *in->match);
    if (in->rows % 64 != 0) in->match[in->rows / 64] = (UINT64_C(1) << in->rows % 64) - 1;
}

/* Bytes that the process has had at most. */
static double peak(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

static double build(const struct in *in, struct index_bench *sections, pm_columns *columns)
{
    pm_columns_builder *builder;
    const pm_index_sink sink = {sections, index_append};
    const double had = peak(), began = index_busy();
    if (pm_columns_begin(in->rows, (size_t)8 << 30, NULL, NULL, &builder) != POMAI_OK) exit(1);
    for (uint64_t i = 0; i < in->rows; i++)
        if (pm_columns_add(builder, in->text + in->at[i], in->at[i + 1] - in->at[i]) != POMAI_OK) exit(1);
    const double added = index_busy();
    if (pm_columns_finish(builder, columns->length) != POMAI_OK) exit(1);
    const double sorted = index_busy(), most = peak() - had;
    for (size_t i = 0; i < PM_COLUMNS_SECTIONS; i++) {
        sections->length[i] = columns->length[i];
        sections->at[i] = columns->length[i] > 0 ? bench_alloc(columns->length[i]) : NULL;
        if (sections->at[i] != NULL) memset(sections->at[i], 0, columns->length[i]);
        columns->section[i] = sections->at[i];
    }
    const double begins = index_busy();
    if (pm_columns_write(builder, &sink) != POMAI_OK) exit(1);
    const double ended = index_busy(), rows = (double)in->rows;
    pm_columns_end(builder);
    printf("build: documents %.0f ns/row, sorting %.0f, writing %.0f; %.0f bytes/row of memory",
           (added - began) / rows * 1e9, (sorted - added) / rows * 1e9, (ended - begins) / rows * 1e9, most / rows);
    columns->rows = in->rows;
    const double before = index_busy();
    if (!pm_columns_is_sound(columns)) exit(1);
    printf("; checking %.0f\n", (index_busy() - before) / rows * 1e9);
    return sorted - began + ended - begins;
}

static uint64_t judge(const struct in *in, const pm_filter *filter, void *scratch, uint64_t rows)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < rows; i++)
        count += pm_filter_matches(filter, scratch, in->text + in->at[i], in->at[i + 1] - in->at[i]);
    return count;
}

static uint64_t count_bits(const struct in *in)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < (in->rows + 63) / 64; i++)
        count += (unsigned)__builtin_popcountll(in->match[i]);
    return count;
}

static void measure(const struct in *in, const pm_columns *columns, const pm_simd *simd, const char *what,
                    const char *text)
{
    enum { PLANS = 32, MATCHES = 8, MOST_ROUNDS = 64 };
    pm_filter *filter;
    pomai_error err;
    double plans[MOST_ROUNDS], matches[MOST_ROUNDS], judged[MOST_ROUNDS];
    bool any = false, over = false;
    if (pm_filter_parse(text, strlen(text), &filter, &err) != POMAI_OK) exit(1);
    void *scratch = bench_alloc(pm_filter_scratch_size(filter) + 64);
    const uint64_t some = in->rows < 20000 ? in->rows : 20000;
    for (size_t round = 0; round < in->rounds; round++) {
        double before = index_busy();
        for (size_t i = 0; i < PLANS; i++)
            pm_columns_plan_free(pm_columns_plan_make(columns, filter, simd, NULL, NULL, &over));
        plans[round] = (index_busy() - before) / PLANS * 1e9;
        pm_columns_plan *plan = pm_columns_plan_make(columns, filter, simd, NULL, NULL, &over);
        double sum = 0;
        for (size_t i = 0; i < MATCHES; i++) {
            all_rows(in);
            before = index_busy();
            if (!pm_columns_match(plan, in->match, in->open, &any, NULL, NULL, &over)) exit(1);
            sum += index_busy() - before;
        }
        matches[round] = sum / MATCHES;
        before = index_busy();
        (void)judge(in, filter, scratch, some);
        judged[round] = (index_busy() - before) / (double)some;
        if (round == 0 && in->plan) {
            pm_text lines = {0};
            pm_columns_explain(plan, &lines);
            printf("%s", lines.data);
            pm_free(lines.data);
        }
        pm_columns_plan_free(plan);
    }
    const uint64_t count = count_bits(in);
    if (any || judge(in, filter, scratch, in->rows) != count) {
        printf("%s: wrong, or open\n", text);
        exit(1);
    }
    const struct bench_spread plan = bench_spread_of(plans, in->rounds), match = bench_spread_of(matches, in->rounds),
                              one = bench_spread_of(judged, in->rounds);
    printf("%-28s %9llu rows  plan %8.0f ns  match %8.1f us (least %8.1f)  %7.3f G rows/s  documents %4.0f ns/row  "
           "%7.0f times\n",
           what, (unsigned long long)count, plan.median, match.median * 1e6, match.least * 1e6,
           (double)in->rows / match.median * 1e-9, one.median * 1e9,
           one.median * (double)in->rows / (match.median + plan.median * 1e-9));
    free(scratch);
    pm_filter_free(filter);
}

/* The stamps of a tenth of the rows, 100,000 at most. */
static char *in_many(const struct in *in)
{
    char *text = bench_alloc(in->rows / 10 * 20 + 64);
    size_t size = (size_t)sprintf(text, "{\"stamp\": {\"$in\": [0");
    for (uint64_t i = 0, step = in->rows > 1000000 ? in->rows / 100000 : 10; i < in->rows; i += step)
        size += (size_t)sprintf(text + size, ", %llu", (unsigned long long)stamp(i));
    (void)sprintf(text + size, "]}}");
    return text;
}

static const char *const filters[][2] = {
    {"range of int64, half", "{\"stamp\": {\"$gte\": 1708589934592}}"},
    {"range of int64, few", "{\"stamp\": {\"$gte\": 1700000000000, \"$lt\": 1700001000000}}"},
    {"range of decimals, half", "{\"price\": {\"$lt\": 500.5}}"},
    {"range of few values, half", "{\"stock\": {\"$lt\": 25}}"},
    {"eq, few rows", "{\"tenant\": \"t007\"}"},
    {"eq, many rows", "{\"kind\": \"shoes\"}"},
    {"ne", "{\"kind\": {\"$ne\": \"shoes\"}}"},
    {"in, few rows", "{\"tenant\": {\"$in\": [\"t001\", \"t500\", \"t777\", \"nobody\"]}}"},
    {"in, many rows", "{\"kind\": {\"$in\": [\"shoes\", \"hats\", \"ties\", \"vests\", \"bags\", \"rings\"]}}"},
    {"starts_with", "{\"tenant\": {\"$starts_with\": \"t1\"}}"},
    {"contains, array", "{\"tags\": {\"$contains\": \"tag7\"}}"},
    {"contains, in strings", "{\"tenant\": {\"$contains\": \"77\"}}"},
    {"exists", "{\"price\": {\"$exists\": true}}"},
    {"and of two, many", "{\"kind\": \"shoes\", \"price\": {\"$lt\": 500}}"},
    {"and of two, selective", "{\"tenant\": \"t007\", \"stamp\": {\"$gte\": 1708589934592}}"},
    {"or of two", "{\"$or\": [{\"kind\": \"shoes\"}, {\"stock\": {\"$gte\": 40}}]}"},
    {"and, or, not",
     "{\"tenant\": {\"$ne\": \"t007\"}, \"$or\": [{\"kind\": \"shoes\"}, {\"price\": {\"$lt\": 100}}], \"$not\": "
     "{\"tags\": {\"$contains\": \"tag1\"}}}"},
};

int main(int argc, char **argv)
{
    struct in in = {.rows = 1000000, .rounds = 9};
    static const struct option options[] = {{"rows", 1, NULL, 'r'},
                                            {"rounds", 1, NULL, 'n'},
                                            {"simd", 1, NULL, 'l'},
                                            {"plan", 0, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'r')
            in.rows = strtoull(optarg, NULL, 10);
        else if (c == 'n')
            in.rounds = strtoul(optarg, NULL, 10);
        else if (c == 'l')
            in.simd = optarg;
        else if (c == 'p')
            in.plan = true;
        else
            exit(2);
    }
    if (in.rows == 0 || in.rounds == 0 || in.rounds > 64) exit(2);
    double load[1] = {0};
    (void)getloadavg(load, 1);
    const pm_simd *simd = pm_simd_best(in.simd);
    printf("load %.1f; %s, %llu rows\n", load[0], simd->name, (unsigned long long)in.rows);
    generate(&in);
    struct index_bench sections = {0};
    pm_columns columns = {0};
    const double seconds = build(&in, &sections, &columns);
    const pm_columns_facts facts = pm_columns_look(&columns);
    double bytes = 0;
    for (size_t i = 0; i < PM_COLUMNS_SECTIONS; i++)
        bytes += (double)columns.length[i];
    printf("in all %.2f s, %.0f ns/row; %.1f bytes/row (documents %.1f); %u columns, %llu values, %llu open rows\n",
           seconds, seconds / (double)in.rows * 1e9, bytes / (double)in.rows, (double)in.at[in.rows] / (double)in.rows,
           facts.columns, (unsigned long long)facts.values, (unsigned long long)facts.open_rows);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        measure(&in, &columns, simd, filters[i][0], filters[i][1]);
    measure(&in, &columns, simd, "in, 100,000 of all distinct", in_many(&in));
    (void)getloadavg(load, 1);
    printf("load %.1f\n", load[0]);
    return 0;
}
