# SPDX-License-Identifier: Apache-2.0
"""The examples run, and what they print at the end is what a reader is told to expect."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numpy", reason="the examples need NumPy")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/python"


def lines(name: str, data: Path, package: str, directory: Path) -> list[str]:
    if not data.exists():
        pytest.skip(f"{data} is missing: apt-get install {package}")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--queries", "200"], cwd=directory, capture_output=True, text=True,
        check=False, timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(directory.iterdir()), "it left something behind"
    return done.stdout.splitlines()


def percent(line: str) -> float:
    found = re.search(r"([\d.]+)%", line)
    assert found, line
    return float(found[1])


def test_wordnet(tmp_path: Path) -> None:
    printed = lines("wordnet_search.py", Path("/usr/share/wordnet/data.noun"), "wordnet-base", tmp_path)
    assert [line[:12].strip() for line in printed[-4:]] == ["first  1", "first  5", "first 10", "by chance"]
    assert percent(printed[-4]) > 15 and percent(printed[-1]) < 2
    assert any("bicycle" in line for line in printed)


def test_fashion(tmp_path: Path) -> None:
    data = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
    printed = lines("fashion_search.py", data, "dataset-fashion-mnist", tmp_path)
    assert printed[-3].startswith("  all") and percent(printed[-3]) > 80
    assert printed[-1].startswith("6000 bags deleted: 54000 pictures now") and printed[-1].endswith("still a bag")
