# SPDX-License-Identifier: Apache-2.0
"""A user's program, and the examples, under `mypy --strict`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pomai

pytest.importorskip("mypy", reason="mypy is not installed")
pytest.importorskip("numpy", reason="NumPy, whose types these are, is not installed")

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = '''
import datetime
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import pomai


Vector = np.ndarray[tuple[int], np.dtype[np.float32]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def main(queries: npt.NDArray[np.float32], one: Vector, many: Matrix) -> None:
    with pomai.open("my.db", durability="group") as db:
        assert_type(db, pomai.Database)
        db.add([[1.0, 0.0], [0.0, 1.0]], ids=[1, 2], metadata=[{"name": "apple"}, None])
        db.add([1.0, 0.0], ids="x", documents="text")
        db.add([1.0, 0.0], expiry=datetime.date(2030, 1, 1))
        db.add([1.0, 0.0], expiry=np.int64(2 * 10**18))
        db.add(queries, expiry=[datetime.date(2030, 1, 1), None])
        db.add(queries, metadata={"year": [1999, 2000], "author": np.array(["a", "b"])})
        assert_type(db.search([1.0, 0.0]), pomai.Result)
        assert_type(db.search([[1.0, 0.0]], k=3, include=["metadata"]), pomai.Results)
        assert_type(db.search(one, include="documents"), pomai.Result)
        assert_type(db.search(many), pomai.Results)
        assert_type(db.search([one, one]), pomai.Results)
        assert_type(db.search(queries), Any)
        assert_type(db.search([1.0, 0.0], filters={"a": {"$lt": 5}}), pomai.Result)
        assert_type(db.search([1.0, 0.0], filters='{"a": 5}'), pomai.Result)
        assert_type(pomai.FilterOp.eq("a", 1) & ~pomai.FilterOp.in_("b", ["x", 2]), pomai.Filter)
        both = pomai.FilterOp.AND({"a": 1}, pomai.FilterOp.gt("b", 1))
        assert_type(db.search([1.0, 0.0], filters=both), pomai.Result)
        assert_type(db.get(1), pomai.Row | None)
        assert_type(db.get("a"), pomai.Row | None)
        assert_type(db.get(np.uint64(1)), pomai.Row | None)
        assert_type(db.get([1, 2]), pomai.Rows)
        assert_type(db.get(["a", "b"]), pomai.Rows)
        assert_type(db.get(range(5)), pomai.Rows)
        assert_type(db.get(np.arange(5, dtype=np.uint64)), pomai.Rows)
        for hit in db.search([1.0, 0.0], k=5):
            assert_type(hit, pomai.Hit)
            print(hit.id + 1, hit.distance * 2, hit.metadata["name"])
        for row in db.get([1, 2]):
            if row is not None:
                print(row.vector.sum(), row.expiry)
        table = db.search([[1.0, 0.0], [0.0, 1.0]])
        assert_type(table.distances, npt.NDArray[np.float64])
        print(table[0].verdict.completeness, table.ids[:, 0])
        with db.reserve(10, dim=2) as block:
            block.vectors[:] = 0
        for half in (db.collection("a", 2, dtype="float16"), db.collection("a", dtype=np.float16),
                     db.collection("a", dtype=np.dtype("float16"))):
            assert_type(half.dtype, str)
            half.add(np.ones((1, 2), np.float16))
        with db.snapshot() as before:
            db.delete([1])
            db.get(1, snapshot=before)
        try:
            db.add([1.0])
        except pomai.DimensionError as error:
            print(error.status, error.hint, error.rows_stored)
'''

WITHOUT_NUMPY = '''
from array import array
from typing import assert_type

import pomai

with pomai.open("my.db") as db:
    db.add(array("f", [1.0, 0.0]), ids=[1])
    assert_type(db.search([1.0, 0.0]), pomai.Result)
    assert_type(db.search([[1.0, 0.0]]), pomai.Results)
    assert_type(db.search(array("f", [1.0, 0.0])), pomai.Result)
    assert_type(db.get(1), pomai.Row | None)
    assert_type(db.get([1, 2]), pomai.Rows)
    assert_type(db.get(range(2)), pomai.Rows)
    print(db.search([1.0, 0.0]).ids[0], db.search([1.0, 0.0]).distances.tolist())
'''

REFUSED = '''
import pomai

db = pomai.open("my.db")
db.add([[1.0, 0.0]], durability="fast")  # type: ignore[arg-type]
db.get(1.5)  # type: ignore[call-overload]
db.get(1).vector  # type: ignore[union-attr]
db.search([1.0, 0.0], include=["everything"])  # type: ignore[list-item]
db.search([1.0, 0.0], filters=5)  # type: ignore[call-overload]
db.search(["a"])  # type: ignore[list-item]
db.collection("a", metric="l1")  # type: ignore[arg-type]
db.collection("a", dtype="bfloat16")  # type: ignore[arg-type]
pomai.open("my.db", colour="red")  # type: ignore[call-arg]
'''


def mypy(*arguments: str, cwd: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy knows of NumPy's types, for all who check by the same rules: to read them takes most of its time."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("program", [PROGRAM, REFUSED], ids=["program", "refused"])
def test_a_program(program: str, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "program.py").write_text(program)
    mypy("program.py", cwd=tmp_path, cache=cache)


def test_where_numpy_is_not_installed(tmp_path: Path) -> None:
    """The package's types are copied to where no NumPy is, and checked by rules for another interpreter."""
    shutil.copytree(Path(pomai.__file__).parent, tmp_path / "site/pomai", ignore=shutil.ignore_patterns("*.so", "_bin"))
    (tmp_path / "program.py").write_text(WITHOUT_NUMPY)
    (tmp_path / "mypy.ini").write_text("[mypy]\nmypy_path = site\n[mypy-pomai.*]\nignore_errors = True\n")
    mypy("--config-file", "mypy.ini", "--no-site-packages", "program.py", cwd=tmp_path, cache=tmp_path / "cache")


def test_the_examples(tmp_path: Path, cache: Path) -> None:
    mypy(*map(str, sorted((ROOT / "examples/python").glob("*.py"))), cwd=tmp_path, cache=cache)


# Where the types say on purpose what the module does not: names for types only, protocols that C types follow without
# a method of that name, inner types, and search(), whose vectors may be given under two names.
KNOWN = re.compile(
    r"_core\.(\w+Like|AnyPath|DType|Durability|Field|Id|Mode) is not present at runtime|__(iter|buffer)__ is not present"
    r"|_core\.(Answer|View) is not present in stub|is a disjoint base|\.search is inconsistent|_helpers\._numpy"
)


def test_the_types_are_those_of_the_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "--concise", "pomai"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("pomai.") and not KNOWN.search(line)]
    assert not found and "error:" not in done.stdout + done.stderr, "\n".join(found) or done.stdout + done.stderr
