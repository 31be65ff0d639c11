# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import chromadb
from filter_engines import Filtered, Terms, mongo, records

if TYPE_CHECKING:
    import numpy as np


class Adapter(Filtered, chromadb.Adapter):
    efforts = (16, 64, 256, 1024)
    given = "query(where={...})"

    def build_with(self, base: np.ndarray, columns: dict[str, np.ndarray], directory: Path, threads: int) -> None:
        graph = {"space": self.metric, "max_neighbors": 16, "ef_construction": 200, "num_threads": threads}
        self.collection = self.connect(directory).create_collection(
            "rows", configuration={"hnsw": graph}, embedding_function=None
        )
        rows = records(columns)
        for first in range(0, len(base), chromadb.BATCH):
            part = base[first : first + chromadb.BATCH]
            self.collection.add(
                ids=list(map(str, range(first, first + len(part)))), embeddings=part,
                metadatas=rows[first : first + len(part)],
            )  # fmt: skip

    def compile(self, terms: Terms, ids: np.ndarray, k: int) -> Any:
        # It takes one operator in each dict.
        parts: list[dict[str, Any]] = []
        for column, wanted in mongo(terms).items():
            operators = wanted if isinstance(wanted, dict) else {"$eq": wanted}
            parts += [{column: {operator: value}} for operator, value in operators.items()]
        return parts[0] if len(parts) == 1 else {"$and": parts}

    def search_filtered(self, query: np.ndarray, k: int, given: Any) -> Any:
        found = self.collection.query(query_embeddings=[query], n_results=k, include=[], where=given)
        return list(map(int, found["ids"][0]))
