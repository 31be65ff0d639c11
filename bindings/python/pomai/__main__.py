# SPDX-License-Identifier: Apache-2.0
"""`python -m pomai` and `pomai`: the command line program that came with the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def program() -> Path | None:
    path = Path(__file__).with_name("_bin") / "pomai"
    return path if os.access(path, os.X_OK) else None


def main() -> int:
    path = program()
    if path is None:
        print(
            "pomai: this package was built without the command line program, because zlib or jansson was missing.\n"
            "Install their development files (Debian: apt-get install zlib1g-dev libjansson-dev pkg-config) and\n"
            "install the package again; or build the program with ./dev build in the source tree.",
            file=sys.stderr,
        )
        return 1
    os.execv(path, ["pomai", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
