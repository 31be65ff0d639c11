# SPDX-License-Identifier: Apache-2.0
"""count, get, scan, delete and update by filter, from Python: beside a dict of rows, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pomai
import pomai.aio
from pomai import FilterOp as F

ROWS = 60


@pytest.fixture
def db(tmp_path: Path) -> Iterator[pomai.Database]:
    with pomai.open(tmp_path / "db") as opened:
        opened.add([[float(i), 1.0] for i in range(ROWS)], ids=range(ROWS),
                   metadata=[{"n": i, "m": i % 7, "name": "Äpfel"} for i in range(ROWS)])
        yield opened


def test_counts(db: pomai.Database) -> None:
    assert db.count() == db.count(filters={}) == db.count(filters=None) == len(db) == ROWS
    assert db.count(filters={"n": {"$lt": 10}}) == db.count(filters=F.lt("n", 10)) == 10
    assert db.count(filters='{"n": {"$lt": 10}}', deadline_ms=60000) == 10
    with db.snapshot() as before:
        assert db.delete(filters={"m": 3}) == 9
        assert db.count(filters={"m": 3}) == 0
        assert db.count(filters={"m": 3}, snapshot=before) == 9
    assert db.count(filters={"n": 1}, mode="bounded") == 0
    db.freeze()
    assert db.count(filters={"n": 1}, mode="bounded") == 1


def test_gets_and_scans(db: pomai.Database) -> None:
    low = {"n": {"$lt": 10}}
    rows = db.get(filters=low)
    assert sorted(rows.ids) == list(range(10)) and all(rows.found)
    assert sorted(row.metadata["n"] for row in rows if row is not None) == list(range(10))
    assert len(db.get(filters=low, limit=3)) == 3 and len(db.get(filters=low, limit=0)) == 0
    assert len(db.get(filters={"n": -1})) == 0 and db.get(filters={"n": -1}).ids == []
    bare = db.get(filters=low, vectors=False, documents=False)
    assert bare[0] is not None and bare[0].vector is None and bare[0].document is None
    with db.scan(filters=low, batch_rows=3) as scan:
        assert sorted(i for rows in scan for i in rows.ids) == list(range(10))
    pyarrow = pytest.importorskip("pyarrow")
    table = db.to_arrow(filters=F.lt("n", 10))
    assert isinstance(table, pyarrow.Table) and sorted(table["id"].to_pylist()) == list(range(10))


def test_updates(db: pomai.Database) -> None:
    assert db.update([1, 2, 999], metadata=[{"n": 100}, {"name": None}, {}]) == 2
    assert db.get([1, 2]).metadata == [{"n": 100, "m": 1, "name": "Äpfel"}, {"n": 2, "m": 2}]
    assert db.update(3, metadata={"deep": {"a": 1, "b": None}}) == 1
    assert db.get(3).metadata["deep"] == {"a": 1}
    assert db.update([4, 5], metadata={"n": [40, 50]}) == 2  # columns
    assert [row["n"] for row in db.get([4, 5]).metadata] == [40, 50]
    assert db.update([6], metadata=[{"only": 1}], merge=False) == 1
    assert db.get(6).metadata == {"only": 1}
    assert db.update([7, 8], documents=["plain", None]) == 2
    assert db.get([7, 8]).documents == ["plain", None]
    assert db.update(9, documents='{"n": 9e0}', merge=True) == 1
    assert "9e0" in db.get(9).document
    assert db.update([], metadata=[]) == 0
    assert db.get(list(range(ROWS))).vectors[:, 0].tolist() == [float(i) for i in range(ROWS)]
    assert db.update(filters={"m": 0}, metadata={"zero": True}) == db.count(filters={"zero": True}) == 8
    assert db.update(filters=F.eq("zero", True), documents="gone") == 8
    assert db.count(filters={"zero": True}) == 0


def test_numbers_stay_as_they_are_written(db: pomai.Database) -> None:
    text = '{"big": 123456789012345678901234567890, "e": 1.50E+2, "s": "\\u00e9"}'
    db.add([1, 1], ids=5, documents=text)
    db.update(5, metadata={"new": 1})
    assert db.get(5).document == text.replace(" ", "")[:-1] + ',"new":1}'


def test_expiry_and_small_types_stay(tmp_path: Path) -> None:
    with pomai.open(tmp_path / "db") as db:
        half = db.collection("half", 2, dtype="float16", ids="string", ttl=1000)
        far = 9 * 10**18
        half.add(np.array([[0.1, 0.2], [3, 4]], dtype=np.float16), ids=["a", "b"], expiry=far, metadata=[{}, {}])
        before = half.get(["a", "b"]).vectors.tobytes()
        assert half.update(["a", "b"], metadata=[{"n": 1}, {"n": 2}]) == 2
        rows = half.get(["a", "b"])
        assert rows.vectors.tobytes() == before and [row.expiry for row in rows if row] == [far, far]


def test_deletes(db: pomai.Database) -> None:
    assert db.delete(filters=F.gte("n", 50)) == 10
    assert db.delete(filters={"n": -1}) == 0
    assert len(db) == ROWS - 10
    assert db.delete(filters={}) == ROWS - 10
    assert len(db) == 0 and db.update(filters={}, metadata={"a": 1}) == 0


def test_against_a_dict(tmp_path: Path) -> None:
    random.seed(7)
    model: dict[int, dict[str, Any]] = {}
    with pomai.open(tmp_path / "db") as db:
        for step in range(200):
            limit = random.randrange(40)
            filters = {"n": {"$lt": limit}}
            match random.randrange(5):
                case 0 | 1:
                    ids = random.sample(range(50), 10)
                    rows = [{"n": random.randrange(40)} for _ in ids]
                    db.add([[i, step] for i in ids], ids=ids, metadata=rows)
                    model.update({i: dict(row) for i, row in zip(ids, rows)})
                case 2:
                    hit = [i for i, row in model.items() if row["n"] < limit]
                    assert db.update(filters=filters, metadata={"step": step, "n": 39}) == len(hit)
                    for i in hit:
                        model[i] |= {"step": step, "n": 39}
                case 3 if random.random() < 0.3:
                    hit = [i for i, row in model.items() if row["n"] < limit]
                    assert db.delete(filters=filters) == len(hit)
                    for i in hit:
                        del model[i]
                case _:
                    assert db.count(filters=filters) == sum(row["n"] < limit for row in model.values())
            if step % 50 == 25:
                db.flush()
        rows = db.get(filters={})
        assert {i: row for i, row in zip(rows.ids, rows.metadata)} == model


@pytest.mark.parametrize("call, says", [
    (lambda db: db.count(filters={"n": {"$like": 1}}), "n.$like"),
    (lambda db: db.get(filters={"n": {"$like": 1}}), "n.$like"),
    (lambda db: db.scan(filters={"n": {"$like": 1}}), "n.$like"),
    (lambda db: db.delete(filters={"n": {"$like": 1}}), "n.$like"),
    (lambda db: db.update(filters={"n": {"$like": 1}}, metadata={}), "n.$like"),
    (lambda db: db.count(filters=5), "filters is 5, of type int"), (lambda db: db.count(5), "without a name"),
    (lambda db: db.count(limit=5), "limit"), (lambda db: db.get(), "filters="),
    (lambda db: db.get(limit=1), "filters="),
    (lambda db: db.get(1, filters={}), "not both"), (lambda db: db.get(1, limit=1), "goes with"),
    (lambda db: db.get(filters={}, limit=-1), "limit"), (lambda db: db.delete(), "filters="),
    (lambda db: db.delete(1, filters={}), "not both"), (lambda db: db.update(), "ids or filters="),
    (lambda db: db.update(1, filters={}, metadata={}), "one of them"), (lambda db: db.update(1), "metadata="),
    (lambda db: db.update([1, 2], metadata=[{}]), "1 dicts"),
    (lambda db: db.update([1, 1], metadata=[{}, {}]), "same id"),
    (lambda db: db.update(1, metadata={}, documents=""), "not both"),
    (lambda db: db.update(1, documents="[1]", merge=True), "no JSON object"),
    (lambda db: db.update(1, documents=None), "None is neither: documents='' takes a document away"),
    (lambda db: db.update("a", metadata={}), "u64 ids"),
    (lambda db: db.update(filters={}, metadata=[{}, {}]), "2 dicts"),
])
def test_refusals(db: pomai.Database, call: Any, says: str) -> None:
    before = db.digest()
    with pytest.raises(pomai.Error) as caught:
        call(db)
    assert says in str(caught.value)
    assert db.digest() == before


def test_rows_that_were_done_are_told(db: pomai.Database) -> None:
    db.add([1, 1], ids=10**6, documents="no JSON")
    with pytest.raises(pomai.InvalidError, match="row with id 1000000 is no JSON object"):
        db.update(filters={}, metadata={"a": 1})
    db.delete(10**6)
    with pytest.raises(pomai.ClosedError):
        db.close()
        db.count(filters={"n": 1})


def test_beside_a_thread_that_replaces(db: pomai.Database) -> None:
    done = threading.Event()

    def replace() -> None:
        for step in range(100):
            db.add([[step, i] for i in range(10)], ids=range(10), metadata=[{"step": step}] * 10, durability="os")
        done.set()

    thread = threading.Thread(target=replace)
    thread.start()
    while not done.is_set():
        try:
            db.update(range(10), metadata=[{"seen": 1}] * 10, durability="os")
        except pomai.BusyError:
            pass
    thread.join()
    for row in db.get(range(10)):
        assert row is not None and row.vector[0] == 99 and row.metadata["step"] == 99


def test_asyncio(tmp_path: Path) -> None:
    async def run() -> None:
        async with await pomai.aio.open(tmp_path / "db") as db:
            await db.add([[1, 0], [0, 1]], ids=[1, 2], metadata=[{"n": 1}, {"n": 2}])
            assert await db.count(filters={"n": 2}) == 1 and await db.count() == 2
            assert await db.update(1, metadata={"n": 5}) == 1
            assert await db.update(filters={"n": 2}, metadata={"n": 6}) == 1
            assert (await db.get(filters={"n": 6})).ids == [2]
            assert [rows.ids async for rows in db.scan(filters={"n": 5})] == [[1]]
            assert await db.delete(filters={"n": 5}) == 1 and await db.delete(2) == 1

    asyncio.run(run())


def test_a_document_is_what_json_says(db: pomai.Database) -> None:
    db.update(1, metadata={"a": [1, None, {"b": None}], "c": {"d": None, "e": 1}})
    row = json.loads(db.get(1).document)
    assert row["a"] == [1, None, {"b": None}] and row["c"] == {"e": 1}


def test_filters_of_many_terms_end_at_deadlines(db: pomai.Database) -> None:
    """Rows in memory take a millisecond each, far more than the deadline for all."""
    db.add([[float(i), 0.0] for i in range(3000)], metadata=[{"n": i} for i in range(3000)])
    many = {"$or": [{f"k{i}": i} for i in range(50_000)] + [{"n": {"$gte": 2999}}]}
    for call in (
        lambda: db.count(filters=many, deadline_ms=50),
        lambda: db.delete(filters=many, deadline_ms=50),
        lambda: db.update(filters=many, metadata={"done": 1}, deadline_ms=50),
    ):
        with pytest.raises(pomai.DeadlineError, match="rows were .* before the call was over, by its deadline or because"):
            call()
    assert db.search([0.0, 0.0], k=3, filters=many, deadline_ms=50).verdict.completeness == "cut"
    assert db.count(filters={"n": 2999}) == 1 and db.count(filters={"done": 1}) == 0


SLOW_ROWS = 60
SLOW = {"$not": {"$or": [{"text": {"$contains": f"y{i}"}} for i in range(256)]}}  # rows 0 and 30 do not match


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[pomai.Database, float]]:
    """Rows that take long to judge, and how many seconds all do."""
    with pomai.open(tmp_path / "slow", durability="os") as opened:
        opened.add([[float(i)] for i in range(SLOW_ROWS)], ids=range(SLOW_ROWS),
                   metadata=[{"n": i, "text": "x" * 200_000 + "y255" * (i % 30 == 0)} for i in range(SLOW_ROWS)])
        start = time.monotonic()
        assert opened.count(filters={"$and": [{"n": {"$lt": SLOW_ROWS // 4}}, SLOW]}) == SLOW_ROWS // 4 - 1
        yield opened, (time.monotonic() - start) * 4  # a quarter of the rows says it


@contextmanager
def interrupted(seconds: float) -> Iterator[pytest.ExceptionInfo[KeyboardInterrupt]]:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield caught
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_short_deadlines_get_on(slow: tuple[pomai.Database, float]) -> None:
    """What was judged by then is changed, and only what matches."""
    db, seconds = slow
    for _ in range(40):
        left = len(db)
        try:
            assert db.delete(filters=SLOW, deadline_ms=seconds * 1000 / 4) == left - 2
            break
        except pomai.DeadlineError as error:
            assert error.rows_stored == left - len(db)
            seconds += 0 if error.rows_stored else seconds / 4  # the machine is slower by now
    assert [row.id for row in db] == [0, 30]


@pytest.mark.parametrize("what", ["delete", "update"])
def test_an_interrupt_says_what_was_changed(slow: tuple[pomai.Database, float], what: str) -> None:
    db, seconds = slow
    with interrupted(seconds / 4) as caught:
        db.delete(filters=SLOW) if what == "delete" else db.update(filters=SLOW, metadata={"done": 1})
    assert caught.value.rows_stored == 0  # type: ignore[attr-defined]
    assert len(db) == SLOW_ROWS and db.count(filters={"done": 1}) == 0


@pytest.mark.parametrize("before", [{}, {"n": 3}, SLOW], ids=["all", "few", "slow"])
def test_a_search_hears_interrupts(slow: tuple[pomai.Database, float], before: dict[str, Any]) -> None:
    """Whatever searches before it took, of few rows as here, and soon."""
    db, seconds = slow
    for _ in range(2):
        db.search([0.0], k=1, filters=before)
    start = time.monotonic()
    with interrupted(seconds / 4):
        db.search([0.0], k=1, filters=SLOW)
    assert time.monotonic() - start < seconds * 3 / 4
    assert db.search([0.0], k=60, filters=SLOW).ids.tolist() == [i for i in range(SLOW_ROWS) if i % 30 != 0]


def test_a_first_search_hears_interrupts(slow: tuple[pomai.Database, float]) -> None:
    db, seconds = slow
    start = time.monotonic()
    with interrupted(seconds / 4):
        db.search([0.0], k=1, filters=SLOW)
    assert time.monotonic() - start < seconds * 3 / 4


def test_a_search_that_turns_out_long_has_its_deadline(slow: tuple[pomai.Database, float]) -> None:
    """Its own, though it is begun twice."""
    db, seconds = slow
    for deadline, said in (1000 * (20 + 20 * seconds), "exact"), (200, "cut" if seconds > 0.4 else ""):
        db.search([0.0], k=1, filters={"n": 3})
        start = time.monotonic()
        found = db.search([0.0], k=1, filters=SLOW, deadline_ms=deadline).verdict.completeness
        assert found == said or not said
        assert found == "exact" or 0.19 < time.monotonic() - start


def test_codes_serve_the_first_search_with_a_filter(tmp_path: Path) -> None:
    """Though they are not checked yet, and it is tried for a short time."""
    rows = np.random.default_rng(1).standard_normal((30_000, 256), dtype=np.float32)
    with pomai.open(tmp_path / "db", durability="os") as db:
        db.add(rows, ids=range(30_000), metadata={"n": range(30_000)})
        db.compact()
        db.build_indexes()
    with pomai.open(tmp_path / "db", read_only=True) as db:
        for _ in range(5):
            plan = db.search(rows[0], k=5, filters={"n": {"$lt": 25_000}}, include=["plan"]).plan
        assert {source["way"] for source in plan["sources"]} == {"codes, then vectors"}


def test_a_scan_hears_interrupts(slow: tuple[pomai.Database, float]) -> None:
    """And goes on from where it was."""
    db, seconds = slow
    with db.scan(filters=SLOW, batch_rows=7) as scan:
        start = time.monotonic()
        with interrupted(seconds / 4):
            next(scan)
        assert time.monotonic() - start < seconds * 3 / 4 + 1
        assert sorted(i for rows in scan for i in rows.ids) == [i for i in range(SLOW_ROWS) if i % 30 != 0]
    closing = db.scan(filters=SLOW)

    def close(*_: Any) -> None:
        closing.close()

    before = signal.signal(signal.SIGALRM, close)
    signal.setitimer(signal.ITIMER_REAL, seconds / 4)
    assert len(next(closing)) == SLOW_ROWS - 2
    signal.signal(signal.SIGALRM, before)
    with pytest.raises(pomai.ClosedError):
        next(closing)


def test_an_arrow_stream_hears_interrupts(slow: tuple[pomai.Database, float]) -> None:
    """The reader gets an error, Python the exception itself."""
    pyarrow = pytest.importorskip("pyarrow")
    db, seconds = slow
    start = time.monotonic()
    with interrupted(seconds / 4):
        db.to_arrow(filters=SLOW)
    assert time.monotonic() - start < seconds * 3 / 4 + 1
    scan = db.scan(filters=SLOW, batch_rows=7)
    reader = pyarrow.RecordBatchReader.from_stream(scan)
    with interrupted(seconds / 4):
        with pytest.raises(OSError, match="interrupted by KeyboardInterrupt"):
            reader.read_all()
        time.sleep(0)  # if pytest's own code has not been interrupted
    assert sorted(i for rows in scan for i in rows.ids) == [i for i in range(SLOW_ROWS) if i % 30 != 0]


def test_an_arrow_stream_without_filters_hears_interrupts(tmp_path: Path) -> None:
    """Though its reader takes all batches in one call."""
    pyarrow = pytest.importorskip("pyarrow")

    def read() -> None:
        pyarrow.RecordBatchReader.from_stream(scan).read_all()
        time.sleep(60)  # too late

    with pomai.open(tmp_path / "many", durability="os") as db:
        db.add([[float(i)] for i in range(100_000)])
        scan = db.scan(batch_rows=1)
        with interrupted(0.01), pytest.raises(OSError, match="interrupted by KeyboardInterrupt"):
            read()
        assert sum(len(rows) for rows in scan) > 0


@pytest.mark.parametrize("document", [
    '{"k":1,"n":%s}' % ("9" * 5000), '{"k":1,"n":-%s}' % ("9" * 5000), '{"k":1,"d":%s}' % ("[" * 1020 + "]" * 1020),
])  # fmt: skip
def test_metadata_that_python_does_not_read(db: pomai.Database, document: str) -> None:
    """An error, and not None, which stands for no metadata at all."""
    id = db.add([1.0, 1.0], documents=document)
    assert db.count(filters={"k": 1, "n": {"$exists": "n" in document}}) == 1
    row, hits = db.get(id), db.search([1.0, 1.0], 1, filters={"k": 1}, include=["metadata"])
    for read in (lambda: row.metadata, lambda: db.get([0, id]).metadata, lambda: hits[0].metadata, lambda: hits.metadata):
        with pytest.raises(pomai.TooBigError, match=r"the document .* than Python.* reads .*; \.document has its text$"):
            read()
    assert row.document == document


@pytest.mark.parametrize("document", [
    '{"k":1,"v":NaN}', '{"k":1,"v":[-Infinity]}', '{"k":1,"n":%s' % ("9" * 5000), '{"k":1,"n":%s,"v":NaN}' % ("9" * 5000),
    b'{"k":1,"t":"\xff"}', '{"k":1}'.encode("utf-16"), '{"k":1}'.encode("utf-16-le"), '\ufeff{"k":1}', '\xa0{"k":1}',
])  # fmt: skip
def test_what_is_no_object_to_filters_is_no_metadata(db: pomai.Database, document: str | bytes) -> None:
    id = db.add([1.0, 1.0], documents=document)
    assert db.count(filters={"k": 1}) == 0 and db.get(id).metadata is None


def test_numbers_beyond_python_are_infinity(db: pomai.Database) -> None:
    id = db.add([1.0, 1.0], documents=' {"k":1e400,"f":0.12345678901234567890123}')
    metadata = db.get(id).metadata
    assert metadata == {"k": float("inf"), "f": 0.12345678901234568} and db.count(filters={"k": {"$gt": 10**399}}) == 1
    with pytest.raises(pomai.InvalidError, match="'k'"):
        db.update(id, metadata=metadata)


def test_adding_a_stream_hears_interrupts_between_empty_batches(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    schema = pyarrow.schema([("vector", pyarrow.list_(pyarrow.float32(), 2))])
    empty = pyarrow.RecordBatch.from_pylist([], schema)
    stream = pyarrow.RecordBatchReader.from_batches(schema, itertools.repeat(empty, 10_000_000))
    with pomai.open(tmp_path / "empty", durability="os") as db:
        start = time.monotonic()
        with interrupted(0.05):
            db.add(stream)
        assert time.monotonic() - start < 2


def test_a_signal_handler_does_not_take_rows(slow: tuple[pomai.Database, float]) -> None:
    """Of a scan in whose call it runs, when what that call waits for is done."""
    db, seconds = slow
    scan, refused = db.scan(filters=SLOW), []

    def take(*_: Any) -> None:
        time.sleep(seconds * 2)
        for _ in range(2):
            with pytest.raises(pomai.BusyError, match="in use"):
                refused.append(len(next(scan)))

    before = signal.signal(signal.SIGALRM, take)
    signal.setitimer(signal.ITIMER_REAL, seconds / 4)
    assert sum(len(rows) for rows in scan) == SLOW_ROWS - 2 and refused == []
    signal.signal(signal.SIGALRM, before)
