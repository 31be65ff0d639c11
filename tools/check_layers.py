#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the tree to src/LAYERS.

Fails on: an #include that src/LAYERS does not allow; a module's <name>_int.h included from elsewhere; a header of the
operating system, or a call of it, outside src/os; memory or output that does not go through src/base; hooks of tests
where there are none; a program or example that includes more than pomai/*.h.
"""
import re
import sys
import tempfile
from pathlib import Path

C_HEADERS = set("""assert ctype errno float inttypes iso646 limits math stdalign stdarg stdatomic stdbool stddef stdint
    stdio stdlib stdnoreturn string""".split())
INTRINSICS = set("""immintrin nmmintrin wmmintrin smmintrin tmmintrin emmintrin xmmintrin x86intrin cpuid arm_neon
    arm_acle arm_sve""".split())
INTRINSIC_MODULES = {"base", "simd"}
# CMakeLists.txt compiles these once for all builds of the engine, without what only tests have.
UNHOOKED_MODULES = {"simd"}
HOOKED = {"stdatomic.h", "base/mutant.h", "base/point.h", "base/steps.h"}

SYSTEM_CALLS = set("""
    open openat creat close read pread readv preadv write pwrite writev pwritev lseek fsync fdatasync sync_file_range
    fallocate posix_fallocate ftruncate truncate rename renameat renameat2 unlink unlinkat mkdir mkdirat rmdir opendir
    readdir closedir fdopendir stat fstat lstat fstatat statvfs fstatvfs access faccessat flock lockf fcntl ioctl link
    symlink readlink realpath dup dup2 pipe mmap munmap mremap msync madvise mlock mincore
    fopen fdopen fclose fread fwrite fgets fflush fseek ftell tmpfile mkstemp mkdtemp remove
    clock_gettime clock_nanosleep clock_getres gettimeofday time clock nanosleep usleep sleep
    getrandom getentropy rand srand random drand48 getenv secure_getenv setenv sysconf getpid gettid fork execve
    waitpid kill raise signal sigaction system popen exit _exit syscall futex sched_yield sched_getaffinity
    getpagesize getrusage dlopen dlsym thrd_create mtx_lock mtx_init cnd_wait
""".split())
SYSTEM_PREFIXES = ("pthread_", "sem_", "sched_")
MEMORY_CALLS = set("malloc calloc realloc aligned_alloc posix_memalign free strdup strndup asprintf vasprintf".split())
OUTPUT_CALLS = set("printf vprintf fprintf vfprintf puts putchar fputs fputc putc perror".split())

TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
CALL = re.compile(r"(?<![\w.>])([A-Za-z_]\w*)[ \t]*\(")


def blank(text, keep_strings):
    """Comments (and strings) become spaces; lines stay where they are."""
    def replace(match):
        token = match.group()
        if token[0] in "\"'" and keep_strings:
            return token
        return re.sub(r"[^\n]", " ", token)
    return TOKENS.sub(replace, text)


def read_layers(path):
    layers = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        name, colon, allowed = line.partition(":")
        name = name.strip()
        if not colon or name in layers:
            raise SystemExit(f"{path}:{number}: not `module: modules`, or named twice")
        for other in allowed.split():
            if other not in layers:
                raise SystemExit(f"{path}:{number}: {other} is not a module named above this line")
        layers[name] = set(allowed.split())
    return layers


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_include(root, path, module, layers, bracket, name):
    """What is wrong with this #include in src, or None."""
    if module in UNHOOKED_MODULES and name in HOOKED:
        return f"{module} has no hooks of tests: it is compiled without them"
    if name.startswith("pomai/"):
        return None if (root / "include" / name).is_file() else "no such public header"
    if bracket == "<":
        stem = name[:-2] if name.endswith(".h") else name
        if module.startswith("os") or stem in C_HEADERS:
            return None
        if stem in INTRINSICS:
            return None if module in INTRINSIC_MODULES else "intrinsics belong to simd"
        return "not a header of standard C; system calls, clocks and threads belong to src/os"
    target = path.parent / name
    if not target.is_file():
        target = root / "src" / name
    if not target.is_file():
        return "no such header under src"
    target = target.resolve()
    other = target.parent.relative_to((root / "src").resolve()).as_posix()
    if other == module:
        return None
    if target.stem.endswith("_int"):
        return f"{name} is for module {other} alone"
    if other not in layers[module]:
        return f"src/LAYERS does not let {module} include {other}"
    return None


def check_calls(text, module):
    for match in CALL.finditer(text):
        name = match.group(1)
        if not module.startswith("os") and (name in SYSTEM_CALLS or name.startswith(SYSTEM_PREFIXES)):
            yield match.start(), f"{name}(): system calls, clocks and threads belong to src/os"
        elif not module.startswith(("os", "base")) and name in MEMORY_CALLS:
            yield match.start(), f"{name}(): memory comes from src/base (pm_malloc, pm_free)"
        elif name in OUTPUT_CALLS:
            yield match.start(), f"{name}(): the library does not print"


def check_engine(root):
    layers = read_layers(root / "src" / "LAYERS")
    for path in sorted((root / "src").rglob("*.[ch]")):
        where = path.relative_to(root)
        module = path.parent.relative_to(root / "src").as_posix()
        if module not in layers:
            yield f"{where}:1: module {module} is not in src/LAYERS"
            continue
        text = path.read_text()
        code = blank(text, keep_strings=True)
        for match in INCLUDE.finditer(code):
            problem = check_include(root, path, module, layers, *match.groups())
            if problem:
                yield f"{where}:{line_of(code, match.start())}: #include {match.group(2)}: {problem}"
        # Directives (names in #define and the like) stay: a call hidden in a macro is a call.
        for position, problem in check_calls(blank(text, keep_strings=False), module):
            yield f"{where}:{line_of(text, position)}: {problem}"


def check_programs(root):
    """Programs and examples live on the public interface: which proves that it is enough."""
    for directory in ("cmd", "examples", "bench"):
        for path in sorted((root / directory).rglob("*.[ch]")):
            if path.stem.endswith("_int"):
                continue
            code = blank(path.read_text(), keep_strings=True)
            for match in INCLUDE.finditer(code):
                bracket, name = match.groups()
                own = (path.parent / name).is_file() or (root / directory / name).is_file()
                engine = (root / "src" / name).is_file() or ".." in Path(name).parts
                if name.startswith("pomai/") or (not engine and (bracket == "<" or own)):
                    continue
                where = f"{path.relative_to(root)}:{line_of(code, match.start())}"
                yield f"{where}: #include {name}: programs see only pomai/*.h"


def check(root):
    return list(check_engine(root)) + list(check_programs(root))


# ---- self test: every planted violation is found, and what is allowed is not ----

CLEAN = {
    "include/pomai/pomai.h": "",
    "src/LAYERS": "# a comment\nbase:\nsimd: base\nos: base\nstorage: base\nstorage/wal: base os storage\n"
                  "index/flat: base\nquery: base storage/wal index/flat\n",
    "src/base/base.h": "#include <stdint.h>\nvoid *pm_malloc(unsigned long n);\n",
    "src/base/base.c": '#include "base/base.h"\n#include <stdlib.h>\nvoid *pm_malloc(unsigned long n) '
                       "{ return malloc(n); }\n",
    "src/os/os.h": '#include "base/base.h"\nstruct pm_os { int (*open)(const char *path); };\n',
    "src/os/os_posix.c": '#include <pthread.h>\n#include <fcntl.h>\n#include "os.h"\nint f(void) '
                         '{ return open("x", 0); }\n',
    "src/storage/format.h": "#include <stddef.h>\n",
    "src/storage/wal/wal.h": '#include "storage/format.h"\n#include "pomai/pomai.h"\n',
    "src/storage/wal/wal_int.h": "",
    "src/storage/wal/wal.c": '#include "wal_int.h"\n#include "os/os.h"\n/* open("x"); #include <unistd.h> */\n'
                             'int g(struct pm_os *os) { return os->open("time(0)"); } // fsync(1)\n',
    "src/index/flat/flat.h": "",
    "src/query/query.c": '#include "index/flat/flat.h"\n#include "storage/wal/wal.h"\n',
    "cmd/pomai/main.c": '#include "cli.h"\n#include <unistd.h>\n#include "pomai/pomai.h"\n',
    "cmd/pomai/cli.h": "",
}
PLANTED = [
    ("src/base/bad.c", '#include "os/os.h"\n', "does not let base include os"),
    ("src/storage/wal/bad.c", '#include "index/flat/flat.h"\n', "does not let storage/wal include index/flat"),
    ("src/index/flat/bad.c", '#include "../../storage/format.h"\n', "does not let index/flat include storage"),
    ("src/simd/bad.c", "#include <stdatomic.h>\n", "has no hooks"),
    ("src/query/bad.c", '#  include "storage/wal/wal_int.h"\n', "for module storage/wal alone"),
    ("src/query/bad.c", "#include <unistd.h>\n", "not a header of standard C"),
    ("src/query/bad.c", "#include <sys/stat.h>\n", "not a header of standard C"),
    ("src/query/bad.c", "#include <pthread.h>\n", "not a header of standard C"),
    ("src/query/bad.c", "#include <time.h>\n", "not a header of standard C"),
    ("src/query/bad.c", "#include <immintrin.h>\n", "intrinsics"),
    ("src/query/bad.c", '#include "nowhere.h"\n', "no such header"),
    ("src/query/bad.c", "int f(void) { return open(0, 0); }\n", "open()"),
    ("src/query/bad.c", "int f(void) { return (int)time (0); }\n", "time()"),
    ("src/query/bad.c", "void f(void) { pthread_self(); }\n", "pthread_self()"),
    ("src/query/bad.c", "#define SYNC(fd) fsync(fd)\n", "fsync()"),
    ("src/base/bad.c", 'char *f(void) { return getenv("X"); }\n', "getenv()"),
    ("src/query/bad.c", "void *f(void) { return malloc(1); }\n", "malloc()"),
    ("src/os/bad.c", 'void f(void) { printf("x"); }\n', "printf()"),
    ("src/unknown/bad.c", "", "not in src/LAYERS"),
    ("cmd/pomai/bad.c", '#include "base/base.h"\n', "programs see only"),
    ("cmd/pomai/bad.c", '#include "../../src/base/base.h"\n', "programs see only"),
    ("examples/bad.c", "#include <base/base.h>\n", "programs see only"),
]


def write_tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def self_test():
    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_tree(root, CLEAN)
        for problem in check(root):
            print(f"in the clean tree: {problem}")
            failures += 1
        for name, text, wanted in PLANTED:
            write_tree(root, {name: text})
            found = check(root)
            if len(found) != 1 or name not in found[0] or wanted not in found[0]:
                print(f"planted {text!r} in {name}: wanted one `{wanted}`, got {found}")
                failures += 1
            (root / name).unlink()
    print(f"check_layers self test: {len(PLANTED) + 1} cases, {failures} failures")
    return failures


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 1 if self_test() else 0
    problems = check(Path(__file__).resolve().parent.parent)
    print("\n".join(problems + [f"layers: {len(problems)} violations"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
