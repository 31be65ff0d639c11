# SPDX-License-Identifier: Apache-2.0
"""Many threads at once, closing meanwhile, and asyncio."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pomai
import pomai.aio

DIM = 8


def together(*targets: Callable[[], Any]) -> None:
    """Runs them at once; what one raises is raised here."""
    failures: list[BaseException] = []
    begin = threading.Barrier(len(targets))

    def run(target: Callable[[], Any]) -> None:
        begin.wait()
        try:
            target()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_adding_and_searching(path: str) -> None:
    with pomai.open(path, durability="os", search_threads=1) as db:
        db.collection("c", DIM)

        def add(worker: int) -> None:
            c = db.collection("c")
            for i in range(40):
                ids = np.arange(5, dtype=np.uint64) + worker * 1000 + i * 5
                c.add(np.full((5, DIM), worker, np.float32), ids=ids, documents=[str(j) for j in ids])
                assert c.get(ids).found == [True] * 5
                if i % 4 == 0:
                    assert c.delete(ids[:1]) == 1

        def read() -> None:
            c = db.collection("c")
            for _ in range(60):
                with db.snapshot() as shot:
                    found = c.search(np.zeros((2, DIM)), 20, snapshot=shot, include="documents")
                    assert [hit.document for hit in found[0]] == [str(i) for i in found[0].ids]
                    assert shot.digest() == shot.digest()

        def maintain() -> None:
            for _ in range(5):
                db.flush()
                db.compact()
                db.stats()

        together(*[lambda w=w: add(w) for w in range(3)], read, read, maintain)  # type: ignore[misc]
        assert len(db.collection("c")) == 3 * (40 * 5 - 10)


def test_the_gil_is_released(db: pomai.Database) -> None:
    """A call makes no other thread wait: another counts while this thread is in one call."""
    rows = np.random.default_rng(1).random((20_000, 256), np.float32)
    counted, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)  # hands the GIL back

    old = sys.getswitchinterval()
    calls: dict[str, Callable[[], Any]] = {
        "add": lambda: db.add(rows, ids=range(len(rows))), "search": lambda: db.search(rows[:20], 10),
        "get": lambda: db.get(range(len(rows))), "flush": db.flush, "compact": db.compact, "digest": db.digest,
        "convert": lambda: db.search(rows[:3000].astype(">f8"), 1, deadline_ms=0),
    }
    calls["add"]()
    thread = threading.Thread(target=count)
    thread.start()
    try:
        # With an hour between switches nobody else runs, unless who has the GIL lets go of it.
        sys.setswitchinterval(3600)
        for name, call in calls.items():
            before = counted[0]
            for _ in range(200):  # on a busy machine the other may sleep through a short call
                call()
                if counted[0] != before:
                    break
            stuck = counted[0] == before
            assert not stuck, name
    finally:
        stop.set()
        sys.setswitchinterval(old)
        thread.join()


def test_closing_while_others_call(path: str, rng: Any) -> None:
    for _ in range(15):
        db = pomai.open(path, durability="os", search_threads=0)
        c = db.collection("c", DIM)
        shot = db.snapshot()
        stored = [0]

        def work(kind: str) -> None:
            try:
                for _ in range(10_000):
                    if kind == "add":
                        c.add(np.ones((3, DIM)))
                        stored[0] += 3
                    elif kind == "search":
                        c.search(np.ones((4, DIM)), 5, snapshot=shot)
                    elif kind == "snapshot":
                        with db.snapshot() as own:
                            own.digest()
                    elif kind == "reserve":
                        with c.reserve(1):
                            pass
                    else:
                        db.collection("c").close()
            except pomai.ClosedError:
                return
            raise AssertionError(f"{kind}: closing took no effect")

        def close() -> None:
            while stored[0] < rng.randrange(30):
                pass
            while True:
                try:
                    return db.close()
                except pomai.BusyError:  # a block was open just then
                    pass

        before = len(c)
        kinds = ("add", "search", "snapshot", "reserve", "handle")
        together(*[lambda k=k: work(k) for k in kinds], close)  # type: ignore[misc]
        with pomai.open(path) as db:
            assert len(db.collection("c")) >= before + stored[0]


def test_ids_that_another_thread_changes(db: pomai.Database) -> None:
    """Which rows are stored is open then, but each has an id that the array held, and memory is whole."""
    pages = np.arange(1, 100, dtype=np.uint64)[:, None] << np.uint64(12)  # ids of one page are in one shard
    some = (pages + np.arange(2048, dtype=np.uint64)).ravel()
    ids, over = some[::-1].copy(), threading.Event()

    def change() -> None:
        while not over.is_set():
            ids[1:] = ids[-1] + np.arange(1, len(ids), dtype=np.uint64)[::-1]
            ids[:] = some[::-1]

    thread = threading.Thread(target=change)
    thread.start()
    vectors = np.ones((len(ids), 1), np.float32)
    try:
        for _ in range(20):
            try:
                db.add(vectors, ids=ids)
            except pomai.DuplicateIdError:
                pass
            db.delete(ids)
    finally:
        over.set()
        thread.join()
    assert db.add(vectors, ids=some) is some and set(db.search([1], 10).ids.tolist()) <= set(some.tolist())


def test_texts_of_ids_that_another_thread_changes(db: pomai.Database) -> None:
    """The rows have ids that the array held, and each row is found by the id that it has."""
    pa = pytest.importorskip("pyarrow")
    size, rows = 64, 200
    letters = np.full((rows, size), ord("a"), np.uint8)
    letters[:, :3] = [list(b"%03d" % i) for i in range(rows)]
    ends = np.arange(rows + 1, dtype=np.int32) * size
    ids = pa.StringArray.from_buffers(rows, pa.py_buffer(ends), pa.py_buffer(letters))
    table = pa.table({"vector": pa.array([[1.0, 2.0]] * rows, pa.list_(pa.float32(), 2)), "id": ids})
    over = threading.Event()

    def change() -> None:
        for i in itertools.count():
            letters[:, 3:] = ord("a") + i % 2
            if over.is_set():
                break

    thread = threading.Thread(target=change)
    thread.start()
    texts = db.collection("texts", 2, ids="string")
    try:
        for _ in range(2000):
            try:
                assert len(texts.add(table)) == rows
            except pomai.DuplicateIdError:
                pass
    finally:
        over.set()
        thread.join()
    found = [row.id for row in texts]
    assert len(found) == len(set(found)) == len(texts)
    assert all(row is not None for row in texts.get(found))
    assert texts.delete(found) == len(found) and len(texts) == 0


def test_lengths_of_vectors_that_another_thread_changes(db: pomai.Database) -> None:
    """Lists that lie apart are copied one by one, and each is as long as it was when all were measured."""
    pa = pytest.importorskip("pyarrow")
    rows, dim = 20000, DIM
    starts, sizes = np.arange(rows, dtype=np.int32) * dim, np.full(rows, dim, np.int32)
    starts[0] = dim
    numbers = pa.array(np.ones(rows * dim * 4))
    lists = pa.ListViewArray.from_buffers(
        pa.list_view(pa.float64()), rows, [None, pa.py_buffer(starts), pa.py_buffer(sizes)], children=[numbers]
    )
    table = pa.table({"vector": lists, "id": np.arange(rows, dtype=np.uint64)})
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            sizes[rows // 2 :] = dim * 4000
            sizes[rows // 2 :] = dim
            time.sleep(0.0003)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            try:
                db.add(table)
            except pomai.Error as error:
                assert isinstance(error, pomai.InvalidError)
    finally:
        over.set()
        thread.join()
    assert all(row.vector.tolist() == [1] * dim for row in db)


def test_closing_a_snapshot_while_it_is_read(db: pomai.Database) -> None:
    db.add(np.ones((2000, DIM)))
    for _ in range(20):
        shot = db.snapshot()

        def read() -> None:
            try:
                while True:
                    assert len(db.search(np.ones(DIM), 10, snapshot=shot)) == 10
            except pomai.ClosedError as error:
                assert "snapshot" in str(error)

        together(read, read, shot.close)


def test_asyncio(path: str) -> None:
    async def main() -> None:
        async with await pomai.aio.open(path, durability="os") as db:
            await asyncio.gather(*[db.add(np.full((4, DIM), i), ids=range(i * 4, i * 4 + 4)) for i in range(10)])
            assert await db.count() == 40 and (await db.info()).dim == DIM
            results = await asyncio.gather(*[db.search(np.full(DIM, i), k=4) for i in range(10)])
            assert [sorted(r.ids.tolist()) for r in results] == [list(range(i * 4, i * 4 + 4)) for i in range(10)]
            row = await db.get(3)
            assert row is not None and row.vector.tolist() == [0] * DIM  # type: ignore[union-attr]
            assert await db.delete([3, 4]) == 2 and await db.upsert([1] * DIM, 3) == 3
            books = await db.collection("books", 2, metric="ip")
            await books.add_batch([[1, 2]], documents=["one"])
            assert await db.collections() == ["books", "default"]
            shot = await db.snapshot()
            digest = await db.digest(shot)
            for call in (books.freeze, books.flush, books.compact, db.sync_log, db.freeze, db.flush, db.compact):
                await call()
            assert digest == await db.digest() == shot.digest() and "collections" in await db.stats()
            with pytest.raises(pomai.DimensionError):
                await books.search([1, 2, 3])
            await books.close()
            with pytest.raises(pomai.ClosedError):
                await books.count()
            await db.drop("books")
        assert db.sync.closed
        with pytest.raises(pomai.ClosedError):
            await db.add([1] * DIM)
        with pytest.raises(pomai.NotFoundError):
            await pomai.aio.open(path + "/no/where")

    asyncio.run(main())


def test_a_cancelled_call_goes_on(path: str) -> None:
    async def main() -> None:
        async with await pomai.aio.open(path, durability="os") as db:
            task = asyncio.create_task(db.add(np.ones((2000, 64)), ids=range(2000)))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while await db.count() not in (0, 2000):
                raise AssertionError("a part of a batch")
        with pomai.open(path) as again:
            assert len(again) in (0, 2000)

    asyncio.run(main())


CLOSES_WHILE_IT_READS = """
import ctypes, functools, operator, pomai, signal, sys
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, pythonapi

class Array(Structure):
    _fields_ = [("length", c_int64), ("counts", c_int64 * 4), ("pointers", c_void_p * 3),
                ("release", CFUNCTYPE(None, c_void_p)), ("private_data", c_void_p)]

class Stream(Structure):
    _fields_ = [("get_schema", c_void_p), ("get_next", CFUNCTYPE(c_int, c_void_p, POINTER(Array))),
                ("get_last_error", CFUNCTYPE(c_char_p, c_void_p)), ("release", CFUNCTYPE(None, c_void_p)),
                ("private_data", c_void_p)]

db = pomai.open(sys.argv[1], durability="os")
db.add([[float(i)] for i in range(100)], metadata=[{"n": i} for i in range(100)])
pythonapi.PyCapsule_GetPointer.restype = c_void_p
pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, c_char_p]

def close(*_):
    stream.release(ctypes.addressof(stream))
    ran.append(True)
    if len(ran) > 5:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, close)
interrupt = functools.partial(ctypes.PyDLL(None)["raise"], int(signal.SIGALRM))
ran = []
for at in range(10):
    capsule = db.scan(batch_rows=10).__arrow_c_stream__()
    stream = Stream.from_address(pythonapi.PyCapsule_GetPointer(capsule, b"arrow_array_stream"))
    array, address = Array(), ctypes.addressof(stream)
    read = functools.partial(stream.get_next, address, array)
    try:
        failed = list(map(operator.call, [interrupt, read]))[1]  # no bytecode between, at which handlers would run
        assert failed and not array.release, (failed, array.length)
        assert b"closed" in stream.get_last_error(address)
        for _ in range(9):
            pass
        assert at < 5
    except KeyboardInterrupt:
        assert at >= 5
    assert len(ran) == at + 1
assert db.count() == 100
print(ran)
"""


def test_a_signal_handler_may_close_the_stream_that_is_read(path: str, program: Any) -> None:
    done = program(CLOSES_WHILE_IT_READS, path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{[True] * 10}\n"
