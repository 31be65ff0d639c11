# SPDX-License-Identifier: Apache-2.0
"""Every public name is documented, its examples run, and its signature can be asked for."""

from __future__ import annotations

import doctest
import inspect
import types
from pathlib import Path
from typing import Any

import pytest

import pomai
import pomai.aio
from pomai import _database, _errors, _helpers

pytest.importorskip("numpy", reason="the examples show NumPy arrays")

CLASSES = (
    pomai.Database, pomai.Collection, pomai.Snapshot, pomai.Block, pomai.Result, pomai.Results, pomai.Hit, pomai.Rows,
    pomai.Row,
)
METHODS = (types.MethodDescriptorType, types.GetSetDescriptorType, types.FunctionType)
FLAGS = doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def documented() -> dict[str, Any]:
    """What has a docstring by right: the module's names, and what their classes define, C or not."""
    found: dict[str, Any] = {"pomai": pomai, "pomai.aio": pomai.aio}
    for name in pomai.__all__:
        found[f"pomai.{name}"] = getattr(pomai, name)
    for prefix, classes in (("pomai", CLASSES), ("pomai.aio", (pomai.aio.Database, pomai.aio.Collection))):
        for cls in classes:
            for name, value in vars(cls).items():
                if not name.startswith("_") and isinstance(value, METHODS):
                    found[f"{prefix}.{cls.__name__}.{name}"] = value
    del found["pomai.__version__"]
    return found


NAMES = documented()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_examples(name: str, tmp_path: Path) -> None:
    value = NAMES[name]
    text = inspect.getdoc(value) or ""
    assert text, f"{name} has no docstring"
    example = doctest.DocTestParser().get_doctest(text, {"pomai": pomai}, name, None, None)
    with pomai.open(tmp_path / "doc.db") as db:
        example.globs.update(db=db, tmp=tmp_path)
        report: list[str] = []
        result = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=report.append)
    assert result.failed == 0, "".join(report)
    a_method = isinstance(value, (types.MethodDescriptorType, types.FunctionType)) or value in CLASSES
    if a_method and not name.startswith("pomai.aio."):  # those refer to the plain ones
        assert example.examples, f"{name} has no example"


@pytest.mark.parametrize("name", sorted(n for n, v in NAMES.items() if isinstance(v, METHODS[::2])))
def test_signatures(name: str) -> None:
    signature = inspect.signature(NAMES[name])
    assert "args" not in signature.parameters and "kwargs" not in signature.parameters
    assert not (NAMES[name].__doc__ or "").startswith(name.rpartition(".")[2] + "("), "the signature is in the text"


def test_the_search_signature_says_what_search_takes() -> None:
    parameters = inspect.signature(pomai.Collection.search).parameters
    assert parameters["k"].default == 10
    assert parameters["include"].kind is inspect.Parameter.KEYWORD_ONLY


def test_every_error_says_the_way_out() -> None:
    for value in vars(_errors).values():
        if isinstance(value, type) and issubclass(value, pomai.Error) and value is not pomai.Error:
            assert value.hint and value.__doc__
    assert _database.open.__doc__ and _helpers.Verdict.__doc__
