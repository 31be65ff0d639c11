/* SPDX-License-Identifier: Apache-2.0 */
/* --ids FILE beside the rows of an imagined file, as text and as .npy. */
#include "import.h"

static size_t mend(uint8_t *data, size_t size, size_t max_size, unsigned *seed)
{
    return fuzz_mend_npy(data, size, max_size, seed, 1);
}

static struct told read_ids(const uint8_t *data, size_t size, bool as_pipe, uint64_t rows, size_t step)
{
    struct told told = {.refused = true};
    struct chunk chunk = {.max_rows = step, .max_bytes = 1 << 20};
    fuzz_stdin(data, size, as_pipe);
    struct ids_file *ids = ids_file_open("-", as_pipe ? UINT64_MAX : rows);
    if (!ids) return told;
    told.refused = false;
    while (told.rows < rows && !told.refused) {
        chunk_clear(&chunk);
        chunk.dim = 1;
        chunk.first_row = told.rows;
        size_t count = rows - told.rows < step ? (size_t)(rows - told.rows) : step;
        memset(chunk_add(&chunk, count), 0, count * sizeof(float));
        told.refused = ids_file_fill(ids, &chunk, 0) != 0;
        if (told.refused) break;
        chunk_seal(&chunk);
        CHECK(chunk.rows == count && (chunk.kind == CHUNK_TEXT || chunk.kind == CHUNK_U64));
        for (size_t i = 0; i < count; i++)
            fuzz_take_row(&chunk, i, &told);
    }
    told.refused = told.refused || ids_file_end(ids) != 0;
    ids_file_close(ids);
    chunk_free(&chunk);
    return told;
}

static bool take_digits(const char *at, const char *end, uint64_t *number)
{
    size_t size = 0;
    while (at + size < end && at[size] >= '0' && at[size] <= '9')
        size++;
    return parse_u64(at, size, number);
}

/* As many rows as there are ids, or as the last byte says. */
static uint64_t imagine_rows(const uint8_t *data, size_t size)
{
    const char *shape = memmem(data, size, "'shape': (", 10);
    uint64_t rows = 0;
    if (data[size - 1] % 8 == 1) return data[size - 1];
    if (shape && take_digits(shape + 10, (const char *)data + size, &rows)) return rows % PIPE_BYTES;
    for (size_t i = 0; i < size; i++)
        rows += data[i] == '\n';
    return rows + (data[size - 1] != '\n');
}

static void read_all_ways(const uint8_t *data, size_t size)
{
    if (size < 1 || size > PIPE_BYTES) return;
    uint64_t rows = imagine_rows(data, size);
    struct told whole = read_ids(data, size, false, rows, 1000);
    struct told steps = read_ids(data, size, true, rows, 1 + size % 3);
    CHECK(whole.refused == steps.refused);
    if (!whole.refused) CHECK(whole.rows == rows && steps.rows == rows && whole.hash == steps.hash);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_quiet();
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    /* Text has no counts to mend. */
    return fuzz_mutate(data, size, max_size, seed, size > 6 && data[0] == 0x93 ? mend : NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all_ways(data, size);
    return 0;
}
