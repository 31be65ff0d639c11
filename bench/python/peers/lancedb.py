# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "lancedb"
    packages = ("lancedb",)
    distribution = "lancedb"
    handed = "an Arrow batch over the array's memory"
    index = "none until one is made; each add is a new version of the table"
    durability = Durability(
        "all", "not synced", "seen: no sync in add(); files are written under another name, then renamed"
    )

    def open(self, path: Path, dim: int) -> None:
        import lancedb
        import pyarrow as pa

        self.arrow = pa
        self.dim = dim
        self.schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dim))])
        self.db = lancedb.connect(str(path / "db"))
        self.table = self.db.create_table("docs", schema=self.schema, exist_ok=True)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        pa = self.arrow
        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.dim)
        self.table.add(pa.record_batch([pa.array(ids), rows], schema=self.schema))

    def count(self) -> int:
        return self.table.count_rows()

    def close(self) -> None:
        del self.table, self.db
