# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine

if TYPE_CHECKING:
    import numpy as np

BATCH = 5000


class Adapter(Engine):
    name = "chromadb"
    packages = ("chromadb",)
    distribution = "chromadb"
    module = "chromadb"
    parameters = "max_neighbors 16, ef_construction 200"
    efforts: tuple[int, ...] = (10, 16, 32, 64, 128, 256, 512)

    def connect(self, directory: Path) -> Any:
        import chromadb
        from chromadb.config import Settings

        self.directory = directory
        self.client = chromadb.PersistentClient(str(directory / "db"), settings=Settings(anonymized_telemetry=False))
        return self.client

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        graph = {"space": self.metric, "max_neighbors": 16, "ef_construction": 200, "num_threads": threads}
        self.collection = self.connect(directory).create_collection(
            "rows", configuration={"hnsw": graph}, embedding_function=None
        )
        for first in range(0, len(base), BATCH):
            part = base[first : first + BATCH]
            self.collection.add(ids=list(map(str, range(first, first + len(part)))), embeddings=part)

    def load(self, directory: Path, base: Path) -> None:
        self.collection = self.connect(directory).get_collection("rows", embedding_function=None)

    def set_effort(self, effort: int) -> None:
        self.collection.modify(configuration={"hnsw": {"ef_search": effort}})
        self.client.close()  # an index that is loaded keeps its old one
        self.load(self.directory, self.directory)

    def set_threads(self, threads: int) -> bool:
        return True  # its threads follow the processors that they may use

    def search(self, query: np.ndarray, k: int) -> Any:
        return list(map(int, self.collection.query(query_embeddings=[query], n_results=k, include=[])["ids"][0]))

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        found = self.collection.query(query_embeddings=queries, n_results=k, include=[])["ids"]
        return [list(map(int, ids)) for ids in found]

    def close(self) -> None:
        self.client.close()
