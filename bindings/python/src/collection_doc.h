/* SPDX-License-Identifier: Apache-2.0 */
/* Docstrings of collection.c. In their examples `db` is a database that was just made, and `tmp` a directory. */
#ifndef PM_PY_COLLECTION_DOC_H
#define PM_PY_COLLECTION_DOC_H

#define ADD_SIGNATURE                                                                                                  \
    "($self, /, vectors, ids=None, documents=None, metadata=None, expiry=None, durability=None, deadline_ms=None, "    \
    "*, column=None)\n--\n\n"

static const char add_doc[] =
    "add" ADD_SIGNATURE "Stores rows, or replaces those whose ids are there; durable and visible on return.\n\n"
    "vectors: float32 of shape (n, dim), or (dim,) for one row: an array, a buffer, a DLPack tensor on the CPU, a\n"
    "    data frame, lists. float32 row after row is borrowed for the call; other real numbers are converted once.\n"
    "ids: n ints from 0 to 2**64 - 1, or n str of 1 to 512 bytes in a collection of string ids. None: assigned.\n"
    "documents: n str, bytes or None.\n"
    "metadata: n dicts, a dict of columns of n, or an Arrow table of n rows; stored as the row's document, in JSON.\n"
    "    Columns are the fast way: arrays of NumPy, Arrow or Polars, or lists. Not with documents.\n"
    "expiry: when rows vanish, in ns since 1970 or as datetime, one or n; None: after the collection's ttl.\n"
    "durability: 'sync' survives power loss, 'group' does after at most group_ms, 'os' survives kill -9; None: the\n"
    "    database's.\n"
    "deadline_ms: wait at most so long for room; then BusyError or DeadlineError, and nothing is stored.\n\n"
    "vectors may also be an Arrow table: anything with __arrow_c_stream__ or __arrow_c_array__, as of pyarrow,\n"
    "Polars or DuckDB. Its columns: 'vector' (lists of equal length of floats), and if they are there 'id' (ints or\n"
    "strings), 'document' (strings or binary), 'expiry' (timestamps, or ints of ns). All others become metadata.\n"
    "column, ids, documents, expiry are then names of columns, metadata a list of names ([]: none). Each record\n"
    "batch is one put, and all ids are returned; rows_stored tells how far it came. Nulls in vectors or ids and\n"
    "lists of different lengths are refused.\n\n"
    "Returns the ids: as given, or a uint64 array of shape (n,) (a range without NumPy); for one vector its id.\n"
    "Assigned ids go on after the largest so far, and begin with 0.\n"
    "A batch is all or nothing up to 64 MiB. A larger one is split, and each chunk is all or nothing; if one fails,\n"
    "the exception's rows_stored says how many of the first rows are stored.\n\n"
    "Raises DimensionError, NotFiniteError, ZeroVectorError, IdError, DuplicateIdError, TooBigError, ReadOnlyError,\n"
    "NoSpaceError; InvalidError for lengths that do not fit each other, InvalidTypeError for types.\n\n"
    ">>> db.add([[1, 0], [0, 1]], ids=[1, 2], metadata=[{'name': 'apple'}, {'name': 'pear'}])\n"
    "[1, 2]\n"
    ">>> db.add([0.5, 0.5])\n"
    "3\n"
    ">>> db.add([1, 2, 3])\n"
    "Traceback (most recent call last):\n"
    "pomai.DimensionError: ...\n";
static const char add_batch_doc[] = "add_batch" ADD_SIGNATURE "The same as add().\n\n"
                                    ">>> db.add_batch([[1, 0], [0, 1]], ids=[1, 2])\n"
                                    "[1, 2]\n";
static const char upsert_doc[] =
    "upsert" ADD_SIGNATURE "The same as add(), which replaces rows whose ids are there.\n\n"
    ">>> db.add([1, 0], ids=7), db.upsert([0, 1], ids=7)\n"
    "(7, 7)\n"
    ">>> db.get(7).vector.tolist(), len(db)\n"
    "([0.0, 1.0], 1)\n";
static const char get_doc[] =
    "get($self, /, ids=None, *, vectors=True, documents=True, snapshot=None, mode='latest', filters=None, limit=None)\n"
    "--\n\n"
    "Rows by id: for one id a Row, or None if it is not there; for n ids a Rows of n, in their order.\n\n"
    "filters: instead of ids, rows whose documents match, as for search(): a Rows, in no promised order, of all, or\n"
    "    of `limit` of them.\n"
    "vectors, documents: whether these are wanted.\n"
    "snapshot: as of that Snapshot. mode: 'latest', everything acknowledged; 'bounded', what is frozen.\n\n"
    "Raises IdError for ids of the wrong kind, NotFoundError if the collection was dropped, CorruptError for "
    "damage.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], ids=[1, 2], documents=['apple', None])\n"
    ">>> db.get(1).document\n"
    "'apple'\n"
    ">>> db.get(3) is None\n"
    "True\n"
    ">>> rows = db.get([2, 3])\n"
    ">>> rows.found, rows[0].vector.tolist(), rows[1]\n"
    "([True, False], [0.0, 1.0], None)\n"
    ">>> _ = db.add([2, 0], ids=5, metadata={'name': 'pear'})\n"
    ">>> db.get(filters={'name': 'pear'}).ids\n"
    "[5]\n";
static const char scan_doc[] =
    "scan($self, /, *, batch_rows=None, vectors=True, documents=True, snapshot=None, mode='latest', binary=False,\n"
    "     filters=None)\n"
    "--\n\n"
    "A Scan: an iterator of Rows that walks over all rows there are now, each once, in no promised order. Writes\n"
    "meanwhile change nothing about it.\n\n"
    "batch_rows: rows of each Rows, 1 to 2**20; None: about 8 MB of vectors.\n"
    "binary: as an Arrow stream (polars.DataFrame(scan)) ids and documents are bytes, not text.\n"
    "filters: only rows whose documents match, as for search(); they are judged as the walk comes to them.\n"
    "While it is open it keeps what it shows: go to its end, close it, or use it in a `with`.\n\n"
    "Raises NotFoundError if the collection is dropped, ClosedError after it or the database is closed.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1], [1, 1]])\n"
    ">>> with db.scan(batch_rows=2) as scan:\n"
    "...     sorted(i for rows in scan for i in rows.ids)\n"
    "[0, 1, 2]\n";
static const char to_arrow_doc[] =
    "to_arrow($self, /, *, batch_rows=None, vectors=True, documents=True, snapshot=None, mode='latest', "
    "binary=False,\n         filters=None, metadata='documents', columns=None)\n"
    "--\n\n"
    "All rows as a pyarrow.Table of the columns id (uint64 or string), vector (fixed_size_list<float32>[dim]),\n"
    "document (large_string), expiry and stamp (timestamp[ns, UTC]); add() takes it back. Options as for scan().\n\n"
    "metadata: 'columns' gives a column for each key instead of the documents, of the type that holds all of its "
    "values:\n"
    "    bool, int64, float64, string, list of strings, else JSON.\n"
    "columns: the paths ('a.b') that are to be columns then; None: every key.\n\n"
    "Raises UnsupportedError without pyarrow.\n\n"
    ">>> db.to_arrow().schema.names  # doctest: +SKIP\n"
    "['id', 'vector', 'document', 'expiry', 'stamp']\n";
static const char stream_doc[] =
    "__arrow_c_stream__($self, /, requested_schema=None)\n"
    "--\n\n"
    "All rows as Arrow record batches, without a copy of vectors, stamps and int ids: polars.DataFrame(collection).\n";
static const char delete_doc[] =
    "delete($self, /, ids=None, *, durability=None, deadline_ms=None, filters=None)\n"
    "--\n\n"
    "Deletes the rows of one id or a list, all or nothing; durable on return, like add().\n\n"
    "filters: instead of ids, the rows whose documents match, as for search(); {} are all. They go in batches, each\n"
    "    all or nothing; rows_stored of an exception (KeyboardInterrupt, too) says how many are gone. A row that is "
    "replaced meanwhile goes\n"
    "    only if it still matches.\n"
    "Returns how many there were: ids that are not there are passed over. Raises IdError, TooBigError, BusyError,\n"
    "DeadlineError, ReadOnlyError.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], ids=[1, 2])\n"
    ">>> db.delete([1, 99])\n"
    "1\n"
    ">>> db.delete(filters={})\n"
    "1\n";
static const char update_doc[] =
    "update($self, /, ids=None, *, metadata=None, documents=None, filters=None, merge=None, durability=None,\n"
    "       deadline_ms=None)\n"
    "--\n\n"
    "Gives rows other documents; vectors and expiry stay as they are. Durable on return, like add().\n\n"
    "ids: one id or n; or filters: the rows whose documents match, as for search().\n"
    "metadata: n dicts, or columns as in add(); one dict for one id or for filters. They are merged into the\n"
    "    documents (RFC 7396): keys are set, None removes one, dicts are merged in turn, and what is not named stays\n"
    "    as it is written. A document that is no JSON object is refused with InvalidError.\n"
    "documents: n str, bytes or None, or one; they take the place of the old ones.\n"
    "merge: True or False, if it is to be the other way round.\n\n"
    "Returns how many rows were updated: ids that are not there are passed over. Rows go in batches, each all or\n"
    "nothing; rows_stored of an exception says how many are done. No add() of another thread is undone: a row that\n"
    "is replaced meanwhile is updated on top of that. Raises DuplicateIdError for an id twice, BusyError if others\n"
    "replace rows all the time.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], ids=[1, 2], metadata=[{'n': 1, 'old': True}, {'n': 2}])\n"
    ">>> db.update([1, 99], metadata=[{'n': 7, 'old': None}, {'n': 8}])\n"
    "1\n"
    ">>> db.get(1).metadata, db.get(1).vector.tolist()\n"
    "({'n': 7}, [1.0, 0.0])\n"
    ">>> db.update(filters={'n': {'$lt': 10}}, metadata={'seen': True})\n"
    "2\n"
    ">>> db.get(2).metadata\n"
    "{'n': 2, 'seen': True}\n";
static const char search_doc[] =
    "search($self, /, vectors, k=10, *, filters=None, include=(), deadline_ms=None, snapshot=None, mode='latest',\n"
    "       exact=None, recall=None, ef=None, vector=None)\n"
    "--\n\n"
    "The k nearest rows, nearest first, equal distances by id. Exact, unless recall= or ef= asks for less.\n\n"
    "vectors: a query of shape (dim,) gives a Result; queries of shape (n, dim) give a Results of n. `vector=` is\n"
    "    another name for it.\n"
    "k: from 1 to 1,000,000; there are fewer hits if there are fewer rows.\n"
    "include: any of 'documents', 'metadata', 'vectors', 'plan'; ids and distances are always there.\n"
    "deadline_ms: the best found by then, from the call on; the verdict says 'cut'.\n"
    "snapshot: as of that Snapshot. mode: 'latest', everything acknowledged; 'bounded', what is frozen.\n"
    "recall: the share of the k nearest that must be found, as 0.95: segments may then be searched by their graph\n"
    "    or their codes, and the verdict says 'approximate' and expected_recall. 1, or none, is exact. exact: True\n"
    "    says so, too.\n"
    "ef: instead of recall, the candidates that a walk through a graph keeps, 1 to 4,096: more find more.\n"
    "filters: only rows whose documents match: a dict as {'price': {'$lt': 10}}, its text, or what FilterOp makes;\n"
    "    docs/filter.md. results.plan says how it was answered.\n\n"
    "Distances are float64: l2 squared Euclidean, ip 1 - dot, cosine 1 - cos. Raises DimensionError,\n"
    "NotFiniteError, ZeroVectorError, TooBigError for a query that does not fit, CorruptError for damage.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1], [3, 0]], ids=[1, 2, 3])\n"
    ">>> hits = db.search([1, 0], k=2)\n"
    ">>> hits.ids.tolist(), hits.distances.tolist()\n"
    "([1, 2], [0.0, 2.0])\n"
    ">>> db.search([[1, 0], [3, 0]], k=1).ids.tolist()\n"
    "[[1], [3]]\n"
    ">>> _ = db.add([2, 0], ids=4, metadata={'name': 'apple', 'price': 3})\n"
    ">>> db.search([1, 0], filters={'name': 'apple', 'price': {'$lt': 5}}).ids.tolist()\n"
    "[4]\n";
static const char reserve_doc[] =
    "reserve($self, /, rows, dim=None)\n"
    "--\n\n"
    "A Block of rows in the engine's own storage, to be filled within `with` and stored at its end without a copy.\n\n"
    "dim: needed as long as the collection has none. Only for u64 ids, which are assigned. Raises DimensionError,\n"
    "TooBigError above 64 MiB, IdError in a collection of string ids.\n\n"
    ">>> with db.reserve(2, dim=3) as block:\n"
    "...     block.vectors[0, 0] = 1\n"
    ">>> block.ids.tolist(), db.get(0).vector.tolist()\n"
    "([0, 1], [1.0, 0.0, 0.0])\n";
static const char count_doc[] =
    "count($self, /, *, filters=None, snapshot=None, mode='latest', deadline_ms=None)\n"
    "--\n\n"
    "How many rows there are; without arguments the same as len().\n\n"
    "filters: only those whose documents match, as for search().\n"
    "snapshot: as of that Snapshot. mode: 'latest', everything acknowledged; 'bounded', what is frozen.\n"
    "deadline_ms: DeadlineError if it takes longer.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], metadata=[{'n': 1}, {'n': 2}])\n"
    ">>> db.count(), db.count(filters={'n': {'$gt': 1}})\n"
    "(2, 1)\n";
static const char freeze_doc[] =
    "freeze($self, /)\n--\n\nMakes what was acknowledged visible to mode='bounded'; writes nothing.\n\n"
    ">>> _ = db.add([1, 0], ids=1)\n"
    ">>> db.get(1, mode='bounded') is None\n"
    "True\n"
    ">>> db.freeze()\n"
    ">>> db.get(1, mode='bounded')\n"
    "Row(id=1)\n";
static const char flush_doc[] =
    "flush($self, /)\n--\n\nReturns once everything acknowledged, of all collections, is in segments, which survive\n"
    "power loss. It happens by itself; ask for it before files are copied.\n\n"
    ">>> _ = db.add([1, 0])\n"
    ">>> db.flush()\n";
static const char compact_doc[] =
    "compact($self, /)\n--\n\nFlushes, and takes back the space of rows that nobody can see any more; of a database,\n"
    "in all collections. It happens by itself, too.\n\n"
    ">>> _ = db.add([[1, 0], [0, 1]], ids=[1, 2])\n"
    ">>> _ = db.delete([1])\n"
    ">>> db.compact()\n";
static const char build_indexes_doc[] =
    "build_indexes($self, /)\n--\n\nReturns once every segment of 4,096 rows and more, of all collections, has the "
    "codes\n"
    "and the graph that search(recall=) uses. It happens by itself, in the background; rows that are not flushed have "
    "none.\n\n"
    ">>> db.flush()\n"
    ">>> db.build_indexes()\n";
static const char close_doc[] =
    "close($self, /)\n--\n\nCloses it, after the calls under way; a second time does nothing. A database makes\n"
    "everything durable first, and closes its collections and snapshots, too. Raises BusyError while a Block is "
    "open.\n\n"
    ">>> db.close()\n"
    ">>> db.closed\n"
    "True\n";
static const char collection_doc[] =
    "collection($self, /, name, dim=None, *, metric=None, ids=None, ttl=None, create=True, dtype=None,\n"
    "           cluster_by=None, index=None)\n"
    "--\n\n"
    "Opens a collection, or makes it if dim is given, create is true and there is none.\n\n"
    "name: 1 to 64 of A-Z a-z 0-9 _ - . and no dot in front. dim: 1 to 65,536. metric: 'l2' (None), 'ip' or\n"
    "'cosine'. ids: 'u64' (None) or 'string'. ttl: seconds or a timedelta after which rows vanish. dtype: of the\n"
    "stored vectors, 'float32' (None), 'float16' or 'int8', or NumPy's word for it; queries and answers are float32.\n"
    "cluster_by: a path of metadata, as filters name it: rows with the same value there lie together, so that\n"
    "searches which filter on it are fast. index: what is built for searches that name a recall: 'auto' (None),\n"
    "'exact' (nothing), 'codes' or 'graph' alone; docs/indexing.md.\n\n"
    "What is given must be what an existing collection has, else InvalidError names both. NotFoundError if there is\n"
    "none and it is not to be made.\n\n"
    ">>> words = db.collection('words', 2, metric='cosine', ids='string')\n"
    ">>> words.add([[1, 0]], ids=['apple'])\n"
    "['apple']\n"
    ">>> db.collection('words').info\n"
    "Info(name='words', dim=2, metric='cosine', id_kind='string', ttl=None, rows=1, dtype='float32', "
    "cluster_by=None, index_kind='auto')\n";
static const char collections_doc[] = "collections($self, /)\n--\n\nThe names of the collections, sorted.\n\n"
                                      ">>> _ = db.collection('words', 2)\n"
                                      ">>> db.collections()\n"
                                      "['words']\n";
static const char drop_doc[] =
    "drop($self, name, /)\n--\n\nRemoves a collection and its rows for good; NotFoundError if there is none.\n\n"
    ">>> _ = db.collection('words', 2)\n"
    ">>> db.drop('words')\n"
    ">>> db.collections()\n"
    "[]\n";
static const char snapshot_method_doc[] =
    "snapshot($self, /)\n--\n\nWhat every collection shows now, as a Snapshot for get() and search(). It costs no\n"
    "memory, but keeps the rows it shows from compaction until it is closed.\n\n"
    ">>> _ = db.add([1, 0], ids=1)\n"
    ">>> with db.snapshot() as before:\n"
    "...     _ = db.delete([1])\n"
    "...     db.get(1), db.get(1, snapshot=before)\n"
    "(None, Row(id=1))\n";
static const char sync_doc[] =
    "sync($self, /)\n--\n\nReturns once everything acknowledged, at whatever level, survives power loss.\n\n"
    ">>> _ = db.add([1, 0], durability='os')\n"
    ">>> db.sync()\n";
static const char stats_doc[] = "stats($self, /)\n--\n\nCounters and sizes, as docs/stats.md names them.\n\n"
                                ">>> stats = db.stats()\n"
                                ">>> isinstance(stats, dict)\n"
                                "True\n";
static const char digest_doc[] = "digest($self, /, snapshot=None)\n--\n\n32 hex digits that say the state of all "
                                 "collections, now or in a Snapshot:\n"
                                 "equal after any reopening, flush or compaction.\n\n"
                                 ">>> _ = db.add([1, 0])\n"
                                 ">>> before = db.digest()\n"
                                 ">>> db.compact()\n"
                                 ">>> db.digest() == before\n"
                                 "True\n";
static const char snapshot_digest_doc[] = "digest($self, /)\n--\n\n32 hex digits that say what the snapshot shows.\n\n"
                                          ">>> with db.snapshot() as snapshot:\n"
                                          "...     len(snapshot.digest())\n"
                                          "32\n";
static const char snapshot_close_doc[] = "close($self, /)\n--\n\nLets the rows go that only it shows.\n\n"
                                         ">>> snapshot = db.snapshot()\n"
                                         ">>> snapshot.close()\n";

#endif
