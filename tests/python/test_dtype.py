# SPDX-License-Identifier: Apache-2.0
"""Collections of float16 and int8: what goes in as it is, what is converted, what is refused, and what comes out."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pomai

DIM = 7
TYPES: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "int8": np.int8}


def numbers(rng: random.Random, dtype: str, rows: int = 50) -> Any:
    made = np.random.default_rng(rng.randrange(2**32))
    if dtype == "int8":
        return made.integers(-128, 128, (rows, DIM), np.int8)
    return made.standard_normal((rows, DIM)).astype(TYPES[dtype])


@pytest.fixture(params=["float16", "int8"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def table(db: pomai.Database, dtype: str) -> pomai.Collection:
    return db.collection("c", DIM, dtype=dtype)  # type: ignore[arg-type]


def same(table: pomai.Collection, ids: Any, want: Any) -> None:
    got = table.get(list(map(int, ids))).vectors
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.asarray(want).astype(np.float32))


def test_every_word_for_a_type(db: pomai.Database, dtype: str) -> None:
    kind = TYPES[dtype]
    for i, word in enumerate([dtype, kind, np.dtype(kind)]):
        made = db.collection(f"c{i}", 3, dtype=word)
        assert made.dtype == made.info.dtype == dtype
        assert db.collection(f"c{i}", dtype=word).dtype == dtype  # it is there, as what was said
        with pytest.raises(pomai.InvalidError, match=f"has dtype='{dtype}', not 'float32'"):
            db.collection(f"c{i}", dtype="float32")
    assert db.collection("plain", 3).dtype == "float32" and db.dtype == "float32"
    with pytest.raises(pomai.InvalidTypeError, match="dtype is a str"):
        db.collection("x", 3, dtype=3)  # type: ignore[arg-type]
    for word in ("bfloat16", np.float64, np.dtype("int16"), "float"):
        with pytest.raises(pomai.InvalidError, match="float32"):
            db.collection("x", 3, dtype=word)  # type: ignore[arg-type]
    assert "x" not in db.collections()


def test_own_type_goes_in_as_it_is(table: pomai.Collection, dtype: str, rng: random.Random) -> None:
    x = numbers(rng, dtype)
    order = x.dtype.newbyteorder()
    wide = np.zeros((50, 2 * DIM), x.dtype)
    wide[:, ::2] = x
    forms = {
        "array": x, "by columns": np.asfortranarray(x), "slice": wide[:, ::2], "backwards": x[::-1].copy()[::-1],
        "foreign order": x.astype(order), "memoryview": memoryview(x), "rows": list(x), "lists": x.tolist(),
        "float32": x.astype(np.float32), "float64": x.astype(np.float64),
        "unaligned": np.frombuffer(b"x" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(50, DIM),
    }
    for name, form in forms.items():
        same(table, table.add(form), x)
        print(name)
    one = table.add(x[3])
    same(table, [one], x[3:4])


def test_wider_is_rounded(db: pomai.Database, rng: random.Random) -> None:
    table = db.collection("c", DIM, dtype="float16")
    x = numbers(rng, "float32")
    same(table, table.add(x), x.astype(np.float16))
    same(table, table.add(x.astype(np.float64)), x.astype(np.float16))
    whole = db.collection("w", DIM, dtype="int8")
    y = np.random.default_rng(rng.randrange(2**32)).integers(-128, 128, (9, DIM))
    for kind in (np.int64, np.int16, np.float16, np.float64, np.int32):
        same(whole, whole.add(y.astype(kind)), y)
    same(whole, whole.add(np.abs(y // 2).astype(np.uint8)), np.abs(y // 2))


def test_refusals_name_the_place(db: pomai.Database) -> None:
    half, whole = db.collection("h", 3, dtype="float16"), db.collection("w", 3, dtype="int8")
    good = np.ones((4, 3), np.float32)

    def bad(value: float, kind: Any = np.float32) -> Any:
        x = good.astype(kind)
        x[2, 1] = value
        return x

    for value in (65520.0, -1e5):
        with pytest.raises(pomai.InvalidError, match=r"row 2, dimension 1 is .*65504 of float16.*scale"):
            half.add(bad(value))
    for value in (0.5, 128, -129, 1e9):
        with pytest.raises(pomai.InvalidError, match=r"row 2, dimension 1 is .*quantise before, or use float32"):
            whole.add(bad(value))
    for value in (np.nan, np.inf):
        for kind in (np.float32, np.float16):
            for table in (half, whole):
                with pytest.raises(pomai.NotFiniteError, match="row 2, dimension 1"):
                    table.add(bad(value, kind))
    cosine = db.collection("cos", 3, dtype="float16", metric="cosine")
    with pytest.raises(pomai.ZeroVectorError, match="row 1 is a zero vector in float16"):
        cosine.add([[1, 0, 0], [1e-9, 0, 0]])
    assert len(half) == len(whole) == len(cosine) == 0


def test_float32_collections_take_what_they_took(db: pomai.Database) -> None:
    ids = db.add(np.ones((2, 3), np.float16))  # `default` stays float32: a later add must not be rounded
    assert db.dtype == "float32"
    same(db, ids, np.ones((2, 3)))
    x = np.full((1, 3), 0.1, np.float32)
    same(db, db.add(x), x)
    same(db, db.add(np.full((1, 3), -7, np.int8)), np.full((1, 3), -7))


def test_search_is_that_of_the_values(db: pomai.Database, dtype: str, rng: random.Random) -> None:
    x = numbers(rng, dtype, 300)
    queries = numbers(rng, "float32", 12)
    for metric in ("l2", "ip", "cosine"):
        narrow = db.collection(f"n{metric}", DIM, metric=metric, dtype=dtype)  # type: ignore[arg-type]
        wide = db.collection(f"w{metric}", DIM, metric=metric)  # type: ignore[arg-type]
        x[(x == 0).all(1)] = 1
        narrow.add(x, ids=range(300))
        wide.add(x.astype(np.float32), ids=range(300))
        for _ in range(2):
            a = narrow.search(queries, 20, include=["vectors"])
            b = wide.search(queries, 20, include=["vectors"])
            np.testing.assert_array_equal(a.ids, b.ids)
            np.testing.assert_array_equal(a.distances, b.distances)
            for one, other in zip(a, b):
                assert one.vectors.dtype == np.float32
                np.testing.assert_array_equal(one.vectors, other.vectors)
            db.flush()
        # A query of the collection's own type is one of its values.
        nearest = narrow.search(x[5], 1)
        assert nearest.distances[0] <= wide.search(x[5].astype(np.float32), 1).distances[0]


def test_large_arrays_are_split_by_their_own_size(table: pomai.Collection, dtype: str) -> None:
    rows = (64 << 20) // (DIM * np.dtype(TYPES[dtype]).itemsize + 8) + 1000
    x = np.ones((rows, DIM), TYPES[dtype])
    x[:, 0] = np.arange(rows) % 100
    ids = table.add(x)
    assert len(ids) == len(table) == rows
    same(table, ids[-3:], x[-3:])
    same(table, ids[rows // 2:rows // 2 + 3], x[rows // 2:rows // 2 + 3])


def test_blocks(table: pomai.Collection, dtype: str, rng: random.Random) -> None:
    x = numbers(rng, dtype, 20)
    with table.reserve(20) as block:
        assert block.vectors.dtype == TYPES[dtype] and block.vectors.shape == (20, DIM) and not block.vectors.any()
        block.vectors[:] = x
    same(table, block.ids, x)
    with table.reserve(20) as block:
        kept = block.vectors
        kept[:] = x
    same(table, block.ids, x)
    del kept


def test_arrow(table: pomai.Collection, db: pomai.Database, dtype: str, rng: random.Random, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    kind = {"float16": pa.float16(), "int8": pa.int8()}[dtype]
    x = numbers(rng, dtype, 40)
    flat = pa.array(x.ravel(), kind)
    column = pa.FixedSizeListArray.from_arrays(flat, DIM)
    rows = pa.table({"vector": column, "id": np.arange(40, dtype=np.uint64)})
    table.add(rows)
    same(table, range(40), x)
    same(table, table.add(column), x)
    same(table, table.add(pa.chunked_array([column[:7], column[7:30], column[30:]])), x)
    same(table, table.add(pa.array(x.tolist(), pa.list_(kind))), x)
    gaps = pa.ListArray.from_arrays(pa.array([0, DIM, 3 * DIM, 4 * DIM]), flat).take(pa.array([2, 0]))
    assert len(table.add(pa.table({"vector": column.take(pa.array([5, 3, 9]))}))) == 3
    assert gaps.type == pa.list_(kind)
    out = table.to_arrow()
    assert out.schema.field("vector").type.value_type == kind
    back = {int(i): v for i, v in zip(out["id"].to_pylist(), out["vector"].to_pylist())}
    for i in range(40):
        assert [float(v) for v in back[i]] == x[i].astype(float).tolist()
    again = db.collection("again", DIM, dtype=dtype)  # type: ignore[arg-type]
    again.add(out)
    same(again, range(40), x)
    wide = db.collection("wide", DIM)
    wide.add(out)  # exactly, into float32
    same(wide, range(40), x)
    # What is rounded on the way in is what comes out.
    if dtype == "float16":
        y = numbers(rng, "float32", 40)
        table.add(y, ids=range(40))
        got = np.array([v for i, v in sorted(zip(table.to_arrow()["id"].to_pylist(),
                                                 table.to_arrow()["vector"].to_pylist())) if i < 40])
        np.testing.assert_array_equal(got.astype(np.float16), y.astype(np.float16))


def test_every_float16_comes_back_through_arrow(db: pomai.Database) -> None:
    pytest.importorskip("pyarrow")
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    table = db.collection("c", 1, dtype="float16")
    ids = table.add(halves.reshape(-1, 1))
    out = table.to_arrow()
    flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in out["vector"].chunks])
    order = np.argsort(np.array(out["id"].to_pylist()))
    np.testing.assert_array_equal(flat.astype(np.float16)[order].view(np.uint16), halves.view(np.uint16))
    same(table, ids, halves.reshape(-1, 1))


def test_files(tmp_path: Path, dtype: str, rng: random.Random) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    x = numbers(rng, dtype, 30)
    first, second = tmp_path / "a.db", tmp_path / "b.db"

    def run(*words: object, code: int = 0) -> str:
        done = subprocess.run([sys.executable, "-m", "pomai", *map(str, words)], capture_output=True, text=True,
                              check=False)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    np.save(tmp_path / "x.npy", x)
    run("import", first, tmp_path / "x.npy", "--dtype", dtype, "--ids", "rows")
    for name in ("x.parquet", "x.arrow"):
        run("export", first, "-o", tmp_path / name)
        run("import", second, tmp_path / name, "-c", name[-5:], "--dtype", dtype, "--vector-column", "vector")
        with pomai.open(second) as db:
            table = db.collection(name[-5:])
            assert table.dtype == dtype
            same(table, range(30), x)
    assert str(pq.read_schema(tmp_path / "x.parquet").field("vector").type.value_type) in ("halffloat", "int8")
    assert "has dtype" in run("import", second, tmp_path / "x.arrow", "-c", "arrow", "--dtype", "float32", code=1)


def test_a_collection_says_what_is_built_for_it(db: pomai.Database) -> None:
    for word in ("auto", "exact", "codes", "graph"):
        assert db.collection(word, 3, index=word).info.index_kind == word
        assert db.collection(word, index=word).info.index_kind == word
    assert db.collection("plain", 3).info.index_kind == "auto"
    with pytest.raises(pomai.InvalidError, match="has index='exact', not 'graph'"):
        db.collection("exact", index="graph")
    with pytest.raises(pomai.InvalidError, match="auto"):
        db.collection("other", 3, index="tree")
