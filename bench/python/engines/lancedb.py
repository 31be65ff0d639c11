# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine, power_of_two

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "LanceDB IVF_PQ"
    packages = ("lancedb",)
    distribution = "lancedb"
    module = "lancedb"
    efforts: tuple[int, ...] = (1, 2, 5, 10, 20, 40, 80)

    def __init__(self, metric: str, rows: int, dim: int) -> None:
        super().__init__(metric, rows, dim)
        self.lists = power_of_two(math.sqrt(rows))
        self.parameters = (
            f"num_partitions {self.lists}, num_sub_vectors {self.codes()}, refine_factor 10; effort is nprobes"
        )

    def codes(self) -> int:
        """Its default: dim / 16, or dim / 8 where that divides, else one."""
        return next((self.dim // part for part in (16, 8, 4) if self.dim % part == 0), 1)

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import lancedb
        import pyarrow as pa

        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), self.dim))])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.reshape(-1)), self.dim)
        batch = pa.record_batch([pa.array(range(len(base)), pa.int64()), vectors], schema=schema)
        self.table = lancedb.connect(str(directory / "db")).create_table("rows", batch)
        self.table.create_index(
            metric=self.metric, index_type="IVF_PQ", num_partitions=self.lists, num_sub_vectors=self.codes()
        )

    def load(self, directory: Path, base: Path) -> None:
        import lancedb

        self.table = lancedb.connect(str(directory / "db")).open_table("rows")

    def set_effort(self, effort: int) -> None:
        self.effort = effort

    def search(self, query: np.ndarray, k: int) -> Any:
        asked = self.table.search(query).distance_type(self.metric).nprobes(self.effort).refine_factor(10)
        return asked.limit(k).select(["id"]).to_arrow()["id"].to_numpy()
