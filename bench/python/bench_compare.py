#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench compare: approximate and exact search beside other engines that run inside the process.

Each engine builds its index once, which is kept, and then lives in a process of its own. In every round each of them
answers the same queries with each of its efforts; ratios are taken within a round. docs/performance.md says how to
read it. Engines are installed by pip into build/venv-compare, data and indexes lie in build/compare.
"""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import engines
import venvs
from common import ROOT, fresh, last_line, processor
from compare_report import CORES, Report, Row

HERE = Path(__file__).resolve().parent
PLACE = ROOT / "build" / "compare"
VENVS = ROOT / "build" / "venv-compare"
DATA = ("fashion-mnist", "glove", "sift", "random", "embeddings-768", "embeddings-1536")
DATA_PACKAGES = {"sift": ("opencv-python-headless",)}
ENOUGH = 0.999  # no effort above the first that reaches this is measured
LEAST = 0.5  # nor one below this
# One thread wherever a library reads it from its environment; engines are told of more where they can be.
ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "VECLIB")
}  # fmt: skip


class Failed(Exception):
    pass


class Process:
    """A worker, and what is said to it. Nothing of it is left after stop()."""

    def __init__(
        self, python: Path, name: str, data: Path, index: Path, threads: int, program: str = "search_worker.py"
    ) -> None:
        self.log = PLACE / "log" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **{key: str(threads) for key in ONE_THREAD}, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [str(python), str(HERE / program), name, str(data), str(index)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def ask(self, limit: float, what: str, **options: Any) -> Any:
        """One order and its answer; Failed, and no process, after the limit or if it dies."""
        try:
            return self._ask(limit, what, options)
        except BaseException:
            self.kill()
            raise

    def _ask(self, limit: float, what: str, options: dict[str, Any]) -> Any:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": what, **options}).encode() + b"\n")
            self.process.stdin.flush()
        answer, end = b"", time.monotonic() + limit
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failed(f"{what}: not done after {limit:g} s")
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                raise Failed(f"{what}: {self.died()}")
            answer += part
        return json.loads(answer)

    def died(self) -> str:
        code = self.process.wait()
        text = last_line(self.log.read_text(errors="replace"))
        return f"killed by {signal.Signals(-code).name}; {text}" if code < 0 else text

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, limit: float) -> None:
        """Lets the engine close its files."""
        if self.process.stdin:
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(limit)
        self.kill()


class Comparison:
    program = "search_worker.py"

    def __init__(self, args: argparse.Namespace, data: dict[str, Any], rows: list[Row]) -> None:
        self.args, self.data, self.rows = args, data, rows
        self.where = Path(data["directory"])
        self.alive: list[Row] = []  # whose process runs, the one used last at the end

    def there(self) -> list[Row]:
        return [row for row in self.rows if not row.reason]

    @contextlib.contextmanager
    def failing(self, row: Row) -> Iterator[None]:
        """What goes wrong is the row's reason, and it takes no further part."""
        try:
            yield
        except Failed as error:
            row.reason = str(error)
            print(f"==> {row.label}: {row.reason}", file=sys.stderr)
            self.alive = [other for other in self.alive if other is not row]
            row.process = None

    def place(self, row: Row) -> Path:
        """Where its index is kept: by version, parameters, data and processor."""
        version = installed_version(row)
        parameters = row.kind(self.data["metric"], self.data["rows"], self.data["dim"]).parameters
        key = [version, parameters, self.where.name, processor()]
        return PLACE / "index" / row.name / hashlib.sha1(json.dumps(key).encode()).hexdigest()[:12]

    def build(self, row: Row, threads: int, into: Path) -> Any:
        assert row.python
        print(f"==> building {row.label}, {threads} thread{'s'[: threads > 1]}", file=sys.stderr)
        process = Process(row.python, row.name, self.where, fresh(into), threads, self.program)
        try:
            built = process.ask(self.args.limit, "build", threads=threads)
            process.stop(60)
        finally:
            process.kill()
        return built

    def ensure_built(self, row: Row) -> None:
        row.index = self.place(row)
        note = row.index / "built.json"
        work = row.index.with_name(row.index.name + ".new")
        again = row.name in self.args.rebuild
        row.built = {} if again or not note.exists() else json.loads(note.read_text())
        for threads in dict.fromkeys((CORES, *((1,) if self.args.builds == "both" else ()))):
            if str(threads) in row.built:
                continue
            try:
                row.built[str(threads)] = self.build(row, threads, work)
                row.fresh_build = True
                if threads == CORES:
                    row.disk = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
                    row.built["disk"] = row.disk
                    shutil.rmtree(row.index, ignore_errors=True)
                    work.rename(row.index)
                note.write_text(json.dumps(row.built))
            finally:
                shutil.rmtree(work, ignore_errors=True)
        row.disk = row.built["disk"]

    def open(self, row: Row) -> Any:
        """Its process, started if it has none; those not used for longest make room."""
        if row.process:
            self.alive.remove(row)
        else:
            while self.alive and available() < 6 * self.data["rows"] * self.data["dim"] * 4 + 2**30:
                self.close(self.alive[0])
            assert row.python
            row.process = Process(row.python, row.name, self.where, row.index, 1, self.program)
            self.alive.append(row)
            row.loaded = row.process.ask(self.args.limit, "load", k=self.args.k)
            self.alive.remove(row)
        self.alive.append(row)
        return row.process

    def close(self, row: Row) -> None:
        if row.process:
            row.process.stop(30)
            row.process = None
        if row in self.alive:
            self.alive.remove(row)

    def judge(self, row: Row) -> None:
        """Recall of every effort, from the least on, until one is as good as all."""
        process = self.open(row)
        for effort in row.loaded["efforts"]:
            judged = process.ask(
                self.args.limit, "judge", effort=effort, queries=self.args.queries, seconds=self.args.slow
            )
            if judged["recall"] >= LEAST:
                row.judged[effort] = judged
            if judged["recall"] >= ENOUGH and effort != "exact" and row.name != engines.OURS:
                break
        if not row.judged:
            raise Failed(f"recall {judged['recall']:.3f} at its greatest effort, {effort}")

    def measure(self, row: Row, round_: int) -> None:
        """A round of one engine: single queries at every effort, batches at those that reach each level."""
        process, args = self.open(row), self.args
        for effort in row.efforts():
            wide = (1, CORES) if effort == "exact" else (1,)
            for threads in dict.fromkeys(wide):
                row.single.setdefault((effort, threads), {})[round_] = process.ask(
                    args.limit, "single", effort=effort, queries=args.queries, seconds=args.seconds, threads=threads
                )
        exact = "exact" if "exact" in row.judged else None
        for effort in dict.fromkeys((row.at_least(0.95), exact)):
            for threads in dict.fromkeys((1, CORES)):
                if effort is None or (row.single[(effort, 1)][round_]["qps"] or 0) * args.limit < 2000:
                    continue  # a batch would take too long
                row.batch.setdefault((effort, threads), {})[round_] = process.ask(
                    args.limit, "batch", effort=effort, size=1000, seconds=args.seconds, threads=threads
                )

    def measure_all(self, round_: int) -> None:
        for row in self.there():
            with self.failing(row):
                self.measure(row, round_)

    def run(self) -> None:
        try:
            for row in self.there():
                with self.failing(row):
                    self.ensure_built(row)
            if self.args.prepare:
                return
            for row in self.there():
                print(f"==> recall of {row.label}", file=sys.stderr)
                with self.failing(row):
                    self.judge(row)
            for round_ in range(self.args.rounds):
                print(f"==> round {round_ + 1} of {self.args.rounds}", file=sys.stderr)
                self.measure_all(round_)
        finally:
            for row in list(self.alive):
                if row.process:
                    row.process.kill()


def available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def installed_version(row: Row) -> str:
    """The version, and for PomaiDB what its program is made of: versions of a tree say little."""
    text = (
        "import importlib.metadata as m, sys, hashlib, pathlib\n"
        "v = m.version(sys.argv[1])\n"
        "files = [f for f in (m.files(sys.argv[1]) or []) if f.suffix == '.so'] if sys.argv[1] == 'pomai' else []\n"
        "print(v, *[hashlib.sha1(pathlib.Path(f.locate()).read_bytes()).hexdigest()[:12] for f in files])"
    )
    done = subprocess.run([str(row.python), "-c", text, row.kind.distribution], text=True, capture_output=True)
    return done.stdout.strip()


class OneLine(argparse.ArgumentParser):
    """Says what is wrong with an argument in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = OneLine(prog="./dev bench compare", description=__doc__)
    parser.add_argument("--data", default="fashion-mnist", help=f"one of: {', '.join(DATA)}")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help=f"of: {', '.join(engines.NAMES)}")
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(engines.QUICK)}; 300 queries")
    parser.add_argument("--exact", action="store_true", help=f"only exact search: {', '.join(engines.EXACT)}")
    parser.add_argument("--prepare", action="store_true", help="only install, make the data and build the indexes")
    parser.add_argument("--rounds", type=int, help="rounds (5; quick: 3)")
    parser.add_argument("--queries", type=int, help="queries (1,000; quick: 300)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one slice (0.3)")
    parser.add_argument("--slow", type=float, default=20, help="seconds for the recall of one effort at most (20)")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for one build or one answer at most (1,800)")
    parser.add_argument("--limit-rows", type=int, default=0, metavar="N", help="rows, drawn by a fixed seed")
    parser.add_argument("-k", type=int, default=10, help="neighbours (10), at most 100")
    parser.add_argument("--builds", choices=("all", "both"), help="with all cores, or also with one (both)")
    parser.add_argument("--rebuild", default="", metavar="NAME,NAME", help="build these anew, to time it in this run")
    parser.add_argument("--ours", type=Path, default=ROOT, help="PomaiDB's Python package or its wheel")
    parser.add_argument("--upgrade", action="store_true", help="the newest version of each engine")
    parser.add_argument("--json", type=Path, metavar="FILE", help="one JSON object a figure")
    parser.add_argument("--write", action="store_true", help="put the table and the plot into docs/comparison.md")
    args = parser.parse_args(given)
    if args.data not in DATA:
        parser.error(f"no data {args.data}; there are {', '.join(DATA)}")
    chosen = [name.replace("-", "_") for name in args.only.split(",") if name]
    args.rebuild = [name.replace("-", "_") for name in args.rebuild.split(",") if name]
    unknown = sorted({*chosen, *args.rebuild} - set(engines.NAMES))
    if unknown:
        parser.error(f"no engine {', '.join(unknown)}; there are {', '.join(engines.NAMES)}")
    args.names = chosen or list(engines.EXACT if args.exact else engines.QUICK if args.quick else engines.NAMES)
    args.rounds = args.rounds or (3 if args.quick else 5)
    args.queries = args.queries or (300 if args.quick else 1000)
    args.builds = args.builds or ("all" if args.quick or args.exact else "both")
    if args.rounds < 1 or args.queries < 1 or args.limit_rows < 0 or not 1 <= args.k <= 100:
        parser.error("--rounds and --queries are at least 1, --limit-rows not negative, -k from 1 to 100")
    if 0 < args.limit_rows < 1000:
        parser.error("--limit-rows is at least 1,000")
    return args


def prepare(args: argparse.Namespace, program: str = "datasets.py", place: Path = PLACE / "data") -> Any:
    """The data, made if it is not there."""
    packages = DATA_PACKAGES.get(args.data, ())
    made = venvs.make(VENVS / "+".join(["data", *packages]), [*venvs.COMMON, *packages], upgrade=False)
    if not made.python:
        raise Failed(f"data {args.data}: {made.reason}")
    command = [str(made.python), str(HERE / program), args.data, str(place)]
    done = subprocess.run(
        [*command, f"--limit-rows={args.limit_rows}"], text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise Failed(f"the data {args.data} could not be made")
    return json.loads(done.stdout.splitlines()[-1])


def make_rows(args: argparse.Namespace, kind: Callable[[str], type[engines.Engine]] = engines.kind) -> list[Row]:
    installed = venvs.install_apart({name: kind(name).packages for name in args.names}, VENVS, args.upgrade)
    venvs.add_ours(installed, engines.OURS, args.ours)
    rows = []
    for name in args.names:
        where = installed[name]
        reason = "" if where.python else f"not installed: {where.reason}"
        if reason:
            print(f"==> {kind(name).name}: {reason}", file=sys.stderr)
        rows.append(Row(name, kind(name), where.python, reason))
    return rows


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    args = arguments()
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, interrupted)
    PLACE.mkdir(parents=True, exist_ok=True)
    try:
        data = prepare(args)
        comparison = Comparison(args, data, make_rows(args))
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    stopped = False
    try:
        comparison.run()
    except KeyboardInterrupt:
        print("==> interrupted: what there is", file=sys.stderr)
        stopped = True
    if args.prepare and not stopped:
        for row in comparison.rows:
            built = [f"{key} threads {one['seconds']:.3g} s" for key, one in row.built.items() if key.isdigit()]
            print(f"{row.label}: {row.reason or ', '.join(built)}")
        return 0
    report = Report(args, data, comparison.rows)
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


if __name__ == "__main__":
    sys.exit(main())
