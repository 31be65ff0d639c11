#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench python: what Python costs over C, a call and a batch, in time and in memory.

A C program (calls.c) and a Python program (calls.py) make the same calls on databases made alike. They take turns in
each round, C, Python, C again: the difference of the two C's is the noise that a difference must be held against.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAM = ROOT / "build" / "release" / "bench" / "python_calls"
DIM = 128
MIB = 1 << 20
WHOLE, SPLIT = 93750, 150000  # rows of a batch of 48 MB, and of one that is split: over 64 MiB
CALL_TARGET, BATCH_TARGET = 3.0, 2.0  # microseconds a call; percent of a batch of 1,000
# calls a slice
CALLS = {"search": 2000, "search_arrays": 2000, "get": 5000, "put": 2000, "delete": 2000, "count": 10000}
BATCHES = {"add_batch.os": 20, "add_batch.sync": 20, "add_batch_10k.os": 4, "add_batch_10k.sync": 4, "search_batch": 4}
SLICES = 5  # of each in a round, for batches; the best counts, as fresh memory of the page cache slows others
COUNTED, COUNTED_BATCHES = 1000, 200  # calls, for instruction counts
# callgrind takes each byte of a `rep movsb` for an instruction
NO_STRING_MOVES = ":".join(f"glibc.cpu.x86_rep_{what}_threshold=1000000000" for what in ("movsb", "stosb"))
WITHOUT_COUNTS = ("10k", "sync", "search_batch")  # waiting is counted with them, or they only take long
WITHOUT_TARGET = {"search_arrays"}


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float

    @staticmethod
    def of(values: list[float]) -> Spread:
        return Spread(statistics.median(values), min(values), max(values))


class Side:
    """One of the two programs, driven over its stdin and stdout."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str, number: int) -> list[float]:
        to, come = self.process.stdin, self.process.stdout
        assert to and come
        to.write(f"{what} {number}\n")
        to.flush()
        answer = come.readline()
        if not answer:
            raise SystemExit(f"bench python: {self.process.args!r} ended at {what}, status {self.process.wait()}")
        return [float(word) for word in answer.split()]

    def end(self) -> None:
        self.process.communicate()


class Bench:
    def __init__(self, args: argparse.Namespace, directory: Path, out: IO[str] | None) -> None:
        self.args, self.directory, self.out = args, directory, out
        self.vectors = directory / "vectors.f32"
        rows = np.random.default_rng(20260101).random((max(SPLIT, 200000), DIM), dtype=np.float32) * 2 - 1
        rows.tofile(self.vectors)
        self.c_command = [str(PROGRAM), str(directory), str(self.vectors)]
        self.python_command = [sys.executable, str(HERE / "calls.py"), str(directory), str(self.vectors)]
        self.machine = machine(directory)
        self.failed: list[str] = []

    def figure(self, name: str, value: Spread, unit: str, **more: Any) -> None:
        if not self.out:
            return
        line: dict[str, Any] = {"figure": f"python.{name}", "value": round(value.median, 6), "unit": unit}
        line |= {"least": round(value.least, 6), "most": round(value.most, 6)} | more
        line |= {"rounds": self.args.rounds, "data": "random", "dim": DIM} | self.machine
        print(json.dumps(line), file=self.out, flush=True)

    @contextmanager
    def fresh(self, command: list[str]) -> Iterator[Side]:
        side = Side(command)
        try:
            yield side
        finally:
            side.end()

    # ---- time ----

    def measure(self, names: list[str]) -> dict[str, list[tuple[float, float, float]]]:
        """By name and round: seconds a call of C, Python, and C again."""
        times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
        with self.fresh(self.c_command) as c, self.fresh(self.python_command) as python:
            for name in names:  # memory that a process touches first is dear: not counted
                c.ask(name, CALLS.get(name, 5))
                python.ask(name, CALLS.get(name, 5))
            for _ in range(self.args.rounds):
                for name in names:
                    calls = max(1, int((CALLS | BATCHES)[name] * self.args.scale))
                    slices = SLICES if name in BATCHES else 1
                    seen = [[side.ask(name, calls)[0] for side in (c, python, c)] for _ in range(slices)]
                    first, middle, last = (min(column) for column in zip(*seen))
                    times[name].append((first, middle, last))
        return times

    def report_calls(self, times: dict[str, list[tuple[float, float, float]]]) -> None:
        print(f"\na call, us: median of {self.args.rounds} rounds (least to most); asked for: {CALL_TARGET:g} over C")
        print(f"  {'call':14} {'C':>8} {'Python':>8}  {'Python over C':24} C over itself")
        for name in CALLS:
            if name not in times:
                continue
            c = Spread.of([1e6 * (a + b) / 2 for a, _, b in times[name]])
            python = Spread.of([1e6 * p for _, p, _ in times[name]])
            over = Spread.of([1e6 * (p - (a + b) / 2) for a, p, b in times[name]])
            noise = Spread.of([1e6 * (b - a) for a, _, b in times[name]])
            print(f"  {name:14} {c.median:8.2f} {python.median:8.2f}  {span(over, '.2f'):24} {span(noise, '.2f')}")
            self.figure(f"{name}.c_us", c, "us")
            self.figure(f"{name}.python_us", python, "us")
            self.figure(f"{name}.overhead_us", over, "us", noise=[noise.least, noise.most], target=CALL_TARGET)
            if over.median > CALL_TARGET and name not in WITHOUT_TARGET:
                self.failed.append(f"{name}: {over.median:.2f} us over C")

    def report_batches(self, times: dict[str, list[tuple[float, float, float]]]) -> None:
        print(f"\na batch: the same, and in percent; at most {BATCH_TARGET:g}% of an add of 1,000 x {DIM} is asked for")
        print(f"  {'batch':18} {'C, us':>10} {'Python':>10}  {'over C, %':24} {'C over itself, %':24} over C, us")
        for name in BATCHES:
            if name not in times:
                continue
            c = Spread.of([1e6 * (a + b) / 2 for a, _, b in times[name]])
            python = Spread.of([1e6 * p for _, p, _ in times[name]])
            percent = Spread.of([200 * p / (a + b) - 100 for a, p, b in times[name]])
            noise = Spread.of([100 * b / a - 100 for a, _, b in times[name]])
            over = Spread.of([1e6 * (p - (a + b) / 2) for a, p, b in times[name]])
            print(f"  {name:18} {c.median:10,.0f} {python.median:10,.0f}  {span(percent, '+.1f'):24} "
                  f"{span(noise, '+.1f'):24} {span(over, '+,.0f')}")  # fmt: skip
            self.figure(f"{name}.overhead", percent, "%", noise=[noise.least, noise.most], target=BATCH_TARGET)
            self.figure(f"{name}.overhead_us", over, "us", c_us=c.median, python_us=python.median)
            unclear = percent.median <= max(abs(noise.least), abs(noise.most))
            if name.startswith("add_batch.") and percent.median > BATCH_TARGET and not unclear:
                self.failed.append(f"{name}: {percent.median:.1f}% over C")

    # ---- memory ----

    def peaks(self, what: str, rows: int) -> tuple[float, float, float]:
        """Peak of C, peak of Python, bytes by Python's allocators; each from a process of its own."""
        with self.fresh(self.c_command) as c:
            plain = c.ask("memory-" + what.removesuffix("64"), rows)[0]
        with self.fresh(self.python_command) as python:
            peak, traced = python.ask(f"memory-{what}", rows)
        return plain, peak, traced

    def report_memory(self) -> None:
        rounds = min(3, self.args.rounds)
        print(f"\nmemory, MiB: peak of one call over what was there before; median of {rounds} (least to most)")
        print(f"  {'call':28} {'batch':>7} {'C':>8} {'Python':>8}  {'Python over C':24} tracemalloc, KiB")
        kinds = [
            ("copy_bytes", "put", WHOLE, "add, float32", 0),
            ("copy_bytes_split", "put", SPLIT, "add, float32, split in two", 0),
            ("copy_bytes_float64", "put64", WHOLE, "add, float64: one conversion", 1),
            ("copy_bytes_result", "get", WHOLE, "get, vectors as one array", 0),
        ]
        for name, what, rows, text, copies in kinds:
            size = rows * DIM * 4
            seen = [self.peaks(what, rows) for _ in range(rounds)]
            c, python = Spread.of([a for a, _, _ in seen]), Spread.of([b for _, b, _ in seen])
            over, traced = Spread.of([b - a for a, b, _ in seen]), Spread.of([t for _, _, t in seen])
            bound = 0.05 * size + (c.most - c.least)  # what is no copy: pages touched first, and C's own spread
            print(f"  {text:28} {size / MIB:7.1f} {c.median / MIB:8.1f} {python.median / MIB:8.1f}  "
                  f"{span(Spread(over.median / MIB, over.least / MIB, over.most / MIB), '+.2f'):24} "
                  f"{traced.median / 1024:.1f}")  # fmt: skip
            self.figure(name, over, "bytes", batch_bytes=size, expected=copies * size, bound=bound,
                        tracemalloc=traced.median, c_bytes=c.median, python_bytes=python.median)  # fmt: skip
            if abs(over.median - copies * size) > bound:
                self.failed.append(f"{text}: {over.median / MIB:+.1f} MiB, not {copies * size / MIB:.1f}")
        with self.fresh(self.python_command) as side:
            good, arrays = side.ask("arrays", 0)
        print(f"  arrays of a search and of a row: {good:.0f} of {arrays:.0f} lie over the result's own memory")
        self.figure("arrays_borrowed", Spread(good, good, good), "arrays", of=arrays)
        if good != arrays:
            self.failed.append(f"{arrays - good:.0f} arrays are copies")

    # ---- instructions ----

    def count_one(self, command: list[str], name: str, calls: int) -> int:
        out = self.directory / "callgrind"
        tool = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"]
        environment = os.environ | {"PYTHONHASHSEED": "0", "POMAI_SIMD": "avx2", "GLIBC_TUNABLES": NO_STRING_MOVES}
        done = subprocess.run(
            [*tool, *command], input=f"{name} {calls}\n", text=True, capture_output=True, env=environment, check=False
        )
        first = Path(f"{out}-01")  # the thread that calls; what others do in the background depends on time
        found = re.search(r"^totals: (\d+)", first.read_text(), re.MULTILINE) if first.exists() else None
        if done.returncode or not found:
            raise SystemExit(f"bench python: callgrind failed at {name}: {done.stderr[-400:]}")
        for part in self.directory.glob("callgrind*"):
            part.unlink()
        return int(found[1])

    def report_instructions(self, names: list[str]) -> None:
        """Of two runs that differ in the number of calls; before deletes, also in the rows that are put."""
        print("\ninstructions a call, of the thread that calls, by callgrind")
        print(f"  {'call':14} {'C':>11} {'Python':>11} {'over C':>9}")
        for name in names:
            counts = []
            for command in (self.c_command, self.python_command):
                calls = COUNTED if name in CALLS else COUNTED_BATCHES
                few, many = (self.count_one(command, name, n * calls) for n in (1, 2))
                counts.append((many - few) / calls)
            c, python = counts
            over = python - c
            percent = f" {100 * over / c:5.1f}%" if name in BATCHES else ""
            print(f"  {name:14} {c:11,.0f} {python:11,.0f} {over:9,.0f}{percent}", flush=True)
            self.figure(f"{name}.overhead_instructions", Spread(over, over, over), "instructions", c_instructions=c,
                        python_instructions=python)  # fmt: skip


def span(value: Spread, how: str) -> str:
    return f"{value.median:{how}} ({value.least:{how}} to {value.most:{how}})"


def file_system(directory: Path) -> str:
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, type_ = line.split()[:3]
        if len(mount) >= len(best) and f"{directory.resolve()}/".startswith(mount.rstrip("/") + "/"):
            best, kind = mount, type_
    return kind


def machine(directory: Path) -> dict[str, Any]:
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, text=True, capture_output=True, check=False
    ).stdout.strip()
    return {
        "machine": f"{model[1] if model else platform.processor()}, {len(os.sched_getaffinity(0))} cores",
        "kernel": f"Linux {platform.release()}", "file_system": file_system(directory), "commit": commit or "?",
        "python": platform.python_version(), "numpy": np.__version__,
    }  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench python", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 rounds of few calls, to see that everything works")
    parser.add_argument("--rounds", type=int, help="rounds (9; quick: 2)")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help=f"of: {', '.join(CALLS | BATCHES)}, memory")
    parser.add_argument("--instructions", action="store_true", help="also count instructions a call; needs valgrind")
    parser.add_argument("--dir", type=Path, default=ROOT / "build", help="on the disk to measure")
    parser.add_argument("--json", metavar="FILE", help="one JSON object a figure besides the tables")
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 9)
    args.scale = 0.1 if args.quick else 1.0
    args.names = [name for name in args.only.split(",") if name] or [*CALLS, *BATCHES, "memory"]
    unknown = set(args.names) - {*CALLS, *BATCHES, "memory"}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if args.instructions and not shutil.which("valgrind"):
        parser.error("--instructions needs valgrind")
    return args


def main() -> int:
    args = arguments()
    directory = Path(tempfile.mkdtemp(prefix="bench-python.", dir=args.dir))
    out = None if not args.json else sys.stdout if args.json == "-" else open(args.json, "w")
    try:
        bench = Bench(args, directory, out)
        about = bench.machine
        print(f"python: {about['machine']}, {about['kernel']}, {about['file_system']}, commit {about['commit']}, "
              f"Python {about['python']}, NumPy {about['numpy']}")  # fmt: skip
        timed = [name for name in args.names if name != "memory"]
        times = bench.measure(timed)
        bench.report_calls(times)
        bench.report_batches(times)
        if "memory" in args.names:
            bench.report_memory()
        if args.instructions:
            bench.report_instructions([name for name in timed if not any(part in name for part in WITHOUT_COUNTS)])
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if out not in (None, sys.stdout):
            out.close()
    for line in bench.failed:
        print(f"more than asked for: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
