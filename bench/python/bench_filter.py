#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench filter: searches among the rows that match a filter, beside other engines that run inside the process.

Data, processes, rounds and ratios are those of ./dev bench compare; filter_data.py says what rows carry and which
filters are asked, filter_engines how each engine gets them, docs/comparison-filter.md how to read what comes out.
"""
from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_compare
import filter_engines
from bench_compare import Comparison, Failed, OneLine
from common import ROOT
from compare_report import Row
from filter_report import Report

DATA = ("glove", "fashion-mnist")
PATIENCE = 10  # seconds for a lock
QUICK_CASES = ("number-50", "number-1", "number-0.01", "near", "far", "tenant")


class Filtering(Comparison):
    """Row.cases has, by the name of a case, a Row with what was measured of it."""

    program = "filter_worker.py"

    def __init__(self, args: argparse.Namespace, data: dict[str, Any], rows: list[Row], cases: list[str]) -> None:
        super().__init__(args, data, rows)
        self.cases = cases
        self.columns = hashlib.sha1((self.where / "columns.npz").read_bytes()).hexdigest()[:12]

    def place(self, row: Row) -> Path:
        """An index without metadata is that of ./dev bench compare."""
        found = super().place(row)
        if not filter_engines.kind(row.name).carries:
            return found
        return found.parent.with_name(f"{row.name}-filter") / f"{found.name}-{self.columns}"

    def case(self, row: Row, name: str) -> Row:
        return row.cases.setdefault(name, Row(row.name, row.kind, row.python))

    def judge(self, row: Row) -> None:
        """Recall of every effort, from the least on, until one is as good as all."""
        process, args = self.open(row), self.args
        for name in self.cases:
            one = self.case(row, name)
            for effort in row.loaded["efforts"]:
                one.judged[effort] = process.ask(
                    args.limit, "judge", case=name, effort=effort, queries=args.queries, seconds=args.slow
                )
                enough = one.judged[effort]["recall"] >= bench_compare.ENOUGH
                if enough and effort != "exact" and row.name != filter_engines.OURS:
                    break

    def measure_all(self, round_: int) -> None:
        """Case by case, so that what is compared is measured within seconds."""
        for name in self.cases:
            with self.alone():
                for row in self.there():
                    with self.failing(row):
                        self.measure_case(row, name, round_)

    def measure_case(self, row: Row, name: str, round_: int) -> None:
        process, one = self.open(row), self.case(row, name)
        best = max(judged["recall"] for judged in one.judged.values())
        for effort, judged in one.judged.items():
            if judged["recall"] >= min(best, bench_compare.LEAST):
                one.single.setdefault((effort, 1), {})[round_] = process.ask(
                    self.args.limit, "single", case=name, effort=effort, queries=self.args.queries,
                    seconds=self.args.seconds,
                )  # fmt: skip

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """On a machine that others use, who hold the lock while they do; not for ever, as there may be many of them."""
        if not self.args.lock:
            yield
            return
        with self.args.lock.open("a") as lock:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        self.data["crowded"] = self.data.get("crowded", 0) + 1
                        break
                    time.sleep(0.02)
            yield


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = OneLine(prog="./dev bench filter", description=__doc__)
    parser.add_argument("--data", default=DATA[0], help=f"one of: {', '.join(DATA)}")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help=f"of: {', '.join(filter_engines.NAMES)}")
    parser.add_argument("--cases", default="", metavar="NAME,NAME", help="of those of filter_data.py, instead of all")
    parser.add_argument("--selectivity", default="", metavar="N,N", help="only ranges, of so many percent of the rows")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(filter_engines.QUICK)}; 100 queries")
    parser.add_argument("--prepare", action="store_true", help="only install, make the data and build the indexes")
    parser.add_argument("--rounds", type=int, help="rounds (3; quick: 2)")
    parser.add_argument("--queries", type=int, help="queries (300; quick: 100), at most 500")
    parser.add_argument("--seconds", type=float, default=0.15, help="of one slice (0.15)")
    parser.add_argument("--slow", type=float, default=3, help="seconds for the recall of one effort at most (3)")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for one build or one answer at most (1,800)")
    parser.add_argument("--limit-rows", type=int, default=0, metavar="N", help="rows, drawn by a fixed seed")
    parser.add_argument("-k", type=int, default=10, help="neighbours (10), at most 50")
    parser.add_argument("--rebuild", default="", metavar="NAME,NAME", help="build these anew")
    parser.add_argument("--ours", type=Path, default=ROOT, help="PomaiDB's Python package or its wheel")
    parser.add_argument("--upgrade", action="store_true", help="the newest version of each engine")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="hold flock(2) on it while a case is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="one JSON object a figure")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/comparison-filter.md")
    args = parser.parse_args(given)
    if args.data not in DATA:
        parser.error(f"no data {args.data}; there are {', '.join(DATA)}")
    chosen = [name.replace("-", "_") for name in args.only.split(",") if name]
    args.rebuild = [name.replace("-", "_") for name in args.rebuild.split(",") if name]
    unknown = sorted({*chosen, *args.rebuild} - set(filter_engines.NAMES))
    if unknown:
        parser.error(f"no engine {', '.join(unknown)}; there are {', '.join(filter_engines.NAMES)}")
    args.names = chosen or list(filter_engines.QUICK if args.quick else filter_engines.NAMES)
    args.cases = [name for name in args.cases.split(",") if name]
    args.cases += [f"number-{share}" for share in args.selectivity.split(",") if share]
    args.cases = args.cases or list(QUICK_CASES if args.quick else ())
    args.rounds = args.rounds or (2 if args.quick else 3)
    args.queries = args.queries or (100 if args.quick else 300)
    args.builds = "all"
    if args.rounds < 1 or not 1 <= args.queries <= 500 or args.limit_rows < 0 or not 1 <= args.k <= 50:
        parser.error("--rounds is at least 1, --limit-rows not negative, --queries from 1 to 500, -k from 1 to 50")
    if 0 < args.limit_rows < 1000:
        parser.error("--limit-rows is at least 1,000")
    return args


def choose(args: argparse.Namespace, data: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases that are measured."""
    cases = json.loads((Path(data["directory"]) / "cases.json").read_text())
    unknown = sorted(set(args.cases) - {case["name"] for case in cases})
    if unknown:
        raise Failed(f"no case {', '.join(unknown)}; there are {', '.join(case['name'] for case in cases)}")
    return [case for case in cases if not args.cases or case["name"] in args.cases]


def finish(args: argparse.Namespace, report: Report, stopped: bool) -> int:
    if args.prepare and not stopped:
        for row in report.rows:
            built = [f"{key} threads {one['seconds']:.3g} s" for key, one in row.built.items() if key.isdigit()]
            print(f"{row.label}: {row.reason or ', '.join(built)}")
        return 0
    if not report.measured:
        print("nothing was measured", file=sys.stderr)
        for line in report.missing():
            print(line, file=sys.stderr)
        return 130 if stopped else 1
    report.print()
    if args.json:
        args.json.write_text("".join(json.dumps(figure) + "\n" for figure in report.figures()))
    if args.write and not stopped:
        report.write()
    return 130 if stopped else 0


def main() -> int:
    args = arguments()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, bench_compare.interrupted)
    bench_compare.PLACE.mkdir(parents=True, exist_ok=True)
    try:
        data = bench_compare.prepare(args, "filter_data.py", bench_compare.PLACE)
        cases = choose(args, data)
        filtering = Filtering(
            args, data, bench_compare.make_rows(args, filter_engines.kind), [case["name"] for case in cases]
        )
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    stopped = False
    try:
        filtering.run()
    except KeyboardInterrupt:
        print("==> interrupted: what there is", file=sys.stderr)
        stopped = True
    return finish(args, Report(args, data, cases, filtering.rows), stopped)


if __name__ == "__main__":
    sys.exit(main())
