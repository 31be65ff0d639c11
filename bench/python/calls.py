#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Python side of ./dev bench python; calls.c is the other, line for line.

calls.py DIRECTORY VECTORS. Reads "WHAT CALLS" from stdin and answers one line, as calls.c does. "memory-WHAT ROWS"
answers two numbers: the peak as there, and bytes that Python's allocators gave out meanwhile (tracemalloc).
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pomai

DIM, TINY, SEARCHED, QUERIES, K, WARM, BLOCKS = 128, 8, 10000, 100, 10, 20, 10

Call = Callable[[int], object]


@dataclass(frozen=True)
class Work:
    make: Callable[[Any, Any], Call]  # of the collection and the vectors
    rows: int = TINY  # there beforehand; 0: as many as are deleted
    level: str = "os"
    batch: bool = False  # each call is timed alone


def put(on: Any, vectors: Any) -> Call:
    rows = [vectors[i] for i in range(TINY, min(len(vectors), 10000 + TINY))]
    add, count = on.add, len(rows)
    return lambda i: add(rows[i % count])


def put_batch(rows: int, on: Any, vectors: Any) -> Call:
    batches = [vectors[i : i + rows] for i in range(TINY, len(vectors) - rows + 1, rows)]
    add, count = on.add, len(batches)
    return lambda i: add(batches[i % count])


def delete(on: Any, _: Any) -> Call:
    call = on.delete
    return lambda i: call([i])


def get(on: Any, _: Any) -> Call:
    call = on.get
    return lambda i: call(3)


def count(on: Any, _: Any) -> Call:
    call = on.count
    return lambda i: call()


def search(on: Any, vectors: Any) -> Call:
    query, call = vectors[0], on.search
    return lambda i: call(query, K)


def search_arrays(on: Any, vectors: Any) -> Call:
    query, call = vectors[0], on.search

    def one(_: int) -> None:
        result = call(query, K)
        result.ids
        result.distances

    return one


def search_100(on: Any, vectors: Any) -> Call:
    queries, call = vectors[:QUERIES], on.search
    return lambda i: call(queries, K)


WORKS = {
    "search": Work(search),
    "search_arrays": Work(search_arrays),
    "get": Work(get),
    "put": Work(put),
    "delete": Work(delete, rows=0),
    "count": Work(count),
    "add_batch.os": Work(partial(put_batch, 1000), batch=True),
    "add_batch.sync": Work(partial(put_batch, 1000), level="sync", batch=True),
    "add_batch_10k.os": Work(partial(put_batch, 10000), batch=True),
    "add_batch_10k.sync": Work(partial(put_batch, 10000), level="sync", batch=True),
    "search_batch": Work(search_100, rows=SEARCHED, batch=True),
}


def measure(directory: Path, vectors: Any, work: Work, calls: int) -> float:
    shutil.rmtree(directory, ignore_errors=True)
    warm = 1 if work.batch else WARM
    blocks = calls if work.batch else min(calls, BLOCKS)
    times = []
    with pomai.open(directory, durability=work.level, flush_bytes=1 << 30) as db:
        on = db.collection("bench", DIM)
        on.add(vectors[: work.rows or calls + warm])
        call = work.make(on, vectors)
        i = 0
        for i in range(warm):
            call(i)
        first = warm
        for block in range(blocks):
            last = warm + (block + 1) * calls // blocks
            start = perf_counter()
            for i in range(first, last):
                call(i)
            times.append((perf_counter() - start) / (last - first))
            first = last
        on.close()
    shutil.rmtree(directory, ignore_errors=True)
    return statistics.median(times) if times else 0.0


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def reset_peak() -> int:
    """The peak begins anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS:")


def borrowed(array: Any) -> bool:
    """Whether an array is a view of memory that another object owns, and that object is the package's."""
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return not array.flags.owndata and isinstance(base, memoryview) and type(base.obj).__module__ == "pomai._core"


def memory(directory: Path, vectors: Any, what: str, rows: int) -> str:
    """what: put (float32), put64 (float64), get (vectors taken as one array)."""
    shutil.rmtree(directory, ignore_errors=True)
    batch = vectors[:rows].astype(np.float64) if what == "put64" else vectors[:rows]
    ids = np.arange(rows, dtype=np.uint64)
    with pomai.open(directory, durability="sync", flush_bytes=1 << 30) as db:
        on = db.collection("bench", DIM)
        on.add(vectors[:1])
        if what == "get":
            on.add(vectors[:rows])
        call = on.get if what == "get" else on.add
        tracemalloc.start()
        traced = tracemalloc.get_traced_memory()[0]
        before = reset_peak()
        made = call(ids if what == "get" else batch)
        if what == "get":
            array = made.vectors
            if not borrowed(array) or array.__array_interface__["data"] != made.vectors.__array_interface__["data"]:
                raise SystemExit("the array of a get does not lie over the memory of its rows")
            del array
        del made
        peak = status_bytes("VmHWM:") - before
        given = tracemalloc.get_traced_memory()[1] - traced
        tracemalloc.stop()
        on.close()
    shutil.rmtree(directory, ignore_errors=True)
    return f"{peak} {given}"


def check_arrays(directory: Path, vectors: Any) -> str:
    """How many of the arrays that a search gives are over the result's memory, and of how many."""
    shutil.rmtree(directory, ignore_errors=True)
    with pomai.open(directory, durability="os") as db:
        db.add(vectors[:1000])
        one = db.search(vectors[0], K, include=["vector"])
        many = db.search(vectors[:QUERIES], K)
        row = db.get(3)
        arrays = [one.ids, one.distances, one.vectors, one[0].vector, many.ids, many.distances, row.vector]
    shutil.rmtree(directory, ignore_errors=True)
    return f"{sum(map(borrowed, arrays))} {len(arrays)}"


def main() -> None:
    directory = Path(sys.argv[1]) / "python"
    vectors = np.fromfile(sys.argv[2], dtype=np.float32).reshape(-1, DIM)
    for line in sys.stdin:
        what, number = line.split()
        if what.startswith("memory-"):
            answer = memory(directory, vectors, what.removeprefix("memory-"), int(number))
        elif what == "arrays":
            answer = check_arrays(directory, vectors)
        else:
            answer = f"{measure(directory, vectors, WORKS[what], int(number)):.9g}"
        print(answer, flush=True)


main()
