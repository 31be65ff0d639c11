/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of `./dev demo`: after an importer was killed, is every row that its ledger calls acknowledged there, byte for
 * byte as in the file that it came from?
 *     bench_demo_check DB IMAGES LEDGER
 * IMAGES is an idx3-ubyte file, not compressed. Prints one JSON object; exits with 1 if a row is lost or wrong.
 */
#include <inttypes.h>
#include <pomai/pomai.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    pomai_collection *collection;
    FILE *images;
    uint64_t rows;
    uint64_t lost;
    uint64_t wrong;
    unsigned char pixels[4096];
    float expected[4096];
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "demo_check: %s: %s\n", what, why);
    exit(1);
}

static void check_row(struct check *check, const pomai_rows *rows, size_t i)
{
    uint32_t dim = pomai_rows_dim(rows);
    if (fread(check->pixels, 1, dim, check->images) != dim) die("images", "cut short");
    check->rows++;
    if (!pomai_rows_found(rows, i)) {
        check->lost++;
        return;
    }
    for (uint32_t d = 0; d < dim; d++)
        check->expected[d] = check->pixels[d];
    if (memcmp(check->expected, pomai_rows_vector(rows, i), dim * sizeof(float)) != 0) check->wrong++;
}

static void check_batch(struct check *check, uint64_t first, uint64_t count, uint64_t file_row)
{
    pomai_rows *rows;
    pomai_error err;
    uint64_t *list = malloc(count * sizeof *list);
    if (!list) die("ledger", "a batch too large for memory");
    for (uint64_t i = 0; i < count; i++)
        list[i] = first + i;
    pomai_ids ids = {.count = count, .u64 = list};
    if (pomai_get(check->collection, &ids, NULL, &rows, &err) != POMAI_OK) die("get", err.message);
    uint32_t dim = pomai_rows_dim(rows);
    if (dim > sizeof check->pixels || fseek(check->images, (long)(16 + file_row * dim), SEEK_SET) != 0)
        die("images", "do not go with the database");
    for (size_t i = 0; i < count; i++)
        check_row(check, rows, i);
    pomai_rows_free(rows);
    free(list);
}

/* The three numbers of a line of the ledger. */
static int parse_line(const char *line, uint64_t numbers[3])
{
    for (int i = 0; i < 3; i++) {
        char *end;
        numbers[i] = strtoull(line, &end, 10);
        if (end == line) return 0;
        line = end;
    }
    return numbers[1] <= 1000000;
}

int main(int argc, char **argv)
{
    struct check check = {0};
    pomai_db *db;
    pomai_error err;
    pomai_open_report report;
    pomai_collection_info info;
    char line[128];
    uint64_t numbers[3], batches = 0;
    if (argc != 4) die("usage", "DB IMAGES LEDGER");
    FILE *ledger = fopen(argv[3], "r");
    check.images = fopen(argv[2], "rb");
    if (!ledger || !check.images) die(argv[!ledger ? 3 : 2], "cannot be opened");
    if (pomai_open(argv[1], NULL, &db, &err) != POMAI_OK) die(argv[1], err.message);
    pomai_get_open_report(db, &report);
    check.collection = pomai_default(db);
    /* A last line without its line feed was being written when the importer was killed. */
    while (fgets(line, sizeof line, ledger) && strchr(line, '\n')) {
        if (!parse_line(line, numbers)) die(argv[3], "is no ledger");
        check_batch(&check, numbers[0], numbers[1], numbers[2]);
        batches++;
    }
    if (pomai_collection_get_info(check.collection, &info, &err) != POMAI_OK) die(argv[1], err.message);
    printf("{\"acknowledged_batches\":%" PRIu64 ",\"acknowledged_rows\":%" PRIu64 ",\"lost\":%" PRIu64
           ",\"wrong\":%" PRIu64 ",\"stored_rows\":%" PRIu64 ",\"torn_bytes\":%" PRIu64 ",\"open_ms\":%.1f}\n",
           batches, check.rows, check.lost, check.wrong, info.rows, report.torn_bytes, (double)report.open_ns / 1e6);
    fclose(ledger);
    fclose(check.images);
    if (pomai_close(db, &err) != POMAI_OK) die(argv[1], err.message);
    return check.lost || check.wrong;
}
