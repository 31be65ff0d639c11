# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "milvus-lite"
    packages = ("milvus-lite", "pymilvus")
    distribution = "milvus-lite"
    handed = "a dict a row, as MilvusClient.insert wants it"
    index = "none is made; a schema without one"
    durability = Durability(
        "all", "not synced", "its source: the log is synced only when it is closed (sync_mode close); seen: no sync"
    )
    flush_call = "MilvusClient.flush()"
    flushed = Durability(
        "all", "in part", "seen: log and manifest are synced, then the log is deleted; the Parquet file never is synced"
    )

    def open(self, path: Path, dim: int) -> None:
        from pymilvus import DataType, MilvusClient

        self.client = MilvusClient(str(path / "rows.db"))
        if self.client.has_collection("docs"):
            return
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        self.client.create_collection("docs", schema=schema)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        rows = [{"id": i, "vector": v} for i, v in zip(ids.tolist(), vectors.tolist())]
        self.client.insert("docs", rows)

    def flush(self) -> None:
        self.client.flush("docs")

    def count(self) -> int:
        self.client.load_collection("docs")
        return int(self.client.query("docs", "", output_fields=["count(*)"])[0]["count(*)"])

    def close(self) -> None:
        self.client.close()
