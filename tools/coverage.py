#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Line and branch coverage of the engine's storage and core, from what gcc counted: ./dev coverage.

Usage: coverage.py BUILD_DIR [--markdown FILE]

Not counted: branches of assert(), and the edges of exceptions. The hooks of the test build are functions of their own
(src/base/steps.h, src/base/point.h), so their branches are not in the files reported here.
"""
import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTED = ("src/storage/", "src/core/")
ASSERT = re.compile(r"\bassert\s*\(")


class File:
    def __init__(self, path):
        self.text = (ROOT / path).read_text().splitlines()
        self.lines = defaultdict(int)
        self.branches = {}  # (function, line) -> how often each was taken

    def counts(self):
        taken = [n for counts in self.branches.values() for n in counts]
        return (sum(n > 0 for n in self.lines.values()), len(self.lines), sum(n > 0 for n in taken), len(taken))

    def missed(self):
        """Lines with a branch that was never taken: number, missed, all, text."""
        by_line = defaultdict(list)
        for (_, line), counts in self.branches.items():
            by_line[line] += counts
        for line, counts in sorted(by_line.items()):
            if 0 in counts:
                yield line, counts.count(0), len(counts), self.text[line - 1].strip()


def read(build):
    notes = sorted(str(path) for path in build.glob("CMakeFiles/pomai_test_*.dir/src/**/*.gcno"))
    if not notes:
        sys.exit(f"{build}: no .gcno files; build with POMAI_COVERAGE")
    out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", *notes], check=True,
                         capture_output=True, text=True, cwd=build).stdout
    files = {}
    for document in map(json.loads, filter(None, out.splitlines())):
        for entry in document["files"]:
            path = Path(document["current_working_directory"], entry["file"]).resolve()
            if ROOT not in path.parents or not str(path.relative_to(ROOT)).startswith(REPORTED):
                continue
            name = str(path.relative_to(ROOT))
            add(files.setdefault(name, File(name)), entry)
    return dict(sorted(files.items()))


def add(file, entry):
    for line in entry["lines"]:
        number = line["line_number"]
        file.lines[number] += line["count"]
        counts = [b["count"] for b in line["branches"] if not b["throw"]]
        if not counts or ASSERT.search(file.text[number - 1]):
            continue
        # A function of a header is in several objects, each time with the same branches.
        key = (line.get("function_name"), number)
        before = file.branches.get(key, [0] * len(counts))
        file.branches[key] = [a + b for a, b in zip(before, counts)] if len(before) == len(counts) else before + counts


def percent(part, whole):
    return f"{100 * part / whole:.1f}" if whole else "-"


def rows(files):
    total = [0, 0, 0, 0]
    for name, file in files.items():
        counts = file.counts()
        total = [a + b for a, b in zip(total, counts)]
        yield name, counts
    yield "total", total


def print_text(files):
    for name, file in files.items():
        for line, missed, whole, text in file.missed():
            print(f"{name}:{line}: {missed} of {whole}: {text}")
    print()
    print(f"{'file':<36} {'lines':>14} {'%':>6} {'branches':>14} {'%':>6}")
    for name, (l, ls, b, bs) in rows(files):
        print(f"{name:<36} {f'{l}/{ls}':>14} {percent(l, ls):>6} {f'{b}/{bs}':>14} {percent(b, bs):>6}")


def markdown(files):
    out = ["| File | Lines | % | Branches | % |", "|---|---:|---:|---:|---:|"]
    for name, (l, ls, b, bs) in rows(files):
        out.append(f"| {name} | {l}/{ls} | {percent(l, ls)} | {b}/{bs} | {percent(b, bs)} |")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    args = parser.parse_args()
    files = read(args.build.resolve())
    print_text(files)
    if args.markdown:
        args.markdown.write_text(markdown(files))


if __name__ == "__main__":
    main()
