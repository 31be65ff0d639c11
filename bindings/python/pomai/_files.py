# SPDX-License-Identifier: Apache-2.0
"""`pomai import` and `pomai export` of Parquet and Arrow files, which the program in C does not read: with pyarrow.

Flags, output and exit codes are those of the program. Files go through batch by batch: memory does not depend on their
size.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from . import _database
from ._core import Collection, Database
from ._errors import Error, NotFoundError

FORMATS = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow"}
_DONE, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130
_BATCH_BYTES, _GROUP_BYTES = 4 << 20, 64 << 20
_FILTER_BYTES = 16 << 20  # of a filter's text, as the engine has it


class _Refused(Exception):
    """A sentence for the user, and the exit code."""

    def __init__(self, sentence: str, code: int = _FAILED) -> None:
        super().__init__(sentence)
        self.code = code


class Misused(Exception):
    """A sentence that says what is wrong with the arguments."""


class _NotOurs(Exception):
    """Arguments that only the program in C understands, or refuses."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _NotOurs(message)


def where(word: str | None) -> str | None:
    """The filter of --where: that of a file, or of standard input, as the program has it."""
    if word is None or not (word == "-" or word.startswith("@")):
        return word
    path = word.removeprefix("@")
    if not path:
        raise Misused("--where @ names no file")
    name = "standard input" if path == "-" else path
    with contextlib.ExitStack() as files:
        file: Any = sys.stdin.buffer if path == "-" else files.enter_context(open(path, "rb"))
        if file.peek(3)[:3] == b"\x1f\x8b\x08":
            file = gzip.GzipFile(fileobj=file)
        text: bytes = file.read(_FILTER_BYTES + 1)
    if len(text) > _FILTER_BYTES:
        raise ValueError(f"{name}: the filter has more than {_FILTER_BYTES:,} bytes, which is the most")
    if b"\0" in text:
        raise ValueError(f"{name}: the filter has a NUL byte, at offset {text.index(0)}; JSON has none: a string has it "
                         "as \\u0000")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: the filter is no UTF-8 at offset {error.start}") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number")
    return int(text)


def _ttl(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time like 30s, 5m, 12h or 7d")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"pomai {verb}", add_help=False, allow_abbrev=False)
    add = parser.add_argument
    add("db")
    add("-c", "--collection", default="default")
    add("-f", "--format")
    add("-j", "--json", action="store_true")
    add("-q", "--quiet", action="store_true")
    if verb == "export":
        add("-o", "--output", dest="file", default="")
        add("--accept-damage", action="store_true")
        add("--read-only", action="store_true")
        add("--binary", action="store_true")
        add("-w", "--where")
        return parser
    add("file")
    add("-m", "--metric", choices=["l2", "ip", "cosine"])
    add("--dtype", choices=["float32", "float16", "int8"])
    add("--ttl", type=_ttl)
    add("--cluster-by")
    add("--index", choices=["auto", "exact", "codes", "graph"])
    add("--shards", type=_whole, default=0)
    add("-b", "--batch", type=_whole, default=0)
    add("-n", "--limit", type=_whole)
    add("--skip", type=_whole, default=0)
    add("--durability", choices=["sync", "group", "os"], default="sync")
    for role in ("vector", "id", "document", "expiry"):
        add(f"--{role}-column")
    add("--metadata-columns")
    return parser


def _format(args: argparse.Namespace) -> str | None:
    if args.format is not None:
        return args.format if args.format in FORMATS.values() else None
    return FORMATS.get(Path(args.file).suffix.lower())


def _pyarrow(name: str, path: str) -> Any:
    try:
        return importlib.import_module(f"pyarrow.{name}")
    except ImportError as error:
        raise _Refused(
            f"'{path}' needs pyarrow ({error}): pip install pyarrow. Or convert it: 'import' reads .npy, .csv and "
            ".jsonl without it, and 'export' writes .jsonl"
        ) from None


class _Progress:
    """Rows and rate on a terminal, ten times a second; nothing otherwise."""

    def __init__(self, quiet: bool) -> None:
        self.on = not quiet and sys.stderr.isatty()
        self.began = self.drawn = time.monotonic()

    def update(self, rows: int, total: int | None) -> None:
        now = time.monotonic()
        if not self.on or now - self.drawn < 0.1:
            return
        self.drawn = now
        share = f" of {total:,}" if total else ""
        sys.stderr.write(f"\r\033[K{rows:,}{share} rows  {rows / (now - self.began):,.0f} rows/s")
        sys.stderr.flush()

    def end(self) -> float:
        if self.on:
            sys.stderr.write("\r\033[K")
        return time.monotonic() - self.began


# ---- import ----


def _read(path: str, kind: str, rows: int) -> tuple[Any, Iterator[Any], int | None]:
    """Schema, batches and number of rows, if the file tells it."""
    if kind == "parquet":
        parquet = _pyarrow("parquet", path)
        file = parquet.ParquetFile(path, memory_map=True)
        schema = file.schema_arrow
        return schema, file.iter_batches(batch_size=rows or _rows(schema)), file.metadata.num_rows
    ipc = _pyarrow("ipc", path)
    source = _pyarrow("lib", path).memory_map(path)
    try:
        reader = ipc.open_file(source)
    except ValueError:
        source.seek(0)
        stream = ipc.open_stream(source)
        return stream.schema, _pieces(stream, rows or _rows(stream.schema)), None
    batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    return reader.schema, _pieces(batches, rows or _rows(reader.schema)), None


def _pieces(batches: Any, rows: int) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _rows(schema: Any) -> int:
    """Rows of a batch of about 4 MB of vectors."""
    dim = max([getattr(field.type, "list_size", 0) for field in schema], default=0) or 1024
    return max(1, min(65536, _BATCH_BYTES // (dim * 4)))


def _cut(batches: Iterator[Any], skip: int, limit: int | None) -> Iterator[Any]:
    for batch in batches:
        start = min(skip, batch.num_rows)
        skip -= start
        count = batch.num_rows - start if limit is None else min(limit, batch.num_rows - start)
        if limit is not None:
            limit -= count
        if count > 0:
            yield batch.slice(start, count)
        if limit == 0:
            return


def _columns(args: argparse.Namespace) -> dict[str, Any]:
    named = {"column": args.vector_column, "ids": args.id_column, "documents": args.document_column,
             "expiry": args.expiry_column}
    if args.metadata_columns is not None:
        named["metadata"] = [name for name in args.metadata_columns.split(",") if name]
    return {key: value for key, value in named.items() if value is not None}


def _is_vectors(kind: Any) -> bool:
    """A list of numbers: of the types that have one, those are what an import takes."""
    items = str(getattr(kind, "value_type", ""))
    return "list" in str(kind) and items in ("halffloat", "float", "double")


def _open_collection(db: Database, args: argparse.Namespace, batch: Any) -> tuple[Collection, bool]:
    """The collection, and whether it was made for this file."""
    wanted = {"metric": args.metric, "ttl": args.ttl, "dtype": args.dtype, "cluster_by": args.cluster_by,
              "index": args.index}
    try:
        return db.collection(args.collection, **wanted), False
    except NotFoundError:
        pass
    fields = {field.name: field.type for field in batch.schema}
    vectors = [name for name, kind in fields.items() if _is_vectors(kind)]
    name = args.vector_column or ("vector" if "vector" in fields else vectors[0] if len(vectors) == 1 else None)
    if name not in fields:
        raise _Refused(f"'{args.file}' has no column of vectors, or several; name one with --vector-column. Its "
                       f"columns are {', '.join(fields)}")
    first = batch.column(batch.schema.get_field_index(name))[0].as_py()
    if not isinstance(first, list):
        raise _Refused(f"column '{name}' of '{args.file}' has no vector in its first row")
    ids = str(fields.get(args.id_column or "id", "uint64"))
    kind: Any = "string" if any(word in ids for word in ("string", "binary")) else "u64"
    return db.collection(args.collection, len(first), ids=kind, **wanted), True


def _import(args: argparse.Namespace, kind: str) -> dict[str, Any]:
    total: int | None
    if not os.path.exists(args.file):
        raise _Refused(f"'{args.file}' does not exist")
    _, batches, total = _read(args.file, kind, args.batch)
    options = _columns(args)
    stored = count = size = 0
    created, first_id = False, None
    collection: Collection | None = None
    progress = _Progress(args.quiet)
    with _database.open(args.db, shards=args.shards, durability=args.durability) as db:
        try:
            for batch in _cut(batches, args.skip, args.limit):
                if collection is None:
                    collection, created = _open_collection(db, args, batch)
                ids = collection.add(batch, **options)
                stored, count, size = stored + batch.num_rows, count + 1, size + batch.nbytes
                if first_id is None and (args.id_column or "id") not in batch.schema.names:
                    first_id = int(ids[0])
                progress.update(stored, total)
        except BaseException as error:
            progress.end()
            before = args.skip + stored
            stored += getattr(error, "rows_stored", 0)
            if stored == 0 and created:
                db.drop(args.collection)
            broken = isinstance(error, KeyboardInterrupt)
            sentence = "interrupted" if broken else _sentence(error)
            if before > 0 and re.search(r"\brows? \d", sentence):
                sentence += f"; rows are counted from row {before} of the file"
            if stored == 0 and (before == 0 or broken):
                raise
            if stored == 0:
                raise _Refused(sentence) from error
            raise _Refused(f"{sentence}; {stored} rows before it are stored: go "
                           f"on with --skip {args.skip + stored}", _INTERRUPTED if broken else _FAILED) from error
        seconds = progress.end()
        dim = collection.dim if collection is not None else 0
    return {
        "ok": True, "collection": args.collection, "rows": stored, "dim": dim, "batches": count,
        "seconds": round(seconds, 6), "vec_per_s": round(stored / max(seconds, 1e-9), 1),
        "mb_per_s": round(size / max(seconds, 1e-9) / 1e6, 3), "durability": args.durability, "created": created,
    } | ({} if first_id is None else {"first_id": first_id})


# ---- export ----


@contextlib.contextmanager
def _writer(path: str, kind: str, schema: Any) -> Iterator[Any]:
    if kind == "parquet":
        with _pyarrow("parquet", path).ParquetWriter(path, schema) as writer:
            yield writer.write_table
    else:
        with _pyarrow("ipc", path).new_file(path, schema) as writer:
            yield writer.write_table


def _groups(reader: Any, lib: Any) -> Iterator[Any]:
    """Tables of about 64 MB: small row groups make a Parquet file slow to read."""
    held: list[Any] = []
    for batch in reader:
        held.append(batch)
        if sum(b.nbytes for b in held) >= _GROUP_BYTES:
            yield lib.Table.from_batches(held)
            held = []
    yield lib.Table.from_batches(held, reader.schema)


def _export(args: argparse.Namespace, kind: str) -> dict[str, Any]:
    lib = _pyarrow("lib", args.file)
    progress, rows = _Progress(args.quiet), 0
    unfinished = f"{args.file}.unfinished"
    with _database.open(args.db, read_only=True, accept_damage=args.accept_damage) as db:
        collection: Collection = db if args.collection == "default" else db.collection(args.collection, create=False)
        total, dim = len(collection) if args.where is None else None, collection.dim
        try:
            with collection.scan(binary=args.binary, filters=args.where) as scan:
                reader = lib.RecordBatchReader.from_stream(scan)
                with _writer(unfinished, kind, reader.schema) as write:
                    for table in _groups(reader, lib):
                        write(table)
                        rows += table.num_rows
                        progress.update(rows, total)
            with open(unfinished, "rb+") as whole:
                os.fsync(whole.fileno())
            os.replace(unfinished, args.file)
        except BaseException:
            progress.end()
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise
    return {"ok": True, "collection": args.collection, "file": args.file, "rows": rows, "dim": dim,
            "bytes": os.path.getsize(args.file), "seconds": round(progress.end(), 6)}


# ---- the command line ----


def _sentence(error: BaseException) -> str:
    text = str(error).replace("scan(binary=True) gives", "--binary writes").replace("use scan()", "export .jsonl")
    text = re.sub(r"\s+", " ", text.replace("add()", "import"))
    return f"{text} ({error.name})" if isinstance(error, Error) else text


def _summary(verb: str, summary: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return json.dumps(summary, separators=(",", ":"))
    what = f"{summary['rows']} rows of {summary['dim']} dimensions in {summary['seconds']:.2f} s"
    if verb == "import":
        return f"{what}, in the collection {summary['collection']}"
    return f"{what}, {summary['bytes']} bytes in {summary['file']}"


def run(arguments: list[str]) -> int | None:
    """Does an import or export of a Parquet or Arrow file; None: the arguments ask for something else."""
    if not arguments or arguments[0] not in ("import", "export"):
        return None
    verb = arguments[0]
    try:
        args, rest = _parser(verb).parse_known_args(arguments[1:])
    except _NotOurs as error:
        ours = any(Path(a).suffix.lower() in FORMATS for a in arguments[2:]) and "-h" not in arguments
        if not ours or "--help" in arguments:
            return None
        print(f"pomai: {error}; see docs/cli.md", file=sys.stderr)
        return _USAGE
    kind = _format(args)
    if kind is None or "-h" in rest or "--help" in rest:
        return None
    try:
        if rest:
            raise _Refused(f"'pomai {verb}' of {kind} has no option '{rest[0]}'; see docs/cli.md", _USAGE)
        if not args.file or args.file == "-":
            raise _Refused(f"{kind} needs a file, which can be read and written in any order, not a pipe", _USAGE)
        if verb == "export":
            args.where = where(args.where)
        summary = (_import if verb == "import" else _export)(args, kind)
    except KeyboardInterrupt:
        print("pomai: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:  # whatever pyarrow finds wrong with a file, too
        print(f"pomai: {_sentence(error)}", file=sys.stderr)
        if args.json:
            print(json.dumps({"ok": False, "error": _sentence(error)}, separators=(",", ":")))
        return error.code if isinstance(error, _Refused) else _USAGE if isinstance(error, Misused) else _FAILED
    if args.json or not args.quiet:
        print(_summary(verb, summary, args.json))
    return _DONE
