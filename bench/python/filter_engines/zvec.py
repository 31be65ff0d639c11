# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import zvec
from filter_engines import EF, Filtered, Terms, records, sql

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, zvec.Adapter):
    efforts = EF
    given = "query(filter=TEXT), with inverted indexes on all four columns, made for ranges too"

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        import zvec as z

        metric = z.MetricType.L2 if self.metric == "l2" else z.MetricType.COSINE
        index = z.HnswIndexParam(metric_type=metric, m=16, ef_construction=200)
        inverted = z.InvertIndexParam(enable_range_optimization=True)
        fields = [
            z.FieldSchema(name, z.DataType.STRING if name == "category" else z.DataType.INT64, index_param=inverted)
            for name in columns
        ]
        schema = z.CollectionSchema(
            name="rows", fields=fields, vectors=z.VectorSchema("vector", z.DataType.VECTOR_FP32, self.dim, index)
        )
        self.rows_there = z.create_and_open(str(directory / "db"), schema)
        values = records(columns)
        for first in range(0, len(base), zvec.BATCH):
            part = base[first : first + zvec.BATCH].tolist()
            docs = [
                z.Doc(id=str(first + i), vectors={"vector": row}, fields=values[first + i])
                for i, row in enumerate(part)
            ]
            for status in self.rows_there.insert(docs):
                if not status.ok():
                    raise RuntimeError(str(status))
        self.rows_there.optimize(z.OptimizeOption(concurrency=threads))

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        return sql(terms)

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        asked = self.zvec.Query("vector", vector=query, param=self.effort)
        return [int(doc.id) for doc in self.rows_there.query(asked, topk=k, output_fields=[], filter=given)]
