# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np

BATCH = 1000


class Adapter(Engine):
    name = "zvec HNSW"
    packages = ("zvec",)
    distribution = "zvec"
    module = "zvec"
    parameters = "m 16, ef_construction 200, optimize()"
    efforts = EF

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import zvec

        metric = zvec.MetricType.L2 if self.metric == "l2" else zvec.MetricType.COSINE
        index = zvec.HnswIndexParam(metric_type=metric, m=16, ef_construction=200)
        schema = zvec.CollectionSchema(
            name="rows", vectors=zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, self.dim, index)
        )
        self.rows_there = zvec.create_and_open(str(directory / "db"), schema)
        for first in range(0, len(base), BATCH):
            part = base[first : first + BATCH]
            docs = [zvec.Doc(id=str(first + i), vectors={"vector": row}) for i, row in enumerate(part.tolist())]
            for status in self.rows_there.insert(docs):
                if not status.ok():
                    raise RuntimeError(str(status))
        self.rows_there.optimize(zvec.OptimizeOption(concurrency=threads))

    def save(self, directory: Path) -> None:
        self.rows_there.flush()

    def load(self, directory: Path, base: Path) -> None:
        import zvec

        self.zvec = zvec
        self.rows_there = zvec.open(str(directory / "db"))

    def set_effort(self, effort: int) -> None:
        self.effort = self.zvec.HnswQueryParam(ef=effort)

    def search(self, query: np.ndarray, k: int) -> Any:
        asked = self.zvec.Query("vector", vector=query, param=self.effort)
        return [int(doc.id) for doc in self.rows_there.query(asked, topk=k, output_fields=[])]

    def close(self) -> None:
        self.rows_there.close()
