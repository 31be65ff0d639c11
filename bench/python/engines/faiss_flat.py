# SPDX-License-Identifier: Apache-2.0
"""faiss.IndexFlat, and what the other indexes of faiss have in common with it."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "faiss IndexFlat"
    packages = ("faiss-cpu",)
    distribution = "faiss-cpu"
    module = "faiss"
    exact = True
    parameters = "Flat"

    def factory(self) -> str:
        return self.parameters

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(threads)
        # Rows have length 1 where the metric is cosine.
        metric = faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(self.dim, self.factory(), metric)
        self.prepare()
        self.index.train(base)
        self.index.add(base)

    def prepare(self) -> None:
        """Settings of the index before rows come in."""

    def save(self, directory: Path) -> None:
        self.faiss.write_index(self.index, str(directory / "index"))

    def load(self, directory: Path, base: Path) -> None:
        import faiss

        self.faiss = faiss
        self.index = faiss.read_index(str(directory / "index"))

    def set_threads(self, threads: int) -> bool:
        self.faiss.omp_set_num_threads(threads)
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.search(query.reshape(1, -1), k)[1][0]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.search(queries, k)[1]
