#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Segments are Arrow files: pyarrow and Polars read in them, value by value, what was written.

usage: test_arrow.py WRITE_SEGMENTS

Without pyarrow and polars it exits with 77, which ctest shows as skipped.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import polars
    import pyarrow
    import pyarrow.ipc
except ImportError as reason:
    print(f"skipped: {reason}; ./dev test installs it")
    sys.exit(77)


def same(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {str(got)[:300]}, not {str(want)[:300]}")


def text(value, kind):
    """The text or bytes that a hexadecimal string stands for."""
    if value is None or isinstance(value, int):
        return value
    data = bytes.fromhex(value)
    return data if pyarrow.types.is_binary(kind) else data.decode()


def nanoseconds(column):
    return column.cast(pyarrow.int64()).to_pylist()


def check_pyarrow(directory, rows):
    with pyarrow.memory_map(str(directory / "vectors.arrow")) as source:
        before = pyarrow.total_allocated_bytes()
        reader = pyarrow.ipc.open_file(source)
        same("batches", reader.num_record_batches, 1)
        dtype = json.loads((directory / "stats.json").read_text())["dtype"]
        item = {"float32": pyarrow.float32(), "float16": pyarrow.float16(), "int8": pyarrow.int8()}[dtype]
        same("type of vector", reader.schema.field("vector").type,
             pyarrow.list_(pyarrow.field("item", item, False), len(rows[0]["vector"])))
        batch = reader.get_batch(0)
        same("bytes copied from the map", pyarrow.total_allocated_bytes() - before, 0)
        batch.validate(full=True)
        kind = batch.schema.field("id").type
        if isinstance(rows[0]["id"], int):
            same("type of id", kind, pyarrow.uint64())
        same("id", batch["id"].to_pylist(), [text(r["id"], kind) for r in rows])
        same("type of shard", batch.schema.field("shard").type, pyarrow.uint16())
        same("shard", batch["shard"].to_pylist(), [r["shard"] for r in rows])
        same("lsn", batch["lsn"].to_pylist(), [r["lsn"] for r in rows])
        same("type of stamp", batch.schema.field("stamp").type, pyarrow.timestamp("ns", "UTC"))
        same("stamp", nanoseconds(batch["stamp"]), [r["stamp"] for r in rows])
        expiry = [r["expiry"] or None for r in rows]
        same("has expiry", "expiry" in batch.schema.names, any(expiry))
        if any(expiry):
            same("expiry", nanoseconds(batch["expiry"]), expiry)
        same("vector", [[float(x) for x in v] for v in batch["vector"].to_pylist()], [r["vector"] for r in rows])
        for column in batch.columns:
            for buffer in column.buffers():
                same("alignment", buffer is None or buffer.size == 0 or buffer.address % 64 == 0, True)
    attributes = directory / "attributes.arrow"
    same("attributes", attributes.exists(), any(r["document"] for r in rows))
    if attributes.exists():
        with pyarrow.memory_map(str(attributes)) as source:
            batch = pyarrow.ipc.open_file(source).get_batch(0)
            batch.validate(full=True)
            kind = batch.schema.field("document").type
            same("document", batch["document"].to_pylist(), [text(r["document"], kind) for r in rows])
    return kind


def check_polars(directory, rows):
    frame = polars.read_ipc(directory / "vectors.arrow")
    same("polars columns", frame.columns, [n for n in ["id", "shard", "lsn", "stamp", "expiry", "vector"]
                                           if n != "expiry" or any(r["expiry"] for r in rows)])
    raw = frame["id"].dtype == polars.Binary
    same("polars id", frame["id"].to_list(),
         [text(r["id"], pyarrow.binary() if raw else pyarrow.utf8()) for r in rows])
    for name in ["shard", "lsn"]:
        same(f"polars {name}", frame[name].to_list(), [r[name] for r in rows])
    same("polars stamp", frame["stamp"].dtype, polars.Datetime("ns", "UTC"))
    same("polars stamp", frame["stamp"].to_physical().to_list(), [r["stamp"] for r in rows])
    if "expiry" in frame.columns:
        same("polars expiry", frame["expiry"].to_physical().to_list(), [r["expiry"] or None for r in rows])
    same("polars vector", frame["vector"].to_list(), [r["vector"] for r in rows])
    if (directory / "attributes.arrow").exists():
        column = polars.read_ipc(directory / "attributes.arrow")["document"]
        kind = pyarrow.binary() if column.dtype == polars.Binary else pyarrow.utf8()
        same("polars document", column.to_list(), [text(r["document"], kind) for r in rows])
    scanned = polars.scan_ipc(directory / "vectors.arrow").select(polars.col("lsn").max()).collect().item()
    same("polars scan", scanned, max(r["lsn"] for r in rows))


def main():
    with tempfile.TemporaryDirectory() as root:
        subprocess.run([sys.argv[1], root], check=True)
        cases = sorted(Path(root).glob("*.rows"))
        kinds = set()
        for case in cases:
            rows = [json.loads(line) for line in case.read_text().splitlines()]
            directory = case.with_suffix("")
            kinds.add(str(check_pyarrow(directory, rows)))
            check_polars(directory, rows)
            same("rows in stats.json", json.loads((directory / "stats.json").read_text())["rows"], len(rows))
        print(f"{len(cases)} segments, document or id types {sorted(kinds)}: pyarrow {pyarrow.__version__}, "
              f"polars {polars.__version__}")


if __name__ == "__main__":
    main()
