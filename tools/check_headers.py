#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every public header compiles alone, as C99, C17 and C++17, pedantically, with gcc and (where installed) clang; and every
_INIT initialises its struct there without a warning."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

FLAGS = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
COMPILERS = [("gcc", "c", "c99"), ("gcc", "c", "c17"), ("g++", "c++", "c++17"),
             ("clang", "c", "c99"), ("clang", "c", "c17"), ("clang++", "c++", "c++17")]


def main():
    include = Path(__file__).resolve().parent.parent / "include"
    headers = sorted(path.relative_to(include).as_posix() for path in include.rglob("*.h"))
    sources = {header: f'#include "{header}"\ntypedef int not_empty;\n' for header in headers}
    everything = "".join((include / header).read_text() for header in headers)
    inits = sorted(set(re.findall(r"#define\s+(POMAI_\w+)_INIT\b", everything)))
    if not inits:
        raise SystemExit("no _INIT found")
    lines = [f"{name.lower()} v{i} = {name}_INIT; (void)v{i};" for i, name in enumerate(inits)]
    sources["every _INIT"] = '#include "pomai/pomai.h"\nvoid f(void);\nvoid f(void)\n{\n' + "\n".join(lines) + "\n}\n"

    cases = failures = 0
    for compiler, language, standard in COMPILERS:
        if shutil.which(compiler) is None:
            if compiler in ("gcc", "g++"):
                raise SystemExit(f"{compiler} is not installed")
            continue
        for what, source in sources.items():
            run = subprocess.run([compiler, "-x", language, f"-std={standard}", *FLAGS, "-I", str(include), "-"],
                                 input=source, text=True, capture_output=True)
            cases += 1
            if run.returncode:
                failures += 1
                print(f"{what} as {standard} with {compiler}:\n{run.stderr}")
    print(f"headers: {cases} cases, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
