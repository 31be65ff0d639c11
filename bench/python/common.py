# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks in Python share: the machine, tables, and what a program said last."""
from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


def fresh(directory: Path) -> Path:
    """The directory, made anew and empty."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def print_table(lines: list[list[str]]) -> None:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()


def file_system(directory: Path) -> str:
    best, kind = "", "unknown"
    path = str(directory.resolve())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, type_ = line.split()[:3]
        if len(mount) >= len(best) and (path + "/").startswith(mount.rstrip("/") + "/"):
            best, kind = mount, type_
    return kind


def processor() -> str:
    """The processor, by family and model where its name says nothing."""
    text = Path("/proc/cpuinfo").read_text()
    found = [re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE) for key in ("model name", "cpu family", "model")]
    name, family, model = (match[1] if match else "" for match in found)
    return f"{name or platform.processor()} (family {family}, model {model})"


def machine(directory: Path) -> dict[str, Any]:
    return {
        "cpu": processor(), "cores": os.cpu_count(), "kernel": platform.release(),
        "file_system": file_system(directory), "python": platform.python_version(),
    }  # fmt: skip


def commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    return done.stdout.strip() or "unknown"
