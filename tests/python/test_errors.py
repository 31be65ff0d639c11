# SPDX-License-Identifier: Apache-2.0
"""The exceptions are the statuses of the C interface: the same numbers, the same names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import pomai
from pomai import _errors

ROOT = Path(__file__).parents[2]
HEADER = (ROOT / "include/pomai/status.h").read_text()
TABLE = {int(number): "POMAI_" + name for name, number in re.findall(r"\bX\(([A-Z]+), (\d+), \"", HEADER)}
CLASSES = [c for c in vars(pomai).values() if inspect.isclass(c) and issubclass(c, pomai.Error)]


def test_every_status_has_a_class() -> None:
    assert len(TABLE) == 25 and TABLE.pop(0) == "POMAI_OK"
    assert {number: c.name for number, c in _errors.BY_STATUS.items() if isinstance(number, int)} == TABLE
    for number, name in TABLE.items():
        kind = _errors.BY_STATUS[number]
        assert kind.status == number and _errors.BY_STATUS[name.removeprefix("POMAI_")] is kind


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_classes(kind: type[pomai.Error]) -> None:
    assert kind.__name__.endswith("Error") and kind.__name__ in pomai.__all__
    assert kind.__doc__ and TABLE[kind.status] == kind.name
    assert kind is pomai.Error or kind.hint
    error = kind("what failed")
    assert str(error) == error.message == "what failed" and "what failed" in repr(error)
    assert (error.os_errno, error.rows_stored, error.report) == (0, 0, None)


def test_family() -> None:
    assert {c.__name__ for c in CLASSES} == {n for n in pomai.__all__ if n.endswith("Error")}
    for kind, builtin in {
        "InvalidError": ValueError, "InvalidTypeError": TypeError, "UnsupportedError": NotImplementedError,
        "NotFoundError": LookupError, "DeadlineError": TimeoutError, "IoError": OSError, "NoSpaceError": OSError,
        "NoMemoryError": MemoryError, "AccessError": PermissionError, "DimensionError": ValueError,
    }.items():
        assert issubclass(getattr(pomai, kind), builtin)


def test_what_an_exception_says(tmp_path: Path) -> None:
    with pytest.raises(pomai.NotFoundError) as caught:
        pomai.open(tmp_path / "no" / "where")
    assert caught.value.os_errno == 2 and caught.value.status == 2 and "where" in str(caught.value)
    with pomai.open(tmp_path / "db") as db, pytest.raises(pomai.InvalidTypeError) as refused:
        db.add([[1.0, "a"]])
    assert refused.value.name == "POMAI_EINVAL" and refused.value.hint


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with pomai.open(path, shards=1) as db:
        db.add([[1.0, 2.0]] * 100)
        db.flush()
    assert pomai.verify(path, lambda done, total: None)
    segment = max(path.rglob("*.arrow"), key=lambda file: file.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(data)
    with pytest.raises(pomai.CorruptError) as caught:
        pomai.verify(path)
    assert caught.value.report and "problems" in caught.value.report, caught.value.report
    assert pomai.salvage(path, tmp_path / "saved")

    def stop(done: int, total: int) -> None:
        raise KeyError("stop")

    for call in (lambda: pomai.verify(path, stop), lambda: pomai.salvage(path, tmp_path / "again", stop)):
        with pytest.raises(KeyError):
            call()
    with pytest.raises(pomai.InvalidTypeError, match="progress"):
        pomai.verify(path, 5)  # type: ignore[arg-type]


def test_a_lost_catalogue_is_in_its_copy(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with pomai.open(path) as db:
        db.add([[1.0, 2.0]] * 100)
        db.delete(range(40, 50))
    manifest, copy = next(path.glob("manifest/MANIFEST-*")), next(path.glob("shards/CATALOGUE-*"))
    data = bytearray(manifest.read_bytes())
    data[len(data) // 2] ^= 1
    manifest.write_bytes(data)
    with pytest.raises(pomai.CorruptError, match="pomai salvage") as caught:
        pomai.open(path)
    assert "salvage" in caught.value.hint
    report = pomai.salvage(path, tmp_path / "saved")
    assert report["rows"] == 90 and not report["lost"], report
    copy.unlink()
    with pytest.raises(pomai.CorruptError, match="catalogue") as caught:
        pomai.salvage(path, tmp_path / "again")
    assert "salvage" not in caught.value.hint and "salvage" not in str(caught.value)  # that was just tried


def test_module_and_members_are_documented() -> None:
    assert pomai.__doc__ and re.fullmatch(r"\d+\.\d+\.\d+", pomai.__version__)
    assert pomai.__version__ in (ROOT / "include/pomai/version.h").read_text()
    assert pomai.simd_level() in ("scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "neondot")
    for name in pomai.__all__:
        thing = getattr(pomai, name)
        if not callable(thing):
            continue
        assert thing.__doc__, name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or inspect.isgetsetdescriptor(value)):
                    assert value.__doc__, f"{name}.{member}"


def test_what_is_printed_says_what_it_is(tmp_path: Path) -> None:
    db = pomai.open(tmp_path / "db")
    db.add([[1.0, 2.0]], ids=[7])
    docs = db.collection("docs", 2)
    assert repr(db) == f"<pomai.Database {str(tmp_path / 'db')!r}>"
    assert repr(docs) == "<pomai.Collection 'docs'>"
    assert repr(db.get([7, 8])) == "<pomai.Rows of 2 ids>" and repr(db.get(7)) == "Row(id=7)"
    assert repr(db.search([1.0, 2.0])) == "<pomai.Result of 1 hits>"
    assert repr(db.search([[1.0, 2.0]] * 3)) == "<pomai.Results of 3 queries>"
    db.drop("docs")
    assert repr(docs) == "<pomai.Collection, dropped>"
    db.close()
    assert repr(docs) == "<pomai.Collection, closed>" and repr(db).endswith(", closed>")
