# SPDX-License-Identifier: Apache-2.0
"""metadata= as columns: what goes in comes back, whatever it is given as, and what JSON has not is refused."""

from __future__ import annotations

import datetime
import gc
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import pomai
from pomai import FilterOp as F

pa = pytest.importorskip("pyarrow")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME = TEXT.filter(lambda name: "\0" not in name)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
INT = st.integers(-(2**63), 2**63 - 1)
SCALARS = (st.booleans(), INT, FLOAT, TEXT)
NATURAL = st.integers(0, 2**64 - 1)  # which pyarrow does not find by itself


def columns_of(rows: int, *more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, list[Any]]]:
    """Columns of one type, with None and lists of it now and then."""
    def column(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        missing = st.one_of(values, st.none())
        return st.one_of(*(st.lists(kind, min_size=rows, max_size=rows)
                           for kind in (values, missing, st.lists(missing, max_size=3))))  # fmt: skip

    return st.dictionaries(NAME, st.one_of(*map(column, (*SCALARS, *more))), max_size=5)


def back(db: pomai.Database, rows: int, metadata: Any) -> list[Any]:
    ids = db.add(np.ones((rows, 2), np.float32), metadata=metadata)
    return [row.document for row in db.get(list(ids))]


def text_of(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def rows_of(columns: dict[str, list[Any]], rows: int) -> list[dict[str, Any]]:
    return [{key: column[i] for key, column in columns.items()} for i in range(rows)]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pomai.open(tmp_path_factory.mktemp("columns") / "db", durability="os", shards=1, search_threads=0) as db:
        yield db


@given(data=st.data())
def test_lists_are_what_json_writes(kept: pomai.Database, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 6))
    columns = data.draw(columns_of(rows, NATURAL))
    assert back(kept, rows, columns) == list(map(text_of, rows_of(columns, rows)))


@given(data=st.data())
def test_arrow_is_what_lists_are(kept: pomai.Database, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 6))
    columns = data.draw(columns_of(rows))
    arrays = {key: pa.array(column) for key, column in columns.items()}
    wanted = [json.loads(text_of(row)) for row in rows_of(columns, rows)]
    assert list(map(json.loads, back(kept, rows, arrays))) == wanted
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=3)))
    chunks = {
        key: pa.chunked_array([array[a:b] for a, b in zip([0, *cuts[i % 2:]], [*cuts[i % 2:], rows])])
        for i, (key, array) in enumerate(arrays.items())
    }
    assert list(map(json.loads, back(kept, rows, chunks))) == wanted
    if columns:
        table = pa.table(arrays)
        assert list(map(json.loads, back(kept, rows, table))) == wanted
        coded = {k: a.dictionary_encode() if a.type in (pa.string(), pa.int64()) else a for k, a in arrays.items()}
        assert list(map(json.loads, back(kept, rows, coded))) == wanted


@given(data=st.data())
def test_numpy_is_what_lists_are(kept: pomai.Database, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["?", "i1", "<i2", ">i4", "i8", "u1", ">u2", "u4", "<u8", "f2", ">f4", "f8", "U"]))
    raw = data.draw(st.binary(min_size=64, max_size=64))
    if kind == "U":
        array = np.array(data.draw(st.lists(TEXT, min_size=8, max_size=8)))
    else:
        array = np.frombuffer(raw, kind) if kind != "?" else np.frombuffer(raw, "u1") > 127
    array = array[: len(array) // 8 * 8]
    if array.dtype.kind == "f":
        array = array[np.isfinite(array)]
    for shown in (array, array[::2], array[::-1], array[: len(array) // 2 * 2].reshape(-1, 2)):
        if shown.size:
            wanted = [text_of({"x": value}) for value in shown.tolist()]
            assert back(kept, len(shown), {"x": shown}) == wanted


@given(st.lists(FLOAT, min_size=1, max_size=30))
@example([0.1, -0.0, 1e16, 1e15, 5e-324, 1.7976931348623157e308, 123456789012345680.0, 1e22, 1e23, 2.0**53])
def test_floats_are_those_of_repr(kept: pomai.Database, values: list[float]) -> None:
    assert back(kept, len(values), {"x": np.array(values)}) == [f'{{"x":{v!r}}}' for v in values]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_narrow_floats_read_back(kept: pomai.Database, values: list[float]) -> None:
    got = [json.loads(text)["x"] for text in back(kept, len(values), {"x": pa.array(values, pa.float32())})]
    assert np.array_equal(np.array(got, np.float32), np.array(values, np.float32))
    assert [math.copysign(1, v) for v in got] == [math.copysign(1, v) for v in values]
    got = [json.loads(text)["x"] for text in back(kept, len(values), {"x": np.array(values, np.float32)})]
    assert got == values  # NumPy's are written as the float64 that they are


class Odd(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def __getitem__(self, key: str) -> Any:
        return self.columns[key]

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


NOW = datetime.datetime(2024, 2, 29, 1, 2, 3, 4000)


@pytest.mark.parametrize(("column", "wanted"), [
    ([1, "a", None], [1, "a", None]), ([1, 2.5, True], [1, 2.5, True]), ([{"a": 1}, None, []], [{"a": 1}, None, []]),
    ([2**64, -1, 2**70], [2**64, -1, 2**70]), ([2**63, -1, 0], [2**63, -1, 0]), ([-1, 2**63, 0], [-1, 2**63, 0]),
    ([None, None, 2**63], [None, None, 2**63]), (("a", "b", "c"), ["a", "b", "c"]), (range(3), [0, 1, 2]),
    (np.array([NOW] * 3, "M8[us]"), [NOW.isoformat()] * 3), ([NOW, NOW.date(), NOW.time()], [
        NOW.isoformat(), NOW.date().isoformat(), NOW.time().isoformat()]),
    ([np.int64(1), np.float32(0.5), np.array([1, 2])], [1, 0.5, [1, 2]]),
    (np.array(["a", None, 3], object), ["a", None, 3]), (np.ma.masked_array([1, 2, 3], [0, 1, 0]), [1, None, 3]),
    (np.zeros((3, 0)), [[], [], []]), (np.arange(12).reshape(3, 2, 2), [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9], [10, 11]]]),
    (bytearray(b"abc"), [97, 98, 99]), (memoryview(b"abc"), [97, 98, 99]), ([[1], ["a"], [[]]], [[1], ["a"], [[]]]),
    ([[[1]], None, [[2, None]]], [[[1]], None, [[2, None]]]), (["é\0", "\U0001f600", ""], ["é\0", "\U0001f600", ""]),
    (pa.array([[{"a": [1]}], None, []]), [[{"a": [1]}], None, []]), (pa.array(["a", "bb", None], pa.string_view()), ["a", "bb", None]),
])  # fmt: skip
def test_any_column(db: pomai.Database, column: Any, wanted: list[Any]) -> None:
    assert back(db, 3, {"x": column, "y": [1, 2, 3]}) == [text_of({"x": w, "y": i + 1}) for i, w in enumerate(wanted)]
    assert back(db, 3, Odd(x=column)) == [text_of({"x": w}) for w in wanted]


def moments(unit: str) -> Any:
    """Times that the unit has, and one that is missing."""
    return np.array(["1969-12-31T23:59:59", "2024-02-29T01:02:03", "NaT"], f"M8[{unit}]")


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns"])
def test_times_of_numpy_are_as_those_of_python(db: pomai.Database, unit: str) -> None:
    times = moments(unit)
    held = times.astype("M8[D]" if unit in "YMWD" else "M8[us]").tolist()
    plain = [None if t is None else t.isoformat() for t in held]
    wanted = [text_of({"t": t}) for t in plain]
    everywhere = [
        {"t": times}, {"t": times.astype(times.dtype.newbyteorder())}, {"t": list(times)}, {"t": times.astype(object)},
        {"t": np.repeat(times, 2)[::2]}, {"t": np.ma.masked_array(times)}, [{"t": t} for t in times],
    ]  # fmt: skip
    if unit == "ns":
        everywhere.pop(3)  # NumPy makes plain numbers of these
    for columns in everywhere:
        assert back(db, 3, columns) == wanted
    assert back(db, 1, {"t": times.reshape(1, 3)}) == [text_of({"t": plain})]
    assert back(db, 1, [{"t": {"u": times[:2]}}]) == [text_of({"t": {"u": plain[:2]}})]
    masked = np.ma.masked_array(times, [True, False, False])
    assert back(db, 3, {"t": masked}) == [text_of({"t": None})] + wanted[1:]
    db.delete(filters={})
    db.add(np.ones((3, 2)), metadata={"t": times})
    assert db.count(filters={"t": times[1]}) == db.count(filters=F.in_("t", times[1:2])) == 1
    assert db.count(filters={"t": {"$in": times}}) == db.count(filters=F.in_("t", list(times))) == 3
    assert db.count(filters=F.gt("t", times[0])) == db.count(filters={"t": {"$lte": times[0]}}) == 1
    assert db.count(filters={"t": times[2]}) == db.count(filters={"t": None}) == 1
    assert db.update(filters={"t": times[1]}, metadata={"t": times[0]}) == 1 and db.count(filters={"t": times[0]}) == 2


def test_times_of_python_in_filters(db: pomai.Database) -> None:
    db.add(np.ones((3, 2)), metadata={"t": [NOW, NOW.date(), NOW.time()]})
    for value in (NOW, NOW.date(), NOW.time()):
        assert db.count(filters={"t": value}) == db.count(filters=F.eq("t", value)) == 1
    assert db.count(filters=F.eq("t", np.datetime64(NOW, "ns"))) == db.count(filters=F.gte("t", NOW)) == 1


@pytest.mark.parametrize(("time", "wanted"), [
    (np.datetime64(1, "ns"), "1970-01-01T00:00:00.000000001"),
    (np.datetime64(-1, "ns"), "1969-12-31T23:59:59.999999999"),
    (np.datetime64(-1000, "ns"), "1969-12-31T23:59:59.999999"),
    (np.datetime64(4 * 10**12, "ps"), "1970-01-01T00:00:04"),
    (np.datetime64(1020, "ps"), "1970-01-01T00:00:00.000000001020"),
    (np.datetime64(10**9, "as"), "1970-01-01T00:00:00.000000001"),
    (np.datetime64(3, "25s"), "1970-01-01T00:01:15"), (np.datetime64(3, "25ns"), "1970-01-01T00:00:00.000000075"),
    (np.datetime64("NaT"), None), (np.datetime64("NaT", "ns"), None), (np.datetime64("0001-01-01", "D"), "0001-01-01"),
    (np.datetime64("9999-12-31T23:59:59", "s"), "9999-12-31T23:59:59"),
    (np.zeros(1, [("a", "M8[ns]"), ("b", "i4")])[0], ["1970-01-01T00:00:00", 0]),
])  # fmt: skip
def test_one_time_of_numpy(db: pomai.Database, time: Any, wanted: Any) -> None:
    for metadata in ([{"t": time}], {"t": [time]}, {"t": np.array([time])}):
        assert back(db, 1, metadata) == [text_of({"t": wanted})]


@pytest.mark.parametrize(("value", "error", "words"), [
    (np.timedelta64(1, "ns"), TypeError, r"timedelta64\[ns\] is a span of time.*give a number"),
    (np.timedelta64(1, "s"), TypeError, r"timedelta64\[s\] is a span of time"),
    (np.timedelta64("NaT", "D"), TypeError, r"timedelta64\[D\] is a span of time"),
    (datetime.timedelta(1), TypeError, "timedelta"),
    (np.datetime64(-1, "Y") - 1970, ValueError, "not of the years 1 to 9999"),
    (np.datetime64("12000-01-01", "s"), ValueError, "not of the years 1 to 9999"),
    (np.datetime64(2**62, "s"), ValueError, "not of the years 1 to 9999"),
    (np.datetime64(2**62, "25s"), ValueError, "not of the years 1 to 9999"),
])  # fmt: skip
def test_times_without_a_text(db: pomai.Database, value: Any, error: type[Exception], words: str) -> None:
    for columns in ({"n": [1], "took": [value]}, {"took": np.array([value])}, [{"n": 1, "took": value}]):
        with pytest.raises(error, match=f"'took'.*{words}") as caught:
            back(db, 1, columns)
        assert isinstance(caught.value, pomai.InvalidError)
    for filters, path in (
        ({"took": value}, r"took: "), (F.gt("n", 1) & F.gt("took", value), r"\$and\[1\]\.took\.\$gt: "),
        ({"took": {"$in": [1, value]}}, r"took\.\$in\[1\]: "),
    ):  # fmt: skip
        with pytest.raises(error, match=f"filters: {path}.*{words}"):
            db.count(filters=filters)
    with pytest.raises(error, match=words):
        db.count(filters=F.in_("took", np.array([value])))
    assert len(db) == 0


def test_times_of_pandas(db: pomai.Database) -> None:
    pandas = pytest.importorskip("pandas")
    times = pandas.Series(pandas.to_datetime(["2024-02-29T01:02:03.000000004", None]))
    wanted = [text_of({"t": "2024-02-29T01:02:03.000000004"}), text_of({"t": None})]
    for column in (times, list(times), times.to_numpy()):
        assert back(db, 2, {"t": column}) == wanted


def test_rows_of_an_arrow_table(db: pomai.Database) -> None:
    table = pa.table({"a": [1, 2, 3, 4], "b": ["x", None, "y", "z"]})
    wanted = [text_of(row) for row in table.to_pylist()]
    for given_ in (table, table.to_batches()[0], pa.concat_tables([table[:1], table[1:1], table[1:]])):
        assert back(db, 4, given_) == wanted
    assert back(db, 2, table[1:3]) == wanted[1:3]
    structs = pa.array([{"a": 1}, None, {"a": None}, {"a": 4}])
    assert back(db, 4, structs) == ['{"a":1}', None, '{"a":null}', '{"a":4}']
    for wrong, word in ((table[:3], "fewer"), (pa.concat_tables([table, table]), "more")):
        with pytest.raises(pomai.InvalidError, match=word):
            back(db, 4, wrong)
    with pytest.raises(pomai.InvalidTypeError, match="expected a table"):
        back(db, 4, pa.array([1, 2, 3, 4]))


def test_polars(db: pomai.Database) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, None], "b": ["x", "y"], "c": [[1.5], []]})
    assert back(db, 2, frame) == ['{"a":1,"b":"x","c":[1.5]}', '{"a":null,"b":"y","c":[]}']
    assert back(db, 2, {"a": frame["b"], "k": frame["b"].cast(polars.Categorical)}) == ['{"a":"x","k":"x"}', '{"a":"y","k":"y"}']


def test_json_stays_as_it_is(db: pomai.Database) -> None:
    texts = [b'{"a": 1.00}', b" [1 , 2]\n", b"null", b'"\\u0041"']
    field = pa.field("j", pa.string(), metadata={"ARROW:extension:name": "arrow.json"})
    table = pa.Table.from_arrays([pa.array([t.decode() for t in texts])], schema=pa.schema([field]))
    assert back(db, 4, table) == [f'{{"j":{t.decode().strip()}}}' for t in texts]
    bad = pa.Table.from_arrays([pa.array(["1", "{]"])], schema=pa.schema([field]))
    with pytest.raises(pomai.InvalidError, match="column 'j', row 1: the text is not JSON"):
        back(db, 2, bad)


@pytest.mark.parametrize("inside", [0, 1, 3])
def test_json_as_deep_as_a_document_may_be(db: pomai.Database, inside: int) -> None:
    """Below structs it is deeper: what a filter would not read is not stored."""
    def table(levels: int) -> Any:
        texts = pa.array(["[" * levels + "]" * levels])
        field = pa.field("j", texts.type, metadata={"ARROW:extension:name": "arrow.json"})
        for i in range(inside):
            texts = pa.StructArray.from_arrays([texts], fields=[field])
            field = pa.field(f"s{i}", texts.type)
        return pa.Table.from_arrays([pa.array([1]), texts], schema=pa.schema([pa.field("k", pa.int64()), field]))

    back(db, 1, table(1023 - inside))
    assert db.count(filters={"k": 1}) == 1
    with pytest.raises(pomai.InvalidError, match="row 0: the text is not JSON, or .* 1,024 deep"):
        back(db, 1, table(1024 - inside))


@pytest.mark.parametrize(("columns", "error", "words"), [
    ({"a": [1.0, math.nan]}, ValueError, "column 'a', row 1: NaN"),
    ({"a": np.array([1.0, math.inf])}, ValueError, "column 'a', row 1: NaN"),
    ({"a": np.array([1.0, math.nan], np.float16)}, ValueError, "column 'a', row 1: NaN"),
    ({"a": pa.array([1.0, -math.inf], pa.float32())}, ValueError, "column 'a', row 1: NaN"),
    ({"a": [[1.0], [math.nan]]}, ValueError, "column 'a', row 1: NaN"),
    ({"a": [1, math.nan]}, ValueError, r"metadata\[1\]"),
    ({"a": pa.chunked_array([[1.0, 2.0], [math.nan]])}, ValueError, "behind row 2: column 'a', row 0: NaN"),
    ({"a": pa.array([b"x", b"y"])}, TypeError, "column 'a' is of the Arrow type binary, which metadata cannot hold"),
    ({"b": [1, 2], "a": pa.array([1, 2], pa.duration("s"))}, TypeError, r"column 'a' is of the Arrow type duration\[s\]"),
    ({"a": pa.array([{"x": 1}, None], pa.map_(pa.string(), pa.int64()))}, TypeError, "of the Arrow type map,"),
    ({"a": [b"x", b"y"]}, TypeError, "bytes"), ({"a": [1, {2}]}, TypeError, "set"),
    ({"a": ["x", "\ud800"]}, ValueError, r"metadata\[1\]\['a'\] .*not Unicode"), ({"\ud800": [1, 2]}, ValueError, "not Unicode"),
    ({"a": pa.array([1])}, ValueError, "1 values for 2 vectors"), ({"a": np.arange(3)}, ValueError, "3 values for 2 vectors"),
    ({"a": np.float64(3)}, TypeError, "column of 2"), ({"a": b"xy"}, TypeError, "column of 2"), ({"a": {}}, TypeError, "column of 2"),
    ({1: [1, 2]}, TypeError, "key 1"), ({"a\0": [1]}, ValueError, "1 values"),
    ({"a": [1], "b": [1, 2]}, ValueError, r"metadata\['a'\] has 1 values"),
])  # fmt: skip
def test_what_is_refused(db: pomai.Database, columns: Any, error: type[Exception], words: str) -> None:
    rows = 3 if "behind" in words else 2
    with pytest.raises(error, match=words) as caught:
        back(db, rows, columns)
    assert isinstance(caught.value, pomai.Error) and len(db) == 0


@pytest.mark.parametrize(("value", "shape", "error", "words"), [
    (np.int8(1), (2**61,), ValueError, "2305843009213693952 values for 2 vectors"),
    (np.int8(1), (2**31, 2**30), ValueError, "2147483648 values for 2 vectors"),
    (np.int8(1), (2, 2**61), MemoryError, "^$"), (np.bool_(True), (2, 2**60), MemoryError, "^$"),
    (np.float16(1), (2**40,), ValueError, "1099511627776 values for 2 vectors"),
    (np.datetime64("2020-01-01"), (2**40,), ValueError, "1099511627776 values; expected a column of 2"),
    (np.str_("x"), (2**40,), ValueError, "1099511627776 values for 2 vectors"),
])  # fmt: skip
def test_repeated_without_memory(
    db: pomai.Database, value: Any, shape: tuple[int, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        back(db, 2, {"a": np.broadcast_to(value, shape)})


def test_a_key_with_nul(db: pomai.Database) -> None:
    assert back(db, 2, {"a\0": [1, 2], "b": np.arange(2)}) == ['{"a\\u0000":1,"b":0}', '{"a\\u0000":2,"b":1}']


def test_no_columns(db: pomai.Database) -> None:
    assert back(db, 2, {}) == ["{}", "{}"]


def test_a_batch_that_is_split(db: pomai.Database) -> None:
    """More than the engine takes at once: documents go with their rows."""
    rows = np.broadcast_to(np.float32(1), (300, 65536))
    ids = db.add(rows, metadata={"n": np.arange(300), "s": pa.array([f"row {i}" for i in range(300)])})
    assert [db.get(int(i), vectors=False).metadata["n"] for i in ids] == list(range(300))


def test_update_takes_columns(db: pomai.Database) -> None:
    db.add(np.ones((3, 2)), ids=[1, 2, 3], metadata=[{"a": 1, "b": 1}] * 3)
    assert db.update([1, 3], metadata={"a": np.array([5, 6]), "b": pa.array([None, 7])}) == 2
    assert [row.metadata for row in db.get([1, 2, 3])] == [{"a": 5}, {"a": 1, "b": 1}, {"a": 6, "b": 7}]


@pytest.mark.parametrize("given", [
    {"metadata": [{"a": 1}]}, {"metadata": {"a": [1]}}, {"metadata": {"a": np.arange(3)}}, {"metadata": {"a\0": [1]}},
    {"metadata": pa.table({"a": [1]})}, {"metadata": pa.table({"a": [1, 2, 3]})},
    {"documents": ["{}"]}, {"documents": "{}"},
])  # fmt: skip
def test_an_update_has_no_vectors(db: pomai.Database, given: dict[str, Any]) -> None:
    db.add(np.ones((2, 2)), ids=[1, 2])
    with pytest.raises(pomai.InvalidError, match="2 ids"):
        db.update([1, 2], **given)
    with pytest.raises(pomai.InvalidError, match="2 dicts of metadata for 1 filter"):
        db.update(filters={}, metadata=[{}, {}])
    with pytest.raises(pomai.InvalidError, match="2 documents for 1 filter"):
        db.update(filters={}, documents=["", ""])


def test_nothing_is_kept(db: pomai.Database) -> None:
    array, column = np.arange(1000), pa.array([f"text {i}" for i in range(1000)])
    before = pa.total_allocated_bytes()
    for _ in range(20):
        back(db, 1000, {"a": array, "b": column, "c": column.to_pylist(), "d": [[i] for i in range(1000)]})
    array.resize(2000, refcheck=False)  # refused while a buffer of it is borrowed
    gc.collect()
    assert pa.total_allocated_bytes() <= before
