# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import qdrant_edge
from filter_engines import EF, Filtered, Terms, records

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, qdrant_edge.Adapter):
    efforts = EF
    given = "SearchRequest(filter=Filter(must=[...])), made beforehand, with payload indexes on all four columns"

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        import qdrant_edge as q

        distance = q.Distance.Euclid if self.metric == "l2" else q.Distance.Cosine
        config = q.EdgeConfig(
            vectors=q.EdgeVectorParams(size=self.dim, distance=distance),
            hnsw_config=q.HnswIndexConfig(16, 200, 1000, max_indexing_threads=threads),
            optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000),
        )
        (directory / "db").mkdir()
        self.shard = q.EdgeShard.create(str(directory / "db"), config)
        # Before the graph is made, which then gets links of its own for each value.
        for column in columns:
            kind = q.PayloadSchemaType.Keyword if column == "category" else q.PayloadSchemaType.Integer
            self.shard.update(q.UpdateOperation.create_field_index(column, kind))
        rows = records(columns)
        for first in range(0, len(base), qdrant_edge.BATCH):
            part = base[first : first + qdrant_edge.BATCH]
            numbers = range(first, first + len(part))
            points = list(map(q.Point, numbers, part.tolist(), rows[first : first + len(part)]))
            self.shard.update(q.UpdateOperation.upsert_points(points))
        self.shard.optimize()
        self.shard.flush()

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        q = self.edge
        parts = []
        for column, operator, *operands in terms:
            if operator == "range":
                parts.append(q.FieldCondition(column, range=q.RangeFloat(gte=operands[0], lt=operands[1])))
            elif operator == "eq":
                parts.append(q.FieldCondition(column, match=q.MatchValue(operands[0])))
            else:
                parts.append(q.FieldCondition(column, match=q.MatchAny(operands[0])))
        return q.Filter(must=parts)

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        nearest = self.edge.Query.Nearest(query.tolist())
        asked = self.edge.SearchRequest(nearest, k, filter=given, params=self.params)
        return [point.id for point in self.shard.search(asked)]
