# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import lancedb
from filter_engines import Filtered, Terms, sql

if TYPE_CHECKING:
    import numpy as np

INDEXES = {"number": "BTREE", "category": "BITMAP", "cluster": "BITMAP", "tenant": "BTREE"}


class Adapter(Filtered, lancedb.Adapter):
    efforts = (1, 5, 20, 80, 320)
    given = "where(SQL, prefilter=True), with scalar indexes: BTREE for number and tenant, BITMAP for the others"

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        import lancedb
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.reshape(-1)), self.dim)
        table = pa.table({"id": pa.array(range(len(base)), pa.int64()), "vector": vectors, **columns})
        self.table = lancedb.connect(str(directory / "db")).create_table("rows", table)
        self.table.create_index(
            metric=self.metric, index_type="IVF_PQ", num_partitions=self.lists, num_sub_vectors=self.codes()
        )
        for column, index in INDEXES.items():
            self.table.create_scalar_index(column, index_type=index)

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        return sql(terms)

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        asked = self.table.search(query).distance_type(self.metric).where(given, prefilter=True)
        asked = asked.nprobes(self.effort).refine_factor(10)
        return asked.limit(k).select(["id"]).to_arrow()["id"].to_numpy()
