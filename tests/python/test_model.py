# SPDX-License-Identifier: Apache-2.0
"""Random walks beside a dict: whatever was stored, in whatever form, is what get, search and digest say."""

from __future__ import annotations

import array
import shutil
import tempfile
import time
from typing import Any

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import pomai

DIM = 3
COORDINATE = st.integers(-8, 8).map(lambda n: n / 4)  # exact in float16, too
VECTORS = st.lists(st.lists(COORDINATE, min_size=DIM, max_size=DIM), min_size=1, max_size=6)
KEYS = st.integers(0, 15)
DOCUMENTS = st.one_of(st.none(), st.text(max_size=6), st.binary(max_size=6).map(lambda b: b"\xff" + b))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
METADATA = st.none() | st.dictionaries(st.text(max_size=3), JSON, max_size=3)


class Tensor:
    def __init__(self, values: Any) -> None:
        self.__dlpack__ = values.__dlpack__
        self.__dlpack_device__ = values.__dlpack_device__


def wide(rows: Any) -> Any:
    """Every other number of something larger."""
    values = np.full((2 * len(rows), 2 * DIM), 99, np.float32)
    values[::2, ::2] = rows
    return values[::2, ::2]


FORMS = {
    "lists": lambda rows: rows,
    "tuples": lambda rows: tuple(map(tuple, rows)),
    "float32": lambda rows: np.array(rows, np.float32),
    "float64": np.array,
    "float16": lambda rows: np.array(rows, np.float16),
    "big-endian": lambda rows: np.array(rows, ">f4"),
    "by columns": lambda rows: np.asfortranarray(np.array(rows, np.float32)),
    "wide": wide,
    "backwards": lambda rows: np.array(rows[::-1], np.float32)[::-1],
    "memoryview": lambda rows: memoryview(np.array(rows, np.float32)),
    "array.array": lambda rows: memoryview(array.array("d", sum(rows, [])).tobytes()).cast("d", (len(rows), DIM)),
    "rows": lambda rows: [array.array("f", row) for row in rows],
    "DLPack": lambda rows: Tensor(np.array(rows, np.float32)),
    "objects": lambda rows: np.array(rows, object),
}
ID_FORMS = {
    "list": list, "tuple": tuple, "iterator": iter, "uint64": lambda ids: np.array(ids, np.uint64),
    "int32": lambda ids: np.array(ids, np.int32), "array": lambda ids: array.array("Q", ids),
    "big-endian": lambda ids: np.array(ids, ">u2"), "dict": lambda ids: dict.fromkeys(ids).keys(),
}


class Walk(RuleBasedStateMachine):
    """One collection of ids of either kind; the model is a dict of id to (vector, document)."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="pomai-model-")
        self.rows: dict[Any, tuple[list[float], Any]] = {}
        self.expired: set[Any] = set()
        self.shots: list[tuple[pomai.Snapshot, dict[Any, tuple[list[float], Any]], str]] = []
        self.largest = -1

    @initialize(strings=st.booleans(), metric=st.sampled_from(["l2", "ip"]), shards=st.integers(1, 3))
    def begin(self, strings: bool, metric: str, shards: int) -> None:
        self.strings, self.metric, self.shards = strings, metric, shards
        self.open()

    def open(self) -> None:
        self.db = pomai.open(
            self.directory + "/db", shards=self.shards, search_threads=0, durability="os", freeze_rows=4
        )
        kind = "string" if self.strings else "u64"
        self.c = self.db.collection("model", DIM, metric=self.metric, ids=kind)  # type: ignore[arg-type]

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.check()
            self.db.close()
        shutil.rmtree(self.directory)

    def id_of(self, key: int) -> Any:
        return f"ключ {key}" if self.strings else key

    def note(self, ids: list[Any], rows: list[list[float]], documents: list[Any]) -> None:
        for i, vector, document in zip(ids, rows, documents, strict=True):
            self.rows[i] = (vector, document or None)
            self.largest = max(self.largest, i) if not self.strings else -1

    @rule(
        rows=VECTORS, first=KEYS, step=st.sampled_from([1, 3, 5]), form=st.sampled_from(sorted(FORMS)),
        ids_as=st.sampled_from(sorted(ID_FORMS)), data=st.data(),
        method=st.sampled_from(["add", "upsert", "add_batch"]), what=st.sampled_from(["none", "documents", "metadata"]),
    )
    def put(
        self, rows: Any, first: int, step: int, form: str, ids_as: str, data: Any, method: str, what: str
    ) -> None:
        ids = [self.id_of((first + i * step) % 16) for i in range(len(rows))]
        options: dict[str, Any] = {}
        documents: list[Any] = [None] * len(rows)
        if what != "none":
            values = METADATA if what == "metadata" else DOCUMENTS
            documents = data.draw(st.lists(values, min_size=len(rows), max_size=len(rows)))
            options[what] = documents
        if self.strings and ids_as not in ("list", "tuple", "iterator", "dict"):
            ids_as = "list"
        got = getattr(self.c, method)(FORMS[form](rows), ID_FORMS[ids_as](ids), **options)
        assert list(got) == ids
        self.note(ids, rows, documents)

    @precondition(lambda self: not self.strings)
    @rule(rows=VECTORS, form=st.sampled_from(sorted(FORMS)), block=st.booleans())
    def put_unnamed(self, rows: Any, form: str, block: bool) -> None:
        if block:
            with self.c.reserve(len(rows)) as reserved:
                reserved.vectors[:] = rows
            got = [int(i) for i in reserved.ids]
        else:
            got = [int(i) for i in self.c.add(FORMS[form](rows))]
        assert got == list(range(self.largest + 1, self.largest + 1 + len(rows)))
        self.note(got, rows, [None] * len(rows))

    @rule(row=VECTORS.map(lambda rows: rows[0]), key=KEYS, document=DOCUMENTS, late=st.booleans())
    def put_one(self, row: list[float], key: int, document: Any, late: bool) -> None:
        i = self.id_of(key)
        expiry = time.time_ns() + 10**18 if late else None
        assert self.c.add(row, i, document, expiry=expiry) == i
        self.note([i], [row], [document])
        assert self.c.get(i).expiry == expiry

    @rule(row=VECTORS.map(lambda rows: rows[0]), key=KEYS)
    def put_expired(self, row: list[float], key: int) -> None:
        """A row whose time is over hides what was there."""
        i = self.id_of(key)
        self.c.add(row, i, expiry=1)
        self.note([i], [row], [None])
        del self.rows[i]

    @rule(keys=st.lists(KEYS, min_size=1, max_size=6, unique=True))
    def delete(self, keys: list[int]) -> None:
        ids = [self.id_of(key) for key in keys]
        there = sum(i in self.rows for i in ids)
        assert there <= self.c.delete(ids) <= len(ids)
        for i in ids:
            self.rows.pop(i, None)

    @rule(how=st.sampled_from(["freeze", "flush", "compact", "sync"]))
    def maintain(self, how: str) -> None:
        before = self.db.digest()
        getattr(self.db if how == "sync" else self.c, how)()
        assert self.db.digest() == before

    @rule()
    def reopen(self) -> None:
        before = self.db.digest()
        for shot, _, digest in self.shots:
            assert shot.digest() == digest
        self.shots.clear()
        self.db.close()
        self.open()
        assert self.db.digest() == before

    @precondition(lambda self: len(self.shots) < 3)
    @rule()
    def take_snapshot(self) -> None:
        self.shots.append((self.db.snapshot(), dict(self.rows), self.db.digest()))

    @precondition(lambda self: self.shots)
    @rule(query=VECTORS, close=st.booleans())
    def read_snapshot(self, query: Any, close: bool) -> None:
        shot, rows, digest = self.shots[0]
        assert shot.digest() == self.db.digest(shot) == digest
        self.check_search(query, rows, shot)
        self.check_get(rows, shot)
        if close:
            self.shots.pop(0)
            shot.close()

    @rule(query=VECTORS, k=st.integers(1, 30), form=st.sampled_from(sorted(FORMS)))
    def search(self, query: Any, k: int, form: str) -> None:
        self.check_search(query, self.rows, None, k, form)

    def check_search(self, queries: Any, rows: Any, shot: Any, k: int = 5, form: str = "float32") -> None:
        found = self.c.search(FORMS[form](queries), k, snapshot=shot, include=["documents", "vectors"])
        assert len(found) == len(queries)
        ids = sorted(rows)
        stored = np.array([rows[i][0] for i in ids]).reshape(-1, DIM)
        for query, result in zip(queries, found, strict=True):
            difference = stored - np.array(query)
            distances = (difference**2).sum(1) if self.metric == "l2" else 1 - stored @ np.array(query)
            expected = sorted(zip(distances.tolist(), ids, strict=True))[:k]
            # What is compared is exact in binary, so equal distances are equal here, too, and are told apart by id.
            assert list(zip(result.distances.tolist(), list(result.ids), strict=True)) == expected
            assert result.vectors.tolist() == [rows[i][0] for _, i in expected]
            for hit, (distance, i) in zip(result, expected, strict=True):
                assert (hit.id, hit.distance, hit.vector.tolist()) == (i, distance, rows[i][0])
                self.check_document(hit, rows[i][1])
            assert result.verdict.completeness == "exact" and result.verdict.rows_visible == len(rows)
            assert result.verdict.fewer == ("no" if len(expected) == k else "rows")

    def check_document(self, given: Any, document: Any) -> None:
        if isinstance(document, dict):
            assert given.metadata == document
        elif isinstance(document, bytes):
            assert given.document == document and given.metadata is None
        elif document is None:
            assert given.document in (None, "{}")  # no metadata at all is stored as such
        else:
            assert given.document == document

    def check_get(self, rows: Any, shot: Any = None) -> None:
        asked = sorted(rows) + [self.id_of(key) for key in range(16) if self.id_of(key) not in rows]
        found = self.c.get(asked, snapshot=shot)
        assert found.found == [i in rows for i in asked] and found.ids == asked
        for row, vector, i in zip(found, found.vectors, asked, strict=True):
            if i not in rows:
                assert row is None and np.isnan(vector).all()
                continue
            assert row.id == i and row.vector.tolist() == vector.tolist() == rows[i][0]
            self.check_document(row, rows[i][1])

    @invariant()
    def length(self) -> None:
        if hasattr(self, "c"):
            assert len(self.c) == self.c.count() == len(self.rows)

    def check(self) -> None:
        self.check_get(self.rows)
        self.check_search([[0.0] * DIM, [1.0, -1.0, 0.25]], self.rows, None, 30)


TestWalk = Walk.TestCase
# A walk that fails is shown as it was: to make it shorter can take minutes.
TestWalk.settings = settings(max_examples=50, stateful_step_count=30, phases=[Phase.generate])
