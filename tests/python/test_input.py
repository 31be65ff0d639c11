# SPDX-License-Identifier: Apache-2.0
"""What goes in: every kind of array is taken, everything else is refused with a sentence and stores nothing."""

from __future__ import annotations

import array
import copy
import ctypes
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pomai

DIM = 4
ROW = [1.0, 2.0, 3.0, 4.0]
INF = float("inf")
NAN = float("nan")


class Raises:
    """Fails at everything that is asked of it."""

    def __float__(self) -> float:
        raise ZeroDivisionError("from __float__")

    def __index__(self) -> int:
        raise ZeroDivisionError("from __index__")

    def __len__(self) -> int:
        raise ZeroDivisionError("from __len__")

    def __iter__(self) -> Iterator[Any]:
        raise ZeroDivisionError("from __iter__")

    def __fspath__(self) -> str:
        raise ZeroDivisionError("from __fspath__")


class Nameless(type):
    def __repr__(cls) -> str:
        raise ZeroDivisionError("from the type's __repr__")


class Unspeakable(float, metaclass=Nameless):
    def __repr__(self) -> str:
        raise ZeroDivisionError("from __repr__")


class RaisesAsList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise ZeroDivisionError("from __iter__")


class RaisesAsTensor:
    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self) -> Any:
        raise ZeroDivisionError("from __dlpack__")


class RaisesAsArray:
    def __array__(self) -> Any:
        raise ZeroDivisionError("from __array__")


class OtherDevice:
    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self) -> Any:
        raise AssertionError("not asked for: it is not in this memory")


class NoDevice(RaisesAsTensor):
    def __dlpack_device__(self) -> Any:
        return None


class Tensor:
    """An array that shows itself by DLPack only."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __dlpack_device__(self) -> Any:
        return self.values.__dlpack_device__()

    def __dlpack__(self) -> Any:
        return self.values.__dlpack__()


class Frame:
    """An array that shows itself by __array__ only."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self) -> Any:
        return self.values


circular: dict[str, Any] = {}
circular["self"] = circular
deep: Any = {}
for _ in range(100_000):
    deep = {"in": deep}


def released() -> memoryview:
    view = memoryview(np.ones(DIM, np.float32))
    view.release()
    return view


TYPE, VALUE = pomai.InvalidTypeError, pomai.InvalidError
# What is given to add(), the exception, and what its message must hold.
BAD_ADDS: dict[str, tuple[dict[str, Any], type[pomai.Error], str]] = {
    "no vectors": ({"vectors": None}, TYPE, "needs vectors"),
    "complex": ({"vectors": np.ones((2, DIM), complex)}, TYPE, "float32 of shape"),
    "long double": ({"vectors": np.ones((2, DIM), np.longdouble)}, TYPE, "float32 of shape"),
    "bool array": ({"vectors": np.ones((2, DIM), bool)}, TYPE, "bools"),
    "array of str": ({"vectors": np.array([["a"] * DIM])}, TYPE, "float32 of shape"),
    "array of objects": ({"vectors": np.array([[None] * DIM])}, TYPE, "NoneType"),
    "records": ({"vectors": np.zeros(2, [("a", "f4"), ("b", "f4")])}, TYPE, "float32 of shape"),
    "dates": ({"vectors": np.zeros((2, DIM), "M8[s]")}, TYPE, "float32 of shape"),
    "str": ({"vectors": "1234"}, TYPE, "str"),
    "bytes": ({"vectors": b"1234"}, TYPE, "bytes"),
    "bytearray": ({"vectors": bytearray(16)}, TYPE, "bytearray"),
    "int": ({"vectors": 1}, TYPE, "int"),
    "dict": ({"vectors": {1: ROW}}, TYPE, "dict"),
    "generator": ({"vectors": (ROW for _ in range(2))}, TYPE, "generator"),
    "list of str": ({"vectors": ["a", "b", "c", "d"]}, TYPE, "[0]"),
    "list of bool": ({"vectors": [True, False, True, True]}, TYPE, "bool"),
    "list with None": ({"vectors": [1.0, None, 2.0, 3.0]}, TYPE, "[1]"),
    "rows with a str": ({"vectors": [ROW, [1.0, 2.0, "3", 4.0]]}, TYPE, "[1][2]"),
    "list of bytes": ({"vectors": [b"abcd", b"efgh"]}, TYPE, "bytes"),
    "four dimensions": ({"vectors": np.ones((1, 1, 1, DIM))}, VALUE, "4 dimensions"),
    "three dimensions": ({"vectors": np.ones((2, 2, DIM), np.float32)}, VALUE, "3 dimensions"),
    "nested lists": ({"vectors": [[ROW, ROW]]}, TYPE, "not a number"),
    "matrices in a list": ({"vectors": [np.ones((2, DIM)), np.ones((2, DIM))]}, VALUE, "not one vector"),
    "no dimension": ({"vectors": np.float32(1)}, VALUE, "0 dimensions"),
    "array of no dimension": ({"vectors": np.array(1.0)}, VALUE, "0 dimensions"),
    "wrong dimension": ({"vectors": np.ones((2, DIM + 1))}, pomai.DimensionError, "5"),
    "wrong dimension, one": ({"vectors": ROW + ROW}, pomai.DimensionError, "8"),
    "no numbers": ({"vectors": []}, VALUE, "empty"),
    "rows without numbers": ({"vectors": [[], []]}, VALUE, ""),
    "rows of 0": ({"vectors": np.ones((2, 0))}, VALUE, ""),
    "huge dimension": ({"vectors": np.broadcast_to(np.float32(1), (1, 70000))}, VALUE, ""),
    "ragged": ({"vectors": [ROW, ROW[:3]]}, pomai.DimensionError, "ragged: row 1 has 3 numbers"),
    "ragged arrays": ({"vectors": [np.ones(4), np.ones(3)]}, pomai.DimensionError, "ragged"),
    "NaN": ({"vectors": [ROW, [1.0, NAN, 2.0, 3.0]]}, pomai.NotFiniteError, "nan"),
    "infinity": ({"vectors": np.array([ROW, [1.0, INF, 2.0, 3.0]])}, pomai.NotFiniteError, "inf"),
    "too large for float32": ({"vectors": [1e39, 0.0, 0.0, 0.0]}, pomai.NotFiniteError, "inf"),
    "too large for a float": ({"vectors": [10**400, 0.0, 0.0, 0.0]}, VALUE, "[0]"),
    "other device": ({"vectors": OtherDevice()}, VALUE, "move it to the CPU"),
    "released buffer": ({"vectors": released()}, TYPE, "cannot be borrowed"),
    "raising item": ({"vectors": [1.0, Raises(), 1.0, 1.0]}, TYPE, "[1]"),
    "raising list": ({"vectors": RaisesAsList(ROW)}, TYPE, "RaisesAsList"),
    "raising row": ({"vectors": [ROW, RaisesAsList(ROW)]}, TYPE, "[1]"),
    "raising tensor": ({"vectors": RaisesAsTensor()}, TYPE, "RaisesAsTensor"),
    "tensor without a device": ({"vectors": NoDevice()}, TYPE, "NoDevice"),
    "raising array": ({"vectors": RaisesAsArray()}, TYPE, "RaisesAsArray"),
    "no array": ({"vectors": Frame("abcd")}, TYPE, "Frame"),
    "repeated ids": ({"ids": [7, 7]}, pomai.DuplicateIdError, "7"),
    "ids of two kinds": ({"ids": [7, "7"]}, TYPE, "ids[1]"),
    "strings and ints": ({"ids": ["7", 7]}, TYPE, "ids[1]"),
    "string ids": ({"ids": ["a", "b"]}, pomai.IdError, "u64"),
    "negative id": ({"ids": [7, -1]}, pomai.IdError, "-1"),
    "large id": ({"ids": [7, 2**64]}, pomai.IdError, "18446744073709551616"),
    "huge id": ({"ids": [7, 10**5000]}, pomai.IdError, "2**64"),
    "float ids": ({"ids": [7.0, 8.0]}, TYPE, "float"),
    "array of float ids": ({"ids": np.array([7.0, 8.0])}, TYPE, "array of float64"),
    "bool ids": ({"ids": [True, False]}, TYPE, "bool"),
    "array of bool ids": ({"ids": np.array([True, False])}, TYPE, "array of bool"),
    "array of negative ids": ({"ids": np.array([7, -8])}, pomai.IdError, "-8"),
    "ids of two dimensions": ({"ids": np.array([[7, 8]])}, VALUE, "2 dimensions"),
    "ids of dates": ({"ids": np.array(["2020-01-01", "2020-01-02"], "M8[s]")}, TYPE, "ids"),
    "ids of None": ({"ids": [None, None]}, TYPE, "NoneType"),
    "ids in a dict": ({"ids": {1: 2}}, TYPE, "dict"),
    "one id for two": ({"ids": 7}, VALUE, "1 ids for 2 vectors"),
    "raising id": ({"ids": [7, Raises()]}, TYPE, "ids[1]"),
    "raising ids": ({"ids": RaisesAsList([7, 8])}, TYPE, "ids"),
    "too few ids": ({"ids": [7]}, VALUE, "1 ids for 2 vectors"),
    "too many ids": ({"ids": [7, 8, 9]}, VALUE, "3 ids for 2 vectors"),
    "no ids": ({"ids": []}, VALUE, "0 ids for 2 vectors"),
    "too few documents": ({"documents": ["a"]}, VALUE, "1 documents for 2 vectors"),
    "one document for two": ({"documents": "ab"}, TYPE, "expected a list"),
    "documents that are numbers": ({"documents": [1, 2]}, TYPE, "documents[0]"),
    "documents that are one number": ({"documents": 7}, TYPE, "int"),
    "documents that are dicts": ({"documents": [{}, {}]}, TYPE, "metadata"),
    "documents that are columns": ({"documents": {"text": ["a", "b"], "n": [1, 2]}}, TYPE, "dicts go into metadata="),
    "documents that are a set": ({"documents": {"a", "b"}}, TYPE, "has no order"),
    "a column that is a set": ({"metadata": {"name": {"a", "b"}}}, TYPE, "metadata['name'] is a set"),
    "a column that is a frozenset": ({"metadata": {"name": frozenset("ab")}}, TYPE, "has no order"),
    "document not Unicode": ({"documents": ["a", "\ud800"]}, VALUE, "documents[1]"),
    "raising documents": ({"documents": RaisesAsList(["a", "b"])}, TYPE, "documents"),
    "documents and metadata": ({"documents": ["a", "b"], "metadata": [{}, {}]}, TYPE, "not both"),
    "too few dicts": ({"metadata": [{}]}, VALUE, "1 dicts of metadata for 2 vectors"),
    "short column": ({"metadata": {"a": [1]}}, VALUE, "1 values for 2 vectors"),
    "column that is a str": ({"metadata": {"a": "xy"}}, TYPE, "column of 2"),
    "metadata that is a str": ({"metadata": "ab"}, TYPE, "list of dicts"),
    "metadata that is a number": ({"metadata": 5}, TYPE, "int"),
    "metadata of numbers": ({"metadata": [1, 2]}, TYPE, "metadata[0]"),
    "set in metadata": ({"metadata": [{}, {"a": {1, 2}}]}, TYPE, "set"),
    "bytes in metadata": ({"metadata": [{}, {"a": b"x"}]}, TYPE, "bytes"),
    "object in metadata": ({"metadata": [{}, {"a": object()}]}, TYPE, "object"),
    "NaN in metadata": ({"metadata": [{}, {"a": NAN}]}, VALUE, "metadata[1]"),
    "NaN of NumPy in metadata": ({"metadata": [{}, {"a": np.float32(NAN)}]}, VALUE, "metadata[1]"),
    "NaN in a list in metadata": ({"metadata": [{}, {"a": {"b": [1, {"c": NAN}]}}]}, VALUE, "metadata[1]['a']['b'][1]['c']"),
    "infinity in a list": ({"metadata": [{}, {"a": 1, "b": [0.0, 1e400]}]}, VALUE, "metadata[1]['b'][1]"),
    "infinity in an array": ({"metadata": [{}, {"a": np.array([1.0, -np.inf])}]}, VALUE, "metadata[1]['a'][1]"),
    "infinity in a column": ({"metadata": {"a": [1.0, 1e400]}}, VALUE, "column 'a', row 1"),
    "a list with NaN in a column": ({"metadata": {"a": [[], [0, NAN]]}}, VALUE, "metadata[1]['a'][1]"),
    "long infinity": ({"metadata": [{}, {"a": np.longdouble("1e400")}]}, VALUE, "metadata[1]['a']"),
    "complex number": ({"metadata": [{}, {"a": np.complex128(1j)}]}, TYPE, "metadata[1]['a'] cannot be stored as JSON: complex128"),
    "long complex number": ({"metadata": [{}, {"a": [np.clongdouble(1j)]}]}, TYPE, "metadata[1]['a'][0]"),
    "column of complex numbers": ({"metadata": {"a": np.zeros(2, complex)}}, TYPE, "metadata['a']"),
    "circular metadata": ({"metadata": [{}, circular]}, VALUE, "metadata[1]"),
    "deep metadata": ({"metadata": [{}, deep]}, VALUE, "metadata[1]"),
    "keys not str": ({"metadata": [{}, {1: 2}]}, TYPE, "key 1"),
    "keys not str, inside": ({"metadata": [{}, {"a": {(1, 2): 3}}]}, TYPE, "metadata[1]"),
    "column not str": ({"metadata": {1: [2, 3]}}, TYPE, "key 1"),
    "huge int in metadata": ({"metadata": [{}, {"a": 10**5000}]}, VALUE, "metadata[1]"),
    "metadata not Unicode": ({"metadata": [{}, {"a": "\ud800"}]}, VALUE, "metadata[1]['a'] has a string that is not Unicode"),
    "text in a list not Unicode": ({"metadata": [{}, {"a": {"b": ["x", "\ud800"]}}]}, VALUE, "metadata[1]['a']['b'][1] has a"),
    "key not Unicode": ({"metadata": [{}, {"a": {"b": 1, "\ud800": 2}}]}, VALUE, r"metadata[1]['a']['\ud800'] has a"),
    "raising metadata": ({"metadata": RaisesAsList([{}, {}])}, TYPE, "metadata"),
    "too few times": ({"expiry": [2**62]}, VALUE, "1 times of expiry for 2 vectors"),
    "negative expiry": ({"expiry": -1}, VALUE, "ns since 1970"),
    "late expiry": ({"expiry": 2**64}, VALUE, "ns since 1970"),
    "expiry before 1970": ({"expiry": datetime.datetime(1960, 1, 1)}, VALUE, "ns since 1970"),
    "first expiry": ({"expiry": datetime.datetime.min}, VALUE, "expiry"),
    "expiry as a float": ({"expiry": 1.5}, TYPE, "ns since 1970"),
    "expiry as a str": ({"expiry": "tomorrow"}, TYPE, "ns since 1970"),
    "expiries as str": ({"expiry": ["a", "b"]}, TYPE, "ns since 1970"),
    "expiry as floats": ({"expiry": np.array([1.0, 2.0])}, TYPE, "ns since 1970"),
    "expiry as a bool": ({"expiry": True}, TYPE, "bool"),
    "no such time": ({"expiry": np.array(["2030-01-01", "NaT"], "M8[D]")}, VALUE, "expiry[1] is NaT; expected ns since 1970"),
    "NaT alone": ({"expiry": np.datetime64("NaT")}, VALUE, "expiry[0] is NaT"),
    "a time past 64 bits": ({"expiry": np.array(["2050", "2600"], "M8[Y]")}, VALUE, "expiry[1] is 2600; expected a time from 1970"),
    "days past 64 bits": ({"expiry": np.array(["2600-01-01"] * 2, "M8[D]")}, VALUE, "expiry[0] is 2600-01-01;"),
    "days that wrap to one of ours": ({"expiry": np.array(["2050-01-01", "2634-07-21"], "M8[D]")}, VALUE, "expiry[1] is 2634"),
    "microseconds past 64 bits": ({"expiry": np.array(["2600-01-01"] * 2, "M8[us]")}, VALUE, "expiry[0] is 2600-01-01T"),
    "25 seconds past 64 bits": ({"expiry": np.array([1, 2**58], "M8[25s]")}, VALUE, "expiry[1] is 2283"),
    "no such year": ({"expiry": np.array([1, 2**60], "M8[Y]")}, VALUE, "expiry[1] is 1152921504606848946"),
    "before all": ({"expiry": np.array([-(2**62)] * 2, "M8[s]")}, VALUE, "expiry[0] is -1461"),
    "one time past 64 bits": ({"expiry": np.datetime64("2600-01-01")}, VALUE, "expiry[0] is 2600-01-01;"),
    "times past 64 bits": ({"expiry": [None, np.datetime64("2600-01-01")]}, VALUE, "expiry[1] is 2600-01-01;"),
    "a datetime past 64 bits": ({"expiry": [None, datetime.datetime(2600, 1, 1)]}, VALUE, "expiry[1] is 2600-01-01"),
    "a day before 1970": ({"expiry": np.array(["2050", "1969"], "M8[D]")}, VALUE, "expiry[1] is 1969-01-01;"),
    "a datetime before 1970": ({"expiry": [None, datetime.datetime(1960, 1, 1)]}, VALUE, "expiry[1] is 1960-01-01"),
    "times without a unit": ({"expiry": np.array([5, 6]).view("M8")}, TYPE, "without a unit"),
    "times of two dimensions": ({"expiry": np.array([["2050", "2051"]], "M8[s]")}, VALUE, "2 dimensions"),
    "a span": ({"expiry": np.timedelta64(5, "s")}, TYPE, "timedelta64[s], a span of time"),
    "spans": ({"expiry": np.array([5, 6], "m8[s]")}, TYPE, "timedelta64[s], a span of time"),
    "masked times": ({"expiry": np.ma.masked_array(np.array(["2050", "2051"], "M8[s]"), [0, 1])}, TYPE, "masked array"),
    "masked expiry": ({"expiry": np.ma.masked_array([0, 5], [0, 1])}, TYPE, "masked array"),
    "masked ids": ({"ids": np.ma.masked_array([11, 12], [0, 1])}, TYPE, "masked array"),
    "masked ids in a list": ({"ids": [11, np.ma.masked_array(12, True)]}, TYPE, "masked array"),
    "times as ids": ({"ids": np.array(["2050", "2051"], "M8[s]")}, TYPE, "datetime64[s], a time and no number"),
    "NaT in a list": ({"expiry": [None, np.datetime64("NaT")]}, VALUE, "expiry[1] is NaT"),
    "negative deadline": ({"deadline_ms": -1}, VALUE, "deadline_ms is 0 or more, not -1"),
    "deadline NaN": ({"deadline_ms": NAN}, VALUE, "nan"),
    "deadline as a str": ({"deadline_ms": "1"}, TYPE, "deadline_ms"),
    "deadline as a bool": ({"deadline_ms": True}, TYPE, "deadline_ms"),
    "unknown durability": ({"durability": "never"}, VALUE, "default, os, group, sync"),
    "durability as a number": ({"durability": 1}, TYPE, "durability is a str"),
    "durability with NUL": ({"durability": "os\0"}, VALUE, "NUL"),
    "unknown keyword": ({"vektors": 1}, TYPE, "vektors"),
}


def state(db: pomai.Database) -> tuple[int, str]:
    return len(db), db.digest()


def check_message(error: pomai.Error, part: str) -> None:
    text = str(error)
    assert part.lower() in text.lower(), text
    assert "SystemError" not in text and error.hint and error.message == text


@pytest.fixture
def full(db: pomai.Database) -> pomai.Database:
    db.add([ROW, ROW], ids=[1, 2], metadata=[{"n": 1}, {"n": 2}])
    return db


@pytest.mark.parametrize("name", BAD_ADDS)
def test_add_refuses(full: pomai.Database, name: str) -> None:
    given, kind, part = BAD_ADDS[name]
    before = state(full)
    arguments = {"vectors": np.array([ROW, ROW], np.float32)} | given
    for method in (full.add, full.add_batch, full.upsert):
        with pytest.raises(kind) as caught:
            method(**arguments)
        check_message(caught.value, part)
        assert isinstance(caught.value, ValueError)
    assert state(full) == before


def test_the_cause_is_kept(full: pomai.Database) -> None:
    for given in ({"vectors": [Raises()]}, {"vectors": [ROW], "ids": [Raises()]}, {"vectors": RaisesAsTensor()}):
        with pytest.raises(TypeError) as caught:
            full.add(**given)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


class Stops:
    def __float__(self) -> float:
        raise KeyboardInterrupt

    __index__: Any = __float__


def test_an_interrupt_is_no_bad_input(full: pomai.Database) -> None:
    for call in (
        lambda: full.add([Stops(), 1.0]), lambda: full.get([Stops()]), lambda: full.search(ROW, Stops()),
        lambda: full.search(ROW, deadline_ms=Stops()), lambda: full.delete([1, Stops()]),
    ):
        with pytest.raises(KeyboardInterrupt):
            call()


BAD_SEARCHES: dict[str, tuple[dict[str, Any], type[pomai.Error], str]] = {
    "nothing": ({"vectors": None}, TYPE, "None"),
    "twice": ({"vector": ROW}, TYPE, "twice"),
    "wrong dimension": ({"vectors": ROW[:3]}, pomai.DimensionError, "3"),
    "NaN": ({"vectors": [NAN, 1, 2, 3]}, pomai.NotFiniteError, "dimension 0 is NaN"),
    "no query": ({"vectors": np.ones((0, DIM))}, VALUE, "no query"),
    "k = 0": ({"k": 0}, VALUE, "k"),
    "k negative": ({"k": -1}, VALUE, "k is from 1 to 1,000,000, not -1"),
    "k huge": ({"k": 2**40}, pomai.TooBigError, "1000000"),
    "k beyond 64 bits": ({"k": 2**64}, VALUE, "k is"),
    "k of many digits": ({"k": 10**5000}, VALUE, "k is"),
    "k float": ({"k": 1.0}, TYPE, "whole number"),
    "k bool": ({"k": True}, TYPE, "whole number"),
    "k raising": ({"k": Raises()}, TYPE, "whole number"),
    "filters": ({"filters": 5}, TYPE, "filter"),
    "filters that are none": ({"filters": "a > 1"}, VALUE, "filter: not JSON"),
    "unknown include": ({"include": ["documents", "colour"]}, VALUE, "colour"),
    "include of numbers": ({"include": [1]}, TYPE, "include"),
    "include a number": ({"include": 5}, TYPE, "include"),
    "include raising": ({"include": RaisesAsList(["documents"])}, TYPE, "include"),
    "include not Unicode": ({"include": ["\ud800"]}, VALUE, "include"),
    "deadline without repr": ({"deadline_ms": Unspeakable(-1)}, VALUE, "what has no repr()"),
    "negative deadline": ({"deadline_ms": -0.5}, VALUE, "-0.5"),
    "unknown mode": ({"mode": "eventual"}, VALUE, "latest, bounded"),
    "mode as a number": ({"mode": 1}, TYPE, "mode"),
    "snapshot of another kind": ({"snapshot": "now"}, TYPE, "Snapshot"),
    "recall above 1": ({"recall": 1.5}, VALUE, "1.5"),
    "recall 0": ({"recall": 0}, VALUE, "recall"),
    "recall NaN": ({"recall": NAN}, VALUE, "nan"),
    "recall as a str": ({"recall": "all"}, TYPE, "recall"),
    "exact and recall": ({"exact": True, "recall": 0.5}, VALUE, "contradict"),
    "ef 0": ({"ef": 0}, VALUE, "ef"),
    "ef above 4,096": ({"ef": 4097}, VALUE, "4097"),
    "ef as a str": ({"ef": "all"}, TYPE, "ef"),
    "ef and recall": ({"ef": 10, "recall": 0.5}, VALUE, "contradict"),
    "ef and exact": ({"ef": 10, "exact": True}, VALUE, "contradict"),
    "unknown keyword": ({"top_k": 3}, TYPE, "top_k"),
}


@pytest.mark.parametrize("name", BAD_SEARCHES)
def test_search_refuses(full: pomai.Database, name: str) -> None:
    given, kind, part = BAD_SEARCHES[name]
    with pytest.raises(kind) as caught:
        full.search(**({"vectors": ROW} | given))
    check_message(caught.value, part)


def test_what_asks_for_nothing_changes_nothing(full: pomai.Database) -> None:
    assert len(full.search(ROW, filters=None, exact=False, recall=0.9)) == 2
    assert len(full.search(ROW, exact=False, ef=20)) == 2


def calls(db: pomai.Database) -> dict[str, Callable[[], Any]]:
    return {
        "get": lambda: db.get(1), "delete": lambda: db.delete([1]), "add": lambda: db.add([ROW]),
        "search": lambda: db.search(ROW), "reserve": lambda: db.reserve(1), "count": db.count, "len": lambda: len(db),
        "freeze": db.freeze, "flush": db.flush, "compact": db.compact, "info": lambda: db.info,
        "name": lambda: db.name, "dim": lambda: db.dim,
    }


def database_calls(db: pomai.Database) -> dict[str, Callable[[], Any]]:
    return calls(db) | {
        "collection": lambda: db.collection("x", 2), "collections": db.collections, "drop": lambda: db.drop("x"),
        "snapshot": db.snapshot, "sync": db.sync, "stats": db.stats, "digest": db.digest,
    }


def test_closed_database(full: pomai.Database) -> None:
    books = full.collection("books", DIM)
    shot = full.snapshot()
    full.close()
    full.close()
    assert full.closed and books.closed
    for name, call in database_calls(full).items():
        with pytest.raises(pomai.ClosedError, match="the database is closed: open it again") as caught:
            call()
        assert isinstance(caught.value, ValueError), name
    for call in calls(books).values():  # type: ignore[arg-type]
        with pytest.raises(pomai.ClosedError):
            call()
    with pytest.raises(pomai.ClosedError):
        shot.digest()
    shot.close()
    books.close()


def test_closed_collection_and_snapshot(full: pomai.Database) -> None:
    books = full.collection("books", DIM)
    books.close()
    assert books.closed and not full.closed
    for call in calls(books).values():  # type: ignore[arg-type]
        with pytest.raises(pomai.ClosedError, match="the collection's handle is closed"):
            call()
    shot = full.snapshot()
    shot.close()
    for call in (shot.digest, lambda: full.search(ROW, snapshot=shot), lambda: full.get(1, snapshot=shot)):
        with pytest.raises(pomai.ClosedError, match="snapshot is closed"):
            call()


def test_dropped_collection(full: pomai.Database) -> None:
    books = full.collection("books", DIM)
    books.add([ROW])
    block = books.reserve(1)
    full.drop("books")
    for call in (lambda: books.add([ROW]), lambda: books.search(ROW), lambda: books.get(1), books.count):
        with pytest.raises(pomai.NotFoundError, match="books") as caught:
            call()
        assert isinstance(caught.value, LookupError)
    with pytest.raises(pomai.NotFoundError):
        with block:
            block.vectors[:] = 1
    with pytest.raises(pomai.NotFoundError):
        full.drop("books")


def test_snapshot_of_another_database(full: pomai.Database, tmp_path: Path) -> None:
    with pomai.open(tmp_path / "other.db") as other, other.snapshot() as shot:
        for call in (
            lambda: full.search(ROW, snapshot=shot), lambda: full.get(1, snapshot=shot), lambda: full.digest(shot)
        ):
            with pytest.raises(pomai.InvalidError, match="another database"):
                call()


def test_paths(full: pomai.Database, path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    bad: list[tuple[Any, type[Exception], str]] = [
        (tmp_path / "no" / "such" / "parent", pomai.NotFoundError, "no"), (tmp_path / "file", pomai.Error, "file"),
        ("a\0b", VALUE, "null"), (b"a\0b", VALUE, "null"), ("\ud800", VALUE, "path"), (None, TYPE, "path"),
        (5, TYPE, "path"), (Raises(), TYPE, "path"), (path, pomai.LockedError, "open"),
    ]
    for given, kind, part in bad:
        with pytest.raises(kind) as caught:
            pomai.open(given)
        assert isinstance(caught.value, pomai.Error)
        check_message(caught.value, part)
        if kind is not pomai.LockedError:
            for call in (lambda: pomai.verify(given), lambda: pomai.salvage(given, tmp_path / "to")):
                with pytest.raises(pomai.Error):
                    call()
    with pytest.raises(pomai.NotFoundError):
        pomai.open(tmp_path / "new", existing=True)
    assert not (tmp_path / "new").exists()
    for option in ({"shards": -1}, {"shards": 2**32}, {"shards": "2"}, {"durability": "x"}, {"flush_bytes": 1.5}):
        with pytest.raises(pomai.InvalidError) as refused:
            pomai.open(tmp_path / "new", **option)  # type: ignore[arg-type]
        check_message(refused.value, next(iter(option)))


def test_kinds_of_path(tmp_path: Path) -> None:
    name = tmp_path / "bücher"
    for given in (name, str(name), str(name).encode()):
        with pomai.open(given) as db:
            assert db.path == given and str(name) not in db.collections()


def test_read_only(path: str) -> None:
    with pomai.open(path) as db:
        db.add([ROW], ids=[1])
        digest = db.digest()
    with pomai.open(path, read_only=True) as db:
        for call in (
            lambda: db.add([ROW]), lambda: db.delete(1), lambda: db.collection("x", 2), lambda: db.drop("default")
        ):
            with pytest.raises(pomai.ReadOnlyError, match="read-only"):
                call()
        assert db.digest() == digest and db.search(ROW)[0].id == 1


def test_string_ids(db: pomai.Database) -> None:
    names = db.collection("names", DIM, ids="string")
    assert names.search(ROW).ids == [] and names.search([ROW]).ids == [[]]
    names.add([ROW], ids=["a"])
    before = db.digest()
    bad: list[tuple[Any, type[Exception], str]] = [
        ([""], pomai.IdError, "id"), (["x" * 513], pomai.IdError, "512"), (["\ud800"], VALUE, "ids[0]"),
        ([1], pomai.IdError, "string"), (None, pomai.IdError, "string"), ([b""], pomai.IdError, "id"),
    ]
    for given, kind, part in bad:
        with pytest.raises(kind) as caught:
            names.add([ROW], ids=given)
        assert isinstance(caught.value, pomai.InvalidError)
        check_message(caught.value, part)
    assert db.digest() == before
    strings = ["ä", "x" * 512, "a\0b", "日本"]
    assert names.add([ROW] * 4, ids=strings) is strings
    assert [row.id for row in names.get(strings)] == strings
    assert len(names.get([])) == 0 and names.delete([]) == 0
    names.add([ROW] * 2, ids=np.array(["n1", "n2"]))
    assert sorted(names.search(ROW, 9).ids) == sorted([*strings, "a", "n1", "n2"])
    names.delete(strings[0])
    assert names.get(strings[0]) is None


def test_ids_that_are_not_unicode(db: pomai.Database) -> None:
    """They come out as str in Python's way, and go in again."""
    names = db.collection("names", DIM, ids="string")
    names.add([ROW, ROW], ids=[b"\xff", "plain"])
    found = names.search(ROW, 1).ids[0] if names.get("plain") is None else "\udcff"
    assert found in names.search(ROW, 5).ids
    assert names.get(found).id == found and names.get([b"\xff", "plain"]).found == [True, True]
    assert names.delete([found]) == 1 and len(names) == 1


def test_collections(db: pomai.Database) -> None:
    db.collection("a", 3, metric="cosine", ttl=60)
    assert db.collection("a", 3, metric="cosine", ttl=datetime.timedelta(minutes=1)).info.ttl == 60
    bad: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
        (("a", 4), {}, VALUE, "dim=3, not 4"), (("a",), {"metric": "l2"}, VALUE, "cosine"),
        (("a",), {"ids": "string"}, VALUE, "u64"), (("a",), {"ttl": 1}, VALUE, "60"),
        (("", 2), {}, VALUE, "name"), ((".a", 2), {}, VALUE, ".a"), (("a/b", 2), {}, VALUE, "a/b"),
        (("x" * 65, 2), {}, VALUE, "64"), (("a\0b", 2), {}, VALUE, "NUL"), (("\ud800", 2), {}, VALUE, "name"),
        ((5, 2), {}, TYPE, "str"), (("n", 0), {}, VALUE, "dim"), (("n", -1), {}, VALUE, "dim"),
        (("n", 2.0), {}, TYPE, "dim"), (("n", 65537), {}, VALUE, "65536"), (("n", 2), {"metric": "l1"}, VALUE, "l2"),
        (("n", 2), {"ids": "uuid"}, VALUE, "u64"), (("n", 2), {"ttl": -1}, VALUE, "-1"),
        (("n", 2), {"ttl": "1"}, TYPE, "seconds"), (("n", 2), {"ttl": NAN}, TYPE, "nan"),
        (("n",), {}, pomai.NotFoundError, "n"), (("n", 2), {"create": False}, pomai.NotFoundError, "n"),
        (("n", 2), {"colour": 1}, TYPE, "colour"), ((), {}, TYPE, "name"),
    ]
    for arguments, options, kind, part in bad:
        with pytest.raises(kind) as caught:
            db.collection(*arguments, **options)
        assert isinstance(caught.value, pomai.Error), arguments
        check_message(caught.value, part)
    with pytest.raises(TypeError):
        db.drop(5)  # type: ignore[arg-type]
    with pytest.raises(pomai.ZeroVectorError, match="zero"):
        db.collection("a").add([0, 0, 0])
    assert db.collections() == ["a"]


def test_get_and_delete_refuse(full: pomai.Database) -> None:
    before = state(full)
    for given, kind in (
        (-1, pomai.IdError), (2**64, pomai.IdError), (1.0, TYPE), (None, TYPE), ("a", pomai.IdError), ([1, "a"], TYPE),
        (object(), TYPE), (True, TYPE), (np.array([1.0]), TYPE), (Raises(), TYPE), ({1: 2}, TYPE),
    ):
        for call in (full.get, full.delete):
            with pytest.raises(kind) as caught:
                call(given)
            assert isinstance(caught.value, pomai.Error)
    for call in (full.get, full.delete):
        with pytest.raises(TypeError):
            call()
    assert full.get([]).found == [] and full.get([]).vectors.shape[0] == 0
    assert state(full) == before


def test_names_that_others_have(full: pomai.Database) -> None:
    """Are refused with the name that is used here."""
    for call, given, meant in (
        (full.search, "where", "filters"), (full.search, "filter", "filters"), (full.search, "top_k", "k"),
        (full.get, "where", "filters"), (full.delete, "where", "filters"), (full.update, "filter", "filters"),
        (full.count, "where", "filters"), (full.scan, "filter", "filters"), (full.add, "payload", "metadata"),
    ):
        with pytest.raises(pomai.InvalidTypeError, match=f"has no argument '{given}'; there is {meant}=$"):
            call(**{given: {}})  # type: ignore[operator]
    with pytest.raises(pomai.InvalidTypeError, match="search\\(\\) has no argument 'payload'$"):
        full.search([0] * DIM, payload=1)  # type: ignore[call-overload]


def test_long_doubles_are_floats(full: pomai.Database) -> None:
    full.add(np.ones((2, DIM), np.float32), ids=[1, 2], metadata=[{"a": np.longdouble(1) / 3}, {"a": np.ones(2, "g")}])
    assert [row.metadata for row in full.get([1, 2]) if row is not None] == [{"a": 1 / 3}, {"a": [1.0, 1.0]}]
    full.add(np.ones((2, DIM), np.float32), ids=[1, 2], metadata={"a": np.array([0.5, 2], "g")})
    assert [row.metadata for row in full.get([1, 2]) if row is not None] == [{"a": 0.5}, {"a": 2.0}]


def test_reserve_refuses(full: pomai.Database) -> None:
    for arguments, kind in (
        ((), TYPE), ((0,), VALUE), ((-1,), VALUE), ((1.0,), TYPE), ((2**62,), VALUE), ((2, 3), pomai.DimensionError),
        ((2**63, 2**63), VALUE),
    ):
        with pytest.raises(kind) as caught:
            full.reserve(*arguments)
        assert isinstance(caught.value, pomai.Error), arguments


# ---- what is taken ----

VALUES = np.array([[1.5, -2.25, 0.0, 65504.0], [3.0, 4.0, 5.0, 6.103515625e-05]])
frozen = VALUES.astype(np.float32)
frozen.flags.writeable = False
unaligned = np.frombuffer(b"x" + VALUES.astype(np.float32).tobytes(), np.uint8)[1:].view("f4").reshape(2, 4)
GOOD: dict[str, Any] = {
    "float16": VALUES.astype(np.float16), "float32": VALUES.astype(np.float32), "float64": VALUES,
    "float16, swapped": VALUES.astype(">f2"), "float32, swapped": VALUES.astype(">f4"),
    "float64, swapped": VALUES.astype(">f8"), "read-only": frozen, "by columns": np.asfortranarray(frozen),
    "strided": np.repeat(np.repeat(frozen, 3, 0), 2, 1)[::3, ::2], "reversed": frozen[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": unaligned, "lists": VALUES.tolist(), "tuples": tuple(tuple(row) for row in VALUES.tolist()),
    "list of arrays": [VALUES[0], frozen[1]], "list of array.array": [array.array("d", row) for row in VALUES],
    "memoryview": memoryview(frozen), "objects": VALUES.astype(object), "DLPack": Tensor(VALUES.astype(np.float32)),
    "DLPack of float64": Tensor(VALUES.copy()), "DLPack of float16": Tensor(VALUES.astype(np.float16)),
    "DLPack, strided": Tensor(VALUES.astype(np.float32).repeat(2, 1)[:, ::2]), "__array__": Frame(VALUES),
    "ctypes": ((ctypes.c_float * 4) * 2)(*[(ctypes.c_float * 4)(*row) for row in VALUES]),
    "list of tensors": [Tensor(VALUES[0].copy()), Tensor(VALUES[1].copy())],
    "numbers of NumPy": [[np.float32(x) for x in row] for row in VALUES],
}


@pytest.mark.parametrize("name", GOOD)
def test_vectors_taken(db: pomai.Database, name: str) -> None:
    given = GOOD[name]
    assert list(db.add(given)) == [0, 1]
    assert db.get([0, 1]).vectors.tolist() == VALUES.tolist()
    again = db.search(given, 1)
    assert again.ids.tolist() == [[0], [1]] and again.distances.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("code", "bBhHiIlLqQ")
def test_whole_numbers_taken(db: pomai.Database, code: str) -> None:
    db.add(array.array(code, [1, 2, 3]), ids=1)
    db.add(np.array([[4, 5, 6]], code).astype(np.dtype(code).newbyteorder(">")), ids=[2])
    assert db.get([1, 2]).vectors.tolist() == [[1, 2, 3], [4, 5, 6]]
    if code.islower():
        db.add(np.array([-1, -2, -3], code), ids=3)
        assert db.get(3).vector.tolist() == [-1, -2, -3]
    ids = np.array([7, 8], code)
    db.add([[1, 1, 1], [2, 2, 2]], ids=ids)
    db.add([[1, 1, 1], [2, 2, 2]], ids=Tensor(ids) if code == "~" else ids[::-1])
    assert db.get(array.array(code, [7, 8])).vectors.tolist() == [[2, 2, 2], [1, 1, 1]]


def test_arrays_of_one_number(db: pomai.Database) -> None:
    """Two vectors of one dimension, not one of two."""
    db.collection("one", 1).add([np.array([1.0]), np.array([2.0])])
    assert len(db.collection("one")) == 2


def test_arrays_of_objects_in_arrays_of_objects(full: pomai.Database) -> None:
    """One of them may hold itself."""
    itself = np.empty(1, object)
    itself[0] = itself
    deep = np.empty(1, object)
    deep[0] = [[1.0] * DIM]
    for vectors in (itself, [itself], deep, [deep]):
        for call in (full.add, full.search):
            with pytest.raises((pomai.InvalidError, pomai.InvalidTypeError)):
                call(vectors)  # type: ignore[operator]
    rows = np.empty(2, object)
    rows[:] = [np.array([1.0] * DIM, object), [2.0] * DIM]
    assert len(full.add(rows)) == 2


def test_no_rows(full: pomai.Database) -> None:
    before = state(full)
    for empty in (np.ones((0, DIM), np.float32), np.ones((0, DIM))):
        for options in ({}, {"ids": []}, {"documents": []}, {"metadata": []}, {"expiry": []}):
            try:
                assert len(full.add(empty, **options)) == 0  # type: ignore[arg-type]
            except pomai.InvalidError as error:
                check_message(error, "row")
    assert state(full) == before


def test_ids_are_returned_as_given(db: pomai.Database) -> None:
    two = np.ones((2, DIM))
    for given in ([1, 2], (3, 4), range(5, 7), np.array([7, 8]), array.array("Q", [9, 10]), [np.int32(11), 12]):
        assert db.add(two, ids=given) is given
    for given, ids in ((iter([13, 14]), [13, 14]), ({15: 0, 16: 0}.keys(), [15, 16]), ((i for i in (1, 2)), [1, 2])):
        assert list(db.add(two, ids=given)) == ids
    assert db.add(two[0], ids=17) == 17 and db.add(two[0]) == 18 and list(db.add(two[:1])) == [19]
    assert db.add(two[0], ids=np.uint64(2**64 - 1)) == 2**64 - 1
    assert sorted(db.search(two[0], 30).ids.tolist()) == [*range(1, 20), 2**64 - 1]


def test_documents_come_back(db: pomai.Database) -> None:
    documents = ["text", "ünïcode \U0001f600", b"bytes \xff", None, "", '{"a": 1}', "[1]", "{bad", "nul\0"]
    db.add(np.ones((9, DIM)), documents=documents)
    rows = db.get(range(9))
    expected = [*documents[:4], None, *documents[5:]]
    assert [row.document for row in rows] == expected
    assert [row.metadata for row in rows] == [None] * 5 + [{"a": 1}] + [None] * 3
    hits = db.search(np.ones(DIM), 9, include="documents")
    assert hits.documents == expected and [hit.metadata for hit in hits] == hits.metadata
    assert db.search(np.ones(DIM), 9).documents == [None] * 9
    db.add(np.ones(DIM), ids=50, documents="one")
    assert db.get(50).document == "one" and db.get(50, documents=False).document is None


def test_answers_to_several_queries_as_columns(db: pomai.Database) -> None:
    db.add(np.eye(DIM)[:2], ids=[1, 2], documents=['{"a": 1}', "text"])
    results = db.search(np.eye(DIM)[:2], 2, include=["documents", "vectors"])
    assert results.documents == [['{"a": 1}', "text"], ["text", '{"a": 1}']]
    assert results.metadata == [[{"a": 1}, None], [None, {"a": 1}]]
    assert [v.tolist() for v in results.vectors] == [r.vectors.tolist() for r in results]
    assert results.vectors[1].tolist() == np.eye(DIM)[[1, 0]].tolist()
    bare = db.search(np.eye(DIM)[:2], 2)
    assert bare.documents == bare.metadata == [[None, None]] * 2 and bare.vectors == [None, None]


def test_metadata_comes_back(db: pomai.Database) -> None:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5)
    given = [{"a": 1, "b": None, "c": [1, {"d": "é"}]}, None, {}, {"n": np.int64(3), "f": np.float32(0.5), "t": now}]
    db.add(np.ones((4, DIM)), metadata=given)
    expected = [given[0], None, {}, {"n": 3, "f": 0.5, "t": now.isoformat()}]
    assert [row.metadata for row in db.get(range(4))] == expected
    columns = {"n": np.arange(4), "s": list("abcd"), "g": (i * i for i in range(4))}
    db.add(np.ones((4, DIM)), ids=range(4), metadata=columns)
    assert [row.metadata for row in db.get(range(4))] == [{"n": i, "s": "abcd"[i], "g": i * i} for i in range(4)]
    assert db.search(np.ones(DIM), 1, include=["metadata"])[0].metadata == {"n": 0, "s": "a", "g": 0}


def test_expiry_is_taken(db: pomai.Database) -> None:
    late = datetime.datetime(2200, 1, 1, tzinfo=datetime.timezone.utc)
    ns = int(late.timestamp()) * 10**9
    for given in (late, ns, [late, ns], np.array([ns, ns]), np.array(["2200-01-01"] * 2, "M8[D]"), (ns, late)):
        db.add(np.ones((2, DIM)), ids=[1, 2], expiry=given)
        assert [row.expiry for row in db.get([1, 2])] == [ns, ns]
    db.add(np.ones((2, DIM)), ids=[1, 2], expiry=[1, None])
    assert db.get([1, 2]).found == [False, True] and db.get(2).expiry is None


class Times:
    """What makes an array of itself, and is none: a Series, say."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values


class Series(Times):
    def __init__(self, values: Any) -> None:
        super().__init__(values)
        self.dtype, self.shape = values.dtype, values.shape


@pytest.mark.parametrize("unit", ["Y", "M", "D", "h", "m", "s", "ms", "us", "7D", "25us", "ns"])
@pytest.mark.parametrize("year", [2050, 2261, 2300, 2553])
def test_expiry_of_any_unit(db: pomai.Database, unit: str, year: int) -> None:
    if unit == "ns" and year > 2261:
        return
    time = np.datetime64(str(year), unit)
    days = int(time.astype("M8[D]").astype(int))
    rest = int((time.astype("M8[us]") - np.datetime64(days, "D")).astype(int))
    for given in (np.array([time, time]), [time] * 2, time, np.array([time, time]).astype(f">M8[{unit}]")):
        db.add(np.ones((2, DIM)), ids=[1, 2], expiry=given)
        assert [row.expiry for row in db.get([1, 2])] == [days * 86400 * 10**9 + rest * 1000] * 2


def test_expiry_finer_than_a_nanosecond(db: pomai.Database) -> None:
    for unit in ("ps", "fs", "as"):
        db.add(np.ones((2, DIM)), ids=[1, 2], expiry=np.array([0, 3], "M8[us]").astype(f"M8[{unit}]"))
        assert db.get([1, 2]).found == [True, False]  # 0: never
    late = np.array([3 * 10**16, 10**17], "M8[100000ps]")
    db.add(np.ones((2, DIM)), ids=[1, 2], expiry=late)
    assert [row.expiry for row in db.get([1, 2])] == [3 * 10**18, 10**19]
    with pytest.raises(pomai.InvalidError, match=r"expiry\[1\] is"):
        db.add(np.ones((2, DIM)), ids=[1, 2], expiry=np.array([1, 2**62], "M8[100000ps]"))


def test_expiry_of_what_makes_an_array(db: pomai.Database) -> None:
    ns = 2524608000 * 10**9
    for kind in (Times, Series):
        db.add(np.ones((2, DIM)), ids=[1, 2], expiry=kind(np.array(["2050-01-01"] * 2, "M8[ns]")))
        assert [row.expiry for row in db.get([1, 2])] == [ns, ns]
        with pytest.raises(pomai.InvalidError, match=r"expiry\[1\] is 2600-01-01"):
            db.add(np.ones((2, DIM)), ids=[1, 2], expiry=kind(np.array(["2050-01-01", "2600-01-01"], "M8[D]")))
        with pytest.raises(pomai.InvalidError, match="NaT"):
            db.add(np.ones((2, DIM)), ids=[1, 2], expiry=kind(np.array(["2050-01-01", "NaT"], "M8[ns]")))
    db.add(np.ones((2, DIM)), ids=[1, 2], expiry=Times(np.array([ns, ns + 1])))
    assert [row.expiry for row in db.get([1, 2])] == [ns, ns + 1]


TIMES = [np.datetime64("2024-01-01"), np.timedelta64(5, "s"), np.array(["2024"], "M8[s]"), np.array([5], "m8[s]"),
         np.array("2024", "M8[s]"), [np.datetime64("2024-01-01")], [np.timedelta64(5, "s")]]


@pytest.mark.parametrize("given", TIMES, ids=repr)
def test_times_are_no_numbers(db: pomai.Database, given: Any) -> None:
    """NumPy shows the eight bytes of a time as eight numbers."""
    db.add(np.ones((256, DIM)), ids=range(256), metadata=[{"n": i} for i in range(256)])
    before = state(db)
    for call in (db.get, db.delete, lambda ids: db.update(ids, metadata={"n": 0}), lambda ids: db.add(ROW, ids=ids)):
        with pytest.raises(pomai.InvalidTypeError, match="time|timedelta"):
            call(given)
    for call in (lambda v: db.search(v, 1), db.add, lambda v: db.search([[1.0] * 8, v[0] if type(v) is list else v], 1)):
        with pytest.raises(pomai.InvalidTypeError, match="time|timedelta"):
            call(given)
    assert state(db) == before


def test_masked_ids(db: pomai.Database) -> None:
    db.add(np.ones((9, DIM)), ids=range(9))
    before = state(db)
    for given in (np.ma.masked_array([1, 2, 3], [0, 1, 1]), np.ma.masked_array([1, 2]), np.ma.masked_array(5, True),
                  [np.ma.masked_array(5, True)]):
        for call in (db.get, db.delete, lambda ids: db.update(ids, metadata={"n": 0})):
            with pytest.raises(pomai.InvalidTypeError, match="masked array"):
                call(given)
    with pytest.raises(pomai.InvalidTypeError, match="masked array"):
        db.search([np.ma.masked_array(ROW, [0, 0, 1, 0])], 1)
    assert state(db) == before


@pytest.mark.parametrize("given", [
    {"documents": [None, "x" * (2**26 - 8)]}, {"documents": [None, "x" * 2**27]},
    {"metadata": [None, {"x": "x" * 2**26}]},
    {"metadata": {"x": ["", "x" * 2**26]}},
])  # fmt: skip
def test_one_row_too_large(db: pomai.Database, given: Any) -> None:
    """Splitting a call is no way out for a row, nor for a filter."""
    with pytest.raises(pomai.TooBigError, match="shorten") as caught:
        db.add(np.ones((2, DIM)), **given)
    assert "split" not in str(caught.value) + caught.value.hint
    with pytest.raises(pomai.TooBigError) as caught:
        db.count(filters={"n": {"$in": list(range(300_000))}})
    assert "split" not in str(caught.value) + caught.value.hint


def test_a_batch_that_is_split(db: pomai.Database) -> None:
    """More than the engine takes at once: pieces, and the exception says how far it came."""
    rows = np.broadcast_to(np.float32(1), (300, 65536))
    assert list(db.add(rows, documents=[f"{i}" for i in range(300)])) == list(range(300))
    assert len(db) == 300 and db.get(299, vectors=False).document == "299"
    bad = rows.copy()
    bad[299, 0] = NAN
    with pytest.raises(pomai.NotFiniteError) as caught:
        db.add(bad, ids=range(1000, 1300))
    assert 0 < caught.value.rows_stored < 300 and len(db) == 300 + caught.value.rows_stored


def test_objects_are_not_made_or_copied(full: pomai.Database) -> None:
    import pickle

    result, rows = full.search([ROW]), full.get([1])
    for thing in (full, full.snapshot(), full.reserve(1), result, result[0], result[0][0], rows, rows[0]):
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="pickled or copied"):
                call(thing)
        with pytest.raises(TypeError, match="pomai.open"):
            type(thing)()


def test_in_asks_for_an_id(db: pomai.Database) -> None:
    db.add([[1.0, 2.0]], ids=[7])
    words = db.collection("words", 2, ids="string")
    words.add([[1.0, 2.0]], ids=["a"])
    assert 7 in db and 8 not in db and "a" in words and "b" not in words
    with pytest.raises(pomai.IdError):
        "a" in db  # noqa: B015
    with pytest.raises(pomai.InvalidTypeError, match="one id"):
        [7] in db  # noqa: B015


@pytest.mark.parametrize("scale", [1, 10**3, 10**6])
def test_expiry_in_other_units(db: pomai.Database, scale: int) -> None:
    with pytest.raises(pomai.InvalidError, match="nanoseconds"):
        db.add([[1.0, 2.0]], ids=[1], expiry=1_800_000_000 * scale)
    assert len(db) == 0
    db.add([[1.0, 2.0]], ids=[1], expiry=4_000_000_000 * 10**9)
    assert 1 in db


def test_what_has_no_order_or_a_mask(db: pomai.Database) -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(pomai.InvalidTypeError, match="set"):
        db.add([[1.0], [2.0]], ids={1, 2})
    with pytest.raises(pomai.InvalidTypeError, match="set"):
        db.add({1.0, 2.0})
    with pytest.raises(pomai.InvalidTypeError, match="mask"):
        db.add(np.ma.masked_array([[5.0, 6.0]], mask=[[1, 0]]), ids=[2])
    assert len(db) == 0


def test_rows_as_columns(db: pomai.Database) -> None:
    db.add([[1.0], [2.0], [3.0]], ids=[1, 2, 3], documents=['{"a": 1}', "text", None])
    rows = db.get([3, 9, 2, 1])
    assert rows.documents == [None, None, "text", '{"a": 1}']
    assert rows.metadata == [None, None, None, {"a": 1}]
    assert db.get([1], documents=False).documents == [None]


def test_cluster_by(tmp_path: Path) -> None:
    with pomai.open(tmp_path / "clustered") as db:
        notes = db.collection("notes", 2, cluster_by="owner.id")
        assert notes.info.cluster_by == "owner.id"
        assert db.collection("plain", 2).info.cluster_by is None
        assert db.collection("notes").info.cluster_by == "owner.id"
        with pytest.raises(pomai.InvalidError, match="cluster_by='owner.id', not 'tenant'"):
            db.collection("notes", cluster_by="tenant")
        with pytest.raises(pomai.InvalidError, match="cluster_by"):
            db.collection("other", 2, cluster_by="$and")
        with pytest.raises(pomai.InvalidTypeError, match="cluster_by is a str"):
            db.collection("other", 2, cluster_by=7)  # type: ignore[arg-type]
        owners = [n % 7 for n in range(50)]
        notes.add([[n, 0] for n in range(50)], ids=range(50), metadata=[{"owner": {"id": owner}} for owner in owners])
        db.flush()
        notes.compact()
        rows = [row.id for row in notes]  # as they lie, one owner after the other
        assert rows == sorted(range(50), key=lambda n: (owners[n], n))
        assert notes.search([0, 0], k=9, filters={"owner.id": 3}).ids.tolist() == [3, 10, 17, 24, 31, 38, 45]
