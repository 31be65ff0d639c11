# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "usearch"
    packages = ("usearch",)
    distribution = "usearch"
    module = "usearch.index"
    parameters = "connectivity 16, expansion_add 200, its default dtype"
    efforts = EF

    def make(self) -> Any:
        from usearch.index import Index

        self.threads = 1
        metric = "l2sq" if self.metric == "l2" else "cos"
        return Index(ndim=self.dim, metric=metric, connectivity=16, expansion_add=200)

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import numpy as np

        self.index = self.make()
        self.index.add(np.arange(len(base), dtype=np.uint64), base, threads=threads)

    def save(self, directory: Path) -> None:
        self.index.save(str(directory / "index"))

    def load(self, directory: Path, base: Path) -> None:
        self.index = self.make()
        self.index.load(str(directory / "index"))

    def set_effort(self, effort: int) -> None:
        self.index.expansion_search = effort

    def set_threads(self, threads: int) -> bool:
        self.threads = threads
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.search(query, k, threads=1).keys

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.search(queries, k, threads=self.threads).keys
