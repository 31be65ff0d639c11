# SPDX-License-Identifier: Apache-2.0
"""`python -m pomai` and `pomai`: the command line program that came with the package, and Parquet and Arrow files."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def program() -> Path | None:
    path = Path(__file__).with_name("_bin") / "pomai"
    return path if os.access(path, os.X_OK) else None


def _is_ours(arguments: list[str]) -> bool:
    """Whether it is worth loading what reads Parquet and Arrow."""
    words = " ".join(arguments).lower()
    return arguments[:1] in (["import"], ["export"]) and any(
        name in words for name in ("parquet", ".pq", "arrow", ".feather", ".ipc")
    )


def main() -> int:
    if _is_ours(sys.argv[1:]):
        from . import _files

        code = _files.run(sys.argv[1:])
        if code is not None:
            return code
    path = program()
    if path is None:
        from . import _verbs

        return _verbs.run(sys.argv[1:])
    os.execv(path, ["pomai", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
