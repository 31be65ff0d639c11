# SPDX-License-Identifier: Apache-2.0
"""A refusal speaks of what was given, of what is allowed and of the way out, in the words of Python."""

from __future__ import annotations

import datetime
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pomai
from conftest import SMALL, Program
from pomai import FilterOp as F

np: Any = pytest.importorskip("numpy")
HUGE = 10**5000  # more digits than Python makes a text of
V = [1.0, 0.0, 0.0, 0.0]


@pytest.fixture
def filled(db: pomai.Database) -> pomai.Database:
    db.add(np.eye(4), ids=[1, 2, 3, 4], metadata=[{"a": i} for i in range(4)])
    return db


def refused(kind: type[pomai.Error], call: Callable[[], object]) -> pomai.Error:
    """Without what Python raised on the way, which says nothing more."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert "POMAI_" not in str(caught.value) and "--" not in str(caught.value)
    return caught.value


def says(kind: type[pomai.Error], call: Callable[[], object], *words: str) -> None:
    text = str(refused(kind, call))
    for word in words:
        assert word in text, text


# ---- opening ----


def test_read_only_is_said_in_words_of_python(path: str) -> None:
    with pomai.open(path, **SMALL) as db:
        db.add(V, ids=1)
    with pomai.open(path, read_only=True) as db:
        for call in (
            lambda: db.add(V), lambda: db.delete(1), lambda: db.update(1, metadata={"a": 1}), lambda: db.flush(),
            lambda: db.compact(), lambda: db.build_indexes(), lambda: db.collection("new", dim=3),
            lambda: db.drop("default"), lambda: db.reserve(3),
        ):
            says(pomai.ReadOnlyError, call, "read-only", "open it without read_only=True")
    says(pomai.InvalidError, lambda: pomai.open(path, accept_damage=True), "accept_damage=True needs read_only=True")


def test_locked_tells_readers_from_a_writer(path: str, program: Program) -> None:
    with pomai.open(path, **SMALL) as db:
        db.add(V)
    with pomai.open(path, read_only=True):  # this process was the last writer, too
        text = str(refused(pomai.LockedError, lambda: pomai.open(path)))
        assert "open read-only, in another process or this one" in text and "last writer" not in text, text
        told = program(f"import pomai\ntry: pomai.open({path!r})\nexcept pomai.LockedError as e: print(e)").stdout
        assert "open read-only" in told and "last writer" not in told and "process " in told, told
    with pomai.open(path):
        assert "this process has the database" in str(refused(pomai.LockedError, lambda: pomai.open(path)))
        told = program(f"import pomai\ntry: pomai.open({path!r}, read_only=True)\nexcept pomai.LockedError as e: print(e)")
        assert "open for writing in another process (process " in told.stdout, told
    pomai.open(path, **SMALL).close()  # nobody keeps a lock


def test_unknown_options_have_near_names(tmp_path: Path) -> None:
    opened: Any = pomai.open
    for call, words in (
        (lambda: opened(tmp_path / "q", shard=3), "open() has no argument 'shard'; there is shards="),
        (lambda: opened(tmp_path / "q", readonly=True), "there is read_only="),
        (lambda: opened(tmp_path / "q", read_onl=True), "there is read_only="),
        (lambda: opened(tmp_path / "q", xyzzy=True), "open() has no argument 'xyzzy'"),
        (lambda: pomai.verify(tmp_path / "q", progres=None), "there is progress="),  # type: ignore[call-arg]
        (lambda: pomai.salvage(tmp_path / "q", tmp_path / "r", progres=None), "there is progress="),  # type: ignore[call-arg]
    ):
        says(pomai.InvalidTypeError, call, words)
    assert not (tmp_path / "q").exists()


def test_unknown_arguments_have_near_names(filled: pomai.Database) -> None:
    db: Any = filled
    says(pomai.InvalidTypeError, lambda: db.search(V, filtr={}), "search() has no argument 'filtr'; there is filters=")
    says(pomai.InvalidTypeError, lambda: db.collection("y", dims=3), "there is dim=")
    with pytest.raises(pomai.InvalidTypeError, match="has no argument 'xyzzy'$"):
        db.search(V, xyzzy=1)


# ---- numbers ----


@pytest.mark.parametrize("k", [-1, pytest.param(-HUGE, id="huge")])
def test_k_below(filled: pomai.Database, k: int) -> None:
    says(pomai.InvalidError, lambda: filled.search(V, k=k), "k is from 1 to 1,000,000, not ")


@pytest.mark.parametrize("k", [2**64, 2**70, pytest.param(HUGE, id="huge")])
def test_k_above(filled: pomai.Database, k: int) -> None:
    says(pomai.TooBigError, lambda: filled.search(V, k=k), "k is from 1 to 1,000,000, not ")


@pytest.mark.parametrize("dim", [-1, 2**64, pytest.param(HUGE, id="huge")])
def test_dim(db: pomai.Database, dim: int) -> None:
    says(pomai.DimensionError, lambda: db.collection("x", dim=dim), "dim is from 1 to 65,536, not ")


def test_other_ranges(filled: pomai.Database, tmp_path: Path) -> None:
    says(pomai.InvalidError, lambda: filled.search(V, ef=-1), "ef is from 1 to 4,096, not -1")
    says(pomai.InvalidError, lambda: filled.search(V, ef=2**64), "ef is from 1 to 4,096")
    says(pomai.InvalidError, lambda: filled.search(V, ef=5000), "ef is from 1 to 4,096, not 5000")
    says(pomai.InvalidError, lambda: filled.reserve(-1), "rows is 1 or more, not -1")
    for shards in (-1, 2**32, 2**64):
        says(pomai.InvalidError, lambda: pomai.open(tmp_path / "s", shards=shards), "shards is from 0 to 256, not ")
    says(pomai.InvalidError, lambda: pomai.open(tmp_path / "s", group_ms=-1), "group_ms is from 0 to 2**32 - 1, not -1")


# ---- collections ----


def test_a_missing_collection_says_how_to_make_it(filled: pomai.Database) -> None:
    db = filled
    db.collection("books", dim=4)
    db.collection("docs", dim=4)
    says(pomai.NotFoundError, lambda: db.collection("book"), "there is no collection 'book'", "did you mean 'books'?",
         "collection('book', dim=...) makes it")
    says(pomai.NotFoundError, lambda: db.collection("x"), "there is no collection 'x'", "there are 'books', 'default', "
         "'docs'; ", "collection('x', dim=...) makes it")
    says(pomai.NotFoundError, lambda: db.collection("x", metric="cosine"), "collection('x', dim=...) makes it")
    error = refused(pomai.NotFoundError, lambda: db.collection("book", dim=3, create=False))
    assert str(error) == "there is no collection 'book'; did you mean 'books'?"
    says(pomai.NotFoundError, lambda: db.drop("book"), "there is no collection 'book' to drop", "did you mean 'books'?")
    for i in range(30):
        db.collection(f"n{i}", dim=2)
    assert "and 23 more" in str(refused(pomai.NotFoundError, lambda: db.collection("zzz")))


def test_missing_default(db: pomai.Database) -> None:
    says(pomai.NotFoundError, lambda: db.collection("default"), "there is no collection 'default' yet",
         "the first add makes it")


# ---- vectors ----


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("longdouble", ("longdouble", "astype('float32')")), ("complex64", ("complex64", "no real numbers")),
        ("complex128", ("complex128", "no real numbers")), ("clongdouble", ("complex", "no real numbers")),
        ("datetime64[ns]", ("datetime64[ns]", "a time and no number")), ("datetime64[D]", ("datetime64[D]",)),
        ("timedelta64[s]", ("timedelta64[s]", "a span of time")), ("U3", ("holds str",)), ("S3", ("holds bytes",)),
        ("V4", ("void",)),
    ],
)
def test_types_of_vectors(filled: pomai.Database, dtype: str, words: tuple[str, ...]) -> None:
    x = np.zeros((1, 4)).astype(dtype)
    for call in (lambda: filled.add(x), lambda: filled.search(x), lambda: filled.add([x[0]])):
        error = refused(pomai.InvalidTypeError, call)
        assert error.__cause__ is None and error.__context__ is None, error.__cause__
        for word in (*words, "expected float32"):
            assert word in str(error), error
        assert "format" not in str(error)


def test_records_are_no_vectors(filled: pomai.Database) -> None:
    says(pomai.InvalidTypeError, lambda: filled.add(np.zeros(1, [("a", "f4"), ("b", "f4")])), "records")


def test_an_int_too_large_for_a_float(filled: pomai.Database) -> None:
    for row in ([10**400, 1, 1, 1], [[1, 1, 1, 1], [1, 1, -(10**400), 1]]):
        error = refused(pomai.InvalidError, lambda: filled.add(row))
        assert "which is beyond float32" in str(error) and "not a number" not in str(error)
    assert "vectors[1][2]" in str(error)


def test_nan_of_a_query_was_not_to_be_stored(filled: pomai.Database) -> None:
    error = refused(pomai.NotFiniteError, lambda: filled.search([float("nan"), 0, 0, 0]))
    assert "query 0, dimension 0 is NaN" in str(error) and "stored" not in str(error) + error.hint
    error = refused(pomai.NotFiniteError, lambda: filled.search([V, [0, float("inf"), 0, 0]]))
    assert "query 1, dimension 1 is infinite" in str(error)
    error = refused(pomai.NotFiniteError, lambda: filled.add([float("nan"), 0, 0, 0]))
    assert "nothing of the batch was stored" in str(error) and error.hint
    cosine = filled.collection("cosine", dim=2, metric="cosine")
    error = refused(pomai.ZeroVectorError, lambda: cosine.search([0, 0]))
    assert "row" not in str(error) + error.hint, error.hint


def test_rows_of_a_later_chunk(db: pomai.Database) -> None:
    x = np.ones((300_000, 64), np.float32)
    x[299_999, 5] = np.nan
    error = refused(pomai.NotFiniteError, lambda: db.add(x))
    assert 0 < error.rows_stored < 299_999
    assert f"row {299_999 - error.rows_stored}, dimension 5" in str(error)
    assert f"rows are counted from row {error.rows_stored}, the first that is not stored" in str(error)


# ---- filters ----


@pytest.mark.parametrize(
    ("filters", "given"),
    [(3, "3, of type int"), (b'{"a":1}', "of type bytes"), (True, "True, of type bool"), (1.5, "1.5, of type float"),
     ([{"a": 1}], "of type list"), ((("a", 1),), "of type tuple"), ({1}, "of type set"), pytest.param(HUGE, "of type int", id="huge")],
)
def test_what_is_no_filter(filled: pomai.Database, filters: Any, given: str) -> None:
    for call in (
        lambda: filled.search(V, filters=filters), lambda: filled.count(filters=filters),
        lambda: filled.delete(filters=filters), lambda: filled.scan(filters=filters),
        lambda: filled.update(filters=filters, metadata={"z": 1}), lambda: filled.get(filters=filters),
    ):
        error = refused(pomai.InvalidTypeError, call)
        assert "filters is " in str(error) and given in str(error), error
        assert "expected a dict, its JSON text (str), or what FilterOp makes" in str(error), error
        if isinstance(filters, list):
            assert 'FilterOp.AND(*filters)' in str(error), error
        if isinstance(filters, bytes):
            assert "decode()" in str(error), error
    assert len(filled) == 4


def test_what_is_no_part_of_a_filter() -> None:
    makes: Any = F
    for call in (lambda: F.eq("a", 1) & 3, lambda: makes.AND(F.eq("a", 1), 3), lambda: 3 | F.eq("a", 1)):
        says(pomai.InvalidTypeError, call, "3, of type int", "expected a dict or what FilterOp makes")
    says(pomai.InvalidTypeError, lambda: makes.AND([F.eq("a", 1)]), "of type list", "AND(*filters)")
    says(pomai.InvalidTypeError, lambda: makes.in_("a", 3), "3, of type int", "expected a list")
    says(pomai.InvalidTypeError, lambda: makes.in_("a", "abc"), "'abc', of type str", "expected a list", "eq()")


def test_huge_ints_in_filters(filled: pomai.Database) -> None:
    for filters, where in (
        ({"a": HUGE}, "filters: a is"), ({"a": {"$in": [1, HUGE]}}, "filters: a.$in[1] is"),
        (F.gt("a", HUGE), "filters: a.$gt is"),
    ):
        error = refused(pomai.InvalidError, lambda: filled.count(filters=filters))
        for word in (where, "whole number of more than 4,300 digits", "sys.set_int_max_str_digits()", "as JSON text"):
            assert word in str(error), error
        assert "NaN" not in str(error) and "Exceeds" not in str(error)
    assert filled.count(filters='{"a": {"$lt": 1%s}}' % ("0" * 5000)) == 4
    assert "4,300 digits" in repr(F.gt("a", HUGE))
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(6000)
    try:
        assert filled.count(filters={"a": {"$lt": HUGE}}) == 4
    finally:
        sys.set_int_max_str_digits(before)


def test_huge_ints_in_metadata(filled: pomai.Database) -> None:
    for call, where in (
        (lambda: filled.add(V, metadata={"a": HUGE}), "metadata['a'] is"),
        (lambda: filled.add(np.eye(4), metadata={"a": [1, 2, 3, HUGE]}), "metadata[3]['a'] is"),
        (lambda: filled.add(np.eye(2, 4), metadata=[{}, {"a": [1, {"b": HUGE}]}]), "metadata[1]['a'][1]['b'] is"),
        (lambda: filled.update(1, metadata={"a": HUGE}), "metadata['a'] is"),
    ):
        error = refused(pomai.InvalidError, call)
        for word in (where, "whole number of more than 4,300 digits", "sys.set_int_max_str_digits()", "documents="):
            assert word in str(error), error
        assert "Exceeds" not in str(error)


@pytest.mark.parametrize("shut", ["}", "]"])
def test_what_is_nested_too_deep(filled: pomai.Database, shut: str) -> None:
    """Stored as it is; who reads it says how deep that may be."""
    deep: Any = 1
    for _ in range(5_000):
        deep = {"a": deep} if shut == "}" else [deep]
    for call in (
        lambda: filled.add(np.eye(2, 4), metadata=[{}, {"k": deep}]), lambda: filled.update([1, 2], metadata=[{}, {"k": deep}]),
        lambda: filled.add(np.eye(2, 4), metadata={"k": [1, deep]}),
    ):
        says(pomai.TooBigError, call, "metadata[1]['k'] is nested deeper than Python's json writes (some 990 levels", "documents=")
    text = '{"k":%s1%s}' % (('{"a":' if shut == "}" else "[") * 5_000, shut * 5_000)
    filled.add(np.eye(2, 4), ids=[11, 12], documents=[text, '{"k":%s1%s}' % (('{"a":' if shut == "}" else "[") * 1_023, shut * 1_023)])
    hits = {hit.id: hit.document for hit in filled.search(V, k=9, include=["documents"])}
    assert filled.get(11).document == text == hits[11]
    says(pomai.TooBigError, lambda: filled.get(11).metadata, "nested deeper than Python's json reads (some 990 levels", ".document has")
    says(pomai.TooBigError, lambda: filled.search(V, k=9, include=["metadata"]).metadata, "(some 990 levels")
    for _ in range(2):
        assert filled.count(filters={"k": {"$exists": True}}) == 1  # of 1,024 levels
        assert filled.count(filters={"k": {"$exists": False}}) == 5
        filled.flush()
    says(pomai.InvalidError, lambda: filled.update(11, metadata={"b": 1}), "the row with id 11 is no JSON object")
    assert filled.update(12, metadata={"b": 1}) == 1
    says(pomai.TooBigError if shut == "}" else pomai.InvalidError, lambda: filled.update(1, documents=text, merge=True),
         "more than 64 objects in each other" if shut == "}" else "the patch is no JSON object")
    says(pomai.InvalidError, lambda: filled.count(filters=text), "filter: k")
    if shut == "}":
        says(pomai.TooBigError, lambda: filled.count(filters={"k": deep}), "more than 100 dicts and lists in each other")
    says(pomai.TooBigError, lambda: filled.count(filters='{"$not":' * 5_000 + "{}" + "}" * 5_000), "more than 32 of $and")
    assert filled.update(11, documents="{}") == 1 and filled.get(11).metadata == {}


def test_one_dict_is_not_called_one_of_a_list(filled: pomai.Database) -> None:
    nan: Any = {"q": {"r": float("nan")}}
    for call in (
        lambda: filled.update(1, metadata=nan), lambda: filled.add(V, metadata=nan), lambda: filled.update(filters={"a": 1}, metadata=nan),
    ):
        says(pomai.InvalidError, call, "metadata['q']['r'] cannot be stored as JSON")
    says(pomai.InvalidTypeError, lambda: filled.update(1, metadata={1: 2}), "metadata has the key 1")  # type: ignore[dict-item]
    says(pomai.InvalidError, lambda: filled.update([1, 2], metadata=[{}, nan]), "metadata[1]['q']['r'] cannot be stored as JSON")
    says(pomai.InvalidError, lambda: filled.update([1], metadata=[nan]), "metadata[0]['q']['r'] cannot be stored as JSON")


def test_huge_ints_elsewhere(filled: pomai.Database) -> None:
    for call in (
        lambda: filled.get(HUGE), lambda: filled.add(V, expiry=HUGE), lambda: filled.search(V, k=HUGE),
        lambda: filled.collection("t", dim=3, ttl=HUGE), lambda: filled.search(V, deadline_ms=-HUGE),
    ):
        with pytest.raises(pomai.InvalidError) as caught:
            call()
        assert "an int of too many digits to show" in str(caught.value) and "<class" not in str(caught.value)
    assert filled.count(filters={}, deadline_ms=HUGE) == 4  # no bound


def test_near_operators(filled: pomai.Database) -> None:
    for filters, near in (
        ({"x": {"$gtt": 1}}, "did you mean $gt?"), ({"x": {"$start_with": "a"}}, "did you mean $starts_with?"),
        ({"x": {"$startswith": "a"}}, "did you mean $starts_with?"), ({"x": {"$exist": True}}, "did you mean $exists?"),
        ({"$adn": []}, "did you mean $and?"), ({"x": {"$EQ": 1}}, "did you mean $eq?"),
    ):
        says(pomai.InvalidError, lambda: filled.count(filters=filters), "no such operator", near)
    for unlike in ({"x": {"$regex": 1}}, {"$nor": []}, {"$xyzzyx": []}, {"x": {"$": 1}}, {"x": {"$x": 1}}):
        assert "did you mean" not in str(refused(pomai.InvalidError, lambda: filled.count(filters=unlike)))


def test_operators_without_their_dollar(filled: pomai.Database) -> None:
    for filters, near in (
        ({"a": {"gt": 1}}, "did you mean $gt?"), ({"a": {"$gte": 1, "LT": 3}}, "did you mean $lt?"),
        ({"a": {"startswith": "x"}}, "did you mean $starts_with?"), ({"a": {"exist": True}}, "did you mean $exists?"),
        ({"a": {"not": {"$gt": 1}}}, "did you mean $not?"), ({"or": [{"a": 1}]}, "did you mean $or?"),
        ({"And": [{"a": 1}]}, "did you mean $and?"), ({"not": {"a": 1}}, "did you mean $not?"),
    ):
        says(pomai.InvalidError, lambda: filled.count(filters=filters), near)
    says(pomai.InvalidError, lambda: filled.count(filters={"a": {"gt": 1}}), 'the key "gt" inside "a" is "a.gt"')
    assert filled.count(filters={"a.gt": {"$exists": False}, "or": {"$exists": False}}) == 4  # keys like any other
    for unlike in ({"a": {"note": 1}}, {"a": {"b": 1}}, {"a": [1]}, {"b": {"in_": [1]}}, {"organ": [1]}):
        assert "did you mean" not in str(refused(pomai.InvalidError, lambda: filled.count(filters=unlike)))


def test_near_names_of_filter_op() -> None:
    makes: Any = F
    for name, near in (("lt_", "lt"), ("startswith", "starts_with"), ("and_", "AND"), ("equals", "eq"), ("in", "in_"),
                       ("not_in", "nin"), ("contain", "contains"), ("or_", "OR")):
        with pytest.raises(AttributeError, match=f"FilterOp has no '{name}'; did you mean {near}\\?"):
            getattr(makes, name)
    with pytest.raises(AttributeError, match="FilterOp has no 'xyzzy'; there are AND, OR, NOT, eq, ne"):
        makes.xyzzy
    says(pomai.InvalidTypeError, lambda: makes("x"), 'FilterOp.lt("price", 50)')


# ---- expiry ----


def test_dates_as_expiry(filled: pomai.Database) -> None:
    day = datetime.date(2030, 1, 2)
    midnight = int(datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc).timestamp()) * 10**9
    two = np.eye(2, 4)
    for given, want in (
        ([day, datetime.date(2031, 1, 1)], [midnight, midnight + 364 * 86400 * 10**9]), (day, [midnight] * 2),
        ([None, day], [None, midnight]), ((day, day), [midnight] * 2),
        (np.array([day, day], object), [midnight] * 2), (np.array([day, day], "M8[D]"), [midnight] * 2),
    ):
        filled.add(two, ids=[11, 12], expiry=given)
        assert [row and row.expiry for row in filled.get([11, 12])] == want
    for day in (datetime.date(1969, 12, 31), datetime.date(2600, 1, 1)):
        says(pomai.InvalidError, lambda: filled.add(two, ids=[11, 12], expiry=[day, day]), "expected a time from 1970")
    says(pomai.InvalidTypeError, lambda: filled.add(two, expiry=[datetime.time(3)] * 2), "datetimes, dates or None")


@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_one_number_of_numpy_as_expiry(filled: pomai.Database, kind: str) -> None:
    moment = 2 * 10**18
    for given in (np.dtype(kind).type(moment), np.array(moment, kind)):
        filled.add(np.eye(2, 4), ids=[11, 12], expiry=given)
        assert [row and row.expiry for row in filled.get([11, 12])] == [moment] * 2
        filled.add(V, ids=13, expiry=given)
    assert filled.get(13).expiry == moment
    says(pomai.InvalidError, lambda: filled.add(V, expiry=np.int64(-1)), "expiry[0] is -1")
    says(pomai.InvalidError, lambda: filled.add(V, expiry=np.int64(1_900_000_000)), "seconds times 10**9")


def test_what_is_no_expiry_says_what_it_is(filled: pomai.Database) -> None:
    two, moment, day = np.eye(2, 4), 2 * 10**18, datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc)
    taken = "expected ns since 1970 (ints from 0 to 2**64 - 1, or an integer array), datetimes, dates or None"
    for given, words in (
        (1.5, "expiry is 1.5, of type float"), ("2030-01-02", "expiry is '2030-01-02', of type str"),
        (True, "expiry is True, of type bool"), (datetime.timedelta(1), "expiry is datetime.timedelta(days=1), of type timedelta"),
        ([moment, 1.5], "expiry[1] is 1.5, of type float"), (["2030-01-02"] * 2, "expiry[0] is '2030-01-02', of type str"),
        ([moment, "x"], "expiry[1] is 'x', of type str"), ([None, datetime.timedelta(1)], "expiry[1] is datetime.timedelta"),
        ((x for x in (moment, 1.5)), "expiry[1] is 1.5, of type float"), (iter("ab"), "expiry[0] is 'a', of type str"),
        (np.array([1.5, 2]), "expiry is an array of float64"), (np.array([1, 2], "f4"), "expiry is an array of float32"),
        (np.array([True, False]), "expiry is an array of bool"), (np.array([1j, 2]), "expiry is an array of complex128"),
        (np.array(["a", "b"]), "expiry is an array of <U1"), (np.array([b"a", b"b"]), "expiry is an array of |S1"),
        (np.zeros(2, [("a", "f4")]), "expiry is an array of [('a', '<f4')]"), (np.float64(1.5), ", of type float64"),
        (np.array([1, 2], "m8[s]"), "of timedelta64[s], a span of time"), (np.array([moment, 1.5], object), "expiry[1] is 1.5"),
    ):
        error = refused(pomai.InvalidTypeError, lambda: filled.add(two, ids=[11, 12], expiry=given))
        assert words in str(error) and taken in str(error) and "of format" not in str(error), error
    for given, way in (("2030-01-02", "fromisoformat()"), (1.5, "int(seconds * 10**9)"), (datetime.timedelta(1), "datetime.now() +"),
                       (np.array(["a", "b"]), "astype('datetime64[ns]')")):
        says(pomai.InvalidTypeError, lambda: filled.add(V, expiry=given), way)
    for given in ({moment, moment + 1}, {moment: 1, 2: 3}):
        says(pomai.InvalidTypeError, lambda: filled.add(two, expiry=given), f"expiry is a {type(given).__name__}, which has no order")
    says(pomai.InvalidTypeError, lambda: filled.add(two, ids=np.array([1.5, 2])), "ids is an array of float64")
    says(pomai.InvalidError, lambda: filled.add(two, expiry=itertools.repeat(moment)), "more than 2 times, for 2 vectors")
    says(pomai.InvalidError, lambda: filled.add(two, expiry=iter([moment])), "1 times of expiry for 2 vectors")
    for times in (iter([day, None]), (x for x in [np.datetime64("2030-01-02"), None])):
        filled.add(two, ids=[11, 12], expiry=times)
        assert [row.expiry for row in filled.get([11, 12])] == [int(day.timestamp()) * 10**9, None]


def test_arrow_types_have_their_usual_names(filled: pomai.Database) -> None:
    pa = pytest.importorskip("pyarrow")
    texts = pa.array(["a", "b"])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 8, pa.float32()), 4)
    for array, name in (
        (texts, "string"), (pa.array(["a", "b"], pa.large_string()), "large_string"), (pa.array([1.5, 2]), "float64"),
        (pa.array([True, False]), "bool"), (pa.array([1, 2], pa.duration("s")), "duration[s]"), (pa.array([[1], [2]]), "list"),
        (pa.array([1, 2], pa.time64("us")), "time64[us]"), (pa.array([1, 2], pa.decimal128(5, 2)), "decimal[5,2]"),
        (pa.array([b"ab", b"cd"], pa.binary(2)), "fixed_size_binary[2]"), (texts.dictionary_encode(), "dictionary of string"),
        (pa.array([{"a": 1}] * 2), "struct"), (pa.chunked_array([["a"], ["b"]]), "string"),
    ):
        of = f"is of the Arrow type {name}; expected timestamps, dates, or ints of ns since 1970"
        says(pomai.InvalidTypeError, lambda: filled.add(np.eye(2, 4), expiry=array), f"expiry {of}")
        says(pomai.InvalidTypeError, lambda: filled.add(pa.table({"vector": vectors, "expiry": array})), f"column 'expiry' {of}")
    zoned = pa.array([1, 2], pa.timestamp("us", "UTC"))
    for table, words in (
        ({"vector": vectors, "id": pa.array([1.5, 2])}, "column 'id' is of the Arrow type float64; ids are"),
        ({"vector": vectors, "document": zoned}, "column 'document' is of the Arrow type timestamp[us, tz=UTC]; documents"),
        ({"vector": zoned}, "column 'vector' is of the Arrow type timestamp[us, tz=UTC]; vectors are"),
        ({"vector": pa.array([["a"], ["b"]])}, "column 'vector' is a list of the Arrow type string; expected floats"),
        ({"vector": vectors, "x": pa.array([b"x", b"y"])}, "column 'x' is of the Arrow type binary, which metadata"),
    ):
        says(pomai.InvalidTypeError, lambda: filled.add(pa.table(table)), words)
    says(pomai.InvalidTypeError, lambda: filled.add(np.eye(2, 4), metadata=pa.array([1, 2])), "of the type int64; expected a table")


# ---- updates, ids, snapshots ----


def test_an_empty_patch_writes_nothing(filled: pomai.Database) -> None:
    db = filled
    db.add(V, ids=5)
    stamps = [row.stamp for row in db.get([1, 2, 3, 4, 5])]
    assert db.update(filters={}, metadata={}) == 0
    assert db.update(1, metadata={}) == db.update([1, 2], metadata=[{}, {}]) == db.update([1, 2], metadata={}) == 0
    assert db.update(5, metadata={}) == db.update(filters={"a": 1}, documents=" { }\n", merge=True) == 0
    assert [row.stamp for row in db.get([1, 2, 3, 4, 5])] == stamps and db.get(5).document is None
    assert db.update([1, 2], metadata=[{}, {"b": 1}]) == 1 and db.get(2).metadata == {"a": 1, "b": 1}
    assert [row.stamp for row in db.get([1, 3])] == [stamps[0], stamps[2]]
    assert db.update(1, documents="{}") == 1 and db.get(1).metadata == {}  # replaced, not merged
    says(pomai.InvalidError, lambda: db.update(filters={"$x": 1}, metadata={}), "no such operator")
    says(pomai.IdError, lambda: db.update(["a"], metadata=[{}]), "string ids")


def test_a_patch_that_finds_nothing_to_remove_writes_nothing(filled: pomai.Database) -> None:
    db = filled
    db.add(np.eye(3, 4), ids=[5, 6, 7], documents=[None, '{ "b" : {"c": 1} }', "text"])

    def stamps() -> list[int]:
        return [row.stamp for row in db.get([1, 2, 3, 4, 5, 6])]

    before = stamps()
    for _ in range(2):
        assert db.update(1, metadata={"x": None}) == db.update([1, 2, 5], metadata=[{"x": None}, {"b": None, "c": None}, {"a": None}]) == 0
        assert db.update(filters={"a": {"$exists": True}}, metadata={"x": None, "y": None}) == 0
        assert db.update(6, metadata={"b": {"d": None}}) == db.update(6, metadata={"b": {}}) == db.update(99, metadata={"a": None}) == 0
        assert stamps() == before and db.get(5).document is None and db.get(6).document == '{ "b" : {"c": 1} }'
        db.flush()
    says(pomai.InvalidError, lambda: db.update(7, metadata={"x": None}), "the row with id 7 is no JSON object")
    assert db.update([1, 2, 6], metadata=[{"x": None}, {"a": None}, {"b": {"c": None, "d": None}}]) == 2
    assert [row.metadata for row in db.get([1, 2, 6])] == [{"a": 0}, {}, {"b": {}}]
    assert [a == b for a, b in zip(stamps(), before)] == [True, False, True, True, True, False]
    assert db.update(filters={"$not": {"a": 9}, "b": {"$exists": False}, "a": {"$exists": True}}, metadata={"a": None}) == 3
    assert db.update([1, 5], metadata=[{"a": 1}, {"a": {"b": None}}]) == 2 and db.get(5).metadata == {"a": {}}
    assert db.update(1, metadata={"a": 1}) == 1  # what is set is set, and the row written


def test_when_ids_are_used_up(db: pomai.Database) -> None:
    last = 2**64 - 1
    db.add(V, ids=last - 2)
    for call in (lambda: db.add(np.eye(4)), lambda: db.reserve(4)):
        says(pomai.TooBigError, call, "the batch needs 4 ids", "1 is left", "largest id ever put")
    with pytest.raises(pomai.TooBigError, match="none is left"), db.reserve(1) as block:
        block.vectors[:] = 1
        assert db.add(V) == last - 1  # ids are assigned when rows are put
    says(pomai.TooBigError, lambda: db.reserve(2**64 - 1), "at most")
    db.add(V, ids=last)
    assert db.delete(last) == 1
    missing = [float("nan"), 0, 0, 0]  # which nobody looks at any more
    for call in (lambda: db.add(V), lambda: db.add(np.eye(4)), lambda: db.reserve(1), lambda: db.add(missing)):
        says(pomai.TooBigError, call, "none is left", "also if it was deleted", "give ids", "another collection")
    db.add(V, ids=7)


def test_a_snapshot_and_a_collection_made_anew(db: pomai.Database) -> None:
    db.add(np.eye(4), ids=[1, 2, 3, 4])
    old = db.collection("c", dim=2)
    old.add([[1, 0], [0, 1]], ids=[1, 2])
    with db.snapshot() as before:
        db.collection("later", dim=2).add([1, 0])
        later = db.collection("later")
        assert len(later.search([1, 0], snapshot=before)) == 0  # there was none
        db.drop("c")
        new = db.collection("c", dim=2)
        new.add([1, 0], ids=7)
        for call in (
            lambda: new.search([1, 0], snapshot=before), lambda: new.get(7, snapshot=before),
            lambda: new.count(snapshot=before), lambda: new.count(filters={}, snapshot=before),
            lambda: new.scan(snapshot=before), lambda: new.get(filters={}, snapshot=before),
        ):
            says(pomai.NotFoundError, call, "the collection c ", "dropped and made anew after the snapshot", "another snapshot")
        assert new.get(7).id == 7 and len(new.search([1, 0])) == 1
        assert db.get(1, snapshot=before).id == 1
        with db.snapshot() as now:
            assert new.get(7, snapshot=now).id == 7
        db.drop("default")
        for gone in (lambda: db.get(1, snapshot=before), lambda: db.count(snapshot=before)):
            says(pomai.NotFoundError, gone, "default was dropped after the snapshot")
        db.add(V, ids=1)
        says(pomai.NotFoundError, lambda: db.get(1, snapshot=before), "default", "made anew after the snapshot")
        db.drop("c")
    with db.snapshot() as after:  # dropped before it, made after it: there was none
        assert db.collection("c", dim=2).count(snapshot=after) == 0


# ---- rows and ids ----


def test_a_merge_that_is_refused_names_the_id(db: pomai.Database) -> None:
    db.add(np.eye(3), ids=[7, 8, 9], documents=["{}", "{}", "text"])
    says(pomai.InvalidError, lambda: db.update([7, 9], metadata=[{"a": 1}, {"a": 1}]), "the row with id 9 is no JSON object")
    texts = db.collection("texts", dim=3, ids="string")
    texts.add(np.eye(3), ids=["x", "y", "z"], documents=["{}", "{}", "text"])
    says(pomai.InvalidError, lambda: texts.update(filters={}, metadata={"a": 1}) or texts.update("z", metadata={"a": 1}),
         'the row with id "z" is no JSON object')


def test_rows_of_a_later_batch_of_arrow(db: pomai.Database) -> None:
    pa = pytest.importorskip("pyarrow")

    def batch(ids: list[int | None], x: float = 1.0) -> Any:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 11 + [x], pa.float32()), 3)
        return pa.record_batch({"vector": vectors, "id": pa.array(ids, pa.int64())})

    for last, row in (
        (batch([4, 5, 6, 7], float("nan")), "row 3, dimension 2 is NaN"), (batch([4, None, 6, 7]), "row 1: there is no id"),
        (batch([4, 5, 5, 7]), "rows 1 and 2 have the same id 5"),
    ):
        table = pa.Table.from_batches([batch([0, 1, 2, 3]), last])
        with pytest.raises(pomai.InvalidError) as caught:
            db.add(table)
        assert caught.value.rows_stored == 4 and row in str(caught.value)
        assert "rows are counted from row 4, the first that is not stored" in str(caught.value)


def test_files_say_which_rows_are_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from pomai import _files

    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 26 + [np.nan], pa.float32()), 3)
    parquet.write_table(pa.table({"vector": vectors, "id": pa.array(range(100, 109))}), tmp_path / "x.parquet")
    source, path = str(tmp_path / "x.parquet"), str(tmp_path / "db")
    assert _files.run(["import", path, source, "--batch", "4", "-q"]) == 1
    said = capsys.readouterr().err
    assert "row 0, dimension 2 is NaN" in said and "rows are counted from row 8 of the file" in said, said
    assert "--skip 8" in said
    assert _files.run(["import", path, source, "--skip", "7", "-q"]) == 1
    said = capsys.readouterr().err
    assert "row 1, dimension 2 is NaN" in said and "rows are counted from row 7 of the file" in said, said
    with pomai.open(path) as db:
        db.add([1, 1, 1], ids=207, documents=b"\xff")
        names = db.collection("names", dim=2, ids="string")
        names.add([1, 1], ids="a", documents=b"\xff")
    for collection, row in (("default", "the row with id 207: "), ("names", 'the row with id "a": ')):
        assert _files.run(["export", path, "-c", collection, "-o", str(tmp_path / "y.parquet")]) == 1
        said = capsys.readouterr().err
        assert row in said and "--binary" in said, said
