/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a database, puts three vectors with documents, searches, prints.
 *     cc quickstart.c $(pkg-config --cflags --libs pomai) -o quickstart && ./quickstart */
#include <pomai/pomai.h>
#include <stdio.h>
#include <string.h>

static int failed(const pomai_error *err)
{
    fprintf(stderr, "%s: %s\n", pomai_status_name(err->status), err->message);
    return 1;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "quickstart.db";
    const float vectors[3][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0.9f, 0.1f, 0, 0}};
    const uint64_t ids[3] = {1, 2, 3};
    const char *texts[3] = {"{\"title\":\"north\"}", "{\"title\":\"east\"}", "{\"title\":\"north by east\"}"};
    pomai_bytes documents[3];
    pomai_db *db;
    pomai_error err;
    if (pomai_open(path, NULL, &db, &err) != POMAI_OK) return failed(&err);

    for (int i = 0; i < 3; i++)
        documents[i] = (pomai_bytes){texts[i], strlen(texts[i])};
    pomai_batch batch = POMAI_BATCH_INIT;
    batch.rows = 3;
    batch.dim = 4;
    batch.vectors = vectors[0];
    batch.u64_ids = ids;
    batch.documents = documents;
    if (pomai_put(pomai_default(db), &batch, NULL, NULL, &err) != POMAI_OK) return failed(&err);
    /* From here on the rows survive kill -9 and power loss. */

    pomai_search_options options = POMAI_SEARCH_OPTIONS_INIT;
    pomai_result *result;
    options.include = POMAI_INCLUDE_DOCUMENTS;
    if (pomai_search(pomai_default(db), vectors[0], 1, 4, 2, &options, &result, &err) != POMAI_OK) return failed(&err);
    for (size_t i = 0; i < pomai_result_count(result, 0); i++) {
        pomai_bytes document = pomai_result_document(result, 0, i);
        printf("id %llu  distance %.3f  %.*s\n", (unsigned long long)pomai_result_ids(result, 0)[i],
               pomai_result_distances(result, 0)[i], (int)document.size, (const char *)document.data);
    }
    pomai_result_free(result);
    if (pomai_close(db, &err) != POMAI_OK) return failed(&err);
    return 0;
}
