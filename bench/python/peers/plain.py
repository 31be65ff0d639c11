# SPDX-License-Identifier: Apache-2.0
"""No engine: the bytes of the vectors and ids are written to a file, and synced. What the disk allows."""
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "write + fdatasync"
    handed = "the array's memory"
    index = "none"
    durability = Durability("all", "all", "by construction: write, then fdatasync, then return")

    def version(self) -> str:
        return "-"

    def open(self, path: Path, dim: int) -> None:
        self.row = 8 + 4 * dim
        self.fd = os.open(path / "rows", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        written = os.writev(self.fd, [ids.data, vectors.data])
        if written != ids.nbytes + vectors.nbytes:
            raise OSError(f"wrote {written} bytes only")
        os.fdatasync(self.fd)

    def count(self) -> int:
        return os.fstat(self.fd).st_size // self.row

    def close(self) -> None:
        os.close(self.fd)
