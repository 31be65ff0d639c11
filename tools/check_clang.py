#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_clang.py BUILD_DIR CLANG: clang accepts, without a warning, every file that BUILD_DIR compiles with gcc.

What BUILD_DIR compiles with the hooks of the tests too is looked at without them: with them the preset fuzz, which is
clang's, compiles it.
"""
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path


def command_for(entry, clang):
    words = shlex.split(entry["command"])[1:]
    kept = []
    while words:
        word = words.pop(0)
        if word == "-o":
            words.pop(0)
        elif word not in ("-c", "-Werror"):
            kept.append(word)
    return [clang, "-fsyntax-only", "-Werror", *kept]


def main():
    build, clang = sys.argv[1:]
    root = Path(__file__).resolve().parent.parent
    entries = json.loads((Path(build) / "compile_commands.json").read_text())
    commands = {}
    for entry in sorted(entries, key=lambda entry: "-DPOMAI_TEST_HOOKS" in entry["command"]):
        commands.setdefault(entry["file"], command_for(entry, clang))

    def run(command):
        return subprocess.run(command, text=True, capture_output=True, cwd=root)

    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(run, commands.values()):
            if result.returncode:
                failures += 1
                print(result.stderr)
    print(f"clang: {len(commands)} files, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
