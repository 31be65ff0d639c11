# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the package's tests, and programs that run in a Python of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

import pomai

# One shard and no search helpers: the tests share a small machine. What fails prints how to bring it back.
SMALL = {"shards": 2, "search_threads": 0, "durability": "os"}
hypothesis.settings.register_profile("pomai", deadline=None, print_blob=True, database=None)
hypothesis.settings.load_profile("pomai")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "test.db")


@pytest.fixture
def db(path: str) -> Iterator[pomai.Database]:
    opened = pomai.open(path, **SMALL)
    yield opened
    opened.close()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Numbers from a seed that a failure shows; POMAI_TEST_SEED gives it again."""
    seed = int(os.environ.get("POMAI_TEST_SEED") or random.randrange(2**32))
    print(f"POMAI_TEST_SEED={seed}")
    return random.Random(seed)


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Runs a program in a new interpreter and returns how it ended."""

    def run(text: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        source = tmp_path / "program.py"
        source.write_text(text)
        command = [sys.executable, *options, str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run
