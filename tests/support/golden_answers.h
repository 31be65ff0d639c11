/* SPDX-License-Identifier: Apache-2.0 */
/* What a golden database answers, as text that people can read: rows to the bit, exact searches, counts, the digest. */
#ifndef T_GOLDEN_ANSWERS_H
#define T_GOLDEN_ANSWERS_H

#include "golden.h"

enum { A_ROWS = 400, A_AT_A_TIME = 50, A_QUERIES = 3, A_K = 6, A_DIM = 16 };
#define GOLDEN_READ (GOLDEN_BEGIN + 1000 * GOLDEN_SECOND) /* the clock of who reads */

/* Printable bytes as they are, others as \xNN. */
static inline void golden_print_bytes(FILE *to, pomai_bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        const uint8_t c = ((const uint8_t *)bytes.data)[i];
        if (c >= ' ' && c < 127 && c != '\\')
            fputc(c, to);
        else
            fprintf(to, "\\x%02x", c);
    }
}

static inline void golden_print_id(FILE *to, uint64_t id, pomai_bytes string)
{
    if (string.data == NULL)
        fprintf(to, "%llu", (unsigned long long)id);
    else
        golden_print_bytes(to, string);
}

static inline char *golden_row(const pomai_rows *rows, size_t i)
{
    char *line = NULL;
    size_t size;
    FILE *to = open_memstream(&line, &size);
    const float *vector = pomai_rows_vector(rows, i);
    fprintf(to, "  row ");
    if (pomai_rows_string_id(rows, i).data == NULL) fprintf(to, "%6llu", (unsigned long long)pomai_rows_id(rows, i));
    golden_print_bytes(to, pomai_rows_string_id(rows, i));
    fprintf(to, " | stamp %llu expiry %llu |", (unsigned long long)pomai_rows_stamp(rows, i),
            (unsigned long long)pomai_rows_expiry(rows, i));
    for (uint32_t d = 0; d < pomai_rows_dim(rows); d++) {
        uint32_t bits;
        memcpy(&bits, &vector[d], 4);
        fprintf(to, " %x", bits);
    }
    fprintf(to, " |");
    if (pomai_rows_document(rows, i).data != NULL) fputc(' ', to);
    golden_print_bytes(to, pomai_rows_document(rows, i));
    fputc('\n', to);
    fclose(to);
    return line;
}

static inline int golden_by_line(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void golden_rows(struct golden *g, pomai_collection *coll)
{
    static char *lines[A_ROWS];
    size_t n = 0, came = 1;
    pomai_scan *scan;
    CHECK(g, pomai_scan_open(coll, NULL, &scan, &g->err) == POMAI_OK);
    while (came > 0 && g->what[0] == '\0') {
        pomai_rows *rows = NULL;
        if (pomai_scan_next(scan, A_AT_A_TIME, &rows, &g->err) != POMAI_OK) WRONG(g, "scan");
        came = rows == NULL ? 0 : pomai_rows_count(rows);
        for (size_t i = 0; i < came && n < A_ROWS; i++)
            lines[n++] = golden_row(rows, i);
        pomai_rows_free(rows);
    }
    pomai_scan_close(scan);
    qsort(lines, n, sizeof lines[0], golden_by_line);
    for (size_t i = 0; i < n; i++) {
        fputs(lines[i], g->answers);
        free(lines[i]);
    }
}

static inline void golden_query(float query[A_DIM], uint32_t q, uint32_t dim)
{
    for (uint32_t d = 0; d < dim; d++)
        query[d] = (float)((q * 7 + d * 5 + 3) % 23) - 9.0f + (float)(q * d % 4) / 4;
}

static inline void golden_searches(struct golden *g, pomai_collection *coll, uint32_t dim)
{
    for (uint32_t q = 0; q < A_QUERIES; q++) {
        float query[A_DIM];
        pomai_result *result;
        golden_query(query, q, dim);
        CHECK(g, pomai_search(coll, query, 1, dim, A_K, NULL, &result, &g->err) == POMAI_OK);
        fprintf(g->answers, "  search %u |", q);
        for (size_t i = 0; i < pomai_result_count(result, 0); i++) {
            const pomai_bytes name = pomai_result_string_id(result, 0, i);
            fputc(' ', g->answers);
            golden_print_id(g->answers, name.data == NULL ? pomai_result_ids(result, 0)[i] : 0, name);
            fprintf(g->answers, " at %a%s", pomai_result_distances(result, 0)[i],
                    i + 1 < pomai_result_count(result, 0) ? "," : "");
        }
        fputc('\n', g->answers);
        pomai_result_free(result);
    }
}

static inline void golden_counts(struct golden *g, pomai_collection *coll)
{
    static const char *const filters[] = {
        "{}",
        "{\"n\": {\"$gte\": 40}}",
        "{\"tag\": \"b\", \"x\": {\"$lt\": 20.5}}",
        "{\"of\": {\"$contains\": 2}}",
        "{\"of\": {\"$contains\": \"\xc3\xa9\"}}",
    };
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        pomai_count_options o = POMAI_COUNT_OPTIONS_INIT;
        uint64_t rows;
        o.filter = filters[i];
        o.filter_size = strlen(filters[i]);
        CHECK(g, pomai_count(coll, &o, &rows, &g->err) == POMAI_OK);
        fprintf(g->answers, "  count | ");
        golden_print_bytes(g->answers, (pomai_bytes){o.filter, o.filter_size});
        fprintf(g->answers, " | %llu\n", (unsigned long long)rows);
    }
}

static inline void golden_digest(struct golden *g, uint64_t digest[2])
{
    CHECK(g, pomai_digest(g->db, NULL, digest, &g->err) == POMAI_OK);
}

/* To g->answers, of g->db. */
static inline void golden_answer(struct golden *g)
{
    uint64_t digest[2] = {0, 0};
    char **names;
    size_t count;
    golden_digest(g, digest);
    fprintf(g->answers, "digest %016llx %016llx\n", (unsigned long long)digest[0], (unsigned long long)digest[1]);
    CHECK(g, pomai_collection_list(g->db, &names, &count, &g->err) == POMAI_OK);
    for (size_t i = 0; i < count && g->what[0] == '\0'; i++) {
        pomai_collection *coll;
        pomai_collection_info info;
        CHECK(g, pomai_collection_open(g->db, names[i], &coll, &g->err) == POMAI_OK);
        CHECK(g, pomai_collection_get_info(coll, &info, &g->err) == POMAI_OK && info.dim <= A_DIM);
        fprintf(g->answers, "collection %s | id %u dim %u metric %d ids %d dtype %d ttl %llu rows %llu%s%s\n",
                info.name, info.id, info.dim, (int)info.metric, (int)info.id_kind, (int)info.dtype,
                (unsigned long long)info.ttl_ns, (unsigned long long)info.rows,
                info.cluster_by[0] != '\0' ? " clustered by " : "", info.cluster_by);
        if (info.index != POMAI_INDEX_AUTO) fprintf(g->answers, "index %d\n", (int)info.index);
        golden_rows(g, coll);
        golden_searches(g, coll, info.dim);
        golden_counts(g, coll);
        pomai_collection_close(coll);
    }
    pomai_free(names);
}

#endif
