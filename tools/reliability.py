#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every soak and writes what it said into docs/reliability.md, between the marks; and the list of the museum's
exhibits, from the comments of its tests.

reliability.py BUILD [--seconds N] [--cases N] [--seed S] [--only KIND[,KIND]]: BUILD is the release build's directory.
A kind that is not run keeps its line. Exits with 1 if one of them failed; the failure is written down too.
"""
import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by the run: begin -->\n", "<!-- written by the run: end -->\n"
MUSEUM = ROOT / "tests" / "scenario" / "test_museum.c"
MUSEUM_BEGIN, MUSEUM_END = "<!-- exhibits: begin -->\n", "<!-- exhibits: end -->\n"
EXHIBIT = re.compile(r"^/\* ((?:[^*]|\*(?!/))+?) \*/\nstatic void test_(\w+)\(void \*\*state\)", re.M)
LAST = re.compile(r"^(\w+): (\d+) cases, (\d+) failures, seed (\d+)$", re.M)
WHAT = {
    "sim": "whole engine, simulated schedule, clock and disk; crashes, power losses, faults",
    "power": "states that a power loss may leave, at every change of the disk",
    "double": "recoveries disturbed by power loss, kill or fault",
    "fault": "calls and allocations failed, once and for ever",
    "corrupt": "damages to files of closed, idle and crashed databases",
    "crash": "kill -9 on a real disk, at named boundaries and at random",
    "model": "random operations against the model, threads included",
    "endure": "writers' states after kill -9 on a real disk, threads, flushes and compactions going on",
    "mutants": "planted bugs, each to be caught",
    "fuzz": "inputs of the libFuzzer targets, all together",
    "oldcpu": "test programs under an emulator of x86-64 without SSE4.2, AVX or AVX-512",
    "arm": "test programs under an emulator of 64-bit ARM, with and without dot products",
}
ORDER = list(WHAT)
EMULATED = ("oldcpu", "arm")  # skipped where there is no emulator
SKIPPED = 77


def commands(build, kind, args):
    """The programs of a kind; one that has none here is left out."""
    extra = ["--seconds", str(args.seconds)]
    extra += ["--seed", str(args.seed)] if args.seed is not None else []
    extra += ["--cases", str(args.cases)] if args.cases is not None and kind != "mutants" else []
    if kind in EMULATED:
        directory = build if kind == "oldcpu" else build.parent / "arm"
        return [[sys.executable, str(ROOT / "tools" / "portable.py"), kind, str(directory), *extra]]
    if kind == "mutants":
        found = [build / "tests" / "mutants" / "soak_mutants",
                 build.parent / "tsan" / "tests" / "mutants" / "soak_mutants"]
        extra = extra[2:]
    else:
        found = [build / "tests" / kind / f"soak_{kind}"]
    return [[str(program), *extra] for program in found if program.is_file()]


def run(build, kind, args):
    """(cases, failures, seed) of all programs of a kind, or None if there is none."""
    total = None
    for command in commands(build, kind, args):
        print("+", " ".join([os.path.relpath(command[0], ROOT), *command[1:]]), flush=True)
        if "/tsan/" in command[0]:
            command = ["setarch", "-R", *command]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode == SKIPPED:
            continue
        last = LAST.findall(done.stdout)
        if not last:
            raise SystemExit(f"{kind}: no last line; exit status {done.returncode}")
        cases, failures = int(last[-1][1]), int(last[-1][2])
        if done.returncode != 0 and failures == 0:
            failures = 1
        before = total or (0, 0, last[-1][3])
        total = (before[0] + cases, before[1] + failures, before[2])
    return total


def fuzz(build, seconds, seed):
    """The same of the fuzz targets, with clang's sanitizers, `seconds` each."""
    cases = failures = 0
    seed = seed or 1
    for program in sorted((build.parent / "fuzz" / "fuzz").glob("fuzz_*")):
        print("+", program.name, flush=True)
        done = subprocess.run([str(ROOT / "tests/fuzz/run.sh"), str(program), str(seconds), f"-seed={seed}"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              check=False)
        units = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stdout)
        cases += int(units.group(1)) if units else 0
        failures += done.returncode != 0
        if done.returncode != 0:
            print(done.stdout[-3000:])
    print(f"fuzz: {cases} cases, {failures} failures, seed {seed}", flush=True)
    return (cases, failures, seed) if cases > 0 else None


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} x {model}, Linux {platform.release().split('-')[0]}"


def commit():
    return subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True,
                          check=False).stdout.strip() or "unknown"


def exhibits():
    lines = [f"- {' '.join(text.replace(' * ', ' ').split())} (`{name}`)"
             for text, name in EXHIBIT.findall(MUSEUM.read_text())]
    return "\n".join(lines) + "\n"


def between(page, begin, end, text):
    head, rest = page.split(begin)
    return head + begin + text + end + rest.split(end)[1]


def old_rows(text):
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0].strip("`") in WHAT:
            rows[cells[0].strip("`")] = line
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--cases", type=int, help="at most so many of each kind, where that can be said")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", default=",".join(ORDER))
    args = parser.parse_args()
    kinds = args.only.split(",")
    if not set(kinds) <= set(ORDER):
        parser.error(f"the kinds are {', '.join(ORDER)}")
    page = PAGE.read_text()
    rows, failed = old_rows(page.split(BEGIN)[1].split(END)[0]), False
    for kind in ORDER:
        if kind not in kinds:
            continue
        build = args.build.resolve()
        result = fuzz(build, args.seconds, args.seed) if kind == "fuzz" else run(build, kind, args)
        if result is None and kind in EMULATED:
            continue
        if result is None:
            raise SystemExit(f"{kind}: not built")
        cases, failures, seed = result
        failed |= failures > 0
        today = datetime.date.today().isoformat()
        rows[kind] = f"| `{kind}` | {WHAT[kind]} | {cases:,} | {failures} | {seed} | {today} | {commit()} |"
    lines = ["| kind | a case | cases | failures | seed | date | commit |", "|---|---|---:|---:|---|---|---|"]
    lines += [rows[kind] for kind in ORDER if kind in rows]
    page = between(page, BEGIN, END, "\n".join(lines) + f"\n\nMachine of the last run: {machine()}.\n")
    PAGE.write_text(between(page, MUSEUM_BEGIN, MUSEUM_END, exhibits()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
