# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from peers import Durability, Peer

if TYPE_CHECKING:
    import numpy as np


class Adapter(Peer):
    name = "chromadb"
    packages = ("chromadb",)
    distribution = "chromadb"
    handed = "the array; ids as strings"
    index = "its default: HNSW, built while rows come in"
    durability = Durability(
        "all", "all", "seen: SQLite's rollback journal and database are synced before add() returns"
    )

    def open(self, path: Path, dim: int) -> None:
        import chromadb
        from chromadb.config import Settings

        self.client = chromadb.PersistentClient(str(path / "db"), settings=Settings(anonymized_telemetry=False))
        self.max_batch = self.client.get_max_batch_size()
        self.collection = self.client.get_or_create_collection("docs", embedding_function=None)

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        self.collection.add(ids=list(map(str, ids.tolist())), embeddings=vectors)

    def count(self) -> int:
        return self.collection.count()

    def close(self) -> None:
        self.client.close()
