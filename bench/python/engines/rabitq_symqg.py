# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import EF, Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "rabitqlib SymphonyQG"
    packages = ("rabitqlib",)
    distribution = "rabitqlib"
    module = "rabitqlib"
    parameters = "max_degree 32, ef_construction 200, raw vectors"
    efforts: tuple[int, ...] = EF
    index_class = "SymqgIndex"

    def kind(self) -> str:
        return "l2" if self.metric == "l2" else "ip"  # for cosine it wants rows of length 1

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import rabitqlib

        self.index = rabitqlib.SymqgIndex(self.dim, 32, self.kind())
        self.index.build(base, 200, num_threads=threads)

    def save(self, directory: Path) -> None:
        self.index.save(str(directory / "index"))

    def load(self, directory: Path, base: Path) -> None:
        import rabitqlib

        self.index = getattr(rabitqlib, self.index_class).load(str(directory / "index"))
        self.threads = 1

    def set_effort(self, effort: int) -> None:
        self.effort = effort

    def set_threads(self, threads: int) -> bool:
        self.threads = threads
        return True

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.search(query.reshape(1, -1), k, self.effort)[0][0]

    def search_batch(self, queries: np.ndarray, k: int) -> Any:
        return self.index.search(queries, k, self.effort, num_threads=self.threads)[0]
