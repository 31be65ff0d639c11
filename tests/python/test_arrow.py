# SPDX-License-Identifier: Apache-2.0
"""Arrow out and in: with pyarrow, and Polars, DuckDB and pandas if they are there, and with arrays that are wrong."""

import ctypes
import datetime
import gc
import json
import resource
import sys
import threading

import pomai
import pytest
from hypothesis import given
from hypothesis import strategies as st

pa = pytest.importorskip("pyarrow")
np = pytest.importorskip("numpy")

NS = "timestamp[ns, tz=UTC]"


@pytest.fixture
def db(tmp_path):
    with pomai.open(tmp_path / "db", durability="os") as opened:
        yield opened


@pytest.fixture
def other(tmp_path):
    with pomai.open(tmp_path / "other", durability="os") as opened:
        yield opened


def fixed(values, dim, kind=None):
    return pa.FixedSizeListArray.from_arrays(pa.array(values, kind or pa.float32()), dim)


def content(collection):
    """Everything but stamps, by id."""
    return {r.id: (bytes(memoryview(r.vector)), r.document, r.expiry) for r in collection}


def fill(db, count=1000, dim=8):
    vectors = np.random.default_rng(1).random((count, dim), dtype="float32")
    db.add(vectors, documents=[None if i % 3 == 0 else f'{{"n":{i}}}' for i in range(count)],
           expiry=[0 if i % 2 else 2**62 + i for i in range(count)])
    return vectors


# ---- out ----

def test_table(db):
    vectors = fill(db)
    table = db.to_arrow(batch_rows=100)
    table.validate(full=True)
    assert table.schema.names == ["id", "vector", "document", "expiry", "stamp"]
    assert [str(t) for t in table.schema.types] == ["uint64", "fixed_size_list<item: float>[8]", "large_string", NS, NS]
    assert not table.schema.field("id").nullable
    assert table.column("id").num_chunks >= 10
    table = table.sort_by("id")
    assert table["id"].to_pylist() == list(range(1000))
    assert np.array_equal(np.array(table["vector"].to_pylist(), "float32"), vectors)
    assert table["document"].to_pylist() == [None if i % 3 == 0 else f'{{"n":{i}}}' for i in range(1000)]
    assert table["expiry"].cast("int64").to_pylist() == [None if i % 2 else 2**62 + i for i in range(1000)]
    assert table["stamp"].cast("int64").to_pylist() == [db.get(i).stamp for i in range(1000)]


def test_nothing_is_copied_but_texts(db):
    fill(db)
    before = pa.total_allocated_bytes()
    batch = pa.record_batch(next(db.scan()))
    assert pa.total_allocated_bytes() == before
    rows = next(db.scan())
    address = rows.vectors.__array_interface__["data"][0]
    assert pa.record_batch(rows)["vector"].values.buffers()[1].address == address
    assert batch.num_rows == 1000


def test_string_ids_and_options(db):
    names = db.collection("names", 2, ids="string")
    names.add([[1, 2], [3, 4]], ids=["é", "b"], documents=["x", ""])
    table = names.to_arrow().sort_by("id")
    assert table["id"].to_pylist() == ["b", "é"] and table["document"].to_pylist() == [None, "x"]
    assert names.to_arrow(vectors=False, documents=False).schema.names == ["id", "expiry", "stamp"]
    assert str(names.to_arrow(binary=True).schema.field("id").type) == "binary"


def test_what_is_not_text(db):
    db.add([[1.0]], documents=[b"\xff\x00"])
    with pytest.raises(Exception, match="binary=True"):
        db.to_arrow()
    assert db.to_arrow(binary=True)["document"].to_pylist() == [b"\xff\x00"]


def test_expiry_that_a_timestamp_cannot_hold(db):
    db.add([[1.0]], expiry=[2**64 - 2])
    with pytest.raises(Exception, match="2262"):
        db.to_arrow()


def test_empty(db):
    assert db.to_arrow().num_rows == 0
    assert db.collection("empty", 3).to_arrow().num_rows == 0
    assert pa.record_batch(db.get([1, 2]))["id"].to_pylist() == [1, 2]


def test_rows_that_were_not_found(db):
    db.add([[1.0, 2.0]], ids=[5], documents=["d"])
    batch = pa.record_batch(db.get([4, 5]))
    batch.validate(full=True)
    assert batch["id"].to_pylist() == [4, 5]
    assert batch["vector"].to_pylist() == [None, [1.0, 2.0]]
    assert batch["stamp"].null_count == 1 and batch["document"].to_pylist() == [None, "d"]


def test_result(db):
    fill(db, 50)
    result = db.search([0.5] * 8, k=5, include=["documents", "vectors"])
    batch = pa.record_batch(result)
    batch.validate(full=True)
    assert batch["id"].to_pylist() == list(result.ids)
    assert batch["distance"].to_pylist() == list(result.distances)
    assert batch["document"].to_pylist() == result.documents
    assert pa.record_batch(db.search([0.5] * 8, k=2)).schema.names == ["id", "distance", "document"]


def test_arrays_outlive_the_database_and_are_released_in_any_thread(tmp_path):
    db = pomai.open(tmp_path / "db", durability="os")
    vectors = fill(db, 100)
    table = [db.to_arrow()]
    column = table[0]["vector"]
    db.close()
    thread = threading.Thread(target=table.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert sorted(map(tuple, column.to_pylist())) == sorted(map(tuple, vectors.tolist()))


def test_stream_of_a_closed_database(tmp_path):
    db = pomai.open(tmp_path / "db", durability="os")
    fill(db, 100)
    reader = pa.RecordBatchReader.from_stream(db.scan(batch_rows=10))
    kept = reader.read_next_batch()
    db.close()
    with pytest.raises(Exception, match="closed"):
        reader.read_next_batch()
    assert kept.num_rows == 10
    with pytest.raises(pomai.ClosedError):
        db.__arrow_c_stream__()


def test_without_pyarrow(db, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(pomai.UnsupportedError, match="pip install pyarrow"):
        db.to_arrow()


def test_unused_capsules_leak_nothing(db):
    fill(db, 100)
    for _ in range(10):
        db.__arrow_c_stream__()
        next(db.scan()).__arrow_c_array__()
        db.search([0.5] * 8).__arrow_c_array__()


# ---- out and in again ----

def through_polars(table):
    return pytest.importorskip("polars").DataFrame(table)


def through_duckdb(given):  # named in the query
    duckdb = pytest.importorskip("duckdb")
    return duckdb.sql("SELECT id, vector, document, expiry FROM given")


@pytest.mark.parametrize("through", [
    lambda t: t, lambda t: t.to_reader(), lambda t: t.combine_chunks(), through_polars, through_duckdb,
    lambda t: t.slice(0),
])
def test_comes_back_equal(db, other, through):
    fill(db)
    ids = other.add(through(db.to_arrow(batch_rows=300)))
    assert sorted(ids) == list(range(1000))
    assert content(other) == content(db)


def test_collections_and_scans_go_straight_in(db, other):
    fill(db)
    other.add(db)
    assert content(other) == content(db)
    other.upsert(db.scan(batch_rows=10))
    assert content(other) == content(db)
    other.add_batch(next(db.scan()))


def test_string_ids_come_back(db, other):
    a = db.collection("a", 2, ids="string")
    a.add([[1, 2], [3, 4], [5, 6]], ids=["é", "b", "a much longer name than twelve bytes"])
    b = other.collection("b", 2, ids="string")
    polars = pytest.importorskip("polars")
    assert set(b.add(polars.DataFrame(a))) == {"é", "b", "a much longer name than twelve bytes"}
    assert content(a) == content(b)


def test_table_makes_default_with_string_ids(db):
    assert db.add(pa.table({"id": ["x"], "vector": [[1.0, 2.0]]})) == ["x"]
    assert db.info.id_kind == "string"


@pytest.mark.parametrize("frame", ["polars", "duckdb", "pandas"])
def test_frames(db, frame):
    module = pytest.importorskip(frame)
    data = {"id": [1, 2], "vector": [[1.0, 2.0], [3.0, 4.0]], "title": ["a", None]}
    if frame == "duckdb":
        rows = pa.table(data)  # noqa: F841 - named in the query
        given = module.sql("SELECT * FROM rows")
    else:
        given = module.DataFrame(data)
    assert list(db.add(given)) == [1, 2]
    assert db.get(1).metadata == {"title": "a"} and db.get(2).metadata == {"title": None}
    assert list(db.get(2).vector) == [3, 4]


# ---- columns in ----

@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint16(), pa.int64()])
@pytest.mark.parametrize("layout", ["fixed", "list", "large", "list_view"])
def test_vectors_of_any_number(db, kind, layout):
    values = np.arange(8).astype(kind.to_pandas_dtype())
    column = fixed(values, 2, kind)
    if layout != "fixed":
        make = {"list": pa.list_, "large": pa.large_list, "list_view": pa.list_view}[layout]
        column = pa.array([[x for x in row] for row in values.reshape(4, 2)], make(kind))
    db.add(pa.table({"vector": column}))
    assert sorted(list(r.vector) for r in db) == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64()])
def test_ids_of_any_int(db, kind):
    ids = db.add(pa.table({"id": pa.array([3, 1, 2], kind), "vector": fixed([1, 2, 3], 1)}))
    assert list(ids) == [3, 1, 2] and ids.dtype == "uint64"
    assert list(db.get(1).vector) == [2]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(),
                                  pa.dictionary(pa.int8(), pa.string())])
def test_string_ids_of_any_type(db, kind):
    names = ["a", "b" * 40, "c"]
    ids = pa.array(names).dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else pa.array(names).cast(kind)
    assert db.add(pa.table({"id": ids, "vector": fixed([1, 2, 3], 1)})) == names
    assert list(db.get("c").vector) == [3]


def test_slices(db):
    table = pa.table({
        "id": list(range(100)), "vector": fixed(range(200), 2), "document": [f"d{i}" for i in range(100)],
        "expiry": pa.array([None if i % 2 else 2**62 for i in range(100)], pa.timestamp("ns", "UTC")),
    }).slice(33, 10)
    db.add(table)
    batch = pa.record_batch({"id": list(range(100)), "vector": fixed(range(200), 2)}).slice(70, 5)
    db.add(pa.RecordBatch.from_struct_array(batch.to_struct_array().slice(1, 2)))
    assert sorted(r.id for r in db) == [*range(33, 43), 71, 72]
    assert all(list(r.vector) == [2 * r.id, 2 * r.id + 1] for r in db)
    assert db.get(34).document == "d34" and db.get(34).expiry == 2**62 and db.get(35).expiry is None


def test_sliced_bools_lists_and_metadata(db):
    table = pa.table({
        "vector": pa.array([[float(i)] for i in range(40)], pa.list_(pa.float32())),
        "flag": [None if i % 5 == 0 else i % 2 == 0 for i in range(40)], "list": [[i, i + 1] for i in range(40)],
        "text": pa.array([f"t{i % 3}" for i in range(40)]).dictionary_encode(),
    }).slice(11, 20)
    db.add(table)
    assert [r.metadata for r in sorted(db, key=lambda r: r.id)] == table.drop_columns("vector").to_pylist()


def test_assigned_ids_and_chunks(db):
    table = pa.table({"vector": pa.chunked_array([fixed(range(4), 2), fixed([], 2), fixed(range(6), 2)])})
    assert list(db.add(table)) == [0, 1, 2, 3, 4]
    assert len(db) == 5


def test_plain_arrays_of_lists(db):
    assert db.add(fixed(range(6), 2), ids=[7, 8, 9]) == [7, 8, 9]
    assert len(db.add(pa.chunked_array([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]]), metadata=[{"a": 1}] * 3)) == 3
    assert len(db.search(pa.array([[1.0, 2.0]]), k=1)) == 1
    with pytest.raises(pomai.DimensionError):
        db.add(pa.chunked_array([[[1.0, 2.0]], [[3.0]]]))


def test_names(db):
    table = pa.table({"key": [5], "a": fixed([1, 2], 2), "b": fixed([3, 4], 2), "text": ["t"], "n": [1],
                      "until": pa.array([2**62], pa.int64())})
    with pytest.raises(pomai.InvalidError, match="column="):
        db.add(table)
    db.add(table, ids="key", documents="text", expiry="until", column="b", metadata=[])
    row = db.get(5)
    assert (list(row.vector), row.document, row.expiry) == ([3, 4], "t", 2**62)
    db.add(table, ids="key", column="a", metadata=["n", "text"])
    assert db.get(5).metadata == {"n": 1, "text": "t"}
    for wrong in ({"ids": "no"}, {"ids": [5]}, {"documents": ["t"]}, {"metadata": ["no"]}, {"column": "no"},
                  {"column": 3}, {"expiry": 5}, {"metadata": 4}):
        with pytest.raises((pomai.InvalidError, TypeError)):
            db.add(table, **({"column": "a"} | wrong))
    with pytest.raises(pomai.InvalidTypeError):
        db.add([[1.0, 2.0]], column="a")


def test_metadata_of_every_type(db):
    day, time = datetime.date(1969, 2, 28), datetime.datetime(2024, 2, 29, 1, 2, 3, 4000)
    columns = {
        "n": pa.array([None], pa.null()), "b": [True], "i": pa.array([-5], pa.int16()),
        "u": pa.array([2**64 - 1], pa.uint64()),
        "f": [0.1], "f4": pa.array([0.1], pa.float32()), "f2": pa.array([np.float16(0.1)]), "t": ['"\\\n\x01é'],
        "v": pa.array(["view of more than twelve"], pa.string_view()), "d": [day], "d64": pa.array([day], pa.date64()),
        "ts": [time], "z": pa.array([time], pa.timestamp("ms", "Europe/Paris")),
        "s": pa.array([time.replace(microsecond=0)], pa.timestamp("s")),
        "c": [datetime.time(1, 2, 3)], "l": [[1, None]], "w": fixed([1.5, 2], 2), "st": [{"x": [{"y": "z"}]}],
        "q\"": [1],
    }
    db.add(pa.table({"vector": pa.array([[1.0, 2.0]], pa.list_(pa.float32())), **columns}), column="vector")
    got = db.get(0).metadata
    assert got == {
        "n": None, "b": True, "i": -5, "u": 2**64 - 1, "f": 0.1, "f4": 0.1, "f2": 0.099975586, "t": '"\\\n\x01é',
        "v": "view of more than twelve", "d": "1969-02-28", "d64": "1969-02-28", "ts": "2024-02-29T01:02:03.004000",
        "z": "2024-02-29T01:02:03.004+00:00", "s": "2024-02-29T01:02:03", "c": "01:02:03", "l": [1, None],
        "w": [1.5, 2], "st": {"x": [{"y": "z"}]}, 'q"': 1,
    }


def test_dates_are_those_of_python(db):
    years, places = (1, 1582, 1900, 1999, 2000, 2024, 2100, 9999), ((1, 1), (2, 28), (3, 1), (12, 31))
    days = [datetime.date(y, m, d) for y in years for m, d in places]
    db.add(pa.table({"vector": fixed([1] * len(days), 1), "d": days}))
    assert [r.metadata["d"] for r in sorted(db, key=lambda r: r.id)] == [d.isoformat() for d in days]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_expiry_of_any_unit(db, unit):
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    db.add(pa.table({"vector": fixed([1, 2], 1), "expiry": pa.array([4 * 10**9 * scale, None], pa.timestamp(unit))}))
    assert [db.get(i).expiry for i in (0, 1)] == [4 * 10**18, None]


DAY = datetime.datetime(2050, 1, 1)
DAY_NS = 2524608000 * 10**9


@pytest.mark.parametrize("given", [
    pa.array([DAY, None], pa.timestamp("us")), pa.array([DAY, None], pa.timestamp("s", "UTC")),
    pa.array([DAY.date(), None]), pa.array([DAY.date(), None], pa.date64()), pa.array([DAY_NS, None]),
    pa.chunked_array([pa.array([], pa.timestamp("ms")), [DAY], pa.array([None], pa.timestamp("ms"))]),
    pa.array([None, DAY, None], pa.timestamp("us"))[1:],
], ids=lambda given: f"{type(given).__name__} of {given.type}")
def test_expiry_as_an_arrow_column(db, given):
    db.add([[1.0], [2.0]], ids=[1, 2], expiry=given)
    assert [db.get(i).expiry for i in (1, 2)] == [DAY_NS, None]


def test_expiry_as_a_series_of_polars(db):
    polars = pytest.importorskip("polars")
    times = polars.Series([DAY, None])
    for given in (times, times.cast(polars.Datetime("ns")), times.cast(polars.Date), polars.concat([times, times])[2:]):
        db.add([[1.0], [2.0]], ids=[1, 2], expiry=given)
        assert [db.get(i).expiry for i in (1, 2)] == [DAY_NS, None]


@pytest.mark.parametrize("given, kind, part", [
    (pa.array(["a", "b"]), pomai.InvalidTypeError, "expected timestamps"),
    (pa.array([1, 2], pa.duration("s")), pomai.InvalidTypeError, "expected timestamps"),
    (pa.array([], pa.string()), pomai.InvalidTypeError, "expected timestamps"),
    (pa.table({"a": [DAY, DAY]}), pomai.InvalidTypeError, "expected timestamps"),
    (pa.array([DAY], pa.timestamp("s")), pomai.InvalidError, "1 times of expiry for 2"),
    (pa.chunked_array([[DAY], [DAY], [DAY]]), pomai.InvalidError, "3 times of expiry for 2"),
    (pa.array([DAY, datetime.date(2600, 1, 1)], pa.date32()), pomai.InvalidError, "row 1: the expiry is before 1970, or"),
    (pa.chunked_array([[DAY], [datetime.datetime(2600, 1, 1)]], pa.timestamp("s")), pomai.InvalidError, "row 1: the exp"),
    (pa.array([DAY, datetime.datetime(1969, 1, 1)]), pomai.InvalidError, "row 1: the expiry is before 1970"),
    (pa.array([1800000000, 1]), pomai.InvalidError, "nanoseconds"),
], ids=str)
def test_arrow_columns_that_are_no_expiry(db, given, kind, part):
    with pytest.raises(kind, match=part):
        db.add([[1.0], [2.0]], ids=[1, 2], expiry=given)
    assert len(db) == 0


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_expiry_in_all_of_64_bits(db, unit):
    late = [datetime.datetime(2300, 1, 1), datetime.datetime(2553, 1, 1), datetime.datetime(2600, 1, 1)]
    ns = [int((t - datetime.datetime(1970, 1, 1)).total_seconds()) * 10**9 for t in late]
    good = pa.array(late[:2], pa.timestamp(unit))
    db.add(pa.table({"vector": fixed([1, 2], 1), "expiry": good}))
    assert [db.get(i).expiry for i in (0, 1)] == ns[:2]
    with pytest.raises(pomai.InvalidError, match="row 1: the expiry"):
        db.add(pa.table({"vector": fixed([1, 2], 1), "expiry": pa.array(late[1:], pa.timestamp(unit))}))


V = fixed([1, 2], 1)


@pytest.mark.parametrize("table, error, match", [
    ({"vector": pa.array([[1.0], None])}, pomai.InvalidError, "row 1: there is no vector"),
    ({"vector": pa.array([[1.0], [None]])}, pomai.InvalidError, "row 1: the vector has a null"),
    ({"vector": pa.array([[1.0], [2.0, 3.0]])}, pomai.DimensionError, "ragged"),
    ({"vector": pa.array([[], []], pa.list_(pa.float32()))}, pomai.Error, None),
    ({"vector": pa.array([["a"], ["b"]])}, pomai.InvalidTypeError, "list of the Arrow type string"),
    ({"vector": pa.array([1.0, 2.0])}, pomai.InvalidTypeError, "lists of floats"),
    ({"vector": pa.array([[1.0], [float("nan")]])}, pomai.NotFiniteError, None),
    ({"vector": V, "id": pa.array([1, None])}, pomai.InvalidError, "row 1: there is no id"),
    ({"vector": V, "id": pa.array([1, -1])}, pomai.IdError, "row 1: -1"),
    ({"vector": V, "id": pa.array([1, 1])}, pomai.DuplicateIdError, None),
    ({"vector": V, "id": pa.array([1.0, 2.0])}, pomai.InvalidTypeError, "ids are ints or strings"),
    ({"vector": V, "id": pa.array([True, False])}, pomai.InvalidTypeError, "ids are ints"),
    ({"vector": V, "id": pa.array(["a", ""])}, pomai.IdError, None),
    ({"vector": V, "document": pa.array([1, 2])}, pomai.InvalidTypeError, "documents are"),
    ({"vector": V, "document": ["a", "b"], "x": [1, 2]}, pomai.InvalidError, r"metadata=\[\]"),
    ({"vector": V, "expiry": ["a", "b"]}, pomai.InvalidTypeError, "timestamps"),
    ({"vector": V, "expiry": pa.array([-1, 1], pa.timestamp("ns"))}, pomai.InvalidError, "1970"),
    ({"vector": V, "expiry": pa.array([2**62, 1], pa.timestamp("s"))}, pomai.InvalidError, "64 bits"),
    ({"vector": V, "expiry": pa.array([1, 1_800_000_000_000])}, pomai.InvalidError, "is 1800000000000, which in nanosec"),
    ({"vector": V, "x": [1.0, float("inf")]}, pomai.InvalidError, "NaN and infinity"),
    ({"vector": V, "x": pa.array([1, 2], pa.duration("s"))}, pomai.InvalidTypeError, "metadata cannot hold"),
    ({"vector": V, "x": pa.array([b"a", b"b"])}, pomai.InvalidTypeError, "metadata cannot hold"),
    ({"vector": V, "x": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int8()))}, pomai.InvalidTypeError, "cast"),
    ({"id": [1, 2], "x": [1, 2]}, pomai.InvalidError, "no column of vectors"),
])
def test_refused(db, table, error, match):
    with pytest.raises(error, match=match) as caught:
        db.add(pa.table(table))
    assert caught.value.rows_stored == 0
    assert len(db) == 0


def test_deep_nesting_is_refused(db):
    value, kind = [1], pa.list_(pa.int8())
    for _ in range(60):
        value, kind = [value], pa.list_(kind)
    with pytest.raises(pomai.InvalidError, match="deep"):
        db.add(pa.table({"vector": fixed([1], 1), "x": pa.array([value], kind)}))


def test_two_columns_of_one_name(db):
    with pytest.raises(pomai.InvalidError, match="two columns"):
        db.add(pa.table([V, V], names=["vector", "vector"]))


def test_tables_of_numbers_are_arrays(db):
    pandas = pytest.importorskip("polars")
    assert len(db.add(pandas.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]}))) == 2
    assert list(db.get(1).vector) == [2, 4]


def test_index_of_a_pandas_frame_is_no_metadata(db):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"vector": [[1.0], [2.0], [3.0]], "t": ["a", None, "c"]})
    db.add(frame[frame["t"] != "a"])
    assert [r.metadata for r in sorted(db, key=lambda r: r.id)] == [{"t": None}, {"t": "c"}]


def test_stream_that_fails_half_way(db):
    schema = pa.schema({"vector": pa.list_(pa.float32(), 1)})

    def batches():
        for i in range(3):
            yield pa.record_batch({"vector": fixed([i], 1)}, schema=schema)
        raise ValueError("the disk is gone")

    with pytest.raises(pomai.IoError, match="the disk is gone") as caught:
        db.add(pa.RecordBatchReader.from_batches(schema, batches()))
    assert caught.value.rows_stored == 3 == len(db)


def test_batch_that_is_refused_half_way(db):
    table = pa.table({"vector": pa.chunked_array([[[1.0], [2.0]], [[3.0], None]])})
    with pytest.raises(pomai.InvalidError) as caught:
        db.add(table)
    assert caught.value.rows_stored == 2 == len(db)


def test_database_closed_by_the_stream(tmp_path):
    db = pomai.open(tmp_path / "db", durability="os")
    schema = pa.schema({"vector": pa.list_(pa.float32(), 1)})

    def batches():
        yield pa.record_batch({"vector": fixed([1], 1)}, schema=schema)
        db.close()
        yield pa.record_batch({"vector": fixed([2], 1)}, schema=schema)

    with pytest.raises(pomai.ClosedError) as caught:
        db.add(pa.RecordBatchReader.from_batches(schema, batches()))
    assert caught.value.rows_stored == 1


def test_used_up_stream(db):
    reader = pa.table({"vector": V}).to_reader()
    db.add(reader)
    assert len(db.add(reader)) == 0  # it has no more rows
    assert len(db) == 2


def test_many_rows_and_large_batches(db):
    count, dim = 300_000, 64  # 77 MB in one record batch
    vectors = np.arange(count * dim, dtype="float32") % 1000
    ids = db.add(pa.table({"id": np.arange(count, dtype="uint64"), "vector": fixed(vectors, dim)}))
    assert len(ids) == count == len(db)
    assert np.array_equal(db.get(count - 1).vector, vectors[-dim:])
    assert sum(batch.num_rows for batch in pa.RecordBatchReader.from_stream(db)) == count


def test_memory_does_not_grow(tmp_path):
    with pomai.open(tmp_path / "db", durability="os") as db:
        table = pa.table({"id": range(2000), "vector": fixed(range(16000), 8), "x": [f"text {i}" for i in range(2000)]})

        def once():
            db.add(table)
            db.to_arrow()
            for rows in db.scan(batch_rows=100):
                pa.record_batch(rows)
            pa.record_batch(db.search([1.0] * 8, k=10))
            with pytest.raises(pomai.InvalidError):
                db.add(pa.table({"vector": pa.array([[1.0], None])}))

        for _ in range(30):
            once()
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(60):
            once()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB; a batch leaked each: 130,000


# ---- arrays that break the interface ----

class Schema(ctypes.Structure):
    pass


class Array(ctypes.Structure):
    pass


Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
Schema._fields_ = [
    ("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_char_p), ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64), ("children", ctypes.POINTER(ctypes.POINTER(Schema))),
    ("dictionary", ctypes.POINTER(Schema)), ("release", ctypes.c_void_p), ("private", ctypes.c_void_p),
]
Array._fields_ = [
    ("length", ctypes.c_int64), ("null_count", ctypes.c_int64), ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64), ("n_children", ctypes.c_int64), ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(Array))), ("dictionary", ctypes.POINTER(Array)),
    ("release", ctypes.c_void_p), ("private", ctypes.c_void_p),
]
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Made:
    """A table (vector: list of float32, id) by hand; `change` may break any of it."""

    def __init__(self, change=lambda made: None):
        self.kept, self.released = [], []
        self.schemas, self.arrays = {}, {}
        self.add("item", b"f", [None, (ctypes.c_float * 4)(1, 2, 3, 4)], 4)
        self.add("vector", b"+l", [None, (ctypes.c_int32 * 3)(0, 2, 4)], 2, ["item"])
        self.add("id", b"l", [None, (ctypes.c_int64 * 2)(10, 11)], 2)
        self.add("text", b"u", [None, (ctypes.c_int32 * 3)(0, 1, 2), (ctypes.c_char * 2)(b"a", b"b")], 2)
        self.add("", b"+s", [None], 2, ["vector", "id", "text"])
        for kind, struct in (("schema", self.schemas[""]), ("array", self.arrays[""])):
            release = Release(lambda address, kind=kind: self.on_release(kind))
            self.kept.append(release)
            struct.release = ctypes.cast(release, ctypes.c_void_p)
        change(self)

    def on_release(self, kind):
        self.released.append(kind)

    def add(self, name, format, buffers, length, children=()):
        s, a = Schema(), Array()
        s.format, s.name, s.flags = format, name.encode(), 2
        pointers = (ctypes.c_void_p * max(1, len(buffers)))(*[b and ctypes.addressof(b) for b in buffers])
        a.length, a.n_buffers, a.buffers = length, len(buffers), pointers
        s.n_children = a.n_children = len(children)
        if children:
            s.children = (ctypes.POINTER(Schema) * len(children))(*[ctypes.pointer(self.schemas[c]) for c in children])
            a.children = (ctypes.POINTER(Array) * len(children))(*[ctypes.pointer(self.arrays[c]) for c in children])
        self.kept += [buffers, pointers, s.children, a.children]
        self.schemas[name], self.arrays[name] = s, a

    def __arrow_c_array__(self, requested_schema=None):
        self.moved = Array.from_buffer_copy(self.arrays[""])  # the consumer clears its release
        return (new_capsule(ctypes.addressof(self.schemas[""]), b"arrow_schema", None),
                new_capsule(ctypes.addressof(self.moved), b"arrow_array", None))


def test_made_by_hand(db):
    made = Made()
    assert list(db.add(made)) == [10, 11]
    assert list(db.get(11).vector) == [3, 4] and db.get(10).metadata == {"text": "a"}
    assert made.released == ["array"] and not made.moved.release
    gc.collect()
    assert made.released == ["array"]


def array(name, /, **fields):
    return lambda m: [setattr(m.arrays[name], k, v) for k, v in fields.items()]


def schema(name, /, **fields):
    return lambda m: [setattr(m.schemas[name], k, v) for k, v in fields.items()]


def buffer(name, i, value):
    def change(made):
        made.kept.append(value)
        made.arrays[name].buffers[i] = value and ctypes.addressof(value)
    return change


def no_child(which):
    def change(made):
        getattr(made, which)[""].children[1] = (ctypes.POINTER(Schema if which == "schemas" else Array))()
    return change


def dictionary(index, where):
    """`id` numbered into `text`."""
    def change(made):
        made.schemas["id"].format = b"l"
        if where != "array":
            made.schemas["id"].dictionary = ctypes.pointer(made.schemas["text"])
        if where != "schema":
            made.arrays["id"].dictionary = ctypes.pointer(made.arrays["text"])
        buffer("id", 1, (ctypes.c_int64 * 2)(*index))(made)
    return change


BROKEN = [
    array("", length=3), array("", length=-1), array("", offset=-1), array("", offset=1), array("", length=2**62),
    array("", n_children=2), array("", n_children=-1), array("", children=None), array("", n_buffers=0),
    array("", n_buffers=2), array("", null_count=1),
    array("vector", length=1), array("vector", length=-5), array("vector", offset=2**63 - 1),
    array("vector", n_buffers=1),
    array("vector", n_buffers=3), array("vector", n_children=0), array("vector", children=None),
    array("vector", null_count=1), array("vector", buffers=None), buffer("vector", 1, None),
    array("item", length=3), array("item", n_buffers=1), array("item", null_count=2), buffer("item", 1, None),
    buffer("vector", 1, (ctypes.c_int32 * 3)(0, 2, 1)), buffer("vector", 1, (ctypes.c_int32 * 3)(-2, 0, 2)),
    buffer("vector", 1, (ctypes.c_int32 * 3)(0, 2, 6)), buffer("vector", 1, (ctypes.c_int32 * 3)(4, 2, 0)),
    buffer("vector", 1, (ctypes.c_int32 * 3)(2**31 - 3, 2**31 - 2, 2**31 - 1)),
    schema("vector", format=b"+w:0"), schema("vector", format=b"+w:-1"),
    schema("vector", format=b"+w:99999999999999999999"),
    schema("vector", format=b"+w:3"), schema("vector", format=b"+w:"), schema("vector", format=b"+w:2x"),
    schema("vector", format=b"+vl"), schema("vector", format=None), schema("vector", format=b""),
    schema("vector", n_children=0), schema("vector", n_children=5), schema("vector", children=None),
    schema("item", format=b"u"), schema("item", format=None), schema("item", format=b"?"),
    schema("", format=None), schema("", n_children=-1), schema("", n_children=10**9), schema("", children=None),
    schema("id", format=b"g"), schema("id", format=b"vu"), schema("id", format=b"z"), schema("id", format=None),
    buffer("text", 1, (ctypes.c_int32 * 3)(0, 2, 1)), buffer("text", 1, (ctypes.c_int32 * 3)(-1, 0, 1)),
    buffer("text", 2, None), buffer("text", 2, (ctypes.c_char * 2)(b"\xff", b"\xfe")), array("text", n_buffers=2),
    schema("text", name=b"\xff"), no_child("arrays"), no_child("schemas"),
    dictionary((0, 2), "both"), dictionary((0, -1), "both"), dictionary((0, 1), "schema"), dictionary((0, 1), "array"),
]


@pytest.mark.parametrize("change", BROKEN)
def test_broken(db, change):
    made = Made(change)
    with pytest.raises((pomai.Error, TypeError)):
        db.add(made)
    assert len(db) == 0
    assert made.released.count("array") <= 1 and "schema" not in made.released


def test_view_that_goes_beyond_its_buffer(db):
    views = pa.array(["a text of more than twelve bytes"], pa.string_view())
    good = views.buffers()
    for words in ((-1, 0, 0, 0), (32, 0, 1, 0), (32, 0, -1, 0), (32, 0, 0, 1), (33, 0, 0, 0), (32, 0, 0, -4)):
        view = pa.py_buffer(np.array(words, "int32").tobytes())
        bad = pa.Array.from_buffers(pa.string_view(), 1, [None, view, good[2]])
        with pytest.raises(pomai.InvalidError):
            db.add(pa.table({"vector": fixed([1], 1), "x": bad}))


class Stream:
    def __init__(self, given):
        self.given = given

    def __arrow_c_stream__(self, requested_schema=None):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


OTHER_NAME, STREAM_NAME = b"something_else", b"arrow_array_stream"  # a capsule borrows its name


@pytest.mark.parametrize("given", [ValueError("no"), None, 3, new_capsule(1, OTHER_NAME, None)])
def test_methods_that_give_something_else(db, given):
    with pytest.raises((ValueError, TypeError)):
        db.add(Stream(given))


class CStream(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("get_schema", "get_next", "get_last_error", "release", "private")]


@pytest.mark.parametrize("into", ["table", "columns", "vectors"])
def test_a_stream_that_fails_at_once(db, into):
    """It is released once, and not touched once its capsule is gone."""
    stream, released, late = CStream(), [], []

    def release(address):
        released.append(address)
        stream.release = None

    def forget(_):  # as the capsule's end frees the stream, after which anything may be there
        stream.release = ctypes.cast(poison, ctypes.c_void_p)

    schema = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: 5)
    end, poison, destroy = Release(release), Release(late.append), Release(forget)
    stream.get_schema, stream.release = (ctypes.cast(f, ctypes.c_void_p) for f in (schema, end))
    given = [new_capsule(ctypes.addressof(stream), STREAM_NAME, ctypes.cast(destroy, ctypes.c_void_p))]

    class Once:
        def __arrow_c_stream__(self, requested_schema=None):
            return given.pop()

    with pytest.raises(pomai.Error, match="errno 5"):
        if into == "table":
            db.add(Once())
        elif into == "columns":
            db.add([[1.0]], metadata={"a": Once()})
        else:
            db.search(Once())
    assert len(released) == 1 and late == []


def test_any_table_comes_back(tmp_path):
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    values = st.one_of(st.none(), st.booleans(), st.integers(-2**63, 2**63 - 1),
                       st.floats(allow_nan=False, allow_infinity=False),
                       st.text(st.characters(exclude_categories=["Cs"])))
    db = pomai.open(tmp_path / "db", durability="os")
    taken = ("id", "vector", "document", "expiry", "stamp")
    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), type(None): pa.null()}

    @hypothesis.settings(max_examples=150, deadline=None)
    @hypothesis.given(
        st.lists(values, min_size=1, max_size=20), st.integers(0, 5),
        st.text(min_size=1, max_size=5).filter(lambda s: s.isprintable() and s not in taken))
    def check(column, skip, name):
        first = next((v for v in column if v is not None), None)
        column = [v for v in column if v is None or type(v) is type(first)]
        skip = min(skip, len(column) - 1)
        table = pa.table({
            "id": range(len(column)), "vector": fixed(range(len(column) * 2), 2),
            name: pa.array(column, kinds[type(first)]),
        }).slice(skip)
        db.add(table)
        for row in table.to_pylist():
            stored = db.get(row["id"])
            assert list(stored.vector) == row["vector"]
            assert json.loads(stored.document) == {name: row[name]}

    check()
    db.close()


def test_the_earliest_time(db: pomai.Database) -> None:
    """The day it is on begins before what 64 bits of ns can hold."""
    times = pa.array([-(2**63), 2**63 - 1], pa.timestamp("ns"))
    db.add(pa.table({"vector": pa.array([[1.0], [2.0]], pa.list_(pa.float32())), "at": times}))
    assert [row.metadata["at"] for row in db.get([0, 1])] == [
        "1677-09-21T00:12:43.145224192", "2262-04-11T23:47:16.854775807"
    ]


# ---- documents as columns ----

def json_of(column):
    return [None if text is None else json.loads(text) for text in column.to_pylist()]


def test_metadata_as_columns(db, other):
    rows = [{"i": 1, "f": 1, "s": "é", "t": ["a"], "b": True, "m": 1, "o": {"k": 1}}, None, {"late": "x"},
            {"i": -2, "f": 0.5, "s": "", "t": [], "b": False, "m": "1", "o": {"k": 2}, "n": None}]
    db.add(np.eye(4), ids=[1, 2, 3, 4], metadata=rows)
    table = db.to_arrow(metadata="columns").sort_by("id")
    assert table.schema.names == ["id", "vector", "i", "f", "s", "t", "b", "m", "o", "late", "n", "expiry", "stamp"]
    types = {"i": pa.int64(), "f": pa.float64(), "s": pa.large_string(), "t": pa.large_list(pa.large_string()),
             "b": pa.bool_(), "n": pa.null(), "late": pa.large_string()}
    for name, kind in types.items():
        assert table.schema.field(name).type == kind, name
        assert table[name].to_pylist() == [None if row is None else row.get(name) for row in rows]
    for name in ("m", "o"):
        assert json_of(table[name]) == [None if row is None else row.get(name) for row in rows]
    other.add(table)
    names = ["i", "f", "s", "t", "b", "m", "o", "late", "n"]
    assert other.get(4).metadata == {name: rows[3].get(name) for name in names}
    assert db.to_arrow().schema.names == db.to_arrow(metadata="documents").schema.names == [
        "id", "vector", "document", "expiry", "stamp"]


def test_columns_that_are_named(db):
    db.add(np.eye(3), ids=[1, 2, 3], metadata=[{"a": {"b": 1}, "a.b": "x", "id": 5}, {"a": {"b": 2.5}}, {}])
    table = db.to_arrow(metadata="columns", columns=("a.b", r"a\.b", "no"), vectors=False, filters={"a.b": {"$exists": True}})
    assert sorted(table.schema.names) == sorted(["id", "a.b", r"a\.b", "no", "expiry", "stamp"])
    assert table.sort_by("id").select(["id", "a.b", r"a\.b", "no"]).to_pylist() == [
        {"id": 1, "a.b": 1.0, r"a\.b": "x", "no": None}, {"id": 2, "a.b": 2.5, r"a\.b": None, "no": None}]
    with pytest.raises(pomai.InvalidError, match="'id', which is a column already"):
        db.to_arrow(metadata="columns")
    assert db.to_arrow(metadata="columns", columns=[]).schema.names == ["id", "vector", "expiry", "stamp"]


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"columns": ["i"]}, TypeError, "metadata='columns'"), ({"metadata": "x"}, ValueError, "documents, columns"),
    ({"metadata": "columns", "columns": "i"}, TypeError, "list of paths"),
    ({"metadata": "columns", "columns": [3]}, TypeError, "list of paths"),
    ({"metadata": "columns", "columns": ["i", "i"]}, ValueError, "two columns"),
    ({"metadata": "columns", "columns": ["$or"]}, ValueError, r"^column '\$or' is no path: \$or"),
    ({"metadata": "columns", "columns": ["$x"]}, ValueError, r"^column '\$x' is no path: \$x: no such operator"),
    ({"metadata": "columns", "documents": False}, TypeError, "leaves out"),
])
def test_columns_that_are_refused(db, options, error, words):
    db.add([[1.0]], metadata=[{"i": 1}])
    with pytest.raises(error, match=words):
        db.to_arrow(**options)


def test_columns_of_no_documents_at_all():
    core = pomai._core
    with pytest.raises(TypeError, match="wants documents"):
        core.document_columns()
    with pytest.raises(TypeError, match="no Arrow data"):
        core.document_columns(3)


def test_columns_of_nothing_and_of_other_documents(db):
    assert db.to_arrow(metadata="columns").num_rows == 0
    db.add([[1.0], [2.0], [3.0]], documents=["text", None, "[1]"])
    table = db.to_arrow(metadata="columns")
    assert table.schema.names == ["id", "vector", "expiry", "stamp"] and table.num_rows == 3


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2))
NAMES = st.sampled_from(["a", "b", "é", 'q"', "a.b"])


@given(rows=st.lists(st.none() | st.dictionaries(NAMES, VALUE, max_size=4), min_size=1, max_size=6), escaped=st.booleans())
def test_columns_hold_what_json_reads(tmp_path_factory, rows, escaped):
    texts = [None if row is None else json.dumps(row, ensure_ascii=escaped) for row in rows]
    try:
        "".join(text for text in texts if text).encode()
    except UnicodeEncodeError:
        return
    with pomai.open(tmp_path_factory.mktemp("columns") / "db", durability="os", shards=1, search_threads=0) as db:
        db.add(np.ones((len(rows), 1), np.float32), documents=texts)
        table = db.to_arrow(metadata="columns", vectors=False).sort_by("id")
    keys = {key for row in rows if row for key in row}
    assert keys == set(table.schema.names) - {"id", "expiry", "stamp"}
    for key in keys:
        wanted, column = [(row or {}).get(key) for row in rows], table[key]
        got = json_of(column) if column.type == pa.json_(pa.string()) or "json" in str(column.type) else column.to_pylist()
        assert got == wanted
        kinds = {type(value) for value in wanted if value is not None}
        if kinds == {bool}:
            assert column.type == pa.bool_()
        if kinds == {str} and all(value.isascii() for value in wanted if value):
            assert column.type == pa.large_string()
        if kinds == {int}:
            assert (column.type == pa.int64()) == all(-(2**63) <= v < 2**63 for v in wanted if v is not None)
        if kinds == {float}:
            assert column.type == pa.float64()
