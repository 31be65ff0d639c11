# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "pyglass-portable"
    packages = ("pyglass-portable",)
    distribution = "pyglass-portable"
    module = "glass"
    parameters = "HNSW, SQ8U, R 32, L 200; searched in SQ8U, refined in FP32, optimize()"
    codes = "SQ8U"
    efforts = EF
    keeps_rows = False

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import glass

        self.glass = glass
        self.kind = "L2" if self.metric == "l2" else "IP"
        glass.set_num_threads(threads)
        self.graph = glass.Index("HNSW", self.kind, "SQ8U", R=32, L=200).build(base)
        self.graph.save(str(directory / "graph"))  # the searcher takes it away
        self.searchable(base, threads)

    def searchable(self, base: np.ndarray, threads: int) -> None:
        self.searcher = self.glass.Searcher(self.graph, base, self.kind, self.codes, "FP32")
        self.searcher.optimize(threads)
        self.threads = threads

    def load(self, directory: Path, base: Path) -> None:
        import glass
        import numpy as np

        self.glass = glass
        self.kind = "L2" if self.metric == "l2" else "IP"
        self.graph = glass.Graph(str(directory / "graph"))
        self.searchable(np.load(base), 1)

    def set_effort(self, effort: int) -> None:
        self.searcher.set_ef(effort)

    def set_threads(self, threads: int) -> bool:
        self.threads = threads
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.searcher.search(query, k)[0]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.searcher.batch_search(queries, k, self.threads)[0]
