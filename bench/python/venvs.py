# SPDX-License-Identifier: Apache-2.0
"""The virtual environments of the benchmarks: one for all engines if they agree, or one for each."""
from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

COMMON = ("numpy",)


@dataclass(frozen=True)
class Installed:
    python: Path | None
    reason: str = ""  # why not


def error_line(output: str) -> str:
    """What pip says in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip says nothing"])[-1].removeprefix("ERROR:").strip()


def pip(python: Path, *arguments: str) -> str:
    """Runs pip; returns what is wrong, or nothing."""
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return error_line(done.stdout) if done.returncode else ""


def make(directory: Path, packages: list[str], upgrade: bool) -> Installed:
    """A virtual environment with packages, kept for the next run."""
    python = directory / "bin" / "python"
    done = directory / "installed.json"
    if not upgrade and done.exists() and json.loads(done.read_text()) == packages:
        return Installed(python)
    done.unlink(missing_ok=True)
    if not python.exists():
        venv.create(directory, with_pip=True)
    print(f"==> installing {' '.join(packages)}", file=sys.stderr)
    wrong = pip(python, "install", *(["--upgrade"] if upgrade else []), *packages) or pip(python, "check")
    if wrong:
        return Installed(None, wrong)
    done.write_text(json.dumps(packages))
    return Installed(python)


def install_ours(python: Path, source: Path) -> Installed:
    if source.suffix != ".whl" and not (source / "pyproject.toml").exists():
        return Installed(None, f"no wheel, and no pyproject.toml in {source}")
    kept = [] if source.suffix == ".whl" else ["-C", f"build-dir={python.parent.parent / 'pomai-build'}"]
    wrong = pip(python, "install", "--no-deps", "--force-reinstall", *kept, str(source.resolve()))
    return Installed(None, wrong) if wrong else Installed(python)


def install(wanted: dict[str, tuple[str, ...]], root: Path, upgrade: bool) -> dict[str, Installed]:
    """Where the Python for each name is, or why there is none."""
    together = sorted({*COMMON, *(package for packages in wanted.values() for package in packages)})
    # What was installed together once serves fewer names as well.
    kept = root / "all" / "installed.json"
    if kept.exists() and set(together) <= set(json.loads(kept.read_text())):
        together = json.loads(kept.read_text())
    shared = make(root / "all", together, upgrade)
    if shared.python:
        return {name: shared for name in wanted}
    print(f"==> not together: {shared.reason}", file=sys.stderr)
    return {name: make(root / name, [*COMMON, *packages], upgrade) for name, packages in wanted.items()}


def install_apart(wanted: dict[str, tuple[str, ...]], root: Path, upgrade: bool) -> dict[str, Installed]:
    """The same, with an environment for each set of packages: what one drags in does not change another."""
    made: dict[tuple[str, ...], Installed] = {}
    for packages in wanted.values():
        if packages not in made:
            made[packages] = make(root / ("+".join(packages) or "numpy"), [*COMMON, *packages], upgrade)
    return {name: made[packages] for name, packages in wanted.items()}


def add_ours(installed: dict[str, Installed], name: str, source: Path) -> None:
    """PomaiDB comes from this tree or from a wheel of it, never from a registry."""
    python = installed[name].python if name in installed else None
    if python:
        installed[name] = install_ours(python, source)
