#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev bench peers: durable ingest from NumPy, beside other engines that run inside the process.

Rounds in turn over all engines; each slice is a process of its own that begins with an empty directory, and another
one that opens what it left and counts the rows. Before that: what a killed process leaves, and which calls sync.
docs/performance.md says what is compared. Engines are installed by pip into build/venv-bench.
"""
from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peers
import venvs
from common import ROOT, file_system, fresh, last_line, machine, number, print_table

HERE = Path(__file__).resolve().parent
BATCHES = "1,1000,10000"
QUICK_BATCHES = "1,1000"
CALLS = {1: 300, 1000: 20, 10000: 4}
QUICK_CALLS = {1: 50, 1000: 5, 10000: 2}
PROBE_CALLS = 10
TIMEOUT = 600  # seconds for one process
SYNCS = "fsync,fdatasync,msync,sync,syncfs"  # sync_file_range leaves the disk's cache alone
MARKS = "access,faccessat,faccessat2"


@dataclass
class Row:
    """An engine as it comes, or with its flush after every call."""

    name: str
    peer: peers.Peer
    python: Path | None
    reason: str
    flush: bool = False
    version: str = "-"
    slices: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.peer.name} + flush" if self.flush else self.peer.name

    @property
    def stated(self) -> peers.Durability:
        return self.peer.flushed if self.flush and self.peer.flushed else self.peer.durability


class Failed(Exception):
    pass


def work(row: Row, directory: Path, what: str, *options: str, killed: bool = False, trace: Path | None = None) -> Any:
    """Runs worker.py with the Python of the row; returns the object that it prints."""
    command = [str(row.python), str(HERE / "worker.py"), what, row.name, str(directory), *options]
    if trace:
        calls = f"trace={SYNCS},{MARKS},openat"
        command = ["strace", "-f", "-qq", "-s", "4096", "-e", calls, "-o", str(trace), *command]
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{what}: not done after {TIMEOUT} s") from error
    if done.returncode != (-9 if killed else 0):
        raise Failed(f"{what}: {last_line(done.stderr)}")
    try:
        return json.loads(last_line(done.stdout) if done.stdout else "")
    except json.JSONDecodeError as error:
        raise Failed(f"{what}: printed no result") from error


def options(row: Row, batch: int, calls: int) -> list[str]:
    return [f"--batch={batch}", f"--calls={calls}", *(["--flush"] if row.flush else [])]


def count_syncs(trace: Path, directory: Path) -> dict[str, Any]:
    """From a trace: syncs while a call was running, and outside, and files opened for synchronous writing."""
    inside = outside = opened = 0
    calls = 0
    running = False
    for line in trace.read_text(errors="replace").splitlines():
        if '"call-begins"' in line:
            running = True
        elif '"call-ends"' in line:
            running = False
            calls += 1
        elif "openat(" in line:
            opened += bool(re.search(r"O_D?SYNC", line)) and str(directory) in line
        elif re.search(r"\b(fsync|fdatasync|sync|syncfs|msync)\(", line):
            if "msync(" in line and "MS_SYNC" not in line:
                continue
            if running:
                inside += 1
            elif calls:
                outside += 1
    return {"calls": calls, "syncs_in_calls": inside, "syncs_between": outside, "opened_for_sync": opened}


def observe(row: Row, directory: Path) -> dict[str, Any]:
    """What is left after SIGKILL, and what strace sees, at 1 and at 1,000 rows a call."""
    seen: dict[str, Any] = {}
    for batch in (1, 1000):
        common = options(row, batch, PROBE_CALLS)
        part: dict[str, Any] = {}
        try:
            where = fresh(directory)
            part["killed_after"] = work(row, where, "add", "--kill", *common, killed=True)["rows"]
            try:
                part["left"] = work(row, where, "count")["rows"]
            except Failed as error:
                part["left"], part["left_error"] = 0, str(error)
            if shutil.which("strace"):
                where = fresh(directory)
                trace = directory.parent / "trace"
                work(row, where, "add", "--mark", *common, trace=trace)
                part |= count_syncs(trace, where)
        except Failed as error:
            part["error"] = str(error)
        seen[str(batch)] = part
    return seen


def run_slice(row: Row, directory: Path, batch: int, calls: int, limit: float, round_: int) -> None:
    where = fresh(directory)
    try:
        result = work(row, where, "add", f"--limit={limit}", *options(row, batch, calls))
        result["counted"] = work(row, where, "count")["rows"]
        row.version = result["version"]
    except Failed as error:
        row.failures.append(f"batch {batch:,}: {error}")
        return
    if result["counted"] != result["rows"]:
        row.failures.append(f"batch {batch:,}: {result['counted']:,} rows of {result['rows']:,} when opened again")
    row.slices.append(result | {"asked": batch, "round": round_})


def rates(row: Row, batch: int) -> dict[int, float]:
    """Rows a second by round."""
    return {s["round"]: s["rate"] for s in row.slices if s["asked"] == batch and s["rate"]}


def cells(row: Row, ours: Row | None, batch: int) -> list[str]:
    """vec/s as median (least to most), and as a share of ours, taken within each round."""
    mine = rates(row, batch)
    if not mine:
        return ["-", "-"]
    text = f"{number(statistics.median(mine.values()))} ({number(min(mine.values()))} to {number(max(mine.values()))})"
    sizes = {s["batch"] for s in row.slices if s["asked"] == batch}
    if sizes != {batch}:
        text += f" at {max(sizes):,}"
    theirs = rates(ours, batch) if ours else {}
    shared = [mine[r] / theirs[r] for r in mine if r in theirs]
    return [text, f"{statistics.median(shared):.3g}" if shared else "-"]


def survives(row: Row) -> str:
    """What was seen of rows whose process was killed."""
    parts = []
    for part in row.seen.values():
        if "killed_after" in part:
            parts.append("all" if part["left"] == part["killed_after"] else f"{part['left']}/{part['killed_after']}")
    return ", ".join(dict.fromkeys(parts)) or "-"


def synced(row: Row) -> str:
    """Syncs within a call, at 1 and at 1,000 rows."""
    parts = []
    for part in row.seen.values():
        if part.get("calls"):
            text = f"{part['syncs_in_calls'] / part['calls']:.1f}"
            parts.append(text + (" O_SYNC" if part["opened_for_sync"] else ""))
    return ", ".join(parts) or "-"


def report(rows: list[Row], batches: list[int]) -> None:
    ours = next((row for row in rows if row.name == peers.OURS and row.slices), None)
    there = [row for row in rows if row.python]
    head = ["engine", "version", "kill -9", "power loss"]
    for batch in batches:
        head += [f"vec/s, {batch:,} a call", "of ours"]
    lines = [head]
    for row in there:
        line = [row.label, row.version, row.stated.kill, row.stated.power]
        for batch in batches:
            line += cells(row, ours, batch)
        lines.append(line)
    print_table(lines)
    if any(row.seen for row in there):
        print(f"Seen: rows left by SIGKILL after {PROBE_CALLS + 1} calls; syncs within a call of 1 and of 1,000 rows.")
        print_table([["engine", "left", "syncs a call"], *([row.label, survives(row), synced(row)] for row in there)])
    print_table([["engine", "durability is known from"], *([row.label, row.stated.known] for row in there)])
    print_table([["engine", "a batch is", "index"], *([r.peer.name, r.peer.handed, r.peer.index]
                                                       for r in there if not r.flush)])  # fmt: skip
    for row in rows:
        if not row.python:
            print(f"{row.label}: not installed: {row.reason}")
        for failure in dict.fromkeys(row.failures):
            print(f"{row.label}: {failure}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of few calls, to see that everything works")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help=f"of: {', '.join(peers.NAMES)}")
    parser.add_argument("--rounds", type=int, help="rounds (3; quick: 1)")
    parser.add_argument("--batches", help=f"rows a call ({BATCHES}; quick: {QUICK_BATCHES})")
    parser.add_argument("--limit", type=float, help="a slice makes no further call after these seconds (20; quick: 5)")
    parser.add_argument("--no-flush", action="store_true", help="no rows for engines with a flush after every call")
    parser.add_argument("--no-durability", action="store_true", help="do not kill processes, do not trace syncs")
    parser.add_argument("--ours", type=Path, default=ROOT, help="PomaiDB's Python package or its wheel")
    parser.add_argument("--upgrade", action="store_true", help="the newest version of each engine")
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "bench-peers", help="on the disk to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything as one JSON object")
    args = parser.parse_args()
    args.names = [name.replace("-", "_") for name in args.only.split(",") if name] or list(peers.NAMES)
    unknown = set(args.names) - set(peers.NAMES)
    if unknown:
        parser.error(f"no adapter for {', '.join(sorted(unknown))}; there are {', '.join(peers.NAMES)}")
    chosen = args.batches or (QUICK_BATCHES if args.quick else BATCHES)
    args.batches = [int(batch) for batch in chosen.split(",")]
    args.rounds = args.rounds or (1 if args.quick else 3)
    args.limit = args.limit or (5 if args.quick else 20)
    return args


def make_rows(args: argparse.Namespace) -> list[Row]:
    wanted = {name: peers.load(name).packages for name in args.names}
    installed = venvs.install(wanted, ROOT / "build" / "venv-bench", args.upgrade)
    venvs.add_ours(installed, peers.OURS, args.ours)
    rows = []
    for name in args.names:
        peer = peers.load(name)
        where = installed[name]
        rows.append(Row(name, peer, where.python, where.reason))
        if peer.flush_call and where.python and not args.no_flush:
            rows.append(Row(name, peer, where.python, "", flush=True))
    return rows


def as_json(args: argparse.Namespace, rows: list[Row]) -> dict[str, Any]:
    return {
        "machine": machine(args.dir), "dim": 128, "rounds": args.rounds, "quick": args.quick,
        "engines": [
            {
                "name": row.label, "version": row.version, "installed": bool(row.python), "reason": row.reason,
                "flush": row.peer.flush_call if row.flush else "", "handed": row.peer.handed, "index": row.peer.index,
                "durability": vars(row.stated), "seen": row.seen, "slices": row.slices,
                "failures": row.failures,
            }
            for row in rows
        ],
    }  # fmt: skip


def main() -> int:
    args = arguments()
    args.dir.mkdir(parents=True, exist_ok=True)
    if file_system(args.dir) in ("tmpfs", "ramfs"):
        print(f"{args.dir} is memory, not a disk: give another --dir", file=sys.stderr)
        return 2
    rows = make_rows(args)
    there = [row for row in rows if row.python]
    directory = args.dir / "db"
    calls = QUICK_CALLS if args.quick else CALLS
    try:
        if not args.no_durability:
            for row in there:
                print(f"==> durability: {row.label}", file=sys.stderr)
                row.seen = observe(row, directory)
        for round_ in range(args.rounds):
            for batch in args.batches:
                print(f"==> round {round_ + 1} of {args.rounds}, {batch:,} rows a call", file=sys.stderr)
                for row in there:
                    run_slice(row, directory, batch, calls.get(batch, 4), args.limit, round_)
    except KeyboardInterrupt:
        print("==> interrupted: what there is", file=sys.stderr)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        (args.dir / "trace").unlink(missing_ok=True)
    report(rows, args.batches)
    if args.json:
        args.json.write_text(json.dumps(as_json(args, rows), indent=1) + "\n")
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
