# SPDX-License-Identifier: Apache-2.0
"""A refusal speaks of what was given, of what is allowed and of the way out, in the words of Python."""

from __future__ import annotations

import datetime
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
