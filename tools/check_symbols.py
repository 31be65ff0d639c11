#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_symbols.py LIBPOMAI.SO LIBPOMAI.A

Both libraries define exactly the functions that the public headers declare POMAI_API and nothing else that is global;
the shared one needs nothing at run time but libc, libm and the dynamic loader.
"""
import re
import subprocess
import sys
from pathlib import Path

NEEDED = re.compile(r"^(libc|libm|libpthread|ld-linux[\w-]*)\.so\.\d+$")


def declared():
    names = set()
    for header in (Path(__file__).resolve().parent.parent / "include" / "pomai").glob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        text = re.sub(r"^[ \t]*#[^\n]*", "", text, flags=re.M)
        for declaration in re.findall(r"\bPOMAI_API\b([^;]*);", text):
            names.add(re.search(r"(\w+)\s*\(", declaration).group(1))
    return names


def defined(library, *options):
    output = subprocess.run(["nm", *options, "--defined-only", "--format=posix", library], check=True,
                            capture_output=True, text=True).stdout
    lines = (line.split() for line in output.splitlines())
    return {fields[0].split("@")[0] for fields in lines if len(fields) >= 2 and not fields[0].endswith(":")}


def compare(what, wanted, got):
    problems = [f"{what}: {name} is declared POMAI_API and not defined" for name in sorted(wanted - got)]
    return problems + [f"{what}: {name} is global and not declared POMAI_API" for name in sorted(got - wanted)]


def main():
    shared, static = sys.argv[1:]
    wanted = declared()
    problems = compare("shared library", wanted, defined(shared, "-D"))
    problems += compare("static library", wanted, defined(static, "-g"))
    dynamic = subprocess.run(["readelf", "-d", "-W", shared], check=True, capture_output=True, text=True).stdout
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
        if not NEEDED.match(name):
            problems.append(f"shared library: needs {name} at run time")
    print("\n".join(problems + [f"symbols: {len(wanted)} declared, {len(problems)} problems"]))
    return 1 if problems or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
