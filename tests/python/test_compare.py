# SPDX-License-Identifier: Apache-2.0
"""./dev bench compare says what was measured: recall, interpolation, tables, and what becomes of a broken engine."""

from __future__ import annotations

import json
import math
import random
import sys
import xml.etree.ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

np = pytest.importorskip("numpy")
HERE = Path(__file__).resolve().parents[2] / "bench" / "python"
sys.path.insert(0, str(HERE))

import bench_compare  # noqa: E402
import compare_report  # noqa: E402
import datasets  # noqa: E402
import engines  # noqa: E402
import figures  # noqa: E402
import search_worker  # noqa: E402


def test_recall_counts_rows_at_the_same_distance() -> None:
    truth = np.array([[4, 7, 9, 1], [3, 2, 8, 5]])
    far = np.array([[0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0]])
    found = search_worker.as_rows([[4, 9], np.array([3], np.uint64)], 2)
    assert found.tolist() == [[4, 9], [3, -1]]
    assert search_worker.recall(found, truth, far) == (0.75, 1)
    # More than one of the rows at the k-th distance does not make up for a nearer one.
    assert search_worker.recall(np.array([[7, 9], [8, 5]]), truth, far) == (0.5, 1)
    assert search_worker.recall(np.array([[4, 4], [3, 3]]), truth, far) == (0.5, 0)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_truth_is_brute_force_in_float64(metric: str, rng: random.Random) -> None:
    data = np.random.default_rng(rng.randrange(2**32))
    # Far from the origin float32 alone gets the order wrong; rows that are equal are ordered by number.
    base = (1000 + data.standard_normal((700, 8))).astype(np.float32)
    base[350:] = base[:350]
    if metric == "cosine":
        base /= np.linalg.norm(base, axis=1, keepdims=True)
    queries = base[:20] + np.float32(1e-4)
    ids, far = datasets.truth(base, queries, metric)
    for query, mine, distances in zip(queries, ids, far):
        wanted = datasets.distances(base, query, metric)
        order = np.lexsort((np.arange(len(base)), wanted))[: datasets.DEPTH]
        assert mine.tolist() == order.tolist()
        assert distances.tolist() == wanted[order].tolist()


def test_interpolation_is_of_the_frontier() -> None:
    points = [(0.8, 1000.0), (0.9, 100.0), (0.85, 90.0), (1.0, 10.0)]
    assert figures.frontier(points) == [(0.8, 1000.0), (0.9, 100.0), (1.0, 10.0)]
    assert figures.at_recall(points, 0.5) == 1000.0
    assert figures.at_recall(points, 0.9) == pytest.approx(100.0)
    assert figures.at_recall(points, 0.95) == pytest.approx(math.sqrt(100 * 10))
    assert figures.at_recall(points, 1.0) == pytest.approx(10.0)
    assert figures.at_recall(points[:2], 0.95) is None
    assert figures.at_recall([], 0.5) is None


def test_percentile_is_a_value_that_was_measured() -> None:
    times = sorted(float(i) for i in range(1, 101))
    assert [figures.percentile(times, p) for p in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert figures.percentile([3.0], 99) == 3.0


def test_ratios_are_taken_within_a_round() -> None:
    spread = figures.ratios({0: 10.0, 1: 40.0, 2: 9.0}, {0: 5.0, 1: 10.0, 3: 1.0})
    assert spread == figures.Spread(3.0, 2.0, 4.0)
    assert figures.ratios({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (1234567.0, "1,230,000"), (56.78, "56.8"), (0.01234, "0.0123"), (-9.996, "-10.00")],
)
def test_numbers_keep_three_digits(value: float | None, text: str) -> None:
    assert figures.short(value) == text


def test_a_page_keeps_what_is_outside_its_markers() -> None:
    page = figures.between("# Head\n", "compare a", "one\n")
    page = figures.between(page, "compare b", "two\n")
    page = figures.between(page + "tail\n", "compare a", "three\n")
    assert "one" not in page and page.index("three") < page.index("two") < page.index("tail")
    assert figures.between(page, "compare a", "three\n") == page
    assert figures.markdown([["a|b", "c"], ["1", "2"]]) == "| a\\|b | c |\n| --- | --- |\n| 1 | 2 |\n"


def test_plot_is_well_formed_and_inside_its_frame() -> None:
    curves = [("<us> & co", [(0.5, 90_000.0), (0.99999, 3.0)]), ("none", []), ("low", [(0.1, 5.0)])]
    root = xml.etree.ElementTree.fromstring(figures.svg("title", curves, "<us> & co"))
    circles = [item for item in root.iter() if item.tag.endswith("circle")]
    assert len(circles) == 2
    for circle in circles:
        assert figures.LEFT <= float(circle.get("cx", "")) <= figures.WIDTH - figures.RIGHT
        assert figures.TOP <= float(circle.get("cy", "")) <= figures.HEIGHT - figures.BOTTOM


def test_every_engine_can_be_asked_about_without_being_there() -> None:
    kinds = {name: engines.kind(name)("cosine", 100_000, 100) for name in engines.NAMES}
    assert len({kind.name for kind in kinds.values()}) == len(kinds)
    assert all(kind.parameters and kind.distribution for kind in kinds.values())
    assert all(list(kind.efforts) == sorted(kind.efforts) for kind in kinds.values())
    assert {*engines.QUICK, *engines.EXACT} <= set(kinds)


def made_up(name: str, rates: dict[Any, tuple[float, list[float]]]) -> compare_report.Row:
    """A row that was measured: by effort, the recall and the rate of each round."""
    row = compare_report.Row(name, engines.kind(name), Path("python"))
    row.loaded = {"version": "1", "parameters": "p", "bytes": 5000}
    row.built = {"1": {"seconds": 4.0, "peak_bytes": 1}, str(compare_report.CORES): {"seconds": 2.0, "peak_bytes": 1}}
    for effort, (recall, rounds) in rates.items():
        row.judged[effort] = {"recall": recall, "same": 1, "queries": 2}
        row.single[(effort, 1)] = {i: {"qps": qps, "p50_ms": 1.0, "p99_ms": 2.0} for i, qps in enumerate(rounds)}
    return row


def test_report_names_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        made_up("pomai", {"exact": (1.0, [100.0, 300.0])}),
        made_up("hnswlib", {10: (0.9, [400.0, 400.0]), 20: (0.97, [200.0, 100.0])}),
        made_up("faiss_flat", {"exact": (1.0, [50.0, 50.0])}),
    ]
    rows.append(compare_report.Row("ngt", engines.kind("ngt"), None, "not installed: no"))
    data = {"data": "glove", "metric": "cosine", "rows": 10, "dim": 100, "queries": 2, "directory": str(tmp_path)}
    report = compare_report.Report(SimpleNamespace(k=10, queries=2, rounds=2), data, rows)
    found = {one["figure"]: one for one in map(json.loads, map(json.dumps, report.figures()))}
    assert found["search.glove.r90.qps"]["value"] == 200
    assert found["search.glove.r90.vs_best"]["value"] == pytest.approx((100 / 400 + 300 / 400) / 2)
    assert found["search.glove.r90.vs_hnswlib"]["least"] == pytest.approx(0.25)
    assert found["search.glove.r99.vs_best"]["peer"] == "faiss_flat"  # hnswlib does not get there
    assert "search.glove.r99.vs_hnswlib" not in found
    assert found["exact.f32.cosine.d100.vs_faiss"]["value"] == pytest.approx(4)
    assert found["build.glove.vs_hnswlib"]["value"] == 1
    monkeypatch.setattr(compare_report, "PAGE", tmp_path / "comparison.md")
    report.write()
    page = (tmp_path / "comparison.md").read_text()
    assert "| hnswlib (best) | 1 |" in page and "- NGT ANNG: not installed: no" in page
    assert (tmp_path / "comparison-glove.svg").stat().st_size < 300_000


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo 'it broke' >&2; exit 3", "load: it broke"),
        ("kill -SEGV $$", "load: killed by SIGSEGV"),
        ("exec sleep 1000", "load: not done after 0.2 s"),
    ],
)
def test_a_broken_engine_is_a_reason(
    program: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_compare, "PLACE", tmp_path)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    process = bench_compare.Process(python, "hnswlib", tmp_path, tmp_path, 1)
    limit = 0.2 if "sleep" in program else 60
    with pytest.raises(bench_compare.Failed, match=reason):
        process.ask(limit, "load")
    assert process.process.poll() is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "mnist"], "no data mnist; there are fashion-mnist"),
        (["--only", "hnswlib,annoy"], "no engine annoy; there are pomai"),
        (["--rounds", "-1"], "at least 1"),
        (["--limit-rows", "10"], "at least 1,000"),
    ],
)
def test_wrong_arguments_are_told_what_is_known(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench_compare.arguments(given)
    assert said in capsys.readouterr().err
