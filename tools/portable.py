#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tests of a build under qemu-user, as processors that this machine is not.

portable.py arm|oldcpu BUILD [--seconds N] [--seed S] [--short] [--only PROGRAM[,PROGRAM]] [--verbose]

arm: BUILD is cross-compiled (cmake/aarch64-linux-gnu.cmake). oldcpu: BUILD is the release build. As the first processor
every unit and scenario test is run, as the others those of kernels and of files; the program `pomai`, if it was built;
and the model soak for N seconds (20). --short, which is part of ./dev test, takes only a few, with fewer cases. The
last line is that of every soak: a case is one program run to its end as one processor. Exits with 77, a skipped test,
where there is no emulator.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = 77

# Features of the processor that the emulator would warn of not having.
WARNED_OF = "".join(f",-{name}" for name in "pcid x2apic tsc-deadline hle invpcid rtm".split())

# Processors, and the levels that they have; the first one runs everything.
CPUS = {
    "arm": [("max", "scalar neon neondot"), ("cortex-a53", "scalar neon"), ("cortex-a72", "scalar neon")],
    "oldcpu": [("qemu64", "scalar"), ("Nehalem", "scalar"), ("Haswell" + WARNED_OF, "scalar avx2")],
}
EMULATOR = {"arm": ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"], "oldcpu": ["qemu-x86_64"]}

# One in so many cases of those that count them; a prime above 7, see tests/unit/test_flat.c.
SHARE = {"unit/test_simd": 5, "unit/test_flat": 31}
SHORT_SHARE = {"unit/test_simd": 61, "unit/test_flat": 151}
KERNELS_AND_FILES = {"unit/test_base", "unit/test_simd", "unit/test_flat", "unit/test_convert", "unit/test_wal",
                     "unit/test_manifest", "unit/test_memtable", "scenario/test_api", "scenario/test_golden",
                     "scenario/test_lives", "scenario/test_scan"}
LIMIT = 3600  # seconds; on a busy machine an emulated program can take half an hour
SHORT = ["unit/test_base", "unit/test_simd", "unit/test_flat"]


class Run:
    """Counts what was run."""

    def __init__(self, args, directory):
        self.args, self.directory = args, directory
        self.cases = self.failures = 0

    def emulated(self, cpu, command, limit):
        """(exit status or None, output) of a program run as `cpu`."""
        command = [*EMULATOR[self.args.kind], "-cpu", cpu, *map(str, command)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  errors="replace", timeout=limit, check=False,
                                  env={**os.environ, "TMPDIR": self.directory})
            return done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            return None, (late.stdout or b"").decode(errors="replace")

    def case(self, cpu, name, command, limit, wanted=""):
        """One case; it must exit with 0 and say `wanted`. Returns its output."""
        began = time.monotonic()
        status, output = self.emulated(cpu, command, limit)
        self.cases += 1
        why = ""
        if status is None:
            why = f"did not end within {limit} s"
        elif status < 0:
            lacks = " (an instruction that this processor lacks?)" if status == -4 else ""
            why = f"ended by signal {-status}{lacks}"
        elif status != 0:
            why = f"exit status {status}"
        elif wanted not in output:
            why = f"did not say {wanted!r}"
        took = time.monotonic() - began
        print(f"{self.args.kind} {cpu.split(',')[0]}: {name}: {why or 'ok'}, {took:.0f} s", flush=True)
        if why or self.args.verbose:
            print(output[-4000:], flush=True)
        self.failures += why != ""
        return output


def programs(build, full):
    found = sorted(f"{kind}/{path.name}" for kind in ("unit", "scenario")
                   for path in (build / "tests" / kind).glob("test_*") if path.is_file() and os.access(path, os.X_OK))
    return [name for name in found if full or name in KERNELS_AND_FILES]


def run_tests(run, build, cpu, levels, full):
    args = run.args
    names = [name for name in SHORT if (build / "tests" / name).is_file()] if args.short else programs(build, full)
    for name in names:
        if args.only and name.split("/")[1] not in args.only:
            continue
        share = (SHORT_SHARE if args.short else SHARE).get(name)
        options = ["--share", share, "--seed", args.seed] if share else []
        if "avx2" in levels and name == "unit/test_simd":
            options += ["--emulated-masks", "yes"]
        # The line is the whole list: a level too many is one that would be chosen.
        wanted = f"  levels: {levels}\n" if name == "unit/test_simd" else ""
        run.case(cpu, name, [build / "tests" / name, *options], LIMIT, wanted)


def run_program(run, build, cpu, levels):
    """The program `pomai` makes a database, fills and searches it, and says which level it chose."""
    program = build / "pomai"
    if not program.is_file() or (run.args.only and "pomai" not in run.args.only):
        return
    with tempfile.TemporaryDirectory(dir=run.directory) as directory:
        database, rows = f"{directory}/db", Path(directory) / "rows.jsonl"
        rows.write_text("".join(f'{{"id": {i}, "vector": [{i}, {i * i % 97}, 1.5]}}\n' for i in range(1, 301)))
        for name, arguments, wanted in (
                ("create", ["create", database, "--dim", "3"], ""),
                ("import", ["import", database, rows], ""),
                ("search", ["search", database, "--vector", "[7, 49, 1.5]", "-k", "1", "--json"],
                 '"distance":0,"id":7'),
                ("stats", ["stats", database, "--json"], f'"simd": "{levels.split()[-1]}"'),
                ("verify", ["verify", database], "")):
            run.case(cpu, f"pomai {name}", [program, *arguments], 120, wanted)


def run_model(run, build, cpu):
    if run.args.short or (run.args.only and "soak_model" not in run.args.only):
        return
    program = build / "tests" / "model" / "soak_model"
    output = run.case(cpu, "model/soak_model", [program, "--seconds", run.args.seconds, "--seed", run.args.seed],
                      run.args.seconds + 600, " 0 failures")
    last = re.findall(r"^model: .*$", output, re.M)
    print(f"{run.args.kind} {cpu}: {last[-1] if last else 'the model soak said nothing'}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=sorted(CPUS))
    parser.add_argument("build", type=Path)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, help="taken, as other soaks do, and of no effect")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", type=lambda text: text.split(","))
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    emulator = EMULATOR[args.kind][0]
    if shutil.which(emulator) is None:
        print(f"{args.kind}: skipped: no {emulator} here (Debian: qemu-user, 12 MB to fetch)")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="pomai-portable-") as directory:
        os.chmod(directory, 0o755)  # a test opens a database as another user
        run = Run(args, directory)
        for cpu, levels in CPUS[args.kind]:
            run_tests(run, args.build, cpu, levels, cpu == CPUS[args.kind][0][0])
            run_program(run, args.build, cpu, levels)
            run_model(run, args.build, cpu)
    print(f"{args.kind}: {run.cases} cases, {run.failures} failures, seed {args.seed}")
    return 1 if run.failures or run.cases == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
