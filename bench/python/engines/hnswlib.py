# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "hnswlib"
    packages = ("hnswlib",)
    distribution = "hnswlib"
    module = "hnswlib"
    parameters = "M 16, ef_construction 200"
    efforts = EF

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import hnswlib

        self.index = hnswlib.Index(self.metric, self.dim)
        self.index.init_index(max_elements=self.rows, M=16, ef_construction=200)
        self.index.add_items(base, num_threads=threads)

    def save(self, directory: Path) -> None:
        self.index.save_index(str(directory / "index"))

    def load(self, directory: Path, base: Path) -> None:
        import hnswlib

        self.index = hnswlib.Index(self.metric, self.dim)
        self.index.load_index(str(directory / "index"), max_elements=self.rows)
        self.threads = 1

    def set_effort(self, effort: int) -> None:
        self.index.set_ef(effort)

    def set_threads(self, threads: int) -> bool:
        self.threads = threads
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.knn_query(query, k, num_threads=1)[0][0]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.knn_query(queries, k, num_threads=self.threads)[0]
