/* SPDX-License-Identifier: Apache-2.0 */
/* Batches whose metadata are columns: what is stored, what is refused, and that nothing of it is kept by the caller. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "../support/arrow.h"
#include "../support/scenario.h"

enum { ROWS = 3000 };

struct columns {
    struct ArrowSchema schema, year, *children[1];
    struct ArrowArray array, years, *arrays[1];
    const void *none[1], *buffers[2];
    int64_t number[ROWS];
    float vectors[ROWS];
};

static struct columns *columns_make(void)
{
    struct columns *c = t_room(sizeof *c);
    for (int i = 0; i < ROWS; i++) {
        c->number[i] = 1000 * i - 7;
        c->vectors[i] = (float)i;
    }
    c->children[0] = &c->year;
    c->arrays[0] = &c->years;
    c->buffers[1] = c->number;
    c->year = (struct ArrowSchema){.format = "l", .name = "year", .release = t_release_schema};
    c->years = (struct ArrowArray){.length = ROWS, .n_buffers = 2, .buffers = c->buffers, .release = t_release_array};
    c->schema =
        (struct ArrowSchema){.format = "+s", .n_children = 1, .children = c->children, .release = t_release_schema};
    c->array = (struct ArrowArray){.length = ROWS,
                                   .n_buffers = 1,
                                   .buffers = c->none,
                                   .n_children = 1,
                                   .children = c->arrays,
                                   .release = t_release_array};
    return c;
}

static pomai_batch batch_of(const struct columns *c)
{
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = ROWS;
    batch.dim = 1;
    batch.vectors = c->vectors;
    batch.metadata_schema = &c->schema;
    batch.metadata = &c->array;
    return batch;
}

static void check_rows(pomai_collection *coll, uint64_t first)
{
    for (uint64_t i = 0; i < ROWS; i += 299) {
        pomai_error err;
        pomai_rows *rows;
        char wanted[64];
        const uint64_t id = first + i;
        const pomai_ids ids = {1, &id, NULL};
        (void)snprintf(wanted, sizeof wanted, "{\"year\":%lld}", (long long)(1000 * (int64_t)i - 7));
        assert_ok(pomai_get(coll, &ids, NULL, &rows, &err));
        const pomai_bytes document = pomai_rows_document(rows, 0);
        assert_int_equal(document.size, strlen(wanted));
        assert_memory_equal(document.data, wanted, document.size);
        pomai_rows_free(rows);
    }
}

static void test_columns_become_documents(void **state)
{
    struct box *box = *state;
    struct columns *c = columns_make();
    pomai_error err;
    pomai_ack ack;
    pomai_ticket *ticket;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    pomai_batch batch = batch_of(c);
    assert_ok(pomai_put(coll, &batch, NULL, &ack, &err));
    assert_int_equal(ack.rows, ROWS);
    check_rows(coll, ack.first_id);
    assert_ok(pomai_put_async(coll, &batch, NULL, &ticket, &err));
    assert_ok(pomai_wait(ticket, UINT64_MAX, &ack, &err));
    pomai_ticket_free(ticket);
    check_rows(coll, ack.first_id);
    memset(c->number, 0, sizeof c->number); /* nothing refers to it any more */
    check_rows(coll, ack.first_id);
    close_db(db);
    db = open_db(box, NULL);
    check_rows(pomai_default(db), ack.first_id);
    close_db(db);
    free(c);
}

static void test_refusals(void **state)
{
    struct box *box = *state;
    struct columns *c = columns_make();
    pomai_bytes documents[ROWS] = {{0}}, *none;
    pomai_error err;
    pomai_db *db = open_db(box, NULL);
    pomai_collection *coll = pomai_default(db);
    pomai_batch batch = batch_of(c);
    batch.documents = documents;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, "documents and metadata");
    batch.documents = NULL;
    batch.metadata_schema = NULL;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, "metadata without its schema");
    assert_null(strstr(err.message, "3000")); /* which is right */
    batch.metadata_schema = &c->schema;
    c->array.length = ROWS - 1;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, "3000 rows and metadata of 2999");
    assert_null(strstr(err.message, "schema"));
    c->array.length = ROWS;
    c->year.format = "d:3,2";
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, "'year' is of the Arrow type decimal[3,2]");
    c->year.format = "l";
    c->schema.release = NULL;
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EINVAL, "released");
    c->schema.release = t_release_schema;
    static const uint64_t twice[ROWS] = {0};
    batch.u64_ids = twice; /* refused when the documents are there already */
    assert_refused(pomai_put(coll, &batch, NULL, NULL, &err), POMAI_EDUPID, NULL);
    assert_refused(pomai_documents_from_arrow(NULL, &c->array, &none, &err), POMAI_EINVAL, "schema");
    assert_null(none);
    assert_refused(pomai_documents_from_arrow(&c->schema, &c->array, NULL, &err), POMAI_EINVAL, "documents");
    assert_int_equal(count_rows(coll), 0);
    close_db(db);
    free(c);
}

/* 3,000 rows of one text of a dictionary: their documents are more than a batch may have. */
static void test_too_many_bytes(void **state)
{
    enum { LONG = 30000 };
    struct box *box = *state;
    struct columns *c = columns_make();
    pomai_error err;
    pomai_bytes *documents;
    int32_t ends[2] = {0, LONG};
    char *text = t_room(LONG);
    memset(text, 'x', LONG);
    const void *buffers[3] = {NULL, ends, text};
    struct ArrowSchema words = {.format = "u", .release = t_release_schema};
    struct ArrowArray word = {.length = 1, .n_buffers = 3, .buffers = buffers, .release = t_release_array};
    memset(c->number, 0, sizeof c->number);
    c->year.dictionary = &words;
    c->years.dictionary = &word;
    pomai_db *db = open_db(box, NULL);
    pomai_batch batch = batch_of(c);
    assert_refused(pomai_put(pomai_default(db), &batch, NULL, NULL, &err), POMAI_ETOOBIG, "split");
    assert_int_equal(count_rows(pomai_default(db)), 0);
    assert_ok(pomai_documents_from_arrow(&c->schema, &c->array, &documents, &err)); /* for whoever splits them */
    assert_int_equal(documents[ROWS - 1].size, LONG + strlen("{\"year\":\"\"}"));
    pomai_free(documents);
    close_db(db);
    free(text);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(test_columns_become_documents),
        BOXED(test_refusals),
        BOXED(test_too_many_bytes),
    };
    return cmocka_run_group_tests_name("metadata", tests, NULL, NULL);
}
