# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "zvec"
    packages = ("zvec",)
    distribution = "zvec"
    handed = "a Doc a row (it has nothing for batches), ids as strings"
    index = "its default: flat"
    durability = Durability(
        "all", "not synced", "seen: insert() writes its log and syncs nothing; its README promises power failure too"
    )
    flush_call = "Collection.flush()"
    flushed = Durability(
        "all", "in part",
        "documented as durable; seen: the log is synced, then deleted, while the vectors are msync(MS_ASYNC) only",
    )  # fmt: skip
    max_batch = 1024

    def open(self, path: Path, dim: int) -> None:
        import zvec

        self.doc = zvec.Doc
        where = path / "db"
        if where.exists():
            self.collection = zvec.open(str(where))
        else:
            index = zvec.FlatIndexParam(metric_type=zvec.MetricType.L2)
            vector = zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, dim, index)
            self.collection = zvec.create_and_open(str(where), zvec.CollectionSchema(name="docs", vectors=vector))

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        doc = self.doc
        docs = [doc(id=str(i), vectors={"vector": v}) for i, v in zip(ids.tolist(), vectors.tolist())]
        for status in self.collection.insert(docs):
            if not status.ok():
                raise RuntimeError(str(status))

    def flush(self) -> None:
        self.collection.flush()

    def count(self) -> int:
        return self.collection.stats.doc_count

    def close(self) -> None:
        self.collection.close()
