# SPDX-License-Identifier: Apache-2.0
"""./dev bench growth and mixed --recall say what was measured: figures, exponents, the page, and what has no room."""

from __future__ import annotations

import json
import math
import subprocess
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

import pomai

PROGRAMS = Path(pomai.__file__).parents[2] / "bench"
pytestmark = pytest.mark.skipif(not (PROGRAMS / "bench_growth").exists(), reason="benchmarks are not built")


def run(where: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [PROGRAMS / f"bench_{name}", "--dir", str(where), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def figures(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_growth(tmp_path: Path) -> None:
    page, plot, lines = tmp_path / "page.md", tmp_path / "plot.svg", tmp_path / "figures.json"
    page.write_text("before\n<!-- growth -->\nold\n<!-- end of growth -->\nafter\n")
    done = run(tmp_path, "growth", "--rows", "1k,5k,20k", "--queries", "50", "--seconds", "0.02", "--rounds", "1",
               "--json", str(lines), "--svg", str(plot), "--write", str(page))  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = figures(lines)
    of = {(f["figure"], f["n"]): f["value"] for f in found if not f["figure"].endswith(".exponent")}
    for rows in (1000, 5000, 20000):
        for target in (90, 95, 99):
            assert of[f"growth.r{target}.recall", rows] >= target / 100 - 0.04  # of 500 neighbours
            assert of[f"growth.r{target}.qps", rows] > 0
        assert of["growth.r95.busy_us", rows] * of["growth.r95.qps", rows] <= 1.2e6  # one thread has one processor
        assert of["growth.disk.bytes_a_row", rows] >= 4 * 128
        anonymous, searched, everything, peak = (
            of[f"growth.memory.{which}_mb", rows] for which in ("anonymous", "searched", "all", "peak")
        )
        assert 0 < anonymous < searched <= everything <= peak
        assert everything > rows * 4 * 128 / 1e6
    assert of["growth.graphs", 1000] == 0 and of["growth.rows_not_in_graph", 1000] == 1000
    assert of["growth.graphs", 20000] == 1 and of["growth.rows_not_in_graph", 20000] == 0
    exponents = {f["figure"]: f for f in found if f["figure"].endswith(".exponent")}
    fitted = ("index.s", "index.busy_s", "qps_at_95", "r95.busy_us", "memory.searched_mb", "memory.all_mb")
    assert set(exponents) == {f"growth.{of}.exponent" for of in fitted}
    for name, exponent in exponents.items():
        points = [(math.log(n), math.log(v)) for (figure, n), v in of.items() if f"{figure}.exponent" == name]
        x0, y0 = (sum(values) / 3 for values in zip(*points))
        slope = sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)
        assert exponent["value"] == pytest.approx(slope, abs=1e-4)
        (x1, y1), (x2, y2) = points[1:]
        assert exponent["last_step"] == pytest.approx((y2 - y1) / (x2 - x1), abs=2e-3)
    text = page.read_text()
    assert text.startswith("before\n<!-- growth -->\n\n") and text.endswith("|\n\n<!-- end of growth -->\nafter\n")
    assert "| rows | 1,000 | 5,000 | 20,000 | exponent |" in text and "old" not in text
    drawn = xml.etree.ElementTree.parse(plot).getroot()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "page.md", "plot.svg"]


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--rows", "10k,1g", "--dim", "4096"], 1, "1,000,000,000 rows: needs about "),
        (["--rows", "10k,5k"], 2, "usage"),
        (["--rows", "10k,much"], 2, "usage"),
        (["--rows", "10"], 2, "usage"),
        (["--rows", "10k", "--write", "nowhere.md"], 1, "nowhere.md: No such file"),
        (["--rows", "10k", "--write", "/dev/null"], 1, "has no markers"),
    ],
)
def test_growth_refuses_before_it_begins(tmp_path: Path, options: list[str], code: int, reason: str) -> None:
    done = run(tmp_path, "growth", *options)
    assert (done.returncode, reason in done.stderr) == (code, True), done.stderr
    assert "import" not in done.stdout and not list(tmp_path.iterdir())


def test_mixed_with_graphs(tmp_path: Path) -> None:
    lines = tmp_path / "figures.json"
    done = run(tmp_path, "mixed", "--rows", "6k", "--recall", "0.95", "--rate", "5000", "--batch", "500",
               "--seconds", "1.2", "--rounds", "1", "--json", str(lines))  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {f["figure"]: f for f in figures(lines)}
    for kind in ("idle", "ingest", "paused"):
        assert found[f"mixed.recall.{kind}"]["value"] >= 0.7
        assert found[f"mixed.recall.{kind}"]["samples"] >= 1
    # What comes is counted: it cannot be in a graph as long as it is in memory.
    ingest = found["mixed.backlog.ingest"]
    assert 500 <= ingest["end"] <= ingest["most"]
    assert ingest["most"] >= found["mixed.backlog.idle"]["most"] + 500
    assert found["mixed.backlog.growth"]["vec_per_s"] > 0
    assert found["mixed.search.p99_ratio"]["value"] > 0
