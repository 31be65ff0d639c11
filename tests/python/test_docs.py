# SPDX-License-Identifier: Apache-2.0
"""The Python in docs/python.md, docs/indexing.md and README.md runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
from pathlib import Path

import pytest

import pomai

pytest.importorskip("numpy", reason="the guide shows NumPy arrays")

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python(?P<kind>[ \w]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = re.compile(r"\s*prints\s*```\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["docs/python.md", "docs/indexing.md", "README.md"])
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text()
    blocks = list(BLOCK.finditer(text))
    assert blocks, f"{page} has no Python"
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        if block["kind"].strip() == "arrow" and not hasattr(pomai.Collection, "scan"):
            continue
        line = text.count("\n", 0, block.start()) + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # Blank lines in front, so that a traceback names the line of the page.
            exec(compile("\n" * line + block["code"], str(ROOT / page), "exec"), names)
        prints = PRINTS.match(text, block.end())
        if prints:
            assert printed.getvalue() == prints["text"], f"{page}:{line}"


def test_every_error_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)`(?: \(`(\w+)`\))? \| (\d+) \|", (ROOT / "docs/python.md").read_text(), re.MULTILINE)
    errors = {
        value
        for name in pomai.__all__
        if isinstance(value := getattr(pomai, name), type) and issubclass(value, pomai.Error)
    }
    assert {name for name, _, _ in rows} == {error.__name__ for error in errors - {pomai.Error}}
    for name, base, status in rows:
        assert getattr(pomai, name).status == int(status), name
        assert not base or base in [c.__name__ for c in getattr(pomai, name).__mro__], name


def test_every_option_of_open_is_named() -> None:
    text = (ROOT / "docs/python.md").read_text()
    for name in inspect.signature(pomai.open).parameters:
        assert re.search(rf"`{name}\b|\({name}\)", text), name
