#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_install.py BUILD_DIR: installs into a temporary directory and builds every example against what was installed,
with pkg-config (shared and static) and with find_package (pomai::pomai and pomai::pomai_static). Runs none of it."""
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

CMAKE = """cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(pomai {version} REQUIRED)
foreach(source {sources})
    get_filename_component(name ${{source}} NAME_WE)
    add_executable(${{name}} ${{source}})
    target_link_libraries(${{name}} pomai::pomai)
    add_executable(${{name}}_static ${{source}})
    target_link_libraries(${{name}}_static pomai::pomai_static)
endforeach()
"""
PROBE = "#include <pomai/pomai.h>\nint main(void) { return pomai_version() == 0; }\n"


def run(*command, **options):
    result = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if result.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{result.stdout}\nfailed: exit status {result.returncode}")
    return result.stdout


def one(paths, what):
    paths = list(paths)
    if not paths:
        raise SystemExit(f"{what} was not installed")
    return paths[0]


def main():
    build = Path(sys.argv[1]).resolve()
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        prefix = work / "prefix"
        run("cmake", "--install", str(build), "--prefix", str(prefix))
        # Moved after installing: nothing in it may know where it was installed to.
        prefix = prefix.rename(work / "moved")
        (work / "probe.c").write_text(PROBE)
        sources = [str(path) for path in sorted((root / "examples").glob("*.c"))] + [str(work / "probe.c")]

        pc = one(prefix.rglob("pomai.pc"), "pomai.pc")
        archive = one(prefix.rglob("libpomai.a"), "libpomai.a")
        one(prefix.rglob("libpomai.so.0"), "libpomai.so.0")
        environment = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent))

        def flags(*options):
            return shlex.split(run("pkg-config", *options, "pomai", env=environment))

        for source in sources:
            program = str(work / Path(source).stem)
            strict = ["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-o", program, source]
            run(*strict, *flags("--cflags", "--libs"))
            private = [flag for flag in flags("--static", "--libs") if flag != "-lpomai"]
            run(*strict, *flags("--cflags"), str(archive), *private)

        version = run("pkg-config", "--modversion", "pomai", env=environment).strip()
        consumer = work / "consumer"
        consumer.mkdir()
        (consumer / "CMakeLists.txt").write_text(CMAKE.format(version=version, sources=" ".join(sources)))
        run("cmake", "-G", "Ninja", "-S", str(consumer), "-B", str(consumer / "build"),
            f"-DCMAKE_PREFIX_PATH={prefix}")
        run("cmake", "--build", str(consumer / "build"))
        names = sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file())
        print("\n".join(names))
        print(f"install: {len(names)} files, {len(sources)} programs built four ways")
    return 0


if __name__ == "__main__":
    sys.exit(main())
