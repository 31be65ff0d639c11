# SPDX-License-Identifier: Apache-2.0
"""Every call, done or refused, some thousand times: no reference and no memory stays behind."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pomai

DIM = 64
TIMES = 1000
BYTES = 40  # a call, and a few thousand for all; a lost reference to anything that is made for the call is more

ROWS = np.ones((8, DIM), np.float32)
IDS = np.arange(8, dtype=np.uint64)
NAMES = [f"name {i}" for i in range(8)]
# Made anew at each call, so that a reference to one that stays behind is memory that does.
FRESH: list[Callable[[], Any]] = [
    lambda: ROWS.copy(), lambda: ROWS.astype(">f4"), ROWS.tolist, lambda: memoryview(ROWS.copy()),
    lambda: [row.copy() for row in ROWS], lambda: ROWS.astype(object),
]


class Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t) for name in
        ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo


def allocated() -> int:
    """Bytes that malloc has given out and Python's own allocator, too."""
    info = mallinfo2()
    blocks: int = sys.getallocatedblocks()
    return int(info.uordblks + info.hblkhd) + blocks * 32


class Tensor:
    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self) -> Any:
        return self.array.__dlpack__()


class Raises:
    def __float__(self) -> float:
        raise ZeroDivisionError

    __index__ = __float__  # type: ignore[assignment]


def refused(call: Callable[[], Any]) -> None:
    try:
        call()
    except pomai.Error:
        return
    raise AssertionError("not refused")


def look(result: Any) -> None:
    """At everything a result has."""
    for name in ("ids", "distances", "vectors", "documents", "metadata", "verdict"):
        getattr(result, name)
    for hit in result:
        _ = hit.id, hit.distance, hit.document, hit.metadata, hit.vector, repr(hit)
    repr(result)


def look_rows(rows: Any) -> None:
    _ = rows.ids, rows.found, rows.vectors
    for row in rows:
        if row is not None:
            _ = row.id, row.vector, row.document, row.metadata, row.stamp, row.expiry, repr(row)


def reserve(c: Any, fails: bool) -> None:
    try:
        with c.reserve(1) as block:
            block.vectors[:] = np.nan if fails else 1
        c.delete(block.ids)
    except pomai.NotFiniteError:
        assert fails


def snapshot(db: Any) -> None:
    with db.snapshot() as shot:
        db.get(1, snapshot=shot)
        shot.digest()


def fine(db: pomai.Database, names: pomai.Collection) -> dict[str, Callable[[], Any]]:
    both = ["documents", "vectors"]
    return {
        "add": lambda: [db.add(f(), ids=IDS.copy()) for f in FRESH],
        "add tensor": lambda: db.add(Tensor(ROWS.copy()), ids=iter(range(8))),
        "add documents": lambda: db.add(ROWS, ids=list(range(8)), documents=[f"doc {i}" for i in range(8)]),
        "add metadata": lambda: db.add(ROWS, ids=IDS, metadata={"a": list(range(8))}, expiry=2**62),
        "add strings": lambda: names.add(ROWS, ids=[f"name {i}" for i in range(8)]),
        "add escaped": lambda: names.delete(["\udcff" * 20]),
        "add one": lambda: db.add([1.0] * DIM, ids=5),
        "get": lambda: look_rows(db.get([1, 2, 99])), "get strings": lambda: look_rows(names.get([*NAMES, "other"])),
        "get one": lambda: (db.get(3), names.get("nobody")), "get array": lambda: db.get(IDS.astype(np.int16)),
        "search": lambda: look(db.search(ROWS[0], 5, include=both)),
        "search many": lambda: [look(r) for r in db.search(ROWS[:2], 3, include=both)],
        "search table": lambda: (db.search(ROWS, 3).ids, db.search(ROWS, 3).distances, names.search(ROWS, 2).ids),
        "search strings": lambda: look(names.search(ROWS[0], 5)),
        "info": lambda: (db.info, db.name, db.dim, len(db), db.closed, db.path),
        "collection": lambda: db.collection("names", DIM, ids="string").close(),
        "collection forgotten": lambda: db.collection("names"),
        "collections": db.collections, "digest": db.digest, "stats": db.stats, "freeze": db.freeze,
        "snapshot": lambda: snapshot(db), "reserve": lambda: reserve(db, False),
    }


def bad(db: pomai.Database, names: pomai.Collection) -> dict[str, Callable[[], Any]]:
    calls: dict[str, Callable[[], Any]] = {
        "dim": lambda: db.add([[1.0, 2.0]]), "ragged": lambda: db.add([[1.0] * DIM, [1.0]]),
        "nan": lambda: db.add(ROWS * np.nan, ids=IDS.copy(), documents=[f"doc {i}" for i in range(8)]),
        "complex": lambda: db.add(ROWS.astype(complex)), "3-d": lambda: db.add(ROWS[None].copy()),
        "raises": lambda: db.add([[Raises()]]), "raising id": lambda: db.add(ROWS[:1], ids=[Raises()]),
        "repeated": lambda: db.add(ROWS, ids=[1] * 8), "ids mixed": lambda: db.add(ROWS.copy(), ids=[1, "a"] * 4),
        "ids negative": lambda: db.add(ROWS.copy(), ids=-IDS.astype(np.int64) - 1),
        "ids float": lambda: db.add(ROWS.copy(), ids=IDS.astype(float)), "ids huge": lambda: db.get([10**5000]),
        "ids escaped": lambda: names.add(ROWS, ids=["\udcff" * 600] * 8),
        "ids not Unicode": lambda: names.get(["\udcff" * 20, "\ud800"]),
        "documents": lambda: db.add(ROWS.copy(), documents=["a" * 50, 5] * 4),
        "metadata": lambda: db.add(ROWS.copy(), metadata=[{"a": {1}}] * 8),
        "expiry": lambda: db.add(ROWS.copy(), expiry=["a"] * 8), "deadline": lambda: db.add(ROWS, deadline_ms=-1),
        "keyword": lambda: db.add(ROWS.copy(), colour=1),  # type: ignore[call-arg]
        "tensor": lambda: db.add(Tensor(ROWS.astype(complex))),
        "k": lambda: db.search(ROWS.copy(), 0), "include": lambda: db.search(ROWS.copy(), include=["x" * 50]),
        "snapshot": lambda: db.search(ROWS.copy(), snapshot=5),  # type: ignore[arg-type]
        "get kind": lambda: names.get([1, 2]), "delete kind": lambda: db.delete(["a"]),
        "collection": lambda: db.collection("names", DIM + 1), "missing": lambda: db.collection("missing"),
        "drop": lambda: db.drop("missing"), "open twice": lambda: pomai.open(db.path),
        "open nowhere": lambda: pomai.open(db.path + "/no/where"), "open NUL": lambda: pomai.open("a\0" * 50),
        "verify": lambda: pomai.verify(db.path + "none"), "reserve": lambda: db.reserve(0),
        "word": lambda: db.add(ROWS, durability="x" * 100),  # type: ignore[arg-type]
    }
    tests = {name: (lambda c=call: refused(c)) for name, call in calls.items()}
    return tests | {"commit": lambda: reserve(db, True)}


def settled(db: pomai.Database) -> int:
    db.compact()  # rows that were replaced are in memory until then
    db.build_indexes()  # in the background it would take memory meanwhile
    gc.collect()
    return allocated()


def measure(db: pomai.Database, call: Callable[[], Any], times: int) -> int:
    before = settled(db)
    for _ in range(times):
        call()
    return settled(db) - before


@pytest.mark.parametrize("kind", [fine, bad])
def test_memory(tmp_path: Any, kind: Any) -> None:
    db = pomai.open(str(tmp_path / "db"), shards=1, search_threads=0, durability="os", flush_bytes=1 << 20)
    db.add(ROWS, ids=IDS, metadata=[{"a": i} for i in range(8)])
    names = db.collection("names", DIM, ids="string")
    names.add(ROWS, ids=NAMES)
    leaks = {}
    for name, call in kind(db, names).items():
        # Slower calls are made less often; each is warmed up, and has a second chance: the engine flushes beside it.
        times = TIMES // 10 if name in ("stats", "freeze", "digest", "add", "open twice", "open nowhere") else TIMES
        for _ in range(20):
            call()
        for _ in range(3):
            grown = measure(db, call, times)
            if grown < BYTES * times + 8192:
                break
        else:
            leaks[name] = grown / times
    assert not leaks, "bytes a call"
    db.close()


def test_references(db: pomai.Database) -> None:
    """Of the singletons and types that the extension hands out, and of what is given."""
    db.add(ROWS, ids=IDS)
    names = db.collection("names", DIM, ids="string")
    names.add(ROWS, ids=NAMES)
    core = [pomai.Hit, pomai.Result, pomai.Results, pomai.Row, pomai.Rows, pomai.Snapshot, pomai.Block]
    given = [ROWS, IDS, NAMES, db, names, pomai.InvalidError, pomai.InvalidTypeError]
    for kind in (fine, bad):
        for name, call in kind(db, names).items():
            call()
            before = [sys.getrefcount(thing) for thing in [*core, *given, None, True, False]]
            for _ in range(20):
                call()
            after = [sys.getrefcount(thing) for thing in [*core, *given, None, True, False]]
            grown = [b - a for a, b in zip(before, after, strict=True)]
            assert max(map(abs, grown)) < 15, (name, grown)
    assert not [thing for thing in gc.get_objects() if type(thing) in core]
