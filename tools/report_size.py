#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""report_size.py LIBPOMAI.SO: the stripped size of the shared library, lines of code, functions over 70 lines."""
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 70
PARTS = {"src": ["src"], "include": ["include"], "cmd": ["cmd"], "tests": ["tests"],
         "bench, examples": ["bench", "examples"], "tools": ["tools", "dev"]}
SUFFIXES = {".c", ".h", ".py", ".sh", ""}


def files(root, names):
    for name in names:
        path = root / name
        if path.is_file():
            yield path
        else:
            yield from (p for p in sorted(path.rglob("*")) if p.is_file() and p.suffix in SUFFIXES)


def main():
    root = Path(__file__).resolve().parent.parent
    library = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        stripped = Path(directory) / library.name
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, library], check=True)
        print(f"shared library, stripped: {stripped.stat().st_size:,} bytes")

    print(f"\n{'lines of code':16} {'files':>6} {'lines':>8} {'not blank':>10}")
    for part, names in PARTS.items():
        texts = [path.read_text(errors="replace") for path in files(root, names)]
        lines = [line for text in texts for line in text.splitlines()]
        print(f"{part:16} {len(texts):6,} {len(lines):8,} {sum(1 for line in lines if line.strip()):10,}")

    sources = [str(p) for part in ("src", "cmd", "bench", "examples", "tests") for p in files(root, [part])
               if p.suffix in (".c", ".h")]
    tags = subprocess.run(["ctags", "-x", "--language-force=C", "--kinds-C=f", "--fields=+e",
                           "--_xformat=%n %{end} %N %F", *sources], check=True, capture_output=True, text=True).stdout
    functions = []
    for line in tags.splitlines():
        start, end, name, path = line.split(" ", 3)
        if end.isdigit():
            functions.append((int(end) - int(start) + 1, name, Path(path).relative_to(root).as_posix(), start))
    long = sorted((f for f in functions if f[0] > LIMIT), reverse=True)
    engine = [f for f in functions if f[2].startswith("src/")]
    print(f"\nfunctions: {len(functions):,}, of which in src {len(engine):,}; median length in src "
          f"{sorted(f[0] for f in engine)[len(engine) // 2] if engine else 0}; over {LIMIT} lines: {len(long)}, "
          f"of which in src {sum(1 for f in long if f[2].startswith('src/'))}")
    for length, name, path, start in long:
        print(f"  {length:4} {name} {path}:{start}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
