# SPDX-License-Identifier: Apache-2.0
"""./dev bench filter says what was measured: which rows match, their truth, short and wrong answers, tables."""

from __future__ import annotations

import json
import random
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

np = pytest.importorskip("numpy")
HERE = Path(__file__).resolve().parents[2] / "bench" / "python"
sys.path.insert(0, str(HERE))

import bench_compare  # noqa: E402
import bench_filter  # noqa: E402
import compare_report  # noqa: E402
import datasets  # noqa: E402
import filter_data  # noqa: E402
import filter_engines  # noqa: E402
import filter_report  # noqa: E402
import filter_worker  # noqa: E402

ROWS, DIM = 3000, 8


def made_data(directory: Path, seed: int) -> Any:
    """What filter_data.py makes of random rows of length 1, with rows that are there several times."""
    data = np.random.default_rng(seed)
    base = data.standard_normal((ROWS, DIM)).astype(np.float32)
    base[ROWS // 2 :] = base[: ROWS - ROWS // 2]
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    where = directory / "data" / "glove-whole"
    where.mkdir(parents=True)
    np.save(where / "base.npy", base)
    np.save(where / "queries.npy", base[:40] + np.float32(1e-3))
    meta = {"data": "glove", "metric": "cosine", "rows": ROWS, "dim": DIM, "queries": 40, "directory": str(where)}
    (where / "meta.json").write_text(json.dumps(meta))
    return filter_data.prepare("glove", directory, 0)


@pytest.fixture
def data(tmp_path: Path, rng: random.Random) -> Any:
    return made_data(tmp_path, rng.randrange(2**32))


def parts(data: Any) -> tuple[Any, list[dict[str, Any]]]:
    where = Path(data["directory"])
    with np.load(where / "columns.npz") as columns:
        return dict(columns), json.loads((where / "cases.json").read_text())


def test_filters_mean_the_same_in_numpy_and_in_sql(data: Any) -> None:
    columns, cases = parts(data)
    db = sqlite3.connect(":memory:")
    db.execute(f"create table rows({', '.join(columns)})")
    values = zip(*(column.tolist() for column in columns.values()))
    db.executemany("insert into rows(rowid, number, category, cluster, tenant) values (?, ?, ?, ?, ?)",
                   ((i, *row) for i, row in enumerate(values)))  # fmt: skip
    for case in cases:
        for terms, matches in zip(case["filters"], case["matches"]):
            found = [row[0] for row in db.execute(f"select rowid from rows where {filter_engines.sql(terms)}")]
            assert sorted(found) == filter_engines.matching(columns, terms).tolist()
            assert len(found) == matches > 0


def test_filters_mean_the_same_in_numpy_and_in_the_engine(data: Any, tmp_path: Path) -> None:
    pomai = pytest.importorskip("pomai")
    columns, cases = parts(data)
    with pomai.open(tmp_path / "db", search_threads=0, durability="os") as db:
        db.add(np.zeros((ROWS, 1)), ids=np.arange(ROWS), metadata=filter_engines.records(columns))
        for case in cases:
            terms = case["filters"][case["which"][-1]]
            found = db.search([0.0], k=ROWS, filters=filter_engines.mongo(terms), exact=True).ids
            assert sorted(found.tolist()) == filter_engines.matching(columns, terms).tolist(), case["name"]


def test_cases_are_what_they_say(data: Any, tmp_path: Path) -> None:
    columns, cases = parts(data)
    named = {case["name"]: case for case in cases}
    for share in filter_data.SHARES:
        case = named[f"number-{share:g}"]
        assert set(case["matches"]) == {max(1, round(ROWS * share / 100))}
        assert len(case["filters"]) > 20  # almost every query has a range of its own
    assert len(named["category-in"]["filters"]) == 1
    assert len({i for i in named["tenant"]["which"]}) == 40
    near, far = (named[name] for name in ("near", "far"))
    base, queries = (np.load(tmp_path / "data" / "glove-whole" / f"{name}.npy") for name in ("base", "queries"))
    for i, query in enumerate(queries):
        own, other = (case["filters"][case["which"][i]][0][2] for case in (near, far))
        assert own != other
        distances = datasets.distances(base, query, "cosine")
        assert distances[columns["cluster"] == own].min() == distances.min()
        assert distances[columns["cluster"] == other].mean() > distances.mean()
    # The same seed gives the same: what engines keep is of these.
    meta = json.loads((tmp_path / "data" / "glove-whole" / "meta.json").read_text())
    again = filter_data.make_columns("glove", base, tmp_path)
    assert all(np.array_equal(again[name], columns[name]) for name in columns)
    assert filter_data.make_cases(base, again, queries, meta["metric"]) == cases


def test_truth_is_brute_force_over_the_rows_that_match(data: Any, tmp_path: Path) -> None:
    columns, cases = parts(data)
    base, queries = (np.load(tmp_path / "data" / "glove-whole" / f"{name}.npy") for name in ("base", "queries"))
    with np.load(Path(data["directory"]) / "truth.npz") as truth:
        for case in cases:
            for i, query in enumerate(queries):
                rows = filter_engines.matching(columns, case["filters"][case["which"][i]])
                wanted = datasets.distances(base[rows], query, "cosine")
                order = np.lexsort((rows, wanted))[: filter_data.DEPTH]
                ids, far = truth[f"{case['name']}.ids"][i], truth[f"{case['name']}.far"][i]
                assert ids[: len(order)].tolist() == rows[order].tolist()
                assert far[: len(order)].tolist() == wanted[order].tolist()
                assert set(ids[len(order) :]) <= {-1} and np.all(np.isinf(far[len(order) :]))


def test_truth_far_from_the_origin_is_decided_in_float64(rng: random.Random) -> None:
    made = np.random.default_rng(rng.randrange(2**32))
    base = (30_000 + made.standard_normal((700, 8))).astype(np.float32)
    truth = filter_data.Truth(base, "l2")
    rows = np.flatnonzero(made.random(700) < 0.5)
    for query in base[:20] + np.float32(0.01):
        wanted = datasets.distances(base[rows], query, "l2")
        ids, far = truth.nearest(query, truth.rough(query), rows)
        assert ids.tolist() == rows[np.lexsort((rows, wanted))[: filter_data.DEPTH]].tolist()
        assert far.tolist() == np.sort(wanted)[: filter_data.DEPTH].tolist()


def test_hits_count_rows_at_the_same_distance_and_none_twice() -> None:
    truth, far = np.array([4, 7, 9, 1, -1]), np.array([0.0, 1.0, 1.0, 2.0, np.inf])
    assert filter_worker.hits([4, 9], 2, truth, far) == 2
    assert filter_worker.hits([7, 9], 2, truth, far) == 2
    assert filter_worker.hits([1, 4], 2, truth, far) == 1
    assert filter_worker.hits([4, 4], 2, truth, far) == 1
    assert filter_worker.hits([4, 7, 9, 1, -1], 4, truth, far) == 4
    assert filter_worker.hits([], 4, truth, far) == 0


def test_a_worker_builds_judges_and_measures(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pomai")
    monkeypatch.setattr(bench_compare, "PLACE", tmp_path)
    where, index = Path(data["directory"]), tmp_path / "index"
    index.mkdir()
    python = Path(sys.executable)
    process = bench_compare.Process(python, "pomai", where, index, 1, "filter_worker.py")
    assert process.ask(60, "build", threads=1)["seconds"] > 0
    process.stop(60)
    process = bench_compare.Process(python, "pomai", where, index, 1, "filter_worker.py")
    try:
        assert "exact" in process.ask(60, "load", k=10)["efforts"]
        for case in parts(data)[1]:
            judged = process.ask(60, "judge", case=case["name"], effort="exact", queries=40, seconds=60)
            assert (judged["recall"], judged["short"], judged["wrong"], judged["queries"]) == (1, 0, 0, 40)
        one = process.ask(60, "single", case="far", effort="exact", queries=40, seconds=0.01)
        assert one["qps"] > 0 and one["p99_ms"] >= one["p50_ms"] > 0
    finally:
        process.stop(60)


class Broken(filter_engines.Filtered):
    """Answers with too few rows that match, one of them twice, and one that does not."""

    name, given, efforts = "broken", "rows", (1,)

    def compile(self, terms: Any, ids: Any, k: int) -> Any:
        return ids

    def search_filtered(self, query: Any, k: int, given: Any) -> Any:
        wrong = next(row for row in range(self.rows) if row not in given)
        return [*given[: k - 2], given[0], wrong]


def test_a_judge_sees_short_and_wrong_answers(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_engines, "kind", lambda _: Broken)
    monkeypatch.setattr(filter_worker, "pin", lambda _: None)
    worker = filter_worker.Worker("broken", Path(data["directory"]), tmp_path)
    worker.k = 10
    judged = worker.judge("number-10", 1, 30, 60)
    assert (judged["short"], judged["wrong"], judged["queries"]) == (30, 60, 30)
    assert judged["recall"] < 0.7
    judged = worker.judge("number-0.01", 1, 30, 60)  # one row matches: all that do are there
    assert (judged["recall"], judged["short"]) == (1, 0)


def test_every_engine_can_be_asked_about_without_being_there() -> None:
    kinds = {name: filter_engines.kind(name)("cosine", 100_000, 100) for name in filter_engines.NAMES}
    assert len({kind.name for kind in kinds.values()}) == len(kinds)
    assert all(kind.parameters and kind.given and kind.distribution for kind in kinds.values())
    assert all(list(kind.efforts) == sorted(kind.efforts) for kind in kinds.values())
    assert {*filter_engines.QUICK} <= set(kinds)


Efforts = dict[Any, tuple[float, int, list[float]]]


def made_up(name: str, cases: dict[str, Efforts]) -> Any:
    """A row that was measured: by case and effort, the recall, how many were short, and the rate of each round."""
    row = compare_report.Row(name, filter_engines.kind(name), Path("python"))
    row.loaded = {"version": "1", "parameters": "p", "given": "g", "efforts": [1], "bytes": 5000}
    row.built = {str(compare_report.CORES): {"seconds": 2.0}}
    for case, efforts in cases.items():
        one = row.cases[case] = compare_report.Row(name, row.kind, row.python)
        for effort, (recall, short, rounds) in efforts.items():
            one.judged[effort] = {"recall": recall, "short": short, "wrong": 0, "queries": 9, "given_ms": 1.0}
            one.single[(effort, 1)] = {i: {"qps": qps, "p50_ms": 1.0, "p99_ms": 2.0} for i, qps in enumerate(rounds)}
    return row


def test_report_names_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        made_up("pomai", {"number-1": {0.95: (0.96, 0, [100.0, 300.0])}, "far": {0.95: (1.0, 0, [50.0, 50.0])}}),
        made_up("hnswlib", {"number-1": {10: (0.97, 0, [400.0, 400.0])}, "far": {10: (0.5, 4, [200.0, 100.0])}}),
        made_up("zvec", {"number-1": {10: (0.9, 0, [90.0, 90.0]), 20: (0.99, 2, [50.0, 50.0])},
                         "far": {10: (1.0, 1, [10.0, 20.0])}}),
        compare_report.Row("omendb", filter_engines.kind("omendb"), None, "not installed: no"),
    ]  # fmt: skip
    cases = [{"name": "number-1", "share": 0.01}, {"name": "far", "share": 0.1}]
    data = {"data": "glove", "metric": "cosine", "rows": 10, "dim": 100, "queries": 2, "directory": str(tmp_path)}
    report = filter_report.Report(SimpleNamespace(k=10, queries=9, rounds=2), data, cases, rows)
    found = {one["figure"]: one for one in map(json.loads, map(json.dumps, report.figures()))}
    assert found["filter.glove.s1.recall"]["value"] == 0.96
    assert found["filter.glove.s1.r95.qps"]["value"] == 200
    assert found["filter.glove.s1.hnswlib.r95.qps"]["share"] == 0.01
    assert found["filter.glove.s1.vs_best"]["value"] == pytest.approx((100 / 400 + 300 / 400) / 2)
    assert found["filter.glove.s1.vs_best"]["peer"] == "hnswlib"
    assert found["filter.glove.s1.vs_best_store"]["peer"] == "zvec"
    assert found["filter.glove.far.vs_best"]["value"] == pytest.approx((50 / 10 + 50 / 20) / 2)
    assert "filter.glove.far.hnswlib.r95.qps" not in found
    monkeypatch.setattr(filter_report, "PAGE", tmp_path / "comparison-filter.md")
    report.write()
    page = (tmp_path / "comparison-filter.md").read_text()
    assert "| far | 10.0% | 50.0 | (0.50)* | 15.0* |" in page
    assert "far 4 of 9 short (effort 10)" in page and "- OmenDB: not installed: no" in page
    assert "- usearch 2.26.6: " in page


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "mnist"], "no data mnist; there are glove"),
        (["--only", "hnswlib,usearch"], "no engine usearch; there are pomai"),
        (["--queries", "501"], "--queries from 1 to 500"),
        (["-k", "51"], "-k from 1 to 50"),
        (["--limit-rows", "10"], "at least 1,000"),
    ],
)
def test_wrong_arguments_are_told_what_is_known(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench_filter.arguments(given)
    assert said in capsys.readouterr().err


def test_cases_are_chosen_by_name_or_share(data: Any) -> None:
    args = bench_filter.arguments(["--selectivity", "1,0.01", "--cases", "far"])
    assert [case["name"] for case in bench_filter.choose(args, data)] == ["number-1", "number-0.01", "far"]
    with pytest.raises(bench_compare.Failed, match="no case number-7; there are number-90"):
        bench_filter.choose(bench_filter.arguments(["--selectivity", "7"]), data)
