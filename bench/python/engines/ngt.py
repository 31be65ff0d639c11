# SPDX-License-Identifier: Apache-2.0
"""NGT's graph with a tree; its quantized indexes are made by programs that the package does not have."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import Engine

if TYPE_CHECKING:
    import numpy as np


class Adapter(Engine):
    name = "NGT ANNG"
    packages = ("ngt",)
    distribution = "ngt"
    module = "ngtpy"
    parameters = "edge_size_for_creation 10, edge_size_for_search 40 (its defaults); effort is epsilon"
    efforts = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3)

    def build(self, base: np.ndarray, directory: Path, threads: int) -> None:
        import ngtpy

        where = str(directory / "index")
        ngtpy.create(where, self.dim, distance_type="L2" if self.metric == "l2" else "Normalized Cosine")
        self.index = ngtpy.Index(where)
        self.index.batch_insert(base, num_threads=threads)

    def save(self, directory: Path) -> None:
        self.index.save()

    def load(self, directory: Path, base: Path) -> None:
        import ngtpy

        self.index = ngtpy.Index(str(directory / "index"), read_only=True)

    def set_effort(self, effort: float) -> None:
        self.effort = effort

    def search(self, query: np.ndarray, k: int) -> Any:
        return self.index.search(query, k, self.effort, with_distance=False)
