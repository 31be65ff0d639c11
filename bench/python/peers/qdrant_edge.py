# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "qdrant-edge-py"
    packages = ("qdrant-edge-py",)
    distribution = "qdrant-edge-py"
    handed = "a Point a row (it has nothing for batches)"
    index = "none until optimize() is called"
    durability = Durability("all", "not synced", "seen: update() writes its log through memory and syncs nothing")
    flush_call = "EdgeShard.flush()"
    flushed = Durability("all", "all", "documented: flush changes to disk; seen: msync(MS_SYNC), fsync")

    def open(self, path: Path, dim: int) -> None:
        import qdrant_edge

        self.edge = qdrant_edge
        where = path / "db"
        if where.exists():
            self.shard = qdrant_edge.EdgeShard.load(str(where))
        else:
            vector = qdrant_edge.EdgeVectorParams(size=dim, distance=qdrant_edge.Distance.Euclid)
            where.mkdir()
            self.shard = qdrant_edge.EdgeShard.create(str(where), qdrant_edge.EdgeConfig(vectors=vector))

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        points = list(map(self.edge.Point, ids.tolist(), vectors.tolist()))
        self.shard.update(self.edge.UpdateOperation.upsert_points(points))

    def flush(self) -> None:
        self.shard.flush()

    def count(self) -> int:
        return self.shard.count(self.edge.CountRequest(exact=True))

    def close(self) -> None:
        self.shard.close()
