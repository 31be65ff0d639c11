# SPDX-License-Identifier: Apache-2.0
"""The common verbs without the program in C: for packages that were built without zlib or jansson.

Output is always JSON, an object a line; exit codes are those of the program.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib
import itertools
import json
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from . import _core, _database
from ._core import Collection, Database, Row
from ._errors import CorruptError, Error, NotFoundError, TooBigError
from ._files import Misused, where

_BATCH = 1000


_MISSING = (
    "This package was built without the command line program, because zlib or jansson was missing; it has only the\n"
    "common verbs, with fewer options. For all of them install the development files (Debian: apt-get install\n"
    "zlib1g-dev libjansson-dev pkg-config) and install the package again."
)


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value, separators=(",", ":")))


def _collection(db: Database, args: argparse.Namespace) -> Collection:
    return db if args.collection == "default" else db.collection(args.collection, create=False)


def _reading(args: argparse.Namespace) -> Database:
    return _database.open(args.db, read_only=True)


def _metadata_as_written(row: Row) -> Any:
    try:
        metadata = row.metadata
        same = json.dumps(metadata, ensure_ascii=False, separators=(",", ":")) == row.document
    except (TooBigError, RecursionError):
        return None
    return metadata if same else None


def _row(row: Row) -> dict[str, Any]:
    """As `import` reads it back: docs/cli.md, export."""
    document = row.document
    made: dict[str, Any] = {"id": row.id, "vector": [float(x) for x in row.vector]}
    if isinstance(row.id, int) and row.id > 2**63 - 1:
        made = {"id_u64": str(row.id), "vector": made["vector"]}
    if row.expiry is not None:
        made["expiry_ns"] = row.expiry if row.expiry < 2**63 else str(row.expiry)
    if isinstance(document, bytes):
        made["document_hex"] = document.hex()
    elif (metadata := _metadata_as_written(row)) is not None:
        made["metadata"] = metadata
    elif document is not None:
        made["document_text"] = document
    return made


def _version(args: argparse.Namespace) -> None:
    print(f"pomai {_core.__version__}")


def _collections(args: argparse.Namespace) -> None:
    with _reading(args) as db:
        for name in db.collections():
            _say(db.collection(name, create=False).info._asdict())


def _stats(args: argparse.Namespace) -> None:
    with _reading(args) as db:
        _say(db.stats())


def _digest(args: argparse.Namespace) -> None:
    with _reading(args) as db:
        print(db.digest())


def _verify(args: argparse.Namespace) -> int:
    try:
        _say(_database.verify(args.db))
    except CorruptError as error:
        _say(error.report or {"error": str(error)})
        return 1
    return 0


def _shape(args: argparse.Namespace) -> dict[str, Any]:
    return {"metric": args.metric, "dtype": args.dtype, "cluster_by": args.cluster_by, "index": args.index}


def _create(args: argparse.Namespace) -> None:
    with _database.open(args.db, shards=args.shards) as db:
        if args.dim:
            db.collection(args.collection, args.dim, ids=args.ids, **_shape(args))


def _drop(args: argparse.Namespace) -> None:
    with _database.open(args.db, existing=True) as db:
        db.drop(args.name)


def _ids(db: Collection, words: list[str]) -> list[Any]:
    return words if db.info.id_kind == "string" else [int(word) for word in words]


def _filters(args: argparse.Namespace) -> str | None:
    """The filter that says which rows, or None: their ids do."""
    if (args.ids != []) + (args.where is not None) + args.all != 1:
        raise Misused("which rows? give ids, or --where, or --all: one of them")
    if args.where is not None and _core.is_every_row(args.where):
        raise Misused("this --where is every row: say --all")
    return "{}" if args.all else args.where


def _delete(args: argparse.Namespace) -> None:
    filters = _filters(args)
    with _database.open(args.db, existing=True) as db:
        collection = _collection(db, args)
        if filters is None:
            _say({"deleted": collection.delete(_ids(collection, args.ids))})
        else:
            _say({"deleted": collection.delete(filters=filters)})


def _update(args: argparse.Namespace) -> None:
    filters = _filters(args)
    if (args.set is None) == (args.document is None):
        raise Misused("give --set or --document: one of them")
    merge, text = args.set is not None, args.document if args.set is None else args.set
    with _database.open(args.db, existing=True) as db:
        collection = _collection(db, args)
        if filters is None:
            ids = _ids(collection, args.ids)
            done = collection.update(ids, documents=[text] * len(ids), merge=merge)
        else:
            done = collection.update(filters=filters, documents=text, merge=merge)
        _say({"updated": done})


def _flush(args: argparse.Namespace) -> None:
    with _database.open(args.db, existing=True) as db:
        db.flush()


def _compact(args: argparse.Namespace) -> None:
    with _database.open(args.db, existing=True) as db:
        db.compact()


def _index(args: argparse.Namespace) -> None:
    with _database.open(args.db, existing=True) as db:
        db.flush()
        db.build_indexes()


def _matching(collection: Collection, filters: str | None) -> Iterator[Row]:
    with collection.scan(filters=filters) as scan:
        for rows in scan:
            yield from (row for row in rows if row is not None)


def _count(args: argparse.Namespace) -> None:
    with _reading(args) as db:
        _say({"rows": _collection(db, args).count(filters=args.where)})


def _get(args: argparse.Namespace) -> int:
    filters = _filters(args)
    if filters is None and args.limit is not None:
        raise Misused("--limit goes with --where or --all")
    with _reading(args) as db:
        collection = _collection(db, args)
        if filters is not None:
            for found in itertools.islice(_matching(collection, filters), args.limit):
                _say(_row(found) | {"stamp_ns": found.stamp})
            return 0
        ids = _ids(collection, args.ids)
        rows = collection.get(ids)
        for name, row in zip(ids, rows):
            _say({"id": name, "found": False} if row is None else _row(row) | {"stamp_ns": row.stamp})
        return 0 if all(rows.found) else 1


def _search(args: argparse.Namespace) -> None:
    with _reading(args) as db:
        include: Any = ["documents"] if args.documents else []
        result = _collection(db, args).search(
            json.loads(args.vector), args.k, include=include, recall=args.recall, ef=args.ef, filters=args.where
        )
        hits = [{"distance": h.distance, "id": h.id} | ({"document": h.document} if include else {}) for h in result]
        _say({"query": 0, "hits": hits, "verdict": result.verdict._asdict()})


def _export(args: argparse.Namespace) -> None:
    with _reading(args) as db:
        for row in _matching(_collection(db, args), args.where):
            _say(_row(row))


# ---- import ----

_Rows = Iterator[dict[str, Any]]


def _written(line: str, rest: dict[str, Any]) -> str | None:
    """The document of a row, with the digits that it is written with: floats go through as marked strings."""
    mark = f"<{secrets.token_hex(16)}>"
    row = json.loads(line, parse_float=lambda digits: mark + digits)
    document = row["metadata"] if "metadata" in row else {key: row[key] for key in rest}
    if document is None:
        return None
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return re.sub(f'"{mark}([^"]*)"', r"\1", text)


def _lines(file: IO[str]) -> _Rows:
    for line in file:
        if line.strip():
            row = json.loads(line)
            known = {"id", "id_u64", "vector", "metadata", "expiry_ns", "document_text", "document_hex"}
            rest = {key: value for key, value in row.items() if key not in known}
            document = row.get("document_text")
            if "document_hex" in row:
                document = bytes.fromhex(row["document_hex"])
            elif "metadata" in row or rest:
                document = _written(line, rest)
            yield {"id": int(row["id_u64"]) if "id_u64" in row else row.get("id"), "vector": row["vector"],
                   "document": document, "expiry": int(row.get("expiry_ns", 0))}


def _table(file: IO[str]) -> _Rows:
    """A .csv with a header that has `vector`, as JSON arrays; or one of numbers alone."""
    for number, fields in enumerate(csv.reader(file)):
        if number == 0:
            names = [name.strip().lower() for name in fields]
            if "vector" in names:
                continue
            names = []
        if not names:
            yield {"id": None, "vector": [float(field) for field in fields], "document": None, "expiry": 0}
            continue
        row = dict(zip(names, fields, strict=True))
        vector, name = json.loads(row.pop("vector")), row.pop("id", None)
        document = json.dumps(row, ensure_ascii=False, separators=(",", ":")) if row else None
        key = int(name) if name is not None and name.isdigit() else name
        yield {"id": key, "vector": vector, "document": document, "expiry": 0}


def _add(db: Database, args: argparse.Namespace, rows: Iterable[dict[str, Any]]) -> int:
    stored, walk = 0, iter(rows)
    collection: Collection | None = None
    while batch := list(itertools.islice(walk, _BATCH)):
        first = batch[0]
        if collection is None:
            try:
                collection = db.collection(args.collection, create=False, **_shape(args))
            except NotFoundError:
                kind: Any = "string" if isinstance(first["id"], str) else "u64"
                collection = db.collection(args.collection, len(first["vector"]), ids=kind, **_shape(args))
        collection.add(
            [row["vector"] for row in batch], ids=None if first["id"] is None else [row["id"] for row in batch],
            documents=[row["document"] for row in batch],
            expiry=[row["expiry"] for row in batch] if any(row["expiry"] for row in batch) else None,
        )
        stored += len(batch)
    return stored


def _import(args: argparse.Namespace) -> None:
    path = Path(args.file)
    packed = path.suffix == ".gz"
    kind = Path(path.stem).suffix if packed else path.suffix
    opened: Callable[..., Any] = gzip.open if packed else open
    if kind not in (".npy", ".csv", ".jsonl", ".ndjson"):
        raise ValueError(f"'{path}': without the program only .npy, .csv and .jsonl (and .gz of them) are read")
    with _database.open(args.db) as db:
        if kind == ".npy":
            with opened(path, "rb") as file:
                vectors = importlib.import_module("numpy").load(file, allow_pickle=False)
            rows = ({"id": None, "vector": v, "document": None, "expiry": 0} for v in vectors)
            stored = _add(db, args, rows)
        else:
            with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
                stored = _add(db, args, _lines(file) if kind != ".csv" else _table(file))
    _say({"ok": True, "collection": args.collection, "rows": stored})


# ---- the command line ----


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pomai", epilog=_MISSING, allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name: str, call: Callable[[argparse.Namespace], int | None], *arguments: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, allow_abbrev=False)
        made.set_defaults(call=call)
        for argument in arguments:
            made.add_argument(argument, nargs="*" if argument == "ids" else None)
        made.add_argument("-c", "--collection", default="default")
        made.add_argument("-j", "--json", action="store_true", help="(always so)")
        return made

    verb("version", _version)
    simple = {}
    for name, call in {"collections": _collections, "stats": _stats, "digest": _digest, "verify": _verify,
                       "flush": _flush, "compact": _compact, "index": _index, "export": _export, "count": _count}.items():
        simple[name] = verb(name, call, "db")
    verb("drop", _drop, "db", "name")
    by_rows = {name: verb(name, call, "db", "ids") for name, call in
               {"delete": _delete, "get": _get, "update": _update}.items()}
    for made in by_rows.values():
        made.add_argument("--all", action="store_true")
    by_rows["get"].add_argument("-n", "--limit", type=_whole)
    by_rows["update"].add_argument("--set")
    by_rows["update"].add_argument("--document")
    metrics = ["l2", "ip", "cosine"]
    create = verb("create", _create, "db")
    create.add_argument("-d", "--dim", type=int, default=0)
    create.add_argument("-m", "--metric", choices=metrics)
    create.add_argument("--ids", choices=["u64", "string"])
    create.add_argument("--shards", type=int, default=0)
    read = verb("import", _import, "db", "file")
    read.add_argument("-m", "--metric", choices=metrics)
    for made in (create, read):
        made.add_argument("--dtype", choices=["float32", "float16", "int8"])
        made.add_argument("--cluster-by", metavar="PATH")
        made.add_argument("--index", choices=["auto", "exact", "codes", "graph"])
    search = verb("search", _search, "db")
    search.add_argument("--vector", required=True)
    search.add_argument("-k", type=int, default=10)
    for made in (search, simple["export"], simple["count"], *by_rows.values()):
        made.add_argument("-w", "--where", metavar="JSON|@FILE|-", help="a filter, or a file with one: docs/filter.md")
    effort = search.add_mutually_exclusive_group()
    effort.add_argument("--recall", type=float)
    effort.add_argument("--ef", type=int)
    search.add_argument("--documents", action="store_true")
    return parser


def run(arguments: list[str]) -> int:
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        if hasattr(args, "where"):
            args.where = where(args.where)
        return int(args.call(args) or 0)
    except Misused as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    except (Error, OSError, ValueError, KeyError, TypeError, ImportError) as error:
        print(f"pomai: {error}" + (f" ({error.name})" if isinstance(error, Error) else ""), file=sys.stderr)
        return 1
