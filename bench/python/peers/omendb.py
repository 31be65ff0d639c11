# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "omendb"
    packages = ("omendb",)
    distribution = "omendb"
    handed = "the array (one row: the form for one); ids as strings"
    index = "its default: HNSW, built while rows come in"
    durability = Durability(
        "one row a call: all; batches: none", "the same",
        "documented: batches skip the log and are not durable until flush(); seen: one row is logged and synced",
    )  # fmt: skip
    flush_call = "db.flush()"
    flushed = Durability("all", "all", "documented; seen: fsync, msync")

    def open(self, path: Path, dim: int) -> None:
        import omendb

        where = str(path / "db")
        if any(path.iterdir()):
            self.db = omendb.open(where)
        else:
            self.db = omendb.create(where, {"dense": {"dim": dim}, "metric": "l2"})

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        if len(ids) == 1:  # this form is in the log, a batch is not
            self.db.set(str(ids[0]), vectors[0])
            return
        self.db.set(ids=list(map(str, ids.tolist())), vectors=vectors)

    def flush(self) -> None:
        self.db.flush()

    def count(self) -> int:
        return len(self.db)

    def close(self) -> None:
        self.db.close()
