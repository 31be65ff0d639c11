# SPDX-License-Identifier: Apache-2.0
"""What is borrowed is not copied, is held while it is used, and is let go after; in and out."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pomai

LARGE = (4000, 512)  # 8 MB of float32


def address(array: Any) -> int:
    start: int = array.__array_interface__["data"][0]
    return start


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


# ---- out ----


def test_results_are_the_engines_memory(db: pomai.Database) -> None:
    db.add(np.arange(40, dtype=np.float32).reshape(10, 4))
    results = db.search(np.ones((3, 4)), 5, include="vectors")
    for q in range(3):
        result = results[q]
        for name in ("ids", "distances", "vectors"):
            array = getattr(result, name)
            assert address(array) == address(getattr(result, name)) and not array.flags.owndata
            assert not array.flags.writeable
            with pytest.raises(ValueError):
                array[0] = 1
            with pytest.raises(ValueError):
                array.flags.writeable = True
        assert address(results.ids[q]) == address(result.ids) and address(results.distances[q]) == address(
            result.distances
        )
        assert address(result[2].vector) == address(result.vectors[2])
    rows = db.get([3, 1])
    assert address(rows.vectors) == address(rows[0].vector) and rows.vectors[1].tolist() == [4, 5, 6, 7]


def test_arrays_outlive_result_and_database(path: str) -> None:
    db = pomai.open(path)
    db.add(np.arange(40, dtype=np.float32).reshape(10, 4), documents=[str(i) for i in range(10)])
    results = db.search(np.zeros((2, 4)), 10, include=["vectors", "documents"])
    rows = db.get(range(10))
    kept = [results.ids, results.distances, results[0].vectors, results[1][0].vector, rows.vectors, rows[3].vector]
    copies = [array.copy() for array in kept]
    hit, row = results[1][9], rows[9]
    del results, rows
    db.close()
    del db
    gc.collect()
    _ = [np.full(1000, 7) for _ in range(100)]  # what was freed by mistake would be written over
    for array, copy in zip(kept, copies, strict=True):
        assert array.tolist() == copy.tolist()
    assert (hit.id, hit.document, row.document, row.vector.tolist()) == (9, "9", "9", [36, 37, 38, 39])


def test_an_array_alone_holds_the_result(db: pomai.Database) -> None:
    """Nothing else does: what comes later would be put into the same memory."""
    rows = np.arange(2000 * 16, dtype=np.float32).reshape(2000, 16)
    db.add(rows, ids=range(2000))
    parts: list[Callable[[Any], Any]] = [
        lambda found: found[0].ids, lambda found: found[0].distances, lambda found: found[0].vectors,
        lambda found: found[0][7].vector, lambda found: found.ids, lambda found: found.distances,
    ]
    for part in parts:
        array = part(db.search(rows[:1], 1000, include="vectors"))
        copy = array.copy()
        later = [db.search(rows[-1 - i :], 1000, include="vectors") for i in range(5)]
        assert array.tolist() == copy.tolist() and later
    for get in (lambda found: found.vectors, lambda found: found[7].vector):
        array = get(db.get(range(1000)))
        copy = array.copy()
        others = [db.get(range(1000, 2000)) for i in range(5)]
        assert array.tolist() == copy.tolist() and others


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer keeps what is freed")
def test_an_array_holds_the_result_and_no_longer(db: pomai.Database) -> None:
    """8 MB a result: were one kept, or freed twice, it would show."""
    db.add(np.ones(LARGE, np.float32))
    query = np.ones(LARGE[1], np.float32)
    for _ in range(3):
        db.search(query, LARGE[0], include="vectors")
    before = resident()
    for _ in range(20):
        vectors = db.search(query, LARGE[0], include="vectors").vectors
        assert vectors.shape == LARGE and vectors[-1, -1] == 1
    assert resident() - before < 40e6


# ---- in ----


def test_input_is_not_copied(db: pomai.Database) -> None:
    """Neither by Python's allocator nor, seen in the resident memory, by the extension."""
    db.add(np.ones(LARGE, np.float32), ids=range(LARGE[0]))
    given, ids = np.ones(LARGE, np.float32), np.arange(LARGE[0], dtype=np.uint64)
    tracemalloc.start()
    try:
        db.add(given, ids=ids)
        db.search(given[:2], 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


class Exporter:
    """Numbers in a bytearray, which can be resized only when nobody has a buffer of it any more."""

    def __init__(self, rows: int, dim: int) -> None:
        self.memory = bytearray(rows * dim * 4)
        self.view = memoryview(self.memory).cast("f", (rows, dim))

    def is_free(self) -> bool:
        self.view.release()
        try:
            self.memory.append(0)
        except BufferError:
            return False
        return True


def references(thing: Any) -> int:
    return sys.getrefcount(thing)


@pytest.mark.parametrize("fails", [False, True])
def test_buffers_are_let_go(db: pomai.Database, fails: bool) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda v: db.add(v, ids=[1, 1] if fails else [1, 2]), lambda v: db.search(v, 0 if fails else 1),
        lambda v: db.add(v, ids=["a"] if fails else None), lambda v: db.add(v, metadata=5 if fails else None),
        lambda v: db.add(v, expiry=-1 if fails else None), lambda v: db.search(v, snapshot=5 if fails else None),
        lambda v: db.add(v, documents=["a", "\ud800" if fails else "b"]),
    ]
    db.add([[1, 2, 3]])
    for call in calls:
        exporter = Exporter(2, 3)
        array = np.ones((2, 3), np.float32)
        before = references(array)
        for given in (exporter.view, array):
            if fails:
                with pytest.raises(pomai.Error):
                    call(given)
            else:
                call(given)
        del given
        assert references(array) == before and exporter.is_free()
    for ids in (np.array([1, 2], np.uint64), np.array([1, 2], np.int32)):
        before = references(ids)
        rows = db.get(ids)
        assert references(ids) == before, "the ids are the rows' own by now"
        ids[:] = 9
        assert rows.ids == [1, 2]


def test_tensors_are_let_go(db: pomai.Database) -> None:
    class Tensor:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

        def __dlpack__(self) -> Any:
            return self.array.__dlpack__()

    db.add([[1, 2, 3]])
    for dtype, good in ((np.float32, True), (np.float64, True), (np.complex64, False), (np.bool_, False)):
        array = np.ones((2, 3), dtype)
        before = references(array)
        tensor = Tensor(array)
        for call in (db.add, db.search):
            if good:
                call(tensor)
            else:
                with pytest.raises(pomai.InvalidTypeError):
                    call(tensor)
        del tensor
        assert references(array) == before


def test_a_buffer_is_held_while_a_call_uses_it(db: pomai.Database) -> None:
    """Another thread cannot resize what a search reads."""
    db.add(np.ones(LARGE, np.float32))
    array = bytearray(16 * LARGE[1] * 4)
    seen = 0
    for _ in range(200):
        view = memoryview(array).cast("f", (16, LARGE[1]))
        thread = threading.Thread(target=lambda v=view: db.search(v, 3))
        thread.start()
        while thread.is_alive() and not seen:
            try:
                view.release()
            except BufferError:
                seen += 1
        thread.join()
        if seen:
            break
    assert seen


# ---- reserved rows ----


def test_reserve(db: pomai.Database) -> None:
    books = db.collection("books", 4)
    with books.reserve(3) as block:
        assert block.vectors.shape == (3, 4) and block.vectors.dtype == np.float32 and not block.vectors.any()
        assert block.vectors.flags.writeable and address(block.vectors) % 64 == 0
        assert address(block.vectors) == address(block.vectors)
        with pytest.raises(pomai.InvalidError, match="at the end of the with"):
            block.ids
        block.vectors[:] = np.arange(12).reshape(3, 4)
        np.asarray(memoryview(block))[2] = 5
        assert len(books) == 0
    assert list(block.ids) == [0, 1, 2] and books.get([0, 2]).vectors.tolist() == [[0, 1, 2, 3], [5, 5, 5, 5]]
    for call in (lambda: block.vectors, lambda: memoryview(block)):
        with pytest.raises((pomai.InvalidError, BufferError), match="committed or dropped"):
            call()
    with block:  # a second time: nothing is left to commit
        pass
    assert len(books) == 3


def test_reserve_dropped(db: pomai.Database) -> None:
    books = db.collection("books", 2)
    digest = db.digest()
    with pytest.raises(KeyError, match="enough"):
        with books.reserve(3) as block:
            block.vectors[:] = 1
            raise KeyError("enough")
    for bad in (np.nan, np.inf):
        with pytest.raises(pomai.NotFiniteError):
            with books.reserve(2) as block:
                block.vectors[:] = bad
    with pytest.raises(pomai.IdError):
        with db.collection("names", 2, ids="string").reserve(1):
            pass
    db.drop("names")
    books.reserve(1)  # forgotten: it goes with its last reference
    assert len(books) == 0 and db.digest() == digest
    db.add([[1, 2]])
    with db.reserve(1) as block:
        pass
    assert list(block.ids) == [1]


def test_an_array_over_a_block_outlives_it(db: pomai.Database) -> None:
    books = db.collection("books", 64)
    with books.reserve(100) as block:
        array = block.vectors
        array[:] = 3
    array[:] = 4  # the array's own memory by now: what is stored is a copy
    assert (books.get(range(100)).vectors == 3).all() and (array == 4).all()
    with pytest.raises(KeyError):
        with books.reserve(100) as block:
            dropped = block.vectors
            raise KeyError
    dropped[:] = 5
    with pytest.raises(pomai.BusyError, match="del array"):
        db.close()
    assert not db.closed and len(books) == 100
    del array, dropped, block
    books.close()


def test_close_with_an_open_block(path: str) -> None:
    db = pomai.open(path)
    books = db.collection("books", 2)
    with books.reserve(1) as block:
        block.vectors[:] = 1
        with pytest.raises(pomai.BusyError, match="reserved blocks"):
            db.close()
        books.close()  # the block is the database's
        with pytest.raises(pomai.ClosedError):
            with books.reserve(1):
                pass
        block.vectors[:] = 2
        with pytest.raises(pomai.ClosedError):
            block.__exit__(None, None, None)
    with pytest.raises(pomai.InvalidError):
        block.ids
    db.close()
    with pomai.open(path) as db:
        assert len(db.collection("books")) == 0


def test_commit_beside_threads_that_let_go(db: pomai.Database) -> None:
    """An array that goes, or a second exit, while the engine reads the block does not free it."""
    books = db.collection("books", 512)
    for turn in range(6):
        block = books.reserve(2000)
        view = [memoryview(block)] if turn % 2 else []
        np.asarray(block)[:] = turn + 1
        begin = threading.Barrier(3)

        def leave() -> None:
            begin.wait()
            block.__exit__(None, None, None)

        def drop() -> None:
            begin.wait()
            view.clear()

        threads = [threading.Thread(target=f) for f in (leave, leave, drop)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (books.get(block.ids).vectors == turn + 1).all()


def test_views_by_ctypes(db: pomai.Database) -> None:
    """ctypes shows its arrays without strides."""
    numbers = ((ctypes.c_double * 2) * 3)((1, 2), (3, 4), (5, 6))
    db.add(numbers, ids=(ctypes.c_uint64 * 3)(7, 8, 9))
    assert db.get((ctypes.c_int16 * 2)(9, 7)).vectors.tolist() == [[5, 6], [1, 2]]
