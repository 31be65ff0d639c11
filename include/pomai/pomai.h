/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PomaiDB: an in-process vector engine.
 *
 * Contract, valid for every function unless it says otherwise:
 *   Status    Functions that can fail return a pomai_status and fill *err (may be NULL) when it is not POMAI_OK.
 *             What was refused changed nothing that is stored.
 *   Ownership Inputs are borrowed for the call. Handles and results returned through a pointer belong to the caller,
 *             who gives each to its one close or free function; that takes NULL. An output pointer is NULL after a
 *             failure. Pointers into a result live until the result is freed.
 *   Threads   A database and its collections may be used from any number of threads at once. A ticket, block, scan,
 *             rows or result belongs to one thread at a time. Close or free a handle when no other thread is using it.
 *   Processes One process has a database open for writing at a time, once. Do not use handles in a forked child; a
 *             child that lives on keeps the database locked if its parent dies without closing.
 *   Distances Smaller is closer: l2 is squared Euclidean, ip is 1 - dot, cosine is 1 - cos.
 *   Versions  Structs begin with struct_size where fields may be added; use the _INIT. Status numbers never change.
 *
 * The library never prints, never exits and installs no signal handler.
 */
#ifndef POMAI_H
#define POMAI_H

#include "options.h"
#include "status.h"
#include "types.h"
#include "version.h"

#if defined(__GNUC__) || defined(__clang__)
#define POMAI_API __attribute__((visibility("default")))
#else
#define POMAI_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- library ---- */

/* "0.1.0"; static. */
POMAI_API const char *pomai_version(void);
/* "POMAI_EDIM" and so on; static; "POMAI_?" for a number that is none. */
POMAI_API const char *pomai_status_name(pomai_status status);
/* The short English text of a status; static. */
POMAI_API const char *pomai_status_text(pomai_status status);
/* The instruction set the distance kernels use on this machine: "scalar"; on x86-64 "avx2", "avxvnni", "avx512",
 * "avx512vnni" or "amx"; on 64-bit ARM "neon" or "neondot". The environment variable POMAI_SIMD, read at the first open
 * or search, may ask for a lower one. */
POMAI_API const char *pomai_simd_level(void);
/* Frees what a function here says is to be given to it. */
POMAI_API void pomai_free(void *memory);

/* ---- database ---- */

/* Opens the database in the directory `path`, making it when there is none (its parent must exist). Replays the log;
 * refuses damage (POMAI_ECORRUPT) and tells it from the torn tail of a crash, which was never acknowledged. */
POMAI_API pomai_status pomai_open(const char *path, const pomai_open_options *options, pomai_db **db, pomai_error *err);
/* Makes everything acknowledged durable, then closes. POMAI_EBUSY, and still open, while a collection, ticket, block,
 * snapshot or scan of it is open. Any other failure: closed, and what could not be synced is named. */
POMAI_API pomai_status pomai_close(pomai_db *db, pomai_error *err);
/* What opening found. `notes` is borrowed until close. */
POMAI_API void pomai_get_open_report(const pomai_db *db, pomai_open_report *report);
/* Returns once everything acknowledged so far, at whatever level, survives power loss. */
POMAI_API pomai_status pomai_sync(pomai_db *db, pomai_error *err);
/* Counters and sizes as one JSON object; give it to pomai_free. docs/stats.md names the fields. */
POMAI_API pomai_status pomai_stats(pomai_db *db, char **json, pomai_error *err);

/* ---- collections ---- */

/* Makes a collection; POMAI_EEXISTS if the name is taken. A name has 1 to POMAI_MAX_NAME of A-Z a-z 0-9 _ - . and does
 * not begin with a dot. Durable on return. */
POMAI_API pomai_status pomai_collection_create(pomai_db *db, const char *name, const pomai_collection_options *options,
                                               pomai_collection **collection, pomai_error *err);
/* Opens a collection; POMAI_ENOTFOUND if there is none. */
POMAI_API pomai_status pomai_collection_open(pomai_db *db, const char *name, pomai_collection **collection,
                                             pomai_error *err);
/* The collection `default`, which the first put to it makes (dimension, kind of id and type of the vectors from the
 * data, metric L2) unless pomai_collection_create made it before.
 * Belongs to the database; not to be closed. */
POMAI_API pomai_collection *pomai_default(pomai_db *db);
POMAI_API void pomai_collection_close(pomai_collection *collection);
/* Removes a collection and its rows for good. Calls on handles that are still open give POMAI_ENOTFOUND. */
POMAI_API pomai_status pomai_collection_drop(pomai_db *db, const char *name, pomai_error *err);
/* The names as an array of *count entries, sorted, ended by NULL, in one allocation: give it to pomai_free. */
POMAI_API pomai_status pomai_collection_list(pomai_db *db, char ***names, size_t *count, pomai_error *err);
POMAI_API pomai_status pomai_collection_get_info(pomai_collection *collection, pomai_collection_info *info,
                                                 pomai_error *err);
/* The type of its vectors, at once: no row is counted. 0: `default`, before its first put; or it was dropped. */
POMAI_API pomai_dtype pomai_collection_dtype(pomai_collection *collection);

/* ---- writing ---- */

/* Inserts rows, or replaces those whose ids are there, all or nothing. Returns when the batch is acknowledged at its
 * durability level and visible to every later read. An id twice in a batch is refused (POMAI_EDUPID); a batch over
 * POMAI_MAX_BATCH_BYTES too: split it. POMAI_EUNKNOWN: the log failed meanwhile; reopen to learn the outcome. Do not
 * let the engine assign ids and give others above the largest in the same collection at the same time: a given id may
 * be the one that another batch is just being assigned, and the later replaces the earlier. `options` and `ack` may be
 * NULL. */
POMAI_API pomai_status pomai_put(pomai_collection *collection, const pomai_batch *batch,
                                 const pomai_write_options *options, pomai_ack *ack, pomai_error *err);
/* The same, but returns as soon as the batch is admitted; its memory stays borrowed until the ticket is done. */
POMAI_API pomai_status pomai_put_async(pomai_collection *collection, const pomai_batch *batch,
                                       const pomai_write_options *options, pomai_ticket **ticket, pomai_error *err);
/* Waits until the ticket is done and returns the outcome of its put. POMAI_EDEADLINE after timeout_us (UINT64_MAX:
 * none): not done yet, wait again. May be called again after it is done. */
POMAI_API pomai_status pomai_wait(pomai_ticket *ticket, uint64_t timeout_us, pomai_ack *ack, pomai_error *err);
/* Frees a ticket; waits for it first if it is not done, because the batch's memory is in use until then. */
POMAI_API void pomai_ticket_free(pomai_ticket *ticket);

/* Reserves a block of rows x dim elements of the collection's type (float32 for `default` before its first put),
 * 64-byte aligned and zeroed, that becomes the engine's own storage at pomai_commit without a copy. For collections of
 * u64 ids; ids are assigned at commit. */
POMAI_API pomai_status pomai_reserve(pomai_collection *collection, uint64_t rows, uint64_t dim, pomai_block **block,
                                     pomai_error *err);
/* The block's vectors, row after row; NULL once committed. */
POMAI_API void *pomai_block_vectors(pomai_block *block);
/* The type of its elements. */
POMAI_API pomai_dtype pomai_block_dtype(const pomai_block *block);
/* Checks the block and puts it, like pomai_put. `documents` (one a row) may be NULL. When refused (NaN, zero vector,
 * busy), the block is as it was and may be mended and committed again; after POMAI_OK or POMAI_EUNKNOWN it is empty. */
POMAI_API pomai_status pomai_commit(pomai_block *block, const pomai_bytes *documents,
                                    const pomai_write_options *options, pomai_ack *ack, pomai_error *err);
/* Frees a block; rows not committed are dropped. */
POMAI_API void pomai_block_free(pomai_block *block);

/* Documents from columns: of each row of a struct array of the Arrow C data interface a JSON object, whose keys are the
 * names of its children; a row that is null has none, of 0 bytes. docs/arrow.md says what becomes of which type, and
 * that all others are refused (POMAI_EINVAL, with the name of the column, and of the row where it is a value). Schema
 * and array are borrowed, and not released. *documents are array->length entries in one allocation: give it to
 * pomai_free. With an array of NULL nothing but the schema is looked at. */
POMAI_API pomai_status pomai_documents_from_arrow(const struct ArrowSchema *schema, const struct ArrowArray *array,
                                                  pomai_bytes **documents, pomai_error *err);

/* The other way round: a struct array with a column for each of `count` paths (as filters have them), or, with paths
 * NULL, for each key that a document has, in the order in which they are met, and a row for each document. A column has
 * the type that holds all of its values: bool, int64, float64, utf8, lists of utf8, or else their texts, as arrow.json;
 * docs/arrow.md says when. What is missing is null, also where the document is no JSON object. *schema and *array are
 * the caller's, who calls their release; nothing refers to the documents any more. */
POMAI_API pomai_status pomai_documents_to_arrow(const pomai_bytes *documents, uint64_t rows, const char *const *paths,
                                                size_t count, struct ArrowSchema *schema, struct ArrowArray *array,
                                                pomai_error *err);

/* Deletes the rows with these ids, all or nothing, durable like a put; ids that are not there are passed over.
 * ack->rows says how many were there; rows that have expired may count while they are still stored. */
POMAI_API pomai_status pomai_delete(pomai_collection *collection, const pomai_ids *ids,
                                    const pomai_write_options *options, pomai_ack *ack, pomai_error *err);

/* Writes that look at rows first. They go in batches, of rows of one shard, of 16 MiB at most or one row: each is all
 * or nothing, and durable like a put; all of them are not. *ack says what was done, also after a failure: `rows` of it,
 * in `parts` log records, the last `stamp_ns`. No write of another thread is undone or missed: a row that is replaced
 * meanwhile is looked at again. */

/* Deletes the rows that match a filter (docs/filter.md) when they are looked at, of those that match at the call. {}
 * matches all rows, and so does {"key": {"$nin": []}}, which a program with an empty list may come to: all are deleted;
 * pomai_filter_is_every_row tells. POMAI_EDEADLINE: the deadline passed, or it was cancelled, before all rows were
 * looked at; what is deleted by then stays so: ack->rows. Called again, it goes on. */
POMAI_API pomai_status pomai_delete_where(pomai_collection *collection, const char *filter, size_t filter_size,
                                          const pomai_write_options *options, pomai_ack *ack, pomai_error *err);
/* *every is 1 for a filter that matches whatever rows have, so that no row need be looked at to say it: {} and
 * {"key": {"$nin": []}}; else 0. To be asked before a delete or update by a filter that somebody typed. What is no
 * filter is refused as by the calls that take one, with *every 1. */
POMAI_API pomai_status pomai_filter_is_every_row(const char *filter, size_t filter_size, int *every, pomai_error *err);
/* Gives the rows with these ids other documents, documents[i] to ids i; vectors and expiry stay to the bit. Ids that
 * are not there are passed over, an id twice is refused (POMAI_EDUPID). A merge into a row without a document is one
 * into {}; one into a document that is no JSON object gives POMAI_EINVAL, and so does a patch that is none, before
 * anything is written. The patch {} names nothing: its row is not written and does not count; nor is a row that has
 * none of the keys which its patch only removes. POMAI_EBUSY: others replaced rows all the time; the rest is done, do
 * it again. */
POMAI_API pomai_status pomai_update(pomai_collection *collection, const pomai_ids *ids, const pomai_bytes *documents,
                                    pomai_update_how how, const pomai_write_options *options, pomai_ack *ack,
                                    pomai_error *err);
/* The same for all rows that match a filter, with one document or patch. */
POMAI_API pomai_status pomai_update_where(pomai_collection *collection, const char *filter, size_t filter_size,
                                          const pomai_bytes *document, pomai_update_how how,
                                          const pomai_write_options *options, pomai_ack *ack, pomai_error *err);

/* ---- rows that live for years ---- */

/* Rows are in memory and in the log until they are flushed into segments: files that are mapped, which takes the log
 * and the memory back. This happens in the background; the following ask for it. */

/* What was acknowledged before becomes visible to bounded reads. Costs nothing; nothing is written. NULL: all
 * collections. */
POMAI_API pomai_status pomai_freeze(pomai_db *db, pomai_collection *collection, pomai_error *err);
/* Returns once everything acknowledged before is in segments, all of which survives power loss. */
POMAI_API pomai_status pomai_flush(pomai_db *db, pomai_error *err);
/* Flushes, then rewrites all segments that have rows which nobody can see any more, and merges the others into few:
 * after a bulk load into one, of up to 4 million rows, which is searched fastest. Takes the disk space of its output
 * while it lasts. Returns when it is done; NULL: all collections. */
POMAI_API pomai_status pomai_compact(pomai_db *db, pomai_collection *collection, pomai_error *err);

/* Segments of 1,024 rows and more that have documents get columns, which answer filters, and those of 4,096 and more
 * codes, and then a graph, which searches with a `recall` or an `ef` use; in the background, when nothing else is to be
 * done. This flushes, merges segments as far as one graph is to cover (unless `segment_bytes` was given), and returns
 * once all segments that there are by then have all of these, as far as they pay: after
 * a bulk load, or before a database is closed for good. POMAI_EDEADLINE: it ran out of time, or was cancelled, and goes
 * on in the background; POMAI_ENOSPC and others: why the last one failed. `options` may be NULL. */
POMAI_API pomai_status pomai_build_indexes(pomai_db *db, const pomai_build_options *options, pomai_error *err);

/* Holds what every collection shows now for reads that name the snapshot, however long: rows that are replaced, deleted
 * or expire meanwhile stay in it, and compaction keeps them. Of every batch it has all or nothing, and
 * none without those that were acknowledged before it was sent. Of a collection that is dropped it shows nothing any
 * more: reads that name both give POMAI_ENOTFOUND, also if one of the same name was made anew. Not stored: it ends with
 * pomai_snapshot_close, which must come before pomai_close. */
POMAI_API pomai_status pomai_snapshot_open(pomai_db *db, pomai_snapshot **snapshot, pomai_error *err);
POMAI_API void pomai_snapshot_close(pomai_snapshot *snapshot);

/* Two words that say the logical state of all collections, now or in a snapshot: names, and ids, vectors, documents,
 * commit stamps and expiry of all rows that are seen. Equal after any reopening, flush or compaction. Vectors count as
 * they are stored, and so does their type: float16 rows are not the float32 rows of the same values. */
POMAI_API pomai_status pomai_digest(pomai_db *db, const pomai_snapshot *snapshot, uint64_t digest[2], pomai_error *err);

/* ---- reading ---- */

/* Fetches rows by id: entry i of *rows answers id i. An id that is not there is no failure. `options` may be NULL. */
POMAI_API pomai_status pomai_get(pomai_collection *collection, const pomai_ids *ids, const pomai_get_options *options,
                                 pomai_rows **rows, pomai_error *err);
POMAI_API size_t pomai_rows_count(const pomai_rows *rows);
POMAI_API uint32_t pomai_rows_dim(const pomai_rows *rows);
/* 1 if id i was there; of a scan's rows always. */
POMAI_API int pomai_rows_found(const pomai_rows *rows, size_t i);
/* The id of entry i, found or not; 0 in a collection of string ids. */
POMAI_API uint64_t pomai_rows_id(const pomai_rows *rows, size_t i);
/* The same as bytes; {NULL, 0} in a collection of u64 ids. */
POMAI_API pomai_bytes pomai_rows_string_id(const pomai_rows *rows, size_t i);
/* The vector of entry i, as it is stored, in float32; NULL if not found, or not included in a scan. */
POMAI_API const float *pomai_rows_vector(const pomai_rows *rows, size_t i);
/* The document of entry i; {NULL, 0} if it has none or was not found. */
POMAI_API pomai_bytes pomai_rows_document(const pomai_rows *rows, size_t i);
/* The commit stamp of entry i; 0 if not found. */
POMAI_API uint64_t pomai_rows_stamp(const pomai_rows *rows, size_t i);
/* When entry i vanishes, ns since 1970; 0: never, or not found. */
POMAI_API uint64_t pomai_rows_expiry(const pomai_rows *rows, size_t i);
/* All of them as arrays, to be used without a copy until the rows are freed: count x dim floats, row after row, or
 * NULL if not included; count ids, or NULL in a collection of string ids; count stamps; count expiries. Entries that
 * were not found are zero, but for their ids. */
POMAI_API const float *pomai_rows_vectors(const pomai_rows *rows);
POMAI_API const uint64_t *pomai_rows_ids(const pomai_rows *rows);
POMAI_API const uint64_t *pomai_rows_stamps(const pomai_rows *rows);
POMAI_API const uint64_t *pomai_rows_expiries(const pomai_rows *rows);
POMAI_API void pomai_rows_free(pomai_rows *rows);

/* How many rows the collection shows, of those that match options->filter. `options` may be NULL: all. Looks at every
 * row. POMAI_EDEADLINE: the deadline passed, or it was cancelled, before all were judged. */
POMAI_API pomai_status pomai_count(pomai_collection *collection, const pomai_count_options *options, uint64_t *rows,
                                   pomai_error *err);

/* Begins a walk over all rows that the collection shows now, or showed in a snapshot, which may be closed before the
 * scan; or over those of them that match options->filter. Rows that are put, replaced, deleted or expire later change
 * nothing about it. Nobody waits for a scan, however long it is open; what it shows keeps its memory and disk space
 * until it is closed, which must be before pomai_close. `options` may be NULL: vectors and documents, everything
 * acknowledged before the call. */
POMAI_API pomai_status pomai_scan_open(pomai_collection *collection, const pomai_scan_options *options,
                                       pomai_scan **scan, pomai_error *err);
/* The next rows, in no promised order, each once, and rows that do not match passed over: max_rows (at least 1) of
 * them, or what is left; *rows is NULL when nothing is. They are copies, which also outlive the scan. After a failure
 * the scan is where it was: ask again, for fewer rows if it was POMAI_ENOMEM. POMAI_ECORRUPT: a row to come lies in a
 * damaged segment, and none is passed over. POMAI_ENOTFOUND: the collection was dropped. */
POMAI_API pomai_status pomai_scan_next(pomai_scan *scan, uint64_t max_rows, pomai_rows **rows, pomai_error *err);
POMAI_API void pomai_scan_close(pomai_scan *scan);

/* Finds the k nearest rows of each of `queries` vectors (queries x dim, row after row), nearest first, equal distances
 * by id. Exact, over everything acknowledged before the call, unless options->recall, or ef, asks for less: then
 * segments that have a graph or codes are searched by these, and the verdict says what to expect. Never fewer than k
 * while there are k rows. The distances are double-precision sums in one fixed order: the same on every machine,
 * instruction set and number of shards. `options` may be NULL. */
POMAI_API pomai_status pomai_search(pomai_collection *collection, const float *vectors, uint64_t queries, uint64_t dim,
                                    uint64_t k, const pomai_search_options *options, pomai_result **result,
                                    pomai_error *err);
POMAI_API size_t pomai_result_queries(const pomai_result *result);
/* Neighbours found for query q, at most k. */
POMAI_API size_t pomai_result_count(const pomai_result *result, size_t q);
/* The ids of query q, nearest first; NULL in a collection of string ids. */
POMAI_API const uint64_t *pomai_result_ids(const pomai_result *result, size_t q);
/* The string id of neighbour i of query q; {NULL, 0} in a collection of u64 ids. */
POMAI_API pomai_bytes pomai_result_string_id(const pomai_result *result, size_t q, size_t i);
/* The distances of query q, nearest first. */
POMAI_API const double *pomai_result_distances(const pomai_result *result, size_t q);
/* The document of neighbour i, with POMAI_INCLUDE_DOCUMENTS; {NULL, 0} if none. */
POMAI_API pomai_bytes pomai_result_document(const pomai_result *result, size_t q, size_t i);
/* The vector of neighbour i, with POMAI_INCLUDE_VECTORS; else NULL. */
POMAI_API const float *pomai_result_vector(const pomai_result *result, size_t q, size_t i);
/* What the search did, with POMAI_INCLUDE_PLAN: how each part of the collection was judged by the filter and looked
 * through, with counts and times, as one JSON object, borrowed until the result is freed; else NULL.
 * docs/indexing.md names the fields. */
POMAI_API const char *pomai_result_plan(const pomai_result *result);
POMAI_API void pomai_result_verdict(const pomai_result *result, size_t q, pomai_verdict *verdict);
POMAI_API void pomai_result_free(pomai_result *result);

/* ---- inspecting a database that no writer has open ---- */

/* Reads every byte of catalogue, log and segments, checks every checksum and what they say of each other, and opens the
 * database once, changing nothing. *json (give it to pomai_free) lists what was checked and every problem, also when
 * POMAI_ECORRUPT is returned; docs/cli.md names the fields. */
POMAI_API pomai_status pomai_verify_path(const char *path, pomai_progress_fn progress, void *context, char **json,
                                         pomai_error *err);
/* Copies what is intact of a damaged database into a new one at `to`, where there must be none: the newest version of
 * each row that can be read, with its vector, document and expiry; commit stamps are new. Changes nothing at `from`,
 * and needs a catalogue there that can be read. *json (give it to pomai_free) lists what is lost; *whole (may be NULL)
 * is 1 if nothing is. After a failure `to` may hold a part. */
POMAI_API pomai_status pomai_salvage(const char *from, const char *to, pomai_progress_fn progress, void *context,
                                     char **json, int *whole, pomai_error *err);
/* Gives one line a log record, oldest first, shard after shard; as JSON objects if `json` is non-zero. */
POMAI_API pomai_status pomai_dump_wal(const char *path, int json, pomai_line_fn line, void *context, pomai_error *err);
/* Gives a line for the catalogue, each shard, each collection and each of its segments. */
POMAI_API pomai_status pomai_dump_manifest(const char *path, int json, pomai_line_fn line, void *context,
                                           pomai_error *err);
/* Gives a line for a segment, and with POMAI_DUMP_ROWS for each of its rows. collection NULL: of all; number 0: all. */
POMAI_API pomai_status pomai_dump_segment(const char *path, const char *collection, uint64_t number, uint32_t flags,
                                          pomai_line_fn line, void *context, pomai_error *err);

#ifdef __cplusplus
}
#endif

#endif
