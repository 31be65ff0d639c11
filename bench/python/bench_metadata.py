#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench metadata: ingest from Python with five columns of metadata, beside the same without, in the ways to give them.

A slice is a fresh database and batches of one size for a time; its first batch does not count. Between two slices with
metadata is one without: a ratio is to the mean of the two that are next to it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pomai
import pyarrow as pa

from bench_python import machine

ROOT = Path(__file__).resolve().parent.parent.parent
DIM, POOL, TARGET = 128, 50000, 0.7
WAYS = {
    "columns": "dict: int64, float64, bool of NumPy; strings of Arrow",
    "numpy": "dict of NumPy arrays, strings as '<U'",
    "table": "pyarrow.RecordBatch as metadata=",
    "lists": "dict of lists",
    "texts": "documents=: JSON strings that are there already",
    "dicts": "list of dicts",
}


class Data:
    """Batches of one size out of a pool of rows, made before the clock starts."""

    def __init__(self, rows: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.vectors = rng.random((POOL, DIM), dtype=np.float32)
        columns = {
            "views": rng.integers(0, 10**7, POOL), "price": rng.random(POOL) * 1000,
            "category": np.array([f"category-{i}" for i in rng.integers(0, 20, POOL)]),
            "user": np.array([f"user-{i:09d}" for i in rng.integers(0, 10**9, POOL)]), "fresh": rng.random(POOL) < 0.5,
        }  # fmt: skip
        mixed = {key: pa.array(c.tolist()) if c.dtype.kind == "U" else c for key, c in columns.items()}
        self.batches: dict[str, list[dict[str, Any]]] = {way: [] for way in ("plain", *WAYS)}
        for at in range(0, POOL - rows + 1, rows):
            part = slice(at, at + rows)
            lists = {key: column[part].tolist() for key, column in columns.items()}
            dicts = [dict(zip(lists, row)) for row in zip(*lists.values())]
            given: dict[str, dict[str, Any]] = {
                "plain": {}, "columns": {"metadata": {key: column[part] for key, column in mixed.items()}},
                "numpy": {"metadata": {key: column[part] for key, column in columns.items()}},
                "table": {"metadata": pa.record_batch(lists)}, "lists": {"metadata": lists},
                "texts": {"documents": [json.dumps(row, separators=(",", ":")) for row in dicts]},
                "dicts": {"metadata": dicts},
            }  # fmt: skip
            for way, arguments in given.items():
                self.batches[way].append({"vectors": self.vectors[part], **arguments})
        self.rows = rows
        self.text_bytes = statistics.mean(len(t) for b in self.batches["texts"] for t in b["documents"])


def slice_of(directory: Path, data: Data, way: str, level: str, seconds: float) -> float:
    """Rows a second."""
    batches, count, at = data.batches[way], 0, 0
    with pomai.open(directory / "db", durability=level) as db:
        db.add(**batches[0])
        began = time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            db.add(**batches[at])
            at, count = (at + 1) % len(batches), count + 1
    shutil.rmtree(directory / "db")
    return count * data.rows / (now - began)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench metadata", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a slice")
    parser.add_argument("--only", default="", metavar="WAY,WAY", help=f"of: {', '.join(WAYS)}")
    parser.add_argument("--batch", default="1000,10000", metavar="ROWS,ROWS")
    parser.add_argument("--durability", default="sync", choices=["sync", "group", "os"])
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--dir", type=Path, default=ROOT / "build", help="on the disk to measure")
    parser.add_argument("--json", metavar="FILE", help="one JSON object a figure besides the tables")
    args = parser.parse_args()
    args.ways = [way for way in args.only.split(",") if way] or [*WAYS]
    if unknown := set(args.ways) - {*WAYS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return args


def main() -> int:
    args = arguments()
    directory = Path(tempfile.mkdtemp(prefix="bench-metadata.", dir=args.dir))
    out = None if not args.json else sys.stdout if args.json == "-" else open(args.json, "w")
    about = machine(directory)
    print(f"metadata: {about['machine']}, {about['kernel']}, {about['file_system']}, commit {about['commit']}, "
          f"Python {about['python']}, NumPy {about['numpy']}, seed {args.seed}")  # fmt: skip
    try:
        for rows in map(int, args.batch.split(",")):
            data = Data(rows, args.seed)
            rates: dict[str, list[float]] = {way: [] for way in args.ways}
            shares: dict[str, list[float]] = {way: [] for way in args.ways}
            plains: list[float] = []
            for _ in range(args.rounds):
                before = slice_of(directory, data, "plain", args.durability, args.seconds)
                for way in args.ways:
                    rate = slice_of(directory, data, way, args.durability, args.seconds)
                    after = slice_of(directory, data, "plain", args.durability, args.seconds)
                    plains.append(after)
                    rates[way].append(rate)
                    shares[way].append(2 * rate / (before + after))
                    before = after
            print(f"\nbatches of {rows:,} x {DIM}, level {args.durability}, {data.text_bytes:.0f} bytes of metadata a "
                  f"row beside {4 * DIM}; {args.rounds} rounds; asked for of columns: {TARGET:.0%} of plain")  # fmt: skip
            print(f"  plain: {statistics.median(plains):,.0f} rows/s ({min(plains):,.0f} to {max(plains):,.0f})")
            for way in args.ways:
                share = shares[way]
                print(f"  {way:8} {statistics.median(rates[way]):10,.0f} rows/s  {statistics.median(share):4.0%} "
                      f"({min(share):.0%} to {max(share):.0%})  {WAYS[way]}")  # fmt: skip
                if out:
                    figure = {"figure": f"metadata.{way}.b{rows}.{args.durability}", "unit": "of plain",
                              "value": statistics.median(share), "least": min(share), "most": max(share),
                              "rows_per_s": statistics.median(rates[way])}  # fmt: skip
                    print(json.dumps(figure | about), file=out, flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if out not in (None, sys.stdout):
            out.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
