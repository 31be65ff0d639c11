# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np

BATCH = 1000


class Adapter(Engine):
    name = "Qdrant Edge"
    packages = ("qdrant-edge-py",)
    distribution = "qdrant-edge-py"
    module = "qdrant_edge"
    parameters = "m 16, ef_construct 200, one segment, optimize()"
    efforts = EF

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import qdrant_edge as q

        distance = q.Distance.Euclid if self.metric == "l2" else q.Distance.Cosine
        config = q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=self.dim, distance=distance),
            hnsw_config=q.HnswIndexConfig(16, 200, 1000, max_indexing_threads=threads),
            optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000),
        )
        (directory / "db").mkdir()
        self.shard = q.EdgeShard.create(str(directory / "db"), config)
        for first in range(0, len(base), BATCH):
            part = base[first : first + BATCH]
            points = list(map(q.Point, range(first, first + len(part)), part.tolist()))
            self.shard.update(q.UpdateOperation.upsert_points(points))
        self.shard.optimize()
        self.shard.flush()

    def load(self, directory: Path, base: Path) -> None:
        import qdrant_edge

        self.edge = qdrant_edge
        self.shard = qdrant_edge.EdgeShard.load(str(directory / "db"))

    def set_effort(self, effort: int) -> None:
        self.params = self.edge.SearchParams(hnsw_ef=effort)

    def search(self, query: np.ndarray, k: int) -> Any:
        asked = self.edge.SearchRequest(self.edge.Query.Nearest(query.tolist()), k, params=self.params)
        return [point.id for point in self.shard.search(asked)]

    def close(self) -> None:
        self.shard.close()
