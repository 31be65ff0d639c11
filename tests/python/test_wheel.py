# SPDX-License-Identifier: Apache-2.0
"""What is in the wheel: of build/wheels (./dev wheel), or of one that is built here, without what auditwheel does."""

from __future__ import annotations

import email
import email.message
import importlib.util
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bindings" / "python" / "pomai"
SYSTEM = {"libc.so.6", "libm.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def inputs_time() -> float:
    """When what a wheel is made of was last changed."""
    files = [ROOT / "pyproject.toml", ROOT / "CMakeLists.txt", ROOT / "README.md"]
    for part in ("include", "src", "cmd", "bindings"):
        files += (path for path in (ROOT / part).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return max(path.stat().st_mtime for path in files)


def find_wheel(directory: Path) -> Path:
    """The wheel of ./dev wheel, if it is as new as the sources; else one that pip builds."""
    there = sorted((ROOT / "build" / "wheels").glob("pomai-*.whl"))
    if len(there) == 1 and there[0].stat().st_mtime >= inputs_time():
        return there[0]
    if not shutil.which("cmake"):
        raise unittest.SkipTest("no wheel in build/wheels, and no cmake to build one with")
    if not importlib.util.find_spec("scikit_build_core") or not importlib.util.find_spec("pip"):
        raise unittest.SkipTest("no wheel in build/wheels, and no scikit-build-core to build one with: ./dev python")
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--quiet",
               "--disable-pip-version-check", "--wheel-dir", str(directory), "-C", f"build-dir={directory}/build",
               str(ROOT)]  # fmt: skip
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise AssertionError(f"pip wheel failed:\n{done.stdout}")
    return next(directory.glob("*.whl"))


def readelf(option: str, binary: Path) -> str:
    command = ["readelf", option, "--wide", str(binary)]
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout


class Wheel(unittest.TestCase):
    wheel: Path
    content: Path
    infos: dict[str, zipfile.ZipInfo]

    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.TemporaryDirectory(prefix="pomai-test-wheel-")
        cls.addClassCleanup(directory.cleanup)
        work = Path(directory.name)
        cls.wheel = find_wheel(work)
        cls.content = work / "content"
        with zipfile.ZipFile(cls.wheel) as archive:
            archive.extractall(cls.content)
            cls.infos = {info.filename: info for info in archive.infolist()}

    def info(self, name: str) -> email.message.Message:
        (path,) = self.content.glob(f"*.dist-info/{name}")
        return email.message_from_string(path.read_text())

    def test_tag(self) -> None:
        """One wheel for CPython 3.11 and everything newer."""
        self.assertRegex(self.wheel.name, r"^pomai-[^-]+-cp311-abi3-(manylinux_\d+_\d+|linux)_\w+\.whl$")
        for tag in self.info("WHEEL").get_all("Tag", []):
            self.assertTrue(tag.startswith("cp311-abi3-"), tag)
        self.assertEqual(self.info("WHEEL")["Root-Is-Purelib"], "false")

    def test_metadata(self) -> None:
        header = (ROOT / "include" / "pomai" / "version.h").read_text()
        version = re.search(r'POMAI_VERSION_STRING "([^"]+)"', header)
        assert version
        metadata = self.info("METADATA")
        self.assertEqual(metadata["Name"], "pomai")
        self.assertEqual(metadata["Version"], version[1])
        self.assertEqual(metadata["Requires-Python"], ">=3.11")
        required = metadata.get_all("Requires-Dist", [])
        self.assertEqual([name for name in required if "extra ==" not in name], [], "nothing but Python is required")

    def test_license(self) -> None:
        (path,) = self.content.glob("*.dist-info/licenses/LICENSE")
        self.assertEqual(path.read_bytes(), (ROOT / "LICENSE").read_bytes())

    def test_files(self) -> None:
        """The modules with their types, extension and program; no sources, no tests, no caches."""
        allowed = {"pomai/_core.abi3.so", "pomai/_bin/pomai"}
        allowed |= {
            f"pomai/{path.relative_to(PACKAGE)}"
            for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        }  # fmt: skip
        found = {name for name in self.infos if ".dist-info/" not in name and not name.endswith("/")}
        found -= {name for name in found if re.match(r"pomai\.libs/lib(z|jansson)-", name)}  # from auditwheel
        self.assertEqual(allowed - {"pomai/_bin/pomai"} - found, set())
        self.assertEqual(found - allowed, set())
        self.assertIn("pomai/py.typed", found)

    def test_exports(self) -> None:
        """The engine's functions stay inside: only the module's beginning is seen."""
        names = []
        for line in readelf("--dyn-syms", self.content / "pomai" / "_core.abi3.so").splitlines():
            words = line.split()
            if len(words) == 8 and words[4] in ("GLOBAL", "WEAK") and words[6] not in ("UND", "Ndx"):
                names.append(words[7])
        self.assertEqual(names, ["PyInit__core"])

    def test_libraries(self) -> None:
        """Nothing but the C library has to be there; what is installed is stripped."""
        for name in ("pomai/_core.abi3.so", "pomai/_bin/pomai"):
            path = self.content / name
            if not path.exists():
                continue
            with self.subTest(name):
                needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("--dynamic", path)))
                if name == "pomai/_core.abi3.so" or "manylinux" in self.wheel.name:
                    self.assertEqual(needed - SYSTEM, set())
                self.assertNotIn(".symtab", readelf("--section-headers", path))

    def test_program(self) -> None:
        """It can be executed where it was unpacked, which zip files do not promise."""
        info = self.infos.get("pomai/_bin/pomai")
        if info is None:
            self.skipTest("built without zlib or jansson, and so without the program")
        self.assertTrue(stat.S_IMODE(info.external_attr >> 16) & 0o111)
        path = self.content / "pomai" / "_bin" / "pomai"
        path.chmod(0o755)
        said = subprocess.run([path, "version"], text=True, stdout=subprocess.PIPE, check=True).stdout
        self.assertIn(self.info("METADATA")["Version"], said)


if __name__ == "__main__":
    unittest.main()
