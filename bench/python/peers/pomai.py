# SPDX-License-Identifier: Apache-2.0
"""PomaiDB itself, from this tree: never from a registry."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "PomaiDB"
    distribution = "pomai"
    handed = "the array"
    index = "none; exact search"
    durability = Durability("all", "all", "its promise at the default level, sync; ./dev soak crash and power")

    def open(self, path: Path, dim: int) -> None:
        import pomai

        self.db = pomai.open(path / "db")
        self.collection = self.db.collection("docs", dim=dim, metric="l2")

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        self.collection.add(vectors=vectors, ids=ids)

    def count(self) -> int:
        return len(self.collection)

    def close(self) -> None:
        self.db.close()
